//! Visits that end without an accepted basket.

use super::documents::{self, Key};
use super::tell::tell;
use super::{Answer, Caller, Ctx, TripReport, attempts, holds};
use crate::failure::{Failure, refuse};
use crate::store::trips::{self, TripState};
use crate::store::{Tx, devices, orders, payments};
use walkpay::TripId;
use walkpay::protocol::crypto::sha256;
use walkpay::protocol::document::{EventBody, TripCancellation};
use walkpay::protocol::jws::Signed;
use walkpay::protocol::message::{CancellationPut, Recorded};
use walkpay::protocol::problem::ProblemCode;

/// A cancellation whose document has been verified.
pub(super) struct PreparedCancellation {
    signed: Signed<TripCancellation>,
}

/// Document level: form, signature, binding to caller and path.
pub(super) fn prepare(
    tx: &Tx<'_>,
    ctx: &Ctx,
    caller: &Caller,
    trip_id: &TripId,
    body: &CancellationPut,
) -> Result<PreparedCancellation, Failure> {
    let (device, _) = documents::caller(tx, caller)?;
    let signed = documents::received::<TripCancellation>(tx, ctx, &device, Key::Request, &body.cancellation)?;
    let document = &signed.document;
    if document.trip_id != *trip_id {
        return Err(refuse(ProblemCode::DocumentMismatch, "the document is of another trip"));
    }
    Ok(PreparedCancellation { signed })
}

/// Gives a trip up; it stays known, so that what arrives later is refused. An accepted trip cannot be given up.
pub(super) fn put_cancellation(
    tx: &Tx<'_>,
    ctx: &Ctx,
    caller: &Caller,
    prepared: &PreparedCancellation,
) -> Result<Answer, Failure> {
    let device = documents::taken_in(tx, ctx, caller, Key::Request, &prepared.signed)?;
    let (document, jws) = (&prepared.signed.document, prepared.signed.jws());
    let sha256 = sha256(jws.as_bytes());
    if let Some((first, recorded_at, last_seq)) = trips::cancellation(tx, &document.trip_id)? {
        return match first == sha256 {
            true => Ok(Answer::Recorded { body: Recorded { recorded_at, last_seq }, repeat: true }),
            false => Err(refuse(ProblemCode::IdConflict, "another cancellation was recorded for this trip")),
        };
    }
    let trip = match trips::find(tx, &document.trip_id)? {
        Some(trip) => trip,
        None => trips::open(tx, &document.trip_id, None, device.user, device.device, ctx.now)?,
    };
    if trip.device != device.device {
        return Err(refuse(ProblemCode::DocumentMismatch, "the trip is of another device"));
    }
    if trip.state == TripState::Accepted {
        return Err(refuse(ProblemCode::AlreadyAccepted, "the debit follows; goods can be returned at the store"));
    }
    trips::note_cancellation(tx, &trip.trip, &sha256, ctx.now, device.last_seq)?;
    if trip.state == TripState::Open {
        give_up(tx, ctx, &trip.trip)?;
    }
    let body = Recorded { recorded_at: ctx.now, last_seq: device.last_seq };
    Ok(Answer::Recorded { body, repeat: false })
}

fn give_up(tx: &Tx<'_>, ctx: &Ctx, trip_id: &TripId) -> Result<(), Failure> {
    trips::cancel(tx, trip_id)?;
    let trip = trips::get(tx, trip_id)?;
    let device = devices::get(tx, trip.device)?;
    attempts::reject_undecided(tx, ctx, trip_id)?;
    tell(tx, ctx, &device, EventBody::TripCancelled { trip_id: *trip_id })?;
    holds::release_unneeded(tx, ctx, trip_id)
}

/// Gives up trips without a sign of life.
pub(super) fn give_up_idle(tx: &Tx<'_>, ctx: &Ctx, limit: u32) -> Result<usize, Failure> {
    let idle = trips::idle(tx, ctx.now.minus(ctx.config.trip_idle), limit)?;
    for trip in &idle {
        give_up(tx, ctx, trip)?;
    }
    Ok(idle.len())
}

/// What became of a trip's money.
pub(super) fn report(tx: &Tx<'_>, trip_id: &TripId) -> Result<Answer, Failure> {
    let trip = trips::find(tx, trip_id)?.ok_or_else(|| refuse(ProblemCode::NotFound, "there is no such trip"))?;
    let mut report = TripReport {
        state: trip.state.word().to_owned(),
        accepted: trip.accepted,
        service_number: None,
        order: None,
        due: None,
        legs: Vec::new(),
    };
    if let Some(payment) = payments::of_trip(tx, trip_id)? {
        let order = orders::get(tx, payment.number)?;
        report.service_number = Some(payment.number);
        report.order = Some(order.state.word().to_owned());
        report.due = Some(order.total.currency.minor(order.due));
        report.legs = payments::legs(tx, payment.payment, order.total.currency)?;
    }
    Ok(Answer::Trip(report))
}
