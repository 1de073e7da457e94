//! What happens to a basket, as the journal keeps it.
//!
//! Compatibility: these are stored and folded again by later versions. Variants and members may be added with defaults;
//! none is renamed, removed or given another meaning.

use super::line::{Basket, Line, LineId, Quantity};
use serde::{Deserialize, Serialize};

/// One change of a basket that was decided and holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BasketEvent {
    /// A line came.
    LineAdded {
        /// The line.
        line: Line,
    },
    /// A line's quantity is now another one.
    QuantitySet {
        /// Which line.
        line: LineId,
        /// Its quantity from now on.
        quantity: Quantity,
    },
    /// A line went.
    LineRemoved {
        /// Which line.
        line: LineId,
    },
    /// A coupon was taken; no coupon is read yet.
    CouponApplied {
        /// Its code.
        code: String,
    },
}

impl Basket {
    /// Folds one event. Events about lines that are not there change nothing.
    pub fn apply(&mut self, event: &BasketEvent) {
        match event {
            BasketEvent::LineAdded { line } => {
                self.last_line = self.last_line.max(line.id.0);
                let at = self.lines.partition_point(|l| l.id < line.id);
                self.lines.insert(at, line.clone());
            }
            BasketEvent::QuantitySet { line, quantity } => {
                if let Ok(at) = self.lines.binary_search_by_key(line, |l| l.id)
                    && let Some(line) = self.lines.get_mut(at)
                {
                    line.quantity = *quantity;
                }
            }
            BasketEvent::LineRemoved { line } => self.lines.retain(|l| l.id != *line),
            BasketEvent::CouponApplied { code } => self.coupons.push(code.clone()),
        }
    }
}
