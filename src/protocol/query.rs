//! What was ordered and paid (B30–B32): what `/query/v1` answers to payers, service systems and the merchant.

use super::document::{LegState, PaymentMethod};
use super::order::OrderStatus;
use crate::id::*;
use crate::money::{Currency, Money};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The most entries in one page.
pub const MAX_QUERY_PAGE: usize = 1_000;
/// How many entries a page has when nothing is said.
pub const QUERY_PAGE: usize = 100;

/// An order, as a search shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueriedOrder {
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
    /// Who pays.
    pub payer: Sub,
    /// The case that it belongs to (B03).
    #[cfg_attr(feature = "openapi", schema(example = "C-2026-0815"))]
    pub case_number: String,
    /// The case's name; empty when there is none or it was erased.
    #[cfg_attr(feature = "openapi", schema(example = "Kitchen"))]
    pub case_name: String,
    /// What it comes to.
    pub total: Money,
    /// What is still owed.
    pub due: Money,
    /// What was given back.
    pub refunded: Money,
    /// When the service arose.
    pub arose_at: Timestamp,
    /// Until when it is to be paid.
    pub deadline: Timestamp,
    /// When it was handed in.
    pub made_at: Timestamp,
}

/// `GET /query/v1/orders`: a page, in the order of numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueriedOrders {
    /// At most as many as were asked for.
    pub orders: Vec<QueriedOrder>,
    /// To be given as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which way money moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Movement {
    /// From the payer.
    Payment,
    /// Back to the payer.
    Refund,
}

/// What moved or is to move for one order by one method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueriedPayment {
    /// The order.
    pub service_number: ServiceNumber,
    /// Where the order stands.
    pub status: OrderStatus,
    /// Which service system handed it in; for a basket the store.
    #[cfg_attr(feature = "openapi", schema(example = "delivery"))]
    pub source: String,
    /// The case that it belongs to (B03).
    #[cfg_attr(feature = "openapi", schema(example = "C-2026-0815"))]
    pub case_number: String,
    /// The case's name; empty when there is none or it was erased.
    #[cfg_attr(feature = "openapi", schema(example = "Kitchen"))]
    pub case_name: String,
    /// Who pays.
    pub payer: Sub,
    /// Which way.
    pub movement: Movement,
    /// How.
    pub method: PaymentMethod,
    /// What is known of it; only `succeeded` counts in totals.
    pub state: LegState,
    /// How much, whichever way.
    pub amount: Money,
    /// By which the payment channel knows it.
    #[cfg_attr(feature = "openapi", schema(example = "018bcfe5-6800-7707-8707-070707070707.d"))]
    pub reference: String,
    /// The slip that it was paid by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slip_number: Option<SlipNumber>,
    /// The day that it was posted on, where the order belongs to; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = Date, example = "2026-01-31"))]
    pub business_day: Option<String>,
    /// When it was posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posted_at: Option<Timestamp>,
}

/// `GET /query/v1/payments`: a page, in the order of the orders' numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueriedPayments {
    /// At most as many as were asked for.
    pub payments: Vec<QueriedPayment>,
    /// To be given as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What was paid in one group and one currency. What a group is made by is there, the rest is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TotalsGroup {
    /// How it was paid (B31).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<PaymentMethod>,
    /// The service system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "delivery"))]
    pub source: Option<String>,
    /// Where the orders stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<OrderStatus>,
    /// The case (B32).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "C-2026-0815"))]
    pub case_number: Option<String>,
    /// The day of posting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = Date, example = "2026-01-31"))]
    pub business_day: Option<String>,
    /// Amounts of different currencies are never added up.
    pub currency: Currency,
    /// What came in.
    pub paid: Money,
    /// What was given back.
    pub refunded: Money,
    /// The first less the second.
    pub net: Money,
    /// How many payments.
    pub payments: u64,
    /// How many refunds.
    pub refunds: u64,
}

/// `GET /query/v1/totals`: a page of groups, in the order of what they are made by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Totals {
    /// At most as many as were asked for; none when nothing was paid.
    pub groups: Vec<TotalsGroup>,
    /// To be given as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
