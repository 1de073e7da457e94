//! The device's event log.

use super::read::{count, counted};
use super::{StoreError, Tx};
use walkpay::DeviceId;

/// The number of the next event of a device, used up by asking; to be followed by [`append`] in the same transaction.
pub fn next_seq(tx: &Tx<'_>, device: i64) -> Result<u64, StoreError> {
    let sql = "UPDATE devices SET last_seq = last_seq + 1 WHERE device = ?1 RETURNING last_seq";
    let seq = tx.first(sql, [device], |r| count(r, 0))?;
    seq.ok_or_else(|| StoreError::Defect(format!("no device {device}")))
}

/// Appends an event, and wakes the device's poll after the commit.
pub fn append(tx: &Tx<'_>, device: i64, id: DeviceId, seq: u64, jws: &str) -> Result<(), StoreError> {
    tx.execute("INSERT INTO events (device, seq, jws) VALUES (?1, ?2, ?3)", (device, counted(seq), jws))?;
    tx.wake(id);
    Ok(())
}

/// Events after a number, in order.
pub fn after(tx: &Tx<'_>, id: &DeviceId, after: u64, limit: usize) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT e.jws FROM devices d JOIN events e USING (device) WHERE d.device_id = ?1 AND e.seq > ?2
               ORDER BY e.seq LIMIT ?3";
    tx.all(sql, (id.as_bytes(), counted(after), counted(limit as u64)), |r| r.get(0))
}
