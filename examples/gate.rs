//! An exit gate on the command line: checks passes without a network and remembers them.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use walkpay::api::{Gate, GateConfig, GateDecision, GateMerchant, PassInfo};
use walkpay::{GateGroup, KeyId, MerchantId, WalkpayError};

/// Checks exit passes without a network and takes each of them once.
///
/// The first call with a folder names merchant, gates and root; later calls with that folder need only --data.
/// Exit codes: 0 the gate opens (or the command succeeded), 1 it stays closed, 2 it could not be decided.
#[derive(Parser)]
#[command(name = "gate")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Check a pass and spend it
    Verify {
        /// The text of the pass's QR code; `-` reads it from standard input
        pass: String,
        #[command(flatten)]
        gate: GateArgs,
    },
    /// Fetch keys and revocations, and tell the merchant which passes were taken in
    Sync {
        #[command(flatten)]
        gate: GateArgs,
    },
    /// Take in keys from a file: the JSON of GET /terminal/v1/keys, the first time with `root_key` beside `key_set`
    LoadKeys {
        file: PathBuf,
        #[command(flatten)]
        gate: GateArgs,
    },
    /// Take in revocations from a file: the JSON of GET /gate/v1/groups/GROUP/revocations
    LoadRevocations {
        file: PathBuf,
        #[command(flatten)]
        gate: GateArgs,
    },
}

/// Which gate.
#[derive(Args)]
pub struct GateArgs {
    /// The folder in which the gate remembers its keys and the passes that it took in
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The merchant's identifier (first call)
    #[arg(long, value_name = "ID")]
    merchant_id: Option<String>,
    /// The gates that share a list of spent passes (first call)
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// The thumbprint of the merchant's root key (first call)
    #[arg(long, value_name = "THUMBPRINT")]
    root: Option<String>,
    /// Where the merchant is, for sync: https://…, or http:// on loopback
    #[arg(long, value_name = "URL")]
    merchant: Option<String>,
    /// The token of the gate group, for sync; without it, WALKPAY_GATE_TOKEN of the environment
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// A file with further root certificates, PEM
    #[arg(long, value_name = "FILE")]
    roots: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("gate: {error}");
            ExitCode::from(2)
        }
    }
}

/// The exit code: 0 open or done, 1 closed.
pub async fn run(command: Command) -> Result<u8, String> {
    let say = |e: WalkpayError| e.explain();
    match command {
        Command::Verify { pass, gate } => {
            let text = if pass == "-" { std::io::read_to_string(std::io::stdin()).map_err(text)? } else { pass };
            let decision = gate.open().await?.verify(text).await.map_err(say)?;
            Ok(show(&decision))
        }
        Command::Sync { gate } => {
            let done = gate.open().await?.sync().await.map_err(say)?;
            println!("key set {}", done.key_set_seq);
            println!("{} passes told, {} of them taken in elsewhere before", done.sent, done.spent_twice);
            println!("{} passes and {} revocations learned", done.learned, done.revoked);
            Ok(0)
        }
        Command::LoadKeys { file, gate } => {
            let json = std::fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            println!("key set {}", gate.open().await?.load_keys(json).await.map_err(say)?);
            Ok(0)
        }
        Command::LoadRevocations { file, gate } => {
            let json = std::fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            println!("{} revocations", gate.open().await?.load_revocations(json).await.map_err(say)?);
            Ok(0)
        }
    }
}

/// Says what the gate does.
fn show(decision: &GateDecision) -> u8 {
    let about = |p: &PassInfo| format!("{} articles, {}, trip {}", p.item_count, p.amount, p.trip_id);
    match decision {
        GateDecision::Open { pass } => {
            println!("open: {}", about(pass));
            return 0;
        }
        GateDecision::AlreadySpent { pass, at } => println!("closed: already spent at {at}: {}", about(pass)),
        GateDecision::Revoked { pass } => println!("closed: revoked: {}", about(pass)),
        GateDecision::Refused { check, detail } => println!("closed: {check}: expected {detail}"),
    }
    1
}

impl GateArgs {
    async fn open(self) -> Result<Arc<Gate>, String> {
        let identity = self.data.join("gate.json");
        let stored: Option<[String; 3]> =
            std::fs::read(&identity).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let part = |given: &Option<String>, at: usize, option: &str| {
            given
                .clone()
                .or_else(|| stored.as_ref().map(|s| s[at].clone()))
                .ok_or_else(|| format!("the first call with a folder needs {option}"))
        };
        let parts = [
            part(&self.merchant_id, 0, "--merchant-id")?,
            part(&self.group, 1, "--group")?,
            part(&self.root, 2, "--root")?,
        ];
        let extra_roots_pem = self.roots.as_ref().map(std::fs::read_to_string).transpose().map_err(text)?;
        let token = self.token.or_else(|| std::env::var("WALKPAY_GATE_TOKEN").ok()).unwrap_or_default();
        let config = GateConfig {
            merchant_id: MerchantId::parse(&parts[0]).map_err(|e| e.explain())?,
            gate_group: GateGroup::parse(&parts[1]).map_err(|e| e.explain())?,
            root_thumbprint: KeyId::parse(&parts[2]).map_err(|e| e.explain())?,
            merchant: self.merchant.map(|url| GateMerchant { url, token, extra_roots_pem, pins: Vec::new() }),
        };
        let folder = self.data.to_str().ok_or("the folder's name is not UTF-8")?.to_owned();
        let gate = Gate::open(folder, config).await.map_err(|e| e.explain())?;
        if stored.is_none() {
            let json = serde_json::to_vec(&parts).map_err(text)?;
            std::fs::write(&identity, json).map_err(text)?;
        }
        Ok(gate)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
