//! Calls to payment channels as pure steps over the store, like those to the bank: what may have left is asked about before it is
//! made again, under the same number.

use super::back_off;
use crate::channel::port::{ChannelAnswer, ChannelAsk, NoAnswer};
use crate::domain::{self, Asked, Ctx, Next};
use crate::failure::Failure;
use crate::store::Tx;
use crate::store::calls::CallStep;
use crate::store::channel_calls::{self, ChannelCallState};
use walkpay::Timestamp;
use walkpay::protocol::document::PaymentMethod;

/// Something to be asked of a channel, outside of any transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelJob {
    call: i64,
    lease: u64,
    /// Since when it is being asked: an answer says how things stood then at the earliest.
    asked_at: Timestamp,
    /// The channel.
    pub method: PaymentMethod,
    /// What to ask.
    pub ask: ChannelAsk,
}

/// Takes what is due longest, under a lease that ends by itself. From the commit of this on the call may have left.
///
/// # Errors
/// [`Failure::Fault`].
pub fn take_due(tx: &Tx<'_>, ctx: &Ctx) -> Result<Option<ChannelJob>, Failure> {
    let Some(call) = channel_calls::lease(tx, ctx.now, ctx.now.plus(ctx.config.lease))? else { return Ok(None) };
    let Asked { method, ask } = domain::channel_ask(tx, &call)?;
    Ok(Some(ChannelJob { call: call.call, lease: call.lease, asked_at: ctx.now, method, ask }))
}

/// Takes the answer in. A payment counts whoever brings it, once; anything else only under the newest lease.
///
/// # Errors
/// [`Failure::Fault`].
pub fn settle(
    tx: &Tx<'_>,
    ctx: &Ctx,
    job: &ChannelJob,
    answer: Result<ChannelAnswer, NoAnswer>,
) -> Result<(), Failure> {
    let call = channel_calls::get(tx, job.call)?;
    let current = call.state == ChannelCallState::Open && call.lease == job.lease;
    let next = match answer {
        Ok(answer) => domain::channel_answered(tx, ctx, &call, &answer, current.then_some(job.asked_at))?,
        Err(NoAnswer(_)) if current => {
            domain::channel_unanswered(tx, &call)?;
            Next::At(CallStep::Query, back_off(ctx, call.tries))
        }
        Err(NoAnswer(_)) => Next::Over,
    };
    match next {
        Next::At(step, due) if current => Ok(channel_calls::put_off(tx, call.call, step, due)?),
        _ => Ok(()),
    }
}

/// When a channel is next to be asked for something.
///
/// # Errors
/// [`Failure::Fault`].
pub fn next_due(tx: &Tx<'_>) -> Result<Option<Timestamp>, Failure> {
    Ok(channel_calls::next_due(tx)?)
}
