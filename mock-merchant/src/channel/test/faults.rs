//! What the simulated channel can be told to do wrong, by name.

use crate::channel::port::ChannelAsk;
use std::sync::{Arc, Mutex, PoisonError};

/// How many faults can be armed at once.
pub const MAX_ARMED: usize = 100;

macro_rules! faults {
    ($($variant:ident $name:literal $meaning:literal;)*) => {
        /// A way to fail.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault { $(#[doc = $meaning] $variant,)* }

        impl Fault {
            /// All faults of the channel: name and meaning.
            pub const TABLE: &'static [(Fault, &'static str, &'static str)] = &[$((Fault::$variant, $name, $meaning),)*];
        }
    };
}

faults! {
    Refuses "channel_refuses" "The channel opens no trade.";
    NoAnswerBefore "channel_no_answer_before" "The answer is lost, and nothing was done.";
    NoAnswerAfter "channel_no_answer_after" "What was asked for is done, and the answer is lost.";
    Slow "channel_slow" "What was asked for is done, the answer comes after a delay.";
    NeverKnew "channel_never_knew" "The channel promises a trade and does not know it, unless it is paid.";
    ClosesLate "channel_closes_late" "A trade that is to be closed stays open for half a minute more.";
    PaidAfterClose "channel_paid_after_close" "A trade that is told to be closed can be paid all the same.";
    RefundRefused "channel_refund_refused" "A refund is refused for good.";
    RefundUnknown "channel_refund_unknown" "A refund is made, and the answer is lost.";
    NotificationLost "channel_notification_lost" "A payment is not notified.";
    NotificationTwice "channel_notification_duplicated" "A payment is notified twice.";
    NotificationLate "channel_notification_late" "A payment is notified half a minute later.";
    NotificationReplayed "channel_notification_replayed" "A notification is sent again half a minute later.";
    WrongAmount "channel_notification_wrong_amount" "The notification tells of another amount.";
    OtherCurrency "channel_notification_other_currency" "The notification tells of another currency.";
    OtherApplication "channel_notification_other_app" "The notification is for another application.";
    OtherSeller "channel_notification_other_seller" "The notification is for another seller.";
    ForgedNotification "channel_notification_forged" "The notification is signed by somebody else.";
}

/// The faults that strike when a payment is notified.
pub(super) const NOTIFY: &[Fault] = &[
    Fault::NotificationLost,
    Fault::NotificationTwice,
    Fault::NotificationLate,
    Fault::NotificationReplayed,
    Fault::WrongAmount,
    Fault::OtherCurrency,
    Fault::OtherApplication,
    Fault::OtherSeller,
    Fault::ForgedNotification,
];

/// The faults that can strike a question.
pub(super) fn of(ask: &ChannelAsk) -> &'static [Fault] {
    match ask {
        ChannelAsk::Create(_) => {
            &[Fault::Refuses, Fault::NoAnswerBefore, Fault::NoAnswerAfter, Fault::Slow, Fault::NeverKnew]
        }
        ChannelAsk::Close { .. } => {
            &[Fault::NoAnswerBefore, Fault::NoAnswerAfter, Fault::Slow, Fault::ClosesLate, Fault::PaidAfterClose]
        }
        ChannelAsk::Refund(_) => {
            &[Fault::NoAnswerBefore, Fault::NoAnswerAfter, Fault::Slow, Fault::RefundRefused, Fault::RefundUnknown]
        }
        ChannelAsk::Query { .. } | ChannelAsk::QueryRefund { .. } => {
            &[Fault::NoAnswerBefore, Fault::NoAnswerAfter, Fault::Slow]
        }
    }
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

/// A fault that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Armed {
    /// What to do.
    pub fault: Fault,
    /// How many more times; at least 1.
    pub times: u32,
    /// Only for `create`, `query`, `close`, `refund`, `query_refund` or `notify`.
    pub operation: Option<String>,
}

/// The armed faults of the simulated channel. Forgotten at a restart.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Armed>>>);

impl Faults {
    /// Arms a fault behind those that are armed; false if there are a hundred already or it would never strike.
    pub fn arm(&self, armed: Armed) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = all.len() < MAX_ARMED && armed.times > 0;
        if room {
            all.push(armed);
        }
        room
    }

    /// Arms a fault for the next time that it fits.
    pub fn once(&self, fault: Fault) -> bool {
        self.arm(Armed { fault, times: 1, operation: None })
    }

    /// What is armed, in the order in which it strikes.
    pub fn armed(&self) -> Vec<Armed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Disarms everything.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The first armed fault that fits here; it is used up by that.
    pub(super) fn strike(&self, operation: &str, fitting: &[Fault]) -> Option<Fault> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits =
            |a: &Armed| fitting.contains(&a.fault) && a.operation.as_deref().is_none_or(|name| name == operation);
        let at = all.iter().position(fits)?;
        let armed = all.get_mut(at)?;
        let fault = armed.fault;
        armed.times -= 1;
        if armed.times == 0 {
            all.remove(at);
        }
        Some(fault)
    }
}
