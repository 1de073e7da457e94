//! The HTTP client: one request in, one bounded answer out. No redirects, no proxies, no compression, and never in
//! the clear except to the device itself.

mod sign;
mod tls;

pub use sign::sign_request;

use crate::error::WalkpayError;
use crate::time::Timestamp;
use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Response, redirect};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use url::{Host, Url};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may pause between two pieces.
const READ_TIMEOUT: Duration = Duration::from_secs(65);
/// The longest `Retry-After` that is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Whom to trust beside the built-in roots.
#[derive(Clone, Debug, Default)]
pub struct HttpConfig {
    /// Further root certificates, PEM.
    pub extra_roots_pem: Option<String>,
    /// If not empty: the server's own key must be one of these, each `sha256/` and the base64 of the SHA-256 of its
    /// SubjectPublicKeyInfo (RFC 7469 §2.4).
    pub pins: Vec<String>,
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `PUT`, `POST`.
    pub method: String,
    /// The whole address.
    pub url: Url,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; may be empty.
    pub body: Vec<u8>,
    /// How long it may take from connecting to the last byte.
    pub timeout: Duration,
    /// The longest body that is read.
    pub max_answer: u64,
}

/// What came back, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// `Retry-After` in seconds form (RFC 9110 §10.2.3), at most an hour.
    pub retry_after: Option<Duration>,
    /// `Date` (RFC 9110 §6.6.1), if it was there and can be read.
    pub date: Option<Timestamp>,
    /// The body.
    pub body: Vec<u8>,
}

/// A client with connections of its own. Cheap to clone.
#[derive(Clone)]
pub struct HttpClient {
    config: HttpConfig,
    /// Made when it is first needed: opening a terminal need not wait for it.
    client: Arc<OnceLock<Client>>,
}

impl HttpClient {
    /// A client that trusts what `config` says.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] for certificates or pins that cannot be read.
    pub fn new(config: &HttpConfig) -> Result<Self, WalkpayError> {
        let made = Self { config: config.clone(), client: Arc::default() };
        // What the host has configured is checked at once; without it there is nothing to be wrong.
        if config.extra_roots_pem.is_some() || !config.pins.is_empty() {
            made.client()?;
        }
        Ok(made)
    }

    fn client(&self) -> Result<&Client, WalkpayError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let tls = tls::client_config(self.config.extra_roots_pem.as_deref(), &self.config.pins)?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .tcp_keepalive(Duration::from_secs(30))
            .user_agent(concat!("walkpay/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| WalkpayError::Internal { detail: format!("the HTTP client: {}", chain(&e)) })?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Sends a request and reads its answer. Must run on a tokio runtime.
    ///
    /// # Errors
    /// [`WalkpayError::Network`] when there is no whole answer; that says nothing about what the other side did.
    /// [`WalkpayError::Limit`] when the answer is too long, [`WalkpayError::InvalidInput`] for an address that must not be
    /// used.
    pub async fn send(&self, request: HttpRequest) -> Result<HttpResponse, WalkpayError> {
        check_url(&request.url)?;
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| WalkpayError::invalid("method", "an HTTP method", &request.method))?;
        let what = format!("{method} {}", request.url.path());
        let network = |e: reqwest::Error| WalkpayError::Network { detail: format!("{what}: {}", chain(&e)) };
        let answer = self
            .client()?
            .request(method.clone(), request.url)
            .headers(header_map(&request.headers)?)
            .body(request.body)
            .timeout(request.timeout)
            .send()
            .await
            .map_err(network)?;
        read(answer, request.max_answer, network).await
    }
}

/// Checks that an address may be used: https, or http to this device itself.
///
/// # Errors
/// [`WalkpayError::InvalidInput`].
pub fn check_url(url: &Url) -> Result<(), WalkpayError> {
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let allowed = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    if !allowed || url.host().is_none() || !url.username().is_empty() || url.password().is_some() {
        let expected = "https://… without user name (http:// only for 127.0.0.1, ::1 and localhost)";
        return Err(WalkpayError::invalid("url", expected, url.as_str()));
    }
    Ok(())
}

fn header_map(headers: &[(String, String)]) -> Result<HeaderMap, WalkpayError> {
    headers
        .iter()
        .map(|(name, value)| {
            let bad = || WalkpayError::Internal { detail: format!("header field {name} cannot be sent") };
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
            Ok((name, HeaderValue::from_str(value).map_err(|_| bad())?))
        })
        .collect()
}

async fn read(
    mut answer: Response,
    limit: u64,
    network: impl Fn(reqwest::Error) -> WalkpayError,
) -> Result<HttpResponse, WalkpayError> {
    let too_long = || WalkpayError::limit("bytes of the merchant's answer", limit);
    if answer.content_length().is_some_and(|length| length > limit) {
        return Err(too_long());
    }
    let text = |name| answer.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    let retry_after = text(RETRY_AFTER)
        .and_then(|seconds| seconds.trim().parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    let date = text(DATE)
        .and_then(|date| jiff::fmt::rfc2822::parse(date).ok())
        .map(|date| Timestamp::from_millis(date.timestamp().as_millisecond()));
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(&network)? {
        if (body.len() + piece.len()) as u64 > limit {
            return Err(too_long());
        }
        body.extend_from_slice(&piece);
    }
    Ok(HttpResponse { status, retry_after, date, body })
}

/// An error with its causes, without the address: paths are said beside it, hosts and queries are nobody's business.
fn chain(e: &reqwest::Error) -> String {
    let kind = match e {
        e if e.is_timeout() => "no answer in time",
        e if e.is_connect() => "no connection",
        e if e.is_body() || e.is_decode() => "the answer broke off",
        _ => "failed",
    };
    let mut text = kind.to_owned();
    let mut source = std::error::Error::source(e);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    /// Serves one connection with `answer` and hands back what came.
    fn serve(answer: &'static str) -> (Url, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/a/b?c=d", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_request(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
            request
        });
        (Url::parse(&url).unwrap(), server)
    }

    fn read_request(stream: &mut TcpStream) -> String {
        let mut all = Vec::new();
        let mut piece = [0; 4096];
        while !String::from_utf8_lossy(&all).contains("\r\n\r\n") {
            let n = stream.read(&mut piece).unwrap();
            all.extend_from_slice(&piece[..n]);
        }
        String::from_utf8(all).unwrap()
    }

    fn request(url: Url) -> HttpRequest {
        HttpRequest {
            method: "GET".into(),
            url,
            headers: vec![("x-a".into(), "1".into())],
            body: Vec::new(),
            timeout: Duration::from_secs(20),
            max_answer: 10,
        }
    }

    fn client() -> HttpClient {
        HttpClient::new(&HttpConfig::default()).unwrap()
    }

    #[test]
    fn sends_and_reads() {
        let (url, server) = serve(
            "HTTP/1.1 503 Busy\r\nretry-after: 7\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 2\r\n\r\n{}",
        );
        let answer = run(client().send(request(url))).unwrap();
        assert_eq!((answer.status, answer.retry_after), (503, Some(Duration::from_secs(7))));
        assert_eq!(answer.date.unwrap().to_string(), "1994-11-06T08:49:37.000Z");
        assert_eq!(answer.body, b"{}");
        let sent = server.join().unwrap();
        assert!(sent.starts_with("GET /a/b?c=d HTTP/1.1\r\n") && sent.contains("x-a: 1\r\n"), "{sent}");
    }

    #[test]
    fn follows_no_redirect() {
        let (url, _server) = serve("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(run(client().send(request(url))).unwrap().status, 302);
    }

    #[test]
    fn an_answer_above_the_limit_is_refused_whether_it_says_so_or_not() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n12345678901",
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n12345678901",
        ] {
            let (url, _server) = serve(answer);
            assert!(matches!(run(client().send(request(url))), Err(WalkpayError::Limit { limit: 10, .. })));
        }
    }

    #[test]
    fn silence_and_broken_answers_are_network_errors() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let refused = run(client().send(request(Url::parse(&format!("http://{free}/")).unwrap())));
        assert!(matches!(refused, Err(WalkpayError::Network { .. })), "{refused:?}");
        let (url, _server) = serve("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1234");
        assert!(matches!(run(client().send(request(url))), Err(WalkpayError::Network { .. })));
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
        let late = HttpRequest { timeout: Duration::from_millis(50), ..request(url) };
        assert!(matches!(run(client().send(late)), Err(WalkpayError::Network { .. })));
    }

    #[test]
    fn speaks_in_the_clear_only_to_this_device() {
        for good in ["https://shop.example/x", "http://127.0.0.1:80/", "http://[::1]/", "http://localhost:8080"] {
            check_url(&Url::parse(good).unwrap()).unwrap();
        }
        for bad in [
            "http://shop.example/",
            "http://192.168.1.1/",
            "http://localhost.example/",
            "ftp://127.0.0.1/",
            "https://user@shop.example/",
            "file:///etc/passwd",
        ] {
            assert!(check_url(&Url::parse(bad).unwrap()).is_err(), "{bad}");
        }
    }
}
