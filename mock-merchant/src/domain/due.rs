//! What falls due without anybody asking.

use super::{Ctx, catalogue, debit, holds, paying, service, statement, trips};
use crate::bank::port::StatementEntry;
use crate::failure::Failure;
use crate::store::calls::BankCall;
use crate::store::{self, Tx};
use walkpay::Timestamp;

/// How much of each kind is done in one transaction.
const STEP: u32 = 64;

/// Does some of what is due inside: posts debits that stored value covers, ends slips and payment attempts whose time is over, gives up
/// idle trips, has expired holds freed, renews catalogue revisions, reminds payers of orders and lets orders expire, forgets old first answers. How much was done; 0:
/// nothing is due.
pub(crate) fn internal(tx: &Tx<'_>, ctx: &Ctx) -> Result<usize, Failure> {
    let posted = debit::post_local(tx, ctx, STEP)?;
    let given_up = trips::give_up_idle(tx, ctx, STEP)?;
    let expired = holds::expire(tx, ctx, STEP)?;
    let renewed = catalogue::renew(tx, ctx)?;
    let woken = service::wake(tx, ctx, STEP)?;
    let paying = paying::end_due(tx, ctx, STEP)? + paying::expire(tx, ctx, STEP)?;
    let forgotten = store::idempotency::forget(tx, ctx.now)?;
    Ok(posted + given_up + expired + renewed + woken + paying + forgotten)
}

/// When something is next due inside.
pub(crate) fn next_internal(tx: &Tx<'_>, ctx: &Ctx) -> Result<Option<Timestamp>, Failure> {
    if !store::payments::local(tx, 1)?.is_empty() {
        return Ok(Some(ctx.now));
    }
    let idle = store::trips::next_idle(tx, ctx.config.trip_idle)?;
    let expiry = store::holds::next_expiry(tx)?;
    let renewal = catalogue::next_renewal(tx, ctx)?;
    let order = store::orders::next_wake(tx)?;
    let paying = paying::next_end(tx)?;
    let old = store::idempotency::next_old(tx)?;
    Ok([idle, expiry, renewal, order, paying, old].into_iter().flatten().min())
}

/// Notes that the bank gave no answer to a call.
pub(crate) fn no_answer(tx: &Tx<'_>, call: &BankCall) -> Result<(), Failure> {
    match (call.refund, call.pay) {
        (Some(refund), _) => paying::refund_unanswered(tx, call, refund),
        (None, Some(_)) => Ok(()),
        (None, None) => debit::unanswered(tx, call),
    }
}

/// Takes in what the bank's statement shows.
pub(crate) fn statement_entries(tx: &Tx<'_>, ctx: &Ctx, entries: &[StatementEntry]) -> Result<(), Failure> {
    statement::read_in(tx, ctx, entries)
}
