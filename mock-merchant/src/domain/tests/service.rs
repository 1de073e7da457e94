//! Orders of service systems without HTTP: what happens by itself, and messages as durable jobs.

use crate::domain::once::IdempotencyKey;
use crate::domain::service::message::*;
use crate::domain::service::*;
use crate::domain::{AdminCommand, Answer, Caller, Command, Config, Query};
use crate::store::deliveries::{self, Delivery, DeliveryState};
use crate::store::orders::{self, OrderState};
use crate::store::{SCANS, Tx, sources};
use crate::testing::{Device, Script, World, eur};
use crate::worker::deliveries::{MessageAnswer, OutsideMessage, settle, take_due};
use serde_json::json;
use std::time::Duration;
use walkpay::ServiceNumber;
use walkpay::protocol::crypto::sha256;
use walkpay::protocol::document::{EventBody, KeyUse, Verdict};
use walkpay::protocol::order::{OrderNews, OrderNotice, OrderStatus};
use walkpay::protocol::problem::ProblemCode;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const MINUTE: Duration = Duration::from_secs(60);

/// A service system with an address and a key.
pub(super) fn source(w: &mut World, id: &str) -> SourceCaller {
    let source_id = id.to_owned();
    let named = |text: &str| text.to_owned();
    let add =
        SourceAdmin::Add { source_id: named(id), name: named("S"), payee: named("Services"), time_zone: named("UTC") };
    w.admin(AdminCommand::Source(add));
    let url = Some("https://service.example/hooks".to_owned());
    w.admin(AdminCommand::Source(SourceAdmin::Callback { source_id: named(id), url, allow_private: false }));
    let key = SourceAdmin::NewKey { source_id, scopes: Scopes::all() };
    let Answer::Told(Told::Secret(key)) = w.admin(AdminCommand::Source(key)) else { panic!("no key") };
    Tx::read(&w.conn, |tx| source_of_key(tx, &key)).unwrap()
}

pub(super) fn body(w: &World, minor: i64) -> OrderBody {
    let fee = FeeBody { name: "fee".into(), quantity: "1".into(), unit_price: eur(minor), tax_rate: "19".into() };
    OrderBody {
        service_name: "service".into(),
        payer: "alice".into(),
        fees: vec![fee],
        payee: None,
        paying_unit: "unit".into(),
        remarks: "secret remark".into(),
        arose_at: None,
        deadline: w.now.plus(10 * DAY),
        case_number: "C-1".into(),
        case_name: "Case".into(),
        draft: false,
    }
}

pub(super) fn hand_in(
    w: &World,
    source: &SourceCaller,
    key: &str,
    body: &OrderBody,
) -> Result<ServiceNumber, ProblemCode> {
    let body_sha256 = sha256(&serde_json::to_vec(body).unwrap());
    let key = IdempotencyKey::parse(key).unwrap();
    let command = ServiceCommand::HandIn { key, body_sha256, body: Box::new(body.clone()) };
    match w.run(&Caller::Source(source.clone()), Command::Service(command)) {
        Ok(Answer::Service(ServiceAnswer::Reply(reply))) => {
            assert_eq!(reply.status, 201);
            Ok(serde_json::from_slice::<HandedIn>(&reply.body).unwrap().service_number)
        }
        Ok(other) => panic!("{other:?}"),
        Err(e) => Err(e.code()),
    }
}

pub(super) fn change(
    w: &World,
    source: &SourceCaller,
    number: ServiceNumber,
    change: Change,
) -> Result<SourceOrder, ProblemCode> {
    let version = order(w, number).version;
    let command = ServiceCommand::Change { number, version, change: Box::new(change) };
    match w.run(&Caller::Source(source.clone()), Command::Service(command)) {
        Ok(Answer::Service(ServiceAnswer::Order(order))) => Ok(*order),
        Ok(other) => panic!("{other:?}"),
        Err(e) => Err(e.code()),
    }
}

pub(super) fn order(w: &World, number: ServiceNumber) -> orders::Order {
    Tx::read(&w.conn, |tx| Ok(orders::get(tx, number)?)).unwrap()
}

fn payable(w: &World, source: &SourceCaller, key: &str) -> ServiceNumber {
    let number = hand_in(w, source, key, &body(w, 1_190)).unwrap();
    let confirmed = change(w, source, number, Change::Decide(DecisionBody::Confirm {})).unwrap();
    assert_eq!(confirmed.status, OrderStatus::Payable);
    number
}

fn notices(w: &World, device: &Device) -> Vec<OrderNews> {
    let read = |event| match event {
        EventBody::Order { document } => Some(w.document::<OrderNotice>(&document, KeyUse::Results).news),
        _ => None,
    };
    w.events(device).into_iter().filter_map(read).collect()
}

fn messages(w: &World, source: &SourceCaller) -> Vec<Delivery> {
    Tx::read(&w.conn, |tx| Ok(deliveries::of_source(tx, source.source, 0, 200, None)?)).unwrap()
}

fn kinds(w: &World, source: &SourceCaller) -> Vec<String> {
    messages(w, source).into_iter().map(|m| m.kind).collect()
}

fn take(w: &World) -> Option<OutsideMessage> {
    let ctx = w.ctx();
    Tx::run(&w.conn, |tx| take_due(tx, &ctx)).unwrap()
}

fn answer(w: &World, message: &OutsideMessage, answer: &MessageAnswer) {
    let ctx = w.ctx();
    Tx::run(&w.conn, |tx| settle(tx, &ctx, &message.job, answer)).unwrap();
    w.check();
}

fn status(status: u16) -> MessageAnswer {
    MessageAnswer::Answered { status, retry_after: None, body: Some(Vec::new()) }
}

/// Sets what the payment of a slip would: it is on a slip, or being paid.
fn put(w: &World, number: ServiceNumber, state: OrderState, slip: Option<i64>) {
    let sql = "UPDATE orders SET state = ?2, slip = ?3 WHERE number = ?1";
    w.conn.execute(sql, (number.number() as i64, state, slip)).unwrap();
}

#[test]
fn reminders_come_by_schedule_and_then_it_expires() {
    let mut w = World::new();
    let device = w.device();
    let source = source(&mut w, "s");
    let number = payable(&w, &source, "k1");
    let deadline = order(&w, number).deadline;
    assert_eq!(notices(&w, &device), [OrderNews::Payable]);
    // 3 days and 1 day before, 1 and 7 days after, expiry after 30 days.
    for (days, reminders) in [(6, 0), (8, 1), (9, 2), (10, 2), (12, 3), (18, 4), (39, 4)] {
        w.work_for(deadline.minus(10 * DAY).plus(days * DAY).plus(HOUR).since(w.now));
        let told = notices(&w, &device).iter().filter(|n| **n == OrderNews::Reminder).count();
        assert_eq!(told, reminders, "after {days} days");
        assert_eq!(order(&w, number).state, OrderState::Payable);
    }
    w.work_for(DAY);
    assert_eq!(order(&w, number).state, OrderState::Expired);
    assert_eq!(notices(&w, &device).last(), Some(&OrderNews::Expired));
    let kinds = kinds(&w, &source);
    let expected = ["order.confirmation_requested", "order.payable", "order.overdue", "order.overdue", "order.expired"];
    assert_eq!(kinds, expected);
    assert_eq!(change(&w, &source, number, Change::Withdraw { reason: String::new() }), Err(ProblemCode::OrderLocked));
    w.work_for(100 * DAY);
    assert_eq!(messages(&w, &source).len(), expected.len(), "nothing more comes");
}

#[test]
fn what_was_missed_comes_once() {
    let mut w = World::new();
    let device = w.device();
    let source = source(&mut w, "s");
    payable(&w, &source, "k1");
    // The server was down over three reminders.
    w.pass(12 * DAY);
    w.work();
    assert_eq!(notices(&w, &device), [OrderNews::Payable, OrderNews::Reminder]);
}

#[test]
fn a_new_deadline_has_reminders_of_its_own() {
    let mut w = World::new();
    let device = w.device();
    let source = source(&mut w, "s");
    let number = payable(&w, &source, "k1");
    w.work_for(9 * DAY + HOUR);
    let fields = ChangeBody { deadline: Some(w.now.plus(30 * DAY)), ..ChangeBody::default() };
    change(&w, &source, number, Change::Modify { fields, reason: "later".into() }).unwrap();
    let count = |w: &World| notices(w, &device).iter().filter(|n| **n == OrderNews::Reminder).count();
    assert_eq!(count(&w), 2);
    w.work_for(26 * DAY);
    assert_eq!(count(&w), 2, "27 days are left out");
    w.work_for(2 * DAY);
    assert_eq!(count(&w), 3);
}

#[test]
fn nothing_happens_by_itself_to_an_order_that_is_being_paid() {
    let mut w = World::new();
    let device = w.device();
    let source = source(&mut w, "s");
    let (on_slip, paying) = (payable(&w, &source, "k1"), payable(&w, &source, "k2"));
    put(&w, on_slip, OrderState::Payable, Some(1));
    put(&w, paying, OrderState::InPayment, Some(2));
    let before = notices(&w, &device);
    w.work_for(60 * DAY);
    assert_eq!(order(&w, on_slip).state, OrderState::Payable);
    assert_eq!(order(&w, paying).state, OrderState::InPayment);
    assert_eq!(notices(&w, &device), before);
    for number in [on_slip, paying] {
        for refused in [
            Change::Withdraw { reason: String::new() },
            Change::Modify { fields: ChangeBody::default(), reason: String::new() },
            Change::Decide(DecisionBody::Confirm {}),
            Change::Submit,
        ] {
            assert_eq!(change(&w, &source, number, refused), Err(ProblemCode::OrderLocked));
        }
    }
    // Given back by their slips, they expire as they should have.
    put(&w, on_slip, OrderState::Payable, None);
    put(&w, paying, OrderState::Payable, None);
    w.work_for(2 * HOUR);
    assert_eq!((order(&w, on_slip).state, order(&w, paying).state), (OrderState::Expired, OrderState::Expired));
}

#[test]
fn what_a_debit_leaves_owing_is_told_and_never_expires() {
    let mut w = World::new();
    let mut device = w.device();
    let mut trip = w.trip();
    w.hold(&mut device, &mut trip, 500);
    w.work();
    w.bank.script("c", &[Script::Decline("insufficient_funds")]);
    assert_eq!(w.colas(&mut device, &mut trip, 5), Some(Verdict::Accepted));
    w.work_for(HOUR);
    assert_eq!(w.report(&trip).due, Some(eur(500)));
    assert_eq!(notices(&w, &device), [OrderNews::Payable]);
    w.work_for(100 * DAY);
    assert_eq!(w.report(&trip).order.as_deref(), Some("payable"));
    let told = notices(&w, &device);
    assert_eq!(told.iter().filter(|n| **n == OrderNews::Reminder).count(), 4, "{told:?}");
}

#[test]
fn a_source_that_hangs_keeps_two_messages_on_their_way_and_holds_up_no_other() {
    let mut w = World::new();
    let (slow, quick) = (source(&mut w, "slow"), source(&mut w, "quick"));
    for n in 0..20 {
        hand_in(&w, &slow, &format!("k{n}"), &body(&w, 100)).unwrap();
    }
    w.now = w.now.plus(Duration::from_secs(1));
    hand_in(&w, &quick, "k", &body(&w, 100)).unwrap();
    fn of(w: &World, message: &OutsideMessage, source: &SourceCaller) -> bool {
        messages(w, source).iter().any(|m| m.message_id == message.message_id)
    }
    let next = |w: &World| Tx::read(&w.conn, |tx| Ok(deliveries::next_due(tx)?)).unwrap().unwrap();
    let hanging = [take(&w).unwrap(), take(&w).unwrap()];
    assert!(hanging.iter().all(|m| of(&w, m, &slow)));
    let told = take(&w).unwrap();
    assert!(of(&w, &told, &quick), "the one that is due last is next");
    assert!(take(&w).is_none(), "no third one of the source that hangs");
    assert_eq!(next(&w), w.now.plus(MINUTE), "nothing to do before a lease ends");
    answer(&w, &told, &status(204));
    // An answer makes room for one.
    answer(&w, &hanging[0], &status(204));
    assert!(next(&w) <= w.now);
    let third = take(&w).unwrap();
    assert!(of(&w, &third, &slow) && take(&w).is_none());
    // What a crash left behind keeps the room until the leases end, not longer.
    w.now = w.now.plus(MINUTE);
    assert!(of(&w, &take(&w).unwrap(), &slow) && of(&w, &take(&w).unwrap(), &slow));
    assert!(take(&w).is_none());
}

#[test]
fn a_message_is_tried_for_75_hours_and_then_a_dead_letter() {
    let mut w = World::new();
    let source = source(&mut w, "s");
    hand_in(&w, &source, "k1", &body(&w, 100)).unwrap();
    let began = w.now;
    let (mut tries, mut ids) = (0, std::collections::BTreeSet::new());
    let mut seen = Vec::new();
    while let Some(next) = Tx::read(&w.conn, |tx| Ok(deliveries::next_due(tx)?)).unwrap() {
        w.now = w.now.max(next);
        let message = take(&w).unwrap();
        ids.insert(message.message_id.clone());
        assert!(take(&w).is_none(), "it is leased");
        answer(&w, &message, &status(503));
        tries += 1;
        seen.push(w.now.since(began));
    }
    assert_eq!((tries, ids.len()), (10, 1));
    let last = *seen.last().unwrap();
    assert!(last >= 75 * HOUR && last <= 84 * HOUR, "{last:?}");
    assert!(seen[1] >= Duration::from_secs(5) && seen[1] <= Duration::from_secs(6), "{seen:?}");
    let dead = &messages(&w, &source)[0];
    assert_eq!(
        (dead.state, dead.last_status, dead.last_error.as_deref()),
        (DeliveryState::Dead, Some(503), Some("status"))
    );
    // Asked for again, it is delivered under the same identifier, once per key.
    let again = |key: &str| {
        let key = IdempotencyKey::parse(key).unwrap();
        let command = ServiceCommand::Redeliver { message_id: dead.message_id.clone(), key };
        w.run(&Caller::Source(source.clone()), Command::Service(command)).unwrap()
    };
    let first = again("r1");
    let message = take(&w).unwrap();
    assert_eq!(message.message_id, dead.message_id);
    answer(&w, &message, &status(204));
    assert_eq!(again("r1"), first, "a repeat has the first answer");
    assert!(take(&w).is_none(), "and does nothing");
    assert_eq!(messages(&w, &source)[0].state, DeliveryState::Delivered);
}

#[test]
fn what_a_crash_left_behind_is_sent_again_and_late_answers_do_no_harm() {
    let mut w = World::new();
    let source = source(&mut w, "s");
    hand_in(&w, &source, "k1", &body(&w, 100)).unwrap();
    let lost = take(&w).unwrap();
    w.pass(MINUTE / 2);
    assert!(take(&w).is_none());
    w.pass(MINUTE);
    let again = take(&w).unwrap();
    assert_eq!(again.message_id, lost.message_id);
    assert_ne!(again.signature, lost.signature, "the timestamp is signed");
    answer(&w, &lost, &status(500));
    answer(&w, &lost, &status(410));
    assert!(!Tx::read(&w.conn, |tx| Ok(sources::get(tx, source.source)?)).unwrap().callback_gone);
    answer(&w, &lost, &status(200));
    assert_eq!(messages(&w, &source)[0].state, DeliveryState::Delivered, "a success counts whoever brings it");
    answer(&w, &again, &status(500));
    assert_eq!(messages(&w, &source)[0].state, DeliveryState::Delivered);
}

#[test]
fn retry_after_is_followed_within_bounds() {
    let mut w = World::new();
    let source = source(&mut w, "s");
    hand_in(&w, &source, "k1", &body(&w, 100)).unwrap();
    let asked = |seconds| MessageAnswer::Answered {
        status: 429,
        retry_after: Some(Duration::from_secs(seconds)),
        body: Some(Vec::new()),
    };
    let due = |w: &World| messages(w, &source)[0].due.unwrap().since(w.now);
    let message = take(&w).unwrap();
    answer(&w, &message, &asked(3_600));
    assert_eq!(due(&w), HOUR);
    w.pass(HOUR);
    let message = take(&w).unwrap();
    answer(&w, &message, &asked(u64::MAX));
    assert_eq!(due(&w), DAY);
    w.pass(DAY);
    let message = take(&w).unwrap();
    answer(&w, &message, &asked(0));
    assert!(due(&w) >= HOUR / 2, "the schedule is the least");
}

#[test]
fn a_source_that_does_not_answer_does_not_hold_up_others() {
    let mut w = World::new();
    let (silent, other) = (source(&mut w, "silent"), source(&mut w, "other"));
    for n in 0..20 {
        hand_in(&w, &silent, &format!("k{n}"), &body(&w, 100)).unwrap();
    }
    w.pass(Duration::from_millis(1));
    hand_in(&w, &other, "k", &body(&w, 100)).unwrap();
    let first = take(&w).unwrap();
    answer(&w, &first, &MessageAnswer::Failed { word: "timeout" });
    let next = take(&w).unwrap();
    let served = Tx::read(&w.conn, |tx| Ok(deliveries::find(tx, &next.message_id)?)).unwrap().unwrap();
    assert_eq!(served.source, other.source);
}

#[test]
fn a_gone_address_ends_all_its_messages_until_there_is_a_new_one() {
    let mut w = World::new();
    let source = source(&mut w, "s");
    hand_in(&w, &source, "k1", &body(&w, 100)).unwrap();
    hand_in(&w, &source, "k2", &body(&w, 100)).unwrap();
    let message = take(&w).unwrap();
    answer(&w, &message, &status(410));
    assert!(messages(&w, &source).iter().all(|m| m.state == DeliveryState::Dead));
    hand_in(&w, &source, "k3", &body(&w, 100)).unwrap();
    assert!(take(&w).is_none());
    let third = messages(&w, &source).remove(2);
    assert_eq!((third.state, third.last_error.as_deref()), (DeliveryState::Dead, Some("gone")));
    let url = Some("https://new.example/".to_owned());
    let callback = SourceAdmin::Callback { source_id: "s".into(), url, allow_private: false };
    assert_eq!(w.admin(AdminCommand::Source(callback)), Answer::Told(Told::Nothing), "the secret stays");
    let again = ServiceCommand::Redeliver { message_id: third.message_id, key: IdempotencyKey::parse("r").unwrap() };
    w.run(&Caller::Source(source.clone()), Command::Service(again)).unwrap();
    assert_eq!(take(&w).unwrap().url, "https://new.example/");
}

#[test]
fn a_rotation_signs_twice_for_a_while() {
    let mut w = World::new();
    let source = source(&mut w, "s");
    let count = |w: &World| {
        let message = take(w).unwrap();
        answer(w, &message, &status(204));
        message.signature.split(' ').count()
    };
    let rotate = |w: &mut World| {
        let command = SourceAdmin::NewSecret { source_id: "s".into(), overlap: DAY };
        assert!(matches!(w.admin(AdminCommand::Source(command)), Answer::Told(Told::Secret(_))));
    };
    hand_in(&w, &source, "k1", &body(&w, 100)).unwrap();
    assert_eq!(count(&w), 1);
    rotate(&mut w);
    hand_in(&w, &source, "k2", &body(&w, 100)).unwrap();
    assert_eq!(count(&w), 2);
    rotate(&mut w);
    hand_in(&w, &source, "k3", &body(&w, 100)).unwrap();
    assert_eq!(count(&w), 2, "two at most");
    w.pass(DAY + HOUR);
    hand_in(&w, &source, "k4", &body(&w, 100)).unwrap();
    assert_eq!(count(&w), 1);
}

#[test]
fn the_decision_may_come_with_the_response() {
    let mut w = World::new();
    let source = source(&mut w, "s");
    let decide = |w: &World, key: &str, code: u16, said: &str| {
        let number = hand_in(w, &source, key, &body(w, 100)).unwrap();
        let message = take(w).unwrap();
        let body = Some(said.as_bytes().to_vec());
        answer(w, &message, &MessageAnswer::Answered { status: code, retry_after: None, body });
        let sent = Tx::read(&w.conn, |tx| Ok(deliveries::find(tx, &message.message_id)?)).unwrap().unwrap();
        assert_eq!(sent.state, DeliveryState::Delivered);
        while let Some(other) = take(w) {
            answer(w, &other, &status(204));
        }
        (order(w, number), sent.last_error)
    };
    let confirm = r#"{"decision":"confirm"}"#;
    assert_eq!(decide(&w, "k1", 200, confirm).0.state, OrderState::Payable);
    let modify =
        json!({"decision": "modify", "reason": "cheaper", "fields": {"fees": [{"name": "n", "unit_price": eur(50)}]}});
    let (modified, error) = decide(&w, "k2", 200, &modify.to_string());
    assert_eq!((modified.state, modified.total, modified.version, error), (OrderState::Payable, eur(50), 2, None));
    let withdraw = r#"{"decision":"withdraw","reason":"mistake"}"#;
    assert_eq!(decide(&w, "k3", 200, withdraw).0.state, OrderState::Withdrawn);
    // Later, or nothing that could be understood: it goes on waiting.
    for (key, code, said, expected) in [
        ("l1", 202, confirm, None),
        ("l2", 204, "", None),
        ("l3", 200, " \n", None),
        ("l4", 200, "ok", Some("decision_unreadable")),
        ("l5", 200, r#"{"decision":"pay"}"#, Some("decision_unreadable")),
        ("l6", 200, r#"{"decision":"modify","fields":{"fees":[]}}"#, Some("decision_refused")),
    ] {
        let (waiting, error) = decide(&w, key, code, said);
        assert_eq!((waiting.state, waiting.version), (OrderState::AwaitingConfirmation, 1), "{key}");
        assert_eq!(error.as_deref(), expected, "{key}");
    }
    // A decision on a version that is no more.
    let number = hand_in(&w, &source, "k4", &body(&w, 100)).unwrap();
    let message = take(&w).unwrap();
    let fields = ChangeBody { case_number: Some("C-2".into()), ..ChangeBody::default() };
    change(&w, &source, number, Change::Modify { fields, reason: String::new() }).unwrap();
    let body = Some(confirm.as_bytes().to_vec());
    answer(&w, &message, &MessageAnswer::Answered { status: 200, retry_after: None, body });
    assert_eq!(order(&w, number).state, OrderState::AwaitingConfirmation);
    let kinds: Vec<_> =
        messages(&w, &source).into_iter().filter(|m| m.number == Some(number)).map(|m| m.kind).collect();
    assert_eq!(
        kinds,
        ["order.confirmation_requested", "order.confirmation_requested"],
        "the new version is asked about"
    );
}

#[test]
fn messages_and_facts_hold_no_texts_about_people_and_erasure_takes_the_texts() {
    let mut w = World::new();
    let source = source(&mut w, "s");
    let number = payable(&w, &source, "k1");
    let fields = ChangeBody { remarks: Some("secret remark two".into()), ..ChangeBody::default() };
    change(&w, &source, number, Change::Modify { fields, reason: "secret reason".into() }).unwrap();
    for message in messages(&w, &source) {
        let text = String::from_utf8(message.body).unwrap();
        assert!(!text.contains("secret") && !text.contains("alice") && !text.contains("Case"), "{text}");
    }
    let versions = |w: &World| {
        let query = Query::Service(ServiceQuery::Versions { number, after: 0, limit: 200 });
        match w.read(&Caller::Source(source.clone()), query).unwrap() {
            Answer::Service(ServiceAnswer::Versions(page)) => page.versions,
            other => panic!("{other:?}"),
        }
    };
    let before = versions(&w);
    assert_eq!(before.iter().map(|v| v.action.as_str()).collect::<Vec<_>>(), ["handed_in", "confirmed", "modified"]);
    assert!(before.iter().all(|v| v.actor == "source:s" && v.texts.is_some()));
    assert_eq!(before[2].texts.as_ref().unwrap()["reason"], "secret reason");
    w.admin(AdminCommand::EraseUser { user_name: crate::testing::name("alice") });
    let after = versions(&w);
    assert!(after.iter().all(|v| v.texts.is_none()) && after.len() == 3);
    assert!(!serde_json::to_string(&after).unwrap().contains("secret"));
    let fields = ChangeBody { remarks: Some("again".into()), ..ChangeBody::default() };
    let modify = Change::Modify { fields, reason: String::new() };
    assert_eq!(change(&w, &source, number, modify), Err(ProblemCode::PayerUnknown));
    assert_eq!(hand_in(&w, &source, "k2", &body(&w, 100)), Err(ProblemCode::PayerUnknown));
    change(&w, &source, number, Change::Withdraw { reason: "secret".into() }).unwrap();
    assert!(versions(&w).iter().all(|v| v.texts.is_none()));
}

#[test]
fn a_source_and_a_store_never_share_an_id() {
    let mut w = World::new();
    let store = crate::testing::store_id();
    let add = |id: &str| {
        let text = |t: &str| t.to_owned();
        let add = SourceAdmin::Add { source_id: text(id), name: text("n"), payee: text("p"), time_zone: text("UTC") };
        Command::Admin(AdminCommand::Source(add))
    };
    assert_eq!(w.refused(&Caller::Operator, add(store.as_str())), ProblemCode::IdConflict);
    assert_eq!(w.refused(&Caller::Operator, add("a b")), ProblemCode::InvalidValue);
    let caller = Caller::Source(source(&mut w, "s"));
    assert_eq!(w.refused(&caller, add("t")), ProblemCode::Forbidden);
    assert_eq!(w.refused(&Caller::Operator, add("s")), ProblemCode::IdConflict);
}

#[test]
fn no_statement_of_an_order_goes_through_a_table() {
    let mut w = World::with(Config::default());
    let source = source(&mut w, "s");
    w.work();
    SCANS.with_borrow_mut(|scans| scans.clear());
    let number = payable(&w, &source, "k1");
    hand_in(&w, &source, "k2", &body(&w, 5)).unwrap();
    while let Some(message) = take(&w) {
        answer(&w, &message, &MessageAnswer::Failed { word: "connect" });
    }
    for query in [
        ServiceQuery::Order(number),
        ServiceQuery::Orders { after: 0, limit: 10 },
        ServiceQuery::Versions { number, after: 0, limit: 10 },
        ServiceQuery::Deliveries { after: 0, limit: 10, status: None },
        ServiceQuery::Deliveries { after: 0, limit: 10, status: Some(DeliveryStatus::Dead) },
    ] {
        w.read(&Caller::Source(source.clone()), Query::Service(query)).unwrap();
    }
    w.work_for(50 * DAY);
    let invariant = |sql: &String| {
        crate::store::invariants::queries().any(|q| q.split_whitespace().collect::<Vec<_>>().join(" ") == *sql)
    };
    let known = |sql: &String| sql.contains("FROM stores ORDER BY") || sql.contains("GROUP BY") || invariant(sql);
    let scans: Vec<String> = SCANS.with_borrow(|all| all.iter().filter(|sql| !known(sql)).cloned().collect());
    assert!(scans.is_empty(), "{scans:#?}");
}
