//! The bank: the simulator that ships, with a book of its own; its answers get lost and it changes its mind.

use super::network::Message;
use super::{Mutation, World, text};
use mock_merchant::bank::port::*;
use mock_merchant::bank::{Bank, Treatment};
use mock_merchant::worker::{Ask, BankAnswer, OutsideCall};
use rand::RngExt;
use walkpay::Timestamp;

impl World {
    pub(super) fn ask_bank(&mut self, call: OutsideCall) -> Result<(), String> {
        let answer = match &call.ask {
            Ask::Request(request) => {
                let mut request = request.clone();
                if self.mutation == Some(Mutation::NewBankReference) {
                    let tries = self.tries.entry(request.reference.clone()).or_default();
                    *tries += 1;
                    if *tries > 1 {
                        request.reference.push_str(".again");
                    }
                }
                self.touched = true;
                self.note_resolution(&request);
                let treatment = self.treatment();
                let outcome = self.bank.handle_as(self.now(), &request, treatment).map_err(text)?;
                if self.mutation == Some(Mutation::DoubleRelease)
                    && matches!(request.operation, BankOperation::ReleaseHold { .. })
                {
                    let mut again = request.clone();
                    again.reference.push_str(".again");
                    self.note_resolution(&again);
                    self.bank.handle(self.now(), &again).map_err(text)?;
                }
                BankAnswer::Outcome(outcome)
            }
            // The bug makes the merchant call again instead of asking, under a reference that the bank has not seen.
            Ask::Query { .. } if self.mutation == Some(Mutation::NewBankReference) => {
                BankAnswer::Query(BankQueryAnswer::NeverSeen)
            }
            Ask::Query { reference } => BankAnswer::Query(self.bank.query(&self.merchant_id, reference).map_err(text)?),
            Ask::Statement { after } => {
                let mut entries = self.bank.statement(&self.merchant_id, *after, 100).map_err(text)?;
                if self.mutation == Some(Mutation::LateSuccessDropped) {
                    entries.clear();
                }
                if self.mutation == Some(Mutation::LateSlipSuccessIgnored) {
                    entries.retain(|e| !self.signed_payments.contains_key(&e.subject));
                }
                BankAnswer::Statement(entries)
            }
        };
        // The answer can get lost, after the effect.
        let result = if self.faults && self.rng.random_range(0..6) == 0 {
            Err(NoAnswer("the connection broke off".into()))
        } else {
            Ok(answer)
        };
        self.post(Message::FromBank { call, result });
        Ok(())
    }

    fn treatment(&mut self) -> Treatment {
        if !self.faults {
            return Treatment::Normal;
        }
        // A bug in what comes of late successes is looked for where there are many.
        let late = [Mutation::LateSuccessDropped, Mutation::LateSlipSuccessIgnored];
        let most = if self.mutation.is_some_and(|m| late.contains(&m)) {
            6
        } else if self.orders {
            12
        } else {
            24
        };
        match self.rng.random_range(0..most) {
            0 => Treatment::Decline,
            1 => Treatment::Partial,
            2 | 3 => {
                let later = self.rng.random_range(1_000..3_600_000);
                Treatment::LateSuccess { due: Timestamp::from_millis(self.now_ms + later) }
            }
            _ => Treatment::Normal,
        }
    }

    fn note_resolution(&mut self, request: &BankRequest) {
        let hold = match &request.operation {
            BankOperation::ReleaseHold { hold_reference } | BankOperation::Capture { hold_reference, .. } => {
                hold_reference
            }
            _ => return,
        };
        self.resolutions.entry(hold.clone()).or_default().insert(request.reference.clone());
    }

    pub(super) fn restart_bank(&mut self) -> Result<(), String> {
        let bank = std::mem::replace(&mut self.bank, Bank::in_memory().map_err(text)?);
        self.bank = bank.reopen().map_err(text)?;
        Ok(())
    }
}
