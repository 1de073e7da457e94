//! What pricing needs besides the articles.

use super::article::Article;
use super::promotion::{Promotion, PromotionKind, TaxGroup, millionths};
use crate::barcode::{BarcodeTemplate, Gtin};
use crate::error::WalkpayError;
use crate::id::StoreId;
use crate::money::Currency;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Which state of which store's catalogue some data is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CatalogueHeader {
    /// The store.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub store_id: StoreId,
    /// The currency of all its prices.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "EUR"))]
    pub currency: Currency,
    /// Rises with every change; a terminal never goes back.
    pub revision: u64,
    /// The version of the pricing rules that the data is made for ([`crate::basket::PRICING_VERSION`]).
    pub pricing_version: u32,
}

/// Where pricing finds articles: the ones of the basket, looked up before.
pub trait Articles {
    /// The article with this key.
    fn article(&self, gtin: Gtin) -> Option<&Article>;
}

impl<S: BuildHasher> Articles for HashMap<Gtin, Article, S> {
    fn article(&self, gtin: Gtin) -> Option<&Article> {
        self.get(&gtin)
    }
}

impl<S: BuildHasher> Articles for HashMap<Gtin, Arc<Article>, S> {
    fn article(&self, gtin: Gtin) -> Option<&Article> {
        self.get(&gtin).map(AsRef::as_ref)
    }
}

/// A few articles, found by looking at each.
impl Articles for [Article] {
    fn article(&self, gtin: Gtin) -> Option<&Article> {
        self.iter().find(|a| a.gtin == gtin)
    }
}

/// Tax groups, promotions and templates of one catalogue revision, checked and indexed.
#[derive(Clone, Debug)]
pub struct PriceBook {
    header: CatalogueHeader,
    tax_groups: Vec<TaxGroup>,
    rates: Vec<i64>,
    promotions: Vec<Promotion>,
    percents: Vec<i64>,
    /// Which promotions articles have: sorted, without repeats.
    by_gtin: Vec<(Gtin, u32)>,
    templates: Vec<BarcodeTemplate>,
}

impl PriceBook {
    /// Checks and indexes the data. Promotions are kept in the order of their ids, so that the order in which they
    /// arrive never matters; templates keep theirs, by id as well.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] naming what is wrong, or twice there.
    pub fn new(
        header: CatalogueHeader,
        mut tax_groups: Vec<TaxGroup>,
        mut promotions: Vec<Promotion>,
        mut templates: Vec<BarcodeTemplate>,
    ) -> Result<Self, WalkpayError> {
        tax_groups.sort_by(|a, b| a.id.cmp(&b.id));
        promotions.sort_by(|a, b| a.id.cmp(&b.id));
        templates.sort_by(|a, b| a.id.cmp(&b.id));
        unique("tax_group.id", tax_groups.iter().map(|t| &t.id))?;
        unique("promotion.id", promotions.iter().map(|p| &p.id))?;
        unique("template.id", templates.iter().map(|t| &t.id))?;
        tax_groups.iter().try_for_each(TaxGroup::check)?;
        promotions.iter().try_for_each(Promotion::check)?;
        templates.iter().try_for_each(BarcodeTemplate::check)?;
        let rates = tax_groups.iter().map(|t| millionths(t.rate).unwrap_or(0)).collect();
        let percents = promotions
            .iter()
            .map(|p| match p.kind {
                PromotionKind::PercentOff { percent } => millionths(percent).unwrap_or(0),
                PromotionKind::NForPrice { .. } => 0,
            })
            .collect();
        let mut by_gtin = Vec::with_capacity(promotions.iter().map(|p| p.gtins.len()).sum());
        for (index, promotion) in (0u32..).zip(&promotions) {
            by_gtin.extend(promotion.gtins.iter().map(|gtin| (*gtin, index)));
        }
        by_gtin.sort_unstable();
        by_gtin.dedup();
        Ok(Self { header, tax_groups, rates, promotions, percents, by_gtin, templates })
    }

    /// Which catalogue this is of.
    pub fn header(&self) -> &CatalogueHeader {
        &self.header
    }

    /// The store's currency.
    pub fn currency(&self) -> Currency {
        self.header.currency
    }

    /// Tax groups, by id.
    pub fn tax_groups(&self) -> &[TaxGroup] {
        &self.tax_groups
    }

    /// Promotions, by id.
    pub fn promotions(&self) -> &[Promotion] {
        &self.promotions
    }

    /// Templates of in-store codes, by id.
    pub fn templates(&self) -> &[BarcodeTemplate] {
        &self.templates
    }

    /// The position of a tax group, and its rate in millionths.
    pub(crate) fn tax_group(&self, id: &str) -> Option<(usize, i64)> {
        let at = self.tax_groups.binary_search_by(|t| t.id.as_str().cmp(id)).ok()?;
        Some((at, *self.rates.get(at)?))
    }

    /// The promotions of an article: position, promotion, and its percentage in millionths if it is one.
    pub(crate) fn promotions_of(&self, gtin: Gtin) -> impl Iterator<Item = (u32, &Promotion, i64)> {
        let first = self.by_gtin.partition_point(|(of, _)| *of < gtin);
        let own = self.by_gtin.iter().skip(first).take_while(move |(of, _)| *of == gtin);
        own.filter_map(|(_, index)| {
            let at = *index as usize;
            Some((*index, self.promotions.get(at)?, *self.percents.get(at)?))
        })
    }
}

fn unique<'a>(field: &str, mut sorted: impl Iterator<Item = &'a String>) -> Result<(), WalkpayError> {
    let mut last = sorted.next();
    for id in sorted {
        if last == Some(id) {
            return Err(WalkpayError::invalid(field, "an id that is there once", id));
        }
        last = Some(id);
    }
    Ok(())
}
