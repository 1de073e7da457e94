//! What a payer asks for: the filters of lists and sums, and their form in a query.

use super::document::PaymentMethod;
use super::order::{MAX_ORDERS_PER_PAGE, OrderStatus, OrderSummary};
use crate::error::WalkpayError;
use crate::id::ServiceNumber;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The longest text of a filter, in characters.
pub const MAX_FILTER_CHARS: usize = 200;
/// The most groups in one page of sums.
pub const MAX_TOTALS_PER_PAGE: u32 = 1_000;

/// Which orders of the payer are asked for (B20). Without anything: the first page of those that wait for payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct OrderFilter {
    /// In one of these states only; if none is said: payable.
    #[uniffi(default = [])]
    pub statuses: Vec<OrderStatus>,
    /// Whatever their state, if none is said.
    #[uniffi(default = false)]
    pub all: bool,
    /// Of this case only.
    #[uniffi(default = None)]
    pub case_number: Option<String>,
    /// Of this service system only; for baskets the store.
    #[uniffi(default = None)]
    pub source: Option<String>,
    /// To be paid before this only.
    #[uniffi(default = None)]
    pub due_before: Option<Timestamp>,
    /// Only above this number: `next` of the page before.
    #[uniffi(default = None)]
    pub after: Option<ServiceNumber>,
    /// The most in a page, 1 to 200.
    #[uniffi(default = 50)]
    pub limit: u32,
}

impl Default for OrderFilter {
    fn default() -> Self {
        let (statuses, all, case_number, source) = (Vec::new(), false, None, None);
        Self { statuses, all, case_number, source, due_before: None, after: None, limit: 50 }
    }
}

impl OrderFilter {
    /// Refuses what no merchant takes.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`].
    pub fn check(&self) -> Result<(), WalkpayError> {
        if self.statuses.len() > 10 {
            return Err(WalkpayError::invalid("statuses", "at most ten", &self.statuses.len().to_string()));
        }
        if self.limit == 0 || self.limit as usize > MAX_ORDERS_PER_PAGE {
            return Err(WalkpayError::invalid("limit", "1 to 200", &self.limit.to_string()));
        }
        check_texts([("case_number", &self.case_number), ("source", &self.source)])
    }

    /// Whether an order is one of those, whatever page it is on.
    pub fn takes(&self, order: &OrderSummary) -> bool {
        let wanted = self.wanted();
        (wanted.is_empty() || wanted.contains(&order.status))
            && self.case_number.as_ref().is_none_or(|case| *case == order.case_number)
            && self.source.as_ref().is_none_or(|source| *source == order.source)
            && self.due_before.is_none_or(|before| order.deadline < before)
    }

    /// The query, percent-encoded, without the question mark.
    pub fn to_query(&self) -> String {
        query([
            ("status", joined(self.wanted())),
            ("case_number", self.case_number.clone()),
            ("source", self.source.clone()),
            ("due_before", self.due_before.map(|at| at.to_string())),
            ("after", self.after.map(|number| number.to_string())),
            ("limit", Some(self.limit.to_string())),
        ])
    }

    /// None stands for any.
    fn wanted(&self) -> &[OrderStatus] {
        if self.statuses.is_empty() && !self.all { &[OrderStatus::Payable] } else { &self.statuses }
    }
}

/// By what sums are made (B31, B32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
pub enum TotalsBy {
    /// By method of payment.
    Method,
    /// By service system.
    Source,
    /// By where the orders stand.
    State,
    /// By case.
    Case,
    /// By day of posting.
    BusinessDay,
}

/// Which payments of the payer are summed up, and by what. Sums are always by currency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct TotalsFilter {
    /// By what, each once; nothing: by currency alone.
    #[uniffi(default = [])]
    pub by: Vec<TotalsBy>,
    /// Of this case only.
    #[uniffi(default = None)]
    pub case_number: Option<String>,
    /// Of cases with this name only.
    #[uniffi(default = None)]
    pub case_name: Option<String>,
    /// Of this service system only; for baskets the store.
    #[uniffi(default = None)]
    pub source: Option<String>,
    /// By this method only.
    #[uniffi(default = None)]
    pub method: Option<PaymentMethod>,
    /// `next` of the page before.
    #[uniffi(default = None)]
    pub after: Option<String>,
}

impl TotalsFilter {
    /// Refuses what no merchant takes.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`].
    pub fn check(&self) -> Result<(), WalkpayError> {
        let mut once = self.by.clone();
        once.sort_unstable();
        once.dedup();
        if once.len() != self.by.len() {
            return Err(WalkpayError::invalid("by", "each once", &format!("{:?}", self.by)));
        }
        if let Some(after) = self.after.as_ref().filter(|a| a.len() > 2_048) {
            return Err(WalkpayError::invalid("after", "the next of a page", after));
        }
        let texts = [("case_number", &self.case_number), ("case_name", &self.case_name), ("source", &self.source)];
        check_texts(texts)
    }

    /// The query, percent-encoded, without the question mark.
    pub fn to_query(&self) -> String {
        query([
            ("group_by", joined(&self.by)),
            ("case_number", self.case_number.clone()),
            ("case_name", self.case_name.clone()),
            ("source", self.source.clone()),
            ("method", self.method.map(|method| word(&method))),
            ("after", self.after.clone()),
            ("limit", Some(MAX_TOTALS_PER_PAGE.to_string())),
        ])
    }
}

fn check_texts<const N: usize>(texts: [(&str, &Option<String>); N]) -> Result<(), WalkpayError> {
    let fits = |t: &&String| !t.is_empty() && t.chars().count() <= MAX_FILTER_CHARS;
    let wrong = texts.into_iter().find_map(|(name, text)| Some((name, text.as_ref().filter(|t| !fits(t))?)));
    wrong.map_or(Ok(()), |(name, text)| Err(WalkpayError::invalid(name, "1 to 200 characters", text)))
}

/// A word as it is written on the wire.
fn word(it: &impl Serialize) -> String {
    serde_json::to_value(it).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Several words with commas between.
fn joined(all: &[impl Serialize]) -> Option<String> {
    let words: Vec<_> = all.iter().map(word).collect();
    (!words.is_empty()).then(|| words.join(","))
}

fn query<const N: usize>(members: [(&str, Option<String>); N]) -> String {
    let written = members.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(&value?))));
    written.collect::<Vec<_>>().join("&")
}

/// Percent-encoded (RFC 3986 §2.1): all but unreserved characters and commas.
fn encoded(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b',' => all.push(char::from(byte)),
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
        assert_eq!(OrderFilter::default().to_query(), "status=payable&limit=50");
        assert_eq!(OrderFilter { all: true, ..OrderFilter::default() }.to_query(), "limit=50");
        let filter = OrderFilter {
            statuses: vec![OrderStatus::InPayment, OrderStatus::Paid],
            all: true,
            case_number: Some("C 1/ü&x=y".into()),
            source: Some("delivery".into()),
            due_before: Some(Timestamp::from_millis(0)),
            after: Some(ServiceNumber::parse("000000000000042").unwrap()),
            limit: 7,
        };
        let expected = "status=in_payment,paid&case_number=C%201%2F%C3%BC%26x%3Dy&source=delivery\
             &due_before=1970-01-01T00%3A00%3A00.000Z&after=000000000000042&limit=7";
        assert_eq!(filter.to_query(), expected);
        assert_eq!(TotalsFilter::default().to_query(), "limit=1000");
        let totals = TotalsFilter {
            by: vec![TotalsBy::Case, TotalsBy::BusinessDay],
            case_name: Some("Kitchen".into()),
            method: Some(PaymentMethod::StoredValue),
            ..TotalsFilter::default()
        };
        let expected = "group_by=case,business_day&case_name=Kitchen&method=stored_value&limit=1000";
        assert_eq!(totals.to_query(), expected);
    }

    #[test]
    fn filters_have_limits() {
        let refused = |filter: OrderFilter| filter.check().unwrap_err().code() == "invalid_input";
        assert!(OrderFilter::default().check().is_ok());
        assert!(refused(OrderFilter { limit: 0, ..OrderFilter::default() }));
        assert!(refused(OrderFilter { limit: 201, ..OrderFilter::default() }));
        assert!(refused(OrderFilter { case_number: Some(String::new()), ..OrderFilter::default() }));
        assert!(refused(OrderFilter { source: Some("x".repeat(201)), ..OrderFilter::default() }));
        let twice = TotalsFilter { by: vec![TotalsBy::Case, TotalsBy::Case], ..TotalsFilter::default() };
        assert_eq!(twice.check().unwrap_err().code(), "invalid_input");
        let long = TotalsFilter { after: Some("x".repeat(2_049)), ..TotalsFilter::default() };
        assert_eq!(long.check().unwrap_err().code(), "invalid_input");
    }
}
