//! One binary for all tests that need more than one crate or the tree itself; a module per subject.

mod corpus;
mod demo_store;
mod session;
mod support;
mod tidy;
mod trip;
