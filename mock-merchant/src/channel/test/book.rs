//! The book of the simulated channel: trades, refunds, notifications that are still to be sent.

use super::{APPLICATION, Fault, SELLER, TestNotification};
use crate::channel::port::*;
use crate::keys::Signing;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use walkpay::protocol::crypto::sha256;
use walkpay::protocol::order::Launch;
use walkpay::{Currency, Money, Timestamp, WalkpayError};

/// How late what comes late is.
const LATE_BY: Duration = Duration::from_secs(30);

/// Where a trade stands at the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TradeState {
    /// Not paid.
    Waiting,
    /// Paid.
    Paid,
    /// Ended.
    Closed,
}

/// A trade as the channel has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trade {
    /// The merchant's number.
    pub number: String,
    /// The channel's own number.
    pub trade: String,
    /// How much.
    pub amount: Money,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub state: TradeState,
    /// How much was given back.
    pub refunded: i64,
    /// Not to be known before it is paid.
    hidden: bool,
    /// It can be paid although it is closed.
    payable_anyway: bool,
    /// It is closed then.
    closes_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Refund {
    amount: Money,
    refused: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Outgoing {
    due: Timestamp,
    body: String,
}

/// The channel's book.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Book {
    seed: [u8; 32],
    trades: BTreeMap<String, Trade>,
    refunds: BTreeMap<String, Refund>,
    outgoing: Vec<Outgoing>,
}

impl Book {
    /// An empty book whose key is made of `seed`.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, trades: BTreeMap::new(), refunds: BTreeMap::new(), outgoing: Vec::new() }
    }

    /// The key that signs notifications.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] for a seed that nobody would accept a key of.
    pub fn key(&self) -> Result<Signing, WalkpayError> {
        Signing::new(&self.seed)
    }

    /// Carries out what is asked for, with a fault.
    pub(super) fn handle(&mut self, now: Timestamp, ask: &ChannelAsk, fault: Option<Fault>) -> ChannelAnswer {
        self.pass(now);
        match ask {
            ChannelAsk::Create(new) => self.create(now, new, fault),
            ChannelAsk::Query { number } => ChannelAnswer::Trade(self.status(number)),
            ChannelAsk::Close { number } => ChannelAnswer::Trade(self.close(now, number, fault)),
            ChannelAsk::Refund(new) => ChannelAnswer::Refund(self.refund(new, fault)),
            ChannelAsk::QueryRefund { refund_number, .. } => {
                ChannelAnswer::Refund(self.refunds.get(refund_number).map_or(RefundStatus::Unknown, refund_status))
            }
        }
    }

    /// What time does to trades.
    fn pass(&mut self, now: Timestamp) {
        for trade in self.trades.values_mut().filter(|t| t.state == TradeState::Waiting) {
            if trade.expires_at <= now || trade.closes_at.is_some_and(|at| at <= now) {
                trade.state = TradeState::Closed;
            }
        }
    }

    fn create(&mut self, now: Timestamp, new: &NewTrade, fault: Option<Fault>) -> ChannelAnswer {
        let refused = |reason: &str| ChannelAnswer::Refused { reason: reason.to_owned() };
        if fault == Some(Fault::Refuses) {
            return refused("refused_by_channel");
        }
        if let Some(known) = self.trades.get(&new.number) {
            return match known.state {
                _ if known.amount != new.amount => refused("number_used"),
                TradeState::Waiting => ChannelAnswer::Created { launch: launch(&new.number) },
                TradeState::Closed => refused("trade_closed"),
                TradeState::Paid => ChannelAnswer::Trade(self.status(&new.number)),
            };
        }
        if new.expires_at <= now {
            return refused("expired");
        }
        let trade = Trade {
            number: new.number.clone(),
            trade: format!("T{:09}", self.trades.len() + 1),
            amount: new.amount,
            expires_at: new.expires_at,
            state: TradeState::Waiting,
            refunded: 0,
            hidden: fault == Some(Fault::NeverKnew),
            payable_anyway: false,
            closes_at: None,
        };
        self.trades.insert(new.number.clone(), trade);
        ChannelAnswer::Created { launch: launch(&new.number) }
    }

    fn status(&self, number: &str) -> TradeStatus {
        let Some(trade) = self.trades.get(number).filter(|t| !t.hidden) else { return TradeStatus::Unknown };
        match trade.state {
            TradeState::Waiting => TradeStatus::Waiting,
            TradeState::Closed => TradeStatus::Closed,
            TradeState::Paid => TradeStatus::Paid(receipt(trade)),
        }
    }

    fn close(&mut self, now: Timestamp, number: &str, fault: Option<Fault>) -> TradeStatus {
        if let Some(trade) = self.trades.get_mut(number).filter(|t| !t.hidden && t.state == TradeState::Waiting) {
            match fault {
                Some(Fault::ClosesLate) => trade.closes_at = Some(now.plus(LATE_BY)),
                fault => {
                    trade.payable_anyway = fault == Some(Fault::PaidAfterClose);
                    trade.state = TradeState::Closed;
                }
            }
        }
        self.status(number)
    }

    fn refund(&mut self, new: &NewRefund, fault: Option<Fault>) -> RefundStatus {
        if let Some(known) = self.refunds.get(&new.refund_number) {
            return refund_status(known);
        }
        let fits = |t: &&mut Trade| {
            t.state == TradeState::Paid
                && t.amount == new.total
                && t.amount.currency == new.amount.currency
                && new.amount.minor > 0
                && new.amount.minor <= t.amount.minor - t.refunded
        };
        let trade = self.trades.get_mut(&new.number).filter(fits).filter(|_| fault != Some(Fault::RefundRefused));
        let refused = trade.is_none();
        if let Some(trade) = trade {
            trade.refunded += new.amount.minor;
        }
        let refund = Refund { amount: new.amount, refused };
        let status = refund_status(&refund);
        self.refunds.insert(new.refund_number.clone(), refund);
        status
    }

    /// The payer pays; `fault` says what goes wrong with the notification, once the payment was taken.
    pub(super) fn pay(
        &mut self,
        now: Timestamp,
        number: &str,
        fault: impl FnOnce() -> Option<Fault>,
    ) -> Result<(), &'static str> {
        self.pass(now);
        let trade = self.trades.get_mut(number).ok_or("trade_unknown")?;
        match trade.state {
            TradeState::Paid => return Err("trade_paid"),
            TradeState::Closed if !trade.payable_anyway => return Err("trade_closed"),
            TradeState::Closed | TradeState::Waiting => {}
        }
        trade.state = TradeState::Paid;
        trade.hidden = false;
        let told = receipt(trade);
        let outgoing = self.outgoing(now, told, fault()).unwrap_or_default();
        self.outgoing.extend(outgoing);
        Ok(())
    }

    fn outgoing(&self, now: Timestamp, told: Receipt, fault: Option<Fault>) -> Result<Vec<Outgoing>, WalkpayError> {
        let other = |text: &str| format!("{text}-2");
        let told = match fault {
            Some(Fault::WrongAmount) => {
                Receipt { amount: told.amount.currency.minor(told.amount.minor.saturating_add(1)), ..told }
            }
            Some(Fault::OtherCurrency) => {
                let code = if told.amount.currency.code() == "USD" { "EUR" } else { "USD" };
                Receipt { amount: Currency::parse(code)?.minor(told.amount.minor), ..told }
            }
            Some(Fault::OtherApplication) => Receipt { application: other(&told.application), ..told },
            Some(Fault::OtherSeller) => Receipt { seller: other(&told.seller), ..told },
            _ => told,
        };
        let key = match fault {
            Some(Fault::ForgedNotification) => Signing::new(&sha256(&self.seed))?,
            _ => self.key()?,
        };
        let body = key.jws(&TestNotification { receipt: told, paid_at: now })?;
        let late = now.plus(LATE_BY);
        let times = match fault {
            Some(Fault::NotificationLost) => vec![],
            Some(Fault::NotificationTwice) => vec![now, now],
            Some(Fault::NotificationLate) => vec![late],
            Some(Fault::NotificationReplayed) => vec![now, late],
            _ => vec![now],
        };
        Ok(times.into_iter().map(|due| Outgoing { due, body: body.clone() }).collect())
    }

    /// Takes the notifications that are due.
    pub(super) fn notifications(&mut self, now: Timestamp) -> Vec<String> {
        let (due, later) = std::mem::take(&mut self.outgoing).into_iter().partition(|o| o.due <= now);
        self.outgoing = later;
        let due: Vec<Outgoing> = due;
        due.into_iter().map(|o| o.body).collect()
    }

    pub(super) fn next_notification(&self) -> Option<Timestamp> {
        self.outgoing.iter().map(|o| o.due).min()
    }

    pub(super) fn trade(&self, number: &str) -> Option<&Trade> {
        self.trades.get(number)
    }

    pub(super) fn trades(&self) -> Vec<Trade> {
        self.trades.values().cloned().collect()
    }
}

fn launch(number: &str) -> Launch {
    Launch::Qr { text: format!("walkpay-test:{number}") }
}

fn receipt(trade: &Trade) -> Receipt {
    Receipt {
        application: APPLICATION.to_owned(),
        seller: SELLER.to_owned(),
        number: trade.number.clone(),
        trade: trade.trade.clone(),
        amount: trade.amount,
    }
}

fn refund_status(refund: &Refund) -> RefundStatus {
    match refund.refused {
        true => RefundStatus::Refused { reason: "refused_by_channel".to_owned() },
        false => RefundStatus::Done,
    }
}
