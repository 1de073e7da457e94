//! `/channel`: what payment channels notify of. The providers' own notifications are in the providers' own forms, which
//! docs/channels.md describes; the OpenAPI document has the simulated channel's only.

use super::App;
use super::body::read;
use super::problem::Refusal;
use crate::channel::port::{Notice, Notification};
use crate::channel::wechat;
use crate::domain::{Answer, Caller, Command};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::problem::ProblemCode;

/// A payment at the simulated channel: a JWS by the channel's key. The same one again does nothing.
#[utoipa::path(post, path = "/channel/v1/test/notifications", operation_id = "test_notification", tag = "channel",
    request_body(content = String, content_type = "application/jose", example = "eyJhbGciOiJFZDI1NTE5In0.e30.AA"),
    responses(
        (status = 204, description = "Taken"),
        (status = 401, description = "`signature_invalid`: not signed by the channel"),
        (status = 404, description = "`not_found`: nobody asked for this trade"),
        (status = 422, description = "`document_mismatch`: application, seller, amount or currency are not those of the payment")))]
pub async fn test_notification(State(app): State<Arc<App>>, request: Request) -> Result<StatusCode, Refusal> {
    taken(&app, PaymentMethod::Test, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A payment at Alipay: a form, answered with the word that Alipay waits for, or with another one, that has it notify again.
pub async fn alipay_notification(State(app): State<Arc<App>>, request: Request) -> &'static str {
    match taken(&app, PaymentMethod::Alipay, request).await {
        Ok(()) => "success",
        Err(refusal) => {
            tracing::warn!(code = refusal.code.code(), "a notification of Alipay's was refused");
            "fail"
        }
    }
}

/// A payment at WeChat Pay, in its own format, answered in its own format: 204, or an error that has it notify again.
pub async fn tenpay_notification(State(app): State<Arc<App>>, request: Request) -> Response {
    match taken(&app, PaymentMethod::Tenpay, request).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => {
            let status = StatusCode::from_u16(refusal.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let body = wechat::not_taken(&refusal.detail);
            let mut response = (status, [(CONTENT_TYPE, "application/json")], body).into_response();
            response.extensions_mut().insert(refusal.code);
            response
        }
    }
}

async fn taken(app: &App, method: PaymentMethod, request: Request) -> Result<(), Refusal> {
    let (parts, body) = request.into_parts();
    let body = read(app, body).await?;
    receive(app, method, &Notification { headers: &parts.headers, body: &body }).await
}

/// Takes a notification of a channel.
///
/// # Errors
/// 401 unless the channel has signed it; what the domain refuses.
pub async fn receive(app: &App, method: PaymentMethod, notification: &Notification<'_>) -> Result<(), Refusal> {
    let channel = app.channels.get(method).ok_or_else(|| Refusal::not_found("channel"))?;
    let notice = channel.open(app.clock.now(), notification).await.map_err(|e| {
        tracing::warn!(cause = %e, "a notification that no channel has signed");
        Refusal::new(ProblemCode::SignatureInvalid, "Expected a notification that the channel has signed.")
    })?;
    let Notice::Paid(receipt) = notice else { return Ok(()) };
    match app.execute(Caller::Channel(method), Command::Notified(receipt)).await? {
        Answer::Done => Ok(()),
        _ => Err(Refusal::internal(&"an answer of another kind than the question")),
    }
}
