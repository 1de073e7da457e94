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
    /// Where book and keys are kept, if they are.
    folder: Option<PathBuf>,
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
            folder: Some(folder.to_owned()),
            keys: OnceCell::new(),
            book: Mutex::new(book),
            clock,
            faults,
            http,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// One that keeps nothing, with the keys of the application and of Alipay (PEM).
    ///
    /// # Errors
    /// [`WalkpayError::Key`].
    pub fn in_memory(
        settings: Settings,
        base: &str,
        (app, alipay): (&str, &str),
        clock: Clock,
        http: Http,
    ) -> Result<Self, WalkpayError> {
        let keys = OnceCell::new_with(Some(SimulatedKeys::parse(app, alipay)?));
        let (book, faults) = (Mutex::default(), Faults::default());
        let base = base.to_owned();
        Ok(Self { inner: Arc::new(Inner { settings, base, folder: None, keys, book, clock, faults, http }) })
    }

    /// Another one in memory with the same keys and a book like this one's: for another world, or after a crash in this one.
    pub fn another(&self, clock: Clock, http: Http) -> Self {
        let inner = Inner {
            settings: self.inner.settings.clone(),
            base: self.inner.base.clone(),
            folder: None,
            keys: OnceCell::new_with(self.inner.keys.get().cloned()),
            book: Mutex::new(self.lock().reopened()),
            clock,
            faults: Faults::default(),
            http,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The armed faults.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// A trade as Alipay has it.
    pub fn trade(&self, out_trade_no: &str) -> Option<Trade> {
        self.lock().trade(out_trade_no).cloned()
    }

    /// All trades, by the merchant's numbers.
    pub fn trades(&self) -> Vec<Trade> {
        self.lock().trades().cloned().collect()
    }

    /// Notifies once more of a trade as it stands, as the console can.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`] when the book cannot be kept.
    pub fn notify_again(&self, out_trade_no: &str) -> Result<(), WalkpayError> {
        let now = self.inner.clock.now();
        self.change(|book| book.notify_again(now, &self.inner.settings, out_trade_no))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.inner.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the book, and keeps it before anybody is answered.
    fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> Result<T, WalkpayError> {
        let mut book = self.lock();
        let result = change(&mut book);
        let Some(folder) = &self.inner.folder else { return Ok(result) };
        let failed = |e: String| WalkpayError::Internal { detail: format!("the simulated Alipay's book: {e}") };
        let bytes = serde_json::to_vec(&*book).map_err(|e| failed(e.to_string()))?;
        let (file, beside) = (folder.join("book.json"), folder.join("book.new"));
        fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, file)).map_err(|e| failed(e.to_string()))?;
        Ok(result)
    }

    async fn own_keys(&self) -> Result<&SimulatedKeys, WalkpayError> {
        let inner = &self.inner;
        let made = async || {
            let nowhere = || WalkpayError::Key { detail: "a simulation in memory without keys".to_owned() };
            let folder = inner.folder.clone().ok_or_else(nowhere)?;
            SimulatedKeys::open(folder, inner.settings.app_key_file.clone()).await
        };
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
