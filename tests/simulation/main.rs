//! Terminals, gates, merchant and bank in one thread, with everything going wrong that can: the code that ships, decided by a seed.
//!
//! `WALKPAY_SIM_SEEDS=20000 cargo test --test simulation` runs more seeds, `WALKPAY_SIM_SEED=17 …` replays one.

mod device;
mod shop;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use world::World;

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
}

const STEPS: usize = 285;

fn run(seed: u64, mutation: Option<Mutation>) -> Result<(), String> {
    let mut world = World::new(seed, mutation)?;
    for _ in 0..STEPS {
        world.step()?;
    }
    world.settle()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs seeds on all processors until one fails; the lowest failing one.
fn first_failure(seeds: std::ops::Range<u64>, mutation: Option<Mutation>) -> Option<(u64, String)> {
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
                    if let Err(what) = run(seed, mutation) {
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
    if let Some((seed, what)) = first_failure(seeds, None) {
        panic!("{what}\nreplay: WALKPAY_SIM_SEED={seed} cargo test --test simulation nothing_is_lost");
    }
}

#[test]
fn every_planted_bug_is_caught() {
    for mutation in [
        Mutation::RetryWithNewId,
        Mutation::EffectBeforeJournal,
        Mutation::DoubleRelease,
        Mutation::NewBankReference,
        Mutation::LateSuccessDropped,
        Mutation::GateForgets,
    ] {
        match first_failure(0..400, Some(mutation)) {
            Some((seed, what)) => println!("{mutation:?}: noticed with seed {seed}: {what}"),
            None => panic!("{mutation:?} was not noticed in 400 seeds"),
        }
    }
}
