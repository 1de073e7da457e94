//! Enrolment and rotation of device keys (design §5).

use super::documents::{self, Key};
use super::tell::{sign, tell};
use super::{Answer, Caller, Ctx};
use crate::failure::{Failure, OrDefect, defect, refuse};
use crate::store::devices::NewDevice;
use crate::store::users::UserState;
use crate::store::{Tx, devices, enrolment, stores, users};
use serde::Serialize;
use walkpay::DeviceId;
use walkpay::protocol::crypto::{PublicKey, base64url, digest, sha256};
use walkpay::protocol::document::{BankBinding, EnrolmentGrant, EnrolmentProof, EventBody, KeyRotation, KeyUse};
use walkpay::protocol::jws::{Document, Signed, peek, verify};
use walkpay::protocol::message::{EnrolmentAnswer, EnrolmentRequest, EnrolmentStart, KeyRotationRequest, Recorded};
use walkpay::protocol::problem::ProblemCode;

/// How many refused enrolments a code survives.
const MAX_TRIES: u32 = 5;
/// How many devices a user can have, those aside that were revoked.
const MAX_DEVICES: usize = 50;
/// The longest label of a device.
const MAX_LABEL: usize = 80;

/// Gives a nonce for one enrolment.
pub(super) fn begin(tx: &Tx<'_>, ctx: &Ctx) -> Result<Answer, Failure> {
    let nonce = base64url(&ctx.random.bytes::<18>());
    if !enrolment::add_nonce(tx, &nonce, ctx.now, ctx.now.plus(ctx.config.enrolment_nonce))? {
        return Err(refuse(ProblemCode::RateLimited, "too many enrolments are open"));
    }
    Ok(Answer::EnrolmentStart(EnrolmentStart {
        merchant_id: ctx.keys.merchant_id().clone(),
        nonce,
        root_key: ctx.keys.root().to_jwk(),
        key_set: ctx.keys.key_set().to_owned(),
    }))
}

/// Takes a device in. The checks in order: repeat; label; code; proofs; nonce; keys not in use; user active; number of
/// devices.
pub(super) fn enrol(
    tx: &Tx<'_>,
    ctx: &Ctx,
    device_id: &DeviceId,
    request: &EnrolmentRequest,
) -> Result<Answer, Failure> {
    let body_sha256 = body_digest(request)?;
    if let Some((first, grant)) = devices::enrolment(tx, device_id)? {
        // An erased user's answer is not kept: it has their name.
        if first == body_sha256 && !grant.is_empty() {
            return Ok(Answer::Enrolment(EnrolmentAnswer { grant }));
        }
        return Err(refuse(ProblemCode::IdConflict, "another enrolment was recorded for this device"));
    }
    let label = &request.device_label;
    if label.chars().count() > MAX_LABEL || label.chars().any(char::is_control) {
        return Err(refuse(ProblemCode::InvalidValue, "device_label: expected at most 80 printable characters"));
    }
    let code_sha256 = digest(request.code.as_bytes());
    let code = enrolment::code(tx, &code_sha256)?
        .filter(|c| c.used_by.is_none() && ctx.now < c.expires_at && c.tries < MAX_TRIES)
        .ok_or_else(|| refuse(ProblemCode::CodeInvalid, "ask the merchant for a new code"))?;
    let proof = match proofs(ctx, device_id, request, &code_sha256) {
        Ok(proof) => proof,
        Err(e) => {
            enrolment::count_try(tx, &code_sha256)?;
            return Err(e);
        }
    };
    if !enrolment::use_nonce(tx, &proof.nonce, ctx.now)? {
        return Err(refuse(ProblemCode::NonceInvalid, "begin the enrolment again"));
    }
    let kids = [proof.request_key.key_id(), proof.consent_key.key_id()];
    if kids[0] == kids[1] || devices::key_taken(tx, [&kids[0], &kids[1]])? {
        return Err(refuse(ProblemCode::IdConflict, "the keys must be new and differ from each other"));
    }
    let user = users::get(tx, code.user)?;
    if user.state != UserState::Active {
        return Err(refuse(ProblemCode::UserNotActive, "the user is blocked or erased"));
    }
    let in_use = |d: &devices::Device| d.state != devices::DeviceState::Revoked;
    if devices::of_user(tx, user.user)?.iter().filter(|d| in_use(d)).count() >= MAX_DEVICES {
        return Err(refuse(ProblemCode::RateLimited, format!("a user can have {MAX_DEVICES} devices")));
    }
    let grant = EnrolmentGrant {
        merchant_id: ctx.keys.merchant_id().clone(),
        merchant_name: stores::merchant_name(tx)?,
        device_id: *device_id,
        sub: user.sub.clone(),
        user_name: users::name(tx, user.user)?.or_defect("user name")?,
        nonce: proof.nonce.clone(),
        stores: stores::all(tx)?.into_iter().map(|s| s.info).collect(),
        active: code.self_confirming,
        bank: users::bank(tx, user.user)?.map(|b| BankBinding { label: b.label, confirm_url: b.confirm_url }),
        issued_at: ctx.now,
    };
    let grant = sign(ctx, KeyUse::Results, &grant)?;
    let device = devices::add(
        tx,
        &NewDevice {
            device_id: *device_id,
            user: user.user,
            active: code.self_confirming,
            request_key: &proof.request_key,
            consent_key: &proof.consent_key,
            at: ctx.now,
            body_sha256,
            granted: &grant,
            label,
        },
    )?;
    enrolment::use_code(tx, &code_sha256, device)?;
    stores::audit(tx, ctx.now, user.sub.as_str(), "enrol_device", &device_id.to_string())?;
    Ok(Answer::Enrolment(EnrolmentAnswer { grant }))
}

fn proofs(
    ctx: &Ctx,
    device_id: &DeviceId,
    request: &EnrolmentRequest,
    code_sha256: &str,
) -> Result<EnrolmentProof, Failure> {
    let first = by_own_key::<EnrolmentProof>(&request.request_proof, |p| &p.request_key)?;
    let second = by_own_key::<EnrolmentProof>(&request.consent_proof, |p| &p.consent_key)?;
    let proof = first.document;
    let right = proof == second.document
        && proof.merchant_id == *ctx.keys.merchant_id()
        && proof.device_id == *device_id
        && proof.code_sha256 == code_sha256;
    match right {
        true => Ok(proof),
        false => Err(refuse(ProblemCode::DocumentMismatch, "the proofs are not of this merchant, device and code")),
    }
}

/// A document that carries the key that signed it.
fn by_own_key<D: Document>(jws: &str, key: impl Fn(&D) -> &PublicKey) -> Result<Signed<D>, Failure> {
    let invalid = |e: walkpay::WalkpayError| refuse(ProblemCode::DocumentInvalid, e.to_string());
    let (_, claimed) = peek::<D>(jws).map_err(invalid)?;
    let key = key(&claimed);
    verify::<D>(jws, |kid| (*kid == key.key_id()).then_some(key)).map_err(invalid)
}

/// Puts new keys in force. The checks in order: device; document by the consent key in force and both proofs; binding;
/// number; repeat; device active; keys new.
pub(super) fn rotate(
    tx: &Tx<'_>,
    ctx: &Ctx,
    caller: &Caller,
    device_id: &DeviceId,
    request: &KeyRotationRequest,
) -> Result<Answer, Failure> {
    let (device, _) = documents::caller(tx, caller)?;
    if device.device_id != *device_id {
        return Err(refuse(ProblemCode::DocumentMismatch, "the path is of another device"));
    }
    let body_sha256 = body_digest(request)?;
    if let Some((recorded_at, last_seq)) = devices::rotation(tx, device.device, &body_sha256)? {
        return Ok(Answer::Recorded { body: Recorded { recorded_at, last_seq }, repeat: true });
    }
    let rotation = documents::received::<KeyRotation>(tx, ctx, &device, Key::Consent, &request.rotation)?;
    let document = &rotation.document;
    let by_request = by_own_key::<KeyRotation>(&request.request_proof, |r| &r.request_key)?;
    let by_consent = by_own_key::<KeyRotation>(&request.consent_proof, |r| &r.consent_key)?;
    if by_request.document != *document || by_consent.document != *document {
        return Err(refuse(ProblemCode::DocumentMismatch, "the proofs are of another rotation"));
    }
    documents::note(tx, ctx, &device, document.device_seq, rotation.jws())?;
    documents::active(&device)?;
    if rotation.kid != device.consent_kid {
        return Err(refuse(ProblemCode::DocumentInvalid, "the rotation must be signed with the consent key in force"));
    }
    let kids = [document.request_key.key_id(), document.consent_key.key_id()];
    if kids[0] == kids[1] || devices::key_taken(tx, [&kids[0], &kids[1]])? {
        return Err(refuse(ProblemCode::IdConflict, "the keys must be new and differ from each other"));
    }
    devices::rotate(tx, device.device, &document.request_key, &document.consent_key, document.device_seq)?;
    devices::add_rotation(tx, device.device, &body_sha256, ctx.now, device.last_seq)?;
    stores::audit(tx, ctx.now, device.sub.as_str(), "rotate_keys", &device_id.to_string())?;
    let [request_kid, consent_kid] = kids;
    tell(tx, ctx, &device, &EventBody::KeysRotated { request_kid, consent_kid })?;
    let body = Recorded { recorded_at: ctx.now, last_seq: device.last_seq };
    Ok(Answer::Recorded { body, repeat: false })
}

fn body_digest(body: &impl Serialize) -> Result<[u8; 32], Failure> {
    Ok(sha256(&serde_json::to_vec(body).map_err(|e| defect("body", e))?))
}
