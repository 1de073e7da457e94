//! Fetching a store's catalogue: the signed manifest, the data that it describes, and the import beside everything else.

use super::ask::Asker;
use super::worker::Worker;
use super::{Handle, blocking};
use crate::adapter::catalogue_store::{CatalogueMeta, Imported, MAX_CATALOGUE_BYTES, import};
use crate::error::WalkpayError;
use crate::id::StoreId;
use crate::money::Currency;
use crate::protocol::document::{CatalogueManifest, KeySet, KeyUse};
use crate::protocol::jws::json_problem;
use crate::protocol::key_set::verify_by;
use crate::protocol::message::{CatalogueAnswer, MAX_ANSWER_BODY};
use crate::protocol::request::TerminalRequest;
use std::time::Duration;

const MANIFEST_TIMEOUT: Duration = Duration::from_secs(30);
const DATA_TIMEOUT: Duration = Duration::from_secs(600);

/// What a sync has done.
pub(crate) struct Synced {
    pub(crate) meta: CatalogueMeta,
    pub(crate) before: Option<u64>,
    pub(crate) delta: bool,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// What is needed beside the way to the merchant.
struct Sync {
    asker: Asker,
    key_set: KeySet,
    currency: Currency,
    have: Option<u64>,
}

/// Brings the catalogue of `store` to the merchant's newest revision. Scanning goes on meanwhile. Where the key of the manifest is not
/// known, the key set is fetched, once.
///
/// # Errors
/// [`WalkpayError::Network`], [`WalkpayError::Refused`], [`WalkpayError::Untrusted`] when manifest or data do not verify,
/// [`WalkpayError::Storage`], [`WalkpayError::Unknown`] for a store that is not this merchant's. The catalogue is then as before.
pub(crate) async fn sync_catalogue(handle: &Handle, store: StoreId) -> Result<Synced, WalkpayError> {
    match sync(handle, store.clone()).await {
        Err(error) if error.is_key_trouble() => {
            fetch_keys(handle).await?;
            sync(handle, store).await
        }
        other => other,
    }
}

/// Takes the merchant's newest key set in, as if a poll had asked for it.
async fn fetch_keys(handle: &Handle) -> Result<(), WalkpayError> {
    let asker = handle.call(Asker::new).await?;
    let body = asker.send(&TerminalRequest::Keys, MANIFEST_TIMEOUT, MAX_ANSWER_BODY as u64).await?;
    handle.call(move |w| w.keys_came(asker.device, body)).await
}

async fn sync(handle: &Handle, store: StoreId) -> Result<Synced, WalkpayError> {
    let store_id = store.clone();
    let sync = handle.call(move |w| prepare(w, &store_id)).await?;
    let have = sync.have;
    match fetch(handle, &sync, &store, have).await {
        // Another sync was faster, or the merchant's deltas do not reach back so far.
        Err(WalkpayError::Untrusted { check, .. }) if check == "base" && have.is_some() => {
            fetch(handle, &sync, &store, None).await
        }
        other => other,
    }
}

fn prepare(worker: &mut Worker, store: &StoreId) -> Result<Sync, WalkpayError> {
    let asker = Asker::new(worker)?;
    let have = worker.shelves.find(store)?.map(|s| s.meta().header.revision);
    let device = worker.session.current()?;
    Ok(Sync { asker, key_set: device.key_set.clone(), currency: device.store(store)?.currency, have })
}

async fn fetch(handle: &Handle, sync: &Sync, store: &StoreId, base: Option<u64>) -> Result<Synced, WalkpayError> {
    let ask = TerminalRequest::Catalogue { store_id: store.clone(), base };
    let answer = sync.asker.send(&ask, MANIFEST_TIMEOUT, MAX_ANSWER_BODY as u64).await?;
    let manifest = sync.manifest(&answer, store)?;
    let data = if sync.have == Some(manifest.revision) {
        None
    } else {
        let (revision, base) = (manifest.revision, manifest.base);
        let ask = TerminalRequest::CatalogueData { store_id: store.clone(), revision, base };
        Some(sync.asker.send(&ask, DATA_TIMEOUT, manifest.length.min(MAX_CATALOGUE_BYTES)).await?)
    };
    let (delta, before) = (manifest.base.is_some(), sync.have);
    let (imported, bytes) = match data {
        Some(data) => take_in(handle, manifest, sync.currency, data).await?,
        None => (None, 0),
    };
    let store_id = store.clone();
    let meta = handle
        .call(move |w| {
            w.shelves.advance(&store_id)?;
            let meta = w.shelves.get(&store_id, "sync_catalogue")?.meta().clone();
            w.checkpoint_later(store_id);
            Ok(meta)
        })
        .await?;
    let rows = imported.map_or(0, |i| i.rows);
    Ok(Synced { meta, before, delta, rows, bytes })
}

async fn take_in(
    handle: &Handle,
    manifest: CatalogueManifest,
    currency: Currency,
    data: Vec<u8>,
) -> Result<(Option<Imported>, u64), WalkpayError> {
    let (folder, durability) = handle.call(|w| Ok((w.folder.clone(), w.durability))).await?;
    let bytes = data.len() as u64;
    let imported = blocking(move || import(&folder, &manifest, currency, &data, durability)).await?;
    Ok((Some(imported), bytes))
}

impl Sync {
    fn manifest(&self, answer: &[u8], store: &StoreId) -> Result<CatalogueManifest, WalkpayError> {
        let answer: CatalogueAnswer = serde_json::from_slice(answer)
            .map_err(|e| WalkpayError::untrusted("catalogue", "form", json_problem(&e)))?;
        let issued_at = |m: &CatalogueManifest| m.issued_at;
        let manifest = verify_by(&answer.manifest, &self.key_set, KeyUse::Catalogue, issued_at)?.document;
        if manifest.merchant_id != self.asker.merchant_id || manifest.store_id != *store {
            return Err(WalkpayError::untrusted("catalogue", "binding", "a catalogue of this merchant and store"));
        }
        Ok(manifest)
    }
}
