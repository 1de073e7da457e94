//! One binary for all tests that need more than one crate or the tree itself; a module per subject.

mod attacks;
mod corpus;
mod demo_store;
mod fake_merchant;
mod forgeries;
mod forgery;
mod gate;
mod hand;
mod keys;
mod order_samples;
mod protocol_docs;
mod samples;
mod session;
mod slip;
mod support;
mod tidy;
mod trip;
mod vectors;
mod wire_corpus;
