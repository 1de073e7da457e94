//! B10: the payer's page of what is to be paid, over real HTTP: what it shows to whom, and how it follows what happens.

use crate::client::{DEADLINE, Shop};
use crate::desk::{Desk, order};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

/// A link to a user's page.
fn link(shop: &Shop, user: &str) -> String {
    let out = shop.cli(&["user", "page", user]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

async fn page(shop: &Shop, url: &str) -> (StatusCode, String) {
    let answer = shop.http.get(url).send().await.unwrap();
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert!(header("content-security-policy").starts_with("default-src 'none'; style-src 'self'; script-src 'self';"));
    assert!(header("content-security-policy").contains("frame-ancestors 'none'"));
    assert_eq!((header("cache-control"), header("referrer-policy")), ("no-store".to_owned(), "no-referrer".to_owned()));
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn b10_the_page_shows_what_is_to_be_paid_to_whom_it_belongs() {
    let shop = Shop::open().await;
    let desk = Desk::open(&shop, "delivery").await;
    let (url, other) = (link(&shop, "alice"), link(&shop, "bob"));
    let (status, empty) = page(&shop, &url).await;
    assert_eq!(status, StatusCode::OK);
    assert!(empty.contains("There is nothing to be paid."), "{empty}");
    let wild = |shop: &Shop| {
        let mut body = order(shop);
        body["service_name"] = "<script>alert(1)</script> שלום & \"Küche\"".into();
        body["remarks"] = "for Ann, third floor".into();
        body["case_name"] = "Ann's kitchen".into();
        body
    };
    let first = desk.payable("k1", &wild(&shop)).await;
    let second = desk.payable("k2", &order(&shop)).await;
    let hidden = desk.number("k3", &order(&shop)).await;
    let (_, list) = page(&shop, &url).await;
    assert!(
        !list.contains("<script>alert")
            && list.contains("<bdi>&lt;script&gt;alert(1)&lt;/script&gt; שלום &amp; &quot;Küche&quot;</bdi>")
    );
    assert!(list.contains(&first) && list.contains(&second) && !list.contains(&hidden), "{list}");
    assert!(list.contains("<th colspan=\"4\">Together</th><td class=\"n\">58.00 EUR</td>"), "{list}");
    for personal in ["alice", "Ann", "third floor"] {
        assert!(!list.contains(personal), "{personal} in {list}");
    }
    let (status, chosen) = page(&shop, &format!("{url}/orders/{first}?lang=zh")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        chosen.contains("<html lang=\"zh\">") && chosen.contains("费用明细") && chosen.contains("<bdi>Delivery</bdi>")
    );
    // Nobody else's, nothing that is not to be seen yet, nothing by guessing.
    for path in [
        format!("{other}/orders/{first}"),
        format!("{url}/orders/{hidden}"),
        format!("{url}/orders/000000000000000"),
        format!("{url}/orders/x"),
        format!("{}x", url),
        shop.url("/pay/AAAAAAAAAAAAAAAAAAAAAA"),
        shop.url(&format!("/pay/{}", "A".repeat(4_000))),
    ] {
        let (status, text) = page(&shop, &path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(text.contains("This link does not work") && !text.contains(&first));
    }
    let other = page(&shop, &other).await.1;
    assert!(!other.contains(&first) && other.contains("nothing to be paid"));
    // What is paid or taken back is not asked for any more.
    assert_eq!(desk.change(&second, "withdrawal", 2, &json!({})).await.status(), StatusCode::OK);
    let (_, list) = page(&shop, &url).await;
    assert!(list.contains(&first) && !list.contains(&second));
    shop.advance(Duration::from_secs(31 * 86_400)).await;
    assert_eq!(page(&shop, &url).await.0, StatusCode::NOT_FOUND, "links expire");
    shop.running.shutdown().await;
}

/// Server-sent events as they come.
struct Events {
    answer: Response,
    buffer: String,
}

impl Events {
    async fn open(shop: &Shop, url: &str, last: Option<&str>) -> Result<Self, StatusCode> {
        let mut request = shop.http.get(format!("{url}/events"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await.unwrap();
        if answer.status() != StatusCode::OK {
            return Err(answer.status());
        }
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Ok(Self { answer, buffer: String::new() })
    }

    /// The next event: identifier, name, data; `None` at the end of the stream.
    async fn next(&mut self) -> Option<(String, String, String)> {
        loop {
            while let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let found = field("id: ").zip(field("event: ")).zip(field("data: "));
                self.buffer = rest.to_owned();
                if let Some(((id, name), data)) = found {
                    return Some((id, name, data));
                }
            }
            let chunk = tokio::time::timeout(DEADLINE, self.answer.chunk()).await.expect("in time").ok()??;
            self.buffer += std::str::from_utf8(&chunk).unwrap();
        }
    }

    /// The data of the next event of this name.
    async fn named(&mut self, name: &str) -> (String, String) {
        loop {
            let (id, found, data) = self.next().await.expect("the stream goes on");
            if found == name {
                return (id, data);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b10_the_page_follows_what_happens() {
    let shop = Shop::open().await;
    let desk = Desk::open(&shop, "delivery").await;
    let url = link(&shop, "alice");
    let mut events = Events::open(&shop, &url, None).await.unwrap();
    let (_, section) = events.named("orders").await;
    assert!(section.contains("There is nothing to be paid."), "{section}");
    let first = desk.payable("k1", &order(&shop)).await;
    let (id, notice) = events.named("notice").await;
    let notice: Value = serde_json::from_str(&notice).unwrap();
    assert_eq!((&notice["kind"], &notice["order"]), (&json!("payable"), &json!(first)));
    let (_, section) = events.named("orders").await;
    assert!(section.contains(&first), "{section}");
    drop(events);
    // Who comes back goes on where they left; each event has the number of its notice.
    let second = desk.payable("k2", &order(&shop)).await;
    let mut events = Events::open(&shop, &url, Some(&id)).await.unwrap();
    let (next, notice) = events.named("notice").await;
    assert!(notice.contains(&second) && next != id, "{notice}");
    // Somebody else's page stays as it is.
    let mut other = Events::open(&shop, &link(&shop, "bob"), None).await.unwrap();
    assert!(!other.named("orders").await.1.contains(&first));
    // Four at one time are enough for one payer.
    let mut open = vec![events];
    while open.len() < 4 {
        open.push(Events::open(&shop, &url, None).await.unwrap());
    }
    assert_eq!(Events::open(&shop, &url, None).await.err(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(Events::open(&shop, &shop.url("/pay/guessed"), None).await.err(), Some(StatusCode::NOT_FOUND));
    drop(open.pop());
    let end = std::time::Instant::now() + DEADLINE;
    while Events::open(&shop, &url, None).await.is_err() {
        assert!(std::time::Instant::now() < end, "a place is free again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The server does not wait for who follows.
    let followed = tokio::spawn(async move { while other.next().await.is_some() {} });
    tokio::time::timeout(DEADLINE, shop.running.shutdown()).await.expect("it stops");
    tokio::time::timeout(DEADLINE, followed).await.expect("the stream ends").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn b10_reports_and_assets_are_what_they_are() {
    let shop = Shop::open().await;
    for (path, kind) in
        [("/pay/page.css", "text/css; charset=utf-8"), ("/pay/page.js", "text/javascript; charset=utf-8")]
    {
        let answer = shop.http.get(shop.url(path)).send().await.unwrap();
        assert_eq!((answer.status(), answer.headers()["content-type"].to_str().unwrap()), (StatusCode::OK, kind));
    }
    for (path, status) in [
        ("/notify/sms/guessed?type=1", 404),
        ("/notify/sms/guessed?type=3", 400),
        ("/notify/sms/guessed", 400),
        ("/notify/sms/..%2f?type=1", 404),
    ] {
        assert_eq!(shop.http.get(shop.url(path)).send().await.unwrap().status(), status, "{path}");
    }
    let answer = shop.http.post(shop.url("/pay/guessed/unsubscribe")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    shop.running.shutdown().await;
}
