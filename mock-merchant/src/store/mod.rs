//! SQLite, concretely: schema, migrations, typed functions over a transaction, the writer, readers. SQL nowhere else.

pub mod attempts;
pub mod calls;
pub mod catalogue;
pub mod channel_calls;
pub mod contacts;
pub mod counts;
pub mod deliveries;
pub mod devices;
pub mod enrolment;
mod error;
pub mod events;
pub mod holds;
pub mod idempotency;
pub mod invariants;
mod later;
pub mod ledger;
pub mod legs;
pub mod notices;
mod open;
pub mod order_parts;
pub mod orders;
pub mod passes;
pub mod pay_pages;
pub mod payments;
pub mod pays;
pub mod privacy;
pub mod query;
mod read;
pub mod reconcile;
pub mod slips;
pub mod sources;
pub mod statement;
pub mod stores;
pub mod suspense;
pub mod trips;
mod tx;
pub mod users;
mod writer;

pub use error::StoreError;
pub use open::{Identity, Readers, checkpoint, open, open_in_memory, outdated};
#[cfg(test)]
pub(crate) use tx::SCANS;
pub use tx::Tx;
pub use writer::{BATCH, QUEUE, Writer};

#[cfg(test)]
mod tests;
