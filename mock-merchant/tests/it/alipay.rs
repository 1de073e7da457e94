//! B23 and B31 over Alipay, over real HTTP: the merchant's own calls against the simulated gateway, the payer at its cashier, and
//! notifications that are not what they should be.

use crate::client::{DEADLINE, Device, Shop};
use crate::slips::{DELIVERY, Service, order_in};
use axum::Router;
use axum::extract::State;
use mock_merchant::channel::alipay::{Addresses, Settings, request, signing, values};
use mock_merchant::channel::http::Http;
use mock_merchant::channel::rsa_key::{RsaKey, RsaPublic, generate};
use mock_merchant::domain::once::IdempotencyKey;
use mock_merchant::domain::{Answer, Caller, Command, Query, RefundRequest, RefundStatus, RefundView};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use walkpay::protocol::document::{EventBody, PaymentMethod};
use walkpay::protocol::order::*;
use walkpay::protocol::query::Totals;
use walkpay::{Currency, Money, PaymentId, ServiceNumber, SlipNumber};

const MINUTE: Duration = Duration::from_secs(60);

fn cny(minor: i64) -> Money {
    Currency::parse("CNY").unwrap().minor(minor)
}

async fn order(shop: &Shop) -> ServiceNumber {
    order_of(shop, cny(1_000)).await
}

async fn order_of(shop: &Shop, total: Money) -> ServiceNumber {
    order_in(shop, Service { minor: total.minor, ..DELIVERY }, total.currency).await
}

fn euros(minor: i64) -> Money {
    Currency::parse("EUR").unwrap().minor(minor)
}

/// Calls the simulated gateway as any client of the application would.
struct Client {
    http: reqwest::Client,
    to: Addresses,
    settings: Settings,
    app: RsaKey,
    alipay: RsaPublic,
}

impl Client {
    async fn of(shop: &Shop) -> Self {
        let (status, console) = shop.get("/sim/alipay/credentials").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(console["app_id"], Settings::default().app_id);
        let to = Addresses { gateway: shop.url("/sim/alipay/gateway.do"), notify: shop.url("/nobody") };
        Self {
            http: shop.http.clone(),
            to,
            settings: Settings::default(),
            app: RsaKey::load(&folder(shop).join("app.key.pem")).unwrap(),
            alipay: RsaPublic::parse(console["alipay_public_key"].as_str().unwrap()).unwrap(),
        }
    }

    async fn send(&self, params: &signing::Params) -> String {
        let post = self.http.post(&self.to.gateway).header("content-type", "application/x-www-form-urlencoded");
        let answer = post.body(signing::form(params)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.text().await.unwrap()
    }

    async fn call(&self, shop: &Shop, method: &str, content: &Value) -> Value {
        let params = request(&self.settings, &self.to, shop.now(), method, content);
        let text = self.send(&signing::sign_request(&self.app, params).unwrap()).await;
        let answer = signing::Answer::parse(text.as_bytes()).unwrap();
        let object = answer.text(&format!("{}_response", method.replace('.', "_"))).unwrap();
        assert!(signing::verifies(&self.alipay, object, &answer.sign().unwrap()), "{text}");
        serde_json::from_str(object).unwrap()
    }

    async fn trade(&self, shop: &Shop, number: &str) -> Value {
        self.call(shop, "alipay.trade.query", &json!({ "out_trade_no": number })).await
    }
}

fn folder(shop: &Shop) -> PathBuf {
    shop.folder.path().join("data/sim-alipay")
}

/// Begins a payment by Alipay; what the host is to launch.
async fn begun(shop: &Shop, payer: &mut Device, slip: &SlipView) -> (PaymentId, Launch) {
    let payment = payer.pay(shop, slip, PaymentMethod::Alipay, 0).await.payment_id;
    let now = shop.now();
    let launch = payer.until(shop, |device, event| match event {
        EventBody::Slip { document } => Some(device.document::<SlipResult>(now, &document))
            .filter(|r| r.payment.payment_id == payment)
            .and_then(|r| r.payment.launch),
        _ => None,
    });
    (payment, launch.await)
}

fn code(launch: &Launch) -> String {
    match launch {
        Launch::Qr { text } => text.clone(),
        other => panic!("{other:?}"),
    }
}

/// The payer opens the code or page: where its cashier is.
async fn scan(shop: &Shop, address: &str) -> String {
    let page = shop.http.get(address).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK, "{address}");
    page.url().to_string()
}

/// The payer decides at the cashier.
async fn decide(shop: &Shop, cashier: &str, action: &str) -> reqwest::Response {
    let form = shop.http.post(cashier).header("content-type", "application/x-www-form-urlencoded");
    form.body(format!("action={action}")).send().await.unwrap()
}

async fn pays(shop: &Shop, launch: &Launch) {
    let cashier = scan(shop, &code(launch)).await;
    assert_eq!(decide(shop, &cashier, "confirm").await.status(), StatusCode::OK);
}

fn trade_number(slip: SlipNumber, n: u32) -> String {
    format!("{slip}{n:02}")
}

async fn status(shop: &Shop, payer: &Device, number: ServiceNumber) -> OrderStatus {
    let order: OrderView = payer.get_json(shop.now(), &format!("/payer/v1/orders/{number}")).await;
    order.summary.status
}

async fn give_up(shop: &Shop, payer: &Device, slip: &SlipView, payment: PaymentId) -> PaymentStatus {
    let path = format!("/payer/v1/slips/{}/payments/{payment}/closure", slip.slip_number);
    let answer = payer.send(shop.now(), Method::PUT, &path, Vec::new()).await.unwrap();
    answer.json::<PaymentView>().await.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_alipay_is_paid_by_a_scanned_code_whatever_fails() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    for fault in [
        None,
        Some("alipay_no_answer_before"),
        Some("alipay_no_answer_after"),
        Some("alipay_slow"),
        Some("alipay_system_error"),
        Some("alipay_unknown_error_after"),
        Some("alipay_answer_forged"),
        Some("alipay_answer_unsigned"),
        Some("alipay_answer_of_another_trade"),
        Some("alipay_notification_lost"),
        Some("alipay_notification_duplicated"),
        Some("alipay_notification_late"),
        Some("alipay_notification_replayed"),
        Some("alipay_notification_wrong_amount"),
        Some("alipay_notification_other_currency"),
        Some("alipay_notification_other_app"),
        Some("alipay_notification_other_seller"),
        Some("alipay_notification_forged"),
    ] {
        let slip = alice.slip_of(&shop, &[order(&shop).await]).await;
        if let Some(fault) = fault {
            shop.arm(json!({ "fault": fault })).await;
        }
        let (payment, launch) = begun(&shop, &mut alice, &slip).await;
        pays(&shop, &launch).await;
        if fault.is_some() {
            shop.advance(MINUTE).await;
        }
        let result = alice.told(&shop, payment, PaymentStatus::Succeeded).await;
        assert_eq!((result.slip_status, result.legs.len()), (SlipStatus::Paid, 1), "{fault:?}");
        let leg = &result.legs[0];
        assert_eq!((leg.method, leg.amount), (PaymentMethod::Alipay, cny(1_000)), "{fault:?}");
    }
    let (_, table) = shop.get("/sim/v1/faults").await;
    assert_eq!(table["armed"], json!([]), "all of them have struck");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_alipay_refuses_and_is_asked_in_its_currency_only() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let number = order(&shop).await;
    let slip = alice.slip_of(&shop, &[number]).await;
    shop.arm(json!({ "fault": "alipay_refuses" })).await;
    let refused = alice.pay(&shop, &slip, PaymentMethod::Alipay, 0).await.payment_id;
    let result = alice.told(&shop, refused, PaymentStatus::Closed).await;
    assert_eq!((result.slip_status, result.payment.reason.as_deref()), (SlipStatus::Open, Some("access_forbidden")));
    let (payment, launch) = begun(&shop, &mut alice, &slip).await;
    pays(&shop, &launch).await;
    alice.told(&shop, payment, PaymentStatus::Succeeded).await;
    let slip = alice.slip_of(&shop, &[order_of(&shop, euros(500)).await]).await;
    let refused = alice.pay(&shop, &slip, PaymentMethod::Alipay, 0).await.payment_id;
    let result = alice.told(&shop, refused, PaymentStatus::Closed).await;
    assert_eq!(result.payment.reason.as_deref(), Some("currency_unsupported"));
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_alipay_is_paid_on_a_page_and_the_way_back_decides_nothing() {
    let shop = Shop::with(|config| {
        let channels = json!({ "alipay": { "product": "page_pay", "return_url": "https://shop.example/back?a=1" } });
        std::fs::create_dir_all(&config.data).unwrap();
        std::fs::write(config.data.join("channels.json"), channels.to_string()).unwrap();
    })
    .await;
    let mut alice = shop.device_of("alice").await;
    let slip = alice.slip_of(&shop, &[order(&shop).await]).await;
    let (payment, launch) = begun(&shop, &mut alice, &slip).await;
    let Launch::Url { url } = &launch else { panic!("{launch:?}") };
    let client = Client::of(&shop).await;
    let number = trade_number(slip.slip_number, 1);
    assert_eq!(client.trade(&shop, &number).await["sub_code"], "ACQ.TRADE_NOT_EXIST", "nobody has opened it");
    let altered = shop.http.get(url.replace("10.00", "0.01")).send().await.unwrap().text().await.unwrap();
    assert!(altered.contains("isv.invalid-signature"), "{altered}");
    let cashier = scan(&shop, url).await;
    let page = shop.http.get(&cashier).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("10.00") && page.contains("Delivery of a washing machine"), "{page}");
    assert_eq!(client.trade(&shop, &number).await["trade_status"], "WAIT_BUYER_PAY");
    assert_eq!(decide(&shop, &cashier, "nonsense").await.status(), StatusCode::BAD_REQUEST);
    // The payer pays, and is led back; the way back is Alipay's, and yet it is the notification that counts.
    shop.arm(json!({ "fault": "alipay_notification_late" })).await;
    let stays = Http::new(DEADLINE, &[]).unwrap();
    let form = stays.client().post(&cashier).header("content-type", "application/x-www-form-urlencoded");
    let back = stays.send(form.body("action=confirm")).await.unwrap();
    assert_eq!(back.status, StatusCode::SEE_OTHER);
    let location = back.headers["location"].to_str().unwrap();
    let query = location.strip_prefix("https://shop.example/back?a=1&").unwrap();
    let params = signing::parse(query.as_bytes()).unwrap();
    assert!(signing::notification_verifies(&client.alipay, &params), "{location}");
    let seen: SlipView = alice.get_json(shop.now(), &format!("/payer/v1/slips/{}", slip.slip_number)).await;
    assert_eq!(seen.status, SlipStatus::Paying);
    assert_eq!(notify(&shop, query.to_owned()).await, "success", "signed, and no payment");
    let seen: SlipView = alice.get_json(shop.now(), &format!("/payer/v1/slips/{}", slip.slip_number)).await;
    assert_eq!(seen.status, SlipStatus::Paying);
    shop.advance(MINUTE).await;
    alice.told(&shop, payment, PaymentStatus::Succeeded).await;
    assert_eq!(decide(&shop, &cashier, "confirm").await.status(), StatusCode::CONFLICT, "once");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_a_code_that_nobody_has_scanned_keeps_its_orders_until_it_cannot_be_paid_any_more() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let client = Client::of(&shop).await;
    let number = order(&shop).await;
    let slip = alice.slip_of(&shop, &[number]).await;
    let (payment, launch) = begun(&shop, &mut alice, &slip).await;
    assert_eq!(client.trade(&shop, &trade_number(slip.slip_number, 1)).await["sub_code"], "ACQ.TRADE_NOT_EXIST");
    assert_eq!(give_up(&shop, &alice, &slip, payment).await, PaymentStatus::Closing);
    alice.told(&shop, payment, PaymentStatus::Closing).await;
    // Alipay knows nothing of it: it can still be scanned and paid, so the orders stay where they are.
    for _ in 0..3 {
        shop.advance(5 * MINUTE).await;
        assert_eq!(status(&shop, &alice, number).await, OrderStatus::InPayment);
    }
    shop.advance(4 * MINUTE).await;
    let expired = shop.http.get(code(&launch)).send().await.unwrap().text().await.unwrap();
    assert!(expired.contains("expired"), "{expired}");
    assert_eq!(status(&shop, &alice, number).await, OrderStatus::InPayment, "within the margin");
    shop.advance(2 * MINUTE).await;
    let result = alice.told(&shop, payment, PaymentStatus::Closed).await;
    assert_eq!(result.payment.reason.as_deref(), Some("closed_by_payer"));
    assert_eq!(status(&shop, &alice, number).await, OrderStatus::Payable);
    // Given up, and then scanned and paid before its end: it counts.
    let (payment, launch) = begun(&shop, &mut alice, &slip).await;
    assert_eq!(give_up(&shop, &alice, &slip, payment).await, PaymentStatus::Closing);
    alice.told(&shop, payment, PaymentStatus::Closing).await;
    shop.advance(10 * MINUTE).await;
    pays(&shop, &launch).await;
    let result = alice.told(&shop, payment, PaymentStatus::Succeeded).await;
    assert_eq!(result.slip_status, SlipStatus::Paid);
    // Nobody asks for anything: the deadline ends it in the same way.
    let number = order(&shop).await;
    let slip = alice.slip_of(&shop, &[number]).await;
    let (payment, _) = begun(&shop, &mut alice, &slip).await;
    shop.advance(16 * MINUTE).await;
    alice.told(&shop, payment, PaymentStatus::Closing).await;
    shop.advance(5 * MINUTE).await;
    let result = alice.told(&shop, payment, PaymentStatus::Closed).await;
    assert_eq!(result.payment.reason.as_deref(), Some("expired"));
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_alipay_closes_what_was_scanned_and_money_that_comes_all_the_same_goes_back() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let client = Client::of(&shop).await;
    let number = order(&shop).await;
    let slip = alice.slip_of(&shop, &[number]).await;
    let (payment, launch) = begun(&shop, &mut alice, &slip).await;
    let cashier = scan(&shop, &code(&launch)).await;
    assert_eq!(decide(&shop, &cashier, "cancel").await.status(), StatusCode::OK, "the payer leaves, the trade waits");
    shop.arm(json!({ "fault": "alipay_paid_after_close" })).await;
    give_up(&shop, &alice, &slip, payment).await;
    alice.told(&shop, payment, PaymentStatus::Closed).await;
    let trade = trade_number(slip.slip_number, 1);
    assert_eq!(client.trade(&shop, &trade).await["trade_status"], "TRADE_CLOSED");
    // Paid otherwise, by a second trade that closes late.
    shop.arm(json!({ "fault": "alipay_closes_late" })).await;
    let (late, launch) = begun(&shop, &mut alice, &slip).await;
    scan(&shop, &code(&launch)).await;
    give_up(&shop, &alice, &slip, late).await;
    alice.told(&shop, late, PaymentStatus::Closing).await;
    shop.advance(MINUTE).await;
    alice.told(&shop, late, PaymentStatus::Closed).await;
    let (third, launch) = begun(&shop, &mut alice, &slip).await;
    pays(&shop, &launch).await;
    alice.told(&shop, third, PaymentStatus::Succeeded).await;
    // The first one is paid after its end, against the rules: its money goes back.
    assert_eq!(decide(&shop, &cashier, "confirm").await.status(), StatusCode::OK);
    let gone_back = async {
        while client.trade(&shop, &trade).await["trade_status"] != "TRADE_CLOSED" {
            shop.advance(Duration::from_secs(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, gone_back).await.expect("it goes back");
    let order: OrderView = alice.get_json(shop.now(), &format!("/payer/v1/orders/{number}")).await;
    assert_eq!((order.summary.status, order.legs.len()), (OrderStatus::Paid, 1));
    shop.running.shutdown().await;
}

async fn refund(shop: &Shop, number: ServiceNumber, key: &str, amount: Option<Money>) {
    let request = RefundRequest { amount, ..RefundRequest::default() };
    let key = IdempotencyKey::parse(key).unwrap();
    let command = Command::Refund { number, key, body_sha256: [0; 32], request };
    let answer = shop.running.app().execute(Caller::Operator, command).await.unwrap();
    assert!(matches!(answer, Answer::Reply(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_alipay_gives_money_back_once_whatever_fails() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let client = Client::of(&shop).await;
    for (fault, refused) in [
        (None, false),
        (Some("alipay_refund_unknown"), false),
        (Some("alipay_unknown_error_after"), false),
        (Some("alipay_system_error"), false),
        (Some("alipay_answer_forged"), false),
        (Some("alipay_answer_of_another_trade"), false),
        (Some("alipay_refund_refused"), true),
    ] {
        let number = order(&shop).await;
        let slip = alice.slip_of(&shop, &[number]).await;
        let (payment, launch) = begun(&shop, &mut alice, &slip).await;
        pays(&shop, &launch).await;
        alice.told(&shop, payment, PaymentStatus::Succeeded).await;
        if let Some(fault) = fault {
            shop.arm(json!({ "fault": fault, "operation": "refund" })).await;
        }
        refund(&shop, number, &format!("part-{number}"), Some(cny(300))).await;
        let ended = async {
            loop {
                let refunds = shop.running.app().ask(Caller::Operator, Query::Refunds(number));
                let Answer::Refunds(refunds) = refunds.await.unwrap() else { panic!("no refunds") };
                if refunds[0].status != RefundStatus::Open {
                    return refunds[0].clone();
                }
                shop.advance(Duration::from_secs(5)).await;
            }
        };
        let made: RefundView = tokio::time::timeout(DEADLINE, ended).await.expect("the refund ends");
        let request = json!({
            "out_trade_no": trade_number(slip.slip_number, 1), "out_request_no": made.legs[0].reference,
        });
        let told = client.call(&shop, "alipay.trade.fastpay.refund.query", &request).await;
        if refused {
            assert_eq!((made.status, told.get("refund_status")), (RefundStatus::Failed, None));
        } else {
            assert_eq!((made.status, told["refund_amount"].as_str()), (RefundStatus::Done, Some("3.00")), "{fault:?}");
            // Once: the rest can be given back, and no cent more.
            refund(&shop, number, &format!("rest-{number}"), None).await;
            let trade = trade_number(slip.slip_number, 1);
            let all = async {
                while client.trade(&shop, &trade).await["trade_status"] != "TRADE_CLOSED" {
                    shop.advance(Duration::from_secs(5)).await;
                }
            };
            tokio::time::timeout(DEADLINE, all).await.expect("all of it goes back");
        }
    }
    shop.running.shutdown().await;
}

async fn notify(shop: &Shop, body: String) -> String {
    let post = shop.http.post(shop.url("/channel/alipay/v1/notify"));
    let post = post.header("content-type", "application/x-www-form-urlencoded; charset=utf-8").body(body);
    post.send().await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn alipay_is_believed_only_as_it_signed_and_as_it_was_asked() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let client = Client::of(&shop).await;
    let slip = alice.slip_of(&shop, &[order(&shop).await]).await;
    let (payment, _) = begun(&shop, &mut alice, &slip).await;
    let key = RsaKey::load(&folder(&shop).join("alipay.key.pem")).unwrap();
    let paid: signing::Params = [
        ("notify_type", "trade_status_sync"),
        ("app_id", "2021000000000001"),
        ("seller_id", "2088000000000001"),
        ("out_trade_no", trade_number(slip.slip_number, 1).as_str()),
        ("trade_no", "2026010122001400000000000042"),
        ("trade_status", "TRADE_SUCCESS"),
        ("total_amount", "10.00"),
        ("subject", "Übergröße & 中文 = +%"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let signed = |params: &signing::Params| signing::form(&signing::sign_notification(&key, params.clone()).unwrap());
    // By somebody else: the application itself, a stranger, nobody.
    let stranger = RsaKey::parse(&generate([9; 32]).unwrap()).unwrap();
    for forger in [&client.app, &stranger] {
        let forged = signing::form(&signing::sign_notification(forger, paid.clone()).unwrap());
        assert_eq!(notify(&shop, forged).await, "fail");
    }
    let good = signed(&paid);
    for bad in [String::new(), "nonsense".to_owned(), signing::form(&paid), good.replace("10.00", "10.01")] {
        assert_eq!(notify(&shop, bad).await, "fail");
    }
    let twice = format!("total_amount=0.01&{good}");
    assert_eq!(notify(&shop, twice).await, "fail", "which of the two was signed?");
    // By Alipay, and about something else.
    for (name, value) in [
        ("app_id", "2021000000000002"),
        ("seller_id", "2088000000000002"),
        ("total_amount", "0.01"),
        ("total_amount", "10.001"),
        ("trans_currency", "USD"),
        ("out_trade_no", "00000000000000000000"),
        ("trade_no", ""),
    ] {
        let mut foreign = paid.clone();
        foreign.insert(name.to_owned(), value.to_owned());
        assert_eq!(notify(&shop, signed(&foreign)).await, "fail", "{name} {value}");
    }
    // By Alipay, about this trade, and no payment: taken, and nothing follows.
    for (name, value) in [("trade_status", "WAIT_BUYER_PAY"), ("trade_status", "TRADE_CLOSED"), ("refund_fee", "1.00")]
    {
        let mut other = paid.clone();
        other.insert(name.to_owned(), value.to_owned());
        assert_eq!(notify(&shop, signed(&other)).await, "success", "{name} {value}");
    }
    let seen: SlipView = alice.get_json(shop.now(), &format!("/payer/v1/slips/{}", slip.slip_number)).await;
    assert_eq!(seen.status, SlipStatus::Paying);
    for _ in 0..3 {
        assert_eq!(notify(&shop, good.clone()).await, "success");
    }
    let result = alice.told(&shop, payment, PaymentStatus::Succeeded).await;
    assert_eq!(result.legs.len(), 1, "replayed, and booked once");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_the_same_code_reaches_another_gateway_with_keys_from_files() {
    let provider = Shop::open().await;
    let client = Client::of(&provider).await;
    let gateway = provider.url("/sim/alipay/gateway.do");
    let keys = tempfile::tempdir().unwrap();
    std::fs::write(keys.path().join("alipay.pub.pem"), client.alipay.to_pem().unwrap()).unwrap();
    std::fs::copy(folder(&provider).join("app.key.pem"), keys.path().join("app.key.pem")).unwrap();
    std::fs::write(keys.path().join("wrong.key.pem"), generate([5; 32]).unwrap().as_str()).unwrap();
    for (key, right) in [("app.key.pem", true), ("wrong.key.pem", false)] {
        let file = keys.path().join(format!("{key}.json"));
        let channels = json!({ "alipay": {
            "gateway": gateway, "app_key_file": key, "alipay_public_key_file": "alipay.pub.pem",
            "app_id": "2021000000000001", "seller_id": "2088000000000001",
        }});
        std::fs::write(&file, channels.to_string()).unwrap();
        let shop = Shop::with(|config| config.channels = Some(file)).await;
        let mut alice = shop.device_of("alice").await;
        let number = order(&shop).await;
        let slip = alice.slip_of(&shop, &[number]).await;
        assert_eq!(shop.get("/sim/alipay/credentials").await.0, StatusCode::NOT_FOUND, "its gateway is elsewhere");
        if right {
            let (payment, launch) = begun(&shop, &mut alice, &slip).await;
            assert!(code(&launch).starts_with(&provider.running.url));
            pays(&shop, &launch).await;
            alice.told(&shop, payment, PaymentStatus::Succeeded).await;
        } else {
            // The gateway lets nothing in: it is not known whether an earlier call did anything.
            let payment = alice.pay(&shop, &slip, PaymentMethod::Alipay, 0).await.payment_id;
            shop.advance(10 * MINUTE).await;
            assert_eq!(status(&shop, &alice, number).await, OrderStatus::InPayment);
            shop.advance(6 * MINUTE).await;
            alice.told(&shop, payment, PaymentStatus::Closing).await;
        }
        shop.running.shutdown().await;
    }
    provider.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b31_totals_by_alipay_beside_other_methods() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    for minor in [1_000, 250] {
        let slip = alice.slip_of(&shop, &[order_of(&shop, cny(minor)).await]).await;
        let (payment, launch) = begun(&shop, &mut alice, &slip).await;
        pays(&shop, &launch).await;
        alice.told(&shop, payment, PaymentStatus::Succeeded).await;
    }
    let slip = alice.slip_of(&shop, &[order_of(&shop, euros(700)).await]).await;
    let payment = alice.pay(&shop, &slip, PaymentMethod::StoredValue, 700).await;
    assert_eq!(payment.status, PaymentStatus::Succeeded);
    let totals: Totals = alice.get_json(shop.now(), "/query/v1/totals?group_by=method").await;
    let found: Vec<_> = totals.groups.iter().map(|g| (g.method.unwrap(), g.paid, g.payments)).collect();
    assert!(found.contains(&(PaymentMethod::Alipay, cny(1_250), 2)), "{found:?}");
    assert_eq!(found.len(), 2, "{found:?}");
    let only: Totals = alice.get_json(shop.now(), "/query/v1/totals?group_by=method&method=alipay").await;
    assert_eq!(only.groups.len(), 1);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulated_gateway_answers_with_alipays_codes() {
    let shop = Shop::open().await;
    let client = Client::of(&shop).await;
    let good = request(&client.settings, &client.to, shop.now(), "alipay.trade.query", &json!({ "out_trade_no": "1" }));
    let signed = |params: &signing::Params| signing::sign_request(&client.app, params.clone()).unwrap();
    for (name, value, sub_code) in [
        ("method", "", "isv.missing-method"),
        ("method", "alipay.trade.nonsense", "isv.invalid-method"),
        ("app_id", "", "isv.missing-app-id"),
        ("app_id", "1", "isv.invalid-app-id"),
        ("sign_type", "", "isv.missing-signature-type"),
        ("sign_type", "RSA", "isv.invalid-signature-type"),
        ("timestamp", "", "isv.missing-timestamp"),
        ("timestamp", "2026-01-01T00:00:00Z", "isv.invalid-timestamp"),
        ("version", "", "isv.missing-version"),
        ("charset", "GBK", "isv.invalid-charset"),
        ("format", "XML", "isv.invalid-format"),
        ("notify_url", "http://merchant.example/", "isv.invalid-parameter"),
    ] {
        let mut params = good.clone();
        params.insert(name.to_owned(), value.to_owned());
        let text = client.send(&signed(&params)).await;
        assert!(text.contains(&format!("\"{sub_code}\"")), "{name}={value}: {text}");
    }
    let unsigned = client.send(&good).await;
    assert!(unsigned.contains("isv.missing-signature"), "{unsigned}");
    let stranger = RsaKey::parse(&generate([9; 32]).unwrap()).unwrap();
    let forged = client.send(&signing::sign_request(&stranger, good.clone()).unwrap()).await;
    assert!(forged.contains("isv.invalid-signature"), "{forged}");
    // What the methods refuse.
    let at = |offset: u64| values::time(shop.now().plus(Duration::from_secs(offset)));
    let trade = |amount: &str, subject: &str, expire: String| json!({ "out_trade_no": "T1", "total_amount": amount, "subject": subject, "time_expire": expire });
    for (method, content, sub_code) in [
        ("alipay.trade.precreate", trade("0", "Tea", at(60)), "ACQ.TOTAL_FEE_EXCEED"),
        ("alipay.trade.precreate", trade("1.001", "Tea", at(60)), "ACQ.INVALID_PARAMETER"),
        ("alipay.trade.precreate", trade("1.00", "", at(60)), "ACQ.INVALID_PARAMETER"),
        ("alipay.trade.precreate", trade("1.00", "Tea", at(0)), "ACQ.INVALID_PARAMETER"),
        ("alipay.trade.query", json!({ "out_trade_no": "T1" }), "ACQ.TRADE_NOT_EXIST"),
        ("alipay.trade.close", json!({ "out_trade_no": "T1" }), "ACQ.TRADE_NOT_EXIST"),
        ("alipay.trade.refund", json!({ "out_trade_no": "T1", "refund_amount": "1.00" }), "ACQ.TRADE_NOT_EXIST"),
        ("alipay.trade.fastpay.refund.query", json!({ "out_trade_no": "T1" }), "ACQ.TRADE_NOT_EXIST"),
    ] {
        let told = client.call(&shop, method, &content).await;
        assert_eq!((told["code"].as_str(), told["sub_code"].as_str()), (Some("40004"), Some(sub_code)), "{content}");
    }
    let made = client.call(&shop, "alipay.trade.precreate", &trade("1.00", "Tea", at(60))).await;
    let again = client.call(&shop, "alipay.trade.precreate", &trade("1.00", "Tea", at(60))).await;
    assert_eq!(made["qr_code"], again["qr_code"]);
    let other = client.call(&shop, "alipay.trade.precreate", &trade("2.00", "Tea", at(60))).await;
    assert_eq!(other["sub_code"], "ACQ.CONTEXT_INCONSISTENT");
    let cashier = scan(&shop, made["qr_code"].as_str().unwrap()).await;
    decide(&shop, &cashier, "confirm").await;
    let refund = |request: &str, amount: &str| json!({ "out_trade_no": "T1", "out_request_no": request, "refund_amount": amount });
    for (content, expected) in [
        (refund("R1", "1.01"), "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"),
        (refund("R1", "0.40"), "Y"),
        (refund("R1", "0.40"), "N"),
        (refund("R1", "0.50"), "ACQ.DISCORDANT_REPEAT_REQUEST"),
        (refund("R2", "0.61"), "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"),
    ] {
        let told = client.call(&shop, "alipay.trade.refund", &content).await;
        let found = told["fund_change"].as_str().or(told["sub_code"].as_str());
        assert_eq!(found, Some(expected), "{content}");
    }
    let closed = client.call(&shop, "alipay.trade.close", &json!({ "out_trade_no": "T1" })).await;
    assert_eq!(closed["sub_code"], "ACQ.TRADE_STATUS_ERROR");
    let paid = client.call(&shop, "alipay.trade.precreate", &trade("1.00", "Tea", at(60))).await;
    assert_eq!(paid["sub_code"], "ACQ.TRADE_HAS_SUCCESS");
    shop.advance(Duration::from_secs(366 * 86_400)).await;
    assert_eq!(client.trade(&shop, "T1").await["trade_status"], "TRADE_FINISHED");
    let late = client.call(&shop, "alipay.trade.refund", &refund("R3", "0.10")).await;
    assert_eq!(late["sub_code"], "ACQ.TRADE_HAS_FINISHED");
    shop.running.shutdown().await;
}

type Heard = Arc<Mutex<(Vec<signing::Params>, &'static str)>>;

async fn hear(State(heard): State<Heard>, body: String) -> &'static str {
    let mut heard = heard.lock().unwrap();
    heard.0.push(signing::parse(body.as_bytes()).unwrap());
    heard.1
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulated_alipay_notifies_on_alipays_schedule_until_it_is_heard() {
    let shop = Shop::open().await;
    let mut client = Client::of(&shop).await;
    let heard: Heard = Arc::new(Mutex::new((Vec::new(), "fail")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    client.to.notify = format!("http://{}/notify", listener.local_addr().unwrap());
    let router = Router::new().fallback(hear).with_state(heard.clone());
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let count = || heard.lock().unwrap().0.len();
    let until = async |n: usize| {
        let there = async {
            while count() < n {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, there).await.unwrap_or_else(|_| panic!("{} of {n}", count()));
    };
    let pay = async |number: &str| {
        let content = json!({ "out_trade_no": number, "total_amount": 1, "subject": "Tea" });
        let made = client.call(&shop, "alipay.trade.precreate", &content).await;
        let cashier = scan(&shop, made["qr_code"].as_str().unwrap()).await;
        decide(&shop, &cashier, "confirm").await;
    };
    // A pause begins when the try before it was answered: that is written down in Alipay's book.
    let book = folder(&shop).join("book.json");
    let tried = async |n: u64| {
        let written = async {
            loop {
                let text = std::fs::read(&book).unwrap();
                let book: Value = serde_json::from_slice(&text).unwrap_or_default();
                let waiting = book["outgoing"]["waiting"].as_object().and_then(|all| all.values().next().cloned());
                if waiting.is_some_and(|item| item["tries"] == json!(n)) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, written).await.expect("it is written down");
    };
    pay("T1").await;
    until(1).await;
    for (n, pause) in (1..).zip(mock_merchant::channel::alipay::sim::RETRIES) {
        tried(n as u64).await;
        shop.advance(pause - MINUTE).await;
        assert_eq!(count(), n, "not before {pause:?}");
        shop.advance(MINUTE).await;
        until(n + 1).await;
    }
    shop.advance(Duration::from_secs(10 * 86_400)).await;
    let params = heard.lock().unwrap().0[0].clone();
    assert!(signing::notification_verifies(&client.alipay, &params));
    assert_eq!((params["trade_status"].as_str(), params["total_amount"].as_str()), ("TRADE_SUCCESS", "1.00"));
    assert!(heard.lock().unwrap().0.iter().all(|p| p["notify_id"] == params["notify_id"]), "the same one again");
    // Another one is heard at once, and not repeated.
    heard.lock().unwrap().1 = "success";
    pay("T2").await;
    until(9).await;
    shop.advance(Duration::from_secs(10 * 86_400)).await;
    pay("T3").await;
    until(10).await;
    let numbers: Vec<_> = heard.lock().unwrap().0.iter().map(|p| p["out_trade_no"].clone()).collect();
    assert_eq!((numbers.len(), numbers[8].as_str(), numbers[9].as_str()), (10, "T2", "T3"));
    server.abort();
    shop.running.shutdown().await;
}
