//! What `--sim` adds: faults by name, a clock that can be moved, accounts that behave in a known way.
//!
//! [`faults`] and [`ACCOUNTS`] are the one table of them: `--help`, the README and the OpenAPI document are made from it.

use crate::bank;
use crate::bank::port::Subject;
use crate::channel::alipay::sim as alipay;
use crate::channel::test;
use crate::channel::wechat::sim as tenpay;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use walkpay::TripId;

/// How many faults of one place can be armed at once.
pub const MAX_ARMED: usize = bank::faults::MAX_ARMED;
/// The most often that one order makes a fault strike.
pub const MAX_TIMES: u32 = 1_000;
/// The longest that a slow answer waits, in milliseconds.
pub const MAX_DELAY_MS: u32 = 60_000;

macro_rules! terminal_faults {
    ($($variant:ident $name:literal $effect:literal;)*) => {
        /// A fault that strikes requests of terminals.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault { $(#[doc = $effect] $variant,)* }

        impl Fault {
            const TABLE: &'static [(Fault, &'static str, &'static str)] = &[$((Fault::$variant, $name, $effect),)*];
        }
    };
}

terminal_faults! {
    ServerError "terminal_server_error" "Status 500; nothing was done.";
    Unavailable "terminal_unavailable" "Status 503 with Retry-After: 1; nothing was done.";
    DropBefore "terminal_no_answer_before" "The connection breaks off before anything was done.";
    DropAfter "terminal_no_answer_after" "The request takes effect, then the connection breaks off: the answer is lost.";
    Slow "terminal_slow" "The request takes effect, the answer comes delay_ms later.";
    Duplicate "terminal_duplicate" "The request is delivered twice, as if the network had repeated it; the first answer is given.";
    EventsAgain "terminal_events_again" "A poll is answered with the event log from its beginning.";
}

/// Where a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Requests under `/terminal/v1` and `/payer/v1`.
    Terminal,
    /// The simulated bank, when the merchant calls it.
    Bank,
    /// The simulated payment channel, when the merchant calls it or it notifies.
    Channel,
    /// The simulated Alipay, when it is called or notifies.
    Alipay,
    /// The simulated gateway of WeChat Pay, when the merchant calls it, a payer pays there, or it notifies.
    Tenpay,
}

/// One row of the table of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FaultRow {
    /// Its name.
    #[schema(example = "terminal_no_answer_after")]
    pub name: &'static str,
    /// Where it strikes.
    pub place: Place,
    /// What happens then.
    pub effect: &'static str,
}

/// The table of faults.
pub fn faults() -> impl Iterator<Item = FaultRow> {
    let terminal = Fault::TABLE.iter().map(|&(_, name, effect)| FaultRow { name, place: Place::Terminal, effect });
    let bank = bank::Fault::TABLE.iter().map(|&(_, name, effect)| FaultRow { name, place: Place::Bank, effect });
    let channel = test::Fault::TABLE.iter().map(|&(_, name, effect)| FaultRow { name, place: Place::Channel, effect });
    let tenpay = tenpay::Fault::TABLE.iter().map(|&(_, name, effect)| FaultRow { name, place: Place::Tenpay, effect });
    let alipay = alipay::Fault::TABLE.iter().map(|&(_, name, effect)| FaultRow { name, place: Place::Alipay, effect });
    terminal.chain(bank).chain(channel).chain(alipay).chain(tenpay)
}

/// A user of the demo store who behaves in a known way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user name.
    pub user: &'static str,
    /// Whether it is there only with `--sim`.
    pub sim_only: bool,
    /// Stored value in minor units; `None`: no such account.
    pub stored_value: Option<i64>,
    /// The bank account in minor units; `None`: none is bound.
    pub bank: Option<i64>,
    /// What is special.
    pub behaviour: &'static str,
    /// How the bank treats it.
    pub quirk: Quirk,
}

/// How the simulated bank treats an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// By the rules.
    None,
    /// Placed holds cannot be raised.
    NoTopUp,
    /// Approves at most this much of a debit, in minor units.
    ApproveAtMost(i64),
    /// The account is closed.
    Closed,
    /// The holder never confirms a key.
    Unconfirmed,
}

const fn account(
    user: &'static str,
    sim_only: bool,
    stored_value: Option<i64>,
    bank: Option<i64>,
    quirk: Quirk,
    behaviour: &'static str,
) -> Account {
    Account { user, sim_only, stored_value, bank, behaviour, quirk }
}

/// The users of the demo store. Amounts are in euro cents.
pub const ACCOUNTS: &[Account] = &[
    account("alice", false, Some(3_000), Some(100_000), Quirk::None, "stored value of 30.00 and a bank account"),
    account(
        "bob",
        false,
        None,
        Some(50_000),
        Quirk::NoTopUp,
        "a bank account whose holds cannot be raised: a new one is placed",
    ),
    account("carol", false, Some(20_000), None, Quirk::None, "stored value of 200.00 and no bank account"),
    account("dave_poor", true, None, Some(500), Quirk::None, "5.00 at the bank: larger holds are declined"),
    account(
        "erin_partial",
        true,
        None,
        Some(50_000),
        Quirk::ApproveAtMost(1_000),
        "the bank approves at most 10.00 of a debit",
    ),
    account("frank_closed", true, None, Some(50_000), Quirk::Closed, "the bank account is closed"),
    account("grace_unconfirmed", true, None, Some(50_000), Quirk::Unconfirmed, "no key is ever confirmed to the bank"),
];

/// The order to arm a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// A name of the table.
    #[schema(example = "terminal_slow")]
    pub fault: String,
    /// How many requests or calls it strikes.
    #[serde(default = "once", deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 1000, default = 1, example = 1)]
    pub times: u32,
    /// Only for this operation: an `operationId` of the terminal or payer API (`put_hold`, `put_attempt`, `events` …), or
    /// `place_hold`, `raise_hold`, `release_hold`, `capture`, `debit`, `pay`, `reverse` at the bank, or `create`,
    /// `query`, `close`, `refund`, `query_refund`, `notify` at a payment channel,
    /// `certificates` and `pay` at the simulated WeChat Pay too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "events", max_length = 40)]
    pub operation: Option<String>,
    /// Only for this trip, or payment of a slip; faults of the bank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<TripId>)]
    pub trip_id: Option<Subject>,
    /// How long `terminal_slow` takes, in milliseconds.
    #[serde(default = "one_second", deserialize_with = "whole")]
    #[schema(minimum = 0, maximum = 60000, default = 1000, example = 1)]
    pub delay_ms: u32,
}

/// A whole number, also where it is written as `2.0`: JSON Schema calls both integers.
pub(crate) fn whole<'de, D: Deserializer<'de>, T: TryFrom<u64>>(deserializer: D) -> Result<T, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let integral = |f: &f64| f.fract() == 0.0 && (0.0..9.0e15).contains(f);
    let whole = number.as_u64().or_else(|| number.as_f64().filter(integral).map(|f| f as u64));
    whole.and_then(|n| T::try_from(n).ok()).ok_or_else(|| Error::custom("not a whole number in range"))
}

fn once() -> u32 {
    1
}

fn one_second() -> u32 {
    1_000
}

/// Why a fault cannot be armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The table has no such name.
    #[error("fault must be a name of the table")]
    Unknown,
    /// A number is out of range.
    #[error("times is 1 to 1000, delay_ms 0 to 60000, operation at most 40 characters")]
    Limit,
    /// Too many faults wait.
    #[error("at most 100 faults wait: disarm them with DELETE")]
    Full,
}

/// The faults that are armed in one server.
#[derive(Debug, Default)]
pub struct Faults {
    terminal: Mutex<Vec<(Fault, Order)>>,
    bank: bank::Faults,
    channel: test::Faults,
    alipay: alipay::Faults,
    tenpay: tenpay::Faults,
}

impl Faults {
    /// Arms a fault behind those that are armed.
    ///
    /// # Errors
    /// [`OrderError`]; nothing was armed.
    pub fn arm(&self, order: Order) -> Result<(), OrderError> {
        let operation_fits = order.operation.as_ref().is_none_or(|o| o.chars().count() <= 40);
        if !(1..=MAX_TIMES).contains(&order.times) || order.delay_ms > MAX_DELAY_MS || !operation_fits {
            return Err(OrderError::Limit);
        }
        if let Some(fault) = bank::Fault::parse(&order.fault) {
            let armed =
                bank::faults::Armed { fault, times: order.times, operation: order.operation, subject: order.trip_id };
            return if self.bank.arm(armed) { Ok(()) } else { Err(OrderError::Full) };
        }
        if let Some(fault) = test::Fault::parse(&order.fault) {
            let armed = test::Armed { fault, times: order.times, operation: order.operation };
            return if self.channel.arm(armed) { Ok(()) } else { Err(OrderError::Full) };
        }
        if let Some(fault) = alipay::Fault::parse(&order.fault) {
            let armed = alipay::Armed { fault, times: order.times, operation: order.operation };
            return if self.alipay.arm(armed) { Ok(()) } else { Err(OrderError::Full) };
        }
        if let Some(fault) = tenpay::Fault::parse(&order.fault) {
            let armed = tenpay::Armed { fault, times: order.times, operation: order.operation };
            return if self.tenpay.arm(armed) { Ok(()) } else { Err(OrderError::Full) };
        }
        let (fault, _, _) = Fault::TABLE.iter().find(|(_, name, _)| *name == order.fault).ok_or(OrderError::Unknown)?;
        let mut armed = self.lock();
        if armed.len() >= MAX_ARMED {
            return Err(OrderError::Full);
        }
        armed.push((*fault, order));
        Ok(())
    }

    /// What is armed, in the order in which it strikes; first the terminal's.
    pub fn armed(&self) -> Vec<Order> {
        let terminal = self.lock().iter().map(|(_, order)| order.clone()).collect::<Vec<_>>();
        let bank = self.bank.armed().into_iter().map(|a| Order {
            fault: a.fault.name().to_owned(),
            times: a.times,
            operation: a.operation,
            trip_id: a.subject,
            delay_ms: one_second(),
        });
        let of_channel = |name: &str, times: u32, operation: Option<String>| Order {
            fault: name.to_owned(),
            times,
            operation,
            trip_id: None,
            delay_ms: one_second(),
        };
        let channel = self.channel.armed().into_iter().map(|a| of_channel(a.fault.name(), a.times, a.operation));
        let alipay = self.alipay.armed().into_iter().map(|a| of_channel(a.fault.name(), a.times, a.operation));
        let tenpay = self.tenpay.armed().into_iter().map(|a| of_channel(a.fault.name(), a.times, a.operation));
        terminal.into_iter().chain(bank).chain(channel).chain(alipay).chain(tenpay).collect()
    }

    /// Disarms everything.
    pub fn clear(&self) {
        self.lock().clear();
        self.bank.clear();
        self.channel.clear();
        self.alipay.clear();
        self.tenpay.clear();
    }

    /// Those of the bank, for its simulator.
    pub fn of_bank(&self) -> bank::Faults {
        self.bank.clone()
    }

    /// Those of the payment channel, for its simulator.
    pub fn of_channel(&self) -> test::Faults {
        self.channel.clone()
    }

    /// Those of the simulated WeChat Pay.
    pub fn of_tenpay(&self) -> tenpay::Faults {
        self.tenpay.clone()
    }

    /// Those of Alipay, for its simulator.
    pub fn of_alipay(&self) -> alipay::Faults {
        self.alipay.clone()
    }

    /// Whether `fault` strikes this operation of the terminal API; that uses it up once. Gives its delay.
    pub fn strikes(&self, fault: Fault, operation: &str) -> Option<Duration> {
        let mut armed = self.lock();
        let fits = |(f, o): &(Fault, Order)| *f == fault && o.operation.as_deref().is_none_or(|name| name == operation);
        let at = armed.iter().position(fits)?;
        let (_, order) = armed.get_mut(at)?;
        let delay = Duration::from_millis(u64::from(order.delay_ms));
        order.times -= 1;
        if order.times == 0 {
            armed.remove(at);
        }
        Some(delay)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Fault, Order)>> {
        self.terminal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tables as text, for `--help`.
pub fn help() -> String {
    let mut text = String::from(
        "With --sim, POST /sim/v1/faults {\"fault\":\"NAME\",\"times\":1,\"operation\":\"put_hold\"} arms a fault, DELETE disarms all:\n",
    );
    for row in faults() {
        text.push_str(&format!("  {:<36} {}\n", row.name, row.effect));
    }
    text.push_str(
        "Clock: GET /sim/v1/clock, POST /sim/v1/clock {\"advance_ms\":3600000}; merchant and simulated bank share it.\n\
         Users of --demo (those below the line only with --sim as well):\n",
    );
    for (sim_only, heading) in [(false, ""), (true, "  ---\n")] {
        text.push_str(heading);
        for a in ACCOUNTS.iter().filter(|a| a.sim_only == sim_only) {
            text.push_str(&format!("  {:<18} {}\n", a.user, a.behaviour));
        }
    }
    text
}

/// The tables as Markdown, for the README.
pub fn markdown() -> String {
    let mut text = String::from("| fault | what happens |\n|---|---|\n");
    for row in faults() {
        text.push_str(&format!("| `{}` | {} |\n", row.name, row.effect));
    }
    text.push_str("\n| user of `--demo` | what is special |\n|---|---|\n");
    for a in ACCOUNTS {
        let only = if a.sim_only { " (only with `--sim`)" } else { "" };
        text.push_str(&format!("| `{}` | {}{only} |\n", a.user, a.behaviour));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(json: &str) -> Order {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_order_strikes_as_often_as_it_says_and_only_where_it_says() {
        let faults = Faults::default();
        faults.arm(order(r#"{"fault":"terminal_slow","times":2,"delay_ms":7,"operation":"events"}"#)).unwrap();
        assert_eq!(faults.strikes(Fault::Slow, "put_hold"), None);
        assert_eq!(faults.strikes(Fault::Slow, "events"), Some(Duration::from_millis(7)));
        assert_eq!(faults.armed().len(), 1);
        assert!(faults.strikes(Fault::Slow, "events").is_some());
        assert!(faults.strikes(Fault::Slow, "events").is_none() && faults.armed().is_empty());
    }

    #[test]
    fn orders_have_limits() {
        let faults = Faults::default();
        for (json, error) in [
            (r#"{"fault":"terminal_slow","times":0}"#, OrderError::Limit),
            (r#"{"fault":"terminal_slow","times":1001}"#, OrderError::Limit),
            (r#"{"fault":"bank_slow","delay_ms":60001}"#, OrderError::Limit),
            (r#"{"fault":"nonsense"}"#, OrderError::Unknown),
        ] {
            assert_eq!(faults.arm(order(json)), Err(error), "{json}");
        }
        (0..MAX_ARMED).for_each(|_| faults.arm(order(r#"{"fault":"terminal_slow"}"#)).unwrap());
        assert_eq!(faults.arm(order(r#"{"fault":"terminal_slow"}"#)), Err(OrderError::Full));
        faults.clear();
        assert!(faults.armed().is_empty());
        for bad in [r#""tims":1"#, r#""times":1.5"#, r#""times":-1"#, r#""times":1e300"#, r#""times":"1""#] {
            assert!(serde_json::from_str::<Order>(&format!(r#"{{"fault":"bank_slow",{bad}}}"#)).is_err(), "{bad}");
        }
        assert_eq!(order(r#"{"fault":"bank_slow","times":2.0}"#).times, 2);
        let of = |length| order(&format!(r#"{{"fault":"bank_slow","operation":"{}"}}"#, "é".repeat(length)));
        assert_eq!((faults.arm(of(40)), faults.arm(of(41))), (Ok(()), Err(OrderError::Limit)), "characters, not bytes");
    }

    #[test]
    fn names_are_unique_and_every_one_can_be_armed() {
        let armed = Faults::default();
        let names: std::collections::BTreeSet<_> = faults().map(|f| f.name).collect();
        assert_eq!(names.len(), faults().count());
        for name in names {
            armed.arm(order(&format!(r#"{{"fault":"{name}"}}"#))).unwrap();
            assert!(help().contains(name) && markdown().contains(name));
        }
    }
}
