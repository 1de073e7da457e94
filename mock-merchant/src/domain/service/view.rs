//! What a source sees of its own orders and messages.

use super::caller::{Scope, SourceCaller};
use super::message::{Deliveries, DeliveryStatus, DeliveryView, SourceOrder, SourceOrders};
use super::news::paid;
use crate::failure::{Failure, refuse};
use crate::store::deliveries::{self, Delivery};
use crate::store::orders::{self, Order};
use crate::store::{Tx, order_parts, users};
use walkpay::ServiceNumber;
use walkpay::protocol::problem::ProblemCode;

/// The most things on a page.
pub const MAX_PAGE: u32 = 200;

/// An order of a source; that of another one is not there.
pub(super) fn own(tx: &Tx<'_>, source: &SourceCaller, number: ServiceNumber) -> Result<Order, Failure> {
    let found = orders::find(tx, number)?.filter(|o| o.source == source.source_id && o.store.is_none());
    found.ok_or_else(|| refuse(ProblemCode::NotFound, "there is no order of yours with this number"))
}

/// An order of a source in full.
pub(super) fn order(tx: &Tx<'_>, source: &SourceCaller, number: ServiceNumber) -> Result<SourceOrder, Failure> {
    full(tx, own(tx, source, number)?)
}

fn full(tx: &Tx<'_>, order: Order) -> Result<SourceOrder, Failure> {
    let currency = order.total.currency;
    let texts = order_parts::texts(tx, order.number)?;
    Ok(SourceOrder {
        service_number: order.number,
        version: order.version,
        status: order.state.status(),
        payer: users::name(tx, order.payer)?.map(|n| n.as_str().to_owned()),
        paying_unit: texts.paying_unit,
        remarks: texts.remarks,
        case_name: texts.case_name,
        total: order.total,
        due: currency.minor(order.due),
        refunded: currency.minor(order.refunded),
        fees: order_parts::fees(tx, order.number)?,
        payments: paid(tx, order.number)?,
        slip_number: order.slip,
        arose_at: order.arose_at,
        deadline: order.deadline,
        made_at: order.made_at,
        service_name: order.service_name,
        payee: order.payee,
        case_number: order.case_number,
    })
}

/// A page of a source's orders, above a number.
pub(super) fn page(tx: &Tx<'_>, source: &SourceCaller, after: u64, limit: u32) -> Result<SourceOrders, Failure> {
    source.need(Scope::OrdersRead)?;
    let limit = limit.clamp(1, MAX_PAGE);
    let mut found = orders::of_source(tx, &source.source_id, after, limit + 1)?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().map(|o| o.number).filter(|_| more);
    let orders = found.into_iter().map(|o| full(tx, o)).collect::<Result<_, _>>()?;
    Ok(SourceOrders { orders, next })
}

/// A page of a source's messages, behind a cursor.
pub(super) fn messages(
    tx: &Tx<'_>,
    source: &SourceCaller,
    after: u64,
    limit: u32,
    status: Option<DeliveryStatus>,
) -> Result<Deliveries, Failure> {
    source.need(Scope::WebhooksManage)?;
    let limit = limit.clamp(1, MAX_PAGE);
    let mut found = deliveries::of_source(tx, source.source, after, limit + 1, status.map(Into::into))?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().map(|d| d.delivery.unsigned_abs()).filter(|_| more);
    Ok(Deliveries { deliveries: found.into_iter().map(message).collect(), next })
}

/// A message as its source sees it.
pub(super) fn message(d: Delivery) -> DeliveryView {
    DeliveryView {
        message_id: d.message_id,
        kind: d.kind,
        service_number: d.number,
        status: d.state.into(),
        tries: d.tries,
        made_at: d.made_at,
        next_try_at: d.due,
        ended_at: d.ended_at,
        last_status: d.last_status,
        last_error: d.last_error,
    }
}
