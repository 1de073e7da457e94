//! Request bodies: their size, the time they may take, their type and their form.

use super::App;
use super::problem::Refusal;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use walkpay::protocol::crypto::sha256;
use walkpay::protocol::jws::json_problem;
use walkpay::protocol::problem::ProblemCode;

/// Reads a body within the limits of the server.
///
/// # Errors
/// 413 `too_large`, 408 `timeout`, or 400 `malformed` when the connection ended early.
pub async fn read(app: &App, body: Body) -> Result<Bytes, Refusal> {
    read_within(body, app.limits.body_bytes, app.limits.body_time).await
}

/// Reads a body within limits of its own.
///
/// # Errors
/// As [`read`].
pub async fn read_within(body: Body, bytes: usize, time: Duration) -> Result<Bytes, Refusal> {
    let collected = Limited::new(body, bytes).collect();
    match tokio::time::timeout(time, collected).await {
        Err(_) => Err(Refusal::new(
            ProblemCode::Timeout,
            format!("The whole body must arrive within {} seconds.", time.as_secs()),
        )),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => {
            Err(Refusal::new(ProblemCode::TooLarge, format!("A body has at most {bytes} bytes.")))
        }
        Ok(Err(_)) => Err(Refusal::malformed("The body ended before it was complete.")),
    }
}

/// Whether the request says that its body is JSON.
///
/// # Errors
/// 415 `unsupported_media_type`.
pub fn check_json_type(headers: &HeaderMap) -> Result<(), Refusal> {
    check_type(headers, "application/json")
}

/// Whether the request says that its body is of this type.
///
/// # Errors
/// 415 `unsupported_media_type`.
pub fn check_type(headers: &HeaderMap, expected: &str) -> Result<(), Refusal> {
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .map(|v| v.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    match essence.as_deref() {
        Some(essence) if essence == expected => Ok(()),
        _ => Err(Refusal::new(ProblemCode::UnsupportedMediaType, format!("Send {expected}."))),
    }
}

/// Parses a JSON body.
///
/// # Errors
/// 400 `malformed`; nothing of the body is repeated.
pub fn parse<T: DeserializeOwned>(bytes: &[u8], depth: usize) -> Result<T, Refusal> {
    if nesting(bytes) > depth {
        return Err(Refusal::malformed(format!("JSON is nested at most {depth} levels deep here.")));
    }
    serde_json::from_slice(bytes).map_err(|e| Refusal::malformed(format!("Expected {}.", json_problem(&e))))
}

/// How deep arrays and objects are nested, found without building anything.
fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let mut rest = json;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => rest = after_string(after),
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What follows the end of a string, in blocks: most of a body is long strings.
fn after_string(mut text: &[u8]) -> &[u8] {
    loop {
        let plain = text.chunks_exact(32).take_while(|block| !block.iter().any(|b| matches!(b, b'"' | b'\\'))).count();
        text = text.get(plain * 32..).unwrap_or_default();
        let Some(at) = text.iter().position(|b| matches!(b, b'"' | b'\\')) else { return &[] };
        let ends = text.get(at) == Some(&b'"');
        // A backslash takes the next byte with it.
        text = text.get(at + if ends { 1 } else { 2 }..).unwrap_or_default();
        if ends {
            return text;
        }
    }
}

/// The JSON body of a request that is not signed.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refusal> {
        check_json_type(request.headers())?;
        let bytes = read(app, request.into_body()).await?;
        parse(&bytes, app.limits.json_depth).map(Json)
    }
}

/// The JSON body of a request that is not signed, with the digest that an idempotency key is bound to.
pub struct Digested<T> {
    /// The body.
    pub body: T,
    /// Digest of the body as it came.
    pub body_sha256: [u8; 32],
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Digested<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refusal> {
        check_json_type(request.headers())?;
        let bytes = read(app, request.into_body()).await?;
        Ok(Self { body: parse(&bytes, app.limits.json_depth)?, body_sha256: sha256(&bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_strings() {
        assert_eq!(nesting(br#"{"a":[1,{"b":"[[[{\"["}]}"#), 3);
        assert_eq!(nesting(&b"[".repeat(100_000)), 100_000);
        assert_eq!(nesting(b""), 0);
        let long = format!("[\"{}{}{}\",[[]]]", "[".repeat(70), r#"\\\"["#, "[".repeat(33));
        assert_eq!(nesting(long.as_bytes()), 3, "{long}");
    }

    #[test]
    fn malformed_json_is_never_repeated() {
        for bad in ["", "{", "[1,2", "\"secret", "{\"secret\":}", "\u{0}", "nul", "1 secret"] {
            let refusal = parse::<std::collections::BTreeMap<String, u8>>(bad.as_bytes(), 4).unwrap_err();
            assert_eq!(refusal.code, ProblemCode::Malformed);
            assert!(!refusal.detail.contains("secret"), "{}", refusal.detail);
        }
        assert!(parse::<serde_json::Value>(&b"[".repeat(17), 16).is_err());
        assert!(parse::<serde_json::Value>(&[0xff, 0xfe], 16).is_err());
    }
}
