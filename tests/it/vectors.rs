//! `tests/vectors/*.json`: fixed inputs and outputs, compared byte for byte; `UPDATE_VECTORS=1` writes them anew.
//!
//! They are the conformance tests of docs/protocol.md; implementations in other languages read the same files.

use crate::forgeries;
use crate::keys::TestKey;
use crate::samples::{self, Sample};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use walkpay::protocol::crypto::{Algorithm, base64url};
use walkpay::protocol::document::{ExitPass, RESERVED_TYPS};
use walkpay::protocol::exit_pass::{presentation_input, presentation_text, verify_presentation};
use walkpay::protocol::http_signature::{ReceivedParts, RequestParts, parse_and_check, prepare, verify};
use walkpay::{GateGroup, Timestamp, WalkpayError};

const BOTH: [Algorithm; 2] = [Algorithm::Ed25519, Algorithm::Es256];

fn compare(name: &str, content: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    let mut text = serde_json::to_string_pretty(content).unwrap();
    text.push('\n');
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        return;
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == text, "{name} differs: what is on the wire has changed (UPDATE_VECTORS=1 writes it anew)");
}

fn signer(algorithm: Algorithm) -> TestKey {
    TestKey::new(algorithm, 0x31)
}

fn other(algorithm: Algorithm) -> TestKey {
    TestKey::new(algorithm, 0x32)
}

fn keys() -> Value {
    BOTH.iter().flat_map(|a| [signer(*a).entry(), other(*a).entry()]).collect::<Vec<_>>().into()
}

#[test]
fn documents() {
    let mut documents = Vec::new();
    for algorithm in BOTH {
        let key = signer(algorithm);
        for sample in samples::all() {
            let jws = sample.sign(&key);
            assert_eq!(sample.verify(&jws, key.public()).unwrap(), sample.payload, "{}", sample.name);
            documents.push(json!({
                "name": format!("{} ({})", sample.name, algorithm.name()),
                "typ": sample.typ,
                "kid": key.kid(),
                "payload": sample.payload,
                "jws": jws,
            }));
        }
    }
    compare("documents.json", &json!({"keys": keys(), "documents": documents}));
}

#[test]
fn every_type_is_among_the_documents() {
    let source = concat!(include_str!("../../src/protocol/document.rs"), include_str!("../../src/protocol/order.rs"));
    let reserved = |typ: &str| RESERVED_TYPS.contains(&typ);
    let defined: Vec<&str> =
        source.split('"').filter(|s| s.starts_with("walkpay-") && s.ends_with(".v1") && !reserved(s)).collect();
    assert!(defined.len() >= 16);
    let samples = samples::all();
    for typ in defined {
        assert!(samples.iter().any(|s| s.typ == typ), "{typ} has no sample");
    }
}

#[test]
fn refused_documents() {
    let mut refused = Vec::new();
    for algorithm in BOTH {
        let key = signer(algorithm);
        for sample in [sample("basket"), sample("exit pass")] {
            for forgery in forgeries::of(&sample, &key, &other(algorithm)) {
                let name = format!("{}: {} ({})", sample.name, forgery.name, algorithm.name());
                match sample.verify(&forgery.jws, key.public()) {
                    Err(WalkpayError::Untrusted { check, .. }) => assert_eq!(check, forgery.check, "{name}"),
                    other => panic!("{name}: {other:?}"),
                }
                if forgery.jws.len() > 8_192 {
                    continue; // Told in docs/protocol.md; of no use in a file.
                }
                let (typ, kid) = (sample.typ, key.kid());
                refused.push(json!({"name": name, "typ": typ, "kid": kid, "jws": forgery.jws, "check": forgery.check}));
            }
        }
    }
    compare("refused.json", &json!({"keys": keys(), "refused": refused}));
}

struct Call {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    query: Option<&'static str>,
    idempotency_key: Option<&'static str>,
    body: Option<&'static str>,
}

const CALLS: [Call; 5] = [
    Call {
        name: "put with a body",
        method: "PUT",
        path: "/terminal/v1/trips/019ced0c-4a27-7171-b171-717171717171/attempts/1",
        query: None,
        idempotency_key: None,
        body: Some(r#"{"basket":"a.b.c","lines":"e30"}"#),
    },
    Call {
        name: "get with a query",
        method: "GET",
        path: "/terminal/v1/events",
        query: Some("after=17&wait=50"),
        idempotency_key: None,
        body: None,
    },
    Call {
        name: "get without a query",
        method: "GET",
        path: "/terminal/v1/keys",
        query: None,
        idempotency_key: None,
        body: None,
    },
    Call {
        name: "percent-encoded target",
        method: "GET",
        path: "/shop%20floor/terminal/v1/events",
        query: Some("after=1&x=%C3%BC%2F"),
        idempotency_key: None,
        body: None,
    },
    Call {
        name: "post with an idempotency key",
        method: "POST",
        path: "/terminal/v1/anything",
        query: None,
        idempotency_key: Some("7d8f0a52-order-1"),
        body: Some("{}"),
    },
];

#[test]
fn requests() {
    let merchant = samples::merchant();
    let mut requests = Vec::new();
    for algorithm in BOTH {
        let key = signer(algorithm);
        for (number, call) in CALLS.iter().enumerate() {
            let Call { method, path, query, idempotency_key, .. } = *call;
            let body = call.body.unwrap_or_default().as_bytes();
            let parts = RequestParts { method, path, query, idempotency_key, body };
            let nonce = base64url(&[number as u8 + 1; 16]);
            let input = prepare(&parts, samples::at(0), &nonce, &key.kid(), &merchant).unwrap();
            let base = input.base.clone();
            let mut headers = input.finish(&key.sign(base.as_bytes())).map(|(n, v)| (n.to_owned(), v)).to_vec();
            headers.extend(idempotency_key.map(|k| ("idempotency-key".to_owned(), k.to_owned())));

            let lines: Vec<(&str, &[u8])> = headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
            let received = ReceivedParts { method, path, query, headers: &lines, body };
            let parsed = parse_and_check(&received, &merchant).unwrap();
            verify(&parsed, key.public()).unwrap();

            let query = query.map(|q| format!("?{q}")).unwrap_or_default();
            requests.push(json!({
                "name": format!("{} ({})", call.name, algorithm.name()),
                "keyid": key.kid(),
                "method": method,
                "url": format!("https://merchant.example{path}{query}"),
                "headers": headers.into_iter().map(|(n, v)| (n, Value::from(v))).collect::<serde_json::Map<_, _>>(),
                "body": call.body,
                "base": base,
            }));
        }
    }
    compare("requests.json", &json!({"keys": keys(), "merchant": merchant, "requests": requests}));
}

#[test]
fn presentations() {
    let (pass, pass_key, device) = (samples::pass(), samples::pass_key(), samples::request_key());
    let jws = pass_key.jws(&pass);
    let show = |pass_jws: &str, pass: &ExitPass, key: &TestKey, now: Timestamp| {
        let input = presentation_input(pass, key.algorithm(), &key.kid(), now).unwrap();
        presentation_text(pass_jws, &input, &key.sign(input.as_bytes()))
    };
    let now = samples::at(960);
    let shown = show(&jws, &pass, &device, now);
    let mut elsewhere = pass.clone();
    elsewhere.gate_group = GateGroup::parse("hamburg-1-exit").unwrap();
    let rows = [
        ("shown now", shown.clone(), now, None),
        ("one step later", shown.clone(), samples::at(990), None),
        ("a picture of it, two steps later", shown.clone(), samples::at(1020), Some("step")),
        ("after its time", show(&jws, &pass, &device, samples::at(2705)), samples::at(2705), Some("expired")),
        ("by another device", show(&jws, &pass, &samples::consent_key(), now), now, Some("kid")),
        ("for other gates", show(&pass_key.jws(&elsewhere), &elsewhere, &device, now), now, Some("gate_group")),
        ("by a key for results", show(&samples::results_key().jws(&pass), &pass, &device, now), now, Some("key_use")),
        ("without a presentation", jws, now, Some("form")),
    ];
    let key_set = samples::key_set();
    let mut presentations = Vec::new();
    for (name, text, now, check) in rows {
        let outcome = verify_presentation(&text, &key_set, &samples::merchant(), &samples::gates(), now);
        match (&outcome, check) {
            (Ok(_), None) => {}
            (Err(WalkpayError::Untrusted { check: found, .. }), Some(check)) => assert_eq!(found, check, "{name}"),
            _ => panic!("{name}: {outcome:?}"),
        }
        presentations.push(json!({"name": name, "text": text, "now": now, "check": check}));
    }
    let content = json!({
        "merchant": samples::merchant(),
        "gate_group": samples::gates(),
        "root": samples::root_key().entry(),
        "key_set": samples::root_key().jws(&key_set),
        "presentations": presentations,
    });
    compare("presentations.json", &content);
}

fn sample(name: &str) -> Sample {
    samples::all().into_iter().find(|s| s.name == name).unwrap()
}
