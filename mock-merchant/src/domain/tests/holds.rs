//! Holds: accepted, placed, raised, released (A10, A26).

use crate::domain::*;
use crate::testing::*;
use std::time::Duration;
use walkpay::protocol::document::HoldStatus::{self, *};
use walkpay::protocol::document::{EventBody, HoldRequest, ReasonCode, Verdict};
use walkpay::protocol::message::HoldPut;
use walkpay::protocol::problem::ProblemCode;

fn statuses(w: &World, d: &Device) -> Vec<(u32, HoldStatus)> {
    w.hold_results(d)
}

#[test]
fn a10_a26_accepted_by_the_merchant_then_placed_by_the_bank() {
    let mut w = World::new();
    let mut d = w.device();
    let mut trip = w.trip();
    w.hold(&mut d, &mut trip, 500);
    assert_eq!(statuses(&w, &d), [(500, Accepted)]);
    w.work();
    assert_eq!(statuses(&w, &d), [(500, Accepted), (500, Placed)]);
    assert_eq!(w.bank.requests, [format!("{}.h1", trip.id)]);
}

#[test]
fn a_declined_hold_covers_nothing_and_can_be_tried_again() {
    let mut w = World::new();
    let mut d = w.device();
    let mut trip = w.trip();
    w.bank.script("h1", &[Script::Decline("insufficient_funds")]);
    w.hold(&mut d, &mut trip, 500);
    assert_eq!(w.colas(&mut d, &mut trip, 5), None);
    w.work();
    assert_eq!(w.verdict(&d, &trip), Some(Verdict::InsufficientCover));
    w.hold(&mut d, &mut trip, 500);
    w.work();
    assert_eq!(statuses(&w, &d)[1..], [(500, Declined), (500, Accepted), (500, Placed)]);
    assert_eq!(w.colas(&mut d, &mut trip, 5), Some(Verdict::Accepted));
}

#[test]
fn raised_with_top_up_under_the_first_entry() {
    let mut w = World::new();
    let mut d = w.device();
    let mut trip = w.trip();
    w.hold(&mut d, &mut trip, 200);
    w.work();
    assert_eq!(w.colas(&mut d, &mut trip, 5), Some(Verdict::InsufficientCover));
    w.hold(&mut d, &mut trip, 500);
    w.work();
    assert_eq!(statuses(&w, &d)[2..], [(500, Accepted), (500, Placed), (200, Replaced)]);
    assert_eq!(w.colas(&mut d, &mut trip, 5), Some(Verdict::Accepted));
    w.work();
    assert_eq!(statuses(&w, &d).last(), Some(&(500, Captured)));
    let endings: Vec<&str> = w.bank.requests.iter().map(|r| r.split_once('.').unwrap().1).collect();
    assert_eq!(endings, ["h1", "u2", "c"]);
    w.check_quiet();
}

#[test]
fn raised_without_top_up_by_a_new_hold_before_the_old_one_is_released() {
    let mut w = World::new();
    let mut d = w.device();
    let mut trip = w.trip();
    w.bank.script("u2", &[Script::Decline("top_up_unsupported")]);
    w.hold(&mut d, &mut trip, 200);
    w.hold(&mut d, &mut trip, 500);
    assert_eq!(w.colas(&mut d, &mut trip, 5), None, "waits for both");
    w.work();
    let endings: Vec<&str> = w.bank.requests.iter().map(|r| r.split_once('.').unwrap().1).collect();
    assert_eq!(endings, ["h1", "u2", "h2", "r1", "c"]);
    assert_eq!(w.verdict(&d, &trip), Some(Verdict::Accepted));
    assert!(statuses(&w, &d).contains(&(200, Replaced)) && statuses(&w, &d).contains(&(500, Captured)));
    assert_eq!(w.bank.taken(trip.id), 500);
    w.check_quiet();
}

#[test]
fn a_hold_that_is_being_captured_is_not_released_for_a_later_one() {
    let mut w = World::new();
    let mut d = w.device();
    let mut trip = w.trip();
    w.bank.script("u2", &[Script::Decline("top_up_unsupported")]);
    w.hold(&mut d, &mut trip, 500);
    w.work();
    w.hold(&mut d, &mut trip, 900);
    assert!(w.step(), "the raise is refused, and the second hold on its way");
    assert_eq!(w.colas(&mut d, &mut trip, 5), Some(Verdict::Accepted), "covered by the first");
    w.work();
    let endings: Vec<&str> = w.bank.requests.iter().map(|r| r.split_once('.').unwrap().1).collect();
    assert_eq!(endings, ["h1", "u2", "h2", "c", "r2"]);
    assert_eq!(w.bank.taken(trip.id), 500);
    assert!(statuses(&w, &d).contains(&(500, Captured)) && statuses(&w, &d).contains(&(900, Released)));
    w.check_quiet();
}

#[test]
fn released_when_the_trip_is_cancelled_and_the_trip_stays_closed() {
    let mut w = World::new();
    let mut d = w.device();
    let mut trip = w.trip();
    w.hold(&mut d, &mut trip, 500);
    assert_eq!(w.colas(&mut d, &mut trip, 5), None);
    let command = w.cancellation(&mut d, &trip);
    w.run(&d.caller(), command.clone()).unwrap();
    assert_eq!(last_reasons(&w, &d), [ReasonCode::TripCancelled], "the waiting attempt has its verdict");
    let Answer::Recorded { repeat, .. } = w.run(&d.caller(), command).unwrap() else { panic!() };
    assert!(repeat);
    w.work();
    assert_eq!(statuses(&w, &d).last(), Some(&(500, Released)), "placed after the cancellation, and freed");
    assert_eq!(w.colas(&mut d, &mut trip, 1), Some(Verdict::Rejected));
    let more = w.hold_request(&mut d, &mut trip, 900);
    assert_eq!(w.put_hold(&d, &more).unwrap_err().code(), ProblemCode::TripCancelled);
    w.check_quiet();
}

#[test]
fn a_cancellation_before_anything_else_leaves_a_tombstone() {
    let mut w = World::new();
    w.top_up(500);
    let mut d = w.device();
    let mut trip = w.trip();
    w.cancel(&mut d, &trip).unwrap();
    assert_eq!(w.colas(&mut d, &mut trip, 1), Some(Verdict::Rejected));
    assert_eq!(last_reasons(&w, &d), [ReasonCode::TripCancelled]);
}

#[test]
fn an_accepted_trip_cannot_be_cancelled() {
    let mut w = World::new();
    w.top_up(500);
    let mut d = w.device();
    let mut trip = w.trip();
    assert_eq!(w.colas(&mut d, &mut trip, 1), Some(Verdict::Accepted));
    assert_eq!(w.cancel(&mut d, &trip).unwrap_err().code(), ProblemCode::AlreadyAccepted);
}

#[test]
fn a_trip_without_a_sign_of_life_is_given_up_after_12_hours() {
    let mut w = World::new();
    let mut d = w.device();
    let mut trip = w.trip();
    w.hold(&mut d, &mut trip, 500);
    w.work_for(Duration::from_secs(12 * 3600 - 1));
    assert_eq!(w.report(&trip).state, "open");
    w.work_for(Duration::from_secs(2));
    assert_eq!(w.report(&trip).state, "cancelled");
    assert!(w.events(&d).contains(&EventBody::TripCancelled { trip_id: trip.id }));
    assert_eq!(statuses(&w, &d).last(), Some(&(500, Released)));
    w.check_quiet();
}

#[test]
fn a_hold_whose_time_is_over_covers_nothing_and_is_resolved() {
    let mut w = World::new();
    let mut d = w.device();
    let mut trip = w.trip();
    w.bank.holds_until = Some(w.now.plus(Duration::from_secs(3600)));
    w.bank.script("r1", &[Script::Decline("hold_expired")]);
    w.hold(&mut d, &mut trip, 500);
    w.work();
    w.pass(Duration::from_secs(3600));
    assert_eq!(w.colas(&mut d, &mut trip, 5), Some(Verdict::InsufficientCover));
    w.work();
    assert_eq!(statuses(&w, &d).last(), Some(&(500, Expired)));
}

#[test]
fn a_hold_that_was_not_needed_is_released_after_the_debit() {
    let mut w = World::new();
    w.top_up(500);
    let mut d = w.device();
    let mut trip = w.trip();
    w.hold(&mut d, &mut trip, 500);
    w.work();
    assert_eq!(w.colas(&mut d, &mut trip, 5), Some(Verdict::Accepted));
    w.work();
    assert_eq!((w.stored_value(&d), w.bank.taken(trip.id)), (0, 0));
    assert_eq!(statuses(&w, &d).last(), Some(&(500, Released)));
    w.check_quiet();
}

#[test]
fn a_partly_placed_hold_counts_as_declined_and_is_freed() {
    let mut w = World::new();
    let mut d = w.device();
    let mut trip = w.trip();
    w.bank.script("h1", &[Script::Approve(200)]);
    w.hold(&mut d, &mut trip, 500);
    w.work();
    assert_eq!(statuses(&w, &d), [(500, Accepted), (500, Declined)]);
    assert_eq!(w.bank.requests.last().unwrap(), &format!("{}.r1", trip.id));
    assert_eq!(w.colas(&mut d, &mut trip, 2), Some(Verdict::InsufficientCover));
}

#[test]
fn a_lost_answer_is_asked_for_and_a_lost_request_made_again_under_its_reference() {
    let mut w = World::new();
    let mut d = w.device();
    let mut trip = w.trip();
    w.bank.script("h1", &[Script::LoseRequest, Script::LoseRequest, Script::LoseAnswer]);
    w.hold(&mut d, &mut trip, 500);
    w.work_for(Duration::from_secs(60));
    assert_eq!(statuses(&w, &d), [(500, Accepted), (500, Placed)]);
    assert_eq!(w.bank.requests, [format!("{}.h1", trip.id)], "arrived once");
    assert!(w.bank.queries >= 3);
}

#[test]
fn refusals_of_hold_requests() {
    let mut w = World::new();
    w.admin(AdminCommand::AddUser(NewUser {
        user_name: name("poor"),
        display_name: String::new(),
        addresses: vec![],
        stored_value: None,
        bank: None,
    }));
    let mut d = w.device();
    let refuse = |w: &World, d: &Device, request: &HoldRequest| w.put_hold(d, request).unwrap_err().code();
    let zero = w.hold_request(&mut d, &mut w.trip(), 0);
    assert_eq!(refuse(&w, &d, &zero), ProblemCode::InvalidValue);
    let high = w.hold_request(&mut d, &mut w.trip(), 50_001);
    assert_eq!(refuse(&w, &d, &high), ProblemCode::AmountLimit);
    let mut foreign = w.hold_request(&mut d, &mut w.trip(), 100);
    foreign.amount = walkpay::Currency::parse("USD").unwrap().minor(100);
    assert_eq!(refuse(&w, &d, &foreign), ProblemCode::CurrencyMismatch);
    let mut second = w.hold_request(&mut d, &mut w.trip(), 100);
    second.number = 2;
    assert_eq!(refuse(&w, &d, &second), ProblemCode::HoldMismatch);
    let mut trip = w.trip();
    w.hold(&mut d, &mut trip, 500);
    let lower = w.hold_request(&mut d, &mut trip, 400);
    assert_eq!(refuse(&w, &d, &lower), ProblemCode::HoldMismatch);
    let mut p = w.device_of("poor");
    let request = w.hold_request(&mut p, &mut w.trip(), 100);
    assert_eq!(refuse(&w, &p, &request), ProblemCode::NoBankAccount);
    let body = HoldPut { hold: d.consent.jws(&zero).unwrap() };
    let elsewhere = Command::PutHold { hold_id: high.hold_id, body };
    assert_eq!(w.refused(&d.caller(), elsewhere), ProblemCode::DocumentMismatch);
}
