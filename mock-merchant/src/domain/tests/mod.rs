mod attempts;
mod debits;
mod devices;
mod holds;
mod operator;
mod service;
mod refunds;
mod slips;
