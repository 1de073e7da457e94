//! One visit to a store.

use super::records::{ExitPassView, ScanOutcome};
use crate::barcode::{Gtin, Meaning, ScanInput};
use crate::basket::{LineId, PricedBasket, Quantity};
use crate::error::WalkpayError;
use crate::id::TripId;
use crate::money::Money;
use crate::protocol::document::{Validation, Verdict};
use crate::runtime::{Handle, Priced, Worker, on_pool, show_pass, two_steps};
use crate::session::{Command, OutboxKind, Reply, Review, TripState};
use std::time::Duration;
use tokio::sync::oneshot::Sender;

/// How long it is waited for the first answer of the merchant before a trip that must be online is refused.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// One visit: estimate, basket, signature, results. Every call is on disk before it answers, and a visit can be resumed after
/// any interruption.
#[derive(uniffi::Object)]
pub struct Trip {
    handle: Handle,
    id: TripId,
}

impl Trip {
    pub(super) fn new(handle: Handle, id: TripId) -> Self {
        Self { handle, id }
    }
}

#[uniffi::export]
impl Trip {
    /// Names the visit: for `Terminal::resume_trip`.
    pub fn id(&self) -> TripId {
        self.id
    }

    /// A08, A09: asks for a hold on the estimate, or raises it to a new absolute amount, signed with the device's own key.
    /// Events tell whether it is accepted and placed.
    ///
    /// # Errors
    /// [`WalkpayError::WrongOrder`], [`WalkpayError::MixedCurrencies`], [`WalkpayError::InvalidInput`] for the amount,
    /// [`WalkpayError::Network`] where the trip must be online and is not, [`WalkpayError::Key`].
    pub async fn request_hold(&self, amount: Money) -> Result<(), WalkpayError> {
        let (handle, trip_id) = (self.handle.clone(), self.id);
        on_pool(async move {
            let online = online(&handle).await?;
            let prepare = move |w: &mut Worker| w.command(Command::PrepareHold { trip_id, amount, online });
            sign_and_send(&handle, trip_id, OutboxKind::Hold, prepare).await
        })
        .await
    }

    /// The first half of [`Trip::request_hold`] for hosts that sign themselves: the bytes to be signed with the consent key.
    ///
    /// # Errors
    /// As [`Trip::request_hold`].
    pub async fn prepare_hold(&self, amount: Money) -> Result<Vec<u8>, WalkpayError> {
        let (online, trip_id) = (online(&self.handle).await?, self.id);
        let prepare = move |w: &mut Worker| to_sign(w.command(Command::PrepareHold { trip_id, amount, online })?);
        self.handle.call(prepare).await
    }

    /// The second half: the signature (64 bytes) over what [`Trip::prepare_hold`] gave.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] when it does not verify, [`WalkpayError::WrongOrder`].
    pub async fn submit_hold_signature(&self, signature: Vec<u8>) -> Result<(), WalkpayError> {
        self.submit(OutboxKind::Hold, signature).await
    }

    /// A01: what a scanner delivered. `quantity` is what the shopper says beside it: pieces (one, if nothing is said) or the
    /// weight of loose goods; labels of the store bring their own.
    ///
    /// # Errors
    /// [`WalkpayError::Barcode`], [`WalkpayError::UnknownArticle`], [`WalkpayError::BasketRule`] (sale stopped, weight needed, limits),
    /// [`WalkpayError::WrongOrder`] before the first catalogue sync or after the basket was signed.
    #[uniffi::method(default(quantity = None))]
    pub async fn scan(&self, input: ScanInput, quantity: Option<Quantity>) -> Result<ScanOutcome, WalkpayError> {
        let id = self.id;
        let scan = move |w: &mut Worker, ahead| w.scan(id, &input, quantity, ahead);
        let ((meaning, line), basket) = self.handle.call_ahead(scan, Priced::basket).await?;
        Ok(ScanOutcome { meaning, line, basket })
    }

    /// Puts an article in that was found by name, or loose goods that the shopper weighed.
    ///
    /// # Errors
    /// As [`Trip::scan`].
    #[uniffi::method(default(quantity = None))]
    pub async fn pick(&self, gtin: Gtin, quantity: Option<Quantity>) -> Result<ScanOutcome, WalkpayError> {
        let (id, meaning) = (self.id, Meaning::Article { gtin });
        let pick = move |w: &mut Worker, ahead| Ok((w.pick(id, &meaning, quantity, ahead)?, meaning));
        let ((line, meaning), basket) = self.handle.call_ahead(pick, Priced::basket).await?;
        Ok(ScanOutcome { meaning, line, basket })
    }

    /// Another quantity of a line.
    ///
    /// # Errors
    /// [`WalkpayError::BasketRule`], [`WalkpayError::WrongOrder`].
    pub async fn set_quantity(&self, line: LineId, quantity: Quantity) -> Result<PricedBasket, WalkpayError> {
        let trip_id = self.id;
        self.change(move |w, ahead| w.change(trip_id, Command::SetQuantity { trip_id, line, quantity }, ahead)).await
    }

    /// Takes a line out.
    ///
    /// # Errors
    /// [`WalkpayError::BasketRule`], [`WalkpayError::WrongOrder`].
    pub async fn remove(&self, line: LineId) -> Result<PricedBasket, WalkpayError> {
        let trip_id = self.id;
        self.change(move |w, ahead| w.change(trip_id, Command::Remove { trip_id, line }, ahead)).await
    }

    /// Applies a coupon. None are taken yet.
    ///
    /// # Errors
    /// [`WalkpayError::BasketRule`] with the rule `coupon_not_supported`.
    pub async fn apply_coupon(&self, code: String) -> Result<PricedBasket, WalkpayError> {
        let trip_id = self.id;
        self.change(move |w, ahead| w.change(trip_id, Command::ApplyCoupon { trip_id, code: &code }, ahead)).await
    }

    /// A02: the basket at the prices of the catalogue that is here.
    ///
    /// # Errors
    /// [`WalkpayError::NotSignedIn`], [`WalkpayError::Unknown`], [`WalkpayError::WrongOrder`] before the first catalogue sync.
    pub async fn basket(&self) -> Result<PricedBasket, WalkpayError> {
        let id = self.id;
        self.handle.call(move |w| w.basket(id)).await?.basket()
    }

    /// A03: freezes exactly what will be signed, and shows it. A catalogue sync cannot change it any more; changing the basket
    /// makes another review due.
    ///
    /// # Errors
    /// [`WalkpayError::WrongOrder`] for an empty basket, [`WalkpayError::BasketRule`] naming the line that cannot be sold.
    pub async fn review(&self) -> Result<Review, WalkpayError> {
        let id = self.id;
        self.handle.call(move |w| w.review(id)).await
    }

    /// A04 for hosts that sign themselves: the bytes to be signed with the consent key.
    ///
    /// # Errors
    /// [`WalkpayError::WrongOrder`] before [`Trip::review`], [`WalkpayError::Network`] where the trip must be online and is not.
    pub async fn prepare_signature(&self) -> Result<Vec<u8>, WalkpayError> {
        let (online, trip_id) = (online(&self.handle).await?, self.id);
        let prepare = move |w: &mut Worker| to_sign(w.command(Command::PrepareSignature { trip_id, online })?);
        self.handle.call(prepare).await
    }

    /// The signature (64 bytes) over what [`Trip::prepare_signature`] gave: the basket is in the outbox when this returns (A05).
    ///
    /// # Errors
    /// [`WalkpayError::Key`] when it does not verify, [`WalkpayError::WrongOrder`].
    pub async fn submit_signature(&self, signature: Vec<u8>) -> Result<(), WalkpayError> {
        self.submit(OutboxKind::Attempt, signature).await
    }

    /// A04 and A05 in one call, with the device's own key or the signer that the host handed in.
    ///
    /// # Errors
    /// As [`Trip::prepare_signature`]; [`WalkpayError::Key`] when the signer fails.
    pub async fn sign_and_submit(&self) -> Result<(), WalkpayError> {
        let (handle, trip_id) = (self.handle.clone(), self.id);
        on_pool(async move {
            let online = online(&handle).await?;
            let prepare = move |w: &mut Worker| w.command(Command::PrepareSignature { trip_id, online });
            sign_and_send(&handle, trip_id, OutboxKind::Attempt, prepare).await
        })
        .await
    }

    /// What is known of the visit: facts that hold independently of each other, each with its own time.
    ///
    /// # Errors
    /// [`WalkpayError::NotSignedIn`], [`WalkpayError::Unknown`].
    pub async fn state(&self) -> Result<TripState, WalkpayError> {
        let id = self.id;
        self.handle.call(move |w| w.session().current()?.trip_state(id)).await
    }

    /// Waits until the last attempt has a verdict that the shopper can act on, that is any but `check_required`; what is known of
    /// it when `timeout` is over (A06).
    ///
    /// # Errors
    /// [`WalkpayError::WrongOrder`] when nothing was signed, [`WalkpayError::Refused`] when the merchant did not take the attempt.
    pub async fn wait_validation(&self, timeout: Duration) -> Result<Option<Validation>, WalkpayError> {
        let id = self.id;
        let look = move |w: &mut Worker| Ok(verdict(w, id)?.filter(|v| v.verdict != Verdict::CheckRequired));
        match self.handle.wait(timeout, look).await? {
            Some(validation) => Ok(Some(validation)),
            None => self.handle.call(move |w| verdict(w, id)).await,
        }
    }

    /// A11: the exit pass for a gate, good for this half minute; make a new one when `fresh_for` is over.
    ///
    /// # Errors
    /// [`WalkpayError::WrongOrder`] before acceptance, [`WalkpayError::Key`].
    pub async fn exit_pass(&self) -> Result<ExitPassView, WalkpayError> {
        let (handle, id) = (self.handle.clone(), self.id);
        on_pool(async move { ExitPassView::of(show_pass(&handle, id).await?) }).await
    }

    /// Gives the visit up. If anything of it may have reached the merchant, an event tells when it is cancelled there.
    ///
    /// # Errors
    /// [`WalkpayError::WrongOrder`] after acceptance, [`WalkpayError::Key`].
    pub async fn cancel(&self) -> Result<(), WalkpayError> {
        let (handle, trip_id) = (self.handle.clone(), self.id);
        on_pool(async move {
            let prepare = move |w: &mut Worker| w.command(Command::PrepareCancel { trip_id });
            sign_and_send(&handle, trip_id, OutboxKind::Cancellation, prepare).await
        })
        .await
    }
}

impl Trip {
    async fn change(
        &self,
        work: impl FnOnce(&mut Worker, Sender<Priced>) -> Result<(), WalkpayError> + Send + 'static,
    ) -> Result<PricedBasket, WalkpayError> {
        let ((), basket) = self.handle.call_ahead(work, Priced::basket).await?;
        Ok(basket)
    }

    async fn submit(&self, kind: OutboxKind, signature: Vec<u8>) -> Result<(), WalkpayError> {
        let trip_id = self.id;
        self.handle.call(move |w| w.command(Command::Submit { trip_id, kind, signature: &signature }).map(drop)).await
    }
}

/// Prepares a document of the trip, signs it with the device's own key and hands it in.
async fn sign_and_send(
    handle: &Handle,
    trip_id: TripId,
    kind: OutboxKind,
    prepare: impl FnOnce(&mut Worker) -> Result<Reply, WalkpayError> + Send + 'static,
) -> Result<(), WalkpayError> {
    let submit = move |w: &mut Worker, signature: &[u8]| w.command(Command::Submit { trip_id, kind, signature });
    two_steps(handle, kind, prepare, submit).await.map(drop)
}

/// Whether the merchant was reached lately; right after a start its first answer is waited for.
async fn online(handle: &Handle) -> Result<bool, WalkpayError> {
    Ok(handle.wait(FIRST_ANSWER, |w| w.online()).await?.unwrap_or(false))
}

pub(super) fn to_sign(reply: Reply) -> Result<Vec<u8>, WalkpayError> {
    let nothing = || WalkpayError::Internal { detail: "nothing to sign".into() };
    let Reply::ToSign(all) = reply else { return Err(nothing()) };
    Ok(all.into_iter().next().ok_or_else(nothing)?.input.into_bytes())
}

fn verdict(worker: &mut Worker, id: TripId) -> Result<Option<Validation>, WalkpayError> {
    let trip = worker.session().current()?.trip(id)?;
    let wrong = || WalkpayError::WrongOrder { called: "wait_validation".into(), due: trip.due(false) };
    let last = trip.attempts.last().ok_or_else(wrong)?;
    if let Some(refusal) = &last.refused {
        let (problem, status, detail) = (refusal.problem.clone(), refusal.status, refusal.detail.clone());
        return Err(WalkpayError::Refused { problem, status, detail });
    }
    Ok(last.validation.clone())
}
