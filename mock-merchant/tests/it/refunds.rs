//! Money that goes back: as a service system asks for it over HTTP, whatever the channel does, and as the operator does on the command
//! line.

use crate::client::{Device, Shop, eur, json_of, problem_of};
use crate::desk;
use crate::process::{fails, text};
use crate::slips::{DELIVERY, REPAIR, Service, order, pays_at_channel, source_key};
use mock_merchant::domain::{RefundStatus, RefundView};
use mock_merchant::store::channel_calls::{self, ReceiptState};
use mock_merchant::store::invariants;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use walkpay::ServiceNumber;
use walkpay::protocol::document::{LegState, PaymentMethod};
use walkpay::protocol::order::{OrderStatus, PaymentStatus};

/// An order of 10.00 of which stored value has paid 4.00 and the channel 6.00, and the channel's number of it.
async fn paid(shop: &Shop, device: &mut Device) -> (ServiceNumber, String) {
    let number = order(shop, DELIVERY).await;
    let slip = device.slip_of(shop, &[number]).await;
    let payment = device.pay(shop, &slip, PaymentMethod::Test, 400).await;
    device.launched(shop, payment.payment_id).await;
    let trade = format!("{}01", slip.slip_number);
    assert_eq!(pays_at_channel(shop, &trade).await, StatusCode::NO_CONTENT);
    device.told(shop, payment.payment_id, PaymentStatus::Succeeded).await;
    (number, trade)
}

async fn ask(shop: &Shop, api_key: &str, number: ServiceNumber, key: Option<&str>, body: &Value) -> Response {
    let request = shop.http.request(Method::POST, shop.url(&format!("/service/v1/orders/{number}/refunds")));
    let request = key.into_iter().fold(request, |r, key| r.header("idempotency-key", key));
    request.bearer_auth(api_key).json(body).send().await.unwrap()
}

/// The refunds of an order, once none of them is open any more. The simulated clock is moved on meanwhile: what is asked again waits for it.
async fn ended(shop: &Shop, api_key: &str, number: ServiceNumber) -> Vec<RefundView> {
    let path = shop.url(&format!("/service/v1/orders/{number}/refunds"));
    let end = async {
        loop {
            let (status, page) = json_of(shop.http.get(&path).bearer_auth(api_key).send().await.unwrap()).await;
            assert_eq!(status, StatusCode::OK, "{page}");
            let refunds: Vec<RefundView> = serde_json::from_value(page["refunds"].clone()).unwrap();
            if refunds.iter().all(|r| r.status != RefundStatus::Open) {
                return refunds;
            }
            shop.advance(Duration::from_secs(5)).await;
        }
    };
    tokio::time::timeout(crate::client::DEADLINE, end).await.expect("the refund ends in time")
}

fn legs(refund: &RefundView) -> Vec<(PaymentMethod, i64, LegState)> {
    refund.legs.iter().map(|l| (l.method, l.amount.minor, l.state)).collect()
}

async fn books_are_right(shop: &Shop) {
    let wrong = shop.running.app().read(|tx| Ok(invariants::always(tx)?)).await.unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b24_a_source_gives_money_back_once_and_no_more_than_was_paid() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let (number, trade) = paid(&shop, &mut alice).await;
    let key = source_key(&shop, "delivery").await;
    let three = json!({ "amount": { "amount": "3.00", "currency": "EUR" } });
    let first = ask(&shop, &key, number, Some("r1"), &three).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let first: Value = first.json().await.unwrap();
    assert_eq!(first["status"], "open", "the channel is asked after the answer");
    let done = ended(&shop, &key, number).await;
    assert_eq!((done.len(), done[0].status), (1, RefundStatus::Done));
    assert_eq!(legs(&done[0]), [(PaymentMethod::Test, 300, LegState::Succeeded)], "the channel's part first");
    let again = ask(&shop, &key, number, Some("r1"), &three).await;
    assert_eq!(again.status(), StatusCode::CREATED);
    assert_eq!(again.json::<Value>().await.unwrap(), first, "the first answer, however it stands by now");
    // What cannot be: each time a reason, and nothing goes back.
    let too_much = json!({ "amount": { "amount": "7.01", "currency": "EUR" } });
    let dollars = json!({ "amount": { "amount": "1.00", "currency": "USD" } });
    for (under, body, code) in [
        (Some("r2"), &too_much, (422, "refund_exceeds")),
        (Some("r2"), &dollars, (422, "currency_mismatch")),
        (Some("r1"), &too_much, (422, "idempotency_mismatch")),
        (None, &three, (400, "idempotency_key_missing")),
    ] {
        let refused = problem_of(ask(&shop, &key, number, under, body).await).await;
        assert_eq!((refused.0, refused.1.as_str()), code, "{body}");
    }
    let unpaid = order(&shop, DELIVERY).await;
    let refused = problem_of(ask(&shop, &key, unpaid, Some("r3"), &json!({})).await).await;
    assert_eq!(refused, (409, "order_not_paid".to_owned()));
    let stranger = source_key(&shop, "repair").await;
    let refused = problem_of(ask(&shop, &stranger, number, Some("r1"), &three).await).await;
    assert_eq!(refused, (404, "not_found".to_owned()), "another source's order");
    let reader = desk::new_key(&shop, "delivery", "orders:read").await;
    let refused = problem_of(ask(&shop, &reader, number, Some("r4"), &three).await).await;
    assert_eq!(refused, (403, "forbidden".to_owned()), "a key that may only read");
    // The rest, without saying how much: the channel's part, then stored value.
    assert_eq!(ask(&shop, &key, number, Some("r5"), &json!({})).await.status(), StatusCode::CREATED);
    let done = ended(&shop, &key, number).await;
    let all = [(PaymentMethod::Test, 300, LegState::Succeeded), (PaymentMethod::StoredValue, 400, LegState::Succeeded)];
    assert_eq!((done.len(), legs(&done[1])), (2, all.to_vec()));
    let channel = shop.running.app().channels.test().unwrap().clone();
    assert_eq!(channel.trade(&trade).unwrap().refunded, 600);
    assert_eq!(alice.balance(&shop).await.balance, eur(3_000));
    assert_eq!(alice.order(&shop, number).await.summary.status, OrderStatus::Refunded);
    books_are_right(&shop).await;
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_channel_refuses_to_give_back_is_kept_in_suspense() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let (number, trade) = paid(&shop, &mut alice).await;
    let key = source_key(&shop, "delivery").await;
    shop.arm(json!({"fault": "channel_refund_refused"})).await;
    assert_eq!(ask(&shop, &key, number, Some("r1"), &json!({})).await.status(), StatusCode::CREATED);
    let refund = ended(&shop, &key, number).await.remove(0);
    assert_eq!(refund.status, RefundStatus::Failed);
    let expected =
        [(PaymentMethod::Test, 600, LegState::Failed), (PaymentMethod::StoredValue, 400, LegState::Succeeded)];
    assert_eq!(legs(&refund), expected, "stored value goes back all the same");
    let channel = shop.running.app().channels.test().unwrap().clone();
    assert_eq!(channel.trade(&trade).unwrap().refunded, 0);
    assert_eq!(alice.balance(&shop).await.balance, eur(3_000));
    let seen = alice.order(&shop, number).await;
    assert_eq!((seen.summary.status, seen.refunded), (OrderStatus::PartlyRefunded, eur(400)));
    // The operator sees the money that nobody has.
    let token = text(&shop.cli(&["staff", "token", "demo-1", "--staff", "anna"]).stdout).trim().to_owned();
    let today = shop.now().to_string()[..10].to_owned();
    let answer = shop.http.get(shop.url(&format!("/query/v1/reconciliation?day={today}"))).bearer_auth(&token);
    let (_, report) = json_of(answer.send().await.unwrap()).await;
    assert!(report.to_string().contains("6.00"), "{report}");
    books_are_right(&shop).await;
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_whose_answer_is_lost_is_asked_for_and_made_once() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let (number, trade) = paid(&shop, &mut alice).await;
    let key = source_key(&shop, "delivery").await;
    shop.arm(json!({"fault": "channel_refund_unknown"})).await;
    let three = json!({ "amount": { "amount": "3.00", "currency": "EUR" } });
    assert_eq!(ask(&shop, &key, number, Some("r1"), &three).await.status(), StatusCode::CREATED);
    let refund = ended(&shop, &key, number).await.remove(0);
    assert_eq!(refund.status, RefundStatus::Done);
    assert_eq!(legs(&refund), [(PaymentMethod::Test, 300, LegState::Succeeded)]);
    let channel = shop.running.app().channels.test().unwrap().clone();
    assert_eq!(channel.trade(&trade).unwrap().refunded, 300, "once, by the channel's own book");
    let (_, table) = shop.get("/sim/v1/faults").await;
    assert_eq!(table["armed"], json!([]), "the fault has struck");
    assert_eq!(alice.order(&shop, number).await.refunded, eur(300));
    books_are_right(&shop).await;
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_gives_money_back_on_the_command_line() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let number = order(&shop, DELIVERY).await;
    let slip = alice.slip_of(&shop, &[number]).await;
    let paid = alice.pay(&shop, &slip, PaymentMethod::StoredValue, 1_000).await;
    assert_eq!(paid.status, PaymentStatus::Succeeded);
    let number = number.to_string();
    let refund = |args: &[&str]| shop.cli(&[&["order", "refund", &number], args].concat());
    let json = |out: std::process::Output| -> Value {
        assert!(out.status.success(), "{}", text(&out.stderr));
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let part = ["--amount", "2.50", "--currency", "EUR", "--key", "k1"];
    let made = json(refund(&part));
    assert_eq!((&made["service_number"], &made["status"]), (&json!(number), &json!("done")));
    assert_eq!(made["legs"][0]["amount"], json!({"amount": "2.50", "currency": "EUR"}));
    assert_eq!(json(refund(&part)), made, "once per key");
    assert_eq!(alice.balance(&shop).await.balance, eur(2_250));
    // What is wrong about a command is told, and nothing goes back.
    fails(&refund(&["--amount", "2.51", "--currency", "EUR", "--key", "k1"]), "another body");
    fails(&refund(&["--amount", "99.00", "--currency", "EUR"]), "7.50");
    fails(&refund(&["--amount", "1.00"]), "--currency");
    fails(&refund(&["--amount", "1.0", "--currency", "EUR"]), "amount");
    fails(&refund(&["--key", "two words"]), "visible ASCII");
    fails(&shop.cli(&["order", "refund", "000000000099999"]), "no such order");
    fails(&shop.cli(&["order", "refunds", "000000000099999"]), "no such order");
    // By default all that is left, and each command for itself.
    let rest = json(refund(&[]));
    assert_eq!(rest["amount"], json!({"amount": "7.50", "currency": "EUR"}));
    let listed = json(shop.cli(&["order", "refunds", &number]));
    assert_eq!(listed, json!([made, rest]), "the newest last");
    fails(&refund(&[]), "is left");
    assert_eq!(alice.balance(&shop).await.balance, eur(3_000));
    books_are_right(&shop).await;
    shop.running.shutdown().await;
}

/// The channel's number of a payment of 10.00 that came when its slip was paid otherwise, and that the channel does not take back.
async fn stranded(shop: &Shop, alice: &mut Device) -> String {
    let slip = alice.slip_of(shop, &[order(shop, DELIVERY).await]).await;
    let payment = alice.pay(shop, &slip, PaymentMethod::Test, 0).await;
    alice.launched(shop, payment.payment_id).await;
    shop.arm(json!({"fault": "channel_paid_after_close"})).await;
    let closure = format!("/payer/v1/slips/{}/payments/{}/closure", slip.slip_number, payment.payment_id);
    alice.send(shop.now(), Method::PUT, &closure, Vec::new()).await.unwrap();
    alice.told(shop, payment.payment_id, PaymentStatus::Closed).await;
    alice.pay(shop, &slip, PaymentMethod::StoredValue, 1_000).await;
    shop.arm(json!({"fault": "channel_refund_refused"})).await;
    let trade = format!("{}01", slip.slip_number);
    assert_eq!(pays_at_channel(shop, &trade).await, StatusCode::NO_CONTENT);
    receipt_is(shop, ReceiptState::Suspense).await;
    trade
}

/// Waits until the one receipt that came late stands so; the simulated clock is moved on meanwhile.
async fn receipt_is(shop: &Shop, state: ReceiptState) {
    let found = async {
        loop {
            let receipt = shop.running.app().read(|tx| Ok(channel_calls::find_receipt(tx, 1)?)).await.unwrap();
            if receipt.is_some_and(|r| r.state == state) {
                return;
            }
            shop.advance(Duration::from_secs(5)).await;
        }
    };
    tokio::time::timeout(crate::client::DEADLINE, found).await.expect("the receipt comes to this in time")
}

fn ok(out: &std::process::Output) -> String {
    assert!(out.status.success(), "{}", text(&out.stderr));
    text(&out.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_has_a_channel_take_back_what_it_refused_before() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let trade = stranded(&shop, &mut alice).await;
    let listed = || ok(&shop.cli(&["suspense", "list"]));
    let line = listed();
    let fields: Vec<&str> = line.trim_end().split('\t').collect();
    assert_eq!((fields[0], fields[1], fields[2], fields[5], fields[6]), ("c1", "receipt", "open", "1", trade.as_str()));
    assert!(fields[3].contains("10.00"), "{line}");
    fails(&shop.cli(&["suspense", "return", "c2"]), "no receipt");
    fails(&shop.cli(&["suspense", "return", "x1"]), "c7");
    // Refused once more: it stays where it is.
    shop.arm(json!({"fault": "channel_refund_refused"})).await;
    ok(&shop.cli(&["suspense", "return", "c1"]));
    receipt_is(&shop, ReceiptState::Suspense).await;
    books_are_right(&shop).await;
    // Made, and the answer is lost: it is asked for, and goes back once.
    shop.arm(json!({"fault": "channel_refund_unknown"})).await;
    ok(&shop.cli(&["suspense", "return", "c1"]));
    receipt_is(&shop, ReceiptState::Refunded).await;
    let channel = shop.running.app().channels.test().unwrap().clone();
    assert_eq!(channel.trade(&trade).unwrap().refunded, 1_000);
    assert_eq!(listed(), "");
    fails(&shop.cli(&["suspense", "return", "c1"]), "refunded");
    books_are_right(&shop).await;
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_pays_an_order_with_what_a_channel_has_collected() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let trade = stranded(&shop, &mut alice).await;
    let assign = |numbers: &[String]| {
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        shop.cli(&[&["suspense", "assign", "c1"], numbers.as_slice()].concat())
    };
    let five = async || order(&shop, REPAIR).await.to_string();
    let (first, second) = (five().await, five().await);
    let of_bob = order(&shop, Service { payer: "bob", ..DELIVERY }).await.to_string();
    let locked = order(&shop, DELIVERY).await;
    alice.slip_of(&shop, &[locked]).await;
    for (numbers, why) in [
        (vec![first.clone()], "owe"),
        (vec![first.clone(), first.clone()], "twice"),
        (vec![of_bob], "payer"),
        (vec![locked.to_string()], "slip"),
        (vec!["000000000099999".to_owned()], "no order"),
    ] {
        fails(&assign(&numbers), why);
    }
    fails(&shop.cli(&["suspense", "assign", "1", &first]), "c7");
    ok(&assign(&[first.clone(), second.clone()]));
    fails(&assign(&[first.clone(), second]), "applied");
    let number = ServiceNumber::parse(&first).unwrap();
    let seen = alice.order(&shop, number).await;
    assert_eq!(
        (seen.summary.status, seen.legs.len(), seen.legs[0].method),
        (OrderStatus::Paid, 1, PaymentMethod::Test)
    );
    assert_eq!(ok(&shop.cli(&["suspense", "list"])), "");
    books_are_right(&shop).await;
    // What has paid an order goes back as any other payment: through the channel.
    ok(&shop.cli(&["order", "refund", &first]));
    let key = source_key(&shop, "repair").await;
    assert_eq!(ended(&shop, &key, number).await[0].status, RefundStatus::Done);
    let channel = shop.running.app().channels.test().unwrap().clone();
    assert_eq!(channel.trade(&trade).unwrap().refunded, 500);
    books_are_right(&shop).await;
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_settles_by_other_means_what_a_channel_never_takes_back() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    stranded(&shop, &mut alice).await;
    fails(&shop.cli(&["suspense", "settle", "c1", "--note", ""]), "note");
    ok(&shop.cli(&["suspense", "settle", "c1", "--note", "handed out in the store"]));
    assert_eq!(ok(&shop.cli(&["suspense", "list"])), "");
    fails(&shop.cli(&["suspense", "return", "c1"]), "settled");
    books_are_right(&shop).await;
    shop.running.shutdown().await;
}
