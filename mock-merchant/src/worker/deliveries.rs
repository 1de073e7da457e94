//! Webhooks as durable jobs, in pure steps: [`take_due`] in a transaction, the call outside of any, [`settle`] in another one.
//! A crash between any two of these loses nothing: a message that may have left is sent again under the same identifier.

use crate::domain::{Ctx, service};
use crate::failure::Failure;
use crate::store::deliveries::{self, Delivery, DeliveryState, Tried};
use crate::store::{Tx, sources};
use crate::webhook;
use std::time::Duration;
use walkpay::Timestamp;

/// How long a call may take before the message is taken up again.
const LEASE: Duration = Duration::from_secs(60);
/// The longest that a source can put a message off by `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// How long other messages to a source that does not answer wait: they must not hold up those to others.
const QUIET: Duration = Duration::from_secs(5);
/// How many signatures a message has at most: during a rotation two.
const SIGNATURES: u64 = 2;

/// A message to be sent, outside of any transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct OutsideMessage {
    /// To be given to [`settle`] with the answer.
    pub job: MessageJob,
    /// Where to.
    pub url: String,
    /// Whether that may be a private address.
    pub private: bool,
    /// `webhook-id`.
    pub message_id: String,
    /// `webhook-timestamp`.
    pub timestamp: i64,
    /// `webhook-signature`.
    pub signature: String,
    /// The body.
    pub body: Vec<u8>,
}

/// Which job a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageJob {
    delivery: i64,
    lease: u64,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageAnswer {
    /// An answer.
    Answered {
        /// The status.
        status: u16,
        /// What `Retry-After` says.
        retry_after: Option<Duration>,
        /// The body; `None` if it was longer than is read, or broke off.
        body: Option<Vec<u8>>,
    },
    /// None.
    Failed {
        /// Why: a stable word.
        word: &'static str,
    },
}

/// Takes the message that is due longest, under a lease that ends by itself, unless so many are on their way to its source that
/// another one has to wait; gives up what has nowhere to go.
///
/// # Errors
/// [`Failure::Fault`].
pub fn take_due(tx: &Tx<'_>, ctx: &Ctx) -> Result<Option<OutsideMessage>, Failure> {
    while let Some(due) = deliveries::lease(tx, ctx.now, ctx.now.plus(LEASE))? {
        let source = sources::get(tx, due.source)?;
        let secrets = sources::secrets(tx, due.source, ctx.now, SIGNATURES)?;
        let hopeless = service::unreachable_because(&source).or(secrets.is_empty().then_some("no_secret"));
        let (None, Some(url)) = (hopeless, source.callback_url) else {
            end(tx, ctx, &due, DeliveryState::Dead, Tried { status: due.last_status, error: hopeless })?;
            continue;
        };
        let timestamp = ctx.now.as_millis().div_euclid(1_000);
        return Ok(Some(OutsideMessage {
            job: MessageJob { delivery: due.delivery, lease: due.lease },
            url,
            private: source.private_callback,
            signature: webhook::signatures(&secrets, &due.message_id, timestamp, &due.body),
            message_id: due.message_id,
            timestamp,
            body: due.body,
        }));
    }
    Ok(None)
}

/// Takes the answer in. Only 2xx is success, and counts whoever brings it; all else only under the newest lease.
///
/// # Errors
/// [`Failure::Fault`].
pub fn settle(tx: &Tx<'_>, ctx: &Ctx, job: &MessageJob, answer: &MessageAnswer) -> Result<(), Failure> {
    let message = deliveries::get(tx, job.delivery)?;
    if message.state != DeliveryState::Waiting {
        return Ok(());
    }
    let (status, retry_after) = match answer {
        MessageAnswer::Answered { status: 200..=299, .. } => return taken(tx, ctx, &message, answer),
        _ if message.lease != job.lease => return Ok(()),
        MessageAnswer::Answered { status: 410, .. } => {
            sources::set_gone(tx, message.source)?;
            end(tx, ctx, &message, DeliveryState::Dead, Tried { status: Some(410), error: Some("gone") })?;
            return Ok(deliveries::end_all(tx, message.source, ctx.now, "gone")?);
        }
        MessageAnswer::Answered { status, retry_after, .. } => (Some(*status), *retry_after),
        MessageAnswer::Failed { .. } => (None, None),
    };
    let error = match answer {
        MessageAnswer::Answered { .. } => "status",
        MessageAnswer::Failed { word } => word,
    };
    let tried = Tried { status, error: Some(error) };
    let again = message.tries.checked_sub(1).and_then(|n| ctx.config.webhook_retries.get(n as usize));
    let Some(pause) = again else {
        return end(tx, ctx, &message, DeliveryState::Dead, tried);
    };
    // A tenth of jitter on top, so that what failed together does not come again together.
    let pause = *pause + (*pause / 10_000).saturating_mul(ctx.random.below(1_001));
    let pause = pause.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER));
    deliveries::put_off(tx, message.delivery, ctx.now.plus(pause), tried)?;
    if status.is_none() {
        deliveries::quieten(tx, message.source, ctx.now.plus(QUIET))?;
    }
    Ok(())
}

/// A message was taken; the answer to a request for confirmation may be in the response.
fn taken(tx: &Tx<'_>, ctx: &Ctx, message: &Delivery, answer: &MessageAnswer) -> Result<(), Failure> {
    let MessageAnswer::Answered { status, body, .. } = answer else { return Ok(()) };
    let asked = message.kind == service::SourceNews::ConfirmationRequested.word() && *status == 200;
    let said = body.as_deref().is_none_or(|b| !b.trim_ascii().is_empty());
    let error = match (message.number, body) {
        (Some(number), Some(body)) if asked && said => {
            let sent: service::SourceMessage =
                serde_json::from_slice(&message.body).map_err(|e| crate::failure::defect("message to a source", e))?;
            let source = sources::get(tx, message.source)?;
            service::decided(tx, ctx, &source, number, sent.data.version, body)?
        }
        (Some(_), None) if asked => Some("decision_unreadable"),
        _ => None,
    };
    end(tx, ctx, message, DeliveryState::Delivered, Tried { status: Some(*status), error })
}

fn end(tx: &Tx<'_>, ctx: &Ctx, message: &Delivery, state: DeliveryState, tried: Tried<'_>) -> Result<(), Failure> {
    Ok(deliveries::end(tx, message.delivery, state, ctx.now, tried)?)
}

/// When a message is next due.
///
/// # Errors
/// [`Failure::Fault`].
pub fn next_due(tx: &Tx<'_>) -> Result<Option<Timestamp>, Failure> {
    Ok(deliveries::next_due(tx)?)
}
