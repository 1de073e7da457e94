//! What a source is told of its orders: the messages of B24 and B05, written in the transaction of their fact.

use crate::domain::Ctx;
use crate::failure::{Failure, defect};
use crate::store::deliveries::{self, NewDelivery};
use crate::store::sources::{self, Source, SourceState};
use crate::store::{Tx, order_parts, orders};
use serde::{Deserialize, Serialize};
use walkpay::protocol::crypto::base64url;
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::order::{FeeLine, OrderStatus};
use walkpay::{Money, ServiceNumber, Timestamp};

/// What a source is told of an order; the `type` of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub enum SourceNews {
    /// It is to be confirmed, changed or withdrawn (B05).
    #[serde(rename = "order.confirmation_requested")]
    ConfirmationRequested,
    /// The payer can pay it.
    #[serde(rename = "order.payable")]
    Payable,
    /// It was changed (B06).
    #[serde(rename = "order.changed")]
    Changed,
    /// It was withdrawn.
    #[serde(rename = "order.withdrawn")]
    Withdrawn,
    /// Its deadline is over, and the payer was reminded.
    #[serde(rename = "order.overdue")]
    Overdue,
    /// It can no longer be paid.
    #[serde(rename = "order.expired")]
    Expired,
    /// It is paid (B24).
    #[serde(rename = "order.paid")]
    Paid,
    /// Money was given back, all of it or a part: `refunded` says how much so far.
    #[serde(rename = "order.refunded")]
    Refunded,
}

impl SourceNews {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ConfirmationRequested,
        Self::Payable,
        Self::Changed,
        Self::Withdrawn,
        Self::Overdue,
        Self::Expired,
        Self::Paid,
        Self::Refunded,
    ];

    /// The `type` of the message.
    pub fn word(self) -> &'static str {
        match self {
            Self::ConfirmationRequested => "order.confirmation_requested",
            Self::Payable => "order.payable",
            Self::Changed => "order.changed",
            Self::Withdrawn => "order.withdrawn",
            Self::Overdue => "order.overdue",
            Self::Expired => "order.expired",
            Self::Paid => "order.paid",
            Self::Refunded => "order.refunded",
        }
    }
}

/// The body of a webhook (Standard Webhooks, "Payload structure").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SourceMessage {
    /// What happened.
    #[serde(rename = "type")]
    pub kind: SourceNews,
    /// When.
    pub timestamp: Timestamp,
    /// The order, as it then was.
    pub data: OrderReport,
}

/// An order in a webhook. Texts about people are not in it: `GET /service/v1/orders/{service_number}` has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OrderReport {
    /// Its number.
    pub service_number: ServiceNumber,
    /// Its version: what `If-Match` names.
    pub version: u64,
    /// Where it stands.
    pub status: OrderStatus,
    /// What it is for.
    pub service_name: String,
    /// Who is paid.
    pub payee: String,
    /// What it comes to.
    pub total: Money,
    /// What is still owed.
    pub due: Money,
    /// What was given back.
    pub refunded: Money,
    /// The case.
    pub case_number: String,
    /// When the service arose.
    pub arose_at: Timestamp,
    /// Until when it is to be paid.
    pub deadline: Timestamp,
    /// What the total is made of.
    pub fees: Vec<FeeLine>,
    /// What was paid, by method, less what was given back.
    pub payments: Vec<Paid>,
}

/// What was paid by one method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Paid {
    /// The method.
    pub method: PaymentMethod,
    /// How much.
    pub amount: Money,
}

/// Tells the source of an order what happened to it: the message is written down now and leaves after the commit. Orders of
/// baskets have no source that could be told. A source without an address finds the message among its dead letters.
///
/// # Errors
/// [`Failure::Fault`].
pub fn tell_source(tx: &Tx<'_>, ctx: &Ctx, number: ServiceNumber, news: SourceNews) -> Result<(), Failure> {
    let order = orders::get(tx, number)?;
    let Some(source) = sources::find(tx, &order.source)?.filter(|_| order.store.is_none()) else { return Ok(()) };
    let message = SourceMessage { kind: news, timestamp: ctx.now, data: report(tx, order)? };
    let body = serde_json::to_vec(&message).map_err(|e| defect("webhook", e))?;
    let new = NewDelivery {
        message_id: &format!("msg_{}", base64url(&ctx.random.bytes::<18>())),
        source: source.source,
        kind: news.word(),
        number,
        body: &body,
        dead: unreachable_because(&source),
    };
    Ok(deliveries::add(tx, &new, ctx.now)?)
}

/// Why nothing can be delivered to a source at present: a word.
pub(crate) fn unreachable_because(source: &Source) -> Option<&'static str> {
    match source {
        Source { state: SourceState::Disabled, .. } => Some("disabled"),
        Source { callback_url: None, .. } => Some("no_address"),
        Source { callback_gone: true, .. } => Some("gone"),
        _ => None,
    }
}

fn report(tx: &Tx<'_>, order: orders::Order) -> Result<OrderReport, Failure> {
    let currency = order.total.currency;
    Ok(OrderReport {
        service_number: order.number,
        version: order.version,
        status: order.state.status(),
        total: order.total,
        due: currency.minor(order.due),
        refunded: currency.minor(order.refunded),
        arose_at: order.arose_at,
        deadline: order.deadline,
        fees: order_parts::fees(tx, order.number)?,
        payments: paid(tx, order.number)?,
        service_name: order.service_name,
        payee: order.payee,
        case_number: order.case_number,
    })
}

/// What was paid for an order, by method, less what was given back.
pub(super) fn paid(tx: &Tx<'_>, number: ServiceNumber) -> Result<Vec<Paid>, Failure> {
    let moved = order_parts::moved(tx, number)?;
    Ok(moved.into_iter().map(|(method, amount)| Paid { method, amount }).collect())
}
