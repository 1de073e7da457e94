//! Documents in two steps: what must be signed, and the signature. The number of a document is used up in the first step, and the
//! finished document is journalled in the second, before it can leave.

use super::draft::Draft;
use super::host::HostEventKind;
use super::input::{Decision, KeyRole, Now, Reply, ToSign};
use super::journal::Fact;
use super::outbox::{MAX_OUTBOX, OutboxBody, OutboxEntry, OutboxKind, Prepared, PreparedWhat};
use super::state::{Device, DeviceStatus};
use super::trip::{AttemptFacts, ForwardPolicy, MAX_ATTEMPTS, MAX_HOLDS, Trip};
use crate::error::WalkpayError;
use crate::id::*;
use crate::money::Money;
use crate::protocol::crypto::PublicKey;
use crate::protocol::document::{BasketSummary, HoldRequest, HoldStatus, KeyRotation, TripCancellation};
use crate::protocol::jws::{Document, assemble, signing_input};
use crate::protocol::message::KeyRotationRequest;

/// A08, A09. The first call asks for a hold, later ones raise it.
pub(super) fn prepare_hold(
    device: &Device,
    trip_id: TripId,
    amount: Money,
    online: bool,
    now: &Now,
) -> Result<Decision, WalkpayError> {
    let trip = device.trip(trip_id)?;
    let call = "request_hold";
    if trip.is_closed() || trip.cancel_requested.is_some() {
        return Err(trip.wrong_order(call, false));
    }
    if trip.holds.last().is_some_and(|h| h.is_open()) {
        let due = "next_event (whether the hold is placed)".to_owned();
        return Err(WalkpayError::WrongOrder { called: call.into(), due });
    }
    check_amount(trip, amount)?;
    let standing = trip.holds.iter().rev().find(|h| h.status == Some(HoldStatus::Placed));
    // Requests that were never on record do not count, neither here nor for the merchant.
    let last = trip.holds.iter().rev().find(|h| h.refused.is_none());
    if let Some(hold) = standing.filter(|h| h.amount.minor >= amount.minor) {
        let expected = format!("more than the hold that is placed, {}", hold.amount);
        return Err(WalkpayError::invalid("amount", &expected, &amount.to_string()));
    }
    if trip.holds.len() >= MAX_HOLDS {
        return Err(WalkpayError::limit("holds of a trip", MAX_HOLDS as u64));
    }
    may_sign(device, call, trip.policy, online)?;
    let replaces = last.map(|h| h.hold_id);
    let number = last.map_or(0, |h| h.number).saturating_add(1);
    if let Some(again) = device.prepared(trip_id, OutboxKind::Hold)
        && matches!(&again.what, PreparedWhat::Hold { number: n, replaces: r, amount: a, .. } if (*n, *r, *a) == (number, replaces, amount))
    {
        return Ok(Decision::nothing(to_sign(again, KeyRole::Consent)));
    }
    let mut random = [0; 10];
    random.copy_from_slice(&now.random[..10]);
    let requested_at = device.merchant_time(now);
    let hold_id = HoldId::new(requested_at, random);
    let seq = next_seq(device);
    let document = HoldRequest {
        merchant_id: device.merchant_id.clone(),
        store_id: trip.store_id.clone(),
        sub: device.sub.clone(),
        device_id: device.id,
        device_seq: seq,
        trip_id,
        hold_id,
        number,
        replaces,
        amount,
        requested_at,
    };
    let what = PreparedWhat::Hold { hold_id, number, replaces, amount };
    prepared(device, Subject::Trip(trip_id), &device.consent_key, seq, &document, what, now)
}

/// A04.
pub(super) fn prepare_attempt(
    device: &Device,
    trip_id: TripId,
    online: bool,
    now: &Now,
) -> Result<Decision, WalkpayError> {
    let trip = device.trip(trip_id)?;
    let call = "prepare_signature";
    trip.expect_open(call)?;
    let Some(frozen) = &trip.review else { return Err(trip.wrong_order(call, false)) };
    if trip.attempts.len() >= MAX_ATTEMPTS {
        return Err(WalkpayError::limit("attempts of a trip", MAX_ATTEMPTS as u64));
    }
    may_sign(device, call, trip.policy, online)?;
    let hold_id = trip.hold().map(|h| h.hold_id);
    if let Some(again) = device.prepared(trip_id, OutboxKind::Attempt)
        && matches!(&again.what, PreparedWhat::Attempt { hold_id: h, .. } if *h == hold_id)
    {
        return Ok(Decision::nothing(to_sign(again, KeyRole::Consent)));
    }
    let attempt = trip.attempts.last().map_or(0, |a: &AttemptFacts| a.attempt).saturating_add(1);
    let seq = next_seq(device);
    let document = BasketSummary {
        merchant_id: device.merchant_id.clone(),
        store_id: trip.store_id.clone(),
        sub: device.sub.clone(),
        device_id: device.id,
        device_seq: seq,
        trip_id,
        attempt,
        hold_id,
        catalogue_revision: frozen.catalogue_revision,
        pricing_version: frozen.pricing_version,
        priced_at: frozen.priced_at,
        total: frozen.total,
        item_count: frozen.item_count,
        lines_sha256: frozen.lines_sha256.clone(),
    };
    let what = PreparedWhat::Attempt { attempt, hold_id };
    prepared(device, Subject::Trip(trip_id), &device.consent_key, seq, &document, what, now)
}

/// Where nothing of the visit can have reached the merchant, this is all; otherwise the merchant must be told.
pub(super) fn prepare_cancel(device: &Device, trip_id: TripId, now: &Now) -> Result<Decision, WalkpayError> {
    let trip = device.trip(trip_id)?;
    if trip.cancelled.is_some() || trip.cancel_requested.is_some() {
        return Ok(Decision::nothing(Reply::Done));
    }
    if trip.accepted().is_some() {
        return Err(trip.wrong_order("cancel", false));
    }
    if trip.holds.is_empty() && trip.attempts.is_empty() {
        let mut draft = Draft::new(device, now);
        draft.push(Fact::TripCancelled { trip_id });
        draft.tell(HostEventKind::TripCancelled { trip_id });
        return Ok(draft.reply(Reply::Done));
    }
    not_rotating(device, "cancel")?;
    room(device)?;
    if let Some(again) = device.prepared(trip_id, OutboxKind::Cancellation)
        && again.kid == device.request_key.key_id()
    {
        return Ok(Decision::nothing(to_sign(again, KeyRole::Request)));
    }
    let seq = next_seq(device);
    let document = TripCancellation {
        merchant_id: device.merchant_id.clone(),
        sub: device.sub.clone(),
        device_id: device.id,
        device_seq: seq,
        trip_id,
        cancelled_at: device.merchant_time(now),
    };
    prepared(device, Subject::Trip(trip_id), &device.request_key, seq, &document, PreparedWhat::Cancellation, now)
}

/// The second step. The signature is verified here: what does not verify never gets into the journal.
pub(super) fn submit(
    device: &Device,
    trip_id: TripId,
    kind: OutboxKind,
    signature: &[u8],
    now: &Now,
) -> Result<Decision, WalkpayError> {
    let trip = device.trip(trip_id)?;
    let prepare = match kind {
        OutboxKind::Hold => "request_hold",
        OutboxKind::Cancellation => "cancel",
        _ => "prepare_signature",
    };
    let Some(prepared) = device.prepared(trip_id, kind) else {
        let due = if kind == OutboxKind::Attempt { trip.due(false) } else { prepare.to_owned() };
        return Err(WalkpayError::WrongOrder { called: "submit_signature".into(), due });
    };
    if trip.is_closed() || trip.cancel_requested.is_some() {
        return Err(trip.wrong_order("submit_signature", false));
    }
    room(device)?;
    below_rotation(device, prepared.seq, "submit_signature")?;
    let key = if kind == OutboxKind::Cancellation { &device.request_key } else { &device.consent_key };
    if prepared.kid != key.key_id() {
        return Err(WalkpayError::WrongOrder { called: "submit_signature".into(), due: prepare.to_owned() });
    }
    let jws = finish(key, &prepared.input, signature)?;
    let body = match &prepared.what {
        PreparedWhat::Hold { hold_id, amount, .. } => OutboxBody::Hold { hold_id: *hold_id, amount: *amount, jws },
        PreparedWhat::Attempt { attempt, .. } => {
            let Some(frozen) = &trip.review else { return Err(trip.wrong_order("submit_signature", false)) };
            OutboxBody::Attempt { attempt: *attempt, total: frozen.total, jws, lines: frozen.lines.clone() }
        }
        PreparedWhat::Cancellation => OutboxBody::Cancellation { jws },
        PreparedWhat::Rotation { .. } | PreparedWhat::SlipPayment { .. } => {
            return Err(WalkpayError::Internal { detail: "no document of a trip under a trip".into() });
        }
    };
    Ok(Draft::one(device, now, Fact::Signed { seq: prepared.seq, body }, Reply::Submitted(prepared.seq)))
}

/// New keys: three signatures over the same document, by the consent key in force and by both new keys.
pub(super) fn prepare_rotation(
    device: &Device,
    request_key: PublicKey,
    consent_key: PublicKey,
    now: &Now,
) -> Result<Decision, WalkpayError> {
    may_sign(device, "rotate_keys", ForwardPolicy::PreferOnline, true)?;
    let seq = next_seq(device);
    let document = KeyRotation {
        merchant_id: device.merchant_id.clone(),
        sub: device.sub.clone(),
        device_id: device.id,
        device_seq: seq,
        request_key: request_key.clone(),
        consent_key: consent_key.clone(),
    };
    let (request_kid, consent_kid) = (request_key.key_id(), consent_key.key_id());
    if request_kid == consent_kid {
        return Err(WalkpayError::invalid("keys", "two different keys", request_kid.as_str()));
    }
    let request_input = signing_input(&document, request_key.algorithm(), &request_kid)?;
    let consent_input = signing_input(&document, consent_key.algorithm(), &consent_kid)?;
    let what = PreparedWhat::Rotation { request_key, consent_key, request_input, consent_input };
    prepared(device, Subject::Device, &device.consent_key, seq, &document, what, now)
}

pub(super) fn submit_rotation(device: &Device, signatures: [&[u8]; 3], now: &Now) -> Result<Decision, WalkpayError> {
    let waiting = device.prepared_rotation().filter(|p| p.kid == device.consent_key.key_id());
    let Some((waiting, PreparedWhat::Rotation { request_key, consent_key, request_input, consent_input })) =
        waiting.map(|p| (p, &p.what))
    else {
        return Err(WalkpayError::WrongOrder { called: "submit_rotation".into(), due: "rotate_keys".into() });
    };
    room(device)?;
    // What is signed with the present keys must have a lower number.
    let signed = |e: &&OutboxEntry| {
        !matches!(e.body.kind(), OutboxKind::Slip | OutboxKind::SlipClosure | OutboxKind::PaymentClosure)
    };
    if device.outbox.iter().chain(&device.unproven).filter(signed).any(|e| e.seq > waiting.seq) {
        return Err(WalkpayError::WrongOrder { called: "submit_rotation".into(), due: "rotate_keys".into() });
    }
    let [by_old, by_request, by_consent] = signatures;
    let request = KeyRotationRequest {
        rotation: finish(&device.consent_key, &waiting.input, by_old)?,
        request_proof: finish(request_key, request_input, by_request)?,
        consent_proof: finish(consent_key, consent_input, by_consent)?,
    };
    let fact = Fact::Signed { seq: waiting.seq, body: OutboxBody::Rotation { request } };
    Ok(Draft::one(device, now, fact, Reply::Submitted(waiting.seq)))
}

/// The finished JWS, by a signature in either form.
pub(super) fn finish(key: &PublicKey, input: &str, signature: &[u8]) -> Result<String, WalkpayError> {
    if !key.verifies(input.as_bytes(), signature) {
        let detail = format!("the signature is not one by key {} over what was to be signed", key.key_id());
        return Err(WalkpayError::Key { detail });
    }
    Ok(assemble(input, &key.canonical(signature)))
}

/// What a document is about.
#[derive(Clone, Copy)]
pub(super) enum Subject {
    Trip(TripId),
    Slip(SlipId),
    Device,
}

pub(super) fn prepared<D: Document>(
    device: &Device,
    subject: Subject,
    key: &PublicKey,
    seq: u64,
    document: &D,
    what: PreparedWhat,
    now: &Now,
) -> Result<Decision, WalkpayError> {
    let (kid, algorithm) = (key.key_id(), key.algorithm());
    let input = signing_input(document, algorithm, &kid)?;
    let role = if matches!(what, PreparedWhat::Cancellation) { KeyRole::Request } else { KeyRole::Consent };
    let (trip_id, slip_id) = match subject {
        Subject::Trip(id) => (Some(id), None),
        Subject::Slip(id) => (None, Some(id)),
        Subject::Device => (None, None),
    };
    let prepared = Prepared { seq, trip_id, slip_id, kid, algorithm, input, what };
    let reply = to_sign(&prepared, role);
    Ok(Draft::one(device, now, Fact::Prepared(prepared), reply))
}

pub(super) fn to_sign(prepared: &Prepared, role: KeyRole) -> Reply {
    let one = |role, kid: &KeyId, algorithm, input: &str| ToSign {
        role,
        kid: kid.clone(),
        algorithm,
        input: input.to_owned(),
    };
    let mut all = vec![one(role, &prepared.kid, prepared.algorithm, &prepared.input)];
    if let PreparedWhat::Rotation { request_key, consent_key, request_input, consent_input } = &prepared.what {
        all.push(one(KeyRole::NewRequest, &request_key.key_id(), request_key.algorithm(), request_input));
        all.push(one(KeyRole::NewConsent, &consent_key.key_id(), consent_key.algorithm(), consent_input));
    }
    Reply::ToSign(all)
}

pub(super) fn next_seq(device: &Device) -> u64 {
    device.last_seq.saturating_add(1)
}

fn check_amount(trip: &Trip, amount: Money) -> Result<(), WalkpayError> {
    if amount.currency != trip.currency {
        return Err(WalkpayError::MixedCurrencies {
            expected: trip.currency.code().to_owned(),
            got: amount.currency.code().to_owned(),
        });
    }
    if amount.minor <= 0 || amount.minor > crate::money::MAX_MINOR {
        return Err(WalkpayError::invalid("amount", "more than zero", &amount.to_string()));
    }
    Ok(())
}

/// Whether signing makes sense at all: the device is in use, there is room, and the network is there if it must be.
pub(super) fn may_sign(device: &Device, called: &str, policy: ForwardPolicy, online: bool) -> Result<(), WalkpayError> {
    not_rotating(device, called)?;
    may_send(device)?;
    if policy == ForwardPolicy::OnlineRequired && !online {
        let detail = "this trip must be online and the merchant was not reached lately".to_owned();
        return Err(WalkpayError::Network { detail });
    }
    Ok(())
}

/// Whether anything can go into the outbox: the device is in use, and there is room.
pub(super) fn may_send(device: &Device) -> Result<(), WalkpayError> {
    match device.status {
        DeviceStatus::Pending | DeviceStatus::Active => {}
        DeviceStatus::Frozen => return Err(stopped("device_frozen", "the device is frozen: enrol again")),
        DeviceStatus::Revoked => return Err(stopped("device_revoked", "the device is revoked: enrol again")),
    }
    room(device)
}

/// A document with a higher number than a rotation's must be signed with the new keys, and these may still be refused.
fn not_rotating(device: &Device, called: &str) -> Result<(), WalkpayError> {
    if device.rotation.is_some() {
        let due = "next_event (the result of the rotation of keys)".to_owned();
        return Err(WalkpayError::WrongOrder { called: called.to_owned(), due });
    }
    Ok(())
}

/// Refuses what was prepared after a rotation that has been signed meanwhile: it would have to be signed with the new keys.
pub(super) fn below_rotation(device: &Device, seq: u64, called: &str) -> Result<(), WalkpayError> {
    let rotation = device.outbox.iter().find(|e| e.body.kind() == OutboxKind::Rotation);
    if rotation.is_some_and(|r| seq > r.seq) { not_rotating(device, called) } else { Ok(()) }
}

pub(super) fn room(device: &Device) -> Result<(), WalkpayError> {
    if device.outbox.len() >= MAX_OUTBOX {
        return Err(WalkpayError::limit("documents in the outbox", MAX_OUTBOX as u64));
    }
    Ok(())
}

fn stopped(problem: &str, detail: &str) -> WalkpayError {
    WalkpayError::Refused { problem: problem.to_owned(), status: 403, detail: detail.to_owned() }
}
