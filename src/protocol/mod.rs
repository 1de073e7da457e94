//! The wire: messages, signed documents and their verification, problem types. Pure, and the same code on both sides.

pub mod crypto;
pub mod document;
pub mod enrolment_code;
pub mod exit_pass;
pub mod http_signature;
pub mod jws;
pub mod key_set;
pub mod message;
pub mod nonce_guard;
pub mod order;
pub mod problem;
pub mod query;
pub mod question;
pub mod request;
