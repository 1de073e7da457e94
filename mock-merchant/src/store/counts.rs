//! How many records there are by state, for the metrics.

use super::{StoreError, Tx};

/// Tables with a column `state`.
const KINDS: [(&str, &str); 11] = [
    ("devices", "SELECT state, count(*) FROM devices GROUP BY state"),
    ("trips", "SELECT state, count(*) FROM trips GROUP BY state"),
    ("attempts", "SELECT state, count(*) FROM attempts GROUP BY state"),
    ("holds", "SELECT state, count(*) FROM holds GROUP BY state"),
    ("debits", "SELECT state, count(*) FROM payments GROUP BY state"),
    ("orders", "SELECT state, count(*) FROM orders GROUP BY state"),
    ("jobs", "SELECT state, count(*) FROM bank_calls GROUP BY state"),
    ("slips", "SELECT state, count(*) FROM slips GROUP BY state"),
    ("payment_attempts", "SELECT state, count(*) FROM payment_attempts GROUP BY state"),
    ("channel_jobs", "SELECT state, count(*) FROM channel_calls GROUP BY state"),
    ("deliveries", "SELECT state, count(*) FROM deliveries GROUP BY state"),
];

/// Kind, state and number.
pub fn by_state(tx: &Tx<'_>) -> Result<Vec<(&'static str, String, i64)>, StoreError> {
    let mut counts = Vec::new();
    for (kind, sql) in KINDS {
        counts.extend(tx.all(sql, [], |r| Ok((kind, r.get(0)?, r.get(1)?)))?);
    }
    Ok(counts)
}
