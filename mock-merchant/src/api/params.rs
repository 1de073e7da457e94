//! Path and query parameters whose refusals are problem documents.

use super::problem::Refusal;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use walkpay::protocol::problem::ProblemCode;

/// The highest number in a query or path: what every JSON reader holds exactly (RFC 8259 §6).
pub const MAX_NUMBER: u64 = 9_007_199_254_740_991;

/// A cursor or revision within [`MAX_NUMBER`].
///
/// # Errors
/// 422 `invalid_value`.
pub fn bounded(number: u64) -> Result<u64, Refusal> {
    if number > MAX_NUMBER {
        return Err(Refusal::new(ProblemCode::InvalidValue, "Cursors and revisions are at most 2^53 - 1."));
    }
    Ok(number)
}

/// The parameters of a path.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(_) => Err(Refusal::malformed("A part of the path does not have the documented form.")),
        }
    }
}

/// The parameters of a query.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(_) => Err(Refusal::malformed("A query parameter does not have the documented form, or comes twice.")),
        }
    }
}
