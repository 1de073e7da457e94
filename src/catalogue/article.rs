//! What can be sold.

use crate::barcode::Gtin;
use crate::error::WalkpayError;
use serde::{Deserialize, Serialize};

/// The highest price of a piece or a kilogram, in minor units; 500 lines of 999 of them still fit an `i64`.
pub const MAX_PRICE_MINOR: i64 = 1_000_000_000;

/// What an article's price is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PriceUnit {
    /// One piece.
    Piece,
    /// One kilogram.
    Kilogram,
}

/// How a quantity of an article comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SaleKind {
    /// Counted; scanning it again takes another one.
    Pieces,
    /// The shopper weighs it and says the weight.
    ShopperWeighed,
    /// The store weighed it; the weight is in the code of its label.
    PreWeighed,
    /// The store priced it; the price is in the code of its label.
    PriceInCode,
}

/// One article of a store's catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Article {
    /// Its key; for in-store codes with a value inside, the code with the value zeroed.
    pub gtin: Gtin,
    /// 1 to 120 characters.
    pub name: String,
    /// Up to 40 characters.
    pub department: String,
    /// What the price is for.
    pub unit: PriceUnit,
    /// Price of a unit, tax included, in minor units of the store's currency: 0 to [`MAX_PRICE_MINOR`].
    pub price_minor: i64,
    /// How it is sold.
    pub sale: SaleKind,
    /// The deposit article that goes with each piece.
    pub deposit: Option<Gtin>,
    /// The age in years that its buyer must have reached.
    pub min_age: Option<u8>,
    /// Whether it must not be sold at present.
    pub sale_stopped: bool,
    /// The tax group, 1 to 8 characters.
    pub tax_group: String,
}

impl Article {
    /// Checks what the type does not; rows and imports pass through here.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] naming the member that is wrong.
    pub fn check(&self) -> Result<(), WalkpayError> {
        check_text("name", &self.name, 1, 120)?;
        check_text("department", &self.department, 0, 40)?;
        check_text("tax_group", &self.tax_group, 1, 8)?;
        check_numbers(self.gtin, self.unit, self.price_minor, self.sale, self.deposit, self.min_age)
    }
}

pub(super) fn check_numbers(
    gtin: Gtin,
    unit: PriceUnit,
    price_minor: i64,
    sale: SaleKind,
    deposit: Option<Gtin>,
    min_age: Option<u8>,
) -> Result<(), WalkpayError> {
    if !(0..=MAX_PRICE_MINOR).contains(&price_minor) {
        return Err(WalkpayError::invalid("price", "0 to 1000000000 minor units", &price_minor.to_string()));
    }
    let fits = match sale {
        SaleKind::Pieces => unit == PriceUnit::Piece,
        SaleKind::ShopperWeighed | SaleKind::PreWeighed => unit == PriceUnit::Kilogram,
        SaleKind::PriceInCode => true,
    };
    if !fits {
        return Err(WalkpayError::invalid(
            "unit",
            "piece for counted, kilogram for weighed articles",
            &format!("{unit:?}"),
        ));
    }
    if deposit == Some(gtin) {
        return Err(WalkpayError::invalid("deposit", "another article", &gtin.to_string()));
    }
    if min_age.is_some_and(|age| !(1..=99).contains(&age)) {
        return Err(WalkpayError::invalid("min_age", "1 to 99", &min_age.unwrap_or_default().to_string()));
    }
    Ok(())
}

/// Checks the length in characters, and that there are no control characters.
pub(crate) fn check_text(field: &str, text: &str, min: usize, max: usize) -> Result<(), WalkpayError> {
    let chars = if text.len() <= max && text.is_ascii() { text.len() } else { text.chars().count() };
    if (min..=max).contains(&chars) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(WalkpayError::invalid(field, &format!("{min} to {max} characters without control characters"), text))
}
