//! Service systems (*sources*): who they are, the orders that they hand in, what they are told.

mod admin;
mod caller;
mod change;
mod fees;
mod hand_in;
pub mod message;
mod news;
mod notice;
mod schedule;
mod versions;
mod view;

pub(crate) use admin::carry_out as administer;
pub use admin::{KEY_NAME, SourceAdmin, Told};
pub use caller::{Scope, Scopes, SourceCaller, source_of_key};
pub use change::Change;
pub use hand_in::{MAX_BULK_LINE, MAX_BULK_LINES, RawLine};
pub(crate) use hand_in::{ReadLine, hand_in_lines, read_lines};
pub(crate) use news::unreachable_because;
pub use news::{OrderReport, Paid, SourceMessage, SourceNews, tell_source};
pub use notice::tell_payer;
pub(crate) use schedule::{arrange, wake};
pub use view::MAX_PAGE;

use super::Ctx;
use super::once::{IdempotencyKey, Keyed, Reply, once};
use crate::failure::{Failure, refuse};
use crate::store::sources::Source;
use crate::store::{Tx, deliveries};
use message::{
    BulkAnswer, DecisionBody, Deliveries, DeliveryStatus, OrderBody, OrderVersions, SourceOrder, SourceOrders,
};
use walkpay::ServiceNumber;
use walkpay::protocol::problem::ProblemCode;

/// What a service system changes.
#[derive(Clone, Debug)]
pub enum ServiceCommand {
    /// `POST /service/v1/orders` → [`ServiceAnswer::Reply`].
    HandIn {
        /// From the header.
        key: IdempotencyKey,
        /// Digest of the body as it came.
        body_sha256: [u8; 32],
        /// The body.
        body: Box<OrderBody>,
    },
    /// A part of `POST /service/v1/orders/bulk` → [`ServiceAnswer::Bulk`].
    HandInLines {
        /// The number of the first line.
        first: u64,
        /// The lines.
        lines: Vec<RawLine>,
    },
    /// A change of an order → [`ServiceAnswer::Order`].
    Change {
        /// From the path.
        number: ServiceNumber,
        /// From `If-Match`.
        version: u64,
        /// The body.
        change: Box<Change>,
    },
    /// `POST /service/v1/deliveries/{message_id}/redelivery` → [`ServiceAnswer::Reply`].
    Redeliver {
        /// From the path.
        message_id: String,
        /// From the header.
        key: IdempotencyKey,
    },
}

/// What a service system asks.
#[derive(Clone, Debug)]
pub enum ServiceQuery {
    /// One of its orders → [`ServiceAnswer::Order`].
    Order(ServiceNumber),
    /// Its orders → [`ServiceAnswer::Orders`].
    Orders {
        /// The cursor.
        after: u64,
        /// At most [`MAX_PAGE`].
        limit: u32,
    },
    /// The versions of one of its orders → [`ServiceAnswer::Versions`].
    Versions {
        /// The order.
        number: ServiceNumber,
        /// The cursor.
        after: u64,
        /// At most [`MAX_PAGE`].
        limit: u32,
    },
    /// What it was told → [`ServiceAnswer::Deliveries`].
    Deliveries {
        /// The cursor.
        after: u64,
        /// At most [`MAX_PAGE`].
        limit: u32,
        /// Only these.
        status: Option<DeliveryStatus>,
    },
}

/// What a service system is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum ServiceAnswer {
    /// The same for each repeat.
    Reply(Reply),
    /// One answer per line.
    Bulk(Vec<BulkAnswer>),
    /// An order.
    Order(Box<SourceOrder>),
    /// Orders.
    Orders(SourceOrders),
    /// Versions of an order.
    Versions(OrderVersions),
    /// Messages.
    Deliveries(Deliveries),
}

/// Carries out what a service system asks for.
pub(super) fn carry_out(
    tx: &Tx<'_>,
    ctx: &Ctx,
    source: &SourceCaller,
    command: ServiceCommand,
) -> Result<ServiceAnswer, Failure> {
    match command {
        ServiceCommand::HandIn { key, body_sha256, body } => {
            hand_in::hand_in(tx, ctx, source, &key, &body_sha256, &body).map(ServiceAnswer::Reply)
        }
        ServiceCommand::HandInLines { first, lines } => {
            hand_in_lines(tx, ctx, source, first, read_lines(&lines)).map(ServiceAnswer::Bulk)
        }
        ServiceCommand::Change { number, version, change } => {
            change::change(tx, ctx, source, number, version, &change)?;
            Ok(ServiceAnswer::Order(Box::new(view::order(tx, source, number)?)))
        }
        ServiceCommand::Redeliver { message_id, key } => {
            redeliver(tx, ctx, source, &message_id, &key).map(ServiceAnswer::Reply)
        }
    }
}

/// Answers a question of a service system.
pub(super) fn answer(tx: &Tx<'_>, source: &SourceCaller, query: ServiceQuery) -> Result<ServiceAnswer, Failure> {
    match query {
        ServiceQuery::Order(number) => {
            source.need(Scope::OrdersRead)?;
            Ok(ServiceAnswer::Order(Box::new(view::order(tx, source, number)?)))
        }
        ServiceQuery::Orders { after, limit } => view::page(tx, source, after, limit).map(ServiceAnswer::Orders),
        ServiceQuery::Versions { number, after, limit } => {
            source.need(Scope::OrdersRead)?;
            view::own(tx, source, number)?;
            versions::page(tx, number, after, limit.clamp(1, MAX_PAGE)).map(ServiceAnswer::Versions)
        }
        ServiceQuery::Deliveries { after, limit, status } => {
            view::messages(tx, source, after, limit, status).map(ServiceAnswer::Deliveries)
        }
    }
}

/// Has a message delivered again, once per key.
fn redeliver(
    tx: &Tx<'_>,
    ctx: &Ctx,
    source: &SourceCaller,
    message_id: &str,
    key: &IdempotencyKey,
) -> Result<Reply, Failure> {
    source.need(Scope::WebhooksManage)?;
    let found = deliveries::find(tx, message_id)?.filter(|d| d.source == source.source);
    let found = found.ok_or_else(|| refuse(ProblemCode::NotFound, "there is no message of yours with this id"))?;
    let (caller, route) = (source.name(), format!("POST /service/v1/deliveries/{message_id}/redelivery"));
    let keyed = Keyed { caller: &caller, route: &route, key, body_sha256: [0; 32] };
    once(tx, &keyed, ctx.now, || {
        deliveries::again(tx, found.delivery, ctx.now)?;
        Reply::json(202, &view::message(deliveries::get(tx, found.delivery)?))
    })
}

/// Takes in the decision that a source gave in its response to a request for confirmation of a version; why it could not be:
/// a word. What cannot be taken is as if nothing had been said.
///
/// # Errors
/// [`Failure::Fault`].
pub(crate) fn decided(
    tx: &Tx<'_>,
    ctx: &Ctx,
    source: &Source,
    number: ServiceNumber,
    version: u64,
    body: &[u8],
) -> Result<Option<&'static str>, Failure> {
    let Ok(decision) = serde_json::from_slice::<DecisionBody>(body) else { return Ok(Some("decision_unreadable")) };
    let scopes = [Scope::OrdersWrite].into_iter().collect();
    let caller = SourceCaller { source: source.source, source_id: source.source_id.clone(), scopes };
    match change::change(tx, ctx, &caller, number, version, &Change::Decide(decision)) {
        Ok(()) => Ok(None),
        Err(Failure::Refused { code: ProblemCode::PreconditionFailed, .. }) => Ok(Some("decision_outdated")),
        Err(Failure::Refused { .. }) => Ok(Some("decision_refused")),
        Err(fault) => Err(fault),
    }
}
