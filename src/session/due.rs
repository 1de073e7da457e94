//! What must be on the wire now: a function of the folded state, so that no crash can lose it.

use super::enrolment::{EnrolmentStage, waits_until};
use super::host::MAX_HOST_EVENTS;
use super::input::Now;
use super::outbox::{OutboxEntry, Retry};
use super::state::{Device, Session};
use crate::id::*;
use crate::protocol::message::MAX_EVENTS_PER_PAGE;
use crate::protocol::request::TerminalRequest;
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// How long a poll waits at the merchant.
const POLL_SECONDS: u64 = 25;
/// How long any other request may take.
const TIMEOUT_SECONDS: u64 = 30;
/// The most documents of a device on the wire at once.
const MAX_ON_THE_WIRE: usize = 8;

/// Names a request that is due: the same one is never on the wire twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DueId {
    /// The first request of the enrolment under way.
    StartEnrolment,
    /// The second one.
    Enrol,
    /// A document of the outbox.
    Item {
        /// The device.
        device: DeviceId,
        /// Its `device_seq`.
        seq: u64,
    },
    /// The event log.
    Poll {
        /// The device.
        device: DeviceId,
    },
    /// The key set.
    Keys {
        /// The device.
        device: DeviceId,
    },
}

/// A request that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// Which.
    pub id: DueId,
    /// Where the merchant is.
    pub url: String,
    /// The merchant: part of the signature's tag.
    pub merchant_id: MerchantId,
    /// The device whose request key signs it; none for an enrolment.
    pub device: Option<DeviceId>,
    /// That key, where the request is signed.
    pub sign_with: Option<KeyId>,
    /// Merchant time, for the signature's `created`.
    pub created: Timestamp,
    /// The call.
    pub request: TerminalRequest,
    /// When to give up waiting for an answer.
    pub timeout_seconds: u64,
}

/// All requests that are due and not in flight.
pub fn due(session: &Session, now: &Now, in_flight: &BTreeSet<DueId>) -> Vec<Due> {
    let mut all = Vec::new();
    all.extend(enrolment(session, now).filter(|d| !in_flight.contains(&d.id)));
    for device in session.devices().filter(|d| d.may_send()) {
        let make = |id, request, timeout_seconds| Due {
            id,
            url: device.url.clone(),
            merchant_id: device.merchant_id.clone(),
            device: Some(device.id),
            sign_with: Some(device.request_key.key_id()),
            created: device.merchant_time(now),
            request,
            timeout_seconds,
        };
        let (poll, keys) = (DueId::Poll { device: device.id }, DueId::Keys { device: device.id });
        if device.keys.wanted && device.keys.retry.is_due(now.wall) && !in_flight.contains(&keys) {
            all.push(make(keys, TerminalRequest::Keys, TIMEOUT_SECONDS));
        }
        if may_poll(device) && device.poll.is_due(now.wall) && !in_flight.contains(&poll) {
            // The first poll after a start only asks for the time and what is there already.
            let wait = if device.clock.is_some_and(|c| c.boot == now.boot) { POLL_SECONDS } else { 0 };
            let request = TerminalRequest::Events { after: device.cursor, wait };
            all.push(make(poll, request, wait.saturating_add(TIMEOUT_SECONDS)));
        }
        let flying =
            in_flight.iter().filter(|id| matches!(id, DueId::Item { device: d, .. } if *d == device.id)).count();
        let mut room = MAX_ON_THE_WIRE.saturating_sub(flying);
        for entry in heads(device).chain(device.unproven()) {
            let id = DueId::Item { device: device.id, seq: entry.seq };
            if room == 0 {
                break;
            }
            if in_flight.contains(&id) || !entry.retry.is_due(now.wall) {
                continue;
            }
            if let Some(request) = entry.request(device) {
                all.push(make(id, request, TIMEOUT_SECONDS));
                room -= 1;
            }
        }
    }
    all
}

/// When something becomes due that is only waiting for its time, by the device's wall clock.
pub fn next_wakeup(session: &Session, now: &Now, in_flight: &BTreeSet<DueId>) -> Option<Timestamp> {
    let waits =
        |id: DueId, retry: &Retry| (!in_flight.contains(&id) && !retry.is_due(now.wall)).then_some(retry.not_before);
    let mut earliest = session.enrolment().and_then(waits_until).filter(|at| *at > now.wall);
    for device in session.devices().filter(|d| d.may_send()) {
        let poll = may_poll(device).then(|| waits(DueId::Poll { device: device.id }, &device.poll)).flatten();
        let keys = device.keys.wanted.then(|| waits(DueId::Keys { device: device.id }, &device.keys.retry)).flatten();
        let items = heads(device)
            .chain(device.unproven())
            .filter_map(|e| waits(DueId::Item { device: device.id, seq: e.seq }, &e.retry));
        earliest = items.chain(poll).chain(keys).chain(earliest).min();
    }
    earliest
}

fn enrolment(session: &Session, now: &Now) -> impl Iterator<Item = Due> {
    let under_way = session.enrolment().filter(|e| e.retry.is_due(now.wall));
    let created = now.wall;
    under_way
        .and_then(|e| {
            let (id, request) = match &e.stage {
                EnrolmentStage::Asking => (DueId::StartEnrolment, TerminalRequest::StartEnrolment),
                EnrolmentStage::Sending { device_id, body, .. } => {
                    (DueId::Enrol, TerminalRequest::Enrol { device_id: *device_id, body: body.clone() })
                }
                EnrolmentStage::Offered(_) | EnrolmentStage::Proving { .. } => return None,
            };
            Some(Due {
                id,
                url: e.code.url.clone(),
                merchant_id: e.code.merchant_id.clone(),
                device: None,
                sign_with: None,
                created,
                request,
                timeout_seconds: TIMEOUT_SECONDS,
            })
        })
        .into_iter()
}

/// Not while newer keys are needed to read the log, and not while the host has too much to read.
fn may_poll(device: &Device) -> bool {
    !device.keys.wanted && device.host.events.len() + 2 * MAX_EVENTS_PER_PAGE <= MAX_HOST_EVENTS
}

/// The next document of each visit and of each slip. Within one they leave in the order of their numbers, each after the answer to
/// the one before; what takes the others back passes them.
fn heads(device: &Device) -> impl Iterator<Item = &OutboxEntry> {
    let mut heads: BTreeMap<(Option<TripId>, Option<SlipId>), &OutboxEntry> = BTreeMap::new();
    for entry in &device.outbox {
        let head = heads.entry((entry.trip_id, entry.slip_id)).or_insert(entry);
        if entry.passes(device) {
            *head = entry;
        }
    }
    let mut heads: Vec<_> = heads.into_values().collect();
    heads.sort_by_key(|e| e.seq);
    heads.into_iter()
}
