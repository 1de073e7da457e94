//! What happens to an order by itself: reminders before and after its deadline, and its expiry.

use super::change::save;
use super::news::{SourceNews, tell_source};
use super::notice::tell_payer;
use crate::domain::Ctx;
use crate::failure::Failure;
use crate::store::Tx;
use crate::store::orders::{self, Order, OrderState};
use std::time::Duration;
use walkpay::Timestamp;
use walkpay::protocol::order::OrderNews;

/// How long an order that is on a slip, or is being paid, is left alone before the next look.
const LATER: Duration = Duration::from_secs(3600);

/// Arranges the next reminder, or the expiry, of an order as it now is: what is past is left out.
///
/// # Errors
/// [`Failure::Fault`].
pub(crate) fn arrange(tx: &Tx<'_>, ctx: &Ctx, order: &Order) -> Result<(), Failure> {
    let times = reminders(ctx, order);
    let given = times.iter().filter(|at| **at <= ctx.now).count();
    let wake_at = match order.state {
        OrderState::Draft | OrderState::AwaitingConfirmation => Some(expiry(ctx, order)),
        OrderState::Payable => times.get(given).copied().or_else(|| expires(order).then(|| expiry(ctx, order))),
        _ => None,
    };
    Ok(orders::set_wake(tx, order.number, u32::try_from(given).unwrap_or(u32::MAX), wake_at)?)
}

/// Does what is due for at most `limit` orders; how many.
///
/// # Errors
/// [`Failure::Fault`].
pub(crate) fn wake(tx: &Tx<'_>, ctx: &Ctx, limit: u32) -> Result<usize, Failure> {
    let due = orders::waking(tx, ctx.now, limit)?;
    for order in &due {
        one(tx, ctx, order)?;
    }
    Ok(due.len())
}

fn one(tx: &Tx<'_>, ctx: &Ctx, order: &Order) -> Result<(), Failure> {
    match order.state {
        OrderState::Draft | OrderState::AwaitingConfirmation | OrderState::Payable => {}
        // A payment that ends without success makes it payable again.
        OrderState::InPayment => return later(tx, ctx, order),
        _ => return Ok(orders::set_wake(tx, order.number, order.reminders, None)?),
    }
    if order.slip.is_some() {
        return later(tx, ctx, order);
    }
    if expires(order) && expiry(ctx, order) <= ctx.now {
        let seen = order.state == OrderState::Payable;
        save(tx, ctx, Order { state: OrderState::Expired, ..order.clone() }, "merchant", "expired", "")?;
        if seen {
            tell_payer(tx, ctx, order.number, OrderNews::Expired)?;
        }
        return tell_source(tx, ctx, order.number, SourceNews::Expired);
    }
    let times = reminders(ctx, order);
    let past = times.iter().filter(|at| **at <= ctx.now).count();
    if order.state == OrderState::Payable && past > order.reminders as usize {
        tell_payer(tx, ctx, order.number, OrderNews::Reminder)?;
        if ctx.now > order.deadline {
            tell_source(tx, ctx, order.number, SourceNews::Overdue)?;
        }
    }
    arrange(tx, ctx, order)
}

fn later(tx: &Tx<'_>, ctx: &Ctx, order: &Order) -> Result<(), Failure> {
    Ok(orders::set_wake(tx, order.number, order.reminders, Some(ctx.now.plus(LATER)))?)
}

/// What a basket's debit left owing stays payable: the goods are gone.
fn expires(order: &Order) -> bool {
    order.store.is_none()
}

fn expiry(ctx: &Ctx, order: &Order) -> Timestamp {
    order.deadline.plus(ctx.config.expire_after)
}

/// When the payer is reminded, the earliest first.
fn reminders(ctx: &Ctx, order: &Order) -> Vec<Timestamp> {
    let before = ctx.config.remind_before.iter().map(|d| order.deadline.minus(*d));
    let after = ctx.config.remind_after.iter().map(|d| order.deadline.plus(*d));
    let expiry = expiry(ctx, order);
    let mut times: Vec<_> = before.chain(after).filter(|at| *at < expiry || !expires(order)).collect();
    times.sort();
    times
}
