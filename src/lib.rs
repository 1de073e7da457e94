//! Scan, sign, walk: the debit follows.
//!
//! The map of the crate is in ARCHITECTURE.md. `money`, `id`, `time`, `barcode`, `catalogue`, `basket` and `protocol` are
//! pure and shared with the merchant; feature `terminal` adds the rest.

#[cfg(feature = "terminal")]
pub mod adapter;
#[cfg(feature = "terminal")]
pub mod api;
pub mod barcode;
pub mod basket;
pub mod catalogue;
pub mod error;
#[cfg(feature = "terminal")]
pub mod gate;
pub mod id;
pub mod money;
#[cfg(feature = "openapi")]
mod openapi;
pub mod protocol;
#[cfg(feature = "terminal")]
mod runtime;
#[cfg(feature = "terminal")]
pub mod session;
pub mod time;

pub use error::{StorageProblem, WalkpayError};
pub use id::*;
pub use money::{Currency, Money};
pub use time::Timestamp;

uniffi::setup_scaffolding!();
