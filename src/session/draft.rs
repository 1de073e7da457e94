//! The events of a decision about one device, as they come together.

use super::host::HostEventKind;
use super::input::{Decision, Now, Reply};
use super::journal::{Fact, JournalEvent, VERSION};
use super::state::Device;

pub(super) struct Draft<'a> {
    pub(super) device: &'a Device,
    pub(super) now: &'a Now,
    last_number: u64,
    events: Vec<JournalEvent>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(device: &'a Device, now: &'a Now) -> Self {
        Self { device, now, last_number: device.host.last, events: Vec::new() }
    }

    pub(super) fn push(&mut self, fact: Fact) {
        self.events.push(JournalEvent { v: VERSION, at: self.now.wall, device: Some(self.device.id), fact });
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number = self.last_number.saturating_add(1);
        self.last_number
    }

    pub(super) fn tell(&mut self, told: HostEventKind) {
        let number = self.next_number();
        self.push(Fact::Told { number, told });
    }

    pub(super) fn reply(self, reply: Reply) -> Decision {
        Decision { events: self.events, reply }
    }

    pub(super) fn one(device: &'a Device, now: &'a Now, fact: Fact, reply: Reply) -> Decision {
        let mut draft = Self::new(device, now);
        draft.push(fact);
        draft.reply(reply)
    }
}

impl Decision {
    /// Nothing to be journalled.
    pub(super) fn nothing(reply: Reply) -> Self {
        Self { events: Vec::new(), reply }
    }

    pub(super) fn of_installation(fact: Fact, now: &Now, reply: Reply) -> Self {
        Self { events: vec![JournalEvent { v: VERSION, at: now.wall, device: None, fact }], reply }
    }
}
