//! `catalogue`.

use super::folder::Open;
use super::{CliError, Common, unexpected};
use crate::domain::csv_import::{
    CsvImportError, CsvProblem, ImportLimits, import_csv, import_promotions, import_tax_groups, import_templates,
};
use crate::domain::demo::StoreCatalogue;
use crate::domain::{AdminCommand, Answer};
use crate::rows;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::path::{Path, PathBuf};
use walkpay::StoreId;

/// Articles and prices.
#[derive(Subcommand)]
pub enum Catalogue {
    /// Make the shop's next catalogue revision from CSV files. All or nothing.
    #[command(after_long_help = COLUMNS)]
    Import(Import),
}

const COLUMNS: &str = "\
Columns of the articles, in any order; the first line names them (UTF-8, RFC 4180):
  gtin          needed: 8, 12, 13 or 14 digits with their check digit; labels with weight or price inside: those digits zeroed
  name          needed: 1 to 120 characters
  price         needed: of a piece or a kilogram, tax included, with exactly the currency's digits: 1.29
  currency      needed: ISO 4217, that of the shop
  unit          needed: piece or kilogram
  department    up to 40 characters
  sale          pieces, shopper_weighed, pre_weighed or price_in_code; default: pieces, for kilograms shopper_weighed
  deposit       GTIN of the deposit article, which must be in the file too
  min_age       age in years
  sale_stopped  true or false
  tax_group     1 to 8 characters, default A

Example:
  gtin,name,price,currency,unit
  4006381333931,Highlighter,1.29,EUR,piece
";

/// Files of a catalogue.
#[derive(Args)]
pub struct Import {
    /// The articles.
    articles: PathBuf,
    /// The shop; needed when there are several.
    #[arg(long, value_name = "STORE")]
    store: Option<StoreId>,
    /// Tax groups: id,name,rate.
    #[arg(long, value_name = "FILE")]
    tax_groups: Option<PathBuf>,
    /// Promotions: id,title,kind,n,price,percent,gtins,from,until.
    #[arg(long, value_name = "FILE")]
    promotions: Option<PathBuf>,
    /// Templates of in-store labels.
    #[arg(long, value_name = "FILE")]
    templates: Option<PathBuf>,
    /// Keep what is not in the files; without it, it goes.
    #[arg(long)]
    keep: bool,
}

impl Catalogue {
    /// Carries the command out.
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let Self::Import(import) = self;
        let open = Open::existing(common)?;
        let store_id = match &import.store {
            Some(store) => store.clone(),
            None => only_store(&open)?,
        };
        let catalogue = import.read()?;
        let count = catalogue.articles.articles.len();
        let ndjson = rows::ndjson(&catalogue)?;
        let bar = ProgressBar::new_spinner().with_message("comparing with the present revision");
        bar.enable_steady_tick(std::time::Duration::from_millis(100));
        let answer = open.operator().run(AdminCommand::ImportCatalogue { store_id, ndjson, replace: !import.keep });
        bar.finish_and_clear();
        match answer? {
            Answer::Imported { revision, changed } => {
                println!("{count} articles read, {changed} rows changed, revision {revision}");
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }
}

impl Import {
    fn read(&self) -> Result<StoreCatalogue, CliError> {
        let limits = ImportLimits::default();
        let articles = parse(&self.articles, |file| import_csv(file, limits))?;
        let currency = articles.currency;
        let optional = |path: &Option<PathBuf>| path.clone();
        Ok(StoreCatalogue {
            tax_groups: match optional(&self.tax_groups) {
                Some(path) => parse(&path, |file| import_tax_groups(file, limits))?,
                None => rows::plain_tax_groups(&articles),
            },
            promotions: match optional(&self.promotions) {
                Some(path) => parse(&path, |file| import_promotions(file, currency, limits))?,
                None => Vec::new(),
            },
            templates: match optional(&self.templates) {
                Some(path) => parse(&path, |file| import_templates(file, limits))?,
                None => Vec::new(),
            },
            articles,
        })
    }
}

/// Reads a file with a progress bar over its bytes.
fn parse<T>(
    path: &Path,
    read: impl FnOnce(indicatif::ProgressBarIter<File>) -> Result<T, CsvImportError>,
) -> Result<T, CliError> {
    let failed = |cause| CliError::File { path: path.to_owned(), cause };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let told = |e: CsvImportError| CliError::Other(format!("{}: {e}", path.display()));
    let limits = ImportLimits::default();
    if length > limits.max_bytes {
        return Err(told(CsvImportError { line: None, problem: CsvProblem::TooLarge(limits.max_bytes) }));
    }
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}") {
        bar.set_style(style);
    }
    bar.set_message(path.display().to_string());
    let result = read(bar.wrap_read(file));
    bar.finish_and_clear();
    result.map_err(told)
}

fn only_store(open: &Open) -> Result<StoreId, CliError> {
    match open.operator().ask(crate::domain::Query::Stores)? {
        Answer::Stores(stores) => match stores.as_slice() {
            [only] => Ok(only.store_id.clone()),
            [] => Err(CliError::Other("there is no shop yet: `store add` adds one".to_owned())),
            _ => Err(CliError::Other("there are several shops: name one with --store".to_owned())),
        },
        other => Err(unexpected(&other)),
    }
}
