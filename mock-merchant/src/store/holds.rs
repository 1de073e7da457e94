//! Holds.

use super::read::{count, counted, hold, money, optional_hold, optional_time, time, trip, words};
use super::{StoreError, Tx};
use rusqlite::Row;
use walkpay::protocol::document::HoldStatus;
use walkpay::{HoldId, Money, Timestamp, TripId};

words! {
    /// What is known of a hold. All but the first two are final: a hold is resolved once.
    HoldState {
        /// Taken in, not answered by the bank yet.
        Accepted = "accepted",
        /// The bank reserves the money.
        Placed = "placed",
        /// The bank refused.
        Declined = "declined",
        /// Freed without a capture.
        Released = "released",
        /// Freed by the bank.
        Expired = "expired",
        /// Used for a debit.
        Captured = "captured",
        /// A raised hold has taken its place.
        Replaced = "replaced",
    }
}

impl HoldState {
    /// What the device is told.
    pub fn status(self) -> HoldStatus {
        match self {
            Self::Accepted => HoldStatus::Accepted,
            Self::Placed => HoldStatus::Placed,
            Self::Declined => HoldStatus::Declined,
            Self::Released => HoldStatus::Released,
            Self::Expired => HoldStatus::Expired,
            Self::Captured => HoldStatus::Captured,
            Self::Replaced => HoldStatus::Replaced,
        }
    }
}

/// A hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// Its identifier.
    pub hold: HoldId,
    /// The visit.
    pub trip: TripId,
    /// 1 for the first of the visit.
    pub number: u32,
    /// The one that it takes the place of.
    pub replaces: Option<HoldId>,
    /// The amount of the request.
    pub amount: Money,
    /// What is known of it.
    pub state: HoldState,
    /// The bank's entry that reserves the money: the reference under which it was first placed.
    pub entry: Option<String>,
    /// When the bank frees it by itself.
    pub expires_at: Option<Timestamp>,
    /// Whether a release has been ordered.
    pub releasing: bool,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT hold, trip, number, replaces, currency, minor, state, entry, expires_at, releasing FROM holds ",
            $rest
        )
    };
}

fn read(r: &Row<'_>) -> rusqlite::Result<Hold> {
    Ok(Hold {
        hold: hold(r, 0)?,
        trip: trip(r, 1)?,
        number: r.get(2)?,
        replaces: optional_hold(r, 3)?,
        amount: money(r, 4)?,
        state: r.get(6)?,
        entry: r.get(7)?,
        expires_at: optional_time(r, 8)?,
        releasing: r.get(9)?,
    })
}

/// A hold by its identifier.
pub fn find(tx: &Tx<'_>, hold: &HoldId) -> Result<Option<Hold>, StoreError> {
    tx.first(select!("WHERE hold = ?1"), [hold.as_bytes()], read)
}

/// A hold that must be there.
pub fn get(tx: &Tx<'_>, hold: &HoldId) -> Result<Hold, StoreError> {
    find(tx, hold)?.ok_or_else(|| StoreError::Defect(format!("no hold {hold}")))
}

/// The holds of a visit, in order.
pub fn of_trip(tx: &Tx<'_>, trip: &TripId) -> Result<Vec<Hold>, StoreError> {
    tx.all(select!("WHERE trip = ?1 ORDER BY number"), [trip.as_bytes()], read)
}

/// The document, when it was recorded, and the last event then.
pub fn record(tx: &Tx<'_>, hold: &HoldId) -> Result<Option<(String, Timestamp, u64)>, StoreError> {
    let sql = "SELECT jws, recorded_at, last_seq FROM holds WHERE hold = ?1";
    tx.first(sql, [hold.as_bytes()], |r| Ok((r.get(0)?, time(r, 1)?, count(r, 2)?)))
}

/// Adds a hold in state `accepted`.
pub fn add(tx: &Tx<'_>, new: &Hold, jws: &str, at: Timestamp, last_seq: u64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO holds (hold, trip, number, replaces, currency, minor, jws, state, recorded_at, last_seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        (
            new.hold.as_bytes(),
            new.trip.as_bytes(),
            new.number,
            new.replaces.as_ref().map(HoldId::as_bytes),
            new.amount.currency.code(),
            new.amount.minor,
            jws,
            new.state,
            at.as_millis(),
            counted(last_seq),
        ),
    )?;
    Ok(())
}

/// The bank reserves the money under `entry`.
pub fn place(tx: &Tx<'_>, hold: &HoldId, entry: &str, expires_at: Option<Timestamp>) -> Result<(), StoreError> {
    let sql = "UPDATE holds SET state = 'placed', entry = ?2, expires_at = ?3 WHERE hold = ?1 AND state = 'accepted'";
    once(tx.execute(sql, (hold.as_bytes(), entry, expires_at.map(Timestamp::as_millis)))?, hold)
}

/// Resolves a hold, which happens once.
pub fn resolve(tx: &Tx<'_>, hold: &HoldId, state: HoldState) -> Result<(), StoreError> {
    let sql = "UPDATE holds SET state = ?2 WHERE hold = ?1 AND state IN ('accepted', 'placed')";
    once(tx.execute(sql, (hold.as_bytes(), state))?, hold)
}

/// Notes that a release has been ordered.
pub fn set_releasing(tx: &Tx<'_>, hold: &HoldId) -> Result<(), StoreError> {
    tx.execute("UPDATE holds SET releasing = 1 WHERE hold = ?1", [hold.as_bytes()])?;
    Ok(())
}

/// Placed holds whose time is over, that nothing has been ordered for and that no debit is using.
pub fn expired(tx: &Tx<'_>, now: Timestamp, limit: u32) -> Result<Vec<Hold>, StoreError> {
    let sql = select!(
        "WHERE state = 'placed' AND releasing = 0 AND expires_at <= ?1
         AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.trip = holds.trip AND p.state <> 'closed')
         ORDER BY expires_at LIMIT ?2"
    );
    tx.all(sql, (now.as_millis(), limit), read)
}

/// When the next hold's time is over.
pub fn next_expiry(tx: &Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT expires_at FROM holds WHERE state = 'placed' AND releasing = 0 AND expires_at IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.trip = holds.trip AND p.state <> 'closed')
               ORDER BY expires_at LIMIT 1";
    tx.first(sql, [], |r| time(r, 0))
}

fn once(changed: usize, hold: &HoldId) -> Result<(), StoreError> {
    match changed {
        1 => Ok(()),
        _ => Err(StoreError::Defect(format!("hold {hold} is resolved already"))),
    }
}
