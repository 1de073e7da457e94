//! A bank that does what a test tells it: approves what it is not told about, and keeps the rule that a reference has one
//! outcome.

use crate::bank::port::*;
use crate::worker::{Ask, BankAnswer};
use std::collections::HashMap;
use walkpay::Timestamp;

/// What to do about a reference, once each.
#[derive(Clone, Debug)]
pub enum Script {
    Decline(&'static str),
    /// Approve this much of it.
    Approve(i64),
    /// Approve it in another currency.
    ApproveOtherwise,
    /// Carry it out, but give no answer.
    LoseAnswer,
    /// The request does not arrive.
    LoseRequest,
    /// Decline, and book it anyway.
    DeclineButBook,
}

#[derive(Default)]
pub struct ScriptedBank {
    outcomes: HashMap<String, (BankRequest, BankOutcome)>,
    scripts: HashMap<String, Vec<Script>>,
    entries: Vec<StatementEntry>,
    /// Every reference that arrived, in order.
    pub requests: Vec<String>,
    /// When holds that are placed from now on are over.
    pub holds_until: Option<Timestamp>,
    /// How many times a reference was asked about.
    pub queries: usize,
}

impl ScriptedBank {
    /// The next things to do about the reference that ends so.
    pub fn script(&mut self, ending: &str, scripts: &[Script]) {
        self.scripts.insert(ending.to_owned(), scripts.to_vec());
    }

    fn next_script(&mut self, reference: &str) -> Option<Script> {
        let (_, ending) = reference.split_once('.')?;
        let list = self.scripts.get_mut(ending)?;
        (!list.is_empty()).then(|| list.remove(0))
    }

    pub fn ask(&mut self, now: Timestamp, ask: &Ask) -> Result<BankAnswer, NoAnswer> {
        match ask {
            Ask::Statement { after } => {
                let page = self.entries.iter().filter(|e| e.seq > *after).take(2).cloned().collect();
                Ok(BankAnswer::Statement(page))
            }
            Ask::Query { reference } => {
                self.queries += 1;
                Ok(BankAnswer::Query(match self.outcomes.get(reference) {
                    Some((_, outcome)) => BankQueryAnswer::Known { outcome: outcome.clone() },
                    None => BankQueryAnswer::NeverSeen,
                }))
            }
            Ask::Request(request) => self.request(now, request),
        }
    }

    fn request(&mut self, now: Timestamp, request: &BankRequest) -> Result<BankAnswer, NoAnswer> {
        if let Some((first, outcome)) = self.outcomes.get(&request.reference) {
            assert_eq!(first, request, "the same request again");
            return Ok(BankAnswer::Outcome(outcome.clone()));
        }
        let asked = match &request.operation {
            BankOperation::PlaceHold { amount, .. }
            | BankOperation::RaiseHold { amount, .. }
            | BankOperation::Capture { amount, .. }
            | BankOperation::Debit { amount, .. }
            | BankOperation::Pay { amount, .. }
            | BankOperation::Reverse { amount, .. } => Some(*amount),
            BankOperation::ReleaseHold { .. } => None,
        };
        let script = self.next_script(&request.reference);
        if let Some(Script::LoseRequest) = script {
            return Err(NoAnswer("lost on the way".to_owned()));
        }
        self.requests.push(request.reference.clone());
        let eur = asked.map_or(super::eur(0).currency, |a| a.currency);
        let approved = |minor| BankOutcome::Approved { amount: eur.minor(minor), expires_at: self.holds_until };
        let all = asked.map_or(0, |a| a.minor);
        let (outcome, booked) = match script {
            Some(Script::Decline(reason)) => (BankOutcome::Declined { reason: reason.to_owned() }, 0),
            Some(Script::DeclineButBook) => (BankOutcome::Declined { reason: "insufficient_funds".to_owned() }, all),
            Some(Script::Approve(minor)) => (approved(minor), minor),
            Some(Script::ApproveOtherwise) => {
                let amount = walkpay::Currency::parse("USD").unwrap().minor(all);
                (BankOutcome::Approved { amount, expires_at: None }, 0)
            }
            _ => (approved(all), all),
        };
        let sign = match &request.operation {
            BankOperation::Capture { .. } | BankOperation::Debit { .. } | BankOperation::Pay { .. } => 1,
            BankOperation::Reverse { .. } => -1,
            _ => 0,
        };
        if sign * booked != 0 {
            self.book(now, &request.reference, request.subject, sign * booked);
        }
        self.outcomes.insert(request.reference.clone(), (request.clone(), outcome.clone()));
        match script {
            Some(Script::LoseAnswer) => Err(NoAnswer("lost on the way back".to_owned())),
            _ => Ok(BankAnswer::Outcome(outcome)),
        }
    }

    /// Books an entry.
    pub fn book(&mut self, now: Timestamp, reference: &str, subject: impl Into<Subject>, minor: i64) {
        self.entries.push(StatementEntry {
            seq: self.entries.len() as u64 + 1,
            reference: reference.to_owned(),
            subject: subject.into(),
            amount: super::eur(minor),
            booked_at: now,
        });
    }

    /// What the bank took from accounts for a trip, all in all.
    pub fn taken(&self, subject: impl Into<Subject>) -> i64 {
        let subject = subject.into();
        self.entries.iter().filter(|e| e.subject == subject).map(|e| e.amount.minor).sum()
    }
}
