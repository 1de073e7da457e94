//! What must hold after every step, and what must hold when nothing is under way any more.

use super::{World, text};
use crate::device::Visit;
use mock_merchant::bank::port::Subject;
use mock_merchant::domain::{self, Answer, Caller, Query};
use mock_merchant::failure::Failure;
use mock_merchant::store::{Tx, invariants};
use std::collections::{BTreeMap, BTreeSet};
use walkpay::TripId;
use walkpay::protocol::document::{LegState, PaymentMethod};

impl World {
    pub(super) fn check(&mut self) -> Result<(), String> {
        let broken = Tx::read(&self.conn, |tx| Ok(invariants::always(tx)?));
        let mut broken = broken.map_err(|e| format!("{e:?}"))?;
        broken.extend(self.bank.violations().map_err(text)?);
        for (hold, references) in &self.resolutions {
            if references.iter().filter(|r| !r.contains(".c")).count() > 1 {
                broken.push(format!("hold {hold} was released under {references:?}"));
            }
        }
        match broken.first() {
            None => Ok(()),
            Some(first) => Err(first.clone()),
        }
    }

    pub(super) fn report(&mut self, trip_id: TripId) -> Result<Option<domain::TripReport>, String> {
        let ctx = self.ctx();
        match Tx::read(&self.conn, |tx| domain::read(tx, &ctx, &Caller::Operator, Query::Trip(trip_id))) {
            Ok(Answer::Trip(report)) => Ok(Some(report)),
            Err(Failure::Refused { .. }) => Ok(None),
            other => Err(format!("expected a report, got {other:?}")),
        }
    }

    pub(super) fn check_quiet(&mut self) -> Result<(), String> {
        let visits: Vec<(usize, Visit)> =
            self.terminals.iter().enumerate().flat_map(|(n, t)| t.visits.iter().map(move |v| (n, v.clone()))).collect();
        for (n, visit) in &visits {
            let mut accepted = 0;
            for trip_id in &visit.trips {
                let report = self.report(*trip_id)?;
                let Ok(device) = self.terminals[*n].session.current() else { continue };
                // What is over and was acknowledged may be forgotten by now.
                let state = device.trip_state(*trip_id).ok();
                let stopped = !device.may_send();
                for attempt in state.iter().flat_map(|s| &s.attempts) {
                    let verdict = attempt.validation.is_some() || attempt.refused.is_some() || attempt.withdrawn;
                    if !verdict && !stopped {
                        return Err(format!("attempt {} of {trip_id} has no verdict", attempt.attempt));
                    }
                }
                let Some(report) = report else { continue };
                if report.accepted.is_some() {
                    accepted += 1;
                    let done =
                        matches!(report.order.as_deref(), Some("paid" | "payable" | "partly_refunded" | "refunded"));
                    if !done {
                        return Err(format!("accepted {trip_id} is neither debited nor an unpaid order: {report:?}"));
                    }
                    if state.as_ref().is_some_and(|s| s.debit.is_none()) && !stopped {
                        return Err(format!("the result of the debit of {trip_id} was not told"));
                    }
                } else if report.legs.iter().any(|l| l.state == LegState::Succeeded) {
                    return Err(format!("{trip_id} was not accepted and yet debited"));
                }
                let holds = state.map(|s| s.holds).unwrap_or_default();
                if holds.iter().any(|h| h.counts() && h.submitted.is_some()) && !stopped {
                    return Err(format!("a hold of {trip_id} is not resolved: {holds:?}"));
                }
            }
            if accepted > 1 {
                return Err(format!("one visit was bought {accepted} times: {:?}", visit.trips));
            }
        }
        let quiet = Tx::read(&self.conn, |tx| Ok(invariants::at_quiescence(tx)?)).map_err(|e| format!("{e:?}"))?;
        if let Some(first) = quiet.first() {
            return Err(first.clone());
        }
        for trip_id in self.tampered.clone() {
            if self.report(trip_id)?.is_some_and(|r| r.accepted.is_some()) {
                return Err(format!("a tampered basket was accepted: {trip_id}"));
            }
        }
        self.books_agree()?;
        self.bank_agrees()?;
        if self.orders {
            self.channels_agree()?;
            self.totals_agree()?;
            self.services_are_told()?;
            self.no_slip_is_stuck()?;
            self.payers_are_told()?;
            self.no_provider_waits()?;
        }
        Ok(())
    }

    fn books_agree(&mut self) -> Result<(), String> {
        let mut at_bank: BTreeMap<TripId, i64> = BTreeMap::new();
        let mut of_slips: BTreeMap<Subject, i64> = BTreeMap::new();
        for entry in self.bank.statement(&self.merchant_id, 0, 1_000).map_err(text)? {
            if self.signed_payments.contains_key(&entry.subject) {
                *of_slips.entry(entry.subject).or_default() += entry.amount.minor;
            } else {
                *at_bank.entry(entry.subject.trip().map_err(text)?).or_default() += entry.amount.minor;
            }
        }
        for (payment, bank) in of_slips {
            let most = self.signed_payments.get(&payment).copied().unwrap_or(0);
            if bank > most {
                return Err(format!("{payment}: the bank booked {bank}, at most {most} was signed"));
            }
        }
        let mut trips: BTreeSet<TripId> = at_bank.keys().copied().collect();
        trips.extend(self.signed.keys());
        for trip_id in trips {
            let bank = at_bank.get(&trip_id).copied().unwrap_or(0);
            let report = self.report(trip_id)?;
            let legs = report.iter().flat_map(|r| &r.legs);
            let merchant: i64 = legs
                .filter(|l| l.method == PaymentMethod::Bank && l.state == LegState::Succeeded)
                .map(|l| l.amount.minor)
                .sum();
            if bank != merchant && !self.orders {
                return Err(format!("{trip_id}: the bank booked {bank}, the merchant {merchant}: {report:?}"));
            }
            let most = self.signed.get(&trip_id).into_iter().flatten().map(|m| m.minor).max().unwrap_or(0);
            if bank > most {
                return Err(format!("{trip_id}: the bank booked {bank}, at most {most} was signed"));
            }
        }
        Ok(())
    }
}
