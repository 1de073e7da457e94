//! Randomness of the operating system.

use crate::error::WalkpayError;
use ring::rand::{SecureRandom, SystemRandom};
use std::cell::RefCell;

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

/// Unpredictable bytes, fetched for many draws at once: asking the system takes longer than most of what they are drawn for. Not for
/// keys, which are made of [`random`].
#[derive(Default)]
pub struct Lots(RefCell<Vec<u8>>);

impl Lots {
    /// How many draws are fetched at once.
    const DRAWS: usize = 32;

    /// 32 bytes that nobody has been given before; errors as [`random`].
    pub fn draw(&self) -> Result<[u8; 32], WalkpayError> {
        let mut left = self.0.borrow_mut();
        if left.len() < 32 {
            *left = random::<{ 32 * Self::DRAWS }>()?.to_vec();
        }
        let at = left.len() - 32;
        let mut drawn = [0; 32];
        drawn.copy_from_slice(&left[at..]);
        left.truncate(at);
        Ok(drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn differs_each_time() {
        assert_ne!(random::<32>().unwrap(), random::<32>().unwrap());
    }

    #[test]
    fn no_lot_is_drawn_twice() {
        let lots = Lots::default();
        let drawn: HashSet<[u8; 32]> = (0..100).map(|_| lots.draw().unwrap()).collect();
        assert_eq!(drawn.len(), 100);
    }
}
