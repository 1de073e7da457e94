//! Notices under everything that can happen to them, as a seed decides: orders that come and go, transports that accept, defer,
//! refuse, fall silent or never come back, reports, nights, crashes. No notice is lost, and none is sent twice but where the outcome of
//! a try is unknown.

use super::notices::{contact, delivery, done, payable, take};
use super::service::{change, source};
use crate::domain::notices::{ContactChange, Report, Sent, SentAs, Witness, report};
use crate::domain::service::{Change, SourceCaller};
use crate::domain::{Config, Mutation};
use crate::store::Tx;
use crate::store::contacts::Medium;
use crate::store::notices::{self, NoticeState};
use crate::testing::World;
use crate::worker::notices::OutsideNotice;
use std::collections::BTreeMap;
use std::time::Duration;
use walkpay::{ServiceNumber, Timestamp};

const SEEDS: u64 = 16;
const STEPS: u64 = 150;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

struct Storm {
    w: World,
    dice: Dice,
    source: SourceCaller,
    orders: Vec<ServiceNumber>,
    outside: BTreeMap<String, Witness>,
}

impl Storm {
    fn new(seed: u64, mutation: Option<Mutation>) -> Self {
        let mut w = World::with(Config { mutation, ..Config::default() });
        w.now = Timestamp::parse("2026-03-02T11:00:00Z").unwrap();
        contact(&mut w, ContactChange::Add("sms:+49301234567".into()));
        contact(&mut w, ContactChange::Add("tel:+49301234567".into()));
        let source = source(&mut w, "service");
        Self { w, dice: Dice(seed), source, orders: Vec::new(), outside: BTreeMap::new() }
    }

    fn step(&mut self) -> Result<(), String> {
        match self.dice.below(10) {
            0 if self.orders.len() < 6 => {
                let key = format!("k{}", self.orders.len());
                self.orders.push(payable(&self.w, &self.source, &key));
            }
            1 if !self.orders.is_empty() => {
                let number = self.orders[self.dice.below(self.orders.len() as u64) as usize];
                let reason = String::new();
                // What has been withdrawn or has expired cannot be withdrawn again.
                let _refused = change(&self.w, &self.source, number, Change::Withdraw { reason }).is_err();
            }
            2 | 3 => {
                let pause = [5, 90, 400, 7_000, 50_000][self.dice.below(5) as usize];
                self.w.pass(Duration::from_secs(pause));
                self.w.work();
            }
            _ => {
                let medium = Medium::ALL[self.dice.below(3) as usize];
                if let Some(notice) = take(&self.w, medium) {
                    self.try_once(&notice, false)?;
                }
            }
        }
        Ok(())
    }

    /// One try, and what both sides learn of it.
    fn try_once(&mut self, notice: &OutsideNotice, calm: bool) -> Result<(), String> {
        let kind = if calm { 0 } else { self.dice.below(8) };
        let outside = self.outside.entry(notice.message_id.clone()).or_default();
        let number = outside.begun();
        let sent = match kind {
            0..=2 => Some(Sent::coded(SentAs::Accepted, 250, "taken")),
            3 => Some(Sent::coded(SentAs::Refused, 550, "refused")),
            4 | 5 => Some(Sent::coded(SentAs::Deferred, 451, "deferred")),
            6 => Some(Sent::new(SentAs::Unknown, "connection_lost")),
            // The merchant dies before it has kept the outcome.
            _ => None,
        };
        if !matches!(kind, 3..=5) {
            outside.handed_over().map_err(|e| format!("{}: {e}", notice.message_id))?;
        }
        if let Some(sent) = sent {
            outside.heard(number, sent.as_);
            done(&self.w, notice, sent);
        }
        if let Some(url) = notice.report.as_ref().filter(|_| kind < 3 && !calm && self.dice.below(2) == 0) {
            let token = url.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
            let ctx = self.w.ctx();
            assert!(Tx::run(&self.w.conn, |tx| report(tx, &ctx, &token, Report::Delivered, 1)).unwrap());
        }
        Ok(())
    }

    /// At the end nothing waits, and each message has come to an end that what happened to it explains.
    fn check_end(&self) -> Result<(), String> {
        let all = Tx::read(&self.w.conn, |tx| Ok(notices::last(tx, 1_000)?)).unwrap();
        let none = Witness::default();
        let pauses = Config::default().notice_retries.len();
        all.iter().try_for_each(|found| self.outside.get(&found.message_id).unwrap_or(&none).explains(found, pauses))
    }
}

fn run(seed: u64, mutation: Option<Mutation>) -> Result<(), String> {
    let mut storm = Storm::new(seed, mutation);
    for _ in 0..STEPS {
        storm.step()?;
    }
    // Then everybody behaves, and the days go by.
    for _ in 0..120 {
        storm.w.pass(Duration::from_secs(11 * 3_600));
        storm.w.work();
        for medium in Medium::ALL {
            while let Some(notice) = take(&storm.w, medium) {
                storm.try_once(&notice, true)?;
            }
        }
    }
    storm.check_end()
}

#[test]
fn no_notice_is_lost_and_none_sent_twice_without_need() {
    for seed in 0..SEEDS {
        run(seed, None).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
}

#[test]
fn planted_bugs_are_noticed() {
    for mutation in [Mutation::NoticeTwice, Mutation::NoticeLost] {
        let found = (0..SEEDS).find_map(|seed| run(seed, Some(mutation)).err());
        assert!(found.is_some(), "{mutation:?} is not noticed");
    }
}

#[test]
fn the_storm_knows_what_it_does() {
    let mut storm = Storm::new(7, None);
    storm.orders.push(payable(&storm.w, &storm.source, "k"));
    let notice = take(&storm.w, Medium::Email).unwrap();
    storm.try_once(&notice, true).unwrap();
    assert_eq!(delivery(&storm.w, &notice.message_id).state, NoticeState::Accepted);
    assert!(storm.try_once(&notice, true).is_err(), "a second message without need is seen");
}
