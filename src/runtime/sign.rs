//! Documents that need a signature: prepared by the session, signed where waiting is fine, handed in.

use super::worker::{Worker, unexpected};
use super::{Handle, blocking};
use crate::adapter::keys::{CONSENT, DeviceSigner, KnownSigner, NewKey, REQUEST, SigningPurpose, wrapping_key};
use crate::error::WalkpayError;
use crate::id::UserName;
use crate::session::{Command, Input, OutboxKind, Reply, ToSign, decide};
use std::sync::Arc;

/// What the host's prompt may say for a kind of document.
fn purpose(kind: OutboxKind) -> SigningPurpose {
    match kind {
        OutboxKind::Hold => SigningPurpose::Hold,
        OutboxKind::Attempt => SigningPurpose::Basket,
        OutboxKind::Cancellation => SigningPurpose::Cancellation,
        OutboxKind::Rotation => SigningPurpose::KeyRotation,
        OutboxKind::Slip | OutboxKind::SlipPayment | OutboxKind::SlipClosure | OutboxKind::PaymentClosure => {
            SigningPurpose::SlipPayment
        }
    }
}

/// Signs where waiting is fine.
///
/// # Errors
/// Those of the signer.
pub(crate) async fn sign(known: KnownSigner, purpose: SigningPurpose, input: String) -> Result<Vec<u8>, WalkpayError> {
    blocking(move || known.signer.sign(purpose, input.into_bytes())).await
}

/// Prepares a document, signs it with the device's own key and hands it in. Nothing is signed, and nothing answered, when
/// `prepare` finds that nothing needs to be.
///
/// # Errors
/// Those of the two commands and of the signer.
pub(crate) async fn two_steps(
    handle: &Handle,
    kind: OutboxKind,
    prepare: impl FnOnce(&mut Worker) -> Result<Reply, WalkpayError> + Send + 'static,
    submit: impl FnOnce(&mut Worker, &[u8]) -> Result<Reply, WalkpayError> + Send + 'static,
) -> Result<Option<Reply>, WalkpayError> {
    let asked = handle
        .call(move |w| match prepare(w)? {
            Reply::Done => Ok(None),
            Reply::ToSign(mut all) => {
                let one = all.pop().ok_or_else(|| WalkpayError::Internal { detail: "nothing to sign".into() })?;
                Ok(Some((w.signer(&one.kid)?, one)))
            }
            other => Err(unexpected(&other)),
        })
        .await?;
    let Some((signer, one)) = asked else { return Ok(None) };
    let signature = sign(signer, purpose(kind), one.input).await?;
    handle.call(move |w| submit(w, &signature).map(Some)).await
}

/// Hands in the signers that keep a user's keys outside of this library, after a start.
///
/// # Errors
/// [`WalkpayError::Unknown`] for a user who is not enrolled, [`WalkpayError::Key`] for keys that are not that user's.
pub(crate) async fn attach(
    handle: &Handle,
    user_name: UserName,
    signers: Vec<Arc<dyn DeviceSigner>>,
) -> Result<(), WalkpayError> {
    let known = blocking(move || signers.into_iter().map(KnownSigner::new).collect::<Result<Vec<_>, _>>()).await?;
    handle
        .call(move |w| {
            let mut found = Vec::new();
            let mut enrolled = false;
            for device in w.session.devices().filter(|d| d.user_name == user_name) {
                enrolled = true;
                let rotation = device.rotation.iter().flat_map(|r| [&r.request_key, &r.consent_key]);
                let keys = [&device.request_key, &device.consent_key].into_iter().chain(rotation);
                let keys: Vec<_> = keys.chain(device.former_request_keys()).collect();
                found.extend(known.iter().filter(|k| keys.contains(&&k.public)).map(|k| (device.id, k.clone())));
            }
            if !enrolled {
                return Err(WalkpayError::Unknown { what: "enrolled user".into(), id: "of that name".into() });
            }
            if known.iter().any(|k| !found.iter().any(|(_, f)| f.public == k.public)) {
                return Err(WalkpayError::Key { detail: "a signer does not have a key of this user's devices".into() });
            }
            found.into_iter().for_each(|(device, signer)| w.put_signer(device, signer));
            Ok(())
        })
        .await
}

/// New keys for the user who is signed in: made here, or the host's.
///
/// # Errors
/// Those of the commands and of the signers.
pub(crate) async fn rotate(
    handle: &Handle,
    request: Option<Arc<dyn DeviceSigner>>,
    consent: Option<Arc<dyn DeviceSigner>>,
) -> Result<(), WalkpayError> {
    let folder_id = handle.call(|w| Ok(w.journal.folder_id().to_owned())).await?;
    let vault = handle.vault();
    let alone = handle.making_keys().await;
    let (wrapping, request, consent) =
        blocking(move || Ok((wrapping_key(vault.as_ref(), &folder_id)?, NewKey::new(request)?, NewKey::new(consent)?)))
            .await?;
    drop(alone);
    let to_sign = handle
        .call(move |w| {
            let device = w.session.current()?.id;
            let command = Command::PrepareRotation {
                request_key: request.known.public.clone(),
                consent_key: consent.known.public.clone(),
            };
            let decision = decide(&w.session, Input::Command(command), &w.now()?)?;
            let mut stored = Vec::new();
            stored.extend(request.seal(&wrapping, device, REQUEST)?);
            stored.extend(consent.seal(&wrapping, device, CONSENT)?);
            let reply = w.commit(decision, &stored)?;
            w.put_signer(device, request.known);
            w.put_signer(device, consent.known);
            let Reply::ToSign(all) = reply else { return Err(unexpected(&reply)) };
            all.into_iter().map(|one| Ok((w.signer(&one.kid)?, one))).collect::<Result<Vec<_>, WalkpayError>>()
        })
        .await?;
    let signatures = sign_all(to_sign, SigningPurpose::KeyRotation).await?;
    let [by_old, by_request, by_consent] = <[Vec<u8>; 3]>::try_from(signatures)
        .map_err(|all| WalkpayError::Internal { detail: format!("{} signatures of a rotation", all.len()) })?;
    handle
        .call(move |w| {
            let signatures = [by_old.as_slice(), by_request.as_slice(), by_consent.as_slice()];
            w.command(Command::SubmitRotation { signatures }).map(drop)
        })
        .await
}

pub(super) async fn sign_all(
    all: Vec<(KnownSigner, ToSign)>,
    purpose: SigningPurpose,
) -> Result<Vec<Vec<u8>>, WalkpayError> {
    let mut signatures = Vec::with_capacity(all.len());
    for (signer, one) in all {
        signatures.push(sign(signer, purpose, one.input).await?);
    }
    Ok(signatures)
}
