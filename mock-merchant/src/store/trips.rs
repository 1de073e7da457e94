//! Visits.

use super::read::{count, counted, time, trip, words};
use super::{StoreError, Tx};
use rusqlite::Row;
use std::time::Duration;
use walkpay::{Timestamp, TripId};

words! {
    /// How far a visit is.
    TripState {
        /// Being shopped.
        Open = "open",
        /// Given up.
        Cancelled = "cancelled",
        /// One of its baskets was accepted.
        Accepted = "accepted",
    }
}

/// A visit.
#[derive(Clone, Debug, PartialEq)]
pub struct Trip {
    /// Its identifier.
    pub trip: TripId,
    /// The store's row; unknown when the first thing that was heard of it is its cancellation.
    pub store: Option<i64>,
    /// The user's row.
    pub user: i64,
    /// The device's row.
    pub device: i64,
    /// How far it is.
    pub state: TripState,
    /// When it was first heard of.
    pub first_seen: Timestamp,
    /// The highest attempt so far, 0 for none.
    pub attempt: u32,
    /// The accepted attempt.
    pub accepted: Option<u32>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT trip, store, user, device, state, first_seen, attempt, accepted FROM trips ", $rest)
    };
}

fn read(r: &Row<'_>) -> rusqlite::Result<Trip> {
    Ok(Trip {
        trip: trip(r, 0)?,
        store: r.get(1)?,
        user: r.get(2)?,
        device: r.get(3)?,
        state: r.get(4)?,
        first_seen: time(r, 5)?,
        attempt: r.get(6)?,
        accepted: r.get(7)?,
    })
}

/// A visit by its identifier.
pub fn find(tx: &Tx<'_>, trip: &TripId) -> Result<Option<Trip>, StoreError> {
    tx.first(select!("WHERE trip = ?1"), [trip.as_bytes()], read)
}

/// A visit that must be there.
pub fn get(tx: &Tx<'_>, trip: &TripId) -> Result<Trip, StoreError> {
    find(tx, trip)?.ok_or_else(|| StoreError::Defect(format!("no trip {trip}")))
}

impl Trip {
    /// A visit that is heard of for the first time; nothing is written of it.
    pub fn new(trip: TripId, store: Option<i64>, user: i64, device: i64, now: Timestamp) -> Self {
        let (state, attempt, accepted) = (TripState::Open, 0, None);
        Self { trip, store, user, device, state, first_seen: now, attempt, accepted }
    }
}

/// Adds a visit as it is; its first sign of life is its last.
pub fn add(tx: &Tx<'_>, new: &Trip) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO trips (trip, merchant, store, user, device, state, first_seen, last_sign, attempt, accepted)
         VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8)",
        (
            new.trip.as_bytes(),
            new.store,
            new.user,
            new.device,
            new.state,
            new.first_seen.as_millis(),
            new.attempt,
            new.accepted,
        ),
    )?;
    Ok(())
}

/// Opens a visit.
pub fn open(
    tx: &Tx<'_>,
    trip: &TripId,
    store: Option<i64>,
    user: i64,
    device: i64,
    now: Timestamp,
) -> Result<Trip, StoreError> {
    let trip = Trip::new(*trip, store, user, device, now);
    add(tx, &trip)?;
    Ok(trip)
}

/// Notes a sign of life, and the highest attempt.
pub fn sign(tx: &Tx<'_>, trip: &TripId, attempt: u32, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE trips SET last_sign = max(last_sign, ?3), attempt = max(attempt, ?2) WHERE trip = ?1";
    tx.execute(sql, (trip.as_bytes(), attempt, now.as_millis()))?;
    Ok(())
}

/// Closes a visit with an accepted attempt.
pub fn accept(tx: &Tx<'_>, trip: &TripId, attempt: u32) -> Result<(), StoreError> {
    let sql = "UPDATE trips SET state = 'accepted', accepted = ?2 WHERE trip = ?1 AND state = 'open'";
    match tx.execute(sql, (trip.as_bytes(), attempt))? {
        1 => Ok(()),
        _ => Err(StoreError::Defect(format!("trip {trip} is not open"))),
    }
}

/// Closes a visit without one.
pub fn cancel(tx: &Tx<'_>, trip: &TripId) -> Result<(), StoreError> {
    let sql = "UPDATE trips SET state = 'cancelled' WHERE trip = ?1 AND state = 'open'";
    match tx.execute(sql, [trip.as_bytes()])? {
        1 => Ok(()),
        _ => Err(StoreError::Defect(format!("trip {trip} is not open"))),
    }
}

/// The first request to cancel a visit: its digest, when it was recorded, the last event then.
pub fn cancellation(tx: &Tx<'_>, trip: &TripId) -> Result<Option<([u8; 32], Timestamp, u64)>, StoreError> {
    let sql =
        "SELECT cancel_sha256, cancel_at, cancel_last_seq FROM trips WHERE trip = ?1 AND cancel_sha256 IS NOT NULL";
    tx.first(sql, [trip.as_bytes()], |r| Ok((r.get(0)?, time(r, 1)?, count(r, 2)?)))
}

/// Keeps the first request to cancel a visit.
pub fn note_cancellation(
    tx: &Tx<'_>,
    trip: &TripId,
    sha256: &[u8; 32],
    at: Timestamp,
    last_seq: u64,
) -> Result<(), StoreError> {
    let sql = "UPDATE trips SET cancel_sha256 = ?2, cancel_at = ?3, cancel_last_seq = ?4 WHERE trip = ?1";
    tx.execute(sql, (trip.as_bytes(), sha256, at.as_millis(), counted(last_seq)))?;
    Ok(())
}

/// Open visits without a sign of life since `before`.
pub fn idle(tx: &Tx<'_>, before: Timestamp, limit: u32) -> Result<Vec<TripId>, StoreError> {
    let sql = "SELECT trip FROM trips WHERE state = 'open' AND last_sign <= ?1 ORDER BY last_sign LIMIT ?2";
    tx.all(sql, (before.as_millis(), limit), |r| trip(r, 0))
}

/// When the next open visit is idle for `idle`.
pub fn next_idle(tx: &Tx<'_>, idle: Duration) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT last_sign FROM trips WHERE state = 'open' ORDER BY last_sign LIMIT 1";
    Ok(tx.first(sql, [], |r| time(r, 0))?.map(|t| t.plus(idle)))
}
