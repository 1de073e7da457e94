//! What fits into a text message: the default alphabet and the segments of 3GPP TS 23.038 and 23.040.

/// GSM 7 bit default alphabet (23.038 §6.2.1), without line breaks.
const BASIC: &str = "@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// Its extension table (§6.2.1.1): two septets each.
const EXTENDED: &str = "^{}\\[~]|€";

/// How a text is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// 160 characters, or 153 per segment.
    Gsm7,
    /// 70 UTF-16 units, or 67 per segment.
    Ucs2,
}

impl Coding {
    /// The word in listings and files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Gsm7 => "GSM-7",
            Self::Ucs2 => "UCS-2",
        }
    }
}

/// How a text is coded, and in how many segments.
pub fn measure(text: &str) -> (Coding, u32) {
    let segments = |units: usize, one: usize, each: usize| match units {
        units if units <= one => 1,
        units => u32::try_from(units.div_ceil(each)).unwrap_or(u32::MAX),
    };
    match text.chars().map(septets).sum::<Option<usize>>() {
        Some(septets) => (Coding::Gsm7, segments(septets, 160, 153)),
        None => (Coding::Ucs2, segments(text.encode_utf16().count(), 70, 67)),
    }
}

fn septets(c: char) -> Option<usize> {
    match c {
        c if BASIC.contains(c) => Some(1),
        c if EXTENDED.contains(c) => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_counted_as_they_are_sent() {
        assert_eq!(BASIC.chars().count(), 128 - 3, "without escape, line feed and carriage return");
        assert_eq!(measure(""), (Coding::Gsm7, 1));
        assert_eq!(measure(&"a".repeat(160)), (Coding::Gsm7, 1));
        assert_eq!(measure(&"a".repeat(161)), (Coding::Gsm7, 2));
        assert_eq!(measure(&"a".repeat(306)), (Coding::Gsm7, 2));
        assert_eq!(measure(&"a".repeat(307)), (Coding::Gsm7, 3));
        assert_eq!(measure(&"€".repeat(80)), (Coding::Gsm7, 1));
        assert_eq!(measure(&"€".repeat(81)), (Coding::Gsm7, 2));
        assert_eq!(measure(&"付".repeat(70)), (Coding::Ucs2, 1));
        assert_eq!(measure(&"付".repeat(71)), (Coding::Ucs2, 2));
        assert_eq!(measure(&"👍".repeat(35)), (Coding::Ucs2, 1));
        assert_eq!(measure(&"👍".repeat(68)), (Coding::Ucs2, 3));
    }
}
