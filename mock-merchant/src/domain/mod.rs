//! The rules of the payment system over a transaction: no HTTP, no clock, no random source.

pub mod catalogue;
pub mod command;
pub mod config;
pub mod context;
pub mod csv_import;
pub mod demo;

pub use command::*;
pub use config::{Config, Limits};
pub use context::{Core, Ctx, Random};
