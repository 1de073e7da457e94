//! Whether the merchant can be reached, as far as the last requests tell.

use crate::id::DeviceId;
use std::collections::BTreeMap;

/// What the last request of each device said.
#[derive(Default)]
pub(super) struct Reach(BTreeMap<DeviceId, bool>);

impl Reach {
    /// A request was answered, or was not.
    pub(super) fn learn(&mut self, device: DeviceId, answered: bool) {
        self.0.insert(device, answered);
    }

    /// Nothing is known any more.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Whether the last request was answered; nothing before the first one.
    pub(super) fn of(&self, device: DeviceId) -> Option<bool> {
        self.0.get(&device).copied()
    }
}
