//! What a forger does to a signed document, and the check that must catch it.

use crate::keys::TestKey;
use crate::samples::Sample;
use serde_json::Value;
use walkpay::protocol::crypto::{Algorithm, base64url, from_base64url};
use walkpay::protocol::jws::MAX_JWS;

/// A document that must be refused.
pub struct Forgery {
    pub name: String,
    pub jws: String,
    /// The word of the check.
    pub check: &'static str,
}

/// Forgeries of a sample that `key` signs, where `other` is a key of the forger.
pub fn of(sample: &Sample, key: &TestKey, other: &TestKey) -> Vec<Forgery> {
    let jws = sample.sign(key);
    let mut all = Vec::new();
    let mut add = |name: &str, jws: String, check| all.push(Forgery { name: name.to_owned(), jws, check });

    let parts: Vec<&str> = jws.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("three parts") };
    let decoded = |part: &str| from_base64url("part", part).unwrap();
    let raw_header = String::from_utf8(decoded(header)).unwrap();
    let raw_payload = decoded(payload);
    let with_header = |text: &str| format!("{}.{payload}.{signature}", base64url(text.as_bytes()));

    let flipped = |part: &str| {
        let mut bytes = decoded(part);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        base64url(&bytes)
    };
    add("a bit of the payload", format!("{header}.{}.{signature}", flipped(payload)), "signature");
    add("a bit of the signature", format!("{header}.{payload}.{}", flipped(signature)), "signature");
    add("no signature", format!("{header}.{payload}."), "signature");
    add("half a signature", format!("{header}.{payload}.{}", base64url(&decoded(signature)[..32])), "signature");
    add("two parts", format!("{header}.{payload}"), "form");
    add("four parts", format!("{jws}.{signature}"), "form");
    add("empty", String::new(), "form");
    add("padding", format!("{header}.{payload}.{signature}=="), "form");
    add("white space", format!("{header}.{payload}.{signature}\n"), "form");
    add("the other alphabet", format!("{header}.{payload}.{}", "+/".repeat(43)), "form");
    add("oversized", format!("{header}.{}.{signature}", "A".repeat(MAX_JWS)), "size");

    if key.algorithm() == Algorithm::Es256 {
        add(
            "the other form of the signature",
            format!("{header}.{payload}.{}", other_form(&decoded(signature))),
            "low_s",
        );
    }

    // What is said in the header, signed by the right key: only the form of the header can be wrong.
    let signed_header = |text: String| key.raw_jws(&text, &raw_payload);
    let alg = format!(r#""alg":"{}""#, key.algorithm().name());
    let swapped = match key.algorithm() {
        Algorithm::Ed25519 => Algorithm::Es256,
        Algorithm::Es256 => Algorithm::Ed25519,
    };
    let with_alg = |value: &str| raw_header.replace(&alg, &format!(r#""alg":"{value}""#));
    add("alg none", format!("{}.{payload}.", base64url(with_alg("none").as_bytes())), "header");
    add("alg none, signed", signed_header(with_alg("none")), "header");
    add("alg of another kind of key", signed_header(with_alg(swapped.name())), "alg");
    add("alg HS256", signed_header(with_alg("HS256")), "header");
    add("alg EdDSA", signed_header(with_alg("EdDSA")), "header");
    let more = |member: &str| format!("{{{member},{}", &raw_header[1..]);
    add("crit", signed_header(more(r#""crit":["exp"],"exp":1"#)), "header");
    add("b64", signed_header(more(r#""b64":false"#)), "header");
    add("a key in the header", signed_header(more(r#""jwk":{"kty":"OKP","crv":"Ed25519","x":"AA"}"#)), "header");
    add("the address of a key", signed_header(more(r#""jku":"https://forger.example/keys""#)), "header");
    add("kid twice", signed_header(more(&format!(r#""kid":"{}""#, other.kid()))), "header");
    add("alg twice", signed_header(more(&alg)), "header");
    let without = |name: &str| {
        let mut members: Value = serde_json::from_str(&raw_header).unwrap();
        members.as_object_mut().unwrap().remove(name);
        members.to_string()
    };
    add("without alg", signed_header(without("alg")), "header");
    add("without kid", signed_header(without("kid")), "header");
    add("without typ", signed_header(without("typ")), "header");
    add("a header that is no object", signed_header("[]".to_owned()), "header");
    add("unchanged but for white space in the header", with_header(&raw_header.replace(':', ": ")), "signature");
    add("another typ", key.raw_jws(&key.header("walkpay-receipt.v1"), &raw_payload), "typ");
    add("another version", key.raw_jws(&key.header(&sample.typ.replace(".v1", ".v2")), &raw_payload), "typ");

    add("another key", sample.sign(other), "kid");
    add("another key under the name of this one", other.raw_jws(&raw_header, &raw_payload), "signature");

    let altered = |name: &str, value: Value| {
        let mut members = sample.payload.clone();
        members[name] = value;
        format!("{header}.{}.{signature}", base64url(members.to_string().as_bytes()))
    };
    for (name, value) in sample.payload.as_object().unwrap() {
        add(&format!("altered {name}"), altered(name, alter(value)), "signature");
    }
    let twice = |name: &str| {
        let text = String::from_utf8(raw_payload.clone()).unwrap();
        let value = &sample.payload[name];
        format!("{{\"{name}\":{value},{}", &text[1..]).into_bytes()
    };
    add("a member twice", key.raw_jws(&raw_header, &twice("merchant_id")), "payload");
    let mut unfinished = raw_payload.clone();
    unfinished.pop();
    add("broken JSON", key.raw_jws(&raw_header, &unfinished), "payload");
    add("no object", key.raw_jws(&raw_header, b"null"), "payload");
    add("not UTF-8", key.raw_jws(&raw_header, b"{\"merchant_id\":\"\xff\"}"), "payload");
    add("nested too deeply", key.raw_jws(&raw_header, "[".repeat(20_000).as_bytes()), "payload");
    all
}

/// R ‖ n−S of a signature R ‖ S, which verifies just as well.
pub fn other_form(signature: &[u8]) -> String {
    let signature = p256::ecdsa::Signature::from_slice(signature).unwrap();
    let other = p256::ecdsa::Signature::from_scalars(signature.r(), -signature.s()).unwrap();
    base64url(&other.to_bytes())
}

/// Another value of the same kind.
fn alter(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(format!("{text}0")),
        Value::Number(number) => Value::from(number.as_u64().unwrap_or(0) + 1),
        Value::Bool(value) => Value::Bool(!value),
        Value::Null => Value::Bool(true),
        Value::Array(_) => Value::Array(vec![Value::Null]),
        Value::Object(members) => {
            let mut members = members.clone();
            match members.iter_mut().next() {
                Some((_, first)) => *first = alter(first),
                None => _ = members.insert("x".into(), Value::Null),
            }
            Value::Object(members)
        }
    }
}
