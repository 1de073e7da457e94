//! Acceptance: one transaction of verdict, reservation, exit pass, order, debit intent and event.

use super::attempts::{Case, business_date};
use super::debit;
use super::tell::sign;
use crate::failure::Failure;
use crate::store::holds::Hold;
use crate::store::orders::{self, NewOrder, OrderState};
use crate::store::payments::{self, Payment, PaymentState};
use crate::store::{ledger, order_parts, passes, trips, users};
use walkpay::protocol::document::{Confirmation, ExitPass, KeyUse};
use walkpay::protocol::order::FeeLine;
use walkpay::{Money, PassId, ServiceNumber};

/// What the shopper gets.
pub(super) struct Accepted {
    pub exit_pass: String,
    pub service_number: ServiceNumber,
}

/// Does everything that makes an attempt accepted, but for the attempt's own row and event.
pub(super) fn accept(case: &Case<'_>, stored_value: i64, hold: Option<&Hold>) -> Result<Accepted, Failure> {
    let Case { tx, ctx, trip, device, store, document, .. } = *case;
    trips::accept(tx, &trip.trip, document.attempt)?;
    users::count_purchase(tx, device.user, &business_date(ctx.now, &store.info.time_zone)?, document.total)?;
    if let Some(account) = device.account.filter(|_| stored_value > 0) {
        ledger::reserve(tx, &trip.trip, account, stored_value)?;
    }
    let number = orders::add(
        tx,
        &NewOrder {
            source: document.store_id.as_str(),
            state: OrderState::Collecting,
            service_name: "purchase",
            payee: &store.info.name,
            payer: device.user,
            total: document.total,
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
    order_parts::set_fees(tx, number, &[goods])?;
    let local = stored_value == document.total.minor;
    let mut payment = Payment {
        payment: 0,
        number,
        trip: trip.trip,
        attempt: document.attempt,
        state: if local { PaymentState::Local } else { PaymentState::Open },
        total: document.total,
        stored_value,
        entry: hold.and_then(|h| h.entry.clone()),
        held: hold.map_or(0, |h| h.amount.minor),
        reason: None,
        receipt: None,
    };
    payment.payment = payments::add(tx, &payment, ctx.now)?;
    debit::begin(tx, ctx, &payment)?;
    let exp = ctx.now.plus(ctx.config.exit_pass.min(walkpay::protocol::exit_pass::MAX_LIFETIME));
    let pass = ExitPass {
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
    passes::add(tx, &pass.jti, &trip.trip, &pass.gate_group, exp)?;
    Ok(Accepted { exit_pass: sign(ctx, KeyUse::Pass, &pass)?, service_number: number })
}
