//! HTTP without sockets: the code that ships makes its requests and waits for answers, the world carries both when it likes.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::request::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use mock_merchant::channel::http::{Awaited, Carrier, Received};
use mock_merchant::channel::port::NoAnswer;
use reqwest::Url;
use std::future::{Future, poll_fn};
use std::mem::take;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use tower_service::Service;

/// The largest answer of a gateway.
const MAX_BODY: usize = 1 << 20;

/// A request on its way.
#[derive(Clone, Debug)]
pub struct Parcel {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Where the answer to a request is put.
#[derive(Clone, Default)]
pub struct Slot(Arc<Mutex<Option<Result<Received, NoAnswer>>>>);

impl Slot {
    /// Answers; `None`: the connection broke off.
    pub fn fill(&self, answer: Option<Received>) {
        let answer = answer.ok_or_else(|| NoAnswer("the connection broke off".to_owned()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }

    fn empty(&self) -> Option<Result<Received, NoAnswer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The requests that were made since they were last taken, and where their answers go.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<(Parcel, Slot)>>>);

impl Lines {
    pub fn take(&self) -> Vec<(Parcel, Slot)> {
        take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Carrier for Lines {
    fn carry(&self, request: reqwest::Request) -> Awaited {
        let body = request.body().and_then(|b| b.as_bytes()).unwrap_or_default().to_vec();
        let (method, url, headers) = (request.method().clone(), request.url().clone(), request.headers().clone());
        let slot = Slot::default();
        let parcel = Parcel { method, url, headers, body };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((parcel, slot.clone()));
        Box::pin(poll_fn(move |_| slot.empty().map_or(Poll::Pending, Poll::Ready)))
    }
}

/// What a server answers that never waits; `None`: its answer breaks off.
pub fn serve(routes: &Router, parcel: Parcel) -> Result<Option<Received>, String> {
    let Parcel { method, url, headers, body } = parcel;
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = method;
    *request.uri_mut() = target.parse().map_err(|e| format!("{target}: {e}"))?;
    *request.headers_mut() = headers;
    let response = at_once(routes.clone().call(request))?.map_err(|e| e.to_string())?;
    let (parts, body) = response.into_parts();
    let body = at_once(to_bytes(body, MAX_BODY))?;
    Ok(body.ok().map(|body| Received { status: parts.status, headers: parts.headers, body: body.to_vec() }))
}

/// An answer with nothing but a status and a text.
pub fn plain(status: StatusCode, text: &str) -> Received {
    Received { status, headers: HeaderMap::new(), body: text.as_bytes().to_vec() }
}

/// What comes of work that waits for nothing from outside.
pub fn at_once<F: Future>(work: F) -> Result<F::Output, String> {
    let mut work = pin!(work);
    let mut context = Context::from_waker(Waker::noop());
    // Whatever gives way to others goes on at once: there are none.
    for _ in 0..64 {
        if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
            return Ok(done);
        }
    }
    Err("work that should not wait waits".into())
}
