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
    let fits = match quantity {
        Quantity::Pieces { count } => (1..=MAX_PIECES).contains(&count),
        Quantity::Grams { grams } => (1..=MAX_GRAMS).contains(&grams),
        Quantity::Price { minor } => (1..=MAX_PRICE_MINOR).contains(&minor),
    };
    if fits {
        return Ok(());
    }
    let expected = match quantity {
        Quantity::Pieces { .. } => format!("1 to {MAX_PIECES} pieces"),
        Quantity::Grams { .. } => format!("1 to {MAX_GRAMS} g"),
        Quantity::Price { .. } => format!("a price of 1 to {MAX_PRICE_MINOR} minor units"),
    };
    Err(refuse("quantity", line, format!("a line takes {expected}; remove it to take none")))
}

fn refuse(rule: &str, line: Option<LineId>, detail: impl Into<String>) -> WalkpayError {
    WalkpayError::basket_rule(rule, line.map(|l| l.0), detail)
}

fn unknown(gtin: crate::barcode::Gtin) -> WalkpayError {
    WalkpayError::UnknownArticle { gtin: gtin.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;
    use crate::barcode::Gtin;
    use proptest::prelude::*;

    fn rule(decision: Decision) -> String {
        decision.unwrap_err().code()
    }

    fn shown(basket: &Basket) -> Vec<String> {
        let line = |l: &Line| format!("{} {} {:?} {:?}", l.id, l.article.name, l.quantity, l.parent);
        basket.lines().iter().map(line).collect()
    }

    #[test]
    fn a02_articles_become_lines_and_deposits_follow() {
        let mut basket = basket(&[
            (scan(COLA), None),
            (scan(TEA), pieces(2)),
            (scan(COLA), None),
            (scan(APPLES), grams(740)),
            (label(CHEESE, Measure::Grams { grams: 312 }), None),
            (label(SALAD, Measure::Price { minor: 345 }), None),
            (label(SALAD, Measure::Price { minor: 345 }), None),
            (scan(WINE), None),
        ]);
        insta::assert_json_snapshot!(shown(&basket));
        assert_eq!((basket.item_count(), basket.max_age_required()), (9, Some(16)));
        for event in basket.decide_set_quantity(LineId(1), Quantity::Pieces { count: 5 }).unwrap() {
            basket.apply(&event);
        }
        assert_eq!(basket.line(LineId(2)).unwrap().quantity, Quantity::Pieces { count: 5 });
        for event in basket.decide_remove(LineId(1)).unwrap() {
            basket.apply(&event);
        }
        assert_eq!(basket.lines().first().unwrap().id, LineId(3));
        // Numbers of removed lines never come again.
        let events = basket.decide_scan(&scan(COLA), None, &articles()).unwrap();
        assert!(
            matches!(&events[..], [BasketEvent::LineAdded { line }, BasketEvent::LineAdded { .. }] if line.id == LineId(9))
        );
    }

    #[test]
    fn scans_that_the_rules_forbid() {
        let basket = basket(&[(scan(COLA), pieces(998))]);
        let decide = |meaning: Meaning, quantity| rule(basket.decide_scan(&meaning, quantity, &articles()));
        let unknown = Meaning::Article { gtin: Gtin::parse("96385074").unwrap() };
        for (got, expected) in [
            (decide(unknown, None), "unknown_article"),
            (decide(scan(STOPPED), None), "basket.sale_stopped"),
            (decide(scan(APPLES), None), "basket.weight_needed"),
            (decide(scan(APPLES), pieces(1)), "basket.weight_needed"),
            (decide(scan(APPLES), grams(0)), "basket.quantity"),
            (decide(scan(APPLES), grams(MAX_GRAMS + 1)), "basket.quantity"),
            (decide(scan(TEA), grams(5)), "basket.pieces_needed"),
            (decide(scan(TEA), pieces(0)), "basket.quantity"),
            (decide(scan(TEA), pieces(u32::MAX)), "basket.quantity"),
            (decide(scan(COLA), pieces(2)), "basket.quantity"),
            (decide(scan(COLA), pieces(u32::MAX)), "basket.quantity"),
            (decide(scan(CHEESE), None), "basket.label_needed"),
            (decide(scan(SALAD), Some(Quantity::Price { minor: 1 })), "basket.label_needed"),
            (decide(label(CHEESE, Measure::Price { minor: 1 }), None), "basket.label_mismatch"),
            (decide(label(CHEESE, Measure::Grams { grams: 5 }), grams(6)), "basket.label_quantity"),
            (decide(label(SALAD, Measure::Price { minor: -5 }), None), "basket.quantity"),
            (decide(label(TEA, Measure::Grams { grams: 5 }), None), "basket.label_mismatch"),
            (decide(Meaning::ExitPass { text: "x".into() }, None), "basket.not_an_article"),
        ] {
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn changes_that_the_rules_forbid() {
        let basket = basket(&[
            (scan(COLA), None),
            (scan(APPLES), grams(500)),
            (label(CHEESE, Measure::Grams { grams: 300 }), None),
        ]);
        let set = |line, quantity: Option<Quantity>| rule(basket.decide_set_quantity(LineId(line), quantity.unwrap()));
        for (got, expected) in [
            (set(9, pieces(1)), "basket.unknown_line"),
            (set(2, pieces(1)), "basket.deposit_line"),
            (set(1, pieces(0)), "basket.quantity"),
            (set(1, pieces(MAX_PIECES + 1)), "basket.quantity"),
            (set(1, grams(1)), "basket.pieces_needed"),
            (set(3, pieces(1)), "basket.weight_needed"),
            (set(4, grams(1)), "basket.label_quantity"),
            (rule(basket.decide_remove(LineId(2))), "basket.deposit_line"),
            (rule(basket.decide_remove(LineId(0))), "basket.unknown_line"),
        ] {
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn lines_and_total_are_limited() {
        let apples = (scan(APPLES), grams(1));
        let full = basket(&vec![apples.clone(); MAX_LINES]);
        assert_eq!(rule(full.decide_scan(&apples.0, apples.1, &articles())), "basket.too_many_lines");
        let mut articles = articles();
        articles.get_mut(&key(TEA)).unwrap().price_minor = MAX_PRICE_MINOR;
        let dear = Basket::default();
        assert_eq!(rule(dear.decide_scan(&scan(TEA), pieces(101), &articles)), "basket.total_limit");
        assert!(dear.decide_scan(&scan(TEA), pieces(100), &articles).is_ok());
    }

    #[test]
    fn stored_form_of_events() {
        let deposit = basket(&[(scan(COLA), None)]);
        let events: Vec<BasketEvent> = deposit
            .lines()
            .iter()
            .map(|line| BasketEvent::LineAdded { line: line.clone() })
            .chain([
                BasketEvent::QuantitySet { line: LineId(1), quantity: Quantity::Grams { grams: 5 } },
                BasketEvent::QuantitySet { line: LineId(1), quantity: Quantity::Price { minor: 345 } },
                BasketEvent::LineRemoved { line: LineId(1) },
                BasketEvent::CouponApplied { code: "9811234".into() },
            ])
            .collect();
        insta::assert_json_snapshot!(events);
        let json = serde_json::to_string(&events).unwrap();
        assert_eq!(serde_json::from_str::<Vec<BasketEvent>>(&json).unwrap(), events);
    }

    proptest! {
        #[test]
        fn whatever_is_decided_keeps_the_rules(
            steps in prop::collection::vec((0u8..4, 1u32..10, 0u32..1100, 0u32..12), 0..60),
        ) {
            let articles = articles();
            let mut basket = Basket::default();
            for (step, n, amount, line) in steps {
                let before = basket.clone();
                let decision = match step {
                    0 => basket.decide_scan(&scan(n), pieces(amount), &articles),
                    1 => basket.decide_scan(&scan(n), grams(amount), &articles),
                    2 => basket.decide_set_quantity(LineId(line), Quantity::Pieces { count: amount }),
                    _ => basket.decide_remove(LineId(line)),
                };
                prop_assert_eq!(&before, &basket);
                decision.into_iter().flatten().for_each(|event| basket.apply(&event));
                for l in basket.lines() {
                    prop_assert!(check_range(l.quantity, None).is_ok());
                    prop_assert!(!l.article.sale_stopped);
                    let deposits: Vec<&Line> = basket.children(l.id).collect();
                    prop_assert_eq!(deposits.len(), usize::from(l.article.deposit.is_some()));
                    prop_assert!(deposits.iter().all(|d| d.quantity.pieces() == l.quantity.pieces()));
                }
            }
        }
    }
}
