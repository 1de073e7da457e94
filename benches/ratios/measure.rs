//! Pairs of times, their ratios, and the table of a run.

use crate::effort::Effort;
use crate::goods::Goods;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The result of anything that can go wrong here.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Measure {
    /// By which it is picked on the command line.
    pub name: &'static str,
    /// What is measured.
    pub ours: &'static str,
    /// Against what.
    pub reference: &'static str,
    /// The ratio to reach.
    pub goal: Goal,
    /// Measures.
    pub run: fn(&Arc<Goods>, &Effort) -> Outcome<Found>,
}

/// What ratio is good enough.
#[derive(Clone, Copy)]
pub enum Goal {
    /// Of times: ours may take so much longer.
    AtMost(f64),
    /// Of rates: ours must reach so much of it.
    AtLeast(f64),
    /// Of rates: only reported.
    Reported,
}

/// What a measure found.
#[derive(Default)]
pub struct Found {
    /// The rounds.
    pub pairs: Vec<Pair>,
    /// What else is to be reported: what it is, and how much.
    pub facts: Vec<(String, String)>,
}

impl From<Vec<Pair>> for Found {
    fn from(pairs: Vec<Pair>) -> Self {
        Self { pairs, facts: Vec::new() }
    }
}

/// One round: what a step took on either side.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// With walkpay.
    pub ours: Duration,
    /// With the least that would do.
    pub reference: Duration,
}

/// Measures both sides in turns; which one is first alternates. Each side gives the time of one step.
pub fn in_turns(
    rounds: usize,
    mut ours: impl FnMut(usize) -> Outcome<Duration>,
    mut reference: impl FnMut(usize) -> Outcome<Duration>,
) -> Outcome<Vec<Pair>> {
    (0..rounds)
        .map(|round| {
            if round % 2 == 0 {
                let ours = ours(round)?;
                Ok(Pair { ours, reference: reference(round)? })
            } else {
                let reference = reference(round)?;
                Ok(Pair { ours: ours(round)?, reference })
            }
        })
        .collect()
}

/// The time of one of `steps` equal steps.
pub fn per_step(steps: usize, work: impl FnOnce() -> Outcome<()>) -> Outcome<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed() / u32::try_from(steps.max(1))?)
}

/// What was found, as a Markdown table.
pub struct Table {
    goods: String,
    rows: Vec<[String; 6]>,
    facts: Vec<(String, String)>,
}

impl Table {
    /// Without rows yet.
    pub fn new(goods: &Goods) -> Self {
        Self {
            goods: format!("{} articles, {}", goods.articles.len(), goods.origin),
            rows: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// Adds what was found for a measure.
    pub fn add(&mut self, measure: &Measure, found: Found) {
        let pairs = found.pairs;
        self.facts.extend(found.facts);
        let rates = !matches!(measure.goal, Goal::AtMost(_));
        let ratio = |p: &Pair| {
            let ratio = p.ours.as_secs_f64() / p.reference.as_secs_f64().max(f64::MIN_POSITIVE);
            if rates { 1.0 / ratio } else { ratio }
        };
        let show = |time: Duration| match rates {
            true => format!("{:.0}/s", 1.0 / time.as_secs_f64().max(f64::MIN_POSITIVE)),
            false => format!("{time:.1?}"),
        };
        let ratios = sorted(pairs.iter().map(ratio).collect());
        let (least, most) = (ratios.first().copied().unwrap_or(0.0), ratios.last().copied().unwrap_or(0.0));
        let middle = median(&ratios);
        let word = |reached| if reached { "reached" } else { "**missed**" };
        let goal = match measure.goal {
            Goal::AtMost(goal) => format!("≤ {goal}× {}", word(middle <= goal)),
            Goal::AtLeast(goal) => format!("≥ {goal}× {}", word(middle >= goal)),
            Goal::Reported => "reported only".to_owned(),
        };
        let of = |side: fn(&Pair) -> Duration| {
            let times = sorted(pairs.iter().map(|p| side(p).as_secs_f64()).collect());
            show(Duration::from_secs_f64(median(&times)))
        };
        self.rows.push([
            measure.ours.to_owned(),
            measure.reference.to_owned(),
            of(|p| p.ours),
            of(|p| p.reference),
            format!("{middle:.2}× ({least:.2}–{most:.2}, {} rounds)", pairs.len()),
            goal,
        ]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}; medians, ratios with their range\n", self.goods)?;
        writeln!(f, "| measure | against | measured | against | ratio | to reach |\n|---|---|---|---|---|---|")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "| {} |", row.join(" | ")))?;
        writeln!(f)?;
        self.facts.iter().try_for_each(|(what, how_much)| writeln!(f, "- {what}: {how_much}"))
    }
}

/// An amount of memory for people.
pub fn mebibytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "not known on this system".to_owned(), |bytes| format!("{} MiB", bytes.div_ceil(1 << 20)))
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}
