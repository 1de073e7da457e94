//! How much is measured, and what the command line asks for.

use crate::measure::Outcome;
use std::path::PathBuf;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How many articles the catalogue has.
    pub articles: usize,
    /// How often a pair is measured.
    pub rounds: usize,
    /// How often a pair is measured that takes a second or more.
    pub long_rounds: usize,
    /// Repetitions of one step within a round.
    pub repeat: usize,
}

impl Effort {
    /// As little as runs every line.
    pub fn smoke() -> Self {
        Self { articles: 300, rounds: 1, long_rounds: 1, repeat: 2 }
    }
}

/// What the command line asks for.
#[derive(Debug, Default)]
pub struct Request {
    /// Only measures whose name contains this.
    pub filter: String,
    /// Articles to use instead of made-up ones.
    pub data: Option<PathBuf>,
    rounds: Option<usize>,
}

impl Request {
    /// Reads the arguments.
    pub fn parse(args: &[String]) -> Outcome<Self> {
        let mut request = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--bench" => {}
                "--data" => request.data = Some(PathBuf::from(value()?)),
                "--rounds" => request.rounds = Some(value()?.parse::<usize>()?.max(1)),
                flag if flag.starts_with('-') => return Err(format!("{flag} is not known").into()),
                name => name.clone_into(&mut request.filter),
            }
        }
        Ok(request)
    }

    /// How much is measured.
    pub fn effort(&self) -> Effort {
        let rounds = self.rounds.unwrap_or(40);
        Effort { articles: 100_000, rounds, long_rounds: (rounds / 5).clamp(1, 11), repeat: 50 }
    }
}
