//! A gate: checks exit passes without a network, spends each once, and keeps up with its merchant when it can (A11).

mod exchange;
mod reach;

pub use exchange::{Exchange, GateRequest, Synced};
pub use reach::Merchant;

use crate::adapter::gate_store::{GateStore, Spend};
use crate::adapter::sqlite::Durability;
use crate::error::WalkpayError;
use crate::id::{GateGroup, KeyId, MerchantId};
use crate::protocol::crypto::Jwk;
use crate::protocol::document::{ExitPass, KeySet};
use crate::protocol::exit_pass::verify_presentation;
use crate::protocol::jws::Signed;
use crate::protocol::key_set::{read_key_set, read_root};
use crate::protocol::message::{MAX_ANSWER_BODY, Revocations};
use crate::time::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a gate that is in use forgets what is over.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);

/// What a gate is for; bound to its folder when that is first opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateIdentity {
    /// The merchant whose passes it takes.
    pub merchant_id: MerchantId,
    /// The gates that share a list of spent passes.
    pub gate_group: GateGroup,
    /// The thumbprint of the merchant's root key.
    pub root_kid: KeyId,
}

/// What came of a presentation that verifies.
#[derive(Clone, Debug, PartialEq)]
pub enum Passage {
    /// Let them through. The pass is spent.
    Open(ExitPass),
    /// Taken in before, at this time.
    AlreadySpent(ExitPass, Timestamp),
    /// Revoked by the merchant.
    Revoked(ExitPass),
}

/// A gate on its folder. Several may be open on one folder, in several processes.
pub struct GateKeeper {
    identity: GateIdentity,
    store: Mutex<GateStore>,
    /// When what is over was forgotten last, by the clock here.
    swept: Mutex<Option<Timestamp>>,
}

/// Keys as they are handed to a gate: a body of `GET /terminal/v1/keys`, or one of `POST /terminal/v1/enrolments`, which has
/// the root as well.
#[derive(Deserialize)]
struct Keys {
    key_set: String,
    root_key: Option<Jwk>,
}

impl GateKeeper {
    /// Opens a gate.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`]; [`WalkpayError::InvalidInput`] when the folder is another gate's.
    pub fn open(folder: &Path, identity: GateIdentity, durability: Durability) -> Result<Self, WalkpayError> {
        let mut store = GateStore::open(folder, durability)?;
        let settings = [
            ("merchant_id", identity.merchant_id.as_str()),
            ("gate_group", identity.gate_group.as_str()),
            ("root_kid", identity.root_kid.as_str()),
        ];
        for (name, value) in settings {
            if let Some(found) = store.setting(name)?.filter(|found| found != value) {
                let expected = format!("{found}, which this folder was made for");
                return Err(WalkpayError::invalid(name, &expected, value));
            }
        }
        store.put_settings(&settings)?;
        Ok(Self { identity, store: Mutex::new(store), swept: Mutex::default() })
    }

    /// Checks a presentation and spends its pass.
    ///
    /// # Errors
    /// [`WalkpayError::Untrusted`] as [`verify_presentation`] says; [`WalkpayError::WrongOrder`] without keys;
    /// [`WalkpayError::Storage`]. The gate stays closed.
    pub fn verify(&self, text: &str, now: Timestamp) -> Result<Passage, WalkpayError> {
        let mut store = self.store();
        let keys = self
            .keys(&store)?
            .ok_or_else(|| WalkpayError::WrongOrder { called: "verify".into(), due: "load_keys, or sync".into() })?;
        let GateIdentity { merchant_id, gate_group, .. } = &self.identity;
        let pass = verify_presentation(text.trim(), &keys.document, merchant_id, gate_group, now)?.document;
        match store.spend(&pass.jti, pass.exp, now)? {
            Spend::Taken => {
                // The pass is spent whether or not this works; it is tried again.
                let _ = self.sweep(&mut store, now);
                Ok(Passage::Open(pass))
            }
            Spend::AlreadySpent(at) => Ok(Passage::AlreadySpent(pass, at)),
            Spend::Revoked => Ok(Passage::Revoked(pass)),
            Spend::Forgotten => {
                let detail = "a pass whose time is not over: the gate's clock was set back";
                Err(WalkpayError::untrusted("exit pass", "expired", detail))
            }
        }
    }

    /// Takes in a key set, and the root if it is not known yet; returns the number of the key set in force. An older set than
    /// the one in force changes nothing.
    ///
    /// # Errors
    /// [`WalkpayError::Untrusted`] for another root or a set that is not by it; [`WalkpayError::WrongOrder`] when the root
    /// is not known and not in `json`; [`WalkpayError::InvalidInput`] for other texts; [`WalkpayError::Storage`].
    pub fn load_keys(&self, json: &[u8]) -> Result<u64, WalkpayError> {
        let Keys { key_set, root_key } = read_json("keys", json)?;
        let mut store = self.store();
        let known = self.root(&store)?;
        let root = match (&root_key, known) {
            (Some(root), _) => root.clone(),
            (None, Some(known)) => known,
            (None, None) => {
                let due = "load_keys with the root key".to_owned();
                return Err(WalkpayError::WrongOrder { called: "load_keys".into(), due });
            }
        };
        let pinned = read_root(&root, &self.identity.root_kid)?;
        let set = read_key_set(&key_set, &pinned, &self.identity.merchant_id, None)?;
        let current = self.keys(&store)?.map(|keys| keys.document.seq);
        if let Some(current) = current.filter(|current| set.document.seq <= *current) {
            return Ok(current);
        }
        let root = serde_json::to_string(&root).map_err(|e| WalkpayError::Internal { detail: e.to_string() })?;
        store.put_settings(&[("root_key", &root), ("key_set", set.jws())])?;
        Ok(set.document.seq)
    }

    /// Takes in revocations that came by another way than [`GateKeeper::sync`]: a body of
    /// `GET /gate/v1/groups/{group}/revocations`. Returns how many passes are in it.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`], [`WalkpayError::Storage`].
    pub fn load_revocations(&self, json: &[u8], now: Timestamp) -> Result<u64, WalkpayError> {
        let list: Revocations = read_json("revocations", json)?;
        self.store().learn_revoked(&list.passes, None, now)?;
        Ok(list.passes.len() as u64)
    }

    /// Fetches the newest keys, tells the merchant what was taken in here, and learns what was taken in elsewhere and what is
    /// revoked. Each part that arrives is kept; the first fault ends it. Must run on a tokio runtime.
    ///
    /// # Errors
    /// [`WalkpayError::Network`], [`WalkpayError::Refused`], [`WalkpayError::Untrusted`] for keys,
    /// [`WalkpayError::Storage`].
    pub async fn sync(&self, merchant: &Merchant, now: Timestamp) -> Result<Synced, WalkpayError> {
        let mut exchange = Exchange::default();
        while let Some(request) = exchange.due(self)? {
            let body = merchant.ask(&self.identity.gate_group, &request).await?;
            exchange.answered(self, &request, &body, now)?;
        }
        Ok(exchange.synced())
    }

    /// Forgets what is over, now and then: a gate may never reach its merchant.
    fn sweep(&self, store: &mut GateStore, now: Timestamp) -> Result<(), WalkpayError> {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.is_none_or(|at| now < at || now.since(at) >= SWEEP_EVERY) {
            *swept = Some(now);
            store.forget(now)?;
        }
        Ok(())
    }

    fn store(&self) -> MutexGuard<'_, GateStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn root(&self, store: &GateStore) -> Result<Option<Jwk>, WalkpayError> {
        store.setting("root_key")?.map(|text| read_json("root key", text.as_bytes())).transpose()
    }

    /// The key set in force, verified anew: the file may have been written by anybody.
    fn keys(&self, store: &GateStore) -> Result<Option<Signed<KeySet>>, WalkpayError> {
        let (Some(root), Some(set)) = (self.root(store)?, store.setting("key_set")?) else { return Ok(None) };
        let root = read_root(&root, &self.identity.root_kid)?;
        read_key_set(&set, &root, &self.identity.merchant_id, None).map(Some)
    }
}

fn read_json<T: DeserializeOwned>(what: &str, json: &[u8]) -> Result<T, WalkpayError> {
    if json.len() > MAX_ANSWER_BODY {
        return Err(WalkpayError::limit(&format!("bytes of {what}"), MAX_ANSWER_BODY as u64));
    }
    serde_json::from_slice(json)
        .map_err(|e| WalkpayError::invalid(what, &crate::protocol::jws::json_problem(&e), "something else"))
}
