//! Legs of orders: what moved for them by slips, and back.

use super::orders::service_number;
use super::payments::{leg_word, method_of, method_word, state_of};
use super::read::{counted, money, words};
use super::{StoreError, Tx};
use rusqlite::Row;
use walkpay::protocol::document::{Leg, LegState, PaymentMethod};
use walkpay::{Money, RefundId, ServiceNumber, Timestamp};

/// A leg with what it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderLeg {
    /// Row.
    pub leg: i64,
    /// The order.
    pub number: ServiceNumber,
    /// The debit of a basket that it is of.
    pub payment: Option<i64>,
    /// The payment attempt of a slip that it is of.
    pub pay: Option<i64>,
    /// The refund that it is of.
    pub refund: Option<i64>,
    /// The leg that it gives back.
    pub of_leg: Option<i64>,
    /// By what means.
    pub method: PaymentMethod,
    /// How much.
    pub amount: Money,
    /// The reference at the other side.
    pub reference: String,
    /// What is known.
    pub state: LegState,
}

impl OrderLeg {
    /// As it is told.
    pub fn told(&self) -> Leg {
        Leg { method: self.method, amount: self.amount, reference: self.reference.clone(), state: self.state }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT leg, number, payment, pay, refund, of_leg, method, currency, minor, reference, state FROM legs ",
            $rest
        )
    };
}

fn read(r: &Row<'_>) -> rusqlite::Result<OrderLeg> {
    Ok(OrderLeg {
        leg: r.get(0)?,
        number: super::orders::number_in(r, 1)?,
        payment: r.get(2)?,
        pay: r.get(3)?,
        refund: r.get(4)?,
        of_leg: r.get(5)?,
        method: method_of(r, 6)?,
        amount: money(r, 7)?,
        reference: r.get(9)?,
        state: state_of(r, 10)?,
    })
}

/// What moved or is to move for an order; what was given back is not among it.
pub fn of_order(tx: &Tx<'_>, number: ServiceNumber) -> Result<Vec<OrderLeg>, StoreError> {
    tx.all(select!("WHERE number = ?1 AND refund IS NULL ORDER BY leg"), [counted(number.number())], read)
}

/// What a payment attempt has moved, by order and method.
pub fn of_pay(tx: &Tx<'_>, pay: i64) -> Result<Vec<OrderLeg>, StoreError> {
    tx.all(select!("WHERE pay = ?1 ORDER BY leg"), [pay], read)
}

/// The legs of a refund.
pub fn of_refund(tx: &Tx<'_>, refund: i64) -> Result<Vec<OrderLeg>, StoreError> {
    tx.all(select!("WHERE refund = ?1 ORDER BY leg"), [refund], read)
}

/// A leg by its row.
pub fn get(tx: &Tx<'_>, leg: i64) -> Result<OrderLeg, StoreError> {
    let found = tx.first(select!("WHERE leg = ?1"), [leg], read)?;
    found.ok_or_else(|| StoreError::Defect(format!("no leg {leg}")))
}

/// The leg of a refund under a reference.
pub fn refund_leg(tx: &Tx<'_>, refund: i64, reference: &str) -> Result<OrderLeg, StoreError> {
    let found = tx.first(select!("WHERE refund = ?1 AND reference = ?2"), (refund, reference), read)?;
    found.ok_or_else(|| StoreError::Defect(format!("refund {refund} has no leg {reference}")))
}

/// The legs of an order that have succeeded and how much of each was neither given back nor is on its way back. What a channel
/// could not give back, and waits in suspense, counts as gone.
pub fn refundable(tx: &Tx<'_>, number: ServiceNumber) -> Result<Vec<(OrderLeg, i64)>, StoreError> {
    let legs = of_order(tx, number)?;
    let mut left = Vec::new();
    for leg in legs.into_iter().filter(|l| l.state == LegState::Succeeded) {
        let sql = "SELECT ifnull(sum(CASE r.state WHEN 'failed' THEN 0 ELSE r.minor END + ifnull((SELECT sum(s.minor)
                     FROM suspense s WHERE s.reference IN (r.reference, r.reference || '.rest')), 0)), 0)
                   FROM legs r WHERE r.of_leg = ?1";
        let gone: i64 = tx.first(sql, [leg.leg], |r| r.get(0))?.unwrap_or(0);
        if gone < leg.amount.minor {
            let rest = leg.amount.minor - gone;
            left.push((leg, rest));
        }
    }
    Ok(left)
}

/// A leg that a payment attempt moves in this transaction.
pub struct NewLeg<'a> {
    /// The order.
    pub number: ServiceNumber,
    /// By what means.
    pub method: PaymentMethod,
    /// How much.
    pub amount: Money,
    /// The reference at the other side.
    pub reference: &'a str,
}

/// Adds a leg of a payment attempt that is posted in this transaction.
pub fn add_paid(
    tx: &Tx<'_>,
    pay: i64,
    n: u32,
    new: &NewLeg<'_>,
    business_date: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO legs (number, pay, n, method, currency, minor, reference, state, business_date, posted_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'succeeded', ?8, ?9)",
        (
            counted(new.number.number()),
            pay,
            n,
            method_word(new.method),
            new.amount.currency.code(),
            new.amount.minor,
            new.reference,
            business_date,
            at.as_millis(),
        ),
    )?;
    Ok(())
}

/// Adds a leg that is to give back a part of another one.
pub fn add_refund(tx: &Tx<'_>, refund: i64, n: u32, of_leg: i64, new: &NewLeg<'_>) -> Result<i64, StoreError> {
    tx.insert(
        "INSERT INTO legs (number, refund, of_leg, n, method, currency, minor, reference, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'pending')",
        (
            counted(new.number.number()),
            refund,
            of_leg,
            n,
            method_word(new.method),
            new.amount.currency.code(),
            new.amount.minor,
            new.reference,
        ),
    )
}

/// Notes that a leg is posted in this transaction, with this amount.
pub fn posted(tx: &Tx<'_>, leg: i64, minor: i64, business_date: &str, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE legs SET state = 'succeeded', minor = ?2, business_date = ?3, posted_at = ?4 WHERE leg = ?1";
    tx.execute(sql, (leg, minor, business_date, at.as_millis()))?;
    Ok(())
}

/// Sets what is known of a leg that has not moved.
pub fn set_state(tx: &Tx<'_>, leg: i64, state: LegState) -> Result<(), StoreError> {
    tx.execute("UPDATE legs SET state = ?2 WHERE leg = ?1", (leg, leg_word(state)))?;
    Ok(())
}

words! {
    /// Where a refund stands.
    RefundState {
        /// On its way.
        Open = "open",
        /// All of it was given back.
        Done = "done",
        /// Some of it could not be given back: it is in suspense.
        Failed = "failed",
    }
}

/// A refund of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Refund {
    /// Row.
    pub refund: i64,
    /// Its identifier.
    pub refund_id: RefundId,
    /// The order.
    pub number: ServiceNumber,
    /// How much.
    pub amount: Money,
    /// Where it stands.
    pub state: RefundState,
    /// When it was asked for.
    pub made_at: Timestamp,
}

macro_rules! select_refund {
    ($rest:literal) => {
        concat!("SELECT refund, refund_id, number, currency, minor, state, made_at FROM refunds ", $rest)
    };
}

fn read_refund(r: &Row<'_>) -> rusqlite::Result<Refund> {
    Ok(Refund {
        refund: r.get(0)?,
        refund_id: RefundId::from_bytes(r.get(1)?).map_err(|e| super::read::unreadable(1, e))?,
        number: super::orders::number_in(r, 2)?,
        amount: money(r, 3)?,
        state: r.get(5)?,
        made_at: super::read::time(r, 6)?,
    })
}

/// Adds an open refund; its row is in the answer. `new.refund` and `new.state` are ignored. `actor` is an opaque name.
pub fn add(tx: &Tx<'_>, new: &Refund, actor: &str) -> Result<i64, StoreError> {
    tx.insert(
        "INSERT INTO refunds (merchant, refund_id, number, currency, minor, actor, state, made_at)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, 'open', ?6)",
        (
            new.refund_id.as_bytes(),
            counted(new.number.number()),
            new.amount.currency.code(),
            new.amount.minor,
            actor,
            new.made_at.as_millis(),
        ),
    )
}

/// A refund by its row.
pub fn refund(tx: &Tx<'_>, refund: i64) -> Result<Refund, StoreError> {
    let found = tx.first(select_refund!("WHERE refund = ?1"), [refund], read_refund)?;
    found.ok_or_else(|| StoreError::Defect(format!("no refund {refund}")))
}

/// The refunds of an order, the newest last.
pub fn refunds_of(tx: &Tx<'_>, number: ServiceNumber) -> Result<Vec<Refund>, StoreError> {
    tx.all(select_refund!("WHERE number = ?1 ORDER BY refund"), [counted(number.number())], read_refund)
}

/// Ends a refund.
pub fn end_refund(tx: &Tx<'_>, refund: i64, state: RefundState, at: Timestamp) -> Result<(), StoreError> {
    tx.execute("UPDATE refunds SET state = ?2, closed_at = ?3 WHERE refund = ?1", (refund, state, at.as_millis()))?;
    Ok(())
}

/// Sets where an order stands after money went back, and adds to what was given back.
pub fn add_refunded(tx: &Tx<'_>, number: ServiceNumber, minor: i64, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE orders SET refunded = refunded + ?2, changed_at = ?3,
                 state = CASE WHEN refunded + ?2 >= total THEN 'refunded' ELSE 'partly_refunded' END WHERE number = ?1";
    tx.execute(sql, (counted(number.number()), minor, at.as_millis()))?;
    Ok(())
}

/// The order of a refund's leg by its reference, or by that of what was left of it.
pub fn number_of_refund(tx: &Tx<'_>, reference: &str) -> Result<Option<ServiceNumber>, StoreError> {
    let whole = reference.strip_suffix(".rest").unwrap_or(reference);
    let sql = "SELECT number FROM legs WHERE reference = ?1 AND refund IS NOT NULL";
    tx.first(sql, [whole], |r| r.get(0))?.map(service_number).transpose()
}
