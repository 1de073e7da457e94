//! What each table is for, how long it is kept, how it is erased; export and erasure.

use super::{StoreError, Tx};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Map, Value};
use walkpay::protocol::crypto::base64url;

/// One row of the privacy table in ARCHITECTURE.md.
#[derive(Clone, Copy, Debug)]
pub struct TablePrivacy {
    /// The table.
    pub table: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// How long a row is kept.
    pub retention: &'static str,
    /// What `user erase` does to it.
    pub erasure: &'static str,
    /// The rows of user `?1`, for `user export`.
    export: Option<&'static str>,
}

macro_rules! exported {
    () => {
        None
    };
    ($sql:literal) => {
        Some($sql)
    };
}

macro_rules! tables {
    ($($table:literal: $purpose:literal, $retention:literal, $erasure:literal $(, $export:literal)?;)*) => {
        /// All tables, in the order of the schema.
        pub const TABLES: &[TablePrivacy] = &[$(TablePrivacy {
            table: $table,
            purpose: $purpose,
            retention: $retention,
            erasure: $erasure,
            export: exported!($($export)?),
        },)*];
    };
}

tables! {
    "merchants": "whose database it is", "for ever", "nothing personal";
    "stores": "shops", "for ever", "nothing personal";
    "users": "opaque identifier and state", "as long as the books (10 years)", "stays, marked erased",
        "SELECT sub, state, created_at FROM users WHERE user = ?1";
    "user_names": "signing in, being called by name", "until erasure", "deleted",
        "SELECT user_name, display_name FROM user_names WHERE user = ?1";
    "user_addresses": "being told what happens", "until erasure", "deleted",
        "SELECT medium, place, unsubscribed_at FROM user_addresses WHERE user = ?1";
    "bank_bindings": "the bank's token and a masked label", "until erasure", "deleted once no debit is open",
        "SELECT token, label FROM bank_bindings WHERE user = ?1";
    "user_days": "daily limits", "until erasure", "deleted",
        "SELECT day, currency, purchases, minor FROM user_days WHERE user = ?1";
    "devices": "keys and states of devices; until erasure the answer to its enrolment", "as long as the books", "stays, revoked, under opaque ids",
        "SELECT device_id, state, request_kid, consent_kid, enrolled_at, granted FROM devices WHERE user = ?1";
    "device_labels": "telling devices apart", "until erasure", "deleted",
        "SELECT l.label FROM device_labels l JOIN devices d USING (device) WHERE d.user = ?1";
    "retired_keys": "verifying documents signed before a rotation", "as long as the books", "stays: evidence",
        "SELECT k.kid, k.until_seq FROM retired_keys k JOIN devices d USING (device) WHERE d.user = ?1";
    "device_documents": "noticing copied folders", "as long as the device", "stays: digests",
        "SELECT x.device_seq, x.sha256 FROM device_documents x JOIN devices d USING (device) WHERE d.user = ?1";
    "rotations": "answering a repeated rotation", "as long as the device", "stays: digests",
        "SELECT x.recorded_at FROM rotations x JOIN devices d USING (device) WHERE d.user = ?1";
    "enrolment_codes": "enrolling devices; hashed", "until erasure", "deleted",
        "SELECT expires_at, tries FROM enrolment_codes WHERE user = ?1";
    "enrolment_nonces": "fresh proofs", "minutes", "nothing personal";
    "events": "what devices were told, without goods", "as long as the device", "stays: opaque ids",
        "SELECT e.seq, e.jws FROM events e JOIN devices d USING (device) WHERE d.user = ?1";
    "event_counters": "numbering what devices are told", "as long as the device", "stays: a number under opaque ids",
        "SELECT c.last_seq FROM event_counters c JOIN devices d USING (device) WHERE d.user = ?1";
    "catalogue_revisions": "catalogue", "30 days after the last use", "nothing personal";
    "catalogue_rows": "catalogue", "30 days after the last use", "nothing personal";
    "trips": "visits under opaque ids", "as long as the books", "stays: evidence",
        "SELECT trip, store, state, first_seen, last_sign, accepted FROM trips WHERE user = ?1";
    "holds": "signed hold requests", "as long as the books", "stays: evidence under opaque ids", "trips:holds";
    "attempts": "signed basket summaries and verdicts", "as long as the books", "stays: evidence under opaque ids",
        "trips:attempts";
    "attempt_lines": "the goods", "until erasure", "deleted; their digest stays in the signed summary",
        "SELECT a.trip, a.attempt, l.lines FROM attempt_lines l JOIN attempts a USING (entry) JOIN trips t USING (trip) WHERE t.user = ?1";
    "decisions": "what staff decided", "as long as the books", "stays under opaque ids", "trips:decisions";
    "exit_passes": "letting shoppers out", "as long as the books", "stays under opaque ids", "trips:exit_passes";
    "spent_passes": "letting them out once", "as long as the books", "stays under opaque ids";
    "revocations": "passes taken back", "as long as the books", "stays under opaque ids";
    "accounts": "the ledger", "10 years", "stays under opaque ids",
        "SELECT a.name, a.currency, a.balance, a.reserved FROM accounts a JOIN users u USING (account) WHERE u.user = ?1";
    "transfers": "the ledger", "10 years", "stays under opaque ids",
        "SELECT t.* FROM transfers t WHERE t.trip IN (SELECT trip FROM trips WHERE user = ?1)
         OR t.transfer IN (SELECT p.transfer FROM postings p JOIN users u ON u.account = p.account WHERE u.user = ?1)
         OR t.reference IN (SELECT p.channel_number || '.' || x.number FROM payment_attempts p JOIN slips s USING (slip)
           JOIN slip_orders x USING (slip) WHERE s.payer = ?1)
         OR t.reference IN (SELECT l.reference || '.back' FROM legs l JOIN orders o USING (number) WHERE o.payer = ?1)";
    "postings": "the ledger", "10 years", "stays under opaque ids",
        "SELECT p.* FROM postings p JOIN users u ON u.account = p.account WHERE u.user = ?1";
    "reservations": "stored value on its way", "10 years", "stays under opaque ids", "trips:reservations";
    "orders": "what was bought and paid, without goods", "10 years", "stays under opaque ids",
        "SELECT * FROM orders WHERE payer = ?1";
    "order_fees": "what an order is made of", "10 years", "stays under opaque ids",
        "SELECT f.* FROM order_fees f JOIN orders o USING (number) WHERE o.payer = ?1";
    "payments": "debits", "10 years", "stays under opaque ids", "trips:payments";
    "legs": "what moved", "10 years", "stays under opaque ids",
        "SELECT l.* FROM legs l JOIN orders o USING (number) WHERE o.payer = ?1";
    "bank_calls": "what the bank was asked", "10 years", "stays under opaque ids; account tokens go when settled",
        "trips:bank_calls:subject";
    "statement_cursor": "reading the bank's statement", "for ever", "nothing personal";
    "statement_entries": "the bank's statement", "10 years", "stays under opaque ids", "trips:statement_entries:subject";
    "suspense": "money that nothing explains", "10 years", "stays under opaque ids", "trips:suspense:subject";
    "idempotency": "answering repeated requests", "24 hours; of refunds as long as the books", "deleted",
        "SELECT i.route, i.key, i.made_at, i.answer FROM idempotency i JOIN users u ON i.caller = 'payer:' || u.sub WHERE u.user = ?1";
    "gate_keys": "API keys of gates; hashed", "until replaced", "nothing personal";
    "audit": "who did what", "10 years", "stays under opaque ids",
        "SELECT a.at, a.actor, a.action FROM audit a JOIN users u ON u.sub IN (a.subject, a.actor) WHERE u.user = ?1";
    "sources": "service systems", "as long as the books", "nothing personal";
    "source_keys": "API keys of service systems; hashed", "as long as the books", "nothing personal";
    "source_secrets": "signing webhooks", "until rotated", "nothing personal";
    "order_texts": "case name, paying unit, remarks", "until erasure", "deleted",
        "SELECT x.* FROM order_texts x JOIN orders o USING (number) WHERE o.payer = ?1";
    "order_keys": "giving a repeated hand-in its number", "as long as the books", "stays: digests";
    "order_versions": "who changed what of an order", "10 years", "stays under opaque ids",
        "SELECT v.* FROM order_versions v JOIN orders o USING (number) WHERE o.payer = ?1";
    "order_version_texts": "what texts were changed to", "until erasure", "deleted",
        "SELECT v.* FROM order_version_texts v JOIN orders o USING (number) WHERE o.payer = ?1";
    "slips": "what was to be paid together", "10 years", "stays under opaque ids",
        "SELECT * FROM slips WHERE payer = ?1";
    "slip_orders": "what is on a slip", "10 years", "stays under opaque ids",
        "SELECT x.* FROM slip_orders x JOIN slips s USING (slip) WHERE s.payer = ?1";
    "slip_texts": "invoice data and remarks", "until erasure", "deleted",
        "SELECT x.* FROM slip_texts x JOIN slips s USING (slip) WHERE s.payer = ?1";
    "payment_attempts": "tries to pay slips, with what was signed", "10 years", "stays: evidence under opaque ids",
        "SELECT x.* FROM payment_attempts x JOIN slips s USING (slip) WHERE s.payer = ?1";
    "pay_reservations": "stored value on its way", "10 years", "stays under opaque ids",
        "SELECT x.* FROM pay_reservations x JOIN payment_attempts p USING (pay) JOIN slips s USING (slip) WHERE s.payer = ?1";
    "channel_calls": "what a channel was asked", "10 years", "stays under opaque ids",
        "SELECT x.* FROM channel_calls x JOIN payment_attempts p USING (pay) JOIN slips s USING (slip) WHERE s.payer = ?1";
    "channel_receipts": "what a channel has collected", "10 years", "stays under opaque ids",
        "SELECT x.* FROM channel_receipts x JOIN payment_attempts p USING (pay) JOIN slips s USING (slip) WHERE s.payer = ?1";
    "refunds": "what was given back", "10 years", "stays under opaque ids",
        "SELECT x.* FROM refunds x JOIN orders o USING (number) WHERE o.payer = ?1";
    "deliveries": "what service systems were told", "10 years", "stays under opaque ids",
        "SELECT d.* FROM deliveries d JOIN orders o USING (number) WHERE o.payer = ?1";
    "user_contact": "language, time zone and quiet hours", "until erasure", "deleted",
        "SELECT language, time_zone, quiet_from, quiet_until FROM user_contact WHERE user = ?1";
    "notices": "what payers were told", "10 years", "stays under opaque ids",
        "SELECT notice, kind, number, made_at FROM notices WHERE user = ?1";
    "notice_deliveries": "whether messages to payers arrived", "10 years", "stays under opaque ids",
        "SELECT d.message_id, d.medium, d.state, d.tries, d.made_at, d.ended_at, d.last_code, d.last_word FROM notice_deliveries d JOIN notices n USING (notice) WHERE n.user = ?1";
    "payer_names": "what channels call the payer by", "until erasure", "deleted",
        "SELECT method, name FROM payer_names WHERE user = ?1";
    "pay_pages": "links to payers' pages; hashed", "30 days", "deleted",
        "SELECT number, made_at, expires_at FROM pay_pages WHERE user = ?1";
}

/// Everything that is kept about a user: table → rows.
pub fn export(tx: &Tx<'_>, user: i64) -> Result<Map<String, Value>, StoreError> {
    let mut all = Map::new();
    for table in TABLES {
        let Some(sql) = table.export else { continue };
        let sql = match sql.strip_prefix("trips:") {
            Some(name) => of_trips(name),
            None => sql.to_owned(),
        };
        let mut statement = tx.conn().prepare(&sql)?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let rows = statement.query_map([user], |row| {
            let mut object = Map::new();
            for (n, name) in names.iter().enumerate() {
                object.insert(name.clone(), json(row.get_ref(n)?));
            }
            Ok(Value::Object(object))
        })?;
        all.insert(table.table.to_owned(), Value::Array(rows.collect::<Result<_, _>>()?));
    }
    Ok(all)
}

/// The rows of a table that names trips in `trip`, or trips and payments of slips in `subject`.
fn of_trips(name: &str) -> String {
    match name.strip_suffix(":subject") {
        None => format!("SELECT x.* FROM {name} x JOIN trips t ON t.trip = x.trip WHERE t.user = ?1"),
        Some(name) => format!(
            "SELECT x.* FROM {name} x WHERE x.subject IN (SELECT trip FROM trips WHERE user = ?1)
             OR x.subject IN (SELECT p.payment_id FROM payment_attempts p JOIN slips s USING (slip) WHERE s.payer = ?1)"
        ),
    }
}

fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => n.into(),
        ValueRef::Real(x) => x.to_string().into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if bytes.len() > 32 => text.into(),
            _ => base64url(bytes).into(),
        },
    }
}

/// Deletes what tells of the person. The bank account goes separately, once no debit needs it. What the file has had of it is gone after
/// [`scrub`].
pub fn erase(tx: &Tx<'_>, user: i64) -> Result<(), StoreError> {
    // What is deleted is overwritten in the file, not only left to be used again.
    tx.conn().execute_batch("PRAGMA secure_delete = ON")?;
    for sql in [
        "DELETE FROM user_names WHERE user = ?1",
        "DELETE FROM user_addresses WHERE user = ?1",
        "DELETE FROM user_contact WHERE user = ?1",
        "DELETE FROM payer_names WHERE user = ?1",
        "DELETE FROM pay_pages WHERE user = ?1",
        "DELETE FROM user_days WHERE user = ?1",
        "DELETE FROM enrolment_codes WHERE user = ?1",
        "DELETE FROM device_labels WHERE device IN (SELECT device FROM devices WHERE user = ?1)",
        "DELETE FROM attempt_lines WHERE entry IN (SELECT a.entry FROM trips t JOIN attempts a USING (trip) WHERE t.user = ?1)",
        "DELETE FROM order_texts WHERE number IN (SELECT number FROM orders WHERE payer = ?1)",
        "DELETE FROM order_version_texts WHERE number IN (SELECT number FROM orders WHERE payer = ?1)",
        "DELETE FROM slip_texts WHERE slip IN (SELECT slip FROM slips WHERE payer = ?1)",
        "DELETE FROM idempotency WHERE caller = (SELECT 'payer:' || sub FROM users WHERE user = ?1)",
        "UPDATE devices SET granted = '' WHERE user = ?1",
    ] {
        tx.execute(sql, [user])?;
    }
    tx.conn().execute_batch("PRAGMA secure_delete = FAST")?;
    Ok(())
}

/// Empties the write-ahead log, which still has pages as they were; `false` while somebody reads an older snapshot, or writes.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn scrub(conn: &Connection) -> Result<bool, StoreError> {
    Ok(conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get::<_, i64>(0))? == 0)
}
