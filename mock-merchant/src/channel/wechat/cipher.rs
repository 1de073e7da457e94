//! What WeChat Pay encrypts for a merchant: AEAD_AES_256_GCM (RFC 5116 §5.2) with the APIv3 key that both know.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use walkpay::WalkpayError;
use zeroize::Zeroizing;

/// The only algorithm there is.
pub const ALGORITHM: &str = "AEAD_AES_256_GCM";

/// The APIv3 key: 32 characters that the merchant has set at the console.
#[derive(Clone)]
pub struct ApiV3Key(Zeroizing<[u8; 32]>);

impl fmt::Debug for ApiV3Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiV3Key")
    }
}

/// Something encrypted, as it stands in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// `AEAD_AES_256_GCM`.
    pub algorithm: String,
    /// Base64 of the ciphertext and its tag.
    pub ciphertext: String,
    /// What is authenticated beside it.
    #[serde(default)]
    pub associated_data: String,
    /// Twelve characters.
    pub nonce: String,
    /// What kind of thing it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_type: Option<String>,
}

/// It was not encrypted so with this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not encrypted with the APIv3 key of this merchant")]
pub struct NotSealed;

impl ApiV3Key {
    /// Reads the key.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] for anything but 32 ASCII letters and digits.
    pub fn parse(text: &str) -> Result<Self, WalkpayError> {
        let expected = || WalkpayError::Key { detail: "expected an APIv3 key: 32 letters and digits".to_owned() };
        let text = text.trim();
        if !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(expected());
        }
        text.as_bytes().try_into().map(|key| Self(Zeroizing::new(key))).map_err(|_| expected())
    }

    /// Opens what was encrypted.
    ///
    /// # Errors
    /// If it was not sealed with this key.
    pub fn open(&self, sealed: &Sealed) -> Result<Vec<u8>, NotSealed> {
        if sealed.algorithm != ALGORITHM {
            return Err(NotSealed);
        }
        let mut bytes = STANDARD.decode(&sealed.ciphertext).map_err(|_| NotSealed)?;
        let nonce = Nonce::try_assume_unique_for_key(sealed.nonce.as_bytes()).map_err(|_| NotSealed)?;
        let aad = Aad::from(sealed.associated_data.as_bytes());
        let length = self.key()?.open_in_place(nonce, aad, &mut bytes).map_err(|_| NotSealed)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Encrypts, as the platform does; `nonce` is twelve characters that were never used before.
    ///
    /// # Errors
    /// If `nonce` is none.
    pub fn seal(&self, nonce: &str, associated_data: &str, plain: &[u8]) -> Result<Sealed, NotSealed> {
        let mut bytes = plain.to_vec();
        let unique = Nonce::try_assume_unique_for_key(nonce.as_bytes()).map_err(|_| NotSealed)?;
        let aad = Aad::from(associated_data.as_bytes());
        self.key()?.seal_in_place_append_tag(unique, aad, &mut bytes).map_err(|_| NotSealed)?;
        Ok(Sealed {
            algorithm: ALGORITHM.to_owned(),
            ciphertext: STANDARD.encode(bytes),
            associated_data: associated_data.to_owned(),
            nonce: nonce.to_owned(),
            original_type: None,
        })
    }

    fn key(&self) -> Result<LessSafeKey, NotSealed> {
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, self.0.as_slice()).map_err(|_| NotSealed)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encrypted_is_opened_by_the_same_key_unchanged_only() {
        let key = ApiV3Key::parse("0123456789abcdef0123456789ABCDEF").unwrap();
        let other = ApiV3Key::parse("0123456789abcdef0123456789ABCDEG").unwrap();
        let sealed = key.seal("abcdefghijkl", "transaction", b"{}").unwrap();
        assert_eq!(key.open(&sealed).unwrap(), b"{}");
        assert_eq!(other.open(&sealed), Err(NotSealed));
        let changed = |change: fn(&mut Sealed)| {
            let mut changed = sealed.clone();
            change(&mut changed);
            key.open(&changed)
        };
        assert_eq!(changed(|s| s.associated_data = "refund".into()), Err(NotSealed));
        assert_eq!(changed(|s| s.nonce = "abcdefghijkm".into()), Err(NotSealed));
        assert_eq!(changed(|s| s.nonce = "short".into()), Err(NotSealed));
        assert_eq!(changed(|s| s.algorithm = "none".into()), Err(NotSealed));
        assert_eq!(changed(|s| s.ciphertext = String::new()), Err(NotSealed));
        for bad in [
            "",
            "0123456789abcdef0123456789ABCDE",
            "0123456789abcdef0123456789ABCDEFG",
            "é123456789abcdef0123456789ABCDE",
        ] {
            assert!(ApiV3Key::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(format!("{key:?}"), "ApiV3Key");
    }
}
