//! What the merchant and a bank say to each other. Plain data: carried over HTTP by `client` and `server`, and passed
//! by hand in the simulation.

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;
use walkpay::{MerchantId, Money, PaymentId, Timestamp, TripId, WalkpayError};

/// What money is about: a visit, or a payment of a slip. To a bank it is a name under which debits add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subject(Uuid);

impl Subject {
    /// Parses the hyphenated form.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] for anything but a UUID.
    pub fn parse(text: &str) -> Result<Self, WalkpayError> {
        Uuid::try_parse(text).map(Self).map_err(|_| WalkpayError::InvalidInput {
            field: "subject".to_owned(),
            expected: "a UUID".to_owned(),
            got: text.chars().take(40).collect(),
        })
    }

    /// From the sixteen bytes of [`Self::as_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The sixteen bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The visit that this is, for a reader who knows that it is one.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] for what no visit can be called.
    pub fn trip(&self) -> Result<TripId, WalkpayError> {
        TripId::from_bytes(*self.0.as_bytes())
    }

    /// The payment that this is, for a reader who knows that it is one.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] for what no payment can be called.
    pub fn payment(&self) -> Result<PaymentId, WalkpayError> {
        PaymentId::from_bytes(*self.0.as_bytes())
    }
}

impl From<TripId> for Subject {
    fn from(trip: TripId) -> Self {
        Self::from_bytes(*trip.as_bytes())
    }
}

impl From<&TripId> for Subject {
    fn from(trip: &TripId) -> Self {
        (*trip).into()
    }
}

impl From<PaymentId> for Subject {
    fn from(payment: PaymentId) -> Self {
        Self::from_bytes(*payment.as_bytes())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

/// One operation under a reference of the merchant's. The reference is the idempotency key: the same operation again has
/// the first one's outcome, another one under it is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BankRequest {
    /// The merchant that asks.
    pub merchant_id: MerchantId,
    /// Unique per merchant; ARCHITECTURE.md, "Bank references".
    pub reference: String,
    /// What the money is about; `trip_id` in JSON, as it was called when there were visits only.
    #[serde(rename = "trip_id")]
    pub subject: Subject,
    /// What to do.
    pub operation: BankOperation,
}

/// What a merchant can ask of a bank.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum BankOperation {
    /// Reserve the amount of the shopper's signed hold request (A26).
    PlaceHold {
        /// The bank's token of the bound account.
        account: String,
        /// The amount to be reserved: that of the document.
        amount: Money,
        /// The hold request, a JWS by the consent key.
        hold_jws: String,
    },
    /// Raise a placed hold to a new absolute amount; banks without top-up answer `top_up_unsupported`.
    RaiseHold {
        /// The reference under which the hold was placed.
        hold_reference: String,
        /// The new absolute amount: that of the document.
        amount: Money,
        /// The new hold request, a JWS by the consent key.
        hold_jws: String,
    },
    /// Free a hold that was not captured.
    ReleaseHold {
        /// The reference under which the hold was placed.
        hold_reference: String,
    },
    /// Debit at most the hold's amount, and free the rest in the same operation (A24).
    Capture {
        /// The reference under which the hold was placed.
        hold_reference: String,
        /// How much.
        amount: Money,
        /// The basket summary, a JWS by the consent key.
        basket_jws: String,
    },
    /// Debit without a hold (A24).
    Debit {
        /// The bank's token of the bound account.
        account: String,
        /// How much.
        amount: Money,
        /// The basket summary, a JWS by the consent key.
        basket_jws: String,
    },
    /// Debit what the channel part of a signed slip payment comes to (B23); the subject is the payment.
    Pay {
        /// The bank's token of the bound account.
        account: String,
        /// How much.
        amount: Money,
        /// The slip payment, a JWS by the consent key.
        payment_jws: String,
    },
    /// Give back what a capture, debit or payment took, in full or in part.
    Reverse {
        /// The reference of the capture, debit or payment.
        original_reference: String,
        /// How much.
        amount: Money,
    },
}

/// A definite answer of the bank.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum BankOutcome {
    /// Done. A bank may approve less than was asked for.
    Approved {
        /// How much was reserved, moved or given back.
        amount: Money,
        /// For holds: when the bank frees it by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    /// Not done, and it will not be done under this reference.
    Declined {
        /// A stable word: `insufficient_funds`, `account_closed`, `account_unknown`, `signature_invalid`, `key_not_confirmed`,
        /// `document_mismatch`, `amount_above_signed`, `hold_unknown`, `hold_expired`, `hold_resolved`, `top_up_unsupported`,
        /// `reference_conflict`, `limit`.
        reason: String,
    },
}

/// The bank's answer to a question about a reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum BankQueryAnswer {
    /// The bank has carried the operation out or refused it.
    Known {
        /// How it ended.
        #[serde(flatten)]
        outcome: BankOutcome,
    },
    /// The bank has never seen this reference.
    NeverSeen,
}

/// One entry of the bank's book, as its statement shows it to the merchant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatementEntry {
    /// 1, 2, 3, … per merchant.
    pub seq: u64,
    /// The merchant's reference.
    pub reference: String,
    /// What it is about; `trip_id` in JSON.
    #[serde(rename = "trip_id")]
    pub subject: Subject,
    /// Positive: taken from the account; negative: given back.
    pub amount: Money,
    /// When it was booked, by the bank's clock.
    pub booked_at: Timestamp,
}

/// Why there is no answer. This says nothing about what the bank did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer from the bank: {0}")]
pub struct NoAnswer(pub String);
