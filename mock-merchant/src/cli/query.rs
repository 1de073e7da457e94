//! `query`: what was ordered and paid, as files, and the daily comparison.

use super::folder::Open;
use super::{CliError, Common};
use crate::domain::reconciliation::reconcile;
use crate::domain::{Caller, Filters, Question, groups, word};
use crate::export::{Encoder, Format, Record};
use crate::failure::Failure;
use crate::store::Tx;
use clap::{Args, Subcommand, ValueEnum};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use walkpay::protocol::document::LegState;

/// What was ordered and paid. All of what is asked for must hold; texts and numbers are taken as they are.
#[derive(Subcommand)]
pub enum Query {
    /// List orders, in the order of their numbers.
    Orders {
        #[command(flatten)]
        filters: Box<Filters>,
        #[command(flatten)]
        shown: Shown,
    },
    /// List payments and refunds, in the order of their orders' numbers.
    Payments {
        #[command(flatten)]
        filters: Box<Filters>,
        /// What is known of them: succeeded, pending, unknown, failed.
        #[arg(long, value_name = "STATE", value_parser = word::<LegState>)]
        leg_state: Option<LegState>,
        #[command(flatten)]
        shown: Shown,
    },
    /// Add up what was paid and given back, always split by currency.
    Totals {
        #[command(flatten)]
        filters: Box<Filters>,
        /// Some of method, source, state, case, business_day, currency, with commas between.
        #[arg(long, default_value = "", value_name = "WORDS")]
        group_by: String,
        #[command(flatten)]
        shown: Shown,
    },
    /// Write all of a list into a file, row by row.
    Export {
        /// Which.
        list: List,
        #[command(flatten)]
        filters: Box<Filters>,
        /// Of totals: some of method, source, state, case, business_day, currency, with commas between.
        #[arg(long, default_value = "", value_name = "WORDS")]
        group_by: String,
        /// What it is written in.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// Where to; without it, on standard output. An existing file is replaced.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Compare a business day of the ledger with what channels and bank say of it, as JSON.
    ///
    /// Lists every difference; exit status 1 if there is any.
    Reconcile {
        /// The business day: 2026-01-31.
        day: String,
        /// Whose midnights bound it for receipts and statements; by default those of the first shop.
        #[arg(long, value_name = "NAME")]
        time_zone: Option<String>,
    },
}

/// How a list is shown.
#[derive(Args)]
pub struct Shown {
    /// How many at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// What it is written in.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What can be exported.
#[derive(Clone, Copy, ValueEnum)]
pub enum List {
    /// Orders.
    Orders,
    /// Payments and refunds.
    Payments,
    /// Totals.
    Totals,
}

impl Query {
    /// Carries the command out.
    pub fn run(self, common: &Common) -> Result<ExitCode, CliError> {
        let open = Open::existing(common)?;
        let on_screen = |shown: &Shown| Sheet { to: None, format: shown.format, limit: shown.limit };
        match self {
            Self::Orders { filters, shown } => orders(&open, &filters, on_screen(&shown))?,
            Self::Payments { filters, leg_state, shown } => payments(&open, &filters, leg_state, on_screen(&shown))?,
            Self::Totals { filters, group_by, shown } => totals(&open, &filters, &group_by, on_screen(&shown))?,
            Self::Export { list, filters, group_by, format, output } => {
                let sheet = Sheet { to: output, format, limit: u64::MAX };
                match list {
                    List::Orders => orders(&open, &filters, sheet)?,
                    List::Payments => payments(&open, &filters, None, sheet)?,
                    List::Totals => totals(&open, &filters, &group_by, sheet)?,
                }
            }
            Self::Reconcile { day, time_zone } => {
                let operator = open.operator();
                let compare = |tx: &Tx<'_>| reconcile(tx, &Caller::Operator, &day, time_zone.as_deref());
                let found = Tx::read(operator.connection, compare)?;
                let text = serde_json::to_string_pretty(&found).map_err(|e| CliError::Other(e.to_string()))?;
                println!("{text}");
                if !found.differences.is_empty() {
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn orders(open: &Open, filters: &Filters, sheet: Sheet) -> Result<(), CliError> {
    sheet.write(open, |tx, row| Question::new(tx, &Caller::Operator, filters, None)?.each_order(tx, row))
}

fn payments(open: &Open, filters: &Filters, state: Option<LegState>, sheet: Sheet) -> Result<(), CliError> {
    sheet.write(open, |tx, row| Question::new(tx, &Caller::Operator, filters, state)?.each_payment(tx, row))
}

fn totals(open: &Open, filters: &Filters, group_by: &str, sheet: Sheet) -> Result<(), CliError> {
    let by = groups(group_by)?;
    sheet.write(open, |tx, row| Question::new(tx, &Caller::Operator, filters, None)?.each_total(tx, &by, row))
}

/// Where rows go.
struct Sheet {
    to: Option<PathBuf>,
    format: Format,
    limit: u64,
}

impl Sheet {
    fn write<T: Record>(
        self,
        open: &Open,
        each: impl FnOnce(&Tx<'_>, &mut dyn FnMut(T) -> bool) -> Result<(), Failure>,
    ) -> Result<(), CliError> {
        let path = self.to.clone().unwrap_or_else(|| "standard output".into());
        let failed = |cause| CliError::File { path: path.clone(), cause };
        let mut out: Box<dyn Write> = match &self.to {
            Some(path) => Box::new(BufWriter::new(File::create(path).map_err(failed)?)),
            None => Box::new(BufWriter::new(std::io::stdout().lock())),
        };
        let mut buffer = Vec::new();
        let mut encoder = Encoder::begin::<T>(self.format, &mut buffer);
        let (mut written, mut more, mut trouble) = (0, false, None);
        let mut row = |row: T| {
            more = written == self.limit;
            if more {
                return false;
            }
            written += 1;
            let wrote =
                encoder.row(&row, &mut buffer).map_err(std::io::Error::from).and_then(|()| out.write_all(&buffer));
            buffer.clear();
            trouble = wrote.err();
            trouble.is_none()
        };
        Tx::read(open.operator().connection, |tx| each(tx, &mut row))?;
        if let Some(cause) = trouble {
            return Err(failed(cause));
        }
        encoder.end(&mut buffer);
        out.write_all(&buffer).and_then(|()| out.flush()).map_err(failed)?;
        if more {
            eprintln!("there are more: raise --limit, or use `query export`");
        }
        Ok(())
    }
}
