//! What the simulated Alipay can be told to do wrong, by name.

use crate::channel::armed::{self, fault_table};

fault_table! {
    Refuses "alipay_refuses" "Alipay opens no trade (ACQ.ACCESS_FORBIDDEN).";
    NoAnswerBefore "alipay_no_answer_before" "Alipay's answer is lost, and nothing was done.";
    NoAnswerAfter "alipay_no_answer_after" "What Alipay was asked for is done, and the answer is lost.";
    Slow "alipay_slow" "What Alipay was asked for is done, the answer comes after two seconds.";
    SystemError "alipay_system_error" "Alipay answers ACQ.SYSTEM_ERROR, and nothing was done.";
    UnknownAfter "alipay_unknown_error_after" "What Alipay was asked for is done, and it answers 20000 isp.unknow-error.";
    ForgedAnswer "alipay_answer_forged" "What Alipay was asked for is done, the answer is signed by somebody else.";
    UnsignedAnswer "alipay_answer_unsigned" "What Alipay was asked for is done, the answer has no signature.";
    OtherAnswer "alipay_answer_of_another_trade" "Alipay's answer is about another trade than it was asked for.";
    ClosesLate "alipay_closes_late" "A trade that Alipay is to close stays open for half a minute more.";
    PaidAfterClose "alipay_paid_after_close" "A trade that Alipay is told to have closed can be paid all the same.";
    RefundRefused "alipay_refund_refused" "Alipay refuses a refund for good (ACQ.SELLER_BALANCE_NOT_ENOUGH).";
    RefundUnknown "alipay_refund_unknown" "Alipay makes a refund, and the answer is lost.";
    NotificationLost "alipay_notification_lost" "Alipay does not notify of a payment.";
    NotificationTwice "alipay_notification_duplicated" "Alipay notifies of a payment twice.";
    NotificationLate "alipay_notification_late" "Alipay notifies of a payment half a minute later.";
    NotificationReplayed "alipay_notification_replayed" "A notification of Alipay's is sent again half a minute later.";
    WrongAmount "alipay_notification_wrong_amount" "Alipay's notification tells of another amount.";
    OtherCurrency "alipay_notification_other_currency" "Alipay's notification tells of another currency.";
    OtherApplication "alipay_notification_other_app" "Alipay's notification is for another application.";
    OtherSeller "alipay_notification_other_seller" "Alipay's notification is for another seller.";
    ForgedNotification "alipay_notification_forged" "Alipay's notification is signed by somebody else.";
}

/// A fault of the simulated Alipay that waits.
pub type Armed = armed::Armed<Fault>;
/// The armed faults of the simulated Alipay. Forgotten at a restart.
pub type Faults = armed::Faults<Fault>;

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

/// The faults that can strike any call.
const ANY: &[Fault] = &[
    Fault::NoAnswerBefore,
    Fault::NoAnswerAfter,
    Fault::Slow,
    Fault::SystemError,
    Fault::UnknownAfter,
    Fault::ForgedAnswer,
    Fault::UnsignedAnswer,
    Fault::OtherAnswer,
];

/// The faults that can strike an operation (`create`, `query`, `close`, `refund`, `query_refund`).
pub(super) fn of(operation: &str) -> Vec<Fault> {
    let own: &[Fault] = match operation {
        "create" => &[Fault::Refuses],
        "close" => &[Fault::ClosesLate, Fault::PaidAfterClose],
        "refund" => &[Fault::RefundRefused, Fault::RefundUnknown],
        _ => &[],
    };
    [ANY, own].concat()
}
