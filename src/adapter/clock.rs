//! The device's clocks.

use crate::adapter::random::random;
use crate::error::WalkpayError;
use crate::time::Timestamp;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

/// What the device believes the time to be. It may be wrong by any amount, and may jump.
pub fn wall() -> Timestamp {
    Timestamp::from_system(SystemTime::now()).unwrap_or(Timestamp::from_millis(0))
}

/// Time since this process first asked. Never goes back; says nothing across restarts.
pub fn monotonic() -> Duration {
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
