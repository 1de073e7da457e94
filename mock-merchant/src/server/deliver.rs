//! Drives an outbox: what is due is taken in one transaction, sent outside of any, settled in another one. Webhooks and notices
//! to payers leave in this way.

use super::stopped;
use crate::api::App;
use crate::domain::Ctx;
use crate::failure::Failure;
use crate::store::Tx;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use walkpay::Timestamp;

/// The longest sleep: a command line may have written a message.
const LONGEST: Duration = Duration::from_secs(1);
/// The shortest one.
const SHORTEST: Duration = Duration::from_millis(5);

/// Messages that leave in the order in which they are due.
pub(super) trait Outbox: Clone + Send + Sync + 'static {
    /// A message, outside of any transaction.
    type Message: Send + 'static;
    /// What logs call them.
    const WHAT: &'static str;

    /// Messages on their way at one time.
    fn lines(&self) -> usize;
    /// What tells that there may be something to do.
    fn woken<'a>(&self, app: &'a App) -> &'a Notify;
    /// When the next message is due.
    fn next_due(&self, tx: &Tx<'_>) -> Result<Option<Timestamp>, Failure>;
    /// Takes the message that is due longest.
    fn take_due(&self, tx: &Tx<'_>, ctx: &Ctx) -> Result<Option<Self::Message>, Failure>;
    /// Sends a message and settles what came of it.
    fn carry_out(&self, app: &App, message: Self::Message) -> impl Future<Output = ()> + Send;
}

/// Sends until the server stops; then settles what has begun. If it ends otherwise, the server is not healthy.
pub(super) fn supervise<O: Outbox>(app: Arc<App>, outbox: O) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(e) = tokio::spawn(run(app.clone(), outbox)).await {
            tracing::error!(error = %e, what = O::WHAT, "the delivery has ended");
            app.healthy.store(false, Ordering::SeqCst);
        }
    })
}

async fn run<O: Outbox>(app: Arc<App>, outbox: O) {
    let mut stopping = app.stopping.clone();
    let room = Arc::new(Semaphore::new(outbox.lines().clamp(1, 256)));
    let mut calls = JoinSet::new();
    while !*stopping.borrow() {
        while calls.try_join_next().is_some() {}
        let permit = tokio::select! {
            permit = room.clone().acquire_owned() => permit,
            () = stopped(&mut stopping) => break,
        };
        let errand = app.under_way.begin().await;
        let pause = match take(&app, &outbox).await {
            Next::Send(message) => {
                let (app, outbox) = (app.clone(), outbox.clone());
                calls.spawn(async move {
                    outbox.carry_out(&app, message).await;
                    drop((permit, errand));
                    outbox.woken(&app).notify_one();
                });
                continue;
            }
            Next::Rest(pause) => pause,
        };
        drop((permit, errand));
        tokio::select! {
            () = outbox.woken(&app).notified() => {}
            () = sleep(pause) => {}
            () = stopped(&mut stopping) => break,
        }
    }
    while calls.join_next().await.is_some() {}
}

/// What to do next.
enum Next<M> {
    /// This message is due, and taken.
    Send(M),
    /// Nothing is due before that long.
    Rest(Duration),
}

/// Asks the writer only when a reader sees something due.
async fn take<O: Outbox>(app: &App, outbox: &O) -> Next<O::Message> {
    let asking = outbox.clone();
    match app.read(move |tx| asking.next_due(tx)).await {
        Ok(Some(due)) => {
            let pause = due.since(app.clock.now());
            if !pause.is_zero() {
                return Next::Rest(pause.clamp(SHORTEST, LONGEST));
            }
        }
        Ok(None) | Err(_) => return Next::Rest(LONGEST),
    }
    let Ok(ctx) = app.ctx() else { return Next::Rest(LONGEST) };
    let taking = outbox.clone();
    match app.writer.submit(move |tx| taking.take_due(tx, &ctx)).await {
        Ok(Some(message)) => Next::Send(message),
        Ok(None) => Next::Rest(SHORTEST),
        Err(e) => {
            tracing::warn!(error = %e, what = O::WHAT, "the delivery cannot go on for the moment");
            Next::Rest(LONGEST)
        }
    }
}
