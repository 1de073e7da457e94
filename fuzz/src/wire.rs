//! One body per parser of what comes over the wire. A body panics when a promise is broken; refusing input is no failure.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::LazyLock;
use walkpay::protocol::crypto::{Jwk, PublicKey};
use walkpay::protocol::document::*;
use walkpay::protocol::enrolment_code::EnrolmentCode;
use walkpay::protocol::exit_pass::verify_presentation;
use walkpay::protocol::http_signature::{ReceivedParts, parse_and_check, verify as verify_request};
use walkpay::protocol::jws::{Document, peek, verify};
use walkpay::protocol::message::*;
use walkpay::protocol::order::*;
use walkpay::protocol::query::Totals;
use walkpay::{GateGroup, KeyId, MerchantId, Timestamp};

struct Vectors {
    keys: Vec<PublicKey>,
    signed: HashSet<String>,
}

static DOCUMENTS: LazyLock<Vectors> = LazyLock::new(|| {
    let file: Value = serde_json::from_str(include_str!("../../tests/vectors/documents.json")).unwrap();
    Vectors { keys: keys(&file), signed: texts(&file["documents"], "jws") }
});

static REQUESTS: LazyLock<Vectors> = LazyLock::new(|| {
    let file: Value = serde_json::from_str(include_str!("../../tests/vectors/requests.json")).unwrap();
    let signed = file["requests"].as_array().unwrap().iter();
    let signed = signed.map(|r| r["headers"]["signature"].as_str().unwrap().to_owned()).collect();
    Vectors { keys: keys(&file), signed }
});

struct Gate {
    merchant: MerchantId,
    group: GateGroup,
    keys: KeySet,
    now: Timestamp,
    shown: HashSet<String>,
}

static GATE: LazyLock<Gate> = LazyLock::new(|| {
    let file: Value = serde_json::from_str(include_str!("../../tests/vectors/presentations.json")).unwrap();
    let (_, keys) = peek::<KeySet>(file["key_set"].as_str().unwrap()).unwrap();
    Gate {
        merchant: MerchantId::parse(file["merchant"].as_str().unwrap()).unwrap(),
        group: GateGroup::parse(file["gate_group"].as_str().unwrap()).unwrap(),
        keys,
        now: Timestamp::parse(file["presentations"][0]["now"].as_str().unwrap()).unwrap(),
        shown: texts(&file["presentations"], "text"),
    }
});

fn keys(file: &Value) -> Vec<PublicKey> {
    let jwks = file["keys"].as_array().unwrap().iter();
    jwks.map(|key| serde_json::from_value::<Jwk>(key.clone()).unwrap().to_key().unwrap()).collect()
}

fn texts(list: &Value, member: &str) -> HashSet<String> {
    list.as_array().unwrap().iter().map(|entry| entry[member].as_str().unwrap().to_owned()).collect()
}

/// Signed documents: nothing verifies but what was signed, byte for byte.
pub fn jws(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    document::<EnrolmentProof>(text);
    document::<KeyRotation>(text);
    document::<HoldRequest>(text);
    document::<BasketSummary>(text);
    document::<TripCancellation>(text);
    document::<PassPresentation>(text);
    document::<KeySet>(text);
    document::<EnrolmentGrant>(text);
    document::<HoldResult>(text);
    document::<Validation>(text);
    document::<DebitResult>(text);
    document::<ExitPass>(text);
    document::<CatalogueManifest>(text);
    // Its body may hold numbers that JSON does not write as it read them.
    forgery::<EventDocument>(text);
    document::<ClockStatement>(text);
    document::<StaffToken>(text);
    document::<SlipPayment>(text);
    document::<SlipResult>(text);
    document::<OrderNotice>(text);
}

fn document<D: Document>(text: &str) {
    forgery::<D>(text);
    if let Ok((_, document)) = peek::<D>(text) {
        round_trip(&document);
    }
}

fn forgery<D: Document>(text: &str) {
    let known = |kid: &KeyId| DOCUMENTS.keys.iter().find(|key| key.key_id() == *kid);
    if let Ok(signed) = verify::<D>(text, known) {
        assert!(DOCUMENTS.signed.contains(text), "a forgery verifies");
        assert_eq!(signed.jws(), text);
        assert!(peek::<D>(text).is_ok());
    }
}

/// Bodies of requests and answers: what can be read can be written and read again.
pub fn messages(data: &[u8]) {
    message::<EnrolmentStart>(data);
    message::<EnrolmentRequest>(data);
    message::<EnrolmentAnswer>(data);
    message::<KeyRotationRequest>(data);
    message::<HoldPut>(data);
    message::<AttemptPut>(data);
    message::<CancellationPut>(data);
    message::<Recorded>(data);
    message::<EventsPage>(data);
    message::<KeySetAnswer>(data);
    message::<CatalogueAnswer>(data);
    message::<Revocations>(data);
    message::<SpentPasses>(data);
    message::<SpentList>(data);
    message::<Problem>(data);
    message::<EventBody>(data);
    message::<OrderPage>(data);
    message::<OrderView>(data);
    message::<SlipRequest>(data);
    message::<SlipView>(data);
    message::<PaymentPut>(data);
    message::<PaymentView>(data);
    message::<Totals>(data);
}

fn message<T: DeserializeOwned + Serialize>(data: &[u8]) {
    if let Ok(message) = serde_json::from_slice::<T>(data) {
        round_trip(&message);
    }
}

fn round_trip<T: DeserializeOwned + Serialize>(value: &T) {
    let written = serde_json::to_vec(value).unwrap();
    let again: T = serde_json::from_slice(&written).unwrap();
    assert_eq!(serde_json::to_vec(&again).unwrap(), written);
}

/// What a gate's scanner delivers: nothing opens but what was signed, and enrolment codes have one text.
pub fn presentation(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if verify_presentation(text, &GATE.keys, &GATE.merchant, &GATE.group, GATE.now).is_ok() {
        assert!(GATE.shown.contains(text), "a forgery opens the gate");
    }
    if let Ok(code) = EnrolmentCode::parse(text) {
        assert_eq!(EnrolmentCode::parse(&code.to_text()).ok(), Some(code));
    }
}

/// Signed requests, written as `METHOD /path?query`, lines of headers, an empty line and the body.
pub fn request(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, target) = lines.next().and_then(|line| line.split_once(' ')).unwrap_or_default();
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let headers: Vec<(&str, &[u8])> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.as_bytes())).collect();
    let merchant = &GATE.merchant;
    let received = ReceivedParts { method, path, query, headers: &headers, body: body.as_bytes() };
    let Ok(parsed) = parse_and_check(&received, merchant) else { return };
    let key = REQUESTS.keys.iter().find(|key| key.key_id() == parsed.keyid);
    if key.is_some_and(|key| verify_request(&parsed, key).is_ok()) {
        let signature = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("signature"));
        let signature = signature.map(|(_, value)| String::from_utf8_lossy(value).trim().to_owned());
        assert!(signature.is_some_and(|s| REQUESTS.signed.contains(&s)), "a forgery verifies");
    }
}
