//! What people and machines ask about the server itself.

use super::auth::bearer;
use super::problem::Refusal;
use super::{App, guard};
use crate::store::counts;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{Html, IntoResponse};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use walkpay::Timestamp;
use walkpay::protocol::crypto::sha256;
use walkpay::protocol::problem::ProblemCode;

/// How often in a row the worker may fail before the server says that it does not work.
const MAX_FAULTS: u32 = 10;

/// That the server works.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Health {
    /// `ok`.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// The version of the software.
    #[schema(example = "0.1.0")]
    pub version: &'static str,
    /// Merchant time.
    pub now: Timestamp,
}

/// A page for people: what this server is, and where to go on.
#[utoipa::path(get, path = "/", operation_id = "page", tag = "operations",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")))]
pub async fn page() -> impl IntoResponse {
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    ([(CONTENT_SECURITY_POLICY, policy)], Html(include_str!("page.html")))
}

/// Whether the server works. 503 while it stops, when its writer or worker has ended or fails time after time, or when a key of the merchant is over.
#[utoipa::path(get, path = "/healthz", operation_id = "health", tag = "operations",
    responses((status = 200, description = "It works", body = Health)))]
pub async fn healthz(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Refusal> {
    if *app.stopping.borrow() {
        return Err(Refusal::unavailable("The server is stopping."));
    }
    if !app.healthy.load(Ordering::SeqCst) {
        return Err(Refusal::unavailable("The writer or the worker has ended: restart the server, and read the log."));
    }
    if app.faults.load(Ordering::SeqCst) >= MAX_FAULTS {
        return Err(Refusal::unavailable("The worker fails time after time: read the log."));
    }
    if app.core.keys().lasts_until() <= app.clock.now() {
        return Err(Refusal::unavailable("A key of the merchant is over: rotate the keys."));
    }
    let health = Health { status: "ok", version: env!("CARGO_PKG_VERSION"), now: app.clock.now() };
    Ok(([(CACHE_CONTROL, "no-store")], Json(health)))
}

/// Counters and histograms for Prometheus: for a collector on the same machine, or one with the key of `serve --metrics-key-file`.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "operations",
    responses((status = 403, description = "`forbidden`: from elsewhere, without the key"), (status = 200, description = "OpenMetrics text", body = String,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8")))]
pub async fn metrics(State(app): State<Arc<App>>, request: Request) -> Result<impl IntoResponse, Refusal> {
    let may = collects(&app, &request);
    drop(request);
    if !may {
        let detail = "Metrics are for this machine, or for who has the key of --metrics-key-file.";
        return Err(Refusal::new(ProblemCode::Forbidden, detail));
    }
    // Counting goes through whole tables: one counts for all who ask in a while.
    let mut counted = app.counts.lock().await;
    if counted.as_ref().is_none_or(|(at, _)| at.elapsed() >= app.limits.counts_every) {
        *counted = Some((Instant::now(), app.read(|tx| Ok(counts::by_state(tx)?)).await?));
    }
    if let Some((_, counts)) = &*counted {
        app.metrics.records(counts.clone());
    }
    drop(counted);
    app.metrics.keys_last(app.core.keys().lasts_until().since(app.clock.now()));
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], app.metrics.text()))
}

/// Whether the sender may read the metrics: this machine itself, or who has the key.
fn collects(app: &App, request: &Request) -> bool {
    let given = || bearer(request.headers()).map(|key| sha256(key.as_bytes())).ok();
    guard::local(request, app.behind_proxy) || (app.metrics_key.is_some() && given() == app.metrics_key)
}
