//! Trust in a merchant: from the pinned thumbprint to its root, to its key set, to a key (design §5, "Merchant keys").

use super::crypto::{Jwk, PublicKey};
use super::document::{KeySet, KeyUse};
use super::jws::{Document, Signed, verify};
use crate::error::WalkpayError;
use crate::id::{KeyId, MerchantId};
use crate::time::Timestamp;

/// The most keys in a set.
pub const MAX_KEYS: usize = 64;

/// The root key whose thumbprint is pinned.
///
/// # Errors
/// [`WalkpayError::Untrusted`] with check `root` for any other key: this is not the merchant that was enrolled at.
pub fn read_root(root: &Jwk, pinned: &KeyId) -> Result<PublicKey, WalkpayError> {
    let key = root.to_key()?;
    if key.key_id() != *pinned {
        return Err(untrusted("root", "the root key with the pinned thumbprint"));
    }
    Ok(key)
}

/// Verifies a key set by the root and that it may take the place of the one with number `current`.
///
/// The checks in order: those of [`verify`], with the root as the only key; merchant; number of keys; `seq`.
///
/// # Errors
/// [`WalkpayError::Untrusted`] with the checks of [`verify`], or `merchant`, `keys`, `seq`.
pub fn read_key_set(
    jws: &str,
    root: &PublicKey,
    merchant: &MerchantId,
    current: Option<u64>,
) -> Result<Signed<KeySet>, WalkpayError> {
    let set: Signed<KeySet> = verify(jws, |kid| (*kid == root.key_id()).then_some(root))?;
    if set.document.merchant_id != *merchant {
        return Err(untrusted("merchant", "a key set of the merchant that was enrolled at"));
    }
    if set.document.keys.len() > MAX_KEYS {
        return Err(untrusted("keys", "at most 64 keys"));
    }
    if current.is_some_and(|seq| set.document.seq <= seq) {
        return Err(untrusted("seq", "a higher number than that of the key set in force"));
    }
    Ok(set)
}

/// Verifies a document by a key of the merchant's set; `issued_at` says when the document claims to have been made.
///
/// The checks in order: those of [`verify`], with the keys of any period; use of the key; not before; not after.
///
/// # Errors
/// [`WalkpayError::Untrusted`] with the checks of [`verify`], or `key_use`, `key_not_yet_valid`, `key_retired`.
pub fn verify_by<D: Document>(
    jws: &str,
    keys: &KeySet,
    usage: KeyUse,
    issued_at: impl FnOnce(&D) -> Timestamp,
) -> Result<Signed<D>, WalkpayError> {
    let signed: Signed<D> =
        verify(jws, |kid| keys.keys.iter().map(|entry| &entry.key).find(|key| key.key_id() == *kid))?;
    let at = issued_at(&signed.document);
    let entries = || keys.keys.iter().filter(|entry| entry.key.key_id() == signed.kid && entry.usage == usage);
    let fail = |check, detail| Err(WalkpayError::untrusted(D::TYP, check, detail));
    if entries().next().is_none() {
        return fail("key_use", "a key that may sign documents of this kind");
    }
    if entries().all(|entry| at < entry.nbf) {
        return fail("key_not_yet_valid", "a key that is valid when the document is issued");
    }
    if !entries().any(|entry| entry.nbf <= at && at < entry.exp) {
        return fail("key_retired", "a key that is valid when the document is issued");
    }
    Ok(signed)
}

fn untrusted(check: &str, detail: &str) -> WalkpayError {
    WalkpayError::untrusted(KeySet::TYP, check, detail)
}
