//! Gates: what was spent, what was taken back.

use super::{Answer, Caller, Ctx};
use crate::failure::{Failure, refuse};
use crate::store::{Tx, passes};
use walkpay::GateGroup;
use walkpay::protocol::message::{Revocations, SpentList, SpentPasses};
use walkpay::protocol::problem::ProblemCode;

/// The most passes in one message.
const MAX_PASSES: usize = 1_000;

fn of_group(caller: &Caller, group: &GateGroup) -> Result<(), Failure> {
    match caller {
        Caller::Operator => Ok(()),
        Caller::Gate(own) if own == group => Ok(()),
        _ => Err(refuse(ProblemCode::Forbidden, "only a gate of this group can ask this")),
    }
}

/// Takes in what a gate let out; which of it the group had let out before.
pub(super) fn spend(tx: &Tx<'_>, caller: &Caller, group: &GateGroup, spent: &SpentPasses) -> Result<Answer, Failure> {
    of_group(caller, group)?;
    if spent.passes.len() > MAX_PASSES {
        return Err(refuse(ProblemCode::InvalidValue, format!("passes: expected at most {MAX_PASSES}")));
    }
    let mut repeated = Vec::new();
    let mut new = 0;
    for pass in &spent.passes {
        match passes::spend(tx, group, pass)? {
            true => new += 1,
            false => repeated.push(pass.jti),
        }
    }
    Ok(Answer::Spent { new, repeated })
}

/// What the group has let out after a cursor.
pub(super) fn spent_since(tx: &Tx<'_>, caller: &Caller, group: &GateGroup, after: u64) -> Result<Answer, Failure> {
    of_group(caller, group)?;
    let (passes, cursor) = passes::spent(tx, group, after, MAX_PASSES as u32)?;
    Ok(Answer::SpentSince(SpentList { passes, cursor }))
}

/// What was taken back after a cursor.
pub(super) fn revocations(
    tx: &Tx<'_>,
    ctx: &Ctx,
    caller: &Caller,
    group: &GateGroup,
    after: u64,
) -> Result<Answer, Failure> {
    of_group(caller, group)?;
    let (passes, cursor) = passes::revoked(tx, group, after, ctx.now, MAX_PASSES as u32)?;
    Ok(Answer::Revocations(Revocations { passes, cursor }))
}
