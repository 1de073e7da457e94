//! Searches and totals of random books, against a fold in memory; which indexes they use.

use crate::domain::{Caller, Filters, Question, groups};
use crate::failure::Failure;
use crate::store::{SCANS, Tx};
use crate::testing::World;
use proptest::prelude::*;
use std::collections::BTreeMap;
use walkpay::protocol::problem::ProblemCode;
use walkpay::protocol::query::*;
use walkpay::{ServiceNumber, Sub};

const SOURCES: [&str; 3] = ["delivery", "repairs", "s1"];
const STATES: [&str; 4] = ["draft", "payable", "paid", "partly_refunded"];
const CASES: [&str; 3] = ["C-1", "C-2", "C-3"];
const NAMES: [&str; 5] = ["Kitchen", "Kit%", "Kit_", "kit", ""];
const METHODS: [&str; 4] = ["stored_value", "bank", "alipay", "tenpay"];
const CURRENCIES: [&str; 2] = ["EUR", "JPY"];
const DAYS: [&str; 3] = ["2026-01-30", "2026-01-31", "2026-02-01"];
const LEG_STATES: [&str; 3] = ["succeeded", "failed", "unknown"];

#[derive(Clone, Debug)]
struct Leg {
    method: usize,
    minor: i64,
    refund: bool,
    state: usize,
    day: Option<usize>,
}

#[derive(Clone, Debug)]
struct Order {
    source: usize,
    state: usize,
    case: usize,
    name: usize,
    payer: usize,
    currency: usize,
    legs: Vec<Leg>,
}

fn leg() -> impl Strategy<Value = Leg> {
    (0..4usize, 1..1_000_000_000i64, any::<bool>(), 0..3usize, proptest::option::weighted(0.8, 0..3usize))
        .prop_map(|(method, minor, refund, state, day)| Leg { method, minor, refund, state, day })
}

fn order() -> impl Strategy<Value = Order> {
    let parts = (0..3usize, 0..4usize, 0..3usize, 0..5usize, 0..2usize, 0..2usize);
    (parts, proptest::collection::vec(leg(), 0..5)).prop_map(|((source, state, case, name, payer, currency), legs)| {
        Order { source, state, case, name, payer, currency, legs }
    })
}

/// The users are `u_0` and `u_1`; their rows are 100 and 101.
fn book(orders: &[Order]) -> World {
    let w = World::new();
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| w.conn.execute(sql, values).unwrap();
    for user in 0..2i64 {
        let sql = "INSERT INTO users (user, merchant, sub, state, created_at) VALUES (?1, 1, ?2, 'active', 0)";
        run(sql, &[&(100 + user), &format!("u_{user}")]);
    }
    for order in orders {
        let total: i64 = 1_000 + order.legs.len() as i64;
        run(
            "INSERT INTO orders (merchant, source, state, service_name, payee, payer, currency, total, due, case_number, arose_at,
               deadline, made_at, changed_at) VALUES (1, ?1, ?2, 'x', 'y', ?3, ?4, ?5, 0, ?6, ?7, 0, 0, 0)",
            &[
                &SOURCES[order.source],
                &STATES[order.state],
                &(100 + order.payer as i64),
                &CURRENCIES[order.currency],
                &total,
                &CASES[order.case],
                &(1_000 * order.case as i64),
            ],
        );
        let number = w.conn.last_insert_rowid();
        run("INSERT INTO order_texts VALUES (?1, ?2, '', '')", &[&number, &NAMES[order.name]]);
        for (n, leg) in order.legs.iter().enumerate() {
            let (payment, refund) = if leg.refund { (None, Some(1)) } else { (Some(1), None) };
            run(
                "INSERT INTO legs (number, payment, refund, of_leg, n, method, currency, minor, reference, state, business_date,
                   posted_at) VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                &[
                    &number,
                    &payment,
                    &refund,
                    &(n as i64),
                    &METHODS[leg.method],
                    &CURRENCIES[order.currency],
                    &leg.minor,
                    &format!("r{n}"),
                    &LEG_STATES[leg.state],
                    &leg.day.map(|d| DAYS[d]),
                    &leg.day.map(|d| d as i64),
                ],
            );
        }
    }
    w
}

fn ask<T>(w: &World, filters: &Filters, f: impl Fn(&Tx<'_>, &Question) -> Result<T, Failure>) -> Result<T, Failure> {
    Tx::read(&w.conn, |tx| f(tx, &Question::new(tx, &Caller::Operator, filters, None)?))
}

/// All pages, `limit` entries each.
fn pages<P, T>(
    limit: usize,
    mut page: impl FnMut(Option<&str>) -> P,
    parts: impl Fn(P) -> (Vec<T>, Option<String>),
) -> Vec<T> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let (entries, next) = parts(page(after.as_deref()));
        assert!(entries.len() <= limit && (next.is_none() || entries.len() == limit));
        all.extend(entries);
        match next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

#[derive(Clone, Debug)]
struct Wanted {
    source: Option<usize>,
    state: Option<usize>,
    case: Option<usize>,
    prefix: Option<&'static str>,
    payer: Option<usize>,
    method: Option<usize>,
    currency: Option<usize>,
    day_from: Option<usize>,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let some = |n: usize| proptest::option::weighted(0.25, 0..n);
    let prefix =
        proptest::option::weighted(0.3, proptest::sample::select(vec!["K", "Kit", "Kit%", "Kit_", "k", "_", "%", "*"]));
    (some(3), some(4), some(3), prefix, some(2), some(4), some(2), some(3)).prop_map(
        |(source, state, case, prefix, payer, method, currency, day_from)| Wanted {
            source,
            state,
            case,
            prefix,
            payer,
            method,
            currency,
            day_from,
        },
    )
}

impl Wanted {
    fn filters(&self) -> Filters {
        let word = |text: &str| serde_json::Value::from(text);
        Filters {
            source: self.source.map(|n| SOURCES[n].parse().unwrap()),
            state: self.state.map(|n| serde_json::from_value(word(STATES[n])).unwrap()),
            case_number: self.case.map(|n| CASES[n].to_owned()),
            case_name_prefix: self.prefix.map(str::to_owned),
            payer: self.payer.map(|n| Sub::parse(&format!("u_{n}")).unwrap()),
            method: self.method.map(|n| serde_json::from_value(word(METHODS[n])).unwrap()),
            currency: self.currency.map(|n| CURRENCIES[n].parse().unwrap()),
            day_from: self.day_from.map(|n| DAYS[n].to_owned()),
            ..Filters::default()
        }
    }

    fn order(&self, o: &Order) -> bool {
        let is = |wanted: Option<usize>, found| wanted.is_none_or(|w| w == found);
        is(self.source, o.source)
            && is(self.state, o.state)
            && is(self.case, o.case)
            && is(self.payer, o.payer)
            && is(self.currency, o.currency)
            && self.prefix.is_none_or(|p| NAMES[o.name].starts_with(p))
    }

    fn leg(&self, l: &Leg) -> bool {
        self.method.is_none_or(|m| m == l.method) && self.day_from.is_none_or(|d| l.day.is_some_and(|day| day >= d))
    }
}

fn counts(l: &Leg) -> bool {
    l.state == 0 && l.day.is_some()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Totals by any combination are what adding up by hand gives; pages of one entry are the same list.
    #[test]
    fn totals_are_the_sums_of_what_was_posted(
        orders in proptest::collection::vec(order(), 0..20),
        wanted in wanted(),
        by in proptest::sample::subsequence(vec!["method", "source", "state", "case", "business_day", "currency"], 0..=6).prop_shuffle(),
    ) {
        let w = book(&orders);
        let mut expected: BTreeMap<Vec<String>, (i64, i64, u64, u64)> = BTreeMap::new();
        let mut columns = by.clone();
        if !columns.contains(&"currency") {
            columns.push("currency");
        }
        for order in orders.iter().filter(|o| wanted.order(o)) {
            for leg in order.legs.iter().filter(|l| counts(l) && wanted.leg(l)) {
                let key = columns.iter().map(|column| match *column {
                    "method" => METHODS[leg.method],
                    "source" => SOURCES[order.source],
                    "state" => STATES[order.state],
                    "case" => CASES[order.case],
                    "business_day" => DAYS[leg.day.unwrap()],
                    _ => CURRENCIES[order.currency],
                }.to_owned()).collect();
                let sums = expected.entry(key).or_default();
                if leg.refund {
                    (sums.1, sums.3) = (sums.1 + leg.minor, sums.3 + 1);
                } else {
                    (sums.0, sums.2) = (sums.0 + leg.minor, sums.2 + 1);
                }
            }
        }
        let by = groups(&by.join(",")).unwrap();
        let filters = wanted.filters();
        let found = pages(1, |after| ask(&w, &filters, |tx, q| q.totals(tx, &by, after, 1)).unwrap(), |t| (t.groups, t.next));
        let keyed: Vec<_> = found.iter().map(|g| {
            prop_assert_eq!(g.net.minor, g.paid.minor - g.refunded.minor);
            Ok((key_of(g, &columns), (g.paid.minor, g.refunded.minor, g.payments, g.refunds)))
        }).collect::<Result<_, _>>()?;
        prop_assert_eq!(keyed, expected.into_iter().collect::<Vec<_>>());
        let mut exported = Vec::new();
        Tx::read(&w.conn, |tx| {
            Question::new(tx, &Caller::Operator, &filters, None)?.each_total(tx, &by, |g| {
                exported.push(g);
                true
            })
        }).unwrap();
        prop_assert_eq!(exported, found);
    }

    /// Lists hold exactly what meets the filters, in order, whatever the pages are.
    #[test]
    fn lists_hold_what_meets_the_filters(
        orders in proptest::collection::vec(order(), 0..20),
        wanted in wanted(),
        limit in 1..5usize,
    ) {
        let w = book(&orders);
        let filters = wanted.filters();
        let asks_leg = wanted.method.is_some() || wanted.day_from.is_some();
        let meets = |o: &Order| wanted.order(o) && (!asks_leg || o.legs.iter().any(|l| counts(l) && wanted.leg(l)));
        let expected: Vec<u64> = (1u64..).zip(&orders).filter(|(_, o)| meets(o)).map(|(n, _)| n).collect();
        let found = pages(limit, |after| ask(&w, &filters, |tx, q| q.orders(tx, after, limit)).unwrap(), |p| (p.orders, p.next));
        prop_assert_eq!(found.iter().map(|o| o.service_number.number()).collect::<Vec<_>>(), expected);
        let expected: Vec<(u64, i64)> = (1u64..).zip(&orders).filter(|(_, o)| wanted.order(o))
            .flat_map(|(n, o)| o.legs.iter().filter(|l| wanted.leg(l) && (wanted.day_from.is_none() || counts(l))).map(move |l| (n, l.minor))).collect();
        let found = pages(limit, |after| ask(&w, &filters, |tx, q| q.payments(tx, after, limit)).unwrap(), |p| (p.payments, p.next));
        prop_assert_eq!(found.iter().map(|p| (p.service_number.number(), p.amount.minor)).collect::<Vec<_>>(), expected);
    }
}

fn key_of(group: &TotalsGroup, columns: &[&str]) -> Vec<String> {
    let word = |value: serde_json::Value| value.as_str().unwrap().to_owned();
    let json = serde_json::to_value(group).unwrap();
    columns.iter().map(|c| word(json[if *c == "case" { "case_number" } else { c }].clone())).collect()
}

fn sample() -> Vec<Order> {
    let leg = |method| Leg { method, minor: 100, refund: false, state: 0, day: Some(1) };
    (0..40)
        .map(|n| Order {
            source: n % 3,
            state: n % 4,
            case: n % 3,
            name: n % 5,
            payer: n % 2,
            currency: n % 2,
            legs: vec![leg(n % 4), leg((n + 1) % 4)],
        })
        .collect()
}

#[test]
fn no_search_goes_through_a_table() {
    let w = book(&sample());
    let text = |t: &str| Some(t.to_owned());
    let time = |n| Some(walkpay::Timestamp::from_millis(n));
    let none = Filters::default;
    let filters = [
        none(),
        Filters { number: ServiceNumber::new(7).ok(), ..none() },
        Filters { source: "repairs".parse().ok(), ..none() },
        Filters { state: Some(walkpay::protocol::order::OrderStatus::Paid), ..none() },
        Filters { method: Some(walkpay::protocol::document::PaymentMethod::Bank), ..none() },
        Filters { case_number: text("C-1"), ..none() },
        Filters { case_name: text("Kitchen"), ..none() },
        Filters { case_name_prefix: text("Kit"), ..none() },
        Filters { payer: "u_1".parse().ok(), ..none() },
        Filters { currency: "EUR".parse().ok(), min_total: text("1.00"), max_total: text("20.00"), ..none() },
        Filters { currency: "EUR".parse().ok(), min_amount: text("1.00"), max_amount: text("1.00"), ..none() },
        Filters { arose_from: time(5), arose_to: time(1_500), ..none() },
        Filters { posted_from: time(1), posted_to: time(2), ..none() },
        Filters { day_from: text("2026-01-31"), day_to: text("2026-01-31"), ..none() },
    ];
    for filters in &filters {
        SCANS.with_borrow_mut(|scans| scans.clear());
        let orders = ask(&w, filters, |tx, q| q.orders(tx, None, 10)).unwrap().orders;
        let payments = ask(&w, filters, |tx, q| q.payments(tx, None, 10)).unwrap().payments;
        assert!(!orders.is_empty() && !payments.is_empty(), "{filters:?}");
        if format!("{filters:?}") != format!("{:?}", none()) {
            // Of everything, totals go through everything.
            ask(&w, filters, |tx, q| q.totals(tx, &groups("case,method").unwrap(), None, 10)).unwrap();
        }
        let scans = SCANS.with_borrow(Clone::clone);
        assert!(scans.is_empty(), "{filters:?}: {scans:#?}");
    }
}

#[test]
fn what_is_added_between_two_pages_neither_repeats_nor_hides_anything() {
    let w = book(&sample());
    let first = ask(&w, &Filters::default(), |tx, q| q.orders(tx, None, 25)).unwrap();
    w.conn
        .execute_batch(
            "INSERT INTO orders (merchant, source, state, service_name, payee, payer, currency, total, due, case_number, arose_at,
               deadline, made_at, changed_at) SELECT merchant, source, state, service_name, payee, payer, currency, total, due,
               case_number, arose_at, deadline, made_at, changed_at FROM orders LIMIT 5",
        )
        .unwrap();
    let second = ask(&w, &Filters::default(), |tx, q| q.orders(tx, first.next.as_deref(), 25)).unwrap();
    let numbers: Vec<u64> = first.orders.iter().chain(&second.orders).map(|o| o.service_number.number()).collect();
    assert_eq!(numbers, (1..=45).collect::<Vec<_>>());
}

#[test]
fn a_payer_sees_nothing_that_was_not_submitted() {
    let mut w = World::new();
    let device = w.device();
    for state in ["draft", "awaiting_confirmation", "payable", "paid", "withdrawn"] {
        let sql = "INSERT INTO orders (merchant, source, state, service_name, payee, payer, currency, total, due, case_number, arose_at,
                     deadline, made_at, changed_at) SELECT 1, 's', ?1, 'x', 'y', user, 'EUR', 1, 1, 'c', 0, 0, 0, 0 FROM users";
        w.conn.execute(sql, [state]).unwrap();
    }
    let seen = |caller: &Caller| {
        let ask = |tx: &Tx<'_>| Question::new(tx, caller, &Filters::default(), None)?.orders(tx, None, 10);
        Tx::read(&w.conn, ask).map(|page| page.orders.iter().map(|o| format!("{:?}", o.status)).collect::<Vec<_>>())
    };
    assert_eq!(seen(&device.caller()).unwrap(), ["Payable", "Paid", "Withdrawn"]);
    assert_eq!(seen(&Caller::Operator).unwrap().len(), 5);
    for caller in [Caller::Anonymous, Caller::Gate(walkpay::GateGroup::parse("g1").unwrap())] {
        assert_eq!(seen(&caller).unwrap_err().code(), ProblemCode::Forbidden);
    }
    w.conn.execute_batch("UPDATE devices SET state = 'revoked'").unwrap();
    assert_eq!(seen(&device.caller()).unwrap_err().code(), ProblemCode::DeviceRevoked);
}

#[test]
fn forged_cursors_and_impossible_questions_are_refused() {
    let w = book(&sample());
    let refused = |result: Result<(), Failure>| {
        let failure = result.unwrap_err();
        assert!(matches!(failure, Failure::Refused { code: ProblemCode::InvalidValue, .. }), "{failure}");
    };
    let totals = groups("method").unwrap();
    let long = "A".repeat(100_000);
    let payments = ask(&w, &Filters::default(), |tx, q| q.payments(tx, None, 1)).unwrap().next.unwrap();
    let sums = ask(&w, &Filters::default(), |tx, q| q.totals(tx, &totals, None, 1)).unwrap().next.unwrap();
    for cursor in ["", "x", "bnVsbA", "WyJvIiwxXQ", "WyJvIiwiMSJd", &long, "'; DROP TABLE orders", &payments, &sums] {
        refused(ask(&w, &Filters::default(), |tx, q| q.orders(tx, Some(cursor), 5)).map(drop));
        if cursor != payments {
            refused(ask(&w, &Filters::default(), |tx, q| q.payments(tx, Some(cursor), 5)).map(drop));
        }
        refused(
            ask(&w, &Filters::default(), |tx, q| q.totals(tx, &groups("source").unwrap(), Some(cursor), 5)).map(drop),
        );
    }
    let text = |t: &str| Some(t.to_owned());
    let none = Filters::default;
    for filters in [
        Filters { case_name: text(""), ..none() },
        Filters { case_number: text(&"x".repeat(201)), ..none() },
        Filters { case_name: text("a"), case_name_prefix: text("a"), ..none() },
        Filters { min_total: text("1.00"), ..none() },
        Filters { currency: "JPY".parse().ok(), min_total: text("1.00"), ..none() },
        Filters { currency: "EUR".parse().ok(), max_amount: text("1e9"), ..none() },
        Filters { day_from: text("2026-02-30"), ..none() },
        Filters { day_from: text("2026-02-01"), day_to: text("2026-01-01"), ..none() },
        Filters { day_from: text("2026-01-01' OR 1=1 --"), ..none() },
    ] {
        refused(ask(&w, &filters, |tx, q| q.orders(tx, None, 5)).map(drop));
    }
    for by in ["methods", "method,method", "method,", ",", "method;", "o.source", "METHOD"] {
        refused(groups(by).map(drop));
    }
}

#[test]
fn what_looks_like_sql_is_a_text_like_any_other() {
    let w = book(&sample());
    for text in ["' OR '1'='1", "C-1' --", "\"", ";DROP TABLE legs", "%", "_", "*", "C-?", "[C]*", "\\"] {
        let text = Some(text.to_owned());
        let filters = [
            Filters { case_number: text.clone(), ..Filters::default() },
            Filters { case_name: text.clone(), ..Filters::default() },
            Filters { case_name_prefix: text, ..Filters::default() },
        ];
        for filters in &filters {
            assert!(ask(&w, filters, |tx, q| q.orders(tx, None, 5)).unwrap().orders.is_empty(), "{filters:?}");
            assert!(ask(&w, filters, |tx, q| q.payments(tx, None, 5)).unwrap().payments.is_empty());
            assert!(ask(&w, filters, |tx, q| q.totals(tx, &groups("").unwrap(), None, 5)).unwrap().groups.is_empty());
        }
    }
}

#[test]
fn sums_that_no_amount_can_hold_are_said_and_not_wrapped() {
    let mut orders = sample();
    orders.truncate(2);
    orders[0].legs = vec![Leg { method: 1, minor: walkpay::money::MAX_MINOR, refund: false, state: 0, day: Some(1) }];
    orders[1] = orders[0].clone();
    let total = |w: &World| ask(w, &Filters::default(), |tx, q| q.totals(tx, &groups("").unwrap(), None, 5));
    let above = |w: &World| {
        let Err(Failure::Refused { code: ProblemCode::InvalidValue, detail }) = total(w) else { panic!("no refusal") };
        assert!(detail.contains("above what an amount can be"), "{detail}");
    };
    let w = book(&orders[..1]);
    assert_eq!(total(&w).unwrap().groups[0].paid.minor, walkpay::money::MAX_MINOR);
    above(&book(&orders));
    let w = book(&orders);
    w.conn.execute_batch("UPDATE legs SET minor = 9223372036854775807").unwrap();
    above(&w);
}
