//! Whether lines that were sent are what this side computes (A21).

use super::line::{LineId, Pick, Quantity};
use super::price::{PricedBasket, PricedLine, price};
use super::sent::{SentLine, SentLines};
use crate::barcode::{BarcodeTemplate, Gtin, ValueKind};
use crate::catalogue::{Articles, PriceBook};
use crate::error::WalkpayError;
use crate::protocol::document::{Reason, ReasonCode};
use crate::time::Timestamp;

/// Why lines are refused, and what they would cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineMismatches {
    /// At least one reason, by line.
    pub reasons: Vec<Reason>,
    /// The same picks at this side's prices, where they can be priced.
    pub repriced: Option<Box<PricedBasket>>,
}

/// Prices sent lines anew and compares every number of every line.
///
/// # Errors
/// [`LineMismatches`] with typed reasons that name their lines.
pub fn verify_lines<A: Articles + ?Sized>(
    sent: &SentLines,
    priced_at: Timestamp,
    book: &PriceBook,
    articles: &A,
) -> Result<PricedBasket, LineMismatches> {
    let picks = sent.picks();
    let mut reasons = violations(&picks, book, articles);
    if sent.currency != book.currency() {
        let detail = format!("expected {}, got {}", book.currency(), sent.currency);
        reasons.push(Reason { code: ReasonCode::CurrencyMismatch, line: None, detail });
    }
    let repriced = match price(&picks, priced_at, book, articles) {
        Ok(basket) => basket,
        Err(e) => {
            if reasons.is_empty() {
                reasons.push(reason_of(&e));
            }
            return Err(LineMismatches { reasons, repriced: None });
        }
    };
    for (sent, expected) in sent.lines.iter().zip(&repriced.lines) {
        compare(sent, expected, &mut reasons);
    }
    if reasons.is_empty() { Ok(repriced) } else { Err(LineMismatches { reasons, repriced: Some(Box::new(repriced)) }) }
}

/// What forbids selling these lines: unknown and stopped articles, deposits that are missing or alone, embedded values
/// outside their template's limits, numbers out of order, nothing at all. Terminal (on review) and merchant ask this alike.
pub fn violations<A: Articles + ?Sized>(picks: &[Pick], book: &PriceBook, articles: &A) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if picks.is_empty() {
        reasons.push(Reason { code: ReasonCode::LinesMalformed, line: None, detail: "the basket is empty".into() });
    }
    let mut last = 0;
    for pick in picks {
        let mut add = |code, detail: String| reasons.push(Reason { code, line: Some(pick.line.0), detail });
        if pick.line.0 <= last {
            add(ReasonCode::LinesMalformed, "line numbers must rise from 1".into());
        }
        last = pick.line.0;
        let Some(article) = articles.article(pick.gtin) else {
            add(ReasonCode::UnknownArticle, format!("no article {} in revision {}", pick.gtin, book.header().revision));
            continue;
        };
        if article.sale_stopped && pick.parent.is_none() {
            add(ReasonCode::SaleStopped, format!("{} must not be sold", pick.gtin));
        }
        if implausible(pick, book.templates()) {
            add(ReasonCode::QuantityLimit, "the weight or price of the label is implausible".into());
        }
        if let Some(detail) = deposit_problem(pick, article.deposit, picks, articles) {
            add(ReasonCode::PriceMismatch, detail);
        }
    }
    reasons
}

/// A deposit line must belong to an article with that deposit; an article with a deposit must have one such line.
fn deposit_problem<A: Articles + ?Sized>(
    pick: &Pick,
    deposit: Option<Gtin>,
    picks: &[Pick],
    articles: &A,
) -> Option<String> {
    match (pick.parent, deposit) {
        (Some(parent), _) => {
            let owner = find(picks, parent).filter(|p| p.parent.is_none());
            let wanted = owner.and_then(|p| articles.article(p.gtin)).and_then(|a| a.deposit);
            (wanted != Some(pick.gtin)).then(|| format!("line {parent} has no deposit {}", pick.gtin))
        }
        (None, Some(deposit)) => {
            let expected = Quantity::Pieces { count: pick.quantity.pieces() };
            let mut children = picks.iter().filter(|p| p.parent == Some(pick.line));
            let right = children.next().is_some_and(|p| p.gtin == deposit && p.quantity == expected);
            (!right || children.next().is_some()).then(|| format!("expected one deposit line {deposit} per piece"))
        }
        (None, None) => None,
    }
}

fn find(picks: &[Pick], line: LineId) -> Option<&Pick> {
    picks.iter().find(|p| p.line == line)
}

/// Whether a value that came from a label is outside the limits of every template that could have read that label.
fn implausible(pick: &Pick, templates: &[BarcodeTemplate]) -> bool {
    let (kind, value) = match pick.quantity {
        Quantity::Pieces { .. } => return false,
        Quantity::Grams { grams } => (ValueKind::Weight, i64::from(grams)),
        Quantity::Price { minor } => (ValueKind::Price, minor),
    };
    let mut fitting = templates.iter().filter(|t| t.kind == kind && t.reads(pick.gtin)).peekable();
    let within = |t: &BarcodeTemplate| (i64::from(t.min_value)..=i64::from(t.max_value)).contains(&value);
    fitting.peek().is_some() && !fitting.any(within)
}

fn compare(sent: &SentLine, expected: &PricedLine, reasons: &mut Vec<Reason>) {
    for (what, got, expected) in [
        ("unit price", sent.unit_price_minor, expected.unit_price_minor),
        ("discount", sent.discount_minor, expected.discount_minor),
        ("payable", sent.payable_minor, expected.payable_minor),
        ("tax", sent.tax_minor, expected.tax_minor),
    ] {
        if got != expected {
            let detail = format!("{what}: expected {expected} minor units, got {got}");
            reasons.push(Reason { code: ReasonCode::PriceMismatch, line: Some(sent.line.0), detail });
        }
    }
    if sent.tax_group != expected.tax_group {
        let detail = format!("tax group: expected {}", expected.tax_group);
        reasons.push(Reason { code: ReasonCode::PriceMismatch, line: Some(sent.line.0), detail });
    }
}

fn reason_of(error: &WalkpayError) -> Reason {
    let (code, line) = match error {
        WalkpayError::BasketRule { rule, line, .. } => match rule.as_str() {
            "pricing_version" => (ReasonCode::PricingVersion, *line),
            "quantity" | "quantity_kind" => (ReasonCode::QuantityLimit, *line),
            "total_limit" => (ReasonCode::AmountLimit, *line),
            _ => (ReasonCode::PriceMismatch, *line),
        },
        WalkpayError::UnknownArticle { .. } => (ReasonCode::UnknownArticle, None),
        _ => (ReasonCode::LinesMalformed, None),
    };
    Reason { code, line, detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;
    use crate::barcode::Measure;

    /// What is altered, and the reason and line that must come of it.
    type Alteration = (fn(&mut SentLines), ReasonCode, Option<u32>);

    fn sent() -> SentLines {
        let basket =
            basket(&[(scan(COLA), pieces(2)), (scan(TEA), None), (label(CHEESE, Measure::Grams { grams: 300 }), None)]);
        SentLines::from(&price(&basket.picks(), at(5), &book(vec![]), &articles()).unwrap())
    }

    fn reasons(sent: &SentLines) -> Vec<(ReasonCode, Option<u32>)> {
        let mismatches = verify_lines(sent, at(5), &book(vec![]), &articles()).unwrap_err();
        mismatches.reasons.into_iter().map(|r| (r.code, r.line)).collect()
    }

    #[test]
    fn what_was_computed_alike_is_accepted() {
        let priced = verify_lines(&sent(), at(5), &book(vec![]), &articles()).unwrap();
        assert_eq!(SentLines::from(&priced), sent());
    }

    #[test]
    fn every_alteration_is_named_with_its_line() {
        let alterations: [Alteration; 15] = [
            (|s| s.lines[0].unit_price_minor -= 1, ReasonCode::PriceMismatch, Some(1)),
            (|s| s.lines[2].payable_minor = 0, ReasonCode::PriceMismatch, Some(3)),
            (|s| s.lines[2].discount_minor = 5, ReasonCode::PriceMismatch, Some(3)),
            (|s| s.lines[2].tax_minor += 1, ReasonCode::PriceMismatch, Some(3)),
            (|s| s.lines[2].tax_group = "A".into(), ReasonCode::PriceMismatch, Some(3)),
            (|s| s.lines[0].quantity = Quantity::Pieces { count: 1 }, ReasonCode::PriceMismatch, Some(1)),
            (|s| s.lines[2].quantity = Quantity::Pieces { count: 0 }, ReasonCode::QuantityLimit, Some(3)),
            (|s| s.lines[3].quantity = Quantity::Grams { grams: 1 }, ReasonCode::QuantityLimit, Some(4)),
            (|s| s.lines[2].gtin = key(STOPPED), ReasonCode::SaleStopped, Some(3)),
            (|s| s.lines[2].gtin = key(99_999), ReasonCode::UnknownArticle, Some(3)),
            (|s| drop(s.lines.remove(1)), ReasonCode::PriceMismatch, Some(1)),
            (|s| s.lines[1].parent = Some(LineId(3)), ReasonCode::PriceMismatch, Some(1)),
            (|s| s.lines[2].line = LineId(1), ReasonCode::LinesMalformed, Some(1)),
            (|s| s.lines.clear(), ReasonCode::LinesMalformed, None),
            (|s| s.currency = crate::money::Currency::parse("USD").unwrap(), ReasonCode::CurrencyMismatch, None),
        ];
        for (at, (alter, code, line)) in alterations.into_iter().enumerate() {
            let mut sent = sent();
            alter(&mut sent);
            let found = reasons(&sent);
            assert!(found.contains(&(code, line)), "{at}: {found:?}");
        }
    }

    #[test]
    fn a_mismatch_carries_the_right_prices() {
        let mut sent = sent();
        sent.lines[0].unit_price_minor = 1;
        let mismatches = verify_lines(&sent, at(5), &book(vec![]), &articles()).unwrap_err();
        assert_eq!(mismatches.repriced.unwrap().lines[0].unit_price_minor, 129);
    }
}
