//! The Kotlin bindings: a Maven project for the JVM; the same sources serve Android.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::bindings::Generated;
use crate::context::Context;
use crate::run::{Outcome, command, stream};
use crate::snapshot::{self, Language};
use crate::tally::Runner;

/// Runs the tests of `bindings/kotlin` against `merchant`, offline: the packages are in Maven's repository.
///
/// # Errors
/// When Maven cannot be started.
pub fn test(context: &Context, generated: &Generated, merchant: &Path) -> Result<Outcome> {
    let project = context.top.join("bindings/kotlin");
    let property = |name: &str, value: &Path| format!("-D{name}={}", value.display());
    stream(
        command("mvn", &project)
            .args(["--batch-mode", "--no-transfer-progress", "--offline", "clean", "test"])
            .arg(property("walkpay.build", &context.bindings().join("kotlin")))
            .arg(property("walkpay.generated", &generated.kotlin))
            .arg(property("walkpay.library", &generated.library))
            .arg(property("walkpay.merchant", merchant)),
        Runner::Surefire,
    )
}

/// Compares the public API with `bindings/kotlin/api.txt`.
///
/// # Errors
/// When a file cannot be read.
pub fn api(context: &Context, generated: &Generated) -> Result<bool> {
    let source = generated.kotlin.join("org/walkpay/walkpay.kt");
    let source = fs::read_to_string(&source).with_context(|| format!("{} was not generated", source.display()))?;
    snapshot::compare(&context.top.join("bindings/kotlin/api.txt"), &snapshot::outline(&source, Language::Kotlin))
}
