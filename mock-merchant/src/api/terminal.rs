//! `/terminal/v1`: devices of shoppers.

use super::App;
use super::auth::{Signed, SignedBy, SignedEmpty};
use super::body::Json as Body;
use super::params::{Path, Query, bounded};
use super::problem::Refusal;
use crate::domain::{Answer, Caller, Command, Query as Ask};
use crate::sim::Fault;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use walkpay::protocol::document::{ClockStatement, KeyUse};
use walkpay::protocol::message::*;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{DeviceId, HoldId, StoreId, TripId};

/// The first step of an enrolment: what a terminal checks against its code before it sends the code anywhere. No body.
#[utoipa::path(post, path = "/terminal/v1/enrolments", operation_id = "begin_enrolment", tag = "terminal",
    responses((status = 201, description = "A nonce, the root key and the key set", body = EnrolmentStart)))]
pub async fn begin_enrolment(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    match app.execute(Caller::Anonymous, Command::BeginEnrolment).await? {
        Answer::EnrolmentStart(start) => Ok((StatusCode::CREATED, no_store(), Json(start)).into_response()),
        _ => Err(unexpected()),
    }
}

/// The second step of an enrolment: the code and proofs by both keys. The same request again has the same answer.
#[utoipa::path(put, path = "/terminal/v1/enrolments/{device_id}", operation_id = "enrol", tag = "terminal",
    params(("device_id" = DeviceId, Path, description = "Made on the device")),
    request_body = EnrolmentRequest,
    responses(
        (status = 200, description = "Enrolled", body = EnrolmentAnswer,
            links(("keys" = (operation_id = "key_set")))),
        (status = 403, description = "`code_invalid`, `nonce_invalid`, `user_not_active`"),
        (status = 422, description = "`document_invalid`, `document_mismatch`, `id_conflict`, `invalid_value`")))]
pub async fn enrol(
    State(app): State<Arc<App>>,
    Path(device_id): Path<DeviceId>,
    Body(request): Body<EnrolmentRequest>,
) -> Result<Response, Refusal> {
    let proof = request.consent_proof.clone();
    match app.execute(Caller::Anonymous, Command::Enrol { device_id, request }).await? {
        Answer::Enrolment(answer) => {
            if let Some(holder) = app.holder.get() {
                holder.enrolled(&answer.grant, &proof).await;
            }
            Ok((no_store(), Json(answer)).into_response())
        }
        _ => Err(unexpected()),
    }
}

/// New keys for a device, signed with the consent key in force.
#[utoipa::path(put, path = "/terminal/v1/devices/{device_id}/keys", operation_id = "rotate_keys", tag = "terminal",
    params(("device_id" = DeviceId, Path, description = "The device whose keys change")),
    request_body = KeyRotationRequest, security(("device_signature" = [])),
    responses(
        (status = 201, description = "Recorded; the event `keys_rotated` follows", body = Recorded),
        (status = 200, description = "Recorded before", body = Recorded),
        (status = 422, description = "`document_invalid`, `document_mismatch`, `id_conflict`")))]
pub async fn rotate_keys(
    State(app): State<Arc<App>>,
    Path(device_id): Path<DeviceId>,
    Signed { device, body, .. }: Signed<KeyRotationRequest>,
) -> Result<Response, Refusal> {
    let rotation = body.rotation.clone();
    let answer = recorded(&app, &device, Command::RotateKeys { device_id, request: body }).await?;
    if let Some(holder) = app.holder.get() {
        holder.rotated(&rotation).await;
    }
    Ok(answer)
}

/// The merchant's newest key set, a JWS by its root.
#[utoipa::path(get, path = "/terminal/v1/keys", operation_id = "key_set", tag = "terminal",
    responses((status = 200, description = "The key set", body = KeySetAnswer)))]
pub async fn key_set(State(app): State<Arc<App>>) -> Result<Json<KeySetAnswer>, Refusal> {
    match app.ask(Caller::Anonymous, Ask::KeySet).await? {
        Answer::KeySet(answer) => Ok(Json(answer)),
        _ => Err(unexpected()),
    }
}

/// A09, A26: asks for a hold, or for a higher one. The answer says that the request is on record; what the bank makes of it
/// follows as events.
#[utoipa::path(put, path = "/terminal/v1/holds/{hold_id}", operation_id = "put_hold", tag = "terminal",
    params(("hold_id" = HoldId, Path, description = "Made on the device: the idempotency key")),
    request_body = HoldPut, security(("device_signature" = [])),
    responses(
        (status = 201, description = "Recorded", body = Recorded,
            links(("results" = (operation_id = "events", parameters(("after" = "$response.body#/last_seq")))))),
        (status = 200, description = "Recorded before", body = Recorded),
        (status = 409, description = "`trip_cancelled`, `already_accepted`"),
        (status = 422, description = "`document_invalid`, `document_mismatch`, `id_conflict`, `hold_mismatch`, \
            `currency_mismatch`, `no_bank_account`, `amount_limit`")))]
pub async fn put_hold(
    State(app): State<Arc<App>>,
    Path(hold_id): Path<HoldId>,
    Signed { device, body, .. }: Signed<HoldPut>,
) -> Result<Response, Refusal> {
    recorded(&app, &device, Command::PutHold { hold_id, body }).await
}

/// A05, A20: hands in a signed basket. The answer says that it is on record; the verdict and the debit follow as events.
#[utoipa::path(put, path = "/terminal/v1/trips/{trip_id}/attempts/{attempt}", operation_id = "put_attempt", tag = "terminal",
    params(
        ("trip_id" = TripId, Path, description = "The visit, made on the device"),
        ("attempt" = u32, Path, description = "1, 2, … within the trip", minimum = 1)),
    request_body = AttemptPut, security(("device_signature" = [])),
    responses(
        (status = 201, description = "Recorded", body = Recorded,
            links(("results" = (operation_id = "events", parameters(("after" = "$response.body#/last_seq")))))),
        (status = 200, description = "Recorded before", body = Recorded),
        (status = 422, description = "`document_invalid`, `document_mismatch`, `id_conflict`")))]
pub async fn put_attempt(
    State(app): State<Arc<App>>,
    Path((trip_id, attempt)): Path<(TripId, u32)>,
    Signed { device, body, .. }: Signed<AttemptPut>,
) -> Result<Response, Refusal> {
    recorded(&app, &device, Command::PutAttempt { trip_id, attempt, body }).await
}

/// Gives up a trip before it is accepted.
#[utoipa::path(put, path = "/terminal/v1/trips/{trip_id}/cancellation", operation_id = "put_cancellation", tag = "terminal",
    params(("trip_id" = TripId, Path, description = "The visit")),
    request_body = CancellationPut, security(("device_signature" = [])),
    responses(
        (status = 201, description = "Recorded", body = Recorded,
            links(("results" = (operation_id = "events", parameters(("after" = "$response.body#/last_seq")))))),
        (status = 200, description = "Recorded before", body = Recorded),
        (status = 409, description = "`already_accepted`"),
        (status = 422, description = "`document_invalid`, `document_mismatch`, `id_conflict`")))]
pub async fn put_cancellation(
    State(app): State<Arc<App>>,
    Path(trip_id): Path<TripId>,
    Signed { device, body, .. }: Signed<CancellationPut>,
) -> Result<Response, Refusal> {
    recorded(&app, &device, Command::PutCancellation { trip_id, body }).await
}

/// Where a poll begins, and how long it waits.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Cursor {
    /// The highest `seq` that the terminal has.
    #[serde(default)]
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_u64, default = 0)]
    after: u64,
    /// Seconds to wait for the first event; 0 answers at once.
    #[serde(default)]
    #[param(minimum = 0, maximum = 50, default = 0)]
    wait: u64,
}

/// A06, A07, A25: the device's event log after a cursor. Waits for the first event if there is none yet.
#[utoipa::path(get, path = "/terminal/v1/events", operation_id = "events", tag = "terminal",
    params(Cursor), security(("device_signature" = [])),
    responses(
        (status = 200, description = "Events in order, each a JWS, and a clock statement bound to this request", body = EventsPage),
        (status = 422, description = "`invalid_value`")))]
pub async fn events(
    State(app): State<Arc<App>>,
    Query(cursor): Query<Cursor>,
    SignedEmpty(device): SignedEmpty,
) -> Result<Response, Refusal> {
    if cursor.wait > MAX_WAIT_SECONDS {
        let detail = format!("wait is at most {MAX_WAIT_SECONDS} seconds.");
        return Err(Refusal::new(ProblemCode::InvalidValue, detail));
    }
    let cursor = Cursor { after: bounded(cursor.after)?, ..cursor };
    let again = app.sim.as_ref().is_some_and(|faults| faults.strikes(Fault::EventsAgain, "events").is_some());
    let after = if again { 0 } else { cursor.after };
    let events = match cursor.wait {
        0 => events_after(&app, &device, after).await?,
        seconds => wait_for_events(&app, &device, after, Duration::from_secs(seconds)).await?,
    };
    let now = app.clock.now();
    let statement =
        ClockStatement { merchant_id: app.merchant_id.clone(), device_id: device.device_id, nonce: device.nonce, now };
    let clock = app.core.keys().sign(KeyUse::Results, now, &statement).map_err(|e| Refusal::internal(&e))?;
    Ok((no_store(), Json(EventsPage { events, clock })).into_response())
}

async fn wait_for_events(app: &App, device: &SignedBy, after: u64, wait: Duration) -> Result<Vec<String>, Refusal> {
    let deadline = Instant::now() + wait;
    let Ok(_room) = app.polls.try_acquire() else {
        return Err(Refusal::unavailable("Too many polls are waiting: ask with wait=0, or try again."));
    };
    let Some(place) = app.waiters.enter(device.device_id, app.limits.polls_per_device) else {
        return Err(Refusal::rate_limited(Duration::from_secs(5)));
    };
    let _counted = app.metrics.poll();
    let mut stopping = app.stopping.clone();
    loop {
        let notified = place.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        let events = events_after(app, device, after).await?;
        if !events.is_empty() || *stopping.borrow_and_update() || Instant::now() >= deadline {
            return Ok(events);
        }
        tokio::select! {
            () = notified => {}
            () = sleep_until(deadline) => {}
            _ = stopping.changed() => {}
        }
    }
}

async fn events_after(app: &App, device: &SignedBy, after: u64) -> Result<Vec<String>, Refusal> {
    match app.ask(device.caller(), Ask::Events { after, limit: MAX_EVENTS_PER_PAGE }).await? {
        Answer::Events(events) => Ok(events),
        _ => Err(unexpected()),
    }
}

/// What a terminal has of a catalogue.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Base {
    /// The revision that the terminal has; without it, a snapshot is offered.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    base: Option<u64>,
}

/// The signed manifest of a store's newest catalogue revision.
#[utoipa::path(get, path = "/terminal/v1/stores/{store_id}/catalogue", operation_id = "catalogue_manifest", tag = "terminal",
    params(("store_id" = StoreId, Path, description = "The store"), Base), security(("device_signature" = [])),
    responses((status = 200, description = "The manifest; its `base` says whether the data is a delta", body = CatalogueAnswer),
        (status = 422, description = "`invalid_value`")))]
pub async fn catalogue_manifest(
    State(app): State<Arc<App>>,
    Path(store_id): Path<StoreId>,
    Query(Base { base }): Query<Base>,
    SignedEmpty(device): SignedEmpty,
) -> Result<Json<CatalogueAnswer>, Refusal> {
    match app.ask(device.caller(), Ask::Manifest { store_id, base: base.map(bounded).transpose()? }).await? {
        Answer::Manifest(answer) => Ok(Json(answer)),
        _ => Err(unexpected()),
    }
}

/// The data that a manifest is about: one row of JSON a line.
#[utoipa::path(get, path = "/terminal/v1/stores/{store_id}/catalogue/{revision}", operation_id = "catalogue_data", tag = "terminal",
    params(
        ("store_id" = StoreId, Path, description = "The store"),
        ("revision" = u64, Path, description = "From the manifest", minimum = 1, maximum = 9_007_199_254_740_991_u64),
        Base),
    security(("device_signature" = [])),
    responses((status = 200, description = "The rows, whose SHA-256 the manifest carries", body = String,
        content_type = "application/x-ndjson"), (status = 422, description = "`invalid_value`")))]
pub async fn catalogue_data(
    State(app): State<Arc<App>>,
    Path((store_id, revision)): Path<(StoreId, u64)>,
    Query(Base { base }): Query<Base>,
    SignedEmpty(device): SignedEmpty,
) -> Result<Response, Refusal> {
    match app
        .ask(
            device.caller(),
            Ask::CatalogueData { store_id, revision: bounded(revision)?, base: base.map(bounded).transpose()? },
        )
        .await?
    {
        Answer::CatalogueData(data) => {
            let bytes = axum::body::Bytes::from_owner(Shared(data));
            Ok(([(CONTENT_TYPE, "application/x-ndjson")], bytes).into_response())
        }
        _ => Err(unexpected()),
    }
}

struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

async fn recorded(app: &App, device: &SignedBy, command: Command) -> Result<Response, Refusal> {
    app.documents.take(device.device_id, std::time::Instant::now()).map_err(Refusal::rate_limited)?;
    match app.execute(device.caller(), command).await? {
        Answer::Recorded { body, repeat } => {
            let status = if repeat { StatusCode::OK } else { StatusCode::CREATED };
            Ok((status, Json(body)).into_response())
        }
        _ => Err(unexpected()),
    }
}

fn no_store() -> [(axum::http::HeaderName, &'static str); 1] {
    [(CACHE_CONTROL, "no-store")]
}

fn unexpected() -> Refusal {
    Refusal::internal(&"an answer of another kind than the question")
}
