//! Service systems: API keys, callback addresses, secrets that webhooks are signed with.

use super::read::{counted, optional_time, time, words};
use super::{StoreError, Tx};
use rusqlite::Row;
use walkpay::Timestamp;

words! {
    /// Whether a service system takes part.
    SourceState {
        /// It does.
        Active = "active",
        /// Its keys open nothing; its orders stay.
        Disabled = "disabled",
    }
}

/// A service system.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Row.
    pub source: i64,
    /// Its identifier, which its orders carry.
    pub source_id: String,
    /// Its name.
    pub name: String,
    /// Who is paid when an order names nobody else.
    pub payee: String,
    /// Whether it takes part.
    pub state: SourceState,
    /// Where it is told what happens.
    pub callback_url: Option<String>,
    /// Whether that may be a private address.
    pub private_callback: bool,
    /// Whether the address said that it is gone (410).
    pub callback_gone: bool,
    /// Its time zone: an IANA name.
    pub time_zone: String,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT source, source_id, name, payee, state, callback_url, private_callback, callback_gone, time_zone FROM sources ",
            $rest
        )
    };
}

fn read(r: &Row<'_>) -> rusqlite::Result<Source> {
    Ok(Source {
        source: r.get(0)?,
        source_id: r.get(1)?,
        name: r.get(2)?,
        payee: r.get(3)?,
        state: r.get(4)?,
        callback_url: r.get(5)?,
        private_callback: r.get(6)?,
        callback_gone: r.get(7)?,
        time_zone: r.get(8)?,
    })
}

/// A new service system.
pub struct NewSource<'a> {
    /// Its identifier.
    pub source_id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Who is paid when an order names nobody else.
    pub payee: &'a str,
    /// Its time zone: an IANA name.
    pub time_zone: &'a str,
}

/// Adds a service system; its row.
pub fn add(tx: &Tx<'_>, new: &NewSource<'_>, at: Timestamp) -> Result<i64, StoreError> {
    let sql = "INSERT INTO sources (merchant, source_id, name, payee, state, time_zone, made_at)
               VALUES (1, ?1, ?2, ?3, 'active', ?4, ?5)";
    tx.insert(sql, (new.source_id, new.name, new.payee, new.time_zone, at.as_millis()))
}

/// A service system by its identifier.
pub fn find(tx: &Tx<'_>, source_id: &str) -> Result<Option<Source>, StoreError> {
    tx.first(select!("WHERE source_id = ?1"), [source_id], read)
}

/// A service system by its row.
pub fn get(tx: &Tx<'_>, source: i64) -> Result<Source, StoreError> {
    let found = tx.first(select!("WHERE source = ?1"), [source], read)?;
    found.ok_or_else(|| StoreError::Defect(format!("no source {source}")))
}

/// All service systems.
pub fn all(tx: &Tx<'_>) -> Result<Vec<Source>, StoreError> {
    tx.all(select!("ORDER BY source"), [], read)
}

/// Sets whether a service system takes part.
pub fn set_state(tx: &Tx<'_>, source: i64, state: SourceState) -> Result<(), StoreError> {
    tx.execute("UPDATE sources SET state = ?2 WHERE source = ?1", (source, state))?;
    Ok(())
}

/// Sets where a service system is told what happens, or nowhere.
pub fn set_callback(tx: &Tx<'_>, source: i64, url: Option<&str>, private: bool) -> Result<(), StoreError> {
    let sql = "UPDATE sources SET callback_url = ?2, private_callback = ?3, callback_gone = 0 WHERE source = ?1";
    tx.execute(sql, (source, url, private))?;
    Ok(())
}

/// Notes that the address is gone.
pub fn set_gone(tx: &Tx<'_>, source: i64) -> Result<(), StoreError> {
    tx.execute("UPDATE sources SET callback_gone = 1 WHERE source = ?1", [source])?;
    Ok(())
}

/// A service system that an API key belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyOwner {
    /// Row.
    pub source: i64,
    /// Its identifier.
    pub source_id: String,
    /// What the key may do, as it was kept.
    pub scopes: String,
}

/// The active service system that an API key in use with this digest belongs to.
pub fn of_key(tx: &Tx<'_>, sha256: &str) -> Result<Option<KeyOwner>, StoreError> {
    let sql = "SELECT s.source, s.source_id, k.scopes FROM source_keys k JOIN sources s USING (source)
               WHERE k.sha256 = ?1 AND k.revoked_at IS NULL AND s.state = 'active'";
    tx.first(sql, [sha256], |r| Ok(KeyOwner { source: r.get(0)?, source_id: r.get(1)?, scopes: r.get(2)? }))
}

/// Keeps the digest of an API key.
pub fn add_key(tx: &Tx<'_>, source: i64, sha256: &str, scopes: &str, at: Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT INTO source_keys (sha256, source, scopes, made_at) VALUES (?1, ?2, ?3, ?4)";
    tx.execute(sql, (sha256, source, scopes, at.as_millis()))?;
    Ok(())
}

/// An API key, by what is kept of it.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRow {
    /// Its digest.
    pub sha256: String,
    /// What it may do.
    pub scopes: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// The API keys of a service system, in the order in which they were made.
pub fn keys(tx: &Tx<'_>, source: i64) -> Result<Vec<KeyRow>, StoreError> {
    let sql = "SELECT sha256, scopes, made_at, revoked_at FROM source_keys WHERE source = ?1 ORDER BY made_at, sha256";
    tx.all(sql, [source], |r| {
        Ok(KeyRow { sha256: r.get(0)?, scopes: r.get(1)?, made_at: time(r, 2)?, revoked_at: optional_time(r, 3)? })
    })
}

/// Takes the API key with this digest out of use; `false` if the source has none such in use.
pub fn revoke_key(tx: &Tx<'_>, source: i64, sha256: &str, at: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE source_keys SET revoked_at = ?3 WHERE sha256 = ?2 AND source = ?1 AND revoked_at IS NULL";
    Ok(tx.execute(sql, (source, sha256, at.as_millis()))? == 1)
}

/// Adds a secret; those before it end at `others_end`.
pub fn add_secret(
    tx: &Tx<'_>,
    source: i64,
    secret: &[u8],
    at: Timestamp,
    others_end: Timestamp,
) -> Result<(), StoreError> {
    tx.execute("DELETE FROM source_secrets WHERE source = ?1 AND ends_at <= ?2", (source, at.as_millis()))?;
    let sql = "UPDATE source_secrets SET ends_at = min(ifnull(ends_at, ?2), ?2) WHERE source = ?1";
    tx.execute(sql, (source, others_end.as_millis()))?;
    let sql = "INSERT INTO source_secrets (source, n, secret, made_at)
               SELECT ?1, ifnull(max(n), 0) + 1, ?2, ?3 FROM source_secrets WHERE source = ?1";
    tx.execute(sql, (source, secret, at.as_millis()))?;
    Ok(())
}

/// The secrets in use, the newest first; at most `limit`.
pub fn secrets(tx: &Tx<'_>, source: i64, at: Timestamp, limit: u64) -> Result<Vec<Vec<u8>>, StoreError> {
    let sql = "SELECT secret FROM source_secrets WHERE source = ?1 AND (ends_at IS NULL OR ends_at > ?2)
               ORDER BY n DESC LIMIT ?3";
    tx.all(sql, (source, at.as_millis(), counted(limit)), |r| r.get(0))
}
