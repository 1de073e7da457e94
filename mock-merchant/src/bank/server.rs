//! The bank's HTTP side, `/bank/v1`: operations for merchants, and the pages where holders confirm keys.

use super::book::{Bank, BankError, MAX_STATEMENT, Treatment};
use super::faults::{Fault, Faults};
use super::holder::NewKey;
use super::pages;
use super::port::{BankOutcome, BankRequest};
use crate::broken_off::broken_off;
use crate::html::{self, Forms};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FormRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Form, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use walkpay::protocol::crypto::{Algorithm, PublicKey, from_base64url};
use walkpay::protocol::jws::{MAX_JWS, json_problem};
use walkpay::protocol::problem::ProblemCode;
use walkpay::{DeviceId, KeyId, MerchantId, Timestamp, WalkpayError};

/// The largest request that is read: a document and what stands around it.
pub const MAX_BODY: usize = 2 * MAX_JWS;

/// The present, as the bank sees it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a running bank is told beside its book.
#[derive(Clone)]
pub struct ServiceSettings {
    /// The bank's clock.
    pub clock: Clock,
    /// The faults to be struck by; shared with `/sim/v1`.
    pub faults: Faults,
    /// Whether `GET /bank/v1` shows the book to anybody: only in simulations on loopback.
    pub show_book: bool,
    /// How long [`Fault::Slow`] waits.
    pub slow_by: Duration,
    /// How long after its refusal [`Fault::LateSuccess`] books.
    pub late_by: Duration,
}

impl ServiceSettings {
    /// No faults armed, the book not shown, two seconds for delays.
    pub fn new(clock: Clock) -> Self {
        let delay = Duration::from_secs(2);
        Self { clock, faults: Faults::default(), show_book: false, slow_by: delay, late_by: delay }
    }
}

/// A bank that can be called from many tasks; one operation at a time.
#[derive(Clone)]
pub struct BankService {
    bank: Arc<Mutex<Bank>>,
    settings: Arc<ServiceSettings>,
}

impl BankService {
    /// Puts a bank into service.
    pub fn new(bank: Bank, settings: ServiceSettings) -> Self {
        Self { bank: Arc::new(Mutex::new(bank)), settings: Arc::new(settings) }
    }

    /// The armed faults.
    pub fn faults(&self) -> &Faults {
        &self.settings.faults
    }

    /// Works with the bank at the present of its clock, on a thread that may block.
    ///
    /// # Errors
    /// What `work` gives, and [`BankError::Storage`] if its thread died.
    pub async fn with<T, F>(&self, work: F) -> Result<T, BankError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Bank, Timestamp) -> Result<T, BankError> + Send + 'static,
    {
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut bank = this.bank.lock().unwrap_or_else(PoisonError::into_inner);
            let now = (this.settings.clock)();
            bank.book_late(now)?;
            work(&mut bank, now)
        });
        done.await.unwrap_or_else(|e| {
            Err(BankError::Storage { problem: walkpay::StorageProblem::Unreadable, detail: format!("bank: {e}") })
        })
    }
}

/// The routes of the bank, all below `/bank/v1`.
pub fn router(service: BankService) -> Router {
    Router::new()
        .route("/bank/v1", get(show_book))
        .route("/bank/v1/operations/{reference}", put(operate).get(ask))
        .route("/bank/v1/statement", get(statement))
        .route("/bank/v1/confirm", get(show_confirm).post(confirm))
        .route("/bank/v1/holder/keys", post(holder_confirms))
        .route("/bank/v1/holder/keys/revoke", post(holder_revokes))
        .method_not_allowed_fallback(|| async { problem(ProblemCode::MethodNotAllowed, "see docs/protocol.md") })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(service)
}

// ---- for merchants ------------------------------------------------------------------------------------------------

async fn operate(
    State(service): State<BankService>,
    Path(reference): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Response> {
    let merchant = caller(&service, &headers).await?;
    let request: BankRequest = read_json(&headers, body).map_err(refused)?;
    if request.merchant_id != merchant {
        return Err(problem(ProblemCode::Forbidden, "merchant_id is another merchant's"));
    }
    if request.reference != reference {
        return Err(problem(ProblemCode::InvalidValue, "reference must be the one in the path"));
    }
    let fault = service.settings.faults.strike(&request);
    let late_by = service.settings.late_by;
    let treatment = move |now: Timestamp| match fault {
        Some(Fault::Declined) => Treatment::Decline,
        Some(Fault::Partial) => Treatment::Partial,
        Some(Fault::LateSuccess) => Treatment::LateSuccess { due: now.plus(late_by) },
        _ => Treatment::Normal,
    };
    match fault {
        Some(Fault::NoAnswerBefore) => return Ok(broken_off()),
        Some(Fault::ServerError) => return Err(problem(ProblemCode::Internal, "as the armed fault wants it")),
        _ => {}
    }
    let outcome: BankOutcome = service
        .with(move |bank, now| {
            let first = bank.handle_as(now, &request, treatment(now))?;
            if fault == Some(Fault::Duplicate) { bank.handle(now, &request) } else { Ok(first) }
        })
        .await
        .map_err(failed)?;
    match fault {
        Some(Fault::NoAnswerAfter) => return Ok(broken_off()),
        Some(Fault::Slow) => tokio::time::sleep(service.settings.slow_by).await,
        _ => {}
    }
    Ok(Json(outcome).into_response())
}

async fn ask(
    State(service): State<BankService>,
    Path(reference): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let merchant = caller(&service, &headers).await?;
    let answer = service.with(move |bank, _| bank.query(&merchant, &reference)).await.map_err(failed)?;
    Ok(Json(answer).into_response())
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    after: u64,
    limit: Option<u32>,
}

async fn statement(
    State(service): State<BankService>,
    headers: HeaderMap,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Response> {
    let merchant = caller(&service, &headers).await?;
    let Query(page) = page.map_err(|e| problem(ProblemCode::InvalidValue, &e.body_text()))?;
    let limit = page.limit.unwrap_or(MAX_STATEMENT);
    let entries = service.with(move |bank, _| bank.statement(&merchant, page.after, limit)).await.map_err(failed)?;
    Ok(Json(entries).into_response())
}

/// The merchant whose API key the request carries.
async fn caller(service: &BankService, headers: &HeaderMap) -> Result<MerchantId, Response> {
    let refused = || problem(ProblemCode::Unauthenticated, "authorization: Bearer and the merchant's API key");
    let key = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .filter(|key| key.len() <= 200)
        .ok_or_else(refused)?
        .to_owned();
    service.with(move |bank, _| bank.merchant_of_key(&key)).await.map_err(failed)?.ok_or_else(refused)
}

// ---- for holders --------------------------------------------------------------------------------------------------

/// What stands in the address of the confirmation page, and in its form.
#[derive(Clone, Deserialize)]
pub(super) struct Pending {
    pub account: String,
    pub merchant: MerchantId,
    pub device: DeviceId,
    pub alg: Algorithm,
    /// The raw public key, base64url.
    pub key: String,
}

impl Pending {
    pub(super) fn new_key(&self) -> Result<NewKey, WalkpayError> {
        let key = PublicKey::from_raw(self.alg, &from_base64url("key", &self.key)?)?;
        Ok(NewKey { account: self.account.clone(), merchant_id: self.merchant.clone(), device_id: self.device, key })
    }
}

#[derive(Deserialize)]
struct ConfirmForm {
    #[serde(flatten)]
    pending: Pending,
    pin: String,
}

#[derive(Deserialize)]
struct HolderConfirms {
    account: String,
    pin: String,
    merchant_id: MerchantId,
    device_id: DeviceId,
    key: PublicKey,
}

#[derive(Deserialize)]
struct HolderRevokes {
    account: String,
    pin: String,
    merchant_id: MerchantId,
    kid: KeyId,
}

async fn show_confirm(
    State(service): State<BankService>,
    pending: Result<Query<Pending>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(pending) = pending.map_err(|e| page(StatusCode::BAD_REQUEST, pages::message(&e.body_text())))?;
    let new = pending.new_key().map_err(|e| page(StatusCode::BAD_REQUEST, pages::message(&e.to_string())))?;
    let account = pending.account.clone();
    let label = service.with(move |bank, _| bank.account_label(&account)).await.map_err(failed_page)?;
    Ok(page(StatusCode::OK, pages::confirm(&label, &pending, &new.key)))
}

async fn confirm(
    State(service): State<BankService>,
    form: Result<Form<ConfirmForm>, FormRejection>,
) -> Result<Response, Response> {
    let Form(form) = form.map_err(|e| page(StatusCode::BAD_REQUEST, pages::message(&e.body_text())))?;
    let new = form.pending.new_key().map_err(|e| page(StatusCode::BAD_REQUEST, pages::message(&e.to_string())))?;
    service.with(move |bank, now| confirm_with_pin(bank, now, &new, &form.pin)).await.map_err(failed_page)?;
    Ok(page(StatusCode::OK, pages::message("The key is confirmed. You can go back to the shop.")))
}

async fn holder_confirms(
    State(service): State<BankService>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Response> {
    let HolderConfirms { account, pin, merchant_id, device_id, key } = read_json(&headers, body).map_err(refused)?;
    let new = NewKey { account, merchant_id, device_id, key };
    service.with(move |bank, now| confirm_with_pin(bank, now, &new, &pin)).await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn holder_revokes(
    State(service): State<BankService>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Response> {
    let HolderRevokes { account, pin, merchant_id, kid } = read_json(&headers, body).map_err(refused)?;
    let revoke = move |bank: &mut Bank, now| {
        bank.check_pin(&account, &pin)?;
        bank.revoke_key(now, &account, &merchant_id, &kid)
    };
    service.with(revoke).await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn confirm_with_pin(bank: &mut Bank, now: Timestamp, new: &NewKey, pin: &str) -> Result<(), BankError> {
    bank.check_pin(&new.account, pin)?;
    bank.confirm_key(now, new)
}

async fn show_book(State(service): State<BankService>) -> Result<Response, Response> {
    if !service.settings.show_book {
        return Err(problem(ProblemCode::NotFound, "the book is shown with --sim only"));
    }
    let html = service.with(|bank, _| pages::book(bank)).await.map_err(failed_page)?;
    Ok(page(StatusCode::OK, html))
}

// ---- answers ------------------------------------------------------------------------------------------------------

/// Why a request is not looked at.
type Refusal = (ProblemCode, String);

fn refused((code, detail): Refusal) -> Response {
    problem(code, &detail)
}

fn read_json<T: DeserializeOwned>(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<T, Refusal> {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        return Err((ProblemCode::UnsupportedMediaType, "content-type: application/json".to_owned()));
    }
    let body = body.map_err(|_| (ProblemCode::TooLarge, format!("at most {MAX_BODY} bytes")))?;
    serde_json::from_slice(&body).map_err(|e| (ProblemCode::Malformed, json_problem(&e)))
}

fn problem(code: ProblemCode, detail: &str) -> Response {
    let document = code.document(detail);
    let status = StatusCode::from_u16(document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(document)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

fn failed(e: BankError) -> Response {
    let code = match &e {
        BankError::Storage { .. } => ProblemCode::Unavailable,
        BankError::Holder { reason: "account_unknown" | "key_unknown" } => ProblemCode::NotFound,
        BankError::Holder { reason: "pin_wrong" | "pin_locked" } => ProblemCode::Forbidden,
        BankError::Holder { reason: "key_taken" | "account_exists" } => ProblemCode::IdConflict,
        BankError::Holder { .. } => ProblemCode::InvalidValue,
    };
    match e {
        BankError::Storage { detail, .. } => {
            tracing::error!(%detail, "the bank's book cannot be used");
            problem(code, "the bank's book cannot be used at the moment")
        }
        BankError::Holder { reason } => problem(code, reason),
    }
}

fn failed_page(e: BankError) -> Response {
    let status = failed(e.clone()).status();
    let text = match e {
        BankError::Storage { .. } => "The bank cannot answer at the moment.",
        BankError::Holder { reason: "account_unknown" } => "There is no such account.",
        BankError::Holder { reason: "pin_wrong" } => "The PIN is wrong.",
        BankError::Holder { reason: "pin_locked" } => "The PIN is locked after too many wrong tries.",
        BankError::Holder { reason: "key_taken" } => "This key was revoked, or is another device's.",
        BankError::Holder { .. } => "This cannot be done.",
    };
    page(status, pages::message(text))
}

fn page(status: StatusCode, html: String) -> Response {
    html::page(status, html, Forms::Own)
}
