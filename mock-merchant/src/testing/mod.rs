//! A merchant in memory, devices with real keys, and a bank that follows a script: for the tests of this crate.

mod bank;
mod slips;

pub use bank::{Script, ScriptedBank};

use crate::channel::test::{Faults, TestChannel};
use crate::domain::*;
use crate::failure::Failure;
use crate::keys::{Keyring, Signing};
use crate::store::{Identity, Tx, invariants, open_in_memory};
use crate::worker;
use rusqlite::Connection;
use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;
use walkpay::barcode::Gtin;
use walkpay::basket::{LineId, PRICING_VERSION, Pick, PricedBasket, Quantity, lines_bytes, price};
use walkpay::catalogue::*;
use walkpay::protocol::crypto::{base64url, digest};
use walkpay::protocol::document::*;
use walkpay::protocol::jws::{Document, peek, verify};
use walkpay::protocol::message::*;
use walkpay::protocol::problem::ProblemCode;
use walkpay::*;

pub const COLA: u64 = 5_449_000_000_996;
pub const WINE: u64 = 4_006_381_333_931;
pub const STOPPED: u64 = 4_000_000_000_006;

pub fn eur(minor: i64) -> Money {
    Currency::parse("EUR").unwrap().minor(minor)
}

pub fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

pub fn store_id() -> StoreId {
    StoreId::parse("s1").unwrap()
}

/// A merchant with one store, a catalogue, and the user `alice` with bank account and stored-value account.
pub struct World {
    pub conn: Connection,
    pub core: Core,
    pub root: Signing,
    pub now: Timestamp,
    pub bank: ScriptedBank,
    pub channel: TestChannel,
    seeds: Cell<u64>,
}

/// A device as a terminal would keep it.
#[derive(Clone)]
pub struct Device {
    pub id: DeviceId,
    pub sub: Sub,
    pub request: Signing,
    pub consent: Signing,
    pub seq: u64,
}

/// A trip under construction.
pub struct Trip {
    pub id: TripId,
    pub hold: Option<HoldId>,
    pub holds: u32,
    pub attempt: u32,
}

pub fn articles() -> HashMap<Gtin, Article> {
    let article = |gtin, name: &str, price_minor| Article {
        gtin: Gtin::from_u64(gtin).unwrap(),
        name: name.to_owned(),
        department: String::new(),
        unit: PriceUnit::Piece,
        price_minor,
        sale: SaleKind::Pieces,
        deposit: None,
        min_age: None,
        sale_stopped: false,
        tax_group: "A".to_owned(),
    };
    let mut all = vec![article(COLA, "Cola", 100), article(WINE, "Wine", 700), article(STOPPED, "Recalled", 50)];
    all[1].min_age = Some(16);
    all[2].sale_stopped = true;
    all.into_iter().map(|a| (a.gtin, a)).collect()
}

pub fn catalogue_rows(articles: &HashMap<Gtin, Article>) -> Vec<u8> {
    let mut out = Vec::new();
    let group = TaxGroup { id: "A".into(), name: "full".into(), rate: 19.into() };
    write_row(&Row::TaxGroup(group), &mut out).unwrap();
    for article in articles.values() {
        write_row(&Row::Article(article.into()), &mut out).unwrap();
    }
    out
}

impl World {
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        let mut config = config;
        config.channels.push(TestChannel::identity());
        let merchant_id = MerchantId::parse("m").unwrap();
        let identity = Identity { merchant_id: merchant_id.clone(), name: "Shop".into(), sim: true };
        let now = Timestamp::parse("2026-03-01T23:30:00Z").unwrap();
        let root = Signing::new(&[9; 32]).unwrap();
        let mut n = 100;
        let seeds = || {
            n += 1;
            [n; 32]
        };
        let keys = Keyring::create(merchant_id, &root, now, seeds).unwrap();
        let conn = open_in_memory(&identity).unwrap();
        let core = Core::new(config, keys);
        let channel = TestChannel::in_memory([7; 32], Faults::default());
        let mut world = Self { conn, core, root, now, bank: ScriptedBank::default(), channel, seeds: Cell::new(0) };
        world.admin(AdminCommand::AddStore(StoreInfo {
            store_id: store_id(),
            name: "Corner".into(),
            currency: eur(0).currency,
            time_zone: "Europe/Berlin".into(),
            tax_id: "DE1".into(),
            gate_group: GateGroup::parse("g1").unwrap(),
        }));
        world.import(&articles());
        world.add_user("alice");
        world
    }

    pub fn add_user(&mut self, user: &str) {
        self.admin(AdminCommand::AddUser(NewUser {
            user_name: name(user),
            display_name: "Somebody".into(),
            addresses: vec![format!("mailto:{user}@example.org")],
            stored_value: Some(eur(0).currency),
            bank: Some(BankAccount {
                token: format!("acc-{user}"),
                label: "DE ···· 4711".into(),
                confirm_url: "https://bank.example/confirm".into(),
            }),
        }));
    }

    pub fn import(&mut self, articles: &HashMap<Gtin, Article>) -> u64 {
        let command =
            AdminCommand::ImportCatalogue { store_id: store_id(), ndjson: catalogue_rows(articles), replace: true };
        match self.admin(command) {
            Answer::Imported { revision, .. } => revision,
            other => panic!("{other:?}"),
        }
    }

    pub fn top_up(&mut self, minor: i64) {
        let reference = format!("t{}", self.seeds.get());
        self.admin(AdminCommand::TopUp { user_name: name("alice"), amount: eur(minor), reference });
    }

    pub fn ctx(&self) -> Ctx {
        self.seeds.set(self.seeds.get() + 1);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seeds.get().to_be_bytes());
        self.core.ctx(self.now, seed)
    }

    fn random10(&self) -> [u8; 10] {
        self.ctx().random.bytes()
    }

    /// Carries a command out in a transaction of its own; afterwards everything that must always hold does.
    pub fn run(&self, caller: &Caller, command: Command) -> Result<Answer, Failure> {
        let ctx = self.ctx();
        let result = Tx::run(&self.conn, |tx| handle(tx, &ctx, caller, command));
        self.check();
        result
    }

    pub fn refused(&self, caller: &Caller, command: Command) -> ProblemCode {
        let failure = self.run(caller, command).unwrap_err();
        assert!(matches!(failure, Failure::Refused { .. }), "{failure}");
        failure.code()
    }

    pub fn admin(&mut self, command: AdminCommand) -> Answer {
        self.run(&Caller::Operator, Command::Admin(command)).unwrap()
    }

    pub fn read(&self, caller: &Caller, query: Query) -> Result<Answer, Failure> {
        let ctx = self.ctx();
        Tx::read(&self.conn, |tx| read(tx, &ctx, caller, query))
    }

    pub fn check(&self) {
        let violations = Tx::read(&self.conn, |tx| Ok(invariants::always(tx)?)).unwrap();
        assert!(violations.is_empty(), "{violations:#?}");
    }

    pub fn check_quiet(&self) {
        let violations = Tx::read(&self.conn, |tx| Ok(invariants::at_quiescence(tx)?)).unwrap();
        assert!(violations.is_empty(), "{violations:#?}");
    }

    pub fn pass(&mut self, by: Duration) {
        self.now = self.now.plus(by);
    }

    /// Takes one step of the worker; `false`: nothing is due.
    pub fn step(&mut self) -> bool {
        let ctx = self.ctx();
        if Tx::run(&self.conn, |tx| worker::internal(tx, &ctx)).unwrap() > 0 {
            self.check();
            return true;
        }
        let Some(call) = Tx::run(&self.conn, |tx| worker::take_due(tx, &ctx)).unwrap() else {
            return self.step_channel() || self.step_notifications();
        };
        let answer = self.bank.ask(self.now, &call.ask);
        let ctx = self.ctx();
        Tx::run(&self.conn, |tx| worker::settle(tx, &ctx, &call.job, answer)).unwrap();
        self.check();
        true
    }

    fn step_channel(&mut self) -> bool {
        let ctx = self.ctx();
        let Some(job) = Tx::run(&self.conn, |tx| worker::channels::take_due(tx, &ctx)).unwrap() else { return false };
        let (answer, _) = self.channel.ask_now(self.now, &job.ask);
        let ctx = self.ctx();
        Tx::run(&self.conn, |tx| worker::channels::settle(tx, &ctx, &job, answer)).unwrap();
        self.check();
        true
    }

    /// Delivers what the channel notifies; what is refused is lost.
    fn step_notifications(&mut self) -> bool {
        let due = self.channel.notifications(self.now);
        for body in &due {
            let _refused = self.notify(body).is_err();
        }
        !due.is_empty()
    }

    /// Delivers a notification of the channel.
    pub fn notify(&self, body: &str) -> Result<Answer, Failure> {
        let receipt = self.channel.open_notification(body.as_bytes());
        let receipt = receipt.map_err(|e| crate::failure::refuse(ProblemCode::SignatureInvalid, e.to_string()))?;
        self.run(&Caller::Channel(PaymentMethod::Test), Command::Notified(receipt))
    }

    /// Works until nothing is due now.
    pub fn work(&mut self) {
        let steps = (0..1_000).take_while(|_| self.step()).count();
        assert!(steps < 1_000, "the worker does not come to rest");
    }

    /// Works for so long, going from one due time to the next.
    pub fn work_for(&mut self, time: Duration) {
        let end = self.now.plus(time);
        loop {
            self.work();
            let ctx = self.ctx();
            let next = Tx::read(&self.conn, |tx| worker::next_due(tx, &ctx)).unwrap();
            let next = self.channel.next_notification().map_or(next, |at| at.min(next));
            assert!(next > self.now, "due but not done");
            if next > end {
                break;
            }
            self.now = next;
        }
        self.now = end;
    }

    pub fn code(&mut self, user: &str, self_confirming: bool) -> String {
        match self.admin(AdminCommand::NewEnrolmentCode { user_name: name(user), self_confirming }) {
            Answer::EnrolmentCode { code, .. } => code,
            other => panic!("{other:?}"),
        }
    }

    /// A request to enrol with new keys.
    pub fn enrolment(&self, code: &str) -> (Device, EnrolmentRequest) {
        let random = self.ctx().random;
        let request = Signing::new(&random.bytes()).unwrap();
        let consent = Signing::new(&random.bytes()).unwrap();
        let Answer::EnrolmentStart(start) = self.run(&Caller::Anonymous, Command::BeginEnrolment).unwrap() else {
            panic!("no start")
        };
        let id = DeviceId::new(self.now, self.random10());
        let proof = EnrolmentProof {
            merchant_id: start.merchant_id,
            code_sha256: digest(code.as_bytes()),
            nonce: start.nonce,
            device_id: id,
            request_key: request.public().clone(),
            consent_key: consent.public().clone(),
        };
        let body = EnrolmentRequest {
            code: code.to_owned(),
            device_label: "phone".into(),
            request_proof: request.jws(&proof).unwrap(),
            consent_proof: consent.jws(&proof).unwrap(),
        };
        (Device { id, sub: Sub::parse("unknown").unwrap(), request, consent, seq: 0 }, body)
    }

    /// An active device of `user`.
    pub fn device_of(&mut self, user: &str) -> Device {
        let code = self.code(user, true);
        let (mut device, request) = self.enrolment(&code);
        let enrol = Command::Enrol { device_id: device.id, request };
        let Answer::Enrolment(answer) = self.run(&Caller::Anonymous, enrol).unwrap() else { panic!("no grant") };
        device.sub = self.document::<EnrolmentGrant>(&answer.grant, KeyUse::Results).sub;
        device
    }

    pub fn device(&mut self) -> Device {
        self.device_of("alice")
    }

    /// Verifies a document of the merchant through the key set that the root signed.
    pub fn document<D: Document>(&self, jws: &str, usage: KeyUse) -> D {
        let keys = self.core.keys();
        let set =
            verify::<KeySet>(keys.key_set(), |kid| (kid == self.root.kid()).then_some(self.root.public())).unwrap();
        verify::<D>(jws, |kid| set.document.find(kid, usage, self.now)).unwrap().document
    }

    /// The events of a device, each verified, without gaps.
    pub fn events(&self, device: &Device) -> Vec<EventBody> {
        let query = Query::Events { after: 0, limit: 100 };
        let Answer::Events(events) = self.read(&device.caller(), query).unwrap() else { panic!("no events") };
        let read = |(n, jws): (u64, &String)| {
            let event = self.document::<EventDocument>(jws, KeyUse::Results);
            assert_eq!((event.seq, event.aud, &event.sub), (n, device.id, &device.sub));
            serde_json::from_value(serde_json::json!({ "kind": event.kind, "body": event.body })).unwrap()
        };
        (1..).zip(&events).map(read).collect()
    }

    pub fn validations(&self, device: &Device) -> Vec<Validation> {
        let document = |e: EventBody| match e {
            EventBody::Validation { document } => Some(self.document(&document, KeyUse::Results)),
            _ => None,
        };
        self.events(device).into_iter().filter_map(document).collect()
    }

    pub fn debits(&self, device: &Device) -> Vec<DebitResult> {
        let document = |e: EventBody| match e {
            EventBody::Debit { document } => Some(self.document(&document, KeyUse::Results)),
            _ => None,
        };
        self.events(device).into_iter().filter_map(document).collect()
    }

    pub fn hold_results(&self, device: &Device) -> Vec<(u32, HoldStatus)> {
        let document = |e: EventBody| match e {
            EventBody::Hold { document } => {
                let result: HoldResult = self.document(&document, KeyUse::Results);
                Some((u32::try_from(result.amount.minor).unwrap(), result.status))
            }
            _ => None,
        };
        self.events(device).into_iter().filter_map(document).collect()
    }

    pub fn trip(&self) -> Trip {
        Trip { id: TripId::new(self.now, self.random10()), hold: None, holds: 0, attempt: 0 }
    }

    pub fn hold_request(&self, device: &mut Device, trip: &mut Trip, minor: i64) -> HoldRequest {
        trip.holds += 1;
        let hold_id = HoldId::new(self.now, self.random10());
        let replaces = trip.hold.replace(hold_id);
        HoldRequest {
            merchant_id: MerchantId::parse("m").unwrap(),
            store_id: store_id(),
            sub: device.sub.clone(),
            device_id: device.id,
            device_seq: device.next(),
            trip_id: trip.id,
            hold_id,
            number: trip.holds,
            replaces,
            amount: eur(minor),
            requested_at: self.now,
        }
    }

    pub fn put_hold(&self, device: &Device, request: &HoldRequest) -> Result<Answer, Failure> {
        let body = HoldPut { hold: device.consent.jws(request).unwrap() };
        self.run(&device.caller(), Command::PutHold { hold_id: request.hold_id, body })
    }

    pub fn hold(&self, device: &mut Device, trip: &mut Trip, minor: i64) {
        let request = self.hold_request(device, trip, minor);
        self.put_hold(device, &request).unwrap();
    }

    pub fn priced(&self, picks: &[(u64, u32)]) -> PricedBasket {
        let header = CatalogueHeader {
            store_id: store_id(),
            currency: eur(0).currency,
            revision: 1,
            pricing_version: PRICING_VERSION,
        };
        let group = TaxGroup { id: "A".into(), name: "full".into(), rate: 19.into() };
        let book = PriceBook::new(header, vec![group], vec![], vec![]).unwrap();
        let pick = |(n, (gtin, count)): (u32, &(u64, u32))| Pick {
            line: LineId(n),
            gtin: Gtin::from_u64(*gtin).unwrap(),
            quantity: Quantity::Pieces { count: *count },
            parent: None,
        };
        let picks: Vec<Pick> = (1..).zip(picks).map(pick).collect();
        price(&picks, self.now, &book, &articles()).unwrap()
    }

    /// A basket of these articles and its lines.
    pub fn basket(&self, device: &mut Device, trip: &mut Trip, picks: &[(u64, u32)]) -> (BasketSummary, Vec<u8>) {
        let priced = self.priced(picks);
        let lines = lines_bytes(&priced);
        trip.attempt += 1;
        let summary = BasketSummary {
            merchant_id: MerchantId::parse("m").unwrap(),
            store_id: store_id(),
            sub: device.sub.clone(),
            device_id: device.id,
            device_seq: device.next(),
            trip_id: trip.id,
            attempt: trip.attempt,
            hold_id: trip.hold,
            catalogue_revision: 1,
            pricing_version: PRICING_VERSION,
            priced_at: self.now,
            total: priced.total,
            item_count: priced.item_count,
            lines_sha256: digest(&lines),
        };
        (summary, lines)
    }

    pub fn put_basket(&self, device: &Device, basket: &BasketSummary, lines: &[u8]) -> Result<Answer, Failure> {
        let body = AttemptPut { basket: device.consent.jws(basket).unwrap(), lines: base64url(lines) };
        let command = Command::PutAttempt { trip_id: basket.trip_id, attempt: basket.attempt, body };
        self.run(&device.caller(), command)
    }

    /// Submits a basket of so many colas (1.00 each); the verdict, if there is one.
    pub fn colas(&self, device: &mut Device, trip: &mut Trip, count: u32) -> Option<Verdict> {
        self.submit(device, trip, &[(COLA, count)])
    }

    pub fn submit(&self, device: &mut Device, trip: &mut Trip, picks: &[(u64, u32)]) -> Option<Verdict> {
        let (basket, lines) = self.basket(device, trip, picks);
        self.put_basket(device, &basket, &lines).unwrap();
        self.verdict(device, trip)
    }

    pub fn verdict(&self, device: &Device, trip: &Trip) -> Option<Verdict> {
        let of_attempt = |v: &Validation| v.trip_id == trip.id && v.attempt == trip.attempt;
        self.validations(device).into_iter().rfind(of_attempt).map(|v| v.verdict)
    }

    pub fn cancellation(&self, device: &mut Device, trip: &Trip) -> Command {
        let document = TripCancellation {
            merchant_id: MerchantId::parse("m").unwrap(),
            sub: device.sub.clone(),
            device_id: device.id,
            device_seq: device.next(),
            trip_id: trip.id,
            cancelled_at: self.now,
        };
        let body = CancellationPut { cancellation: device.request.jws(&document).unwrap() };
        Command::PutCancellation { trip_id: trip.id, body }
    }

    pub fn cancel(&self, device: &mut Device, trip: &Trip) -> Result<Answer, Failure> {
        let command = self.cancellation(device, trip);
        self.run(&device.caller(), command)
    }

    pub fn report(&self, trip: &Trip) -> TripReport {
        match self.read(&Caller::Operator, Query::Trip(trip.id)).unwrap() {
            Answer::Trip(report) => report,
            other => panic!("{other:?}"),
        }
    }

    /// Balance of the stored-value account of a device's user.
    pub fn stored_value(&self, device: &Device) -> i64 {
        let account = format!("sv:{}", device.sub);
        Tx::read(&self.conn, |tx| {
            let account = crate::store::ledger::account(tx, &account, eur(0).currency, None)?;
            Ok(crate::store::ledger::balance(tx, account)?.0.minor)
        })
        .unwrap()
    }
}

impl Device {
    pub fn caller(&self) -> Caller {
        Caller::Device { device_id: self.id, kid: self.request.kid().clone() }
    }

    pub fn next(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }
}

/// The reasons of the last validation.
pub fn last_reasons(world: &World, device: &Device) -> Vec<ReasonCode> {
    let last = world.validations(device).pop().unwrap();
    last.reasons.iter().map(|r| r.code).collect()
}

/// What a pass says, without verifying it.
pub fn pass_of(validation: &Validation) -> ExitPass {
    peek::<ExitPass>(validation.exit_pass.as_deref().unwrap()).unwrap().1
}
