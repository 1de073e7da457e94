//! What belongs to an order beside its row: fee lines, texts, versions, the keys under which it was handed in.

use super::orders::service_number;
use super::payments::method_of;
use super::read::{count, counted, money, time};
use super::{StoreError, Tx};
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::order::FeeLine;
use walkpay::{Money, ServiceNumber, Timestamp};

/// Texts of an order that may tell of people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// The case's name (B03).
    pub case_name: String,
    /// The organisation that the payer pays for.
    pub paying_unit: String,
    /// Remarks of the source.
    pub remarks: String,
}

/// The texts of an order; empty ones if they were erased.
pub fn texts(tx: &Tx<'_>, number: ServiceNumber) -> Result<Texts, StoreError> {
    let sql = "SELECT case_name, paying_unit, remarks FROM order_texts WHERE number = ?1";
    let found = tx.first(sql, [counted(number.number())], |r| {
        Ok(Texts { case_name: r.get(0)?, paying_unit: r.get(1)?, remarks: r.get(2)? })
    })?;
    Ok(found.unwrap_or_default())
}

/// Sets the texts of an order.
pub fn set_texts(tx: &Tx<'_>, number: ServiceNumber, texts: &Texts) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO order_texts (number, case_name, paying_unit, remarks) VALUES (?1, ?2, ?3, ?4)";
    tx.execute(sql, (counted(number.number()), &texts.case_name, &texts.paying_unit, &texts.remarks))?;
    Ok(())
}

/// The fee lines of an order.
pub fn fees(tx: &Tx<'_>, number: ServiceNumber) -> Result<Vec<FeeLine>, StoreError> {
    let sql =
        "SELECT o.currency, f.minor, o.currency, f.unit_minor, o.currency, f.tax_minor, f.name, f.quantity, f.tax_rate
               FROM order_fees f JOIN orders o USING (number) WHERE f.number = ?1 ORDER BY f.n";
    tx.all(sql, [counted(number.number())], |r| {
        Ok(FeeLine {
            amount: money(r, 0)?,
            unit_price: money(r, 2)?,
            tax: money(r, 4)?,
            name: r.get(6)?,
            quantity: r.get(7)?,
            tax_rate: r.get(8)?,
        })
    })
}

/// Sets the fee lines of an order.
pub fn set_fees(tx: &Tx<'_>, number: ServiceNumber, fees: &[FeeLine]) -> Result<(), StoreError> {
    tx.execute("DELETE FROM order_fees WHERE number = ?1", [counted(number.number())])?;
    add_fees(tx, number, fees)
}

/// The fee lines of an order that has none.
pub fn add_fees(tx: &Tx<'_>, number: ServiceNumber, fees: &[FeeLine]) -> Result<(), StoreError> {
    let number = counted(number.number());
    for (n, fee) in (1i64..).zip(fees) {
        let sql = "INSERT INTO order_fees (number, n, name, quantity, unit_minor, minor, tax_rate, tax_minor)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let minors = (fee.unit_price.minor, fee.amount.minor, fee.tax.minor);
        tx.execute(sql, (number, n, &fee.name, &fee.quantity, minors.0, minors.1, &fee.tax_rate, minors.2))?;
    }
    Ok(())
}

/// What was handed in under a key: the digest of its body, and the order.
pub fn under_key(tx: &Tx<'_>, source: &str, key: &str) -> Result<Option<([u8; 32], ServiceNumber)>, StoreError> {
    let sql = "SELECT body_sha256, number FROM order_keys WHERE source = ?1 AND key = ?2";
    let found = tx.first(sql, (source, key), |r| Ok((r.get(0)?, r.get(1)?)))?;
    found.map(|(digest, number)| Ok((digest, service_number(number)?))).transpose()
}

/// Keeps which order came of a key, for ever.
pub fn keep_key(
    tx: &Tx<'_>,
    source: &str,
    key: &str,
    body_sha256: &[u8; 32],
    number: ServiceNumber,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO order_keys (source, key, body_sha256, number) VALUES (?1, ?2, ?3, ?4)";
    tx.execute(sql, (source, key, body_sha256, counted(number.number())))?;
    Ok(())
}

/// A version of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// From 1 on.
    pub version: u64,
    /// When.
    pub at: Timestamp,
    /// Who changed it: an opaque name.
    pub actor: String,
    /// How.
    pub action: String,
    /// A JSON object without texts about people.
    pub facts: String,
    /// A JSON object of texts; absent once erased.
    pub texts: Option<String>,
}

/// Keeps a version.
pub fn keep_version(tx: &Tx<'_>, number: ServiceNumber, version: &Version) -> Result<(), StoreError> {
    let (number, n) = (counted(number.number()), counted(version.version));
    let sql = "INSERT INTO order_versions (number, version, at, actor, action, facts) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let v = version;
    tx.execute(sql, (number, n, v.at.as_millis(), &v.actor, &v.action, &v.facts))?;
    if let Some(texts) = &version.texts {
        let sql = "INSERT INTO order_version_texts (number, version, texts) VALUES (?1, ?2, ?3)";
        tx.execute(sql, (number, n, texts))?;
    }
    Ok(())
}

/// The versions of an order above `after`, at most `limit`.
pub fn versions(tx: &Tx<'_>, number: ServiceNumber, after: u64, limit: u32) -> Result<Vec<Version>, StoreError> {
    let sql = "SELECT v.version, v.at, v.actor, v.action, v.facts, t.texts FROM order_versions v
               LEFT JOIN order_version_texts t ON t.number = v.number AND t.version = v.version
               WHERE v.number = ?1 AND v.version > ?2 ORDER BY v.version LIMIT ?3";
    tx.all(sql, (counted(number.number()), counted(after), limit), |r| {
        Ok(Version {
            version: count(r, 0)?,
            at: time(r, 1)?,
            actor: r.get(2)?,
            action: r.get(3)?,
            facts: r.get(4)?,
            texts: r.get(5)?,
        })
    })
}

/// What moved for an order, by method: refunds deducted.
pub fn moved(tx: &Tx<'_>, number: ServiceNumber) -> Result<Vec<(PaymentMethod, Money)>, StoreError> {
    let sql = "SELECT method, currency, sum(CASE WHEN refund IS NULL THEN minor ELSE -minor END) FROM legs
               WHERE number = ?1 AND state = 'succeeded' GROUP BY method, currency ORDER BY method";
    tx.all(sql, [counted(number.number())], |r| Ok((method_of(r, 0)?, money(r, 1)?)))
}
