//! A transaction, as rules and typed functions see it.

use super::StoreError;
use super::events::{self, Event};
use super::later::{Make, Makers};
use crate::failure::Failure;
use rusqlite::{Connection, OptionalExtension, Params, Row};
use std::cell::{Cell, RefCell};
use walkpay::DeviceId;

/// An open transaction (or a reader's snapshot), with the events that are to be written at its end.
pub struct Tx<'c> {
    conn: &'c Connection,
    makers: Option<&'c Makers>,
    events: RefCell<Vec<Event>>,
    work: Cell<bool>,
}

impl<'c> Tx<'c> {
    /// One whose events are made by whoever ends it.
    pub(super) fn new(conn: &'c Connection) -> Self {
        Self { conn, makers: None, events: RefCell::default(), work: Cell::default() }
    }

    /// One whose events are made beside it.
    pub(super) fn with(conn: &'c Connection, makers: &'c Makers) -> Self {
        Self { makers: Some(makers), ..Self::new(conn) }
    }

    /// Runs `f` in a transaction of its own on `conn` and commits it: for programs with one thread, such as simulations
    /// and the command line. A refusal commits its records; a fault rolls back.
    ///
    /// # Errors
    /// What `f` returned, or a fault when the commit failed.
    pub fn run<T>(conn: &Connection, f: impl FnOnce(&Tx<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        once(conn, "BEGIN IMMEDIATE")?;
        let tx = Tx::new(conn);
        let mut result = f(&tx);
        if !matches!(result, Err(Failure::Fault(_)))
            && let Err(e) = events::write(conn, tx.into_events())
        {
            result = Err(e.into());
        }
        let end = if matches!(result, Err(Failure::Fault(_))) { "ROLLBACK" } else { "COMMIT" };
        if conn.is_autocommit() {
            // SQLite has ended the transaction itself.
            return result.and(Err(StoreError::NotCommitted.into()));
        }
        if let Err(e) = once(conn, end) {
            if !conn.is_autocommit() {
                once(conn, "ROLLBACK")?;
            }
            return Err(e.into());
        }
        result
    }

    /// Runs `f` on a snapshot of `conn`; nothing can be written.
    ///
    /// # Errors
    /// What `f` returned, or a fault.
    pub fn read<T>(conn: &Connection, f: impl FnOnce(&Tx<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        once(conn, "BEGIN")?;
        let result = f(&Tx::new(conn));
        once(conn, "ROLLBACK")?;
        result
    }

    /// A number that changes when another connection has changed the database, and only then (`PRAGMA data_version`).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn data_version(&self) -> Result<i64, StoreError> {
        Ok(self.conn.query_row("PRAGMA data_version", [], |r| r.get(0))?)
    }

    /// Lets the database grow by at most `pages` more pages, as a disk does that is nearly full; `None` lifts the limit. It
    /// is of this connection, and ends with it (`PRAGMA max_page_count`).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn limit_pages(&self, pages: Option<u32>) -> Result<(), StoreError> {
        let present: u32 = self.conn.query_row("PRAGMA page_count", [], |r| r.get(0))?;
        let most = pages.map_or(u32::MAX - 1, |pages| present.saturating_add(pages));
        Ok(self.conn.query_row(&format!("PRAGMA max_page_count = {most}"), [], |_| Ok(()))?)
    }

    /// Has an event made and written at the end of the transaction; its number is used up already.
    pub(super) fn event(&self, device: i64, id: DeviceId, seq: u64, make: Make) {
        let none = Makers::none();
        let jws = self.makers.unwrap_or(&none).later(make);
        self.events.borrow_mut().push(Event { device, id, seq, jws });
    }

    /// Whether anything was written that a worker is to take up soon.
    pub fn has_work(&self) -> bool {
        self.work.get()
    }

    /// Notes that something was written that a worker is to take up soon.
    pub(super) fn note_work(&self) {
        self.work.set(true);
    }

    pub(super) fn into_events(self) -> Vec<Event> {
        self.events.into_inner()
    }

    pub(super) fn conn(&self) -> &'c Connection {
        self.conn
    }

    /// Executes a statement from the cache; how many rows changed.
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let changed = statement.execute(params)?;
        note_scan(&statement, sql);
        Ok(changed)
    }

    /// Inserts a row; its rowid.
    pub(super) fn insert(&self, sql: &str, params: impl Params) -> Result<i64, StoreError> {
        self.execute(sql, params)?;
        Ok(self.conn.last_insert_rowid())
    }

    /// The first row, if there is one.
    pub(super) fn first<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let row = statement.query_row(params, read).optional()?;
        note_scan(&statement, sql);
        Ok(row)
    }

    /// All rows.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map(params, read)?.collect::<Result<_, _>>()?;
        note_scan(&statement, sql);
        Ok(rows)
    }

    /// Rows one by one, until there are no more or `f` says `false`.
    pub(super) fn each(
        &self,
        sql: &str,
        params: impl Params,
        mut f: impl FnMut(&Row<'_>) -> rusqlite::Result<bool>,
    ) -> Result<(), StoreError> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        while let Some(row) = rows.next()? {
            if !f(row)? {
                break;
            }
        }
        drop(rows);
        note_scan(&statement, sql);
        Ok(())
    }
}

fn once(conn: &Connection, sql: &str) -> Result<(), StoreError> {
    conn.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// Tests see which statements went through a table row by row, or were compiled again although they are kept.
#[cfg(test)]
fn note_scan(statement: &rusqlite::CachedStatement<'_>, sql: &str) {
    use rusqlite::StatementStatus::{FullscanStep, RePrepare};
    if [FullscanStep, RePrepare].into_iter().any(|status| statement.reset_status(status) > 0) {
        SCANS.with_borrow_mut(|scans| scans.insert(sql.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
}

#[cfg(not(test))]
fn note_scan(_: &rusqlite::CachedStatement<'_>, _: &str) {}

#[cfg(test)]
thread_local! {
    /// The statements of this thread that scanned or were compiled again.
    pub(crate) static SCANS: RefCell<std::collections::BTreeSet<String>> = RefCell::default();
}
