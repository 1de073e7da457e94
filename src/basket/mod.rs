//! The list of goods: lines, quantities, and what they cost. Pure; terminal and merchant price with the same code.

mod allocate;
mod decide;
mod event;
#[cfg(test)]
mod fixture;
mod line;
mod price;
mod promote;
mod sent;
mod verify;

pub use event::BasketEvent;
pub use line::{Basket, Line, LineId, MAX_GRAMS, MAX_LINES, MAX_PIECES, MAX_TOTAL_MINOR, Pick, Quantity};
pub use price::{PRICING_VERSION, PricedBasket, PricedLine, TaxTotal, price};
pub use sent::{MAX_LINES_BYTES, SentLine, SentLines, lines_bytes, parse_lines};
pub use verify::{LineMismatches, verify_lines, violations};
