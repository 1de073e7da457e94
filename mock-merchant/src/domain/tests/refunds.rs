//! Refunds in full and part, by order and by leg; what cannot be given back.

use crate::channel::test::Fault;
use crate::domain::*;
use crate::testing::*;
use std::time::Duration;
use walkpay::ServiceNumber;
use walkpay::protocol::document::LegState;
use walkpay::protocol::document::PaymentMethod::{self, *};
use walkpay::protocol::order::*;
use walkpay::protocol::problem::ProblemCode;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An order of 10.00 that was paid with 4.00 of stored value and 6.00 by `method`.
fn paid(method: PaymentMethod) -> (World, Device, ServiceNumber, PaymentView) {
    let mut w = World::new();
    let mut d = w.device();
    w.top_up(400);
    let number = w.service_order(eur(1_000));
    let slip = w.make_slip(&d, &[number]);
    let payment = w.pay(&mut d, &slip, method, 400);
    w.work();
    if method == Test {
        w.channel.pay(w.now, &w.trade_number(&d, slip.slip_number)).unwrap();
        w.work();
    }
    assert_eq!(w.order(&d, number).summary.status, OrderStatus::Paid);
    (w, d, number, payment)
}

fn amount(minor: i64) -> RefundRequest {
    RefundRequest { amount: Some(eur(minor)), ..RefundRequest::default() }
}

fn given(refund: &RefundView) -> Vec<(PaymentMethod, i64, LegState)> {
    refund.legs.iter().map(|l| (l.method, l.amount.minor, l.state)).collect()
}

#[test]
fn channel_and_bank_give_back_first_and_stored_value_last() {
    for method in [Bank, Test] {
        let (mut w, d, number, payment) = paid(method);
        let refund = w.refund(number, amount(700)).unwrap();
        assert_eq!(refund.status, RefundStatus::Open);
        assert_eq!(given(&refund), [(method, 600, LegState::Pending), (StoredValue, 100, LegState::Succeeded)]);
        w.work();
        assert_eq!(w.refunds(number)[0].status, RefundStatus::Done);
        let order = w.order(&d, number);
        assert_eq!((order.summary.status, order.refunded), (OrderStatus::PartlyRefunded, eur(700)));
        assert_eq!((w.stored_value(&d), w.balance("payable:delivery")), (100, 300));
        assert_eq!(w.refund(number, amount(301)).unwrap_err().code(), ProblemCode::RefundExceeds);
        w.refund(number, RefundRequest::default()).unwrap();
        assert_eq!(w.order(&d, number).summary.status, OrderStatus::Refunded);
        assert_eq!(w.refund(number, RefundRequest::default()).unwrap_err().code(), ProblemCode::RefundExceeds);
        w.work_for(DAY);
        assert_eq!((w.stored_value(&d), w.balance("payable:delivery"), w.bank.taken(payment.payment_id)), (400, 0, 0));
        w.check_quiet();
    }
}

#[test]
fn a_leg_can_be_named() {
    let (mut w, d, number, _) = paid(Bank);
    let of = |method, minor| RefundRequest { method: Some(method), ..amount(minor) };
    assert_eq!(w.refund(number, of(StoredValue, 401)).unwrap_err().code(), ProblemCode::RefundExceeds);
    assert_eq!(w.refund(number, of(Test, 1)).unwrap_err().code(), ProblemCode::RefundExceeds);
    w.refund(number, of(StoredValue, 400)).unwrap();
    let reference = w.order(&d, number).legs[1].reference.clone();
    let by_reference = RefundRequest { reference: Some(reference), ..RefundRequest::default() };
    assert_eq!(w.refund(number, by_reference).unwrap().amount, eur(600));
    w.work();
    assert_eq!(w.order(&d, number).summary.status, OrderStatus::Refunded);
    for bad in [amount(0), amount(-5)] {
        assert_eq!(w.refund(number, bad).unwrap_err().code(), ProblemCode::InvalidValue);
    }
    let unpaid = w.service_order(eur(5));
    assert_eq!(w.refund(unpaid, amount(1)).unwrap_err().code(), ProblemCode::OrderNotPaid);
}

#[test]
fn what_nobody_takes_back_waits_in_suspense() {
    let (mut w, d, number, _) = paid(Test);
    w.channel_fault(Fault::RefundRefused);
    w.refund(number, RefundRequest::default()).unwrap();
    w.work();
    let refund = w.refunds(number).pop().unwrap();
    assert_eq!(refund.status, RefundStatus::Failed);
    assert_eq!(given(&refund), [(Test, 600, LegState::Failed), (StoredValue, 400, LegState::Succeeded)]);
    assert_eq!((w.balance("suspense"), w.balance("payable:delivery")), (600, 0));
    assert_eq!(w.order(&d, number).refunded, eur(400));
    assert_eq!(w.refund(number, amount(1)).unwrap_err().code(), ProblemCode::RefundExceeds, "not a second time");
    w.check_quiet();
    w.admin(AdminCommand::ReturnSuspense(SuspenseNumber::Money(1)));
    assert_eq!((w.balance("suspense"), w.stored_value(&d)), (0, 1_000), "to the payer's stored value");
    w.check_quiet();
    // The bank: an account that is closed, and one that takes only a part.
    let (mut w, _, number, payment) = paid(Bank);
    let closed = w.refund(number, RefundRequest { method: Some(Bank), ..amount(200) }).unwrap();
    let ending = closed.legs[0].reference.split_once('.').unwrap().1.to_owned();
    w.bank.script(&ending, &[Script::Decline("account_closed")]);
    w.work();
    assert_eq!((w.refunds(number)[0].status, w.balance("suspense")), (RefundStatus::Failed, 200));
    let part = w.refund(number, RefundRequest { method: Some(Bank), ..RefundRequest::default() }).unwrap();
    assert_eq!(part.amount, eur(400));
    let ending = part.legs[0].reference.split_once('.').unwrap().1.to_owned();
    w.bank.script(&ending, &[Script::Approve(150)]);
    w.work_for(DAY);
    assert_eq!((w.bank.taken(payment.payment_id), w.balance("suspense")), (450, 450));
    let exceeds = w.refund(number, RefundRequest { method: Some(Bank), ..amount(1) }).unwrap_err();
    assert_eq!(exceeds.code(), ProblemCode::RefundExceeds);
    w.check_quiet();
}

#[test]
fn the_key_of_a_refund_is_never_forgotten() {
    let (mut w, _, number, _) = paid(Bank);
    let refund = |w: &World| {
        let key = once::IdempotencyKey::parse("refund-1").unwrap();
        let command = Command::Refund { number, key, body_sha256: [1; 32], request: amount(100) };
        w.run(&Caller::Operator, command).unwrap()
    };
    let first = refund(&w);
    w.work_for(DAY + DAY);
    assert_eq!(refund(&w), first, "two days later");
    assert_eq!(w.refunds(number).len(), 1);
}

#[test]
fn an_unknown_refund_is_asked_about() {
    for fault in [Fault::RefundUnknown, Fault::NoAnswerBefore, Fault::NoAnswerAfter] {
        let (mut w, d, number, _) = paid(Test);
        w.channel_fault(fault);
        w.refund(number, RefundRequest { method: Some(Test), ..amount(600) }).unwrap();
        assert!(w.step());
        assert_eq!(given(&w.refunds(number)[0]), [(Test, 600, LegState::Unknown)]);
        w.work_for(DAY);
        assert_eq!(w.refunds(number)[0].status, RefundStatus::Done, "{fault:?}");
        assert_eq!((w.order(&d, number).refunded, w.balance("channel:test")), (eur(600), 0), "{fault:?}: once");
        w.check_quiet();
    }
    let (mut w, _, number, payment) = paid(Bank);
    let refund = w.refund(number, amount(600)).unwrap();
    let ending = refund.legs[0].reference.split_once('.').unwrap().1.to_owned();
    w.bank.script(&ending, &[Script::LoseAnswer]);
    w.work_for(DAY);
    assert_eq!((w.refunds(number)[0].status, w.bank.taken(payment.payment_id)), (RefundStatus::Done, 0));
    w.check_quiet();
}

#[test]
fn a_basket_is_given_back_over_its_capture() {
    let mut w = World::new();
    let mut d = w.device();
    w.top_up(200);
    let mut trip = w.trip();
    w.hold(&mut d, &mut trip, 500);
    w.work();
    w.colas(&mut d, &mut trip, 5);
    w.work();
    let number = w.report(&trip).service_number.unwrap();
    assert_eq!((w.bank.taken(trip.id), w.stored_value(&d)), (300, 0));
    w.refund(number, amount(400)).unwrap();
    w.work_for(DAY);
    assert_eq!((w.bank.taken(trip.id), w.stored_value(&d), w.balance("sales:s1")), (0, 100, 100));
    assert_eq!(w.order(&d, number).summary.status, OrderStatus::PartlyRefunded);
    w.check_quiet();
}

#[test]
fn only_staff_of_the_store_gives_a_baskets_money_back() {
    let (w, d, number, _) = paid(Bank);
    let key = || crate::domain::once::IdempotencyKey::parse("k").unwrap();
    let ask = |caller: &Caller| {
        let command = Command::Refund { number, key: key(), body_sha256: [0; 32], request: RefundRequest::default() };
        w.run(caller, command).unwrap_err().code()
    };
    assert_eq!(
        ask(&Caller::Staff { store_id: store_id(), staff_id: "s".into(), scopes: StaffScopes::unnamed() }),
        ProblemCode::NotFound
    );
    assert_eq!(ask(&d.caller()), ProblemCode::Forbidden);
    assert_eq!(ask(&Caller::Anonymous), ProblemCode::Forbidden);
}
