//! What the server takes from outside, at most.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use walkpay::protocol::message::MAX_REQUEST_BODY;

/// The limits of one server. The defaults are those of `serve`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Bytes of a bulk hand-in of orders.
    pub bulk_bytes: usize,
    /// Time for a bulk hand-in to arrive.
    pub bulk_time: Duration,
    /// Bulk hand-ins at one time; of one service system, one.
    pub bulks: usize,
    /// Depth of nested JSON arrays and objects.
    pub json_depth: usize,
    /// Bytes of all request headers together.
    pub header_bytes: usize,
    /// Number of request headers.
    pub headers: usize,
    /// Time for the request headers to arrive.
    pub header_time: Duration,
    /// Time for the request body to arrive.
    pub body_time: Duration,
    /// Connections at one time.
    pub connections: usize,
    /// Requests at one time, waiting polls aside.
    pub requests: usize,
    /// Requests of one network address at one time, waiting polls aside.
    pub requests_per_address: u32,
    /// Waiting polls at one time.
    pub polls: usize,
    /// Waiting polls of one device at one time.
    pub polls_per_device: usize,
    /// Requests of one network address.
    pub per_address: Rate,
    /// Enrolments that one network address begins: each holds one of ten thousand nonces for five minutes.
    pub enrolments_per_address: Rate,
    /// Requests of one device.
    pub per_device: Rate,
    /// Documents of one device in a day: baskets, holds, cancellations, key rotations.
    pub documents_per_day: u32,
    /// Requests of one service system; a bulk hand-in is one.
    pub per_source: Rate,
    /// Searches and totals at one time.
    pub questions: usize,
    /// Time that one of them may take.
    pub question_time: Duration,
    /// Exports at one time.
    pub exports: usize,
    /// Time that one may take, its reader's included: as long holds it a snapshot, which keeps the write-ahead log from being emptied.
    pub export_time: Duration,
    /// How long the counts of `/metrics` stand before the database is asked again.
    pub counts_every: Duration,
    /// Time that a call to a service system's callback address may take altogether; below the lease of a delivery.
    pub callback_time: Duration,
    /// Time that open requests get to end when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: MAX_REQUEST_BODY,
            bulk_bytes: 16 * 1024 * 1024,
            bulk_time: Duration::from_secs(60),
            bulks: 8,
            json_depth: 16,
            header_bytes: 32 * 1024,
            headers: 64,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(15),
            connections: 4_096,
            requests: 1_024,
            requests_per_address: 128,
            polls: 2_048,
            polls_per_device: 4,
            per_address: Rate { per_second: 1_000, burst: 2_000 },
            enrolments_per_address: Rate { per_second: 5, burst: 100 },
            per_device: Rate { per_second: 50, burst: 200 },
            documents_per_day: 2_000,
            per_source: Rate { per_second: 500, burst: 1_000 },
            questions: 16,
            question_time: Duration::from_secs(20),
            exports: 4,
            export_time: Duration::from_secs(300),
            counts_every: Duration::from_secs(10),
            callback_time: Duration::from_secs(10),
            drain: Duration::from_secs(10),
        }
    }
}

/// A steady rate, and how much may come at once (a token bucket).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second in the long run; at least 1.
    pub per_second: u32,
    /// Requests at once; at least 1.
    pub burst: u32,
}

/// Buckets by key, in bounded memory: when all places are taken, full buckets are forgotten, since they say nothing.
#[derive(Debug)]
pub struct Buckets<K> {
    flow: Flow,
    capacity: usize,
    buckets: Mutex<HashMap<K, Bucket>>,
}

/// Tokens per second, and how many a full bucket has.
#[derive(Clone, Copy, Debug)]
struct Flow {
    per_second: f64,
    burst: f64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl<K: Eq + Hash> Buckets<K> {
    /// Buckets for at most `capacity` keys.
    pub fn new(rate: Rate, capacity: usize) -> Self {
        let flow = Flow { per_second: f64::from(rate.per_second.max(1)), burst: f64::from(rate.burst) };
        Self { flow, capacity, buckets: Mutex::new(HashMap::new()) }
    }

    /// Buckets for at most `capacity` keys, that hold the tokens of a day and take a day to fill.
    pub fn daily(tokens: u32, capacity: usize) -> Self {
        let burst = f64::from(tokens.max(1));
        Self { flow: Flow { per_second: burst / 86_400.0, burst }, capacity, buckets: Mutex::new(HashMap::new()) }
    }

    /// Takes one token of `key` at the moment `now`.
    ///
    /// # Errors
    /// How long to wait when there is none.
    pub fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= self.capacity && !buckets.contains_key(&key) {
            let flow = self.flow;
            buckets.retain(|_, bucket| bucket.filled(flow, now) < flow.burst);
            if buckets.len() >= self.capacity {
                return Err(Duration::from_secs(1));
            }
        }
        let full = Bucket { tokens: self.flow.burst, at: now };
        let bucket = buckets.entry(key).or_insert(full);
        bucket.tokens = bucket.filled(self.flow, now);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.tokens) / self.flow.per_second));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

impl Bucket {
    fn filled(&self, flow: Flow, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        (self.tokens + since * flow.per_second).min(flow.burst)
    }
}

/// Who is in work at present, and how often; clones share their places.
#[derive(Clone, Debug)]
pub struct Places<K>(Arc<Mutex<HashMap<K, u32>>>);

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K> Places<K> {
    fn taken(&self) -> MutexGuard<'_, HashMap<K, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// One of `most` places of `key`, until what is returned is dropped; nothing if all are taken.
    pub fn enter(&self, key: K, most: u32) -> Option<Place<K>> {
        let mut taken = self.taken();
        let count = taken.entry(key.clone()).or_default();
        if *count >= most.max(1) {
            return None;
        }
        *count += 1;
        Some(Place { places: self.clone(), key })
    }
}

/// A place that is taken.
#[derive(Debug)]
pub struct Place<K: Eq + Hash> {
    places: Places<K>,
    key: K,
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_s_tokens_come_back_over_a_day() {
        let buckets = Buckets::daily(2, 8);
        let start = Instant::now();
        assert!(buckets.take("a", start).is_ok() && buckets.take("a", start).is_ok());
        let wait = buckets.take("a", start).unwrap_err();
        assert!(wait > Duration::from_secs(43_000) && wait < Duration::from_secs(43_300), "{wait:?}");
        assert!(buckets.take("a", start + Duration::from_secs(43_201)).is_ok());
    }

    #[test]
    fn places_are_taken_and_given_back() {
        let places = Places::default();
        let first = places.enter("a", 2).unwrap();
        let second = places.enter("a", 2);
        assert!(second.is_some() && places.enter("a", 2).is_none() && places.enter("b", 2).is_some());
        drop(first);
        assert!(places.enter("a", 2).is_some());
        drop(second);
        assert!(places.0.lock().unwrap().is_empty(), "nothing is remembered of who is gone");
    }

    #[test]
    fn a_bucket_empties_and_fills() {
        let buckets = Buckets::new(Rate { per_second: 10, burst: 2 }, 8);
        let start = Instant::now();
        assert!(buckets.take("a", start).is_ok() && buckets.take("a", start).is_ok());
        let wait = buckets.take("a", start).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_millis(100));
        assert!(buckets.take("b", start).is_ok(), "keys are apart");
        assert!(buckets.take("a", start + Duration::from_millis(101)).is_ok());
    }

    #[test]
    fn memory_is_bounded() {
        let buckets = Buckets::new(Rate { per_second: 1, burst: 2 }, 2);
        let start = Instant::now();
        assert!(buckets.take(1, start).is_ok() && buckets.take(2, start).is_ok());
        assert!(buckets.take(3, start).is_err());
        assert!(buckets.take(3, start + Duration::from_secs(2)).is_ok(), "full buckets are forgotten");
    }
}
