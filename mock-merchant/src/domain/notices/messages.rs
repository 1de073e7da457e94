//! Whether messages to payers have arrived, for staff: without addresses and without who was told.

use crate::domain::{Caller, StaffScope};
use crate::failure::{Failure, refuse};
use crate::store::Tx;
use crate::store::notices::{self as outbox, NoticeDelivery};
use serde::{Deserialize, Serialize};
use walkpay::protocol::problem::ProblemCode;
use walkpay::{ServiceNumber, Timestamp};

/// The most messages of a page.
pub const MAX_PAGE: u32 = 200;

/// A message to a payer. Whose it is and where it went is not told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MessageView {
    /// It.
    #[schema(example = "9f2c4e6a8b0d1f3e5a7c9b8d6e4f2a10")]
    pub message_id: String,
    /// `email`, `sms` or `voice`.
    #[schema(example = "email")]
    pub medium: String,
    /// What it says, such as `payable`.
    #[schema(example = "payable")]
    pub kind: String,
    /// The order that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_number: Option<ServiceNumber>,
    /// What is known of it, as `mock-merchant messages` calls it.
    #[schema(example = "delivered")]
    pub status: String,
    /// How often it was tried.
    pub tries: u32,
    /// When it was written.
    pub made_at: Timestamp,
    /// When it is tried, or looked at, next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_at: Option<Timestamp>,
    /// When it has come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What the carrier said last: a number of its protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_code: Option<u16>,
    /// What the last try came to: a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_word: Option<String>,
}

/// A page of messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MessagePage {
    /// The newest first.
    pub messages: Vec<MessageView>,
    /// To be given as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A page of messages, the newest first, from below the one numbered `after`; of one order or of all.
///
/// # Errors
/// [`Failure::Refused`] with `forbidden` for who may not see them.
pub fn messages(
    tx: &Tx<'_>,
    caller: &Caller,
    number: Option<ServiceNumber>,
    after: Option<u64>,
    limit: u32,
) -> Result<MessagePage, Failure> {
    match caller {
        Caller::Operator => {}
        Caller::Staff { scopes, .. } => scopes.need(StaffScope::MessagesRead)?,
        _ => return Err(refuse(ProblemCode::Forbidden, "only staff and the operator see whether messages arrive")),
    }
    let limit = limit.clamp(1, MAX_PAGE);
    let mut found = outbox::below(tx, number, after.unwrap_or(u64::MAX), limit + 1)?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().map(|d| d.delivery.unsigned_abs()).filter(|_| more);
    let messages = found.into_iter().map(|delivery| view(tx, delivery)).collect::<Result<_, _>>()?;
    Ok(MessagePage { messages, next })
}

fn view(tx: &Tx<'_>, d: NoticeDelivery) -> Result<MessageView, Failure> {
    let notice = outbox::notice(tx, d.notice)?;
    Ok(MessageView {
        message_id: d.message_id,
        medium: d.medium.word().to_owned(),
        kind: notice.kind.word().to_owned(),
        service_number: notice.number,
        status: d.state.word().to_owned(),
        tries: d.tries,
        made_at: d.made_at,
        next_try_at: d.due,
        ended_at: d.ended_at,
        last_code: d.last_code,
        last_word: d.last_word,
    })
}
