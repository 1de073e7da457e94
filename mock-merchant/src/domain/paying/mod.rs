//! Paying orders (B20–B22, B33): what a payer sees and pays, what channels and the bank say of it, what is given back.
//!
//! An order is locked by its slip until the slip is paid or given up; a slip has one open attempt at most; an attempt is over only
//! once its channel has said so. Money that comes for what is paid or gone goes back.

mod booking;
mod channels;
mod command;
mod pays;
mod receipts;
mod refunds;
mod slips;
mod views;

pub use command::{OrderFilter, PayerAnswer, PayerCommand, PayerQuery, SlipPage};
pub use refunds::{RefundRequest, RefundStatus, RefundView};

pub(super) use booking::settle;
pub(super) use channels::notified;
pub(crate) use channels::{
    Asked, Next, answered as channel_answered, ask as channel_ask, unanswered as channel_unanswered,
};
pub(super) use command::{carry_out, read};
pub(super) use pays::{PreparedPayment, bank_answered, end_due, next_end, prepare, put};
pub(super) use receipts::{
    assign as assign_receipt, give_back as return_receipt, settle as settle_receipt, unsettled as receipts,
};
pub(super) use refunds::{
    bank_answered as refund_answered, bank_unanswered as refund_unanswered, list as refunds_of, refund_once,
};
pub(super) use slips::expire;
