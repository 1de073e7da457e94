//! What must reach the merchant, and when it is tried next.

use super::input::Now;
use super::slip::Slip;
use super::state::Device;
use crate::id::*;
use crate::money::Money;
use crate::protocol::crypto::{Algorithm, PublicKey, base64url};
use crate::protocol::document::{PaymentMethod, Reason};
use crate::protocol::message::{AttemptPut, CancellationPut, HoldPut, KeyRotationRequest};
use crate::protocol::order::{PaymentPut, SlipRequest};
use crate::protocol::request::TerminalRequest;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The most documents that wait.
pub const MAX_OUTBOX: usize = 1_000;
const FIRST_DELAY_MS: u64 = 1_000;
const MAX_DELAY_MS: u64 = 5 * 60 * 1_000;
const MAX_RETRY_AFTER_MS: u64 = 60 * 60 * 1_000;
const MAX_REASON_CHARS: usize = 200;

/// The kinds of what goes to the merchant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
pub enum OutboxKind {
    /// A hold request.
    Hold,
    /// A signed basket.
    Attempt,
    /// Gives a visit up.
    Cancellation,
    /// New keys.
    Rotation,
    /// Asks for a payment slip.
    Slip,
    /// A signed payment of a slip.
    SlipPayment,
    /// Gives a slip up.
    SlipClosure,
    /// Gives a payment of a slip up.
    PaymentClosure,
}

/// A document that waits for its signature. Its number is used up already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prepared {
    /// Its `device_seq`.
    pub seq: u64,
    /// The visit, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trip_id: Option<TripId>,
    /// The slip, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slip_id: Option<SlipId>,
    /// The key that must sign.
    pub kid: KeyId,
    /// That key's algorithm.
    pub algorithm: Algorithm,
    /// The JWS signing input.
    pub input: String,
    /// What is being signed.
    pub what: PreparedWhat,
}

/// What is being signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum PreparedWhat {
    /// A hold request.
    Hold {
        /// Its id.
        hold_id: HoldId,
        /// 1, 2, …
        number: u32,
        /// The hold that it takes the place of.
        replaces: Option<HoldId>,
        /// The whole amount.
        amount: Money,
    },
    /// The basket as it was reviewed.
    Attempt {
        /// 1, 2, …
        attempt: u32,
        /// The hold that is counted on.
        hold_id: Option<HoldId>,
    },
    /// Gives the visit up.
    Cancellation,
    /// New keys; the inputs of their proofs are beside it.
    Rotation {
        /// Signs HTTP requests from then on.
        request_key: PublicKey,
        /// Signs documents from then on.
        consent_key: PublicKey,
        /// For the new request key to sign.
        request_input: String,
        /// For the new consent key to sign.
        consent_input: String,
    },
    /// A payment of a slip.
    SlipPayment {
        /// Its id.
        payment_id: PaymentId,
        /// The slip's number.
        slip_number: SlipNumber,
        /// How.
        method: PaymentMethod,
        /// All of it.
        amount: Money,
        /// The part that stored value pays.
        stored_value: Money,
    },
}

impl PreparedWhat {
    /// The kind of document.
    pub fn kind(&self) -> OutboxKind {
        match self {
            Self::Hold { .. } => OutboxKind::Hold,
            Self::Attempt { .. } => OutboxKind::Attempt,
            Self::Cancellation => OutboxKind::Cancellation,
            Self::Rotation { .. } => OutboxKind::Rotation,
            Self::SlipPayment { .. } => OutboxKind::SlipPayment,
        }
    }
}

/// What goes to the merchant. It never changes: a repeat has the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum OutboxBody {
    /// A hold request.
    Hold {
        /// Its id.
        hold_id: HoldId,
        /// Its amount, for reading.
        amount: Money,
        /// The document.
        jws: String,
    },
    /// A signed basket.
    Attempt {
        /// 1, 2, …
        attempt: u32,
        /// Its total, for reading.
        total: Money,
        /// The document.
        jws: String,
        /// The lines, exactly as hashed.
        lines: String,
    },
    /// Gives a visit up.
    Cancellation {
        /// The document.
        jws: String,
    },
    /// New keys.
    Rotation {
        /// The document and its proofs.
        request: KeyRotationRequest,
    },
    /// Asks for a slip, under its name here as the idempotency key.
    Slip {
        /// For which orders.
        request: SlipRequest,
        /// What they owed when they were last seen, for reading.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected: Option<Money>,
    },
    /// A payment of a slip.
    SlipPayment {
        /// Its id.
        payment_id: PaymentId,
        /// The slip.
        slip_number: SlipNumber,
        /// Its amount, for reading.
        amount: Money,
        /// The document.
        jws: String,
    },
    /// Gives a slip up. Its number may still be on its way here.
    SlipClosure,
    /// Gives a payment up.
    PaymentClosure {
        /// It.
        payment_id: PaymentId,
        /// Its slip.
        slip_number: SlipNumber,
        /// Its amount, for reading.
        amount: Money,
    },
}

impl OutboxBody {
    /// The kind of document.
    pub fn kind(&self) -> OutboxKind {
        match self {
            Self::Hold { .. } => OutboxKind::Hold,
            Self::Attempt { .. } => OutboxKind::Attempt,
            Self::Cancellation { .. } => OutboxKind::Cancellation,
            Self::Rotation { .. } => OutboxKind::Rotation,
            Self::Slip { .. } => OutboxKind::Slip,
            Self::SlipPayment { .. } => OutboxKind::SlipPayment,
            Self::SlipClosure => OutboxKind::SlipClosure,
            Self::PaymentClosure { .. } => OutboxKind::PaymentClosure,
        }
    }

    /// The amount that it is about.
    pub fn amount(&self) -> Option<Money> {
        match self {
            Self::Hold { amount, .. } => Some(*amount),
            Self::Attempt { total, .. } => Some(*total),
            Self::Slip { expected, .. } => *expected,
            Self::SlipPayment { amount, .. } | Self::PaymentClosure { amount, .. } => Some(*amount),
            Self::Cancellation { .. } | Self::Rotation { .. } | Self::SlipClosure => None,
        }
    }
}

/// A document in the outbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Its `device_seq`, which names it here.
    pub seq: u64,
    /// The visit, if it is about one.
    pub trip_id: Option<TripId>,
    /// The slip, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slip_id: Option<SlipId>,
    /// By the device's clock.
    pub created_at: Timestamp,
    /// What goes to the merchant.
    pub body: OutboxBody,
    /// How sending goes.
    pub retry: Retry,
}

impl OutboxEntry {
    /// The call; nothing while something that it needs is still to come.
    pub(super) fn request(&self, device: &Device) -> Option<TerminalRequest> {
        Some(match &self.body {
            OutboxBody::Hold { hold_id, jws, .. } => {
                TerminalRequest::PutHold { hold_id: *hold_id, body: HoldPut { hold: jws.clone() } }
            }
            OutboxBody::Attempt { attempt, jws, lines, .. } => TerminalRequest::PutAttempt {
                trip_id: self.trip_id?,
                attempt: *attempt,
                body: AttemptPut { basket: jws.clone(), lines: base64url(lines.as_bytes()) },
            },
            OutboxBody::Cancellation { jws } => TerminalRequest::PutCancellation {
                trip_id: self.trip_id?,
                body: CancellationPut { cancellation: jws.clone() },
            },
            OutboxBody::Rotation { request } => {
                TerminalRequest::RotateKeys { device_id: device.id, body: request.clone() }
            }
            OutboxBody::Slip { request, .. } => {
                TerminalRequest::MakeSlip { slip_id: self.slip_id?, body: request.clone() }
            }
            OutboxBody::SlipPayment { payment_id, slip_number, jws, .. } => TerminalRequest::PutPayment {
                slip_number: *slip_number,
                payment_id: *payment_id,
                body: PaymentPut { payment: jws.clone() },
            },
            OutboxBody::SlipClosure => TerminalRequest::CloseSlip { slip_number: self.slip_number(device)? },
            OutboxBody::PaymentClosure { payment_id, slip_number, .. } => {
                TerminalRequest::ClosePayment { slip_number: *slip_number, payment_id: *payment_id }
            }
        })
    }

    /// Whether it goes before everything else of its visit or slip and holds that back: it takes that back.
    pub(super) fn passes(&self, device: &Device) -> bool {
        match self.body.kind() {
            OutboxKind::Cancellation => true,
            OutboxKind::SlipClosure => self.slip_number(device).is_some(),
            _ => false,
        }
    }

    fn slip_number(&self, device: &Device) -> Option<SlipNumber> {
        self.slip_id.and_then(|id| device.slip(id).ok()).and_then(Slip::number)
    }

    pub(super) fn item(&self) -> OutboxItem {
        OutboxItem {
            id: self.seq,
            kind: self.body.kind(),
            trip_id: self.trip_id,
            slip_id: self.slip_id,
            created_at: self.created_at,
            attempts: self.retry.attempts,
            last_reason: self.retry.last_reason.clone(),
            next_try_at: self.retry.not_before,
            amount: self.body.amount(),
        }
    }
}

/// A document in the outbox, for the host to read.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct OutboxItem {
    /// Its number, the same for its whole life.
    pub id: u64,
    /// What it is.
    pub kind: OutboxKind,
    /// The visit, if it is about one.
    pub trip_id: Option<TripId>,
    /// The slip, if it is about one.
    pub slip_id: Option<SlipId>,
    /// By the device's clock.
    pub created_at: Timestamp,
    /// How many tries have failed.
    pub attempts: u32,
    /// Why the last one did.
    pub last_reason: Option<String>,
    /// Not tried before.
    pub next_try_at: Timestamp,
    /// The amount that it is about.
    pub amount: Option<Money>,
}

/// The sums of an outbox.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct OutboxTotals {
    /// How many documents wait.
    pub count: u32,
    /// The totals of the baskets and payments of slips that wait, one amount per currency.
    pub amounts: Vec<Money>,
    /// When the oldest came.
    pub oldest: Option<Timestamp>,
}

impl OutboxTotals {
    pub(super) fn of(entries: &[OutboxEntry]) -> Self {
        let mut amounts: Vec<Money> = Vec::new();
        for entry in entries {
            if let OutboxBody::Attempt { total, .. } | OutboxBody::SlipPayment { amount: total, .. } = &entry.body {
                match amounts.iter_mut().find(|a| a.currency == total.currency) {
                    Some(sum) => sum.minor = sum.minor.saturating_add(total.minor),
                    None => amounts.push(*total),
                }
            }
        }
        let oldest = entries.iter().map(|e| e.created_at).min();
        Self { count: u32::try_from(entries.len()).unwrap_or(u32::MAX), amounts, oldest }
    }
}

/// A definite refusal by the merchant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct Refusal {
    /// The stable problem code, see [`crate::protocol::problem`].
    pub problem: String,
    /// The HTTP status.
    pub status: u16,
    /// What was expected.
    pub detail: String,
    /// With verdicts: the reasons.
    pub reasons: Vec<Reason>,
}

/// How sending something goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How many tries in a row have failed.
    pub attempts: u32,
    /// Why the last one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reason: Option<String>,
    /// Not tried before, by the device's wall clock.
    pub not_before: Timestamp,
    /// How long that was ahead when it was decided: if the clock is set back, it is not waited for longer.
    pub delay_ms: u64,
}

impl Retry {
    /// Is tried after a while, without a failure before.
    pub(super) fn after(delay: Duration, at: Timestamp) -> Self {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Self { attempts: 0, last_reason: None, not_before: at.plus(delay), delay_ms }
    }

    /// May be tried at once.
    pub(super) fn fresh(at: Timestamp) -> Self {
        Self { attempts: 0, last_reason: None, not_before: at, delay_ms: 0 }
    }

    pub(super) fn is_due(&self, wall: Timestamp) -> bool {
        wall >= self.not_before || wall < self.not_before.minus(Duration::from_millis(self.delay_ms))
    }

    /// After another failure: twice the delay, half of it by chance; at least as long as `Retry-After` says.
    pub(super) fn failed(&self, reason: &str, retry_after_seconds: Option<u64>, now: &Now) -> Self {
        let ceiling = FIRST_DELAY_MS.saturating_mul(1 << self.attempts.min(20)).min(MAX_DELAY_MS);
        let asked = retry_after_seconds.unwrap_or(0).saturating_mul(1_000).min(MAX_RETRY_AFTER_MS);
        let delay_ms = (ceiling / 2 + jitter(now) % (ceiling / 2 + 1)).max(asked);
        self.later(reason, delay_ms, now)
    }

    /// After a failure that signing again mends: at once, unless the last one was the same.
    pub(super) fn sign_again(&self, reason: &str, now: &Now) -> Self {
        if self.last_reason.as_deref() == Some(reason) {
            self.failed(reason, None, now)
        } else {
            self.later(reason, 0, now)
        }
    }

    fn later(&self, reason: &str, delay_ms: u64, now: &Now) -> Self {
        Self {
            attempts: self.attempts.saturating_add(1),
            last_reason: Some(reason.chars().take(MAX_REASON_CHARS).collect()),
            not_before: now.wall.plus(Duration::from_millis(delay_ms)),
            delay_ms,
        }
    }
}

fn jitter(now: &Now) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&now.random[24..32]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(wall: i64, chance: u8) -> Now {
        Now { wall: Timestamp::from_millis(wall), monotonic_ms: 0, boot: 1, random: [chance; 32] }
    }

    #[test]
    fn delays_double_up_to_five_minutes_and_half_is_chance() {
        let mut retry = Retry::fresh(Timestamp::from_millis(0));
        for (round, ceiling) in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000]
            .into_iter()
            .enumerate()
        {
            for chance in [0, 7, 255] {
                let next = retry.failed("no route", None, &now(10_000, chance));
                assert!((ceiling / 2..=ceiling).contains(&next.delay_ms), "{round}: {}", next.delay_ms);
            }
            retry = retry.failed("no route", None, &now(10_000, 3));
        }
        assert_eq!((retry.attempts, retry.last_reason.as_deref()), (11, Some("no route")));
    }

    #[test]
    fn retry_after_is_honoured_within_an_hour() {
        let fresh = Retry::fresh(Timestamp::from_millis(0));
        assert_eq!(fresh.failed("busy", Some(120), &now(0, 0)).delay_ms, 120_000);
        assert_eq!(fresh.failed("busy", Some(u64::MAX), &now(0, 0)).delay_ms, MAX_RETRY_AFTER_MS);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_hold_the_outbox_up() {
        let retry = Retry::fresh(Timestamp::from_millis(0)).failed("no route", None, &now(1_000_000_000, 0));
        assert!(!retry.is_due(Timestamp::from_millis(1_000_000_001)));
        assert!(retry.is_due(Timestamp::from_millis(1_000_001_000)));
        assert!(retry.is_due(Timestamp::from_millis(5)), "years back");
    }
}
