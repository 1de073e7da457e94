//! The merchant side of walkpay: a durable payment system, its HTTP server, and a simulated bank.

pub mod api;
pub mod bank;
mod broken_off;
pub mod channel;
pub mod cli;
pub mod clock;
pub mod demo;
pub mod domain;
pub mod export;
pub mod failure;
pub mod folder;
mod html;
mod http_client;
pub mod keys;
pub mod logs;
pub mod metrics;
pub mod notify;
pub mod operator;
mod private_file;
pub mod random;
pub mod rows;
pub mod server;
pub mod sim;
pub mod store;
#[cfg(test)]
mod testing;
pub mod webhook;
pub mod worker;
