//! The one verifier of the workspace: terminal, merchant, bank and gate all use this file.
//!
//! Ed25519 is verified strictly (RFC 8032 §5.1.7 without small-order keys), ES256 as RFC 7518 §3.4 says. Nothing here
//! signs; keys that sign are made by adapters.

use crate::error::WalkpayError;
use crate::id::KeyId;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;

/// A signature algorithm (RFC 9864 `Ed25519`, RFC 7518 `ES256`), pinned per key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
pub enum Algorithm {
    /// EdDSA over Curve25519.
    Ed25519,
    /// ECDSA over P-256 with SHA-256; what phone security chips offer.
    #[serde(rename = "ES256")]
    Es256,
}

impl Algorithm {
    /// The value of the `alg` header parameter.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::Es256 => "ES256",
        }
    }
}

/// A public key whose form has been checked.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// Ed25519: 32 bytes; ES256: the uncompressed point, 65 bytes.
    bytes: Vec<u8>,
    /// The point of an Ed25519 key, so that it is worked out once and not for every signature.
    point: Option<Box<VerifyingKey>>,
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} key {}", self.algorithm.name(), self.key_id())
    }
}

impl PublicKey {
    /// A key from its raw bytes: 32 for Ed25519, 65 (`04 ‖ X ‖ Y`) for ES256.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] when the length or the point is not one of the algorithm.
    pub fn from_raw(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, WalkpayError> {
        let point = match algorithm {
            Algorithm::Ed25519 => <[u8; 32]>::try_from(bytes).ok().and_then(|b| point(&b)).map(Box::new),
            Algorithm::Es256 => None,
        };
        let well_formed = match algorithm {
            Algorithm::Ed25519 => point.is_some(),
            Algorithm::Es256 => bytes.len() == 65 && bytes.first() == Some(&4),
        };
        if !well_formed {
            let expected = match algorithm {
                Algorithm::Ed25519 => "32 bytes of a point of full order",
                Algorithm::Es256 => "65 bytes: 04, X and Y",
            };
            return Err(WalkpayError::invalid("public key", expected, &format!("{} bytes", bytes.len())));
        }
        Ok(Self { algorithm, bytes: bytes.to_vec(), point })
    }

    /// The algorithm that this key is pinned to.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw bytes, as [`PublicKey::from_raw`] takes them.
    pub fn raw(&self) -> &[u8] {
        &self.bytes
    }

    /// The key as a JWK (RFC 7517, RFC 8037).
    pub fn to_jwk(&self) -> Jwk {
        match self.algorithm {
            Algorithm::Ed25519 => Jwk { kty: "OKP".into(), crv: "Ed25519".into(), x: base64url(&self.bytes), y: None },
            Algorithm::Es256 => {
                let (x, y) = self.bytes.get(1..).unwrap_or_default().split_at(32.min(self.bytes.len() - 1));
                Jwk { kty: "EC".into(), crv: "P-256".into(), x: base64url(x), y: Some(base64url(y)) }
            }
        }
    }

    /// The RFC 7638 SHA-256 thumbprint.
    pub fn key_id(&self) -> KeyId {
        let jwk = self.to_jwk();
        let canonical = match &jwk.y {
            None => format!(r#"{{"crv":"{}","kty":"{}","x":"{}"}}"#, jwk.crv, jwk.kty, jwk.x),
            Some(y) => format!(r#"{{"crv":"{}","kty":"{}","x":"{}","y":"{y}"}}"#, jwk.crv, jwk.kty, jwk.x),
        };
        KeyId::of_digest(&sha256(canonical.as_bytes()))
    }

    /// Whether `signature` (64 bytes; ES256: R ‖ S) is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::Ed25519 => match (&self.point, signature.try_into()) {
                (Some(key), Ok(signature)) => {
                    key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
                }
                _ => false,
            },
            Algorithm::Es256 => {
                ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, &self.bytes)
                    .verify(message, signature)
                    .is_ok()
            }
        }
    }

    /// The one form in which a signature of this key is put into a document. Of the two ES256 signatures R ‖ S and R ‖ n−S, which
    /// anybody can turn into each other, it is the one with the lower S. Needs no secret, so that hardware keys may give
    /// either.
    pub fn canonical(&self, signature: &[u8]) -> Vec<u8> {
        let mut out = signature.to_vec();
        if let (Algorithm::Es256, Some((_, s))) = (self.algorithm, out.split_at_mut_checked(32))
            && s.len() == 32
            && !is_low(s)
        {
            let mut borrow = false;
            for (digit, of_order) in s.iter_mut().zip(P256_ORDER).rev() {
                let (less, under) = of_order.overflowing_sub(*digit);
                let (less, under_again) = less.overflowing_sub(u8::from(borrow));
                (*digit, borrow) = (less, under || under_again);
            }
        }
        out
    }

    /// Whether a signature that verifies has the form of [`PublicKey::canonical`].
    pub fn is_canonical(&self, signature: &[u8]) -> bool {
        self.algorithm != Algorithm::Es256 || signature.get(32..).is_some_and(is_low)
    }
}

thread_local! {
    /// The points of the keys that were read since somebody began to read many.
    static POINTS: RefCell<Option<Vec<VerifyingKey>>> = const { RefCell::new(None) };
}

/// The most points that are kept.
const MAX_POINTS: usize = 64;

/// Does `work`, which reads the same keys again and again: the point of each is worked out and checked once.
#[cfg(any(test, feature = "terminal"))]
pub(crate) fn reading_keys<T>(work: impl FnOnce() -> T) -> T {
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            POINTS.set(None);
        }
    }
    POINTS.set(Some(Vec::new()));
    let _end = End;
    work()
}

/// The point of full order that these bytes write.
fn point(bytes: &[u8; 32]) -> Option<VerifyingKey> {
    let known = |points: &Option<Vec<VerifyingKey>>| points.as_ref()?.iter().find(|p| p.as_bytes() == bytes).copied();
    if let Some(point) = POINTS.with_borrow(known) {
        return Some(point);
    }
    let point = VerifyingKey::from_bytes(bytes).ok().filter(|k| !k.is_weak())?;
    POINTS.with_borrow_mut(|points| {
        if let Some(points) = points.as_mut().filter(|points| points.len() < MAX_POINTS) {
            points.push(point);
        }
    });
    Some(point)
}

/// The order of P-256 (FIPS 186-5, SP 800-186 §3.2.1.3), and half of it.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
const P256_HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73, 0x7d,
    0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];

fn is_low(s: &[u8]) -> bool {
    *s <= P256_HALF_ORDER[..]
}

/// The public part of a key as JSON (RFC 7517); an interchange form, checked by [`Jwk::to_key`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Jwk {
    /// `OKP` or `EC`.
    pub kty: String,
    /// `Ed25519` or `P-256`.
    pub crv: String,
    /// The key (OKP) or the X coordinate (EC), base64url.
    pub x: String,
    /// The Y coordinate of an EC key, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
}

impl Jwk {
    /// The key that this describes.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] for other key types and malformed coordinates.
    pub fn to_key(&self) -> Result<PublicKey, WalkpayError> {
        let x = from_base64url("jwk.x", &self.x)?;
        match (self.kty.as_str(), self.crv.as_str(), &self.y) {
            ("OKP", "Ed25519", None) => PublicKey::from_raw(Algorithm::Ed25519, &x),
            ("EC", "P-256", Some(y)) => {
                let y = from_base64url("jwk.y", y)?;
                if x.len() != 32 || y.len() != 32 {
                    return Err(WalkpayError::invalid("jwk", "coordinates of 32 bytes", &self.x));
                }
                PublicKey::from_raw(Algorithm::Es256, &[&[4], x.as_slice(), y.as_slice()].concat())
            }
            _ => Err(WalkpayError::invalid("jwk", "an OKP Ed25519 or EC P-256 public key", &self.kty)),
        }
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.to_jwk().serialize(s)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Jwk::deserialize(d)?.to_key().map_err(serde::de::Error::custom)
    }
}

/// SHA-256 of `data` (FIPS 180-4).
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, data).as_ref());
    out
}

/// SHA-256 of `data`, base64url without padding: the form of every digest inside signed documents.
pub fn digest(data: &[u8]) -> String {
    base64url(&sha256(data))
}

/// SHA-256 over data that comes in pieces.
pub struct Digest(ring::digest::Context);

impl Default for Digest {
    fn default() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }
}

impl Digest {
    /// Takes in the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of all pieces in the form of [`digest`].
    pub fn finish(self) -> String {
        base64url(self.0.finish().as_ref())
    }
}

/// base64url without padding (RFC 4648 §5).
pub fn base64url(data: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(data)
}

/// Decodes base64url without padding; other alphabets, padding and stray bits are refused.
///
/// # Errors
/// [`WalkpayError::InvalidInput`] naming `field`.
pub fn from_base64url(field: &str, text: &str) -> Result<Vec<u8>, WalkpayError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| WalkpayError::invalid(field, "base64url without padding", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_es256_signature_has_one_form() {
        let key = PublicKey { algorithm: Algorithm::Es256, bytes: Vec::new(), point: None };
        let of = |s: [u8; 32]| [[7; 32], s].concat();
        let mut one = [0; 32];
        one[31] = 1;
        let mut order_less_one = P256_ORDER;
        order_less_one[31] -= 1;
        assert_eq!(key.canonical(&of(order_less_one)), of(one));
        // n = 2 · half + 1: what comes after half is the other form of half.
        let mut above = P256_HALF_ORDER;
        above[31] += 1;
        assert_eq!(key.canonical(&of(above)), of(P256_HALF_ORDER));
        assert!(key.is_canonical(&of(P256_HALF_ORDER)) && !key.is_canonical(&of(above)));
        assert_eq!(key.canonical(&of(P256_HALF_ORDER)), of(P256_HALF_ORDER));
        assert_eq!(key.canonical(b"short"), b"short");
        let other = PublicKey { algorithm: Algorithm::Ed25519, bytes: Vec::new(), point: None };
        assert_eq!(other.canonical(&of(order_less_one)), of(order_less_one));
        assert!(other.is_canonical(&of(order_less_one)));
    }

    #[test]
    fn thumbprint_of_rfc_8037_appendix_a_3() {
        let jwk = Jwk {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into(),
            y: None,
        };
        assert_eq!(jwk.to_key().unwrap().key_id().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn verifies_rfc_8032_test_1_and_nothing_else() {
        let key = from_base64url("x", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let key = PublicKey::from_raw(Algorithm::Ed25519, &key).unwrap();
        let hex = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        let signature: Vec<u8> = (0..64).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
        assert!(key.verifies(b"", &signature));
        assert!(!key.verifies(b"x", &signature));
        for bit in 0..512 {
            let mut flipped = signature.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.verifies(b"", &flipped), "bit {bit}");
        }
        assert!(!key.verifies(b"", &[]));
    }

    #[test]
    fn keys_that_are_read_together_are_those_that_are_read_alone() {
        let good = from_base64url("x", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let mut weak = [0; 32];
        weak[0] = 1;
        let read = |bytes: &[u8]| PublicKey::from_raw(Algorithm::Ed25519, bytes);
        let alone = read(&good).unwrap();
        reading_keys(|| {
            for _ in 0..3 {
                assert_eq!(read(&good).unwrap(), alone);
                assert!(read(&weak).is_err());
            }
            assert_eq!(POINTS.with_borrow(|p| p.as_ref().map(Vec::len)), Some(1), "worked out once");
        });
        assert!(POINTS.with_borrow(Option::is_none));
        assert_eq!(read(&good).unwrap(), alone);
        assert!(POINTS.with_borrow(Option::is_none), "kept only while many are read");
    }

    #[test]
    fn refuses_weak_and_malformed_keys() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(PublicKey::from_raw(Algorithm::Ed25519, &identity).is_err());
        assert!(PublicKey::from_raw(Algorithm::Ed25519, &[0; 31]).is_err());
        assert!(PublicKey::from_raw(Algorithm::Es256, &[4; 64]).is_err());
        assert!(from_base64url("x", "AA==").is_err());
        assert!(from_base64url("x", "AB").is_err(), "stray bits");
    }
}
