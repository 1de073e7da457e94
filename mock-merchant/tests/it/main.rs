//! The merchant from outside.

mod alipay;
mod alipay_vectors;
mod bank;
mod client;
mod desk;
mod http;
mod notices;
mod openapi;
mod orders;
mod pay_page;
mod process;
mod queries;
mod refunds;
mod rows;
mod slips;
mod slow_sources;
mod tenpay;
mod tls;
mod trouble;
mod webhook_vectors;
