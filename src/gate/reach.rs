//! How a gate reaches its merchant.

use super::GateRequest;
use crate::adapter::http::{HttpClient, HttpRequest, HttpResponse};
use crate::error::WalkpayError;
use crate::id::GateGroup;
use crate::protocol::message::MAX_ANSWER_BODY;
#[cfg(test)]
use crate::protocol::problem::ProblemCode;
use crate::protocol::problem::read_problem;
use std::time::Duration;
use url::Url;

const TIMEOUT: Duration = Duration::from_secs(20);

/// How a gate reaches its merchant.
pub struct Merchant {
    /// The client.
    pub http: HttpClient,
    /// The merchant's address, without a slash at its end.
    pub url: String,
    /// The gate group's token.
    pub token: String,
}

impl Merchant {
    /// The body of the answer to a request of a gate of `group`.
    ///
    /// # Errors
    /// [`WalkpayError::Network`], [`WalkpayError::Refused`].
    pub async fn ask(&self, group: &GateGroup, request: &GateRequest) -> Result<Vec<u8>, WalkpayError> {
        let (method, path, body) = match request {
            GateRequest::Root => ("POST", "/terminal/v1/enrolments".to_owned(), Vec::new()),
            GateRequest::Keys => ("GET", "/terminal/v1/keys".to_owned(), Vec::new()),
            GateRequest::Upload(passes) => {
                let body = serde_json::to_vec(passes).map_err(|e| WalkpayError::Internal { detail: e.to_string() })?;
                ("POST", format!("/gate/v1/groups/{group}/passes"), body)
            }
            GateRequest::Spent(after) => ("GET", format!("/gate/v1/groups/{group}/passes?after={after}"), Vec::new()),
            GateRequest::Revoked(after) => {
                ("GET", format!("/gate/v1/groups/{group}/revocations?after={after}"), Vec::new())
            }
        };
        let address = format!("{}{path}", self.url.trim_end_matches('/'));
        let url = Url::parse(&address).map_err(|_| WalkpayError::invalid("url", "an https address", &self.url))?;
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if path.starts_with("/gate/") {
            headers.push(("authorization".to_owned(), format!("Bearer {}", self.token)));
        }
        let method = method.to_owned();
        let max_answer = MAX_ANSWER_BODY as u64;
        let answer = self.http.send(HttpRequest { method, url, headers, body, timeout: TIMEOUT, max_answer }).await?;
        if (200..300).contains(&answer.status) { Ok(answer.body) } else { Err(refused(&answer)) }
    }
}

/// What an answer that is no success says.
fn refused(answer: &HttpResponse) -> WalkpayError {
    match read_problem(answer.status, &answer.body) {
        Some((problem, document)) => WalkpayError::Refused { problem, status: answer.status, detail: document.detail },
        None => WalkpayError::Network { detail: format!("HTTP {} without a problem document", answer.status) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_a_proxy_is_trouble_and_no_refusal() {
        let answer = |status, body: &[u8]| HttpResponse { status, body: body.to_vec(), retry_after: None, date: None };
        let problem = ProblemCode::Unauthenticated.document("no such token");
        let body = serde_json::to_vec(&problem).unwrap();
        assert_eq!(refused(&answer(401, &body)).code(), "refused.unauthenticated");
        for (status, body) in [(403, &b"<html>please log in</html>"[..]), (502, b""), (403, &body), (401, b"{}")] {
            assert_eq!(refused(&answer(status, body)).code(), "network", "{status}");
        }
    }
}
