//! What the answer to a request means.
//!
//! Only a problem document (RFC 9457) of a type that waiting cannot mend is a refusal. Everything else that is not the documented
//! answer (no answer, a proxy's page, a truncated body) is trouble on the way: the request stays, and is repeated.

use super::clock::Clock;
use super::draft::Draft;
use super::due::DueId;
use super::host::HostEventKind;
use super::input::{Decision, HttpAnswer, HttpOutcome, Now, Reply};
use super::journal::Fact;
use super::outbox::{OutboxEntry, OutboxKind, Refusal, Retry};
use super::state::{Device, Session};
use super::{enrolment, paying, results};
use crate::error::WalkpayError;
use crate::protocol::key_set::read_key_set;
use crate::protocol::message::{KeySetAnswer, MAX_ANSWER_BODY, Recorded};
use crate::protocol::problem::{ProblemCode, read_problem};

pub(super) fn decide(session: &Session, answer: HttpAnswer, now: &Now) -> Result<Decision, WalkpayError> {
    if let HttpOutcome::Answer { body, .. } = &answer.outcome
        && body.len() > MAX_ANSWER_BODY
    {
        return Err(WalkpayError::limit("bytes of an answer", MAX_ANSWER_BODY as u64));
    }
    // What is not waited for any more has no effect.
    let nothing = Decision::nothing(Reply::Done);
    let device = |id| session.device(id).filter(|d| d.may_send());
    Ok(match answer.id {
        DueId::StartEnrolment => session.enrolment().map_or(nothing, |e| enrolment::on_start(e, &answer, now)),
        DueId::Enrol => session.enrolment().map_or(nothing, |e| enrolment::on_grant(e, &answer, now)),
        DueId::Item { device: id, seq } => match device(id).and_then(|d| Some((d, d.entry(seq)?))) {
            Some((device, entry)) => on_item(device, entry, &answer, now),
            None => nothing,
        },
        DueId::Poll { device: id } => device(id).map_or(nothing, |d| on_poll(d, &answer, now)),
        DueId::Keys { device: id } => device(id).map_or(nothing, |d| on_keys(d, &answer, now)),
    })
}

/// What an answer is, whatever was asked.
enum Kind<'a> {
    Body(&'a [u8]),
    /// To be repeated: why, when at the earliest, and whether a new signature is all it takes.
    Trouble {
        reason: String,
        retry_after: Option<u64>,
        sign_again: bool,
    },
    /// The merchant does not know the key that signed the request.
    KeyUnknown,
    Refused(Refusal),
}

fn kind(answer: &HttpAnswer) -> Kind<'_> {
    let (status, retry_after, body) = match &answer.outcome {
        HttpOutcome::Failed { detail } => {
            return Kind::Trouble { reason: detail.clone(), retry_after: None, sign_again: false };
        }
        HttpOutcome::Answer { status, retry_after_seconds, body, .. } => (*status, *retry_after_seconds, body),
    };
    if (200..300).contains(&status) {
        return Kind::Body(body);
    }
    let trouble = |reason: String| Kind::Trouble { reason, retry_after, sign_again: false };
    let Some(refusal) = problem(status, body) else {
        return trouble(format!("HTTP {status} without a problem document"));
    };
    match known(&refusal) {
        // What an answer says of the device is not signed, and would be final: it waits for the event that says so.
        Some(ProblemCode::DevicePending | ProblemCode::DeviceFrozen | ProblemCode::DeviceRevoked) => {
            trouble(refusal.problem)
        }
        Some(ProblemCode::KeyUnknown) => Kind::KeyUnknown,
        Some(ProblemCode::SignatureStale | ProblemCode::NonceReplayed) => {
            Kind::Trouble { reason: refusal.problem, retry_after, sign_again: true }
        }
        _ if is_definite(&refusal) => Kind::Refused(refusal),
        _ => trouble(refusal.problem),
    }
}

/// The problem document of an answer, if it is one.
pub(super) fn problem(status: u16, body: &[u8]) -> Option<Refusal> {
    let (problem, document) = read_problem(status, body)?;
    Some(Refusal { problem, status, detail: document.detail, reasons: document.reasons })
}

/// Whether waiting cannot mend it.
pub(super) fn is_definite(refusal: &Refusal) -> bool {
    let waits = matches!(refusal.status, 401 | 408 | 425 | 429)
        || refusal.status >= 500
        || known(refusal) == Some(ProblemCode::InProgress)
        || known(refusal) == Some(ProblemCode::DevicePending);
    (400..500).contains(&refusal.status) && !waits
}

fn known(refusal: &Refusal) -> Option<ProblemCode> {
    ProblemCode::ALL.iter().copied().find(|p| p.code() == refusal.problem)
}

fn on_item(device: &Device, entry: &OutboxEntry, answer: &HttpAnswer, now: &Now) -> Decision {
    let mut draft = Draft::new(device, now);
    match kind(answer) {
        Kind::Body(body) if entry.slip_id.is_some() => {
            if let Err(reason) = paying::on_answer(&mut draft, entry, body) {
                item_trouble(&mut draft, entry, reason, None, false);
            }
        }
        Kind::Body(body) => match serde_json::from_slice::<Recorded>(body) {
            Ok(recorded) => on_recorded(&mut draft, entry, &recorded),
            Err(_) => item_trouble(&mut draft, entry, "an answer that is not the documented one", None, false),
        },
        Kind::Trouble { reason, retry_after, sign_again } => {
            if sign_again {
                hint(&mut draft, answer);
            }
            item_trouble(&mut draft, entry, &reason, retry_after, sign_again);
        }
        Kind::KeyUnknown => {
            let both = device.rotation.as_ref().filter(|_| entry.body.kind() == OutboxKind::Rotation);
            if let Some(rotation) = both {
                // Whether the rotation arrived is not known here, and the merchant knows one of the two keys.
                draft.push(Fact::RequestKey { kid: rotation.request_key.key_id() });
            }
            item_trouble(&mut draft, entry, ProblemCode::KeyUnknown.code(), None, both.is_some());
        }
        Kind::Refused(refusal) => on_refused(&mut draft, entry, refusal),
    }
    draft.reply(Reply::Done)
}

fn on_recorded(draft: &mut Draft<'_>, entry: &OutboxEntry, recorded: &Recorded) {
    let (kind, trip) = (entry.body.kind(), entry.trip_id);
    let Recorded { recorded_at, last_seq } = *recorded;
    draft.push(Fact::Recorded { seq: entry.seq, recorded_at, last_seq });
    if let (OutboxKind::Cancellation, Some(trip_id)) = (kind, trip) {
        cancelled(draft, trip_id, entry.seq);
    }
}

/// The merchant has the tombstone: what else of the visit waits here would only be refused.
fn cancelled(draft: &mut Draft<'_>, trip_id: crate::id::TripId, but: u64) {
    let told = draft.device.trip(trip_id).is_ok_and(|t| t.cancelled.is_some());
    draft.push(Fact::TripCancelled { trip_id });
    for other in draft.device.outbox.iter().filter(|e| e.trip_id == Some(trip_id) && e.seq != but) {
        draft.push(Fact::Withdrawn { seq: other.seq });
        draft.tell(HostEventKind::Withdrawn { trip_id, document: other.body.kind(), seq: other.seq });
    }
    if !told {
        draft.tell(HostEventKind::TripCancelled { trip_id });
    }
}

fn on_refused(draft: &mut Draft<'_>, entry: &OutboxEntry, refusal: Refusal) {
    let document = entry.body.kind();
    if let (OutboxKind::Cancellation, Some(trip_id)) = (document, entry.trip_id)
        && known(&refusal) == Some(ProblemCode::TripCancelled)
    {
        draft.push(Fact::Refused { seq: entry.seq, refusal });
        cancelled(draft, trip_id, entry.seq);
        return;
    }
    draft.push(Fact::Refused { seq: entry.seq, refusal: refusal.clone() });
    paying::on_refused(draft, entry);
    let (trip_id, slip_id) = (entry.trip_id, entry.slip_id);
    draft.tell(HostEventKind::Refused { trip_id, slip_id, document, seq: entry.seq, refusal });
}

fn item_trouble(draft: &mut Draft<'_>, entry: &OutboxEntry, reason: &str, retry_after: Option<u64>, sign_again: bool) {
    let retry = again(&entry.retry, reason, retry_after, sign_again, draft.now);
    draft.push(Fact::TryFailed { seq: entry.seq, retry });
}

fn again(retry: &Retry, reason: &str, retry_after: Option<u64>, sign_again: bool, now: &Now) -> Retry {
    if sign_again { retry.sign_again(reason, now) } else { retry.failed(reason, retry_after, now) }
}

/// The merchant did not take the time of the signature: its `Date` is believed as far as signing again goes.
fn hint(draft: &mut Draft<'_>, answer: &HttpAnswer) {
    if let HttpOutcome::Answer { date: Some(date), .. } = &answer.outcome {
        let known = draft.device.clock;
        if known.is_none_or(|k| k.is_refuted_by(*date, answer.elapsed_ms, draft.now)) {
            draft.push(Fact::ClockLearned { clock: Clock::read(*date, false, draft.now) });
        }
    }
}

fn on_poll(device: &Device, answer: &HttpAnswer, now: &Now) -> Decision {
    let mut draft = Draft::new(device, now);
    match kind(answer) {
        Kind::Body(body) => results::on_page(&mut draft, body, answer),
        Kind::Trouble { reason, retry_after, sign_again } => {
            if sign_again {
                hint(&mut draft, answer);
            }
            let retry = again(&device.poll, &reason, retry_after, sign_again, now);
            draft.push(Fact::PollFailed { retry });
        }
        Kind::KeyUnknown => {
            let retry = device.poll.failed(ProblemCode::KeyUnknown.code(), None, now);
            draft.push(Fact::PollFailed { retry });
        }
        Kind::Refused(refusal) => {
            let retry = device.poll.failed(&refusal.problem, None, now);
            draft.push(Fact::PollFailed { retry });
        }
    }
    draft.reply(Reply::Done)
}

fn on_keys(device: &Device, answer: &HttpAnswer, now: &Now) -> Decision {
    let mut draft = Draft::new(device, now);
    let retry = &device.keys.retry;
    let failed = match kind(answer) {
        Kind::Body(body) => {
            keys_came(&mut draft, body);
            return draft.reply(Reply::Done);
        }
        Kind::Trouble { reason, retry_after, sign_again } => again(retry, &reason, retry_after, sign_again, now),
        Kind::KeyUnknown => retry.failed(ProblemCode::KeyUnknown.code(), None, now),
        Kind::Refused(refusal) => retry.failed(&refusal.problem, None, now),
    };
    draft.push(Fact::KeysFailed { retry: failed });
    draft.reply(Reply::Done)
}

fn keys_came(draft: &mut Draft<'_>, body: &[u8]) {
    let device = draft.device;
    let read = serde_json::from_slice::<KeySetAnswer>(body)
        .map_err(|e| WalkpayError::untrusted("key set", "form", crate::protocol::jws::json_problem(&e)))
        .and_then(|a| read_key_set(&a.key_set, &device.root_key, &device.merchant_id, None));
    match read {
        Ok(set) if set.document.seq > device.key_set.seq => draft.push(Fact::KeysTaken { key_set: set.document }),
        Ok(_) => draft.push(Fact::KeysCurrent),
        Err(error) => {
            if device.keys.retry.attempts == 0 {
                results::tell_distrust(draft, &error);
            }
            let retry = device.keys.retry.failed(&error.code(), None, draft.now);
            draft.push(Fact::KeysFailed { retry });
        }
    }
}
