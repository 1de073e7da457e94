//! What the host is told: a queue that it reads at its own pace.

use super::outbox::{OutboxKind, Refusal};
use crate::id::*;
use crate::protocol::document::{DebitResult, HoldResult, Validation};
use crate::protocol::order::{OrderNotice, SlipResult, SlipView};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The most events that wait for the host. Near it polling pauses: the merchant keeps what follows.
pub const MAX_HOST_EVENTS: usize = 10_000;

/// One event for the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct HostEvent {
    /// 1, 2, 3, … per device; the same after a restart.
    pub number: u64,
    /// When it came here, by the device's clock.
    pub at: Timestamp,
    /// What happened.
    pub kind: HostEventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Enum)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum HostEventKind {
    /// A hold was accepted, placed, declined, released, …
    Hold {
        /// The merchant's word.
        result: HoldResult,
    },
    /// An attempt has a verdict (A06).
    Validation {
        /// The merchant's word.
        result: Validation,
    },
    /// A debit ended (A07).
    Debit {
        /// The merchant's word.
        result: DebitResult,
    },
    /// Something happened to an order of the user (B10).
    Order {
        /// The merchant's word.
        notice: OrderNotice,
    },
    /// A payment of a slip went on.
    Slip {
        /// The merchant's word.
        result: SlipResult,
    },
    /// A slip that was asked for is there: it can be paid.
    SlipMade {
        /// Its name here.
        slip_id: SlipId,
        /// What the merchant made.
        slip: SlipView,
    },
    /// A slip was given up, as was asked from here: its orders are free.
    SlipClosed {
        /// Its name here.
        slip_id: SlipId,
        /// Its number.
        slip_number: SlipNumber,
    },
    /// A payment was not sent any more since its slip is closed.
    PaymentWithdrawn {
        /// The slip.
        slip_id: SlipId,
        /// The payment.
        payment_id: PaymentId,
    },
    /// The merchant refused something for good. It is not sent again; visit or slip go on with another one.
    Refused {
        /// The visit, if it is about one.
        trip_id: Option<TripId>,
        /// The slip, if it is about one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slip_id: Option<SlipId>,
        /// Which kind of document.
        document: OutboxKind,
        /// Its `device_seq`.
        seq: u64,
        /// Why.
        refusal: Refusal,
    },
    /// A document was not sent any more since its visit is cancelled.
    Withdrawn {
        /// The visit.
        trip_id: TripId,
        /// Which kind of document.
        document: OutboxKind,
        /// Its `device_seq`.
        seq: u64,
    },
    /// A visit was cancelled: by request, or by the merchant because it was left alone.
    TripCancelled {
        /// The visit.
        trip_id: TripId,
    },
    /// The user confirmed this device.
    DeviceConfirmed,
    /// The device is frozen: its folder seems to have been copied. Nothing is sent any more; enrol again.
    DeviceFrozen,
    /// The device is revoked. Nothing is sent any more; enrol again.
    DeviceRevoked,
    /// New keys are in force.
    KeysRotated {
        /// The request key.
        request_kid: KeyId,
        /// The consent key.
        consent_kid: KeyId,
    },
    /// A store has a new catalogue revision.
    CataloguePublished {
        /// The store.
        store_id: StoreId,
        /// The revision.
        revision: u64,
    },
    /// Something that came as the merchant's word cannot be trusted and had no effect.
    Distrusted {
        /// The type of document.
        document: String,
        /// The check that failed.
        check: String,
        /// What was expected.
        detail: String,
    },
    /// An event that this version does not know.
    Unknown {
        /// Its kind.
        typ: String,
        /// The event, a verified JWS.
        raw: String,
    },
}

impl HostEventKind {
    /// The visit that it is about.
    pub fn trip_id(&self) -> Option<TripId> {
        match self {
            Self::Hold { result } => Some(result.trip_id),
            Self::Validation { result } => Some(result.trip_id),
            Self::Debit { result } => Some(result.trip_id),
            Self::Refused { trip_id, .. } => *trip_id,
            Self::Withdrawn { trip_id, .. } | Self::TripCancelled { trip_id } => Some(*trip_id),
            _ => None,
        }
    }
}

/// The events that the host has not acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostQueue {
    pub(super) events: VecDeque<HostEvent>,
    pub(super) last: u64,
    pub(super) acked: u64,
}

impl HostQueue {
    pub(super) fn push(&mut self, number: u64, at: Timestamp, kind: HostEventKind) {
        if number > self.last {
            self.last = number;
            self.events.push_back(HostEvent { number, at, kind });
        }
    }

    pub(super) fn ack(&mut self, up_to: u64) {
        self.acked = self.acked.max(up_to.min(self.last));
        while self.events.front().is_some_and(|e| e.number <= self.acked) {
            self.events.pop_front();
        }
    }

    pub(super) fn after(&self, number: u64) -> Option<&HostEvent> {
        let at = self.events.partition_point(|e| e.number <= number);
        self.events.get(at)
    }
}
