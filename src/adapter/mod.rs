//! Everything that touches the device: files, network, keys, randomness and clocks. Nothing here decides.

pub mod catalogue_store;
pub mod clock;
pub mod gate_store;
pub mod http;
pub mod journal;
mod journal_log;
pub mod keys;
pub mod random;
pub mod sqlite;
