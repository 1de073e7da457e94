//! What changes a price: promotions; and what is inside it: tax.

use super::article::{MAX_PRICE_MINOR, check_text};
use crate::barcode::Gtin;
use crate::error::WalkpayError;
use crate::time::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// A group of articles that one rate of value added tax applies to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaxGroup {
    /// 1 to 8 characters.
    pub id: String,
    /// 1 to 40 characters.
    pub name: String,
    /// Percent of the net price, 0 to 100 with up to 4 decimals.
    #[serde(with = "rust_decimal::serde::str")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "19"))]
    pub rate: Decimal,
}

/// What a promotion does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PromotionKind {
    /// Any `n` pieces of its articles together cost `price_minor`.
    NForPrice {
        /// How many pieces, 2 to 99.
        n: u32,
        /// What they cost together, in minor units.
        price_minor: i64,
    },
    /// Its articles cost `percent` less.
    PercentOff {
        /// Above 0, up to 100, with up to 4 decimals.
        #[serde(with = "rust_decimal::serde::str")]
        #[cfg_attr(feature = "openapi", schema(value_type = String, example = "20"))]
        percent: Decimal,
    },
}

/// A promotion of some articles for some time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Promotion {
    /// 1 to 32 characters.
    pub id: String,
    /// What the shopper reads, 1 to 80 characters.
    pub title: String,
    /// What it does.
    #[serde(rename = "rule")]
    pub kind: PromotionKind,
    /// Its articles, 1 to 200.
    pub gtins: Vec<Gtin>,
    /// When it begins; `None`: it has begun.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub from: Option<Timestamp>,
    /// The instant at which it no longer holds; `None`: no end yet.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub until: Option<Timestamp>,
}

impl TaxGroup {
    /// Checks what the type does not.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] naming the member that is wrong.
    pub fn check(&self) -> Result<(), WalkpayError> {
        check_text("tax_group.id", &self.id, 1, 8)?;
        check_text("tax_group.name", &self.name, 1, 40)?;
        millionths(self.rate).map(drop).ok_or_else(|| percent_error("tax_group.rate", self.rate))
    }
}

impl Promotion {
    /// Checks what the type does not.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] naming the member that is wrong.
    pub fn check(&self) -> Result<(), WalkpayError> {
        check_text("promotion.id", &self.id, 1, 32)?;
        check_text("promotion.title", &self.title, 1, 80)?;
        if !(1..=200).contains(&self.gtins.len()) {
            return Err(WalkpayError::invalid("promotion.gtins", "1 to 200 articles", &self.gtins.len().to_string()));
        }
        match self.kind {
            PromotionKind::NForPrice { n, .. } if !(2..=99).contains(&n) => {
                Err(WalkpayError::invalid("promotion.n", "2 to 99 pieces", &n.to_string()))
            }
            PromotionKind::NForPrice { price_minor, .. } if !(0..=MAX_PRICE_MINOR).contains(&price_minor) => {
                Err(WalkpayError::invalid("promotion.price", "0 to 1000000000 minor units", &price_minor.to_string()))
            }
            PromotionKind::PercentOff { percent } if millionths(percent).is_none_or(|m| m == 0) => {
                Err(percent_error("promotion.percent", percent))
            }
            _ => Ok(()),
        }
    }

    /// Whether it holds at an instant: from `from` on, until before `until`.
    pub fn holds_at(&self, instant: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= instant) && self.until.is_none_or(|until| instant < until)
    }
}

/// A percentage of 0 to 100 with up to 4 decimals, as millionths of the whole.
pub(crate) fn millionths(percent: Decimal) -> Option<i64> {
    let percent = percent.normalize();
    let shift = 4u32.checked_sub(percent.scale())?;
    let value = i64::try_from(percent.mantissa()).ok()?.checked_mul(10i64.pow(shift))?;
    (0..=1_000_000).contains(&value).then_some(value)
}

fn percent_error(field: &str, got: Decimal) -> WalkpayError {
    WalkpayError::invalid(field, "a percentage up to 100 with at most 4 decimals", &got.to_string())
}
