//! `/service/v1`: service systems hand in orders, change them, and see what they were told.

use super::App;
use super::auth::Source;
use super::body::{Digested, Json as Body};
use super::headers::{IfVersion, IfVersionParam, Key, KeyParam, etag};
use super::params::{Path, Query};
use super::problem::Refusal;
use crate::domain::once::Reply;
use crate::domain::service::message::*;
use crate::domain::service::{Change, MAX_PAGE, Scope, ServiceAnswer, ServiceCommand, ServiceQuery};
use crate::domain::{Answer, Caller, Command, Query as Ask};
use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, ETAG, LOCATION};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;
use walkpay::ServiceNumber;
use walkpay::protocol::problem::ProblemCode;

/// Where a list of orders goes on, and how much of it comes.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OrdersAfter {
    /// The `next` of the last page; without it: from the beginning.
    after: Option<ServiceNumber>,
    /// How many at most.
    #[serde(default = "most")]
    #[param(minimum = 1, maximum = 200, default = 200)]
    limit: u32,
}

/// Where a list of versions goes on, and how much of it comes.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct After {
    /// The `next` of the last page; 0 or nothing: from the beginning.
    #[serde(default)]
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_u64, default = 0)]
    after: u64,
    /// How many at most.
    #[serde(default = "most")]
    #[param(minimum = 1, maximum = 200, default = 200)]
    limit: u32,
}

/// Which messages, where the list goes on, and how much of it comes.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeliveriesAfter {
    /// The `next` of the last page; 0 or nothing: from the beginning.
    #[serde(default)]
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_u64, default = 0)]
    after: u64,
    /// How many at most.
    #[serde(default = "most")]
    #[param(minimum = 1, maximum = 200, default = 200)]
    limit: u32,
    /// Only these: `dead` lists the dead letters.
    status: Option<DeliveryStatus>,
}

fn most() -> u32 {
    MAX_PAGE
}

fn limited(limit: u32) -> Result<u32, Refusal> {
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Refusal::new(ProblemCode::InvalidValue, format!("limit: expected 1 to {MAX_PAGE}.")));
    }
    Ok(limit)
}

/// Hands in a payment request, which becomes a service order (B01–B04). The same key gives the same number, for ever.
///
/// Unless it is a draft, its confirmation is asked for at once: by the webhook `order.confirmation_requested`.
#[utoipa::path(post, path = "/service/v1/orders", operation_id = "hand_in", tag = "service",
    params(KeyParam),
    request_body(content = OrderBody, example = json!({
        "service_name": "Delivery of a washing machine", "payer": "alice", "deadline": "2030-01-31T12:00:00Z",
        "case_number": "C-2026-0815", "case_name": "Kitchen", "draft": true,
        "fees": [{"name": "Delivery", "quantity": "1", "unit_price": {"amount": "29.00", "currency": "EUR"}, "tax_rate": "19"}]})),
    security(("source_key" = [])),
    responses((status = 201, description = "Handed in; the same for each repeat", body = HandedIn,
            headers(("location" = String, description = "The order")),
            links(("order" = (operation_id = "service_order", parameters(("service_number" = "$response.body#/service_number")))),
                ("submit" = (operation_id = "submit_order", parameters(("service_number" = "$response.body#/service_number"), ("header.if-match" = "\"1\"")))))),
        (status = 422, description = "`invalid_value`, `currency_mismatch`, `payer_unknown`, `idempotency_mismatch`")))]
pub async fn hand_in(
    State(app): State<Arc<App>>,
    source: Source,
    Key(key): Key,
    Digested { body, body_sha256 }: Digested<OrderBody>,
) -> Result<Response, Refusal> {
    let caller = source.with(Scope::OrdersWrite)?;
    let reply = replied(&app, caller, ServiceCommand::HandIn { key, body_sha256, body: Box::new(body) }).await?;
    let handed: HandedIn = serde_json::from_slice(&reply.body).map_err(|e| Refusal::internal(&e))?;
    Ok(([(LOCATION, format!("/service/v1/orders/{}", handed.service_number))], reply).into_response())
}

/// One of the source's own orders.
#[utoipa::path(get, path = "/service/v1/orders/{service_number}", operation_id = "service_order", tag = "service",
    params(("service_number" = ServiceNumber, Path, description = "The order")), security(("source_key" = [])),
    responses((status = 200, description = "As it is", body = SourceOrder,
        headers(("etag" = String, description = "The version: what If-Match names")),
        links(("versions" = (operation_id = "order_versions", parameters(("service_number" = "$response.body#/service_number"))))))))]
pub async fn order(
    State(app): State<Arc<App>>,
    source: Source,
    Path(number): Path<ServiceNumber>,
) -> Result<Response, Refusal> {
    match ask(&app, source.with(Scope::OrdersRead)?, ServiceQuery::Order(number)).await? {
        ServiceAnswer::Order(order) => Ok(tagged(*order)),
        _ => Err(unexpected()),
    }
}

/// The source's own orders, in the order of their numbers.
#[utoipa::path(get, path = "/service/v1/orders", operation_id = "service_orders", tag = "service",
    params(OrdersAfter), security(("source_key" = [])),
    responses((status = 200, description = "A page", body = SourceOrders,
        links(("next" = (operation_id = "service_orders", parameters(("after" = "$response.body#/next")))))),
        (status = 422, description = "`invalid_value`")))]
pub async fn orders(
    State(app): State<Arc<App>>,
    source: Source,
    Query(OrdersAfter { after, limit }): Query<OrdersAfter>,
) -> Result<Response, Refusal> {
    let query = ServiceQuery::Orders { after: after.map_or(0, ServiceNumber::number), limit: limited(limit)? };
    match ask(&app, source.with(Scope::OrdersRead)?, query).await? {
        ServiceAnswer::Orders(page) => Ok(private(page)),
        _ => Err(unexpected()),
    }
}

/// Every version of an order, with who changed what (B05).
#[utoipa::path(get, path = "/service/v1/orders/{service_number}/versions", operation_id = "order_versions", tag = "service",
    params(("service_number" = ServiceNumber, Path, description = "The order"), After), security(("source_key" = [])),
    responses((status = 200, description = "The oldest first", body = OrderVersions), (status = 422, description = "`invalid_value`")))]
pub async fn versions(
    State(app): State<Arc<App>>,
    source: Source,
    Path(number): Path<ServiceNumber>,
    Query(After { after, limit }): Query<After>,
) -> Result<Response, Refusal> {
    let query = ServiceQuery::Versions { number, after: super::params::bounded(after)?, limit: limited(limit)? };
    match ask(&app, source.with(Scope::OrdersRead)?, query).await? {
        ServiceAnswer::Versions(page) => Ok(private(page)),
        _ => Err(unexpected()),
    }
}

/// Submits a draft: from now on it waits for its confirmation.
#[utoipa::path(post, path = "/service/v1/orders/{service_number}/submission", operation_id = "submit_order", tag = "service",
    params(("service_number" = ServiceNumber, Path, description = "The order"), IfVersionParam), security(("source_key" = [])),
    responses((status = 200, description = "Submitted", body = SourceOrder,
            links(("confirm" = (operation_id = "confirm_order", parameters(("service_number" = "$response.body#/service_number")))))),
        (status = 409, description = "`order_locked`"), (status = 412, description = "`precondition_failed`"),
        (status = 422, description = "`invalid_value`"), (status = 428, description = "`precondition_required`")))]
pub async fn submit(
    State(app): State<Arc<App>>,
    source: Source,
    Path(number): Path<ServiceNumber>,
    IfVersion(version): IfVersion,
) -> Result<Response, Refusal> {
    changed(&app, source, number, version, Change::Submit).await
}

/// Answers a request for confirmation (B05): confirms, modifies or withdraws.
#[utoipa::path(put, path = "/service/v1/orders/{service_number}/confirmation", operation_id = "confirm_order", tag = "service",
    params(("service_number" = ServiceNumber, Path, description = "The order"), IfVersionParam),
    request_body(content = DecisionBody, example = json!({"decision": "confirm"})), security(("source_key" = [])),
    responses((status = 200, description = "As it is now", body = SourceOrder),
        (status = 409, description = "`order_locked`"), (status = 412, description = "`precondition_failed`"),
        (status = 422, description = "`invalid_value`, `currency_mismatch`, `payer_unknown`"),
        (status = 428, description = "`precondition_required`")))]
pub async fn confirm(
    State(app): State<Arc<App>>,
    source: Source,
    Path(number): Path<ServiceNumber>,
    IfVersion(version): IfVersion,
    Body(decision): Body<DecisionBody>,
) -> Result<Response, Refusal> {
    changed(&app, source, number, version, Change::Decide(decision)).await
}

/// Modifies an order that no payment was begun for (B06).
#[utoipa::path(put, path = "/service/v1/orders/{service_number}/modification", operation_id = "modify_order", tag = "service",
    params(("service_number" = ServiceNumber, Path, description = "The order"), IfVersionParam),
    request_body(content = ModificationBody, example = json!({"fields": {"remarks": "Second floor"}, "reason": "Address completed"})),
    security(("source_key" = [])),
    responses((status = 200, description = "As it is now", body = SourceOrder),
        (status = 409, description = "`order_locked`"), (status = 412, description = "`precondition_failed`"),
        (status = 422, description = "`invalid_value`, `currency_mismatch`, `payer_unknown`"),
        (status = 428, description = "`precondition_required`")))]
pub async fn modify(
    State(app): State<Arc<App>>,
    source: Source,
    Path(number): Path<ServiceNumber>,
    IfVersion(version): IfVersion,
    Body(ModificationBody { fields, reason }): Body<ModificationBody>,
) -> Result<Response, Refusal> {
    changed(&app, source, number, version, Change::Modify { fields, reason }).await
}

/// Withdraws an order that no payment was begun for.
#[utoipa::path(put, path = "/service/v1/orders/{service_number}/withdrawal", operation_id = "withdraw_order", tag = "service",
    params(("service_number" = ServiceNumber, Path, description = "The order"), IfVersionParam),
    request_body(content = WithdrawalBody, example = json!({"reason": "Cancelled by the customer"})), security(("source_key" = [])),
    responses((status = 200, description = "Withdrawn", body = SourceOrder),
        (status = 409, description = "`order_locked`"), (status = 412, description = "`precondition_failed`"),
        (status = 422, description = "`invalid_value`"), (status = 428, description = "`precondition_required`")))]
pub async fn withdraw(
    State(app): State<Arc<App>>,
    source: Source,
    Path(number): Path<ServiceNumber>,
    IfVersion(version): IfVersion,
    Body(WithdrawalBody { reason }): Body<WithdrawalBody>,
) -> Result<Response, Refusal> {
    changed(&app, source, number, version, Change::Withdraw { reason }).await
}

/// What the source was told, dead letters included.
#[utoipa::path(get, path = "/service/v1/deliveries", operation_id = "deliveries", tag = "service",
    params(DeliveriesAfter), security(("source_key" = [])),
    responses((status = 200, description = "The oldest first", body = Deliveries,
        links(("next" = (operation_id = "deliveries", parameters(("after" = "$response.body#/next")))),
            ("redeliver" = (operation_id = "redeliver", parameters(("message_id" = "$response.body#/deliveries/0/message_id")))))),
        (status = 422, description = "`invalid_value`")))]
pub async fn deliveries(
    State(app): State<Arc<App>>,
    source: Source,
    Query(DeliveriesAfter { after, limit, status }): Query<DeliveriesAfter>,
) -> Result<Response, Refusal> {
    let query = ServiceQuery::Deliveries { after: super::params::bounded(after)?, limit: limited(limit)?, status };
    match ask(&app, source.with(Scope::WebhooksManage)?, query).await? {
        ServiceAnswer::Deliveries(page) => Ok(private(page)),
        _ => Err(unexpected()),
    }
}

/// Has a message delivered again, from now on with all tries.
#[utoipa::path(post, path = "/service/v1/deliveries/{message_id}/redelivery", operation_id = "redeliver", tag = "service",
    params(("message_id" = String, Path, description = "The message", pattern = "^[A-Za-z0-9_-]{1,64}$"), KeyParam),
    security(("source_key" = [])),
    responses((status = 202, description = "It waits; the same for each repeat", body = DeliveryView),
        (status = 422, description = "`idempotency_mismatch`")))]
pub async fn redeliver(
    State(app): State<Arc<App>>,
    source: Source,
    Path(message_id): Path<String>,
    Key(key): Key,
) -> Result<Response, Refusal> {
    let caller = source.with(Scope::WebhooksManage)?;
    Ok(replied(&app, caller, ServiceCommand::Redeliver { message_id, key }).await?.into_response())
}

async fn changed(
    app: &App,
    source: Source,
    number: ServiceNumber,
    version: u64,
    change: Change,
) -> Result<Response, Refusal> {
    let caller = source.with(Scope::OrdersWrite)?;
    let command = ServiceCommand::Change { number, version, change: Box::new(change) };
    match app.execute(caller, Command::Service(command)).await? {
        Answer::Service(ServiceAnswer::Order(order)) => Ok(tagged(*order)),
        _ => Err(unexpected()),
    }
}

async fn replied(app: &App, caller: Caller, command: ServiceCommand) -> Result<Reply, Refusal> {
    match app.execute(caller, Command::Service(command)).await? {
        Answer::Service(ServiceAnswer::Reply(reply)) => Ok(reply),
        _ => Err(unexpected()),
    }
}

async fn ask(app: &App, caller: Caller, query: ServiceQuery) -> Result<ServiceAnswer, Refusal> {
    match app.ask(caller, Ask::Service(query)).await? {
        Answer::Service(answer) => Ok(answer),
        _ => Err(unexpected()),
    }
}

fn tagged(order: SourceOrder) -> Response {
    ([(ETAG, etag(order.version))], private(order)).into_response()
}

fn private(body: impl serde::Serialize) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn unexpected() -> Refusal {
    Refusal::internal(&"an answer of another kind than the question")
}
