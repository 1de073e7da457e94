//! What merchant time is, as far as the terminal knows it.

use super::input::Now;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How far an estimate may be off before a new statement is kept.
const TOLERANCE_MS: i64 = 1_500;

/// A reading of merchant time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Merchant time minus the device's wall clock, at the reading.
    pub offset_ms: i64,
    /// Merchant time at the reading.
    pub stated: Timestamp,
    /// The clock that never jumps, at the reading.
    pub monotonic_ms: u64,
    /// What that clock counted from.
    pub boot: u64,
    /// Whether the merchant signed it. One that is not serves only until one that is comes.
    pub signed: bool,
}

impl Clock {
    pub(super) fn read(stated: Timestamp, signed: bool, now: &Now) -> Self {
        let offset_ms = stated.as_millis().saturating_sub(now.wall.as_millis());
        Self { offset_ms, stated, monotonic_ms: now.monotonic_ms, boot: now.boot, signed }
    }

    /// Merchant time now. While the process lives, turning the wall clock changes nothing.
    pub(super) fn estimate(&self, now: &Now) -> Timestamp {
        match now.monotonic_ms.checked_sub(self.monotonic_ms) {
            Some(since) if self.boot == now.boot => self.stated.shifted(i64::try_from(since).unwrap_or(i64::MAX)),
            _ => now.wall.shifted(self.offset_ms),
        }
    }

    /// Whether a reading says anything that `known` does not.
    pub(super) fn is_news(&self, known: Option<&Clock>, now: &Now) -> bool {
        known.is_none_or(|k| {
            let off = k.estimate(now).as_millis().saturating_sub(self.stated.as_millis());
            (self.signed || !k.signed)
                && (k.boot != self.boot || off.abs() > TOLERANCE_MS || (self.signed && !k.signed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(wall: i64, monotonic_ms: u64, boot: u64) -> Now {
        Now { wall: Timestamp::from_millis(wall), monotonic_ms, boot, random: [0; 32] }
    }

    #[test]
    fn turning_the_wall_clock_changes_nothing_while_the_process_lives() {
        let clock = Clock::read(Timestamp::from_millis(1_000_000), true, &now(400_000, 50, 1));
        assert_eq!(clock.estimate(&now(9_999_999, 1_050, 1)).as_millis(), 1_001_000);
        assert_eq!(clock.estimate(&now(401_000, 3, 2)).as_millis(), 1_001_000, "after a restart: by the offset");
    }

    #[test]
    fn a_hint_never_replaces_a_signed_reading() {
        let here = now(0, 0, 1);
        let signed = Clock::read(Timestamp::from_millis(1_000_000), true, &here);
        let hint = Clock::read(Timestamp::from_millis(9_000_000), false, &here);
        assert!(!hint.is_news(Some(&signed), &here));
        assert!(signed.is_news(Some(&hint), &here));
        assert!(hint.is_news(None, &here));
        assert!(!signed.is_news(Some(&signed), &here));
    }
}
