//! Amounts and times as Alipay writes them: yuan with two decimals, and the clock of Shanghai.

use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::{Offset, TimeZone};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use walkpay::{Currency, Money, Timestamp};

/// The one currency of the domestic gateway.
pub const CURRENCY: &str = "CNY";

const FORMAT: &str = "%Y-%m-%d %H:%M:%S";

/// `12.30`; `None` for another currency than yuan.
pub fn yuan(amount: Money) -> Option<String> {
    (amount.currency.code() == CURRENCY).then(|| format!("{:.2}", Decimal::new(amount.minor, 2)))
}

/// The amount of a decimal text with at most two places; `None` for anything else, and for amounts below zero.
pub fn amount(text: &str, currency: &str) -> Option<Money> {
    let plain = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let value: Decimal = text.parse().ok().filter(|_| plain)?;
    let currency = Currency::parse(currency).ok()?;
    let minor = value.checked_mul(Decimal::from(10i64.checked_pow(currency.digits())?))?;
    minor.is_integer().then(|| minor.to_i64()).flatten().map(|minor| currency.minor(minor))
}

/// `yyyy-MM-dd HH:mm:ss` by the clock of Shanghai, fractions of a second cut off.
pub fn time(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
    strtime::format(FORMAT, &at.to_zoned(shanghai())).unwrap_or_default()
}

/// The instant of such a text.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let local = DateTime::strptime(FORMAT, text).ok().filter(|_| text.len() == 19)?;
    let at = local.to_zoned(shanghai()).ok()?;
    Some(Timestamp::from_millis(at.timestamp().as_millisecond()))
}

/// UTC+8 without daylight saving, since 1992.
fn shanghai() -> TimeZone {
    TimeZone::fixed(Offset::constant(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_come_back_exactly_and_nothing_else_is_one() {
        let cny = Currency::parse(CURRENCY).unwrap();
        for (minor, text) in [(0, "0.00"), (1, "0.01"), (10, "0.10"), (123_456_789, "1234567.89")] {
            assert_eq!(yuan(cny.minor(minor)).as_deref(), Some(text));
            assert_eq!(amount(text, CURRENCY), Some(cny.minor(minor)));
        }
        assert_eq!(amount("10", CURRENCY), Some(cny.minor(1_000)));
        assert_eq!(amount("10.5", CURRENCY), Some(cny.minor(1_050)));
        for bad in ["", "-1.00", "1.001", "1e2", "+1", " 1", "1,00", "0x1", "99999999999999999999", "1_000"] {
            assert_eq!(amount(bad, CURRENCY), None, "{bad}");
        }
        assert_eq!(yuan(Currency::parse("EUR").unwrap().minor(100)), None);
    }

    #[test]
    fn times_are_those_of_shanghai() {
        let at = Timestamp::parse("2026-03-01T23:30:00.900Z").unwrap();
        assert_eq!(time(at), "2026-03-02 07:30:00");
        assert_eq!(parse_time("2026-03-02 07:30:00"), Timestamp::parse("2026-03-01T23:30:00Z").ok());
        for bad in ["2026-03-02", "2026-02-30 00:00:00", "2026-03-02T07:30:00", ""] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }
}
