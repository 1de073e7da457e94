//! Orders, slips and payments as their payer sees them.

use crate::failure::Failure;
use crate::store::legs::{self, OrderLeg};
use crate::store::orders::Order;
use crate::store::pays::{self, Pay};
use crate::store::slips::{self, Slip};
use crate::store::{Tx, ledger, order_parts};
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::order::*;

/// An order in a list.
pub(super) fn summary(tx: &Tx<'_>, order: &Order) -> Result<OrderSummary, Failure> {
    Ok(OrderSummary {
        service_number: order.number,
        status: order.state.status(),
        source: order.source.clone(),
        service_name: order.service_name.clone(),
        payee: order.payee.clone(),
        total: order.total,
        due: order.total.currency.minor(order.due),
        case_number: order.case_number.clone(),
        case_name: order_parts::texts(tx, order.number)?.case_name,
        arose_at: order.arose_at,
        deadline: order.deadline,
        slip_number: order.slip,
    })
}

/// An order in full.
pub(super) fn order(tx: &Tx<'_>, order: &Order) -> Result<OrderView, Failure> {
    let texts = order_parts::texts(tx, order.number)?;
    Ok(OrderView {
        summary: summary(tx, order)?,
        paying_unit: texts.paying_unit,
        remarks: texts.remarks,
        fees: order_parts::fees(tx, order.number)?,
        version: order.version,
        refunded: order.total.currency.minor(order.refunded),
        legs: legs::of_order(tx, order.number)?.iter().map(OrderLeg::told).collect(),
    })
}

/// A slip with its payments.
pub(super) fn slip(tx: &Tx<'_>, slip: &Slip) -> Result<SlipView, Failure> {
    let (remarks, invoice) = slips::texts(tx, slip.number)?;
    let item = |i: slips::Item| SlipItem { service_number: i.number, service_name: i.service_name, amount: i.amount };
    Ok(SlipView {
        slip_number: slip.number,
        status: slip.state.status(),
        payee: slip.payee.clone(),
        title: slip.title.clone(),
        amount: slip.amount,
        items: slips::items(tx, slip.number)?.into_iter().map(item).collect(),
        remarks,
        method: slip.method,
        invoice,
        made_at: slip.made_at,
        expires_at: slip.expires_at,
        payments: pays::of_slip(tx, slip.number)?.iter().map(payment).collect(),
    })
}

/// Stored value, what is reserved for purchases and payments under way apart.
pub(super) fn stored_value(tx: &Tx<'_>, account: i64) -> Result<StoredValue, Failure> {
    let (balance, reserved) = ledger::balance(tx, account)?;
    let free = balance.minor.saturating_sub(reserved).max(0);
    Ok(StoredValue { balance, available: balance.currency.minor(free) })
}

/// A payment as it was first answered, which each repeat of its request is answered with: what stored value alone pays had succeeded,
/// anything else had been written down.
pub(super) fn begun(pay: &Pay) -> PaymentView {
    let status = match pay.method {
        PaymentMethod::StoredValue => PaymentStatus::Succeeded,
        _ => PaymentStatus::Open,
    };
    PaymentView { status, launch: None, reason: None, ..payment(pay) }
}

/// A payment of a slip as it stands.
pub(super) fn payment(pay: &Pay) -> PaymentView {
    PaymentView {
        payment_id: pay.payment_id,
        slip_number: pay.slip,
        method: pay.method,
        status: pay.state.status(),
        amount: pay.total(),
        stored_value: pay.amount.currency.minor(pay.stored_value),
        launch: pay.launch.clone().filter(|_| pay.is_live()),
        reason: pay.reason.clone(),
        deadline: pay.deadline,
    }
}
