//! The faults of terminal and payer routes: errors, broken connections, slow and doubled deliveries. Only in a simulation.

use super::App;
use super::body::read;
use super::problem::Refusal;
use crate::server::connection::Breaker;
use crate::sim::Fault;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use walkpay::protocol::problem::ProblemCode;

/// Lets the faults strike that are ordered; without any it only passes on.
pub async fn strike(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(faults) = &app.sim else {
        return next.run(request).await;
    };
    let operation = operation(&request);
    if faults.strikes(Fault::ServerError, operation).is_some() {
        return Refusal::new(ProblemCode::Internal, "Ordered by the simulation.").into_response();
    }
    if faults.strikes(Fault::Unavailable, operation).is_some() {
        return Refusal::unavailable("Ordered by the simulation.").into_response();
    }
    let breaker = request.extensions().get::<Breaker>().cloned().unwrap_or_default();
    if faults.strikes(Fault::DropBefore, operation).is_some() {
        breaker.break_now();
        return Refusal::unavailable("Ordered by the simulation.").into_response();
    }
    let drop_after = faults.strikes(Fault::DropAfter, operation).is_some();
    let delay = faults.strikes(Fault::Slow, operation);
    let response = match faults.strikes(Fault::Duplicate, operation) {
        Some(_) => twice(&app, request, next).await,
        None => next.run(request).await,
    };
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    if drop_after {
        breaker.break_now();
    }
    response
}

/// The `operationId` of a request of a device: to the terminal API or the payer's.
fn operation(request: &Request) -> &'static str {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if let Some(of_payer) = route.strip_prefix("/payer/v1/") {
        return match (of_payer, request.method().as_str()) {
            ("orders", _) => "payer_orders",
            ("orders/{service_number}", _) => "payer_order",
            ("slips", "POST") => "make_slip",
            ("slips", _) => "slips",
            ("slips/{slip_number}", _) => "slip",
            ("slips/{slip_number}/closure", _) => "close_slip",
            ("slips/{slip_number}/payments/{payment_id}", "PUT") => "put_payment",
            ("slips/{slip_number}/payments/{payment_id}", _) => "payment",
            ("slips/{slip_number}/payments/{payment_id}/closure", _) => "close_payment",
            _ => "",
        };
    }
    match route.trim_start_matches("/terminal/v1/") {
        "enrolments" => "begin_enrolment",
        "enrolments/{device_id}" => "enrol",
        "devices/{device_id}/keys" => "rotate_keys",
        "keys" => "key_set",
        "holds/{hold_id}" => "put_hold",
        "trips/{trip_id}/attempts/{attempt}" => "put_attempt",
        "trips/{trip_id}/cancellation" => "put_cancellation",
        "events" => "events",
        "stores/{store_id}/catalogue" => "catalogue_manifest",
        "stores/{store_id}/catalogue/{revision}" => "catalogue_data",
        _ => "",
    }
}

async fn twice(app: &App, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = match read(app, body).await {
        Ok(bytes) => bytes,
        Err(refusal) => return refusal.into_response(),
    };
    let copy = Request::from_parts(parts.clone(), Body::from(bytes.clone()));
    let first = next.clone().run(Request::from_parts(parts, Body::from(bytes))).await;
    let _second_answer = next.run(copy).await;
    first
}
