//! What the merchant said of the payer's orders last: to be shown while it cannot be reached, with the time of it.

use super::draft::Draft;
use super::input::{Decision, Now, Reply};
use super::journal::Fact;
use super::state::Device;
use crate::error::WalkpayError;
use crate::id::ServiceNumber;
use crate::money::Money;
use crate::protocol::order::{MAX_FEES, OrderNotice, OrderPage, OrderSummary, OrderView};
use crate::protocol::question::OrderFilter;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most orders that are remembered; the ones seen longest ago go first.
pub const MAX_SEEN_ORDERS: usize = 2_000;
/// The most orders that are remembered in full.
pub const MAX_SEEN_VIEWS: usize = 200;
const MAX_LEGS: usize = 1_000;

/// What was seen, and when, by the device's clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Seen<T> {
    it: T,
    at: Timestamp,
}

/// The orders that were seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeenOrders {
    orders: BTreeMap<ServiceNumber, Seen<OrderSummary>>,
    views: BTreeMap<ServiceNumber, Seen<OrderView>>,
    listed_at: Option<Timestamp>,
}

/// Orders of the payer (B20), from the merchant or as they were last seen.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct OrderList {
    /// In the order of their numbers.
    pub orders: Vec<OrderSummary>,
    /// To be given as `after` for the next page; absent on the last one.
    pub next: Option<ServiceNumber>,
    /// When this was so, by the device's clock: of orders that were seen at different times the earliest.
    pub seen_at: Timestamp,
    /// Whether the merchant has just said so.
    pub live: bool,
}

/// An order in full (B21), from the merchant or as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct OrderDetail {
    /// It.
    pub order: OrderView,
    /// When this was so, by the device's clock.
    pub seen_at: Timestamp,
    /// Whether the merchant has just said so.
    pub live: bool,
}

impl SeenOrders {
    /// What was last seen of these orders; nothing before the first list.
    pub fn page(&self, filter: &OrderFilter) -> Option<OrderList> {
        let listed_at = self.listed_at?;
        let above = |number: &ServiceNumber| filter.after.is_none_or(|after| *number > after);
        let mut fitting = self.orders.iter().filter(|(number, seen)| above(number) && filter.takes(&seen.it));
        let page: Vec<_> = fitting.by_ref().take(filter.limit as usize).map(|(_, seen)| seen).collect();
        let next = fitting.next().and_then(|_| page.last()).map(|seen| seen.it.service_number);
        let seen_at = page.iter().map(|seen| seen.at).min().unwrap_or(listed_at);
        Some(OrderList { orders: page.into_iter().map(|seen| seen.it.clone()).collect(), next, seen_at, live: false })
    }

    /// What was last seen of an order in full.
    pub fn detail(&self, number: ServiceNumber) -> Option<OrderDetail> {
        let seen = self.views.get(&number)?;
        Some(OrderDetail { order: seen.it.clone(), seen_at: seen.at, live: false })
    }

    /// What an order was last seen to be in a list.
    pub fn summary(&self, number: ServiceNumber) -> Option<&OrderSummary> {
        self.orders.get(&number).map(|seen| &seen.it)
    }

    /// What orders owe together, if all of them were seen and share a currency.
    pub(super) fn owed(&self, numbers: &[ServiceNumber]) -> Option<Money> {
        let mut sum: Option<Money> = None;
        for number in numbers {
            let due = self.summary(*number)?.due;
            sum = Some(match sum {
                None => due,
                Some(sum) if sum.currency == due.currency => sum.currency.minor(sum.minor.checked_add(due.minor)?),
                Some(_) => return None,
            });
        }
        sum
    }

    pub(super) fn list(
        &mut self,
        seen: &[OrderSummary],
        same: &[ServiceNumber],
        gone: &[ServiceNumber],
        at: Timestamp,
    ) {
        self.listed_at = Some(at);
        self.orders.retain(|number, _| !gone.contains(number));
        for number in same {
            if let Some(known) = self.orders.get_mut(number) {
                known.at = at;
            }
        }
        for order in seen {
            self.orders.insert(order.service_number, Seen { it: order.clone(), at });
        }
        forget_oldest(&mut self.orders, MAX_SEEN_ORDERS);
    }

    pub(super) fn view(&mut self, order: &OrderView, at: Timestamp) {
        let number = order.summary.service_number;
        self.orders.insert(number, Seen { it: order.summary.clone(), at });
        self.views.insert(number, Seen { it: order.clone(), at });
        forget_oldest(&mut self.orders, MAX_SEEN_ORDERS);
        forget_oldest(&mut self.views, MAX_SEEN_VIEWS);
    }

    pub(super) fn notice(&mut self, notice: &OrderNotice, at: Timestamp) {
        let change = |order: &mut OrderSummary| {
            order.status = notice.status;
            order.due = notice.due;
            order.deadline = notice.deadline;
        };
        if let Some(known) = self.orders.get_mut(&notice.service_number) {
            change(&mut known.it);
            known.at = at;
        }
        if let Some(known) = self.views.get_mut(&notice.service_number) {
            change(&mut known.it.summary);
        }
    }
}

/// The merchant has listed orders.
pub(super) fn listed(
    device: &Device,
    filter: &OrderFilter,
    page: &OrderPage,
    now: &Now,
) -> Result<Decision, WalkpayError> {
    let numbers: Vec<_> = page.orders.iter().map(|o| o.service_number).collect();
    let rising = filter.after.into_iter().chain(numbers.iter().copied()).is_sorted_by(|a, b| a < b);
    let fits = numbers.len() <= filter.limit as usize
        && rising
        && page.next.is_none_or(|next| numbers.last() == Some(&next))
        && page.orders.iter().all(|o| filter.takes(o) && is_short(o));
    if !fits {
        let detail =
            "at most as many orders as were asked for, of the kind that was asked for, in the order of their numbers";
        return Err(WalkpayError::untrusted("list of orders", "form", detail));
    }
    let known = &device.orders.orders;
    let (mut seen, mut same) = (Vec::new(), Vec::new());
    for order in &page.orders {
        match known.get(&order.service_number) {
            Some(k) if k.it == *order => same.push(order.service_number),
            _ => seen.push(order.clone()),
        }
    }
    let within = |n: ServiceNumber| filter.after.is_none_or(|a| n > a) && page.next.is_none_or(|next| n <= next);
    let gone = known
        .iter()
        .filter(|(n, k)| within(**n) && filter.takes(&k.it) && !numbers.contains(*n))
        .map(|(n, _)| *n)
        .collect();
    Ok(Draft::one(device, now, Fact::OrdersSeen { seen, same, gone }, Reply::Done))
}

/// The merchant has shown an order.
pub(super) fn shown(
    device: &Device,
    number: ServiceNumber,
    order: &OrderView,
    now: &Now,
) -> Result<Decision, WalkpayError> {
    let texts = [&order.paying_unit, &order.remarks];
    let fits = order.summary.service_number == number
        && is_short(&order.summary)
        && texts.iter().all(|text| text.len() <= MAX_TEXT)
        && order.fees.len() <= MAX_FEES
        && order.legs.len() <= MAX_LEGS;
    if !fits {
        return Err(WalkpayError::untrusted("order", "form", "the order that was asked for, within the limits"));
    }
    Ok(Draft::one(device, now, Fact::OrderSeen { order: Box::new(order.clone()) }, Reply::Done))
}

/// The most bytes of a text that a merchant hands on: 2,000 characters.
pub(super) const MAX_TEXT: usize = 8_000;

fn is_short(order: &OrderSummary) -> bool {
    let texts = [&order.source, &order.service_name, &order.payee, &order.case_number, &order.case_name];
    texts.iter().all(|text| text.len() <= MAX_TEXT)
}

fn forget_oldest<T>(all: &mut BTreeMap<ServiceNumber, Seen<T>>, most: usize) {
    while all.len() > most {
        let oldest = all.iter().min_by_key(|(_, seen)| seen.at).map(|(number, _)| *number);
        let Some(oldest) = oldest else { return };
        all.remove(&oldest);
    }
}
