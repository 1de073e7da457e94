//! Notifications: a form that Alipay has signed.

use super::signing::{self, Params};
use super::values;
use crate::channel::port::{Forged, Notice, Receipt};
use crate::channel::rsa_key::RsaPublic;

/// What a notification says. Whether it is about a payment of ours, as it was asked for, is decided by whoever knows the payment.
///
/// # Errors
/// [`Forged`] unless `key` has signed all of it.
pub fn open(key: &RsaPublic, body: &[u8]) -> Result<Notice, Forged> {
    let params = signing::parse(body).ok_or_else(|| Forged("a name comes twice".to_owned()))?;
    if !signing::notification_verifies(key, &params) {
        return Err(Forged("another signature".to_owned()));
    }
    let paid = matches!(params.get("trade_status").map(String::as_str), Some("TRADE_SUCCESS" | "TRADE_FINISHED"));
    // A refund is told with the state of its trade.
    let refund = ["refund_fee", "gmt_refund", "out_biz_no"].iter().any(|name| params.contains_key(*name));
    if !paid || refund {
        return Ok(Notice::Other);
    }
    receipt(&params).map(Notice::Paid).ok_or_else(|| Forged("a payment without its particulars".to_owned()))
}

fn receipt(params: &Params) -> Option<Receipt> {
    let text = |name: &str| params.get(name).filter(|value| !value.is_empty()).cloned();
    let currency = params.get("trans_currency").map_or(values::CURRENCY, String::as_str);
    Some(Receipt {
        application: text("app_id")?,
        seller: text("seller_id")?,
        number: text("out_trade_no")?,
        trade: text("trade_no")?,
        amount: values::amount(params.get("total_amount")?, currency)?,
    })
}
