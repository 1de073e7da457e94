//! What the thread of a terminal owns, and the one way in which anything changes: decide, journal, fold.

use super::reach::Reach;
use super::shelf::{Priced, Shelves};
use super::thread::{Back, Message, Waiter};
use super::transmit::{Flight, transmit};
use super::{blocking, pool};
use crate::adapter::catalogue_store::checkpoint;
use crate::adapter::clock;
use crate::adapter::http::HttpClient;
use crate::adapter::journal::{Journal, StoredKey};
use crate::adapter::keys::{KeyRing, KnownSigner};
use crate::adapter::random::Lots;
use crate::adapter::sqlite::Durability;
use crate::barcode::{Meaning, ScanInput, read};
use crate::basket::{BasketEvent, LineId, Quantity};
use crate::error::WalkpayError;
use crate::id::{DeviceId, KeyId, StoreId, TripId};
use crate::session::{
    Command, Decision, DueId, Enrolment, Fact, HttpAnswer, HttpOutcome, Input, Now, Reply, Review, Session, compaction,
    decide, due, next_wakeup, prune,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Weak;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot::Sender;

/// How long a request rests whose answer could not be taken in.
const REST: Duration = Duration::from_secs(5);
/// However long nothing is due, the wall clock is looked at this often: it may have been turned.
const MAX_SLEEP: Duration = Duration::from_secs(60);
/// How long after the start what is over is forgotten: not before the first calls are answered.
const UNTIDY: Duration = Duration::from_secs(1);

/// State, journal, keys, catalogues and what is on the wire.
pub(crate) struct Worker {
    pub(super) session: Session,
    pub(super) journal: Journal,
    pub(super) keys: KeyRing,
    pub(super) shelves: Shelves,
    pub(super) http: HttpClient,
    pub(super) waiters: Vec<Waiter>,
    /// How many enrolments were asked for since the start; one that a restart found under way is the first.
    pub(super) enrolments: u64,
    /// Which of them ended last, and how.
    pub(super) enrolled: Option<(u64, Result<DeviceId, WalkpayError>)>,
    pub(super) folder: PathBuf,
    pub(super) durability: Durability,
    pub(super) merchant_url: Option<String>,
    boot: u64,
    lots: Lots,
    network: bool,
    reach: Reach,
    flights: BTreeMap<DueId, Flight>,
    last_flight: u64,
    /// Whether something has changed that other requests can be due for.
    stale: bool,
    /// When something becomes due by itself.
    due_at: Option<Instant>,
    /// When to forget what is over, if that was not done since the start.
    tidy_at: Option<Instant>,
    back: Back,
}

impl Worker {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        session: Session,
        journal: Journal,
        keys: KeyRing,
        http: HttpClient,
        boot: u64,
        folder: PathBuf,
        durability: Durability,
        merchant_url: Option<String>,
        back: Weak<mpsc::Sender<Message>>,
    ) -> Self {
        Self {
            session,
            journal,
            keys,
            shelves: Shelves::new(folder.clone(), durability),
            http,
            waiters: Vec::new(),
            enrolments: 0,
            enrolled: None,
            folder,
            durability,
            merchant_url,
            boot,
            lots: Lots::default(),
            network: true,
            reach: Reach::default(),
            flights: BTreeMap::new(),
            last_flight: 0,
            stale: true,
            due_at: None,
            tidy_at: Some(Instant::now() + UNTIDY),
            back: Back(back),
        }
    }

    /// The folded state.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// The catalogues.
    pub(crate) fn shelves(&mut self) -> &mut Shelves {
        &mut self.shelves
    }

    /// The present.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`] without randomness.
    pub(crate) fn now(&self) -> Result<Now, WalkpayError> {
        let monotonic_ms = u64::try_from(clock::monotonic().as_millis()).unwrap_or(u64::MAX);
        Ok(Now { wall: clock::wall(), monotonic_ms, boot: self.boot, random: self.lots.draw()? })
    }

    /// Carries a command out. When this returns its events are durable.
    ///
    /// # Errors
    /// Those of [`decide`], [`WalkpayError::Storage`]; nothing has changed then.
    pub(crate) fn command(&mut self, command: Command<'_>) -> Result<Reply, WalkpayError> {
        let decision = decide(&self.session, Input::Command(command), &self.now()?)?;
        self.commit(decision, &[])
    }

    pub(super) fn commit(&mut self, decision: Decision, keys: &[StoredKey]) -> Result<Reply, WalkpayError> {
        match (decision.events.as_slice(), keys) {
            ([], []) => {}
            (events, []) => self.journal.append(events)?,
            (events, keys) => self.journal.append_with_keys(events, keys)?,
        }
        for event in &decision.events {
            self.session.apply(event);
            // What is picked goes nowhere before it is signed.
            self.stale |= !matches!(event.fact, Fact::Basket { .. } | Fact::Reviewed { .. });
            if let Fact::EnrolmentEnded { .. } = event.fact {
                // Whatever is still answered to it is no answer to the next one.
                self.flights.retain(|id, _| !matches!(id, DueId::StartEnrolment | DueId::Enrol));
            }
        }
        Ok(decision.reply)
    }

    /// A01: reads a code, looks its article up, and puts it into the basket. What it costs with it is sent ahead.
    ///
    /// # Errors
    /// Those of [`read`] and [`decide`]; [`WalkpayError::WrongOrder`] before the first sync of the store's catalogue.
    pub(crate) fn scan(
        &mut self,
        trip_id: TripId,
        input: &ScanInput,
        quantity: Option<Quantity>,
        ahead: Sender<Priced>,
    ) -> Result<(Meaning, LineId), WalkpayError> {
        let trip = self.session.current()?.trip(trip_id)?;
        let meaning = read(input, self.shelves.get(&trip.store_id, "scan")?.book().templates())?;
        let line = self.pick(trip_id, &meaning, quantity, ahead)?;
        Ok((meaning, line))
    }

    /// Puts an article whose code has been read, or that was found by name, into the basket. What it costs with it is sent ahead.
    ///
    /// # Errors
    /// Those of [`decide`]; [`WalkpayError::WrongOrder`] before the first sync of the store's catalogue.
    pub(crate) fn pick(
        &mut self,
        trip_id: TripId,
        meaning: &Meaning,
        quantity: Option<Quantity>,
        ahead: Sender<Priced>,
    ) -> Result<LineId, WalkpayError> {
        let now = self.now()?;
        let trip = self.session.current()?.trip(trip_id)?;
        let shelf = self.shelves.get(&trip.store_id, "scan")?;
        if let Some(gtin) = meaning.gtin() {
            shelf.fetch(gtin)?;
        }
        let articles = shelf.articles();
        let command = Command::Scan { trip_id, meaning, quantity, articles: &*articles };
        let decision = decide(&self.session, Input::Command(command), &now)?;
        drop(articles);
        match self.commit_priced(trip_id, decision, &now, ahead)? {
            Reply::Line(line) => Ok(line),
            other => Err(unexpected(&other)),
        }
    }

    /// Carries a change of a basket out. What it costs after it is sent ahead; on error it is as before.
    ///
    /// # Errors
    /// Those of [`Worker::command`] and [`Worker::basket`].
    pub(crate) fn change(
        &mut self,
        trip_id: TripId,
        command: Command<'_>,
        ahead: Sender<Priced>,
    ) -> Result<(), WalkpayError> {
        let now = self.now()?;
        let decision = decide(&self.session, Input::Command(command), &now)?;
        self.commit_priced(trip_id, decision, &now, ahead).map(drop)
    }

    /// Commits a change of a basket if it has a price: what has none must not get in.
    fn commit_priced(
        &mut self,
        trip_id: TripId,
        decision: Decision,
        now: &Now,
        ahead: Sender<Priced>,
    ) -> Result<Reply, WalkpayError> {
        let changes = decision.events.iter().find_map(|event| match &event.fact {
            Fact::Basket { events, .. } => Some(events.as_slice()),
            _ => None,
        });
        let priced = self.price_with(trip_id, changes.unwrap_or_default(), now)?;
        // Whoever asked may have gone away.
        let _ = ahead.send(priced);
        self.commit(decision, &[])
    }

    /// What the basket costs with some changes that are not in it yet.
    fn price_with(&mut self, trip_id: TripId, changes: &[BasketEvent], now: &Now) -> Result<Priced, WalkpayError> {
        let device = self.session.current()?;
        let trip = device.trip(trip_id)?;
        let shelf = self.shelves.get(&trip.store_id, "basket")?;
        shelf.price(trip.basket.picks_after(changes), &trip.basket, device.merchant_time(now))
    }

    /// What the basket costs today.
    ///
    /// # Errors
    /// [`WalkpayError::Unknown`], [`WalkpayError::NotSignedIn`], [`WalkpayError::WrongOrder`] before the first sync.
    pub(crate) fn basket(&mut self, trip_id: TripId) -> Result<Priced, WalkpayError> {
        let now = self.now()?;
        self.price_with(trip_id, &[], &now)
    }

    /// A03: freezes what will be signed.
    ///
    /// # Errors
    /// Those of [`decide`].
    pub(crate) fn review(&mut self, trip_id: TripId) -> Result<Review, WalkpayError> {
        let now = self.now()?;
        let trip = self.session.current()?.trip(trip_id)?;
        let shelf = self.shelves.get(&trip.store_id, "review")?;
        shelf.fetch_all(trip.basket.lines().iter().map(|line| line.article.gtin))?;
        let articles = shelf.articles();
        let command = Command::Review { trip_id, articles: &*articles, book: shelf.book() };
        let decision = decide(&self.session, Input::Command(command), &now)?;
        drop(articles);
        match self.commit(decision, &[])? {
            Reply::Review(review) => Ok(*review),
            other => Err(unexpected(&other)),
        }
    }

    /// The signer of a key of the user who is signed in.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] when it is not at hand, [`WalkpayError::NotSignedIn`].
    pub(super) fn signer(&self, kid: &KeyId) -> Result<KnownSigner, WalkpayError> {
        self.keys.get(&self.session.current()?.id, kid)
    }

    /// Why nothing can be signed for the merchant, if that is so.
    pub(crate) fn key_trouble(&self) -> Option<String> {
        let device = self.session.current().ok()?;
        self.keys.get(&device.id, &device.request_key.key_id()).err().map(|e| e.to_string())
    }

    /// Whether the merchant answered last time; nothing before the first request. Always no while the network is switched off.
    ///
    /// # Errors
    /// [`WalkpayError::NotSignedIn`].
    pub(crate) fn online(&self) -> Result<Option<bool>, WalkpayError> {
        let device = self.session.current()?.id;
        Ok(if self.network { self.reach.of(device) } else { Some(false) })
    }

    /// Whether the network is switched on.
    pub(super) fn may_send(&self) -> bool {
        self.network
    }

    /// Stops or allows sending.
    pub(crate) fn set_network(&mut self, on: bool) {
        if !on {
            // What is on the wire may have arrived: it stays due, under the same identifier.
            self.flights.clear();
            self.reach.forget();
        }
        self.network = on;
        self.stale = true;
    }

    /// Takes a signer in; what waited for it can be sent.
    pub(super) fn put_signer(&mut self, device: DeviceId, signer: KnownSigner) {
        self.keys.put(device, signer);
        self.stale = true;
    }

    /// Sends what is due, asks those who wait, and tidies up when nobody has asked for anything.
    pub(super) fn settle(&mut self) {
        if self.tidy_at.is_some_and(|at| at <= Instant::now()) {
            self.tidy();
        }
        if self.stale || self.due_at.is_some_and(|at| at <= Instant::now()) {
            self.stale = false;
            self.send_due();
            self.due_at = self.next_due();
        }
        self.ask_waiters();
    }

    /// Asks those who wait whether what they wait for is there.
    pub(super) fn ask_waiters(&mut self) {
        if !self.waiters.is_empty() {
            let now = Instant::now();
            let mut waiters = std::mem::take(&mut self.waiters);
            waiters.retain_mut(|w| !(w.ask)(self, w.until <= now));
            self.waiters.append(&mut waiters);
        }
    }

    /// How long to sleep; nothing if only a message can change anything.
    pub(super) fn wakes_in(&self) -> Option<Duration> {
        let waits = self.waiters.iter().map(|w| w.until);
        let earliest = waits.chain(self.due_at).chain(self.tidy_at).min()?;
        Some(earliest.saturating_duration_since(Instant::now()))
    }

    fn next_due(&self) -> Option<Instant> {
        let now = self.now().ok().filter(|_| self.network)?;
        let instant = Instant::now();
        let rests = self.flights.values().filter_map(Flight::rests_until);
        let due = next_wakeup(&self.session, &now, &self.in_flight()).map(|at| {
            let wait = at.since(now.wall) + Duration::from_millis(1);
            instant + wait.min(MAX_SLEEP)
        });
        rests.chain(due).min()
    }

    /// Takes an answer in.
    pub(super) fn on_answer(&mut self, answer: HttpAnswer, flight: u64) {
        let id = answer.id;
        if self.flights.get(&id).is_none_or(|f| !f.is(flight)) {
            return;
        }
        if let Some(device) = device_of(id) {
            self.reach.learn(device, matches!(answer.outcome, HttpOutcome::Answer { .. }));
        }
        let taken = self.now().and_then(|now| decide(&self.session, Input::Answer(answer), &now));
        match taken.and_then(|decision| self.commit(decision, &[])) {
            Ok(reply) => {
                self.flights.remove(&id);
                self.on_reply(id, reply);
            }
            // It is due again: a disk that is full now may not be in a while.
            Err(_) => drop(self.flights.insert(id, Flight::resting(Instant::now() + REST))),
        }
        self.stale = true;
        self.tidy();
    }

    /// Takes in a key set that was asked for beside what is due.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub(super) fn keys_came(&mut self, device: DeviceId, body: Vec<u8>) -> Result<(), WalkpayError> {
        let outcome = HttpOutcome::Answer { status: 200, retry_after_seconds: None, date: None, body };
        let id = DueId::Keys { device };
        let answer = HttpAnswer { id, nonce: String::new(), elapsed_ms: 0, outcome };
        let decision = decide(&self.session, Input::Answer(answer), &self.now()?)?;
        self.commit(decision, &[]).map(drop)
    }

    fn on_reply(&mut self, id: DueId, reply: Reply) {
        match (id, reply) {
            (DueId::StartEnrolment | DueId::Enrol, Reply::Device(device)) => {
                self.reach.learn(device, true);
                self.enrolled = Some((self.enrolments, Ok(device)));
            }
            (DueId::StartEnrolment | DueId::Enrol, Reply::EnrolmentFailed(error)) => {
                self.enrolled = Some((self.enrolments, Err(error)));
            }
            _ => {}
        }
    }

    /// Forgets what is over: visits that are done and acknowledged, keys that were replaced, a long journal's details. What
    /// fails here is tried again later; nothing depends on it.
    pub(crate) fn tidy(&mut self) {
        self.tidy_at = None;
        let Ok(now) = self.now() else { return };
        let _ = self.commit(prune(&self.session, &now), &[]);
        self.forget_old_keys();
        if let Some(snapshot) = compaction(&self.session, &now)
            && self.journal.rewrite(std::slice::from_ref(&snapshot)).is_ok()
        {
            self.session.apply(&snapshot);
        }
    }

    /// Ends; what is over is forgotten if nothing has done that since the start.
    pub(super) fn close(mut self) {
        if self.tidy_at.is_some() {
            self.tidy();
        }
    }

    /// Keys that no device can need any more are wiped.
    fn forget_old_keys(&mut self) {
        let mut needed = BTreeSet::new();
        for device in self.session.devices() {
            let keys = [&device.request_key, &device.consent_key].into_iter().chain(device.former_request_keys());
            let rotations = device.rotation.clone().into_iter().chain(device.prepared_rotation_keys());
            needed.extend(keys.map(|key| (device.id, key.key_id())));
            needed.extend(rotations.flat_map(|r| [r.request_key, r.consent_key]).map(|key| (device.id, key.key_id())));
        }
        let enrolling = self.session.enrolment().and_then(Enrolment::device_id);
        for (device, kid) in self.keys.held() {
            if !needed.contains(&(device, kid.clone()))
                && Some(device) != enrolling
                && self.journal.delete_key(&device, &kid).is_ok()
            {
                self.keys.remove(&device, &kid);
            }
        }
    }

    fn in_flight(&self) -> BTreeSet<DueId> {
        self.flights.keys().copied().collect()
    }

    fn send_due(&mut self) {
        if !self.network {
            return;
        }
        let instant = Instant::now();
        self.flights.retain(|_, flight| flight.rests_until().is_none_or(|until| until > instant));
        let (Ok(now), Ok(pool)) = (self.now(), pool()) else { return };
        for due in due(&self.session, &now, &self.in_flight()) {
            let signer = match (&due.device, &due.sign_with) {
                (Some(device), Some(kid)) => match self.keys.get(device, kid) {
                    Ok(signer) => Some(signer),
                    // Sent as soon as the host has handed the signer in.
                    Err(_) => continue,
                },
                _ => None,
            };
            self.last_flight += 1;
            let (id, flight) = (due.id, self.last_flight);
            let (http, back, url) = (self.http.clone(), self.back.clone(), self.merchant_url.clone());
            let task = pool.spawn(async move {
                let answer = transmit(&http, due, signer, url.as_deref()).await;
                back.answer(answer, flight);
            });
            self.flights.insert(id, Flight::under_way(flight, task.abort_handle()));
        }
    }

    /// Moves what an import has written into the catalogue's file, beside everything else.
    pub(super) fn checkpoint_later(&self, store: StoreId) {
        let (folder, durability) = (self.folder.clone(), self.durability);
        if let Ok(pool) = pool() {
            let work = move || checkpoint(&folder, &store, durability);
            drop(pool.spawn(async move { blocking(work).await }));
        }
    }
}

fn device_of(id: DueId) -> Option<DeviceId> {
    match id {
        DueId::StartEnrolment | DueId::Enrol => None,
        DueId::Item { device, .. } | DueId::Poll { device } | DueId::Keys { device } => Some(device),
    }
}

/// A reply that does not belong to its command is a defect.
pub(crate) fn unexpected(reply: &Reply) -> WalkpayError {
    WalkpayError::Internal { detail: format!("an unexpected reply: {:?}", std::mem::discriminant(reply)) }
}
