//! What is kept: its form, its age, and how it becomes shorter.

use super::world::*;
use std::collections::BTreeMap;
use walkpay::protocol::document::*;
use walkpay::protocol::order::*;
use walkpay::protocol::problem::ProblemCode;
use walkpay::protocol::question::OrderFilter;
use walkpay::session::*;
use walkpay::*;

/// The name of each variant. A new one does not compile until it is named here, and is not green until it is in a snapshot.
fn name(fact: &Fact) -> &'static str {
    match fact {
        Fact::EnrolmentBegun { .. } => "enrolment_begun",
        Fact::EnrolmentAdvanced { .. } => "enrolment_advanced",
        Fact::EnrolmentTryFailed { .. } => "enrolment_try_failed",
        Fact::EnrolmentEnded { .. } => "enrolment_ended",
        Fact::Enrolled(_) => "enrolled",
        Fact::SignedIn => "signed_in",
        Fact::SignedOut => "signed_out",
        Fact::TripStarted { .. } => "trip_started",
        Fact::Basket { .. } => "basket",
        Fact::Reviewed { .. } => "reviewed",
        Fact::Prepared(_) => "prepared",
        Fact::Signed { .. } => "signed",
        Fact::Recorded { .. } => "recorded",
        Fact::Refused { .. } => "refused",
        Fact::Withdrawn { .. } => "withdrawn",
        Fact::TryFailed { .. } => "try_failed",
        Fact::TripCancelled { .. } => "trip_cancelled",
        Fact::EventTaken { .. } => "event_taken",
        Fact::Told { .. } => "told",
        Fact::EventDistrusted { .. } => "event_distrusted",
        Fact::Acked { .. } => "acked",
        Fact::PollFailed { .. } => "poll_failed",
        Fact::PollWorks => "poll_works",
        Fact::KeysWanted { .. } => "keys_wanted",
        Fact::KeysTaken { .. } => "keys_taken",
        Fact::KeysCurrent => "keys_current",
        Fact::KeysFailed { .. } => "keys_failed",
        Fact::ClockLearned { .. } => "clock_learned",
        Fact::Status { .. } => "status",
        Fact::RequestKey { .. } => "request_key",
        Fact::Forwarded => "forwarded",
        Fact::Pruned { .. } => "pruned",
        Fact::SlipRequested { .. } => "slip_requested",
        Fact::SlipSeen { .. } => "slip_seen",
        Fact::PaymentSeen { .. } => "payment_seen",
        Fact::ClosureRequested { .. } => "closure_requested",
        Fact::OrdersSeen { .. } => "orders_seen",
        Fact::OrderSeen { .. } => "order_seen",
        Fact::Snapshot { .. } => "snapshot",
    }
}

/// A life in which everything happens at least once.
fn life() -> World {
    let mut world = World::empty();
    world.command(Command::BeginEnrolment { text: &code_text(), label: "A phone" }).unwrap();
    world.fail(DueId::StartEnrolment);
    world.command(Command::AbandonEnrolment).unwrap();
    world.enrol(true);
    world.command(Command::SignIn { user_name: &UserName::parse("alice").unwrap() }).unwrap();
    let trip = world.start();
    world.hold(trip, 500);
    world.record();
    world.scan(trip, 1).unwrap();
    world.sign_basket(trip);
    let item = world.item();
    world.fail(item.id);
    world.cancel(trip);
    let cancellation = world.item();
    world.problem(cancellation.id, ProblemCode::AlreadyAccepted);
    world.cancel(trip);
    world.record();
    world.fail(world.poll_id());
    world.boot += 1;
    world.happen(&EventBody::KeySetPublished { seq: 4 });
    world.poll();
    let keys = DueId::Keys { device: world.device().id };
    world.fail(keys);
    let set =
        sign(&key_set(4, &[(RESULTS, KeyUse::Results, -9_999, 9_999), (PASS, KeyUse::Pass, -9_999, 9_999)]), ROOT);
    world.ok(keys, &walkpay::protocol::message::KeySetAnswer { key_set: set });
    let forged = sign(&world.event(2, &EventBody::DeviceRevoked {}), 99);
    world.page(vec![forged.clone()]);
    let set = sign(&keys_in_force(), ROOT);
    world.ok(keys, &walkpay::protocol::message::KeySetAnswer { key_set: set });
    world.page(vec![forged]);
    world.pass_time(2_000);
    world.page(vec![]);
    world.command(Command::ForwardNow).unwrap();
    let bought = world.judged(Verdict::Accepted);
    let debit = sign(&world.debit(bought, DebitStatus::Debited), RESULTS);
    world.happen(&EventBody::Debit { document: debit });
    world.poll();
    pay_orders(&mut world);
    let last = world.told().last().unwrap().split(' ').next().unwrap().parse().unwrap();
    world.command(Command::AckEvents { up_to: last }).unwrap();
    world.pass_time(36 * 60_000);
    let now = world.now();
    for event in prune(&world.session, &now).events {
        world.session.apply(&event);
        world.journal.push(event);
    }
    let rotate = Command::PrepareRotation { request_key: key(20).1, consent_key: key(21).1 };
    let Reply::ToSign(inputs) = world.command(rotate).unwrap() else { panic!() };
    let by: Vec<_> = inputs.iter().zip([CONSENT, 20, 21]).map(|(i, seed)| signature(&i.input, seed)).collect();
    world.command(Command::SubmitRotation { signatures: [&by[0], &by[1], &by[2]] }).unwrap();
    let item = world.item();
    world.problem(item.id, ProblemCode::KeyUnknown);
    world.problem(item.id, ProblemCode::DeviceFrozen);
    world.command(Command::SignOut).unwrap();
    world
}

/// Orders are listed and looked at; one slip is paid, another one is given up.
fn pay_orders(world: &mut World) {
    let filter = OrderFilter::default();
    let page = OrderPage { orders: vec![world.order(1, 1_000), world.order(2, 1_000)], next: None };
    world.command(Command::OrdersListed { filter: &filter, page: &page }).unwrap();
    let line = FeeLine {
        name: "Delivery".into(),
        quantity: "1".into(),
        unit_price: eur(1_000),
        amount: eur(1_000),
        tax_rate: "19".into(),
        tax: eur(160),
    };
    let order = OrderView {
        summary: world.order(1, 1_000),
        paying_unit: String::new(),
        remarks: "Second floor".into(),
        fees: vec![line],
        version: 1,
        refunded: eur(0),
        legs: vec![],
    };
    world.command(Command::OrderShown { service_number: number(1), order: &order }).unwrap();
    let (slip, payment) = world.paying_slip(PaymentMethod::Test);
    world.command(Command::ClosePayment { slip_id: slip, payment_id: payment }).unwrap();
    let closure = world.item();
    world.problem(closure.id, ProblemCode::NotFound);
    world.tell_slip(slip, SlipStatus::Paid, PaymentStatus::Succeeded);
    let other = world.ask_slip(&[3]);
    let view = SlipView { slip_number: SlipNumber::parse("000000000000000008").unwrap(), ..world.slip_view(other) };
    let made = world.item();
    world.ok(made.id, &view);
    world.pay(other, PaymentMethod::Bank);
    world.command(Command::CloseSlip { slip_id: other }).unwrap();
    let closure = world.item();
    world.ok(closure.id, &SlipView { status: SlipStatus::Closed, ..view });
}

fn snapshot_of(world: &mut World) -> JournalEvent {
    let state = Box::new(world.session.clone());
    JournalEvent { v: VERSION, at: Timestamp::from_millis(T0), device: None, fact: Fact::Snapshot { state } }
}

#[test]
fn every_variant_has_a_fixed_form() {
    let mut world = life();
    let mut first: BTreeMap<&str, serde_json::Value> = BTreeMap::new();
    for event in &world.journal {
        let value = serde_json::to_value(event).unwrap();
        assert_eq!(value["fact"]["kind"], name(&event.fact));
        first.entry(name(&event.fact)).or_insert(value);
    }
    let empty = JournalEvent {
        v: 1,
        at: Timestamp::from_millis(T0),
        device: None,
        fact: Fact::Snapshot { state: Box::default() },
    };
    first.insert("snapshot", serde_json::to_value(&empty).unwrap());
    // Written by earlier versions only.
    let status = Fact::Status { status: DeviceStatus::Frozen };
    let said = JournalEvent { v: 2, device: Some(world.device().id), fact: status, ..empty };
    first.insert("status", serde_json::to_value(&said).unwrap());
    assert_eq!(first.len(), 39, "missing: every variant must happen in this life: {:?}", first.keys());
    insta::assert_json_snapshot!(first);
    insta::assert_json_snapshot!("state", snapshot_of(&mut world));
}

#[test]
fn a_snapshot_takes_the_place_of_all_earlier_events() {
    let mut world = life();
    world.restart();
    let snapshot = serde_json::to_vec(&snapshot_of(&mut world)).unwrap();
    let mut from_snapshot = Session::default();
    from_snapshot.apply(&JournalEvent::parse(&snapshot).unwrap());
    assert_eq!(from_snapshot.since_snapshot(), 0);
    let devices = |s: &Session| s.devices().cloned().collect::<Vec<_>>();
    assert_eq!(devices(&from_snapshot), devices(&world.session));
    assert!(world.journal.len() < 5_000);
    let now = world.now();
    assert!(compaction(&world.session, &now).is_none(), "not worth it yet");
}

#[test]
fn a_long_journal_is_worth_compacting() {
    let mut world = World::enrolled();
    let trip = world.start();
    while world.session.since_snapshot() < 5_000 {
        world.scan(trip, 1 + (world.session.since_snapshot() % 8) as u32).ok();
        if world.trip(trip).basket.lines().len() > 5 {
            let line = world.trip(trip).basket.lines()[0].id;
            world.command(Command::Remove { trip_id: trip, line }).unwrap();
        }
    }
    let now = world.now();
    let snapshot = compaction(&world.session, &now).unwrap();
    let mut short = Session::default();
    short.apply(&snapshot);
    assert_eq!(short.current().unwrap(), world.session.current().unwrap());
}

#[test]
fn what_a_newer_version_wrote_is_not_touched() {
    let newer = br#"{"v":4,"at":"2026-01-01T00:00:00.000Z","fact":{"kind":"teleported","data":{}}}"#;
    let same = br#"{"v":1,"at":"2026-01-01T00:00:00.000Z","fact":{"kind":"teleported","data":{}}}"#;
    let known =
        br#"{"v":4,"at":"2026-01-01T00:00:00.000Z","later":1,"fact":{"kind":"acked","data":{"up_to":3,"by":"x"}}}"#;
    let problem = |json: &[u8]| JournalEvent::parse(json).unwrap_err().code();
    assert_eq!(problem(newer), "storage.too_new");
    assert_eq!(problem(same), "storage.corrupt");
    assert_eq!(problem(b"{"), "storage.corrupt");
    assert_eq!(JournalEvent::parse(known).unwrap().fact, Fact::Acked { up_to: 3 });
    // A state that can be read may have had members that cannot.
    let mut world = World::enrolled();
    let state = JournalEvent { v: VERSION + 1, ..snapshot_of(&mut world) };
    assert_eq!(problem(&serde_json::to_vec(&state).unwrap()), "storage.too_new");
}

#[test]
fn a_journal_of_version_1_is_read_as_it_was_meant() {
    let mut world = World::enrolled();
    let trip = world.judged(Verdict::Accepted);
    let mut state = serde_json::to_value(snapshot_of(&mut world)).unwrap();
    state["v"] = 1.into();
    let devices = state["fact"]["data"]["state"]["devices"].as_object_mut().unwrap();
    for device in devices.values_mut() {
        let device = device.as_object_mut().unwrap();
        assert!(device.remove("slips").is_some() && device.remove("orders").is_some(), "what version 1 did not have");
    }
    let old = JournalEvent::parse(&serde_json::to_vec(&state).unwrap()).unwrap();
    let mut session = Session::default();
    session.apply(&old);
    assert_eq!(session.current().unwrap(), world.session.current().unwrap());
    let pruned = format!(
        r#"{{"v":1,"at":"2026-01-01T00:00:00.000Z","device":"{}","fact":{{"kind":"pruned","data":{{"trips":["{trip}"]}}}}}}"#,
        world.device().id
    );
    session.apply(&JournalEvent::parse(pruned.as_bytes()).unwrap());
    assert_eq!(session.current().unwrap().trips().count(), 0);
}

#[test]
fn finished_and_acknowledged_trips_can_be_forgotten() {
    let mut world = World::enrolled();
    let bought = world.judged(Verdict::Accepted);
    let open = world.start();
    let now = world.now();
    assert!(prunable(world.device(), &now).is_empty(), "the debit is still to come");
    let unpaid = sign(&world.debit(bought, DebitStatus::Unpaid), RESULTS);
    world.happen(&EventBody::Debit { document: unpaid });
    world.poll();
    world.command(Command::AckEvents { up_to: 2 }).unwrap();
    assert!(prunable(world.device(), &now).is_empty(), "it may still be settled");
    let settled = sign(&world.debit(bought, DebitStatus::Settled), RESULTS);
    world.happen(&EventBody::Debit { document: settled });
    world.poll();
    assert!(prunable(world.device(), &now).is_empty(), "the host does not know yet");
    world.command(Command::AckEvents { up_to: 3 }).unwrap();
    assert!(prunable(world.device(), &now).is_empty(), "the shopper is still in the store");
    world.pass_time(34 * 60_000);
    let now = world.now();
    assert!(prunable(world.device(), &now).is_empty(), "clocks are not exact");
    world.pass_time(2 * 60_000);
    world.restart();
    let now = world.now();
    assert!(prunable(world.device(), &now).is_empty(), "nobody has told the time since the start");
    world.poll();
    let now = world.now();
    assert_eq!(prunable(world.device(), &now), [bought]);
    for event in prune(&world.session, &now).events {
        world.session.apply(&event);
    }
    assert_eq!(world.device().trips().map(|t| t.id).collect::<Vec<_>>(), [open]);
}
