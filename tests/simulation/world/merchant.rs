//! The merchant: the domain and the store that ship, called as HTTP would.

use super::network::Message;
use super::{Mutation, Plan, World, json, shop, text};
use mock_merchant::channel::test::TestChannel;
use mock_merchant::channel::{alipay, wechat};
use mock_merchant::domain::once::IdempotencyKey;
use mock_merchant::domain::{self, AdminCommand, Answer, Caller, Config, Core, Ctx, PayerAnswer, PayerCommand, Query};
use mock_merchant::failure::Failure;
use mock_merchant::store::Tx;
use mock_merchant::worker;
use rand::RngExt;
use std::time::Duration;
use walkpay::protocol::crypto::sha256;
use walkpay::protocol::document::*;
use walkpay::protocol::message::*;
use walkpay::protocol::problem::ProblemCode;
use walkpay::protocol::request::TerminalRequest;

/// The policy: everything that happens by itself happens within hours.
pub(super) fn config(plan: Plan) -> Config {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    // Who gives up soon is to do so before the channel does.
    let pay_deadline = if plan.impatient { minutes(90) } else { minutes(15) };
    Config {
        spot_check_per_mille: 100,
        channels: vec![
            TestChannel::identity(),
            alipay::Settings::default().identity(),
            wechat::Settings::default().identity(),
        ],
        remind_before: vec![minutes(120), minutes(10)],
        remind_after: vec![minutes(30)],
        expire_after: minutes(180),
        webhook_retries: vec![Duration::from_secs(5), minutes(1), minutes(5)],
        notice_retries: vec![Duration::from_secs(20), minutes(2), minutes(10), minutes(30), minutes(60)],
        quiet_hours: Some((22 * 60, 60)),
        pay_deadline,
        mutation: plan.mutation.and_then(Mutation::in_the_rules),
        ..Config::default()
    }
}

impl World {
    pub(super) fn admin(&mut self, command: AdminCommand) -> Result<Answer, String> {
        let ctx = self.ctx();
        let command = domain::Command::Admin(command);
        Tx::run(&self.conn, |tx| domain::handle(tx, &ctx, &Caller::Operator, command)).map_err(|e| format!("{e:?}"))
    }

    pub(super) fn merchant(
        &mut self,
        from: usize,
        nonce: &str,
        request: TerminalRequest,
    ) -> Result<(u16, Vec<u8>), String> {
        let ctx = self.ctx();
        let caller = match self.terminals[from].session.current() {
            Ok(device) => Caller::Device { device_id: device.id, kid: device.request_key.key_id() },
            Err(_) => Caller::Anonymous,
        };
        // Sometimes the process dies before it has committed: no effect, no answer.
        let dies = self.faults && self.rng.random_range(0..40) == 0;
        let answered = match request {
            TerminalRequest::StartEnrolment => {
                self.command(&ctx, &Caller::Anonymous, domain::Command::BeginEnrolment, dies)
            }
            TerminalRequest::Enrol { device_id, body } => {
                let command = domain::Command::Enrol { device_id, request: body };
                self.command(&ctx, &Caller::Anonymous, command, dies)
            }
            TerminalRequest::RotateKeys { device_id, body } => {
                self.command(&ctx, &caller, domain::Command::RotateKeys { device_id, request: body }, dies)
            }
            TerminalRequest::PutHold { hold_id, body } => {
                self.command(&ctx, &caller, domain::Command::PutHold { hold_id, body }, dies)
            }
            TerminalRequest::PutAttempt { trip_id, attempt, body } => {
                self.command(&ctx, &caller, domain::Command::PutAttempt { trip_id, attempt, body }, dies)
            }
            TerminalRequest::PutCancellation { trip_id, body } => {
                self.command(&ctx, &caller, domain::Command::PutCancellation { trip_id, body }, dies)
            }
            ref make @ TerminalRequest::MakeSlip { slip_id, ref body } => {
                let body_sha256 = sha256(&make.to_http().map_err(text)?.body);
                let key = IdempotencyKey::parse(&slip_id.to_string()).map_err(|e| format!("{e:?}"))?;
                let command = PayerCommand::MakeSlip { key, body_sha256, request: body.clone() };
                self.command(&ctx, &caller, domain::Command::Payer(command), dies)
            }
            TerminalRequest::CloseSlip { slip_number } => {
                self.command(&ctx, &caller, domain::Command::Payer(PayerCommand::CloseSlip(slip_number)), dies)
            }
            TerminalRequest::PutPayment { slip_number: slip, payment_id, body } => {
                self.command(&ctx, &caller, domain::Command::PutPayment { slip, payment_id, body }, dies)
            }
            TerminalRequest::ClosePayment { slip_number: slip, payment_id } => {
                let command = PayerCommand::ClosePayment { slip, payment_id };
                self.command(&ctx, &caller, domain::Command::Payer(command), dies)
            }
            TerminalRequest::Events { after, .. } => self.query(&ctx, &caller, Query::Events { after, limit: 20 }),
            TerminalRequest::Keys => self.query(&ctx, &caller, Query::KeySet),
            TerminalRequest::Catalogue { store_id, base } => {
                self.query(&ctx, &caller, Query::Manifest { store_id, base })
            }
            TerminalRequest::CatalogueData { store_id, revision, base } => {
                self.query(&ctx, &caller, Query::CatalogueData { store_id, revision, base })
            }
            other => return Err(format!("no shopper here asks this: {other:?}")),
        };
        if dies {
            return Ok((503, json(&ProblemCode::Unavailable.document("restarting"))));
        }
        match answered {
            Ok(answer) => self.http(&ctx, &caller, nonce, answer),
            Err(failure @ Failure::Refused { .. }) => Ok((failure.code().status(), json(&failure.problem()))),
            Err(Failure::Fault(fault)) => Err(format!("the merchant failed: {fault:?}")),
        }
    }

    pub(super) fn command(
        &mut self,
        ctx: &Ctx,
        caller: &Caller,
        command: domain::Command,
        dies: bool,
    ) -> Result<Answer, Failure> {
        if dies {
            self.conn.execute_batch("SAVEPOINT dying").map_err(mock_merchant::store::StoreError::from)?;
            self.conn.execute_batch("RELEASE dying").map_err(mock_merchant::store::StoreError::from)?;
            return Ok(Answer::Done);
        }
        self.touched = true;
        Tx::run(&self.conn, |tx| domain::handle(tx, ctx, caller, command))
    }

    pub(super) fn query(&self, ctx: &Ctx, caller: &Caller, query: Query) -> Result<Answer, Failure> {
        Tx::read(&self.conn, |tx| domain::read(tx, ctx, caller, query))
    }

    fn http(&self, ctx: &Ctx, caller: &Caller, nonce: &str, answer: Answer) -> Result<(u16, Vec<u8>), String> {
        Ok(match answer {
            Answer::EnrolmentStart(body) => (200, json(&body)),
            Answer::Enrolment(body) => (200, json(&body)),
            Answer::Recorded { body, repeat } => (if repeat { 200 } else { 201 }, json(&body)),
            Answer::Reply(reply) => (reply.status, reply.body),
            Answer::Payer(PayerAnswer::Slip(slip)) => (200, json(&slip)),
            Answer::Payer(PayerAnswer::Payment { view, repeat }) => (if repeat { 200 } else { 201 }, json(&view)),
            Answer::KeySet(body) => (200, json(&body)),
            Answer::Manifest(body) => (200, json(&body)),
            Answer::CatalogueData(bytes) => (200, bytes.to_vec()),
            Answer::Events(events) => {
                let Caller::Device { device_id, .. } = caller else { return Err("events for nobody".into()) };
                let clock = ClockStatement {
                    merchant_id: self.merchant_id.clone(),
                    device_id: *device_id,
                    nonce: nonce.to_owned(),
                    now: ctx.now,
                };
                let clock = ctx.keys.sign(KeyUse::Results, ctx.now, &clock).map_err(text)?;
                (200, json(&EventsPage { events, clock }))
            }
            other => return Err(format!("no HTTP form for {other:?}")),
        })
    }

    pub(super) fn restart_merchant(&mut self) -> Result<(), String> {
        // What is in memory goes; what was under way to it and from it breaks off.
        self.core = Core::new(config(self.plan), self.keyring.clone());
        self.providers_lose_merchant()?;
        let broken: Vec<Message> = std::mem::take(&mut self.wire).into_iter().map(|(_, m)| m).collect();
        for message in broken {
            match message {
                Message::ToMerchant { from, boot, id, nonce, sent_ms, .. } => {
                    self.fail(from, boot, id, nonce, sent_ms);
                }
                Message::ToBank { call } if self.rng.random_range(0..2) == 0 => self.ask_bank(call)?,
                Message::ToChannel { job } if self.rng.random_range(0..2) == 0 => self.ask_channel(job),
                Message::ToService { message, forged } if self.rng.random_range(0..2) == 0 => {
                    self.webhook(&message, forged)?;
                }
                Message::ToCarrier { medium, notice, number } if self.rng.random_range(0..2) == 0 => {
                    self.carry(medium, *notice, number)?;
                }
                Message::Request { call, parcel, forged } => {
                    if parcel.url.path().starts_with("/channel/") {
                        self.give_up_waiting(call);
                    } else if self.rng.random_range(0..2) == 0 {
                        self.requested(call, *parcel, forged)?;
                    }
                }
                Message::ToBank { .. }
                | Message::FromBank { .. }
                | Message::ToChannel { .. }
                | Message::FromChannel { .. }
                | Message::Notification { .. }
                | Message::ToService { .. }
                | Message::FromService { .. }
                | Message::ToCarrier { .. }
                | Message::FromCarrier(_)
                | Message::ServiceToMerchant { .. } => {}
                other => self.wire.push((self.now_ms, other)),
            }
        }
        // Whatever came from the bank as a consequence has nobody to go to.
        self.wire.retain(|(_, m)| {
            !matches!(m, Message::FromBank { .. } | Message::FromChannel { .. } | Message::FromCarrier(_))
        });
        Ok(())
    }

    pub(super) fn publish_catalogue(&mut self) -> Result<(), String> {
        let ndjson = shop::ndjson(2);
        self.admin(AdminCommand::ImportCatalogue { store_id: shop::store_id(), ndjson, replace: true })?;
        self.published = 2;
        Ok(())
    }

    pub(super) fn staff(&mut self) -> Result<(), String> {
        let ctx = self.ctx();
        let query = Query::Checks { store_id: shop::store_id() };
        let answer = Tx::read(&self.conn, |tx| domain::read(tx, &ctx, &Caller::Operator, query));
        let Answer::Checks(checks) = answer.map_err(|e| format!("{e:?}"))? else { return Ok(()) };
        for check in checks {
            self.touched = true;
            let accept = self.rng.random_range(0..4) > 0;
            let decision = domain::Decision {
                trip_id: check.trip_id,
                attempt: check.attempt,
                basket_sha256: check.basket_sha256,
                accept,
            };
            let ctx = self.ctx();
            let command = domain::Command::Decide(decision);
            let result = Tx::run(&self.conn, |tx| domain::handle(tx, &ctx, &Caller::Operator, command));
            if let Err(Failure::Fault(e)) = result {
                return Err(format!("a staff decision failed: {e:?}"));
            }
        }
        Ok(())
    }

    /// One due job of each kind of the merchant; whether there was one.
    pub(super) fn work(&mut self) -> Result<bool, String> {
        let ctx = self.ctx();
        let taken = Tx::run(&self.conn, |tx| Ok((worker::internal(tx, &ctx)?, worker::take_due(tx, &ctx)?)));
        let (done, call) = taken.map_err(|e| format!("{e:?}"))?;
        let mut more = done > 0 || call.is_some();
        if let Some(call) = call {
            self.post(Message::ToBank { call });
        }
        if self.orders {
            more |= self.work_for_orders(&ctx)?;
            more |= self.work_for_notices()?;
        }
        self.touched |= more;
        Ok(more)
    }

    fn work_for_orders(&mut self, ctx: &Ctx) -> Result<bool, String> {
        let taken = Tx::run(&self.conn, |tx| {
            Ok((worker::channels::take_due(tx, ctx)?, worker::deliveries::take_due(tx, ctx)?))
        });
        let (job, message) = taken.map_err(|e| format!("{e:?}"))?;
        let more = job.is_some() || message.is_some();
        if let Some(job) = job {
            match job.method {
                PaymentMethod::Test => self.post(Message::ToChannel { job }),
                _ => self.ask_provider(job)?,
            }
        }
        if let Some(message) = message {
            if self.faults && self.rng.random_range(0..20) == 0 {
                let mut message = message.clone();
                match self.rng.random_range(0..3) {
                    0 => message.timestamp += 1,
                    1 => message.message_id.push('x'),
                    _ => message.body.push(b' '),
                }
                self.post(Message::ToService { message, forged: true });
            }
            self.post(Message::ToService { message, forged: false });
        }
        Ok(more)
    }
}
