//! The signers of a terminal's devices: software keys from the journal, hardware keys from the host.

use super::seal::{Sealed, WrappingKey, key_error};
use super::signer::DeviceSigner;
use super::software_key::SoftwareKey;
use super::vault::KeyVault;
use crate::error::WalkpayError;
use crate::id::{DeviceId, KeyId};
use crate::protocol::crypto::PublicKey;
use std::collections::HashMap;
use std::sync::Arc;

/// Which of a device's two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyRole {
    /// Signs HTTP requests; needs nobody's presence.
    Request,
    /// Signs baskets, holds and slips.
    Consent,
}

impl KeyRole {
    /// The name under which the key is sealed and stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Consent => "consent",
        }
    }
}

/// The key that seals, from the vault; made and put there when `first` (no key has been sealed yet).
///
/// # Errors
/// [`WalkpayError::Key`] when the vault fails, or has lost the key that others are sealed with.
pub fn wrapping_key(vault: &dyn KeyVault, folder_id: &str, first: bool) -> Result<WrappingKey, WalkpayError> {
    let name = format!("walkpay.{folder_id}");
    match vault.get(name.clone())? {
        Some(bytes) => WrappingKey::from_vault(bytes),
        None if first => {
            let key = WrappingKey::generate()?;
            vault.put(name, key.to_vault())?;
            Ok(key)
        }
        None => Err(key_error("the vault has no key for this folder: was it copied from another device? Enrol again")),
    }
}

/// A signer with its public key, checked once.
#[derive(Clone)]
pub struct KnownSigner {
    /// What signs.
    pub signer: Arc<dyn DeviceSigner>,
    /// What verifies.
    pub public: PublicKey,
}

impl KnownSigner {
    /// Asks a signer for its key. May wait for the host.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] and what the signer says; [`WalkpayError::InvalidInput`] for a malformed key.
    pub fn new(signer: Arc<dyn DeviceSigner>) -> Result<Self, WalkpayError> {
        let public = PublicKey::from_raw(signer.algorithm()?, &signer.public_key()?)?;
        Ok(Self { signer, public })
    }

    /// A new software key, and how it is to be stored.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`] without randomness.
    pub fn generate(wrapping: &WrappingKey, device: &DeviceId, role: KeyRole) -> Result<(Self, Sealed), WalkpayError> {
        let key = SoftwareKey::generate()?;
        let sealed = key.seal(wrapping, device, role.name())?;
        Ok((Self { public: key.public()?, signer: Arc::new(key) }, sealed))
    }
}

/// The signers that are at hand.
#[derive(Default)]
pub struct KeyRing(HashMap<(DeviceId, KeyId), KnownSigner>);

impl KeyRing {
    /// Puts a signer in.
    pub fn put(&mut self, device: DeviceId, signer: KnownSigner) {
        self.0.insert((device, signer.public.key_id()), signer);
    }

    /// The signer of a device's key.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] when the host has not handed it in.
    pub fn get(&self, device: &DeviceId, kid: &KeyId) -> Result<KnownSigner, WalkpayError> {
        self.0
            .get(&(*device, kid.clone()))
            .cloned()
            .ok_or_else(|| key_error("the signer of this key is not attached: call attach_signers first"))
    }

    /// Forgets the signers of a device other than these.
    pub fn retain(&mut self, device: &DeviceId, kids: &[&KeyId]) {
        self.0.retain(|(d, kid), _| d != device || kids.contains(&kid));
    }
}

#[cfg(test)]
mod tests {
    use super::super::MemoryVault;
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn a_vault_that_lost_its_key_is_noticed() {
        let vault = MemoryVault::default();
        let device = DeviceId::new(Timestamp::from_millis(1_700_000_000_000), [1; 10]);
        let key = wrapping_key(&vault, "folder", true).unwrap();
        let (_, sealed) = KnownSigner::generate(&key, &device, KeyRole::Consent).unwrap();
        let again = wrapping_key(&vault, "folder", false).unwrap();
        SoftwareKey::unseal(&again, &device, "consent", &sealed).unwrap();
        assert!(matches!(wrapping_key(&vault, "other", false), Err(WalkpayError::Key { .. })));
    }

    #[test]
    fn hands_out_the_signer_of_one_device_only() {
        let mut ring = KeyRing::default();
        let device = |n| DeviceId::new(Timestamp::from_millis(1_700_000_000_000), [n; 10]);
        let signer = KnownSigner::new(Arc::new(SoftwareKey::generate().unwrap())).unwrap();
        let kid = signer.public.key_id();
        ring.put(device(1), signer);
        assert!(ring.get(&device(1), &kid).is_ok());
        assert!(matches!(ring.get(&device(2), &kid), Err(WalkpayError::Key { .. })));
        ring.retain(&device(1), &[]);
        assert!(ring.get(&device(1), &kid).is_err());
    }
}
