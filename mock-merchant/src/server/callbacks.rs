//! Calls to the callback addresses of service systems: nowhere but where they may lead, without redirects, with limits.

use crate::http_client;
use crate::webhook::{check_url, is_public};
use crate::worker::deliveries::{MessageAnswer, OutsideMessage};
use reqwest::Response;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::RETRY_AFTER;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::lookup_host;
use walkpay::WalkpayError;

/// The most that is read of an answer.
const MAX_ANSWER: usize = 64 * 1024;

/// Clients for webhooks; cheap to clone.
#[derive(Clone)]
pub struct Callbacks {
    public: reqwest::Client,
    private: reqwest::Client,
}

impl Callbacks {
    /// Clients that trust the public roots; a call takes at most `timeout` altogether.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`] if TLS cannot be set up.
    pub fn new(timeout: Duration) -> Result<Self, WalkpayError> {
        Ok(Self { public: client(true, timeout)?, private: client(false, timeout)? })
    }

    /// Sends a message once.
    pub async fn send(&self, message: OutsideMessage) -> MessageAnswer {
        let url = match check_url(&message.url, message.private) {
            Ok(url) => url,
            Err(e) => return MessageAnswer::Failed { word: e.word() },
        };
        let client = if message.private { &self.private } else { &self.public };
        let request = client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", message.message_id)
            .header("webhook-timestamp", message.timestamp)
            .header("webhook-signature", message.signature)
            .body(message.body);
        match request.send().await {
            Ok(answer) => read(answer).await,
            Err(e) => MessageAnswer::Failed { word: word(&e) },
        }
    }
}

async fn read(mut answer: Response) -> MessageAnswer {
    let status = answer.status().as_u16();
    let seconds = answer.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| v.trim().parse().ok());
    let retry_after = seconds.map(Duration::from_secs);
    let mut body = Some(Vec::new());
    loop {
        match (answer.chunk().await, &mut body) {
            (Ok(None), _) => break,
            (Ok(Some(piece)), Some(so_far)) if so_far.len() + piece.len() <= MAX_ANSWER => {
                so_far.extend_from_slice(&piece);
            }
            // Longer than is read, or it broke off: the status counts, the body does not.
            _ => {
                body = None;
                break;
            }
        }
    }
    MessageAnswer::Answered { status, retry_after, body }
}

/// Why there was no answer: a stable word, without the address.
fn word(error: &reqwest::Error) -> &'static str {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = cause {
        if e.is::<NotPublic>() {
            return "private_address";
        }
        cause = e.source();
    }
    match error {
        e if e.is_timeout() => "timeout",
        e if e.is_connect() => "connect",
        _ => "no_answer",
    }
}

/// A client without redirects and proxies that trusts the public roots; with `public_only` it reaches no private address.
///
/// # Errors
/// [`WalkpayError::Internal`] if TLS cannot be set up.
pub(crate) fn client(public_only: bool, timeout: Duration) -> Result<reqwest::Client, WalkpayError> {
    let builder = http_client::builder(&[], timeout)?;
    let builder = if public_only { builder.dns_resolver(Arc::new(PublicOnly)) } else { builder };
    builder.build().map_err(|e| http_client::unusable(&e))
}

/// Resolves names to public addresses only: the connection is made to what was checked, so that a name cannot mean something
/// else a moment later.
struct PublicOnly;

/// A name leads into a network that must not be reached.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to an address that is not public")]
struct NotPublic;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = lookup_host((name.as_str(), 0)).await?.collect();
            if found.iter().any(|address| !is_public(address.ip())) {
                return Err(NotPublic.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_resolved() {
        let name: Name = "localhost".parse().unwrap();
        let refused = PublicOnly.resolve(name).await.err().unwrap();
        assert!(refused.is::<NotPublic>(), "{refused}");
    }
}
