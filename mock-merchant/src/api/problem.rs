//! Every answer that is not a success: an RFC 9457 problem document.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use std::time::Duration;
use walkpay::protocol::document::Reason;
use walkpay::protocol::message::Problem;
use walkpay::protocol::problem::ProblemCode;

/// The media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A refusal on its way out. Its detail never repeats what came.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The stable type.
    pub code: ProblemCode,
    /// What was expected and what to do.
    pub detail: String,
    /// With verdicts: the reasons.
    pub reasons: Vec<Reason>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal of the type `code`.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), reasons: Vec::new(), retry_after: None }
    }

    /// 400 `malformed`.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(ProblemCode::Malformed, detail)
    }

    /// 404 `not_found`; `what` is the kind of thing, never its identifier.
    pub fn not_found(what: &str) -> Self {
        Self::new(ProblemCode::NotFound, format!("There is no {what} with this identifier."))
    }

    /// 429 `rate_limited`.
    pub fn rate_limited(wait: Duration) -> Self {
        let refusal = Self::new(ProblemCode::RateLimited, "Send fewer requests, and wait as Retry-After says.");
        Self { retry_after: Some(wait), ..refusal }
    }

    /// 503 `unavailable`.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(Duration::from_secs(1)), ..Self::new(ProblemCode::Unavailable, detail) }
    }

    /// 500 `internal`: the cause goes to the log, not to the caller.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "defect");
        Self::new(ProblemCode::Internal, "The log says more under the request id of this answer.")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let document = Problem { reasons: self.reasons, ..self.code.document(self.detail) };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (status, [(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON))], body).into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = match self.code {
                ProblemCode::Unauthenticated => "Bearer",
                _ => "Signature",
            };
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        response.extensions_mut().insert(self.code);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_becomes_its_document() {
        for code in ProblemCode::ALL {
            let response = Refusal::new(*code, "what to do").into_response();
            assert_eq!(response.status().as_u16(), code.status());
            assert_eq!(response.headers().get(CONTENT_TYPE).unwrap(), PROBLEM_JSON);
            assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), code.status() == 401);
        }
    }

    #[test]
    fn waits_are_whole_seconds_and_never_none() {
        let after = |millis| {
            let response = Refusal::rate_limited(Duration::from_millis(millis)).into_response();
            response.headers().get(RETRY_AFTER).unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!((after(1), after(1000), after(1001)), ("1".into(), "1".into(), "2".into()));
    }
}
