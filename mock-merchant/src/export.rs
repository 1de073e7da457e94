//! Rows as CSV (RFC 4180), as lines of JSON, or as one JSON array: written one by one, so that a list of any length needs no more
//! memory than a row.

use serde::Serialize;

use walkpay::protocol::query::{QueriedOrder, QueriedPayment, TotalsGroup};
use walkpay::{Money, Timestamp};

/// What an export is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, clap::ValueEnum, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma-separated values with a line of names.
    #[default]
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// One JSON array.
    Json,
}

impl Format {
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
            Self::Json => "application/json",
        }
    }

    /// How its files end.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Json => "json",
        }
    }
}

/// What can be exported.
pub trait Record: Serialize {
    /// The names of the columns.
    const COLUMNS: &'static [&'static str];

    /// A cell for each column.
    fn cells(&self) -> Vec<Cell>;
}

/// A cell of a CSV file.
pub enum Cell {
    /// Text from outside: made harmless where a spreadsheet would take it for a formula.
    Text(String),
    /// A number, a time or a word of this program's own.
    Plain(String),
}

/// Writes rows behind one another.
pub struct Encoder {
    format: Format,
    rows: u64,
}

impl Encoder {
    /// Begins: what comes before the first row is in `out`.
    pub fn begin<T: Record>(format: Format, out: &mut Vec<u8>) -> Self {
        match format {
            Format::Csv => line(out, T::COLUMNS.iter().copied()),
            Format::Ndjson => {}
            Format::Json => out.push(b'['),
        }
        Self { format, rows: 0 }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When the row has no JSON, which none of this program's lacks.
    pub fn row<T: Record>(&mut self, row: &T, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        match self.format {
            Format::Csv => {
                let cells: Vec<String> = row.cells().into_iter().map(Cell::into_text).collect();
                line(out, cells.iter().map(String::as_str));
            }
            Format::Ndjson => {
                serde_json::to_writer(&mut *out, row)?;
                out.push(b'\n');
            }
            Format::Json => {
                out.extend_from_slice(if self.rows == 0 { b"\n" } else { b",\n" });
                serde_json::to_writer(&mut *out, row)?;
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Ends, and says how many rows there were.
    pub fn end(self, out: &mut Vec<u8>) -> u64 {
        if self.format == Format::Json {
            out.extend_from_slice(b"\n]\n");
        }
        self.rows
    }
}

impl Cell {
    fn into_text(self) -> String {
        match self {
            Self::Plain(text) => text,
            Self::Text(text) if text.starts_with(FORMULA) => format!("'{text}"),
            Self::Text(text) => text,
        }
    }
}

/// What spreadsheets take for the beginning of a formula, or skip in front of one; the last four are full-width.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// A record of RFC 4180 §2: quoted where needed, ended by CR LF.
fn line<'a>(out: &mut Vec<u8>, cells: impl Iterator<Item = &'a str>) {
    for (n, cell) in cells.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        if cell.contains(['"', ',', '\r', '\n']) || cell.starts_with(' ') || cell.ends_with(' ') {
            out.push(b'"');
            out.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(cell.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

fn plain(value: impl ToString) -> Cell {
    Cell::Plain(value.to_string())
}

fn maybe(value: Option<impl ToString>) -> Cell {
    Cell::Plain(value.map(|v| v.to_string()).unwrap_or_default())
}

fn units(money: &Money) -> Cell {
    Cell::Plain(money.to_decimal_string())
}

fn time(at: Timestamp) -> Cell {
    plain(at)
}

/// The word that JSON has for a value of a fixed set.
fn word(value: &impl Serialize) -> Cell {
    let json = serde_json::to_value(value).unwrap_or_default();
    Cell::Plain(json.as_str().unwrap_or_default().to_owned())
}

fn maybe_word(value: Option<&impl Serialize>) -> Cell {
    value.map_or(Cell::Plain(String::new()), word)
}

impl Record for QueriedOrder {
    const COLUMNS: &'static [&'static str] = &[
        "service_number",
        "status",
        "source",
        "service_name",
        "payee",
        "payer",
        "case_number",
        "case_name",
        "currency",
        "total",
        "due",
        "refunded",
        "arose_at",
        "deadline",
        "made_at",
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            plain(self.service_number),
            word(&self.status),
            text(&self.source),
            text(&self.service_name),
            text(&self.payee),
            text(self.payer.as_str()),
            text(&self.case_number),
            text(&self.case_name),
            plain(self.total.currency),
            units(&self.total),
            units(&self.due),
            units(&self.refunded),
            time(self.arose_at),
            time(self.deadline),
            time(self.made_at),
        ]
    }
}

impl Record for QueriedPayment {
    const COLUMNS: &'static [&'static str] = &[
        "service_number",
        "status",
        "source",
        "case_number",
        "case_name",
        "payer",
        "movement",
        "method",
        "state",
        "currency",
        "amount",
        "reference",
        "slip_number",
        "business_day",
        "posted_at",
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            plain(self.service_number),
            word(&self.status),
            text(&self.source),
            text(&self.case_number),
            text(&self.case_name),
            text(self.payer.as_str()),
            word(&self.movement),
            word(&self.method),
            word(&self.state),
            plain(self.amount.currency),
            units(&self.amount),
            text(&self.reference),
            maybe(self.slip_number),
            maybe(self.business_day.as_ref()),
            maybe(self.posted_at),
        ]
    }
}

impl Record for TotalsGroup {
    const COLUMNS: &'static [&'static str] = &[
        "method",
        "source",
        "state",
        "case_number",
        "business_day",
        "currency",
        "paid",
        "refunded",
        "net",
        "payments",
        "refunds",
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            maybe_word(self.method.as_ref()),
            text(self.source.as_deref().unwrap_or_default()),
            maybe_word(self.state.as_ref()),
            text(self.case_number.as_deref().unwrap_or_default()),
            maybe(self.business_day.as_ref()),
            plain(self.currency),
            units(&self.paid),
            units(&self.refunded),
            units(&self.net),
            plain(self.payments),
            plain(self.refunds),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> String {
        Cell::Text(text.to_owned()).into_text()
    }

    #[test]
    fn no_text_becomes_a_formula() {
        for bad in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"] {
            assert_eq!(cell(bad), format!("'{bad}"));
        }
        for good in ["", "a=1", "1-1", "'=1", "Küche"] {
            assert_eq!(cell(good), good);
        }
    }

    #[test]
    fn lines_are_read_back_by_a_csv_reader() {
        let mut out = Vec::new();
        let cells = ["a", "b,c", "d\"e", "f\r\ng", " h ", ""];
        line(&mut out, cells.iter().copied());
        assert!(out.ends_with(b"\r\n"));
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(out.as_slice());
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(record.iter().collect::<Vec<_>>(), cells);
    }
}
