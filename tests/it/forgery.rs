//! Forged documents, each refused with the check that is documented for it.

use crate::forgeries;
use crate::keys::TestKey;
use crate::samples;
use walkpay::protocol::crypto::{Algorithm, base64url, from_base64url};
use walkpay::protocol::document::{HoldResult, KeySet, KeyUse, Validation};
use walkpay::protocol::jws::Document;
use walkpay::protocol::key_set::{read_key_set, read_root, verify_by};
use walkpay::{MerchantId, Timestamp, WalkpayError};

fn check<T: std::fmt::Debug>(result: Result<T, WalkpayError>) -> String {
    match result {
        Err(WalkpayError::Untrusted { check, .. }) => check,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn every_forgery_of_every_document_is_refused() {
    for algorithm in [Algorithm::Ed25519, Algorithm::Es256] {
        let (key, other) = (TestKey::new(algorithm, 0x31), TestKey::new(algorithm, 0x32));
        for sample in samples::all() {
            sample.verify(&sample.sign(&key), key.public()).unwrap();
            for forgery in forgeries::of(&sample, &key, &other) {
                if forgery.name == "a member twice" && sample.payload.get("merchant_id").is_none() {
                    continue;
                }
                let result = sample.verify(&forgery.jws, key.public());
                assert_eq!(check(result), forgery.check, "{}: {}", sample.name, forgery.name);
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    for algorithm in [Algorithm::Ed25519, Algorithm::Es256] {
        let key = TestKey::new(algorithm, 0x31);
        let sample = samples::all().into_iter().find(|s| s.name == "basket").unwrap();
        let jws = sample.sign(&key);
        let parts: Vec<&str> = jws.split('.').collect();
        for part in 0..3 {
            let bytes = from_base64url("part", parts[part]).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let text = base64url(&flipped);
                let mut forged = parts.clone();
                forged[part] = &text;
                let found = check(sample.verify(&forged.join("."), key.public()));
                let expected: &[&str] = if part == 0 { &["header", "typ", "kid", "alg"] } else { &["signature"] };
                assert!(expected.contains(&found.as_str()), "part {part}, bit {bit}: {found}");
            }
        }
    }
}

#[test]
fn a_signature_has_one_text_only() {
    let key = TestKey::ed25519(0x31);
    let sample = samples::all().into_iter().find(|s| s.name == "basket").unwrap();
    let jws = sample.sign(&key);
    // The last character of 64 bytes in base64url carries four bits that mean nothing.
    let (rest, last) = jws.split_at(jws.len() - 1);
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
        if last != letter.to_string() {
            assert!(sample.verify(&format!("{rest}{letter}"), key.public()).is_err(), "{letter}");
        }
    }
}

#[test]
fn a_key_set_is_taken_from_the_pinned_root_only_and_never_goes_back() {
    let root = samples::root_key();
    let set = samples::key_set();
    let merchant = samples::merchant();
    let jws = root.jws(&set);
    let pinned = read_root(&root.public().to_jwk(), &root.kid()).unwrap();
    let read = |jws: &str, current| read_key_set(jws, &pinned, &merchant, current);
    assert_eq!(read(&jws, Some(6)).unwrap().document, set);
    assert_eq!(check(read(&jws, Some(7))), "seq", "the same number");
    assert_eq!(check(read(&jws, Some(8))), "seq", "a lower number");

    let fake = TestKey::ed25519(0x66);
    assert_eq!(check(read_root(&fake.public().to_jwk(), &root.kid())), "root");
    assert_eq!(check(read(&fake.jws(&set), None)), "kid", "another root");
    let header = root.header(KeySet::TYP);
    let payload = serde_json::to_vec(&set).unwrap();
    assert_eq!(check(read(&fake.raw_jws(&header, &payload), None)), "signature", "another root under this name");
    assert_eq!(check(read(&samples::results_key().jws(&set), None)), "kid", "a key of the set itself");

    let elsewhere = KeySet { merchant_id: MerchantId::parse("other").unwrap(), ..set.clone() };
    assert_eq!(check(read(&root.jws(&elsewhere), None)), "merchant");
    let crowded = KeySet { keys: set.keys.iter().cycle().take(65).cloned().collect(), ..set };
    assert_eq!(check(read(&root.jws(&crowded), None)), "keys");
}

#[test]
fn a_merchant_key_counts_for_its_use_and_time_only() {
    let set = samples::key_set();
    let validation = samples::all().into_iter().find(|s| s.name == "validation").unwrap();
    let read = |jws: &str, set: &KeySet| verify_by(jws, set, KeyUse::Results, |v: &Validation| v.issued_at);
    assert!(read(&validation.sign(&samples::results_key()), &set).is_ok());
    assert_eq!(check(read(&validation.sign(&samples::pass_key()), &set)), "key_use");
    assert_eq!(check(read(&validation.sign(&TestKey::ed25519(0x66)), &set)), "kid", "a fake merchant");

    let moved = |nbf: Timestamp, exp: Timestamp| {
        let mut set = samples::key_set();
        set.keys[0].nbf = nbf;
        set.keys[0].exp = exp;
        set
    };
    let jws = validation.sign(&samples::results_key());
    assert_eq!(check(read(&jws, &moved(samples::at(0), samples::at(905)))), "key_retired");
    assert!(read(&jws, &moved(samples::at(905), samples::at(906))).is_ok());
    assert_eq!(check(read(&jws, &moved(samples::at(906), samples::at(2000)))), "key_not_yet_valid");
}

#[test]
fn a_document_is_not_taken_for_another() {
    let key = TestKey::ed25519(0x31);
    let samples = samples::all();
    for signed in &samples {
        let jws = signed.sign(&key);
        for reader in samples.iter().filter(|reader| reader.typ != signed.typ) {
            assert_eq!(check(reader.verify(&jws, key.public())), "typ", "{} as {}", signed.name, reader.name);
        }
    }
    let hold = samples.iter().find(|s| s.name == "hold result").unwrap();
    assert_eq!(hold.typ, HoldResult::TYP);
}
