//! A catalogue snapshot from its bytes to the commit.

use crate::effort::Effort;
use crate::goods::{Goods, currency};
use crate::measure::{Found, Goal, Measure, Outcome, in_turns};
use crate::shop::scratch;
use rusqlite::{Connection, params};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use walkpay::adapter::catalogue_store::import as take_in;
use walkpay::adapter::sqlite::Durability;
use walkpay::catalogue::{PriceUnit, SaleKind};
use walkpay::protocol::crypto::digest;
use walkpay::protocol::document::CatalogueManifest;
use walkpay::{MerchantId, StoreId, Timestamp};

/// The row.
pub const MEASURES: &[Measure] = &[Measure {
    name: "import",
    ours: "catalogue snapshot of 100,000 articles from bytes to committed",
    reference: "bare rusqlite bulk insert, same schema and indexes, full-text index included",
    goal: Goal::AtMost(1.5),
    run,
}];

fn run(goods: &Arc<Goods>, effort: &Effort) -> Outcome<Found> {
    let data = goods.ndjson()?;
    let manifest = CatalogueManifest {
        merchant_id: MerchantId::parse("m")?,
        store_id: StoreId::parse("s")?,
        base: None,
        revision: 1,
        sha256: digest(&data),
        length: data.len() as u64,
        rows: goods.rows() as u64,
        pricing_version: walkpay::basket::PRICING_VERSION,
        issued_at: Timestamp::from_millis(1_790_000_000_000),
        usable_until: Timestamp::from_millis(1_790_086_400_000),
    };
    let ours = |_: usize| -> Outcome<Duration> {
        let folder = scratch()?;
        let start = Instant::now();
        let imported = take_in(folder.path(), &manifest, currency()?, &data, Durability::Full)?;
        let took = start.elapsed();
        if imported.rows == manifest.rows { Ok(took) } else { Err("rows are missing".into()) }
    };
    let schema = schema(&manifest, &data)?;
    let reference = |_: usize| -> Outcome<Duration> {
        let folder = scratch()?;
        let start = Instant::now();
        bulk_insert(&folder.path().join("bare.sqlite"), &schema, goods)?;
        Ok(start.elapsed())
    };
    Ok(in_turns(effort.long_rounds, ours, reference)?.into())
}

/// The statements that make the schema of an imported catalogue, as its own file has them.
fn schema(manifest: &CatalogueManifest, data: &[u8]) -> Outcome<String> {
    let folder = scratch()?;
    take_in(folder.path(), manifest, currency()?, data, Durability::Off)?;
    let file = std::fs::read_dir(folder.path())?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "sqlite"))
        .ok_or("no catalogue was written")?;
    let db = Connection::open(file)?;
    // Tables that FTS5 makes for itself come with their table.
    let mut wanted = db.prepare(
        "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT GLOB 'article_name_*' AND name NOT GLOB 'sqlite_*'",
    )?;
    let statements: Vec<String> = wanted.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?;
    Ok(statements.join(";\n"))
}

fn bulk_insert(file: &Path, schema: &str, goods: &Goods) -> Outcome<()> {
    let mut db = Connection::open(file)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.execute_batch(schema)?;
    let tx = db.transaction()?;
    {
        let mut insert = tx.prepare("INSERT INTO article (gtin, name, department, unit, price_minor, sale, deposit, min_age, sale_stopped, tax_group) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
        for a in &goods.articles {
            insert.execute(params![
                a.gtin.as_i64(),
                a.name,
                a.department,
                i64::from(a.unit == PriceUnit::Kilogram),
                a.price_minor,
                i64::from(a.sale == SaleKind::ShopperWeighed),
                a.deposit.map(|d| d.as_i64()),
                a.min_age,
                a.sale_stopped,
                a.tax_group
            ])?;
        }
    }
    tx.execute("INSERT INTO article_name (article_name) VALUES ('rebuild')", [])?;
    tx.commit()?;
    Ok(())
}
