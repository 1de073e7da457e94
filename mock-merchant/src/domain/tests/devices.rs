//! Enrolment, confirmation, freezing, rotation, revocation (design §5).

use crate::domain::*;
use crate::keys::Signing;
use crate::store::Tx;
use crate::testing::*;
use std::time::Duration;
use walkpay::protocol::document::{EnrolmentGrant, EventBody, KeyRotation, KeyUse, ReasonCode, Verdict};
use walkpay::protocol::message::KeyRotationRequest;
use walkpay::protocol::problem::ProblemCode;

#[test]
fn a_device_is_pending_until_its_user_confirms_it() {
    let mut w = World::new();
    w.top_up(500);
    let code = w.code("alice", false);
    let (mut d, request) = w.enrolment(&code);
    let enrol = Command::Enrol { device_id: d.id, request };
    let Answer::Enrolment(first) = w.run(&Caller::Anonymous, enrol.clone()).unwrap() else { panic!() };
    let Answer::Enrolment(again) = w.run(&Caller::Anonymous, enrol).unwrap() else { panic!() };
    assert_eq!(first, again, "a repeat gets the first answer");
    let grant: EnrolmentGrant = w.document(&first.grant, KeyUse::Results);
    assert!(!grant.active && grant.stores.len() == 1 && grant.bank.is_some());
    d.sub = grant.sub;
    let request = w.hold_request(&mut d, &mut w.trip(), 100);
    assert_eq!(w.put_hold(&d, &request).unwrap_err().code(), ProblemCode::DevicePending);
    assert_eq!(w.colas(&mut d, &mut w.trip(), 1), Some(Verdict::Rejected));
    assert_eq!(last_reasons(&w, &d), [ReasonCode::DeviceNotActive]);
    w.admin(AdminCommand::ConfirmDevice(d.id));
    assert!(w.events(&d).contains(&EventBody::DeviceConfirmed {}));
    assert_eq!(w.colas(&mut d, &mut w.trip(), 1), Some(Verdict::Accepted));
}

#[test]
fn codes_work_once_for_15_minutes_and_a_few_tries() {
    let mut w = World::new();
    let enrol = |w: &World, code: &str| {
        let (d, request) = w.enrolment(code);
        w.run(&Caller::Anonymous, Command::Enrol { device_id: d.id, request })
    };
    let code = w.code("alice", true);
    assert!(enrol(&w, &code).is_ok());
    assert_eq!(enrol(&w, &code).unwrap_err().code(), ProblemCode::CodeInvalid, "used");
    assert_eq!(enrol(&w, "WRONG").unwrap_err().code(), ProblemCode::CodeInvalid);
    let code = w.code("alice", true);
    w.pass(Duration::from_secs(15 * 60));
    assert_eq!(enrol(&w, &code).unwrap_err().code(), ProblemCode::CodeInvalid, "over");
    let code = w.code("alice", true);
    for _ in 0..5 {
        let (d, mut request) = w.enrolment(&code);
        request.consent_proof = request.request_proof.clone();
        let failure = w.run(&Caller::Anonymous, Command::Enrol { device_id: d.id, request }).unwrap_err();
        assert_eq!(failure.code(), ProblemCode::DocumentInvalid);
    }
    assert_eq!(enrol(&w, &code).unwrap_err().code(), ProblemCode::CodeInvalid, "tried too often");
}

#[test]
fn nonces_and_keys_are_used_once() {
    let mut w = World::new();
    let code = w.code("alice", true);
    let (d, request) = w.enrolment(&code);
    w.pass(Duration::from_secs(5 * 60));
    let late = Command::Enrol { device_id: d.id, request };
    assert_eq!(w.refused(&Caller::Anonymous, late), ProblemCode::NonceInvalid);
    let (d, request) = w.enrolment(&code);
    let other = walkpay::DeviceId::new(w.now, [1; 10]);
    let elsewhere = Command::Enrol { device_id: other, request: request.clone() };
    assert_eq!(w.refused(&Caller::Anonymous, elsewhere), ProblemCode::DocumentMismatch);
    w.run(&Caller::Anonymous, Command::Enrol { device_id: d.id, request: request.clone() }).unwrap();
    let changed = walkpay::protocol::message::EnrolmentRequest { device_label: "x".into(), ..request };
    let again = Command::Enrol { device_id: d.id, request: changed };
    assert_eq!(w.refused(&Caller::Anonymous, again), ProblemCode::IdConflict);
}

#[test]
fn two_documents_under_one_number_freeze_the_device() {
    let mut w = World::new();
    w.top_up(500);
    let mut d = w.device();
    let mut copy = d.clone();
    let (mut trip, mut other) = (w.trip(), w.trip());
    assert_eq!(w.colas(&mut d, &mut trip, 1), Some(Verdict::Accepted));
    let (basket, lines) = w.basket(&mut copy, &mut other, &[(COLA, 1)]);
    assert_eq!(w.put_basket(&copy, &basket, &lines).unwrap_err().code(), ProblemCode::DeviceFrozen);
    assert!(w.events(&d).contains(&EventBody::DeviceFrozen {}));
    assert_eq!(w.colas(&mut d, &mut w.trip(), 1), Some(Verdict::Rejected));
    let request = w.hold_request(&mut d, &mut w.trip(), 100);
    assert_eq!(w.put_hold(&d, &request).unwrap_err().code(), ProblemCode::DeviceFrozen);
    let confirm = Command::Admin(AdminCommand::ConfirmDevice(d.id));
    assert_eq!(w.refused(&Caller::Operator, confirm), ProblemCode::DeviceFrozen);
    w.work();
    assert_eq!(w.stored_value(&d), 400, "what was accepted before is debited");
}

#[test]
fn repeats_and_reordering_do_not_freeze() {
    let mut w = World::new();
    w.top_up(500);
    let mut d = w.device();
    let (mut one, mut two) = (w.trip(), w.trip());
    let (first, first_lines) = w.basket(&mut d, &mut one, &[(COLA, 1)]);
    let (second, second_lines) = w.basket(&mut d, &mut two, &[(COLA, 2)]);
    for _ in 0..2 {
        w.put_basket(&d, &second, &second_lines).unwrap();
        w.put_basket(&d, &first, &first_lines).unwrap();
    }
    assert_eq!(w.validations(&d).iter().filter(|v| v.verdict == Verdict::Accepted).count(), 2);
}

fn rotation(w: &World, d: &mut Device) -> (Device, KeyRotationRequest) {
    let random = w.ctx().random;
    let new = Device {
        request: Signing::new(&random.bytes()).unwrap(),
        consent: Signing::new(&random.bytes()).unwrap(),
        ..d.clone()
    };
    let document = KeyRotation {
        merchant_id: walkpay::MerchantId::parse("m").unwrap(),
        sub: d.sub.clone(),
        device_id: d.id,
        device_seq: d.next(),
        request_key: new.request.public().clone(),
        consent_key: new.consent.public().clone(),
    };
    let request = KeyRotationRequest {
        rotation: d.consent.jws(&document).unwrap(),
        request_proof: new.request.jws(&document).unwrap(),
        consent_proof: new.consent.jws(&document).unwrap(),
    };
    (Device { seq: d.seq, ..new }, request)
}

#[test]
fn rotated_keys_sign_from_then_on_and_old_ones_only_what_was_numbered_before() {
    let mut w = World::new();
    w.top_up(500);
    let mut d = w.device();
    let (mut before, mut after) = (w.trip(), w.trip());
    let (waiting, lines) = w.basket(&mut d, &mut before, &[(COLA, 1)]);
    let (mut new, request) = rotation(&w, &mut d);
    let rotate = Command::RotateKeys { device_id: d.id, request };
    w.run(&d.caller(), rotate.clone()).unwrap();
    let Answer::Recorded { repeat: true, .. } = w.run(&d.caller(), rotate).unwrap() else { panic!("no repeat") };
    assert!(w.events(&d).iter().any(|e| matches!(e, EventBody::KeysRotated { .. })));
    w.put_basket(&d, &waiting, &lines).unwrap();
    assert_eq!(w.verdict(&d, &before), Some(Verdict::Accepted), "it waited in the outbox");
    let (late, lines) = w.basket(&mut d, &mut after, &[(COLA, 1)]);
    assert_eq!(w.put_basket(&d, &late, &lines).unwrap_err().code(), ProblemCode::DocumentInvalid);
    assert_eq!(w.colas(&mut new, &mut w.trip(), 1), Some(Verdict::Accepted));
}

#[test]
fn a_hold_that_another_key_asked_for_covers_nothing() {
    let mut w = World::new();
    let mut d = w.device();
    let (mut trip, mut before) = (w.trip(), w.trip());
    w.hold(&mut d, &mut trip, 500);
    w.hold(&mut d, &mut before, 200);
    w.work();
    let (waiting, lines) = w.basket(&mut d, &mut before, &[(COLA, 2)]);
    let (mut new, request) = rotation(&w, &mut d);
    w.run(&d.caller(), Command::RotateKeys { device_id: d.id, request }).unwrap();
    assert_eq!(w.colas(&mut new, &mut trip, 5), Some(Verdict::InsufficientCover), "the bank knows the old key only");
    assert_eq!(w.validations(&new).pop().unwrap().shortfall, Some(eur(500)));
    w.hold(&mut new, &mut trip, 501);
    w.work();
    assert_eq!(w.colas(&mut new, &mut trip, 5), Some(Verdict::Accepted), "the bank has taken the new one");
    w.put_basket(&d, &waiting, &lines).unwrap();
    assert_eq!(w.verdict(&d, &before), Some(Verdict::Accepted), "signed before, like its hold");
    w.work();
    assert_eq!((w.bank.taken(trip.id), w.bank.taken(before.id)), (500, 200));
    w.check_quiet();
}

#[test]
fn a_request_key_that_was_replaced_neither_sees_nor_locks_orders() {
    let mut w = World::new();
    let mut d = w.device();
    let order = w.service_order(eur(1_000));
    let (new, request) = rotation(&w, &mut d);
    w.run(&d.caller(), Command::RotateKeys { device_id: d.id, request }).unwrap();
    let read = |d: &Device| w.read(&d.caller(), Query::Payer(PayerQuery::Order(order))).map_err(|e| e.code());
    let ask = |d: &Device| {
        let question = |tx: &Tx<'_>| Question::new(tx, &d.caller(), &Filters::default(), None);
        Tx::read(&w.conn, question).map(drop).map_err(|e| e.code())
    };
    assert_eq!((read(&d).map(drop), ask(&d)), (Err(ProblemCode::KeyUnknown), Err(ProblemCode::KeyUnknown)));
    assert_eq!(w.try_slip(&d, &[order]).unwrap_err().code(), ProblemCode::KeyUnknown);
    assert_eq!((read(&new).map(drop), ask(&new)), (Ok(()), Ok(())));
    assert!(w.try_slip(&new, &[order]).is_ok());
}

#[test]
fn a_rotation_needs_the_consent_key_and_proofs_by_the_new_ones() {
    let mut w = World::new();
    let mut d = w.device();
    let (_, good) = rotation(&w, &mut d);
    let (_, other) = rotation(&w, &mut d);
    let rotate = |request| Command::RotateKeys { device_id: d.id, request };
    let stolen = KeyRotationRequest { rotation: good.request_proof.clone(), ..good.clone() };
    assert_eq!(w.refused(&d.caller(), rotate(stolen)), ProblemCode::DocumentInvalid);
    let unproven = KeyRotationRequest { consent_proof: good.request_proof.clone(), ..good.clone() };
    assert_eq!(w.refused(&d.caller(), rotate(unproven)), ProblemCode::DocumentInvalid);
    let mixed = KeyRotationRequest { consent_proof: other.consent_proof, ..good };
    assert_eq!(w.refused(&d.caller(), rotate(mixed)), ProblemCode::DocumentMismatch);
}

#[test]
fn revoked_devices_and_blocked_users_cannot_shop() {
    let mut w = World::new();
    w.top_up(500);
    let mut d = w.device();
    w.admin(AdminCommand::SetUserBlocked { user_name: name("alice"), blocked: true });
    assert_eq!(w.colas(&mut d, &mut w.trip(), 1), Some(Verdict::Rejected));
    assert_eq!(last_reasons(&w, &d), [ReasonCode::UserNotActive]);
    w.admin(AdminCommand::SetUserBlocked { user_name: name("alice"), blocked: false });
    w.admin(AdminCommand::RevokeDevice(d.id));
    assert!(w.events(&d).contains(&EventBody::DeviceRevoked {}));
    let count = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        w.conn.query_row(&sql, [], |r| r.get::<_, i64>(0)).unwrap()
    };
    let tables = ["device_documents", "trips", "attempts", "attempt_lines", "events"];
    let before = tables.map(count);
    let (basket, lines) = w.basket(&mut d, &mut w.trip(), &[(COLA, 1)]);
    assert_eq!(w.put_basket(&d, &basket, &lines).unwrap_err().code(), ProblemCode::DeviceRevoked);
    assert_eq!(tables.map(count), before, "nothing of it is recorded");
    let request = w.hold_request(&mut d, &mut w.trip(), 100);
    assert_eq!(w.put_hold(&d, &request).unwrap_err().code(), ProblemCode::DeviceRevoked);
}
