//! Acceptance: one transaction of verdict, reservation of stored value or its posting, exit pass, order, debit intent and events.

use super::attempts::{Case, business_date};
use super::{debit, holds};
use crate::failure::Failure;
use crate::store::holds::Hold;
use crate::store::orders::{self, NewOrder, OrderState};
use crate::store::payments::{self, Payment, PaymentState};
use crate::store::{ledger, order_parts, passes, users};
use walkpay::protocol::document::{Confirmation, DebitResult, ExitPass};
use walkpay::protocol::order::FeeLine;
use walkpay::{Money, PassId, ServiceNumber};

/// What the shopper gets.
pub(super) struct Accepted {
    pub exit_pass: ExitPass,
    pub service_number: ServiceNumber,
    /// Where stored value covers all: the debit, which is posted.
    pub debited: Option<DebitResult>,
}

/// Does everything that makes an attempt accepted, but for the trip's row, the attempt's, and the events.
pub(super) fn accept(case: &Case<'_>, stored_value: i64, hold: Option<&Hold>) -> Result<Accepted, Failure> {
    let Case { tx, ctx, trip, device, store, document, .. } = *case;
    let day = business_date(ctx.now, &store.info.time_zone)?;
    users::count_purchase(tx, device.user, &day, document.total)?;
    let covered = stored_value == document.total.minor;
    let number = orders::add(
        tx,
        &NewOrder {
            source: document.store_id.as_str(),
            state: if covered { OrderState::Paid } else { OrderState::Collecting },
            service_name: "purchase",
            payee: &store.info.name,
            payer: device.user,
            total: document.total,
            due: if covered { 0 } else { document.total.minor },
            case_number: &trip.trip.to_string(),
            arose_at: ctx.now,
            deadline: ctx.now.plus(ctx.config.payable),
            store: Some(store.store),
            made_at: ctx.now,
        },
    )?;
    let goods = FeeLine {
        name: "goods".to_owned(),
        quantity: "1".to_owned(),
        unit_price: document.total,
        amount: document.total,
        tax_rate: "0".to_owned(),
        tax: Money::zero(document.total.currency),
    };
    order_parts::add_fees(tx, number, &[goods])?;
    let mut payment = Payment {
        payment: 0,
        number,
        trip: trip.trip,
        attempt: document.attempt,
        state: PaymentState::Open,
        total: document.total,
        stored_value,
        entry: hold.and_then(|h| h.entry.clone()),
        held: hold.map_or(0, |h| h.amount.minor),
        reason: None,
        receipt: None,
    };
    let debited = if covered {
        let result = debit::post_covered(case, payment, &day)?;
        if !case.fresh {
            holds::release_unneeded(tx, ctx, &trip.trip)?;
        }
        Some(result)
    } else {
        if let Some(account) = device.account.filter(|_| stored_value > 0) {
            ledger::reserve(tx, &trip.trip, account, stored_value)?;
        }
        payment.payment = payments::add(tx, &payment, ctx.now)?;
        debit::begin(tx, ctx, &payment)?;
        None
    };
    let exp = ctx.now.plus(ctx.config.exit_pass.min(walkpay::protocol::exit_pass::MAX_LIFETIME));
    let exit_pass = ExitPass {
        jti: PassId::new(ctx.now, ctx.random.bytes()),
        merchant_id: document.merchant_id.clone(),
        store_id: document.store_id.clone(),
        gate_group: store.info.gate_group.clone(),
        trip_id: trip.trip,
        cnf: Confirmation { jwk: device.request_jwk.clone() },
        amount: document.total,
        item_count: document.item_count,
        iat: ctx.now,
        exp,
    };
    passes::add(tx, &exit_pass.jti, &trip.trip, &exit_pass.gate_group, exp)?;
    Ok(Accepted { exit_pass, service_number: number, debited })
}
