//! Service orders, payment slips and their payments (B02, B03, B20–B23): what payer, service systems and merchant say to each other.

use super::document::{Leg, PaymentMethod};
use super::jws::Document;
use crate::id::*;
use crate::money::Money;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The most orders on one slip.
pub const MAX_SLIP_ORDERS: usize = 50;
/// The most orders in one page of a list.
pub const MAX_ORDERS_PER_PAGE: usize = 200;
/// The most fee lines of an order.
pub const MAX_FEES: usize = 100;

/// Where a service order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OrderStatus {
    /// Handed in and not yet submitted: only its source sees it.
    Draft,
    /// Its source is asked to confirm it (B05).
    AwaitingConfirmation,
    /// The debit of a basket is under way.
    Collecting,
    /// The payer can pay it.
    Payable,
    /// A payment has begun: it can neither be changed nor put on another slip.
    InPayment,
    /// Paid.
    Paid,
    /// Taken back by its source.
    Withdrawn,
    /// Its deadline and the days of grace are over.
    Expired,
    /// Paid, and given back in part.
    PartlyRefunded,
    /// Paid, and given back.
    Refunded,
}

/// A line of an order's fee breakdown (B02).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FeeLine {
    /// What for; 1 to 200 characters.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 200, example = "Delivery"))]
    pub name: String,
    /// How many or how much: a decimal number above zero with at most 3 places.
    #[cfg_attr(feature = "openapi", schema(pattern = r"^[0-9]{1,6}(\.[0-9]{1,3})?$", example = "1"))]
    pub quantity: String,
    /// The price of one, tax included.
    pub unit_price: Money,
    /// Quantity × unit price, rounded half up to the currency's smallest unit, tax included.
    pub amount: Money,
    /// Per cent, a decimal number with at most 2 places.
    #[cfg_attr(feature = "openapi", schema(pattern = r"^[0-9]{1,2}(\.[0-9]{1,2})?$", example = "19"))]
    pub tax_rate: String,
    /// The tax in the amount: amount × rate ÷ (100 + rate), rounded half up.
    pub tax: Money,
}

/// An order in a list (B20).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderSummary {
    /// Its number.
    pub service_number: ServiceNumber,
    /// Where it stands.
    pub status: OrderStatus,
    /// Which service system handed it in; for a basket the store.
    #[cfg_attr(feature = "openapi", schema(example = "delivery"))]
    pub source: String,
    /// What it is for.
    #[cfg_attr(feature = "openapi", schema(example = "Delivery of a washing machine"))]
    pub service_name: String,
    /// Who is paid.
    #[cfg_attr(feature = "openapi", schema(example = "Walkpay Services"))]
    pub payee: String,
    /// What it comes to.
    pub total: Money,
    /// What is still owed.
    pub due: Money,
    /// The case that it belongs to (B03).
    #[cfg_attr(feature = "openapi", schema(example = "C-2026-0815"))]
    pub case_number: String,
    /// The case's name; empty when there is none or it was erased.
    #[cfg_attr(feature = "openapi", schema(example = "Kitchen"))]
    pub case_name: String,
    /// When the service arose.
    pub arose_at: Timestamp,
    /// Until when it is to be paid.
    pub deadline: Timestamp,
    /// The live slip that it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slip_number: Option<SlipNumber>,
}

/// An order in full (B21).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderView {
    /// As in a list.
    pub summary: OrderSummary,
    /// The organisation that the payer pays for; may be empty.
    pub paying_unit: String,
    /// Remarks of the source; may be empty.
    pub remarks: String,
    /// What the total is made of.
    pub fees: Vec<FeeLine>,
    /// Rises with each change.
    pub version: u64,
    /// What was given back.
    pub refunded: Money,
    /// What moved for it.
    pub legs: Vec<Leg>,
}

/// `GET /payer/v1/orders`: a page, in the order of numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderPage {
    /// At most as many as were asked for.
    pub orders: Vec<OrderSummary>,
    /// To be given as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ServiceNumber>,
}

/// What kind of invoice the payer wants (B22).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum InvoiceType {
    /// For a person.
    Personal,
    /// For a company, which has a tax id.
    Company,
}

/// To whom the invoice is made out (B22).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Invoice {
    /// Personal or company.
    #[serde(rename = "type")]
    pub kind: InvoiceType,
    /// The name on it: 1 to 200 characters.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 200, example = "Ada Lovelace"))]
    pub title: String,
    /// A company's tax id: 5 to 20 letters and digits; absent for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[uniffi(default = None)]
    #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9A-Z]{5,20}$"))]
    pub tax_id: Option<String>,
}

/// `POST /payer/v1/slips`: one slip of several payable orders of one currency and one payee (B22).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SlipRequest {
    /// 1 to [`MAX_SLIP_ORDERS`], each once.
    pub orders: Vec<ServiceNumber>,
    /// The payer's own remarks, at most 500 characters.
    #[serde(default)]
    #[uniffi(default = "")]
    #[cfg_attr(feature = "openapi", schema(max_length = 500))]
    pub remarks: String,
    /// The invoice that the payer wants, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[uniffi(default = None)]
    pub invoice: Option<Invoice>,
}

/// Where a slip stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SlipStatus {
    /// Nothing was begun; its orders are locked to it.
    Open,
    /// A payment is under way, or it is not known whether it is.
    Paying,
    /// Paid.
    Paid,
    /// Given up; its orders are free.
    Closed,
}

/// An order on a slip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SlipItem {
    /// The order.
    pub service_number: ServiceNumber,
    /// What it is for.
    pub service_name: String,
    /// What is paid of it by this slip.
    pub amount: Money,
}

/// A payment slip (B22).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SlipView {
    /// Its number.
    pub slip_number: SlipNumber,
    /// Where it stands.
    pub status: SlipStatus,
    /// Who is paid.
    pub payee: String,
    /// What is paid for, in a few words.
    pub title: String,
    /// What is to be paid.
    pub amount: Money,
    /// What for.
    pub items: Vec<SlipItem>,
    /// The payer's own.
    pub remarks: String,
    /// The method of the newest payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<PaymentMethod>,
    /// The invoice that the payer wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<Invoice>,
    /// When it was made.
    pub made_at: Timestamp,
    /// When an open slip gives its orders back.
    pub expires_at: Timestamp,
    /// Its payments so far, the newest last.
    pub payments: Vec<PaymentView>,
}

/// Where one try to pay a slip stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PaymentStatus {
    /// Under way; an outcome that is not known is one of these.
    Open,
    /// Being given up: the channel has not confirmed yet that nothing will come.
    Closing,
    /// Paid.
    Succeeded,
    /// Over without a payment.
    Closed,
}

/// What the host needs for letting the payer pay at a channel (B23).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Enum)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Launch {
    /// A page to be opened.
    Url {
        /// Its address.
        url: String,
    },
    /// A text to be shown as a QR code.
    Qr {
        /// It.
        text: String,
    },
    /// Parameters for the channel's own app or script.
    Parameters {
        /// JSON.
        json: String,
    },
}

/// A payment of a slip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PaymentView {
    /// It.
    pub payment_id: PaymentId,
    /// Its slip.
    pub slip_number: SlipNumber,
    /// How.
    pub method: PaymentMethod,
    /// Where it stands.
    pub status: PaymentStatus,
    /// All of it.
    pub amount: Money,
    /// The part that stored value pays.
    pub stored_value: Money,
    /// What the host needs, once the channel has given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<Launch>,
    /// Why it was closed: a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The deadline that was sent to the channel.
    pub deadline: Timestamp,
}

/// `GET /payer/v1/balance`: what the payer has at the merchant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Balance {
    /// Stored value; absent where the payer has no account for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_value: Option<StoredValue>,
    /// When this was so, by merchant time.
    pub at: Timestamp,
}

/// A stored-value account (A22).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoredValue {
    /// What is on it.
    pub balance: Money,
    /// What of that is free: the rest is reserved for purchases and payments under way.
    pub available: Money,
}

/// `PUT /payer/v1/slips/{slip_number}/payments/{payment_id}`: request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PaymentPut {
    /// A slip payment, a JWS.
    pub payment: String,
}

/// The payer's consent to one payment of a slip, by the consent key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlipPayment {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// The payer.
    pub sub: Sub,
    /// The device that signs.
    pub device_id: DeviceId,
    /// Rising number of signed documents of this device.
    pub device_seq: u64,
    /// The slip.
    pub slip_number: SlipNumber,
    /// Made on the device; the idempotency key of this payment.
    pub payment_id: PaymentId,
    /// How what stored value does not pay is paid; `stored_value` if that pays all.
    pub method: PaymentMethod,
    /// The slip's amount.
    pub amount: Money,
    /// The part that stored value pays.
    pub stored_value: Money,
    /// By merchant time, as far as the device knows it.
    pub signed_at: Timestamp,
}

impl Document for SlipPayment {
    const TYP: &'static str = "walkpay-slip-payment.v1";
}

/// How a payment of a slip stands, told to the payer's devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct SlipResult {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// The payer.
    pub sub: Sub,
    /// The slip.
    pub slip_number: SlipNumber,
    /// Where the slip stands.
    pub slip_status: SlipStatus,
    /// The payment.
    pub payment: PaymentView,
    /// What moved, by order and method.
    pub legs: Vec<Leg>,
    /// Merchant time.
    pub issued_at: Timestamp,
}

impl Document for SlipResult {
    const TYP: &'static str = "walkpay-slip-result.v1";
}

/// Why a payer is told of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
pub enum OrderNews {
    /// It can be paid from now on.
    Payable,
    /// Its source changed it.
    Changed,
    /// Its deadline comes near or has passed.
    Reminder,
    /// Its source took it back.
    Withdrawn,
    /// It can no longer be paid.
    Expired,
    /// It is paid.
    Paid,
    /// Money was given back.
    Refunded,
}

/// What a payer is told of an order (B10), on their devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct OrderNotice {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// The payer.
    pub sub: Sub,
    /// The order.
    pub service_number: ServiceNumber,
    /// Why.
    pub news: OrderNews,
    /// Where it stands.
    pub status: OrderStatus,
    /// What is still owed.
    pub due: Money,
    /// Until when.
    pub deadline: Timestamp,
    /// Rises with each change of the order.
    pub version: u64,
    /// Merchant time.
    pub issued_at: Timestamp,
}

impl Document for OrderNotice {
    const TYP: &'static str = "walkpay-order-notice.v1";
}
