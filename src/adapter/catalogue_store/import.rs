//! Taking in a snapshot or a delta.

use super::reader::{CatalogueMeta, read_meta, read_price_book, sale_code, unit_code};
use super::{SCHEMA, fail, path};
use crate::adapter::sqlite::{Durability, open};
use crate::basket::PRICING_VERSION;
use crate::catalogue::{ArticleRow, CatalogueHeader, Row, rows};
use crate::error::WalkpayError;
use crate::id::StoreId;
use crate::money::Currency;
use crate::protocol::crypto::digest;
use crate::protocol::document::CatalogueManifest;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::Serialize;
use std::collections::HashSet;
use std::path::Path;
use std::sync::mpsc::sync_channel;

/// The largest catalogue data that is taken in: a million articles with room.
pub const MAX_CATALOGUE_BYTES: u64 = 512 << 20;

/// How many rows are handed over at once.
const BATCH: usize = 512;

/// What an import has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The revision that is there now.
    pub meta: CatalogueMeta,
    /// How many rows were taken in; 0 when the revision was there already.
    pub rows: u64,
}

/// Takes in `data`, the rows of a snapshot or of a delta, as the verified `manifest` says, in one transaction on a
/// connection of its own. Readers go on with the revision that they have.
///
/// A revision that is there already is left as it is, and that is no error.
///
/// # Errors
/// [`WalkpayError::Untrusted`] with `check` one of `length`, `digest`, `rows`, `revision` (an older one), `base` (a delta from
/// another revision: ask for a snapshot); [`WalkpayError::BasketRule`] with the rule `pricing_version` for a catalogue that newer rules
/// price; [`WalkpayError::InvalidInput`] for rows that cannot be; [`WalkpayError::Storage`].
/// The catalogue is then as before.
pub fn import(
    folder: &Path,
    manifest: &CatalogueManifest,
    currency: Currency,
    data: &[u8],
    durability: Durability,
) -> Result<Imported, WalkpayError> {
    check_bytes(manifest, data)?;
    if manifest.pricing_version != PRICING_VERSION {
        let detail = format!(
            "the catalogue is priced by version {} of the rules, this app has {PRICING_VERSION}: update the app",
            manifest.pricing_version
        );
        return Err(WalkpayError::basket_rule("pricing_version", None, detail));
    }
    let store = &manifest.store_id;
    let mut db = open(&path(folder, store), &SCHEMA, durability)?;
    db.pragma_update(None, "cache_size", -16_384).map_err(fail)?;
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
    let before = read_meta(&tx, store)?;
    if let Some(meta) = before.as_ref().filter(|m| m.header.revision == manifest.revision) {
        return Ok(Imported { meta: meta.clone(), rows: 0 });
    }
    check_order(manifest, before.as_ref())?;
    let taken = if manifest.base.is_some() { apply_delta(&tx, data)? } else { apply_snapshot(&tx, data)? };
    if taken != manifest.rows {
        return Err(untrusted("rows", format!("the manifest says {} rows, the data has {taken}", manifest.rows)));
    }
    let header = CatalogueHeader {
        store_id: store.clone(),
        currency,
        revision: manifest.revision,
        pricing_version: manifest.pricing_version,
    };
    read_price_book(&tx, header.clone())?;
    let meta = write_meta(&tx, manifest, header)?;
    tx.commit().map_err(fail)?;
    Ok(Imported { meta, rows: taken })
}

/// Moves what imports have written from the write-ahead log into the file; to be called once readers have advanced.
///
/// # Errors
/// [`WalkpayError::Storage`].
pub fn checkpoint(folder: &Path, store: &StoreId, durability: Durability) -> Result<(), WalkpayError> {
    let db = open(&path(folder, store), &SCHEMA, durability)?;
    db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(fail)
}

fn check_bytes(manifest: &CatalogueManifest, data: &[u8]) -> Result<(), WalkpayError> {
    if data.len() as u64 > MAX_CATALOGUE_BYTES {
        return Err(WalkpayError::limit("bytes of catalogue data", MAX_CATALOGUE_BYTES));
    }
    if data.len() as u64 != manifest.length {
        return Err(untrusted("length", format!("{} bytes, not {}", manifest.length, data.len())));
    }
    if digest(data) != manifest.sha256 {
        return Err(untrusted("digest", "the data that the manifest is of"));
    }
    Ok(())
}

fn check_order(manifest: &CatalogueManifest, before: Option<&CatalogueMeta>) -> Result<(), WalkpayError> {
    let have = before.map(|m| m.header.revision);
    if have.is_some_and(|have| manifest.revision < have) {
        return Err(untrusted("revision", format!("above {}, not {}", have.unwrap_or(0), manifest.revision)));
    }
    if manifest.base.is_some() && manifest.base != have {
        return Err(untrusted("base", format!("a delta from {have:?}, not from {:?}", manifest.base)));
    }
    Ok(())
}

fn apply_snapshot(tx: &Transaction<'_>, data: &[u8]) -> Result<u64, WalkpayError> {
    let clear = "DELETE FROM article; DELETE FROM tax_group; DELETE FROM promotion; DELETE FROM template;";
    tx.execute_batch(clear).map_err(fail)?;
    let mut used = TaxGroupsUsed::default();
    let mut article = ArticleWriter::prepare(tx)?;
    let taken = each_row(data, |row| match row {
        Row::Article(a) => {
            used.note(&a);
            article.put(&a)
        }
        other => small(tx, &other),
    })?;
    // One pass over the finished table, instead of two updates of the index for each row.
    tx.execute("INSERT INTO article_name (article_name) VALUES ('rebuild')", []).map_err(fail)?;
    used.check(tx)?;
    Ok(taken)
}

/// Hands the rows to `take` in their order and counts them. They are read on a thread of their own, so that reading and writing
/// overlap.
fn each_row<'d>(
    data: &'d [u8],
    mut take: impl FnMut(Row<'d>) -> Result<(), WalkpayError>,
) -> Result<u64, WalkpayError> {
    let (sender, batches) = sync_channel::<Vec<Result<Row<'d>, WalkpayError>>>(4);
    std::thread::scope(|scope| {
        let read = move || {
            let mut all = rows(data);
            loop {
                let batch: Vec<_> = all.by_ref().take(BATCH).collect();
                if batch.is_empty() || sender.send(batch).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("walkpay-import".into());
        thread
            .spawn_scoped(scope, read)
            .map_err(|e| WalkpayError::Internal { detail: format!("no thread for the import: {e}") })?;
        let mut taken = 0;
        // Moved in here, so that the reading thread ends when an error ends this.
        for row in batches.into_iter().flatten() {
            taken += 1;
            take(row?)?;
        }
        Ok(taken)
    })
}

fn apply_delta(tx: &Transaction<'_>, data: &[u8]) -> Result<u64, WalkpayError> {
    let mut used = TaxGroupsUsed::default();
    let mut taken = 0;
    let mut article = ArticleWriter::prepare(tx)?;
    let mut old = tx.prepare("SELECT name FROM article WHERE gtin = ?1").map_err(fail)?;
    let mut forget =
        tx.prepare("INSERT INTO article_name (article_name, rowid, name) VALUES ('delete', ?1, ?2)").map_err(fail)?;
    let mut index = tx.prepare("INSERT INTO article_name (rowid, name) VALUES (?1, ?2)").map_err(fail)?;
    let mut delete = tx.prepare("DELETE FROM article WHERE gtin = ?1").map_err(fail)?;
    for row in rows(data) {
        taken += 1;
        match row? {
            Row::Article(a) => {
                let key = a.gtin.as_i64();
                let name: Option<String> = old.query_row([key], |r| r.get(0)).optional().map_err(fail)?;
                if name.as_deref() != Some(&a.name) {
                    if let Some(name) = name {
                        forget.execute(params![key, name]).map_err(fail)?;
                    }
                    index.execute(params![key, a.name]).map_err(fail)?;
                }
                used.note(&a);
                article.put(&a)?;
            }
            Row::ArticleGone { gtin } => {
                let key = gtin.as_i64();
                if let Some(name) = old.query_row([key], |r| r.get::<_, String>(0)).optional().map_err(fail)? {
                    forget.execute(params![key, name]).map_err(fail)?;
                    delete.execute([key]).map_err(fail)?;
                }
            }
            other => small(tx, &other)?,
        }
    }
    used.check(tx)?;
    Ok(taken)
}

struct ArticleWriter<'t>(rusqlite::Statement<'t>);

impl<'t> ArticleWriter<'t> {
    fn prepare(tx: &'t Transaction<'_>) -> Result<Self, WalkpayError> {
        let sql = "INSERT OR REPLACE INTO article (gtin, name, department, unit, price_minor, sale, deposit, min_age, sale_stopped, tax_group) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        tx.prepare(sql).map(Self).map_err(fail)
    }

    fn put(&mut self, a: &ArticleRow<'_>) -> Result<(), WalkpayError> {
        let values = params![
            a.gtin.as_i64(),
            a.name,
            a.department,
            unit_code(a.unit),
            a.price_minor,
            sale_code(a.sale),
            a.deposit.map(|d| d.as_i64()),
            a.min_age,
            a.sale_stopped,
            a.tax_group
        ];
        self.0.execute(values).map(drop).map_err(fail)
    }
}

/// The rows of which there are few.
fn small(tx: &Transaction<'_>, row: &Row<'_>) -> Result<(), WalkpayError> {
    match row {
        Row::TaxGroup(g) => put_body(tx, "INSERT OR REPLACE INTO tax_group (id, body) VALUES (?1, ?2)", &g.id, g),
        Row::Promotion(p) => put_body(tx, "INSERT OR REPLACE INTO promotion (id, body) VALUES (?1, ?2)", &p.id, p),
        Row::Template(t) => put_body(tx, "INSERT OR REPLACE INTO template (id, body) VALUES (?1, ?2)", &t.id, t),
        Row::PromotionGone { id } => run(tx, "DELETE FROM promotion WHERE id = ?1", params![id]),
        Row::TemplateGone { id } => run(tx, "DELETE FROM template WHERE id = ?1", params![id]),
        Row::ArticleGone { gtin } => run(tx, "DELETE FROM article WHERE gtin = ?1", params![gtin.as_i64()]),
        Row::Article(a) => ArticleWriter::prepare(tx)?.put(a),
    }
}

fn put_body<T: Serialize>(tx: &Transaction<'_>, sql: &str, id: &str, body: &T) -> Result<(), WalkpayError> {
    let body = serde_json::to_string(body).map_err(|e| WalkpayError::Internal { detail: e.to_string() })?;
    run(tx, sql, params![id, body])
}

fn run(tx: &Transaction<'_>, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<(), WalkpayError> {
    tx.prepare_cached(sql).and_then(|mut s| s.execute(values)).map(drop).map_err(fail)
}

/// The tax groups that articles name must be there in the end, in whatever order the rows come.
#[derive(Default)]
struct TaxGroupsUsed(HashSet<String>);

impl TaxGroupsUsed {
    fn note(&mut self, article: &ArticleRow<'_>) {
        if !self.0.contains(article.tax_group.as_ref()) {
            self.0.insert(article.tax_group.as_ref().to_owned());
        }
    }

    fn check(&self, db: &Connection) -> Result<(), WalkpayError> {
        for id in &self.0 {
            let found = db.query_row("SELECT 1 FROM tax_group WHERE id = ?1", [id], |_| Ok(())).optional();
            if found.map_err(fail)?.is_none() {
                return Err(WalkpayError::invalid("catalogue tax_group", "a tax group of the catalogue", id));
            }
        }
        Ok(())
    }
}

fn write_meta(
    tx: &Transaction<'_>,
    manifest: &CatalogueManifest,
    header: CatalogueHeader,
) -> Result<CatalogueMeta, WalkpayError> {
    let articles: i64 = tx.query_row("SELECT count(*) FROM article", [], |r| r.get(0)).map_err(fail)?;
    let revision = i64::try_from(header.revision).map_err(|_| WalkpayError::limit("revision", i64::MAX as u64))?;
    let sql = "INSERT OR REPLACE INTO revision (id, store_id, currency, revision, pricing_version, issued_at, usable_until, sha256, articles) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let values = params![
        header.store_id.as_str(),
        header.currency.code(),
        revision,
        header.pricing_version,
        manifest.issued_at.as_millis(),
        manifest.usable_until.as_millis(),
        manifest.sha256,
        articles,
    ];
    run(tx, sql, values)?;
    Ok(CatalogueMeta {
        header,
        issued_at: manifest.issued_at,
        usable_until: manifest.usable_until,
        articles: articles.unsigned_abs(),
    })
}

fn untrusted(check: &str, detail: impl Into<String>) -> WalkpayError {
    WalkpayError::untrusted("catalogue", check, detail)
}

#[cfg(test)]
mod tests {
    use super::super::CatalogueReader;
    use super::*;
    use crate::barcode::Gtin;
    use crate::catalogue::{Article, PriceUnit, SaleKind, TaxGroup, write_row};
    use crate::id::MerchantId;
    use crate::time::Timestamp;

    fn store() -> StoreId {
        StoreId::parse("Demo-1").unwrap()
    }

    fn article(item: u64, name: &str, price_minor: i64) -> Article {
        let digits = format!("40000000{item:04}");
        let check = crate::barcode::check_digit(&digits.bytes().map(|b| b - b'0').collect::<Vec<_>>());
        Article {
            gtin: Gtin::parse(&format!("{digits}{check}")).unwrap(),
            name: name.into(),
            department: "Dairy".into(),
            unit: PriceUnit::Piece,
            price_minor,
            sale: SaleKind::Pieces,
            deposit: None,
            min_age: (item == 3).then_some(18),
            sale_stopped: item == 4,
            tax_group: "A".into(),
        }
    }

    fn data(rows: &[Row<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        rows.iter().for_each(|r| write_row(r, &mut out).unwrap());
        out
    }

    fn tax() -> Row<'static> {
        Row::TaxGroup(TaxGroup { id: "A".into(), name: "Reduced".into(), rate: 7.into() })
    }

    fn manifest(data: &[u8], base: Option<u64>, revision: u64) -> CatalogueManifest {
        CatalogueManifest {
            merchant_id: MerchantId::parse("demo").unwrap(),
            store_id: store(),
            base,
            revision,
            sha256: digest(data),
            length: data.len() as u64,
            rows: data.iter().filter(|b| **b == b'\n').count() as u64,
            pricing_version: 1,
            issued_at: Timestamp::from_millis(1_700_000_000_000),
            usable_until: Timestamp::from_millis(1_700_086_400_000),
        }
    }

    fn take(folder: &Path, manifest: &CatalogueManifest, data: &[u8]) -> Result<Imported, WalkpayError> {
        import(folder, manifest, Currency::parse("EUR").unwrap(), data, Durability::Full)
    }

    fn reader(folder: &Path) -> CatalogueReader {
        CatalogueReader::open(folder, &store(), Durability::Full).unwrap().unwrap()
    }

    fn names(reader: &CatalogueReader, text: &str) -> Vec<String> {
        reader.search(text, 10).unwrap().into_iter().map(|a| a.name).collect()
    }

    fn check_of<T: std::fmt::Debug>(result: Result<T, WalkpayError>) -> String {
        match result {
            Err(WalkpayError::Untrusted { check, .. }) => check,
            other => panic!("expected a failed check, got {other:?}"),
        }
    }

    #[test]
    fn a_snapshot_can_be_looked_up_and_searched() {
        let dir = tempfile::tempdir().unwrap();
        let all = [article(1, "Oat milk", 199), article(2, "Milk chocolate", 129), article(3, "Crème brûlée", 349)];
        let mut rows: Vec<Row<'_>> = all.iter().map(|a| Row::Article(a.into())).collect();
        rows.push(tax());
        let data = data(&rows);
        let imported = take(dir.path(), &manifest(&data, None, 5), &data).unwrap();
        assert_eq!((imported.rows, imported.meta.articles, imported.meta.header.revision), (4, 3, 5));
        let reader = reader(dir.path());
        for a in &all {
            assert_eq!(reader.article(a.gtin).unwrap().as_ref(), Some(a));
        }
        assert_eq!(reader.article(article(9, "", 0).gtin).unwrap(), None);
        assert_eq!(names(&reader, "MIL"), ["Oat milk", "Milk chocolate"]);
        assert_eq!(names(&reader, "creme"), ["Crème brûlée"]);
        assert_eq!(names(&reader, "milk oat"), ["Oat milk"]);
        assert_eq!(reader.search("mil", 1).unwrap().len(), 1);
    }

    #[test]
    fn a_catalogue_of_newer_pricing_rules_does_not_replace_one_that_can_be_priced() {
        let dir = tempfile::tempdir().unwrap();
        let data = data(&[tax(), Row::Article((&article(1, "Oat milk", 199)).into())]);
        take(dir.path(), &manifest(&data, None, 1), &data).unwrap();
        let newer = CatalogueManifest { pricing_version: PRICING_VERSION + 1, ..manifest(&data, None, 2) };
        let error = take(dir.path(), &newer, &data).unwrap_err();
        assert_eq!(error.code(), "basket.pricing_version");
        assert!(error.explain().contains("update the app"), "{}", error.explain());
        assert_eq!(reader(dir.path()).meta().header.revision, 1);
    }

    #[test]
    fn a_reader_keeps_its_revision_until_it_advances() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (article(1, "Oat milk", 199), article(1, "Oat drink", 209));
        let gone = article(2, "Butter", 250);
        let first = data(&[tax(), Row::Article((&old).into()), Row::Article((&gone).into())]);
        take(dir.path(), &manifest(&first, None, 1), &first).unwrap();
        let mut reader = reader(dir.path());
        let second = data(&[Row::Article((&new).into()), Row::ArticleGone { gtin: gone.gtin }]);
        take(dir.path(), &manifest(&second, Some(1), 2), &second).unwrap();
        assert_eq!(reader.article(old.gtin).unwrap(), Some(old.clone()));
        assert_eq!(names(&reader, "butter"), ["Butter"]);
        assert_eq!(reader.meta().header.revision, 1);
        reader.advance().unwrap();
        assert_eq!(reader.meta().header.revision, 2);
        assert_eq!(reader.price_book().header().revision, 2);
        assert_eq!(reader.article(old.gtin).unwrap(), Some(new));
        assert_eq!(reader.article(gone.gtin).unwrap(), None);
        assert_eq!(names(&reader, "oat"), ["Oat drink"]);
        assert!(names(&reader, "milk").is_empty() && names(&reader, "butter").is_empty());
        checkpoint(dir.path(), &store(), Durability::Full).unwrap();
    }

    #[test]
    fn never_goes_back_and_takes_a_delta_only_on_its_base() {
        let dir = tempfile::tempdir().unwrap();
        let a = article(1, "Oat milk", 199);
        let rows = data(&[tax(), Row::Article((&a).into())]);
        assert_eq!(check_of(take(dir.path(), &manifest(&rows, Some(4), 5), &rows)), "base");
        take(dir.path(), &manifest(&rows, None, 5), &rows).unwrap();
        assert_eq!(check_of(take(dir.path(), &manifest(&rows, None, 4), &rows)), "revision");
        assert_eq!(check_of(take(dir.path(), &manifest(&rows, Some(4), 6), &rows)), "base");
        assert_eq!(take(dir.path(), &manifest(&rows, None, 5), &rows).unwrap().rows, 0);
        take(dir.path(), &manifest(&rows, Some(5), 7), &rows).unwrap();
        assert_eq!(reader(dir.path()).meta().header.revision, 7);
    }

    #[test]
    fn data_that_is_not_the_manifests_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let a = article(1, "Oat milk", 199);
        let first = data(&[tax(), Row::Article((&a).into())]);
        take(dir.path(), &manifest(&first, None, 1), &first).unwrap();
        let dearer = data(&[tax(), Row::Article((&article(1, "Oat milk", 999)).into())]);
        let good = manifest(&dearer, None, 2);
        assert_eq!(check_of(take(dir.path(), &good, &dearer[1..])), "length");
        let mut flipped = dearer.clone();
        flipped[10] ^= 1;
        assert_eq!(check_of(take(dir.path(), &good, &flipped)), "digest");
        let miscounted = CatalogueManifest { rows: 3, ..good.clone() };
        assert_eq!(check_of(take(dir.path(), &miscounted, &dearer)), "rows");
        let groupless = data(&[Row::Article((&a).into())]);
        assert!(matches!(
            take(dir.path(), &manifest(&groupless, None, 2), &groupless),
            Err(WalkpayError::InvalidInput { .. })
        ));
        let broken = b"{\"kind\":\"article\"}\n";
        assert!(matches!(take(dir.path(), &manifest(broken, None, 2), broken), Err(WalkpayError::InvalidInput { .. })));
        let reader = reader(dir.path());
        assert_eq!(reader.meta().header.revision, 1);
        assert_eq!(reader.article(a.gtin).unwrap(), Some(a));
    }

    #[test]
    fn a_bad_row_ends_an_import_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let good: Vec<Article> = (0..6_000).map(|n| article(n, "Oat milk", 199)).collect();
        let bad = b"{\"kind\":\"article\"}\n".as_slice();
        for (before, after) in [(0, 6_000), (1, 5_999), (3_000, 3_000), (6_000, 0)] {
            let rows = |part: &[Article]| data(&part.iter().map(Row::from).collect::<Vec<_>>());
            let all = [&rows(&good[..before]), bad, &rows(&good[before..before + after])].concat();
            let refused = take(dir.path(), &manifest(&all, None, 1), &all).unwrap_err();
            assert!(refused.to_string().contains(&format!("catalogue line {}", before + 1)), "{refused}");
        }
        assert!(CatalogueReader::open(dir.path(), &store(), Durability::Full).unwrap().is_none());
        let mut rows: Vec<Row<'_>> = good.iter().map(Row::from).collect();
        rows.push(tax());
        let whole = data(&rows);
        assert_eq!(take(dir.path(), &manifest(&whole, None, 1), &whole).unwrap().meta.articles, 6_000);
    }

    #[test]
    fn stores_that_differ_in_case_have_files_of_their_own() {
        let (a, b) = (StoreId::parse("Demo").unwrap(), StoreId::parse("demo").unwrap());
        let folder = Path::new("/x");
        assert_ne!(path(folder, &a), path(folder, &b));
        assert_eq!(path(folder, &a).to_string_lossy().to_lowercase(), path(folder, &a).to_string_lossy());
    }
}
