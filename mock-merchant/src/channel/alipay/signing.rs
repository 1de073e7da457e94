//! RSA2: what is signed, in requests, answers and notifications (Alipay Open Platform, "signature").

use crate::channel::rsa_key::{RsaKey, RsaPublic};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use walkpay::WalkpayError;

/// Parameters by name, decoded.
pub type Params = BTreeMap<String, String>;

/// `k=v&k=v` of all parameters that have a value, sorted by name, without those in `without`.
pub fn content(params: &Params, without: &[&str]) -> String {
    let signed = params.iter().filter(|(name, value)| !value.is_empty() && !without.contains(&name.as_str()));
    signed.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// The signature of a text, base64.
///
/// # Errors
/// [`WalkpayError::Key`].
pub fn sign(key: &RsaKey, text: &str) -> Result<String, WalkpayError> {
    Ok(STANDARD.encode(key.sign(text.as_bytes())?))
}

/// Whether `signature`, base64, is the key's of a text.
pub fn verifies(key: &RsaPublic, text: &str, signature: &str) -> bool {
    STANDARD.decode(signature).is_ok_and(|signature| key.verifies(text.as_bytes(), &signature))
}

/// Adds `sign` to a request: over everything else that has a value, `sign_type` included.
///
/// # Errors
/// [`WalkpayError::Key`].
pub fn sign_request(key: &RsaKey, mut params: Params) -> Result<Params, WalkpayError> {
    let sign = sign(key, &content(&params, &["sign"]))?;
    params.insert("sign".to_owned(), sign);
    Ok(params)
}

/// Whether a request carries the signature of `key`.
pub fn request_verifies(key: &RsaPublic, params: &Params) -> bool {
    params.get("sign").is_some_and(|sign| verifies(key, &content(params, &["sign"]), sign))
}

/// Adds `sign_type` and `sign` to a notification: the signature leaves both out.
///
/// # Errors
/// [`WalkpayError::Key`].
pub fn sign_notification(key: &RsaKey, mut params: Params) -> Result<Params, WalkpayError> {
    let sign = sign(key, &content(&params, &["sign", "sign_type"]))?;
    params.insert("sign_type".to_owned(), "RSA2".to_owned());
    params.insert("sign".to_owned(), sign);
    Ok(params)
}

/// Whether a notification carries the signature of `key`.
pub fn notification_verifies(key: &RsaPublic, params: &Params) -> bool {
    let rsa2 = params.get("sign_type").is_some_and(|kind| kind == "RSA2");
    rsa2 && params.get("sign").is_some_and(|sign| verifies(key, &content(params, &["sign", "sign_type"]), sign))
}

/// Reads a form or a query; `None` where a name comes twice, since the two sides could mean different ones.
pub fn parse(form: &[u8]) -> Option<Params> {
    let mut params = Params::new();
    for (name, value) in url::form_urlencoded::parse(form) {
        if params.insert(name.into_owned(), value.into_owned()).is_some() {
            return None;
        }
    }
    Some(params)
}

/// Writes a form or a query.
pub fn form(params: &Params) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish()
}

/// An answer of the gateway: its one object as it was written, and the signature over exactly that text.
pub struct Answer<'a> {
    members: BTreeMap<&'a str, &'a RawValue>,
}

impl<'a> Answer<'a> {
    /// Reads an answer; `None` if it is no JSON object.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let members = serde_json::from_slice(body).ok()?;
        Some(Self { members })
    }

    /// The text of a member, exactly as it was sent.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.members.get(name).map(|raw| raw.get())
    }

    /// The signature.
    pub fn sign(&self) -> Option<String> {
        self.text("sign").and_then(|raw| serde_json::from_str(raw).ok())
    }
}

/// An answer as the gateway writes it: the signature is over the object's text.
///
/// # Errors
/// [`WalkpayError::Key`].
pub fn answer(key: &RsaKey, name: &str, object: &str) -> Result<String, WalkpayError> {
    Ok(format!("{{\"{name}\":{object},\"sign\":\"{}\"}}", sign(key, object)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::rsa_key::generate;

    fn params(pairs: &[(&str, &str)]) -> Params {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn what_is_signed_is_sorted_and_has_values() {
        let all = params(&[("b", "2"), ("a", "1 & ü"), ("empty", ""), ("sign", "x"), ("sign_type", "RSA2")]);
        assert_eq!(content(&all, &["sign"]), "a=1 & ü&b=2&sign_type=RSA2");
        assert_eq!(content(&all, &["sign", "sign_type"]), "a=1 & ü&b=2");
    }

    #[test]
    fn forms_come_back_as_they_were_and_no_name_comes_twice() {
        let all = params(&[("a", "1 & ü+%20=")]);
        assert_eq!(parse(form(&all).as_bytes()), Some(all));
        assert_eq!(parse(b"a=1&a=2"), None);
    }

    #[test]
    fn an_answer_is_verified_over_the_text_that_was_sent() {
        let key = RsaKey::parse(&generate([3; 32]).unwrap()).unwrap();
        let object = r#"{"code": "10000", "qr_code":"https:\/\/qr.example\/1","n":1.10}"#;
        let text = answer(&key, "alipay_trade_precreate_response", object).unwrap();
        let read = Answer::parse(text.as_bytes()).unwrap();
        let found = read.text("alipay_trade_precreate_response").unwrap();
        assert_eq!(found, object);
        assert!(verifies(key.public(), found, &read.sign().unwrap()));
        assert!(!verifies(key.public(), &found.replace("\\/", "/"), &read.sign().unwrap()));
        assert!(Answer::parse(b"[]").is_none() && Answer::parse(b"<html>").is_none());
        let signed = sign_notification(&key, params(&[("total_amount", "1.00")])).unwrap();
        assert!(notification_verifies(key.public(), &signed));
        for (name, value) in [("total_amount", "2.00"), ("sign_type", "RSA"), ("sign", ""), ("extra", "1")] {
            let mut forged = signed.clone();
            forged.insert(name.to_owned(), value.to_owned());
            assert!(!notification_verifies(key.public(), &forged), "{name}");
        }
    }
}
