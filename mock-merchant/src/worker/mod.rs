//! Durable jobs as pure steps over the store. Whoever drives them: [`internal`] until it does nothing; [`take_due`] in a
//! transaction, the call outside of any, [`settle`] in another one. A crash between any two of these loses nothing: a call
//! that may have left is asked about before it is made again, under the same reference.

pub mod channels;
pub mod deliveries;
pub mod notices;

use crate::bank::port::{BankOperation, BankOutcome, BankQueryAnswer, BankRequest, NoAnswer, StatementEntry};
use crate::domain::{self, Ctx, Mutation};
use crate::failure::{Failure, OrDefect};
use crate::store::calls::{self, BankCall, CallKind, CallState, CallStep};
use crate::store::{Tx, attempts, channel_calls, holds, pays, trips};
use walkpay::Timestamp;

/// Something to be asked of the bank, outside of any transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct OutsideCall {
    /// To be given to [`settle`] with the answer.
    pub job: Job,
    /// What to ask.
    pub ask: Ask,
}

/// Which job a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// The call; `None`: the statement.
    call: Option<i64>,
    lease: u64,
}

/// What to ask the bank.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Carry this out.
    Request(BankRequest),
    /// What became of the operation under this reference of ours?
    Query {
        /// The reference.
        reference: String,
    },
    /// The entries of the statement after this one, in order; a page of them.
    Statement {
        /// The last one that was read.
        after: u64,
    },
}

/// What the bank said.
#[derive(Clone, Debug, PartialEq)]
pub enum BankAnswer {
    /// To [`Ask::Request`].
    Outcome(BankOutcome),
    /// To [`Ask::Query`].
    Query(BankQueryAnswer),
    /// To [`Ask::Statement`].
    Statement(Vec<StatementEntry>),
}

/// Does some of what is due inside (posting, giving up idle trips, expired holds, renewals). How much; 0: nothing is due.
///
/// # Errors
/// [`Failure::Fault`].
pub fn internal(tx: &Tx<'_>, ctx: &Ctx) -> Result<usize, Failure> {
    domain::internal(tx, ctx)
}

/// Takes what is due longest, under a lease that ends by itself. From the commit of this on the call may have left.
///
/// # Errors
/// [`Failure::Fault`].
pub fn take_due(tx: &Tx<'_>, ctx: &Ctx) -> Result<Option<OutsideCall>, Failure> {
    let until = ctx.now.plus(ctx.config.lease);
    if let Some(call) = calls::lease(tx, ctx.now, until)? {
        let ask = match call.step {
            CallStep::Call => Ask::Request(request(tx, ctx, &call)?),
            CallStep::Query if ctx.config.mutation == Some(Mutation::NewReferenceOnRetry) => {
                let request = request(tx, ctx, &call)?;
                Ask::Request(BankRequest { reference: format!("{}.t{}", call.reference, call.tries), ..request })
            }
            CallStep::Query => Ask::Query { reference: call.reference.clone() },
        };
        return Ok(Some(OutsideCall { job: Job { call: Some(call.call), lease: call.lease }, ask }));
    }
    let mut cursor = calls::cursor(tx)?;
    if cursor.due > ctx.now {
        return Ok(None);
    }
    cursor.due = until;
    cursor.lease += 1;
    calls::set_cursor(tx, &cursor)?;
    let ask = Ask::Statement { after: cursor.seq };
    Ok(Some(OutsideCall { job: Job { call: None, lease: cursor.lease }, ask }))
}

/// Takes the answer in. A definite outcome counts whoever brings it, once; its absence only under the newest lease.
///
/// # Errors
/// [`Failure::Fault`].
pub fn settle(tx: &Tx<'_>, ctx: &Ctx, job: &Job, answer: Result<BankAnswer, NoAnswer>) -> Result<(), Failure> {
    let Some(call) = job.call else {
        return settle_statement(tx, ctx, job, answer);
    };
    let call = calls::get(tx, call)?;
    if call.state != CallState::Open {
        return Ok(());
    }
    match answer {
        Ok(BankAnswer::Outcome(outcome) | BankAnswer::Query(BankQueryAnswer::Known { outcome }))
            if domain::answers_bank_call(&call, &outcome) =>
        {
            domain::take_bank_answer(tx, ctx, &call, &outcome)
        }
        _ if call.lease != job.lease => Ok(()),
        Ok(BankAnswer::Query(BankQueryAnswer::NeverSeen)) => {
            Ok(calls::put_off(tx, call.call, CallStep::Call, ctx.now)?)
        }
        // Nothing, or nothing that answers the question.
        Ok(_) | Err(NoAnswer(_)) => {
            domain::no_answer(tx, &call)?;
            Ok(calls::put_off(tx, call.call, CallStep::Query, back_off(ctx, call.tries))?)
        }
    }
}

fn settle_statement(tx: &Tx<'_>, ctx: &Ctx, job: &Job, answer: Result<BankAnswer, NoAnswer>) -> Result<(), Failure> {
    let mut cursor = calls::cursor(tx)?;
    if cursor.lease != job.lease {
        return Ok(());
    }
    match answer {
        Ok(BankAnswer::Statement(entries)) => {
            cursor.due = if entries.is_empty() { ctx.now.plus(ctx.config.statement_every) } else { ctx.now };
            cursor.seq = entries.iter().map(|e| e.seq).max().unwrap_or(0).max(cursor.seq);
            cursor.tries = 0;
            calls::set_cursor(tx, &cursor)?;
            domain::statement_entries(tx, ctx, &entries)
        }
        _ => {
            cursor.tries = cursor.tries.saturating_add(1);
            cursor.due = back_off(ctx, cursor.tries);
            Ok(calls::set_cursor(tx, &cursor)?)
        }
    }
}

/// When something is next due, inside or outside.
///
/// # Errors
/// [`Failure::Fault`].
pub fn next_due(tx: &Tx<'_>, ctx: &Ctx) -> Result<Timestamp, Failure> {
    let statement = calls::cursor(tx)?.due;
    let next = [domain::next_internal(tx, ctx)?, calls::next_due(tx)?, channels::next_due(tx)?];
    Ok(next.into_iter().flatten().fold(statement, Timestamp::min))
}

/// How many calls to bank and channels have no definite answer yet.
///
/// # Errors
/// [`Failure::Fault`].
pub fn pending(tx: &Tx<'_>) -> Result<u64, Failure> {
    Ok(calls::open_count(tx)? + channel_calls::open_count(tx)?)
}

/// Exponential, with jitter over its upper half.
fn back_off(ctx: &Ctx, tries: u32) -> Timestamp {
    let factor = 1u32 << tries.saturating_sub(1).min(20);
    let pause = ctx.config.retry_first.saturating_mul(factor).min(ctx.config.retry_max);
    let half = pause / 2;
    ctx.now.plus(half + half.saturating_mul(ctx.random.below(1_001)) / 1_000)
}

/// The request of a call: the same each time.
fn request(tx: &Tx<'_>, ctx: &Ctx, call: &BankCall) -> Result<BankRequest, Failure> {
    let original = || call.original.clone().or_defect("reference that a bank call refers to");
    let account = || call.account.clone().or_defect("account of a bank call");
    let amount = call.amount;
    let operation = match call.kind {
        CallKind::Place => BankOperation::PlaceHold { account: account()?, amount, hold_jws: hold_jws(tx, call)? },
        CallKind::Raise => {
            BankOperation::RaiseHold { hold_reference: original()?, amount, hold_jws: hold_jws(tx, call)? }
        }
        CallKind::Release => BankOperation::ReleaseHold { hold_reference: original()? },
        CallKind::Capture => {
            BankOperation::Capture { hold_reference: original()?, amount, basket_jws: basket_jws(tx, call)? }
        }
        CallKind::Debit => match call.pay {
            Some(pay) => {
                let payment_jws = pays::get(tx, pay)?.jws.or_defect("slip payment")?;
                BankOperation::Pay { account: account()?, amount, payment_jws }
            }
            None => BankOperation::Debit { account: account()?, amount, basket_jws: basket_jws(tx, call)? },
        },
        CallKind::Reverse | CallKind::Refund => BankOperation::Reverse { original_reference: original()?, amount },
    };
    Ok(BankRequest {
        merchant_id: ctx.keys.merchant_id().clone(),
        reference: call.reference.clone(),
        subject: call.subject,
        operation,
    })
}

fn hold_jws(tx: &Tx<'_>, call: &BankCall) -> Result<String, Failure> {
    let hold = call.hold.or_defect("hold of a bank call")?;
    Ok(holds::record(tx, &hold)?.or_defect("hold request")?.0)
}

fn basket_jws(tx: &Tx<'_>, call: &BankCall) -> Result<String, Failure> {
    let accepted = trips::get(tx, &call.trip()?)?.accepted.or_defect("accepted attempt")?;
    Ok(attempts::find(tx, &call.trip()?, accepted)?.or_defect("accepted basket")?.jws)
}
