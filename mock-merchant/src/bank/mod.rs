//! The bank: the port that the merchant uses, and a simulator with a book of its own.

pub mod port;
