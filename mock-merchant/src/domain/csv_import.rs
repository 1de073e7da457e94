//! Catalogues from CSV files: all or nothing, every refusal with its line and what to do.
//!
//! Articles: a header line, then one article per line, comma-separated, UTF-8, quotes as in RFC 4180.
//!
//! | column | needed | content |
//! |---|---|---|
//! | `gtin` | yes | 8, 12, 13 or 14 digits; for labels with weight or price inside, the code with these digits zeroed |
//! | `name` | yes | 1 to 120 characters |
//! | `price` | yes | of a piece or a kilogram, tax included, with exactly the currency's digits: `1.29` |
//! | `currency` | yes | ISO 4217, the same in every line |
//! | `unit` | yes | `piece` or `kilogram` |
//! | `department` | | up to 40 characters |
//! | `sale` | | `pieces`, `shopper_weighed`, `pre_weighed` or `price_in_code`; default: `pieces`, for kilograms `shopper_weighed` |
//! | `deposit` | | GTIN of the deposit article, which must be in the file too |
//! | `min_age` | | age in years, 1 to 99 |
//! | `sale_stopped` | | `true` or `false` (default) |
//! | `tax_group` | | 1 to 8 characters, default `A` |

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use walkpay::barcode::{BarcodeTemplate, Gtin, ValueKind};
use walkpay::catalogue::{Article, PriceUnit, Promotion, PromotionKind, SaleKind, TaxGroup};
use walkpay::{Currency, Money, Timestamp, WalkpayError};

/// What an import may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportLimits {
    /// Bytes of the file.
    pub max_bytes: u64,
    /// Lines of data.
    pub max_rows: usize,
}

impl Default for ImportLimits {
    /// 256 MiB and a million lines.
    fn default() -> Self {
        Self { max_bytes: 256 * 1024 * 1024, max_rows: 1_000_000 }
    }
}

/// The articles of one file, checked: no GTIN twice, one currency, every deposit among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedCatalogue {
    /// The currency of all prices.
    pub currency: Currency,
    /// The articles in the order of the file.
    pub articles: Vec<Article>,
}

/// Why a file was not taken. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvImportError {
    /// The line, from 1, where there is one.
    pub line: Option<u64>,
    /// What is wrong.
    pub problem: CsvProblem,
}

/// What can be wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CsvProblem {
    /// The file could not be read.
    Unreadable(String),
    /// More bytes than the limit.
    TooLarge(u64),
    /// More lines of data than the limit.
    TooManyRows(usize),
    /// Not UTF-8.
    NotUtf8,
    /// No header, or no line of data.
    Empty,
    /// The header lacks this column.
    MissingColumn(&'static str),
    /// The header has a column that is not known, or twice.
    UnexpectedColumn(String),
    /// More or fewer fields than the header.
    FieldCount {
        /// As many as the header has.
        expected: u64,
        /// As many as the line has.
        got: u64,
    },
    /// A field is not what it must be.
    Field {
        /// Its column.
        column: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Another currency than that of the first line.
    MixedCurrencies {
        /// That of the first line.
        expected: String,
        /// That of this line.
        got: String,
    },
    /// The key of this line has been there.
    Duplicate {
        /// The key.
        key: String,
        /// The line where it was first.
        first_line: u64,
    },
    /// A deposit article that is not in the file.
    UnknownDeposit(Gtin),
}

impl CsvImportError {
    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match &self.problem {
            CsvProblem::Unreadable(_) => "Check the path and its permissions.",
            CsvProblem::TooLarge(_) | CsvProblem::TooManyRows(_) => {
                "Split the file, or check that it is the right one."
            }
            CsvProblem::NotUtf8 => "Save the file as UTF-8.",
            CsvProblem::Empty => "The file needs a header and at least one line.",
            CsvProblem::MissingColumn(_) | CsvProblem::UnexpectedColumn(_) => {
                "Correct the header; the columns are in the documentation of the import."
            }
            CsvProblem::FieldCount { .. } => "Quote fields that contain commas, and give every line all columns.",
            CsvProblem::Field { .. } => "Correct the field.",
            CsvProblem::MixedCurrencies { .. } => "A store has one currency: import one file per store.",
            CsvProblem::Duplicate { .. } => "Keep one of the two lines.",
            CsvProblem::UnknownDeposit(_) => "Add the deposit article to the file.",
        }
    }

    fn at(line: u64, problem: CsvProblem) -> Self {
        Self { line: Some(line), problem }
    }

    fn whole(problem: CsvProblem) -> Self {
        Self { line: None, problem }
    }
}

impl fmt::Display for CsvImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        match &self.problem {
            CsvProblem::Unreadable(why) => write!(f, "the file cannot be read: {why}"),
            CsvProblem::TooLarge(limit) => write!(f, "the file has more than {limit} bytes"),
            CsvProblem::TooManyRows(limit) => write!(f, "the file has more than {limit} lines"),
            CsvProblem::NotUtf8 => f.write_str("the text is not UTF-8"),
            CsvProblem::Empty => f.write_str("the file holds no data"),
            CsvProblem::MissingColumn(name) => write!(f, "the column {name} is missing"),
            CsvProblem::UnexpectedColumn(name) => write!(f, "the column {name:?} is not known or there twice"),
            CsvProblem::FieldCount { expected, got } => write!(f, "expected {expected} fields, got {got}"),
            CsvProblem::Field { column, detail } => write!(f, "{column}: {detail}"),
            CsvProblem::MixedCurrencies { expected, got } => write!(f, "expected prices in {expected}, got {got}"),
            CsvProblem::Duplicate { key, first_line } => write!(f, "{key} is already in line {first_line}"),
            CsvProblem::UnknownDeposit(gtin) => write!(f, "the deposit article {gtin} is not in the file"),
        }?;
        write!(f, ". {}", self.advice())
    }
}

impl std::error::Error for CsvImportError {}

/// Reads a file of articles.
///
/// # Errors
/// [`CsvImportError`], for the first thing that is wrong.
pub fn import_csv(reader: impl Read, limits: ImportLimits) -> Result<ImportedCatalogue, CsvImportError> {
    let mut currency: Option<Currency> = None;
    let mut lines: HashMap<Gtin, u64> = HashMap::new();
    let mut articles = Vec::new();
    let needed = ["gtin", "name", "price", "currency", "unit"];
    let optional = ["department", "sale", "deposit", "min_age", "sale_stopped", "tax_group"];
    read_table(reader, limits, &needed, &optional, |row| {
        let here = row.parsed("currency", Currency::parse)?;
        let first = *currency.get_or_insert(here);
        if here != first {
            let (expected, got) = (first.to_string(), here.to_string());
            return Err(row.error(CsvProblem::MixedCurrencies { expected, got }));
        }
        let article = article(row, first)?;
        if let Some(first_line) = lines.insert(article.gtin, row.line) {
            return Err(row.error(CsvProblem::Duplicate { key: article.gtin.to_string(), first_line }));
        }
        articles.push(article);
        Ok(())
    })?;
    for article in &articles {
        if let Some(deposit) = article.deposit.filter(|d| !lines.contains_key(d)) {
            let line = lines.get(&article.gtin).copied();
            return Err(CsvImportError { line, problem: CsvProblem::UnknownDeposit(deposit) });
        }
    }
    let currency = currency.ok_or(CsvImportError::whole(CsvProblem::Empty))?;
    Ok(ImportedCatalogue { currency, articles })
}

/// Reads a file of tax groups: `id,name,rate` (percent).
///
/// # Errors
/// [`CsvImportError`], for the first thing that is wrong.
pub fn import_tax_groups(reader: impl Read, limits: ImportLimits) -> Result<Vec<TaxGroup>, CsvImportError> {
    let mut groups = Vec::new();
    let mut ids = Ids::default();
    read_table(reader, limits, &["id", "name", "rate"], &[], |row| {
        let rate = row.parsed("rate", |text| decimal("rate", text))?;
        let group = TaxGroup { id: ids.new_id(row)?, name: row.get("name").to_owned(), rate };
        row.checked(group.check())?;
        groups.push(group);
        Ok(())
    })?;
    Ok(groups)
}

/// Reads a file of promotions: `id,title,kind,n,price,percent,gtins,from,until`; `kind` is `n_for_price` (with `n` and
/// `price`) or `percent_off` (with `percent`), `gtins` are separated by blanks, `from` and `until` are RFC 3339 in UTC or empty.
///
/// # Errors
/// [`CsvImportError`], for the first thing that is wrong.
pub fn import_promotions(
    reader: impl Read,
    currency: Currency,
    limits: ImportLimits,
) -> Result<Vec<Promotion>, CsvImportError> {
    let mut promotions = Vec::new();
    let mut ids = Ids::default();
    let needed = ["id", "title", "kind", "gtins"];
    read_table(reader, limits, &needed, &["n", "price", "percent", "from", "until"], |row| {
        let kind = match row.get("kind") {
            "n_for_price" => PromotionKind::NForPrice {
                n: row.parsed("n", |text| number("n", text))?,
                price_minor: row.parsed("price", |text| Money::parse(text, currency))?.minor,
            },
            "percent_off" => {
                PromotionKind::PercentOff { percent: row.parsed("percent", |text| decimal("percent", text))? }
            }
            other => return Err(row.field("kind", format!("expected n_for_price or percent_off, got {other:?}"))),
        };
        let gtins = row.parsed("gtins", |text| text.split_whitespace().map(Gtin::parse).collect())?;
        let promotion = Promotion {
            id: ids.new_id(row)?,
            title: row.get("title").to_owned(),
            kind,
            gtins,
            from: row.optional("from", Timestamp::parse)?,
            until: row.optional("until", Timestamp::parse)?,
        };
        row.checked(promotion.check())?;
        promotions.push(promotion);
        Ok(())
    })?;
    Ok(promotions)
}

/// Reads a file of in-store code templates; the columns are the members of [`BarcodeTemplate`].
///
/// # Errors
/// [`CsvImportError`], for the first thing that is wrong.
pub fn import_templates(reader: impl Read, limits: ImportLimits) -> Result<Vec<BarcodeTemplate>, CsvImportError> {
    let mut templates = Vec::new();
    let mut ids = Ids::default();
    let needed = [
        "id",
        "prefix_from",
        "prefix_to",
        "value_position",
        "value_digits",
        "kind",
        "value_unit",
        "min_value",
        "max_value",
    ];
    read_table(reader, limits, &needed, &["inner_check_position"], |row| {
        let template = BarcodeTemplate {
            id: ids.new_id(row)?,
            prefix_from: row.get("prefix_from").to_owned(),
            prefix_to: row.get("prefix_to").to_owned(),
            value_position: row.parsed("value_position", |text| number("value_position", text))?,
            value_digits: row.parsed("value_digits", |text| number("value_digits", text))?,
            kind: match row.get("kind") {
                "price" => ValueKind::Price,
                "weight" => ValueKind::Weight,
                other => return Err(row.field("kind", format!("expected price or weight, got {other:?}"))),
            },
            value_unit: row.parsed("value_unit", |text| number("value_unit", text))?,
            inner_check_position: row.optional("inner_check_position", |text| number("inner_check_position", text))?,
            min_value: row.parsed("min_value", |text| number("min_value", text))?,
            max_value: row.parsed("max_value", |text| number("max_value", text))?,
        };
        row.checked(template.check())?;
        templates.push(template);
        Ok(())
    })?;
    Ok(templates)
}

fn article(row: &Row<'_>, currency: Currency) -> Result<Article, CsvImportError> {
    let unit = match row.get("unit") {
        "piece" => PriceUnit::Piece,
        "kilogram" => PriceUnit::Kilogram,
        other => return Err(row.field("unit", format!("expected piece or kilogram, got {other:?}"))),
    };
    let sale = match (row.get("sale"), unit) {
        ("pieces", _) | ("", PriceUnit::Piece) => SaleKind::Pieces,
        ("shopper_weighed", _) | ("", PriceUnit::Kilogram) => SaleKind::ShopperWeighed,
        ("pre_weighed", _) => SaleKind::PreWeighed,
        ("price_in_code", _) => SaleKind::PriceInCode,
        (other, _) => {
            let detail = format!("expected pieces, shopper_weighed, pre_weighed or price_in_code, got {other:?}");
            return Err(row.field("sale", detail));
        }
    };
    let sale_stopped = match row.get("sale_stopped") {
        "" | "false" => false,
        "true" => true,
        other => return Err(row.field("sale_stopped", format!("expected true or false, got {other:?}"))),
    };
    let tax_group = Some(row.get("tax_group")).filter(|group| !group.is_empty()).unwrap_or("A");
    let article = Article {
        gtin: row.parsed("gtin", Gtin::parse)?,
        name: row.get("name").to_owned(),
        department: row.get("department").to_owned(),
        unit,
        price_minor: row.parsed("price", |text| Money::parse(text, currency))?.minor,
        sale,
        deposit: row.optional("deposit", Gtin::parse)?,
        min_age: row.optional("min_age", |text| number("min_age", text))?,
        sale_stopped,
        tax_group: tax_group.to_owned(),
    };
    row.checked(article.check())?;
    Ok(article)
}

/// One line of data and the positions of the columns.
struct Row<'a> {
    line: u64,
    columns: &'a HashMap<String, usize>,
    record: &'a csv::StringRecord,
}

impl Row<'_> {
    /// The field without surrounding blanks; empty if the column is not there.
    fn get(&self, column: &str) -> &str {
        self.columns.get(column).and_then(|at| self.record.get(*at)).unwrap_or_default().trim()
    }

    fn parsed<T>(&self, column: &str, parse: impl Fn(&str) -> Result<T, WalkpayError>) -> Result<T, CsvImportError> {
        parse(self.get(column)).map_err(|e| self.field(column, e.to_string()))
    }

    fn optional<T>(
        &self,
        column: &str,
        parse: impl Fn(&str) -> Result<T, WalkpayError>,
    ) -> Result<Option<T>, CsvImportError> {
        if self.get(column).is_empty() { Ok(None) } else { self.parsed(column, parse).map(Some) }
    }

    fn checked(&self, result: Result<(), WalkpayError>) -> Result<(), CsvImportError> {
        result.map_err(|e| match e {
            WalkpayError::InvalidInput { field, expected, got } => {
                self.field(&field, format!("expected {expected}, got {got:?}"))
            }
            other => self.field("line", other.to_string()),
        })
    }

    fn field(&self, column: &str, detail: String) -> CsvImportError {
        self.error(CsvProblem::Field { column: column.to_owned(), detail })
    }

    fn error(&self, problem: CsvProblem) -> CsvImportError {
        CsvImportError::at(self.line, problem)
    }
}

/// The ids that have been there.
#[derive(Default)]
struct Ids(HashMap<String, u64>);

impl Ids {
    fn new_id(&mut self, row: &Row<'_>) -> Result<String, CsvImportError> {
        let id = row.get("id").to_owned();
        match self.0.insert(id.clone(), row.line) {
            Some(first_line) => Err(row.error(CsvProblem::Duplicate { key: id, first_line })),
            None => Ok(id),
        }
    }
}

fn number<T: std::str::FromStr>(column: &str, text: &str) -> Result<T, WalkpayError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| invalid(column, "a whole number", text))
}

fn decimal(column: &str, text: &str) -> Result<rust_decimal::Decimal, WalkpayError> {
    rust_decimal::Decimal::from_str_exact(text).map_err(|_| invalid(column, "a decimal number such as 12.5", text))
}

fn invalid(field: &str, expected: &str, got: &str) -> WalkpayError {
    let got = got.chars().take(80).collect();
    WalkpayError::InvalidInput { field: field.to_owned(), expected: expected.to_owned(), got }
}

/// Reads header and lines, and hands each line to `take`.
fn read_table(
    reader: impl Read,
    limits: ImportLimits,
    needed: &[&'static str],
    optional: &[&'static str],
    mut take: impl FnMut(&Row<'_>) -> Result<(), CsvImportError>,
) -> Result<(), CsvImportError> {
    let mut counted = Counted { inner: reader.take(limits.max_bytes.saturating_add(1)), bytes: 0 };
    let mut table = csv::ReaderBuilder::new().has_headers(false).from_reader(&mut counted);
    let mut record = csv::StringRecord::new();
    let too_large = |bytes: u64| bytes > limits.max_bytes;
    let mut columns: Option<HashMap<String, usize>> = None;
    let mut rows = 0;
    loop {
        let more = table.read_record(&mut record);
        if too_large(table.get_ref().bytes) {
            return Err(CsvImportError::whole(CsvProblem::TooLarge(limits.max_bytes)));
        }
        if !more.map_err(from_csv)? {
            break;
        }
        let line = record.position().map_or(0, csv::Position::line);
        let Some(columns) = &columns else {
            columns = Some(header(&record, line, needed, optional)?);
            continue;
        };
        rows += 1;
        if rows > limits.max_rows {
            return Err(CsvImportError::at(line, CsvProblem::TooManyRows(limits.max_rows)));
        }
        take(&Row { line, columns, record: &record })?;
    }
    if rows == 0 { Err(CsvImportError::whole(CsvProblem::Empty)) } else { Ok(()) }
}

fn header(
    record: &csv::StringRecord,
    line: u64,
    needed: &[&'static str],
    optional: &[&'static str],
) -> Result<HashMap<String, usize>, CsvImportError> {
    let mut columns = HashMap::new();
    for (at, name) in record.iter().enumerate() {
        let name = name.trim_start_matches('\u{feff}').trim();
        let known = needed.contains(&name) || optional.contains(&name);
        if !known || columns.insert(name.to_owned(), at).is_some() {
            let name = name.chars().take(40).collect();
            return Err(CsvImportError::at(line, CsvProblem::UnexpectedColumn(name)));
        }
    }
    match needed.iter().find(|name| !columns.contains_key(**name)) {
        Some(missing) => Err(CsvImportError::at(line, CsvProblem::MissingColumn(missing))),
        None => Ok(columns),
    }
}

fn from_csv(error: csv::Error) -> CsvImportError {
    let line = error.position().map(csv::Position::line);
    let problem = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => CsvProblem::NotUtf8,
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            CsvProblem::FieldCount { expected: *expected_len, got: *len }
        }
        _ => CsvProblem::Unreadable(error.to_string()),
    };
    CsvImportError { line, problem }
}

/// Counts the bytes that were read.
struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.bytes = self.bytes.saturating_add(n as u64);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "gtin,name,price,currency,unit,deposit,min_age,tax_group";

    fn import(lines: &[&str]) -> Result<ImportedCatalogue, CsvImportError> {
        import_csv(lines.join("\n").as_bytes(), ImportLimits::default())
    }

    #[test]
    fn articles_with_defaults() {
        let catalogue = import(&[
            "\u{feff}gtin,name,price,currency,unit",
            "4006381333931,\"Pens, blue\",1.29,EUR,piece",
            "96385074,Apples,2.99,EUR,kilogram",
        ])
        .unwrap();
        assert_eq!(catalogue.currency, Currency::parse("EUR").unwrap());
        let [pens, apples] = &catalogue.articles[..] else { panic!("two articles") };
        assert_eq!((pens.name.as_str(), pens.price_minor, pens.tax_group.as_str()), ("Pens, blue", 129, "A"));
        assert_eq!((pens.sale, apples.sale), (SaleKind::Pieces, SaleKind::ShopperWeighed));
    }

    #[test]
    fn every_refusal_names_its_line_and_what_to_do() {
        let good = "4006381333931,Pens,1.29,EUR,piece,,,";
        for (lines, expected) in [
            (vec![HEADER, "4006381333932,Pens,1.29,EUR,piece,,,"], "line 2: gtin: unusable barcode (check_digit)"),
            (vec![HEADER, good, "96385074,Tea,1.29,USD,piece,,,"], "line 3: expected prices in EUR, got USD"),
            (vec![HEADER, good, good], "line 3: 04006381333931 is already in line 2"),
            (vec![HEADER, "96385074,Tea,1.2,EUR,piece,,,"], "line 2: price: amount: expected a decimal amount"),
            (vec![HEADER, "96385074,Tea,-1.20,EUR,piece,,,"], "line 2: price: expected 0 to"),
            (vec![HEADER, "96385074,Tea,1.20,EURO,piece,,,"], "line 2: currency: currency: expected"),
            (vec![HEADER, "96385074,Tea,1.20,EUR,box,,,"], "line 2: unit: expected piece or kilogram"),
            (vec![HEADER, "96385074,,1.20,EUR,piece,,,"], "line 2: name: expected 1 to 120"),
            (vec![HEADER, "96385074,Tea,1.20,EUR,piece,,200,"], "line 2: min_age: expected 1 to 99"),
            (vec![HEADER, "96385074,Tea,1.20,EUR,piece,,-1,"], "line 2: min_age: min_age: expected a whole number"),
            (vec![HEADER, "96385074,Tea,1.20,EUR,piece,4006381333931,,"], "line 2: the deposit article 04006381333931"),
            (vec![HEADER, "96385074,Tea,1.20,EUR,piece,,,123456789"], "line 2: tax_group: expected 1 to 8"),
            (vec![HEADER, "96385074,Tea,1.20,EUR"], "line 2: expected 8 fields, got 4"),
            (vec!["gtin,name,price,currency", good], "line 1: the column unit is missing"),
            (vec!["gtin,name,price,currency,unit,colour", good], "line 1: the column \"colour\" is not known"),
            (vec!["gtin,gtin,name", good], "line 1: the column \"gtin\" is not known or there twice"),
            (vec![HEADER], "the file holds no data"),
            (vec![""], "the file holds no data"),
        ] {
            let error = import(&lines).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{lines:?}: {error}");
            assert!(error.to_string().ends_with(error.advice()));
        }
    }

    #[test]
    fn bytes_that_are_no_text() {
        let error = import_csv(
            &b"gtin,name,price,currency,unit\n96385074,\xff\xfe,1.20,EUR,piece\n"[..],
            ImportLimits::default(),
        );
        let error = error.unwrap_err();
        assert_eq!((error.line, error.problem), (Some(2), CsvProblem::NotUtf8));
    }

    #[test]
    fn limits() {
        let text = format!("{HEADER}\n96385074,Tea,1.20,EUR,piece,,,\n4006381333931,Pens,1.29,EUR,piece,,,\n");
        let small = ImportLimits { max_bytes: 60, ..ImportLimits::default() };
        assert_eq!(import_csv(text.as_bytes(), small).unwrap_err().problem, CsvProblem::TooLarge(60));
        let exact = ImportLimits { max_bytes: text.len() as u64, ..ImportLimits::default() };
        assert!(import_csv(text.as_bytes(), exact).is_ok());
        let one = ImportLimits { max_rows: 1, ..ImportLimits::default() };
        assert_eq!(import_csv(text.as_bytes(), one).unwrap_err().problem, CsvProblem::TooManyRows(1));
        let endless = std::io::repeat(b'"');
        assert!(import_csv(endless, small).is_err());
    }

    #[test]
    fn unreadable_sources() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("gone"))
            }
        }
        let error = import_csv(Broken, ImportLimits::default()).unwrap_err();
        assert!(matches!(error.problem, CsvProblem::Unreadable(_)));
    }
}
