//! The daily comparison of the ledger with what channels and bank say: every difference is listed, none is explained away.

use super::Caller;
use crate::failure::{Failure, refuse};
use crate::store::reconcile::{self, Day, Gap, Sums};
use crate::store::{Tx, stores};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{Currency, Money, Timestamp};

/// The most differences that are listed.
const MAX_DIFFERENCES: usize = 1_000;

/// A day's comparison.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Reconciliation {
    /// The business day.
    #[schema(format = Date, example = "2026-01-31")]
    pub day: String,
    /// Whose midnights bound it for receipts and statements, which have instants only.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
    /// Both sides by method and currency.
    pub methods: Vec<MethodDay>,
    /// What does not agree; empty: all does.
    pub differences: Vec<Difference>,
    /// Whether there are more differences than are listed.
    pub more: bool,
}

/// Both sides of one method in one currency.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct MethodDay {
    /// How.
    pub method: PaymentMethod,
    /// In what.
    pub currency: Currency,
    /// What the ledger posted as paid.
    pub paid: Money,
    /// What the ledger posted as given back.
    pub refunded: Money,
    /// What the channel or the bank took, by its receipts or statement; none for stored value, which is the ledger's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<Money>,
    /// What the bank gave back, by its statement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_back: Option<Money>,
    /// What became of the channel's receipts; together they are all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipts: Option<Receipts>,
}

/// What became of a channel's receipts.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Receipts {
    /// Booked to orders.
    pub applied: Money,
    /// Given back, since nothing explained them.
    pub refunded: Money,
    /// Neither yet.
    pub suspense: Money,
}

/// Something that the two sides do not agree about.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Difference {
    /// What is wrong.
    pub kind: DifferenceKind,
    /// How.
    pub method: PaymentMethod,
    /// What both sides know it by.
    #[schema(example = "018bcfe5-6800-7707-8707-070707070707.d")]
    pub reference: String,
    /// What the ledger has.
    pub ledger: Money,
    /// What the channel or the bank has.
    pub other: Money,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// A receipt counts as applied, and its postings come to another amount.
    Misapplied,
    /// A receipt is in suspense or on its way back.
    InSuspense,
    /// Posted as paid through a channel that has no receipt for it.
    NotReceived,
    /// Posted as moved by the bank, and its statement has another amount, or nothing yet.
    NotBooked,
    /// On the bank's statement, and not posted to an order.
    NotPosted,
}

/// Compares one day.
///
/// # Errors
/// [`Failure::Refused`] with `forbidden` for others than staff and operator, `invalid_value` for what is no day or no time zone.
pub fn reconcile(tx: &Tx<'_>, caller: &Caller, day: &str, time_zone: Option<&str>) -> Result<Reconciliation, Failure> {
    if !matches!(caller, Caller::Operator | Caller::Staff { .. }) {
        return Err(refuse(ProblemCode::Forbidden, "only the merchant compares its books"));
    }
    let invalid = |detail: &str| refuse(ProblemCode::InvalidValue, detail);
    let date = Some(day).filter(|d| d.len() == 10).and_then(|d| d.parse::<Date>().ok());
    let date = date.filter(|d| d.to_string() == day).ok_or_else(|| invalid("`day` is a date such as 2026-01-31"))?;
    let time_zone = match time_zone {
        Some(name) => name.to_owned(),
        None => stores::all(tx)?.into_iter().next().map_or("UTC".to_owned(), |s| s.info.time_zone),
    };
    let zone = TimeZone::get(&time_zone).map_err(|_| invalid("`time_zone` is a name such as Europe/Berlin"))?;
    let midnight = |date: Date| -> Result<Timestamp, Failure> {
        let at = date.to_zoned(zone.clone()).map_err(|_| invalid("this day does not begin in this time zone"))?;
        Ok(Timestamp::from_millis(at.timestamp().as_millisecond()))
    };
    let next = date.tomorrow().map_err(|_| invalid("this day has no next one"))?;
    let day = Day { date: day, from: midnight(date)?, to: midnight(next)? };
    let mut differences = Vec::new();
    let mut list = |kind, gaps: Vec<Gap>| {
        differences.extend(gaps.into_iter().map(|gap| Difference {
            kind,
            method: gap.method,
            reference: gap.reference,
            ledger: gap.ledger,
            other: gap.other,
        }));
    };
    let limit = MAX_DIFFERENCES + 1;
    list(DifferenceKind::Misapplied, reconcile::misapplied(tx, &day, limit)?);
    list(DifferenceKind::InSuspense, reconcile::in_suspense(tx, &day, limit)?);
    list(DifferenceKind::NotReceived, reconcile::unreceived(tx, &day, limit)?);
    list(DifferenceKind::NotBooked, reconcile::unbooked(tx, &day, limit)?);
    list(DifferenceKind::NotPosted, reconcile::unposted(tx, &day, limit)?);
    let more = differences.len() > MAX_DIFFERENCES;
    differences.truncate(MAX_DIFFERENCES);
    let methods = methods(tx, &day)?;
    Ok(Reconciliation { day: day.date.to_owned(), time_zone, methods, differences, more })
}

fn methods(tx: &Tx<'_>, day: &Day<'_>) -> Result<Vec<MethodDay>, Failure> {
    let mut methods: Vec<MethodDay> = Vec::new();
    for Sums { method, currency, minor: [paid, refunded] } in reconcile::posted(tx, day)? {
        let line = line(&mut methods, method, currency);
        (line.paid, line.refunded) = (currency.minor(paid), currency.minor(refunded));
    }
    for Sums { method, currency, minor: [all, applied, refunded, suspense] } in reconcile::received(tx, day)? {
        let line = line(&mut methods, method, currency);
        line.received = Some(currency.minor(all));
        line.receipts = Some(Receipts {
            applied: currency.minor(applied),
            refunded: currency.minor(refunded),
            suspense: currency.minor(suspense),
        });
    }
    for Sums { method, currency, minor: [taken, given_back] } in reconcile::booked(tx, day)? {
        let line = line(&mut methods, method, currency);
        (line.received, line.given_back) = (Some(currency.minor(taken)), Some(currency.minor(given_back)));
    }
    Ok(methods)
}

fn line(methods: &mut Vec<MethodDay>, method: PaymentMethod, currency: Currency) -> &mut MethodDay {
    let place = methods.iter().position(|m| m.method == method && m.currency == currency).unwrap_or(methods.len());
    if place == methods.len() {
        let zero = Money::zero(currency);
        let none = (None, None, None);
        let (received, given_back, receipts) = none;
        methods.push(MethodDay { method, currency, paid: zero, refunded: zero, received, given_back, receipts });
    }
    &mut methods[place]
}
