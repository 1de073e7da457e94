//! Slips: made of payable orders, given up, expired (B22).

use super::command::not_found;
use crate::domain::Ctx;
use crate::failure::{Failure, refuse};
use crate::store::Tx;
use crate::store::devices::Device;
use crate::store::orders::{self, Order, OrderState};
use crate::store::pays::{self, Pay};
use crate::store::slips::{self, NewSlip, Slip, SlipState};
use std::collections::BTreeSet;
use walkpay::protocol::order::{Invoice, InvoiceType, MAX_SLIP_ORDERS, SlipRequest};
use walkpay::protocol::problem::ProblemCode;
use walkpay::{Money, PaymentId, ServiceNumber, SlipNumber};

/// The longest title of a slip, in characters.
const MAX_TITLE: usize = 100;

/// An order of the payer, as far as they may see it: drafts and what waits for confirmation are its source's alone.
pub(super) fn order(tx: &Tx<'_>, device: &Device, number: ServiceNumber) -> Result<Order, Failure> {
    let seen =
        |o: &Order| o.payer == device.user && !matches!(o.state, OrderState::Draft | OrderState::AwaitingConfirmation);
    orders::find(tx, number)?.filter(seen).ok_or_else(|| not_found("order"))
}

/// A slip of the payer.
pub(super) fn owned(tx: &Tx<'_>, device: &Device, number: SlipNumber) -> Result<Slip, Failure> {
    slips::find(tx, number)?.filter(|s| s.payer == device.user).ok_or_else(|| not_found("slip"))
}

/// A payment of a slip of the payer.
pub(super) fn payment(tx: &Tx<'_>, device: &Device, slip: SlipNumber, payment_id: &PaymentId) -> Result<Pay, Failure> {
    let slip = owned(tx, device, slip)?;
    pays::find(tx, payment_id)?.filter(|p| p.slip == slip.number).ok_or_else(|| not_found("payment of this slip"))
}

/// Makes a slip and locks its orders. The checks in order: texts; number of orders, each once; each the payer's own; payable and on
/// no other slip; one currency; one payee; the sum.
pub(super) fn make(tx: &Tx<'_>, ctx: &Ctx, device: &Device, request: &SlipRequest) -> Result<Slip, Failure> {
    check_text("remarks", &request.remarks, 0, 500)?;
    request.invoice.as_ref().map(check_invoice).transpose()?;
    let numbers: BTreeSet<ServiceNumber> = request.orders.iter().copied().collect();
    if numbers.is_empty() || request.orders.len() > MAX_SLIP_ORDERS || numbers.len() != request.orders.len() {
        let detail = format!("orders: expected 1 to {MAX_SLIP_ORDERS} numbers, each once");
        return Err(refuse(ProblemCode::InvalidValue, detail));
    }
    let orders = numbers.iter().map(|n| order(tx, device, *n)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = orders.first() else {
        return Err(refuse(ProblemCode::InvalidValue, "orders: expected at least one"));
    };
    for order in &orders {
        if order.state != OrderState::Payable || order.slip.is_some() || order.due <= 0 {
            let detail = format!("{} cannot be put on a slip: it is not payable, or on another one", order.number);
            return Err(refuse(ProblemCode::OrderNotPayable, detail));
        }
        if order.total.currency != first.total.currency {
            return Err(refuse(ProblemCode::CurrencyMismatch, "make one slip a currency"));
        }
        if order.payee != first.payee {
            return Err(refuse(ProblemCode::PayeeMismatch, "make one slip a payee"));
        }
    }
    let currency = first.total.currency;
    let amount = orders.iter().try_fold(Money::zero(currency), |sum, o| sum.checked_add(currency.minor(o.due)));
    let amount = amount.map_err(|e| refuse(ProblemCode::InvalidValue, e.to_string()))?;
    let items: Vec<(ServiceNumber, i64)> = orders.iter().map(|o| (o.number, o.due)).collect();
    let number = slips::add(
        tx,
        &NewSlip {
            payer: device.user,
            payee: &first.payee,
            title: &title(&orders),
            amount,
            items: &items,
            remarks: &request.remarks,
            invoice: request.invoice.as_ref(),
            made_at: ctx.now,
            expires_at: ctx.now.plus(ctx.config.slip_lifetime),
        },
    )?;
    Ok(slips::get(tx, number)?)
}

/// The first service, and how many more.
fn title(orders: &[Order]) -> String {
    let name = orders.first().map(|o| o.service_name.as_str()).unwrap_or_default();
    let short: String = name.chars().take(MAX_TITLE).collect();
    match orders.len() {
        0 | 1 => short,
        n => format!("{short} + {}", n - 1),
    }
}

/// Gives an open slip up: its orders are free. One that is closed already stays so.
pub(super) fn close(tx: &Tx<'_>, ctx: &Ctx, device: &Device, number: SlipNumber) -> Result<Slip, Failure> {
    let slip = owned(tx, device, number)?;
    match slip.state {
        SlipState::Open => give_back(tx, ctx, &slip)?,
        SlipState::Closed => {}
        SlipState::Paying => {
            return Err(refuse(ProblemCode::PaymentOpen, "close its payment first, and wait until that is over"));
        }
        SlipState::Paid => return Err(refuse(ProblemCode::SlipOver, "the slip is paid")),
    }
    Ok(slips::get(tx, number)?)
}

fn give_back(tx: &Tx<'_>, ctx: &Ctx, slip: &Slip) -> Result<(), Failure> {
    slips::set_state(tx, slip.number, SlipState::Closed, ctx.now)?;
    Ok(slips::unlock(tx, slip.number)?)
}

/// Has slips give their orders back that nobody pays; how many.
pub(in crate::domain) fn expire(tx: &Tx<'_>, ctx: &Ctx, limit: u32) -> Result<usize, Failure> {
    let over = slips::expired(tx, ctx.now, limit)?;
    for slip in &over {
        give_back(tx, ctx, slip)?;
    }
    Ok(over.len())
}

/// Refuses a text that is too short, too long, or not made of characters for people.
pub(super) fn check_text(field: &str, text: &str, min: usize, max: usize) -> Result<(), Failure> {
    let count = text.chars().count();
    let blank = min > 0 && text.trim().is_empty();
    if blank || !(min..=max).contains(&count) || text.chars().any(char::is_control) {
        let detail = format!("{field}: expected {min} to {max} characters, none of them a control character");
        return Err(refuse(ProblemCode::InvalidValue, detail));
    }
    Ok(())
}

fn check_invoice(invoice: &Invoice) -> Result<(), Failure> {
    check_text("invoice.title", &invoice.title, 1, 200)?;
    let good =
        |id: &str| (5..=20).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    match (invoice.kind, invoice.tax_id.as_deref()) {
        (InvoiceType::Personal, None) => Ok(()),
        (InvoiceType::Company, Some(id)) if good(id) => Ok(()),
        (InvoiceType::Personal, Some(_)) => {
            Err(refuse(ProblemCode::InvalidValue, "invoice.tax_id: only a company has one"))
        }
        (InvoiceType::Company, _) => {
            Err(refuse(ProblemCode::InvalidValue, "invoice.tax_id: expected 5 to 20 digits and capital letters"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invoices_are_what_tax_offices_take() {
        let invoice = |kind, title: &str, tax_id: Option<&str>| {
            check_invoice(&Invoice { kind, title: title.into(), tax_id: tax_id.map(str::to_owned) }).is_ok()
        };
        assert!(invoice(InvoiceType::Personal, "Ada", None));
        assert!(invoice(InvoiceType::Company, "Acme", Some("91310000MA1K3AAAAA")));
        for bad in ["", " ", "a\u{0}b", "a\nb", &"x".repeat(201)] {
            assert!(!invoice(InvoiceType::Personal, bad, None), "{bad:?}");
        }
        assert!(!invoice(InvoiceType::Personal, "Ada", Some("12345")));
        for bad in [None, Some("1234"), Some("abcde"), Some("12345678901234567890X"), Some("1234 ")] {
            assert!(!invoice(InvoiceType::Company, "Acme", bad), "{bad:?}");
        }
    }
}
