//! The journal of a terminal: one SQLite file, appended to before anything is answered.
//!
//! It holds rows and knows nothing of their meaning: the state of the terminal is the fold of what is appended here.
//! The lock file beside it keeps a second process, or a second terminal in this one, from opening the same folder; the
//! system frees it when the process dies.

use crate::adapter::journal_log::Log;
use crate::adapter::keys::Sealed;
use crate::adapter::random::random;
use crate::adapter::sqlite::{Durability, Schema, io_error, make_folder, open, storage, storage_error};
use crate::error::{StorageProblem, WalkpayError};
use crate::id::{DeviceId, KeyId};
use crate::protocol::crypto::base64url;
use fs4::{FileExt, TryLockError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use std::fs::File;
use std::path::Path;

/// The name of the journal in a terminal's folder.
pub const JOURNAL_FILE: &str = "journal.sqlite";
/// The name of the lock file in a terminal's folder.
pub const LOCK_FILE: &str = "walkpay.lock";

const WHAT: &str = "the journal";

const SCHEMA: Schema = Schema {
    what: WHAT,
    application_id: 0x776b_6a31, // "wkj1"
    migrations: &["
        CREATE TABLE event (seq INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
        CREATE TABLE sealed_key (
            device BLOB NOT NULL, kid TEXT NOT NULL, purpose TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (device, kid)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    "],
    // The lock file keeps everybody else out.
    alone: true,
};

/// A sealed key and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// Whose.
    pub device: DeviceId,
    /// Its thumbprint.
    pub kid: KeyId,
    /// What it was sealed for: `request` or `consent`.
    pub purpose: String,
    /// The sealed secret.
    pub sealed: Sealed,
}

/// The open journal of a folder.
pub struct Journal {
    db: Connection,
    /// Dropped after the connection, and before the folder is free.
    log: Log,
    folder_id: String,
    buffer: Vec<u8>,
    /// Whether a key was deleted: then nothing of the log may stay.
    wiped: bool,
    _lock: File,
}

impl Journal {
    /// Opens or makes the journal in `folder`, which is made if it does not exist.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`]: see [`StorageProblem`].
    pub fn open(folder: &Path, durability: Durability) -> Result<Self, WalkpayError> {
        make_folder(folder).map_err(|e| io_error("the terminal's folder", &e))?;
        let lock = lock(folder)?;
        let db = open(&folder.join(JOURNAL_FILE), &SCHEMA, durability)?;
        // What a key was sealed as must not be readable in free pages.
        db.pragma_update(None, "secure_delete", true).map_err(fail)?;
        let folder_id = folder_id(&db)?;
        let log = Log::of(&folder.join(JOURNAL_FILE), durability);
        Ok(Self { db, log, folder_id, buffer: Vec::with_capacity(1024), wiped: false, _lock: lock })
    }

    /// A random name of this folder: under it a vault keeps the key that seals.
    pub fn folder_id(&self) -> &str {
        &self.folder_id
    }

    /// Appends events in order in one transaction. When this returns they are as durable as was asked for at
    /// [`Journal::open`]; after an error none of them is there.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub fn append<E: Serialize>(&mut self, events: &[E]) -> Result<(), WalkpayError> {
        if let [event] = events {
            // A statement of its own is a transaction of its own.
            insert(&self.db, &mut self.buffer, event)?;
            self.log.committed();
            return Ok(());
        }
        self.append_with_keys(events, &[])
    }

    /// Appends events and keeps the keys that they speak of, in one transaction; errors as [`Journal::append`].
    pub fn append_with_keys<E: Serialize>(&mut self, events: &[E], keys: &[StoredKey]) -> Result<(), WalkpayError> {
        let tx = self.db.transaction().map_err(fail)?;
        for event in events {
            insert(&tx, &mut self.buffer, event)?;
        }
        for key in keys {
            let values = params![key.device.as_bytes(), key.kid.as_str(), key.purpose, key.sealed.as_bytes()];
            tx.execute(
                "INSERT OR REPLACE INTO sealed_key (device, kid, purpose, body) VALUES (?1, ?2, ?3, ?4)",
                values,
            )
            .map_err(fail)?;
        }
        tx.commit().map_err(fail)?;
        self.log.committed();
        Ok(())
    }

    /// Hands the JSON of all events to `each` in the order in which they were appended.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`], and what `each` returns.
    pub fn load(&self, mut each: impl FnMut(&[u8]) -> Result<(), WalkpayError>) -> Result<(), WalkpayError> {
        let mut statement = self.db.prepare("SELECT body FROM event ORDER BY seq").map_err(fail)?;
        let mut rows = statement.query([]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            each(row.get_ref(0).and_then(|v| v.as_bytes().map_err(Into::into)).map_err(fail)?)?;
        }
        Ok(())
    }

    /// Replaces all events by `events`, whose fold must be the same state, in one transaction.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`]; the old ones are then still there.
    pub fn rewrite<E: Serialize>(&mut self, events: &[E]) -> Result<(), WalkpayError> {
        let tx = self.db.transaction().map_err(fail)?;
        tx.execute("DELETE FROM event", []).map_err(fail)?;
        for event in events {
            insert(&tx, &mut self.buffer, event)?;
        }
        tx.commit().map_err(fail)
    }

    /// All keys.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub fn keys(&self) -> Result<Vec<StoredKey>, WalkpayError> {
        let mut statement = self.db.prepare("SELECT device, kid, purpose, body FROM sealed_key").map_err(fail)?;
        let rows = statement
            .query_map([], |r| {
                let device: [u8; 16] = r.get(0)?;
                Ok((device, r.get::<_, String>(1)?, r.get(2)?, r.get(3)?))
            })
            .map_err(fail)?;
        rows.map(|row| {
            let (device, kid, purpose, body) = row.map_err(fail)?;
            let corrupt = |e: WalkpayError| storage(StorageProblem::Corrupt, format!("a stored key: {e}"));
            let device = DeviceId::parse(&uuid::Uuid::from_bytes(device).to_string()).map_err(corrupt)?;
            let kid = KeyId::parse(&kid).map_err(corrupt)?;
            Ok(StoredKey { device, kid, purpose, sealed: Sealed::from_bytes(body) })
        })
        .collect()
    }

    /// Forgets a key.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub fn delete_key(&mut self, device: &DeviceId, kid: &KeyId) -> Result<(), WalkpayError> {
        self.wiped = true;
        self.db
            .execute("DELETE FROM sealed_key WHERE device = ?1 AND kid = ?2", params![device.as_bytes(), kid.as_str()])
            .map(drop)
            .map_err(fail)
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.db
    }
}

/// A log with little in it stays as it is, a longer one is moved into the journal's file; the next commits overwrite it. Where nothing of
/// it may stay, SQLite moves and removes it.
impl Drop for Journal {
    fn drop(&mut self) {
        let is_long = self.log.is_long();
        if self.wiped || (is_long && !self.move_log().unwrap_or(false)) {
            return;
        }
        let stays = self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap_or(false);
        self.log.is_spent = is_long && stays;
    }
}

impl Journal {
    /// Whether everything in the log is in the journal's file now.
    fn move_log(&self) -> rusqlite::Result<bool> {
        self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |r| {
            let (busy, pages, moved): (i64, i64, i64) = (r.get(0)?, r.get(1)?, r.get(2)?);
            Ok(busy == 0 && pages == moved)
        })
    }
}

fn insert<E: Serialize>(db: &Connection, buffer: &mut Vec<u8>, event: &E) -> Result<(), WalkpayError> {
    let internal = |detail: String| WalkpayError::Internal { detail };
    buffer.clear();
    serde_json::to_writer(&mut *buffer, event).map_err(|e| internal(format!("writing an event: {e}")))?;
    let body = std::str::from_utf8(buffer).map_err(|e| internal(format!("writing an event: {e}")))?;
    db.prepare_cached("INSERT INTO event (body) VALUES (?1)")
        .and_then(|mut s| s.execute([body]))
        .map(drop)
        .map_err(fail)
}

fn lock(folder: &Path) -> Result<File, WalkpayError> {
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(folder.join(LOCK_FILE))
        .map_err(|e| io_error("the lock file", &e))?;
    match FileExt::try_lock(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(storage(StorageProblem::InUse, "another terminal has this folder open".into()))
        }
        Err(TryLockError::Error(e)) => Err(io_error("the lock file", &e)),
    }
}

fn folder_id(db: &Connection) -> Result<String, WalkpayError> {
    let ask = || db.query_row("SELECT value FROM meta WHERE name = 'folder_id'", [], |r| r.get(0)).optional();
    if let Some(id) = ask().map_err(fail)? {
        return Ok(id);
    }
    let id = base64url(&random::<15>()?);
    db.execute("INSERT INTO meta (name, value) VALUES ('folder_id', ?1)", [&id]).map_err(fail)?;
    Ok(id)
}

fn fail(e: rusqlite::Error) -> WalkpayError {
    storage_error(WHAT, &e)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use std::os::unix::fs::PermissionsExt;
    #[cfg(unix)]
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    fn events(journal: &Journal) -> Vec<String> {
        let mut all = Vec::new();
        journal
            .load(|json| {
                all.push(serde_json::from_slice(json).unwrap());
                Ok(())
            })
            .unwrap();
        all
    }

    fn problem<T>(result: Result<T, WalkpayError>) -> StorageProblem {
        match result {
            Err(WalkpayError::Storage { problem, .. }) => problem,
            Err(other) => panic!("expected a storage error, got {other:?}"),
            Ok(_) => panic!("expected a storage error"),
        }
    }

    #[test]
    fn keeps_events_in_order_over_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), Durability::Full).unwrap();
        let id = journal.folder_id().to_owned();
        journal.append(&["a"]).unwrap();
        journal.append(&["b", "c"]).unwrap();
        journal.append::<String>(&[]).unwrap();
        drop(journal);
        let journal = Journal::open(dir.path(), Durability::Full).unwrap();
        assert_eq!(events(&journal), ["a", "b", "c"]);
        assert_eq!(journal.folder_id(), id);
    }

    #[test]
    fn is_durable_on_every_connection() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), Durability::Full).unwrap();
        let level: i64 = journal.connection().pragma_query_value(None, "synchronous", |r| r.get(0)).unwrap();
        assert_eq!(level, 2);
    }

    #[test]
    fn a_second_terminal_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = Journal::open(dir.path(), Durability::Full).unwrap();
        assert_eq!(problem(Journal::open(dir.path(), Durability::Full)), StorageProblem::InUse);
        drop(first);
        Journal::open(dir.path(), Durability::Full).unwrap();
    }

    #[test]
    fn a_second_process_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Journal::open(dir.path(), Durability::Full).unwrap();
        let status = child("in_use_child", dir.path()).status().unwrap();
        assert!(status.success(), "the child process must see the folder in use: {status}");
    }

    /// What the child of [`a_second_process_is_refused`] runs; a test of its own without the variable.
    #[test]
    fn in_use_child() {
        match std::env::var_os("WALKPAY_TEST_FOLDER") {
            Some(folder) => {
                assert_eq!(problem(Journal::open(Path::new(&folder), Durability::Full)), StorageProblem::InUse);
            }
            None => {
                let dir = tempfile::tempdir().unwrap();
                Journal::open(dir.path(), Durability::Full).unwrap();
            }
        }
    }

    fn child(test: &str, folder: &Path) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("adapter::journal::tests::{test}")]).env("WALKPAY_TEST_FOLDER", folder);
        command.stdout(std::process::Stdio::null());
        command
    }

    #[test]
    fn a_full_disk_is_said_and_nothing_is_lost_or_half_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), Durability::Full).unwrap();
        journal.append(&["before"]).unwrap();
        let pages: i64 = journal.connection().pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
        journal.connection().pragma_update(None, "max_page_count", pages + 2).unwrap();
        let big = "x".repeat(1500);
        let full = (0..100).find_map(|_| journal.append(&["small", &big, &big, &big, &big]).err());
        assert_eq!(problem(Err::<(), _>(full.unwrap())), StorageProblem::Full);
        let kept = events(&journal);
        assert_eq!(kept.iter().filter(|e| *e == "small").count() * 4, kept.iter().filter(|e| **e == big).count());
        journal.connection().pragma_update(None, "max_page_count", 1_000_000).unwrap();
        journal.append(&["after"]).unwrap();
        assert_eq!(events(&journal).last().unwrap(), "after");
    }

    #[test]
    fn a_rewrite_replaces_everything_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), Durability::Full).unwrap();
        journal.append(&["a", "b"]).unwrap();
        journal.rewrite(&["ab"]).unwrap();
        journal.append(&["c"]).unwrap();
        assert_eq!(events(&journal), ["ab", "c"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_cannot_be_written_is_read_only() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
        let status = if std::fs::write(dir.path().join("probe"), "").is_ok() {
            // Permissions do not bind this user: ask one whom they bind.
            child("read_only_child", dir.path()).uid(65534).gid(65534).status().unwrap()
        } else {
            child("read_only_child", dir.path()).status().unwrap()
        };
        assert!(status.success(), "the child process must see a read-only folder: {status}");
    }

    /// What the child of [`a_folder_that_cannot_be_written_is_read_only`] runs; without the variable, a file in the
    /// folder's place.
    #[test]
    fn read_only_child() {
        match std::env::var_os("WALKPAY_TEST_FOLDER") {
            Some(folder) => {
                assert_eq!(problem(Journal::open(Path::new(&folder), Durability::Full)), StorageProblem::ReadOnly);
            }
            None => {
                let file = tempfile::NamedTempFile::new().unwrap();
                assert_eq!(problem(Journal::open(file.path(), Durability::Full)), StorageProblem::Unreadable);
            }
        }
    }

    #[test]
    fn keys_are_kept_with_the_events_that_speak_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), Durability::Full).unwrap();
        let key = |kid: &str| StoredKey {
            device: DeviceId::new(crate::Timestamp::from_millis(1_700_000_000_000), [1; 10]),
            kid: KeyId::parse(kid).unwrap(),
            purpose: "consent".into(),
            sealed: Sealed::from_bytes(vec![1, 2]),
        };
        journal.append_with_keys(&["made"], &[key("a"), key("b")]).unwrap();
        assert_eq!(events(&journal), ["made"]);
        assert_eq!(journal.keys().unwrap(), [key("a"), key("b")]);
        journal.delete_key(&key("a").device, &key("a").kid).unwrap();
        assert_eq!(journal.keys().unwrap(), [key("b")]);
    }
}
