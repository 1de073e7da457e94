//! What a notice says, by medium and language: pure. Templates are files beside this one; texts from outside are made harmless
//! before they get into one.

pub mod clean;
pub mod gsm;
mod message;
pub mod page;
mod template;
mod values;

pub use message::{EmailText, Facts, Message, OrderFacts, SmsText, VoiceText, render, tells};

#[cfg(test)]
mod tests;
