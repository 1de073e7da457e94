//! `cargo xtask test`: every check in order, with a closing line that counts tests.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::bindings::{self, BUILD, Generated};
use crate::context::Context;
use crate::run::{Outcome, command, stream};
use crate::tally::{Runner, Tally};
use crate::tools::{Prepared, Tools, Wanted};
use crate::{kotlin, library, licences, python, swift};

#[derive(Args)]
pub struct TestArgs {
    /// More seeds and more kills than every change needs (sets WALKPAY_FULL=1 for the tests).
    #[arg(long)]
    full: bool,
    /// Only these parts, in the usual order; may be given several times.
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// `cargo fmt --check`
    Fmt,
    /// `cargo clippy` with every warning an error
    Clippy,
    /// The licence of every package of the dependency graph
    Licences,
    /// `mock-merchant` alone, and the library without the terminal
    Alone,
    /// `cargo test`: units, tidiness, both sides over HTTP, simulation, crashes, documentation examples
    Rust,
    /// `cargo doc` with every warning an error
    Docs,
    /// The fixed vectors against JOSE and HTTP signature implementations that are not ours
    Vectors,
    /// The simulated gateways of payment channels against clients that are not ours
    Channels,
    /// The merchant's HTTP API against its own description
    Schemathesis,
    /// Messages to payers against a mail server, Kannel and a SIP client that are not ours
    Peers,
    /// The public API of each language against its committed snapshot
    Api,
    /// A shopping trip in Kotlin
    Kotlin,
    /// A shopping trip in Swift
    Swift,
    /// A shopping trip in Python
    Python,
}

/// Runs the parts; whether all of them succeeded.
///
/// # Errors
/// Only when the run as a whole cannot go on; a part that cannot be run has failed, and the next one is tried.
pub fn test(context: &Context, args: &TestArgs) -> Result<bool> {
    let parts: Vec<Part> = Part::value_variants()
        .iter()
        .copied()
        .filter(|part| args.only.is_empty() || args.only.contains(part))
        .collect();
    let mut run = Run::new(context, args.full, &parts);
    let start = Instant::now();
    let mut results = Vec::new();
    for part in &parts {
        println!("\n=== {} ===", name(*part));
        let begun = Instant::now();
        let outcome = run.part(*part).unwrap_or_else(|error| {
            println!("error: {error:#}");
            Outcome { success: false, tally: Tally::default() }
        });
        println!("--- {}: {} after {}", name(*part), verdict(outcome), clock(begun.elapsed()));
        results.push((*part, outcome, begun.elapsed()));
    }
    Ok(report(&results, start.elapsed()))
}

/// Prints the table and the closing line.
fn report(results: &[(Part, Outcome, Duration)], took: Duration) -> bool {
    println!("\n=== summary ===");
    let mut total = Tally::default();
    for (part, outcome, elapsed) in results {
        println!(
            "{:<12} {:<6} {:>7} {:>6} tests",
            name(*part),
            verdict(*outcome),
            clock(*elapsed),
            outcome.tally.passed
        );
        total += outcome.tally;
        // A part without tests that failed must show in the count too.
        total.failed += u64::from(!outcome.success && outcome.tally.failed == 0);
    }
    println!("in {}", clock(took));
    println!("{} passed, {} failed", total.passed, total.failed);
    total.failed == 0
}

fn name(part: Part) -> String {
    part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn verdict(outcome: Outcome) -> &'static str {
    if outcome.success { "ok" } else { "FAILED" }
}

fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// What the parts share.
struct Run<'a> {
    context: &'a Context,
    full: bool,
    tools: Tools,
    generated: Option<Generated>,
}

impl<'a> Run<'a> {
    fn new(context: &'a Context, full: bool, parts: &[Part]) -> Self {
        let any = |wanted: &[Part]| parts.iter().any(|part| wanted.contains(part));
        let tools = Tools::start(
            context,
            Wanted {
                node: any(&[Part::Vectors, Part::Channels]),
                python: any(&[Part::Vectors, Part::Channels, Part::Schemathesis, Part::Peers, Part::Api, Part::Python]),
                maven: any(&[Part::Kotlin]),
                swift: any(&[Part::Swift]),
                trace: any(&[Part::Rust]),
                peers: any(&[Part::Peers]),
            },
        );
        Self { context, full, tools, generated: None }
    }

    fn part(&mut self, part: Part) -> Result<Outcome> {
        match part {
            Part::Fmt => self.cargo(&["fmt", "--all", "--check"], Runner::None),
            Part::Clippy => self.cargo(&["clippy", "--locked", "--all-targets", "--", "-D", "warnings"], Runner::None),
            Part::Licences => checked(licences::check(self.context)?),
            Part::Alone => self.all(&[
                &["check", "--locked", "--package", "mock-merchant"],
                &["check", "--locked", "--package", "walkpay", "--lib", "--no-default-features"],
            ]),
            Part::Rust => {
                // The tests start programs of the workspace, which `cargo test` alone does not build.
                let built = self.cargo(BUILD, Runner::None)?;
                ready(self.tools.trace.as_ref())?;
                if built.success {
                    self.cargo(&["test", "--locked", "--no-fail-fast"], Runner::Cargo)
                } else {
                    Ok(built)
                }
            }
            Part::Docs => self.cargo(&["doc", "--locked", "--no-deps"], Runner::None),
            Part::Vectors => self.vectors(),
            Part::Channels => self.channels(),
            Part::Schemathesis => self.schemathesis(),
            Part::Peers => self.peers(),
            Part::Api => self.api(),
            Part::Kotlin => {
                let (generated, merchant) = self.bindings()?;
                ready(self.tools.maven.as_ref())?;
                kotlin::test(self.context, &generated, &merchant)
            }
            Part::Swift => {
                let (generated, merchant) = self.bindings()?;
                swift::test(self.context, &generated, &ready(self.tools.swift.as_ref())?, &merchant)
            }
            Part::Python => {
                let (generated, merchant) = self.bindings()?;
                python::test(self.context, &generated, &ready(self.tools.python.as_ref())?, &merchant)
            }
        }
    }

    fn cargo(&self, args: &[&str], runner: Runner) -> Result<Outcome> {
        let mut cargo = command(Context::cargo(), &self.context.top);
        cargo.args(args).env("RUSTDOCFLAGS", "-D warnings");
        if self.full {
            cargo.env("WALKPAY_FULL", "1");
        }
        stream(&mut cargo, runner)
    }

    fn all(&self, commands: &[&[&str]]) -> Result<Outcome> {
        let mut success = true;
        for args in commands {
            success &= self.cargo(args, Runner::None)?.success;
        }
        checked(success)
    }

    fn vectors(&self) -> Result<Outcome> {
        let node = ready(self.tools.node.as_ref())?;
        let javascript = stream(command("node", &node).args(["--test", "--test-reporter=tap"]), Runner::Node)?;
        let environment = ready(self.tools.python.as_ref())?;
        let python = stream(
            command(environment.join("bin/python"), &self.context.top.join("tests/tools/python"))
                .args(["-m", "pytest", "-p", "no:cacheprovider", "--color=no", "."])
                .env("PYTHONDONTWRITEBYTECODE", "1"),
            Runner::Pytest,
        )?;
        let mut tally = javascript.tally;
        tally += python.tally;
        Ok(Outcome { success: javascript.success && python.success, tally })
    }

    /// Runs the clients of `tests/tools/node/channels` and `tests/tools/channels` against merchants that they start.
    fn channels(&self) -> Result<Outcome> {
        let merchant = bindings::merchant(self.context)?;
        let node = ready(self.tools.node.as_ref())?;
        let mut clients: Vec<_> = fs::read_dir(node.join("channels"))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<_>>()?;
        // What the clients share is no test.
        clients.retain(|path| path.extension().is_some_and(|e| e == "mjs") && !path.ends_with("merchant.mjs"));
        clients.sort();
        let javascript = stream(
            command("node", &node)
                .args(["--test", "--test-reporter=tap"])
                .args(clients)
                .env("WALKPAY_MERCHANT", &merchant),
            Runner::Node,
        )?;
        let environment = ready(self.tools.python.as_ref())?;
        let python = stream(
            command(environment.join("bin/python"), &self.context.top.join("tests/tools/channels"))
                .args(["-m", "pytest", "-p", "no:cacheprovider", "--color=no", "."])
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("WALKPAY_MERCHANT", &merchant),
            Runner::Pytest,
        )?;
        let mut tally = javascript.tally;
        tally += python.tally;
        Ok(Outcome { success: javascript.success && python.success, tally })
    }

    /// Runs `tests/tools/schemathesis` against merchants that it starts; its README says how.
    fn schemathesis(&self) -> Result<Outcome> {
        let merchant = bindings::merchant(self.context)?;
        let environment = ready(self.tools.python.as_ref())?;
        stream(
            command(environment.join("bin/python"), &self.context.top.join("tests/tools/schemathesis"))
                .args(["-m", "pytest", "-p", "no:cacheprovider", "--color=no", "--capture=no", "."])
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("WALKPAY_MERCHANT", merchant),
            Runner::Pytest,
        )
    }

    /// The test binary `peers`, which `cargo test` alone leaves out.
    fn peers(&self) -> Result<Outcome> {
        ready(self.tools.peers.as_ref())?;
        let environment = ready(self.tools.python.as_ref())?;
        let mut cargo = command(Context::cargo(), &self.context.top);
        // Calls and text messages share the machine's sound and ports: a few at one time.
        cargo.args([
            "test",
            "--locked",
            "--no-fail-fast",
            "--package",
            "mock-merchant",
            "--test",
            "peers",
            "--",
            "--test-threads=4",
        ]);
        stream(cargo.env("WALKPAY_PYTHON", environment.join("bin/python")), Runner::Cargo)
    }

    fn api(&mut self) -> Result<Outcome> {
        let generated = self.generated()?;
        let environment = ready(self.tools.python.as_ref())?;
        let kotlin = kotlin::api(self.context, &generated)?;
        let swift = swift::api(self.context, &generated)?;
        let python = python::api(self.context, &generated, &environment)?;
        checked(kotlin && swift && python)
    }

    fn bindings(&mut self) -> Result<(Generated, std::path::PathBuf)> {
        Ok((self.generated()?, bindings::merchant(self.context)?))
    }

    /// The sources of all languages, generated once per run.
    fn generated(&mut self) -> Result<Generated> {
        if let Some(generated) = &self.generated {
            return Ok(generated.clone());
        }
        let generated = bindings::generate(self.context, &library::build(self.context)?)?;
        self.generated = Some(generated.clone());
        Ok(generated)
    }
}

fn ready(prepared: Option<&Prepared>) -> Result<std::path::PathBuf> {
    prepared.context("this part's tools were not asked for")?.wait()
}

/// The outcome of a part that counts no tests.
fn checked(success: bool) -> Result<Outcome> {
    Ok(Outcome { success, tally: Tally::default() })
}
