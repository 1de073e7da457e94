//! A device comes to be in steps; a fake merchant never sees the code.

use super::world::*;
use walkpay::protocol::document::*;
use walkpay::protocol::message::*;
use walkpay::protocol::problem::ProblemCode;
use walkpay::protocol::request::TerminalRequest;
use walkpay::session::*;
use walkpay::*;

#[test]
fn an_enrolment_survives_a_crash_in_every_step() {
    let mut world = World::empty();
    world.command(Command::BeginEnrolment { text: &code_text(), label: "A phone" }).unwrap();
    world.restart();
    let due = world.due();
    assert_eq!(
        (due.len(), &due[0].request, due[0].url.as_str()),
        (1, &TerminalRequest::StartEnrolment, "http://127.0.0.1:9")
    );
    let start = world.start_answer();
    world.ok(DueId::StartEnrolment, &start);
    world.restart();
    assert!(world.due().is_empty(), "nothing leaves before the proofs are signed");
    let keys = Command::PrepareEnrolment { request_key: key(REQUEST).1, consent_key: key(CONSENT).1 };
    let Reply::ToSign(inputs) = world.command(keys).unwrap() else { panic!() };
    world.restart();
    let (a, b) = (signature(&inputs[0].input, REQUEST), signature(&inputs[1].input, CONSENT));
    let wrong = world.command(Command::SubmitEnrolment { request_signature: &b, consent_signature: &a });
    assert_eq!(wrong.unwrap_err().code(), "key");
    world.command(Command::SubmitEnrolment { request_signature: &a, consent_signature: &b }).unwrap();
    world.fail(DueId::Enrol);
    assert!(world.due().is_empty(), "waits before it tries again");
    world.pass_time(2_000);
    world.restart();
    let due = world.due().remove(0);
    let TerminalRequest::Enrol { device_id, body } = &due.request else { panic!("{due:?}") };
    let proof: EnrolmentProof = read(&body.request_proof);
    assert_eq!((proof.device_id, proof.nonce.as_str(), body.code.as_str()), (*device_id, "server-nonce", CODE));
    let grant = sign(&world.grant(*device_id, false), RESULTS);
    world.ok(due.id, &EnrolmentAnswer { grant });
    world.restart();
    assert_eq!(world.device().status, DeviceStatus::Pending);
    assert!(world.session.enrolment().is_none());
    assert!(matches!(world.session.current(), Err(WalkpayError::NotSignedIn)));
}

#[test]
fn a_fake_merchant_does_not_get_the_code() {
    let good = World::empty().start_answer();
    let other_root =
        EnrolmentStart { root_key: key(99).1.to_jwk(), key_set: sign(&keys_in_force(), 99), ..good.clone() };
    let other_signer = EnrolmentStart { key_set: sign(&keys_in_force(), 99), ..good.clone() };
    let other_set = KeySet { merchant_id: MerchantId::parse("other").unwrap(), ..keys_in_force() };
    let other_merchant = EnrolmentStart { key_set: sign(&other_set, ROOT), ..good.clone() };
    let named = EnrolmentStart { merchant_id: MerchantId::parse("other").unwrap(), ..good };
    for answer in [other_root, other_signer, other_merchant, named] {
        let mut world = World::empty();
        world.command(Command::BeginEnrolment { text: &code_text(), label: "A phone" }).unwrap();
        let reply = world.ok(DueId::StartEnrolment, &answer);
        assert!(matches!(reply, Reply::EnrolmentFailed(WalkpayError::Untrusted { .. })), "{reply:?}");
        assert!(world.session.enrolment().is_none() && world.due().is_empty());
    }
}

#[test]
fn a_grant_must_be_signed_and_bound() {
    let changes: [fn(&mut EnrolmentGrant); 4] = [
        |g| g.nonce = "other".into(),
        |g| g.merchant_id = MerchantId::parse("other").unwrap(),
        |g| g.device_id = DeviceId::new(Timestamp::from_millis(T0), [0; 10]),
        |g| g.stores.clear(),
    ];
    for (signer, change) in changes.into_iter().map(|c| (RESULTS, c)).chain([
        (RETIRED, (|_| {}) as fn(&mut _)),
        (PASS, |_| {}),
        (99, |_| {}),
    ]) {
        let mut world = World::empty();
        world.enrol_to_sending();
        let device_id = world.session.enrolment().unwrap().device_id().unwrap();
        let mut grant = world.grant(device_id, true);
        change(&mut grant);
        let reply = world.ok(DueId::Enrol, &EnrolmentAnswer { grant: sign(&grant, signer) });
        assert!(matches!(reply, Reply::EnrolmentFailed(WalkpayError::Untrusted { .. })), "{reply:?}");
        assert_eq!(world.session.devices().count(), 0);
    }
}

#[test]
fn a_refused_code_ends_the_enrolment_and_trouble_does_not() {
    let mut world = World::empty();
    world.enrol_to_sending();
    world.problem(DueId::Enrol, ProblemCode::Unavailable);
    world.answer(DueId::Enrol, 403, b"<html>log in to this network</html>".to_vec());
    assert!(world.session.enrolment().is_some());
    let reply = world.problem(DueId::Enrol, ProblemCode::CodeInvalid);
    assert!(
        matches!(reply, Reply::EnrolmentFailed(WalkpayError::Refused { ref problem, .. }) if problem == "code_invalid")
    );
    assert!(world.session.enrolment().is_none());
}

#[test]
fn the_same_code_again_goes_on_and_another_waits() {
    let mut world = World::empty();
    world.enrol_to_sending();
    let before = world.session.clone();
    world.command(Command::BeginEnrolment { text: &code_text(), label: "A phone" }).unwrap();
    assert_eq!(world.session, before);
    let other = code_text().replace(CODE, "FEDCBA9876543210");
    due_call(world.command(Command::BeginEnrolment { text: &other, label: "A phone" }));
    world.command(Command::AbandonEnrolment).unwrap();
    world.command(Command::BeginEnrolment { text: &other, label: "A phone" }).unwrap();
}

#[test]
fn signing_in_needs_a_device_and_signing_out_hides_but_still_sends() {
    let mut world = World::enrolled();
    let trip = world.start();
    world.scan(trip, 1).unwrap();
    world.sign_basket(trip);
    let bob = UserName::parse("bob").unwrap();
    assert_eq!(world.command(Command::SignIn { user_name: &bob }).unwrap_err().code(), "unknown");
    world.command(Command::SignOut).unwrap();
    assert!(matches!(world.scan(trip, 1), Err(WalkpayError::NotSignedIn)));
    assert!(matches!(world.item().request, TerminalRequest::PutAttempt { .. }));
    world.record();
}

#[test]
fn keys_rotate_and_a_lost_answer_does_not_lock_the_device_out() {
    let mut world = World::enrolled();
    let rotate = Command::PrepareRotation { request_key: key(20).1, consent_key: key(21).1 };
    let Reply::ToSign(inputs) = world.command(rotate).unwrap() else { panic!() };
    assert_eq!(
        inputs.iter().map(|i| i.role).collect::<Vec<_>>(),
        [KeyRole::Consent, KeyRole::NewRequest, KeyRole::NewConsent]
    );
    let signatures: Vec<_> = inputs.iter().zip([CONSENT, 20, 21]).map(|(i, seed)| signature(&i.input, seed)).collect();
    let wrong = [&signatures[1][..], &signatures[0], &signatures[2]];
    assert_eq!(world.command(Command::SubmitRotation { signatures: wrong }).unwrap_err().code(), "key");
    let right = [&signatures[0][..], &signatures[1], &signatures[2]];
    world.command(Command::SubmitRotation { signatures: right }).unwrap();
    let trip = world.start();
    world.scan(trip, 1).unwrap();
    world.review(trip).unwrap();
    assert_eq!(due_call(world.prepare(trip)), "next_event (the result of the rotation of keys)");
    let first = world.item();
    assert_eq!(first.sign_with, Some(key(REQUEST).1.key_id()));
    // The merchant took it in, the answer was lost: the old key is unknown there now.
    world.fail(first.id);
    world.problem(world.poll_id(), ProblemCode::KeyUnknown);
    world.pass_time(2_000);
    world.problem(first.id, ProblemCode::KeyUnknown);
    world.restart();
    let again = world.item();
    assert_eq!((again.sign_with, &again.request), (Some(key(20).1.key_id()), &first.request));
    world.record();
    world.restart();
    assert_eq!((&world.device().request_key, &world.device().consent_key), (&key(20).1, &key(21).1));
    assert_eq!(world.device().former_request_key, Some(key(REQUEST).1));
    assert!(world.device().rotation.is_none());
    assert!(world.due().iter().any(|d| d.id == world.poll_id()), "polls go on at once");
    world.happen(&EventBody::KeysRotated { request_kid: key(20).1.key_id(), consent_kid: key(21).1.key_id() });
    world.poll();
    let to_sign = world.prepare(trip).unwrap();
    assert_eq!(to_sign.kid, key(21).1.key_id());
    world.submit(trip, OutboxKind::Attempt, &to_sign.input, 21).unwrap();
}

#[test]
fn a_refused_rotation_leaves_the_old_keys() {
    let mut world = World::enrolled();
    let rotate = Command::PrepareRotation { request_key: key(20).1, consent_key: key(21).1 };
    let Reply::ToSign(inputs) = world.command(rotate).unwrap() else { panic!() };
    let by: Vec<_> = inputs.iter().zip([CONSENT, 20, 21]).map(|(i, seed)| signature(&i.input, seed)).collect();
    world.command(Command::SubmitRotation { signatures: [&by[0], &by[1], &by[2]] }).unwrap();
    let id = world.item().id;
    world.problem(id, ProblemCode::IdConflict);
    assert_eq!((&world.device().request_key, &world.device().consent_key), (&key(REQUEST).1, &key(CONSENT).1));
    assert!(matches!(world.last_told(), HostEventKind::Refused { document: OutboxKind::Rotation, trip_id: None, .. }));
    let trip = world.start();
    world.scan(trip, 1).unwrap();
    world.sign_basket(trip);
}

#[test]
fn a_folder_has_one_merchant() {
    let mut world = World::enrolled();
    let root = key(ROOT).1.key_id();
    for text in
        [code_text().replace(":demo:", ":other:"), code_text().replace(root.as_str(), key(99).1.key_id().as_str())]
    {
        let error = world.command(Command::BeginEnrolment { text: &text, label: "A phone" }).unwrap_err();
        assert!(matches!(&error, WalkpayError::InvalidInput { field, .. } if field == "code"), "{error}");
        assert!(error.explain().contains("one merchant"), "{}", error.explain());
        assert!(world.session.enrolment().is_none());
    }
    world.command(Command::BeginEnrolment { text: &code_text(), label: "A phone" }).unwrap();
}

/// The inputs of a rotation to the keys of two seeds.
fn prepare_rotation(world: &mut World, request: u8, consent: u8) -> Vec<ToSign> {
    let rotate = Command::PrepareRotation { request_key: key(request).1, consent_key: key(consent).1 };
    match world.command(rotate).unwrap() {
        Reply::ToSign(inputs) => inputs,
        other => panic!("{other:?}"),
    }
}

fn submit_rotation(world: &mut World, inputs: &[ToSign], seeds: [u8; 3]) -> Result<Reply, WalkpayError> {
    let by: Vec<_> = inputs.iter().zip(seeds).map(|(i, seed)| signature(&i.input, seed)).collect();
    world.command(Command::SubmitRotation { signatures: [&by[0], &by[1], &by[2]] })
}

#[test]
fn what_is_numbered_above_a_rotation_is_not_signed_with_the_old_keys() {
    let mut world = World::enrolled();
    let trip = world.start();
    let inputs = prepare_rotation(&mut world, 20, 21);
    let hold = world.prepare_hold(trip, 500).unwrap();
    submit_rotation(&mut world, &inputs, [CONSENT, 20, 21]).unwrap();
    let late = world.submit(trip, OutboxKind::Hold, &hold.input, CONSENT);
    assert_eq!(due_call(late), "next_event (the result of the rotation of keys)");
    // The other way round: the rotation would be numbered below what the old keys have signed.
    let mut world = World::enrolled();
    let trip = world.start();
    let inputs = prepare_rotation(&mut world, 20, 21);
    world.hold(trip, 500);
    assert_eq!(due_call(submit_rotation(&mut world, &inputs, [CONSENT, 20, 21])), "rotate_keys");
    let inputs = prepare_rotation(&mut world, 20, 21);
    submit_rotation(&mut world, &inputs, [CONSENT, 20, 21]).unwrap();
}

#[test]
fn keys_that_passes_are_bound_to_outlive_two_rotations() {
    let mut world = World::enrolled();
    let mut old = (CONSENT, vec![REQUEST]);
    for (minutes, request) in [(0, 20), (5, 22), (5, 24), (90, 26), (90, 28)] {
        world.pass_time(minutes * 60_000);
        let inputs = prepare_rotation(&mut world, request, request + 1);
        submit_rotation(&mut world, &inputs, [old.0, request, request + 1]).unwrap();
        world.record();
        world.restart();
        let kept: Vec<_> = world.device().former_request_keys().cloned().collect();
        let expected: Vec<_> = old.1.iter().rev().map(|seed| key(*seed).1).collect();
        if minutes < 90 {
            assert!(expected.iter().all(|k| kept.contains(k)), "within half an hour all of them");
        }
        assert_eq!(kept[0], expected[0]);
        assert!(kept.len() <= 4);
        old.0 = request + 1;
        old.1.push(request);
    }
    assert_eq!(world.device().former_request_keys().count(), 2, "the last one, and the one before");
}
