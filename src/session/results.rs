//! The merchant's event log: verified here, entry by entry, before anything of it has an effect.
//!
//! Order of checks: the entry's JWS by a key for results that was valid when it was issued; `iss`, `aud`, `sub`; `seq` (known ones are
//! passed over, a gap stops the page); then, where the entry carries a document, that document's JWS and what it must be bound to.
//! An entry that does not verify has no number that could be trusted: the log stops there, nothing else does, and the host is told once.
//! It stops also at a document whose key is not known or not in force; a document that is wrong otherwise is passed over, and told.

use super::clock::Clock;
use super::draft::Draft;
use super::host::HostEventKind;
use super::input::HttpAnswer;
use super::journal::Fact;
use super::outbox::Retry;
use super::paying::is_short;
use super::slip::Slip;
use super::state::Device;
use super::trip::Trip;
use crate::error::WalkpayError;
use crate::id::*;
use crate::protocol::document::{
    ClockStatement, DebitResult, EventBody, EventDocument, ExitPass, HoldResult, KeyUse, Validation, Verdict,
};
use crate::protocol::jws::Signed;
use crate::protocol::key_set::verify_by;
use crate::protocol::message::{EventsPage, MAX_EVENTS_PER_PAGE};
use crate::protocol::order::{OrderNotice, SlipResult};

/// An empty answer that comes sooner than this although it was to wait is not asked for again at once.
const TOO_SOON_MS: u64 = 500;

pub(super) fn on_page(draft: &mut Draft<'_>, body: &[u8], answer: &HttpAnswer) {
    let device = draft.device;
    let Ok(page) = serde_json::from_slice::<EventsPage>(body) else {
        return poll_failed(draft, "an answer that is not the documented one");
    };
    let first_poll = device.clock.is_none_or(|c| c.boot != draft.now.boot);
    let clock = on_clock(draft, &page.clock, answer);
    let mut cursor = device.cursor;
    for jws in page.events.iter().take(MAX_EVENTS_PER_PAGE) {
        match on_entry(draft, jws, cursor) {
            Ok(seq) => cursor = seq.unwrap_or(cursor),
            Err(error) => return on_broken(draft, &error, cursor),
        }
    }
    if let Err(error) = clock {
        return on_broken(draft, &error, cursor);
    }
    let idle = cursor == device.cursor && !first_poll;
    if idle && answer.elapsed_ms < TOO_SOON_MS {
        poll_failed(draft, "the merchant does not wait for events");
    } else if device.poll.attempts > 0 {
        draft.push(Fact::PollWorks);
    }
}

fn poll_failed(draft: &mut Draft<'_>, reason: &str) {
    let retry = draft.device.poll.failed(reason, None, draft.now);
    draft.push(Fact::PollFailed { retry });
}

/// The log cannot be read on. If the reason may be that the keys here are old, new ones are asked for first, once per place
/// and then now and again.
fn on_broken(draft: &mut Draft<'_>, error: &WalkpayError, cursor: u64) {
    let check = check_of(error);
    let ask_again = draft.device.poll.attempts % 8 == 7;
    if error.is_key_trouble() && (draft.device.keys.asked_at != Some(cursor) || ask_again) {
        draft.push(Fact::KeysWanted { cursor });
        return;
    }
    let missing = cursor.saturating_add(1);
    let said = (missing, check.clone());
    if draft.device.distrusted.as_ref() != Some(&said) {
        tell_distrust(draft, error);
        draft.push(Fact::EventDistrusted { missing, check });
    }
    let known: Retry = draft.device.poll.clone();
    let retry = known.failed(&error.code(), None, draft.now);
    draft.push(Fact::PollFailed { retry });
}

/// Takes one entry; the new cursor, or none for one that is known already.
fn on_entry(draft: &mut Draft<'_>, jws: &str, cursor: u64) -> Result<Option<u64>, WalkpayError> {
    let device = draft.device;
    let event = verify_by(jws, &device.key_set, KeyUse::Results, |e: &EventDocument| e.issued_at)?;
    let entry = &event.document;
    let ours = entry.iss == device.merchant_id && entry.aud == device.id && entry.sub == device.sub;
    if !ours {
        return Err(WalkpayError::untrusted("event", "binding", "an event of this merchant for this device and user"));
    }
    if entry.seq <= cursor {
        return Ok(None);
    }
    if entry.seq != cursor.saturating_add(1) {
        let detail = format!("event {} to follow event {cursor}, not event {}", cursor.saturating_add(1), entry.seq);
        return Err(WalkpayError::untrusted("event", "gap", detail));
    }
    let mut wanted = None;
    let told = match read(device, &event) {
        Ok(Read::Tell(kind)) => Some(*kind),
        Ok(Read::Known) => None,
        Ok(Read::KeySet(seq)) => {
            wanted = (seq > device.key_set.seq).then_some(Fact::KeysWanted { cursor: entry.seq });
            None
        }
        Err(error) if error.is_key_trouble() && device.keys.asked_at != Some(cursor) => return Err(error),
        // An acceptance that newer keys will show to be one must not be lost: the log stops here until then.
        Err(error) if newer_keys_may_mend(&error) => return Err(error),
        Err(error) => Some(distrust(&error)),
    };
    let number = told.is_some().then(|| draft.next_number());
    draft.push(Fact::EventTaken { seq: entry.seq, number, told });
    if let Some(fact) = wanted {
        draft.push(fact);
    }
    Ok(Some(entry.seq))
}

enum Read {
    Tell(Box<HostEventKind>),
    KeySet(u64),
    /// The host has been told already.
    Known,
}

/// What an entry says, its inner document verified and bound.
fn read(device: &Device, event: &Signed<EventDocument>) -> Result<Read, WalkpayError> {
    let entry = &event.document;
    let typed = serde_json::json!({ "kind": entry.kind, "body": entry.body });
    let Ok(body) = serde_json::from_value::<EventBody>(typed) else {
        let typ = entry.kind.chars().take(64).collect();
        return Ok(Read::Tell(Box::new(HostEventKind::Unknown { typ, raw: event.jws().to_owned() })));
    };
    let told = match body {
        EventBody::Hold { document } => HostEventKind::Hold { result: hold(device, &document)? },
        EventBody::Validation { document } => HostEventKind::Validation { result: validation(device, &document)? },
        EventBody::Debit { document } => HostEventKind::Debit { result: debit(device, &document)? },
        EventBody::Order { document } => HostEventKind::Order { notice: notice(device, &document)? },
        EventBody::Slip { document } => HostEventKind::Slip { result: slip(device, &document)? },
        // One that is not kept here any more was over as well.
        EventBody::TripCancelled { trip_id } if !device.trip(trip_id).is_ok_and(|t| t.cancelled.is_none()) => {
            return Ok(Read::Known);
        }
        EventBody::TripCancelled { trip_id } => HostEventKind::TripCancelled { trip_id },
        EventBody::DeviceConfirmed {} => HostEventKind::DeviceConfirmed,
        EventBody::DeviceFrozen {} => HostEventKind::DeviceFrozen,
        EventBody::DeviceRevoked {} => HostEventKind::DeviceRevoked,
        EventBody::KeysRotated { request_kid, consent_kid } => HostEventKind::KeysRotated { request_kid, consent_kid },
        EventBody::CataloguePublished { store_id, revision } => {
            HostEventKind::CataloguePublished { store_id, revision }
        }
        EventBody::KeySetPublished { seq } => return Ok(Read::KeySet(seq)),
    };
    Ok(Read::Tell(Box::new(told)))
}

/// News of an order, for this user.
fn notice(device: &Device, jws: &str) -> Result<OrderNotice, WalkpayError> {
    let notice = verify_by(jws, &device.key_set, KeyUse::Results, |d: &OrderNotice| d.issued_at)?.document;
    of_user(device, &notice.merchant_id, &notice.sub)?;
    Ok(notice)
}

/// News of a slip's payment, for this user.
fn slip(device: &Device, jws: &str) -> Result<SlipResult, WalkpayError> {
    let result = verify_by(jws, &device.key_set, KeyUse::Results, |d: &SlipResult| d.issued_at)?.document;
    of_user(device, &result.merchant_id, &result.sub)?;
    let fits = |s: &Slip| s.fits_payment(&result.payment) && is_short(&result.payment);
    if result.payment.slip_number != result.slip_number || !device.slip_numbered(result.slip_number).is_none_or(fits) {
        let detail = "a payment of this slip, with the amounts that were signed here";
        return Err(WalkpayError::untrusted("slip result", "payment", detail));
    }
    Ok(result)
}

fn of_user(device: &Device, merchant: &MerchantId, sub: &Sub) -> Result<(), WalkpayError> {
    if *merchant == device.merchant_id && *sub == device.sub {
        return Ok(());
    }
    Err(WalkpayError::untrusted("event", "binding", "news of this merchant for this user"))
}

fn hold(device: &Device, jws: &str) -> Result<HoldResult, WalkpayError> {
    let result = verify_by(jws, &device.key_set, KeyUse::Results, |d: &HoldResult| d.issued_at)?.document;
    let trip = bound(device, &result.merchant_id, &result.sub, result.device_id, result.trip_id, &result.store_id)?;
    let known = trip.holds.iter().find(|h| h.hold_id == result.hold_id);
    if known.is_none_or(|h| h.amount != result.amount) {
        return Err(WalkpayError::untrusted("hold result", "hold", "a hold that was asked for here, and its amount"));
    }
    Ok(result)
}

fn validation(device: &Device, jws: &str) -> Result<Validation, WalkpayError> {
    let result = verify_by(jws, &device.key_set, KeyUse::Results, |d: &Validation| d.issued_at)?.document;
    let trip = bound(device, &result.merchant_id, &result.sub, result.device_id, result.trip_id, &result.store_id)?;
    let fail = |check, detail| Err(WalkpayError::untrusted("validation", check, detail));
    let Some(attempt) = trip.attempts.iter().find(|a| a.attempt == result.attempt) else {
        return fail("attempt", "an attempt that was signed here");
    };
    if attempt.basket_sha256 != result.basket_sha256 {
        return fail("basket_sha256", "the digest of the basket that was signed here");
    }
    if attempt.total != result.total {
        return fail("total", "the total that was signed here");
    }
    let shortfall_fits = result.shortfall.is_none_or(|s| s.currency == trip.currency && s.minor > 0);
    if !shortfall_fits || result.repriced_total.is_some_and(|t| t.currency != trip.currency) {
        return fail("currency", "amounts in the store's currency");
    }
    match (&result.exit_pass, result.verdict) {
        (Some(pass), Verdict::Accepted) => exit_pass(device, trip, attempt.item_count, &result, pass)?,
        (None, Verdict::Accepted) => return fail("exit_pass", "an exit pass with an acceptance"),
        (Some(_), _) => return fail("exit_pass", "no exit pass without an acceptance"),
        (None, _) => {}
    }
    Ok(result)
}

fn exit_pass(
    device: &Device,
    trip: &Trip,
    item_count: u32,
    result: &Validation,
    jws: &str,
) -> Result<(), WalkpayError> {
    let pass = verify_by(jws, &device.key_set, KeyUse::Pass, |p: &ExitPass| p.iat)?.document;
    let rotation = device.rotation.as_ref().map(|r| &r.request_key);
    let mut ours = device.former_request_keys().chain(rotation).chain([&device.request_key]);
    let fits = pass.merchant_id == device.merchant_id
        && pass.store_id == trip.store_id
        && pass.trip_id == trip.id
        && pass.amount == result.total
        && pass.item_count == item_count
        && ours.any(|key| key.to_jwk() == pass.cnf.jwk);
    if !fits {
        return Err(WalkpayError::untrusted("exit pass", "binding", "this trip, its total, and a key of this device"));
    }
    Ok(())
}

fn debit(device: &Device, jws: &str) -> Result<DebitResult, WalkpayError> {
    let result = verify_by(jws, &device.key_set, KeyUse::Results, |d: &DebitResult| d.issued_at)?.document;
    let trip = bound(device, &result.merchant_id, &result.sub, result.device_id, result.trip_id, &result.store_id)?;
    let fail = |check, detail| Err(WalkpayError::untrusted("debit result", check, detail));
    let Some(attempt) = trip.attempts.iter().find(|a| a.attempt == result.attempt) else {
        return fail("attempt", "an attempt that was signed here");
    };
    if attempt.total != result.total {
        return fail("total", "the total that was signed here");
    }
    let legs = result.legs.iter().map(|l| l.amount).chain([result.due]);
    if legs.clone().any(|a| a.currency != trip.currency || a.minor < 0 || a.minor > result.total.minor) {
        return fail("legs", "amounts in the store's currency, none above the total");
    }
    Ok(result)
}

/// The visit that a document is about, if it is bound to this merchant, user, device and a visit that is kept here.
fn bound<'a>(
    device: &'a Device,
    merchant: &MerchantId,
    sub: &Sub,
    device_id: DeviceId,
    trip_id: TripId,
    store: &StoreId,
) -> Result<&'a Trip, WalkpayError> {
    let fail = |check, detail| WalkpayError::untrusted("result", check, detail);
    if *merchant != device.merchant_id || *sub != device.sub || device_id != device.id {
        return Err(fail("binding", "a result of this merchant for this device and user"));
    }
    let trip = device.trip(trip_id).map_err(|_| fail("trip", "a trip that is kept here"))?;
    if trip.store_id != *store {
        return Err(fail("store", "the store of the trip"));
    }
    Ok(trip)
}

fn on_clock(draft: &mut Draft<'_>, jws: &str, answer: &HttpAnswer) -> Result<(), WalkpayError> {
    let device = draft.device;
    let statement = verify_by(jws, &device.key_set, KeyUse::Results, |c: &ClockStatement| c.now)?.document;
    let bound = statement.merchant_id == device.merchant_id && statement.device_id == device.id;
    if !bound || statement.nonce != answer.nonce {
        return Err(WalkpayError::untrusted(
            "clock statement",
            "nonce",
            "a statement for this device and this request",
        ));
    }
    let clock = Clock::read(statement.now, true, draft.now);
    if clock.is_news(device.clock.as_ref(), answer.elapsed_ms, draft.now) {
        draft.push(Fact::ClockLearned { clock });
    }
    Ok(())
}

/// A key for something else stays one.
fn newer_keys_may_mend(error: &WalkpayError) -> bool {
    error.is_key_trouble() && check_of(error) != "key_use"
}

fn check_of(error: &WalkpayError) -> String {
    match error {
        WalkpayError::Untrusted { check, .. } => check.clone(),
        other => other.code(),
    }
}

fn distrust(error: &WalkpayError) -> HostEventKind {
    match error {
        WalkpayError::Untrusted { document, check, detail } => {
            HostEventKind::Distrusted { document: document.clone(), check: check.clone(), detail: detail.clone() }
        }
        other => {
            HostEventKind::Distrusted { document: "answer".into(), check: other.code(), detail: other.to_string() }
        }
    }
}

pub(super) fn tell_distrust(draft: &mut Draft<'_>, error: &WalkpayError) {
    draft.tell(distrust(error));
}
