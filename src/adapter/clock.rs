//! The device's clocks.

use crate::adapter::random::random;
use crate::error::WalkpayError;
use crate::time::Timestamp;
#[cfg(unix)]
use rustix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
#[cfg(not(unix))]
use std::time::Instant;
use std::time::{Duration, SystemTime};

/// What the device believes the time to be. It may be wrong by any amount, and may jump.
pub fn wall() -> Timestamp {
    Timestamp::from_system(SystemTime::now()).unwrap_or(Timestamp::from_millis(0))
}

/// Time since this process first asked, the time that the device slept included. Never goes back; says nothing across restarts.
pub fn monotonic() -> Duration {
    static START: OnceLock<Duration> = OnceLock::new();
    let now = since_boot();
    now.saturating_sub(*START.get_or_init(|| now))
}

/// Linux and Android stop `CLOCK_MONOTONIC`, which is what [`std::time::Instant`] reads, while the device sleeps.
#[cfg(any(target_os = "linux", target_os = "android"))]
const COUNTS_SLEEP: ClockId = ClockId::Boottime;
/// Apple's `CLOCK_MONOTONIC` goes on while the device sleeps; `Instant` reads another one there.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
const COUNTS_SLEEP: ClockId = ClockId::Monotonic;

#[cfg(unix)]
fn since_boot() -> Duration {
    let read = clock_gettime(COUNTS_SLEEP);
    Duration::new(u64::try_from(read.tv_sec).unwrap_or(0), u32::try_from(read.tv_nsec).unwrap_or(0))
}

#[cfg(not(unix))]
fn since_boot() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// Names what [`monotonic`] counts from: another number in each process.
///
/// # Errors
/// [`WalkpayError::Internal`] without randomness.
pub fn boot() -> Result<u64, WalkpayError> {
    static BOOT: OnceLock<u64> = OnceLock::new();
    match BOOT.get() {
        Some(boot) => Ok(*boot),
        None => {
            let boot = u64::from_le_bytes(random()?);
            Ok(*BOOT.get_or_init(|| boot))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_never_goes_back() {
        let first = monotonic();
        assert!(monotonic() >= first);
        assert_eq!(boot().unwrap(), boot().unwrap());
        assert!(wall().as_millis() > 1_700_000_000_000);
    }
}
