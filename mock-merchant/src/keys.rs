//! The merchant's own keys: an offline root, the keys in use, and the key set that the root signed.

use crate::private_file;
use ed25519_dalek::{Signer, SigningKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;
use walkpay::protocol::crypto::{Algorithm, PublicKey, base64url, from_base64url};
use walkpay::protocol::document::{KeyEntry, KeySet, KeyUse};
use walkpay::protocol::jws::{Document, assemble, signing_input};
use walkpay::{KeyId, MerchantId, Timestamp, WalkpayError};
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// What the keys of a merchant are used for.
pub const USES: [KeyUse; 4] = [KeyUse::Results, KeyUse::Pass, KeyUse::Catalogue, KeyUse::Staff];
/// How long a key signs and is trusted.
pub const KEY_LIFE: Duration = Duration::from_secs(400 * 24 * 3600);

/// A private Ed25519 key (RFC 8032) with its public part and thumbprint at hand.
#[derive(Clone)]
pub struct Signing {
    key: SigningKey,
    public: PublicKey,
    kid: KeyId,
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signing key {}", self.kid)
    }
}

impl Signing {
    /// From its 32 secret bytes.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] if they make a key that nobody would accept.
    pub fn new(seed: &[u8; 32]) -> Result<Self, WalkpayError> {
        let key = SigningKey::from_bytes(seed);
        let public = PublicKey::from_raw(Algorithm::Ed25519, key.verifying_key().as_bytes())?;
        Ok(Self { kid: public.key_id(), key, public })
    }

    /// The public part.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The thumbprint of the public part.
    pub fn kid(&self) -> &KeyId {
        &self.kid
    }

    /// `document` as a compact JWS.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`] if it cannot be written as JSON.
    pub fn jws<D: Document>(&self, document: &D) -> Result<String, WalkpayError> {
        let input = signing_input(document, Algorithm::Ed25519, &self.kid)?;
        let signature = self.key.sign(input.as_bytes()).to_bytes();
        Ok(assemble(&input, &signature))
    }

    fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }
}

/// A key of the merchant and what it may sign when.
#[derive(Clone, Debug)]
struct InUse {
    signing: Signing,
    usage: KeyUse,
    nbf: Timestamp,
    exp: Timestamp,
}

/// The keys that a running merchant signs with.
#[derive(Clone, Debug)]
pub struct Keyring {
    merchant_id: MerchantId,
    root: PublicKey,
    keys: Vec<InUse>,
    seq: u64,
    key_set: String,
}

impl Keyring {
    /// New keys under `root`; `seeds` gives 32 random bytes each time.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`] or [`WalkpayError::InvalidInput`] when a key cannot be made.
    pub fn create(
        merchant_id: MerchantId,
        root: &Signing,
        now: Timestamp,
        mut seeds: impl FnMut() -> [u8; 32],
    ) -> Result<Self, WalkpayError> {
        let keys = USES
            .into_iter()
            .map(|usage| Self::fresh(usage, now, &mut seeds))
            .collect::<Result<Vec<_>, WalkpayError>>()?;
        let mut ring = Self { merchant_id, root: root.public.clone(), keys, seq: 0, key_set: String::new() };
        ring.publish(root, now)?;
        Ok(ring)
    }

    fn fresh(usage: KeyUse, now: Timestamp, seeds: &mut impl FnMut() -> [u8; 32]) -> Result<InUse, WalkpayError> {
        // A device's clock offset is known only to a second or so: a key is valid from a little before its first use.
        let nbf = now.minus(Duration::from_secs(300));
        Ok(InUse { signing: Signing::new(&seeds())?, usage, nbf, exp: now.plus(KEY_LIFE) })
    }

    /// Puts a new key in the place of the one for `usage`. The old one stays in the set, so that what it signed can still
    /// be read; it signs nothing any more.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] when `root` is not the root of this keyring.
    pub fn rotate(
        &mut self,
        root: &Signing,
        usage: KeyUse,
        now: Timestamp,
        mut seeds: impl FnMut() -> [u8; 32],
    ) -> Result<(), WalkpayError> {
        self.check_root(root)?;
        self.keys.insert(0, Self::fresh(usage, now, &mut seeds)?);
        self.keys.retain(|k| now < k.exp);
        self.publish(root, now)
    }

    /// Takes every key of `usage` but the newest out of the set: what they signed is no longer believed.
    ///
    /// # Errors
    /// As [`Keyring::rotate`].
    pub fn retire(&mut self, root: &Signing, usage: KeyUse, now: Timestamp) -> Result<(), WalkpayError> {
        self.check_root(root)?;
        let newest = self.keys.iter().find(|k| k.usage == usage).map(|k| k.signing.kid.clone());
        self.keys.retain(|k| k.usage != usage || Some(&k.signing.kid) == newest.as_ref());
        self.publish(root, now)
    }

    fn check_root(&self, root: &Signing) -> Result<(), WalkpayError> {
        if root.public == self.root {
            return Ok(());
        }
        Err(WalkpayError::Key { detail: format!("expected the root {}, got {}", self.root.key_id(), root.kid) })
    }

    fn publish(&mut self, root: &Signing, now: Timestamp) -> Result<(), WalkpayError> {
        let seq = self.seq + 1;
        let entry = |k: &InUse| KeyEntry { key: k.signing.public.clone(), usage: k.usage, nbf: k.nbf, exp: k.exp };
        let keys = self.keys.iter().map(entry).collect();
        let set = KeySet { merchant_id: self.merchant_id.clone(), seq, issued_at: now, keys };
        self.key_set = root.jws(&set)?;
        self.seq = seq;
        Ok(())
    }

    /// Signs `document` with the newest key for `usage`.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] when there is none that is valid at `now`.
    pub fn sign<D: Document>(&self, usage: KeyUse, now: Timestamp, document: &D) -> Result<String, WalkpayError> {
        self.in_force(usage, now)?.jws(document)
    }

    /// The newest key for `usage`.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] when there is none that is valid at `now`.
    pub fn in_force(&self, usage: KeyUse, now: Timestamp) -> Result<&Signing, WalkpayError> {
        let valid = |k: &&InUse| k.usage == usage && k.nbf <= now && now < k.exp;
        let key = self.keys.iter().find(valid).ok_or_else(|| WalkpayError::Key {
            detail: format!("no key for {usage:?} is valid at {now}: rotate the keys"),
        })?;
        Ok(&key.signing)
    }

    /// When the first use is without a key, if none is rotated.
    pub fn lasts_until(&self) -> Timestamp {
        let ends = |usage| self.keys.iter().filter(|k| k.usage == usage).map(|k| k.exp).max();
        USES.into_iter()
            .map(|usage| ends(usage).unwrap_or(Timestamp::from_millis(0)))
            .min()
            .unwrap_or(Timestamp::from_millis(0))
    }

    /// The public key `kid` if it may have signed documents of `usage` at `at`.
    pub fn find(&self, kid: &KeyId, usage: KeyUse, at: Timestamp) -> Option<&PublicKey> {
        self.keys
            .iter()
            .find(|k| k.usage == usage && k.nbf <= at && at < k.exp && k.signing.kid == *kid)
            .map(|k| &k.signing.public)
    }

    /// The merchant.
    pub fn merchant_id(&self) -> &MerchantId {
        &self.merchant_id
    }

    /// The root's public key.
    pub fn root(&self) -> &PublicKey {
        &self.root
    }

    /// The number of the newest key set.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The newest key set, a JWS by the root.
    pub fn key_set(&self) -> &str {
        &self.key_set
    }

    /// Reads a keyring that [`Keyring::save`] wrote.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] naming the file and what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, WalkpayError> {
        let text = Zeroizing::new(fs::read_to_string(path).map_err(|e| unusable(path, e))?);
        let file: RingFile = serde_json::from_str(&text).map_err(|e| unusable(path, e))?;
        let keys = file.keys.into_iter().map(InUse::try_from).collect::<Result<_, _>>();
        let keys = keys.map_err(|e: WalkpayError| unusable(path, e))?;
        Ok(Self { merchant_id: file.merchant_id, root: file.root, keys, seq: file.seq, key_set: file.key_set })
    }

    /// Writes the keyring to a file that only its owner can read; readers see the old one or the new one.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] naming the file and what went wrong.
    pub fn save(&self, path: &Path) -> Result<(), WalkpayError> {
        let keys = self.keys.iter().map(KeyFile::from).collect();
        let file = RingFile {
            merchant_id: self.merchant_id.clone(),
            root: self.root.clone(),
            keys,
            seq: self.seq,
            key_set: self.key_set.clone(),
        };
        let text = Zeroizing::new(serde_json::to_string_pretty(&file).map_err(|e| unusable(path, e))?);
        private_file::write(path, text.as_bytes()).map_err(|e| unusable(path, e))
    }
}

/// Reads the root key from its file: one line, the 32 secret bytes in base64url.
///
/// # Errors
/// [`WalkpayError::Key`] naming the file and what is wrong with it.
pub fn load_root(path: &Path) -> Result<Signing, WalkpayError> {
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|e| unusable(path, e))?);
    let bytes = Zeroizing::new(from_base64url("root key", text.trim()).map_err(|_| unusable(path, "no key"))?);
    let seed = Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| unusable(path, "not 32 bytes"))?);
    Signing::new(&seed)
}

/// Writes the root key. It is needed only to sign key sets: keep it elsewhere than on the server.
///
/// # Errors
/// [`WalkpayError::Key`] naming the file and what went wrong.
pub fn save_root(root: &Signing, path: &Path) -> Result<(), WalkpayError> {
    let text = Zeroizing::new(format!("{}\n", base64url(root.seed().as_slice())));
    private_file::write(path, text.as_bytes()).map_err(|e| unusable(path, e))
}

#[derive(Serialize, Deserialize)]
struct RingFile {
    merchant_id: MerchantId,
    root: PublicKey,
    seq: u64,
    key_set: String,
    keys: Vec<KeyFile>,
}

#[derive(Serialize, Deserialize, ZeroizeOnDrop)]
struct KeyFile {
    #[serde(rename = "use")]
    #[zeroize(skip)]
    usage: KeyUse,
    #[zeroize(skip)]
    nbf: Timestamp,
    #[zeroize(skip)]
    exp: Timestamp,
    secret: String,
}

impl From<&InUse> for KeyFile {
    fn from(k: &InUse) -> Self {
        let secret = base64url(k.signing.seed().as_slice());
        Self { usage: k.usage, nbf: k.nbf, exp: k.exp, secret }
    }
}

impl TryFrom<KeyFile> for InUse {
    type Error = WalkpayError;
    fn try_from(file: KeyFile) -> Result<Self, Self::Error> {
        let bytes = Zeroizing::new(from_base64url("secret", &file.secret).map_err(|_| no_secret())?);
        let seed = Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| no_secret())?);
        Ok(Self { signing: Signing::new(&seed)?, usage: file.usage, nbf: file.nbf, exp: file.exp })
    }
}

fn no_secret() -> WalkpayError {
    WalkpayError::Key { detail: "a secret is not 32 bytes in base64url".to_owned() }
}

fn unusable(path: &Path, why: impl fmt::Display) -> WalkpayError {
    WalkpayError::Key { detail: format!("{}: {why}", path.display()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use walkpay::StoreId;
    use walkpay::protocol::document::StaffToken;
    use walkpay::protocol::jws::verify;

    fn ring() -> (Signing, Keyring, Timestamp) {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let root = Signing::new(&[1; 32]).unwrap();
        let mut n = 1;
        let seeds = || {
            n += 1;
            [n; 32]
        };
        let ring = Keyring::create(MerchantId::parse("m").unwrap(), &root, now, seeds).unwrap();
        (root, ring, now)
    }

    fn token(now: Timestamp) -> StaffToken {
        StaffToken {
            merchant_id: MerchantId::parse("m").unwrap(),
            store_id: StoreId::parse("s").unwrap(),
            staff_id: "x".into(),
            scope: None,
            iat: now,
            exp: now,
        }
    }

    #[test]
    fn root_signs_sets_whose_keys_sign_documents() {
        let (root, ring, now) = ring();
        let set = verify::<KeySet>(ring.key_set(), |kid| (kid == root.kid()).then_some(root.public())).unwrap();
        assert_eq!(set.document.seq, 1);
        let jws = ring.sign(KeyUse::Staff, now, &token(now)).unwrap();
        assert!(verify::<StaffToken>(&jws, |kid| set.document.find(kid, KeyUse::Staff, now)).is_ok());
        assert!(verify::<StaffToken>(&jws, |kid| set.document.find(kid, KeyUse::Pass, now)).is_err());
        assert!(ring.sign(KeyUse::Staff, now.plus(KEY_LIFE), &token(now)).is_err(), "expired");
        assert_eq!(ring.lasts_until(), now.plus(KEY_LIFE), "the first that ends");
    }

    #[test]
    fn rotation_keeps_old_documents_readable_until_retired() {
        let (root, mut ring, now) = ring();
        let old = ring.sign(KeyUse::Staff, now, &token(now)).unwrap();
        ring.rotate(&root, KeyUse::Staff, now, || [99; 32]).unwrap();
        assert_eq!(ring.seq(), 2);
        let new = ring.sign(KeyUse::Staff, now, &token(now)).unwrap();
        assert_ne!(old, new);
        assert!(verify::<StaffToken>(&old, |kid| ring.find(kid, KeyUse::Staff, now)).is_ok());
        ring.retire(&root, KeyUse::Staff, now).unwrap();
        assert!(verify::<StaffToken>(&old, |kid| ring.find(kid, KeyUse::Staff, now)).is_err());
        assert!(verify::<StaffToken>(&new, |kid| ring.find(kid, KeyUse::Staff, now)).is_ok());
        let stranger = Signing::new(&[50; 32]).unwrap();
        assert!(ring.rotate(&stranger, KeyUse::Staff, now, || [98; 32]).is_err());
    }

    #[test]
    fn files_are_private_and_round_trip() {
        let (root, ring, now) = ring();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        ring.save(&path).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let again = Keyring::load(&path).unwrap();
        assert_eq!(again.key_set(), ring.key_set());
        let both = [&ring, &again].map(|r| r.sign(KeyUse::Pass, now, &token(now)).unwrap());
        assert_eq!(both[0], both[1], "the same key");
        save_root(&root, &folder.path().join("root.key")).unwrap();
        assert_eq!(load_root(&folder.path().join("root.key")).unwrap().kid(), root.kid());
        fs::write(&path, "{").unwrap();
        assert!(Keyring::load(&path).is_err());
    }
}
