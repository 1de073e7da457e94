//! TLS: one explicit configuration that is the same on every platform. *ring* is the only provider; trust comes from the
//! built-in Mozilla roots, the host's extra roots, and pins.

use crate::error::WalkpayError;
use crate::protocol::crypto::sha256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// The configuration of all connections.
///
/// # Errors
/// [`WalkpayError::InvalidInput`] for certificates or pins that cannot be read.
pub(super) fn client_config(extra_roots_pem: Option<&str>, pins: &[String]) -> Result<ClientConfig, WalkpayError> {
    let provider = Arc::new(ring::default_provider());
    let internal = |detail: String| WalkpayError::Internal { detail };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| internal(format!("TLS versions: {e}")))?;
    let roots = roots(extra_roots_pem)?;
    if pins.is_empty() {
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    }
    let pins = pins.iter().map(|pin| parse_pin(pin)).collect::<Result<Vec<_>, _>>()?;
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|e| internal(format!("TLS verifier: {e}")))?;
    let verifier = PinnedVerifier { inner, pins, provider };
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

fn roots(extra_pem: Option<&str>) -> Result<RootCertStore, WalkpayError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(pem) = extra_pem else {
        return Ok(roots);
    };
    let bad = |why: String| WalkpayError::invalid("extra_roots_pem", "root certificates in PEM", &why);
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|e| bad(format!("{e:?}")))?;
        roots.add(certificate).map_err(|e| bad(e.to_string()))?;
    }
    if roots.len() == before {
        return Err(bad("no certificate".into()));
    }
    Ok(roots)
}

fn parse_pin(pin: &str) -> Result<[u8; 32], WalkpayError> {
    pin.strip_prefix("sha256/")
        .and_then(|b64| STANDARD.decode(b64).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| WalkpayError::invalid("pin", "sha256/ and the base64 of 32 bytes", pin))
}

/// The usual verification, and then the pin on the server's own key. Only the end-entity certificate counts: what else a
/// server sends along need not be part of the chain that was verified.
#[derive(Debug)]
struct PinnedVerifier {
    inner: Arc<WebPkiServerVerifier>,
    pins: Vec<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        if !self.pins.contains(&sha256(&key)) {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ClientConnection, Connection, ServerConfig, ServerConnection};

    const ROOT: &str = include_str!("testdata/root.pem");
    const SERVER: &str = include_str!("testdata/server.pem");
    const SERVER_KEY: &str = include_str!("testdata/server.key.pem");
    const PIN: &str = include_str!("testdata/pin.txt");

    /// A handshake in memory with a server for `localhost`, signed by the test root.
    fn handshake(config: ClientConfig, name: &'static str) -> Result<(), Error> {
        let certificates = vec![CertificateDer::from_pem_slice(SERVER.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(SERVER_KEY.as_bytes()).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .unwrap();
        let mut client: Connection =
            ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap().into();
        let mut server: Connection = ServerConnection::new(Arc::new(server)).unwrap().into();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                server.read_tls(&mut rest).unwrap();
                server.process_new_packets()?;
            }
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets()?;
            }
        }
        Ok(())
    }

    fn pin() -> String {
        format!("sha256/{}", PIN.trim())
    }

    #[test]
    fn an_extra_root_is_trusted_and_others_are_not() {
        handshake(client_config(Some(ROOT), &[]).unwrap(), "localhost").unwrap();
        assert!(handshake(client_config(None, &[]).unwrap(), "localhost").is_err());
        assert!(handshake(client_config(Some(ROOT), &[]).unwrap(), "shop.example").is_err());
    }

    #[test]
    fn a_pin_must_match_and_does_not_replace_verification() {
        handshake(client_config(Some(ROOT), &[pin()]).unwrap(), "localhost").unwrap();
        let other = format!("sha256/{}", STANDARD.encode([7; 32]));
        handshake(client_config(Some(ROOT), &[other.clone(), pin()]).unwrap(), "localhost").unwrap();
        assert!(handshake(client_config(Some(ROOT), &[other]).unwrap(), "localhost").is_err());
        assert!(handshake(client_config(None, &[pin()]).unwrap(), "localhost").is_err());
        assert!(handshake(client_config(Some(ROOT), &[pin()]).unwrap(), "shop.example").is_err());
    }

    #[test]
    fn refuses_unreadable_roots_and_pins() {
        for bad in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(matches!(client_config(Some(bad), &[]), Err(WalkpayError::InvalidInput { .. })), "{bad}");
        }
        for bad in ["", "sha256/", "sha1/AAAA", "sha256/AAAA"] {
            assert!(matches!(client_config(None, &[bad.into()]), Err(WalkpayError::InvalidInput { .. })), "{bad}");
        }
    }
}
