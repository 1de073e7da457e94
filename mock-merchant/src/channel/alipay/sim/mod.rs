//! A simulated Alipay: its gateway, cashier and notifications, with a book and keys that the merchant has no part in.

mod book;
mod cashier;
mod faults;
mod gateway;
mod keys;
mod requests;

pub use book::{Book, Trade, TradeState};
pub use faults::{Armed, Fault, Faults};

use super::client::{KeySource, Keys};
use super::settings::Settings;
use super::signing;
use crate::channel::gateways::{Gateway, Work};
use crate::channel::http::Http;
use crate::clock::Clock;
use axum::Router;
use book::Message;
use keys::SimulatedKeys;
use reqwest::StatusCode;
use std::fs;
use std::future::Future;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;
use walkpay::WalkpayError;

/// Where its routes are.
pub const PREFIX: &str = "/sim/alipay";

/// The pauses before a notification is sent again (Alipay Open Platform, "asynchronous notification"); then nobody tries any more.
pub const RETRIES: [Duration; 7] = [
    Duration::from_secs(4 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(3_600),
    Duration::from_secs(2 * 3_600),
    Duration::from_secs(6 * 3_600),
    Duration::from_secs(15 * 3_600),
];

/// The simulated Alipay; cheap to clone.
#[derive(Clone)]
pub struct Simulator {
    inner: Arc<Inner>,
}

struct Inner {
    /// What the console of the application says: its number, the account, perhaps its key.
    settings: Settings,
    /// Scheme, host and port that the pages are reached at.
    base: String,
    folder: PathBuf,
    keys: OnceCell<SimulatedKeys>,
    book: Mutex<Book>,
    clock: Clock,
    faults: Faults,
    http: Http,
}

impl Simulator {
    /// Takes up the book in `folder`, or begins one. `base` is where the routes are reached, without a path.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`] when the book cannot be read or kept.
    pub fn open(
        settings: Settings,
        base: &str,
        folder: &Path,
        clock: Clock,
        faults: Faults,
        http: Http,
    ) -> Result<Self, WalkpayError> {
        let unusable = |e: String| WalkpayError::Internal { detail: format!("{}: {e}", folder.display()) };
        fs::create_dir_all(folder).map_err(|e| unusable(e.to_string()))?;
        let book = match fs::read(folder.join("book.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| unusable(e.to_string()))?,
            Err(e) if e.kind() == ErrorKind::NotFound => Book::default(),
            Err(e) => return Err(unusable(e.to_string())),
        };
        let inner = Inner {
            settings,
            base: base.to_owned(),
            folder: folder.to_owned(),
            keys: OnceCell::new(),
            book: Mutex::new(book),
            clock,
            faults,
            http,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A trade as Alipay has it.
    pub fn trade(&self, out_trade_no: &str) -> Option<Trade> {
        self.lock().trade(out_trade_no).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.inner.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the book, and keeps it before anybody is answered.
    fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> Result<T, WalkpayError> {
        let mut book = self.lock();
        let result = change(&mut book);
        let failed = |e: String| WalkpayError::Internal { detail: format!("the simulated Alipay's book: {e}") };
        let bytes = serde_json::to_vec(&*book).map_err(|e| failed(e.to_string()))?;
        let (file, beside) = (self.inner.folder.join("book.json"), self.inner.folder.join("book.new"));
        fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, file)).map_err(|e| failed(e.to_string()))?;
        Ok(result)
    }

    async fn own_keys(&self) -> Result<&SimulatedKeys, WalkpayError> {
        let inner = &self.inner;
        let made = || SimulatedKeys::open(inner.folder.clone(), inner.settings.app_key_file.clone());
        inner.keys.get_or_try_init(made).await
    }

    /// Sends one notification; whether the merchant has taken it.
    async fn send(&self, message: Message) -> bool {
        let Ok(keys) = self.own_keys().await else { return false };
        let key = if message.forged { &keys.app } else { &keys.alipay };
        let Ok(params) = signing::sign_notification(key, message.params) else { return false };
        let request = self.inner.http.client().post(&message.url);
        let request = request
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .body(signing::form(&params));
        match self.inner.http.send(request).await {
            Ok(received) => received.status == StatusCode::OK && received.body.trim_ascii() == b"success",
            Err(_) => false,
        }
    }
}

impl KeySource for Simulator {
    fn keys(&self) -> Pin<Box<dyn Future<Output = Result<Keys, WalkpayError>> + Send + '_>> {
        Box::pin(async {
            let keys = self.own_keys().await?;
            Ok(Keys { app: keys.app.clone(), alipay: keys.alipay.public().clone() })
        })
    }
}

impl Gateway for Simulator {
    fn routes(&self) -> Router {
        gateway::routes(self.clone())
    }

    fn deliver(&self) -> Work<'_> {
        Box::pin(async {
            let now = self.inner.clock.now();
            if self.lock().next_notification().is_none_or(|due| due > now) {
                return;
            }
            let due = self.lock().notifications(now);
            for (number, message) in due {
                let taken = self.send(message).await;
                let now = self.inner.clock.now();
                if let Err(e) = self.change(|book| book.notified(now, number, taken)) {
                    tracing::warn!(error = %e, "the simulated Alipay cannot keep its book");
                }
            }
        })
    }
}
