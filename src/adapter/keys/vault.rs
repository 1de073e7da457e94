//! Where the key that seals the device's keys is kept.

use super::seal::key_error;
use crate::error::WalkpayError;
use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// The host's store for small secrets: Android Keystore, Apple Keychain, or one of the two below.
///
/// Values are 32 bytes; names are ASCII and at most 80 characters. Called on threads where waiting is fine.
#[uniffi::export(with_foreign)]
pub trait KeyVault: Send + Sync {
    /// The value under `name`, or nothing when there is none.
    fn get(&self, name: String) -> Result<Option<Vec<u8>>, WalkpayError>;

    /// Keeps `value` under `name`, durably, before it returns.
    fn put(&self, name: String, value: Vec<u8>) -> Result<(), WalkpayError>;

    /// Forgets `name`; no error when there is nothing.
    fn delete(&self, name: String) -> Result<(), WalkpayError>;
}

/// Keeps values in memory: for tests, and for terminals that must forget everything at the end of the process.
#[derive(Default)]
pub struct MemoryVault(Mutex<HashMap<String, Zeroizing<Vec<u8>>>>);

impl KeyVault for MemoryVault {
    fn get(&self, name: String) -> Result<Option<Vec<u8>>, WalkpayError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&name).map(|v| v.to_vec()))
    }

    fn put(&self, name: String, value: Vec<u8>) -> Result<(), WalkpayError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Zeroizing::new(value));
        Ok(())
    }

    fn delete(&self, name: String) -> Result<(), WalkpayError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        Ok(())
    }
}

/// Keeps values in files that only their owner may read (0600, in a folder 0700): for desktops and development, where
/// the user's account is the boundary. Whoever can read the account's files can read these.
///
/// Files that others may read are refused, not repaired: they may have been read already.
pub struct FileVault {
    folder: PathBuf,
}

impl FileVault {
    /// A vault in `folder`, which is made when it does not exist.
    ///
    /// # Errors
    /// [`WalkpayError::Key`] when the folder cannot be made or is open to others.
    pub fn new(folder: impl Into<PathBuf>) -> Result<Self, WalkpayError> {
        let folder = folder.into();
        make_private_folder(&folder).map_err(|e| key_error(format!("the vault's folder: {e}")))?;
        refuse_loose(&folder, "the vault's folder")?;
        Ok(Self { folder })
    }

    fn path(&self, name: &str) -> Result<PathBuf, WalkpayError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 80 || name.starts_with('.') || !name.chars().all(plain) {
            return Err(key_error(
                "a vault name has 1 to 80 letters, digits, '-', '_' or '.' and does not begin with '.'",
            ));
        }
        Ok(self.folder.join(format!("{name}.key")))
    }
}

impl KeyVault for FileVault {
    fn get(&self, name: String) -> Result<Option<Vec<u8>>, WalkpayError> {
        let path = self.path(&name)?;
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(key_error(format!("reading a key file: {e}"))),
        };
        refuse_loose(&path, "a key file")?;
        let mut value = Vec::with_capacity(64);
        let read = file.take(64).read_to_end(&mut value);
        read.map_err(|e| key_error(format!("reading a key file: {e}")))?;
        Ok(Some(value))
    }

    fn put(&self, name: String, value: Vec<u8>) -> Result<(), WalkpayError> {
        let value = Zeroizing::new(value);
        let path = self.path(&name)?;
        let part = self.folder.join(format!("{name}.part"));
        write_private(&part, &value)
            .and_then(|()| fs::rename(&part, &path))
            .and_then(|()| sync_folder(&self.folder))
            .map_err(|e| key_error(format!("writing a key file: {e}")))
    }

    fn delete(&self, name: String) -> Result<(), WalkpayError> {
        match fs::remove_file(self.path(&name)?) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(key_error(format!("deleting a key file: {e}"))),
            _ => Ok(()),
        }
    }
}

fn write_private(path: &Path, value: &[u8]) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(value)?;
    file.sync_all()
}

fn make_private_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    builder.mode(0o700);
    builder.create(folder)
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn refuse_loose(path: &Path, what: &str) -> Result<(), WalkpayError> {
    let mode = fs::metadata(path).map_err(|e| key_error(format!("{what}: {e}")))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let detail = format!("{what} has mode {mode:03o}; others may have read it: check who did, then chmod go= it");
        return Err(key_error(detail));
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_loose(_: &Path, _: &str) -> Result<(), WalkpayError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exercise(vault: &dyn KeyVault) {
        assert_eq!(vault.get("a".into()).unwrap(), None);
        vault.put("a".into(), vec![1; 32]).unwrap();
        vault.put("a".into(), vec![2; 32]).unwrap();
        assert_eq!(vault.get("a".into()).unwrap(), Some(vec![2; 32]));
        vault.delete("a".into()).unwrap();
        vault.delete("a".into()).unwrap();
        assert_eq!(vault.get("a".into()).unwrap(), None);
    }

    #[test]
    fn both_vaults_keep_replace_and_forget() {
        let dir = tempfile::tempdir().unwrap();
        exercise(&MemoryVault::default());
        exercise(&FileVault::new(dir.path().join("vault")).unwrap());
    }

    #[test]
    fn a_value_survives_a_new_vault_on_the_same_folder() {
        let dir = tempfile::tempdir().unwrap();
        FileVault::new(dir.path().join("v")).unwrap().put("a".into(), vec![9; 32]).unwrap();
        assert_eq!(FileVault::new(dir.path().join("v")).unwrap().get("a".into()).unwrap(), Some(vec![9; 32]));
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let vault = FileVault::new(dir.path().join("v")).unwrap();
        for bad in ["", "../a", "a/b", ".a", "ü", &"x".repeat(81)] {
            assert!(matches!(vault.put(bad.into(), vec![1; 32]), Err(WalkpayError::Key { .. })), "{bad}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_private_and_looser_ones_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("v");
        let vault = FileVault::new(&folder).unwrap();
        vault.put("a".into(), vec![1; 32]).unwrap();
        let file = folder.join("a.key");
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(&folder)), (0o600, 0o700));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(vault.get("a".into()), Err(WalkpayError::Key { .. })));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(FileVault::new(&folder), Err(WalkpayError::Key { .. })));
    }
}
