//! A service system beside the merchant: its API key, and a receiver of webhooks that verifies them as the specification of
//! Standard Webhooks says, with nothing of the merchant.

use crate::client::{DEADLINE, Shop, json_of};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mock_merchant::domain::service::{Scopes, SourceAdmin, SourceNews, Told, tell_source};
use mock_merchant::domain::{AdminCommand, Answer, Caller, Command};
use reqwest::{Method, StatusCode};
use ring::hmac;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use walkpay::ServiceNumber;

/// How old a message may be, in seconds.
const TOLERANCE: i64 = 300;

/// A message that was received, and the status that it was answered with.
#[derive(Clone, Debug)]
pub struct Received {
    pub id: String,
    pub timestamp: i64,
    pub signatures: String,
    pub raw: Bytes,
    pub body: Value,
}

/// A receiver of webhooks on loopback.
pub struct Receiver {
    pub url: String,
    state: Arc<Inbox>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Inbox {
    received: Mutex<Vec<Received>>,
    answers: Mutex<VecDeque<Response>>,
    news: Notify,
}

impl Receiver {
    pub async fn start() -> Self {
        let state = Arc::<Inbox>::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks", listener.local_addr().unwrap());
        let router = Router::new().fallback(receive).with_state(state.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, state, task }
    }

    /// Answers the next messages so; later ones with 204.
    pub fn answer(&self, answer: impl IntoResponse) {
        self.state.answers.lock().unwrap().push_back(answer.into_response());
    }

    pub fn all(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    /// Waits until `pick` finds a message.
    pub async fn until<T>(&self, mut pick: impl FnMut(&[Received]) -> Option<T>) -> T {
        let found = async {
            loop {
                let news = self.state.news.notified();
                if let Some(found) = pick(&self.all()) {
                    return found;
                }
                news.await;
            }
        };
        tokio::time::timeout(DEADLINE, found).await.expect("the message comes in time")
    }

    /// Waits for the message of this kind about this order.
    pub async fn message(&self, kind: &str, number: &str) -> Received {
        let fits = |m: &&Received| m.body["type"] == kind && m.body["data"]["service_number"] == number;
        self.until(|all| all.iter().find(fits).cloned()).await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, raw: Bytes) -> Response {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(text("content-type"), "application/json");
    let received = Received {
        id: text("webhook-id"),
        timestamp: text("webhook-timestamp").parse().unwrap(),
        signatures: text("webhook-signature"),
        body: serde_json::from_slice(&raw).unwrap(),
        raw,
    };
    inbox.received.lock().unwrap().push(received);
    let answer = inbox.answers.lock().unwrap().pop_front();
    inbox.news.notify_waiters();
    answer.unwrap_or_else(|| StatusCode::NO_CONTENT.into_response())
}

/// Verifies messages as a careful receiver does: signature over identifier, timestamp and body, age, and each identifier once.
pub struct Verifier {
    secret: Vec<u8>,
    seen: HashSet<String>,
}

impl Verifier {
    pub fn new(secret: &str) -> Self {
        let secret = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        assert!((24..=64).contains(&secret.len()), "as the specification asks");
        Self { secret, seen: HashSet::new() }
    }

    /// `now` in seconds.
    pub fn verify(&mut self, message: &Received, now: i64) -> Result<(), &'static str> {
        let signed = [format!("{}.{}.", message.id, message.timestamp).as_bytes(), &message.raw].concat();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let fits = |signature: &str| {
            let tag = signature.strip_prefix("v1,").and_then(|s| STANDARD.decode(s).ok());
            tag.is_some_and(|tag| hmac::verify(&key, &signed, &tag).is_ok())
        };
        if !message.signatures.split(' ').any(fits) {
            return Err("signature");
        }
        if (now - message.timestamp).abs() > TOLERANCE {
            return Err("age");
        }
        if !self.seen.insert(message.id.clone()) {
            return Err("replay");
        }
        Ok(())
    }
}

/// A service system.
pub struct Desk {
    pub id: String,
    pub key: String,
    pub secret: String,
    pub receiver: Receiver,
    pub url: String,
    pub http: reqwest::Client,
}

pub async fn admin(shop: &Shop, command: SourceAdmin) -> Told {
    let command = Command::Admin(AdminCommand::Source(command));
    match shop.running.app().execute(Caller::Operator, command).await.unwrap() {
        Answer::Told(told) => told,
        other => panic!("{other:?}"),
    }
}

pub async fn new_key(shop: &Shop, id: &str, scopes: &str) -> String {
    let scopes = Scopes::parse(scopes).unwrap();
    match admin(shop, SourceAdmin::NewKey { source_id: id.into(), scopes }).await {
        Told::Secret(key) => key,
        Told::Nothing => panic!("no key"),
    }
}

pub async fn callback(shop: &Shop, id: &str, url: &str, allow_private: bool) -> Told {
    let url = Some(url.to_owned());
    admin(shop, SourceAdmin::Callback { source_id: id.into(), url, allow_private }).await
}

impl Desk {
    pub async fn open(shop: &Shop, id: &str) -> Self {
        let named = |text: &str| text.to_owned();
        let add = SourceAdmin::Add {
            source_id: named(id),
            name: named("Service"),
            payee: named("Walkpay Services"),
            time_zone: named("Europe/Berlin"),
        };
        admin(shop, add).await;
        let receiver = Receiver::start().await;
        let Told::Secret(secret) = callback(shop, id, &receiver.url, true).await else { panic!("no secret") };
        let key = new_key(shop, id, "orders:write orders:read query:read webhooks:manage").await;
        Self { id: named(id), key, secret, receiver, url: shop.running.url.clone(), http: shop.http.clone() }
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}/service/v1{path}", self.url)).bearer_auth(&self.key)
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        json_of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    /// Looks at what it was told until `pick` finds what it looks for; `query` chooses the messages.
    pub async fn deliveries_until<T>(&self, query: &str, mut pick: impl FnMut(&[Value]) -> Option<T>) -> T {
        let mut looks = tokio::time::interval(std::time::Duration::from_millis(20));
        let found = async {
            loop {
                looks.tick().await;
                let (status, page) = self.get(&format!("/deliveries{query}")).await;
                assert_eq!(status, StatusCode::OK, "{page}");
                if let Some(found) = pick(page["deliveries"].as_array().unwrap()) {
                    return found;
                }
            }
        };
        tokio::time::timeout(DEADLINE, found).await.expect("it is delivered or given up in time")
    }

    pub async fn hand_in(&self, key: &str, body: &Value) -> reqwest::Response {
        self.request(Method::POST, "/orders").header("idempotency-key", key).json(body).send().await.unwrap()
    }

    /// The number of a new order.
    pub async fn number(&self, key: &str, body: &Value) -> String {
        let (status, answer) = json_of(self.hand_in(key, body).await).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer["service_number"].as_str().unwrap().to_owned()
    }

    /// Changes an order: `what` is the last part of the path.
    pub async fn change(&self, number: &str, what: &str, version: u64, body: &Value) -> reqwest::Response {
        self.request(Method::PUT, &format!("/orders/{number}/{what}"))
            .header("if-match", format!("\"{version}\""))
            .json(body)
            .send()
            .await
            .unwrap()
    }

    /// A payable order.
    pub async fn payable(&self, key: &str, body: &Value) -> String {
        let number = self.number(key, body).await;
        let confirmed = self.change(&number, "confirmation", 1, &json!({"decision": "confirm"})).await;
        assert_eq!(confirmed.status(), StatusCode::OK);
        number
    }
}

/// Writes a message down, as the payment of an order does.
pub async fn tell(shop: &Shop, number: &str, news: SourceNews) {
    let app = shop.running.app();
    let ctx = app.ctx().unwrap_or_else(|e| panic!("{}", e.detail));
    let number = ServiceNumber::parse(number).unwrap();
    app.writer.submit(move |tx| tell_source(tx, &ctx, number, news)).await.unwrap();
    app.messages.notify_one();
}

pub fn eur(amount: &str) -> Value {
    json!({"amount": amount, "currency": "EUR"})
}

/// An order of 29.00.
pub fn order(shop: &Shop) -> Value {
    json!({
        "service_name": "Delivery of a washing machine",
        "payer": "alice",
        "deadline": shop.now().plus(std::time::Duration::from_secs(10 * 86_400)),
        "case_number": "C-2026-0815",
        "fees": [{"name": "Delivery", "unit_price": eur("29.00"), "tax_rate": "19"}],
    })
}
