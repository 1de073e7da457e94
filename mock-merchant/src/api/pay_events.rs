//! Live updates of the payer's page: server-sent events (HTML, "Server-sent events"). `notice` says what happened to which order,
//! under the notice's number as identifier; `orders` carries the section of the page as it now is.

use super::App;
use super::pay::{is_token, page_headers};
use super::problem::Refusal;
use crate::domain::notices;
use crate::notify::text::page;
use crate::server::stopped;
use crate::store::contacts::Language;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use serde_json::json;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep, timeout};
use walkpay::ServiceNumber;

/// How often a comment is sent when nothing happens: it shows each side that the other one is there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a stream is not looked at again after an event.
const REST: Duration = Duration::from_millis(250);
/// How long a stream lives; a browser comes back by itself, and its link may have expired then.
const LIFE: Duration = Duration::from_secs(3600);
/// How long a reader may take for what was sent.
const SLOW: Duration = Duration::from_secs(30);
/// Streams at one time.
pub(super) const STREAMS: usize = 512;
/// Streams of one payer at one time.
const STREAMS_EACH: u32 = 4;

/// The stream of a token's page from the notice numbered `last` on; `None` if the token opens nothing.
pub(super) async fn follow(
    app: Arc<App>,
    token: String,
    chosen: Option<ServiceNumber>,
    language: Option<Language>,
    last: Option<i64>,
) -> Result<Option<Response>, Refusal> {
    if !is_token(&token) {
        return Ok(None);
    }
    let (ctx, given) = (app.ctx()?, token.clone());
    let Some(user) = app.read(move |tx| notices::page_of(tx, &ctx, &given)).await? else { return Ok(None) };
    let busy = || Refusal::unavailable("Too many pages are being followed: load the page again instead.");
    let place = app.followers.enter(user, STREAMS_EACH).ok_or_else(busy)?;
    let room = app.streams.clone().try_acquire_owned().map_err(|_| busy())?;
    let (send, events) = channel(4);
    tokio::spawn(async move {
        let mut stream = Stream { app, token, chosen, language, user, last, shown: String::new(), send };
        stream.run().await;
        drop((place, room));
    });
    Ok(Some((page_headers("text/event-stream"), Body::new(Events(events))).into_response()))
}

struct Stream {
    app: Arc<App>,
    token: String,
    chosen: Option<ServiceNumber>,
    language: Option<Language>,
    user: i64,
    last: Option<i64>,
    /// The section as it was sent last.
    shown: String,
    send: Sender<Bytes>,
}

impl Stream {
    /// Sends what is new until the reader leaves, the server stops, or the time is over.
    async fn run(&mut self) {
        let mut changes = self.app.changes.subscribe();
        let mut stopping = self.app.stopping.clone();
        let end = Instant::now() + LIFE;
        while Instant::now() < end && !*stopping.borrow() {
            let Some(text) = self.news().await else { return };
            if !text.is_empty() && !self.pass_on(text).await {
                return;
            }
            sleep(REST).await;
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = sleep(HEARTBEAT) => if !self.pass_on(": here\n\n".to_owned()).await { return },
                () = stopped(&mut stopping) => return,
                () = self.send.closed() => return,
            }
        }
    }

    /// The events since the last look; `None` when there is nothing to follow any more.
    async fn news(&mut self) -> Option<String> {
        let ctx = self.app.ctx().ok()?;
        let (token, chosen, language) = (self.token.clone(), self.chosen, self.language);
        let (user, last) = (self.user, self.last);
        let read = self
            .app
            .read(move |tx| Ok((notices::page(tx, &ctx, &token, chosen, language)?, notices::news(tx, user, last)?)));
        let (facts, (new, last)) = read.await.ok()?;
        let facts = facts?;
        let mut text = String::new();
        for notice in &new {
            let data = json!({ "kind": notice.kind.word(), "order": notice.number, "at": notice.made_at });
            text += &format!("id: {}\nevent: notice\ndata: {data}\n\n", notice.notice);
        }
        let section = page::orders(&facts, &self.token);
        if section != self.shown {
            text += &format!("id: {last}\nevent: orders\ndata: {section}\n\n");
            self.shown = section;
        }
        self.last = Some(last);
        Some(text)
    }

    async fn pass_on(&self, text: String) -> bool {
        matches!(timeout(SLOW, self.send.send(Bytes::from(text))).await, Ok(Ok(())))
    }
}

/// The body of a stream.
struct Events(Receiver<Bytes>);

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
