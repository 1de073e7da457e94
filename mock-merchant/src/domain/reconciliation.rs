//! The daily comparison of the ledger with what channels and bank say: every difference is listed, none is explained away.

use super::{Caller, StaffScope};
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
    /// A receipt is in suspense or on its way back, or what was to be given back could not be.
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
    match caller {
        Caller::Operator => {}
        Caller::Staff { scopes, .. } => scopes.need(StaffScope::QueryRead)?,
        _ => return Err(refuse(ProblemCode::Forbidden, "only the merchant compares its books")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    fn compared(w: &World, day: &str, zone: &str) -> Reconciliation {
        Tx::read(&w.conn, |tx| reconcile(tx, &Caller::Operator, day, Some(zone))).unwrap()
    }

    fn kinds(w: &World) -> Vec<(DifferenceKind, String)> {
        let day = compared(w, "2026-01-31", "Europe/Berlin");
        day.differences.into_iter().map(|d| (d.kind, d.reference)).collect()
    }

    /// 2026-01-31T00:00 in Berlin.
    const MIDNIGHT: i64 = 1_769_814_000_000;

    fn receipt(w: &World, pay: i64, trade: &str, minor: i64, state: &str, at: i64) {
        let sql = "INSERT INTO channel_receipts (merchant, pay, method, trade, currency, minor, state, received_at)
                   VALUES (1, ?1, 'alipay', ?2, 'EUR', ?3, ?4, ?5)";
        w.conn.execute(sql, (pay, trade, minor, state, at)).unwrap();
    }

    fn leg(w: &World, pay: i64, method: &str, minor: i64, reference: &str) {
        let sql =
            "INSERT INTO legs (number, pay, n, method, currency, minor, reference, state, business_date, posted_at)
                   VALUES (1, ?1, 1, ?2, 'EUR', ?3, ?4, 'succeeded', '2026-01-31', 0)";
        w.conn.execute(sql, (pay, method, minor, reference)).unwrap();
    }

    fn entry(w: &World, seq: i64, reference: &str, minor: i64, state: &str) {
        let sql = "INSERT INTO statement_entries (seq, merchant, reference, subject, currency, minor, booked_at, state)
                   VALUES (?1, 1, ?2, zeroblob(16), 'EUR', ?3, ?4, ?5)";
        w.conn.execute(sql, (seq, reference, minor, MIDNIGHT, state)).unwrap();
    }

    #[test]
    fn each_kind_of_difference_is_listed_and_agreement_is_not() {
        let w = World::new();
        leg(&w, 1, "alipay", 500, "a1");
        receipt(&w, 1, "t1", 500, "applied", MIDNIGHT);
        leg(&w, 2, "bank", 300, "b1");
        entry(&w, 1, "b1", 300, "explained");
        receipt(&w, 3, "t3", 70, "refunded", MIDNIGHT + 1);
        let day = compared(&w, "2026-01-31", "Europe/Berlin");
        assert_eq!(day.differences, []);
        let alipay = day.methods.iter().find(|m| m.method == PaymentMethod::Alipay).unwrap();
        let receipts = alipay.receipts.clone().unwrap();
        assert_eq!((alipay.paid.minor, alipay.received.unwrap().minor), (500, 570));
        assert_eq!((receipts.applied.minor, receipts.refunded.minor, receipts.suspense.minor), (500, 70, 0));
        receipt(&w, 4, "t4", 60, "suspense", MIDNIGHT + 2);
        receipt(&w, 5, "t5", 50, "applied", MIDNIGHT + 3);
        leg(&w, 5, "alipay", 49, "a5");
        leg(&w, 6, "alipay", 10, "a6");
        leg(&w, 7, "bank", 10, "b7");
        leg(&w, 8, "bank", 10, "b8");
        entry(&w, 8, "b8", 11, "explained");
        entry(&w, 9, "b9", 12, "waiting");
        entry(&w, 10, "b10", 13, "explained");
        use DifferenceKind::*;
        let sql = "INSERT INTO suspense (merchant, kind, subject, reference, entry, currency, minor, state, found_at)
                   VALUES (1, 'refund', zeroblob(16), 'r1.rest', 0, 'EUR', 9, 'open', ?1)";
        w.conn.execute(sql, [MIDNIGHT]).unwrap();
        let expected = [
            (Misapplied, "t5"),
            (InSuspense, "t4"),
            (InSuspense, "r1.rest"),
            (NotReceived, "a6"),
            (NotBooked, "b7"),
            (NotBooked, "b8"),
            (NotPosted, "b9"),
            (NotPosted, "b10"),
        ];
        assert_eq!(kinds(&w), expected.map(|(kind, reference)| (kind, reference.to_owned())));
    }

    #[test]
    fn a_day_ends_at_midnight_where_it_is() {
        let w = World::new();
        receipt(&w, 1, "before", 1, "suspense", MIDNIGHT - 1);
        receipt(&w, 2, "first", 1, "suspense", MIDNIGHT);
        receipt(&w, 3, "last", 1, "suspense", MIDNIGHT + 24 * 3_600_000 - 1);
        receipt(&w, 4, "after", 1, "suspense", MIDNIGHT + 24 * 3_600_000);
        assert_eq!(kinds(&w).into_iter().map(|(_, r)| r).collect::<Vec<_>>(), ["first", "last"]);
        assert_eq!(compared(&w, "2026-01-30", "UTC").differences.len(), 2);
        let refused = |day: &str, zone: &str, caller: &Caller| {
            Tx::read(&w.conn, |tx| reconcile(tx, caller, day, Some(zone))).unwrap_err().code()
        };
        for (day, zone) in
            [("2026-02-30", "UTC"), ("2026-1-1", "UTC"), ("9999-12-31", "UTC"), ("2026-01-31", "Mars/Olympus")]
        {
            assert_eq!(refused(day, zone, &Caller::Operator), ProblemCode::InvalidValue, "{day} {zone}");
        }
        assert_eq!(refused("2026-01-31", "UTC", &Caller::Anonymous), ProblemCode::Forbidden);
    }
}
