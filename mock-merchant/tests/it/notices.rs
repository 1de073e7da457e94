//! B11–B13 as a newcomer sees them: without any configuration every message is a file.

use crate::client::{DEADLINE, Shop};
use crate::desk::{Desk, order};
use serde_json::Value;
use std::time::{Duration, Instant};

/// The output of a command that succeeds.
fn says(shop: &Shop, args: &[&str]) -> String {
    let out = shop.cli(args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// The line of `messages` about an order by a medium, once it has this state; its columns.
async fn line(shop: &Shop, number: &str, medium: &str, state: &str) -> Vec<String> {
    let end = Instant::now() + DEADLINE;
    loop {
        let listed = says(shop, &["messages", "list", "--order", number]);
        let rows = listed.lines().map(|row| row.split('\t').map(str::to_owned).collect::<Vec<_>>());
        if let Some(found) = rows.into_iter().find(|row| row[2] == medium && row[5] == state) {
            return found;
        }
        assert!(Instant::now() < end, "{listed}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b11_b12_b13_without_configuration_every_message_is_a_file() {
    let shop = Shop::open().await;
    says(&shop, &["user", "address", "add", "alice", "sms:+8613800138000"]);
    says(&shop, &["user", "address", "add", "alice", "tel:+8613800138000"]);
    says(&shop, &["user", "address", "settings", "alice", "--language", "zh", "--quiet", "never"]);
    let desk = Desk::open(&shop, "delivery").await;
    let number = desk.payable("k1", &order(&shop)).await;
    for (medium, expected) in [
        ("email", "To: alice@shop.example"),
        ("sms", "To: +8613800138000\nCoding: UCS-2, segments: "),
        ("voice", "To: +8613800138000\nLanguage: zh\n\n您好。"),
    ] {
        let row = line(&shop, &number, medium, "accepted").await;
        assert_eq!(row[3], "payable");
        let file = std::fs::read_to_string(&row[9]).unwrap().replace('\r', "");
        assert!(file.contains(expected), "{expected} in {file}");
        assert_eq!(says(&shop, &["messages", "show", &row[0]]).replace('\r', ""), file);
    }
    let texts = says(&shop, &["messages", "preview", "--channel", "sms", "--language", "zh", "--order", &number]);
    assert!(texts.contains("“Delivery of a washing machine”29.00 EUR"), "{texts}");
    let made_up = says(&shop, &["messages", "preview", "--channel", "voice", "--language", "en"]);
    assert!(made_up.contains("=== overdue voice en\n") && !made_up.contains("zh"), "{made_up}");
    // Erasure takes the files along.
    let kept = line(&shop, &number, "email", "accepted").await.swap_remove(9);
    says(&shop, &["user", "erase", "alice", "--yes"]);
    assert!(!std::path::Path::new(&kept).exists());
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_is_told_to_every_address() {
    let shop = Shop::open().await;
    shop.device_of("alice").await;
    let end = Instant::now() + DEADLINE;
    let row = loop {
        let listed = says(&shop, &["messages"]);
        if let Some(row) = listed.lines().find(|row| row.contains("\tnew_device\t") && row.contains("\taccepted\t")) {
            break row.split('\t').map(str::to_owned).collect::<Vec<_>>();
        }
        assert!(Instant::now() < end, "{listed}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let mail = std::fs::read_to_string(&row[9]).unwrap();
    assert!(mail.contains("Subject: A new device for your account at"), "{mail}");
    assert!(!mail.contains("List-Unsubscribe"), "a warning cannot be unsubscribed from");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b12_staff_see_whether_messages_arrive_and_not_to_whom() {
    let shop = Shop::open().await;
    let desk = Desk::open(&shop, "delivery").await;
    let mut numbers = Vec::new();
    for n in 0..3 {
        numbers.push(desk.payable(&format!("k{n}"), &order(&shop)).await);
    }
    let out = shop.cli(&["staff", "token", "demo-1", "--staff", "s-7", "--scope", "messages:read"]);
    let token = String::from_utf8(out.stdout).unwrap().trim().to_owned();
    let ask = async |query: &str| {
        let url = shop.url(&format!("/staff/v1/messages{query}"));
        let answer = shop.http.get(url).bearer_auth(&token).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        for personal in ["alice", "shop.example"] {
            assert!(!text.contains(personal), "{personal} in {text}");
        }
        (status, serde_json::from_str::<Value>(&text).unwrap())
    };
    let of = |page: &Value| -> Vec<String> {
        let named = |m: &Value| m["service_number"].as_str().unwrap().to_owned();
        page["messages"].as_array().unwrap().iter().filter(|m| m["medium"] == "email").map(named).collect()
    };
    let delivered = async {
        loop {
            let (status, page) = ask("").await;
            assert_eq!(status, 200, "{page}");
            if of(&page).len() == 3 && page["messages"].as_array().unwrap().iter().all(|m| m["status"] == "accepted") {
                return page;
            }
            tokio::task::yield_now().await;
        }
    };
    let page = tokio::time::timeout(DEADLINE, delivered).await.expect("they are delivered in time");
    numbers.reverse();
    assert_eq!(of(&page), numbers, "the newest first");
    assert!(page.get("next").is_none() && page["messages"][0]["kind"] == "payable", "{page}");
    // Page by page each comes once.
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let (_, page) = ask(&format!("?limit=2{after}")).await;
        seen.extend(page["messages"].as_array().unwrap().iter().map(|m| m["message_id"].clone()));
        let Some(next) = page["next"].as_u64() else { break };
        after = format!("&after={next}");
    }
    let all: Vec<Value> = page["messages"].as_array().unwrap().iter().map(|m| m["message_id"].clone()).collect();
    assert_eq!(seen, all);
    assert_eq!(of(&ask(&format!("?service_number={}", numbers[1])).await.1), [numbers[1].clone()]);
    for (bad, status) in [("?limit=0", 422), ("?limit=201", 422), ("?after=x", 400), ("?payer=x", 400)] {
        assert_eq!(ask(bad).await.0, status, "{bad}");
    }
    shop.running.shutdown().await;
}
