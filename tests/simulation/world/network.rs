//! The network: messages come late, in any order, twice, or not at all.

use super::carriers::Outcome;
use super::services::Answered;
use super::{ADVERSARY, Mutation, World, text};
use crate::lines::Parcel;
use crate::service::Wish;
use mock_merchant::bank::port::NoAnswer;
use mock_merchant::channel::http::Received;
use mock_merchant::channel::port::{self as channel, ChannelAnswer};
use mock_merchant::domain::notices::Report;
use mock_merchant::store::Tx;
use mock_merchant::store::contacts::Medium;
use mock_merchant::worker::channels::ChannelJob;
use mock_merchant::worker::deliveries::{MessageAnswer, MessageJob, OutsideMessage};
use mock_merchant::worker::notices::OutsideNotice;
use mock_merchant::worker::{self, BankAnswer, OutsideCall};
use rand::RngExt;
use walkpay::gate::GateRequest;
use walkpay::protocol::document::BasketSummary;
use walkpay::protocol::jws;
use walkpay::protocol::order::SlipPayment;
use walkpay::protocol::request::TerminalRequest;
use walkpay::session::*;

/// Something on its way.
#[derive(Clone)]
pub(super) enum Message {
    ToMerchant {
        from: usize,
        boot: u64,
        id: DueId,
        nonce: String,
        request: TerminalRequest,
        sent_ms: i64,
    },
    ToTerminal {
        to: usize,
        boot: u64,
        answer: HttpAnswer,
    },
    GateToMerchant {
        gate: usize,
        number: u64,
        request: GateRequest,
    },
    /// The body of an answer, or that there is none.
    MerchantToGate {
        gate: usize,
        number: u64,
        answer: Option<Vec<u8>>,
    },
    ToBank {
        call: OutsideCall,
    },
    FromBank {
        call: OutsideCall,
        result: Result<BankAnswer, NoAnswer>,
    },
    ToChannel {
        job: ChannelJob,
    },
    FromChannel {
        job: ChannelJob,
        answer: Result<ChannelAnswer, channel::NoAnswer>,
    },
    /// From the channel, or from somebody who pretends to be it.
    Notification {
        body: String,
        forged: bool,
    },
    /// Between the merchant and a payment provider, either way: what was sent, or changed by somebody.
    Request {
        call: u64,
        parcel: Box<Parcel>,
        forged: bool,
    },
    /// `None`: the connection broke off.
    Response {
        call: u64,
        answer: Option<Received>,
    },
    /// A webhook, as it was sent or changed on its way.
    ToService {
        message: OutsideMessage,
        forged: bool,
    },
    FromService {
        job: MessageJob,
        answer: MessageAnswer,
    },
    ServiceToMerchant {
        service: usize,
        wish: u64,
        asked: Wish,
    },
    MerchantToService {
        service: usize,
        wish: u64,
        answer: Answered,
    },
    /// A notice, by whoever carries it to its payer.
    ToCarrier {
        medium: Medium,
        notice: Box<OutsideNotice>,
        number: u32,
    },
    FromCarrier(Outcome),
    /// A text message centre tells what became of a message.
    Report {
        token: String,
        message_id: String,
        said: Report,
    },
}

impl Message {
    fn can_be_repeated(&self) -> bool {
        matches!(
            self,
            Self::ToMerchant { .. }
                | Self::GateToMerchant { .. }
                | Self::Notification { .. }
                | Self::Request { .. }
                | Self::ToService { .. }
                | Self::ServiceToMerchant { .. }
                | Self::Report { .. }
        )
    }
}

impl World {
    pub(super) fn send_due(&mut self, n: usize) {
        let now = self.terminal_now(n);
        let terminal = &mut self.terminals[n];
        // One at a time, so that anything can happen between two of them.
        let Some(due) = due(&terminal.session, &now, &terminal.in_flight).into_iter().next() else { return };
        terminal.in_flight.insert(due.id);
        let boot = terminal.boot;
        let nonce = format!("nonce-{boot}-{}", self.rng.random_range(0..u64::MAX));
        self.note_signed(&due.request);
        if n == ADVERSARY && self.captured.len() < 50 {
            self.captured.push(due.request.clone());
        }
        let (id, request, sent_ms) = (due.id, due.request, self.now_ms);
        self.post(Message::ToMerchant { from: n, boot, id, nonce, request, sent_ms });
        if n != ADVERSARY {
            self.send_again_as_new(n, id);
        }
    }

    fn send_again_as_new(&mut self, n: usize, id: DueId) {
        if self.mutation != Some(Mutation::RetryWithNewId) {
            return;
        }
        let DueId::Item { device, seq } = id else { return };
        let found = self.terminals[n].session.device(device).map(Device::outbox).unwrap_or_default();
        let Some(item) = found.into_iter().find(|i| i.id == seq && i.attempts > 0) else { return };
        let now = self.terminal_now(n);
        if let (Some(trip), Some(shop)) = (item.trip_id, self.shops.get(&1)) {
            self.terminals[n].retry_as_new(trip, shop, &now);
        }
    }

    fn note_signed(&mut self, request: &TerminalRequest) {
        if let TerminalRequest::PutAttempt { trip_id, body, .. } = request
            && let Ok((_, summary)) = jws::peek::<BasketSummary>(&body.basket)
        {
            let totals = self.signed.entry(*trip_id).or_default();
            if !totals.contains(&summary.total) {
                totals.push(summary.total);
            }
        }
        if let TerminalRequest::PutPayment { payment_id, body, .. } = request
            && let Ok((_, payment)) = jws::peek::<SlipPayment>(&body.payment)
        {
            self.signed_payments.insert((*payment_id).into(), payment.amount.minor - payment.stored_value.minor);
        }
    }

    /// Puts a message on the wire: late, twice, or not at all.
    pub(super) fn post(&mut self, message: Message) {
        let longest = if self.orders { 3_000 } else { 20_000 };
        let delay = if self.faults { self.rng.random_range(0..longest) } else { 1 };
        if self.faults && self.rng.random_range(0..10) == 0 {
            if let Message::ToMerchant { from, boot, id, nonce, sent_ms, .. } = message {
                self.fail(from, boot, id, nonce, sent_ms);
            } else if let Message::ToTerminal { to, boot, mut answer } = message {
                answer.outcome = HttpOutcome::Failed { detail: "the answer is lost".into() };
                self.wire.push((self.now_ms + delay, Message::ToTerminal { to, boot, answer }));
            } else if let Message::GateToMerchant { gate, number, .. } | Message::MerchantToGate { gate, number, .. } =
                message
            {
                self.wire.push((self.now_ms + delay, Message::MerchantToGate { gate, number, answer: None }));
            } else if let Message::Request { call, .. } | Message::Response { call, .. } = message {
                self.give_up_waiting(call);
            }
            // A call to the bank, to the channel or to a service system that is lost is found again when its lease ends; a service
            // system asks again.
            return;
        }
        if self.faults && self.rng.random_range(0..8) == 0 && message.can_be_repeated() {
            let later = self.rng.random_range(0..300_000);
            self.wire.push((self.now_ms + later, message.clone()));
        }
        self.wire.push((self.now_ms + delay, message));
    }

    pub(super) fn fail(&mut self, to: usize, boot: u64, id: DueId, nonce: String, sent_ms: i64) {
        let outcome = HttpOutcome::Failed { detail: "no connection".into() };
        let elapsed_ms = u64::try_from(self.now_ms - sent_ms).unwrap_or(0);
        let answer = HttpAnswer { id, nonce, elapsed_ms, outcome };
        self.wire.push((self.now_ms + 1_000, Message::ToTerminal { to, boot, answer }));
    }

    /// Any message that is there by now, in any order.
    pub(super) fn deliver_next(&mut self) -> Result<(), String> {
        if !self.faults {
            self.wire.sort_by_key(|(at, _)| *at);
        }
        let there: Vec<usize> = (0..self.wire.len()).filter(|i| self.wire[*i].0 <= self.now_ms).collect();
        let at = match there.as_slice() {
            [] if self.wire.is_empty() => return Ok(()),
            [] => {
                self.now_ms = self.wire.iter().map(|(at, _)| *at).min().unwrap_or(self.now_ms).max(self.now_ms);
                return self.deliver_next();
            }
            there if self.faults => there[self.rng.random_range(0..there.len())],
            there => there[0],
        };
        let (_, message) = self.wire.remove(at);
        self.deliver(message)
    }

    pub(super) fn deliver(&mut self, message: Message) -> Result<(), String> {
        match message {
            Message::ToMerchant { from, boot, id, nonce, request, sent_ms } => {
                let (status, body) = self.merchant(from, &nonce, request)?;
                let outcome = HttpOutcome::Answer { status, retry_after_seconds: None, date: None, body };
                let elapsed_ms = u64::try_from(self.now_ms - sent_ms).unwrap_or(0);
                let answer = HttpAnswer { id, nonce, elapsed_ms, outcome };
                self.post(Message::ToTerminal { to: from, boot, answer });
            }
            Message::ToTerminal { to, boot, answer } => {
                let now = self.terminal_now(to);
                let terminal = &mut self.terminals[to];
                // A connection of a process that died, or the second answer to a repeated request.
                if boot == terminal.boot && terminal.in_flight.remove(&answer.id) {
                    terminal.tell(Input::Answer(answer), &now).map_err(text)?;
                }
            }
            Message::GateToMerchant { gate, number, request } => {
                let answer = Some(self.answer_gate(&request)?);
                self.post(Message::MerchantToGate { gate, number, answer });
            }
            Message::MerchantToGate { gate, number, answer } => self.gate_answered(gate, number, answer)?,
            Message::ToBank { call } => self.ask_bank(call)?,
            Message::FromBank { call, result } => {
                let ctx = self.ctx();
                self.touched = true;
                let result = Tx::run(&self.conn, |tx| worker::settle(tx, &ctx, &call.job, result));
                result.map_err(|e| format!("settling a call failed: {e:?}"))?;
            }
            Message::ToChannel { job } => self.ask_channel(job),
            answer @ Message::FromChannel { .. } => self.channel_answered(answer)?,
            Message::Notification { body, forged } => self.notified(&body, forged)?,
            Message::Request { call, parcel, forged } => self.requested(call, *parcel, forged)?,
            Message::Response { call, answer } => self.responded(call, answer)?,
            Message::ToService { message, forged } => {
                let answer = self.webhook(&message, forged)?;
                if !forged {
                    self.post(Message::FromService { job: message.job, answer });
                }
            }
            Message::FromService { job, answer } => self.webhook_answered(&job, &answer)?,
            Message::ServiceToMerchant { service, wish, asked } => {
                if let Some(answer) = self.answer_service(service, asked)? {
                    self.post(Message::MerchantToService { service, wish, answer });
                }
            }
            Message::MerchantToService { service, wish, answer } => self.service_answered(service, wish, answer)?,
            Message::ToCarrier { medium, notice, number } => self.carry(medium, *notice, number)?,
            Message::FromCarrier(outcome) => self.carried(&outcome)?,
            Message::Report { token, message_id, said } => self.reported(&token, &message_id, said)?,
        }
        Ok(())
    }
}
