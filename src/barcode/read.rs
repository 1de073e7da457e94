//! From a scanner's bytes to their meaning.

use super::digits::values;
use super::gtin::Gtin;
use super::symbology::{Symbology, split_aim};
use super::template::{BarcodeTemplate, Measure};
use crate::error::WalkpayError;
use serde::{Deserialize, Serialize};

/// The longest scanner output that is looked at.
pub const MAX_SCAN_BYTES: usize = 8 * 1024;

/// What the text of an exit pass begins with.
pub const EXIT_PASS_PREFIX: &str = "walkpay-pass:";

/// One scan: the bytes that the scanner sent and what it knows about the symbol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Record)]
pub struct ScanInput {
    /// The bytes, at most [`MAX_SCAN_BYTES`]; they may start with an AIM identifier, and end with the CR, LF or TAB of a
    /// keyboard wedge.
    pub data: Vec<u8>,
    /// The AIM identifier (ISO/IEC 15424), such as `]E0`, where the scanner reports it separately.
    pub aim: Option<String>,
    /// The symbology, where the scanner reports that instead.
    pub symbology: Option<Symbology>,
}

impl ScanInput {
    /// Text as a keyboard wedge or a person types it.
    pub fn text(text: &str) -> Self {
        Self { data: text.as_bytes().to_vec(), ..Self::default() }
    }
}

/// What a barcode says.
///
/// GS1 element strings, GS1 Digital Links, add-ons and coupons are recognised, and refused with the reason
/// `not_supported_yet`; they will be further variants.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Meaning {
    /// An article, nothing else.
    Article {
        /// Which one.
        gtin: Gtin,
    },
    /// An in-store code with a weight or a price inside.
    VariableMeasure {
        /// The template that read it.
        template_id: String,
        /// The article's key in the catalogue: the code with its variable digits zeroed.
        article: Gtin,
        /// The weight or price of this piece.
        measure: Measure,
        /// The 13 digits of the code.
        raw: String,
    },
    /// An exit pass, for a gate to check.
    ExitPass {
        /// The pass.
        text: String,
    },
}

impl Meaning {
    /// The catalogue key of the article that it names, if it names one.
    pub fn gtin(&self) -> Option<Gtin> {
        match self {
            Self::Article { gtin } => Some(*gtin),
            Self::VariableMeasure { article, .. } => Some(*article),
            Self::ExitPass { .. } => None,
        }
    }
}

/// Says what a scan means.
///
/// `templates` are the store's; the first one that selects a 13-digit restricted circulation number reads it. A
/// restricted number that no template selects is an [`Meaning::Article`]: stores number their own goods so, and the
/// catalogue knows which exist.
///
/// # Errors
/// [`WalkpayError::Limit`] above [`MAX_SCAN_BYTES`]; [`WalkpayError::Barcode`] with a reason: `empty`, `digits`, `length`,
/// `check_digit`, `zero`, `number_system`, `ambiguous`, `aim`, `not_an_article`, `inner_check_digit`, `implausible_value`,
/// `template`, `not_supported_yet`.
pub fn read(input: &ScanInput, templates: &[BarcodeTemplate]) -> Result<Meaning, WalkpayError> {
    let (symbology, data) = normalise(input)?;
    if let Some(pass) = exit_pass(data) {
        return Ok(pass);
    }
    if symbology.carries_element_strings() || data.contains(&0x1d) || data.starts_with(b"(") {
        return Err(later("GS1 element strings"));
    }
    if starts_like_a_link(data) {
        return Err(later("GS1 Digital Links"));
    }
    match (symbology, data.len()) {
        (Symbology::EanAddOn, _) | (Symbology::Ean13 | Symbology::UpcA, 14 | 15 | 17 | 18) => Err(later("add-ons")),
        (Symbology::Ean13, 12 | 13) | (Symbology::UpcA, 12 | 13) => thirteen(data, templates),
        (Symbology::Ean8, 8) => article(data),
        (Symbology::UpcE, 12 | 13) => thirteen(data, templates),
        (Symbology::UpcE, _) => in_thirteen(Gtin::from_upc_e(data)?, templates),
        (Symbology::Itf14, 14) => article(data),
        (Symbology::Unknown, 12 | 13) => thirteen(data, templates),
        (Symbology::Unknown, 14) => article(data),
        (Symbology::Unknown, 8) => eight(data, templates),
        (Symbology::Ean13 | Symbology::UpcA | Symbology::Ean8 | Symbology::Itf14, n) => {
            Err(WalkpayError::barcode("length", format!("this symbol does not carry {n} characters")))
        }
        (Symbology::Unknown, n) if data.iter().all(u8::is_ascii_digit) => {
            Err(WalkpayError::barcode("length", format!("a GTIN has 8, 12, 13 or 14 digits, not {n}")))
        }
        _ => Err(WalkpayError::barcode("not_an_article", "this symbol identifies no article")),
    }
}

/// The symbology that applies, and the bytes without AIM identifier and line end.
fn normalise(input: &ScanInput) -> Result<(Symbology, &[u8]), WalkpayError> {
    if input.data.len() > MAX_SCAN_BYTES {
        return Err(WalkpayError::limit("bytes of a scan", MAX_SCAN_BYTES as u64));
    }
    let mut data = input.data.as_slice();
    while let [rest @ .., b'\r' | b'\n' | b'\t'] = data {
        data = rest;
    }
    let mut aim = input.aim.as_deref();
    if let Some((inside, rest)) = split_aim(data) {
        match aim {
            Some(outside) if outside != inside => {
                return Err(WalkpayError::barcode("aim", format!("two AIM identifiers, {inside} and another one")));
            }
            _ => (aim, data) = (Some(inside), rest),
        }
    }
    if data.is_empty() {
        return Err(WalkpayError::barcode("empty", "the scan holds no data"));
    }
    let symbology = match aim {
        Some(aim) if split_aim(aim.as_bytes()).is_none_or(|(_, rest)| !rest.is_empty()) => {
            return Err(WalkpayError::barcode("aim", "an AIM identifier is ], a letter and a modifier"));
        }
        Some(aim) => match (Symbology::from_aim(aim), input.symbology) {
            // A symbology that AIM identifiers are known for and this is none of: free text.
            (Symbology::Unknown, None | Some(Symbology::Unknown)) => Symbology::Code128,
            (Symbology::Unknown, Some(hint)) => hint,
            (known, _) => known,
        },
        None => input.symbology.unwrap_or_default(),
    };
    Ok((symbology, data))
}

fn exit_pass(data: &[u8]) -> Option<Meaning> {
    let text = std::str::from_utf8(data).ok()?;
    text.starts_with(EXIT_PASS_PREFIX).then(|| Meaning::ExitPass { text: text.to_owned() })
}

fn starts_like_a_link(data: &[u8]) -> bool {
    [&b"https://"[..], b"http://"]
        .iter()
        .any(|scheme| data.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

fn article(data: &[u8]) -> Result<Meaning, WalkpayError> {
    let text = std::str::from_utf8(data).map_err(|_| not_digits())?;
    Ok(Meaning::Article { gtin: Gtin::parse(text)? })
}

/// Twelve or thirteen digits: EAN-13, UPC-A.
fn thirteen(data: &[u8], templates: &[BarcodeTemplate]) -> Result<Meaning, WalkpayError> {
    let digits = values(data).ok_or_else(not_digits)?;
    in_thirteen(Gtin::from_digits(&digits)?, templates)
}

/// A verified number of 13 digits: in-store code, coupon or article.
fn in_thirteen(gtin: Gtin, templates: &[BarcodeTemplate]) -> Result<Meaning, WalkpayError> {
    let digits = gtin.thirteen_digits();
    if let Some(template) = templates.iter().find(|t| t.selects(&digits)) {
        let (article, measure) = template.apply(&digits)?;
        let raw = format!("{:013}", gtin.as_u64());
        return Ok(Meaning::VariableMeasure { template_id: template.id.clone(), article, measure, raw });
    }
    match digits {
        // GS1 General Specifications, section 1.4.2: refund receipts, coupon identification.
        [9, 8, 0, ..] => Err(later("refund receipts")),
        [9, 8, 1..=4, ..] | [9, 9, ..] | [0, 5, ..] => Err(later("coupons")),
        _ => Ok(Meaning::Article { gtin }),
    }
}

/// Eight digits of a scanner that does not say whether it read EAN-8 or UPC-E.
fn eight(data: &[u8], templates: &[BarcodeTemplate]) -> Result<Meaning, WalkpayError> {
    let upc_e = Gtin::from_upc_e(data);
    match (Gtin::would_parse(data), upc_e) {
        (true, Ok(_)) => {
            Err(WalkpayError::barcode("ambiguous", "EAN-8 or UPC-E: let the scanner send AIM identifiers"))
        }
        (false, Ok(gtin)) => in_thirteen(gtin, templates),
        _ => article(data),
    }
}

fn not_digits() -> WalkpayError {
    WalkpayError::barcode("digits", "this symbol consists of the digits 0 to 9")
}

fn later(what: &str) -> WalkpayError {
    WalkpayError::barcode("not_supported_yet", format!("{what} are not read yet"))
}
