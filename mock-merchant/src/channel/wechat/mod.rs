//! WeChat Pay, API v3 (`tenpay` in queries): RSA signatures both ways, platform certificates that rotate, encrypted notifications;
//! and a simulated gateway with a book, keys and certificates of its own.
//!
//! An answer counts only if the platform has signed exactly it. Whatever else comes back, an error of a proxy included, says
//! nothing about what the platform did.

mod cipher;
mod client;
mod notification;
mod platform;
mod settings;
mod signature;
pub mod sim;
mod wire;

pub use cipher::{ApiV3Key, Sealed};
pub use client::{Access, WechatPay};
pub use platform::{CertificateError, PlatformKey};
pub use settings::{Product, Settings};
pub use signature::{FRESH, SCHEME, Seal};

use wire::Problem;

/// Where the merchant is notified.
pub const NOTIFY_PATH: &str = "/channel/tenpay/v1/notify";

/// What a notification that was not taken is answered with, beside its status.
pub fn not_taken(why: &str) -> String {
    serde_json::to_string(&Problem { code: "FAIL".to_owned(), message: why.to_owned() }).unwrap_or_default()
}
