//! What must always hold of a merchant's database, and what must hold when nothing is under way any more. For tests,
//! simulations and whoever doubts a file.

use super::{StoreError, Tx};

/// Violated invariants, each with what violates it; empty: all is well.
pub type Violations = Vec<String>;

/// Queries that find violations; each row has one text column.
const ALWAYS: &[(&str, &str)] = &[
    (
        "postings of every transfer sum to zero",
        "SELECT 'transfer ' || transfer || ' sums to ' || sum(minor) FROM postings GROUP BY transfer HAVING sum(minor) <> 0",
    ),
    (
        "postings of a transfer are of one currency",
        "SELECT 'transfer ' || p.transfer FROM postings p JOIN accounts a USING (account)
         GROUP BY p.transfer HAVING count(DISTINCT a.currency) > 1",
    ),
    (
        "balances are the sums of their postings",
        "SELECT a.name || ': ' || a.balance || ' but postings sum to ' || ifnull(sum(p.minor), 0)
         FROM accounts a LEFT JOIN postings p USING (account) GROUP BY a.account
         HAVING a.balance <> ifnull(sum(p.minor), 0)",
    ),
    (
        "no account is below its limit, reservations included",
        "SELECT name || ': ' || balance || ' with ' || reserved || ' reserved' FROM accounts
         WHERE floor IS NOT NULL AND balance - reserved < floor",
    ),
    (
        "reserved amounts are the sums of open reservations",
        "SELECT a.name || ': ' || a.reserved FROM accounts a
         WHERE a.reserved <> (SELECT ifnull(sum(r.minor), 0) FROM reservations r
           WHERE r.account = a.account AND r.state = 'open') + (SELECT ifnull(sum(r.minor), 0) FROM pay_reservations r
           WHERE r.account = a.account AND r.state = 'open')",
    ),
    (
        "at most one attempt of a trip is accepted",
        "SELECT hex(trip) FROM attempts WHERE state = 'accepted' GROUP BY trip HAVING count(*) > 1",
    ),
    (
        "an accepted attempt is its trip's, and has one order and one payment",
        "SELECT hex(a.trip) || '/' || a.attempt FROM attempts a JOIN trips t USING (trip) WHERE a.state = 'accepted'
         AND (t.state <> 'accepted' OR t.accepted <> a.attempt
           OR 1 <> (SELECT count(*) FROM payments p JOIN orders o USING (number) WHERE p.trip = a.trip
             AND p.attempt = a.attempt))",
    ),
    (
        "an accepted trip has its accepted attempt and exit pass",
        "SELECT hex(t.trip) FROM trips t WHERE t.state = 'accepted'
         AND (NOT EXISTS (SELECT 1 FROM attempts a WHERE a.trip = t.trip AND a.attempt = t.accepted
             AND a.state = 'accepted')
           OR 1 <> (SELECT count(*) FROM exit_passes e WHERE e.trip = t.trip))",
    ),
    (
        "nothing that was not accepted is debited",
        "SELECT reference FROM bank_calls c WHERE kind IN ('capture', 'debit') AND pay IS NULL
         AND NOT EXISTS (SELECT 1 FROM trips t WHERE t.trip = c.subject AND t.state = 'accepted')
         UNION ALL SELECT hex(r.trip) FROM reservations r
         WHERE NOT EXISTS (SELECT 1 FROM trips t WHERE t.trip = r.trip AND t.state = 'accepted')",
    ),
    (
        "approved debits of a trip, less what was reversed, do not exceed the signed total",
        "SELECT hex(p.trip) FROM payments p WHERE p.trip IS NOT NULL AND p.total - p.stored_value <
           (SELECT ifnull(sum(CASE c.kind WHEN 'capture' THEN c.approved WHEN 'debit' THEN c.approved
             WHEN 'reverse' THEN -c.approved ELSE 0 END), 0)
            FROM bank_calls c WHERE c.subject = p.trip AND c.state = 'approved')",
    ),
    (
        "a hold is captured or released at most once",
        "SELECT hex(hold) FROM bank_calls WHERE kind = 'release' GROUP BY hold HAVING count(*) > 1
         UNION ALL SELECT original FROM bank_calls WHERE kind IN ('capture', 'release') AND state = 'approved'
         GROUP BY original HAVING count(*) > 1",
    ),
    (
        "a hold is never captured and released, nor asked to be both at once",
        "SELECT c.original FROM bank_calls c JOIN bank_calls r ON r.original = c.original
         WHERE c.kind = 'capture' AND c.state <> 'declined' AND r.kind = 'release' AND r.state <> 'declined'",
    ),
    (
        "at most one hold of a trip is in force under one entry of the bank",
        "SELECT entry FROM holds WHERE state = 'placed' GROUP BY entry HAVING count(*) > 1",
    ),
    (
        "event numbers have no gaps",
        "SELECT 'device ' || d.device || ': ' || ifnull(c.last_seq, 'no log') FROM devices d LEFT JOIN event_counters c USING (device)
         WHERE c.last_seq IS NOT (SELECT count(*) FROM events e WHERE e.device = d.device)
         OR c.last_seq IS NOT (SELECT ifnull(max(e.seq), 0) FROM events e WHERE e.device = d.device)",
    ),
    (
        "legs of a closed payment are definite",
        "SELECT l.reference FROM legs l JOIN payments p USING (payment) WHERE p.state = 'closed'
         AND l.state NOT IN ('succeeded', 'failed')",
    ),
    (
        "legs and what is owed come to the total",
        "SELECT 'order ' || o.number FROM orders o WHERE o.state <> 'collecting'
         AND o.total <> o.due + (SELECT ifnull(sum(l.minor), 0) FROM legs l WHERE l.number = o.number
           AND l.state = 'succeeded' AND l.refund IS NULL)",
    ),
    (
        "what was given back of an order is the sum of its refund legs",
        "SELECT 'order ' || o.number FROM orders o WHERE o.refunded <> (SELECT ifnull(sum(l.minor), 0) FROM legs l
           WHERE l.number = o.number AND l.state = 'succeeded' AND l.refund IS NOT NULL)",
    ),
    (
        "no leg is given back beyond its amount",
        "SELECT 'leg ' || l.leg FROM legs l WHERE l.refund IS NULL AND l.minor < (SELECT ifnull(sum(r.minor), 0)
           FROM legs r WHERE r.of_leg = l.leg AND r.state <> 'failed')",
    ),
    (
        "legs agree with the ledger",
        "SELECT 'payment ' || p.payment FROM payments p WHERE p.state = 'closed'
         AND (SELECT ifnull(sum(l.minor), 0) FROM legs l WHERE l.payment = p.payment AND l.state = 'succeeded')
           <> (SELECT ifnull(sum(-g.minor), 0) FROM transfers t JOIN postings g USING (transfer)
               JOIN accounts a USING (account) WHERE t.trip = p.trip
               AND (t.kind = 'debit' AND (a.name = 'bank' OR a.name LIKE 'sv:%')
                 OR t.kind = 'apply_late' AND a.name = 'suspense'))",
    ),
    (
        // What could not be given back and is kept for its payer was not refunded.
        "totals equal the ledger",
        "SELECT currency || ' ' || kind || ': ' || sum(legs) || ' by totals, ' || sum(ledger) || ' by the ledger' FROM
           (SELECT currency, CASE WHEN refund IS NULL THEN 'paid' ELSE 'refunded' END AS kind, sum(minor) AS legs, 0 AS ledger FROM legs
              WHERE state = 'succeeded' AND business_date IS NOT NULL GROUP BY 1, 2
            UNION ALL SELECT a.currency, CASE t.kind WHEN 'order_refund' THEN 'refunded' ELSE 'paid' END, 0,
                sum(CASE t.kind WHEN 'order_refund' THEN -p.minor ELSE p.minor END)
              FROM accounts a JOIN postings p USING (account) JOIN transfers t USING (transfer)
              WHERE (a.name GLOB 'sales:*' OR a.name GLOB 'receivable:*' OR a.name GLOB 'payable:*') AND t.kind <> 'refund_suspense'
              GROUP BY 1, 2)
         GROUP BY currency, kind HAVING sum(legs) <> sum(ledger)",
    ),
    (
        "an order is paid when nothing is due and its debit, if it has one, is closed",
        "SELECT 'order ' || o.number FROM orders o LEFT JOIN payments p USING (number)
         WHERE (o.state IN ('paid', 'partly_refunded', 'refunded')) <> (o.due = 0 AND ifnull(p.state, 'closed') = 'closed')
         OR (o.state = 'collecting') <> (p.state IS NOT NULL AND p.state <> 'closed')",
    ),
    (
        "an order is on one live slip at most, and on it while it is being paid",
        "SELECT 'order ' || o.number FROM orders o WHERE o.state = 'in_payment' AND o.slip IS NULL
         UNION ALL SELECT 'order ' || so.number FROM slip_orders so JOIN slips s USING (slip) JOIN orders o USING (number)
         WHERE s.state IN ('open', 'paying') AND o.slip IS NOT s.slip
         UNION ALL SELECT 'order ' || o.number FROM orders o JOIN slips s USING (slip)
         WHERE s.state NOT IN ('open', 'paying')",
    ),
    (
        "a paid slip was paid once, and what has paid it moved all of it",
        "SELECT 'slip ' || s.slip FROM slips s WHERE (s.state = 'paid') <> (1 = (SELECT count(*) FROM payment_attempts p
           WHERE p.slip = s.slip AND p.state = 'succeeded'))
         UNION ALL SELECT 'payment attempt ' || p.pay FROM payment_attempts p WHERE p.state = 'succeeded'
         AND p.minor + p.stored_value <> (SELECT ifnull(sum(l.minor), 0) FROM legs l WHERE l.pay = p.pay AND l.state = 'succeeded')",
    ),
    (
        "stored value is reserved for open attempts alone",
        "SELECT 'payment attempt ' || p.pay FROM payment_attempts p LEFT JOIN pay_reservations r USING (pay)
         WHERE (ifnull(r.state, '') = 'open') <> (p.stored_value > 0 AND p.state IN ('open', 'closing'))",
    ),
    (
        "every receipt of a channel is applied, refunded or in suspense",
        "SELECT 'payment attempt ' || r.pay FROM channel_receipts r WHERE r.state = 'applied' AND r.minor <>
           (SELECT ifnull(sum(l.minor), 0) FROM legs l WHERE l.pay = r.pay AND l.method = r.method AND l.state = 'succeeded')",
    ),
    (
        "what the statement shows is what a call was approved for, or is in suspense",
        "SELECT e.reference || ': ' || e.minor FROM statement_entries e WHERE e.state = 'explained'
         AND NOT EXISTS (SELECT 1 FROM bank_calls c WHERE c.reference = e.reference AND c.state = 'approved'
           AND (e.minor < 0) = (c.kind IN ('reverse', 'refund')) AND c.approved >= (SELECT abs(sum(x.minor))
             FROM statement_entries x WHERE x.reference = e.reference AND x.state = 'explained'))",
    ),
    (
        "what is in suspense is what was found and has not come to its end",
        "SELECT currency || ': ' || sum(posted) || ' by the ledger, ' || sum(found) || ' found' FROM
           (SELECT currency, balance AS posted, 0 AS found FROM accounts WHERE name IN ('suspense', 'taken_back')
            UNION ALL SELECT currency, 0, minor FROM suspense WHERE state IN ('open', 'refunding')
            UNION ALL SELECT currency, 0, minor FROM channel_receipts WHERE state IN ('suspense', 'refunding'))
         GROUP BY currency HAVING sum(posted) <> sum(found)",
    ),
    (
        "receipt numbers of a store are given once",
        "SELECT store || '/' || receipt FROM transfers WHERE receipt IS NOT NULL GROUP BY store, receipt
         HAVING count(*) > 1",
    ),
];

const AT_QUIESCENCE: &[(&str, &str)] = &[
    ("every call to the bank has a definite answer", "SELECT reference FROM bank_calls WHERE state = 'open'"),
    ("every payment is closed", "SELECT 'payment ' || payment FROM payments WHERE state <> 'closed'"),
    ("every reservation is posted", "SELECT hex(trip) FROM reservations WHERE state = 'open'"),
    (
        "every hold of a trip that is over is resolved",
        "SELECT hex(h.hold) FROM holds h JOIN trips t USING (trip) WHERE t.state <> 'open'
         AND h.state IN ('accepted', 'placed')",
    ),
    (
        "every attempt has a verdict",
        "SELECT hex(a.trip) || '/' || a.attempt FROM attempts a JOIN trips t USING (trip)
         WHERE a.state = 'waiting' OR (a.state = 'check' AND t.state <> 'open')",
    ),
    (
        // What was approved and is not on the statement yet will be.
        "the ledger has of the bank what its statement shows",
        "SELECT currency || ': ' || sum(posted) || ' by the ledger, ' || sum(booked) || ' by the statement' FROM
           (SELECT currency, -balance AS posted, 0 AS booked FROM accounts WHERE name = 'bank'
            UNION ALL SELECT currency, 0, minor FROM statement_entries
            UNION ALL SELECT currency, 0, CASE WHEN kind IN ('reverse', 'refund') THEN -approved ELSE approved END FROM bank_calls c
              WHERE state = 'approved' AND kind IN ('capture', 'debit', 'reverse', 'refund')
              AND NOT EXISTS (SELECT 1 FROM statement_entries e WHERE e.reference = c.reference))
         GROUP BY currency HAVING sum(posted) <> sum(booked)",
    ),
    ("every entry of the statement is explained", "SELECT reference FROM statement_entries WHERE state = 'waiting'"),
    (
        "every payment attempt is over",
        "SELECT 'payment attempt ' || pay FROM payment_attempts WHERE state IN ('open', 'closing')",
    ),
    ("every call to a channel has a definite answer", "SELECT reference FROM channel_calls WHERE state = 'open'"),
    ("no receipt is being given back", "SELECT 'receipt ' || receipt FROM channel_receipts WHERE state = 'refunding'"),
    ("every refund is over", "SELECT 'refund ' || refund FROM refunds WHERE state = 'open'"),
    (
        "no paid order is unreported to its source",
        "SELECT 'order ' || o.number FROM orders o JOIN sources s ON s.source_id = o.source
         WHERE o.state = 'paid' AND s.callback_url IS NOT NULL AND s.callback_gone = 0 AND NOT EXISTS
           (SELECT 1 FROM deliveries d WHERE d.number = o.number AND d.kind = 'order.paid' AND d.state <> 'waiting')",
    ),
    ("no late success is under way", "SELECT reference FROM suspense WHERE state = 'refunding'"),
];

/// What must hold after every committed transaction.
///
/// # Errors
/// [`StoreError`] when the database cannot be read.
pub fn always(tx: &Tx<'_>) -> Result<Violations, StoreError> {
    find(tx, ALWAYS)
}

/// What must hold as well when all messages were delivered and no job is due.
///
/// # Errors
/// [`StoreError`] when the database cannot be read.
pub fn at_quiescence(tx: &Tx<'_>) -> Result<Violations, StoreError> {
    let mut all = always(tx)?;
    all.extend(find(tx, AT_QUIESCENCE)?);
    Ok(all)
}

/// Every reference under which the bank was ever to be asked for something: it must know no others of this merchant.
///
/// # Errors
/// [`StoreError`] when the database cannot be read.
pub fn bank_references(tx: &Tx<'_>) -> Result<Vec<String>, StoreError> {
    tx.all("SELECT reference FROM bank_calls ORDER BY reference", [], |r| r.get(0))
}

/// The bank's book as this side has it once the statement has been read: reference and amount of everything that moved,
/// negative for what went back. To be compared with the bank's own.
///
/// # Errors
/// [`StoreError`] when the database cannot be read.
pub fn bank_book(tx: &Tx<'_>) -> Result<Vec<(String, i64)>, StoreError> {
    let sql = "SELECT reference, CASE WHEN kind IN ('reverse', 'refund') THEN -approved ELSE approved END
               FROM bank_calls WHERE state = 'approved' AND approved > 0
               AND kind IN ('capture', 'debit', 'reverse', 'refund')
               AND reference NOT IN (SELECT reference FROM statement_entries WHERE state = 'suspense')
               UNION ALL SELECT reference, minor FROM statement_entries WHERE state = 'suspense' ORDER BY 1";
    tx.all(sql, [], |r| Ok((r.get(0)?, r.get(1)?)))
}

/// The queries, for tests that look at other statements.
#[cfg(test)]
pub(crate) fn queries() -> impl Iterator<Item = &'static str> {
    ALWAYS.iter().chain(AT_QUIESCENCE).map(|(_, sql)| *sql)
}

fn find(tx: &Tx<'_>, queries: &[(&str, &str)]) -> Result<Violations, StoreError> {
    let mut violations = Vec::new();
    for (rule, sql) in queries {
        let rows: Vec<Option<String>> = tx.all(sql, [], |r| r.get(0))?;
        violations.extend(rows.into_iter().map(|row| format!("{rule}: {}", row.unwrap_or_default())));
    }
    Ok(violations)
}
