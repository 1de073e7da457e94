//! The list of goods: lines, quantities, and what they cost. Pure; terminal and merchant price with the same code.

mod allocate;
mod decide;
mod event;
mod line;
mod price;
mod promote;
mod sent;
mod verify;

pub use event::BasketEvent;
pub use line::{Basket, Line, LineId, MAX_GRAMS, MAX_LINES, MAX_PIECES, MAX_TOTAL_MINOR, Pick, Quantity};
pub use price::{PRICING_VERSION, PricedBasket, PricedLine, TaxTotal, check_price, price};
pub use sent::{MAX_LINES_BYTES, SentLine, SentLines, lines_bytes, parse_lines};
pub use verify::{LineMismatches, verify_lines, violations};

/// A small store for the tests of this module.
#[cfg(test)]
mod fixture {
    use super::{Basket, Quantity};
    use crate::barcode::{BarcodeTemplate, Gtin, Meaning, Measure, ValueKind, check_digit};
    use crate::catalogue::{
        Article, CatalogueHeader, PriceBook, PriceUnit, Promotion, PromotionKind, SaleKind, TaxGroup,
    };
    use crate::id::StoreId;
    use crate::money::Currency;
    use crate::time::Timestamp;
    use std::collections::HashMap;

    pub(super) const COLA: u32 = 1;
    pub(super) const BOTTLE: u32 = 2;
    pub(super) const TEA: u32 = 3;
    pub(super) const APPLES: u32 = 4;
    pub(super) const CHEESE: u32 = 5;
    pub(super) const SALAD: u32 = 6;
    pub(super) const WINE: u32 = 7;
    pub(super) const STOPPED: u32 = 8;
    pub(super) const JUICE: u32 = 9;

    /// The key of article `n`; in-store numbers for the ones with a value in their labels.
    pub(super) fn key(n: u32) -> Gtin {
        let data = match n {
            CHEESE => "211234500000".to_owned(),
            SALAD => "251234500000".to_owned(),
            _ => format!("4006381{n:05}"),
        };
        let digits: Vec<u8> = data.bytes().map(|b| b - b'0').collect();
        Gtin::parse(&format!("{data}{}", check_digit(&digits))).unwrap()
    }

    pub(super) fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn article(n: u32, name: &str, price_minor: i64, sale: SaleKind, tax_group: &str) -> Article {
        let weighed = matches!(sale, SaleKind::ShopperWeighed | SaleKind::PreWeighed);
        Article {
            gtin: key(n),
            name: name.into(),
            department: "Test".into(),
            unit: if weighed { PriceUnit::Kilogram } else { PriceUnit::Piece },
            price_minor,
            sale,
            deposit: None,
            min_age: None,
            sale_stopped: false,
            tax_group: tax_group.into(),
        }
    }

    pub(super) fn articles() -> HashMap<Gtin, Article> {
        let mut all = vec![
            Article { deposit: Some(key(BOTTLE)), ..article(COLA, "Cola", 129, SaleKind::Pieces, "A") },
            article(BOTTLE, "Deposit", 25, SaleKind::Pieces, "A"),
            article(TEA, "Tea", 249, SaleKind::Pieces, "B"),
            article(APPLES, "Apples", 299, SaleKind::ShopperWeighed, "B"),
            article(CHEESE, "Cheese", 1990, SaleKind::PreWeighed, "B"),
            article(SALAD, "Salad", 0, SaleKind::PriceInCode, "B"),
            Article { min_age: Some(16), ..article(WINE, "Wine", 599, SaleKind::Pieces, "A") },
            Article { sale_stopped: true, ..article(STOPPED, "Recalled", 100, SaleKind::Pieces, "B") },
            article(JUICE, "Juice", 199, SaleKind::Pieces, "A"),
        ];
        all.extend((100..140).map(|n| article(n, "Thing", i64::from(n) * 7 % 500 + 1, SaleKind::Pieces, "A")));
        all.into_iter().map(|a| (a.gtin, a)).collect()
    }

    pub(super) fn template(id: &str, prefix: &str, kind: ValueKind) -> BarcodeTemplate {
        BarcodeTemplate {
            id: id.into(),
            prefix_from: prefix.into(),
            prefix_to: prefix.into(),
            value_position: 8,
            value_digits: 5,
            kind,
            value_unit: 1,
            inner_check_position: None,
            min_value: 10,
            max_value: 20_000,
        }
    }

    pub(super) fn promotion(id: &str, kind: PromotionKind, of: &[u32]) -> Promotion {
        let gtins = of.iter().copied().map(key).collect();
        Promotion { id: id.into(), title: id.into(), kind, gtins, from: None, until: None }
    }

    pub(super) fn n_for(id: &str, n: u32, price_minor: i64, of: &[u32]) -> Promotion {
        promotion(id, PromotionKind::NForPrice { n, price_minor }, of)
    }

    pub(super) fn percent(id: &str, percent: &str, of: &[u32]) -> Promotion {
        promotion(id, PromotionKind::PercentOff { percent: percent.parse().unwrap() }, of)
    }

    pub(super) fn book(promotions: Vec<Promotion>) -> PriceBook {
        let header = CatalogueHeader {
            store_id: StoreId::parse("test").unwrap(),
            currency: Currency::parse("EUR").unwrap(),
            revision: 7,
            pricing_version: super::PRICING_VERSION,
        };
        let group =
            |id: &str, rate: &str| TaxGroup { id: id.into(), name: format!("{rate} %"), rate: rate.parse().unwrap() };
        let templates = vec![template("weight", "21", ValueKind::Weight), template("price", "25", ValueKind::Price)];
        PriceBook::new(header, vec![group("A", "19"), group("B", "7")], promotions, templates).unwrap()
    }

    pub(super) fn scan(n: u32) -> Meaning {
        Meaning::Article { gtin: key(n) }
    }

    pub(super) fn label(n: u32, measure: Measure) -> Meaning {
        let article = key(n);
        Meaning::VariableMeasure { template_id: "t".into(), article, measure, raw: article.short() }
    }

    /// A basket of these scans.
    pub(super) fn basket(scans: &[(Meaning, Option<Quantity>)]) -> Basket {
        let mut basket = Basket::default();
        for (meaning, quantity) in scans {
            for event in basket.decide_scan(meaning, *quantity, &articles()).unwrap() {
                basket.apply(&event);
            }
        }
        basket
    }

    pub(super) fn pieces(count: u32) -> Option<Quantity> {
        Some(Quantity::Pieces { count })
    }

    pub(super) fn grams(grams: u32) -> Option<Quantity> {
        Some(Quantity::Grams { grams })
    }
}
