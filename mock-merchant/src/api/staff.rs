//! `/staff/v1`: checks that wait for a member of staff, and whether messages to payers have arrived.

use super::App;
use super::auth::Staff;
use super::body::Json as Body;
use super::params::{Path, Query, bounded};
use super::problem::Refusal;
use crate::domain::notices::{self, MAX_PAGE, MessagePage};
use crate::domain::{Answer, Check, Command, Decision, Query as Ask, StaffScope};
use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;
use walkpay::protocol::message::{CheckDetail, CheckSummary, Checks, DecisionAnswer, DecisionPut};
use walkpay::protocol::problem::ProblemCode;
use walkpay::{ServiceNumber, TripId};

fn summary(c: &Check) -> CheckSummary {
    CheckSummary {
        trip_id: c.trip_id,
        attempt: c.attempt,
        total: c.total,
        reasons: c.reasons.clone(),
        recorded_at: c.recorded_at,
    }
}

/// The checks that wait at the store of the token.
#[utoipa::path(get, path = "/staff/v1/checks", operation_id = "checks", tag = "staff", security(("staff_token" = [])),
    responses((status = 200, description = "The oldest first", body = Checks,
        links(("check" = (operation_id = "check", parameters(
            ("trip_id" = "$response.body#/checks/0/trip_id"), ("attempt" = "$response.body#/checks/0/attempt"))))))))]
pub async fn checks(State(app): State<Arc<App>>, staff: Staff) -> Result<Response, Refusal> {
    let checks = waiting(&app, &staff).await?.iter().map(summary).collect();
    Ok(([(CACHE_CONTROL, "no-store")], Json(Checks { checks })).into_response())
}

/// One check with its lines.
#[utoipa::path(get, path = "/staff/v1/checks/{trip_id}/{attempt}", operation_id = "check", tag = "staff",
    params(("trip_id" = TripId, Path, description = "The visit"), ("attempt" = u32, Path, description = "The attempt", minimum = 1)),
    security(("staff_token" = [])),
    responses((status = 200, description = "It waits", body = CheckDetail,
        links(("decide" = (operation_id = "decide", parameters(
            ("trip_id" = "$response.body#/trip_id"), ("attempt" = "$response.body#/attempt")),
            request_body = json!({"basket_sha256": "$response.body#/basket_sha256", "accept": true})))))))]
pub async fn check(
    State(app): State<Arc<App>>,
    staff: Staff,
    Path((trip_id, attempt)): Path<(TripId, u32)>,
) -> Result<Response, Refusal> {
    let found = match app.ask(staff.caller.clone(), Ask::Check { trip_id, attempt }).await {
        Ok(Answer::Checks(checks)) => checks.into_iter().next(),
        Ok(_) => return Err(unexpected()),
        // That another store has such a check is not told.
        Err(refusal) if refusal.code == ProblemCode::Forbidden && staff.may(StaffScope::ChecksDecide) => None,
        Err(refusal) => return Err(refusal),
    };
    let found = found.ok_or_else(|| Refusal::not_found("check that waits"))?;
    let detail = CheckDetail { summary: summary(&found), basket_sha256: found.basket_sha256, lines: found.lines };
    Ok(([(CACHE_CONTROL, "no-store")], Json(detail)).into_response())
}

/// Decides a check, once. The decision names the basket that was looked at; a replay is refused.
#[utoipa::path(put, path = "/staff/v1/checks/{trip_id}/{attempt}/decision", operation_id = "decide", tag = "staff",
    params(("trip_id" = TripId, Path, description = "The visit"), ("attempt" = u32, Path, description = "The attempt", minimum = 1)),
    request_body = DecisionPut, security(("staff_token" = [])),
    responses(
        (status = 200, description = "Decided; the verdict goes to the device as an event", body = DecisionAnswer),
        (status = 409, description = "`already_decided`"),
        (status = 412, description = "`precondition_failed`: another basket than the one that was looked at")))]
pub async fn decide(
    State(app): State<Arc<App>>,
    staff: Staff,
    Path((trip_id, attempt)): Path<(TripId, u32)>,
    Body(body): Body<DecisionPut>,
) -> Result<Json<DecisionAnswer>, Refusal> {
    let decision = Decision { trip_id, attempt, basket_sha256: body.basket_sha256, accept: body.accept };
    match app.execute(staff.caller.clone(), Command::Decide(decision)).await? {
        Answer::Decided { verdict } => Ok(Json(DecisionAnswer { verdict })),
        _ => Err(unexpected()),
    }
}

/// Which page of messages.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct MessagesPage {
    /// Only about this order.
    service_number: Option<ServiceNumber>,
    /// The `next` of the last answer; nothing: from the newest on.
    #[param(maximum = 9007199254740991u64)]
    after: Option<u64>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
}

/// Whether messages to payers have arrived. Addresses, and who was told, are not shown.
#[utoipa::path(get, path = "/staff/v1/messages", operation_id = "messages", tag = "staff", params(MessagesPage),
    security(("staff_token" = [])),
    responses((status = 200, description = "The newest first", body = MessagePage,
        links(("next" = (operation_id = "messages", parameters(("after" = "$response.body#/next")))))),
        (status = 422, description = "`invalid_value`")))]
pub async fn messages(
    State(app): State<Arc<App>>,
    staff: Staff,
    Query(page): Query<MessagesPage>,
) -> Result<Response, Refusal> {
    let MessagesPage { service_number, after, limit } = page;
    let limit = limit.unwrap_or(50);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Refusal::new(ProblemCode::InvalidValue, format!("limit: expected 1 to {MAX_PAGE}")));
    }
    let after = after.map(bounded).transpose()?;
    let page = app.read(move |tx| notices::messages(tx, &staff.caller, service_number, after, limit)).await?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(page)).into_response())
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
