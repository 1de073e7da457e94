//! The merchant side of walkpay: a durable payment system, its HTTP server, and a simulated bank.

pub mod bank;
pub mod domain;
pub mod failure;
pub mod keys;
pub mod store;
#[cfg(test)]
mod testing;
pub mod worker;
