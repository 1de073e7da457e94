//! Freshness and single use of request signatures, in bounded memory. Pure: the present is an argument.

use super::http_signature::{ParsedSignature, SignatureRefusal};
use super::problem::ProblemCode;
use crate::id::KeyId;
use crate::time::Timestamp;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// How far `created` may be from the present, in both directions.
pub const FRESHNESS: Duration = Duration::from_secs(300);

/// Remembers the nonces that were used within [`FRESHNESS`], of verified signatures only.
///
/// Whatever was created before the guard's own beginning, or so long ago that its nonce has been forgotten, is refused: also
/// when the clock is set back.
#[derive(Debug)]
pub struct NonceGuard {
    /// Signatures created before this are refused.
    floor: Timestamp,
    capacity: usize,
    per_key: usize,
    used: HashMap<KeyId, HashSet<String>>,
    by_time: BTreeMap<(Timestamp, u64), (KeyId, String)>,
    counter: u64,
}

impl NonceGuard {
    /// A guard that refuses signatures created before `not_before` (the process's start, or 1970 with a book that never
    /// served a device), and remembers at most `capacity` nonces, `per_key` of them of one key.
    pub fn new(not_before: Timestamp, capacity: usize, per_key: usize) -> Self {
        Self { floor: not_before, capacity, per_key, used: HashMap::new(), by_time: BTreeMap::new(), counter: 0 }
    }

    /// Takes a **verified** signature's nonce, once.
    ///
    /// # Errors
    /// [`SignatureRefusal`] with `signature_stale`, `nonce_replayed`, `rate_limited` (this key has used too many nonces within
    /// [`FRESHNESS`]) or `unavailable` (all keys together have).
    pub fn check(&mut self, parsed: &ParsedSignature, now: Timestamp) -> Result<(), SignatureRefusal> {
        self.forget(now);
        let created = parsed.created;
        if created < self.floor || created < now.minus(FRESHNESS) || created > now.plus(FRESHNESS) {
            let detail = "created within 300 seconds of merchant time, and after the merchant's last start";
            return Err(SignatureRefusal::new(ProblemCode::SignatureStale, detail));
        }
        let of_key = self.used.get(&parsed.keyid);
        if of_key.is_some_and(|nonces| nonces.contains(&parsed.nonce)) {
            return Err(SignatureRefusal::new(ProblemCode::NonceReplayed, "a nonce that was not used before"));
        }
        if of_key.is_some_and(|nonces| nonces.len() >= self.per_key) {
            return Err(SignatureRefusal::new(ProblemCode::RateLimited, "fewer requests of one device"));
        }
        if self.by_time.len() >= self.capacity {
            return Err(SignatureRefusal::new(ProblemCode::Unavailable, "fewer requests at a time"));
        }
        self.used.entry(parsed.keyid.clone()).or_default().insert(parsed.nonce.clone());
        self.counter += 1;
        self.by_time.insert((created, self.counter), (parsed.keyid.clone(), parsed.nonce.clone()));
        Ok(())
    }

    /// How many nonces are remembered.
    pub fn len(&self) -> usize {
        self.by_time.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_time.is_empty()
    }

    fn forget(&mut self, now: Timestamp) {
        let oldest = now.minus(FRESHNESS);
        if oldest <= self.floor {
            return;
        }
        self.floor = oldest;
        let kept = self.by_time.split_off(&(oldest, 0));
        for (keyid, nonce) in std::mem::replace(&mut self.by_time, kept).into_values() {
            if let Some(nonces) = self.used.get_mut(&keyid) {
                nonces.remove(&nonce);
                if nonces.is_empty() {
                    self.used.remove(&keyid);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    fn parsed(key: &str, nonce: &str, created: i64) -> ParsedSignature {
        ParsedSignature::for_tests(KeyId::parse(key).unwrap(), at(created), nonce)
    }

    fn code(result: Result<(), SignatureRefusal>) -> Option<ProblemCode> {
        result.err().map(|r| r.code)
    }

    #[test]
    fn a_nonce_is_taken_once_per_key() {
        let mut guard = NonceGuard::new(at(0), 10, 10);
        assert_eq!(code(guard.check(&parsed("a", "n", 1), at(1))), None);
        assert_eq!(code(guard.check(&parsed("a", "n", 1), at(1))), Some(ProblemCode::NonceReplayed));
        assert_eq!(code(guard.check(&parsed("a", "n", 2), at(3))), Some(ProblemCode::NonceReplayed));
        assert_eq!(code(guard.check(&parsed("b", "n", 1), at(1))), None);
    }

    #[test]
    fn freshness_is_300_seconds_both_ways() {
        let mut guard = NonceGuard::new(Timestamp::from_millis(0), 10, 10);
        assert_eq!(code(guard.check(&parsed("a", "1", -300), at(0))), None);
        assert_eq!(code(guard.check(&parsed("a", "2", 300), at(0))), None);
        assert_eq!(code(guard.check(&parsed("a", "3", -301), at(0))), Some(ProblemCode::SignatureStale));
        assert_eq!(code(guard.check(&parsed("a", "4", 301), at(0))), Some(ProblemCode::SignatureStale));
    }

    #[test]
    fn what_was_created_before_the_start_is_refused() {
        let mut guard = NonceGuard::new(at(0), 10, 10);
        assert_eq!(code(guard.check(&parsed("a", "1", -1), at(0))), Some(ProblemCode::SignatureStale));
        assert_eq!(code(guard.check(&parsed("a", "1", 0), at(0))), None);
    }

    #[test]
    fn a_clock_that_is_set_back_opens_nothing() {
        let mut guard = NonceGuard::new(at(0), 10, 10);
        guard.check(&parsed("a", "n", 1), at(1)).unwrap();
        guard.check(&parsed("a", "m", 1000), at(1000)).unwrap();
        assert_eq!(guard.len(), 1, "the first was forgotten");
        assert_eq!(code(guard.check(&parsed("a", "n", 1), at(1))), Some(ProblemCode::SignatureStale));
        assert_eq!(code(guard.check(&parsed("a", "m", 1000), at(900))), Some(ProblemCode::NonceReplayed));
    }

    #[test]
    fn memory_is_bounded_and_freed() {
        let mut guard = NonceGuard::new(at(0), 5, 3);
        for n in 0..3 {
            guard.check(&parsed("a", &n.to_string(), 1), at(1)).unwrap();
        }
        assert_eq!(code(guard.check(&parsed("a", "x", 1), at(1))), Some(ProblemCode::RateLimited));
        guard.check(&parsed("b", "1", 2), at(2)).unwrap();
        guard.check(&parsed("b", "2", 2), at(2)).unwrap();
        assert_eq!(code(guard.check(&parsed("c", "1", 2), at(2))), Some(ProblemCode::Unavailable));
        assert_eq!(guard.len(), 5);
        guard.check(&parsed("c", "1", 302), at(302)).unwrap();
        assert_eq!(guard.len(), 3);
        guard.check(&parsed("c", "2", 303), at(303)).unwrap();
        assert_eq!(guard.len(), 2);
    }
}
