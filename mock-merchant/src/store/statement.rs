//! What the bank's statement shows, and money that nothing explains.

use super::read::{count, counted, money, subject, words};
use super::{StoreError, Tx};
use crate::bank::port::{StatementEntry, Subject};
use rusqlite::Row;
use walkpay::{Money, Timestamp};

words! {
    /// What is known of an entry.
    EntryState {
        /// Its call has no definite answer yet.
        Waiting = "waiting",
        /// A call explains it.
        Explained = "explained",
        /// None does.
        Suspense = "suspense",
    }
}

words! {
    /// What becomes of unexplained money.
    SuspenseState {
        /// Not decided.
        Open = "open",
        /// It paid what was due.
        Applied = "applied",
        /// It is on its way back.
        Refunding = "refunding",
        /// It went back.
        Refunded = "refunded",
    }
}

/// Keeps an entry; `false` if it was there.
pub fn add(tx: &Tx<'_>, entry: &StatementEntry, state: EntryState) -> Result<bool, StoreError> {
    let changed = tx.execute(
        "INSERT OR IGNORE INTO statement_entries (seq, merchant, reference, subject, currency, minor, booked_at, state)
         VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            counted(entry.seq),
            &entry.reference,
            entry.subject.as_bytes(),
            entry.amount.currency.code(),
            entry.amount.minor,
            entry.booked_at.as_millis(),
            state,
        ),
    )?;
    Ok(changed == 1)
}

/// The entries under a reference that wait for its call: number and amount.
pub fn waiting(tx: &Tx<'_>, reference: &str) -> Result<Vec<(u64, Money)>, StoreError> {
    let sql =
        "SELECT seq, currency, minor FROM statement_entries WHERE reference = ?1 AND state = 'waiting' ORDER BY seq";
    tx.all(sql, [reference], |r| Ok((count(r, 0)?, money(r, 1)?)))
}

/// Sets what is known of an entry.
pub fn set(tx: &Tx<'_>, seq: u64, state: EntryState) -> Result<(), StoreError> {
    tx.execute("UPDATE statement_entries SET state = ?2 WHERE seq = ?1", (counted(seq), state))?;
    Ok(())
}

/// Unexplained money.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspense {
    /// Row.
    pub suspense: i64,
    /// What it is about.
    pub subject: Subject,
    /// The bank's reference of what came.
    pub reference: String,
    /// How much.
    pub amount: Money,
    /// What becomes of it.
    pub state: SuspenseState,
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT suspense, subject, reference, currency, minor, state FROM suspense ", $rest)
    };
}

fn read(r: &Row<'_>) -> rusqlite::Result<Suspense> {
    Ok(Suspense {
        suspense: r.get(0)?,
        subject: subject(r, 1)?,
        reference: r.get(2)?,
        amount: money(r, 3)?,
        state: r.get(5)?,
    })
}

/// Adds unexplained money; `false` if what came under this reference is there already.
pub fn add_suspense(
    tx: &Tx<'_>,
    subject: &Subject,
    reference: &str,
    amount: Money,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let changed = tx.execute(
        "INSERT INTO suspense (merchant, subject, reference, currency, minor, state, found_at)
         VALUES (1, ?1, ?2, ?3, ?4, 'open', ?5) ON CONFLICT (reference) DO NOTHING",
        (subject.as_bytes(), reference, amount.currency.code(), amount.minor, at.as_millis()),
    )?;
    Ok(changed == 1)
}

/// Unexplained money about something that nothing has been decided about.
pub fn open_suspense(tx: &Tx<'_>, subject: &Subject) -> Result<Vec<Suspense>, StoreError> {
    tx.all(select!("WHERE subject = ?1 AND state = 'open' ORDER BY suspense"), [subject.as_bytes()], read)
}

/// How many amounts about something were sent back already.
pub fn refunds(tx: &Tx<'_>, subject: &Subject) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM suspense WHERE subject = ?1 AND state IN ('refunding', 'refunded')";
    Ok(tx.first(sql, [subject.as_bytes()], |r| count(r, 0))?.unwrap_or(0))
}

/// What came under a reference.
pub fn suspense(tx: &Tx<'_>, reference: &str) -> Result<Option<Suspense>, StoreError> {
    tx.first(select!("WHERE reference = ?1"), [reference], read)
}

/// Sets what becomes of unexplained money.
pub fn set_suspense(tx: &Tx<'_>, suspense: i64, state: SuspenseState) -> Result<(), StoreError> {
    tx.execute("UPDATE suspense SET state = ?2 WHERE suspense = ?1", (suspense, state))?;
    Ok(())
}

/// Keeps what is left of unexplained money: nothing has been decided about it.
pub fn keep_in_suspense(tx: &Tx<'_>, suspense: i64, rest: i64) -> Result<(), StoreError> {
    tx.execute("UPDATE suspense SET state = 'open', minor = ?2 WHERE suspense = ?1", (suspense, rest))?;
    Ok(())
}
