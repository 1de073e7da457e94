//! Double entry: accounts, transfers, postings, and reservations beside them.
//!
//! A positive balance is what the merchant owes the account's owner: stored value is positive, `bank` turns negative by
//! what the bank owes for captured money, `receivable` by what shoppers owe.

use super::read::{counted, money, words};
use super::{StoreError, Tx};
use walkpay::{Currency, Money, Timestamp, TripId};

words! {
    /// Whether reserved stored value has been posted.
    ReservationState {
        /// Reserved.
        Open = "open",
        /// Posted.
        Posted = "posted",
    }
}

/// The account with this name and currency, made if it is not there. `floor` is what it never goes below.
pub fn account(tx: &Tx<'_>, name: &str, currency: Currency, floor: Option<i64>) -> Result<i64, StoreError> {
    let sql = "SELECT account FROM accounts WHERE name = ?1 AND currency = ?2";
    if let Some(account) = tx.first(sql, (name, currency.code()), |r| r.get(0))? {
        return Ok(account);
    }
    let sql = "INSERT INTO accounts (merchant, name, currency, floor) VALUES (1, ?1, ?2, ?3)";
    tx.insert(sql, (name, currency.code(), floor))
}

/// Balance and reservations of an account.
pub fn balance(tx: &Tx<'_>, account: i64) -> Result<(Money, i64), StoreError> {
    let sql = "SELECT currency, balance, reserved FROM accounts WHERE account = ?1";
    let found = tx.first(sql, [account], |r| Ok((money(r, 0)?, r.get(2)?)))?;
    found.ok_or_else(|| StoreError::Defect(format!("no account {account}")))
}

/// What a transfer is about.
pub struct Transfer<'a> {
    /// A stable word, such as `debit` or `top_up`.
    pub kind: &'a str,
    /// One transfer per reference.
    pub reference: &'a str,
    /// The store's row.
    pub store: Option<i64>,
    /// The visit.
    pub trip: Option<TripId>,
    /// The business day in the store's time zone.
    pub business_date: &'a str,
    /// The store's receipt.
    pub receipt: Option<u64>,
    /// Merchant time.
    pub at: Timestamp,
}

/// Posts a transfer; `false` if there is one under its reference. Zero postings are left out.
///
/// # Errors
/// [`StoreError::Defect`] when the postings do not sum to zero; a constraint of SQLite when an account would go below its
/// floor.
pub fn post(tx: &Tx<'_>, transfer: &Transfer<'_>, postings: &[(i64, i64)]) -> Result<bool, StoreError> {
    let sum = postings.iter().try_fold(0i64, |sum, (_, minor)| sum.checked_add(*minor));
    if sum != Some(0) {
        return Err(StoreError::Defect(format!("postings of {} sum to {sum:?}", transfer.reference)));
    }
    let changed = tx.execute(
        "INSERT INTO transfers (merchant, store, kind, reference, trip, business_date, receipt, posted_at)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (reference) DO NOTHING",
        (
            transfer.store,
            transfer.kind,
            transfer.reference,
            transfer.trip.as_ref().map(TripId::as_bytes),
            transfer.business_date,
            transfer.receipt.map(counted),
            transfer.at.as_millis(),
        ),
    )?;
    if changed == 0 {
        return Ok(false);
    }
    let id = tx.conn().last_insert_rowid();
    for (n, (account, minor)) in (1i64..).zip(postings.iter().filter(|(_, minor)| *minor != 0)) {
        let sql = "INSERT INTO postings (transfer, n, account, minor) VALUES (?1, ?2, ?3, ?4)";
        tx.execute(sql, (id, n, account, minor))?;
        tx.execute("UPDATE accounts SET balance = balance + ?2 WHERE account = ?1", (account, minor))?;
    }
    Ok(true)
}

/// Reserves stored value for a visit.
pub fn reserve(tx: &Tx<'_>, trip: &TripId, account: i64, minor: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO reservations (trip, account, minor, state) VALUES (?1, ?2, ?3, 'open')",
        (trip.as_bytes(), account, minor),
    )?;
    tx.execute("UPDATE accounts SET reserved = reserved + ?2 WHERE account = ?1", (account, minor))?;
    Ok(())
}

/// Ends the reservation of a visit because it is posted in this transaction; its account and amount.
pub fn take_reservation(tx: &Tx<'_>, trip: &TripId) -> Result<Option<(i64, i64)>, StoreError> {
    let sql = "UPDATE reservations SET state = 'posted' WHERE trip = ?1 AND state = 'open' RETURNING account, minor";
    let taken: Option<(i64, i64)> = tx.first(sql, [trip.as_bytes()], |r| Ok((r.get(0)?, r.get(1)?)))?;
    if let Some((account, minor)) = taken {
        tx.execute("UPDATE accounts SET reserved = reserved - ?2 WHERE account = ?1", (account, minor))?;
    }
    Ok(taken)
}
