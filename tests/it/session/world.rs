//! A session, and a merchant whose keys the test holds.

use ed25519_dalek::{Signer, SigningKey};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use walkpay::barcode::{Gtin, Meaning};
use walkpay::basket::PRICING_VERSION;
use walkpay::catalogue::{Article, CatalogueHeader, PriceBook, PriceUnit, SaleKind, TaxGroup};
use walkpay::protocol::crypto::{Algorithm, PublicKey, digest};
use walkpay::protocol::document::*;
use walkpay::protocol::jws::{Document, assemble, peek, signing_input};
use walkpay::protocol::message::*;
use walkpay::protocol::order::*;
use walkpay::protocol::problem::ProblemCode;
use walkpay::protocol::request::TerminalRequest;
use walkpay::session::*;
use walkpay::*;

pub const CODE: &str = "0123456789ABCDEF";
pub const NONCE: &str = "nonce-1";
pub const T0: i64 = 1_767_225_600_000;
pub const ROOT: u8 = 1;
pub const RESULTS: u8 = 2;
pub const PASS: u8 = 3;
pub const RETIRED: u8 = 4;
pub const REQUEST: u8 = 10;
pub const CONSENT: u8 = 11;
/// How far the merchant's clock is ahead of the device's.
pub const AHEAD_MS: i64 = 7_000;

pub fn key(seed: u8) -> (SigningKey, PublicKey) {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let public = PublicKey::from_raw(Algorithm::Ed25519, key.verifying_key().as_bytes()).unwrap();
    (key, public)
}

pub fn sign<D: Document>(document: &D, seed: u8) -> String {
    let (key, public) = key(seed);
    let input = signing_input(document, Algorithm::Ed25519, &public.key_id()).unwrap();
    assemble(&input, &key.sign(input.as_bytes()).to_bytes())
}

pub fn signature(input: &str, seed: u8) -> Vec<u8> {
    key(seed).0.sign(input.as_bytes()).to_bytes().to_vec()
}

pub fn merchant_id() -> MerchantId {
    MerchantId::parse("demo").unwrap()
}

pub fn store_id() -> StoreId {
    StoreId::parse("demo-1").unwrap()
}

pub fn eur(minor: i64) -> Money {
    Currency::parse("EUR").unwrap().minor(minor)
}

pub fn key_set(seq: u64, entries: &[(u8, KeyUse, i64, i64)]) -> KeySet {
    let at = |seconds: i64| Timestamp::from_millis(T0 + seconds * 1000);
    let entry = |(seed, usage, nbf, exp): &(u8, KeyUse, i64, i64)| KeyEntry {
        key: key(*seed).1,
        usage: *usage,
        nbf: at(*nbf),
        exp: at(*exp),
    };
    KeySet { merchant_id: merchant_id(), seq, issued_at: at(-100), keys: entries.iter().map(entry).collect() }
}

pub fn keys_in_force() -> KeySet {
    let day = 86_400;
    key_set(
        3,
        &[
            (RESULTS, KeyUse::Results, -day, day),
            (PASS, KeyUse::Pass, -day, day),
            (RETIRED, KeyUse::Results, -2 * day, -day),
        ],
    )
}

pub fn code_text() -> String {
    format!("walkpay-enrol:1:demo:{CODE}:{}:http://127.0.0.1:9", key(ROOT).1.key_id())
}

/// Article `n`, 1.00 EUR times `n`.
pub fn gtin(n: u32) -> Gtin {
    let data = format!("4006381{n:05}");
    let digits: Vec<u8> = data.bytes().map(|b| b - b'0').collect();
    Gtin::parse(&format!("{data}{}", walkpay::barcode::check_digit(&digits))).unwrap()
}

pub fn articles() -> HashMap<Gtin, Article> {
    let article = |n: u32| Article {
        gtin: gtin(n),
        name: format!("Article {n}"),
        department: "Test".into(),
        unit: PriceUnit::Piece,
        price_minor: i64::from(n) * 100,
        sale: SaleKind::Pieces,
        deposit: None,
        min_age: None,
        sale_stopped: n == 9,
        tax_group: "A".into(),
    };
    (1..10).map(|n| (gtin(n), article(n))).collect()
}

pub fn book(revision: u64) -> PriceBook {
    let header =
        CatalogueHeader { store_id: store_id(), currency: eur(0).currency, revision, pricing_version: PRICING_VERSION };
    let group = TaxGroup { id: "A".into(), name: "19 %".into(), rate: "19".parse().unwrap() };
    PriceBook::new(header, vec![group], vec![], vec![]).unwrap()
}

pub fn number(n: u64) -> ServiceNumber {
    ServiceNumber::new(n).unwrap()
}

/// A session and what it journalled. Every decision goes through JSON, as it would through a file.
pub struct World {
    pub session: Session,
    pub journal: Vec<JournalEvent>,
    pub wall: i64,
    pub monotonic: u64,
    pub boot: u64,
    pub log: Vec<String>,
    steps: u64,
}

impl World {
    pub fn empty() -> Self {
        let session = Session::default();
        Self { session, journal: Vec::new(), wall: T0, monotonic: 0, boot: 1, log: Vec::new(), steps: 0 }
    }

    /// Alice is enrolled, confirmed and signed in.
    pub fn enrolled() -> Self {
        let mut world = Self::empty();
        world.enrol(true);
        world.command(Command::SignIn { user_name: &UserName::parse("alice").unwrap() }).unwrap();
        world
    }

    pub fn now(&mut self) -> Now {
        self.steps += 1;
        let mut random = [0; 32];
        for (at, byte) in random.iter_mut().enumerate() {
            *byte = digest(&[self.steps.to_le_bytes(), (at as u64).to_le_bytes()].concat()).as_bytes()[0];
        }
        Now { wall: Timestamp::from_millis(self.wall), monotonic_ms: self.monotonic, boot: self.boot, random }
    }

    pub fn merchant_now(&self) -> Timestamp {
        Timestamp::from_millis(self.wall + AHEAD_MS)
    }

    pub fn pass_time(&mut self, millis: i64) {
        self.wall += millis;
        self.monotonic += millis.unsigned_abs();
    }

    pub fn input(&mut self, input: Input<'_>) -> Result<Reply, WalkpayError> {
        let now = self.now();
        let decision = decide(&self.session, input, &now)?;
        for event in decision.events {
            let event = JournalEvent::parse(&serde_json::to_vec(&event).unwrap()).unwrap();
            self.session.apply(&event);
            self.journal.push(event);
        }
        Ok(decision.reply)
    }

    pub fn command(&mut self, command: Command<'_>) -> Result<Reply, WalkpayError> {
        self.input(Input::Command(command))
    }

    /// A crash: everything but the journal is gone.
    pub fn restart(&mut self) {
        let mut session = Session::default();
        self.journal.iter().for_each(|e| session.apply(e));
        assert_eq!(session, self.session, "the state is the fold of the journal");
        self.session = session;
        self.boot += 1;
        self.monotonic = 5;
    }

    pub fn due(&mut self) -> Vec<Due> {
        let now = self.now();
        due(&self.session, &now, &BTreeSet::new())
    }

    /// What is due apart from polls.
    pub fn items(&mut self) -> Vec<Due> {
        self.due().into_iter().filter(|d| matches!(d.id, DueId::Item { .. })).collect()
    }

    pub fn item(&mut self) -> Due {
        let mut items = self.items();
        assert_eq!(items.len(), 1, "{items:?}");
        items.remove(0)
    }

    pub fn answer(&mut self, id: DueId, status: u16, body: Vec<u8>) -> Reply {
        self.outcome(id, HttpOutcome::Answer { status, retry_after_seconds: None, date: None, body })
    }

    pub fn outcome(&mut self, id: DueId, outcome: HttpOutcome) -> Reply {
        let answer = HttpAnswer { id, nonce: NONCE.into(), elapsed_ms: 1_000, outcome };
        self.input(Input::Answer(answer)).unwrap()
    }

    pub fn ok(&mut self, id: DueId, body: &impl Serialize) -> Reply {
        self.answer(id, 200, serde_json::to_vec(body).unwrap())
    }

    pub fn problem(&mut self, id: DueId, problem: ProblemCode) -> Reply {
        let body = serde_json::to_vec(&problem.document("because of a test")).unwrap();
        self.answer(id, problem.status(), body)
    }

    pub fn fail(&mut self, id: DueId) {
        self.outcome(id, HttpOutcome::Failed { detail: "no route".into() });
    }

    /// Answers the one document that is due.
    pub fn record(&mut self) {
        let id = self.item().id;
        let recorded = Recorded { recorded_at: self.merchant_now(), last_seq: self.log.len() as u64 };
        self.ok(id, &recorded);
    }

    pub fn device(&self) -> &Device {
        self.session.devices().next().unwrap()
    }

    pub fn poll_id(&self) -> DueId {
        DueId::Poll { device: self.device().id }
    }

    pub fn trip(&self, id: TripId) -> &Trip {
        self.device().trip(id).unwrap()
    }

    // ---- the merchant ----

    pub fn start_answer(&self) -> EnrolmentStart {
        EnrolmentStart {
            merchant_id: merchant_id(),
            nonce: "server-nonce".into(),
            root_key: key(ROOT).1.to_jwk(),
            key_set: sign(&keys_in_force(), ROOT),
        }
    }

    pub fn grant(&self, device_id: DeviceId, active: bool) -> EnrolmentGrant {
        let store = StoreInfo {
            store_id: store_id(),
            name: "Demo".into(),
            currency: eur(0).currency,
            time_zone: "Europe/Berlin".into(),
            tax_id: "DE1".into(),
            gate_group: GateGroup::parse("demo-1").unwrap(),
        };
        EnrolmentGrant {
            merchant_id: merchant_id(),
            merchant_name: "Demo Ltd".into(),
            device_id,
            sub: Sub::parse("u_1").unwrap(),
            user_name: UserName::parse("alice").unwrap(),
            nonce: "server-nonce".into(),
            stores: vec![store],
            active,
            bank: None,
            issued_at: self.merchant_now(),
        }
    }

    pub fn enrol(&mut self, active: bool) {
        self.enrol_to_sending();
        let due = self.due().remove(0);
        let TerminalRequest::Enrol { device_id, .. } = due.request else { panic!("{due:?}") };
        let grant = sign(&self.grant(device_id, active), RESULTS);
        let reply = self.ok(due.id, &EnrolmentAnswer { grant });
        assert!(matches!(reply, Reply::Device(id) if id == device_id), "{reply:?}");
    }

    pub fn enrol_to_sending(&mut self) {
        self.command(Command::BeginEnrolment { text: &code_text(), label: "A phone" }).unwrap();
        let answer = self.start_answer();
        self.ok(DueId::StartEnrolment, &answer);
        let keys = Command::PrepareEnrolment { request_key: key(REQUEST).1, consent_key: key(CONSENT).1 };
        let Reply::ToSign(inputs) = self.command(keys).unwrap() else { panic!("inputs to sign") };
        let (by_request, by_consent) = (signature(&inputs[0].input, REQUEST), signature(&inputs[1].input, CONSENT));
        let submit = Command::SubmitEnrolment { request_signature: &by_request, consent_signature: &by_consent };
        self.command(submit).unwrap();
    }

    pub fn event(&self, seq: u64, body: &EventBody) -> EventDocument {
        let value = serde_json::to_value(body).unwrap();
        EventDocument {
            iss: merchant_id(),
            aud: self.device().id,
            sub: self.device().sub.clone(),
            seq,
            kind: value["kind"].as_str().unwrap().to_owned(),
            body: value["body"].clone(),
            issued_at: self.merchant_now(),
        }
    }

    /// Puts an entry into the log.
    pub fn happen(&mut self, body: &EventBody) {
        let event = self.event(self.log.len() as u64 + 1, body);
        self.log.push(sign(&event, RESULTS));
    }

    pub fn clock(&self) -> ClockStatement {
        ClockStatement {
            merchant_id: merchant_id(),
            device_id: self.device().id,
            nonce: NONCE.into(),
            now: self.merchant_now(),
        }
    }

    /// Answers a poll with these entries.
    pub fn page(&mut self, events: Vec<String>) {
        let page = EventsPage { events, clock: sign(&self.clock(), RESULTS) };
        self.ok(self.poll_id(), &page);
    }

    /// Answers a poll with what is new in the log.
    pub fn poll(&mut self) {
        let new = self.log[self.device().cursor as usize..].to_vec();
        self.page(new);
    }

    pub fn hold_result(&self, hold_id: HoldId, trip_id: TripId, status: HoldStatus, amount: Money) -> HoldResult {
        HoldResult {
            merchant_id: merchant_id(),
            store_id: store_id(),
            sub: self.device().sub.clone(),
            device_id: self.device().id,
            trip_id,
            hold_id,
            status,
            amount,
            reason: None,
            expires_at: None,
            issued_at: self.merchant_now(),
        }
    }

    pub fn tell_hold(&mut self, trip_id: TripId, status: HoldStatus) {
        let hold = self.trip(trip_id).holds.last().unwrap().clone();
        let result = self.hold_result(hold.hold_id, trip_id, status, hold.amount);
        self.happen(&EventBody::Hold { document: sign(&result, RESULTS) });
        self.poll();
    }

    pub fn validation(&self, trip_id: TripId, verdict: Verdict) -> Validation {
        let attempt = self.trip(trip_id).attempts.last().unwrap();
        let accepted = verdict == Verdict::Accepted;
        Validation {
            merchant_id: merchant_id(),
            store_id: store_id(),
            sub: self.device().sub.clone(),
            device_id: self.device().id,
            trip_id,
            attempt: attempt.attempt,
            basket_sha256: attempt.basket_sha256.clone(),
            verdict,
            reasons: vec![],
            total: attempt.total,
            shortfall: (verdict == Verdict::InsufficientCover).then(|| eur(500)),
            repriced_total: None,
            exit_pass: accepted.then(|| sign(&self.exit_pass(trip_id), PASS)),
            service_number: accepted.then(|| ServiceNumber::parse("000000000000042").unwrap()),
            issued_at: self.merchant_now(),
        }
    }

    pub fn exit_pass(&self, trip_id: TripId) -> ExitPass {
        let attempt = self.trip(trip_id).attempts.last().unwrap();
        ExitPass {
            jti: PassId::new(self.merchant_now(), [9; 10]),
            merchant_id: merchant_id(),
            store_id: store_id(),
            gate_group: GateGroup::parse("demo-1").unwrap(),
            trip_id,
            cnf: Confirmation { jwk: key(REQUEST).1.to_jwk() },
            amount: attempt.total,
            item_count: attempt.item_count,
            iat: self.merchant_now(),
            exp: Timestamp::from_millis(self.merchant_now().as_millis() + 1_800_000),
        }
    }

    pub fn tell_verdict(&mut self, trip_id: TripId, verdict: Verdict) {
        let document = sign(&self.validation(trip_id, verdict), RESULTS);
        self.happen(&EventBody::Validation { document });
        self.poll();
    }

    pub fn debit(&self, trip_id: TripId, status: DebitStatus) -> DebitResult {
        let accepted = self.trip(trip_id).accepted().unwrap();
        let zero = eur(0);
        let due = if status == DebitStatus::Unpaid { accepted.total } else { zero };
        let state = if status == DebitStatus::Unpaid { LegState::Failed } else { LegState::Succeeded };
        let leg = Leg { method: PaymentMethod::Bank, amount: accepted.total, reference: "c".into(), state };
        DebitResult {
            merchant_id: merchant_id(),
            store_id: store_id(),
            sub: self.device().sub.clone(),
            device_id: self.device().id,
            trip_id,
            attempt: accepted.attempt,
            service_number: ServiceNumber::parse("000000000000042").unwrap(),
            status,
            total: accepted.total,
            due,
            legs: vec![leg],
            reason: None,
            receipt_number: Some(7),
            issued_at: self.merchant_now(),
        }
    }

    pub fn order(&self, n: u64, due: i64) -> OrderSummary {
        let at = |minutes: i64| Timestamp::from_millis(T0 + minutes * 60_000);
        OrderSummary {
            service_number: number(n),
            status: OrderStatus::Payable,
            source: "delivery".into(),
            service_name: format!("Service {n}"),
            payee: "Walkpay Services".into(),
            total: eur(due),
            due: eur(due),
            case_number: "C-1".into(),
            case_name: "Kitchen".into(),
            arose_at: at(-60),
            deadline: at(600),
            slip_number: None,
        }
    }

    /// What the merchant makes of a slip that was asked for, 10.00 per order.
    pub fn slip_view(&self, id: SlipId) -> SlipView {
        let request = &self.slip(id).request;
        let item = |n: &ServiceNumber| SlipItem {
            service_number: *n,
            service_name: format!("Service {n}"),
            amount: eur(1_000),
        };
        let at = self.merchant_now();
        SlipView {
            slip_number: SlipNumber::parse("000000000000000007").unwrap(),
            status: SlipStatus::Open,
            payee: "Walkpay Services".into(),
            title: "Two services".into(),
            amount: eur(1_000 * request.orders.len() as i64),
            items: request.orders.iter().map(item).collect(),
            remarks: request.remarks.clone(),
            method: None,
            invoice: request.invoice.clone(),
            made_at: at,
            expires_at: Timestamp::from_millis(at.as_millis() + 3_600_000),
            payments: vec![],
        }
    }

    /// What the merchant says of the newest payment of a slip.
    pub fn payment_view(&self, id: SlipId, status: PaymentStatus) -> PaymentView {
        let payment = self.slip(id).payments.last().unwrap();
        PaymentView {
            payment_id: payment.payment_id,
            slip_number: self.slip(id).number().unwrap(),
            method: payment.method,
            status,
            amount: payment.amount,
            stored_value: payment.stored_value,
            launch: None,
            reason: None,
            deadline: self.merchant_now(),
        }
    }

    pub fn slip_result(&self, id: SlipId, status: SlipStatus, payment: PaymentView) -> SlipResult {
        SlipResult {
            merchant_id: merchant_id(),
            sub: self.device().sub.clone(),
            slip_number: payment.slip_number,
            slip_status: status,
            legs: vec![Leg {
                method: payment.method,
                amount: payment.amount,
                reference: self.slip(id).id.to_string(),
                state: LegState::Succeeded,
            }],
            payment,
            issued_at: self.merchant_now(),
        }
    }

    /// The newest payment of a slip goes on.
    pub fn tell_slip(&mut self, id: SlipId, slip: SlipStatus, payment: PaymentStatus) {
        let result = self.slip_result(id, slip, self.payment_view(id, payment));
        self.happen(&EventBody::Slip { document: sign(&result, RESULTS) });
        self.poll();
    }

    pub fn slip(&self, id: SlipId) -> &Slip {
        self.device().slip(id).unwrap()
    }

    // ---- the payer ----

    pub fn ask_slip(&mut self, orders: &[u64]) -> SlipId {
        let request =
            SlipRequest { orders: orders.iter().map(|n| number(*n)).collect(), remarks: String::new(), invoice: None };
        match self.command(Command::MakeSlip { request: &request }).unwrap() {
            Reply::Slip(id) => id,
            other => panic!("{other:?}"),
        }
    }

    /// A slip of two orders that the merchant has made: 20.00.
    pub fn made_slip(&mut self) -> SlipId {
        let id = self.ask_slip(&[1, 2]);
        let view = self.slip_view(id);
        let due = self.item();
        self.ok(due.id, &view);
        id
    }

    pub fn prepare_payment(
        &mut self,
        id: SlipId,
        method: PaymentMethod,
        part: Option<i64>,
    ) -> Result<ToSign, WalkpayError> {
        let stored_value = part.map(eur);
        self.command(Command::PreparePayment { slip_id: id, method, stored_value }).map(one)
    }

    pub fn submit_payment(&mut self, id: SlipId, input: &str, seed: u8) -> Result<Reply, WalkpayError> {
        let signature = signature(input, seed);
        self.command(Command::SubmitPayment { slip_id: id, signature: &signature })
    }

    pub fn pay(&mut self, id: SlipId, method: PaymentMethod) -> PaymentId {
        let to_sign = self.prepare_payment(id, method, None).unwrap();
        match self.submit_payment(id, &to_sign.input, CONSENT).unwrap() {
            Reply::Payment(id) => id,
            other => panic!("{other:?}"),
        }
    }

    /// The payment is on record at the merchant and under way.
    pub fn paying_slip(&mut self, method: PaymentMethod) -> (SlipId, PaymentId) {
        let id = self.made_slip();
        let payment = self.pay(id, method);
        let (due, view) = (self.item(), self.payment_view(id, PaymentStatus::Open));
        self.ok(due.id, &view);
        (id, payment)
    }

    // ---- the shopper ----

    pub fn start(&mut self) -> TripId {
        self.start_with(ForwardPolicy::PreferOnline)
    }

    pub fn start_with(&mut self, policy: ForwardPolicy) -> TripId {
        match self.command(Command::StartTrip { store_id: &store_id(), policy }).unwrap() {
            Reply::Trip(id) => id,
            other => panic!("{other:?}"),
        }
    }

    pub fn scan(&mut self, trip_id: TripId, n: u32) -> Result<Reply, WalkpayError> {
        let meaning = Meaning::Article { gtin: gtin(n) };
        self.command(Command::Scan { trip_id, meaning: &meaning, quantity: None, articles: &articles() })
    }

    pub fn review(&mut self, trip_id: TripId) -> Result<Review, WalkpayError> {
        match self.command(Command::Review { trip_id, articles: &articles(), book: &book(7) })? {
            Reply::Review(review) => Ok(*review),
            other => panic!("{other:?}"),
        }
    }

    pub fn prepare(&mut self, trip_id: TripId) -> Result<ToSign, WalkpayError> {
        self.command(Command::PrepareSignature { trip_id, online: true }).map(one)
    }

    pub fn prepare_hold(&mut self, trip_id: TripId, minor: i64) -> Result<ToSign, WalkpayError> {
        self.command(Command::PrepareHold { trip_id, amount: eur(minor), online: true }).map(one)
    }

    pub fn submit(&mut self, trip_id: TripId, kind: OutboxKind, input: &str, seed: u8) -> Result<Reply, WalkpayError> {
        let signature = signature(input, seed);
        self.command(Command::Submit { trip_id, kind, signature: &signature })
    }

    pub fn hold(&mut self, trip_id: TripId, minor: i64) {
        let to_sign = self.prepare_hold(trip_id, minor).unwrap();
        self.submit(trip_id, OutboxKind::Hold, &to_sign.input, CONSENT).unwrap();
    }

    pub fn sign_basket(&mut self, trip_id: TripId) {
        self.review(trip_id).unwrap();
        let to_sign = self.prepare(trip_id).unwrap();
        self.submit(trip_id, OutboxKind::Attempt, &to_sign.input, CONSENT).unwrap();
    }

    pub fn cancel(&mut self, trip_id: TripId) {
        if let Reply::ToSign(inputs) = self.command(Command::PrepareCancel { trip_id }).unwrap() {
            self.submit(trip_id, OutboxKind::Cancellation, &inputs[0].input, REQUEST).unwrap();
        }
    }

    /// A visit whose first attempt has this verdict.
    pub fn judged(&mut self, verdict: Verdict) -> TripId {
        let trip = self.start();
        self.scan(trip, 1).unwrap();
        self.sign_basket(trip);
        self.record();
        self.tell_verdict(trip, verdict);
        trip
    }

    /// The kinds of the events for the host, by number.
    pub fn told(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut after = 0;
        while let Some(event) = self.device().next_event(after) {
            after = event.number;
            let kind = serde_json::to_value(&event.kind).unwrap()["kind"].as_str().unwrap().to_owned();
            all.push(format!("{} {kind}", event.number));
        }
        all
    }

    pub fn last_told(&self) -> HostEventKind {
        let mut last = self.device().next_event(0).unwrap();
        while let Some(next) = self.device().next_event(last.number) {
            last = next;
        }
        last.kind.clone()
    }
}

pub fn one(reply: Reply) -> ToSign {
    match reply {
        Reply::ToSign(mut inputs) if inputs.len() == 1 => inputs.remove(0),
        other => panic!("{other:?}"),
    }
}

/// The document of a finished JWS, unverified.
pub fn read<D: Document>(jws: &str) -> D {
    peek(jws).unwrap().1
}

/// The error of a call out of order: what is due.
pub fn due_call<T: std::fmt::Debug>(result: Result<T, WalkpayError>) -> String {
    match result {
        Err(WalkpayError::WrongOrder { due, .. }) => due,
        other => panic!("{other:?}"),
    }
}
