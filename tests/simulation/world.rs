//! Terminals, a merchant and a bank in one thread; a network and a scheduler that a seed decides.

use super::Mutation;
use super::device::{Terminal, Visit, public};
use super::shop::{self, Shop};
use ed25519_dalek::{Signer, SigningKey};
use mock_merchant::bank::port::*;
use mock_merchant::bank::{Bank, NewAccount, NewKey, Treatment};
use mock_merchant::domain::{self, AdminCommand, Answer, BankAccount, Caller, Config, Core, Ctx, NewUser, Query};
use mock_merchant::failure::Failure;
use mock_merchant::keys::{Keyring, Signing};
use mock_merchant::store::invariants;
use mock_merchant::store::{Identity, Tx, open_in_memory};
use mock_merchant::worker::{self, Ask, BankAnswer, OutsideCall};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use walkpay::protocol::document::*;
use walkpay::protocol::jws;
use walkpay::protocol::message::*;
use walkpay::protocol::problem::ProblemCode;
use walkpay::protocol::request::TerminalRequest;
use walkpay::session::*;
use walkpay::{MerchantId, Money, Timestamp, TripId, UserName};

/// 2026-06-01T08:00:00Z.
const START_MS: i64 = 1_780_300_800_000;
const USERS: [&str; 3] = ["alice", "bob", "mallory"];
/// Two devices of alice among them; the last one is mallory's.
const OWNERS: [usize; 4] = [0, 0, 1, 2];
const ADVERSARY: usize = 3;

/// Something on its way.
enum Message {
    ToMerchant { from: usize, boot: u64, id: DueId, nonce: String, request: TerminalRequest, sent_ms: i64 },
    ToTerminal { to: usize, boot: u64, answer: HttpAnswer },
    ToBank { call: OutsideCall },
    FromBank { call: OutsideCall, result: Result<BankAnswer, NoAnswer> },
}

/// The whole.
pub struct World {
    pub rng: ChaCha8Rng,
    pub now_ms: i64,
    pub terminals: Vec<Terminal>,
    pub bank: Bank,
    conn: rusqlite::Connection,
    core: Core,
    keyring: Keyring,
    merchant_id: MerchantId,
    shops: BTreeMap<u64, Shop>,
    wire: Vec<(i64, Message)>,
    faults: bool,
    mutation: Option<Mutation>,
    /// Signed totals by trip: what the shoppers agreed to.
    signed: BTreeMap<TripId, Vec<Money>>,
    /// Trips on which only tampered baskets were handed in.
    tampered: BTreeSet<TripId>,
    /// References by which each hold was resolved at the bank.
    resolutions: BTreeMap<String, BTreeSet<String>>,
    captured: Vec<TerminalRequest>,
    /// Whether merchant or bank have committed anything since the last check.
    touched: bool,
    /// With [`Mutation::NewBankReference`]: how often each reference was called.
    tries: BTreeMap<String, u32>,
    steps: u64,
}

impl World {
    pub fn new(seed: u64, mutation: Option<Mutation>) -> Result<Self, String> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let merchant_id = MerchantId::parse("sim").map_err(text)?;
        let identity = Identity { merchant_id: merchant_id.clone(), name: "Simulated merchant".into(), sim: true };
        let conn = open_in_memory(&identity).map_err(text)?;
        let root = Signing::new(&[99; 32]).map_err(text)?;
        let start = Timestamp::from_millis(START_MS);
        let mut next = 100;
        let seeds = || {
            next += 1;
            [next; 32]
        };
        let keyring = Keyring::create(merchant_id.clone(), &root, start, seeds).map_err(text)?;
        let config = Config { spot_check_per_mille: 100, ..Config::default() };
        let core = Core::new(config, keyring.clone());
        let bank = Bank::in_memory().map_err(text)?;
        let terminals = (0..OWNERS.len()).map(|n| Terminal::new(n as u8, mutation, START_MS)).collect();
        let shops = [1, 2].map(|revision| (revision, Shop::new(revision))).into();
        rng.random_range(0..2);
        let mut world = Self {
            rng,
            now_ms: START_MS,
            terminals,
            bank,
            conn,
            core,
            keyring,
            merchant_id,
            shops,
            wire: Vec::new(),
            faults: false,
            mutation,
            signed: BTreeMap::new(),
            tampered: BTreeSet::new(),
            resolutions: BTreeMap::new(),
            captured: Vec::new(),
            touched: false,
            tries: BTreeMap::new(),
            steps: 0,
        };
        world.set_up()?;
        Ok(world)
    }

    fn set_up(&mut self) -> Result<(), String> {
        self.admin(AdminCommand::AddStore(shop::store()))?;
        let ndjson = shop::ndjson(1);
        self.admin(AdminCommand::ImportCatalogue { store_id: shop::store_id(), ndjson, replace: true })?;
        for (n, name) in USERS.iter().enumerate() {
            let user_name = UserName::parse(name).map_err(text)?;
            let token = format!("acct-{name}");
            let balance = shop::currency().minor(self.rng.random_range(500..6_000));
            let mut account = NewAccount::plain(&token, balance);
            account.top_up = self.rng.random_range(0..2) == 0;
            self.bank.open_account(self.now(), &account).map_err(text)?;
            let label = "Simulated account".to_owned();
            let stored_value = (n != 1).then(shop::currency);
            self.admin(AdminCommand::AddUser(NewUser {
                user_name: user_name.clone(),
                display_name: name.to_string(),
                addresses: Vec::new(),
                stored_value,
                bank: Some(BankAccount { token, label, confirm_url: "https://bank.example/confirm".into() }),
            }))?;
            if stored_value.is_some() {
                let amount = shop::currency().minor(self.rng.random_range(1..1_500));
                let reference = format!("gift-{name}");
                self.admin(AdminCommand::TopUp { user_name, amount, reference })?;
            }
        }
        (0..OWNERS.len()).try_for_each(|n| self.enrol(n))
    }

    fn enrol(&mut self, n: usize) -> Result<(), String> {
        let user_name = UserName::parse(USERS[OWNERS[n]]).map_err(text)?;
        let command = AdminCommand::NewEnrolmentCode { user_name: user_name.clone(), self_confirming: true };
        let Answer::EnrolmentCode { code, root, .. } = self.admin(command)? else {
            return Err("no enrolment code".into());
        };
        let code = walkpay::protocol::enrolment_code::EnrolmentCode {
            url: "http://127.0.0.1:1".into(),
            merchant_id: self.merchant_id.clone(),
            root_kid: root,
            code,
        };
        let text_form = code.to_text();
        let now = self.terminal_now(n);
        let begin = Command::BeginEnrolment { text: &text_form, label: "simulated" };
        self.terminals[n].tell(Input::Command(begin), &now).map_err(text)?;
        for _ in 0..10 {
            self.pump(n)?;
            let now = self.terminal_now(n);
            self.terminals[n].sign_enrolment(&now).map_err(text)?;
            if self.terminals[n].session.devices().next().is_some() {
                break;
            }
        }
        let now = self.terminal_now(n);
        let command = Command::SignIn { user_name: &user_name };
        self.terminals[n].tell(Input::Command(command), &now).map_err(text)?;
        self.terminals[n].write();
        let device_id = self.terminals[n].session.current().map_err(text)?.id;
        let account = format!("acct-{}", USERS[OWNERS[n]]);
        let key = self.terminals[n].consent_key();
        let key = NewKey { account, merchant_id: self.merchant_id.clone(), device_id, key };
        self.bank.confirm_key(self.now(), &key).map_err(text)
    }

    /// Everything that is due on a terminal, sent and answered at once.
    fn pump(&mut self, n: usize) -> Result<(), String> {
        self.send_due(n);
        while let Some((_, message)) = self.wire.pop() {
            self.deliver(message)?;
        }
        self.now_ms += 50;
        Ok(())
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms)
    }

    fn terminal_now(&mut self, n: usize) -> Now {
        self.terminals[n].now(self.now_ms, &mut self.rng)
    }

    fn ctx(&mut self) -> Ctx {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        self.core.ctx(self.now(), seed)
    }

    fn admin(&mut self, command: AdminCommand) -> Result<Answer, String> {
        let ctx = self.ctx();
        let command = domain::Command::Admin(command);
        Tx::run(&self.conn, |tx| domain::handle(tx, &ctx, &Caller::Operator, command)).map_err(|e| format!("{e:?}"))
    }

    // ---- time ------------------------------------------------------------------------------------------------------

    /// One step with everything that can go wrong; then the invariants.
    pub fn step(&mut self) -> Result<(), String> {
        self.faults = true;
        self.steps += 1;
        match self.rng.random_range(0..100) {
            0..34 => self.shopper()?,
            34..62 => self.deliver_next()?,
            62..78 => {
                let n = self.any_terminal();
                self.send_due(n);
            }
            78..88 => self.work().map(|_| ())?,
            88..90 => {
                let n = self.any_terminal();
                self.terminals[n].restart()?;
            }
            90 => self.restart_merchant()?,
            91 => self.restart_bank()?,
            92 => {
                let n = self.any_terminal();
                self.terminals[n].skew_ms = self.rng.random_range(-4_000_000..4_000_000);
            }
            93 => self.adversary(),
            94 => self.staff()?,
            95 => self.publish_catalogue()?,
            96 => {
                let n = self.any_terminal();
                let now = self.terminal_now(n);
                self.terminals[n].read_events(&now);
            }
            _ => self.now_ms += self.rng.random_range(1..120_000),
        }
        for terminal in &mut self.terminals {
            // The late writer gets to it now and then.
            if self.rng.random_range(0..4) == 0 {
                terminal.write();
            }
        }
        self.now_ms += self.rng.random_range(1..2_000);
        if self.bank.book_late(self.now()).map_err(text)? > 0 || std::mem::take(&mut self.touched) {
            self.check()?;
        }
        Ok(())
    }

    fn any_terminal(&mut self) -> usize {
        self.rng.random_range(0..self.terminals.len())
    }

    /// No more faults, all the time that is needed: everything comes to its end.
    pub fn settle(&mut self) -> Result<(), String> {
        self.faults = false;
        for terminal in &mut self.terminals {
            terminal.skew_ms = 0;
        }
        for round in 0..64 {
            for n in 0..self.terminals.len() {
                for _ in 0..10 {
                    self.send_due(n);
                }
            }
            while !self.wire.is_empty() {
                self.deliver_next()?;
            }
            while self.work()? {
                while !self.wire.is_empty() {
                    self.deliver_next()?;
                }
            }
            self.staff()?;
            for n in 0..self.terminals.len() {
                let now = self.terminal_now(n);
                self.terminals[n].read_events(&now);
                self.terminals[n].write();
            }
            self.now_ms += if round < 28 { 30_000 } else { 3_600_000 };
            self.bank.book_late(self.now()).map_err(text)?;
            self.bank.expire_due(self.now()).map_err(text)?;
            self.check()?;
        }
        self.check_quiet()
    }

    fn shopper(&mut self) -> Result<(), String> {
        let n = self.any_terminal();
        if n == ADVERSARY && self.rng.random_range(0..3) == 0 {
            self.adversary();
            return Ok(());
        }
        let now = self.terminal_now(n);
        let revisions = self.shops.len() as u64;
        // The adversary keeps an old catalogue on purpose, others are sometimes late.
        let published = self.revision()?;
        let revision = if n == ADVERSARY || self.rng.random_range(0..4) == 0 { 1 } else { published.min(revisions) };
        let Some(shop) = self.shops.get(&revision) else { return Ok(()) };
        self.terminals[n].shop(shop, &now, &mut self.rng)
    }

    fn revision(&mut self) -> Result<u64, String> {
        let ctx = self.ctx();
        let query = Query::Manifest { store_id: shop::store_id(), base: None };
        let answer = Tx::read(&self.conn, |tx| domain::read(tx, &ctx, &Caller::Operator, query));
        match answer.map_err(|e| format!("{e:?}"))? {
            Answer::Manifest(answer) => Ok(jws::peek::<CatalogueManifest>(&answer.manifest).map_err(text)?.1.revision),
            other => Err(format!("expected a manifest, got {other:?}")),
        }
    }

    fn publish_catalogue(&mut self) -> Result<(), String> {
        let ndjson = shop::ndjson(2);
        self.admin(AdminCommand::ImportCatalogue { store_id: shop::store_id(), ndjson, replace: true }).map(|_| ())
    }

    fn staff(&mut self) -> Result<(), String> {
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

    fn restart_merchant(&mut self) -> Result<(), String> {
        // What is in memory goes; what was under way to it and from it breaks off.
        let config = Config { spot_check_per_mille: 100, ..Config::default() };
        self.core = Core::new(config, self.keyring.clone());
        let broken: Vec<Message> = std::mem::take(&mut self.wire).into_iter().map(|(_, m)| m).collect();
        for message in broken {
            match message {
                Message::ToMerchant { from, boot, id, nonce, sent_ms, .. } => {
                    self.fail(from, boot, id, nonce, sent_ms);
                }
                Message::ToBank { call } if self.rng.random_range(0..2) == 0 => self.ask_bank(call)?,
                Message::ToBank { .. } | Message::FromBank { .. } => {}
                other => self.wire.push((self.now_ms, other)),
            }
        }
        // Whatever came from the bank as a consequence has nobody to go to.
        self.wire.retain(|(_, m)| !matches!(m, Message::FromBank { .. }));
        Ok(())
    }

    fn restart_bank(&mut self) -> Result<(), String> {
        let bank = std::mem::replace(&mut self.bank, Bank::in_memory().map_err(text)?);
        self.bank = bank.reopen().map_err(text)?;
        Ok(())
    }

    // ---- the network -----------------------------------------------------------------------------------------------

    fn send_due(&mut self, n: usize) {
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
    }

    /// Puts a message on the wire: late, twice, or not at all.
    fn post(&mut self, message: Message) {
        let delay = if self.faults { self.rng.random_range(0..20_000) } else { 1 };
        if self.faults && self.rng.random_range(0..10) == 0 {
            if let Message::ToMerchant { from, boot, id, nonce, sent_ms, .. } = message {
                self.fail(from, boot, id, nonce, sent_ms);
            } else if let Message::ToTerminal { to, boot, mut answer } = message {
                answer.outcome = HttpOutcome::Failed { detail: "the answer is lost".into() };
                self.wire.push((self.now_ms + delay, Message::ToTerminal { to, boot, answer }));
            }
            // A call to the bank that is lost is found again when its lease ends.
            return;
        }
        if self.faults
            && self.rng.random_range(0..8) == 0
            && let Message::ToMerchant { from, boot, id, nonce, request, sent_ms } = &message
        {
            let again = Message::ToMerchant {
                from: *from,
                boot: *boot,
                id: *id,
                nonce: nonce.clone(),
                request: request.clone(),
                sent_ms: *sent_ms,
            };
            let later = self.rng.random_range(0..300_000);
            self.wire.push((self.now_ms + later, again));
        }
        self.wire.push((self.now_ms + delay, message));
    }

    fn fail(&mut self, to: usize, boot: u64, id: DueId, nonce: String, sent_ms: i64) {
        let outcome = HttpOutcome::Failed { detail: "no connection".into() };
        let elapsed_ms = u64::try_from(self.now_ms - sent_ms).unwrap_or(0);
        let answer = HttpAnswer { id, nonce, elapsed_ms, outcome };
        self.wire.push((self.now_ms + 1_000, Message::ToTerminal { to, boot, answer }));
    }

    /// Any message that is there by now, in any order.
    fn deliver_next(&mut self) -> Result<(), String> {
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

    fn deliver(&mut self, message: Message) -> Result<(), String> {
        self.touched |= !matches!(message, Message::ToTerminal { .. });
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
            Message::ToBank { call } => self.ask_bank(call)?,
            Message::FromBank { call, result } => {
                let ctx = self.ctx();
                let result = Tx::run(&self.conn, |tx| worker::settle(tx, &ctx, &call.job, result));
                result.map_err(|e| format!("settling a call failed: {e:?}"))?;
            }
        }
        Ok(())
    }

    fn merchant(&mut self, from: usize, nonce: &str, request: TerminalRequest) -> Result<(u16, Vec<u8>), String> {
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

    fn command(&self, ctx: &Ctx, caller: &Caller, command: domain::Command, dies: bool) -> Result<Answer, Failure> {
        if dies {
            self.conn.execute_batch("SAVEPOINT dying").map_err(mock_merchant::store::StoreError::from)?;
            self.conn.execute_batch("RELEASE dying").map_err(mock_merchant::store::StoreError::from)?;
            return Ok(Answer::Done);
        }
        Tx::run(&self.conn, |tx| domain::handle(tx, ctx, caller, command))
    }

    fn query(&self, ctx: &Ctx, caller: &Caller, query: Query) -> Result<Answer, Failure> {
        Tx::read(&self.conn, |tx| domain::read(tx, ctx, caller, query))
    }

    fn http(&self, ctx: &Ctx, caller: &Caller, nonce: &str, answer: Answer) -> Result<(u16, Vec<u8>), String> {
        Ok(match answer {
            Answer::EnrolmentStart(body) => (200, json(&body)),
            Answer::Enrolment(body) => (200, json(&body)),
            Answer::Recorded { body, repeat } => (if repeat { 200 } else { 201 }, json(&body)),
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

    // ---- the bank --------------------------------------------------------------------------------------------------

    /// One due job of the merchant; whether there was one.
    fn work(&mut self) -> Result<bool, String> {
        let ctx = self.ctx();
        self.touched = true;
        let taken = Tx::run(&self.conn, |tx| Ok((worker::internal(tx, &ctx)?, worker::take_due(tx, &ctx)?)));
        let (done, call) = taken.map_err(|e| format!("{e:?}"))?;
        let more = done > 0 || call.is_some();
        if let Some(call) = call {
            self.post(Message::ToBank { call });
        }
        Ok(more)
    }

    fn ask_bank(&mut self, call: OutsideCall) -> Result<(), String> {
        let answer = match &call.ask {
            Ask::Request(request) => {
                let mut request = request.clone();
                if self.mutation == Some(Mutation::NewBankReference) {
                    let tries = self.tries.entry(request.reference.clone()).or_default();
                    *tries += 1;
                    if *tries > 1 {
                        request.reference.push_str(".again");
                    }
                }
                self.note_resolution(&request);
                let treatment = self.treatment();
                let outcome = self.bank.handle_as(self.now(), &request, treatment).map_err(text)?;
                if self.mutation == Some(Mutation::DoubleRelease)
                    && matches!(request.operation, BankOperation::ReleaseHold { .. })
                {
                    let mut again = request.clone();
                    again.reference.push_str(".again");
                    self.note_resolution(&again);
                    self.bank.handle(self.now(), &again).map_err(text)?;
                }
                BankAnswer::Outcome(outcome)
            }
            // The bug makes the merchant call again instead of asking, under a reference that the bank has not seen.
            Ask::Query { .. } if self.mutation == Some(Mutation::NewBankReference) => {
                BankAnswer::Query(BankQueryAnswer::NeverSeen)
            }
            Ask::Query { reference } => BankAnswer::Query(self.bank.query(&self.merchant_id, reference).map_err(text)?),
            Ask::Statement { after } => {
                let mut entries = self.bank.statement(&self.merchant_id, *after, 100).map_err(text)?;
                if self.mutation == Some(Mutation::LateSuccessDropped) {
                    entries.clear();
                }
                BankAnswer::Statement(entries)
            }
        };
        // The answer can get lost, after the effect.
        let result = if self.faults && self.rng.random_range(0..6) == 0 {
            Err(NoAnswer("the connection broke off".into()))
        } else {
            Ok(answer)
        };
        self.post(Message::FromBank { call, result });
        Ok(())
    }

    fn treatment(&mut self) -> Treatment {
        if !self.faults {
            return Treatment::Normal;
        }
        match self.rng.random_range(0..24) {
            0 => Treatment::Decline,
            1 => Treatment::Partial,
            2 | 3 => {
                let later = self.rng.random_range(1_000..3_600_000);
                Treatment::LateSuccess { due: Timestamp::from_millis(self.now_ms + later) }
            }
            _ => Treatment::Normal,
        }
    }

    fn note_resolution(&mut self, request: &BankRequest) {
        let hold = match &request.operation {
            BankOperation::ReleaseHold { hold_reference } | BankOperation::Capture { hold_reference, .. } => {
                hold_reference
            }
            _ => return,
        };
        self.resolutions.entry(hold.clone()).or_default().insert(request.reference.clone());
    }

    // ---- the adversary ---------------------------------------------------------------------------------------------

    /// Replays what was sent, and hands in baskets whose totals or digests are not what they should be.
    fn adversary(&mut self) {
        let n = ADVERSARY;
        if self.captured.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.captured.len());
        let mut request = self.captured[at].clone();
        let Ok(device) = self.terminals[n].session.current() else { return };
        let device_id = device.id;
        if let TerminalRequest::PutAttempt { trip_id, attempt, body } = &mut request
            && let Ok((kid, mut summary)) = jws::peek::<BasketSummary>(&body.basket)
            && self.rng.random_range(0..2) == 0
        {
            // A number that the device has not used, so that the freezing of copies does not hide what is tested.
            summary.device_seq = 1_000_000 + self.steps;
            summary.total = shop::currency().minor(1);
            match self.rng.random_range(0..3) {
                0 => {
                    let mut random = [0; 10];
                    self.rng.fill_bytes(&mut random);
                    summary.trip_id = TripId::new(self.now(), random);
                    summary.attempt = 1;
                }
                1 => summary.attempt += 1,
                _ => summary.lines_sha256 = walkpay::protocol::crypto::digest(b"{}"),
            }
            (*trip_id, *attempt) = (summary.trip_id, summary.attempt);
            if !self.signed.contains_key(trip_id) {
                self.tampered.insert(*trip_id);
            }
            let key: &SigningKey = self.terminals[n].consent();
            debug_assert_eq!(public(key).key_id(), kid);
            let Ok(input) = jws::signing_input(&summary, walkpay::protocol::crypto::Algorithm::Ed25519, &kid) else {
                return;
            };
            body.basket = jws::assemble(&input, &key.sign(input.as_bytes()).to_bytes());
        }
        let id = DueId::Keys { device: device_id };
        let (boot, sent_ms) = (0, self.now_ms);
        self.post(Message::ToMerchant { from: n, boot, id, nonce: "replayed".into(), request, sent_ms });
    }

    // ---- what must hold --------------------------------------------------------------------------------------------

    fn check(&mut self) -> Result<(), String> {
        let broken = Tx::read(&self.conn, |tx| Ok(invariants::always(tx)?));
        let mut broken = broken.map_err(|e| format!("{e:?}"))?;
        broken.extend(self.bank.violations().map_err(text)?);
        for (hold, references) in &self.resolutions {
            if references.iter().filter(|r| !r.contains(".c")).count() > 1 {
                broken.push(format!("hold {hold} was released under {references:?}"));
            }
        }
        match broken.first() {
            None => Ok(()),
            Some(first) => Err(first.clone()),
        }
    }

    fn report(&mut self, trip_id: TripId) -> Result<Option<domain::TripReport>, String> {
        let ctx = self.ctx();
        match Tx::read(&self.conn, |tx| domain::read(tx, &ctx, &Caller::Operator, Query::Trip(trip_id))) {
            Ok(Answer::Trip(report)) => Ok(Some(report)),
            Err(Failure::Refused { .. }) => Ok(None),
            other => Err(format!("expected a report, got {other:?}")),
        }
    }

    fn check_quiet(&mut self) -> Result<(), String> {
        let visits: Vec<(usize, Visit)> =
            self.terminals.iter().enumerate().flat_map(|(n, t)| t.visits.iter().map(move |v| (n, v.clone()))).collect();
        for (n, visit) in &visits {
            let mut accepted = 0;
            for trip_id in &visit.trips {
                let report = self.report(*trip_id)?;
                let Ok(device) = self.terminals[*n].session.current() else { continue };
                let Ok(state) = device.trip_state(*trip_id) else { continue };
                let stopped = !device.may_send();
                for attempt in &state.attempts {
                    let verdict = attempt.validation.is_some() || attempt.refused.is_some() || attempt.withdrawn;
                    if !verdict && !stopped {
                        return Err(format!("attempt {} of {trip_id} has no verdict", attempt.attempt));
                    }
                }
                let Some(report) = report else { continue };
                if report.accepted.is_some() {
                    accepted += 1;
                    let done = matches!(report.order.as_deref(), Some("paid" | "payable"));
                    if !done {
                        return Err(format!("accepted {trip_id} is neither debited nor an unpaid order: {report:?}"));
                    }
                    if state.debit.is_none() && !stopped {
                        return Err(format!("the result of the debit of {trip_id} was not told"));
                    }
                } else if report.legs.iter().any(|l| l.state == LegState::Succeeded) {
                    return Err(format!("{trip_id} was not accepted and yet debited"));
                }
                if state.holds.iter().any(|h| h.counts() && h.submitted.is_some()) && !stopped {
                    return Err(format!("a hold of {trip_id} is not resolved: {:?}", state.holds));
                }
            }
            if accepted > 1 {
                return Err(format!("one visit was bought {accepted} times: {:?}", visit.trips));
            }
        }
        let quiet = Tx::read(&self.conn, |tx| Ok(invariants::at_quiescence(tx)?)).map_err(|e| format!("{e:?}"))?;
        if let Some(first) = quiet.first() {
            return Err(first.clone());
        }
        for trip_id in self.tampered.clone() {
            if self.report(trip_id)?.is_some_and(|r| r.accepted.is_some()) {
                return Err(format!("a tampered basket was accepted: {trip_id}"));
            }
        }
        self.books_agree()
    }

    fn books_agree(&mut self) -> Result<(), String> {
        let mut at_bank: BTreeMap<TripId, i64> = BTreeMap::new();
        for entry in self.bank.statement(&self.merchant_id, 0, 1_000).map_err(text)? {
            *at_bank.entry(entry.subject.trip().map_err(text)?).or_default() += entry.amount.minor;
        }
        let mut trips: BTreeSet<TripId> = at_bank.keys().copied().collect();
        trips.extend(self.signed.keys());
        for trip_id in trips {
            let bank = at_bank.get(&trip_id).copied().unwrap_or(0);
            let report = self.report(trip_id)?;
            let legs = report.iter().flat_map(|r| &r.legs);
            let merchant: i64 = legs
                .filter(|l| l.method == PaymentMethod::Bank && l.state == LegState::Succeeded)
                .map(|l| l.amount.minor)
                .sum();
            if bank != merchant {
                return Err(format!("{trip_id}: the bank booked {bank}, the merchant {merchant}: {report:?}"));
            }
            let most = self.signed.get(&trip_id).into_iter().flatten().map(|m| m.minor).max().unwrap_or(0);
            if bank > most {
                return Err(format!("{trip_id}: the bank booked {bank}, at most {most} was signed"));
            }
        }
        Ok(())
    }
}

fn json(body: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("answers are JSON")
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}
