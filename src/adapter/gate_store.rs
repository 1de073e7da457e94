//! What a gate remembers: its keys, the passes it took in, and those that it must not take. One SQLite file, which several
//! processes may use at once.

use crate::adapter::sqlite::{Durability, Schema, io_error, make_folder, open, storage_error};
use crate::error::WalkpayError;
use crate::id::PassId;
use crate::protocol::message::SpentPass;
use crate::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::path::Path;
use std::time::Duration;

/// The name of the file in a gate's folder.
pub const GATE_FILE: &str = "gate.sqlite";

/// How long a pass is remembered after its time is over.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How much longer one is remembered that the merchant has not heard of.
const KEPT_UNSENT: Duration = Duration::from_secs(90 * 24 * 3600);

const WHAT: &str = "the gate's memory";

const SCHEMA: Schema = Schema {
    what: WHAT,
    application_id: 0x776b_6731, // "wkg1"
    migrations: &["
        CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE spent (
            jti TEXT PRIMARY KEY, spent_at INTEGER NOT NULL, keep_until INTEGER NOT NULL, sent INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX spent_unsent ON spent (spent_at) WHERE sent = 0;
        CREATE TABLE revoked (jti TEXT PRIMARY KEY, keep_until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    "],
    alone: false,
};

/// What came of spending a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spend {
    /// Taken in, for the first time.
    Taken,
    /// It had been taken in before, at this time, here or by another gate of the group.
    AlreadySpent(Timestamp),
    /// The merchant revoked it.
    Revoked,
    /// Its time is over so long that it may have been forgotten: the gate's clock was set back.
    Forgotten,
}

/// A cursor of the merchant's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Passes that other gates took in.
    Spent,
    /// Passes that must not be taken.
    Revoked,
}

impl Cursor {
    fn name(self) -> &'static str {
        match self {
            Self::Spent => "cursor_spent",
            Self::Revoked => "cursor_revoked",
        }
    }
}

/// The open memory of a gate.
pub struct GateStore {
    db: Connection,
}

impl GateStore {
    /// Opens or makes the memory in `folder`, which is made if it does not exist.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub fn open(folder: &Path, durability: Durability) -> Result<Self, WalkpayError> {
        make_folder(folder).map_err(|e| io_error("the gate's folder", &e))?;
        Ok(Self { db: open(&folder.join(GATE_FILE), &SCHEMA, durability)? })
    }

    /// A setting, if it was ever put.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub fn setting(&self, name: &str) -> Result<Option<String>, WalkpayError> {
        setting(&self.db, name).map_err(fail)
    }

    /// Puts settings, all or none.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub fn put_settings(&mut self, settings: &[(&str, &str)]) -> Result<(), WalkpayError> {
        self.write(|tx| settings.iter().try_for_each(|(name, value)| put(tx, name, value)))
    }

    /// Spends a pass: once it says [`Spend::Taken`], it never does again for the same pass, also after a crash.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`]: the pass was not spent, and the gate must stay closed.
    pub fn spend(&mut self, jti: &PassId, exp: Timestamp, now: Timestamp) -> Result<Spend, WalkpayError> {
        let jti = jti.to_string();
        let keep_until = exp.plus(KEPT);
        self.write(|tx| {
            let forgotten: i64 = setting(tx, "forgotten")?.and_then(|t| t.parse().ok()).unwrap_or(0);
            if keep_until.as_millis() <= forgotten {
                return Ok(Spend::Forgotten);
            }
            let revoked = "SELECT 1 FROM revoked WHERE jti = ?1";
            if tx.query_row(revoked, [&jti], |_| Ok(())).optional()?.is_some() {
                return Ok(Spend::Revoked);
            }
            let spent = "SELECT spent_at FROM spent WHERE jti = ?1";
            if let Some(at) = tx.query_row(spent, [&jti], |r| r.get(0)).optional()? {
                return Ok(Spend::AlreadySpent(Timestamp::from_millis(at)));
            }
            tx.execute(
                "INSERT INTO spent (jti, spent_at, keep_until, sent) VALUES (?1, ?2, ?3, 0)",
                params![jti, now.as_millis(), keep_until.as_millis()],
            )?;
            Ok(Spend::Taken)
        })
    }

    /// Passes taken in here that the merchant has not heard of, oldest first.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub fn unsent(&self, limit: u32) -> Result<Vec<SpentPass>, WalkpayError> {
        let ask = || {
            let mut statement =
                self.db.prepare_cached("SELECT jti, spent_at FROM spent WHERE sent = 0 ORDER BY spent_at LIMIT ?1")?;
            let rows = statement.query_map([limit], |r| Ok((r.get::<_, String>(0)?, r.get::<_, i64>(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let row = |(jti, at): (String, i64)| {
            Ok(SpentPass { jti: PassId::parse(&jti)?, spent_at: Timestamp::from_millis(at) })
        };
        ask().map_err(fail)?.into_iter().map(row).collect()
    }

    /// The merchant has heard of these.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub fn mark_sent(&mut self, passes: &[SpentPass]) -> Result<(), WalkpayError> {
        self.write(|tx| {
            let mut statement = tx.prepare_cached("UPDATE spent SET sent = 1 WHERE jti = ?1")?;
            passes.iter().try_for_each(|pass| statement.execute([pass.jti.to_string()]).map(drop))
        })
    }

    /// Where a list of the merchant goes on.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub fn cursor(&self, list: Cursor) -> Result<u64, WalkpayError> {
        Ok(self.setting(list.name())?.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Takes in a page of passes that gates of the group took in; returns how many are new here.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub fn learn_spent(&mut self, passes: &[SpentPass], cursor: u64, now: Timestamp) -> Result<u64, WalkpayError> {
        let keep_until = now.plus(KEPT).as_millis();
        self.write(|tx| {
            let mut statement = tx.prepare_cached(
                "INSERT INTO spent (jti, spent_at, keep_until, sent) VALUES (?1, ?2, ?3, 1) ON CONFLICT (jti) DO NOTHING",
            )?;
            let mut new = 0;
            for pass in passes {
                new += statement.execute(params![pass.jti.to_string(), pass.spent_at.as_millis(), keep_until])? as u64;
            }
            put(tx, Cursor::Spent.name(), &cursor.to_string())?;
            Ok(new)
        })
    }

    /// Takes in a page of revocations; `cursor` is absent when they did not come from the merchant's list.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub fn learn_revoked(
        &mut self,
        passes: &[PassId],
        cursor: Option<u64>,
        now: Timestamp,
    ) -> Result<(), WalkpayError> {
        let keep_until = now.plus(KEPT).as_millis();
        self.write(|tx| {
            let mut statement = tx.prepare_cached(
                "INSERT INTO revoked (jti, keep_until) VALUES (?1, ?2)
                 ON CONFLICT (jti) DO UPDATE SET keep_until = max(keep_until, excluded.keep_until)",
            )?;
            for pass in passes {
                statement.execute(params![pass.to_string(), keep_until])?;
            }
            match cursor {
                Some(cursor) => put(tx, Cursor::Revoked.name(), &cursor.to_string()),
                None => Ok(()),
            }
        })
    }

    /// Forgets passes whose time has been over for a day, and after three months also those that the merchant has not heard of: a gate
    /// without one must not fill its disk. No pass that was forgotten opens again, and none is taken for forgotten because the clock
    /// was once ahead.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub fn forget(&mut self, now: Timestamp) -> Result<(), WalkpayError> {
        const OVER: &str = "keep_until <= ?1 AND (sent = 1 OR keep_until <= ?2)";
        let (over, over_unsent) = (now.as_millis(), now.minus(KEPT_UNSENT).as_millis());
        let bounds = params![over, over_unsent];
        self.write(|tx| {
            let newest = format!(
                "SELECT max(ifnull((SELECT max(keep_until) FROM spent WHERE {OVER}), 0), \
                 ifnull((SELECT max(keep_until) FROM revoked WHERE keep_until <= ?1), 0))"
            );
            let newest: i64 = tx.query_row(&newest, bounds, |r| r.get(0))?;
            if newest == 0 {
                return Ok(());
            }
            tx.execute(&format!("DELETE FROM spent WHERE {OVER}"), bounds)?;
            tx.execute("DELETE FROM revoked WHERE keep_until <= ?1", [over])?;
            let before: i64 = setting(tx, "forgotten")?.and_then(|t| t.parse().ok()).unwrap_or(0);
            put(tx, "forgotten", &before.max(newest).to_string())
        })
    }

    fn write<T>(&mut self, change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, WalkpayError> {
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        let done = change(&tx).map_err(fail)?;
        tx.commit().map_err(fail)?;
        Ok(done)
    }
}

fn setting(db: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    db.prepare_cached("SELECT value FROM meta WHERE name = ?1")?.query_row([name], |r| r.get(0)).optional()
}

fn put(tx: &Transaction<'_>, name: &str, value: &str) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value")?
        .execute([name, value])
        .map(drop)
}

fn fail(e: rusqlite::Error) -> WalkpayError {
    storage_error(WHAT, &e)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_767_225_600_000 + seconds * 1000)
    }

    fn pass(n: u8) -> PassId {
        PassId::new(at(0), [n; 10])
    }

    fn store(folder: &tempfile::TempDir) -> GateStore {
        GateStore::open(folder.path(), Durability::Full).unwrap()
    }

    #[test]
    fn a_pass_is_taken_once_also_after_a_restart_and_by_two_processes() {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, mut two) = (store(&folder), store(&folder));
        assert_eq!(one.spend(&pass(1), at(1800), at(5)).unwrap(), Spend::Taken);
        assert_eq!(one.spend(&pass(1), at(1800), at(6)).unwrap(), Spend::AlreadySpent(at(5)));
        assert_eq!(two.spend(&pass(1), at(1800), at(6)).unwrap(), Spend::AlreadySpent(at(5)));
        drop((one, two));
        assert_eq!(store(&folder).spend(&pass(1), at(1800), at(7)).unwrap(), Spend::AlreadySpent(at(5)));
    }

    #[test]
    fn revocations_and_other_gates_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder);
        store.learn_revoked(&[pass(1)], Some(9), at(0)).unwrap();
        let elsewhere = SpentPass { jti: pass(2), spent_at: at(3) };
        assert_eq!(store.learn_spent(&[elsewhere], 4, at(10)).unwrap(), 1);
        assert_eq!(store.cursor(Cursor::Revoked).unwrap(), 9);
        assert_eq!(store.cursor(Cursor::Spent).unwrap(), 4);
        assert_eq!(store.spend(&pass(1), at(1800), at(11)).unwrap(), Spend::Revoked);
        assert_eq!(store.spend(&pass(2), at(1800), at(11)).unwrap(), Spend::AlreadySpent(at(3)));
        assert!(store.unsent(10).unwrap().is_empty());
    }

    #[test]
    fn what_was_taken_in_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder);
        store.spend(&pass(1), at(1800), at(2)).unwrap();
        store.spend(&pass(2), at(1800), at(1)).unwrap();
        let unsent = store.unsent(10).unwrap();
        assert_eq!(unsent.iter().map(|p| p.jti).collect::<Vec<_>>(), [pass(2), pass(1)]);
        store.mark_sent(&unsent[..1]).unwrap();
        assert_eq!(store.unsent(10).unwrap(), &unsent[1..]);
    }

    #[test]
    fn forgetting_opens_nothing_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder);
        let day = 24 * 3600;
        store.spend(&pass(1), at(1800), at(0)).unwrap();
        store.spend(&pass(2), at(1800 + day), at(0)).unwrap();
        store.forget(at(1800 + day)).unwrap();
        assert_eq!(store.unsent(10).unwrap().len(), 2, "the merchant has not heard of them");
        store.mark_sent(&store.unsent(10).unwrap()).unwrap();
        store.forget(at(1800 + day)).unwrap();
        // The clock is set back to when the first pass was valid.
        assert_eq!(store.spend(&pass(1), at(1800), at(0)).unwrap(), Spend::Forgotten);
        assert_eq!(store.spend(&pass(2), at(1800 + day), at(0)).unwrap(), Spend::AlreadySpent(at(0)));
    }

    #[test]
    fn a_clock_that_was_once_ahead_closes_the_gate_to_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder);
        let year = 365 * 24 * 3600;
        store.spend(&pass(1), at(1800), at(0)).unwrap();
        store.mark_sent(&store.unsent(10).unwrap()).unwrap();
        store.forget(at(year)).unwrap();
        assert_eq!(store.spend(&pass(1), at(1800), at(10)).unwrap(), Spend::Forgotten);
        assert_eq!(store.spend(&pass(2), at(1860), at(60)).unwrap(), Spend::Taken);
    }

    #[test]
    fn what_no_merchant_hears_of_is_forgotten_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder);
        let day = 24 * 3600;
        store.spend(&pass(1), at(1800), at(0)).unwrap();
        store.forget(at(80 * day)).unwrap();
        assert_eq!(store.unsent(10).unwrap().len(), 1);
        store.forget(at(92 * day)).unwrap();
        assert!(store.unsent(10).unwrap().is_empty());
        assert_eq!(store.spend(&pass(1), at(1800), at(0)).unwrap(), Spend::Forgotten);
    }

    #[test]
    fn a_full_disk_leaves_the_pass_unspent() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder);
        store.db.pragma_update(None, "max_page_count", 8).unwrap();
        let mut taken = 0;
        let error = loop {
            let jti = PassId::new(at(taken), [3; 10]);
            match store.spend(&jti, at(1800), at(0)) {
                Ok(Spend::Taken) => taken += 1,
                Ok(other) => panic!("{other:?}"),
                Err(e) => break e,
            }
        };
        assert_eq!(error.code(), "storage.full");
        store.db.pragma_update(None, "max_page_count", 1000).unwrap();
        assert_eq!(store.spend(&PassId::new(at(taken), [3; 10]), at(1800), at(0)).unwrap(), Spend::Taken);
    }
}
