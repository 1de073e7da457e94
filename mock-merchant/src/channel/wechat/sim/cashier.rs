//! The simulated gateway's pages for payers: what WeChat itself shows after a code was scanned or an app has handed over.

use super::book::{Order, OrderState};
use super::{PREFIX, TenpayGateway};
use crate::channel::wechat::signature::prepay_message;
use crate::html::{self, Forms, escape};
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use walkpay::Currency;

/// The name of the one payer there is.
pub(super) const OPENID: &str = "simulated-payer";

const STYLE: &str = "body{font:16px system-ui,sans-serif;max-width:30em;margin:2em auto;padding:0 1em}\
p.amount{font-size:2em;margin:.5em 0}button{font-size:1.1em;padding:.5em 1.5em;margin-right:1em}input{width:100%}";

/// What a QR code says, or what stands in it.
#[derive(Deserialize)]
pub(super) struct Scanned {
    #[serde(default)]
    pr: String,
}

/// What a page inside WeChat gives to the bridge: the prepayment's parameters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parameters {
    app_id: String,
    time_stamp: String,
    nonce_str: String,
    package: String,
    sign_type: String,
    pay_sign: String,
}

/// What the payer decides.
#[derive(Deserialize)]
pub(super) struct Decision {
    pr: String,
    action: String,
}

/// The order of a code; without one, a form for its text.
pub(super) async fn show(
    State(gateway): State<TenpayGateway>,
    query: Result<Query<Scanned>, QueryRejection>,
) -> Response {
    let text = query.map(|Query(q)| q.pr).unwrap_or_default();
    if text.is_empty() {
        return page(StatusCode::OK, &form());
    }
    let now = gateway.0.clock.now();
    let mut book = gateway.lock();
    let shown = book.scanned(now, code(&text)).map(|order| (order.state, question(order)));
    if let Err(e) = gateway.keep(&book) {
        tracing::warn!(error = %e, "the simulated gateway cannot keep its book");
    }
    match shown {
        Some((OrderState::NotPay | OrderState::PayError, question)) => page(StatusCode::OK, &question),
        Some((OrderState::Success, _)) => page(StatusCode::OK, "<p>This order is paid. 已支付。</p>"),
        Some((OrderState::Closed, question)) => {
            page(StatusCode::OK, &format!("<p>This order is closed. 订单已关闭。</p>{question}"))
        }
        None => page(StatusCode::NOT_FOUND, "<p>There is no such order. 订单不存在。</p>"),
    }
}

/// The payer confirms or cancels.
pub(super) async fn decide(
    State(gateway): State<TenpayGateway>,
    decision: Result<Form<Decision>, FormRejection>,
) -> Response {
    let Ok(Form(decision)) = decision else {
        return page(StatusCode::UNPROCESSABLE_ENTITY, "<p>Expected the form of this page.</p>");
    };
    match decision.action.as_str() {
        "cancel" => page(StatusCode::OK, "<p>Cancelled; nothing was paid. 已取消。</p>"),
        "pay" => match gateway.pay(code(&decision.pr)) {
            Ok(()) => page(StatusCode::OK, "<p>Paid. 支付成功。</p>"),
            Err("order_unknown") => page(StatusCode::NOT_FOUND, "<p>There is no such order. 订单不存在。</p>"),
            Err("payment_failed") => {
                page(StatusCode::CONFLICT, "<p>The payment failed; it can be tried again. 支付失败。</p>")
            }
            Err(why) => page(StatusCode::CONFLICT, &format!("<p>It can no longer be paid: {why}. 无法支付。</p>")),
        },
        _ => page(StatusCode::UNPROCESSABLE_ENTITY, "<p>Expected the form of this page.</p>"),
    }
}

/// Takes the parameters that a merchant has signed for a page inside WeChat, and goes on to the order.
pub(super) async fn hand_over(
    State(gateway): State<TenpayGateway>,
    query: Result<Query<Parameters>, QueryRejection>,
) -> Response {
    let refused = |why: &str| page(StatusCode::UNPROCESSABLE_ENTITY, &format!("<p>{why}</p>"));
    let Ok(Query(p)) = query else { return refused("Expected the parameters of a prepayment.") };
    let message = prepay_message(&p.app_id, &p.time_stamp, &p.nonce_str, &p.package);
    let signed = STANDARD.decode(&p.pay_sign).is_ok_and(|signature| gateway.0.merchant.verifies(&message, &signature));
    if p.app_id != gateway.0.appid || p.sign_type != "RSA" || !signed {
        return refused("The merchant has not signed these parameters. 签名验证失败。");
    }
    let code = p.package.strip_prefix("prepay_id=").unwrap_or_default();
    let encoded: String = url::form_urlencoded::byte_serialize(code.as_bytes()).collect();
    Redirect::to(&format!("{PREFIX}/cashier?pr={encoded}")).into_response()
}

/// What stands in a code, of its whole text too.
fn code(text: &str) -> &str {
    text.trim().rsplit_once("pr=").map_or(text.trim(), |(_, code)| code)
}

fn question(order: &Order) -> String {
    let total = order.order.amount.total;
    let amount =
        Currency::parse("CNY").map_or_else(|_| total.to_string(), |yuan| yuan.minor(total).to_decimal_string());
    format!(
        "<p>{}</p><p class=\"amount\">¥{amount}</p><form method=\"post\" action=\"{PREFIX}/cashier\">\
         <input type=\"hidden\" name=\"pr\" value=\"{}\">\
         <button name=\"action\" value=\"pay\">Pay 支付</button><button name=\"action\" value=\"cancel\">Cancel 取消</button></form>",
        escape(&order.order.description),
        escape(&order.code),
    )
}

fn form() -> String {
    format!(
        "<p>What does the QR code say, or the prepayment's identifier? 请输入二维码内容。</p>\
         <form method=\"get\" action=\"{PREFIX}/cashier\"><p><input name=\"pr\" autofocus \
         placeholder=\"weixin://wxpay/bizpayurl?pr=…\"></p><button>Scan 扫描</button></form>"
    )
}

fn page(status: StatusCode, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Simulated WeChat Pay</title><style>{STYLE}</style><h1>WeChat Pay 微信支付 (simulated)</h1>{body}</html>"
    );
    html::page(status, html, Forms::Own)
}
