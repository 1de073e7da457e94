//! Opening, migrations, group commit.

use super::*;
use crate::failure::{Failure, refuse};
use crate::testing::World;
use rusqlite::Connection;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;
use tempfile::TempDir;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{MerchantId, Timestamp};

fn identity() -> Identity {
    Identity { merchant_id: MerchantId::parse("m").unwrap(), name: "Shop".into(), sim: false }
}

fn database() -> (TempDir, std::path::PathBuf, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("merchant.db");
    let conn = open(&path, &identity()).unwrap();
    (folder, path, conn)
}

fn note(tx: &Tx<'_>, subject: &str) -> Result<(), Failure> {
    Ok(stores::audit(tx, Timestamp::from_millis(1), "test", "note", subject)?)
}

fn notes(path: &Path) -> Vec<String> {
    let conn = Connection::open(path).unwrap();
    let mut statement = conn.prepare("SELECT subject FROM audit ORDER BY entry").unwrap();
    statement.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn every_connection_syncs_fully() {
    let (_folder, path, conn) = database();
    let synchronous = |conn: &Connection| conn.query_row("PRAGMA synchronous", [], |r| r.get::<_, i64>(0)).unwrap();
    assert_eq!(synchronous(&conn), 2);
    let journal: String = conn.query_row("PRAGMA journal_mode", [], |r| r.get(0)).unwrap();
    assert_eq!(journal, "wal");
    let readers = Readers::new(path);
    assert_eq!(readers.read(|tx| Ok(synchronous(tx.conn()))).unwrap(), 2);
    let refused = readers.read(|tx| note(tx, "no")).unwrap_err();
    assert!(matches!(refused, Failure::Fault(_)), "readers cannot write");
}

#[test]
fn a_statement_is_compiled_once_whatever_is_bound_to_it() {
    let (_folder, path, conn) = database();
    let compiled_again = |conn: &Connection| {
        let mut statement =
            conn.prepare("SELECT trip FROM trips WHERE state = 'open' ORDER BY last_sign LIMIT ?1").unwrap();
        for limit in 1..4 {
            assert!(!statement.exists([limit]).unwrap());
        }
        statement.get_status(rusqlite::StatementStatus::RePrepare)
    };
    assert_eq!(compiled_again(&conn), 0);
    assert_eq!(Readers::new(path).read(|tx| Ok(compiled_again(tx.conn()))).unwrap(), 0);
}

#[test]
fn a_database_is_opened_only_by_whom_it_belongs_to() {
    let (folder, path, conn) = database();
    drop(conn);
    drop(open(&path, &identity()).unwrap());
    let sim = Identity { sim: true, ..identity() };
    assert!(matches!(open(&path, &sim), Err(StoreError::WrongMode(_))));
    let other = Identity { merchant_id: MerchantId::parse("x").unwrap(), ..identity() };
    assert!(matches!(open(&path, &other), Err(StoreError::OtherMerchant { .. })));
    let marked = folder.path().join("sim.db");
    drop(open(&marked, &sim).unwrap());
    assert!(matches!(open(&marked, &identity()), Err(StoreError::WrongMode(_))));
}

#[test]
fn foreign_and_newer_files_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.db");
    std::fs::write(&text, "this is no database, but it is long enough to be read as one ".repeat(20)).unwrap();
    assert!(matches!(open(&text, &identity()), Err(StoreError::Foreign(_))));
    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let before = std::fs::read(&foreign).unwrap();
    assert!(matches!(open(&foreign, &identity()), Err(StoreError::Foreign(_))));
    assert_eq!(std::fs::read(&foreign).unwrap(), before);
    let (_folder, path, conn) = database();
    conn.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(conn);
    assert!(matches!(open(&path, &identity()), Err(StoreError::TooNew { found: 99, .. })));
}

#[test]
fn the_ledger_is_append_only() {
    let mut w = World::new();
    w.top_up(500);
    for sql in [
        "UPDATE postings SET minor = 1",
        "DELETE FROM postings",
        "UPDATE transfers SET kind = 'x'",
        "DELETE FROM transfers",
    ] {
        let refused = w.conn.execute_batch(sql).unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{refused}");
    }
    let overdraw = "UPDATE accounts SET reserved = balance + 1 WHERE name LIKE 'sv:%'";
    assert!(w.conn.execute_batch(overdraw).is_err(), "no reservation above the balance");
}

#[test]
fn invariants_notice_what_is_wrong() {
    let mut w = World::new();
    w.top_up(500);
    w.device();
    let damage = |sql: &str, rule: &str| {
        w.conn.execute_batch(&format!("BEGIN; PRAGMA ignore_check_constraints = ON; {sql}")).unwrap();
        let violations = invariants::always(&Tx::new(&w.conn)).unwrap();
        w.conn.execute_batch("ROLLBACK; PRAGMA ignore_check_constraints = OFF").unwrap();
        assert!(violations.iter().any(|v| v.contains(rule)), "{sql}: {violations:?}");
    };
    damage("INSERT INTO postings VALUES (1, 3, 1, 5)", "sum to zero");
    damage("UPDATE accounts SET balance = balance + 1", "sums of their postings");
    damage("UPDATE accounts SET reserved = 5", "open reservations");
    damage("UPDATE event_counters SET last_seq = last_seq + 1", "no gaps");
    damage("DELETE FROM event_counters", "no gaps");
    damage("UPDATE accounts SET reserved = 501 WHERE floor = 0", "below its limit");
    damage(
        "INSERT INTO legs (number, payment, n, method, currency, minor, reference, state, business_date)
         VALUES (1, 1, 1, 'bank', 'EUR', 5, 'x', 'succeeded', '2026-01-31')",
        "totals equal the ledger",
    );
}

#[tokio::test]
async fn refusals_keep_their_records_faults_and_panics_keep_nothing() {
    let (_folder, path, conn) = database();
    let (writer, thread) = Writer::start(conn, |_| ()).unwrap();
    writer.submit(|tx| note(tx, "done")).await.unwrap();
    let refused = writer
        .submit(|tx| {
            note(tx, "refused")?;
            Err::<(), _>(refuse(ProblemCode::Forbidden, "no"))
        })
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ProblemCode::Forbidden);
    let fault = writer
        .submit(|tx| {
            note(tx, "fault")?;
            Err::<(), _>(Failure::Fault(StoreError::Defect("broken".into())))
        })
        .await
        .unwrap_err();
    assert_eq!(fault.code(), ProblemCode::Internal);
    let panic = writer
        .submit(|tx| {
            note(tx, "panic")?;
            if note(tx, "panic").is_ok() {
                panic!("on purpose");
            }
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(panic.code(), ProblemCode::Internal);
    writer.submit(|tx| note(tx, "after")).await.unwrap();
    assert_eq!(notes(&path), ["done", "refused", "after"]);
    drop(writer);
    thread.join().unwrap();
}

#[tokio::test]
async fn requests_that_wait_share_a_commit_and_each_has_its_own_savepoint() {
    let (_folder, path, conn) = database();
    let (writer, thread) = Writer::start(conn, |_| ()).unwrap();
    let (release, wait) = mpsc::channel::<()>();
    let before = frames(&path);
    let first = writer.submit(move |_| {
        wait.recv_timeout(Duration::from_secs(60)).ok();
        Ok(())
    });
    let many = (0..20).map(|n| {
        writer.submit(move |tx| {
            note(tx, &n.to_string())?;
            if n % 2 == 0 { Ok(()) } else { Err(Failure::Fault(StoreError::Defect("odd".into()))) }
        })
    });
    let many: Vec<_> = many.map(Box::pin).collect();
    let all = async {
        let mut results = Vec::new();
        for one in many {
            results.push(one.await.is_ok());
        }
        results
    };
    let (_, results, ()) = tokio::join!(first, all, async { release.send(()).unwrap() });
    assert_eq!(results.iter().filter(|ok| **ok).count(), 10);
    assert_eq!(notes(&path), (0..20).filter(|n| n % 2 == 0).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(frames(&path) > before);
    drop(writer);
    thread.join().unwrap();
}

fn frames(path: &Path) -> u64 {
    std::fs::metadata(path.with_extension("db-wal")).map_or(0, |m| m.len())
}

#[tokio::test]
async fn a_full_disk_answers_unavailable_and_keeps_nothing_of_the_request() {
    let (_folder, path, conn) = database();
    let pages: i64 = conn.query_row("PRAGMA page_count", [], |r| r.get(0)).unwrap();
    conn.execute_batch(&format!("PRAGMA max_page_count = {}", pages + 2)).unwrap();
    let (writer, thread) = Writer::start(conn, |_| ()).unwrap();
    writer.submit(|tx| note(tx, "fits")).await.unwrap();
    let big = "x".repeat(100_000);
    let failed = writer.submit(move |tx| note(tx, &big)).await.unwrap_err();
    assert_eq!(failed.code(), ProblemCode::Unavailable, "{failed}");
    writer.submit(|tx| note(tx, "fits too")).await.unwrap();
    assert_eq!(notes(&path), ["fits", "fits too"]);
    drop(writer);
    thread.join().unwrap();
}

#[tokio::test]
async fn a_full_queue_is_said_at_once() {
    let (_folder, _path, conn) = database();
    let (writer, thread) = Writer::start(conn, |_| ()).unwrap();
    let (release, wait) = mpsc::channel::<()>();
    let (started, has_started) = mpsc::channel::<()>();
    let blocked = writer.clone();
    let block = std::thread::spawn(move || {
        blocked.submit_blocking(move |_| {
            started.send(()).ok();
            wait.recv_timeout(Duration::from_secs(60)).ok();
            Ok(())
        })
    });
    has_started.recv_timeout(Duration::from_secs(60)).unwrap();
    let mut busy = false;
    for _ in 0..QUEUE + BATCH + 2 {
        let queued = writer.submit(|_| Ok(()));
        let poll = tokio::time::timeout(Duration::ZERO, queued).await;
        busy |= matches!(poll, Ok(Err(Failure::Fault(StoreError::Busy))));
    }
    assert!(busy);
    release.send(()).unwrap();
    block.join().unwrap().unwrap();
    drop(writer);
    thread.join().unwrap();
}

#[tokio::test]
async fn devices_with_new_events_are_woken_after_the_commit() {
    let mut w = World::new();
    let d = w.device();
    let World { conn, core, now, .. } = w;
    let (send, woken) = mpsc::channel();
    let (writer, thread) = Writer::start(conn, move |devices| drop(send.send(devices.to_vec()))).unwrap();
    let ctx = core.ctx(now, [1; 32]);
    let command = crate::domain::Command::Admin(crate::domain::AdminCommand::RevokeDevice(d.id));
    let caller = crate::domain::Caller::Operator;
    writer.submit(move |tx| crate::domain::handle(tx, &ctx, &caller, command)).await.unwrap();
    assert_eq!(woken.recv_timeout(Duration::from_secs(60)).unwrap(), [d.id]);
    drop(writer);
    thread.join().unwrap();
}

#[test]
fn a_database_of_the_first_version_keeps_its_orders_and_legs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("schema/0001.sql")).unwrap();
    old.execute_batch(
        "INSERT INTO merchants VALUES (1, 'm', 'Shop', 0);
         INSERT INTO users (user, merchant, sub, state, created_at) VALUES (1, 1, 'u_1', 'active', 0);
         INSERT INTO user_addresses VALUES (1, 'mailto:ann@example.org'), (1, 'tel:+49301234567'), (1, 'somewhere');
         INSERT INTO orders VALUES (7, 1, 'demo-1', 'payable', 'purchase', 'Demo store', 1, '', 'EUR', 900, 300, 'case-1', 5, 6, NULL);
         INSERT INTO order_fees VALUES (7, 1, 'goods', 900);
         INSERT INTO case_names VALUES ('case-1', 'Kitchen');
         INSERT INTO payments VALUES (1, 1, 7, x'018bcfe568007707870707070707070f', 1, 'closed', 'EUR', 900, 600, NULL, 0, 'declined', 1, 5, 6);
         INSERT INTO legs VALUES (1, 1, 'stored_value', 600, 'a.s', 'succeeded');
         INSERT INTO legs VALUES (1, 2, 'bank', 300, 'a.d', 'failed');
         INSERT INTO transfers VALUES (1, 1, NULL, 'debit', 'a.debit', x'018bcfe568007707870707070707070f', '2026-01-31', 1, 6);",
    )
    .unwrap();
    old.execute_batch(&format!("PRAGMA application_id = {}; PRAGMA user_version = 1", 0x5750_4d54)).unwrap();
    drop(old);
    let new = open(&path, &identity()).unwrap();
    let text = |sql: &str| new.query_row(sql, [], |r| r.get::<_, String>(0)).unwrap();
    assert_eq!(
        text(
            "SELECT number || ' ' || payee || ' ' || state || ' ' || total || ' ' || due || ' ' || version FROM orders"
        ),
        "7 Demo store payable 900 300 1"
    );
    assert_eq!(text("SELECT case_name FROM order_texts WHERE number = 7"), "Kitchen");
    assert_eq!(
        text("SELECT name || ' ' || quantity || ' ' || unit_minor || ' ' || minor FROM order_fees"),
        "goods 1 900 900"
    );
    assert_eq!(
        text(
            "SELECT group_concat(number || ' ' || reference || ' ' || ifnull(business_date, '-'), ', ') FROM (SELECT * FROM legs ORDER BY n)"
        ),
        "7 a.s 2026-01-31, 7 a.d -"
    );
    assert_eq!(
        text("SELECT group_concat(medium || ' ' || place, ', ') FROM (SELECT * FROM user_addresses ORDER BY address)"),
        "email ann@example.org, sms +49301234567"
    );
    // Numbers go on above those that were given.
    new.execute_batch(
        "INSERT INTO orders (merchant, source, state, service_name, payee, payer, currency, total, due, case_number,
        arose_at, deadline, made_at, changed_at) VALUES (1, 's', 'draft', 'x', 'y', 1, 'EUR', 1, 1, 'c', 0, 0, 0, 0)",
    )
    .unwrap();
    assert_eq!(new.last_insert_rowid(), 8);
}

#[test]
fn a_database_of_the_third_version_keeps_its_visits_and_events() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("schema/0001.sql")).unwrap();
    old.execute_batch(include_str!("schema/0002.sql")).unwrap();
    old.execute_batch(include_str!("schema/0003.sql")).unwrap();
    old.execute_batch(
        "INSERT INTO merchants VALUES (1, 'm', 'Shop', 0);
         INSERT INTO users (user, merchant, sub, state, created_at) VALUES (1, 1, 'u_1', 'active', 0);
         INSERT INTO devices (device, merchant, device_id, user, state, request_kid, request_key, consent_kid, consent_key, enrolled_at, last_seq,
           body_sha256, granted) VALUES (4, 1, x'04', 1, 'active', 'r', '{}', 'c', '{}', 0, 2, x'00', '');
         INSERT INTO events VALUES (4, 1, 'first'), (4, 2, 'second');
         INSERT INTO trips (trip, merchant, store, user, device, state, first_seen, last_sign, attempt, accepted)
           VALUES (x'01', 1, 1, 1, 4, 'accepted', 5, 6, 2, 2), (x'02', 1, 1, 1, 4, 'open', 7, 8, 1, NULL);
         INSERT INTO attempts (trip, attempt, body_sha256, jws, state, recorded_at, last_seq)
           VALUES (x'01', 1, x'00', 'a', 'rejected', 5, 0), (x'01', 2, x'00', 'b', 'accepted', 6, 1), (x'02', 1, x'00', 'c', 'waiting', 7, 2);
         INSERT INTO attempt_lines VALUES (x'01', 2, x'aa'), (x'02', 1, x'bb');
         INSERT INTO legs (leg, number, payment, n, method, currency, minor, reference, state, business_date, posted_at)
           VALUES (9, 7, 1, 1, 'stored_value', 'EUR', 600, 'a.s', 'succeeded', '2026-01-31', 6);",
    )
    .unwrap();
    old.execute_batch(&format!("PRAGMA application_id = {}; PRAGMA user_version = 3", 0x5750_4d54)).unwrap();
    drop(old);
    let new = open(&path, &identity()).unwrap();
    let text = |sql: &str| new.query_row(sql, [], |r| r.get::<_, String>(0)).unwrap();
    assert_eq!(
        text("SELECT group_concat(seq || ' ' || jws) FROM (SELECT * FROM events ORDER BY event)"),
        "1 first,2 second"
    );
    assert_eq!(text("SELECT device || ' ' || last_seq FROM event_counters"), "4 2");
    assert_eq!(
        text(
            "SELECT group_concat(hex(trip) || ' ' || state || ' ' || attempt || ' ' || ifnull(accepted, '-')) FROM (SELECT * FROM trips ORDER BY visit)"
        ),
        "01 accepted 2 2,02 open 1 -"
    );
    assert_eq!(
        text(
            "SELECT group_concat(hex(trip) || attempt || jws || ifnull(hex(lines), '')) FROM
               (SELECT * FROM attempts LEFT JOIN attempt_lines USING (entry) ORDER BY entry)"
        ),
        "011a,012bAA,021cBB"
    );
    assert_eq!(text("SELECT leg || ' ' || reference || ' ' || business_date FROM legs"), "9 a.s 2026-01-31");
    let twice = "INSERT INTO attempts (trip, attempt, body_sha256, jws, state, recorded_at, last_seq)
                 VALUES (x'01', 3, x'00', 'd', 'accepted', 7, 2)";
    assert!(new.execute_batch(twice).is_err(), "one attempt of a trip is accepted at most");
}

#[test]
fn a_database_of_the_fifth_version_keeps_its_messages_and_receipts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.db");
    let old = Connection::open(&path).unwrap();
    for schema in [
        include_str!("schema/0001.sql"),
        include_str!("schema/0002.sql"),
        include_str!("schema/0003.sql"),
        include_str!("schema/0004.sql"),
        include_str!("schema/0005.sql"),
    ] {
        old.execute_batch(schema).unwrap();
    }
    old.execute_batch(
        "INSERT INTO merchants VALUES (1, 'm', 'Shop', 0);
         INSERT INTO deliveries (delivery, merchant, message_id, source, kind, body, state, due, lease, made_at)
           VALUES (3, 1, 'msg_1', 2, 'order.paid', x'7b7d', 'waiting', 9, 1, 5);
         INSERT INTO channel_receipts VALUES (4, 1, 6, 'test', 'T1', 'EUR', 500, 'suspense', 7);",
    )
    .unwrap();
    old.execute_batch(&format!("PRAGMA application_id = {}; PRAGMA user_version = 5", 0x5750_4d54)).unwrap();
    drop(old);
    let new = open(&path, &identity()).unwrap();
    let text = |sql: &str| new.query_row(sql, [], |r| r.get::<_, String>(0)).unwrap();
    // What was on its way then is tried again when its lease is over, as before.
    assert_eq!(text("SELECT message_id || ' ' || due || ' ' || lease || ' ' || leased FROM deliveries"), "msg_1 9 1 0");
    assert_eq!(
        text("SELECT receipt || ' ' || pay || ' ' || trade || ' ' || minor || ' ' || state FROM channel_receipts"),
        "4 6 T1 500 suspense"
    );
    new.execute_batch("UPDATE channel_receipts SET state = 'settled'").unwrap();
    assert!(new.execute_batch("UPDATE channel_receipts SET state = 'lost'").is_err());
}
