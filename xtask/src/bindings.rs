//! Generates the sources of all languages from the one library.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::library::Library;
use crate::run::{command, plain, quiet};

/// What the generator wrote, and the library that belongs to it.
#[derive(Debug, Clone)]
pub struct Generated {
    pub root: PathBuf,
    /// A source root: `org/walkpay/*.kt`.
    pub kotlin: PathBuf,
    /// `WalkPay.swift`, `WalkPayFFI.h`, `WalkPayFFI.modulemap`.
    pub swift: PathBuf,
    /// `walkpay.py`.
    pub python: PathBuf,
    /// A folder with nothing but the shared library.
    pub library: PathBuf,
}

/// Writes the sources of Kotlin, Swift and Python below `target/bindings/generated`.
///
/// # Errors
/// When the generator fails or a file cannot be written.
pub fn generate(context: &Context, library: &Library) -> Result<Generated> {
    let root = context.bindings().join("generated");
    fresh(&root)?;
    let folder = |name: &str| root.join(name);
    for language in ["kotlin", "swift", "python"] {
        quiet(
            command(&library.generator, &context.top)
                .args(["generate", "--no-format", "--language", language, "--out-dir"])
                .arg(folder(language))
                .arg(&library.shared),
        )?;
    }
    let shared = folder("library");
    fs::create_dir_all(&shared)?;
    let name = library.shared.file_name().context("the library has no file name")?;
    fs::copy(&library.shared, shared.join(name))?;
    Ok(Generated { kotlin: folder("kotlin"), swift: folder("swift"), python: folder("python"), library: shared, root })
}

/// The merchant that the tests of every language start. Built together with the tests of the workspace, since alone it
/// would get dependencies with other features, and with them minutes of a second build.
///
/// # Errors
/// When it does not build.
pub fn merchant(context: &Context) -> Result<PathBuf> {
    plain(command(Context::cargo(), &context.top).args(BUILD))?;
    Ok(context.target.join("debug/mock-merchant"))
}

/// Everything that tests run or start, with one set of features.
pub const BUILD: &[&str] = &["build", "--quiet", "--locked", "--bins", "--tests", "--examples"];

/// An empty folder in the place of whatever was there.
///
/// # Errors
/// When it cannot be emptied or made.
pub fn fresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("could not empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))
}

/// Copies the files below `from` to `to`, without build folders and caches.
///
/// # Errors
/// When a file cannot be read or written.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("could not read {}", from.display()))? {
        let entry = entry?;
        let (source, name) = (entry.path(), entry.file_name());
        if entry.file_type()?.is_dir() {
            if ![".build", "target", "__pycache__"].iter().any(|skipped| name == *skipped) {
                copy_tree(&source, &to.join(&name))?;
            }
        } else {
            fs::copy(&source, to.join(&name))?;
        }
    }
    Ok(())
}
