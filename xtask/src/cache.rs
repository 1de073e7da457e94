//! Downloads that are made once and reused: an entry counts only when its mark is there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Written last into an entry, so that a half-made one is never taken for a full one.
const MARK: &str = ".complete";

/// The folder `name` below `cache`, made by `make` unless it is there already.
/// Several processes may ask at the same time: one makes it, the others wait.
///
/// # Errors
/// When the folder cannot be written, or `make` fails.
pub fn entry(cache: &Path, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    fs::create_dir_all(cache).with_context(|| format!("could not make the cache folder {}", cache.display()))?;
    let lock = File::create(cache.join(format!("{name}.lock")))?;
    lock.lock()?;
    let folder = cache.join(name);
    if folder.join(MARK).is_file() {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("could not remove the unfinished {}", folder.display()))?;
    }
    make(&folder)?;
    fs::write(folder.join(MARK), "")?;
    Ok(folder)
}

/// A short fingerprint of what an entry is made from (FNV-1a): another list gets another entry.
pub fn fingerprint(parts: &[&str]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_made_once_and_a_half_made_one_again() {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let failed = entry(cache.path(), "x", |folder| {
            fs::create_dir(folder)?;
            fs::write(folder.join("part"), "")?;
            anyhow::bail!("the network went away")
        });
        assert!(failed.is_err());
        let made = entry(cache.path(), "x", |folder| Ok(fs::create_dir(folder)?)).expect("made anew");
        assert!(!made.join("part").exists());
        let again = entry(cache.path(), "x", |_| anyhow::bail!("made twice")).expect("reused");
        assert_eq!(made, again);
    }

    #[test]
    fn fingerprints_keep_parts_apart() {
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
    }
}
