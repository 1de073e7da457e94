//! What the simulated gateway can be told to do wrong, by name.

use crate::channel::armed::{self, fault_table};

fault_table! {
    Refuses "tenpay_refuses" "An order is refused for good: NO_AUTH.";
    SystemErrorBefore "tenpay_system_error_before" "SYSTEM_ERROR (500); nothing was done.";
    SystemErrorAfter "tenpay_system_error_after" "What was asked for is done, and SYSTEM_ERROR (500) is answered.";
    FrequencyLimited "tenpay_frequency_limited" "FREQUENCY_LIMITED (429); nothing was done.";
    SignError "tenpay_sign_error" "SIGN_ERROR (401), whatever was signed; nothing was done.";
    NoAnswerBefore "tenpay_no_answer_before" "The connection breaks off before anything was done.";
    NoAnswerAfter "tenpay_no_answer_after" "What was asked for is done, and the connection breaks off.";
    Slow "tenpay_slow" "What was asked for is done, the answer comes after two seconds.";
    ForgedAnswer "tenpay_answer_forged" "What was asked for is done, and somebody else signs the answer.";
    UnsignedAnswer "tenpay_answer_unsigned" "What was asked for is done, and nobody signs the answer.";
    StaleAnswer "tenpay_answer_stale" "What was asked for is done, the answer's signature is ten minutes old.";
    ExpiredCertificate "tenpay_certificate_expired" "The answer is signed with a certificate that has expired.";
    UnknownUntilScanned "tenpay_unknown_until_scanned" "An order is not known before its code is scanned.";
    ClosesLate "tenpay_closes_late" "An order that is to be closed stays open for half a minute more.";
    PaidAfterClose "tenpay_paid_after_close" "An order that is told to be closed can be paid all the same.";
    PaymentFails "tenpay_payment_fails" "The payer's payment fails: PAYERROR; the order can be paid again.";
    RefundRefused "tenpay_refund_refused" "A refund is refused for good: USER_ACCOUNT_ABNORMAL.";
    NotEnough "tenpay_not_enough" "A refund is not made: NOT_ENOUGH, the merchant's account is too low.";
    RefundUnknown "tenpay_refund_unknown" "A refund is made, and SYSTEM_ERROR is answered.";
    RefundProcessing "tenpay_refund_processing" "A refund takes half a minute.";
    NotificationLost "tenpay_notification_lost" "A payment is not notified.";
    NotificationTwice "tenpay_notification_duplicated" "A payment is notified twice.";
    NotificationLate "tenpay_notification_late" "A payment is notified half a minute later.";
    NotificationReplayed "tenpay_notification_replayed" "The bytes and headers of a notification are sent again half a minute later.";
    WrongAmount "tenpay_notification_wrong_amount" "The notification tells of another amount.";
    OtherCurrency "tenpay_notification_other_currency" "The notification tells of another currency.";
    OtherApplication "tenpay_notification_other_app" "The notification is for another application.";
    OtherSeller "tenpay_notification_other_seller" "The notification is for another merchant.";
    ForgedNotification "tenpay_notification_forged" "The notification is signed by somebody else.";
    StaleNotification "tenpay_notification_stale" "The notification's signature is ten minutes old.";
    OtherKeyNotification "tenpay_notification_other_key" "The notification is encrypted with another APIv3 key.";
}

/// A fault of the simulated gateway that waits.
pub type Armed = armed::Armed<Fault>;
/// The armed faults of the simulated gateway. Forgotten at a restart.
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
    Fault::StaleNotification,
    Fault::OtherKeyNotification,
];

/// Whether a fault can strike a request.
fn fits(operation: &str, fault: Fault) -> bool {
    match fault {
        Fault::Refuses | Fault::UnknownUntilScanned => operation == "create",
        Fault::ClosesLate | Fault::PaidAfterClose => operation == "close",
        Fault::RefundRefused | Fault::NotEnough | Fault::RefundUnknown | Fault::RefundProcessing => {
            operation == "refund"
        }
        Fault::PaymentFails => operation == "pay",
        fault => !NOTIFY.contains(&fault) && operation != "pay",
    }
}

/// The faults that can strike `create`, `query`, `close`, `refund`, `query_refund`, `certificates` or `pay`. The list of
/// certificates is struck only by what names it: it is fetched when the merchant wants it.
pub(super) fn strike(faults: &Faults, operation: &str) -> Option<Fault> {
    let fitting: Vec<Fault> = Fault::TABLE.iter().map(|(f, _, _)| *f).filter(|f| fits(operation, *f)).collect();
    if operation == "certificates" && !faults.armed().iter().any(|a| a.operation.as_deref() == Some(operation)) {
        return None;
    }
    faults.strike(operation, &fitting)
}
