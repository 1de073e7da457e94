//! Orders that meet a filter.

use super::super::orders::{OrderState, service_number};
use super::super::read::{counted, parsed, time};
use super::filter::{Filter, Scope};
use super::sql::Sql;
use super::{super::StoreError, super::Tx};
use rusqlite::Row;
use rusqlite::types::Type;
use walkpay::protocol::query::QueriedOrder;
use walkpay::{Currency, ServiceNumber};

/// Gives `each` the orders of a scope that meet a filter, by rising number above `after`, `limit` at most, until it says `false`.
pub fn orders(
    tx: &Tx<'_>,
    scope: &Scope,
    filter: &Filter,
    after: Option<ServiceNumber>,
    limit: Option<usize>,
    mut each: impl FnMut(QueriedOrder) -> bool,
) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "SELECT o.number, o.state, o.source, o.service_name, o.payee, u.sub, o.case_number, ifnull(t.case_name, ''), o.currency,
           o.total, o.due, o.refunded, o.arose_at, o.deadline, o.made_at FROM orders o",
    );
    match filter.case_name {
        Some(_) => sql.add("JOIN order_texts t ON t.number = o.number"),
        None => sql.add("LEFT JOIN order_texts t ON t.number = o.number"),
    }
    sql.add("JOIN users u ON u.user = o.payer");
    let after = after.map_or(0, |n| counted(n.number()));
    sql.bind("WHERE o.number > ?", after);
    filter.of_order(scope, &mut sql);
    filter.of_case_name(&mut sql);
    if filter.needs_leg() {
        sql.bind(
            "AND o.number IN (SELECT l.number FROM legs l
               WHERE l.state = 'succeeded' AND l.business_date IS NOT NULL AND l.number > ?",
            after,
        );
        filter.of_leg(&mut sql);
        sql.add(")");
    }
    sql.add("ORDER BY o.number");
    sql.bind_if("LIMIT ?", limit.map(|n| counted(n as u64)));
    let (text, values) = sql.finish();
    tx.each(&text, values, |r| Ok(each(read(r)?)))
}

fn read(r: &Row<'_>) -> rusqlite::Result<QueriedOrder> {
    let currency: Currency = parsed(r, 8)?;
    Ok(QueriedOrder {
        service_number: number(r, 0)?,
        status: r.get::<_, OrderState>(1)?.status(),
        source: r.get(2)?,
        service_name: r.get(3)?,
        payee: r.get(4)?,
        payer: parsed(r, 5)?,
        case_number: r.get(6)?,
        case_name: r.get(7)?,
        total: currency.minor(r.get(9)?),
        due: currency.minor(r.get(10)?),
        refunded: currency.minor(r.get(11)?),
        arose_at: time(r, 12)?,
        deadline: time(r, 13)?,
        made_at: time(r, 14)?,
    })
}

pub(super) fn number(r: &Row<'_>, column: usize) -> rusqlite::Result<ServiceNumber> {
    service_number(r.get(column)?)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, Box::new(e)))
}
