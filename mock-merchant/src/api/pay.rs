//! `/pay`: the payer's page of what is to be paid (B10). The links in notices lead here; no login is needed, the token in the path
//! opens the page. `/notify`: carriers report what became of a message. None of this is in the OpenAPI document: pages are for
//! people, and a carrier's protocol is its own.

use super::App;
use super::pay_events;
use super::problem::Refusal;
use crate::domain::notices::{self, Report};
use crate::notify::text::page;
use crate::store::contacts::Language;
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::sync::Arc;
use url::form_urlencoded;
use walkpay::ServiceNumber;

/// Only what the server itself sends may style, run and be asked; nobody may frame the page (CSP level 3).
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";
/// The longest token that is looked up.
const MAX_TOKEN: usize = 64;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/pay/page.css", get(style))
        .route("/pay/page.js", get(script))
        .route("/pay/{token}", get(list))
        .route("/pay/{token}/orders/{number}", get(order))
        .route("/pay/{token}/events", get(events))
        .route("/pay/{token}/unsubscribe", post(unsubscribe).get(list))
        .route("/pay/{token}/subscribe", post(subscribe))
        .route("/notify/sms/{token}", get(sms_report))
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("../notify/text/page.css"))
}

async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("../notify/text/page.js"))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "max-age=3600"), (X_CONTENT_TYPE_OPTIONS, "nosniff")], text).into_response()
}

async fn list(State(app): State<Arc<App>>, Path(token): Path<String>, RawQuery(query): RawQuery) -> Response {
    shown(&app, token, None, language(query.as_deref())).await
}

async fn order(
    State(app): State<Arc<App>>,
    Path((token, number)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let language = language(query.as_deref());
    match ServiceNumber::parse(&number) {
        Ok(number) => shown(&app, token, Some(number), language).await,
        Err(_) => unknown(language),
    }
}

async fn events(
    State(app): State<Arc<App>>,
    Path(token): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let language = language(query.as_deref());
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let chosen = value(query.as_deref(), "order").and_then(|text| ServiceNumber::parse(&text).ok());
    match pay_events::follow(app, token, chosen, language, last).await {
        Ok(Some(stream)) => stream,
        Ok(None) => unknown(language),
        Err(refusal) => refusal.into_response(),
    }
}

async fn unsubscribe(State(app): State<Arc<App>>, Path(token): Path<String>, RawQuery(query): RawQuery) -> Response {
    set_subscribed(&app, token, false, language(query.as_deref())).await
}

async fn subscribe(State(app): State<Arc<App>>, Path(token): Path<String>, RawQuery(query): RawQuery) -> Response {
    set_subscribed(&app, token, true, language(query.as_deref())).await
}

async fn set_subscribed(app: &Arc<App>, token: String, again: bool, language: Option<Language>) -> Response {
    if !is_token(&token) {
        return unknown(language);
    }
    let ctx = match app.ctx() {
        Ok(ctx) => ctx,
        Err(refusal) => return refusal.into_response(),
    };
    let given = token.clone();
    match app.writer.submit(move |tx| notices::unsubscribe(tx, &ctx, &given, again)).await {
        Ok(true) => shown(app, token, None, language).await,
        Ok(false) => unknown(language),
        Err(failure) => Refusal::from(failure).into_response(),
    }
}

/// What a text message centre says: delivered (1), failed (2), on its way (4, 8), refused (16).
async fn sms_report(State(app): State<Arc<App>>, Path(token): Path<String>, RawQuery(query): RawQuery) -> Response {
    let kind = value(query.as_deref(), "type").and_then(|text| text.parse::<u16>().ok());
    let report = match kind {
        Some(1) => Report::Delivered,
        Some(2 | 16) => Report::Failed,
        Some(4 | 8) => Report::Underway,
        _ => return Refusal::malformed("type: expected 1, 2, 4, 8 or 16").into_response(),
    };
    if !is_token(&token) {
        return Refusal::not_found("message").into_response();
    }
    let ctx = match app.ctx() {
        Ok(ctx) => ctx,
        Err(refusal) => return refusal.into_response(),
    };
    let code = kind.unwrap_or_default();
    match app.writer.submit(move |tx| notices::report(tx, &ctx, &token, report, code)).await {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => Refusal::not_found("message").into_response(),
        Err(failure) => Refusal::from(failure).into_response(),
    }
}

async fn shown(app: &Arc<App>, token: String, chosen: Option<ServiceNumber>, language: Option<Language>) -> Response {
    if !is_token(&token) {
        return unknown(language);
    }
    let ctx = match app.ctx() {
        Ok(ctx) => ctx,
        Err(refusal) => return refusal.into_response(),
    };
    let given = token.clone();
    match app.read(move |tx| notices::page(tx, &ctx, &given, chosen, language)).await {
        Ok(Some(facts)) => html(StatusCode::OK, page::page(&facts, &token, chosen)),
        Ok(None) => unknown(language),
        Err(refusal) => refusal.into_response(),
    }
}

fn unknown(language: Option<Language>) -> Response {
    html(StatusCode::NOT_FOUND, page::unknown(language.unwrap_or(Language::En)))
}

fn html(status: StatusCode, page: String) -> Response {
    (status, page_headers("text/html; charset=utf-8"), page).into_response()
}

/// What every answer under a token carries: it is nobody's to keep, to frame, or to hear of from another page.
pub(super) fn page_headers(kind: &'static str) -> [(HeaderName, &'static str); 6] {
    [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ]
}

pub(super) fn is_token(token: &str) -> bool {
    token.len() <= MAX_TOKEN && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn language(query: Option<&str>) -> Option<Language> {
    value(query, "lang").and_then(|word| Language::of(&word))
}

fn value(query: Option<&str>, name: &str) -> Option<String> {
    form_urlencoded::parse(query?.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
