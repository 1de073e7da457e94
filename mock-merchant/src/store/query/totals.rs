//! What was paid, added up (B31, B32). What counts are legs that have succeeded and are posted.

use super::super::orders::OrderState;
use super::super::payments::method_of;
use super::super::read::{count, counted, parsed};
use super::filter::{Filter, Scope};
use super::sql::Sql;
use super::{super::StoreError, super::Tx};
use rusqlite::Row;
use walkpay::Currency;
use walkpay::protocol::query::TotalsGroup;

/// What totals are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// How it was paid (B31).
    Method,
    /// The service system.
    Source,
    /// Where the orders stand.
    State,
    /// The case number (B32).
    Case,
    /// The day of posting.
    BusinessDay,
    /// Always among them, at the end unless it is named before.
    Currency,
}

impl Group {
    /// All of them.
    pub const ALL: [Group; 6] =
        [Self::Method, Self::Source, Self::State, Self::Case, Self::BusinessDay, Self::Currency];

    /// The word for it in questions.
    pub fn word(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Source => "source",
            Self::State => "state",
            Self::Case => "case",
            Self::BusinessDay => "business_day",
            Self::Currency => "currency",
        }
    }

    fn column(self, joined: bool) -> &'static str {
        match self {
            Self::Currency if joined => "o.currency",
            Self::Method => "l.method",
            Self::Source => "o.source",
            Self::State => "o.state",
            Self::Case => "o.case_number",
            Self::BusinessDay => "l.business_date",
            Self::Currency => "l.currency",
        }
    }

    fn needs_order(self) -> bool {
        matches!(self, Self::Source | Self::State | Self::Case)
    }
}

/// Gives `each` the groups in rising order above the keys `after`, with their keys, `limit` at most, until it says `false`. `by`
/// names each kind once and [`Group::Currency`] among them; `after` has a key for each of them.
///
/// # Errors
/// [`StoreError::Sqlite`] with `integer overflow` when a sum has no room in 64 bits.
pub fn totals(
    tx: &Tx<'_>,
    scope: &Scope,
    filter: &Filter,
    by: &[Group],
    after: Option<&[String]>,
    limit: Option<usize>,
    mut each: impl FnMut(Vec<String>, TotalsGroup) -> bool,
) -> Result<(), StoreError> {
    let joined = *scope != Scope::All || filter.needs_order() || by.iter().any(|g| g.needs_order());
    let everything = *scope == Scope::All && *filter == Filter::default();
    let mut sql = Sql::new("SELECT");
    columns(&mut sql, by, joined);
    sql.add(
        ", sum(CASE WHEN l.refund IS NULL THEN l.minor ELSE 0 END), sum(CASE WHEN l.refund IS NULL THEN 0 ELSE l.minor END),
         count(*), count(l.refund) FROM",
    );
    match (joined, everything && by == [Group::Case, Group::Currency]) {
        (false, _) => sql.add("legs l"),
        (true, false) => sql.add("legs l JOIN orders o ON o.number = l.number"),
        // In the order of the index on cases, so that a page ends early.
        (true, true) => sql.add("orders o CROSS JOIN legs l ON l.number = o.number"),
    }
    if filter.case_name.is_some() {
        sql.add("JOIN order_texts t ON t.number = l.number");
    }
    match joined && everything {
        // By rising numbers, as orders lie: not by days.
        true => sql.add("WHERE l.state = 'succeeded' AND +l.business_date IS NOT NULL"),
        false => sql.add("WHERE l.state = 'succeeded' AND l.business_date IS NOT NULL"),
    }
    if joined {
        filter.of_order(scope, &mut sql);
    }
    sql.bind_if("AND l.number = ?", filter.number.map(|n| counted(n.number())));
    filter.of_case_name(&mut sql);
    filter.of_leg(&mut sql);
    if let (Some(keys), Some(first)) = (after, by.first()) {
        // By itself, so that an index on it is gone into at the right place.
        sql.add("AND");
        sql.add(first.column(joined));
        sql.bind_if(">= ?", keys.first().cloned());
        sql.add("AND (");
        columns(&mut sql, by, joined);
        sql.add(") > (");
        for (n, key) in keys.iter().enumerate() {
            sql.bind(if n == 0 { "?" } else { ", ?" }, key.clone());
        }
        sql.add(")");
    }
    sql.add("GROUP BY");
    columns(&mut sql, by, joined);
    sql.add("ORDER BY");
    columns(&mut sql, by, joined);
    sql.bind_if("LIMIT ?", limit.map(|n| counted(n as u64)));
    let (text, values) = sql.finish();
    tx.each(&text, values, |r| {
        let keys = (0..by.len()).map(|n| r.get(n)).collect::<rusqlite::Result<_>>()?;
        Ok(each(keys, read(r, by)?))
    })
}

fn columns(sql: &mut Sql, by: &[Group], joined: bool) {
    for (n, group) in by.iter().enumerate() {
        if n > 0 {
            sql.add(",");
        }
        sql.add(group.column(joined));
    }
}

fn read(r: &Row<'_>, by: &[Group]) -> rusqlite::Result<TotalsGroup> {
    let place = |group| by.iter().position(|g| *g == group);
    let text = |group| place(group).map(|n| r.get(n)).transpose();
    let currency: Currency = match place(Group::Currency) {
        Some(n) => parsed(r, n)?,
        None => return Err(rusqlite::Error::InvalidColumnName("currency".to_owned())),
    };
    let sums = by.len();
    let (paid, refunded): (i64, i64) = (r.get(sums)?, r.get(sums + 1)?);
    let (all, refunds) = (count(r, sums + 2)?, count(r, sums + 3)?);
    Ok(TotalsGroup {
        method: place(Group::Method).map(|n| method_of(r, n)).transpose()?,
        source: text(Group::Source)?,
        state: place(Group::State)
            .map(|n| Ok::<_, rusqlite::Error>(r.get::<_, OrderState>(n)?.status()))
            .transpose()?,
        case_number: text(Group::Case)?,
        business_day: text(Group::BusinessDay)?,
        currency,
        paid: currency.minor(paid),
        refunded: currency.minor(refunded),
        // Neither is negative.
        net: currency.minor(paid - refunded),
        payments: all - refunds,
        refunds,
    })
}
