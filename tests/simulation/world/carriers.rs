//! Mail servers, text message centres and telephones: they take what payers are told, refuse it, put it off, fall silent, report
//! late. What reaches a payer is counted by the rule that the merchant's own tests count by.

use super::network::Message;
use super::{Mutation, USERS, World, merchant};
use mock_merchant::domain::notices::{Report, Sent, SentAs, Site, Witness, report};
use mock_merchant::store::Tx;
use mock_merchant::store::contacts::Medium;
use mock_merchant::store::notices;
use mock_merchant::worker::notices::{NoticeJob, OutsideNotice, settle, take_due};
use rand::RngExt;
use std::time::Duration;

/// What came of a try, on its way back to the merchant.
#[derive(Clone)]
pub(super) struct Outcome {
    job: NoticeJob,
    message_id: String,
    number: u32,
    sent: Sent,
}

/// How the users are told: one by everything, the others by what they have.
pub(super) fn addresses(user: &str) -> Vec<String> {
    let mail = || format!("mailto:{user}@example.org");
    match USERS.iter().position(|name| *name == user) {
        Some(0) => vec![mail(), "sms:+49301234567".into(), "tel:+49301234567".into()],
        Some(1) => vec![mail()],
        _ => vec!["sms:+49307654321".into(), "sip:mallory@example.org".into()],
    }
}

impl World {
    /// One due notice of each medium; whether there was one.
    pub(super) fn work_for_notices(&mut self) -> Result<bool, String> {
        let site = Site { url: "https://pay.example".into() };
        let mut more = false;
        for medium in Medium::ALL {
            let ctx = self.ctx();
            let taken = Tx::run(&self.conn, |tx| take_due(tx, &ctx, &site, medium));
            let Some(notice) = taken.map_err(|e| format!("{e:?}"))? else { continue };
            more = true;
            let number = self.told.entry(notice.message_id.clone()).or_default().begun();
            self.post(Message::ToCarrier { medium, notice: Box::new(notice), number });
        }
        Ok(more)
    }

    /// A message arrives at whoever carries it on.
    pub(super) fn carry(&mut self, medium: Medium, notice: OutsideNotice, number: u32) -> Result<(), String> {
        let OutsideNotice { job, message_id, report, .. } = notice;
        let taken = match medium {
            Medium::Voice => Sent::new(SentAs::Delivered, "heard"),
            Medium::Email | Medium::Sms => Sent::coded(SentAs::Accepted, 250, "taken"),
        };
        // A bug in what comes of a first success is looked for where most succeed.
        let most = if self.mutation == Some(Mutation::NoticeTwice) { 60 } else { 20 };
        let (arrives, sent) = match self.rng.random_range(0..most) {
            0 if self.faults => (false, Some(Sent::coded(SentAs::Refused, 550, "refused"))),
            1..4 if self.faults => {
                let retry_after = Some(Duration::from_secs(self.rng.random_range(0..600)));
                (false, Some(Sent { retry_after, ..Sent::coded(SentAs::Deferred, 451, "deferred") }))
            }
            4 if self.faults => (false, Some(Sent::new(SentAs::Unknown, "connection_lost"))),
            5..7 if self.faults => (true, Some(Sent::new(SentAs::Unknown, "connection_lost"))),
            7 if self.faults => (true, None),
            _ => (true, Some(taken)),
        };
        if arrives {
            let witness = self.told.entry(message_id.clone()).or_default();
            witness.handed_over().map_err(|e| format!("the notice {message_id} was {e}"))?;
            if let Some(token) = report.as_deref().and_then(token) {
                self.post_report(token, &message_id);
            }
        }
        if let Some(sent) = sent {
            self.post(Message::FromCarrier(Outcome { job, message_id, number, sent }));
        }
        Ok(())
    }

    /// What a text message centre says later of what it has taken.
    fn post_report(&mut self, token: &str, message_id: &str) {
        let said = match self.rng.random_range(0..6) {
            0 if self.faults => Report::Failed,
            1 => Report::Underway,
            2 | 3 => return,
            _ => Report::Delivered,
        };
        self.post(Message::Report { token: token.to_owned(), message_id: message_id.to_owned(), said });
    }

    pub(super) fn carried(&mut self, outcome: &Outcome) -> Result<(), String> {
        let witness = self.told.entry(outcome.message_id.clone()).or_default();
        witness.heard(outcome.number, outcome.sent.as_);
        let ctx = self.ctx();
        self.touched = true;
        let settled = Tx::run(&self.conn, |tx| settle(tx, &ctx, &outcome.job, &outcome.sent));
        settled.map_err(|e| format!("settling a notice failed: {e:?}"))
    }

    pub(super) fn reported(&mut self, token: &str, message_id: &str, said: Report) -> Result<(), String> {
        if said == Report::Failed {
            self.told.entry(message_id.to_owned()).or_default().reported_lost();
        }
        let ctx = self.ctx();
        self.touched = true;
        match Tx::run(&self.conn, |tx| report(tx, &ctx, token, said, 1)) {
            Ok(true) => Ok(()),
            other => Err(format!("a report on {message_id} failed: {other:?}")),
        }
    }

    /// At the end nothing waits to be told, and what became of each message is explained by what happened to it.
    pub(super) fn payers_are_told(&self) -> Result<(), String> {
        let all = Tx::read(&self.conn, |tx| Ok(notices::last(tx, 100_000)?)).map_err(|e| format!("{e:?}"))?;
        let (never, pauses) = (Witness::default(), merchant::config(self.plan).notice_retries.len());
        for found in &all {
            let witness = self.told.get(&found.message_id).unwrap_or(&never);
            witness.explains(found, pauses).map_err(|e| format!("a notice: {e}"))?;
        }
        let unknown = self.told.keys().find(|id| !all.iter().any(|found| found.message_id == **id));
        unknown.map_or(Ok(()), |id| Err(format!("a notice that is on no record was sent: {id}")))
    }
}

fn token(url: &str) -> Option<&str> {
    url.rsplit('/').next()?.split('?').next()
}
