//! What leaves, when, and what comes of the answers.

use super::world::*;
use std::collections::BTreeSet;
use walkpay::protocol::document::*;
use walkpay::protocol::message::EventsPage;
use walkpay::protocol::problem::ProblemCode;
use walkpay::protocol::request::TerminalRequest;
use walkpay::session::*;
use walkpay::*;

fn waiting(world: &mut World) -> (TripId, Due) {
    let trip = world.start();
    world.scan(trip, 1).unwrap();
    world.sign_basket(trip);
    let due = world.item();
    (trip, due)
}

#[test]
fn trouble_is_repeated_with_the_same_bytes_and_is_never_a_refusal() {
    let mut world = World::enrolled();
    let (trip, first) = waiting(&mut world);
    let html = b"<html>please log in</html>".to_vec();
    let not_ours = br#"{"type":"https://proxy.example/denied","title":"no","status":403,"detail":"no"}"#.to_vec();
    let lying = serde_json::to_vec(&ProblemCode::IdConflict.document("x")).unwrap();
    let busy = serde_json::to_vec(&ProblemCode::InProgress.document("x")).unwrap();
    let answers =
        [(200, html.clone()), (302, vec![]), (403, html), (403, not_ours), (404, lying), (409, busy), (502, vec![])];
    let count = answers.len() as u32;
    for (status, body) in answers {
        world.answer(first.id, status, body);
        world.pass_time(6 * 60_000);
        world.restart();
        assert_eq!(world.item().request, first.request);
    }
    for problem in [
        ProblemCode::RateLimited,
        ProblemCode::Unavailable,
        ProblemCode::Timeout,
        ProblemCode::SignatureInvalid,
        ProblemCode::DevicePending,
    ] {
        world.problem(first.id, problem);
        assert_eq!(world.device().outbox()[0].last_reason.as_deref(), Some(problem.code()));
        world.pass_time(6 * 60_000);
    }
    assert_eq!(world.device().outbox()[0].attempts, count + 5);
    assert!(world.trip(trip).attempts[0].refused.is_none() && world.told().is_empty());
}

#[test]
fn a_definite_refusal_becomes_a_fact_of_the_trip_and_an_event() {
    let definite = [
        ProblemCode::IdConflict,
        ProblemCode::DocumentInvalid,
        ProblemCode::DocumentMismatch,
        ProblemCode::AmountLimit,
        ProblemCode::UserNotActive,
        ProblemCode::TooLarge,
        ProblemCode::Malformed,
        ProblemCode::NotFound,
    ];
    for problem in definite {
        let mut world = World::enrolled();
        let (trip, due) = waiting(&mut world);
        world.problem(due.id, problem);
        world.restart();
        assert!(world.device().outbox().is_empty());
        let refusal = world.trip(trip).attempts[0].refused.clone().unwrap();
        assert_eq!((refusal.problem.as_str(), refusal.status), (problem.code(), problem.status()));
        assert!(
            matches!(world.last_told(), HostEventKind::Refused { trip_id: Some(t), document: OutboxKind::Attempt, .. } if t == trip)
        );
        world.sign_basket(trip);
        assert!(matches!(world.item().request, TerminalRequest::PutAttempt { attempt: 2, .. }), "{problem:?}");
        world.fail(due.id);
        assert_eq!(world.device().outbox()[0].attempts, 0, "a late answer to what is over has no effect");
    }
}

#[test]
fn a_trip_cancelled_at_the_merchant_is_closed_here() {
    let mut world = World::enrolled();
    let (trip, due) = waiting(&mut world);
    world.problem(due.id, ProblemCode::TripCancelled);
    assert_eq!(due_call(world.review(trip)), "start_trip (this one is cancelled)");
}

#[test]
fn a_stale_signature_is_made_again_at_once_and_then_with_patience() {
    let mut world = World::enrolled();
    let (_, due) = waiting(&mut world);
    for problem in [ProblemCode::SignatureStale, ProblemCode::NonceReplayed] {
        world.problem(due.id, problem);
        assert_eq!(world.items().len(), 1, "at once");
        world.problem(due.id, problem);
        assert!(world.items().is_empty(), "the same again: not in a circle");
        world.pass_time(10_000);
    }
}

#[test]
fn retry_after_is_honoured_and_wakes_up_in_time() {
    let mut world = World::enrolled();
    let (_, due) = waiting(&mut world);
    let body = serde_json::to_vec(&ProblemCode::RateLimited.document("slowly")).unwrap();
    let outcome = HttpOutcome::Answer { status: 429, retry_after_seconds: Some(90), date: None, body };
    world.outcome(due.id, outcome);
    world.pass_time(89_000);
    assert!(world.items().is_empty());
    let now = world.now();
    let poll = BTreeSet::from([world.poll_id()]);
    assert_eq!(next_wakeup(&world.session, &now, &poll), Some(Timestamp::from_millis(T0 + 90_000)));
    world.pass_time(1_000);
    assert_eq!(world.items().len(), 1);
    assert_eq!(next_wakeup(&world.session, &now, &BTreeSet::from([world.poll_id(), due.id])), None);
}

#[test]
fn forward_now_tries_everything_at_once() {
    let mut world = World::enrolled();
    let (_, due) = waiting(&mut world);
    (0..8).for_each(|_| world.fail(due.id));
    world.fail(world.poll_id());
    assert!(world.due().is_empty());
    world.command(Command::ForwardNow).unwrap();
    assert_eq!(world.due().len(), 2);
    assert_eq!(world.device().outbox()[0].attempts, 8, "the count stays");
}

#[test]
fn what_is_in_flight_is_not_due() {
    let mut world = World::enrolled();
    let (_, item) = waiting(&mut world);
    let now = world.now();
    let flying = BTreeSet::from([item.id, world.poll_id()]);
    assert!(due(&world.session, &now, &flying).is_empty());
}

#[test]
fn a_frozen_or_revoked_device_sends_nothing_and_stays_readable() {
    for (problem, event, status, told) in [
        (ProblemCode::DeviceFrozen, EventBody::DeviceFrozen {}, DeviceStatus::Frozen, "1 device_frozen"),
        (ProblemCode::DeviceRevoked, EventBody::DeviceRevoked {}, DeviceStatus::Revoked, "1 device_revoked"),
    ] {
        let mut world = World::enrolled();
        let (trip, due) = waiting(&mut world);
        world.problem(due.id, problem);
        world.restart();
        // Nobody has signed that.
        assert_eq!((world.device().status, world.told().len()), (DeviceStatus::Active, 0));
        assert_eq!(world.device().outbox()[0].last_reason.as_deref(), Some(problem.code()));
        world.problem(world.poll_id(), problem);
        assert!(world.due().is_empty(), "not at once");
        world.pass_time(6 * 60_000);
        assert_eq!(world.due().len(), 2, "and then poll and basket");
        world.happen(&event);
        world.poll();
        world.restart();
        assert_eq!((world.device().status, world.told()), (status, vec![told.to_owned()]));
        assert!(world.due().is_empty());
        assert_eq!((world.device().outbox().len(), world.trip(trip).attempts.len()), (1, 1));
        let other = world.start();
        assert!(world.prepare_hold(other, 5).unwrap_err().code().starts_with("refused.device_"));
    }
}

#[test]
fn a_pending_device_waits_for_its_confirmation() {
    let mut world = World::empty();
    world.enrol(false);
    world.command(Command::SignIn { user_name: &UserName::parse("alice").unwrap() }).unwrap();
    let (_, due) = waiting(&mut world);
    (0..5).for_each(|_| drop(world.problem(due.id, ProblemCode::DevicePending)));
    assert!(world.items().is_empty());
    world.happen(&EventBody::DeviceConfirmed {});
    world.poll();
    assert_eq!(world.device().status, DeviceStatus::Active);
    assert_eq!(world.items().len(), 1, "tried at once");
}

#[test]
fn every_document_has_a_number_of_its_own() {
    let mut world = World::enrolled();
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let trip = world.start();
        world.hold(trip, 700);
        world.restart();
        world.scan(trip, 1).unwrap();
        world.sign_basket(trip);
        world.cancel(trip);
    }
    world.device().outbox().iter().for_each(|item| assert!(seen.insert(item.id), "{item:?}"));
    assert_eq!(seen.len(), 9);
}

#[test]
fn a_wrong_wall_clock_is_outvoted() {
    let mut world = World::enrolled();
    let (_, due) = waiting(&mut world);
    assert_eq!(due.created, world.merchant_now());
    world.wall += 400 * 86_400_000;
    let truth = Timestamp::from_millis(T0 + AHEAD_MS);
    assert_eq!(world.item().created, truth, "the wall clock was turned, the process lives");
    world.restart();
    let body = serde_json::to_vec(&ProblemCode::SignatureStale.document("too new")).unwrap();
    let date = Some(truth);
    world.outcome(due.id, HttpOutcome::Answer { status: 401, retry_after_seconds: None, date, body });
    assert_eq!(world.item().created, truth, "after a restart: as the merchant's answer says");
}

#[test]
fn a_device_that_slept_unnoticed_and_a_merchant_whose_clock_was_corrected_come_together_again() {
    let stale = |world: &mut World, id: DueId, date: Timestamp| {
        let body = serde_json::to_vec(&ProblemCode::SignatureStale.document("too old")).unwrap();
        let date = Some(date);
        world.outcome(id, HttpOutcome::Answer { status: 401, retry_after_seconds: None, date, body });
    };
    for (slept, merchant) in [(20 * 60_000, 0), (0, 10 * 60_000), (0, -10 * 60_000)] {
        let mut world = World::enrolled();
        let (_, due) = waiting(&mut world);
        // Only the wall clock goes on.
        world.wall += slept;
        let truth = world.merchant_now().shifted(merchant);
        stale(&mut world, due.id, truth);
        assert_eq!(world.item().created, truth);
        let page = EventsPage { events: vec![], clock: sign(&ClockStatement { now: truth, ..world.clock() }, RESULTS) };
        world.ok(world.poll_id(), &page);
        assert_eq!(world.item().created, truth);
    }
    let mut world = World::enrolled();
    let (_, due) = waiting(&mut world);
    let truth = world.item().created;
    stale(&mut world, due.id, truth.shifted(-200_000));
    assert_eq!(world.item().created, truth, "that is not why the signature was stale");
}

#[test]
fn what_is_said_to_be_recorded_is_sent_again_until_something_signed_shows_it() {
    let mut world = World::enrolled();
    let trip = world.start();
    world.hold(trip, 500);
    let hold = world.item();
    world.record();
    world.scan(trip, 1).unwrap();
    world.sign_basket(trip);
    let basket = world.item();
    world.record();
    assert!(world.device().outbox().is_empty() && world.items().is_empty());
    world.restart();
    let now = world.now();
    let poll = BTreeSet::from([world.poll_id()]);
    assert_eq!(next_wakeup(&world.session, &now, &poll), Some(Timestamp::from_millis(T0 + 600_000)));
    world.pass_time(600_000);
    let again: Vec<_> = world.items().into_iter().map(|due| due.request).collect();
    assert_eq!(again, [hold.request.clone(), basket.request.clone()], "the same bytes");
    world.tell_hold(trip, HoldStatus::Accepted);
    assert_eq!(world.item().request, basket.request);
    world.record();
    assert!(world.items().is_empty(), "not at once");
    world.pass_time(600_000);
    world.fail(basket.id);
    world.pass_time(2_000);
    assert_eq!(world.item().request, basket.request);
    world.tell_verdict(trip, Verdict::CheckRequired);
    world.pass_time(3_600_000);
    assert!(world.items().is_empty(), "the merchant has it");
    assert!(world.device().outbox().is_empty());
}

#[test]
fn what_may_have_been_lost_is_not_sent_for_a_visit_that_was_given_up() {
    let mut world = World::enrolled();
    let (trip, _) = waiting(&mut world);
    world.record();
    world.cancel(trip);
    world.pass_time(600_000);
    let cancellation = world.item();
    assert!(matches!(cancellation.request, TerminalRequest::PutCancellation { .. }));
    world.record();
    world.pass_time(600_000);
    assert!(world.items().is_empty());
}
