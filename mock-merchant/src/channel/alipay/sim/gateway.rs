//! The gateway's HTTP side: one address for all methods, parameters in the query and the form, answers that are signed.
//!
//! Refusals are answers too (`code`, `sub_code`), always with status 200 (Alipay Open Platform, "gateway error codes").

use super::book::{Trade, TradeState};
use super::faults::{self, Fault};
use super::requests::{Content, Refused};
use super::{PREFIX, Simulator, cashier};
use crate::broken_off::broken_off;
use crate::channel::alipay::signing::{self, Params};
use crate::channel::alipay::values;
use crate::channel::http::checked_address;
use crate::random;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use std::time::Duration;
use walkpay::protocol::crypto::base64url;
use walkpay::{Timestamp, WalkpayError};

/// The largest request that is read.
const MAX_BODY: usize = 64 * 1024;
/// How long [`Fault::Slow`] waits.
const SLOW_BY: Duration = Duration::from_secs(2);

/// What a method is called in faults.
const METHODS: [(&str, &str); 6] = [
    ("alipay.trade.page.pay", "create"),
    ("alipay.trade.precreate", "create"),
    ("alipay.trade.query", "query"),
    ("alipay.trade.close", "close"),
    ("alipay.trade.refund", "refund"),
    ("alipay.trade.fastpay.refund.query", "query_refund"),
];

/// Code, its message, and what the gateway finds wrong.
struct Wrong(&'static str, &'static str, &'static str);

/// All routes of the simulator.
pub(super) fn routes(simulator: Simulator) -> Router {
    Router::new()
        .route(&format!("{PREFIX}/gateway.do"), any(gateway))
        .route(&format!("{PREFIX}/credentials"), get(credentials))
        .merge(cashier::routes())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(simulator)
}

/// What the console of the application shows: its number, the account, the keys of both sides that a client needs.
async fn credentials(State(simulator): State<Simulator>) -> Response {
    let settings = &simulator.inner.settings;
    let shown = async {
        let keys = simulator.own_keys().await?;
        Ok::<_, WalkpayError>(json!({
            "app_id": settings.app_id,
            "seller_id": settings.seller_id,
            "app_private_key": keys.app_pem.as_str(),
            "alipay_public_key": keys.alipay.public().to_pem()?,
        }))
    };
    shown.await.map_or_else(|e| broken(&e), |shown| Json(shown).into_response())
}

async fn gateway(State(simulator): State<Simulator>, RawQuery(query): RawQuery, body: Bytes) -> Response {
    let answered = answer(&simulator, query.unwrap_or_default().as_bytes(), &body).await;
    answered.unwrap_or_else(|e| broken(&e))
}

async fn answer(simulator: &Simulator, query: &[u8], body: &[u8]) -> Result<Response, WalkpayError> {
    let Some(params) = merged(query, body) else {
        let wrong = Wrong("40002", "Invalid Arguments", "isv.invalid-parameter");
        return refused(simulator, "", &wrong).await;
    };
    let method = params.get("method").cloned().unwrap_or_default();
    let operation = match checked(simulator, &params).await? {
        Ok(operation) => operation,
        Err(wrong) => return refused(simulator, &method, &wrong).await,
    };
    let fault = simulator.inner.faults.strike(operation, &faults::of(operation));
    if fault == Some(Fault::NoAnswerBefore) {
        return Ok(broken_off());
    }
    let now = simulator.inner.clock.now();
    let page = method == "alipay.trade.page.pay";
    let content = params.get("biz_content").map_or("{}", String::as_str);
    let done = match serde_json::from_str::<Content>(content) {
        _ if fault == Some(Fault::SystemError) => Err(Refused("ACQ.SYSTEM_ERROR", "system error")),
        Ok(content) => carry_out(simulator, now, &method, &params, &content, fault)?,
        Err(_) => Err(Refused("ACQ.INVALID_PARAMETER", "biz_content")),
    };
    match fault {
        Some(Fault::NoAnswerAfter | Fault::RefundUnknown) => return Ok(broken_off()),
        Some(Fault::Slow) => tokio::time::sleep(SLOW_BY).await,
        Some(Fault::UnknownAfter) => {
            let wrong = Wrong("20000", "Service Currently Unavailable", "isp.unknow-error");
            return refused(simulator, &method, &wrong).await;
        }
        _ => {}
    }
    let object = match done {
        Ok(Done::Page(token)) => return Ok(Redirect::to(&cashier::address(simulator, &token)).into_response()),
        Ok(Done::Object(object)) => object,
        Err(Refused(sub_code, text)) if page => return Ok(cashier::told(&format!("{sub_code}: {text}"))),
        Err(Refused(sub_code, text)) => failure("40004", "Business Failed", sub_code, text),
    };
    let object = match fault {
        Some(Fault::OtherAnswer) => of_another(object),
        _ => object,
    };
    written(simulator, &method, &Value::Object(object), fault).await
}

/// Whether the gateway lets the request in: its form, the application, the signature. The operation that it is.
async fn checked(simulator: &Simulator, params: &Params) -> Result<Result<&'static str, Wrong>, WalkpayError> {
    let text = |name: &str| params.get(name).map_or("", String::as_str);
    let missing = |sub_code| Ok(Err(Wrong("40001", "Missing Required Arguments", sub_code)));
    let invalid = |sub_code| Ok(Err(Wrong("40002", "Invalid Arguments", sub_code)));
    let method = text("method");
    if method.is_empty() {
        return missing("isv.missing-method");
    }
    let Some((_, operation)) = METHODS.iter().find(|(name, _)| *name == method) else {
        return invalid("isv.invalid-method");
    };
    if text("app_id").is_empty() {
        return missing("isv.missing-app-id");
    }
    if text("app_id") != simulator.inner.settings.app_id {
        return invalid("isv.invalid-app-id");
    }
    if text("sign_type").is_empty() {
        return missing("isv.missing-signature-type");
    }
    if text("sign_type") != "RSA2" {
        return invalid("isv.invalid-signature-type");
    }
    if text("sign").is_empty() {
        return missing("isv.missing-signature");
    }
    if text("timestamp").is_empty() {
        return missing("isv.missing-timestamp");
    }
    if values::parse_time(text("timestamp")).is_none() {
        return invalid("isv.invalid-timestamp");
    }
    if text("version") != "1.0" {
        return missing("isv.missing-version");
    }
    if !matches!(text("charset").to_ascii_lowercase().as_str(), "utf-8" | "utf8") {
        return invalid("isv.invalid-charset");
    }
    if !matches!(text("format"), "" | "JSON" | "json") {
        return invalid("isv.invalid-format");
    }
    let key = simulator.own_keys().await?.app.public();
    if !signing::request_verifies(key, params) {
        return invalid("isv.invalid-signature");
    }
    for name in ["notify_url", "return_url"] {
        if params.get(name).is_some_and(|url| checked_address(name, url).is_err()) {
            return invalid("isv.invalid-parameter");
        }
    }
    Ok(Ok(operation))
}

enum Done {
    Object(Map<String, Value>),
    /// The token of the page that the payer is sent to.
    Page(String),
}

fn carry_out(
    simulator: &Simulator,
    now: Timestamp,
    method: &str,
    params: &Params,
    content: &Content,
    fault: Option<Fault>,
) -> Result<Result<Done, Refused>, WalkpayError> {
    let settings = &simulator.inner.settings;
    let token = base64url(&random::bytes::<16>().map_err(|e| WalkpayError::Internal { detail: e.to_string() })?);
    simulator.change(|book| -> Result<Done, Refused> {
        book.pass(now);
        let page = method == "alipay.trade.page.pay";
        match method {
            "alipay.trade.page.pay" | "alipay.trade.precreate" => {
                if fault == Some(Fault::Refuses) {
                    return Err(Refused("ACQ.ACCESS_FORBIDDEN", "the merchant has not signed for this product"));
                }
                let mut wanted = content.wanted(now, &settings.seller_id, page)?;
                wanted.notify_url = params.get("notify_url").cloned();
                wanted.return_url = params.get("return_url").cloned().filter(|_| page);
                let trade = book.promise(wanted, token)?;
                if page {
                    return Ok(Done::Page(trade.token.clone()));
                }
                let code = format!("{}{PREFIX}/qr/{}", simulator.inner.base, trade.token);
                Ok(success(json!({ "out_trade_no": trade.out_trade_no, "qr_code": code })))
            }
            "alipay.trade.query" => {
                let trade = book.known(content.out_trade_no.as_deref(), content.trade_no.as_deref())?;
                Ok(success(queried(trade)))
            }
            "alipay.trade.close" => {
                let trade = book.known(content.out_trade_no.as_deref(), content.trade_no.as_deref())?.clone();
                book.close(now, &trade.out_trade_no, fault)?;
                if fault == Some(Fault::ClosesLate) {
                    return Err(Refused("ACQ.SYSTEM_ERROR", "the trade is being closed"));
                }
                Ok(success(json!({ "out_trade_no": trade.out_trade_no, "trade_no": trade.trade_no })))
            }
            "alipay.trade.refund" => {
                if fault == Some(Fault::RefundRefused) {
                    return Err(Refused("ACQ.SELLER_BALANCE_NOT_ENOUGH", "the account's balance is too low"));
                }
                let trade = book.known(content.out_trade_no.as_deref(), content.trade_no.as_deref())?.clone();
                let request = content.out_request_no.clone().unwrap_or_else(|| trade.out_trade_no.clone());
                let amount = content.refund()?;
                let moved = book.refund(now, settings, &trade.out_trade_no, &request, amount)?;
                let refunded = book.known(Some(&trade.out_trade_no), None)?.refunded();
                Ok(success(json!({
                    "out_trade_no": trade.out_trade_no,
                    "trade_no": trade.trade_no,
                    "buyer_logon_id": "sim***@example.com",
                    "fund_change": if moved { "Y" } else { "N" },
                    "refund_fee": values::yuan(trade.amount.currency.minor(refunded)),
                })))
            }
            _ => {
                let trade = book.known(content.out_trade_no.as_deref(), content.trade_no.as_deref())?;
                let request = content.out_request_no.clone().unwrap_or_default();
                Ok(success(match trade.refunds.get(&request) {
                    Some(amount) => json!({
                        "out_trade_no": trade.out_trade_no,
                        "trade_no": trade.trade_no,
                        "out_request_no": request,
                        "total_amount": values::yuan(trade.amount),
                        "refund_amount": values::yuan(*amount),
                        "refund_status": "REFUND_SUCCESS",
                    }),
                    None => json!({}),
                }))
            }
        }
    })
}

fn queried(trade: &Trade) -> Value {
    let total = values::yuan(trade.amount).unwrap_or_default();
    let received = if trade.state == TradeState::Waiting { "0.00" } else { &total };
    let mut told = json!({
        "out_trade_no": trade.out_trade_no,
        "trade_no": trade.trade_no,
        "trade_status": trade.state.word(),
        "total_amount": total,
        "receipt_amount": received,
        "buyer_pay_amount": received,
        "invoice_amount": received,
        "point_amount": "0.00",
        "buyer_logon_id": "sim***@example.com",
    });
    if let Some(at) = trade.paid_at {
        told["send_pay_date"] = values::time(at).into();
    }
    told
}

/// Query and form together; `None` where a name has two values.
fn merged(query: &[u8], body: &[u8]) -> Option<Params> {
    let mut params = signing::parse(query)?;
    for (name, value) in signing::parse(body)? {
        if params.insert(name, value.clone()).is_some_and(|other| other != value) {
            return None;
        }
    }
    Some(params)
}

fn success(told: Value) -> Done {
    let mut object = Map::new();
    object.insert("code".to_owned(), "10000".into());
    object.insert("msg".to_owned(), "Success".into());
    if let Value::Object(told) = told {
        object.extend(told);
    }
    Done::Object(object)
}

fn failure(code: &str, msg: &str, sub_code: &str, text: &str) -> Map<String, Value> {
    let members = [("code", code), ("msg", msg), ("sub_code", sub_code), ("sub_msg", text)];
    members.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// The same answer, as if another trade had been asked about.
fn of_another(mut object: Map<String, Value>) -> Map<String, Value> {
    for name in ["out_trade_no", "out_request_no"] {
        if let Some(number) = object.get_mut(name) {
            *number = "99999999999999999999".into();
        }
    }
    object
}

async fn refused(simulator: &Simulator, method: &str, wrong: &Wrong) -> Result<Response, WalkpayError> {
    let Wrong(code, msg, sub_code) = wrong;
    let object = failure(code, msg, sub_code, "see the gateway's error codes");
    written(simulator, method, &Value::Object(object), None).await
}

/// Signs an answer over its text, in which slashes are escaped, as the gateway does.
async fn written(
    simulator: &Simulator,
    method: &str,
    object: &Value,
    fault: Option<Fault>,
) -> Result<Response, WalkpayError> {
    let keys = simulator.own_keys().await?;
    let known = METHODS.iter().any(|(name, _)| *name == method);
    let name = if known { format!("{}_response", method.replace('.', "_")) } else { "error_response".to_owned() };
    let object = object.to_string().replace('/', "\\/");
    let text = match fault {
        Some(Fault::UnsignedAnswer) => format!("{{\"{name}\":{object}}}"),
        Some(Fault::ForgedAnswer) => signing::answer(&keys.app, &name, &object)?,
        _ => signing::answer(&keys.alipay, &name, &object)?,
    };
    Ok(([(header::CONTENT_TYPE, "text/html;charset=utf-8")], text).into_response())
}

fn broken(e: &WalkpayError) -> Response {
    tracing::warn!(error = %e, "the simulated Alipay cannot answer");
    (StatusCode::INTERNAL_SERVER_ERROR, "the simulated Alipay cannot answer").into_response()
}
