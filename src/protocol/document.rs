//! The payloads of all signed documents (docs/protocol.md, "Documents").
//!
//! Each names the merchant; those of a visit name store, user, device and trip as well. Readers ignore unknown members.

use super::crypto::{Jwk, PublicKey};
use super::jws::Document;
use crate::id::*;
use crate::money::Money;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

macro_rules! document {
    ($type:ty, $typ:literal) => {
        impl Document for $type {
            const TYP: &'static str = $typ;
        }
    };
}

/// Names kept for documents that later versions will define: no document of another meaning may take them.
pub const RESERVED_TYPS: [&str; 4] =
    ["walkpay-receipt.v1", "walkpay-return.v1", "walkpay-refund.v1", "walkpay-allowance.v1"];

// ---- by the device ------------------------------------------------------------------------------------------------

/// Proof that the sender holds a key, made once with the request key and once with the consent key (design §5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnrolmentProof {
    /// The merchant that the code is of.
    pub merchant_id: MerchantId,
    /// SHA-256 of the enrolment code, base64url: the code itself is not repeated in what is kept.
    pub code_sha256: String,
    /// The nonce that the merchant gave for this enrolment.
    pub nonce: String,
    /// Made on the device; names the pair of keys from now on.
    pub device_id: DeviceId,
    /// Signs HTTP requests; needs nobody's presence.
    pub request_key: PublicKey,
    /// Signs baskets, holds and slips.
    pub consent_key: PublicKey,
}
document!(EnrolmentProof, "walkpay-enrolment-proof.v1");

/// New keys for a device, signed with the consent key in force; the request carries proofs by the new keys beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyRotation {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// The user.
    pub sub: Sub,
    /// The device whose keys change.
    pub device_id: DeviceId,
    /// Rising number of signed documents of this device.
    pub device_seq: u64,
    /// Signs HTTP requests from now on.
    pub request_key: PublicKey,
    /// Signs baskets, holds and slips from now on, once the user confirmed it to merchant and bank.
    pub consent_key: PublicKey,
}
document!(KeyRotation, "walkpay-key-rotation.v1");

/// A09: asks the merchant to have `amount` reserved at the bank for one trip. Raising a hold is a new request with the
/// new absolute amount, the next `number` and the hold it `replaces`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoldRequest {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// The store that the shopper is in.
    pub store_id: StoreId,
    /// The user.
    pub sub: Sub,
    /// The device that asks.
    pub device_id: DeviceId,
    /// Rising number of signed documents of this device.
    pub device_seq: u64,
    /// The visit.
    pub trip_id: TripId,
    /// This request.
    pub hold_id: HoldId,
    /// 1 for the first hold of the trip, 2 for the first raise, and so on.
    pub number: u32,
    /// The hold that this one takes the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<HoldId>,
    /// The absolute amount to be reserved.
    pub amount: Money,
    /// By merchant time, as far as the device knows it.
    pub requested_at: Timestamp,
}
document!(HoldRequest, "walkpay-hold-request.v1");

/// The signed basket (A04): a summary. The lines travel beside it as the exact bytes that `lines_sha256` is of, so that
/// the bank can verify the amount without seeing the groceries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BasketSummary {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// The store.
    pub store_id: StoreId,
    /// The user.
    pub sub: Sub,
    /// The device that signs.
    pub device_id: DeviceId,
    /// Rising number of signed documents of this device.
    pub device_seq: u64,
    /// The visit.
    pub trip_id: TripId,
    /// 1, 2, …: each signature of the trip's basket is an attempt of its own.
    pub attempt: u32,
    /// The hold that the shopper counts on, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_id: Option<HoldId>,
    /// The catalogue that the basket was priced with.
    pub catalogue_revision: u64,
    /// The version of the pricing rules.
    pub pricing_version: u32,
    /// When it was priced, by merchant time as far as the device knows it.
    pub priced_at: Timestamp,
    /// What is to be paid.
    pub total: Money,
    /// How many articles: pieces, each weighed article being one; deposits do not count.
    pub item_count: u32,
    /// SHA-256 of the lines' bytes, base64url.
    pub lines_sha256: String,
}
document!(BasketSummary, "walkpay-basket.v1");

/// Gives up a trip before it is accepted; signed with the request key, since it moves no money towards the merchant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TripCancellation {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// The user.
    pub sub: Sub,
    /// The device.
    pub device_id: DeviceId,
    /// Rising number of signed documents of this device.
    pub device_seq: u64,
    /// The visit that is given up.
    pub trip_id: TripId,
    /// By merchant time, as far as the device knows it.
    pub cancelled_at: Timestamp,
}
document!(TripCancellation, "walkpay-trip-cancellation.v1");

/// Proof that the one who shows an exit pass holds the key it is bound to, at this moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PassPresentation {
    /// The pass.
    pub jti: PassId,
    /// Unix time divided by 30 seconds.
    pub step: u64,
}
document!(PassPresentation, "walkpay-pass-presentation.v1");

// ---- by the merchant ----------------------------------------------------------------------------------------------

/// What a key of the merchant may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyUse {
    /// Enrolment grants, events, hold results, validations, debit results and clock statements.
    Results,
    /// Exit passes.
    Pass,
    /// Catalogue manifests.
    Catalogue,
    /// Staff tokens.
    Staff,
}

/// A key of a key set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyEntry {
    /// The key.
    pub key: PublicKey,
    /// What it may sign.
    #[serde(rename = "use")]
    pub usage: KeyUse,
    /// Not before.
    pub nbf: Timestamp,
    /// No longer from here on.
    pub exp: Timestamp,
}

/// The merchant's keys, signed by its offline root, whose thumbprint a device pins at enrolment. Only a higher `seq`
/// replaces a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeySet {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// Rises with each set.
    pub seq: u64,
    /// When the root signed it.
    pub issued_at: Timestamp,
    /// All keys that are or will be valid, and retired ones whose documents are still being read.
    pub keys: Vec<KeyEntry>,
}
document!(KeySet, "walkpay-key-set.v1");

impl KeySet {
    /// The key `kid` if it may sign documents of `usage` issued at `at`.
    pub fn find(&self, kid: &KeyId, usage: KeyUse, at: Timestamp) -> Option<&PublicKey> {
        self.keys
            .iter()
            .find(|e| e.usage == usage && e.nbf <= at && at < e.exp && e.key.key_id() == *kid)
            .map(|e| &e.key)
    }
}

/// A store as its merchant describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoreInfo {
    /// The store.
    pub store_id: StoreId,
    /// What shoppers call it.
    pub name: String,
    /// The currency of all its prices.
    pub currency: crate::money::Currency,
    /// IANA time zone; business days are counted in it.
    pub time_zone: String,
    /// As printed on receipts.
    pub tax_id: String,
    /// The gates that share a list of spent passes.
    pub gate_group: GateGroup,
}

/// The merchant's answer to an enrolment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnrolmentGrant {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// Its name.
    pub merchant_name: String,
    /// The device, as proposed.
    pub device_id: DeviceId,
    /// The user that the code was made for.
    pub sub: Sub,
    /// The name that this user signs in with.
    pub user_name: UserName,
    /// The nonce of the proof that this answers.
    pub nonce: String,
    /// The stores that this device can shop in.
    pub stores: Vec<StoreInfo>,
    /// Whether the user has already confirmed the device (demo codes); otherwise an event tells.
    pub active: bool,
    /// Where the user confirms the consent key to the bank, and the masked account, if a bank account is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank: Option<BankBinding>,
    /// Merchant time.
    pub issued_at: Timestamp,
}
document!(EnrolmentGrant, "walkpay-enrolment.v1");

/// The bank account that is bound to a user: a token and a masked label, never a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BankBinding {
    /// For people, such as `DE ···· 4711`.
    pub label: String,
    /// The bank's own page where the user confirms the device's consent key.
    pub confirm_url: String,
}

/// What is known of a hold. `accepted` and `placed` are different facts (A10, A26).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
pub enum HoldStatus {
    /// The merchant took the request in and passes it on.
    Accepted,
    /// The bank reserved the amount.
    Placed,
    /// The bank refused.
    Declined,
    /// Freed without a capture.
    Released,
    /// The bank freed it because its time was over.
    Expired,
    /// Used for a debit; the rest was freed with it.
    Captured,
    /// A raised hold has taken its place.
    Replaced,
}

/// A state of a hold, told to the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct HoldResult {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// The store.
    pub store_id: StoreId,
    /// The user.
    pub sub: Sub,
    /// The device that asked.
    pub device_id: DeviceId,
    /// The visit.
    pub trip_id: TripId,
    /// The hold request.
    pub hold_id: HoldId,
    /// What happened.
    pub status: HoldStatus,
    /// The amount of the request.
    pub amount: Money,
    /// Why the bank declined: a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the bank frees a placed hold by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Merchant time.
    pub issued_at: Timestamp,
}
document!(HoldResult, "walkpay-hold-result.v1");

/// The merchant's verdict on an attempt (A06, A21). Only the first two are final for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Legitimate and covered: the shopper may leave, the debit follows.
    Accepted,
    /// Refused, for the reasons given; another attempt may be signed unless the trip is closed.
    Rejected,
    /// Staff must look first; their decision follows as another validation.
    CheckRequired,
    /// Hold and stored value do not cover the total: raise the hold by the shortfall and sign again.
    InsufficientCover,
}

/// Why an attempt was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// The device is not confirmed, frozen or revoked.
    DeviceNotActive,
    /// The user is blocked or erased.
    UserNotActive,
    /// Merchant, store, user, device or trip in the document are not those of the request.
    DocumentMismatch,
    /// The currency is not the store's.
    CurrencyMismatch,
    /// The trip has been cancelled.
    TripCancelled,
    /// Another attempt of this trip was accepted already.
    AlreadyAccepted,
    /// A higher attempt of this trip arrived first.
    Superseded,
    /// The catalogue revision is not known to the merchant.
    CatalogueUnknown,
    /// The revision's time is over: sync, review again and sign the next attempt.
    CatalogueOutdated,
    /// The pricing rules are of another version: update the app.
    PricingVersion,
    /// `priced_at` is not within the trip or is in the future.
    PricedAt,
    /// The lines are not those that the digest is of.
    LinesDigest,
    /// The lines cannot be read.
    LinesMalformed,
    /// An article is not in that revision.
    UnknownArticle,
    /// An article must not be sold.
    SaleStopped,
    /// A price, discount, weight or tax is not the merchant's.
    PriceMismatch,
    /// A quantity or embedded value is outside its limits.
    QuantityLimit,
    /// Sums do not agree with the lines.
    TotalMismatch,
    /// Above what this user or this new device may buy.
    AmountLimit,
    /// Too many purchases for today.
    CountLimit,
    /// An article needs an age check by staff.
    AgeCheck,
    /// Picked for a spot check.
    SpotCheck,
    /// Staff refused.
    StaffRefused,
    /// Hold and available stored value are less than the total.
    Cover,
    /// The hold belongs to another trip, user or currency, or does not exist.
    HoldMismatch,
}

/// A reason, and the line that it refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reason {
    /// What is wrong.
    pub code: ReasonCode,
    /// The number of the line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// For developers: what was expected and what came.
    pub detail: String,
}

/// A06: the verdict on one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct Validation {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// The store.
    pub store_id: StoreId,
    /// The user.
    pub sub: Sub,
    /// The device that signed.
    pub device_id: DeviceId,
    /// The visit.
    pub trip_id: TripId,
    /// The attempt.
    pub attempt: u32,
    /// Digest of the basket's JWS: what exactly the verdict is on.
    pub basket_sha256: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, unless accepted.
    pub reasons: Vec<Reason>,
    /// The total of the attempt.
    pub total: Money,
    /// With `insufficient_cover`: how much the hold must be raised by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortfall: Option<Money>,
    /// With `catalogue_outdated` and `price_mismatch`: what the merchant makes of the total today.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repriced_total: Option<Money>,
    /// With `accepted`: the exit pass, a JWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_pass: Option<String>,
    /// With `accepted`: the service order of this purchase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_number: Option<ServiceNumber>,
    /// Merchant time.
    pub issued_at: Timestamp,
}
document!(Validation, "walkpay-validation.v1");

/// How money moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PaymentMethod {
    /// The account at the merchant.
    StoredValue,
    /// The bound bank account.
    Bank,
    /// Alipay.
    Alipay,
    /// WeChat Pay, Tenpay's successor.
    Tenpay,
    /// A channel of simulations, which moves no money.
    Test,
}

/// What is known of one leg of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum LegState {
    /// On its way.
    Pending,
    /// No answer yet: neither success nor failure.
    Unknown,
    /// Moved.
    Succeeded,
    /// Definitely not moved.
    Failed,
}

/// One movement of a payment or refund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Leg {
    /// By what means.
    pub method: PaymentMethod,
    /// How much.
    pub amount: Money,
    /// The reference at the other side.
    pub reference: String,
    /// What is known.
    pub state: LegState,
}

/// How a debit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
pub enum DebitStatus {
    /// All of it was collected.
    Debited,
    /// The bank refused for good: `due` remains as a payable order.
    Unpaid,
    /// What had remained due was collected later.
    Settled,
}

/// A07, A25: the result of the debit, which follows the validation and is independent of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct DebitResult {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// The store.
    pub store_id: StoreId,
    /// The user.
    pub sub: Sub,
    /// The device that signed the basket.
    pub device_id: DeviceId,
    /// The visit.
    pub trip_id: TripId,
    /// The accepted attempt.
    pub attempt: u32,
    /// The service order of this purchase.
    pub service_number: ServiceNumber,
    /// How it ended.
    pub status: DebitStatus,
    /// What was signed for.
    pub total: Money,
    /// What remains to be paid.
    pub due: Money,
    /// What moved, stored value first (A23).
    pub legs: Vec<Leg>,
    /// With `unpaid`: the bank's reason, a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The receipt number of the store, once something was posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_number: Option<u64>,
    /// Merchant time.
    pub issued_at: Timestamp,
}
document!(DebitResult, "walkpay-debit-result.v1");

/// A11: lets its holder through the gates of a group, once, offline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExitPass {
    /// This pass; a gate group takes it once.
    pub jti: PassId,
    /// The merchant.
    pub merchant_id: MerchantId,
    /// The store.
    pub store_id: StoreId,
    /// The gates.
    pub gate_group: GateGroup,
    /// The visit.
    pub trip_id: TripId,
    /// The device key that presentations must be signed with (RFC 7800).
    pub cnf: Confirmation,
    /// The amount, for the eyes of staff.
    pub amount: Money,
    /// How many articles, for the eyes of staff.
    pub item_count: u32,
    /// Merchant time.
    pub iat: Timestamp,
    /// At most 30 minutes after `iat`.
    pub exp: Timestamp,
}
document!(ExitPass, "walkpay-exit-pass.v1");

/// The key that a pass is bound to. The key itself rather than its thumbprint, so that a gate needs no other source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The device's request key.
    pub jwk: Jwk,
}

/// What catalogue data a store offers: the digest of a snapshot (`base` absent) or of a delta from `base`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CatalogueManifest {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// The store.
    pub store_id: StoreId,
    /// The revision that a delta applies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
    /// The revision that results.
    pub revision: u64,
    /// SHA-256 of the data, base64url.
    pub sha256: String,
    /// The length of the data in bytes.
    pub length: u64,
    /// How many rows it has.
    pub rows: u64,
    /// The version of the pricing rules.
    pub pricing_version: u32,
    /// Merchant time.
    pub issued_at: Timestamp,
    /// Baskets priced with this revision are taken until then. A stale catalogue still scans.
    pub usable_until: Timestamp,
}
document!(CatalogueManifest, "walkpay-catalogue.v1");

/// One entry of the merchant's event log for a device; `seq` has no gaps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventDocument {
    /// The merchant.
    pub iss: MerchantId,
    /// The device.
    pub aud: DeviceId,
    /// The user.
    pub sub: Sub,
    /// 1, 2, 3, … per device.
    pub seq: u64,
    /// What happened.
    pub kind: String,
    /// Kind-specific: see [`EventBody`].
    pub body: serde_json::Value,
    /// Merchant time.
    pub issued_at: Timestamp,
}
document!(EventDocument, "walkpay-event.v1");

/// The known kinds of events. A reader keeps what it does not know as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum EventBody {
    /// A hold changed; a [`HoldResult`] as JWS.
    Hold {
        /// The document.
        document: String,
    },
    /// An attempt has a verdict; a [`Validation`] as JWS.
    Validation {
        /// The document.
        document: String,
    },
    /// A debit ended; a [`DebitResult`] as JWS.
    Debit {
        /// The document.
        document: String,
    },
    /// Something happened to an order of the payer; an [`OrderNotice`](super::order::OrderNotice) as JWS.
    Order {
        /// The document.
        document: String,
    },
    /// A payment of a slip went on; a [`SlipResult`](super::order::SlipResult) as JWS.
    Slip {
        /// The document.
        document: String,
    },
    /// A trip was cancelled, by request or because it was left alone too long.
    TripCancelled {
        /// The trip.
        trip_id: TripId,
    },
    /// The user confirmed this device to the merchant.
    DeviceConfirmed {},
    /// The device is frozen: its folder seems to have been copied.
    DeviceFrozen {},
    /// The device is revoked.
    DeviceRevoked {},
    /// New keys are in force.
    KeysRotated {
        /// The new request key.
        request_kid: KeyId,
        /// The new consent key.
        consent_kid: KeyId,
    },
    /// A store has a new catalogue revision.
    CataloguePublished {
        /// The store.
        store_id: StoreId,
        /// The revision.
        revision: u64,
    },
    /// A new key set is out.
    KeySetPublished {
        /// Its number.
        seq: u64,
    },
}

/// What merchant time it is, bound to one request by its nonce: how a terminal knows its clock's offset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClockStatement {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// The device that asked.
    pub device_id: DeviceId,
    /// The nonce of the request's HTTP signature.
    pub nonce: String,
    /// Merchant time when the answer was made.
    pub now: Timestamp,
}
document!(ClockStatement, "walkpay-clock.v1");

/// What a member of staff may do, such as decide checks; a bearer token for `/staff/v1` and `/query/v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StaffToken {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// The store.
    pub store_id: StoreId,
    /// Opaque; who decided is kept with the decision.
    pub staff_id: String,
    /// What it allows: words, separated by spaces. Without it, what the first version knew (`checks:decide refunds:write query:read`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Merchant time.
    pub iat: Timestamp,
    /// Not from here on.
    pub exp: Timestamp,
}
document!(StaffToken, "walkpay-staff-token.v1");
