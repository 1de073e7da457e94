//! Refunds of orders: by staff of the store that was paid, by the service system whose order it is.

use super::App;
use super::auth::{Source, Staff};
use super::body::Digested;
use super::headers::{Key, KeyParam};
use super::params::Path;
use super::problem::Refusal;
use crate::domain::once::IdempotencyKey;
use crate::domain::service::Scope;
use crate::domain::{Answer, Caller, Command, Query as Ask, RefundRequest, RefundView};
use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use walkpay::ServiceNumber;

/// Refunds of an order, the newest last.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Refunds {
    /// They.
    refunds: Vec<RefundView>,
}

/// The refunds of an order of the store.
#[utoipa::path(get, path = "/staff/v1/orders/{service_number}/refunds", operation_id = "order_refunds", tag = "staff",
    params(("service_number" = ServiceNumber, Path, description = "The order")), security(("staff_token" = [])),
    responses((status = 200, description = "The newest last", body = Refunds)))]
pub async fn order_refunds(
    State(app): State<Arc<App>>,
    staff: Staff,
    Path(number): Path<ServiceNumber>,
) -> Result<Response, Refusal> {
    listed(&app, staff.caller, number).await
}

/// Gives money of a paid order of the store back: channel and bank first, then stored value.
#[utoipa::path(post, path = "/staff/v1/orders/{service_number}/refunds", operation_id = "refund_order", tag = "staff",
    params(("service_number" = ServiceNumber, Path, description = "The order"), KeyParam),
    request_body(content = RefundRequest, example = json!({"amount": {"amount": "1.00", "currency": "EUR"}})),
    security(("staff_token" = [])),
    responses(
        (status = 201, description = "On its way; what is stored value has gone back", body = RefundView,
            links(("refunds" = (operation_id = "order_refunds", parameters(("service_number" = "$response.body#/service_number")))))),
        (status = 409, description = "`order_not_paid`"),
        (status = 422, description = "`invalid_value`, `currency_mismatch`, `refund_exceeds`, `idempotency_mismatch`")))]
pub async fn refund_order(
    State(app): State<Arc<App>>,
    staff: Staff,
    Path(number): Path<ServiceNumber>,
    Key(key): Key,
    Digested { body, body_sha256 }: Digested<RefundRequest>,
) -> Result<Response, Refusal> {
    begun(&app, staff.caller, number, key, body_sha256, body).await
}

/// The refunds of an order of the service system.
#[utoipa::path(get, path = "/service/v1/orders/{service_number}/refunds", operation_id = "service_refunds", tag = "service",
    params(("service_number" = ServiceNumber, Path, description = "The order")), security(("source_key" = [])),
    responses((status = 200, description = "The newest last", body = Refunds)))]
pub async fn service_refunds(
    State(app): State<Arc<App>>,
    source: Source,
    Path(number): Path<ServiceNumber>,
) -> Result<Response, Refusal> {
    listed(&app, source.with(Scope::OrdersRead)?, number).await
}

/// Gives money of a paid order of the service system back: channel and bank first, then stored value.
#[utoipa::path(post, path = "/service/v1/orders/{service_number}/refunds", operation_id = "service_refund", tag = "service",
    params(("service_number" = ServiceNumber, Path, description = "The order"), KeyParam),
    request_body(content = RefundRequest, example = json!({"amount": {"amount": "1.00", "currency": "EUR"}})),
    security(("source_key" = [])),
    responses(
        (status = 201, description = "On its way; what is stored value has gone back", body = RefundView,
            links(("refunds" = (operation_id = "service_refunds", parameters(("service_number" = "$response.body#/service_number")))))),
        (status = 409, description = "`order_not_paid`"),
        (status = 422, description = "`invalid_value`, `currency_mismatch`, `refund_exceeds`, `idempotency_mismatch`")))]
pub async fn service_refund(
    State(app): State<Arc<App>>,
    source: Source,
    Path(number): Path<ServiceNumber>,
    Key(key): Key,
    Digested { body, body_sha256 }: Digested<RefundRequest>,
) -> Result<Response, Refusal> {
    begun(&app, source.with(Scope::OrdersWrite)?, number, key, body_sha256, body).await
}

async fn listed(app: &App, caller: Caller, number: ServiceNumber) -> Result<Response, Refusal> {
    match app.ask(caller, Ask::Refunds(number)).await? {
        Answer::Refunds(refunds) => Ok(([(CACHE_CONTROL, "no-store")], Json(Refunds { refunds })).into_response()),
        _ => Err(unexpected()),
    }
}

async fn begun(
    app: &App,
    caller: Caller,
    number: ServiceNumber,
    key: IdempotencyKey,
    body_sha256: [u8; 32],
    request: RefundRequest,
) -> Result<Response, Refusal> {
    match app.execute(caller, Command::Refund { number, key, body_sha256, request }).await? {
        Answer::Reply(reply) => Ok(([(CACHE_CONTROL, "no-store")], reply).into_response()),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> Refusal {
    Refusal::internal(&"an answer of another kind than the question")
}
