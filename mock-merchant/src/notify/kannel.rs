//! Text messages through Kannel's HTTP interface (Kannel user's guide, "Using the SMS Gateway over HTTP").

use super::text::SmsText;
use super::text::gsm::Coding;
use crate::domain::notices::{Sent, SentAs};
use reqwest::StatusCode;

/// The most that is read of an answer.
const MAX_ANSWER: usize = 4 * 1024;
/// Which reports are wanted: delivered (1), failed (2), accepted by the centre (8), refused by it (16).
const REPORTS: &str = "27";

/// Where Kannel listens, and who the merchant is there.
#[derive(Clone)]
pub struct KannelSettings {
    /// The address of `sendsms`.
    pub url: String,
    /// The user.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The sender that telephones show: a number, or up to 11 letters.
    pub from: String,
    /// How Kannel reaches this server for its reports, if not as everybody does.
    pub report_url: Option<String>,
}

impl std::fmt::Debug for KannelSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kannel at {}", self.url)
    }
}

/// A text message centre behind Kannel.
pub struct Kannel {
    settings: KannelSettings,
    http: reqwest::Client,
}

impl Kannel {
    /// From settings; `http` is how it is called.
    pub fn new(settings: KannelSettings, http: reqwest::Client) -> Self {
        Self { settings, http }
    }

    /// Sends a message once. `report` is where Kannel tells what became of it.
    pub async fn send(&self, sms: &SmsText, to: &str, report: Option<&str>) -> Sent {
        let KannelSettings { url, user, password, from, .. } = &self.settings;
        let mut fields = vec![
            ("username", user.as_str()),
            ("password", password.as_str()),
            ("from", from.as_str()),
            ("to", to),
            ("text", sms.text.as_str()),
            ("charset", "UTF-8"),
            ("coding", if sms.coding == Coding::Ucs2 { "2" } else { "0" }),
        ];
        let report = report.map(|url| self.reported_at(url));
        if let Some(url) = &report {
            fields.extend([("dlr-mask", REPORTS), ("dlr-url", url.as_str())]);
        }
        let Ok(mut url) = url::Url::parse(url) else { return Sent::new(SentAs::Refused, "url") };
        url.query_pairs_mut().extend_pairs(fields);
        let answer = match self.http.get(url).send().await {
            Ok(answer) => answer,
            // Nothing was sent yet.
            Err(e) if e.is_connect() => return Sent::new(SentAs::Deferred, "connect"),
            Err(e) if e.is_builder() => return Sent::new(SentAs::Refused, "url"),
            Err(e) => {
                return Sent::new(SentAs::Unknown, if e.is_timeout() { "timeout" } else { "connection_lost" });
            }
        };
        let status = answer.status();
        outcome(status, &text(answer).await)
    }

    fn reported_at(&self, url: &str) -> String {
        let path = url.find("/notify/").and_then(|at| url.get(at..));
        match (&self.settings.report_url, path) {
            (Some(base), Some(path)) => format!("{base}{path}"),
            _ => url.to_owned(),
        }
    }
}

/// What Kannel says by status and text. 202 is taken, be it for later: sending it again would make it two. A wrong password is
/// the merchant's trouble, not the payer's.
fn outcome(status: StatusCode, text: &str) -> Sent {
    let code = status.as_u16();
    match status {
        StatusCode::OK | StatusCode::ACCEPTED if text.starts_with("3:") => {
            Sent::coded(SentAs::Accepted, code, "queued")
        }
        StatusCode::OK | StatusCode::ACCEPTED => Sent::coded(SentAs::Accepted, code, "taken"),
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED if text.contains("uthoriz") => {
            tracing::error!(code, "Kannel does not accept user and password");
            Sent::coded(SentAs::Deferred, code, "credentials")
        }
        status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
            Sent::coded(SentAs::Refused, code, "refused")
        }
        _ => Sent::coded(SentAs::Deferred, code, "deferred"),
    }
}

async fn text(mut answer: reqwest::Response) -> String {
    let mut read = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        read.extend_from_slice(&piece);
        if read.len() > MAX_ANSWER {
            break;
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let said = |status: u16, text| outcome(StatusCode::from_u16(status).unwrap(), text);
        assert_eq!(said(202, "0: Accepted for delivery"), Sent::coded(SentAs::Accepted, 202, "taken"));
        assert_eq!(said(202, "3: Queued for later delivery"), Sent::coded(SentAs::Accepted, 202, "queued"));
        assert_eq!(said(503, "Temporal failure, try again later."), Sent::coded(SentAs::Deferred, 503, "deferred"));
        assert_eq!(said(403, "Authorization failed for sendsms"), Sent::coded(SentAs::Deferred, 403, "credentials"));
        assert_eq!(said(403, "Denied"), Sent::coded(SentAs::Refused, 403, "refused"));
        assert_eq!(said(400, "No recipient"), Sent::coded(SentAs::Refused, 400, "refused"));
    }
}
