//! The merchant's policy.

use crate::channel::port::Identity;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// How the merchant decides. Amounts are in whole units of the currency at hand (euros, yen).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// For devices that have been active for `new_device` or longer.
    pub limits: Limits,
    /// For newer devices.
    pub new_device_limits: Limits,
    /// How long a device is new.
    pub new_device: Duration,
    /// How many of 1,000 accepted baskets are checked by staff first.
    pub spot_check_per_mille: u32,
    /// How many checks of one user may wait for staff at one time, so that nobody fills the list of a store.
    pub checks_per_user: u32,
    /// How long an exit pass lets its holder out; at most 30 minutes.
    pub exit_pass: Duration,
    /// How long an enrolment code works; at most 15 minutes.
    pub enrolment_code: Duration,
    /// How long an enrolment nonce works.
    pub enrolment_nonce: Duration,
    /// A trip without a sign of life for this long is given up.
    pub trip_idle: Duration,
    /// A trip is given up this long after its first sight, whatever its signs of life; a basket is priced at most so long ago.
    pub trip_max: Duration,
    /// How far a device's idea of merchant time may be ahead.
    pub clock_ahead: Duration,
    /// How long a catalogue revision may be priced with after the merchant last renewed it.
    pub catalogue_usable: Duration,
    /// How long a shopper has for paying what the bank refused.
    pub payable: Duration,
    /// How long before an order's deadline the payer is reminded of it.
    pub remind_before: Vec<Duration>,
    /// How long after it.
    pub remind_after: Vec<Duration>,
    /// How long after its deadline an order can no longer be paid.
    pub expire_after: Duration,
    /// The pauses before a webhook is sent again, one after the other; then it is a dead letter.
    pub webhook_retries: Vec<Duration>,
    /// How long a call to the bank may take before another worker takes it up.
    pub lease: Duration,
    /// First pause after a call without an answer; doubles up to `retry_max`.
    pub retry_first: Duration,
    /// The longest pause.
    pub retry_max: Duration,
    /// How often the bank's statement is read when nothing happens.
    pub statement_every: Duration,
    /// How long after a debit it is read.
    pub statement_after_debit: Duration,
    /// How long an open slip that nobody pays locks its orders.
    pub slip_lifetime: Duration,
    /// How long a payer has for paying at a channel: the deadline that is sent to it.
    pub pay_deadline: Duration,
    /// How long after that deadline a trade that the channel never knew is taken for never made.
    pub pay_margin: Duration,
    /// How often a channel is asked how a trade stands.
    pub channel_query_every: Duration,
    /// The payment channels in use, and who the merchant is there.
    #[serde(skip)]
    pub channels: Vec<Identity>,
    /// A defect to be planted; only by simulations.
    #[serde(skip)]
    pub mutation: Option<Mutation>,
}

/// Defects that a simulation plants to show that it would find them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A hold is released again after it was.
    DoubleRelease,
    /// What may have left is not asked about but made again under another reference.
    NewReferenceOnRetry,
    /// Money that no intent explains is taken for explained.
    DroppedLateSuccess,
    /// What a channel has collected for a payment that is over is dropped.
    DroppedPaidAfterExpiry,
    /// A slip is paid again by what comes for it over another channel.
    TwoChannelsPaid,
}

/// What may be bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The highest total of a basket, and the highest hold.
    pub purchase: i64,
    /// The highest sum of a user's accepted baskets on one business day.
    pub day: i64,
    /// The most accepted baskets of a user on one business day.
    pub count: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits { purchase: 2_000, day: 5_000, count: 50 },
            new_device_limits: Limits { purchase: 500, day: 1_000, count: 20 },
            new_device: Duration::from_secs(24 * 3600),
            spot_check_per_mille: 0,
            checks_per_user: 3,
            exit_pass: Duration::from_secs(30 * 60),
            enrolment_code: Duration::from_secs(15 * 60),
            enrolment_nonce: Duration::from_secs(5 * 60),
            trip_idle: Duration::from_secs(12 * 3600),
            trip_max: Duration::from_secs(24 * 3600),
            clock_ahead: Duration::from_secs(5 * 60),
            catalogue_usable: Duration::from_secs(24 * 3600),
            payable: Duration::from_secs(14 * 24 * 3600),
            remind_before: vec![Duration::from_secs(3 * DAY), Duration::from_secs(DAY)],
            remind_after: vec![Duration::from_secs(DAY), Duration::from_secs(7 * DAY)],
            expire_after: Duration::from_secs(30 * DAY),
            // 75 hours altogether.
            webhook_retries: [5, 300, 1_800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, DAY]
                .map(Duration::from_secs)
                .to_vec(),
            lease: Duration::from_secs(60),
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(15 * 60),
            statement_every: Duration::from_secs(24 * 3600),
            statement_after_debit: Duration::from_secs(5),
            slip_lifetime: Duration::from_secs(3600),
            pay_deadline: Duration::from_secs(15 * 60),
            pay_margin: Duration::from_secs(5 * 60),
            channel_query_every: Duration::from_secs(20),
            channels: Vec::new(),
            mutation: None,
        }
    }
}
