//! Merchants that lie: a terminal tells them nothing and believes them nothing.

use crate::keys::TestKey;
use crate::samples::{self, now};
use crate::support::PATIENCE;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use walkpay::api::{Terminal, TerminalConfig, memory_vault};
use walkpay::basket::PRICING_VERSION;
use walkpay::catalogue::{Row, TaxGroup, write_row};
use walkpay::protocol::crypto::{Algorithm, digest};
use walkpay::protocol::document::{
    CatalogueManifest, ClockStatement, EnrolmentGrant, EnrolmentProof, EventBody, EventDocument, KeyEntry, KeySet,
    KeyUse, StoreInfo,
};
use walkpay::protocol::enrolment_code::EnrolmentCode;
use walkpay::protocol::jws::peek;
use walkpay::session::{HostEvent, HostEventKind};
use walkpay::{Currency, DeviceId, MerchantId, StoreId, Timestamp, UserName};

type MakeGrant = fn(&mut EnrolmentGrant);

/// How this merchant lies.
struct Lie {
    /// What it shows as its root.
    root: TestKey,
    keys: KeySet,
    /// What it signs grants with.
    signer: TestKey,
    alter: MakeGrant,
    codes_seen: AtomicU32,
    /// The device that enrolled, and the log that it is shown: entries that are signed with one of these.
    device: Mutex<Option<DeviceId>>,
    log: Mutex<(EventBody, TestKey)>,
    /// The key set in force, where it is newer than the one that the device enrolled with.
    newer: Option<KeySet>,
    key_sets_asked: AtomicU32,
    /// Enrolments that were begun, and whether the first of them is ever answered.
    begun: watch::Sender<u32>,
    answers_the_first: bool,
}

fn keys() -> KeySet {
    let mut set = samples::key_set();
    for entry in &mut set.keys {
        entry.nbf = now().minus(Duration::from_secs(3600));
        entry.exp = now().plus(Duration::from_secs(3600));
    }
    set
}

fn honest() -> Lie {
    Lie {
        root: samples::root_key(),
        keys: keys(),
        signer: samples::results_key(),
        alter: |_| {},
        codes_seen: AtomicU32::new(0),
        device: Mutex::new(None),
        log: Mutex::new((EventBody::DeviceConfirmed {}, samples::results_key())),
        newer: None,
        key_sets_asked: AtomicU32::new(0),
        begun: watch::Sender::new(0),
        answers_the_first: true,
    }
}

async fn begin(State(lie): State<Arc<Lie>>) -> Json<Value> {
    let mut count = 0;
    lie.begun.send_modify(|begun| {
        *begun += 1;
        count = *begun;
    });
    if count == 1 && !lie.answers_the_first {
        std::future::pending::<()>().await;
    }
    Json(json!({
        "merchant_id": lie.keys.merchant_id,
        "nonce": "AAAAAAAAAAAAAAAAAAAAAA",
        "root_key": lie.root.public().to_jwk(),
        "key_set": lie.root.jws(&lie.keys),
    }))
}

async fn enrol(State(lie): State<Arc<Lie>>, Path(device): Path<String>, Json(body): Json<Value>) -> Json<Value> {
    lie.codes_seen.fetch_add(1, Ordering::SeqCst);
    let (_, proof) = peek::<EnrolmentProof>(body["request_proof"].as_str().unwrap()).unwrap();
    let mut grant = EnrolmentGrant {
        merchant_id: samples::merchant(),
        merchant_name: "Market".into(),
        device_id: DeviceId::parse(&device).unwrap(),
        sub: samples::sub(),
        user_name: UserName::parse("ada").unwrap(),
        nonce: proof.nonce.clone(),
        stores: vec![StoreInfo {
            store_id: StoreId::parse("berlin-1").unwrap(),
            name: "Market".into(),
            currency: Currency::parse("EUR").unwrap(),
            time_zone: "Europe/Berlin".into(),
            tax_id: "DE123456789".into(),
            gate_group: samples::gates(),
        }],
        active: true,
        bank: None,
        issued_at: now(),
    };
    (lie.alter)(&mut grant);
    *lie.device.lock().unwrap() = Some(grant.device_id);
    Json(json!({ "grant": lie.signer.jws(&grant) }))
}

async fn key_set(State(lie): State<Arc<Lie>>) -> Json<Value> {
    lie.key_sets_asked.fetch_add(1, Ordering::SeqCst);
    Json(json!({ "key_set": lie.root.jws(lie.newer.as_ref().unwrap_or(&lie.keys)) }))
}

/// The log has one entry; its page is honest but for that. Whoever waits for more is answered late.
async fn events(
    State(lie): State<Arc<Lie>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Json<Value> {
    let device_id = lie.device.lock().unwrap().unwrap();
    if query["after"] != "0" {
        tokio::time::sleep(Duration::from_secs(query["wait"].parse().unwrap())).await;
        return Json(json!({ "events": [], "clock": "" }));
    }
    let input = headers["signature-input"].to_str().unwrap();
    let nonce = input.split_once("nonce=\"").and_then(|(_, rest)| rest.split_once('"')).unwrap().0.to_owned();
    let clock = ClockStatement { merchant_id: samples::merchant(), device_id, nonce, now: now() };
    let (body, signer) = &*lie.log.lock().unwrap();
    let body = serde_json::to_value(body).unwrap();
    let event = EventDocument {
        iss: samples::merchant(),
        aud: device_id,
        sub: samples::sub(),
        seq: 1,
        kind: body["kind"].as_str().unwrap().to_owned(),
        body: body["body"].clone(),
        issued_at: now(),
    };
    Json(json!({ "events": [signer.jws(&event)], "clock": samples::results_key().jws(&clock) }))
}

/// A catalogue of one tax group, signed by a key that only the newer set has.
fn catalogue() -> (CatalogueManifest, Vec<u8>) {
    let mut data = Vec::new();
    let group = TaxGroup { id: "A".into(), name: "Reduced".into(), rate: 7.into() };
    write_row(&Row::TaxGroup(group), &mut data).unwrap();
    let manifest = CatalogueManifest {
        merchant_id: samples::merchant(),
        store_id: StoreId::parse("berlin-1").unwrap(),
        base: None,
        revision: 1,
        sha256: digest(&data),
        length: data.len() as u64,
        rows: 1,
        pricing_version: PRICING_VERSION,
        issued_at: now(),
        usable_until: now().plus(Duration::from_secs(3600)),
    };
    (manifest, data)
}

fn newer_key() -> TestKey {
    TestKey::ed25519(0x43)
}

async fn manifest() -> Json<Value> {
    Json(json!({ "manifest": newer_key().jws(&catalogue().0) }))
}

async fn catalogue_data() -> Vec<u8> {
    catalogue().1
}

/// The address of this merchant.
async fn serve(lie: Arc<Lie>) -> (String, JoinHandle<std::io::Result<()>>) {
    let router = Router::new()
        .route("/terminal/v1/enrolments", post(begin))
        .route("/terminal/v1/enrolments/{device}", put(enrol))
        .route("/terminal/v1/keys", get(key_set))
        .route("/terminal/v1/events", get(events))
        .route("/terminal/v1/stores/{store}/catalogue", get(manifest))
        .route("/terminal/v1/stores/{store}/catalogue/1", get(catalogue_data))
        .with_state(lie);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (url, tokio::spawn(async move { axum::serve(listener, router).await }))
}

/// Enrols a new terminal at this merchant: the error's code, or nothing; and whether the merchant saw the code.
async fn try_to_enrol(lie: Lie) -> (String, bool) {
    let lie = Arc::new(lie);
    let (url, server) = serve(lie.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let config = TerminalConfig::new(folder.path().to_str().unwrap());
    let terminal = Terminal::open(config, memory_vault().unwrap()).await.unwrap();
    let outcome = terminal.enrol(code(&url), None, None).await;
    let users = terminal.users().await.unwrap().len();
    assert_eq!(users, usize::from(outcome.is_ok()), "whom a liar introduces is nobody");
    terminal.shutdown().await.unwrap();
    server.abort();
    (outcome.err().map(|e| e.code()).unwrap_or_default(), lie.codes_seen.load(Ordering::SeqCst) > 0)
}

fn code(url: &str) -> String {
    let pinned = samples::root_key().kid();
    EnrolmentCode::new(samples::merchant(), "0123456789ABCDEF", pinned.as_str(), url).unwrap().to_text()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_story_without_a_lie_is_believed() {
    assert_eq!(try_to_enrol(honest()).await, (String::new(), true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fake_merchant_learns_no_code() {
    let fake = || TestKey::ed25519(0x66);
    assert_eq!(try_to_enrol(Lie { root: fake(), ..honest() }).await, ("untrusted.root".into(), false));
    let elsewhere = KeySet { merchant_id: MerchantId::parse("elsewhere").unwrap(), ..keys() };
    assert_eq!(try_to_enrol(Lie { keys: elsewhere, ..honest() }).await, ("untrusted.merchant".into(), false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_by_a_wrong_retired_or_not_yet_valid_key_are_not_believed() {
    let moved = |nbf: Timestamp, exp: Timestamp| {
        let mut set = keys();
        set.keys[0].nbf = nbf;
        set.keys[0].exp = exp;
        set
    };
    let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
    let retired = moved(now().minus(hour), now().minus(minute));
    let early = moved(now().plus(hour), now().plus(2 * hour));
    let rows = [
        ("a key of nobody", Lie { signer: TestKey::ed25519(0x66), ..honest() }, "untrusted.kid"),
        ("a key for passes", Lie { signer: samples::pass_key(), ..honest() }, "untrusted.key_use"),
        ("the root itself", Lie { signer: samples::root_key(), ..honest() }, "untrusted.kid"),
        ("a retired key", Lie { keys: retired, ..honest() }, "untrusted.key_retired"),
        ("a key of tomorrow", Lie { keys: early, ..honest() }, "untrusted.key_not_yet_valid"),
        ("another nonce", Lie { alter: |g| g.nonce.push('A'), ..honest() }, "untrusted.binding"),
        ("another device", Lie { alter: |g| g.device_id = samples::device(), ..honest() }, "untrusted.binding"),
        (
            "another merchant",
            Lie { alter: |g| g.merchant_id = MerchantId::parse("elsewhere").unwrap(), ..honest() },
            "untrusted.binding",
        ),
        ("no stores", Lie { alter: |g| g.stores.clear(), ..honest() }, "untrusted.stores"),
    ];
    for (name, lie, expected) in rows {
        assert_eq!(try_to_enrol(lie).await, (expected.into(), true), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_by_a_wrong_retired_or_not_yet_valid_key_have_no_effect() {
    let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
    let retired = || TestKey::new(Algorithm::Ed25519, 0x41);
    let early = || TestKey::new(Algorithm::Ed25519, 0x42);
    let mut set = keys();
    let entry = |key: TestKey, nbf, exp| KeyEntry { key: key.public().clone(), usage: KeyUse::Results, nbf, exp };
    set.keys.push(entry(retired(), now().minus(hour), now().minus(minute)));
    set.keys.push(entry(early(), now().plus(hour), now().plus(2 * hour)));
    let rows = [
        (TestKey::ed25519(0x66), "kid"),
        (samples::request_key(), "kid"),
        (samples::pass_key(), "key_use"),
        (retired(), "key_retired"),
        (early(), "key_not_yet_valid"),
    ];
    for (signer, expected) in rows {
        let frozen = Mutex::new((EventBody::DeviceFrozen {}, signer));
        let lie = Arc::new(Lie { keys: set.clone(), log: frozen, ..honest() });
        let (url, server) = serve(lie.clone()).await;
        let folder = tempfile::tempdir().unwrap();
        let config = TerminalConfig::new(folder.path().to_str().unwrap());
        let terminal = Terminal::open(config, memory_vault().unwrap()).await.unwrap();
        terminal.enrol(code(&url), None, None).await.unwrap();
        terminal.sign_in(UserName::parse("ada").unwrap()).await.unwrap();
        let first = told(&terminal, 0).await;
        let HostEventKind::Distrusted { check, .. } = &first.kind else { panic!("{first:?}") };
        assert_eq!(check, expected);
        // The same number of the log, by the right key, is believed.
        *lie.log.lock().unwrap() = (EventBody::DeviceConfirmed {}, samples::results_key());
        terminal.forward_now().await.unwrap();
        let second = told(&terminal, first.number).await;
        assert_eq!(second.kind, HostEventKind::DeviceConfirmed, "after {expected}");
        terminal.shutdown().await.unwrap();
        server.abort();
    }
}

async fn told(terminal: &Terminal, after: u64) -> HostEvent {
    terminal.next_event(after, PATIENCE).await.unwrap().expect("an event in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalogue_by_a_newer_key_is_taken_once_the_key_set_is_fetched() {
    for known in [true, false] {
        let mut set = keys();
        set.seq += 1;
        let (nbf, exp) = (now().minus(Duration::from_secs(60)), now().plus(Duration::from_secs(3600)));
        if known {
            set.keys.push(KeyEntry { key: newer_key().public().clone(), usage: KeyUse::Catalogue, nbf, exp });
        }
        let lie = Arc::new(Lie { newer: Some(set), ..honest() });
        let (url, server) = serve(lie.clone()).await;
        let folder = tempfile::tempdir().unwrap();
        let config = TerminalConfig::new(folder.path().to_str().unwrap());
        let terminal = Terminal::open(config, memory_vault().unwrap()).await.unwrap();
        terminal.enrol(code(&url), None, None).await.unwrap();
        terminal.sign_in(UserName::parse("ada").unwrap()).await.unwrap();
        let synced = terminal.sync_catalogue(StoreId::parse("berlin-1").unwrap()).await;
        match known {
            true => assert_eq!(synced.unwrap().rows, 1),
            false => assert_eq!(synced.unwrap_err().code(), "untrusted.kid"),
        }
        assert_eq!(lie.key_sets_asked.load(Ordering::SeqCst), 1, "once");
        terminal.shutdown().await.unwrap();
        server.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_enrolment_does_not_hold_up_the_next_one() {
    let lie = Arc::new(Lie { answers_the_first: false, ..honest() });
    let (url, server) = serve(lie.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let config = TerminalConfig::new(folder.path().to_str().unwrap());
    let terminal = Terminal::open(config, memory_vault().unwrap()).await.unwrap();
    let other = code(&url).replace("0123456789ABCDEF", "FEDCBA9876543210");
    let first = tokio::spawn({
        let terminal = terminal.clone();
        async move { terminal.enrol(other, None, None).await }
    });
    let mut begun = lie.begun.subscribe();
    begun.wait_for(|begun| *begun == 1).await.unwrap();
    terminal.abandon_enrolment().await.unwrap();
    let second = tokio::spawn({
        let (terminal, code) = (terminal.clone(), code(&url));
        async move { terminal.enrol(code, None, None).await }
    });
    // Much sooner than the first request is given up.
    let asked = tokio::time::timeout(Duration::from_secs(15), begun.wait_for(|begun| *begun == 2)).await;
    assert!(asked.is_ok(), "the second enrolment waits for the answer to the first");
    second.await.unwrap().unwrap();
    assert_eq!(first.await.unwrap().unwrap_err().code(), "wrong_order");
    terminal.shutdown().await.unwrap();
    server.abort();
}
