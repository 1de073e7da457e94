//! Articles, tax groups, promotions and in-store code templates, and the rows in which they travel. Pure: data only.

mod article;
mod price_book;
mod promotion;
mod rows;

pub use article::{Article, MAX_PRICE_MINOR, PriceUnit, SaleKind};
pub use price_book::{Articles, CatalogueHeader, PriceBook};
pub use promotion::{Promotion, PromotionKind, TaxGroup};
pub use rows::{ArticleRow, MAX_ROW_BYTES, Row, parse_row, rows, write_row};

use rust_decimal::Decimal;

uniffi::custom_type!(Decimal, String, {
    remote,
    try_lift: |text| {
        Decimal::from_str_exact(&text)
            .map_err(|_| crate::error::WalkpayError::invalid("decimal", "a decimal number such as 12.5", &text).into())
    },
    lower: |decimal| decimal.to_string(),
});
