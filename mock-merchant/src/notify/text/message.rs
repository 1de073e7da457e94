//! The messages.

use super::clean::{isolated, line};
use super::gsm::{Coding, measure};
use super::template::{fill, section};
use super::values::{Style, amount, spoken_amount, time};
use crate::html::escape;
use crate::store::contacts::{Language, Medium};
use crate::store::notices::NoticeKind;
use jiff::tz::TimeZone;
use std::fmt::Write;
use walkpay::{Money, ServiceNumber, Timestamp};

/// What a message tells.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Which notice it is.
    pub kind: NoticeKind,
    /// The payer's language.
    pub language: Language,
    /// Whose times are told.
    pub zone: TimeZone,
    /// The merchant's name.
    pub merchant: String,
    /// The order, unless the notice is about a device.
    pub order: Option<OrderFacts>,
    /// The label of a device and when it was enrolled.
    pub device: Option<(String, Timestamp)>,
    /// The payer's page; empty: there is none.
    pub link: String,
    /// Where a mail program unsubscribes (RFC 8058); empty: the notice cannot be unsubscribed from.
    pub unsubscribe: String,
}

/// What is told of an order.
#[derive(Clone, Debug)]
pub struct OrderFacts {
    /// Its number.
    pub number: ServiceNumber,
    /// What it is for.
    pub service: String,
    /// Who is paid.
    pub payee: String,
    /// What is owed.
    pub due: Money,
    /// What it came to.
    pub total: Money,
    /// What was given back.
    pub refunded: Money,
    /// Until when it is to be paid.
    pub deadline: Timestamp,
}

/// A message, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// By e-mail.
    Email(EmailText),
    /// As a text message.
    Sms(SmsText),
    /// By a voice.
    Voice(VoiceText),
}

/// An e-mail without its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailText {
    /// The language.
    pub language: Language,
    /// One line.
    pub subject: String,
    /// The plain part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// Who it is from, for people.
    pub sender: String,
    /// For the header List-Unsubscribe; empty: none.
    pub unsubscribe: String,
}

/// A text message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmsText {
    /// One line.
    pub text: String,
    /// How it is coded.
    pub coding: Coding,
    /// In how many segments.
    pub segments: u32,
}

/// What a voice says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoiceText {
    /// In which language.
    pub language: Language,
    /// The words.
    pub text: String,
}

/// The message of a notice by a medium; `None` if that medium does not tell of it.
pub fn render(medium: Medium, facts: &Facts) -> Option<Message> {
    match medium {
        Medium::Email => email(facts).map(Message::Email),
        Medium::Sms => sms(facts).map(Message::Sms),
        Medium::Voice => voice(facts).map(Message::Voice),
    }
}

/// Whether a medium tells of a notice: a voice does only of what is to be paid, and of what may be an attack.
pub fn tells(medium: Medium, kind: NoticeKind) -> bool {
    use NoticeKind::{NewDevice, Overdue, Payable, Reminder};
    medium != Medium::Voice || matches!(kind, Payable | Reminder | Overdue | NewDevice)
}

fn template(medium: Medium, language: Language) -> &'static str {
    match (medium, language) {
        (Medium::Email, Language::En) => include_str!("en/email.txt"),
        (Medium::Email, Language::Zh) => include_str!("zh/email.txt"),
        (Medium::Sms, Language::En) => include_str!("en/sms.txt"),
        (Medium::Sms, Language::Zh) => include_str!("zh/sms.txt"),
        (Medium::Voice, Language::En) => include_str!("en/voice.txt"),
        (Medium::Voice, Language::Zh) => include_str!("zh/voice.txt"),
    }
}

/// A text between `line` and its use: what is done to it, and how long it may be.
struct Form {
    style: Style,
    max: usize,
    text: fn(String) -> String,
}

impl Form {
    fn value(&self, facts: &Facts, name: &str) -> Option<String> {
        let outside = |text: &str| (self.text)(line(text, self.max));
        let at = |at| time(facts.language, &facts.zone, at, self.style);
        let money = |money| match self.style {
            Style::Spoken => spoken_amount(facts.language, money),
            _ => amount(money),
        };
        let order = facts.order.as_ref();
        match name {
            "merchant" => Some(outside(&facts.merchant)),
            "service" => Some(outside(&order?.service)),
            "payee" => Some(outside(&order?.payee)),
            "number" if self.style == Style::Spoken => Some(spelt(&order?.number)),
            "number" => Some(order?.number.to_string()),
            "due" => Some(money(order?.due)),
            "total" => Some(money(order?.total)),
            "refunded" => Some(money(order?.refunded)),
            "deadline" => Some(at(order?.deadline)),
            "device" => Some(outside(&facts.device.as_ref()?.0)),
            "time" => Some(at(facts.device.as_ref()?.1)),
            "link" => Some(facts.link.clone()),
            "unsubscribe" => Some(facts.unsubscribe.clone()),
            _ => None,
        }
    }
}

/// The last four digits, one by one.
fn spelt(number: &ServiceNumber) -> String {
    let text = number.to_string();
    let last = text.get(text.len().saturating_sub(4)..).unwrap_or_default();
    last.chars().map(String::from).collect::<Vec<_>>().join(" ")
}

fn email(facts: &Facts) -> Option<EmailText> {
    let file = template(Medium::Email, facts.language);
    let lines = section(file, facts.kind.word())?;
    let (subject, paragraphs) = lines.split_first()?;
    let plain = Form { style: Style::Long, max: 200, text: isolated };
    let marked = Form { style: Style::Long, max: 200, text: |text| format!("<bdi>{}</bdi>", escape(&text)) };
    let named = Form { text: |text| text, max: 80, ..plain };
    let one = |name: &str| section(file, name).and_then(|lines| lines.first().copied());
    let mut parts: Vec<&str> = paragraphs.to_vec();
    parts.push(one("footer")?);
    if !facts.unsubscribe.is_empty() {
        parts.push(one("unsubscribe")?);
    }
    let (mut text, mut body) = (String::new(), String::new());
    for part in parts.iter().filter(|part| **part != "{link}" || !facts.link.is_empty()) {
        let _ = write!(text, "{}\n\n", fill(part, |name| plain.value(facts, name))?);
        let html = match *part {
            "{link}" => anchor(&facts.link, &escape(one("button")?)),
            part => fill(part, |name| match name {
                "unsubscribe" => Some(anchor(&facts.unsubscribe, &escape(&facts.unsubscribe))),
                name => marked.value(facts, name),
            })?,
        };
        let _ = writeln!(body, "<p>{html}</p>");
    }
    let greeting = fill(one("greeting")?, |name| marked.value(facts, name))?;
    let language = facts.language.word();
    let html = format!(
        "<!doctype html>\n<html lang=\"{language}\"><head><meta charset=\"utf-8\"></head>\
         <body style=\"font:16px sans-serif;max-width:36em;margin:auto;padding:1em\">\n<h1 style=\"font-size:1.2em\">{greeting}</h1>\n{body}</body></html>\n"
    );
    Some(EmailText {
        language: facts.language,
        subject: fill(subject, |name| Form { max: 80, ..plain }.value(facts, name))?,
        text: text.trim_end().to_owned() + "\n",
        html,
        sender: named.value(facts, "merchant")?,
        unsubscribe: facts.unsubscribe.clone(),
    })
}

fn anchor(link: &str, text: &str) -> String {
    format!("<a href=\"{}\">{text}</a>", escape(link))
}

fn sms(facts: &Facts) -> Option<SmsText> {
    let lines = section(template(Medium::Sms, facts.language), facts.kind.word())?;
    let form = Form { style: Style::Short, max: 40, text: |text| isolated(text.replace('…', "..")) };
    let text = fill(lines.first()?, |name| form.value(facts, name))?;
    let text = text.trim_end().to_owned();
    let (coding, segments) = measure(&text);
    Some(SmsText { text, coding, segments })
}

fn voice(facts: &Facts) -> Option<VoiceText> {
    let lines = section(template(Medium::Voice, facts.language), facts.kind.word())?;
    let form = Form { style: Style::Spoken, max: 80, text: |text| text.replace('…', "") };
    let text = fill(lines.first()?, |name| form.value(facts, name))?;
    Some(VoiceText { language: facts.language, text })
}
