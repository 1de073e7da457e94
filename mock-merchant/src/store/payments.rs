//! Payments and their legs. The payment of a basket is its debit intent.

use super::orders::service_number;
use super::read::{counted, money, trip, words};
use super::{StoreError, Tx};
use rusqlite::Row;
use walkpay::protocol::document::{Leg, LegState, PaymentMethod};
use walkpay::{Currency, Money, ServiceNumber, Timestamp, TripId};

words! {
    /// Where a payment stands.
    PaymentState {
        /// Stored value covers all of it; to be posted.
        Local = "local",
        /// The bank is being asked.
        Open = "open",
        /// Closed for ever.
        Closed = "closed",
    }
}

/// The debit of a basket.
#[derive(Clone, Debug, PartialEq)]
pub struct Payment {
    /// Row.
    pub payment: i64,
    /// The order that it collects.
    pub number: ServiceNumber,
    /// The visit.
    pub trip: TripId,
    /// The accepted attempt.
    pub attempt: u32,
    /// Where it stands.
    pub state: PaymentState,
    /// What was signed for.
    pub total: Money,
    /// The part that is stored value.
    pub stored_value: i64,
    /// The bank's entry of the hold to be captured.
    pub entry: Option<String>,
    /// How much that reserves.
    pub held: i64,
    /// Why the bank refused.
    pub reason: Option<String>,
    /// The store's receipt, once posted.
    pub receipt: Option<u64>,
}

impl Payment {
    /// The part that the bank is to pay.
    pub fn bank(&self) -> i64 {
        self.total.minor - self.stored_value
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT payment, number, trip, attempt, state, currency, total, stored_value, entry, held, reason, receipt ",
            "FROM payments ",
            $rest
        )
    };
}

fn read(r: &Row<'_>) -> rusqlite::Result<Payment> {
    Ok(Payment {
        payment: r.get(0)?,
        number: service_number(r.get(1)?)
            .map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Integer, Box::new(e)))?,
        trip: trip(r, 2)?,
        attempt: r.get(3)?,
        state: r.get(4)?,
        total: money(r, 5)?,
        stored_value: r.get(7)?,
        entry: r.get(8)?,
        held: r.get(9)?,
        reason: r.get(10)?,
        receipt: r.get::<_, Option<i64>>(11)?.map(i64::unsigned_abs),
    })
}

/// Adds a payment, perhaps one that is closed at once; its row is in the answer. `new.payment` is ignored.
pub fn add(tx: &Tx<'_>, new: &Payment, now: Timestamp) -> Result<i64, StoreError> {
    let closed_at = (new.state == PaymentState::Closed).then_some(now.as_millis());
    tx.insert(
        "INSERT INTO payments (merchant, number, trip, attempt, state, currency, total, stored_value, entry, held,
           opened_at, receipt, closed_at) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        (
            counted(new.number.number()),
            new.trip.as_bytes(),
            new.attempt,
            new.state,
            new.total.currency.code(),
            new.total.minor,
            new.stored_value,
            &new.entry,
            new.held,
            now.as_millis(),
            new.receipt.map(counted),
            closed_at,
        ),
    )
}

/// The debit of a visit.
pub fn of_trip(tx: &Tx<'_>, trip: &TripId) -> Result<Option<Payment>, StoreError> {
    tx.first(select!("WHERE trip = ?1"), [trip.as_bytes()], read)
}

/// A debit by its row.
pub fn get(tx: &Tx<'_>, payment: i64) -> Result<Payment, StoreError> {
    let found = tx.first(select!("WHERE payment = ?1 AND trip IS NOT NULL"), [payment], read)?;
    found.ok_or_else(|| StoreError::Defect(format!("no payment {payment}")))
}

/// The debit of a basket's order.
pub fn of_order(tx: &Tx<'_>, number: ServiceNumber) -> Result<Option<Payment>, StoreError> {
    tx.first(select!("WHERE number = ?1 AND trip IS NOT NULL"), [counted(number.number())], read)
}

/// Debits that only need posting.
pub fn local(tx: &Tx<'_>, limit: u32) -> Result<Vec<Payment>, StoreError> {
    tx.all(select!("WHERE state = 'local' ORDER BY payment LIMIT ?1"), [limit], read)
}

/// Closes a payment for ever.
pub fn close(tx: &Tx<'_>, payment: i64, reason: Option<&str>, receipt: u64, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE payments SET state = 'closed', reason = ?2, receipt = ?3, closed_at = ?4
               WHERE payment = ?1 AND state <> 'closed'";
    match tx.execute(sql, (payment, reason, counted(receipt), now.as_millis()))? {
        1 => Ok(()),
        _ => Err(StoreError::Defect(format!("payment {payment} is closed"))),
    }
}

/// Whether a debit of a user is not closed.
pub fn user_has_open(tx: &Tx<'_>, user: i64) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM orders WHERE payer = ?1 AND state IN ('collecting', 'in_payment') LIMIT 1";
    Ok(tx.first(sql, [user], |_| Ok(()))?.is_some())
}

/// Notes that the bank paid what it had refused: the leg under the bank's reference has succeeded with this amount, or with so much more.
pub fn settle_late(
    tx: &Tx<'_>,
    payment: i64,
    reference: &str,
    minor: i64,
    business_date: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    // What succeeded under the reference before stays paid, and dated as it was.
    let sql = "UPDATE legs SET state = 'succeeded', minor = CASE state WHEN 'succeeded' THEN minor + ?3 ELSE ?3 END,
                 business_date = ifnull(business_date, ?4), posted_at = ifnull(posted_at, ?5)
               WHERE payment = ?1 AND reference = ?2";
    if tx.execute(sql, (payment, reference, minor, business_date, at.as_millis()))? == 0 {
        let sql =
            "INSERT INTO legs (number, payment, n, method, currency, minor, reference, state, business_date, posted_at)
                   SELECT p.number, p.payment, 1 + (SELECT count(*) FROM legs l WHERE l.payment = p.payment), 'bank',
                     p.currency, ?3, ?2, 'succeeded', ?4, ?5 FROM payments p WHERE p.payment = ?1";
        tx.execute(sql, (payment, reference, minor, business_date, at.as_millis()))?;
    }
    Ok(())
}

/// Dates the legs of a payment that have succeeded: they are posted in this transaction.
pub fn date_legs(tx: &Tx<'_>, payment: i64, business_date: &str, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE legs SET business_date = ?2, posted_at = ?3
               WHERE payment = ?1 AND state = 'succeeded' AND business_date IS NULL";
    tx.execute(sql, (payment, business_date, at.as_millis()))?;
    Ok(())
}

/// Adds the leg of a payment that stored value covers, posted in this transaction; `payment.payment` is its row.
pub fn add_posted(
    tx: &Tx<'_>,
    payment: &Payment,
    leg: &Leg,
    business_date: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO legs (number, payment, n, method, currency, minor, reference, state, business_date, posted_at)
         VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        (
            counted(payment.number.number()),
            payment.payment,
            method_word(leg.method),
            leg.amount.currency.code(),
            leg.amount.minor,
            &leg.reference,
            leg_word(leg.state),
            business_date,
            at.as_millis(),
        ),
    )?;
    Ok(())
}

/// Adds a leg.
pub fn add_leg(
    tx: &Tx<'_>,
    payment: i64,
    n: u32,
    method: PaymentMethod,
    minor: i64,
    reference: &str,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO legs (number, payment, n, method, currency, minor, reference, state)
         SELECT number, payment, ?2, ?3, currency, ?4, ?5, 'pending' FROM payments WHERE payment = ?1",
        (payment, n, method_word(method), minor, reference),
    )?;
    Ok(())
}

/// Sets what is known of a leg under a reference of the bank.
pub fn set_leg(tx: &Tx<'_>, reference: &str, state: LegState) -> Result<(), StoreError> {
    let sql = "UPDATE legs SET state = ?2 WHERE reference = ?1 AND method <> 'stored_value'";
    tx.execute(sql, (reference, leg_word(state)))?;
    Ok(())
}

/// The stored value of a payment has moved.
pub fn stored_value_moved(tx: &Tx<'_>, payment: i64) -> Result<(), StoreError> {
    let sql = "UPDATE legs SET state = 'succeeded' WHERE payment = ?1 AND method = 'stored_value'";
    tx.execute(sql, [payment])?;
    Ok(())
}

/// The legs of a payment, in order.
pub fn legs(tx: &Tx<'_>, payment: i64, currency: Currency) -> Result<Vec<Leg>, StoreError> {
    let sql = "SELECT method, minor, reference, state FROM legs WHERE payment = ?1 ORDER BY n";
    tx.all(sql, [payment], |r| {
        Ok(Leg {
            method: method_of(r, 0)?,
            amount: currency.minor(r.get(1)?),
            reference: r.get(2)?,
            state: state_of(r, 3)?,
        })
    })
}

pub(crate) fn method_word(method: PaymentMethod) -> &'static str {
    match method {
        PaymentMethod::StoredValue => "stored_value",
        PaymentMethod::Bank => "bank",
        PaymentMethod::Alipay => "alipay",
        PaymentMethod::Tenpay => "tenpay",
        PaymentMethod::Test => "test",
    }
}

pub(super) fn method_of(r: &Row<'_>, column: usize) -> rusqlite::Result<PaymentMethod> {
    match r.get_ref(column)?.as_str()? {
        "stored_value" => Ok(PaymentMethod::StoredValue),
        "bank" => Ok(PaymentMethod::Bank),
        "alipay" => Ok(PaymentMethod::Alipay),
        "tenpay" => Ok(PaymentMethod::Tenpay),
        "test" => Ok(PaymentMethod::Test),
        _ => Err(rusqlite::Error::InvalidColumnName("method".to_owned())),
    }
}

pub(super) fn leg_word(state: LegState) -> &'static str {
    match state {
        LegState::Pending => "pending",
        LegState::Unknown => "unknown",
        LegState::Succeeded => "succeeded",
        LegState::Failed => "failed",
    }
}

pub(super) fn state_of(r: &Row<'_>, column: usize) -> rusqlite::Result<LegState> {
    match r.get_ref(column)?.as_str()? {
        "pending" => Ok(LegState::Pending),
        "unknown" => Ok(LegState::Unknown),
        "succeeded" => Ok(LegState::Succeeded),
        "failed" => Ok(LegState::Failed),
        _ => Err(rusqlite::Error::InvalidColumnName("state".to_owned())),
    }
}
