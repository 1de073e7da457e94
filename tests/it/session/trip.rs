//! One visit from the estimate to the debit, and every wrong turn.

use super::world::*;
use walkpay::basket::{LineId, Quantity};
use walkpay::protocol::crypto::digest;
use walkpay::protocol::document::*;
use walkpay::protocol::problem::ProblemCode;
use walkpay::protocol::request::TerminalRequest;
use walkpay::session::*;
use walkpay::*;

#[test]
fn from_the_estimate_to_the_debit_with_a_restart_after_every_step() {
    let mut world = World::enrolled();
    let trip = world.start();
    world.hold(trip, 5_000);
    world.restart();
    let TerminalRequest::PutHold { hold_id, body } = world.item().request else { panic!() };
    let hold: HoldRequest = read(&body.hold);
    assert_eq!((hold.hold_id, hold.number, hold.amount, hold.device_seq), (hold_id, 1, eur(5_000), 1));
    assert_eq!(hold.requested_at, world.merchant_now(), "by merchant time, not by the device's");
    world.record();
    world.tell_hold(trip, HoldStatus::Accepted);
    let facts = &world.trip(trip).holds[0];
    assert!(facts.accepted.is_some() && facts.placed.is_none(), "accepted and placed are different facts (A10, A26)");
    world.scan(trip, 1).unwrap();
    world.restart();
    world.scan(trip, 2).unwrap();
    world.scan(trip, 1).unwrap();
    world.tell_hold(trip, HoldStatus::Placed);
    let review = world.review(trip).unwrap();
    assert_eq!((review.frozen.total, review.frozen.item_count), (eur(400), 3));
    world.restart();
    let to_sign = world.prepare(trip).unwrap();
    world.restart();
    world.submit(trip, OutboxKind::Attempt, &to_sign.input, CONSENT).unwrap();
    world.restart();
    let TerminalRequest::PutAttempt { attempt: 1, body, .. } = world.item().request else { panic!() };
    let summary: BasketSummary = read(&body.basket);
    assert_eq!(
        (summary.total, summary.hold_id, summary.device_seq, summary.catalogue_revision),
        (eur(400), Some(hold_id), 2, 7)
    );
    let lines = walkpay::protocol::crypto::from_base64url("lines", &body.lines).unwrap();
    assert_eq!(summary.lines_sha256, digest(&lines));
    let facts = &world.trip(trip).attempts[0];
    assert!(facts.submitted.is_none() && facts.validation.is_none());
    world.record();
    world.tell_verdict(trip, Verdict::Accepted);
    world.restart();
    let state = world.device().trip_state(trip).unwrap();
    assert!(state.exit_pass.is_some() && state.debit.is_none(), "the shopper may leave, the debit follows (A11)");
    assert!(state.attempts[0].submitted.is_some());
    let debit = sign(&world.debit(trip, DebitStatus::Debited), RESULTS);
    world.happen(&EventBody::Debit { document: debit });
    world.poll();
    world.restart();
    assert_eq!(world.trip(trip).debit.as_ref().unwrap().due, eur(0));
    assert_eq!(world.told(), ["1 hold", "2 hold", "3 validation", "4 debit"]);
}

#[test]
fn calls_out_of_order_name_the_call_that_is_due() {
    let mut world = World::enrolled();
    let trip = world.start();
    assert_eq!(due_call(world.review(trip)), "scan");
    assert_eq!(due_call(world.prepare(trip)), "scan");
    assert_eq!(due_call(world.submit(trip, OutboxKind::Hold, "x", CONSENT)), "request_hold");
    world.scan(trip, 1).unwrap();
    assert_eq!(due_call(world.prepare(trip)), "review");
    assert_eq!(due_call(world.submit(trip, OutboxKind::Attempt, "x", CONSENT)), "review");
    world.review(trip).unwrap();
    assert_eq!(due_call(world.submit(trip, OutboxKind::Attempt, "x", CONSENT)), "prepare_signature");
    let to_sign = world.prepare(trip).unwrap();
    assert_eq!(world.device().trip_state(trip).unwrap().due, "submit_signature");
    world.submit(trip, OutboxKind::Attempt, &to_sign.input, CONSENT).unwrap();
    for _ in 0..2 {
        assert_eq!(due_call(world.scan(trip, 1)), "next_event (the verdict on attempt 1)");
        assert_eq!(due_call(world.review(trip)), "next_event (the verdict on attempt 1)");
        assert_eq!(due_call(world.prepare(trip)), "next_event (the verdict on attempt 1)");
        world.restart();
    }
    world.record();
    world.tell_verdict(trip, Verdict::Accepted);
    assert_eq!(due_call(world.scan(trip, 1)), "start_trip (this one is accepted)");
    assert_eq!(due_call(world.prepare_hold(trip, 100)), "start_trip (this one is accepted)");
    assert_eq!(due_call(world.command(Command::PrepareCancel { trip_id: trip })), "start_trip (this one is accepted)");
    let unknown = TripId::new(Timestamp::from_millis(T0), [0; 10]);
    assert_eq!(world.scan(unknown, 1).unwrap_err().code(), "unknown");
}

#[test]
fn what_was_reviewed_is_what_is_signed_and_a_change_needs_another_review() {
    let mut world = World::enrolled();
    let trip = world.start();
    world.scan(trip, 3).unwrap();
    let frozen = world.review(trip).unwrap().frozen;
    let first = world.prepare(trip).unwrap();
    assert_eq!(world.prepare(trip).unwrap(), first, "asking again gives the same bytes");
    assert_eq!(world.trip(trip).review.as_ref(), Some(&frozen));
    world
        .command(Command::SetQuantity { trip_id: trip, line: LineId(1), quantity: Quantity::Pieces { count: 2 } })
        .unwrap();
    assert_eq!(due_call(world.submit(trip, OutboxKind::Attempt, &first.input, CONSENT)), "review");
    world.review(trip).unwrap();
    let second = world.prepare(trip).unwrap();
    assert_ne!(first.input, second.input);
    assert_eq!(world.submit(trip, OutboxKind::Attempt, &first.input, CONSENT).unwrap_err().code(), "key");
    world.submit(trip, OutboxKind::Attempt, &second.input, CONSENT).unwrap();
    let TerminalRequest::PutAttempt { body, .. } = world.item().request else { panic!() };
    let summary: BasketSummary = read(&body.basket);
    assert_eq!((summary.device_seq, summary.attempt, summary.total), (2, 1, eur(600)), "a number is never used twice");
}

#[test]
fn only_the_consent_key_consents() {
    let mut world = World::enrolled();
    let trip = world.start();
    world.scan(trip, 1).unwrap();
    world.review(trip).unwrap();
    let to_sign = world.prepare(trip).unwrap();
    let journalled = world.journal.len();
    for seed in [REQUEST, RESULTS, 99] {
        assert_eq!(world.submit(trip, OutboxKind::Attempt, &to_sign.input, seed).unwrap_err().code(), "key");
    }
    let mut flipped = signature(&to_sign.input, CONSENT);
    flipped[10] ^= 1;
    let submit = Command::Submit { trip_id: trip, kind: OutboxKind::Attempt, signature: &flipped };
    assert_eq!(world.command(submit).unwrap_err().code(), "key");
    assert_eq!(world.journal.len(), journalled, "nothing of it is journalled");
    world.submit(trip, OutboxKind::Attempt, &to_sign.input, CONSENT).unwrap();
}

#[test]
fn insufficient_cover_is_mended_by_a_raised_hold_and_the_next_attempt() {
    let mut world = World::enrolled();
    let trip = world.start();
    world.hold(trip, 100);
    world.record();
    assert_eq!(due_call(world.prepare_hold(trip, 200)), "next_event (whether the hold is placed)");
    world.tell_hold(trip, HoldStatus::Placed);
    world.scan(trip, 6).unwrap();
    world.sign_basket(trip);
    world.record();
    world.tell_verdict(trip, Verdict::InsufficientCover);
    assert_eq!(world.trip(trip).attempts[0].validation.as_ref().unwrap().shortfall, Some(eur(500)));
    assert_eq!(world.prepare_hold(trip, 100).unwrap_err().code(), "invalid_input", "not more than what is there");
    let placed = world.trip(trip).holds[0].hold_id;
    world.hold(trip, 600);
    world.sign_basket(trip);
    let TerminalRequest::PutHold { body, .. } = world.item().request else { panic!("the hold before the attempt") };
    let raise: HoldRequest = read(&body.hold);
    assert_eq!((raise.number, raise.replaces, raise.amount), (2, Some(placed), eur(600)));
    world.record();
    let TerminalRequest::PutAttempt { attempt: 2, body, .. } = world.item().request else { panic!() };
    assert_eq!(read::<BasketSummary>(&body.basket).hold_id, Some(raise.hold_id));
    world.record();
    world.tell_verdict(trip, Verdict::Accepted);
    assert_eq!(world.trip(trip).accepted().unwrap().attempt, 2);
}

#[test]
fn a_rejected_basket_is_reviewed_and_signed_again() {
    let mut world = World::enrolled();
    let trip = world.judged(Verdict::Rejected);
    assert_eq!(due_call(world.prepare(trip)), "review");
    world.scan(trip, 2).unwrap();
    world.sign_basket(trip);
    assert!(matches!(world.item().request, TerminalRequest::PutAttempt { attempt: 2, .. }));
}

#[test]
fn a_trip_that_the_merchant_closed_stays_closed() {
    let mut world = World::enrolled();
    let trip = world.start();
    world.scan(trip, 1).unwrap();
    world.sign_basket(trip);
    world.record();
    let reason = Reason { code: ReasonCode::TripCancelled, line: None, detail: "left alone".into() };
    let result = Validation { reasons: vec![reason], ..world.validation(trip, Verdict::Rejected) };
    world.happen(&EventBody::Validation { document: sign(&result, RESULTS) });
    world.poll();
    assert_eq!(due_call(world.review(trip)), "start_trip (this one is cancelled)");
    assert!(world.trip(trip).cancelled.unwrap().by_merchant);
}

#[test]
fn staff_decide_later_and_a_final_verdict_does_not_change() {
    let mut world = World::enrolled();
    let trip = world.judged(Verdict::CheckRequired);
    world.tell_verdict(trip, Verdict::Accepted);
    world.tell_verdict(trip, Verdict::Rejected);
    assert_eq!(world.trip(trip).attempts[0].verdict(), Some(Verdict::Accepted));
}

#[test]
fn a_trip_that_nobody_heard_of_is_cancelled_at_once() {
    let mut world = World::enrolled();
    let trip = world.start();
    world.scan(trip, 1).unwrap();
    world.cancel(trip);
    assert!(world.trip(trip).cancelled.is_some() && world.items().is_empty());
    assert_eq!(world.told(), ["1 trip_cancelled"]);
    world.cancel(trip);
    assert_eq!(world.told().len(), 1, "once");
}

#[test]
fn a_cancellation_passes_what_waits_and_withdraws_it() {
    let mut world = World::enrolled();
    let trip = world.start();
    world.hold(trip, 1_000);
    world.scan(trip, 1).unwrap();
    world.sign_basket(trip);
    world.cancel(trip);
    world.restart();
    let TerminalRequest::PutCancellation { body, .. } = world.item().request else { panic!("before hold and attempt") };
    let document: TripCancellation = read(&body.cancellation);
    assert_eq!((document.trip_id, document.device_seq), (trip, 3));
    assert_eq!(due_call(world.scan(trip, 1)), "next_event (the answer to the cancellation)");
    world.record();
    assert!(world.items().is_empty());
    assert_eq!(world.told(), ["1 withdrawn", "2 withdrawn", "3 trip_cancelled"]);
    assert!(world.trip(trip).attempts[0].withdrawn);
    world.happen(&EventBody::TripCancelled { trip_id: trip });
    world.poll();
    assert!(!world.trip(trip).cancelled.unwrap().by_merchant);
    assert_eq!(world.told().len(), 3, "said once");
}

#[test]
fn a_cancellation_that_comes_too_late_changes_nothing() {
    let mut world = World::enrolled();
    let trip = world.start();
    world.scan(trip, 1).unwrap();
    world.sign_basket(trip);
    // It reached the merchant, the answer did not come back.
    let attempt = world.item();
    world.fail(attempt.id);
    world.cancel(trip);
    let cancellation = world.item();
    world.problem(cancellation.id, ProblemCode::AlreadyAccepted);
    assert!(world.trip(trip).cancel_requested.is_none());
    world.pass_time(2_000);
    assert_eq!(world.item().request, attempt.request, "the attempt goes on, byte for byte");
    world.record();
    world.tell_verdict(trip, Verdict::Accepted);
    assert!(world.trip(trip).exit_pass().is_some() && world.trip(trip).cancelled.is_none());
    assert_eq!(world.told(), ["1 refused", "2 validation"]);
}

#[test]
fn several_trips_wait_while_another_one_is_shopped() {
    let mut world = World::enrolled();
    let trips: Vec<_> = (0..3).map(|_| world.start()).collect();
    for trip in &trips {
        world.hold(*trip, 1_000);
        world.scan(*trip, 1).unwrap();
        world.sign_basket(*trip);
    }
    let due = world.items();
    assert_eq!(due.len(), 3, "one of each trip");
    assert!(due.iter().all(|d| matches!(d.request, TerminalRequest::PutHold { .. })), "each hold before its attempt");
    let fourth = world.start();
    world.scan(fourth, 2).unwrap();
    assert_eq!(world.device().outbox_totals().count, 6);
    assert_eq!(world.device().outbox_totals().amounts, [eur(300)]);
}

#[test]
fn trips_without_a_result_are_limited() {
    let mut world = World::enrolled();
    let first = world.start();
    for _ in 1..MAX_OPEN_TRIPS {
        world.start();
    }
    let policy = ForwardPolicy::PreferOnline;
    let refused = world.command(Command::StartTrip { store_id: &store_id(), policy }).unwrap_err();
    assert!(matches!(refused, WalkpayError::Limit { limit: 50, .. }));
    world.cancel(first);
    world.start();
    let elsewhere = StoreId::parse("elsewhere").unwrap();
    assert_eq!(world.command(Command::StartTrip { store_id: &elsewhere, policy }).unwrap_err().code(), "unknown");
}

#[test]
fn a_trip_that_must_be_online_signs_nothing_offline() {
    let mut world = World::enrolled();
    let trip = world.start_with(ForwardPolicy::OnlineRequired);
    world.scan(trip, 1).unwrap();
    world.review(trip).unwrap();
    let offline = world.command(Command::PrepareSignature { trip_id: trip, online: false }).unwrap_err();
    assert!(matches!(offline, WalkpayError::Network { .. }) && offline.is_retryable());
    let offline = world.command(Command::PrepareHold { trip_id: trip, amount: eur(1), online: false }).unwrap_err();
    assert_eq!(offline.code(), "network");
    world.prepare(trip).unwrap();
    let relaxed = world.start();
    world.scan(relaxed, 1).unwrap();
    world.review(relaxed).unwrap();
    world.command(Command::PrepareSignature { trip_id: relaxed, online: false }).unwrap();
}

#[test]
fn amounts_of_holds_are_checked() {
    let mut world = World::enrolled();
    let trip = world.start();
    for minor in [0, -5] {
        assert_eq!(world.prepare_hold(trip, minor).unwrap_err().code(), "invalid_input");
    }
    let yen = Currency::parse("JPY").unwrap().minor(100);
    let mixed = world.command(Command::PrepareHold { trip_id: trip, amount: yen, online: true }).unwrap_err();
    assert_eq!(mixed.code(), "mixed_currencies");
    let first = world.prepare_hold(trip, 100).unwrap();
    assert_eq!(world.prepare_hold(trip, 100).unwrap(), first, "asking again gives the same bytes");
    assert_ne!(world.prepare_hold(trip, 200).unwrap(), first);
    assert_eq!(world.submit(trip, OutboxKind::Hold, &first.input, CONSENT).unwrap_err().code(), "key");
}

#[test]
fn a_declined_hold_may_be_asked_for_again() {
    let mut world = World::enrolled();
    let trip = world.start();
    world.hold(trip, 9_000);
    world.record();
    world.tell_hold(trip, HoldStatus::Declined);
    let declined = world.trip(trip).holds[0].hold_id;
    world.hold(trip, 1_000);
    let TerminalRequest::PutHold { body, .. } = world.item().request else { panic!() };
    let second: HoldRequest = read(&body.hold);
    assert_eq!((second.number, second.replaces), (2, Some(declined)));
    let id = world.item().id;
    world.problem(id, ProblemCode::NoBankAccount);
    world.hold(trip, 500);
    let TerminalRequest::PutHold { body, .. } = world.item().request else { panic!() };
    assert_eq!(read::<HoldRequest>(&body.hold).number, 2, "what was never on record leaves no gap");
}

#[test]
fn coupons_are_refused_with_a_word() {
    let mut world = World::enrolled();
    let trip = world.start();
    let refused = world.command(Command::ApplyCoupon { trip_id: trip, code: "SAVE10" }).unwrap_err();
    assert_eq!(refused.code(), "basket.coupon_not_supported");
    assert_eq!(world.scan(trip, 9).unwrap_err().code(), "basket.sale_stopped");
}
