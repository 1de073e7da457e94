//! The terminal as a process: it shops through the public interface, and says what it was answered.
//!
//! Every line is a fact that the terminal has answered before the line was written: whatever kills the process afterwards,
//! the fact must stay.

use crate::process::PATIENCE;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use walkpay::api::{Terminal, TerminalConfig, Trip, file_vault};
use walkpay::barcode::ScanInput;
use walkpay::protocol::document::{HoldStatus, ReasonCode, Verdict};
use walkpay::session::{ForwardPolicy, HoldFacts, TripState};
use walkpay::{Currency, Money, StoreId, UserName, WalkpayError};

/// Articles of the demo store.
const ARTICLES: [&str; 5] =
    ["]E05449000000996", "]E04000417023001", "]E04000417750006", "]E04000417304001", "]E03017620422003"];
const STORE: &str = "demo-1";
/// Visits at one time.
const AT_ONCE: usize = 3;
/// How long one look for news waits.
pub const LOOK: Duration = Duration::from_secs(1);

/// What the process is told on its command line.
#[derive(Clone)]
pub struct Orders {
    /// The terminal's folder.
    pub data: String,
    /// The enrolment code.
    pub code: String,
    /// Who shops.
    pub user: String,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// How many visits there are to be, over all lives of the process.
    pub trips: usize,
    /// Whether the terminal waits for the disk, as it should.
    pub flush: bool,
}

impl Orders {
    /// The words of a command line, in the order of the fields.
    pub fn to_words(&self) -> Vec<String> {
        let numbers = [self.seed.to_string(), self.trips.to_string(), u8::from(self.flush).to_string()];
        [self.data.clone(), self.code.clone(), self.user.clone()].into_iter().chain(numbers).collect()
    }

    fn from_words(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut next = || words.next().ok_or("a word of the orders is missing");
        let (data, code, user) = (next()?, next()?, next()?);
        let mut number = || {
            let text = next()?;
            text.parse::<u64>().map_err(|e| format!("{text}: {e}"))
        };
        Ok(Self { data, code, user, seed: number()?, trips: number()? as usize, flush: number()? == 1 })
    }
}

/// The process's whole life: shops until it has been told to stop, then waits until everything is settled.
pub fn run() -> Result<(), String> {
    let orders = Orders::from_words(std::env::args().skip(1))?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| format!("no runtime: {e}"))?;
    let (tell, stop) = watch::channel(false);
    std::thread::spawn(move || {
        let mut line = String::new();
        // Its end says the same as a line.
        let _ = std::io::stdin().read_line(&mut line);
        tell.send_replace(true);
    });
    runtime.block_on(live(orders, stop))
}

async fn live(orders: Orders, mut stop: watch::Receiver<bool>) -> Result<(), String> {
    let vault = file_vault(format!("{}/vault", orders.data)).map_err(text)?;
    let folder = format!("{}/terminal", orders.data);
    let config = TerminalConfig { skip_disk_sync: !orders.flush, ..TerminalConfig::new(folder) };
    let terminal = Terminal::open(config, vault).await.map_err(text)?;
    let mut shopper = Shopper { terminal, rng: ChaCha8Rng::seed_from_u64(orders.seed), seen: 0 };
    shopper.be_ready(&orders).await?;
    println!("ready");
    shopper.recall().await?;
    println!("recalled");
    let mut visits = JoinSet::new();
    for known in shopper.terminal.trips().await.map_err(text)? {
        visits.spawn(shopper.fork().visit(known));
    }
    let mut payer = JoinSet::new();
    payer.spawn(shopper.fork().pay(stop.clone()));
    while !*stop.borrow() || !visits.is_empty() {
        let begun = shopper.terminal.trips().await.map_err(text)?.len();
        if !*stop.borrow() && begun < orders.trips && visits.len() < AT_ONCE {
            let store = StoreId::parse(STORE).map_err(text)?;
            let trip = shopper.terminal.start_trip(store, ForwardPolicy::PreferOnline).await.map_err(text)?;
            println!("started {}", trip.id());
            visits.spawn(shopper.fork().visit(trip.state().await.map_err(text)?));
            continue;
        }
        tokio::select! {
            Some(done) = visits.join_next() => done.map_err(text)??,
            Some(done) = payer.join_next() => done.map_err(text)??,
            told = stop.changed(), if !*stop.borrow() => told.map_err(text)?,
            else => {}
        }
    }
    while let Some(done) = payer.join_next().await {
        done.map_err(text)??;
    }
    for known in shopper.terminal.trips().await.map_err(text)? {
        shopper.settle(known).await?;
    }
    println!("recall");
    shopper.recall().await?;
    shopper.terminal.shutdown().await.map_err(text)?;
    println!("settled");
    Ok(())
}

pub struct Shopper {
    pub terminal: Arc<Terminal>,
    pub rng: ChaCha8Rng,
    /// The last event that was looked at. None is acknowledged, so that every visit is kept.
    pub seen: u64,
}

impl Shopper {
    /// Enrolled, signed in, with a catalogue; goes on where an earlier life was interrupted.
    async fn be_ready(&mut self, orders: &Orders) -> Result<(), String> {
        let user = UserName::parse(&orders.user).map_err(text)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_to_be_ready(orders, &user).await {
                Err(WalkpayError::Network { .. } | WalkpayError::Refused { status: 408 | 429 | 500.., .. })
                    if Instant::now() < deadline =>
                {
                    // The merchant may be dead at present.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                done => return done.map_err(text),
            }
        }
    }

    async fn try_to_be_ready(&mut self, orders: &Orders, user: &UserName) -> Result<(), WalkpayError> {
        if self.terminal.users().await?.iter().all(|known| known.user_name != *user) {
            println!("asking enrol");
            self.terminal.enrol(orders.code.clone(), None, None).await?;
            println!("enrolled");
        }
        self.terminal.sign_in(user.clone()).await?;
        let store = StoreId::parse(STORE)?;
        if self.terminal.catalogue_status(store.clone()).await?.is_none() {
            self.terminal.sync_catalogue(store).await?;
        }
        Ok(())
    }

    /// Another one on the same terminal, for a visit of its own.
    fn fork(&mut self) -> Self {
        Self { terminal: self.terminal.clone(), rng: ChaCha8Rng::seed_from_u64(self.rng.random()), seen: self.seen }
    }

    /// Takes a visit from wherever it is to its verdict, or gives it up.
    async fn visit(mut self, known: TripState) -> Result<(), String> {
        let trip = self.terminal.resume_trip(known.trip_id).await.map_err(text)?;
        loop {
            let state = trip.state().await.map_err(text)?;
            if state.cancelled.is_some() || state.cancel_requested.is_some() {
                return Ok(());
            }
            let Some(last) = state.attempts.last() else {
                self.shop(&trip, &state).await?;
                continue;
            };
            if last.validation.is_none() {
                trip.wait_validation(PATIENCE).await.map_err(text)?.ok_or("no verdict")?;
                self.tell_attempts(&trip.state().await.map_err(text)?)?;
                continue;
            }
            match last.validation.as_ref().map(|v| v.verdict) {
                Some(Verdict::Accepted) => return Ok(()),
                Some(Verdict::InsufficientCover) if state.attempts.len() < 3 => self.raise(&trip, &state).await?,
                _ => self.cancel(&trip).await?,
            }
        }
    }

    /// Fills the basket and hands it in, or changes its mind.
    async fn shop(&mut self, trip: &Trip, state: &TripState) -> Result<(), String> {
        if state.holds.is_empty() && self.rng.random_range(0..10) < 7 {
            trip.request_hold(eur(2_000)?).await.map_err(text)?;
            println!("hold {}", state.trip_id);
        }
        if self.rng.random_range(0..10) < 2 {
            return self.cancel(trip).await;
        }
        for _ in 0..self.rng.random_range(1..=3) {
            let code = ARTICLES[self.rng.random_range(0..ARTICLES.len())];
            trip.scan(ScanInput::text(code), None).await.map_err(text)?;
        }
        self.hand_in(trip).await
    }

    async fn hand_in(&mut self, trip: &Trip) -> Result<(), String> {
        let review = trip.review().await.map_err(text)?;
        println!("asking submit {}", trip.id());
        trip.sign_and_submit().await.map_err(text)?;
        let state = trip.state().await.map_err(text)?;
        let last = state.attempts.last().ok_or("the attempt is not there after it was handed in")?;
        if last.total != review.priced.total {
            return Err(format!("{} was signed for {}, shown was {}", trip.id(), last.total, review.priced.total));
        }
        println!("submitted {}/{} {}", trip.id(), last.attempt, last.total.minor);
        Ok(())
    }

    /// Raises the hold by what was missing and hands the basket in again; gives up if the bank does not place it.
    async fn raise(&mut self, trip: &Trip, state: &TripState) -> Result<(), String> {
        let attempt = state.attempts.last().ok_or("nothing was handed in")?;
        let missing = attempt.validation.as_ref().and_then(|v| v.shortfall);
        let missing = missing.ok_or("insufficient cover without a shortfall")?;
        let placed = |h: &HoldFacts| h.status == Some(HoldStatus::Placed);
        // An earlier life may have asked already.
        if state.holds.last().is_none_or(|h| h.seq < attempt.seq) {
            let reserved = state.holds.iter().rev().find(|h| placed(h)).map_or(0, |h| h.amount.minor);
            trip.request_hold(eur(reserved + missing.minor)?).await.map_err(text)?;
            println!("hold {}", state.trip_id);
        }
        let decided = |s: &TripState| {
            s.holds
                .last()
                .is_some_and(|h| h.refused.is_some() || !matches!(h.status, None | Some(HoldStatus::Accepted)))
        };
        let state = self.until(trip, "a raised hold to be decided", decided).await?;
        if state.holds.last().is_some_and(placed) { self.hand_in(trip).await } else { self.cancel(trip).await }
    }

    async fn cancel(&mut self, trip: &Trip) -> Result<(), String> {
        trip.cancel().await.map_err(text)?;
        println!("cancelled {}", trip.id());
        Ok(())
    }

    /// Waits until nothing more is to come for a visit.
    async fn settle(&mut self, known: TripState) -> Result<(), String> {
        self.fork().visit(known.clone()).await?;
        let trip = self.terminal.resume_trip(known.trip_id).await.map_err(text)?;
        self.until(&trip, "a visit to be settled", |s| s.debit.is_some() || s.cancelled.is_some()).await?;
        Ok(())
    }

    /// Looks at a visit after each event until `done`.
    async fn until(&mut self, trip: &Trip, what: &str, done: impl Fn(&TripState) -> bool) -> Result<TripState, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = trip.state().await.map_err(text)?;
            if done(&state) {
                return Ok(state);
            }
            if Instant::now() > deadline {
                return Err(format!("waited in vain for {what}: {state:#?}"));
            }
            if let Some(event) = self.terminal.next_event(self.seen, LOOK).await.map_err(text)? {
                self.seen = event.number;
            }
        }
    }

    /// Says everything that is known of all visits.
    async fn recall(&mut self) -> Result<(), String> {
        for state in self.terminal.trips().await.map_err(text)? {
            println!("started {}", state.trip_id);
            for attempt in &state.attempts {
                println!("submitted {}/{} {}", state.trip_id, attempt.attempt, attempt.total.minor);
            }
            self.tell_attempts(&state)?;
            if state.cancelled.is_some() || state.cancel_requested.is_some() {
                println!("cancelled {}", state.trip_id);
            }
            if let Some(debit) = &state.debit {
                println!("debit {} {:?}/{}", state.trip_id, debit.status, debit.due.minor);
            }
        }
        self.recall_slips().await
    }

    fn tell_attempts(&self, state: &TripState) -> Result<(), String> {
        for attempt in &state.attempts {
            let Some(validation) = &attempt.validation else { continue };
            let limit = |code| matches!(code, ReasonCode::AmountLimit | ReasonCode::CountLimit);
            if validation.verdict == Verdict::Rejected && !validation.reasons.iter().all(|r| limit(r.code)) {
                return Err(format!("an honest basket was rejected: {validation:#?}"));
            }
            println!("verdict {}/{} {:?}", state.trip_id, attempt.attempt, validation.verdict);
        }
        Ok(())
    }
}

fn eur(minor: i64) -> Result<Money, String> {
    Ok(Currency::parse("EUR").map_err(text)?.minor(minor))
}

pub fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}
