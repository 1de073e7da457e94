//! From a terminal that is closed to the answer of its first scan.

use crate::effort::Effort;
use crate::goods::Goods;
use crate::measure::{Found, Goal, Measure, Outcome, in_turns};
use crate::scan::bare;
use crate::shop::{Shop, scratch, store};
use std::sync::Arc;
use std::time::{Duration, Instant};
use walkpay::barcode::ScanInput;
use walkpay::session::ForwardPolicy;

/// The row.
pub const MEASURES: &[Measure] = &[Measure {
    name: "open",
    ours: "open a terminal with that catalogue and answer the first scan",
    reference: "two database opens and two `FULL` commits",
    goal: Goal::AtMost(2.0),
    run,
}];

/// The terminal commits twice as well: the visit that starts, and the scan.
fn run(goods: &Arc<Goods>, effort: &Effort) -> Outcome<Found> {
    let shop = Shop::new(goods)?;
    let folder = scratch()?;
    let files = ["journal", "catalogue"].map(|name| folder.path().join(name));
    let ours = |round: usize| -> Outcome<Duration> {
        let code = goods.pieces(round, 1).next().ok_or("no articles")?.gtin.to_string();
        let store = store()?;
        let start = Instant::now();
        let (terminal, trip) = shop.runtime.block_on(async {
            let terminal = shop.open(false).await?;
            let trip = terminal.start_trip(store, ForwardPolicy::PreferOnline).await?;
            trip.scan(ScanInput::text(&code), None).await?;
            Outcome::Ok((terminal, trip))
        })?;
        let took = start.elapsed();
        shop.runtime.block_on(async {
            trip.cancel().await?;
            terminal.shutdown().await
        })?;
        Ok(took)
    };
    let row = "{}".repeat(200);
    let reference = |_: usize| -> Outcome<Duration> {
        let start = Instant::now();
        let both = [bare(&files[0], false)?, bare(&files[1], false)?];
        for db in &both {
            db.execute("INSERT INTO event (body) VALUES (?1)", [&row])?;
        }
        Ok(start.elapsed())
    };
    Ok(in_turns(effort.rounds, ours, reference)?.into())
}
