//! Alipay: the OpenAPI gateway with RSA2 signatures, and a simulated gateway with a book and keys of its own.

mod settings;

pub use settings::{Product, Settings};
