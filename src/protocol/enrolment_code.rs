//! The text of an enrolment code: what its QR code carries and what a person may copy.
//!
//! ```text
//! walkpay-enrol:1:{merchant id}:{code}:{root thumbprint}:{URL}
//! ```
//!
//! - `merchant id` as [`MerchantId`];
//! - `code`: 16 to 64 characters of Crockford's base 32 without `I`, `L`, `O`, `U`, that is 80 bits or more; lower case is taken as
//!   upper case when read;
//! - `root thumbprint`: 43 characters, the RFC 7638 thumbprint of the merchant's root key (base64url);
//! - `URL`: `https://host[:port][/path]`, or `http://` on `localhost`, `127.0.0.1` or `[::1]`; no user, query or fragment; without a
//!   slash at its end. It comes last since it contains colons.
//!
//! The whole text has at most [`MAX_ENROLMENT_TEXT`] bytes.

use crate::error::WalkpayError;
use crate::id::{KeyId, MerchantId};
use std::fmt;

/// The longest text that is looked at.
pub const MAX_ENROLMENT_TEXT: usize = 512;
/// The shortest one-time code: 16 characters of 5 bits.
pub const MIN_CODE_CHARS: usize = 16;
/// The longest one-time code.
pub const MAX_CODE_CHARS: usize = 64;

const SCHEME: &str = "walkpay-enrol:1:";
const ALPHABET: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// An enrolment code whose form has been checked.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentCode {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// The one-time code.
    pub code: String,
    /// The thumbprint of the merchant's root key: what makes a fake merchant fail before it gets the code.
    pub root_kid: KeyId,
    /// Where the merchant is; no slash at the end.
    pub url: String,
}

/// Does not show the code.
impl fmt::Debug for EnrolmentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "enrolment code of {} at {}", self.merchant_id, self.url)
    }
}

impl EnrolmentCode {
    /// Reads the text.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] naming the part that is wrong, never repeating the one-time code.
    pub fn parse(text: &str) -> Result<Self, WalkpayError> {
        let text = text.trim();
        let form = || WalkpayError::invalid("enrolment code", "walkpay-enrol:1:MERCHANT:CODE:ROOT:URL", "another text");
        if text.len() > MAX_ENROLMENT_TEXT {
            return Err(WalkpayError::limit("bytes of an enrolment code", MAX_ENROLMENT_TEXT as u64));
        }
        let rest = text.strip_prefix(SCHEME).ok_or_else(form)?;
        let mut parts = rest.splitn(4, ':');
        let mut part = || parts.next().ok_or_else(form);
        let (merchant, code, root, url) = (part()?, part()?, part()?, part()?);
        Self::new(MerchantId::parse(merchant)?, code, root, url)
    }

    /// A code from its parts.
    ///
    /// # Errors
    /// As [`EnrolmentCode::parse`].
    pub fn new(merchant_id: MerchantId, code: &str, root: &str, url: &str) -> Result<Self, WalkpayError> {
        let code = code.to_ascii_uppercase();
        let plain = code.chars().all(|c| ALPHABET.contains(c));
        if !(MIN_CODE_CHARS..=MAX_CODE_CHARS).contains(&code.len()) || !plain {
            let got = format!("{} characters", code.len());
            return Err(WalkpayError::invalid(
                "enrolment code",
                "16 to 64 characters of base 32 (no I, L, O, U)",
                &got,
            ));
        }
        if root.len() != 43 {
            return Err(WalkpayError::invalid("root thumbprint", "43 characters of base64url", root));
        }
        let root_kid = KeyId::parse(root)?;
        Ok(Self { merchant_id, code, root_kid, url: check_url(url)? })
    }

    /// The text, as [`EnrolmentCode::parse`] reads it.
    pub fn to_text(&self) -> String {
        format!("{SCHEME}{}:{}:{}:{}", self.merchant_id, self.code, self.root_kid, self.url)
    }
}

/// Checks a merchant's URL: https, or http on loopback; returns it without a slash at its end.
///
/// # Errors
/// [`WalkpayError::InvalidInput`].
pub fn check_url(url: &str) -> Result<String, WalkpayError> {
    let bad = || WalkpayError::invalid("url", "https://host[:port][/path], or http:// on loopback", url);
    let url = url.strip_suffix('/').unwrap_or(url);
    let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            v6.split_once(']').map(|(host, port)| (host, port.strip_prefix(':').or(Some("")))).ok_or_else(bad)?
        }
        None => authority.split_once(':').map_or((authority, Some("")), |(host, port)| (host, Some(port))),
    };
    let port = port.unwrap_or("");
    let port_fits = port.is_empty() || (port.parse::<u16>().is_ok_and(|p| p > 0) && !port.starts_with('+'));
    let v6 = authority.starts_with('[');
    let host_fits = !host.is_empty()
        && if v6 {
            host.parse::<std::net::Ipv6Addr>().is_ok()
        } else {
            host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
        };
    let path_fits = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/".contains(&b)) && !path.contains("..");
    let loopback = matches!(host, "localhost" | "127.0.0.1" | "::1");
    let scheme_fits = scheme == "https" || (scheme == "http" && loopback);
    if !(port_fits && host_fits && path_fits && scheme_fits) || authority.ends_with(':') {
        return Err(bad());
    }
    Ok(url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

    #[test]
    fn text_form_round_trips() {
        let text = format!("walkpay-enrol:1:demo:0123456789ABCDEF:{ROOT}:https://pay.example:8443/shop");
        let code = EnrolmentCode::parse(&text).unwrap();
        assert_eq!(code.to_text(), text);
        assert_eq!(code.url, "https://pay.example:8443/shop");
        assert_eq!(EnrolmentCode::parse(&text.replace("ABCDEF", "abcdef")).unwrap(), code);
        assert!(!format!("{code:?}").contains("ABCDEF"));
    }

    #[test]
    fn refuses_malformed_texts_without_repeating_the_code() {
        let rows = [
            String::new(),
            "https://pay.example".into(),
            format!("walkpay-enrol:2:demo:0123456789ABCDEF:{ROOT}:https://pay.example"),
            format!("walkpay-enrol:1:demo:0123456789ABCDE:{ROOT}:https://pay.example"),
            format!("walkpay-enrol:1:demo:0123456789ABCDEU:{ROOT}:https://pay.example"),
            "walkpay-enrol:1:demo:0123456789ABCDEF:short:https://pay.example".into(),
            format!("walkpay-enrol:1:demo:0123456789ABCDEF:{ROOT}"),
            format!("walkpay-enrol:1:demo:0123456789ABCDEF:{ROOT}:{}", "x".repeat(600)),
        ];
        for text in rows {
            let error = EnrolmentCode::parse(&text).unwrap_err();
            assert!(!error.to_string().contains("0123456789ABCDE"), "{error}");
        }
    }

    #[test]
    fn plain_http_only_on_loopback() {
        for good in ["http://127.0.0.1:8080", "http://localhost/", "http://[::1]:80", "https://a.example/b/c"] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://pay.example",
            "http://127.0.0.1.evil.example",
            "ftp://localhost",
            "https://",
            "https://user@host",
            "https://host?x=1",
            "https://host#f",
            "https://host:",
            "https://host:0",
            "https://host:99999",
            "https://ho st",
            "https://host/../x",
            "http://[::2]",
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
