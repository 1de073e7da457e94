//! `/sim/v1`: faults by name and a clock that can be moved. There only with `--sim`.

use super::App;
use super::body::Json as Body;
use super::params::Path;
use super::problem::Refusal;
use crate::sim::{self, FaultRow, Faults, Order, OrderError, whole};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use walkpay::Timestamp;
use walkpay::protocol::problem::ProblemCode;

/// The table of faults, and those that are armed.
#[derive(Serialize, utoipa::ToSchema)]
pub struct FaultTable {
    /// All that can be armed.
    known: Vec<FaultRow>,
    /// What is armed, in the order in which it strikes.
    armed: Vec<Order>,
}

/// Merchant time in the simulation.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ClockState {
    /// Merchant time.
    now: Timestamp,
    /// How far ahead of the system's clock it is.
    #[schema(example = 3_600_000)]
    offset_ms: i64,
}

/// How far to move the clock.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Advance {
    /// Milliseconds, at most 400 days at once; the whole offset stays below ten years.
    #[serde(deserialize_with = "whole")]
    #[schema(minimum = 0, maximum = 34_560_000_000_i64, example = 1)]
    advance_ms: u64,
}

const MAX_ADVANCE_MS: u64 = 400 * 24 * 3600 * 1000;

/// All faults, and what is armed.
#[utoipa::path(get, path = "/sim/v1/faults", operation_id = "list_faults", tag = "simulation",
    responses((status = 200, description = "The table of faults", body = FaultTable)))]
pub async fn list_faults(State(app): State<Arc<App>>) -> Result<Json<FaultTable>, Refusal> {
    Ok(Json(FaultTable { known: sim::faults().collect(), armed: faults(&app)?.armed() }))
}

/// Arms a fault behind those that are armed: it strikes the next requests or calls that it fits.
#[utoipa::path(post, path = "/sim/v1/faults", operation_id = "arm_fault", tag = "simulation",
    request_body(content = Order, example = json!({"fault": "terminal_slow", "times": 1, "operation": "put_hold", "delay_ms": 10})),
    responses(
        (status = 201, description = "Armed", body = FaultTable, links(("disarm" = (operation_id = "disarm_faults")))),
        (status = 422, description = "`invalid_value`")))]
pub async fn arm_fault(
    State(app): State<Arc<App>>,
    Body(order): Body<Order>,
) -> Result<(StatusCode, Json<FaultTable>), Refusal> {
    faults(&app)?.arm(order).map_err(|e| match e {
        OrderError::Full => Refusal::new(ProblemCode::RateLimited, format!("Expected: {e}.")),
        _ => Refusal::new(ProblemCode::InvalidValue, format!("Expected: {e}.")),
    })?;
    list_faults(State(app)).await.map(|table| (StatusCode::CREATED, table))
}

/// Disarms all faults.
#[utoipa::path(delete, path = "/sim/v1/faults", operation_id = "disarm_faults", tag = "simulation",
    responses((status = 204, description = "Nothing is armed any more")))]
pub async fn disarm_faults(State(app): State<Arc<App>>) -> Result<StatusCode, Refusal> {
    faults(&app)?.clear();
    Ok(StatusCode::NO_CONTENT)
}

/// What time it is in the simulation.
#[utoipa::path(get, path = "/sim/v1/clock", operation_id = "read_clock", tag = "simulation",
    responses((status = 200, description = "Merchant time", body = ClockState)))]
pub async fn read_clock(State(app): State<Arc<App>>) -> Json<ClockState> {
    Json(clock(&app))
}

/// Moves the clock forward, for the merchant and the bank simulator that it started, once what is due by then has been done
/// and answered. What hangs for more than five seconds is not waited for.
#[utoipa::path(post, path = "/sim/v1/clock", operation_id = "advance_clock", tag = "simulation",
    request_body(content = Advance, example = json!({"advance_ms": 1})),
    responses((status = 200, description = "Moved", body = ClockState), (status = 422, description = "`invalid_value`")))]
pub async fn advance_clock(
    State(app): State<Arc<App>>,
    Body(advance): Body<Advance>,
) -> Result<Json<ClockState>, Refusal> {
    let by = Duration::from_millis(advance.advance_ms);
    let still = app.standstill().await;
    if advance.advance_ms > MAX_ADVANCE_MS || app.clock.advance(by).is_none() {
        return Err(Refusal::new(ProblemCode::InvalidValue, "At most 400 days at once, and ten years altogether."));
    }
    drop(still);
    app.waiters.wake_all();
    app.kick.notify_one();
    app.written();
    Ok(Json(clock(&app)))
}

/// The payer pays a trade at the simulated channel, which notifies the merchant.
#[utoipa::path(post, path = "/sim/v1/channel/trades/{number}/payment", operation_id = "pay_trade", tag = "simulation",
    params(("number" = String, Path, description = "The merchant's number of the trade: 20 digits", pattern = "^[0-9]{20}$")),
    responses(
        (status = 204, description = "Paid"),
        (status = 409, description = "`slip_over`: it is paid or closed")))]
pub async fn pay_trade(State(app): State<Arc<App>>, Path(number): Path<String>) -> Result<StatusCode, Refusal> {
    let channel = app.channels.test().ok_or_else(|| Refusal::not_found("channel"))?;
    channel.pay(app.clock.now(), &number).map_err(|why| match why {
        "trade_unknown" => Refusal::not_found("trade"),
        "unavailable" => Refusal::unavailable("The channel cannot keep its book."),
        _ => Refusal::new(ProblemCode::SlipOver, "The trade is paid or closed at the channel."),
    })?;
    Ok(StatusCode::NO_CONTENT)
}

fn clock(app: &App) -> ClockState {
    ClockState { now: app.clock.now(), offset_ms: app.clock.offset_millis() }
}

fn faults(app: &App) -> Result<&Faults, Refusal> {
    app.sim.as_ref().ok_or_else(|| Refusal::not_found("simulation"))
}
