//! What somebody outside knows of a message: whether it was lost or sent twice without need. For tests, simulations and whoever
//! doubts a book.

use super::SentAs;
use crate::store::notices::{NoticeDelivery, NoticeState};

/// What happened to one message on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    tries: u32,
    /// How often it has arrived, or may have.
    sent: u32,
    /// How many tries had an outcome that the merchant does not know.
    unknown: u32,
    /// How many were put off.
    deferred: u32,
    /// Whether it was refused for good, or reported to have failed.
    refused: bool,
    /// The merchant has not heard of the newest try.
    under_way: bool,
}

impl Witness {
    /// The merchant begins a try; its number.
    pub fn begun(&mut self) -> u32 {
        self.unknown += u32::from(self.under_way);
        self.under_way = true;
        self.tries += 1;
        self.tries
    }

    /// The carrier has it, whatever the merchant hears of that.
    ///
    /// # Errors
    /// What is wrong: the payer gets it again although the merchant knew that it had arrived.
    pub fn handed_over(&mut self) -> Result<(), String> {
        self.sent += 1;
        if self.sent > 1 + self.unknown { Err(format!("sent again without need: {self:?}")) } else { Ok(()) }
    }

    /// The merchant hears what a try came to.
    pub fn heard(&mut self, number: u32, as_: SentAs) {
        // Of what the merchant has given up waiting for, only success counts, and that says nothing of the newest one.
        if number != self.tries || !self.under_way {
            return;
        }
        self.under_way = false;
        match as_ {
            SentAs::Delivered | SentAs::Accepted => {}
            SentAs::Deferred => self.deferred += 1,
            SentAs::Refused => self.refused = true,
            SentAs::Unknown => self.unknown += 1,
        }
    }

    /// The carrier has taken it, and reports that it will never arrive.
    pub fn reported_lost(&mut self) {
        self.refused = true;
    }

    /// Whether what the merchant has on record at the end is explained by what happened; `pauses`: how often it tries again.
    ///
    /// # Errors
    /// What is wrong: it is lost, or recorded as something else than it is.
    pub fn explains(&self, found: &NoticeDelivery, pauses: usize) -> Result<(), String> {
        let vain = self.unknown + u32::from(self.under_way) + self.deferred;
        let right = match found.state {
            NoticeState::Accepted | NoticeState::Delivered => self.sent > 0,
            NoticeState::Failed => self.refused,
            NoticeState::Unknown => self.unknown > 0 || self.under_way,
            // The first try and all that the pauses allow were in vain, or there was nothing more to say.
            NoticeState::GivenUp => vain as usize > pauses || found.last_word.as_deref() == Some("overtaken"),
            NoticeState::Waiting | NoticeState::Sending => false,
        };
        if right && found.due.is_none() { Ok(()) } else { Err(format!("{found:?} after {self:?}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_may_be_sent_again_only_where_its_outcome_is_unknown() {
        let mut known = Witness::default();
        let number = known.begun();
        known.handed_over().unwrap();
        known.heard(number, SentAs::Accepted);
        known.begun();
        assert!(known.handed_over().is_err(), "the merchant knew");
        let mut lost = Witness::default();
        lost.begun();
        lost.handed_over().unwrap();
        let second = lost.begun();
        lost.handed_over().unwrap();
        lost.heard(1, SentAs::Accepted);
        lost.heard(second, SentAs::Unknown);
        let third = lost.begun();
        lost.handed_over().unwrap();
        lost.heard(third, SentAs::Accepted);
        lost.begun();
        assert!(lost.handed_over().is_err(), "two were unknown, the third was not");
    }
}
