//! Delivers the simulated gateway's notifications: signed anew for each try, on the platform's schedule, until a status 2xx.

use super::book::{Flaw, Telling};
use super::{TenpayGateway, fresh};
use crate::channel::wechat::cipher::ApiV3Key;
use crate::channel::wechat::signature::Seal;
use crate::channel::wechat::wire::{Notice, beijing};
use std::time::Duration;
use walkpay::protocol::crypto::sha256;
use walkpay::{Timestamp, WalkpayError};

/// How old a stale signature is.
pub(super) const STALE: Duration = Duration::from_secs(10 * 60);

/// The headers and the body of a notification.
type Bytes = (Vec<(String, String)>, String);

impl TenpayGateway {
    /// Delivers what is due, each once.
    pub(super) async fn deliver_due(&self) {
        let due = self.lock().outgoing.take(self.0.clock.now());
        for (number, telling) in due {
            let bytes = match telling.bytes.clone().map_or_else(|| self.bytes(&telling), Ok) {
                Ok(bytes) => bytes,
                Err(e) => {
                    tracing::warn!(error = %e, "the simulated gateway cannot make a notification");
                    (Vec::new(), String::new())
                }
            };
            let taken = self.post(&telling.url, &bytes).await;
            let mut book = self.lock();
            book.delivered(self.0.clock.now(), number, &telling, bytes, taken);
            if let Err(e) = self.keep(&book) {
                tracing::warn!(error = %e, "the simulated gateway cannot keep its book");
            }
        }
    }

    async fn post(&self, url: &str, (headers, body): &Bytes) -> bool {
        let mut request = self.0.http.client().post(url).header("content-type", "application/json").body(body.clone());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        match self.0.http.send(request).await {
            Ok(answer) => answer.status.is_success(),
            Err(e) => {
                tracing::debug!(error = %e, "a notification of the simulated gateway was not answered");
                false
            }
        }
    }

    fn bytes(&self, telling: &Telling) -> Result<Bytes, WalkpayError> {
        let now = self.0.clock.now();
        let failed = |e: &dyn std::fmt::Display| WalkpayError::Internal { detail: e.to_string() };
        let plain = serde_json::to_vec(&telling.transaction).map_err(|e| failed(&e))?;
        let nonce: String = fresh()?.chars().take(12).collect();
        let key = match telling.flaw {
            Some(Flaw::OtherKey) => other_key(&self.lock().api_key)?,
            _ => self.0.api_key.clone(),
        };
        let mut resource = key.seal(&nonce, "transaction", &plain).map_err(|e| failed(&e))?;
        resource.original_type = Some("transaction".to_owned());
        let notice = Notice {
            id: telling.id.clone(),
            create_time: beijing(telling.made_at)?,
            event_type: "TRANSACTION.SUCCESS".to_owned(),
            resource_type: "encrypt-resource".to_owned(),
            resource,
            summary: "支付成功".to_owned(),
        };
        let body = serde_json::to_string(&notice).map_err(|e| failed(&e))?;
        let seal = self.sealed(telling.flaw, now, body.as_bytes())?;
        Ok((seal.headers().map(|(name, value)| (name.to_owned(), value)).to_vec(), body))
    }

    fn sealed(&self, flaw: Option<Flaw>, now: Timestamp, body: &[u8]) -> Result<Seal, WalkpayError> {
        let mut book = self.lock();
        match flaw {
            Some(Flaw::Forged) => {
                let serial = book.signing(now)?.serial;
                Seal::make(&self.0.stranger, &serial, now, &fresh()?, body)
            }
            Some(Flaw::Stale) => self.seal(&mut book, now.minus(STALE), body, false),
            _ => self.seal(&mut book, now, body, false),
        }
    }
}

/// A key that the merchant does not have.
fn other_key(key: &str) -> Result<ApiV3Key, WalkpayError> {
    let digest = sha256(key.as_bytes());
    ApiV3Key::parse(&digest.iter().take(16).map(|b| format!("{b:02x}")).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::super::{Book, PAUSES, Settings};
    use super::*;
    use crate::channel::http::Http;
    use crate::channel::wechat::wire::{Amount, NewOrder};
    use crate::clock::Clock;
    use axum::Router;
    use axum::body::Bytes;
    use axum::extract::State;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;
    use std::sync::{Arc, Mutex};

    type Seen = Arc<Mutex<Vec<(String, Bytes)>>>;

    /// A merchant who takes nothing before the `n`th try.
    async fn merchant(n: usize) -> (String, Seen) {
        let seen = Seen::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/n", listener.local_addr().unwrap());
        let receive = move |State(seen): State<Seen>, headers: HeaderMap, body: Bytes| async move {
            let mut seen = seen.lock().unwrap();
            seen.push((headers["wechatpay-timestamp"].to_str().unwrap().to_owned(), body));
            if seen.len() >= n { StatusCode::NO_CONTENT } else { StatusCode::INTERNAL_SERVER_ERROR }
        };
        let router = Router::new().route("/n", post(receive)).with_state(seen.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, seen)
    }

    /// A gateway with one order that is paid and to be notified at `url`.
    fn paid(url: String) -> (TenpayGateway, Clock) {
        let clock = Clock::default();
        let book = Book::new(clock.now(), "0123456789abcdef0123456789abcdef".to_owned()).unwrap();
        let http = Http::new(Duration::from_secs(5), &[]).unwrap();
        let settings = Settings::default();
        let gateway = TenpayGateway::with(book, None, &settings, clock.clone(), Default::default(), http).unwrap();
        let order = NewOrder {
            appid: settings.appid.clone(),
            mchid: settings.mchid.clone(),
            description: "Tea".to_owned(),
            out_trade_no: "000001".to_owned(),
            time_expire: None,
            notify_url: url,
            amount: Amount { total: 100, currency: None },
            payer: None,
        };
        let request = super::super::book::Request::Create { trade_type: "NATIVE", order };
        let who = (settings.appid.as_str(), settings.mchid.as_str());
        gateway.lock().handle(clock.now(), who, &request, "code", None).unwrap();
        gateway.pay("code").unwrap();
        (gateway, clock)
    }

    #[tokio::test]
    async fn what_nobody_takes_is_notified_for_a_day_and_then_no_more() {
        let (url, seen) = merchant(usize::MAX).await;
        let (gateway, clock) = paid(url);
        let start = clock.now();
        gateway.deliver_due().await;
        for (n, pause) in PAUSES.iter().enumerate() {
            clock.advance(*pause / 2).unwrap();
            gateway.deliver_due().await;
            assert_eq!(seen.lock().unwrap().len(), n + 1, "not before its time");
            clock.advance(*pause / 2 + Duration::from_secs(5)).unwrap();
            gateway.deliver_due().await;
            assert_eq!(seen.lock().unwrap().len(), n + 2);
        }
        assert!(gateway.lock().outgoing.is_empty());
        let total: Duration = PAUSES.iter().sum();
        assert_eq!(total, Duration::from_secs(24 * 3600 + 4 * 60));
        assert!(clock.now().since(start) >= total);
        let mut times: Vec<_> = seen.lock().unwrap().iter().map(|(time, _)| time.clone()).collect();
        times.dedup();
        assert_eq!(times.len(), PAUSES.len() + 1, "signed anew for each try");
    }

    #[tokio::test]
    async fn what_is_taken_is_not_notified_again() {
        let (url, seen) = merchant(2).await;
        let (gateway, clock) = paid(url);
        for _ in 0..5 {
            gateway.deliver_due().await;
            clock.advance(Duration::from_secs(3600)).unwrap();
        }
        assert_eq!(seen.lock().unwrap().len(), 2);
        let (first, second) = {
            let seen = seen.lock().unwrap();
            (seen[0].1.clone(), seen[1].1.clone())
        };
        let id = |body: &Bytes| serde_json::from_slice::<Notice>(body).unwrap().id;
        assert_eq!(id(&first), id(&second), "the same notification under the same number");
    }
}
