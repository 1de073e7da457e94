//! Searches and totals (B30–B32). Every statement is put together of fixed fragments; what was asked for is only ever bound.

mod filter;
mod orders;
mod payments;
mod sql;
mod totals;

pub use filter::{CaseName, Filter, Scope};
pub use orders::orders;
pub use payments::{Place, payments};
pub use totals::{Group, totals};

#[cfg(test)]
mod tests;
