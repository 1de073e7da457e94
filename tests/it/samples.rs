//! One instance of every signed document, with fixed values: vectors, the protocol's papers and the forgery tests use them.

use crate::keys::TestKey;
use crate::order_samples as orders;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use walkpay::protocol::crypto::{Algorithm, PublicKey, base64url, digest};
use walkpay::protocol::document::*;
use walkpay::protocol::exit_pass;
use walkpay::protocol::jws::{Document, verify};
use walkpay::{
    Currency, DeviceId, GateGroup, HoldId, MerchantId, Money, PassId, ServiceNumber, StoreId, Sub, Timestamp, TripId,
    UserName, WalkpayError,
};

/// The lines that the sample basket's digest is of.
pub const LINES: &str = concat!(
    r#"{"currency":"EUR","lines":["#,
    r#"{"line":1,"gtin":"04006381333931","pieces":2,"unit_price":"1.29","discount":"0.30","payable":"2.28","tax_group":"A","tax":"0.36"},"#,
    r#"{"line":2,"gtin":"00000000000321","pieces":2,"unit_price":"0.25","discount":"0.00","payable":"0.50","tax_group":"A","tax":"0.08","parent":1},"#,
    r#"{"line":3,"gtin":"02112345000008","grams":512,"unit_price":"9.90","discount":"0.00","payable":"5.07","tax_group":"B","tax":"0.33"}]}"#
);

type Sign = Box<dyn Fn(&TestKey) -> String>;
type Verify = Box<dyn Fn(&str, &PublicKey) -> Result<Value, WalkpayError>>;

/// A document of some type.
pub struct Sample {
    /// Unique among the samples.
    pub name: &'static str,
    pub typ: &'static str,
    /// Whose key signs it.
    pub by: &'static str,
    pub payload: Value,
    /// The payload in the order of its members.
    pub pretty: String,
    sign: Sign,
    verify: Verify,
}

impl Sample {
    fn new<D: Document + 'static>(name: &'static str, by: &'static str, document: D) -> Self {
        Self {
            name,
            typ: D::TYP,
            by,
            payload: serde_json::to_value(&document).unwrap(),
            pretty: serde_json::to_string_pretty(&document).unwrap(),
            sign: Box::new(move |key| key.jws(&document)),
            verify: Box::new(|jws, key| {
                let signed = verify::<D>(jws, |kid| (*kid == key.key_id()).then_some(key))?;
                Ok(serde_json::to_value(&signed.document).unwrap())
            }),
        }
    }

    pub fn sign(&self, key: &TestKey) -> String {
        (self.sign)(key)
    }

    /// Verifies a JWS as a document of this sample's type by `key`.
    pub fn verify(&self, jws: &str, key: &PublicKey) -> Result<Value, WalkpayError> {
        (self.verify)(jws, key)
    }
}

/// The present, where real clocks decide.
pub fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now()).unwrap()
}

/// Seconds after the sample visit began.
pub fn at(seconds: u64) -> Timestamp {
    Timestamp::parse("2026-03-14T15:09:26.535Z").unwrap().plus(Duration::from_secs(seconds))
}

pub fn merchant() -> MerchantId {
    MerchantId::parse("demo-merchant").unwrap()
}

pub fn gates() -> GateGroup {
    GateGroup::parse("berlin-1-exit").unwrap()
}

pub fn euros(minor: i64) -> Money {
    Currency::parse("EUR").unwrap().minor(minor)
}

fn store() -> StoreId {
    StoreId::parse("berlin-1").unwrap()
}

pub fn sub() -> Sub {
    Sub::parse("u-5f3a9c").unwrap()
}

pub fn device() -> DeviceId {
    DeviceId::new(at(0), [0xd0; 10])
}

pub fn trip() -> TripId {
    TripId::new(at(10), [0x71; 10])
}

pub fn hold() -> HoldId {
    HoldId::new(at(20), [0x40; 10])
}

/// The device's request key.
pub fn request_key() -> TestKey {
    TestKey::new(Algorithm::Ed25519, 0x11)
}

/// The device's consent key, as a security chip makes it.
pub fn consent_key() -> TestKey {
    TestKey::new(Algorithm::Es256, 0x12)
}

/// The merchant's root.
pub fn root_key() -> TestKey {
    TestKey::new(Algorithm::Ed25519, 0x21)
}

/// The merchant's key for results.
pub fn results_key() -> TestKey {
    TestKey::new(Algorithm::Ed25519, 0x22)
}

/// The merchant's key for exit passes.
pub fn pass_key() -> TestKey {
    TestKey::new(Algorithm::Ed25519, 0x23)
}

pub fn basket() -> BasketSummary {
    BasketSummary {
        merchant_id: merchant(),
        store_id: store(),
        sub: sub(),
        device_id: device(),
        device_seq: 8,
        trip_id: trip(),
        attempt: 1,
        hold_id: Some(hold()),
        catalogue_revision: 42,
        pricing_version: 1,
        priced_at: at(900),
        total: euros(785),
        item_count: 3,
        lines_sha256: digest(LINES.as_bytes()),
    }
}

pub fn pass() -> ExitPass {
    ExitPass {
        jti: PassId::new(at(905), [0x9a; 10]),
        merchant_id: merchant(),
        store_id: store(),
        gate_group: gates(),
        trip_id: trip(),
        cnf: Confirmation { jwk: request_key().public().to_jwk() },
        amount: euros(785),
        item_count: 3,
        iat: at(905),
        exp: at(905 + 1800),
    }
}

pub fn key_set() -> KeySet {
    let entry = |key: TestKey, usage| KeyEntry {
        key: key.public().clone(),
        usage,
        nbf: Timestamp::parse("2026-03-01T00:00:00.000Z").unwrap(),
        exp: Timestamp::parse("2026-09-01T00:00:00.000Z").unwrap(),
    };
    KeySet {
        merchant_id: merchant(),
        seq: 7,
        issued_at: Timestamp::parse("2026-02-28T12:00:00.000Z").unwrap(),
        keys: vec![
            entry(results_key(), KeyUse::Results),
            entry(pass_key(), KeyUse::Pass),
            entry(TestKey::new(Algorithm::Ed25519, 0x24), KeyUse::Catalogue),
            entry(TestKey::new(Algorithm::Es256, 0x25), KeyUse::Staff),
        ],
    }
}

fn validation() -> Validation {
    Validation {
        merchant_id: merchant(),
        store_id: store(),
        sub: sub(),
        device_id: device(),
        trip_id: trip(),
        attempt: 1,
        basket_sha256: digest(consent_key().jws(&basket()).as_bytes()),
        verdict: Verdict::Accepted,
        reasons: Vec::new(),
        total: euros(785),
        shortfall: None,
        repriced_total: None,
        exit_pass: Some(pass_key().jws(&pass())),
        service_number: Some(ServiceNumber::parse("000000000001234").unwrap()),
        issued_at: at(905),
    }
}

fn refused(verdict: Verdict, code: ReasonCode, line: Option<u32>, detail: &str) -> Validation {
    let reasons = vec![Reason { code, line, detail: detail.to_owned() }];
    Validation { verdict, reasons, exit_pass: None, service_number: None, ..validation() }
}

fn debit() -> DebitResult {
    let leg =
        |method, minor, reference: String| Leg { method, amount: euros(minor), reference, state: LegState::Succeeded };
    DebitResult {
        merchant_id: merchant(),
        store_id: store(),
        sub: sub(),
        device_id: device(),
        trip_id: trip(),
        attempt: 1,
        service_number: ServiceNumber::parse("000000000001234").unwrap(),
        status: DebitStatus::Debited,
        total: euros(785),
        due: euros(0),
        legs: vec![
            leg(PaymentMethod::StoredValue, 200, format!("{}", trip())),
            leg(PaymentMethod::Bank, 585, format!("{}.c", trip())),
        ],
        reason: None,
        receipt_number: Some(9_001),
        issued_at: at(960),
    }
}

/// One event of each kind that this version knows.
pub fn events() -> Vec<(&'static str, EventBody)> {
    let hold_result = HoldResult {
        merchant_id: merchant(),
        store_id: store(),
        sub: sub(),
        device_id: device(),
        trip_id: trip(),
        hold_id: hold(),
        status: HoldStatus::Placed,
        amount: euros(5_000),
        reason: None,
        expires_at: Some(at(7 * 86_400)),
        issued_at: at(22),
    };
    vec![
        ("event, hold", EventBody::Hold { document: results_key().jws(&hold_result) }),
        ("event, validation", EventBody::Validation { document: results_key().jws(&validation()) }),
        ("event, debit", EventBody::Debit { document: results_key().jws(&debit()) }),
        ("event, trip_cancelled", EventBody::TripCancelled { trip_id: trip() }),
        ("event, device_confirmed", EventBody::DeviceConfirmed {}),
        ("event, device_frozen", EventBody::DeviceFrozen {}),
        ("event, device_revoked", EventBody::DeviceRevoked {}),
        (
            "event, keys_rotated",
            EventBody::KeysRotated { request_kid: request_key().kid(), consent_kid: consent_key().kid() },
        ),
        ("event, catalogue_published", EventBody::CataloguePublished { store_id: store(), revision: 43 }),
        ("event, key_set_published", EventBody::KeySetPublished { seq: 8 }),
        ("event, order", EventBody::Order { document: results_key().jws(&orders::order_notice()) }),
        ("event, slip", EventBody::Slip { document: results_key().jws(&orders::slip_result()) }),
    ]
}

fn event(seq: u64, body: &EventBody) -> EventDocument {
    let value = serde_json::to_value(body).unwrap();
    EventDocument {
        iss: merchant(),
        aud: device(),
        sub: sub(),
        seq,
        kind: value["kind"].as_str().unwrap().to_owned(),
        body: value["body"].clone(),
        issued_at: at(900 + seq),
    }
}

/// Every signed document: each type at least once.
pub fn all() -> Vec<Sample> {
    const CONSENT: &str = "consent key";
    const REQUEST: &str = "request key";
    const RESULTS: &str = "merchant key, use `results`";
    let store_info = StoreInfo {
        store_id: store(),
        name: "Markt am Tor".into(),
        currency: Currency::parse("EUR").unwrap(),
        time_zone: "Europe/Berlin".into(),
        tax_id: "DE123456789".into(),
        gate_group: gates(),
    };
    let first_hold = HoldRequest {
        merchant_id: merchant(),
        store_id: store(),
        sub: sub(),
        device_id: device(),
        device_seq: 1,
        trip_id: trip(),
        hold_id: hold(),
        number: 1,
        replaces: None,
        amount: euros(5_000),
        requested_at: at(20),
    };
    let raised = HoldRequest {
        device_seq: 2,
        hold_id: HoldId::new(at(800), [0x41; 10]),
        number: 2,
        replaces: Some(hold()),
        amount: euros(8_000),
        requested_at: at(800),
        ..first_hold.clone()
    };
    let hold_result = HoldResult {
        merchant_id: merchant(),
        store_id: store(),
        sub: sub(),
        device_id: device(),
        trip_id: trip(),
        hold_id: hold(),
        status: HoldStatus::Placed,
        amount: euros(5_000),
        reason: None,
        expires_at: Some(at(7 * 86_400)),
        issued_at: at(22),
    };
    let declined = HoldResult {
        status: HoldStatus::Declined,
        reason: Some("insufficient_funds".into()),
        expires_at: None,
        ..hold_result.clone()
    };
    let manifest = CatalogueManifest {
        merchant_id: merchant(),
        store_id: store(),
        base: None,
        revision: 42,
        sha256: digest(b"the snapshot's bytes"),
        length: 123_456,
        rows: 803,
        pricing_version: 1,
        issued_at: at(0),
        usable_until: at(86_400),
    };
    let delta = CatalogueManifest {
        base: Some(41),
        sha256: digest(b"the delta's bytes"),
        length: 321,
        rows: 4,
        ..manifest.clone()
    };
    let insufficient = Validation {
        shortfall: Some(euros(1_234)),
        ..refused(Verdict::InsufficientCover, ReasonCode::Cover, None, "cover of 12.34 EUR more")
    };
    let outdated = Validation {
        repriced_total: Some(euros(799)),
        ..refused(Verdict::Rejected, ReasonCode::CatalogueOutdated, None, "revision 42 could be used until 2026-03-14")
    };
    let unpaid = DebitResult {
        status: DebitStatus::Unpaid,
        due: euros(585),
        legs: vec![debit().legs[0].clone(), Leg { state: LegState::Failed, ..debit().legs[1].clone() }],
        reason: Some("account_closed".into()),
        ..debit()
    };
    let mut samples = vec![
        Sample::new(
            "enrolment proof",
            "request key, and once more consent key",
            EnrolmentProof {
                merchant_id: merchant(),
                code_sha256: digest(b"0123456789ABCDEF"),
                nonce: base64url(&[0x5a; 16]),
                device_id: device(),
                request_key: request_key().public().clone(),
                consent_key: consent_key().public().clone(),
            },
        ),
        Sample::new(
            "key rotation",
            "consent key in force; as proofs once more both new keys",
            KeyRotation {
                merchant_id: merchant(),
                sub: sub(),
                device_id: device(),
                device_seq: 9,
                request_key: TestKey::new(Algorithm::Ed25519, 0x13).public().clone(),
                consent_key: TestKey::new(Algorithm::Ed25519, 0x14).public().clone(),
            },
        ),
        Sample::new("hold request", CONSENT, first_hold),
        Sample::new("hold request, raised", CONSENT, raised),
        Sample::new("basket", CONSENT, basket()),
        Sample::new("basket, without a hold", CONSENT, BasketSummary { hold_id: None, ..basket() }),
        Sample::new(
            "trip cancellation",
            REQUEST,
            TripCancellation {
                merchant_id: merchant(),
                sub: sub(),
                device_id: device(),
                device_seq: 10,
                trip_id: trip(),
                cancelled_at: at(700),
            },
        ),
        Sample::new(
            "pass presentation",
            "key that the pass is bound to",
            PassPresentation { jti: pass().jti, step: exit_pass::step(at(960)) },
        ),
        Sample::new("key set", "merchant's root", key_set()),
        Sample::new(
            "enrolment grant",
            RESULTS,
            EnrolmentGrant {
                merchant_id: merchant(),
                merchant_name: "Markt".into(),
                device_id: device(),
                sub: sub(),
                user_name: UserName::parse("ada").unwrap(),
                nonce: base64url(&[0x5a; 16]),
                stores: vec![store_info],
                active: false,
                bank: Some(BankBinding {
                    label: "DE ···· 4711".into(),
                    confirm_url: "https://bank.example/confirm/3f".into(),
                }),
                issued_at: at(1),
            },
        ),
        Sample::new("hold result", RESULTS, hold_result),
        Sample::new("hold result, declined", RESULTS, declined),
        Sample::new("validation", RESULTS, validation()),
        Sample::new(
            "validation, rejected",
            RESULTS,
            refused(Verdict::Rejected, ReasonCode::PriceMismatch, Some(1), "1.29 EUR, not 1.19 EUR"),
        ),
        Sample::new("validation, catalogue outdated", RESULTS, outdated),
        Sample::new("validation, insufficient cover", RESULTS, insufficient),
        Sample::new("slip payment", CONSENT, orders::slip_payment()),
        Sample::new("slip result", RESULTS, orders::slip_result()),
        Sample::new("slip result, to be paid at a channel", RESULTS, orders::launched()),
        Sample::new("order notice", RESULTS, orders::order_notice()),
        Sample::new("debit result", RESULTS, debit()),
        Sample::new("debit result, unpaid", RESULTS, unpaid),
        Sample::new("exit pass", "merchant key, use `pass`", pass()),
        Sample::new("catalogue manifest", "merchant key, use `catalogue`", manifest),
        Sample::new("catalogue manifest, delta", "merchant key, use `catalogue`", delta),
        Sample::new(
            "clock statement",
            RESULTS,
            ClockStatement {
                merchant_id: merchant(),
                device_id: device(),
                nonce: base64url(&[0x6b; 16]),
                now: at(930),
            },
        ),
        Sample::new(
            "staff token",
            "merchant key, use `staff`",
            StaffToken {
                merchant_id: merchant(),
                store_id: store(),
                staff_id: "s-17".into(),
                scope: Some("checks:decide refunds:write".into()),
                iat: at(0),
                exp: at(8 * 3600),
            },
        ),
    ];
    for (seq, (name, body)) in (1..).zip(events()) {
        samples.push(Sample::new(name, RESULTS, event(seq, &body)));
    }
    samples.push(Sample::new(
        "event, unknown kind",
        RESULTS,
        EventDocument {
            kind: "parade".into(),
            body: json!({"floats": 3}),
            ..event(13, &EventBody::DeviceConfirmed {})
        },
    ));
    samples
}
