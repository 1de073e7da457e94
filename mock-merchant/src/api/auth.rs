//! Who asks: a device by its request key, a gate by its token, a member of staff by theirs.

use super::App;
use super::body::{parse, read};
use super::problem::Refusal;
use crate::domain::service::{Scope, SourceCaller};
use crate::domain::{self, Caller, StaffScope};
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use std::sync::{Arc, PoisonError};
use std::time::Instant;
use walkpay::protocol::crypto::sha256;
use walkpay::protocol::http_signature::{ReceivedParts, SignatureRefusal, parse_and_check, verify};
use walkpay::protocol::problem::ProblemCode;
use walkpay::{DeviceId, KeyId, StoreId};

/// The longest token that is looked at.
const MAX_TOKEN: usize = 4096;

/// A request that a device has signed (RFC 9421), with its JSON body.
pub struct Signed<T> {
    /// Who signed it.
    pub device: SignedBy,
    /// The body.
    pub body: T,
    /// Digest of the body as it came: what an idempotency key is bound to.
    pub body_sha256: [u8; 32],
}

/// A verified request signature.
#[derive(Clone, Debug)]
pub struct SignedBy {
    /// The device that the key belongs to.
    pub device_id: DeviceId,
    /// The request key.
    pub kid: KeyId,
    /// The signature's nonce.
    pub nonce: String,
}

impl SignedBy {
    /// As the domain knows callers.
    pub fn caller(&self) -> Caller {
        Caller::Device { device_id: self.device_id, kid: self.kid.clone() }
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Signed<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refusal> {
        let (device, bytes) = authenticate(app, request).await?;
        let body = parse(&bytes, app.limits.json_depth)?;
        Ok(Self { device, body, body_sha256: sha256(&bytes) })
    }
}

/// A signed request without a body.
pub struct SignedEmpty(pub SignedBy);

impl FromRequest<Arc<App>> for SignedEmpty {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refusal> {
        let (device, bytes) = authenticate(app, request).await?;
        if !bytes.is_empty() {
            return Err(Refusal::malformed("This request has no body."));
        }
        Ok(Self(device))
    }
}

/// The checks in order: form, key known, signature, rate of the device, freshness and nonce. A nonce counts only once the
/// signature has been verified.
async fn authenticate(app: &Arc<App>, request: Request) -> Result<(SignedBy, Bytes), Refusal> {
    let (parts, body) = request.into_parts();
    let bytes = read(app, body).await?;
    let headers: Vec<(&str, &[u8])> = parts.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
    // The query as it was sent: "?" with nothing behind it is an empty query.
    let query = parts.uri.path_and_query().and_then(|p| p.as_str().split_once('?')).map(|(_, query)| query);
    let received =
        ReceivedParts { method: parts.method.as_str(), path: parts.uri.path(), query, headers: &headers, body: &bytes };
    let parsed = parse_and_check(&received, &app.merchant_id)?;
    let device = app.device_of(&parsed.keyid).await?;
    verify(&parsed, &device.key)?;
    app.device_rates.take(device.device_id, Instant::now()).map_err(Refusal::rate_limited)?;
    app.nonces.lock().unwrap_or_else(PoisonError::into_inner).check(&parsed, app.clock.now())?;
    let signed = SignedBy { device_id: device.device_id, kid: parsed.keyid, nonce: parsed.nonce };
    Ok((signed, bytes))
}

impl From<SignatureRefusal> for Refusal {
    fn from(refusal: SignatureRefusal) -> Self {
        let retry_after = matches!(refusal.code, ProblemCode::RateLimited | ProblemCode::Unavailable)
            .then_some(std::time::Duration::from_secs(5));
        let detail = match refusal.code {
            ProblemCode::SignatureStale | ProblemCode::NonceReplayed => format!("Sign again, with {}.", refusal.detail),
            _ => format!("Expected {}.", refusal.detail),
        };
        Self { retry_after, ..Self::new(refusal.code, detail) }
    }
}

/// A gate, by its token.
pub struct Gate(pub Caller);

impl FromRequestParts<Arc<App>> for Gate {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let token = bearer(&parts.headers)?.to_owned();
        app.read(move |tx| domain::gate_of_key(tx, &token)).await.map(Gate)
    }
}

/// A member of staff of a store, by a staff token.
pub struct Staff {
    /// As the domain knows callers.
    pub caller: Caller,
    /// The store that the token is for.
    pub store_id: StoreId,
}

impl Staff {
    /// Whether the token lets them do this.
    pub fn may(&self, scope: StaffScope) -> bool {
        matches!(&self.caller, Caller::Staff { scopes, .. } if scopes.has(scope))
    }
}

impl FromRequestParts<Arc<App>> for Staff {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let caller = domain::staff_of_token(&app.ctx()?, bearer(&parts.headers)?)?;
        match &caller {
            Caller::Staff { store_id, .. } => Ok(Self { store_id: store_id.clone(), caller }),
            _ => Err(Refusal::internal(&"a staff token of nobody")),
        }
    }
}

/// A service system, by its API key.
pub struct Source(pub SourceCaller);

impl Source {
    /// As the domain knows callers, if the key may do this.
    ///
    /// # Errors
    /// 403 `forbidden`.
    pub fn with(self, scope: Scope) -> Result<Caller, Refusal> {
        self.0.need(scope)?;
        Ok(Caller::Source(self.0))
    }
}

impl FromRequestParts<Arc<App>> for Source {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let key = bearer(&parts.headers)?.to_owned();
        let source = app.read(move |tx| domain::service::source_of_key(tx, &key)).await?;
        app.source_rates.take(source.source, Instant::now()).map_err(Refusal::rate_limited)?;
        Ok(Self(source))
    }
}

pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let refused =
        || Refusal::new(ProblemCode::Unauthenticated, "Expected one header Authorization: Bearer and a token.");
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(refused()) };
    let (scheme, token) = value.to_str().ok().and_then(|v| v.split_once(' ')).ok_or_else(refused)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.len() > MAX_TOKEN {
        return Err(refused());
    }
    Ok(token)
}
