//! Polls that wait for events of a device.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use walkpay::DeviceId;

/// Who waits for which device.
#[derive(Debug, Default)]
pub struct Waiters(Mutex<HashMap<DeviceId, Place>>);

#[derive(Debug, Default)]
struct Place {
    notify: Arc<Notify>,
    waiting: usize,
}

impl Waiters {
    /// Takes a place to wait at, unless `limit` polls of the device wait already.
    pub fn enter(self: &Arc<Self>, device: DeviceId, limit: usize) -> Option<Waiting> {
        let mut places = self.lock();
        let place = places.entry(device).or_default();
        if place.waiting >= limit {
            return None;
        }
        place.waiting += 1;
        Some(Waiting { waiters: self.clone(), device, notify: place.notify.clone() })
    }

    /// Wakes the polls of these devices.
    pub fn wake(&self, devices: &[DeviceId]) {
        let places = self.lock();
        devices.iter().filter_map(|d| places.get(d)).for_each(|p| p.notify.notify_waiters());
    }

    /// Wakes all polls.
    pub fn wake_all(&self) {
        self.lock().values().for_each(|p| p.notify.notify_waiters());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place to wait at; given back when dropped.
#[derive(Debug)]
pub struct Waiting {
    waiters: Arc<Waiters>,
    device: DeviceId,
    notify: Arc<Notify>,
}

impl Waiting {
    /// What ends with the next event. Enable it before looking for events: one that comes in between then ends it too.
    pub fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut places = self.waiters.lock();
        if let Some(place) = places.get_mut(&self.device) {
            place.waiting -= 1;
            if place.waiting == 0 {
                places.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use walkpay::Timestamp;

    #[tokio::test]
    async fn wakes_who_waits_and_forgets_who_has_gone() {
        let waiters = Arc::new(Waiters::default());
        let device = DeviceId::new(Timestamp::from_millis(1), [0; 10]);
        let waiting = waiters.enter(device, 1).unwrap();
        assert!(waiters.enter(device, 1).is_none(), "the limit");
        {
            let notified = waiting.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            waiters.wake(&[device]);
            notified.await;
        }
        drop(waiting);
        assert!(waiters.lock().is_empty());
    }
}
