//! Payment slips (B22): several orders of one payer, one currency and one payee, paid together.

use super::orders::number_in;
use super::payments::{method_of, method_word};
use super::read::{counted, money, time, words};
use super::{StoreError, Tx};
use rusqlite::Row;
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::order::{Invoice, InvoiceType, SlipStatus};
use walkpay::{Money, ServiceNumber, SlipNumber, Timestamp};

words! {
    /// Where a slip stands.
    SlipState {
        /// Nothing was begun; its orders are locked to it.
        Open = "open",
        /// A payment attempt is open.
        Paying = "paying",
        /// Paid.
        Paid = "paid",
        /// Given up; its orders are free.
        Closed = "closed",
    }
}

impl SlipState {
    /// As it is told.
    pub fn status(self) -> SlipStatus {
        match self {
            Self::Open => SlipStatus::Open,
            Self::Paying => SlipStatus::Paying,
            Self::Paid => SlipStatus::Paid,
            Self::Closed => SlipStatus::Closed,
        }
    }
}

/// A slip.
#[derive(Clone, Debug, PartialEq)]
pub struct Slip {
    /// Its number.
    pub number: SlipNumber,
    /// The payer's row.
    pub payer: i64,
    /// Who is paid.
    pub payee: String,
    /// What is paid for, in a few words.
    pub title: String,
    /// What is to be paid.
    pub amount: Money,
    /// The method of the newest attempt.
    pub method: Option<PaymentMethod>,
    /// Where it stands.
    pub state: SlipState,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it gives its orders back while it is open.
    pub expires_at: Timestamp,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT slip, payer, payee, title, currency, minor, method, state, made_at, expires_at FROM slips ",
            $rest
        )
    };
}

fn read(r: &Row<'_>) -> rusqlite::Result<Slip> {
    let method = r.get::<_, Option<String>>(6)?.map(|_| method_of(r, 6)).transpose()?;
    Ok(Slip {
        number: slip_in(r, 0)?,
        payer: r.get(1)?,
        payee: r.get(2)?,
        title: r.get(3)?,
        amount: money(r, 4)?,
        method,
        state: r.get(7)?,
        made_at: time(r, 8)?,
        expires_at: time(r, 9)?,
    })
}

/// A slip number in a column.
pub(super) fn slip_in(r: &Row<'_>, column: usize) -> rusqlite::Result<SlipNumber> {
    SlipNumber::new(super::read::count(r, column)?).map_err(|e| super::read::unreadable(column, e))
}

/// A new slip.
pub struct NewSlip<'a> {
    /// The payer's row.
    pub payer: i64,
    /// Who is paid.
    pub payee: &'a str,
    /// What is paid for.
    pub title: &'a str,
    /// What is to be paid.
    pub amount: Money,
    /// What is paid of which order.
    pub items: &'a [(ServiceNumber, i64)],
    /// The payer's remarks.
    pub remarks: &'a str,
    /// The invoice that the payer wants.
    pub invoice: Option<&'a Invoice>,
    /// Merchant time.
    pub made_at: Timestamp,
    /// When it gives its orders back.
    pub expires_at: Timestamp,
}

/// Adds an open slip and locks its orders; its number.
pub fn add(tx: &Tx<'_>, new: &NewSlip<'_>) -> Result<SlipNumber, StoreError> {
    let slip = tx.insert(
        "INSERT INTO slips (merchant, payer, payee, title, currency, minor, state, made_at, expires_at)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, 'open', ?6, ?7)",
        (
            new.payer,
            new.payee,
            new.title,
            new.amount.currency.code(),
            new.amount.minor,
            new.made_at.as_millis(),
            new.expires_at.as_millis(),
        ),
    )?;
    for (number, minor) in new.items {
        let number = counted(number.number());
        tx.execute("INSERT INTO slip_orders (slip, number, minor) VALUES (?1, ?2, ?3)", (slip, number, minor))?;
        tx.execute("UPDATE orders SET slip = ?2 WHERE number = ?1", (number, slip))?;
    }
    if !new.remarks.is_empty() || new.invoice.is_some() {
        let kind = new.invoice.map(|i| match i.kind {
            InvoiceType::Personal => "personal",
            InvoiceType::Company => "company",
        });
        let title = new.invoice.map_or("", |i| i.title.as_str());
        let tax_id = new.invoice.and_then(|i| i.tax_id.as_deref()).unwrap_or_default();
        let sql =
            "INSERT INTO slip_texts (slip, remarks, invoice_type, invoice_title, tax_id) VALUES (?1, ?2, ?3, ?4, ?5)";
        tx.execute(sql, (slip, new.remarks, kind, title, tax_id))?;
    }
    SlipNumber::new(slip.unsigned_abs()).map_err(|e| StoreError::Defect(e.to_string()))
}

/// A slip by a number that somebody gave.
pub fn find(tx: &Tx<'_>, slip: SlipNumber) -> Result<Option<Slip>, StoreError> {
    tx.first(select!("WHERE slip = ?1"), [counted(slip.number())], read)
}

/// A slip by its number.
pub fn get(tx: &Tx<'_>, slip: SlipNumber) -> Result<Slip, StoreError> {
    find(tx, slip)?.ok_or_else(|| StoreError::Defect(format!("no slip {slip}")))
}

/// The slips of a payer with numbers above `after`, at most `limit`.
pub fn of_payer(tx: &Tx<'_>, payer: i64, after: u64, limit: usize) -> Result<Vec<Slip>, StoreError> {
    tx.all(
        select!("WHERE payer = ?1 AND slip > ?2 ORDER BY slip LIMIT ?3"),
        (payer, counted(after), limit as i64),
        read,
    )
}

/// An order on a slip.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The order.
    pub number: ServiceNumber,
    /// What it is for.
    pub service_name: String,
    /// What is paid of it.
    pub amount: Money,
}

/// The orders on a slip, by their numbers.
pub fn items(tx: &Tx<'_>, slip: SlipNumber) -> Result<Vec<Item>, StoreError> {
    let sql = "SELECT o.number, o.service_name, o.currency, s.minor FROM slip_orders s JOIN orders o USING (number)
               WHERE s.slip = ?1 ORDER BY o.number";
    tx.all(sql, [counted(slip.number())], |r| {
        Ok(Item { number: number_in(r, 0)?, service_name: r.get(1)?, amount: money(r, 2)? })
    })
}

/// The payer's remarks and the invoice that they want; empty once erased.
pub fn texts(tx: &Tx<'_>, slip: SlipNumber) -> Result<(String, Option<Invoice>), StoreError> {
    let sql = "SELECT remarks, invoice_type, invoice_title, tax_id FROM slip_texts WHERE slip = ?1";
    let found = tx.first(sql, [counted(slip.number())], |r| {
        let kind = match r.get::<_, Option<String>>(1)?.as_deref() {
            Some("company") => Some(InvoiceType::Company),
            Some(_) => Some(InvoiceType::Personal),
            None => None,
        };
        let (title, tax_id): (String, String) = (r.get(2)?, r.get(3)?);
        let tax_id = Some(tax_id).filter(|t| !t.is_empty());
        Ok((r.get(0)?, kind.map(|kind| Invoice { kind, title, tax_id })))
    })?;
    Ok(found.unwrap_or_default())
}

/// Sets where a slip stands.
pub fn set_state(tx: &Tx<'_>, slip: SlipNumber, state: SlipState, at: Timestamp) -> Result<(), StoreError> {
    let over = matches!(state, SlipState::Paid | SlipState::Closed).then_some(at.as_millis());
    tx.execute("UPDATE slips SET state = ?2, closed_at = ?3 WHERE slip = ?1", (counted(slip.number()), state, over))?;
    Ok(())
}

/// Sets the method of the newest attempt.
pub fn set_method(tx: &Tx<'_>, slip: SlipNumber, method: PaymentMethod) -> Result<(), StoreError> {
    tx.execute("UPDATE slips SET method = ?2 WHERE slip = ?1", (counted(slip.number()), method_word(method)))?;
    Ok(())
}

/// Sets when a slip gives its orders back while it is open.
pub fn set_expiry(tx: &Tx<'_>, slip: SlipNumber, at: Timestamp) -> Result<(), StoreError> {
    tx.execute("UPDATE slips SET expires_at = ?2 WHERE slip = ?1", (counted(slip.number()), at.as_millis()))?;
    Ok(())
}

/// Frees the orders of a slip.
pub fn unlock(tx: &Tx<'_>, slip: SlipNumber) -> Result<(), StoreError> {
    tx.execute("UPDATE orders SET slip = NULL WHERE slip = ?1", [counted(slip.number())])?;
    Ok(())
}

/// Open slips whose time is over.
pub fn expired(tx: &Tx<'_>, now: Timestamp, limit: u32) -> Result<Vec<Slip>, StoreError> {
    let sql = select!("WHERE state = 'open' AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2");
    tx.all(sql, (now.as_millis(), limit), read)
}

/// When the next open slip gives its orders back.
pub fn next_expiry(tx: &Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    tx.first("SELECT expires_at FROM slips WHERE state = 'open' ORDER BY expires_at LIMIT 1", [], |r| time(r, 0))
}
