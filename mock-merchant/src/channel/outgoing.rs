//! Notifications that a simulated gateway still has to deliver, on a provider's schedule of retries.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use walkpay::Timestamp;

/// What is to be delivered, by its number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outgoing<T> {
    next: u64,
    waiting: BTreeMap<u64, Item<T>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item<T> {
    due: Timestamp,
    tries: usize,
    what: T,
    /// On its way; after a crash it is sent again.
    #[serde(skip)]
    leaving: bool,
}

impl<T> Default for Outgoing<T> {
    fn default() -> Self {
        Self { next: 0, waiting: BTreeMap::new() }
    }
}

impl<T: Clone> Outgoing<T> {
    /// Has something delivered, first at `due`.
    pub fn push(&mut self, due: Timestamp, what: T) {
        self.next += 1;
        self.waiting.insert(self.next, Item { due, tries: 0, what, leaving: false });
    }

    /// Takes what is due; each is to be settled afterwards.
    pub fn take(&mut self, now: Timestamp) -> Vec<(u64, T)> {
        let due = self.waiting.iter_mut().filter(|(_, item)| item.due <= now && !item.leaving);
        due.map(|(number, item)| {
            item.leaving = true;
            (*number, item.what.clone())
        })
        .collect()
    }

    /// Notes what came of a delivery: it is over, or tried again after the schedule's next pause; after the last one nobody tries any more.
    pub fn settle(&mut self, now: Timestamp, number: u64, delivered: bool, pauses: &[Duration]) {
        let Some(item) = self.waiting.get_mut(&number) else { return };
        match pauses.get(item.tries).filter(|_| !delivered) {
            Some(pause) => {
                item.tries += 1;
                item.due = now.plus(*pause);
                item.leaving = false;
            }
            None => {
                self.waiting.remove(&number);
            }
        }
    }

    /// As it is found after a crash: what was on its way is sent again.
    pub fn reopened(&self) -> Self {
        let mut reopened = self.clone();
        reopened.waiting.values_mut().for_each(|item| item.leaving = false);
        reopened
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.waiting.values().filter(|item| !item.leaving).map(|item| item.due).min()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(20)];

    #[test]
    fn what_is_not_taken_is_delivered_again_on_schedule_and_then_no_more() {
        let start = Timestamp::from_millis(0);
        let mut out = Outgoing::default();
        out.push(start, "paid");
        let mut times = Vec::new();
        while let Some(due) = out.next_due() {
            times.push(due.as_millis());
            let taken = out.take(due);
            assert_eq!(taken.len(), 1);
            assert!(out.take(due).is_empty(), "on its way already");
            out.settle(due, taken[0].0, false, &PAUSES);
        }
        assert_eq!((times.as_slice(), out.is_empty()), ([0, 10_000, 30_000].as_slice(), true));
        out.push(start, "paid");
        let taken = out.take(start);
        out.settle(start, taken[0].0, true, &PAUSES);
        assert!(out.is_empty());
    }
}
