//! What happens around every handler: request ids, logs and metrics, rates, a limit on requests at one time.

use super::App;
use super::problem::Refusal;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::header::ALLOW;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ring::rand::{SecureRandom, SystemRandom};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;
use walkpay::protocol::crypto::base64url;
use walkpay::protocol::problem::ProblemCode;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request an identifier, and tells log and metrics how it was answered. The route is told by its template: a path
/// can carry what a caller should not have put there.
pub async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("none", |m| m.as_str()).to_owned();
    let span = tracing::info_span!("request", request_id = %id);
    async move {
        let mut response = next.run(request).await;
        let status = response.status();
        let seconds = began.elapsed().as_secs_f64();
        app.metrics.answered(&route, method, status.as_u16(), seconds);
        let problem = response.extensions().get::<ProblemCode>().map(|c| c.code());
        if let Some(code) = problem {
            app.metrics.problem(code);
        }
        let (status_code, millis) = (status.as_u16(), began.elapsed().as_millis());
        if status.is_server_error() {
            tracing::warn!(%route, method, status = status_code, problem, millis, "answered");
        } else {
            tracing::debug!(%route, method, status = status_code, problem, millis, "answered");
        }
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(&REQUEST_ID, id);
        }
        response
    }
    .instrument(span)
    .await
}

/// Answers OPTIONS with the methods that a resource has (RFC 9110 §9.3.7).
pub async fn options(request: Request, next: Next) -> Response {
    let asked = request.method() == Method::OPTIONS;
    let response = next.run(request).await;
    match response.headers().get(ALLOW) {
        Some(allow) if asked && response.status() == StatusCode::METHOD_NOT_ALLOWED => {
            (StatusCode::NO_CONTENT, [(ALLOW, allow.clone())]).into_response()
        }
        _ => response,
    }
}

/// Lets a request in if its sender keeps its rate, has few others in work, and there is room. Health is always told.
pub async fn admit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/healthz" {
        return next.run(request).await;
    }
    let address = sender(&request, app.behind_proxy).map(network);
    if let Some(address) = address
        && let Err(wait) = app.addresses.take(address, Instant::now())
    {
        return Refusal::rate_limited(wait).into_response();
    }
    if path == "/terminal/v1/enrolments"
        && let Some(address) = address
        && let Err(wait) = app.enrolments.take(address, Instant::now())
    {
        return Refusal::rate_limited(wait).into_response();
    }
    if path == "/terminal/v1/events" {
        return next.run(request).await;
    }
    // A body may take its time to come: one address does not take all the room with that.
    let place = address.map(|address| app.in_work.enter(address, app.limits.requests_per_address));
    if matches!(place, Some(None)) {
        return Refusal::rate_limited(Duration::from_secs(1)).into_response();
    }
    match app.requests.try_acquire() {
        Ok(_permit) => next.run(request).await,
        Err(_) => Refusal::unavailable("Too many requests are in work: try again.").into_response(),
    }
}

/// What counts as one address: of IPv6 the network that one subscriber has (RFC 6177), a /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if !v6.is_loopback() && v6.to_ipv4_mapped().is_none() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))
        }
        other => other.to_canonical(),
    }
}

/// Whether a request comes from this machine itself, not by way of a proxy on it.
pub(super) fn local(request: &Request, behind_proxy: bool) -> bool {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|c| c.0.ip());
    let reported = behind_proxy && request.headers().contains_key("x-forwarded-for");
    !reported && peer.is_some_and(|peer| peer.to_canonical().is_loopback())
}

fn sender(request: &Request, behind_proxy: bool) -> Option<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|c| c.0.ip());
    if !behind_proxy {
        return peer;
    }
    let last = request.headers().get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    let reported = last.rsplit(',').next().unwrap_or_default().trim();
    Some(reported.parse().ok().or(peer).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
}

fn request_id(headers: &HeaderMap) -> String {
    let usable = |id: &&str| (8..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if let Some(id) = headers.get(&REQUEST_ID).and_then(|v| v.to_str().ok()).filter(usable) {
        return id.to_owned();
    }
    let mut bytes = [0; 12];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => base64url(&bytes),
        Err(_) => "none".to_owned(),
    }
}

/// The methods that the metrics know: an unknown one must not make a label.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_address() {
        let network_of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network_of("2001:db8:1:2:3:4:5:6"), network_of("2001:db8:1:2:ffff::1"));
        assert_ne!(network_of("2001:db8:1:2::1"), network_of("2001:db8:1:3::1"));
        assert_eq!((network_of("::ffff:10.0.0.7").as_str(), network_of("10.0.0.7").as_str()), ("10.0.0.7", "10.0.0.7"));
        assert_eq!(network_of("::1"), "::1");
    }
}
