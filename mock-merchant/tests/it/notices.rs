//! B11–B13 as a newcomer sees them: without any configuration every message is a file.

use crate::client::{DEADLINE, Shop};
use crate::desk::{Desk, order};
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
