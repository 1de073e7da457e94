//! The gate: once per pass, across restarts, gates and processes; and the command line on top of it.

#[path = "../../examples/gate.rs"]
#[allow(dead_code)]
mod example;

use crate::keys::TestKey;
use crate::samples::{self, now};
use axum::Json;
use axum::routing::{get, post};
use clap::Parser;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use walkpay::api::{Gate, GateConfig, GateDecision, GateMerchant};
use walkpay::protocol::document::{ExitPass, KeySet};
use walkpay::protocol::exit_pass::{presentation_input, presentation_text};
use walkpay::protocol::message::Revocations;
use walkpay::{GateGroup, PassId, Timestamp, WalkpayError};

fn config() -> GateConfig {
    GateConfig {
        merchant_id: samples::merchant(),
        gate_group: samples::gates(),
        root_thumbprint: samples::root_key().kid(),
        merchant: None,
    }
}

async fn open(folder: &Path, config: GateConfig) -> Result<Arc<Gate>, WalkpayError> {
    Gate::open(folder.to_str().unwrap().to_owned(), config).await
}

/// The sample key set, valid today.
fn key_set(seq: u64) -> KeySet {
    let mut set = KeySet { seq, ..samples::key_set() };
    for entry in &mut set.keys {
        entry.nbf = now().minus(Duration::from_secs(3600));
        entry.exp = now().plus(Duration::from_secs(3600));
    }
    set
}

fn keys(root: &TestKey, seq: u64) -> Vec<u8> {
    let set = root.jws(&key_set(seq));
    json!({"root_key": root.public().to_jwk(), "key_set": set}).to_string().into_bytes()
}

fn pass(number: u8) -> ExitPass {
    let iat = now().minus(Duration::from_secs(5));
    let exp = iat.plus(Duration::from_secs(1800));
    ExitPass { jti: PassId::new(iat, [number; 10]), iat, exp, ..samples::pass() }
}

fn show(pass: &ExitPass, at: Timestamp) -> String {
    let key = samples::request_key();
    let input = presentation_input(pass, key.algorithm(), &key.kid(), at).unwrap();
    presentation_text(&samples::pass_key().jws(pass), &input, &key.sign(input.as_bytes()))
}

fn check(decision: GateDecision) -> String {
    match decision {
        GateDecision::Refused { check, .. } => check,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_pass_opens_once_also_after_a_restart_and_on_another_gate_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let gate = open(folder.path(), config()).await.unwrap();
    let pass = pass(1);
    let error = gate.verify(show(&pass, now())).await.unwrap_err();
    assert_eq!(error.code(), "wrong_order", "no keys yet");
    assert_eq!(gate.load_keys(keys(&samples::root_key(), 7)).await.unwrap(), 7);

    let GateDecision::Open { pass: info } = gate.verify(show(&pass, now())).await.unwrap() else { panic!("closed") };
    assert_eq!((info.pass_id, info.amount, info.item_count), (pass.jti, pass.amount, pass.item_count));
    let again = gate.verify(show(&pass, now())).await.unwrap();
    assert!(matches!(again, GateDecision::AlreadySpent { .. }), "{again:?}");
    let beside = open(folder.path(), config()).await.unwrap();
    assert!(matches!(beside.verify(show(&pass, now())).await.unwrap(), GateDecision::AlreadySpent { .. }));
    drop((gate, beside));
    let later = open(folder.path(), config()).await.unwrap();
    assert!(matches!(later.verify(show(&pass, now())).await.unwrap(), GateDecision::AlreadySpent { .. }));
}

#[tokio::test]
async fn many_gates_that_are_asked_at_once_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path(), config()).await.unwrap();
    first.load_keys(keys(&samples::root_key(), 7)).await.unwrap();
    let text = show(&pass(1), now());
    let mut asked = Vec::new();
    for _ in 0..8 {
        let (gate, text) = (open(folder.path(), config()).await.unwrap(), text.clone());
        asked.push(tokio::spawn(async move { gate.verify(text).await.unwrap() }));
    }
    let mut opened = 0;
    for decision in asked {
        opened += usize::from(matches!(decision.await.unwrap(), GateDecision::Open { .. }));
    }
    assert_eq!(opened, 1);
}

#[tokio::test]
async fn a_screenshot_and_a_forgery_stay_outside_and_leave_the_pass_unspent() {
    let folder = tempfile::tempdir().unwrap();
    let gate = open(folder.path(), config()).await.unwrap();
    gate.load_keys(keys(&samples::root_key(), 7)).await.unwrap();
    let pass = pass(1);
    let screenshot = show(&pass, now().minus(Duration::from_secs(90)));
    assert_eq!(check(gate.verify(screenshot).await.unwrap()), "step");
    let mut richer = pass.clone();
    richer.amount.minor += 1;
    let forged = show(&pass, now()).replace(&samples::pass_key().jws(&pass), &TestKey::ed25519(0x66).jws(&richer));
    assert_eq!(check(gate.verify(forged).await.unwrap()), "kid");
    assert_eq!(check(gate.verify("no pass at all".into()).await.unwrap()), "form");
    assert!(matches!(gate.verify(show(&pass, now())).await.unwrap(), GateDecision::Open { .. }));
}

#[tokio::test]
async fn keys_come_from_the_pinned_root_and_never_go_back() {
    let folder = tempfile::tempdir().unwrap();
    let gate = open(folder.path(), config()).await.unwrap();
    let bare = json!({"key_set": samples::root_key().jws(&key_set(7))}).to_string().into_bytes();
    assert_eq!(gate.load_keys(bare.clone()).await.unwrap_err().code(), "wrong_order");
    assert_eq!(gate.load_keys(keys(&TestKey::ed25519(0x66), 7)).await.unwrap_err().code(), "untrusted.root");
    assert_eq!(gate.load_keys(b"[]".to_vec()).await.unwrap_err().code(), "invalid_input");
    assert_eq!(gate.load_keys(keys(&samples::root_key(), 8)).await.unwrap(), 8);
    assert_eq!(gate.load_keys(bare).await.unwrap(), 8, "an older set changes nothing");
    let fake = json!({"key_set": TestKey::ed25519(0x66).jws(&key_set(9))}).to_string().into_bytes();
    assert_eq!(gate.load_keys(fake).await.unwrap_err().code(), "untrusted.kid");
}

#[tokio::test]
async fn revoked_passes_stay_outside() {
    let folder = tempfile::tempdir().unwrap();
    let gate = open(folder.path(), config()).await.unwrap();
    gate.load_keys(keys(&samples::root_key(), 7)).await.unwrap();
    let pass = pass(1);
    let list = serde_json::to_vec(&Revocations { passes: vec![pass.jti], cursor: 1 }).unwrap();
    assert_eq!(gate.load_revocations(list).await.unwrap(), 1);
    assert!(matches!(gate.verify(show(&pass, now())).await.unwrap(), GateDecision::Revoked { .. }));
}

#[tokio::test]
async fn a_folder_belongs_to_one_gate_and_must_be_sound() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), config()).await.unwrap());
    let other = GateConfig { gate_group: GateGroup::parse("elsewhere").unwrap(), ..config() };
    assert_eq!(open(folder.path(), other).await.err().unwrap().code(), "invalid_input");
    let foreign = tempfile::tempdir().unwrap();
    std::fs::write(foreign.path().join("gate.sqlite"), "this is no database ".repeat(500)).unwrap();
    assert_eq!(open(foreign.path(), config()).await.err().unwrap().code(), "storage.foreign");
    let bare = open(folder.path(), config()).await.unwrap();
    assert_eq!(bare.sync().await.unwrap_err().code(), "wrong_order", "without a merchant");
}

#[tokio::test]
async fn a_fake_merchant_changes_nothing() {
    let fake = TestKey::ed25519(0x66);
    let start = json!({
        "merchant_id": samples::merchant(),
        "nonce": "AAAA",
        "root_key": fake.public().to_jwk(),
        "key_set": fake.jws(&key_set(9)),
    });
    let newer = json!({"key_set": fake.jws(&key_set(99))});
    let router = axum::Router::new()
        .route("/terminal/v1/enrolments", post(move || async move { Json(start) }))
        .route("/terminal/v1/keys", get(move || async move { Json(newer) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let folder = tempfile::tempdir().unwrap();
    let merchant = GateMerchant { url, token: "t".into(), extra_roots_pem: None, pins: Vec::new() };
    let gate = open(folder.path(), GateConfig { merchant: Some(merchant), ..config() }).await.unwrap();
    assert_eq!(gate.sync().await.unwrap_err().code(), "untrusted.root");
    gate.load_keys(keys(&samples::root_key(), 7)).await.unwrap();
    assert_eq!(gate.sync().await.unwrap_err().code(), "untrusted.kid");
    assert!(matches!(gate.verify(show(&pass(1), now())).await.unwrap(), GateDecision::Open { .. }));
    server.abort();
}

#[tokio::test]
async fn the_command_line_says_open_closed_or_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("gate"), folder.path().join("keys.json"));
    std::fs::write(&file, keys(&samples::root_key(), 7)).unwrap();
    let (data, file) = (data.to_str().unwrap(), file.to_str().unwrap());
    let run = async |args: &[&str]| {
        let cli = example::Cli::try_parse_from([&["gate"][..], args, &["--data", data][..]].concat()).unwrap();
        example::run(cli.command).await
    };
    let text = show(&pass(1), now());
    assert!(run(&["verify", &text]).await.unwrap_err().contains("--merchant-id"), "the first call says what it is for");
    let (merchant, group, root) =
        (samples::merchant().to_string(), samples::gates().to_string(), samples::root_key().kid().to_string());
    let identity = ["--merchant-id", &merchant, "--group", &group, "--root", &root];
    assert_eq!(run(&[["load-keys", file].as_slice(), &identity].concat()).await, Ok(0));
    assert_eq!(run(&["verify", &text]).await, Ok(0), "open");
    assert_eq!(run(&["verify", &text]).await, Ok(1), "spent");
    assert_eq!(run(&["verify", "nonsense"]).await, Ok(1));
    assert!(run(&["sync"]).await.unwrap_err().contains("open with a merchant"));
    assert!(example::Cli::try_parse_from(["gate", "verify"]).is_err());
}
