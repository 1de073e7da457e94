//! B20–B22 and B33, each over real HTTP with real files: what payers see and pay, and what channels are believed.

use crate::client::{DEADLINE, Device, Shop, Trip, eur, json_of, problem_of, random10};
use crate::desk;
use mock_merchant::channel::port::Receipt;
use mock_merchant::channel::test::{APPLICATION, SELLER, TestNotification};
use mock_merchant::domain::service::SourceAdmin;
use mock_merchant::domain::{RefundStatus, RefundView};
use mock_merchant::keys::Signing;
use mock_merchant::store::slips::{self, SlipState};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use walkpay::protocol::document::*;
use walkpay::protocol::order::*;
use walkpay::{Currency, PaymentId, ServiceNumber, SlipNumber};

/// What a service system has handed in.
#[derive(Clone, Copy)]
pub struct Service {
    pub payer: &'static str,
    pub source: &'static str,
    pub case: &'static str,
    pub minor: i64,
    pub days: u64,
}

pub const DELIVERY: Service = Service { payer: "alice", source: "delivery", case: "C-1", minor: 1_000, days: 14 };
pub const REPAIR: Service = Service { payer: "alice", source: "repair", case: "C-2", minor: 500, days: 3 };

/// A payable order, handed in and confirmed over HTTP by a service system whose address nobody can reach.
pub async fn order(shop: &Shop, service: Service) -> ServiceNumber {
    order_in(shop, service, eur(0).currency).await
}

/// The same in another currency.
pub async fn order_in(shop: &Shop, service: Service, currency: Currency) -> ServiceNumber {
    let key = source_key(shop, service.source).await;
    let send = async |method: Method, path: &str, header: (&str, &str), body: Value| {
        let request = shop.http.request(method, shop.url(&format!("/service/v1/orders{path}"))).bearer_auth(&key);
        let (status, answer) = json_of(request.header(header.0, header.1).json(&body).send().await.unwrap()).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    };
    let amount = json!({ "amount": currency.minor(service.minor).to_decimal_string(), "currency": currency.code() });
    let body = json!({
        "service_name": "Delivery of a washing machine",
        "payer": service.payer,
        "paying_unit": "Acme",
        "remarks": "Ring twice",
        "case_number": service.case,
        "case_name": "Kitchen",
        "deadline": shop.now().plus(Duration::from_secs(service.days * 24 * 3600)),
        "fees": [{ "name": "Delivery", "unit_price": amount }],
    });
    let under = format!("k-{}", PaymentId::new(shop.now(), random10()));
    let made = send(Method::POST, "", ("idempotency-key", &under), body).await;
    let number = made["service_number"].as_str().unwrap();
    send(Method::PUT, &format!("/{number}/confirmation"), ("if-match", "\"1\""), json!({"decision": "confirm"})).await;
    ServiceNumber::parse(number).unwrap()
}

/// The API key of a service system, which is added when it is first needed.
pub async fn source_key(shop: &Shop, source: &'static str) -> String {
    let known = shop.sources.lock().unwrap().get(source).cloned();
    if let Some(key) = known {
        return key;
    }
    let named = |text: &str| text.to_owned();
    let add = SourceAdmin::Add {
        source_id: named(source),
        name: named(source),
        payee: named("Walkpay Services"),
        time_zone: named("Asia/Tokyo"),
    };
    desk::admin(shop, add).await;
    desk::callback(shop, source, NOWHERE, true).await;
    let key = desk::new_key(shop, source, "orders:write orders:read").await;
    shop.sources.lock().unwrap().insert(source, key.clone());
    key
}

/// A callback address at which nobody listens.
const NOWHERE: &str = "http://127.0.0.1:9/service-hook";

fn request(orders: &[ServiceNumber]) -> SlipRequest {
    SlipRequest { orders: orders.to_vec(), remarks: String::new(), invoice: None }
}

impl Device {
    pub async fn slip_of(&self, shop: &Shop, orders: &[ServiceNumber]) -> SlipView {
        let key = format!("k-{}", PaymentId::new(shop.now(), random10()));
        let made = self.post(shop.now(), "/payer/v1/slips", &key, &request(orders)).await;
        assert_eq!(made.status(), StatusCode::CREATED);
        made.json().await.unwrap()
    }

    pub fn slip_payment(
        &mut self,
        shop: &Shop,
        slip: &SlipView,
        method: PaymentMethod,
        stored_value: i64,
    ) -> SlipPayment {
        SlipPayment {
            merchant_id: self.merchant.clone(),
            sub: self.sub.clone(),
            device_id: self.id,
            device_seq: self.next_seq(),
            slip_number: slip.slip_number,
            payment_id: PaymentId::new(shop.now(), random10()),
            method,
            amount: slip.amount,
            stored_value: slip.amount.currency.minor(stored_value),
            signed_at: shop.now(),
        }
    }

    pub async fn put_payment(&self, shop: &Shop, payment: &SlipPayment) -> reqwest::Response {
        let body = PaymentPut { payment: self.consent.jws(payment).unwrap() };
        let path = format!("/payer/v1/slips/{}/payments/{}", payment.slip_number, payment.payment_id);
        self.put(shop.now(), &path, &body).await.unwrap()
    }

    pub async fn pay(&mut self, shop: &Shop, slip: &SlipView, method: PaymentMethod, stored_value: i64) -> PaymentView {
        let payment = self.slip_payment(shop, slip, method, stored_value);
        let answer = self.put_payment(shop, &payment).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        answer.json().await.unwrap()
    }

    /// Waits until the device is told that a payment stands so.
    pub async fn told(&mut self, shop: &Shop, payment: PaymentId, status: PaymentStatus) -> SlipResult {
        let now = shop.now();
        self.until(shop, |device, event| match event {
            EventBody::Slip { document } => Some(device.document::<SlipResult>(now, &document))
                .filter(|r| r.payment.payment_id == payment && r.payment.status == status),
            _ => None,
        })
        .await
    }

    /// Waits until the host has what it needs for letting the payer pay.
    pub async fn launched(&mut self, shop: &Shop, payment: PaymentId) {
        let now = shop.now();
        self.until(shop, |device, event| match event {
            EventBody::Slip { document } => Some(device.document::<SlipResult>(now, &document))
                .filter(|r| r.payment.payment_id == payment && r.payment.launch.is_some()),
            _ => None,
        })
        .await;
    }

    pub async fn balance(&self, shop: &Shop) -> StoredValue {
        let balance: Balance = self.get_json(shop.now(), "/payer/v1/balance").await;
        balance.stored_value.expect("a stored-value account")
    }

    pub async fn slip(&self, shop: &Shop, slip: SlipNumber) -> SlipView {
        self.get_json(shop.now(), &format!("/payer/v1/slips/{slip}")).await
    }

    pub async fn order(&self, shop: &Shop, number: ServiceNumber) -> OrderView {
        self.get_json(shop.now(), &format!("/payer/v1/orders/{number}")).await
    }

    async fn orders(&self, shop: &Shop, query: &str) -> (Vec<ServiceNumber>, Option<ServiceNumber>) {
        let page: OrderPage = self.get_json(shop.now(), &format!("/payer/v1/orders?{query}")).await;
        (page.orders.iter().map(|o| o.service_number).collect(), page.next)
    }
}

pub async fn pays_at_channel(shop: &Shop, number: &str) -> StatusCode {
    let path = format!("/sim/v1/channel/trades/{number}/payment");
    shop.http.post(shop.url(&path)).send().await.unwrap().status()
}

async fn notify(shop: &Shop, body: String) -> reqwest::Response {
    let request = shop.http.post(shop.url("/channel/v1/test/notifications"));
    request.header("content-type", "application/jose").body(body).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn b20_lists_the_payers_orders() {
    let shop = Shop::open().await;
    let alice = shop.device_of("alice").await;
    let (first, second) = (order(&shop, DELIVERY).await, order(&shop, REPAIR).await);
    let third = order(&shop, Service { case: "C-1", ..REPAIR }).await;
    let of_bob = order(&shop, Service { payer: "bob", ..DELIVERY }).await;
    assert_eq!(alice.orders(&shop, "").await, (vec![first, second, third], None));
    assert_eq!(alice.orders(&shop, "status=payable,in_payment&limit=2").await, (vec![first, second], Some(second)));
    let rest = format!("after={second}&limit=2");
    assert_eq!(alice.orders(&shop, &rest).await, (vec![third], None));
    assert_eq!(alice.orders(&shop, "case_number=C-1").await.0, [first, third]);
    assert_eq!(alice.orders(&shop, "source=repair&case_number=C-2").await.0, [second]);
    assert_eq!(alice.orders(&shop, "status=paid").await.0, []);
    let soon = shop.now().plus(Duration::from_secs(5 * 24 * 3600));
    assert_eq!(alice.orders(&shop, &format!("due_before={soon}")).await.0, [second, third]);
    assert!(!alice.orders(&shop, "").await.0.contains(&of_bob), "everybody sees their own only");
    for bad in ["status=owed", "status=", "limit=0", "limit=201", "after=-1", "due_before=tomorrow"] {
        let answer = alice.get(shop.now(), &format!("/payer/v1/orders?{bad}")).await;
        assert!([400, 422].contains(&answer.status().as_u16()), "{bad}");
    }
    let unsigned = shop.http.get(shop.url("/payer/v1/orders")).send().await.unwrap();
    assert_eq!(problem_of(unsigned).await.0, 401);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b21_shows_an_order_in_full() {
    let shop = Shop::open().await;
    let (alice, bob) = (shop.device_of("alice").await, shop.device_of("bob").await);
    let number = order(&shop, DELIVERY).await;
    let seen = alice.order(&shop, number).await;
    assert_eq!((seen.summary.service_number, seen.summary.status), (number, OrderStatus::Payable));
    assert_eq!((seen.summary.total, seen.summary.due), (eur(1_000), eur(1_000)));
    assert_eq!(
        (seen.summary.case_name.as_str(), seen.paying_unit.as_str(), seen.remarks.as_str()),
        ("Kitchen", "Acme", "Ring twice")
    );
    assert_eq!((seen.fees.len(), seen.fees[0].amount, seen.version), (1, eur(1_000), 2));
    for path in [format!("/payer/v1/orders/{number}"), "/payer/v1/orders/000000000099999".to_owned()] {
        let answer = bob.get(shop.now(), &path).await;
        assert_eq!(problem_of(answer).await, (404, "not_found".to_owned()), "there and not there look alike");
    }
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b22_makes_one_slip_of_what_the_payer_selects() {
    let shop = Shop::open().await;
    let (alice, bob) = (shop.device_of("alice").await, shop.device_of("bob").await);
    let (first, second) = (order(&shop, DELIVERY).await, order(&shop, REPAIR).await);
    let invoice = Invoice { kind: InvoiceType::Company, title: "Acme".into(), tax_id: Some("DE123456".into()) };
    let asked =
        SlipRequest { remarks: "for the kitchen".into(), invoice: Some(invoice.clone()), ..request(&[second, first]) };
    let path = "/payer/v1/slips";
    let made = alice.post(shop.now(), path, "key-1", &asked).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let made: Value = made.json().await.unwrap();
    assert_eq!(made["slip_number"].as_str().unwrap().len(), 18);
    let slip: SlipView = serde_json::from_value(made.clone()).unwrap();
    assert_eq!((slip.amount, slip.status, slip.payee.as_str()), (eur(1_500), SlipStatus::Open, "Walkpay Services"));
    assert_eq!((slip.remarks.as_str(), slip.invoice, slip.method), ("for the kitchen", Some(invoice), None));
    assert_eq!(slip.title, "Delivery of a washing machine + 1");
    let items: Vec<_> = slip.items.iter().map(|i| (i.service_number, i.amount)).collect();
    assert_eq!(items, [(first, eur(1_000)), (second, eur(500))]);
    // Once per key; the orders are locked.
    let again = alice.post(shop.now(), path, "key-1", &asked).await;
    assert_eq!(again.json::<Value>().await.unwrap(), made);
    let other = alice.post(shop.now(), path, "key-1", &request(&[first])).await;
    assert_eq!(problem_of(other).await, (422, "idempotency_mismatch".to_owned()));
    let locked = alice.post(shop.now(), path, "key-2", &request(&[first])).await;
    assert_eq!(problem_of(locked).await, (409, "order_not_payable".to_owned()));
    assert_eq!(alice.order(&shop, first).await.summary.slip_number, Some(slip.slip_number));
    let body = serde_json::to_vec(&asked).unwrap();
    let without = alice.send(shop.now(), Method::POST, path, body).await.unwrap();
    assert_eq!(problem_of(without).await, (400, "idempotency_key_missing".to_owned()));
    // What is not right about the request.
    let text = |text: &str| SlipRequest { remarks: text.into(), ..request(&[first]) };
    for (n, bad) in [text("a\u{7}"), text(&"x".repeat(501)), request(&[]), request(&[first; 51])].iter().enumerate() {
        let answer = alice.post(shop.now(), path, &format!("bad-{n}"), bad).await;
        assert_eq!(problem_of(answer).await, (422, "invalid_value".to_owned()), "{n}");
    }
    let stolen = bob.post(shop.now(), path, "key-1", &request(&[first])).await;
    assert_eq!(problem_of(stolen).await, (404, "not_found".to_owned()), "another caller's key, another payer's order");
    // Given up, the orders are free again.
    let closure = format!("/payer/v1/slips/{}/closure", slip.slip_number);
    for _ in 0..2 {
        let closed = alice.send(shop.now(), Method::PUT, &closure, Vec::new()).await.unwrap();
        assert_eq!(closed.json::<SlipView>().await.unwrap().status, SlipStatus::Closed);
    }
    let next = alice.slip_of(&shop, &[first]).await;
    let page: Value = alice.get_json(shop.now(), "/payer/v1/slips?limit=1").await;
    assert_eq!((&page["slips"][0]["slip_number"], &page["next"]), (&made["slip_number"], &made["slip_number"]));
    let rest: Value = alice.get_json(shop.now(), &format!("/payer/v1/slips?after={}", slip.slip_number)).await;
    assert_eq!(rest["slips"][0]["slip_number"], json!(next.slip_number));
    // An open slip that nobody pays gives them back by itself.
    shop.advance(Duration::from_secs(3_700)).await;
    let (app, number) = (shop.running.app(), next.slip_number);
    let expired = async {
        while app.read(move |tx| Ok(slips::get(tx, number)?)).await.unwrap().state != SlipState::Closed {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, expired).await.expect("the slip expires");
    assert_eq!(alice.slip(&shop, number).await.status, SlipStatus::Closed);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b22_a_slip_is_paid_by_stored_value_and_bank() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    // Stored value alone, at once.
    let number = order(&shop, DELIVERY).await;
    let slip = alice.slip_of(&shop, &[number]).await;
    let paid = alice.pay(&shop, &slip, PaymentMethod::StoredValue, 1_000).await;
    assert_eq!(paid.status, PaymentStatus::Succeeded);
    let seen = alice.order(&shop, number).await;
    assert_eq!((seen.summary.status, seen.summary.due), (OrderStatus::Paid, eur(0)));
    // Stored value first, the bank for the rest, on the payer's own signature; answers lost on the way double nothing.
    let orders = [order(&shop, DELIVERY).await, order(&shop, Service { minor: 4_000, ..REPAIR }).await];
    let slip = alice.slip_of(&shop, &orders).await;
    shop.arm(json!({"fault": "bank_no_answer_after", "operation": "pay"})).await;
    let payment = alice.slip_payment(&shop, &slip, PaymentMethod::Bank, 2_000);
    let first = alice.put_payment(&shop, &payment).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let first: Value = first.json().await.unwrap();
    let result = alice.told(&shop, payment.payment_id, PaymentStatus::Succeeded).await;
    // The same document again has the first answer, however the payment stands by now.
    let again = alice.put_payment(&shop, &payment).await;
    assert_eq!(again.status(), StatusCode::OK, "the same payment");
    assert_eq!(again.json::<Value>().await.unwrap(), first);
    assert_eq!(first["status"], "open");
    let path = format!("/payer/v1/slips/{}/payments/{}", slip.slip_number, payment.payment_id);
    let now: PaymentView = alice.get_json(shop.now(), &path).await;
    assert_eq!(now.status, PaymentStatus::Succeeded, "how it stands is asked otherwise");
    assert_eq!(result.slip_status, SlipStatus::Paid);
    let legs: Vec<_> = result.legs.iter().map(|l| (l.method, l.amount.minor, l.state)).collect();
    let (value, bank, done) = (PaymentMethod::StoredValue, PaymentMethod::Bank, LegState::Succeeded);
    assert_eq!(legs, [(value, 1_000, done), (value, 1_000, done), (bank, 3_000, done)]);
    let balance = shop.running.bank().unwrap().with(|bank, _| bank.balance("demo-alice")).await.unwrap();
    assert_eq!(balance.0, eur(97_000), "by the bank's own book");
    // A refusal gives the slip back for another try.
    let number = order(&shop, DELIVERY).await;
    let slip = alice.slip_of(&shop, &[number]).await;
    shop.arm(json!({"fault": "bank_declined", "operation": "pay"})).await;
    let refused = alice.pay(&shop, &slip, PaymentMethod::Bank, 0).await;
    let result = alice.told(&shop, refused.payment_id, PaymentStatus::Closed).await;
    assert_eq!((result.slip_status, result.payment.reason.as_deref()), (SlipStatus::Open, Some("insufficient_funds")));
    let again = alice.pay(&shop, &slip, PaymentMethod::Bank, 0).await;
    alice.told(&shop, again.payment_id, PaymentStatus::Succeeded).await;
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b22_a_slip_is_paid_over_a_channel_whatever_fails() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    for fault in [
        "channel_slow",
        "channel_no_answer_before",
        "channel_no_answer_after",
        "channel_never_knew",
        "channel_notification_lost",
        "channel_notification_duplicated",
        "channel_notification_late",
        "channel_notification_replayed",
        "channel_notification_wrong_amount",
        "channel_notification_other_currency",
        "channel_notification_other_app",
        "channel_notification_other_seller",
        "channel_notification_forged",
    ] {
        let slip = alice.slip_of(&shop, &[order(&shop, DELIVERY).await]).await;
        shop.arm(json!({ "fault": fault })).await;
        let payment = alice.pay(&shop, &slip, PaymentMethod::Test, 0).await;
        alice.launched(&shop, payment.payment_id).await;
        let number = format!("{}01", slip.slip_number);
        assert_eq!(pays_at_channel(&shop, &number).await, StatusCode::NO_CONTENT);
        shop.advance(Duration::from_secs(60)).await;
        let result = alice.told(&shop, payment.payment_id, PaymentStatus::Succeeded).await;
        assert_eq!((result.slip_status, result.legs.len()), (SlipStatus::Paid, 1), "{fault}");
        assert_eq!(pays_at_channel(&shop, &number).await, StatusCode::CONFLICT, "once");
    }
    let (_, table) = shop.get("/sim/v1/faults").await;
    assert_eq!(table["armed"], json!([]), "all of them have struck");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_a_channel_that_refuses_leaves_the_slip_for_another_try() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let number = order(&shop, DELIVERY).await;
    let slip = alice.slip_of(&shop, &[number]).await;
    shop.arm(json!({"fault": "channel_refuses"})).await;
    let refused = alice.pay(&shop, &slip, PaymentMethod::Test, 400).await;
    assert_eq!(refused.status, PaymentStatus::Open, "the channel is asked after the answer");
    let result = alice.told(&shop, refused.payment_id, PaymentStatus::Closed).await;
    assert_eq!((result.slip_status, result.payment.reason.as_deref()), (SlipStatus::Open, Some("refused_by_channel")));
    assert_eq!(result.legs, [], "nothing moved, stored value neither");
    assert_eq!(pays_at_channel(&shop, &format!("{}01", slip.slip_number)).await, StatusCode::NOT_FOUND);
    // What was reserved is free again: all of the slip can be paid with it.
    let free = alice.balance(&shop).await;
    assert_eq!((free.balance, free.available), (eur(3_000), eur(3_000)));
    assert_eq!(alice.order(&shop, number).await.summary.status, OrderStatus::Payable);
    let again = alice.pay(&shop, &slip, PaymentMethod::Test, 400).await;
    alice.launched(&shop, again.payment_id).await;
    assert_eq!(alice.balance(&shop).await.available, eur(2_600), "reserved as long as the payment is open");
    assert_eq!(pays_at_channel(&shop, &format!("{}02", slip.slip_number)).await, StatusCode::NO_CONTENT);
    let result = alice.told(&shop, again.payment_id, PaymentStatus::Succeeded).await;
    assert_eq!((result.slip_status, result.legs.len()), (SlipStatus::Paid, 2));
    assert_eq!(alice.balance(&shop).await.balance, eur(2_600));
    // Where there is no stored-value account, there is none to tell of.
    let bob = shop.device_of("bob").await;
    let none: Balance = bob.get_json(shop.now(), "/payer/v1/balance").await;
    assert_eq!(none.stored_value, None);
    let unsigned = shop.http.get(shop.url("/payer/v1/balance")).send().await.unwrap();
    assert_eq!(problem_of(unsigned).await.0, 401);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b22_orders_are_free_only_when_the_channel_says_so() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let number = order(&shop, DELIVERY).await;
    let slip = alice.slip_of(&shop, &[number]).await;
    let payment = alice.pay(&shop, &slip, PaymentMethod::Test, 0).await;
    alice.launched(&shop, payment.payment_id).await;
    let second = alice.slip_payment(&shop, &slip, PaymentMethod::Bank, 0);
    assert_eq!(problem_of(alice.put_payment(&shop, &second).await).await, (409, "payment_open".to_owned()));
    let slip_closure = format!("/payer/v1/slips/{}/closure", slip.slip_number);
    let refused = alice.send(shop.now(), Method::PUT, &slip_closure, Vec::new()).await.unwrap();
    assert_eq!(problem_of(refused).await, (409, "payment_open".to_owned()));
    shop.arm(json!({"fault": "channel_closes_late"})).await;
    let closure = format!("/payer/v1/slips/{}/payments/{}/closure", slip.slip_number, payment.payment_id);
    let closing = alice.send(shop.now(), Method::PUT, &closure, Vec::new()).await.unwrap();
    assert_eq!(closing.json::<PaymentView>().await.unwrap().status, PaymentStatus::Closing);
    assert_eq!(alice.order(&shop, number).await.summary.status, OrderStatus::InPayment);
    alice.told(&shop, payment.payment_id, PaymentStatus::Closing).await;
    shop.advance(Duration::from_secs(40)).await;
    let result = alice.told(&shop, payment.payment_id, PaymentStatus::Closed).await;
    assert_eq!((result.slip_status, result.payment.reason.as_deref()), (SlipStatus::Open, Some("closed_by_payer")));
    assert_eq!(alice.order(&shop, number).await.summary.status, OrderStatus::Payable);
    // Paid at the channel after its end, and the slip paid otherwise: the channel's money goes back.
    let paid = alice.pay(&shop, &slip, PaymentMethod::Test, 0).await;
    alice.launched(&shop, paid.payment_id).await;
    shop.arm(json!({"fault": "channel_paid_after_close"})).await;
    let closure = format!("/payer/v1/slips/{}/payments/{}/closure", slip.slip_number, paid.payment_id);
    alice.send(shop.now(), Method::PUT, &closure, Vec::new()).await.unwrap();
    alice.told(&shop, paid.payment_id, PaymentStatus::Closed).await;
    alice.pay(&shop, &slip, PaymentMethod::StoredValue, 1_000).await;
    let trade = format!("{}02", slip.slip_number);
    assert_eq!(pays_at_channel(&shop, &trade).await, StatusCode::NO_CONTENT);
    let channel = shop.running.app().channels.test().unwrap().clone();
    let given_back = async {
        while channel.trade(&trade).unwrap().refunded != 1_000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, given_back).await.expect("it goes back");
    assert_eq!(alice.order(&shop, number).await.legs.len(), 1);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b33_payers_never_reach_a_service_system() {
    // The service system's address leads nowhere: everything that a payer needs is here all the same.
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let number = order(&shop, DELIVERY).await;
    let slip = alice.slip_of(&shop, &[number]).await;
    let paid = alice.pay(&shop, &slip, PaymentMethod::StoredValue, 1_000).await;
    assert_eq!(paid.status, PaymentStatus::Succeeded);
    for path in [
        "/payer/v1/orders".to_owned(),
        format!("/payer/v1/orders/{number}"),
        format!("/payer/v1/slips/{}", slip.slip_number),
    ] {
        let text = alice.get(shop.now(), &path).await.text().await.unwrap();
        assert!(text.contains("Delivery of a washing machine"), "{path}");
        assert!(!text.contains("http") && !text.contains("service-hook"), "{path} leads nowhere else: {text}");
    }
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_are_believed_only_as_the_channel_signed_them() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let slip = alice.slip_of(&shop, &[order(&shop, DELIVERY).await]).await;
    let payment = alice.pay(&shop, &slip, PaymentMethod::Test, 0).await;
    alice.launched(&shop, payment.payment_id).await;
    let number = format!("{}01", slip.slip_number);
    let receipt = Receipt {
        application: APPLICATION.into(),
        seller: SELLER.into(),
        number: number.clone(),
        trade: "T1".into(),
        amount: eur(1_000),
    };
    let forged = TestNotification { receipt, paid_at: shop.now() };
    let stranger = Signing::new(&[66; 32]).unwrap();
    for body in [String::new(), "{}".to_owned(), "a.b.c".to_owned(), stranger.jws(&forged).unwrap()] {
        assert_eq!(problem_of(notify(&shop, body).await).await, (401, "signature_invalid".to_owned()));
    }
    assert_eq!(alice.slip(&shop, slip.slip_number).await.status, SlipStatus::Paying);
    // A true one, taken on its way, is good once; altered it is good for nothing.
    shop.arm(json!({"fault": "channel_notification_late"})).await;
    assert_eq!(pays_at_channel(&shop, &number).await, StatusCode::NO_CONTENT);
    let channel = shop.running.app().channels.test().unwrap().clone();
    let body = channel.notifications(shop.now().plus(Duration::from_secs(60))).pop().unwrap();
    let mut altered = body.clone().into_bytes();
    let middle = altered.len() / 2;
    altered[middle] = if altered[middle] == b'A' { b'B' } else { b'A' };
    let altered = String::from_utf8(altered).unwrap();
    assert_eq!(problem_of(notify(&shop, altered).await).await, (401, "signature_invalid".to_owned()));
    for _ in 0..3 {
        assert_eq!(notify(&shop, body.clone()).await.status(), StatusCode::NO_CONTENT);
    }
    let result = alice.told(&shop, payment.payment_id, PaymentStatus::Succeeded).await;
    assert_eq!(result.legs.len(), 1, "replayed, and booked once");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_pays_sees_or_closes_what_is_not_theirs() {
    let shop = Shop::open().await;
    let (mut alice, mut bob) = (shop.device_of("alice").await, shop.device_of("bob").await);
    let number = order(&shop, DELIVERY).await;
    let slip = alice.slip_of(&shop, &[number]).await;
    let payment = alice.slip_payment(&shop, &slip, PaymentMethod::Test, 0);
    assert_eq!(alice.put_payment(&shop, &payment).await.status(), StatusCode::CREATED);
    let of_slip = format!("/payer/v1/slips/{}", slip.slip_number);
    let of_payment = format!("{of_slip}/payments/{}", payment.payment_id);
    for (method, path) in [
        (Method::GET, of_slip.clone()),
        (Method::GET, of_payment.clone()),
        (Method::PUT, format!("{of_slip}/closure")),
        (Method::PUT, format!("{of_payment}/closure")),
    ] {
        let answer = bob.send(shop.now(), method.clone(), &path, Vec::new()).await.unwrap();
        assert_eq!(problem_of(answer).await, (404, "not_found".to_owned()), "{method} {path}");
    }
    // Bob's own consent to a guessed slip, and Alice's consent sent by Bob.
    let guessed = bob.slip_payment(&shop, &slip, PaymentMethod::Bank, 0);
    assert_eq!(problem_of(bob.put_payment(&shop, &guessed).await).await, (404, "not_found".to_owned()));
    let stolen = PaymentPut { payment: alice.consent.jws(&payment).unwrap() };
    let answer = bob.put(shop.now(), &of_payment, &stolen).await.unwrap();
    assert_eq!(problem_of(answer).await, (422, "document_invalid".to_owned()));
    let impersonated = SlipPayment { device_seq: bob.next_seq(), ..payment.clone() };
    let answer = bob.put_payment(&shop, &impersonated).await;
    assert_eq!(problem_of(answer).await, (422, "document_mismatch".to_owned()), "it says that it is Alice's");
    // Another amount than the slip's, another path than the document's, another document under the identifier.
    let (other, mut again) = (alice.slip_of(&shop, &[order(&shop, REPAIR).await]).await, payment.clone());
    let cheaper = SlipPayment { amount: eur(1), ..alice.slip_payment(&shop, &other, PaymentMethod::Bank, 0) };
    assert_eq!(problem_of(alice.put_payment(&shop, &cheaper).await).await, (422, "document_mismatch".to_owned()));
    let elsewhere = format!("/payer/v1/slips/{}/payments/{}", other.slip_number, payment.payment_id);
    let answer = alice.put(shop.now(), &elsewhere, &stolen).await.unwrap();
    assert_eq!(problem_of(answer).await, (422, "document_mismatch".to_owned()));
    again.device_seq = alice.next_seq();
    assert_eq!(problem_of(alice.put_payment(&shop, &again).await).await, (422, "id_conflict".to_owned()));
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_gives_a_baskets_money_back() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let mut trip = Trip::new(shop.now());
    let hold = alice.hold_request(shop.now(), &mut trip, 20_000);
    alice.put_hold(shop.now(), &hold).await.unwrap();
    alice.hold_in(&shop, HoldStatus::Placed).await;
    let (basket, lines) = alice.basket(shop.now(), &mut trip, 40);
    alice.put_attempt(shop.now(), &basket, &lines).await.unwrap();
    let debit = alice.debit(&shop).await;
    let out = shop.cli(&["staff", "token", "demo-1", "--staff", "anna"]);
    let token = String::from_utf8(out.stdout).unwrap().trim().to_owned();
    let path = format!("/staff/v1/orders/{}/refunds", debit.service_number);
    let ask = |key: &'static str, body: Value| {
        let request = shop.http.post(shop.url(&path)).bearer_auth(&token).header("idempotency-key", key);
        async move { request.json(&body).send().await.unwrap() }
    };
    let body = json!({ "amount": { "amount": "5.00", "currency": "EUR" } });
    let made: RefundView = ask("r1", body.clone()).await.json().await.unwrap();
    assert_eq!((made.amount, made.legs.len(), made.legs[0].method), (eur(500), 1, PaymentMethod::Bank));
    let again: RefundView = ask("r1", body).await.json().await.unwrap();
    assert_eq!(again, made, "once per key");
    let too_much = ask("r2", json!({ "amount": { "amount": "9999.00", "currency": "EUR" } })).await;
    assert_eq!(problem_of(too_much).await, (422, "refund_exceeds".to_owned()));
    let now = shop.now();
    let told = alice.until(&shop, |device, event| match event {
        EventBody::Order { document } => Some(device.document::<OrderNotice>(now, &document)),
        _ => None,
    });
    assert_eq!(told.await.news, OrderNews::Refunded);
    let seen = alice.order(&shop, debit.service_number).await;
    assert_eq!((seen.summary.status, seen.refunded), (OrderStatus::PartlyRefunded, eur(500)));
    let (_, listed) = json_of(shop.http.get(shop.url(&path)).bearer_auth(&token).send().await.unwrap()).await;
    assert_eq!(listed["refunds"][0]["status"], json!(RefundStatus::Done));
    let service = order(&shop, DELIVERY).await;
    let foreign = shop.http.post(shop.url(&format!("/staff/v1/orders/{service}/refunds"))).bearer_auth(&token);
    let foreign = foreign.header("idempotency-key", "r3").json(&json!({})).send().await.unwrap();
    assert_eq!(problem_of(foreign).await, (404, "not_found".to_owned()), "not of this store");
    shop.running.shutdown().await;
}
