//! The bank's statement: every entry is explained by a call, or its money goes to suspense and is applied or given back.

use super::{Ctx, Mutation, suspense};
use crate::bank::port::{StatementEntry, Subject};
use crate::failure::{Failure, OrDefect};
use crate::store::Tx;
use crate::store::calls::{self, BankCall, CallKind, CallState};
use crate::store::statement::{self, EntryState};
use walkpay::Money;

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

/// An approved call explains as much as it was approved for, in however many entries, and the way that it was to move. What is taken beyond
/// that is a late success; what goes back beyond it the bank has taken back of its own accord.
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
    let (taken, given_back) = statement::others(tx, reference, amount.currency, seq)?;
    let explained = match expected {
        1.. => amount.minor.clamp(0, (expected - taken).max(0)),
        _ => amount.minor.clamp((expected - given_back).min(0), 0),
    };
    let beyond = amount.minor - explained;
    if beyond != 0 && ctx.config.mutation != Some(Mutation::DroppedLateSuccess) {
        statement::set(tx, seq, EntryState::Suspense)?;
        return suspense::found(tx, ctx, subject, reference, seq, amount.currency.minor(beyond));
    }
    Ok(())
}
