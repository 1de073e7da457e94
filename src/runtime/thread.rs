//! The thread of a terminal, and the handle by which others talk to it.

use super::worker::Worker;
use super::{blocking, pool};
use crate::adapter::clock;
use crate::adapter::http::{HttpClient, HttpConfig};
use crate::adapter::journal::Journal;
use crate::adapter::keys::{KeyRing, KeyVault, find_wrapping_key};
use crate::adapter::sqlite::Durability;
use crate::error::WalkpayError;
use crate::session::{HttpAnswer, JournalEvent, Session};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard, oneshot};

/// The longest that anybody waits in one call.
const MAX_WAIT: Duration = Duration::from_secs(3600);
/// The most calls that wait at once.
const MAX_WAITERS: usize = 1_000;

pub(super) enum Message {
    Call(Box<dyn FnOnce(&mut Worker) + Send>),
    Answer { answer: HttpAnswer, flight: u64 },
    Stop(oneshot::Sender<()>),
}

/// Where a terminal lives and whom it trusts.
pub(crate) struct Setup {
    pub(crate) folder: PathBuf,
    pub(crate) http: HttpConfig,
    pub(crate) merchant_url: Option<String>,
    pub(crate) durability: Durability,
    pub(crate) vault: Arc<dyn KeyVault>,
}

/// Talks to a terminal's thread. The thread ends when the last handle is gone.
#[derive(Clone)]
pub(crate) struct Handle {
    sender: Arc<Sender<Message>>,
    vault: Arc<dyn KeyVault>,
    /// Held while keys are made, or proofs of an enrolment: two calls at once must not put two keys under one name into the vault.
    making_keys: Arc<Mutex<()>>,
}

/// Opens the folder and starts the thread.
///
/// # Errors
/// [`WalkpayError::Storage`], [`WalkpayError::Key`] when the vault fails, [`WalkpayError::InvalidInput`] for the configuration.
pub(crate) async fn open(setup: Setup) -> Result<Handle, WalkpayError> {
    blocking(move || {
        let vault = setup.vault.clone();
        let (sender, inbox) = channel();
        let sender = Arc::new(sender);
        let worker = load(setup, Arc::downgrade(&sender))?;
        std::thread::Builder::new()
            .name("walkpay-terminal".into())
            .spawn(move || run(worker, &inbox))
            .map_err(|e| WalkpayError::Internal { detail: format!("no thread for the terminal: {e}") })?;
        Ok(Handle { sender, vault, making_keys: Arc::default() })
    })
    .await
}

fn load(setup: Setup, back: Weak<Sender<Message>>) -> Result<Worker, WalkpayError> {
    pool()?;
    let boot = clock::boot()?;
    let http = HttpClient::new(&setup.http)?;
    let journal = Journal::open(&setup.folder, setup.durability)?;
    let mut session = Session::default();
    journal.load(|json| {
        session.apply(&JournalEvent::parse(json)?);
        Ok(())
    })?;
    let stored = journal.keys()?;
    let wrapping = if stored.is_empty() { None } else { find_wrapping_key(setup.vault.as_ref(), journal.folder_id())? };
    let keys = KeyRing::unseal(wrapping.as_ref(), &stored);
    Ok(Worker::new(session, journal, keys, http, boot, setup.folder, setup.durability, setup.merchant_url, back))
}

fn run(mut worker: Worker, inbox: &Receiver<Message>) {
    worker.tidy();
    loop {
        worker.settle();
        let message = match worker.wakes_in() {
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(wait) => inbox.recv_timeout(wait),
        };
        match message {
            Ok(Message::Call(call)) => call(&mut worker),
            Ok(Message::Answer { answer, flight }) => worker.on_answer(answer, flight),
            Ok(Message::Stop(done)) => {
                drop(worker);
                let _ = done.send(());
                return;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Handle {
    /// Has `work` done by the terminal's thread. It is done even when the returned future is dropped.
    ///
    /// # Errors
    /// Those of `work`, [`WalkpayError::ShutDown`].
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Worker) -> Result<T, WalkpayError> + Send + 'static,
    ) -> Result<T, WalkpayError> {
        let (reply, answer) = oneshot::channel();
        let call = Box::new(move |worker: &mut Worker| drop(reply.send(work(worker))));
        self.sender.send(Message::Call(call)).map_err(|_| WalkpayError::ShutDown)?;
        answer.await.map_err(|_| WalkpayError::ShutDown)?
    }

    /// Waits until `look` finds something, at most for `timeout` (and at most an hour); `look` is asked after every change.
    ///
    /// # Errors
    /// Those of `look`, [`WalkpayError::ShutDown`], [`WalkpayError::Limit`] for too many waiting calls.
    pub(crate) async fn wait<T: Send + 'static>(
        &self,
        timeout: Duration,
        mut look: impl FnMut(&mut Worker) -> Result<Option<T>, WalkpayError> + Send + 'static,
    ) -> Result<Option<T>, WalkpayError> {
        let (reply, answer) = oneshot::channel();
        let until = Instant::now() + timeout.min(MAX_WAIT);
        let call = move |worker: &mut Worker| {
            if worker.waiters.len() >= MAX_WAITERS {
                let _ = reply.send(Err(WalkpayError::limit("calls that wait", MAX_WAITERS as u64)));
                return;
            }
            let mut reply = Some(reply);
            let ask = move |worker: &mut Worker, over: bool| {
                if reply.as_ref().is_none_or(oneshot::Sender::is_closed) {
                    return true;
                }
                let found = look(worker);
                let done = over || !matches!(found, Ok(None));
                if done && let Some(reply) = reply.take() {
                    let _ = reply.send(found);
                }
                done
            };
            worker.waiters.push(Waiter { until, ask: Box::new(ask) });
        };
        self.sender.send(Message::Call(Box::new(call))).map_err(|_| WalkpayError::ShutDown)?;
        answer.await.map_err(|_| WalkpayError::ShutDown)?
    }

    /// Ends the thread and waits until the folder is free.
    pub(crate) async fn shut_down(&self) {
        let (done, ended) = oneshot::channel();
        if self.sender.send(Message::Stop(done)).is_ok() {
            let _ = ended.await;
        }
    }

    pub(crate) fn vault(&self) -> Arc<dyn KeyVault> {
        self.vault.clone()
    }

    /// Whoever holds this is alone in making keys.
    pub(super) async fn making_keys(&self) -> MutexGuard<'_, ()> {
        self.making_keys.lock().await
    }
}

type Ask = Box<dyn FnMut(&mut Worker, bool) -> bool + Send>;

/// A call that waits for something to become true.
pub(super) struct Waiter {
    pub(super) until: Instant,
    /// Whether it is done; told whether its time is over.
    pub(super) ask: Ask,
}

/// Hands answers back to the thread, as long as somebody holds the terminal.
#[derive(Clone)]
pub(super) struct Back(pub(super) Weak<Sender<Message>>);

impl Back {
    pub(super) fn answer(&self, answer: HttpAnswer, flight: u64) {
        if let Some(sender) = self.0.upgrade() {
            let _ = sender.send(Message::Answer { answer, flight });
        }
    }
}
