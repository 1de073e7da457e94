//! Devices, their keys, and what they have signed.

use super::read::{count, counted, device_id, jwk, key_text, optional_time, parsed, public_key, time, words};
use super::users::UserState;
use super::{StoreError, Tx};
use rusqlite::Row;
use walkpay::protocol::crypto::{Jwk, PublicKey};
use walkpay::{DeviceId, KeyId, Sub, Timestamp};

words! {
    /// What a device may do.
    DeviceState {
        /// Enrolled, not confirmed by its user yet.
        Pending = "pending",
        /// Everything.
        Active = "active",
        /// Two copies of its folder seem to be in use.
        Frozen = "frozen",
        /// Taken out of use.
        Revoked = "revoked",
    }
}

/// A device and its user.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Row.
    pub device: i64,
    /// Its identifier.
    pub device_id: DeviceId,
    /// What it may do.
    pub state: DeviceState,
    /// Thumbprint of the key that signs HTTP requests.
    pub request_kid: KeyId,
    /// That key; its point is checked only by [`Jwk::to_key`].
    pub request_jwk: Jwk,
    /// Thumbprint of the key that signs baskets, holds and slips.
    pub consent_kid: KeyId,
    /// That key.
    pub consent_jwk: Jwk,
    /// Since when it may do everything.
    pub active_since: Option<Timestamp>,
    /// The last event that it was given.
    pub last_seq: u64,
    /// The user's row.
    pub user: i64,
    /// The user.
    pub sub: Sub,
    /// Whether the user may shop.
    pub user_state: UserState,
    /// The user's stored-value account.
    pub account: Option<i64>,
}

/// The query of [`read`] with a condition.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT d.device, d.device_id, d.state, d.request_kid, d.request_key, d.consent_kid, d.consent_key, d.active_since, d.last_seq, \
             u.user, u.sub, u.state, u.account FROM devices d JOIN users u USING (user) ",
            $rest
        )
    };
}

fn read(r: &Row<'_>) -> rusqlite::Result<Device> {
    Ok(Device {
        device: r.get(0)?,
        device_id: device_id(r, 1)?,
        state: r.get(2)?,
        request_kid: parsed(r, 3)?,
        request_jwk: jwk(r, 4)?,
        consent_kid: parsed(r, 5)?,
        consent_jwk: jwk(r, 6)?,
        active_since: optional_time(r, 7)?,
        last_seq: count(r, 8)?,
        user: r.get(9)?,
        sub: parsed(r, 10)?,
        user_state: r.get(11)?,
        account: r.get(12)?,
    })
}

/// A device by its identifier.
pub fn find(tx: &Tx<'_>, id: &DeviceId) -> Result<Option<Device>, StoreError> {
    tx.first(select!("WHERE d.device_id = ?1"), [id.as_bytes()], read)
}

/// A device by its row.
pub fn get(tx: &Tx<'_>, device: i64) -> Result<Device, StoreError> {
    let found = tx.first(select!("WHERE d.device = ?1"), [device], read)?;
    found.ok_or_else(|| StoreError::Defect(format!("no device {device}")))
}

/// The devices of a user.
pub fn of_user(tx: &Tx<'_>, user: i64) -> Result<Vec<Device>, StoreError> {
    tx.all(select!("WHERE d.user = ?1 ORDER BY d.device"), [user], read)
}

/// How a device calls itself (empty once erased), and when it was enrolled.
pub fn label(tx: &Tx<'_>, device: i64) -> Result<(String, Timestamp), StoreError> {
    let sql = "SELECT ifnull(l.label, ''), d.enrolled_at FROM devices d LEFT JOIN device_labels l USING (device)
               WHERE d.device = ?1";
    let found = tx.first(sql, [device], |r| Ok((r.get(0)?, time(r, 1)?)))?;
    found.ok_or_else(|| StoreError::Defect(format!("no device {device}")))
}

/// All devices that still take part.
pub fn in_use(tx: &Tx<'_>) -> Result<Vec<i64>, StoreError> {
    tx.all("SELECT device FROM devices WHERE state IN ('pending', 'active') ORDER BY device", [], |r| r.get(0))
}

/// A key that HTTP requests are signed with.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestKey {
    /// Whose.
    pub device_id: DeviceId,
    /// It.
    pub key: PublicKey,
}

/// Finds the device by the key that signed an HTTP request; also keys that a rotation retired.
pub fn request_key(tx: &Tx<'_>, kid: &KeyId) -> Result<Option<RequestKey>, StoreError> {
    let read = |r: &Row<'_>| Ok(RequestKey { device_id: device_id(r, 0)?, key: public_key(r, 1)? });
    let current =
        tx.first("SELECT device_id, request_key FROM devices WHERE request_kid = ?1", [kid.as_str()], read)?;
    if current.is_some() {
        return Ok(current);
    }
    let sql = "SELECT d.device_id, k.key FROM retired_keys k JOIN devices d USING (device)
               WHERE k.kid = ?1 AND k.consent = 0";
    tx.first(sql, [kid.as_str()], read)
}

/// A retired key of a device that may still verify its document number `device_seq`.
pub fn retired_key(
    tx: &Tx<'_>,
    device: i64,
    kid: &KeyId,
    consent: bool,
    device_seq: u64,
) -> Result<Option<PublicKey>, StoreError> {
    let sql = "SELECT key FROM retired_keys WHERE kid = ?1 AND device = ?2 AND consent = ?3 AND until_seq > ?4";
    tx.first(sql, (kid.as_str(), device, consent, counted(device_seq)), |r| public_key(r, 0))
}

/// Whether any device has or had one of these keys.
pub fn key_taken(tx: &Tx<'_>, kids: [&KeyId; 2]) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM devices WHERE request_kid IN (?1, ?2)
               UNION ALL SELECT 1 FROM devices WHERE consent_kid IN (?1, ?2)
               UNION ALL SELECT 1 FROM retired_keys WHERE kid IN (?1, ?2)";
    Ok(tx.first(sql, (kids[0].as_str(), kids[1].as_str()), |_| Ok(()))?.is_some())
}

/// A new device.
pub struct NewDevice<'a> {
    /// Its identifier.
    pub device_id: DeviceId,
    /// The user's row.
    pub user: i64,
    /// Whether it may do everything at once.
    pub active: bool,
    /// Signs HTTP requests.
    pub request_key: &'a PublicKey,
    /// Signs baskets, holds and slips.
    pub consent_key: &'a PublicKey,
    /// Merchant time.
    pub at: Timestamp,
    /// Digest of the request, to know it again.
    pub body_sha256: [u8; 32],
    /// The answer, to be given again.
    pub granted: &'a str,
    /// How it calls itself.
    pub label: &'a str,
}

/// Adds a device; its row.
pub fn add(tx: &Tx<'_>, new: &NewDevice<'_>) -> Result<i64, StoreError> {
    let state = if new.active { DeviceState::Active } else { DeviceState::Pending };
    let device = tx.insert(
        "INSERT INTO devices (merchant, device_id, user, state, request_kid, request_key, consent_kid, consent_key,
           enrolled_at, active_since, body_sha256, granted) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        (
            new.device_id.as_bytes(),
            new.user,
            state,
            new.request_key.key_id().as_str(),
            key_text(new.request_key)?,
            new.consent_key.key_id().as_str(),
            key_text(new.consent_key)?,
            new.at.as_millis(),
            new.active.then_some(new.at.as_millis()),
            new.body_sha256,
            new.granted,
        ),
    )?;
    tx.execute("INSERT INTO device_labels (device, label) VALUES (?1, ?2)", (device, new.label))?;
    Ok(device)
}

/// The digest of the request that enrolled a device, and the answer.
pub fn enrolment(tx: &Tx<'_>, id: &DeviceId) -> Result<Option<([u8; 32], String)>, StoreError> {
    let sql = "SELECT body_sha256, granted FROM devices WHERE device_id = ?1";
    tx.first(sql, [id.as_bytes()], |r| Ok((r.get(0)?, r.get(1)?)))
}

/// Sets what a device may do; `active_since` is set when it becomes active.
pub fn set_state(tx: &Tx<'_>, device: i64, state: DeviceState, at: Timestamp) -> Result<(), StoreError> {
    let active = (state == DeviceState::Active).then_some(at.as_millis());
    let sql = "UPDATE devices SET state = ?2, active_since = ifnull(?3, active_since) WHERE device = ?1";
    tx.execute(sql, (device, state, active))?;
    Ok(())
}

/// Puts new keys in the place of a device's; the old ones verify documents numbered below `device_seq`.
pub fn rotate(
    tx: &Tx<'_>,
    device: i64,
    request_key: &PublicKey,
    consent_key: &PublicKey,
    device_seq: u64,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO retired_keys (kid, device, consent, key, until_seq)
         SELECT request_kid, device, 0, request_key, ?2 FROM devices WHERE device = ?1
         UNION ALL SELECT consent_kid, device, 1, consent_key, ?2 FROM devices WHERE device = ?1",
        (device, counted(device_seq)),
    )?;
    tx.execute(
        "UPDATE devices SET request_kid = ?2, request_key = ?3, consent_kid = ?4, consent_key = ?5 WHERE device = ?1",
        (
            device,
            request_key.key_id().as_str(),
            key_text(request_key)?,
            consent_key.key_id().as_str(),
            key_text(consent_key)?,
        ),
    )?;
    Ok(())
}

/// Keeps a rotation, to know it again.
pub fn add_rotation(
    tx: &Tx<'_>,
    device: i64,
    body_sha256: &[u8; 32],
    at: Timestamp,
    last_seq: u64,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO rotations (device, body_sha256, recorded_at, last_seq) VALUES (?1, ?2, ?3, ?4)";
    tx.execute(sql, (device, body_sha256, at.as_millis(), counted(last_seq)))?;
    Ok(())
}

/// When a rotation was recorded, and the last event then.
pub fn rotation(tx: &Tx<'_>, device: i64, body_sha256: &[u8; 32]) -> Result<Option<(Timestamp, u64)>, StoreError> {
    let sql = "SELECT recorded_at, last_seq FROM rotations WHERE device = ?1 AND body_sha256 = ?2";
    tx.first(sql, (device, body_sha256), |r| Ok((time(r, 0)?, count(r, 1)?)))
}

/// Notes which document a device signed under a number; `false` if it had signed another one under it.
pub fn note_document(tx: &Tx<'_>, device: i64, device_seq: u64, sha256: &[u8; 32]) -> Result<bool, StoreError> {
    let sql = "INSERT OR IGNORE INTO device_documents (device, device_seq, sha256) VALUES (?1, ?2, ?3)";
    if tx.execute(sql, (device, counted(device_seq), sha256))? == 1 {
        return Ok(true);
    }
    Ok(document(tx, device, device_seq)?.as_ref() == Some(sha256))
}

/// The digest of the document that a device signed under a number.
pub fn document(tx: &Tx<'_>, device: i64, device_seq: u64) -> Result<Option<[u8; 32]>, StoreError> {
    let sql = "SELECT sha256 FROM device_documents WHERE device = ?1 AND device_seq = ?2";
    tx.first(sql, (device, counted(device_seq)), |r| r.get(0))
}
