//! Enrolment in steps, so that a crash in any of them loses neither code nor device.
//!
//! `Asking` (nonce, root and key set are asked for; nothing secret has left) → `Offered` (root and key set are verified; keys can be
//! made) → `Proving` (proofs wait for their signatures) → `Sending` (code and proofs are on their way) → a device.

use super::clock::Clock;
use super::input::{Decision, HttpAnswer, HttpOutcome, KeyRole, Now, Reply, ToSign};
use super::journal::{Fact, code_text};
use super::outbox::Retry;
use super::signing::finish;
use super::state::Session;
use crate::error::WalkpayError;
use crate::id::*;
use crate::protocol::crypto::{PublicKey, digest};
use crate::protocol::document::{EnrolmentGrant, EnrolmentProof, KeySet, KeyUse};
use crate::protocol::enrolment_code::EnrolmentCode;
use crate::protocol::jws::{json_problem, signing_input};
use crate::protocol::key_set::{read_key_set, read_root, verify_by};
use crate::protocol::message::{EnrolmentAnswer, EnrolmentRequest, EnrolmentStart};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The most devices of an installation.
pub const MAX_DEVICES: usize = 100;
const MAX_LABEL_CHARS: usize = 80;
const MAX_STORES: usize = 1_000;

/// An enrolment that is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Enrolment {
    #[serde(with = "code_text")]
    pub(super) code: EnrolmentCode,
    pub(super) label: String,
    /// How far it is.
    pub stage: EnrolmentStage,
    /// How sending goes.
    pub retry: Retry,
}

/// How far an enrolment is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum EnrolmentStage {
    /// The merchant is asked who it is.
    Asking,
    /// It is the merchant of the code: make keys and call [`super::Command::PrepareEnrolment`].
    Offered(Offer),
    /// Sign and call [`super::Command::SubmitEnrolment`].
    Proving {
        /// What the merchant said.
        offer: Offer,
        /// Made here.
        device_id: DeviceId,
        /// Signs HTTP requests.
        request_key: PublicKey,
        /// Signs documents.
        consent_key: PublicKey,
        /// For the request key to sign.
        request_input: String,
        /// For the consent key to sign.
        consent_input: String,
    },
    /// Code and proofs are sent until they are answered.
    Sending {
        /// What the merchant said.
        offer: Offer,
        /// Made here.
        device_id: DeviceId,
        /// Signs HTTP requests.
        request_key: PublicKey,
        /// Signs documents.
        consent_key: PublicKey,
        /// What goes to the merchant.
        body: EnrolmentRequest,
    },
}

/// Who the merchant is, verified against the code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// For the proofs.
    pub nonce: String,
    /// The root key.
    pub root_key: PublicKey,
    /// The key set.
    pub key_set: KeySet,
}

/// A device that came of an enrolment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Where the merchant is.
    pub url: String,
    /// Signs key sets.
    pub root_key: PublicKey,
    /// The merchant's keys.
    pub key_set: KeySet,
    /// Signs HTTP requests.
    pub request_key: PublicKey,
    /// Signs documents.
    pub consent_key: PublicKey,
    /// The merchant's word.
    pub grant: EnrolmentGrant,
    /// From the grant.
    pub clock: Clock,
}

impl Enrolment {
    /// The device that it will be, as soon as that has an id: keys are kept under it.
    pub fn device_id(&self) -> Option<DeviceId> {
        match &self.stage {
            EnrolmentStage::Proving { device_id, .. } | EnrolmentStage::Sending { device_id, .. } => Some(*device_id),
            _ => None,
        }
    }
}

pub(super) fn begin(session: &Session, text: &str, label: &str, now: &Now) -> Result<Decision, WalkpayError> {
    let code = EnrolmentCode::parse(text)?;
    let chars = label.chars().count();
    if !(1..=MAX_LABEL_CHARS).contains(&chars) || label.chars().any(char::is_control) {
        return Err(WalkpayError::invalid_private("label", "1 to 80 characters", label));
    }
    if session.devices.len() >= MAX_DEVICES {
        return Err(WalkpayError::limit("devices of an installation", MAX_DEVICES as u64));
    }
    // Catalogues and user names are those of one merchant.
    if let Some(other) =
        session.devices().find(|d| d.merchant_id != code.merchant_id || d.root_key.key_id() != code.root_kid)
    {
        let expected = format!(
            "a code of {} with the root {}, whose devices are in this folder; a folder has one merchant: open another one",
            other.merchant_id,
            other.root_key.key_id()
        );
        return Err(WalkpayError::invalid("code", &expected, &format!("{} {}", code.merchant_id, code.root_kid)));
    }
    match &session.enrolment {
        Some(under_way) if under_way.code == code => Ok(Decision::nothing(Reply::Done)),
        Some(_) => {
            let due = "the result of the enrolment under way, or abandon_enrolment".to_owned();
            Err(WalkpayError::WrongOrder { called: "enrol".into(), due })
        }
        None => {
            let fact = Fact::EnrolmentBegun { code, label: label.to_owned() };
            Ok(Decision::of_installation(fact, now, Reply::Done))
        }
    }
}

pub(super) fn prepare(
    session: &Session,
    request_key: PublicKey,
    consent_key: PublicKey,
    now: &Now,
) -> Result<Decision, WalkpayError> {
    let enrolment = under_way(session, "prepare_enrolment")?;
    let EnrolmentStage::Offered(offer) = &enrolment.stage else {
        return Err(WalkpayError::WrongOrder { called: "prepare_enrolment".into(), due: due_of(enrolment).into() });
    };
    let (request_kid, consent_kid) = (request_key.key_id(), consent_key.key_id());
    if request_kid == consent_kid {
        return Err(WalkpayError::invalid("keys", "two different keys", request_kid.as_str()));
    }
    let mut random = [0; 10];
    random.copy_from_slice(&now.random[..10]);
    let device_id = DeviceId::new(now.wall, random);
    let proof = EnrolmentProof {
        merchant_id: enrolment.code.merchant_id.clone(),
        code_sha256: digest(enrolment.code.code.as_bytes()),
        nonce: offer.nonce.clone(),
        device_id,
        request_key: request_key.clone(),
        consent_key: consent_key.clone(),
    };
    let request_input = signing_input(&proof, request_key.algorithm(), &request_kid)?;
    let consent_input = signing_input(&proof, consent_key.algorithm(), &consent_kid)?;
    let reply = Reply::ToSign(vec![
        ToSign {
            role: KeyRole::NewRequest,
            kid: request_kid,
            algorithm: request_key.algorithm(),
            input: request_input.clone(),
        },
        ToSign {
            role: KeyRole::NewConsent,
            kid: consent_kid,
            algorithm: consent_key.algorithm(),
            input: consent_input.clone(),
        },
    ]);
    let offer = offer.clone();
    let stage = EnrolmentStage::Proving { offer, device_id, request_key, consent_key, request_input, consent_input };
    Ok(advance(stage, now, reply))
}

pub(super) fn submit(
    session: &Session,
    request_signature: &[u8],
    consent_signature: &[u8],
    now: &Now,
) -> Result<Decision, WalkpayError> {
    let enrolment = under_way(session, "submit_enrolment")?;
    let EnrolmentStage::Proving { offer, device_id, request_key, consent_key, request_input, consent_input } =
        &enrolment.stage
    else {
        return Err(WalkpayError::WrongOrder { called: "submit_enrolment".into(), due: due_of(enrolment).into() });
    };
    let body = EnrolmentRequest {
        code: enrolment.code.code.clone(),
        device_label: enrolment.label.clone(),
        request_proof: finish(request_key, request_input, request_signature)?,
        consent_proof: finish(consent_key, consent_input, consent_signature)?,
    };
    let stage = EnrolmentStage::Sending {
        offer: offer.clone(),
        device_id: *device_id,
        request_key: request_key.clone(),
        consent_key: consent_key.clone(),
        body,
    };
    Ok(advance(stage, now, Reply::Done))
}

/// Forgets an enrolment. If the merchant took it in nonetheless, that device stays unconfirmed and without keys.
pub(super) fn abandon(session: &Session, now: &Now) -> Result<Decision, WalkpayError> {
    if session.enrolment.is_none() {
        return Ok(Decision::nothing(Reply::Done));
    }
    Ok(Decision::of_installation(Fact::EnrolmentEnded { reason: "abandoned".into() }, now, Reply::Done))
}

/// The answer to the first request: this is the merchant of the code, or the enrolment is over before the code has left.
pub(super) fn on_start(enrolment: &Enrolment, answer: &HttpAnswer, now: &Now) -> Decision {
    if !matches!(enrolment.stage, EnrolmentStage::Asking) {
        return Decision::nothing(Reply::Done);
    }
    match body(answer) {
        Came::Body(body) => match read_offer(enrolment, body) {
            Ok(offer) => advance(EnrolmentStage::Offered(offer), now, Reply::Done),
            Err(error) => end(error, now),
        },
        Came::Refused(error) => end(error, now),
        Came::Nothing { reason, retry_after } => try_again(enrolment, &reason, retry_after, now),
    }
}

/// The answer to code and proofs.
pub(super) fn on_grant(enrolment: &Enrolment, answer: &HttpAnswer, now: &Now) -> Decision {
    let EnrolmentStage::Sending { offer, device_id, request_key, consent_key, .. } = &enrolment.stage else {
        return Decision::nothing(Reply::Done);
    };
    match body(answer) {
        Came::Body(body) => match read_grant(enrolment, offer, *device_id, body) {
            Ok(grant) => {
                let clock = Clock::read(grant.issued_at, true, now);
                let enrolled = Enrolled {
                    url: enrolment.code.url.clone(),
                    root_key: offer.root_key.clone(),
                    key_set: offer.key_set.clone(),
                    request_key: request_key.clone(),
                    consent_key: consent_key.clone(),
                    grant,
                    clock,
                };
                Decision::of_installation(Fact::Enrolled(Box::new(enrolled)), now, Reply::Device(*device_id))
            }
            Err(error) => end(error, now),
        },
        Came::Refused(error) => end(error, now),
        Came::Nothing { reason, retry_after } => try_again(enrolment, &reason, retry_after, now),
    }
}

fn read_offer(enrolment: &Enrolment, body: &[u8]) -> Result<Offer, WalkpayError> {
    let untrusted = |check, detail| WalkpayError::untrusted("enrolment start", check, detail);
    let start: EnrolmentStart = serde_json::from_slice(body)
        .map_err(|e| WalkpayError::untrusted("enrolment start", "form", json_problem(&e)))?;
    let root_key = read_root(&start.root_key, &enrolment.code.root_kid)?;
    let merchant_id = &enrolment.code.merchant_id;
    if start.merchant_id != *merchant_id {
        return Err(untrusted("merchant", "the merchant of the enrolment code"));
    }
    if start.nonce.is_empty() || start.nonce.len() > 128 {
        return Err(untrusted("nonce", "1 to 128 characters"));
    }
    let key_set = read_key_set(&start.key_set, &root_key, merchant_id, None)?.document;
    Ok(Offer { nonce: start.nonce, root_key, key_set })
}

fn read_grant(
    enrolment: &Enrolment,
    offer: &Offer,
    device_id: DeviceId,
    body: &[u8],
) -> Result<EnrolmentGrant, WalkpayError> {
    let answer: EnrolmentAnswer = serde_json::from_slice(body)
        .map_err(|e| WalkpayError::untrusted("enrolment answer", "form", json_problem(&e)))?;
    let issued_at = |g: &EnrolmentGrant| g.issued_at;
    let grant = verify_by(&answer.grant, &offer.key_set, KeyUse::Results, issued_at)?.document;
    let bound =
        grant.merchant_id == enrolment.code.merchant_id && grant.device_id == device_id && grant.nonce == offer.nonce;
    if !bound {
        return Err(WalkpayError::untrusted("enrolment grant", "binding", "this merchant, device and nonce"));
    }
    if grant.stores.is_empty() || grant.stores.len() > MAX_STORES {
        return Err(WalkpayError::untrusted("enrolment grant", "stores", "1 to 1,000 stores"));
    }
    Ok(grant)
}

enum Came<'a> {
    Body(&'a [u8]),
    Refused(WalkpayError),
    Nothing { reason: String, retry_after: Option<u64> },
}

fn body(answer: &HttpAnswer) -> Came<'_> {
    match &answer.outcome {
        HttpOutcome::Failed { detail } => Came::Nothing { reason: detail.clone(), retry_after: None },
        HttpOutcome::Answer { status: 200..=299, body, .. } => Came::Body(body),
        HttpOutcome::Answer { status, retry_after_seconds, body, .. } => {
            match super::answer::problem(*status, body).filter(super::answer::is_definite) {
                Some(refusal) => Came::Refused(WalkpayError::Refused {
                    problem: refusal.problem,
                    status: refusal.status,
                    detail: refusal.detail,
                }),
                None => Came::Nothing { reason: format!("HTTP {status}"), retry_after: *retry_after_seconds },
            }
        }
    }
}

fn advance(stage: EnrolmentStage, now: &Now, reply: Reply) -> Decision {
    Decision::of_installation(Fact::EnrolmentAdvanced { stage: Box::new(stage) }, now, reply)
}

fn end(error: WalkpayError, now: &Now) -> Decision {
    Decision::of_installation(Fact::EnrolmentEnded { reason: error.code() }, now, Reply::EnrolmentFailed(error))
}

fn try_again(enrolment: &Enrolment, reason: &str, retry_after: Option<u64>, now: &Now) -> Decision {
    let retry = enrolment.retry.failed(reason, retry_after, now);
    Decision::of_installation(Fact::EnrolmentTryFailed { retry }, now, Reply::Done)
}

fn under_way<'a>(session: &'a Session, called: &str) -> Result<&'a Enrolment, WalkpayError> {
    let wrong = || WalkpayError::WrongOrder { called: called.to_owned(), due: "enrol".into() };
    session.enrolment.as_ref().ok_or_else(wrong)
}

fn due_of(enrolment: &Enrolment) -> &'static str {
    match enrolment.stage {
        EnrolmentStage::Asking => "the merchant's answer",
        EnrolmentStage::Offered(_) => "prepare_enrolment",
        EnrolmentStage::Proving { .. } => "submit_enrolment",
        EnrolmentStage::Sending { .. } => "the merchant's answer to code and proofs",
    }
}

/// When a waiting request of the enrolment is due.
pub(super) fn waits_until(enrolment: &Enrolment) -> Option<Timestamp> {
    match enrolment.stage {
        EnrolmentStage::Asking | EnrolmentStage::Sending { .. } => Some(enrolment.retry.not_before),
        _ => None,
    }
}
