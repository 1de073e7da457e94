mod attempts;
mod debits;
mod devices;
mod holds;
mod operator;
mod refunds;
mod service;
mod slips;
