//! What signs for a device.

use crate::error::WalkpayError;
use crate::protocol::crypto::Algorithm;

/// What a signature is for: lets a platform's key store say so in the prompt that it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, uniffi::Enum)]
pub enum SigningPurpose {
    /// Proof of possession when a device is enrolled.
    Enrolment,
    /// An HTTP request.
    Request,
    /// A hold on the shopper's bank account.
    Hold,
    /// The basket: the shopper agrees to pay.
    Basket,
    /// A payment slip: the payer agrees to pay it.
    SlipPayment,
    /// Giving up a trip.
    Cancellation,
    /// New keys for this device.
    KeyRotation,
    /// Showing an exit pass.
    ExitPass,
}

/// A key that never leaves its place: a phone's security chip, a smart card, or [`super::SoftwareKey`].
///
/// Called on threads where waiting is fine, never while the terminal holds anything: an implementation may show a
/// biometric prompt and take a minute.
#[uniffi::export(with_foreign)]
pub trait DeviceSigner: Send + Sync {
    /// The algorithm of the key. Must not change.
    fn algorithm(&self) -> Result<Algorithm, WalkpayError>;

    /// The public key: 32 bytes for Ed25519, 65 (`04 ‖ X ‖ Y`) for ES256. Must not change.
    fn public_key(&self) -> Result<Vec<u8>, WalkpayError>;

    /// The signature over `bytes`: 64 bytes; for ES256 `R ‖ S` of ECDSA over the SHA-256 of `bytes` (RFC 7518 §3.4),
    /// with a high or a low S.
    fn sign(&self, purpose: SigningPurpose, bytes: Vec<u8>) -> Result<Vec<u8>, WalkpayError>;
}
