//! Service orders (B02, B03).

use super::read::{counted, money, optional_time, time, words};
use super::{StoreError, Tx};
use walkpay::{Money, ServiceNumber, Timestamp};

words! {
    /// Where an order stands.
    OrderState {
        /// Handed in and not yet submitted: only its source sees it.
        Draft = "draft",
        /// Its source is asked to confirm it (B05).
        AwaitingConfirmation = "awaiting_confirmation",
        /// Being collected: the debit of a basket is open.
        Collecting = "collecting",
        /// The payer can pay it.
        Payable = "payable",
        /// It is on a slip that a payment was begun for.
        InPayment = "in_payment",
        /// Paid.
        Paid = "paid",
        /// Taken back by its source.
        Withdrawn = "withdrawn",
        /// Its deadline and the days of grace are over.
        Expired = "expired",
        /// Paid, and given back in part.
        PartlyRefunded = "partly_refunded",
        /// Paid, and given back.
        Refunded = "refunded",
    }
}

/// A service order.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Its number.
    pub number: ServiceNumber,
    /// Where it stands.
    pub state: OrderState,
    /// What it came to.
    pub total: Money,
    /// What is still owed.
    pub due: i64,
    /// The payer's row.
    pub payer: i64,
    /// The case: for a basket its trip.
    pub case_number: String,
    /// When the service arose.
    pub arose_at: Timestamp,
    /// Until when it is to be paid.
    pub deadline: Option<Timestamp>,
}

/// A new order.
pub struct NewOrder<'a> {
    /// Which system handed it in: for a basket the store.
    pub source: &'a str,
    /// Where it stands.
    pub state: OrderState,
    /// What it is for.
    pub service_name: &'a str,
    /// Who is paid.
    pub payee: &'a str,
    /// The payer's row.
    pub payer: i64,
    /// What it comes to, all of it due.
    pub total: Money,
    /// The case.
    pub case_number: &'a str,
    /// When the service arose.
    pub arose_at: Timestamp,
    /// Until when it is to be paid.
    pub deadline: Timestamp,
    /// The store's row.
    pub store: Option<i64>,
    /// What the total is made of.
    pub fees: &'a [(&'a str, i64)],
}

/// Adds an order; its number.
pub fn add(tx: &Tx<'_>, new: &NewOrder<'_>) -> Result<ServiceNumber, StoreError> {
    let number = tx.insert(
        "INSERT INTO orders (merchant, source, state, service_name, payee, payer, currency, total, due, case_number,
           arose_at, deadline, store, made_at, changed_at)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9, ?10, ?11, ?9, ?9)",
        (
            new.source,
            new.state,
            new.service_name,
            new.payee,
            new.payer,
            new.total.currency.code(),
            new.total.minor,
            new.case_number,
            new.arose_at.as_millis(),
            new.deadline.as_millis(),
            new.store,
        ),
    )?;
    for (n, (name, minor)) in (1i64..).zip(new.fees) {
        let sql = "INSERT INTO order_fees (number, n, name, quantity, unit_minor, minor, tax_rate, tax_minor)
                   VALUES (?1, ?2, ?3, '1', ?4, ?4, '0', 0)";
        tx.execute(sql, (number, n, name, minor))?;
    }
    service_number(number)
}

/// An order by its number.
pub fn get(tx: &Tx<'_>, number: ServiceNumber) -> Result<Order, StoreError> {
    let sql =
        "SELECT state, currency, total, due, payer, case_number, arose_at, deadline FROM orders WHERE number = ?1";
    let found = tx.first(sql, [counted(number.number())], |r| {
        Ok(Order {
            number,
            state: r.get(0)?,
            total: money(r, 1)?,
            due: r.get(3)?,
            payer: r.get(4)?,
            case_number: r.get(5)?,
            arose_at: time(r, 6)?,
            deadline: optional_time(r, 7)?,
        })
    })?;
    found.ok_or_else(|| StoreError::Defect(format!("no order {number}")))
}

/// Sets where an order stands and what is still owed; a deadline if it changes.
pub fn set(
    tx: &Tx<'_>,
    number: ServiceNumber,
    state: OrderState,
    due: i64,
    deadline: Option<Timestamp>,
) -> Result<(), StoreError> {
    let sql = "UPDATE orders SET state = ?2, due = ?3, deadline = ifnull(?4, deadline) WHERE number = ?1";
    tx.execute(sql, (counted(number.number()), state, due, deadline.map(Timestamp::as_millis)))?;
    Ok(())
}

pub(super) fn service_number(row: i64) -> Result<ServiceNumber, StoreError> {
    ServiceNumber::new(row.unsigned_abs()).map_err(|e| StoreError::Defect(e.to_string()))
}
