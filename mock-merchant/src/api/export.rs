//! `/query/v1/exports`: whole lists as files, written while they are read. A file that could not be completed ends in an error of
//! the connection, never like a complete one.

use super::App;
use super::problem::Refusal;
use super::query::{Asked, Asker, StopOnDrop, Words, look_up};
use crate::domain::{Filters, Question, groups};
use crate::export::{Encoder, Format, Record};
use crate::failure::Failure;
use crate::store::Tx;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use serde::Deserialize;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;
use walkpay::protocol::document::LegState;
use walkpay::protocol::query::*;

/// How many bytes travel together.
const CHUNK: usize = 64 * 1024;
/// How many chunks wait for a slow reader; then the export waits.
const WAITING: usize = 4;

/// How a file is to be written.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportOrders {
    /// `csv` (RFC 4180, with a line of names), `ndjson` or `json`.
    #[serde(default)]
    #[param(inline, default = "csv")]
    format: Format,
}

impl Words for ExportOrders {
    const WORDS: &'static [&'static str] = &["format"];
}

/// How a file of payments is to be written.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportPayments {
    /// `csv` (RFC 4180, with a line of names), `ndjson` or `json`.
    #[serde(default)]
    #[param(inline, default = "csv")]
    format: Format,
    /// What is known of them: `succeeded`, `pending`, `unknown`, `failed`.
    #[param(inline)]
    leg_state: Option<LegState>,
}

impl Words for ExportPayments {
    const WORDS: &'static [&'static str] = &["format", "leg_state"];
}

/// How a file of totals is to be written.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportTotals {
    /// `csv` (RFC 4180, with a line of names), `ndjson` or `json`.
    #[serde(default)]
    #[param(inline, default = "csv")]
    format: Format,
    /// As in `/query/v1/totals`.
    #[serde(default)]
    #[param(pattern = "^[a-z_,]*$", example = "case,method")]
    group_by: String,
}

impl Words for ExportTotals {
    const WORDS: &'static [&'static str] = &["format", "group_by"];
}

/// All orders that meet the filters, as a file. Texts that a spreadsheet would take for a formula have an apostrophe in front.
#[utoipa::path(get, path = "/query/v1/exports/orders", operation_id = "export_orders", tag = "query", params(Filters, ExportOrders),
    security(("device_signature" = []), ("source_key" = []), ("staff_token" = [])),
    responses((status = 200, description = "Written while it is read", content((String = "text/csv"), (String = "application/x-ndjson"),
        (Vec<QueriedOrder> = "application/json"))), (status = 422, description = "`invalid_value`")))]
pub async fn export_orders(
    State(app): State<Arc<App>>,
    Asked { filters, rest }: Asked<ExportOrders>,
    Asker(caller): Asker,
) -> Result<Response, Refusal> {
    let question = look_up(&app, move |tx| Question::new(tx, &caller, &filters, None)).await?;
    file(&app, "orders", rest.format, move |tx, row: &mut dyn FnMut(QueriedOrder) -> bool| question.each_order(tx, row))
}

/// All payments and refunds that meet the filters, as a file.
#[utoipa::path(get, path = "/query/v1/exports/payments", operation_id = "export_payments", tag = "query",
    params(Filters, ExportPayments), security(("device_signature" = []), ("source_key" = []), ("staff_token" = [])),
    responses((status = 200, description = "Written while it is read", content((String = "text/csv"), (String = "application/x-ndjson"),
        (Vec<QueriedPayment> = "application/json"))), (status = 422, description = "`invalid_value`")))]
pub async fn export_payments(
    State(app): State<Arc<App>>,
    Asked { filters, rest }: Asked<ExportPayments>,
    Asker(caller): Asker,
) -> Result<Response, Refusal> {
    let question = look_up(&app, move |tx| Question::new(tx, &caller, &filters, rest.leg_state)).await?;
    file(&app, "payments", rest.format, move |tx, row: &mut dyn FnMut(QueriedPayment) -> bool| {
        question.each_payment(tx, row)
    })
}

/// All groups of totals, as a file.
#[utoipa::path(get, path = "/query/v1/exports/totals", operation_id = "export_totals", tag = "query", params(Filters, ExportTotals),
    security(("device_signature" = []), ("source_key" = []), ("staff_token" = [])),
    responses((status = 200, description = "Written while it is read", content((String = "text/csv"), (String = "application/x-ndjson"),
        (Vec<TotalsGroup> = "application/json"))), (status = 422, description = "`invalid_value`")))]
pub async fn export_totals(
    State(app): State<Arc<App>>,
    Asked { filters, rest }: Asked<ExportTotals>,
    Asker(caller): Asker,
) -> Result<Response, Refusal> {
    let by = groups(&rest.group_by)?;
    let question = look_up(&app, move |tx| Question::new(tx, &caller, &filters, None)).await?;
    file(&app, "totals", rest.format, move |tx, row: &mut dyn FnMut(TotalsGroup) -> bool| {
        question.each_total(tx, &by, row)
    })
}

/// Starts writing a file on a thread of its own; the answer is its beginning.
fn file<T: Record + 'static>(
    app: &Arc<App>,
    name: &str,
    format: Format,
    each: impl FnOnce(&Tx<'_>, &mut dyn FnMut(T) -> bool) -> Result<(), Failure> + Send + 'static,
) -> Result<Response, Refusal> {
    let busy = |_| Refusal::unavailable("Too many exports are being written: try again.");
    let permit = app.exports.clone().try_acquire_owned().map_err(busy)?;
    let (send, chunks) = channel(WAITING);
    let (stop, complete) = (StopOnDrop::default(), Arc::new(AtomicBool::new(false)));
    let deadline = Instant::now() + app.limits.export_time;
    let mut outlet = Outlet {
        send,
        stopping: app.stopping.clone(),
        deadline: deadline.into(),
        runtime: Handle::current(),
        buffer: Vec::with_capacity(CHUNK + 4096),
    };
    let (app, flag, done, span) = (app.clone(), stop.0.clone(), complete.clone(), tracing::Span::current());
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let _open = app.metrics.export();
        let _span = span.enter();
        let written = app.readers.read_until(deadline, flag, |tx| {
            let mut encoder = Encoder::begin::<T>(format, &mut outlet.buffer);
            let mut going = true;
            each(tx, &mut |row: T| {
                going = encoder.row(&row, &mut outlet.buffer).is_ok() && outlet.pass_on(CHUNK);
                app.metrics.exported();
                going
            })?;
            let rows = encoder.end(&mut outlet.buffer);
            Ok((rows, going && outlet.pass_on(1)))
        });
        match written {
            Ok((rows, true)) => {
                done.store(true, Ordering::Release);
                tracing::debug!(rows, "exported");
            }
            Ok((rows, false)) => tracing::info!(rows, "an export was broken off: its reader left or was too slow"),
            Err(e) => tracing::warn!(error = %e, "an export was broken off"),
        }
    });
    let disposition = format!("attachment; filename=\"{name}.{}\"", format.extension());
    let headers = [
        (CONTENT_TYPE, format.media_type().to_owned()),
        (CONTENT_DISPOSITION, disposition),
        (CACHE_CONTROL, "no-store".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, Body::new(Written { chunks, complete, _stop: stop })).into_response())
}

/// Where the writer's thread leaves what it has written.
struct Outlet {
    send: Sender<Bytes>,
    stopping: watch::Receiver<bool>,
    deadline: tokio::time::Instant,
    runtime: Handle,
    buffer: Vec<u8>,
}

impl Outlet {
    /// Hands the buffer over if it holds `least` bytes, and waits while the reader is slow; `false` when it is of no use to go on.
    fn pass_on(&mut self, least: usize) -> bool {
        if self.buffer.len() < least {
            return true;
        }
        let chunk = Bytes::copy_from_slice(&self.buffer);
        self.buffer.clear();
        let Self { send, stopping, deadline, runtime, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                sent = send.send(chunk) => sent.is_ok(),
                _ = stopping.wait_for(|stopping| *stopping) => false,
                () = tokio::time::sleep_until(*deadline) => false,
            }
        })
    }
}

/// The body of an export.
struct Written {
    chunks: Receiver<Bytes>,
    complete: Arc<AtomicBool>,
    _stop: StopOnDrop,
}

impl http_body::Body for Written {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.chunks.poll_recv(cx).map(|chunk| match chunk {
            Some(chunk) => Some(Ok(Frame::data(chunk))),
            None if self.complete.load(Ordering::Acquire) => None,
            None => Some(Err(io::Error::other("the export was broken off"))),
        })
    }
}
