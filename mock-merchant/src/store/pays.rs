//! Payment attempts: each try to pay a slip, and the stored value that it reserves.

use super::payments::{method_of, method_word};
use super::read::{counted, money, time, unreadable, words};
use super::slips::slip_in;
use super::{StoreError, Tx};
use rusqlite::Row;
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::order::{Launch, PaymentStatus};
use walkpay::{Money, PaymentId, SlipNumber, Timestamp};

words! {
    /// Where an attempt stands.
    PayState {
        /// Under way; an outcome that is not known is one of these.
        Open = "open",
        /// Being given up: the channel has not confirmed yet that nothing will come.
        Closing = "closing",
        /// Paid.
        Succeeded = "succeeded",
        /// Over without a payment.
        Closed = "closed",
    }
}

impl PayState {
    /// As it is told.
    pub fn status(self) -> PaymentStatus {
        match self {
            Self::Open => PaymentStatus::Open,
            Self::Closing => PaymentStatus::Closing,
            Self::Succeeded => PaymentStatus::Succeeded,
            Self::Closed => PaymentStatus::Closed,
        }
    }
}

/// A payment attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Pay {
    /// Row.
    pub pay: i64,
    /// Its identifier, made on the device.
    pub payment_id: PaymentId,
    /// Its slip.
    pub slip: SlipNumber,
    /// 1, 2, … within the slip.
    pub n: u32,
    /// How.
    pub method: PaymentMethod,
    /// What the channel knows it by.
    pub channel_number: String,
    /// What the channel is to collect.
    pub amount: Money,
    /// What is taken from stored value beside it.
    pub stored_value: i64,
    /// The device that asked for it.
    pub device: Option<i64>,
    /// Digest of what it was asked with.
    pub body_sha256: [u8; 32],
    /// The slip payment that the consent key signed.
    pub jws: Option<String>,
    /// Where it stands.
    pub state: PayState,
    /// What the host needs for letting the payer pay.
    pub launch: Option<Launch>,
    /// Why it was closed.
    pub reason: Option<String>,
    /// The deadline that is sent to the channel.
    pub deadline: Timestamp,
}

impl Pay {
    /// Whether it may still become a payment by itself.
    pub fn is_live(&self) -> bool {
        matches!(self.state, PayState::Open | PayState::Closing)
    }

    /// All of it.
    pub fn total(&self) -> Money {
        self.amount.currency.minor(self.amount.minor.saturating_add(self.stored_value))
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT pay, payment_id, slip, n, method, channel_number, currency, minor, stored_value, device, body_sha256, \
             jws, state, launch, reason, deadline FROM payment_attempts ",
            $rest
        )
    };
}

fn read(r: &Row<'_>) -> rusqlite::Result<Pay> {
    let launch: Option<String> = r.get(13)?;
    let launch = launch.map(|json| serde_json::from_str(&json)).transpose();
    Ok(Pay {
        pay: r.get(0)?,
        payment_id: PaymentId::from_bytes(r.get(1)?).map_err(|e| unreadable(1, e))?,
        slip: slip_in(r, 2)?,
        n: r.get(3)?,
        method: method_of(r, 4)?,
        channel_number: r.get(5)?,
        amount: money(r, 6)?,
        stored_value: r.get(8)?,
        device: r.get(9)?,
        body_sha256: r.get(10)?,
        jws: r.get(11)?,
        state: r.get(12)?,
        launch: launch
            .map_err(|e| rusqlite::Error::FromSqlConversionFailure(13, rusqlite::types::Type::Text, Box::new(e)))?,
        reason: r.get(14)?,
        deadline: time(r, 15)?,
    })
}

/// Adds an open attempt; its row is in the answer. `new.pay` is ignored.
pub fn add(tx: &Tx<'_>, new: &Pay, now: Timestamp) -> Result<i64, StoreError> {
    tx.insert(
        "INSERT INTO payment_attempts (merchant, payment_id, slip, n, method, channel_number, currency, minor, stored_value,
           device, body_sha256, jws, state, deadline, opened_at)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'open', ?12, ?13)",
        (
            new.payment_id.as_bytes(),
            counted(new.slip.number()),
            new.n,
            method_word(new.method),
            &new.channel_number,
            new.amount.currency.code(),
            new.amount.minor,
            new.stored_value,
            new.device,
            new.body_sha256,
            &new.jws,
            new.deadline.as_millis(),
            now.as_millis(),
        ),
    )
}

/// An attempt by its row.
pub fn get(tx: &Tx<'_>, pay: i64) -> Result<Pay, StoreError> {
    let found = tx.first(select!("WHERE pay = ?1"), [pay], read)?;
    found.ok_or_else(|| StoreError::Defect(format!("no payment attempt {pay}")))
}

/// An attempt by an identifier that somebody gave.
pub fn find(tx: &Tx<'_>, payment_id: &PaymentId) -> Result<Option<Pay>, StoreError> {
    tx.first(select!("WHERE payment_id = ?1"), [payment_id.as_bytes()], read)
}

/// An attempt by the number that its channel knows it by.
pub fn of_number(tx: &Tx<'_>, channel_number: &str) -> Result<Option<Pay>, StoreError> {
    tx.first(select!("WHERE channel_number = ?1"), [channel_number], read)
}

/// The attempts of a slip, the newest last.
pub fn of_slip(tx: &Tx<'_>, slip: SlipNumber) -> Result<Vec<Pay>, StoreError> {
    tx.all(select!("WHERE slip = ?1 ORDER BY n"), [counted(slip.number())], read)
}

/// Sets where an attempt stands.
pub fn set_state(
    tx: &Tx<'_>,
    pay: i64,
    state: PayState,
    reason: Option<&str>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let over = matches!(state, PayState::Succeeded | PayState::Closed).then_some(at.as_millis());
    let sql = "UPDATE payment_attempts SET state = ?2, reason = ?3, closed_at = ?4 WHERE pay = ?1";
    tx.execute(sql, (pay, state, reason, over))?;
    Ok(())
}

/// Keeps what the host needs for letting the payer pay.
pub fn set_launch(tx: &Tx<'_>, pay: i64, launch: &Launch) -> Result<(), StoreError> {
    let json = serde_json::to_string(launch).map_err(|e| StoreError::Defect(format!("launch data: {e}")))?;
    tx.execute("UPDATE payment_attempts SET launch = ?2 WHERE pay = ?1", (pay, json))?;
    Ok(())
}

/// Open attempts at channels whose deadline is over.
pub fn ending(tx: &Tx<'_>, now: Timestamp, limit: u32) -> Result<Vec<Pay>, StoreError> {
    let sql = select!(
        "WHERE state IN ('open', 'closing') AND state = 'open' AND method NOT IN ('bank', 'stored_value')
         AND deadline <= ?1 ORDER BY deadline LIMIT ?2"
    );
    tx.all(sql, (now.as_millis(), limit), read)
}

/// When the next open attempt at a channel ends.
pub fn next_end(tx: &Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT deadline FROM payment_attempts WHERE state IN ('open', 'closing') AND state = 'open'
               AND method NOT IN ('bank', 'stored_value') ORDER BY deadline LIMIT 1";
    tx.first(sql, [], |r| time(r, 0))
}

/// Reserves stored value for an attempt.
pub fn reserve(tx: &Tx<'_>, pay: i64, account: i64, minor: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO pay_reservations (pay, account, minor, state) VALUES (?1, ?2, ?3, 'open')";
    tx.execute(sql, (pay, account, minor))?;
    tx.execute("UPDATE accounts SET reserved = reserved + ?2 WHERE account = ?1", (account, minor))?;
    Ok(())
}

/// Ends the reservation of an attempt: it is posted in this transaction, or given back. Its account and amount.
pub fn end_reservation(tx: &Tx<'_>, pay: i64, posted: bool) -> Result<Option<(i64, i64)>, StoreError> {
    let state = if posted { "posted" } else { "released" };
    let sql = "UPDATE pay_reservations SET state = ?2 WHERE pay = ?1 AND state = 'open' RETURNING account, minor";
    let taken: Option<(i64, i64)> = tx.first(sql, (pay, state), |r| Ok((r.get(0)?, r.get(1)?)))?;
    if let Some((account, minor)) = taken {
        tx.execute("UPDATE accounts SET reserved = reserved - ?2 WHERE account = ?1", (account, minor))?;
    }
    Ok(taken)
}
