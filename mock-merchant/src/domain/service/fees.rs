//! What an order comes to: fee lines priced and added up. Texts and times within their limits.

use super::message::FeeBody;
use crate::failure::{Failure, refuse};
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use std::time::Duration;
use walkpay::protocol::order::{FeeLine, MAX_FEES};
use walkpay::protocol::problem::ProblemCode;
use walkpay::{Money, Timestamp};

/// The longest that an order can wait for its payment.
const FARTHEST: Duration = Duration::from_secs(5 * 366 * 24 * 3600);

/// Priced lines and their sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Fees {
    /// The lines.
    pub lines: Vec<FeeLine>,
    /// Their sum, above zero.
    pub total: Money,
}

/// Prices fee lines: amount = quantity × unit price, tax = amount × rate ÷ (100 + rate), each rounded half up.
///
/// # Errors
/// [`Failure::Refused`]: `invalid_value` for a line that is out of its limits and for sums that are, `currency_mismatch` for lines
/// of several currencies.
pub fn price(bodies: &[FeeBody]) -> Result<Fees, Failure> {
    let first = bodies.first().filter(|_| bodies.len() <= MAX_FEES);
    let first = first.ok_or_else(|| invalid(format!("fees: expected 1 to {MAX_FEES} lines")))?;
    let currency = first.unit_price.currency;
    let mut lines = Vec::with_capacity(bodies.len());
    let mut total = Money::zero(currency);
    for (n, body) in (1..).zip(bodies) {
        let bad = |what: &str| invalid(format!("fees, line {n}: {what}"));
        if body.unit_price.currency != currency {
            let detail = format!("fees, line {n}: an order has one currency, here {currency}");
            return Err(refuse(ProblemCode::CurrencyMismatch, detail));
        }
        text(&body.name, "fees: name", 1, 200)?;
        let quantity = decimal(&body.quantity, 6, 3).filter(|q| !q.is_zero());
        let quantity = quantity.ok_or_else(|| bad("quantity: expected a number above zero with at most 3 places"))?;
        let rate = decimal(&body.tax_rate, 2, 2).ok_or_else(|| bad("tax_rate: expected per cent below 100"))?;
        if body.unit_price.minor < 0 {
            return Err(bad("unit_price: expected no less than zero"));
        }
        let large = || bad("the amount is too large");
        let exact = quantity.checked_mul(Decimal::from(body.unit_price.minor)).ok_or_else(large)?;
        let amount = whole(exact).map(|minor| currency.minor(minor)).ok_or_else(large)?;
        total = total.checked_add(amount).map_err(|_| large())?;
        let tax = whole(Decimal::from(amount.minor) * rate / (Decimal::ONE_HUNDRED + rate)).ok_or_else(large)?;
        lines.push(FeeLine {
            name: body.name.clone(),
            quantity: quantity.normalize().to_string(),
            unit_price: body.unit_price,
            amount,
            tax_rate: rate.normalize().to_string(),
            tax: currency.minor(tax),
        });
    }
    if total.minor == 0 {
        return Err(invalid("fees: an order comes to more than nothing"));
    }
    Ok(Fees { lines, total })
}

/// A plain decimal number: up to `whole` digits, a point, up to `places` more.
fn decimal(text: &str, whole: usize, places: usize) -> Option<Decimal> {
    let (before, after) = text.split_once('.').map_or((text, None), |(b, a)| (b, Some(a)));
    let digits = |s: &str, max| (1..=max).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
    let well_formed = digits(before, whole) && after.is_none_or(|a| digits(a, places));
    well_formed.then(|| text.parse().ok()).flatten()
}

fn whole(exact: Decimal) -> Option<i64> {
    exact.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero).to_i64()
}

/// Checks a text from outside: its length in characters, and that it has no control characters and none that turn the
/// direction of what is shown.
///
/// # Errors
/// [`Failure::Refused`] with `invalid_value`.
pub fn text(text: &str, what: &str, least: usize, most: usize) -> Result<(), Failure> {
    let turning = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    // Four bytes a character at most: a long text is not counted through.
    let fits = text.len() <= 4 * most && (least..=most).contains(&text.chars().count());
    if fits && !text.chars().any(|c| c.is_control() || turning(c)) {
        return Ok(());
    }
    Err(invalid(format!("{what}: expected {least} to {most} characters without control characters")))
}

/// [`text`] with line feeds.
///
/// # Errors
/// As [`text`].
pub fn remarks(remarks: &str) -> Result<(), Failure> {
    text(&remarks.replace('\n', " "), "remarks", 0, 2000)
}

/// Checks a deadline.
///
/// # Errors
/// [`Failure::Refused`] with `invalid_value`.
pub fn deadline(deadline: Timestamp, arose_at: Timestamp, now: Timestamp) -> Result<(), Failure> {
    if deadline <= now || deadline > now.plus(FARTHEST) {
        return Err(invalid("deadline: expected a time in the future, at most five years from now"));
    }
    if arose_at > deadline || arose_at < Timestamp::from_millis(0) {
        return Err(invalid("arose_at: expected a time since 1970 and before the deadline"));
    }
    Ok(())
}

/// A refusal with `invalid_value`.
pub fn invalid(detail: impl Into<String>) -> Failure {
    refuse(ProblemCode::InvalidValue, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use walkpay::Currency;

    fn line(quantity: &str, minor: i64, rate: &str) -> FeeBody {
        let unit_price = Currency::parse("EUR").unwrap().minor(minor);
        FeeBody { name: "n".into(), quantity: quantity.into(), unit_price, tax_rate: rate.into() }
    }

    fn amounts(lines: &[FeeBody]) -> (Vec<(i64, i64)>, i64) {
        let fees = price(lines).unwrap();
        (fees.lines.iter().map(|l| (l.amount.minor, l.tax.minor)).collect(), fees.total.minor)
    }

    #[test]
    fn lines_are_rounded_half_up_one_by_one() {
        assert_eq!(amounts(&[line("1", 11_900, "19")]), (vec![(11_900, 1_900)], 11_900));
        assert_eq!(amounts(&[line("0.5", 1, "0"), line("2.5", 3, "7")]), (vec![(1, 0), (8, 1)], 9));
        // 3 × 7 % of 107: exactly half a cent of tax goes up.
        assert_eq!(amounts(&[line("1", 107, "7"), line("1.500", 100, "99.99")]), (vec![(107, 7), (150, 75)], 257));
        let fees = price(&[line("01.500", 100, "19.00")]).unwrap();
        assert_eq!((fees.lines[0].quantity.as_str(), fees.lines[0].tax_rate.as_str()), ("1.5", "19"));
    }

    #[test]
    fn what_is_out_of_limits_is_refused() {
        let code = |lines: &[FeeBody]| price(lines).unwrap_err().code();
        for bad in ["", "0", "0.000", "-1", "+1", "1.", ".5", "1e3", "1,5", "1.0001", "1000000", "٣", "1 "] {
            assert_eq!(code(&[line(bad, 100, "0")]), ProblemCode::InvalidValue, "{bad}");
        }
        for bad in ["", "100", "-1", "19%", "1.999", "NaN"] {
            assert_eq!(code(&[line("1", 100, bad)]), ProblemCode::InvalidValue, "{bad}");
        }
        assert_eq!(code(&[]), ProblemCode::InvalidValue);
        assert_eq!(code(&vec![line("1", 1, "0"); MAX_FEES + 1]), ProblemCode::InvalidValue);
        assert_eq!(code(&[line("1", 0, "0")]), ProblemCode::InvalidValue, "nothing to pay");
        assert_eq!(code(&[line("1", -5, "0")]), ProblemCode::InvalidValue);
        // Sums and products that no integer holds.
        let most = walkpay::money::MAX_MINOR;
        assert_eq!(code(&[line("999999.999", most, "99.99")]), ProblemCode::InvalidValue);
        assert_eq!(code(&[line("1", most, "0"), line("1", 1, "0")]), ProblemCode::InvalidValue);
        assert_eq!(price(&[line("1", most, "99.99")]).unwrap().total.minor, most);
        let yen = FeeBody { unit_price: Currency::parse("JPY").unwrap().minor(1), ..line("1", 1, "0") };
        assert_eq!(code(&[line("1", 1, "0"), yen]), ProblemCode::CurrencyMismatch);
    }

    #[test]
    fn texts_are_printable_but_may_look_like_formulas() {
        for good in ["=1+1", "+49", "-", "@SUM(A1)", "Müller & Söhne", "'; DROP TABLE orders; --", "<b>", "日本"] {
            assert!(text(good, "t", 1, 200).is_ok(), "{good}");
        }
        for bad in ["", "a\0b", "a\nb", "\u{7f}", "\u{85}", "abc\u{202e}fed", &"x".repeat(201)] {
            assert!(text(bad, "t", 1, 200).is_err(), "{bad:?}");
        }
        assert!(remarks("two\nlines").is_ok() && remarks("a\rb").is_err() && remarks("\0").is_err());
    }
}
