//! Debits: stored value first, the bank for the rest, and every way in which that can go wrong (A23–A25).

use crate::store::{SCANS, Tx, calls};
use crate::testing::*;
use crate::worker;
use std::time::Duration;
use walkpay::protocol::document::{DebitStatus, LegState, PaymentMethod, Verdict};
use walkpay::protocol::problem::ProblemCode;

const HOUR: Duration = Duration::from_secs(3600);

/// A trip of 7.00 with 2.00 of stored value and a hold of 10.00, accepted.
fn accepted(w: &mut World) -> (Device, Trip) {
    w.top_up(200);
    let mut d = w.device();
    let mut trip = w.trip();
    w.hold(&mut d, &mut trip, 1_000);
    w.work();
    assert_eq!(w.colas(&mut d, &mut trip, 7), Some(Verdict::Accepted));
    (d, trip)
}

#[test]
fn a23_a24_a25_stored_value_first_then_the_bank_then_the_result() {
    let mut w = World::new();
    let (d, trip) = accepted(&mut w);
    assert!(w.debits(&d).is_empty());
    w.work();
    let result = w.debits(&d).pop().unwrap();
    assert_eq!((result.status, result.due, result.total), (DebitStatus::Debited, eur(0), eur(700)));
    let legs: Vec<_> = result.legs.iter().map(|l| (l.method, l.amount.minor, l.state)).collect();
    let done = LegState::Succeeded;
    assert_eq!(legs, [(PaymentMethod::StoredValue, 200, done), (PaymentMethod::Bank, 500, done)]);
    assert_eq!(result.receipt_number, Some(1));
    assert_eq!((w.stored_value(&d), w.bank.taken(trip.id)), (0, 500));
    assert_eq!(w.report(&trip).order.as_deref(), Some("paid"));
    let day: String =
        w.conn.query_row("SELECT business_date FROM transfers WHERE kind = 'debit'", [], |r| r.get(0)).unwrap();
    assert_eq!(day, "2026-03-02", "half past midnight in Berlin");
    w.work_for(HOUR);
    w.check_quiet();
}

#[test]
fn an_expired_hold_allows_one_plain_debit_of_the_whole() {
    for reason in ["hold_expired", "hold_unknown"] {
        let mut w = World::new();
        let (d, trip) = accepted(&mut w);
        w.bank.script("c", &[Script::Decline(reason)]);
        w.work_for(HOUR);
        assert_eq!(w.debits(&d).pop().unwrap().status, DebitStatus::Debited);
        assert_eq!(w.bank.requests.last().unwrap(), &format!("{}.d", trip.id));
        assert_eq!(w.bank.taken(trip.id), 500);
        w.check_quiet();
    }
}

#[test]
fn a_definite_refusal_leaves_a_payable_order_for_the_rest() {
    let mut w = World::new();
    let (d, trip) = accepted(&mut w);
    w.bank.script("c", &[Script::Decline("insufficient_funds")]);
    w.work_for(HOUR);
    let result = w.debits(&d).pop().unwrap();
    assert_eq!((result.status, result.due), (DebitStatus::Unpaid, eur(500)));
    assert_eq!(result.reason.as_deref(), Some("insufficient_funds"));
    assert_eq!(w.stored_value(&d), 0, "stored value is posted");
    assert_eq!(w.report(&trip).order.as_deref(), Some("payable"));
    assert_eq!(w.bank.requests.last().unwrap(), &format!("{}.r1", trip.id), "what is left of the hold is released");
    w.check_quiet();
}

#[test]
fn an_unknown_outcome_is_neither_success_nor_failure() {
    let mut w = World::new();
    let (d, trip) = accepted(&mut w);
    w.bank.script("c", &[Script::LoseAnswer]);
    assert!(w.step(), "the capture");
    assert_eq!(w.report(&trip).legs[1].state, LegState::Unknown);
    assert_eq!(w.report(&trip).order.as_deref(), Some("collecting"));
    assert!(w.debits(&d).is_empty());
    w.work_for(HOUR);
    assert_eq!(w.debits(&d).pop().unwrap().status, DebitStatus::Debited);
    assert_eq!(w.bank.taken(trip.id), 500);
    w.check_quiet();
}

#[test]
fn a_partial_approval_is_given_back_and_counts_as_a_refusal() {
    let mut w = World::new();
    let (d, trip) = accepted(&mut w);
    w.bank.script("c", &[Script::Approve(300)]);
    w.work_for(HOUR);
    assert!(w.bank.requests.contains(&format!("{}.v.c", trip.id)));
    let result = w.debits(&d).pop().unwrap();
    assert_eq!((result.status, result.due), (DebitStatus::Unpaid, eur(500)));
    assert_eq!(w.bank.taken(trip.id), 0);
    w.check_quiet();
}

#[test]
fn a_partial_approval_that_the_bank_keeps_is_applied() {
    let mut w = World::new();
    let (d, trip) = accepted(&mut w);
    w.bank.script("c", &[Script::Approve(300)]);
    w.bank.script("v.c", &[Script::Decline("limit")]);
    w.work_for(HOUR);
    let result = w.debits(&d).pop().unwrap();
    assert_eq!((result.status, result.due), (DebitStatus::Unpaid, eur(200)));
    assert_eq!(w.bank.taken(trip.id), 300);
    w.check_quiet();
}

#[test]
fn a_late_success_pays_what_is_due() {
    let mut w = World::new();
    let (d, trip) = accepted(&mut w);
    w.bank.script("c", &[Script::DeclineButBook]);
    w.work_for(HOUR);
    let statuses: Vec<_> = w.debits(&d).iter().map(|r| r.status).collect();
    assert_eq!(statuses, [DebitStatus::Unpaid, DebitStatus::Settled]);
    assert_eq!(w.report(&trip).order.as_deref(), Some("paid"));
    assert_eq!(w.bank.taken(trip.id), 500);
    w.check_quiet();
}

#[test]
fn a_late_success_that_nothing_is_due_for_is_refunded() {
    let mut w = World::new();
    let (d, trip) = accepted(&mut w);
    w.bank.script("c", &[Script::Decline("hold_expired")]);
    w.work();
    assert_eq!(w.bank.taken(trip.id), 500, "by the plain debit");
    w.bank.book(w.now, &format!("{}.c", trip.id), trip.id, 500);
    w.work_for(HOUR);
    assert_eq!(w.debits(&d).len(), 1);
    assert_eq!(w.bank.requests.last().unwrap(), &format!("{}.f.1", trip.id));
    assert_eq!(w.bank.taken(trip.id), 500);
    w.check_quiet();
}

#[test]
fn what_the_bank_takes_back_of_a_late_success_is_posted_and_the_rest_stays_in_suspense() {
    for (script, kept) in [(Script::Approve(200), 300), (Script::Decline("limit"), 500)] {
        let mut w = World::new();
        let (_, trip) = accepted(&mut w);
        w.bank.script("c", &[Script::Decline("hold_expired")]);
        w.work();
        w.bank.script("f.1", std::slice::from_ref(&script));
        w.bank.book(w.now, &format!("{}.c", trip.id), trip.id, 500);
        w.work_for(HOUR);
        let row = |r: &rusqlite::Row<'_>| Ok((r.get(0)?, r.get(1)?));
        let open: (String, i64) = w.conn.query_row("SELECT state, minor FROM suspense", [], row).unwrap();
        assert_eq!(open, ("open".to_owned(), kept), "{script:?}");
        let sql = "SELECT balance FROM accounts WHERE name = 'suspense'";
        assert_eq!(w.conn.query_row(sql, [], |r| r.get(0)), Ok(kept), "{script:?}");
        w.check_quiet();
    }
}

/// Kind, state and amount of everything that was found unexplained.
fn in_suspense(w: &World) -> Vec<(String, String, i64)> {
    let mut rows = w.conn.prepare("SELECT kind, state, minor FROM suspense ORDER BY suspense").unwrap();
    let rows = rows.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn row(kind: &str, state: &str, minor: i64) -> (String, String, i64) {
    (kind.to_owned(), state.to_owned(), minor)
}

#[test]
fn what_the_bank_takes_beyond_what_was_asked_goes_back() {
    let mut w = World::new();
    let (d, trip) = accepted(&mut w);
    w.bank.script("c", &[Script::Approve(600)]);
    w.work_for(HOUR);
    let result = w.debits(&d).pop().unwrap();
    assert_eq!((result.status, result.legs[1].amount), (DebitStatus::Debited, eur(500)));
    assert_eq!((w.bank.taken(trip.id), in_suspense(&w)), (500, vec![row("late", "refunded", 100)]));
    w.check_quiet();
}

#[test]
fn an_approval_in_another_currency_is_no_answer() {
    let mut w = World::new();
    let (d, trip) = accepted(&mut w);
    w.bank.script("c", &[Script::ApproveOtherwise]);
    w.work_for(HOUR);
    assert!(w.debits(&d).is_empty());
    assert_eq!(
        (w.report(&trip).order.as_deref(), w.report(&trip).legs[1].state),
        (Some("collecting"), LegState::Unknown)
    );
}

#[test]
fn a_call_explains_its_amount_once() {
    let mut w = World::new();
    let (_, trip) = accepted(&mut w);
    w.work_for(HOUR);
    for times in 1..=2 {
        w.bank.book(w.now, &format!("{}.c", trip.id), trip.id, 500);
        w.work_for(2 * HOUR * 24);
        assert_eq!((w.bank.taken(trip.id), in_suspense(&w)), (500, vec![row("late", "refunded", 500); times]));
        w.check_quiet();
    }
}

#[test]
fn what_a_late_success_left_due_another_one_pays() {
    let mut w = World::new();
    let (d, trip) = accepted(&mut w);
    w.bank.script("c", &[Script::Decline("insufficient_funds")]);
    w.work_for(HOUR);
    for (minor, status) in [(300, DebitStatus::Unpaid), (200, DebitStatus::Settled)] {
        w.bank.book(w.now, &format!("{}.c", trip.id), trip.id, minor);
        w.work_for(2 * HOUR * 24);
        assert_eq!(w.debits(&d).pop().unwrap().status, status);
    }
    assert_eq!(w.bank.taken(trip.id), 500);
    w.check_quiet();
}

#[test]
fn what_the_bank_takes_back_is_owed_by_it_until_it_makes_it_good() {
    let mut w = World::new();
    let (_, trip) = accepted(&mut w);
    w.work_for(HOUR);
    let reference = format!("{}.c", trip.id);
    w.bank.book(w.now, &reference, trip.id, -500);
    w.work_for(2 * HOUR * 24);
    assert_eq!((in_suspense(&w), w.balance("taken_back")), (vec![row("taken_back", "open", -500)], -500));
    w.check_quiet();
    w.bank.book(w.now, &reference, trip.id, 500);
    w.work_for(2 * HOUR * 24);
    assert_eq!((in_suspense(&w), w.balance("taken_back")), (vec![row("taken_back", "applied", -500)], 0));
    assert_eq!(w.bank.taken(trip.id), 500);
    w.check_quiet();
}

#[test]
fn the_operator_gives_back_or_settles_what_is_in_suspense() {
    use crate::domain::{AdminCommand, Answer, Caller, Command, Query, SuspenseNumber};
    let mut w = World::new();
    let trip = w.trip();
    w.bank.script("f.1", &[Script::Decline("limit")]);
    w.bank.book(w.now, &format!("{}.c", trip.id), trip.id, 500);
    w.bank.book(w.now, &format!("{}.d", trip.id), trip.id, -70);
    w.work_for(HOUR);
    let Answer::Suspense(listed) = w.read(&Caller::Operator, Query::Suspense).unwrap() else { panic!() };
    let listed: Vec<_> =
        listed.iter().map(|s| (s.number.to_string(), s.kind.as_str(), s.amount.minor, s.tries)).collect();
    assert_eq!(listed, [("1".to_owned(), "late", 500, 1), ("2".to_owned(), "taken_back", -70, 0)]);
    let refused = |w: &World, command| w.refused(&Caller::Operator, Command::Admin(command));
    assert_eq!(refused(&w, AdminCommand::ReturnSuspense(SuspenseNumber::Money(3))), ProblemCode::NotFound);
    assert_eq!(refused(&w, AdminCommand::ReturnSuspense(SuspenseNumber::Money(2))), ProblemCode::InvalidValue);
    w.admin(AdminCommand::ReturnSuspense(SuspenseNumber::Money(1)));
    assert_eq!(
        refused(&w, AdminCommand::ReturnSuspense(SuspenseNumber::Money(1))),
        ProblemCode::AlreadyDecided,
        "on its way"
    );
    w.work_for(HOUR);
    assert!(w.bank.requests.contains(&format!("{}.f.1.1", trip.id)), "{:?}", w.bank.requests);
    let settle =
        |note: &str| AdminCommand::SettleSuspense { suspense: SuspenseNumber::Money(2), note: note.to_owned() };
    assert_eq!(refused(&w, settle("")), ProblemCode::InvalidValue);
    w.admin(settle("transferred by the bank"));
    assert_eq!(in_suspense(&w), [row("late", "refunded", 500), row("taken_back", "settled", -70)]);
    assert_eq!((w.balance("suspense"), w.balance("taken_back"), w.balance("settled")), (0, 0, -70));
    w.check_quiet();
}

#[test]
fn a_late_success_of_a_trip_that_nobody_knows_is_refunded() {
    let mut w = World::new();
    let trip = w.trip();
    w.bank.book(w.now, "somebody.c", trip.id, 500);
    w.work_for(HOUR);
    assert_eq!(w.bank.taken(trip.id), 0);
    w.check_quiet();
}

#[test]
fn a_crash_between_any_two_steps_loses_nothing() {
    // Taken under a lease, then nothing: the process died before the call, or after it.
    for arrives in [false, true] {
        let mut w = World::new();
        let (d, trip) = accepted(&mut w);
        let ctx = w.ctx();
        let call = Tx::run(&w.conn, |tx| worker::take_due(tx, &ctx)).unwrap().unwrap();
        if arrives {
            w.bank.ask(w.now, &call.ask).unwrap();
        }
        w.work();
        assert!(w.debits(&d).is_empty(), "the lease holds");
        w.work_for(HOUR);
        assert_eq!(w.debits(&d).pop().unwrap().status, DebitStatus::Debited);
        assert_eq!(w.bank.taken(trip.id), 500);
        assert_eq!(w.bank.requests.iter().filter(|r| r.ends_with(".c")).count(), 1);
        // The first worker comes back late: its answer changes nothing any more.
        let ctx = w.ctx();
        let answer = w.bank.ask(w.now, &call.ask);
        Tx::run(&w.conn, |tx| worker::settle(tx, &ctx, &call.job, answer)).unwrap();
        assert_eq!(w.debits(&d).len(), 1);
        w.check_quiet();
    }
}

#[test]
fn a_late_definite_answer_counts_while_the_call_is_open() {
    let mut w = World::new();
    let (d, _) = accepted(&mut w);
    let ctx = w.ctx();
    let call = Tx::run(&w.conn, |tx| worker::take_due(tx, &ctx)).unwrap().unwrap();
    let answer = w.bank.ask(w.now, &call.ask);
    w.pass(Duration::from_secs(61));
    let ctx = w.ctx();
    let again = Tx::run(&w.conn, |tx| worker::take_due(tx, &ctx)).unwrap().unwrap();
    assert_ne!(call.job, again.job);
    Tx::run(&w.conn, |tx| worker::settle(tx, &ctx, &call.job, answer)).unwrap();
    assert_eq!(w.debits(&d).len(), 1);
    let open = Tx::read(&w.conn, |tx| Ok(calls::open_count(tx)?)).unwrap();
    assert_eq!(open, 0);
    w.check();
}

#[test]
fn an_account_that_was_untied_leaves_a_payable_order() {
    let mut w = World::new();
    let (d, trip) = accepted(&mut w);
    w.bank.script("c", &[Script::Decline("hold_expired")]);
    w.admin(crate::domain::AdminCommand::BindBank { user_name: name("alice"), account: None });
    w.work_for(HOUR);
    assert_eq!(w.debits(&d).pop().unwrap().reason.as_deref(), Some("account_unknown"));
    assert_eq!(w.report(&trip).order.as_deref(), Some("payable"));
    w.check_quiet();
}

#[test]
fn no_statement_of_a_trip_goes_through_a_table_or_is_compiled_twice() {
    let mut w = World::new();
    let (mut d, trip) = accepted(&mut w);
    w.work_for(HOUR);
    SCANS.with_borrow_mut(|scans| scans.clear());
    let mut next = w.trip();
    w.hold(&mut d, &mut next, 100);
    w.hold(&mut d, &mut next, 300);
    w.work();
    assert_eq!(w.colas(&mut d, &mut next, 3), Some(Verdict::Accepted));
    w.work();
    let mut given_up = w.trip();
    w.hold(&mut d, &mut given_up, 100);
    w.cancel(&mut d, &given_up).unwrap();
    w.work();
    assert_eq!((w.bank.taken(trip.id), w.bank.taken(next.id)), (500, 300));
    // The invariants look at everything, and there are few stores.
    let known = |sql: &String| sql.contains("FROM stores ORDER BY") || sql.contains("GROUP BY") || invariant(sql);
    assert!(SCANS.with_borrow(|all| all.iter().any(known)), "scans are noticed");
    let scans: Vec<String> = SCANS.with_borrow(|all| all.iter().filter(|sql| !known(sql)).cloned().collect());
    assert!(scans.is_empty(), "{scans:#?}");
}

fn invariant(sql: &str) -> bool {
    crate::store::invariants::queries().any(|q| q.split_whitespace().collect::<Vec<_>>().join(" ") == sql)
}

#[test]
fn planted_defects_violate_invariants() {
    use crate::domain::{Config, Mutation};
    let violated = |w: &World| Tx::read(&w.conn, |tx| Ok(crate::store::invariants::always(tx)?)).unwrap();
    let with = |mutation| World::with(Config { mutation: Some(mutation), ..Config::default() });
    let blind_work = |w: &mut World| {
        for _ in 0..50 {
            let ctx = w.ctx();
            let Some(call) = Tx::run(&w.conn, |tx| worker::take_due(tx, &ctx)).unwrap() else { break };
            let answer = w.bank.ask(w.now, &call.ask);
            Tx::run(&w.conn, |tx| worker::settle(tx, &ctx, &call.job, answer)).unwrap();
        }
    };
    let mut w = with(Mutation::DoubleRelease);
    let mut d = w.device();
    let mut trip = w.trip();
    w.hold(&mut d, &mut trip, 100);
    w.cancel(&mut d, &trip).unwrap();
    blind_work(&mut w);
    assert!(violated(&w).iter().any(|v| v.contains("released at most once")), "{:?}", violated(&w));

    let mut w = with(Mutation::DroppedLateSuccess);
    accepted(&mut w);
    w.bank.script("c", &[Script::DeclineButBook]);
    for _ in 0..5 {
        blind_work(&mut w);
        w.pass(Duration::from_secs(100));
    }
    assert!(violated(&w).iter().any(|v| v.contains("statement")), "{:?}", violated(&w));

    let mut w = with(Mutation::NewReferenceOnRetry);
    accepted(&mut w);
    w.bank.script("c", &[Script::LoseAnswer]);
    for _ in 0..5 {
        blind_work(&mut w);
        w.pass(Duration::from_secs(100));
    }
    let ordered = Tx::read(&w.conn, |tx| Ok(crate::store::invariants::bank_references(tx)?)).unwrap();
    assert!(w.bank.requests.iter().any(|r| !ordered.contains(r)), "{:?}", w.bank.requests);
}
