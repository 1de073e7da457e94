//! The default key: Ed25519, made on the device.

use super::seal::{Sealed, WrappingKey, key_error};
use super::signer::{DeviceSigner, SigningPurpose};
use crate::adapter::random::random;
use crate::error::WalkpayError;
use crate::id::DeviceId;
use crate::protocol::crypto::{Algorithm, PublicKey};
use ed25519_dalek::{Signer, SigningKey};
use zeroize::Zeroizing;

/// An Ed25519 key in memory (RFC 8032), wiped when dropped.
pub struct SoftwareKey(SigningKey);

impl SoftwareKey {
    /// A new key from the system's randomness.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`] without randomness.
    pub fn generate() -> Result<Self, WalkpayError> {
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(random()?);
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Seals the key for one purpose (`request`, `consent`) of one device.
    ///
    /// # Errors
    /// As [`WrappingKey::seal`].
    pub fn seal(&self, wrapping: &WrappingKey, device: &DeviceId, purpose: &str) -> Result<Sealed, WalkpayError> {
        wrapping.seal(device, purpose, Zeroizing::new(self.0.to_bytes()).as_slice())
    }

    /// Opens a sealed key.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] as [`WrappingKey::open`].
    pub fn unseal(
        wrapping: &WrappingKey,
        device: &DeviceId,
        purpose: &str,
        sealed: &Sealed,
    ) -> Result<Self, WalkpayError> {
        let seed = wrapping.open(device, purpose, sealed)?;
        let seed: &[u8; 32] =
            seed.as_slice().try_into().map_err(|_| key_error("a sealed key does not have 32 bytes"))?;
        Ok(Self(SigningKey::from_bytes(seed)))
    }

    /// The public key.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] never for a key that was generated.
    pub fn public(&self) -> Result<PublicKey, WalkpayError> {
        PublicKey::from_raw(Algorithm::Ed25519, self.0.verifying_key().as_bytes())
    }
}

impl DeviceSigner for SoftwareKey {
    fn algorithm(&self) -> Result<Algorithm, WalkpayError> {
        Ok(Algorithm::Ed25519)
    }

    fn public_key(&self) -> Result<Vec<u8>, WalkpayError> {
        Ok(self.0.verifying_key().to_bytes().to_vec())
    }

    fn sign(&self, _purpose: SigningPurpose, bytes: Vec<u8>) -> Result<Vec<u8>, WalkpayError> {
        Ok(self.0.sign(&bytes).to_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn signs_what_the_verifier_takes_after_a_round_through_the_seal() {
        let device = DeviceId::new(Timestamp::from_millis(1_700_000_000_000), [1; 10]);
        let wrapping = WrappingKey::generate().unwrap();
        let key = SoftwareKey::generate().unwrap();
        let sealed = key.seal(&wrapping, &device, "consent").unwrap();
        let again = SoftwareKey::unseal(&wrapping, &device, "consent", &sealed).unwrap();
        let signature = again.sign(SigningPurpose::Basket, b"basket".to_vec()).unwrap();
        assert!(key.public().unwrap().verifies(b"basket", &signature));
        assert!(!key.public().unwrap().verifies(b"another", &signature));
        let seed = key.0.to_bytes();
        assert!(!sealed.as_bytes().windows(32).any(|w| w == seed), "the seed must not be readable");
    }
}
