//! What a terminal keeps: the events whose fold is its state.
//!
//! Compatibility, for ever:
//! - An event is one JSON object `{"v":…,"at":…,"device":…,"fact":{"kind":…,"data":{…}}}`. `v` is the [`VERSION`] of the writer.
//! - Variants and members are added, never renamed, removed or given another meaning. A new member has a default. A new variant, and a
//!   new member of the state, raises [`VERSION`].
//! - An event that this version cannot read and whose `v` is higher than [`VERSION`] was written by a newer version: the folder is
//!   left untouched ([`StorageProblem::TooNew`]). So it is with a snapshot of a newer version, whose state may have members that would be
//!   lost here. Any other that cannot be read is damage ([`StorageProblem::Corrupt`]).
//! - Folding never fails and never looks at anything but the state and the event. Numbers that the outside sees (host events,
//!   `device_seq`) are in the events, so that a later version cannot count differently.

use super::clock::Clock;
use super::enrolment::{Enrolled, EnrolmentStage};
use super::host::HostEventKind;
use super::outbox::{OutboxBody, Prepared, Refusal, Retry};
use super::state::{DeviceStatus, Session};
use super::trip::{ForwardPolicy, Frozen};
use crate::basket::BasketEvent;
use crate::error::{StorageProblem, WalkpayError};
use crate::id::*;
use crate::money::{Currency, Money};
use crate::protocol::document::KeySet;
use crate::protocol::enrolment_code::EnrolmentCode;
use crate::protocol::order::{OrderSummary, OrderView, PaymentView, SlipRequest, SlipView};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of the events that are written.
pub const VERSION: u32 = 3;

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEvent {
    /// The version of the writer.
    pub v: u32,
    /// By the device's wall clock.
    pub at: Timestamp,
    /// The device that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// What happened.
    pub fact: Fact,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum Fact {
    /// An enrolment was started.
    EnrolmentBegun {
        /// The code, in its text form.
        #[serde(with = "code_text")]
        code: EnrolmentCode,
        /// How the device calls itself.
        label: String,
    },
    /// The enrolment reached its next stage.
    EnrolmentAdvanced {
        /// That stage.
        stage: Box<EnrolmentStage>,
    },
    /// A request of the enrolment failed.
    EnrolmentTryFailed {
        /// When to try again.
        retry: Retry,
    },
    /// The enrolment ended without a device.
    EnrolmentEnded {
        /// Why.
        reason: String,
    },
    /// The enrolment ended with this device.
    Enrolled(Box<Enrolled>),
    /// The device's user signed in.
    SignedIn,
    /// Nobody is signed in.
    SignedOut,
    /// A visit began.
    TripStarted {
        /// The visit.
        trip_id: TripId,
        /// The store.
        store_id: StoreId,
        /// The store's currency.
        currency: Currency,
        /// Whether a basket may wait for the network.
        policy: ForwardPolicy,
    },
    /// A basket changed.
    Basket {
        /// The visit.
        trip_id: TripId,
        /// In order.
        events: Vec<BasketEvent>,
    },
    /// A basket was frozen for signing.
    Reviewed {
        /// The visit.
        trip_id: TripId,
        /// What exactly.
        frozen: Frozen,
    },
    /// A document waits for its signature; its `device_seq` is used up whether or not that comes.
    Prepared(Prepared),
    /// A prepared document was signed and is to be sent.
    Signed {
        /// Its `device_seq`.
        seq: u64,
        /// What goes to the merchant.
        body: OutboxBody,
    },
    /// The merchant has it on record.
    Recorded {
        /// Its `device_seq`.
        seq: u64,
        /// By merchant time.
        recorded_at: Timestamp,
        /// The last entry of the event log at that moment: what came of it is above.
        #[serde(default)]
        last_seq: u64,
    },
    /// The merchant will never take it.
    Refused {
        /// Its `device_seq`.
        seq: u64,
        /// Why.
        refusal: Refusal,
    },
    /// It is no longer sent, since its visit is cancelled.
    Withdrawn {
        /// Its `device_seq`.
        seq: u64,
    },
    /// Sending it has failed for now.
    TryFailed {
        /// Its `device_seq`.
        seq: u64,
        /// When to try again.
        retry: Retry,
    },
    /// A visit was given up.
    TripCancelled {
        /// The visit.
        trip_id: TripId,
    },
    /// The next entry of the merchant's event log.
    EventTaken {
        /// Its `seq`.
        seq: u64,
        /// Its number for the host, if it is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<u64>,
        /// What it says, if it is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        told: Option<HostEventKind>,
    },
    /// Something else that the host is told.
    Told {
        /// Its number.
        number: u64,
        /// What.
        told: HostEventKind,
    },
    /// An entry of the log cannot be trusted, and the host was told so.
    EventDistrusted {
        /// The `seq` that is still missing.
        missing: u64,
        /// The check that failed.
        check: String,
    },
    /// The host has dealt with all events up to a number.
    Acked {
        /// That number.
        up_to: u64,
    },
    /// A poll failed, or is not to be repeated at once.
    PollFailed {
        /// When to try again.
        retry: Retry,
    },
    /// Polls work again.
    PollWorks,
    /// A newer key set is needed.
    KeysWanted {
        /// The `seq` after which it turned out; once per place.
        cursor: u64,
    },
    /// A newer key set came.
    KeysTaken {
        /// Verified.
        key_set: KeySet,
    },
    /// There is no newer key set.
    KeysCurrent,
    /// Asking for the key set failed.
    KeysFailed {
        /// When to try again.
        retry: Retry,
    },
    /// What merchant time is.
    ClockLearned {
        /// The offset and what it was read from.
        clock: Clock,
    },
    /// The merchant told what the device is to it, in an answer that it did not sign. Not written any more: only the event log tells.
    Status {
        /// That.
        status: DeviceStatus,
    },
    /// Requests are signed with another key from now on.
    RequestKey {
        /// Its thumbprint.
        kid: KeyId,
    },
    /// Everything that waits is tried at once.
    Forwarded,
    /// Finished visits and slips were forgotten.
    Pruned {
        /// Which visits.
        trips: Vec<TripId>,
        /// Which slips.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        slips: Vec<SlipId>,
    },
    /// A slip is to be asked for.
    SlipRequested {
        /// Its number in the outbox: a `device_seq`, which no document has then.
        seq: u64,
        /// Made here; the idempotency key.
        slip_id: SlipId,
        /// For which orders.
        request: SlipRequest,
        /// What the orders owed when they were last seen, if all of them were.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected: Option<Money>,
    },
    /// The merchant said how a slip stands.
    SlipSeen {
        /// Which.
        slip_id: SlipId,
        /// What of the outbox is answered by it, if anything is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// That.
        slip: Box<SlipView>,
    },
    /// The merchant said how a payment stands.
    PaymentSeen {
        /// Of which slip.
        slip_id: SlipId,
        /// What of the outbox is answered by it.
        seq: u64,
        /// That.
        payment: Box<PaymentView>,
    },
    /// A slip, or one payment of it, is to be given up.
    ClosureRequested {
        /// Its number in the outbox: a `device_seq`, which no document has then.
        seq: u64,
        /// Which slip.
        slip_id: SlipId,
        /// Which payment, unless it is the slip.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payment_id: Option<PaymentId>,
    },
    /// The merchant listed orders.
    OrdersSeen {
        /// Those that are new or other than before.
        seen: Vec<OrderSummary>,
        /// Those that are as before.
        same: Vec<ServiceNumber>,
        /// Those that no longer are what was asked for.
        gone: Vec<ServiceNumber>,
    },
    /// The merchant showed an order.
    OrderSeen {
        /// It.
        order: Box<OrderView>,
    },
    /// The whole state; all earlier events are gone.
    Snapshot {
        /// That state.
        state: Box<Session>,
    },
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
}

impl JournalEvent {
    /// Reads one event.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`] with [`StorageProblem::TooNew`] or [`StorageProblem::Corrupt`].
    pub fn parse(json: &[u8]) -> Result<Self, WalkpayError> {
        let too_new = |why: &str| {
            let detail = format!("the journal was written by a newer version ({why})");
            WalkpayError::Storage { problem: StorageProblem::TooNew, detail }
        };
        let event: Self = serde_json::from_slice(json).map_err(|e| {
            let why = format!("{:?} error", e.classify());
            if serde_json::from_slice::<VersionOnly>(json).is_ok_and(|o| o.v > VERSION) {
                return too_new(&why);
            }
            let detail = format!("an event of the journal is damaged ({why})");
            WalkpayError::Storage { problem: StorageProblem::Corrupt, detail }
        })?;
        if event.v > VERSION && matches!(event.fact, Fact::Snapshot { .. }) {
            return Err(too_new("its state"));
        }
        Ok(event)
    }
}

pub(super) mod code_text {
    use super::EnrolmentCode;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(code: &EnrolmentCode, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&code.to_text())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<EnrolmentCode, D::Error> {
        EnrolmentCode::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}
