//! A terminal of the simulation: the session that ships, a journal that survives crashes, and a shopper.

use super::shop::Shop;
use super::{Mutation, Plan};
use ed25519_dalek::{Signer, SigningKey};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use walkpay::barcode::Meaning;
use walkpay::basket::Quantity;
use walkpay::protocol::crypto::{Algorithm, PublicKey};
use walkpay::protocol::document::{ExitPass, PaymentMethod, Verdict};
use walkpay::protocol::jws::peek;
use walkpay::session::*;
use walkpay::{Money, Timestamp, TripId, WalkpayError};

/// What one visit is about: goods for one signature that is worth something.
#[derive(Clone, Debug, Default)]
pub struct Visit {
    /// Every trip that this visit was ever submitted under; more than one is a doubled purchase.
    pub trips: Vec<TripId>,
    picks: Vec<(usize, u32)>,
    picked: usize,
    estimate: Option<i64>,
    cancels: bool,
    over: bool,
}

/// A terminal.
pub struct Terminal {
    pub session: Session,
    pub in_flight: BTreeSet<DueId>,
    pub boot: u64,
    /// How wrong its clock is.
    pub skew_ms: i64,
    pub visits: Vec<Visit>,
    journal: Vec<String>,
    /// With [`Mutation::EffectBeforeJournal`]: folded, but not written yet.
    unwritten: Vec<String>,
    request: SigningKey,
    consent: SigningKey,
    mutation: Option<Mutation>,
    /// The one channel that its owner pays over, if it is not whichever.
    pub over: Option<PaymentMethod>,
    /// Whether its owner gives up payments soon.
    pub impatient: bool,
    born_ms: i64,
}

impl Terminal {
    pub fn new(number: u8, plan: Plan, now_ms: i64) -> Self {
        Self {
            session: Session::default(),
            in_flight: BTreeSet::new(),
            boot: 1,
            skew_ms: 0,
            visits: Vec::new(),
            journal: Vec::new(),
            unwritten: Vec::new(),
            request: SigningKey::from_bytes(&[number * 2 + 1; 32]),
            consent: SigningKey::from_bytes(&[number * 2 + 2; 32]),
            mutation: plan.mutation,
            over: plan.over,
            impatient: plan.impatient,
            born_ms: now_ms,
        }
    }

    pub fn request_key(&self) -> PublicKey {
        public(&self.request)
    }

    pub fn consent_key(&self) -> PublicKey {
        public(&self.consent)
    }

    pub fn request(&self) -> &SigningKey {
        &self.request
    }

    pub fn consent(&self) -> &SigningKey {
        &self.consent
    }

    pub fn now(&self, now_ms: i64, rng: &mut ChaCha8Rng) -> Now {
        let mut random = [0; 32];
        rng.fill_bytes(&mut random);
        Now {
            wall: Timestamp::from_millis(now_ms + self.skew_ms),
            monotonic_ms: u64::try_from(now_ms - self.born_ms).unwrap_or(0),
            boot: self.boot,
            random,
        }
    }

    /// Decides, journals, folds: in this order, unless the planted bug says otherwise.
    pub fn tell(&mut self, input: Input<'_>, now: &Now) -> Result<Reply, WalkpayError> {
        let decision = decide(&self.session, input, now)?;
        Ok(self.commit(decision))
    }

    fn commit(&mut self, decision: Decision) -> Reply {
        if self.mutation != Some(Mutation::EffectBeforeJournal) {
            self.write();
        }
        for event in &decision.events {
            self.unwritten.push(serde_json::to_string(event).expect("events are JSON"));
        }
        if self.mutation != Some(Mutation::EffectBeforeJournal) {
            self.write();
        }
        decision.events.iter().for_each(|event| self.session.apply(event));
        decision.reply
    }

    /// What a late writer would do some time later.
    pub fn write(&mut self) {
        self.journal.append(&mut self.unwritten);
    }

    /// The process dies and is started again on what is on disk.
    pub fn restart(&mut self) -> Result<(), String> {
        self.unwritten.clear();
        self.in_flight.clear();
        self.boot += 1;
        let mut session = Session::default();
        for line in &self.journal {
            session.apply(&JournalEvent::parse(line.as_bytes()).map_err(|e| e.to_string())?);
        }
        let lost = session != self.session;
        self.session = session;
        if lost { Err("something that was answered is lost after a restart".into()) } else { Ok(()) }
    }

    /// Enrols with the text of a code, as far as one step goes.
    pub fn sign_enrolment(&mut self, now: &Now) -> Result<(), WalkpayError> {
        let offered = matches!(self.session.enrolment().map(|e| &e.stage), Some(EnrolmentStage::Offered(_)));
        if !offered {
            return Ok(());
        }
        let command = Command::PrepareEnrolment { request_key: self.request_key(), consent_key: self.consent_key() };
        let Reply::ToSign(inputs) = self.tell(Input::Command(command), now)? else { return Ok(()) };
        let signatures: Vec<_> = inputs.iter().map(|i| self.sign(i)).collect();
        let command = Command::SubmitEnrolment { request_signature: &signatures[0], consent_signature: &signatures[1] };
        self.tell(Input::Command(command), now).map(|_| ())
    }

    pub fn sign(&self, what: &ToSign) -> [u8; 64] {
        let key = match what.role {
            KeyRole::Request | KeyRole::NewRequest => &self.request,
            KeyRole::Consent | KeyRole::NewConsent => &self.consent,
        };
        key.sign(what.input.as_bytes()).to_bytes()
    }

    fn submit(&mut self, trip_id: TripId, kind: OutboxKind, reply: Reply, now: &Now) -> Result<(), WalkpayError> {
        let Reply::ToSign(inputs) = reply else { return Ok(()) };
        let signature = self.sign(&inputs[0]);
        self.tell(Input::Command(Command::Submit { trip_id, kind, signature: &signature }), now).map(|_| ())
    }

    /// The next thing that the shopper does; whatever the terminal refuses is not done.
    pub fn shop(&mut self, shop: &Shop, now: &Now, rng: &mut ChaCha8Rng) -> Result<(), String> {
        let Ok(device) = self.session.current() else { return Ok(()) };
        let (currency, store_id) = (shop.currency(), shop.store_id().clone());
        let open = self.visits.iter().position(|v| !v.over);
        let Some(at) = open else {
            if self.visits.len() < 3 {
                let mut visit = Visit::default();
                for _ in 0..rng.random_range(1..4) {
                    visit.picks.push((rng.random_range(0..shop.len()), rng.random_range(1..4)));
                }
                if rng.random_range(0..5) > 0 {
                    visit.estimate = Some(rng.random_range(100..3_000));
                }
                visit.cancels = rng.random_range(0..6) == 0;
                self.visits.push(visit);
            }
            return Ok(());
        };
        let visit = self.visits[at].clone();
        let Some(trip_id) = visit.trips.last().copied() else {
            let command = Command::StartTrip { store_id: &store_id, policy: ForwardPolicy::PreferOnline };
            if let Ok(Reply::Trip(trip)) = self.tell(Input::Command(command), now) {
                self.visits[at].trips.push(trip);
            }
            return Ok(());
        };
        let Ok(state) = device.trip_state(trip_id) else {
            // It was over, and is forgotten.
            self.visits[at].over = true;
            return Ok(());
        };
        let last = state.attempts.last();
        if state.cancelled.is_some() || state.exit_pass.is_some() {
            self.visits[at].over = true;
            return Ok(());
        }
        if state.cancel_requested.is_some() {
            return Ok(());
        }
        let refused_for_good = state.attempts.len() > 6;
        if (visit.cancels && rng.random_range(0..8) == 0) || refused_for_good {
            if let Ok(reply) = self.tell(Input::Command(Command::PrepareCancel { trip_id }), now) {
                let _ = self.submit(trip_id, OutboxKind::Cancellation, reply, now);
            }
            return Ok(());
        }
        if let Some(amount) = visit.estimate.filter(|_| state.holds.is_empty()) {
            return self.hold(trip_id, currency.minor(amount), now);
        }
        if let Some((article, count)) = visit.picks.get(visit.picked) {
            let meaning = Meaning::Article { gtin: shop.gtin(*article) };
            let quantity = Some(Quantity::Pieces { count: *count });
            let command = Command::Scan { trip_id, meaning: &meaning, quantity, articles: shop.articles() };
            self.tell(Input::Command(command), now).map_err(|e| format!("scan: {e}"))?;
            self.visits[at].picked += 1;
            return Ok(());
        }
        let verdict = last.and_then(|a| a.verdict());
        if let (Some(Verdict::InsufficientCover), Some(total)) = (verdict, last.map(|a| a.total)) {
            let covered = state.holds.last().is_some_and(|h| h.counts() && h.amount.minor >= total.minor);
            if !covered && state.holds.len() < 4 {
                return self.hold(trip_id, total, now);
            }
        }
        if verdict == Some(Verdict::CheckRequired) || last.is_some_and(AttemptFacts::is_waiting) {
            return Ok(());
        }
        // Several steps, so that a crash falls between them.
        if state.review.is_none() {
            let command = Command::Review { trip_id, articles: shop.articles(), book: shop.book() };
            let _ = self.tell(Input::Command(command), now);
            return Ok(());
        }
        if let Ok(reply) = self.tell(Input::Command(Command::PrepareSignature { trip_id, online: true }), now) {
            let _ = self.submit(trip_id, OutboxKind::Attempt, reply, now);
        }
        Ok(())
    }

    fn hold(&mut self, trip_id: TripId, amount: Money, now: &Now) -> Result<(), String> {
        let command = Command::PrepareHold { trip_id, amount, online: true };
        if let Ok(reply) = self.tell(Input::Command(command), now) {
            let _ = self.submit(trip_id, OutboxKind::Hold, reply, now);
        }
        Ok(())
    }

    /// The planted bug of a client that makes a new identifier for a retry: the same goods under another trip.
    pub fn retry_as_new(&mut self, trip_id: TripId, shop: &Shop, now: &Now) {
        let Some(at) = self.visits.iter().position(|v| v.trips.contains(&trip_id) && v.trips.len() == 1) else {
            return;
        };
        let command = Command::StartTrip { store_id: shop.store_id(), policy: ForwardPolicy::PreferOnline };
        let Ok(Reply::Trip(trip)) = self.tell(Input::Command(command), now) else { return };
        self.visits[at].trips.push(trip);
        self.visits[at].picked = 0;
        self.visits[at].over = false;
    }

    /// The host reads its events and acknowledges them; what is over is forgotten, and the state takes the journal's place.
    pub fn read_events(&mut self, now: &Now) -> Result<(), String> {
        let Ok(device) = self.session.current() else { return Ok(()) };
        let mut up_to = device.acked();
        while let Some(event) = device.next_event(up_to) {
            up_to = event.number;
        }
        let _ = self.tell(Input::Command(Command::AckEvents { up_to }), now);
        let true_ms = now.wall.as_millis() - self.skew_ms;
        let passes = self.passes()?;
        self.commit(prune(&self.session, now));
        let kept = self.passes()?;
        for pass in passes.iter().filter(|p| p.exp.as_millis() > true_ms) {
            if !kept.contains(pass) {
                return Err(format!("{} was forgotten before its time was over", pass.jti));
            }
        }
        if self.mutation != Some(Mutation::EffectBeforeJournal) {
            let state = Box::new(self.session.clone());
            let fact = Fact::Snapshot { state };
            let snapshot = JournalEvent { v: VERSION, at: now.wall, device: None, fact };
            self.session.apply(&snapshot);
            self.journal = vec![serde_json::to_string(&snapshot).expect("events are JSON")];
        }
        Ok(())
    }

    fn passes(&self) -> Result<Vec<ExitPass>, String> {
        let trips = self.session.devices().flat_map(Device::trips);
        let passes = trips.filter_map(Trip::exit_pass).map(|jws| peek::<ExitPass>(jws).map(|(_, pass)| pass));
        passes.collect::<Result<_, _>>().map_err(|e| e.to_string())
    }
}

pub fn public(key: &SigningKey) -> PublicKey {
    PublicKey::from_raw(Algorithm::Ed25519, key.verifying_key().as_bytes()).expect("a fresh key is well-formed")
}
