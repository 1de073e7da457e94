//! Keys with fixed seeds, of both algorithms, that sign documents and whatever else a test makes up.

use ed25519_dalek::Signer as _;
use walkpay::KeyId;
use walkpay::protocol::crypto::{Algorithm, PublicKey, base64url};
use walkpay::protocol::jws::{Document, assemble, signing_input};

/// A key pair.
pub struct TestKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Ed25519(ed25519_dalek::SigningKey),
    Es256(p256::ecdsa::SigningKey),
}

impl TestKey {
    /// The key of `algorithm` whose secret is `seed`, 32 times.
    pub fn new(algorithm: Algorithm, seed: u8) -> Self {
        let (pair, raw) = match algorithm {
            Algorithm::Ed25519 => {
                let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
                let raw = key.verifying_key().to_bytes().to_vec();
                (Pair::Ed25519(key), raw)
            }
            Algorithm::Es256 => {
                let key = p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap();
                let raw = key.verifying_key().to_sec1_point(false).as_bytes().to_vec();
                (Pair::Es256(key), raw)
            }
        };
        Self { pair, public: PublicKey::from_raw(algorithm, &raw).unwrap() }
    }

    pub fn ed25519(seed: u8) -> Self {
        Self::new(Algorithm::Ed25519, seed)
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub fn kid(&self) -> KeyId {
        self.public.key_id()
    }

    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// 64 bytes; the same for the same message (RFC 8032, RFC 6979).
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Pair::Es256(key) => {
                let signature: p256::ecdsa::Signature = p256::ecdsa::signature::Signer::sign(key, message);
                signature.to_bytes().to_vec()
            }
        }
    }

    pub fn jws<D: Document>(&self, document: &D) -> String {
        let input = signing_input(document, self.algorithm(), &self.kid()).unwrap();
        self.finish(&input)
    }

    fn finish(&self, input: &str) -> String {
        assemble(input, &self.public.canonical(&self.sign(input.as_bytes())))
    }

    /// A signature over any header and payload.
    pub fn raw_jws(&self, header: &str, payload: &[u8]) -> String {
        let input = format!("{}.{}", base64url(header.as_bytes()), base64url(payload));
        self.finish(&input)
    }

    /// The header that documents of `typ` by this key have.
    pub fn header(&self, typ: &str) -> String {
        format!(r#"{{"alg":"{}","kid":"{}","typ":"{typ}"}}"#, self.algorithm().name(), self.kid())
    }

    /// The public key as a vector file lists it.
    pub fn entry(&self) -> serde_json::Value {
        let mut jwk = serde_json::to_value(self.public.to_jwk()).unwrap();
        jwk["kid"] = self.kid().as_str().into();
        jwk["alg"] = self.algorithm().name().into();
        jwk
    }
}
