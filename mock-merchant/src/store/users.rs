//! People: an opaque row, and what is known of them in tables that can be emptied.

use super::read::{parsed, words};
use super::{StoreError, Tx};
use crate::domain::BankAccount;
use walkpay::{Currency, Money, Sub, Timestamp, UserName};

words! {
    /// Whether somebody may shop.
    UserState {
        /// They may.
        Active = "active",
        /// Not at present.
        Blocked = "blocked",
        /// Gone; only what the book needs is left.
        Erased = "erased",
    }
}

/// A user without anything personal.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Row.
    pub user: i64,
    /// Opaque identifier.
    pub sub: Sub,
    /// Whether they may shop.
    pub state: UserState,
    /// Their stored-value account.
    pub account: Option<i64>,
}

/// Adds a user; `account` is their stored-value account.
pub fn add(
    tx: &Tx<'_>,
    sub: &Sub,
    name: &UserName,
    display_name: &str,
    account: Option<i64>,
    at: Timestamp,
) -> Result<i64, StoreError> {
    let user = tx.insert(
        "INSERT INTO users (merchant, sub, state, account, created_at) VALUES (1, ?1, 'active', ?2, ?3)",
        (sub.as_str(), account, at.as_millis()),
    )?;
    let sql = "INSERT INTO user_names (user, user_name, display_name) VALUES (?1, ?2, ?3)";
    tx.execute(sql, (user, name.as_str(), display_name))?;
    Ok(user)
}

fn read(r: &rusqlite::Row<'_>) -> rusqlite::Result<User> {
    Ok(User { user: r.get(0)?, sub: parsed(r, 1)?, state: r.get(2)?, account: r.get(3)? })
}

/// The user who signs in as `name`.
pub fn find(tx: &Tx<'_>, name: &UserName) -> Result<Option<User>, StoreError> {
    let sql = "SELECT u.user, u.sub, u.state, u.account FROM user_names n JOIN users u USING (user)
               WHERE n.user_name = ?1";
    tx.first(sql, [name.as_str()], read)
}

/// A user by row.
pub fn get(tx: &Tx<'_>, user: i64) -> Result<User, StoreError> {
    let found = tx.first("SELECT user, sub, state, account FROM users WHERE user = ?1", [user], read)?;
    found.ok_or_else(|| StoreError::Defect(format!("no user {user}")))
}

/// All user names and opaque identifiers, in the order of the names; those that were erased have no name.
pub fn list(tx: &Tx<'_>) -> Result<Vec<(UserName, Sub)>, StoreError> {
    let sql = "SELECT n.user_name, u.sub FROM user_names n JOIN users u USING (user) ORDER BY n.user_name";
    tx.all(sql, [], |r| Ok((parsed(r, 0)?, parsed(r, 1)?)))
}

/// The name that a user signs in with, unless erased.
pub fn name(tx: &Tx<'_>, user: i64) -> Result<Option<UserName>, StoreError> {
    tx.first("SELECT user_name FROM user_names WHERE user = ?1", [user], |r| parsed(r, 0))
}

/// Sets whether somebody may shop.
pub fn set_state(tx: &Tx<'_>, user: i64, state: UserState) -> Result<(), StoreError> {
    tx.execute("UPDATE users SET state = ?2 WHERE user = ?1", (user, state))?;
    Ok(())
}

/// Notes that somebody was picked for a spot check, or that staff has accepted their basket.
pub fn set_picked(tx: &Tx<'_>, user: i64, picked: bool) -> Result<(), StoreError> {
    tx.execute("UPDATE users SET picked = ?2 WHERE user = ?1 AND picked <> ?2", (user, picked))?;
    Ok(())
}

/// The bound bank account.
pub fn bank(tx: &Tx<'_>, user: i64) -> Result<Option<BankAccount>, StoreError> {
    let sql = "SELECT token, label, confirm_url FROM bank_bindings WHERE user = ?1";
    tx.first(sql, [user], |r| Ok(BankAccount { token: r.get(0)?, label: r.get(1)?, confirm_url: r.get(2)? }))
}

/// Binds another bank account, or none.
pub fn set_bank(tx: &Tx<'_>, user: i64, account: Option<&BankAccount>) -> Result<(), StoreError> {
    match account {
        None => tx.execute("DELETE FROM bank_bindings WHERE user = ?1", [user])?,
        Some(a) => tx.execute(
            "INSERT OR REPLACE INTO bank_bindings (user, token, label, confirm_url) VALUES (?1, ?2, ?3, ?4)",
            (user, &a.token, &a.label, &a.confirm_url),
        )?,
    };
    Ok(())
}

/// How much was accepted on a business day, and how many baskets.
pub fn day(tx: &Tx<'_>, user: i64, day: &str, currency: Currency) -> Result<(i64, u32), StoreError> {
    let sql = "SELECT minor, purchases FROM user_days WHERE user = ?1 AND day = ?2 AND currency = ?3";
    Ok(tx.first(sql, (user, day, currency.code()), |r| Ok((r.get(0)?, r.get(1)?)))?.unwrap_or((0, 0)))
}

/// Counts an accepted basket.
pub fn count_purchase(tx: &Tx<'_>, user: i64, day: &str, total: Money) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO user_days (user, day, currency, purchases, minor) VALUES (?1, ?2, ?3, 1, ?4)
         ON CONFLICT (user, day, currency) DO UPDATE SET purchases = purchases + 1, minor = minor + excluded.minor",
        (user, day, total.currency.code(), total.minor),
    )?;
    Ok(())
}
