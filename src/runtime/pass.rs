//! Showing an exit pass: a presentation for this half minute, signed by the key that the pass is bound to.

use super::sign::sign;
use super::{Handle, Worker};
use crate::adapter::keys::{KnownSigner, SigningPurpose};
use crate::error::WalkpayError;
use crate::id::TripId;
use crate::protocol::document::ExitPass;
use crate::protocol::exit_pass::{STEP, presentation_input, presentation_text};
use crate::protocol::jws::peek;
use crate::time::Timestamp;
use std::time::Duration;

/// What a gate's scanner is shown.
pub(crate) struct PassToShow {
    pub(crate) text: String,
    pub(crate) pass: ExitPass,
    /// How long until a new one must be shown.
    pub(crate) fresh_for: Duration,
}

/// The presentation of a trip's pass for the present half minute.
///
/// # Errors
/// [`WalkpayError::WrongOrder`] before acceptance, [`WalkpayError::Key`].
pub(crate) async fn show_pass(handle: &Handle, trip_id: TripId) -> Result<PassToShow, WalkpayError> {
    let (jws, pass, signer, at) = handle.call(move |w| prepare(w, trip_id)).await?;
    let kid = signer.public.key_id();
    let algorithm = signer.public.algorithm();
    let input = presentation_input(&pass, algorithm, &kid, at)?;
    let key = signer.public.clone();
    let signature = key.canonical(&sign(signer, SigningPurpose::ExitPass, input.clone()).await?);
    let step_ms = u64::try_from(STEP.as_millis()).unwrap_or(u64::MAX).max(1);
    let into = at.as_millis().unsigned_abs() % step_ms;
    let text = presentation_text(&jws, &input, &signature);
    Ok(PassToShow { text, pass, fresh_for: Duration::from_millis(step_ms - into) })
}

fn prepare(worker: &mut Worker, trip_id: TripId) -> Result<(String, ExitPass, KnownSigner, Timestamp), WalkpayError> {
    let now = worker.now()?;
    let device = worker.session.current()?;
    let trip = device.trip(trip_id)?;
    let jws = trip.exit_pass().ok_or_else(|| WalkpayError::WrongOrder {
        called: "exit_pass".into(),
        due: if trip.is_closed() { "start_trip".into() } else { "the acceptance of an attempt".into() },
    })?;
    // Verified when it came.
    let (_, pass) = peek::<ExitPass>(jws)?;
    let kid = pass.cnf.jwk.to_key()?.key_id();
    Ok((jws.to_owned(), pass, worker.keys.get(&device.id, &kid)?, device.merchant_time(&now)))
}
