//! Counts tests in the output of the runners, as it streams by.

use std::ops::AddAssign;

/// Which closing lines to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// Runs no tests: only the exit code counts.
    None,
    /// `cargo test`: a closing line per test binary.
    Cargo,
    /// Maven Surefire: lines per class, then one for all.
    Surefire,
    /// `swift test`: XCTest and Swift Testing report side by side.
    Swift,
    /// pytest: one closing line.
    Pytest,
    /// `node --test`: one line per kind of outcome.
    Node,
}

/// Tests that passed and failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Reads one runner's output line by line.
#[derive(Debug)]
pub struct Counter {
    runner: Runner,
    /// Closing lines that add up.
    sum: Tally,
    /// A closing line that a later one replaces.
    last: Tally,
}

impl Counter {
    pub fn new(runner: Runner) -> Self {
        Self { runner, sum: Tally::default(), last: Tally::default() }
    }

    /// Takes one line of output, with or without terminal colours.
    pub fn line(&mut self, line: &str) {
        let line = without_colours(line);
        let line = line.trim();
        match self.runner {
            Runner::None => {}
            Runner::Cargo => self.cargo(line),
            Runner::Surefire => self.surefire(line),
            Runner::Swift => self.swift(line),
            Runner::Pytest => self.pytest(line),
            Runner::Node => self.node(line),
        }
    }

    /// What was counted up to here.
    pub fn tally(&self) -> Tally {
        let mut tally = self.sum;
        tally += self.last;
        tally
    }

    fn cargo(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("test result: ") {
            self.sum += Tally {
                passed: number_before(rest, " passed").unwrap_or(0),
                failed: number_before(rest, " failed").unwrap_or(0),
            };
        }
    }

    fn surefire(&mut self, line: &str) {
        if line.contains("Time elapsed") {
            return;
        }
        let Some((_, rest)) = line.split_once("Tests run: ") else {
            return;
        };
        let failed = number_after(rest, "Failures: ").unwrap_or(0) + number_after(rest, "Errors: ").unwrap_or(0);
        let skipped = number_after(rest, "Skipped: ").unwrap_or(0);
        let run = leading_number(rest).unwrap_or(0);
        self.last = Tally { passed: run.saturating_sub(failed + skipped), failed };
    }

    fn swift(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("Executed ") {
            let run = leading_number(rest).unwrap_or(0);
            let failed = number_before(rest, " failure").unwrap_or(0).min(run);
            self.last = Tally { passed: run - failed, failed };
        } else if let Some((_, rest)) = line.split_once("Test run with ") {
            let run = leading_number(rest).unwrap_or(0);
            let failed =
                if rest.contains(" failed ") { number_before(rest, " issue").unwrap_or(1).min(run) } else { 0 };
            self.sum += Tally { passed: run - failed, failed };
        }
    }

    fn pytest(&mut self, line: &str) {
        if !line.contains(" in ") || !line.trim_end_matches(['=', ' ']).ends_with(['s', ')']) {
            return;
        }
        let passed = number_before(line, " passed");
        let failed = number_before(line, " failed");
        let errors = number_before(line, " error");
        if passed.or(failed).or(errors).is_some() {
            self.last = Tally { passed: passed.unwrap_or(0), failed: failed.unwrap_or(0) + errors.unwrap_or(0) };
        }
    }

    fn node(&mut self, line: &str) {
        let line = line.trim_start_matches(['#', 'ℹ', ' ']);
        if let Some(count) = line.strip_prefix("pass ").and_then(|rest| rest.parse().ok()) {
            self.last.passed = count;
        } else if let Some(count) = line.strip_prefix("fail ").and_then(|rest| rest.parse().ok()) {
            self.last.failed = count;
        }
    }
}

fn leading_number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

fn number_after(text: &str, label: &str) -> Option<u64> {
    leading_number(text.split_once(label)?.1)
}

fn number_before(text: &str, label: &str) -> Option<u64> {
    let before = text.split_once(label)?.0;
    let start = before.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    before.get(start..)?.parse().ok()
}

/// The line without `ESC [ … m` sequences.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, tail)| tail);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(runner: Runner, output: &str) -> (u64, u64) {
        let mut counter = Counter::new(runner);
        output.lines().for_each(|line| counter.line(line));
        (counter.tally().passed, counter.tally().failed)
    }

    #[test]
    fn cargo_adds_up_its_binaries() {
        let output = "running 3 tests\n\
            test result: \u{1b}[32mok\u{1b}[0m. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n";
        assert_eq!(count(Runner::Cargo, output), (13, 2));
    }

    #[test]
    fn surefire_counts_the_last_line_only() {
        let output = "[INFO] Tests run: 1, Failures: 0, Errors: 0, Skipped: 0, Time elapsed: 0.080 s -- in ATest\n\
            [ERROR] Tests run: 5, Failures: 1, Errors: 1, Skipped: 1\n";
        assert_eq!(count(Runner::Surefire, output), (2, 2));
    }

    #[test]
    fn swift_adds_both_of_its_runners() {
        let output = "\t Executed 2 tests, with 0 failures (0 unexpected) in 0.1 (0.1) seconds\n\
            \t Executed 3 tests, with 1 failure (0 unexpected) in 0.1 (0.1) seconds\n\
            ✔ Test run with 4 tests passed after 0.001 seconds.\n";
        assert_eq!(count(Runner::Swift, output), (6, 1));
    }

    #[test]
    fn pytest_reads_its_closing_line() {
        let output =
            "2 passed in the first part, said a test\n==== 1 failed, 7 passed, 2 errors in 61.20s (0:01:01) ====\n";
        assert_eq!(count(Runner::Pytest, output), (7, 3));
        assert_eq!(count(Runner::Pytest, "3 passed in 0.31s"), (3, 0));
    }

    #[test]
    fn node_reads_either_reporter() {
        assert_eq!(count(Runner::Node, "# tests 3\n# pass 3\n# fail 0\n"), (3, 0));
        assert_eq!(count(Runner::Node, "ℹ pass 2\nℹ fail 1\n"), (2, 1));
    }
}
