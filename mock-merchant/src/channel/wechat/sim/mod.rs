//! The simulated gateway of WeChat Pay, below `/sim/tenpay`: requests, signatures, errors, certificates and notifications in the
//! platform's own format, from a book and with keys that the merchant's store has nothing of. It moves no money.

mod book;
mod cashier;
mod faults;
mod issuer;
pub mod keys;
mod routes;
mod teller;

pub use book::{Book, Order, OrderState, PAUSES};
pub use faults::{Armed, Fault, Faults};
pub use issuer::{Issued, authority, expired, issue};

use super::cipher::ApiV3Key;
use super::client::Access;
use super::signature::Seal;
use super::{PlatformKey, Settings};
use crate::channel::gateways::{Gateway, Work};
use crate::channel::http::Http;
use crate::channel::rsa_key::{RsaKey, RsaPublic};
use crate::clock::Clock;
use crate::random;
use axum::Router;
use keys::{MERCHANT, MERCHANT_SERIAL, PLATFORM, PUBLIC_KEY_ID, STRANGER};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use walkpay::{Timestamp, WalkpayError};

/// Where its routes are.
pub const PREFIX: &str = "/sim/tenpay";

/// The simulated gateway; cheap to clone.
#[derive(Clone)]
pub struct TenpayGateway(Arc<Inner>);

struct Inner {
    book: Mutex<Book>,
    file: Option<PathBuf>,
    faults: Faults,
    clock: Clock,
    http: Http,
    appid: String,
    mchid: String,
    api_key: ApiV3Key,
    merchant: RsaPublic,
    platform: Vec<RsaKey>,
    stranger: RsaKey,
}

impl TenpayGateway {
    /// Takes up the book in `file`, or begins one. It knows the merchant of these settings, and notifies through `http`.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`] when the file cannot be read or written.
    pub fn open(
        file: &Path,
        settings: &Settings,
        clock: Clock,
        faults: Faults,
        http: Http,
    ) -> Result<Self, WalkpayError> {
        let unreadable = |e: String| WalkpayError::Internal { detail: format!("{}: {e}", file.display()) };
        let book = match fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Book::new(clock.now(), fresh()?)?,
            Err(e) => return Err(unreadable(e.to_string())),
        };
        let gateway = Self::with(book, Some(file.to_owned()), settings, clock, faults, http)?;
        gateway.keep(&gateway.lock()).map_err(unreadable)?;
        Ok(gateway)
    }

    /// One that keeps nothing.
    ///
    /// # Errors
    /// [`WalkpayError`] when the published keys cannot be used.
    pub fn in_memory(settings: &Settings, api_key: &str, clock: Clock, http: Http) -> Result<Self, WalkpayError> {
        let book = Book::new(clock.now(), api_key.to_owned())?;
        Self::with(book, None, settings, clock, Faults::default(), http)
    }

    /// Another one in memory with the same keys and a book like this one's: for another world, or after a crash in this one.
    pub fn another(&self, clock: Clock, http: Http) -> Self {
        let inner = &self.0;
        Self(Arc::new(Inner {
            book: Mutex::new(self.lock().reopened()),
            file: None,
            faults: Faults::default(),
            clock,
            http,
            appid: inner.appid.clone(),
            mchid: inner.mchid.clone(),
            api_key: inner.api_key.clone(),
            merchant: inner.merchant.clone(),
            platform: inner.platform.clone(),
            stranger: inner.stranger.clone(),
        }))
    }

    fn with(
        book: Book,
        file: Option<PathBuf>,
        settings: &Settings,
        clock: Clock,
        faults: Faults,
        http: Http,
    ) -> Result<Self, WalkpayError> {
        Ok(Self(Arc::new(Inner {
            api_key: ApiV3Key::parse(&book.api_key)?,
            book: Mutex::new(book),
            file,
            faults,
            clock,
            http,
            appid: settings.appid.clone(),
            mchid: settings.mchid.clone(),
            merchant: RsaKey::parse(MERCHANT)?.public().clone(),
            platform: PLATFORM.iter().map(|pem| RsaKey::parse(pem)).collect::<Result<_, _>>()?,
            stranger: RsaKey::parse(STRANGER)?,
        })))
    }

    /// What the merchant that it knows signs with. Only certificates of the simulated authority are to be taken.
    ///
    /// # Errors
    /// [`WalkpayError`] when the published keys cannot be used.
    pub fn access(&self) -> Result<Access, WalkpayError> {
        Ok(Access {
            serial: MERCHANT_SERIAL.to_owned(),
            key: RsaKey::parse(MERCHANT)?,
            api_key: self.0.api_key.clone(),
            public_key: None,
            authority: Some(authority()?),
        })
    }

    /// The platform's public key under its name, for merchants without certificates.
    ///
    /// # Errors
    /// [`WalkpayError`] when the published keys cannot be used.
    pub fn public_key(&self) -> Result<PlatformKey, WalkpayError> {
        let key = self.0.platform.first().ok_or_else(no_key)?;
        Ok(PlatformKey::named(PUBLIC_KEY_ID, key.public().clone()))
    }

    /// The armed faults.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// An order by the merchant's number.
    pub fn order(&self, number: &str) -> Option<Order> {
        self.lock().order(number).cloned()
    }

    /// All orders.
    pub fn orders(&self) -> Vec<Order> {
        self.lock().orders().cloned().collect()
    }

    /// The payer confirms an order by what its code says; the faults of payments and notifications that are armed strike.
    ///
    /// # Errors
    /// A stable word: `order_unknown`, `order_paid`, `order_closed`, `order_expired`, `payment_failed`, `unavailable`.
    pub fn pay(&self, code: &str) -> Result<(), &'static str> {
        let now = self.0.clock.now();
        let mut book = self.lock();
        let fails = faults::strike(&self.0.faults, "pay") == Some(Fault::PaymentFails);
        let paid = book.pay(now, code, cashier::OPENID, fails, || self.0.faults.strike("notify", faults::NOTIFY));
        self.keep(&book).map_err(|_| "unavailable")?;
        paid
    }

    /// Notifies once more of an order as it stands, as the console can.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`] when the book cannot be kept.
    pub fn notify_again(&self, number: &str) -> Result<(), WalkpayError> {
        let mut book = self.lock();
        book.notify_again(self.0.clock.now(), number);
        self.keep(&book).map_err(|detail| WalkpayError::Internal { detail })
    }

    /// Issues the next certificate, which signs from now on.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`].
    pub fn rotate(&self) -> Result<Issued, WalkpayError> {
        let mut book = self.lock();
        let issued = book.rotate(self.0.clock.now())?;
        self.keep(&book).map_err(|detail| WalkpayError::Internal { detail })?;
        Ok(issued)
    }

    /// Signs a body with the newest certificate, or the key that is asked for by name.
    fn seal(&self, book: &mut Book, now: Timestamp, body: &[u8], named: bool) -> Result<Seal, WalkpayError> {
        if named {
            let key = self.0.platform.first().ok_or_else(no_key)?;
            return Seal::make(key, PUBLIC_KEY_ID, now, &fresh()?, body);
        }
        let certificate = book.signing(now)?;
        let key = self.0.platform.get(certificate.key).ok_or_else(no_key)?;
        Seal::make(key, &certificate.serial, now, &fresh()?, body)
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the book before anybody is answered.
    fn keep(&self, book: &Book) -> Result<(), String> {
        let Some(file) = &self.0.file else { return Ok(()) };
        let bytes = serde_json::to_vec(book).map_err(|e| e.to_string())?;
        let beside = file.with_extension("new");
        fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, file)).map_err(|e| e.to_string())
    }
}

impl Gateway for TenpayGateway {
    fn routes(&self) -> Router {
        routes::router(self.clone())
    }

    fn deliver(&self) -> Work<'_> {
        Box::pin(self.deliver_due())
    }
}

/// 32 characters that nobody can guess.
fn fresh() -> Result<String, WalkpayError> {
    let bytes: [u8; 16] = random::bytes().map_err(|e| WalkpayError::Internal { detail: e.to_string() })?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

fn no_key() -> WalkpayError {
    WalkpayError::Internal { detail: "the simulated gateway has no such key".to_owned() }
}
