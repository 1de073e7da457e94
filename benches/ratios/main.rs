//! Speed, as ratios: what walkpay does against the least that any program would have to do for the same, both sides
//! measured in turns in one run.
//!
//! `cargo bench` runs everything, `cargo bench -- scan` what has `scan` in its name, `--data FILE` takes articles from a
//! file (`gtin,name`, perhaps gzipped) instead of made-up ones, `--rounds N` changes how often each pair is measured.
//! `cargo test` runs each measure once with little data, so that none rots; nothing is timed then.

mod bare;
mod baskets;
mod device;
mod effort;
mod goods;
mod import;
mod load;
mod measure;
mod open;
mod peers;
mod process;
mod roles;
mod scan;
mod service;
mod shop;
mod totals;

use effort::Effort;
use goods::Goods;
use libtest_mimic::{Arguments, Failed, Trial};
use measure::{Measure, Outcome, Table};
use process::ended;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    if let Ok(role) = std::env::var(process::ROLE) {
        return ended(roles::play(&role));
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--bench") {
        return ended(effort::Request::parse(&args).and_then(|request| bench(&request)));
    }
    let trial = |measure: &Measure| {
        let measure = *measure;
        Trial::test(measure.name, move || smoke(&measure).map_err(|e| Failed::from(e.to_string())))
    };
    libtest_mimic::run(&Arguments::from_args(), measures().iter().map(trial).collect()).exit_code()
}

/// Everything that is measured, in the order of the report.
fn measures() -> Vec<Measure> {
    let ours =
        [scan::MEASURES, baskets::MEASURES, service::MEASURES, import::MEASURES, open::MEASURES, totals::MEASURES];
    ours.into_iter().chain([peers::measures()]).flatten().copied().collect()
}

fn bench(request: &effort::Request) -> Outcome<()> {
    let effort = request.effort();
    let goods = Arc::new(match &request.data {
        Some(file) => Goods::read(file, effort.articles)?,
        None => Goods::made(effort.articles)?,
    });
    let mut table = Table::new(&goods);
    for measure in measures().iter().filter(|m| m.name.contains(&request.filter)) {
        eprintln!("measuring {} …", measure.name);
        table.add(measure, (measure.run)(&goods, &effort)?);
    }
    print!("{table}");
    Ok(())
}

/// One measure with little data; what it says about speed is not looked at.
fn smoke(measure: &Measure) -> Outcome<()> {
    let effort = Effort::smoke();
    let goods = Arc::new(Goods::made(effort.articles)?);
    let found = (measure.run)(&goods, &effort)?;
    if found.pairs.is_empty() { Err("nothing was measured".into()) } else { Ok(()) }
}
