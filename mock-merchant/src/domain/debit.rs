//! The debit of an accepted basket: stored value first, the bank for the rest (A23, A24).

use super::attempts::{Case, business_date};
use super::tell::tell_document;
use super::{Ctx, holds, service, suspense};
use crate::bank::port::BankOutcome;
use crate::failure::{Failure, OrDefect};
use crate::store::calls::{self, BankCall, CallKind, NewCall};
use crate::store::devices::Device;
use crate::store::holds::HoldState;
use crate::store::ledger::{self, Transfer};
use crate::store::orders::{self, OrderState};
use crate::store::payments::{self, Payment, PaymentState};
use crate::store::stores::StoreRow;
use crate::store::users::UserState;
use crate::store::{Tx, devices, stores, trips, users};
use walkpay::Currency;
use walkpay::protocol::document::{DebitResult, DebitStatus, EventBody, Leg, LegState, PaymentMethod};
use walkpay::protocol::order::OrderNews;

/// Writes down what will move: the legs, and the first call to the bank.
pub(super) fn begin(tx: &Tx<'_>, ctx: &Ctx, payment: &Payment) -> Result<(), Failure> {
    if payment.stored_value > 0 {
        let reference = format!("{}.s", payment.trip);
        let method = PaymentMethod::StoredValue;
        payments::add_leg(tx, payment.payment, 1, method, payment.stored_value, &reference)?;
    }
    match &payment.entry {
        _ if payment.bank() == 0 => Ok(()),
        Some(entry) if payment.held > 0 => capture(tx, ctx, payment, entry),
        _ => plain(tx, ctx, payment, payment.bank()),
    }
}

fn capture(tx: &Tx<'_>, ctx: &Ctx, payment: &Payment, entry: &str) -> Result<(), Failure> {
    let reference = format!("{}.c", payment.trip);
    let minor = payment.bank().min(payment.held);
    payments::add_leg(tx, payment.payment, 2, PaymentMethod::Bank, minor, &reference)?;
    let call = NewCall {
        reference: &reference,
        subject: payment.trip.into(),
        pay: None,
        refund: None,
        kind: CallKind::Capture,
        hold: None,
        original: Some(entry),
        account: None,
        amount: payment.total.currency.minor(minor),
    };
    calls::order(tx, &call, ctx.now)?;
    Ok(())
}

/// The one plain debit of a trip.
fn plain(tx: &Tx<'_>, ctx: &Ctx, payment: &Payment, minor: i64) -> Result<(), Failure> {
    let trip = trips::get(tx, &payment.trip)?;
    let Some(bank) = users::bank(tx, trip.user)? else {
        return close(tx, ctx, payment, Some("account_unknown"));
    };
    let reference = format!("{}.d", payment.trip);
    payments::add_leg(tx, payment.payment, 3, PaymentMethod::Bank, minor, &reference)?;
    let call = NewCall {
        reference: &reference,
        subject: payment.trip.into(),
        pay: None,
        refund: None,
        kind: CallKind::Debit,
        hold: None,
        original: None,
        account: Some(&bank.token),
        amount: payment.total.currency.minor(minor),
    };
    calls::order(tx, &call, ctx.now)?;
    Ok(())
}

/// Notes that there was no answer: the leg is neither paid nor refused.
pub(super) fn unanswered(tx: &Tx<'_>, call: &BankCall) -> Result<(), Failure> {
    if matches!(call.kind, CallKind::Capture | CallKind::Debit) {
        payments::set_leg(tx, &call.reference, LegState::Unknown)?;
    }
    Ok(())
}

/// The bank's definite answer to a capture.
pub(super) fn captured(tx: &Tx<'_>, ctx: &Ctx, call: &BankCall, outcome: &BankOutcome) -> Result<(), Failure> {
    let payment = open_payment(tx, call)?;
    let entry = call.original.as_deref().or_defect("entry of a capture")?;
    match outcome {
        BankOutcome::Approved { amount, .. } => {
            holds::entry_resolved(tx, ctx, &call.trip()?, entry, HoldState::Captured)?;
            if amount.minor < call.amount.minor {
                return partial(tx, ctx, &payment, call, amount.minor);
            }
            payments::set_leg(tx, &call.reference, LegState::Succeeded)?;
            match payment.bank() - call.amount.minor {
                0 => close(tx, ctx, &payment, None),
                rest => plain(tx, ctx, &payment, rest),
            }
        }
        BankOutcome::Declined { reason } => {
            payments::set_leg(tx, &call.reference, LegState::Failed)?;
            if reason == "hold_expired" || reason == "hold_unknown" {
                holds::entry_resolved(tx, ctx, &call.trip()?, entry, HoldState::Expired)?;
                return plain(tx, ctx, &payment, payment.bank());
            }
            close(tx, ctx, &payment, Some(reason))
        }
    }
}

/// The bank's definite answer to a plain debit.
pub(super) fn debited(tx: &Tx<'_>, ctx: &Ctx, call: &BankCall, outcome: &BankOutcome) -> Result<(), Failure> {
    let payment = open_payment(tx, call)?;
    match outcome {
        BankOutcome::Approved { amount, .. } if amount.minor < call.amount.minor => {
            partial(tx, ctx, &payment, call, amount.minor)
        }
        BankOutcome::Approved { .. } => {
            payments::set_leg(tx, &call.reference, LegState::Succeeded)?;
            close(tx, ctx, &payment, None)
        }
        BankOutcome::Declined { reason } => {
            payments::set_leg(tx, &call.reference, LegState::Failed)?;
            close(tx, ctx, &payment, Some(reason))
        }
    }
}

/// A partial approval is given back and counts as a refusal.
fn partial(tx: &Tx<'_>, ctx: &Ctx, payment: &Payment, call: &BankCall, approved: i64) -> Result<(), Failure> {
    if approved <= 0 {
        payments::set_leg(tx, &call.reference, LegState::Failed)?;
        return close(tx, ctx, payment, Some("partial_approval"));
    }
    let which = if call.kind == CallKind::Capture { "c" } else { "d" };
    let reference = format!("{}.v.{which}", payment.trip);
    let reverse = NewCall {
        reference: &reference,
        subject: payment.trip.into(),
        pay: None,
        refund: None,
        kind: CallKind::Reverse,
        hold: None,
        original: Some(&call.reference),
        account: None,
        amount: payment.total.currency.minor(approved),
    };
    calls::order(tx, &reverse, ctx.now)?;
    Ok(())
}

/// The bank's definite answer to giving a partial approval back.
pub(super) fn reversed(tx: &Tx<'_>, ctx: &Ctx, call: &BankCall, outcome: &BankOutcome) -> Result<(), Failure> {
    let payment = open_payment(tx, call)?;
    let original = call.original.as_deref().or_defect("original of a reversal")?;
    payments::set_leg(tx, original, LegState::Failed)?;
    close(tx, ctx, &payment, Some("partial_approval"))?;
    let kept = match outcome {
        BankOutcome::Approved { amount, .. } => call.amount.minor - amount.minor,
        BankOutcome::Declined { .. } => call.amount.minor,
    };
    match kept {
        // The bank keeps what it should have given back: it pays what is due, or is asked for again.
        1.. => suspense::found(tx, ctx, &call.subject, original, 0, payment.total.currency.minor(kept)),
        _ => Ok(()),
    }
}

fn open_payment(tx: &Tx<'_>, call: &BankCall) -> Result<Payment, Failure> {
    payments::of_trip(tx, &call.trip()?)?
        .filter(|p| p.state == PaymentState::Open)
        .or_defect("open debit of a bank call")
}

/// Posts what stored value covers, in the transaction that accepts the basket: the payment is closed as it is added. What the device is
/// to be told.
pub(super) fn post_covered(case: &Case<'_>, payment: Payment, day: &str) -> Result<DebitResult, Failure> {
    let Case { tx, ctx, device, store, .. } = *case;
    let receipt = stores::next_receipt(tx, store.store)?;
    let mut payment = Payment { state: PaymentState::Closed, receipt: Some(receipt), ..payment };
    payment.payment = payments::add(tx, &payment, ctx.now)?;
    let total = payment.total;
    let (mut legs, mut postings) = (Vec::new(), Vec::new());
    if let Some(account) = device.account.filter(|_| total.minor > 0) {
        let (method, state) = (PaymentMethod::StoredValue, LegState::Succeeded);
        let leg = Leg { method, amount: total, reference: format!("{}.s", payment.trip), state };
        payments::add_posted(tx, &payment, &leg, day, ctx.now)?;
        legs.push(leg);
        postings.push((account, -total.minor));
    }
    postings.push((account_of(tx, "sales", store, total.currency)?, total.minor));
    post(tx, ctx, &payment, store, day, receipt, &postings)?;
    Ok(result(ctx, device, store, payment, legs, DebitStatus::Debited, 0))
}

/// Posts debits that stored value covers and that an earlier version has left open.
pub(super) fn post_local(tx: &Tx<'_>, ctx: &Ctx, limit: u32) -> Result<usize, Failure> {
    let local = payments::local(tx, limit)?;
    for payment in &local {
        close(tx, ctx, payment, None)?;
    }
    Ok(local.len())
}

/// Closes the intent for ever: posts what moved; what did not is owed; tells the device; frees holds.
fn close(tx: &Tx<'_>, ctx: &Ctx, payment: &Payment, reason: Option<&str>) -> Result<(), Failure> {
    let trip = trips::get(tx, &payment.trip)?;
    let store = stores::get(tx, trip.store.or_defect("store of an accepted trip")?)?;
    let currency = payment.total.currency;
    let legs = payments::legs(tx, payment.payment, currency)?;
    let by_bank: i64 = succeeded(&legs).map(|l| l.amount.minor).sum();
    let due = payment.bank() - by_bank;
    let receipt = stores::next_receipt(tx, store.store)?;
    let mut postings = Vec::with_capacity(4);
    if let Some((account, minor)) = ledger::take_reservation(tx, &payment.trip)? {
        postings.push((account, -minor));
        payments::stored_value_moved(tx, payment.payment)?;
    }
    postings.push((clearing(tx, currency)?, -by_bank));
    postings.push((account_of(tx, "receivable", &store, currency)?, -due));
    postings.push((account_of(tx, "sales", &store, currency)?, payment.total.minor));
    let day = business_date(ctx.now, &store.info.time_zone)?;
    post(tx, ctx, payment, &store, &day, receipt, &postings)?;
    payments::date_legs(tx, payment.payment, &day, ctx.now)?;
    payments::close(tx, payment.payment, reason, receipt, ctx.now)?;
    let (state, status) = match due {
        0 => (OrderState::Paid, DebitStatus::Debited),
        _ => (OrderState::Payable, DebitStatus::Unpaid),
    };
    let deadline = (due > 0).then(|| ctx.now.plus(ctx.config.payable));
    orders::set(tx, payment.number, state, due, deadline)?;
    tell_result(tx, ctx, payment, status, due)?;
    if due > 0 {
        service::tell_payer(tx, ctx, payment.number, OrderNews::Payable)?;
        service::arrange(tx, ctx, &orders::get(tx, payment.number)?)?;
    }
    holds::release_unneeded(tx, ctx, &payment.trip)?;
    if payment.bank() > 0 {
        calls::read_statement_by(tx, ctx.now.plus(ctx.config.statement_after_debit))?;
    }
    forget_binding(tx, trip.user)
}

/// The transfer of a debit, under a reference that rises with the order's number, as its row does.
fn post(
    tx: &Tx<'_>,
    ctx: &Ctx,
    payment: &Payment,
    store: &StoreRow,
    day: &str,
    receipt: u64,
    postings: &[(i64, i64)],
) -> Result<(), Failure> {
    let transfer = Transfer {
        kind: "debit",
        reference: &format!("{:015}.debit", payment.number.number()),
        store: Some(store.store),
        trip: Some(payment.trip),
        business_date: day,
        receipt: Some(receipt),
        at: ctx.now,
    };
    ledger::post(tx, &transfer, postings)?;
    Ok(())
}

fn succeeded(legs: &[Leg]) -> impl Iterator<Item = &Leg> {
    legs.iter().filter(|l| l.state == LegState::Succeeded && l.method != PaymentMethod::StoredValue)
}

/// Tells the device how its debit ended, now that it is written down.
pub(super) fn tell_result(
    tx: &Tx<'_>,
    ctx: &Ctx,
    payment: &Payment,
    status: DebitStatus,
    due: i64,
) -> Result<(), Failure> {
    let payment = payments::of_trip(tx, &payment.trip)?.or_defect("payment")?;
    let trip = trips::get(tx, &payment.trip)?;
    let device = devices::get(tx, trip.device)?;
    let store = stores::get(tx, trip.store.or_defect("store of an accepted trip")?)?;
    let legs = payments::legs(tx, payment.payment, payment.total.currency)?;
    tell_debit(tx, ctx, &device, result(ctx, &device, &store, payment, legs, status, due))
}

/// Tells the device a result.
pub(super) fn tell_debit(tx: &Tx<'_>, ctx: &Ctx, device: &Device, result: DebitResult) -> Result<(), Failure> {
    tell_document(tx, ctx, device, result, |document| EventBody::Debit { document })?;
    Ok(())
}

fn result(
    ctx: &Ctx,
    device: &Device,
    store: &StoreRow,
    payment: Payment,
    legs: Vec<Leg>,
    status: DebitStatus,
    due: i64,
) -> DebitResult {
    DebitResult {
        merchant_id: ctx.keys.merchant_id().clone(),
        store_id: store.info.store_id.clone(),
        sub: device.sub.clone(),
        device_id: device.device_id,
        trip_id: payment.trip,
        attempt: payment.attempt,
        service_number: payment.number,
        status,
        total: payment.total,
        due: payment.total.currency.minor(due),
        legs,
        reason: payment.reason.filter(|_| status == DebitStatus::Unpaid),
        receipt_number: payment.receipt,
        issued_at: ctx.now,
    }
}

/// The bank account of an erased user is needed until the last debit is closed.
pub(super) fn forget_binding(tx: &Tx<'_>, user: i64) -> Result<(), Failure> {
    if users::get(tx, user)?.state == UserState::Erased && !payments::user_has_open(tx, user)? {
        users::set_bank(tx, user, None)?;
    }
    Ok(())
}

/// What the bank owes the merchant for captured money.
pub(super) fn clearing(tx: &Tx<'_>, currency: Currency) -> Result<i64, Failure> {
    Ok(ledger::account(tx, "bank", currency, None)?)
}

/// `sales:{store}` or `receivable:{store}`.
pub(super) fn account_of(
    tx: &Tx<'_>,
    what: &str,
    store: &stores::StoreRow,
    currency: Currency,
) -> Result<i64, Failure> {
    Ok(ledger::account(tx, &format!("{what}:{}", store.info.store_id), currency, None)?)
}
