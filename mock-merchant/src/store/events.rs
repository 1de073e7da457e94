//! The device's event log.

use super::later::{Later, Make};
use super::read::{count, counted};
use super::{StoreError, Tx};
use crate::failure::Failure;
use rusqlite::Connection;
use walkpay::DeviceId;

/// An event that is to be written at the end of its transaction.
pub(super) struct Event {
    /// The device's row.
    pub device: i64,
    /// The device.
    pub id: DeviceId,
    /// Its number.
    pub seq: u64,
    /// It, once it is made.
    pub jws: Later,
}

/// Begins the log of a new device.
pub fn begin(tx: &Tx<'_>, device: i64) -> Result<(), StoreError> {
    tx.execute("INSERT INTO event_counters (device, last_seq) VALUES (?1, 0)", [device])?;
    Ok(())
}

/// The number of the next event of a device, used up by asking; to be followed by [`append`] in the same transaction.
pub fn next_seq(tx: &Tx<'_>, device: i64) -> Result<u64, StoreError> {
    // Not by RETURNING: SQLite makes a table for its rows each time, which takes longer than another statement.
    tx.execute("UPDATE event_counters SET last_seq = last_seq + 1 WHERE device = ?1", [device])?;
    let seq = tx.first("SELECT last_seq FROM event_counters WHERE device = ?1", [device], |r| count(r, 0))?;
    seq.ok_or_else(|| StoreError::Defect(format!("no device {device}")))
}

/// Appends an event: `make` gives it, beside the writer, before the commit. If it fails, nothing of the transaction is kept. The
/// device's poll is woken after the commit.
pub fn append(tx: &Tx<'_>, device: i64, id: DeviceId, seq: u64, make: Make) {
    tx.event(device, id, seq, make);
}

/// Writes what was appended, in its order.
pub(super) fn write(conn: &Connection, events: Vec<Event>) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let mut insert = conn.prepare_cached("INSERT INTO events (device, seq, jws) VALUES (?1, ?2, ?3)")?;
    for event in events {
        let jws = event.jws.finish().map_err(|failure| match failure {
            Failure::Fault(e) => e,
            Failure::Refused { code, detail } => StoreError::Defect(format!("an event: {}: {detail}", code.code())),
        })?;
        insert.execute((event.device, counted(event.seq), jws))?;
    }
    Ok(())
}

/// Events after a number, in order.
pub fn after(tx: &Tx<'_>, id: &DeviceId, after: u64, limit: usize) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT e.jws FROM devices d JOIN events e USING (device) WHERE d.device_id = ?1 AND e.seq > ?2
               ORDER BY e.seq LIMIT ?3";
    tx.all(sql, (id.as_bytes(), counted(after), counted(limit as u64)), |r| r.get(0))
}
