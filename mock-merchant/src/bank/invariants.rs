//! What holds in every book at every moment, read from the tables alone.
//!
//! Nothing here uses the code that writes: a mistake there must not be able to hide itself.

use super::book::BankError;
use super::port::StatementEntry;
use super::schema;
use super::store::Book;
use rusqlite::Connection;
use std::path::Path;
use walkpay::{MerchantId, StorageProblem};

/// Each query returns one line of text per violation.
const QUERIES: [(&str, &str); 10] = [
    (
        "every transfer sums to zero and has one currency",
        "SELECT 'transfer ' || transfer || ' sums to ' || sum(amount) FROM entries GROUP BY transfer
         HAVING sum(amount) <> 0 OR count(DISTINCT currency) <> 1 OR count(*) < 2",
    ),
    (
        "balances are the sums of their entries",
        "SELECT token || ' has ' || balance FROM accounts WHERE balance <>
         (SELECT ifnull(sum(amount), 0) FROM entries WHERE book_account = 'account:' || token AND currency = accounts.currency)",
    ),
    (
        "no account is below its credit limit, reservations included",
        "SELECT token || ' has ' || balance FROM accounts WHERE balance + credit_limit <
         (SELECT ifnull(sum(amount), 0) FROM holds WHERE account = token AND state = 'placed')",
    ),
    (
        "a hold is placed once and resolved at most once",
        "SELECT merchant_id || ' ' || reference FROM holds WHERE
         (SELECT count(*) FROM hold_events e WHERE e.merchant_id = holds.merchant_id AND e.reference = holds.reference
             AND event = 'placed') <> 1
         OR (SELECT count(*) FROM hold_events e WHERE e.merchant_id = holds.merchant_id AND e.reference = holds.reference
             AND event IN ('captured', 'released', 'expired')) <> (state <> 'placed')
         OR state <> (SELECT CASE WHEN event = 'raised' THEN 'placed' ELSE event END FROM hold_events e
             WHERE e.merchant_id = holds.merchant_id AND e.reference = holds.reference ORDER BY event_id DESC LIMIT 1)",
    ),
    (
        "debits less reversals of a trip are within its signed total",
        "SELECT s.trip_id || ' ' || sum(s.amount) FROM statement s LEFT JOIN trips t USING (merchant_id, trip_id)
         GROUP BY s.merchant_id, s.trip_id HAVING sum(s.amount) < 0 OR sum(s.amount) > ifnull(max(t.total), -1)
             OR sum(s.amount) <> max(t.debited)",
    ),
    (
        "a statement counts from 1 without gaps",
        "SELECT merchant_id FROM statement GROUP BY merchant_id HAVING max(seq) <> count(*) OR min(seq) <> 1",
    ),
    (
        "the statement says what was booked",
        "SELECT s.merchant_id || ' ' || s.seq FROM statement s WHERE s.amount <> ifnull((SELECT e.amount FROM entries e
         WHERE e.transfer = s.transfer AND e.book_account = 'merchant:' || s.merchant_id), 0)",
    ),
    (
        "every booking of a merchant is on the statement",
        "SELECT 'transfer ' || transfer FROM entries WHERE book_account LIKE 'merchant:%'
         AND transfer NOT IN (SELECT transfer FROM statement)",
    ),
    (
        "an approved outcome has its effect, and a reference has at most one",
        "SELECT o.merchant_id || ' ' || o.reference FROM operations o WHERE
         (SELECT count(*) FROM statement s WHERE s.merchant_id = o.merchant_id AND s.reference = o.reference)
         + (SELECT count(*) FROM holds h WHERE h.merchant_id = o.merchant_id AND h.reference = o.reference)
         + (SELECT count(*) FROM debits d WHERE d.merchant_id = o.merchant_id AND d.reference = o.reference
             AND NOT EXISTS (SELECT 1 FROM statement s WHERE s.merchant_id = o.merchant_id AND s.reference = o.reference)) > 1",
    ),
    (
        "a refused reference has no effect unless it was a late success",
        "SELECT s.merchant_id || ' ' || s.reference FROM statement s JOIN operations o USING (merchant_id, reference)
         WHERE json_extract(o.outcome, '$.outcome') = 'declined' AND NOT EXISTS (SELECT 1 FROM late l WHERE
             l.merchant_id = s.merchant_id AND l.reference = s.reference AND l.state = 'booked')",
    ),
];

/// The invariants that do not hold on this connection to a book, in words.
pub(super) fn violations(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut found = Vec::new();
    for (name, sql) in QUERIES {
        let mut query = db.prepare_cached(sql)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            found.push(format!("{name}: {}", row.get::<_, Option<String>>(0)?.unwrap_or_default()));
        }
    }
    Ok(found)
}

/// The same for the file of a bank, which may be running; the file is not changed.
///
/// # Errors
/// [`BankError::Storage`] when it is not a book or cannot be read.
pub fn violations_in_file(path: &Path) -> Result<Vec<String>, BankError> {
    let db = schema::open_read_only(path)?;
    Ok(violations(&db)?)
}

/// All entries of all statements in the file of a bank, in order.
///
/// # Errors
/// As [`violations_in_file`].
pub fn statement_in_file(path: &Path) -> Result<Vec<StatementEntry>, BankError> {
    let db = schema::open_read_only(path)?;
    let mut merchants = db.prepare("SELECT DISTINCT merchant_id FROM statement ORDER BY merchant_id")?;
    let names: Vec<String> = merchants.query_map([], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut all = Vec::new();
    for name in names {
        let merchant = MerchantId::parse(&name).map_err(|e| BankError::Storage {
            problem: StorageProblem::Corrupt,
            detail: format!("statement.merchant_id: {e}"),
        })?;
        all.extend(Book(&db).statement(&merchant, 0, u32::MAX)?);
    }
    Ok(all)
}
