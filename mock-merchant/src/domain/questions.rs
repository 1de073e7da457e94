//! Who may ask what of orders and payments (B30–B32), and questions as they come: words that are checked and become a filter.

use super::documents::{active, caller_in_force};
use super::{Caller, StaffScope, service};
use crate::failure::{Failure, refuse};
use crate::store::orders::OrderState;
use crate::store::query::{self, CaseName, Filter, Group, Place, Scope};
use crate::store::{StoreError, Tx};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use walkpay::protocol::document::{LegState, PaymentMethod};
use walkpay::protocol::order::OrderStatus;
use walkpay::protocol::problem::ProblemCode;
use walkpay::protocol::query::*;
use walkpay::{Currency, Money, ServiceNumber, SourceId, Sub, Timestamp};

/// The longest case number or name that is looked for, in characters.
const MAX_TEXT: usize = 200;
/// The longest cursor.
const MAX_CURSOR: usize = 2_048;

/// What is looked for; all of it must hold. The same words in a query string and on the command line.
#[derive(Clone, Debug, Default, Deserialize, clap::Args, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filters {
    /// The order with this number: 15 digits.
    #[arg(long, value_name = "NUMBER")]
    pub number: Option<ServiceNumber>,
    /// Orders of this service system or store.
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<SourceId>,
    /// Orders that stand there: paid, payable, refunded and so on.
    #[arg(long, value_name = "STATE", value_parser = word::<OrderStatus>)]
    pub state: Option<OrderStatus>,
    /// What was paid by this method: stored_value, bank, alipay, tenpay, test.
    #[arg(long, value_name = "METHOD", value_parser = word::<PaymentMethod>)]
    pub method: Option<PaymentMethod>,
    /// The case with this number.
    #[arg(long, value_name = "CASE")]
    #[param(min_length = 1, max_length = 200, example = "C-2026-0815")]
    pub case_number: Option<String>,
    /// Cases with this name.
    #[arg(long, value_name = "NAME", conflicts_with = "case_name_prefix")]
    #[param(min_length = 1, max_length = 200, example = "Kitchen")]
    pub case_name: Option<String>,
    /// Cases whose name begins so, letter for letter: no character has a special meaning.
    #[arg(long, value_name = "BEGINNING")]
    #[param(min_length = 1, max_length = 200, example = "Kit")]
    pub case_name_prefix: Option<String>,
    /// Orders that this user pays.
    #[arg(long, value_name = "SUB")]
    pub payer: Option<Sub>,
    /// Amounts of this currency; needed for limits of amounts.
    #[arg(long, value_name = "CODE")]
    pub currency: Option<Currency>,
    /// Orders that come to this or more, in the currency's units: 12.30.
    #[arg(long, value_name = "AMOUNT", requires = "currency")]
    #[param(pattern = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,4})?$", example = "12.30")]
    pub min_total: Option<String>,
    /// Orders that come to this or less.
    #[arg(long, value_name = "AMOUNT", requires = "currency")]
    #[param(pattern = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,4})?$", example = "99.00")]
    pub max_total: Option<String>,
    /// Payments and refunds of this or more.
    #[arg(long, value_name = "AMOUNT", requires = "currency")]
    #[param(pattern = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,4})?$", example = "12.30")]
    pub min_amount: Option<String>,
    /// Payments and refunds of this or less.
    #[arg(long, value_name = "AMOUNT", requires = "currency")]
    #[param(pattern = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,4})?$", example = "99.00")]
    pub max_amount: Option<String>,
    /// Services that arose then or later.
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    pub arose_from: Option<Timestamp>,
    /// Services that arose before.
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    pub arose_to: Option<Timestamp>,
    /// What was posted then or later.
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    pub posted_from: Option<Timestamp>,
    /// What was posted before.
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    pub posted_to: Option<Timestamp>,
    /// What was posted on this business day or later.
    #[arg(long, value_name = "DAY")]
    #[param(format = Date, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example = "2026-01-31")]
    pub day_from: Option<String>,
    /// What was posted on this business day or earlier.
    #[arg(long, value_name = "DAY")]
    #[param(format = Date, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example = "2026-01-31")]
    pub day_to: Option<String>,
}

/// The words of [`Filters`].
pub const FILTER_WORDS: [&str; 19] = [
    "number",
    "source",
    "state",
    "method",
    "case_number",
    "case_name",
    "case_name_prefix",
    "payer",
    "currency",
    "min_total",
    "max_total",
    "min_amount",
    "max_amount",
    "arose_from",
    "arose_to",
    "posted_from",
    "posted_to",
    "day_from",
    "day_to",
];

/// A question that may be answered to who asks it.
#[derive(Clone, Debug)]
pub struct Question {
    scope: Scope,
    filter: Filter,
}

impl Question {
    /// Checks a question, and that `caller` may ask it: a payer about their own orders, a service system about its own, staff and
    /// operator about all.
    ///
    /// # Errors
    /// [`Failure::Refused`] with `invalid_value` or `forbidden`, or with what the device may not.
    pub fn new(tx: &Tx<'_>, caller: &Caller, filters: &Filters, leg_state: Option<LegState>) -> Result<Self, Failure> {
        let scope = match caller {
            Caller::Operator => Scope::All,
            Caller::Staff { scopes, .. } => {
                scopes.need(StaffScope::QueryRead)?;
                Scope::All
            }
            Caller::Device { .. } => {
                let device = caller_in_force(tx, caller)?;
                active(&device)?;
                if filters.payer.as_ref().is_some_and(|payer| *payer != device.sub) {
                    return Err(refuse(ProblemCode::Forbidden, "a device asks about its own user only"));
                }
                Scope::Payer(device.user)
            }
            Caller::Source(source) => {
                source.need(service::Scope::QueryRead)?;
                if filters.source.as_ref().is_some_and(|asked| asked.as_str() != source.source_id) {
                    return Err(refuse(ProblemCode::Forbidden, "a service system asks about its own orders only"));
                }
                Scope::Source(source.source_id.clone())
            }
            _ => return Err(refuse(ProblemCode::Forbidden, "only payers, service systems and the merchant can ask")),
        };
        Ok(Self { scope, filter: Filter { leg_state, ..filter(filters)? } })
    }

    /// A page of orders.
    ///
    /// # Errors
    /// [`Failure::Refused`] with `invalid_value` for a cursor that no answer carried.
    pub fn orders(&self, tx: &Tx<'_>, after: Option<&str>, limit: usize) -> Result<QueriedOrders, Failure> {
        let after: Option<ServiceNumber> = after.map(|cursor| opened("o", cursor)).transpose()?;
        let mut orders = Vec::new();
        query::orders(tx, &self.scope, &self.filter, after, Some(limit + 1), |order| {
            orders.push(order);
            true
        })?;
        let more = orders.len() > limit;
        orders.truncate(limit);
        let next = orders.last().filter(|_| more).map(|last| sealed("o", &last.service_number)).transpose()?;
        Ok(QueriedOrders { orders, next })
    }

    /// A page of payments.
    ///
    /// # Errors
    /// As [`Question::orders`].
    pub fn payments(&self, tx: &Tx<'_>, after: Option<&str>, limit: usize) -> Result<QueriedPayments, Failure> {
        let after: Option<(ServiceNumber, i64)> = after.map(|cursor| opened("p", cursor)).transpose()?;
        let after = after.map(|(number, leg)| Place { number, leg });
        let (mut payments, mut places) = (Vec::new(), Vec::new());
        query::payments(tx, &self.scope, &self.filter, after, Some(limit + 1), |place, payment| {
            places.push(place);
            payments.push(payment);
            true
        })?;
        let more = payments.len() > limit;
        payments.truncate(limit);
        places.truncate(limit);
        let next = places.last().filter(|_| more).map(|last| sealed("p", &(last.number, last.leg))).transpose()?;
        Ok(QueriedPayments { payments, next })
    }

    /// A page of totals.
    ///
    /// # Errors
    /// As [`Question::orders`]; `invalid_value` as well when a sum is above what an amount can be.
    pub fn totals(&self, tx: &Tx<'_>, by: &[Group], after: Option<&str>, limit: usize) -> Result<Totals, Failure> {
        let after: Option<Vec<String>> = after.map(|cursor| opened(&seal_of(by), cursor)).transpose()?;
        if after.as_ref().is_some_and(|keys| keys.len() != by.len()) {
            return Err(forged());
        }
        let (mut groups, mut last) = (Vec::new(), Vec::new());
        let mut too_much = false;
        query::totals(tx, &self.scope, &self.filter, by, after.as_deref(), Some(limit + 1), |keys, group| {
            if groups.len() < limit {
                last = keys;
            }
            too_much |= unsayable(&group);
            groups.push(group);
            true
        })
        .map_err(overflow)?;
        if too_much {
            return Err(above());
        }
        let more = groups.len() > limit;
        groups.truncate(limit);
        let next = more.then(|| sealed(&seal_of(by), &last)).transpose()?;
        Ok(Totals { groups, next })
    }

    /// Every order, until `each` says `false`.
    ///
    /// # Errors
    /// [`Failure::Fault`].
    pub fn each_order(&self, tx: &Tx<'_>, each: impl FnMut(QueriedOrder) -> bool) -> Result<(), Failure> {
        Ok(query::orders(tx, &self.scope, &self.filter, None, None, each)?)
    }

    /// Every payment, until `each` says `false`.
    ///
    /// # Errors
    /// [`Failure::Fault`].
    pub fn each_payment(&self, tx: &Tx<'_>, mut each: impl FnMut(QueriedPayment) -> bool) -> Result<(), Failure> {
        Ok(query::payments(tx, &self.scope, &self.filter, None, None, |_, payment| each(payment))?)
    }

    /// Every group of totals, until `each` says `false`.
    ///
    /// # Errors
    /// As [`Question::totals`].
    pub fn each_total(
        &self,
        tx: &Tx<'_>,
        by: &[Group],
        mut each: impl FnMut(TotalsGroup) -> bool,
    ) -> Result<(), Failure> {
        let mut too_much = false;
        let each = |_, group| {
            too_much |= unsayable(&group);
            !too_much && each(group)
        };
        query::totals(tx, &self.scope, &self.filter, by, None, None, each).map_err(overflow)?;
        if too_much { Err(above()) } else { Ok(()) }
    }
}

/// What totals are grouped by: words with commas between, each once. The currency is added at the end where it is missing.
///
/// # Errors
/// [`Failure::Refused`] with `invalid_value`.
pub fn groups(words: &str) -> Result<Vec<Group>, Failure> {
    let expected = || {
        let words: Vec<_> = Group::ALL.iter().map(|g| g.word()).collect();
        let detail = format!("group_by is some of {}, each once, with commas between", words.join(", "));
        refuse(ProblemCode::InvalidValue, detail)
    };
    let mut groups = Vec::with_capacity(Group::ALL.len());
    for word in words.split(',').filter(|_| !words.is_empty()) {
        let group = Group::ALL.into_iter().find(|g| g.word() == word).ok_or_else(expected)?;
        if groups.contains(&group) {
            return Err(expected());
        }
        groups.push(group);
    }
    if !groups.contains(&Group::Currency) {
        groups.push(Group::Currency);
    }
    Ok(groups)
}

fn filter(filters: &Filters) -> Result<Filter, Failure> {
    let Filters { case_number, case_name, case_name_prefix, .. } = filters;
    let amount = |text: &Option<String>| -> Result<Option<i64>, Failure> {
        let Some(text) = text else { return Ok(None) };
        let currency = filters.currency.ok_or_else(|| invalid("limits of amounts need `currency`"))?;
        let amount = Money::parse(text, currency).map_err(|_| {
            invalid(format!("limits of amounts in {currency} have {} digits behind the point", currency.digits()))
        })?;
        Ok(Some(amount.minor))
    };
    let case_name = match (text(case_name)?, text(case_name_prefix)?) {
        (None, None) => None,
        (Some(name), None) => Some(CaseName::Exactly(name)),
        (None, Some(prefix)) => Some(CaseName::Prefix(prefix)),
        _ => return Err(invalid("give `case_name` or `case_name_prefix`, not both")),
    };
    Ok(Filter {
        number: filters.number,
        source: filters.source.clone(),
        state: filters.state.map(OrderState::of),
        case_number: text(case_number)?,
        case_name,
        payer: filters.payer.clone(),
        currency: filters.currency,
        total: ordered(amount(&filters.min_total)?, amount(&filters.max_total)?)?,
        arose: ordered(filters.arose_from, filters.arose_to)?,
        method: filters.method,
        amount: ordered(amount(&filters.min_amount)?, amount(&filters.max_amount)?)?,
        posted: ordered(filters.posted_from, filters.posted_to)?,
        days: ordered(day(&filters.day_from)?, day(&filters.day_to)?)?,
        leg_state: None,
    })
}

fn text(text: &Option<String>) -> Result<Option<String>, Failure> {
    match text {
        Some(t) if t.is_empty() || t.chars().count() > MAX_TEXT || t.contains('\0') => {
            Err(invalid(format!("case numbers and names have 1 to {MAX_TEXT} characters")))
        }
        other => Ok(other.clone()),
    }
}

/// A day as `business_date` has it.
fn day(text: &Option<String>) -> Result<Option<String>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let parsed = Some(text).filter(|t| t.len() == 10).and_then(|t| t.parse::<jiff::civil::Date>().ok());
    let day = parsed.filter(|d| d.to_string() == *text);
    day.map(|d| Some(d.to_string())).ok_or_else(|| invalid("days are dates such as 2026-01-31"))
}

fn ordered<T: PartialOrd>(from: Option<T>, to: Option<T>) -> Result<(Option<T>, Option<T>), Failure> {
    match (&from, &to) {
        (Some(a), Some(b)) if a > b => Err(invalid("a range begins before it ends")),
        _ => Ok((from, to)),
    }
}

fn invalid(detail: impl Into<String>) -> Failure {
    refuse(ProblemCode::InvalidValue, detail)
}

fn forged() -> Failure {
    invalid("`after` is the `next` of an answer to the same question")
}

/// A cursor: what kind it is of, and where it stands. It opens nothing that its holder may not see, since every question has its scope.
fn sealed(kind: &str, place: &impl serde::Serialize) -> Result<String, Failure> {
    let json = serde_json::to_vec(&(kind, place)).map_err(|e| crate::failure::defect("cursor", e))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

fn opened<T: DeserializeOwned>(kind: &str, cursor: &str) -> Result<T, Failure> {
    if cursor.len() > MAX_CURSOR {
        return Err(forged());
    }
    let json = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| forged())?;
    let (found, place): (String, T) = serde_json::from_slice(&json).map_err(|_| forged())?;
    if found == kind { Ok(place) } else { Err(forged()) }
}

fn seal_of(by: &[Group]) -> String {
    by.iter().map(|g| g.word()).collect::<Vec<_>>().join(",")
}

fn unsayable(group: &TotalsGroup) -> bool {
    group.paid.minor > walkpay::money::MAX_MINOR || group.refunded.minor > walkpay::money::MAX_MINOR
}

fn above() -> Failure {
    invalid(
        "a sum is above what an amount can be (10^15 - 1 smallest units): ask for less at once, by days for example",
    )
}

fn overflow(e: StoreError) -> Failure {
    match &e {
        StoreError::Sqlite(cause) if cause.to_string().contains("integer overflow") => above(),
        _ => e.into(),
    }
}

/// A word of a fixed set, as JSON has it.
///
/// # Errors
/// A text that lists the words.
pub fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|e| e.to_string())
}
