//! Whether all books tell the same: the merchant's ledger, its totals, the bank's statement, the channel's book, and what service
//! systems were told.

use super::providers::{Collected, PROVIDERS, word};
use super::{World, text};
use mock_merchant::channel::test::TradeState;
use mock_merchant::domain::{Caller, Filters, Question};
use mock_merchant::store::query::Group;
use mock_merchant::store::{Tx, invariants};
use rusqlite::types::FromSql;
use std::collections::{BTreeMap, BTreeSet};
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::query::TotalsGroup;

/// What must have come about in some world, or the rest proves little: a name, and a query that counts it; `{late}` stands for the
/// numbers of what was paid at a channel after it had ended there.
pub const WANTED: &[(&str, &str)] = &[
    (
        "slips paid by stored value",
        "SELECT count(*) FROM payment_attempts WHERE state = 'succeeded' AND method = 'stored_value'",
    ),
    ("slips paid by the bank", "SELECT count(*) FROM payment_attempts WHERE state = 'succeeded' AND method = 'bank'"),
    (
        "slips paid over the simulated channel",
        "SELECT count(*) FROM payment_attempts WHERE state = 'succeeded' AND method = 'test'",
    ),
    ("slips paid over Alipay", "SELECT count(*) FROM payment_attempts WHERE state = 'succeeded' AND method = 'alipay'"),
    (
        "slips paid over WeChat Pay",
        "SELECT count(*) FROM payment_attempts WHERE state = 'succeeded' AND method = 'tenpay'",
    ),
    (
        "slips paid by two methods",
        "SELECT count(*) FROM payment_attempts WHERE state = 'succeeded' AND stored_value > 0 AND minor > 0",
    ),
    (
        "slips of several orders paid",
        "SELECT count(*) FROM (SELECT slip FROM slip_orders JOIN slips s USING (slip)
        WHERE s.state = 'paid' GROUP BY slip HAVING count(*) > 1)",
    ),
    ("slips paid at the second try", "SELECT count(*) FROM payment_attempts WHERE state = 'succeeded' AND n > 1"),
    ("slips given up", "SELECT count(*) FROM slips WHERE state = 'closed'"),
    ("payments that expired", "SELECT count(*) FROM payment_attempts WHERE reason = 'expired'"),
    (
        "baskets paid by slip",
        "SELECT count(DISTINCT number) FROM legs JOIN orders USING (number)
        WHERE store IS NOT NULL AND pay IS NOT NULL AND legs.state = 'succeeded'",
    ),
    (
        "second payments of a slip given back over the simulated channel",
        "SELECT count(*) FROM channel_receipts r JOIN payment_attempts p USING (pay) WHERE r.method = 'test' AND r.state = 'refunded'
         AND EXISTS (SELECT 1 FROM payment_attempts o WHERE o.slip = p.slip AND o.state = 'succeeded')",
    ),
    (
        "payments after the end applied over the simulated channel",
        "SELECT count(*) FROM channel_receipts r JOIN payment_attempts p USING (pay) WHERE r.method = 'test' AND r.state = 'applied'
         AND p.channel_number IN ({late})",
    ),
    (
        "payments after the end given back over the simulated channel",
        "SELECT count(*) FROM channel_receipts r JOIN payment_attempts p USING (pay) WHERE r.method = 'test' AND r.state = 'refunded'
         AND p.channel_number IN ({late})",
    ),
    (
        "refunds over the simulated channel",
        "SELECT count(*) FROM legs WHERE refund IS NOT NULL AND method = 'test' AND state = 'succeeded'",
    ),
    (
        "second payments of a slip given back over Alipay",
        "SELECT count(*) FROM channel_receipts r JOIN payment_attempts p USING (pay) WHERE r.method = 'alipay' AND r.state = 'refunded'
         AND EXISTS (SELECT 1 FROM payment_attempts o WHERE o.slip = p.slip AND o.state = 'succeeded')",
    ),
    (
        "payments after the end applied over Alipay",
        "SELECT count(*) FROM channel_receipts r JOIN payment_attempts p USING (pay) WHERE r.method = 'alipay' AND r.state = 'applied'
         AND p.channel_number IN ({late})",
    ),
    (
        "payments after the end given back over Alipay",
        "SELECT count(*) FROM channel_receipts r JOIN payment_attempts p USING (pay) WHERE r.method = 'alipay' AND r.state = 'refunded'
         AND p.channel_number IN ({late})",
    ),
    (
        "refunds over Alipay",
        "SELECT count(*) FROM legs WHERE refund IS NOT NULL AND method = 'alipay' AND state = 'succeeded'",
    ),
    (
        "second payments of a slip given back over WeChat Pay",
        "SELECT count(*) FROM channel_receipts r JOIN payment_attempts p USING (pay) WHERE r.method = 'tenpay' AND r.state = 'refunded'
         AND EXISTS (SELECT 1 FROM payment_attempts o WHERE o.slip = p.slip AND o.state = 'succeeded')",
    ),
    (
        "payments after the end applied over WeChat Pay",
        "SELECT count(*) FROM channel_receipts r JOIN payment_attempts p USING (pay) WHERE r.method = 'tenpay' AND r.state = 'applied'
         AND p.channel_number IN ({late})",
    ),
    (
        "payments after the end given back over WeChat Pay",
        "SELECT count(*) FROM channel_receipts r JOIN payment_attempts p USING (pay) WHERE r.method = 'tenpay' AND r.state = 'refunded'
         AND p.channel_number IN ({late})",
    ),
    (
        "refunds over WeChat Pay",
        "SELECT count(*) FROM legs WHERE refund IS NOT NULL AND method = 'tenpay' AND state = 'succeeded'",
    ),
    ("receipts applied", "SELECT count(*) FROM channel_receipts WHERE state = 'applied'"),
    ("late successes of the bank applied", "SELECT count(*) FROM suspense WHERE state = 'applied'"),
    ("late successes of the bank given back", "SELECT count(*) FROM suspense WHERE state = 'refunded'"),
    ("refunds in full or part", "SELECT count(*) FROM refunds WHERE state = 'done'"),
    ("refunds that failed", "SELECT count(*) FROM refunds WHERE state = 'failed'"),
    ("orders that expired", "SELECT count(*) FROM orders WHERE state = 'expired'"),
    ("orders that were withdrawn", "SELECT count(*) FROM orders WHERE state = 'withdrawn'"),
    ("orders that were changed", "SELECT count(*) FROM order_versions WHERE action = 'modified'"),
    ("notifications of something else", "SELECT count(*) FROM audit WHERE action = 'notification_mismatch'"),
    ("messages that took several tries", "SELECT count(*) FROM deliveries WHERE tries > 1"),
    ("notices that arrived by report", "SELECT count(*) FROM notice_deliveries WHERE state = 'delivered' AND medium = 'sms'"),
    ("notices that took several tries", "SELECT count(*) FROM notice_deliveries WHERE tries > 1"),
    ("notices sent again since an outcome is unknown", "SELECT count(*) FROM notice_deliveries WHERE repeats > 0"),
    ("notices of which it stays unknown", "SELECT count(*) FROM notice_deliveries WHERE state = 'unknown' AND due IS NULL"),
    ("notices refused for good", "SELECT count(*) FROM notice_deliveries WHERE state = 'failed'"),
    ("notices overtaken", "SELECT count(*) FROM notice_deliveries WHERE state = 'given_up' AND last_word = 'overtaken'"),
    ("reminders", "SELECT count(*) FROM deliveries WHERE kind = 'order.overdue'"),
];

impl World {
    /// How often each of [`WANTED`] came about here.
    pub fn reached(&self) -> Result<Vec<i64>, String> {
        let late = self.late().into_iter().map(|number| format!("'{number}'")).collect::<Vec<_>>().join(", ");
        WANTED.iter().map(|(_, sql)| self.sum(&sql.replace("{late}", &late))).collect()
    }

    /// The first column of what a query finds in the merchant's database.
    pub(super) fn column<T: FromSql>(&self, sql: &str) -> Result<Vec<T>, String> {
        let mut query = self.conn.prepare_cached(sql).map_err(text)?;
        let rows = query.query_map([], |r| r.get(0)).map_err(text)?;
        rows.collect::<rusqlite::Result<_>>().map_err(text)
    }

    fn sum(&self, sql: &str) -> Result<i64, String> {
        self.column::<Option<i64>>(sql)?.first().copied().map(Option::unwrap_or_default).ok_or("no sum".into())
    }

    /// Every reference and amount on the bank's statement is one of the merchant's, and the other way round.
    pub(super) fn bank_agrees(&self) -> Result<(), String> {
        let ours = Tx::read(&self.conn, |tx| Ok(invariants::bank_book(tx)?)).map_err(|e| format!("{e:?}"))?;
        let mut differences: BTreeMap<String, i64> = BTreeMap::new();
        for (reference, minor) in ours {
            *differences.entry(reference).or_default() += minor;
        }
        for entry in self.bank.statement(&self.merchant_id, 0, 1_000).map_err(text)? {
            *differences.entry(entry.reference).or_default() -= entry.amount.minor;
        }
        match differences.iter().find(|(_, minor)| **minor != 0) {
            Some((reference, minor)) => Err(format!("{reference}: the merchant has {minor} more than the bank")),
            None => Ok(()),
        }
    }

    /// What each channel has collected is what was applied, what went back, and what is in suspense.
    pub(super) fn channels_agree(&self) -> Result<(), String> {
        let of_test = self.trades().into_iter().filter(|t| t.state == TradeState::Paid);
        let of_test = of_test.map(|t| Collected { trade: t.trade, minor: t.amount.minor, refunded: t.refunded });
        self.channel_agrees(PaymentMethod::Test, of_test.collect())?;
        let providers = self.providers.as_ref().ok_or("a world without payment providers")?;
        PROVIDERS.into_iter().try_for_each(|method| self.channel_agrees(method, providers.collected(method)))
    }

    fn channel_agrees(&self, method: PaymentMethod, paid: Vec<Collected>) -> Result<(), String> {
        let word = word(method);
        let receipts: BTreeSet<String> = self
            .column(&format!(
                "SELECT trade || ' ' || minor FROM channel_receipts WHERE method = '{word}'
                 AND state IN ('applied', 'refunded', 'suspense')"
            ))?
            .into_iter()
            .collect();
        let theirs: BTreeSet<String> = paid.iter().map(|c| format!("{} {}", c.trade, c.minor)).collect();
        if receipts != theirs {
            return Err(format!("{word} has collected {theirs:?}, the merchant has on record {receipts:?}"));
        }
        let kept: i64 = paid.iter().map(|c| c.minor - c.refunded).sum();
        let ledger = self.sum(&format!("SELECT sum(balance) FROM accounts WHERE name = 'channel:{word}'"))?;
        if kept != -ledger {
            return Err(format!("{word} keeps {kept}, by the ledger {}", -ledger));
        }
        let in_suspense =
            format!("SELECT sum(minor) FROM channel_receipts WHERE state = 'suspense' AND method = '{word}'");
        let suspense = self.sum(&in_suspense)?;
        let net = self.net(Group::Method, |g| g.method == Some(method))?;
        if kept != net + suspense {
            return Err(format!("{word} keeps {kept}: {net} by the totals and {suspense} in suspense"));
        }
        Ok(())
    }

    fn net(&self, by: Group, wanted: impl Fn(&TotalsGroup) -> bool) -> Result<i64, String> {
        let totals = Tx::read(&self.conn, |tx| {
            Question::new(tx, &Caller::Operator, &Filters::default(), None)?.totals(
                tx,
                &[by, Group::Currency],
                None,
                100,
            )
        });
        let totals = totals.map_err(|e| format!("{e:?}"))?;
        if totals.next.is_some() {
            return Err("more totals than are looked at".into());
        }
        for group in &totals.groups {
            if group.net.minor != group.paid.minor - group.refunded.minor || group.refunded.minor > group.paid.minor {
                return Err(format!("totals that do not add up: {group:?}"));
            }
        }
        Ok(totals.groups.iter().filter(|g| wanted(g)).map(|g| g.net.minor).sum())
    }

    /// The totals that can be asked for are those of the ledger, by source, and those of the bank's own statement.
    pub(super) fn totals_agree(&self) -> Result<(), String> {
        let of_ledger = |accounts: &str| {
            self.sum(&format!(
                "SELECT sum(p.minor) FROM postings p JOIN accounts a USING (account) JOIN transfers t USING (transfer)
                 WHERE {accounts} AND t.kind <> 'refund_suspense'"
            ))
        };
        for service in &self.services {
            let source = &service.caller.source_id;
            let (totals, ledger) = (
                self.net(Group::Source, |g| g.source.as_ref() == Some(source))?,
                of_ledger(&format!("a.name = 'payable:{source}'"))?,
            );
            if totals != ledger {
                return Err(format!("{source} is owed {totals} by the totals, {ledger} by the ledger"));
            }
        }
        let store = self.net(Group::Source, |g| g.source.as_deref() == Some("sim-1"))?;
        let ledger = of_ledger("(a.name GLOB 'sales:*' OR a.name GLOB 'receivable:*')")?;
        if store != ledger {
            return Err(format!("the store has {store} by the totals, {ledger} by the ledger"));
        }
        // What it has taken late and what is not explained by an order, less what went back.
        let late = "SELECT sum(minor) FROM suspense WHERE state = 'open' AND reference LIKE '%.%' AND reference NOT LIKE '%.g%'";
        let (bank, suspense) = (self.net(Group::Method, |g| g.method == Some(PaymentMethod::Bank))?, self.sum(late)?);
        let statement = self.bank.statement(&self.merchant_id, 0, 1_000).map_err(text)?;
        let statement: i64 = statement.iter().map(|e| e.amount.minor).sum();
        if statement != bank + suspense {
            return Err(format!("the bank has paid out {statement}: {bank} by the totals and {suspense} in suspense"));
        }
        Ok(())
    }

    /// Every service system was told of each payment and of what went back, and of nothing else.
    pub(super) fn services_are_told(&self) -> Result<(), String> {
        for service in &self.services {
            let source = &service.caller.source_id;
            let paid: Vec<String> = self.column(&format!(
                "SELECT printf('%015d', number) FROM orders WHERE source = '{source}'
                 AND state IN ('paid', 'partly_refunded', 'refunded') ORDER BY number"
            ))?;
            let told: Vec<String> = service.paid.keys().map(ToString::to_string).collect();
            if paid != told {
                return Err(format!("{source}: {paid:?} are paid, and it was told of {told:?}"));
            }
            let refunded = self.sum(&format!("SELECT sum(refunded) FROM orders WHERE source = '{source}'"))?;
            let told: i64 = service.refunded.values().sum();
            if refunded != told {
                return Err(format!("{source}: {refunded} were given back, and it was told of {told}"));
            }
            let handed_in = self.sum(&format!("SELECT count(*) FROM orders WHERE source = '{source}'"))?;
            if handed_in != service.numbers.len() as i64 {
                return Err(format!("{source} has {handed_in} orders, and knows {:?}", service.numbers));
            }
        }
        Ok(())
    }
}
