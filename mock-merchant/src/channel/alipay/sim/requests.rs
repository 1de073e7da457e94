//! What the gateway is asked: parameters and business content, each within its limits.

use crate::channel::alipay::values;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use walkpay::{Money, Timestamp};

/// Why the gateway does not do it: `sub_code` and a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused(pub &'static str, pub &'static str);

const INVALID: &str = "ACQ.INVALID_PARAMETER";
/// How long a trade without a deadline of its own can be paid.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(2 * 3_600);

/// Business content: what the methods have in common. What nobody here uses is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Content {
    pub out_trade_no: Option<String>,
    pub trade_no: Option<String>,
    total_amount: Option<Value>,
    refund_amount: Option<Value>,
    pub out_request_no: Option<String>,
    subject: Option<String>,
    seller_id: Option<String>,
    time_expire: Option<String>,
    timeout_express: Option<String>,
    product_code: Option<String>,
}

/// A trade to be promised.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub out_trade_no: String,
    pub amount: Money,
    pub subject: String,
    pub expires_at: Timestamp,
    pub notify_url: Option<String>,
    pub return_url: Option<String>,
}

impl Content {
    /// The merchant's number, 1 to 64 letters, digits and underscores.
    pub fn number(&self) -> Result<&str, Refused> {
        let fits = |n: &&str| {
            (1..=64).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        self.out_trade_no.as_deref().filter(fits).ok_or(Refused(INVALID, "out_trade_no"))
    }

    /// What `alipay.trade.precreate` and `alipay.trade.page.pay` ask for.
    pub fn wanted(&self, now: Timestamp, seller: &str, page: bool) -> Result<Wanted, Refused> {
        let subject = self.subject.clone().unwrap_or_default();
        if subject.is_empty() || subject.chars().count() > 256 || subject.contains(['/', '=', '&']) {
            return Err(Refused(INVALID, "subject"));
        }
        if self.seller_id.as_deref().is_some_and(|id| id != seller) {
            return Err(Refused("ACQ.PARTNER_ERROR", "seller_id"));
        }
        if page && self.product_code.as_deref() != Some("FAST_INSTANT_TRADE_PAY") {
            return Err(Refused(INVALID, "product_code"));
        }
        let amount = money(self.total_amount.as_ref()).ok_or(Refused(INVALID, "total_amount"))?;
        if !(1..=10_000_000_000).contains(&amount.minor) {
            return Err(Refused("ACQ.TOTAL_FEE_EXCEED", "total_amount"));
        }
        let expires_at = match (&self.time_expire, &self.timeout_express) {
            (Some(text), _) => values::parse_time(text).ok_or(Refused(INVALID, "time_expire"))?,
            (None, Some(text)) => now.plus(lifetime(text).ok_or(Refused(INVALID, "timeout_express"))?),
            (None, None) => now.plus(DEFAULT_LIFETIME),
        };
        if expires_at <= now {
            return Err(Refused(INVALID, "time_expire"));
        }
        let out_trade_no = self.number()?.to_owned();
        Ok(Wanted { out_trade_no, amount, subject, expires_at, notify_url: None, return_url: None })
    }

    /// What `alipay.trade.refund` gives back.
    pub fn refund(&self) -> Result<Money, Refused> {
        money(self.refund_amount.as_ref()).filter(|m| m.minor > 0).ok_or(Refused(INVALID, "refund_amount"))
    }
}

/// An amount, written as text or as a number.
fn money(value: Option<&Value>) -> Option<Money> {
    let text = match value? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    values::amount(&text, values::CURRENCY)
}

/// `90m`, `2h`, `15d`, or `1c` for the rest of the day, taken as a day here.
fn lifetime(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok().filter(|n| (1..=21_600).contains(n))?;
    let seconds = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" | "c" => 86_400,
        _ => return None,
    };
    let time = Duration::from_secs(number.checked_mul(seconds)?);
    (time <= Duration::from_secs(15 * 86_400)).then_some(time)
}
