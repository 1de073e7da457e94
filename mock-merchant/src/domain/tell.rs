//! Telling a device what happened: signed documents in its event log.

use super::Ctx;
use crate::failure::{Failure, OrDefect, defect};
use crate::keys::Keyring;
use crate::store::devices::Device;
use crate::store::{Tx, events};
use serde_json::Value;
use std::sync::Arc;
use walkpay::Timestamp;
use walkpay::protocol::document::{EventBody, EventDocument, KeyUse};
use walkpay::protocol::jws::Document;

/// Appends an event to the device's log; its number.
pub(super) fn tell(tx: &Tx<'_>, ctx: &Ctx, device: &Device, body: EventBody) -> Result<u64, Failure> {
    tell_signed(tx, ctx, device, &[], move |_| Ok(body))
}

/// [`tell`] of a document that is signed as well.
pub(super) fn tell_document<D: Document + Send + 'static>(
    tx: &Tx<'_>,
    ctx: &Ctx,
    device: &Device,
    document: D,
    body: impl FnOnce(String) -> EventBody + Send + 'static,
) -> Result<u64, Failure> {
    tell_signed(tx, ctx, device, &[], move |pen| Ok(body(pen.sign(KeyUse::Results, &document)?)))
}

/// [`tell`] of what holds signed documents: `body` signs them, with keys for `usages` as well, on a thread that has nothing to do with
/// the transaction, while that goes on.
pub(super) fn tell_signed(
    tx: &Tx<'_>,
    ctx: &Ctx,
    device: &Device,
    usages: &[KeyUse],
    body: impl FnOnce(&Pen) -> Result<EventBody, Failure> + Send + 'static,
) -> Result<u64, Failure> {
    let pen = Pen::new(ctx, usages)?;
    let seq = events::next_seq(tx, device.device)?;
    let (aud, sub) = (device.device_id, device.sub.clone());
    let make = move || {
        let (kind, body) = parts(body(&pen)?)?;
        let iss = pen.keys.merchant_id().clone();
        let document = EventDocument { iss, aud, sub, seq, kind, body, issued_at: pen.now };
        pen.sign(KeyUse::Results, &document)
    };
    events::append(tx, device.device, device.device_id, seq, Box::new(make));
    Ok(seq)
}

fn parts(body: EventBody) -> Result<(String, Value), Failure> {
    let mut value = serde_json::to_value(body).map_err(|e| defect("event", e))?;
    let kind = value.get("kind").and_then(Value::as_str).or_defect("event kind")?.to_owned();
    Ok((kind, value.get_mut("body").map(Value::take).unwrap_or_default()))
}

/// `document` signed with the key for `usage`.
pub(super) fn sign<D: Document>(ctx: &Ctx, usage: KeyUse, document: &D) -> Result<String, Failure> {
    ctx.keys.sign(usage, ctx.now, document).or_defect(D::TYP)
}

/// Signs at one instant, on any thread.
pub(super) struct Pen {
    keys: Arc<Keyring>,
    now: Timestamp,
}

impl Pen {
    /// Only if a key for results and one for each of `usages` is in force: what is signed later must not fail for want of it.
    fn new(ctx: &Ctx, usages: &[KeyUse]) -> Result<Self, Failure> {
        for usage in usages.iter().chain(&[KeyUse::Results]) {
            ctx.keys.in_force(*usage, ctx.now).or_defect("keys")?;
        }
        Ok(Self { keys: ctx.keys.clone(), now: ctx.now })
    }

    /// `document` signed with the key for `usage`.
    pub fn sign<D: Document>(&self, usage: KeyUse, document: &D) -> Result<String, Failure> {
        self.keys.sign(usage, self.now, document).or_defect(D::TYP)
    }
}
