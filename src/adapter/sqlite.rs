//! How SQLite files are opened: numbered migrations, durability, and errors that say what to do.

use crate::error::{StorageProblem, WalkpayError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::fs;
#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// What a file must be.
pub struct Schema {
    /// For people: `the journal`, `the catalogue`.
    pub what: &'static str,
    /// SQLite's `application_id`, which tells the file from every other database.
    pub application_id: i32,
    /// Statement batches; `user_version` counts those that a file has seen. Only ever appended to.
    pub migrations: &'static [&'static str],
    /// Whether only one connection ever has it open: then its locks are taken once, and what the write-ahead log holds is known in memory.
    pub alone: bool,
}

/// When a commit is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before the call returns (`synchronous=FULL`; on Apple systems `F_FULLFSYNC` as well).
    Full,
    /// Whenever the system likes (`synchronous=OFF`): for benchmarks that measure everything but the disk.
    Off,
}

impl Durability {
    /// What `PRAGMA synchronous` answers.
    pub fn pragma(self) -> i64 {
        match self {
            Self::Full => 2,
            Self::Off => 0,
        }
    }
}

/// Makes a folder that only its owner may look into (0700), where there is none.
///
/// # Errors
/// Those of the file system.
pub fn make_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    builder.mode(0o700);
    builder.create(folder)
}

/// Makes a file that only its owner may read (0600), where there is none: in a folder that others may look into as well. SQLite's
/// other files get the rights of this one.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    match options.open(path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// Opens or makes the file, which only its owner may read, and brings its schema up to date.
///
/// # Errors
/// [`WalkpayError::Storage`]; a file of something else or of a newer version is left as it is.
pub fn open(path: &Path, schema: &Schema, durability: Durability) -> Result<Connection, WalkpayError> {
    let fail = |e: rusqlite::Error| storage_error(schema.what, &e);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    make_private(path).map_err(|e| io_error(schema.what, &e))?;
    let mut db = Connection::open_with_flags(path, flags).map_err(fail)?;
    db.busy_timeout(std::time::Duration::from_secs(10)).map_err(fail)?;
    // Statements keep their plan whatever is bound to them: otherwise SQLite compiles one with a `LIMIT ?` anew each time.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(fail)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true).map_err(fail)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(fail)?;
    if schema.alone {
        // Before the file is touched, so that no index of the write-ahead log is shared (https://sqlite.org/wal.html, section 8).
        db.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(fail)?;
    }
    let version = identify(&db, schema)?;
    db.pragma_update(None, "journal_mode", "WAL").map_err(fail)?;
    db.pragma_update(None, "synchronous", durability.pragma()).map_err(fail)?;
    if cfg!(target_vendor = "apple") && durability == Durability::Full {
        db.pragma_update(None, "fullfsync", true).map_err(fail)?;
        db.pragma_update(None, "checkpoint_fullfsync", true).map_err(fail)?;
    }
    // A WAL that grew in an import shrinks again at the next checkpoint.
    db.pragma_update(None, "journal_size_limit", 4 << 20).map_err(fail)?;
    if version < schema.migrations.len() {
        migrate(&mut db, schema).map_err(fail)?;
    }
    Ok(db)
}

/// The number of migrations that the file has seen, if it is ours.
fn identify(db: &Connection, schema: &Schema) -> Result<usize, WalkpayError> {
    let fail = |e: rusqlite::Error| storage_error(schema.what, &e);
    let id: i32 = db.pragma_query_value(None, "application_id", |r| r.get(0)).map_err(fail)?;
    let version: i64 = db.pragma_query_value(None, "user_version", |r| r.get(0)).map_err(fail)?;
    let tables = || db.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get::<_, i64>(0)).map_err(fail);
    let is_new = id == 0 && version == 0 && tables()? == 0;
    if !is_new && id != schema.application_id {
        return Err(storage(StorageProblem::Foreign, format!("{} is a database of something else", schema.what)));
    }
    match usize::try_from(version) {
        Ok(version) if version <= schema.migrations.len() => Ok(version),
        _ => {
            let newest = schema.migrations.len();
            let detail = format!("{} has version {version}, this library knows up to {newest}", schema.what);
            Err(storage(StorageProblem::TooNew, detail))
        }
    }
}

fn migrate(db: &mut Connection, schema: &Schema) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    // Read again under the lock: another connection may have been first.
    let version: i64 = tx.pragma_query_value(None, "user_version", |r| r.get(0))?;
    for batch in schema.migrations.iter().skip(usize::try_from(version).unwrap_or(0)) {
        tx.execute_batch(batch)?;
    }
    tx.pragma_update(None, "application_id", schema.application_id)?;
    tx.pragma_update(None, "user_version", schema.migrations.len() as i64)?;
    tx.commit()
}

/// A storage error from what SQLite says.
pub fn storage_error(what: &str, e: &rusqlite::Error) -> WalkpayError {
    let problem = match e.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StorageProblem::Full,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StorageProblem::ReadOnly,
        Some(ErrorCode::DatabaseCorrupt) => StorageProblem::Corrupt,
        Some(ErrorCode::NotADatabase) => StorageProblem::Foreign,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StorageProblem::InUse,
        Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) => StorageProblem::Unreadable,
        // A row that cannot be read back, or SQL that the schema does not fit.
        _ => StorageProblem::Corrupt,
    };
    storage(problem, format!("{what}: {e}"))
}

/// A storage error from what the file system says.
pub fn io_error(what: &str, e: &std::io::Error) -> WalkpayError {
    let problem = match e.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => StorageProblem::ReadOnly,
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StorageProblem::Full,
        _ => StorageProblem::Unreadable,
    };
    storage(problem, format!("{what}: {e}"))
}

pub fn storage(problem: StorageProblem, detail: String) -> WalkpayError {
    WalkpayError::Storage { problem, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Schema =
        Schema { what: "the test", application_id: 7, migrations: &["CREATE TABLE a(x) STRICT_OR_NOT"], alone: false };
    const ONE: Schema =
        Schema { what: "the test", application_id: 7, migrations: &["CREATE TABLE a(x)"], alone: false };
    const TWO: Schema = Schema {
        what: "the test",
        application_id: 7,
        migrations: &["CREATE TABLE a(x)", "ALTER TABLE a ADD COLUMN y DEFAULT 5"],
        alone: false,
    };

    fn problem(result: Result<Connection, WalkpayError>) -> StorageProblem {
        match result {
            Err(WalkpayError::Storage { problem, .. }) => problem,
            other => panic!("expected a storage error, got {other:?}"),
        }
    }

    #[test]
    fn migrates_from_the_first_version_and_keeps_the_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        open(&path, &ONE, Durability::Full).unwrap().execute("INSERT INTO a VALUES (1)", []).unwrap();
        let db = open(&path, &TWO, Durability::Full).unwrap();
        assert_eq!(db.query_row("SELECT y FROM a WHERE x = 1", [], |r| r.get::<_, i64>(0)).unwrap(), 5);
        drop(db);
        assert_eq!(problem(open(&path, &ONE, Durability::Full)), StorageProblem::TooNew);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_what_is_kept() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let rights = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = dir.path().join("a/b");
        make_folder(&folder).unwrap();
        make_folder(&folder).unwrap();
        assert_eq!(rights(&folder), 0o700);
        // Also in a folder of the host's that others may look into.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let db = open(&folder.join("x"), &ONE, Durability::Full).unwrap();
        db.execute("INSERT INTO a VALUES (1)", []).unwrap();
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
        assert!(files.len() >= 2, "{files:?}");
        files.iter().for_each(|file| assert_eq!(rights(file), 0o600, "{file:?}"));
    }

    #[test]
    fn a_failed_migration_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        assert_eq!(problem(open(&path, &FIRST, Durability::Full)), StorageProblem::Corrupt);
        open(&path, &ONE, Durability::Full).unwrap();
    }

    #[test]
    fn every_connection_has_the_durability_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        for durability in [Durability::Full, Durability::Off] {
            let db = open(&dir.path().join("x"), &ONE, durability).unwrap();
            let ask = |name: &str| db.pragma_query_value(None, name, |r| r.get::<_, i64>(0)).unwrap();
            assert_eq!(ask("synchronous"), durability.pragma());
            let mode: String = db.pragma_query_value(None, "journal_mode", |r| r.get(0)).unwrap();
            assert_eq!(mode, "wal");
        }
    }

    #[test]
    fn refuses_what_is_not_its_own_and_leaves_it_alone() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("text");
        std::fs::write(&text, "hello, this is no database at all; ".repeat(100)).unwrap();
        assert_eq!(problem(open(&text, &ONE, Durability::Full)), StorageProblem::Foreign);
        assert!(std::fs::read_to_string(&text).unwrap().starts_with("hello"));

        let other = dir.path().join("other");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE theirs(x)").unwrap();
        let before = std::fs::read(&other).unwrap();
        assert_eq!(problem(open(&other, &ONE, Durability::Full)), StorageProblem::Foreign);
        assert_eq!(std::fs::read(&other).unwrap(), before);
    }

    #[test]
    fn a_truncated_file_is_corrupt() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let db = open(&path, &ONE, Durability::Full).unwrap();
        db.execute_batch("INSERT INTO a SELECT value FROM (WITH RECURSIVE s(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s LIMIT 5000) SELECT value FROM s)").unwrap();
        drop(db);
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let whole = file.metadata().unwrap().len();
        for length in [whole / 2, 5000, 100] {
            file.set_len(length).unwrap();
            let result = open(&path, &ONE, Durability::Full);
            assert!(
                matches!(problem(result), StorageProblem::Corrupt | StorageProblem::Foreign),
                "{length} of {whole} bytes"
            );
        }
    }

    #[test]
    fn a_missing_folder_is_unreadable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing").join("x");
        assert_eq!(problem(open(&path, &ONE, Durability::Full)), StorageProblem::Unreadable);
    }
}
