//! The simulated bank over HTTP: a real file, the real client, and what must not get through.

use axum::Router;
use ed25519_dalek::{Signer, SigningKey};
use mock_merchant::bank::client::{BankSettings, confirm_url};
use mock_merchant::bank::faults::Armed;
use mock_merchant::bank::port::{BankOperation, BankOutcome, BankQueryAnswer, BankRequest};
use mock_merchant::bank::server::{ServiceSettings, router};
use mock_merchant::bank::{Bank, BankClient, BankService, Fault, NewAccount, NewKey, invariants};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use walkpay::protocol::crypto::{Algorithm, PublicKey};
use walkpay::protocol::document::{BasketSummary, HoldRequest};
use walkpay::protocol::jws::{self, Document};
use walkpay::protocol::message::Problem;
use walkpay::{Currency, DeviceId, HoldId, MerchantId, Money, StoreId, Sub, Timestamp, TripId};

const ACCOUNT: &str = "acct-1";
const API_KEY: &str = "key-of-merchant-1";
const PIN: &str = "4711";
const START: i64 = 1_800_000_000_000;

fn eur(minor: i64) -> Money {
    Currency::parse("EUR").unwrap().minor(minor)
}

fn approved(minor: i64) -> BankOutcome {
    BankOutcome::Approved { amount: eur(minor), expires_at: None }
}

fn declined(reason: &str) -> BankOutcome {
    BankOutcome::Declined { reason: reason.into() }
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey::from_raw(Algorithm::Ed25519, key.verifying_key().as_bytes()).unwrap()
}

fn sign<D: Document>(key: &SigningKey, document: &D) -> String {
    let input = jws::signing_input(document, Algorithm::Ed25519, &public(key).key_id()).unwrap();
    jws::assemble(&input, &key.sign(input.as_bytes()).to_bytes())
}

fn merchant() -> MerchantId {
    MerchantId::parse("m1").unwrap()
}

fn device() -> DeviceId {
    DeviceId::new(Timestamp::from_millis(START), [1; 10])
}

fn trip(n: u8) -> TripId {
    TripId::new(Timestamp::from_millis(START), [n; 10])
}

fn basket(trip_id: TripId, total: i64) -> BasketSummary {
    BasketSummary {
        merchant_id: merchant(),
        store_id: StoreId::parse("s1").unwrap(),
        sub: Sub::parse("u1").unwrap(),
        device_id: device(),
        device_seq: 2,
        trip_id,
        attempt: 1,
        hold_id: None,
        catalogue_revision: 1,
        pricing_version: 1,
        priced_at: Timestamp::from_millis(START),
        total: eur(total),
        item_count: 1,
        lines_sha256: "x".into(),
    }
}

/// A bank behind a port, with a folder of its own.
struct Running {
    folder: TempDir,
    base: String,
    service: BankService,
    client: BankClient,
    key: SigningKey,
    clock: Arc<AtomicI64>,
    stop: oneshot::Sender<()>,
    stopped: tokio::task::JoinHandle<()>,
}

impl Running {
    /// A new bank with one account of 100.00, whose key is confirmed.
    async fn new() -> Self {
        let running = Self::start(tempfile::tempdir().unwrap(), Duration::from_secs(30)).await;
        let key = running.new_key();
        running
            .service
            .with(move |bank, now| {
                bank.register_merchant(&merchant(), API_KEY)?;
                bank.open_account(
                    now,
                    &NewAccount { pin: Some(PIN.into()), ..NewAccount::plain(ACCOUNT, eur(10_000)) },
                )?;
                bank.confirm_key(now, &key)
            })
            .await
            .unwrap();
        running
    }

    async fn start(folder: TempDir, timeout: Duration) -> Self {
        let clock = Arc::new(AtomicI64::new(START));
        let hands = clock.clone();
        let mut settings = ServiceSettings::new(Arc::new(move || Timestamp::from_millis(hands.load(Ordering::SeqCst))));
        settings.show_book = true;
        let service = BankService::new(Bank::open(&book_in(&folder)).unwrap(), settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopping) = oneshot::channel();
        let app: Router = router(service.clone());
        let stopped = tokio::spawn(async move {
            let stopping = async { stopping.await.unwrap_or(()) };
            axum::serve(listener, app).with_graceful_shutdown(stopping).await.unwrap();
        });
        let client = BankClient::new(&BankSettings {
            base: base.clone(),
            api_key: API_KEY.into(),
            timeout,
            extra_roots: Vec::new(),
        })
        .unwrap();
        Self { folder, base, service, client, key: SigningKey::from_bytes(&[1; 32]), clock, stop, stopped }
    }

    /// Stops the server and starts another one on the same folder.
    async fn restart(self) -> Self {
        let Self { folder, stop, stopped, service, client, .. } = self;
        drop((service, client));
        stop.send(()).unwrap();
        stopped.await.unwrap();
        Self::start(folder, Duration::from_secs(30)).await
    }

    fn new_key(&self) -> NewKey {
        NewKey { account: ACCOUNT.into(), merchant_id: merchant(), device_id: device(), key: public(&self.key) }
    }

    fn request(&self, n: u8, suffix: &str, operation: BankOperation) -> BankRequest {
        let trip_id = trip(n);
        BankRequest {
            merchant_id: merchant(),
            reference: format!("{trip_id}.{suffix}"),
            subject: trip_id.into(),
            operation,
        }
    }

    fn place(&self, n: u8, minor: i64) -> BankRequest {
        let document = HoldRequest {
            merchant_id: merchant(),
            store_id: StoreId::parse("s1").unwrap(),
            sub: Sub::parse("u1").unwrap(),
            device_id: device(),
            device_seq: 1,
            trip_id: trip(n),
            hold_id: HoldId::new(Timestamp::from_millis(START), [n; 10]),
            number: 1,
            replaces: None,
            amount: eur(minor),
            requested_at: Timestamp::from_millis(START),
        };
        let hold_jws = sign(&self.key, &document);
        let operation = BankOperation::PlaceHold { account: ACCOUNT.into(), amount: eur(minor), hold_jws };
        self.request(n, "h1", operation)
    }

    fn capture(&self, n: u8, minor: i64, total: i64) -> BankRequest {
        let operation = BankOperation::Capture {
            hold_reference: format!("{}.h1", trip(n)),
            amount: eur(minor),
            basket_jws: sign(&self.key, &basket(trip(n), total)),
        };
        self.request(n, "c", operation)
    }

    fn debit(&self, n: u8, suffix: &str, minor: i64, total: i64) -> BankRequest {
        self.debit_with(n, suffix, minor, sign(&self.key, &basket(trip(n), total)))
    }

    fn debit_with(&self, n: u8, suffix: &str, minor: i64, basket_jws: String) -> BankRequest {
        self.request(n, suffix, BankOperation::Debit { account: ACCOUNT.into(), amount: eur(minor), basket_jws })
    }

    async fn call(&self, request: &BankRequest) -> BankOutcome {
        self.client.call(request).await.unwrap()
    }

    async fn balance(&self) -> (i64, i64) {
        let (balance, reserved) = self.service.with(|bank, _| bank.balance(ACCOUNT)).await.unwrap();
        (balance.minor, reserved.minor)
    }

    /// The invariants, read from the file while the bank runs.
    fn sound(&self) {
        assert_eq!(invariants::violations_in_file(&book_in(&self.folder)).unwrap(), Vec::<String>::new());
    }

    async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, String, String) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let http = reqwest::Client::builder().tls_backend_preconfigured(no_tls()).no_proxy().build().unwrap();
        let mut request = http.request(method, format!("{}{path}", self.base)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        (status, kind, response.text().await.unwrap())
    }
}

fn book_in(folder: &TempDir) -> PathBuf {
    Path::join(folder.path(), "bank.db")
}

fn no_tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything() {
    let bank = Running::new().await;
    let (hold, capture) = (bank.place(1, 5_000), bank.capture(1, 3_000, 4_000));
    let placed = bank.call(&hold).await;
    assert_eq!(bank.call(&capture).await, approved(3_000));
    let open = bank.place(2, 2_000);
    let still_placed = bank.call(&open).await;
    let statement = bank.client.statement(0, 10).await.unwrap();

    let bank = bank.restart().await;
    assert_eq!(bank.call(&hold).await, placed);
    assert_eq!(bank.call(&capture).await, approved(3_000));
    assert_eq!(bank.client.query(&open.reference).await.unwrap(), BankQueryAnswer::Known { outcome: still_placed });
    assert_eq!(bank.client.query("never").await.unwrap(), BankQueryAnswer::NeverSeen);
    assert_eq!(bank.client.statement(0, 10).await.unwrap(), statement);
    assert_eq!(bank.balance().await, (7_000, 2_000));
    assert_eq!(bank.call(&bank.debit(1, "d", 1_001, 4_000)).await, declined("amount_above_signed"));
    assert_eq!(bank.call(&bank.debit(1, "e", 1_000, 4_000)).await, approved(1_000));
    bank.sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_is_carried_out_once_however_many_ask_at_once() {
    let bank = Running::new().await;
    let debit = bank.debit(1, "d", 1_000, 1_000);
    let other = bank.debit(1, "d", 999, 1_000);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..40 {
        let (client, request) = (bank.client.clone(), if n % 4 == 3 { other.clone() } else { debit.clone() });
        tasks.spawn(async move { client.call(&request).await.unwrap() });
    }
    let outcomes = tasks.join_all().await;
    let moved: Vec<_> = outcomes.iter().filter(|o| matches!(o, BankOutcome::Approved { .. })).collect();
    assert!(moved.iter().all(|o| *o == moved[0]), "one outcome: {moved:?}");
    let conflicts = outcomes.iter().filter(|o| **o == declined("reference_conflict")).count();
    assert_eq!(moved.len() + conflicts, 40);
    assert!([10, 30].contains(&conflicts), "all of the body that came second: {conflicts}");
    assert_eq!(bank.client.statement(0, 100).await.unwrap().len(), 1);
    bank.sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn debits_that_race_for_one_trip_stay_within_its_total() {
    let bank = Running::new().await;
    assert!(matches!(bank.call(&bank.place(1, 5_000)).await, BankOutcome::Approved { .. }));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..10 {
        let request =
            if n == 0 { bank.capture(1, 2_000, 4_500) } else { bank.debit(1, &format!("d{n}"), 1_000, 4_500) };
        let client = bank.client.clone();
        tasks.spawn(async move { client.call(&request).await.unwrap() });
    }
    let outcomes = tasks.join_all().await;
    let taken: i64 =
        outcomes.iter().map(|o| if let BankOutcome::Approved { amount, .. } = o { amount.minor } else { 0 }).sum();
    assert!(taken == 4_000, "as much as fits, never more: {taken}");
    assert_eq!(bank.balance().await.0, 10_000 - taken);
    let seqs: Vec<u64> = bank.client.statement(0, 100).await.unwrap().iter().map(|e| e.seq).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    bank.sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_altered_and_foreign_documents_move_nothing() {
    let bank = Running::new().await;
    let good = sign(&bank.key, &basket(trip(1), 1_000));
    let stranger = SigningKey::from_bytes(&[9; 32]);
    assert_eq!(
        bank.call(&bank.debit_with(1, "a", 1_000, sign(&stranger, &basket(trip(1), 1_000)))).await,
        declined("key_not_confirmed")
    );
    // One changed character in each of the three parts.
    for (n, part) in good.split('.').enumerate() {
        let changed: String = part
            .char_indices()
            .map(|(at, c)| if at == part.len() / 2 { if c == 'Q' { 'R' } else { 'Q' } } else { c })
            .collect();
        let outcome = bank.call(&bank.debit_with(1, &format!("b{n}"), 1_000, good.replace(part, &changed))).await;
        let refused = [declined("signature_invalid"), declined("key_not_confirmed")];
        assert!(refused.contains(&outcome), "part {n}: {outcome:?}");
    }
    let none = good.replacen(good.split('.').next().unwrap(), "eyJhbGciOiJub25lIn0", 1);
    assert_eq!(bank.call(&bank.debit_with(1, "c", 1_000, none)).await, declined("signature_invalid"));
    let foreign = BasketSummary { merchant_id: MerchantId::parse("m2").unwrap(), ..basket(trip(1), 1_000) };
    assert_eq!(
        bank.call(&bank.debit_with(1, "d", 1_000, sign(&bank.key, &foreign))).await,
        declined("document_mismatch")
    );
    let of_another_trip = sign(&bank.key, &basket(trip(2), 1_000));
    assert_eq!(bank.call(&bank.debit_with(1, "e", 1_000, of_another_trip)).await, declined("document_mismatch"));
    assert_eq!(bank.call(&bank.debit(1, "f", 1_001, 1_000)).await, declined("amount_above_signed"));
    assert_eq!(bank.balance().await, (10_000, 0));
    assert_eq!(bank.client.statement(0, 10).await.unwrap(), []);
    assert_eq!(bank.call(&bank.debit_with(1, "g", 1_000, good)).await, approved(1_000));
    bank.sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_says_nothing_about_the_effect() {
    let bank = Running::new().await;
    let faults = bank.service.faults();
    for (n, fault, effect) in
        [(1, Fault::NoAnswerBefore, false), (2, Fault::NoAnswerAfter, true), (3, Fault::ServerError, false)]
    {
        let debit = bank.debit(n, "d", 1_000, 1_000);
        assert!(faults.arm(Armed::once_for(fault, "debit")));
        assert!(bank.client.call(&debit).await.is_err(), "{fault:?}");
        let known = bank.client.query(&debit.reference).await.unwrap();
        let expected =
            if effect { BankQueryAnswer::Known { outcome: approved(1_000) } } else { BankQueryAnswer::NeverSeen };
        assert_eq!(known, expected, "{fault:?}");
        assert_eq!(bank.call(&debit).await, approved(1_000), "the same call again");
    }
    assert_eq!(bank.balance().await, (7_000, 0));
    assert_eq!(faults.armed(), []);
    bank.sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_comes_too_late_for_an_impatient_merchant() {
    let bank = Running::new().await;
    let impatient = BankClient::new(&BankSettings {
        base: bank.base.clone(),
        api_key: API_KEY.into(),
        timeout: Duration::from_millis(700),
        extra_roots: Vec::new(),
    })
    .unwrap();
    let debit = bank.debit(1, "d", 1_000, 1_000);
    bank.service.faults().arm(Armed::once(Fault::Slow));
    assert!(impatient.call(&debit).await.is_err());
    assert_eq!(bank.call(&debit).await, approved(1_000), "done once, whenever the first try was");
    assert_eq!(bank.balance().await, (9_000, 0));
    bank.sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_answer() {
    let bank = Running::new().await;
    let faults = bank.service.faults();
    faults.arm(Armed::once_for(Fault::Declined, "debit"));
    faults.arm(Armed { subject: Some(trip(3).into()), ..Armed::once(Fault::Duplicate) });
    assert!(matches!(bank.call(&bank.place(1, 1_000)).await, BankOutcome::Approved { .. }));
    assert_eq!(bank.call(&bank.debit(1, "d", 1_000, 1_000)).await, declined("insufficient_funds"));
    faults.arm(Armed::once(Fault::Partial));
    assert_eq!(bank.call(&bank.debit(2, "d", 1_000, 1_000)).await, approved(500));
    assert_eq!(bank.call(&bank.debit(3, "d", 1_000, 1_000)).await, approved(1_000));
    faults.arm(Armed::once(Fault::LateSuccess));
    let late = bank.debit(4, "d", 1_000, 1_000);
    assert_eq!(bank.call(&late).await, declined("insufficient_funds"));
    assert_eq!(bank.client.statement(2, 10).await.unwrap(), []);
    bank.clock.fetch_add(2_000, Ordering::SeqCst);
    let statement = bank.client.statement(2, 10).await.unwrap();
    assert_eq!(
        statement.iter().map(|e| (e.seq, e.reference.as_str())).collect::<Vec<_>>(),
        [(3, late.reference.as_str())]
    );
    for (fault, name, meaning) in Fault::TABLE {
        assert_eq!((Fault::parse(name), fault.name()), (Some(*fault), *name));
        assert!(!meaning.is_empty());
    }
    assert_eq!(faults.armed(), []);
    bank.sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_needs_its_key_and_a_readable_request() {
    let bank = Running::new().await;
    let debit = bank.debit(1, "d", 1_000, 1_000);
    let path = format!("/bank/v1/operations/{}", debit.reference);
    let body = serde_json::to_vec(&debit).unwrap();
    let (key, json) = (("authorization", "Bearer key-of-merchant-1"), ("content-type", "application/json"));
    let foreign = serde_json::to_vec(&BankRequest { merchant_id: MerchantId::parse("m2").unwrap(), ..debit.clone() });
    let renamed = serde_json::to_vec(&BankRequest { reference: "other".into(), ..debit.clone() });
    let cases = [
        ("PUT", path.as_str(), vec![json], body.clone(), 401, "unauthenticated"),
        ("PUT", &path, vec![("authorization", "Bearer wrong"), json], body.clone(), 401, "unauthenticated"),
        ("PUT", &path, vec![("authorization", "Basic eDp5"), json], body.clone(), 401, "unauthenticated"),
        ("PUT", &path, vec![key], body.clone(), 415, "unsupported_media_type"),
        ("PUT", &path, vec![key, json], b"{\"reference\":".to_vec(), 400, "malformed"),
        ("PUT", &path, vec![key, json], b"[".repeat(100_000), 400, "malformed"),
        ("PUT", &path, vec![key, json], vec![b' '; 200_000], 413, "too_large"),
        ("PUT", &path, vec![key, json], foreign.unwrap(), 403, "forbidden"),
        ("PUT", &path, vec![key, json], renamed.unwrap(), 422, "invalid_value"),
        ("DELETE", &path, vec![key], Vec::new(), 405, "method_not_allowed"),
        ("GET", &path, vec![], Vec::new(), 401, "unauthenticated"),
        ("GET", "/bank/v1/statement", vec![], Vec::new(), 401, "unauthenticated"),
        ("GET", "/bank/v1/statement?after=-1", vec![key], Vec::new(), 422, "invalid_value"),
    ];
    for (method, path, headers, body, status, code) in cases {
        let (got, kind, text) = bank.raw(method, path, &headers, body).await;
        assert_eq!((got, kind.as_str()), (status, "application/problem+json"), "{method} {path} {code}: {text}");
        let problem: Problem = serde_json::from_str(&text).unwrap();
        assert_eq!(problem.typ, format!("urn:walkpay:problem:{code}"));
    }
    assert_eq!(bank.client.query(&debit.reference).await.unwrap(), BankQueryAnswer::NeverSeen);
    let stranger = BankClient::new(&BankSettings {
        base: bank.base.clone(),
        api_key: "wrong".into(),
        timeout: Duration::from_secs(30),
        extra_roots: Vec::new(),
    });
    let refused = stranger.unwrap().call(&debit).await.unwrap_err();
    assert!(refused.0.contains("the request was refused: status 401"), "{refused}");
    assert_eq!(bank.balance().await, (10_000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_holder_confirms_a_key_on_the_banks_page() {
    let bank = Running::new().await;
    let second = SigningKey::from_bytes(&[2; 32]);
    let new = NewKey { key: public(&second), ..bank.new_key() };
    let debit = bank.debit_with(1, "d", 1_000, sign(&second, &basket(trip(1), 1_000)));
    assert_eq!(bank.call(&debit).await, declined("key_not_confirmed"));

    let url = confirm_url(&bank.base, &new).unwrap();
    let path = url.strip_prefix(&bank.base).unwrap();
    let (status, kind, html) = bank.raw("GET", path, &[], Vec::new()).await;
    assert_eq!((status, kind.as_str()), (200, "text/html; charset=utf-8"));
    assert!(html.contains(new.key.key_id().as_str()) && html.contains("<b>m1</b>"), "{html}");
    let query = path.split_once('?').unwrap().1;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let wrong = bank.raw("POST", "/bank/v1/confirm", &form, format!("{query}&pin=0000").into_bytes()).await;
    assert_eq!(wrong.0, 403, "{}", wrong.2);
    let again = BankRequest { reference: "again".into(), ..debit.clone() };
    assert_eq!(bank.call(&again).await, declined("key_not_confirmed"));
    let right = bank.raw("POST", "/bank/v1/confirm", &form, format!("{query}&pin={PIN}").into_bytes()).await;
    assert_eq!(right.0, 200, "{}", right.2);
    let now = BankRequest { reference: "now".into(), ..debit };
    assert_eq!(bank.call(&now).await, approved(1_000));

    let (status, _, html) = bank.raw("GET", "/bank/v1/confirm?account=%3Cb%3E", &[], Vec::new()).await;
    assert_eq!(status, 400);
    assert!(!html.contains("<b>"), "{html}");
    let (status, _, html) = bank.raw("GET", "/bank/v1", &[], Vec::new()).await;
    assert!(status == 200 && html.contains("90.00 EUR"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_holder_confirms_and_revokes_by_json() {
    let bank = Running::new().await;
    let second = SigningKey::from_bytes(&[2; 32]);
    let json = [("content-type", "application/json")];
    let confirm = |pin: &str| {
        let body = serde_json::json!({
            "account": ACCOUNT, "pin": pin, "merchant_id": "m1", "device_id": device(), "key": public(&second)
        });
        body.to_string().into_bytes()
    };
    assert_eq!(bank.raw("POST", "/bank/v1/holder/keys", &json, confirm("0000")).await.0, 403);
    assert_eq!(bank.raw("POST", "/bank/v1/holder/keys", &json, b"{}".to_vec()).await.0, 400);
    assert_eq!(bank.raw("POST", "/bank/v1/holder/keys", &json, confirm(PIN)).await.0, 204);
    assert_eq!(bank.raw("POST", "/bank/v1/holder/keys", &json, confirm(PIN)).await.0, 204, "the same again");
    let jws = sign(&second, &basket(trip(1), 1_000));
    assert_eq!(bank.call(&bank.debit_with(1, "a", 500, jws.clone())).await, approved(500));
    let revoke = serde_json::json!({
        "account": ACCOUNT, "pin": PIN, "merchant_id": "m1", "kid": public(&second).key_id()
    });
    let revoke = revoke.to_string().into_bytes();
    assert_eq!(bank.raw("POST", "/bank/v1/holder/keys/revoke", &json, revoke).await.0, 204);
    assert_eq!(bank.call(&bank.debit_with(1, "b", 500, jws)).await, declined("key_not_confirmed"));
    assert_eq!(bank.raw("POST", "/bank/v1/holder/keys", &json, confirm(PIN)).await.0, 422, "revoked for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_not_the_banks_are_no_answers() {
    use axum::response::IntoResponse;
    use axum::routing::any;
    let answers: [(&str, u16, String); 6] = [
        ("html", 200, "<html>".into()),
        ("empty", 200, String::new()),
        ("other", 200, "{\"outcome\":\"perhaps\"}".into()),
        ("created", 201, "{\"outcome\":\"declined\",\"reason\":\"limit\"}".into()),
        ("moved", 302, String::new()),
        ("huge", 200, " ".repeat(2 * 1024 * 1024)),
    ];
    let bank = Running::new().await;
    for (name, status, body) in answers {
        let answer = (axum::http::StatusCode::from_u16(status).unwrap(), [("location", "/x")], body);
        let app = Router::new().fallback(any(move || async move { answer.clone().into_response() }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let client = BankClient::new(&BankSettings {
            base,
            api_key: API_KEY.into(),
            timeout: Duration::from_secs(30),
            extra_roots: Vec::new(),
        })
        .unwrap();
        assert!(client.call(&bank.debit(1, "d", 1, 1)).await.is_err(), "{name}");
        assert!(client.statement(0, 10).await.is_err(), "{name}");
        server.abort();
    }
}
