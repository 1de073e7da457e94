//! What a payer asks for: the filters of lists and their form in a query.

use super::order::{MAX_ORDERS_PER_PAGE, OrderStatus, OrderSummary};
use crate::error::WalkpayError;
use crate::id::ServiceNumber;
use serde::{Deserialize, Serialize};

/// The longest text of a filter.
pub const MAX_FILTER_CHARS: usize = 100;
/// How many orders a page has when nothing is said.
pub const ORDERS_PER_PAGE: u32 = 50;

/// Which orders of the payer are asked for (B20). Without anything: the first page of those that wait for payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct OrderFilter {
    /// Any of these states; none at all stands for those that wait: payable, and locked by a slip or payment.
    #[uniffi(default = [])]
    pub statuses: Vec<OrderStatus>,
    /// Of this case only.
    #[uniffi(default = None)]
    pub case_number: Option<String>,
    /// Of this service system only.
    #[uniffi(default = None)]
    pub source: Option<String>,
    /// Only above this number: `next` of the page before.
    #[uniffi(default = None)]
    pub after: Option<ServiceNumber>,
    /// The most in a page, 1 to 200.
    #[uniffi(default = 50)]
    pub limit: u32,
}

impl Default for OrderFilter {
    fn default() -> Self {
        Self { statuses: Vec::new(), case_number: None, source: None, after: None, limit: ORDERS_PER_PAGE }
    }
}

impl OrderFilter {
    /// Refuses what no merchant takes.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`].
    pub fn check(&self) -> Result<(), WalkpayError> {
        if self.limit == 0 || self.limit as usize > MAX_ORDERS_PER_PAGE {
            return Err(WalkpayError::invalid("limit", "1 to 200", &self.limit.to_string()));
        }
        for (name, text) in [("case_number", &self.case_number), ("source", &self.source)] {
            let fits = |t: &String| !t.is_empty() && t.chars().count() <= MAX_FILTER_CHARS;
            if let Some(text) = text.as_ref().filter(|t| !fits(t)) {
                return Err(WalkpayError::invalid(name, "1 to 100 characters", text));
            }
        }
        Ok(())
    }

    /// Whether an order is one of those, whatever page it is on.
    pub fn takes(&self, order: &OrderSummary) -> bool {
        self.wanted().contains(&order.status)
            && self.case_number.as_ref().is_none_or(|case| *case == order.case_number)
            && self.source.as_ref().is_none_or(|source| *source == order.source)
    }

    /// The query, percent-encoded, without the question mark.
    pub fn to_query(&self) -> String {
        let statuses: Vec<_> = self.wanted().iter().map(|status| word(*status)).collect();
        let mut query = format!("status={}&limit={}", statuses.join(","), self.limit);
        for (name, text) in [("case_number", &self.case_number), ("source", &self.source)] {
            if let Some(text) = text {
                query.push_str(&format!("&{name}={}", encoded(text)));
            }
        }
        if let Some(after) = self.after {
            query.push_str(&format!("&after={after}"));
        }
        query
    }

    fn wanted(&self) -> &[OrderStatus] {
        if self.statuses.is_empty() { &[OrderStatus::Payable, OrderStatus::InPayment] } else { &self.statuses }
    }
}

/// The status as it is written on the wire.
fn word(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Draft => "draft",
        OrderStatus::AwaitingConfirmation => "awaiting_confirmation",
        OrderStatus::Collecting => "collecting",
        OrderStatus::Payable => "payable",
        OrderStatus::InPayment => "in_payment",
        OrderStatus::Paid => "paid",
        OrderStatus::Withdrawn => "withdrawn",
        OrderStatus::Expired => "expired",
        OrderStatus::PartlyRefunded => "partly_refunded",
        OrderStatus::Refunded => "refunded",
    }
}

/// Percent-encoded (RFC 3986 §2.1): all but unreserved characters.
fn encoded(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => all.push(char::from(byte)),
            other => all.push_str(&format!("%{other:02X}")),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_becomes_a_query() {
        assert_eq!(OrderFilter::default().to_query(), "status=payable,in_payment&limit=50");
        let filter = OrderFilter {
            statuses: vec![OrderStatus::Paid],
            case_number: Some("C 1/ü&x=y".into()),
            source: Some("delivery".into()),
            after: Some(ServiceNumber::parse("000000000000042").unwrap()),
            limit: 7,
        };
        let expected = "status=paid&limit=7&case_number=C%201%2F%C3%BC%26x%3Dy&source=delivery&after=000000000000042";
        assert_eq!(filter.to_query(), expected);
    }

    #[test]
    fn the_words_are_those_of_the_wire() {
        for status in [
            OrderStatus::Draft,
            OrderStatus::AwaitingConfirmation,
            OrderStatus::Collecting,
            OrderStatus::Payable,
            OrderStatus::InPayment,
            OrderStatus::Paid,
            OrderStatus::Withdrawn,
            OrderStatus::Expired,
            OrderStatus::PartlyRefunded,
            OrderStatus::Refunded,
        ] {
            assert_eq!(serde_json::to_value(status).unwrap(), word(status));
        }
    }

    #[test]
    fn filters_have_limits() {
        let refused = |filter: OrderFilter| filter.check().unwrap_err().code() == "invalid_input";
        assert!(OrderFilter::default().check().is_ok());
        assert!(refused(OrderFilter { limit: 0, ..OrderFilter::default() }));
        assert!(refused(OrderFilter { limit: 201, ..OrderFilter::default() }));
        assert!(refused(OrderFilter { case_number: Some(String::new()), ..OrderFilter::default() }));
        assert!(refused(OrderFilter { source: Some("x".repeat(101)), ..OrderFilter::default() }));
    }
}
