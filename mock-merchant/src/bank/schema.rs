//! The bank's file: how it is opened, and its numbered migrations.

use super::book::BankError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;
use walkpay::StorageProblem;

/// `wpbk`: marks a file as the book of this bank.
pub(super) const APPLICATION_ID: i64 = 0x7770_626b;

/// Applied in order; a file's `user_version` is how many it has. A migration that was released is never changed.
const MIGRATIONS: [&str; 1] = ["
CREATE TABLE merchants (
    merchant_id TEXT PRIMARY KEY,
    api_key_sha256 BLOB NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    token TEXT PRIMARY KEY,
    label TEXT NOT NULL,
    currency TEXT NOT NULL,
    balance INTEGER NOT NULL,
    credit_limit INTEGER NOT NULL CHECK (credit_limit >= 0),
    state TEXT NOT NULL CHECK (state IN ('open', 'closed')),
    top_up INTEGER NOT NULL,
    approve_at_most INTEGER CHECK (approve_at_most > 0),
    pin BLOB,
    pin_failures INTEGER NOT NULL DEFAULT 0,
    CHECK (balance + credit_limit >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE holder_keys (
    account TEXT NOT NULL REFERENCES accounts,
    merchant_id TEXT NOT NULL,
    kid TEXT NOT NULL,
    jwk TEXT NOT NULL,
    device_id TEXT NOT NULL,
    confirmed_at INTEGER NOT NULL,
    revoked_at INTEGER,
    PRIMARY KEY (account, merchant_id, kid)
) STRICT, WITHOUT ROWID;

CREATE TABLE operations (
    merchant_id TEXT NOT NULL,
    reference TEXT NOT NULL,
    request_sha256 TEXT NOT NULL,
    outcome TEXT NOT NULL,
    answered_at INTEGER NOT NULL,
    PRIMARY KEY (merchant_id, reference)
) STRICT, WITHOUT ROWID;

CREATE TABLE holds (
    merchant_id TEXT NOT NULL,
    reference TEXT NOT NULL,
    account TEXT NOT NULL REFERENCES accounts,
    trip_id TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    number INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('placed', 'captured', 'released', 'expired')),
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (merchant_id, reference)
) STRICT, WITHOUT ROWID;
CREATE INDEX holds_placed ON holds (account, expires_at) WHERE state = 'placed';

CREATE TABLE hold_documents (
    merchant_id TEXT NOT NULL,
    hold_id TEXT NOT NULL,
    PRIMARY KEY (merchant_id, hold_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE hold_events (
    event_id INTEGER PRIMARY KEY,
    merchant_id TEXT NOT NULL,
    reference TEXT NOT NULL,
    event TEXT NOT NULL CHECK (event IN ('placed', 'raised', 'captured', 'released', 'expired')),
    amount INTEGER NOT NULL,
    at INTEGER NOT NULL,
    FOREIGN KEY (merchant_id, reference) REFERENCES holds
) STRICT;

CREATE TABLE trips (
    merchant_id TEXT NOT NULL,
    trip_id TEXT NOT NULL,
    account TEXT NOT NULL REFERENCES accounts,
    basket_sha256 TEXT NOT NULL,
    total INTEGER NOT NULL,
    debited INTEGER NOT NULL,
    PRIMARY KEY (merchant_id, trip_id),
    CHECK (debited BETWEEN 0 AND total)
) STRICT, WITHOUT ROWID;

CREATE TABLE debits (
    merchant_id TEXT NOT NULL,
    reference TEXT NOT NULL,
    trip_id TEXT NOT NULL,
    account TEXT NOT NULL REFERENCES accounts,
    amount INTEGER NOT NULL CHECK (amount > 0),
    reversed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (merchant_id, reference),
    CHECK (reversed BETWEEN 0 AND amount)
) STRICT, WITHOUT ROWID;

CREATE TABLE late (
    merchant_id TEXT NOT NULL,
    reference TEXT NOT NULL,
    request TEXT NOT NULL,
    due INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'booked', 'dropped')),
    PRIMARY KEY (merchant_id, reference)
) STRICT, WITHOUT ROWID;

CREATE TABLE entries (
    entry_id INTEGER PRIMARY KEY,
    transfer INTEGER NOT NULL,
    book_account TEXT NOT NULL,
    amount INTEGER NOT NULL,
    currency TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX entries_transfer ON entries (transfer);

CREATE TABLE statement (
    merchant_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    reference TEXT NOT NULL,
    trip_id TEXT NOT NULL,
    amount INTEGER NOT NULL,
    currency TEXT NOT NULL,
    booked_at INTEGER NOT NULL,
    transfer INTEGER NOT NULL UNIQUE,
    PRIMARY KEY (merchant_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX statement_trip ON statement (merchant_id, trip_id);

CREATE TRIGGER entries_kept BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER entries_not_deleted BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER statement_kept BEFORE UPDATE ON statement BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER statement_not_deleted BEFORE DELETE ON statement BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER hold_events_kept BEFORE UPDATE ON hold_events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER hold_events_not_deleted BEFORE DELETE ON hold_events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER operations_kept BEFORE UPDATE ON operations BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER operations_not_deleted BEFORE DELETE ON operations BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"];

/// Opens or makes the book at `path`.
pub(super) fn open(path: &Path) -> Result<Connection, BankError> {
    let db = Connection::open(path).map_err(|e| BankError::sqlite(&e, &path.display().to_string()))?;
    prepare(db, &path.display().to_string())
}

/// Opens the book at `path` without being able to change it.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, BankError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let whose = path.display().to_string();
    let db = Connection::open_with_flags(path, flags).map_err(|e| BankError::sqlite(&e, &whose))?;
    db.busy_timeout(Duration::from_secs(5)).map_err(|e| BankError::sqlite(&e, &whose))?;
    let id: i64 = db.query_row("PRAGMA application_id", [], |r| r.get(0)).map_err(|e| BankError::sqlite(&e, &whose))?;
    if id != APPLICATION_ID {
        return Err(foreign(&whose));
    }
    Ok(db)
}

/// A new book that lives as long as its connection.
pub(super) fn in_memory() -> Result<Connection, BankError> {
    let db = Connection::open_in_memory().map_err(|e| BankError::sqlite(&e, "memory"))?;
    prepare(db, "memory")
}

/// Checks that the file is this bank's, sets how it commits, and brings it to the newest version.
pub(super) fn prepare(mut db: Connection, whose: &str) -> Result<Connection, BankError> {
    let failed = |e: rusqlite::Error| BankError::sqlite(&e, whose);
    db.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
    // Statements keep their plan whatever is bound to them.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(failed)?;
    let id: i64 = db.query_row("PRAGMA application_id", [], |r| r.get(0)).map_err(failed)?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).map_err(failed)?;
    if id != APPLICATION_ID && (id != 0 || tables != 0) {
        return Err(foreign(whose));
    }
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON;
         PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
    )
    .map_err(failed)?;
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
    let version: i64 = tx.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(failed)?;
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    if done > MIGRATIONS.len() {
        return Err(BankError::Storage {
            problem: StorageProblem::TooNew,
            detail: format!("{whose} has version {version}, this program knows {}", MIGRATIONS.len()),
        });
    }
    for migration in MIGRATIONS.iter().skip(done) {
        tx.execute_batch(migration).map_err(failed)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    tx.pragma_update(None, "user_version", MIGRATIONS.len() as i64).map_err(failed)?;
    tx.commit().map_err(failed)?;
    Ok(db)
}

fn foreign(whose: &str) -> BankError {
    BankError::Storage {
        problem: StorageProblem::Foreign,
        detail: format!("{whose} is not a book of this bank: give another path"),
    }
}
