//! Drives the delivery of webhooks: what is due is taken in one transaction, sent outside of any, settled in another one.

use super::callbacks::Callbacks;
use super::stopped;
use crate::api::App;
use crate::worker::deliveries::{self, MessageAnswer, OutsideMessage};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// The longest sleep: a command line may have written a message.
const LONGEST: Duration = Duration::from_secs(1);
/// The shortest one.
const SHORTEST: Duration = Duration::from_millis(5);
/// Messages on their way at one time.
const WORKERS: usize = 16;

/// Sends until the server stops; then settles what has begun. If it ends otherwise, the server is not healthy.
pub fn supervise(app: Arc<App>, callbacks: Callbacks) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(e) = tokio::spawn(run(app.clone(), callbacks)).await {
            tracing::error!(error = %e, "the delivery of webhooks has ended");
            app.healthy.store(false, Ordering::SeqCst);
        }
    })
}

async fn run(app: Arc<App>, callbacks: Callbacks) {
    let mut stopping = app.stopping.clone();
    let room = Arc::new(Semaphore::new(WORKERS));
    let mut calls = JoinSet::new();
    while !*stopping.borrow() {
        while calls.try_join_next().is_some() {}
        let permit = tokio::select! {
            permit = room.clone().acquire_owned() => permit,
            () = stopped(&mut stopping) => break,
        };
        if let Some(message) = take(&app).await {
            let (app, callbacks) = (app.clone(), callbacks.clone());
            calls.spawn(async move {
                carry_out(&app, &callbacks, message).await;
                drop(permit);
                app.messages.notify_one();
            });
            continue;
        }
        drop(permit);
        let pause = until_due(&app).await.max(SHORTEST);
        tokio::select! {
            () = app.messages.notified() => {}
            () = sleep(pause) => {}
            () = stopped(&mut stopping) => break,
        }
    }
    while calls.join_next().await.is_some() {}
}

/// Asks the writer only when a reader sees something due.
async fn take(app: &App) -> Option<OutsideMessage> {
    if !until_due(app).await.is_zero() {
        return None;
    }
    let ctx = app.ctx().ok()?;
    match app.writer.submit(move |tx| deliveries::take_due(tx, &ctx)).await {
        Ok(message) => message,
        Err(e) => {
            tracing::warn!(error = %e, "webhooks cannot go on for the moment");
            sleep(LONGEST).await;
            None
        }
    }
}

async fn until_due(app: &App) -> Duration {
    let now = app.clock.now();
    match app.read(deliveries::next_due).await {
        Ok(Some(due)) => due.since(now).min(LONGEST),
        Ok(None) | Err(_) => LONGEST,
    }
}

async fn carry_out(app: &App, callbacks: &Callbacks, message: OutsideMessage) {
    let (job, message_id) = (message.job, message.message_id.clone());
    let answer = callbacks.send(message).await;
    app.metrics.webhook(outcome_word(&answer));
    if !matches!(answer, MessageAnswer::Answered { status: 200..=299, .. }) {
        tracing::info!(%message_id, outcome = outcome_word(&answer), "a webhook was not taken");
    }
    let Ok(ctx) = app.ctx() else { return };
    if let Err(e) = app.writer.submit(move |tx| deliveries::settle(tx, &ctx, &job, &answer)).await {
        tracing::error!(error = %e, "what came of a webhook could not be kept: it is sent again");
    }
    app.kick.notify_one();
}

fn outcome_word(answer: &MessageAnswer) -> &'static str {
    match answer {
        MessageAnswer::Answered { status: 200..=299, .. } => "taken",
        MessageAnswer::Answered { status: 410, .. } => "gone",
        MessageAnswer::Answered { .. } => "status",
        MessageAnswer::Failed { word } => word,
    }
}
