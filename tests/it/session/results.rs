//! The event log: what is believed, what is not, and what a host sees of it.

use super::world::*;
use walkpay::protocol::document::*;
use walkpay::protocol::message::*;
use walkpay::protocol::request::TerminalRequest;
use walkpay::session::*;
use walkpay::*;

/// What a forger does to a document.
type Change<D> = fn(&mut D);

/// A visit whose attempt is on record and waits for its verdict.
fn submitted(world: &mut World) -> TripId {
    let trip = world.start();
    world.scan(trip, 1).unwrap();
    world.sign_basket(trip);
    world.record();
    trip
}

fn distrusted(world: &World) -> String {
    match world.last_told() {
        HostEventKind::Distrusted { check, .. } => check,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_poll_asks_for_the_time_and_the_next_ones_wait() {
    let mut world = World::enrolled();
    let poll = |world: &mut World| world.due().into_iter().find(|d| d.id == world.poll_id()).unwrap().request;
    assert_eq!(poll(&mut world), TerminalRequest::Events { after: 0, wait: 25 });
    world.restart();
    assert_eq!(poll(&mut world), TerminalRequest::Events { after: 0, wait: 0 });
    world.page(vec![]);
    assert_eq!(poll(&mut world), TerminalRequest::Events { after: 0, wait: 25 });
    world.happen(&EventBody::CataloguePublished { store_id: store_id(), revision: 8 });
    world.poll();
    assert_eq!(poll(&mut world), TerminalRequest::Events { after: 1, wait: 25 });
    assert_eq!(world.device().published.get(&store_id()), Some(&8));
}

#[test]
fn repeats_are_passed_over_and_a_gap_stops_nothing_else() {
    let mut world = World::enrolled();
    let trip = submitted(&mut world);
    for revision in 1..=4 {
        world.happen(&EventBody::CataloguePublished { store_id: store_id(), revision });
    }
    let log = world.log.clone();
    world.page(vec![log[0].clone(), log[1].clone()]);
    world.page(vec![log[0].clone(), log[1].clone(), log[1].clone(), log[3].clone()]);
    assert_eq!(world.device().cursor, 2);
    assert_eq!(distrusted(&world), "gap");
    world.page(vec![log[3].clone()]);
    assert_eq!(world.told().len(), 3, "said once");
    world.scan(trip, 1).unwrap_err();
    let other = world.start();
    world.hold(other, 100);
    world.record();
    world.page(vec![log[2].clone(), log[3].clone()]);
    assert_eq!((world.device().cursor, world.device().trouble()), (4, None));
    assert_eq!(
        world.told(),
        [
            "1 catalogue_published",
            "2 catalogue_published",
            "3 distrusted",
            "4 catalogue_published",
            "5 catalogue_published"
        ]
    );
}

#[test]
fn forged_entries_have_no_effect() {
    let changes: [(&str, Change<EventDocument>, u8); 8] = [
        ("binding", |e| e.iss = MerchantId::parse("other").unwrap(), RESULTS),
        ("binding", |e| e.aud = DeviceId::new(Timestamp::from_millis(T0), [0; 10]), RESULTS),
        ("binding", |e| e.sub = Sub::parse("u_2").unwrap(), RESULTS),
        ("kid", |_| {}, 99),
        ("kid", |_| {}, CONSENT),
        ("key_use", |_| {}, PASS),
        ("key_retired", |_| {}, RETIRED),
        ("key_not_yet_valid", |e| e.issued_at = Timestamp::from_millis(T0 - 100_000_000_000), RESULTS),
    ];
    for (check, change, signer) in changes {
        let mut world = World::enrolled();
        let mut event = world.event(1, &EventBody::DeviceRevoked {});
        change(&mut event);
        let page = vec![sign(&event, signer)];
        world.page(page.clone());
        answer_keys(&mut world, &keys_in_force());
        world.page(page);
        assert_eq!((world.device().status, world.device().cursor), (DeviceStatus::Active, 0), "{check}");
        assert_eq!((distrusted(&world).as_str(), world.told().len()), (check, 1));
    }
    let mut world = World::enrolled();
    world.happen(&EventBody::DeviceRevoked {});
    let mut flipped = world.log.remove(0).into_bytes();
    let middle = flipped.iter().position(|b| *b == b'.').unwrap() + 30;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    world.page(vec![String::from_utf8(flipped).unwrap()]);
    assert_eq!((world.device().status, distrusted(&world).as_str()), (DeviceStatus::Active, "signature"));
}

fn answer_keys(world: &mut World, set: &KeySet) {
    let id = DueId::Keys { device: world.device().id };
    if world.due().iter().any(|d| d.id == id) {
        assert!(!world.due().iter().any(|d| d.id == world.poll_id()), "first the keys, then the log");
        world.ok(id, &KeySetAnswer { key_set: sign(set, ROOT) });
    }
}

#[test]
fn an_unknown_key_makes_the_terminal_ask_for_newer_ones_first() {
    let mut world = World::enrolled();
    let event = world.event(1, &EventBody::DeviceConfirmed {});
    let page = vec![sign(&event, 50)];
    world.page(page.clone());
    assert!(world.told().is_empty(), "not yet");
    let day = 86_400;
    let newer = key_set(4, &[(50, KeyUse::Results, -day, day)]);
    answer_keys(&mut world, &newer);
    assert_eq!(world.device().key_set.seq, 4);
    let clock = sign(&world.clock(), 50);
    world.ok(world.poll_id(), &EventsPage { events: page, clock });
    assert_eq!(world.told(), ["1 device_confirmed"]);
}

#[test]
fn key_sets_only_go_forward_and_only_by_the_root() {
    let day = 86_400;
    let rows = [
        (key_set(2, &[(50, KeyUse::Results, -day, day)]), ROOT),
        (key_set(3, &[(50, KeyUse::Results, -day, day)]), ROOT),
        (key_set(9, &[(50, KeyUse::Results, -day, day)]), RESULTS),
        (KeySet { merchant_id: MerchantId::parse("other").unwrap(), ..key_set(9, &[]) }, ROOT),
    ];
    for (set, signer) in rows {
        let mut world = World::enrolled();
        world.happen(&EventBody::KeySetPublished { seq: 9 });
        world.poll();
        let id = DueId::Keys { device: world.device().id };
        world.ok(id, &KeySetAnswer { key_set: sign(&set, signer) });
        assert_eq!(world.device().key_set, keys_in_force());
    }
}

#[test]
fn a_validation_must_be_about_exactly_what_was_signed_here() {
    let changes: [(&str, Change<Validation>); 9] = [
        ("binding", |v| v.sub = Sub::parse("u_2").unwrap()),
        ("binding", |v| v.merchant_id = MerchantId::parse("other").unwrap()),
        ("trip", |v| v.trip_id = TripId::new(Timestamp::from_millis(T0), [0; 10])),
        ("store", |v| v.store_id = StoreId::parse("other").unwrap()),
        ("attempt", |v| v.attempt = 2),
        ("basket_sha256", |v| v.basket_sha256 = "other".into()),
        ("total", |v| v.total = eur(1)),
        ("exit_pass", |v| v.exit_pass = None),
        ("form", |v| v.exit_pass = Some("x".into())),
    ];
    for (check, change) in changes {
        let mut world = World::enrolled();
        let trip = submitted(&mut world);
        let mut result = world.validation(trip, Verdict::Accepted);
        change(&mut result);
        world.happen(&EventBody::Validation { document: sign(&result, RESULTS) });
        world.poll();
        assert_eq!((distrusted(&world).as_str(), world.device().cursor), (check, 1));
        assert!(world.trip(trip).accepted().is_none());
        world.tell_verdict(trip, Verdict::Accepted);
        assert!(world.trip(trip).accepted().is_some(), "the log goes on");
    }
}

#[test]
fn an_exit_pass_must_be_bound_to_this_device_and_purchase() {
    let changes: [(Change<ExitPass>, u8); 6] = [
        (|p| p.amount = eur(1), PASS),
        (|p| p.item_count = 99, PASS),
        (|p| p.trip_id = TripId::new(Timestamp::from_millis(T0), [0; 10]), PASS),
        (|p| p.cnf.jwk = key(99).1.to_jwk(), PASS),
        (|p| p.store_id = StoreId::parse("other").unwrap(), PASS),
        (|_| {}, RESULTS),
    ];
    for (change, signer) in changes {
        let mut world = World::enrolled();
        let trip = submitted(&mut world);
        let mut pass = world.exit_pass(trip);
        change(&mut pass);
        let exit_pass = Some(sign(&pass, signer));
        let result = Validation { exit_pass, ..world.validation(trip, Verdict::Accepted) };
        world.happen(&EventBody::Validation { document: sign(&result, RESULTS) });
        world.poll();
        answer_keys(&mut world, &keys_in_force());
        world.poll();
        distrusted(&world);
        assert!(world.trip(trip).exit_pass().is_none());
    }
}

#[test]
fn holds_and_debits_must_be_about_what_is_known_here() {
    let mut world = World::enrolled();
    let trip = world.start();
    world.hold(trip, 1_000);
    world.record();
    let hold = world.trip(trip).holds[0].clone();
    let other = HoldId::new(Timestamp::from_millis(T0), [0; 10]);
    for (id, amount) in [(other, eur(1_000)), (hold.hold_id, eur(999))] {
        let result = world.hold_result(id, trip, HoldStatus::Placed, amount);
        world.happen(&EventBody::Hold { document: sign(&result, RESULTS) });
        world.poll();
        assert_eq!(distrusted(&world), "hold");
        assert!(world.trip(trip).holds[0].placed.is_none());
    }
    let trip = world.judged(Verdict::Accepted);
    let good = world.debit(trip, DebitStatus::Debited);
    let dear = DebitResult { total: eur(1), ..good.clone() };
    let foreign = DebitResult { due: Currency::parse("USD").unwrap().minor(0), ..good };
    for (check, result) in [("total", dear), ("legs", foreign)] {
        world.happen(&EventBody::Debit { document: sign(&result, RESULTS) });
        world.poll();
        assert_eq!(distrusted(&world), check);
        assert!(world.trip(trip).debit.is_none());
    }
}

#[test]
fn a_late_hold_event_does_not_turn_time_back() {
    let mut world = World::enrolled();
    let trip = world.start();
    world.hold(trip, 1_000);
    world.record();
    world.tell_hold(trip, HoldStatus::Placed);
    world.tell_hold(trip, HoldStatus::Accepted);
    assert_eq!(world.trip(trip).holds[0].status, Some(HoldStatus::Placed));
    world.tell_hold(trip, HoldStatus::Released);
    world.tell_hold(trip, HoldStatus::Placed);
    assert_eq!(world.trip(trip).holds[0].status, Some(HoldStatus::Released));
}

#[test]
fn unknown_events_are_kept_and_handed_out_as_they_are() {
    let mut world = World::enrolled();
    let mut event = world.event(1, &EventBody::DeviceConfirmed {});
    event.kind = "loyalty_points".into();
    event.body = serde_json::json!({ "points": 5 });
    let jws = sign(&event, RESULTS);
    world.page(vec![jws.clone()]);
    world.restart();
    assert_eq!(world.last_told(), HostEventKind::Unknown { typ: "loyalty_points".into(), raw: jws });
    assert_eq!(world.device().cursor, 1);
}

#[test]
fn a_clock_statement_of_another_request_says_nothing() {
    let mut world = World::enrolled();
    world.restart();
    let old = world.device().clock;
    for statement in [
        ClockStatement { nonce: "other".into(), now: Timestamp::from_millis(T0 + 999_000), ..world.clock() },
        ClockStatement { device_id: DeviceId::new(Timestamp::from_millis(T0), [0; 10]), ..world.clock() },
    ] {
        let page = EventsPage { events: vec![], clock: sign(&statement, RESULTS) };
        world.ok(world.poll_id(), &page);
        assert_eq!((world.device().clock, distrusted(&world).as_str()), (old, "nonce"));
    }
}

#[test]
fn an_answer_that_was_read_late_does_not_turn_the_clock_back() {
    let mut world = World::enrolled();
    let page = EventsPage { events: vec![], clock: sign(&world.clock(), RESULTS) };
    // The answer is there, and the device sleeps before it reads it.
    world.pass_time(20 * 60_000);
    let body = serde_json::to_vec(&page).unwrap();
    let outcome = HttpOutcome::Answer { status: 200, retry_after_seconds: None, date: None, body };
    let answer = HttpAnswer { id: world.poll_id(), nonce: NONCE.into(), elapsed_ms: 20 * 60_000 + 40, outcome };
    world.input(Input::Answer(answer)).unwrap();
    let now = world.now();
    assert_eq!(world.device().merchant_time(&now), world.merchant_now());
}

#[test]
fn numbers_of_events_survive_restarts_and_reading_starts_after_the_last_acknowledgement() {
    let mut world = World::enrolled();
    for revision in 1..=5 {
        world.happen(&EventBody::CataloguePublished { store_id: store_id(), revision });
    }
    world.poll();
    world.command(Command::AckEvents { up_to: 3 }).unwrap();
    world.restart();
    assert_eq!(world.device().acked(), 3);
    assert_eq!(world.told(), ["4 catalogue_published", "5 catalogue_published"]);
    assert_eq!(world.device().next_event(4).unwrap().number, 5);
    assert!(world.device().next_event(5).is_none());
    world.command(Command::AckEvents { up_to: 2 }).unwrap();
    assert_eq!(world.device().acked(), 3, "never back");
    assert_eq!(world.command(Command::AckEvents { up_to: 6 }).unwrap_err().code(), "invalid_input");
}

#[test]
fn polling_pauses_when_the_host_does_not_read() {
    let mut world = World::enrolled();
    let mut revision = 0;
    while world.due().iter().any(|d| d.id == world.poll_id()) {
        for _ in 0..MAX_EVENTS_PER_PAGE {
            revision += 1;
            world.happen(&EventBody::CataloguePublished { store_id: store_id(), revision });
        }
        world.poll();
        assert!(revision as usize <= MAX_HOST_EVENTS);
    }
    assert!(revision as usize > MAX_HOST_EVENTS - 3 * MAX_EVENTS_PER_PAGE);
    world.command(Command::AckEvents { up_to: revision }).unwrap();
    assert!(world.due().iter().any(|d| d.id == world.poll_id()), "goes on, nothing is lost");
}

#[test]
fn a_merchant_that_does_not_wait_is_not_asked_in_a_circle() {
    let mut world = World::enrolled();
    let page = EventsPage { events: vec![], clock: sign(&world.clock(), RESULTS) };
    let body = serde_json::to_vec(&page).unwrap();
    let outcome = HttpOutcome::Answer { status: 200, retry_after_seconds: None, date: None, body };
    let answer = HttpAnswer { id: world.poll_id(), nonce: NONCE.into(), elapsed_ms: 3, outcome };
    world.input(Input::Answer(answer)).unwrap();
    assert!(world.due().is_empty());
    world.pass_time(2_000);
    world.page(vec![]);
    assert_eq!(world.device().trouble(), None);
}

#[test]
fn an_acceptance_by_a_key_that_is_still_to_come_is_not_lost() {
    let mut world = World::enrolled();
    let trip = submitted(&mut world);
    let document = sign(&world.validation(trip, Verdict::Accepted), 50);
    world.happen(&EventBody::Validation { document });
    let keys = DueId::Keys { device: world.device().id };
    let mut asked = 0;
    for _ in 0..20 {
        world.poll();
        if world.due().iter().any(|d| d.id == keys) {
            asked += 1;
            world.ok(keys, &KeySetAnswer { key_set: sign(&keys_in_force(), ROOT) });
        }
        world.pass_time(6 * 60_000);
    }
    assert!(asked > 1, "asked for once, and now and again");
    assert_eq!(
        (world.device().cursor, world.told(), distrusted(&world).as_str()),
        (0, vec!["1 distrusted".into()], "kid")
    );
    let day = 86_400;
    let all =
        [(RESULTS, KeyUse::Results, -day, day), (PASS, KeyUse::Pass, -day, day), (50, KeyUse::Results, -day, day)];
    while !world.due().iter().any(|d| d.id == keys) {
        world.poll();
        world.pass_time(6 * 60_000);
    }
    world.ok(keys, &KeySetAnswer { key_set: sign(&key_set(4, &all), ROOT) });
    world.poll();
    assert!(world.trip(trip).accepted().is_some());
}

#[test]
fn what_comes_of_a_cancellation_is_told_once_however_soon_the_host_acknowledges() {
    let mut world = World::enrolled();
    let trip = submitted(&mut world);
    world.cancel(trip);
    world.record();
    assert_eq!(world.told(), ["1 trip_cancelled"]);
    world.command(Command::AckEvents { up_to: 1 }).unwrap();
    let now = world.now();
    assert!(prunable(world.device(), &now).is_empty(), "what the merchant makes of it is still to come");
    let rejected = Validation { verdict: Verdict::Rejected, ..world.validation(trip, Verdict::Rejected) };
    world.happen(&EventBody::Validation { document: sign(&rejected, RESULTS) });
    world.happen(&EventBody::TripCancelled { trip_id: trip });
    world.poll();
    assert_eq!(world.told(), ["2 validation"]);
    world.command(Command::AckEvents { up_to: 2 }).unwrap();
    let now = world.now();
    assert_eq!(prunable(world.device(), &now), [trip]);
    for event in prune(&world.session, &now).events {
        world.session.apply(&event);
    }
    world.happen(&EventBody::TripCancelled { trip_id: trip });
    world.poll();
    assert!(world.told().is_empty(), "of a visit that is over and forgotten");
}
