//! The pages where a payer pays: what the code leads to, and what the merchant's page hands over to.

use super::book::{Trade, TradeState};
use super::faults::NOTIFY;
use super::{PREFIX, Simulator};
use crate::channel::alipay::signing::{self, Params};
use crate::channel::alipay::values;
use crate::html::{self, Forms, escape};
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;
use url::Url;
use walkpay::Timestamp;

pub(super) fn routes() -> Router<Simulator> {
    Router::new()
        .route(&format!("{PREFIX}/qr/{{token}}"), get(scan))
        .route(&format!("{PREFIX}/cashier/{{token}}"), get(show).post(decide))
}

/// Where the payer pays a trade.
pub(super) fn address(simulator: &Simulator, token: &str) -> String {
    format!("{}{PREFIX}/cashier/{token}", simulator.inner.base)
}

/// What a payer decides.
#[derive(Deserialize)]
struct Decision {
    action: String,
}

/// The payer scans the code: the trade is known from now on.
async fn scan(State(simulator): State<Simulator>, Path(token): Path<String>) -> Response {
    match opened(&simulator, &token) {
        Ok(_) => Redirect::to(&address(&simulator, &token)).into_response(),
        Err(response) => *response,
    }
}

async fn show(State(simulator): State<Simulator>, Path(token): Path<String>) -> Response {
    let trade = match opened(&simulator, &token) {
        Ok(trade) => trade,
        Err(response) => return *response,
    };
    let text = match trade.state {
        TradeState::Waiting => {
            return page(
                StatusCode::OK,
                &format!(
                    "<p>{}</p><p class=amount>{}</p>\
                 <form method=post><button name=action value=confirm>Pay</button>\
                 <button name=action value=cancel>Cancel</button></form>",
                    escape(&trade.subject),
                    escape(&trade.amount.to_string()),
                ),
            );
        }
        TradeState::Paid | TradeState::Finished => "This is paid.",
        TradeState::Closed => "This cannot be paid any more.",
        TradeState::Promised => "This code has expired.",
    };
    told(text)
}

async fn decide(
    State(simulator): State<Simulator>,
    Path(token): Path<String>,
    form: Result<Form<Decision>, FormRejection>,
) -> Response {
    let Ok(Form(decision)) = form else {
        return page(StatusCode::BAD_REQUEST, "<p>Expected action=confirm or action=cancel.</p>");
    };
    match decision.action.as_str() {
        "confirm" => {}
        // The payer goes away; the trade goes on waiting until it ends by itself or the merchant closes it.
        "cancel" => {
            let back = simulator.lock().of_token(&token).and_then(|t| t.return_url().map(str::to_owned));
            return back.map_or_else(|| told("Nothing was paid."), |url| Redirect::to(&url).into_response());
        }
        _ => return (StatusCode::BAD_REQUEST, told("Expected action=confirm or action=cancel.")).into_response(),
    }
    let now = simulator.inner.clock.now();
    let fault = || simulator.inner.faults.strike("notify", NOTIFY);
    match simulator.change(|book| book.pay(now, &simulator.inner.settings, &token, fault)) {
        Ok(Ok(trade)) => match back(&simulator, now, &trade).await {
            Some(url) => Redirect::to(&url).into_response(),
            None => told("Paid."),
        },
        Ok(Err("trade_unknown")) => not_found(),
        Ok(Err(why)) => (StatusCode::CONFLICT, told(why)).into_response(),
        Err(e) => {
            tracing::warn!(error = %e, "the simulated Alipay cannot keep its book");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

fn opened(simulator: &Simulator, token: &str) -> Result<Trade, Box<Response>> {
    let now = simulator.inner.clock.now();
    match simulator.change(|book| book.open(now, token).cloned()) {
        Ok(Some(trade)) => Ok(trade),
        Ok(None) => Err(Box::new(not_found())),
        Err(e) => {
            tracing::warn!(error = %e, "the simulated Alipay cannot keep its book");
            Err(Box::new(StatusCode::SERVICE_UNAVAILABLE.into_response()))
        }
    }
}

/// The way back to the merchant's page, signed; it decides nothing there.
async fn back(simulator: &Simulator, now: Timestamp, trade: &Trade) -> Option<String> {
    let mut url = Url::parse(trade.return_url()?).ok()?;
    let settings = &simulator.inner.settings;
    let params: Params = [
        ("method", "alipay.trade.page.pay.return".to_owned()),
        ("charset", "utf-8".to_owned()),
        ("version", "1.0".to_owned()),
        ("app_id", settings.app_id.clone()),
        ("auth_app_id", settings.app_id.clone()),
        ("seller_id", settings.seller_id.clone()),
        ("out_trade_no", trade.out_trade_no.clone()),
        ("trade_no", trade.trade_no.clone()),
        ("total_amount", values::yuan(trade.amount)?),
        ("timestamp", values::time(now)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let keys = simulator.own_keys().await.ok()?;
    let params = signing::sign_notification(&keys.alipay, params).ok()?;
    url.query_pairs_mut().extend_pairs(&params);
    Some(url.into())
}

/// A page with one line.
pub(super) fn told(text: &str) -> Response {
    page(StatusCode::OK, &format!("<p>{}</p>", escape(text)))
}

fn not_found() -> Response {
    page(StatusCode::NOT_FOUND, "<p>There is no such trade.</p>")
}

/// A page whose form may lead back to the merchant's own.
fn page(status: StatusCode, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Simulated Alipay</title><style>body{{font:16px sans-serif;max-width:24em;margin:3em auto}}\
         .amount{{font-size:2em}}button{{font:inherit;margin-right:1em}}</style><h1>Simulated Alipay</h1>{body}</html>"
    );
    html::page(status, html, Forms::Anywhere)
}
