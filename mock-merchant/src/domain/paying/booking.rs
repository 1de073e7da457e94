//! What a payment comes to: booked in one transaction, or closed, and told.

use super::{pays as rules, views};
use crate::domain::attempts::business_date;
use crate::domain::service::{SourceNews, tell_payer, tell_source};
use crate::domain::tell::tell_document;
use crate::domain::{Ctx, Mutation, debit};
use crate::failure::{Failure, OrDefect};
use crate::store::channel_calls::{self, ChannelKind};
use crate::store::devices::DeviceState;
use crate::store::ledger::{self, Transfer};
use crate::store::legs::{self, NewLeg, OrderLeg};
use crate::store::orders::{self, Order, OrderState};
use crate::store::pays::{self, Pay, PayState};
use crate::store::slips::{self, Slip, SlipState};
use crate::store::{Tx, devices, payments, sources, stores, users};
use walkpay::protocol::document::{DebitStatus, EventBody, PaymentMethod};
use walkpay::protocol::order::{OrderNews, SlipResult};

/// Where an order's money is booked.
pub(super) struct Books {
    /// The store's row.
    pub store: Option<i64>,
    /// Whose days its business days are.
    pub time_zone: String,
    /// What a payment of the order goes to: what its payer owes the store, or what the source is owed.
    pub owed: i64,
    /// What a refund of the order is taken from.
    pub earned: i64,
}

impl Books {
    /// Those of an order.
    pub(super) fn of(tx: &Tx<'_>, order: &Order) -> Result<Self, Failure> {
        let currency = order.total.currency;
        if let Some(store) = order.store {
            let store = stores::get(tx, store)?;
            return Ok(Self {
                store: Some(store.store),
                owed: debit::account_of(tx, "receivable", &store, currency)?,
                earned: debit::account_of(tx, "sales", &store, currency)?,
                time_zone: store.info.time_zone,
            });
        }
        let source = sources::find(tx, &order.source)?;
        let owed = ledger::account(tx, &format!("payable:{}", order.source), currency, None)?;
        let time_zone = source.map_or_else(|| "UTC".to_owned(), |s| s.time_zone);
        Ok(Self { store: None, time_zone, owed, earned: owed })
    }

    /// Posts a transfer about an order; its business day.
    pub(super) fn post(
        &self,
        tx: &Tx<'_>,
        ctx: &Ctx,
        kind: &str,
        reference: &str,
        postings: &[(i64, i64)],
    ) -> Result<String, Failure> {
        let date = business_date(ctx.now, &self.time_zone)?;
        let receipt = self.store.map(|store| stores::next_receipt(tx, store)).transpose()?;
        let transfer =
            Transfer { kind, reference, store: self.store, trip: None, business_date: &date, receipt, at: ctx.now };
        ledger::post(tx, &transfer, postings)?.then_some(date).or_defect("a transfer that is posted once")
    }
}

/// Whether money that came for a slip may pay this order now: the order is the slip's, or nobody's since the slip was given up.
fn can_pay(slip: &Slip, order: &Order) -> bool {
    match order.slip {
        Some(other) => other == slip.number && matches!(order.state, OrderState::Payable | OrderState::InPayment),
        None => slip.state == SlipState::Closed && order.state == OrderState::Payable,
    }
}

/// Books a success of `pay` whose channel part comes from the ledger account `from`: to its slip, or to the slip's orders if they are still
/// as they were. `false`: they are not, nothing was booked, and the money has to go back.
pub(in crate::domain) fn settle(tx: &Tx<'_>, ctx: &Ctx, pay: &Pay, from: i64) -> Result<bool, Failure> {
    let slip = slips::get(tx, pay.slip)?;
    let mut shares = Vec::new();
    for item in slips::items(tx, slip.number)? {
        shares.push((orders::get(tx, item.number)?, item.amount.minor));
    }
    let free = pay.state != PayState::Succeeded
        && slip.state != SlipState::Paid
        && shares.iter().all(|(order, minor)| can_pay(&slip, order) && order.due == *minor);
    if !free && ctx.config.mutation != Some(Mutation::TwoChannelsPaid) {
        return Ok(false);
    }
    let Some(stored_value) = take_stored_value(tx, pay, &slip)? else { return Ok(false) };
    book(tx, ctx, pay, from, stored_value, &shares)?;
    pays::set_state(tx, pay.pay, PayState::Succeeded, None, ctx.now)?;
    channel_calls::end(tx, pay.pay, ChannelKind::Create)?;
    channel_calls::end(tx, pay.pay, ChannelKind::Close)?;
    slips::unlock(tx, slip.number)?;
    slips::set_method(tx, slip.number, pay.method)?;
    slips::set_state(tx, slip.number, SlipState::Paid, ctx.now)?;
    for other in pays::of_slip(tx, slip.number)?.iter().filter(|p| p.is_live()) {
        rules::give_up(tx, ctx, other, "paid_otherwise")?;
    }
    payer_told(tx, ctx, pay.pay)?;
    for (order, _) in &shares {
        paid(tx, ctx, order)?;
    }
    debit::forget_binding(tx, slip.payer)?;
    Ok(true)
}

/// The account and amount of the attempt's stored value: what it has reserved, or takes anew if that was given back. `None`: it is not there
/// any more.
fn take_stored_value(tx: &Tx<'_>, pay: &Pay, slip: &Slip) -> Result<Option<(i64, i64)>, Failure> {
    if pay.stored_value == 0 {
        return Ok(Some((0, 0)));
    }
    if let Some(reserved) = pays::end_reservation(tx, pay.pay, true)? {
        return Ok(Some(reserved));
    }
    let Some(account) = users::get(tx, slip.payer)?.account else { return Ok(None) };
    let (balance, reserved) = ledger::balance(tx, account)?;
    let there = balance.currency == pay.amount.currency && balance.minor - reserved >= pay.stored_value;
    Ok(there.then_some((account, pay.stored_value)))
}

/// Posts the shares: stored value first, then the channel, over the orders by their numbers; a leg for each order and method.
fn book(
    tx: &Tx<'_>,
    ctx: &Ctx,
    pay: &Pay,
    from: i64,
    stored_value: (i64, i64),
    shares: &[(Order, i64)],
) -> Result<(), Failure> {
    let reserved = format!("{}.s", pay.payment_id);
    let collected =
        if pay.method == PaymentMethod::Bank { rules::bank_reference(pay) } else { pay.channel_number.clone() };
    let (account, mut left) = stored_value;
    let mut n = 0;
    for (order, minor) in shares {
        let by_stored_value = left.min(*minor);
        left -= by_stored_value;
        let by_channel = minor - by_stored_value;
        let books = Books::of(tx, order)?;
        let reference = format!("{}.{}", pay.channel_number, order.number);
        let postings = [(account, -by_stored_value), (from, -by_channel), (books.owed, *minor)];
        let date = books.post(tx, ctx, "slip", &reference, &postings)?;
        let parts = [(PaymentMethod::StoredValue, by_stored_value, &reserved), (pay.method, by_channel, &collected)];
        for (method, minor, reference) in parts.into_iter().filter(|(_, minor, _)| *minor > 0) {
            n += 1;
            let amount = order.total.currency.minor(minor);
            let leg = NewLeg { number: order.number, method, amount, reference };
            legs::add_paid(tx, pay.pay, n, &leg, &date, ctx.now)?;
        }
        orders::set(tx, order.number, OrderState::Paid, 0, None)?;
    }
    Ok(())
}

/// Tells everybody that an order is paid; of a basket's the terminal too, which waits for its debit.
pub(super) fn paid(tx: &Tx<'_>, ctx: &Ctx, order: &Order) -> Result<(), Failure> {
    if let Some(payment) = payments::of_order(tx, order.number)? {
        debit::tell_result(tx, ctx, &payment, DebitStatus::Settled, 0)?;
    }
    tell_source(tx, ctx, order.number, SourceNews::Paid)?;
    tell_payer(tx, ctx, order.number, OrderNews::Paid)
}

/// Closes an attempt: nothing will come of it. Its slip can be paid otherwise, or given up.
pub(super) fn close(tx: &Tx<'_>, ctx: &Ctx, pay: &Pay, reason: &str) -> Result<(), Failure> {
    pays::set_state(tx, pay.pay, PayState::Closed, Some(reason), ctx.now)?;
    pays::end_reservation(tx, pay.pay, false)?;
    channel_calls::end(tx, pay.pay, ChannelKind::Create)?;
    channel_calls::end(tx, pay.pay, ChannelKind::Close)?;
    if slips::get(tx, pay.slip)?.state == SlipState::Paying {
        slips::set_state(tx, pay.slip, SlipState::Open, ctx.now)?;
        slips::set_expiry(tx, pay.slip, ctx.now.plus(ctx.config.slip_lifetime))?;
        for item in slips::items(tx, pay.slip)? {
            orders::set(tx, item.number, OrderState::Payable, item.amount.minor, None)?;
        }
    }
    debit::forget_binding(tx, slips::get(tx, pay.slip)?.payer)?;
    payer_told(tx, ctx, pay.pay)
}

/// Tells the payer's devices how a payment stands, now that it is written down.
pub(super) fn payer_told(tx: &Tx<'_>, ctx: &Ctx, pay: i64) -> Result<(), Failure> {
    let pay = pays::get(tx, pay)?;
    let slip = slips::get(tx, pay.slip)?;
    let legs: Vec<_> = legs::of_pay(tx, pay.pay)?.iter().map(OrderLeg::told).collect();
    for device in devices::of_user(tx, slip.payer)?.iter().filter(|d| d.state == DeviceState::Active) {
        let result = SlipResult {
            merchant_id: ctx.keys.merchant_id().clone(),
            sub: device.sub.clone(),
            slip_number: slip.number,
            slip_status: slip.state.status(),
            payment: views::payment(&pay),
            legs: legs.clone(),
            issued_at: ctx.now,
        };
        tell_document(tx, ctx, device, result, |document| EventBody::Slip { document })?;
    }
    Ok(())
}
