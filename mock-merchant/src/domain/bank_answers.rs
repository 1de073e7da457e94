//! The bank's definite answers, each carried to the rule that asked.

use super::{Ctx, debit, holds, paying, statement};
use crate::bank::port::BankOutcome;
use crate::failure::Failure;
use crate::store::Tx;
use crate::store::calls::{self, BankCall, CallKind, CallState};

/// Keeps a definite answer and does what follows from it, once.
pub(crate) fn take(tx: &Tx<'_>, ctx: &Ctx, call: &BankCall, outcome: &BankOutcome) -> Result<(), Failure> {
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
        CallKind::Refund => statement::refunded(tx, ctx, call, outcome),
    }
}
