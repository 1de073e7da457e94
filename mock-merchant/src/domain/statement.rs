//! The bank's statement: every entry is explained by a call, or its money goes to suspense and is applied or given back.

use super::attempts::business_date;
use super::debit::{account_of, clearing, tell_result};
use super::{Ctx, Mutation, paying};
use crate::bank::port::{BankOutcome, StatementEntry, Subject};
use crate::failure::{Failure, OrDefect};
use crate::store::calls::{self, BankCall, CallKind, CallState, NewCall};
use crate::store::ledger::{self, Transfer};
use crate::store::orders::{self, OrderState};
use crate::store::payments;
use crate::store::pays;
use crate::store::statement::{self, EntryState, Suspense, SuspenseState};
use crate::store::{Tx, stores, trips};
use walkpay::Money;
use walkpay::protocol::document::DebitStatus;

/// Takes in entries after the cursor, in order.
pub(super) fn read_in(tx: &Tx<'_>, ctx: &Ctx, entries: &[StatementEntry]) -> Result<(), Failure> {
    for entry in entries {
        let call = calls::find(tx, &entry.reference)?;
        let waits = call.as_ref().is_some_and(|c| c.state == CallState::Open);
        let state = if waits { EntryState::Waiting } else { EntryState::Explained };
        if statement::add(tx, entry, state)? && !waits {
            explain(tx, ctx, entry.seq, &entry.subject, &entry.reference, entry.amount, call.as_ref())?;
        }
    }
    Ok(())
}

/// A call has its definite answer: entries that waited for it can be explained.
pub(super) fn settled(tx: &Tx<'_>, ctx: &Ctx, reference: &str) -> Result<(), Failure> {
    let waiting = statement::waiting(tx, reference)?;
    if waiting.is_empty() {
        return Ok(());
    }
    let call = calls::find(tx, reference)?.or_defect("settled bank call")?;
    for (seq, amount) in waiting {
        statement::set(tx, seq, EntryState::Explained)?;
        explain(tx, ctx, seq, &call.subject, reference, amount, Some(&call))?;
    }
    Ok(())
}

/// An approved call explains as much as it was approved for. What is taken beyond that is a late success.
fn explain(
    tx: &Tx<'_>,
    ctx: &Ctx,
    seq: u64,
    subject: &Subject,
    reference: &str,
    amount: Money,
    call: Option<&BankCall>,
) -> Result<(), Failure> {
    let expected = match call {
        Some(call) if call.state == CallState::Approved && call.amount.currency == amount.currency => {
            let approved = call.approved.unwrap_or_default();
            match call.kind {
                CallKind::Capture | CallKind::Debit => approved,
                CallKind::Reverse | CallKind::Refund => -approved,
                CallKind::Place | CallKind::Raise | CallKind::Release => 0,
            }
        }
        _ => 0,
    };
    let beyond = amount.minor - expected;
    if beyond > 0 && ctx.config.mutation != Some(Mutation::DroppedLateSuccess) {
        statement::set(tx, seq, EntryState::Suspense)?;
        return found(tx, ctx, subject, reference, amount.currency.minor(beyond));
    }
    Ok(())
}

/// Money that no intent explains: it is posted to suspense, then applied to the slip that it is for, or
/// to the trip's order if that is payable for at least as much and on no slip; else given back.
pub(super) fn found(tx: &Tx<'_>, ctx: &Ctx, subject: &Subject, reference: &str, amount: Money) -> Result<(), Failure> {
    if !statement::add_suspense(tx, subject, reference, amount, ctx.now)? {
        return Ok(());
    }
    let suspense = ledger::account(tx, "suspense", amount.currency, Some(0))?;
    let bank = clearing(tx, amount.currency)?;
    let postings = [(bank, -amount.minor), (suspense, amount.minor)];
    post(tx, ctx, "late_success", &format!("{reference}.late"), subject, &postings)?;
    if let Some(open) = statement::suspense(tx, reference)? {
        resolve(tx, ctx, &open)?;
    }
    Ok(())
}

fn resolve(tx: &Tx<'_>, ctx: &Ctx, open: &Suspense) -> Result<(), Failure> {
    let currency = open.amount.currency;
    if let Ok(payment_id) = open.subject.payment()
        && let Some(pay) = pays::find(tx, &payment_id)?
        && pay.amount == open.amount
        && paying::settle(tx, ctx, &pay, ledger::account(tx, "suspense", currency, Some(0))?)?
    {
        return Ok(statement::set_suspense(tx, open.suspense, SuspenseState::Applied)?);
    }
    let payment = open.subject.trip().ok().map(|trip| payments::of_trip(tx, &trip)).transpose()?.flatten();
    if let Some(payment) = payment
        && payment.total.currency == open.amount.currency
    {
        let order = orders::get(tx, payment.number)?;
        if order.state == OrderState::Payable && order.slip.is_none() && order.due >= open.amount.minor {
            return apply(tx, ctx, open, &payment, order.due);
        }
    }
    statement::set_suspense(tx, open.suspense, SuspenseState::Refunding)?;
    let refunds = statement::refunds(tx, &open.subject)?;
    let reference = match refunds {
        0 | 1 => format!("{}.f", open.subject),
        n => format!("{}.f{n}", open.subject),
    };
    let call = NewCall {
        reference: &reference,
        subject: open.subject,
        pay: None,
        refund: None,
        kind: CallKind::Refund,
        hold: None,
        original: Some(&open.reference),
        account: None,
        amount: open.amount,
    };
    calls::order(tx, &call, ctx.now)?;
    Ok(())
}

fn apply(tx: &Tx<'_>, ctx: &Ctx, open: &Suspense, payment: &payments::Payment, due: i64) -> Result<(), Failure> {
    let trip = trips::get(tx, &payment.trip)?;
    let store = stores::get(tx, trip.store.or_defect("store of an accepted trip")?)?;
    let currency = open.amount.currency;
    let suspense = ledger::account(tx, "suspense", currency, Some(0))?;
    let receivable = account_of(tx, "receivable", &store, currency)?;
    let postings = [(suspense, -open.amount.minor), (receivable, open.amount.minor)];
    post(tx, ctx, "apply_late", &format!("{}.applied", open.reference), &open.subject, &postings)?;
    statement::set_suspense(tx, open.suspense, SuspenseState::Applied)?;
    let date = business_date(ctx.now, &store.info.time_zone)?;
    payments::settle_late(tx, payment.payment, &open.reference, open.amount.minor, &date, ctx.now)?;
    let rest = due - open.amount.minor;
    let state = if rest == 0 { OrderState::Paid } else { OrderState::Payable };
    orders::set(tx, payment.number, state, rest, None)?;
    let status = if rest == 0 { DebitStatus::Settled } else { DebitStatus::Unpaid };
    tell_result(tx, ctx, payment, status, rest)
}

/// The bank's definite answer to giving a late success back.
pub(super) fn refunded(tx: &Tx<'_>, ctx: &Ctx, call: &BankCall, outcome: &BankOutcome) -> Result<(), Failure> {
    let original = call.original.as_deref().or_defect("original of a refund")?;
    let open = statement::suspense(tx, original)?.or_defect("suspense of a refund")?;
    let given = match outcome {
        BankOutcome::Approved { amount, .. } => amount.minor.clamp(0, open.amount.minor),
        BankOutcome::Declined { .. } => 0,
    };
    // What the bank does not take back stays in suspense, where the operator finds it.
    match open.amount.minor - given {
        0 => statement::set_suspense(tx, open.suspense, SuspenseState::Refunded)?,
        rest => statement::keep_in_suspense(tx, open.suspense, rest)?,
    }
    if given == 0 {
        return Ok(());
    }
    let suspense = ledger::account(tx, "suspense", open.amount.currency, Some(0))?;
    let bank = clearing(tx, open.amount.currency)?;
    post(tx, ctx, "refund", &call.reference, &call.subject, &[(suspense, -given), (bank, given)])
}

fn post(
    tx: &Tx<'_>,
    ctx: &Ctx,
    kind: &str,
    reference: &str,
    subject: &Subject,
    postings: &[(i64, i64)],
) -> Result<(), Failure> {
    let trip = subject.trip().ok().map(|trip| trips::find(tx, &trip)).transpose()?.flatten();
    let store = trip.as_ref().and_then(|t| t.store);
    let time_zone = store.map(|s| stores::get(tx, s)).transpose()?.map_or("UTC".to_owned(), |s| s.info.time_zone);
    ledger::post(
        tx,
        &Transfer {
            kind,
            reference,
            store,
            trip: trip.map(|t| t.trip),
            business_date: &business_date(ctx.now, &time_zone)?,
            receipt: None,
            at: ctx.now,
        },
        postings,
    )?;
    Ok(())
}
