//! What every document of a device goes through before anything is recorded.

use super::{Caller, Ctx, tell::tell};
use crate::failure::{Failure, OrDefect, refuse};
use crate::store::devices::{Device, DeviceState};
use crate::store::stores::StoreRow;
use crate::store::users::UserState;
use crate::store::{Tx, devices, stores};
use walkpay::protocol::crypto::sha256;
use walkpay::protocol::document::{BasketSummary, EventBody, HoldRequest, KeyRotation, TripCancellation};
use walkpay::protocol::jws::{Document, Signed, peek, verify};
use walkpay::protocol::order::SlipPayment;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{DeviceId, KeyId, MerchantId, StoreId, Sub, WalkpayError};

/// The device that asks, and the key that its request was signed with.
pub(super) fn caller(tx: &Tx<'_>, caller: &Caller) -> Result<(Device, KeyId), Failure> {
    let Caller::Device { device_id, kid } = caller else {
        return Err(refuse(ProblemCode::Forbidden, "only a device can ask this"));
    };
    let device = devices::find(tx, device_id)?;
    let device = device.ok_or_else(|| refuse(ProblemCode::KeyUnknown, "no device has this key"))?;
    Ok((device, kid.clone()))
}

/// The device that asks by its request key in force. One that a rotation has retired may sign for what its device has signed as a document
/// and for reading its log, but neither see nor change anything that needs no document.
pub(super) fn caller_in_force(tx: &Tx<'_>, asking: &Caller) -> Result<Device, Failure> {
    let (device, kid) = caller(tx, asking)?;
    if kid != device.request_kid {
        return Err(refuse(ProblemCode::KeyUnknown, "a rotation has replaced this request key: sign with the new one"));
    }
    Ok(device)
}

/// Whether documents are signed with the consent key or with the request key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Request,
    Consent,
}

/// A document that a device signs: where it says that it belongs, and its number.
pub(super) trait OfDevice: Document {
    fn bound(&self) -> (&MerchantId, &Sub, &DeviceId);
    fn device_seq(&self) -> u64;
}

macro_rules! of_device {
    ($($document:ty),*) => {$(
        impl OfDevice for $document {
            fn bound(&self) -> (&MerchantId, &Sub, &DeviceId) {
                (&self.merchant_id, &self.sub, &self.device_id)
            }
            fn device_seq(&self) -> u64 {
                self.device_seq
            }
        }
    )*};
}
of_device!(HoldRequest, BasketSummary, TripCancellation, SlipPayment, KeyRotation);

/// What comes before anything else is looked at: form and signature of a document, and that it belongs to this merchant, user and
/// device.
pub(super) fn received<D: OfDevice>(
    tx: &Tx<'_>,
    ctx: &Ctx,
    device: &Device,
    key: Key,
    jws: &str,
) -> Result<Signed<D>, Failure> {
    let signed = verified::<D>(tx, device, key, jws)?;
    check_bound(ctx, device, &signed.document)?;
    Ok(signed)
}

/// What comes first in the writer's turn: the caller's device, the key still in force, nothing new of a revoked device or an erased user, the
/// document's number noted.
pub(super) fn taken_in<D: OfDevice>(
    tx: &Tx<'_>,
    ctx: &Ctx,
    asking: &Caller,
    key: Key,
    signed: &Signed<D>,
) -> Result<Device, Failure> {
    let (device, _) = caller(tx, asking)?;
    let seq = signed.document.device_seq();
    still_good(tx, &device, key, &signed.kid, seq)?;
    takes_part(tx, &device, seq, signed.jws())?;
    note(tx, ctx, &device, seq, signed.jws())?;
    Ok(device)
}

/// Verifies a document with the device's key in force, or with one that a rotation retired if the document's number is
/// below that rotation's.
fn verified<D: OfDevice>(tx: &Tx<'_>, device: &Device, key: Key, jws: &str) -> Result<Signed<D>, Failure> {
    let invalid = |e: WalkpayError| refuse(ProblemCode::DocumentInvalid, e.to_string());
    let (in_force, jwk) = match key {
        Key::Request => (&device.request_kid, &device.request_jwk),
        Key::Consent => (&device.consent_kid, &device.consent_jwk),
    };
    let public = jwk.to_key().or_defect("device key")?;
    let mut another = false;
    let signed = verify::<D>(jws, |kid| {
        another = kid != in_force;
        (!another).then_some(&public)
    });
    if !another {
        return signed.map_err(invalid);
    }
    let (kid, document) = peek::<D>(jws).map_err(invalid)?;
    let retired = devices::retired_key(tx, device.device, &kid, key == Key::Consent, document.device_seq())?;
    verify::<D>(jws, |_| retired.as_ref()).map_err(invalid)
}

/// Whether the key that verified a document is still good for it: a rotation may have come between.
fn still_good(tx: &Tx<'_>, device: &Device, key: Key, kid: &KeyId, device_seq: u64) -> Result<(), Failure> {
    let in_force = if key == Key::Consent { &device.consent_kid } else { &device.request_kid };
    if kid == in_force || devices::retired_key(tx, device.device, kid, key == Key::Consent, device_seq)?.is_some() {
        return Ok(());
    }
    Err(refuse(ProblemCode::DocumentInvalid, "the document is signed with a key that is not in force"))
}

/// Nothing of a device that was revoked or whose user was erased is recorded; what was recorded before has its first answer.
fn takes_part(tx: &Tx<'_>, device: &Device, device_seq: u64, jws: &str) -> Result<(), Failure> {
    let gone = device.state == DeviceState::Revoked || device.user_state == UserState::Erased;
    if gone && devices::document(tx, device.device, device_seq)? != Some(sha256(jws.as_bytes())) {
        return active(device);
    }
    Ok(())
}

fn check_bound(ctx: &Ctx, device: &Device, document: &impl OfDevice) -> Result<(), Failure> {
    let (merchant_id, sub, device_id) = document.bound();
    let mismatch = |what: &str| refuse(ProblemCode::DocumentMismatch, format!("the document is of another {what}"));
    if merchant_id != ctx.keys.merchant_id() {
        return Err(mismatch("merchant"));
    }
    if *sub != device.sub {
        return Err(mismatch("user"));
    }
    if *device_id != device.device_id {
        return Err(mismatch("device"));
    }
    Ok(())
}

/// The store that a document names.
pub(super) fn store(tx: &Tx<'_>, store_id: &StoreId) -> Result<StoreRow, Failure> {
    let found = stores::find(tx, store_id)?;
    found.ok_or_else(|| refuse(ProblemCode::DocumentMismatch, format!("this merchant has no store {store_id}")))
}

/// Notes the document under its number. Another document under the same number means two copies of the device's folder:
/// the device is frozen.
pub(super) fn note(tx: &Tx<'_>, ctx: &Ctx, device: &Device, device_seq: u64, jws: &str) -> Result<(), Failure> {
    if device_seq == 0 || device_seq > i64::MAX.unsigned_abs() {
        return Err(refuse(ProblemCode::InvalidValue, "device_seq: expected 1 or higher"));
    }
    if devices::note_document(tx, device.device, device_seq, &sha256(jws.as_bytes()))? {
        return Ok(());
    }
    if matches!(device.state, DeviceState::Active | DeviceState::Pending) {
        devices::set_state(tx, device.device, DeviceState::Frozen, ctx.now)?;
        stores::audit(tx, ctx.now, "merchant", "freeze_device", &device.device_id.to_string())?;
        tell(tx, ctx, device, &EventBody::DeviceFrozen {})?;
    }
    let detail = format!("another document was signed as number {device_seq}: enrol this device again");
    Err(refuse(ProblemCode::DeviceFrozen, detail))
}

/// Refuses what only an active device of an active user may do.
pub(super) fn active(device: &Device) -> Result<(), Failure> {
    match device.state {
        DeviceState::Active => {}
        DeviceState::Pending => return Err(refuse(ProblemCode::DevicePending, "the user has to confirm this device")),
        DeviceState::Frozen => return Err(refuse(ProblemCode::DeviceFrozen, "enrol this device again")),
        DeviceState::Revoked => return Err(refuse(ProblemCode::DeviceRevoked, "enrol this device again")),
    }
    if device.user_state != UserState::Active {
        return Err(refuse(ProblemCode::UserNotActive, "the user is blocked or erased"));
    }
    Ok(())
}
