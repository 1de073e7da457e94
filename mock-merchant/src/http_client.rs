//! HTTP clients towards others: TLS by ring, no redirects, no proxies, a limit of time.

use reqwest::{ClientBuilder, redirect};
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use std::time::Duration;
use walkpay::WalkpayError;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// A client that trusts the public certificates and `extra_roots`; a request and its answer take at most `timeout`.
///
/// # Errors
/// [`WalkpayError::Internal`] if TLS cannot be set up.
pub(crate) fn builder(
    extra_roots: &[CertificateDer<'static>],
    timeout: Duration,
) -> Result<ClientBuilder, WalkpayError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    extra_roots.iter().try_for_each(|root| roots.add(root.clone())).map_err(|e| unusable(&e))?;
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("walkpay/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .timeout(timeout))
}

/// Why there is no client.
pub(crate) fn unusable(why: &dyn std::fmt::Display) -> WalkpayError {
    WalkpayError::Internal { detail: format!("HTTP client: {why}") }
}
