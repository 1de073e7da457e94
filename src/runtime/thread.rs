//! The thread of a terminal, and the handle by which others talk to it.

use super::pool;
use super::worker::Worker;
use crate::adapter::clock;
use crate::adapter::http::{HttpClient, HttpConfig};
use crate::adapter::journal::Journal;
use crate::adapter::keys::{KeyRing, KeyVault, find_wrapping_key};
use crate::adapter::sqlite::Durability;
use crate::error::WalkpayError;
use crate::protocol::crypto::reading_keys;
use crate::session::{HttpAnswer, JournalEvent, Session};
use std::hint::spin_loop;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Mutex, MutexGuard, oneshot};

/// The longest that anybody waits in one call.
const MAX_WAIT: Duration = Duration::from_secs(3600);
/// The most calls that wait at once.
const MAX_WAITERS: usize = 1_000;
/// How long an answer is looked out for where the call was made before its future rests. A commit that takes longer than this is never
/// waited for by whoever polls: that may be the thread of a user interface.
const ON_THE_SPOT: Duration = Duration::from_micros(250);
/// How long the terminal's thread looks out for the next message before it turns to what is due, and sleeps.
const LINGER: Duration = Duration::from_micros(250);
/// However many messages come, what is due is turned to this often.
const MAX_BUSY: Duration = Duration::from_millis(5);

pub(super) enum Message {
    Call(Box<dyn FnOnce(&mut Worker) + Send>),
    Answer {
        answer: HttpAnswer,
        flight: u64,
    },
    Stop(oneshot::Sender<()>),
    /// Nobody holds the terminal any more.
    Over,
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
    /// With answers that come on the spot.
    luck: Arc<Luck>,
}

/// Starts the thread, which opens the folder.
///
/// # Errors
/// [`WalkpayError::Storage`], [`WalkpayError::Key`] when the vault fails, [`WalkpayError::InvalidInput`] for the configuration.
pub(crate) async fn open(setup: Setup) -> Result<Handle, WalkpayError> {
    let vault = setup.vault.clone();
    let (sender, inbox) = channel();
    let sender = Arc::new(sender);
    let back = Arc::downgrade(&sender);
    let (reply, opened) = oneshot::channel();
    let live = move || match load(setup, back) {
        Ok(worker) => {
            // Whoever asked may have gone away: then there is no sender any more, and the thread ends.
            let _ = reply.send(Ok(()));
            run(worker, &inbox);
        }
        Err(error) => drop(reply.send(Err(error))),
    };
    std::thread::Builder::new()
        .name("walkpay-terminal".into())
        .spawn(live)
        .map_err(|e| WalkpayError::Internal { detail: format!("no thread for the terminal: {e}") })?;
    opened.await.map_err(|_| WalkpayError::Internal { detail: "opening broke off".into() })??;
    Ok(Handle { sender, vault, making_keys: Arc::default(), luck: Arc::default() })
}

fn load(setup: Setup, back: Weak<Sender<Message>>) -> Result<Worker, WalkpayError> {
    pool()?;
    let boot = clock::boot()?;
    let http = HttpClient::new(&setup.http)?;
    let journal = Journal::open(&setup.folder, setup.durability)?;
    let mut session = Session::default();
    reading_keys(|| {
        journal.load(|json| {
            session.apply(&JournalEvent::parse(json)?);
            Ok(())
        })
    })?;
    let stored = journal.keys()?;
    let wrapping = if stored.is_empty() { None } else { find_wrapping_key(setup.vault.as_ref(), journal.folder_id())? };
    let keys = KeyRing::unseal(wrapping.as_ref(), &stored);
    let likely = session.current().ok().and_then(|device| device.likely_store()).cloned();
    let mut worker =
        Worker::new(session, journal, keys, http, boot, setup.folder, setup.durability, setup.merchant_url, back);
    if let Some(store) = likely {
        worker.shelves().open_ahead(&store);
    }
    Ok(worker)
}

fn run(mut worker: Worker, inbox: &Receiver<Message>) {
    let (mut settled, luck) = (Instant::now(), Luck::default());
    loop {
        // Who has called is answered before anything is sent: the next call often follows at once.
        let look = || inbox.try_recv().ok();
        let mut next = if settled.elapsed() < MAX_BUSY { look_out(&luck, LINGER, look) } else { None };
        if next.is_none() {
            worker.settle();
            settled = Instant::now();
            next = match worker.wakes_in() {
                None => Some(inbox.recv().unwrap_or(Message::Over)),
                Some(wait) => match inbox.recv_timeout(wait) {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => Some(Message::Over),
                },
            };
        }
        match next {
            Some(Message::Call(call)) => call(&mut worker),
            Some(Message::Answer { answer, flight }) => worker.on_answer(answer, flight),
            Some(Message::Stop(done)) => {
                worker.close();
                let _ = done.send(());
                return;
            }
            Some(Message::Over) => return,
            None => continue,
        }
        worker.ask_waiters();
    }
}

/// Looks again and again for a short while: cheaper than being woken up for what comes soon, as long as it does come soon.
fn look_out<T>(luck: &Luck, at_most: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let worth_it = luck.is_worth_trying();
    let start = Instant::now();
    loop {
        for _ in 0..16 {
            if let Some(found) = look() {
                luck.won();
                return Some(found);
            }
            spin_loop();
        }
        if !worth_it || start.elapsed() >= at_most {
            luck.lost();
            return None;
        }
    }
}

/// Whether looking out has been worth it lately: how often in a row it was not. It is not when people scan, who are slow; behind a slow
/// disk; and where processors are scarce, since what is looked out for may need the very one that this takes.
#[derive(Default)]
struct Luck(AtomicU32);

impl Luck {
    /// So often in a row before it is given up.
    const PATIENCE: u32 = 4;
    /// After so many more it is tried once again.
    const AGAIN: u32 = 64;

    fn is_worth_trying(&self) -> bool {
        static ALONE: LazyLock<bool> =
            LazyLock::new(|| std::thread::available_parallelism().is_ok_and(|n| n.get() == 1));
        let vain = self.0.load(Ordering::Relaxed);
        !*ALONE && (vain < Self::PATIENCE || vain.is_multiple_of(Self::AGAIN))
    }

    fn won(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn lost(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
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
        self.call_and(work, || {}).await
    }

    /// As [`Handle::call`]; `meanwhile` is called again and again while the answer is looked out for.
    async fn call_and<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Worker) -> Result<T, WalkpayError> + Send + 'static,
        mut meanwhile: impl FnMut(),
    ) -> Result<T, WalkpayError> {
        let (reply, mut answer) = oneshot::channel();
        let call = Box::new(move |worker: &mut Worker| drop(reply.send(work(worker))));
        self.sender.send(Message::Call(call)).map_err(|_| WalkpayError::ShutDown)?;
        let soon = || {
            meanwhile();
            match answer.try_recv() {
                Ok(answer) => Some(Ok(answer)),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Closed) => Some(Err(WalkpayError::ShutDown)),
            }
        };
        match look_out(&self.luck, ON_THE_SPOT, soon) {
            Some(answer) => answer?,
            None => answer.await.map_err(|_| WalkpayError::ShutDown)?,
        }
    }

    /// As [`Handle::call`], for work whose answer is known before it is done: what `work` sends ahead is finished here, by the thread that
    /// polls, while the terminal's thread goes on. Nothing of it is answered unless `work` succeeds.
    ///
    /// # Errors
    /// Those of `work` and `finish`, [`WalkpayError::ShutDown`].
    pub(crate) async fn call_ahead<A: Send + 'static, F, T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Worker, oneshot::Sender<A>) -> Result<T, WalkpayError> + Send + 'static,
        finish: impl Fn(A) -> Result<F, WalkpayError>,
    ) -> Result<(T, F), WalkpayError> {
        let (ahead, mut early) = oneshot::channel();
        let mut finished = None;
        let mut look_early = || {
            if finished.is_none()
                && let Ok(early) = early.try_recv()
            {
                finished = Some(finish(early));
            }
        };
        let done = self.call_and(move |worker| work(worker, ahead), &mut look_early).await?;
        look_early();
        let finished = finished.ok_or_else(|| WalkpayError::Internal { detail: "nothing was sent ahead".into() })?;
        Ok((done, finished?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_out_is_given_up_when_nothing_comes_and_tried_again_now_and_then() {
        let luck = Luck::default();
        let vain =
            |times: u32| (0..times).for_each(|_| assert!(look_out(&luck, Duration::ZERO, || None::<()>).is_none()));
        let many = std::thread::available_parallelism().is_ok_and(|n| n.get() > 1);
        vain(Luck::PATIENCE - 1);
        assert_eq!(luck.is_worth_trying(), many);
        vain(1);
        assert!(!luck.is_worth_trying());
        vain(Luck::AGAIN - Luck::PATIENCE);
        assert_eq!(luck.is_worth_trying(), many, "once in a while");
        vain(1);
        assert!(!luck.is_worth_trying());
        assert_eq!(look_out(&luck, Duration::ZERO, || Some(7)), Some(7), "what is there already is always found");
        assert_eq!(luck.is_worth_trying(), many);
    }
}
