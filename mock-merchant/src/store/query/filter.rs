//! What is asked for, and by whom.

use super::super::payments::method_word;
use super::super::read::counted;
use super::sql::Sql;
use crate::store::orders::OrderState;
use walkpay::protocol::document::{LegState, PaymentMethod};
use walkpay::{Currency, ServiceNumber, SourceId, Sub, Timestamp};

/// Whose orders may be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The merchant's.
    All,
    /// Those of one user, by row, as far as they were ever submitted.
    Payer(i64),
    /// Those of one service system; a store that is called the same is another.
    Source(String),
}

/// A case by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseName {
    /// This name.
    Exactly(String),
    /// Names that begin with this, letter for letter.
    Prefix(String),
}

/// What all of must hold. Whatever is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The order's number.
    pub number: Option<ServiceNumber>,
    /// Who handed it in.
    pub source: Option<SourceId>,
    /// Where it stands.
    pub state: Option<OrderState>,
    /// Its case.
    pub case_number: Option<String>,
    /// Its case.
    pub case_name: Option<CaseName>,
    /// Who pays.
    pub payer: Option<Sub>,
    /// Its currency.
    pub currency: Option<Currency>,
    /// Its total in minor units, both ends included.
    pub total: (Option<i64>, Option<i64>),
    /// When its service arose, the end excluded.
    pub arose: (Option<Timestamp>, Option<Timestamp>),
    /// How it was paid.
    pub method: Option<PaymentMethod>,
    /// What was paid in minor units, both ends included.
    pub amount: (Option<i64>, Option<i64>),
    /// When that was posted, the end excluded.
    pub posted: (Option<Timestamp>, Option<Timestamp>),
    /// On which business days, both included: `2026-01-31`.
    pub days: (Option<String>, Option<String>),
    /// What is known of a payment; only in lists of payments.
    pub leg_state: Option<LegState>,
}

impl Filter {
    /// Whether anything is asked of the order itself, its number and currency aside.
    pub(super) fn needs_order(&self) -> bool {
        self.source.is_some()
            || self.state.is_some()
            || self.case_number.is_some()
            || self.payer.is_some()
            || self.total != (None, None)
            || self.arose != (None, None)
    }

    /// Whether few orders can meet it.
    fn is_narrow(&self) -> bool {
        self.number.is_some() || self.case_number.is_some() || self.case_name.is_some() || self.payer.is_some()
    }

    /// Whether anything is asked of what was paid.
    pub(super) fn needs_leg(&self) -> bool {
        self.method.is_some() || self.amount != (None, None) || self.posted != (None, None) || self.days != (None, None)
    }

    /// Conditions on `orders o`. Where something narrower is asked for, sources and states are kept away from their indexes by a
    /// plus (SQLite, Query Planner §2.1): nearly everything may be of one source and paid.
    pub(super) fn of_order(&self, scope: &Scope, sql: &mut Sql) {
        let narrow = self.is_narrow() || matches!(scope, Scope::Payer(_));
        let by_state = !narrow && !matches!(self.state, None | Some(OrderState::Paid));
        let by_source = !narrow && !by_state;
        match scope {
            Scope::All => {}
            Scope::Payer(user) => {
                sql.bind("AND o.state NOT IN ('draft', 'awaiting_confirmation') AND o.payer = ?", *user);
            }
            Scope::Source(source) if by_source => sql.bind("AND o.store IS NULL AND o.source = ?", source.clone()),
            Scope::Source(source) => sql.bind("AND o.store IS NULL AND +o.source = ?", source.clone()),
        }
        sql.bind_if("AND o.number = ?", self.number.map(|n| counted(n.number())));
        let source = self.source.as_ref().map(|s| s.as_str().to_owned());
        sql.bind_if(if by_source { "AND o.source = ?" } else { "AND +o.source = ?" }, source);
        let indexed = by_state || !narrow && self.source.is_none() && !matches!(scope, Scope::Source(_));
        let state = self.state.map(|s| s.word().to_owned());
        sql.bind_if(if indexed { "AND o.state = ?" } else { "AND +o.state = ?" }, state);
        sql.bind_if("AND o.case_number = ?", self.case_number.clone());
        sql.bind_if(
            "AND o.payer = (SELECT user FROM users WHERE sub = ?)",
            self.payer.as_ref().map(|s| s.as_str().to_owned()),
        );
        sql.bind_if("AND o.currency = ?", self.currency.map(|c| c.code().to_owned()));
        sql.bind_if("AND o.total >= ?", self.total.0);
        sql.bind_if("AND o.total <= ?", self.total.1);
        sql.bind_if("AND o.arose_at >= ?", self.arose.0.map(Timestamp::as_millis));
        sql.bind_if("AND o.arose_at < ?", self.arose.1.map(Timestamp::as_millis));
    }

    /// Conditions on `order_texts t`.
    pub(super) fn of_case_name(&self, sql: &mut Sql) {
        match &self.case_name {
            None => {}
            Some(CaseName::Exactly(name)) => sql.bind("AND t.case_name <> '' AND t.case_name = ?", name.clone()),
            Some(CaseName::Prefix(prefix)) => {
                sql.bind("AND t.case_name <> '' AND t.case_name >= ?", prefix.clone());
                sql.bind_if("AND t.case_name < ?", after_prefix(prefix));
            }
        }
    }

    /// Conditions on `legs l`.
    pub(super) fn of_leg(&self, sql: &mut Sql) {
        sql.bind_if("AND l.method = ?", self.method.map(|m| method_word(m).to_owned()));
        sql.bind_if("AND l.currency = ?", self.currency.map(|c| c.code().to_owned()));
        sql.bind_if("AND l.minor >= ?", self.amount.0);
        sql.bind_if("AND l.minor <= ?", self.amount.1);
        sql.bind_if("AND l.posted_at IS NOT NULL AND l.posted_at >= ?", self.posted.0.map(Timestamp::as_millis));
        sql.bind_if("AND l.posted_at IS NOT NULL AND l.posted_at < ?", self.posted.1.map(Timestamp::as_millis));
        if self.days != (None, None) {
            // What has a day is posted; said so, it is looked up by its day.
            sql.add("AND l.state = 'succeeded' AND l.business_date IS NOT NULL");
        }
        sql.bind_if("AND l.business_date >= ?", self.days.0.clone());
        sql.bind_if("AND l.business_date <= ?", self.days.1.clone());
    }
}

/// The smallest text, by code points, above all that begin with `prefix`; `None` if there is none. UTF-8 sorts bytewise as code
/// points do, which is how SQLite's BINARY collation compares.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            char::MAX => None,
            other => char::from_u32(u32::from(other) + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::after_prefix;

    #[test]
    fn the_end_of_a_prefix_is_the_next_text() {
        let end = |p: &str| after_prefix(p);
        assert_eq!(end("ab").as_deref(), Some("ac"));
        assert_eq!(end("a%").as_deref(), Some("a&"));
        assert_eq!(end("a\u{d7ff}").as_deref(), Some("a\u{e000}"));
        assert_eq!(end("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(end("\u{10ffff}\u{10ffff}"), None);
        assert_eq!(end("é").as_deref(), Some("ê"));
    }
}
