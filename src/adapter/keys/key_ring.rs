//! The signers of a terminal's devices: software keys from the journal, hardware keys from the host.

use super::seal::{WrappingKey, key_error};
use super::signer::DeviceSigner;
use super::software_key::SoftwareKey;
use super::vault::KeyVault;
use crate::adapter::journal::StoredKey;
use crate::error::WalkpayError;
use crate::id::{DeviceId, KeyId};
use crate::protocol::crypto::PublicKey;
use std::collections::HashMap;
use std::sync::Arc;

/// What sealed keys are sealed for; part of what the seal binds.
pub const REQUEST: &str = "request";
/// See [`REQUEST`].
pub const CONSENT: &str = "consent";

/// The key that seals, if the vault has it.
///
/// # Errors
/// [`WalkpayError::Key`] when the vault fails.
pub fn find_wrapping_key(vault: &dyn KeyVault, folder_id: &str) -> Result<Option<WrappingKey>, WalkpayError> {
    vault.get(name(folder_id))?.map(WrappingKey::from_vault).transpose()
}

/// The key that seals; made and put into the vault when there is none.
///
/// # Errors
/// [`WalkpayError::Key`] when the vault fails.
pub fn wrapping_key(vault: &dyn KeyVault, folder_id: &str) -> Result<WrappingKey, WalkpayError> {
    if let Some(key) = find_wrapping_key(vault, folder_id)? {
        return Ok(key);
    }
    let key = WrappingKey::generate()?;
    vault.put(name(folder_id), key.to_vault())?;
    Ok(key)
}

fn name(folder_id: &str) -> String {
    format!("walkpay.{folder_id}")
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
}

/// A key for a device that is being made: handed in by the host, or a software key that will be sealed.
pub struct NewKey {
    /// What signs.
    pub known: KnownSigner,
    software: Option<Arc<SoftwareKey>>,
}

impl NewKey {
    /// The host's signer, or a new software key. May wait for the host.
    ///
    /// # Errors
    /// As [`KnownSigner::new`].
    pub fn new(signer: Option<Arc<dyn DeviceSigner>>) -> Result<Self, WalkpayError> {
        match signer {
            Some(signer) => Ok(Self { known: KnownSigner::new(signer)?, software: None }),
            None => {
                let key = Arc::new(SoftwareKey::generate()?);
                Ok(Self { known: KnownSigner { public: key.public()?, signer: key.clone() }, software: Some(key) })
            }
        }
    }

    /// How a software key is to be stored; nothing for the host's.
    ///
    /// # Errors
    /// As [`WrappingKey::seal`].
    pub fn seal(
        &self,
        wrapping: &WrappingKey,
        device: DeviceId,
        purpose: &str,
    ) -> Result<Option<StoredKey>, WalkpayError> {
        let Some(key) = &self.software else { return Ok(None) };
        let sealed = key.seal(wrapping, &device, purpose)?;
        Ok(Some(StoredKey { device, kid: self.known.public.key_id(), purpose: purpose.to_owned(), sealed }))
    }
}

/// The signers that are at hand.
#[derive(Default)]
pub struct KeyRing(HashMap<(DeviceId, KeyId), KnownSigner>);

impl KeyRing {
    /// Opens the stored keys that belong to this vault; others are passed over.
    pub fn unseal(wrapping: Option<&WrappingKey>, stored: &[StoredKey]) -> Self {
        let mut ring = Self::default();
        for key in stored {
            let opened = wrapping.and_then(|w| SoftwareKey::unseal(w, &key.device, &key.purpose, &key.sealed).ok());
            if let Some(signer) = opened.and_then(|k| KnownSigner::new(Arc::new(k)).ok()) {
                ring.put(key.device, signer);
            }
        }
        ring
    }

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
            .ok_or_else(|| key_error("this key is not at hand: call attach_signers if the host keeps it; if the folder was copied, enrol again"))
    }

    /// Whose keys are at hand.
    pub fn held(&self) -> Vec<(DeviceId, KeyId)> {
        self.0.keys().cloned().collect()
    }

    /// Forgets a signer; a software key is wiped with its last copy.
    pub fn remove(&mut self, device: &DeviceId, kid: &KeyId) {
        self.0.remove(&(*device, kid.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::MemoryVault;
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn software_keys_come_back_with_their_vault_and_not_without() {
        let vault = MemoryVault::default();
        let device = DeviceId::new(Timestamp::from_millis(1_700_000_000_000), [1; 10]);
        assert!(find_wrapping_key(&vault, "folder").unwrap().is_none());
        let key = NewKey::new(None).unwrap();
        let stored = key.seal(&wrapping_key(&vault, "folder").unwrap(), device, CONSENT).unwrap().unwrap();
        let kid = key.known.public.key_id();
        let again = find_wrapping_key(&vault, "folder").unwrap();
        assert!(KeyRing::unseal(again.as_ref(), std::slice::from_ref(&stored)).get(&device, &kid).is_ok());
        let other = wrapping_key(&vault, "other").unwrap();
        let ring = KeyRing::unseal(Some(&other), &[stored]);
        assert!(matches!(ring.get(&device, &kid), Err(WalkpayError::Key { .. })));
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
        ring.remove(&device(1), &kid);
        assert!(ring.get(&device(1), &kid).is_err());
    }
}
