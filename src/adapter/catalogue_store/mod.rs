//! The catalogue of a store on the device: one SQLite file beside the journal.
//!
//! A [`CatalogueReader`] reads one revision, whole and unchanging, until it is told to [`CatalogueReader::advance`]; an
//! [`import`] commits the next one in one transaction on a connection of its own meanwhile.

mod import;
mod reader;

pub use import::{Imported, MAX_CATALOGUE_BYTES, checkpoint, import};
pub use reader::{CatalogueMeta, CatalogueReader};

use crate::adapter::sqlite::{Schema, storage_error};
use crate::error::WalkpayError;
use crate::id::StoreId;
use std::path::{Path, PathBuf};

const WHAT: &str = "the catalogue";

const SCHEMA: Schema = Schema {
    what: WHAT,
    application_id: 0x776b_6331, // "wkc1"
    migrations: &["
        CREATE TABLE revision (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            store_id TEXT NOT NULL, currency TEXT NOT NULL, revision INTEGER NOT NULL, pricing_version INTEGER NOT NULL,
            issued_at INTEGER NOT NULL, usable_until INTEGER NOT NULL, sha256 TEXT NOT NULL, articles INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE article (
            gtin INTEGER PRIMARY KEY, name TEXT NOT NULL, department TEXT NOT NULL, unit INTEGER NOT NULL,
            price_minor INTEGER NOT NULL, sale INTEGER NOT NULL, deposit INTEGER, min_age INTEGER,
            sale_stopped INTEGER NOT NULL, tax_group TEXT NOT NULL
        ) STRICT;
        CREATE VIRTUAL TABLE article_name USING fts5 (
            name, content = 'article', content_rowid = 'gtin', tokenize = 'unicode61 remove_diacritics 2',
            detail = none, columnsize = 0
        );
        CREATE TABLE tax_group (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE promotion (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE template (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
    "],
    alone: false,
};

/// Where the catalogue of `store` is. Store identifiers differ in case, file systems may not: capitals are marked.
fn path(folder: &Path, store: &StoreId) -> PathBuf {
    let mut name = String::from("catalogue-");
    for c in store.as_str().chars() {
        if c.is_ascii_uppercase() {
            name.push('~');
        }
        name.push(c.to_ascii_lowercase());
    }
    folder.join(name + ".sqlite")
}

fn fail(e: rusqlite::Error) -> WalkpayError {
    storage_error(WHAT, &e)
}
