//! A scan, from the call to the answer.

use crate::effort::Effort;
use crate::goods::Goods;
use crate::measure::{Found, Goal, Measure, Outcome, in_turns, per_step};
use crate::shop::{Shop, scratch, store};
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use walkpay::barcode::ScanInput;
use walkpay::session::ForwardPolicy;

/// Both rows.
pub const MEASURES: &[Measure] = &[
    Measure {
        name: "scan_off",
        ours: "scan → answered, journalled, 100,000-article catalogue, `synchronous=OFF`",
        reference: "the same row inserted and committed with bare rusqlite",
        goal: Goal::AtMost(4.0),
        run: |goods, effort| run(goods, effort, true),
    },
    Measure {
        name: "scan_full",
        ours: "the same with `synchronous=FULL`",
        reference: "the same",
        goal: Goal::AtMost(1.2),
        run: |goods, effort| run(goods, effort, false),
    },
];

/// Each round shops a basket of articles that were not looked up before, then inserts as many rows as this has written, of a visit
/// beforehand: the journal belongs to the terminal alone as long as that is open.
fn run(goods: &Arc<Goods>, effort: &Effort, skip_disk_sync: bool) -> Outcome<Found> {
    let shop = Shop::new(goods)?;
    let steps = effort.repeat;
    let rows = rehearsed(&shop, goods, steps)?;
    let terminal = shop.runtime.block_on(shop.open(skip_disk_sync))?;
    shop.runtime.block_on(terminal.set_network(false))?;
    let folder = scratch()?;
    let bare = bare(&folder.path().join("bare.sqlite"), skip_disk_sync)?;
    let ours = |round: usize| -> Outcome<Duration> {
        let trip = shop.runtime.block_on(terminal.start_trip(store()?, ForwardPolicy::PreferOnline))?;
        let codes: Vec<String> = goods.pieces(round, steps).map(|a| a.gtin.to_string()).collect();
        let took = per_step(steps, || {
            for code in codes {
                shop.runtime.block_on(trip.scan(ScanInput::text(&code), None))?;
            }
            Ok(())
        })?;
        shop.runtime.block_on(trip.cancel())?;
        Ok(took)
    };
    let reference = |_: usize| -> Outcome<Duration> {
        let mut insert = bare.prepare("INSERT INTO event (body) VALUES (?1)")?;
        per_step(steps, || rows.iter().try_for_each(|row| Ok(insert.execute([row]).map(drop)?)))
    };
    let pairs = in_turns(effort.rounds, ours, reference)?;
    shop.runtime.block_on(terminal.shutdown())?;
    Ok(pairs.into())
}

/// An empty database with the table that events are appended to.
pub fn bare(file: &Path, skip_disk_sync: bool) -> Outcome<Connection> {
    let db = Connection::open(file)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", if skip_disk_sync { "OFF" } else { "FULL" })?;
    db.execute_batch("CREATE TABLE IF NOT EXISTS event (seq INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT")?;
    Ok(db)
}

/// The rows that a visit has written to the journal: one for each scan.
fn rehearsed(shop: &Shop, goods: &Goods, steps: usize) -> Outcome<Vec<String>> {
    let codes: Vec<String> = goods.pieces(0, steps).map(|a| a.gtin.to_string()).collect();
    shop.runtime.block_on(async {
        let terminal = shop.open(false).await?;
        terminal.set_network(false).await?;
        let trip = terminal.start_trip(store()?, ForwardPolicy::PreferOnline).await?;
        for code in codes {
            trip.scan(ScanInput::text(&code), None).await?;
        }
        terminal.shutdown().await?;
        Outcome::Ok(())
    })?;
    let rows = last(&Connection::open(shop.journal())?, steps)?;
    if rows.len() != steps || !rows.iter().all(|row| row.contains("line_added")) {
        return Err("the newest rows are not those of the scans".into());
    }
    Ok(rows)
}

/// The newest rows of a journal.
fn last(journal: &Connection, count: usize) -> Outcome<Vec<String>> {
    let mut newest = journal.prepare_cached("SELECT body FROM event ORDER BY seq DESC LIMIT ?1")?;
    let rows = newest.query_map([i64::try_from(count)?], |r| r.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
