//! Terminals, gates, service systems, merchant, bank, payment channels and carriers of notices in one thread, with everything going wrong that can: the code that ships, decided by a seed.
//!
//! `WALKPAY_SIM_SEEDS=20000 cargo test --test simulation` runs more seeds, `WALKPAY_SIM_SEED=17 …` replays one;
//! `WALKPAY_SIM_BUG=GateForgets …` looks for one planted bug.

mod device;
mod lines;
mod payer;
mod service;
mod shop;
mod world;

use mock_merchant::domain;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use walkpay::protocol::document::PaymentMethod;
use world::{WANTED, World};

/// A planted bug: the simulation must notice each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A terminal that hands the same goods in under another trip when an answer is missing.
    RetryWithNewId,
    /// A terminal that acts first and writes its journal later.
    EffectBeforeJournal,
    /// A merchant that releases a hold twice.
    DoubleRelease,
    /// A merchant that makes a new reference for each try at the bank.
    NewBankReference,
    /// A merchant that takes no notice of debits that the bank had refused before.
    LateSuccessDropped,
    /// A gate that is started on an empty memory.
    GateForgets,
    /// A merchant that drops what a channel has collected for a payment that is over.
    PaidAfterExpiryDropped,
    /// A merchant that books a slip again when it is paid over another channel as well.
    TwoChannelsPaid,
    /// A merchant that takes no notice of debits for slips that the bank had refused before.
    LateSlipSuccessIgnored,
    /// A merchant that believes a notification whatever amount it tells of.
    OtherAmountAccepted,
    /// A merchant that sends again what a carrier has taken.
    NoticeTwice,
    /// A merchant that forgets what was on its way to a payer when it died.
    NoticeLost,
}

impl Mutation {
    const ALL: [Self; 12] = [
        Self::RetryWithNewId,
        Self::EffectBeforeJournal,
        Self::DoubleRelease,
        Self::NewBankReference,
        Self::LateSuccessDropped,
        Self::GateForgets,
        Self::PaidAfterExpiryDropped,
        Self::TwoChannelsPaid,
        Self::LateSlipSuccessIgnored,
        Self::OtherAmountAccepted,
        Self::NoticeTwice,
        Self::NoticeLost,
    ];

    /// Whether it can only strike where service orders are paid.
    pub fn is_about_orders(self) -> bool {
        use Mutation::*;
        matches!(
            self,
            PaidAfterExpiryDropped
                | TwoChannelsPaid
                | LateSlipSuccessIgnored
                | OtherAmountAccepted
                | NoticeTwice
                | NoticeLost
        )
    }

    /// The channels that it is planted in, one after the other; nothing: whichever payers take.
    fn channels(self) -> &'static [Option<PaymentMethod>] {
        match self {
            Self::PaidAfterExpiryDropped | Self::TwoChannelsPaid | Self::OtherAmountAccepted => {
                &[Some(PaymentMethod::Test), Some(PaymentMethod::Alipay), Some(PaymentMethod::Tenpay)]
            }
            _ => &[None],
        }
    }

    /// Whether it can only strike where a channel takes money for what has ended.
    pub fn is_about_late_payments(self) -> bool {
        matches!(self, Self::PaidAfterExpiryDropped | Self::TwoChannelsPaid)
    }

    /// The defect in the merchant's rules that it is.
    pub fn in_the_rules(self) -> Option<domain::Mutation> {
        match self {
            Self::PaidAfterExpiryDropped => Some(domain::Mutation::DroppedPaidAfterExpiry),
            Self::TwoChannelsPaid => Some(domain::Mutation::TwoChannelsPaid),
            Self::OtherAmountAccepted => Some(domain::Mutation::OtherAmountAccepted),
            Self::NoticeTwice => Some(domain::Mutation::NoticeTwice),
            Self::NoticeLost => Some(domain::Mutation::NoticeLost),
            _ => None,
        }
    }
}

/// What is particular about a run of worlds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    mutation: Option<Mutation>,
    /// The one channel that payers use, if it is not whichever.
    over: Option<PaymentMethod>,
    /// Whether payers give up payments soon.
    impatient: bool,
}

const STEPS: usize = 285;
/// An order takes more steps to its end than a basket.
const STEPS_WITH_ORDERS: usize = 700;
/// After so many worlds everything has come about that is wanted.
const ENOUGH: u64 = 2_000;
/// One world in so many has service systems and their orders, the others have only shoppers.
const ORDERS_EVERY: u64 = 6;

/// How often each of [`WANTED`] came about, over all worlds: as long as things went wrong, and altogether.
type Reached = [(AtomicI64, AtomicI64); WANTED.len()];

fn nothing() -> Reached {
    std::array::from_fn(|_| Default::default())
}

fn run(seed: u64, plan: Plan, reached: &Reached) -> Result<(), String> {
    let orders = plan.mutation.map_or(seed.is_multiple_of(ORDERS_EVERY), Mutation::is_about_orders);
    let mut world = World::new(seed, plan, orders)?;
    for _ in 0..if orders { STEPS_WITH_ORDERS } else { STEPS } {
        world.step()?;
    }
    if !orders {
        return world.settle();
    }
    let amid = world.reached()?;
    world.settle()?;
    for ((sums, amid), end) in reached.iter().zip(amid).zip(world.reached()?) {
        sums.0.fetch_add(amid, Ordering::Relaxed);
        sums.1.fetch_add(end, Ordering::Relaxed);
    }
    Ok(())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs seeds on all processors until one fails; the lowest failing one.
fn first_failure(seeds: std::ops::Range<u64>, plan: Plan, reached: &Reached) -> Option<(u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let failed = std::sync::Mutex::new(None::<(u64, String)>);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().expect("no panic").is_some() {
                        return;
                    }
                    if let Err(what) = run(seed, plan, reached) {
                        let mut failed = failed.lock().expect("no panic");
                        if failed.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                            *failed = Some((seed, what));
                        }
                    }
                }
            });
        }
    });
    failed.into_inner().expect("no panic")
}

#[test]
fn nothing_is_lost_doubled_or_forged_whatever_goes_wrong() {
    let seeds = match number("WALKPAY_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WALKPAY_SIM_SEEDS").unwrap_or(2_000),
    };
    let (enough, reached) = (seeds.end - seeds.start >= ENOUGH, nothing());
    if let Some((seed, what)) = first_failure(seeds, Plan::default(), &reached) {
        panic!("{what}\nreplay: WALKPAY_SIM_SEED={seed} cargo test --test simulation nothing_is_lost");
    }
    for ((what, _), (amid, end)) in WANTED.iter().zip(reached) {
        let (amid, end) = (amid.into_inner(), end.into_inner());
        println!("{what}: {end}, {amid} of them while things went wrong");
        assert!(end > 0 || !enough, "no world has seen {what}");
    }
}

#[test]
fn every_planted_bug_is_caught() {
    let only = std::env::var("WALKPAY_SIM_BUG").ok();
    for mutation in Mutation::ALL.into_iter().filter(|m| only.as_ref().is_none_or(|name| *name == format!("{m:?}"))) {
        for over in mutation.channels() {
            let plan = Plan { mutation: Some(mutation), over: *over, ..Plan::default() };
            match first_failure(0..400, plan, &nothing()) {
                Some((seed, what)) => println!("{plan:?}: noticed with seed {seed}: {what}"),
                None => panic!("{plan:?} was not noticed in 400 seeds"),
            }
        }
    }
}
