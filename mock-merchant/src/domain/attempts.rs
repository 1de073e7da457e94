//! Attempts: what a terminal submits, and the verdict on it (A20–A22).

use super::catalogue::{self, Appraisal};
use super::documents::{self, Key};
use super::tell::{sign, tell};
use super::{Answer, Caller, Ctx, acceptance};
use crate::failure::{Failure, OrDefect, refuse};
use crate::store::attempts::{self, Attempt, AttemptState};
use crate::store::devices::{Device, DeviceState};
use crate::store::holds::{self, Hold, HoldState};
use crate::store::stores::StoreRow;
use crate::store::trips::{self, Trip, TripState};
use crate::store::users::UserState;
use crate::store::{Tx, devices, ledger, orders, stores, users};
use jiff::tz::TimeZone;
use walkpay::basket::MAX_LINES_BYTES;
use walkpay::protocol::crypto::{digest, from_base64url, sha256};
use walkpay::protocol::document::{
    BasketSummary, EventBody, HoldRequest, KeyUse, Reason, ReasonCode, Validation, Verdict,
};
use walkpay::protocol::jws::{Signed, peek};
use walkpay::protocol::message::{AttemptPut, Recorded};
use walkpay::protocol::problem::ProblemCode;
use walkpay::{Currency, KeyId, Money, Timestamp, TripId};

/// The highest attempt of a trip that is looked at.
const MAX_ATTEMPT: u32 = 1_000;

/// An attempt whose document has been verified and whose lines have been priced.
pub(super) struct PreparedAttempt {
    signed: Signed<BasketSummary>,
    store: StoreRow,
    lines: Vec<u8>,
    body_sha256: [u8; 32],
    appraisal: Appraisal,
}

/// Document level (form, signature, binding to caller and path), then everything about the content that can be said from
/// the document and an immutable catalogue revision.
pub(super) fn prepare(
    tx: &Tx<'_>,
    ctx: &Ctx,
    caller: &Caller,
    trip_id: &TripId,
    attempt: u32,
    body: &AttemptPut,
) -> Result<PreparedAttempt, Failure> {
    let (device, _) = documents::caller(tx, caller)?;
    let signed = documents::received::<BasketSummary>(tx, ctx, &device, Key::Consent, &body.basket)?;
    let document = &signed.document;
    if document.trip_id != *trip_id || document.attempt != attempt {
        return Err(refuse(ProblemCode::DocumentMismatch, "the document is of another trip or attempt"));
    }
    if !(1..=MAX_ATTEMPT).contains(&attempt) {
        return Err(refuse(ProblemCode::InvalidValue, format!("attempt: expected 1 to {MAX_ATTEMPT}")));
    }
    let store = documents::store(tx, &document.store_id)?;
    if body.lines.len() > MAX_LINES_BYTES / 3 * 4 + 4 {
        return Err(refuse(ProblemCode::TooLarge, format!("lines: expected at most {MAX_LINES_BYTES} bytes")));
    }
    let lines =
        from_base64url("lines", &body.lines).map_err(|e| refuse(ProblemCode::DocumentInvalid, e.to_string()))?;
    let body_sha256 = sha256(format!("{}\n{}", body.basket, body.lines).as_bytes());
    let appraisal = catalogue::appraise(tx, ctx, &store, document, &lines)?;
    Ok(PreparedAttempt { signed, store, lines, body_sha256, appraisal })
}

/// What an attempt comes to.
enum Finding {
    Rejected { reasons: Vec<Reason>, repriced: Option<Money> },
    Waiting,
    Uncovered { shortfall: Money },
    Check,
    Accepted { stored_value: i64, hold: Option<Hold> },
}

/// Takes an attempt in: it is recorded and gets a verdict.
pub(super) fn put(tx: &Tx<'_>, ctx: &Ctx, caller: &Caller, prepared: &PreparedAttempt) -> Result<Answer, Failure> {
    let device = documents::taken_in(tx, ctx, caller, Key::Consent, &prepared.signed)?;
    let (document, jws) = (&prepared.signed.document, prepared.signed.jws());
    if let Some((first, recorded_at, last_seq)) = attempts::record(tx, &document.trip_id, document.attempt)? {
        return match first == prepared.body_sha256 {
            true => Ok(Answer::Recorded { body: Recorded { recorded_at, last_seq }, repeat: true }),
            false => Err(refuse(ProblemCode::IdConflict, "another basket was recorded as this attempt")),
        };
    }
    let trip = match trips::find(tx, &document.trip_id)? {
        Some(trip) => trip,
        None => trips::open(tx, &document.trip_id, Some(prepared.store.store), device.user, device.device, ctx.now)?,
    };
    if trip.device != device.device || trip.store.is_some_and(|s| s != prepared.store.store) {
        return Err(refuse(ProblemCode::DocumentMismatch, "the trip is of another device or store"));
    }
    if trip.state == TripState::Open {
        trips::sign(tx, &trip.trip, document.attempt, ctx.sign_of_life(&trip))?;
        supersede(tx, ctx, &trip, &device, &prepared.store, document.attempt)?;
    }
    let mut checks = prepared.appraisal.ages.clone();
    // Signing again, cancelling or another visit does not get anybody out of a spot check.
    if users::is_picked(tx, device.user)? || ctx.random.below(1_000) < ctx.config.spot_check_per_mille {
        checks.push(reason(ReasonCode::SpotCheck, "picked for a spot check"));
    }
    let kid = &prepared.signed.kid;
    let case = Case { tx, ctx, trip: &trip, device: &device, store: &prepared.store, kid, document };
    let finding = case.judge(&prepared.appraisal, &checks)?;
    if matches!(finding, Finding::Check | Finding::Waiting) && is_spot_check(&checks) {
        users::set_picked(tx, device.user, true)?;
    }
    let attempt = Attempt {
        trip: trip.trip,
        attempt: document.attempt,
        jws: jws.to_owned(),
        state: finding.state(),
        checks,
        recorded_at: ctx.now,
    };
    let reasons = finding.reasons(&attempt.checks);
    attempts::add(tx, &attempt, &reasons, &prepared.body_sha256, &prepared.lines, device.last_seq, ctx.now)?;
    case.announce(&attempt, finding, reasons)?;
    let body = Recorded { recorded_at: ctx.now, last_seq: device.last_seq };
    Ok(Answer::Recorded { body, repeat: false })
}

/// A higher attempt makes those below that still wait superseded.
fn supersede(
    tx: &Tx<'_>,
    ctx: &Ctx,
    trip: &Trip,
    device: &Device,
    store: &StoreRow,
    attempt: u32,
) -> Result<(), Failure> {
    if trip.attempt == 0 {
        return Ok(());
    }
    for lower in attempts::undecided(tx, &trip.trip)?.iter().filter(|a| a.attempt < attempt) {
        let (kid, document) = &document_of(lower)?;
        let case = Case { tx, ctx, trip, device, store, kid, document };
        case.conclude(lower, rejected(ReasonCode::Superseded, format!("attempt {attempt} arrived")))?;
    }
    Ok(())
}

/// Judges the attempts of a trip again that wait for the bank, since it has answered.
pub(super) fn revalidate_waiting(tx: &Tx<'_>, ctx: &Ctx, trip_id: &TripId) -> Result<(), Failure> {
    for attempt in attempts::undecided(tx, trip_id)?.iter().filter(|a| a.state == AttemptState::Waiting) {
        revalidate(tx, ctx, attempt, false)?;
    }
    Ok(())
}

/// Judges an attempt again: everything but its content, which does not change. Staff's acceptance, given now or before, stands for
/// its checks. The verdict, unless it waits on.
pub(super) fn revalidate(tx: &Tx<'_>, ctx: &Ctx, attempt: &Attempt, checked: bool) -> Result<Option<Verdict>, Failure> {
    let document = document_of(attempt)?;
    let checked = checked || attempts::staff_accepted(tx, &attempt.trip, attempt.attempt)?;
    with_case(tx, ctx, &document, |case| {
        let checks = if checked { &[] } else { attempt.checks.as_slice() };
        let finding = match case.standing() {
            Some(rejected) => rejected,
            None => case.judge_money(checks)?,
        };
        let verdict = finding.verdict();
        if finding.state() != attempt.state {
            case.conclude(attempt, finding)?;
        }
        Ok(verdict)
    })
}

/// Refuses the attempts of a trip that still wait, since it is over.
pub(super) fn reject_undecided(tx: &Tx<'_>, ctx: &Ctx, trip_id: &TripId) -> Result<(), Failure> {
    for attempt in attempts::undecided(tx, trip_id)? {
        let document = document_of(&attempt)?;
        with_case(tx, ctx, &document, |case| {
            case.conclude(&attempt, rejected(ReasonCode::TripCancelled, "the trip was cancelled".to_owned()))
        })?;
    }
    Ok(())
}

/// Refuses an attempt because staff did.
pub(super) fn refused_by_staff(tx: &Tx<'_>, ctx: &Ctx, attempt: &Attempt) -> Result<Verdict, Failure> {
    let document = document_of(attempt)?;
    with_case(tx, ctx, &document, |case| {
        case.conclude(attempt, rejected(ReasonCode::StaffRefused, "staff refused".to_owned()))
    })?;
    Ok(Verdict::Rejected)
}

fn with_case<T>(
    tx: &Tx<'_>,
    ctx: &Ctx,
    (kid, document): &(KeyId, BasketSummary),
    f: impl FnOnce(&Case<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let trip = trips::get(tx, &document.trip_id)?;
    let device = devices::get(tx, trip.device)?;
    let store = stores::find(tx, &document.store_id)?.or_defect("store of an attempt")?;
    f(&Case { tx, ctx, trip: &trip, device: &device, store: &store, kid, document })
}

/// The recorded basket, and the key that it was signed with.
fn document_of(attempt: &Attempt) -> Result<(KeyId, BasketSummary), Failure> {
    peek::<BasketSummary>(&attempt.jws).or_defect("recorded basket")
}

/// One attempt with everything that it is judged by.
pub(super) struct Case<'a> {
    pub tx: &'a Tx<'a>,
    pub ctx: &'a Ctx,
    pub trip: &'a Trip,
    pub device: &'a Device,
    pub store: &'a StoreRow,
    /// The consent key that the basket is signed with.
    pub kid: &'a KeyId,
    pub document: &'a BasketSummary,
}

impl Case<'_> {
    /// All checks in the order that docs/protocol.md gives; the first that fails decides.
    fn judge(&self, appraisal: &Appraisal, checks: &[Reason]) -> Result<Finding, Failure> {
        if let Some(rejected) = self.standing() {
            return Ok(rejected);
        }
        if let Some(found) = &appraisal.form {
            return Ok(found.clone().into());
        }
        if let Some(rejected) = self.priced_at(appraisal.usable_until) {
            return Ok(match rejected {
                Finding::Rejected { reasons, .. } => Finding::Rejected { reasons, repriced: appraisal.repriced },
                other => other,
            });
        }
        if let Some(found) = &appraisal.content {
            return Ok(found.clone().into());
        }
        self.judge_money(checks)
    }

    /// Trip cancelled; accepted already; superseded; device and user active.
    fn standing(&self) -> Option<Finding> {
        match self.trip.state {
            TripState::Cancelled => return Some(rejected(ReasonCode::TripCancelled, "the trip was cancelled".into())),
            TripState::Accepted => {
                let detail = format!("attempt {} was accepted", self.trip.accepted.unwrap_or_default());
                return Some(rejected(ReasonCode::AlreadyAccepted, detail));
            }
            TripState::Open => {}
        }
        if self.trip.attempt > self.document.attempt {
            let detail = format!("attempt {} arrived first", self.trip.attempt);
            return Some(rejected(ReasonCode::Superseded, detail));
        }
        if self.device.state != DeviceState::Active {
            let detail = format!("the device is {}", self.device.state.word());
            return Some(rejected(ReasonCode::DeviceNotActive, detail));
        }
        if self.device.user_state != UserState::Active {
            let detail = format!("the user is {}", self.device.user_state.word());
            return Some(rejected(ReasonCode::UserNotActive, detail));
        }
        None
    }

    fn priced_at(&self, usable_until: Timestamp) -> Option<Finding> {
        let (at, config) = (self.document.priced_at, &self.ctx.config);
        if at > self.ctx.now.plus(config.clock_ahead) {
            return Some(rejected(ReasonCode::PricedAt, format!("{at} is in the future: it is {}", self.ctx.now)));
        }
        let earliest = self.trip.first_seen.minus(config.trip_idle).max(self.ctx.now.minus(config.trip_max));
        if at < earliest {
            return Some(rejected(
                ReasonCode::PricedAt,
                format!("{at} is before the trip or too long ago: expected {earliest} or later"),
            ));
        }
        if at > usable_until {
            let detail = format!("the revision was usable until {usable_until}");
            return Some(rejected(ReasonCode::CatalogueOutdated, detail));
        }
        None
    }

    /// Limits; hold; cover; age and spot checks.
    fn judge_money(&self, checks: &[Reason]) -> Result<Finding, Failure> {
        let total = self.document.total;
        if let Some(rejected) = self.limits()? {
            return Ok(rejected);
        }
        let all = holds::of_trip(self.tx, &self.trip.trip)?;
        if let Some(named) = &self.document.hold_id
            && !all.iter().any(|h| h.hold == *named && h.amount.currency == total.currency)
        {
            return Ok(rejected(ReasonCode::HoldMismatch, format!("this trip has no hold {named}")));
        }
        let in_force = |h: &&Hold| {
            h.state == HoldState::Placed && !h.releasing && h.expires_at.is_none_or(|end| self.ctx.now < end)
        };
        let available = self.available()?;
        let stored_value = available.min(total.minor);
        let hold = match all.iter().rfind(in_force) {
            Some(hold) if stored_value == total.minor || self.captures(hold)? => Some(hold),
            _ => None,
        };
        let cover = available.saturating_add(hold.map_or(0, |h| h.amount.minor));
        if cover < total.minor {
            return Ok(match all.iter().any(|h| h.state == HoldState::Accepted) {
                true => Finding::Waiting,
                false => Finding::Uncovered { shortfall: total.currency.minor(total.minor - cover) },
            });
        }
        if checks.is_empty() {
            return Ok(Finding::Accepted { stored_value, hold: hold.cloned() });
        }
        let most = self.ctx.config.checks_per_user;
        if attempts::checks_of_user(self.tx, self.device.user, &self.trip.trip)? >= u64::from(most) {
            let detail = format!("{most} baskets of other visits wait for staff already");
            return Ok(rejected(ReasonCode::CountLimit, detail));
        }
        Ok(Finding::Check)
    }

    /// Whether the bank will debit a placed hold on the strength of this basket: the user has confirmed to the bank the key that the hold was
    /// asked for with, and perhaps not the one that a rotation has put in its place since.
    fn captures(&self, hold: &Hold) -> Result<bool, Failure> {
        let (jws, ..) = holds::record(self.tx, &hold.hold)?.or_defect("hold request")?;
        Ok(peek::<HoldRequest>(&jws).or_defect("recorded hold request")?.0 == *self.kid)
    }

    /// Stored value that is not reserved, in the currency of the basket (A22).
    fn available(&self) -> Result<i64, Failure> {
        let Some(account) = self.device.account else { return Ok(0) };
        let (balance, reserved) = ledger::balance(self.tx, account)?;
        let same = balance.currency == self.document.total.currency;
        Ok(if same { (balance.minor - reserved).max(0) } else { 0 })
    }

    fn limits(&self) -> Result<Option<Finding>, Failure> {
        let (total, limits) = (self.document.total, limits(self.ctx, self.device));
        let purchase = limits.purchase_minor(total.currency);
        let owed = orders::owed(self.tx, self.device.user, total.currency)?;
        if total.minor.saturating_add(owed) > purchase {
            let detail = match owed {
                0 => format!("a purchase can be at most {}", total.currency.minor(purchase)),
                _ => format!(
                    "a purchase and the {} that earlier ones left owing can be at most {}",
                    total.currency.minor(owed),
                    total.currency.minor(purchase)
                ),
            };
            return Ok(Some(rejected(ReasonCode::AmountLimit, detail)));
        }
        let day = business_date(self.ctx.now, &self.store.info.time_zone)?;
        let (spent, purchases) = users::day(self.tx, self.device.user, &day, total.currency)?;
        let most = limits.day_minor(total.currency);
        if spent.saturating_add(total.minor) > most {
            let detail = format!("purchases of a day can be at most {}", total.currency.minor(most));
            return Ok(Some(rejected(ReasonCode::AmountLimit, detail)));
        }
        if purchases >= limits.count {
            let detail = format!("there can be at most {} purchases a day", limits.count);
            return Ok(Some(rejected(ReasonCode::CountLimit, detail)));
        }
        Ok(None)
    }

    /// Gives a recorded attempt its verdict.
    fn conclude(&self, attempt: &Attempt, finding: Finding) -> Result<(), Failure> {
        let reasons = finding.reasons(&attempt.checks);
        attempts::decide(self.tx, &attempt.trip, attempt.attempt, finding.state(), &reasons, self.ctx.now)?;
        self.announce(attempt, finding, reasons)
    }

    /// Carries the verdict out and tells the device, unless it is still to come.
    fn announce(&self, attempt: &Attempt, finding: Finding, reasons: Vec<Reason>) -> Result<(), Failure> {
        let Some(verdict) = finding.verdict() else { return Ok(()) };
        let mut validation = Validation {
            merchant_id: self.ctx.keys.merchant_id().clone(),
            store_id: self.document.store_id.clone(),
            sub: self.document.sub.clone(),
            device_id: self.document.device_id,
            trip_id: self.document.trip_id,
            attempt: self.document.attempt,
            basket_sha256: digest(attempt.jws.as_bytes()),
            verdict,
            reasons,
            total: self.document.total,
            shortfall: None,
            repriced_total: None,
            exit_pass: None,
            service_number: None,
            issued_at: self.ctx.now,
        };
        match finding {
            Finding::Rejected { repriced, .. } => validation.repriced_total = repriced,
            Finding::Uncovered { shortfall } => validation.shortfall = Some(shortfall),
            Finding::Accepted { stored_value, hold } => {
                let accepted = acceptance::accept(self, stored_value, hold.as_ref())?;
                if is_spot_check(&attempt.checks) {
                    users::set_picked(self.tx, self.device.user, false)?;
                }
                validation.exit_pass = Some(accepted.exit_pass);
                validation.service_number = Some(accepted.service_number);
            }
            Finding::Waiting | Finding::Check => {}
        }
        let document = sign(self.ctx, KeyUse::Results, &validation)?;
        tell(self.tx, self.ctx, self.device, &EventBody::Validation { document })?;
        Ok(())
    }
}

impl Finding {
    fn state(&self) -> AttemptState {
        match self {
            Self::Rejected { .. } => AttemptState::Rejected,
            Self::Waiting => AttemptState::Waiting,
            Self::Uncovered { .. } => AttemptState::Uncovered,
            Self::Check => AttemptState::Check,
            Self::Accepted { .. } => AttemptState::Accepted,
        }
    }

    fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::Rejected { .. } => Some(Verdict::Rejected),
            Self::Waiting => None,
            Self::Uncovered { .. } => Some(Verdict::InsufficientCover),
            Self::Check => Some(Verdict::CheckRequired),
            Self::Accepted { .. } => Some(Verdict::Accepted),
        }
    }

    fn reasons(&self, checks: &[Reason]) -> Vec<Reason> {
        match self {
            Self::Rejected { reasons, .. } => reasons.clone(),
            Self::Uncovered { shortfall } => vec![reason(ReasonCode::Cover, format!("{shortfall} is missing"))],
            Self::Check => checks.to_vec(),
            Self::Waiting | Self::Accepted { .. } => Vec::new(),
        }
    }
}

impl From<catalogue::Rejection> for Finding {
    fn from(rejection: catalogue::Rejection) -> Self {
        Self::Rejected { reasons: rejection.reasons, repriced: rejection.repriced }
    }
}

/// The limits of a device in minor units.
pub(super) struct MinorLimits {
    limits: super::Limits,
    count: u32,
}

impl MinorLimits {
    pub(super) fn purchase_minor(&self, currency: Currency) -> i64 {
        self.limits.purchase.saturating_mul(10i64.pow(currency.digits()))
    }

    fn day_minor(&self, currency: Currency) -> i64 {
        self.limits.day.saturating_mul(10i64.pow(currency.digits()))
    }
}

/// What a device may buy: less while it is new.
pub(super) fn limits(ctx: &Ctx, device: &Device) -> MinorLimits {
    let old = device.active_since.is_some_and(|since| ctx.now.since(since) >= ctx.config.new_device);
    let limits = if old { ctx.config.limits } else { ctx.config.new_device_limits };
    MinorLimits { limits, count: limits.count }
}

/// The business day of an instant in a store's time zone, as `2026-01-31`.
pub(super) fn business_date(at: Timestamp, time_zone: &str) -> Result<String, Failure> {
    let zone = TimeZone::get(time_zone).map_err(|e| crate::failure::defect("time zone", e))?;
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).map_err(|e| crate::failure::defect("time", e))?;
    Ok(zone.to_datetime(at).date().to_string())
}

pub(super) fn reason(code: ReasonCode, detail: impl Into<String>) -> Reason {
    Reason { code, line: None, detail: detail.into() }
}

fn is_spot_check(checks: &[Reason]) -> bool {
    checks.iter().any(|c| c.code == ReasonCode::SpotCheck)
}

fn rejected(code: ReasonCode, detail: String) -> Finding {
    Finding::Rejected { reasons: vec![reason(code, detail)], repriced: None }
}
