//! How the facts of a device change what is known of it. Folding never fails; facts about things that are not there change
//! nothing.

use super::host::HostEventKind;
use super::journal::Fact;
use super::outbox::{OutboxBody, OutboxEntry, OutboxKind, Prepared, PreparedWhat, Retry};
use super::state::{Device, DeviceStatus, EarlierKey, Rotation};
use super::trip::{AttemptFacts, HoldFacts, Trip};
use crate::id::*;
use crate::protocol::crypto::digest;
use crate::protocol::document::HoldStatus;
use crate::protocol::exit_pass::MAX_LIFETIME;
use crate::time::Timestamp;
use std::time::Duration;

/// How long a signed result is waited for before what was recorded is sent again. A repeat does no harm.
const PROOF_WITHIN: Duration = Duration::from_secs(10 * 60);
/// A request key is kept for so long after its successor was replaced: twice as long as a pass is valid.
const KEY_KEPT: Duration = Duration::from_secs(2 * MAX_LIFETIME.as_secs());

impl Device {
    pub(super) fn apply(&mut self, fact: &Fact, at: Timestamp) {
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
                let same =
                    |p: &Prepared| (p.trip_id, p.slip_id, p.what.kind()) == (prepared.trip_id, prepared.slip_id, kind);
                self.prepared.retain(|p| !same(p));
                self.prepared.push(prepared.clone());
            }
            Fact::Signed { seq, body } => self.signed(*seq, body, at),
            Fact::Recorded { seq, recorded_at, last_seq } => self.recorded(*seq, *recorded_at, *last_seq, at),
            Fact::Refused { seq, refusal } => {
                let Some(entry) = self.take(*seq) else { return };
                if entry.slip_id.is_some() {
                    return self.slip_refused(&entry, refusal, at);
                }
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
                        let refused = self.rotation.take();
                        if let Some(rotation) = refused.filter(|_| std::mem::take(&mut self.rotated_request)) {
                            self.request_key = rotation.request_key;
                        }
                    }
                }
            }
            Fact::Withdrawn { seq } => {
                let Some(entry) = self.take(*seq) else { return };
                if entry.slip_id.is_some() {
                    return self.slip_withdrawn(&entry, at);
                }
                if let Some(trip_id) = entry.trip_id {
                    self.on_trip(trip_id, at, |trip| {
                        trip.attempts.iter_mut().filter(|a| a.seq == *seq).for_each(|a| a.withdrawn = true);
                        let released = Some(HoldStatus::Released);
                        let unsent = trip.holds.iter_mut().filter(|h| h.seq == *seq && h.status.is_none());
                        unsent.for_each(|h| h.status = released);
                    });
                }
            }
            Fact::TryFailed { seq, retry } => {
                if let Some(entry) = self.outbox.iter_mut().chain(&mut self.unproven).find(|e| e.seq == *seq) {
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
            Fact::Pruned { trips, slips } => {
                self.trips.retain(|id, _| !trips.contains(id));
                self.slips.retain(|id, _| !slips.contains(id));
                self.prepared.retain(|p| p.trip_id.is_none_or(|id| !trips.contains(&id)));
                self.prepared.retain(|p| p.slip_id.is_none_or(|id| !slips.contains(&id)));
            }
            Fact::SlipRequested { .. }
            | Fact::SlipSeen { .. }
            | Fact::PaymentSeen { .. }
            | Fact::ClosureRequested { .. } => self.apply_to_slip(fact, at),
            Fact::OrdersSeen { seen, same, gone } => self.orders.list(seen, same, gone, at),
            Fact::OrderSeen { order } => self.orders.view(order, at),
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
        if !self.unproven.is_empty() {
            let unproven = std::mem::take(&mut self.unproven);
            self.unproven = unproven.into_iter().filter(|e| self.is_unproven(e)).collect();
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
        self.payment_signed(&prepared, at);
        if let PreparedWhat::Rotation { request_key, consent_key, .. } = prepared.what {
            self.rotation = Some(Rotation { request_key, consent_key });
        }
        self.outbox.push(OutboxEntry {
            seq,
            trip_id: prepared.trip_id,
            slip_id: prepared.slip_id,
            created_at: at,
            body: body.clone(),
            retry: Retry::fresh(at),
        });
    }

    fn recorded(&mut self, seq: u64, recorded_at: Timestamp, last_seq: u64, at: Timestamp) {
        let Some(entry) = self.take(seq) else { return };
        if let Some(trip_id) = entry.trip_id {
            self.on_trip(trip_id, at, |trip| {
                let holds = trip.holds.iter_mut().filter(|h| h.seq == seq);
                holds.for_each(|h| h.submitted = Some(recorded_at));
                let attempts = trip.attempts.iter_mut().filter(|a| a.seq == seq);
                attempts.for_each(|a| a.submitted = Some(recorded_at));
                if entry.body.kind() == OutboxKind::Cancellation {
                    trip.given_up_after = Some(last_seq);
                }
            });
        }
        if let OutboxBody::Rotation { .. } = entry.body {
            self.rotated(at);
            self.forward(at);
        }
        if self.is_unproven(&entry) {
            self.unproven.push(OutboxEntry { retry: Retry::after(PROOF_WITHIN, at), ..entry });
        }
    }

    /// Whether nothing that the merchant signed shows that it has a hold request or a basket.
    fn is_unproven(&self, entry: &OutboxEntry) -> bool {
        let open = |trip: &&Trip| trip.cancelled.is_none();
        entry.trip_id.and_then(|id| self.trips.get(&id)).filter(open).is_some_and(|trip| {
            let hold = |h: &HoldFacts| h.seq == entry.seq && h.refused.is_none() && h.status.is_none();
            trip.holds.iter().any(hold) || trip.attempts.iter().any(|a| a.seq == entry.seq && a.is_waiting())
        })
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
            HostEventKind::Slip { result } => self.learn_slip(result, at),
            HostEventKind::Order { notice } => self.orders.notice(notice, at),
            HostEventKind::DeviceConfirmed => self.set_status(DeviceStatus::Active, at),
            HostEventKind::DeviceFrozen => self.set_status(DeviceStatus::Frozen, at),
            HostEventKind::DeviceRevoked => self.set_status(DeviceStatus::Revoked, at),
            HostEventKind::KeysRotated { consent_kid, .. }
                if self.rotation.as_ref().is_some_and(|r| r.consent_key.key_id() == *consent_kid) =>
            {
                self.rotated(at);
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
        if let Some(slip) = self.slip_of(told).and_then(|id| self.slips.get_mut(&id)) {
            slip.last_told = number;
        }
    }

    /// The merchant has both new keys in force.
    fn rotated(&mut self, at: Timestamp) {
        let Some(rotation) = self.rotation.take() else { return };
        let old = if std::mem::take(&mut self.rotated_request) {
            rotation.request_key
        } else {
            std::mem::replace(&mut self.request_key, rotation.request_key)
        };
        if let Some(key) = self.former_request_key.replace(old) {
            self.earlier_request_keys.push(EarlierKey { key, at });
        }
        self.earlier_request_keys.retain(|e| at.since(e.at) < KEY_KEPT);
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

    pub(super) fn take(&mut self, seq: u64) -> Option<OutboxEntry> {
        let of = |entries: &mut Vec<OutboxEntry>| {
            let at = entries.iter().position(|e| e.seq == seq)?;
            Some(entries.remove(at))
        };
        of(&mut self.outbox).or_else(|| of(&mut self.unproven))
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
