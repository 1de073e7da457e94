//! A gate: checks exit passes without a network, spends each once, and keeps up with its merchant when it can (A11).

use crate::adapter::gate_store::{Cursor, GateStore, Spend};
use crate::adapter::http::{HttpClient, HttpRequest, HttpResponse};
use crate::adapter::sqlite::Durability;
use crate::error::WalkpayError;
use crate::id::{GateGroup, KeyId, MerchantId};
use crate::protocol::crypto::Jwk;
use crate::protocol::document::{ExitPass, KeySet};
use crate::protocol::exit_pass::verify_presentation;
use crate::protocol::jws::Signed;
use crate::protocol::key_set::{read_key_set, read_root};
use crate::protocol::message::{MAX_ANSWER_BODY, PROBLEM_PREFIX, Problem, Revocations, SpentList, SpentPasses};
use crate::time::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use url::Url;

/// The most passes in one upload, and in one page of an answer.
const PAGE: u32 = 1_000;
/// How many pages of one list are read in one sync.
const MAX_PAGES: u32 = 1_000;
const TIMEOUT: Duration = Duration::from_secs(20);

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

/// What a sync did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// The number of the key set in force.
    pub key_set_seq: u64,
    /// Passes that the merchant was told of.
    pub sent: u64,
    /// Passes among them that another gate had taken in before: shown at two gates that could not talk to each other.
    pub spent_twice: u64,
    /// Passes taken in by other gates that are new here.
    pub learned: u64,
    /// Revocations that are new here.
    pub revoked: u64,
}

/// A gate on its folder. Several may be open on one folder, in several processes.
pub struct GateKeeper {
    identity: GateIdentity,
    store: Mutex<GateStore>,
}

/// Keys as they are handed to a gate: a body of `GET /terminal/v1/keys`, or one of `POST /terminal/v1/enrolments`, which has
/// the root as well.
#[derive(Deserialize)]
struct Keys {
    key_set: String,
    root_key: Option<Jwk>,
}

#[derive(Deserialize)]
struct SpentAnswer {
    #[serde(default)]
    repeated: Vec<crate::id::PassId>,
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
        Ok(Self { identity, store: Mutex::new(store) })
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
            Spend::Taken => Ok(Passage::Open(pass)),
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
        let mut synced = Synced { key_set_seq: self.sync_keys(merchant).await?, ..Synced::default() };
        let group = &self.identity.gate_group;
        let passes = format!("/gate/v1/groups/{group}/passes");
        loop {
            let unsent = self.store().unsent(PAGE)?;
            if unsent.is_empty() {
                break;
            }
            let upload = SpentPasses { passes: unsent };
            let body = serde_json::to_vec(&upload).map_err(|e| WalkpayError::Internal { detail: e.to_string() })?;
            let answer: SpentAnswer = merchant.ask("POST", &passes, body).await?;
            self.store().mark_sent(&upload.passes)?;
            synced.sent += upload.passes.len() as u64;
            synced.spent_twice += answer.repeated.len() as u64;
        }
        for _ in 0..MAX_PAGES {
            let after = self.store().cursor(Cursor::Spent)?;
            let page: SpentList = merchant.ask("GET", &format!("{passes}?after={after}"), Vec::new()).await?;
            synced.learned += self.store().learn_spent(&page.passes, page.cursor.max(after), now)?;
            if page.passes.is_empty() || page.cursor <= after {
                break;
            }
        }
        for _ in 0..MAX_PAGES {
            let after = self.store().cursor(Cursor::Revoked)?;
            let path = format!("/gate/v1/groups/{group}/revocations?after={after}");
            let page: Revocations = merchant.ask("GET", &path, Vec::new()).await?;
            self.store().learn_revoked(&page.passes, Some(page.cursor.max(after)), now)?;
            synced.revoked += page.passes.len() as u64;
            if page.passes.is_empty() || page.cursor <= after {
                break;
            }
        }
        self.store().forget(now, false)?;
        Ok(synced)
    }

    async fn sync_keys(&self, merchant: &Merchant) -> Result<u64, WalkpayError> {
        let root_is_known = self.root(&self.store())?.is_some();
        let (method, path) =
            if root_is_known { ("GET", "/terminal/v1/keys") } else { ("POST", "/terminal/v1/enrolments") };
        let answer = merchant.send(method, path, Vec::new()).await?;
        self.load_keys(&answer)
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

/// How a gate reaches its merchant.
pub struct Merchant {
    /// The client.
    pub http: HttpClient,
    /// The merchant's address, without a slash at its end.
    pub url: String,
    /// The gate group's token.
    pub token: String,
}

impl Merchant {
    async fn ask<T: DeserializeOwned>(&self, method: &str, path: &str, body: Vec<u8>) -> Result<T, WalkpayError> {
        let answer = self.send(method, path, body).await?;
        read_json("answer", &answer)
    }

    async fn send(&self, method: &str, path: &str, body: Vec<u8>) -> Result<Vec<u8>, WalkpayError> {
        let address = format!("{}{path}", self.url.trim_end_matches('/'));
        let url = Url::parse(&address).map_err(|_| WalkpayError::invalid("url", "an https address", &self.url))?;
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if path.starts_with("/gate/") {
            headers.push(("authorization".to_owned(), format!("Bearer {}", self.token)));
        }
        let request = HttpRequest {
            method: method.to_owned(),
            url,
            headers,
            body,
            timeout: TIMEOUT,
            max_answer: MAX_ANSWER_BODY as u64,
        };
        let answer = self.http.send(request).await?;
        if (200..300).contains(&answer.status) { Ok(answer.body) } else { Err(refused(&answer)) }
    }
}

fn refused(answer: &HttpResponse) -> WalkpayError {
    let problem: Option<Problem> = serde_json::from_slice(&answer.body).ok();
    let code = problem.as_ref().and_then(|p| p.typ.strip_prefix(PROBLEM_PREFIX)).unwrap_or("unknown").to_owned();
    let detail = problem.as_ref().map_or("no problem document", |p| p.detail.as_str()).chars().take(300).collect();
    WalkpayError::Refused { problem: code.chars().take(60).collect(), status: answer.status, detail }
}

fn read_json<T: DeserializeOwned>(what: &str, json: &[u8]) -> Result<T, WalkpayError> {
    if json.len() > MAX_ANSWER_BODY {
        return Err(WalkpayError::limit(&format!("bytes of {what}"), MAX_ANSWER_BODY as u64));
    }
    serde_json::from_slice(json)
        .map_err(|e| WalkpayError::invalid(what, &crate::protocol::jws::json_problem(&e), "something else"))
}
