//! Devices and stores as they were last seen, for what is done before the writer's turn.

use crate::failure::Failure;
use crate::store::devices::{self, Device};
use crate::store::stores::{self, StoreRow};
use crate::store::{StoreError, Tx};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};
use walkpay::{DeviceId, StoreId};

/// How many of each are remembered; the database has all of them.
const KEPT: usize = 50_000;

/// What was seen. None of it is ever deleted; what may have changed since is looked at again in the writer's turn (the device) or
/// forgotten when it changes (stores).
#[derive(Debug, Default)]
pub struct Known {
    devices: RwLock<HashMap<DeviceId, Arc<Device>>>,
    stores: RwLock<HashMap<StoreId, Arc<StoreRow>>>,
}

impl Known {
    /// A device, and whether it was seen before rather than now.
    pub(super) fn device(&self, tx: &Tx<'_>, id: &DeviceId) -> Result<Option<(Arc<Device>, bool)>, Failure> {
        if let Some(device) = get(&self.devices, id) {
            return Ok(Some((device, true)));
        }
        Ok(self.look_at_device(tx, id)?.map(|device| (device, false)))
    }

    /// A device as it is now.
    pub(super) fn look_at_device(&self, tx: &Tx<'_>, id: &DeviceId) -> Result<Option<Arc<Device>>, Failure> {
        Ok(keep(&self.devices, *id, devices::find(tx, id))?)
    }

    /// A store.
    pub(super) fn store(&self, tx: &Tx<'_>, id: &StoreId) -> Result<Option<Arc<StoreRow>>, Failure> {
        match get(&self.stores, id) {
            Some(store) => Ok(Some(store)),
            None => Ok(keep(&self.stores, id.clone(), stores::find(tx, id))?),
        }
    }

    /// Forgets everything.
    pub(super) fn forget(&self) {
        self.devices.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.stores.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn get<K: Eq + Hash, V>(all: &RwLock<HashMap<K, Arc<V>>>, key: &K) -> Option<Arc<V>> {
    all.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
}

fn keep<K: Eq + Hash, V>(
    all: &RwLock<HashMap<K, Arc<V>>>,
    key: K,
    found: Result<Option<V>, StoreError>,
) -> Result<Option<Arc<V>>, StoreError> {
    let Some(found) = found?.map(Arc::new) else { return Ok(None) };
    let mut all = all.write().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= KEPT {
        all.clear();
    }
    all.insert(key, found.clone());
    Ok(Some(found))
}
