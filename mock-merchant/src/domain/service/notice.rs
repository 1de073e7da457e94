//! What a payer is told of an order (B10), on all devices that take part.

use crate::domain::Ctx;
use crate::domain::tell::tell_document;
use crate::failure::Failure;
use crate::store::devices::{self, DeviceState};
use crate::store::{Tx, orders};
use walkpay::ServiceNumber;
use walkpay::protocol::document::EventBody;
use walkpay::protocol::order::{OrderNews, OrderNotice};

/// Tells the payer's active devices of an order, as it now is.
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
    Ok(())
}
