//! B12 against aiosmtpd: STARTTLS, AUTH, what arrives, what is refused and put off; and against mail servers that are not there.

use crate::outbox::{NOBODY, cli, deliveries, ended, payable, python, shop, until};
use crate::rude;
use mock_merchant::store::contacts::Medium;
use mock_merchant::store::notices::NoticeState;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// aiosmtpd, with a certificate of its own.
struct MailServer {
    port: u16,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl MailServer {
    async fn start(folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        std::fs::write(folder.join("password"), "correct horse\n").unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/mailserver.py");
        let mut child = Command::new(python())
            .args(["-W", "ignore", script, "--user", "shop", "--password", "correct horse", "--certificate"])
            .arg(certificate)
            .arg("--key")
            .arg(key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut server = Self { port: 0, lines, _child: child };
        server.port = u16::try_from(server.fact().await["port"].as_u64().unwrap()).unwrap();
        server
    }

    /// The next thing that happened there.
    async fn fact(&mut self) -> Value {
        let line = tokio::time::timeout(crate::outbox::DEADLINE, self.lines.next_line()).await.expect("in time");
        serde_json::from_str(&line.unwrap().expect("aiosmtpd runs")).unwrap()
    }

    fn settings(&self) -> Value {
        json!({ "email": {
            "host": "localhost", "port": self.port, "from": "pay@shop.example", "user": "shop", "password_file": "password",
            "roots_file": "certificate.pem",
        }})
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn b12_an_email_arrives_with_both_parts_over_tls() {
    let folder = folder();
    let mut server = MailServer::start(folder.path()).await;
    let shop = shop(folder.path(), &server.settings()).await;
    let name = "Küche 厨房 👩\u{200d}🔧 שלום\u{202e} <b>&\r\nBcc: everybody@example.org";
    let refused = desk_refuses(&shop, name).await;
    assert_eq!(refused, 422, "control characters are refused at the door");
    let name = "Küche 厨房 👩\u{200d}🔧 שלום <b>& \"quoted\", <a@b>";
    let number = payable(&shop, name).await;
    let mail = server.fact().await;
    assert_eq!((&mail["tls"], &mail["user"]), (&json!(true), &json!("shop")), "{mail}");
    assert_eq!((&mail["sender"], &mail["to"]), (&json!("pay@shop.example"), &json!(["alice@shop.example"])));
    assert_eq!(mail["defects"], json!([]));
    let header = |name: &str| mail["headers"][name].as_str().unwrap_or_default().to_owned();
    assert!(
        header("subject")
            .contains("29.00 EUR to pay for \u{2068}Küche 厨房 👩\u{200d}🔧 שלום <b>& \"quoted\", <a@b>\u{2069}"),
        "{mail}"
    );
    assert!(header("list-unsubscribe").starts_with("<http://127.0.0.1:"), "{mail}");
    assert_eq!(header("list-unsubscribe-post"), "List-Unsubscribe=One-Click");
    let delivery = ended(&shop, number, Medium::Email, NoticeState::Accepted).await;
    assert_eq!(header("message-id"), format!("<{}@shop.example>", delivery.message_id));
    assert_eq!((delivery.tries, delivery.last_code), (1, Some(250)));
    let (text, html) = (mail["text"].as_str().unwrap(), mail["html"].as_str().unwrap());
    assert!(text.contains(&number.to_string()) && text.contains("\u{2068}Küche 厨房"), "{text}");
    assert!(html.contains("<bdi>Küche 厨房 👩\u{200d}🔧 שלום &lt;b&gt;&amp; &quot;quoted&quot;"), "{html}");
    // The link in it leads to the order; the one in the header unsubscribes.
    let link = text.lines().find(|line| line.starts_with("http")).unwrap();
    let page = shop.http.get(link).send().await.unwrap().text().await.unwrap();
    assert!(page.contains(&number.to_string()), "{page}");
    let unsubscribe = header("list-unsubscribe").trim_matches(['<', '>']).to_owned();
    let form = shop.http.post(unsubscribe).body("List-Unsubscribe=One-Click").send().await.unwrap();
    assert_eq!(form.status(), 200);
    cli(&shop, &["user", "address", "list", "alice"]);
    let listed = shop.cli(&["user", "address", "list", "alice"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("unsubscribed since"));
    shop.running.shutdown().await;
}

/// How an order of this name is answered.
async fn desk_refuses(shop: &crate::client::Shop, service_name: &str) -> u16 {
    let desk = crate::desk::Desk::open(shop, "careless").await;
    let mut body = crate::desk::order(shop);
    body["service_name"] = service_name.into();
    desk.hand_in("k1", &body).await.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn b12_a_chinese_payer_reads_chinese() {
    let folder = folder();
    let mut server = MailServer::start(folder.path()).await;
    let shop = shop(folder.path(), &server.settings()).await;
    cli(&shop, &["user", "address", "settings", "alice", "--language", "zh", "--time-zone", "Asia/Shanghai"]);
    cli(&shop, &["user", "address", "add", "alice", "mailto:安@例子.中国"]);
    payable(&shop, "洗衣机配送").await;
    let mut to = Vec::new();
    for _ in 0..2 {
        let mail = server.fact().await;
        assert_eq!(mail["headers"]["content-language"], "zh");
        assert!(mail["headers"]["subject"].as_str().unwrap().contains("待付款 29.00 EUR：洗衣机配送"), "{mail}");
        assert!(mail["text"].as_str().unwrap().contains("请您为“洗衣机配送”付款"), "{mail}");
        to.push(mail["to"][0].as_str().unwrap().to_owned());
    }
    to.sort();
    assert_eq!(to[0], "alice@shop.example");
    assert!(to[1].starts_with("安@"), "SMTPUTF8: {to:?}");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b12_refusals_end_and_deferrals_are_tried_again() {
    let folder = folder();
    let mut server = MailServer::start(folder.path()).await;
    let shop = shop(folder.path(), &server.settings()).await;
    cli(&shop, &["user", "address", "remove", "alice", "mailto:alice@shop.example"]);
    for name in ["refuse", "later", "full"] {
        cli(&shop, &["user", "address", "add", "alice", &format!("mailto:{name}@shop.example")]);
    }
    let number = payable(&shop, "Repair").await;
    let accepted = ended(&shop, number, Medium::Email, NoticeState::Accepted).await;
    assert_eq!(accepted.tries, 2);
    until(&shop, number, Medium::Email, |d| d.state == NoticeState::Failed && d.last_code == Some(550) && d.tries == 1)
        .await;
    until(&shop, number, Medium::Email, |d| d.state == NoticeState::Failed && d.last_code == Some(552) && d.tries == 1)
        .await;
    let mut taken = Vec::new();
    for _ in 0..4 {
        let fact = server.fact().await;
        taken.push((fact["code"].as_u64(), fact["to"][0].as_str().map(str::to_owned)));
    }
    taken.sort();
    let to = Some("later@shop.example".to_owned());
    assert_eq!(taken, [(None, to), (Some(451), None), (Some(550), None), (Some(552), None)], "one message, once");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b12_nothing_is_sent_without_starttls_or_with_a_wrong_password() {
    let folder = folder();
    let mut server = MailServer::start(folder.path()).await;
    std::fs::write(folder.path().join("password"), "guessed\n").unwrap();
    let shop = shop(folder.path(), &server.settings()).await;
    let number = payable(&shop, "Repair").await;
    // What is wrong is wrong with the merchant: the message is kept until somebody mends it, or gives up.
    let waiting = until(&shop, number, Medium::Email, |d| d.tries >= 2).await;
    assert_eq!((waiting.last_code, waiting.last_word.as_deref()), (Some(535), Some("credentials")));
    ended(&shop, number, Medium::Email, NoticeState::GivenUp).await;
    cli(&shop, &["messages", "resend", &waiting.message_id]);
    ended(&shop, number, Medium::Email, NoticeState::GivenUp).await;
    shop.running.shutdown().await;
    // A server that offers no TLS gets no password and no message.
    let (plain, taken) = rude::cutting(0).await;
    let mut settings = server.settings();
    settings["email"]["port"] = plain.address.port().into();
    let shop = crate::outbox::shop(folder.path(), &settings).await;
    let number = payable(&shop, "Repair").await;
    let waiting = until(&shop, number, Medium::Email, |d| d.tries >= 2).await;
    assert_eq!(waiting.last_word.as_deref(), Some("no_starttls"));
    assert_eq!(taken.load(Ordering::SeqCst), 0);
    shop.running.shutdown().await;
    let nothing = tokio::time::timeout(std::time::Duration::from_millis(50), server.lines.next_line()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b12_a_server_that_is_away_or_silent_loses_nothing() {
    let folder = folder();
    let plain = |port: u16| json!({ "email": { "host": "127.0.0.1", "port": port, "from": "pay@shop.example", "tls": "none", "timeout_seconds": 1 }});
    let shop = shop(folder.path(), &plain(NOBODY)).await;
    let number = payable(&shop, "Repair").await;
    until(&shop, number, Medium::Email, |d| d.tries >= 2 && d.last_word.as_deref() == Some("connect")).await;
    shop.running.shutdown().await;
    let silent = rude::silent().await;
    let shop = crate::outbox::shop(folder.path(), &plain(silent.address.port())).await;
    let number = payable(&shop, "Repair").await;
    let waiting = until(&shop, number, Medium::Email, |d| d.tries >= 2).await;
    assert_eq!(waiting.repeats, 0, "nothing was handed over, so nothing is unknown");
    assert!(silent.seen.load(Ordering::SeqCst) >= 2);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b12_a_second_message_only_where_the_outcome_is_unknown() {
    let folder = folder();
    for (cut, state, tries) in [(1, NoticeState::Accepted, 2), (99, NoticeState::Unknown, 3)] {
        let (server, taken) = rude::cutting(cut).await;
        let settings = json!({ "email": { "host": "127.0.0.1", "port": server.address.port(), "from": "pay@shop.example", "tls": "none" }});
        let shop = shop(folder.path(), &settings).await;
        let number = payable(&shop, "Repair").await;
        let delivery = ended(&shop, number, Medium::Email, state).await;
        assert_eq!((delivery.tries, delivery.repeats), (tries, tries - 1), "{delivery:?}");
        assert_eq!(taken.load(Ordering::SeqCst), tries as usize);
        assert_eq!(deliveries(&shop, number, Medium::Email).await.len(), 1);
        shop.running.shutdown().await;
    }
}
