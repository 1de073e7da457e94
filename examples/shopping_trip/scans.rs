//! A file of scans: what a handheld delivers, line by line.
//!
//! ```text
//! # a comment
//! ]E04006381333931            an AIM identifier and the data
//! ]E04006381333931   x3       … and how many pieces
//! 2123450000007      350g     … or what the scale of the shopper says
//! ```

use std::path::Path;
use walkpay::barcode::ScanInput;
use walkpay::basket::Quantity;

/// One line of the file.
pub struct Scan {
    /// What the scanner sent.
    pub input: ScanInput,
    /// As it is written in the file.
    pub text: String,
    /// What the shopper says beside it.
    pub quantity: Option<Quantity>,
}

/// Reads a file of scans.
///
/// # Errors
/// A sentence that says what is wrong and where.
pub fn read(path: &Path) -> Result<Vec<Scan>, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'));
    lines.map(|(n, line)| parse(line).map_err(|e| format!("{} line {}: {e}", path.display(), n + 1))).collect()
}

fn parse(line: &str) -> Result<Scan, String> {
    let (data, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let said = rest.trim();
    let quantity = if said.is_empty() {
        None
    } else if let Some(count) = said.strip_prefix('x') {
        Some(Quantity::Pieces { count: count.parse().map_err(|_| expected(said))? })
    } else if let Some(grams) = said.strip_suffix('g') {
        Some(Quantity::Grams { grams: grams.trim().parse().map_err(|_| expected(said))? })
    } else {
        return Err(expected(said));
    };
    Ok(Scan { input: ScanInput::text(data), text: data.to_owned(), quantity })
}

fn expected(got: &str) -> String {
    format!("expected x3 or 350g after the code, got {got:?}")
}
