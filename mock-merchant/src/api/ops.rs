//! What people and machines ask about the server itself.

use super::App;
use super::problem::Refusal;
use crate::store::counts;
use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{Html, IntoResponse};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use walkpay::Timestamp;

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

/// Whether the server works. 503 while it stops, or when its writer or worker has ended.
#[utoipa::path(get, path = "/healthz", operation_id = "health", tag = "operations",
    responses((status = 200, description = "It works", body = Health)))]
pub async fn healthz(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Refusal> {
    if *app.stopping.borrow() {
        return Err(Refusal::unavailable("The server is stopping."));
    }
    if !app.healthy.load(Ordering::SeqCst) {
        return Err(Refusal::unavailable("The writer or the worker has ended: restart the server, and read the log."));
    }
    let health = Health { status: "ok", version: env!("CARGO_PKG_VERSION"), now: app.clock.now() };
    Ok(([(CACHE_CONTROL, "no-store")], Json(health)))
}

/// Counters and histograms for Prometheus.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "operations",
    responses((status = 200, description = "OpenMetrics text", body = String,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8")))]
pub async fn metrics(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Refusal> {
    app.metrics.records(app.read(|tx| Ok(counts::by_state(tx)?)).await?);
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], app.metrics.text()))
}
