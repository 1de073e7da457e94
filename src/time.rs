//! Instants, in milliseconds of UTC; RFC 3339 on the wire.
//!
//! Nothing here reads a clock: the present is an argument of all pure code.

use crate::error::WalkpayError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 9999-12-31T23:59:59.999Z, the last instant that RFC 3339 can write.
const MAX_MILLIS: i64 = 253_402_300_799_999;

/// An instant between 1970 and 9999, to the millisecond, in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970-01-01T00:00:00Z; values outside 1970…9999 are moved to the nearer end.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, MAX_MILLIS))
    }

    /// From the system's idea of an instant; errors as [`Timestamp::parse`].
    pub fn from_system(time: SystemTime) -> Result<Self, WalkpayError> {
        time.duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|d| i64::try_from(d.as_millis()).ok())
            .filter(|ms| *ms <= MAX_MILLIS)
            .map(Self)
            .ok_or_else(|| WalkpayError::invalid("time", "an instant between 1970 and 9999", "one outside"))
    }

    /// Parses RFC 3339 with the offset `Z`.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] for other offsets, missing parts and years outside 1970…9999.
    pub fn parse(text: &str) -> Result<Self, WalkpayError> {
        let bad = || WalkpayError::invalid("time", "RFC 3339 in UTC such as 2026-01-31T09:30:00.000Z", text);
        if text.len() > 40 || !text.ends_with('Z') || text.as_bytes().get(10) != Some(&b'T') {
            return Err(bad());
        }
        let parsed: jiff::Timestamp = text.parse().map_err(|_| bad())?;
        let millis = parsed.as_millisecond();
        if !(0..=MAX_MILLIS).contains(&millis) {
            return Err(bad());
        }
        Ok(Self(millis))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// This instant moved forward; stops at the year 9999.
    pub fn plus(self, by: Duration) -> Self {
        let by = i64::try_from(by.as_millis()).unwrap_or(MAX_MILLIS);
        Self::from_millis(self.0.saturating_add(by))
    }

    /// This instant moved back; stops at 1970.
    pub fn minus(self, by: Duration) -> Self {
        let by = i64::try_from(by.as_millis()).unwrap_or(MAX_MILLIS);
        Self::from_millis(self.0.saturating_sub(by))
    }

    /// This instant moved by a signed number of milliseconds (a clock offset).
    pub fn shifted(self, millis: i64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => Err(fmt::Error),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

uniffi::custom_type!(Timestamp, SystemTime, {
    try_lift: |time| Ok(Timestamp::from_system(time)?),
    lower: |t| UNIX_EPOCH + Duration::from_millis(t.as_millis().unsigned_abs()),
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_form() {
        let t = Timestamp::from_millis(1_769_852_999_007);
        assert_eq!(t.to_string(), "2026-01-31T09:49:59.007Z");
        assert_eq!(Timestamp::parse("2026-01-31T09:49:59.007Z").unwrap(), t);
        assert_eq!(Timestamp::parse("2026-01-31T09:49:59Z").unwrap().as_millis(), 1_769_852_999_000);
        for bad in [
            "",
            "2026-01-31",
            "2026-01-31T09:49:59+01:00",
            "2026-01-31 09:49:59Z",
            "1969-12-31T23:59:59Z",
            "2026-13-31T09:49:59Z",
        ] {
            assert!(Timestamp::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn arithmetic_stays_in_range() {
        let t = Timestamp::from_millis(5);
        assert_eq!(t.minus(Duration::from_secs(1)).as_millis(), 0);
        assert_eq!(t.plus(Duration::MAX).as_millis(), MAX_MILLIS);
        assert_eq!(t.since(Timestamp::from_millis(9)), Duration::ZERO);
    }
}
