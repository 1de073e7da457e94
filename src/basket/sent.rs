//! The lines as they travel beside the signed summary: the exact bytes that its `lines_sha256` is of.
//!
//! One JSON object without white space, members in this order:
//!
//! ```json
//! {"currency":"EUR","lines":[
//!   {"line":1,"gtin":"04006381333931","pieces":2,"unit_price":"1.29","discount":"0.30","payable":"2.28","tax_group":"A","tax":"0.36"},
//!   {"line":2,"gtin":"00000000000321","pieces":2,"unit_price":"0.25","discount":"0.00","payable":"0.50","tax_group":"A","tax":"0.08","parent":1},
//!   {"line":3,"gtin":"02112345000008","grams":512,"unit_price":"9.90","discount":"0.00","payable":"5.07","tax_group":"B","tax":"0.33"},
//!   {"line":4,"gtin":"02512345000006","price":"3.20","unit_price":"3.20","discount":"0.00","payable":"3.20","tax_group":"B","tax":"0.21"}]}
//! ```
//!
//! (shown with line breaks). Exactly one of `pieces`, `grams` and `price` says the quantity; `parent` is there for
//! deposits. Amounts have exactly the currency's digits. Readers ignore members they do not know.

use super::line::{LineId, MAX_LINES, Pick, Quantity};
use super::price::PricedBasket;
use crate::barcode::Gtin;
use crate::error::WalkpayError;
use crate::money::{Currency, Money};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The most bytes that are read.
pub const MAX_LINES_BYTES: usize = 256 * 1024;

/// One line as it was sent; amounts in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SentLine {
    /// Its number.
    pub line: LineId,
    /// Its article.
    pub gtin: Gtin,
    /// How much.
    pub quantity: Quantity,
    /// Price of a piece or a kilogram.
    pub unit_price_minor: i64,
    /// Its share of the promotions.
    pub discount_minor: i64,
    /// What is paid for it.
    pub payable_minor: i64,
    /// Its tax group.
    pub tax_group: String,
    /// Its share of the tax.
    pub tax_minor: i64,
    /// For a deposit: the line that it goes with.
    pub parent: Option<LineId>,
}

/// All lines as they were sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SentLines {
    /// The currency of all amounts.
    pub currency: Currency,
    /// The lines.
    pub lines: Vec<SentLine>,
}

impl SentLines {
    /// What pricing needs of them.
    pub fn picks(&self) -> Vec<Pick> {
        let pick = |l: &SentLine| Pick { line: l.line, gtin: l.gtin, quantity: l.quantity, parent: l.parent };
        self.lines.iter().map(pick).collect()
    }
}

impl From<&PricedBasket> for SentLines {
    fn from(basket: &PricedBasket) -> Self {
        let line = |l: &super::price::PricedLine| SentLine {
            line: l.line,
            gtin: l.gtin,
            quantity: l.quantity,
            unit_price_minor: l.unit_price_minor,
            discount_minor: l.discount_minor,
            payable_minor: l.payable_minor,
            tax_group: l.tax_group.clone(),
            tax_minor: l.tax_minor,
            parent: l.parent,
        };
        Self { currency: basket.total.currency, lines: basket.lines.iter().map(line).collect() }
    }
}

/// The bytes that are hashed into the signed summary and sent beside it; the module's header shows them.
pub fn lines_bytes(basket: &PricedBasket) -> Vec<u8> {
    let currency = basket.total.currency;
    let mut out = Vec::with_capacity(64 + basket.lines.len() * 176);
    out.extend_from_slice(b"{\"currency\":\"");
    out.extend_from_slice(currency.code().as_bytes());
    out.extend_from_slice(b"\",\"lines\":[");
    for (at, line) in basket.lines.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"line\":");
        number(&mut out, u64::from(line.line.0), 1);
        out.extend_from_slice(b",\"gtin\":\"");
        number(&mut out, line.gtin.as_i64().unsigned_abs(), 14);
        match line.quantity {
            Quantity::Pieces { count } => {
                out.extend_from_slice(b"\",\"pieces\":");
                number(&mut out, u64::from(count), 1);
            }
            Quantity::Grams { grams } => {
                out.extend_from_slice(b"\",\"grams\":");
                number(&mut out, u64::from(grams), 1);
            }
            Quantity::Price { minor } => {
                out.extend_from_slice(b"\",\"price\":");
                amount(&mut out, minor, currency);
            }
        }
        out.extend_from_slice(b",\"unit_price\":");
        amount(&mut out, line.unit_price_minor, currency);
        out.extend_from_slice(b",\"discount\":");
        amount(&mut out, line.discount_minor, currency);
        out.extend_from_slice(b",\"payable\":");
        amount(&mut out, line.payable_minor, currency);
        out.extend_from_slice(b",\"tax_group\":");
        // Writing to a vector cannot fail.
        let _ = serde_json::to_writer(&mut out, &line.tax_group);
        out.extend_from_slice(b",\"tax\":");
        amount(&mut out, line.tax_minor, currency);
        if let Some(parent) = line.parent {
            out.extend_from_slice(b",\"parent\":");
            number(&mut out, u64::from(parent.0), 1);
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

fn amount(out: &mut Vec<u8>, minor: i64, currency: Currency) {
    let digits = currency.digits();
    let power = 10u64.pow(digits);
    let value = minor.unsigned_abs();
    out.push(b'"');
    if minor < 0 {
        out.push(b'-');
    }
    number(out, value / power, 1);
    if digits > 0 {
        out.push(b'.');
        number(out, value % power, digits as usize);
    }
    out.push(b'"');
}

/// Decimal digits, at least `width` of them: a basket has hundreds of numbers, and formatting machinery would cost more than
/// signing it.
fn number(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let start = out.len();
    while value > 0 || out.len() - start < width {
        out.push(b'0' + (value % 10) as u8);
        value /= 10;
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

#[derive(Deserialize)]
struct WireLines<'a> {
    currency: Currency,
    #[serde(borrow)]
    lines: Vec<WireLine<'a>>,
}

#[derive(Deserialize)]
struct WireLine<'a> {
    line: u32,
    gtin: Gtin,
    pieces: Option<u32>,
    grams: Option<u32>,
    #[serde(borrow)]
    price: Option<&'a str>,
    unit_price: &'a str,
    discount: &'a str,
    payable: &'a str,
    #[serde(borrow)]
    tax_group: Cow<'a, str>,
    tax: &'a str,
    parent: Option<u32>,
}

/// Reads lines as they were sent.
///
/// # Errors
/// [`WalkpayError::Limit`] above [`MAX_LINES_BYTES`] or [`MAX_LINES`]; [`WalkpayError::InvalidInput`] for what is not in
/// the form of the module's header, negative amounts among it.
pub fn parse_lines(bytes: &[u8]) -> Result<SentLines, WalkpayError> {
    if bytes.len() > MAX_LINES_BYTES {
        return Err(WalkpayError::limit("bytes of a basket's lines", MAX_LINES_BYTES as u64));
    }
    let wire: WireLines<'_> = serde_json::from_slice(bytes)
        .map_err(|e| WalkpayError::invalid("lines", "the lines of a basket in JSON", &e.to_string()))?;
    if wire.lines.len() > MAX_LINES {
        return Err(WalkpayError::limit("lines of a basket", MAX_LINES as u64));
    }
    let lines = wire.lines.into_iter().map(|line| sent_line(line, wire.currency)).collect::<Result<_, _>>()?;
    Ok(SentLines { currency: wire.currency, lines })
}

fn sent_line(wire: WireLine<'_>, currency: Currency) -> Result<SentLine, WalkpayError> {
    let minor = |text: &str| match Money::parse(text, currency)?.minor {
        minor if minor >= 0 => Ok(minor),
        _ => Err(WalkpayError::invalid("lines", "amounts of at least 0", text)),
    };
    let quantity = match (wire.pieces, wire.grams, wire.price) {
        (Some(count), None, None) => Quantity::Pieces { count },
        (None, Some(grams), None) => Quantity::Grams { grams },
        (None, None, Some(price)) => Quantity::Price { minor: minor(price)? },
        _ => {
            let got = format!("line {}", wire.line);
            return Err(WalkpayError::invalid("lines", "one of pieces, grams and price in each line", &got));
        }
    };
    if wire.tax_group.len() > 32 {
        return Err(WalkpayError::invalid("lines", "a tax group of at most 8 characters", &wire.tax_group));
    }
    Ok(SentLine {
        line: LineId(wire.line),
        gtin: wire.gtin,
        quantity,
        unit_price_minor: minor(wire.unit_price)?,
        discount_minor: minor(wire.discount)?,
        payable_minor: minor(wire.payable)?,
        tax_group: wire.tax_group.into_owned(),
        tax_minor: minor(wire.tax)?,
        parent: wire.parent.map(LineId),
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::super::price;
    use super::*;
    use crate::barcode::Measure;

    fn sample() -> PricedBasket {
        let basket = basket(&[
            (scan(COLA), pieces(2)),
            (scan(APPLES), grams(512)),
            (label(SALAD, Measure::Price { minor: 320 }), None),
        ]);
        price(&basket.picks(), at(5), &book(vec![percent("p", "10", &[COLA])]), &articles()).unwrap()
    }

    #[test]
    fn wire_form() {
        insta::assert_snapshot!(String::from_utf8(lines_bytes(&sample())).unwrap());
    }

    #[test]
    fn reading_gives_what_was_written() {
        let priced = sample();
        assert_eq!(parse_lines(&lines_bytes(&priced)).unwrap(), SentLines::from(&priced));
    }

    #[test]
    fn amounts_have_the_digits_of_the_currency() {
        for (code, minor, text) in [("EUR", 5, "\"0.05\""), ("JPY", 120, "\"120\""), ("KWD", 1234, "\"1.234\"")] {
            let mut out = Vec::new();
            amount(&mut out, minor, Currency::parse(code).unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn numbers_have_at_least_their_width() {
        for (value, width, text) in
            [(0, 1, "0"), (7, 3, "007"), (1_234, 2, "1234"), (u64::MAX, 1, "18446744073709551615")]
        {
            let mut out = b"x".to_vec();
            number(&mut out, value, width);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{text}"));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let good = String::from_utf8(lines_bytes(&sample())).unwrap();
        for (from, to) in [
            ("\"EUR\"", "\"EURO\""),
            ("\"EUR\"", "\"JPY\""),
            ("\"pieces\":2", "\"pieces\":-2"),
            ("\"pieces\":2", "\"pieces\":2.5"),
            ("\"pieces\":2", "\"pieces\":99999999999"),
            ("\"pieces\":2", "\"pieces\":2,\"grams\":2"),
            ("\"pieces\":2,", ""),
            ("\"1.29\"", "\"-1.29\""),
            ("\"1.29\"", "\"1.290\""),
            ("\"1.29\"", "1.29"),
            ("\"line\":1,", "\"line\":1,\"line\":1,"),
            ("]}", "]"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert_eq!(parse_lines(bad.as_bytes()).unwrap_err().code(), "invalid_input", "{bad}");
        }
        assert_eq!(parse_lines(&vec![b'['; 100_000]).unwrap_err().code(), "invalid_input");
        assert_eq!(parse_lines(&vec![b' '; MAX_LINES_BYTES + 1]).unwrap_err().code(), "limit");
        let start = good.find("{\"line\"").unwrap();
        let one = &good[start..=start + good[start..].find('}').unwrap()];
        let many = format!("{{\"currency\":\"EUR\",\"lines\":[{}]}}", vec![one; MAX_LINES + 1].join(","));
        assert_eq!(parse_lines(many.as_bytes()).unwrap_err().code(), "limit");
        assert!(parse_lines(good.replacen("{\"line\"", "{\"later\":[1],\"line\"", 1).as_bytes()).is_ok());
    }
}
