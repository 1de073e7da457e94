//! Notices as durable jobs: who is told, when, and how often.

use super::service::{body, change, hand_in, source};
use crate::domain::notices::{ContactChange, Report, Sent, SentAs, Site, report, unsubscribe};
use crate::domain::service::message::DecisionBody;
use crate::domain::service::{Change, SourceCaller};
use crate::domain::{AdminCommand, Caller, Command};
use crate::notify::text::Message;
use crate::store::contacts::{Language, Medium};
use crate::store::notices::{self, NoticeDelivery, NoticeKind, NoticeState};
use crate::store::{Tx, pay_pages};
use crate::testing::{World, name};
use crate::worker::notices::{OutsideNotice, lease_of, settle, take_due};
use std::time::Duration;
use walkpay::protocol::crypto::digest;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{ServiceNumber, Timestamp};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

pub(super) fn contact(w: &mut World, change: ContactChange) {
    w.admin(AdminCommand::Contact { user_name: name("alice"), change });
}

/// Alice by e-mail (as she was added), text message and voice, at noon in Berlin.
fn world() -> (World, SourceCaller) {
    let mut w = World::new();
    w.now = Timestamp::parse("2026-03-02T11:00:00Z").unwrap();
    contact(&mut w, ContactChange::Add("sms:+49301234567".into()));
    contact(&mut w, ContactChange::Add("tel:+49301234567".into()));
    let source = source(&mut w, "service");
    (w, source)
}

pub(super) fn payable(w: &World, source: &SourceCaller, key: &str) -> ServiceNumber {
    let number = hand_in(w, source, key, &body(w, 2_900)).unwrap();
    change(w, source, number, Change::Decide(DecisionBody::Confirm {})).unwrap();
    number
}

pub(super) fn take(w: &World, medium: Medium) -> Option<OutsideNotice> {
    let (ctx, site) = (w.ctx(), Site { url: "https://pay.example".into() });
    let taken = Tx::run(&w.conn, |tx| take_due(tx, &ctx, &site, medium)).unwrap();
    w.check();
    taken
}

pub(super) fn done(w: &World, notice: &OutsideNotice, sent: Sent) {
    let ctx = w.ctx();
    Tx::run(&w.conn, |tx| settle(tx, &ctx, &notice.job, &sent)).unwrap();
    w.check();
}

pub(super) fn delivery(w: &World, message_id: &str) -> NoticeDelivery {
    Tx::read(&w.conn, |tx| Ok(notices::find(tx, message_id)?)).unwrap().unwrap()
}

fn state(w: &World, notice: &OutsideNotice) -> (NoticeState, Option<Timestamp>) {
    let found = delivery(w, &notice.message_id);
    (found.state, found.due)
}

fn all(w: &World) -> Vec<(NoticeKind, Medium, NoticeState)> {
    let read = |tx: &Tx<'_>| {
        let mut found = Vec::new();
        for d in notices::last(tx, 100)? {
            found.push((notices::notice(tx, d.notice)?.kind, d.medium, d.state));
        }
        found.reverse();
        Ok(found)
    };
    Tx::read(&w.conn, read).unwrap()
}

fn accepted() -> Sent {
    Sent::coded(SentAs::Accepted, 250, "taken")
}

#[test]
fn a_payable_order_is_told_once_per_address() {
    let (w, source) = world();
    let number = hand_in(&w, &source, "k1", &body(&w, 2_900)).unwrap();
    assert_eq!(all(&w), [], "what is not confirmed is not told");
    change(&w, &source, number, Change::Decide(DecisionBody::Confirm {})).unwrap();
    let waiting = |medium| (NoticeKind::Payable, medium, NoticeState::Waiting);
    assert_eq!(all(&w), Medium::ALL.map(waiting));
    for medium in Medium::ALL {
        let notice = take(&w, medium).unwrap();
        assert!(take(&w, medium).is_none(), "it is on its way");
        let text = match &notice.message {
            Message::Email(m) => format!("{} {}", m.subject, m.text),
            Message::Sms(m) => m.text.clone(),
            Message::Voice(m) => m.text.clone(),
        };
        assert!(text.contains("29") && text.contains("service"), "{text}");
        assert_eq!(text.contains("https://pay.example/pay/"), medium != Medium::Voice, "{text}");
        assert_eq!(notice.report.is_some(), medium == Medium::Sms);
        done(&w, &notice, accepted());
        assert_eq!(state(&w, &notice), (NoticeState::Accepted, None));
        assert!(take(&w, medium).is_none());
    }
}

#[test]
fn the_link_in_a_message_opens_its_order_and_is_kept_as_a_hash() {
    let (w, source) = world();
    let number = payable(&w, &source, "k1");
    let Message::Sms(sms) = take(&w, Medium::Sms).unwrap().message else { panic!() };
    let (_, token) = sms.text.split_once("/pay/").unwrap();
    let page = |at| Tx::read(&w.conn, |tx| Ok(pay_pages::find(tx, &digest(token.as_bytes()), at)?)).unwrap();
    assert_eq!(page(w.now).unwrap().number, Some(number));
    assert!(page(w.now.plus(31 * DAY)).is_none(), "links expire");
    let stored: String =
        w.conn.query_row("SELECT group_concat(token_sha256) FROM pay_pages", [], |r| r.get(0)).unwrap();
    assert!(!stored.contains(token));
}

#[test]
fn quiet_hours_are_the_payers_and_an_email_wakes_nobody() {
    let (mut w, source) = world();
    w.now = Timestamp::parse("2026-03-02T22:00:00Z").unwrap();
    payable(&w, &source, "k1");
    assert!(take(&w, Medium::Email).is_some());
    assert!(take(&w, Medium::Sms).is_none() && take(&w, Medium::Voice).is_none());
    let due = Tx::read(&w.conn, |tx| Ok(notices::next_due(tx, Medium::Sms)?)).unwrap();
    assert_eq!(due, Some(Timestamp::parse("2026-03-03T08:00:00Z").unwrap()), "eight in the zone of the service (UTC)");
    w.now = Timestamp::parse("2026-03-03T08:00:00Z").unwrap();
    let sms = take(&w, Medium::Sms).unwrap();
    // What is put off may fall into another night.
    w.now = Timestamp::parse("2026-03-03T20:59:30Z").unwrap();
    done(&w, &sms, Sent::new(SentAs::Deferred, "connect"));
    w.pass(Duration::from_secs(120));
    assert!(take(&w, Medium::Sms).is_none());
    // In Shanghai it is morning.
    contact(&mut w, ContactChange::TimeZone(Some("Asia/Shanghai".into())));
    w.now = Timestamp::parse("2026-03-04T01:00:00Z").unwrap();
    contact(&mut w, ContactChange::Quiet(Some((0, 0))));
    w.now = Timestamp::parse("2026-03-04T18:00:00Z").unwrap();
    assert!(take(&w, Medium::Sms).is_some(), "somebody without quiet hours");
}

#[test]
fn a_refusal_ends_it_and_a_deferral_does_not() {
    let (mut w, source) = world();
    payable(&w, &source, "k1");
    let sms = take(&w, Medium::Sms).unwrap();
    done(&w, &sms, Sent::coded(SentAs::Refused, 400, "refused"));
    assert_eq!(state(&w, &sms), (NoticeState::Failed, None));
    let tokens = |w: &World| w.conn.query_row("SELECT count(*) FROM pay_pages", [], |r| r.get::<_, i64>(0)).unwrap();
    assert_eq!(tokens(&w), 0, "a message that never left needs no page");
    let pauses = w.core.ctx(w.now, [0; 32]).config.notice_retries.clone();
    for n in 0..=pauses.len() {
        let email = take(&w, Medium::Email).unwrap();
        done(&w, &email, Sent::coded(SentAs::Deferred, 451, "deferred"));
        match pauses.get(n) {
            Some(pause) => {
                let (state, due) = state(&w, &email);
                let wait = due.unwrap().since(w.now);
                assert_eq!(state, NoticeState::Waiting);
                assert!(wait >= *pause && wait <= *pause + *pause / 9, "{wait:?} for {pause:?}");
                assert!(take(&w, Medium::Email).is_none());
                w.pass(wait);
            }
            None => assert_eq!(state(&w, &email), (NoticeState::GivenUp, None)),
        }
    }
    assert!(take(&w, Medium::Email).is_none());
}

#[test]
fn only_what_is_unknown_is_sent_again_and_not_for_ever() {
    let (mut w, source) = world();
    payable(&w, &source, "k1");
    let mut ids = Vec::new();
    while let Some(email) = take(&w, Medium::Email) {
        done(&w, &email, Sent::new(SentAs::Unknown, "connection_lost"));
        ids.push(email.message_id);
        w.pass(DAY);
    }
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]), "a second message can be recognised");
    assert_eq!(delivery(&w, &ids[0]).state, NoticeState::Unknown);
    // A crash leaves a message on its way: it may have left.
    let voice = take(&w, Medium::Voice).unwrap();
    let begun = w.now;
    w.pass(lease_of(Medium::Voice) / 2);
    assert!(take(&w, Medium::Voice).is_none(), "the lease runs");
    w.now = begun.plus(lease_of(Medium::Voice));
    let again = take(&w, Medium::Voice).unwrap();
    assert_eq!(again.message_id, voice.message_id);
    // The first try's failure says nothing of the second; its success does.
    done(&w, &voice, Sent::coded(SentAs::Refused, 404, "refused"));
    assert_eq!(state(&w, &again).0, NoticeState::Sending);
    done(&w, &voice, Sent::new(SentAs::Delivered, "heard"));
    done(&w, &again, Sent::coded(SentAs::Deferred, 486, "busy"));
    assert_eq!(state(&w, &again), (NoticeState::Delivered, None));
}

#[test]
fn reports_are_taken_by_their_token_alone() {
    let (w, source) = world();
    payable(&w, &source, "k1");
    let sms = take(&w, Medium::Sms).unwrap();
    let token = sms.report.clone().unwrap();
    let token = token.strip_prefix("https://pay.example/notify/sms/").unwrap().strip_suffix("?type=%d").unwrap();
    let told = |token: &str, what, code| {
        let ctx = w.ctx();
        Tx::run(&w.conn, |tx| report(tx, &ctx, token, what, code)).unwrap()
    };
    assert!(!told("guessed", Report::Delivered, 1));
    done(&w, &sms, Sent::coded(SentAs::Accepted, 202, "taken"));
    assert!(told(token, Report::Underway, 8));
    assert_eq!(state(&w, &sms).0, NoticeState::Accepted);
    assert!(told(token, Report::Delivered, 1));
    assert_eq!(state(&w, &sms).0, NoticeState::Delivered);
    assert!(told(token, Report::Failed, 2));
    assert_eq!(state(&w, &sms).0, NoticeState::Delivered, "what has arrived has arrived");
}

#[test]
fn what_is_no_longer_to_be_paid_is_not_asked_for() {
    let (mut w, source) = world();
    let number = payable(&w, &source, "k1");
    change(&w, &source, number, Change::Withdraw { reason: String::new() }).unwrap();
    let mut kinds = Vec::new();
    while let Some(email) = take(&w, Medium::Email) {
        let Message::Email(text) = &email.message else { panic!() };
        kinds.push(text.subject.clone());
        done(&w, &email, accepted());
    }
    assert_eq!(kinds, ["Nothing to pay for service"], "the request to pay has been overtaken");
    assert!(all(&w).contains(&(NoticeKind::Payable, Medium::Email, NoticeState::GivenUp)));
    // Reminders come by themselves, the last one after the deadline.
    payable(&w, &source, "k2");
    let mut subjects = Vec::new();
    for _ in 0..60 {
        w.pass(12 * HOUR);
        w.work();
        while let Some(email) = take(&w, Medium::Email) {
            let Message::Email(text) = &email.message else { panic!() };
            subjects.push(text.subject.split([':', ' ']).next().unwrap().to_owned());
            done(&w, &email, accepted());
        }
    }
    assert_eq!(subjects, ["29.00", "Reminder", "Reminder", "Overdue", "Overdue"]);
}

#[test]
fn who_has_unsubscribed_is_still_warned() {
    let (mut w, source) = world();
    payable(&w, &source, "k1");
    let Message::Email(email) = take(&w, Medium::Email).unwrap().message else { panic!() };
    let token = email.unsubscribe.rsplit('/').nth(1).unwrap().to_owned();
    let ctx = w.ctx();
    assert!(Tx::run(&w.conn, |tx| unsubscribe(tx, &ctx, &token, false)).unwrap());
    assert!(!Tx::run(&w.conn, |tx| unsubscribe(tx, &ctx, "guessed", false)).unwrap());
    let before = all(&w).len();
    payable(&w, &source, "k2");
    let new: Vec<_> = all(&w)[before..].iter().map(|(_, medium, _)| *medium).collect();
    assert_eq!(new, [Medium::Sms, Medium::Voice]);
    // A warning goes everywhere, in the middle of the night too.
    w.now = Timestamp::parse("2026-03-02T23:00:00Z").unwrap();
    let before = all(&w).len();
    w.device();
    let warned: Vec<_> = all(&w)[before..].iter().map(|(kind, medium, _)| (*kind, *medium)).collect();
    assert_eq!(warned, Medium::ALL.map(|medium| (NoticeKind::NewDevice, medium)));
    contact(&mut w, ContactChange::Language(Language::Zh));
    let Message::Sms(sms) = take(&w, Medium::Sms).unwrap().message else { panic!() };
    assert!(sms.text.contains("设备phone已于2026年3月3日00:00"), "{}", sms.text);
    assert!(!sms.text.contains("/pay/"));
}

#[test]
fn erasure_ends_what_is_still_to_be_sent() {
    let (mut w, source) = world();
    payable(&w, &source, "k1");
    let email = take(&w, Medium::Email).unwrap();
    w.admin(AdminCommand::EraseUser { user_name: name("alice") });
    done(&w, &email, Sent::coded(SentAs::Deferred, 451, "deferred"));
    w.pass(DAY);
    for medium in Medium::ALL {
        assert!(take(&w, medium).is_none());
    }
    assert!(all(&w).iter().all(|(_, _, state)| *state == NoticeState::GivenUp));
}

#[test]
fn addresses_have_their_limits() {
    let (mut w, _) = world();
    let refused = |w: &World, change| {
        w.refused(&Caller::Operator, Command::Admin(AdminCommand::Contact { user_name: name("alice"), change }))
    };
    for bad in ["ann@example.org", "mailto:a\r\nBcc: b@example.org", "tel:110", "sip:a@b;method=BYE"] {
        assert_eq!(refused(&w, ContactChange::Add(bad.into())), ProblemCode::InvalidValue, "{bad}");
    }
    contact(&mut w, ContactChange::Add("sms:+49301234567".into()));
    for n in 0..2 {
        contact(&mut w, ContactChange::Add(format!("mailto:ann{n}@example.org")));
    }
    assert_eq!(refused(&w, ContactChange::Add("mailto:six@example.org".into())), ProblemCode::InvalidValue);
    assert_eq!(refused(&w, ContactChange::Remove("mailto:six@example.org".into())), ProblemCode::NotFound);
    assert_eq!(refused(&w, ContactChange::TimeZone(Some("Mars/Olympus".into()))), ProblemCode::InvalidValue);
    assert_eq!(refused(&w, ContactChange::Quiet(Some((0, 1440)))), ProblemCode::InvalidValue);
}
