//! What the bank's statement shows.

use super::read::{count, counted, money, words};
use super::{StoreError, Tx};
use crate::bank::port::StatementEntry;
use walkpay::{Currency, Money};

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

/// What the entries under a reference have taken and given back in one currency, but for those that wait and for one of them.
pub fn others(tx: &Tx<'_>, reference: &str, currency: Currency, seq: u64) -> Result<(i64, i64), StoreError> {
    let sql = "SELECT ifnull(sum(max(minor, 0)), 0), ifnull(sum(min(minor, 0)), 0) FROM statement_entries
               WHERE reference = ?1 AND currency = ?2 AND state <> 'waiting' AND seq <> ?3";
    Ok(tx.first(sql, (reference, currency.code(), counted(seq)), |r| Ok((r.get(0)?, r.get(1)?)))?.unwrap_or((0, 0)))
}
