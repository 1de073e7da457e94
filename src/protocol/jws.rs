//! Compact JWS (RFC 7515 §3.1) with a header of exactly `alg`, `kid` and `typ`.
//!
//! What was signed is never serialised again: a [`Signed`] keeps the text it was read from.

use super::crypto::{Algorithm, PublicKey, base64url, digest, from_base64url};
use crate::error::WalkpayError;
use crate::id::KeyId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest JWS that is looked at.
pub const MAX_JWS: usize = 64 * 1024;

/// The payload of a signed document. `TYP` carries the major version: a reader of version 1 never takes version 2 for it.
pub trait Document: Serialize + DeserializeOwned {
    /// The value of the `typ` header parameter, for example `walkpay-basket.v1`.
    const TYP: &'static str;
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: Algorithm,
    kid: KeyId,
    typ: String,
}

/// The bytes to be signed for `document` with the key `kid` (RFC 7515 §5.1): what a `DeviceSigner` gets.
///
/// # Errors
/// [`WalkpayError::Internal`] if the document cannot be written as JSON.
pub fn signing_input<D: Document>(document: &D, algorithm: Algorithm, kid: &KeyId) -> Result<String, WalkpayError> {
    let header = Header { alg: algorithm, kid: kid.clone(), typ: D::TYP.to_owned() };
    let json = |e: serde_json::Error| WalkpayError::Internal { detail: format!("{}: {e}", D::TYP) };
    let header = serde_json::to_vec(&header).map_err(json)?;
    let payload = serde_json::to_vec(document).map_err(json)?;
    Ok(format!("{}.{}", base64url(&header), base64url(&payload)))
}

/// The compact JWS of a signing input and its signature (64 bytes).
pub fn assemble(signing_input: &str, signature: &[u8]) -> String {
    format!("{signing_input}.{}", base64url(signature))
}

/// A document whose signature has been verified, with the text that was signed.
#[derive(Clone, Debug, PartialEq)]
pub struct Signed<D> {
    /// What it says.
    pub document: D,
    /// The key that signed it.
    pub kid: KeyId,
    jws: String,
}

impl<D> Signed<D> {
    /// The compact JWS, byte for byte as it came.
    pub fn jws(&self) -> &str {
        &self.jws
    }

    /// The digest by which other documents refer to this one.
    pub fn digest(&self) -> String {
        digest(self.jws.as_bytes())
    }
}

/// Verifies a compact JWS of type `D` with the key that `find` gives for its `kid`.
///
/// The checks in order: size; three parts; header of exactly three members; `typ`; `kid` known; `alg` the one that the
/// key is pinned to; signature; the one form of an ES256 signature ([`PublicKey::canonical`]), so that nobody can make another text of
/// a document; payload.
///
/// # Errors
/// [`WalkpayError::Untrusted`] with `check` one of `size`, `form`, `header`, `typ`, `kid`, `alg`, `signature`, `low_s`, `payload`.
pub fn verify<'k, D: Document>(
    jws: &str,
    find: impl FnOnce(&KeyId) -> Option<&'k PublicKey>,
) -> Result<Signed<D>, WalkpayError> {
    let fail = |check, detail: &str| WalkpayError::untrusted(D::TYP, check, detail);
    let parts = Parts::split(jws).map_err(|(check, detail)| fail(check, detail))?;
    if parts.header.typ != D::TYP {
        return Err(fail("typ", "the typ of this document"));
    }
    let key = find(&parts.header.kid).ok_or_else(|| fail("kid", "a key that is known and valid for this document"))?;
    if key.algorithm() != parts.header.alg {
        return Err(fail("alg", "the algorithm that the key is pinned to"));
    }
    if !key.verifies(parts.signed.as_bytes(), &parts.signature) {
        return Err(fail("signature", "a signature over exactly these bytes"));
    }
    if !key.is_canonical(&parts.signature) {
        return Err(fail("low_s", "an ES256 signature whose S is at most half of the order of P-256"));
    }
    let document = serde_json::from_slice(&parts.payload).map_err(|e| fail("payload", &json_problem(&e)))?;
    Ok(Signed { document, kid: parts.header.kid, jws: jws.to_owned() })
}

/// Reads `typ`, `kid` and payload of a JWS **without verifying it**: to route it or to find its key, never to act on it.
///
/// # Errors
/// [`WalkpayError::Untrusted`] when the form is not that of a compact JWS of type `D`.
pub fn peek<D: Document>(jws: &str) -> Result<(KeyId, D), WalkpayError> {
    let fail = |check, detail: &str| WalkpayError::untrusted(D::TYP, check, detail);
    let parts = Parts::split(jws).map_err(|(check, detail)| fail(check, detail))?;
    if parts.header.typ != D::TYP {
        return Err(fail("typ", "the typ of this document"));
    }
    let document = serde_json::from_slice(&parts.payload).map_err(|e| fail("payload", &json_problem(&e)))?;
    Ok((parts.header.kid, document))
}

/// What is wrong with JSON, without repeating any of it.
pub fn json_problem(e: &serde_json::Error) -> String {
    format!(
        "well-formed JSON of the documented members ({:?} error at line {} column {})",
        e.classify(),
        e.line(),
        e.column()
    )
}

struct Parts<'a> {
    header: Header,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn split(jws: &'a str) -> Result<Self, (&'static str, &'static str)> {
        if jws.len() > MAX_JWS {
            return Err(("size", "at most 65,536 bytes"));
        }
        let three = ("form", "three base64url parts joined by points (RFC 7515 §3.1)");
        let (signed, signature) = jws.rsplit_once('.').ok_or(three)?;
        let (header, payload) = signed.split_once('.').ok_or(three)?;
        let decode = |part| from_base64url("jws", part).map_err(|_| three);
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let header =
            serde_json::from_slice(&header).map_err(|_| ("header", "exactly alg (Ed25519 or ES256), kid and typ"))?;
        Ok(Self { header, signed, payload, signature })
    }
}
