//! What a payer is told of an order: on all devices that take part, and on all other ways (B10–B13).

use crate::domain::tell::tell_document;
use crate::domain::{Ctx, notices};
use crate::failure::Failure;
use crate::store::devices::{self, DeviceState};
use crate::store::{Tx, orders};
use walkpay::ServiceNumber;
use walkpay::protocol::document::EventBody;
use walkpay::protocol::order::{OrderNews, OrderNotice};

/// Tells a payer of an order, as it now is.
///
/// # Errors
/// [`Failure::Fault`].
pub fn tell_payer(tx: &Tx<'_>, ctx: &Ctx, number: ServiceNumber, news: OrderNews) -> Result<(), Failure> {
    let order = orders::get(tx, number)?;
    for device in devices::of_user(tx, order.payer)?.into_iter().filter(|d| d.state == DeviceState::Active) {
        let notice = OrderNotice {
            merchant_id: ctx.keys.merchant_id().clone(),
            sub: device.sub.clone(),
            service_number: number,
            news,
            status: order.state.status(),
            due: order.total.currency.minor(order.due),
            deadline: order.deadline,
            version: order.version,
            issued_at: ctx.now,
        };
        tell_document(tx, ctx, &device, notice, |document| EventBody::Order { document })?;
    }
    notices::of_order(tx, ctx, &order, news)
}
