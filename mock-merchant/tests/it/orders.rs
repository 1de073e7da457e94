//! B01–B06 and B24 (requirements of the payment system), each over real HTTP, with a real receiver of webhooks.

use crate::client::{Device, Shop, eur as euros, json_of, problem_of};
use crate::desk::{self, Desk, Receiver, Verifier, eur, order};
use axum::http::StatusCode as Status;
use mock_merchant::domain::service::{SourceAdmin, SourceNews, Told};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use walkpay::protocol::document::EventBody;
use walkpay::protocol::order::{OrderNews, OrderNotice};

const DAY: Duration = Duration::from_secs(86_400);

async fn notice(device: &mut Device, shop: &Shop) -> OrderNotice {
    let now = shop.now();
    device
        .until(shop, |device, event| match event {
            EventBody::Order { document } => Some(device.document(now, &document)),
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn b01_many_service_systems_hand_in_and_see_only_their_own() {
    let shop = Shop::open().await;
    let (delivery, repair) = (Desk::open(&shop, "delivery").await, Desk::open(&shop, "repair").await);
    let mut numbers = Vec::new();
    for n in 0..5 {
        numbers.push(delivery.number(&format!("k{n}"), &order(&shop)).await);
    }
    let other = repair.number("k0", &order(&shop)).await;
    assert!(!numbers.contains(&other), "the same key of another source is another key");
    let (_, first) = delivery.get("/orders?limit=3").await;
    let (_, rest) = delivery.get(&format!("/orders?limit=3&after={}", first["next"].as_str().unwrap())).await;
    let listed: Vec<_> = [&first, &rest].into_iter().flat_map(|p| p["orders"].as_array().unwrap()).collect();
    assert_eq!(listed.iter().map(|o| o["service_number"].as_str().unwrap()).collect::<Vec<_>>(), numbers);
    assert!(rest.get("next").is_none());
    // Another one's orders are not there: neither to see nor to change.
    assert_eq!(repair.get(&format!("/orders/{}", numbers[0])).await.0, StatusCode::NOT_FOUND);
    assert_eq!(repair.get(&format!("/orders/{}/versions", numbers[0])).await.0, StatusCode::NOT_FOUND);
    for (what, body) in
        [("withdrawal", json!({})), ("modification", json!({})), ("confirmation", json!({"decision": "confirm"}))]
    {
        let refused = repair.change(&numbers[0], what, 1, &body).await;
        assert_eq!(problem_of(refused).await, (404, "not_found".to_owned()), "{what}");
    }
    // Keys open what their scopes say, as long as they are in use.
    let reader = Desk { key: desk::new_key(&shop, "repair", "orders:read").await, ..repair };
    assert_eq!(reader.get("/orders").await.0, StatusCode::OK);
    assert_eq!(problem_of(reader.hand_in("k9", &order(&shop)).await).await, (403, "forbidden".to_owned()));
    let refused = reader.request(Method::GET, "/deliveries").send().await.unwrap();
    assert_eq!(problem_of(refused).await, (403, "forbidden".to_owned()));
    let refused = reader.change(&other, "withdrawal", 1, &json!({})).await;
    assert_eq!(problem_of(refused).await, (403, "forbidden".to_owned()));
    desk::admin(&shop, SourceAdmin::RevokeKey { source_id: "repair".into(), key: reader.key.clone() }).await;
    desk::admin(&shop, SourceAdmin::SetDisabled { source_id: "delivery".into(), disabled: true }).await;
    for desk in [&reader, &delivery, &Desk { key: "sk_guessed".into(), ..Desk::open(&shop, "third").await }] {
        let refused = desk.request(Method::GET, "/orders").send().await.unwrap();
        assert_eq!(problem_of(refused).await, (401, "unauthenticated".to_owned()));
    }
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b02_an_order_has_all_its_fields() {
    let shop = Shop::open().await;
    let desk = Desk::open(&shop, "delivery").await;
    let body = json!({
    "service_name": "Montage & Anschluß", "payer": "alice", "payee": "Montage GmbH", "paying_unit": "=HYPERLINK(\"x\")",
    "remarks": "Second floor\n@SUM(A1)", "arose_at": "2026-01-31T09:00:00Z", "deadline": shop.now().plus(30 * DAY),
    "case_number": "C-1", "case_name": "Kitchen",
    "fees": [
        {"name": "Hours", "quantity": "2.5", "unit_price": eur("59.99"), "tax_rate": "19"},
        {"name": "Material", "quantity": "3", "unit_price": eur("0.33"), "tax_rate": "7"},
        {"name": "Deposit", "unit_price": eur("0.00")}
    ]});
    let answer = desk.hand_in("k1", &body).await;
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let number = json_of(answer).await.1["service_number"].as_str().unwrap().to_owned();
    assert!(number.len() == 15 && number.bytes().all(|b| b.is_ascii_digit()), "{number}");
    assert_eq!(location, format!("/service/v1/orders/{number}"));
    let answer = desk.request(Method::GET, &format!("/orders/{number}")).send().await.unwrap();
    assert_eq!(answer.headers()["etag"], "\"1\"");
    let (_, seen) = json_of(answer).await;
    for member in
        ["service_name", "payer", "payee", "paying_unit", "remarks", "arose_at", "deadline", "case_number", "case_name"]
    {
        let told = if member.ends_with("_at") { json!("2026-01-31T09:00:00.000Z") } else { body[member].clone() };
        assert_eq!(seen[member], told, "{member}");
    }
    assert_eq!((&seen["status"], &seen["version"]), (&json!("awaiting_confirmation"), &json!(1)));
    // 2.5 × 59.99 = 149.975 goes up; the tax is in the amount: 149.98 × 19 ÷ 119 = 23.946…
    let fees = seen["fees"].as_array().unwrap();
    assert_eq!((&fees[0]["amount"], &fees[0]["tax"]), (&eur("149.98"), &eur("23.95")));
    assert_eq!((&fees[1]["amount"], &fees[1]["tax"]), (&eur("0.99"), &eur("0.06")));
    assert_eq!((&seen["total"], &seen["due"], &seen["refunded"]), (&eur("150.97"), &eur("150.97"), &eur("0.00")));
    // Without a payee it is the source's.
    let plain = desk.number("k2", &order(&shop)).await;
    assert_eq!(desk.get(&format!("/orders/{plain}")).await.1["payee"], "Walkpay Services");
    // What is out of its limits is refused with a reason, and nothing is made of it.
    let with = |member: &str, value: Value| {
        let mut body = order(&shop);
        body[member] = value;
        body
    };
    let fee = |fee: Value| with("fees", json!([fee]));
    let most = json!({"amount": "9999999999999.99", "currency": "EUR"});
    for (n, (body, code)) in [
        (with("service_name", json!("")), "invalid_value"),
        (with("service_name", json!("a\u{0}b")), "invalid_value"),
        (with("case_number", json!("a\nb")), "invalid_value"),
        (with("remarks", json!("\u{1b}[31m")), "invalid_value"),
        (with("paying_unit", json!("\u{202e}txt.exe")), "invalid_value"),
        (with("remarks", json!("x".repeat(2_001))), "invalid_value"),
        (with("deadline", json!("2020-01-01T00:00:00Z")), "invalid_value"),
        (with("deadline", json!("2999-01-01T00:00:00Z")), "invalid_value"),
        (with("arose_at", json!("2999-01-01T00:00:00Z")), "invalid_value"),
        (with("fees", json!([])), "invalid_value"),
        (with("payer", json!("nobody")), "payer_unknown"),
        (with("payer", json!("../alice")), "payer_unknown"),
        (fee(json!({"name": "n", "unit_price": eur("-1.00")})), "invalid_value"),
        (fee(json!({"name": "n", "quantity": "99999999999999999999", "unit_price": eur("1.00")})), "invalid_value"),
        (fee(json!({"name": "n", "quantity": "999999.999", "unit_price": most})), "invalid_value"),
        (with("fees", json!([{"name": "n", "unit_price": most}, {"name": "n", "unit_price": most}])), "invalid_value"),
        (
            with(
                "fees",
                json!([{"name": "n", "unit_price": eur("1.00")},
            {"name": "n", "unit_price": {"amount": "1.00", "currency": "USD"}}]),
            ),
            "currency_mismatch",
        ),
        (fee(json!({"name": "n", "unit_price": {"amount": "1.0", "currency": "EUR"}})), "malformed"),
        (fee(json!({"name": "n", "unit_price": {"amount": 1, "currency": "EUR"}})), "malformed"),
        (with("total", eur("0.01")), "malformed"),
        (with("source", json!("repair")), "malformed"),
    ]
    .into_iter()
    .enumerate()
    {
        let refused = problem_of(desk.hand_in(&format!("bad{n}"), &body).await).await;
        assert_eq!(refused.1, code, "{body}");
    }
    assert_eq!(desk.get("/orders").await.1["orders"].as_array().unwrap().len(), 2);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b03_the_case_is_the_same_in_every_service_system() {
    let shop = Shop::open().await;
    let (delivery, repair) = (Desk::open(&shop, "delivery").await, Desk::open(&shop, "repair").await);
    let mut body = order(&shop);
    body["case_name"] = json!("Kitchen of the Lovelaces");
    for desk in [&delivery, &repair] {
        let number = desk.number("k1", &body).await;
        let (_, seen) = desk.get(&format!("/orders/{number}")).await;
        assert_eq!((&seen["case_number"], &seen["case_name"]), (&body["case_number"], &body["case_name"]));
        let message = desk.receiver.message("order.confirmation_requested", &number).await;
        assert_eq!(message.body["data"]["case_number"], body["case_number"]);
        assert!(!String::from_utf8_lossy(&message.raw).contains("Lovelace"), "names stay here");
    }
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b04_the_same_key_gives_the_same_number_for_ever() {
    let shop = Shop::open().await;
    let desk = Desk::open(&shop, "delivery").await;
    let body = order(&shop);
    let at_once = (0..8).map(|_| desk.number("k1", &body));
    let mut tasks = Vec::from_iter(at_once.map(Box::pin));
    let mut numbers = Vec::new();
    // Polled together: all of them are on their way at one time.
    std::future::poll_fn(|context| {
        use std::task::Poll;
        tasks.retain_mut(|task| match task.as_mut().poll(context) {
            Poll::Ready(number) => {
                numbers.push(number);
                false
            }
            Poll::Pending => true,
        });
        if tasks.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    assert_eq!(numbers.len(), 8);
    assert!(numbers.iter().all(|n| *n == numbers[0]), "{numbers:?}");
    let mut other = body.clone();
    other["remarks"] = json!("another");
    let refused = problem_of(desk.hand_in("k1", &other).await).await;
    assert_eq!(refused, (422, "idempotency_mismatch".to_owned()));
    let missing = desk.request(Method::POST, "/orders").json(&body).send().await.unwrap();
    assert_eq!(problem_of(missing).await, (400, "idempotency_key_missing".to_owned()));
    // Long after other keys are forgotten, whatever became of the order.
    let withdrawn = desk.change(&numbers[0], "withdrawal", 1, &json!({"reason": "over"})).await;
    assert_eq!(withdrawn.status(), StatusCode::OK);
    shop.advance(100 * DAY).await;
    assert_eq!(desk.number("k1", &body).await, numbers[0]);
    assert_eq!(desk.get("/orders").await.1["orders"].as_array().unwrap().len(), 1);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b05_the_source_confirms_modifies_or_withdraws_at_once_or_later() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let desk = Desk::open(&shop, "delivery").await;
    // At once, in the response to the signed callback.
    desk.receiver.answer((Status::OK, r#"{"decision":"confirm"}"#));
    let confirmed = desk.number("k1", &order(&shop)).await;
    let asked = desk.receiver.message("order.confirmation_requested", &confirmed).await;
    Verifier::new(&desk.secret).verify(&asked, shop.now().as_millis() / 1000).unwrap();
    assert_eq!((&asked.body["data"]["version"], &asked.body["data"]["total"]), (&json!(1), &eur("29.00")));
    desk.receiver.message("order.payable", &confirmed).await;
    let told = notice(&mut alice, &shop).await;
    assert_eq!(
        (told.service_number.to_string(), told.news, told.due),
        (confirmed.clone(), OrderNews::Payable, euros(2_900))
    );
    let modify = json!({"decision": "modify", "reason": "Discount",
        "fields": {"fees": [{"name": "Delivery", "unit_price": eur("19.00"), "tax_rate": "19"}], "remarks": "reduced"}});
    desk.receiver.answer((Status::OK, modify.to_string()));
    let modified = desk.number("k2", &order(&shop)).await;
    assert_eq!(desk.receiver.message("order.payable", &modified).await.body["data"]["total"], eur("19.00"));
    // Later, on the version that was looked at.
    let later = desk.number("k3", &order(&shop)).await;
    let path = format!("/orders/{later}/confirmation");
    let missing = desk.request(Method::PUT, &path).json(&json!({"decision": "confirm"})).send().await.unwrap();
    assert_eq!(problem_of(missing).await, (428, "precondition_required".to_owned()));
    let stale = desk.change(&later, "confirmation", 2, &json!({"decision": "confirm"})).await;
    assert_eq!(problem_of(stale).await, (412, "precondition_failed".to_owned()));
    let answer = desk.change(&later, "confirmation", 1, &modify).await;
    assert_eq!(answer.headers()["etag"], "\"2\"");
    let (_, seen) = json_of(answer).await;
    assert_eq!(
        (&seen["status"], &seen["total"], &seen["remarks"]),
        (&json!("payable"), &eur("19.00"), &json!("reduced"))
    );
    // Who changed what.
    let (_, versions) = desk.get(&format!("/orders/{later}/versions")).await;
    let versions = versions["versions"].as_array().unwrap();
    let row = |v: &Value| (v["version"].clone(), v["actor"].clone(), v["action"].clone(), v["facts"]["total"].clone());
    let actor = json!("source:delivery");
    assert_eq!(row(&versions[0]), (json!(1), actor.clone(), json!("handed_in"), eur("29.00")));
    assert_eq!(row(&versions[1]), (json!(2), actor, json!("modified"), eur("19.00")));
    assert_eq!(versions[1]["texts"]["reason"], "Discount");
    // A draft is nobody's business until it is submitted; then it is withdrawn.
    let mut draft = order(&shop);
    draft["draft"] = json!(true);
    let draft = desk.number("k4", &draft).await;
    let refused = desk.change(&draft, "confirmation", 1, &json!({"decision": "confirm"})).await;
    assert_eq!(problem_of(refused).await, (409, "order_locked".to_owned()));
    let submit = desk.request(Method::POST, &format!("/orders/{draft}/submission")).header("if-match", "\"1\"");
    assert_eq!(submit.send().await.unwrap().status(), StatusCode::OK);
    let asked = desk.receiver.message("order.confirmation_requested", &draft).await;
    assert_eq!(asked.body["data"]["version"], 2);
    let answer = desk.change(&draft, "confirmation", 2, &json!({"decision": "withdraw", "reason": "mistake"})).await;
    assert_eq!(json_of(answer).await.1["status"], "withdrawn");
    desk.receiver.message("order.withdrawn", &draft).await;
    let refused = desk.change(&draft, "confirmation", 3, &json!({"decision": "confirm"})).await;
    assert_eq!(problem_of(refused).await, (409, "order_locked".to_owned()));
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b06_a_modification_updates_the_order_until_a_payment_begins() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let desk = Desk::open(&shop, "delivery").await;
    let number = desk.payable("k1", &order(&shop)).await;
    let change = json!({"reason": "Two of them", "fields": {"service_name": "Two deliveries",
        "fees": [{"name": "Delivery", "quantity": "2", "unit_price": eur("29.00"), "tax_rate": "19"}],
        "deadline": shop.now().plus(20 * DAY), "case_number": "C-2", "case_name": "Bath", "payee": "Others", "paying_unit": "Unit"}});
    let answer = desk.change(&number, "modification", 2, &change).await;
    assert_eq!(answer.headers()["etag"], "\"3\"");
    let (_, seen) = json_of(answer).await;
    for member in ["service_name", "case_number", "case_name", "payee", "paying_unit"] {
        assert_eq!(seen[member], change["fields"][member], "{member}");
    }
    assert_eq!((&seen["status"], &seen["due"]), (&json!("payable"), &eur("58.00")));
    assert_eq!(desk.receiver.message("order.changed", &number).await.body["data"]["version"], 3);
    let told = [notice(&mut alice, &shop).await, notice(&mut alice, &shop).await].map(|n| (n.news, n.version, n.due));
    assert_eq!(told, [(OrderNews::Payable, 2, euros(2_900)), (OrderNews::Changed, 3, euros(5_800))]);
    // What never changes, and what is no version of it.
    let dollars = json!({"fields": {"fees": [{"name": "n", "unit_price": {"amount": "1.00", "currency": "USD"}}]}});
    for (version, body, code) in [
        (3, dollars, "currency_mismatch"),
        (3, json!({"fields": {"payer": "bob"}}), "malformed"),
        (3, json!({"fields": {"deadline": "2020-01-01T00:00:00Z"}}), "invalid_value"),
        (3, json!({"reason": "x".repeat(501)}), "invalid_value"),
        (2, json!({}), "precondition_failed"),
    ] {
        assert_eq!(problem_of(desk.change(&number, "modification", version, &body).await).await.1, code, "{body}");
    }
    assert_eq!(desk.get(&format!("/orders/{number}")).await.1, seen, "nothing of it was taken");
    // Once a payment has begun it stays as it is.
    let book = rusqlite::Connection::open(shop.folder.path().join("data/merchant.db")).unwrap();
    book.busy_timeout(Duration::from_secs(10)).unwrap();
    for state in ["in_payment", "paid", "partly_refunded", "refunded"] {
        book.execute("UPDATE orders SET state = ?1 WHERE number = ?2", (state, number.parse::<i64>().unwrap()))
            .unwrap();
        for (what, body) in
            [("modification", json!({})), ("withdrawal", json!({})), ("confirmation", json!({"decision": "confirm"}))]
        {
            let refused = problem_of(desk.change(&number, what, 3, &body).await).await;
            assert_eq!(refused, (409, "order_locked".to_owned()), "{what} while {state}");
        }
    }
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b06_reminders_come_by_the_clock() {
    let shop = Shop::open().await;
    let mut alice = shop.device_of("alice").await;
    let desk = Desk::open(&shop, "delivery").await;
    let number = desk.payable("k1", &order(&shop)).await;
    assert_eq!(notice(&mut alice, &shop).await.news, OrderNews::Payable);
    shop.advance(8 * DAY).await;
    assert_eq!(notice(&mut alice, &shop).await.news, OrderNews::Reminder);
    shop.advance(4 * DAY).await;
    assert_eq!(notice(&mut alice, &shop).await.news, OrderNews::Reminder);
    desk.receiver.message("order.overdue", &number).await;
    shop.advance(30 * DAY).await;
    assert_eq!(notice(&mut alice, &shop).await.news, OrderNews::Expired);
    desk.receiver.message("order.expired", &number).await;
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b01_thousands_come_in_one_request_each_answered_on_its_own() {
    let shop = Shop::open().await;
    let desk = Desk::open(&shop, "delivery").await;
    desk::admin(&shop, SourceAdmin::Callback { source_id: desk.id.clone(), url: None, allow_private: false }).await;
    let line = |n: usize| match n % 1_000 {
        7 => "{\"key\":\"broken\"".to_owned(),
        8 => json!({"key": "a b", "order": order(&shop)}).to_string(),
        9 => json!({"key": format!("k{n}"), "order": {"payer": "alice"}}).to_string(),
        10 => String::new(),
        11 => json!({"key": format!("k{n}"), "order": order(&shop), "more": "x".repeat(70_000)}).to_string(),
        12 => {
            let mut nobody = order(&shop);
            nobody["payer"] = json!("nobody");
            json!({"key": format!("k{n}"), "order": nobody}).to_string()
        }
        _ => json!({"key": format!("k{n}"), "order": {
            "service_name": "s", "payer": "alice", "deadline": "2030-01-31T12:00:00Z", "case_number": "C",
            "fees": [{"name": "f", "unit_price": eur("1.00")}]}})
        .to_string(),
    };
    let body: String = (0..5_000).map(|n| line(n) + "\n").collect();
    let send = |body: String, media: &'static str| {
        desk.request(Method::POST, "/orders/bulk").header("content-type", media).body(body).send()
    };
    let answer = send(body.clone(), "application/x-ndjson").await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["content-type"]),
        (StatusCode::OK, &"application/x-ndjson".parse().unwrap())
    );
    let text = answer.text().await.unwrap();
    let answers: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(answers.len(), 5_000);
    let mut numbers = std::collections::HashSet::new();
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer["line"], n + 1);
        let code = answer["problem"]["type"].as_str().and_then(|t| t.rsplit(':').next());
        let expected = match n % 1_000 {
            7..=10 => (400, Some("malformed")),
            11 => (413, Some("too_large")),
            12 => (422, Some("payer_unknown")),
            _ => (201, None),
        };
        assert_eq!((answer["status"].as_u64().unwrap(), code), expected, "line {}", n + 1);
        if let Some(number) = answer["service_number"].as_str() {
            assert_eq!(answer["key"], format!("k{n}"));
            assert!(numbers.insert(number.to_owned()), "each has a number of its own");
        }
    }
    assert_eq!(numbers.len(), 5_000 - 6 * 5);
    // Sent again it gives the same numbers, and nothing new.
    assert_eq!(send(body, "application/x-ndjson").await.unwrap().text().await.unwrap(), text);
    // As a whole it has limits too.
    let before = desk.get("/orders?limit=1").await.1;
    for (body, media, expected) in [
        (line(0), "application/json", (415, "unsupported_media_type")),
        (String::new(), "application/x-ndjson", (422, "invalid_value")),
        ("{}\n".repeat(5_001), "application/x-ndjson", (422, "invalid_value")),
        ("x".repeat(17 * 1024 * 1024), "application/x-ndjson", (413, "too_large")),
    ] {
        let answered = async {
            let answer = send(body, media).await?;
            let status = answer.status().as_u16();
            Ok::<_, reqwest::Error>((status, answer.bytes().await?))
        };
        match answered.await {
            Ok((status, problem)) => {
                let problem: Value = serde_json::from_slice(&problem).unwrap();
                let wanted = format!("urn:walkpay:problem:{}", expected.1);
                assert_eq!((status, &problem["type"]), (expected.0, &json!(wanted)));
            }
            // The server may close before all of an oversized body is sent, and its answer be lost with the rest.
            Err(e) => assert!(expected.0 == 413 && !e.is_timeout(), "{e}"),
        }
    }
    assert_eq!(desk.get("/orders?limit=1").await.1, before);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b24_success_is_returned_to_each_source_signed_and_until_it_is_taken() {
    let shop = Shop::open().await;
    let (delivery, repair) = (Desk::open(&shop, "delivery").await, Desk::open(&shop, "repair").await);
    let (first, second) = (delivery.payable("k1", &order(&shop)).await, repair.payable("k1", &order(&shop)).await);
    delivery.receiver.message("order.payable", &first).await;
    repair.receiver.message("order.payable", &second).await;
    // Only 2xx is success; a redirect is not followed, an answer is read to its limit.
    let elsewhere = Receiver::start().await;
    delivery.receiver.answer((Status::FOUND, [("location", elsewhere.url.clone())]));
    delivery.receiver.answer((Status::INTERNAL_SERVER_ERROR, "x".repeat(1_000_000)));
    delivery.receiver.answer((Status::TOO_MANY_REQUESTS, [("retry-after", "7200")]));
    desk::tell(&shop, &first, SourceNews::Paid).await;
    desk::tell(&shop, &second, SourceNews::Paid).await;
    let tried = |n: usize| {
        let (receiver, number) = (&delivery.receiver, first.clone());
        async move {
            let fits =
                |m: &&desk::Received| m.body["type"] == "order.paid" && m.body["data"]["service_number"] == *number;
            receiver
                .until(|all| Some(all.iter().filter(fits).cloned().collect::<Vec<_>>()).filter(|f| f.len() >= n))
                .await
        }
    };
    let settled = |tries: u64, status: u64| {
        let fits =
            move |all: &[Value]| all.last().filter(|m| m["tries"] == tries && m["last_status"] == status).cloned();
        delivery.deliveries_until("", fits)
    };
    tried(1).await;
    settled(1, 302).await;
    shop.advance(Duration::from_secs(7)).await;
    tried(2).await;
    settled(2, 500).await;
    shop.advance(Duration::from_secs(400)).await;
    tried(3).await;
    let waiting = settled(3, 429).await;
    assert_eq!((&waiting["status"], &waiting["last_status"]), (&json!("waiting"), &json!(429)));
    shop.advance(Duration::from_secs(7_300)).await;
    let all = tried(4).await;
    assert_eq!(all.len(), 4);
    assert!(elsewhere.all().is_empty());
    let mut verifier = Verifier::new(&delivery.secret);
    let now = shop.now().as_millis() / 1000;
    assert!(all.iter().all(|m| m.id == all[0].id && m.raw == all[0].raw), "one message, many tries");
    // The last try is fresh and signed. Replayed it is known, an old one too old, a changed one forged, and another's secret fits none.
    assert_eq!(verifier.verify(&all[3], now), Ok(()));
    assert_eq!(verifier.verify(&all[3], now), Err("replay"));
    assert_eq!(Verifier::new(&delivery.secret).verify(&all[0], now), Err("age"));
    let forged = desk::Received { raw: all[3].raw.iter().copied().chain(*b" ").collect(), ..all[3].clone() };
    assert_eq!(Verifier::new(&delivery.secret).verify(&forged, now), Err("signature"));
    let fresher = desk::Received { timestamp: now + 1, ..all[0].clone() };
    assert_eq!(Verifier::new(&delivery.secret).verify(&fresher, now), Err("signature"));
    assert_eq!(Verifier::new(&repair.secret).verify(&all[3], now), Err("signature"));
    let paid = repair.receiver.message("order.paid", &second).await;
    assert_eq!(Verifier::new(&repair.secret).verify(&paid, paid.timestamp), Ok(()));
    assert!(
        repair.receiver.all().iter().all(|m| m.body["data"]["service_number"] == *second),
        "each is told of its own"
    );
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b24_gone_addresses_dead_letters_redelivery_and_rotation() {
    let shop = Shop::open().await;
    let desk = Desk::open(&shop, "delivery").await;
    desk.receiver.answer(Status::GONE);
    let number = desk.number("k1", &order(&shop)).await;
    let dead = desk.deliveries_until("?status=dead", |all| all.first().cloned()).await;
    assert_eq!(
        (&dead["last_status"], &dead["last_error"], &dead["service_number"]),
        (&json!(410), &json!("gone"), &json!(number))
    );
    let other = desk.number("k2", &order(&shop)).await;
    assert_eq!(desk.get("/deliveries?status=dead").await.1["deliveries"].as_array().unwrap().len(), 2);
    assert_eq!(desk.receiver.all().len(), 1, "a gone address is left alone");
    // A new address, and a new secret beside the old one.
    let receiver = Receiver::start().await;
    assert_eq!(desk::callback(&shop, &desk.id, &receiver.url, true).await, Told::Nothing);
    let rotate = SourceAdmin::NewSecret { source_id: desk.id.clone(), overlap: DAY };
    let Told::Secret(secret) = desk::admin(&shop, rotate).await else { panic!("no secret") };
    let id = dead["message_id"].as_str().unwrap();
    let redeliver = |key: &str| {
        desk.request(Method::POST, &format!("/deliveries/{id}/redelivery")).header("idempotency-key", key).send()
    };
    let first = redeliver("r1").await.unwrap();
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    let first = first.bytes().await.unwrap();
    let message = receiver.message("order.confirmation_requested", &number).await;
    assert_eq!(message.id, id);
    for secret in [&secret, &desk.secret] {
        assert_eq!(Verifier::new(secret).verify(&message, message.timestamp), Ok(()));
    }
    assert_eq!(redeliver("r1").await.unwrap().bytes().await.unwrap(), first, "the first answer");
    let missing = desk.request(Method::POST, &format!("/deliveries/{id}/redelivery")).send().await.unwrap();
    assert_eq!(problem_of(missing).await, (400, "idempotency_key_missing".to_owned()));
    // Another source's messages are not there.
    let third = Desk::open(&shop, "repair").await;
    let refused =
        third.request(Method::POST, &format!("/deliveries/{id}/redelivery")).header("idempotency-key", "r").send();
    assert_eq!(problem_of(refused.await.unwrap()).await, (404, "not_found".to_owned()));
    assert_eq!(third.get("/deliveries").await.1["deliveries"], json!([]));
    // The rotation is over: one signature, by the new secret.
    shop.advance(2 * DAY).await;
    desk::tell(&shop, &other, SourceNews::Paid).await;
    let message = receiver.message("order.paid", &other).await;
    assert_eq!(message.signatures.split(' ').count(), 1);
    assert_eq!(Verifier::new(&secret).verify(&message, message.timestamp), Ok(()));
    assert_eq!(Verifier::new(&desk.secret).verify(&message, message.timestamp), Err("signature"));
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b24_callbacks_lead_nowhere_inside() {
    let shop = Shop::open().await;
    let desk = Desk::open(&shop, "delivery").await;
    let inside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = inside.local_addr().unwrap().port();
    let visitor = tokio::spawn(async move { inside.accept().await.map(|_| ()) });
    let app = shop.running.app();
    let set = |url: String| {
        let callback = SourceAdmin::Callback { source_id: "delivery".into(), url: Some(url), allow_private: false };
        let command = mock_merchant::domain::Command::Admin(mock_merchant::domain::AdminCommand::Source(callback));
        app.execute(mock_merchant::domain::Caller::Operator, command)
    };
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "10.0.0.1",
    ] {
        let refused = set(format!("https://{host}:{port}/")).await.unwrap_err();
        assert_eq!(refused.code.code(), "invalid_value", "{host}");
    }
    for url in [
        format!("http://service.example:{port}/"),
        format!("https://u:p@service.example:{port}/"),
        "file:///etc/passwd".into(),
    ] {
        assert_eq!(set(url).await.unwrap_err().code.code(), "invalid_value");
    }
    // A name is looked at where it leads, when it is called.
    set(format!("https://localhost:{port}/")).await.unwrap();
    desk.number("k1", &order(&shop)).await;
    let tried = |all: &[Value]| all.first().filter(|m| m.get("last_error").is_some()).cloned();
    let failed = desk.deliveries_until("", tried).await;
    assert_eq!((&failed["last_error"], &failed["status"]), (&json!("private_address"), &json!("waiting")));
    assert!(!visitor.is_finished(), "nobody came");
    visitor.abort();
    shop.running.shutdown().await;
}
