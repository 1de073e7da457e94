//! The merchant, its stores and gates, and the audit trail.

use super::read::parsed;
use super::{StoreError, Tx};
use rusqlite::Row;
use walkpay::protocol::document::StoreInfo;
use walkpay::{Currency, GateGroup, StoreId, Timestamp};

/// A store with its row number.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreRow {
    /// Row.
    pub store: i64,
    /// What is known of it.
    pub info: StoreInfo,
}

impl StoreRow {
    /// The currency of all its prices.
    pub fn currency(&self) -> Currency {
        self.info.currency
    }
}

const COLUMNS: &str = "SELECT store, store_id, name, currency, time_zone, tax_id, gate_group FROM stores";

fn read(r: &Row<'_>) -> rusqlite::Result<StoreRow> {
    let info = StoreInfo {
        store_id: parsed(r, 1)?,
        name: r.get(2)?,
        currency: parsed(r, 3)?,
        time_zone: r.get(4)?,
        tax_id: r.get(5)?,
        gate_group: parsed(r, 6)?,
    };
    Ok(StoreRow { store: r.get(0)?, info })
}

/// The merchant's name.
pub fn merchant_name(tx: &Tx<'_>) -> Result<String, StoreError> {
    let name = tx.first("SELECT name FROM merchants WHERE merchant = 1", [], |r| r.get(0))?;
    name.ok_or_else(|| StoreError::Defect("no merchant".to_owned()))
}

/// A store by its identifier.
pub fn find(tx: &Tx<'_>, store_id: &StoreId) -> Result<Option<StoreRow>, StoreError> {
    tx.first(&format!("{COLUMNS} WHERE store_id = ?1"), [store_id.as_str()], read)
}

/// A store by its row.
pub fn get(tx: &Tx<'_>, store: i64) -> Result<StoreRow, StoreError> {
    let row = tx.first(&format!("{COLUMNS} WHERE store = ?1"), [store], read)?;
    row.ok_or_else(|| StoreError::Defect(format!("no store {store}")))
}

/// All stores.
pub fn all(tx: &Tx<'_>) -> Result<Vec<StoreRow>, StoreError> {
    tx.all(&format!("{COLUMNS} ORDER BY store"), [], read)
}

/// Adds a store or changes its description; the currency of an existing one stays.
pub fn put(tx: &Tx<'_>, info: &StoreInfo) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO stores (merchant, store_id, name, currency, time_zone, tax_id, gate_group)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (store_id) DO UPDATE
         SET name = excluded.name, time_zone = excluded.time_zone, tax_id = excluded.tax_id,
             gate_group = excluded.gate_group",
        (
            info.store_id.as_str(),
            &info.name,
            info.currency.code(),
            &info.time_zone,
            &info.tax_id,
            info.gate_group.as_str(),
        ),
    )?;
    Ok(())
}

/// The next receipt number of a store, used up by asking.
pub fn next_receipt(tx: &Tx<'_>, store: i64) -> Result<u64, StoreError> {
    let sql = "UPDATE stores SET next_receipt = next_receipt + 1 WHERE store = ?1 RETURNING next_receipt - 1";
    let number = tx.first(sql, [store], |r| super::read::count(r, 0))?;
    number.ok_or_else(|| StoreError::Defect(format!("no store {store}")))
}

/// Keeps the digest of a gate's API key.
pub fn add_gate_key(tx: &Tx<'_>, sha256: &str, group: &GateGroup, at: Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT INTO gate_keys (sha256, gate_group, made_at) VALUES (?1, ?2, ?3)";
    tx.execute(sql, (sha256, group.as_str(), at.as_millis()))?;
    Ok(())
}

/// The group that an API key with this digest opens.
pub fn gate_of_key(tx: &Tx<'_>, sha256: &str) -> Result<Option<GateGroup>, StoreError> {
    tx.first("SELECT gate_group FROM gate_keys WHERE sha256 = ?1", [sha256], |r| parsed(r, 0))
}

/// The first characters of the digests of all API keys of gates, their groups, and when they were made.
pub fn gate_keys(tx: &Tx<'_>) -> Result<Vec<(String, GateGroup, Timestamp)>, StoreError> {
    let sql = "SELECT substr(sha256, 1, 12), gate_group, made_at FROM gate_keys ORDER BY made_at, sha256";
    tx.all(sql, [], |r| Ok((r.get(0)?, parsed(r, 1)?, super::read::time(r, 2)?)))
}

/// Forgets the API key whose digest begins so; `false` if there is none.
pub fn remove_gate_key(tx: &Tx<'_>, begins: &str) -> Result<bool, StoreError> {
    Ok(tx.execute("DELETE FROM gate_keys WHERE substr(sha256, 1, 12) = ?1", [begins])? > 0)
}

/// Notes who did what; all three are opaque words without personal data.
pub fn audit(tx: &Tx<'_>, at: Timestamp, actor: &str, action: &str, subject: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO audit (merchant, at, actor, action, subject) VALUES (1, ?1, ?2, ?3, ?4)";
    tx.execute(sql, (at.as_millis(), actor, action, subject))?;
    Ok(())
}
