//! What the merchant and a bank say to each other. Plain data: carried over HTTP by `client` and `server`, and passed
//! by hand in the simulation.

use serde::{Deserialize, Serialize};
use walkpay::{MerchantId, Money, Timestamp, TripId};

/// One operation under a reference of the merchant's. The reference is the idempotency key: the same operation again has
/// the first one's outcome, another one under it is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BankRequest {
    /// The merchant that asks.
    pub merchant_id: MerchantId,
    /// Unique per merchant; ARCHITECTURE.md, "Bank references".
    pub reference: String,
    /// The visit that the money is about.
    pub trip_id: TripId,
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
    /// Give back what a capture or debit took, in full or in part.
    Reverse {
        /// The reference of the capture or debit.
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
    /// The visit.
    pub trip_id: TripId,
    /// Positive: taken from the account; negative: given back.
    pub amount: Money,
    /// When it was booked, by the bank's clock.
    pub booked_at: Timestamp,
}

/// Why there is no answer. This says nothing about what the bank did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer from the bank: {0}")]
pub struct NoAnswer(pub String);
