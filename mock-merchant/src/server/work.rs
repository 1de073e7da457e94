//! Drives the worker's steps: what is due is taken in one transaction, the bank is called outside of any, its answer is settled
//! in another one. Ending at any moment loses nothing: what may have left is asked about at the next start.

use super::stopped;
use crate::api::App;
use crate::bank::BankClient;
use crate::bank::book::MAX_STATEMENT;
use crate::bank::faults::operation_name;
use crate::bank::port::{BankOutcome, BankQueryAnswer, NoAnswer};
use crate::channel;
use crate::domain::Ctx;
use crate::failure::Failure;
use crate::store::Tx;
use crate::worker::channels::{self, ChannelJob};
use crate::worker::{self, Ask, BankAnswer, OutsideCall};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// The longest sleep: nothing is due earlier, but a look does not hurt.
const LONGEST: Duration = Duration::from_secs(30);
/// The pause after a fault of the store.
const PAUSE: Duration = Duration::from_secs(1);

/// Works until the server stops; then settles the calls that have begun. If it ends otherwise, the server is not healthy.
pub fn supervise(app: Arc<App>, bank: BankClient, workers: usize) -> JoinHandle<()> {
    tokio::spawn(async move {
        let ended = tokio::spawn(run(app.clone(), bank, workers)).await;
        if let Err(e) = ended {
            tracing::error!(error = %e, "the worker has ended");
            app.healthy.store(false, Ordering::SeqCst);
        }
    })
}

async fn run(app: Arc<App>, bank: BankClient, workers: usize) {
    let mut stopping = app.stopping.clone();
    let room = Arc::new(Semaphore::new(workers.clamp(1, 256)));
    let mut calls = JoinSet::new();
    while !*stopping.borrow() {
        while calls.try_join_next().is_some() {}
        let permit = tokio::select! {
            permit = room.clone().acquire_owned() => permit,
            () = stopped(&mut stopping) => break,
        };
        let errand = app.under_way.begin().await;
        let taken = take(&app).await;
        match &taken {
            Ok(_) => app.faults.store(0, Ordering::SeqCst),
            Err(_) => _ = app.faults.fetch_add(1, Ordering::SeqCst),
        }
        match taken {
            Ok(Some(call)) => {
                let (app, bank) = (app.clone(), bank.clone());
                calls.spawn(async move {
                    match call {
                        Outside::Bank(call) => carry_out(&app, &bank, call).await,
                        Outside::Channel(job) => ask_channel(&app, job).await,
                    }
                    drop((permit, errand));
                    app.kick.notify_one();
                });
            }
            Ok(None) => {
                drop((permit, errand));
                let pause = until_due(&app).await;
                tokio::select! {
                    () = app.kick.notified() => {}
                    () = sleep(pause) => {}
                    () = stopped(&mut stopping) => break,
                }
            }
            Err(e) => {
                drop((permit, errand));
                tracing::warn!(error = %e, "the worker cannot go on for the moment");
                tokio::select! {
                    () = sleep(PAUSE) => {}
                    () = stopped(&mut stopping) => break,
                }
            }
        }
    }
    while calls.join_next().await.is_some() {}
}

/// What is to be asked outside.
enum Outside {
    Bank(OutsideCall),
    Channel(ChannelJob),
}

/// Does what is due inside, and takes what is to be asked of the bank or of a channel.
async fn take(app: &App) -> Result<Option<Outside>, String> {
    loop {
        let ctx = app.ctx().map_err(|e| e.detail)?;
        let step = move |tx: &Tx<'_>| match worker::internal(tx, &ctx)? {
            0 => Ok((true, take_due(tx, &ctx)?)),
            _ => Ok((false, None)),
        };
        let (idle, call) = app.writer.submit(step).await.map_err(|e| e.to_string())?;
        if idle {
            return Ok(call);
        }
        app.written();
    }
}

fn take_due(tx: &Tx<'_>, ctx: &Ctx) -> Result<Option<Outside>, Failure> {
    match worker::take_due(tx, ctx)? {
        Some(call) => Ok(Some(Outside::Bank(call))),
        None => Ok(channels::take_due(tx, ctx)?.map(Outside::Channel)),
    }
}

async fn until_due(app: &App) -> Duration {
    let Ok(ctx) = app.ctx() else { return PAUSE };
    let now = ctx.now;
    match app.read(move |tx| worker::next_due(tx, &ctx)).await {
        Ok(due) => due.since(now).clamp(Duration::from_millis(5), LONGEST),
        Err(_) => PAUSE,
    }
}

async fn carry_out(app: &App, bank: &BankClient, call: OutsideCall) {
    let OutsideCall { job, ask } = call;
    let (operation, answer) = match ask {
        Ask::Request(request) => {
            (operation_name(&request.operation), bank.call(&request).await.map(BankAnswer::Outcome))
        }
        Ask::Query { reference } => ("query", bank.query(&reference).await.map(BankAnswer::Query)),
        Ask::Statement { after } => {
            ("statement", bank.statement(after, MAX_STATEMENT).await.map(BankAnswer::Statement))
        }
    };
    app.metrics.bank_call(operation, outcome_word(&answer));
    if let Err(NoAnswer(why)) = &answer {
        tracing::warn!(operation, %why, "no answer from the bank");
    }
    let Ok(ctx) = app.ctx() else { return };
    if let Err(e) = app.writer.submit(move |tx| worker::settle(tx, &ctx, &job, answer)).await {
        tracing::error!(operation, error = %e, "the bank's answer could not be kept: it is asked for again");
    }
    app.written();
}

async fn ask_channel(app: &App, job: ChannelJob) {
    let operation = job.ask.word();
    let answer = match app.channels.get(job.method) {
        Some(channel) => channel.ask(app.clock.now(), &job.ask).await,
        None => Err(channel::port::NoAnswer("the channel is not in use".to_owned())),
    };
    app.metrics.channel_call(operation, if answer.is_ok() { "answered" } else { "no_answer" });
    if let Err(why) = &answer {
        tracing::warn!(operation, %why, "no answer from the channel");
    }
    let Ok(ctx) = app.ctx() else { return };
    if let Err(e) = app.writer.submit(move |tx| channels::settle(tx, &ctx, &job, answer)).await {
        tracing::error!(operation, error = %e, "the channel's answer could not be kept: it is asked for again");
    }
}

fn outcome_word(answer: &Result<BankAnswer, NoAnswer>) -> &'static str {
    match answer {
        Err(_) => "no_answer",
        Ok(BankAnswer::Statement(_)) => "statement",
        Ok(BankAnswer::Query(BankQueryAnswer::NeverSeen)) => "never_seen",
        Ok(
            BankAnswer::Outcome(BankOutcome::Approved { .. })
            | BankAnswer::Query(BankQueryAnswer::Known { outcome: BankOutcome::Approved { .. } }),
        ) => "approved",
        Ok(_) => "declined",
    }
}
