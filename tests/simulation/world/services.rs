//! Service systems and their merchant: what they ask over the network, and the webhooks that come back over it.

use super::network::Message;
use super::{World, json, shop, text};
use crate::service::{PAYEE, Service, Wish};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mock_merchant::domain::once::IdempotencyKey;
use mock_merchant::domain::service::message::{DeliveryStatus, HandedIn};
use mock_merchant::domain::service::source_of_key;
use mock_merchant::domain::service::{Scopes, ServiceAnswer, ServiceCommand, ServiceQuery, SourceAdmin, Told};
use mock_merchant::domain::{AdminCommand, Answer, Caller, Command, Query, RefundRequest, StaffScopes};
use mock_merchant::failure::Failure;
use mock_merchant::store::Tx;
use mock_merchant::worker::deliveries::{self, MessageAnswer, MessageJob, OutsideMessage};
use rand::RngExt;
use walkpay::protocol::crypto::sha256;
use walkpay::{ServiceNumber, StoreId};

const NAMES: [&str; 2] = ["rail", "port"];

/// What a service system is answered.
#[derive(Clone, Debug)]
pub(super) enum Answered {
    /// It has a number.
    HandedIn(ServiceNumber),
    /// It is done.
    Done,
    /// It will never be done.
    Refused,
}

impl World {
    pub(super) fn add_services(&mut self) -> Result<(), String> {
        for name in NAMES {
            let source_id = || name.to_owned();
            let time_zone = if name == "rail" { "Europe/Berlin" } else { "Asia/Shanghai" };
            self.administer(SourceAdmin::Add {
                source_id: source_id(),
                name: source_id(),
                payee: PAYEE.into(),
                time_zone: time_zone.into(),
            })?;
            let Told::Secret(key) =
                self.administer(SourceAdmin::NewKey { source_id: source_id(), scopes: Scopes::all() })?
            else {
                return Err("no API key".into());
            };
            let caller = Tx::read(&self.conn, |tx| source_of_key(tx, &key)).map_err(|e| format!("{e:?}"))?;
            let Told::Secret(secret) = self.set_callback(name)? else { return Err("no secret".into()) };
            let secret = STANDARD.decode(secret.trim_start_matches("whsec_")).map_err(text)?;
            let mut service = Service::new(caller, secret);
            for payer in super::USERS {
                service.hand_in(payer, shop::currency(), self.now(), &mut self.rng);
            }
            self.services.push(service);
        }
        Ok(())
    }

    fn set_callback(&mut self, name: &str) -> Result<Told, String> {
        let url = Some(format!("https://{name}.example/webhooks"));
        self.administer(SourceAdmin::Callback { source_id: name.into(), url, allow_private: false })
    }

    fn administer(&mut self, command: SourceAdmin) -> Result<Told, String> {
        match self.admin(AdminCommand::Source(command))? {
            Answer::Told(told) => Ok(told),
            other => Err(format!("expected to be told, got {other:?}")),
        }
    }

    /// A service system thinks of something, and asks for something that it wants.
    pub(super) fn service(&mut self) -> Result<(), String> {
        let at = self.rng.random_range(0..self.services.len());
        let payer = super::USERS[self.rng.random_range(0..super::USERS.len())];
        let now = self.now();
        if self.rng.random_range(0..3) > 0 {
            self.services[at].think(payer, shop::currency(), now, &mut self.rng);
        }
        let wishes: Vec<u64> = self.services[at].wishes.keys().copied().collect();
        if !wishes.is_empty() {
            let wish = wishes[self.rng.random_range(0..wishes.len())];
            self.ask_merchant(at, wish);
        }
        Ok(())
    }

    fn ask_merchant(&mut self, service: usize, wish: u64) {
        if let Some(asked) = self.services[service].wishes.get(&wish).cloned() {
            self.post(Message::ServiceToMerchant { service, wish, asked });
        }
    }

    /// The merchant answers a service system; `None`: the process died before it had committed.
    pub(super) fn answer_service(&mut self, service: usize, asked: Wish) -> Result<Option<Answered>, String> {
        let ctx = self.ctx();
        let caller = Caller::Source(self.services[service].caller.clone());
        let key = |key: &str| IdempotencyKey::parse(key).map_err(|e| format!("{e:?}"));
        let command = match asked {
            Wish::HandIn { key: name, body } => {
                let body_sha256 = sha256(&json(&body));
                Command::Service(ServiceCommand::HandIn { key: key(&name)?, body_sha256, body })
            }
            Wish::Change { number, version, change } => {
                Command::Service(ServiceCommand::Change { number, version, change })
            }
            Wish::Redeliver { message_id, key: name } => {
                Command::Service(ServiceCommand::Redeliver { message_id, key: key(&name)? })
            }
            Wish::Refund { number, key: name, request } => {
                let body_sha256 = sha256(&json(&request));
                Command::Refund { number, key: key(&name)?, body_sha256, request }
            }
        };
        if self.faults && self.rng.random_range(0..40) == 0 {
            return Ok(None);
        }
        match self.command(&ctx, &caller, command, false) {
            Ok(Answer::Service(ServiceAnswer::Reply(reply))) => {
                let number = serde_json::from_slice::<HandedIn>(&reply.body).map(|h| h.service_number);
                Ok(Some(number.map_or(Answered::Done, Answered::HandedIn)))
            }
            Ok(_) => Ok(Some(Answered::Done)),
            Err(Failure::Refused { .. }) => Ok(Some(Answered::Refused)),
            Err(Failure::Fault(fault)) => Err(format!("the merchant failed a service system: {fault:?}")),
        }
    }

    pub(super) fn service_answered(&mut self, service: usize, wish: u64, answer: Answered) -> Result<(), String> {
        let service = &mut self.services[service];
        match answer {
            Answered::HandedIn(number) => service.handed_in(wish, number),
            Answered::Done | Answered::Refused => {
                service.wishes.remove(&wish);
                Ok(())
            }
        }
    }

    /// Which service system a message goes to, and what it answers. A message that was changed on its way must not verify.
    pub(super) fn webhook(&mut self, message: &OutsideMessage, forged: bool) -> Result<MessageAnswer, String> {
        let at = NAMES.iter().position(|name| message.url.contains(&format!("//{name}.")));
        let at = at.ok_or_else(|| format!("a message to nobody: {}", message.url))?;
        if self.services[at].verifies(message) == forged {
            return Err(format!("of a webhook that is forged: {forged}, the opposite was verified: {message:?}"));
        }
        let (now, faults) = (self.now(), self.faults);
        self.services[at].receive(message, now, faults, &mut self.rng)
    }

    pub(super) fn webhook_answered(&mut self, job: &MessageJob, answer: &MessageAnswer) -> Result<(), String> {
        let ctx = self.ctx();
        self.touched = true;
        let settled = Tx::run(&self.conn, |tx| deliveries::settle(tx, &ctx, job, answer));
        settled.map_err(|e| format!("settling a webhook failed: {e:?}"))
    }

    /// The merchant's staff gives something back of any order, baskets included.
    pub(super) fn staff_refunds(&mut self) -> Result<(), String> {
        let sql = "SELECT number FROM orders WHERE state IN ('paid', 'partly_refunded') ORDER BY number";
        let numbers: Vec<i64> = self.column(sql)?;
        if numbers.is_empty() {
            return Ok(());
        }
        let number = numbers[self.rng.random_range(0..numbers.len())];
        let number = ServiceNumber::new(u64::try_from(number).map_err(text)?).map_err(text)?;
        let all = self.rng.random_range(0..2) == 0;
        let amount = (!all).then(|| shop::currency().minor(self.rng.random_range(1..400)));
        let request = RefundRequest { amount, ..RefundRequest::default() };
        let body_sha256 = sha256(&json(&request));
        let key = IdempotencyKey::parse(&format!("staff-{}", self.steps)).map_err(|e| format!("{e:?}"))?;
        let store_id: StoreId = shop::store_id();
        let operator = self.rng.random_range(0..2) == 0;
        let scopes = StaffScopes::unnamed();
        let staff = Caller::Staff { store_id, staff_id: "sim".into(), scopes };
        let caller = if operator { Caller::Operator } else { staff };
        let ctx = self.ctx();
        match self.command(&ctx, &caller, Command::Refund { number, key, body_sha256, request }, false) {
            Ok(_) | Err(Failure::Refused { .. }) => Ok(()),
            Err(Failure::Fault(fault)) => Err(format!("a refund failed: {fault:?}")),
        }
    }

    /// Nothing goes wrong any more: addresses are set anew, everything is asked and decided, dead letters are delivered again.
    pub(super) fn services_settle(&mut self, round: usize) -> Result<(), String> {
        for (at, name) in NAMES.into_iter().enumerate().take(self.services.len()) {
            if std::mem::take(&mut self.services[at].gone) || round < 3 {
                self.set_callback(name)?;
            }
            for message_id in self.dead_letters(at)? {
                let key = format!("again-{round}-{message_id}");
                self.services[at].wish(Wish::Redeliver { message_id, key });
            }
            while !self.services[at].undecided.is_empty() {
                self.services[at].decide(shop::currency(), &mut self.rng);
            }
            let wishes: Vec<u64> = self.services[at].wishes.keys().copied().collect();
            wishes.into_iter().for_each(|wish| self.ask_merchant(at, wish));
        }
        Ok(())
    }

    fn dead_letters(&mut self, at: usize) -> Result<Vec<String>, String> {
        let ctx = self.ctx();
        let caller = Caller::Source(self.services[at].caller.clone());
        let status = Some(DeliveryStatus::Dead);
        let query = Query::Service(ServiceQuery::Deliveries { after: 0, limit: 100, status });
        match self.query(&ctx, &caller, query) {
            Ok(Answer::Service(ServiceAnswer::Deliveries(page))) => {
                Ok(page.deliveries.into_iter().map(|d| d.message_id).collect())
            }
            other => Err(format!("expected messages, got {other:?}")),
        }
    }
}
