//! What a basket allows.

use super::event::BasketEvent;
use super::line::{Basket, Line, LineId, MAX_GRAMS, MAX_LINES, MAX_PIECES, MAX_TOTAL_MINOR, Quantity};
use super::price::gross_minor;
use crate::barcode::{Meaning, Measure};
use crate::catalogue::{Article, Articles, MAX_PRICE_MINOR, SaleKind};
use crate::error::WalkpayError;

type Decision = Result<Vec<BasketEvent>, WalkpayError>;

impl Basket {
    /// A scan (A01): the events that put its article into the basket. `quantity` is what the shopper says beside the
    /// scan: pieces (one, if nothing is said) or the weight of loose goods; labels bring their own. Equal counted
    /// articles share a line. A deposit comes with its article, as a line bound to it. Age-restricted articles are
    /// allowed ([`Basket::max_age_required`]).
    ///
    /// # Errors
    /// [`WalkpayError::UnknownArticle`] for the article or its deposit; [`WalkpayError::BasketRule`] with the rule
    /// `sale_stopped`, `weight_needed`, `label_needed`, `pieces_needed`, `label_mismatch`, `quantity`, `too_many_lines`,
    /// `total_limit` or `not_an_article`. The basket is unchanged.
    pub fn decide_scan<A: Articles + ?Sized>(
        &self,
        meaning: &Meaning,
        quantity: Option<Quantity>,
        articles: &A,
    ) -> Decision {
        let find = |gtin| articles.article(gtin).ok_or_else(|| unknown(gtin));
        let gtin = meaning.gtin().ok_or_else(|| refuse("not_an_article", None, "this code is for the exit gate"))?;
        let article = find(gtin)?;
        if article.sale_stopped {
            return Err(refuse(
                "sale_stopped",
                None,
                "this article must not be sold at present; leave it in the store",
            ));
        }
        let quantity = picked(meaning, quantity, article)?;
        check_range(quantity, None)?;
        let deposit = article.deposit.map(find).transpose()?;
        let same = |l: &&Line| {
            l.parent.is_none()
                && l.article.gtin == gtin
                && l.article.deposit == article.deposit
                && matches!(l.quantity, Quantity::Pieces { .. })
        };
        match (quantity, self.lines.iter().find(same)) {
            (Quantity::Pieces { count }, Some(line)) => {
                let sum = line.quantity.pieces().saturating_add(count);
                self.change(line, Quantity::Pieces { count: sum })
            }
            _ => self.add(article, quantity, deposit),
        }
    }

    /// Another quantity of a line; a deposit follows its article.
    ///
    /// # Errors
    /// [`WalkpayError::BasketRule`] with the rule `unknown_line`, `deposit_line`, `label_quantity` (its quantity is in
    /// its label), `pieces_needed`, `weight_needed`, `quantity`, `sale_stopped` (for more of it) or `total_limit`. The
    /// basket is unchanged.
    pub fn decide_set_quantity(&self, id: LineId, quantity: Quantity) -> Decision {
        let line = self.editable(id)?;
        match (line.article.sale, quantity) {
            (SaleKind::Pieces, Quantity::Pieces { .. }) | (SaleKind::ShopperWeighed, Quantity::Grams { .. }) => {}
            (SaleKind::Pieces, _) => return Err(refuse("pieces_needed", Some(id), "say how many pieces")),
            (SaleKind::ShopperWeighed, _) => {
                return Err(refuse("weight_needed", Some(id), "weigh it and say the grams"));
            }
            (SaleKind::PreWeighed | SaleKind::PriceInCode, _) => {
                let detail = "its label says how much it is: remove the line, or scan another label";
                return Err(refuse("label_quantity", Some(id), detail));
            }
        }
        self.change(line, quantity)
    }

    /// A line goes, and its deposit with it.
    ///
    /// # Errors
    /// [`WalkpayError::BasketRule`] with the rule `unknown_line` or `deposit_line`. The basket is unchanged.
    pub fn decide_remove(&self, id: LineId) -> Decision {
        let line = self.editable(id)?;
        let deposits = self.children(line.id).map(|l| l.id);
        Ok(deposits.chain([line.id]).map(|line| BasketEvent::LineRemoved { line }).collect())
    }

    fn add(&self, article: &Article, quantity: Quantity, deposit: Option<&Article>) -> Decision {
        if self.lines.len() + 1 + usize::from(deposit.is_some()) > MAX_LINES {
            let detail = format!("a basket has at most {MAX_LINES} lines; finish this one first");
            return Err(refuse("too_many_lines", None, detail));
        }
        let id = LineId(self.last_line.saturating_add(1));
        let mut lines = vec![Line { id, quantity, parent: None, article: article.clone() }];
        if let Some(deposit) = deposit {
            let quantity = Quantity::Pieces { count: quantity.pieces() };
            let article = deposit.clone();
            lines.push(Line { id: LineId(id.0.saturating_add(1)), quantity, parent: Some(id), article });
        }
        self.within_total(lines.iter().map(|l| gross_minor(&l.article, l.quantity)).sum(), None)?;
        Ok(lines.into_iter().map(|line| BasketEvent::LineAdded { line }).collect())
    }

    fn change(&self, line: &Line, quantity: Quantity) -> Decision {
        check_range(quantity, Some(line.id))?;
        let more = gross_minor(&line.article, quantity) - gross_minor(&line.article, line.quantity);
        if line.article.sale_stopped && more > 0 {
            return Err(refuse("sale_stopped", Some(line.id), "no more of this article can be sold"));
        }
        let mut events = vec![BasketEvent::QuantitySet { line: line.id, quantity }];
        let mut added = more;
        for deposit in self.children(line.id) {
            let quantity = Quantity::Pieces { count: quantity.pieces() };
            added += gross_minor(&deposit.article, quantity) - gross_minor(&deposit.article, deposit.quantity);
            events.push(BasketEvent::QuantitySet { line: deposit.id, quantity });
        }
        self.within_total(added, Some(line.id))?;
        Ok(events)
    }

    fn within_total(&self, added: i64, line: Option<LineId>) -> Result<(), WalkpayError> {
        let total: i64 = self.lines.iter().map(|l| gross_minor(&l.article, l.quantity)).sum();
        if total + added > MAX_TOTAL_MINOR {
            return Err(refuse("total_limit", line, "the basket would be worth more than one purchase may be"));
        }
        Ok(())
    }

    fn editable(&self, id: LineId) -> Result<&Line, WalkpayError> {
        let line = self.line(id).ok_or_else(|| refuse("unknown_line", Some(id), "the basket has no such line"))?;
        match line.parent {
            Some(parent) => {
                Err(refuse("deposit_line", Some(id), format!("a deposit goes with its article: change line {parent}")))
            }
            None => Ok(line),
        }
    }
}

/// The quantity that code and shopper say together.
fn picked(meaning: &Meaning, said: Option<Quantity>, article: &Article) -> Result<Quantity, WalkpayError> {
    let measure = match meaning {
        Meaning::VariableMeasure { measure, .. } => Some(*measure),
        _ => None,
    };
    if measure.is_some() && said.is_some() {
        return Err(refuse("label_quantity", None, "the label of this article says how much it is"));
    }
    match (article.sale, measure, said) {
        (SaleKind::Pieces, None, None) => Ok(Quantity::Pieces { count: 1 }),
        (SaleKind::Pieces, None, Some(said @ Quantity::Pieces { .. })) => Ok(said),
        (SaleKind::Pieces, None, Some(_)) => Err(refuse("pieces_needed", None, "this article is counted")),
        (SaleKind::ShopperWeighed, None, Some(said @ Quantity::Grams { .. })) => Ok(said),
        (SaleKind::ShopperWeighed, None, _) => Err(refuse("weight_needed", None, "weigh it and say the grams")),
        (SaleKind::PreWeighed | SaleKind::PriceInCode, None, _) => {
            Err(refuse("label_needed", None, "scan the label that the scales printed"))
        }
        (SaleKind::ShopperWeighed | SaleKind::PreWeighed, Some(Measure::Grams { grams }), _) => {
            Ok(Quantity::Grams { grams })
        }
        (SaleKind::PriceInCode, Some(Measure::Price { minor }), _) => Ok(Quantity::Price { minor }),
        (_, Some(_), _) => Err(refuse("label_mismatch", None, "the label does not say what this article is sold by")),
    }
}

/// Checks a quantity against the limits of a line.
pub(super) fn check_range(quantity: Quantity, line: Option<LineId>) -> Result<(), WalkpayError> {
    let (fits, expected) = match quantity {
        Quantity::Pieces { count } => ((1..=MAX_PIECES).contains(&count), format!("1 to {MAX_PIECES} pieces")),
        Quantity::Grams { grams } => ((1..=MAX_GRAMS).contains(&grams), format!("1 to {MAX_GRAMS} g")),
        Quantity::Price { minor } => {
            ((1..=MAX_PRICE_MINOR).contains(&minor), format!("a price of 1 to {MAX_PRICE_MINOR} minor units"))
        }
    };
    if fits {
        Ok(())
    } else {
        Err(refuse("quantity", line, format!("a line takes {expected}; remove it to take none")))
    }
}

fn refuse(rule: &str, line: Option<LineId>, detail: impl Into<String>) -> WalkpayError {
    WalkpayError::basket_rule(rule, line.map(|l| l.0), detail)
}

fn unknown(gtin: crate::barcode::Gtin) -> WalkpayError {
    WalkpayError::UnknownArticle { gtin: gtin.to_string() }
}
