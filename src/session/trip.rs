//! One visit: a few facts that hold independently of each other, each with its own time.

use super::outbox::Refusal;
use crate::basket::Basket;
use crate::error::WalkpayError;
use crate::id::*;
use crate::money::{Currency, Money};
use crate::protocol::document::{DebitResult, HoldResult, HoldStatus, ReasonCode, Validation, Verdict};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The most visits of a device that are not finished.
pub const MAX_OPEN_TRIPS: usize = 50;
/// The most hold requests of a visit.
pub const MAX_HOLDS: usize = 20;
/// The most attempts of a visit.
pub const MAX_ATTEMPTS: usize = 50;

/// Whether a visit may go on without network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
pub enum ForwardPolicy {
    /// Nothing is signed while the merchant cannot be reached. What was signed is sent until it is answered all the same.
    OnlineRequired,
    /// What is signed waits in the outbox for the network.
    PreferOnline,
}

/// Exactly what will be signed: fixed by `review`, whatever the catalogue does meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct Frozen {
    /// The catalogue that it was priced with.
    pub catalogue_revision: u64,
    /// The version of the pricing rules.
    pub pricing_version: u32,
    /// Merchant time, as far as it was known.
    pub priced_at: Timestamp,
    /// What is to be paid.
    pub total: Money,
    /// How many articles.
    pub item_count: u32,
    /// The lines, the very bytes that are hashed.
    pub lines: String,
    /// Their SHA-256, base64url.
    pub lines_sha256: String,
}

/// What is known of a hold request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct HoldFacts {
    /// The request.
    pub hold_id: HoldId,
    /// 1, 2, … within the visit.
    pub number: u32,
    /// Its `device_seq`.
    pub seq: u64,
    /// The whole amount.
    pub amount: Money,
    /// When it was signed, by the device's clock.
    pub on_device: Timestamp,
    /// When the merchant had it on record, by merchant time.
    pub submitted: Option<Timestamp>,
    /// Why the merchant will never take it.
    pub refused: Option<Refusal>,
    /// When the merchant took it in (A10), by merchant time.
    pub accepted: Option<Timestamp>,
    /// When the bank placed it, by merchant time.
    pub placed: Option<Timestamp>,
    /// The latest that is known of it.
    pub status: Option<HoldStatus>,
    /// Why the bank declined: a stable word.
    pub reason: Option<String>,
    /// When the bank frees it by itself.
    pub expires_at: Option<Timestamp>,
}

impl HoldFacts {
    /// Whether it is still to be heard what became of it.
    pub fn is_open(&self) -> bool {
        self.refused.is_none() && matches!(self.status, None | Some(HoldStatus::Accepted))
    }

    /// Whether it covers something, or may yet.
    pub fn counts(&self) -> bool {
        self.is_open() || self.status == Some(HoldStatus::Placed)
    }

    fn learn(&mut self, result: &HoldResult) {
        match result.status {
            HoldStatus::Accepted => {
                self.accepted.get_or_insert(result.issued_at);
            }
            HoldStatus::Placed => {
                self.placed.get_or_insert(result.issued_at);
            }
            _ => {}
        }
        let placed = self.status.is_some_and(|s| s != HoldStatus::Accepted);
        let over = placed && self.status != Some(HoldStatus::Placed);
        let earlier =
            (placed && result.status == HoldStatus::Accepted) || (over && result.status == HoldStatus::Placed);
        if !earlier {
            self.status = Some(result.status);
        }
        self.reason = result.reason.clone().or(self.reason.take());
        self.expires_at = result.expires_at.or(self.expires_at);
    }
}

/// What is known of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct AttemptFacts {
    /// 1, 2, … within the visit.
    pub attempt: u32,
    /// Its `device_seq`.
    pub seq: u64,
    /// What is to be paid.
    pub total: Money,
    /// How many articles.
    pub item_count: u32,
    /// The digest of the signed basket: what a verdict must name.
    pub basket_sha256: String,
    /// When it was signed, by the device's clock.
    pub on_device: Timestamp,
    /// When the merchant had it on record, by merchant time.
    pub submitted: Option<Timestamp>,
    /// Why the merchant will never take it. This is no verdict on the basket.
    pub refused: Option<Refusal>,
    /// Whether it was not sent any more since the visit is cancelled.
    pub withdrawn: bool,
    /// The merchant's verdict; its time is its `issued_at`.
    pub validation: Option<Validation>,
}

impl AttemptFacts {
    /// The verdict, if there is one.
    pub fn verdict(&self) -> Option<Verdict> {
        self.validation.as_ref().map(|v| v.verdict)
    }

    /// Whether its first verdict is still to come.
    pub fn is_waiting(&self) -> bool {
        self.refused.is_none() && !self.withdrawn && self.validation.is_none()
    }

    /// Whether its verdict will not change any more.
    pub fn is_final(&self) -> bool {
        matches!(self.verdict(), Some(Verdict::Accepted | Verdict::Rejected))
    }
}

/// That a visit was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct Cancelled {
    /// By the device's clock.
    pub at: Timestamp,
    /// Whether the merchant did it without being asked from here.
    pub by_merchant: bool,
}

/// One visit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trip {
    /// The visit.
    pub id: TripId,
    /// The store.
    pub store_id: StoreId,
    /// The store's currency.
    pub currency: Currency,
    /// Whether it may go on without network.
    pub policy: ForwardPolicy,
    /// By the device's clock.
    pub started_at: Timestamp,
    /// What was picked.
    pub basket: Basket,
    /// In the order of their numbers.
    pub holds: Vec<HoldFacts>,
    /// What will be signed next.
    pub review: Option<Frozen>,
    /// In the order of their numbers.
    pub attempts: Vec<AttemptFacts>,
    /// When the shopper signed its cancellation, as long as that has not been answered.
    pub cancel_requested: Option<Timestamp>,
    /// Whether it was given up.
    pub cancelled: Option<Cancelled>,
    /// With its cancellation on record: the last entry of the event log before it. What came of it is above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) given_up_after: Option<u64>,
    /// How the debit ended (A07).
    pub debit: Option<DebitResult>,
    /// When something happened to it last, by the device's clock.
    pub touched_at: Timestamp,
    /// The number of the last event for the host that is about it.
    pub last_told: u64,
}

impl Trip {
    pub(super) fn new(
        id: TripId,
        store_id: StoreId,
        currency: Currency,
        policy: ForwardPolicy,
        started_at: Timestamp,
    ) -> Self {
        Self {
            id,
            store_id,
            currency,
            policy,
            started_at,
            basket: Basket::default(),
            holds: Vec::new(),
            review: None,
            attempts: Vec::new(),
            cancel_requested: None,
            cancelled: None,
            given_up_after: None,
            debit: None,
            touched_at: started_at,
            last_told: 0,
        }
    }

    /// The attempt that was accepted.
    pub fn accepted(&self) -> Option<&AttemptFacts> {
        self.attempts.iter().find(|a| a.verdict() == Some(Verdict::Accepted))
    }

    /// The exit pass, a JWS (A11).
    pub fn exit_pass(&self) -> Option<&str> {
        self.accepted().and_then(|a| a.validation.as_ref()).and_then(|v| v.exit_pass.as_deref())
    }

    /// Whether nothing can be bought on it any more.
    pub fn is_closed(&self) -> bool {
        self.cancelled.is_some() || self.accepted().is_some()
    }

    /// Whether all results are there: it counts no longer against [`MAX_OPEN_TRIPS`].
    pub fn is_finished(&self) -> bool {
        self.cancelled.is_some() || self.debit.is_some()
    }

    /// The newest hold that covers something, or may yet.
    pub fn hold(&self) -> Option<&HoldFacts> {
        self.holds.iter().rev().find(|h| h.counts())
    }

    /// Which call or fact comes next.
    pub fn due(&self, prepared: bool) -> String {
        if self.cancelled.is_some() {
            return "start_trip (this one is cancelled)".into();
        }
        if self.accepted().is_some() {
            return "start_trip (this one is accepted)".into();
        }
        if self.cancel_requested.is_some() {
            return "next_event (the answer to the cancellation)".into();
        }
        if let Some(waiting) = self.attempts.last().filter(|a| a.is_waiting()) {
            return format!("next_event (the verdict on attempt {})", waiting.attempt);
        }
        if prepared {
            return "submit_signature".into();
        }
        if self.review.is_some() {
            return "prepare_signature".into();
        }
        if self.basket.is_empty() { "scan".into() } else { "review".into() }
    }

    /// Refuses what needs an open basket.
    pub(super) fn expect_open(&self, called: &str) -> Result<(), WalkpayError> {
        let waiting = self.attempts.last().is_some_and(AttemptFacts::is_waiting);
        if self.is_closed() || self.cancel_requested.is_some() || waiting {
            return Err(self.wrong_order(called, false));
        }
        Ok(())
    }

    pub(super) fn wrong_order(&self, called: &str, prepared: bool) -> WalkpayError {
        WalkpayError::WrongOrder { called: called.to_owned(), due: self.due(prepared) }
    }

    pub(super) fn learn_hold(&mut self, result: &HoldResult) {
        if let Some(hold) = self.holds.iter_mut().find(|h| h.hold_id == result.hold_id) {
            hold.learn(result);
        }
    }

    pub(super) fn learn_verdict(&mut self, result: &Validation, at: Timestamp) {
        let known = self.attempts.iter_mut().find(|a| a.attempt == result.attempt && !a.is_final());
        if let Some(attempt) = known {
            attempt.validation = Some(result.clone());
            attempt.submitted.get_or_insert(result.issued_at);
            let closed = result.verdict == Verdict::Rejected
                && result.reasons.iter().any(|r| r.code == ReasonCode::TripCancelled);
            if closed {
                self.cancel(at, true);
            }
        }
        if self.accepted().is_some() {
            self.review = None;
        }
    }

    pub(super) fn cancel(&mut self, at: Timestamp, by_merchant: bool) {
        let by_merchant = by_merchant && self.cancel_requested.is_none();
        self.cancelled.get_or_insert(Cancelled { at, by_merchant });
        self.cancel_requested = None;
        self.review = None;
    }

    /// Everything about it that a host may want to show.
    pub(super) fn state(&self, prepared: bool) -> TripState {
        TripState {
            trip_id: self.id,
            store_id: self.store_id.clone(),
            policy: self.policy,
            started_at: self.started_at,
            line_count: u32::try_from(self.basket.lines().len()).unwrap_or(u32::MAX),
            item_count: self.basket.item_count(),
            min_age: self.basket.max_age_required(),
            holds: self.holds.clone(),
            review: self.review.clone(),
            attempts: self.attempts.clone(),
            exit_pass: self.exit_pass().map(str::to_owned),
            debit: self.debit.clone(),
            cancel_requested: self.cancel_requested,
            cancelled: self.cancelled,
            due: self.due(prepared),
        }
    }
}

/// A visit as a host reads it.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct TripState {
    /// The visit.
    pub trip_id: TripId,
    /// The store.
    pub store_id: StoreId,
    /// Whether it may go on without network.
    pub policy: ForwardPolicy,
    /// By the device's clock.
    pub started_at: Timestamp,
    /// Lines in the basket.
    pub line_count: u32,
    /// Articles in the basket.
    pub item_count: u32,
    /// The highest age that an article asks for.
    pub min_age: Option<u8>,
    /// Holds, in order.
    pub holds: Vec<HoldFacts>,
    /// What will be signed next.
    pub review: Option<Frozen>,
    /// Attempts, in order.
    pub attempts: Vec<AttemptFacts>,
    /// With acceptance: the exit pass, a JWS.
    pub exit_pass: Option<String>,
    /// How the debit ended.
    pub debit: Option<DebitResult>,
    /// When its cancellation was signed, as long as that is unanswered.
    pub cancel_requested: Option<Timestamp>,
    /// Whether it was given up.
    pub cancelled: Option<Cancelled>,
    /// Which call or fact comes next.
    pub due: String,
}
