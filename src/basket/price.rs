//! What a basket costs.

use super::allocate::{allocate, share_half_up};
use super::decide::check_range;
use super::line::{LineId, MAX_LINES, MAX_TOTAL_MINOR, Pick, Quantity};
use super::promote::{Item, promote};
use crate::barcode::Gtin;
use crate::catalogue::{Article, Articles, PriceBook, PriceUnit, SaleKind};
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
    pub unit: PriceUnit,
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

/// Whether [`price`] would price these lines, without doing it.
///
/// # Errors
/// Those of [`price`].
pub fn check_price<A: Articles + ?Sized>(picks: &[Pick], book: &PriceBook, articles: &A) -> Result<(), WalkpayError> {
    each_line(picks, book, articles, |_, _, _| {})
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
    let lines = picks.len().min(MAX_LINES);
    let mut found = Vec::with_capacity(lines);
    let mut items = Vec::with_capacity(lines);
    let mut groups = Vec::with_capacity(lines);
    each_line(picks, book, articles, |article, item, group| {
        found.push(article);
        items.push(item);
        groups.push(group);
    })?;
    promote(&mut items, priced_at, book);
    let payables: Vec<i64> = items.iter().map(|i| i.gross - i.discount).collect();
    let (taxes, tax_totals) = tax(&payables, &groups, book);
    Ok(assemble(picks, &found, items, &taxes, tax_totals, priced_at, book))
}

/// Gives each line's article, item, and position and rate of its tax group to `each`.
fn each_line<'a, A: Articles + ?Sized>(
    picks: &[Pick],
    book: &PriceBook,
    articles: &'a A,
    mut each: impl FnMut(&'a Article, Item, (usize, i64)),
) -> Result<(), WalkpayError> {
    let header = book.header();
    if header.pricing_version != PRICING_VERSION {
        let detail = format!("the catalogue asks for version {}, this is {PRICING_VERSION}", header.pricing_version);
        return Err(WalkpayError::basket_rule("pricing_version", None, detail));
    }
    if picks.len() > MAX_LINES {
        return Err(WalkpayError::limit("lines of a basket", MAX_LINES as u64));
    }
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
        each(article, item, group);
    }
    Ok(())
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
            unit: if matches!(pick.quantity, Quantity::Price { .. }) { PriceUnit::Piece } else { article.unit },
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

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::super::{Basket, lines_bytes, parse_lines, verify_lines};
    use super::*;
    use crate::barcode::Measure;
    use crate::catalogue::Promotion;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn priced(basket: &Basket, promotions: Vec<Promotion>) -> PricedBasket {
        price(&basket.picks(), at(5), &book(promotions), &articles()).unwrap()
    }

    fn discounts(scans: &[(u32, u32)], promotions: Vec<Promotion>) -> Vec<i64> {
        let scans: Vec<_> = scans.iter().map(|(n, count)| (scan(*n), pieces(*count))).collect();
        priced(&basket(&scans), promotions).lines.iter().map(|l| l.discount_minor).collect()
    }

    fn full() -> Basket {
        basket(&[
            (scan(COLA), pieces(3)),
            (scan(TEA), pieces(2)),
            (scan(APPLES), grams(333)),
            (label(CHEESE, Measure::Grams { grams: 251 }), None),
            (label(SALAD, Measure::Price { minor: 345 }), None),
            (scan(WINE), None),
        ])
    }

    #[test]
    fn stored_form_and_amounts() {
        let promotions = vec![n_for("cola-3", 3, 300, &[COLA, JUICE]), percent("tea-20", "20", &[TEA, APPLES])];
        insta::assert_json_snapshot!(priced(&full(), promotions));
    }

    #[test]
    fn weights_round_half_up() {
        // 299 × 0.005 = 1.495 → 1; × 0.5 = 149.5 → 150.
        for (weight, gross) in [(5, 1), (500, 150), (1, 0), (1000, 299), (50_000, 14_950)] {
            let basket = basket(&[(scan(APPLES), grams(weight))]);
            assert_eq!(priced(&basket, vec![]).total.minor, gross, "{weight} g");
        }
    }

    #[test]
    fn n_for_price_takes_the_dearest_pieces_over_lines() {
        let promotion = || vec![n_for("p", 3, 500, &[TEA, JUICE])];
        assert_eq!(discounts(&[(TEA, 2)], promotion()), [0]);
        // 249 + 249 + 199 − 500 = 197, by 498 : 199.
        assert_eq!(discounts(&[(TEA, 2), (JUICE, 2)], promotion()), [141, 56]);
        assert_eq!(discounts(&[(TEA, 7)], promotion()), [2 * 247]);
        assert_eq!(discounts(&[(JUICE, 3)], vec![n_for("dear", 3, 600, &[JUICE])]), [0]);
    }

    #[test]
    fn one_promotion_per_piece_and_the_best_one() {
        let both = || vec![n_for("a", 2, 400, &[TEA]), percent("b", "10", &[TEA])];
        // Two for 400 saves 98, 10 % of two saves 50; the third piece gets its 10 %.
        assert_eq!(discounts(&[(TEA, 3)], both()), [98 + 25]);
        let weak = || vec![n_for("a", 2, 490, &[TEA]), percent("b", "10", &[TEA]), percent("c", "20", &[TEA])];
        assert_eq!(discounts(&[(TEA, 2)], weak()), [100]);
        let rival = || vec![n_for("a", 2, 400, &[TEA, JUICE]), n_for("b", 3, 300, &[TEA])];
        assert_eq!(discounts(&[(TEA, 3), (JUICE, 1)], rival()), [447, 0]);
    }

    #[test]
    fn promotions_hold_from_until_before() {
        let limited = |from, until| vec![Promotion { from, until, ..percent("p", "50", &[TEA]) }];
        let saved = |from, until| discounts(&[(TEA, 1)], limited(from, until)).iter().sum::<i64>();
        assert_eq!(saved(Some(at(5)), Some(at(6))), 125);
        assert_eq!(saved(Some(at(6)), None), 0);
        assert_eq!(saved(None, Some(at(5))), 0);
    }

    #[test]
    fn deposits_are_never_reduced() {
        assert_eq!(discounts(&[(COLA, 2)], vec![percent("p", "100", &[COLA, BOTTLE])]), [258, 0]);
    }

    #[test]
    fn errors_name_rule_and_line() {
        let code = |pick: Pick, book: &PriceBook| {
            let error = price(&[pick], at(5), book, &articles()).unwrap_err();
            assert_eq!(check_price(&[pick], book, &articles()).unwrap_err().code(), error.code());
            error
        };
        let pick = |n, quantity| Pick { line: LineId(4), gtin: key(n), quantity, parent: None };
        let plain = book(vec![]);
        let one = Quantity::Pieces { count: 1 };
        for (n, quantity, expected) in [
            (TEA, Quantity::Grams { grams: 1 }, "basket.quantity_kind"),
            (APPLES, one, "basket.quantity_kind"),
            (TEA, Quantity::Price { minor: 1 }, "basket.quantity_kind"),
            (TEA, Quantity::Pieces { count: 0 }, "basket.quantity"),
            (SALAD, Quantity::Price { minor: i64::MAX }, "basket.quantity"),
            (SALAD, Quantity::Price { minor: i64::MIN }, "basket.quantity"),
            (99_999, one, "unknown_article"),
        ] {
            assert_eq!(code(pick(n, quantity), &plain).code(), expected);
        }
        let header = crate::catalogue::CatalogueHeader { pricing_version: 2, ..plain.header().clone() };
        let newer = PriceBook::new(header, vec![], vec![], vec![]).unwrap();
        assert_eq!(code(pick(TEA, one), &newer).code(), "basket.pricing_version");
        let untaxed = PriceBook::new(plain.header().clone(), vec![], vec![], vec![]).unwrap();
        let error = code(pick(TEA, one), &untaxed);
        assert!(matches!(error, WalkpayError::BasketRule { rule, line: Some(4), .. } if rule == "unknown_tax_group"));
        let many = vec![pick(TEA, one); MAX_LINES + 1];
        assert_eq!(price(&many, at(5), &plain, &articles()).unwrap_err().code(), "limit");
        assert_eq!(check_price(&many, &plain, &articles()).unwrap_err().code(), "limit");
    }

    /// A number of pieces and their price, or a percentage.
    type Rule = (Option<u32>, i64);

    fn promotions() -> impl Strategy<Value = Vec<Promotion>> {
        let kind = prop_oneof![
            (2u32..5, 0i64..1500).prop_map(|(n, price_minor)| (Some(n), price_minor)),
            (1i64..=100).prop_map(|percent| (None, percent)),
        ];
        prop::collection::vec((kind, prop::collection::btree_set(100u32..112, 1..6)), 0..6).prop_map(|list| {
            let build = |(at, ((n, value), of)): (usize, (Rule, BTreeSet<u32>))| {
                let of: Vec<u32> = of.into_iter().collect();
                match n {
                    Some(n) => n_for(&format!("p{at}"), n, value, &of),
                    None => percent(&format!("p{at}"), &value.to_string(), &of),
                }
            };
            list.into_iter().enumerate().map(build).collect()
        })
    }

    proptest! {
        #[test]
        fn sums_are_exact_and_order_does_not_matter(
            counts in prop::collection::vec((100u32..112, 1u32..9), 1..20),
            promotions in promotions(),
            turn in 0usize..20,
        ) {
            let book = book(promotions);
            let pick = |(at, (n, count)): (u32, &(u32, u32))| Pick {
                line: LineId(at), gtin: key(*n), quantity: Quantity::Pieces { count: *count }, parent: None,
            };
            let mut picks: Vec<Pick> = (1u32..).zip(&counts).map(pick).collect();
            let basket = price(&picks, at(5), &book, &articles()).unwrap();
            let sum = |of: fn(&PricedLine) -> i64| basket.lines.iter().map(of).sum::<i64>();
            prop_assert_eq!(sum(|l| l.payable_minor), basket.total.minor);
            prop_assert_eq!(sum(|l| l.discount_minor), basket.discount.minor);
            prop_assert_eq!(sum(|l| l.tax_minor), basket.tax_totals.iter().map(|t| t.tax_minor).sum::<i64>());
            prop_assert_eq!(sum(|l| l.net_minor), basket.tax_totals.iter().map(|t| t.net_minor).sum::<i64>());
            for line in &basket.lines {
                prop_assert_eq!(line.payable_minor, line.gross_minor - line.discount_minor);
                prop_assert_eq!(line.payable_minor, line.net_minor + line.tax_minor);
                prop_assert!(line.discount_minor >= 0 && line.payable_minor >= 0);
                prop_assert!(line.net_minor >= 0 && line.tax_minor >= 0);
                prop_assert_eq!(line.promotions.is_empty(), line.discount_minor == 0);
            }
            let bytes = lines_bytes(&basket);
            let sent = parse_lines(&bytes).unwrap();
            prop_assert_eq!(&sent, &super::super::SentLines::from(&basket));
            prop_assert_eq!(lines_bytes(&verify_lines(&sent, at(5), &book, &articles()).unwrap()), bytes);
            picks.rotate_left(turn % counts.len());
            let turned = price(&picks, at(5), &book, &articles()).unwrap();
            prop_assert_eq!((turned.total, turned.discount), (basket.total, basket.discount));
            prop_assert_eq!(turned.tax_totals, basket.tax_totals);
        }

        #[test]
        fn one_bundle_promotion_is_the_best_choice(
            counts in prop::collection::vec((100u32..104, 1u32..3), 1..5), n in 2u32..4, bundle in 0i64..600, off in 1i64..60,
        ) {
            let promotions = || vec![n_for("n", n, bundle, &[100, 101, 102, 103]), percent("p", &off.to_string(), &[100, 102])];
            let found: i64 = discounts(&counts, promotions()).iter().sum();
            // Every choice of pieces for bundles, by brute force.
            let prices: Vec<(i64, i64)> = counts.iter().flat_map(|(article, count)| {
                let price = articles()[&key(*article)].price_minor;
                let off = if article % 2 == 0 { (price * off * 2 + 100) / 200 } else { 0 };
                vec![(price, off); *count as usize]
            }).collect();
            let best = (0u32..1 << prices.len()).filter(|set| set.count_ones() % n == 0).map(|set| {
                let piece = |(at, (price, off)): (usize, &(i64, i64))| if set >> at & 1 == 1 { *price } else { *off };
                let sum: i64 = prices.iter().enumerate().map(piece).sum();
                sum - i64::from(set.count_ones() / n) * bundle
            }).max().unwrap_or(0);
            prop_assert_eq!(found, best);
        }
    }
}
