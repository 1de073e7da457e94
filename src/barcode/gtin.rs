//! The key of every article.

use super::digits::{check_digit, number, values, verifies};
use crate::error::WalkpayError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A Global Trade Item Number as a number of up to 14 digits, its check digit verified (GS1 General Specifications,
/// section 3.3.2 and 7.9.1). GTIN-8, -12 and -13 are the same number with leading zeros (section 3.3.2).
///
/// Written with 14 digits everywhere: JSON, database, foreign languages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, example = "04006381333931"))]
pub struct Gtin(u64);

impl Gtin {
    /// Parses 8, 12, 13 or 14 digits.
    ///
    /// # Errors
    /// [`WalkpayError::Barcode`] with reason `length`, `digits`, `check_digit` or `zero`.
    pub fn parse(text: &str) -> Result<Self, WalkpayError> {
        let digits = text.as_bytes();
        if !matches!(digits.len(), 8 | 12 | 13 | 14) {
            return Err(WalkpayError::barcode(
                "length",
                format!("a GTIN has 8, 12, 13 or 14 digits, not {}", digits.len()),
            ));
        }
        let mut value = 0u64;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return Err(WalkpayError::barcode("digits", "a GTIN consists of the digits 0 to 9"));
            }
            value = value * 10 + u64::from(digit - b'0');
        }
        Self::from_u64(value)
    }

    /// From the number that its digits write, as databases keep it.
    ///
    /// # Errors
    /// [`WalkpayError::Barcode`] with reason `length` above 14 digits, `check_digit`, or `zero`.
    pub fn from_u64(value: u64) -> Result<Self, WalkpayError> {
        if value > 99_999_999_999_999 {
            return Err(WalkpayError::barcode("length", "a GTIN has at most 14 digits"));
        }
        if value == 0 {
            return Err(WalkpayError::barcode("zero", "a GTIN of zeros identifies nothing"));
        }
        let (mut rest, mut sum, mut weight) = (value / 10, 0, 3);
        while rest > 0 {
            sum += rest % 10 * weight;
            weight = 4 - weight;
            rest /= 10;
        }
        let (expected, got) = ((10 - sum % 10) % 10, value % 10);
        if expected != got {
            let detail = format!("the check digit of {value} must be {expected}, not {got}");
            return Err(WalkpayError::barcode("check_digit", detail));
        }
        Ok(Self(value))
    }

    /// The number that its digits write.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The shortest customary form: GTIN-8 where the number has up to 8 digits, else GTIN-12 (up to 12 digits),
    /// GTIN-13 or GTIN-14.
    pub fn short(self) -> String {
        match self.0 {
            0..=99_999_999 => format!("{:08}", self.0),
            100_000_000..=999_999_999_999 => format!("{:012}", self.0),
            1_000_000_000_000..=9_999_999_999_999 => format!("{:013}", self.0),
            _ => self.to_string(),
        }
    }

    /// The number as a database integer; it always fits.
    pub fn as_i64(self) -> i64 {
        self.0 as i64
    }

    /// The last 13 digits, as values.
    pub(crate) fn thirteen_digits(self) -> [u8; 13] {
        let mut digits = [0u8; 13];
        let mut rest = self.0;
        for place in digits.iter_mut().rev() {
            *place = (rest % 10) as u8;
            rest /= 10;
        }
        digits
    }

    /// From digits that carry a check digit at their end.
    pub(crate) fn from_digits(digits: &[u8]) -> Result<Self, WalkpayError> {
        Self::from_u64(number(digits))
    }

    /// The twelve digits that a UPC-E symbol stands for (zero suppression, GS1 General Specifications, section
    /// 5.2.2.4.2 ff.): number system 0, six digits, and the check digit of the expanded GTIN-12.
    ///
    /// # Errors
    /// [`WalkpayError::Barcode`] with reason `length`, `digits`, `number_system` or `check_digit`. Six digits without
    /// number system and check digit are taken: the symbol itself carries the check digit in its parity pattern.
    pub(crate) fn from_upc_e(text: &[u8]) -> Result<Self, WalkpayError> {
        let digits =
            values(text).ok_or_else(|| WalkpayError::barcode("digits", "UPC-E consists of the digits 0 to 9"))?;
        let (six, check) = match *digits.as_slice() {
            [0, a, b, c, d, e, f, check] => ([a, b, c, d, e, f], Some(check)),
            [a, b, c, d, e, f] => ([a, b, c, d, e, f], None),
            [_, _, _, _, _, _, _, _] => {
                return Err(WalkpayError::barcode("number_system", "UPC-E exists for number system 0 only"));
            }
            _ => return Err(WalkpayError::barcode("length", format!("UPC-E has 6 or 8 digits, not {}", digits.len()))),
        };
        let [a, b, c, d, e, f] = six;
        let eleven = match f {
            0..=2 => [0, a, b, f, 0, 0, 0, 0, c, d, e],
            3 => [0, a, b, c, 0, 0, 0, 0, 0, d, e],
            4 => [0, a, b, c, d, 0, 0, 0, 0, 0, e],
            _ => [0, a, b, c, d, e, 0, 0, 0, 0, f],
        };
        let expected = check_digit(&eleven);
        if check.is_some_and(|check| check != expected) {
            return Err(WalkpayError::barcode(
                "check_digit",
                format!("the check digit of this UPC-E must be {expected}"),
            ));
        }
        Self::from_u64(number(&eleven) * 10 + u64::from(expected))
    }

    /// Whether `text` is as many digits as a GTIN has, the last one right.
    pub(crate) fn would_parse(text: &[u8]) -> bool {
        values(text).is_some_and(|digits| verifies(&digits))
    }
}

impl fmt::Display for Gtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:014}", self.0)
    }
}

impl fmt::Debug for Gtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Gtin {
    type Err = WalkpayError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::parse(s)
    }
}

impl Serialize for Gtin {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut text = [b'0'; 14];
        let mut rest = self.0;
        for place in text.iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        s.serialize_str(std::str::from_utf8(&text).map_err(serde::ser::Error::custom)?)
    }
}

struct GtinVisitor;

impl serde::de::Visitor<'_> for GtinVisitor {
    type Value = Gtin;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a GTIN as a string of 8, 12, 13 or 14 digits")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Gtin, E> {
        Gtin::parse(text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Gtin {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_str(GtinVisitor)
    }
}

uniffi::custom_type!(Gtin, String, {
    try_lift: |text| Ok(Gtin::parse(&text)?),
    lower: |gtin| gtin.to_string(),
});

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parses_every_length_to_one_number() {
        for (text, shown, short) in [
            ("4006381333931", "04006381333931", "4006381333931"),
            ("04006381333931", "04006381333931", "4006381333931"),
            ("036000291452", "00036000291452", "036000291452"),
            ("0036000291452", "00036000291452", "036000291452"),
            ("96385074", "00000096385074", "96385074"),
            ("10012345678902", "10012345678902", "10012345678902"),
        ] {
            let gtin = Gtin::parse(text).unwrap();
            assert_eq!((gtin.to_string().as_str(), gtin.short().as_str()), (shown, short));
            assert_eq!(serde_json::to_string(&gtin).unwrap(), format!("\"{shown}\""));
            assert_eq!(Gtin::from_u64(gtin.as_u64()).unwrap(), gtin);
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for (text, code) in [
            ("", "barcode.length"),
            ("4006381333932", "barcode.check_digit"),
            ("400638133393", "barcode.check_digit"),
            ("40063813339311234", "barcode.length"),
            ("40063813339x1", "barcode.digits"),
            ("00000000", "barcode.zero"),
            ("٤٠٠٦٣٨١", "barcode.digits"),
        ] {
            assert_eq!(Gtin::parse(text).unwrap_err().code(), code, "{text}");
        }
    }

    #[test]
    fn upc_e_expands_by_its_last_digit() {
        for (short, long) in [
            ("04252614", "042100005264"),
            ("01234565", "012345000065"),
            ("01278907", "012000007897"),
            ("01234531", "012300000451"),
            ("01234543", "012340000053"),
            ("425261", "042100005264"),
        ] {
            assert_eq!(Gtin::from_upc_e(short.as_bytes()).unwrap(), Gtin::parse(long).unwrap(), "{short}");
        }
        assert_eq!(Gtin::from_upc_e(b"04252615").unwrap_err().code(), "barcode.check_digit");
        assert_eq!(Gtin::from_upc_e(b"14252614").unwrap_err().code(), "barcode.number_system");
        assert_eq!(Gtin::from_upc_e(b"0425261").unwrap_err().code(), "barcode.length");
    }

    proptest! {
        #[test]
        fn one_wrong_digit_is_noticed(value in 1u64..10_000_000_000_000, place in 0u32..14, by in 1u64..10) {
            let digits: Vec<u8> = format!("{value:013}").bytes().map(|b| b - b'0').collect();
            let gtin = Gtin::from_u64(value * 10 + u64::from(check_digit(&digits))).unwrap();
            let power = 10u64.pow(place);
            let digit = gtin.as_u64() / power % 10;
            let wrong = gtin.as_u64() - digit * power + (digit + by) % 10 * power;
            prop_assert!(Gtin::from_u64(wrong).is_err());
        }
    }
}
