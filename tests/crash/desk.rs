//! A service system in the test's own process, which nobody kills: it hands orders in over HTTP, confirms them, and is told of payments.

use crate::merchant::Merchant;
use crate::process::PATIENCE;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mock_merchant::webhook;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use walkpay::adapter::http::{HttpClient, HttpConfig, HttpRequest};
use walkpay::{Currency, Timestamp};

/// Its identifier at the merchant.
pub const NAME: &str = "desk";
/// How many orders it hands in, and how many of them wait to be paid at one time: enough for all the lives of merchant and terminal.
const ORDERS: usize = 30;
const AT_ONCE: usize = 4;

/// What was answered and told; facts that must not be lost.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// The number that each key was answered with.
    pub numbers: BTreeMap<String, String>,
    /// By the order's number: the identifiers of the messages that told of its payment.
    pub paid: BTreeMap<String, BTreeSet<String>>,
}

struct Shared {
    secret: Vec<u8>,
    books: Mutex<Books>,
    news: Notify,
    wrong: Mutex<Option<String>>,
}

/// The service system at work.
pub struct Desk {
    shared: Arc<Shared>,
    work: JoinHandle<Result<(), String>>,
}

impl Desk {
    /// Registers it with the merchant and begins to hand orders in.
    pub fn open(merchant: &Merchant) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).map_err(text)?;
        let callback = format!("http://{}/webhooks", listener.local_addr().map_err(text)?);
        merchant.command(&["service", "add", NAME, "--name", "Desk", "--payee", "Walkpay Services"])?;
        let key = merchant.command(&["service", "key", NAME])?;
        let secret = merchant.command(&["service", "callback", NAME, &callback, "--allow-private"])?;
        let secret = STANDARD.decode(secret.trim_start_matches("whsec_")).map_err(text)?;
        let (books, wrong) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { secret, books, news: Notify::new(), wrong });
        let routes = Router::new().route("/webhooks", post(receive)).with_state(shared.clone());
        let orders = Orders {
            url: format!("{}/service/v1/orders", merchant.url()),
            key,
            payer: merchant.user.clone(),
            client: HttpClient::new(&HttpConfig::default()).map_err(text)?,
        };
        let worker = shared.clone();
        let work = std::thread::spawn(move || {
            runtime.block_on(async move {
                let server = tokio::spawn(async move { axum::serve(listener, routes).await });
                let done = orders.hand_in_all(&worker).await;
                server.abort();
                done
            })
        });
        Ok(Self { shared, work })
    }

    /// Waits until all orders are handed in and it was told that they are paid.
    pub fn close(self) -> Result<Books, String> {
        self.work.join().map_err(|_| "the service system panicked")??;
        match lock(&self.shared.wrong).take() {
            Some(wrong) => Err(wrong),
            None => Ok(lock(&self.shared.books).clone()),
        }
    }
}

/// How orders are handed in.
struct Orders {
    url: String,
    key: String,
    payer: String,
    client: HttpClient,
}

impl Orders {
    async fn hand_in_all(&self, shared: &Shared) -> Result<(), String> {
        for n in 0..ORDERS {
            self.until(shared, |b| b.numbers.len() - b.paid.len() < AT_ONCE, Duration::MAX).await?;
            let (key, body) = (format!("order-{n}"), self.order(n)?);
            let number = self.hand_in(&key, &body).await?;
            // Asked again, also by another life of the merchant: the same number.
            let again = self.hand_in(&key, &body).await?;
            if number != again {
                return Err(format!("{key} was answered with {number}, then with {again}"));
            }
            let mut books = lock(&shared.books);
            if books.numbers.values().any(|known| *known == number) {
                return Err(format!("{number} was given twice"));
            }
            books.numbers.insert(key, number);
        }
        self.until(shared, |b| b.paid.len() == ORDERS, PATIENCE).await
    }

    async fn until(&self, shared: &Shared, done: impl Fn(&Books) -> bool, patience: Duration) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let news = shared.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if done(&lock(&shared.books)) {
                return Ok(());
            }
            if begun.elapsed() > patience {
                return Err(format!("orders are not paid: {:#?}", lock(&shared.books)));
            }
            // A look now and then, for the sake of the time.
            let _ = tokio::time::timeout(Duration::from_secs(1), news).await;
        }
    }

    fn order(&self, n: usize) -> Result<Vec<u8>, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(text)?.as_millis();
        let deadline = Timestamp::from_millis(i64::try_from(now).map_err(text)?).plus(Duration::from_secs(86_400));
        let price = Currency::parse("EUR").map_err(text)?.minor(120 + 7 * i64::try_from(n).map_err(text)?);
        serde_json::to_vec(&json!({
            "service_name": "Delivery",
            "payer": self.payer,
            "fees": [{"name": "Delivery", "quantity": "1", "unit_price": price, "tax_rate": "19"}],
            "deadline": deadline,
            "case_number": "C-1",
        }))
        .map_err(text)
    }

    /// Asks until there is an answer: the merchant may be dead at present.
    async fn hand_in(&self, key: &str, body: &[u8]) -> Result<String, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let request = HttpRequest {
                method: "POST".into(),
                url: self.url.parse().map_err(text)?,
                headers: vec![
                    ("authorization".into(), format!("Bearer {}", self.key)),
                    ("content-type".into(), "application/json".into()),
                    ("idempotency-key".into(), key.into()),
                ],
                body: body.to_vec(),
                timeout: Duration::from_secs(10),
                max_answer: 64 * 1024,
            };
            let trouble = match self.client.send(request).await {
                Ok(answer) if answer.status == 201 => {
                    let answer: Value = serde_json::from_slice(&answer.body).map_err(text)?;
                    return answer["service_number"].as_str().map(str::to_owned).ok_or("no number".into());
                }
                Ok(answer) if answer.status >= 500 => answer.status.to_string(),
                Ok(answer) => return Err(format!("{key} was refused: {}", String::from_utf8_lossy(&answer.body))),
                Err(e) => e.to_string(),
            };
            if Instant::now() > deadline {
                return Err(format!("{key} was never answered: {trouble}"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Takes a webhook: its signature verified, each message once.
async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp").parse().unwrap_or_default());
    let expected = webhook::signatures(std::slice::from_ref(&shared.secret), id, timestamp, &body);
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    if header("webhook-signature").split(' ').all(|signature| signature != expected) {
        *lock(&shared.wrong) = Some(format!("a webhook that does not verify: {headers:?} {told}"));
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match (told["type"].as_str(), told["data"]["service_number"].as_str()) {
        (Some("order.confirmation_requested"), _) => axum::Json(json!({"decision": "confirm"})).into_response(),
        (Some("order.paid"), Some(number)) => {
            lock(&shared.books).paid.entry(number.to_owned()).or_default().insert(id.to_owned());
            shared.news.notify_waiters();
            StatusCode::NO_CONTENT.into_response()
        }
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}
