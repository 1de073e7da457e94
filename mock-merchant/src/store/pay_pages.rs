//! Pages without a login: what the links in notices lead to.

use super::orders::number_in;
use super::read::{counted, time};
use super::{StoreError, Tx};
use rusqlite::Row;
use rusqlite::types::ValueRef;
use walkpay::{ServiceNumber, Timestamp};

/// What a link opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayPage {
    /// Whose page.
    pub user: i64,
    /// The notice's order.
    pub number: Option<ServiceNumber>,
    /// The address that the link was sent to.
    pub address: Option<i64>,
    /// Until when it works.
    pub expires_at: Timestamp,
}

/// A new link.
pub struct NewPayPage<'a> {
    /// The hash of its token.
    pub token_sha256: &'a str,
    /// What it opens.
    pub page: &'a PayPage,
    /// The delivery that carries it.
    pub delivery: Option<i64>,
}

/// Adds a link, and forgets some that have expired.
pub fn add(tx: &Tx<'_>, new: &NewPayPage<'_>, now: Timestamp) -> Result<(), StoreError> {
    let sql = "DELETE FROM pay_pages WHERE token_sha256 IN
               (SELECT token_sha256 FROM pay_pages WHERE expires_at <= ?1 ORDER BY expires_at LIMIT 8)";
    tx.execute(sql, [now.as_millis()])?;
    let sql = "INSERT INTO pay_pages (token_sha256, user, number, delivery, address, made_at, expires_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let PayPage { user, number, address, expires_at } = new.page;
    let number = number.map(|n| counted(n.number()));
    tx.execute(sql, (new.token_sha256, user, number, new.delivery, address, now.as_millis(), expires_at.as_millis()))?;
    Ok(())
}

/// What a token opens, unless it has expired.
pub fn find(tx: &Tx<'_>, token_sha256: &str, now: Timestamp) -> Result<Option<PayPage>, StoreError> {
    let sql = "SELECT user, number, address, expires_at FROM pay_pages WHERE token_sha256 = ?1 AND expires_at > ?2";
    tx.first(sql, (token_sha256, now.as_millis()), |r: &Row<'_>| {
        let numbered = r.get_ref(1)? != ValueRef::Null;
        Ok(PayPage {
            user: r.get(0)?,
            number: numbered.then(|| number_in(r, 1)).transpose()?,
            address: r.get(2)?,
            expires_at: time(r, 3)?,
        })
    })
}

/// Forgets the links of a delivery: the message that carried them has certainly not arrived.
pub fn forget(tx: &Tx<'_>, delivery: i64) -> Result<(), StoreError> {
    tx.execute("DELETE FROM pay_pages WHERE delivery = ?1", [delivery])?;
    Ok(())
}
