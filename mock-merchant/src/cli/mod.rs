//! The command line.

mod address;
mod catalogue;
mod device;
mod folder;
mod messages;
mod order;
mod query;
mod serve;
mod service;
mod staff;
mod store;
mod suspense;
mod user;

use crate::domain::Answer;
use crate::failure::Failure;
use crate::folder::FolderError;
use crate::notify::settings::SettingsError;
use crate::server::ServerError;
use crate::sim;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use folder::Open;
use std::path::PathBuf;
use std::process::ExitCode;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{MerchantId, UserName, WalkpayError};

/// The merchant side of walkpay: a durable payment system for self-service stores, with a simulated bank.
///
/// Shoppers scan and sign on a device of their own, and leave; the debit follows. `serve` runs the system; the other
/// commands prepare and run a store. They work in the data folder, whether a server is running there or not: SQLite lets one
/// writer in after the other, each waits for its turn up to ten seconds, and a running server notices the change within a
/// fraction of a second. Only one server runs in a folder.
///
/// Logs go to standard error, one JSON object a line; WALKPAY_LOG sets what is told (error, warn, info, debug).
#[derive(Parser)]
#[command(name = "mock-merchant", version, after_long_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Clone)]
struct Common {
    /// The data folder: the merchant's book, its keys, the simulated bank's book.
    #[arg(long, global = true, default_value = "merchant-data", value_name = "DIR")]
    data: PathBuf,
    /// A simulation: faults by name, a clock that can be moved, accounts that behave in a known way.
    ///
    /// Marks a new database for good. A marked one can only be used with --sim, an unmarked one never. Loopback only.
    #[arg(long, global = true)]
    sim: bool,
    /// The merchant's identifier, when the folder is new: letters, digits, - _ . (at most 40).
    #[arg(long, global = true, value_name = "ID")]
    merchant_id: Option<MerchantId>,
    /// The merchant's name, when the folder is new.
    #[arg(long, global = true, value_name = "NAME")]
    merchant_name: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the payment system.
    ///
    /// Prints `listening on URL` on standard output once it answers, and nothing before it. SIGTERM or Ctrl-C end it: waiting
    /// polls are answered, open requests get their time, calls to the bank that have begun are settled. Killing it loses
    /// nothing that was answered.
    Serve(serve::Serve),
    /// Shoppers.
    #[command(subcommand)]
    User(user::User),
    /// Shops.
    #[command(subcommand)]
    Store(store::Store),
    /// Articles and prices.
    #[command(subcommand)]
    Catalogue(catalogue::Catalogue),
    /// Make a one-time code that enrols a device for a user, as text and as a QR code.
    #[command(name = "enrolment-code")]
    EnrolmentCode(EnrolmentCode),
    /// Devices of shoppers.
    #[command(subcommand)]
    Device(device::Device),
    /// Members of staff, and the checks that wait for them.
    #[command(subcommand)]
    Staff(staff::Staff),
    /// Gates.
    #[command(subcommand)]
    Gate(staff::Gate),
    /// Service systems: who may hand in orders, and where they are told what becomes of them.
    #[command(subcommand)]
    Service(service::Service),
    /// The merchant's keys.
    #[command(subcommand)]
    Keys(store::Keys),
    /// Exit passes.
    #[command(subcommand)]
    Pass(staff::Pass),
    /// Service orders: money back.
    #[command(subcommand)]
    Order(order::Order),
    /// Money that nothing explains: what there is, and what becomes of it.
    #[command(subcommand)]
    Suspense(suspense::Suspense),
    /// Messages to payers: what they were told by e-mail, text message and voice, and how messages look.
    Messages(messages::Messages),
    /// What was ordered and paid: lists, totals, files, the daily comparison with channels and bank.
    #[command(subcommand)]
    Query(query::Query),
    /// Say what became of a trip's money, as JSON.
    Trip {
        /// The trip.
        trip: walkpay::TripId,
    },
    /// Check the book: that every rule of money holds. Prints what is broken; exit status 1 if anything is.
    Check,
    /// Print the table of faults and accounts of simulations as Markdown.
    Faults,
    /// Print the OpenAPI document of a server with these options.
    Openapi,
}

#[derive(Args)]
struct EnrolmentCode {
    /// The user whose device it will be.
    user: UserName,
    /// How devices reach the server; by default as the running server of this folder says.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The device needs no further confirmation: for demonstrations only.
    #[arg(long)]
    self_confirming: bool,
    /// Print the text only.
    #[arg(long)]
    no_qr: bool,
}

const EXAMPLES: &str = "\
Examples:
  Try it out (demo store, demo users, a code that a terminal can enrol with at once):
    mock-merchant serve --data /tmp/shop --demo

  A store of one's own:
    mock-merchant --data shop --merchant-id my-shop store add --id berlin-1 --name \"My Shop\" --currency EUR \\
        --time-zone Europe/Berlin --tax-id DE123456789
    mock-merchant --data shop catalogue import articles.csv --store berlin-1
    mock-merchant --data shop user add ann --name \"Ann Example\" --stored-value EUR --simulated-bank 250.00 --pin 2468
    mock-merchant --data shop user top-up ann 30.00 --reference cash-desk-1
    mock-merchant --data shop serve --listen 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem \\
        --public-url https://pay.my-shop.example:8443
    mock-merchant --data shop enrolment-code ann
    mock-merchant --data shop device list ann
    mock-merchant --data shop device confirm DEVICE --bank-pin 2468

  What was paid yesterday by which method, and whether bank and channels agree:
    mock-merchant --data shop query totals --group-by method --day-from 2026-01-30 --day-to 2026-01-30
    mock-merchant --data shop query reconcile 2026-01-30

  A service system that hands in orders, and where it is told what becomes of them:
    mock-merchant --data shop service add delivery --name \"Delivery\" --payee \"My Shop Services\" --time-zone Europe/Berlin
    mock-merchant --data shop service key delivery
    mock-merchant --data shop service callback delivery https://delivery.my-shop.example/webhooks

  How payers are told, and what they were told:
    mock-merchant --data shop user address add ann sms:+49301234567
    mock-merchant --data shop user address settings ann --language zh --quiet 22:00-09:00
    mock-merchant --data shop messages preview --channel sms --language en
    mock-merchant --data shop messages

  Decide a check:
    mock-merchant --data shop staff list berlin-1
    mock-merchant --data shop staff decide TRIP 1 --accept

  Money that a channel has collected when nothing could be paid with it any more:
    mock-merchant --data shop suspense list
    mock-merchant --data shop suspense return c1
    mock-merchant --data shop suspense assign c1 000000000000042
";

/// Why a command failed, for people.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Notify(#[from] SettingsError),
    #[error("{0}")]
    Failure(#[from] Failure),
    #[error("{}", .0.explain())]
    Walkpay(#[from] WalkpayError),
    #[error("{path}: {cause}")]
    File { path: PathBuf, cause: std::io::Error },
    #[error("{0}")]
    Other(String),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let long_help = format!("{EXAMPLES}\nSimulations:\n{}", sim::help());
    let matches = Cli::command().after_long_help(long_help).get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(e) => e.exit(),
    };
    crate::logs::init();
    match run(cli) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let common = &cli.common;
    match cli.command {
        Command::Serve(serve) => serve.run(common)?,
        Command::User(user) => user.run(common)?,
        Command::Store(store) => store.run(common)?,
        Command::Catalogue(catalogue) => catalogue.run(common)?,
        Command::EnrolmentCode(code) => code.run(common)?,
        Command::Device(device) => device.run(common)?,
        Command::Staff(staff) => staff.run(common)?,
        Command::Gate(gate) => gate.run(common)?,
        Command::Service(service) => service.run(common)?,
        Command::Keys(keys) => keys.run(common)?,
        Command::Pass(pass) => pass.run(common)?,
        Command::Order(order) => order.run(common)?,
        Command::Suspense(suspense) => suspense.run(common)?,
        Command::Messages(messages) => messages.run(common)?,
        Command::Query(query) => return query.run(common),
        Command::Trip { trip } => staff::trip(common, trip)?,
        Command::Check => return store::check(common),
        Command::Faults => print!("{}", sim::markdown()),
        Command::Openapi => println!("{}", crate::api::document(common.sim)),
    }
    Ok(ExitCode::SUCCESS)
}

impl EnrolmentCode {
    fn run(self, common: &Common) -> Result<(), CliError> {
        let open = Open::existing(common)?;
        let url = match self.url {
            Some(url) => url,
            None => open.server()?.url,
        };
        let code = crate::demo::enrolment_code(&open.operator(), &self.user, &url, self.self_confirming)?;
        println!("{}", code.to_text());
        if !self.no_qr {
            println!("{}", qr(&code.to_text())?);
        }
        Ok(())
    }
}

/// A QR code (ISO/IEC 18004, level M) in half blocks, dark on light, with its quiet zone.
fn qr(text: &str) -> Result<String, CliError> {
    use qrcodegen::{QrCode, QrCodeEcc};
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).map_err(|e| CliError::Other(format!("QR code: {e}")))?;
    let edge = code.size() + 4;
    let mut drawn = String::new();
    for y in (-4..edge).step_by(2) {
        for x in -4..edge {
            drawn.push(match (code.get_module(x, y), code.get_module(x, y + 1)) {
                (false, false) => '█',
                (false, true) => '▀',
                (true, false) => '▄',
                (true, true) => ' ',
            });
        }
        drawn.push('\n');
    }
    Ok(drawn)
}

/// An answer of another kind than the command asks for.
fn unexpected(answer: &Answer) -> CliError {
    let kind = format!("{answer:?}");
    CliError::Other(format!("unexpected answer: {}", kind.split(['(', ' ', '{']).next().unwrap_or_default()))
}

/// Says what a name that is not known may be.
fn refused(failure: Failure, advice: &str) -> CliError {
    match failure.code() {
        ProblemCode::NotFound => CliError::Other(format!("{failure}. {advice}")),
        _ => failure.into(),
    }
}
