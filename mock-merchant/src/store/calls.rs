//! Calls to the bank as durable jobs: intent, lease, outcome.

use super::read::{count, counted, money, optional_hold, subject, time, words};
use super::{StoreError, Tx};
use crate::bank::port::Subject;
use rusqlite::Row;
use walkpay::{HoldId, Money, Timestamp, TripId};

words! {
    /// What the bank is asked for.
    CallKind {
        /// Place a hold.
        Place = "place",
        /// Raise a placed hold.
        Raise = "raise",
        /// Free a hold.
        Release = "release",
        /// Debit from a hold.
        Capture = "capture",
        /// Debit without a hold.
        Debit = "debit",
        /// Give back a partial approval.
        Reverse = "reverse",
        /// Give back what came late.
        Refund = "refund",
    }
}

words! {
    /// What to do next about an open call.
    CallStep {
        /// Make it.
        Call = "call",
        /// It may have left: ask the bank first.
        Query = "query",
    }
}

words! {
    /// What is known of a call.
    CallState {
        /// No definite answer yet.
        Open = "open",
        /// Done.
        Approved = "approved",
        /// Refused, and never to be done under this reference.
        Declined = "declined",
    }
}

/// A call to the bank.
#[derive(Clone, Debug, PartialEq)]
pub struct BankCall {
    /// Row.
    pub call: i64,
    /// Its reference at the bank.
    pub reference: String,
    /// What the money is about.
    pub subject: Subject,
    /// The payment attempt of a slip that it is for.
    pub pay: Option<i64>,
    /// The refund of an order that it is for.
    pub refund: Option<i64>,
    /// What is asked for.
    pub kind: CallKind,
    /// The hold request that it is about.
    pub hold: Option<HoldId>,
    /// The reference of the hold's entry, or of what is given back.
    pub original: Option<String>,
    /// The account's token, while the call is open.
    pub account: Option<String>,
    /// How much.
    pub amount: Money,
    /// What to do next.
    pub step: CallStep,
    /// What is known.
    pub state: CallState,
    /// How much was approved.
    pub approved: Option<i64>,
    /// How often it was tried.
    pub tries: u32,
    /// Rises with each lease; an answer without effect on the outcome counts only under the newest.
    pub lease: u64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT call, reference, subject, kind, hold, original, account, currency, minor, step, state, \
             approved, tries, lease, pay, refund ",
            "FROM bank_calls ",
            $rest
        )
    };
}

fn read(r: &Row<'_>) -> rusqlite::Result<BankCall> {
    Ok(BankCall {
        call: r.get(0)?,
        reference: r.get(1)?,
        subject: subject(r, 2)?,
        pay: r.get(14)?,
        refund: r.get(15)?,
        kind: r.get(3)?,
        hold: optional_hold(r, 4)?,
        original: r.get(5)?,
        account: r.get(6)?,
        amount: money(r, 7)?,
        step: r.get(9)?,
        state: r.get(10)?,
        approved: r.get(11)?,
        tries: r.get(12)?,
        lease: count(r, 13)?,
    })
}

impl BankCall {
    /// The visit that a call is about which is for no payment of a slip.
    pub fn trip(&self) -> Result<TripId, StoreError> {
        self.subject.trip().map_err(|e| StoreError::Defect(format!("trip of bank call {}: {e}", self.call)))
    }
}

/// A call to be made.
pub struct NewCall<'a> {
    /// Its reference at the bank.
    pub reference: &'a str,
    /// What the money is about.
    pub subject: Subject,
    /// The payment attempt of a slip that it is for.
    pub pay: Option<i64>,
    /// The refund of an order that it is for.
    pub refund: Option<i64>,
    /// What is asked for.
    pub kind: CallKind,
    /// The hold request that it is about.
    pub hold: Option<&'a HoldId>,
    /// The reference of the hold's entry, or of what is given back.
    pub original: Option<&'a str>,
    /// The account's token, for calls that name it.
    pub account: Option<&'a str>,
    /// How much.
    pub amount: Money,
}

/// Orders a call, due at once; `false` if there is one under its reference.
pub fn order(tx: &Tx<'_>, new: &NewCall<'_>, now: Timestamp) -> Result<bool, StoreError> {
    tx.note_work();
    let changed = tx.execute(
        "INSERT INTO bank_calls (merchant, reference, subject, kind, hold, original, account, currency, minor, step, state,
           due, made_at, pay, refund) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'call', 'open', ?9, ?9, ?10, ?11) ON CONFLICT (reference) DO NOTHING",
        (
            new.reference,
            new.subject.as_bytes(),
            new.kind,
            new.hold.map(HoldId::as_bytes),
            new.original,
            new.account,
            new.amount.currency.code(),
            new.amount.minor,
            now.as_millis(),
            new.pay,
            new.refund,
        ),
    )?;
    Ok(changed == 1)
}

/// A call by its row.
pub fn get(tx: &Tx<'_>, call: i64) -> Result<BankCall, StoreError> {
    let found = tx.first(select!("WHERE call = ?1"), [call], read)?;
    found.ok_or_else(|| StoreError::Defect(format!("no bank call {call}")))
}

/// A call by its reference.
pub fn find(tx: &Tx<'_>, reference: &str) -> Result<Option<BankCall>, StoreError> {
    tx.first(select!("WHERE reference = ?1"), [reference], read)
}

/// The calls of a visit.
pub fn of_trip(tx: &Tx<'_>, trip: &TripId) -> Result<Vec<BankCall>, StoreError> {
    tx.all(select!("WHERE subject = ?1 ORDER BY call"), [trip.as_bytes()], read)
}

/// Takes the call that is due longest, under a new lease until `until`. From the commit of this on it may have left.
pub fn lease(tx: &Tx<'_>, now: Timestamp, until: Timestamp) -> Result<Option<BankCall>, StoreError> {
    let sql = select!("WHERE state = 'open' AND due <= ?1 ORDER BY due LIMIT 1");
    let Some(mut call) = tx.first(sql, [now.as_millis()], read)? else {
        return Ok(None);
    };
    let sql = "UPDATE bank_calls SET step = 'query', due = ?2, lease = lease + 1, tries = tries + 1 WHERE call = ?1";
    tx.execute(sql, (call.call, until.as_millis()))?;
    call.lease += 1;
    call.tries = call.tries.saturating_add(1);
    Ok(Some(call))
}

/// When the next open call is due.
pub fn next_due(tx: &Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    tx.first("SELECT due FROM bank_calls WHERE state = 'open' ORDER BY due LIMIT 1", [], |r| time(r, 0))
}

/// How many calls are open.
pub fn open_count(tx: &Tx<'_>) -> Result<u64, StoreError> {
    let open = tx.first("SELECT count(*) FROM bank_calls WHERE state = 'open'", [], |r| count(r, 0))?;
    Ok(open.unwrap_or(0))
}

/// Puts an open call off.
pub fn put_off(tx: &Tx<'_>, call: i64, step: CallStep, due: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE bank_calls SET step = ?2, due = ?3 WHERE call = ?1 AND state = 'open'";
    tx.execute(sql, (call, step, due.as_millis()))?;
    Ok(())
}

/// Keeps the definite answer.
pub fn settle(
    tx: &Tx<'_>,
    call: i64,
    state: CallState,
    approved: Option<i64>,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    let sql = "UPDATE bank_calls SET state = ?2, approved = ?3, reason = ?4, due = NULL, account = NULL
               WHERE call = ?1 AND state = 'open'";
    match tx.execute(sql, (call, state, approved, reason))? {
        1 => Ok(()),
        _ => Err(StoreError::Defect(format!("bank call {call} is settled"))),
    }
}

/// Where the reading of the bank's statement stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// The last entry that was read.
    pub seq: u64,
    /// When it is read again.
    pub due: Timestamp,
    /// Rises with each lease.
    pub lease: u64,
    /// How often in a row there was no answer.
    pub tries: u32,
}

/// Where the reading of the bank's statement stands.
pub fn cursor(tx: &Tx<'_>) -> Result<Cursor, StoreError> {
    let sql = "SELECT seq, due, lease, tries FROM statement_cursor WHERE merchant = 1";
    let found = tx.first(sql, [], |r| {
        Ok(Cursor { seq: count(r, 0)?, due: time(r, 1)?, lease: count(r, 2)?, tries: r.get(3)? })
    })?;
    found.ok_or_else(|| StoreError::Defect("no statement cursor".to_owned()))
}

/// Keeps where the reading stands.
pub fn set_cursor(tx: &Tx<'_>, cursor: &Cursor) -> Result<(), StoreError> {
    let sql = "UPDATE statement_cursor SET seq = ?1, due = ?2, lease = ?3, tries = ?4 WHERE merchant = 1";
    tx.execute(sql, (counted(cursor.seq), cursor.due.as_millis(), counted(cursor.lease), cursor.tries))?;
    Ok(())
}

/// Has the statement read at `due` unless it is read earlier.
pub fn read_statement_by(tx: &Tx<'_>, due: Timestamp) -> Result<(), StoreError> {
    tx.note_work();
    tx.execute("UPDATE statement_cursor SET due = ?1 WHERE merchant = 1 AND due > ?1", [due.as_millis()])?;
    Ok(())
}
