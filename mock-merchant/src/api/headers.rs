//! Headers that handlers need: `Idempotency-Key`, `If-Match`.

use super::problem::Refusal;
use crate::domain::once::{IdempotencyKey, Reply};
use axum::extract::FromRequestParts;
use axum::http::header::{CONTENT_TYPE, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use walkpay::protocol::problem::ProblemCode;

/// The `Idempotency-Key` of a request that creates something, which must have one.
pub struct Key(pub IdempotencyKey);

/// How the OpenAPI document describes [`Key`].
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
pub struct KeyParam {
    /// Made by the caller, one per thing to be created: the same request under the same key has the same answer.
    #[param(
        rename = "idempotency-key",
        pattern = "^[!-~]{1,100}$",
        min_length = 1,
        max_length = 100,
        example = "018bcfe5-6800-7707"
    )]
    #[allow(dead_code)]
    key: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let key = only(&parts.headers, &HeaderName::from_static("idempotency-key"))?.ok_or_else(|| {
            let detail = "Send a header Idempotency-Key: one key for each thing that is to be created.";
            Refusal::new(ProblemCode::IdempotencyKeyMissing, detail)
        })?;
        Ok(Self(IdempotencyKey::parse(key)?))
    }
}

/// The version in `If-Match`, which a request that changes something must have.
pub struct IfVersion(pub u64);

/// How the OpenAPI document describes [`IfVersion`].
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IfVersionParam {
    /// The version that is to be changed, as its `ETag` says: a number in quotes.
    #[param(rename = "if-match", pattern = "^\"[1-9][0-9]{0,14}\"$", example = "\"1\"")]
    #[allow(dead_code)]
    version: String,
}

impl<S: Send + Sync> FromRequestParts<S> for IfVersion {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let tag = only(&parts.headers, &IF_MATCH)?.ok_or_else(|| {
            let detail = "Send a header If-Match with the version that is to be changed, such as \"1\".";
            Refusal::new(ProblemCode::PreconditionRequired, detail)
        })?;
        let digits = tag.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
        let plain =
            |d: &&str| (1..=15).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()) && !d.starts_with('0');
        let version = digits.filter(plain).and_then(|d| d.parse().ok());
        version.map(Self).ok_or_else(|| Refusal::malformed("If-Match is one version: a number in quotes."))
    }
}

/// The `ETag` of a version.
pub fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(Some).map_err(|_| Refusal::malformed(format!("The header {name} is not plain ASCII.")))
        }
        _ => Err(Refusal::malformed(format!("The header {name} comes once."))),
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(CONTENT_TYPE, "application/json")], self.body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    async fn key(headers: &[(&str, &[u8])]) -> Result<String, ProblemCode> {
        let (mut parts, ()) = with(headers);
        Key::from_request_parts(&mut parts, &()).await.map(|k| k.0.as_str().to_owned()).map_err(|r| r.code)
    }

    async fn version(headers: &[(&str, &[u8])]) -> Result<u64, ProblemCode> {
        let (mut parts, ()) = with(headers);
        IfVersion::from_request_parts(&mut parts, &()).await.map(|v| v.0).map_err(|r| r.code)
    }

    fn with(headers: &[(&str, &[u8])]) -> (Parts, ()) {
        let request = headers.iter().fold(Request::builder(), |r, (name, value)| r.header(*name, *value));
        request.body(()).unwrap().into_parts()
    }

    #[tokio::test]
    async fn keys_come_once_and_are_visible_ascii() {
        assert_eq!(key(&[("idempotency-key", b"k-1")]).await, Ok("k-1".to_owned()));
        assert_eq!(key(&[]).await, Err(ProblemCode::IdempotencyKeyMissing));
        for bad in [&b""[..], b"a b", b"\xff", &[b'k'; 101]] {
            assert_eq!(key(&[("idempotency-key", bad)]).await, Err(ProblemCode::Malformed));
        }
        assert_eq!(key(&[("idempotency-key", b"a"), ("idempotency-key", b"a")]).await, Err(ProblemCode::Malformed));
    }

    #[tokio::test]
    async fn versions_are_numbers_in_quotes() {
        assert_eq!(version(&[("if-match", b"\"12\"")]).await, Ok(12));
        assert_eq!(version(&[]).await, Err(ProblemCode::PreconditionRequired));
        for bad in [&b"12"[..], b"*", b"W/\"1\"", b"\"\"", b"\"01\"", b"\"1\", \"2\"", b"\"9999999999999999\""] {
            assert_eq!(version(&[("if-match", bad)]).await, Err(ProblemCode::Malformed));
        }
        assert_eq!(etag(12), "\"12\"");
    }
}
