//! Benchmarks, fuzzing and sizes: what a change does not need to pass.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::context::Context;
use crate::library;
use crate::run::{command, is_on_path, plain, quiet};

#[derive(Args)]
pub struct BenchArgs {
    /// Also beside other projects' simulated payment servers, in the same run (fetches them).
    #[arg(long)]
    peers: bool,
    /// Articles to measure with instead of made-up ones: `gtin,name` lines below a header, perhaps gzipped.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// How often each pair is measured.
    #[arg(long)]
    rounds: Option<usize>,
    /// Only benchmarks whose name contains this.
    filter: Option<String>,
}

#[derive(Args)]
pub struct FuzzArgs {
    /// How long each target runs, in seconds.
    #[arg(default_value_t = 60)]
    seconds: u64,
    /// Only this target.
    #[arg(long)]
    target: Option<String>,
}

/// Runs `benches/`; `--peers` sets `WALKPAY_PEERS` to the folder with the peers' packages.
///
/// # Errors
/// When a benchmark does not build or fails.
pub fn bench(context: &Context, args: &BenchArgs) -> Result<bool> {
    let mut cargo = command(Context::cargo(), &context.top);
    cargo.args(["bench", "--locked", "--package", "walkpay", "--benches"]);
    if args.peers {
        cargo.env("WALKPAY_PEERS", crate::tools::peers(context)?);
    }
    cargo.arg("--");
    if let Some(data) = &args.data {
        // The benchmarks run in the folder of their package.
        cargo.arg("--data").arg(std::path::absolute(data)?);
    }
    if let Some(rounds) = args.rounds {
        cargo.args(["--rounds", &rounds.to_string()]);
    }
    cargo.args(&args.filter);
    plain(&mut cargo)?;
    Ok(true)
}

/// Runs every target of `fuzz/` for a while; the first finding ends it.
///
/// # Errors
/// When cargo-fuzz is missing or finds something.
pub fn fuzz(context: &Context, args: &FuzzArgs) -> Result<bool> {
    if !is_on_path("cargo-fuzz") {
        bail!("cargo-fuzz is missing: cargo install cargo-fuzz --locked");
    }
    let cargo = || {
        let mut cargo = command(Context::cargo(), &context.top);
        // libFuzzer's instrumentation flags are unstable options of the stable compiler.
        cargo.env("RUSTC_BOOTSTRAP", "1").arg("fuzz");
        cargo
    };
    let listed = quiet(cargo().arg("list"))?;
    let targets: Vec<&str> =
        listed.lines().filter(|name| args.target.as_deref().is_none_or(|wanted| wanted == *name)).collect();
    if targets.is_empty() {
        bail!("no such fuzz target; there are: {}", listed.split_whitespace().collect::<Vec<_>>().join(", "));
    }
    for target in targets {
        let corpus = context.top.join("fuzz/corpus").join(target);
        fs::create_dir_all(&corpus).with_context(|| format!("could not make {}", corpus.display()))?;
        let mut run = cargo();
        run.args(["run", target]).arg(&corpus);
        let seeds = context.top.join("fuzz/seeds").join(target);
        if seeds.is_dir() {
            run.arg(seeds);
        }
        plain(run.args(["--", &format!("-max_total_time={}", args.seconds)]))?;
    }
    Ok(true)
}

/// Prints the size of the library as an app ships it.
///
/// # Errors
/// When it does not build or `strip` is missing.
pub fn size(context: &Context) -> Result<bool> {
    let shared = library::cdylib(context, None, None)?;
    let name = shared.file_name().context("the library has no file name")?;
    let bytes = library::stripped(context, &shared, &context.bindings().join("stripped").join(name))?;
    println!("{} for this machine, stripped: {bytes} bytes ({} KiB)", name.display(), bytes / 1024);
    Ok(true)
}
