//! B24 with service systems that take their time, over real sockets.

use crate::client::{DEADLINE, Shop};
use crate::desk::{self, Desk, order};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The next call, as far as its headers.
async fn called(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = tokio::time::timeout(DEADLINE, listener.accept()).await.expect("a call in time").unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        assert!(stream.read_buf(&mut head).await.unwrap() > 0, "the whole head comes");
    }
    stream
}

/// Waits until the caller has gone away.
async fn given_up(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("it hangs up in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn b24_a_source_that_does_not_answer_in_time_is_told_again() {
    let shop = Shop::with(|config| config.limits.callback_time = Duration::from_millis(300)).await;
    let desk = Desk::open(&shop, "delivery").await;
    let slow = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/hooks", slow.local_addr().unwrap());
    desk::callback(&shop, &desk.id, &address, true).await;
    let number = desk.number("k1", &order(&shop)).await;
    let tried = async |tries: u64| {
        let failed = move |m: &&Value| m["tries"] == tries && m["last_error"].is_string();
        let fits = move |all: &[Value]| all.first().filter(failed).cloned();
        desk.deliveries_until("", fits).await
    };
    // No answer at all.
    given_up(called(&slow).await).await;
    let message = tried(1).await;
    assert_eq!((&message["last_error"], message.get("last_status")), (&json!("timeout"), None), "{message}");
    assert_eq!(message["status"], "waiting", "{message}");
    // Half a head.
    shop.advance(Duration::from_secs(7)).await;
    let mut half = called(&slow).await;
    half.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await.unwrap();
    given_up(half).await;
    assert_eq!(tried(2).await["last_error"], "timeout");
    // In time it is taken, under the identifier that it had from the start.
    desk::callback(&shop, &desk.id, &desk.receiver.url, true).await;
    shop.advance(Duration::from_secs(400)).await;
    let taken = desk.receiver.message("order.confirmation_requested", &number).await;
    assert_eq!(json!(taken.id), message["message_id"]);
    // A head that says 200 counts, though its body never ends; what stands in it does not.
    desk::callback(&shop, &desk.id, &address, true).await;
    let other = desk.number("k2", &order(&shop)).await;
    let mut endless = called(&slow).await;
    endless.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\n{\"decision\":").await.unwrap();
    given_up(endless).await;
    let delivered =
        |all: &[Value]| all.iter().find(|m| m["service_number"] == *other && m["last_status"] == 200).cloned();
    assert_eq!(desk.deliveries_until("", delivered).await["status"], "delivered");
    assert_eq!(desk.get(&format!("/orders/{other}")).await.1["status"], "awaiting_confirmation");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b24_a_source_that_hangs_does_not_hold_up_what_others_are_told() {
    let shop = Shop::open().await;
    let slow = Desk::open(&shop, "slow").await;
    let quick = Desk::open(&shop, "quick").await;
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    desk::callback(&shop, &slow.id, &format!("http://{}/hooks", hanging.local_addr().unwrap()), true).await;
    // More than may be on their way altogether.
    for n in 0..40 {
        slow.number(&format!("k{n}"), &order(&shop)).await;
    }
    let calls = [called(&hanging).await, called(&hanging).await];
    let number = quick.number("k", &order(&shop)).await;
    quick.receiver.message("order.confirmation_requested", &number).await;
    // The calls still hang, and no other one was made meanwhile.
    let (status, page) = slow.get("/deliveries?limit=100").await;
    let tried = page["deliveries"].as_array().unwrap().iter().filter(|m| m["tries"] != 0).count();
    assert_eq!((status.as_u16(), tried), (200, 2), "{page}");
    drop(calls);
    shop.running.shutdown().await;
}
