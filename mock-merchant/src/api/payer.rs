//! `/payer/v1`: what payers see and pay (B20–B22). They never need to reach a service system (B33).

use super::App;
use super::auth::{Signed, SignedBy, SignedEmpty};
use super::headers::{Key, KeyParam};
use super::params::{Path, Query, bounded};
use super::problem::Refusal;
use crate::domain::{Answer, Command, OrderFilter, PayerAnswer, PayerCommand, PayerQuery, Query as Ask, SlipPage};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use walkpay::protocol::order::*;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{PaymentId, ServiceNumber, SlipNumber, Timestamp};

/// The most states in a query.
const MAX_STATUSES: usize = 10;
/// The longest text in a query.
const MAX_TEXT: usize = 200;

/// Which orders.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OrderParams {
    /// Only in these states: one, or several joined by commas.
    #[param(pattern = "^[a-z_]+(,[a-z_]+){0,9}$", max_length = 200, example = "payable,in_payment")]
    status: Option<String>,
    /// Only of this case.
    #[param(max_length = 200)]
    case_number: Option<String>,
    /// Only from this service system; for baskets the store.
    #[param(max_length = 200)]
    source: Option<String>,
    /// Only with a deadline before this.
    #[param(value_type = Option<Timestamp>)]
    due_before: Option<Timestamp>,
    /// The number of the last order that is known.
    #[serde(default)]
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_u64, default = 0)]
    after: u64,
    /// How many at most.
    #[serde(default = "page")]
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: usize,
}

/// Which slips.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SlipParams {
    /// The number of the last slip that is known.
    #[serde(default)]
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_u64, default = 0)]
    after: u64,
    /// How many at most.
    #[serde(default = "page")]
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: usize,
}

fn page() -> usize {
    50
}

/// B20: the payer's orders, in the order of their numbers.
#[utoipa::path(get, path = "/payer/v1/orders", operation_id = "payer_orders", tag = "payer", params(OrderParams),
    security(("device_signature" = [])),
    responses(
        (status = 200, description = "A page", body = OrderPage,
            links(("order" = (operation_id = "payer_order", parameters(
                ("service_number" = "$response.body#/orders/0/service_number")))))),
        (status = 422, description = "`invalid_value`")))]
pub async fn orders(
    State(app): State<Arc<App>>,
    Query(params): Query<OrderParams>,
    SignedEmpty(device): SignedEmpty,
) -> Result<Response, Refusal> {
    let short = |text: &Option<String>| text.as_ref().is_none_or(|t| t.chars().count() <= MAX_TEXT);
    if !short(&params.case_number) || !short(&params.source) {
        return Err(Refusal::new(ProblemCode::InvalidValue, format!("Texts have at most {MAX_TEXT} characters.")));
    }
    let filter = OrderFilter {
        statuses: params.status.as_deref().map(statuses).transpose()?.unwrap_or_default(),
        case_number: params.case_number,
        source: params.source,
        due_before: params.due_before,
        after: bounded(params.after)?,
        limit: limited(params.limit)?,
    };
    match ask(&app, &device, PayerQuery::Orders(filter)).await? {
        PayerAnswer::Orders(page) => Ok(private(StatusCode::OK, &page)),
        _ => Err(unexpected()),
    }
}

/// B21: one order in full.
#[utoipa::path(get, path = "/payer/v1/orders/{service_number}", operation_id = "payer_order", tag = "payer",
    params(("service_number" = ServiceNumber, Path, description = "The order")), security(("device_signature" = [])),
    responses((status = 200, description = "The order", body = OrderView)))]
pub async fn order(
    State(app): State<Arc<App>>,
    Path(number): Path<ServiceNumber>,
    SignedEmpty(device): SignedEmpty,
) -> Result<Response, Refusal> {
    match ask(&app, &device, PayerQuery::Order(number)).await? {
        PayerAnswer::Order(order) => Ok(private(StatusCode::OK, &order)),
        _ => Err(unexpected()),
    }
}

/// B22: makes a slip of payable orders of one currency and one payee, and locks them to it.
#[utoipa::path(post, path = "/payer/v1/slips", operation_id = "make_slip", tag = "payer",
    params(KeyParam),
    request_body(content = SlipRequest, example = json!({"orders": ["000000000000001"], "remarks": "",
        "invoice": {"type": "personal", "title": "Ada Lovelace"}})),
    security(("device_signature" = [])),
    responses(
        (status = 201, description = "Made", body = SlipView,
            links(("slip" = (operation_id = "slip", parameters(("slip_number" = "$response.body#/slip_number")))),
                ("close" = (operation_id = "close_slip", parameters(("slip_number" = "$response.body#/slip_number")))))),
        (status = 409, description = "`order_not_payable`"),
        (status = 422, description = "`invalid_value`, `currency_mismatch`, `payee_mismatch`, `idempotency_mismatch`")))]
pub async fn make_slip(
    State(app): State<Arc<App>>,
    Key(key): Key,
    Signed { device, body, body_sha256 }: Signed<SlipRequest>,
) -> Result<Response, Refusal> {
    let command = Command::Payer(PayerCommand::MakeSlip { key, body_sha256, request: body });
    match app.execute(device.caller(), command).await? {
        Answer::Reply(reply) => Ok(([(CACHE_CONTROL, "no-store")], reply).into_response()),
        _ => Err(unexpected()),
    }
}

/// The payer's slips, in the order of their numbers.
#[utoipa::path(get, path = "/payer/v1/slips", operation_id = "slips", tag = "payer", params(SlipParams),
    security(("device_signature" = [])),
    responses((status = 200, description = "A page", body = SlipPage,
        links(("slip" = (operation_id = "slip", parameters(("slip_number" = "$response.body#/slips/0/slip_number")))))),
        (status = 422, description = "`invalid_value`")))]
pub async fn slips(
    State(app): State<Arc<App>>,
    Query(params): Query<SlipParams>,
    SignedEmpty(device): SignedEmpty,
) -> Result<Response, Refusal> {
    let query = PayerQuery::Slips { after: bounded(params.after)?, limit: limited(params.limit)? };
    match ask(&app, &device, query).await? {
        PayerAnswer::Slips(page) => Ok(private(StatusCode::OK, &page)),
        _ => Err(unexpected()),
    }
}

/// One slip with its payments.
#[utoipa::path(get, path = "/payer/v1/slips/{slip_number}", operation_id = "slip", tag = "payer",
    params(("slip_number" = SlipNumber, Path, description = "The slip")), security(("device_signature" = [])),
    responses((status = 200, description = "The slip", body = SlipView)))]
pub async fn slip(
    State(app): State<Arc<App>>,
    Path(number): Path<SlipNumber>,
    SignedEmpty(device): SignedEmpty,
) -> Result<Response, Refusal> {
    match ask(&app, &device, PayerQuery::Slip(number)).await? {
        PayerAnswer::Slip(slip) => Ok(private(StatusCode::OK, &slip)),
        _ => Err(unexpected()),
    }
}

/// Gives a slip up that no payment is under way of: its orders are free. No body.
#[utoipa::path(put, path = "/payer/v1/slips/{slip_number}/closure", operation_id = "close_slip", tag = "payer",
    params(("slip_number" = SlipNumber, Path, description = "The slip")), security(("device_signature" = [])),
    responses((status = 200, description = "Closed", body = SlipView),
        (status = 409, description = "`payment_open`, `slip_over`")))]
pub async fn close_slip(
    State(app): State<Arc<App>>,
    Path(number): Path<SlipNumber>,
    SignedEmpty(device): SignedEmpty,
) -> Result<Response, Refusal> {
    match app.execute(device.caller(), Command::Payer(PayerCommand::CloseSlip(number))).await? {
        Answer::Payer(PayerAnswer::Slip(slip)) => Ok(private(StatusCode::OK, &slip)),
        _ => Err(unexpected()),
    }
}

/// Begins to pay a slip. How it goes on follows as events.
#[utoipa::path(put, path = "/payer/v1/slips/{slip_number}/payments/{payment_id}", operation_id = "put_payment", tag = "payer",
    params(("slip_number" = SlipNumber, Path, description = "The slip"),
        ("payment_id" = PaymentId, Path, description = "Made on the device: the idempotency key")),
    request_body = PaymentPut, security(("device_signature" = [])),
    responses(
        (status = 201, description = "Begun; what stored value alone pays has succeeded", body = PaymentView,
            links(("payment" = (operation_id = "payment", parameters(
                ("slip_number" = "$response.body#/slip_number"), ("payment_id" = "$response.body#/payment_id")))))),
        (status = 200, description = "Begun before: the first answer", body = PaymentView),
        (status = 409, description = "`payment_open`, `slip_over`"),
        (status = 422, description = "`document_invalid`, `document_mismatch`, `id_conflict`, `invalid_value`, `method_unavailable`, \
            `no_bank_account`, `insufficient_stored_value`, `amount_limit`")))]
pub async fn put_payment(
    State(app): State<Arc<App>>,
    Path((slip, payment_id)): Path<(SlipNumber, PaymentId)>,
    Signed { device, body, .. }: Signed<PaymentPut>,
) -> Result<Response, Refusal> {
    match app.execute(device.caller(), Command::PutPayment { slip, payment_id, body }).await? {
        Answer::Payer(PayerAnswer::Payment { view, repeat }) => {
            Ok(private(if repeat { StatusCode::OK } else { StatusCode::CREATED }, &view))
        }
        _ => Err(unexpected()),
    }
}

/// How a payment of a slip stands.
#[utoipa::path(get, path = "/payer/v1/slips/{slip_number}/payments/{payment_id}", operation_id = "payment", tag = "payer",
    params(("slip_number" = SlipNumber, Path, description = "The slip"),
        ("payment_id" = PaymentId, Path, description = "The payment")),
    security(("device_signature" = [])),
    responses((status = 200, description = "The payment", body = PaymentView)))]
pub async fn payment(
    State(app): State<Arc<App>>,
    Path((slip, payment_id)): Path<(SlipNumber, PaymentId)>,
    SignedEmpty(device): SignedEmpty,
) -> Result<Response, Refusal> {
    match ask(&app, &device, PayerQuery::Payment { slip, payment_id }).await? {
        PayerAnswer::Payment { view, .. } => Ok(private(StatusCode::OK, &view)),
        _ => Err(unexpected()),
    }
}

/// Asks the channel to end a payment that is not made. It is over only once the channel says so. No body.
#[utoipa::path(put, path = "/payer/v1/slips/{slip_number}/payments/{payment_id}/closure", operation_id = "close_payment", tag = "payer",
    params(("slip_number" = SlipNumber, Path, description = "The slip"),
        ("payment_id" = PaymentId, Path, description = "The payment")),
    security(("device_signature" = [])),
    responses((status = 200, description = "How it stands now", body = PaymentView)))]
pub async fn close_payment(
    State(app): State<Arc<App>>,
    Path((slip, payment_id)): Path<(SlipNumber, PaymentId)>,
    SignedEmpty(device): SignedEmpty,
) -> Result<Response, Refusal> {
    let command = Command::Payer(PayerCommand::ClosePayment { slip, payment_id });
    match app.execute(device.caller(), command).await? {
        Answer::Payer(PayerAnswer::Payment { view, .. }) => Ok(private(StatusCode::OK, &view)),
        _ => Err(unexpected()),
    }
}

/// What the payer has of stored value, and how much of it is free.
#[utoipa::path(get, path = "/payer/v1/balance", operation_id = "balance", tag = "payer", security(("device_signature" = [])),
    responses((status = 200, description = "Now", body = Balance)))]
pub async fn balance(State(app): State<Arc<App>>, SignedEmpty(device): SignedEmpty) -> Result<Response, Refusal> {
    match ask(&app, &device, PayerQuery::Balance).await? {
        PayerAnswer::Balance(balance) => Ok(private(StatusCode::OK, &balance)),
        _ => Err(unexpected()),
    }
}

async fn ask(app: &App, device: &SignedBy, query: PayerQuery) -> Result<PayerAnswer, Refusal> {
    match app.ask(device.caller(), Ask::Payer(query)).await? {
        Answer::Payer(answer) => Ok(answer),
        _ => Err(unexpected()),
    }
}

/// The states of a list such as `payable,in_payment`.
fn statuses(list: &str) -> Result<Vec<OrderStatus>, Refusal> {
    let word = |w: &str| serde_json::from_value(serde_json::Value::from(w)).ok();
    let found: Option<Vec<OrderStatus>> = list.split(',').take(MAX_STATUSES + 1).map(word).collect();
    found
        .filter(|all| all.len() <= MAX_STATUSES)
        .ok_or_else(|| Refusal::malformed("status is one state of an order, or at most ten joined by commas."))
}

fn limited(limit: usize) -> Result<usize, Refusal> {
    if (1..=MAX_ORDERS_PER_PAGE).contains(&limit) {
        return Ok(limit);
    }
    Err(Refusal::new(ProblemCode::InvalidValue, format!("limit is 1 to {MAX_ORDERS_PER_PAGE}.")))
}

fn private(status: StatusCode, body: &impl Serialize) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn unexpected() -> Refusal {
    Refusal::internal(&"an answer of another kind than the question")
}
