//! One day of the ledger beside what channels and bank say of it.

use super::payments::method_of;
use super::read::{counted, parsed};
use super::{StoreError, Tx};
use rusqlite::Row;
use walkpay::protocol::document::PaymentMethod;
use walkpay::{Currency, Money, Timestamp};

/// A business day, and the instants between which things without one belong to it.
pub struct Day<'a> {
    /// `2026-01-31`.
    pub date: &'a str,
    /// Its first instant.
    pub from: Timestamp,
    /// That of the next day.
    pub to: Timestamp,
}

/// Sums of one method and one currency.
pub struct Sums<const N: usize> {
    /// How.
    pub method: PaymentMethod,
    /// In what.
    pub currency: Currency,
    /// In minor units.
    pub minor: [i64; N],
}

/// Something that one side has and the other has not, or otherwise.
pub struct Gap {
    /// How.
    pub method: PaymentMethod,
    /// What both sides know it by.
    pub reference: String,
    /// What the ledger has.
    pub ledger: Money,
    /// What the other side has.
    pub other: Money,
}

fn sums<const N: usize>(r: &Row<'_>) -> rusqlite::Result<Sums<N>> {
    let mut minor = [0; N];
    for (n, sum) in minor.iter_mut().enumerate() {
        *sum = r.get(2 + n)?;
    }
    Ok(Sums { method: method_of(r, 0)?, currency: parsed(r, 1)?, minor })
}

fn gap(r: &Row<'_>) -> rusqlite::Result<Gap> {
    let currency: Currency = parsed(r, 2)?;
    let (ledger, other) = (currency.minor(r.get(3)?), currency.minor(r.get(4)?));
    Ok(Gap { method: method_of(r, 0)?, reference: r.get(1)?, ledger, other })
}

/// What the ledger posted on the day: paid, given back.
pub fn posted(tx: &Tx<'_>, day: &Day<'_>) -> Result<Vec<Sums<2>>, StoreError> {
    let sql = "SELECT method, currency, sum(CASE WHEN refund IS NULL THEN minor ELSE 0 END),
                 sum(CASE WHEN refund IS NULL THEN 0 ELSE minor END) FROM legs
               WHERE state = 'succeeded' AND business_date IS NOT NULL AND business_date = ?1 GROUP BY method, currency";
    tx.all(sql, [day.date], sums)
}

/// What channels collected on the day: all, applied, given back, in suspense.
pub fn received(tx: &Tx<'_>, day: &Day<'_>) -> Result<Vec<Sums<4>>, StoreError> {
    let sql = "SELECT method, currency, sum(minor), sum(CASE WHEN state = 'applied' THEN minor ELSE 0 END),
                 sum(CASE WHEN state IN ('refunded', 'settled') THEN minor ELSE 0 END),
                 sum(CASE WHEN state IN ('suspense', 'refunding') THEN minor ELSE 0 END)
               FROM channel_receipts WHERE received_at >= ?1 AND received_at < ?2 GROUP BY method, currency";
    tx.all(sql, [day.from.as_millis(), day.to.as_millis()], sums)
}

/// What the bank's statement booked on the day: taken, given back.
pub fn booked(tx: &Tx<'_>, day: &Day<'_>) -> Result<Vec<Sums<2>>, StoreError> {
    let sql = "SELECT 'bank', currency, sum(max(minor, 0)), sum(max(-minor, 0)) FROM statement_entries
               WHERE booked_at >= ?1 AND booked_at < ?2 GROUP BY currency";
    tx.all(sql, [day.from.as_millis(), day.to.as_millis()], sums)
}

/// Receipts of the day that count as applied and whose postings come to something else.
pub fn misapplied(tx: &Tx<'_>, day: &Day<'_>, limit: usize) -> Result<Vec<Gap>, StoreError> {
    let sql = "SELECT * FROM (SELECT r.method, r.trade, r.currency, (SELECT ifnull(sum(l.minor), 0) FROM legs l WHERE l.pay = r.pay
                   AND l.method = r.method AND l.state = 'succeeded' AND l.refund IS NULL) AS ledger, r.minor
                 FROM channel_receipts r WHERE r.received_at >= ?1 AND r.received_at < ?2 AND r.state = 'applied')
               WHERE ledger <> minor LIMIT ?3";
    tx.all(sql, (day.from.as_millis(), day.to.as_millis(), counted(limit as u64)), gap)
}

/// Receipts of the day that nothing explains yet: in suspense, or on their way back; and what was to be given back on the day and could not be.
pub fn in_suspense(tx: &Tx<'_>, day: &Day<'_>, limit: usize) -> Result<Vec<Gap>, StoreError> {
    let sql = "SELECT method, trade, currency, 0, minor FROM channel_receipts
               WHERE received_at >= ?1 AND received_at < ?2 AND state IN ('suspense', 'refunding')
               UNION ALL SELECT ifnull((SELECT l.method FROM legs l WHERE l.refund IS NOT NULL
                   AND l.reference IN (s.reference, substr(s.reference, 1, length(s.reference) - 5)) LIMIT 1), 'bank'),
                 s.reference, s.currency, 0, s.minor FROM suspense s
               WHERE s.kind = 'refund' AND s.state = 'open' AND s.found_at >= ?1 AND s.found_at < ?2 LIMIT ?3";
    tx.all(sql, (day.from.as_millis(), day.to.as_millis(), counted(limit as u64)), gap)
}

/// What the ledger posted on the day as paid through a channel that has no receipt for it.
pub fn unreceived(tx: &Tx<'_>, day: &Day<'_>, limit: usize) -> Result<Vec<Gap>, StoreError> {
    let sql = "SELECT l.method, l.reference, l.currency, l.minor, 0 FROM legs l
               WHERE l.state = 'succeeded' AND l.business_date IS NOT NULL AND l.business_date = ?1
               AND l.method NOT IN ('stored_value', 'bank') AND l.refund IS NULL
               AND NOT EXISTS (SELECT 1 FROM channel_receipts r WHERE r.pay = l.pay AND r.method = l.method
                 AND r.state = 'applied') LIMIT ?2";
    tx.all(sql, (day.date, counted(limit as u64)), gap)
}

/// Bank postings of the day, by reference, that the statement has not, or has with another amount.
pub fn unbooked(tx: &Tx<'_>, day: &Day<'_>, limit: usize) -> Result<Vec<Gap>, StoreError> {
    // A slip's orders can have days of several time zones: all legs under the reference count, whichever day they are of.
    let sql = "SELECT * FROM (SELECT 'bank', d.reference, d.currency, (SELECT sum(CASE WHEN l.refund IS NULL THEN l.minor ELSE -l.minor END)
                   FROM legs l WHERE l.reference = d.reference AND l.method <> 'stored_value' AND l.state = 'succeeded' AND l.business_date IS NOT NULL) AS ledger,
                   (SELECT ifnull(sum(e.minor), 0) FROM statement_entries e WHERE e.reference = d.reference) AS booked
                 FROM (SELECT DISTINCT reference, currency FROM legs WHERE state = 'succeeded' AND business_date IS NOT NULL
                   AND business_date = ?1 AND method = 'bank') d)
               WHERE ledger <> booked ORDER BY 2 LIMIT ?2";
    tx.all(sql, (day.date, counted(limit as u64)), gap)
}

/// Entries of the statement of the day that the ledger has not posted to an order: those that wait for the bank's answer, money in
/// suspense, and what was approved and neither posted nor reversed.
pub fn unposted(tx: &Tx<'_>, day: &Day<'_>, limit: usize) -> Result<Vec<Gap>, StoreError> {
    let sql = "SELECT 'bank', e.reference, e.currency, 0, e.minor FROM statement_entries e
               WHERE e.booked_at >= ?1 AND e.booked_at < ?2 AND CASE e.state
                 WHEN 'waiting' THEN 1
                 WHEN 'suspense' THEN EXISTS (SELECT 1 FROM suspense s WHERE s.reference = e.reference AND s.state IN ('open', 'refunding'))
                 ELSE e.minor > 0
                   AND NOT EXISTS (SELECT 1 FROM legs l WHERE l.reference = e.reference AND l.method <> 'stored_value' AND l.state = 'succeeded')
                   AND NOT EXISTS (SELECT 1 FROM bank_calls d JOIN bank_calls c ON c.subject = d.subject
                     WHERE d.reference = e.reference AND c.original = e.reference AND c.kind IN ('reverse', 'refund') AND c.state = 'approved')
               END ORDER BY e.seq LIMIT ?3";
    tx.all(sql, (day.from.as_millis(), day.to.as_millis(), counted(limit as u64)), gap)
}
