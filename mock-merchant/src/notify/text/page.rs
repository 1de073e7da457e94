//! The payer's page of what is to be paid (B10), as HTML: no login, as little as possible of the person, nothing from outside as
//! markup. It is whole without any script; with one, the section of orders is replaced as events come.

use super::clean::line;
use super::message::OrderFacts;
use super::template::{fill, section};
use super::values::{Style, amount, time};
use crate::html::escape;
use crate::store::contacts::Language;
use crate::store::orders::OrderState;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::fmt::Write;
use walkpay::protocol::order::FeeLine;
use walkpay::{Currency, ServiceNumber, Timestamp};

/// What the page shows.
#[derive(Clone, Debug)]
pub struct PageFacts {
    /// The payer's language.
    pub language: Language,
    /// Whose times are shown.
    pub zone: TimeZone,
    /// The present, for what is overdue.
    pub now: Timestamp,
    /// The merchant's name.
    pub merchant: String,
    /// An order that is shown in full: that of the notice, or one that was chosen.
    pub chosen: Option<ChosenOrder>,
    /// All that is to be paid, or being paid.
    pub orders: Vec<PageOrder>,
    /// Whether the link's address gets messages; `None`: the link was not sent to an address.
    pub subscribed: Option<bool>,
}

/// An order in the list.
#[derive(Clone, Debug)]
pub struct PageOrder {
    /// What is told of it.
    pub facts: OrderFacts,
    /// Where it stands.
    pub state: OrderState,
}

/// An order in full.
#[derive(Clone, Debug)]
pub struct ChosenOrder {
    /// As in the list.
    pub order: PageOrder,
    /// What it is made of.
    pub fees: Vec<FeeLine>,
}

/// The page at `/pay/{token}`, or of an order that was chosen there.
pub fn page(facts: &PageFacts, token: &str, chosen: Option<ServiceNumber>) -> String {
    let word = |name| word(facts.language, name, &facts.merchant);
    let base = format!("/pay/{}", escape(token));
    let lang = format!("?lang={}", facts.language.word());
    let order = chosen.map_or_else(String::new, |number| format!("&amp;order={number}"));
    let section = orders(facts, token);
    let mut body = format!("<section id=\"orders\" data-events=\"{base}/events{lang}{order}\">{section}</section>\n");
    if chosen.is_some() {
        let _ = writeln!(body, "<p><a href=\"{base}{lang}\">{}</a></p>", word("back"));
    }
    let _ = writeln!(body, "<p>{}</p>", word("how"));
    let (live, reload) = (word("live"), word("reload"));
    let _ = writeln!(body, "<p class=\"small\" id=\"live\" data-live=\"{live}\">{reload}</p>");
    let form = |action: &str, text| {
        format!("<form method=\"post\" action=\"{base}/{action}{lang}\"><button>{text}</button></form>\n")
    };
    match facts.subscribed {
        Some(true) => body += &form("unsubscribe", word("unsubscribe")),
        Some(false) => {
            let _ = writeln!(body, "<p>{}</p>", word("unsubscribed"));
            body += &form("subscribe", word("subscribe"));
        }
        None => {}
    }
    let (other, to) = match facts.language {
        Language::En => ("zh", "zh"),
        Language::Zh => ("en", "en"),
    };
    let _ =
        writeln!(body, "<p class=\"small\"><a href=\"{base}?lang={to}\" lang=\"{other}\">{}</a></p>", word("other"));
    layout(facts.language, &word("title"), &body)
}

/// The page of a link that opens nothing.
pub fn unknown(language: Language) -> String {
    let text = word(language, "unknown", "");
    layout(language, "walkpay", &format!("<p>{text}</p>\n"))
}

/// The section that events replace: on one line, as server-sent events want it.
pub fn orders(facts: &PageFacts, token: &str) -> String {
    let word = |name| word(facts.language, name, &facts.merchant);
    let mut out = String::new();
    if let Some(chosen) = &facts.chosen {
        let _ = write!(out, "<h2>{}</h2>{}", word("this"), full(facts, chosen));
    }
    let _ = write!(out, "<h2>{}</h2>", word("all"));
    if facts.orders.is_empty() {
        let _ = write!(out, "<p>{}</p>", word("nothing"));
        return out;
    }
    let heads = ["service", "payee", "deadline", "state", "due"].map(|name| format!("<th>{}</th>", word(name)));
    let _ = write!(out, "<table class=\"list\"><thead><tr>{}</tr></thead><tbody>", heads.concat());
    let mut sums = BTreeMap::<String, (Currency, i64)>::new();
    for order in &facts.orders {
        let OrderFacts { number, service, payee, due, deadline, .. } = &order.facts;
        let link = format!("/pay/{}/orders/{number}?lang={}", escape(token), facts.language.word());
        let _ = write!(
            out,
            "<tr><td><a href=\"{link}\">{}</a></td><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
            outside(service),
            outside(payee),
            at(facts, *deadline),
            state(facts, order),
            escape(&amount(*due)),
        );
        let sum = sums.entry(due.currency.code().to_owned()).or_insert((due.currency, 0));
        sum.1 = sum.1.saturating_add(due.minor);
    }
    out += "</tbody><tfoot>";
    for (currency, minor) in sums.into_values() {
        let sum = escape(&amount(currency.minor(minor)));
        let _ = write!(out, "<tr><th colspan=\"4\">{}</th><td class=\"n\">{sum}</td></tr>", word("sum"));
    }
    out + "</tfoot></table>"
}

fn full(facts: &PageFacts, chosen: &ChosenOrder) -> String {
    let word = |name| word(facts.language, name, &facts.merchant);
    let OrderFacts { number, service, payee, due, total, deadline, .. } = &chosen.order.facts;
    let mut out = "<dl>".to_owned();
    for (name, value) in [
        ("service", outside(service)),
        ("payee", outside(payee)),
        ("number", number.to_string()),
        ("due", escape(&amount(*due))),
        ("total", escape(&amount(*total))),
        ("deadline", at(facts, *deadline)),
        ("state", state(facts, &chosen.order)),
    ] {
        let _ = write!(out, "<dt>{}</dt><dd>{value}</dd>", word(name));
    }
    out += "</dl>";
    if !chosen.fees.is_empty() {
        let _ = write!(out, "<table><caption>{}</caption><tbody>", word("fees"));
        for fee in &chosen.fees {
            let (name, quantity) = (outside(&fee.name), escape(&fee.quantity));
            let sum = escape(&amount(fee.amount));
            let _ = write!(out, "<tr><td>{name}</td><td class=\"n\">{quantity}</td><td class=\"n\">{sum}</td></tr>");
        }
        out += "</tbody></table>";
    }
    out
}

fn at(facts: &PageFacts, at: Timestamp) -> String {
    escape(&time(facts.language, &facts.zone, at, Style::Long))
}

fn state(facts: &PageFacts, order: &PageOrder) -> String {
    let name = match order.state {
        OrderState::Payable if facts.now > order.facts.deadline => "overdue",
        OrderState::PartlyRefunded | OrderState::Refunded => "refunded",
        OrderState::Draft | OrderState::AwaitingConfirmation => "collecting",
        state => state.word(),
    };
    word(facts.language, name, &facts.merchant)
}

fn outside(text: &str) -> String {
    format!("<bdi>{}</bdi>", escape(&line(text, 200)))
}

/// A text of the page, as HTML.
fn word(language: Language, name: &str, merchant: &str) -> String {
    let file = match language {
        Language::En => include_str!("en/page.txt"),
        Language::Zh => include_str!("zh/page.txt"),
    };
    let text = section(file, name).and_then(|lines| lines.first().copied()).unwrap_or_default();
    let merchant = escape(&line(merchant, 80));
    fill(&escape(text), |name| (name == "merchant").then(|| merchant.clone())).unwrap_or_default()
}

fn layout(language: Language, title: &str, body: &str) -> String {
    let language = language.word();
    format!(
        "<!doctype html>\n<html lang=\"{language}\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"robots\" content=\"noindex\">\n\
         <title>{title}</title>\n<link rel=\"stylesheet\" href=\"/pay/page.css\">\n<script src=\"/pay/page.js\" defer></script></head>\n\
         <body><h1>{title}</h1>\n{body}</body></html>\n"
    )
}
