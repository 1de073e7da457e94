//! Alipay's book in a simulation: trades, refunds, notifications that are still to be delivered.

use super::RETRIES;
use super::faults::Fault;
use super::requests::{Refused, Wanted};
use crate::channel::alipay::settings::Settings;
use crate::channel::alipay::signing::Params;
use crate::channel::alipay::values;
use crate::channel::outgoing::Outgoing;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use walkpay::{Money, Timestamp};

/// How late what comes late is.
const LATE_BY: Duration = Duration::from_secs(30);
/// How long a paid trade can be refunded.
const REFUNDABLE: Duration = Duration::from_secs(365 * 86_400);
/// Whoever pays in a simulation.
const BUYER: &str = "2088000000009999";

/// Where a trade stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TradeState {
    /// A code or page was given out that nobody has opened: Alipay does not know the trade yet.
    Promised,
    /// `WAIT_BUYER_PAY`
    Waiting,
    /// `TRADE_SUCCESS`
    Paid,
    /// `TRADE_FINISHED`: paid, and not refundable any more.
    Finished,
    /// `TRADE_CLOSED`: over without a payment, or all given back.
    Closed,
}

impl TradeState {
    /// As the gateway tells it; `None` for what it does not know.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Promised => None,
            Self::Waiting => Some("WAIT_BUYER_PAY"),
            Self::Paid => Some("TRADE_SUCCESS"),
            Self::Finished => Some("TRADE_FINISHED"),
            Self::Closed => Some("TRADE_CLOSED"),
        }
    }
}

/// A trade.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trade {
    /// The merchant's number.
    pub out_trade_no: String,
    /// Alipay's number.
    pub trade_no: String,
    /// What stands in the code or the page's address.
    pub token: String,
    /// What is paid for.
    pub subject: String,
    /// How much.
    pub amount: Money,
    /// Where it stands.
    pub state: TradeState,
    /// When it ends unless it is paid.
    pub expires_at: Timestamp,
    /// When the payer opened it.
    pub created_at: Option<Timestamp>,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// What was given back, by the merchant's number of the refund.
    pub refunds: BTreeMap<String, Money>,
    notify_url: Option<String>,
    return_url: Option<String>,
    payable_anyway: bool,
    closes_at: Option<Timestamp>,
}

impl Trade {
    /// How much was given back, in minor units.
    pub fn refunded(&self) -> i64 {
        self.refunds.values().map(|m| m.minor).sum()
    }

    /// Where the payer goes back to.
    pub fn return_url(&self) -> Option<&str> {
        self.return_url.as_deref()
    }
}

/// A notification to be signed and sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Message {
    pub url: String,
    pub params: Params,
    /// Signed by somebody else.
    pub forged: bool,
}

/// The book.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Book {
    serial: u64,
    trades: BTreeMap<String, Trade>,
    outgoing: Outgoing<Message>,
}

impl Book {
    /// A trade by the merchant's number.
    pub fn trade(&self, out_trade_no: &str) -> Option<&Trade> {
        self.trades.get(out_trade_no)
    }

    /// As it is found after a crash.
    pub(super) fn reopened(&self) -> Self {
        Self { outgoing: self.outgoing.reopened(), ..self.clone() }
    }

    /// All trades, by the merchant's numbers.
    pub fn trades(&self) -> impl Iterator<Item = &Trade> {
        self.trades.values()
    }

    /// A trade by what stands in its code.
    pub fn of_token(&self, token: &str) -> Option<&Trade> {
        self.trades.values().find(|t| t.token == token)
    }

    /// What time does.
    pub(super) fn pass(&mut self, now: Timestamp) {
        for trade in self.trades.values_mut() {
            let over = trade.expires_at <= now || trade.closes_at.is_some_and(|at| at <= now);
            match trade.state {
                TradeState::Waiting if over => trade.state = TradeState::Closed,
                TradeState::Paid if trade.paid_at.is_some_and(|at| at.plus(REFUNDABLE) <= now) => {
                    trade.state = TradeState::Finished;
                }
                _ => {}
            }
        }
    }

    /// Gives a code or page out, the same one for the same trade; `token` is for a new one.
    pub(super) fn promise(&mut self, wanted: Wanted, token: String) -> Result<&Trade, Refused> {
        self.serial += 1;
        let serial = self.serial;
        let trade = self.trades.entry(wanted.out_trade_no.clone()).or_insert_with(|| Trade {
            out_trade_no: wanted.out_trade_no.clone(),
            trade_no: format!("20260101220014{serial:014}"),
            token,
            subject: wanted.subject.clone(),
            amount: wanted.amount,
            state: TradeState::Promised,
            expires_at: wanted.expires_at,
            created_at: None,
            paid_at: None,
            refunds: BTreeMap::new(),
            notify_url: wanted.notify_url.clone(),
            return_url: wanted.return_url.clone(),
            payable_anyway: false,
            closes_at: None,
        });
        match trade.state {
            TradeState::Paid | TradeState::Finished => Err(Refused("ACQ.TRADE_HAS_SUCCESS", "the trade is paid")),
            TradeState::Closed => Err(Refused("ACQ.TRADE_HAS_CLOSE", "the trade is closed")),
            _ if trade.amount != wanted.amount || trade.subject != wanted.subject => {
                Err(Refused("ACQ.CONTEXT_INCONSISTENT", "the trade was asked for otherwise"))
            }
            _ => Ok(trade),
        }
    }

    /// The payer opens the code or page: from now on the trade is known.
    pub(super) fn open(&mut self, now: Timestamp, token: &str) -> Option<&Trade> {
        self.pass(now);
        let trade = self.trades.values_mut().find(|t| t.token == token)?;
        if trade.state == TradeState::Promised && now < trade.expires_at {
            trade.state = TradeState::Waiting;
            trade.created_at = Some(now);
        }
        Some(trade)
    }

    /// A trade that Alipay knows.
    pub(super) fn known(&self, out_trade_no: Option<&str>, trade_no: Option<&str>) -> Result<&Trade, Refused> {
        let by_number = || self.trades.values().find(|t| Some(t.trade_no.as_str()) == trade_no);
        let found = out_trade_no.map_or_else(by_number, |number| self.trades.get(number));
        let known = found.filter(|t| t.state != TradeState::Promised);
        known.ok_or(Refused("ACQ.TRADE_NOT_EXIST", "the trade does not exist"))
    }

    /// Closes a trade that is not paid.
    pub(super) fn close(&mut self, now: Timestamp, number: &str, fault: Option<Fault>) -> Result<(), Refused> {
        let trade = self.trades.get_mut(number).filter(|t| t.state == TradeState::Waiting);
        let trade = trade.ok_or(Refused("ACQ.TRADE_STATUS_ERROR", "the trade cannot be closed as it stands"))?;
        if fault == Some(Fault::ClosesLate) {
            trade.closes_at = Some(now.plus(LATE_BY));
        } else {
            trade.payable_anyway = fault == Some(Fault::PaidAfterClose);
            trade.state = TradeState::Closed;
        }
        Ok(())
    }

    /// Gives money back; whether any moved by this.
    pub(super) fn refund(
        &mut self,
        now: Timestamp,
        about: &Settings,
        number: &str,
        request: &str,
        amount: Money,
    ) -> Result<bool, Refused> {
        let missing = Refused("ACQ.TRADE_NOT_EXIST", "the trade does not exist");
        let trade = self.trades.get_mut(number).ok_or(missing)?;
        if let Some(known) = trade.refunds.get(request) {
            let differs = Refused("ACQ.DISCORDANT_REPEAT_REQUEST", "the refund was asked for otherwise");
            return if *known == amount { Ok(false) } else { Err(differs) };
        }
        match trade.state {
            TradeState::Paid => {}
            TradeState::Finished => return Err(Refused("ACQ.TRADE_HAS_FINISHED", "it is too late for refunds")),
            _ => return Err(Refused("ACQ.TRADE_STATUS_ERROR", "the trade is not paid")),
        }
        if amount.minor > trade.amount.minor - trade.refunded() {
            return Err(Refused("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "more than is left of the payment"));
        }
        trade.refunds.insert(request.to_owned(), amount);
        if trade.refunded() == trade.amount.minor {
            trade.state = TradeState::Closed;
        }
        let told = self.trades.get(number).and_then(|trade| {
            let mut message = self.message(now, about, trade)?;
            let more = [("out_biz_no", request.to_owned()), ("gmt_refund", values::time(now))];
            message.params.extend(more.map(|(name, value)| (name.to_owned(), value)));
            let total = trade.amount.currency.minor(trade.refunded());
            message.params.insert("refund_fee".to_owned(), values::yuan(total).unwrap_or_default());
            Some(message)
        });
        told.into_iter().for_each(|message| self.outgoing.push(now, message));
        Ok(true)
    }

    /// The payer pays; `fault` says what goes wrong with the notification, once the payment was taken.
    pub(super) fn pay(
        &mut self,
        now: Timestamp,
        about: &Settings,
        token: &str,
        fault: impl FnOnce() -> Option<Fault>,
    ) -> Result<Trade, &'static str> {
        self.pass(now);
        let trade = self.trades.values_mut().find(|t| t.token == token).ok_or("trade_unknown")?;
        match trade.state {
            TradeState::Waiting => {}
            TradeState::Closed if trade.payable_anyway => {}
            TradeState::Promised => return Err("trade_not_opened"),
            TradeState::Paid | TradeState::Finished => return Err("trade_paid"),
            TradeState::Closed => return Err("trade_closed"),
        }
        trade.state = TradeState::Paid;
        trade.paid_at = Some(now);
        let trade = trade.clone();
        if let Some(message) = self.message(now, about, &trade) {
            self.notify(now, message, fault());
        }
        Ok(trade)
    }

    /// Notifies of a trade as it stands.
    pub(super) fn notify_again(&mut self, now: Timestamp, about: &Settings, number: &str) {
        let message = self.trades.get(number).and_then(|trade| self.message(now, about, trade));
        message.into_iter().for_each(|message| self.outgoing.push(now, message));
    }

    fn notify(&mut self, now: Timestamp, mut message: Message, fault: Option<Fault>) {
        let mut set = |name: &str, value: &str| {
            message.params.insert(name.to_owned(), value.to_owned());
        };
        match fault {
            Some(Fault::WrongAmount) => set("total_amount", "0.01"),
            Some(Fault::OtherCurrency) => set("trans_currency", "USD"),
            Some(Fault::OtherApplication) => set("app_id", "2021000000000002"),
            Some(Fault::OtherSeller) => set("seller_id", "2088000000000002"),
            Some(Fault::ForgedNotification) => message.forged = true,
            _ => {}
        }
        let late = now.plus(LATE_BY);
        let times = match fault {
            Some(Fault::NotificationLost) => vec![],
            Some(Fault::NotificationTwice) => vec![now, now],
            Some(Fault::NotificationLate) => vec![late],
            Some(Fault::NotificationReplayed) => vec![now, late],
            _ => vec![now],
        };
        times.into_iter().for_each(|due| self.outgoing.push(due, message.clone()));
    }

    /// What is told of a trade; nothing where nobody wants to know.
    fn message(&self, now: Timestamp, about: &Settings, trade: &Trade) -> Option<Message> {
        let url = trade.notify_url.clone()?;
        let total = values::yuan(trade.amount)?;
        let moment = |at: Option<Timestamp>| at.map(values::time).unwrap_or_default();
        let params = [
            ("notify_time", values::time(now)),
            ("notify_type", "trade_status_sync".to_owned()),
            ("notify_id", format!("{}{:020}", now.as_millis(), self.serial + self.outgoing.len() as u64)),
            ("charset", "utf-8".to_owned()),
            ("version", "1.0".to_owned()),
            ("app_id", about.app_id.clone()),
            ("auth_app_id", about.app_id.clone()),
            ("seller_id", about.seller_id.clone()),
            ("buyer_id", BUYER.to_owned()),
            ("out_trade_no", trade.out_trade_no.clone()),
            ("trade_no", trade.trade_no.clone()),
            ("trade_status", trade.state.word().unwrap_or_default().to_owned()),
            ("subject", trade.subject.clone()),
            ("total_amount", total.clone()),
            ("receipt_amount", total.clone()),
            ("invoice_amount", total.clone()),
            ("buyer_pay_amount", total.clone()),
            ("point_amount", "0.00".to_owned()),
            ("gmt_create", moment(trade.created_at)),
            ("gmt_payment", moment(trade.paid_at)),
            ("fund_bill_list", format!("[{{\"amount\":\"{total}\",\"fundChannel\":\"ALIPAYACCOUNT\"}}]")),
        ];
        let params = params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Some(Message { url, params, forged: false })
    }

    /// Takes the notifications that are due.
    pub(super) fn notifications(&mut self, now: Timestamp) -> Vec<(u64, Message)> {
        self.outgoing.take(now)
    }

    /// Notes what came of one.
    pub(super) fn notified(&mut self, now: Timestamp, number: u64, taken: bool) {
        self.outgoing.settle(now, number, taken, &RETRIES);
    }

    /// When the next one is due.
    pub(super) fn next_notification(&self) -> Option<Timestamp> {
        self.outgoing.next_due()
    }
}
