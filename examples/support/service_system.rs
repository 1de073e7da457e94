//! A service system: hands orders in by its API key, and is told by signed webhooks (standardwebhooks.com, specification 1.0) what
//! becomes of them.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mock_merchant::domain::service::{Scopes, SourceAdmin, Told};
use mock_merchant::domain::{AdminCommand, Answer, Caller, Command};
use mock_merchant::server::Running;
use ring::hmac;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use walkpay::ServiceNumber;
use walkpay::adapter::http::{HttpClient, HttpConfig, HttpRequest};

/// How old a message may be, in seconds.
const TOLERANCE: u64 = 300;
const SCOPES: &str = "orders:write orders:read query:read webhooks:manage";

/// A message that came, its signature verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// `webhook-id`: the same for each try.
    pub id: String,
    /// What happened: `order.paid` and so on.
    pub kind: String,
    /// The order.
    pub service_number: String,
    /// The whole body.
    pub body: Value,
}

/// Says what is answered to a request for confirmation, given the order: `{"decision": "confirm"}` and so on.
pub type Decide = Arc<dyn Fn(&Value) -> Value + Send + Sync>;

#[derive(Default)]
struct Inbox {
    taken: Mutex<Vec<Message>>,
    refused: Mutex<u32>,
    news: Notify,
}

struct Receiver {
    secret: Mutex<Vec<u8>>,
    decide: Decide,
    inbox: Arc<Inbox>,
}

/// One service system, with a server of its own for webhooks.
pub struct ServiceSystem {
    /// Its identifier at the merchant.
    pub id: String,
    merchant: String,
    key: String,
    http: HttpClient,
    inbox: Arc<Inbox>,
    server: JoinHandle<()>,
}

impl ServiceSystem {
    /// Registers it as an operator does with `mock-merchant service add`, `key`, `callback` and `secret`; one that is registered
    /// already gets a new key, address and secret.
    pub async fn open(merchant: &Running, id: &str, name: &str, decide: Decide) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|e| format!("no port for webhooks: {e}"))?;
        let url = format!("http://{}/webhooks", listener.local_addr().map_err(|e| e.to_string())?);
        let source_id = id.to_owned();
        let (payee, time_zone) = ("Walkpay Services".to_owned(), "Europe/Berlin".to_owned());
        let add = SourceAdmin::Add { source_id: source_id.clone(), name: name.to_owned(), payee, time_zone };
        // Refused if it is there already.
        let _ = operate(merchant, add).await;
        let scopes = Scopes::parse(SCOPES).map_err(|e| e.to_string())?;
        let key = secret(operate(merchant, SourceAdmin::NewKey { source_id: source_id.clone(), scopes }).await?)?;
        let callback = SourceAdmin::Callback { source_id: source_id.clone(), url: Some(url), allow_private: true };
        operate(merchant, callback).await?;
        let fresh = operate(merchant, SourceAdmin::NewSecret { source_id, overlap: Duration::ZERO }).await?;
        let fresh = secret(fresh)?;
        let bytes = fresh.strip_prefix("whsec_").and_then(|s| STANDARD.decode(s).ok()).ok_or("no webhook secret")?;
        let inbox = Arc::new(Inbox::default());
        let receiver = Receiver { secret: Mutex::new(bytes), decide, inbox: inbox.clone() };
        let routes = Router::new().route("/webhooks", post(receive)).with_state(Arc::new(receiver));
        let server = tokio::spawn(async move { drop(axum::serve(listener, routes).await) });
        let http = HttpClient::new(&HttpConfig::default()).map_err(|e| e.to_string())?;
        Ok(Self { id: id.to_owned(), merchant: merchant.url.clone(), key, http, inbox, server })
    }

    /// Hands an order in (B01) under an idempotency key, and has its number (B04).
    pub async fn hand_in(&self, key: &str, order: &Value) -> Result<ServiceNumber, String> {
        let url = format!("{}/service/v1/orders", self.merchant);
        let request = HttpRequest {
            method: "POST".into(),
            url: url.parse().map_err(|e| format!("{url}: {e}"))?,
            headers: vec![
                ("authorization".into(), format!("Bearer {}", self.key)),
                ("content-type".into(), "application/json".into()),
                ("idempotency-key".into(), key.into()),
            ],
            body: serde_json::to_vec(order).map_err(|e| e.to_string())?,
            timeout: Duration::from_secs(30),
            max_answer: 64 * 1024,
        };
        let answer = self.http.send(request).await.map_err(|e| e.to_string())?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let number = body["service_number"].as_str().filter(|_| answer.status == 201);
        let number = number.ok_or_else(|| format!("status {}: {}", answer.status, body["detail"]))?;
        ServiceNumber::parse(number).map_err(|e| e.to_string())
    }

    /// Everything that was told so far.
    pub fn messages(&self) -> Vec<Message> {
        self.inbox.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many messages were refused since their signature does not verify.
    pub fn refused(&self) -> u32 {
        *self.inbox.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a message of this kind about this order.
    pub async fn told(&self, kind: &str, number: ServiceNumber, patience: Duration) -> Option<Message> {
        let found = async {
            loop {
                let news = self.inbox.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                let number = number.to_string();
                let is_it = |m: &Message| m.kind == kind && m.service_number == number;
                if let Some(message) = self.messages().into_iter().find(is_it) {
                    return message;
                }
                news.await;
            }
        };
        tokio::time::timeout(patience, found).await.ok()
    }
}

impl Drop for ServiceSystem {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn operate(merchant: &Running, command: SourceAdmin) -> Result<Told, String> {
    let command = Command::Admin(AdminCommand::Source(command));
    match merchant.app().execute(Caller::Operator, command).await {
        Ok(Answer::Told(told)) => Ok(told),
        Ok(other) => Err(format!("an unexpected answer: {other:?}")),
        Err(refused) => Err(format!("{refused:?}")),
    }
}

fn secret(told: Told) -> Result<String, String> {
    match told {
        Told::Secret(secret) => Ok(secret),
        Told::Nothing => Err("nothing was told where a secret should have been".into()),
    }
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> Response {
    if !receiver.verifies(&headers, &body) {
        *receiver.inbox.refused.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let id = header(&headers, "webhook-id").to_owned();
    let (kind, service_number) = (text(&value["type"]), text(&value["data"]["service_number"]));
    let answer = (kind == "order.confirmation_requested").then(|| (receiver.decide)(&value["data"]));
    {
        let mut taken = receiver.inbox.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if !taken.iter().any(|m| m.id == id) {
            taken.push(Message { id, kind, service_number, body: value });
        }
    }
    receiver.inbox.news.notify_waiters();
    match answer {
        Some(decision) => axum::Json(decision).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

impl Receiver {
    /// The signature is over `{id}.{timestamp}.{body}`; the time must be the present.
    fn verifies(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let (id, timestamp) = (header(headers, "webhook-id"), header(headers, "webhook-timestamp"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let fresh = timestamp.parse::<u64>().is_ok_and(|t| t.abs_diff(now) <= TOLERANCE);
        let secret = self.secret.lock().unwrap_or_else(PoisonError::into_inner);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
        let mut signatures = header(headers, "webhook-signature").split(' ');
        let fits = |signature: &str| {
            let tag = signature.strip_prefix("v1,").and_then(|s| STANDARD.decode(s).ok());
            tag.is_some_and(|tag| hmac::verify(&key, &signed, &tag).is_ok())
        };
        fresh && !id.is_empty() && signatures.any(fits)
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}
