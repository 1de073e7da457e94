//! What merchant time is, as far as the terminal knows it.

use super::input::Now;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How far an estimate may be off before a new statement is kept.
const TOLERANCE_MS: i64 = 1_500;
/// How far an estimate is off, at the least, where the merchant has refused a signature for its time. Signatures are refused five minutes
/// off; a second of that may be lost to rounding and the way.
const REFUTED_MS: i64 = 290_000;

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

    /// Whether a reading that was `delay_ms` on its way says anything that `known` does not.
    pub(super) fn is_news(&self, known: Option<&Clock>, delay_ms: u64, now: &Now) -> bool {
        known.is_none_or(|k| {
            let off = k.error_ms(self.stated, delay_ms, now);
            (self.signed || !k.signed) && (k.boot != self.boot || off > TOLERANCE_MS || (self.signed && !k.signed))
        })
    }

    /// Whether `date`, unsigned, is to be taken after the merchant has said that the time of a signature is wrong. No reading here
    /// outweighs that: the device may have slept unnoticed, or the merchant's clock was corrected.
    pub(super) fn is_refuted_by(&self, date: Timestamp, delay_ms: u64, now: &Now) -> bool {
        let may_be = if self.signed { REFUTED_MS } else { TOLERANCE_MS };
        self.boot != now.boot || self.error_ms(date, delay_ms, now) > may_be
    }

    /// How far the estimate is, at the least, from a time that was stated some time in the last `delay_ms`: an answer that was read late
    /// is no reason to go back.
    fn error_ms(&self, stated: Timestamp, delay_ms: u64, now: &Now) -> i64 {
        let ahead = self.estimate(now).as_millis().saturating_sub(stated.as_millis());
        if ahead < 0 {
            return ahead.saturating_neg();
        }
        ahead.saturating_sub(i64::try_from(delay_ms).unwrap_or(i64::MAX)).max(0)
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
        assert!(!hint.is_news(Some(&signed), 0, &here));
        assert!(signed.is_news(Some(&hint), 0, &here));
        assert!(hint.is_news(None, 0, &here));
        assert!(!signed.is_news(Some(&signed), 0, &here));
    }

    #[test]
    fn an_answer_that_was_read_late_does_not_turn_the_clock_back() {
        let known = Clock::read(Timestamp::from_millis(1_000_000), true, &now(0, 0, 1));
        let later = now(600_000, 600_000, 1);
        let stated = |ms| Clock::read(Timestamp::from_millis(ms), true, &later);
        assert!(!stated(1_000_000).is_news(Some(&known), 600_000, &later), "stated at the start of those ten minutes");
        assert!(stated(1_000_000).is_news(Some(&known), 590_000, &later), "the estimate is ahead of all of them");
        assert!(stated(1_602_000).is_news(Some(&known), 600_000, &later), "the estimate is behind");
        assert!(!stated(1_601_000).is_news(Some(&known), 600_000, &later));
    }

    #[test]
    fn a_refusal_for_the_time_outweighs_a_reading() {
        let known = Clock::read(Timestamp::from_millis(1_000_000), true, &now(0, 0, 1));
        let later = now(1_200_000, 0, 1);
        let date = Timestamp::from_millis;
        assert!(known.is_refuted_by(date(2_200_000), 0, &later), "the device slept and its clock did not count");
        assert!(known.is_refuted_by(date(600_000), 100_000, &later), "the merchant's clock was set back");
        assert!(!known.is_refuted_by(date(1_200_000), 0, &later), "that is not why it was refused");
        assert!(!known.is_refuted_by(date(600_000), 200_000, &later), "an answer that was read late");
        assert!(known.is_refuted_by(date(1_000_000), 0, &now(0, 0, 2)), "read before the last start");
    }
}
