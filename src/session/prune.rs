//! What need not be kept any more.

use super::draft::Draft;
use super::input::{Decision, Now, Reply};
use super::journal::{Fact, JournalEvent, VERSION};
use super::slip::Slip;
use super::state::{Device, Session};
use super::trip::Trip;
use crate::id::{SlipId, TripId};
use crate::protocol::document::DebitStatus;
use std::time::Duration;

/// After so many events it is worth rewriting the journal.
const COMPACT_AFTER: u64 = 5_000;
/// A finished visit is kept for late news: holds that end, an unpaid order that is settled.
const KEEP_WITH_OPEN_ENDS: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Visits of which everything is known, sent, and acknowledged by the host.
pub fn prunable(device: &Device, now: &Now) -> Vec<TripId> {
    let done = |t: &&Trip| {
        let told = t.last_told <= device.host.acked;
        let sent = !device.outbox.iter().any(|e| e.trip_id == Some(t.id));
        let open_ends =
            t.holds.iter().any(|h| h.counts()) || t.debit.as_ref().is_some_and(|d| d.status == DebitStatus::Unpaid);
        let late = now.wall.since(t.touched_at) >= KEEP_WITH_OPEN_ENDS;
        t.is_finished() && told && sent && (!open_ends || late)
    };
    device.trips().filter(done).map(|t| t.id).collect()
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
