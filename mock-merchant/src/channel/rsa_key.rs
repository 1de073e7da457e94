//! RSA keys of payment providers: SHA-256 with RSASSA-PKCS1-v1_5 (RFC 8017 §8.2), which Alipay calls RSA2 and WeChat Pay
//! `WECHATPAY2-SHA256-RSA2048`.

use rand_chacha::ChaCha20Rng;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};
use rsa::pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey, EncodeRsaPublicKey};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::rand_core::SeedableRng;
use rsa::{RsaPrivateKey, RsaPublicKey};
use std::path::Path;
use std::sync::Arc;
use walkpay::WalkpayError;
use zeroize::Zeroizing;

/// The size of keys that are made here, in bits.
const BITS: usize = 2048;
/// The largest key file that is read.
const MAX_FILE: u64 = 64 * 1024;

/// A key that signs; cheap to clone. Its text is wiped where it was parsed.
#[derive(Clone)]
pub struct RsaKey {
    pair: Arc<KeyPair>,
    public: RsaPublic,
}

impl std::fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RsaKey")
    }
}

/// A key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaPublic {
    /// RFC 8017 §A.1.1, DER.
    pkcs1: Vec<u8>,
}

/// A new key as text: PKCS#8, PEM.
///
/// # Errors
/// [`WalkpayError::Key`] when none can be made of `seed`, 32 random bytes.
pub fn generate(seed: [u8; 32]) -> Result<Zeroizing<String>, WalkpayError> {
    let key = RsaPrivateKey::new(&mut ChaCha20Rng::from_seed(seed), BITS).map_err(|e| unusable("a new key", &e))?;
    key.to_pkcs8_pem(LineEnding::LF).map_err(|e| unusable("a new key", &e))
}

impl RsaKey {
    /// Reads a private key of 2048 to 8192 bits: PKCS#8 or PKCS#1, as PEM or as the bare base64 that Alipay's tools give.
    ///
    /// # Errors
    /// [`WalkpayError::Key`].
    pub fn parse(text: &str) -> Result<Self, WalkpayError> {
        let der = der_of(text)?;
        let key = RsaPrivateKey::from_pkcs8_der(&der).or_else(|_| RsaPrivateKey::from_pkcs1_der(&der));
        let key = key.map_err(|e| unusable("an RSA private key, PKCS#8 or PKCS#1", &e))?;
        let pkcs8 = key.to_pkcs8_der().map_err(|e| unusable("an RSA private key", &e))?;
        let pair = KeyPair::from_pkcs8(pkcs8.as_bytes()).map_err(|e| unusable("an RSA key that ring takes", &e))?;
        let public = RsaPublic { pkcs1: pair.public().as_ref().to_vec() };
        Ok(Self { pair: Arc::new(pair), public })
    }

    /// Reads a private key from its file.
    ///
    /// # Errors
    /// [`WalkpayError::Key`], with the file's name.
    pub fn load(file: &Path) -> Result<Self, WalkpayError> {
        Self::parse(&read(file)?).map_err(|e| named(file, &e))
    }

    /// The signature of `message`.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] when the system gives no randomness for blinding.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, WalkpayError> {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        let signed = self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map(|()| signature).map_err(|e| unusable("a signature", &e))
    }

    /// Its public half.
    pub fn public(&self) -> &RsaPublic {
        &self.public
    }
}

impl RsaPublic {
    /// Reads a public key: SubjectPublicKeyInfo or PKCS#1, as PEM or as the bare base64 that Alipay's console shows.
    ///
    /// # Errors
    /// [`WalkpayError::Key`].
    pub fn parse(text: &str) -> Result<Self, WalkpayError> {
        let der = der_of(text)?;
        let key = RsaPublicKey::from_public_key_der(&der).or_else(|_| RsaPublicKey::from_pkcs1_der(&der));
        let key = key.map_err(|e| unusable("an RSA public key", &e))?;
        let pkcs1 = key.to_pkcs1_der().map_err(|e| unusable("an RSA public key", &e))?;
        Ok(Self { pkcs1: pkcs1.as_bytes().to_vec() })
    }

    /// Reads a public key from its file.
    ///
    /// # Errors
    /// [`WalkpayError::Key`], with the file's name.
    pub fn load(file: &Path) -> Result<Self, WalkpayError> {
        Self::parse(&read(file)?).map_err(|e| named(file, &e))
    }

    /// A public key in the form of RFC 8017 §A.1.1, as a certificate carries it.
    pub fn from_pkcs1_der(der: &[u8]) -> Self {
        Self { pkcs1: der.to_vec() }
    }

    /// Whether `signature` is this key's of `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.pkcs1).verify(message, signature).is_ok()
    }

    /// As SubjectPublicKeyInfo, PEM.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] for a key that was not parsed but taken over as it came.
    pub fn to_pem(&self) -> Result<String, WalkpayError> {
        let key = RsaPublicKey::from_pkcs1_der(&self.pkcs1).map_err(|e| unusable("an RSA public key", &e))?;
        key.to_public_key_pem(LineEnding::LF).map_err(|e| unusable("an RSA public key", &e))
    }
}

/// What lies between the lines of a PEM file, or all of it.
fn der_of(text: &str) -> Result<Zeroizing<Vec<u8>>, WalkpayError> {
    use base64::Engine;
    let body: String =
        text.lines().filter(|l| !l.trim_start().starts_with("-----")).flat_map(str::split_whitespace).collect();
    let body = Zeroizing::new(body);
    let der = base64::engine::general_purpose::STANDARD.decode(body.as_bytes());
    der.map(Zeroizing::new).map_err(|e| unusable("a key as PEM or base64", &e))
}

/// The text of a key file, which has at most 64 KiB.
///
/// # Errors
/// [`WalkpayError::Key`], with the file's name.
pub(super) fn read(file: &Path) -> Result<Zeroizing<String>, WalkpayError> {
    let size = std::fs::metadata(file).map_err(|e| named(file, &e))?.len();
    if size > MAX_FILE {
        return Err(named(file, &"a key file has at most 64 KiB"));
    }
    std::fs::read_to_string(file).map(Zeroizing::new).map_err(|e| named(file, &e))
}

fn named(file: &Path, why: &dyn std::fmt::Display) -> WalkpayError {
    WalkpayError::Key { detail: format!("{}: {why}", file.display()) }
}

fn unusable(expected: &str, why: &dyn std::fmt::Display) -> WalkpayError {
    WalkpayError::Key { detail: format!("expected {expected}: {why}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_every_form_and_sign() {
        let pem = generate([1; 32]).unwrap();
        let key = RsaKey::parse(&pem).unwrap();
        let signature = key.sign(b"a=1&b=2").unwrap();
        let public = RsaPublic::parse(&key.public().to_pem().unwrap()).unwrap();
        assert_eq!(&public, key.public());
        assert!(public.verifies(b"a=1&b=2", &signature) && !public.verifies(b"a=1&b=3", &signature));
        let bare: String = pem.lines().filter(|l| !l.starts_with('-')).collect();
        assert_eq!(RsaKey::parse(&bare).unwrap().public(), &public);
        let other = RsaKey::parse(&generate([2; 32]).unwrap()).unwrap();
        assert!(!other.public().verifies(b"a=1&b=2", &signature));
        for bad in ["", "-----BEGIN PRIVATE KEY-----", "AAAA", "no base64!"] {
            assert!(RsaKey::parse(bad).is_err() && RsaPublic::parse(bad).is_err(), "{bad}");
        }
        assert!(RsaPublic::parse(&pem).is_err(), "a private key is no public one");
    }
}
