//! The folded state of an installation and its devices.

use super::clock::Clock;
use super::enrolment::{Enrolled, Enrolment, EnrolmentStage};
use super::host::{HostEvent, HostEventKind, HostQueue};
use super::input::Now;
use super::journal::{Fact, JournalEvent};
use super::outbox::{OutboxBody, OutboxEntry, OutboxItem, OutboxKind, OutboxTotals, Prepared, PreparedWhat, Retry};
use super::trip::{AttemptFacts, HoldFacts, Trip, TripState};
use crate::error::WalkpayError;
use crate::id::*;
use crate::protocol::crypto::{PublicKey, digest};
use crate::protocol::document::{BankBinding, KeySet, StoreInfo};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that an installation knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Session {
    pub(super) devices: BTreeMap<DeviceId, Device>,
    pub(super) signed_in: Option<DeviceId>,
    pub(super) enrolment: Option<Enrolment>,
    /// Events folded since the last snapshot.
    #[serde(skip)]
    pub(super) since_snapshot: u64,
}

/// What a device is to its merchant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
pub enum DeviceStatus {
    /// The user has not confirmed it yet.
    Pending,
    /// In use.
    Active,
    /// Its folder seems to have been copied: nothing is sent any more.
    Frozen,
    /// Nothing is sent any more.
    Revoked,
}

/// Keys that are to take the place of the present ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rotation {
    /// Signs HTTP requests; while the new one is in use already, this is the old one.
    pub request_key: PublicKey,
    /// Signs documents.
    pub consent_key: PublicKey,
}

/// One user on one installation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// The device.
    pub id: DeviceId,
    /// Its merchant.
    pub merchant_id: MerchantId,
    /// That merchant's name.
    pub merchant_name: String,
    /// Where the merchant is.
    pub url: String,
    /// Signs the merchant's key sets.
    pub root_key: PublicKey,
    /// The user.
    pub sub: Sub,
    /// The name that the user signs in with.
    pub user_name: UserName,
    /// Where the user can shop.
    pub stores: Vec<StoreInfo>,
    /// The bound bank account, if there is one.
    pub bank: Option<BankBinding>,
    /// What it is to the merchant.
    pub status: DeviceStatus,
    /// Signs HTTP requests.
    pub request_key: PublicKey,
    /// Signs documents.
    pub consent_key: PublicKey,
    /// The request key before the last rotation: passes may still be bound to it.
    pub former_request_key: Option<PublicKey>,
    /// A rotation that is under way.
    pub rotation: Option<Rotation>,
    /// Whether requests are signed with its key already, since the merchant does not know the old one any more.
    pub(super) rotated_request: bool,
    /// The merchant's keys.
    pub key_set: KeySet,
    /// What merchant time is.
    pub clock: Option<Clock>,
    /// The last `seq` of the event log that was taken.
    pub cursor: u64,
    /// The newest catalogue revision that was told, by store.
    pub published: BTreeMap<StoreId, u64>,
    pub(super) last_seq: u64,
    pub(super) trips: BTreeMap<TripId, Trip>,
    pub(super) prepared: Vec<Prepared>,
    pub(super) outbox: Vec<OutboxEntry>,
    pub(super) host: HostQueue,
    pub(super) poll: Retry,
    pub(super) keys: KeysWanted,
    /// What was said about the log already: the missing `seq` and the check.
    pub(super) distrusted: Option<(u64, String)>,
}

/// Whether a newer key set is needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeysWanted {
    pub(super) wanted: bool,
    /// The cursor at which it was asked for last: not twice at the same place.
    pub(super) asked_at: Option<u64>,
    pub(super) retry: Retry,
}

impl Session {
    /// Folds an event. Never fails; events about things that are not there change nothing.
    pub fn apply(&mut self, event: &JournalEvent) {
        self.since_snapshot = self.since_snapshot.saturating_add(1);
        match &event.fact {
            Fact::EnrolmentBegun { code, label } => {
                self.enrolment = Some(Enrolment::new(code.clone(), label.clone(), event.at));
            }
            Fact::EnrolmentAdvanced { stage } => {
                if let Some(enrolment) = &mut self.enrolment {
                    enrolment.stage = (**stage).clone();
                    enrolment.retry = Retry::fresh(event.at);
                }
            }
            Fact::EnrolmentTryFailed { retry } => {
                if let Some(enrolment) = &mut self.enrolment {
                    enrolment.retry = retry.clone();
                }
            }
            Fact::EnrolmentEnded { .. } => self.enrolment = None,
            Fact::Enrolled(enrolled) => {
                self.enrolment = None;
                self.devices.insert(enrolled.grant.device_id, Device::new(enrolled, event.at));
            }
            Fact::SignedIn => self.signed_in = event.device,
            Fact::SignedOut => self.signed_in = None,
            Fact::Snapshot { state } => {
                *self = (**state).clone();
                self.since_snapshot = 0;
            }
            _ => {
                if let Some(device) = event.device.and_then(|id| self.devices.get_mut(&id)) {
                    device.apply(&event.fact, event.at);
                }
            }
        }
    }

    /// The device of the user who is signed in.
    ///
    /// # Errors
    /// [`WalkpayError::NotSignedIn`].
    pub fn current(&self) -> Result<&Device, WalkpayError> {
        self.signed_in.and_then(|id| self.devices.get(&id)).ok_or(WalkpayError::NotSignedIn)
    }

    /// All devices of this installation.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    /// One device.
    pub fn device(&self, id: DeviceId) -> Option<&Device> {
        self.devices.get(&id)
    }

    /// The enrolment that is under way.
    pub fn enrolment(&self) -> Option<&Enrolment> {
        self.enrolment.as_ref()
    }

    /// How many events have been folded since the last snapshot.
    pub fn since_snapshot(&self) -> u64 {
        self.since_snapshot
    }
}

impl Device {
    fn new(enrolled: &Enrolled, at: Timestamp) -> Self {
        let grant = &enrolled.grant;
        Self {
            id: grant.device_id,
            merchant_id: grant.merchant_id.clone(),
            merchant_name: grant.merchant_name.clone(),
            url: enrolled.url.clone(),
            root_key: enrolled.root_key.clone(),
            sub: grant.sub.clone(),
            user_name: grant.user_name.clone(),
            stores: grant.stores.clone(),
            bank: grant.bank.clone(),
            status: if grant.active { DeviceStatus::Active } else { DeviceStatus::Pending },
            request_key: enrolled.request_key.clone(),
            consent_key: enrolled.consent_key.clone(),
            former_request_key: None,
            rotation: None,
            rotated_request: false,
            key_set: enrolled.key_set.clone(),
            clock: Some(enrolled.clock),
            cursor: 0,
            published: BTreeMap::new(),
            last_seq: 0,
            trips: BTreeMap::new(),
            prepared: Vec::new(),
            outbox: Vec::new(),
            host: HostQueue::default(),
            poll: Retry::fresh(at),
            keys: KeysWanted { wanted: false, asked_at: None, retry: Retry::fresh(at) },
            distrusted: None,
        }
    }

    /// A visit.
    ///
    /// # Errors
    /// [`WalkpayError::Unknown`].
    pub fn trip(&self, id: TripId) -> Result<&Trip, WalkpayError> {
        self.trips.get(&id).ok_or_else(|| WalkpayError::Unknown { what: "trip".into(), id: id.to_string() })
    }

    /// All visits that are kept, oldest first.
    pub fn trips(&self) -> impl Iterator<Item = &Trip> {
        self.trips.values()
    }

    /// A visit as a host reads it; errors as [`Device::trip`].
    pub fn trip_state(&self, id: TripId) -> Result<TripState, WalkpayError> {
        Ok(self.trip(id)?.state(self.prepared(id, OutboxKind::Attempt).is_some()))
    }

    /// The outbox, in the order of sending.
    pub fn outbox(&self) -> Vec<OutboxItem> {
        self.outbox.iter().map(OutboxEntry::item).collect()
    }

    /// The sums of the outbox.
    pub fn outbox_totals(&self) -> OutboxTotals {
        OutboxTotals::of(&self.outbox)
    }

    /// The first event above `number` that has not been acknowledged.
    pub fn next_event(&self, number: u64) -> Option<&HostEvent> {
        self.host.after(number)
    }

    /// The number that everything up to was acknowledged.
    pub fn acked(&self) -> u64 {
        self.host.acked
    }

    /// What merchant time is, as far as it is known here. Validity is for the merchant to judge.
    pub fn merchant_time(&self, now: &Now) -> Timestamp {
        self.clock.map_or(now.wall, |clock| clock.estimate(now))
    }

    /// A store.
    ///
    /// # Errors
    /// [`WalkpayError::Unknown`].
    pub fn store(&self, id: &StoreId) -> Result<&StoreInfo, WalkpayError> {
        let unknown = || WalkpayError::Unknown { what: "store".into(), id: id.to_string() };
        self.stores.iter().find(|s| s.store_id == *id).ok_or_else(unknown)
    }

    /// Whether anything may be sent.
    pub fn may_send(&self) -> bool {
        matches!(self.status, DeviceStatus::Pending | DeviceStatus::Active)
    }

    /// Why polling or fetching keys is failing at present.
    pub fn trouble(&self) -> Option<&str> {
        self.poll.last_reason.as_deref().or(self.keys.retry.last_reason.as_deref())
    }

    pub(super) fn prepared(&self, trip: TripId, kind: OutboxKind) -> Option<&Prepared> {
        self.prepared.iter().find(|p| p.trip_id == Some(trip) && p.what.kind() == kind)
    }

    /// The keys of a rotation that is prepared and has not been signed yet.
    pub fn prepared_rotation_keys(&self) -> Option<Rotation> {
        self.prepared_rotation().and_then(|p| match &p.what {
            PreparedWhat::Rotation { request_key, consent_key, .. } => {
                Some(Rotation { request_key: request_key.clone(), consent_key: consent_key.clone() })
            }
            _ => None,
        })
    }

    pub(super) fn prepared_rotation(&self) -> Option<&Prepared> {
        self.prepared.iter().find(|p| p.what.kind() == OutboxKind::Rotation)
    }

    pub(super) fn entry(&self, seq: u64) -> Option<&OutboxEntry> {
        self.outbox.iter().find(|e| e.seq == seq)
    }

    fn apply(&mut self, fact: &Fact, at: Timestamp) {
        match fact {
            Fact::TripStarted { trip_id, store_id, currency, policy } => {
                let trip = Trip::new(*trip_id, store_id.clone(), *currency, *policy, at);
                self.trips.insert(*trip_id, trip);
            }
            Fact::Basket { trip_id, events } => {
                if let Some(trip) = self.trips.get_mut(trip_id) {
                    events.iter().for_each(|event| trip.basket.apply(event));
                    trip.touched_at = at;
                    if trip.review.take().is_some() {
                        self.unprepare(*trip_id, OutboxKind::Attempt);
                    }
                }
            }
            Fact::Reviewed { trip_id, frozen } => {
                self.unprepare(*trip_id, OutboxKind::Attempt);
                self.on_trip(*trip_id, at, |trip| trip.review = Some(frozen.clone()));
            }
            Fact::Prepared(prepared) => {
                self.last_seq = self.last_seq.max(prepared.seq);
                let kind = prepared.what.kind();
                self.prepared.retain(|p| p.trip_id != prepared.trip_id || p.what.kind() != kind);
                self.prepared.push(prepared.clone());
            }
            Fact::Signed { seq, body } => self.signed(*seq, body, at),
            Fact::Recorded { seq, recorded_at } => self.recorded(*seq, *recorded_at, at),
            Fact::Refused { seq, refusal } => {
                let Some(entry) = self.take(*seq) else { return };
                match (entry.trip_id, entry.body.kind()) {
                    (Some(trip_id), kind) => self.on_trip(trip_id, at, |trip| match kind {
                        OutboxKind::Cancellation => trip.cancel_requested = None,
                        _ => {
                            let holds = trip.holds.iter_mut().filter(|h| h.seq == *seq);
                            holds.for_each(|h| h.refused = Some(refusal.clone()));
                            let attempts = trip.attempts.iter_mut().filter(|a| a.seq == *seq);
                            attempts.for_each(|a| a.refused = Some(refusal.clone()));
                            if refusal.problem == "trip_cancelled" {
                                trip.cancel(at, true);
                            }
                        }
                    }),
                    (None, _) => {
                        self.rotation = None;
                        self.rotated_request = false;
                    }
                }
            }
            Fact::Withdrawn { seq } => {
                if let Some(trip_id) = self.take(*seq).and_then(|entry| entry.trip_id) {
                    self.on_trip(trip_id, at, |trip| {
                        trip.attempts.iter_mut().filter(|a| a.seq == *seq).for_each(|a| a.withdrawn = true);
                        let released = Some(crate::protocol::document::HoldStatus::Released);
                        let unsent = trip.holds.iter_mut().filter(|h| h.seq == *seq && h.status.is_none());
                        unsent.for_each(|h| h.status = released);
                    });
                }
            }
            Fact::TryFailed { seq, retry } => {
                if let Some(entry) = self.outbox.iter_mut().find(|e| e.seq == *seq) {
                    entry.retry = retry.clone();
                }
            }
            Fact::TripCancelled { trip_id } => {
                self.on_trip(*trip_id, at, |trip| trip.cancel(at, false));
                self.prepared.retain(|p| p.trip_id != Some(*trip_id));
            }
            Fact::EventTaken { seq, number, told } => {
                self.cursor = self.cursor.max(*seq);
                self.distrusted = None;
                if let (Some(number), Some(told)) = (number, told) {
                    self.learn(told, at);
                    self.tell(*number, told, at);
                }
            }
            Fact::Told { number, told } => self.tell(*number, told, at),
            Fact::EventDistrusted { missing, check } => self.distrusted = Some((*missing, check.clone())),
            Fact::Acked { up_to } => self.host.ack(*up_to),
            Fact::PollFailed { retry } => self.poll = retry.clone(),
            Fact::PollWorks => self.poll = Retry::fresh(at),
            Fact::KeysWanted { cursor } => {
                self.keys.wanted = true;
                self.keys.asked_at = Some(*cursor);
            }
            Fact::KeysTaken { key_set } => {
                if key_set.seq > self.key_set.seq {
                    self.key_set = key_set.clone();
                }
                self.keys_asked(at);
            }
            Fact::KeysCurrent => self.keys_asked(at),
            Fact::KeysFailed { retry } => self.keys.retry = retry.clone(),
            Fact::ClockLearned { clock } => self.clock = Some(*clock),
            Fact::Status { status } => self.set_status(*status, at),
            Fact::RequestKey { kid } => self.switch_request_key(kid),
            Fact::Forwarded => self.forward(at),
            Fact::Pruned { trips } => {
                self.trips.retain(|id, _| !trips.contains(id));
                self.prepared.retain(|p| p.trip_id.is_none_or(|id| !trips.contains(&id)));
            }
            // Facts of the installation are folded by the session.
            Fact::EnrolmentBegun { .. }
            | Fact::EnrolmentAdvanced { .. }
            | Fact::EnrolmentTryFailed { .. }
            | Fact::EnrolmentEnded { .. }
            | Fact::Enrolled(_)
            | Fact::SignedIn
            | Fact::SignedOut
            | Fact::Snapshot { .. } => {}
        }
    }

    fn signed(&mut self, seq: u64, body: &OutboxBody, at: Timestamp) {
        let Some(at_index) = self.prepared.iter().position(|p| p.seq == seq) else { return };
        let prepared = self.prepared.remove(at_index);
        if let Some(trip) = prepared.trip_id.and_then(|id| self.trips.get_mut(&id)) {
            trip.touched_at = at;
            match (&prepared.what, body) {
                (PreparedWhat::Hold { hold_id, number, amount, .. }, _) => trip.holds.push(HoldFacts {
                    hold_id: *hold_id,
                    number: *number,
                    seq,
                    amount: *amount,
                    on_device: at,
                    submitted: None,
                    refused: None,
                    accepted: None,
                    placed: None,
                    status: None,
                    reason: None,
                    expires_at: None,
                }),
                (PreparedWhat::Attempt { attempt, .. }, OutboxBody::Attempt { total, jws, .. }) => {
                    let item_count = trip.review.take().map_or(0, |r| r.item_count);
                    trip.attempts.push(AttemptFacts {
                        attempt: *attempt,
                        seq,
                        total: *total,
                        item_count,
                        basket_sha256: digest(jws.as_bytes()),
                        on_device: at,
                        submitted: None,
                        refused: None,
                        withdrawn: false,
                        validation: None,
                    });
                }
                (PreparedWhat::Cancellation, _) => trip.cancel_requested = Some(at),
                _ => {}
            }
        }
        if let PreparedWhat::Rotation { request_key, consent_key, .. } = prepared.what {
            self.rotation = Some(Rotation { request_key, consent_key });
        }
        let entry =
            OutboxEntry { seq, trip_id: prepared.trip_id, created_at: at, body: body.clone(), retry: Retry::fresh(at) };
        self.outbox.push(entry);
    }

    fn recorded(&mut self, seq: u64, recorded_at: Timestamp, at: Timestamp) {
        let Some(entry) = self.take(seq) else { return };
        if let Some(trip_id) = entry.trip_id {
            self.on_trip(trip_id, at, |trip| {
                let holds = trip.holds.iter_mut().filter(|h| h.seq == seq);
                holds.for_each(|h| h.submitted = Some(recorded_at));
                let attempts = trip.attempts.iter_mut().filter(|a| a.seq == seq);
                attempts.for_each(|a| a.submitted = Some(recorded_at));
            });
        }
        if let OutboxBody::Rotation { .. } = entry.body {
            self.rotated();
            self.forward(at);
        }
    }

    fn learn(&mut self, told: &HostEventKind, at: Timestamp) {
        if let Some(trip_id) = told.trip_id() {
            self.on_trip(trip_id, at, |trip| match told {
                HostEventKind::Hold { result } => trip.learn_hold(result),
                HostEventKind::Validation { result } => trip.learn_verdict(result, at),
                HostEventKind::Debit { result } => trip.debit = Some(result.clone()),
                HostEventKind::TripCancelled { .. } => trip.cancel(at, true),
                _ => {}
            });
            if self.trips.get(&trip_id).is_some_and(Trip::is_closed) {
                self.prepared.retain(|p| p.trip_id != Some(trip_id));
            }
        }
        match told {
            HostEventKind::DeviceConfirmed => self.set_status(DeviceStatus::Active, at),
            HostEventKind::DeviceFrozen => self.set_status(DeviceStatus::Frozen, at),
            HostEventKind::DeviceRevoked => self.set_status(DeviceStatus::Revoked, at),
            HostEventKind::KeysRotated { consent_kid, .. }
                if self.rotation.as_ref().is_some_and(|r| r.consent_key.key_id() == *consent_kid) =>
            {
                self.rotated();
            }
            HostEventKind::CataloguePublished { store_id, revision } => {
                let known = self.published.entry(store_id.clone()).or_default();
                *known = (*known).max(*revision);
            }
            _ => {}
        }
    }

    fn tell(&mut self, number: u64, told: &HostEventKind, at: Timestamp) {
        self.host.push(number, at, told.clone());
        if let Some(trip) = told.trip_id().and_then(|id| self.trips.get_mut(&id)) {
            trip.last_told = number;
        }
    }

    /// The merchant has both new keys in force.
    fn rotated(&mut self) {
        let Some(rotation) = self.rotation.take() else { return };
        if !std::mem::take(&mut self.rotated_request) {
            self.former_request_key = Some(std::mem::replace(&mut self.request_key, rotation.request_key));
        }
        self.consent_key = rotation.consent_key;
        self.outbox.retain(|e| e.body.kind() != OutboxKind::Rotation);
        // What waits for the old key's signature must be prepared anew.
        self.prepared.clear();
    }

    /// Whether the merchant has the new request key yet is not known: the other one is tried.
    fn switch_request_key(&mut self, kid: &KeyId) {
        let Some(rotation) = &mut self.rotation else { return };
        if rotation.request_key.key_id() == *kid {
            std::mem::swap(&mut self.request_key, &mut rotation.request_key);
            self.rotated_request = !self.rotated_request;
            self.former_request_key = self.rotated_request.then(|| rotation.request_key.clone());
        }
    }

    fn set_status(&mut self, status: DeviceStatus, at: Timestamp) {
        let confirmed = self.status == DeviceStatus::Pending && status == DeviceStatus::Active;
        self.status = if self.status == DeviceStatus::Revoked { DeviceStatus::Revoked } else { status };
        if confirmed {
            self.forward(at);
        }
    }

    fn forward(&mut self, at: Timestamp) {
        let now = |retry: &mut Retry| {
            retry.not_before = at;
            retry.delay_ms = 0;
        };
        self.outbox.iter_mut().for_each(|e| now(&mut e.retry));
        now(&mut self.poll);
        now(&mut self.keys.retry);
    }

    fn keys_asked(&mut self, at: Timestamp) {
        self.keys.wanted = false;
        self.keys.retry = Retry::fresh(at);
        self.poll = Retry::fresh(at);
    }

    fn take(&mut self, seq: u64) -> Option<OutboxEntry> {
        let at = self.outbox.iter().position(|e| e.seq == seq)?;
        Some(self.outbox.remove(at))
    }

    fn unprepare(&mut self, trip_id: TripId, kind: OutboxKind) {
        self.prepared.retain(|p| p.trip_id != Some(trip_id) || p.what.kind() != kind);
    }

    fn on_trip(&mut self, id: TripId, at: Timestamp, change: impl FnOnce(&mut Trip)) {
        if let Some(trip) = self.trips.get_mut(&id) {
            trip.touched_at = at;
            change(trip);
        }
    }
}

impl Enrolment {
    fn new(code: crate::protocol::enrolment_code::EnrolmentCode, label: String, at: Timestamp) -> Self {
        Self { code, label, stage: EnrolmentStage::Asking, retry: Retry::fresh(at) }
    }
}
