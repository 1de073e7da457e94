//! Money that no intent explains: applied to what is due, given back, or kept until the operator decides.

use super::attempts::business_date;
use super::debit::{account_of, clearing, tell_result};
use super::{Answer, Ctx, SuspenseNumber, SuspenseRow, paying};
use crate::bank::port::{BankOutcome, Subject};
use crate::failure::{Failure, OrDefect, refuse};
use crate::store::calls::{self, BankCall, CallKind, NewCall};
use crate::store::ledger::{self, Transfer};
use crate::store::orders::{self, OrderState};
use crate::store::suspense::{self, NewSuspense, Suspense, SuspenseKind, SuspenseState};
use crate::store::{Tx, legs, payments, pays, stores, trips, users};
use walkpay::protocol::document::DebitStatus;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{Currency, Money, ServiceNumber};

/// How much a listing shows.
const MAX_LISTED: u32 = 1_000;
/// The longest note of the operator.
const MAX_NOTE: usize = 200;

/// Money that no intent explains, with the entry of the statement that shows it, if one does. What the bank took is posted to suspense, then
/// applied to the slip that it is for, or to the trip's order if that is payable for at least as much and on no slip; else given back. What
/// the bank took back (negative) is posted as owed by it, until it makes that good under the same reference.
pub(super) fn found(
    tx: &Tx<'_>,
    ctx: &Ctx,
    subject: &Subject,
    reference: &str,
    entry: u64,
    amount: Money,
) -> Result<(), Failure> {
    let currency = amount.currency;
    let bank = clearing(tx, currency)?;
    if let Some(owed) = suspense::taken_back(tx, reference, amount)? {
        let postings = [(bank, -amount.minor), (account(tx, SuspenseKind::TakenBack, currency)?, amount.minor)];
        post(tx, ctx, "made_good", &format!("{reference}.good.{entry}"), subject, &postings)?;
        return Ok(suspense::set(tx, owed.suspense, SuspenseState::Applied)?);
    }
    let kind = if amount.minor < 0 { SuspenseKind::TakenBack } else { SuspenseKind::Late };
    let Some(open) = suspense::add(tx, &NewSuspense { kind, subject, reference, entry, amount }, ctx.now)? else {
        return Ok(());
    };
    let word = if kind == SuspenseKind::Late { "late_success" } else { "taken_back" };
    let postings = [(bank, -amount.minor), (account(tx, kind, currency)?, amount.minor)];
    post(tx, ctx, word, &format!("{reference}.late.{}", open.suspense), subject, &postings)?;
    if kind == SuspenseKind::Late { resolve(tx, ctx, &open) } else { Ok(()) }
}

fn resolve(tx: &Tx<'_>, ctx: &Ctx, open: &Suspense) -> Result<(), Failure> {
    let currency = open.amount.currency;
    if let Ok(payment_id) = open.subject.payment()
        && let Some(pay) = pays::find(tx, &payment_id)?
        && pay.amount == open.amount
        && paying::settle(tx, ctx, &pay, account(tx, open.kind, currency)?)?
    {
        return Ok(suspense::set(tx, open.suspense, SuspenseState::Applied)?);
    }
    let payment = open.subject.trip().ok().map(|trip| payments::of_trip(tx, &trip)).transpose()?.flatten();
    if let Some(payment) = payment
        && payment.total.currency == currency
    {
        let order = orders::get(tx, payment.number)?;
        if order.state == OrderState::Payable && order.slip.is_none() && order.due >= open.amount.minor {
            return apply(tx, ctx, open, &payment, order.due);
        }
    }
    give_back(tx, ctx, open)
}

/// Asks the bank to take unexplained money back, under a reference of its own each time: a refusal stands for ever.
fn give_back(tx: &Tx<'_>, ctx: &Ctx, open: &Suspense) -> Result<(), Failure> {
    let reference = match open.tries {
        0 => format!("{}.f.{}", open.subject, open.suspense),
        tries => format!("{}.f.{}.{tries}", open.subject, open.suspense),
    };
    suspense::ask(tx, open.suspense, &reference)?;
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
    calls::order(tx, &call, ctx.now)?.then_some(()).or_defect("a refund that was not ordered before")
}

fn apply(tx: &Tx<'_>, ctx: &Ctx, open: &Suspense, payment: &payments::Payment, due: i64) -> Result<(), Failure> {
    let trip = trips::get(tx, &payment.trip)?;
    let store = stores::get(tx, trip.store.or_defect("store of an accepted trip")?)?;
    let currency = open.amount.currency;
    let receivable = account_of(tx, "receivable", &store, currency)?;
    let postings = [(account(tx, open.kind, currency)?, -open.amount.minor), (receivable, open.amount.minor)];
    let reference = format!("{}.applied.{}", open.reference, open.suspense);
    post(tx, ctx, "apply_late", &reference, &open.subject, &postings)?;
    suspense::set(tx, open.suspense, SuspenseState::Applied)?;
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
    let open = suspense::asked_as(tx, &call.reference)?.or_defect("suspense of a refund")?;
    let given = match outcome {
        BankOutcome::Approved { amount, .. } => amount.minor.clamp(0, open.amount.minor),
        BankOutcome::Declined { .. } => 0,
    };
    // What the bank does not take back stays in suspense, where the operator finds it.
    match open.amount.minor - given {
        0 => suspense::set(tx, open.suspense, SuspenseState::Refunded)?,
        rest => suspense::keep(tx, open.suspense, rest)?,
    }
    if given == 0 {
        return Ok(());
    }
    let currency = open.amount.currency;
    let postings = [(account(tx, open.kind, currency)?, -given), (clearing(tx, currency)?, given)];
    post(tx, ctx, "refund", &call.reference, &call.subject, &postings)
}

/// What has not come to its end, for the operator.
pub(super) fn list(tx: &Tx<'_>) -> Result<Vec<SuspenseRow>, Failure> {
    let row = |s: Suspense| SuspenseRow {
        number: SuspenseNumber::Money(s.suspense),
        kind: s.kind.word().to_owned(),
        state: s.state.word().to_owned(),
        amount: s.amount,
        reference: s.reference,
        tries: s.tries,
        found_at: s.found_at,
    };
    let mut rows: Vec<_> = suspense::unsettled(tx, MAX_LISTED)?.into_iter().map(row).collect();
    rows.extend(paying::receipts(tx, MAX_LISTED)?);
    Ok(rows)
}

/// Gives open money back, since the operator says so: a late success to the bank, and a receipt to its channel, under another reference; what
/// a refund could not give back to its payer's stored value.
pub(super) fn return_it(tx: &Tx<'_>, ctx: &Ctx, number: SuspenseNumber) -> Result<Answer, Failure> {
    match number {
        SuspenseNumber::Receipt(receipt) => paying::return_receipt(tx, ctx, receipt)?,
        SuspenseNumber::Money(suspense) => {
            let open = open(tx, suspense)?;
            match open.kind {
                SuspenseKind::Late => give_back(tx, ctx, &open)?,
                SuspenseKind::Refund => credit(tx, ctx, &open)?,
                SuspenseKind::TakenBack => {
                    let detail = "the bank owes this: settle it once that has made it good";
                    return Err(refuse(ProblemCode::InvalidValue, detail));
                }
            }
        }
    }
    stores::audit(tx, ctx.now, "operator", "return_suspense", &number.to_string())?;
    Ok(Answer::Done)
}

/// Pays orders with what a channel has collected, since the operator says so.
pub(super) fn assign(
    tx: &Tx<'_>,
    ctx: &Ctx,
    number: SuspenseNumber,
    orders: &[ServiceNumber],
) -> Result<Answer, Failure> {
    let SuspenseNumber::Receipt(receipt) = number else {
        let detail = "only what a channel has collected can pay orders: expected a number such as c7";
        return Err(refuse(ProblemCode::InvalidValue, detail));
    };
    paying::assign_receipt(tx, ctx, receipt, orders)?;
    stores::audit(tx, ctx.now, "operator", "assign_suspense", &number.to_string())?;
    Ok(Answer::Done)
}

fn credit(tx: &Tx<'_>, ctx: &Ctx, open: &Suspense) -> Result<(), Failure> {
    let currency = open.amount.currency;
    let number = legs::number_of_refund(tx, &open.reference)?.or_defect("order of a refund in suspense")?;
    let payer = users::get(tx, orders::get(tx, number)?.payer)?;
    let same = |account: &i64| ledger::balance(tx, *account).is_ok_and(|(balance, _)| balance.currency == currency);
    let stored = payer.account.filter(same).filter(|_| payer.state != users::UserState::Erased).ok_or_else(|| {
        let detail = "its payer has no stored value in this currency: give it back by other means, then settle it";
        refuse(ProblemCode::InvalidValue, detail)
    })?;
    let postings = [(account(tx, open.kind, currency)?, -open.amount.minor), (stored, open.amount.minor)];
    let reference = format!("suspense.{}.returned", open.suspense);
    post(tx, ctx, "return_suspense", &reference, &open.subject, &postings)?;
    Ok(suspense::set(tx, open.suspense, SuspenseState::Refunded)?)
}

/// Closes open money that was settled by other means: handed out, made good, or written off.
pub(super) fn settle(tx: &Tx<'_>, ctx: &Ctx, number: SuspenseNumber, note: &str) -> Result<Answer, Failure> {
    if !(1..=MAX_NOTE).contains(&note.chars().count()) || note.chars().any(char::is_control) {
        return Err(refuse(ProblemCode::InvalidValue, format!("note: expected 1 to {MAX_NOTE} printable characters")));
    }
    match number {
        SuspenseNumber::Receipt(receipt) => paying::settle_receipt(tx, ctx, receipt)?,
        SuspenseNumber::Money(suspense) => {
            let open = open(tx, suspense)?;
            let currency = open.amount.currency;
            let settled = ledger::account(tx, "settled", currency, None)?;
            let postings = [(account(tx, open.kind, currency)?, -open.amount.minor), (settled, open.amount.minor)];
            let reference = format!("suspense.{suspense}.settled");
            post(tx, ctx, "settle_suspense", &reference, &open.subject, &postings)?;
            suspense::set(tx, suspense, SuspenseState::Settled)?;
        }
    }
    stores::audit(tx, ctx.now, "operator", "settle_suspense", &format!("{number}: {note}"))?;
    Ok(Answer::Done)
}

fn open(tx: &Tx<'_>, suspense: i64) -> Result<Suspense, Failure> {
    let found = suspense::find(tx, suspense)?;
    let open =
        found.ok_or_else(|| refuse(ProblemCode::NotFound, format!("nothing in suspense has the number {suspense}")))?;
    match open.state {
        SuspenseState::Open => Ok(open),
        other => Err(refuse(ProblemCode::AlreadyDecided, format!("number {suspense} is {}", other.word()))),
    }
}

/// Where unexplained money is booked.
fn account(tx: &Tx<'_>, kind: SuspenseKind, currency: Currency) -> Result<i64, Failure> {
    Ok(match kind {
        SuspenseKind::Late | SuspenseKind::Refund => ledger::account(tx, "suspense", currency, Some(0))?,
        SuspenseKind::TakenBack => ledger::account(tx, "taken_back", currency, None)?,
    })
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
    let transfer = Transfer {
        kind,
        reference,
        store,
        trip: trip.map(|t| t.trip),
        business_date: &business_date(ctx.now, &time_zone)?,
        receipt: None,
        at: ctx.now,
    };
    ledger::post(tx, &transfer, postings)?.then_some(()).or_defect("a transfer that is posted once")
}
