//! `suspense`.

use super::folder::Open;
use super::{CliError, Common, refused, unexpected};
use crate::domain::{AdminCommand, Answer, Query, SuspenseNumber};
use clap::Subcommand;
use walkpay::ServiceNumber;

const ADVICE: &str = "`suspense list` shows what there is";

/// Money that nothing explains.
#[derive(Subcommand)]
pub enum Suspense {
    /// List what has not come to its end: number, kind, state, amount, when it was found, how often bank or channel was asked to take it back, reference.
    ///
    /// `late` is money that the bank took and nothing explains, `refund` what could not be given back to its payer, `taken_back` what the
    /// bank took back of its own accord and has not made good (negative), `receipt` what a channel has collected when nothing could be paid with it any more.
    List,
    /// Give it back: a late success through the bank and a receipt through its channel, asked anew; what a refund could not give back to its payer's stored value.
    Return {
        /// Its number.
        number: SuspenseNumber,
    },
    /// Pay orders with what a channel has collected: payable ones of the same payer, on no slip, that together owe exactly this.
    Assign {
        /// Its number, such as c7.
        number: SuspenseNumber,
        /// The orders.
        #[arg(required = true)]
        orders: Vec<ServiceNumber>,
    },
    /// Close what was settled by other means: handed out, made good by the bank, or written off.
    Settle {
        /// Its number.
        number: SuspenseNumber,
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
                            row.number, row.kind, row.state, row.amount, row.found_at, row.tries, row.reference
                        );
                    }
                    Ok(())
                }
                other => Err(unexpected(&other)),
            },
            Self::Return { number } => run(AdminCommand::ReturnSuspense(number)),
            Self::Assign { number, orders } => run(AdminCommand::AssignSuspense { suspense: number, orders }),
            Self::Settle { number, note } => run(AdminCommand::SettleSuspense { suspense: number, note }),
        }
    }
}
