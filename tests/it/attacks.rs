//! Attacks over real HTTP on a real merchant, and a fake merchant's on terminals. What comes of each is read from answers
//! and events.

use crate::forgeries::other_form;
use crate::hand::{Call, Goods, Hand, client, enrolment, forged, new_trip, random, send, unsigned};
use crate::keys::TestKey;
use crate::samples::now;
use crate::support::Shop;
use mock_merchant::domain::{AdminCommand, Answer, StaffScopes};
use serde_json::json;
use std::time::Duration;
use walkpay::api::{Gate, GateConfig, GateDecision, GateMerchant};
use walkpay::barcode::Gtin;
use walkpay::basket::Quantity;
use walkpay::catalogue::SaleKind;
use walkpay::protocol::crypto::{Algorithm, base64url, digest, from_base64url};
use walkpay::protocol::document::*;
use walkpay::protocol::enrolment_code::EnrolmentCode;
use walkpay::protocol::exit_pass::{presentation_input, presentation_text, verify_presentation};
use walkpay::protocol::jws::{Document, peek};
use walkpay::protocol::message::*;
use walkpay::{DeviceId, GateGroup, Money, PassId, StoreId, Sub, Timestamp, WalkpayError};

async fn new_code(shop: &Shop, user: &str) -> EnrolmentCode {
    EnrolmentCode::parse(&shop.code(user).await).unwrap()
}

async fn enrolled(shop: &Shop, user: &str, seed: u8) -> Hand {
    Hand::enrol(&new_code(shop, user).await, seed).await
}

/// A device of bob's, the catalogue, and an article without deposit, age limit or promotion.
async fn shopper(shop: &Shop, seed: u8) -> (Hand, Goods, Gtin) {
    let hand = enrolled(shop, "bob", seed).await;
    let goods = hand.goods().await;
    let gtin = plain(&goods);
    (hand, goods, gtin)
}

fn plain(goods: &Goods) -> Gtin {
    let promoted = |gtin| goods.book.promotions().iter().any(|p| p.gtins.contains(&gtin));
    let mut all: Vec<_> = goods
        .articles
        .values()
        .filter(|a| {
            a.sale == SaleKind::Pieces
                && a.deposit.is_none()
                && a.min_age.is_none()
                && !a.sale_stopped
                && (100..1_000).contains(&a.price_minor)
                && !promoted(a.gtin)
        })
        .map(|a| a.gtin)
        .collect();
    all.sort();
    all[0]
}

fn rejected_for(validation: &Validation) -> ReasonCode {
    assert_eq!(validation.verdict, Verdict::Rejected, "{validation:?}");
    assert_eq!(validation.exit_pass, None);
    validation.reasons[0].code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn altered_baskets_are_refused_and_the_honest_one_is_accepted() {
    let shop = Shop::open().await;
    let (mut hand, goods, gtin) = shopper(&shop, 1).await;
    let trip = new_trip();
    let hold = hand.hold(trip, 5_000).await;
    let mut attempt = 0;
    type Alter = fn(&mut BasketSummary, &mut Vec<u8>);
    let cheaper: Alter = |summary, lines| {
        let text = String::from_utf8(lines.clone()).unwrap();
        let (head, tail) = text.split_once("\"unit_price\":\"").unwrap();
        let (_, tail) = tail.split_once('"').unwrap();
        *lines = format!("{head}\"unit_price\":\"0.01\"{tail}").into_bytes();
        summary.lines_sha256 = digest(lines);
    };
    let fewer: Alter = |summary, lines| {
        *lines = String::from_utf8(lines.clone()).unwrap().replace("\"pieces\":2", "\"pieces\":1").into_bytes();
        summary.lines_sha256 = digest(lines);
    };
    let lower: Alter = |summary, _| summary.total.minor -= 1;
    let other_lines: Alter = |_, lines| {
        *lines = String::from_utf8(lines.clone()).unwrap().replace("\"pieces\":2", "\"pieces\":1").into_bytes();
    };
    let currency: Alter = |summary, _| {
        summary.total = Money { minor: summary.total.minor, currency: walkpay::Currency::parse("USD").unwrap() };
    };
    let rows: [(&str, Alter, &[ReasonCode]); 8] = [
        ("price", cheaper, &[ReasonCode::PriceMismatch]),
        ("quantity", fewer, &[ReasonCode::PriceMismatch, ReasonCode::TotalMismatch]),
        ("total", lower, &[ReasonCode::TotalMismatch]),
        ("count", |summary, _| summary.item_count += 1, &[ReasonCode::TotalMismatch]),
        ("lines", other_lines, &[ReasonCode::LinesDigest]),
        ("currency", currency, &[ReasonCode::CurrencyMismatch]),
        ("revision", |summary, _| summary.catalogue_revision += 7, &[ReasonCode::CatalogueUnknown]),
        ("pricing version", |summary, _| summary.pricing_version += 1, &[ReasonCode::PricingVersion]),
    ];
    for (name, alter, expected) in rows {
        attempt += 1;
        let (mut summary, mut lines, _) = hand.basket(&goods, trip, attempt, Some(hold), &[(gtin, 2)]);
        alter(&mut summary, &mut lines);
        let recorded: Recorded = hand.submit(&summary, &lines).await.read();
        assert!(recorded.last_seq > 0);
        let code = rejected_for(&hand.verdict(trip, attempt).await);
        assert!(expected.contains(&code), "{name}: {code:?}");
    }
    let dated: [(&str, Timestamp); 2] =
        [("future", now().plus(Duration::from_secs(3600))), ("past", now().minus(Duration::from_secs(48 * 3600)))];
    for (name, priced_at) in dated {
        attempt += 1;
        let (mut summary, lines, _) = hand.basket(&goods, trip, attempt, Some(hold), &[(gtin, 2)]);
        summary.priced_at = priced_at;
        hand.submit(&summary, &lines).await.read::<Recorded>();
        assert_eq!(rejected_for(&hand.verdict(trip, attempt).await), ReasonCode::PricedAt, "{name}");
    }
    attempt += 1;
    let (summary, lines, priced) = hand.basket(&goods, trip, attempt, Some(hold), &[(gtin, 2)]);
    hand.submit(&summary, &lines).await.read::<Recorded>();
    let accepted = hand.verdict(trip, attempt).await;
    assert_eq!((accepted.verdict, accepted.total), (Verdict::Accepted, priced.total));

    // The trip is settled: nothing more is accepted, and it cannot be given up.
    let (again, lines, _) = hand.basket(&goods, trip, attempt + 1, Some(hold), &[(gtin, 1)]);
    hand.submit(&again, &lines).await.read::<Recorded>();
    assert_eq!(rejected_for(&hand.verdict(trip, attempt + 1).await), ReasonCode::AlreadyAccepted);
    let cancellation = TripCancellation {
        merchant_id: hand.merchant.clone(),
        sub: hand.sub.clone(),
        device_id: hand.device,
        device_seq: hand.next_seq(),
        trip_id: trip,
        cancelled_at: now(),
    };
    let body = CancellationPut { cancellation: hand.request_key.jws(&cancellation) };
    let answer = hand.put(&format!("/terminal/v1/trips/{trip}/cancellation"), &body).await;
    assert_eq!(answer.problem(), "already_accepted");
    shop.merchant.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_of_others_are_refused_and_leave_nothing() {
    let shop = Shop::open().await;
    let (mut hand, goods, gtin) = shopper(&shop, 1).await;
    let same_user = enrolled(&shop, "bob", 2).await;
    let other_user = enrolled(&shop, "alice", 3).await;
    let trip = new_trip();
    let hold = hand.hold(trip, 5_000).await;
    let (summary, lines, _) = hand.basket(&goods, trip, 1, Some(hold), &[(gtin, 2)]);

    let other_type = hand.hold_request(trip, 5_000);
    let by = |key: &TestKey| key.jws(&summary);
    let honest = by(&hand.consent_key);
    let payload = serde_json::to_vec(&summary).unwrap();
    let honest_header = hand.consent_key.header(BasketSummary::TYP);
    let under_alg = |alg: &str| honest_header.replace("\"ES256\"", &format!("\"{alg}\""));
    let unsigned_jws = format!("{}.{}.", base64url(under_alg("none").as_bytes()), base64url(&payload));
    let signatures = [
        ("no algorithm and no signature", unsigned_jws),
        ("no algorithm", hand.consent_key.raw_jws(&under_alg("none"), &payload)),
        ("the algorithm of another kind of key", hand.consent_key.raw_jws(&under_alg("Ed25519"), &payload)),
        ("a shared secret's algorithm", hand.consent_key.raw_jws(&under_alg("HS256"), &payload)),
        ("another device's key", by(&same_user.consent_key)),
        ("another user's key", by(&other_user.consent_key)),
        ("the request key", by(&hand.request_key)),
        ("an unknown key under this name", forged(&summary, &TestKey::ed25519(0x66), &hand.consent_key)),
        ("a document of another type", hand.consent_key.jws(&other_type)),
    ];
    for (name, jws) in signatures {
        let answer = hand.submit_jws(trip, 1, &jws, &lines).await;
        assert_eq!((answer.status, answer.problem().as_str()), (422, "document_invalid"), "{name}");
    }
    let (input, signature) = honest.rsplit_once('.').unwrap();
    let other = other_form(&from_base64url("signature", signature).unwrap());
    let answer = hand.submit_jws(trip, 1, &format!("{input}.{other}"), &lines).await;
    assert_eq!((answer.status, answer.problem().as_str()), (422, "document_invalid"), "another text of the same");
    let flipped = |part: usize| {
        let jws = by(&hand.consent_key);
        let mut parts: Vec<String> = jws.split('.').map(str::to_owned).collect();
        let middle = parts[part].len() / 2;
        let swapped = if parts[part].as_bytes()[middle] == b'A' { "B" } else { "A" };
        parts[part].replace_range(middle..=middle, swapped);
        parts.join(".")
    };
    for part in 0..3 {
        let answer = hand.submit_jws(trip, 1, &flipped(part), &lines).await;
        assert_eq!((answer.status, answer.problem().as_str()), (422, "document_invalid"), "part {part}");
    }
    type Alteration = (&'static str, fn(&mut BasketSummary));
    let bound: [Alteration; 5] = [
        ("user", |s| s.sub = Sub::parse("somebody-else").unwrap()),
        ("device", |s| s.device_id = DeviceId::new(now(), random())),
        ("merchant", |s| s.merchant_id = walkpay::MerchantId::parse("elsewhere").unwrap()),
        ("trip", |s| s.trip_id = new_trip()),
        ("attempt", |s| s.attempt = 2),
    ];
    for (name, alter) in bound {
        let mut altered = summary.clone();
        alter(&mut altered);
        let answer = hand.submit_jws(trip, 1, &hand.consent_key.jws(&altered), &lines).await;
        assert_eq!((answer.status, answer.problem().as_str()), (422, "document_mismatch"), "{name}");
    }
    // Somebody else hands in the basket of this device.
    for thief in [&same_user, &other_user] {
        let answer = thief.submit_jws(trip, 1, &by(&hand.consent_key), &lines).await;
        assert!(["document_invalid", "document_mismatch"].contains(&answer.problem().as_str()));
    }
    // Nothing of all this was recorded: the honest basket is the first under its identifier.
    let answer = hand.submit(&summary, &lines).await;
    assert_eq!(answer.status, 201);
    assert_eq!(hand.verdict(trip, 1).await.verdict, Verdict::Accepted);
    shop.merchant.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_the_basket_is_not_of_is_refused() {
    let shop = Shop::open().await;
    let (mut hand, goods, gtin) = shopper(&shop, 1).await;
    let trip = new_trip();
    let hold = hand.hold(trip, 5_000).await;
    let (mut summary, lines, _) = hand.basket(&goods, trip, 1, Some(hold), &[(gtin, 2)]);
    summary.store_id = StoreId::parse("elsewhere").unwrap();
    assert_eq!(hand.submit(&summary, &lines).await.problem(), "document_mismatch");
    shop.merchant.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_forged_replayed_or_old_are_refused() {
    let shop = Shop::open().await;
    let (hand, _, _) = shopper(&shop, 1).await;
    let other = enrolled(&shop, "alice", 3).await;
    let target = "/terminal/v1/events?after=0&wait=0";
    let call = hand.signed("GET", target, Vec::new());
    assert_eq!(hand.send(&call).await.problem(), "");
    assert_eq!(hand.send(&call).await.problem(), "nonce_replayed");

    let fresh = || hand.signed("GET", target, Vec::new());
    let altered = |change: &dyn Fn(&mut Call)| {
        let mut call = fresh();
        change(&mut call);
        call
    };
    let header = |name: &'static str, change: &dyn Fn(&str) -> String| {
        altered(&|call: &mut Call| {
            let found = call.headers.iter_mut().find(|(n, _)| n == name).unwrap();
            found.1 = change(&found.1);
        })
    };
    let rows = [
        ("another query", altered(&|c| c.target = target.replace("after=0", "after=1")), "signature_invalid"),
        (
            "another path",
            altered(&|c| c.target = target.replace("terminal/v1/events", "payer/v1/orders")),
            "signature_invalid",
        ),
        ("a body", altered(&|c| c.body = b"{}".to_vec()), "signature_invalid"),
        ("no signature", altered(&|c| c.headers.truncate(2)), "unauthenticated"),
        ("another media type", header("content-type", &|_| "text/plain".into()), "unsupported_media_type"),
        ("another nonce", header("signature-input", &|v| v.replace("nonce=\"", "nonce=\"AAAA")), "signature_invalid"),
        (
            "another merchant",
            header("signature-input", &|v| v.replace("walkpay/demo", "walkpay/x")),
            "signature_invalid",
        ),
        (
            "another device's name",
            header("signature-input", &|v| {
                v.replace(hand.request_key.kid().as_str(), other.request_key.kid().as_str())
            }),
            "signature_invalid",
        ),
    ];
    for (name, call, expected) in rows {
        assert_eq!(hand.send(&call).await.problem(), expected, "{name}");
    }
    let stranger = TestKey::ed25519(0x66);
    let call = hand.signed_by(&stranger, now(), "GET", target, Vec::new());
    assert_eq!(hand.send(&call).await.problem(), "key_unknown");
    let call = hand.signed_by(&hand.consent_key, now(), "GET", target, Vec::new());
    assert_eq!(hand.send(&call).await.problem(), "key_unknown");
    for created in [now().minus(Duration::from_secs(400)), now().plus(Duration::from_secs(400))] {
        let call = hand.signed_by(&hand.request_key, created, "GET", target, Vec::new());
        assert_eq!(hand.send(&call).await.problem(), "signature_stale");
    }
    assert_eq!(hand.send(&fresh()).await.problem(), "");
    shop.merchant.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_document_under_a_known_identifier_or_number_is_noticed() {
    let shop = Shop::open().await;
    let (mut hand, goods, gtin) = shopper(&shop, 1).await;
    let trip = new_trip();
    let hold = hand.hold(trip, 5_000).await;
    let (summary, lines, _) = hand.basket(&goods, trip, 1, Some(hold), &[(gtin, 2)]);
    let jws = hand.consent_key.jws(&summary);
    let first = hand.submit_jws(trip, 1, &jws, &lines).await;
    let repeat = hand.submit_jws(trip, 1, &jws, &lines).await;
    assert_eq!((first.status, repeat.status), (201, 200));
    assert_eq!(first.body, repeat.body, "a repeat has the first answer");
    let (other, other_lines, _) = hand.basket(&goods, trip, 1, Some(hold), &[(gtin, 1)]);
    assert_eq!(hand.submit(&other, &other_lines).await.problem(), "id_conflict");
    assert_eq!(hand.verdict(trip, 1).await.verdict, Verdict::Accepted);

    // The same number for two documents: two copies of a folder.
    let trip = new_trip();
    let mut copied = hand.hold_request(trip, 1_000);
    copied.device_seq = summary.device_seq;
    let body = HoldPut { hold: hand.consent_key.jws(&copied) };
    let answer = hand.put(&format!("/terminal/v1/holds/{}", copied.hold_id), &body).await;
    assert_eq!(answer.problem(), "device_frozen");
    let next = hand.hold_request(trip, 1_000);
    let body = HoldPut { hold: hand.consent_key.jws(&next) };
    assert_eq!(hand.put(&format!("/terminal/v1/holds/{}", next.hold_id), &body).await.problem(), "device_frozen");
    shop.merchant.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enrolment_codes_nonces_and_proofs_work_once_and_for_one_device() {
    let shop = Shop::open().await;
    let code = new_code(&shop, "bob").await;
    let http = client();
    let begin = unsigned("POST", "/terminal/v1/enrolments".into(), Vec::new());
    let start = async || send(&http, &code.url, &begin).await.read::<EnrolmentStart>();
    let (request_key, consent_key) = (TestKey::new(Algorithm::Ed25519, 1), TestKey::new(Algorithm::Es256, 1));
    let keys = (&request_key, &consent_key);
    let device = DeviceId::new(now(), random());
    let problem = async |call: &Call| send(&http, &code.url, call).await.problem();

    // Proofs that do not belong together, or that somebody else made.
    let one = start().await;
    let honest = enrolment(&code, &one, device, keys);
    let request: EnrolmentRequest = serde_json::from_slice(&honest.body).unwrap();
    let with = |change: &dyn Fn(&mut EnrolmentRequest)| {
        let mut request = request.clone();
        change(&mut request);
        Call { body: serde_json::to_vec(&request).unwrap(), ..honest.clone() }
    };
    let (_, proof) = peek::<EnrolmentProof>(&request.request_proof).unwrap();
    let thief = TestKey::ed25519(0x66);
    let swapped = with(&|r| r.consent_proof = r.request_proof.clone());
    let stolen = with(&|r| r.consent_proof = forged(&proof, &thief, &consent_key));
    let mut moved = proof.clone();
    moved.device_id = DeviceId::new(now(), random());
    let two_stories = with(&|r| r.consent_proof = consent_key.jws(&moved));
    let elsewhere = with(&|r| {
        r.request_proof = request_key.jws(&moved);
        r.consent_proof = consent_key.jws(&moved);
    });
    assert_eq!(problem(&swapped).await, "document_invalid");
    assert_eq!(problem(&two_stories).await, "document_mismatch");
    assert_eq!(problem(&stolen).await, "document_invalid");
    assert_eq!(problem(&elsewhere).await, "document_mismatch");
    let guessed = EnrolmentCode::new(code.merchant_id.clone(), "0000000000000000", code.root_kid.as_str(), &code.url);
    assert_eq!(problem(&enrolment(&guessed.unwrap(), &start().await, device, keys)).await, "code_invalid");

    // The honest one, its repeat, and replays of code and nonce for another device.
    let two = start().await;
    let honest = enrolment(&code, &two, device, keys);
    let first = send(&http, &code.url, &honest).await;
    let repeat = send(&http, &code.url, &honest).await;
    let grant = |answer: &crate::hand::Answer| answer.read::<EnrolmentAnswer>().grant;
    assert_eq!(grant(&first), grant(&repeat), "the same request has the same answer");
    let other = DeviceId::new(now(), random());
    let other_keys = (&TestKey::new(Algorithm::Ed25519, 2), &TestKey::new(Algorithm::Es256, 2));
    assert_eq!(problem(&enrolment(&code, &start().await, other, other_keys)).await, "code_invalid");
    let second_code = new_code(&shop, "alice").await;
    assert_eq!(problem(&enrolment(&second_code, &two, other, other_keys)).await, "nonce_invalid");
    shop.merchant.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exit_pass_opens_its_own_gates_once_and_only_when_shown() {
    let shop = Shop::open().await;
    let (mut hand, goods, gtin) = shopper(&shop, 1).await;
    let trip = new_trip();
    let hold = hand.hold(trip, 5_000).await;
    let (summary, lines, _) = hand.basket(&goods, trip, 1, Some(hold), &[(gtin, 2)]);
    hand.submit(&summary, &lines).await.read::<Recorded>();
    let pass_jws = hand.verdict(trip, 1).await.exit_pass.unwrap();
    let (_, pass) = peek::<ExitPass>(&pass_jws).unwrap();
    let keys: KeySetAnswer =
        send(&hand.http, &hand.url, &unsigned("GET", "/terminal/v1/keys".into(), Vec::new())).await.read();
    let (_, keys) = peek::<KeySet>(&keys.key_set).unwrap();

    let group = hand.store.gate_group.clone();
    let merchant = hand.merchant.clone();
    let shown = |key: &TestKey, at: Timestamp| {
        let input = presentation_input(&pass, key.algorithm(), &key.kid(), at).unwrap();
        presentation_text(&pass_jws, &input, &key.sign(input.as_bytes()))
    };
    let check = |text: &str, at: Timestamp| match verify_presentation(text, &keys, &merchant, &group, at) {
        Ok(_) => String::new(),
        Err(WalkpayError::Untrusted { check, .. }) => check,
        Err(other) => panic!("{other}"),
    };
    let at = now();
    assert_eq!(check(&shown(&hand.request_key, at), at), "");
    assert_eq!(check(&shown(&hand.request_key, at), at.plus(Duration::from_secs(70))), "step", "a screenshot");
    assert_eq!(check(&shown(&hand.consent_key, at), at), "kid", "another key");
    assert_eq!(check(&shown(&hand.request_key, pass.exp), pass.exp), "expired");
    let of_another = ExitPass { jti: PassId::new(at, random()), ..pass.clone() };
    let key = &hand.request_key;
    let input = presentation_input(&of_another, key.algorithm(), &key.kid(), at).unwrap();
    let glued = presentation_text(&pass_jws, &input, &key.sign(input.as_bytes()));
    assert_eq!(check(&glued, at), "jti", "a presentation of another pass");
    let elsewhere = GateGroup::parse("elsewhere").unwrap();
    let there = verify_presentation(&shown(key, at), &keys, &merchant, &elsewhere, at).unwrap_err();
    assert!(matches!(there, WalkpayError::Untrusted { check, .. } if check == "gate_group"));

    // Two gates that cannot talk to each other take it in; the merchant tells that one of them was the second.
    let token = match shop.admin(AdminCommand::NewGateKey(group.clone())).await {
        Answer::GateKey(token) => token,
        other => panic!("{other:?}"),
    };
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let (url, root_kid) = (hand.url.clone(), new_code(&shop, "bob").await.root_kid);
    let open = async |folder: usize, token: &str| {
        let url = url.clone();
        let reached = GateMerchant { url, token: token.to_owned(), extra_roots_pem: None, pins: Vec::new() };
        let config = GateConfig {
            merchant_id: merchant.clone(),
            gate_group: group.clone(),
            root_thumbprint: root_kid.clone(),
            merchant: Some(reached),
        };
        Gate::open(folders[folder].path().to_str().unwrap().to_owned(), config).await.unwrap()
    };
    let (east, west) = (open(0, &token).await, open(1, &token).await);
    for gate in [&east, &west] {
        assert_eq!(gate.sync().await.unwrap().sent, 0);
    }
    for gate in [&east, &west] {
        let decision = gate.verify(shown(&hand.request_key, now())).await.unwrap();
        assert!(matches!(decision, GateDecision::Open { .. }), "{decision:?}");
        let decision = gate.verify(shown(&hand.request_key, now())).await.unwrap();
        assert!(matches!(decision, GateDecision::AlreadySpent { .. }), "{decision:?}");
    }
    let (first, second) = (east.sync().await.unwrap(), west.sync().await.unwrap());
    assert_eq!((first.sent, first.spent_twice), (1, 0));
    assert_eq!((second.sent, second.spent_twice), (1, 1));
    let north = open(2, &token).await;
    assert_eq!(north.sync().await.unwrap().learned, 1);
    let decision = north.verify(shown(&hand.request_key, now())).await.unwrap();
    assert!(matches!(decision, GateDecision::AlreadySpent { .. }), "{decision:?}");

    // A second purchase, whose pass the merchant takes back; and a guessed token.
    let trip = new_trip();
    let hold = hand.hold(trip, 5_000).await;
    let (summary, lines, _) = hand.basket(&goods, trip, 1, Some(hold), &[(gtin, 1)]);
    hand.submit(&summary, &lines).await.read::<Recorded>();
    let revoked_jws = hand.verdict(trip, 1).await.exit_pass.unwrap();
    let (_, revoked) = peek::<ExitPass>(&revoked_jws).unwrap();
    shop.admin(AdminCommand::RevokePass(revoked.jti)).await;
    assert_eq!(north.sync().await.unwrap().revoked, 1);
    let input = presentation_input(&revoked, hand.request_key.algorithm(), &hand.request_key.kid(), now()).unwrap();
    let text = presentation_text(&revoked_jws, &input, &hand.request_key.sign(input.as_bytes()));
    assert!(matches!(north.verify(text).await.unwrap(), GateDecision::Revoked { .. }));
    assert_eq!(open(2, "guessed").await.sync().await.unwrap_err().code(), "refused.unauthenticated");
    shop.merchant.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_staff_decision_counts_once_for_the_basket_that_was_looked_at() {
    let shop = Shop::open().await;
    let (mut hand, goods, _) = shopper(&shop, 1).await;
    let adult = goods
        .articles
        .values()
        .find(|a| {
            a.min_age.is_some()
                && a.deposit.is_none()
                && a.sale == SaleKind::Pieces
                && !a.sale_stopped
                && a.price_minor < 4_000
        })
        .unwrap()
        .gtin;
    let trip = new_trip();
    let hold = hand.hold(trip, 5_000).await;
    let (summary, lines, priced) = hand.basket(&goods, trip, 1, Some(hold), &[(adult, 1)]);
    assert!(matches!(priced.lines[0].quantity, Quantity::Pieces { count: 1 }));
    hand.submit(&summary, &lines).await.read::<Recorded>();
    let waiting = hand.verdict(trip, 1).await;
    assert_eq!((waiting.verdict, waiting.reasons[0].code), (Verdict::CheckRequired, ReasonCode::AgeCheck));

    let store_id = hand.store.store_id.clone();
    let new = AdminCommand::NewStaffToken {
        store_id: store_id.clone(),
        staff_id: "s-1".into(),
        hours: 1,
        scopes: StaffScopes::unnamed(),
    };
    let Answer::StaffToken(token) = shop.admin(new).await else { panic!("a staff token") };
    let target = format!("/staff/v1/checks/{trip}/1/decision");
    let decide = async |token: &str, basket: &str, accept: bool| {
        let body = json!({"basket_sha256": basket, "accept": accept}).to_string().into_bytes();
        let mut call = unsigned("PUT", target.clone(), body);
        call.headers.push(("authorization".into(), format!("Bearer {token}")));
        send(&hand.http, &hand.url, &call).await
    };
    let (_, claims) = peek::<StaffToken>(&token).unwrap();
    let fake = TestKey::ed25519(0x66).jws(&claims);
    assert_eq!(decide(&fake, &waiting.basket_sha256, true).await.status, 401);
    assert_eq!(decide(&hand.request_key.jws(&claims), &waiting.basket_sha256, true).await.status, 401);
    let another = digest(b"another basket");
    assert_eq!(decide(&token, &another, true).await.problem(), "precondition_failed");
    assert_eq!(decide(&token, &waiting.basket_sha256, true).await.problem(), "");
    assert_eq!(decide(&token, &waiting.basket_sha256, true).await.problem(), "already_decided");
    assert_eq!(decide(&token, &waiting.basket_sha256, false).await.problem(), "already_decided");
    assert_eq!(hand.verdict(trip, 1).await.verdict, Verdict::Accepted);

    // The decision is of no use for another attempt.
    let (next, lines, _) = hand.basket(&goods, trip, 2, Some(hold), &[(adult, 1)]);
    hand.submit(&next, &lines).await.read::<Recorded>();
    assert_eq!(rejected_for(&hand.verdict(trip, 2).await), ReasonCode::AlreadyAccepted);
    shop.merchant.shutdown().await;
}
