//! TLS of the server: rustls with ring, HTTP/2 and HTTP/1.1.

use super::config::TlsFiles;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use walkpay::WalkpayError;

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {detail}. Expected PEM: the certificate chain with the server's own first, and its private key")]
pub struct TlsError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it; never its content.
    pub detail: String,
}

/// Reads certificate and key.
///
/// # Errors
/// [`TlsError`].
pub fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = chain(files)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| unusable(&files.key, e))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&files.certificate, e))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| unusable(&files.certificate, e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Reads the certificates, the server's own first.
///
/// # Errors
/// [`TlsError`].
pub fn chain(files: &TlsFiles) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| unusable(&files.certificate, e))?;
    if chain.is_empty() {
        return Err(unusable(&files.certificate, "no certificate in it"));
    }
    Ok(chain)
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> TlsError {
    TlsError { path: path.to_owned(), detail: why.to_string() }
}

/// TLS of this program's own requests: rustls with ring and the public roots.
///
/// # Errors
/// [`WalkpayError::Internal`] if it cannot be set up.
pub fn client() -> Result<rustls::ClientConfig, WalkpayError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| WalkpayError::Internal { detail: format!("TLS: {e}") })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
