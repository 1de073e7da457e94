//! Notices to payers against real peers on loopback: aiosmtpd, Kannel with its fake text message centre, baresip. They are
//! installed, and these tests are run, by `cargo xtask test --only peers`.

#[allow(dead_code)]
#[path = "../it/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../it/desk.rs"]
mod desk;
mod kannel;
mod mail;
mod outbox;
mod rude;
mod sip;
mod sms;
mod voice;
