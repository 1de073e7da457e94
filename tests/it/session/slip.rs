//! Orders and slips: what is asked for, signed, sent and given up, and what a crash in any place leaves.

use super::world::*;
use walkpay::protocol::crypto::Algorithm;
use walkpay::protocol::document::*;
use walkpay::protocol::order::*;
use walkpay::protocol::problem::ProblemCode;
use walkpay::protocol::question::OrderFilter;
use walkpay::protocol::request::TerminalRequest;
use walkpay::session::*;
use walkpay::*;

fn list(world: &mut World, filter: &OrderFilter, orders: Vec<OrderSummary>, more: bool) -> Result<Reply, WalkpayError> {
    let next = orders.last().filter(|_| more).map(|o| o.service_number);
    world.command(Command::OrdersListed { filter, page: &OrderPage { orders, next } })
}

fn numbers(world: &World, filter: &OrderFilter) -> Vec<u64> {
    let seen = world.device().orders().page(filter).unwrap();
    seen.orders.iter().map(|o| o.service_number.to_string().parse().unwrap()).collect()
}

fn waits(world: &World) -> Vec<(OutboxKind, Option<Money>)> {
    world.device().outbox().iter().map(|item| (item.kind, item.amount)).collect()
}

/// A crash before `step` and after it; and `step` comes once more, as an answer does that was repeated on the way.
fn with_crashes(world: &mut World, step: impl Fn(&mut World)) {
    world.restart();
    step(world);
    world.restart();
    step(world);
    world.restart();
}

#[test]
fn a_slip_is_made_paid_and_told_whatever_crashes_between() {
    let mut world = World::enrolled();
    let id = world.ask_slip(&[1, 2]);
    with_crashes(&mut world, |_| {});
    let asked = world.item();
    let TerminalRequest::MakeSlip { slip_id, body } = asked.request.clone() else { panic!("{asked:?}") };
    assert_eq!((slip_id, body.orders), (id, vec![number(1), number(2)]));
    assert_eq!(
        asked.request.to_http().unwrap().idempotency_key,
        Some(id.to_string()),
        "the same key for its whole life"
    );
    with_crashes(&mut world, |w| w.fail(asked.id));
    world.pass_time(60_000);
    assert_eq!(world.item().request, asked.request, "the same bytes again");
    let view = world.slip_view(id);
    with_crashes(&mut world, |w| drop(w.ok(asked.id, &view)));
    assert_eq!((world.slip(id).number(), world.slip(id).due(false)), (Some(view.slip_number), "pay".into()));
    assert!(world.items().is_empty());

    let to_sign = world.prepare_payment(id, PaymentMethod::Bank, Some(500)).unwrap();
    with_crashes(&mut world, |_| {});
    let again = world.prepare_payment(id, PaymentMethod::Bank, Some(500)).unwrap();
    assert_eq!(to_sign.input, again.input, "one payment, not two");
    assert_eq!(world.device().slip_state(id).unwrap().due, "submit_payment_signature");
    let submitted = world.submit_payment(id, &to_sign.input, CONSENT).unwrap();
    let Reply::Payment(payment_id) = submitted else { panic!("{submitted:?}") };
    with_crashes(&mut world, |_| {});
    let put = world.item();
    let TerminalRequest::PutPayment { slip_number, payment_id: named, body } = put.request.clone() else { panic!() };
    assert_eq!((slip_number, named), (view.slip_number, payment_id));
    let signed: SlipPayment = read(&body.payment);
    assert_eq!((signed.amount, signed.stored_value, signed.method), (eur(2_000), eur(500), PaymentMethod::Bank));
    assert_eq!((signed.device_id, signed.device_seq), (world.device().id, world.slip(id).payments[0].seq));
    world.fail(put.id);
    world.pass_time(60_000);
    world.restart();
    assert_eq!(world.item().request, put.request, "the same bytes again");
    let open = world.payment_view(id, PaymentStatus::Open);
    with_crashes(&mut world, |w| drop(w.ok(put.id, &open)));
    assert!(world.items().is_empty());
    assert_eq!(world.slip(id).status(), Some(SlipStatus::Paying));
    world.tell_slip(id, SlipStatus::Paid, PaymentStatus::Succeeded);
    world.restart();
    let paid = world.device().slip_state(id).unwrap();
    assert_eq!(
        (paid.status, paid.payments[0].is_open(), paid.payments[0].legs.len()),
        (Some(SlipStatus::Paid), false, 1)
    );
    assert_eq!(world.told(), ["1 slip_made", "2 slip"]);
    let now = world.now();
    assert!(prunable_slips(world.device()).is_empty(), "the host does not know yet");
    world.command(Command::AckEvents { up_to: 2 }).unwrap();
    for event in prune(&world.session, &now).events {
        world.session.apply(&event);
    }
    assert_eq!(world.device().slips().count(), 0);
}

#[test]
fn offline_the_outbox_says_what_waits() {
    let mut world = World::enrolled();
    let filter = OrderFilter::default();
    let orders = vec![world.order(1, 1_000), world.order(2, 1_000)];
    list(&mut world, &filter, orders, false).unwrap();
    let id = world.ask_slip(&[1, 2]);
    assert_eq!(waits(&world), [(OutboxKind::Slip, Some(eur(2_000)))], "what the orders were last seen to owe");
    world.ask_slip(&[3]);
    assert_eq!(waits(&world)[1], (OutboxKind::Slip, None), "an order that was never seen");
    let due = world.items().remove(0);
    let view = world.slip_view(id);
    world.ok(due.id, &view);
    world.pay(id, PaymentMethod::StoredValue);
    assert_eq!(waits(&world)[1], (OutboxKind::SlipPayment, Some(eur(2_000))));
    assert_eq!(world.device().outbox_totals().amounts, [eur(2_000)]);
    assert!(world.device().outbox().iter().all(|item| item.slip_id.is_some() && item.trip_id.is_none()));
}

#[test]
fn slips_do_not_hold_each_other_up() {
    let mut world = World::enrolled();
    let (first, second) = (world.ask_slip(&[1]), world.ask_slip(&[2]));
    let trip = world.start();
    world.hold(trip, 500);
    assert_eq!(world.items().len(), 3);
    let seqs: Vec<_> = world.items().iter().map(|d| d.id).collect();
    assert!(seqs.is_sorted(), "in the order in which they were asked for: {first} {second}");
    let mut all: Vec<_> = world.device().outbox().iter().map(|item| item.id).collect();
    all.dedup();
    assert_eq!(all.len(), 3, "a number of its own each");
}

#[test]
fn a_wrong_order_of_calls_names_the_call_that_is_due() {
    let mut world = World::enrolled();
    let id = world.ask_slip(&[1, 2]);
    let pay = |world: &mut World, id| world.prepare_payment(id, PaymentMethod::Bank, None);
    assert_eq!(due_call(pay(&mut world, id)), "next_event (the merchant's answer to the slip)");
    let due = world.item();
    let view = world.slip_view(id);
    world.ok(due.id, &view);
    assert_eq!(due_call(world.submit_payment(id, "x", CONSENT)), "pay");
    let payment = world.pay(id, PaymentMethod::Test);
    assert_eq!(due_call(pay(&mut world, id)), "next_event (how the payment ends)");
    let close = world.command(Command::ClosePayment { slip_id: id, payment_id: payment });
    assert_eq!(due_call(close), "next_event (the merchant's answer to the payment), or close_slip");
    let launch = Launch::Url { url: "https://pay.example/1".into() };
    let under_way = PaymentView { launch: Some(launch.clone()), ..world.payment_view(id, PaymentStatus::Open) };
    let due = world.item();
    world.ok(due.id, &under_way);
    assert_eq!(world.device().slip_state(id).unwrap().launch, Some(launch));
    assert_eq!(due_call(pay(&mut world, id)), "next_event (how the payment ends, once the payer has made it)");
    assert_eq!(due_call(world.command(Command::CloseSlip { slip_id: id })), "close_payment");
    world.tell_slip(id, SlipStatus::Paid, PaymentStatus::Succeeded);
    assert_eq!(due_call(pay(&mut world, id)), "make_slip (this one is paid)");
    assert_eq!(due_call(world.command(Command::CloseSlip { slip_id: id })), "make_slip (this one is paid)");
    let close = world.command(Command::ClosePayment { slip_id: id, payment_id: payment });
    assert_eq!(due_call(close), "make_slip (this one is paid)");
    let other = world.ask_slip(&[3]);
    let due = world.item();
    world.problem(due.id, ProblemCode::NotFound);
    assert_eq!(due_call(pay(&mut world, other)), "make_slip (this one was refused)");
    let unknown = SlipId::new(Timestamp::from_millis(T0), [0; 10]);
    assert_eq!(pay(&mut world, unknown).unwrap_err().code(), "unknown");
    let nothing = PaymentId::new(Timestamp::from_millis(T0), [0; 10]);
    let close = world.command(Command::ClosePayment { slip_id: id, payment_id: nothing });
    assert_eq!(close.unwrap_err().code(), "unknown");
}

#[test]
fn what_cannot_be_right_is_refused_before_anything_is_journalled() {
    let mut world = World::enrolled();
    let filter = OrderFilter::default();
    let dollars = Currency::parse("USD").unwrap().minor(100);
    let foreign = OrderSummary { total: dollars, due: dollars, ..world.order(2, 1) };
    let orders = vec![world.order(1, 1_000), foreign];
    list(&mut world, &filter, orders, false).unwrap();
    let events = world.journal.len();
    let ok = SlipRequest { orders: vec![number(1)], remarks: String::new(), invoice: None };
    let invoice = |kind, title: &str, tax_id: Option<&str>| {
        let invoice = Invoice { kind, title: title.into(), tax_id: tax_id.map(str::to_owned) };
        SlipRequest { invoice: Some(invoice), ..ok.clone() }
    };
    let wrong = [
        (SlipRequest { orders: vec![], ..ok.clone() }, "invalid_input"),
        (SlipRequest { orders: vec![number(1), number(1)], ..ok.clone() }, "invalid_input"),
        (SlipRequest { orders: (1..=51).map(number).collect(), ..ok.clone() }, "invalid_input"),
        (SlipRequest { orders: vec![number(1), number(2)], ..ok.clone() }, "mixed_currencies"),
        (SlipRequest { remarks: "x".repeat(501), ..ok.clone() }, "invalid_input"),
        (invoice(InvoiceType::Personal, " ", None), "invalid_input"),
        (invoice(InvoiceType::Personal, "Ada", Some("DE123456789")), "invalid_input"),
        (invoice(InvoiceType::Company, "Ada Ltd", None), "invalid_input"),
        (invoice(InvoiceType::Company, "Ada Ltd", Some("de1")), "invalid_input"),
    ];
    for (request, code) in wrong {
        assert_eq!(world.command(Command::MakeSlip { request: &request }).unwrap_err().code(), code, "{request:?}");
    }
    assert_eq!(world.journal.len(), events);
    let company = invoice(InvoiceType::Company, "Ada Ltd", Some("DE123456789"));
    world.command(Command::MakeSlip { request: &company }).unwrap();

    let id = world.slip(world.device().slips().next().unwrap().id).id;
    let (due, view) = (world.item(), world.slip_view(id));
    world.ok(due.id, &view);
    let wrong = [
        (PaymentMethod::Bank, Some(1_000)),
        (PaymentMethod::Bank, Some(-1)),
        (PaymentMethod::Bank, Some(2_000)),
        (PaymentMethod::StoredValue, Some(500)),
        (PaymentMethod::StoredValue, Some(0)),
    ];
    for (method, part) in wrong {
        assert_eq!(world.prepare_payment(id, method, part).unwrap_err().code(), "invalid_input", "{method:?} {part:?}");
    }
    let dollars = Command::PreparePayment { slip_id: id, method: PaymentMethod::Bank, stored_value: Some(dollars) };
    assert_eq!(world.command(dollars).unwrap_err().code(), "mixed_currencies");
    let to_sign = world.prepare_payment(id, PaymentMethod::StoredValue, None).unwrap();
    let signed: SlipPayment = read(&format!("{}.AAAA", to_sign.input));
    assert_eq!(signed.stored_value, eur(1_000), "all of it");
    assert_eq!(world.submit_payment(id, &to_sign.input, REQUEST).unwrap_err().code(), "key", "the consent key signs");
    assert_eq!((to_sign.algorithm, to_sign.kid), (Algorithm::Ed25519, key(CONSENT).1.key_id()));
}

#[test]
fn there_are_only_so_many_open_slips() {
    let mut world = World::enrolled();
    for n in 0..MAX_OPEN_SLIPS as u64 {
        world.ask_slip(&[n + 1]);
    }
    let request = SlipRequest { orders: vec![number(99)], remarks: String::new(), invoice: None };
    assert_eq!(world.command(Command::MakeSlip { request: &request }).unwrap_err().code(), "limit");
}

#[test]
fn an_answer_that_is_not_about_this_slip_is_trouble_and_no_answer() {
    let mut world = World::enrolled();
    let id = world.ask_slip(&[1, 2]);
    let due = world.item();
    let good = world.slip_view(id);
    let mut others = vec![good.clone(); 5];
    others[0].items.pop();
    others[1].amount = eur(2_001);
    others[2].items[0].service_number = number(9);
    others[3].items[0].amount = Currency::parse("USD").unwrap().minor(1_000);
    others[4].title = "x".repeat(10_000);
    for other in others {
        world.ok(due.id, &other);
        assert!(world.slip(id).made.is_none(), "{other:?}");
        assert!(world.device().outbox()[0].last_reason.is_some());
    }
    world.ok(due.id, &good);
    world.pay(id, PaymentMethod::Test);
    let (due, good) = (world.item(), world.payment_view(id, PaymentStatus::Open));
    for other in [
        PaymentView { amount: eur(1), ..good.clone() },
        PaymentView { slip_number: SlipNumber::new(9).unwrap(), ..good.clone() },
        PaymentView { launch: Some(Launch::Qr { text: "x".repeat(20_000) }), ..good.clone() },
    ] {
        world.ok(due.id, &other);
        assert!(world.slip(id).payments[0].view.is_none(), "{other:?}");
    }
    world.ok(due.id, &good);
    assert!(world.slip(id).payments[0].view.is_some() && world.device().outbox().is_empty());
}

#[test]
fn a_refused_payment_leaves_the_slip_to_another_one() {
    let mut world = World::enrolled();
    let id = world.made_slip();
    world.pay(id, PaymentMethod::Bank);
    let due = world.item();
    world.problem(due.id, ProblemCode::NoBankAccount);
    world.restart();
    assert_eq!(world.slip(id).payments[0].refused.as_ref().unwrap().problem, "no_bank_account");
    let told = world.last_told();
    assert!(
        matches!(told, HostEventKind::Refused { slip_id: Some(s), trip_id: None, document: OutboxKind::SlipPayment, .. } if s == id)
    );
    world.pay(id, PaymentMethod::StoredValue);
    assert_eq!(world.slip(id).payments.len(), 2);
}

#[test]
fn a_payment_that_failed_at_the_channel_leaves_the_slip_to_another_one() {
    let mut world = World::enrolled();
    let (id, _) = world.paying_slip(PaymentMethod::Test);
    world.tell_slip(id, SlipStatus::Open, PaymentStatus::Closed);
    assert_eq!(world.device().slip_state(id).unwrap().due, "pay");
    let second = world.pay(id, PaymentMethod::StoredValue);
    assert_ne!(world.slip(id).payments[0].payment_id, second);
}

#[test]
fn a_payment_that_has_succeeded_keeps_the_slip_from_another_one() {
    let mut world = World::enrolled();
    let id = world.made_slip();
    world.pay(id, PaymentMethod::StoredValue);
    let put = world.item();
    let answer = world.payment_view(id, PaymentStatus::Succeeded);
    with_crashes(&mut world, |w| drop(w.ok(put.id, &answer)));
    assert_eq!(world.slip(id).status(), Some(SlipStatus::Paying), "its result is still to come");
    let refused = world.prepare_payment(id, PaymentMethod::Bank, None).unwrap_err();
    assert!(matches!(refused, WalkpayError::WrongOrder { .. }), "{refused:?}");
    world.tell_slip(id, SlipStatus::Paid, PaymentStatus::Succeeded);
    assert_eq!(world.slip(id).status(), Some(SlipStatus::Paid));
}

#[test]
fn the_answer_may_come_after_the_result() {
    let mut world = World::enrolled();
    let id = world.made_slip();
    world.pay(id, PaymentMethod::StoredValue);
    let put = world.item();
    world.tell_slip(id, SlipStatus::Paid, PaymentStatus::Succeeded);
    let first_answer = world.payment_view(id, PaymentStatus::Open);
    world.ok(put.id, &first_answer);
    assert_eq!(world.slip(id).status(), Some(SlipStatus::Paid));
    let stale = SlipView { status: SlipStatus::Paying, payments: vec![first_answer], ..world.slip_view(id) };
    world.command(Command::SlipShown { slip_id: id, slip: &stale }).unwrap();
    assert_eq!(world.slip(id).status(), Some(SlipStatus::Paid), "what has ended does not go back");
}

#[test]
fn an_open_slip_that_ran_out_is_seen_to_be_closed() {
    let mut world = World::enrolled();
    let id = world.made_slip();
    world.prepare_payment(id, PaymentMethod::Bank, None).unwrap();
    let closed = SlipView { status: SlipStatus::Closed, ..world.slip_view(id) };
    world.command(Command::SlipShown { slip_id: id, slip: &closed }).unwrap();
    assert_eq!(world.told(), ["1 slip_made", "2 slip_closed"]);
    assert_eq!(world.device().slip_state(id).unwrap().due, "make_slip (this one is closed)");
    let other = SlipView { slip_number: SlipNumber::new(99).unwrap(), ..closed };
    let shown = world.command(Command::SlipShown { slip_id: id, slip: &other });
    assert_eq!(shown.unwrap_err().code(), "untrusted.binding");
}

#[test]
fn closing_a_slip_takes_back_a_payment_that_has_not_left() {
    let mut world = World::enrolled();
    let id = world.made_slip();
    let payment = world.pay(id, PaymentMethod::StoredValue);
    world.command(Command::CloseSlip { slip_id: id }).unwrap();
    world.command(Command::CloseSlip { slip_id: id }).unwrap();
    world.restart();
    let closure = world.item();
    assert!(matches!(closure.request, TerminalRequest::CloseSlip { .. }), "it passes the payment: {closure:?}");
    let closed = SlipView { status: SlipStatus::Closed, ..world.slip_view(id) };
    with_crashes(&mut world, |w| drop(w.ok(closure.id, &closed)));
    assert!(world.device().outbox().is_empty() && world.slip(id).payments[0].withdrawn);
    assert_eq!(world.told(), ["1 slip_made", "2 payment_withdrawn", "3 slip_closed"]);
    assert!(
        matches!(world.device().next_event(1).unwrap().kind, HostEventKind::PaymentWithdrawn { payment_id, .. } if payment_id == payment)
    );
}

#[test]
fn a_closure_that_is_refused_lets_the_payment_go_on() {
    let mut world = World::enrolled();
    let id = world.made_slip();
    world.pay(id, PaymentMethod::StoredValue);
    world.command(Command::CloseSlip { slip_id: id }).unwrap();
    let closure = world.item();
    world.problem(closure.id, ProblemCode::NotFound);
    assert!(matches!(world.item().request, TerminalRequest::PutPayment { .. }));
    assert_eq!(world.slip(id).close_requested, None);
}

#[test]
fn a_slip_can_be_given_up_before_its_number_is_known() {
    let mut world = World::enrolled();
    let id = world.ask_slip(&[1, 2]);
    world.command(Command::CloseSlip { slip_id: id }).unwrap();
    let asked = world.item();
    assert!(matches!(asked.request, TerminalRequest::MakeSlip { .. }), "it may have arrived already");
    let view = world.slip_view(id);
    with_crashes(&mut world, |w| drop(w.ok(asked.id, &view)));
    assert_eq!(
        due_call(world.prepare_payment(id, PaymentMethod::Bank, None)),
        "next_event (the answer to the closure)"
    );
    assert!(
        matches!(world.item().request, TerminalRequest::CloseSlip { slip_number } if slip_number == view.slip_number)
    );

    let mut world = World::enrolled();
    let id = world.ask_slip(&[1]);
    world.command(Command::CloseSlip { slip_id: id }).unwrap();
    let asked = world.item();
    world.problem(asked.id, ProblemCode::InvalidValue);
    assert!(world.device().outbox().is_empty(), "nothing is left to be closed");
    assert_eq!(world.told(), ["1 refused"]);
}

#[test]
fn a_payment_is_given_up_once_and_its_end_is_told() {
    let mut world = World::enrolled();
    let (id, payment) = world.paying_slip(PaymentMethod::Test);
    let close = |world: &mut World| world.command(Command::ClosePayment { slip_id: id, payment_id: payment }).unwrap();
    close(&mut world);
    close(&mut world);
    assert_eq!(waits(&world), [(OutboxKind::PaymentClosure, Some(eur(2_000)))]);
    let closure = world.item();
    let closing = world.payment_view(id, PaymentStatus::Closing);
    with_crashes(&mut world, |w| drop(w.ok(closure.id, &closing)));
    close(&mut world);
    assert!(world.device().outbox().is_empty(), "being closed already");
    assert!(world.slip(id).payments[0].is_open(), "it may still succeed");
    world.tell_slip(id, SlipStatus::Open, PaymentStatus::Closed);
    assert_eq!(world.slip(id).status(), Some(SlipStatus::Open));
    assert_eq!(world.slip(id).payments[0].close_requested, None);
}

#[test]
fn a_payment_that_the_channel_does_not_let_go_can_be_asked_for_again() {
    let mut world = World::enrolled();
    let (id, payment) = world.paying_slip(PaymentMethod::Bank);
    let close = |world: &mut World| world.command(Command::ClosePayment { slip_id: id, payment_id: payment }).unwrap();
    close(&mut world);
    assert!(world.slip(id).payments[0].close_requested.is_some());
    let (closure, still_open) = (world.item(), world.payment_view(id, PaymentStatus::Open));
    world.ok(closure.id, &still_open);
    assert_eq!(world.slip(id).payments[0].close_requested, None, "answered: the bank is asked already");
    close(&mut world);
    assert_ne!(world.item().id, closure.id);
}

#[test]
fn a_slip_that_is_over_at_the_merchant_is_over_here() {
    let mut world = World::enrolled();
    let id = world.made_slip();
    world.pay(id, PaymentMethod::Bank);
    let due = world.item();
    world.problem(due.id, ProblemCode::SlipOver);
    assert_eq!(world.device().slip_state(id).unwrap().due, "make_slip (this one is closed)");
    world.tell_slip(id, SlipStatus::Paid, PaymentStatus::Succeeded);
    assert_eq!(world.slip(id).status(), Some(SlipStatus::Paid), "by another device");
}

#[test]
fn a_result_must_be_about_what_was_signed() {
    let mut world = World::enrolled();
    let (id, _) = world.paying_slip(PaymentMethod::Test);
    let good = world.slip_result(id, SlipStatus::Paid, world.payment_view(id, PaymentStatus::Succeeded));
    let forged = [
        SlipResult { payment: PaymentView { amount: eur(1), ..good.payment.clone() }, ..good.clone() },
        SlipResult { slip_number: SlipNumber::new(9).unwrap(), ..good.clone() },
        SlipResult { sub: Sub::parse("u_2").unwrap(), ..good.clone() },
    ];
    for result in forged {
        world.happen(&EventBody::Slip { document: sign(&result, RESULTS) });
        world.poll();
        assert!(matches!(world.last_told(), HostEventKind::Distrusted { .. }), "{result:?}");
        assert_eq!(world.slip(id).status(), Some(SlipStatus::Paying));
    }
    let elsewhere = SlipNumber::new(99).unwrap();
    let payment = PaymentView { slip_number: elsewhere, ..good.payment };
    let other = SlipResult { slip_number: elsewhere, payment, ..good };
    world.happen(&EventBody::Slip { document: sign(&other, RESULTS) });
    world.poll();
    assert!(matches!(world.last_told(), HostEventKind::Slip { .. }), "a slip of another device of the same payer");
}

#[test]
fn orders_are_answered_as_they_were_last_seen() {
    let mut world = World::enrolled();
    let filter = OrderFilter { limit: 2, ..OrderFilter::default() };
    assert!(world.device().orders().page(&filter).is_none(), "nothing was seen");
    let orders = vec![world.order(1, 100), world.order(2, 200)];
    list(&mut world, &filter, orders, true).unwrap();
    let second = OrderFilter { after: Some(number(2)), ..filter.clone() };
    world.pass_time(60_000);
    let orders = vec![world.order(3, 300)];
    list(&mut world, &second, orders, false).unwrap();
    world.restart();
    let seen = world.device().orders().page(&filter).unwrap();
    assert_eq!((numbers(&world, &filter), seen.next, seen.live), (vec![1, 2], Some(number(2)), false));
    assert_eq!(seen.seen_at, Timestamp::from_millis(T0), "when the first page was seen");
    let seen = world.device().orders().page(&second).unwrap();
    assert_eq!((numbers(&world, &second), seen.next), (vec![3], None));
    assert_eq!(seen.seen_at, Timestamp::from_millis(T0 + 60_000));
    let by_case = OrderFilter { case_number: Some("C-2".into()), ..filter.clone() };
    assert!(numbers(&world, &by_case).is_empty());

    world.pass_time(60_000);
    let all = OrderFilter::default();
    let orders = vec![world.order(1, 100), world.order(3, 350)];
    list(&mut world, &all, orders, false).unwrap();
    assert_eq!(numbers(&world, &all), [1, 3], "2 is no longer one of them");
    let seen = world.device().orders().page(&all).unwrap();
    assert_eq!((seen.orders[1].due, seen.seen_at), (eur(350), Timestamp::from_millis(T0 + 120_000)));
    let Some(JournalEvent { fact: Fact::OrdersSeen { seen, same, gone }, .. }) = world.journal.last() else { panic!() };
    assert_eq!(
        (seen.len(), same.as_slice(), gone.as_slice()),
        (1, &[number(1)][..], &[number(2)][..]),
        "only what is new"
    );

    let notice = OrderNotice {
        merchant_id: merchant_id(),
        sub: world.device().sub.clone(),
        service_number: number(1),
        news: OrderNews::Withdrawn,
        status: OrderStatus::Withdrawn,
        due: eur(0),
        deadline: world.merchant_now(),
        version: 2,
        issued_at: world.merchant_now(),
    };
    world.happen(&EventBody::Order { document: sign(&notice, RESULTS) });
    world.poll();
    assert_eq!(numbers(&world, &all), [3], "an event says so too");
}

#[test]
fn a_list_is_believed_only_if_it_is_what_was_asked_for() {
    let mut world = World::enrolled();
    let filter = OrderFilter { limit: 2, after: Some(number(1)), ..OrderFilter::default() };
    let paid = OrderSummary { status: OrderStatus::Paid, ..world.order(2, 100) };
    let long = OrderSummary { service_name: "x".repeat(10_000), ..world.order(2, 100) };
    let wrong = [
        vec![world.order(2, 1), world.order(3, 1), world.order(4, 1)],
        vec![world.order(3, 1), world.order(2, 1)],
        vec![world.order(2, 1), world.order(2, 1)],
        vec![world.order(1, 1)],
        vec![paid],
        vec![long],
    ];
    for orders in wrong {
        assert_eq!(
            list(&mut world, &filter, orders.clone(), false).unwrap_err().code(),
            "untrusted.form",
            "{orders:?}"
        );
    }
    let page = OrderPage { orders: vec![world.order(2, 1)], next: Some(number(3)) };
    let listed = world.command(Command::OrdersListed { filter: &filter, page: &page });
    assert_eq!(listed.unwrap_err().code(), "untrusted.form");
    assert!(world.device().orders().page(&filter).is_none());
}

#[test]
fn only_so_many_orders_are_remembered() {
    let mut world = World::enrolled();
    let rounds = (MAX_SEEN_ORDERS / MAX_ORDERS_PER_PAGE) as u64 + 1;
    for round in 0..rounds {
        let base = round * MAX_ORDERS_PER_PAGE as u64;
        let filter = OrderFilter { limit: 200, after: ServiceNumber::new(base).ok(), ..OrderFilter::default() };
        let orders = (1..=MAX_ORDERS_PER_PAGE as u64).map(|n| world.order(base + n, 100)).collect();
        list(&mut world, &filter, orders, true).unwrap();
        world.pass_time(1_000);
    }
    let orders = world.device().orders();
    assert!(orders.summary(number(1)).is_none(), "seen longest ago");
    assert!(orders.summary(number(MAX_ORDERS_PER_PAGE as u64 + 1)).is_some());
}

#[test]
fn no_error_repeats_what_is_said_about_a_person() {
    let mut world = World::enrolled();
    let mut invoice = |title: &str, kind, tax_id: Option<&str>, remarks: &str| {
        let invoice = Invoice { kind, title: title.into(), tax_id: tax_id.map(str::to_owned) };
        let request = SlipRequest { orders: vec![number(1)], remarks: remarks.into(), invoice: Some(invoice) };
        world.command(Command::MakeSlip { request: &request }).unwrap_err().explain()
    };
    let long = "Ada Lovelace ".repeat(50);
    let errors = [
        invoice(&long, InvoiceType::Personal, None, ""),
        invoice("Ada", InvoiceType::Personal, Some("LOVELACE1"), ""),
        invoice("Ada", InvoiceType::Company, Some("lovelace"), ""),
        invoice("Ada", InvoiceType::Personal, None, &long),
        World::empty().command(Command::BeginEnrolment { text: &code_text(), label: &long }).unwrap_err().explain(),
        World::enrolled()
            .command(Command::SignIn { user_name: &UserName::parse("lovelace").unwrap() })
            .unwrap_err()
            .explain(),
    ];
    for error in errors {
        assert!(!error.to_lowercase().contains("lovelace"), "{error}");
    }
}
