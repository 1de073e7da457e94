//! What every rule is given besides the transaction: the present, randomness, keys, policy.

use super::catalogue::Catalogues;
use super::config::Config;
use crate::keys::Keyring;
use crate::store::trips::Trip;
use std::cell::Cell;
use std::sync::{Arc, PoisonError, RwLock};
use walkpay::Timestamp;
use walkpay::protocol::crypto::sha256;

/// The arguments of all rules. Cheap to make, one per request.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// Merchant time.
    pub now: Timestamp,
    /// Randomness of this request.
    pub random: Random,
    /// The keys that sign.
    pub keys: Arc<Keyring>,
    /// Policy.
    pub config: Arc<Config>,
    /// Immutable catalogue revisions, read once.
    pub catalogues: Arc<Catalogues>,
}

/// Random bytes from a seed, so that the same request in a simulation gives the same result.
#[derive(Clone, Debug)]
pub struct Random {
    seed: [u8; 32],
    drawn: Cell<u32>,
}

impl Random {
    /// From 32 random bytes; never use a seed twice.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: Cell::new(0) }
    }

    /// The next `N` bytes; at most 32.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let n = self.drawn.get();
        self.drawn.set(n.wrapping_add(1));
        let block = sha256(&[self.seed.as_slice(), &n.to_be_bytes()].concat());
        let mut out = [0; N];
        out.iter_mut().zip(block).for_each(|(to, from)| *to = from);
        out
    }

    /// A number below `n`, which is small.
    pub fn below(&self, n: u32) -> u32 {
        u32::from_be_bytes(self.bytes()) % n.max(1)
    }
}

impl Ctx {
    /// What a sign of life of a trip counts as now: a trip is given up some time after its last one, and never later than
    /// [`Config::trip_max`] after its first sight.
    pub(super) fn sign_of_life(&self, trip: &Trip) -> Timestamp {
        let latest = trip.first_seen.plus(self.config.trip_max.saturating_sub(self.config.trip_idle));
        self.now.min(latest)
    }
}

/// What a running merchant has in memory: policy, keys, catalogues that were read. It decides nothing.
#[derive(Debug)]
pub struct Core {
    config: Arc<Config>,
    keys: RwLock<Arc<Keyring>>,
    catalogues: Arc<Catalogues>,
}

impl Core {
    /// A merchant with this policy and these keys.
    pub fn new(config: Config, keys: Keyring) -> Self {
        Self { config: Arc::new(config), keys: RwLock::new(Arc::new(keys)), catalogues: Arc::default() }
    }

    /// The arguments for one request at `now`; `seed` is 32 random bytes, used once.
    pub fn ctx(&self, now: Timestamp, seed: [u8; 32]) -> Ctx {
        Ctx {
            now,
            random: Random::new(seed),
            keys: self.keys(),
            config: self.config.clone(),
            catalogues: self.catalogues.clone(),
        }
    }

    /// The keys in use.
    pub fn keys(&self) -> Arc<Keyring> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the keys, after a rotation; follow it with [`super::AdminCommand::PublishKeySet`].
    pub fn set_keys(&self, keys: Keyring) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}
