//! Money that nothing explains.

use super::read::{counted, money, subject, time, words};
use super::{StoreError, Tx};
use crate::bank::port::Subject;
use rusqlite::Row;
use walkpay::{Money, Timestamp};

words! {
    /// How money came to be unexplained.
    SuspenseKind {
        /// The bank took it, and no intent explains it.
        Late = "late",
        /// It could not be given back to its payer.
        Refund = "refund",
        /// The bank took it back, and nobody asked. Its amount is negative.
        TakenBack = "taken_back",
    }
}

words! {
    /// What becomes of unexplained money.
    SuspenseState {
        /// Not decided.
        Open = "open",
        /// It paid what was due, or made good what had been taken back.
        Applied = "applied",
        /// It is on its way back.
        Refunding = "refunding",
        /// It went back.
        Refunded = "refunded",
        /// The operator has settled it by other means.
        Settled = "settled",
    }
}

/// Unexplained money.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspense {
    /// Row.
    pub suspense: i64,
    /// How it came to be unexplained.
    pub kind: SuspenseKind,
    /// What it is about.
    pub subject: Subject,
    /// The bank's reference of what came, or that of the refund leg that failed.
    pub reference: String,
    /// How much.
    pub amount: Money,
    /// What becomes of it.
    pub state: SuspenseState,
    /// How often the bank was asked to take it back.
    pub tries: u32,
    /// When it was found.
    pub found_at: Timestamp,
}

/// Money that was found unexplained.
pub struct NewSuspense<'a> {
    /// How.
    pub kind: SuspenseKind,
    /// What it is about.
    pub subject: &'a Subject,
    /// See [`Suspense::reference`].
    pub reference: &'a str,
    /// The entry of the statement that it came with; 0: none.
    pub entry: u64,
    /// How much.
    pub amount: Money,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT suspense, kind, subject, reference, currency, minor, state, tries, found_at FROM suspense ",
            $rest
        )
    };
}

fn read(r: &Row<'_>) -> rusqlite::Result<Suspense> {
    Ok(Suspense {
        suspense: r.get(0)?,
        kind: r.get(1)?,
        subject: subject(r, 2)?,
        reference: r.get(3)?,
        amount: money(r, 4)?,
        state: r.get(6)?,
        tries: r.get(7)?,
        found_at: time(r, 8)?,
    })
}

/// Adds unexplained money; nothing if what came under this reference with this entry is there already.
pub fn add(tx: &Tx<'_>, new: &NewSuspense<'_>, at: Timestamp) -> Result<Option<Suspense>, StoreError> {
    let changed = tx.execute(
        "INSERT INTO suspense (merchant, kind, subject, reference, entry, currency, minor, state, found_at)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, 'open', ?7) ON CONFLICT (reference, entry) DO NOTHING",
        (
            new.kind,
            new.subject.as_bytes(),
            new.reference,
            counted(new.entry),
            new.amount.currency.code(),
            new.amount.minor,
            at.as_millis(),
        ),
    )?;
    match changed {
        0 => Ok(None),
        _ => find(tx, tx.conn().last_insert_rowid()),
    }
}

/// Unexplained money by its row.
pub fn find(tx: &Tx<'_>, suspense: i64) -> Result<Option<Suspense>, StoreError> {
    tx.first(select!("WHERE suspense = ?1"), [suspense], read)
}

/// What the bank was asked to take back under a reference.
pub fn asked_as(tx: &Tx<'_>, reference: &str) -> Result<Option<Suspense>, StoreError> {
    tx.first(select!("WHERE asked_as = ?1"), [reference], read)
}

/// What the bank took back under a reference and has not made good: so much, as a positive amount.
pub fn taken_back(tx: &Tx<'_>, reference: &str, amount: Money) -> Result<Option<Suspense>, StoreError> {
    let sql = select!(
        "WHERE reference = ?1 AND kind = 'taken_back' AND state = 'open' AND currency = ?2 AND minor = -?3 ORDER BY suspense"
    );
    tx.first(sql, (reference, amount.currency.code(), amount.minor), read)
}

/// What has not come to its end, the oldest first.
pub fn unsettled(tx: &Tx<'_>, limit: u32) -> Result<Vec<Suspense>, StoreError> {
    tx.all(select!("WHERE state IN ('open', 'refunding') ORDER BY suspense LIMIT ?1"), [limit], read)
}

/// Sets what becomes of unexplained money.
pub fn set(tx: &Tx<'_>, suspense: i64, state: SuspenseState) -> Result<(), StoreError> {
    tx.execute("UPDATE suspense SET state = ?2 WHERE suspense = ?1", (suspense, state))?;
    Ok(())
}

/// The bank is asked to take it back under a reference of ours.
pub fn ask(tx: &Tx<'_>, suspense: i64, reference: &str) -> Result<(), StoreError> {
    let sql = "UPDATE suspense SET state = 'refunding', tries = tries + 1, asked_as = ?2 WHERE suspense = ?1";
    tx.execute(sql, (suspense, reference))?;
    Ok(())
}

/// Keeps what is left of unexplained money: nothing has been decided about it.
pub fn keep(tx: &Tx<'_>, suspense: i64, rest: i64) -> Result<(), StoreError> {
    tx.execute("UPDATE suspense SET state = 'open', minor = ?2 WHERE suspense = ?1", (suspense, rest))?;
    Ok(())
}
