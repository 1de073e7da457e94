//! What the shopper sees: the basket as a receipt, the debit with its legs, a QR code of half blocks.

use walkpay::api::ExitPassView;
use walkpay::basket::{PricedBasket, PricedLine, Quantity};
use walkpay::catalogue::PriceUnit;
use walkpay::protocol::document::{DebitResult, DebitStatus, LegState, PaymentMethod};
use walkpay::{Currency, Money};

const WIDTH: usize = 90;
const NAME: usize = 38;

/// The basket as a table of 90 columns.
pub fn basket(basket: &PricedBasket) -> String {
    let currency = basket.total.currency;
    let rule = format!("  {}\n", "─".repeat(WIDTH));
    let mut out = format!(
        "  {:>3}  {:<NAME$} {:>9} {:>10} {:>8} {:>10}  tax\n{rule}",
        "", "article", "quantity", "price", "off", "amount"
    );
    for line in &basket.lines {
        out += &row(line, currency);
    }
    out += &rule;
    let mut sum = |label: &str, amount: String| out += &format!("  {label:>72} {amount:>10}\n");
    if basket.discount.minor != 0 {
        sum("you save", basket.discount.to_decimal_string());
    }
    if basket.deposit.minor != 0 {
        sum("deposits in the total", basket.deposit.to_decimal_string());
    }
    for tax in &basket.tax_totals {
        let label = format!("tax {}: {} % of {}", tax.tax_group, tax.rate, minor(tax.net_minor, currency));
        sum(&label, minor(tax.tax_minor, currency));
    }
    let items = basket.item_count;
    sum(&format!("TOTAL  {items} items  {currency}"), basket.total.to_decimal_string());
    out
}

fn row(line: &PricedLine, currency: Currency) -> String {
    let indent = if line.parent.is_some() { "  + " } else { "" };
    let age = line.min_age.map(|age| format!(" [{age}+]")).unwrap_or_default();
    let name = fit(&format!("{indent}{}", line.name), NAME - age.len()) + &age;
    let per = if line.unit == PriceUnit::Kilogram { "/kg" } else { "" };
    let price = minor(line.unit_price_minor, currency) + per;
    let off = match line.discount_minor {
        0 => String::new(),
        discount => format!("-{}", minor(discount, currency)),
    };
    let payable = minor(line.payable_minor, currency);
    let quantity = quantity(line.quantity);
    let group = &line.tax_group;
    format!("  {:>3}  {name:<NAME$} {quantity:>9} {price:>10} {off:>8} {payable:>10}  {group}\n", line.line.0)
}

/// One line in a few words, for the moment of the scan.
pub fn scanned(line: &PricedLine, currency: Currency) -> String {
    format!(
        "{:<NAME$} {:>9} {:>10}",
        fit(&line.name, NAME),
        quantity(line.quantity),
        minor(line.payable_minor, currency)
    )
}

fn quantity(quantity: Quantity) -> String {
    match quantity {
        Quantity::Pieces { count } => format!("{count} pc"),
        Quantity::Grams { grams } => format!("{}.{:03} kg", grams / 1000, grams % 1000),
        Quantity::Price { .. } => "1 pc".into(),
    }
}

/// How the debit ended, with its legs.
pub fn debit(result: &DebitResult) -> String {
    let status = match result.status {
        DebitStatus::Debited => "debited",
        DebitStatus::Unpaid => "not collected in full: it is now an unpaid order",
        DebitStatus::Settled => "settled",
    };
    let mut out = format!("  {} {status}, service order {}\n", result.total, result.service_number);
    for leg in &result.legs {
        let method = match leg.method {
            PaymentMethod::StoredValue => "stored value",
            PaymentMethod::Bank => "bank",
            PaymentMethod::Alipay => "Alipay",
            PaymentMethod::Tenpay => "WeChat Pay",
            PaymentMethod::Test => "test",
        };
        let state = match leg.state {
            LegState::Pending => "pending",
            LegState::Unknown => "unknown",
            LegState::Succeeded => "done",
            LegState::Failed => "failed",
        };
        out += &format!("    {method:<14} {:>12}  {state:<8} {}\n", leg.amount.to_string(), leg.reference);
    }
    if result.due.minor != 0 {
        let reason = result.reason.as_deref().unwrap_or("not said");
        out += &format!("    still due {} (the bank's reason: {reason})\n", result.due);
    }
    if let Some(number) = result.receipt_number {
        out += &format!("    receipt number {number}\n");
    }
    out
}

const QUIET: i64 = 2;

fn is_dark(pass: &ExitPassView, x: i64, y: i64) -> bool {
    let size = i64::from(pass.size);
    let inside = (0..size).contains(&x) && (0..size).contains(&y);
    inside && usize::try_from(y * size + x).ok().and_then(|at| pass.modules.get(at)) == Some(&1)
}

/// How wide [`qr`] is.
pub fn qr_columns(pass: &ExitPassView) -> usize {
    pass.size as usize + 2 * QUIET as usize
}

/// The exit pass as a picture.
pub fn svg(pass: &ExitPassView) -> String {
    let size = i64::from(pass.size);
    let side = size + 8;
    let dark = (0..size).flat_map(|y| (0..size).map(move |x| (x, y))).filter(|(x, y)| is_dark(pass, *x, *y));
    let modules: String = dark.map(|(x, y)| format!("M{},{}h1v1h-1z", x + 4, y + 4)).collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\"><rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path d=\"{modules}\"/></svg>\n"
    )
}

/// The exit pass as a QR code, two modules in each character, dark on light whatever the terminal's colours are.
pub fn qr(pass: &ExitPassView, colours: bool) -> String {
    let size = i64::from(pass.size);
    let dark = |x, y| is_dark(pass, x, y);
    let (on, off) = if colours { ("\x1b[30;107m", "\x1b[0m") } else { ("", "") };
    let mut out = String::new();
    for y in (-QUIET..size + QUIET).step_by(2) {
        let cells = (-QUIET..size + QUIET).map(|x| match (dark(x, y), dark(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        });
        out += &format!("{on}{}{off}\n", cells.collect::<String>());
    }
    out
}

fn minor(minor: i64, currency: Currency) -> String {
    Money { minor, currency }.to_decimal_string()
}

/// Cuts at `width` characters.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}
