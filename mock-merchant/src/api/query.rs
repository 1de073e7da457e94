//! `/query/v1`: what was ordered and paid (B30–B32). Payers ask about their own orders, service systems about theirs, staff about
//! all; the routes are the same.

use super::App;
use super::app::blocking;
use super::auth::{SignedEmpty, Source, bearer};
use super::params::Query;
use super::problem::Refusal;
use crate::domain::reconciliation::{Reconciliation, reconcile};
use crate::domain::{self, Caller, Filters, Question, groups};
use crate::failure::Failure;
use crate::store::Tx;
use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use walkpay::protocol::document::LegState;
use walkpay::protocol::problem::ProblemCode;
use walkpay::protocol::query::*;

/// Whoever asks: a member of staff by their token, a service system by its API key, else a device by its signature.
pub struct Asker(pub Caller);

impl FromRequest<Arc<App>> for Asker {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refusal> {
        let headers = request.headers();
        match (headers.contains_key(AUTHORIZATION), headers.contains_key("signature")) {
            (true, true) => {
                Err(Refusal::new(ProblemCode::Unauthenticated, "Send a token or a signature, not both: who asks?"))
            }
            // A staff token is a JWS of three parts; API keys have no full stop.
            (true, false) if bearer(headers)?.contains('.') => {
                Ok(Self(domain::staff_of_token(&app.ctx()?, bearer(headers)?)?))
            }
            (true, false) => {
                let Source(source) = Source::from_request_parts(&mut request.into_parts().0, app).await?;
                Ok(Self(Caller::Source(source)))
            }
            _ => SignedEmpty::from_request(request, app).await.map(|signed| Self(signed.0.caller())),
        }
    }
}

/// A question: filters, and what else the route takes.
pub struct Asked<T> {
    /// What is looked for.
    pub filters: Filters,
    /// The rest.
    pub rest: T,
}

/// The words of a route beside [`domain::FILTER_WORDS`].
pub trait Words {
    /// All of them.
    const WORDS: &'static [&'static str];
}

impl<T: DeserializeOwned + Words + Send> FromRequestParts<Arc<App>> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        // A filter that is not known must not be taken for one that everything meets.
        let query = parts.uri.query().unwrap_or_default();
        let known = |word: &str| domain::FILTER_WORDS.contains(&word) || T::WORDS.contains(&word);
        if let Some(false) = url::form_urlencoded::parse(query.as_bytes()).map(|(word, _)| known(&word)).min() {
            return Err(Refusal::malformed("A query parameter is not one of this route's: /openapi.json lists them."));
        }
        let Query(filters) = Query::from_request_parts(parts, app).await?;
        let Query(rest) = Query::from_request_parts(parts, app).await?;
        Ok(Self { filters, rest })
    }
}

/// Which page.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// The `next` of the last answer; nothing: from the beginning.
    #[param(max_length = 2048)]
    after: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

impl Words for Page {
    const WORDS: &'static [&'static str] = &["after", "limit"];
}

/// Which page of payments.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PaymentsPage {
    /// What is known of them: `succeeded`, `pending`, `unknown`, `failed`.
    #[param(inline)]
    leg_state: Option<LegState>,
    /// The `next` of the last answer; nothing: from the beginning.
    #[param(max_length = 2048)]
    after: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

impl Words for PaymentsPage {
    const WORDS: &'static [&'static str] = &["leg_state", "after", "limit"];
}

/// Which totals.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TotalsPage {
    /// Some of `method`, `source`, `state`, `case`, `business_day`, `currency`, each once, with commas between. Amounts are always
    /// split by currency.
    #[serde(default)]
    #[param(pattern = "^[a-z_,]*$", example = "method,currency")]
    group_by: String,
    /// The `next` of the last answer; nothing: from the beginning.
    #[param(max_length = 2048)]
    after: Option<String>,
    /// How many groups at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

impl Words for TotalsPage {
    const WORDS: &'static [&'static str] = &["group_by", "after", "limit"];
}

/// Orders by number, source, state, method, case, payer, amount and time (B30).
#[utoipa::path(get, path = "/query/v1/orders", operation_id = "query_orders", tag = "query", params(Filters, Page),
    security(("device_signature" = []), ("source_key" = []), ("staff_token" = [])),
    responses((status = 200, description = "In the order of their numbers", body = QueriedOrders,
        links(("next" = (operation_id = "query_orders", parameters(("after" = "$response.body#/next")))),
            ("payments" = (operation_id = "query_payments", parameters(("number" = "$response.body#/orders/0/service_number")))))),
        (status = 422, description = "`invalid_value`")))]
pub async fn query_orders(
    State(app): State<Arc<App>>,
    asked: Asked<Page>,
    Asker(caller): Asker,
) -> Result<Response, Refusal> {
    let Asked { filters, rest: Page { after, limit } } = asked;
    let limit = page(limit)?;
    let answer = move |tx: &Tx<'_>| Question::new(tx, &caller, &filters, None)?.orders(tx, after.as_deref(), limit);
    Ok(private(look_up(&app, answer).await?))
}

/// Payments and refunds, each by its order and method (B30).
#[utoipa::path(get, path = "/query/v1/payments", operation_id = "query_payments", tag = "query", params(Filters, PaymentsPage),
    security(("device_signature" = []), ("source_key" = []), ("staff_token" = [])),
    responses((status = 200, description = "In the order of the orders' numbers", body = QueriedPayments,
        links(("next" = (operation_id = "query_payments", parameters(("after" = "$response.body#/next")))),
            ("order" = (operation_id = "query_orders", parameters(("number" = "$response.body#/payments/0/service_number")))))),
        (status = 422, description = "`invalid_value`")))]
pub async fn query_payments(
    State(app): State<Arc<App>>,
    asked: Asked<PaymentsPage>,
    Asker(caller): Asker,
) -> Result<Response, Refusal> {
    let Asked { filters, rest: PaymentsPage { leg_state, after, limit } } = asked;
    let limit = page(limit)?;
    let answer =
        move |tx: &Tx<'_>| Question::new(tx, &caller, &filters, leg_state)?.payments(tx, after.as_deref(), limit);
    Ok(private(look_up(&app, answer).await?))
}

/// What was paid, given back, and the difference, by method (B31), case (B32) and more. What counts is what was posted.
#[utoipa::path(get, path = "/query/v1/totals", operation_id = "query_totals", tag = "query", params(Filters, TotalsPage),
    security(("device_signature" = []), ("source_key" = []), ("staff_token" = [])),
    responses((status = 200, description = "In the order of what they are grouped by", body = Totals,
        links(("next" = (operation_id = "query_totals", parameters(("after" = "$response.body#/next")))))),
        (status = 422, description = "`invalid_value`; also when a sum is above what an amount can be")))]
pub async fn query_totals(
    State(app): State<Arc<App>>,
    asked: Asked<TotalsPage>,
    Asker(caller): Asker,
) -> Result<Response, Refusal> {
    let Asked { filters, rest: TotalsPage { group_by, after, limit } } = asked;
    let (limit, by) = (page(limit)?, groups(&group_by)?);
    let answer =
        move |tx: &Tx<'_>| Question::new(tx, &caller, &filters, None)?.totals(tx, &by, after.as_deref(), limit);
    Ok(private(look_up(&app, answer).await?))
}

/// Which day.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OnDay {
    /// The business day.
    #[param(format = Date, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example = "2026-01-31")]
    day: String,
    /// Whose midnights bound it for receipts and statements; by default those of the first store.
    #[param(max_length = 64, example = "Europe/Berlin")]
    time_zone: Option<String>,
}

/// A day of the ledger beside what channels and bank say of it, with every difference. For staff.
#[utoipa::path(get, path = "/query/v1/reconciliation", operation_id = "query_reconciliation", tag = "query", params(OnDay),
    security(("staff_token" = [])),
    responses((status = 200, description = "No differences: all agrees", body = Reconciliation),
        (status = 422, description = "`invalid_value`")))]
pub async fn query_reconciliation(
    State(app): State<Arc<App>>,
    Query(OnDay { day, time_zone }): Query<OnDay>,
    Asker(caller): Asker,
) -> Result<Response, Refusal> {
    let answer = move |tx: &Tx<'_>| reconcile(tx, &caller, &day, time_zone.as_deref());
    Ok(private(look_up(&app, answer).await?))
}

/// Set when it is dropped: nobody waits for the answer any more.
#[derive(Default)]
pub(super) struct StopOnDrop(pub Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Answers a question from a snapshot, within the time that one may take, while somebody waits for it.
///
/// # Errors
/// What `f` returned, or 503 `unavailable`.
pub(super) async fn look_up<T: Send + 'static>(
    app: &Arc<App>,
    f: impl FnOnce(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Refusal> {
    let busy = |_| Refusal::unavailable("Too many searches are in work: try again.");
    let _permit = app.questions.try_acquire().map_err(busy)?;
    let stop = StopOnDrop::default();
    let (readers, flag) = (app.readers.clone(), stop.0.clone());
    let deadline = Instant::now() + app.limits.question_time;
    blocking(move || readers.read_until(deadline, flag, f)).await
}

fn page(limit: Option<usize>) -> Result<usize, Refusal> {
    match limit {
        None => Ok(QUERY_PAGE),
        Some(limit @ 1..=MAX_QUERY_PAGE) => Ok(limit),
        Some(_) => Err(Refusal::new(ProblemCode::InvalidValue, format!("`limit` is 1 to {MAX_QUERY_PAGE}."))),
    }
}

fn private(answer: impl serde::Serialize) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}
