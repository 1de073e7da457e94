//! Terminals, gates, service systems, a merchant, a bank and a payment channel in one thread; a network and a scheduler that a seed decides.

mod accounts;
mod adversary;
mod bank;
mod carriers;
mod channel;
mod check;
mod gates;
mod merchant;
mod network;
mod orders;
mod providers;
mod services;

pub use accounts::WANTED;

use super::device::Terminal;
use super::service::Service;
use super::shop::{self, Shop};
use super::{Mutation, Plan};
use channel::Cashier;
use gates::Gates;
use mock_merchant::bank::port::Subject;
use mock_merchant::bank::{Bank, NewAccount, NewKey};
use mock_merchant::domain::notices::Witness;
use mock_merchant::domain::{AdminCommand, Answer, BankAccount, Core, Ctx, NewUser};
use mock_merchant::keys::{Keyring, Signing};
use mock_merchant::store::{Identity, open_in_memory};
use network::Message;
use providers::Providers;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::request::TerminalRequest;
use walkpay::session::*;
use walkpay::{MerchantId, Money, Timestamp, TripId, UserName};

/// 2026-06-01T08:00:00Z.
const START_MS: i64 = 1_780_300_800_000;
const USERS: [&str; 3] = ["alice", "bob", "mallory"];
/// Two devices of alice among them; the last one is mallory's.
const OWNERS: [usize; 4] = [0, 0, 1, 2];
const ADVERSARY: usize = 3;
/// The one channel of payers, if there is one.
const OVER: [Option<PaymentMethod>; 4] =
    [None, Some(PaymentMethod::Test), Some(PaymentMethod::Alipay), Some(PaymentMethod::Tenpay)];

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
    plan: Plan,
    mutation: Option<Mutation>,
    /// Signed totals by trip: what the shoppers agreed to.
    signed: BTreeMap<TripId, Vec<Money>>,
    /// What the payers agreed to that the bank pays of a slip.
    signed_payments: BTreeMap<Subject, i64>,
    /// Trips on which only tampered baskets were handed in.
    tampered: BTreeSet<TripId>,
    /// References by which each hold was resolved at the bank.
    resolutions: BTreeMap<String, BTreeSet<String>>,
    captured: Vec<TerminalRequest>,
    /// Whether merchant or bank have committed anything since the last check.
    touched: bool,
    /// The newest catalogue that the merchant has published.
    published: u64,
    gates: Gates,
    /// Whether there are service systems, and slips to be paid.
    orders: bool,
    services: Vec<Service>,
    cashier: Cashier,
    /// Where orders are paid: Alipay and WeChat Pay.
    providers: Option<Providers>,
    /// The one channel that payers use, if it is not whichever.
    over: Option<PaymentMethod>,
    /// What happened to each message to a payer.
    told: BTreeMap<String, Witness>,
    /// With [`Mutation::NewBankReference`]: how often each reference was called.
    tries: BTreeMap<String, u32>,
    steps: u64,
}

impl World {
    pub fn new(seed: u64, plan: Plan, orders: bool) -> Result<Self, String> {
        let Plan { mutation, over, .. } = plan;
        // A bug in what comes of late payments is looked for where there are many.
        let wicked = seed.is_multiple_of(4) || mutation.is_some_and(Mutation::is_about_late_payments);
        // Elsewhere all payers of some worlds use one channel, so that all that can come of late payments comes of each.
        let over = if orders && wicked && mutation.is_none() { OVER[(seed / 12 % 4) as usize] } else { over };
        let plan = Plan { over, impatient: wicked, ..plan };
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
        let core = Core::new(merchant::config(plan), keyring.clone());
        let bank = Bank::in_memory().map_err(text)?;
        let terminals = (0..OWNERS.len()).map(|n| Terminal::new(n as u8, plan, START_MS)).collect();
        let shops = [1, 2].map(|revision| (revision, Shop::new(revision))).into();
        let gates = Gates::new(&merchant_id, &keyring, &mut rng)?;
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
            plan,
            mutation,
            signed: BTreeMap::new(),
            signed_payments: BTreeMap::new(),
            tampered: BTreeSet::new(),
            resolutions: BTreeMap::new(),
            captured: Vec::new(),
            touched: false,
            published: 1,
            gates,
            orders,
            services: Vec::new(),
            cashier: Cashier::new(wicked),
            providers: if orders { Some(Providers::new(wicked)?) } else { None },
            over,
            told: BTreeMap::new(),
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
                addresses: if self.orders { carriers::addresses(name) } else { Vec::new() },
                stored_value,
                bank: Some(BankAccount { token, label, confirm_url: "https://bank.example/confirm".into() }),
            }))?;
            if stored_value.is_some() {
                let amount = shop::currency().minor(self.rng.random_range(1..1_500));
                let reference = format!("gift-{name}");
                self.admin(AdminCommand::TopUp { user_name, amount, reference })?;
            }
        }
        if self.orders {
            self.add_services()?;
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

    /// One step with everything that can go wrong; then the invariants.
    pub fn step(&mut self) -> Result<(), String> {
        self.faults = true;
        self.steps += 1;
        match self.rng.random_range(0..if self.orders { 160 } else { 112 }) {
            0..34 | 112.. if self.orders => self.order_step()?,
            0..34 => self.shopper()?,
            34..62 => {
                // What an order takes part in goes through many hands.
                for _ in 0..if self.orders { self.rng.random_range(4..16) } else { 1 } {
                    self.deliver_next()?;
                }
            }
            62..78 if self.orders => (0..2 * OWNERS.len()).for_each(|n| self.send_due(n % OWNERS.len())),
            62..78 => {
                let n = self.any_terminal();
                self.send_due(n);
            }
            78..88 if self.orders => while self.work()? && self.rng.random_range(0..4) > 0 {},
            78..88 => self.work().map(|_| ())?,
            88..90 => {
                let n = self.any_terminal();
                self.terminals[n].restart()?;
            }
            90 => self.restart_merchant()?,
            91 if self.orders && self.rng.random_range(0..2) == 0 => self.restart_a_provider()?,
            91 => self.restart_bank()?,
            92 => {
                // A terminal whose clock was moved back by an hour may do nothing for an hour.
                let most = if self.orders { 100_000 } else { 4_000_000 };
                let n = self.any_terminal();
                self.terminals[n].skew_ms = self.rng.random_range(-most..most);
            }
            93 => self.adversary(),
            94 => self.staff()?,
            95 => self.publish_catalogue()?,
            96 => {
                let n = self.any_terminal();
                let now = self.terminal_now(n);
                self.terminals[n].read_events(&now)?;
            }
            97..100 => self.now_ms += self.rng.random_range(1..120_000),
            100.. if self.orders => self.work().map(|_| ())?,
            100..106 => {
                let n = self.any_terminal();
                self.leave(n)?;
            }
            106..108 => {
                let gate = self.any_gate();
                self.begin_exchange(gate)?;
            }
            108 => {
                let gate = self.any_gate();
                self.restart_gate(gate)?;
            }
            109 => {
                let gate = self.any_gate();
                self.set_gate_clock(gate);
            }
            110 => self.revoke_a_pass()?,
            _ => self.attack_a_gate()?,
        }
        if self.orders {
            self.notify();
            self.providers_notify()?;
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
            if self.orders {
                self.orders_settle(round)?;
            } else {
                self.everybody_leaves(round)?;
            }
            for n in 0..self.terminals.len() {
                let now = self.terminal_now(n);
                self.terminals[n].read_events(&now)?;
                self.terminals[n].write();
            }
            self.now_ms += if round < 28 { 30_000 } else { 3_600_000 };
            let booked = self.bank.book_late(self.now()).map_err(text)?;
            let expired = self.bank.expire_due(self.now()).map_err(text)?;
            if booked > 0 || expired > 0 || std::mem::take(&mut self.touched) {
                self.check()?;
            }
        }
        // A provider may just be telling again what the merchant refuses.
        while self.orders && !self.wire.is_empty() {
            self.deliver_next()?;
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
        // The adversary keeps an old catalogue on purpose, others are sometimes late.
        let revision = if n == ADVERSARY || self.rng.random_range(0..4) == 0 { 1 } else { self.published };
        let Some(shop) = self.shops.get(&revision) else { return Ok(()) };
        self.terminals[n].shop(shop, &now, &mut self.rng)
    }
}

fn json(body: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("answers are JSON")
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}
