//! Holds: taken in, passed on to the bank, raised, released (A26).

use super::documents::{self, Key};
use super::tell::{sign, tell};
use super::{Answer, Caller, Ctx, Mutation, attempts};
use crate::bank::port::BankOutcome;
use crate::failure::{Failure, OrDefect, refuse};
use crate::store::calls::{self, BankCall, CallKind, NewCall};
use crate::store::devices::Device;
use crate::store::holds::{self, Hold, HoldState};
use crate::store::payments::{self, PaymentState};
use crate::store::stores::StoreRow;
use crate::store::trips::{self, Trip, TripState};
use crate::store::{Tx, devices, stores, users};
use walkpay::protocol::document::{EventBody, HoldRequest, HoldResult, KeyUse};
use walkpay::protocol::jws::Signed;
use walkpay::protocol::message::{HoldPut, Recorded};
use walkpay::protocol::problem::ProblemCode;
use walkpay::{HoldId, TripId};

/// A hold request whose document has been verified.
pub(super) struct PreparedHold {
    signed: Signed<HoldRequest>,
    store: StoreRow,
}

/// Document level: form, signature, binding to caller and path.
pub(super) fn prepare(
    tx: &Tx<'_>,
    ctx: &Ctx,
    caller: &Caller,
    hold_id: &HoldId,
    body: &HoldPut,
) -> Result<PreparedHold, Failure> {
    let (device, _) = documents::caller(tx, caller)?;
    let signed = documents::received::<HoldRequest>(tx, ctx, &device, Key::Consent, &body.hold)?;
    let document = &signed.document;
    if document.hold_id != *hold_id {
        return Err(refuse(ProblemCode::DocumentMismatch, "the document is of another hold"));
    }
    let store = documents::store(tx, &document.store_id)?;
    Ok(PreparedHold { signed, store })
}

/// Takes a hold request in. The checks in order: key in force; document number; repeat; device and user active; currency;
/// amount; limits; bank account; trip; number and what it replaces.
pub(super) fn put(tx: &Tx<'_>, ctx: &Ctx, caller: &Caller, prepared: &PreparedHold) -> Result<Answer, Failure> {
    let device = documents::taken_in(tx, ctx, caller, Key::Consent, &prepared.signed)?;
    let (document, jws) = (&prepared.signed.document, prepared.signed.jws());
    if let Some((first, recorded_at, last_seq)) = holds::record(tx, &document.hold_id)? {
        return match first == jws {
            true => Ok(Answer::Recorded { body: Recorded { recorded_at, last_seq }, repeat: true }),
            false => Err(refuse(ProblemCode::IdConflict, "another request was recorded for this hold")),
        };
    }
    documents::active(&device)?;
    if document.amount.currency != prepared.store.currency() {
        let detail = format!("expected {}, got {}", prepared.store.currency(), document.amount.currency);
        return Err(refuse(ProblemCode::CurrencyMismatch, detail));
    }
    if document.amount.minor <= 0 {
        return Err(refuse(ProblemCode::InvalidValue, "amount: expected more than nothing"));
    }
    let limit = attempts::limits(ctx, &device).purchase_minor(document.amount.currency);
    if document.amount.minor > limit {
        let limit = document.amount.currency.minor(limit);
        return Err(refuse(ProblemCode::AmountLimit, format!("a hold can be at most {limit}")));
    }
    if users::bank(tx, device.user)?.is_none() {
        return Err(refuse(ProblemCode::NoBankAccount, "bind a bank account first, or shop with stored value"));
    }
    let trip = open_trip(tx, ctx, &device, &document.trip_id, &prepared.store)?;
    check_number(&holds::of_trip(tx, &trip.trip)?, document)?;
    let hold = Hold {
        hold: document.hold_id,
        trip: trip.trip,
        number: document.number,
        replaces: document.replaces,
        amount: document.amount,
        state: HoldState::Accepted,
        entry: None,
        expires_at: None,
        releasing: false,
    };
    holds::add(tx, &hold, jws, ctx.now, device.last_seq)?;
    trips::sign(tx, &trip.trip, 0, ctx.sign_of_life(&trip))?;
    tell_hold(tx, ctx, &hold, None)?;
    start(tx, ctx, &trip, &hold)?;
    let body = Recorded { recorded_at: ctx.now, last_seq: device.last_seq };
    Ok(Answer::Recorded { body, repeat: false })
}

fn open_trip(tx: &Tx<'_>, ctx: &Ctx, device: &Device, trip_id: &TripId, store: &StoreRow) -> Result<Trip, Failure> {
    let Some(trip) = trips::find(tx, trip_id)? else {
        return Ok(trips::open(tx, trip_id, Some(store.store), device.user, device.device, ctx.now)?);
    };
    if trip.device != device.device || trip.store.is_some_and(|s| s != store.store) {
        return Err(refuse(ProblemCode::DocumentMismatch, "the trip is of another device or store"));
    }
    match trip.state {
        TripState::Open => Ok(trip),
        TripState::Cancelled => Err(refuse(ProblemCode::TripCancelled, "start a new trip")),
        TripState::Accepted => Err(refuse(ProblemCode::AlreadyAccepted, "start a new trip")),
    }
}

/// The first hold is number 1 and replaces nothing; each further one has the next number, replaces the last one, and is
/// higher if that one is in force.
fn check_number(before: &[Hold], document: &HoldRequest) -> Result<(), Failure> {
    let mismatch = |detail: &str| Err(refuse(ProblemCode::HoldMismatch, detail));
    match before.last() {
        None if document.number != 1 || document.replaces.is_some() => {
            mismatch("the first hold of a trip is number 1 and replaces nothing")
        }
        Some(last) if Some(document.number) != last.number.checked_add(1) || document.replaces != Some(last.hold) => {
            mismatch("a further hold has the next number and replaces the last one")
        }
        Some(last) if last.amount.currency != document.amount.currency => mismatch("the hold is of another currency"),
        Some(last)
            if matches!(last.state, HoldState::Accepted | HoldState::Placed)
                && document.amount.minor <= last.amount.minor =>
        {
            mismatch("a hold can only be raised: the new amount is absolute")
        }
        _ => Ok(()),
    }
}

/// Asks the bank for a hold, unless an earlier one of the trip is still on its way: then that one's answer starts it.
fn start(tx: &Tx<'_>, ctx: &Ctx, trip: &Trip, hold: &Hold) -> Result<(), Failure> {
    let all = holds::of_trip(tx, &trip.trip)?;
    let earlier = || all.iter().filter(|h| h.number < hold.number);
    if earlier().any(|h| h.state == HoldState::Accepted) {
        return Ok(());
    }
    if trip.state != TripState::Open {
        holds::resolve(tx, &hold.hold, HoldState::Declined)?;
        return tell_hold(tx, ctx, &Hold { state: HoldState::Declined, ..hold.clone() }, Some("trip_closed"));
    }
    let in_force = earlier().rfind(|h| h.state == HoldState::Placed && !h.releasing);
    match in_force.and_then(|h| h.entry.as_deref()) {
        Some(entry) => {
            let reference = format!("{}.u{}", trip.trip, hold.number);
            order(tx, ctx, hold, CallKind::Raise, &reference, Some(entry), None)
        }
        None => place(tx, ctx, trip, hold),
    }
}

fn place(tx: &Tx<'_>, ctx: &Ctx, trip: &Trip, hold: &Hold) -> Result<(), Failure> {
    let reference = format!("{}.h{}", trip.trip, hold.number);
    match users::bank(tx, trip.user)? {
        Some(bank) => order(tx, ctx, hold, CallKind::Place, &reference, None, Some(&bank.token)),
        None => {
            holds::resolve(tx, &hold.hold, HoldState::Declined)?;
            tell_hold(tx, ctx, &Hold { state: HoldState::Declined, ..hold.clone() }, Some("account_unknown"))
        }
    }
}

fn order(
    tx: &Tx<'_>,
    ctx: &Ctx,
    hold: &Hold,
    kind: CallKind,
    reference: &str,
    original: Option<&str>,
    account: Option<&str>,
) -> Result<(), Failure> {
    let call = NewCall {
        reference,
        subject: hold.trip.into(),
        pay: None,
        refund: None,
        kind,
        hold: Some(&hold.hold),
        original,
        account,
        amount: hold.amount,
    };
    calls::order(tx, &call, ctx.now)?;
    Ok(())
}

/// The bank's definite answer to placing or raising a hold.
pub(super) fn answered(tx: &Tx<'_>, ctx: &Ctx, call: &BankCall, outcome: &BankOutcome) -> Result<(), Failure> {
    let hold = holds::get(tx, &call.hold.or_defect("hold of a call")?)?;
    let trip = trips::get(tx, &call.trip()?)?;
    match outcome {
        BankOutcome::Approved { amount, expires_at } if *amount == hold.amount => {
            let entry = call.original.as_deref().filter(|_| call.kind == CallKind::Raise).unwrap_or(&call.reference);
            holds::place(tx, &hold.hold, entry, *expires_at)?;
            let placed = Hold { state: HoldState::Placed, expires_at: *expires_at, ..hold.clone() };
            tell_hold(tx, ctx, &placed, None)?;
            supersede(tx, ctx, &trip, &holds::get(tx, &hold.hold)?)?;
        }
        BankOutcome::Approved { .. } => {
            // Less than was asked for: not what the shopper signed. What was reserved is freed again.
            holds::resolve(tx, &hold.hold, HoldState::Declined)?;
            tell_hold(tx, ctx, &Hold { state: HoldState::Declined, ..hold.clone() }, Some("partial_approval"))?;
            if call.kind == CallKind::Place {
                let reference = format!("{}.r{}", trip.trip, hold.number);
                order(tx, ctx, &hold, CallKind::Release, &reference, Some(&call.reference), None)?;
            }
        }
        BankOutcome::Declined { reason } => declined(tx, ctx, call, &trip, &hold, reason)?,
    }
    let trip = trips::get(tx, &call.trip()?)?;
    if let Some(next) = holds::of_trip(tx, &trip.trip)?.iter().find(|h| h.state == HoldState::Accepted) {
        let waits = calls::find(tx, &format!("{}.h{}", trip.trip, next.number))?.is_none()
            && calls::find(tx, &format!("{}.u{}", trip.trip, next.number))?.is_none();
        if waits {
            start(tx, ctx, &trip, next)?;
        }
    }
    attempts::revalidate_waiting(tx, ctx, &trip.trip)?;
    release_unneeded(tx, ctx, &trip.trip)
}

/// A newly placed hold takes the place of the earlier ones: one that shares its entry at the bank is replaced at once,
/// another one when it has been released, which is for the debit to order once a basket is accepted: it may be capturing it.
fn supersede(tx: &Tx<'_>, ctx: &Ctx, trip: &Trip, placed: &Hold) -> Result<(), Failure> {
    for earlier in holds::of_trip(tx, &trip.trip)?.iter().filter(|h| h.number < placed.number) {
        let shared = earlier.entry.is_some() && earlier.entry == placed.entry;
        match earlier.state {
            HoldState::Placed if shared => {
                holds::resolve(tx, &earlier.hold, HoldState::Replaced)?;
                tell_hold(tx, ctx, &Hold { state: HoldState::Replaced, ..earlier.clone() }, None)?;
            }
            HoldState::Placed if !earlier.releasing && trip.state == TripState::Open => {
                order_release(tx, ctx, earlier)?
            }
            HoldState::Captured | HoldState::Released | HoldState::Expired if shared => {
                // The entry was used or freed while it was being raised: so is the raised hold.
                holds::resolve(tx, &placed.hold, earlier.state)?;
                tell_hold(tx, ctx, &Hold { state: earlier.state, ..placed.clone() }, None)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn declined(tx: &Tx<'_>, ctx: &Ctx, call: &BankCall, trip: &Trip, hold: &Hold, reason: &str) -> Result<(), Failure> {
    if call.kind == CallKind::Raise && trip.state == TripState::Open {
        let gone = matches!(reason, "hold_expired" | "hold_unknown" | "hold_resolved");
        if gone {
            let before = holds::of_trip(tx, &trip.trip)?;
            for earlier in before.iter().filter(|h| h.state == HoldState::Placed && h.entry == call.original) {
                holds::resolve(tx, &earlier.hold, HoldState::Expired)?;
                tell_hold(tx, ctx, &Hold { state: HoldState::Expired, ..earlier.clone() }, None)?;
            }
        }
        if gone || reason == "top_up_unsupported" {
            return place(tx, ctx, trip, hold);
        }
    }
    holds::resolve(tx, &hold.hold, HoldState::Declined)?;
    tell_hold(tx, ctx, &Hold { state: HoldState::Declined, ..hold.clone() }, Some(reason))
}

/// Frees what is placed and will not be captured, once nothing of the trip can use it any more: the trip is given up, or
/// its debit is closed; and no hold of it is on its way to the bank.
pub(super) fn release_unneeded(tx: &Tx<'_>, ctx: &Ctx, trip_id: &TripId) -> Result<(), Failure> {
    let over = match trips::get(tx, trip_id)?.state {
        TripState::Open => false,
        TripState::Cancelled => true,
        TripState::Accepted => payments::of_trip(tx, trip_id)?.is_some_and(|p| p.state == PaymentState::Closed),
    };
    let all = holds::of_trip(tx, trip_id)?;
    if !over || all.iter().any(|h| h.state == HoldState::Accepted) {
        return Ok(());
    }
    for hold in all.iter().filter(|h| h.state == HoldState::Placed && !h.releasing) {
        order_release(tx, ctx, hold)?;
    }
    Ok(())
}

/// Has the bank free a placed hold, once.
pub(super) fn order_release(tx: &Tx<'_>, ctx: &Ctx, hold: &Hold) -> Result<(), Failure> {
    let entry = hold.entry.as_deref().or_defect("entry of a placed hold")?;
    holds::set_releasing(tx, &hold.hold)?;
    order(tx, ctx, hold, CallKind::Release, &format!("{}.r{}", hold.trip, hold.number), Some(entry), None)
}

/// The bank's definite answer to a release.
pub(super) fn released(tx: &Tx<'_>, ctx: &Ctx, call: &BankCall, outcome: &BankOutcome) -> Result<(), Failure> {
    let hold = holds::get(tx, &call.hold.or_defect("hold of a call")?)?;
    if hold.state != HoldState::Placed {
        return Ok(());
    }
    let replaced = holds::of_trip(tx, &hold.trip)?
        .iter()
        .any(|h| h.number > hold.number && !matches!(h.state, HoldState::Accepted | HoldState::Declined));
    let state = match outcome {
        BankOutcome::Approved { .. } if replaced => HoldState::Replaced,
        BankOutcome::Approved { .. } => HoldState::Released,
        BankOutcome::Declined { reason } if reason == "hold_expired" || reason == "hold_unknown" => HoldState::Expired,
        // Whatever the reason, the bank will not free it under this reference: it does not reserve it any more.
        BankOutcome::Declined { .. } => HoldState::Released,
    };
    holds::resolve(tx, &hold.hold, state)?;
    if ctx.config.mutation == Some(Mutation::DoubleRelease) {
        let reference = format!("{}.again", call.reference);
        order(tx, ctx, &hold, CallKind::Release, &reference, call.original.as_deref(), None)?;
    }
    tell_hold(tx, ctx, &Hold { state, ..hold }, None)?;
    attempts::revalidate_waiting(tx, ctx, &call.trip()?)
}

/// The bank's entry was captured or turned out to be over: the hold that it stands for is resolved.
pub(super) fn entry_resolved(
    tx: &Tx<'_>,
    ctx: &Ctx,
    trip: &TripId,
    entry: &str,
    state: HoldState,
) -> Result<(), Failure> {
    let of_entry = |h: &&Hold| h.state == HoldState::Placed && h.entry.as_deref() == Some(entry);
    if let Some(hold) = holds::of_trip(tx, trip)?.iter().find(of_entry) {
        holds::resolve(tx, &hold.hold, state)?;
        tell_hold(tx, ctx, &Hold { state, ..hold.clone() }, None)?;
    }
    Ok(())
}

/// Orders the release of holds whose time is over: the bank says whether it has freed them already.
pub(super) fn expire(tx: &Tx<'_>, ctx: &Ctx, limit: u32) -> Result<usize, Failure> {
    let over = holds::expired(tx, ctx.now, limit)?;
    for hold in &over {
        order_release(tx, ctx, hold)?;
    }
    Ok(over.len())
}

fn tell_hold(tx: &Tx<'_>, ctx: &Ctx, hold: &Hold, reason: Option<&str>) -> Result<(), Failure> {
    let trip = trips::get(tx, &hold.trip)?;
    let device = devices::get(tx, trip.device)?;
    let store = stores::get(tx, trip.store.or_defect("store of a trip with a hold")?)?;
    let result = HoldResult {
        merchant_id: ctx.keys.merchant_id().clone(),
        store_id: store.info.store_id,
        sub: device.sub.clone(),
        device_id: device.device_id,
        trip_id: hold.trip,
        hold_id: hold.hold,
        status: hold.state.status(),
        amount: hold.amount,
        reason: reason.map(str::to_owned),
        expires_at: hold.expires_at.filter(|_| hold.state == HoldState::Placed),
        issued_at: ctx.now,
    };
    let document = sign(ctx, KeyUse::Results, &result)?;
    tell(tx, ctx, &device, &EventBody::Hold { document })?;
    Ok(())
}
