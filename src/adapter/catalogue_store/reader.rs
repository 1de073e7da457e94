//! Reading one revision.

use super::{SCHEMA, WHAT, fail, path};
use crate::adapter::sqlite::{Durability, open, storage};
use crate::barcode::{BarcodeTemplate, Gtin};
use crate::catalogue::{Article, CatalogueHeader, PriceBook, PriceUnit, Promotion, SaleKind, TaxGroup};
use crate::error::{StorageProblem, WalkpayError};
use crate::id::StoreId;
use crate::money::Currency;
use crate::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Arc;

/// The most results of a search.
pub const MAX_FOUND: u32 = 200;
const MAX_QUERY_CHARS: usize = 100;

const ARTICLE: &str = "SELECT gtin, name, department, unit, price_minor, sale, deposit, min_age, sale_stopped, tax_group FROM article WHERE gtin = ?1";
const SEARCH: &str = "SELECT a.gtin, a.name, a.department, a.unit, a.price_minor, a.sale, a.deposit, a.min_age, a.sale_stopped, a.tax_group FROM article_name n JOIN article a ON a.gtin = n.rowid WHERE article_name MATCH ?1 ORDER BY length(a.name), a.name, a.gtin LIMIT ?2";

/// What is known of a revision beside its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueMeta {
    /// Which revision of which store.
    pub header: CatalogueHeader,
    /// When the merchant published it.
    pub issued_at: Timestamp,
    /// Until when the merchant takes baskets that are priced with it.
    pub usable_until: Timestamp,
    /// How many articles it has.
    pub articles: u64,
}

/// An open catalogue. All answers are of one revision, also while the next one is being imported.
pub struct CatalogueReader {
    db: Connection,
    meta: CatalogueMeta,
    price_book: Arc<PriceBook>,
}

impl CatalogueReader {
    /// Opens the catalogue of `store`, or nothing when there never was an import.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub fn open(folder: &Path, store: &StoreId, durability: Durability) -> Result<Option<Self>, WalkpayError> {
        let path = path(folder, store);
        if !path.exists() {
            return Ok(None);
        }
        let db = open(&path, &SCHEMA, durability)?;
        // The snapshot of this transaction is what makes all answers of one revision.
        db.execute_batch("BEGIN").map_err(fail)?;
        let Some((meta, price_book)) = read_revision(&db, store)? else {
            return Ok(None);
        };
        Ok(Some(Self { db, meta, price_book: Arc::new(price_book) }))
    }

    /// Goes on to the newest revision, if an import has committed one.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub fn advance(&mut self) -> Result<(), WalkpayError> {
        self.db.execute_batch("COMMIT; BEGIN").map_err(fail)?;
        let store = &self.meta.header.store_id;
        if let Some((meta, price_book)) = read_revision(&self.db, store)? {
            self.meta = meta;
            self.price_book = Arc::new(price_book);
        }
        Ok(())
    }

    /// What revision this is.
    pub fn meta(&self) -> &CatalogueMeta {
        &self.meta
    }

    /// Tax groups, promotions and templates of this revision.
    pub fn price_book(&self) -> &Arc<PriceBook> {
        &self.price_book
    }

    /// The article with this key.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub fn article(&self, gtin: Gtin) -> Result<Option<Article>, WalkpayError> {
        self.db
            .prepare_cached(ARTICLE)
            .and_then(|mut s| s.query_row([gtin.as_i64()], read_article).optional())
            .map_err(fail)
    }

    /// Articles whose name has words that begin with all words of `text`; shorter names first, at most `limit` (and at
    /// most 200). Capitals and accents make no difference.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] when `text` has no letter or digit or more than 100 characters,
    /// [`WalkpayError::Storage`].
    pub fn search(&self, text: &str, limit: u32) -> Result<Vec<Article>, WalkpayError> {
        let query = fts_query(text)?;
        let mut statement = self.db.prepare_cached(SEARCH).map_err(fail)?;
        let found = statement.query_map((query, limit.min(MAX_FOUND)), read_article).map_err(fail)?;
        found.collect::<Result<_, _>>().map_err(fail)
    }
}

/// `"word"* "word"*`: nothing of FTS5's query language is left to the caller.
fn fts_query(text: &str) -> Result<String, WalkpayError> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
    let query: Vec<String> = words.map(|w| format!("\"{w}\"*")).collect();
    if query.is_empty() || text.chars().count() > MAX_QUERY_CHARS {
        return Err(WalkpayError::invalid("text", "1 to 100 characters with a letter or digit among them", text));
    }
    Ok(query.join(" "))
}

fn read_article(row: &Row<'_>) -> rusqlite::Result<Article> {
    let bad = |column: usize| rusqlite::Error::IntegralValueOutOfRange(column, 0);
    let gtin =
        |column, value: i64| u64::try_from(value).ok().and_then(|v| Gtin::from_u64(v).ok()).ok_or_else(|| bad(column));
    Ok(Article {
        gtin: gtin(0, row.get(0)?)?,
        name: row.get(1)?,
        department: row.get(2)?,
        unit: match row.get::<_, i64>(3)? {
            0 => PriceUnit::Piece,
            1 => PriceUnit::Kilogram,
            _ => return Err(bad(3)),
        },
        price_minor: row.get(4)?,
        sale: match row.get::<_, i64>(5)? {
            0 => SaleKind::Pieces,
            1 => SaleKind::ShopperWeighed,
            2 => SaleKind::PreWeighed,
            3 => SaleKind::PriceInCode,
            _ => return Err(bad(5)),
        },
        deposit: row.get::<_, Option<i64>>(6)?.map(|v| gtin(6, v)).transpose()?,
        min_age: row.get(7)?,
        sale_stopped: row.get(8)?,
        tax_group: row.get(9)?,
    })
}

pub(super) fn unit_code(unit: PriceUnit) -> i64 {
    match unit {
        PriceUnit::Piece => 0,
        PriceUnit::Kilogram => 1,
    }
}

pub(super) fn sale_code(sale: SaleKind) -> i64 {
    match sale {
        SaleKind::Pieces => 0,
        SaleKind::ShopperWeighed => 1,
        SaleKind::PreWeighed => 2,
        SaleKind::PriceInCode => 3,
    }
}

/// The revision that is there, if any.
pub(super) fn read_meta(db: &Connection, store: &StoreId) -> Result<Option<CatalogueMeta>, WalkpayError> {
    let sql = "SELECT store_id, currency, revision, pricing_version, issued_at, usable_until, articles FROM revision";
    let row = db
        .query_row(sql, [], |r| {
            let texts: (String, String) = (r.get(0)?, r.get(1)?);
            let numbers: (i64, u32, i64, i64, i64) = (r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?, r.get(6)?);
            Ok((texts, numbers))
        })
        .optional()
        .map_err(fail)?;
    let Some(((store_id, currency), (revision, pricing_version, issued_at, usable_until, articles))) = row else {
        return Ok(None);
    };
    if store_id != store.as_str() {
        return Err(storage(StorageProblem::Foreign, format!("{WHAT} is of another store than {store}")));
    }
    let header = CatalogueHeader {
        store_id: store.clone(),
        currency: Currency::parse(&currency).map_err(|e| corrupt(&e))?,
        revision: unsigned(revision),
        pricing_version,
    };
    Ok(Some(CatalogueMeta {
        header,
        issued_at: Timestamp::from_millis(issued_at),
        usable_until: Timestamp::from_millis(usable_until),
        articles: unsigned(articles),
    }))
}

/// What `import` wrote is never negative.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn read_revision(db: &Connection, store: &StoreId) -> Result<Option<(CatalogueMeta, PriceBook)>, WalkpayError> {
    let Some(meta) = read_meta(db, store)? else {
        return Ok(None);
    };
    let book = read_price_book(db, meta.header.clone()).map_err(|e| corrupt(&e))?;
    Ok(Some((meta, book)))
}

pub(super) fn read_price_book(db: &Connection, header: CatalogueHeader) -> Result<PriceBook, WalkpayError> {
    let tax_groups: Vec<TaxGroup> = bodies(db, "SELECT body FROM tax_group")?;
    let promotions: Vec<Promotion> = bodies(db, "SELECT body FROM promotion")?;
    let templates: Vec<BarcodeTemplate> = bodies(db, "SELECT body FROM template")?;
    PriceBook::new(header, tax_groups, promotions, templates)
}

fn bodies<T: DeserializeOwned>(db: &Connection, sql: &str) -> Result<Vec<T>, WalkpayError> {
    let mut statement = db.prepare(sql).map_err(fail)?;
    let rows = statement.query_map([], |r| r.get::<_, String>(0)).map_err(fail)?;
    rows.map(|body| serde_json::from_str(&body.map_err(fail)?).map_err(|e| corrupt(&e))).collect()
}

fn corrupt(e: &dyn std::fmt::Display) -> WalkpayError {
    storage(StorageProblem::Corrupt, format!("{WHAT}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_words_and_nothing_else() {
        assert_eq!(fts_query("oat mil").unwrap(), "\"oat\"* \"mil\"*");
        assert_eq!(fts_query("a\" OR name:b*").unwrap(), "\"a\"* \"OR\"* \"name\"* \"b\"*");
        for bad in ["", "  ", "*\"", &"x".repeat(101)] {
            assert!(fts_query(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn there_is_no_catalogue_before_the_first_import() {
        let dir = tempfile::tempdir().unwrap();
        let store = StoreId::parse("demo-1").unwrap();
        assert!(CatalogueReader::open(dir.path(), &store, Durability::Full).unwrap().is_none());
    }
}
