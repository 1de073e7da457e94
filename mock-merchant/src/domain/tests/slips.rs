//! Slips and their payments: locks, channels that fail, money that comes late or twice.

use crate::channel::port::{ChannelAnswer, TradeStatus};
use crate::channel::test::{Fault, TradeState};
use crate::domain::*;
use crate::store::{Tx, invariants};
use crate::testing::*;
use crate::worker::channels;
use std::time::Duration;
use walkpay::protocol::document::PaymentMethod::{self, *};
use walkpay::protocol::order::*;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{PaymentId, ServiceNumber};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// `alice`, two payable orders of 10.00 and 5.00, and a slip of them.
fn with_slip() -> (World, Device, SlipView, [ServiceNumber; 2]) {
    slip_with(Config::default())
}

fn slip_with(config: Config) -> (World, Device, SlipView, [ServiceNumber; 2]) {
    let mut w = World::with(config);
    let d = w.device();
    let orders = [w.service_order(eur(1_000)), w.service_order(eur(500))];
    let slip = w.make_slip(&d, &orders);
    assert_eq!((slip.amount, slip.status, slip.items.len()), (eur(1_500), SlipStatus::Open, 2));
    (w, d, slip, orders)
}

fn statuses(w: &World, d: &Device, orders: &[ServiceNumber]) -> Vec<OrderStatus> {
    orders.iter().map(|n| w.order(d, *n).summary.status).collect()
}

fn assert_paid(w: &World, d: &Device, slip: &SlipView, orders: &[ServiceNumber]) {
    assert_eq!(w.slip(d, slip.slip_number).status, SlipStatus::Paid);
    assert!(statuses(w, d, orders).iter().all(|s| *s == OrderStatus::Paid));
}

#[test]
fn stored_value_pays_at_once_over_the_orders() {
    let (mut w, mut d, slip, orders) = with_slip();
    let short = w.slip_payment(&mut d, &slip, StoredValue, 1_500);
    assert_eq!(w.put_payment(&d, &short).unwrap_err().code(), ProblemCode::InsufficientStoredValue);
    w.top_up(2_000);
    let payment = w.pay(&mut d, &slip, StoredValue, 1_500);
    assert_eq!(
        (payment.status, payment.amount, payment.stored_value),
        (PaymentStatus::Succeeded, eur(1_500), eur(1_500))
    );
    assert_paid(&w, &d, &slip, &orders);
    assert_eq!(w.legs(&d, orders[0]), [(StoredValue, 1_000)]);
    assert_eq!((w.stored_value(&d), w.balance("payable:delivery")), (500, 1_500));
    assert_eq!(w.slip_results(&d), [(SlipStatus::Paid, PaymentStatus::Succeeded)]);
    w.check_quiet();
}

#[test]
fn stored_value_goes_first_and_the_bank_pays_the_rest() {
    let (mut w, mut d, slip, orders) = with_slip();
    w.top_up(1_200);
    let payment = w.pay(&mut d, &slip, Bank, 1_200);
    assert_eq!((payment.status, w.stored_value(&d)), (PaymentStatus::Open, 1_200), "reserved, not posted");
    assert_eq!(statuses(&w, &d, &orders), [OrderStatus::InPayment; 2]);
    w.work();
    assert_paid(&w, &d, &slip, &orders);
    assert_eq!(w.legs(&d, orders[0]), [(StoredValue, 1_000)]);
    assert_eq!(w.legs(&d, orders[1]), [(StoredValue, 200), (Bank, 300)]);
    assert_eq!((w.stored_value(&d), w.bank.taken(payment.payment_id), w.balance("bank")), (0, 300, -300));
    w.work_for(DAY);
    w.check_quiet();
}

#[test]
fn a_refusal_of_the_bank_gives_the_slip_back_for_another_try() {
    let (mut w, mut d, slip, orders) = with_slip();
    w.top_up(200);
    w.bank.script("d", &[Script::Decline("insufficient_funds")]);
    let payment = w.pay(&mut d, &slip, Bank, 200);
    w.work();
    let closed = w.payment(&d, &payment);
    assert_eq!((closed.status, closed.reason.as_deref()), (PaymentStatus::Closed, Some("insufficient_funds")));
    assert_eq!(statuses(&w, &d, &orders), [OrderStatus::Payable; 2]);
    assert_eq!(w.try_slip(&d, &orders).unwrap_err().code(), ProblemCode::OrderNotPayable, "still on the slip");
    w.pay(&mut d, &slip, Test, 200);
    w.work();
    w.channel.pay(w.now, &w.trade_number(&d, slip.slip_number)).unwrap();
    w.work();
    assert_paid(&w, &d, &slip, &orders);
    assert_eq!((w.stored_value(&d), w.balance("channel:test")), (0, -1_300));
    w.check_quiet();
}

#[test]
fn what_the_bank_does_not_answer_keeps_the_lock() {
    let (mut w, mut d, slip, orders) = with_slip();
    w.bank.script("d", &[Script::LoseAnswer]);
    let payment = w.pay(&mut d, &slip, Bank, 0);
    assert!(w.step() && w.payment(&d, &payment).status == PaymentStatus::Open);
    let other = w.slip_payment(&mut d, &slip, Test, 0);
    assert_eq!(w.put_payment(&d, &other).unwrap_err().code(), ProblemCode::PaymentOpen);
    assert_eq!(w.close_slip(&d, slip.slip_number).unwrap_err().code(), ProblemCode::PaymentOpen);
    assert_eq!(w.close_payment(&d, &payment).status, PaymentStatus::Open, "it may have left");
    w.work_for(DAY);
    assert_paid(&w, &d, &slip, &orders);
    assert_eq!(w.bank.taken(payment.payment_id), 1_500);
    w.check_quiet();
}

#[test]
fn a_partial_approval_of_the_bank_goes_back() {
    let (mut w, mut d, slip, _) = with_slip();
    w.bank.script("d", &[Script::Approve(700)]);
    let payment = w.pay(&mut d, &slip, Bank, 0);
    w.work();
    assert_eq!(w.payment(&d, &payment).reason.as_deref(), Some("partial_approval"));
    w.work_for(DAY);
    assert_eq!((w.bank.taken(payment.payment_id), w.slip(&d, slip.slip_number).status), (0, SlipStatus::Closed));
    w.check_quiet();
}

#[test]
fn what_was_not_sent_yet_is_called_off_at_once() {
    for method in [Bank, Test] {
        let (mut w, mut d, slip, orders) = with_slip();
        let payment = w.pay(&mut d, &slip, method, 0);
        assert_eq!(w.close_payment(&d, &payment).status, PaymentStatus::Closed, "{method:?}");
        w.close_slip(&d, slip.slip_number).unwrap();
        w.work();
        assert_eq!(statuses(&w, &d, &orders), [OrderStatus::Payable; 2]);
        assert!(w.bank.requests.is_empty() && w.channel.trades().is_empty());
        w.make_slip(&d, &orders);
        w.check_quiet();
    }
}

#[test]
fn the_same_payment_again_is_the_first_one() {
    let (mut w, mut d, slip, _) = with_slip();
    w.top_up(2_000);
    let payment = w.slip_payment(&mut d, &slip, StoredValue, 1_500);
    w.put_payment(&d, &payment).unwrap();
    let Answer::Payer(PayerAnswer::Payment { view, repeat }) = w.put_payment(&d, &payment).unwrap() else { panic!() };
    assert!(repeat && view.status == PaymentStatus::Succeeded);
    assert_eq!(w.stored_value(&d), 500, "paid once");
    let other = SlipPayment { device_seq: d.next(), ..payment.clone() };
    assert_eq!(w.put_payment(&d, &other).unwrap_err().code(), ProblemCode::IdConflict);
    let new = SlipPayment { device_seq: d.next(), payment_id: PaymentId::new(w.now, [1; 10]), ..payment };
    assert_eq!(w.put_payment(&d, &new).unwrap_err().code(), ProblemCode::SlipOver);
}

#[test]
fn a_payment_is_for_exactly_its_slip() {
    let (w, mut d, slip, _) = with_slip();
    let good = w.slip_payment(&mut d, &slip, Bank, 0);
    for (bad, code) in [
        (SlipPayment { amount: eur(1_499), ..good.clone() }, ProblemCode::DocumentMismatch),
        (SlipPayment { stored_value: eur(-1), ..good.clone() }, ProblemCode::InvalidValue),
        (SlipPayment { stored_value: eur(1_500), ..good.clone() }, ProblemCode::InvalidValue),
        (SlipPayment { method: StoredValue, ..good.clone() }, ProblemCode::InvalidValue),
        (SlipPayment { method: Alipay, ..good.clone() }, ProblemCode::MethodUnavailable),
        (SlipPayment { signed_at: w.now.plus(DAY), ..good.clone() }, ProblemCode::InvalidValue),
    ] {
        let bad = SlipPayment { device_seq: d.next(), ..bad };
        assert_eq!(w.put_payment(&d, &bad).unwrap_err().code(), code, "{bad:?}");
    }
    let twin = SlipPayment { payment_id: PaymentId::new(w.now, [2; 10]), ..good.clone() };
    w.put_payment(&d, &good).unwrap();
    assert_eq!(w.put_payment(&d, &twin).unwrap_err().code(), ProblemCode::DeviceFrozen, "two documents of one number");
}

#[test]
fn slips_are_of_payable_orders_of_one_currency_and_payee() {
    let mut w = World::new();
    let d = w.device();
    w.add_user("bob");
    let (first, other) = (w.service_order(eur(100)), w.service_order_of("bob", "delivery", eur(100)));
    let yen = w.service_order(walkpay::Currency::parse("JPY").unwrap().minor(5));
    let code = |orders: &[ServiceNumber]| w.try_slip(&d, orders).unwrap_err().code();
    assert_eq!(code(&[]), ProblemCode::InvalidValue);
    assert_eq!(code(&[first, first]), ProblemCode::InvalidValue);
    assert_eq!(code(&[first, other]), ProblemCode::NotFound, "somebody else's");
    assert_eq!(code(&[first, ServiceNumber::new(9_999).unwrap()]), ProblemCode::NotFound);
    assert_eq!(code(&[first, yen]), ProblemCode::CurrencyMismatch);
    w.make_slip(&d, &[first]);
    assert_eq!(code(&[first]), ProblemCode::OrderNotPayable);
}

#[test]
fn a_slip_that_nobody_pays_gives_its_orders_back() {
    let (mut w, d, slip, orders) = with_slip();
    w.work_for(Duration::from_secs(3_599));
    assert_eq!(w.slip(&d, slip.slip_number).status, SlipStatus::Open);
    w.work_for(Duration::from_secs(2));
    assert_eq!(w.slip(&d, slip.slip_number).status, SlipStatus::Closed);
    let again = w.make_slip(&d, &orders);
    assert!(again.slip_number > slip.slip_number, "numbers are never used again");
}

/// A payment over the simulated channel that has been asked for there.
fn at_channel(config: Config, faults: &[Fault]) -> (World, Device, SlipView, [ServiceNumber; 2], PaymentView, String) {
    let (mut w, mut d, slip, orders) = slip_with(config);
    faults.iter().for_each(|f| w.channel_fault(*f));
    let payment = w.pay(&mut d, &slip, Test, 0);
    w.work();
    let number = w.trade_number(&d, slip.slip_number);
    (w, d, slip, orders, payment, number)
}

#[test]
fn a_channel_is_believed_by_notification_or_when_asked() {
    for fault in [
        None,
        Some(Fault::NotificationLost),
        Some(Fault::NotificationTwice),
        Some(Fault::NotificationLate),
        Some(Fault::NotificationReplayed),
        Some(Fault::WrongAmount),
        Some(Fault::OtherCurrency),
        Some(Fault::OtherApplication),
        Some(Fault::OtherSeller),
        Some(Fault::ForgedNotification),
        Some(Fault::NoAnswerBefore),
        Some(Fault::NoAnswerAfter),
        Some(Fault::NeverKnew),
    ] {
        let (mut w, d, slip, orders, payment, number) = at_channel(Config::default(), fault.as_slice());
        w.work_for(Duration::from_secs(60));
        let open = w.payment(&d, &payment);
        assert_eq!((open.status, open.launch.is_some()), (PaymentStatus::Open, true), "{fault:?}");
        w.channel.pay(w.now, &number).unwrap();
        w.work_for(Duration::from_secs(120));
        assert_paid(&w, &d, &slip, &orders);
        assert_eq!(w.balance("channel:test"), -1_500, "{fault:?}: booked once");
        assert!(w.channel.faults().armed().is_empty(), "{fault:?} has struck");
        w.check_quiet();
    }
}

#[test]
fn a_notification_counts_only_as_it_was_asked_for() {
    for fault in [Fault::WrongAmount, Fault::OtherCurrency, Fault::OtherApplication, Fault::OtherSeller] {
        let (w, d, _, _, payment, number) = at_channel(Config::default(), &[fault]);
        w.channel.pay(w.now, &number).unwrap();
        let body = w.channel.notifications(w.now).pop().unwrap();
        assert_eq!(w.notify(&body).unwrap_err().code(), ProblemCode::DocumentMismatch, "{fault:?}");
        assert_eq!(w.payment(&d, &payment).status, PaymentStatus::Open, "{fault:?}");
    }
    let (w, _, _, _, _, number) = at_channel(Config::default(), &[Fault::ForgedNotification]);
    w.channel.pay(w.now, &number).unwrap();
    let body = w.channel.notifications(w.now).pop().unwrap();
    assert_eq!(w.notify(&body).unwrap_err().code(), ProblemCode::SignatureInvalid);
}

#[test]
fn a_channel_that_refuses_ends_the_payment() {
    let (w, d, slip, orders, payment, _) = at_channel(Config::default(), &[Fault::Refuses]);
    assert_eq!(w.payment(&d, &payment).reason.as_deref(), Some("refused_by_channel"));
    assert_eq!(w.slip(&d, slip.slip_number).status, SlipStatus::Open);
    assert_eq!(statuses(&w, &d, &orders), [OrderStatus::Payable; 2]);
    w.check_quiet();
}

#[test]
fn orders_are_free_only_when_the_channel_has_closed() {
    for fault in [None, Some(Fault::ClosesLate), Some(Fault::NoAnswerAfter), Some(Fault::NoAnswerBefore)] {
        let (mut w, d, slip, orders, payment, number) = at_channel(Config::default(), &[]);
        if let Some(fault) = fault {
            w.channel_fault(fault);
        }
        assert_eq!(w.close_payment(&d, &payment).status, PaymentStatus::Closing);
        assert_eq!(statuses(&w, &d, &orders), [OrderStatus::InPayment; 2]);
        w.work();
        w.work_for(Duration::from_secs(90));
        let closed = w.payment(&d, &payment);
        assert_eq!((closed.status, closed.reason.as_deref()), (PaymentStatus::Closed, Some("closed_by_payer")));
        assert_eq!(w.channel.trade(&number).unwrap().state, TradeState::Closed, "{fault:?}");
        assert!(w.channel.pay(w.now, &number).is_err());
        w.close_slip(&d, slip.slip_number).unwrap();
        assert_eq!(statuses(&w, &d, &orders), [OrderStatus::Payable; 2]);
        w.check_quiet();
    }
}

#[test]
fn a_trade_that_the_channel_never_knew_is_over_after_deadline_and_margin() {
    let (mut w, d, _, orders, payment, _) = at_channel(Config::default(), &[Fault::NeverKnew]);
    let config = Config::default();
    w.close_payment(&d, &payment);
    w.work_for(config.pay_deadline + config.pay_margin - Duration::from_secs(5));
    assert_eq!(w.payment(&d, &payment).status, PaymentStatus::Closing, "it could still be scanned and paid");
    assert_eq!(statuses(&w, &d, &orders), [OrderStatus::InPayment; 2]);
    w.work_for(Duration::from_secs(10));
    assert_eq!(w.payment(&d, &payment).status, PaymentStatus::Closed);
    w.check_quiet();
}

#[test]
fn a_last_answer_is_one_that_was_asked_for_when_nothing_could_come_any_more() {
    let (mut w, d, _, _, payment, _) = at_channel(Config::default(), &[Fault::NeverKnew]);
    let config = Config::default();
    w.close_payment(&d, &payment);
    let before = w.ctx();
    let job = Tx::run(&w.conn, |tx| channels::take_due(tx, &before)).unwrap().unwrap();
    w.now = w.now.plus(config.pay_deadline + config.pay_margin + Duration::from_secs(10));
    let after = w.ctx();
    let unknown = Ok(ChannelAnswer::Trade(TradeStatus::Unknown));
    Tx::run(&w.conn, |tx| channels::settle(tx, &after, &job, unknown)).unwrap();
    assert_eq!(w.payment(&d, &payment).status, PaymentStatus::Closing, "it was asked for before the deadline");
    w.work();
    assert_eq!(w.payment(&d, &payment).status, PaymentStatus::Closed);
    w.check_quiet();
}

#[test]
fn an_attempt_ends_at_its_deadline_and_what_is_paid_until_then_counts() {
    let (mut w, d, slip, orders, payment, _) = at_channel(Config::default(), &[]);
    w.work_for(Config::default().pay_deadline + Duration::from_secs(60));
    assert_eq!(w.payment(&d, &payment).status, PaymentStatus::Closed);
    assert_eq!(w.slip(&d, slip.slip_number).status, SlipStatus::Open);
    assert_eq!(statuses(&w, &d, &orders), [OrderStatus::Payable; 2]);
    let (mut w, d, slip, orders, payment, number) = at_channel(Config::default(), &[Fault::NotificationLost]);
    w.close_payment(&d, &payment);
    w.channel.pay(w.now, &number).unwrap();
    w.work();
    assert_paid(&w, &d, &slip, &orders);
    w.check_quiet();
}

/// A payment that the channel has closed and takes money for all the same.
fn paid_after_close(config: Config) -> (World, Device, SlipView, [ServiceNumber; 2], PaymentView, String) {
    let (mut w, d, slip, orders, payment, number) = at_channel(config, &[Fault::PaidAfterClose]);
    w.close_payment(&d, &payment);
    w.work();
    assert_eq!(w.payment(&d, &payment).status, PaymentStatus::Closed);
    (w, d, slip, orders, payment, number)
}

#[test]
fn what_is_paid_after_the_end_is_applied_where_it_still_can_be() {
    // To the slip, which is open again.
    let (mut w, d, slip, orders, _, number) = paid_after_close(Config::default());
    w.channel.pay(w.now, &number).unwrap();
    w.work();
    assert_paid(&w, &d, &slip, &orders);
    w.check_quiet();
    // To the orders, which are free.
    let (mut w, d, slip, orders, payment, number) = paid_after_close(Config::default());
    w.close_slip(&d, slip.slip_number).unwrap();
    w.channel.pay(w.now, &number).unwrap();
    w.work();
    assert_paid(&w, &d, &slip, &orders);
    assert_eq!(w.payment(&d, &payment).status, PaymentStatus::Succeeded);
    w.check_quiet();
    // Back, since one of them is on another slip.
    let (mut w, d, slip, orders, payment, number) = paid_after_close(Config::default());
    w.close_slip(&d, slip.slip_number).unwrap();
    let other = w.make_slip(&d, &orders[..1]);
    w.channel.pay(w.now, &number).unwrap();
    w.work();
    assert_eq!(w.payment(&d, &payment).status, PaymentStatus::Closed);
    assert_eq!(w.slip(&d, other.slip_number).status, SlipStatus::Open);
    assert_eq!(
        (w.channel.trade(&number).unwrap().refunded, w.balance("suspense"), w.balance("channel:test")),
        (1_500, 0, 0)
    );
    w.check_quiet();
}

#[test]
fn money_that_comes_after_expiry_is_never_dropped() {
    let config = Config { mutation: Some(Mutation::DroppedPaidAfterExpiry), ..Config::default() };
    for (config, kept) in [(Config::default(), 1), (config, 0)] {
        let (mut w, d, slip, _, _, number) = paid_after_close(config);
        w.close_slip(&d, slip.slip_number).unwrap();
        w.channel.pay(w.now, &number).unwrap();
        w.work();
        let count = |sql: &str| w.conn.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT count(*) FROM channel_receipts"), kept, "what the channel has collected is on record");
    }
}

/// The channel has closed the first payment, the bank pays by a second one, and then the payer pays at the channel all the same.
fn two_channels(config: Config) -> (World, Device, SlipView, [ServiceNumber; 2], String) {
    let (mut w, mut d, slip, orders, _, number) = paid_after_close(config);
    w.pay(&mut d, &slip, Bank, 0);
    w.work();
    assert_paid(&w, &d, &slip, &orders);
    w.channel.pay(w.now, &number).unwrap();
    (w, d, slip, orders, number)
}

#[test]
fn a_slip_is_paid_once_whatever_two_channels_collect() {
    let (mut w, d, slip, orders, number) = two_channels(Config::default());
    w.work();
    assert_paid(&w, &d, &slip, &orders);
    assert_eq!(w.legs(&d, orders[0]), [(Bank, 1_000)]);
    assert_eq!((w.channel.trade(&number).unwrap().refunded, w.balance("channel:test")), (1_500, 0));
    w.work_for(DAY);
    w.check_quiet();
    // A merchant that forgets its lock is found out.
    let config = Config { mutation: Some(Mutation::TwoChannelsPaid), ..Config::default() };
    let (w, _, _, _, _) = two_channels(config);
    let body = w.channel.notifications(w.now).pop().unwrap();
    let receipt = w.channel.open_notification(body.as_bytes()).unwrap();
    let ctx = w.ctx();
    Tx::run(&w.conn, |tx| handle(tx, &ctx, &Caller::Channel(Test), Command::Notified(receipt))).unwrap();
    let violations = Tx::read(&w.conn, |tx| Ok(invariants::always(tx)?)).unwrap();
    assert!(violations.iter().any(|v| v.starts_with("legs and what is owed come to the total")), "{violations:?}");
}

#[test]
fn the_channel_pays_first_and_the_bank_gives_back() {
    // The channel's money comes while the bank is being asked: the slip is paid by it, and the bank's debit goes back.
    let (mut w, mut d, slip, orders, _, number) = paid_after_close(Config::default());
    let second = w.pay(&mut d, &slip, Bank, 0);
    w.bank.script("d", &[Script::LoseAnswer]);
    assert!(w.step());
    w.channel.pay(w.now, &number).unwrap();
    let body = w.channel.notifications(w.now).pop().unwrap();
    w.notify(&body).unwrap();
    assert_paid(&w, &d, &slip, &orders);
    w.work_for(DAY);
    assert_eq!(w.payment(&d, &second).status, PaymentStatus::Closed);
    assert_eq!((w.bank.taken(second.payment_id), w.balance("bank"), w.balance("suspense")), (0, 0, 0));
    w.check_quiet();
}

#[test]
fn a_late_success_of_the_bank_is_applied_or_given_back() {
    let declined = |method: Option<PaymentMethod>, close: bool| {
        let (mut w, mut d, slip, orders) = with_slip();
        w.top_up(2_000);
        w.bank.script("d", &[Script::DeclineButBook]);
        let payment = w.pay(&mut d, &slip, Bank, 100);
        while w.payment(&d, &payment).status == PaymentStatus::Open {
            assert!(w.step());
        }
        if let Some(method) = method {
            w.pay(&mut d, &slip, method, 1_500);
        }
        if close {
            w.close_slip(&d, slip.slip_number).unwrap();
        }
        w.work_for(DAY + DAY);
        w.check_quiet();
        (w, d, slip, orders, payment)
    };
    for close in [false, true] {
        let (w, d, slip, orders, payment) = declined(None, close);
        assert_paid(&w, &d, &slip, &orders);
        assert_eq!((w.bank.taken(payment.payment_id), w.stored_value(&d)), (1_400, 1_900), "both parts of it");
        assert_eq!(w.balance("suspense"), 0);
    }
    let (w, d, slip, orders, payment) = declined(Some(StoredValue), false);
    assert_paid(&w, &d, &slip, &orders);
    assert_eq!((w.bank.taken(payment.payment_id), w.stored_value(&d)), (0, 500), "it went back");
}

#[test]
fn a_basket_that_the_bank_refused_is_paid_by_slip() {
    let mut w = World::new();
    let mut d = w.device();
    let mut trip = w.trip();
    w.hold(&mut d, &mut trip, 500);
    w.work();
    w.bank.script("c", &[Script::Decline("insufficient_funds")]);
    assert_eq!(w.colas(&mut d, &mut trip, 5), Some(walkpay::protocol::document::Verdict::Accepted));
    w.work();
    let report = w.report(&trip);
    assert_eq!(report.order.as_deref(), Some("payable"));
    let number = report.service_number.unwrap();
    let slip = w.make_slip(&d, &[number]);
    // What the bank takes late while the order is on a slip goes back: the slip is what will be paid.
    w.bank.book(w.now, &format!("{}.c", trip.id), trip.id, 500);
    w.work_for(Duration::from_secs(60));
    assert_eq!(w.bank.taken(trip.id), 0);
    w.top_up(500);
    w.pay(&mut d, &slip, StoredValue, 500);
    assert_eq!(w.report(&trip).order.as_deref(), Some("paid"));
    assert_eq!((w.balance("receivable:s1"), w.balance("sales:s1")), (0, 500));
    let last = w.debits(&d).pop().unwrap();
    assert_eq!((last.status, last.due), (walkpay::protocol::document::DebitStatus::Settled, eur(0)));
    w.work_for(DAY);
    w.check_quiet();
}
