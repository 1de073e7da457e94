//! Sealing of secrets that are kept on disk: AES-256-GCM under a key of the host's vault.

use crate::adapter::random::random;
use crate::error::WalkpayError;
use crate::id::DeviceId;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// The first byte of everything sealed: the version of this form.
const VERSION: u8 = 1;

/// The key that seals. 32 bytes, wiped from memory when dropped.
pub struct WrappingKey(Zeroizing<[u8; 32]>);

/// A secret that can be stored: version, nonce, ciphertext and tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl WrappingKey {
    /// A new one.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`] without randomness.
    pub fn generate() -> Result<Self, WalkpayError> {
        Ok(Self(Zeroizing::new(random()?)))
    }

    /// From what a vault returned; the bytes are wiped.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] unless there are 32 of them.
    pub fn from_vault(bytes: Vec<u8>) -> Result<Self, WalkpayError> {
        let bytes = Zeroizing::new(bytes);
        let key = <[u8; 32]>::try_from(bytes.as_slice())
            .map_err(|_| key_error(format!("the vault returned {} bytes instead of 32", bytes.len())))?;
        Ok(Self(Zeroizing::new(key)))
    }

    /// A copy for the vault.
    pub fn to_vault(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// Seals `secret` for one purpose of one device: it opens only under the same two.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`] without randomness.
    pub fn seal(&self, device: &DeviceId, purpose: &str, secret: &[u8]) -> Result<Sealed, WalkpayError> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut body = Zeroizing::new(secret.to_vec());
        let tag = self
            .aead()?
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad(device, purpose), &mut body)
            .map_err(|_| WalkpayError::Internal { detail: "sealing failed".into() })?;
        Ok(Sealed([&[VERSION], nonce.as_slice(), &body, tag.as_ref()].concat()))
    }

    /// Opens what [`WrappingKey::seal`] made.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] when it was changed, or sealed under another key, device or purpose.
    pub fn open(&self, device: &DeviceId, purpose: &str, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, WalkpayError> {
        let refused = || key_error(format!("the sealed {purpose} key does not open with the vault's key"));
        let rest = sealed.0.strip_prefix(&[VERSION]).ok_or_else(refused)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or_else(refused)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self.aead()?.open_in_place(nonce, aad(device, purpose), &mut body).map_err(|_| refused())?.len();
        body.truncate(length);
        Ok(body)
    }

    fn aead(&self) -> Result<LessSafeKey, WalkpayError> {
        UnboundKey::new(&AES_256_GCM, self.0.as_slice())
            .map(LessSafeKey::new)
            .map_err(|_| WalkpayError::Internal { detail: "AES-256-GCM did not take a key of 32 bytes".into() })
    }
}

impl Sealed {
    /// From storage.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// For storage.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn aad(device: &DeviceId, purpose: &str) -> Aad<Vec<u8>> {
    Aad::from([device.as_bytes().as_slice(), purpose.as_bytes()].concat())
}

pub(super) fn key_error(detail: impl Into<String>) -> WalkpayError {
    WalkpayError::Key { detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn device(n: u8) -> DeviceId {
        DeviceId::new(Timestamp::from_millis(1_700_000_000_000), [n; 10])
    }

    #[test]
    fn opens_for_the_same_device_and_purpose_only() {
        let key = WrappingKey::generate().unwrap();
        let sealed = key.seal(&device(1), "consent", b"secret").unwrap();
        assert_eq!(key.open(&device(1), "consent", &sealed).unwrap().as_slice(), b"secret");
        assert!(key.open(&device(2), "consent", &sealed).is_err());
        assert!(key.open(&device(1), "request", &sealed).is_err());
        assert!(WrappingKey::generate().unwrap().open(&device(1), "consent", &sealed).is_err());
    }

    #[test]
    fn notices_every_changed_bit_and_every_missing_byte() {
        let key = WrappingKey::generate().unwrap();
        let sealed = key.seal(&device(1), "consent", b"secret").unwrap();
        for bit in 0..sealed.0.len() * 8 {
            let mut changed = sealed.clone();
            changed.0[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(&device(1), "consent", &changed).is_err(), "bit {bit}");
        }
        for length in 0..sealed.0.len() {
            let cut = Sealed(sealed.0[..length].to_vec());
            assert!(key.open(&device(1), "consent", &cut).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn two_seals_of_one_secret_differ() {
        let key = WrappingKey::generate().unwrap();
        assert_ne!(key.seal(&device(1), "x", b"s").unwrap(), key.seal(&device(1), "x", b"s").unwrap());
    }

    #[test]
    fn a_vault_must_return_32_bytes() {
        assert!(matches!(WrappingKey::from_vault(vec![1; 31]), Err(WalkpayError::Key { .. })));
    }
}
