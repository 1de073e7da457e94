//! HTTP towards payment providers: TLS by ring, no redirects, answers with a limit. Bodies come as they were sent, since
//! signatures are over exactly those bytes.

use super::port::NoAnswer;
use crate::http_client;
use reqwest::header::HeaderMap;
use reqwest::{Request, RequestBuilder, StatusCode};
use rustls::pki_types::CertificateDer;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use url::{Host, Url};
use walkpay::WalkpayError;

/// The most that is read of an answer.
const MAX_ANSWER: usize = 1024 * 1024;

/// A client; cheap to clone.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    carrier: Option<Arc<dyn Carrier>>,
}

/// An answer that is still to come.
pub type Awaited = Pin<Box<dyn Future<Output = Result<Received, NoAnswer>> + Send>>;

/// What carries requests in the place of sockets: the network of a simulation.
pub trait Carrier: Send + Sync {
    /// Carries a request to where it goes, and its answer back.
    fn carry(&self, request: Request) -> Awaited;
}

/// An answer as it was sent.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Http {
    /// A client that gives up after `timeout`, and trusts `extra_roots` beside the public certificates.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`] if TLS cannot be set up.
    pub fn new(timeout: Duration, extra_roots: &[CertificateDer<'static>]) -> Result<Self, WalkpayError> {
        let http = http_client::builder(extra_roots, timeout)?.build();
        Ok(Self { client: http.map_err(|e| http_client::unusable(&e))?, carrier: None })
    }

    /// The same client, whose requests a simulation carries.
    pub fn carried_by(&self, carrier: Arc<dyn Carrier>) -> Self {
        Self { client: self.client.clone(), carrier: Some(carrier) }
    }

    /// The client that requests are made with.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Sends a request and reads all of its answer, whatever its status.
    ///
    /// # Errors
    /// [`NoAnswer`]: the other side may have done it or not.
    pub async fn send(&self, request: RequestBuilder) -> Result<Received, NoAnswer> {
        let lost = |e: reqwest::Error| NoAnswer(e.without_url().to_string());
        if let Some(carrier) = &self.carrier {
            return carrier.carry(request.build().map_err(lost)?).await;
        }
        let mut response = request.send().await.map_err(lost)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(lost)? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(NoAnswer(format!("an answer above {MAX_ANSWER} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Received { status, headers, body })
    }
}

/// An address that may be called: `https`, or `http` on loopback.
///
/// # Errors
/// [`WalkpayError::InvalidInput`], naming `what` it is the address of.
pub fn checked_address(what: &str, address: &str) -> Result<Url, WalkpayError> {
    let bad = || WalkpayError::InvalidInput {
        field: what.to_owned(),
        expected: "https://…, or http:// on loopback".to_owned(),
        got: address.chars().take(80).collect(),
    };
    let url = Url::parse(address).map_err(|_| bad())?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let fits = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    if fits && url.username().is_empty() && url.password().is_none() { Ok(url) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_protected_addresses_are_called() {
        for good in
            ["https://openapi.alipay.com/gateway.do", "http://127.0.0.1:9/sim/alipay/gateway.do", "http://[::1]/x"]
        {
            assert!(checked_address("gateway", good).is_ok(), "{good}");
        }
        for bad in ["http://openapi.alipay.com/", "ftp://127.0.0.1/", "https://user:pw@host/", "nonsense", ""] {
            assert!(checked_address("gateway", bad).is_err(), "{bad}");
        }
    }
}
