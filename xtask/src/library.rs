//! The one library that all bindings are tested with and that apps ship.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::run::{command, plain};

/// The shared library and the generator of the same version.
#[derive(Debug, Clone)]
pub struct Library {
    /// With its symbols, as the generator needs it.
    pub shared: PathBuf,
    /// `uniffi-bindgen`.
    pub generator: PathBuf,
}

/// Builds both: the library with profile `mobile`, the generator with its cheap one.
///
/// # Errors
/// When one does not build.
pub fn build(context: &Context) -> Result<Library> {
    let shared = cdylib(context, None, None)?;
    plain(command(Context::cargo(), &context.top).args([
        "build",
        "--quiet",
        "--package",
        "bindgen",
        "--profile",
        "bindgen",
    ]))?;
    Ok(Library { shared, generator: context.target.join("bindgen/uniffi-bindgen") })
}

/// The shared library for `platform` (a Rust target triple; none: this machine).
/// One crate type at a time, since several switch link-time optimisation off.
///
/// # Errors
/// When it does not build.
pub fn cdylib(context: &Context, platform: Option<&str>, rustflags: Option<&str>) -> Result<PathBuf> {
    let name = format!("{}walkpay{}", std::env::consts::DLL_PREFIX, extension(platform));
    build_as(context, "cdylib", &name, platform, rustflags)
}

/// The static library for `platform`, as Apple's frameworks contain it.
///
/// # Errors
/// When it does not build.
pub fn staticlib(context: &Context, platform: &str) -> Result<PathBuf> {
    build_as(context, "staticlib", "libwalkpay.a", Some(platform), None)
}

/// A copy of `library` at `to` without any symbols but the exported ones; its size in bytes.
///
/// # Errors
/// When `strip` is missing or fails.
pub fn stripped(context: &Context, library: &Path, to: &Path) -> Result<u64> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    plain(command("strip", &context.top).args(["--strip-unneeded", "-o"]).arg(to).arg(library))
        .context("`strip` of the C compiler's binutils is needed")?;
    Ok(fs::metadata(to)?.len())
}

fn build_as(
    context: &Context,
    kind: &str,
    name: &str,
    platform: Option<&str>,
    rustflags: Option<&str>,
) -> Result<PathBuf> {
    let mut cargo = command(Context::cargo(), &context.top);
    cargo.args(["rustc", "--quiet", "--package", "walkpay", "--lib", "--profile", "mobile", "--crate-type", kind]);
    let mut folder = context.target.clone();
    if let Some(platform) = platform {
        cargo.args(["--target", platform]);
        folder.push(platform);
    }
    if let Some(flags) = rustflags {
        cargo.env("RUSTFLAGS", flags);
    }
    plain(&mut cargo)?;
    Ok(folder.join("mobile").join(name))
}

fn extension(platform: Option<&str>) -> &'static str {
    match platform {
        Some(platform) if platform.contains("apple") => ".dylib",
        Some(_) => ".so",
        None => std::env::consts::DLL_SUFFIX,
    }
}
