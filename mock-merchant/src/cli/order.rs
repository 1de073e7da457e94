//! `order`.

use super::folder::Open;
use super::{CliError, Common, refused, unexpected};
use crate::domain::once::IdempotencyKey;
use crate::domain::{Answer, Command, Query, RefundRequest};
use crate::random;
use clap::{Args, Subcommand};
use walkpay::protocol::crypto::{base64url, sha256};
use walkpay::{Currency, Money, ServiceNumber};

/// Service orders.
#[derive(Subcommand)]
pub enum Order {
    /// Give money of a paid order back, channels and bank first, then stored value. Prints the refund as JSON.
    Refund(Refund),
    /// Print the refunds of an order as JSON, the newest last.
    Refunds {
        /// The order: 15 digits.
        order: ServiceNumber,
    },
}

/// What is given back.
#[derive(Args)]
pub struct Refund {
    /// The order: 15 digits.
    order: ServiceNumber,
    /// How much, such as 12.30; by default all that is left.
    #[arg(long, requires = "currency")]
    amount: Option<String>,
    /// The currency of the amount.
    #[arg(long)]
    currency: Option<Currency>,
    /// Only of the legs with this reference.
    #[arg(long)]
    reference: Option<String>,
    /// Makes it happen once: the same command under the same key again does nothing more. By default a new one.
    #[arg(long)]
    key: Option<String>,
}

impl Order {
    /// Carries the command out.
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let open = Open::existing(common)?;
        match self {
            Self::Refund(refund) => refund.run(&open),
            Self::Refunds { order } => {
                match open.operator().ask(Query::Refunds(order)).map_err(|e| refused(e, "Check the number"))? {
                    Answer::Refunds(refunds) => print(&refunds),
                    other => Err(unexpected(&other)),
                }
            }
        }
    }
}

impl Refund {
    fn run(self, open: &Open) -> Result<(), CliError> {
        let amount = match (&self.amount, self.currency) {
            (Some(amount), Some(currency)) => Some(Money::parse(amount, currency)?),
            _ => None,
        };
        let request = RefundRequest { amount, method: None, reference: self.reference };
        let key = match self.key {
            Some(key) => key,
            None => base64url(&random::bytes::<16>().map_err(|e| CliError::Other(e.to_string()))?),
        };
        let key = IdempotencyKey::parse(&key).map_err(|e| refused(e, "Give another key"))?;
        let body = serde_json::to_vec(&request).map_err(|e| CliError::Other(e.to_string()))?;
        let command = Command::Refund { number: self.order, key, body_sha256: sha256(&body), request };
        match open.operator().execute(command).map_err(|e| refused(e, "`order refunds` shows what went back"))? {
            Answer::Reply(reply) => {
                println!("{}", String::from_utf8_lossy(&reply.body));
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }
}

fn print(value: &impl serde::Serialize) -> Result<(), CliError> {
    println!("{}", serde_json::to_string_pretty(value).map_err(|e| CliError::Other(e.to_string()))?);
    Ok(())
}
