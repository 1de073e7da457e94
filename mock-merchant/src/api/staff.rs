//! `/staff/v1`: checks that wait for a member of staff.

use super::App;
use super::auth::Staff;
use super::body::Json as Body;
use super::params::Path;
use super::problem::Refusal;
use crate::domain::{Answer, Check, Command, Decision, Query as Ask};
use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use walkpay::TripId;
use walkpay::protocol::document::Verdict;

/// Checks that wait at the store, the oldest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Checks {
    /// Without their lines.
    checks: Vec<CheckSummary>,
}

/// An attempt that staff must look at.
#[derive(Serialize, utoipa::ToSchema)]
pub struct CheckSummary {
    /// The visit.
    trip_id: TripId,
    /// The attempt.
    #[schema(example = 1)]
    attempt: u32,
    /// What is to be paid.
    total: walkpay::Money,
    /// Why it is checked.
    reasons: Vec<walkpay::protocol::document::Reason>,
    /// Since when it waits.
    recorded_at: walkpay::Timestamp,
}

/// One check, with what a decision needs.
#[derive(Serialize, utoipa::ToSchema)]
pub struct CheckDetail {
    /// What waits.
    #[serde(flatten)]
    summary: CheckSummary,
    /// What a decision is bound to.
    #[schema(example = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU")]
    basket_sha256: String,
    /// The lines, as the shopper signed them.
    lines: serde_json::Value,
}

impl From<Check> for CheckSummary {
    fn from(c: Check) -> Self {
        Self { trip_id: c.trip_id, attempt: c.attempt, total: c.total, reasons: c.reasons, recorded_at: c.recorded_at }
    }
}

/// What a member of staff decides.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct DecisionBody {
    /// The digest of the basket that was looked at: `basket_sha256` of the check.
    #[schema(example = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU")]
    basket_sha256: String,
    /// Whether the shopper may go, cover permitting.
    #[schema(example = true)]
    accept: bool,
}

/// What followed from a decision.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DecisionAnswer {
    /// `accepted`, `rejected` or `insufficient_cover`.
    #[schema(value_type = String, example = "accepted")]
    verdict: Verdict,
}

/// The checks that wait at the store of the token.
#[utoipa::path(get, path = "/staff/v1/checks", operation_id = "checks", tag = "staff", security(("staff_token" = [])),
    responses((status = 200, description = "The oldest first", body = Checks,
        links(("check" = (operation_id = "check", parameters(
            ("trip_id" = "$response.body#/checks/0/trip_id"), ("attempt" = "$response.body#/checks/0/attempt"))))))))]
pub async fn checks(State(app): State<Arc<App>>, staff: Staff) -> Result<Response, Refusal> {
    let checks = waiting(&app, &staff).await?.into_iter().map(CheckSummary::from).collect();
    Ok(([(CACHE_CONTROL, "no-store")], Json(Checks { checks })).into_response())
}

/// One check with its lines.
#[utoipa::path(get, path = "/staff/v1/checks/{trip_id}/{attempt}", operation_id = "check", tag = "staff",
    params(("trip_id" = TripId, Path, description = "The visit"), ("attempt" = u32, Path, description = "The attempt", minimum = 1)),
    security(("staff_token" = [])),
    responses((status = 200, description = "It waits", body = CheckDetail,
        links(("decide" = (operation_id = "decide", parameters(
            ("trip_id" = "$response.body#/trip_id"), ("attempt" = "$response.body#/attempt")),
            request_body = "$response.body#/basket_sha256"))))))]
pub async fn check(
    State(app): State<Arc<App>>,
    staff: Staff,
    Path((trip_id, attempt)): Path<(TripId, u32)>,
) -> Result<Response, Refusal> {
    let found = waiting(&app, &staff).await?.into_iter().find(|c| c.trip_id == trip_id && c.attempt == attempt);
    let found = found.ok_or_else(|| Refusal::not_found("check that waits"))?;
    let (basket_sha256, lines) = (found.basket_sha256.clone(), found.lines.clone());
    let detail = CheckDetail { summary: found.into(), basket_sha256, lines };
    Ok(([(CACHE_CONTROL, "no-store")], Json(detail)).into_response())
}

/// Decides a check, once. The decision names the basket that was looked at; a replay is refused.
#[utoipa::path(put, path = "/staff/v1/checks/{trip_id}/{attempt}/decision", operation_id = "decide", tag = "staff",
    params(("trip_id" = TripId, Path, description = "The visit"), ("attempt" = u32, Path, description = "The attempt", minimum = 1)),
    request_body = DecisionBody, security(("staff_token" = [])),
    responses(
        (status = 200, description = "Decided; the verdict goes to the device as an event", body = DecisionAnswer),
        (status = 409, description = "`already_decided`, `trip_cancelled`"),
        (status = 412, description = "`precondition_failed`: another basket than the one that was looked at")))]
pub async fn decide(
    State(app): State<Arc<App>>,
    staff: Staff,
    Path((trip_id, attempt)): Path<(TripId, u32)>,
    Body(body): Body<DecisionBody>,
) -> Result<Json<DecisionAnswer>, Refusal> {
    let decision = Decision { trip_id, attempt, basket_sha256: body.basket_sha256, accept: body.accept };
    match app.execute(staff.caller.clone(), Command::Decide(decision)).await? {
        Answer::Decided { verdict } => Ok(Json(DecisionAnswer { verdict })),
        _ => Err(unexpected()),
    }
}

async fn waiting(app: &App, staff: &Staff) -> Result<Vec<Check>, Refusal> {
    match app.ask(staff.caller.clone(), Ask::Checks { store_id: staff.store_id.clone() }).await? {
        Answer::Checks(checks) => Ok(checks),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> Refusal {
    Refusal::internal(&"an answer of another kind than the question")
}
