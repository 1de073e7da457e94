//! The data folder: what is in it, and who may use it.
//!
//! | file | what |
//! |---|---|
//! | `merchant.db` | the merchant's book (SQLite, WAL) |
//! | `keys.json` | the keys in use, private to the owner |
//! | `root.key` | the root key; needed to rotate keys only, better kept elsewhere |
//! | `bank.db` | the simulated bank's own book |
//! | `bank.json` | where the simulated bank listens, and the merchant's API key there |
//! | `channels.json` | the payment channels in use; written by the operator |
//! | `sim-alipay/` | the simulated Alipay's own book and keys |
//! | `tenpay-gateway.json` | the simulated WeChat Pay's own book |
//! | `clock.json` | how far a simulation's clock is ahead |
//! | `server.json` | where the running server listens |
//! | `server.lock` | held by the running server |

use crate::clock::Clock;
use crate::domain::{Config, Core};
use crate::failure::Failure;
use crate::keys::{Keyring, Signing, load_root, save_root};
use crate::private_file;
use crate::random;
use crate::store::{Identity, Readers, StoreError, open, outdated};
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use walkpay::{MerchantId, Timestamp, WalkpayError};

/// Why a folder cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another server uses it.
    #[error("{0} is in use by another server: stop that one, or choose another folder with --data")]
    InUse(PathBuf),
    /// A server of an earlier version uses the database, which this program would have to migrate.
    #[error(
        "a running server of an earlier version uses {path} (schema version {found}, this program's is {known}): stop the server, or use the program of its version"
    )]
    OlderServer {
        /// The folder.
        path: PathBuf,
        /// The version of the database.
        found: i64,
        /// The version that this program would bring it to.
        known: i64,
    },
    /// The file system refused.
    #[error("{path}: {cause}. Check that the folder exists and may be written")]
    Files {
        /// Where.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A file has another form than this program writes.
    #[error("{path} cannot be read ({detail}): restore it from a copy")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// There is a database without keys, or keys without a database that was promised.
    #[error(
        "{0} has a merchant's database but no keys.json: restore it from a copy, since devices trust only those keys"
    )]
    KeysMissing(PathBuf),
    /// No merchant has been set up here.
    #[error("{0} has no merchant yet: `mock-merchant serve --data DIR` or `store add` sets one up")]
    Empty(PathBuf),
    /// The keys belong to another merchant than the one that was asked for.
    #[error("the folder belongs to merchant {found}, not {asked}: leave --merchant-id away, or choose another folder")]
    OtherMerchant {
        /// Asked for.
        asked: MerchantId,
        /// Found.
        found: MerchantId,
    },
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] WalkpayError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a folder is to be opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The folder; made if it is not there.
    pub data: PathBuf,
    /// Whether test controls are on; marks a new database for good.
    pub sim: bool,
    /// The merchant, if the folder is new; otherwise it must be this one.
    pub merchant_id: Option<MerchantId>,
    /// Its name, if the folder is new.
    pub merchant_name: Option<String>,
    /// Whether this process is the folder's server and holds [`Folder::lock`].
    pub serving: bool,
}

/// An open data folder.
pub struct Folder {
    path: PathBuf,
    identity: Identity,
}

/// Where the running server listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerFile {
    /// What terminals use.
    pub url: String,
    /// The simulated bank, if it is the one that is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank_url: Option<String>,
}

/// The simulated bank.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BankFile {
    /// The port on 127.0.0.1 that it had last and gets again if it is free.
    pub port: u16,
    /// The merchant's API key at the bank.
    pub api_key: String,
}

/// How far a simulation's clock is ahead.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ClockFile {
    /// In milliseconds.
    pub offset_ms: i64,
}

/// The clock of a folder. In a simulation it goes on with the offset that it had.
///
/// # Errors
/// [`FolderError::Unreadable`].
pub fn clock(data: &Path, sim: bool) -> Result<Clock, FolderError> {
    if !sim {
        return Ok(Clock::default());
    }
    let path = data.join("clock.json");
    let unreadable = |detail: String| FolderError::Unreadable { path: path.clone(), detail };
    match fs::read(&path) {
        Ok(bytes) => {
            let file: ClockFile = serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?;
            Ok(Clock::with_offset(file.offset_ms))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Clock::default()),
        Err(e) => Err(unreadable(e.to_string())),
    }
}

impl Folder {
    /// Opens the folder, sets up keys if it is new, and gives the connection that writes.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(opening: &Opening, config: Config, now: Timestamp) -> Result<(Self, Connection, Core), FolderError> {
        fs::create_dir_all(&opening.data).map_err(|cause| FolderError::Files { path: opening.data.clone(), cause })?;
        let keys_path = opening.data.join("keys.json");
        let database = opening.data.join("merchant.db");
        let keys = if keys_path.exists() {
            Keyring::load(&keys_path)?
        } else if database.exists() {
            return Err(FolderError::KeysMissing(opening.data.clone()));
        } else {
            create_keys(opening, now)?
        };
        let found = keys.merchant_id().clone();
        if let Some(asked) = opening.merchant_id.clone().filter(|asked| *asked != found) {
            return Err(FolderError::OtherMerchant { asked, found });
        }
        let name = opening.merchant_name.clone().unwrap_or_else(|| found.to_string());
        let identity = Identity { merchant_id: found, name, sim: opening.sim };
        // Nobody serves from a database while its schema changes.
        let _alone = match outdated(&database) {
            Some((found, known)) if !opening.serving => Some(Self::lock(&opening.data).map_err(|e| match e {
                FolderError::InUse(path) => FolderError::OlderServer { path, found, known },
                other => other,
            })?),
            _ => None,
        };
        let connection = open(&database, &identity)?;
        Ok((Self { path: opening.data.clone(), identity }, connection, Core::new(config, keys)))
    }

    /// Refuses a folder that no merchant was set up in: for commands that only make sense afterwards.
    ///
    /// # Errors
    /// [`FolderError::Empty`].
    pub fn must_exist(data: &Path) -> Result<(), FolderError> {
        if data.join("keys.json").exists() { Ok(()) } else { Err(FolderError::Empty(data.to_owned())) }
    }

    /// The merchant.
    pub fn merchant_id(&self) -> &MerchantId {
        &self.identity.merchant_id
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Connections that read.
    pub fn readers(&self) -> Readers {
        Readers::new(self.file("merchant.db"))
    }

    /// Another connection that writes.
    ///
    /// # Errors
    /// [`FolderError::Store`].
    pub fn connection(&self) -> Result<Connection, FolderError> {
        Ok(open(&self.file("merchant.db"), &self.identity)?)
    }

    /// Makes this process the one server of the folder, until the file is dropped or the process dies.
    ///
    /// # Errors
    /// [`FolderError::InUse`], [`FolderError::Files`].
    pub fn lock(data: &Path) -> Result<File, FolderError> {
        fs::create_dir_all(data).map_err(|cause| FolderError::Files { path: data.to_owned(), cause })?;
        let path = data.join("server.lock");
        let files = |cause| FolderError::Files { path: path.clone(), cause };
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(files)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse(data.to_owned())),
            Err(TryLockError::Error(cause)) => Err(files(cause)),
        }
    }

    /// The root key.
    ///
    /// # Errors
    /// [`FolderError::Keys`] when it is not in the folder or cannot be read.
    pub fn root(&self, elsewhere: Option<&Path>) -> Result<Signing, FolderError> {
        Ok(load_root(elsewhere.unwrap_or(&self.file("root.key")))?)
    }

    /// The keys as they are on disk now.
    ///
    /// # Errors
    /// [`FolderError::Keys`].
    pub fn keys(&self) -> Result<Keyring, FolderError> {
        Ok(Keyring::load(&self.file("keys.json"))?)
    }

    /// Reads a small JSON file of the folder; `None` if it is not there.
    ///
    /// # Errors
    /// [`FolderError::Files`], [`FolderError::Unreadable`].
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, FolderError> {
        let path = self.file(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(FolderError::Files { path, cause }),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| FolderError::Unreadable { path, detail: format!("line {}", e.line()) })
    }

    /// Writes a small JSON file that only its owner can read; readers see the old one or the new one.
    ///
    /// # Errors
    /// [`FolderError::Files`].
    pub fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), FolderError> {
        let path = self.file(name);
        let write = || private_file::write(&path, &serde_json::to_vec_pretty(value)?);
        write().map_err(|cause| FolderError::Files { path: path.clone(), cause })
    }

    /// Removes a file of the folder, if it is there.
    pub fn remove(&self, name: &str) {
        if let Err(e) = fs::remove_file(self.file(name))
            && e.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(file = name, error = %e, "cannot be removed");
        }
    }
}

/// The keys are saved before the database is made: a database without keys could only come from a lost file.
fn create_keys(opening: &Opening, now: Timestamp) -> Result<Keyring, FolderError> {
    let merchant_id = match &opening.merchant_id {
        Some(id) => id.clone(),
        None => MerchantId::parse("merchant")?,
    };
    let seed =
        || random::bytes::<32>().map_err(|_| WalkpayError::Key { detail: "the system gives no randomness".to_owned() });
    let root_path = opening.data.join("root.key");
    let root = if root_path.exists() { load_root(&root_path)? } else { Signing::new(&seed()?)? };
    save_root(&root, &root_path)?;
    let mut seeds = [seed()?, seed()?, seed()?, seed()?].into_iter();
    let keys = Keyring::create(merchant_id, &root, now, || seeds.next().unwrap_or_default())?;
    keys.save(&opening.data.join("keys.json"))?;
    Ok(keys)
}

impl From<FolderError> for Failure {
    fn from(e: FolderError) -> Self {
        match e {
            FolderError::Store(e) => Self::Fault(e),
            other => Self::Fault(StoreError::Defect(other.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(path: &Path) -> i64 {
        Connection::open(path).unwrap().query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap()
    }

    #[test]
    fn nobody_migrates_the_database_of_a_running_server() {
        let data = tempfile::tempdir().unwrap();
        let now = Timestamp::from_millis(1_800_000_000_000);
        let opening = Opening {
            data: data.path().to_owned(),
            sim: false,
            merchant_id: None,
            merchant_name: None,
            serving: false,
        };
        let open = |opening: &Opening| Folder::open(opening, Config::default(), now);
        let database = data.path().join("merchant.db");
        drop(open(&opening).unwrap());
        let newest = version(&database);
        // A server of the first version.
        let lock = Folder::lock(data.path()).unwrap();
        drop(open(&opening).unwrap());
        let old_database = || {
            for file in ["merchant.db", "merchant.db-wal", "merchant.db-shm"] {
                let _ = fs::remove_file(data.path().join(file));
            }
            let old = Connection::open(&database).unwrap();
            old.execute_batch(include_str!("store/schema/0001.sql")).unwrap();
            let merchant = "INSERT INTO merchants (merchant, merchant_id, name, sim) VALUES (1, 'merchant', 'm', 0)";
            old.execute_batch(merchant).unwrap();
            old.execute_batch(&format!("PRAGMA application_id = {}; PRAGMA user_version = 1", 0x5750_4d54)).unwrap();
        };
        old_database();
        let refused = open(&opening).map(drop).unwrap_err();
        assert!(matches!(refused, FolderError::OlderServer { found: 1, known, .. } if known == newest), "{refused}");
        assert!(refused.to_string().contains("stop the server"), "{refused}");
        assert_eq!(version(&database), 1);
        // The server itself may, at its start; once nobody serves, anybody may.
        drop(open(&Opening { serving: true, ..opening.clone() }).unwrap());
        assert_eq!(version(&database), newest);
        drop(open(&opening).unwrap());
        old_database();
        drop(lock);
        drop(open(&opening).unwrap());
        assert_eq!(version(&database), newest);
    }
}
