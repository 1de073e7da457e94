//! A service system of the simulation: what it wants of the merchant, what it was told, and the server that webhooks come to.

use mock_merchant::domain::RefundRequest;
use mock_merchant::domain::service::message::{ChangeBody, DecisionBody, FeeBody, OrderBody};
use mock_merchant::domain::service::{Change, SourceCaller, SourceMessage, SourceNews};
use mock_merchant::webhook;
use mock_merchant::worker::deliveries::{MessageAnswer, OutsideMessage};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use walkpay::{Currency, ServiceNumber, Timestamp};

/// Both are paid to the same, so that their orders can be on one slip.
pub const PAYEE: &str = "Simulated services";
/// How old a message may be, in seconds: what the specification of webhooks recommends.
const TOLERANCE_S: i64 = 300;
/// The most orders of a service system.
const MAX_ORDERS: u64 = 8;

/// Something that the service system wants of the merchant; it asks until it is answered.
#[derive(Clone, Debug)]
pub enum Wish {
    HandIn { key: String, body: Box<OrderBody> },
    Change { number: ServiceNumber, version: u64, change: Box<Change> },
    Refund { number: ServiceNumber, key: String, request: RefundRequest },
    Redeliver { message_id: String, key: String },
}

/// A service system.
pub struct Service {
    pub caller: SourceCaller,
    /// Whether its address is gone until the operator sets it anew.
    pub gone: bool,
    /// By the number that this side gave it.
    pub wishes: BTreeMap<u64, Wish>,
    /// The version that waits for a decision.
    pub undecided: BTreeMap<ServiceNumber, u64>,
    /// The identifiers of the messages that told of a payment.
    pub paid: BTreeMap<ServiceNumber, BTreeSet<String>>,
    /// How much of an order was given back, as it was told.
    pub refunded: BTreeMap<ServiceNumber, i64>,
    /// The number that each key of a hand-in was answered with.
    pub numbers: BTreeMap<String, ServiceNumber>,
    secret: Vec<u8>,
    /// What was answered to each message, the same for each repeat.
    answered: BTreeMap<String, Vec<u8>>,
    next: u64,
    handed_in: u64,
}

impl Service {
    pub fn new(caller: SourceCaller, secret: Vec<u8>) -> Self {
        Self {
            caller,
            gone: false,
            wishes: BTreeMap::new(),
            undecided: BTreeMap::new(),
            paid: BTreeMap::new(),
            refunded: BTreeMap::new(),
            numbers: BTreeMap::new(),
            secret,
            answered: BTreeMap::new(),
            next: 0,
            handed_in: 0,
        }
    }

    pub fn wish(&mut self, wish: Wish) {
        self.next += 1;
        self.wishes.insert(self.next, wish);
    }

    /// Makes up what to want next: new orders, late decisions, second thoughts, refunds.
    pub fn think(&mut self, payer: &str, currency: Currency, now: Timestamp, rng: &mut ChaCha8Rng) {
        let number = (!self.numbers.is_empty()).then(|| {
            let at = rng.random_range(0..self.numbers.len());
            self.numbers.values().nth(at).copied()
        });
        match (rng.random_range(0..12), number.flatten()) {
            (0..6, _) if self.handed_in < MAX_ORDERS => self.hand_in(payer, currency, now, rng),
            (0..8, _) => self.decide(currency, rng),
            (8, Some(number)) => {
                let change = Change::Modify { fields: changes(currency, rng), reason: "thought again".into() };
                self.wish(Wish::Change { number, version: rng.random_range(1..4), change: Box::new(change) });
            }
            (9, Some(number)) if rng.random_range(0..3) == 0 => {
                let change = Change::Withdraw { reason: String::new() };
                self.wish(Wish::Change { number, version: rng.random_range(1..4), change: Box::new(change) });
            }
            (_, Some(number)) => self.refund(number, currency, rng),
            _ => {}
        }
    }

    /// A new order.
    pub fn hand_in(&mut self, payer: &str, currency: Currency, now: Timestamp, rng: &mut ChaCha8Rng) {
        self.handed_in += 1;
        let minutes = rng.random_range(10..1_200);
        let body = OrderBody {
            service_name: "Journey".into(),
            payer: payer.into(),
            fees: fees(currency, rng),
            payee: None,
            paying_unit: String::new(),
            remarks: String::new(),
            arose_at: None,
            deadline: now.plus(Duration::from_secs(minutes * 60)),
            case_number: format!("C-{}", rng.random_range(1..4)),
            case_name: String::new(),
            draft: rng.random_range(0..6) == 0,
        };
        let key = format!("{}-{}", self.caller.source_id, self.handed_in);
        self.wish(Wish::HandIn { key, body: Box::new(body) });
    }

    /// Decides by a call what it has not decided in an answer.
    pub fn decide(&mut self, currency: Currency, rng: &mut ChaCha8Rng) {
        if let Some((number, version)) = self.undecided.pop_first() {
            let change = Box::new(Change::Decide(decision(currency, rng)));
            self.wish(Wish::Change { number, version, change });
        }
    }

    fn refund(&mut self, number: ServiceNumber, currency: Currency, rng: &mut ChaCha8Rng) {
        if self.paid.contains_key(&number) {
            let amount = (rng.random_range(0..2) == 0).then(|| currency.minor(rng.random_range(1..500)));
            let request = RefundRequest { amount, ..RefundRequest::default() };
            let key = format!("refund-{}", self.next);
            self.wish(Wish::Refund { number, key, request });
        }
    }

    /// A hand-in was answered. A draft is submitted.
    pub fn handed_in(&mut self, wish: u64, number: ServiceNumber) -> Result<(), String> {
        let Some(Wish::HandIn { key, body }) = self.wishes.remove(&wish) else { return Ok(()) };
        if body.draft {
            self.wish(Wish::Change { number, version: 1, change: Box::new(Change::Submit) });
        }
        match self.numbers.iter().find(|(k, n)| (**k == key) != (**n == number)) {
            Some(other) => Err(format!("{key} was answered with {number}, and before: {other:?}")),
            None => {
                self.numbers.insert(key, number);
                Ok(())
            }
        }
    }

    /// The server: takes what is signed and in time, answers a repeat as it did the first time, and fails in many ways. `None`: no
    /// answer at all.
    pub fn receive(
        &mut self,
        message: &OutsideMessage,
        now: Timestamp,
        fails: bool,
        rng: &mut ChaCha8Rng,
    ) -> Result<MessageAnswer, String> {
        let answer = |status, body: Vec<u8>| MessageAnswer::Answered { status, retry_after: None, body: Some(body) };
        if !self.verifies(message) {
            return Ok(answer(401, Vec::new()));
        }
        if (now.as_millis() / 1_000 - message.timestamp).abs() > TOLERANCE_S {
            return Ok(answer(400, Vec::new()));
        }
        if self.gone {
            return Ok(answer(410, Vec::new()));
        }
        if fails {
            match rng.random_range(0..60) {
                0 => {
                    self.gone = true;
                    return Ok(answer(410, Vec::new()));
                }
                1..8 => return Ok(answer(500, b"oops".to_vec())),
                8..10 => {
                    let retry_after = Some(Duration::from_secs(rng.random_range(0..600)));
                    return Ok(MessageAnswer::Answered { status: 503, retry_after, body: None });
                }
                _ => {}
            }
        }
        if let Some(before) = self.answered.get(&message.message_id) {
            return Ok(answer(200, before.clone()));
        }
        let body = self.take(message, fails, rng)?;
        self.answered.insert(message.message_id.clone(), body.clone());
        // An answer that breaks off after the message was taken: the merchant cannot read what was decided.
        if fails && !body.is_empty() && rng.random_range(0..12) == 0 {
            return Ok(MessageAnswer::Answered { status: 200, retry_after: None, body: None });
        }
        Ok(answer(200, body))
    }

    /// Whether the merchant has signed exactly this.
    pub fn verifies(&self, message: &OutsideMessage) -> bool {
        let secrets = std::slice::from_ref(&self.secret);
        let expected = webhook::signatures(secrets, &message.message_id, message.timestamp, &message.body);
        message.signature.split(' ').any(|signature| signature == expected)
    }

    fn take(&mut self, message: &OutsideMessage, fails: bool, rng: &mut ChaCha8Rng) -> Result<Vec<u8>, String> {
        let told: SourceMessage = serde_json::from_slice(&message.body).map_err(|e| e.to_string())?;
        let (number, data) = (told.data.service_number, &told.data);
        match told.kind {
            SourceNews::ConfirmationRequested if fails && rng.random_range(0..4) == 0 => {
                self.undecided.insert(number, data.version);
            }
            SourceNews::ConfirmationRequested => {
                // In case the answer does not arrive: what was decided already cannot be decided again.
                self.undecided.insert(number, data.version);
                return serde_json::to_vec(&decision(data.total.currency, rng)).map_err(|e| e.to_string());
            }
            SourceNews::Paid => {
                let ids = self.paid.entry(number).or_default();
                ids.insert(message.message_id.clone());
                let paid: i64 = data.payments.iter().map(|p| p.amount.minor).sum();
                if ids.len() > 1 || paid != data.total.minor || data.due.minor != 0 {
                    return Err(format!("order {number} is told to be paid more than once, or wrongly: {data:?}"));
                }
            }
            SourceNews::Refunded => {
                let known = self.refunded.entry(number).or_default();
                *known = data.refunded.minor.max(*known);
            }
            _ => {}
        }
        Ok(Vec::new())
    }
}

fn decision(currency: Currency, rng: &mut ChaCha8Rng) -> DecisionBody {
    match rng.random_range(0..8) {
        0 => DecisionBody::Withdraw { reason: String::new() },
        1 => DecisionBody::Modify { fields: changes(currency, rng), reason: "another price".into() },
        _ => DecisionBody::Confirm {},
    }
}

fn changes(currency: Currency, rng: &mut ChaCha8Rng) -> ChangeBody {
    ChangeBody { fees: Some(fees(currency, rng)), ..ChangeBody::default() }
}

fn fees(currency: Currency, rng: &mut ChaCha8Rng) -> Vec<FeeBody> {
    let fee = |minor| FeeBody {
        name: "Seat".into(),
        quantity: "1".into(),
        unit_price: currency.minor(minor),
        tax_rate: "19".into(),
    };
    (0..rng.random_range(1..3)).map(|_| fee(rng.random_range(50..900))).collect()
}
