//! The Python bindings: a package with the library inside.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::bindings::{Generated, copy_tree, fresh};
use crate::context::Context;
use crate::run::{Outcome, command, quiet, stream};
use crate::snapshot;
use crate::tally::Runner;

/// Assembles the package and runs its tests with `environment`'s Python against `merchant`.
///
/// # Errors
/// When the package cannot be written or Python cannot be started.
pub fn test(context: &Context, generated: &Generated, environment: &Path, merchant: &Path) -> Result<Outcome> {
    let folder = assemble(context, generated)?;
    stream(
        command(environment.join("bin/python"), &folder)
            .args(["-m", "pytest", "-p", "no:cacheprovider", "--color=no", "tests"])
            .env("PYTHONPATH", &folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("WALKPAY_MERCHANT", merchant),
        Runner::Pytest,
    )
}

/// Compares the public API with `bindings/python/api.txt`.
///
/// # Errors
/// When the outline cannot be made.
pub fn api(context: &Context, generated: &Generated, environment: &Path) -> Result<bool> {
    let script = context.top.join("tests/tools/python/outline.py");
    let outline = quiet(
        command(environment.join("bin/python"), &context.top).arg(script).arg(generated.python.join("walkpay.py")),
    )?;
    snapshot::compare(&context.top.join("bindings/python/api.txt"), &outline)
}

/// `bindings/python` with the generated module and the library inside the package.
///
/// # Errors
/// When a file cannot be written.
pub fn assemble(context: &Context, generated: &Generated) -> Result<PathBuf> {
    let folder = context.bindings().join("python");
    fresh(&folder)?;
    copy_tree(&context.top.join("bindings/python"), &folder)?;
    let package = folder.join("walkpay");
    fs::copy(generated.python.join("walkpay.py"), package.join("walkpay.py"))
        .context("the Python module was not generated")?;
    copy_tree(&generated.library, &package)?;
    Ok(folder)
}
