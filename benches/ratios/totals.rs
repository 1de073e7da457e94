//! Totals of a large book, asked over HTTP of a merchant in a process of its own; and what an export of all of it needs.

use crate::effort::Effort;
use crate::goods::Goods;
use crate::load::{request, send};
use crate::measure::{Found, Goal, Measure, Outcome, Pair, in_turns, mebibytes};
use crate::process::Process;
use crate::shop::scratch;
use rusqlite::{Connection, OpenFlags, Row};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The row.
pub const MEASURES: &[Measure] = &[Measure {
    name: "totals",
    ours: "totals of ten orders per article over loopback HTTP, the worst of five questions",
    reference: "the same sums by SQL written out, on the same indexes, in this process",
    goal: Goal::AtMost(1.3),
    run,
}];

/// A question, and the least SQL that answers it.
const QUESTIONS: [(&str, &str, &str); 5] = [
    (
        "by method",
        "group_by=method",
        "SELECT method, currency, sum(CASE WHEN refund IS NULL THEN minor ELSE 0 END), sum(CASE WHEN refund IS NULL THEN 0 ELSE minor END),
           count(*), count(refund) FROM legs WHERE state = 'succeeded' AND business_date IS NOT NULL GROUP BY method, currency",
    ),
    (
        "by source and method",
        "group_by=source,method",
        "SELECT o.source, l.method, l.currency, sum(CASE WHEN l.refund IS NULL THEN l.minor ELSE 0 END),
           sum(CASE WHEN l.refund IS NULL THEN 0 ELSE l.minor END), count(*), count(l.refund)
         FROM legs l JOIN orders o ON o.number = l.number WHERE l.state = 'succeeded' AND l.business_date IS NOT NULL
         GROUP BY o.source, l.method, l.currency",
    ),
    (
        "by business day",
        "group_by=business_day",
        "SELECT business_date, currency, sum(CASE WHEN refund IS NULL THEN minor ELSE 0 END),
           sum(CASE WHEN refund IS NULL THEN 0 ELSE minor END), count(*), count(refund)
         FROM legs WHERE state = 'succeeded' AND business_date IS NOT NULL GROUP BY business_date, currency",
    ),
    (
        "of the first hundred cases",
        "group_by=case",
        "SELECT o.case_number, l.currency, sum(CASE WHEN l.refund IS NULL THEN l.minor ELSE 0 END),
           sum(CASE WHEN l.refund IS NULL THEN 0 ELSE l.minor END), count(*), count(l.refund)
         FROM legs l JOIN orders o ON o.number = l.number WHERE l.state = 'succeeded' AND l.business_date IS NOT NULL
         GROUP BY o.case_number, l.currency ORDER BY o.case_number, l.currency LIMIT 101",
    ),
    (
        "of one payer by case",
        "payer=u_bench&group_by=case&limit=1000",
        "SELECT o.case_number, l.currency, sum(CASE WHEN l.refund IS NULL THEN l.minor ELSE 0 END),
           sum(CASE WHEN l.refund IS NULL THEN 0 ELSE l.minor END), count(*), count(l.refund)
         FROM orders o JOIN legs l ON l.number = o.number WHERE l.state = 'succeeded' AND l.business_date IS NOT NULL
         AND o.payer = (SELECT user FROM users WHERE sub = 'u_bench') GROUP BY o.case_number, l.currency",
    ),
];

fn run(_: &Arc<Goods>, effort: &Effort) -> Outcome<Found> {
    let orders = effort.articles * 10;
    let folder = scratch()?;
    let mut merchant = Process::start("books", &[("DATA", folder.path().display().to_string())])?;
    let token = merchant.said("token")?;
    let address: SocketAddr = merchant.said("listening")?.trim_start_matches("http://").parse()?;
    fill(folder.path(), orders)?;
    let book = reader(folder.path())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let headers = [("authorization", format!("Bearer {token}"))];
    let asked = |query: &str| -> Outcome<Duration> {
        let request = request("GET", &format!("/query/v1/totals?{query}"), &headers, b"");
        runtime.block_on(send(address, vec![vec![request]], 200))
    };
    let before = merchant.peak_memory();
    let mut worst: (f64, Vec<Pair>) = (0.0, Vec::new());
    let mut facts = vec![("orders that totals are of".to_owned(), orders.to_string())];
    for (name, query, sql) in QUESTIONS {
        asked(query)?;
        bare(&book, sql)?;
        let pairs = in_turns(effort.long_rounds, |_| asked(query), |_| bare(&book, sql))?;
        let mut ratios: Vec<_> = pairs.iter().map(|p| (ratio(p), *p)).collect();
        ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ratio, middle) = ratios[ratios.len() / 2];
        let (ours, reference) = (middle.ours, middle.reference);
        facts.push((format!("totals {name}"), format!("{ours:.1?}, SQL {reference:.1?}: {ratio:.2}×")));
        if ratio >= worst.0 {
            worst = (ratio, pairs);
        }
    }
    let after = merchant.peak_memory();
    let (bytes, time) = export(address, &token)?;
    facts.push(("peak memory of that merchant before any question".to_owned(), mebibytes(before)));
    facts.push(("peak memory after the totals".to_owned(), mebibytes(after)));
    facts.push((
        format!("peak memory after an export of {} as CSV in {time:.1?}", mebibytes(Some(bytes))),
        mebibytes(merchant.peak_memory()),
    ));
    merchant.end()?;
    Ok(Found { pairs: worst.1, facts })
}

fn ratio(pair: &Pair) -> f64 {
    pair.ours.as_secs_f64() / pair.reference.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// Makes orders of three sources with one or two payments each, some refunds, over a hundred days; a thousandth of them of one payer.
fn fill(folder: &Path, orders: usize) -> Outcome<()> {
    let book = Connection::open(folder.join("merchant.db"))?;
    book.busy_timeout(Duration::from_secs(60))?;
    book.execute_batch(
        "PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; PRAGMA temp_store = MEMORY; BEGIN IMMEDIATE;
         INSERT INTO users (merchant, sub, state, created_at) VALUES (1, 'u_bench', 'active', 0);",
    )?;
    book.execute(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
         INSERT INTO orders (merchant, source, state, service_name, payee, payer, currency, total, due, case_number, arose_at, deadline,
           made_at, changed_at)
         SELECT 1, CASE n % 3 WHEN 0 THEN 'delivery' WHEN 1 THEN 'repairs' ELSE 'parking' END, 'paid', 'Service ' || (n % 50),
           'Payee', CASE WHEN n % 1000 = 7 THEN (SELECT user FROM users WHERE sub = 'u_bench') ELSE 1 END,
           CASE WHEN n % 10 = 0 THEN 'CNY' ELSE 'EUR' END, 1000 + n % 5000, 0, 'C-' || (n / 7), n * 1000, n * 1000, n * 1000, n * 1000
         FROM n",
        [orders as i64],
    )?;
    book.execute_batch(
        "INSERT INTO legs (number, payment, n, method, currency, minor, reference, state, business_date, posted_at)
         SELECT number, number, 1, CASE number % 4 WHEN 0 THEN 'alipay' WHEN 1 THEN 'tenpay' WHEN 2 THEN 'bank' ELSE 'stored_value' END,
           currency, total, 'r' || number, CASE WHEN number % 50 = 0 THEN 'failed' ELSE 'succeeded' END,
           date('2026-01-01', '+' || (number % 100) || ' days'), number * 1000 FROM orders;
         INSERT INTO legs (number, refund, of_leg, n, method, currency, minor, reference, state, business_date, posted_at)
         SELECT number, leg, leg, 2, method, currency, 100, reference || '.r', 'succeeded', business_date, posted_at FROM legs
         WHERE number % 20 = 1;
         COMMIT; PRAGMA wal_checkpoint(TRUNCATE);",
    )?;
    Ok(())
}

fn reader(folder: &Path) -> Outcome<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let book = Connection::open_with_flags(folder.join("merchant.db"), flags)?;
    book.busy_timeout(Duration::from_secs(10))?;
    Ok(book)
}

fn bare(book: &Connection, sql: &str) -> Outcome<Duration> {
    let start = Instant::now();
    let mut statement = book.prepare_cached(sql)?;
    let last = statement.column_count() - 1;
    let count = |r: &Row<'_>| r.get::<_, i64>(last);
    let groups = statement.query_map([], count)?.collect::<Result<Vec<_>, _>>()?;
    if groups.is_empty() { Err("the SQL found nothing".into()) } else { Ok(start.elapsed()) }
}

/// Reads an export of all orders to its end; its size, and how long it took.
fn export(address: SocketAddr, token: &str) -> Outcome<(u64, Duration)> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    let headers = [("authorization", format!("Bearer {token}")), ("connection", "close".to_owned())];
    stream.write_all(&request("GET", "/query/v1/exports/orders", &headers, b""))?;
    let (mut bytes, mut chunk, mut tail) = (0, vec![0; 1 << 16], Vec::new());
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        tail.extend_from_slice(&chunk[..read]);
        tail.drain(..tail.len().saturating_sub(7));
    }
    if tail != b"\r\n0\r\n\r\n" { Err("the export was not complete".into()) } else { Ok((bytes, start.elapsed())) }
}
