//! The simulated payment channel: it keeps a book of its own, notifies with signatures, moves no money and fails by name.

mod book;
mod faults;

pub use book::{Book, Trade, TradeState};
pub use faults::{Armed, Fault, Faults};

use super::port::*;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::jws::{Document, verify};
use walkpay::{Timestamp, WalkpayError};

/// The merchant's application at the simulated channel.
pub const APPLICATION: &str = "test-app";
/// The merchant's account at the simulated channel.
pub const SELLER: &str = "test-seller";

/// How long [`Fault::Slow`] waits.
const SLOW_BY: Duration = Duration::from_secs(2);

/// What the simulated channel notifies: a JWS by the channel's own key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestNotification {
    /// What was collected.
    pub receipt: Receipt,
    /// When, by the channel's clock.
    pub paid_at: Timestamp,
}

impl Document for TestNotification {
    const TYP: &'static str = "walkpay-test-notification.v1";
}

/// The simulated channel; cheap to clone.
#[derive(Clone)]
pub struct TestChannel {
    book: Arc<Mutex<Book>>,
    file: Option<PathBuf>,
    faults: Faults,
}

impl TestChannel {
    /// Takes up the book in `file`, or begins one whose key is made of `seed`, 32 random bytes.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`] when the file cannot be read.
    pub fn open(file: &Path, seed: [u8; 32], faults: Faults) -> Result<Self, WalkpayError> {
        let unreadable = |e: String| WalkpayError::Internal { detail: format!("{}: {e}", file.display()) };
        let book = match fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Book::new(seed),
            Err(e) => return Err(unreadable(e.to_string())),
        };
        let channel = Self { book: Arc::new(Mutex::new(book)), file: Some(file.to_owned()), faults };
        channel.keep(&channel.lock()).map_err(|e| unreadable(e.0))?;
        Ok(channel)
    }

    /// A channel in memory.
    pub fn in_memory(seed: [u8; 32], faults: Faults) -> Self {
        Self { book: Arc::new(Mutex::new(Book::new(seed))), file: None, faults }
    }

    /// Who the merchant is there.
    pub fn identity() -> Identity {
        Identity {
            method: PaymentMethod::Test,
            application: APPLICATION.to_owned(),
            seller: SELLER.to_owned(),
            names_payer: false,
        }
    }

    /// The armed faults.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Asks for something, with the faults that are armed.
    ///
    /// # Errors
    /// [`NoAnswer`], as the faults want it.
    pub async fn ask(&self, now: Timestamp, ask: &ChannelAsk) -> Result<ChannelAnswer, NoAnswer> {
        let (answer, slow) = self.ask_now(now, ask);
        if slow {
            tokio::time::sleep(SLOW_BY).await;
        }
        answer
    }

    /// [`Self::ask`] without waiting: the answer, and whether it is to come late.
    pub fn ask_now(&self, now: Timestamp, ask: &ChannelAsk) -> (Result<ChannelAnswer, NoAnswer>, bool) {
        let lost = || Err(NoAnswer("lost, as the armed fault wants it".to_owned()));
        let fault = self.faults.strike(ask.word(), faults::of(ask));
        if fault == Some(Fault::NoAnswerBefore) {
            return (lost(), false);
        }
        let mut book = self.lock();
        let answer = book.handle(now, ask, fault);
        if let Err(e) = self.keep(&book) {
            return (Err(e), false);
        }
        match fault {
            Some(Fault::NoAnswerAfter | Fault::RefundUnknown) => (lost(), false),
            fault => (Ok(answer), fault == Some(Fault::Slow)),
        }
    }

    /// The payer pays a trade; the faults of notifications that are armed strike.
    ///
    /// # Errors
    /// A stable word: `trade_unknown`, `trade_paid`, `trade_closed`.
    pub fn pay(&self, now: Timestamp, number: &str) -> Result<(), &'static str> {
        let mut book = self.lock();
        book.pay(now, number, || self.faults.strike("notify", faults::NOTIFY))?;
        self.keep(&book).map_err(|_| "unavailable")
    }

    /// The notifications that are due by `now`, each once.
    pub fn notifications(&self, now: Timestamp) -> Vec<String> {
        let mut book = self.lock();
        let due = book.notifications(now);
        if !due.is_empty()
            && let Err(e) = self.keep(&book)
        {
            tracing::warn!(error = %e, "the simulated channel cannot keep its book");
        }
        due
    }

    /// When the next notification is due.
    pub fn next_notification(&self) -> Option<Timestamp> {
        self.lock().next_notification()
    }

    /// Opens a notification.
    ///
    /// # Errors
    /// [`Forged`].
    pub fn open_notification(&self, body: &[u8]) -> Result<Receipt, Forged> {
        let text = std::str::from_utf8(body).map_err(|_| Forged("not a JWS".to_owned()))?;
        let key = self.lock().key().map_err(|e| Forged(e.to_string()))?;
        let signed = verify::<TestNotification>(text, |kid| (kid == key.kid()).then(|| key.public()));
        Ok(signed.map_err(|e| Forged(e.to_string()))?.document.receipt)
    }

    /// A trade as the channel has it.
    pub fn trade(&self, number: &str) -> Option<Trade> {
        self.lock().trade(number).cloned()
    }

    /// All trades, by their numbers.
    pub fn trades(&self) -> Vec<Trade> {
        self.lock().trades()
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the book before anybody is answered.
    fn keep(&self, book: &Book) -> Result<(), NoAnswer> {
        let Some(file) = &self.file else { return Ok(()) };
        let failed = |e: String| NoAnswer(format!("the simulated channel's book: {e}"));
        let bytes = serde_json::to_vec(book).map_err(|e| failed(e.to_string()))?;
        let beside = file.with_extension("new");
        fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, file)).map_err(|e| failed(e.to_string()))
    }
}
