//! The signatures of API v3: SHA-256 with RSA over lines that each end with a newline; of a request method, path, time, nonce and
//! body, of an answer or notification time, nonce and body.

use crate::channel::rsa_key::RsaKey;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderMap;
use std::time::Duration;
use walkpay::{Timestamp, WalkpayError};

/// The only scheme there is.
pub const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";
/// How far the time of a signature may be from ours.
pub const FRESH: Duration = Duration::from_secs(5 * 60);
/// The longest value of a header that is looked at.
const MAX_VALUE: usize = 1024;

/// What a request's signature is over.
pub fn request_message(method: &str, path: &str, timestamp: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    [format!("{method}\n{path}\n{timestamp}\n{nonce}\n").as_bytes(), body, b"\n"].concat()
}

/// What the signature of an answer or a notification is over.
pub fn answer_message(timestamp: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    [format!("{timestamp}\n{nonce}\n").as_bytes(), body, b"\n"].concat()
}

/// What the parameters of a prepayment are signed over: application, time, nonce and package, or for an app the bare identifier.
pub fn prepay_message(appid: &str, timestamp: &str, nonce: &str, package: &str) -> Vec<u8> {
    format!("{appid}\n{timestamp}\n{nonce}\n{package}\n").into_bytes()
}

/// Whether a time in seconds is near enough to `now`.
pub fn is_fresh(now: Timestamp, seconds: i64) -> bool {
    let signed = Timestamp::from_millis(seconds.saturating_mul(1000));
    now.since(signed).max(signed.since(now)) <= FRESH
}

/// The header `Authorization` of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The merchant.
    pub mchid: String,
    /// The serial number of the merchant's certificate.
    pub serial: String,
    /// Seconds since 1970.
    pub timestamp: String,
    /// Used once.
    pub nonce: String,
    /// Base64.
    pub signature: String,
}

impl Authorization {
    /// The value of the header.
    pub fn value(&self) -> String {
        let Self { mchid, serial, timestamp, nonce, signature } = self;
        format!(
            "{SCHEME} mchid=\"{mchid}\",nonce_str=\"{nonce}\",timestamp=\"{timestamp}\",serial_no=\"{serial}\",signature=\"{signature}\""
        )
    }

    /// Reads the value of a header; the parameters may come in any order, each once.
    pub fn parse(value: &str) -> Option<Self> {
        let (scheme, parameters) = value.split_once(' ')?;
        if scheme != SCHEME || value.len() > 4 * MAX_VALUE {
            return None;
        }
        let mut read: [Option<&str>; 5] = [None; 5];
        for parameter in parameters.split(',') {
            let (name, quoted) = parameter.trim().split_once('=')?;
            let text = quoted.strip_prefix('"')?.strip_suffix('"')?;
            let at = ["mchid", "serial_no", "timestamp", "nonce_str", "signature"].iter().position(|n| *n == name)?;
            if read.get_mut(at)?.replace(text).is_some() {
                return None;
            }
        }
        let [mchid, serial, timestamp, nonce, signature] = read;
        let own = |text: Option<&str>| text.filter(|t| !t.is_empty()).map(str::to_owned);
        Some(Self {
            mchid: own(mchid)?,
            serial: own(serial)?,
            timestamp: own(timestamp)?,
            nonce: own(nonce)?,
            signature: own(signature)?,
        })
    }
}

/// The signature of an answer or a notification, as it stands in headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Seconds since 1970.
    pub timestamp: String,
    /// Used once.
    pub nonce: String,
    /// Base64.
    pub signature: String,
    /// The serial number of the platform's certificate, or the name of its public key.
    pub serial: String,
}

impl Seal {
    /// Signs as the platform does.
    ///
    /// # Errors
    /// [`WalkpayError::Key`].
    pub fn make(key: &RsaKey, serial: &str, now: Timestamp, nonce: &str, body: &[u8]) -> Result<Self, WalkpayError> {
        let timestamp = now.as_millis().div_euclid(1000).to_string();
        let signature = STANDARD.encode(key.sign(&answer_message(&timestamp, nonce, body))?);
        Ok(Self { timestamp, nonce: nonce.to_owned(), signature, serial: serial.to_owned() })
    }

    /// Reads it from headers; `None` if one is missing, there twice, too long, or of another scheme.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let one = |name: &str| {
            let mut all = headers.get_all(name).iter();
            let value = all.next()?.to_str().ok()?;
            (all.next().is_none() && !value.is_empty() && value.len() <= MAX_VALUE).then(|| value.to_owned())
        };
        if headers.contains_key("wechatpay-signature-type") && one("wechatpay-signature-type")? != SCHEME {
            return None;
        }
        Some(Self {
            timestamp: one("wechatpay-timestamp")?,
            nonce: one("wechatpay-nonce")?,
            signature: one("wechatpay-signature")?,
            serial: one("wechatpay-serial")?,
        })
    }

    /// When it was made, in seconds.
    pub fn seconds(&self) -> Option<i64> {
        self.timestamp.parse().ok()
    }

    /// The bytes of the signature.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.signature).ok()
    }

    /// As headers.
    pub fn headers(&self) -> [(&'static str, String); 5] {
        [
            ("wechatpay-timestamp", self.timestamp.clone()),
            ("wechatpay-nonce", self.nonce.clone()),
            ("wechatpay-signature", self.signature.clone()),
            ("wechatpay-serial", self.serial.clone()),
            ("wechatpay-signature-type", SCHEME.to_owned()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_in_any_order_and_only_whole() {
        let written = Authorization {
            mchid: "1900000001".into(),
            serial: "5F".into(),
            timestamp: "1554208460".into(),
            nonce: "n".into(),
            signature: "c2ln==".into(),
        };
        assert_eq!(Authorization::parse(&written.value()).as_ref(), Some(&written));
        let turned = format!(
            "{SCHEME} signature=\"c2ln==\", serial_no=\"5F\",timestamp=\"1554208460\",nonce_str=\"n\",mchid=\"1900000001\""
        );
        assert_eq!(Authorization::parse(&turned), Some(written.clone()));
        for bad in [
            written.value().replace(SCHEME, "Basic"),
            written.value().replace("mchid", "mchids"),
            written.value().replace("1900000001", ""),
            format!("{},mchid=\"2\"", written.value()),
            String::new(),
            SCHEME.to_owned(),
        ] {
            assert_eq!(Authorization::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_signature_is_fresh_for_five_minutes_both_ways() {
        let now = Timestamp::from_millis(1_000_000_000);
        for (seconds, fresh) in
            [(1_000_000, true), (999_700, true), (999_699, false), (1_000_300, true), (1_000_301, false)]
        {
            assert_eq!(is_fresh(now, seconds), fresh, "{seconds}");
        }
        assert!(!is_fresh(now, i64::MAX) && !is_fresh(now, i64::MIN));
    }
}
