//! The one writer: a thread that commits what waits together (group commit).

use super::later::Makers;
use super::{StoreError, Tx, events};
use crate::failure::Failure;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use walkpay::DeviceId;

/// How many requests may wait.
pub const QUEUE: usize = 4096;
/// How many requests share a transaction at most.
pub const BATCH: usize = 256;

/// Delivers an answer once it is known what became of the commit.
type Deliver = Box<dyn FnOnce(Commit) + Send>;

#[derive(Clone, Copy)]
enum Commit {
    Made,
    Failed,
    NoRoom,
}
/// Runs in a savepoint; `Err` rolls it back.
type Step = Box<dyn FnOnce(&Tx<'_>) -> Outcome + Send>;

struct Outcome {
    keep: bool,
    deliver: Deliver,
}

/// A handle on the writer thread; clone it freely. The thread ends when the last handle is gone.
#[derive(Clone)]
pub struct Writer {
    queue: SyncSender<Step>,
}

impl Writer {
    /// Starts the thread. `woken` is called after each commit with the devices that got events.
    ///
    /// # Errors
    /// [`StoreError::Files`] when the system gives no thread.
    pub fn start(
        conn: Connection,
        woken: impl FnMut(&[DeviceId]) + Send + 'static,
    ) -> Result<(Self, JoinHandle<()>), StoreError> {
        let (queue, requests) = sync_channel(QUEUE);
        let none = |cause| StoreError::Files { path: "writer thread".into(), cause };
        let makers = Makers::start().map_err(none)?;
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || run(&conn, &makers, &requests, woken))
            .map_err(none)?;
        Ok((Self { queue }, thread))
    }

    /// Runs `f` in a savepoint of the next transaction and answers after its commit. A refusal commits what `f` recorded;
    /// a fault or panic rolls back to the savepoint.
    ///
    /// # Errors
    /// What `f` returned; [`StoreError::Busy`] when the queue is full, [`StoreError::NotCommitted`] when the commit failed,
    /// [`StoreError::Defect`] after a panic.
    pub async fn submit<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let answer = self.enqueue(f)?;
        answer.await.unwrap_or_else(|_| Err(StoreError::NotCommitted.into()))
    }

    /// [`Writer::submit`] for threads that may block.
    ///
    /// # Errors
    /// As [`Writer::submit`].
    pub fn submit_blocking<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let answer = self.enqueue(f)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(StoreError::NotCommitted.into()))
    }

    fn enqueue<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T, Failure>>, StoreError> {
        let (send, receive) = oneshot::channel();
        let step: Step = Box::new(move |tx| {
            let result = catch_unwind(AssertUnwindSafe(|| f(tx)))
                .unwrap_or_else(|panic| Err(StoreError::Defect(panic_text(&*panic)).into()));
            let keep = !matches!(result, Err(Failure::Fault(_)));
            let deliver: Deliver = Box::new(move |commit| {
                let answer = match commit {
                    Commit::Failed if keep => Err(StoreError::NotCommitted.into()),
                    Commit::NoRoom if keep => Err(StoreError::NoRoom.into()),
                    _ => result,
                };
                // Whoever asked may have gone away; what was committed stays.
                let _ = send.send(answer);
            });
            Outcome { keep, deliver }
        });
        match self.queue.try_send(step) {
            Ok(()) => Ok(receive),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(StoreError::Busy),
        }
    }
}

fn run(conn: &Connection, makers: &Makers, requests: &Receiver<Step>, mut woken: impl FnMut(&[DeviceId])) {
    while let Ok(first) = requests.recv() {
        let batch = std::iter::once(first).chain(requests.try_iter().take(BATCH - 1));
        let mut deliveries = Vec::new();
        let devices = match commit_batch(conn, makers, batch, &mut deliveries) {
            Ok(devices) => {
                deliveries.into_iter().for_each(|deliver| deliver(Commit::Made));
                devices
            }
            Err(e) => {
                tracing::error!(error = %e, requests = deliveries.len(), "a batch was not committed");
                if !conn.is_autocommit()
                    && let Err(e) = conn.execute_batch("ROLLBACK")
                {
                    tracing::error!(error = %e, "rollback");
                }
                let commit = if e.is_full() { Commit::NoRoom } else { Commit::Failed };
                deliveries.into_iter().for_each(|deliver| deliver(commit));
                Vec::new()
            }
        };
        if !devices.is_empty() {
            woken(&devices);
        }
    }
}

/// One transaction. On an error every step that has run is in `deliveries`, and those that have not are dropped, which
/// tells their askers that nothing was committed.
fn commit_batch(
    conn: &Connection,
    makers: &Makers,
    batch: impl Iterator<Item = Step>,
    deliveries: &mut Vec<Deliver>,
) -> Result<Vec<DeviceId>, StoreError> {
    let mut begun = false;
    let mut told = Vec::new();
    for step in batch {
        if !begun {
            conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            begun = true;
        }
        conn.prepare_cached("SAVEPOINT request")?.execute([])?;
        let tx = Tx::with(conn, makers);
        let Outcome { keep, deliver } = step(&tx);
        deliveries.push(deliver);
        if conn.is_autocommit() {
            // SQLite ended the transaction itself (disk full, I/O error): nothing of the batch can be kept.
            return Err(StoreError::NotCommitted);
        }
        if keep {
            told.extend(tx.into_events());
        } else {
            conn.prepare_cached("ROLLBACK TO request")?.execute([])?;
        }
        conn.prepare_cached("RELEASE request")?.execute([])?;
    }
    let mut woken: Vec<DeviceId> = told.iter().map(|event| event.id).collect();
    woken.dedup();
    events::write(conn, told)?;
    if begun {
        conn.prepare_cached("COMMIT")?.execute([])?;
    }
    Ok(woken)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("without a text"))
}
