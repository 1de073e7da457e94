//! B23 and B31 over WeChat Pay: a real server, its simulated gateway over HTTP, and notifications that somebody else makes.

use crate::client::{DEADLINE, Device, Shop, json_of, problem_of};
use crate::desk::new_key;
use crate::slips::{DELIVERY, Service, order_in};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mock_merchant::channel::rsa_key::RsaKey;
use mock_merchant::channel::wechat::sim::keys::{MERCHANT, PLATFORM, STRANGER};
use mock_merchant::channel::wechat::{ApiV3Key, NOTIFY_PATH, SCHEME, Seal};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use walkpay::protocol::document::*;
use walkpay::protocol::order::*;
use walkpay::protocol::query::Totals;
use walkpay::{Currency, Money, ServiceNumber, Timestamp};

fn cny(minor: i64) -> Money {
    Currency::parse("CNY").unwrap().minor(minor)
}

async fn order(shop: &Shop) -> ServiceNumber {
    order_in(shop, DELIVERY, cny(0).currency).await
}

/// What the merchant's console shows at the simulated gateway.
struct Console(Value);

impl Console {
    async fn open(shop: &Shop) -> Self {
        let (status, body) = shop.get("/sim/tenpay/credentials").await;
        assert_eq!(status, StatusCode::OK);
        Self(body)
    }

    fn text(&self, member: &str) -> &str {
        self.0[member].as_str().unwrap()
    }

    fn serial(&self) -> String {
        self.0["certificates"][0]["serial_no"].as_str().unwrap().to_owned()
    }

    /// A request that the merchant has signed, changed before and after that.
    async fn call(&self, shop: &Shop, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.call_as(shop, method, path, body, MERCHANT, shop.now(), self.text("serial_no")).await
    }

    #[allow(clippy::too_many_arguments)]
    async fn call_as(
        &self,
        shop: &Shop,
        method: Method,
        path: &str,
        body: Option<Value>,
        key: &str,
        at: Timestamp,
        serial: &str,
    ) -> (StatusCode, Value) {
        let body = body.map(|b| b.to_string()).unwrap_or_default();
        let (seconds, nonce) = (at.as_millis() / 1000, "0123456789ABCDEF");
        let message = format!("{method}\n{path}\n{seconds}\n{nonce}\n{body}\n");
        let signature = STANDARD.encode(RsaKey::parse(key).unwrap().sign(message.as_bytes()).unwrap());
        let value = format!(
            "{SCHEME} mchid=\"{}\",nonce_str=\"{nonce}\",signature=\"{signature}\",timestamp=\"{seconds}\",serial_no=\"{serial}\"",
            self.text("mchid"),
        );
        let request = shop.http.request(method, shop.url(&format!("/sim/tenpay{path}")));
        json_of(request.header("authorization", value).body(body).send().await.unwrap()).await
    }

    /// How an order stands at the gateway.
    async fn state(&self, shop: &Shop, number: &str) -> Value {
        let path = format!("/v3/pay/transactions/out-trade-no/{number}?mchid={}", self.text("mchid"));
        self.call(shop, Method::GET, &path, None).await.1
    }

    /// What the gateway would say of a payment.
    fn paid(&self, number: &str, total: i64) -> Value {
        json!({
            "appid": self.text("appid"), "mchid": self.text("mchid"), "out_trade_no": number, "trade_state": "SUCCESS",
            "transaction_id": "4200000001", "trade_type": "NATIVE", "amount": { "total": total, "currency": "CNY" },
        })
    }

    /// A notification with that inside.
    fn notification(&self, inside: &Value, api_key: &str) -> String {
        let key = ApiV3Key::parse(api_key).unwrap();
        let sealed = key.seal("0123456789ab", "transaction", inside.to_string().as_bytes()).unwrap();
        json!({
            "id": "n1", "create_time": "2026-01-01T00:00:00+08:00", "event_type": "TRANSACTION.SUCCESS",
            "resource_type": "encrypt-resource", "summary": "", "resource": sealed,
        })
        .to_string()
    }

    /// Its signature by a platform key.
    fn seal(&self, key: &str, serial: &str, at: Timestamp, body: &str) -> Seal {
        Seal::make(&RsaKey::parse(key).unwrap(), serial, at, "a nonce", body.as_bytes()).unwrap()
    }
}

async fn notify(shop: &Shop, seal: Option<&Seal>, body: &str) -> (u16, Value) {
    let mut request = shop.http.post(shop.url(NOTIFY_PATH)).header("content-type", "application/json");
    for (name, value) in seal.iter().flat_map(|s| s.headers()) {
        request = request.header(name, value);
    }
    let (status, answer) = json_of(request.body(body.to_owned()).send().await.unwrap()).await;
    (status.as_u16(), answer)
}

/// The payer confirms or cancels at the gateway's cashier.
async fn decides(shop: &Shop, code: &str, action: &str) -> StatusCode {
    let form = form(&[("pr", code), ("action", action)]);
    let request = shop.http.post(shop.url("/sim/tenpay/cashier"));
    request.header("content-type", "application/x-www-form-urlencoded").body(form).send().await.unwrap().status()
}

fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Begins a payment over WeChat Pay; the number at the gateway and the launch data.
async fn begin(shop: &Shop, device: &mut Device, slip: &SlipView) -> (PaymentView, String, Launch) {
    let payment = device.pay(shop, slip, PaymentMethod::Tenpay, 0).await;
    device.launched(shop, payment.payment_id).await;
    let path = format!("/payer/v1/slips/{}/payments/{}", slip.slip_number, payment.payment_id);
    let seen: PaymentView = device.get_json(shop.now(), &path).await;
    let attempt = slip_attempts(shop, device, slip).await;
    (seen.clone(), format!("{}{attempt:02}", slip.slip_number), seen.launch.unwrap())
}

async fn slip_attempts(shop: &Shop, device: &Device, slip: &SlipView) -> usize {
    device.slip(shop, slip.slip_number).await.payments.len()
}

fn qr(launch: &Launch) -> &str {
    match launch {
        Launch::Qr { text } => text,
        other => panic!("no QR code: {other:?}"),
    }
}

/// Moves the clock in small steps until a payment stands so.
async fn comes_to(shop: &Shop, device: &mut Device, payment: &PaymentView, status: PaymentStatus) -> PaymentView {
    let path = format!("/payer/v1/slips/{}/payments/{}", payment.slip_number, payment.payment_id);
    let reached = async {
        loop {
            let seen: PaymentView = device.get_json(shop.now(), &path).await;
            if seen.status == status {
                return seen;
            }
            shop.advance(Duration::from_secs(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, reached).await.expect("the payment comes to it")
}

async fn eventually(shop: &Shop, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let reached = async {
        while !holds().await {
            shop.advance(Duration::from_secs(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, reached).await.expect(what);
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_tenpay_is_paid_by_the_code_that_the_payer_scans() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let number = order(&shop).await;
    let slip = alice.slip_of(&shop, &[number]).await;
    let (payment, trade, launch) = begin(&shop, &mut alice, &slip).await;
    let text = qr(&launch);
    assert!(text.starts_with("weixin://wxpay/bizpayurl?pr="), "{text}");
    let console = Console::open(&shop).await;
    assert_eq!(console.state(&shop, &trade).await["trade_state"], "NOTPAY");
    let cashier = shop.url(&format!("/sim/tenpay/cashier?{}", form(&[("pr", text)])));
    let page = shop.http.get(&cashier).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("¥10.00") && page.contains("Delivery of a washing machine"), "{page}");
    assert_eq!(decides(&shop, text, "cancel").await, StatusCode::OK);
    assert_eq!(console.state(&shop, &trade).await["trade_state"], "NOTPAY", "cancelled is not paid");
    shop.arm(json!({"fault": "tenpay_payment_fails"})).await;
    assert_eq!(decides(&shop, text, "pay").await, StatusCode::CONFLICT);
    assert_eq!(console.state(&shop, &trade).await["trade_state"], "PAYERROR");
    assert_eq!(decides(&shop, text, "pay").await, StatusCode::OK);
    let result = alice.told(&shop, payment.payment_id, PaymentStatus::Succeeded).await;
    let legs: Vec<_> = result.legs.iter().map(|l| (l.method, l.amount, l.state)).collect();
    assert_eq!(legs, [(PaymentMethod::Tenpay, cny(1_000), LegState::Succeeded)]);
    assert_eq!(alice.order(&shop, number).await.summary.status, OrderStatus::Paid);
    assert_eq!(console.state(&shop, &trade).await["trade_state"], "SUCCESS");
    assert_eq!(decides(&shop, text, "pay").await, StatusCode::CONFLICT, "once");
    assert_eq!(decides(&shop, "nonsense", "pay").await, StatusCode::NOT_FOUND);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_tenpay_is_paid_whatever_fails() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let anywhere = [
        "tenpay_unknown_until_scanned",
        "tenpay_notification_lost",
        "tenpay_notification_duplicated",
        "tenpay_notification_late",
        "tenpay_notification_replayed",
        "tenpay_notification_wrong_amount",
        "tenpay_notification_other_currency",
        "tenpay_notification_other_app",
        "tenpay_notification_other_seller",
        "tenpay_notification_forged",
        "tenpay_notification_stale",
        "tenpay_notification_other_key",
    ];
    let of_answers = [
        "tenpay_system_error_before",
        "tenpay_system_error_after",
        "tenpay_frequency_limited",
        "tenpay_sign_error",
        "tenpay_no_answer_before",
        "tenpay_no_answer_after",
        "tenpay_slow",
        "tenpay_answer_forged",
        "tenpay_answer_unsigned",
        "tenpay_answer_stale",
        "tenpay_certificate_expired",
    ];
    let faults = anywhere.map(|f| json!({ "fault": f })).into_iter();
    for fault in faults.chain(of_answers.map(|f| json!({ "fault": f, "operation": "create" }))) {
        let slip = alice.slip_of(&shop, &[order(&shop).await]).await;
        shop.arm(fault.clone()).await;
        let (payment, trade, launch) = begin(&shop, &mut alice, &slip).await;
        assert_eq!(decides(&shop, qr(&launch), "pay").await, StatusCode::OK, "{fault}");
        comes_to(&shop, &mut alice, &payment, PaymentStatus::Succeeded).await;
        let seen = alice.slip(&shop, slip.slip_number).await;
        assert_eq!((seen.status, seen.payments.len()), (SlipStatus::Paid, 1), "{fault}");
        assert_eq!(trade, format!("{}01", slip.slip_number));
    }
    let (_, table) = shop.get("/sim/v1/faults").await;
    assert_eq!(table["armed"], json!([]), "all of them have struck");
    // A refusal for good gives the slip back for another try.
    let slip = alice.slip_of(&shop, &[order(&shop).await]).await;
    shop.arm(json!({"fault": "tenpay_refuses"})).await;
    let refused = alice.pay(&shop, &slip, PaymentMethod::Tenpay, 0).await;
    let closed = comes_to(&shop, &mut alice, &refused, PaymentStatus::Closed).await;
    assert_eq!(closed.reason.as_deref(), Some("tenpay_no_auth"));
    let (payment, _, launch) = begin(&shop, &mut alice, &slip).await;
    assert_eq!(decides(&shop, qr(&launch), "pay").await, StatusCode::OK);
    comes_to(&shop, &mut alice, &payment, PaymentStatus::Succeeded).await;
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_tenpay_takes_yuan_only() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let slip = alice.slip_of(&shop, &[crate::slips::order(&shop, DELIVERY).await]).await;
    let payment = alice.pay(&shop, &slip, PaymentMethod::Tenpay, 0).await;
    let result = alice.told(&shop, payment.payment_id, PaymentStatus::Closed).await;
    assert_eq!(
        (result.slip_status, result.payment.reason.as_deref()),
        (SlipStatus::Open, Some("currency_unsupported"))
    );
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_tenpay_notifications_count_only_if_all_of_it_is_as_it_was_asked_for() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let slip = alice.slip_of(&shop, &[order(&shop).await]).await;
    let (payment, trade, _) = begin(&shop, &mut alice, &slip).await;
    let console = Console::open(&shop).await;
    let (key, now) = (console.text("api_v3_key").to_owned(), shop.now());
    let (platform, serial) = (PLATFORM[0], console.serial());
    let good = console.notification(&console.paid(&trade, 1_000), &key);
    let seal = console.seal(platform, &serial, now, &good);
    let headerless = notify(&shop, None, &good).await;
    assert_eq!((headerless.0, headerless.1["code"].as_str()), (401, Some("FAIL")), "in the platform's own form");
    let minutes = |n: u64| Duration::from_secs(n * 60);
    for (why, seal) in [
        ("somebody else's key", console.seal(STRANGER, &serial, now, &good)),
        ("the merchant's own key", console.seal(MERCHANT, &serial, now, &good)),
        ("a serial number that nobody knows", console.seal(platform, "5F00", now, &good)),
        ("six minutes old", console.seal(platform, &serial, now.minus(minutes(6)), &good)),
        ("six minutes ahead", console.seal(platform, &serial, now.plus(minutes(6)), &good)),
        ("another body", console.seal(platform, &serial, now, "{}")),
        ("another nonce", Seal { nonce: "another".into(), ..seal.clone() }),
        ("another time", Seal { timestamp: (now.as_millis() / 1000 + 1).to_string(), ..seal.clone() }),
        ("a probe of the platform's", Seal { signature: "WECHATPAY/SIGNTEST/AAAA".into(), ..seal.clone() }),
    ] {
        assert_eq!(notify(&shop, Some(&seal), &good).await.0, 401, "{why}");
    }
    let spaced = format!("{good} ");
    assert_eq!(notify(&shop, Some(&seal), &spaced).await.0, 401, "the same JSON in other bytes");
    let changed = |member: &str, value: Value| {
        let mut inside = console.paid(&trade, 1_000);
        match member.split_once('.') {
            Some((outer, inner)) => inside[outer][inner] = value,
            None => inside[member] = value,
        }
        inside
    };
    for (member, value, status) in [
        ("appid", json!("wx9999999999999999"), 422),
        ("mchid", json!("1900000002"), 422),
        ("amount.total", json!(999), 422),
        ("amount.total", json!(1_001), 422),
        ("amount.currency", json!("HKD"), 422),
        ("out_trade_no", json!(format!("{}99", slip.slip_number)), 404),
        ("transaction_id", Value::Null, 401),
        ("trade_state", json!("NOTPAY"), 204),
    ] {
        let body = console.notification(&changed(member, value), &key);
        let seal = console.seal(platform, &serial, shop.now(), &body);
        assert_eq!(notify(&shop, Some(&seal), &body).await.0, status, "{member}");
    }
    let other_key = console.notification(&console.paid(&trade, 1_000), &"0".repeat(32));
    let other_seal = console.seal(platform, &serial, now, &other_key);
    assert_eq!(notify(&shop, Some(&other_seal), &other_key).await.0, 401, "another APIv3 key");
    assert_eq!(alice.slip(&shop, slip.slip_number).await.status, SlipStatus::Paying, "nothing of that has counted");
    // The true one counts once, however often it comes.
    for _ in 0..3 {
        assert_eq!(notify(&shop, Some(&seal), &good).await.0, 204);
    }
    let result = alice.told(&shop, payment.payment_id, PaymentStatus::Succeeded).await;
    assert_eq!(result.legs.len(), 1);
    // Ten minutes later the same bytes are too old to say anything.
    shop.advance(minutes(10)).await;
    assert_eq!(notify(&shop, Some(&seal), &good).await.0, 401);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_tenpay_money_that_comes_late_goes_back() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let console = Console::open(&shop).await;
    let number = order(&shop).await;
    let slip = alice.slip_of(&shop, &[number]).await;
    let (first, trade, launch) = begin(&shop, &mut alice, &slip).await;
    shop.arm(json!({"fault": "tenpay_paid_after_close"})).await;
    let closure = format!("/payer/v1/slips/{}/payments/{}/closure", slip.slip_number, first.payment_id);
    alice.send(shop.now(), Method::PUT, &closure, Vec::new()).await.unwrap();
    comes_to(&shop, &mut alice, &first, PaymentStatus::Closed).await;
    assert_eq!(alice.order(&shop, number).await.summary.status, OrderStatus::Payable);
    // The second attempt is paid and told of; only then does the payer pay the first one, whose notice comes last.
    let (second, other, next) = begin(&shop, &mut alice, &slip).await;
    assert_eq!(decides(&shop, qr(&next), "pay").await, StatusCode::OK);
    comes_to(&shop, &mut alice, &second, PaymentStatus::Succeeded).await;
    shop.arm(json!({"fault": "tenpay_notification_late"})).await;
    assert_eq!(decides(&shop, qr(&launch), "pay").await, StatusCode::OK);
    let given_back = async || console.state(&shop, &trade).await["trade_state"] == "REFUND";
    eventually(&shop, "it goes back", given_back).await;
    assert_eq!(console.state(&shop, &other).await["trade_state"], "SUCCESS", "and only that");
    assert_eq!(alice.order(&shop, number).await.legs.len(), 1);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_tenpay_orders_stay_locked_while_nobody_knows() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let number = order(&shop).await;
    let slip = alice.slip_of(&shop, &[number]).await;
    // The gateway promises a code and does not know the order before it is scanned; the payer gives up.
    shop.arm(json!({"fault": "tenpay_unknown_until_scanned"})).await;
    let (payment, trade, launch) = begin(&shop, &mut alice, &slip).await;
    let console = Console::open(&shop).await;
    assert_eq!(console.state(&shop, &trade).await["code"], "ORDER_NOT_EXIST");
    let closure = format!("/payer/v1/slips/{}/payments/{}/closure", slip.slip_number, payment.payment_id);
    alice.send(shop.now(), Method::PUT, &closure, Vec::new()).await.unwrap();
    let left = payment.deadline.since(shop.now());
    shop.advance(left + Duration::from_secs(60)).await;
    assert_eq!(decides(&shop, qr(&launch), "pay").await, StatusCode::CONFLICT, "the deadline was sent");
    assert_eq!(alice.order(&shop, number).await.summary.status, OrderStatus::InPayment, "the margin is not over");
    // Nothing answers any more: the deadline and its margin alone free nothing.
    shop.arm(json!({"fault": "tenpay_no_answer_before", "times": 1000})).await;
    shop.advance(Duration::from_secs(20 * 60)).await;
    let path = format!("/payer/v1/slips/{}/payments/{}", slip.slip_number, payment.payment_id);
    let seen: PaymentView = alice.get_json(shop.now(), &path).await;
    assert_eq!(seen.status, PaymentStatus::Closing);
    assert_eq!(alice.order(&shop, number).await.summary.status, OrderStatus::InPayment);
    // A last query is answered.
    assert!(shop.http.delete(shop.url("/sim/v1/faults")).send().await.unwrap().status().is_success());
    comes_to(&shop, &mut alice, &payment, PaymentStatus::Closed).await;
    assert_eq!(alice.order(&shop, number).await.summary.status, OrderStatus::Payable);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_tenpay_a_lost_creation_is_found_again() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let console = Console::open(&shop).await;
    let slip = alice.slip_of(&shop, &[order(&shop).await]).await;
    shop.arm(json!({"fault": "tenpay_no_answer_after", "operation": "create", "times": 3})).await;
    let payment = alice.pay(&shop, &slip, PaymentMethod::Tenpay, 0).await;
    let trade = format!("{}01", slip.slip_number);
    let made = async || console.state(&shop, &trade).await["trade_state"] == "NOTPAY";
    eventually(&shop, "the gateway has it", made).await;
    let path = format!("/payer/v1/slips/{}/payments/{}", slip.slip_number, payment.payment_id);
    let launched = async || alice.get_json::<PaymentView>(shop.now(), &path).await.launch.is_some();
    eventually(&shop, "asked again under the same number", launched).await;
    let seen: PaymentView = alice.get_json(shop.now(), &path).await;
    assert_eq!(decides(&shop, qr(seen.launch.as_ref().unwrap()), "pay").await, StatusCode::OK);
    comes_to(&shop, &mut alice, &payment, PaymentStatus::Succeeded).await;
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_tenpay_certificates_rotate_on_the_way() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let mut serials = vec![Console::open(&shop).await.serial()];
    for _ in 0..3 {
        let slip = alice.slip_of(&shop, &[order(&shop).await]).await;
        let (payment, _, launch) = begin(&shop, &mut alice, &slip).await;
        // Between asking and telling: the notification is by a certificate that the merchant has not seen yet.
        let rotated = shop.http.post(shop.url("/sim/tenpay/certificates/rotation")).send().await.unwrap();
        let (status, body) = json_of(rotated).await;
        assert_eq!(status, StatusCode::CREATED);
        serials.push(body["serial_no"].as_str().unwrap().to_owned());
        assert_eq!(decides(&shop, qr(&launch), "pay").await, StatusCode::OK);
        alice.told(&shop, payment.payment_id, PaymentStatus::Succeeded).await;
    }
    let console = Console::open(&shop).await;
    let listed: Vec<_> = console.0["certificates"].as_array().unwrap().iter().map(|c| c["serial_no"].clone()).collect();
    serials.reverse();
    assert_eq!(json!(serials), json!(listed), "all of them valid, the newest first");
    // What the old one signs is good until its end.
    let slip = alice.slip_of(&shop, &[order(&shop).await]).await;
    let (payment, trade, _) = begin(&shop, &mut alice, &slip).await;
    let body = console.notification(&console.paid(&trade, 1_000), console.text("api_v3_key"));
    let oldest = console.seal(PLATFORM[0], serials.last().unwrap(), shop.now(), &body);
    assert_eq!(notify(&shop, Some(&oldest), &body).await.0, 204);
    alice.told(&shop, payment.payment_id, PaymentStatus::Succeeded).await;
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_tenpay_gives_money_back() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let number = order(&shop).await;
    let slip = alice.slip_of(&shop, &[number]).await;
    let (payment, trade, launch) = begin(&shop, &mut alice, &slip).await;
    assert_eq!(decides(&shop, qr(&launch), "pay").await, StatusCode::OK);
    comes_to(&shop, &mut alice, &payment, PaymentStatus::Succeeded).await;
    let key = new_key(&shop, "delivery", "orders:write orders:read query:read").await;
    let path = shop.url(&format!("/service/v1/orders/{number}/refunds"));
    let faults = [
        None,
        Some("tenpay_refund_unknown"),
        Some("tenpay_refund_processing"),
        Some("tenpay_not_enough"),
        Some("tenpay_no_answer_after"),
        Some("tenpay_refund_refused"),
    ];
    for (n, fault) in faults.into_iter().enumerate() {
        if let Some(fault) = fault {
            shop.arm(json!({ "fault": fault, "operation": "refund" })).await;
        }
        let body = json!({ "amount": { "amount": "1.00", "currency": "CNY" } });
        let request = shop.http.post(&path).bearer_auth(&key).header("idempotency-key", format!("r{n}")).json(&body);
        let (status, made) = json_of(request.send().await.unwrap()).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let expected = if fault == Some("tenpay_refund_refused") { "failed" } else { "done" };
        let ended = async || {
            let (_, all) = json_of(shop.http.get(&path).bearer_auth(&key).send().await.unwrap()).await;
            let all = all["refunds"].as_array().unwrap().clone();
            all.iter().any(|r| r["refund_id"] == made["refund_id"] && r["status"] == expected)
        };
        eventually(&shop, &format!("{fault:?}"), ended).await;
    }
    let console = Console::open(&shop).await;
    assert_eq!(console.state(&shop, &trade).await["trade_state"], "REFUND");
    let seen = alice.order(&shop, number).await;
    assert_eq!((seen.summary.status, seen.refunded), (OrderStatus::PartlyRefunded, cny(500)));
    shop.running.shutdown().await;
}

/// Who alice is at WeChat.
const ALICE: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";

#[tokio::test(flavor = "multi_thread")]
async fn b23_tenpay_hands_prepayments_to_the_host() {
    for (product, members) in [
        ("jsapi", ["appId", "timeStamp", "nonceStr", "package", "signType", "paySign"].as_slice()),
        ("app", ["appid", "partnerid", "prepayid", "package", "noncestr", "timestamp", "sign"].as_slice()),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        // The platform's public key in place of certificates, too.
        let tenpay = json!({ "product": product, "public_key_id": "PUB_KEY_ID_1", "public_key_file": "unused" });
        std::fs::write(file.path(), json!({ "tenpay": tenpay }).to_string()).unwrap();
        let shop = Shop::with(|config| config.channels = Some(file.path().to_owned())).await;
        let mut alice = shop.device_of("alice").await;
        let slip = alice.slip_of(&shop, &[order(&shop).await]).await;
        if product == "jsapi" {
            // Inside WeChat it is for one person only: without a name of hers nothing begins, and nothing is asked.
            let payment = alice.slip_payment(&shop, &slip, PaymentMethod::Tenpay, 0);
            let refused = alice.put_payment(&shop, &payment).await;
            assert_eq!(problem_of(refused).await, (422, "method_unavailable".to_owned()));
            assert_eq!(alice.slip(&shop, slip.slip_number).await.status, SlipStatus::Open);
            assert!(!shop.cli(&["user", "openid", "alice", "o p"]).status.success());
            for (user, openid) in [("bob", "oBob"), ("alice", ALICE)] {
                let out = shop.cli(&["user", "openid", user, openid]);
                assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            }
            assert!(String::from_utf8_lossy(&shop.cli(&["user", "export", "alice"]).stdout).contains(ALICE));
        }
        let (payment, trade, launch) = begin(&shop, &mut alice, &slip).await;
        let Launch::Parameters { json } = &launch else { panic!("{launch:?}") };
        let parameters: Value = serde_json::from_str(json).unwrap();
        let of = |name: &str| parameters[name].as_str().unwrap();
        let mut names: Vec<_> = parameters.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = members.to_vec();
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected);
        let code = match product {
            "app" => {
                let message = format!("{}\n{}\n{}\n{}\n", of("appid"), of("timestamp"), of("noncestr"), of("prepayid"));
                let key = RsaKey::parse(MERCHANT).unwrap();
                let signature = STANDARD.decode(of("sign")).unwrap();
                assert!(key.public().verifies(message.as_bytes(), &signature));
                of("prepayid").to_owned()
            }
            _ => {
                // WeChat takes the parameters only as the merchant has signed them.
                let pairs: Vec<_> = members.iter().map(|m| (*m, of(m))).collect();
                let bridge = shop.url(&format!("/sim/tenpay/jsapi?{}", form(&pairs)));
                let page = shop.http.get(&bridge).send().await.unwrap();
                assert!(page.status().is_success() && page.text().await.unwrap().contains("¥10.00"));
                let forged = bridge.replace("timeStamp=1", "timeStamp=2");
                assert_eq!(shop.http.get(forged).send().await.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);
                of("package").strip_prefix("prepay_id=").unwrap().to_owned()
            }
        };
        assert_eq!(decides(&shop, &code, "pay").await, StatusCode::OK);
        alice.told(&shop, payment.payment_id, PaymentStatus::Succeeded).await;
        let console = Console::open(&shop).await;
        let state = console.state(&shop, &trade).await;
        assert_eq!(state["trade_type"], product.to_ascii_uppercase());
        if product == "jsapi" {
            assert_eq!(state["payer"]["openid"], ALICE, "hers, not another user's");
            assert!(shop.cli(&["user", "erase", "alice", "--yes"]).status.success());
            let book = rusqlite::Connection::open(shop.folder.path().join("data/merchant.db")).unwrap();
            let named = |id: &str| -> i64 {
                book.query_row("SELECT count(*) FROM payer_names WHERE name = ?1", [id], |r| r.get(0)).unwrap()
            };
            assert_eq!((named(ALICE), named("oBob")), (0, 1), "a name is the person's");
        }
        shop.running.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b31_tenpay_has_totals_of_its_own() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    for minor in [1_000, 250] {
        let number = order_in(&shop, Service { minor, ..DELIVERY }, cny(0).currency).await;
        let slip = alice.slip_of(&shop, &[number]).await;
        let (payment, _, launch) = begin(&shop, &mut alice, &slip).await;
        assert_eq!(decides(&shop, qr(&launch), "pay").await, StatusCode::OK);
        comes_to(&shop, &mut alice, &payment, PaymentStatus::Succeeded).await;
    }
    let in_euro = alice.slip_of(&shop, &[crate::slips::order(&shop, DELIVERY).await]).await;
    alice.pay(&shop, &in_euro, PaymentMethod::StoredValue, 1_000).await;
    let key = new_key(&shop, "delivery", "query:read").await;
    let request = shop.http.get(shop.url("/query/v1/totals?group_by=method")).bearer_auth(&key);
    let totals: Totals = serde_json::from_value(json_of(request.send().await.unwrap()).await.1).unwrap();
    let found: Vec<_> = totals.groups.iter().map(|g| (g.method.unwrap(), g.paid, g.payments)).collect();
    assert!(found.contains(&(PaymentMethod::Tenpay, cny(1_250), 2)), "{found:?}");
    assert_eq!(found.iter().filter(|(method, _, _)| *method == PaymentMethod::Tenpay).count(), 1);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulated_gateway_answers_as_the_platform_does() {
    let shop = Shop::open().await;
    let console = Console::open(&shop).await;
    let now = shop.now();
    let query = format!("/v3/pay/transactions/out-trade-no/000001?mchid={}", console.text("mchid"));
    let own = console.text("serial_no");
    let code = |(status, body): (StatusCode, Value)| (status.as_u16(), body["code"].as_str().unwrap_or("").to_owned());
    let signed_error = (401, "SIGN_ERROR".to_owned());
    let old = now.minus(Duration::from_secs(301));
    for (key, at, serial) in [(STRANGER, now, own), (MERCHANT, old, own), (MERCHANT, now, "5F")] {
        assert_eq!(code(console.call_as(&shop, Method::GET, &query, None, key, at, serial).await), signed_error);
    }
    let unsigned = shop.http.get(shop.url(&format!("/sim/tenpay{query}"))).send().await.unwrap();
    assert_eq!(unsigned.headers()["wechatpay-signature-type"], SCHEME, "errors are signed too");
    assert_eq!(code(json_of(unsigned).await), signed_error);
    assert_eq!(code(console.call(&shop, Method::GET, &query, None).await), (404, "ORDER_NOT_EXIST".to_owned()));
    let native = "/v3/pay/transactions/native";
    let order = json!({
        "appid": console.text("appid"), "mchid": console.text("mchid"), "description": "Tea", "out_trade_no": "000001",
        "notify_url": "http://127.0.0.1:1/none", "amount": { "total": 1 },
    });
    let with = |change: &dyn Fn(&mut Value)| {
        let mut order = order.clone();
        change(&mut order);
        Some(order)
    };
    let param = (400, "PARAM_ERROR".to_owned());
    for bad in [
        with(&|o| o["amount"]["total"] = json!(0)),
        with(&|o| o["amount"]["total"] = json!(1.5)),
        with(&|o| o["amount"]["currency"] = json!("EUR")),
        with(&|o| o["description"] = json!("")),
        with(&|o| o["description"] = json!("茶".repeat(128))),
        with(&|o| o["out_trade_no"] = json!("short")),
        with(&|o| o["notify_url"] = json!("https://x.example/?q")),
        with(&|o| o["time_expire"] = json!("2020-01-01T00:00:00+08:00")),
        with(&|o| o["mchid"] = json!("1900000009")),
        None,
    ] {
        assert_eq!(code(console.call(&shop, Method::POST, native, bad.clone()).await), param, "{bad:?}");
    }
    let foreign = with(&|o| o["appid"] = json!("wx2"));
    let answer = console.call(&shop, Method::POST, native, foreign).await;
    assert_eq!(code(answer), (400, "APPID_MCHID_NOT_MATCH".to_owned()));
    let made = console.call(&shop, Method::POST, native, Some(order.clone())).await;
    assert_eq!(made.0, StatusCode::OK);
    assert_eq!(console.call(&shop, Method::POST, native, Some(order.clone())).await, made, "the same order again");
    let other = with(&|o| o["amount"]["total"] = json!(2));
    assert_eq!(code(console.call(&shop, Method::POST, native, other).await), (403, "OUT_TRADE_NO_USED".to_owned()));
    let close = "/v3/pay/transactions/out-trade-no/000001/close";
    let by = Some(json!({ "mchid": console.text("mchid") }));
    assert_eq!(console.call(&shop, Method::POST, close, by.clone()).await.0, StatusCode::NO_CONTENT);
    assert_eq!(code(console.call(&shop, Method::POST, close, by).await), (400, "ORDER_CLOSED".to_owned()));
    let answer = console.call(&shop, Method::POST, native, Some(order.clone())).await;
    assert_eq!(code(answer), (400, "ORDER_CLOSED".to_owned()));
    // Paid, it can be given back, at most once.
    let order = with(&|o| o["out_trade_no"] = json!("000002"));
    let (_, made) = console.call(&shop, Method::POST, native, order.clone()).await;
    assert_eq!(decides(&shop, made["code_url"].as_str().unwrap(), "pay").await, StatusCode::OK);
    assert_eq!(code(console.call(&shop, Method::POST, native, order).await), (400, "ORDERPAID".to_owned()));
    let refunds = "/v3/refund/domestic/refunds";
    let refund = |number: &str, total: i64| {
        let amount = json!({ "refund": 1, "total": total, "currency": "CNY" });
        Some(json!({ "out_trade_no": "000002", "out_refund_no": number, "amount": amount }))
    };
    assert_eq!(code(console.call(&shop, Method::POST, refunds, refund("r1", 2)).await), param);
    let (status, done) = console.call(&shop, Method::POST, refunds, refund("r1", 1)).await;
    assert_eq!((status, done["status"].as_str()), (StatusCode::OK, Some("SUCCESS")));
    assert_eq!(console.call(&shop, Method::POST, refunds, refund("r1", 1)).await.1, done, "the same refund again");
    let answer = console.call(&shop, Method::POST, refunds, refund("r2", 1)).await;
    assert_eq!(code(answer), (400, "INVALID_REQUEST".to_owned()));
    let answer = console.call(&shop, Method::GET, "/v3/refund/domestic/refunds/r2", None).await;
    assert_eq!(code(answer), (404, "RESOURCE_NOT_EXISTS".to_owned()));
    shop.running.shutdown().await;
}
