//! In-store codes with a price or a weight inside: how a merchant builds them.

use super::digits::{check_digit, field_check_digit, number};
use super::gtin::Gtin;
use crate::error::WalkpayError;
use serde::{Deserialize, Serialize};

/// What the value digits of an in-store code mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ValueKind {
    /// An amount of money.
    Price,
    /// A net weight.
    Weight,
}

/// How one family of a store's 13-digit in-store codes is built (restricted circulation numbers for variable measure
/// trade items, GS1 General Specifications, section 2.1.12.2): data of the merchant, a part of the catalogue.
///
/// Positions count from 1 at the leftmost of the 13 digits (UPC-A: behind a leading zero). The catalogue key of the
/// article is the code with its value digits and its inner check digit set to zero and the last digit recomputed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BarcodeTemplate {
    /// Its name, 1 to 32 characters.
    pub id: String,
    /// The first digits that select it, 2 to 7 of them: the lower end of a range such as `20`.
    pub prefix_from: String,
    /// The upper end of that range, included; as many digits as `prefix_from`.
    pub prefix_to: String,
    /// Where the value's digits begin, above the prefix.
    pub value_position: u8,
    /// How many digits the value has, 3 to 6.
    pub value_digits: u8,
    /// What the value means.
    pub kind: ValueKind,
    /// What 1 in the last value digit is worth: grams for weights, minor units for prices (usually 1).
    pub value_unit: u32,
    /// Where a digit stands that verifies the value (sections 7.9.2 to 7.9.4; values of 4 or 5 digits), if there is one.
    pub inner_check_position: Option<u8>,
    /// The smallest plausible value, in grams or minor units.
    pub min_value: u32,
    /// The largest plausible value, in grams or minor units.
    pub max_value: u32,
}

/// What a variable measure code carries beside the article.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Measure {
    /// The price of this piece.
    Price {
        /// Minor units of the store's currency.
        minor: i64,
    },
    /// The net weight of this piece.
    Grams {
        /// Grams.
        grams: u32,
    },
}

impl BarcodeTemplate {
    /// Checks that the template can be applied; catalogue import and catalogue rows pass through here.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] naming the member that is wrong.
    pub fn check(&self) -> Result<(), WalkpayError> {
        let wrong = |field: &str, expected: &str, got: &str| Err(WalkpayError::invalid(field, expected, got));
        if self.id.is_empty() || self.id.chars().count() > 32 || self.id.chars().any(char::is_control) {
            return wrong("template.id", "1 to 32 characters", &self.id);
        }
        let digits = |p: &str| (2..=7).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit());
        if !digits(&self.prefix_from) || !restricted(self.prefix_from.as_bytes()) {
            return wrong(
                "template.prefix_from",
                "2 to 7 digits that start with 02, 04 or 20 to 29",
                &self.prefix_from,
            );
        }
        let same_length = self.prefix_to.len() == self.prefix_from.len();
        if !digits(&self.prefix_to)
            || !same_length
            || self.prefix_to < self.prefix_from
            || !restricted(self.prefix_to.as_bytes())
        {
            return wrong("template.prefix_to", "as many digits as prefix_from, not below it", &self.prefix_to);
        }
        let (start, len) = (usize::from(self.value_position), usize::from(self.value_digits));
        if !(3..=6).contains(&len) || start <= self.prefix_from.len() || start + len > 13 {
            return wrong(
                "template.value_position",
                "3 to 6 digits between the prefix and the last digit",
                &format!("{start}+{len}"),
            );
        }
        if let Some(at) = self.inner_check_position.map(usize::from) {
            let outside = at > self.prefix_from.len() && at < 13 && !(start..start + len).contains(&at);
            if !outside || !(4..=5).contains(&len) {
                return wrong(
                    "template.inner_check_position",
                    "a free position beside a value of 4 or 5 digits",
                    &at.to_string(),
                );
            }
        }
        if !(1..=1_000_000).contains(&self.value_unit) {
            return wrong("template.value_unit", "1 to 1000000", &self.value_unit.to_string());
        }
        if self.min_value == 0 || self.max_value < self.min_value {
            return wrong("template.min_value", "at least 1 and not above max_value", &self.min_value.to_string());
        }
        Ok(())
    }

    /// Whether a 13-digit code (digit values) belongs to this template.
    pub(crate) fn selects(&self, digits: &[u8; 13]) -> bool {
        let len = self.prefix_from.len();
        let prefix = digits.iter().take(len).map(|d| d + b'0');
        len > 0 && prefix.clone().ge(self.prefix_from.bytes()) && prefix.le(self.prefix_to.bytes())
    }

    /// Whether labels of the article with this catalogue key are read by this template.
    pub(crate) fn reads(&self, key: Gtin) -> bool {
        let digits = key.thirteen_digits();
        let range = usize::from(self.value_position).saturating_sub(1)..;
        let value = digits.get(range).unwrap_or_default().iter().take(usize::from(self.value_digits));
        self.selects(&digits) && value.copied().all(|d| d == 0)
    }

    /// The article and the measure of a code that this template selects.
    ///
    /// # Errors
    /// [`WalkpayError::Barcode`] with reason `inner_check_digit`, `implausible_value`, or `template` for a template that
    /// [`BarcodeTemplate::check`] refuses.
    pub(crate) fn apply(&self, digits: &[u8; 13]) -> Result<(Gtin, Measure), WalkpayError> {
        self.check().map_err(|e| WalkpayError::barcode("template", e.to_string()))?;
        let start = usize::from(self.value_position) - 1;
        let range = start..start + usize::from(self.value_digits);
        let mut key = *digits;
        let field =
            key.get_mut(range).ok_or_else(|| WalkpayError::barcode("template", "the value lies outside the code"))?;
        if let Some(at) = self.inner_check_position {
            let got = digits.get(usize::from(at) - 1).copied();
            let expected = field_check_digit(field);
            if expected != got {
                return Err(WalkpayError::barcode("inner_check_digit", "the digit that verifies the value is wrong"));
            }
        }
        let value = number(field) * u64::from(self.value_unit);
        let value = self.plausible(value)?;
        field.fill(0);
        if let Some(place) = self.inner_check_position.and_then(|at| key.get_mut(usize::from(at) - 1)) {
            *place = 0;
        }
        let [data @ .., _] = &key;
        let check = check_digit(data);
        let gtin = Gtin::from_u64(number(data) * 10 + u64::from(check))?;
        let measure = match self.kind {
            ValueKind::Price => Measure::Price { minor: i64::from(value) },
            ValueKind::Weight => Measure::Grams { grams: value },
        };
        Ok((gtin, measure))
    }

    fn plausible(&self, value: u64) -> Result<u32, WalkpayError> {
        u32::try_from(value).ok().filter(|v| (self.min_value..=self.max_value).contains(v)).ok_or_else(|| {
            let unit = if self.kind == ValueKind::Price { "minor units" } else { "g" };
            let detail = format!("{value} {unit} is outside {} to {}", self.min_value, self.max_value);
            WalkpayError::barcode("implausible_value", detail)
        })
    }
}

/// Whether a 13-digit code with this beginning is a restricted circulation number (GS1 General Specifications, section
/// 1.4.5: prefixes 02, 04 and 20 to 29).
pub(crate) fn restricted(prefix: &[u8]) -> bool {
    matches!(prefix, [b'0', b'2' | b'4', ..] | [b'2', _, ..])
}
