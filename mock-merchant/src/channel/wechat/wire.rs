//! The JSON of API v3, as far as this merchant and its simulator use it. Amounts are whole fen.

use super::cipher::Sealed;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use walkpay::{Timestamp, WalkpayError};

/// The only currency that the platform takes here.
pub const CNY: &str = "CNY";

/// `POST /v3/pay/transactions/…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOrder {
    /// The application.
    pub appid: String,
    /// The merchant.
    pub mchid: String,
    /// What is paid for; at most 127 characters.
    pub description: String,
    /// The merchant's number: 6 to 32 letters, digits and `_-|*`.
    pub out_trade_no: String,
    /// When it can no longer be paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_expire: Option<String>,
    /// Where the payment is to be notified.
    pub notify_url: String,
    /// How much.
    pub amount: Amount,
    /// Who pays; only within WeChat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<Payer>,
}

/// An amount of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Fen.
    pub total: i64,
    /// ISO 4217.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

/// Who pays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payer {
    /// The payer's name for this application.
    pub openid: String,
}

/// The answer to an order: one of both.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ordered {
    /// What the QR code says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_url: Option<String>,
    /// What the prepayment is known by, for two hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepay_id: Option<String>,
}

/// How an order stands: an answer, and what a notification carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// The application.
    pub appid: String,
    /// The merchant.
    pub mchid: String,
    /// The merchant's number.
    pub out_trade_no: String,
    /// The platform's number, once it is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    /// How it was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trade_type: Option<String>,
    /// `SUCCESS`, `REFUND`, `NOTPAY`, `CLOSED`, `REVOKED`, `USERPAYING` or `PAYERROR`.
    pub trade_state: String,
    /// The same for people.
    #[serde(default)]
    pub trade_state_desc: String,
    /// Through which bank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank_type: Option<String>,
    /// When it was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_time: Option<String>,
    /// Who paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<Payer>,
    /// How much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Collected>,
}

/// What an order came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// What was asked for, fen.
    pub total: i64,
    /// What the payer gave, fen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer_total: Option<i64>,
    /// Of `total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Of `payer_total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer_currency: Option<String>,
}

/// `POST …/close`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Close {
    /// The merchant.
    pub mchid: String,
}

/// `POST /v3/refund/domestic/refunds`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRefund {
    /// The merchant's number of the order, or …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_trade_no: Option<String>,
    /// … the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    /// The merchant's number of the refund: 1 to 64 letters, digits and `_-|*@`.
    pub out_refund_no: String,
    /// Why, for the payer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How much.
    pub amount: RefundAmount,
}

/// An amount of a refund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundAmount {
    /// What goes back, fen.
    pub refund: i64,
    /// What the order came to, fen.
    pub total: i64,
    /// ISO 4217.
    pub currency: String,
}

/// How a refund stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// The platform's number of it.
    pub refund_id: String,
    /// The merchant's number of it.
    pub out_refund_no: String,
    /// The platform's number of the order.
    #[serde(default)]
    pub transaction_id: String,
    /// The merchant's number of the order.
    pub out_trade_no: String,
    /// `SUCCESS`, `CLOSED`, `PROCESSING` or `ABNORMAL`.
    pub status: String,
    /// Where it goes.
    #[serde(default)]
    pub channel: String,
    /// To whom.
    #[serde(default)]
    pub user_received_account: String,
    /// When it was asked for.
    #[serde(default)]
    pub create_time: String,
    /// How much.
    pub amount: RefundAmount,
}

/// `GET /v3/certificates`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Certificates {
    /// All that are valid.
    pub data: Vec<Certificate>,
}

/// A certificate of the platform.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Certificate {
    /// Its serial number, in hexadecimal.
    pub serial_no: String,
    /// From when on it is used.
    #[serde(default)]
    pub effective_time: String,
    /// Until when.
    #[serde(default)]
    pub expire_time: String,
    /// It, encrypted.
    pub encrypt_certificate: Sealed,
}

/// A notification.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Notice {
    /// Its number.
    pub id: String,
    /// When it was made.
    #[serde(default)]
    pub create_time: String,
    /// `TRANSACTION.SUCCESS`, `REFUND.SUCCESS` and others.
    pub event_type: String,
    /// `encrypt-resource`.
    pub resource_type: String,
    /// What it is about, encrypted.
    pub resource: Sealed,
    /// The same for people.
    #[serde(default)]
    pub summary: String,
}

/// An error, also what a refused notification is answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A word.
    pub code: String,
    /// For people.
    #[serde(default)]
    pub message: String,
}

/// A time as the platform writes it: whole seconds in Beijing, `2018-06-08T10:34:56+08:00`.
///
/// # Errors
/// [`WalkpayError::InvalidInput`] for a time beyond the year 9999.
pub fn beijing(time: Timestamp) -> Result<String, WalkpayError> {
    let failed = || WalkpayError::InvalidInput {
        field: "time".to_owned(),
        expected: "a time before the year 10000".to_owned(),
        got: time.as_millis().to_string(),
    };
    let second = jiff::Timestamp::from_second(time.as_millis().div_euclid(1000)).map_err(|_| failed())?;
    let zone = TimeZone::fixed(Offset::constant(8));
    Ok(second.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
}

/// Reads a time with an offset.
pub fn read_time(text: &str) -> Option<Timestamp> {
    let time = jiff::Timestamp::from_str(text).ok()?;
    Some(Timestamp::from_millis(time.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_beijing_without_fractions() {
        let time = Timestamp::from_millis(1_528_425_296_999);
        assert_eq!(beijing(time).unwrap(), "2018-06-08T10:34:56+08:00");
        assert_eq!(read_time("2018-06-08T10:34:56+08:00"), Some(Timestamp::from_millis(1_528_425_296_000)));
        assert_eq!(read_time("2018-06-08"), None);
        assert!(beijing(Timestamp::from_millis(i64::MAX)).is_err());
    }
}
