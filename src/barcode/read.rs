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
    /// The symbology, where the scanner reports that instead. Text that says by an AIM identifier that it is of another one is refused:
    /// whoever makes a QR code can write `]E0` into it.
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
            (known, Some(hint)) if hint != Symbology::Unknown && !known.may_be(hint) => {
                let detail = format!("the AIM identifier {aim} is that of {known:?}, the scanner reports {hint:?}");
                return Err(WalkpayError::barcode("aim", detail));
            }
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

#[cfg(test)]
mod tests {
    use super::super::digits::{check_digit, field_check_digit};
    use super::super::template::ValueKind;
    use super::*;
    use proptest::prelude::*;

    fn weight_template() -> BarcodeTemplate {
        BarcodeTemplate {
            id: "weight".into(),
            prefix_from: "21".into(),
            prefix_to: "23".into(),
            value_position: 8,
            value_digits: 5,
            kind: ValueKind::Weight,
            value_unit: 1,
            inner_check_position: None,
            min_value: 20,
            max_value: 15_000,
        }
    }

    fn price_template() -> BarcodeTemplate {
        BarcodeTemplate {
            id: "price".into(),
            prefix_from: "02".into(),
            prefix_to: "02".into(),
            value_position: 9,
            value_digits: 4,
            kind: ValueKind::Price,
            value_unit: 1,
            inner_check_position: Some(8),
            min_value: 1,
            max_value: 9_999,
        }
    }

    fn templates() -> Vec<BarcodeTemplate> {
        vec![weight_template(), price_template()]
    }

    fn with_check(data: &str) -> String {
        let digits: Vec<u8> = data.bytes().map(|b| b - b'0').collect();
        format!("{data}{}", check_digit(&digits))
    }

    fn outcome(text: &str) -> String {
        match read(&ScanInput::text(text), &templates()) {
            Ok(Meaning::Article { gtin }) => gtin.short(),
            Ok(Meaning::VariableMeasure { article, measure, .. }) => format!("{} {measure:?}", article.short()),
            Ok(Meaning::ExitPass { .. }) => "exit pass".into(),
            Err(e) => e.code(),
        }
    }

    #[test]
    fn a01_every_carrier_of_a_gtin_is_read() {
        for (scan, expected) in [
            ("4006381333931", "4006381333931"),
            ("]E04006381333931\r\n", "4006381333931"),
            ("4006381333931\t", "4006381333931"),
            ("036000291452", "036000291452"),
            ("]E00036000291452", "036000291452"),
            ("]E0036000291452", "036000291452"),
            ("]E496385074", "96385074"),
            ("96385074\r", "96385074"),
            ("]I110012345678902", "10012345678902"),
            ("04006381333931", "4006381333931"),
        ] {
            assert_eq!(outcome(scan), expected, "{scan:?}");
        }
    }

    #[test]
    fn upc_e_needs_a_scanner_that_says_so_or_digits_that_can_be_nothing_else() {
        let upc_e = |data: &str| {
            let input = ScanInput { symbology: Some(Symbology::UpcE), ..ScanInput::text(data) };
            read(&input, &[]).map(|m| m.gtin().unwrap().short()).map_err(|e| e.code())
        };
        assert_eq!(upc_e("04252614"), Ok("042100005264".into()));
        assert_eq!(upc_e("425261"), Ok("042100005264".into()));
        assert_eq!(upc_e("042100005264"), Ok("042100005264".into()));
        assert_eq!(upc_e("04252610"), Err("barcode.check_digit".into()));
        assert_eq!(outcome("04252614"), "042100005264");
        let both = (0..100_000u32)
            .map(|n| with_check(&format!("{n:07}")))
            .find(|t| Gtin::from_upc_e(t.as_bytes()).is_ok())
            .unwrap();
        assert_eq!(outcome(&both), "barcode.ambiguous", "{both}");
    }

    #[test]
    fn labels_of_the_store_are_read_by_its_templates() {
        let weighed = with_check("211234501234");
        let key = with_check("211234500000");
        // 2112345 + 01234 g: seven digits of article, five of weight.
        assert_eq!(outcome(&weighed), format!("{key} Grams {{ grams: 1234 }}"));
        let inner = field_check_digit(&[2, 8, 7, 5]).unwrap();
        let priced = with_check(&format!("0212345{inner}2875"));
        let key = Gtin::parse(&with_check("021234500000")).unwrap().short();
        assert_eq!(outcome(&priced), format!("{key} Price {{ minor: 2875 }}"));
        // The same symbol read as UPC-A has no leading zero.
        assert_eq!(outcome(priced.get(1..).unwrap()), format!("{key} Price {{ minor: 2875 }}"));
        let wrong_inner = with_check(&format!("0212345{}2875", (inner + 1) % 10));
        assert_eq!(outcome(&wrong_inner), "barcode.inner_check_digit");
        assert_eq!(outcome(&with_check("211234500000")), "barcode.implausible_value");
        assert_eq!(outcome(&with_check("211234599999")), "barcode.implausible_value");
    }

    #[test]
    fn a_restricted_number_without_a_template_is_left_to_the_catalogue() {
        let own = with_check("299000000001");
        assert_eq!(outcome(&own), own);
    }

    #[test]
    fn what_is_not_read_is_refused_and_never_an_article() {
        for (scan, code) in [
            ("", "barcode.empty"),
            ("\r\n", "barcode.empty"),
            ("]E0", "barcode.empty"),
            ("4006381333932", "barcode.check_digit"),
            ("]E0400638133393", "barcode.check_digit"),
            ("]E096385074", "barcode.length"),
            ("]E44006381333931", "barcode.length"),
            ("12345", "barcode.length"),
            ("hello", "barcode.not_an_article"),
            ("40063813x3931", "barcode.digits"),
            ("]E04006381x33931", "barcode.digits"),
            ("]C04006381333931", "barcode.not_an_article"),
            ("]A04006381333931", "barcode.not_an_article"),
            ("]C1010400638133393110ABC", "barcode.not_supported_yet"),
            ("]e00104006381333931", "barcode.not_supported_yet"),
            ("]Q3010400638133393110ABC", "barcode.not_supported_yet"),
            ("]d20104006381333931", "barcode.not_supported_yet"),
            ("(01)04006381333931", "barcode.not_supported_yet"),
            ("]Q1https://id.example.com/01/04006381333931", "barcode.not_supported_yet"),
            ("]E3400638133393112", "barcode.not_supported_yet"),
            ("]E0400638133393112345", "barcode.not_supported_yet"),
            ("]Q1plain text", "barcode.not_an_article"),
            (&with_check("981000000000"), "barcode.not_supported_yet"),
            (&with_check("990000000000"), "barcode.not_supported_yet"),
            (&with_check("980000000000"), "barcode.not_supported_yet"),
            (&with_check("050000000000"), "barcode.not_supported_yet"),
        ] {
            assert_eq!(outcome(scan), code, "{scan:?}");
        }
    }

    #[test]
    fn identifiers_outside_the_data() {
        let scan = |data: &str, aim: &str| {
            let input = ScanInput { aim: Some(aim.into()), ..ScanInput::text(data) };
            read(&input, &[]).map(|m| m.gtin().unwrap().short()).map_err(|e| e.code())
        };
        assert_eq!(scan("4006381333931", "]E0"), Ok("4006381333931".into()));
        assert_eq!(scan("]E04006381333931", "]E0"), Ok("4006381333931".into()));
        assert_eq!(scan("]E04006381333931", "]C1"), Err("barcode.aim".into()));
        assert_eq!(scan("4006381333931", "E0"), Err("barcode.aim".into()));
        assert_eq!(scan("4006381333931", "]E00"), Err("barcode.aim".into()));
    }

    #[test]
    fn an_exit_pass_is_told_from_goods() {
        assert_eq!(outcome("]Q1walkpay-pass:abc"), "exit pass");
    }

    #[test]
    fn eight_kibibytes_are_the_limit() {
        let input = ScanInput { data: vec![b'1'; MAX_SCAN_BYTES + 1], ..ScanInput::default() };
        assert_eq!(read(&input, &[]).unwrap_err().code(), "limit");
        let input = ScanInput { data: vec![b'1'; MAX_SCAN_BYTES], ..ScanInput::default() };
        assert_eq!(read(&input, &[]).unwrap_err().code(), "barcode.length");
    }

    #[test]
    fn templates_are_checked() {
        assert!(templates().iter().all(|t| t.check().is_ok()));
        let wrong: [fn(&mut BarcodeTemplate); 9] = [
            |t| t.id.clear(),
            |t| t.prefix_from = "40".into(),
            |t| t.prefix_to = "20".into(),
            |t| t.prefix_to = "220".into(),
            |t| t.value_position = 2,
            |t| t.value_digits = 6,
            |t| t.inner_check_position = Some(9),
            |t| t.value_unit = 0,
            |t| t.min_value = 0,
        ];
        for (at, spoil) in wrong.iter().enumerate() {
            let mut template = weight_template();
            spoil(&mut template);
            assert_eq!(template.check().unwrap_err().code(), "invalid_input", "{at}");
        }
    }

    #[test]
    fn wire_form() {
        let scan = read(&ScanInput::text(&with_check("211234501234")), &templates()).unwrap();
        insta::assert_json_snapshot!((scan, price_template()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(data in prop::collection::vec(any::<u8>(), 0..64), aim in prop::option::of(".{0,4}")) {
            let input = ScanInput { data, aim, symbology: None };
            let _ = read(&input, &templates());
        }

        #[test]
        fn an_article_read_is_the_digits_scanned(digits in "[0-9]{8,14}") {
            if let Ok(Meaning::Article { gtin }) = read(&ScanInput::text(&digits), &[]) {
                let plain = Gtin::parse(&digits).ok();
                let expanded = Gtin::from_upc_e(digits.as_bytes()).ok();
                prop_assert!(plain == Some(gtin) || expanded == Some(gtin));
            }
        }
    }

    #[test]
    fn a_symbol_does_not_pass_for_one_of_another_kind() {
        let scan =
            |symbology, text: &str| read(&ScanInput { symbology: Some(symbology), ..ScanInput::text(text) }, &[]);
        for symbology in [Symbology::Qr, Symbology::Code128, Symbology::Ean8, Symbology::DataBar] {
            let error = scan(symbology, "]E04006381333931").unwrap_err();
            assert_eq!(error.code(), "barcode.aim", "{symbology:?}");
        }
        for symbology in [Symbology::Ean13, Symbology::UpcA, Symbology::UpcE, Symbology::Unknown] {
            assert!(matches!(scan(symbology, "]E04006381333931"), Ok(Meaning::Article { .. })), "{symbology:?}");
        }
        // A reader that does not tell of FNC1: the code is read as what it is.
        assert_eq!(scan(Symbology::Qr, "]Q3010400638133393110ABC").unwrap_err().code(), "barcode.not_supported_yet");
    }
}
