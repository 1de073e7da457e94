//! A store's catalogue as the rows that commands take in.

use crate::domain::csv_import::ImportedCatalogue;
use crate::domain::demo::StoreCatalogue;
use rust_decimal::Decimal;
use std::collections::BTreeSet;
use walkpay::WalkpayError;
use walkpay::catalogue::{Row, TaxGroup, write_row};

/// The rows, one JSON object a line.
///
/// # Errors
/// [`WalkpayError`] when a row cannot be written.
pub fn ndjson(catalogue: &StoreCatalogue) -> Result<Vec<u8>, WalkpayError> {
    let mut out = Vec::new();
    for group in &catalogue.tax_groups {
        write_row(&Row::TaxGroup(group.clone()), &mut out)?;
    }
    for article in &catalogue.articles.articles {
        write_row(&Row::from(article), &mut out)?;
    }
    for promotion in &catalogue.promotions {
        write_row(&Row::Promotion(promotion.clone()), &mut out)?;
    }
    for template in &catalogue.templates {
        write_row(&Row::Template(template.clone()), &mut out)?;
    }
    Ok(out)
}

/// Untaxed groups of the names that the articles use: for stores that import articles alone.
pub fn plain_tax_groups(articles: &ImportedCatalogue) -> Vec<TaxGroup> {
    let names: BTreeSet<&str> = articles.articles.iter().map(|a| a.tax_group.as_str()).collect();
    let group = |id: &str| TaxGroup { id: id.to_owned(), name: format!("Group {id}"), rate: Decimal::ZERO };
    names.into_iter().map(group).collect()
}
