//! Merchants that lie: a terminal tells them nothing and believes them nothing.

use crate::keys::TestKey;
use crate::samples::{self, now};
use axum::extract::{Path, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use walkpay::api::{Terminal, TerminalConfig, memory_vault};
use walkpay::protocol::document::{EnrolmentGrant, EnrolmentProof, KeySet, StoreInfo};
use walkpay::protocol::enrolment_code::EnrolmentCode;
use walkpay::protocol::jws::peek;
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
    }
}

async fn begin(State(lie): State<Arc<Lie>>) -> Json<Value> {
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
    Json(json!({ "grant": lie.signer.jws(&grant) }))
}

async fn key_set(State(lie): State<Arc<Lie>>) -> Json<Value> {
    Json(json!({ "key_set": lie.root.jws(&lie.keys) }))
}

/// Enrols a new terminal at this merchant: the error's code, or nothing; and whether the merchant saw the code.
async fn try_to_enrol(lie: Lie) -> (String, bool) {
    let lie = Arc::new(lie);
    let router = Router::new()
        .route("/terminal/v1/enrolments", post(begin))
        .route("/terminal/v1/enrolments/{device}", put(enrol))
        .route("/terminal/v1/keys", get(key_set))
        .with_state(lie.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let folder = tempfile::tempdir().unwrap();
    let config = TerminalConfig::new(folder.path().to_str().unwrap());
    let terminal = Terminal::open(config, memory_vault().unwrap()).await.unwrap();
    let pinned = samples::root_key().kid();
    let code = EnrolmentCode::new(samples::merchant(), "0123456789ABCDEF", pinned.as_str(), &url).unwrap();
    let outcome = terminal.enrol(code.to_text(), None, None).await;
    let users = terminal.users().await.unwrap().len();
    assert_eq!(users, usize::from(outcome.is_ok()), "whom a liar introduces is nobody");
    terminal.shutdown().await.unwrap();
    server.abort();
    (outcome.err().map(|e| e.code()).unwrap_or_default(), lie.codes_seen.load(Ordering::SeqCst) > 0)
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
