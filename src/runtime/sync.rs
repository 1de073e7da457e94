//! Fetching a store's catalogue: the signed manifest, the data that it describes, and the import beside everything else.

use super::transmit::http_request;
use super::worker::Worker;
use super::{Handle, blocking};
use crate::adapter::catalogue_store::{CatalogueMeta, Imported, MAX_CATALOGUE_BYTES, import};
use crate::adapter::http::{HttpClient, HttpResponse, sign_request};
use crate::adapter::keys::KnownSigner;
use crate::error::WalkpayError;
use crate::id::{MerchantId, StoreId};
use crate::money::Currency;
use crate::protocol::document::{CatalogueManifest, KeySet, KeyUse};
use crate::protocol::jws::json_problem;
use crate::protocol::key_set::verify_by;
use crate::protocol::message::{CatalogueAnswer, MAX_ANSWER_BODY, Problem};
use crate::protocol::problem::ProblemCode;
use crate::protocol::request::TerminalRequest;
use crate::time::Timestamp;
use std::time::{Duration, Instant};

const MANIFEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a signature is made anew when the merchant finds it stale.
const SIGN_AGAIN: u32 = 2;
const DATA_TIMEOUT: Duration = Duration::from_secs(600);

/// What a sync has done.
pub(crate) struct Synced {
    pub(crate) meta: CatalogueMeta,
    pub(crate) before: Option<u64>,
    pub(crate) delta: bool,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// What a request of the user who is signed in needs.
struct Caller {
    http: HttpClient,
    url: String,
    merchant_id: MerchantId,
    signer: KnownSigner,
    key_set: KeySet,
    currency: Currency,
    have: Option<u64>,
    created: Timestamp,
    asked: Instant,
}

/// The body, or why there is none and the answer's time.
type Tried = Result<Vec<u8>, (WalkpayError, Option<Timestamp>)>;

/// Brings the catalogue of `store` to the merchant's newest revision. Scanning goes on meanwhile.
///
/// # Errors
/// [`WalkpayError::Network`], [`WalkpayError::Refused`], [`WalkpayError::Untrusted`] when manifest or data do not verify,
/// [`WalkpayError::Storage`], [`WalkpayError::Unknown`] for a store that is not this merchant's. The catalogue is then as before.
pub(crate) async fn sync_catalogue(handle: &Handle, store: StoreId) -> Result<Synced, WalkpayError> {
    let store_id = store.clone();
    let caller = handle.call(move |w| caller(w, &store_id)).await?;
    let have = caller.have;
    match fetch(handle, &caller, &store, have).await {
        // Another sync was faster, or the merchant's deltas do not reach back so far.
        Err(WalkpayError::Untrusted { check, .. }) if check == "base" && have.is_some() => {
            fetch(handle, &caller, &store, None).await
        }
        other => other,
    }
}

fn caller(worker: &mut Worker, store: &StoreId) -> Result<Caller, WalkpayError> {
    if !worker.may_send() {
        return Err(WalkpayError::Network { detail: "the network is switched off (set_network)".into() });
    }
    let now = worker.now()?;
    let have = worker.shelves.find(store)?.map(|s| s.meta().header.revision);
    let device = worker.session.current()?;
    Ok(Caller {
        http: worker.http.clone(),
        url: worker.merchant_url.clone().unwrap_or_else(|| device.url.clone()),
        merchant_id: device.merchant_id.clone(),
        signer: worker.keys.get(&device.id, &device.request_key.key_id())?,
        key_set: device.key_set.clone(),
        currency: device.store(store)?.currency,
        have,
        created: device.merchant_time(&now),
        asked: Instant::now(),
    })
}

async fn fetch(handle: &Handle, caller: &Caller, store: &StoreId, base: Option<u64>) -> Result<Synced, WalkpayError> {
    let ask = TerminalRequest::Catalogue { store_id: store.clone(), base };
    let answer = caller.send(&ask, MANIFEST_TIMEOUT, MAX_ANSWER_BODY as u64).await?;
    let manifest = caller.manifest(&answer, store)?;
    let data = if caller.have == Some(manifest.revision) {
        None
    } else {
        let (revision, base) = (manifest.revision, manifest.base);
        let ask = TerminalRequest::CatalogueData { store_id: store.clone(), revision, base };
        Some(caller.send(&ask, DATA_TIMEOUT, manifest.length.min(MAX_CATALOGUE_BYTES)).await?)
    };
    let (delta, before) = (manifest.base.is_some(), caller.have);
    let (imported, bytes) = match data {
        Some(data) => take_in(handle, manifest, caller.currency, data).await?,
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

impl Caller {
    /// Sends a call; one whose signature the merchant finds stale (it was restarted this second, or the clock here is wrong) is
    /// signed again by the time that the merchant's answer says.
    async fn send(&self, call: &TerminalRequest, timeout: Duration, limit: u64) -> Result<Vec<u8>, WalkpayError> {
        let mut from = (self.created, self.asked);
        for _ in 0..SIGN_AGAIN {
            match self.try_once(call, timeout, limit, from.0.plus(from.1.elapsed())).await? {
                Ok(body) => return Ok(body),
                Err((WalkpayError::Refused { problem, .. }, date)) if problem == ProblemCode::SignatureStale.code() => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    from = date.map_or(from, |date| (date, Instant::now()));
                }
                Err((error, _)) => return Err(error),
            }
        }
        self.try_once(call, timeout, limit, from.0.plus(from.1.elapsed())).await?.map_err(|(error, _)| error)
    }

    async fn try_once(
        &self,
        call: &TerminalRequest,
        timeout: Duration,
        limit: u64,
        created: Timestamp,
    ) -> Result<Tried, WalkpayError> {
        let mut request = http_request(&self.url, call, timeout, limit.max(64 * 1024))?;
        let kid = self.signer.public.key_id();
        sign_request(&mut request, self.signer.signer.clone(), &kid, &self.merchant_id, created).await?;
        let response = self.http.send(request).await?;
        Ok(if response.status == 200 { Ok(response.body) } else { Err((refusal(&response), response.date)) })
    }

    fn manifest(&self, answer: &[u8], store: &StoreId) -> Result<CatalogueManifest, WalkpayError> {
        let answer: CatalogueAnswer = serde_json::from_slice(answer)
            .map_err(|e| WalkpayError::untrusted("catalogue", "form", json_problem(&e)))?;
        let issued_at = |m: &CatalogueManifest| m.issued_at;
        let manifest = verify_by(&answer.manifest, &self.key_set, KeyUse::Catalogue, issued_at)?.document;
        if manifest.merchant_id != self.merchant_id || manifest.store_id != *store {
            return Err(WalkpayError::untrusted("catalogue", "binding", "a catalogue of this merchant and store"));
        }
        Ok(manifest)
    }
}

/// What an answer other than 200 says: a problem document is the merchant's word, everything else is trouble on the way.
fn refusal(response: &HttpResponse) -> WalkpayError {
    let problem: Option<Problem> = serde_json::from_slice(&response.body).ok();
    let known = problem.and_then(|p| Some((ProblemCode::from_urn(&p.typ)?, p.detail)));
    match known {
        Some((code, detail)) => WalkpayError::Refused {
            problem: code.code().to_owned(),
            status: response.status,
            detail: detail.chars().take(500).collect(),
        },
        None => WalkpayError::Network { detail: format!("HTTP {} without a problem document", response.status) },
    }
}
