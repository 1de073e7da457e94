//! The demo store's catalogue: articles that exist, at invented prices.

use super::csv_import::{
    CsvImportError, ImportLimits, ImportedCatalogue, import_csv, import_promotions, import_tax_groups, import_templates,
};
use walkpay::barcode::BarcodeTemplate;
use walkpay::catalogue::{Promotion, TaxGroup};

const ARTICLES: &str = include_str!("../../demo/articles.csv");
const TAX_GROUPS: &str = include_str!("../../demo/tax_groups.csv");
const PROMOTIONS: &str = include_str!("../../demo/promotions.csv");
const TEMPLATES: &str = include_str!("../../demo/templates.csv");

/// Everything that a store sells and how it prices it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreCatalogue {
    /// Currency and articles.
    pub articles: ImportedCatalogue,
    /// The tax groups of the articles.
    pub tax_groups: Vec<TaxGroup>,
    /// The promotions.
    pub promotions: Vec<Promotion>,
    /// The templates of the labels that its scales print.
    pub templates: Vec<BarcodeTemplate>,
}

/// The demo store's catalogue.
///
/// # Errors
/// [`CsvImportError`] if the files of this build are damaged; a test reads them.
pub fn demo_catalogue() -> Result<StoreCatalogue, CsvImportError> {
    let limits = ImportLimits::default();
    let articles = import_csv(ARTICLES.as_bytes(), limits)?;
    Ok(StoreCatalogue {
        tax_groups: import_tax_groups(TAX_GROUPS.as_bytes(), limits)?,
        promotions: import_promotions(PROMOTIONS.as_bytes(), articles.currency, limits)?,
        templates: import_templates(TEMPLATES.as_bytes(), limits)?,
        articles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use walkpay::StoreId;
    use walkpay::barcode::Gtin;
    use walkpay::basket::PRICING_VERSION;
    use walkpay::catalogue::{CatalogueHeader, PriceBook, SaleKind};

    #[test]
    fn the_demo_store_has_some_of_everything() {
        let store = demo_catalogue().unwrap();
        let articles = &store.articles.articles;
        let count = |sale| articles.iter().filter(|a| a.sale == sale).count();
        assert!(articles.iter().filter(|a| a.gtin.as_u64() / 1_000_000_000_000 != 2).count() >= 200);
        assert!(
            count(SaleKind::PreWeighed) >= 3
                && count(SaleKind::PriceInCode) >= 3
                && count(SaleKind::ShopperWeighed) >= 3
        );
        assert!(articles.iter().any(|a| a.sale_stopped) && articles.iter().any(|a| a.deposit.is_some()));
        assert!(articles.iter().any(|a| a.min_age == Some(16)) && articles.iter().any(|a| a.min_age == Some(18)));
        let departments: BTreeSet<&str> = articles.iter().map(|a| a.department.as_str()).collect();
        assert!(departments.len() >= 10, "{departments:?}");
        for promotion in &store.promotions {
            let known = |gtin: &Gtin| articles.iter().any(|a| a.gtin == *gtin);
            assert!(promotion.gtins.iter().all(known), "{}", promotion.id);
        }
        let groups: BTreeSet<&str> = store.tax_groups.iter().map(|t| t.id.as_str()).collect();
        assert!(articles.iter().all(|a| groups.contains(a.tax_group.as_str())));
        let header = CatalogueHeader {
            store_id: StoreId::parse("demo").unwrap(),
            currency: store.articles.currency,
            revision: 1,
            pricing_version: PRICING_VERSION,
        };
        PriceBook::new(header, store.tax_groups, store.promotions, store.templates).unwrap();
    }
}
