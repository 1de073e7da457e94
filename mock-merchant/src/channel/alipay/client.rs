//! The merchant's side: what the port asks, as calls of the gateway.
//!
//! Only an answer that Alipay has signed says anything. What it says is definite only where Alipay's documents say so;
//! everything else is [`NoAnswer`], and is asked about later.

use super::settings::{Product, Settings};
use super::signing::{self, Answer, Params};
use super::{notification, values};
use crate::channel::http::Http;
use crate::channel::port::*;
use crate::channel::rsa_key::{RsaKey, RsaPublic};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use walkpay::protocol::order::Launch;
use walkpay::{Timestamp, WalkpayError};

/// The longest title that is sent: the gateway takes 256 characters, of which some of its screens show less.
const MAX_SUBJECT: usize = 128;

/// What the merchant signs with, and what it verifies with.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The application's.
    pub app: RsaKey,
    /// Alipay's.
    pub alipay: RsaPublic,
}

/// Where the keys come from: files that were read, or a simulated gateway that makes them when they are first needed.
pub trait KeySource: Send + Sync {
    /// The keys.
    ///
    /// # Errors
    /// [`WalkpayError::Key`].
    fn keys(&self) -> Pin<Box<dyn Future<Output = Result<Keys, WalkpayError>> + Send + '_>>;
}

impl KeySource for Keys {
    fn keys(&self) -> Pin<Box<dyn Future<Output = Result<Keys, WalkpayError>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(self.clone())))
    }
}

/// Where calls go and where notifications come to.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The gateway.
    pub gateway: String,
    /// Where Alipay notifies.
    pub notify: String,
}

/// Alipay; cheap to clone.
#[derive(Clone)]
pub struct AlipayChannel {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    addresses: Addresses,
    keys: Box<dyn KeySource>,
    http: Http,
}

/// What is signed in an answer; what a method does not give is absent.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(default)]
    code: String,
    #[serde(default)]
    sub_code: String,
    out_trade_no: Option<String>,
    trade_no: Option<String>,
    trade_status: Option<String>,
    total_amount: Option<String>,
    trans_currency: Option<String>,
    qr_code: Option<String>,
    fund_change: Option<String>,
    refund_status: Option<String>,
    out_request_no: Option<String>,
}

impl AlipayChannel {
    /// Alipay at these addresses.
    pub fn new(settings: Settings, addresses: Addresses, keys: Box<dyn KeySource>, http: Http) -> Self {
        Self { inner: Arc::new(Inner { settings, addresses, keys, http }) }
    }

    /// Who the merchant is there.
    pub fn identity(&self) -> Identity {
        self.inner.settings.identity()
    }

    /// Asks for something.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn ask(&self, now: Timestamp, ask: &ChannelAsk) -> Result<ChannelAnswer, NoAnswer> {
        match ask {
            ChannelAsk::Create(new) => self.create(now, new).await,
            ChannelAsk::Query { number } => self.status(now, number).await.map(ChannelAnswer::Trade),
            ChannelAsk::Close { number } => self.close(now, number).await.map(ChannelAnswer::Trade),
            ChannelAsk::Refund(new) => self.refund(now, new).await.map(ChannelAnswer::Refund),
            ChannelAsk::QueryRefund { number, refund_number } => {
                self.refund_status(now, number, refund_number).await.map(ChannelAnswer::Refund)
            }
        }
    }

    /// Opens a notification.
    ///
    /// # Errors
    /// [`Forged`].
    pub async fn open(&self, notification: &Notification<'_>) -> Result<Notice, Forged> {
        let keys = self.inner.keys.keys().await.map_err(|e| Forged(e.to_string()))?;
        notification::open(&keys.alipay, notification.body)
    }

    async fn create(&self, now: Timestamp, new: &NewTrade) -> Result<ChannelAnswer, NoAnswer> {
        let refused = |reason: &str| Ok(ChannelAnswer::Refused { reason: reason.to_owned() });
        let Some(total) = values::yuan(new.amount).filter(|_| new.amount.minor > 0) else {
            return refused("currency_unsupported");
        };
        let mut content = json!({
            "out_trade_no": new.number,
            "total_amount": total,
            "subject": subject(&new.title),
            "seller_id": self.inner.settings.seller_id,
            "time_expire": values::time(new.expires_at),
        });
        if self.inner.settings.product == Product::PagePay {
            content["product_code"] = "FAST_INSTANT_TRADE_PAY".into();
            let url = self.page(now, &content).await?;
            return Ok(ChannelAnswer::Created { launch: Launch::Url { url } });
        }
        let said = self.call(now, "alipay.trade.precreate", &content).await?;
        match (said.code.as_str(), said.sub_code.as_str()) {
            ("10000", _) => match said.qr_code.filter(|_| said.out_trade_no.as_ref() == Some(&new.number)) {
                Some(text) => Ok(ChannelAnswer::Created { launch: Launch::Qr { text } }),
                None => Err(unclear("no code for this trade")),
            },
            // It is there already: how it stands decides.
            (_, "ACQ.TRADE_HAS_SUCCESS" | "ACQ.TRADE_HAS_CLOSE") => match self.status(now, &new.number).await? {
                status @ (TradeStatus::Paid(_) | TradeStatus::Closed) => Ok(ChannelAnswer::Trade(status)),
                _ => Err(unclear("a trade that is over and is not")),
            },
            ("40004", sub_code) if REFUSED.contains(&sub_code) => refused(&word(sub_code)),
            _ => Err(unanswered(&said)),
        }
    }

    async fn status(&self, now: Timestamp, number: &str) -> Result<TradeStatus, NoAnswer> {
        let said = self.call(now, "alipay.trade.query", &json!({ "out_trade_no": number })).await?;
        if said.code == "40004" && said.sub_code == "ACQ.TRADE_NOT_EXIST" {
            return Ok(TradeStatus::Unknown);
        }
        if said.code != "10000" {
            return Err(unanswered(&said));
        }
        // The signature is over the answer alone: it must be the one to this question.
        if said.out_trade_no.as_deref() != Some(number) {
            return Err(unclear("an answer about another trade"));
        }
        match said.trade_status.as_deref() {
            Some("WAIT_BUYER_PAY") => Ok(TradeStatus::Waiting),
            Some("TRADE_CLOSED") => Ok(TradeStatus::Closed),
            Some("TRADE_SUCCESS" | "TRADE_FINISHED") => {
                let currency = said.trans_currency.as_deref().unwrap_or(values::CURRENCY);
                let amount = said.total_amount.as_deref().and_then(|text| values::amount(text, currency));
                let (Some(amount), Some(trade)) = (amount, said.trade_no) else {
                    return Err(unclear("a payment without amount or number"));
                };
                let Identity { application, seller, .. } = self.identity();
                Ok(TradeStatus::Paid(Receipt { application, seller, number: number.to_owned(), trade, amount }))
            }
            _ => Err(unclear("a state that is not known")),
        }
    }

    async fn close(&self, now: Timestamp, number: &str) -> Result<TradeStatus, NoAnswer> {
        let said = self.call(now, "alipay.trade.close", &json!({ "out_trade_no": number })).await?;
        match (said.code.as_str(), said.sub_code.as_str()) {
            ("10000", _) if said.out_trade_no.as_deref() == Some(number) => Ok(TradeStatus::Closed),
            ("40004", "ACQ.TRADE_NOT_EXIST") => Ok(TradeStatus::Unknown),
            ("40004", "ACQ.TRADE_STATUS_ERROR" | "ACQ.REASON_TRADE_STATUS_INVALID") => self.status(now, number).await,
            _ => Err(unanswered(&said)),
        }
    }

    async fn refund(&self, now: Timestamp, new: &NewRefund) -> Result<RefundStatus, NoAnswer> {
        let Some(amount) = values::yuan(new.amount) else {
            return Ok(RefundStatus::Refused { reason: "currency_unsupported".to_owned() });
        };
        let content = json!({
            "out_trade_no": new.number,
            "out_request_no": new.refund_number,
            "refund_amount": amount,
        });
        let said = self.call(now, "alipay.trade.refund", &content).await?;
        match (said.code.as_str(), said.sub_code.as_str()) {
            ("10000", _) if said.out_trade_no.as_deref() != Some(new.number.as_str()) => {
                Err(unclear("an answer about another trade"))
            }
            ("10000", _) if said.fund_change.as_deref() == Some("Y") => Ok(RefundStatus::Done),
            // Nothing moved by this call: an earlier one may have done it.
            ("10000", _) => Ok(RefundStatus::Pending),
            // Refused; an earlier try of the same request may have been carried out all the same.
            ("40004", sub_code) if NOT_REFUNDED.contains(&sub_code) => {
                match self.refund_status(now, &new.number, &new.refund_number).await? {
                    RefundStatus::Unknown => Ok(RefundStatus::Refused { reason: word(sub_code) }),
                    known => Ok(known),
                }
            }
            _ => Err(unanswered(&said)),
        }
    }

    async fn refund_status(&self, now: Timestamp, number: &str, refund: &str) -> Result<RefundStatus, NoAnswer> {
        let content = json!({ "out_trade_no": number, "out_request_no": refund });
        let said = self.call(now, "alipay.trade.fastpay.refund.query", &content).await?;
        match (said.code.as_str(), said.refund_status.as_deref()) {
            ("10000", Some("REFUND_SUCCESS")) => match said.out_request_no.as_deref() == Some(refund) {
                true => Ok(RefundStatus::Done),
                false => Err(unclear("an answer about another refund")),
            },
            // Not made so far: to be asked for again under the same number.
            ("10000", _) => Ok(RefundStatus::Unknown),
            ("40004", _) if said.sub_code == "ACQ.TRADE_NOT_EXIST" => Ok(RefundStatus::Unknown),
            _ => Err(unanswered(&said)),
        }
    }

    /// The signed address of the page where the payer pays.
    async fn page(&self, now: Timestamp, content: &Value) -> Result<String, NoAnswer> {
        let params = self.signed(now, "alipay.trade.page.pay", content).await?;
        Ok(format!("{}?{}", self.inner.addresses.gateway, signing::form(&params)))
    }

    async fn signed(&self, now: Timestamp, method: &str, content: &Value) -> Result<Params, NoAnswer> {
        let keys = self.inner.keys.keys().await.map_err(|e| NoAnswer(e.to_string()))?;
        let params = request(&self.inner.settings, &self.inner.addresses, now, method, content);
        signing::sign_request(&keys.app, params).map_err(|e| NoAnswer(e.to_string()))
    }

    async fn call(&self, now: Timestamp, method: &str, content: &Value) -> Result<Said, NoAnswer> {
        let params = self.signed(now, method, content).await?;
        let keys = self.inner.keys.keys().await.map_err(|e| NoAnswer(e.to_string()))?;
        let request = self.inner.http.client().post(format!("{}?charset=utf-8", self.inner.addresses.gateway));
        let request = request
            .header("content-type", "application/x-www-form-urlencoded;charset=utf-8")
            .body(signing::form(&params));
        let received = self.inner.http.send(request).await?;
        if received.status != StatusCode::OK {
            return Err(NoAnswer(format!("status {}", received.status.as_u16())));
        }
        said(&keys.alipay, method, &received.body)
    }
}

/// The parameters of a call, without the signature.
pub fn request(settings: &Settings, to: &Addresses, now: Timestamp, method: &str, content: &Value) -> Params {
    let mut params: Params = [
        ("app_id", settings.app_id.clone()),
        ("method", method.to_owned()),
        ("format", "JSON".to_owned()),
        ("charset", "utf-8".to_owned()),
        ("sign_type", "RSA2".to_owned()),
        ("timestamp", values::time(now)),
        ("version", "1.0".to_owned()),
        ("biz_content", content.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    if matches!(method, "alipay.trade.precreate" | "alipay.trade.page.pay") {
        params.insert("notify_url".to_owned(), to.notify.clone());
    }
    if let Some(url) = settings.return_url.as_ref().filter(|_| method == "alipay.trade.page.pay") {
        params.insert("return_url".to_owned(), url.clone());
    }
    params
}

/// What Alipay has signed in its answer to `method`.
fn said(key: &RsaPublic, method: &str, body: &[u8]) -> Result<Said, NoAnswer> {
    let answer = Answer::parse(body).ok_or_else(|| unclear("no JSON object"))?;
    let name = format!("{}_response", method.replace('.', "_"));
    let Some(text) = answer.text(&name) else {
        return Err(unclear("no answer to this method"));
    };
    let signed = answer.sign().is_some_and(|sign| signing::verifies(key, text, &sign));
    if !signed {
        return Err(unclear("an answer that Alipay has not signed"));
    }
    serde_json::from_str(text).map_err(|_| unclear("an answer of another form"))
}

/// What refuses a trade for good: nothing of it will be there under this number.
const REFUSED: &[&str] = &[
    "ACQ.ACCESS_FORBIDDEN",
    "ACQ.CONTEXT_INCONSISTENT",
    "ACQ.EXIST_FORBIDDEN_WORD",
    "ACQ.INVALID_PARAMETER",
    "ACQ.PARTNER_ERROR",
    "ACQ.SELLER_BEEN_BLOCKED",
    "ACQ.TOTAL_FEE_EXCEED",
];

/// What refuses a refund for good.
const NOT_REFUNDED: &[&str] = &[
    "ACQ.DISCORDANT_REPEAT_REQUEST",
    "ACQ.INVALID_PARAMETER",
    "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
    "ACQ.REFUND_CHARGE_ERROR",
    "ACQ.REFUND_FEE_ERROR",
    "ACQ.SELLER_BALANCE_NOT_ENOUGH",
    "ACQ.TRADE_HAS_CLOSE",
    "ACQ.TRADE_HAS_FINISHED",
    "ACQ.TRADE_NOT_ALLOW_REFUND",
    "ACQ.TRADE_NOT_EXIST",
    "ACQ.TRADE_STATUS_ERROR",
];

/// `ACQ.TRADE_NOT_EXIST` → `trade_not_exist`: a stable word.
fn word(sub_code: &str) -> String {
    sub_code.trim_start_matches("ACQ.").to_ascii_lowercase()
}

/// Cut to what the gateway shows, without the characters that it refuses.
fn subject(title: &str) -> String {
    title
        .chars()
        .map(|c| if matches!(c, '/' | '=' | '&') || c.is_control() { ' ' } else { c })
        .take(MAX_SUBJECT)
        .collect()
}

fn unclear(what: &str) -> NoAnswer {
    NoAnswer(format!("Alipay: {what}"))
}

fn unanswered(said: &Said) -> NoAnswer {
    let plain = |text: &str| text.chars().filter(char::is_ascii_graphic).take(60).collect::<String>();
    NoAnswer(format!("Alipay: code {} {}", plain(&said.code), plain(&said.sub_code)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::http::{Awaited, Carrier, Received};
    use crate::channel::wechat::sim::keys;
    use reqwest::Request;
    use reqwest::header::HeaderMap;
    use std::sync::Mutex;
    use std::time::Duration;
    use walkpay::Currency;

    /// Answers that come one after the other, whatever is asked.
    struct Canned(Mutex<Vec<String>>);

    impl Carrier for Canned {
        fn carry(&self, _: Request) -> Awaited {
            let body = self.0.lock().unwrap().remove(0).into_bytes();
            Box::pin(async { Ok(Received { status: StatusCode::OK, headers: HeaderMap::new(), body }) })
        }
    }

    /// What a refund comes to that Alipay refuses, and of which it then says this.
    async fn refused_and_then(query: &str) -> Result<RefundStatus, NoAnswer> {
        let (app, alipay) = (RsaKey::parse(keys::MERCHANT).unwrap(), RsaKey::parse(keys::PLATFORM[0]).unwrap());
        let refusal = r#"{"code":"40004","sub_code":"ACQ.SELLER_BALANCE_NOT_ENOUGH"}"#;
        let answers =
            [("alipay_trade_refund_response", refusal), ("alipay_trade_fastpay_refund_query_response", query)];
        let answers = answers.map(|(name, object)| signing::answer(&alipay, name, object).unwrap());
        let http = Http::new(Duration::from_secs(1), &[]).unwrap();
        let http = http.carried_by(Arc::new(Canned(Mutex::new(answers.to_vec()))));
        let addresses = Addresses { gateway: "https://alipay.example/gateway.do".into(), notify: String::new() };
        let keys = Keys { app, alipay: alipay.public().clone() };
        let channel = AlipayChannel::new(Settings::default(), addresses, Box::new(keys), http);
        let cny = |minor| Currency::parse("CNY").unwrap().minor(minor);
        let new = NewRefund { number: "n1".into(), refund_number: "r1".into(), total: cny(100), amount: cny(30) };
        channel.refund(Timestamp::from_millis(0), &new).await
    }

    #[tokio::test]
    async fn a_refund_is_refused_only_if_no_earlier_try_has_made_it() {
        let made = r#"{"code":"10000","out_request_no":"r1","refund_status":"REFUND_SUCCESS"}"#;
        assert_eq!(refused_and_then(made).await, Ok(RefundStatus::Done));
        let reason = "seller_balance_not_enough".to_owned();
        assert_eq!(refused_and_then(r#"{"code":"10000"}"#).await, Ok(RefundStatus::Refused { reason }));
        assert!(refused_and_then(r#"{"code":"20000"}"#).await.is_err(), "nobody knows");
    }
}
