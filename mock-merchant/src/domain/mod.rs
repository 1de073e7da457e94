//! The rules of the payment system over a transaction: no HTTP, no clock, no random source.

mod acceptance;
mod admin;
mod attempts;
mod bank_answers;
pub mod catalogue;
mod command;
mod config;
mod context;
pub mod csv_import;
mod debit;
pub mod demo;
mod documents;
mod due;
mod enrolment;
mod gates;
mod handle;
mod holds;
mod known;
pub mod notices;
pub mod once;
mod paying;
mod questions;
pub mod reconciliation;
pub mod scopes;
pub mod service;
mod staff;
mod statement;
mod suspense;
mod tell;
#[cfg(test)]
mod tests;
mod trips;
mod users;

pub use admin::gate_of_key;
pub(crate) use bank_answers::{fits as answers_bank_call, take as take_bank_answer};
pub use command::*;
pub use config::{Config, Limits, Mutation};
pub use context::{Core, Ctx, Random};
pub(crate) use due::{internal, next_internal, no_answer, statement_entries};
pub use handle::{Prepared, commit, handle, prepare, read, request_key};
pub(crate) use paying::{Asked, Next, channel_answered, channel_ask, channel_unanswered};
pub use paying::{
    OrderFilter, PayerAnswer, PayerCommand, PayerQuery, RefundRequest, RefundStatus, RefundView, SlipPage,
};
pub use questions::{FILTER_WORDS, Filters, Question, groups, word};
pub use staff::{StaffScope, StaffScopes, staff_of_token};
