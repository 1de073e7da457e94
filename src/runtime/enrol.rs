//! Enrolment: the steps that need keys or wait for the merchant. Where it was interrupted the same code goes on.

use super::sign::sign_all;
use super::worker::{Worker, unexpected};
use super::{Handle, blocking};
use crate::adapter::keys::{
    CONSENT, DeviceSigner, KnownSigner, NewKey, REQUEST, SigningPurpose, WrappingKey, wrapping_key,
};
use crate::error::WalkpayError;
use crate::id::DeviceId;
use crate::session::{Command, Enrolment, EnrolmentStage, Fact, Input, JournalEvent, KeyRole, Reply, ToSign, decide};
use std::sync::Arc;
use std::time::Duration;

/// How long a caller waits for the merchant.
const PATIENCE: Duration = Duration::from_secs(60);

enum Step {
    MakeKeys,
    Sign(Vec<(KnownSigner, ToSign)>),
    Ended(Result<DeviceId, WalkpayError>),
}

/// Enrols with the text of a code; with the host's signers where it has any, else with software keys. Calls with the same code share
/// one enrolment: one of them makes the keys, and all are told how it ends.
///
/// # Errors
/// [`WalkpayError::Refused`], [`WalkpayError::Untrusted`] (this is not the merchant of the code: the code has not left),
/// [`WalkpayError::Network`] when the merchant does not answer for a minute: call again with the same code.
pub(crate) async fn enrol(
    handle: &Handle,
    text: String,
    label: String,
    signers: [Option<Arc<dyn DeviceSigner>>; 2],
) -> Result<DeviceId, WalkpayError> {
    let given = signers.clone();
    let given =
        blocking(move || given.into_iter().flatten().map(KnownSigner::new).collect::<Result<Vec<_>, _>>()).await?;
    let turn = handle
        .call(move |w| {
            let new = w.session.enrolment().is_none();
            w.command(Command::BeginEnrolment { text: &text, label: &label })?;
            w.enrolments += u64::from(new);
            if let Some(device) = w.session.enrolment().and_then(Enrolment::device_id) {
                given.into_iter().for_each(|signer| w.put_signer(device, signer));
            }
            Ok(w.enrolments)
        })
        .await?;
    let mut signers = Some(signers);
    loop {
        if handle.wait(PATIENCE, move |w| next_step(w, turn)).await?.is_none() {
            return Err(handle.call(|w| Ok(no_answer(w))).await?);
        }
        // Another call may have done meanwhile what was to be done.
        let _alone = handle.making_keys().await;
        match handle.call(move |w| next_step(w, turn)).await? {
            None => {}
            Some(Step::Ended(result)) => return result,
            Some(Step::MakeKeys) => {
                let [request, consent] = signers.take().unwrap_or_default();
                make_keys(handle, request, consent).await?;
            }
            Some(Step::Sign(all)) => {
                let signatures = sign_all(all, SigningPurpose::Enrolment).await?;
                let [request, consent] = <[Vec<u8>; 2]>::try_from(signatures)
                    .map_err(|all| WalkpayError::Internal { detail: format!("{} proofs", all.len()) })?;
                let submit = move |w: &mut Worker| {
                    let (request_signature, consent_signature) = (request.as_slice(), consent.as_slice());
                    w.command(Command::SubmitEnrolment { request_signature, consent_signature }).map(drop)
                };
                handle.call(submit).await?;
            }
        }
    }
}

/// What is to be done for the enrolment that is the installation's `turn`-th since the start.
fn next_step(worker: &mut Worker, turn: u64) -> Result<Option<Step>, WalkpayError> {
    if let Some((_, result)) = worker.enrolled.as_ref().filter(|(ended, _)| *ended == turn) {
        return Ok(Some(Step::Ended(result.clone())));
    }
    let Some(enrolment) = worker.session.enrolment().filter(|_| worker.enrolments == turn) else {
        return Err(WalkpayError::WrongOrder { called: "enrol".into(), due: "enrol (it was abandoned)".into() });
    };
    match &enrolment.stage {
        EnrolmentStage::Asking | EnrolmentStage::Sending { .. } => Ok(None),
        EnrolmentStage::Offered(_) => Ok(Some(Step::MakeKeys)),
        EnrolmentStage::Proving { device_id, request_key, consent_key, request_input, consent_input, .. } => {
            let inputs = [(request_key, request_input), (consent_key, consent_input)];
            let all = inputs.into_iter().map(|(key, input)| {
                let role = KeyRole::NewRequest;
                let to_sign = ToSign { role, kid: key.key_id(), algorithm: key.algorithm(), input: input.clone() };
                Ok((worker.keys.get(device_id, &to_sign.kid)?, to_sign))
            });
            all.collect::<Result<Vec<_>, WalkpayError>>().map(|all| Some(Step::Sign(all)))
        }
    }
}

async fn make_keys(
    handle: &Handle,
    request: Option<Arc<dyn DeviceSigner>>,
    consent: Option<Arc<dyn DeviceSigner>>,
) -> Result<(), WalkpayError> {
    let folder_id = handle.call(|w| Ok(w.journal.folder_id().to_owned())).await?;
    let vault = handle.vault();
    let (wrapping, request, consent) =
        blocking(move || Ok((wrapping_key(vault.as_ref(), &folder_id)?, NewKey::new(request)?, NewKey::new(consent)?)))
            .await?;
    handle.call(move |w| keep_keys(w, &wrapping, request, consent)).await
}

/// The keys are sealed and kept in the transaction that names them: neither is ever there without the other.
fn keep_keys(
    worker: &mut Worker,
    wrapping: &WrappingKey,
    request: NewKey,
    consent: NewKey,
) -> Result<(), WalkpayError> {
    let command = Command::PrepareEnrolment {
        request_key: request.known.public.clone(),
        consent_key: consent.known.public.clone(),
    };
    let decision = decide(&worker.session, Input::Command(command), &worker.now()?)?;
    let device = decision
        .events
        .iter()
        .find_map(device_of)
        .ok_or_else(|| WalkpayError::Internal { detail: "an enrolment that names no device".into() })?;
    let mut stored = Vec::new();
    stored.extend(request.seal(wrapping, device, REQUEST)?);
    stored.extend(consent.seal(wrapping, device, CONSENT)?);
    match worker.commit(decision, &stored)? {
        Reply::ToSign(_) => {}
        other => return Err(unexpected(&other)),
    }
    worker.put_signer(device, request.known);
    worker.put_signer(device, consent.known);
    Ok(())
}

fn device_of(event: &JournalEvent) -> Option<DeviceId> {
    match &event.fact {
        Fact::EnrolmentAdvanced { stage } => match stage.as_ref() {
            EnrolmentStage::Proving { device_id, .. } => Some(*device_id),
            _ => None,
        },
        _ => None,
    }
}

fn no_answer(worker: &Worker) -> WalkpayError {
    let reason = worker.session.enrolment().and_then(|e| e.retry.last_reason.clone());
    let reason = reason.unwrap_or_else(|| "no answer yet".into());
    WalkpayError::Network { detail: format!("enrolment: {reason}; call again with the same code") }
}
