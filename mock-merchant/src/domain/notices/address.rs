//! Addresses of people, parsed.

use crate::failure::{Failure, refuse};
use crate::store::contacts::Medium;
use walkpay::protocol::problem::ProblemCode;

/// The longest address (RFC 5321 §4.5.3.1.3).
const MAX: usize = 254;

/// Parses `mailto:ann@example.org` (RFC 6068), `sms:+49301234567` (RFC 5724), and for calls `tel:+49301234567` (RFC 3966) or
/// `sip:ann@example.org` (RFC 3261 §19.1), none of them with parameters.
///
/// # Errors
/// [`Failure::Refused`] with `invalid_value`.
pub fn parse_address(uri: &str) -> Result<(Medium, String), Failure> {
    let parsed = match uri.split_once(':') {
        Some(("mailto", mailbox)) if is_mailbox(mailbox) => Some((Medium::Email, mailbox.to_owned())),
        Some(("sms", number)) if is_number(number) => Some((Medium::Sms, number.to_owned())),
        Some(("tel", number)) if is_number(number) => Some((Medium::Voice, number.to_owned())),
        Some(("sip", rest)) if is_sip(rest) => Some((Medium::Voice, uri.to_owned())),
        _ => None,
    };
    parsed.filter(|_| uri.len() <= MAX + 7).ok_or_else(|| {
        let detail = "address: expected mailto:ann@example.org, sms:+49301234567 (text messages), tel:+49301234567 or \
                      sip:ann@example.org (calls)";
        refuse(ProblemCode::InvalidValue, detail)
    })
}

/// A number in E.164: a plus sign, then 7 to 15 digits.
fn is_number(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|d| (7..=15).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()))
}

/// A mailbox without quoted parts. Letters beyond ASCII are possible (RFC 6531).
fn is_mailbox(text: &str) -> bool {
    let plain = |c: char| {
        c.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{|}~.-".contains(c) || (!c.is_ascii() && c.is_alphanumeric())
    };
    let dotted = |part: &str| !part.is_empty() && part.split('.').all(|label| !label.is_empty());
    text.rsplit_once('@').is_some_and(|(local, domain)| {
        let host = |c: char| c.is_alphanumeric() || c == '.' || c == '-';
        local.len() <= 64 && dotted(local) && local.chars().all(plain) && dotted(domain) && domain.chars().all(host)
    })
}

/// `user@host` or `user@host:port`, in plain characters.
fn is_sip(text: &str) -> bool {
    let Some((user, host)) = text.split_once('@') else { return false };
    let (host, port) = host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port)));
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-_.".contains(c);
    (1..=64).contains(&user.len())
        && user.chars().all(plain)
        && !host.is_empty()
        && host.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|p| p > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_they_say() {
        let ok = |uri: &str| parse_address(uri).ok().map(|(medium, place)| (medium.word(), place));
        assert_eq!(ok("mailto:ann+shop@example.org"), Some(("email", "ann+shop@example.org".into())));
        assert_eq!(ok("mailto:安@例子.中国"), Some(("email", "安@例子.中国".into())));
        assert_eq!(ok("sms:+49301234567"), Some(("sms", "+49301234567".into())));
        assert_eq!(ok("tel:+8613800138000"), Some(("voice", "+8613800138000".into())));
        assert_eq!(ok("sip:ann@127.0.0.1:5070"), Some(("voice", "sip:ann@127.0.0.1:5070".into())));
        for bad in [
            "",
            "ann@example.org",
            "mailto:ann",
            "mailto:@example.org",
            "mailto:ann@",
            "mailto:ann@example..org",
            "mailto:ann@example.org?bcc=x@y",
            "mailto:ann@example.org\r\nBcc: x@y",
            "mailto:a b@example.org",
            "mailto:<ann@example.org>",
            "sms:0301234567",
            "sms:+49",
            "tel:+4930-1234567",
            "sip:ann@host;transport=tcp",
            "sip:ann@host:99999",
            "sip:a\nb@host",
            "https://example.org",
        ] {
            assert_eq!(ok(bad), None, "{bad}");
        }
    }
}
