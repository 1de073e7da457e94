//! A20–A26 (requirements of the payment system), each over real HTTP with real files.

use crate::client::{Device, Shop, Trip, eur, problem_of};
use reqwest::StatusCode;
use serde_json::json;
use walkpay::protocol::crypto::digest;
use walkpay::protocol::document::*;
use walkpay::protocol::message::Recorded;

/// A device whose hold of `minor` is placed at the bank.
async fn with_hold(shop: &Shop, user: &str, minor: i64) -> (Device, Trip) {
    let mut device = shop.device_of(user).await;
    let mut trip = Trip::new(shop.now());
    let hold = device.hold_request(shop.now(), &mut trip, minor);
    assert_eq!(device.put_hold(shop.now(), &hold).await.unwrap().status(), StatusCode::CREATED);
    device.hold_in(shop, HoldStatus::Placed).await;
    (device, trip)
}

async fn submit(shop: &Shop, device: &mut Device, trip: &mut Trip, count: u32) -> BasketSummary {
    let (basket, lines) = device.basket(shop.now(), trip, count);
    let answer = device.put_attempt(shop.now(), &basket, &lines).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    basket
}

#[tokio::test(flavor = "multi_thread")]
async fn a20_receives_the_signed_list_once() {
    let shop = Shop::open().await;
    let (mut device, mut trip) = with_hold(&shop, "bob", 20_000).await;
    let (basket, lines) = device.basket(shop.now(), &mut trip, 2);
    let first = device.put_attempt(shop.now(), &basket, &lines).await.unwrap();
    assert_eq!(first.status(), StatusCode::CREATED);
    let first: Recorded = first.json().await.unwrap();
    let again = device.put_attempt(shop.now(), &basket, &lines).await.unwrap();
    assert_eq!(again.status(), StatusCode::OK, "the same list again is the first one");
    assert_eq!(again.json::<Recorded>().await.unwrap(), first);
    let other = BasketSummary { device_seq: device.next_seq(), ..basket.clone() };
    let refused = device.put_attempt(shop.now(), &other, &lines).await.unwrap();
    assert_eq!(problem_of(refused).await, (422, "id_conflict".to_owned()));
    // Lost answers on the way: the terminal repeats, the list is taken once.
    device.debit(&shop).await;
    let mut trip = Trip::new(shop.now());
    let (basket, lines) = device.basket(shop.now(), &mut trip, 1);
    shop.arm(json!({"fault": "terminal_no_answer_after", "operation": "put_attempt"})).await;
    assert!(device.put_attempt(shop.now(), &basket, &lines).await.is_err(), "the answer is lost");
    let repeat = device.put_attempt(shop.now(), &basket, &lines).await.unwrap();
    assert_eq!(repeat.status(), StatusCode::OK);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a21_checks_the_list_and_tells_the_terminal() {
    let shop = Shop::open().await;
    let (mut device, mut trip) = with_hold(&shop, "bob", 20_000).await;
    let (mut basket, lines) = device.basket(shop.now(), &mut trip, 2);
    basket.total = eur(basket.total.minor - 1);
    device.put_attempt(shop.now(), &basket, &lines).await.unwrap();
    let verdict = device.validation(&shop).await;
    assert_eq!(verdict.verdict, Verdict::Rejected);
    assert!(verdict.reasons.iter().any(|r| r.code == ReasonCode::TotalMismatch), "{:?}", verdict.reasons);
    assert!(verdict.exit_pass.is_none());
    let (basket, lines) = device.basket(shop.now(), &mut trip, 2);
    let body = device.attempt_body(&basket, &lines);
    device.put_attempt(shop.now(), &basket, &lines).await.unwrap();
    let verdict = device.validation(&shop).await;
    assert_eq!((verdict.verdict, verdict.attempt), (Verdict::Accepted, 2));
    assert_eq!(verdict.basket_sha256, digest(body.basket.as_bytes()), "the verdict is on exactly this list");
    assert!(verdict.exit_pass.is_some() && verdict.service_number.is_some());
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a22_the_check_rests_on_stored_value_hold_and_amount() {
    let shop = Shop::open().await;
    // Stored value alone covers a small list.
    let mut carol = shop.device_of("carol").await;
    let mut trip = Trip::new(shop.now());
    let basket = submit(&shop, &mut carol, &mut trip, 1).await;
    assert!(basket.total.minor < 20_000);
    assert_eq!(carol.validation(&shop).await.verdict, Verdict::Accepted);
    // Without a stored-value account the hold must cover all of it.
    let (mut bob, mut trip) = with_hold(&shop, "bob", 100).await;
    let basket = submit(&shop, &mut bob, &mut trip, 5).await;
    let verdict = bob.validation(&shop).await;
    assert_eq!(verdict.verdict, Verdict::InsufficientCover);
    assert_eq!(verdict.shortfall, Some(eur(basket.total.minor - 100)));
    let raise = bob.hold_request(shop.now(), &mut trip, basket.total.minor);
    bob.put_hold(shop.now(), &raise).await.unwrap();
    bob.hold_in(&shop, HoldStatus::Placed).await;
    submit(&shop, &mut bob, &mut trip, 5).await;
    assert_eq!(bob.validation(&shop).await.verdict, Verdict::Accepted);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a23_debits_the_stored_value_first() {
    let shop = Shop::open().await;
    let (mut alice, mut trip) = with_hold(&shop, "alice", 20_000).await;
    let basket = submit(&shop, &mut alice, &mut trip, 40).await;
    assert!(basket.total.minor > 3_000, "more than the stored value of alice");
    let debit = alice.debit(&shop).await;
    assert_eq!((debit.status, debit.total, debit.due), (DebitStatus::Debited, basket.total, eur(0)));
    let legs: Vec<_> = debit.legs.iter().map(|l| (l.method, l.amount.minor, l.state)).collect();
    let rest = basket.total.minor - 3_000;
    assert_eq!(
        legs,
        [(PaymentMethod::StoredValue, 3_000, LegState::Succeeded), (PaymentMethod::Bank, rest, LegState::Succeeded)]
    );
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_the_bank_debits_the_rest_on_the_shoppers_signature() {
    let shop = Shop::open().await;
    let (mut bob, mut trip) = with_hold(&shop, "bob", 20_000).await;
    let balance = || async {
        let bank = shop.running.bank().unwrap();
        bank.with(|bank, _| bank.balance("demo-bob")).await.unwrap()
    };
    let (before, reserved) = balance().await;
    assert_eq!(reserved, eur(20_000));
    let basket = submit(&shop, &mut bob, &mut trip, 3).await;
    assert_eq!(bob.debit(&shop).await.status, DebitStatus::Debited);
    let (after, reserved) = balance().await;
    assert_eq!(before.minor - after.minor, basket.total.minor, "by the bank's own book");
    assert_eq!(reserved, eur(0), "the rest of the hold is free");
    // A key that the holder never confirmed to the bank gets nothing, whatever the merchant says.
    let mut grace = shop.device_of("grace_unconfirmed").await;
    let mut trip = Trip::new(shop.now());
    let hold = grace.hold_request(shop.now(), &mut trip, 5_000);
    grace.put_hold(shop.now(), &hold).await.unwrap();
    let declined = grace.hold_in(&shop, HoldStatus::Declined).await;
    assert_eq!(declined.reason.as_deref(), Some("key_not_confirmed"));
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a25_tells_the_shopper_what_the_bank_said() {
    let shop = Shop::open().await;
    let (mut bob, mut trip) = with_hold(&shop, "bob", 20_000).await;
    shop.arm(json!({"fault": "bank_no_answer_after", "operation": "capture", "trip_id": trip.id})).await;
    let basket = submit(&shop, &mut bob, &mut trip, 2).await;
    assert_eq!(bob.validation(&shop).await.verdict, Verdict::Accepted);
    let debit = bob.debit(&shop).await;
    assert_eq!((debit.status, debit.total), (DebitStatus::Debited, basket.total), "asked for, not guessed");
    // A definite refusal is told as well, and what is owed.
    let (mut bob, mut trip) = with_hold(&shop, "bob", 20_000).await;
    shop.arm(json!({"fault": "bank_declined", "operation": "capture", "trip_id": trip.id})).await;
    let basket = submit(&shop, &mut bob, &mut trip, 2).await;
    let debit = bob.debit(&shop).await;
    assert_eq!((debit.status, debit.due), (DebitStatus::Unpaid, basket.total));
    assert_eq!(debit.reason.as_deref(), Some("insufficient_funds"));
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a26_accepts_the_hold_and_passes_it_on() {
    let shop = Shop::open().await;
    let mut bob = shop.device_of("bob").await;
    let mut trip = Trip::new(shop.now());
    let hold = bob.hold_request(shop.now(), &mut trip, 4_200);
    let recorded = bob.put_hold(shop.now(), &hold).await.unwrap();
    assert_eq!(recorded.status(), StatusCode::CREATED);
    let now = shop.now();
    let mut seen = Vec::new();
    bob.until(&shop, |device, event| {
        if let EventBody::Hold { document } = event {
            let result: HoldResult = device.document(now, &document);
            assert_eq!((result.hold_id, result.amount), (hold.hold_id, eur(4_200)));
            seen.push(result.status);
        }
        seen.contains(&HoldStatus::Placed).then_some(())
    })
    .await;
    assert_eq!(seen, [HoldStatus::Accepted, HoldStatus::Placed], "two facts, in this order");
    let bank = shop.running.bank().unwrap();
    let (_, reserved) = bank.with(|bank, _| bank.balance("demo-bob")).await.unwrap();
    assert_eq!(reserved, eur(4_200), "on the bound account");
    shop.running.shutdown().await;
}
