//! What can be asked of the merchant, by whom, and what it answers.

use super::notices::ContactChange;
use super::once::{IdempotencyKey, Reply};
use super::paying::{PayerAnswer, PayerCommand, PayerQuery, RefundRequest, RefundView};
use super::service::{ServiceAnswer, ServiceCommand, ServiceQuery, SourceAdmin, SourceCaller, Told};
use super::staff::StaffScopes;
use crate::channel::port::Receipt;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use walkpay::protocol::document::{PaymentMethod, Reason, StoreInfo};
use walkpay::protocol::message::*;
use walkpay::protocol::order::PaymentPut;
use walkpay::{
    Currency, DeviceId, GateGroup, HoldId, KeyId, Money, PassId, PaymentId, ServiceNumber, SlipNumber, StoreId, Sub,
    Timestamp, TripId, UserName,
};

/// Who asks, as far as the layer above has established it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular: the two steps of an enrolment, and what is public.
    Anonymous,
    /// The device whose request key made the HTTP signature. Its state is the command's business.
    Device {
        /// The device.
        device_id: DeviceId,
        /// The key that signed: one that a rotation has retired may only repeat that rotation and read.
        kid: KeyId,
    },
    /// A gate of a group, by its API key.
    Gate(GateGroup),
    /// A member of staff, by a staff token of one store.
    Staff {
        /// The store.
        store_id: StoreId,
        /// Opaque; kept with decisions.
        staff_id: String,
        /// What the token lets them do.
        scopes: StaffScopes,
    },
    /// A service system, by its API key.
    Source(SourceCaller),
    /// A payment channel, by the signature of its notification.
    Channel(walkpay::protocol::document::PaymentMethod),
    /// Whoever runs the merchant: command line and test controls.
    Operator,
}

/// What changes something; goes through the writer.
#[derive(Clone, Debug)]
pub enum Command {
    /// `POST /terminal/v1/enrolments`, by anyone → [`Answer::EnrolmentStart`].
    BeginEnrolment,
    /// `PUT /terminal/v1/enrolments/{device_id}`, by anyone → [`Answer::Enrolment`].
    Enrol {
        /// From the path.
        device_id: DeviceId,
        /// The body.
        request: EnrolmentRequest,
    },
    /// `PUT /terminal/v1/devices/{device_id}/keys`, by the device → [`Answer::Recorded`].
    RotateKeys {
        /// From the path.
        device_id: DeviceId,
        /// The body.
        request: KeyRotationRequest,
    },
    /// `PUT /terminal/v1/holds/{hold_id}`, by the device → [`Answer::Recorded`].
    PutHold {
        /// From the path.
        hold_id: HoldId,
        /// The body.
        body: HoldPut,
    },
    /// `PUT /terminal/v1/trips/{trip_id}/attempts/{attempt}`, by the device → [`Answer::Recorded`].
    PutAttempt {
        /// From the path.
        trip_id: TripId,
        /// From the path.
        attempt: u32,
        /// The body.
        body: AttemptPut,
    },
    /// `PUT /terminal/v1/trips/{trip_id}/cancellation`, by the device → [`Answer::Recorded`].
    PutCancellation {
        /// From the path.
        trip_id: TripId,
        /// The body.
        body: CancellationPut,
    },
    /// `POST /gate/v1/groups/{group}/passes`, by a gate of the group → [`Answer::Spent`].
    SpendPasses {
        /// From the path.
        group: GateGroup,
        /// The body.
        passes: SpentPasses,
    },
    /// A staff decision, by staff of the store or the operator → [`Answer::Decided`].
    Decide(Decision),
    /// `/service/v1`, by a service system → [`Answer::Service`].
    Service(ServiceCommand),
    /// By a payer's device.
    Payer(PayerCommand),
    /// `PUT /payer/v1/slips/{slip_number}/payments/{payment_id}`, by a payer's device → [`PayerAnswer::Payment`].
    PutPayment {
        /// From the path.
        slip: SlipNumber,
        /// From the path.
        payment_id: PaymentId,
        /// The body.
        body: PaymentPut,
    },
    /// What a channel has notified, by the channel → [`Answer::Done`].
    Notified(Receipt),
    /// `POST …/orders/{service_number}/refunds`, by staff of the store, the order's source or the operator → [`Answer::Reply`] with
    /// a [`RefundView`](super::RefundView).
    Refund {
        /// The order.
        number: ServiceNumber,
        /// The key under which the refund is made once.
        key: IdempotencyKey,
        /// Digest of the body as it came.
        body_sha256: [u8; 32],
        /// The body.
        request: RefundRequest,
    },
    /// By the operator.
    Admin(AdminCommand),
}

/// A decision of staff on a check, bound to the exact basket that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The visit.
    pub trip_id: TripId,
    /// The attempt.
    pub attempt: u32,
    /// Digest of the basket's JWS, as the check's listing shows it.
    pub basket_sha256: String,
    /// Whether the shopper may go, cover permitting.
    pub accept: bool,
}

/// What only the operator can do.
#[derive(Clone, Debug)]
pub enum AdminCommand {
    /// → [`Answer::Done`]; the same store again changes its description, never its currency.
    AddStore(StoreInfo),
    /// → [`Answer::User`].
    AddUser(NewUser),
    /// Ties another bank account to a user, or none → [`Answer::Done`].
    BindBank {
        /// Whose.
        user_name: UserName,
        /// The account; `None` unties it.
        account: Option<BankAccount>,
    },
    /// Blocks or unblocks → [`Answer::Done`].
    SetUserBlocked {
        /// Whom.
        user_name: UserName,
        /// Whether.
        blocked: bool,
    },
    /// Changes where and how a user is told what happens → [`Answer::Done`].
    Contact {
        /// Who.
        user_name: UserName,
        /// What changes.
        change: ContactChange,
    },
    /// Makes a link to a user's page of what is to be paid → [`Answer::PayPage`].
    NewPayPage {
        /// Whose.
        user_name: UserName,
    },
    /// Has a message to a payer sent again, with all tries → [`Answer::Done`].
    ResendNotice {
        /// Its identifier.
        message_id: String,
    },
    /// Posts stored value from the account `external` → [`Answer::Done`]; the same reference again does nothing.
    TopUp {
        /// Whose.
        user_name: UserName,
        /// How much, above zero.
        amount: Money,
        /// Unique; the idempotency key of this transfer.
        reference: String,
    },
    /// Erases what is known of the person; the book keeps opaque ids → [`Answer::Done`].
    EraseUser {
        /// Whom.
        user_name: UserName,
    },
    /// → [`Answer::EnrolmentCode`].
    NewEnrolmentCode {
        /// Whose device it will be.
        user_name: UserName,
        /// Whether the device is confirmed by the code itself (demonstrations).
        self_confirming: bool,
    },
    /// The user's second way of confirming a device → [`Answer::Done`].
    ConfirmDevice(DeviceId),
    /// → [`Answer::Done`].
    RevokeDevice(DeviceId),
    /// Rows (`walkpay::catalogue::Row` as NDJSON) that make the store's next revision → [`Answer::Imported`].
    ImportCatalogue {
        /// The store.
        store_id: StoreId,
        /// The rows.
        ndjson: Vec<u8>,
        /// Whether what is not in the rows goes; otherwise it stays.
        replace: bool,
    },
    /// Tells all devices of a new key set, which the keyring holds already → [`Answer::Done`].
    PublishKeySet,
    /// Takes a pass back, for gates that fetch revocations → [`Answer::Done`].
    RevokePass(PassId),
    /// → [`Answer::StaffToken`].
    NewStaffToken {
        /// The store.
        store_id: StoreId,
        /// Opaque; 1 to 40 characters.
        staff_id: String,
        /// 1 to 24.
        hours: u32,
        /// What it lets them do.
        scopes: StaffScopes,
    },
    /// → [`Answer::GateKey`].
    NewGateKey(GateGroup),
    /// Takes a gate's API key back, by the number that [`Query::GateKeys`] tells → [`Answer::Done`].
    RevokeGateKey(String),
    /// Gives money in suspense back: through bank or channel, or to its payer's stored value → [`Answer::Done`].
    ReturnSuspense(SuspenseNumber),
    /// Pays orders that owe exactly this with what a channel has collected → [`Answer::Done`].
    AssignSuspense {
        /// Which, by its number.
        suspense: SuspenseNumber,
        /// The orders, all of the payer who has paid.
        orders: Vec<ServiceNumber>,
    },
    /// Closes money in suspense that was settled by other means → [`Answer::Done`].
    SettleSuspense {
        /// Which, by its number.
        suspense: SuspenseNumber,
        /// By which means; 1 to 200 characters, nothing personal.
        note: String,
    },
    /// Sets what a channel calls a user by → [`Answer::Done`].
    NamePayer {
        /// Whom.
        user_name: UserName,
        /// The channel.
        method: PaymentMethod,
        /// 1 to 128 letters, digits, `-` and `_`; `None` forgets it.
        name: Option<String>,
    },
    /// Of a service system → [`Answer::Told`].
    Source(SourceAdmin),
}

/// Somebody who can shop.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// What they sign in with.
    pub user_name: UserName,
    /// What people call them; kept apart, erasable.
    pub display_name: String,
    /// Where they are told what happens (`mailto:…`, `sms:…`, `tel:…`, `sip:…`); kept apart, erasable. At most 5.
    pub addresses: Vec<String>,
    /// The currency of their stored-value account; `None`: they have none (A22).
    pub stored_value: Option<Currency>,
    /// Their bank account, if one is bound.
    pub bank: Option<BankAccount>,
}

/// A bound bank account: a token and a masked label, never a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BankAccount {
    /// The bank's token.
    pub token: String,
    /// For people, such as `DE ···· 4711`.
    pub label: String,
    /// The bank's own page where device keys are confirmed.
    pub confirm_url: String,
}

/// What can be read; needs no writer.
#[derive(Clone, Debug)]
pub enum Query {
    /// `GET /terminal/v1/events`, by the device → [`Answer::Events`].
    Events {
        /// The cursor.
        after: u64,
        /// At most [`MAX_EVENTS_PER_PAGE`].
        limit: usize,
    },
    /// `GET /terminal/v1/keys`, by anyone → [`Answer::KeySet`].
    KeySet,
    /// `GET /terminal/v1/stores/{store_id}/catalogue`, by a device → [`Answer::Manifest`].
    Manifest {
        /// The store.
        store_id: StoreId,
        /// What the terminal has.
        base: Option<u64>,
    },
    /// `GET /terminal/v1/stores/{store_id}/catalogue/{revision}`, by a device → [`Answer::CatalogueData`].
    CatalogueData {
        /// The store.
        store_id: StoreId,
        /// The revision.
        revision: u64,
        /// What a delta applies to.
        base: Option<u64>,
    },
    /// `GET /gate/v1/groups/{group}/revocations`, by a gate of the group → [`Answer::Revocations`].
    Revocations {
        /// The group.
        group: GateGroup,
        /// The cursor.
        after: u64,
    },
    /// `GET /gate/v1/groups/{group}/passes`: what the group has taken in, by a gate of it → [`Answer::SpentSince`].
    SpentSince {
        /// The group.
        group: GateGroup,
        /// The cursor.
        after: u64,
    },
    /// Checks that wait for staff, by staff of the store or the operator → [`Answer::Checks`].
    Checks {
        /// The store.
        store_id: StoreId,
    },
    /// One check that waits, by staff of its store or the operator → [`Answer::Checks`] with none or one.
    Check {
        /// The visit.
        trip_id: TripId,
        /// The attempt.
        attempt: u32,
    },
    /// By the operator → [`Answer::Devices`].
    Devices {
        /// Whose.
        user_name: UserName,
    },
    /// Everything that is kept about a user, by the operator → [`Answer::Export`].
    ExportUser {
        /// Whose.
        user_name: UserName,
    },
    /// `/service/v1`, by a service system → [`Answer::Service`].
    Service(ServiceQuery),
    /// By the operator → [`Answer::GateKeys`].
    GateKeys,
    /// All stores, by anyone → [`Answer::Stores`].
    Stores,
    /// What became of a trip's money, by the operator → [`Answer::Trip`].
    Trip(TripId),
    /// By a payer's device → [`Answer::Payer`].
    Payer(PayerQuery),
    /// The refunds of an order, by staff of the store, the order's source or the operator → [`Answer::Refunds`].
    Refunds(ServiceNumber),
    /// Money that nothing explains, by the operator → [`Answer::Suspense`].
    Suspense,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// See [`EnrolmentStart`].
    EnrolmentStart(EnrolmentStart),
    /// See [`EnrolmentAnswer`].
    Enrolment(EnrolmentAnswer),
    /// On record.
    Recorded {
        /// The body of the answer, the same for a repeat.
        body: Recorded,
        /// Whether this is a repeat (200 rather than 201).
        repeat: bool,
    },
    /// How many of the passes were not spent before.
    Spent {
        /// Newly spent.
        new: u64,
        /// Spent before, by whichever gate.
        repeated: Vec<PassId>,
    },
    /// The verdict that followed.
    Decided {
        /// It.
        verdict: walkpay::protocol::document::Verdict,
    },
    /// An answer that is the same for each repeat under its idempotency key.
    Reply(Reply),
    /// What a service system is answered.
    Service(ServiceAnswer),
    /// A link to a payer's page.
    PayPage {
        /// What the path `/pay/{token}` ends in.
        token: String,
        /// Until when it works.
        expires_at: Timestamp,
    },
    /// What the operator is told of a service system.
    Told(Told),
    /// Done.
    Done,
    /// A new user.
    User {
        /// Their opaque identifier.
        sub: Sub,
    },
    /// A code; shown once, stored hashed.
    EnrolmentCode {
        /// It.
        code: String,
        /// Thumbprint of the merchant's root key, which belongs beside it.
        root: KeyId,
        /// Until when it works.
        expires_at: Timestamp,
    },
    /// A catalogue revision.
    Imported {
        /// Its number; that of the present one if nothing changed.
        revision: u64,
        /// How many rows changed.
        changed: u64,
    },
    /// A staff token, a JWS.
    StaffToken(String),
    /// A gate's API key; shown once, stored hashed.
    GateKey(String),
    /// The API keys of gates: what each is called by, its group, when it was made.
    GateKeys(Vec<(String, GateGroup, Timestamp)>),
    /// Events after the cursor, each a JWS; the clock statement is the caller's to add.
    Events(Vec<String>),
    /// See [`KeySetAnswer`].
    KeySet(KeySetAnswer),
    /// See [`CatalogueAnswer`].
    Manifest(CatalogueAnswer),
    /// NDJSON.
    CatalogueData(std::sync::Arc<Vec<u8>>),
    /// See [`Revocations`].
    Revocations(Revocations),
    /// Passes that the group has taken in.
    SpentSince(SpentList),
    /// Checks that wait.
    Checks(Vec<Check>),
    /// A user's devices.
    Devices(Vec<DeviceRow>),
    /// Everything about a user.
    Export(serde_json::Value),
    /// Stores.
    Stores(Vec<StoreInfo>),
    /// A trip.
    Trip(TripReport),
    /// What a payer asked for.
    Payer(PayerAnswer),
    /// Refunds of an order, the newest last.
    Refunds(Vec<RefundView>),
    /// What has not come to its end, the oldest first; at most 1,000.
    Suspense(Vec<SuspenseRow>),
}

/// An attempt that staff must look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The visit.
    pub trip_id: TripId,
    /// The attempt.
    pub attempt: u32,
    /// What a decision is bound to.
    pub basket_sha256: String,
    /// What is to be paid.
    pub total: Money,
    /// Why it is checked.
    pub reasons: Vec<Reason>,
    /// Since when it waits.
    pub recorded_at: Timestamp,
    /// The lines, as the shopper signed them.
    pub lines: serde_json::Value,
}

/// What money in suspense is called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum SuspenseNumber {
    /// What came from the bank, or could not be given back: `7`.
    Money(i64),
    /// What a channel has collected: `c7`.
    Receipt(i64),
}

impl fmt::Display for SuspenseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Money(number) => write!(f, "{number}"),
            Self::Receipt(number) => write!(f, "c{number}"),
        }
    }
}

impl FromStr for SuspenseNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| {
            let digits = Some(digits).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
            digits.and_then(|d| d.parse().ok()).ok_or("expected a number such as 7 or c7".to_owned())
        };
        match text.strip_prefix('c') {
            Some(digits) => number(digits).map(Self::Receipt),
            None => number(text).map(Self::Money),
        }
    }
}

impl From<SuspenseNumber> for String {
    fn from(number: SuspenseNumber) -> Self {
        number.to_string()
    }
}

impl TryFrom<String> for SuspenseNumber {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Money that nothing explains, as the operator sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuspenseRow {
    /// Its number.
    pub number: SuspenseNumber,
    /// `late`: the bank took it; `refund`: it could not be given back; `taken_back`: the bank took it back (negative); `receipt`: a channel has
    /// collected it, and nothing could be paid with it.
    pub kind: String,
    /// `open` or `refunding`.
    pub state: String,
    /// How much.
    pub amount: Money,
    /// The bank's reference of what came, that of the refund's leg, or the channel's number of the payment.
    pub reference: String,
    /// How often bank or channel was asked to take it back.
    pub tries: u32,
    /// When it was found.
    pub found_at: Timestamp,
}

/// A device as the operator sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceRow {
    /// It.
    pub device_id: DeviceId,
    /// How it calls itself; empty once erased.
    pub label: String,
    /// `pending`, `active`, `frozen` or `revoked`.
    pub state: String,
    /// The consent key, which the bank must know as well.
    pub consent_key: walkpay::protocol::crypto::PublicKey,
    /// When it was enrolled.
    pub enrolled_at: Timestamp,
}

/// What became of a trip's money.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TripReport {
    /// `open`, `cancelled` or `accepted`.
    pub state: String,
    /// The accepted attempt.
    pub accepted: Option<u32>,
    /// Its order.
    pub service_number: Option<ServiceNumber>,
    /// `collecting`, `payable` or `paid`.
    pub order: Option<String>,
    /// What is still owed.
    pub due: Option<Money>,
    /// What moved.
    pub legs: Vec<walkpay::protocol::document::Leg>,
}
