//! Enrolment codes and nonces.

use super::read::time;
use super::{StoreError, Tx};
use walkpay::Timestamp;

/// How many nonces may be open at a time.
pub const MAX_NONCES: u64 = 10_000;

/// A code as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Code {
    /// The user's row.
    pub user: i64,
    /// Whether the device is confirmed by it.
    pub self_confirming: bool,
    /// Until when it works.
    pub expires_at: Timestamp,
    /// How many enrolments with it were refused.
    pub tries: u32,
    /// The device that used it up.
    pub used_by: Option<i64>,
}

/// Keeps the digest of a code.
pub fn add_code(
    tx: &Tx<'_>,
    sha256: &str,
    user: i64,
    self_confirming: bool,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO enrolment_codes (sha256, user, self_confirming, expires_at) VALUES (?1, ?2, ?3, ?4)";
    tx.execute(sql, (sha256, user, self_confirming, expires_at.as_millis()))?;
    Ok(())
}

/// A code by its digest.
pub fn code(tx: &Tx<'_>, sha256: &str) -> Result<Option<Code>, StoreError> {
    let sql = "SELECT user, self_confirming, expires_at, tries, used_by FROM enrolment_codes WHERE sha256 = ?1";
    tx.first(sql, [sha256], |r| {
        Ok(Code {
            user: r.get(0)?,
            self_confirming: r.get(1)?,
            expires_at: time(r, 2)?,
            tries: r.get(3)?,
            used_by: r.get(4)?,
        })
    })
}

/// Counts a refused enrolment.
pub fn count_try(tx: &Tx<'_>, sha256: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE enrolment_codes SET tries = tries + 1 WHERE sha256 = ?1", [sha256])?;
    Ok(())
}

/// Uses a code up.
pub fn use_code(tx: &Tx<'_>, sha256: &str, device: i64) -> Result<(), StoreError> {
    tx.execute("UPDATE enrolment_codes SET used_by = ?2 WHERE sha256 = ?1", (sha256, device))?;
    Ok(())
}

/// Keeps a nonce unless too many are open; forgets those that are over.
pub fn add_nonce(tx: &Tx<'_>, nonce: &str, now: Timestamp, expires_at: Timestamp) -> Result<bool, StoreError> {
    tx.execute("DELETE FROM enrolment_nonces WHERE expires_at <= ?1", [now.as_millis()])?;
    let open = tx.first("SELECT count(*) FROM enrolment_nonces", [], |r| super::read::count(r, 0))?;
    if open.unwrap_or(0) >= MAX_NONCES {
        return Ok(false);
    }
    let sql = "INSERT INTO enrolment_nonces (nonce, expires_at) VALUES (?1, ?2)";
    tx.execute(sql, (nonce, expires_at.as_millis()))?;
    Ok(true)
}

/// Uses a nonce up; `false` if it is unknown, used or over.
pub fn use_nonce(tx: &Tx<'_>, nonce: &str, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "DELETE FROM enrolment_nonces WHERE nonce = ?1 AND expires_at > ?2";
    Ok(tx.execute(sql, (nonce, now.as_millis()))? == 1)
}
