//! The merchant side of walkpay: a durable payment system, its HTTP server, and a simulated bank.

pub mod bank;
