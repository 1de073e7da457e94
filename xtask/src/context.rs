//! Where things are: the tree, the build folder, the cache.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The folders that every command works with.
#[derive(Debug, Clone)]
pub struct Context {
    /// Top of the source tree.
    pub top: PathBuf,
    /// Cargo's build folder.
    pub target: PathBuf,
    /// Downloads that outlive the tree: `WALKPAY_CACHE`, else `$XDG_CACHE_HOME/walkpay`, else `~/.cache/walkpay`.
    pub cache: PathBuf,
}

impl Context {
    /// Reads the folders from the environment.
    ///
    /// # Errors
    /// When no cache folder can be named because neither `WALKPAY_CACHE`, `XDG_CACHE_HOME` nor `HOME` is set.
    pub fn find() -> Result<Self> {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask is not inside the source tree")?
            .to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => top.join(folder),
            None => top.join("target"),
        };
        let cache = cache_folder()?;
        Ok(Self { top, target, cache })
    }

    /// `cargo` as it was called, for nested calls.
    pub fn cargo() -> String {
        env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
    }

    /// The folder for generated bindings and their builds.
    pub fn bindings(&self) -> PathBuf {
        self.target.join("bindings")
    }
}

fn cache_folder() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = set("WALKPAY_CACHE") {
        return Ok(std::path::absolute(folder)?);
    }
    if let Some(folder) = set("XDG_CACHE_HOME") {
        return Ok(Path::new(&folder).join("walkpay"));
    }
    let home = set("HOME").context("set WALKPAY_CACHE to a folder for downloads: HOME is not set either")?;
    Ok(Path::new(&home).join(".cache/walkpay"))
}
