//! The merchant's side of the port: HTTPS to a bank.
//!
//! An outcome is what the bank said in a well-formed answer with status 200. Everything else, refusals of the request
//! included, is [`NoAnswer`]: it says nothing about what the bank did or will do with an earlier try.

use super::holder::NewKey;
use super::port::{BankOutcome, BankQueryAnswer, BankRequest, NoAnswer, StatementEntry};
use reqwest::{Method, RequestBuilder, StatusCode, redirect};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use url::{Host, Url};
use walkpay::WalkpayError;
use walkpay::protocol::crypto::base64url;
use walkpay::protocol::message::Problem;

/// The most that is read of an answer.
const MAX_ANSWER: usize = 1024 * 1024;

/// How a merchant reaches its bank.
#[derive(Clone)]
pub struct BankSettings {
    /// Scheme, host and port of the bank; `https`, or `http` on loopback.
    pub base: String,
    /// What the bank knows the merchant by.
    pub api_key: String,
    /// After this long without an answer there is none.
    pub timeout: Duration,
    /// Certificates (DER) that are trusted beside the public ones.
    pub extra_roots: Vec<Vec<u8>>,
}

/// A connection to a bank; cheap to clone.
#[derive(Clone)]
pub struct BankClient {
    http: reqwest::Client,
    base: Url,
    api_key: String,
}

impl BankClient {
    /// A client for the bank at `settings.base`.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] for other addresses than `https`, or `http` on loopback, and for unusable
    /// certificates; [`WalkpayError::Internal`] if TLS cannot be set up.
    pub fn new(settings: &BankSettings) -> Result<Self, WalkpayError> {
        let base = checked_base(&settings.base)?;
        let internal = |e: &dyn std::fmt::Display| WalkpayError::Internal { detail: format!("bank client: {e}") };
        let mut roots = rustls::RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for der in &settings.extra_roots {
            roots.add(der.clone().into()).map_err(|e| invalid("extra_roots", "DER certificates", &e.to_string()))?;
        }
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| internal(&e))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(settings.timeout)
            .build()
            .map_err(|e| internal(&e))?;
        Ok(Self { http, base, api_key: settings.api_key.clone() })
    }

    /// Has the bank carry out an operation.
    ///
    /// # Errors
    /// [`NoAnswer`]: the operation may have been carried out or not; ask with [`BankClient::query`] or call again.
    pub async fn call(&self, request: &BankRequest) -> Result<BankOutcome, NoAnswer> {
        let body = serde_json::to_vec(request).map_err(|e| NoAnswer(format!("request: {e}")))?;
        let url = self.url(&["operations", &request.reference])?;
        let call = self.http.request(Method::PUT, url).header("content-type", "application/json").body(body);
        self.answer(call).await
    }

    /// Asks what became of a reference.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn query(&self, reference: &str) -> Result<BankQueryAnswer, NoAnswer> {
        self.answer(self.http.get(self.url(&["operations", reference])?)).await
    }

    /// Reads the entries of the merchant's statement with numbers above `after`, at most `limit`.
    ///
    /// # Errors
    /// [`NoAnswer`]; also when the numbers do not follow on `after` without a gap.
    pub async fn statement(&self, after: u64, limit: u32) -> Result<Vec<StatementEntry>, NoAnswer> {
        let mut url = self.url(&["statement"])?;
        url.query_pairs_mut().append_pair("after", &after.to_string()).append_pair("limit", &limit.to_string());
        let entries: Vec<StatementEntry> = self.answer(self.http.get(url)).await?;
        let follows = entries.iter().zip(after.saturating_add(1)..).all(|(entry, seq)| entry.seq == seq);
        if follows { Ok(entries) } else { Err(NoAnswer("the statement has a gap".to_owned())) }
    }

    async fn answer<T: DeserializeOwned>(&self, call: RequestBuilder) -> Result<T, NoAnswer> {
        let mut response = call.bearer_auth(&self.api_key).send().await.map_err(|e| NoAnswer(without_address(e)))?;
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|e| NoAnswer(without_address(e)))? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(NoAnswer(format!("an answer above {MAX_ANSWER} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        let status = response.status();
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|_| NoAnswer("an answer that cannot be read".to_owned()));
        }
        let problem = serde_json::from_slice::<Problem>(&body).map(|p| format!(" {}: {}", p.typ, p.detail));
        let kind = if status.is_client_error() { "the request was refused" } else { "no outcome" };
        Err(NoAnswer(format!("{kind}: status {}{}", status.as_u16(), problem.unwrap_or_default())))
    }

    fn url(&self, parts: &[&str]) -> Result<Url, NoAnswer> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| NoAnswer("the bank's address has no path".to_owned()))?
            .pop_if_empty()
            .extend(["bank", "v1"])
            .extend(parts);
        Ok(url)
    }
}

/// The address of the bank's page where the holder of the account confirms a consent key.
///
/// # Errors
/// [`WalkpayError::InvalidInput`] when `base` is not an address of a bank ([`BankSettings::base`]).
pub fn confirm_url(base: &str, key: &NewKey) -> Result<String, WalkpayError> {
    let mut url = checked_base(base)?;
    url.path_segments_mut()
        .map_err(|()| invalid("bank address", "an https address", base))?
        .pop_if_empty()
        .extend(["bank", "v1", "confirm"]);
    url.query_pairs_mut()
        .append_pair("account", &key.account)
        .append_pair("merchant", key.merchant_id.as_str())
        .append_pair("device", &key.device_id.to_string())
        .append_pair("alg", key.key.algorithm().name())
        .append_pair("key", &base64url(key.key.raw()));
    Ok(url.into())
}

fn checked_base(base: &str) -> Result<Url, WalkpayError> {
    let bad = || invalid("bank address", "https://…, or http:// on loopback", base);
    let url = Url::parse(base).map_err(|_| bad())?;
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" if url.host().is_some() => Ok(url),
        "http" if loopback => Ok(url),
        _ => Err(bad()),
    }
}

fn invalid(field: &str, expected: &str, got: &str) -> WalkpayError {
    WalkpayError::InvalidInput {
        field: field.to_owned(),
        expected: expected.to_owned(),
        got: got.chars().take(80).collect(),
    }
}

/// Addresses contain references; logs need the cause only.
fn without_address(e: reqwest::Error) -> String {
    let e = e.without_url();
    let mut text = e.to_string();
    let mut cause = std::error::Error::source(&e);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_to_loopback_only() {
        for good in ["https://bank.example", "http://127.0.0.1:1", "http://[::1]:1/", "http://localhost:1"] {
            assert!(checked_base(good).is_ok(), "{good}");
        }
        for bad in ["http://bank.example", "http://127.0.0.1.example", "ftp://127.0.0.1", "https://", "x", ""] {
            assert!(checked_base(bad).is_err(), "{bad}");
        }
    }
}
