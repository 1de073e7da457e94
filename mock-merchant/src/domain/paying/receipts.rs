//! What channels have collected and nothing could be paid with: given back, applied to what is still owed, or settled by other means.

use super::booking::{Books, paid};
use super::channels::post;
use crate::domain::{Ctx, SuspenseNumber, SuspenseRow};
use crate::failure::{Failure, refuse};
use crate::store::channel_calls::{self, ChannelKind, NewChannelCall, Receipt, ReceiptState};
use crate::store::legs::{self, NewLeg};
use crate::store::orders::{self, Order, OrderState};
use crate::store::pays::{self, Pay, PayState};
use crate::store::{Tx, ledger, slips};
use walkpay::protocol::problem::ProblemCode;
use walkpay::{Money, ServiceNumber};

/// The most orders that a receipt is applied to.
const MAX_ORDERS: usize = 50;

/// Asks the channel to give a receipt back, under a reference of its own each time: a refusal stands for ever, and what has no answer is asked
/// for until it has one.
pub(super) fn ask_back(tx: &Tx<'_>, ctx: &Ctx, pay: &Pay, receipt: i64, amount: Money) -> Result<(), Failure> {
    let first = format!("{}s{receipt}", pay.channel_number);
    let reference = match channel_calls::tries_of_receipt(tx, receipt)? {
        0 => first,
        tries => format!("{first}t{tries}"),
    };
    channel_calls::set_receipt(tx, receipt, ReceiptState::Refunding)?;
    let call = NewChannelCall {
        pay: pay.pay,
        refund: None,
        receipt: Some(receipt),
        kind: ChannelKind::Refund,
        reference: &reference,
        amount,
    };
    Ok(channel_calls::order(tx, &call, ctx.now)?)
}

/// Receipts that have not come to their end, for the operator.
pub(in crate::domain) fn unsettled(tx: &Tx<'_>, limit: u32) -> Result<Vec<SuspenseRow>, Failure> {
    let row = |receipt: Receipt| -> Result<SuspenseRow, Failure> {
        let state = if receipt.state == ReceiptState::Suspense { "open" } else { "refunding" };
        Ok(SuspenseRow {
            number: SuspenseNumber::Receipt(receipt.receipt),
            kind: "receipt".to_owned(),
            state: state.to_owned(),
            amount: receipt.amount,
            reference: pays::get(tx, receipt.pay)?.channel_number,
            tries: channel_calls::tries_of_receipt(tx, receipt.receipt)?,
            found_at: receipt.received_at,
        })
    };
    channel_calls::unsettled_receipts(tx, limit)?.into_iter().map(row).collect()
}

/// Gives an open receipt back through its channel, since the operator says so.
pub(in crate::domain) fn give_back(tx: &Tx<'_>, ctx: &Ctx, receipt: i64) -> Result<(), Failure> {
    let receipt = open(tx, receipt)?;
    ask_back(tx, ctx, &pays::get(tx, receipt.pay)?, receipt.receipt, receipt.amount)
}

/// Takes an open receipt out of suspense that was settled by other means; `settled` is the account.
pub(in crate::domain) fn settle(tx: &Tx<'_>, ctx: &Ctx, receipt: i64) -> Result<(), Failure> {
    let Receipt { amount, .. } = open(tx, receipt)?;
    let suspense = ledger::account(tx, "suspense", amount.currency, Some(0))?;
    let settled = ledger::account(tx, "settled", amount.currency, None)?;
    let postings = [(suspense, -amount.minor), (settled, amount.minor)];
    post(tx, ctx, "settle_receipt", &format!("receipt.{receipt}.settled"), &postings)?;
    Ok(channel_calls::set_receipt(tx, receipt, ReceiptState::Settled)?)
}

/// Pays orders with an open receipt. The checks in order: each order there, and once; its payer the one who has paid, its currency that of
/// the receipt (`invalid_value`); payable and on no slip (`order_not_payable`); together they owe exactly the receipt (`invalid_value`); no other
/// order was paid by the same payment.
pub(in crate::domain) fn assign(
    tx: &Tx<'_>,
    ctx: &Ctx,
    receipt: i64,
    numbers: &[ServiceNumber],
) -> Result<(), Failure> {
    let receipt = open(tx, receipt)?;
    let pay = pays::get(tx, receipt.pay)?;
    let invalid = |detail: String| Err(refuse(ProblemCode::InvalidValue, detail));
    if !(1..=MAX_ORDERS).contains(&numbers.len()) {
        return invalid(format!("expected 1 to {MAX_ORDERS} orders"));
    }
    let payer = slips::get(tx, pay.slip)?.payer;
    let mut found: Vec<Order> = Vec::new();
    for number in numbers {
        let order = orders::find(tx, *number)?;
        let order = order.ok_or_else(|| refuse(ProblemCode::NotFound, format!("there is no order {number}")))?;
        if found.iter().any(|o| o.number == *number) {
            return invalid(format!("order {number} is named twice"));
        }
        if order.payer != payer || order.total.currency != receipt.amount.currency {
            return invalid(format!("order {number}: expected one of the same payer in {}", receipt.amount.currency));
        }
        if order.state != OrderState::Payable || order.slip.is_some() {
            let state = if order.slip.is_some() { "on a slip" } else { order.state.word() };
            return Err(refuse(ProblemCode::OrderNotPayable, format!("order {number} is {state}")));
        }
        found.push(order);
    }
    let owed = found.iter().try_fold(0i64, |sum, order| sum.checked_add(order.due));
    if owed != Some(receipt.amount.minor) {
        let owed = owed.map_or_else(|| "too much".to_owned(), |minor| receipt.amount.currency.minor(minor).to_string());
        return invalid(format!("these orders owe {owed}, the channel has collected {}", receipt.amount));
    }
    if pay.state != PayState::Closed || !legs::of_pay(tx, pay.pay)?.is_empty() {
        return invalid("its payment has paid orders already: give it back".to_owned());
    }
    book(tx, ctx, &receipt, &pay, &found)
}

fn book(tx: &Tx<'_>, ctx: &Ctx, receipt: &Receipt, pay: &Pay, found: &[Order]) -> Result<(), Failure> {
    let suspense = ledger::account(tx, "suspense", receipt.amount.currency, Some(0))?;
    for (n, order) in (1u32..).zip(found) {
        let books = Books::of(tx, order)?;
        let reference = format!("{}s{}.{}", pay.channel_number, receipt.receipt, order.number);
        let postings = [(suspense, -order.due), (books.owed, order.due)];
        let date = books.post(tx, ctx, "assign_receipt", &reference, &postings)?;
        let amount = receipt.amount.currency.minor(order.due);
        let leg = NewLeg { number: order.number, method: pay.method, amount, reference: &pay.channel_number };
        legs::add_paid(tx, pay.pay, n, &leg, &date, ctx.now)?;
        orders::set(tx, order.number, OrderState::Paid, 0, None)?;
    }
    channel_calls::set_receipt(tx, receipt.receipt, ReceiptState::Applied)?;
    found.iter().try_for_each(|order| paid(tx, ctx, order))
}

fn open(tx: &Tx<'_>, receipt: i64) -> Result<Receipt, Failure> {
    let unknown = || refuse(ProblemCode::NotFound, format!("no receipt has the number c{receipt}"));
    let found = channel_calls::find_receipt(tx, receipt)?.ok_or_else(unknown)?;
    match found.state {
        ReceiptState::Suspense => Ok(found),
        other => Err(refuse(ProblemCode::AlreadyDecided, format!("number c{receipt} is {}", other.word()))),
    }
}
