//! Catalogue rows with the revisions that they are in.

use super::read::{count, counted, time};
use super::{StoreError, Tx};
use rusqlite::Row;
use walkpay::Timestamp;

/// A revision of a store's catalogue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Revision {
    /// Its number.
    pub revision: u64,
    /// The version of the pricing rules that it is for.
    pub pricing_version: u32,
    /// When it was made.
    pub issued_at: Timestamp,
    /// Baskets priced with it are taken until then.
    pub usable_until: Timestamp,
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT revision, pricing_version, issued_at, usable_until FROM catalogue_revisions ", $rest)
    };
}

fn read(r: &Row<'_>) -> rusqlite::Result<Revision> {
    Ok(Revision {
        revision: count(r, 0)?,
        pricing_version: r.get(1)?,
        issued_at: time(r, 2)?,
        usable_until: time(r, 3)?,
    })
}

/// A revision by its number.
pub fn revision(tx: &Tx<'_>, store: i64, revision: u64) -> Result<Option<Revision>, StoreError> {
    tx.first(select!("WHERE store = ?1 AND revision = ?2"), (store, counted(revision)), read)
}

/// The newest revision.
pub fn newest(tx: &Tx<'_>, store: i64) -> Result<Option<Revision>, StoreError> {
    tx.first(select!("WHERE store = ?1 ORDER BY revision DESC LIMIT 1"), [store], read)
}

/// Adds a revision.
pub fn add_revision(tx: &Tx<'_>, store: i64, new: &Revision) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO catalogue_revisions (store, revision, pricing_version, issued_at, usable_until)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        (store, counted(new.revision), new.pricing_version, new.issued_at.as_millis(), new.usable_until.as_millis()),
    )?;
    Ok(())
}

/// Has a revision usable for longer.
pub fn renew(tx: &Tx<'_>, store: i64, revision: u64, usable_until: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE catalogue_revisions SET usable_until = ?3 WHERE store = ?1 AND revision = ?2";
    tx.execute(sql, (store, counted(revision), usable_until.as_millis()))?;
    Ok(())
}

/// A row as it travels, with its key.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogueRow {
    /// Which kind of row; part of the key.
    pub kind: u8,
    /// The key within its kind.
    pub key: String,
    /// One line of NDJSON, without its line feed.
    pub row: Vec<u8>,
}

fn read_row(r: &Row<'_>) -> rusqlite::Result<CatalogueRow> {
    Ok(CatalogueRow { kind: r.get(0)?, key: r.get(1)?, row: r.get(2)? })
}

/// The rows of a revision, by kind and key; of one kind if `kind` is given.
pub fn rows(tx: &Tx<'_>, store: i64, revision: u64, kinds: (u8, u8)) -> Result<Vec<CatalogueRow>, StoreError> {
    let sql = "SELECT kind, key, row FROM catalogue_rows WHERE store = ?1 AND kind BETWEEN ?3 AND ?4 AND born <= ?2
               AND (gone IS NULL OR gone > ?2) ORDER BY kind, key";
    tx.all(sql, (store, counted(revision), kinds.0, kinds.1), read_row)
}

/// One row of a revision.
pub fn row(tx: &Tx<'_>, store: i64, revision: u64, kind: u8, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT row FROM catalogue_rows WHERE store = ?1 AND kind = ?3 AND key = ?4 AND born <= ?2
               AND (gone IS NULL OR gone > ?2) ORDER BY born DESC LIMIT 1";
    tx.first(sql, (store, counted(revision), kind, key), |r| r.get(0))
}

/// What came or changed after `base` up to `revision`, by kind and key.
pub fn changed(tx: &Tx<'_>, store: i64, base: u64, revision: u64) -> Result<Vec<CatalogueRow>, StoreError> {
    let sql = "SELECT kind, key, row FROM catalogue_rows WHERE store = ?1 AND born > ?2 AND born <= ?3
               AND (gone IS NULL OR gone > ?3) ORDER BY kind, key";
    tx.all(sql, (store, counted(base), counted(revision)), read_row)
}

/// Kind and key of what was in `base` and is not in `revision`.
pub fn removed(tx: &Tx<'_>, store: i64, base: u64, revision: u64) -> Result<Vec<(u8, String)>, StoreError> {
    let sql = "SELECT DISTINCT o.kind, o.key FROM catalogue_rows o
               WHERE o.store = ?1 AND o.gone > ?2 AND o.gone <= ?3 AND o.born <= ?2
               AND NOT EXISTS (SELECT 1 FROM catalogue_rows n WHERE n.store = o.store AND n.kind = o.kind
                 AND n.key = o.key AND n.born <= ?3 AND (n.gone IS NULL OR n.gone > ?3))
               ORDER BY o.kind, o.key";
    tx.all(sql, (store, counted(base), counted(revision)), |r| Ok((r.get(0)?, r.get(1)?)))
}

/// Ends a row with `revision`.
pub fn end(tx: &Tx<'_>, store: i64, kind: u8, key: &str, revision: u64) -> Result<(), StoreError> {
    let sql = "UPDATE catalogue_rows SET gone = ?4 WHERE store = ?1 AND kind = ?2 AND key = ?3 AND gone IS NULL";
    tx.execute(sql, (store, kind, key, counted(revision)))?;
    Ok(())
}

/// Begins a row with `revision`.
pub fn begin(tx: &Tx<'_>, store: i64, row: &CatalogueRow, revision: u64) -> Result<(), StoreError> {
    let sql = "INSERT INTO catalogue_rows (store, kind, key, born, row) VALUES (?1, ?2, ?3, ?4, ?5)";
    tx.execute(sql, (store, row.kind, &row.key, counted(revision), &row.row))?;
    Ok(())
}

/// Forgets rows and revisions that no basket can name any more.
pub fn forget(tx: &Tx<'_>, store: i64, before: Timestamp) -> Result<(), StoreError> {
    let sql = "SELECT max(revision) FROM catalogue_revisions WHERE store = ?1 AND usable_until < ?2
               AND revision < (SELECT max(revision) FROM catalogue_revisions WHERE store = ?1)";
    let last: Option<i64> = tx.first(sql, (store, before.as_millis()), |r| r.get(0))?.flatten();
    if let Some(last) = last {
        tx.execute("DELETE FROM catalogue_revisions WHERE store = ?1 AND revision <= ?2", (store, last))?;
        tx.execute("DELETE FROM catalogue_rows WHERE store = ?1 AND gone <= ?2", (store, last + 1))?;
    }
    Ok(())
}
