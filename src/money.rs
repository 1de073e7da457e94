//! Amounts in integer minor units of an ISO 4217 currency.
//!
//! On the wire an amount is `{"amount":"12.30","currency":"EUR"}`: a decimal string with exactly the digits that
//! the currency has (docs/protocol.md, "Amounts").

use crate::error::WalkpayError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The largest absolute number of minor units that the wire carries: 10^15 − 1, far above any purchase and far below
/// where sums of thousands of them could overflow an `i64`.
pub const MAX_MINOR: i64 = 999_999_999_999_999;

/// An active ISO 4217 currency.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency {
    code: [u8; 3],
    digits: u8,
}

impl Currency {
    /// Parses an upper-case alphabetic code such as `EUR`.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] for anything that ISO 4217 does not list with a number of digits.
    pub fn parse(code: &str) -> Result<Self, WalkpayError> {
        let known = iso_currency::Currency::from_code(code)
            .filter(|_| code.len() == 3)
            .and_then(|c| c.exponent().map(|digits| (c, digits)));
        match known {
            Some((_, digits)) if digits <= 4 => {
                let mut bytes = [0; 3];
                bytes.copy_from_slice(code.as_bytes());
                Ok(Self { code: bytes, digits: digits as u8 })
            }
            _ => Err(WalkpayError::invalid("currency", "an ISO 4217 code such as EUR", code)),
        }
    }

    /// The alphabetic code.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.code).unwrap_or("XXX")
    }

    /// How many digits follow the decimal separator (0 to 4).
    pub fn digits(&self) -> u32 {
        u32::from(self.digits)
    }

    /// An amount of this currency.
    pub fn minor(self, minor: i64) -> Money {
        Money { minor, currency: self }
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = WalkpayError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::parse(s)
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

uniffi::custom_type!(Currency, String, {
    try_lift: |code| Ok(Currency::parse(&code)?),
    lower: |currency| currency.code().to_owned(),
});

/// An amount of money: a whole number of minor units (cents, yen) of one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, uniffi::Record)]
pub struct Money {
    /// Minor units; negative for what is owed the other way.
    pub minor: i64,
    /// The currency that `minor` counts in.
    pub currency: Currency,
}

impl Money {
    /// Nothing, in `currency`.
    pub fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    /// Parses a decimal string with exactly the digits of `currency`: `"12.30"` for EUR, `"1230"` for JPY.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] for signs other than a leading `-`, missing or superfluous digits, leading
    /// zeros, and amounts above [`MAX_MINOR`].
    pub fn parse(amount: &str, currency: Currency) -> Result<Self, WalkpayError> {
        parse_minor(amount, currency.digits()).map(|minor| Self { minor, currency }).ok_or_else(|| {
            let expected = format!("a decimal amount with {} digits after the point", currency.digits());
            WalkpayError::invalid("amount", &expected, amount)
        })
    }

    /// The decimal string that the wire carries, with exactly the currency's digits.
    pub fn to_decimal_string(&self) -> String {
        let digits = self.currency.digits() as usize;
        let sign = if self.minor < 0 { "-" } else { "" };
        let units = self.minor.unsigned_abs().to_string();
        if digits == 0 {
            return format!("{sign}{units}");
        }
        let padded = format!("{units:0>width$}", width = digits + 1);
        let (whole, fraction) = padded.split_at(padded.len() - digits);
        format!("{sign}{whole}.{fraction}")
    }

    /// `self + other`.
    ///
    /// # Errors
    /// [`WalkpayError::MixedCurrencies`] when the currencies differ, [`WalkpayError::Limit`] above [`MAX_MINOR`].
    pub fn checked_add(self, other: Money) -> Result<Money, WalkpayError> {
        self.combine(other, i64::checked_add)
    }

    /// `self − other`; errors as [`Money::checked_add`].
    pub fn checked_sub(self, other: Money) -> Result<Money, WalkpayError> {
        self.combine(other, i64::checked_sub)
    }

    fn combine(self, other: Money, with: fn(i64, i64) -> Option<i64>) -> Result<Money, WalkpayError> {
        if self.currency != other.currency {
            return Err(WalkpayError::MixedCurrencies {
                expected: self.currency.code().to_owned(),
                got: other.currency.code().to_owned(),
            });
        }
        with(self.minor, other.minor)
            .filter(|minor| minor.abs() <= MAX_MINOR)
            .map(|minor| self.currency.minor(minor))
            .ok_or_else(|| WalkpayError::limit("amount in minor units", MAX_MINOR as u64))
    }
}

fn parse_minor(text: &str, digits: u32) -> Option<i64> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match (unsigned.split_once('.'), digits) {
        (None, 0) => (unsigned, ""),
        (Some(parts), 1..) => parts,
        _ => return None,
    };
    let plain = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if whole.is_empty() || whole.len() > 15 || leading_zero || fraction.len() != digits as usize {
        return None;
    }
    if !plain(whole) || !plain(fraction) {
        return None;
    }
    // At most 19 digits: below 2^64.
    let value = whole.bytes().chain(fraction.bytes()).fold(0u64, |n, b| n * 10 + u64::from(b - b'0'));
    let minor = i64::try_from(value).ok()?;
    if minor > MAX_MINOR || (negative && minor == 0) {
        return None;
    }
    Some(if negative { -minor } else { minor })
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to_decimal_string(), self.currency)
    }
}

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    amount: std::borrow::Cow<'a, str>,
    currency: Currency,
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Wire { amount: self.to_decimal_string().into(), currency: self.currency }.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(d)?;
        Money::parse(&wire.amount, wire.currency).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur() -> Currency {
        Currency::parse("EUR").unwrap()
    }

    #[test]
    fn wire_form_has_exactly_the_currency_digits() {
        for (code, minor, text) in
            [("EUR", 1230, "12.30"), ("EUR", -5, "-0.05"), ("JPY", 1230, "1230"), ("KWD", 7, "0.007")]
        {
            let money = Currency::parse(code).unwrap().minor(minor);
            let json = format!("{{\"amount\":\"{text}\",\"currency\":\"{code}\"}}");
            assert_eq!(serde_json::to_string(&money).unwrap(), json);
            assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), money);
        }
    }

    #[test]
    fn refuses_everything_else() {
        for bad in [
            "",
            "1",
            "1.0",
            "1.000",
            "01.00",
            "-0.00",
            "+1.00",
            "1,00",
            " 1.00",
            "1.0a",
            "NaN",
            "1e2",
            "٣.00",
            "9999999999999999.00",
        ] {
            assert!(Money::parse(bad, eur()).is_err(), "{bad}");
        }
        for bad in ["eur", "EU", "XXX", "EURO", ""] {
            assert!(Currency::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sums_refuse_mixed_currencies_and_overflow() {
        let usd = Currency::parse("USD").unwrap();
        assert!(matches!(eur().minor(1).checked_add(usd.minor(1)), Err(WalkpayError::MixedCurrencies { .. })));
        assert!(matches!(eur().minor(MAX_MINOR).checked_add(eur().minor(1)), Err(WalkpayError::Limit { .. })));
        assert_eq!(eur().minor(5).checked_sub(eur().minor(7)).unwrap(), eur().minor(-2));
    }
}
