//! Signing a request with the device's request key (RFC 9421), anew for every try.

use super::HttpRequest;
use crate::adapter::keys::{DeviceSigner, SigningPurpose};
use crate::adapter::random::random;
use crate::error::WalkpayError;
use crate::id::{KeyId, MerchantId};
use crate::protocol::crypto::base64url;
use crate::protocol::http_signature::{RequestParts, prepare};
use crate::time::Timestamp;
use std::sync::Arc;

/// Adds the signature's headers and returns its nonce; an idempotency key among the headers is covered. `created` is the present in merchant time, as far as the device
/// knows it. Runs the signer on a thread where waiting is fine; must run on a tokio runtime.
///
/// # Errors
/// [`WalkpayError::Key`] when the signer fails, [`WalkpayError::InvalidInput`] for a request that the profile does not carry.
pub async fn sign_request(
    request: &mut HttpRequest,
    signer: Arc<dyn DeviceSigner>,
    keyid: &KeyId,
    merchant: &MerchantId,
    created: Timestamp,
) -> Result<String, WalkpayError> {
    let nonce = base64url(&random::<18>()?);
    let idempotency_key = request.headers.iter().find(|(name, _)| name == "idempotency-key").map(|(_, key)| &**key);
    let parts = RequestParts {
        method: &request.method,
        path: request.url.path(),
        query: request.url.query(),
        idempotency_key,
        body: &request.body,
    };
    let input = prepare(&parts, created, &nonce, keyid, merchant)?;
    let base = input.base.clone().into_bytes();
    let signature = tokio::task::spawn_blocking(move || signer.sign(SigningPurpose::Request, base))
        .await
        .map_err(|_| WalkpayError::Key { detail: "the signer of the request key panicked".into() })??;
    let headers = input.finish(&signature);
    request.headers.extend(headers.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Ok(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::keys::SoftwareKey;
    use crate::protocol::http_signature::{ReceivedParts, parse_and_check, verify};
    use std::time::Duration;
    use url::Url;

    #[test]
    fn a_signed_request_passes_the_merchants_check_with_a_nonce_of_its_own() {
        let key = SoftwareKey::generate().unwrap();
        let public = key.public().unwrap();
        let merchant = MerchantId::parse("demo").unwrap();
        let now = Timestamp::from_millis(1_700_000_000_000);
        let mut request = HttpRequest {
            method: "PUT".into(),
            url: Url::parse("https://shop.example/terminal/v1/holds/x?a=b").unwrap(),
            headers: vec![("idempotency-key".into(), "key-1".into())],
            body: b"{}".to_vec(),
            timeout: Duration::from_secs(1),
            max_answer: 1,
        };
        let again = request.clone();
        let signer: Arc<dyn DeviceSigner> = Arc::new(key);
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sign = |request: &mut HttpRequest| {
            tokio.block_on(sign_request(request, signer.clone(), &public.key_id(), &merchant, now)).unwrap()
        };
        let nonce = sign(&mut request);
        assert_ne!(sign(&mut again.clone()), nonce);
        let headers: Vec<(&str, &[u8])> = request.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
        let received = ReceivedParts {
            method: "PUT",
            path: "/terminal/v1/holds/x",
            query: Some("a=b"),
            headers: &headers,
            body: b"{}",
        };
        let parsed = parse_and_check(&received, &merchant).unwrap();
        assert_eq!(parsed.nonce, nonce);
        verify(&parsed, &public).unwrap();
    }
}
