//! Opening the database: pragmas, migrations, whose it is.

use super::StoreError;
use crate::failure::{Failure, refuse};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use walkpay::MerchantId;
use walkpay::protocol::problem::ProblemCode;

/// `WPMT`: what says in the file's header that it is a merchant's (SQLite file format §1.3.9).
const APPLICATION_ID: i64 = 0x5750_4d54;
/// Numbered from 1; a change of the schema is a new file, never a change of an old one.
const MIGRATIONS: [&str; 8] = [
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
    include_str!("schema/0004.sql"),
    include_str!("schema/0005.sql"),
    include_str!("schema/0006.sql"),
    include_str!("schema/0007.sql"),
    include_str!("schema/0008.sql"),
];

/// After how many steps of SQLite's virtual machine a reader looks whether it is to end: some tens of microseconds.
const STEPS: i32 = 2_000;

/// Whose database it is to be, and how it is used.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// Its name.
    pub name: String,
    /// Whether test controls are on; marks a new database for good.
    pub sim: bool,
}

/// Opens or makes the database at `path` for writing.
///
/// # Errors
/// [`StoreError`] saying why it cannot be used; the file is then as it was.
pub fn open(path: &Path, identity: &Identity) -> Result<Connection, StoreError> {
    let conn = Connection::open(path).map_err(|e| not_a_database(path, e))?;
    prepare(&conn, path, identity).map_err(|e| match e {
        StoreError::Sqlite(e) => not_a_database(path, e),
        other => other,
    })?;
    Ok(conn)
}

/// The schema version of the database at `path`, and the one that this program would bring it to, if that is a later one. Nothing is
/// changed; what cannot be read is left for [`open`] to tell.
pub fn outdated(path: &Path) -> Option<(i64, i64)> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    conn.busy_timeout(Duration::from_secs(10)).ok()?;
    let found: i64 = conn.query_row("PRAGMA user_version", [], |r| r.get(0)).ok()?;
    let known = MIGRATIONS.len() as i64;
    (1..known).contains(&found).then_some((found, known))
}

/// A database in memory, for simulations and tests.
///
/// # Errors
/// As [`open`].
pub fn open_in_memory(identity: &Identity) -> Result<Connection, StoreError> {
    let conn = Connection::open_in_memory()?;
    prepare(&conn, Path::new(":memory:"), identity)?;
    Ok(conn)
}

fn prepare(conn: &Connection, path: &Path, identity: &Identity) -> Result<(), StoreError> {
    let application: i64 = conn.query_row("PRAGMA application_id", [], |r| r.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    if application != APPLICATION_ID && (application != 0 || tables > 0) {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    let version: i64 = conn.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    let known = MIGRATIONS.len() as i64;
    if version > known {
        return Err(StoreError::TooNew { path: path.to_owned(), found: version, known });
    }
    pragmas(conn)?;
    migrate(conn, version, identity)?;
    check_identity(conn, identity)
}

fn pragmas(conn: &Connection) -> Result<(), StoreError> {
    conn.busy_timeout(Duration::from_secs(10))?;
    plan_once(conn)?;
    conn.set_prepared_statement_cache_capacity(256);
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    conn.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;
         PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA secure_delete = FAST; PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 4000;",
    )?;
    Ok(())
}

/// Statements keep their plan whatever is bound to them: otherwise SQLite compiles one with a `LIMIT ?` anew each time.
fn plan_once(conn: &Connection) -> Result<(), StoreError> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn migrate(conn: &Connection, version: i64, identity: &Identity) -> Result<(), StoreError> {
    for (number, sql) in (1i64..).zip(MIGRATIONS) {
        if number <= version {
            continue;
        }
        conn.execute_batch("BEGIN IMMEDIATE")?;
        let step = || -> Result<(), StoreError> {
            // Another process may have done it while this one waited.
            if conn.query_row("PRAGMA user_version", [], |r| r.get::<_, i64>(0))? >= number {
                return Ok(conn.execute_batch("COMMIT")?);
            }
            conn.execute_batch(sql)?;
            if number == 1 {
                conn.execute(
                    "INSERT INTO merchants (merchant, merchant_id, name, sim) VALUES (1, ?1, ?2, ?3)",
                    (identity.merchant_id.as_str(), &identity.name, identity.sim),
                )?;
            }
            conn.execute_batch(&format!(
                "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT"
            ))?;
            Ok(())
        };
        step().inspect_err(|_| {
            let _ = conn.execute_batch("ROLLBACK");
        })?;
    }
    Ok(())
}

fn check_identity(conn: &Connection, identity: &Identity) -> Result<(), StoreError> {
    let (found, sim): (String, bool) =
        conn.query_row("SELECT merchant_id, sim FROM merchants WHERE merchant = 1", [], |r| {
            Ok((r.get(0)?, r.get(1)?))
        })?;
    if found != identity.merchant_id.as_str() {
        return Err(StoreError::OtherMerchant { expected: identity.merchant_id.to_string(), found });
    }
    match (sim, identity.sim) {
        (true, false) => {
            Err(StoreError::WrongMode("this database was made with --sim: it can only be used with --sim"))
        }
        (false, true) => Err(StoreError::WrongMode("this database was not made with --sim: it cannot be used with it")),
        _ => Ok(()),
    }
}

fn not_a_database(path: &Path, e: rusqlite::Error) -> StoreError {
    match e.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => StoreError::Foreign(path.to_owned()),
        Some(rusqlite::ErrorCode::DatabaseCorrupt) => StoreError::Damaged(path.to_owned()),
        Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::CannotOpen) => {
            StoreError::NotWritable(path.to_owned())
        }
        _ => StoreError::Sqlite(e),
    }
}

/// Moves the write-ahead log into the database file and empties it, where no reader is in the way.
///
/// # Errors
/// [`StoreError::Sqlite`].
pub fn checkpoint(conn: &Connection) -> Result<(), StoreError> {
    Ok(conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}

/// Connections that read, each used by one thread at a time.
pub struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Readers of the database at `path`, which the writer has opened before.
    pub fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default() }
    }

    /// Runs `f` on a snapshot. Blocks; call it where that is allowed.
    ///
    /// # Errors
    /// What `f` returned, or a fault.
    pub fn read<T>(&self, f: impl FnOnce(&super::Tx<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        let conn = self.take()?;
        let result = super::Tx::read(&conn, f);
        self.give_back(conn);
        result
    }

    /// [`Readers::read`] that ends early: at `deadline`, or as soon as `stop` is set. No snapshot is held longer, so that the
    /// write-ahead log can be emptied (SQLite, Write-Ahead Logging §6).
    ///
    /// # Errors
    /// What `f` returned; a refusal `unavailable` when it was ended.
    pub fn read_until<T>(
        &self,
        deadline: Instant,
        stop: Arc<AtomicBool>,
        f: impl FnOnce(&super::Tx<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut conn = self.take()?;
        let ended = move || stop.load(Ordering::Relaxed) || Instant::now() >= deadline;
        conn.progress_handler(STEPS, Some(ended)).map_err(StoreError::from)?;
        let result = super::Tx::read(&conn, f);
        conn.progress_handler(0, None::<fn() -> bool>).map_err(StoreError::from)?;
        self.give_back(conn);
        match result {
            Err(Failure::Fault(StoreError::Sqlite(e)))
                if e.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) =>
            {
                Err(refuse(ProblemCode::Unavailable, "this took too long: ask for less at once, by days for example"))
            }
            other => other,
        }
    }

    fn take(&self) -> Result<Connection, StoreError> {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        idle.map_or_else(|| self.connect(), Ok)
    }

    fn give_back(&self, conn: Connection) {
        if let Ok(mut idle) = self.idle.lock()
            && idle.len() < 16
            && conn.is_autocommit()
        {
            idle.push(conn);
        }
    }

    fn connect(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&self.path, flags)?;
        conn.busy_timeout(Duration::from_secs(10))?;
        plan_once(&conn)?;
        conn.set_prepared_statement_cache_capacity(128);
        conn.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cache_size = -8192;",
        )?;
        Ok(conn)
    }
}
