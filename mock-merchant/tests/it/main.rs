//! The merchant from outside.

mod bank;
mod client;
mod http;
mod openapi;
mod process;
mod queries;
mod rows;
mod tls;
mod trouble;
