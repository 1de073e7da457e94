//! Limits, problems, signatures, polls, gates and staff: what stands before and around the rules.

use crate::client::{DEADLINE, Device, Shop, Trip, eur, http_from, json_of, problem_of};
use mock_merchant::server::{Limits, Rate};
use reqwest::header::{ALLOW, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use walkpay::protocol::document::*;
use walkpay::protocol::message::*;

async fn problem(shop: &Shop, method: Method, path: &str, kind: &str, body: Vec<u8>) -> (u16, String) {
    let request = shop.http.request(method, shop.url(path)).body(body);
    let request = if kind.is_empty() { request } else { request.header("content-type", kind) };
    problem_of(request.send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_page_and_document() {
    let shop = Shop::open().await;
    let (status, health) = shop.get("/healthz").await;
    assert_eq!((status, health["status"].as_str()), (StatusCode::OK, Some("ok")));
    let (_, document) = shop.get("/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    let page = shop.http.get(shop.url("/")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("/openapi.json") && page.contains("payment system"));
    let metrics = shop.http.get(shop.url("/metrics")).send().await.unwrap();
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains(r#"walkpay_http_requests_total{route="/healthz",method="GET",status="200"} 1"#),
        "{metrics}"
    );
    let head = shop.http.head(shop.url("/healthz")).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert!(head.bytes().await.unwrap().is_empty());
    shop.running.shutdown().await;
}

/// Method, path, content type, body; the status and the problem that are expected.
type Row<'a> = (Method, &'a str, &'a str, Vec<u8>, u16, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_a_problem_document() {
    let shop = Shop::open().await;
    let enrol = "/terminal/v1/enrolments/018bcfe5-6800-7707-8707-070707070707";
    let json = "application/json";
    let rows: [Row<'_>; 13] = [
        (Method::GET, "/nowhere", "", vec![], 404, "not_found"),
        (Method::GET, "/terminal/v1/nowhere", "", vec![], 404, "not_found"),
        (Method::DELETE, "/healthz", "", vec![], 405, "method_not_allowed"),
        (Method::PUT, enrol, "text/plain", b"{}".to_vec(), 415, "unsupported_media_type"),
        (Method::PUT, enrol, "", b"{}".to_vec(), 415, "unsupported_media_type"),
        (Method::PUT, enrol, json, b"".to_vec(), 400, "malformed"),
        (Method::PUT, enrol, json, b"{".to_vec(), 400, "malformed"),
        (Method::PUT, enrol, json, b"{\"code\":1}".to_vec(), 400, "malformed"),
        (Method::PUT, enrol, json, vec![0xff, 0xfe, 0x00], 400, "malformed"),
        (Method::PUT, enrol, json, b"[".repeat(200_000), 400, "malformed"),
        (Method::PUT, enrol, json, vec![b' '; MAX_REQUEST_BODY + 1], 413, "too_large"),
        (Method::PUT, "/terminal/v1/enrolments/no-uuid", json, b"{}".to_vec(), 400, "malformed"),
        (Method::PUT, "/terminal/v1/enrolments/%ff", json, b"{}".to_vec(), 400, "malformed"),
    ];
    for (method, path, kind, body, status, code) in rows {
        let answer = problem(&shop, method.clone(), path, kind, body).await;
        assert_eq!(answer, (status, code.to_owned()), "{method} {path} {kind}");
    }
    let options = shop.http.request(Method::OPTIONS, shop.url("/healthz")).send().await.unwrap();
    assert_eq!(options.status(), StatusCode::NO_CONTENT);
    assert!(options.headers()[ALLOW].to_str().unwrap().contains("GET"));
    let wrong = shop.http.post(shop.url("/healthz")).send().await.unwrap();
    assert!(wrong.headers()[ALLOW].to_str().unwrap().contains("GET"));
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_signatures_are_checked() {
    let shop = Shop::open().await;
    let mut device = shop.device_of("bob").await;
    let (path, get, now) = ("/terminal/v1/events", Method::GET, shop.now());
    let unsigned = shop.http.get(shop.url(path)).send().await.unwrap();
    assert_eq!(problem_of(unsigned).await, (401, "unauthenticated".to_owned()));
    let headers = device.signed(now, &get, path, b"");
    let first = device.build(headers.clone(), get.clone(), path, vec![]).send().await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    let replay = device.build(headers.clone(), get.clone(), path, vec![]).send().await.unwrap();
    assert_eq!(problem_of(replay).await, (401, "nonce_replayed".to_owned()));
    let elsewhere = device.build(headers, get.clone(), "/terminal/v1/events?after=0", vec![]).send().await.unwrap();
    assert_eq!(problem_of(elsewhere).await, (401, "signature_invalid".to_owned()));
    for created in [now.minus(Duration::from_secs(310)), now.plus(Duration::from_secs(310))] {
        let stale = device.send(created, get.clone(), path, vec![]).await.unwrap();
        assert_eq!(problem_of(stale).await, (401, "signature_stale".to_owned()));
    }
    let stranger = walkpay::protocol::crypto::digest(b"nobody");
    let own = std::mem::replace(&mut device.request_kid, walkpay::KeyId::parse(&stranger).unwrap());
    let unknown = device.send(shop.now(), get.clone(), path, vec![]).await.unwrap();
    assert_eq!(problem_of(unknown).await, (401, "key_unknown".to_owned()));
    device.request_kid = own;
    let waits = device.send(shop.now(), get, "/terminal/v1/events?wait=51", vec![]).await.unwrap();
    assert_eq!(problem_of(waits).await, (422, "invalid_value".to_owned()));
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_refuses_signatures_from_before() {
    let shop = Shop::open().await;
    let device = shop.device_of("bob").await;
    let path = "/terminal/v1/events";
    let before = device.signed(shop.now(), &Method::GET, path, b"");
    let Shop { running, http, folder, sources } = shop;
    running.shutdown().await;
    let config =
        mock_merchant::server::Config { sim: true, ..mock_merchant::server::Config::new(folder.path().join("data")) };
    let running = mock_merchant::server::Server::start(config).await.unwrap();
    let shop = Shop { running, http, folder, sources };
    let device = Device { url: shop.running.url.clone(), ..device };
    let replay = device.build(before, Method::GET, path, vec![]).send().await.unwrap();
    assert_eq!(problem_of(replay).await, (401, "signature_stale".to_owned()));
    // Signed again once the second of the start is over.
    shop.advance(Duration::from_secs(1)).await;
    let again = device.send(shop.now(), Method::GET, path, vec![]).await.unwrap();
    assert_eq!(again.status(), StatusCode::OK);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_endless_senders_are_cut_off() {
    let shop = Shop::with(|config| {
        config.limits = Limits {
            header_time: Duration::from_millis(300),
            body_time: Duration::from_millis(300),
            ..Limits::default()
        };
    })
    .await;
    let address = shop.running.url.trim_start_matches("http://").to_owned();
    let read_all = |mut stream: TcpStream| async move {
        let mut text = Vec::new();
        tokio::time::timeout(DEADLINE, stream.read_to_end(&mut text)).await.expect("the server ends it").unwrap();
        String::from_utf8_lossy(&text).into_owned()
    };
    let mut slow = TcpStream::connect(&address).await.unwrap();
    let head = "PUT /terminal/v1/enrolments/018bcfe5-6800-7707-8707-070707070707 HTTP/1.1\r\nhost: x\r\n\
                content-type: application/json\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    let answer = read_all(slow).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("urn:walkpay:problem:timeout"), "{answer}");
    let mut silent = TcpStream::connect(&address).await.unwrap();
    silent.write_all(b"GET /healthz HTTP/1.1\r\nhost:").await.unwrap();
    let answer = read_all(silent).await;
    assert!(!answer.contains("200 OK"), "{answer}");
    let mut many = TcpStream::connect(&address).await.unwrap();
    let headers: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    many.write_all(format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes()).await.unwrap();
    let answer = read_all(many).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_are_limited_per_address_and_device() {
    let shop = Shop::with(|config| {
        config.limits.per_address = Rate { per_second: 1, burst: 3 };
    })
    .await;
    let mut limited = None;
    for _ in 0..10 {
        let answer = shop.http.get(shop.url("/openapi.json")).send().await.unwrap();
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            limited = Some(answer);
            break;
        }
    }
    let limited = limited.expect("a limit");
    assert!(limited.headers()[RETRY_AFTER].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(problem_of(limited).await, (429, "rate_limited".to_owned()));
    assert_eq!(shop.get("/healthz").await.0, StatusCode::OK, "health is always told");
    shop.running.shutdown().await;

    let shop = Shop::with(|config| config.limits.per_device = Rate { per_second: 1, burst: 3 }).await;
    let device = shop.device_of("bob").await;
    let mut codes = Vec::new();
    for _ in 0..6 {
        codes
            .push(device.send(shop.now(), Method::GET, "/terminal/v1/events", vec![]).await.unwrap().status().as_u16());
    }
    assert!(codes.contains(&429), "{codes:?}");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_take_all_the_room() {
    let shop = Shop::with(|config| config.limits.requests_per_address = 2).await;
    let address = shop.running.url.strip_prefix("http://").unwrap().to_owned();
    let path = "/terminal/v1/enrolments/018bcfe5-6800-7707-8707-070707070707";
    let slow = format!("PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n");
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(slow.as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    let refused = async {
        loop {
            let answer = shop.http.get(shop.url("/openapi.json")).send().await.unwrap();
            if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                return answer;
            }
        }
    };
    let refused = tokio::time::timeout(DEADLINE, refused).await.expect("both are in work");
    assert_eq!(problem_of(refused).await, (429, "rate_limited".to_owned()));
    let other = http_from([127, 0, 0, 2]).get(shop.url("/openapi.json")).send().await.unwrap();
    assert_eq!(other.status(), StatusCode::OK, "others get in");
    assert_eq!(shop.get("/healthz").await.0, StatusCode::OK);
    drop(waiting);
    let again = async { while shop.get("/openapi.json").await.0 != StatusCode::OK {} };
    tokio::time::timeout(DEADLINE, again).await.expect("room again once they are gone");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_sends_so_many_documents_a_day() {
    let shop = Shop::with(|config| config.limits.documents_per_day = 2).await;
    let mut device = shop.device_of("bob").await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let hold = device.hold_request(shop.now(), &mut Trip::new(shop.now()), 1_000);
        statuses.push(device.put_hold(shop.now(), &hold).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [201, 201, 429]);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_take_all_nonces() {
    let shop = Shop::with(|config| config.limits.enrolments_per_address = Rate { per_second: 1, burst: 1 }).await;
    let begin = |from: [u8; 4]| http_from(from).post(shop.url("/terminal/v1/enrolments")).send();
    let refused = async {
        loop {
            let answer = begin([127, 0, 0, 1]).await.unwrap();
            if answer.status() != StatusCode::CREATED {
                return answer;
            }
        }
    };
    let refused = tokio::time::timeout(DEADLINE, refused).await.expect("a limit");
    assert_eq!(problem_of(refused).await, (429, "rate_limited".to_owned()));
    assert_eq!(begin([127, 0, 0, 2]).await.unwrap().status(), StatusCode::CREATED);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_keys_is_told_before_it_comes() {
    let shop = Shop::open().await;
    let left = async || {
        let text = shop.http.get(shop.url("/metrics")).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find(|l| l.starts_with("walkpay_keys_seconds_left ")).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let before = left().await;
    assert!(before > 390 * 24 * 3600, "{before}");
    shop.advance(Duration::from_secs(399 * 24 * 3600)).await;
    assert!(left().await <= 24 * 3600);
    assert_eq!(shop.get("/healthz").await.0, StatusCode::OK);
    shop.advance(Duration::from_secs(24 * 3600)).await;
    assert_eq!((left().await, shop.get("/healthz").await.0), (0, StatusCode::SERVICE_UNAVAILABLE));
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_this_machine_or_by_a_key() {
    let shop = Shop::with(|config| {
        config.behind_proxy = true;
        config.public_url = Some("https://pay.example".to_owned());
        config.demo = false;
        config.sim = false;
        config.merchant_id = walkpay::MerchantId::parse("m").ok();
        config.merchant_name = Some("Shop".to_owned());
        config.metrics_key = Some("collector-key".to_owned());
    })
    .await;
    let ask = |from: Option<&'static str>, key: Option<&'static str>| {
        let mut request = shop.http.get(shop.url("/metrics"));
        if let Some(from) = from {
            request = request.header("x-forwarded-for", from);
        }
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        async move { request.send().await.unwrap() }
    };
    assert_eq!(ask(None, None).await.status(), StatusCode::OK);
    assert_eq!(problem_of(ask(Some("192.0.2.7"), None).await).await, (403, "forbidden".to_owned()));
    assert_eq!(problem_of(ask(Some("192.0.2.7"), Some("guess")).await).await, (403, "forbidden".to_owned()));
    assert_eq!(ask(Some("192.0.2.7"), Some("collector-key")).await.status(), StatusCode::OK);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_wake_up_and_are_bounded() {
    let shop = Shop::with(|config| config.limits.polls_per_device = 1).await;
    let mut device = shop.device_of("bob").await;
    let now = shop.now();
    let wait = device.signed(now, &Method::GET, "/terminal/v1/events?wait=50", b"");
    let poll = tokio::spawn(device.build(wait, Method::GET, "/terminal/v1/events?wait=50", vec![]).send());
    let refused = async {
        loop {
            let metrics = shop.http.get(shop.url("/metrics")).send().await.unwrap().text().await.unwrap();
            if metrics.contains("walkpay_polls_waiting 1") {
                return device.send(shop.now(), Method::GET, "/terminal/v1/events?wait=50", vec![]).await.unwrap();
            }
        }
    };
    let refused = tokio::time::timeout(DEADLINE, refused).await.expect("the poll waits");
    assert_eq!(problem_of(refused).await, (429, "rate_limited".to_owned()));
    let mut trip = Trip::new(shop.now());
    let hold = device.hold_request(shop.now(), &mut trip, 1_000);
    device.put_hold(shop.now(), &hold).await.unwrap();
    let page: EventsPage = poll.await.unwrap().unwrap().json().await.unwrap();
    assert!(!page.events.is_empty(), "woken by the event");
    let clock: ClockStatement = device.document(shop.now(), &page.clock);
    assert!(clock.now >= now);
    // Stopping answers a poll instead of breaking it.
    let path = "/terminal/v1/events?after=1000&wait=50";
    let headers = device.signed(shop.now(), &Method::GET, path, b"");
    let poll = tokio::spawn(device.build(headers, Method::GET, path, vec![]).send());
    let waits = async {
        while !shop
            .http
            .get(shop.url("/metrics"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .contains("walkpay_polls_waiting 1")
        {}
    };
    tokio::time::timeout(DEADLINE, waits).await.expect("the poll waits");
    shop.running.shutdown().await;
    assert_eq!(poll.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn gates_share_what_they_took_in() {
    let shop = Shop::open().await;
    let out = shop.cli(&["gate", "token", "demo-1"]);
    let token = String::from_utf8(out.stdout).unwrap().trim().to_owned();
    let url = shop.url("/gate/v1/groups/demo-1/passes");
    let anonymous = shop.http.get(&url).send().await.unwrap();
    assert_eq!(problem_of(anonymous).await, (401, "unauthenticated".to_owned()));
    let forged = shop.http.get(&url).bearer_auth("nonsense").send().await.unwrap();
    assert_eq!(problem_of(forged).await, (401, "unauthenticated".to_owned()));
    let pass = walkpay::PassId::new(shop.now(), crate::client::random10());
    let upload = json!({"passes": [{"jti": pass, "spent_at": shop.now()}]});
    let spend =
        || async { json_of(shop.http.post(&url).bearer_auth(&token).json(&upload).send().await.unwrap()).await };
    assert_eq!(spend().await, (StatusCode::OK, json!({"new": 1, "repeated": []})));
    assert_eq!(spend().await, (StatusCode::OK, json!({"new": 0, "repeated": [pass]})));
    let (_, page) = json_of(shop.http.get(&url).bearer_auth(&token).send().await.unwrap()).await;
    assert_eq!(page["passes"][0]["jti"], json!(pass));
    let other = shop.http.get(shop.url("/gate/v1/groups/other/passes")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(problem_of(other).await, (403, "forbidden".to_owned()));
    let revoked = shop.http.get(shop.url("/gate/v1/groups/demo-1/revocations")).bearer_auth(&token).send().await;
    assert_eq!(revoked.unwrap().status(), StatusCode::OK);
    let listed = String::from_utf8(shop.cli(&["gate", "list"]).stdout).unwrap();
    let key = listed.lines().find(|l| l.contains("demo-1")).unwrap().split('\t').next().unwrap().to_owned();
    assert!(shop.cli(&["gate", "revoke", &key]).status.success());
    let stranger = shop.http.get(&url).bearer_auth(&token).send().await.unwrap();
    assert_eq!(problem_of(stranger).await, (401, "unauthenticated".to_owned()));
    assert!(!shop.cli(&["gate", "revoke", &key]).status.success(), "once");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_decide_once() {
    let shop = Shop::with(|config| config.policy.spot_check_per_mille = 1000).await;
    let out = shop.cli(&["staff", "token", "demo-1", "--staff", "s-7"]);
    let token = String::from_utf8(out.stdout).unwrap().trim().to_owned();
    let mut carol = shop.device_of("carol").await;
    let mut trip = Trip::new(shop.now());
    let (basket, lines) = carol.basket(shop.now(), &mut trip, 1);
    carol.put_attempt(shop.now(), &basket, &lines).await.unwrap();
    assert_eq!(carol.validation(&shop).await.verdict, Verdict::CheckRequired);
    let get = |path: String| {
        let request = shop.http.get(shop.url(&path)).bearer_auth(&token);
        async { json_of(request.send().await.unwrap()).await }
    };
    let (status, list) = get("/staff/v1/checks".into()).await;
    assert_eq!((status, &list["checks"][0]["trip_id"]), (StatusCode::OK, &json!(trip.id)));
    let check = format!("/staff/v1/checks/{}/1", trip.id);
    let (_, detail) = get(check.clone()).await;
    assert!(detail["lines"].is_object() || detail["lines"].is_array(), "{detail}");
    let decide = |digest: String, token: String| {
        let body = json!({"basket_sha256": digest, "accept": true});
        shop.http.put(shop.url(&format!("{check}/decision"))).bearer_auth(token).json(&body).send()
    };
    let digest = detail["basket_sha256"].as_str().unwrap().to_owned();
    let forged = decide(digest.clone(), format!("{}x", &token[..token.len() - 1])).await.unwrap();
    assert_eq!(problem_of(forged).await.0, 401);
    let other = decide("x".repeat(43), token.clone()).await.unwrap();
    assert_eq!(problem_of(other).await, (412, "precondition_failed".to_owned()));
    let first = decide(digest.clone(), token.clone()).await.unwrap();
    assert_eq!(json_of(first).await, (StatusCode::OK, json!({"verdict": "accepted"})));
    let replay = decide(digest, token.clone()).await.unwrap();
    assert_eq!(problem_of(replay).await, (409, "already_decided".to_owned()));
    assert_eq!(carol.validation(&shop).await.verdict, Verdict::Accepted);
    shop.advance(Duration::from_secs(25 * 3600)).await;
    let over = shop.http.get(shop.url("/staff/v1/checks")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(problem_of(over).await, (401, "unauthenticated".to_owned()));
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staff_token_allows_what_its_scopes_say() {
    let shop = Shop::open().await;
    let trip = Trip::new(shop.now()).id;
    let checks = "/staff/v1/checks".to_owned();
    let check = format!("/staff/v1/checks/{trip}/1");
    let refunds = "/staff/v1/orders/000000000000001/refunds".to_owned();
    let orders = "/query/v1/orders".to_owned();
    let messages = "/staff/v1/messages".to_owned();
    let books = format!("/query/v1/reconciliation?day={}", &shop.now().to_string()[..10]);
    let decision = (Method::PUT, format!("{check}/decision"), json!({"basket_sha256": "x".repeat(43), "accept": true}));
    let refund = (Method::POST, refunds.clone(), json!({}));
    let get = |path: &String| (Method::GET, path.clone(), serde_json::Value::Null);
    // What each scope allows, and what comes of it where it is there.
    let table = [
        ("checks:decide", vec![(get(&checks), 200), (get(&check), 404), (decision, 404)]),
        ("refunds:write", vec![(get(&refunds), 404), (refund, 404)]),
        ("query:read", vec![(get(&orders), 200), (get(&books), 200)]),
        ("messages:read", vec![(get(&messages), 200)]),
    ];
    let ask = async |token: &str, (method, path, body): &(Method, String, serde_json::Value)| {
        let request =
            shop.http.request(method.clone(), shop.url(path)).bearer_auth(token).header("idempotency-key", "k");
        let request = if body.is_null() { request } else { request.json(body) };
        json_of(request.send().await.unwrap()).await
    };
    let token = |args: &[&str]| {
        let out = shop.cli(&[&["staff", "token", "demo-1", "--staff", "s-7"], args].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    let all = token(&["--scope", "checks:decide refunds:write query:read messages:read"]);
    // Without words, what there was before tokens had any.
    assert_eq!(ask(&token(&[]), &get(&orders)).await.0, StatusCode::OK);
    assert_eq!(ask(&token(&[]), &get(&messages)).await.0, StatusCode::FORBIDDEN);
    for (scope, _) in &table {
        let only = token(&["--scope", scope]);
        for (of, calls) in &table {
            for (call, found) in calls {
                assert_eq!(ask(&all, call).await.0.as_u16(), *found, "{call:?}");
                let (status, body) = ask(&only, call).await;
                if of == scope {
                    assert_eq!(status.as_u16(), *found, "{call:?} by {scope}: {body}");
                    continue;
                }
                let detail = body["detail"].as_str().unwrap_or_default();
                assert!(status == StatusCode::FORBIDDEN && detail.contains(of), "{call:?} by {scope}: {body}");
                assert!(body["type"].as_str().unwrap().ends_with("forbidden"), "{body}");
            }
        }
    }
    for bad in ["", "checks", "checks:decide,query:read"] {
        assert!(!shop.cli(&["staff", "token", "demo-1", "--staff", "s-7", "--scope", bad]).status.success(), "{bad}");
    }
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_basket_that_stored_value_pays_is_told_to_who_watches_a_page() {
    let shop = Shop::open().await;
    let mut carol = shop.device_of("carol").await;
    let mut changes = shop.running.app().changes.subscribe();
    let mut trip = Trip::new(shop.now());
    let (basket, lines) = carol.basket(shop.now(), &mut trip, 1);
    changes.borrow_and_update();
    carol.put_attempt(shop.now(), &basket, &lines).await.unwrap();
    assert_eq!(carol.validation(&shop).await.verdict, Verdict::Accepted);
    assert!(changes.has_changed().unwrap());
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simulated_faults_strike_as_ordered() {
    let shop = Shop::open().await;
    let mut bob = shop.device_of("bob").await;
    let path = "/terminal/v1/events";
    for (fault, status) in [("terminal_server_error", 500), ("terminal_unavailable", 503)] {
        shop.arm(json!({"fault": fault, "operation": "events"})).await;
        let struck = bob.send(shop.now(), Method::GET, path, vec![]).await.unwrap();
        assert_eq!(problem_of(struck).await.0, status);
    }
    shop.arm(json!({"fault": "terminal_no_answer_before", "operation": "events"})).await;
    assert!(bob.send(shop.now(), Method::GET, path, vec![]).await.is_err());
    shop.arm(json!({"fault": "terminal_duplicate", "operation": "put_hold"})).await;
    let mut trip = Trip::new(shop.now());
    let hold = bob.hold_request(shop.now(), &mut trip, 500);
    assert_eq!(bob.put_hold(shop.now(), &hold).await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(bob.hold_in(&shop, HoldStatus::Placed).await.amount, eur(500));
    shop.arm(json!({"fault": "terminal_events_again"})).await;
    let again: EventsPage = bob.get_json(shop.now(), &format!("{path}?after={}", bob.seen)).await;
    assert_eq!(again.events.len() as u64, bob.seen, "from the beginning");
    let unknown = shop.http.post(shop.url("/sim/v1/faults")).json(&json!({"fault": "nonsense"})).send().await.unwrap();
    assert_eq!(problem_of(unknown).await, (422, "invalid_value".to_owned()));
    let disarmed = shop.http.delete(shop.url("/sim/v1/faults")).send().await.unwrap();
    assert_eq!(disarmed.status(), StatusCode::NO_CONTENT);
    shop.running.shutdown().await;
}
