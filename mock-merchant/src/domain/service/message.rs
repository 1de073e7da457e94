//! What service systems send and are answered at `/service/v1`.

use super::news::Paid;
use crate::store::deliveries::DeliveryState;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use walkpay::protocol::message::Problem;
use walkpay::protocol::order::{FeeLine, OrderStatus};
use walkpay::{Money, ServiceNumber, SlipNumber, Timestamp};

/// A payment request that becomes a service order (B02, B03).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderBody {
    /// What is to be paid for: 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200, example = "Delivery of a washing machine")]
    pub service_name: String,
    /// Who pays: the name that they sign in with.
    #[schema(min_length = 1, max_length = 64, example = "alice")]
    pub payer: String,
    /// The fee breakdown: 1 to 100 lines of one currency, which come to more than nothing.
    #[schema(min_items = 1, max_items = 100)]
    pub fees: Vec<FeeBody>,
    /// Who is paid: at most 200 characters; by default the source's payee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200, example = "Walkpay Services")]
    pub payee: Option<String>,
    /// The organisation that the payer pays for: at most 200 characters.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub paying_unit: String,
    /// At most 2,000 characters; line feeds are allowed.
    #[serde(default)]
    #[schema(max_length = 2000)]
    pub remarks: String,
    /// When the service arose; by default now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arose_at: Option<Timestamp>,
    /// Until when it is to be paid: in the future, at most five years.
    pub deadline: Timestamp,
    /// The case, the same in every service system (B03): 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64, example = "C-2026-0815")]
    pub case_number: String,
    /// The case's name: at most 200 characters.
    #[serde(default)]
    #[schema(max_length = 200, example = "Kitchen")]
    pub case_name: String,
    /// Whether it is only prepared: it must be submitted before anybody else sees it.
    #[serde(default)]
    pub draft: bool,
}

/// A line of the fee breakdown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FeeBody {
    /// What for: 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200, example = "Delivery")]
    pub name: String,
    /// How many or how much: a decimal number above zero with at most 3 places.
    #[serde(default = "one")]
    #[schema(pattern = r"^[0-9]{1,6}(\.[0-9]{1,3})?$", example = "1")]
    pub quantity: String,
    /// The price of one, tax included; not below zero.
    pub unit_price: Money,
    /// Per cent, a decimal number with at most 2 places.
    #[serde(default = "zero")]
    #[schema(pattern = r"^[0-9]{1,2}(\.[0-9]{1,2})?$", example = "19")]
    pub tax_rate: String,
}

fn one() -> String {
    "1".to_owned()
}

fn zero() -> String {
    "0".to_owned()
}

/// What is to be different (B05, B06). What is absent stays. Payer, source and currency never change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeBody {
    /// As in a hand-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    pub service_name: Option<String>,
    /// As in a hand-in: all lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 100)]
    pub fees: Option<Vec<FeeBody>>,
    /// As in a hand-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200)]
    pub payee: Option<String>,
    /// As in a hand-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub paying_unit: Option<String>,
    /// As in a hand-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    pub remarks: Option<String>,
    /// As in a hand-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arose_at: Option<Timestamp>,
    /// As in a hand-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// As in a hand-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub case_number: Option<String>,
    /// As in a hand-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub case_name: Option<String>,
}

/// `PUT /service/v1/orders/{service_number}/modification` (B06).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModificationBody {
    /// What is to be different.
    pub fields: ChangeBody,
    /// Why: at most 500 characters.
    #[schema(max_length = 500)]
    pub reason: String,
}

/// The source's answer to a request for confirmation (B05): in the response to the webhook, or by `PUT …/confirmation`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "decision", rename_all = "snake_case", deny_unknown_fields)]
pub enum DecisionBody {
    /// It is right: the payer can pay it.
    Confirm {},
    /// With these changes it is right: the payer can pay it.
    Modify {
        /// What is to be different.
        fields: ChangeBody,
        /// Why: at most 500 characters.
        #[serde(default)]
        #[schema(max_length = 500)]
        reason: String,
    },
    /// It is not to be paid.
    Withdraw {
        /// Why: at most 500 characters.
        #[serde(default)]
        #[schema(max_length = 500)]
        reason: String,
    },
}

/// `PUT /service/v1/orders/{service_number}/withdrawal`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WithdrawalBody {
    /// Why: at most 500 characters.
    #[schema(max_length = 500)]
    pub reason: String,
}

/// What comes of a hand-in (B04); the same for each repeat under its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HandedIn {
    /// The number by which the source identifies the service from now on.
    pub service_number: ServiceNumber,
}

/// A line of a bulk hand-in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BulkLine {
    /// The idempotency key of this order.
    pub key: String,
    /// The order, as it came: its digest is kept with the key.
    pub order: Box<RawValue>,
}

/// The answer to a line of a bulk hand-in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BulkAnswer {
    /// The line's number, from 1 on.
    pub line: u64,
    /// The line's key, if it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// As the answer to a hand-in of its own: 201, or the status of the problem.
    pub status: u16,
    /// With 201.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_number: Option<ServiceNumber>,
    /// Otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// An order, as its source sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SourceOrder {
    /// Its number.
    pub service_number: ServiceNumber,
    /// Rises with each change; what `If-Match` names.
    pub version: u64,
    /// Where it stands.
    pub status: OrderStatus,
    /// What it is for.
    pub service_name: String,
    /// Who pays; absent once erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// Who is paid.
    pub payee: String,
    /// The organisation that the payer pays for.
    pub paying_unit: String,
    /// Remarks.
    pub remarks: String,
    /// The case.
    pub case_number: String,
    /// The case's name.
    pub case_name: String,
    /// What it comes to.
    pub total: Money,
    /// What is still owed.
    pub due: Money,
    /// What was given back.
    pub refunded: Money,
    /// What the total is made of.
    pub fees: Vec<FeeLine>,
    /// What was paid, by method, less what was given back.
    pub payments: Vec<Paid>,
    /// The live payment slip that it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slip_number: Option<SlipNumber>,
    /// When the service arose.
    pub arose_at: Timestamp,
    /// Until when it is to be paid.
    pub deadline: Timestamp,
    /// When it was handed in.
    pub made_at: Timestamp,
}

/// A page of a source's orders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SourceOrders {
    /// In the order of their numbers.
    pub orders: Vec<SourceOrder>,
    /// To be given as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ServiceNumber>,
}

/// A version of an order: who changed it, and to what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OrderVersion {
    /// From 1 on.
    pub version: u64,
    /// When.
    pub at: Timestamp,
    /// `source:` and its identifier, or `merchant`.
    pub actor: String,
    /// `handed_in`, `submitted`, `confirmed`, `modified`, `withdrawn` or `expired`.
    pub action: String,
    /// The order from then on.
    #[schema(value_type = Object)]
    pub facts: serde_json::Value,
    /// Its texts from then on, and the reason given; absent once erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub texts: Option<serde_json::Value>,
}

/// A page of the versions of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OrderVersions {
    /// The oldest first.
    pub versions: Vec<OrderVersion>,
    /// To be given as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// What became of a message to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// It is to be delivered, again perhaps.
    Waiting,
    /// It was taken.
    Delivered,
    /// A dead letter: it is not tried any more until it is asked for.
    Dead,
}

impl From<DeliveryState> for DeliveryStatus {
    fn from(state: DeliveryState) -> Self {
        match state {
            DeliveryState::Waiting => Self::Waiting,
            DeliveryState::Delivered => Self::Delivered,
            DeliveryState::Dead => Self::Dead,
        }
    }
}

impl From<DeliveryStatus> for DeliveryState {
    fn from(status: DeliveryStatus) -> Self {
        match status {
            DeliveryStatus::Waiting => Self::Waiting,
            DeliveryStatus::Delivered => Self::Delivered,
            DeliveryStatus::Dead => Self::Dead,
        }
    }
}

/// A message to a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeliveryView {
    /// Its `webhook-id`, the same for each try.
    #[schema(example = "msg_AAECAwQFBgcICQoLDA0ODxAR")]
    pub message_id: String,
    /// Its `type`.
    #[schema(example = "order.paid")]
    pub kind: String,
    /// The order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_number: Option<ServiceNumber>,
    /// What became of it.
    pub status: DeliveryStatus,
    /// How often it was tried since it was written or last asked for again.
    pub tries: u32,
    /// When it was written.
    pub made_at: Timestamp,
    /// When it is tried next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_at: Option<Timestamp>,
    /// When it was delivered or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The HTTP status of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_status: Option<u16>,
    /// Why the last try failed: a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "timeout")]
    pub last_error: Option<String>,
}

/// A page of messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Deliveries {
    /// The oldest first.
    pub deliveries: Vec<DeliveryView>,
    /// To be given as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}
