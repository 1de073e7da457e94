//! What became of a message: outcomes of tries, reports of carriers, unsubscription.

use crate::domain::{Ctx, Mutation};
use crate::failure::Failure;
use crate::store::contacts;
use crate::store::notices::{self, NoticeDelivery, NoticeState};
use crate::store::{Tx, pay_pages};
use std::time::Duration;
use walkpay::protocol::crypto::digest;

/// The longest that a carrier can put a message off.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// How often a message is sent again since the outcome of a try is unknown.
const MAX_REPEATS: u32 = 2;

/// What a try came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// What is known.
    pub as_: SentAs,
    /// The answer's code, if there was one.
    pub code: Option<u16>,
    /// Why: a stable word without anything personal.
    pub word: &'static str,
    /// How long the other side wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// What is known of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentAs {
    /// It has arrived: the call was heard to its end.
    Delivered,
    /// The next in line has taken it.
    Accepted,
    /// Certainly not sent, and another try may succeed: nobody there, busy, put off, a fault of ours.
    Deferred,
    /// Certainly not sent, and no other try will be.
    Refused,
    /// It was handed over, and no answer came.
    Unknown,
}

impl Sent {
    /// An outcome without a code.
    pub fn new(as_: SentAs, word: &'static str) -> Self {
        Self { as_, code: None, word, retry_after: None }
    }

    /// An outcome with the answer's code.
    pub fn coded(as_: SentAs, code: u16, word: &'static str) -> Self {
        Self { code: Some(code), ..Self::new(as_, word) }
    }
}

/// Takes the outcome of a try in. What is certain of success counts whoever brings it; all else only under the newest lease.
pub(crate) fn settle(tx: &Tx<'_>, ctx: &Ctx, delivery: i64, lease: u64, sent: &Sent) -> Result<(), Failure> {
    let delivery = notices::get(tx, delivery)?;
    let open = delivery.due.is_some();
    let newest = delivery.lease == lease;
    let tried = (sent.code, sent.word);
    let put = |state, due| notices::set_state(tx, delivery.delivery, state, due, ctx.now, tried);
    match sent.as_ {
        // A report may have come before the answer.
        SentAs::Delivered if delivery.state != NoticeState::Delivered => put(NoticeState::Delivered, None)?,
        SentAs::Accepted if open && ctx.config.mutation == Some(Mutation::NoticeTwice) && delivery.tries == 1 => {
            put(NoticeState::Waiting, Some(ctx.now))?;
        }
        SentAs::Accepted if open => put(NoticeState::Accepted, None)?,
        SentAs::Deferred if open && newest => {
            pay_pages_of_certain(tx, &delivery)?;
            match pause(ctx, &delivery) {
                Some(pause) => {
                    let pause = pause.max(sent.retry_after.unwrap_or_default().min(MAX_RETRY_AFTER));
                    put(NoticeState::Waiting, Some(ctx.now.plus(pause)))?;
                }
                None => put(NoticeState::GivenUp, None)?,
            }
        }
        SentAs::Refused if open && newest => {
            pay_pages_of_certain(tx, &delivery)?;
            put(NoticeState::Failed, None)?;
        }
        SentAs::Unknown if open && newest => match pause(ctx, &delivery) {
            Some(pause) if delivery.repeats < MAX_REPEATS => put(NoticeState::Unknown, Some(ctx.now.plus(pause)))?,
            _ => put(NoticeState::Unknown, None)?,
        },
        _ => {}
    }
    Ok(())
}

/// A message that certainly never left needs no page; if an earlier try of it is unknown, its link may be in somebody's hands.
fn pay_pages_of_certain(tx: &Tx<'_>, delivery: &NoticeDelivery) -> Result<(), Failure> {
    if delivery.repeats == 0 {
        pay_pages::forget(tx, delivery.delivery)?;
    }
    Ok(())
}

/// The pause before the next try, with a tenth of jitter on top; `None`: there is none.
fn pause(ctx: &Ctx, delivery: &NoticeDelivery) -> Option<Duration> {
    let pauses = &ctx.config.notice_retries;
    let pause = *delivery.tries.checked_sub(1).and_then(|n| pauses.get(n as usize))?;
    Some(pause + (pause / 10_000).saturating_mul(ctx.random.below(1_001)))
}

/// Whether another try may be made of what a crash has left on its way: its outcome is unknown.
pub(crate) fn may_repeat(delivery: &NoticeDelivery) -> bool {
    delivery.repeats < MAX_REPEATS
}

/// What a carrier reports of a message that it had taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It is on the telephone.
    Delivered,
    /// It will never be.
    Failed,
    /// It goes on: the next in line has taken it.
    Underway,
}

/// Takes a carrier's report in; whether its token names a message.
///
/// # Errors
/// [`Failure::Fault`].
pub fn report(tx: &Tx<'_>, ctx: &Ctx, token: &str, report: Report, code: u16) -> Result<bool, Failure> {
    let Some(delivery) = notices::reported(tx, token)? else { return Ok(false) };
    let put = |state, word| notices::set_state(tx, delivery.delivery, state, None, ctx.now, (Some(code), word));
    match (report, delivery.state) {
        (Report::Delivered, state) if state != NoticeState::Delivered => put(NoticeState::Delivered, "reported")?,
        (Report::Failed, NoticeState::Accepted | NoticeState::Sending | NoticeState::Unknown) => {
            put(NoticeState::Failed, "reported")?;
        }
        (Report::Underway, NoticeState::Sending | NoticeState::Unknown) => put(NoticeState::Accepted, "reported")?,
        _ => {}
    }
    Ok(true)
}

/// Has nothing but security notices sent to the address that a link was sent to, or all again; whether the link is known.
pub(crate) fn unsubscribe(tx: &Tx<'_>, ctx: &Ctx, token: &str, again: bool) -> Result<bool, Failure> {
    let page = pay_pages::find(tx, &digest(token.as_bytes()), ctx.now)?;
    match page.and_then(|page| page.address) {
        Some(address) => Ok(contacts::set_unsubscribed(tx, address, (!again).then_some(ctx.now))?),
        None => Ok(false),
    }
}
