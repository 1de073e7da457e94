//! Alipay: the OpenAPI gateway with RSA2 signatures, and a simulated gateway with a book and keys of its own.

mod client;
mod notification;
mod settings;
pub mod signing;
pub mod sim;
pub mod values;

pub use client::{Addresses, AlipayChannel, KeySource, Keys, request};
pub use notification::open;
pub use settings::{Product, Settings};

/// Where a merchant is notified.
pub const NOTIFY_PATH: &str = "/channel/alipay/v1/notify";
