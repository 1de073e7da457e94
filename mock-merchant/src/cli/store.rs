//! `store`, `keys` and `check`.

use super::folder::Open;
use super::{CliError, Common, unexpected};
use crate::domain::{AdminCommand, Answer, Query};
use crate::random;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use walkpay::protocol::document::{KeyUse, StoreInfo};
use walkpay::{Currency, GateGroup, StoreId};

/// Shops.
#[derive(Subcommand)]
pub enum Store {
    /// Add a shop, or change its description; its currency stays.
    Add(Add),
    /// List the shops.
    List,
}

/// A shop.
#[derive(Args)]
pub struct Add {
    /// Its identifier: letters, digits, - _ . (at most 40).
    #[arg(long)]
    id: StoreId,
    /// What shoppers call it.
    #[arg(long)]
    name: String,
    /// The currency of all its prices.
    #[arg(long)]
    currency: Currency,
    /// IANA time zone: business days are counted in it.
    #[arg(long, value_name = "ZONE")]
    time_zone: String,
    /// As printed on receipts.
    #[arg(long)]
    tax_id: String,
    /// The gates that share a list of spent passes; by default those of this shop.
    #[arg(long, value_name = "GROUP")]
    gate_group: Option<GateGroup>,
}

impl Store {
    /// Carries the command out.
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        match self {
            Self::Add(add) => {
                let open = Open::new(common)?;
                let gate_group = match add.gate_group {
                    Some(group) => group,
                    None => GateGroup::parse(add.id.as_str())?,
                };
                open.operator().run(AdminCommand::AddStore(StoreInfo {
                    store_id: add.id,
                    name: add.name,
                    currency: add.currency,
                    time_zone: add.time_zone,
                    tax_id: add.tax_id,
                    gate_group,
                }))?;
            }
            Self::List => match Open::existing(common)?.operator().ask(Query::Stores)? {
                Answer::Stores(stores) => stores.iter().for_each(|s| {
                    println!("{}\t{}\t{}\t{}\tgates {}", s.store_id, s.currency, s.time_zone, s.name, s.gate_group);
                }),
                other => return Err(unexpected(&other)),
            },
        }
        Ok(())
    }
}

/// The merchant's keys.
#[derive(Subcommand)]
pub enum Keys {
    /// Put a new key in the place of one; what the old one signed can still be read. All devices are told.
    Rotate(KeyArgs),
    /// Take every key of a use but the newest out of the key set: what they signed is no longer believed.
    Retire(KeyArgs),
    /// Print the thumbprint of the root, which devices pin, and the number of the key set.
    Show,
}

/// Which key, and where the root is.
#[derive(Args)]
pub struct KeyArgs {
    /// What the key signs.
    #[arg(value_enum)]
    usage: Usage,
    /// The root key, if it is kept elsewhere than in the data folder.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Usage {
    /// Events, validations, debit results.
    Results,
    /// Exit passes.
    Pass,
    /// Catalogue manifests.
    Catalogue,
    /// Staff tokens.
    Staff,
}

impl From<Usage> for KeyUse {
    fn from(usage: Usage) -> Self {
        match usage {
            Usage::Results => Self::Results,
            Usage::Pass => Self::Pass,
            Usage::Catalogue => Self::Catalogue,
            Usage::Staff => Self::Staff,
        }
    }
}

impl Keys {
    /// Carries the command out.
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let open = Open::existing(common)?;
        let operator = open.operator();
        let now = operator.clock.now();
        let mut keys = open.folder.keys()?;
        match self {
            Self::Show => {
                println!("merchant {}\nroot {}\nkey set {}", keys.merchant_id(), keys.root().key_id(), keys.seq());
                return Ok(());
            }
            Self::Rotate(args) => {
                let seed = random::bytes().map_err(|e| CliError::Other(e.to_string()))?;
                keys.rotate(&open.folder.root(args.root.as_deref())?, args.usage.into(), now, || seed)?;
            }
            Self::Retire(args) => keys.retire(&open.folder.root(args.root.as_deref())?, args.usage.into(), now)?,
        }
        keys.save(&open.folder.file("keys.json"))?;
        operator.core.set_keys(keys);
        operator.run(AdminCommand::PublishKeySet)?;
        println!("key set {}", operator.core.keys().seq());
        Ok(())
    }
}

/// Checks the book of the merchant, and that of the simulated bank.
pub fn check(common: &Common) -> Result<ExitCode, CliError> {
    let open = Open::existing(common)?;
    let mut broken = open.operator().violations()?;
    let bank = open.folder.file("bank.db");
    if bank.exists() {
        let failed = |e: crate::bank::BankError| CliError::Other(format!("the simulated bank: {e}"));
        let violations = crate::bank::Bank::open(&bank).and_then(|b| b.violations()).map_err(failed)?;
        broken.extend(violations.into_iter().map(|v| format!("bank: {v}")));
    }
    broken.iter().for_each(|rule| println!("broken: {rule}"));
    if broken.is_empty() {
        println!("every rule holds");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
