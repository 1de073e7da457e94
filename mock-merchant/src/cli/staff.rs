//! `staff`, `gate`, `pass` and `trip`.

use super::folder::Open;
use super::{CliError, Common, refused, unexpected};
use crate::domain::{AdminCommand, Answer, Check, Command, Decision, Query, StaffScopes};
use clap::{Args, Subcommand};
use walkpay::{GateGroup, PassId, StoreId, TripId};

const CHECKS: &str = "`staff list STORE` lists the checks that wait";

/// Members of staff, and the checks that wait for them.
#[derive(Subcommand)]
pub enum Staff {
    /// Print a token for `/staff/v1` of one shop; it is shown once.
    Token {
        /// The shop.
        store: StoreId,
        /// Opaque; kept with decisions: 1 to 40 characters.
        #[arg(long, value_name = "ID")]
        staff: String,
        /// How long it is good for.
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=24))]
        hours: u32,
        /// What it lets them do, separated by spaces: `checks:decide`, `refunds:write`, `query:read`, `messages:read`.
        #[arg(long = "scope", value_name = "WORDS", default_value = "checks:decide refunds:write query:read")]
        scopes: String,
    },
    /// List the checks that wait at a shop.
    List {
        /// The shop.
        store: StoreId,
        /// As JSON, with the lines.
        #[arg(long)]
        json: bool,
    },
    /// Decide a check.
    Decide(Decide),
}

/// A decision.
#[derive(Args)]
#[group(id = "verdict", required = true, multiple = false, args = ["accept", "refuse"])]
pub struct Decide {
    /// The trip.
    trip: TripId,
    /// The attempt.
    attempt: u32,
    /// The shopper may go, cover permitting.
    #[arg(long)]
    accept: bool,
    /// The shopper may not go.
    #[arg(long)]
    refuse: bool,
    /// The basket that was looked at (`basket_sha256` of `staff list --json`); by default the one that waits now.
    #[arg(long, value_name = "DIGEST")]
    basket: Option<String>,
}

impl Staff {
    /// Carries the command out.
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let open = Open::existing(common)?;
        match self {
            Self::Token { store, staff, hours, scopes } => {
                let scopes = StaffScopes::parse(&scopes)?;
                let command = AdminCommand::NewStaffToken { store_id: store, staff_id: staff, hours, scopes };
                match open.operator().run(command)? {
                    Answer::StaffToken(token) => println!("{token}"),
                    other => return Err(unexpected(&other)),
                }
            }
            Self::List { store, json } => {
                let checks = checks(&open, &store)?;
                if json {
                    let text = serde_json::to_string_pretty(&checks).map_err(|e| CliError::Other(e.to_string()))?;
                    println!("{text}");
                    return Ok(());
                }
                for check in checks {
                    let reasons: Vec<String> = check.reasons.iter().map(|r| format!("{:?}", r.code)).collect();
                    println!(
                        "{}\t{}\t{}\t{}\t{}",
                        check.trip_id,
                        check.attempt,
                        check.total,
                        check.recorded_at,
                        reasons.join(",")
                    );
                }
            }
            Self::Decide(decide) => return decide.run(&open),
        }
        Ok(())
    }
}

impl Decide {
    fn run(self, open: &Open) -> Result<(), CliError> {
        let basket_sha256 = match self.basket {
            Some(basket) => basket,
            None => self.waiting_basket(open)?,
        };
        let decision =
            Decision { trip_id: self.trip, attempt: self.attempt, basket_sha256, accept: self.accept && !self.refuse };
        match open.operator().execute(Command::Decide(decision)).map_err(|e| refused(e, CHECKS))? {
            Answer::Decided { verdict } => println!("{verdict:?}"),
            other => return Err(unexpected(&other)),
        }
        Ok(())
    }

    fn waiting_basket(&self, open: &Open) -> Result<String, CliError> {
        match open.operator().ask(Query::Check { trip_id: self.trip, attempt: self.attempt })? {
            Answer::Checks(checks) => match checks.into_iter().next() {
                Some(check) => Ok(check.basket_sha256),
                None => Err(CliError::Other(format!("no such check waits: {CHECKS}"))),
            },
            other => Err(unexpected(&other)),
        }
    }
}

fn checks(open: &Open, store: &StoreId) -> Result<Vec<Check>, CliError> {
    match open.operator().ask(Query::Checks { store_id: store.clone() })? {
        Answer::Checks(checks) => Ok(checks),
        other => Err(unexpected(&other)),
    }
}

/// Gates.
#[derive(Subcommand)]
pub enum Gate {
    /// Print a token for `/gate/v1` of a group of gates; it is shown once and stored hashed.
    Token {
        /// The gates that share a list of spent passes.
        group: GateGroup,
    },
    /// List the tokens of gates: what each is called by, its group, when it was made.
    List,
    /// Take a token back: the gate that has it is a stranger from then on.
    Revoke {
        /// What `gate list` calls it by.
        key: String,
    },
}

impl Gate {
    /// Carries the command out.
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let open = Open::existing(common)?;
        match self {
            Self::Token { group } => match open.operator().run(AdminCommand::NewGateKey(group))? {
                Answer::GateKey(key) => println!("{key}"),
                other => return Err(unexpected(&other)),
            },
            Self::List => match open.operator().ask(Query::GateKeys)? {
                Answer::GateKeys(keys) => keys.iter().for_each(|(key, group, at)| println!("{key}\t{group}\t{at}")),
                other => return Err(unexpected(&other)),
            },
            Self::Revoke { key } => {
                let revoke = AdminCommand::RevokeGateKey(key);
                open.operator().run(revoke).map_err(|e| refused(e, "`gate list` lists the tokens"))?;
            }
        }
        Ok(())
    }
}

/// Exit passes.
#[derive(Subcommand)]
pub enum Pass {
    /// Take a pass back: gates learn of it when they next fetch revocations.
    Revoke {
        /// The pass.
        pass: PassId,
    },
}

impl Pass {
    /// Carries the command out.
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let Self::Revoke { pass } = self;
        Open::existing(common)?.operator().run(AdminCommand::RevokePass(pass))?;
        Ok(())
    }
}

/// Prints what became of a trip's money.
pub fn trip(common: &Common, trip: TripId) -> Result<(), CliError> {
    match Open::existing(common)?.operator().ask(Query::Trip(trip)).map_err(|e| refused(e, "Check the identifier"))? {
        Answer::Trip(report) => {
            let text = serde_json::to_string_pretty(&report).map_err(|e| CliError::Other(e.to_string()))?;
            println!("{text}");
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}
