//! Keys that sign: software keys sealed on disk, hardware keys of the platform, and the vaults that keep what seals.

mod key_ring;
mod seal;
mod signer;
mod software_key;
mod vault;

pub use key_ring::{CONSENT, KeyRing, KnownSigner, NewKey, REQUEST, find_wrapping_key, wrapping_key};
pub use seal::{Sealed, WrappingKey};
pub use signer::{DeviceSigner, SigningPurpose};
pub use software_key::SoftwareKey;
pub use vault::{FileVault, KeyVault, MemoryVault};
