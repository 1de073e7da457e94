//! What the simulated channel can be told to do wrong, by name.

use crate::channel::armed::{self, fault_table};
use crate::channel::port::ChannelAsk;

fault_table! {
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

/// A fault of the simulated channel that waits.
pub type Armed = armed::Armed<Fault>;
/// The armed faults of the simulated channel. Forgotten at a restart.
pub type Faults = armed::Faults<Fault>;
