//! What Alipay's notifications do to payments: forged, foreign, replayed, reordered, late. The calls go to a channel that only promises.

use crate::channel::alipay::{Settings, open, signing};
use crate::channel::port::Notice;
use crate::channel::rsa_key::{RsaKey, generate};
use crate::domain::*;
use crate::failure::Failure;
use crate::testing::*;
use std::sync::LazyLock;
use std::time::Duration;
use walkpay::protocol::document::PaymentMethod::{self, *};
use walkpay::protocol::order::*;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{Currency, Money, ServiceNumber};

static ALIPAY: LazyLock<RsaKey> = LazyLock::new(|| RsaKey::parse(&generate([1; 32]).unwrap()).unwrap());
static STRANGER: LazyLock<RsaKey> = LazyLock::new(|| RsaKey::parse(&generate([2; 32]).unwrap()).unwrap());

fn cny(minor: i64) -> Money {
    Currency::parse("CNY").unwrap().minor(minor)
}

/// A payment of 15.00 by Alipay whose code was given out.
fn launched() -> (World, Device, SlipView, ServiceNumber, PaymentView) {
    let mut w = World::with(Config { channels: vec![Settings::default().identity()], ..Config::default() });
    let mut d = w.device();
    let order = w.service_order(cny(1_500));
    let slip = w.make_slip(&d, &[order]);
    let payment = w.pay(&mut d, &slip, Alipay, 0);
    w.work();
    (w, d, slip, order, payment)
}

fn paid(w: &World, d: &Device, slip: &SlipView) -> signing::Params {
    let identity = Settings::default().identity();
    [
        ("app_id", identity.application),
        ("seller_id", identity.seller),
        ("out_trade_no", w.trade_number(d, slip.slip_number)),
        ("trade_no", "2026".to_owned()),
        ("trade_status", "TRADE_SUCCESS".to_owned()),
        ("total_amount", "15.00".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn but(mut params: signing::Params, name: &str, value: &str) -> signing::Params {
    params.insert(name.to_owned(), value.to_owned());
    params
}

/// Delivers a notification signed by `key`, as the server does.
fn notify(w: &World, key: &RsaKey, params: signing::Params) -> Result<(), ProblemCode> {
    let form = signing::form(&signing::sign_notification(key, params).unwrap());
    match open(ALIPAY.public(), form.as_bytes()) {
        Err(_) => Err(ProblemCode::SignatureInvalid),
        Ok(Notice::Other) => Ok(()),
        Ok(Notice::Paid(receipt)) => {
            let taken = w.run(&Caller::Channel(PaymentMethod::Alipay), Command::Notified(receipt));
            taken.map(|_| ()).map_err(|e: Failure| e.code())
        }
    }
}

#[test]
fn only_what_alipay_signed_about_this_payment_pays_it() {
    let (w, d, slip, order, payment) = launched();
    let good = paid(&w, &d, &slip);
    assert_eq!(notify(&w, &STRANGER, good.clone()), Err(ProblemCode::SignatureInvalid));
    for (name, value, code) in [
        ("app_id", "2021000000000002", ProblemCode::DocumentMismatch),
        ("seller_id", "2088000000000002", ProblemCode::DocumentMismatch),
        ("total_amount", "15.01", ProblemCode::DocumentMismatch),
        ("total_amount", "1500", ProblemCode::DocumentMismatch),
        ("trans_currency", "HKD", ProblemCode::DocumentMismatch),
        ("out_trade_no", "00000000000000000099", ProblemCode::NotFound),
    ] {
        assert_eq!(notify(&w, &ALIPAY, but(good.clone(), name, value)), Err(code), "{name}={value}");
    }
    assert_eq!(w.payment(&d, &payment).status, PaymentStatus::Open);
    for _ in 0..3 {
        assert_eq!(notify(&w, &ALIPAY, good.clone()), Ok(()));
    }
    assert_eq!(w.payment(&d, &payment).status, PaymentStatus::Succeeded);
    assert_eq!(w.legs(&d, order), [(Alipay, 1_500)], "replayed, and booked once");
    w.check();
}

#[test]
fn a_refund_that_overtakes_its_payment_pays_nothing() {
    let (w, d, slip, _, payment) = launched();
    let good = paid(&w, &d, &slip);
    let refunded = but(but(good.clone(), "refund_fee", "5.00"), "out_biz_no", "r1");
    assert_eq!(notify(&w, &ALIPAY, refunded.clone()), Ok(()));
    assert_eq!(notify(&w, &ALIPAY, but(good.clone(), "trade_status", "TRADE_CLOSED")), Ok(()));
    assert_eq!(w.payment(&d, &payment).status, PaymentStatus::Open);
    assert_eq!(notify(&w, &ALIPAY, but(good.clone(), "trade_status", "TRADE_FINISHED")), Ok(()));
    assert_eq!(w.payment(&d, &payment).status, PaymentStatus::Succeeded);
    assert_eq!((notify(&w, &ALIPAY, good), notify(&w, &ALIPAY, refunded)), (Ok(()), Ok(())), "out of order");
    assert_eq!(w.slip(&d, slip.slip_number).status, SlipStatus::Paid);
    w.check();
}

#[test]
fn what_is_paid_while_it_is_being_given_up_counts() {
    let (mut w, d, slip, order, payment) = launched();
    let good = paid(&w, &d, &slip);
    assert_eq!(w.close_payment(&d, &payment).status, PaymentStatus::Closing);
    w.pass(Duration::from_secs(60));
    assert_eq!(notify(&w, &ALIPAY, good), Ok(()));
    assert_eq!((w.payment(&d, &payment).status, w.legs(&d, order)), (PaymentStatus::Succeeded, vec![(Alipay, 1_500)]));
    w.check();
}

#[test]
fn what_is_paid_after_the_end_is_applied_where_it_still_can_be_and_never_twice() {
    let (mut w, mut d, slip, order, payment) = launched();
    let first = paid(&w, &d, &slip);
    w.close_payment(&d, &payment);
    w.work_for(Duration::from_secs(3_600));
    assert_eq!(w.payment(&d, &payment).status, PaymentStatus::Closed);
    // The same trade number under another trade of Alipay's: money that came twice goes back.
    assert_eq!(notify(&w, &ALIPAY, first.clone()), Ok(()));
    assert_eq!(w.legs(&d, order), [(Alipay, 1_500)]);
    assert_eq!(notify(&w, &ALIPAY, but(first, "trade_no", "2027")), Ok(()));
    assert_eq!(w.legs(&d, order), [(Alipay, 1_500)]);
    let again = w.slip_payment(&mut d, &slip, Alipay, 0);
    assert_eq!(w.put_payment(&d, &again).unwrap_err().code(), ProblemCode::SlipOver);
    w.check();
}
