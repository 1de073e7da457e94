//! The vaults that come with the library.

use crate::adapter::keys::{FileVault, KeyVault, MemoryVault};
use crate::error::WalkpayError;
use std::sync::Arc;

/// A vault that keeps secrets in files which only their owner may read (0600): for desktops and development. Phones have
/// better places: Android Keystore, Apple Keychain.
///
/// # Errors
/// [`WalkpayError::Key`] when the folder cannot be made or others may read it.
#[uniffi::export]
pub fn file_vault(folder: String) -> Result<Arc<dyn KeyVault>, WalkpayError> {
    Ok(Arc::new(FileVault::new(folder)?))
}

/// A vault that forgets everything at the end of the process: for tests.
///
/// # Errors
/// None; fallible like every export.
#[uniffi::export]
pub fn memory_vault() -> Result<Arc<dyn KeyVault>, WalkpayError> {
    Ok(Arc::new(MemoryVault::default()))
}
