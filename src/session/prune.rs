//! What need not be kept any more.

use super::draft::Draft;
use super::input::{Decision, Now, Reply};
use super::journal::{Fact, JournalEvent, VERSION};
use super::slip::Slip;
use super::state::{Device, Session};
use super::trip::Trip;
use crate::id::{SlipId, TripId};
use crate::protocol::document::DebitStatus;
use crate::protocol::exit_pass::MAX_LIFETIME;
use std::time::Duration;

/// After so many events it is worth rewriting the journal.
const COMPACT_AFTER: u64 = 5_000;
/// A finished visit is kept for late news: holds that end, an unpaid order that is settled.
const KEEP_WITH_OPEN_ENDS: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// A visit is kept for this much longer than its exit pass can open a gate: no clock is exact.
const PASS_MARGIN: Duration = Duration::from_secs(5 * 60);

/// Visits of which everything is known, sent, and acknowledged by the host, and whose shoppers need no exit pass any more.
pub fn prunable(device: &Device, now: &Now) -> Vec<TripId> {
    let done = |t: &&Trip| {
        let told = t.last_told <= device.host.acked;
        let sent = !device.outbox.iter().any(|e| e.trip_id == Some(t.id));
        let open_ends =
            t.holds.iter().any(|h| h.counts()) || t.debit.as_ref().is_some_and(|d| d.status == DebitStatus::Unpaid);
        let late = now.wall.since(t.touched_at) >= KEEP_WITH_OPEN_ENDS;
        let unheard = t.given_up_after.is_some_and(|seq| device.cursor <= seq);
        t.is_finished() && told && sent && (late || !(open_ends || unheard || may_leave(device, t, now)))
    };
    device.trips().filter(done).map(|t| t.id).collect()
}

/// Whether the visit's exit pass may still open a gate. How late it is only a signed reading since the last start tells.
fn may_leave(device: &Device, trip: &Trip, now: &Now) -> bool {
    let Some(accepted) = trip.accepted().and_then(|a| a.validation.as_ref()) else { return false };
    let clock = device.clock.filter(|c| c.signed && c.boot == now.boot);
    clock.is_none_or(|c| c.estimate(now) < accepted.issued_at.plus(MAX_LIFETIME).plus(PASS_MARGIN))
}

/// Slips that are paid, closed or refused, with nothing left to be sent, and acknowledged by the host.
pub fn prunable_slips(device: &Device) -> Vec<SlipId> {
    let done = |s: &&Slip| {
        let told = s.last_told <= device.host.acked;
        let sent = !device.outbox.iter().any(|e| e.slip_id == Some(s.id));
        s.is_finished() && told && sent
    };
    device.slips().filter(done).map(|s| s.id).collect()
}

/// Forgets what [`prunable`] and [`prunable_slips`] name, on all devices.
pub fn prune(session: &Session, now: &Now) -> Decision {
    let mut all = Decision::nothing(Reply::Done);
    for device in session.devices() {
        let (trips, slips) = (prunable(device, now), prunable_slips(device));
        if !trips.is_empty() || !slips.is_empty() {
            all.events.extend(Draft::one(device, now, Fact::Pruned { trips, slips }, Reply::Done).events);
        }
    }
    all
}

/// The one event that may take the place of the whole journal, when that is worth it. It must replace all earlier ones in
/// one transaction.
pub fn compaction(session: &Session, now: &Now) -> Option<JournalEvent> {
    (session.since_snapshot() >= COMPACT_AFTER).then(|| JournalEvent {
        v: VERSION,
        at: now.wall,
        device: None,
        fact: Fact::Snapshot { state: Box::new(session.clone()) },
    })
}
