//! Payments and refunds that meet a filter.

use super::super::orders::OrderState;
use super::super::payments::{leg_word, method_of, state_of};
use super::super::read::{counted, optional_time, parsed};
use super::filter::{Filter, Scope};
use super::orders::number;
use super::sql::Sql;
use super::{super::StoreError, super::Tx};
use rusqlite::Row;
use rusqlite::types::Type;
use walkpay::protocol::query::{Movement, QueriedPayment};
use walkpay::{Currency, ServiceNumber, SlipNumber};

/// Where a list of payments goes on: after this leg of this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The order.
    pub number: ServiceNumber,
    /// Row of the leg.
    pub leg: i64,
}

/// Gives `each` the payments of a scope that meet a filter, with their places, by rising number of their orders, after `after`,
/// `limit` at most, until it says `false`.
pub fn payments(
    tx: &Tx<'_>,
    scope: &Scope,
    filter: &Filter,
    after: Option<Place>,
    limit: Option<usize>,
    mut each: impl FnMut(Place, QueriedPayment) -> bool,
) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "SELECT o.number, l.leg, o.state, o.source, o.case_number, ifnull(t.case_name, ''), u.sub, l.refund IS NOT NULL,
           l.method, l.state, l.currency, l.minor, l.reference, a.slip, l.business_date, l.posted_at
         FROM orders o JOIN legs l ON l.number = o.number",
    );
    match filter.case_name {
        Some(_) => sql.add("JOIN order_texts t ON t.number = o.number"),
        None => sql.add("LEFT JOIN order_texts t ON t.number = o.number"),
    }
    // A refund is of the slip that its payment was of.
    sql.add(
        "LEFT JOIN payment_attempts a ON a.pay = ifnull(l.pay, (SELECT b.pay FROM legs b WHERE b.leg = l.of_leg))
         JOIN users u ON u.user = o.payer",
    );
    let (first, leg) = after.map_or((0, 0), |p| (counted(p.number.number()), p.leg));
    sql.bind("WHERE o.number >= ?", first);
    sql.bind("AND l.number >= ?", first);
    sql.bind("AND (l.number > ?", first);
    sql.bind("OR l.leg > ?)", leg);
    filter.of_order(scope, &mut sql);
    filter.of_case_name(&mut sql);
    filter.of_leg(&mut sql);
    sql.bind_if("AND l.state = ?", filter.leg_state.map(|s| leg_word(s).to_owned()));
    // The same order, said of the table that is gone through first, so that a page ends early.
    match filter.needs_order() || *scope != Scope::All {
        true => sql.add("ORDER BY o.number, l.leg"),
        false => sql.add("ORDER BY l.number, l.leg"),
    }
    sql.bind_if("LIMIT ?", limit.map(|n| counted(n as u64)));
    let (text, values) = sql.finish();
    tx.each(&text, values, |r| {
        let payment = read(r)?;
        Ok(each(Place { number: payment.service_number, leg: r.get(1)? }, payment))
    })
}

fn read(r: &Row<'_>) -> rusqlite::Result<QueriedPayment> {
    let currency: Currency = parsed(r, 10)?;
    let slip: Option<i64> = r.get(13)?;
    let slip = slip.map(|n| SlipNumber::new(n.unsigned_abs())).transpose();
    Ok(QueriedPayment {
        service_number: number(r, 0)?,
        status: r.get::<_, OrderState>(2)?.status(),
        source: r.get(3)?,
        case_number: r.get(4)?,
        case_name: r.get(5)?,
        payer: parsed(r, 6)?,
        movement: if r.get(7)? { Movement::Refund } else { Movement::Payment },
        method: method_of(r, 8)?,
        state: state_of(r, 9)?,
        amount: currency.minor(r.get(11)?),
        reference: r.get(12)?,
        slip_number: slip.map_err(|e| rusqlite::Error::FromSqlConversionFailure(13, Type::Integer, Box::new(e)))?,
        business_day: r.get(14)?,
        posted_at: optional_time(r, 15)?,
    })
}
