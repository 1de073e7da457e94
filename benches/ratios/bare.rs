//! The least that takes a signed basket in durably: an axum handler that verifies two signatures, and one thread that
//! commits what waits together, one row each.

use crate::device::{Use, seed};
use crate::measure::Outcome;
use crate::process::wait_for_the_end;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::put;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use ring::digest::{SHA256, digest};
use rusqlite::Connection;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// What waits for the commit, and who waits.
type Waiting = (Bytes, oneshot::Sender<()>);

struct Bare {
    keys: Vec<[VerifyingKey; 2]>,
    rows: Sender<Waiting>,
}

#[derive(Deserialize)]
struct Body<'a> {
    basket: &'a str,
}

/// Serves until the standard input ends.
pub async fn serve(data: &Path, devices: u8) -> Outcome<()> {
    let db = Connection::open(data.join("bare.sqlite"))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.execute_batch("CREATE TABLE basket (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")?;
    let (rows, waiting) = channel();
    std::thread::spawn(move || commit_together(&db, &waiting));
    let key = |usage, n| SigningKey::from_bytes(&seed(usage, n)).verifying_key();
    let keys = (0..devices).map(|n| [key(Use::Request, n), key(Use::Consent, n)]).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    let router = Router::new().route("/basket", put(take)).with_state(Arc::new(Bare { keys, rows }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    tokio::task::spawn_blocking(wait_for_the_end).await?
}

async fn take(State(bare): State<Arc<Bare>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if verified(&bare, &headers, &body).is_none() {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    let (done, committed) = oneshot::channel();
    if bare.rows.send((body, done)).is_err() || committed.await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    StatusCode::CREATED
}

/// The signature over the digest of the body, and that of the basket in it.
fn verified(bare: &Bare, headers: &HeaderMap, body: &[u8]) -> Option<()> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let [request, consent] = bare.keys.get(text("x-device")?.parse::<usize>().ok()?)?;
    request.verify_strict(digest(&SHA256, body).as_ref(), &signature(text("x-signature")?)?).ok()?;
    let Body { basket } = serde_json::from_slice(body).ok()?;
    let (message, of_basket) = basket.rsplit_once('.')?;
    consent.verify_strict(message.as_bytes(), &signature(of_basket)?).ok()
}

fn signature(text: &str) -> Option<Signature> {
    Signature::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// An error ends the thread, and every answer is 503 from then on.
fn commit_together(db: &Connection, waiting: &Receiver<Waiting>) -> rusqlite::Result<()> {
    let mut insert = db.prepare("INSERT INTO basket (body) VALUES (?1)")?;
    while let Ok(first) = waiting.recv() {
        db.execute_batch("BEGIN IMMEDIATE")?;
        let mut committed = Vec::new();
        for (body, done) in std::iter::once(first).chain(waiting.try_iter().take(255)) {
            insert.execute([body.as_ref()])?;
            committed.push(done);
        }
        db.execute_batch("COMMIT")?;
        for done in committed {
            // Whoever asked may have gone away.
            let _ = done.send(());
        }
    }
    Ok(())
}
