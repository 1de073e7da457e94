//! Calls to payment channels as durable jobs, and what channels have collected.

use super::calls::CallStep;
use super::payments::{method_of, method_word};
use super::read::{count, money, time, words};
use super::{StoreError, Tx};
use rusqlite::Row;
use walkpay::protocol::document::PaymentMethod;
use walkpay::{Money, Timestamp};

words! {
    /// What a channel is asked for.
    ChannelKind {
        /// A trade; the job goes on asking how it stands until the attempt is over.
        Create = "create",
        /// The end of a trade.
        Close = "close",
        /// Money back.
        Refund = "refund",
    }
}

words! {
    /// What is known of a call.
    ChannelCallState {
        /// No definite answer yet.
        Open = "open",
        /// Done, or not needed any more.
        Done = "done",
        /// Refused, and never to be done under this reference.
        Refused = "refused",
    }
}

/// A call to a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelCall {
    /// Row.
    pub call: i64,
    /// The payment attempt.
    pub pay: i64,
    /// The refund of an order that it is for.
    pub refund: Option<i64>,
    /// The receipt in suspense that it gives back.
    pub receipt: Option<i64>,
    /// What is asked for.
    pub kind: ChannelKind,
    /// The channel's number of the attempt, or that of the refund.
    pub reference: String,
    /// How much.
    pub amount: Money,
    /// What to do next.
    pub step: CallStep,
    /// What is known.
    pub state: ChannelCallState,
    /// How often it was tried.
    pub tries: u32,
    /// Rises with each lease.
    pub lease: u64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT call, pay, refund, receipt, kind, reference, currency, minor, step, state, tries, lease FROM channel_calls ",
            $rest
        )
    };
}

fn read(r: &Row<'_>) -> rusqlite::Result<ChannelCall> {
    Ok(ChannelCall {
        call: r.get(0)?,
        pay: r.get(1)?,
        refund: r.get(2)?,
        receipt: r.get(3)?,
        kind: r.get(4)?,
        reference: r.get(5)?,
        amount: money(r, 6)?,
        step: r.get(8)?,
        state: r.get(9)?,
        tries: r.get(10)?,
        lease: count(r, 11)?,
    })
}

/// A call to be made.
pub struct NewChannelCall<'a> {
    /// The payment attempt.
    pub pay: i64,
    /// The refund of an order that it is for.
    pub refund: Option<i64>,
    /// The receipt in suspense that it gives back.
    pub receipt: Option<i64>,
    /// What is asked for.
    pub kind: ChannelKind,
    /// The channel's number of the attempt, or that of the refund.
    pub reference: &'a str,
    /// How much.
    pub amount: Money,
}

/// Orders a call, due at once; nothing happens if there is one of its kind under its reference.
pub fn order(tx: &Tx<'_>, new: &NewChannelCall<'_>, now: Timestamp) -> Result<(), StoreError> {
    tx.note_work();
    tx.execute(
        "INSERT INTO channel_calls (merchant, pay, refund, receipt, kind, reference, currency, minor, step, state, due, made_at)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, 'call', 'open', ?8, ?8) ON CONFLICT (kind, reference) DO NOTHING",
        (
            new.pay,
            new.refund,
            new.receipt,
            new.kind,
            new.reference,
            new.amount.currency.code(),
            new.amount.minor,
            now.as_millis(),
        ),
    )?;
    Ok(())
}

/// A call by its row.
pub fn get(tx: &Tx<'_>, call: i64) -> Result<ChannelCall, StoreError> {
    let found = tx.first(select!("WHERE call = ?1"), [call], read)?;
    found.ok_or_else(|| StoreError::Defect(format!("no channel call {call}")))
}

/// A call by its kind and reference.
pub fn find(tx: &Tx<'_>, kind: ChannelKind, reference: &str) -> Result<Option<ChannelCall>, StoreError> {
    tx.first(select!("WHERE kind = ?1 AND reference = ?2"), (kind, reference), read)
}

/// Takes the call that is due longest, under a new lease until `until`. From the commit of this on it may have left.
pub fn lease(tx: &Tx<'_>, now: Timestamp, until: Timestamp) -> Result<Option<ChannelCall>, StoreError> {
    let sql = select!("WHERE state = 'open' AND due <= ?1 ORDER BY due LIMIT 1");
    let Some(mut call) = tx.first(sql, [now.as_millis()], read)? else {
        return Ok(None);
    };
    let sql = "UPDATE channel_calls SET step = 'query', due = ?2, lease = lease + 1, tries = tries + 1 WHERE call = ?1";
    tx.execute(sql, (call.call, until.as_millis()))?;
    call.lease += 1;
    call.tries = call.tries.saturating_add(1);
    Ok(Some(call))
}

/// When the next open call is due.
pub fn next_due(tx: &Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    tx.first("SELECT due FROM channel_calls WHERE state = 'open' ORDER BY due LIMIT 1", [], |r| time(r, 0))
}

/// How many calls are open.
pub fn open_count(tx: &Tx<'_>) -> Result<u64, StoreError> {
    let open = tx.first("SELECT count(*) FROM channel_calls WHERE state = 'open'", [], |r| count(r, 0))?;
    Ok(open.unwrap_or(0))
}

/// Puts an open call off.
pub fn put_off(tx: &Tx<'_>, call: i64, step: CallStep, due: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE channel_calls SET step = ?2, due = ?3 WHERE call = ?1 AND state = 'open'";
    tx.execute(sql, (call, step, due.as_millis()))?;
    Ok(())
}

/// Keeps the definite answer.
pub fn settle(tx: &Tx<'_>, call: i64, state: ChannelCallState, reason: Option<&str>) -> Result<(), StoreError> {
    let sql = "UPDATE channel_calls SET state = ?2, reason = ?3, due = NULL WHERE call = ?1 AND state = 'open'";
    tx.execute(sql, (call, state, reason))?;
    Ok(())
}

/// Ends the open calls of one kind for an attempt: their answers do not matter any more.
pub fn end(tx: &Tx<'_>, pay: i64, kind: ChannelKind) -> Result<(), StoreError> {
    let sql = "UPDATE channel_calls SET state = 'done', due = NULL WHERE pay = ?1 AND kind = ?2 AND state = 'open'";
    tx.execute(sql, (pay, kind))?;
    Ok(())
}

words! {
    /// What became of a receipt.
    ReceiptState {
        /// It paid the slip or its orders.
        Applied = "applied",
        /// Nothing could be paid with it, and it could not be given back yet.
        Suspense = "suspense",
        /// It is on its way back.
        Refunding = "refunding",
        /// It went back.
        Refunded = "refunded",
        /// The operator has settled it by other means.
        Settled = "settled",
    }
}

/// What a channel has collected.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// Row.
    pub receipt: i64,
    /// The payment attempt.
    pub pay: i64,
    /// The channel.
    pub method: PaymentMethod,
    /// The channel's own number of the trade.
    pub trade: String,
    /// How much.
    pub amount: Money,
    /// What became of it.
    pub state: ReceiptState,
    /// When it came.
    pub received_at: Timestamp,
}

macro_rules! select_receipt {
    ($rest:literal) => {
        concat!("SELECT receipt, pay, method, trade, currency, minor, state, received_at FROM channel_receipts ", $rest)
    };
}

fn read_receipt(r: &Row<'_>) -> rusqlite::Result<Receipt> {
    Ok(Receipt {
        receipt: r.get(0)?,
        pay: r.get(1)?,
        method: method_of(r, 2)?,
        trade: r.get(3)?,
        amount: money(r, 4)?,
        state: r.get(6)?,
        received_at: time(r, 7)?,
    })
}

/// Keeps a receipt, in suspense at first; `None` if it is known.
pub fn add_receipt(
    tx: &Tx<'_>,
    pay: i64,
    method: PaymentMethod,
    trade: &str,
    amount: Money,
    at: Timestamp,
) -> Result<Option<i64>, StoreError> {
    let changed = tx.execute(
        "INSERT INTO channel_receipts (merchant, pay, method, trade, currency, minor, state, received_at)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, 'suspense', ?6) ON CONFLICT (method, trade) DO NOTHING",
        (pay, method_word(method), trade, amount.currency.code(), amount.minor, at.as_millis()),
    )?;
    Ok((changed == 1).then(|| tx.conn().last_insert_rowid()))
}

/// A receipt by its row.
pub fn find_receipt(tx: &Tx<'_>, receipt: i64) -> Result<Option<Receipt>, StoreError> {
    tx.first(select_receipt!("WHERE receipt = ?1"), [receipt], read_receipt)
}

/// Receipts that have not come to their end, the oldest first.
pub fn unsettled_receipts(tx: &Tx<'_>, limit: u32) -> Result<Vec<Receipt>, StoreError> {
    let sql = select_receipt!("WHERE state IN ('suspense', 'refunding') ORDER BY receipt LIMIT ?1");
    tx.all(sql, [limit], read_receipt)
}

/// How often a channel was asked to take a receipt back: under so many references.
pub fn tries_of_receipt(tx: &Tx<'_>, receipt: i64) -> Result<u32, StoreError> {
    let found = tx.first("SELECT count(*) FROM channel_calls WHERE receipt = ?1", [receipt], |r| r.get(0))?;
    Ok(found.unwrap_or(0))
}

/// Sets what became of a receipt.
pub fn set_receipt(tx: &Tx<'_>, receipt: i64, state: ReceiptState) -> Result<(), StoreError> {
    tx.execute("UPDATE channel_receipts SET state = ?2 WHERE receipt = ?1", (receipt, state))?;
    Ok(())
}
