//! Randomness of the operating system.

use crate::error::WalkpayError;
use ring::rand::{SecureRandom, SystemRandom};

/// `N` unpredictable bytes.
///
/// # Errors
/// [`WalkpayError::Internal`] when the system has no randomness to give.
pub fn random<const N: usize>() -> Result<[u8; N], WalkpayError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| WalkpayError::Internal { detail: "the system gave no random bytes".into() })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differs_each_time() {
        assert_ne!(random::<32>().unwrap(), random::<32>().unwrap());
    }
}
