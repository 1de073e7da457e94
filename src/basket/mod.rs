//! The list of goods: lines, quantities, and what they cost. Pure; terminal and merchant price with the same code.

mod event;
mod line;

pub use event::BasketEvent;
pub use line::{Basket, Line, LineId, MAX_GRAMS, MAX_LINES, MAX_PIECES, MAX_TOTAL_MINOR, Pick, Quantity};
