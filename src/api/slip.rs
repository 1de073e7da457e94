//! One payment slip.

use super::trip::to_sign;
use crate::error::WalkpayError;
use crate::id::{PaymentId, SlipId};
use crate::money::Money;
use crate::protocol::document::PaymentMethod;
use crate::protocol::order::{Launch, SlipStatus, SlipView};
use crate::runtime::{Handle, Worker, on_pool, refresh_slip, two_steps};
use crate::session::{Command, OutboxKind, PaymentFacts, Refusal, Reply, SlipState};
use std::time::Duration;

/// One slip: several orders that are paid together (B22, B23). Every call is on disk before it answers, and a slip can be resumed
/// after any interruption.
#[derive(uniffi::Object)]
pub struct Slip {
    handle: Handle,
    id: SlipId,
}

impl Slip {
    pub(super) fn new(handle: Handle, id: SlipId) -> Self {
        Self { handle, id }
    }
}

#[uniffi::export]
impl Slip {
    /// Names the slip on this device: for `Terminal::resume_slip`.
    pub fn id(&self) -> SlipId {
        self.id
    }

    /// What is known of the slip, its payments, and what the host needs for letting the payer pay (`launch`).
    ///
    /// # Errors
    /// [`WalkpayError::NotSignedIn`], [`WalkpayError::Unknown`].
    pub async fn state(&self) -> Result<SlipState, WalkpayError> {
        let id = self.id;
        self.handle.call(move |w| w.session().current()?.slip_state(id)).await
    }

    /// Waits until the merchant has made the slip, with its number and amount; nothing when `timeout` is over.
    ///
    /// # Errors
    /// [`WalkpayError::Refused`] when the merchant will not make it: `problem` and `detail` say why.
    pub async fn wait_made(&self, timeout: Duration) -> Result<Option<SlipView>, WalkpayError> {
        let id = self.id;
        let look = move |w: &mut Worker| {
            let slip = w.session().current()?.slip(id)?;
            slip.refused.as_ref().map_or_else(|| Ok(slip.made.clone()), |r| Err(refused(r)))
        };
        self.handle.wait(timeout, look).await
    }

    /// B23: agrees to pay the slip, signed with the device's own consent key or the signer that the host handed in. The payment is
    /// in the outbox when this returns; events tell how it goes. `stored_value` is the part that stored value pays; if nothing is
    /// said, that is all of it where it is the method, and nothing otherwise.
    ///
    /// # Errors
    /// [`WalkpayError::WrongOrder`] before the slip is made, while a payment is under way, and when it is paid or closed;
    /// [`WalkpayError::InvalidInput`] or [`WalkpayError::MixedCurrencies`] for the part; [`WalkpayError::Key`].
    #[uniffi::method(default(stored_value = None))]
    pub async fn pay(&self, method: PaymentMethod, stored_value: Option<Money>) -> Result<PaymentId, WalkpayError> {
        let (handle, slip_id) = (self.handle.clone(), self.id);
        on_pool(async move {
            let prepare = move |w: &mut Worker| w.command(Command::PreparePayment { slip_id, method, stored_value });
            let submit =
                move |w: &mut Worker, signature: &[u8]| w.command(Command::SubmitPayment { slip_id, signature });
            payment(two_steps(&handle, OutboxKind::SlipPayment, prepare, submit).await?)
        })
        .await
    }

    /// The first half of [`Slip::pay`] for hosts that sign themselves: the bytes to be signed with the consent key.
    ///
    /// # Errors
    /// As [`Slip::pay`].
    #[uniffi::method(default(stored_value = None))]
    pub async fn prepare_payment(
        &self,
        method: PaymentMethod,
        stored_value: Option<Money>,
    ) -> Result<Vec<u8>, WalkpayError> {
        let slip_id = self.id;
        let prepare =
            move |w: &mut Worker| to_sign(w.command(Command::PreparePayment { slip_id, method, stored_value })?);
        self.handle.call(prepare).await
    }

    /// The second half: the signature (64 bytes) over what [`Slip::prepare_payment`] gave.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] when it does not verify, [`WalkpayError::WrongOrder`].
    pub async fn submit_payment_signature(&self, signature: Vec<u8>) -> Result<PaymentId, WalkpayError> {
        let slip_id = self.id;
        let submit =
            move |w: &mut Worker| payment(Some(w.command(Command::SubmitPayment { slip_id, signature: &signature })?));
        self.handle.call(submit).await
    }

    /// Waits until the channel has given what the host needs for letting the payer pay: a page, a QR code or an app's parameters.
    /// Nothing when `timeout` is over, or when the newest payment ended without needing any.
    ///
    /// # Errors
    /// [`WalkpayError::WrongOrder`] when nothing was signed, [`WalkpayError::Refused`] when the merchant did not take the payment.
    pub async fn wait_launch(&self, timeout: Duration) -> Result<Option<Launch>, WalkpayError> {
        let id = self.id;
        let look = move |w: &mut Worker| {
            let newest = newest(w, id, "wait_launch")?;
            let launch = newest.view.as_ref().and_then(|v| v.launch.clone());
            Ok(if newest.is_open() { launch.map(Some) } else { Some(None) })
        };
        Ok(self.handle.wait(timeout, look).await?.flatten())
    }

    /// Waits until the newest payment has succeeded or is closed; what is known of it when `timeout` is over. Giving up the wait
    /// changes nothing: an event tells.
    ///
    /// # Errors
    /// As [`Slip::wait_launch`].
    pub async fn wait_payment(&self, timeout: Duration) -> Result<PaymentFacts, WalkpayError> {
        let id = self.id;
        let look = move |w: &mut Worker| {
            let newest = newest(w, id, "wait_payment")?;
            let slip = w.session().current()?.slip(id)?;
            // One that has succeeded is told of the slip as well, a moment later.
            let told = slip.status() != Some(SlipStatus::Paying) || newest.is_lost();
            Ok(Some(newest).filter(|p| !p.is_open() && told))
        };
        match self.handle.wait(timeout, look).await? {
            Some(payment) => Ok(payment),
            None => self.handle.call(move |w| newest(w, id, "wait_payment")).await,
        }
    }

    /// Asks the merchant how the slip stands, beside what the events tell: an open slip gives its orders back after `expires_at`.
    ///
    /// # Errors
    /// [`WalkpayError::WrongOrder`] before it is made, [`WalkpayError::Network`], [`WalkpayError::Refused`],
    /// [`WalkpayError::Untrusted`].
    pub async fn refresh(&self) -> Result<SlipState, WalkpayError> {
        let (handle, id) = (self.handle.clone(), self.id);
        on_pool(async move {
            refresh_slip(&handle, id).await?;
            handle.call(move |w| w.session().current()?.slip_state(id)).await
        })
        .await
    }

    /// Gives the slip up: its orders are free once the event `SlipClosed` tells so. A payment that still waits in the outbox is not
    /// sent meanwhile, and withdrawn then.
    ///
    /// # Errors
    /// [`WalkpayError::WrongOrder`] when it is paid, or while the merchant has a payment of it under way (`close_payment` is due).
    pub async fn close_slip(&self) -> Result<(), WalkpayError> {
        let slip_id = self.id;
        self.handle.call(move |w| w.command(Command::CloseSlip { slip_id }).map(drop)).await
    }

    /// Gives a payment up. It is closed once the channel has confirmed that nothing will come of it; until then it may still succeed.
    ///
    /// # Errors
    /// [`WalkpayError::WrongOrder`] while it waits in the outbox and when it has succeeded, [`WalkpayError::Unknown`].
    pub async fn close_payment(&self, payment_id: PaymentId) -> Result<(), WalkpayError> {
        let slip_id = self.id;
        self.handle.call(move |w| w.command(Command::ClosePayment { slip_id, payment_id }).map(drop)).await
    }
}

fn payment(reply: Option<Reply>) -> Result<PaymentId, WalkpayError> {
    match reply {
        Some(Reply::Payment(id)) => Ok(id),
        _ => Err(WalkpayError::Internal { detail: "a payment without identifier".into() }),
    }
}

fn newest(worker: &mut Worker, id: SlipId, called: &str) -> Result<PaymentFacts, WalkpayError> {
    let slip = worker.session().current()?.slip(id)?;
    let wrong = || {
        let due = if slip.status() == Some(SlipStatus::Open) { "pay".to_owned() } else { slip.due(false) };
        WalkpayError::WrongOrder { called: called.to_owned(), due }
    };
    let newest = slip.payments.last().ok_or_else(wrong)?;
    newest.refused.as_ref().map_or_else(|| Ok(newest.clone()), |r| Err(refused(r)))
}

fn refused(refusal: &Refusal) -> WalkpayError {
    let (problem, status, detail) = (refusal.problem.clone(), refusal.status, refusal.detail.clone());
    WalkpayError::Refused { problem, status, detail }
}
