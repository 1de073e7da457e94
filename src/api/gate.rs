//! The gate, as all languages see it.

use crate::adapter::clock::wall;
use crate::adapter::http::{HttpClient, HttpConfig, check_url};
use crate::adapter::sqlite::Durability;
use crate::error::WalkpayError;
use crate::gate::{GateIdentity, GateKeeper, Merchant, Passage};
use crate::id::{GateGroup, KeyId, MerchantId, PassId, StoreId, TripId};
use crate::money::Money;
use crate::protocol::document::ExitPass;
use crate::runtime::{blocking, on_pool};
use crate::time::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;
use url::Url;

/// What a gate is for.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct GateConfig {
    /// The merchant whose passes it takes.
    pub merchant_id: MerchantId,
    /// The gates that share a list of spent passes.
    pub gate_group: GateGroup,
    /// The RFC 7638 thumbprint of the merchant's root key.
    pub root_thumbprint: KeyId,
    /// Where the merchant is, if this gate can ever reach it.
    #[uniffi(default = None)]
    pub merchant: Option<GateMerchant>,
}

/// How a gate reaches its merchant.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct GateMerchant {
    /// `https://…`, or `http://` on loopback.
    pub url: String,
    /// The token of the gate group.
    pub token: String,
    /// Further root certificates, PEM.
    #[uniffi(default = None)]
    pub extra_roots_pem: Option<String>,
    /// If not empty: the server's own key must be one of these (RFC 7469 §2.4).
    #[uniffi(default = [])]
    pub pins: Vec<String>,
}

/// Does not show the token.
impl std::fmt::Debug for GateMerchant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "merchant at {}", self.url)
    }
}

/// What the gate does.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum GateDecision {
    /// Open. The pass is spent.
    Open {
        /// What staff may want to see.
        pass: PassInfo,
    },
    /// Stay closed: the pass was taken in before.
    AlreadySpent {
        /// The pass.
        pass: PassInfo,
        /// When it was taken in.
        at: Timestamp,
    },
    /// Stay closed: the merchant revoked the pass.
    Revoked {
        /// The pass.
        pass: PassInfo,
    },
    /// Stay closed: this is no valid pass, or it is not shown by its device at this moment.
    Refused {
        /// The check that failed, a stable word such as `expired`, `step` (a picture of a pass), `kid`, `signature`.
        check: String,
        /// What was expected.
        detail: String,
    },
}

/// What a pass says.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct PassInfo {
    /// The pass.
    pub pass_id: PassId,
    /// The visit.
    pub trip_id: TripId,
    /// The store.
    pub store_id: StoreId,
    /// The amount of the basket.
    pub amount: Money,
    /// How many articles.
    pub item_count: u32,
    /// When its time is over.
    pub expires_at: Timestamp,
}

/// What a sync did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, uniffi::Record)]
pub struct GateSync {
    /// The number of the key set in force.
    pub key_set_seq: u64,
    /// Passes that the merchant was told of.
    pub sent: u64,
    /// Passes among them that another gate had taken in before.
    pub spent_twice: u64,
    /// Passes taken in by other gates that are new here.
    pub learned: u64,
    /// Revocations that are new here.
    pub revoked: u64,
}

/// A gate: checks exit passes without a network and takes each once (A11).
#[derive(uniffi::Object)]
pub struct Gate {
    keeper: Arc<GateKeeper>,
    merchant: Option<Arc<Merchant>>,
}

#[uniffi::export]
impl Gate {
    /// Opens the gate whose memory is in `folder`, which is made if it does not exist. Several may be open on one folder.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`]; [`WalkpayError::InvalidInput`] for a folder of another gate, an address, certificates or pins that
    /// cannot be used.
    #[uniffi::constructor]
    pub async fn open(folder: String, config: GateConfig) -> Result<Arc<Self>, WalkpayError> {
        let GateConfig { merchant_id, gate_group, root_thumbprint, merchant } = config;
        let merchant = merchant.map(connect).transpose()?.map(Arc::new);
        let identity = GateIdentity { merchant_id, gate_group, root_kid: root_thumbprint };
        let open = move || GateKeeper::open(&PathBuf::from(folder), identity, Durability::Full);
        let keeper = Arc::new(blocking(open).await?);
        Ok(Arc::new(Self { keeper, merchant }))
    }

    /// Checks the text of an exit pass's QR code and spends the pass; needs no network.
    ///
    /// # Errors
    /// [`WalkpayError::WrongOrder`] when there are no keys yet; [`WalkpayError::Storage`]. The gate stays closed.
    pub async fn verify(&self, text: String) -> Result<GateDecision, WalkpayError> {
        let keeper = self.keeper.clone();
        let passage = blocking(move || keeper.verify(&text, wall())).await;
        match passage {
            Ok(Passage::Open(pass)) => Ok(GateDecision::Open { pass: pass.into() }),
            Ok(Passage::AlreadySpent(pass, at)) => Ok(GateDecision::AlreadySpent { pass: pass.into(), at }),
            Ok(Passage::Revoked(pass)) => Ok(GateDecision::Revoked { pass: pass.into() }),
            Err(WalkpayError::Untrusted { check, detail, .. }) => Ok(GateDecision::Refused { check, detail }),
            Err(other) => Err(other),
        }
    }

    /// Takes in keys that came by another way than [`Gate::sync`]: the JSON of `GET /terminal/v1/keys`, the first time with the
    /// member `root_key` beside `key_set`. Returns the number of the key set in force.
    ///
    /// # Errors
    /// [`WalkpayError::Untrusted`] for another root or a set that is not by it; [`WalkpayError::WrongOrder`] when the root is not
    /// known yet; [`WalkpayError::InvalidInput`], [`WalkpayError::Storage`].
    pub async fn load_keys(&self, json: Vec<u8>) -> Result<u64, WalkpayError> {
        let keeper = self.keeper.clone();
        blocking(move || keeper.load_keys(&json)).await
    }

    /// Takes in revocations that came by another way than [`Gate::sync`]: the JSON of
    /// `GET /gate/v1/groups/{group}/revocations`. Returns how many passes are in it.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`], [`WalkpayError::Storage`].
    pub async fn load_revocations(&self, json: Vec<u8>) -> Result<u64, WalkpayError> {
        let keeper = self.keeper.clone();
        blocking(move || keeper.load_revocations(&json, wall())).await
    }

    /// Fetches keys, tells the merchant what was taken in here, and learns what other gates took in and what is revoked.
    ///
    /// # Errors
    /// [`WalkpayError::WrongOrder`] for a gate that was opened without a merchant; [`WalkpayError::Network`],
    /// [`WalkpayError::Refused`], [`WalkpayError::Untrusted`], [`WalkpayError::Storage`]. What had arrived is kept.
    pub async fn sync(&self) -> Result<GateSync, WalkpayError> {
        let Some(merchant) = self.merchant.clone() else {
            return Err(WalkpayError::WrongOrder { called: "sync".into(), due: "open with a merchant".into() });
        };
        let keeper = self.keeper.clone();
        let done = on_pool(async move { keeper.sync(&merchant, wall()).await }).await?;
        Ok(GateSync {
            key_set_seq: done.key_set_seq,
            sent: done.sent,
            spent_twice: done.spent_twice,
            learned: done.learned,
            revoked: done.revoked,
        })
    }
}

fn connect(merchant: GateMerchant) -> Result<Merchant, WalkpayError> {
    let GateMerchant { url, token, extra_roots_pem, pins } = merchant;
    let address = Url::parse(&url).map_err(|_| WalkpayError::invalid("url", "https://host[:port][/path]", &url))?;
    check_url(&address)?;
    Ok(Merchant { http: HttpClient::new(&HttpConfig { extra_roots_pem, pins })?, url, token })
}

impl From<ExitPass> for PassInfo {
    fn from(pass: ExitPass) -> Self {
        Self {
            pass_id: pass.jti,
            trip_id: pass.trip_id,
            store_id: pass.store_id,
            amount: pass.amount,
            item_count: pass.item_count,
            expires_at: pass.exp,
        }
    }
}
