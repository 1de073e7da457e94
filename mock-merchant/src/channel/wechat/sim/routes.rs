//! The HTTP side of the simulated gateway.

use super::book::{Refusal, Reply, Request};
use super::cashier;
use super::faults::{Fault, strike};
use super::keys::{MERCHANT, MERCHANT_SERIAL, PUBLIC_KEY_ID};
use super::teller::STALE;
use super::{PREFIX, TenpayGateway, authority, fresh, issuer};
use crate::broken_off::broken_off;
use crate::channel::wechat::signature::{Authorization, Seal, is_fresh, request_message};
use crate::channel::wechat::wire::{Certificate, Certificates, Problem, beijing};
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;
use walkpay::{Timestamp, WalkpayError};

/// The largest request that is read.
const MAX_BODY: usize = 64 * 1024;
/// How long [`Fault::Slow`] waits.
const SLOW_BY: Duration = Duration::from_secs(2);

/// The routes, all below [`PREFIX`].
pub(super) fn router(gateway: TenpayGateway) -> Router {
    Router::new()
        .route(&format!("{PREFIX}/v3/{{*rest}}"), any(api))
        .route(&format!("{PREFIX}/cashier"), get(cashier::show).post(cashier::decide))
        .route(&format!("{PREFIX}/jsapi"), get(cashier::hand_over))
        .route(&format!("{PREFIX}/credentials"), get(credentials))
        .route(&format!("{PREFIX}/certificates/rotation"), post(rotation))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(gateway)
}

/// What the merchant's console would show: numbers, keys, and the certificates of the platform. The keys protect nothing.
async fn credentials(State(gateway): State<TenpayGateway>) -> Result<Json<Value>, Response> {
    let now = gateway.0.clock.now();
    let mut book = gateway.lock();
    book.signing(now).map_err(|e| broken(&e))?;
    let certificates: Vec<Value> =
        book.certificates(now).into_iter().map(|c| json!({ "serial_no": c.serial, "certificate": c.pem })).collect();
    let public = gateway.0.platform.first().map(|key| key.public().to_pem()).transpose().map_err(|e| broken(&e))?;
    Ok(Json(json!({
        "appid": gateway.0.appid,
        "mchid": gateway.0.mchid,
        "serial_no": MERCHANT_SERIAL,
        "private_key": MERCHANT,
        "api_v3_key": book.api_key,
        "certificates": certificates,
        "authority": authority().map_err(|e| broken(&e))?,
        "public_key_id": PUBLIC_KEY_ID,
        "public_key": public,
    })))
}

/// Issues the next certificate.
async fn rotation(State(gateway): State<TenpayGateway>) -> Result<(StatusCode, Json<Value>), Response> {
    let issued = gateway.rotate().map_err(|e| broken(&e))?;
    Ok((StatusCode::CREATED, Json(json!({ "serial_no": issued.serial }))))
}

/// Everything that is signed.
async fn api(
    State(gateway): State<TenpayGateway>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let now = gateway.0.clock.now();
    let named = headers.get("wechatpay-serial").is_some_and(|v| v.as_bytes() == PUBLIC_KEY_ID.as_bytes());
    let full = uri.path_and_query().map_or("", |p| p.as_str());
    let Ok(body) = body else {
        return gateway.answer(
            now,
            Err(Refusal(400, "PARAM_ERROR", "the body is too large or broke off")),
            named,
            None,
        );
    };
    let operation = operation(&method, uri.path().strip_prefix(PREFIX).unwrap_or_default());
    let fault = strike(&gateway.0.faults, operation);
    match fault {
        Some(Fault::NoAnswerBefore) => return broken_off(),
        Some(Fault::SystemErrorBefore) => return gateway.answer(now, Err(SYSTEM_ERROR), named, None),
        Some(Fault::FrequencyLimited) => {
            return gateway.answer(now, Err(Refusal(429, "FREQUENCY_LIMITED", "too many requests")), named, None);
        }
        Some(Fault::SignError) => {
            return gateway.answer(now, Err(sign_error("as the armed fault wants it")), named, None);
        }
        _ => {}
    }
    let reply = match gateway.authentic(now, &method, full, &headers, &body) {
        Err(refusal) => Err(refusal),
        Ok(()) => gateway.reply(now, &method, &uri, &body, fault),
    };
    match fault {
        Some(Fault::NoAnswerAfter) => return broken_off(),
        Some(Fault::SystemErrorAfter | Fault::RefundUnknown) => {
            return gateway.answer(now, Err(SYSTEM_ERROR), named, None);
        }
        Some(Fault::Slow) => tokio::time::sleep(SLOW_BY).await,
        _ => {}
    }
    gateway.answer(now, reply, named, fault)
}

const SYSTEM_ERROR: Refusal = Refusal(500, "SYSTEM_ERROR", "try again with the same numbers");

fn sign_error(why: &'static str) -> Refusal {
    Refusal(401, "SIGN_ERROR", why)
}

impl TenpayGateway {
    /// Whether the merchant has signed this. The path may be signed as it is, or as it would be at the platform, without [`PREFIX`].
    fn authentic(
        &self,
        now: Timestamp,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Refusal> {
        let value = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let signed =
            Authorization::parse(value).ok_or(sign_error("the header Authorization is missing or has another form"))?;
        if signed.mchid != self.0.mchid {
            return Err(sign_error("mchid is not known"));
        }
        if !signed.serial.eq_ignore_ascii_case(MERCHANT_SERIAL) {
            return Err(sign_error("serial_no is not that of the merchant's certificate"));
        }
        if !signed.timestamp.parse().is_ok_and(|seconds| is_fresh(now, seconds)) {
            return Err(sign_error("timestamp is more than five minutes from now"));
        }
        let signature = STANDARD.decode(&signed.signature).map_err(|_| sign_error("signature is not base64"))?;
        let bare = path.strip_prefix(PREFIX).unwrap_or(path);
        let signed_so = |path: &str| {
            let message = request_message(method.as_str(), path, &signed.timestamp, &signed.nonce, body);
            self.0.merchant.verifies(&message, &signature)
        };
        if signed_so(bare) || signed_so(path) {
            Ok(())
        } else {
            Err(sign_error("signature is not that of this request"))
        }
    }

    fn reply(&self, now: Timestamp, method: &Method, uri: &Uri, body: &[u8], fault: Option<Fault>) -> Reply {
        let failed = |e: WalkpayError| {
            tracing::warn!(error = %e, "the simulated gateway failed");
            SYSTEM_ERROR
        };
        let path = uri.path().strip_prefix(PREFIX).unwrap_or_default();
        if operation(method, path) == "certificates" {
            return self.certificates(now).map(|list| (200, Some(list))).map_err(failed);
        }
        let request = self.request(method, path, uri.query().unwrap_or_default(), body)?;
        let code = fresh().map_err(failed)?;
        let mut book = self.lock();
        let reply = book.handle(now, (&self.0.appid, &self.0.mchid), &request, &code, fault);
        self.keep(&book).map_err(|detail| failed(WalkpayError::Internal { detail }))?;
        reply
    }

    fn request(&self, method: &Method, path: &str, query: &str, body: &[u8]) -> Result<Request, Refusal> {
        let own = |mchid: &str| {
            if mchid == self.0.mchid {
                Ok(())
            } else {
                Err(Refusal(400, "PARAM_ERROR", "mchid is not the one that has signed"))
            }
        };
        let of_query = || {
            let mchid = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "mchid");
            own(&mchid.map(|(_, value)| value.into_owned()).unwrap_or_default())
        };
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (method, parts.as_slice()) {
            (&Method::POST, ["v3", "pay", "transactions", product]) => {
                let trade_type = match *product {
                    "native" => "NATIVE",
                    "jsapi" => "JSAPI",
                    "app" => "APP",
                    _ => return Err(NO_ROUTE),
                };
                Ok(Request::Create { trade_type, order: read(body)? })
            }
            (&Method::GET, ["v3", "pay", "transactions", "out-trade-no", number]) => {
                of_query()?;
                Ok(Request::Query { number: (*number).to_owned() })
            }
            (&Method::GET, ["v3", "pay", "transactions", "id", id]) => {
                of_query()?;
                Ok(Request::QueryById { transaction_id: (*id).to_owned() })
            }
            (&Method::POST, ["v3", "pay", "transactions", "out-trade-no", number, "close"]) => {
                let close: crate::channel::wechat::wire::Close = read(body)?;
                own(&close.mchid)?;
                Ok(Request::Close { number: (*number).to_owned() })
            }
            (&Method::POST, ["v3", "refund", "domestic", "refunds"]) => Ok(Request::Refund(read(body)?)),
            (&Method::GET, ["v3", "refund", "domestic", "refunds", number]) => {
                Ok(Request::QueryRefund { refund_number: (*number).to_owned() })
            }
            _ => Err(NO_ROUTE),
        }
    }

    fn certificates(&self, now: Timestamp) -> Result<Value, WalkpayError> {
        let mut book = self.lock();
        book.signing(now)?;
        let mut data = Vec::new();
        for issued in book.certificates(now) {
            let nonce: String = fresh()?.chars().take(12).collect();
            let sealed = self.0.api_key.seal(&nonce, "certificate", issued.pem.as_bytes());
            data.push(Certificate {
                serial_no: issued.serial,
                effective_time: beijing(issued.from)?,
                expire_time: beijing(issued.until)?,
                encrypt_certificate: sealed.map_err(|e| WalkpayError::Internal { detail: e.to_string() })?,
            });
        }
        Ok(json!(Certificates { data }))
    }

    /// Answers with a signature, as the fault wants it.
    fn answer(&self, now: Timestamp, reply: Reply, named: bool, fault: Option<Fault>) -> Response {
        let (status, body) = match reply {
            Ok((status, body)) => (status, body.map(|b| b.to_string()).unwrap_or_default()),
            Err(Refusal(status, code, message)) => {
                (status, json!(Problem { code: code.to_owned(), message: message.to_owned() }).to_string())
            }
        };
        let seal = match self.sealed_answer(now, body.as_bytes(), named, fault) {
            Ok(seal) => seal,
            Err(e) => return broken(&e),
        };
        let mut response = Response::new(Body::from(body.clone()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in seal.iter().flat_map(Seal::headers) {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }

    fn sealed_answer(
        &self,
        now: Timestamp,
        body: &[u8],
        named: bool,
        fault: Option<Fault>,
    ) -> Result<Option<Seal>, WalkpayError> {
        let mut book = self.lock();
        let seal = match fault {
            Some(Fault::UnsignedAnswer) => return Ok(None),
            Some(Fault::ForgedAnswer) => {
                let serial = book.signing(now)?.serial;
                Seal::make(&self.0.stranger, &serial, now, &fresh()?, body)?
            }
            Some(Fault::StaleAnswer) => self.seal(&mut book, now.minus(STALE), body, named)?,
            Some(Fault::ExpiredCertificate) => {
                let expired = issuer::expired(now, 0)?;
                let key = self.0.platform.get(expired.key).ok_or_else(super::no_key)?;
                Seal::make(key, &expired.serial, now, &fresh()?, body)?
            }
            _ => self.seal(&mut book, now, body, named)?,
        };
        Ok(Some(seal))
    }
}

const NO_ROUTE: Refusal = Refusal(404, "NOT_FOUND", "the simulated gateway does not have this");

/// The word for what is asked, in faults.
fn operation(method: &Method, path: &str) -> &'static str {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (method, parts.as_slice()) {
        (&Method::GET, ["v3", "certificates"]) => "certificates",
        (&Method::POST, ["v3", "pay", "transactions", _]) => "create",
        (&Method::GET, ["v3", "pay", "transactions", "out-trade-no" | "id", _]) => "query",
        (&Method::POST, ["v3", "pay", "transactions", "out-trade-no", _, "close"]) => "close",
        (&Method::POST, ["v3", "refund", "domestic", "refunds"]) => "refund",
        (&Method::GET, ["v3", "refund", "domestic", "refunds", _]) => "query_refund",
        _ => "other",
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|_| Refusal(400, "PARAM_ERROR", "the body is not the JSON that is expected here"))
}

fn broken(why: &WalkpayError) -> Response {
    tracing::warn!(error = %why, "the simulated gateway failed");
    (StatusCode::INTERNAL_SERVER_ERROR, Json(Problem { code: "SYSTEM_ERROR".to_owned(), message: String::new() }))
        .into_response()
}
