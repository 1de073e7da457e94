//! The merchant from outside.

mod bank;
mod client;
mod desk;
mod http;
mod openapi;
mod orders;
mod process;
mod queries;
mod refunds;
mod rows;
mod slips;
mod slow_sources;
mod tls;
mod trouble;
mod webhook_vectors;
