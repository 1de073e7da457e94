//! Staff: what waits for a look, and what they decide.

use super::scopes::{ScopeSet, ScopeWord};
use super::{Answer, Caller, Check, Ctx, Decision, attempts};
use crate::failure::{Failure, OrDefect, defect, refuse};
use crate::store::attempts::{self as rows, Attempt, AttemptState};
use crate::store::stores::StoreRow;
use crate::store::{Tx, stores, trips};
use walkpay::protocol::crypto::digest;
use walkpay::protocol::document::{BasketSummary, KeyUse, StaffToken, Verdict};
use walkpay::protocol::jws::{peek, verify};
use walkpay::protocol::problem::ProblemCode;
use walkpay::{StoreId, TripId};

/// How many checks a listing shows.
const MAX_CHECKS: u32 = 200;

/// Something that a staff token can allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StaffScope {
    /// See the checks of the store, and decide them.
    ChecksDecide,
    /// Give money of the store's orders back, and see what was given back.
    RefundsWrite,
    /// Search and sum up orders and payments, and compare the books.
    QueryRead,
    /// See whether messages to payers have arrived.
    MessagesRead,
}

impl ScopeWord for StaffScope {
    const ALL: &'static [Self] = &[Self::ChecksDecide, Self::RefundsWrite, Self::QueryRead, Self::MessagesRead];

    fn word(self) -> &'static str {
        match self {
            Self::ChecksDecide => "checks:decide",
            Self::RefundsWrite => "refunds:write",
            Self::QueryRead => "query:read",
            Self::MessagesRead => "messages:read",
        }
    }
}

/// What a staff token may do.
pub type StaffScopes = ScopeSet<StaffScope>;

impl StaffScopes {
    /// What a token may do that names no scopes, as those of earlier versions: all that there was to be done then.
    pub fn unnamed() -> Self {
        [StaffScope::ChecksDecide, StaffScope::RefundsWrite, StaffScope::QueryRead].into_iter().collect()
    }

    /// Whether a token with these may do this.
    ///
    /// # Errors
    /// [`Failure::Refused`] with `forbidden`.
    pub fn need(self, scope: StaffScope) -> Result<(), Failure> {
        if self.has(scope) {
            return Ok(());
        }
        Err(refuse(ProblemCode::Forbidden, format!("this staff token lacks the scope {}", scope.word())))
    }
}

/// Who presents a staff token.
///
/// # Errors
/// [`Failure::Refused`] with `unauthenticated`.
pub fn staff_of_token(ctx: &Ctx, token: &str) -> Result<Caller, Failure> {
    let token = verify::<StaffToken>(token, |kid| ctx.keys.find(kid, KeyUse::Staff, ctx.now))
        .map_err(|e| refuse(ProblemCode::Unauthenticated, e.to_string()))?
        .document;
    if token.merchant_id != *ctx.keys.merchant_id() || ctx.now < token.iat || token.exp <= ctx.now {
        return Err(refuse(
            ProblemCode::Unauthenticated,
            "the staff token is over, not valid yet or of another merchant",
        ));
    }
    let scopes = token.scope.as_deref().map_or_else(StaffScopes::unnamed, StaffScopes::known);
    Ok(Caller::Staff { store_id: token.store_id, staff_id: token.staff_id, scopes })
}

fn of_store(caller: &Caller, store: &StoreRow) -> Result<String, Failure> {
    match caller {
        Caller::Operator => Ok("operator".to_owned()),
        Caller::Staff { store_id, staff_id, .. } if *store_id == store.info.store_id => Ok(staff_id.clone()),
        _ => Err(refuse(ProblemCode::Forbidden, "only staff of this store can do this")),
    }
}

/// Whether a member of staff may deal with checks at all; asked before anything else, so that nothing is told.
fn of_checks(caller: &Caller) -> Result<(), Failure> {
    match caller {
        Caller::Staff { scopes, .. } => scopes.need(StaffScope::ChecksDecide),
        _ => Ok(()),
    }
}

/// What waits for a look in a store, oldest first.
pub(super) fn checks(tx: &Tx<'_>, caller: &Caller, store_id: &StoreId) -> Result<Answer, Failure> {
    of_checks(caller)?;
    let store = stores::find(tx, store_id)?;
    let store = store.ok_or_else(|| refuse(ProblemCode::NotFound, format!("there is no store {store_id}")))?;
    of_store(caller, &store)?;
    let waiting = rows::checks(tx, store.store, MAX_CHECKS)?;
    Ok(Answer::Checks(waiting.into_iter().map(|attempt| told(tx, attempt)).collect::<Result<_, _>>()?))
}

/// One check if it waits, however many are before it.
pub(super) fn check(tx: &Tx<'_>, caller: &Caller, trip_id: &TripId, attempt: u32) -> Result<Answer, Failure> {
    of_checks(caller)?;
    let Some(store) = trips::find(tx, trip_id)?.and_then(|trip| trip.store) else {
        return Ok(Answer::Checks(Vec::new()));
    };
    of_store(caller, &stores::get(tx, store)?)?;
    let found = rows::find(tx, trip_id, attempt)?.filter(|a| a.state == AttemptState::Check);
    Ok(Answer::Checks(found.map(|attempt| told(tx, attempt)).transpose()?.into_iter().collect()))
}

fn told(tx: &Tx<'_>, attempt: Attempt) -> Result<Check, Failure> {
    let (_, document) = peek::<BasketSummary>(&attempt.jws).or_defect("recorded basket")?;
    let lines = rows::lines(tx, &attempt.trip, attempt.attempt)?;
    let lines = lines.map(|bytes| serde_json::from_slice(&bytes)).transpose();
    Ok(Check {
        trip_id: attempt.trip,
        attempt: attempt.attempt,
        basket_sha256: digest(attempt.jws.as_bytes()),
        total: document.total,
        reasons: attempt.checks,
        recorded_at: attempt.recorded_at,
        lines: lines.map_err(|e| defect("lines", e))?.unwrap_or_default(),
    })
}

/// Decides a check. An acceptance is no verdict yet: everything but the checks is judged again, cover included.
pub(super) fn decide(tx: &Tx<'_>, ctx: &Ctx, caller: &Caller, decision: &Decision) -> Result<Answer, Failure> {
    of_checks(caller)?;
    let unknown = || refuse(ProblemCode::NotFound, "there is no such check");
    let trip = trips::find(tx, &decision.trip_id)?.ok_or_else(unknown)?;
    let store = stores::get(tx, trip.store.ok_or_else(unknown)?)?;
    let staff_id = of_store(caller, &store)?;
    let attempt = rows::find(tx, &decision.trip_id, decision.attempt)?.ok_or_else(unknown)?;
    if digest(attempt.jws.as_bytes()) != decision.basket_sha256 {
        return Err(refuse(ProblemCode::PreconditionFailed, "the decision is on another basket: read the check again"));
    }
    if attempt.checks.is_empty() {
        return Err(unknown());
    }
    if attempt.state != AttemptState::Check {
        return Err(refuse(ProblemCode::AlreadyDecided, format!("the attempt is {}", attempt.state.word())));
    }
    if !rows::add_decision(tx, &attempt.trip, attempt.attempt, &staff_id, decision.accept, ctx.now)? {
        return Err(refuse(ProblemCode::AlreadyDecided, "a decision is on record"));
    }
    let verdict = match decision.accept {
        false => attempts::refused_by_staff(tx, ctx, &attempt)?,
        true => attempts::revalidate(tx, ctx, &attempt, true)?.unwrap_or(Verdict::CheckRequired),
    };
    Ok(Answer::Decided { verdict })
}
