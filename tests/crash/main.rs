//! Real processes, killed at random moments; then the files on disk must tell one story.
//!
//! SIGKILL does not test the disk: that answers leave only after the data was handed to it is read from a trace of the
//! processes' system calls.

mod books;
mod desk;
mod merchant;
mod payer;
mod process;
mod shopper;
mod trace;

use books::Facts;
use desk::Desk;
use libtest_mimic::{Arguments, Failed, Trial};
use merchant::Merchant;
use process::{PATIENCE, Process, ROLE};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shopper::Orders;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Kills in every run, and with `WALKPAY_FULL`.
const KILLS: usize = 40;
const KILLS_FULL: usize = 200;
/// Visits over all lives; more than a day's limit of accepted purchases, so that some are rejected.
const TRIPS: usize = 26;

fn main() -> ExitCode {
    match std::env::var(ROLE).as_deref() {
        Ok("merchant") => mock_merchant::cli::main(),
        Ok("shopper") => match shopper::run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("{e}");
                ExitCode::FAILURE
            }
        },
        Ok(role) => {
            eprintln!("{ROLE}: merchant or shopper, not {role}");
            ExitCode::FAILURE
        }
        Err(_) => {
            let trials = vec![
                Trial::test("kills_on_both_sides_lose_nothing_and_double_nothing", || failed(kills())),
                Trial::test("answers_leave_after_the_data_was_handed_to_the_disk", || failed(trace::run())),
            ];
            libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
        }
    }
}

fn failed(result: Result<(), String>) -> Result<(), Failed> {
    result.map_err(Failed::from)
}

fn kills() -> Result<(), String> {
    let kills = if std::env::var_os("WALKPAY_FULL").is_some() { KILLS_FULL } else { KILLS };
    let seed = match std::env::var("WALKPAY_SEED") {
        Ok(text) => text.parse().map_err(|e| format!("WALKPAY_SEED: {e}"))?,
        Err(_) => rand::random(),
    };
    let folder = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
    kill_and_compare(folder.path(), seed, kills).map_err(|e| {
        let kept = folder.keep();
        format!("with WALKPAY_SEED={seed} (moments of kills vary all the same): {e}\nfiles: {}", kept.display())
    })
}

fn kill_and_compare(folder: &Path, seed: u64, kills: usize) -> Result<(), String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut merchant = Merchant::start(folder, &[])?;
    let desk = Desk::open(&merchant)?;
    let orders = Orders {
        data: folder.join("shopper").display().to_string(),
        code: merchant.code.clone(),
        user: merchant.user.clone(),
        seed,
        trips: TRIPS,
        flush: true,
    };
    let log = folder.join("shopper.log");
    let start = |life: u64| {
        let orders = Orders { seed: seed.wrapping_add(life), ..orders.clone() };
        Process::start("shopper", &[], &orders.to_words(), &log)
    };
    let mut shopper = start(0)?;
    let mut facts = Facts::default();
    let (merchant_db, bank_db) = merchant.files();
    for kill in 1..=kills {
        // Some lives end while they begin; the others after a number of steps and a little while.
        if rng.random_range(0..4) > 0 {
            shopper.watch("recalled", rng.random_range(1..10), Duration::from_secs(3))?;
        }
        shopper.watch("", usize::MAX, Duration::from_millis(rng.random_range(1..200)))?;
        let whom = rng.random_range(0..10);
        if whom < 6 {
            merchant.kill()?;
            books::always(&merchant_db, &bank_db).map_err(|e| format!("after kill {kill}: {e}"))?;
        }
        if whom >= 4 {
            facts.take(&shopper.kill()?)?;
            shopper = start(kill as u64)?;
        }
        if whom < 6 {
            merchant.revive(&[])?;
        }
    }
    // What is still to be handed in is paid as well, by those who live now.
    let told = desk.close()?;
    shopper.tell("stop")?;
    shopper.wait_for("recall")?;
    facts.take(&shopper.said)?;
    shopper.said.clear();
    let mut last = Facts::default();
    last.take(&shopper.finish()?)?;
    facts.still_known(&last)?;

    // The merchant may still have to release holds and to read the bank's statement.
    let deadline = Instant::now() + PATIENCE;
    while let Err(e) = books::at_rest(&merchant_db, &bank_db, &last, &told) {
        if Instant::now() > deadline {
            return Err(format!("no rest: {e}"));
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
    merchant.terminate()?;
    books::at_rest(&merchant_db, &bank_db, &last, &told)?;
    last.busy()
}
