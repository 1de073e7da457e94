//! E-mails as bytes (RFC 5322, RFC 2045): what a mail server gets, and what the file outbox keeps.

use super::text::EmailText;
use super::text::clean::line;
use lettre::address::AddressError;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use std::time::{Duration, UNIX_EPOCH};
use walkpay::Timestamp;

/// A message that cannot be put into the form of an e-mail: an address is none.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Not an address.
    #[error("not an address: {0}")]
    Address(#[from] AddressError),
    /// Something else that the format does not allow.
    #[error("{0}")]
    Form(#[from] lettre::error::Error),
}

/// The domain of message identifiers and of the sender when there is none: it is never delivered to (RFC 2606).
const NOWHERE: &str = "walkpay.invalid";

/// The message with text and HTML, from `sender` to `to`. All of it follows from the arguments: a second try is the same
/// message, under the same Message-ID.
///
/// # Errors
/// [`Unusable`].
pub fn message(
    text: &EmailText,
    sender: Option<&Address>,
    to: &str,
    message_id: &str,
    at: Timestamp,
) -> Result<Message, Unusable> {
    let sender = match sender {
        Some(sender) => sender.clone(),
        None => Address::new("notices", NOWHERE)?,
    };
    let id = format!("<{message_id}@{}>", sender.domain());
    let mut builder = Message::builder()
        .from(Mailbox::new(Some(line(&text.sender, 80)), sender))
        .to(Mailbox::new(None, to.parse()?))
        // Its values are clean, and their isolates must stay.
        .subject(text.subject.chars().filter(|c| !c.is_control()).take(250).collect::<String>())
        .message_id(Some(id))
        .date(UNIX_EPOCH + Duration::from_millis(at.as_millis().unsigned_abs()))
        .raw_header(header("Content-Language", text.language.word()))
        .raw_header(header("Auto-Submitted", "auto-generated"));
    if !text.unsubscribe.is_empty() {
        // RFC 8058: mail programs unsubscribe with one click.
        builder = builder
            .raw_header(header("List-Unsubscribe", &format!("<{}>", text.unsubscribe)))
            .raw_header(header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"));
    }
    let parts = MultiPart::alternative().boundary(format!("={message_id}="));
    let plain = lettre::message::SinglePart::plain(text.text.clone());
    let html = lettre::message::SinglePart::html(text.html.clone());
    Ok(builder.multipart(parts.singlepart(plain).singlepart(html))?)
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contacts::Language;

    fn made(subject: &str, sender: &str) -> String {
        let text = EmailText {
            language: Language::En,
            subject: subject.to_owned(),
            text: "Zahl’ 12.30 EUR, 付款\n".into(),
            html: "<p>12.30 EUR</p>\n".into(),
            sender: sender.to_owned(),
            unsubscribe: "https://pay.example/pay/abc/unsubscribe".into(),
        };
        let at = Timestamp::parse("2026-01-31T09:49:59Z").unwrap();
        let message =
            message(&text, Some(&"pay@shop.example".parse().unwrap()), "ann@example.org", "ntc_1", at).unwrap();
        String::from_utf8(message.formatted()).unwrap()
    }

    #[test]
    fn a_message_is_as_it_was() {
        insta::assert_snapshot!(made("12.30 EUR to pay for Küche 厨房 👍", "Corner").replace('\r', ""));
    }

    #[test]
    fn no_name_makes_a_header() {
        let wild = "x\r\nBcc: everybody@example.org\r\n\r\nbody <a@b>, \"q\"";
        let made = made(wild, wild);
        let (head, _) = made.split_once("\r\n\r\n").unwrap();
        let names: Vec<&str> =
            head.split("\r\n").filter(|l| !l.starts_with([' ', '\t'])).filter_map(|l| l.split(':').next()).collect();
        assert!(!names.iter().any(|name| name.eq_ignore_ascii_case("bcc")), "{head}");
        assert_eq!(names.iter().filter(|name| **name == "To").count(), 1, "{head}");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let text = EmailText {
            language: Language::Zh,
            subject: String::new(),
            text: String::new(),
            html: String::new(),
            sender: String::new(),
            unsubscribe: String::new(),
        };
        for bad in ["", "ann", "ann@", "a b@example.org", "ann@example.org\r\nBcc: x@y"] {
            assert!(message(&text, None, bad, "ntc_1", Timestamp::from_millis(0)).is_err(), "{bad}");
        }
    }
}
