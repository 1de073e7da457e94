//! Telling a device what happened: signed documents in its event log.

use super::Ctx;
use crate::failure::{Failure, OrDefect, defect};
use crate::store::devices::Device;
use crate::store::{Tx, events};
use walkpay::protocol::document::{EventBody, EventDocument, KeyUse};
use walkpay::protocol::jws::Document;

/// Appends an event to the device's log; its number.
pub(super) fn tell(tx: &Tx<'_>, ctx: &Ctx, device: &Device, body: &EventBody) -> Result<u64, Failure> {
    let seq = events::next_seq(tx, device.device)?;
    let mut value = serde_json::to_value(body).map_err(|e| defect("event", e))?;
    let kind = value.get("kind").and_then(|k| k.as_str()).or_defect("event kind")?.to_owned();
    let document = EventDocument {
        iss: ctx.keys.merchant_id().clone(),
        aud: device.device_id,
        sub: device.sub.clone(),
        seq,
        kind,
        body: value.get_mut("body").map(serde_json::Value::take).unwrap_or_default(),
        issued_at: ctx.now,
    };
    let jws = sign(ctx, KeyUse::Results, &document)?;
    events::append(tx, device.device, device.device_id, seq, &jws)?;
    Ok(seq)
}

/// `document` signed with the key for `usage`.
pub(super) fn sign<D: Document>(ctx: &Ctx, usage: KeyUse, document: &D) -> Result<String, Failure> {
    ctx.keys.sign(usage, ctx.now, document).or_defect(D::TYP)
}
