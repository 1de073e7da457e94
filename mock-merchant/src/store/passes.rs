//! Exit passes: issued, spent, taken back.

use super::read::{count, counted, pass, time};
use super::{StoreError, Tx};
use walkpay::protocol::message::SpentPass;
use walkpay::{GateGroup, PassId, Timestamp, TripId};

/// Keeps an issued pass.
pub fn add(
    tx: &Tx<'_>,
    jti: &PassId,
    trip: &TripId,
    group: &GateGroup,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO exit_passes (jti, trip, gate_group, expires_at) VALUES (?1, ?2, ?3, ?4)";
    tx.execute(sql, (jti.as_bytes(), trip.as_bytes(), group.as_str(), expires_at.as_millis()))?;
    Ok(())
}

/// Notes that a group took a pass in; `false` if it had before.
pub fn spend(tx: &Tx<'_>, group: &GateGroup, pass: &SpentPass) -> Result<bool, StoreError> {
    let sql = "INSERT OR IGNORE INTO spent_passes (gate_group, jti, spent_at) VALUES (?1, ?2, ?3)";
    Ok(tx.execute(sql, (group.as_str(), pass.jti.as_bytes(), pass.spent_at.as_millis()))? == 1)
}

/// What a group took in after a cursor, and the cursor after it.
pub fn spent(tx: &Tx<'_>, group: &GateGroup, after: u64, limit: u32) -> Result<(Vec<SpentPass>, u64), StoreError> {
    let sql =
        "SELECT spent, jti, spent_at FROM spent_passes WHERE gate_group = ?1 AND spent > ?2 ORDER BY spent LIMIT ?3";
    let rows = tx.all(sql, (group.as_str(), counted(after), limit), |r| {
        Ok((count(r, 0)?, SpentPass { jti: pass(r, 1)?, spent_at: time(r, 2)? }))
    })?;
    let cursor = rows.last().map_or(after, |(n, _)| *n);
    Ok((rows.into_iter().map(|(_, pass)| pass).collect(), cursor))
}

/// Takes a pass back; `None` if there is no such pass.
pub fn revoke(tx: &Tx<'_>, jti: &PassId) -> Result<bool, StoreError> {
    let sql = "INSERT OR IGNORE INTO revocations (gate_group, jti, expires_at)
               SELECT gate_group, jti, expires_at FROM exit_passes WHERE jti = ?1";
    tx.execute(sql, [jti.as_bytes()])?;
    Ok(tx.first("SELECT 1 FROM revocations WHERE jti = ?1", [jti.as_bytes()], |_| Ok(()))?.is_some())
}

/// Passes of a group that were taken back after a cursor and are not over, and the cursor after them.
pub fn revoked(
    tx: &Tx<'_>,
    group: &GateGroup,
    after: u64,
    now: Timestamp,
    limit: u32,
) -> Result<(Vec<PassId>, u64), StoreError> {
    let sql = "SELECT revocation, jti, expires_at FROM revocations WHERE gate_group = ?1 AND revocation > ?2
               ORDER BY revocation LIMIT ?3";
    let rows =
        tx.all(sql, (group.as_str(), counted(after), limit), |r| Ok((count(r, 0)?, pass(r, 1)?, time(r, 2)?)))?;
    let cursor = rows.last().map_or(after, |(n, _, _)| *n);
    Ok((rows.into_iter().filter(|(_, _, exp)| now < *exp).map(|(_, jti, _)| jti).collect(), cursor))
}
