//! What the scanner says about the symbol it read.

use serde::{Deserialize, Serialize};

/// The kind of symbol that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Symbology {
    /// EAN-13: 13 digits.
    Ean13,
    /// EAN-8: 8 digits.
    Ean8,
    /// UPC-A: 12 digits.
    UpcA,
    /// UPC-E: 6 or 8 digits that stand for 12.
    UpcE,
    /// An EAN or UPC symbol with a two- or five-digit add-on.
    EanAddOn,
    /// ITF-14: 14 digits.
    Itf14,
    /// Code 128 without FNC1: free text.
    Code128,
    /// GS1-128: element strings.
    Gs1128,
    /// GS1 DataBar with a GTIN only: omnidirectional, truncated, stacked, limited.
    DataBar,
    /// GS1 DataBar Expanded: element strings.
    DataBarExpanded,
    /// QR code: free text, perhaps a GS1 Digital Link.
    Qr,
    /// QR code with FNC1: element strings.
    Gs1Qr,
    /// Data Matrix: free text, perhaps a GS1 Digital Link.
    DataMatrix,
    /// Data Matrix with FNC1: element strings.
    Gs1DataMatrix,
    /// DotCode with FNC1: element strings.
    Gs1DotCode,
    /// Not known, or typed by hand.
    #[default]
    Unknown,
}

impl Symbology {
    /// From an AIM identifier such as `]E0` (ISO/IEC 15424; GS1 General Specifications, section 5.1.3): `]`, a code
    /// letter, a modifier. Identifiers of other symbologies are [`Symbology::Unknown`].
    ///
    /// `]E0` covers EAN-13, UPC-A and UPC-E, all sent as 13 digits; `]E1` to `]E3` carry an add-on. `]e0` covers all of
    /// GS1 DataBar: it always sends element strings.
    pub fn from_aim(aim: &str) -> Self {
        match aim.as_bytes() {
            b"]E0" => Self::Ean13,
            b"]E1" | b"]E2" | b"]E3" => Self::EanAddOn,
            b"]E4" => Self::Ean8,
            b"]I0" | b"]I1" => Self::Itf14,
            b"]C0" | b"]C2" | b"]C4" => Self::Code128,
            b"]C1" => Self::Gs1128,
            b"]e0" | b"]e1" | b"]e2" => Self::DataBarExpanded,
            b"]Q3" => Self::Gs1Qr,
            [b']', b'Q', b'0'..=b'6'] => Self::Qr,
            b"]d2" => Self::Gs1DataMatrix,
            [b']', b'd', b'0'..=b'6'] => Self::DataMatrix,
            b"]J1" => Self::Gs1DotCode,
            _ => Self::Unknown,
        }
    }

    /// Whether one reader may call a symbol this, and another one, or its AIM identifier, that: `]E0` is EAN-13, UPC-A and UPC-E, and not
    /// every reader tells whether there was an FNC1.
    pub(crate) fn may_be(self, other: Self) -> bool {
        let kind = |symbology| match symbology {
            Self::Ean13 | Self::UpcA | Self::UpcE | Self::EanAddOn => Self::Ean13,
            Self::Gs1128 => Self::Code128,
            Self::DataBarExpanded => Self::DataBar,
            Self::Gs1Qr => Self::Qr,
            Self::Gs1DataMatrix => Self::DataMatrix,
            own => own,
        };
        kind(self) == kind(other)
    }

    /// Whether the symbol's content is GS1 element strings by definition.
    pub fn carries_element_strings(self) -> bool {
        matches!(
            self,
            Self::Gs1128 | Self::DataBar | Self::DataBarExpanded | Self::Gs1Qr | Self::Gs1DataMatrix | Self::Gs1DotCode
        )
    }
}

/// An AIM identifier at the start of `data`, and what follows it.
pub(crate) fn split_aim(data: &[u8]) -> Option<(&str, &[u8])> {
    let (aim, rest) = data.split_at_checked(3)?;
    match aim {
        [b']', letter, modifier] if letter.is_ascii_alphabetic() && modifier.is_ascii_alphanumeric() => {
            Some((std::str::from_utf8(aim).ok()?, rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        for (aim, expected) in [
            ("]E0", Symbology::Ean13),
            ("]E3", Symbology::EanAddOn),
            ("]E4", Symbology::Ean8),
            ("]I1", Symbology::Itf14),
            ("]C0", Symbology::Code128),
            ("]C1", Symbology::Gs1128),
            ("]e0", Symbology::DataBarExpanded),
            ("]Q1", Symbology::Qr),
            ("]Q3", Symbology::Gs1Qr),
            ("]d1", Symbology::DataMatrix),
            ("]d2", Symbology::Gs1DataMatrix),
            ("]J1", Symbology::Gs1DotCode),
            ("]A0", Symbology::Unknown),
            ("E0", Symbology::Unknown),
            ("", Symbology::Unknown),
        ] {
            assert_eq!(Symbology::from_aim(aim), expected, "{aim}");
        }
    }

    #[test]
    fn a_prefix_is_split_off() {
        assert_eq!(split_aim(b"]E0400"), Some(("]E0", &b"400"[..])));
        for none in [&b"]E"[..], b"400", b"]]]", b"", b"]\xc3\xa4"] {
            assert_eq!(split_aim(none), None);
        }
    }
}
