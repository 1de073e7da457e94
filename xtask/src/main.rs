//! Builds, tests and packages walkpay: `cargo xtask --help`.

mod bindings;
mod cache;
mod context;
mod extra;
mod kotlin;
mod library;
mod licences;
mod package;
mod python;
mod run;
mod snapshot;
mod suite;
mod swift;
mod tally;
mod tools;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use context::Context;

/// Builds, tests and packages walkpay.
#[derive(Parser)]
#[command(name = "cargo xtask", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that a change must pass; the last line counts the tests of all runners.
    Test(suite::TestArgs),
    /// The benchmarks, as ratios in one run.
    Bench(extra::BenchArgs),
    /// Runs every fuzz target for a while, one after the other.
    Fuzz(extra::FuzzArgs),
    /// Generates the sources of the Kotlin, Swift and Python bindings into `target/bindings`.
    Bindings,
    /// Packages for shipping: wheel, Kotlin AAR, Swift XCFramework.
    Package(package::PackageArgs),
    /// The size of the stripped library that apps ship.
    Size,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything that was asked for succeeded; an error is a reason why it could not be tried.
fn run(cli: Cli) -> Result<bool> {
    let context = Context::find()?;
    match cli.command {
        Command::Test(args) => suite::test(&context, &args),
        Command::Bench(args) => extra::bench(&context, &args),
        Command::Fuzz(args) => extra::fuzz(&context, &args),
        Command::Bindings => {
            let library = library::build(&context)?;
            let generated = bindings::generate(&context, &library)?;
            println!("generated into {}", generated.root.display());
            Ok(true)
        }
        Command::Package(args) => package::package(&context, &args),
        Command::Size => extra::size(&context),
    }
}
