//! What service systems are told (Standard Webhooks), as durable jobs: intent, lease, outcome.

use super::orders::number_in;
use super::read::{count, counted, optional_time, time, words};
use super::{StoreError, Tx};
use rusqlite::Row;
use walkpay::{ServiceNumber, Timestamp};

words! {
    /// What became of a message.
    DeliveryState {
        /// It is to be delivered, again perhaps.
        Waiting = "waiting",
        /// It was taken.
        Delivered = "delivered",
        /// It is not tried any more; its source can have it delivered again.
        Dead = "dead",
    }
}

/// A message to a service system.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Row.
    pub delivery: i64,
    /// What the source knows it by; the same for each try.
    pub message_id: String,
    /// The source's row.
    pub source: i64,
    /// What it tells, such as `order.paid`.
    pub kind: String,
    /// The order.
    pub number: Option<ServiceNumber>,
    /// The body: JSON.
    pub body: Vec<u8>,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was tried since it was written or last asked for again.
    pub tries: u32,
    /// When it is tried next.
    pub due: Option<Timestamp>,
    /// Rises with each lease.
    pub lease: u64,
    /// When it was written.
    pub made_at: Timestamp,
    /// When it was delivered or given up.
    pub ended_at: Option<Timestamp>,
    /// The status of the last answer.
    pub last_status: Option<u16>,
    /// Why the last try failed: a word.
    pub last_error: Option<String>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT delivery, message_id, source, kind, number, body, state, tries, due, lease, made_at, ended_at, \
             last_status, last_error FROM deliveries ",
            $rest
        )
    };
}

fn read(r: &Row<'_>) -> rusqlite::Result<Delivery> {
    let numbered = r.get_ref(4)? != rusqlite::types::ValueRef::Null;
    Ok(Delivery {
        delivery: r.get(0)?,
        message_id: r.get(1)?,
        source: r.get(2)?,
        kind: r.get(3)?,
        number: numbered.then(|| number_in(r, 4)).transpose()?,
        body: r.get(5)?,
        state: r.get(6)?,
        tries: r.get(7)?,
        due: optional_time(r, 8)?,
        lease: count(r, 9)?,
        made_at: time(r, 10)?,
        ended_at: optional_time(r, 11)?,
        last_status: r.get(12)?,
        last_error: r.get(13)?,
    })
}

/// A new message.
pub struct NewDelivery<'a> {
    /// Unique.
    pub message_id: &'a str,
    /// The source's row.
    pub source: i64,
    /// What it tells.
    pub kind: &'a str,
    /// The order.
    pub number: ServiceNumber,
    /// The body: JSON.
    pub body: &'a [u8],
    /// Why it is dead at once: there is no address that could take it.
    pub dead: Option<&'a str>,
}

/// Writes a message down, due at once.
pub fn add(tx: &Tx<'_>, new: &NewDelivery<'_>, now: Timestamp) -> Result<(), StoreError> {
    tx.note_work();
    let state = if new.dead.is_some() { DeliveryState::Dead } else { DeliveryState::Waiting };
    let (due, ended) = if new.dead.is_some() { (None, Some(now)) } else { (Some(now), None) };
    let sql = "INSERT INTO deliveries (merchant, message_id, source, kind, number, body, state, due, made_at, ended_at, last_error)
               VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    tx.execute(
        sql,
        (
            new.message_id,
            new.source,
            new.kind,
            counted(new.number.number()),
            new.body,
            state,
            due.map(Timestamp::as_millis),
            now.as_millis(),
            ended.map(Timestamp::as_millis),
            new.dead,
        ),
    )?;
    Ok(())
}

/// A message by its row.
pub fn get(tx: &Tx<'_>, delivery: i64) -> Result<Delivery, StoreError> {
    let found = tx.first(select!("WHERE delivery = ?1"), [delivery], read)?;
    found.ok_or_else(|| StoreError::Defect(format!("no delivery {delivery}")))
}

/// A message by its identifier.
pub fn find(tx: &Tx<'_>, message_id: &str) -> Result<Option<Delivery>, StoreError> {
    tx.first(select!("WHERE message_id = ?1"), [message_id], read)
}

/// The messages of a source in rows above `after`, at most `limit`; all states or one.
pub fn of_source(
    tx: &Tx<'_>,
    source: i64,
    after: u64,
    limit: u32,
    state: Option<DeliveryState>,
) -> Result<Vec<Delivery>, StoreError> {
    // A statement each, since each has an index of its own.
    let sql = match state {
        None => select!("WHERE source = ?1 AND delivery > ?2 ORDER BY delivery LIMIT ?3"),
        Some(DeliveryState::Waiting) => {
            select!("WHERE source = ?1 AND delivery > ?2 AND state = 'waiting' ORDER BY delivery LIMIT ?3")
        }
        Some(DeliveryState::Delivered) => {
            select!("WHERE source = ?1 AND delivery > ?2 AND state = 'delivered' ORDER BY delivery LIMIT ?3")
        }
        Some(DeliveryState::Dead) => {
            select!("WHERE source = ?1 AND delivery > ?2 AND state = 'dead' ORDER BY delivery LIMIT ?3")
        }
    };
    tx.all(sql, (source, counted(after), limit), read)
}

/// How many messages to one source are on their way at one time: a source that hangs holds up no other one.
pub const ON_THEIR_WAY: u32 = 2;

/// Takes the message that is due longest, under a new lease until `until`, of a source that has fewer than [`ON_THEIR_WAY`] on
/// their way. From the commit of this on it may have left.
pub fn lease(tx: &Tx<'_>, now: Timestamp, until: Timestamp) -> Result<Option<Delivery>, StoreError> {
    // Leases that were not settled end by themselves.
    tx.execute("UPDATE deliveries SET leased = 0 WHERE leased = 1 AND due <= ?1", [now.as_millis()])?;
    let Some((source, _)) = first(tx)?.filter(|(_, due)| *due <= now) else {
        return Ok(None);
    };
    let sql = select!("WHERE source = ?1 AND state = 'waiting' AND due <= ?2 ORDER BY due LIMIT 1");
    let Some(mut delivery) = tx.first(sql, (source, now.as_millis()), read)? else {
        return Ok(None);
    };
    let sql = "UPDATE deliveries SET due = ?2, leased = 1, lease = lease + 1, tries = tries + 1 WHERE delivery = ?1";
    tx.execute(sql, (delivery.delivery, until.as_millis()))?;
    delivery.lease += 1;
    delivery.tries = delivery.tries.saturating_add(1);
    Ok(Some(delivery))
}

/// When the next message is due, or the next lease of a source ends that has [`ON_THEIR_WAY`] messages on their way.
pub fn next_due(tx: &Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    Ok(first(tx)?.map(|(_, due)| due))
}

/// Which source is next, and when. Goes from source to source of those that messages wait for, however many these are.
fn first(tx: &Tx<'_>) -> Result<Option<(i64, Timestamp)>, StoreError> {
    let sql = "WITH RECURSIVE waited(source) AS (
                 SELECT min(source) FROM deliveries WHERE state = 'waiting'
                 UNION ALL
                 SELECT (SELECT min(d.source) FROM deliveries d WHERE d.state = 'waiting' AND d.source > waited.source)
                 FROM waited WHERE waited.source IS NOT NULL)
               SELECT source,
                 CASE WHEN (SELECT count(*) FROM deliveries l WHERE l.source = waited.source AND l.leased = 1) < ?1
                   THEN (SELECT min(w.due) FROM deliveries w WHERE w.source = waited.source AND w.state = 'waiting')
                   ELSE (SELECT min(l.due) FROM deliveries l WHERE l.source = waited.source AND l.leased = 1)
                 END AS due
               FROM waited WHERE source IS NOT NULL ORDER BY due LIMIT 1";
    tx.first(sql, [ON_THEIR_WAY], |r| Ok((r.get(0)?, time(r, 1)?)))
}

/// What a try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried<'a> {
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Why it failed: a word.
    pub error: Option<&'a str>,
}

/// Has a message tried again at `due`.
pub fn put_off(tx: &Tx<'_>, delivery: i64, due: Timestamp, tried: Tried<'_>) -> Result<(), StoreError> {
    let sql = "UPDATE deliveries SET due = ?2, leased = 0, last_status = ?3, last_error = ?4
               WHERE delivery = ?1 AND state = 'waiting'";
    tx.execute(sql, (delivery, due.as_millis(), tried.status, tried.error))?;
    Ok(())
}

/// Ends a message: delivered or dead.
pub fn end(
    tx: &Tx<'_>,
    delivery: i64,
    state: DeliveryState,
    at: Timestamp,
    tried: Tried<'_>,
) -> Result<(), StoreError> {
    let sql =
        "UPDATE deliveries SET state = ?2, due = NULL, leased = 0, ended_at = ?3, last_status = ?4, last_error = ?5
               WHERE delivery = ?1";
    tx.execute(sql, (delivery, state, at.as_millis(), tried.status, tried.error))?;
    Ok(())
}

/// Puts the messages of a source that would be tried before `until` off until then.
pub fn quieten(tx: &Tx<'_>, source: i64, until: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE deliveries SET due = ?2 WHERE source = ?1 AND state = 'waiting' AND leased = 0 AND due < ?2";
    tx.execute(sql, (source, until.as_millis()))?;
    Ok(())
}

/// Ends all messages of a source that wait: its address is gone.
pub fn end_all(tx: &Tx<'_>, source: i64, at: Timestamp, error: &str) -> Result<(), StoreError> {
    let sql = "UPDATE deliveries SET state = 'dead', due = NULL, leased = 0, ended_at = ?2, last_error = ?3
               WHERE source = ?1 AND state = 'waiting'";
    tx.execute(sql, (source, at.as_millis(), error))?;
    Ok(())
}

/// Has a message delivered again from now on, with all tries.
pub fn again(tx: &Tx<'_>, delivery: i64, now: Timestamp) -> Result<(), StoreError> {
    let sql =
        "UPDATE deliveries SET state = 'waiting', due = ?2, leased = 0, tries = 0, ended_at = NULL, lease = lease + 1
               WHERE delivery = ?1";
    tx.execute(sql, (delivery, now.as_millis()))?;
    Ok(())
}
