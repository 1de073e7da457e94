//! B30–B32: what was ordered and paid, asked over real HTTP by those who may and those who may not.

use crate::client::{DEADLINE, Device, Shop, Trip, json_of, problem_of};
use crate::slips::{DELIVERY, REPAIR, Service, order, pays_at_channel};
use reqwest::{Method, Response, StatusCode};
use rusqlite::Connection;
use serde_json::Value;
use std::time::{Duration, Instant};
use walkpay::ServiceNumber;
use walkpay::protocol::crypto::digest;
use walkpay::protocol::document::*;
use walkpay::protocol::order::PaymentStatus;
use walkpay::protocol::query::*;

/// What a trip came to.
struct Bought {
    device: Device,
    trip: Trip,
    debit: DebitResult,
}

/// A trip of `user` that ends in a debit of `pieces` pieces of one article.
async fn buy(shop: &Shop, user: &str, hold: Option<i64>, pieces: u32) -> Bought {
    let mut device = shop.device_of(user).await;
    let mut trip = Trip::new(shop.now());
    if let Some(minor) = hold {
        let request = device.hold_request(shop.now(), &mut trip, minor);
        assert_eq!(device.put_hold(shop.now(), &request).await.unwrap().status(), StatusCode::CREATED);
        device.hold_in(shop, HoldStatus::Placed).await;
    }
    let (basket, lines) = device.basket(shop.now(), &mut trip, pieces);
    let answer = device.put_attempt(shop.now(), &basket, &lines).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let debit = device.debit(shop).await;
    Bought { device, trip, debit }
}

/// Three trips: alice pays with stored value and bank, bob by bank, carol with stored value.
async fn three_trips(shop: &Shop) -> [Bought; 3] {
    let alice = buy(shop, "alice", Some(20_000), 40).await;
    let bob = buy(shop, "bob", Some(20_000), 3).await;
    let carol = buy(shop, "carol", None, 1).await;
    [alice, bob, carol]
}

fn staff_token(shop: &Shop) -> String {
    let out = shop.cli(&["staff", "token", "demo-1", "--staff", "anna"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

async fn send(shop: &Shop, token: &str, path: &str) -> Response {
    shop.http.get(shop.url(path)).bearer_auth(token).send().await.unwrap()
}

async fn ask<T: serde::de::DeserializeOwned>(shop: &Shop, token: &str, path: &str) -> T {
    let (status, body) = json_of(send(shop, token, path).await).await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    serde_json::from_value(body).unwrap()
}

async fn own<T: serde::de::DeserializeOwned>(shop: &Shop, device: &Device, path: &str) -> T {
    device.get_json(shop.now(), path).await
}

fn book(shop: &Shop) -> Connection {
    let conn = Connection::open(shop.folder.path().join("data/merchant.db")).unwrap();
    conn.busy_timeout(DEADLINE).unwrap();
    conn
}

fn numbers(page: &QueriedOrders) -> Vec<ServiceNumber> {
    page.orders.iter().map(|o| o.service_number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn b30_answers_what_was_paid_by_number_source_state_and_method() {
    let shop = Shop::open().await;
    let [alice, bob, carol] = three_trips(&shop).await;
    let token = staff_token(&shop);
    let all: QueriedOrders = ask(&shop, &token, "/query/v1/orders").await;
    let made = [&alice, &bob, &carol].map(|b| b.debit.service_number);
    assert_eq!((numbers(&all), all.next), (made.to_vec(), None));
    // By number, source, state, method, case, payer, amount, time: one by one and together.
    let bobs = [
        format!("number={}", bob.debit.service_number),
        format!("case_number={}", bob.trip.id),
        format!("payer={}", bob.device.sub),
        format!("source=demo-1&state=paid&method=bank&payer={}", bob.device.sub),
        format!("currency=EUR&min_total={0}&max_total={0}", bob.debit.total.to_decimal_string()),
        format!("currency=EUR&min_amount={0}&max_amount={0}", bob.debit.total.to_decimal_string()),
    ];
    for query in &bobs {
        let found: QueriedOrders = ask(&shop, &token, &format!("/query/v1/orders?{query}")).await;
        assert_eq!(numbers(&found), [bob.debit.service_number], "{query}");
        let payments: QueriedPayments = ask(&shop, &token, &format!("/query/v1/payments?{query}")).await;
        let moved: Vec<_> = payments.payments.iter().map(|p| (p.method, p.amount, p.state)).collect();
        assert_eq!(moved, [(PaymentMethod::Bank, bob.debit.total, LegState::Succeeded)], "{query}");
    }
    let count = async |query: &str| {
        let found: QueriedOrders = ask(&shop, &token, &format!("/query/v1/orders?{query}")).await;
        found.orders.len()
    };
    assert_eq!(count("method=stored_value").await, 2);
    assert_eq!(count("method=alipay").await, 0);
    assert_eq!(count("state=payable").await, 0);
    assert_eq!(count("source=demo-2").await, 0);
    let now = shop.now();
    assert_eq!(count(&format!("arose_to={now}&posted_to={now}")).await, 3);
    assert_eq!(count(&format!("posted_from={now}")).await, 0);
    // Page by page, while more is bought.
    let first: QueriedOrders = ask(&shop, &token, "/query/v1/orders?limit=2").await;
    let dora = buy(&shop, "bob", Some(5_000), 1).await;
    let path = format!("/query/v1/orders?limit=2&after={}", first.next.clone().unwrap());
    let second: QueriedOrders = ask(&shop, &token, &path).await;
    let read: Vec<_> = numbers(&first).into_iter().chain(numbers(&second)).collect();
    assert_eq!(read, [made.as_slice(), &[dora.debit.service_number]].concat());
    assert_eq!(second.next, None);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b30_shows_a_payer_their_own_only() {
    let shop = Shop::open().await;
    let [alice, bob, _] = three_trips(&shop).await;
    let found: QueriedOrders = own(&shop, &bob.device, "/query/v1/orders").await;
    assert_eq!(numbers(&found), [bob.debit.service_number]);
    let found: QueriedPayments = own(&shop, &bob.device, "/query/v1/payments").await;
    assert_eq!(found.payments.len(), 1);
    let found: Totals = own(&shop, &bob.device, "/query/v1/totals?group_by=case").await;
    assert_eq!((found.groups.len(), found.groups[0].paid), (1, bob.debit.total));
    // The numbers and cases of others are as if they were not there.
    for query in [format!("number={}", alice.debit.service_number), format!("case_number={}", alice.trip.id)] {
        for list in ["orders", "payments", "totals"] {
            let answer: Value = own(&shop, &bob.device, &format!("/query/v1/{list}?{query}")).await;
            assert!(answer.as_object().unwrap().values().all(|v| *v == Value::Array(Vec::new())), "{answer}");
        }
        let path = format!("/query/v1/exports/payments?format=json&{query}");
        assert_eq!(own::<Value>(&shop, &bob.device, &path).await, Value::Array(Vec::new()));
    }
    // A cursor of somebody else's list opens nothing either.
    let token = staff_token(&shop);
    let all: QueriedOrders = ask(&shop, &token, "/query/v1/orders?limit=1").await;
    let path = format!("/query/v1/orders?after={}", all.next.unwrap());
    assert_eq!(numbers(&own(&shop, &bob.device, &path).await), [bob.debit.service_number]);
    let refusals = [
        (format!("/query/v1/orders?payer={}", alice.device.sub), (403, "forbidden")),
        (format!("/query/v1/totals?payer={}", alice.device.sub), (403, "forbidden")),
        (format!("/query/v1/exports/orders?payer={}", alice.device.sub), (403, "forbidden")),
        ("/query/v1/reconciliation?day=2026-01-31".to_owned(), (403, "forbidden")),
    ];
    for (path, (status, code)) in refusals {
        let refused = bob.device.send(shop.now(), Method::GET, &path, Vec::new()).await.unwrap();
        assert_eq!(problem_of(refused).await, (status, code.to_owned()), "{path}");
    }
    // Nobody asks without saying who they are, and nobody is two.
    for path in ["/query/v1/orders", "/query/v1/exports/orders", "/query/v1/totals", "/query/v1/payments"] {
        let refused = shop.http.get(shop.url(path)).send().await.unwrap();
        assert_eq!(problem_of(refused).await.0, 401, "{path}");
        for wrong in ["sk_unknown", "a.b.c", "."] {
            assert_eq!(problem_of(send(&shop, wrong, path).await).await, (401, "unauthenticated".to_owned()));
        }
        let signed = bob.device.signed(shop.now(), &Method::GET, path, b"");
        let both = bob.device.build(signed, Method::GET, path, Vec::new()).bearer_auth(&token);
        assert_eq!(problem_of(both.send().await.unwrap()).await, (401, "unauthenticated".to_owned()));
    }
    shop.running.shutdown().await;
}

/// Makes a service system with one API key of these scopes.
fn source(shop: &Shop, name: &str, key: &str, scopes: &str) {
    let conn = book(shop);
    let sql = "INSERT INTO sources (merchant, source_id, name, payee, state, time_zone, made_at) VALUES (1, ?1, ?1, 'P', 'active', 'UTC', 0)";
    conn.execute(sql, [name]).unwrap();
    let sql = "INSERT INTO source_keys (sha256, source, scopes, made_at) VALUES (?1, last_insert_rowid(), ?2, 0)";
    conn.execute(sql, [digest(key.as_bytes()), scopes.to_owned()]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn b30_shows_a_service_system_its_own_only() {
    let shop = Shop::open().await;
    let bob = buy(&shop, "bob", Some(20_000), 3).await;
    fill(&shop, 5);
    source(&shop, "delivery", "sk_delivery", "query:read");
    source(&shop, "repairs", "sk_repairs", "query:read orders:read");
    source(&shop, "parking", "sk_parking", "orders:read orders:write");
    // Called as the store is, whose baskets are not its own.
    source(&shop, "demo-1", "sk_demo", "query:read");
    let found: QueriedOrders = ask(&shop, "sk_delivery", "/query/v1/orders").await;
    assert_eq!((found.orders.len(), found.orders.iter().all(|o| o.source == "delivery")), (5, true));
    for key in ["sk_repairs", "sk_demo"] {
        for query in
            [String::new(), format!("?number={}", bob.debit.service_number), "?number=000000000000003".to_owned()]
        {
            let found: QueriedOrders = ask(&shop, key, &format!("/query/v1/orders{query}")).await;
            assert!(found.orders.is_empty(), "{key} {query}");
            let found: QueriedPayments = ask(&shop, key, &format!("/query/v1/payments{query}")).await;
            assert!(found.payments.is_empty(), "{key} {query}");
            let found: Totals = ask(&shop, key, &format!("/query/v1/totals{query}")).await;
            assert!(found.groups.is_empty(), "{key} {query}");
        }
    }
    for path in [
        "/query/v1/orders?source=delivery",
        "/query/v1/totals?source=delivery",
        "/query/v1/reconciliation?day=2026-01-31",
    ] {
        assert_eq!(problem_of(send(&shop, "sk_repairs", path).await).await, (403, "forbidden".to_owned()), "{path}");
    }
    for path in ["/query/v1/orders", "/query/v1/payments", "/query/v1/totals", "/query/v1/exports/totals"] {
        assert_eq!(problem_of(send(&shop, "sk_parking", path).await).await, (403, "forbidden".to_owned()), "{path}");
    }
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b31_totals_by_method() {
    let shop = Shop::open().await;
    let bought = three_trips(&shop).await;
    let token = staff_token(&shop);
    let totals: Totals = ask(&shop, &token, "/query/v1/totals?group_by=method").await;
    let told = |method| {
        let legs = bought.iter().flat_map(|b| &b.debit.legs).filter(|l| l.method == method);
        let minors: Vec<i64> = legs.map(|l| l.amount.minor).collect();
        (method, minors.iter().sum::<i64>(), minors.len() as u64)
    };
    let found: Vec<_> = totals.groups.iter().map(|g| (g.method.unwrap(), g.paid.minor, g.payments)).collect();
    assert_eq!(found, [told(PaymentMethod::Bank), told(PaymentMethod::StoredValue)], "as every debit result said");
    assert!(totals.groups.iter().all(|g| g.refunds == 0 && g.net == g.paid && g.currency.code() == "EUR"));
    // The command line says the same.
    let out = shop.cli(&["query", "totals", "--group-by", "method", "--format", "json"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let printed: Vec<TotalsGroup> = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(printed, totals.groups);
    // A day at the bank agrees with the ledger once the statement was read.
    let day = totals_day(&shop, &token).await;
    let path = format!("/query/v1/reconciliation?day={day}");
    let agrees = async {
        loop {
            let compared: Value = ask(&shop, &token, &path).await;
            if compared["differences"] == Value::Array(Vec::new()) {
                return compared;
            }
            shop.advance(Duration::from_secs(1)).await;
        }
    };
    let compared = tokio::time::timeout(DEADLINE, agrees).await.unwrap();
    let bank = compared["methods"].as_array().unwrap().iter().find(|m| m["method"] == "bank").unwrap();
    assert_eq!(
        (&bank["paid"], &bank["paid"]),
        (&bank["received"], &serde_json::to_value(totals.groups[0].paid).unwrap())
    );
    // An entry that the ledger knows nothing of, and one that has another amount, are differences.
    let conn = book(&shop);
    conn.execute_batch(
        "UPDATE statement_entries SET minor = minor + 1 WHERE seq = (SELECT min(seq) FROM statement_entries)",
    )
    .unwrap();
    let compared: Value = ask(&shop, &token, &path).await;
    assert_eq!(compared["differences"][0]["kind"], "not_booked", "{compared}");
    let out = shop.cli(&["query", "reconcile", &day]);
    assert_eq!(out.status.code(), Some(1), "differences are told by the exit status");
    assert_eq!(serde_json::from_slice::<Value>(&out.stdout).unwrap(), compared);
    shop.running.shutdown().await;
}

/// The one business day of all payments.
async fn totals_day(shop: &Shop, token: &str) -> String {
    let days: Totals = ask(shop, token, "/query/v1/totals?group_by=business_day").await;
    assert_eq!(days.groups.len(), 1, "midnight passed: run it again");
    days.groups[0].business_day.clone().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn b32_totals_by_case_over_all_systems() {
    let shop = Shop::open().await;
    let [alice, bob, carol] = three_trips(&shop).await;
    let token = staff_token(&shop);
    for bought in [&alice, &bob, &carol] {
        let path = format!("/query/v1/totals?case_number={}", bought.trip.id);
        let found: Totals = ask(&shop, &token, &path).await;
        assert_eq!((found.groups.len(), found.groups[0].paid), (1, bought.debit.total));
    }
    // One case that several systems have part in, by number and by name.
    book(&shop)
        .execute_batch(
            "UPDATE orders SET case_number = 'C-1', source = 'delivery' WHERE number = 1;
             UPDATE orders SET case_number = 'C-1', source = 'repairs' WHERE number = 2;
             INSERT OR REPLACE INTO order_texts SELECT number, 'Kitchen 100%', '', '' FROM orders WHERE number <= 2",
        )
        .unwrap();
    let sum = alice.debit.total.minor + bob.debit.total.minor;
    for query in
        ["case_number=C-1", "case_name=Kitchen%20100%25", "case_name_prefix=Kitchen%20100%25", "case_name_prefix=Kit"]
    {
        let found: Totals = ask(&shop, &token, &format!("/query/v1/totals?{query}")).await;
        assert_eq!((found.groups.len(), found.groups[0].paid.minor), (1, sum), "{query}");
        let path = format!("/query/v1/totals?group_by=source,case&{query}");
        let found: Totals = ask(&shop, &token, &path).await;
        let sources: Vec<_> = found.groups.iter().map(|g| g.source.as_deref().unwrap()).collect();
        assert_eq!(sources, ["delivery", "repairs"]);
    }
    for query in [
        "case_name=kitchen%20100%25",
        "case_name_prefix=%25",
        "case_name_prefix=K%25",
        "case_name_prefix=_",
        "case_name_prefix=*",
    ] {
        let found: Totals = ask(&shop, &token, &format!("/query/v1/totals?{query}")).await;
        assert_eq!(found.groups, [], "{query}");
    }
    // A payer asks what their own part of a case came to.
    let found: Totals = own(&shop, &bob.device, "/query/v1/totals?case_number=C-1").await;
    assert_eq!(found.groups[0].paid, bob.debit.total);
    shop.running.shutdown().await;
}

/// Two service systems have part in one case; it is paid by three slips and three methods, and something is given back.
#[tokio::test(flavor = "multi_thread")]
async fn b32_one_case_of_two_service_systems_is_paid_by_three_methods() {
    let shop = Shop::open().await;
    let token = staff_token(&shop);
    let mut alice = shop.device_of("alice").await;
    let repair = Service { case: DELIVERY.case, ..REPAIR };
    let by_value = [order(&shop, DELIVERY).await, order(&shop, repair).await];
    let by_bank = [order(&shop, Service { minor: 4_000, ..repair }).await];
    let by_channel = [order(&shop, Service { minor: 700, ..DELIVERY }).await, order(&shop, repair).await];
    let elsewhere = order(&shop, REPAIR).await;
    let slip = alice.slip_of(&shop, &by_value).await;
    alice.pay(&shop, &slip, PaymentMethod::StoredValue, slip.amount.minor).await;
    let slip = alice.slip_of(&shop, &by_bank).await;
    let paid = alice.pay(&shop, &slip, PaymentMethod::Bank, 0).await;
    alice.told(&shop, paid.payment_id, PaymentStatus::Succeeded).await;
    let slip = alice.slip_of(&shop, &by_channel).await;
    let paid = alice.pay(&shop, &slip, PaymentMethod::Test, 0).await;
    alice.launched(&shop, paid.payment_id).await;
    assert_eq!(pays_at_channel(&shop, &format!("{}01", slip.slip_number)).await, StatusCode::NO_CONTENT);
    let result = alice.told(&shop, paid.payment_id, PaymentStatus::Succeeded).await;
    assert_eq!(result.legs.len(), 2);
    let sums = async |query: &str| -> Vec<(i64, u64)> {
        let found: Totals = ask(&shop, &token, &format!("/query/v1/totals?{query}")).await;
        found.groups.iter().map(|g| (g.paid.minor, g.payments)).collect()
    };
    let case = format!("case_number={}", DELIVERY.case);
    assert_eq!(sums(&case).await, [(6_700, 5)], "everywhere");
    assert_eq!(
        sums(&format!("{case}&group_by=method")).await,
        [(4_000, 1), (1_500, 2), (1_200, 2)],
        "bank, stored value, test"
    );
    assert_eq!(sums(&format!("{case}&group_by=source")).await, [(1_700, 2), (5_000, 3)], "delivery, repair");
    assert_eq!(sums("case_name=Kitchen&source=repair&method=bank").await, [(4_000, 1)]);
    assert_eq!(sums(&format!("number={elsewhere}")).await, [], "not paid yet");
    let paid: QueriedOrders = ask(&shop, &token, &format!("/query/v1/orders?{case}&state=paid")).await;
    assert_eq!(numbers(&paid).len(), 5);
    let payable: QueriedOrders = ask(&shop, &token, "/query/v1/orders?state=payable").await;
    assert_eq!(numbers(&payable), [elsewhere]);
    let legs: QueriedPayments = ask(&shop, &token, "/query/v1/payments?method=test").await;
    assert!(legs.payments.iter().all(|p| p.slip_number == Some(slip.slip_number)) && legs.payments.len() == 2);
    let own_total: Totals = own(&shop, &alice, &format!("/query/v1/totals?{case}")).await;
    assert_eq!(own_total.groups[0].paid.minor, 6_700);
    // The day agrees with channel and bank, where the sources' days are.
    let day = totals_day(&shop, &token).await;
    let path = format!("/query/v1/reconciliation?day={day}&time_zone=Asia/Tokyo");
    let agrees = async {
        loop {
            let compared: Value = ask(&shop, &token, &path).await;
            if compared["differences"] == Value::Array(Vec::new()) {
                return compared;
            }
            shop.advance(Duration::from_secs(1)).await;
        }
    };
    let compared = tokio::time::timeout(DEADLINE, agrees).await.unwrap();
    let test = compared["methods"].as_array().unwrap().iter().find(|m| m["method"] == "test").unwrap();
    assert_eq!((&test["received"], &test["receipts"]["applied"]), (&test["paid"], &test["paid"]));
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_cannot_be_meant_are_refused() {
    let shop = Shop::open().await;
    let token = staff_token(&shop);
    let cases = [
        ("/query/v1/orders?limit=0", "invalid_value"),
        ("/query/v1/orders?limit=1001", "invalid_value"),
        ("/query/v1/orders?limit=99999999999999999999", "malformed"),
        ("/query/v1/orders?limit=-1", "malformed"),
        ("/query/v1/orders?sauce=delivery", "malformed"),
        ("/query/v1/orders?group_by=method", "malformed"),
        ("/query/v1/orders?source=a&source=b", "malformed"),
        ("/query/v1/orders?number=1", "malformed"),
        ("/query/v1/orders?state=PAID", "malformed"),
        ("/query/v1/orders?source=' OR 1=1 --", "malformed"),
        ("/query/v1/orders?after=bnVsbA", "invalid_value"),
        ("/query/v1/payments?after=WyJvIiwiMDAwMDAwMDAwMDAwMDAxIl0", "invalid_value"),
        ("/query/v1/totals?group_by=l.method", "invalid_value"),
        ("/query/v1/totals?group_by=method,method", "invalid_value"),
        ("/query/v1/totals?min_total=1.00", "invalid_value"),
        ("/query/v1/exports/orders?format=xml", "malformed"),
        ("/query/v1/exports/orders?after=x", "malformed"),
        ("/query/v1/reconciliation", "malformed"),
        ("/query/v1/reconciliation?day=2026-02-30", "invalid_value"),
        ("/query/v1/reconciliation?day=2026-02-03&time_zone=../../etc/passwd", "invalid_value"),
    ];
    for (path, code) in cases {
        assert_eq!(problem_of(send(&shop, &token, path).await).await.1, code, "{path}");
    }
    shop.running.shutdown().await;
}

/// Adds `count` paid orders of alice in one statement, each with a leg.
fn fill(shop: &Shop, count: u32) {
    let conn = book(shop);
    conn.execute(
        "INSERT INTO orders (merchant, source, state, service_name, payee, payer, currency, total, due, case_number, arose_at, deadline,
           made_at, changed_at)
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
         SELECT 1, 'delivery', 'payable', 'Delivery of a thing with a name that is not short', 'Payee', 1, 'EUR', 100, 100, 'C-' || n,
           n, n, n, n FROM n",
        [count],
    )
    .unwrap();
}

/// The value of a metric without labels.
async fn metric(shop: &Shop, name: &str) -> u64 {
    let text = shop.http.get(shop.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|l| l.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

async fn until_no_export_is_open(shop: &Shop) {
    let ended = async { while metric(shop, "walkpay_exports_open").await > 0 {} };
    tokio::time::timeout(DEADLINE, ended).await.expect("the export ends");
}

/// Empties the write-ahead log; `false` while a reader's snapshot is in the way.
fn emptied(shop: &Shop) -> bool {
    let conn = book(shop);
    conn.busy_timeout(Duration::ZERO).unwrap();
    conn.execute_batch("PRAGMA user_version = 2").unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get::<_, i64>(0)).unwrap() == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_whole_and_harmless_in_a_spreadsheet() {
    let shop = Shop::open().await;
    let bought = three_trips(&shop).await;
    let token = staff_token(&shop);
    let bad = ["=HYPERLINK(\"http://x\")", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "a,\"b\"\r\nc", "plain"];
    let conn = book(&shop);
    for (n, text) in bad.iter().enumerate() {
        let sql = "INSERT INTO orders (merchant, source, state, service_name, payee, payer, currency, total, due, case_number, arose_at,
                     deadline, made_at, changed_at) VALUES (1, 'delivery', 'payable', ?1, ?1, 1, 'EUR', 100, 100, ?1, 0, 0, 0, 0)";
        conn.execute(sql, [text]).unwrap();
        let sql = "INSERT INTO order_texts VALUES (last_insert_rowid(), ?1, ?1, ?1)";
        conn.execute(sql, [text]).unwrap();
        assert!(n < 8);
    }
    let answer = send(&shop, &token, "/query/v1/exports/orders?source=delivery").await;
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8; header=present");
    assert_eq!(answer.headers()["content-disposition"], "attachment; filename=\"orders.csv\"");
    let text = answer.text().await.unwrap();
    assert!(text.starts_with("service_number,status,source,") && text.ends_with("\r\n"));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let column = |name: &str| reader.headers().unwrap().iter().position(|h| h == name).unwrap();
    let columns = ["service_name", "payee", "case_number", "case_name"].map(column);
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), bad.len());
    for (row, text) in rows.iter().zip(bad) {
        let expected = if text.starts_with(['a', 'p']) { text.to_owned() } else { format!("'{text}") };
        assert!(columns.iter().all(|c| row[*c] == expected), "{text:?}: {row:?}");
    }
    // The same rows as lines of JSON and as an array, as they are.
    let lines = send(&shop, &token, "/query/v1/exports/orders?source=delivery&format=ndjson").await;
    let lines: Vec<QueriedOrder> =
        lines.text().await.unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let array: Vec<QueriedOrder> = ask(&shop, &token, "/query/v1/exports/orders?source=delivery&format=json").await;
    assert_eq!(lines, array);
    assert_eq!(array.iter().map(|o| o.case_name.as_str()).collect::<Vec<_>>(), bad);
    let payments: Vec<QueriedPayment> = ask(&shop, &token, "/query/v1/exports/payments?format=json").await;
    assert_eq!(payments.len(), bought.iter().map(|b| b.debit.legs.len()).sum::<usize>());
    let out = shop.cli(&["query", "export", "payments", "--format", "json"]);
    assert_eq!(serde_json::from_slice::<Vec<QueriedPayment>>(&out.stdout).unwrap(), payments);
    let file = shop.folder.path().join("totals.csv");
    let out = shop.cli(&["query", "export", "totals", "--group-by", "method", "--output", file.to_str().unwrap()]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 3, "names, bank, stored value");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_keeps_pace_with_its_reader_and_ends_when_the_reader_leaves() {
    const ROWS: u32 = 200_000;
    let shop = Shop::with(|config| config.limits.exports = 1).await;
    fill(&shop, ROWS);
    let token = staff_token(&shop);
    let path = "/query/v1/exports/orders?format=ndjson";
    let mut answer = send(&shop, &token, path).await;
    assert!(answer.chunk().await.unwrap().is_some());
    // What is not read is not written: the sockets' buffers and a few chunks are all that is ahead of the reader.
    let (mut ahead, mut same) = (0, 0);
    let settled = async {
        while same < 100 {
            let rows = metric(&shop, "walkpay_exported_rows_total").await;
            same = if rows == ahead { same + 1 } else { 0 };
            ahead = rows;
        }
    };
    tokio::time::timeout(DEADLINE, settled).await.unwrap();
    assert!(ahead < u64::from(ROWS) / 2, "{ahead} rows were written for a reader of one chunk");
    assert_eq!(metric(&shop, "walkpay_exports_open").await, 1);
    assert_eq!(problem_of(send(&shop, &token, path).await).await, (503, "unavailable".to_owned()), "one at a time");
    drop(answer);
    until_no_export_is_open(&shop).await;
    assert!(metric(&shop, "walkpay_exported_rows_total").await < u64::from(ROWS));
    // The whole, for a reader that stays.
    let mut answer = send(&shop, &token, path).await;
    let mut rows = 0;
    while let Some(chunk) = answer.chunk().await.unwrap() {
        rows += chunk.iter().filter(|byte| **byte == b'\n').count();
    }
    assert_eq!(rows, ROWS as usize);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_takes_too_long_breaks_off_and_frees_the_log() {
    let shop = Shop::with(|config| config.limits.export_time = Duration::from_secs(3)).await;
    fill(&shop, 200_000);
    let token = staff_token(&shop);
    let began = Instant::now();
    let mut answer = send(&shop, &token, "/query/v1/exports/orders").await;
    assert!(answer.chunk().await.unwrap().is_some());
    book(&shop).execute_batch("UPDATE orders SET changed_at = 1 WHERE number = 1").unwrap();
    assert!(!emptied(&shop), "the export reads a snapshot");
    until_no_export_is_open(&shop).await;
    assert!(began.elapsed() >= Duration::from_secs(3));
    assert!(emptied(&shop), "no snapshot is held any more");
    let broken = loop {
        match answer.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken, "what is not complete does not look complete");
    shop.running.shutdown().await;
}
