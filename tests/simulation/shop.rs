//! The store of the simulation: a few articles, one promotion, two revisions.

use std::collections::HashMap;
use walkpay::barcode::Gtin;
use walkpay::catalogue::*;
use walkpay::protocol::document::StoreInfo;
use walkpay::{Currency, GateGroup, StoreId};

/// What a terminal has of the catalogue.
pub struct Shop {
    articles: HashMap<Gtin, Article>,
    gtins: Vec<Gtin>,
    book: PriceBook,
}

impl Shop {
    /// The terminal's data for a revision; prices rise with it.
    pub fn new(revision: u64) -> Self {
        let rows = articles(revision);
        let header = CatalogueHeader { store_id: store_id(), currency: currency(), revision, pricing_version: 1 };
        let book = PriceBook::new(header, tax_groups(), promotions(), Vec::new()).expect("the data is sound");
        let gtins = rows.iter().map(|a| a.gtin).collect();
        Self { articles: rows.into_iter().map(|a| (a.gtin, a)).collect(), gtins, book }
    }

    pub fn len(&self) -> usize {
        self.gtins.len()
    }

    pub fn gtin(&self, at: usize) -> Gtin {
        self.gtins[at]
    }

    pub fn articles(&self) -> &HashMap<Gtin, Article> {
        &self.articles
    }

    pub fn book(&self) -> &PriceBook {
        &self.book
    }

    pub fn currency(&self) -> Currency {
        currency()
    }

    pub fn store_id(&self) -> &StoreId {
        &self.book.header().store_id
    }
}

/// Yuan: what Alipay and WeChat Pay take.
pub fn currency() -> Currency {
    Currency::parse("CNY").expect("a currency")
}

pub fn store_id() -> StoreId {
    StoreId::parse("sim-1").expect("an id")
}

pub fn store() -> StoreInfo {
    StoreInfo {
        store_id: store_id(),
        name: "Simulated store".into(),
        currency: currency(),
        time_zone: "Europe/Berlin".into(),
        tax_id: "DE000".into(),
        gate_group: GateGroup::parse("sim-1").expect("an id"),
    }
}

/// The rows that the merchant imports for a revision.
pub fn ndjson(revision: u64) -> Vec<u8> {
    let articles = articles(revision);
    let mut rows: Vec<Row<'_>> = tax_groups().into_iter().map(Row::TaxGroup).collect();
    rows.extend(articles.iter().map(Row::from));
    rows.extend(promotions().into_iter().map(Row::Promotion));
    let mut out = Vec::new();
    rows.iter().for_each(|row| write_row(row, &mut out).expect("the rows are sound"));
    out
}

fn articles(revision: u64) -> Vec<Article> {
    (0..8u64)
        .map(|n| Article {
            gtin: Gtin::parse(&with_check_digit(400_638_133_390 + n)).expect("a check digit"),
            name: format!("Article {n}"),
            department: "all".into(),
            unit: PriceUnit::Piece,
            price_minor: i64::try_from(99 + n * 57 + revision * 3).expect("small"),
            sale: SaleKind::Pieces,
            deposit: None,
            min_age: (n == 7).then_some(18),
            sale_stopped: false,
            tax_group: "A".into(),
        })
        .collect()
}

fn with_check_digit(twelve: u64) -> String {
    let digits = format!("{twelve:012}");
    let values: Vec<u8> = digits.bytes().map(|b| b - b'0').collect();
    format!("{digits}{}", walkpay::barcode::check_digit(&values))
}

fn tax_groups() -> Vec<TaxGroup> {
    vec![TaxGroup { id: "A".into(), name: "standard".into(), rate: rust_decimal::Decimal::from(19) }]
}

fn promotions() -> Vec<Promotion> {
    let gtins = articles(1).iter().take(3).map(|a| a.gtin).collect();
    let kind = PromotionKind::NForPrice { n: 3, price_minor: 250 };
    vec![Promotion { id: "p1".into(), title: "3 for 2.50".into(), kind, gtins, from: None, until: None }]
}
