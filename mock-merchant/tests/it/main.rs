//! The merchant from outside.

mod bank;
