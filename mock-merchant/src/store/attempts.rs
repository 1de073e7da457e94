//! Signed baskets and what became of them.

use super::read::{count, counted, time, trip, words};
use super::{StoreError, Tx};
use walkpay::protocol::document::Reason;
use walkpay::{Timestamp, TripId};

words! {
    /// Where an attempt stands.
    AttemptState {
        /// A hold of its trip is on its way to the bank.
        Waiting = "waiting",
        /// Staff must look first.
        Check = "check",
        /// Not covered.
        Uncovered = "uncovered",
        /// Refused.
        Rejected = "rejected",
        /// Accepted.
        Accepted = "accepted",
    }
}

/// An attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// The visit.
    pub trip: TripId,
    /// 1, 2, ….
    pub attempt: u32,
    /// The signed summary.
    pub jws: String,
    /// Where it stands.
    pub state: AttemptState,
    /// What staff must check before it is accepted.
    pub checks: Vec<Reason>,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// What an attempt was first answered with, and the digest of its body.
pub fn record(tx: &Tx<'_>, trip: &TripId, attempt: u32) -> Result<Option<([u8; 32], Timestamp, u64)>, StoreError> {
    let sql = "SELECT body_sha256, recorded_at, last_seq FROM attempts WHERE trip = ?1 AND attempt = ?2";
    tx.first(sql, (trip.as_bytes(), attempt), |r| Ok((r.get(0)?, time(r, 1)?, count(r, 2)?)))
}

/// Adds an attempt with its first verdict. The goods are kept unless that is a refusal.
#[allow(clippy::too_many_arguments, reason = "one row, written once, on the hot path")]
pub fn add(
    tx: &Tx<'_>,
    new: &Attempt,
    reasons: &[Reason],
    body_sha256: &[u8; 32],
    lines: &[u8],
    last_seq: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let decided = (new.state != AttemptState::Waiting).then_some(now.as_millis());
    tx.execute(
        "INSERT INTO attempts (trip, attempt, body_sha256, jws, state, checks, reasons, decided_at, recorded_at, last_seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        (
            new.trip.as_bytes(),
            new.attempt,
            body_sha256,
            &new.jws,
            new.state,
            reasons_text(&new.checks)?,
            reasons_text(reasons)?,
            decided,
            new.recorded_at.as_millis(),
            counted(last_seq),
        ),
    )?;
    if new.state != AttemptState::Rejected {
        tx.execute(
            "INSERT INTO attempt_lines (trip, attempt, lines) VALUES (?1, ?2, ?3)",
            (new.trip.as_bytes(), new.attempt, lines),
        )?;
    }
    Ok(())
}

/// Gives an attempt that waits for the bank or for staff its verdict.
pub fn decide(
    tx: &Tx<'_>,
    trip: &TripId,
    attempt: u32,
    state: AttemptState,
    reasons: &[Reason],
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE attempts SET state = ?3, reasons = ?4, decided_at = ?5
               WHERE trip = ?1 AND attempt = ?2 AND state IN ('waiting', 'check')";
    match tx.execute(sql, (trip.as_bytes(), attempt, state, reasons_text(reasons)?, now.as_millis()))? {
        1 => Ok(()),
        _ => Err(StoreError::Defect(format!("attempt {attempt} of {trip} has its verdict"))),
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT trip, attempt, jws, state, checks, recorded_at FROM attempts ", $rest)
    };
}

fn read(r: &rusqlite::Row<'_>) -> rusqlite::Result<Attempt> {
    let checks: Option<String> = r.get(4)?;
    let checks = checks
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, Box::new(e)))?;
    Ok(Attempt {
        trip: trip(r, 0)?,
        attempt: r.get(1)?,
        jws: r.get(2)?,
        state: r.get(3)?,
        checks: checks.unwrap_or_default(),
        recorded_at: time(r, 5)?,
    })
}

/// An attempt by its number.
pub fn find(tx: &Tx<'_>, trip: &TripId, attempt: u32) -> Result<Option<Attempt>, StoreError> {
    tx.first(select!("WHERE trip = ?1 AND attempt = ?2"), (trip.as_bytes(), attempt), read)
}

/// The attempts of a visit that wait for the bank or for staff, in order.
pub fn undecided(tx: &Tx<'_>, trip: &TripId) -> Result<Vec<Attempt>, StoreError> {
    let sql = select!("WHERE trip = ?1 AND state IN ('waiting', 'check') ORDER BY attempt");
    tx.all(sql, [trip.as_bytes()], read)
}

/// The attempts of a store that wait for staff, oldest first.
pub fn checks(tx: &Tx<'_>, store: i64, limit: u32) -> Result<Vec<Attempt>, StoreError> {
    let sql =
        "SELECT a.trip, a.attempt, a.jws, a.state, a.checks, a.recorded_at FROM attempts a JOIN trips t USING (trip)
               WHERE a.state = 'check' AND t.store = ?1 ORDER BY a.recorded_at LIMIT ?2";
    tx.all(sql, (store, limit), read)
}

/// How many baskets of a user's other visits wait for staff.
pub fn checks_of_user(tx: &Tx<'_>, user: i64, but: &TripId) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM attempts a JOIN trips t USING (trip) WHERE a.state = 'check' AND t.user = ?1 AND a.trip <> ?2";
    Ok(tx.first(sql, (user, but.as_bytes()), |r| count(r, 0))?.unwrap_or(0))
}

/// The lines' bytes, unless erased.
pub fn lines(tx: &Tx<'_>, trip: &TripId, attempt: u32) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT lines FROM attempt_lines WHERE trip = ?1 AND attempt = ?2";
    tx.first(sql, (trip.as_bytes(), attempt), |r| r.get(0))
}

/// Keeps a decision; `false` if there is one.
pub fn add_decision(
    tx: &Tx<'_>,
    trip: &TripId,
    attempt: u32,
    staff_id: &str,
    accept: bool,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let sql =
        "INSERT OR IGNORE INTO decisions (trip, attempt, staff_id, accept, decided_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    Ok(tx.execute(sql, (trip.as_bytes(), attempt, staff_id, accept, at.as_millis()))? == 1)
}

/// Whether staff has accepted an attempt.
pub fn staff_accepted(tx: &Tx<'_>, trip: &TripId, attempt: u32) -> Result<bool, StoreError> {
    let sql = "SELECT accept FROM decisions WHERE trip = ?1 AND attempt = ?2";
    Ok(tx.first(sql, (trip.as_bytes(), attempt), |r| r.get(0))?.unwrap_or(false))
}

fn reasons_text(reasons: &[Reason]) -> Result<Option<String>, StoreError> {
    if reasons.is_empty() {
        return Ok(None);
    }
    serde_json::to_string(reasons).map(Some).map_err(|e| StoreError::Defect(format!("reasons: {e}")))
}
