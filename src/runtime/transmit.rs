//! One request on the wire: signed, sent, its answer handed back as it came.

use crate::adapter::clock;
use crate::adapter::http::{HttpClient, HttpRequest, sign_request};
use crate::adapter::keys::KnownSigner;
use crate::error::WalkpayError;
use crate::protocol::message::MAX_ANSWER_BODY;
use crate::protocol::request::{HttpParts, TerminalRequest};
use crate::session::{Due, HttpAnswer, HttpOutcome};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;
use url::Url;

/// A request that is not to be sent again for the moment.
pub(super) enum Flight {
    UnderWay { number: u64, task: AbortHandle },
    Resting { until: Instant },
}

impl Flight {
    pub(super) fn under_way(number: u64, task: AbortHandle) -> Self {
        Self::UnderWay { number, task }
    }

    pub(super) fn resting(until: Instant) -> Self {
        Self::Resting { until }
    }

    pub(super) fn is(&self, flight: u64) -> bool {
        matches!(self, Self::UnderWay { number, .. } if *number == flight)
    }

    pub(super) fn rests_until(&self) -> Option<Instant> {
        match self {
            Self::Resting { until } => Some(*until),
            Self::UnderWay { .. } => None,
        }
    }
}

/// Forgetting a flight ends it: nobody waits for its answer.
impl Drop for Flight {
    fn drop(&mut self) {
        if let Self::UnderWay { task, .. } = self {
            task.abort();
        }
    }
}

/// Sends what is due. Whatever goes wrong on the way is an outcome, not an error.
pub(super) async fn transmit(
    http: &HttpClient,
    due: Due,
    signer: Option<KnownSigner>,
    merchant_url: Option<&str>,
) -> HttpAnswer {
    let id = due.id;
    let started = clock::monotonic();
    let (nonce, outcome) = match send(http, due, signer, merchant_url).await {
        Ok((nonce, outcome)) => (nonce, outcome),
        Err(error) => (String::new(), HttpOutcome::Failed { detail: error.to_string() }),
    };
    let elapsed_ms = u64::try_from(clock::monotonic().saturating_sub(started).as_millis()).unwrap_or(u64::MAX);
    HttpAnswer { id, nonce, elapsed_ms, outcome }
}

async fn send(
    http: &HttpClient,
    due: Due,
    signer: Option<KnownSigner>,
    merchant_url: Option<&str>,
) -> Result<(String, HttpOutcome), WalkpayError> {
    let timeout = Duration::from_secs(due.timeout_seconds);
    let base = merchant_url.unwrap_or(&due.url);
    let mut request = http_request(base, &due.request, timeout, MAX_ANSWER_BODY as u64)?;
    let nonce = match signer {
        None => String::new(),
        Some(known) => {
            let kid = known.public.key_id();
            sign_request(&mut request, known.signer, &kid, &due.merchant_id, due.created).await?
        }
    };
    let response = http.send(request).await?;
    let outcome = HttpOutcome::Answer {
        status: response.status,
        retry_after_seconds: response.retry_after.map(|wait| wait.as_secs()),
        date: response.date,
        body: response.body,
    };
    Ok((nonce, outcome))
}

/// The HTTP form of a call to the merchant at `base`.
///
/// # Errors
/// [`WalkpayError::InvalidInput`] for an address that cannot be.
pub(super) fn http_request(
    base: &str,
    call: &TerminalRequest,
    timeout: Duration,
    max_answer: u64,
) -> Result<HttpRequest, WalkpayError> {
    let HttpParts { method, path, query, body, idempotency_key } = call.to_http()?;
    let address = if query.is_empty() { format!("{base}{path}") } else { format!("{base}{path}?{query}") };
    let url = Url::parse(&address).map_err(|_| WalkpayError::invalid("url", "the merchant's address", base))?;
    let mut headers = if call.is_signed() { Vec::new() } else { json_header(&body) };
    headers.extend(idempotency_key.map(|key| ("idempotency-key".to_owned(), key)));
    Ok(HttpRequest { method: method.to_owned(), url, headers, body, timeout, max_answer })
}

/// Signed requests get theirs with the signature.
fn json_header(body: &[u8]) -> Vec<(String, String)> {
    if body.is_empty() { Vec::new() } else { vec![("content-type".into(), "application/json".into())] }
}
