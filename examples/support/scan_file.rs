//! Files of scans (`examples/data/*.scans`), as a handheld delivers them.
//!
//! One scan per line, with its AIM identifier where the scanner sends one. What the shopper says beside the scan follows
//! behind ` * `: pieces (`* 3`) or the weight of loose goods (`* 740g`). Empty lines, and lines that begin with `#`, are
//! comments.

use walkpay::barcode::ScanInput;
use walkpay::basket::Quantity;

/// One line of such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptedScan {
    /// Its number, from 1.
    pub line: usize,
    /// What the scanner delivers.
    pub input: ScanInput,
    /// What the shopper says beside it.
    pub quantity: Option<Quantity>,
}

/// Reads the text of such a file; the error names the line.
pub fn parse(text: &str) -> Result<Vec<ScriptedScan>, String> {
    let lines = (1..).zip(text.lines()).filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'));
    lines.map(|(line, text)| scan(line, text)).collect()
}

fn scan(line: usize, text: &str) -> Result<ScriptedScan, String> {
    let (data, quantity) = match text.rsplit_once(" * ") {
        Some((data, said)) => {
            let wrong = || format!("line {line}: expected pieces (3) or grams (740g) behind *, got {said:?}");
            (data, Some(quantity(said.trim()).ok_or_else(wrong)?))
        }
        None => (text, None),
    };
    Ok(ScriptedScan { line, input: ScanInput::text(data.trim_end()), quantity })
}

fn quantity(said: &str) -> Option<Quantity> {
    match said.strip_suffix('g') {
        Some(grams) => Some(Quantity::Grams { grams: grams.parse().ok()? }),
        None => Some(Quantity::Pieces { count: said.parse().ok()? }),
    }
}
