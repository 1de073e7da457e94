//! The stable problem types (RFC 9457) of all APIs: one table for merchant, terminal and documents.

use super::message::{PROBLEM_PREFIX, Problem};

const MAX_DETAIL_CHARS: usize = 500;
const MAX_REASONS: usize = 600;

/// The problem document in an answer, its texts shortened, and its code (known here or not); nothing where the answer is something
/// else, such as a proxy's page, or the document's status is not the one that it came with. Only such a document is the merchant's
/// word; everything else is trouble on the way.
pub fn read_problem(status: u16, body: &[u8]) -> Option<(String, Problem)> {
    let mut problem: Problem = serde_json::from_slice(body).ok()?;
    let code = problem.typ.strip_prefix(PROBLEM_PREFIX)?.to_owned();
    let plain = |b: u8| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit();
    if problem.status != status || code.is_empty() || code.len() > 64 || !code.bytes().all(plain) {
        return None;
    }
    problem.detail = problem.detail.chars().take(MAX_DETAIL_CHARS).collect();
    problem.reasons.truncate(MAX_REASONS);
    Some((code, problem))
}

macro_rules! problems {
    ($($variant:ident $code:literal $status:literal $title:literal;)*) => {
        /// A problem type; its URN is `urn:walkpay:problem:` and the code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ProblemCode { $(#[doc = $title] $variant,)* }

        impl ProblemCode {
            /// All of them, for documents and tests.
            pub const ALL: &'static [ProblemCode] = &[$(ProblemCode::$variant,)*];

            /// The stable word.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The HTTP status that it comes with.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// What it means.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

problems! {
    Malformed "malformed" 400 "The request cannot be read.";
    IdempotencyKeyMissing "idempotency_key_missing" 400 "This request needs an Idempotency-Key.";
    Unauthenticated "unauthenticated" 401 "The request carries no usable credentials.";
    SignatureInvalid "signature_invalid" 401 "The request's signature does not verify.";
    SignatureStale "signature_stale" 401 "The request's signature is too old, too new or made before the last restart: sign again.";
    NonceReplayed "nonce_replayed" 401 "This nonce was used before: sign again.";
    KeyUnknown "key_unknown" 401 "No device has this request key.";
    DevicePending "device_pending" 403 "The user has not confirmed this device yet.";
    DeviceFrozen "device_frozen" 403 "The device is frozen: two copies of its folder seem to be in use. Enrol again.";
    DeviceRevoked "device_revoked" 403 "The device is revoked. Enrol again.";
    UserNotActive "user_not_active" 403 "The user is blocked or erased.";
    Forbidden "forbidden" 403 "Not allowed with these credentials.";
    NotFound "not_found" 404 "There is no such thing.";
    MethodNotAllowed "method_not_allowed" 405 "The resource does not have this method.";
    InProgress "in_progress" 409 "An outside call of the first request is still open: ask again.";
    AlreadyAccepted "already_accepted" 409 "The trip's basket was accepted: it cannot be cancelled any more.";
    AlreadyDecided "already_decided" 409 "This check has been decided.";
    TripCancelled "trip_cancelled" 409 "The trip was cancelled.";
    CodeInvalid "code_invalid" 403 "The enrolment code is wrong, used or over. Ask for a new one.";
    NonceInvalid "nonce_invalid" 403 "The enrolment nonce is unknown, used or over. Start again.";
    OrderNotPayable "order_not_payable" 409 "An order cannot be paid now: it is not payable, or on another slip.";
    OrderNotPaid "order_not_paid" 409 "The order is not paid: nothing can be given back.";
    PaymentOpen "payment_open" 409 "A payment of this slip is under way, or it is not known whether it is.";
    SlipOver "slip_over" 409 "The slip is paid or given up.";
    OrderLocked "order_locked" 409 "The order cannot be changed: it is on a slip, a payment of it has begun, or it is over.";
    PreconditionFailed "precondition_failed" 412 "It changed in the meantime: read it again.";
    TooLarge "too_large" 413 "The request is larger than its limit.";
    UnsupportedMediaType "unsupported_media_type" 415 "The body must be of the media type that the operation takes.";
    IdConflict "id_conflict" 422 "Another body was recorded under this identifier.";
    IdempotencyMismatch "idempotency_mismatch" 422 "Another body was sent under this Idempotency-Key.";
    DocumentInvalid "document_invalid" 422 "A signed document does not verify.";
    DocumentMismatch "document_mismatch" 422 "A signed document is not bound to this merchant, store, user, device or path.";
    CurrencyMismatch "currency_mismatch" 422 "The currency is not the one that belongs here.";
    HoldMismatch "hold_mismatch" 422 "The hold is not one that can be raised by this request.";
    NoBankAccount "no_bank_account" 422 "No bank account is bound to the user.";
    AmountLimit "amount_limit" 422 "The amount is above what this user or device may do.";
    InvalidValue "invalid_value" 422 "A member has a value that it cannot have.";
    PayeeMismatch "payee_mismatch" 422 "The orders of a slip have one payee.";
    MethodUnavailable "method_unavailable" 422 "Nothing can be paid by this method here.";
    InsufficientStoredValue "insufficient_stored_value" 422 "There is not as much stored value.";
    RefundExceeds "refund_exceeds" 422 "More than is left of what was paid.";
    PayerUnknown "payer_unknown" 422 "There is no such payer, or they cannot pay here.";
    PreconditionRequired "precondition_required" 428 "This request needs If-Match with the version that it changes.";
    RateLimited "rate_limited" 429 "Too many requests: wait as Retry-After says.";
    Timeout "timeout" 408 "The request did not arrive in time.";
    Internal "internal" 500 "A defect of the server. Nothing of this request was kept.";
    Unavailable "unavailable" 503 "Not available at the moment. Nothing of this request was kept: try again.";
}

impl ProblemCode {
    /// The document for this type.
    pub fn document(self, detail: impl Into<String>) -> Problem {
        Problem {
            typ: format!("{PROBLEM_PREFIX}{}", self.code()),
            title: self.title().to_owned(),
            status: self.status(),
            detail: detail.into(),
            reasons: Vec::new(),
        }
    }

    /// The problem type of a URN, if it is one of these.
    pub fn from_urn(urn: &str) -> Option<Self> {
        let code = urn.strip_prefix(PROBLEM_PREFIX)?;
        Self::ALL.iter().copied().find(|p| p.code() == code)
    }
}
