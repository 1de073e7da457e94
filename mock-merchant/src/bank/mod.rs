//! The bank: the port that the merchant uses, and a simulator with a book of its own.
//!
//! The simulator shares nothing with the merchant but the port, the documents and the verifier: it has its own file, its
//! own table of keys, which the account's holder confirms to the bank, and its own book.

pub mod book;
pub mod client;
pub mod faults;
pub mod holder;
pub mod invariants;
pub(crate) mod pages;
pub mod port;
mod schema;
pub mod server;
mod store;

pub use book::{Bank, BankError, Treatment};
pub use client::BankClient;
pub use faults::{Fault, Faults};
pub use holder::{AccountState, NewAccount, NewKey};
pub use server::BankService;
