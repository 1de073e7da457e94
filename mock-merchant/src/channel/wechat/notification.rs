//! Notifications of WeChat Pay: the platform's signature over exactly the body, the resource inside encrypted with the APIv3 key.

use super::cipher::ApiV3Key;
use super::wire::{CNY, Collected, Notice as Wire, Transaction};
use crate::channel::port::{Forged, Notice, Receipt, TradeStatus};
use walkpay::{Currency, Money};

/// The longest number of an order or a transaction.
const MAX_NUMBER: usize = 64;

/// Reads a notification whose signature has been verified.
///
/// # Errors
/// [`Forged`] if it was not encrypted for this merchant, or says of a payment less than what makes one.
pub fn read(key: &ApiV3Key, body: &[u8]) -> Result<Notice, Forged> {
    let other = |what: &str| Forged(what.to_owned());
    let wire: Wire = serde_json::from_slice(body).map_err(|_| other("no notification of API v3"))?;
    if wire.resource_type != "encrypt-resource" {
        return Err(other("a resource that is not encrypted"));
    }
    let plain = key.open(&wire.resource).map_err(|e| Forged(e.to_string()))?;
    if !wire.event_type.starts_with("TRANSACTION.") {
        return Ok(Notice::Other);
    }
    let transaction: Transaction = serde_json::from_slice(&plain).map_err(|_| other("no transaction in it"))?;
    match status(&transaction) {
        Some(TradeStatus::Paid(receipt)) => Ok(Notice::Paid(receipt)),
        Some(_) => Ok(Notice::Other),
        None => Err(other("a payment without its number and amount")),
    }
}

/// How a transaction stands; `None` if what it says cannot be. An order that was refunded was paid before.
pub fn status(transaction: &Transaction) -> Option<TradeStatus> {
    match transaction.trade_state.as_str() {
        "SUCCESS" | "REFUND" => receipt(transaction).map(TradeStatus::Paid),
        // A payment that failed can be tried again until the order is closed.
        "NOTPAY" | "USERPAYING" | "PAYERROR" | "ACCEPT" => Some(TradeStatus::Waiting),
        "CLOSED" | "REVOKED" => Some(TradeStatus::Closed),
        _ => None,
    }
}

fn receipt(transaction: &Transaction) -> Option<Receipt> {
    let fits = |text: &&String| !text.is_empty() && text.len() <= MAX_NUMBER;
    let number = Some(&transaction.out_trade_no).filter(fits)?;
    let trade = transaction.transaction_id.as_ref().filter(fits)?;
    Some(Receipt {
        application: transaction.appid.clone(),
        seller: transaction.mchid.clone(),
        number: number.clone(),
        trade: trade.clone(),
        amount: money(transaction.amount.as_ref()?)?,
    })
}

/// What was asked for and collected; without a currency it is yuan.
fn money(amount: &Collected) -> Option<Money> {
    let currency = Currency::parse(amount.currency.as_deref().unwrap_or(CNY)).ok()?;
    (amount.total > 0).then(|| currency.minor(amount.total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn transaction(change: impl FnOnce(&mut Value)) -> Option<TradeStatus> {
        let mut value = json!({
            "appid": "wx1", "mchid": "19", "out_trade_no": "n1", "transaction_id": "t1", "trade_state": "SUCCESS",
            "amount": { "total": 100, "payer_total": 90, "currency": "CNY", "payer_currency": "CNY" },
        });
        change(&mut value);
        status(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn every_state_has_its_meaning() {
        let state = |state: &str| transaction(|t| t["trade_state"] = state.into());
        let Some(TradeStatus::Paid(receipt)) = state("SUCCESS") else { panic!("not paid") };
        assert_eq!(receipt.amount, Currency::parse("CNY").unwrap().minor(100), "what was asked for, vouchers included");
        assert_eq!((receipt.application, receipt.seller), ("wx1".to_owned(), "19".to_owned()));
        assert!(matches!(state("REFUND"), Some(TradeStatus::Paid(_))));
        for waiting in ["NOTPAY", "USERPAYING", "PAYERROR"] {
            assert_eq!(state(waiting), Some(TradeStatus::Waiting), "{waiting}");
        }
        assert_eq!((state("CLOSED"), state("REVOKED")), (Some(TradeStatus::Closed), Some(TradeStatus::Closed)));
        assert_eq!((state(""), state("success")), (None, None));
    }

    #[test]
    fn a_payment_without_number_or_amount_is_none() {
        for member in ["transaction_id", "amount"] {
            assert_eq!(transaction(|t| t[member] = Value::Null), None, "{member}");
        }
        for (member, value) in [("total", json!(0)), ("total", json!(-1)), ("currency", json!("yuan"))] {
            assert_eq!(transaction(|t| t["amount"][member] = value), None, "{member}");
        }
        assert_eq!(transaction(|t| t["out_trade_no"] = "".into()), None);
        assert_eq!(transaction(|t| t["transaction_id"] = "x".repeat(65).into()), None);
    }
}
