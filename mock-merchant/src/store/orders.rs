//! Service orders (B02, B03).

use super::read::{count, counted, money, optional_time, time, words};
use super::{StoreError, Tx};
use rusqlite::Row;
use walkpay::protocol::order::OrderStatus;
use walkpay::{Currency, Money, ServiceNumber, SlipNumber, Timestamp};

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

impl OrderState {
    /// As it is told.
    pub fn status(self) -> OrderStatus {
        match self {
            Self::Draft => OrderStatus::Draft,
            Self::AwaitingConfirmation => OrderStatus::AwaitingConfirmation,
            Self::Collecting => OrderStatus::Collecting,
            Self::Payable => OrderStatus::Payable,
            Self::InPayment => OrderStatus::InPayment,
            Self::Paid => OrderStatus::Paid,
            Self::Withdrawn => OrderStatus::Withdrawn,
            Self::Expired => OrderStatus::Expired,
            Self::PartlyRefunded => OrderStatus::PartlyRefunded,
            Self::Refunded => OrderStatus::Refunded,
        }
    }

    /// What is stored of a status.
    pub fn of(status: OrderStatus) -> Self {
        match status {
            OrderStatus::Draft => Self::Draft,
            OrderStatus::AwaitingConfirmation => Self::AwaitingConfirmation,
            OrderStatus::Collecting => Self::Collecting,
            OrderStatus::Payable => Self::Payable,
            OrderStatus::InPayment => Self::InPayment,
            OrderStatus::Paid => Self::Paid,
            OrderStatus::Withdrawn => Self::Withdrawn,
            OrderStatus::Expired => Self::Expired,
            OrderStatus::PartlyRefunded => Self::PartlyRefunded,
            OrderStatus::Refunded => Self::Refunded,
        }
    }
}

/// A service order.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Its number.
    pub number: ServiceNumber,
    /// Which system handed it in: for a basket the store.
    pub source: String,
    /// The store's row, for a basket.
    pub store: Option<i64>,
    /// Where it stands.
    pub state: OrderState,
    /// What it is for.
    pub service_name: String,
    /// Who is paid.
    pub payee: String,
    /// The payer's row.
    pub payer: i64,
    /// What it came to.
    pub total: Money,
    /// What is still owed.
    pub due: i64,
    /// What was given back.
    pub refunded: i64,
    /// The case: for a basket its trip.
    pub case_number: String,
    /// When the service arose.
    pub arose_at: Timestamp,
    /// Until when it is to be paid.
    pub deadline: Timestamp,
    /// Rises with each change.
    pub version: u64,
    /// The live slip that it is on.
    pub slip: Option<SlipNumber>,
    /// How many reminders were given.
    pub reminders: u32,
    /// When it was handed in.
    pub made_at: Timestamp,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT number, source, store, state, service_name, payee, payer, currency, total, due, refunded, case_number, \
             arose_at, deadline, version, slip, reminders, made_at FROM orders ",
            $rest
        )
    };
}

fn read(r: &Row<'_>) -> rusqlite::Result<Order> {
    Ok(Order {
        number: number_in(r, 0)?,
        source: r.get(1)?,
        store: r.get(2)?,
        state: r.get(3)?,
        service_name: r.get(4)?,
        payee: r.get(5)?,
        payer: r.get(6)?,
        total: money(r, 7)?,
        due: r.get(9)?,
        refunded: r.get(10)?,
        case_number: r.get(11)?,
        arose_at: time(r, 12)?,
        deadline: time(r, 13)?,
        version: count(r, 14)?,
        slip: optional_slip(r, 15)?,
        reminders: r.get(16)?,
        made_at: time(r, 17)?,
    })
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
    /// What it comes to.
    pub total: Money,
    /// What of that is owed, in minor units.
    pub due: i64,
    /// The case.
    pub case_number: &'a str,
    /// When the service arose.
    pub arose_at: Timestamp,
    /// Until when it is to be paid.
    pub deadline: Timestamp,
    /// The store's row.
    pub store: Option<i64>,
    /// When it is handed in.
    pub made_at: Timestamp,
}

/// What somebody owes for goods that have left, in one currency.
pub fn owed(tx: &Tx<'_>, payer: i64, currency: Currency) -> Result<i64, StoreError> {
    let sql = "SELECT ifnull(sum(due), 0) FROM orders
               WHERE payer = ?1 AND state IN ('payable', 'in_payment') AND store IS NOT NULL AND currency = ?2";
    Ok(tx.first(sql, (payer, currency.code()), |r| r.get(0))?.unwrap_or(0))
}

/// Adds an order; its number.
pub fn add(tx: &Tx<'_>, new: &NewOrder<'_>) -> Result<ServiceNumber, StoreError> {
    let number = tx.insert(
        "INSERT INTO orders (merchant, source, state, service_name, payee, payer, currency, total, due, case_number,
           arose_at, deadline, store, made_at, changed_at)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?13, ?8, ?9, ?10, ?11, ?12, ?12)",
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
            new.made_at.as_millis(),
            new.due,
        ),
    )?;
    service_number(number)
}

/// An order by its number.
pub fn get(tx: &Tx<'_>, number: ServiceNumber) -> Result<Order, StoreError> {
    find(tx, number)?.ok_or_else(|| StoreError::Defect(format!("no order {number}")))
}

/// An order by a number that somebody gave.
pub fn find(tx: &Tx<'_>, number: ServiceNumber) -> Result<Option<Order>, StoreError> {
    tx.first(select!("WHERE number = ?1"), [counted(number.number())], read)
}

/// The orders of a service system with numbers above `after`, at most `limit`.
pub fn of_source(tx: &Tx<'_>, source: &str, after: u64, limit: u32) -> Result<Vec<Order>, StoreError> {
    let sql = select!("WHERE source = ?1 AND number > ?2 ORDER BY number LIMIT ?3");
    tx.all(sql, (source, counted(after), limit), read)
}

/// Which orders of a payer.
pub struct PayerFilter<'a> {
    /// The payer's row.
    pub payer: i64,
    /// Only in one of these states; none: in any.
    pub states: Vec<OrderState>,
    /// Only of this case.
    pub case_number: Option<&'a str>,
    /// Only from this system.
    pub source: Option<&'a str>,
    /// Only with a deadline before this.
    pub due_before: Option<Timestamp>,
    /// Only with higher numbers.
    pub after: u64,
}

/// The orders of a payer, by their numbers, at most `limit`; without drafts and those that wait for confirmation.
pub fn of_payer(tx: &Tx<'_>, filter: &PayerFilter<'_>, limit: usize) -> Result<Vec<Order>, StoreError> {
    let sql = select!(
        "INDEXED BY orders_of_payer WHERE payer = ?1 AND number > ?2 AND state NOT IN ('draft', 'awaiting_confirmation')
         AND (?3 = '' OR instr(?3, ',' || state || ',') > 0) AND (?4 IS NULL OR case_number = ?4) AND (?5 IS NULL OR source = ?5)
         AND (?6 IS NULL OR deadline < ?6) ORDER BY number LIMIT ?7"
    );
    let due_before = filter.due_before.map(Timestamp::as_millis);
    let after = counted(filter.after);
    let states: String = filter.states.iter().map(|s| format!(",{},", s.word())).collect();
    tx.all(sql, (filter.payer, after, states, filter.case_number, filter.source, due_before, limit as i64), read)
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

/// Has an order looked at again at `wake_at`, or not by itself, after `reminders` reminders.
pub fn set_wake(
    tx: &Tx<'_>,
    number: ServiceNumber,
    reminders: u32,
    wake_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    tx.note_work();
    let sql = "UPDATE orders SET reminders = ?2, wake_at = ?3 WHERE number = ?1";
    tx.execute(sql, (counted(number.number()), reminders, wake_at.map(Timestamp::as_millis)))?;
    Ok(())
}

/// The orders for which something is due by `now`, the longest due first.
pub fn waking(tx: &Tx<'_>, now: Timestamp, limit: u32) -> Result<Vec<Order>, StoreError> {
    let sql = select!("WHERE wake_at IS NOT NULL AND wake_at <= ?1 ORDER BY wake_at LIMIT ?2");
    tx.all(sql, (now.as_millis(), limit), read)
}

/// When something is next due for an order.
pub fn next_wake(tx: &Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT wake_at FROM orders WHERE wake_at IS NOT NULL ORDER BY wake_at LIMIT 1";
    Ok(tx.first(sql, [], |r| optional_time(r, 0))?.flatten())
}

/// Keeps what an order was changed to, but for its number, source, payer and currency; its version rises to `order.version`.
pub fn change(tx: &Tx<'_>, order: &Order, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE orders SET state = ?2, service_name = ?3, payee = ?4, total = ?5, due = ?6, case_number = ?7,
                 arose_at = ?8, deadline = ?9, version = ?10, changed_at = ?11 WHERE number = ?1";
    tx.execute(
        sql,
        (
            counted(order.number.number()),
            order.state,
            &order.service_name,
            &order.payee,
            order.total.minor,
            order.due,
            &order.case_number,
            order.arose_at.as_millis(),
            order.deadline.as_millis(),
            counted(order.version),
            at.as_millis(),
        ),
    )?;
    Ok(())
}

pub(super) fn service_number(row: i64) -> Result<ServiceNumber, StoreError> {
    ServiceNumber::new(row.unsigned_abs()).map_err(|e| StoreError::Defect(e.to_string()))
}

/// A service number in a column.
pub(super) fn number_in(r: &Row<'_>, column: usize) -> rusqlite::Result<ServiceNumber> {
    ServiceNumber::new(count(r, column)?).map_err(|e| super::read::unreadable(column, e))
}

fn optional_slip(r: &Row<'_>, column: usize) -> rusqlite::Result<Option<SlipNumber>> {
    let number: Option<i64> = r.get(column)?;
    let slip = number.map(|n| SlipNumber::new(n.unsigned_abs()));
    slip.transpose().map_err(|e| super::read::unreadable(column, e))
}
