//! `service`.

use super::folder::Open;
use super::{CliError, Common, refused, unexpected};
use crate::domain::service::{KEY_NAME, Scopes, SourceAdmin, Told};
use crate::domain::{AdminCommand, Answer};
use crate::store::sources::SourceState;
use crate::store::{Tx, sources};
use clap::{Args, Subcommand};
use std::time::Duration;

const ADVICE: &str = "`service list` lists the service systems";

/// Service systems: who may hand in orders at `/service/v1`, and where they are told what becomes of them.
#[derive(Subcommand)]
pub enum Service {
    /// Add a service system.
    Add(Add),
    /// List the service systems and their API keys: id, state, payee, callback address; then each key's name, scopes and state.
    List,
    /// Print a new API key; it is shown once and stored hashed.
    Key {
        /// Whose.
        id: String,
        /// What it may do, separated by spaces: orders:write, orders:read, query:read, webhooks:manage.
        #[arg(long, default_value = "orders:write orders:read query:read webhooks:manage")]
        scopes: String,
    },
    /// Take an API key out of use.
    RevokeKey {
        /// Whose.
        id: String,
        /// The key's name in `service list`, or the key itself.
        key: String,
    },
    /// Set where a service system is told what happens. With the first address, its secret is printed: shown once.
    Callback(Callback),
    /// Print a new secret that webhooks are signed with; it is shown once. Those before it are used beside it for a while.
    Secret {
        /// Whose.
        id: String,
        /// For how many hours messages carry a second signature by the secret before; at most 720.
        #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=720))]
        overlap: u32,
    },
    /// Take a service system out of use: its keys open nothing, it is told nothing. Or back in with --off.
    Disable {
        /// Which.
        id: String,
        /// Back into use.
        #[arg(long)]
        off: bool,
    },
}

/// A new service system.
#[derive(Args)]
pub struct Add {
    /// Its identifier: letters, digits, - _ . (at most 40); no shop has it.
    id: String,
    /// Its name.
    #[arg(long)]
    name: String,
    /// Who is paid when an order names nobody else.
    #[arg(long)]
    payee: String,
    /// IANA time zone: business days are counted in it.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    time_zone: String,
}

/// A callback address.
#[derive(Args)]
pub struct Callback {
    /// Whose.
    id: String,
    /// The address: https, public.
    #[arg(required_unless_present = "none")]
    url: Option<String>,
    /// The address may be a private one, or http on loopback.
    #[arg(long, conflicts_with = "none")]
    allow_private: bool,
    /// No address: it is told nothing any more.
    #[arg(long, conflicts_with = "url")]
    none: bool,
}

impl Service {
    /// Carries the command out.
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let command = match self {
            Self::Add(Add { id, name, payee, time_zone }) => {
                return tell(&Open::new(common)?, SourceAdmin::Add { source_id: id, name, payee, time_zone });
            }
            Self::List => return list(&Open::existing(common)?),
            Self::Key { id, scopes } => SourceAdmin::NewKey { source_id: id, scopes: Scopes::parse(&scopes)? },
            Self::RevokeKey { id, key } => SourceAdmin::RevokeKey { source_id: id, key },
            Self::Callback(Callback { id, url, allow_private, none: _ }) => {
                SourceAdmin::Callback { source_id: id, url, allow_private }
            }
            Self::Secret { id, overlap } => {
                let overlap = Duration::from_secs(u64::from(overlap) * 3600);
                SourceAdmin::NewSecret { source_id: id, overlap }
            }
            Self::Disable { id, off } => SourceAdmin::SetDisabled { source_id: id, disabled: !off },
        };
        tell(&Open::existing(common)?, command)
    }
}

fn tell(open: &Open, command: SourceAdmin) -> Result<(), CliError> {
    match open.operator().run(AdminCommand::Source(command)).map_err(|e| refused(e, ADVICE))? {
        Answer::Told(Told::Nothing) => Ok(()),
        Answer::Told(Told::Secret(secret)) => {
            println!("{secret}");
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}

fn list(open: &Open) -> Result<(), CliError> {
    let operator = open.operator();
    let rows = Tx::read(operator.connection, |tx| {
        let with_keys = sources::all(tx)?.into_iter().map(|s| Ok((sources::keys(tx, s.source)?, s)));
        with_keys.collect::<Result<Vec<_>, crate::failure::Failure>>()
    })?;
    for (keys, source) in rows {
        let state = match (source.state, source.callback_gone) {
            (SourceState::Disabled, _) => "disabled",
            (_, true) => "callback gone",
            _ => "active",
        };
        let callback = source.callback_url.as_deref().unwrap_or("no callback");
        println!("{}\t{state}\t{}\t{}\t{callback}", source.source_id, source.name, source.payee);
        for key in keys {
            let name = key.sha256.get(..KEY_NAME).unwrap_or_default();
            let state = if key.revoked_at.is_some() { "revoked" } else { "in use" };
            println!("  key {name}\t{}\t{state}", key.scopes);
        }
    }
    Ok(())
}
