//! The book of the simulated gateway: orders, refunds, certificates, notifications that are still to be delivered. Pure; the
//! present and what goes wrong are arguments.

use super::faults::Fault;
use super::issuer::{self, Issued};
use crate::channel::outgoing::Outgoing;
use crate::channel::wechat::wire::{self, Amount, CNY, Collected, NewOrder, Payer, Refund, RefundAmount, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use walkpay::{Timestamp, WalkpayError};

/// How late what comes late is.
const LATE_BY: Duration = Duration::from_secs(30);
/// The most orders that are kept: beyond that nothing new is taken.
const MAX_ORDERS: usize = 100_000;
/// The pauses between tries of a notification that is not answered with 2xx: 24 hours and 4 minutes altogether.
pub const PAUSES: [Duration; 15] = {
    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }
    [
        s(15),
        s(15),
        s(30),
        s(180),
        s(600),
        s(1_200),
        s(1_800),
        s(1_800),
        s(1_800),
        s(3_600),
        s(10_800),
        s(10_800),
        s(10_800),
        s(21_600),
        s(21_600),
    ]
};

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderState {
    /// Not paid.
    NotPay,
    /// The last try to pay it failed.
    PayError,
    /// Paid.
    Success,
    /// Ended.
    Closed,
}

/// An order as the gateway has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// What was asked for.
    pub order: NewOrder,
    /// `NATIVE`, `JSAPI` or `APP`.
    pub trade_type: String,
    /// What its code and its prepayment are known by.
    pub code: String,
    /// The gateway's own number.
    pub transaction_id: String,
    /// When it can no longer be paid.
    pub expires_at: Option<Timestamp>,
    /// Where it stands.
    pub state: OrderState,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// How much went back, fen.
    pub refunded: i64,
    /// Not to be known before it is scanned.
    hidden: bool,
    /// It can be paid although it is closed.
    payable_anyway: bool,
    /// It is closed then.
    closes_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RefundRow {
    refund: Refund,
    done_at: Timestamp,
}

/// What is wrong with a notification beside what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flaw {
    /// Signed by somebody else.
    Forged,
    /// Signed ten minutes ago.
    Stale,
    /// Encrypted with another key.
    OtherKey,
}

/// A notification that is to be delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Telling {
    /// Its number, the same for each try.
    pub id: String,
    /// Where to.
    pub url: String,
    /// What it says.
    pub transaction: Transaction,
    /// When it was made.
    pub made_at: Timestamp,
    /// What is wrong with it.
    pub flaw: Option<Flaw>,
    /// The same bytes again, that much later.
    pub again: bool,
    /// Bytes that were sent before.
    pub bytes: Option<(Vec<(String, String)>, String)>,
}

/// What the gateway is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// `POST /v3/pay/transactions/{product}`
    Create {
        /// `NATIVE`, `JSAPI` or `APP`.
        trade_type: &'static str,
        /// The body.
        order: NewOrder,
    },
    /// `GET /v3/pay/transactions/out-trade-no/{number}`
    Query {
        /// The merchant's number.
        number: String,
    },
    /// `GET /v3/pay/transactions/id/{transaction_id}`
    QueryById {
        /// The gateway's number.
        transaction_id: String,
    },
    /// `POST /v3/pay/transactions/out-trade-no/{number}/close`
    Close {
        /// The merchant's number.
        number: String,
    },
    /// `POST /v3/refund/domestic/refunds`
    Refund(wire::NewRefund),
    /// `GET /v3/refund/domestic/refunds/{refund_number}`
    QueryRefund {
        /// The merchant's number of the refund.
        refund_number: String,
    },
}

/// Why something is refused: status, code, and a text for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub u16, pub &'static str, pub &'static str);

/// Status and body.
pub type Reply = Result<(u16, Option<Value>), Refusal>;

const PARAM: fn(&'static str) -> Refusal = |why| Refusal(400, "PARAM_ERROR", why);
const NO_ORDER: Refusal = Refusal(404, "ORDER_NOT_EXIST", "there is no such order");
const PAID: Refusal = Refusal(400, "ORDERPAID", "the order is paid");
const CLOSED: Refusal = Refusal(400, "ORDER_CLOSED", "the order is closed");

/// The gateway's book.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Book {
    /// The APIv3 key that it shares with the merchant.
    pub api_key: String,
    orders: BTreeMap<String, Order>,
    /// Numbers by what stands in a code.
    codes: BTreeMap<String, String>,
    refunds: BTreeMap<String, RefundRow>,
    certificates: Vec<Issued>,
    /// What waits to be delivered.
    pub outgoing: Outgoing<Telling>,
    told: u64,
}

impl Book {
    /// An empty book with its first certificate.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`].
    pub fn new(now: Timestamp, api_key: String) -> Result<Self, WalkpayError> {
        Ok(Self {
            api_key,
            orders: BTreeMap::new(),
            codes: BTreeMap::new(),
            refunds: BTreeMap::new(),
            certificates: vec![issuer::issue(now, 0)?],
            outgoing: Outgoing::default(),
            told: 0,
        })
    }

    /// As it is found after a crash.
    pub fn reopened(&self) -> Self {
        Self { outgoing: self.outgoing.reopened(), ..self.clone() }
    }

    /// The certificate that signs at `now`: the newest one. One is issued where none is valid any more.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`].
    pub fn signing(&mut self, now: Timestamp) -> Result<Issued, WalkpayError> {
        match self.certificates.last().filter(|c| c.until > now) {
            Some(newest) => Ok(newest.clone()),
            None => self.rotate(now),
        }
    }

    /// Issues the next certificate, which signs from now on. Those before stay in the list until their end.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`].
    pub fn rotate(&mut self, now: Timestamp) -> Result<Issued, WalkpayError> {
        let next = issuer::issue(now, self.certificates.len())?;
        self.certificates.push(next.clone());
        Ok(next)
    }

    /// The certificates that are valid.
    pub fn certificates(&self, now: Timestamp) -> Vec<Issued> {
        // The newest twenty: more than one merchant ever needs.
        self.certificates.iter().rev().filter(|c| c.until > now).take(20).cloned().collect()
    }

    /// An order by the merchant's number.
    pub fn order(&self, number: &str) -> Option<&Order> {
        self.orders.get(number)
    }

    /// All orders.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values()
    }

    /// The order of a code or a prepayment; looking it up is scanning it.
    pub fn scanned(&mut self, now: Timestamp, code: &str) -> Option<&Order> {
        self.pass(now);
        let number = self.codes.get(code)?;
        let order = self.orders.get_mut(number)?;
        order.hidden = false;
        Some(order)
    }

    /// Carries out a request of `mchid` and `appid`, with a fault. `code` becomes that of a new order.
    pub fn handle(
        &mut self,
        now: Timestamp,
        (appid, mchid): (&str, &str),
        request: &Request,
        code: &str,
        fault: Option<Fault>,
    ) -> Reply {
        self.pass(now);
        match request {
            Request::Create { trade_type, order } => {
                if order.mchid != mchid {
                    return Err(PARAM("mchid is not the one that has signed"));
                }
                if order.appid != appid {
                    return Err(Refusal(400, "APPID_MCHID_NOT_MATCH", "appid does not belong to mchid"));
                }
                self.create(now, trade_type, order, code, fault)
            }
            Request::Query { number } => Ok((200, Some(json!(self.known(number).ok_or(NO_ORDER)?.transaction())))),
            Request::QueryById { transaction_id } => {
                let order = self.orders.values().find(|o| o.paid_at.is_some() && o.transaction_id == *transaction_id);
                Ok((200, Some(json!(order.ok_or(NO_ORDER)?.transaction()))))
            }
            Request::Close { number } => self.close(now, number, fault),
            Request::Refund(refund) => self.refund(now, refund, fault),
            Request::QueryRefund { refund_number } => {
                let unknown = Refusal(404, "RESOURCE_NOT_EXISTS", "there is no such refund");
                Ok((200, Some(json!(self.refunds.get(refund_number).ok_or(unknown)?.refund))))
            }
        }
    }

    /// What time does.
    fn pass(&mut self, now: Timestamp) {
        for order in self.orders.values_mut() {
            if order.closes_at.is_some_and(|at| at <= now) && order.is_open() {
                order.state = OrderState::Closed;
            }
        }
        for row in self.refunds.values_mut().filter(|r| r.done_at <= now && r.refund.status == "PROCESSING") {
            row.refund.status = "SUCCESS".to_owned();
        }
    }

    fn known(&self, number: &str) -> Option<&Order> {
        self.orders.get(number).filter(|o| !o.hidden)
    }

    fn create(
        &mut self,
        now: Timestamp,
        trade_type: &str,
        order: &NewOrder,
        code: &str,
        fault: Option<Fault>,
    ) -> Reply {
        let expires_at = check(now, trade_type, order)?;
        if fault == Some(Fault::Refuses) {
            return Err(Refusal(403, "NO_AUTH", "the merchant may not do this"));
        }
        if let Some(known) = self.orders.get(&order.out_trade_no) {
            return match known.state {
                OrderState::Success => Err(PAID),
                OrderState::Closed => Err(CLOSED),
                _ if known.order != *order || known.trade_type != trade_type => {
                    Err(Refusal(403, "OUT_TRADE_NO_USED", "the number was used for another order"))
                }
                _ => Ok((200, Some(known.ordered()))),
            };
        }
        if self.orders.len() >= MAX_ORDERS {
            return Err(Refusal(403, "RULE_LIMIT", "the simulated gateway keeps at most 100000 orders"));
        }
        let new = Order {
            order: order.clone(),
            trade_type: trade_type.to_owned(),
            code: code.to_owned(),
            transaction_id: format!("42000000{:020}", self.orders.len() + 1),
            expires_at,
            state: OrderState::NotPay,
            paid_at: None,
            refunded: 0,
            hidden: fault == Some(Fault::UnknownUntilScanned),
            payable_anyway: false,
            closes_at: None,
        };
        let reply = new.ordered();
        self.codes.insert(code.to_owned(), order.out_trade_no.clone());
        self.orders.insert(order.out_trade_no.clone(), new);
        Ok((200, Some(reply)))
    }

    fn close(&mut self, now: Timestamp, number: &str, fault: Option<Fault>) -> Reply {
        let order = self.orders.get_mut(number).filter(|o| !o.hidden).ok_or(NO_ORDER)?;
        match order.state {
            OrderState::Success => Err(PAID),
            OrderState::Closed => Err(CLOSED),
            OrderState::NotPay | OrderState::PayError => {
                match fault {
                    Some(Fault::ClosesLate) => order.closes_at = Some(now.plus(LATE_BY)),
                    fault => {
                        order.payable_anyway = fault == Some(Fault::PaidAfterClose);
                        order.state = OrderState::Closed;
                    }
                }
                Ok((204, None))
            }
        }
    }

    fn refund(&mut self, now: Timestamp, new: &wire::NewRefund, fault: Option<Fault>) -> Reply {
        let invalid = |why| Refusal(400, "INVALID_REQUEST", why);
        if !word(&new.out_refund_no, 1, 64, b"_-|*@") {
            return Err(PARAM("out_refund_no: 1 to 64 letters, digits and _-|*@"));
        }
        if new.amount.refund <= 0 || new.amount.total <= 0 || new.amount.currency != CNY {
            return Err(PARAM("amount: whole fen above 0, CNY"));
        }
        let by_id = |id: &String| self.orders.values().find(|o| o.paid_at.is_some() && o.transaction_id == *id);
        let order = match (&new.out_trade_no, &new.transaction_id) {
            (Some(number), _) => self.known(number),
            (None, Some(id)) => by_id(id),
            (None, None) => return Err(PARAM("out_trade_no or transaction_id is needed")),
        };
        let gone = Refusal(404, "RESOURCE_NOT_EXISTS", "there is no such order");
        let number = order.ok_or(gone)?.order.out_trade_no.clone();
        if let Some(known) = self.refunds.get(&new.out_refund_no) {
            let same = known.refund.amount == new.amount && known.refund.out_trade_no == number;
            return if same {
                Ok((200, Some(json!(known.refund))))
            } else {
                Err(invalid("the number was used for another refund"))
            };
        }
        let order = self.orders.get_mut(&number).ok_or(gone)?;
        if order.state != OrderState::Success {
            return Err(invalid("the order is not paid"));
        }
        if order.order.amount.total != new.amount.total {
            return Err(PARAM("amount.total is not what the order came to"));
        }
        if new.amount.refund > order.order.amount.total - order.refunded {
            return Err(invalid("more than what is left of the order"));
        }
        match fault {
            Some(Fault::RefundRefused) => {
                return Err(Refusal(403, "USER_ACCOUNT_ABNORMAL", "the payer's account cannot take it"));
            }
            Some(Fault::NotEnough) => return Err(Refusal(403, "NOT_ENOUGH", "the merchant's account is too low")),
            _ => {}
        }
        order.refunded += new.amount.refund;
        let takes = if fault == Some(Fault::RefundProcessing) { LATE_BY } else { Duration::ZERO };
        let refund = Refund {
            refund_id: format!("50000000{:020}", self.refunds.len() + 1),
            out_refund_no: new.out_refund_no.clone(),
            transaction_id: order.transaction_id.clone(),
            out_trade_no: number,
            status: if takes.is_zero() { "SUCCESS" } else { "PROCESSING" }.to_owned(),
            channel: "ORIGINAL".to_owned(),
            user_received_account: "the payer's balance".to_owned(),
            create_time: wire::beijing(now).unwrap_or_default(),
            amount: RefundAmount { refund: new.amount.refund, total: new.amount.total, currency: CNY.to_owned() },
        };
        let reply = json!(refund);
        self.refunds.insert(new.out_refund_no.clone(), RefundRow { refund, done_at: now.plus(takes) });
        Ok((200, Some(reply)))
    }

    /// The payer confirms; `fails`: the bank refuses. `fault` says what goes wrong with the notification, once it was paid.
    ///
    /// # Errors
    /// A stable word: `order_unknown`, `order_paid`, `order_closed`, `order_expired`, `payment_failed`.
    pub fn pay(
        &mut self,
        now: Timestamp,
        code: &str,
        openid: &str,
        fails: bool,
        fault: impl FnOnce() -> Option<Fault>,
    ) -> Result<(), &'static str> {
        self.scanned(now, code).ok_or("order_unknown")?;
        let number = self.codes.get(code).cloned().unwrap_or_default();
        let order = self.orders.get_mut(&number).ok_or("order_unknown")?;
        match order.state {
            OrderState::Success => return Err("order_paid"),
            OrderState::Closed if !order.payable_anyway => return Err("order_closed"),
            OrderState::NotPay | OrderState::PayError if order.expires_at.is_some_and(|at| at <= now) => {
                return Err("order_expired");
            }
            _ => {}
        }
        if fails {
            order.state = OrderState::PayError;
            return Err("payment_failed");
        }
        order.state = OrderState::Success;
        order.paid_at = Some(now);
        order.order.payer.get_or_insert_with(|| Payer { openid: openid.to_owned() });
        let (url, said) = (order.order.notify_url.clone(), order.transaction());
        self.tell(now, url, said, fault());
        Ok(())
    }

    /// Notifies of an order as it stands, if it is paid.
    pub fn notify_again(&mut self, now: Timestamp, number: &str) {
        if let Some(order) = self.orders.get(number).filter(|o| o.paid_at.is_some()) {
            let (url, said) = (order.order.notify_url.clone(), order.transaction());
            self.tell(now, url, said, None);
        }
    }

    fn tell(&mut self, now: Timestamp, url: String, mut said: Transaction, fault: Option<Fault>) {
        if let Some(amount) = &mut said.amount {
            match fault {
                Some(Fault::WrongAmount) => amount.total = amount.total.saturating_add(1),
                Some(Fault::OtherCurrency) => amount.currency = Some("HKD".to_owned()),
                _ => {}
            }
        }
        match fault {
            Some(Fault::OtherApplication) => said.appid.push('2'),
            Some(Fault::OtherSeller) => said.mchid.push('2'),
            _ => {}
        }
        let flaw = match fault {
            Some(Fault::ForgedNotification) => Some(Flaw::Forged),
            Some(Fault::StaleNotification) => Some(Flaw::Stale),
            Some(Fault::OtherKeyNotification) => Some(Flaw::OtherKey),
            _ => None,
        };
        let times = match fault {
            Some(Fault::NotificationLost) => vec![],
            Some(Fault::NotificationTwice) => vec![now, now],
            Some(Fault::NotificationLate) => vec![now.plus(LATE_BY)],
            _ => vec![now],
        };
        self.told += 1;
        let telling = Telling {
            id: format!("simulated-{:08}", self.told),
            url,
            transaction: said,
            made_at: now,
            flaw,
            again: fault == Some(Fault::NotificationReplayed),
            bytes: None,
        };
        for due in times {
            self.outgoing.push(due, telling.clone());
        }
    }

    /// Notes what came of a delivery of these bytes.
    pub fn delivered(
        &mut self,
        now: Timestamp,
        number: u64,
        telling: &Telling,
        bytes: (Vec<(String, String)>, String),
        taken: bool,
    ) {
        self.outgoing.settle(now, number, taken, &PAUSES);
        if telling.again && taken {
            let again = Telling { again: false, bytes: Some(bytes), ..telling.clone() };
            self.outgoing.push(now.plus(LATE_BY), again);
        }
    }
}

impl Order {
    fn is_open(&self) -> bool {
        matches!(self.state, OrderState::NotPay | OrderState::PayError)
    }

    /// The answer to creating it.
    fn ordered(&self) -> Value {
        match self.trade_type.as_str() {
            "NATIVE" => json!({ "code_url": format!("weixin://wxpay/bizpayurl?pr={}", self.code) }),
            _ => json!({ "prepay_id": self.code }),
        }
    }

    /// How it stands, as a query and a notification say it.
    pub fn transaction(&self) -> Transaction {
        let (state, text) = match self.state {
            OrderState::NotPay => ("NOTPAY", "not paid"),
            OrderState::PayError => ("PAYERROR", "the payment failed"),
            OrderState::Success if self.refunded > 0 => ("REFUND", "given back"),
            OrderState::Success => ("SUCCESS", "paid"),
            OrderState::Closed => ("CLOSED", "closed"),
        };
        let paid = self.paid_at.is_some();
        let Amount { total, .. } = self.order.amount;
        Transaction {
            appid: self.order.appid.clone(),
            mchid: self.order.mchid.clone(),
            out_trade_no: self.order.out_trade_no.clone(),
            transaction_id: paid.then(|| self.transaction_id.clone()),
            trade_type: paid.then(|| self.trade_type.clone()),
            trade_state: state.to_owned(),
            trade_state_desc: text.to_owned(),
            bank_type: paid.then(|| "OTHERS".to_owned()),
            success_time: self.paid_at.and_then(|at| wire::beijing(at).ok()),
            payer: self.order.payer.clone(),
            amount: Some(Collected {
                total,
                payer_total: paid.then_some(total),
                currency: Some(CNY.to_owned()),
                payer_currency: paid.then(|| CNY.to_owned()),
            }),
        }
    }
}

/// Checks an order's fields; when it expires.
fn check(now: Timestamp, trade_type: &str, order: &NewOrder) -> Result<Option<Timestamp>, Refusal> {
    if !word(&order.out_trade_no, 6, 32, b"_-|*") {
        return Err(PARAM("out_trade_no: 6 to 32 letters, digits and _-|*"));
    }
    if !(1..=127).contains(&order.description.chars().count()) {
        return Err(PARAM("description: 1 to 127 characters"));
    }
    if order.amount.total <= 0 || order.amount.currency.as_deref().is_some_and(|c| c != CNY) {
        return Err(PARAM("amount: whole fen above 0, CNY"));
    }
    let address = order.notify_url.starts_with("http://") || order.notify_url.starts_with("https://");
    if !address || order.notify_url.len() > 255 || order.notify_url.contains('?') {
        return Err(PARAM("notify_url: an address of at most 255 characters without a query"));
    }
    if trade_type == "JSAPI" && order.payer.as_ref().is_none_or(|p| !word(&p.openid, 1, 128, b"_-")) {
        return Err(PARAM("payer.openid is needed"));
    }
    let Some(text) = &order.time_expire else { return Ok(None) };
    let expires_at = wire::read_time(text).ok_or(PARAM("time_expire: RFC 3339 with an offset"))?;
    if expires_at > now { Ok(Some(expires_at)) } else { Err(PARAM("time_expire: a time to come")) }
}

fn word(text: &str, least: usize, most: usize, also: &[u8]) -> bool {
    (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b))
}
