//! First answers under an Idempotency-Key.

use super::read::time;
use super::{StoreError, Tx};
use std::time::Duration;
use walkpay::Timestamp;

/// How long a key is known.
pub const KEPT: Duration = Duration::from_secs(24 * 3600);

/// The first answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct First {
    /// Digest of the request's body.
    pub body_sha256: [u8; 32],
    /// The status.
    pub status: u16,
    /// The body.
    pub answer: Vec<u8>,
}

/// What `caller` was first answered on `route` under `key`.
pub fn find(tx: &Tx<'_>, caller: &str, route: &str, key: &str) -> Result<Option<First>, StoreError> {
    let sql = "SELECT body_sha256, status, answer FROM idempotency WHERE caller = ?1 AND route = ?2 AND key = ?3";
    tx.first(sql, (caller, route, key), |r| Ok(First { body_sha256: r.get(0)?, status: r.get(1)?, answer: r.get(2)? }))
}

/// Keeps a first answer, in the transaction of its effect, until [`KEPT`] after `now`.
pub fn keep(
    tx: &Tx<'_>,
    caller: &str,
    route: &str,
    key: &str,
    first: &First,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO idempotency (caller, route, key, body_sha256, status, answer, made_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (caller, route, key, first.body_sha256, first.status, &first.answer, now.as_millis()),
    )?;
    Ok(())
}

/// Forgets old answers; how many.
pub fn forget(tx: &Tx<'_>, now: Timestamp) -> Result<usize, StoreError> {
    tx.execute("DELETE FROM idempotency WHERE made_at < ?1", [now.minus(KEPT).as_millis()])
}

/// When the next answer is old.
pub fn next_old(tx: &Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    let first = tx.first("SELECT made_at FROM idempotency ORDER BY made_at LIMIT 1", [], |r| time(r, 0))?;
    Ok(first.map(|at| at.plus(KEPT + Duration::from_millis(1))))
}
