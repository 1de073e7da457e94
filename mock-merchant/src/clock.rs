//! The present, as an argument for everything that is pure. Only a simulation can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};
use walkpay::Timestamp;

/// The farthest that a simulation moves its clock: ten years.
pub const MAX_OFFSET: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Merchant time: the system's clock, plus what a simulation added. Clones share the offset.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset: Arc<AtomicI64>,
    /// Nothing but the offset counts.
    stands: bool,
}

impl Clock {
    /// A clock that is `offset_millis` ahead of the system's.
    pub fn with_offset(offset_millis: i64) -> Self {
        Self { offset: Arc::new(AtomicI64::new(offset_millis)), stands: false }
    }

    /// A clock that stands at `at` until it is set, for worlds in which time is decided.
    pub fn standing(at: Timestamp) -> Self {
        Self { offset: Arc::new(AtomicI64::new(at.as_millis())), stands: true }
    }

    /// Sets a clock that stands; one that goes is left alone.
    pub fn set(&self, at: Timestamp) {
        if self.stands {
            self.offset.store(at.as_millis(), Ordering::SeqCst);
        }
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        if self.stands {
            return Timestamp::from_millis(self.offset_millis());
        }
        let system = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let millis = i64::try_from(system.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(millis.saturating_add(self.offset_millis()))
    }

    /// How far ahead of the system's clock it is, in milliseconds.
    pub fn offset_millis(&self) -> i64 {
        self.offset.load(Ordering::SeqCst)
    }

    /// Moves it forward; `None`, and nothing moved, when that would be farther than [`MAX_OFFSET`].
    pub fn advance(&self, by: Duration) -> Option<Timestamp> {
        let by = i64::try_from(by.as_millis()).ok()?;
        let limit = i64::try_from(MAX_OFFSET.as_millis()).ok()?;
        let moved = |offset: i64| offset.checked_add(by).filter(|sum| *sum <= limit);
        self.offset.fetch_update(Ordering::SeqCst, Ordering::SeqCst, moved).ok()?;
        Some(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_forward_within_its_limit() {
        let clock = Clock::default();
        let before = clock.now();
        let after = clock.advance(Duration::from_secs(3600)).unwrap();
        assert!(after.since(before) >= Duration::from_secs(3600));
        assert!(clock.advance(MAX_OFFSET).is_none());
        assert_eq!(clock.offset_millis(), 3_600_000);
    }

    #[test]
    fn stands_until_it_is_set() {
        let (clock, at) = (Clock::standing(Timestamp::from_millis(5)), Timestamp::from_millis(7));
        let shared = clock.clone();
        assert_eq!(clock.now(), Timestamp::from_millis(5));
        clock.set(at);
        assert_eq!(shared.now(), at);
        let goes = Clock::default();
        goes.set(at);
        assert!(goes.now() > at);
    }
}
