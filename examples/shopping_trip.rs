//! A shopping trip from the estimate to the debit: `cargo run --example shopping_trip`, or `-- --help`.
//!
//! Without arguments it starts a merchant and a bank of its own in this process, on loopback ports, with a demo store.

#[path = "support/receipt.rs"]
mod receipt;
#[path = "support/scan_file.rs"]
mod scan_file;

use clap::Parser;
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use mock_merchant::domain::{Caller, Command, Decision};
use mock_merchant::server::{Config, Running, Server};
use scan_file::ScriptedScan;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use walkpay::api::{ExitPassView, Terminal, TerminalConfig, Trip, UserInfo, file_vault};
use walkpay::protocol::document::{DebitResult, HoldStatus, StoreInfo, Validation, Verdict};
use walkpay::session::{ForwardPolicy, HostEvent, HostEventKind};
use walkpay::{Currency, Money, StoreId, UserName, WalkpayError};

/// How long a step waits for the merchant.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long staff may take to look at a basket.
const STAFF_PATIENCE: Duration = Duration::from_secs(600);

/// Goes shopping: enrols a terminal, fetches the catalogue, asks for a hold on the estimate, scans, signs, shows the exit
/// pass, and afterwards learns how the debit went.
///
/// Without --enrol and --merchant it starts a merchant with a demo store and a simulated bank in this process.
#[derive(Parser)]
#[command(after_help = "Examples:
  cargo run --example shopping_trip
      everything in one process
  cargo run --example shopping_trip -- --offline
      the network is cut between signing and submission
  cargo run -p mock-merchant -- serve --listen 127.0.0.1:0 --data shop --demo
      a merchant of its own; it prints an enrolment code CODE for the user alice, and then
  cargo run --example shopping_trip -- --enrol CODE --data phone
      the same trip against it; the next one needs only --data phone")]
struct Args {
    /// Where the merchant is now, if not where the enrolment code says.
    #[arg(long, value_name = "URL")]
    merchant: Option<String>,
    /// The text of an enrolment code of a running merchant.
    #[arg(long, value_name = "CODE")]
    enrol: Option<String>,
    /// Who shops; by default the user who is enrolled.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The store; by default the merchant's first.
    #[arg(long, value_name = "ID")]
    store: Option<String>,
    /// What this visit will cost, in the store's currency: the hold is asked for so much.
    #[arg(long, value_name = "AMOUNT", default_value = "50.00")]
    estimate: String,
    /// What the scanner delivers, line by line; the file says how.
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/trip.scans"))]
    scans: PathBuf,
    /// Where the terminal keeps its journal, keys and catalogue; by default a temporary folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Cuts the network between signing and submission, and shows what waits in the outbox.
    #[arg(long)]
    offline: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(e) => return failed(&format!("no threads: {e}")),
    };
    match runtime.block_on(run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Trouble(text)) => failed(&text),
    }
}

fn failed(text: &str) -> ExitCode {
    eprintln!("\nerror: {text}");
    ExitCode::FAILURE
}

/// Why the trip ended early, in words for the person at the keyboard.
struct Trouble(String);

impl From<WalkpayError> for Trouble {
    fn from(e: WalkpayError) -> Self {
        Self(e.explain())
    }
}

fn trouble(text: impl Into<String>) -> Trouble {
    Trouble(text.into())
}

async fn run(args: Args) -> Result<(), Trouble> {
    let scans = std::fs::read_to_string(&args.scans).map_err(|e| trouble(format!("{}: {e}", args.scans.display())))?;
    let scans = scan_file::parse(&scans).map_err(|e| trouble(format!("{}: {e}", args.scans.display())))?;
    let temporary = tempfile::tempdir().map_err(|e| trouble(format!("no temporary folder: {e}")))?;
    let folder = args.data.clone().unwrap_or_else(|| temporary.path().join("terminal"));
    let enrolled_before = folder.join("journal.sqlite").exists();
    let shop_folder = args.data.clone().unwrap_or_else(|| temporary.path().to_path_buf()).join("merchant");
    let elsewhere = args.merchant.is_some() || args.enrol.is_some() || (enrolled_before && !shop_folder.exists());
    let merchant = if elsewhere { None } else { Some(start_merchant(&shop_folder).await?) };
    let code = match &merchant {
        Some(_) if enrolled_before => None,
        Some(running) => running.demo.as_ref().map(|demo| demo.code.clone()),
        None => args.enrol.clone(),
    };
    let url = merchant.as_ref().map(|running| running.url.clone()).or_else(|| args.merchant.clone());
    let terminal = open(&folder, url).await?;
    let result = shop(&args, &terminal, code, &scans, merchant.as_ref()).await;
    terminal.shutdown().await?;
    if let Some(merchant) = merchant {
        merchant.shutdown().await;
    }
    result
}

async fn start_merchant(data: &Path) -> Result<Running, Trouble> {
    let config = Config { demo: true, ..Config::new(data) };
    let running = Server::start(config).await.map_err(|e| trouble(format!("the merchant did not start: {e}")))?;
    heading("A merchant and a bank, in this process");
    say("merchant", &running.url);
    say("bank", running.bank_url.as_deref().unwrap_or("-"));
    say("database", &data.display().to_string());
    Ok(running)
}

async fn open(folder: &Path, merchant_url: Option<String>) -> Result<Arc<Terminal>, Trouble> {
    let path = |p: PathBuf| p.display().to_string();
    let vault = file_vault(path(folder.join("vault")))?;
    let config = TerminalConfig {
        device_label: "example terminal".into(),
        merchant_url,
        ..TerminalConfig::new(path(folder.to_path_buf()))
    };
    Ok(Terminal::open(config, vault).await?)
}

async fn shop(
    args: &Args,
    terminal: &Arc<Terminal>,
    code: Option<String>,
    scans: &[ScriptedScan],
    merchant: Option<&Running>,
) -> Result<(), Trouble> {
    heading("The terminal");
    let user = sign_in(args, terminal, code).await?;
    say_bank(&user, merchant.is_some());
    let store = find_store(args, &user)?;
    say("store", &format!("{} ({})", store.name, store.store_id));
    sync(terminal, &store.store_id).await?;
    let mut events = Events { terminal: terminal.clone(), seen: terminal.acked_events().await? };

    heading("The estimate (A08 to A10)");
    let policy = if args.offline { ForwardPolicy::PreferOnline } else { ForwardPolicy::OnlineRequired };
    let trip = terminal.start_trip(store.store_id.clone(), policy).await?;
    say("trip", &trip.id().to_string());
    let estimate = amount(&args.estimate, store.currency)?;
    if user.bank_label.is_some() {
        trip.request_hold(estimate).await?;
        events.hold(&trip).await?;
    } else {
        say("hold", "none: no bank account is bound, the stored value must cover the basket");
    }

    heading("Scanning (A01 to A03)");
    scan_all(&trip, scans, &store).await?;

    let validation = sign_until_verdict(args, terminal, &trip, &mut events, merchant).await?;
    if validation.verdict != Verdict::Accepted {
        return Err(trouble("the basket was not accepted: leave the goods with the staff"));
    }

    heading("The exit (A11)");
    let pass = trip.exit_pass().await?;
    show_pass(&pass, args.data.as_deref())?;
    say("exit pass", &format!("{} for {} items, until {}", pass.amount, pass.item_count, pass.expires_at));
    say("", "signed anew every half minute: a screenshot is worthless");
    println!("\n  >>> You may leave. Nobody waits for the bank. <<<");

    heading("The debit, whenever it comes (A07)");
    let debit = events.debit(&trip).await?;
    print!("{}", receipt::debit(&debit));
    terminal.ack_events(events.seen).await?;
    println!();
    Ok(())
}

async fn sign_in(args: &Args, terminal: &Terminal, code: Option<String>) -> Result<UserInfo, Trouble> {
    let enrolled = match code {
        Some(code) => {
            let info = terminal.enrol(code, None, None).await?;
            say(
                "enrolled",
                &format!("{} at {}, device {}", info.user.user_name, info.user.merchant_name, info.user.device_id),
            );
            Some(info.user.user_name)
        }
        None => terminal.users().await?.into_iter().next_back().map(|u| u.user_name),
    };
    let name = match (&args.user, enrolled) {
        (Some(name), _) => UserName::parse(name)?,
        (None, Some(name)) => name,
        (None, None) => return Err(trouble("nobody is enrolled on this terminal: give --enrol CODE")),
    };
    let user = terminal.sign_in(name).await?;
    say("signed in", user.user_name.as_str());
    if !terminal.wait_confirmation(Duration::ZERO).await? {
        say("waiting", "confirm this device at the merchant: mock-merchant device confirm …");
        if !terminal.wait_confirmation(STAFF_PATIENCE).await? {
            return Err(trouble("the device was not confirmed"));
        }
    }
    say("merchant", "has confirmed this device");
    Ok(user)
}

fn say_bank(user: &UserInfo, demo: bool) {
    match (&user.bank_label, &user.bank_confirm_url) {
        (Some(label), Some(_)) if demo => {
            say("bank", &format!("{label}; the demo user has confirmed this device's key to the bank"));
        }
        (Some(label), Some(url)) => {
            say("bank", &format!("{label}; its holder confirms the key of this device, once, at"));
            say("", url);
            say("", &format!("key {}", user.consent_kid));
        }
        _ => say("bank", "no account is bound"),
    }
}

fn find_store(args: &Args, user: &UserInfo) -> Result<StoreInfo, Trouble> {
    let wanted = args.store.as_deref().map(StoreId::parse).transpose()?;
    let mut stores = user.stores.iter();
    let found = stores.find(|s| wanted.as_ref().is_none_or(|w| s.store_id == *w));
    found.cloned().ok_or_else(|| trouble("the merchant has no such store"))
}

async fn sync(terminal: &Terminal, store: &StoreId) -> Result<(), Trouble> {
    let bar = ProgressBar::new(1);
    if let Ok(style) = ProgressStyle::with_template("  {msg:<14} [{bar:30}] {elapsed}") {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.set_message("catalogue");
    bar.enable_steady_tick(Duration::from_millis(100));
    let report = terminal.sync_catalogue(store.clone()).await?;
    bar.inc(1);
    bar.finish_and_clear();
    let status = &report.catalogue;
    let how = match (report.rows, report.delta) {
        (0, _) => "is current".into(),
        (rows, true) => format!("{rows} changes, {} bytes", report.bytes),
        (_, false) => format!("fetched, {} bytes", report.bytes),
    };
    let (articles, revision) = (status.articles, status.header.revision);
    say("catalogue", &format!("{articles} articles, revision {revision}, {how}, good until {}", status.usable_until));
    Ok(())
}

async fn scan_all(trip: &Trip, scans: &[ScriptedScan], store: &StoreInfo) -> Result<(), Trouble> {
    for scan in scans {
        let text = String::from_utf8_lossy(&scan.input.data).into_owned();
        match trip.scan(scan.input.clone(), scan.quantity).await {
            Ok(outcome) => {
                let line = outcome.basket.lines.iter().find(|l| l.line == outcome.line);
                let said = line.map(|l| receipt::scanned(l, store.currency)).unwrap_or_default();
                println!("  {text:<18} {said}");
            }
            Err(WalkpayError::Barcode { detail, .. }) => println!("  {text:<18} ✗ {detail}"),
            Err(e @ (WalkpayError::UnknownArticle { .. } | WalkpayError::BasketRule { .. })) => {
                println!("  {text:<18} ✗ {e}");
            }
            Err(e) => return Err(e.into()),
        }
    }
    let basket = trip.basket().await?;
    println!("\n{}", receipt::basket(&basket));
    Ok(())
}

/// Signs what the shopper confirms. Where hold and stored value do not cover it, the hold is raised and the basket signed again.
async fn sign_until_verdict(
    args: &Args,
    terminal: &Terminal,
    trip: &Trip,
    events: &mut Events,
    merchant: Option<&Running>,
) -> Result<Validation, Trouble> {
    loop {
        heading("Review, signature, validation (A03 to A06)");
        let review = trip.review().await?;
        say("to confirm", &format!("{} for {} items", review.frozen.total, review.frozen.item_count));
        say("digest", &review.frozen.lines_sha256);
        if args.offline {
            terminal.set_network(false).await?;
            say("network", "cut");
        }
        trip.sign_and_submit().await?;
        say("signed", "with the key of this device; the basket is in the outbox");
        if args.offline {
            show_outbox(terminal).await?;
            terminal.set_network(true).await?;
            terminal.forward_now().await?;
            say("network", "back");
        }
        let validation = events.validation(trip, merchant).await?;
        let missing = match (validation.verdict, validation.shortfall) {
            (Verdict::InsufficientCover, Some(missing)) => missing,
            _ => return Ok(validation),
        };
        let held =
            trip.state().await?.holds.iter().rev().find(|h| h.status == Some(HoldStatus::Placed)).map(|h| h.amount);
        let raised = held.unwrap_or(Money::zero(missing.currency)).checked_add(missing)?;
        heading("Raising the hold, with the shopper's consent");
        say("missing", &format!("{missing}: the hold is raised to {raised}"));
        trip.request_hold(raised).await?;
        events.hold(trip).await?;
    }
}

/// In this process nobody stands at the till: what staff would do at `/staff/v1`, or with `mock-merchant staff decide`.
async fn accept_as_staff(merchant: &Running, check: &Validation) -> Result<(), Trouble> {
    let (trip_id, attempt, basket_sha256) = (check.trip_id, check.attempt, check.basket_sha256.clone());
    let decision = Command::Decide(Decision { trip_id, attempt, basket_sha256, accept: true });
    let decided = merchant.app().execute(Caller::Operator, decision).await;
    decided.map_err(|_| trouble("the check could not be decided"))?;
    say("staff", "has looked at it and accepts");
    Ok(())
}

async fn show_outbox(terminal: &Terminal) -> Result<(), Trouble> {
    let outbox = terminal.outbox().await?;
    for item in &outbox.items {
        let amount = item.amount.map(|a| a.to_string()).unwrap_or_default();
        let tries = item.attempts;
        say("outbox", &format!("{:?} {amount}, since {}, failed tries: {tries}", item.kind, item.created_at));
    }
    let amounts: Vec<String> = outbox.totals.amounts.iter().map(ToString::to_string).collect();
    let (count, amounts) = (outbox.totals.count, amounts.join(" + "));
    say("", &format!("{count} waiting, {amounts}; nothing is lost by switching off now"));
    Ok(())
}

/// In the terminal where it is wide enough, and as files where they outlive this program.
fn show_pass(pass: &ExitPassView, folder: Option<&Path>) -> Result<(), Trouble> {
    let columns = Term::stdout().size_checked().map_or(usize::MAX, |(_, columns)| usize::from(columns));
    let needed = receipt::qr_columns(pass);
    if columns >= needed {
        print!("{}", receipt::qr(pass, std::io::stdout().is_terminal()));
    } else {
        let hint = if folder.is_some() { "see the picture" } else { "--data DIR keeps a picture" };
        say("QR code", &format!("needs {needed} columns, this window has {columns}; {hint}"));
    }
    let Some(folder) = folder else { return Ok(()) };
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|e| trouble(format!("{}: {e}", path.display())))?;
        Ok::<_, Trouble>(path)
    };
    say("picture", &write("exit-pass.svg", &receipt::svg(pass))?.display().to_string());
    say("its text", &write("exit-pass.txt", &pass.text)?.display().to_string());
    Ok(())
}

/// The events of the user, in their order: the one path of all results.
struct Events {
    terminal: Arc<Terminal>,
    seen: u64,
}

impl Events {
    async fn next(&mut self, patience: Duration) -> Result<HostEvent, Trouble> {
        let event = self.terminal.next_event(self.seen, patience).await?;
        let event = event.ok_or_else(|| {
            trouble("nothing was heard of the merchant for too long; run it again with the same --data")
        })?;
        self.seen = event.number;
        Ok(event)
    }

    async fn hold(&mut self, trip: &Trip) -> Result<(), Trouble> {
        loop {
            let result = match self.next(PATIENCE).await?.kind {
                HostEventKind::Hold { result } if result.trip_id == trip.id() => result,
                HostEventKind::Refused { refusal, .. } => {
                    return Err(trouble(format!("hold refused: {}", refusal.detail)));
                }
                _ => continue,
            };
            let amount = result.amount;
            match result.status {
                HoldStatus::Accepted => say("hold", &format!("{amount} accepted by the merchant, who asks the bank")),
                HoldStatus::Placed => {
                    say("hold", &format!("{amount} placed by the bank"));
                    return Ok(());
                }
                HoldStatus::Declined => {
                    let reason = result.reason.unwrap_or_else(|| "no reason".into());
                    say("hold", &format!("{amount} declined by the bank ({reason}); stored value may still cover it"));
                    return Ok(());
                }
                other => say("hold", &format!("{amount} {other:?}")),
            }
        }
    }

    async fn validation(&mut self, trip: &Trip, merchant: Option<&Running>) -> Result<Validation, Trouble> {
        let mut patience = PATIENCE;
        loop {
            let validation = match self.next(patience).await?.kind {
                HostEventKind::Validation { result } if result.trip_id == trip.id() => result,
                HostEventKind::Refused { refusal, .. } => return Err(trouble(format!("refused: {}", refusal.detail))),
                _ => continue,
            };
            say("verdict", &format!("{:?} on attempt {}", validation.verdict, validation.attempt));
            for reason in &validation.reasons {
                let line = reason.line.map(|n| format!(" (line {n})")).unwrap_or_default();
                say("", &format!("{:?}{line}: {}", reason.code, reason.detail));
            }
            if validation.verdict != Verdict::CheckRequired {
                return Ok(validation);
            }
            patience = STAFF_PATIENCE;
            match merchant {
                Some(merchant) => accept_as_staff(merchant, &validation).await?,
                None => say(
                    "waiting",
                    &format!("for staff: mock-merchant staff decide {} {} --accept", trip.id(), validation.attempt),
                ),
            }
        }
    }

    async fn debit(&mut self, trip: &Trip) -> Result<DebitResult, Trouble> {
        loop {
            if let HostEventKind::Debit { result } = self.next(PATIENCE).await?.kind
                && result.trip_id == trip.id()
            {
                return Ok(result);
            }
        }
    }
}

/// `50.00`, or just `50`.
fn amount(text: &str, currency: Currency) -> Result<Money, Trouble> {
    let zeros = "0".repeat(currency.digits() as usize);
    let whole = if text.contains('.') || zeros.is_empty() { text.to_owned() } else { format!("{text}.{zeros}") };
    Ok(Money::parse(&whole, currency)?)
}

fn heading(text: &str) {
    println!("\n{text}");
}

fn say(what: &str, text: &str) {
    println!("  {what:<14} {text}");
}
