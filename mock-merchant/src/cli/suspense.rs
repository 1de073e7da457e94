//! `suspense`.

use super::folder::Open;
use super::{CliError, Common, refused, unexpected};
use crate::domain::{AdminCommand, Answer, Query};
use clap::Subcommand;

const ADVICE: &str = "`suspense list` shows what there is";

/// Money that nothing explains.
#[derive(Subcommand)]
pub enum Suspense {
    /// List what has not come to its end: number, kind, state, amount, when it was found, how often the bank was asked to take it back, reference.
    ///
    /// `late` is money that the bank took and nothing explains, `refund` what could not be given back to its payer, `taken_back` what the
    /// bank took back of its own accord and has not made good (negative).
    List,
    /// Give it back: a late success to the bank, asked anew; what a refund could not give back to its payer's stored value.
    Return {
        /// Its number.
        number: i64,
    },
    /// Close what was settled by other means: handed out, made good by the bank, or written off.
    Settle {
        /// Its number.
        number: i64,
        /// By which means; kept with the books, so nothing personal.
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
}

impl Suspense {
    /// Carries the command out.
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let open = Open::existing(common)?;
        let run = |command| open.operator().run(command).map(drop).map_err(|e| refused(e, ADVICE));
        match self {
            Self::List => match open.operator().ask(Query::Suspense)? {
                Answer::Suspense(rows) => {
                    for row in rows {
                        println!(
                            "{}\t{}\t{}\t{}\t{}\t{}\t{}",
                            row.suspense, row.kind, row.state, row.amount, row.found_at, row.tries, row.reference
                        );
                    }
                    Ok(())
                }
                other => Err(unexpected(&other)),
            },
            Self::Return { number } => run(AdminCommand::ReturnSuspense(number)),
            Self::Settle { number, note } => run(AdminCommand::SettleSuspense { suspense: number, note }),
        }
    }
}
