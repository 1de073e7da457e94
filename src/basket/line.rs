//! What was picked.

use super::event::BasketEvent;
use crate::barcode::Gtin;
use crate::catalogue::{Article, Articles};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The most lines of a basket, deposit lines included.
pub const MAX_LINES: usize = 500;
/// The most pieces of a line.
pub const MAX_PIECES: u32 = 999;
/// The highest weight of a line.
pub const MAX_GRAMS: u32 = 50_000;
/// The highest total of a basket in minor units, before promotions.
pub const MAX_TOTAL_MINOR: i64 = 100_000_000_000;

/// A line of one basket; numbers rise and are never used again in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct LineId(pub u32);

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

uniffi::custom_type!(LineId, u32, {
    try_lift: |number| Ok(LineId(number)),
    lower: |line| line.0,
});

/// How much of an article.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Quantity {
    /// So many pieces, 1 to [`MAX_PIECES`].
    Pieces {
        /// How many.
        count: u32,
    },
    /// A net weight, 1 to [`MAX_GRAMS`].
    Grams {
        /// Grams.
        grams: u32,
    },
    /// One piece with its price in its code.
    Price {
        /// Minor units of the store's currency.
        minor: i64,
    },
}

impl Quantity {
    /// How many pieces it counts as; a weighed good is one.
    pub fn pieces(self) -> u32 {
        match self {
            Self::Pieces { count } => count,
            Self::Grams { .. } | Self::Price { .. } => 1,
        }
    }
}

/// One line as it was picked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Record)]
pub struct Line {
    /// Its number.
    pub id: LineId,
    /// How much.
    pub quantity: Quantity,
    /// For a deposit: the line that it goes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<LineId>,
    /// The article as the catalogue had it when it was scanned.
    pub article: Article,
}

impl Line {
    fn pick(&self) -> Pick {
        Pick { line: self.id, gtin: self.article.gtin, quantity: self.quantity, parent: self.parent }
    }
}

/// What pricing needs of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pick {
    /// The line.
    pub line: LineId,
    /// Its article.
    pub gtin: Gtin,
    /// How much.
    pub quantity: Quantity,
    /// For a deposit: the line that it goes with.
    pub parent: Option<LineId>,
}

/// The fold of a basket's events ([`crate::basket::BasketEvent`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basket {
    pub(super) lines: Vec<Line>,
    pub(super) last_line: u32,
    pub(super) coupons: Vec<String>,
}

impl Basket {
    /// The lines in the order of their numbers.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// One line.
    pub fn line(&self, id: LineId) -> Option<&Line> {
        self.lines.binary_search_by_key(&id, |l| l.id).ok().and_then(|at| self.lines.get(at))
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The highest age that one of its articles asks for.
    pub fn max_age_required(&self) -> Option<u8> {
        self.lines.iter().filter_map(|l| l.article.min_age).max()
    }

    /// Pieces, weighed goods counting as one, deposits not at all.
    pub fn item_count(&self) -> u32 {
        self.lines.iter().filter(|l| l.parent.is_none()).map(|l| l.quantity.pieces()).sum()
    }

    /// What pricing needs of its lines.
    pub fn picks(&self) -> Vec<Pick> {
        // One more line is likely to come.
        let mut picks = Vec::with_capacity(self.lines.len() + 2);
        picks.extend(self.lines.iter().map(Line::pick));
        picks
    }

    /// What pricing will need of its lines once `changes` are folded; no article is copied for it.
    pub fn picks_after(&self, changes: &[BasketEvent]) -> Vec<Pick> {
        let mut picks = self.picks();
        for change in changes {
            match change {
                BasketEvent::LineAdded { line } => {
                    let at = picks.partition_point(|p| p.line < line.id);
                    picks.insert(at, line.pick());
                }
                BasketEvent::QuantitySet { line, quantity } => {
                    picks.iter_mut().filter(|p| p.line == *line).for_each(|p| p.quantity = *quantity);
                }
                BasketEvent::LineRemoved { line } => picks.retain(|p| p.line != *line),
                BasketEvent::CouponApplied { .. } => {}
            }
        }
        picks
    }

    pub(super) fn children(&self, parent: LineId) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |l| l.parent == Some(parent))
    }
}

/// The articles as they were scanned: for pricing where the catalogue is not at hand.
impl Articles for Basket {
    fn article(&self, gtin: Gtin) -> Option<&Article> {
        self.lines.iter().map(|l| &l.article).find(|a| a.gtin == gtin)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    #[test]
    fn picks_after_changes_are_those_of_the_changed_basket() {
        let before = basket(&[(scan(COLA), None), (scan(TEA), pieces(2)), (scan(APPLES), grams(740))]);
        let all = articles();
        for events in [
            before.decide_scan(&scan(WINE), None, &all).unwrap(),
            before.decide_scan(&scan(COLA), pieces(4), &all).unwrap(),
            before.decide_set_quantity(LineId(3), Quantity::Pieces { count: 7 }).unwrap(),
            before.decide_remove(LineId(1)).unwrap(),
            Vec::new(),
        ] {
            let mut after = before.clone();
            events.iter().for_each(|event| after.apply(event));
            assert_eq!(before.picks_after(&events), after.picks(), "{events:?}");
        }
    }
}
