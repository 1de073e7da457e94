//! Validation with every reason, in order (A20–A22).

use crate::domain::*;
use crate::testing::*;
use std::time::Duration;
use walkpay::protocol::crypto::{base64url, digest};
use walkpay::protocol::document::*;
use walkpay::protocol::message::AttemptPut;
use walkpay::protocol::problem::ProblemCode;

#[test]
fn a20_a21_a_covered_basket_is_accepted_with_pass_and_order() {
    let mut w = World::new();
    let mut d = w.device();
    let mut trip = w.trip();
    w.hold(&mut d, &mut trip, 1_000);
    w.work();
    assert_eq!(w.colas(&mut d, &mut trip, 7), Some(Verdict::Accepted));
    let validation = w.validations(&d).pop().unwrap();
    let pass: ExitPass = w.document(validation.exit_pass.as_deref().unwrap(), KeyUse::Pass);
    assert_eq!(pass.cnf.jwk.to_key().unwrap().key_id(), *d.request.kid());
    assert_eq!((pass.amount, pass.item_count, pass.trip_id), (eur(700), 7, trip.id));
    assert_eq!(pass.exp, w.now.plus(Duration::from_secs(30 * 60)));
    assert!(validation.service_number.is_some() && validation.reasons.is_empty());
    assert_eq!(w.report(&trip).order.as_deref(), Some("collecting"), "the debit follows, A11");
}

#[test]
fn a22_stored_value_and_hold_cover_together() {
    let mut w = World::new();
    w.top_up(300);
    let mut d = w.device();
    let mut trip = w.trip();
    assert_eq!(w.colas(&mut d, &mut trip, 4), Some(Verdict::InsufficientCover));
    assert_eq!(w.validations(&d).pop().unwrap().shortfall, Some(eur(100)));
    w.hold(&mut d, &mut trip, 100);
    assert_eq!(w.colas(&mut d, &mut trip, 4), None, "waits for the bank");
    w.work();
    assert_eq!(w.verdict(&d, &trip), Some(Verdict::Accepted));
    let mut second = w.trip();
    assert_eq!(w.colas(&mut d, &mut second, 1), Some(Verdict::InsufficientCover), "what is spent covers nothing");
}

#[test]
fn a22_without_stored_value_account_the_hold_alone_covers() {
    let mut w = World::new();
    w.admin(AdminCommand::AddUser(NewUser {
        user_name: name("bob"),
        display_name: String::new(),
        addresses: vec![],
        stored_value: None,
        bank: Some(BankAccount { token: "b".into(), label: "b".into(), confirm_url: "https://b.example".into() }),
    }));
    let mut d = w.device_of("bob");
    let mut trip = w.trip();
    w.hold(&mut d, &mut trip, 200);
    w.work();
    assert_eq!(w.colas(&mut d, &mut trip, 3), Some(Verdict::InsufficientCover));
    assert_eq!(w.colas(&mut d, &mut trip, 2), Some(Verdict::Accepted));
    w.work();
    assert_eq!(w.bank.taken(trip.id), 200);
}

#[test]
fn reserved_stored_value_covers_one_basket_only() {
    let mut w = World::new();
    w.top_up(500);
    let (mut d, mut e) = (w.device(), w.device());
    let (mut one, mut two) = (w.trip(), w.trip());
    assert_eq!(w.colas(&mut d, &mut one, 3), Some(Verdict::Accepted));
    assert_eq!(w.colas(&mut e, &mut two, 3), Some(Verdict::InsufficientCover));
    assert_eq!(w.colas(&mut e, &mut two, 2), Some(Verdict::Accepted));
}

#[test]
fn repeats_get_the_first_answer_and_other_bodies_none() {
    let mut w = World::new();
    w.top_up(500);
    let mut d = w.device();
    let mut trip = w.trip();
    let (basket, lines) = w.basket(&mut d, &mut trip, &[(COLA, 1)]);
    let first = w.put_basket(&d, &basket, &lines).unwrap();
    w.pass(Duration::from_secs(60));
    let again = w.put_basket(&d, &basket, &lines).unwrap();
    let (Answer::Recorded { body: first, repeat: false }, Answer::Recorded { body, repeat: true }) = (first, again)
    else {
        panic!("not recorded and repeated")
    };
    assert_eq!(first, body);
    assert_eq!(w.validations(&d).len(), 1);
    let body = AttemptPut { basket: d.consent.jws(&basket).unwrap(), lines: base64url(b"{}") };
    let command = Command::PutAttempt { trip_id: trip.id, attempt: 1, body };
    assert_eq!(w.refused(&d.caller(), command), ProblemCode::IdConflict);
}

#[test]
fn content_is_refused_for_typed_reasons() {
    type Alter = fn(&mut BasketSummary, &mut Vec<u8>);
    let relined = |b: &mut BasketSummary, lines: &mut Vec<u8>, from: &str, to: &str| {
        *lines = String::from_utf8(lines.clone()).unwrap().replace(from, to).into_bytes();
        b.lines_sha256 = digest(lines);
    };
    let cases: [(Alter, ReasonCode); 11] = [
        (|_, lines| lines.push(b' '), ReasonCode::LinesDigest),
        (
            |b, lines| {
                *lines = b"{".to_vec();
                b.lines_sha256 = digest(lines);
            },
            ReasonCode::LinesMalformed,
        ),
        (|b, _| b.total = walkpay::Currency::parse("USD").unwrap().minor(200), ReasonCode::CurrencyMismatch),
        (|b, _| b.catalogue_revision = 99, ReasonCode::CatalogueUnknown),
        (|b, _| b.pricing_version = 99, ReasonCode::PricingVersion),
        (|b, _| b.priced_at = b.priced_at.plus(Duration::from_secs(301)), ReasonCode::PricedAt),
        (|b, _| b.priced_at = b.priced_at.minus(Duration::from_secs(12 * 3600 + 1)), ReasonCode::PricedAt),
        (|b, _| b.total = eur(100), ReasonCode::TotalMismatch),
        (|b, _| b.item_count = 1, ReasonCode::TotalMismatch),
        (|b, _| b.hold_id = Some(walkpay::HoldId::new(b.priced_at, [3; 10])), ReasonCode::HoldMismatch),
        (|_, _| (), ReasonCode::Cover),
    ];
    let mut w = World::new();
    let mut d = w.device();
    for (n, (alter, code)) in cases.into_iter().enumerate() {
        let mut trip = w.trip();
        let (mut basket, mut lines) = w.basket(&mut d, &mut trip, &[(COLA, 2)]);
        alter(&mut basket, &mut lines);
        w.put_basket(&d, &basket, &lines).unwrap();
        assert_eq!(last_reasons(&w, &d), [code], "case {n}");
    }
    for (from, to, code) in [
        ("1.00", "0.90", ReasonCode::PriceMismatch),
        ("05449000000996", "04000000000006", ReasonCode::SaleStopped),
        ("05449000000996", "09999999999994", ReasonCode::UnknownArticle),
        ("\"pieces\":2", "\"pieces\":0", ReasonCode::QuantityLimit),
    ] {
        let mut trip = w.trip();
        let (mut basket, mut lines) = w.basket(&mut d, &mut trip, &[(COLA, 2)]);
        relined(&mut basket, &mut lines, from, to);
        w.put_basket(&d, &basket, &lines).unwrap();
        assert!(last_reasons(&w, &d).contains(&code), "{code:?}: {:?}", last_reasons(&w, &d));
    }
}

#[test]
fn a_price_mismatch_says_what_the_total_should_be() {
    let mut w = World::new();
    let mut d = w.device();
    let mut trip = w.trip();
    let (mut basket, lines) = w.basket(&mut d, &mut trip, &[(COLA, 2)]);
    basket.total = eur(1);
    w.put_basket(&d, &basket, &lines).unwrap();
    assert_eq!(w.validations(&d).pop().unwrap().repriced_total, Some(eur(200)));
}

#[test]
fn an_old_revision_is_priced_until_its_time_is_over() {
    let mut w = World::new();
    w.top_up(1_000);
    let mut d = w.device();
    let mut dearer = articles();
    dearer.values_mut().for_each(|a| a.price_minor += 10);
    w.pass(Duration::from_secs(60));
    assert_eq!(w.import(&dearer), 2);
    let mut trip = w.trip();
    assert_eq!(w.colas(&mut d, &mut trip, 1), Some(Verdict::Accepted), "revision 1 at its own price");
    w.pass(w.core.ctx(w.now, [0; 32]).config.catalogue_usable);
    let mut trip = w.trip();
    assert_eq!(w.colas(&mut d, &mut trip, 1), Some(Verdict::Rejected));
    assert_eq!(last_reasons(&w, &d), [ReasonCode::CatalogueOutdated]);
    assert_eq!(w.validations(&d).pop().unwrap().repriced_total, Some(eur(100)));
}

#[test]
fn a_recall_counts_for_baskets_of_older_revisions() {
    let mut w = World::new();
    w.top_up(1_000);
    let mut d = w.device();
    let mut recalled = articles();
    recalled.get_mut(&walkpay::barcode::Gtin::from_u64(WINE).unwrap()).unwrap().sale_stopped = true;
    w.import(&recalled);
    let mut trip = w.trip();
    assert_eq!(w.submit(&mut d, &mut trip, &[(COLA, 1), (WINE, 1)]), Some(Verdict::Rejected));
    let last = w.validations(&d).pop().unwrap();
    assert_eq!((last.reasons.len(), last.reasons[0].code, last.reasons[0].line), (1, ReasonCode::SaleStopped, Some(2)));
    assert_eq!(w.colas(&mut d, &mut trip, 1), Some(Verdict::Accepted), "by the prices of the older revision");
}

#[test]
fn a_trip_cannot_be_kept_open_for_its_old_prices() {
    const HOUR: Duration = Duration::from_secs(3600);
    let mut w = World::new();
    w.top_up(1_000);
    let mut d = w.device();
    let mut trip = w.trip();
    let begun = w.now;
    for hours in [0, 11, 3] {
        w.work_for(hours * HOUR);
        assert_eq!(w.colas(&mut d, &mut trip, 20), Some(Verdict::InsufficientCover), "a sign of life");
    }
    let (mut basket, lines) = w.basket(&mut d, &mut trip, &[(COLA, 1)]);
    basket.priced_at = begun.minus(11 * HOUR);
    w.put_basket(&d, &basket, &lines).unwrap();
    assert_eq!(last_reasons(&w, &d), [ReasonCode::PricedAt], "25 hours ago");
    w.work_for(10 * HOUR - Duration::from_secs(1));
    assert_eq!(w.report(&trip).state, "open");
    w.work_for(Duration::from_secs(1));
    assert_eq!(w.report(&trip).state, "cancelled", "24 hours after its first sight");
    assert_eq!(w.colas(&mut d, &mut trip, 1), Some(Verdict::Rejected));
    assert_eq!(last_reasons(&w, &d), [ReasonCode::TripCancelled]);
}

#[test]
fn a_basket_that_waited_in_the_outbox_is_judged_by_when_it_was_priced() {
    let mut w = World::new();
    w.top_up(1_000);
    let mut d = w.device();
    let mut trip = w.trip();
    let (basket, lines) = w.basket(&mut d, &mut trip, &[(COLA, 1)]);
    w.pass(Duration::from_secs(11 * 3600));
    w.put_basket(&d, &basket, &lines).unwrap();
    assert_eq!(w.verdict(&d, &trip), Some(Verdict::Accepted));
}

#[test]
fn at_most_one_attempt_of_a_trip_is_accepted() {
    let mut w = World::new();
    w.top_up(1_000);
    let mut d = w.device();
    let mut trip = w.trip();
    let (late, lines) = w.basket(&mut d, &mut trip, &[(COLA, 1)]);
    assert_eq!(w.colas(&mut d, &mut trip, 20), Some(Verdict::InsufficientCover), "attempt 2");
    w.put_basket(&d, &late, &lines).unwrap();
    assert_eq!(last_reasons(&w, &d), [ReasonCode::Superseded], "attempt 1 came after attempt 2");
    assert_eq!(w.colas(&mut d, &mut trip, 2), Some(Verdict::Accepted), "attempt 3");
    assert_eq!(w.colas(&mut d, &mut trip, 1), Some(Verdict::Rejected), "attempt 4");
    assert_eq!(last_reasons(&w, &d), [ReasonCode::AlreadyAccepted]);
    w.work();
    assert_eq!(w.stored_value(&d), 800);
}

#[test]
fn a_waiting_attempt_is_superseded_by_a_higher_one() {
    let mut w = World::new();
    let mut d = w.device();
    let mut trip = w.trip();
    w.hold(&mut d, &mut trip, 500);
    assert_eq!(w.colas(&mut d, &mut trip, 1), None);
    assert_eq!(w.colas(&mut d, &mut trip, 2), None);
    let first = w.validations(&d).pop().unwrap();
    assert_eq!((first.attempt, first.reasons[0].code), (1, ReasonCode::Superseded));
    w.work();
    assert_eq!(w.verdict(&d, &trip), Some(Verdict::Accepted));
    assert_eq!(w.bank.taken(trip.id), 200);
}

#[test]
fn limits_of_new_devices_and_days() {
    let limits = Limits { purchase: 10, day: 15, count: 2 };
    let mut w = World::with(Config { new_device_limits: limits, ..Config::default() });
    w.top_up(10_000);
    let mut d = w.device();
    assert_eq!(w.colas(&mut d, &mut w.trip(), 11), Some(Verdict::Rejected));
    assert_eq!(last_reasons(&w, &d), [ReasonCode::AmountLimit]);
    assert_eq!(w.colas(&mut d, &mut w.trip(), 8), Some(Verdict::Accepted));
    assert_eq!(w.colas(&mut d, &mut w.trip(), 8), Some(Verdict::Rejected), "16.00 on one day");
    assert_eq!(w.colas(&mut d, &mut w.trip(), 1), Some(Verdict::Accepted));
    assert_eq!(w.colas(&mut d, &mut w.trip(), 1), Some(Verdict::Rejected));
    assert_eq!(last_reasons(&w, &d), [ReasonCode::CountLimit]);
    w.work_for(Duration::from_secs(24 * 3600));
    let picks = [(COLA, 20)];
    let (mut basket, lines) = w.basket(&mut d, &mut w.trip(), &picks);
    basket.trip_id = w.trip().id;
    w.put_basket(&d, &basket, &lines).unwrap();
    assert_eq!(w.validations(&d).pop().unwrap().verdict, Verdict::Accepted, "a day older and a day later");
}

#[test]
fn what_earlier_purchases_left_owing_lowers_the_limit() {
    let limits = Limits { purchase: 10, day: 100, count: 10 };
    let mut w = World::with(Config { new_device_limits: limits, ..Config::default() });
    let mut d = w.device();
    let mut unpaid = w.trip();
    w.hold(&mut d, &mut unpaid, 800);
    w.work();
    w.bank.script("c", &[Script::Decline("insufficient_funds")]);
    assert_eq!(w.colas(&mut d, &mut unpaid, 8), Some(Verdict::Accepted));
    w.work();
    assert_eq!(w.report(&unpaid).order.as_deref(), Some("payable"));
    w.top_up(10_000);
    assert_eq!(w.colas(&mut d, &mut w.trip(), 3), Some(Verdict::Rejected));
    assert_eq!(last_reasons(&w, &d), [ReasonCode::AmountLimit]);
    assert_eq!(w.colas(&mut d, &mut w.trip(), 2), Some(Verdict::Accepted));
}

#[test]
fn age_and_spot_checks_wait_for_staff_whose_decision_counts_once() {
    let mut w = World::with(Config { spot_check_per_mille: 1_000, ..Config::default() });
    w.top_up(5_000);
    let mut d = w.device();
    let mut trip = w.trip();
    assert_eq!(w.submit(&mut d, &mut trip, &[(COLA, 1), (WINE, 1)]), Some(Verdict::CheckRequired));
    assert_eq!(last_reasons(&w, &d), [ReasonCode::AgeCheck, ReasonCode::SpotCheck]);
    assert!(picked(&w));
    let staff = Caller::Staff { store_id: store_id(), staff_id: "s".into(), scopes: StaffScopes::unnamed() };
    let Answer::Checks(checks) = w.read(&staff, Query::Checks { store_id: store_id() }).unwrap() else { panic!() };
    assert_eq!((checks.len(), checks[0].total), (1, eur(800)));
    assert!(checks[0].lines["lines"][1]["gtin"].is_string());
    let decision =
        Decision { trip_id: trip.id, attempt: 1, basket_sha256: checks[0].basket_sha256.clone(), accept: true };
    let other = Decision { basket_sha256: digest(b"other"), ..decision.clone() };
    assert_eq!(w.refused(&staff, Command::Decide(other)), ProblemCode::PreconditionFailed);
    let elsewhere = Caller::Staff {
        store_id: walkpay::StoreId::parse("s2").unwrap(),
        staff_id: "s".into(),
        scopes: StaffScopes::unnamed(),
    };
    assert_eq!(w.refused(&elsewhere, Command::Decide(decision.clone())), ProblemCode::Forbidden);
    assert_eq!(w.refused(&d.caller(), Command::Decide(decision.clone())), ProblemCode::Forbidden);
    let answer = w.run(&staff, Command::Decide(decision.clone())).unwrap();
    assert_eq!(answer, Answer::Decided { verdict: Verdict::Accepted });
    assert_eq!(w.verdict(&d, &trip), Some(Verdict::Accepted));
    assert!(!picked(&w));
    assert_eq!(w.refused(&staff, Command::Decide(decision)), ProblemCode::AlreadyDecided);
    w.work();
    assert_eq!(w.stored_value(&d), 4_200);
}

fn picked(w: &World) -> bool {
    w.conn.query_row("SELECT max(picked) FROM users", [], |r| r.get(0)).unwrap()
}

#[test]
fn nobody_gets_out_of_a_spot_check_by_signing_again_or_elsewhere() {
    let mut w = World::new();
    w.top_up(5_000);
    let mut d = w.device();
    w.conn.execute_batch("UPDATE users SET picked = 1").unwrap();
    let mut trip = w.trip();
    assert_eq!(w.colas(&mut d, &mut trip, 2), Some(Verdict::CheckRequired));
    assert_eq!(w.colas(&mut d, &mut trip, 1), Some(Verdict::CheckRequired), "the next attempt");
    let mut elsewhere = w.trip();
    assert_eq!(w.colas(&mut d, &mut elsewhere, 1), Some(Verdict::CheckRequired), "another visit");
    let visit = elsewhere.id;
    let decide = |w: &World, accept| {
        let Answer::Checks(checks) = w.read(&Caller::Operator, Query::Checks { store_id: store_id() }).unwrap() else {
            panic!()
        };
        let check = checks.iter().find(|c| c.trip_id == visit).unwrap();
        let (attempt, basket_sha256) = (check.attempt, check.basket_sha256.clone());
        let decision = Decision { trip_id: visit, attempt, basket_sha256, accept };
        w.run(&Caller::Operator, Command::Decide(decision)).unwrap()
    };
    assert_eq!(decide(&w, false), Answer::Decided { verdict: Verdict::Rejected });
    assert_eq!(w.colas(&mut d, &mut elsewhere, 2), Some(Verdict::CheckRequired), "after a refusal");
    assert_eq!(decide(&w, true), Answer::Decided { verdict: Verdict::Accepted });
    assert_eq!(w.colas(&mut d, &mut w.trip(), 1), Some(Verdict::Accepted), "staff has seen a basket");
}

#[test]
fn nobody_fills_the_list_of_checks() {
    let mut w = World::new();
    w.top_up(10_000);
    let mut d = w.device();
    let mut trips = Vec::new();
    for _ in 0..3 {
        let mut trip = w.trip();
        assert_eq!(w.submit(&mut d, &mut trip, &[(WINE, 1)]), Some(Verdict::CheckRequired));
        trips.push(trip);
    }
    assert_eq!(w.submit(&mut d, &mut w.trip(), &[(WINE, 1)]), Some(Verdict::Rejected));
    assert_eq!(last_reasons(&w, &d), [ReasonCode::CountLimit]);
    assert_eq!(
        w.submit(&mut d, &mut trips[0], &[(WINE, 2)]),
        Some(Verdict::CheckRequired),
        "the next attempt of a visit"
    );
    w.cancel(&mut d, &trips[1]).unwrap();
    assert_eq!(w.submit(&mut d, &mut w.trip(), &[(WINE, 1)]), Some(Verdict::CheckRequired));
    let of = |trip_id, attempt| match w.read(&Caller::Operator, Query::Check { trip_id, attempt }) {
        Ok(Answer::Checks(checks)) => checks.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!((of(trips[0].id, 2), of(trips[0].id, 1), of(trips[1].id, 1), of(w.trip().id, 1)), (1, 0, 0, 0));
}

#[test]
fn staff_can_refuse_and_their_acceptance_does_not_replace_cover() {
    let mut w = World::new();
    w.top_up(700);
    let mut d = w.device();
    let decide = |w: &World, trip: &Trip, accept| {
        let Answer::Checks(checks) = w.read(&Caller::Operator, Query::Checks { store_id: store_id() }).unwrap() else {
            panic!()
        };
        let check = checks.iter().find(|c| c.trip_id == trip.id).unwrap();
        let basket_sha256 = check.basket_sha256.clone();
        let decision = Decision { trip_id: trip.id, attempt: check.attempt, basket_sha256, accept };
        w.run(&Caller::Operator, Command::Decide(decision)).unwrap()
    };
    let mut trip = w.trip();
    assert_eq!(w.submit(&mut d, &mut trip, &[(WINE, 1)]), Some(Verdict::CheckRequired));
    assert_eq!(decide(&w, &trip, false), Answer::Decided { verdict: Verdict::Rejected });
    assert_eq!(last_reasons(&w, &d), [ReasonCode::StaffRefused]);
    assert_eq!(w.submit(&mut d, &mut trip, &[(WINE, 1)]), Some(Verdict::CheckRequired), "another attempt");
    assert_eq!(w.colas(&mut d, &mut w.trip(), 1), Some(Verdict::Accepted), "stored value goes elsewhere meanwhile");
    assert_eq!(decide(&w, &trip, true), Answer::Decided { verdict: Verdict::InsufficientCover });
    w.work();
    assert_eq!(w.report(&trip).state, "open");
}

#[test]
fn staffs_acceptance_outlasts_the_wait_for_the_bank() {
    let mut w = World::new();
    w.top_up(700);
    let mut d = w.device();
    let mut trip = w.trip();
    assert_eq!(w.submit(&mut d, &mut trip, &[(WINE, 1)]), Some(Verdict::CheckRequired));
    assert_eq!(w.colas(&mut d, &mut w.trip(), 1), Some(Verdict::Accepted), "stored value goes elsewhere meanwhile");
    w.hold(&mut d, &mut trip, 100);
    let Answer::Checks(checks) = w.read(&Caller::Operator, Query::Checks { store_id: store_id() }).unwrap() else {
        panic!()
    };
    let basket_sha256 = checks[0].basket_sha256.clone();
    let decision = Decision { trip_id: trip.id, attempt: 1, basket_sha256, accept: true };
    w.run(&Caller::Operator, Command::Decide(decision)).unwrap();
    assert_eq!(w.verdict(&d, &trip), Some(Verdict::CheckRequired), "the bank has not answered");
    w.work();
    assert_eq!(w.verdict(&d, &trip), Some(Verdict::Accepted));
}

#[test]
fn documents_of_others_are_refused_before_anything_is_recorded() {
    let mut w = World::new();
    w.add_user("bob");
    let (mut d, mut b) = (w.device(), w.device_of("bob"));
    let mut trip = w.trip();
    let (basket, lines) = w.basket(&mut d, &mut trip, &[(COLA, 1)]);
    let put = |jws: String, attempt| Command::PutAttempt {
        trip_id: trip.id,
        attempt,
        body: AttemptPut { basket: jws, lines: base64url(&lines) },
    };
    let good = d.consent.jws(&basket).unwrap();
    let by_request_key = put(d.request.jws(&basket).unwrap(), 1);
    assert_eq!(w.refused(&d.caller(), by_request_key), ProblemCode::DocumentInvalid);
    assert_eq!(w.refused(&d.caller(), put(b.consent.jws(&basket).unwrap(), 1)), ProblemCode::DocumentInvalid);
    assert_eq!(w.refused(&b.caller(), put(good.clone(), 1)), ProblemCode::DocumentInvalid, "another device's session");
    assert_eq!(w.refused(&d.caller(), put(good.clone(), 2)), ProblemCode::DocumentMismatch, "another path");
    let mut flipped = good.clone().into_bytes();
    let middle = good.find('.').unwrap() + 20;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    let flipped = put(String::from_utf8(flipped).unwrap(), 1);
    assert_eq!(w.refused(&d.caller(), flipped), ProblemCode::DocumentInvalid);
    for altered in [
        BasketSummary { merchant_id: walkpay::MerchantId::parse("x").unwrap(), ..basket.clone() },
        BasketSummary { store_id: walkpay::StoreId::parse("x").unwrap(), ..basket.clone() },
        BasketSummary { sub: b.sub.clone(), ..basket.clone() },
        BasketSummary { device_id: b.id, ..basket.clone() },
    ] {
        let command = put(d.consent.jws(&altered).unwrap(), 1);
        assert_eq!(w.refused(&d.caller(), command), ProblemCode::DocumentMismatch);
    }
    let signed = BasketSummary { sub: b.sub.clone(), device_id: b.id, device_seq: b.next(), ..basket.clone() };
    w.run(&d.caller(), put(good, 1)).unwrap();
    let theirs = put(b.consent.jws(&BasketSummary { attempt: 2, ..signed }).unwrap(), 2);
    assert_eq!(w.refused(&b.caller(), theirs), ProblemCode::DocumentMismatch, "a trip of another device");
}
