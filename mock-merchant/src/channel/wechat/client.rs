//! The merchant's side: calls that are signed, answers that are verified.

use super::cipher::ApiV3Key;
use super::notification::{read, status};
use super::platform::{Platform, PlatformKey, clip};
use super::settings::{Product, Settings};
use super::signature::{Authorization, Seal, prepay_message, request_message};
use super::wire::{self, CNY, Ordered, Problem, Transaction};
use crate::channel::http::{Http, checked_address};
use crate::channel::port::*;
use crate::channel::rsa_key::{self, RsaKey, RsaPublic};
use crate::random;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::Mutex;
use url::Url;
use walkpay::protocol::order::Launch;
use walkpay::{Timestamp, WalkpayError};

/// The longest description of an order.
const MAX_DESCRIPTION: usize = 127;

/// What the merchant and the platform know each other by.
#[derive(Clone, Debug)]
pub struct Access {
    /// The serial number of the merchant's API certificate.
    pub serial: String,
    /// Its private key.
    pub key: RsaKey,
    /// The APIv3 key.
    pub api_key: ApiV3Key,
    /// The platform's public key, for merchants without certificates.
    pub public_key: Option<PlatformKey>,
    /// The authority that must have issued the platform's certificates (PEM).
    pub authority: Option<String>,
}

impl Access {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// [`WalkpayError::Key`], naming the file.
    pub fn load(settings: &Settings) -> Result<Self, WalkpayError> {
        let missing =
            || WalkpayError::Key { detail: "tenpay: serial_no, key_file and api_v3_key_file are needed".into() };
        let key_file = settings.key_file.as_deref().ok_or_else(missing)?;
        let api_key = rsa_key::read(settings.api_v3_key_file.as_deref().ok_or_else(missing)?)?;
        let public_key = match (&settings.public_key_id, &settings.public_key_file) {
            (Some(name), Some(file)) => Some(PlatformKey::named(name, RsaPublic::load(file)?)),
            _ => None,
        };
        Ok(Self {
            serial: settings.serial_no.clone().ok_or_else(missing)?,
            key: RsaKey::load(key_file)?,
            api_key: ApiV3Key::parse(&api_key)?,
            public_key,
            authority: settings.authority_file.as_deref().map(rsa_key::read).transpose()?.map(|pem| pem.to_string()),
        })
    }
}

/// A merchant at WeChat Pay; cheap to clone.
#[derive(Clone)]
pub struct WechatPay(Arc<Inner>);

struct Inner {
    settings: Settings,
    gateway: Url,
    notify_url: String,
    serial: String,
    key: RsaKey,
    api_key: ApiV3Key,
    /// The name of the platform's public key, which requests tell.
    public_key: Option<String>,
    platform: Platform,
    /// One fetch of certificates at a time.
    fetching: Mutex<()>,
    http: Http,
}

/// An answer that the platform has signed.
struct Answer {
    ok: bool,
    body: Vec<u8>,
}

impl Answer {
    fn json<T: DeserializeOwned>(&self) -> Result<T, NoAnswer> {
        serde_json::from_slice(&self.body).map_err(|_| NoAnswer("an answer that cannot be read".to_owned()))
    }

    /// The error's word; empty for a success.
    fn code(&self) -> String {
        if self.ok {
            return String::new();
        }
        serde_json::from_slice::<Problem>(&self.body).map(|p| p.code).unwrap_or_default()
    }
}

impl WechatPay {
    /// A merchant at the gateway at `gateway`, notified at `notify_url` unless the settings name another address.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] for an address that may not be called; [`WalkpayError::Internal`] if TLS cannot be set up.
    pub fn new(
        settings: Settings,
        access: Access,
        gateway: &str,
        notify_url: &str,
        http: Http,
    ) -> Result<Self, WalkpayError> {
        let gateway = checked_address("tenpay.gateway", gateway)?;
        let notify_url = settings.notify_url.clone().unwrap_or_else(|| notify_url.to_owned());
        checked_address("tenpay.notify_url", &notify_url)?;
        let public_key = settings.public_key_id.clone();
        let platform = Platform::new(access.api_key.clone(), access.public_key, access.authority);
        Ok(Self(Arc::new(Inner {
            settings,
            gateway,
            notify_url,
            serial: access.serial,
            key: access.key,
            api_key: access.api_key,
            public_key,
            platform,
            fetching: Mutex::new(()),
            http,
        })))
    }

    /// Who the merchant is there.
    pub fn identity(&self) -> Identity {
        self.0.settings.identity()
    }

    /// Asks for something.
    ///
    /// # Errors
    /// [`NoAnswer`] for everything but an answer that the platform has signed and that says what became of it.
    pub async fn ask(&self, now: Timestamp, ask: &ChannelAsk) -> Result<ChannelAnswer, NoAnswer> {
        match ask {
            ChannelAsk::Create(trade) => self.create(now, trade).await,
            ChannelAsk::Query { number } => self.query(now, number).await.map(ChannelAnswer::Trade),
            ChannelAsk::Close { number } => self.close(now, number).await.map(ChannelAnswer::Trade),
            ChannelAsk::Refund(refund) => self.refund(now, refund).await,
            ChannelAsk::QueryRefund { number, refund_number } => {
                self.query_refund(now, number, refund_number, None).await.map(ChannelAnswer::Refund)
            }
        }
    }

    /// Opens a notification that came at `now`.
    ///
    /// # Errors
    /// [`Forged`] unless the platform has signed exactly this within five minutes and encrypted it for this merchant.
    pub async fn open(&self, now: Timestamp, notification: &Notification<'_>) -> Result<Notice, Forged> {
        let seal = Seal::of(notification.headers).ok_or_else(|| Forged("no signature of API v3".to_owned()))?;
        self.verified(now, &seal, notification.body).await.map_err(|e| Forged(e.0))?;
        read(&self.0.api_key, notification.body)
    }

    /// The platform's keys that are valid now, by serial number.
    pub fn platform_serials(&self, now: Timestamp) -> Vec<String> {
        self.0.platform.serials(now)
    }

    async fn create(&self, now: Timestamp, trade: &NewTrade) -> Result<ChannelAnswer, NoAnswer> {
        let refused = |reason: &str| Ok(ChannelAnswer::Refused { reason: reason.to_owned() });
        if trade.amount.currency.code() != CNY {
            return refused("currency_unsupported");
        }
        if trade.amount.minor <= 0 {
            return refused("amount_unsupported");
        }
        let settings = &self.0.settings;
        let payer = match (settings.product, &trade.payer) {
            (Product::Jsapi, None) => return refused("payer_unknown"),
            (Product::Jsapi, Some(openid)) => Some(wire::Payer { openid: openid.clone() }),
            (Product::Native | Product::App, _) => None,
        };
        let order = wire::NewOrder {
            appid: settings.appid.clone(),
            mchid: settings.mchid.clone(),
            description: description(&trade.title),
            out_trade_no: trade.number.clone(),
            time_expire: Some(wire::beijing(trade.expires_at).map_err(|e| NoAnswer(e.to_string()))?),
            notify_url: self.0.notify_url.clone(),
            amount: wire::Amount { total: trade.amount.minor, currency: Some(CNY.to_owned()) },
            payer,
        };
        let product = match settings.product {
            Product::Native => "native",
            Product::Jsapi => "jsapi",
            Product::App => "app",
        };
        let path = format!("/v3/pay/transactions/{product}");
        let answer = self.call(now, Method::POST, &path, Some(&json!(order))).await?;
        match answer.code().as_str() {
            "" => self.launch(now, &answer.json()?).map(|launch| ChannelAnswer::Created { launch }),
            "ORDER_CLOSED" | "ORDERCLOSED" => Ok(ChannelAnswer::Trade(TradeStatus::Closed)),
            "ORDERPAID" | "ORDER_PAID" => self.query(now, &trade.number).await.map(ChannelAnswer::Trade),
            code if passing(code) => Err(unknown(code)),
            // Refused; an earlier try of the same request may have been taken all the same.
            code => match self.query(now, &trade.number).await? {
                TradeStatus::Unknown => refused(&reason(code)),
                TradeStatus::Waiting => Err(unknown(code)),
                other => Ok(ChannelAnswer::Trade(other)),
            },
        }
    }

    /// What the host needs: for a QR code its text, otherwise parameters that are signed for the payer's device.
    fn launch(&self, now: Timestamp, ordered: &Ordered) -> Result<Launch, NoAnswer> {
        let short = |text: &String| !text.is_empty() && text.len() <= 512;
        let incomplete = || NoAnswer("an answer without what was asked for".to_owned());
        if self.0.settings.product == Product::Native {
            let text = ordered.code_url.clone().filter(short).ok_or_else(incomplete)?;
            return Ok(Launch::Qr { text });
        }
        let prepay_id = ordered.prepay_id.clone().filter(short).ok_or_else(incomplete)?;
        let timestamp = now.as_millis().div_euclid(1000).to_string();
        let (appid, nonce) = (&self.0.settings.appid, nonce()?);
        let sign = |package: &str| self.sign(&prepay_message(appid, &timestamp, &nonce, package));
        let parameters = match self.0.settings.product {
            Product::App => json!({
                "appid": appid, "partnerid": self.0.settings.mchid, "prepayid": prepay_id, "package": "Sign=WXPay",
                "noncestr": nonce, "timestamp": timestamp, "sign": sign(&prepay_id)?,
            }),
            _ => {
                let package = format!("prepay_id={prepay_id}");
                json!({
                    "appId": appid, "timeStamp": timestamp, "nonceStr": nonce, "package": package,
                    "signType": "RSA", "paySign": sign(&package)?,
                })
            }
        };
        Ok(Launch::Parameters { json: parameters.to_string() })
    }

    async fn query(&self, now: Timestamp, number: &str) -> Result<TradeStatus, NoAnswer> {
        let path = format!("/v3/pay/transactions/out-trade-no/{number}?mchid={}", self.0.settings.mchid);
        let answer = self.call(now, Method::GET, &path, None).await?;
        match answer.code().as_str() {
            "" => {
                let transaction: Transaction = answer.json()?;
                if transaction.out_trade_no != number {
                    return Err(NoAnswer("an answer about another order".to_owned()));
                }
                let state = || NoAnswer(format!("a state that is not known: {}", clip(&transaction.trade_state)));
                status(&transaction).ok_or_else(state)
            }
            "ORDER_NOT_EXIST" | "ORDERNOTEXIST" | "RESOURCE_NOT_EXISTS" => Ok(TradeStatus::Unknown),
            code => Err(unknown(code)),
        }
    }

    async fn close(&self, now: Timestamp, number: &str) -> Result<TradeStatus, NoAnswer> {
        let path = format!("/v3/pay/transactions/out-trade-no/{number}/close");
        let body = json!(wire::Close { mchid: self.0.settings.mchid.clone() });
        let answer = self.call(now, Method::POST, &path, Some(&body)).await?;
        match answer.code().as_str() {
            // Only the state itself tells whether it was still in time.
            "" | "ORDERPAID" | "ORDER_PAID" => self.query(now, number).await,
            "ORDER_CLOSED" | "ORDERCLOSED" => Ok(TradeStatus::Closed),
            "ORDER_NOT_EXIST" | "ORDERNOTEXIST" | "RESOURCE_NOT_EXISTS" => Ok(TradeStatus::Unknown),
            code => Err(unknown(code)),
        }
    }

    async fn refund(&self, now: Timestamp, refund: &NewRefund) -> Result<ChannelAnswer, NoAnswer> {
        let amount = wire::RefundAmount {
            refund: refund.amount.minor,
            total: refund.total.minor,
            currency: refund.amount.currency.code().to_owned(),
        };
        let order = wire::NewRefund {
            out_trade_no: Some(refund.number.clone()),
            transaction_id: None,
            out_refund_no: refund.refund_number.clone(),
            reason: None,
            amount,
        };
        let answer = self.call(now, Method::POST, "/v3/refund/domestic/refunds", Some(&json!(order))).await?;
        match answer.code().as_str() {
            "" => refund_status(&answer.json()?, &refund.number, &refund.refund_number, Some(refund))
                .map(ChannelAnswer::Refund),
            // The account is empty: the same refund can be made once it is filled again.
            "NOT_ENOUGH" | "NOTENOUGH" => {
                tracing::warn!("WeChat Pay: the merchant's account is too low for a refund");
                Err(unknown("NOT_ENOUGH"))
            }
            code if passing(code) => Err(unknown(code)),
            code => {
                let known = self.query_refund(now, &refund.number, &refund.refund_number, Some(refund)).await?;
                Ok(ChannelAnswer::Refund(match known {
                    RefundStatus::Unknown => RefundStatus::Refused { reason: reason(code) },
                    other => other,
                }))
            }
        }
    }

    async fn query_refund(
        &self,
        now: Timestamp,
        number: &str,
        refund_number: &str,
        asked: Option<&NewRefund>,
    ) -> Result<RefundStatus, NoAnswer> {
        let path = format!("/v3/refund/domestic/refunds/{refund_number}");
        let answer = self.call(now, Method::GET, &path, None).await?;
        match answer.code().as_str() {
            "" => refund_status(&answer.json()?, number, refund_number, asked),
            "RESOURCE_NOT_EXISTS" | "REFUND_NOT_EXISTS" => Ok(RefundStatus::Unknown),
            code => Err(unknown(code)),
        }
    }

    /// Calls the platform; what comes back counts only if it has signed it.
    async fn call(
        &self,
        now: Timestamp,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Answer, NoAnswer> {
        if self.0.platform.is_due(now)
            && let Err(e) = self.fetch(now, None).await
        {
            tracing::warn!(error = %e, "the certificates of WeChat Pay were not fetched");
        }
        let (ok, seal, body) = self.send(now, method, path, body).await?;
        let seal = seal.ok_or_else(|| NoAnswer(format!("an answer that nobody has signed: {}", said(&body))))?;
        self.verified(now, &seal, &body).await?;
        Ok(Answer { ok, body })
    }

    /// Verifies a signature; for a serial number that is not known the list of certificates is fetched, once.
    async fn verified(&self, now: Timestamp, seal: &Seal, body: &[u8]) -> Result<(), NoAnswer> {
        if self.0.platform.may_help(now, seal) {
            self.fetch(now, Some(seal)).await?;
            self.0.platform.noted(now, seal);
        }
        self.0.platform.verify(now, seal, body).map_err(|e| NoAnswer(e.to_string()))
    }

    /// Fetches the list of certificates, unless another task has done so in the meantime.
    async fn fetch(&self, now: Timestamp, wanted: Option<&Seal>) -> Result<(), NoAnswer> {
        let _one = self.0.fetching.lock().await;
        let needed = wanted.map_or_else(|| self.0.platform.is_due(now), |seal| self.0.platform.may_help(now, seal));
        if !needed {
            return Ok(());
        }
        let (ok, seal, body) = self.send(now, Method::GET, "/v3/certificates", None).await?;
        let seal = seal.filter(|_| ok);
        let seal = seal.ok_or_else(|| NoAnswer(format!("no list of certificates: {}", said(&body))))?;
        self.0.platform.take(now, &seal, &body).map_err(NoAnswer)
    }

    /// Sends a request; whether its status is a success, its signature, its body.
    async fn send(
        &self,
        now: Timestamp,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<(bool, Option<Seal>, Vec<u8>), NoAnswer> {
        let bytes = body.map(|b| b.to_string().into_bytes()).unwrap_or_default();
        let nonce = nonce()?;
        let timestamp = now.as_millis().div_euclid(1000).to_string();
        let signature = self.sign(&request_message(method.as_str(), path, &timestamp, &nonce, &bytes))?;
        let authorization = Authorization {
            mchid: self.0.settings.mchid.clone(),
            serial: self.0.serial.clone(),
            timestamp,
            nonce,
            signature,
        };
        let address = format!("{}{path}", self.0.gateway.as_str().trim_end_matches('/'));
        let mut request = self
            .0
            .http
            .client()
            .request(method, address)
            .header(AUTHORIZATION, authorization.value())
            .header(ACCEPT, "application/json");
        if let Some(name) = &self.0.public_key {
            request = request.header("wechatpay-serial", name);
        }
        if !bytes.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json").body(bytes);
        }
        let received = self.0.http.send(request).await?;
        Ok((received.status.is_success(), Seal::of(&received.headers), received.body))
    }

    fn sign(&self, message: &[u8]) -> Result<String, NoAnswer> {
        self.0.key.sign(message).map(|s| STANDARD.encode(s)).map_err(|e| NoAnswer(e.to_string()))
    }
}

/// What a refund's answer says, if it is about the refund that was asked for.
fn refund_status(
    refund: &wire::Refund,
    number: &str,
    refund_number: &str,
    asked: Option<&NewRefund>,
) -> Result<RefundStatus, NoAnswer> {
    let fits = asked.is_none_or(|asked| {
        refund.amount.refund == asked.amount.minor
            && refund.amount.total == asked.total.minor
            && refund.amount.currency == asked.amount.currency.code()
    });
    if !fits || refund.out_trade_no != number || refund.out_refund_no != refund_number {
        return Err(NoAnswer("an answer about another refund".to_owned()));
    }
    match refund.status.as_str() {
        "SUCCESS" => Ok(RefundStatus::Done),
        "PROCESSING" => Ok(RefundStatus::Pending),
        "CLOSED" => Ok(RefundStatus::Refused { reason: "refund_closed".to_owned() }),
        // The money could not be sent to where it came from: the merchant has to send it elsewhere at the console.
        "ABNORMAL" => {
            tracing::warn!(refund = refund_number, "WeChat Pay: a refund waits for the merchant at the console");
            Ok(RefundStatus::Pending)
        }
        other => Err(NoAnswer(format!("a state that is not known: {}", clip(other)))),
    }
}

/// Whether an error says nothing about what becomes of the request when it is made again.
fn passing(code: &str) -> bool {
    matches!(
        code,
        "" | "SYSTEM_ERROR"
            | "SYSTEMERROR"
            | "FREQUENCY_LIMITED"
            | "FREQUENCY_LIMIT_EXCEED"
            | "RATELIMIT_EXCEEDED"
            | "SIGN_ERROR"
            | "BANK_ERROR"
            | "OUT_TRADE_NO_PROCESSING"
            | "BIZERR_NEED_RETRY"
            | "TRADE_ERROR"
    )
}

fn unknown(code: &str) -> NoAnswer {
    NoAnswer(format!("the platform answers {}", clip(if code.is_empty() { "without a code" } else { code })))
}

/// A stable word of an error code.
fn reason(code: &str) -> String {
    let word: String = code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(40).collect();
    format!("tenpay_{}", word.to_ascii_lowercase())
}

/// What an answer says, for the log.
fn said(body: &[u8]) -> String {
    serde_json::from_slice::<Problem>(body).map(|p| clip(&p.code)).unwrap_or_else(|_| "no error of API v3".to_owned())
}

fn description(title: &str) -> String {
    let text: String = title.chars().filter(|c| !c.is_control()).take(MAX_DESCRIPTION).collect();
    if text.trim().is_empty() { "Payment".to_owned() } else { text }
}

/// 32 characters that were never used before.
fn nonce() -> Result<String, NoAnswer> {
    let bytes: [u8; 16] = random::bytes().map_err(|e| NoAnswer(e.to_string()))?;
    Ok(bytes.iter().map(|b| format!("{b:02X}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use walkpay::{Currency, Money};

    fn cny(minor: i64) -> Money {
        Currency::parse("CNY").unwrap().minor(minor)
    }

    fn answered(change: impl FnOnce(&mut Value)) -> Result<RefundStatus, NoAnswer> {
        let asked = NewRefund { number: "n1".into(), refund_number: "r1".into(), total: cny(100), amount: cny(30) };
        let mut answer = json!({
            "refund_id": "50", "out_refund_no": "r1", "out_trade_no": "n1", "status": "SUCCESS",
            "amount": { "refund": 30, "total": 100, "currency": "CNY" },
        });
        change(&mut answer);
        refund_status(&serde_json::from_value(answer).unwrap(), "n1", "r1", Some(&asked))
    }

    #[test]
    fn a_refund_is_done_only_by_an_answer_about_exactly_it() {
        assert_eq!(answered(|_| {}), Ok(RefundStatus::Done));
        for pending in ["PROCESSING", "ABNORMAL"] {
            assert_eq!(answered(|a| a["status"] = pending.into()), Ok(RefundStatus::Pending), "{pending}");
        }
        assert!(matches!(answered(|a| a["status"] = "CLOSED".into()), Ok(RefundStatus::Refused { .. })));
        assert!(answered(|a| a["status"] = "".into()).is_err());
        for (member, value) in [("out_refund_no", "r2"), ("out_trade_no", "n2")] {
            assert!(answered(|a| a[member] = value.into()).is_err(), "{member}");
        }
        for (member, value) in [("refund", json!(29)), ("total", json!(101)), ("currency", json!("HKD"))] {
            assert!(answered(|a| a["amount"][member] = value).is_err(), "{member}");
        }
    }

    #[test]
    fn an_error_refuses_only_where_trying_again_cannot_help() {
        for code in ["", "SYSTEM_ERROR", "FREQUENCY_LIMITED", "SIGN_ERROR"] {
            assert!(passing(code), "{code}");
        }
        for code in ["PARAM_ERROR", "NO_AUTH", "OUT_TRADE_NO_USED", "APPID_MCHID_NOT_MATCH"] {
            assert!(!passing(code), "{code}");
        }
        assert_eq!(reason("NO_AUTH"), "tenpay_no_auth");
        assert_eq!(reason("<b>\u{7}"), "tenpay_b", "a word, whatever came");
    }

    #[test]
    fn a_description_fits() {
        assert_eq!(description("洗衣机\n的配送"), "洗衣机的配送");
        assert_eq!(description(&"茶".repeat(200)).chars().count(), MAX_DESCRIPTION);
        assert_eq!((description(""), description(" \t")), ("Payment".to_owned(), "Payment".to_owned()));
    }
}
