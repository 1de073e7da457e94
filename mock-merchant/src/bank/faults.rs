//! What the simulated bank can be told to do wrong, by name.

use super::port::{BankOperation, BankRequest, Subject};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// How many faults can be armed at once.
pub const MAX_ARMED: usize = 100;

macro_rules! faults {
    ($($variant:ident $name:literal $meaning:literal;)*) => {
        /// A way to fail.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Fault { $(#[doc = $meaning] #[serde(rename = $name)] $variant,)* }

        impl Fault {
            /// All faults of the bank: name and meaning.
            pub const TABLE: &'static [(Fault, &'static str, &'static str)] = &[$((Fault::$variant, $name, $meaning),)*];
        }
    };
}

faults! {
    NoAnswerBefore "bank_no_answer_before" "The connection breaks off before anything was done.";
    NoAnswerAfter "bank_no_answer_after" "The operation is done, then the connection breaks off.";
    Slow "bank_slow" "The operation is done, the answer comes after a delay.";
    ServerError "bank_server_error" "Status 500; nothing was done.";
    Declined "bank_declined" "Declined with insufficient_funds, whatever the account has.";
    Partial "bank_partial" "A debit or capture is approved for half of it.";
    LateSuccess "bank_late_success" "A debit or capture is declined with insufficient_funds, and booked all the same a little later.";
    Duplicate "bank_duplicate" "The request is processed twice, as if the network had repeated it; the second answer is given.";
}

impl Fault {
    /// The name in `/sim/v1`.
    pub fn name(self) -> &'static str {
        Self::TABLE.iter().find(|(fault, _, _)| *fault == self).map_or("", |(_, name, _)| name)
    }

    /// The fault of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|(_, n, _)| *n == name).map(|(fault, _, _)| *fault)
    }
}

/// A fault that waits for its requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Armed {
    /// What to do.
    pub fault: Fault,
    /// How many more times; at least 1.
    pub times: u32,
    /// Only for this operation: `place_hold`, `raise_hold`, `release_hold`, `capture`, `debit`, `pay`, `reverse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Only for this trip or payment; `trip_id` in JSON.
    #[serde(default, rename = "trip_id", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
}

impl Armed {
    /// `fault` for the next request, whatever it is.
    pub fn once(fault: Fault) -> Self {
        Self { fault, times: 1, operation: None, subject: None }
    }

    /// `fault` for the next request with this operation.
    pub fn once_for(fault: Fault, operation: &str) -> Self {
        Self { operation: Some(operation.to_owned()), ..Self::once(fault) }
    }

    fn matches(&self, request: &BankRequest) -> bool {
        self.operation.as_deref().is_none_or(|name| name == operation_name(&request.operation))
            && self.subject.is_none_or(|subject| subject == request.subject)
    }
}

/// The armed faults of one bank, shared between the bank and `/sim/v1`. Forgotten at a restart.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Armed>>>);

impl Faults {
    /// Arms a fault behind those that are armed; false if there are [`MAX_ARMED`] already or it would never strike.
    pub fn arm(&self, armed: Armed) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = all.len() < MAX_ARMED && armed.times > 0;
        if room {
            all.push(armed);
        }
        room
    }

    /// What is armed, in the order in which it strikes.
    pub fn armed(&self) -> Vec<Armed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Disarms everything.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The fault that strikes this request; it is used up by that.
    pub fn strike(&self, request: &BankRequest) -> Option<Fault> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = all.iter().position(|armed| armed.matches(request))?;
        let armed = all.get_mut(at)?;
        let fault = armed.fault;
        armed.times -= 1;
        if armed.times == 0 {
            all.remove(at);
        }
        Some(fault)
    }
}

/// The word of an operation in JSON.
pub fn operation_name(operation: &BankOperation) -> &'static str {
    match operation {
        BankOperation::PlaceHold { .. } => "place_hold",
        BankOperation::RaiseHold { .. } => "raise_hold",
        BankOperation::ReleaseHold { .. } => "release_hold",
        BankOperation::Capture { .. } => "capture",
        BankOperation::Debit { .. } => "debit",
        BankOperation::Pay { .. } => "pay",
        BankOperation::Reverse { .. } => "reverse",
    }
}
