//! The bank's definite answers, each carried to the rule that asked.

use super::{Ctx, debit, holds, paying, statement, suspense};
use crate::bank::port::BankOutcome;
use crate::failure::Failure;
use crate::store::Tx;
use crate::store::calls::{self, BankCall, CallKind, CallState};

/// Whether an answer is one to this call: an approval in another currency says nothing about it.
pub(crate) fn fits(call: &BankCall, outcome: &BankOutcome) -> bool {
    match outcome {
        BankOutcome::Approved { amount, .. } => amount.currency == call.amount.currency,
        BankOutcome::Declined { .. } => true,
    }
}

/// An approval counts for at most what was asked. What the bank moves beyond that its statement shows, and no call explains.
fn within(call: &BankCall, outcome: &BankOutcome) -> BankOutcome {
    match outcome {
        BankOutcome::Approved { amount, expires_at } => BankOutcome::Approved {
            amount: amount.currency.minor(amount.minor.clamp(0, call.amount.minor.max(0))),
            expires_at: *expires_at,
        },
        declined => declined.clone(),
    }
}

/// Keeps a definite answer and does what follows from it, once.
pub(crate) fn take(tx: &Tx<'_>, ctx: &Ctx, call: &BankCall, outcome: &BankOutcome) -> Result<(), Failure> {
    let outcome = &within(call, outcome);
    match outcome {
        BankOutcome::Approved { amount, .. } => {
            calls::settle(tx, call.call, CallState::Approved, Some(amount.minor), None)?;
        }
        BankOutcome::Declined { reason } => {
            calls::settle(tx, call.call, CallState::Declined, None, Some(reason))?;
        }
    }
    match (call.refund, call.pay) {
        (Some(refund), _) => paying::refund_answered(tx, ctx, call, refund, outcome)?,
        (None, Some(pay)) => paying::bank_answered(tx, ctx, call, pay, outcome)?,
        (None, None) => of_trip(tx, ctx, call, outcome)?,
    }
    statement::settled(tx, ctx, &call.reference)
}

fn of_trip(tx: &Tx<'_>, ctx: &Ctx, call: &BankCall, outcome: &BankOutcome) -> Result<(), Failure> {
    match call.kind {
        CallKind::Place | CallKind::Raise => holds::answered(tx, ctx, call, outcome),
        CallKind::Release => holds::released(tx, ctx, call, outcome),
        CallKind::Capture => debit::captured(tx, ctx, call, outcome),
        CallKind::Debit => debit::debited(tx, ctx, call, outcome),
        CallKind::Reverse => debit::reversed(tx, ctx, call, outcome),
        CallKind::Refund => suspense::refunded(tx, ctx, call, outcome),
    }
}
