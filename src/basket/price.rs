//! What a basket costs.

use super::allocate::{allocate, share_half_up};
use super::decide::check_range;
use super::line::{LineId, MAX_LINES, MAX_TOTAL_MINOR, Pick, Quantity};
use super::promote::{Item, promote};
use crate::barcode::Gtin;
use crate::catalogue::{Article, Articles, PriceBook, SaleKind, Unit};
use crate::error::WalkpayError;
use crate::money::Money;
use crate::time::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// The version of the rules in this module and in `promote`; both sides must have the same.
pub const PRICING_VERSION: u32 = 1;

/// What one line costs. All amounts are minor units of the basket's currency;
/// `payable = gross − discount = net + tax`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PricedLine {
    /// Its number.
    pub line: LineId,
    /// Its article.
    pub gtin: Gtin,
    /// The article's name.
    pub name: String,
    /// How much.
    pub quantity: Quantity,
    /// What the unit price is for.
    pub unit: Unit,
    /// Price of a piece or a kilogram, tax included; of the piece itself where its label says the price.
    pub unit_price_minor: i64,
    /// Quantity times unit price; weights rounded half up to the minor unit.
    pub gross_minor: i64,
    /// Its share of the promotions.
    pub discount_minor: i64,
    /// What is paid for it.
    pub payable_minor: i64,
    /// That without tax.
    pub net_minor: i64,
    /// Its share of its tax group's tax.
    pub tax_minor: i64,
    /// Its tax group.
    pub tax_group: String,
    /// Ids of the promotions that reduce it.
    pub promotions: Vec<String>,
    /// For a deposit: the line that it goes with.
    pub parent: Option<LineId>,
    /// The age that its buyer must have reached.
    pub min_age: Option<u8>,
}

/// The sums of one tax group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaxTotal {
    /// The group.
    pub tax_group: String,
    /// Its rate in percent.
    #[serde(with = "rust_decimal::serde::str")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "7"))]
    pub rate: Decimal,
    /// What is paid for its lines.
    pub payable_minor: i64,
    /// That without tax.
    pub net_minor: i64,
    /// The tax in it.
    pub tax_minor: i64,
}

/// A basket with everything computed; output only. Its lines sum exactly to its totals.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Record)]
pub struct PricedBasket {
    /// The lines, in the order in which they came.
    pub lines: Vec<PricedLine>,
    /// What is to be paid.
    pub total: Money,
    /// What promotions saved.
    pub discount: Money,
    /// The deposits in the total.
    pub deposit: Money,
    /// Tax by group, in the order of their ids.
    pub tax_totals: Vec<TaxTotal>,
    /// Pieces, weighed goods counting as one, deposits not at all.
    pub item_count: u32,
    /// The catalogue revision.
    pub revision: u64,
    /// The version of the pricing rules.
    pub pricing_version: u32,
    /// The instant that promotions were looked up for.
    pub priced_at: Timestamp,
    /// The highest age that an article asks for.
    pub min_age: Option<u8>,
}

/// Prices a basket: gross amounts, promotions that hold at `priced_at`, tax. `articles` has every article of `picks`.
///
/// Prices include tax. The tax of a group is `payable × rate ÷ (100 % + rate)`, rounded half up once per group, and is
/// allocated to the group's lines by the largest remainder. Whether articles may be sold is not looked at here
/// ([`crate::basket::violations`]).
///
/// # Errors
/// [`WalkpayError::UnknownArticle`]; [`WalkpayError::Limit`] above [`MAX_LINES`]; [`WalkpayError::BasketRule`] with the rule
/// `pricing_version`, `quantity`, `quantity_kind`, `unknown_tax_group` or `total_limit`.
pub fn price<A: Articles + ?Sized>(
    picks: &[Pick],
    priced_at: Timestamp,
    book: &PriceBook,
    articles: &A,
) -> Result<PricedBasket, WalkpayError> {
    let header = book.header();
    if header.pricing_version != PRICING_VERSION {
        let detail = format!("the catalogue asks for version {}, this is {PRICING_VERSION}", header.pricing_version);
        return Err(WalkpayError::basket_rule("pricing_version", None, detail));
    }
    if picks.len() > MAX_LINES {
        return Err(WalkpayError::limit("lines of a basket", MAX_LINES as u64));
    }
    let mut found = Vec::with_capacity(picks.len());
    let mut items = Vec::with_capacity(picks.len());
    let mut groups = Vec::with_capacity(picks.len());
    let mut gross_total = 0;
    for pick in picks {
        let unknown = || WalkpayError::UnknownArticle { gtin: pick.gtin.to_string() };
        let article = articles.article(pick.gtin).ok_or_else(unknown)?;
        let group = book.tax_group(&article.tax_group).ok_or_else(|| {
            let detail = format!("the catalogue has no tax group {}", article.tax_group);
            WalkpayError::basket_rule("unknown_tax_group", Some(pick.line.0), detail)
        })?;
        let item = item(pick, article)?;
        gross_total += item.gross;
        if gross_total > MAX_TOTAL_MINOR {
            let detail = "the basket is worth more than one purchase may be";
            return Err(WalkpayError::basket_rule("total_limit", Some(pick.line.0), detail));
        }
        found.push(article);
        items.push(item);
        groups.push(group);
    }
    promote(&mut items, priced_at, book);
    let payables: Vec<i64> = items.iter().map(|i| i.gross - i.discount).collect();
    let (taxes, tax_totals) = tax(&payables, &groups, book);
    Ok(assemble(picks, &found, items, &taxes, tax_totals, priced_at, book))
}

/// Quantity times price; `price()` and the rules check the arguments.
pub(super) fn gross_minor(article: &Article, quantity: Quantity) -> i64 {
    match quantity {
        Quantity::Pieces { count } => article.price_minor * i64::from(count),
        Quantity::Grams { grams } => share_half_up(article.price_minor, i64::from(grams), 1000),
        Quantity::Price { minor } => minor,
    }
}

fn item(pick: &Pick, article: &Article) -> Result<Item, WalkpayError> {
    check_range(pick.quantity, Some(pick.line))?;
    let fits = match pick.quantity {
        Quantity::Pieces { .. } => article.sale == SaleKind::Pieces,
        Quantity::Grams { .. } => matches!(article.sale, SaleKind::ShopperWeighed | SaleKind::PreWeighed),
        Quantity::Price { .. } => article.sale == SaleKind::PriceInCode,
    };
    if !fits {
        let detail = "the article is not sold by that kind of quantity";
        return Err(WalkpayError::basket_rule("quantity_kind", Some(pick.line.0), detail));
    }
    let gross = gross_minor(article, pick.quantity);
    let unit_price = if let Quantity::Price { minor } = pick.quantity { minor } else { article.price_minor };
    Ok(Item {
        gtin: pick.gtin,
        quantity: pick.quantity,
        unit_price,
        gross,
        deposit: pick.parent.is_some(),
        discount: 0,
        promotions: Vec::new(),
    })
}

/// Tax by line, and the totals by group. `groups` holds position and rate of each line's group.
fn tax(payables: &[i64], groups: &[(usize, i64)], book: &PriceBook) -> (Vec<i64>, Vec<TaxTotal>) {
    let mut used = groups.to_vec();
    used.sort_unstable();
    used.dedup();
    let mut taxes = vec![0; payables.len()];
    let mut totals = Vec::with_capacity(used.len());
    let (mut weights, mut shares) = (Vec::with_capacity(payables.len()), Vec::with_capacity(payables.len()));
    for (group, rate) in used {
        weights.clear();
        weights.extend(payables.iter().zip(groups).map(|(p, (of, _))| if *of == group { *p } else { 0 }));
        let payable_minor = weights.iter().sum();
        let tax_minor = share_half_up(payable_minor, rate, 1_000_000 + rate);
        allocate(tax_minor, &weights, &mut shares);
        taxes.iter_mut().zip(&shares).for_each(|(tax, share)| *tax += share);
        if let Some(data) = book.tax_groups().get(group) {
            let net_minor = payable_minor - tax_minor;
            totals.push(TaxTotal { tax_group: data.id.clone(), rate: data.rate, payable_minor, net_minor, tax_minor });
        }
    }
    (taxes, totals)
}

fn assemble(
    picks: &[Pick],
    found: &[&Article],
    items: Vec<Item>,
    taxes: &[i64],
    tax_totals: Vec<TaxTotal>,
    priced_at: Timestamp,
    book: &PriceBook,
) -> PricedBasket {
    let currency = book.currency();
    let mut lines = Vec::with_capacity(picks.len());
    let (mut total, mut discount, mut deposit, mut item_count, mut min_age) = (0, 0, 0, 0, None);
    for (((pick, article), item), tax_minor) in picks.iter().zip(found).zip(items).zip(taxes) {
        let payable_minor = item.gross - item.discount;
        total += payable_minor;
        discount += item.discount;
        min_age = min_age.max(article.min_age);
        match pick.parent {
            Some(_) => deposit += payable_minor,
            None => item_count += pick.quantity.pieces(),
        }
        let id = |at: &u32| book.promotions().get(*at as usize).map(|p| p.id.clone());
        lines.push(PricedLine {
            line: pick.line,
            gtin: pick.gtin,
            name: article.name.clone(),
            quantity: pick.quantity,
            unit: if matches!(pick.quantity, Quantity::Price { .. }) { Unit::Piece } else { article.unit },
            unit_price_minor: item.unit_price,
            gross_minor: item.gross,
            discount_minor: item.discount,
            payable_minor,
            net_minor: payable_minor - tax_minor,
            tax_minor: *tax_minor,
            tax_group: article.tax_group.clone(),
            promotions: item.promotions.iter().filter_map(id).collect(),
            parent: pick.parent,
            min_age: article.min_age,
        });
    }
    PricedBasket {
        lines,
        total: currency.minor(total),
        discount: currency.minor(discount),
        deposit: currency.minor(deposit),
        tax_totals,
        item_count,
        revision: book.header().revision,
        pricing_version: PRICING_VERSION,
        priced_at,
        min_age,
    }
}
