//! What the shopper sees: the basket as a receipt, the debit with its legs, a QR code of half blocks.

use qrcodegen::{QrCode, QrCodeEcc};
use walkpay::basket::{PricedBasket, PricedLine, Quantity};
use walkpay::catalogue::Unit;
use walkpay::protocol::document::{DebitResult, DebitStatus, LegState, PaymentMethod};
use walkpay::{Currency, Money};

const WIDTH: usize = 84;

/// The basket as a table of [`WIDTH`] columns.
pub fn basket(basket: &PricedBasket) -> String {
    let currency = basket.total.currency;
    let rule = "─".repeat(WIDTH);
    let mut out = format!("{:>3}  {:<36} {:>12} {:>10} {:>8} {:>10}\n{rule}\n", "#", "article", "quantity", "price", "off", currency.code());
    for line in &basket.lines {
        out += &row(line, currency);
    }
    out += &format!("{rule}\n");
    let mut sum = |label: &str, amount: String| out += &format!("{label:>72} {amount:>11}\n");
    if basket.discount.minor != 0 {
        sum("you save", basket.discount.to_decimal_string());
    }
    if basket.deposit.minor != 0 {
        sum("deposits in the total", basket.deposit.to_decimal_string());
    }
    for tax in &basket.tax_totals {
        let label = format!("{} {} % of {} net", tax.tax_group, tax.rate, minor(tax.net_minor, currency));
        sum(&label, minor(tax.tax_minor, currency));
    }
    sum(&format!("TOTAL, {} items", basket.item_count), basket.total.to_decimal_string());
    out
}

fn row(line: &PricedLine, currency: Currency) -> String {
    let indent = if line.parent.is_some() { "  " } else { "" };
    let age = line.min_age.map(|age| format!(" [{age}+]")).unwrap_or_default();
    let name = fit(&format!("{indent}{}", line.name), 36 - age.len()) + &age;
    let quantity = match line.quantity {
        Quantity::Pieces { count } => format!("{count} pc"),
        Quantity::Grams { grams } => format!("{}.{:03} kg", grams / 1000, grams % 1000),
        Quantity::Price { .. } => "1 pc".into(),
    };
    let per = if line.unit == Unit::Kilogram { "/kg" } else { "" };
    let price = minor(line.unit_price_minor, currency) + per;
    let off = if line.discount_minor == 0 { String::new() } else { format!("-{}", minor(line.discount_minor, currency)) };
    let payable = minor(line.payable_minor, currency);
    format!("{:>3}  {name:<36} {quantity:>12} {price:>10} {off:>8} {payable:>10} {}\n", line.line, line.tax_group)
}

/// How the debit ended, with its legs.
pub fn debit(result: &DebitResult) -> String {
    let status = match result.status {
        DebitStatus::Debited => "debited",
        DebitStatus::Unpaid => "not collected: it is now an unpaid order",
        DebitStatus::Settled => "settled",
    };
    let mut out = format!("{} {status}, service order {}\n", result.total, result.service_number);
    for leg in &result.legs {
        let method = match leg.method {
            PaymentMethod::StoredValue => "stored value",
            PaymentMethod::Bank => "bank",
            PaymentMethod::Alipay => "Alipay",
            PaymentMethod::Tenpay => "WeChat Pay",
        };
        let state = match leg.state {
            LegState::Pending => "pending",
            LegState::Unknown => "unknown",
            LegState::Succeeded => "done",
            LegState::Failed => "failed",
        };
        out += &format!("  {method:<14} {:>12}  {state:<8} {}\n", leg.amount.to_string(), leg.reference);
    }
    if result.due.minor != 0 {
        let reason = result.reason.as_deref().unwrap_or("not said");
        out += &format!("  still due {} (the bank's reason: {reason})\n", result.due);
    }
    if let Some(number) = result.receipt_number {
        out += &format!("  receipt number {number}\n");
    }
    out
}

/// A QR code with two modules in each character, dark on light whatever the terminal's colours are.
pub fn qr(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let border = 2;
    let mut out = String::new();
    for y in (-border..code.size() + border).step_by(2) {
        out += "  \x1b[30;107m";
        for x in -border..code.size() + border {
            out.push(match (code.get_module(x, y), code.get_module(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        out += "\x1b[0m\n";
    }
    Some(out)
}

fn minor(minor: i64, currency: Currency) -> String {
    Money { minor, currency }.to_decimal_string()
}

/// Cuts at `width` characters.
fn fit(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        Some((end, _)) => format!("{}…", text.char_indices().nth(width - 1).map_or(&text[..end], |(cut, _)| &text[..cut])),
        None => text.to_owned(),
    }
}
