//! The Swift bindings: a SwiftPM package, built and tested inside a root folder with a Swift toolchain.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::bindings::{Generated, copy_tree, fresh};
use crate::context::Context;
use crate::run::{Outcome, command, stream};
use crate::snapshot::{self, Language};
use crate::tally::Runner;

/// Mounts what the tests need into the root folder, in a mount namespace of its own that ends with them.
const INSIDE: &str = r#"
set -eu
root=$1 package=$2 merchant=$3
mkdir -p "$root/package" "$root/merchant"
mount --bind /proc "$root/proc"
mount --bind /dev "$root/dev"
mount --bind "$package" "$root/package"
mount --bind "$merchant" "$root/merchant"
mount -t tmpfs tmpfs "$root/tmp"
exec chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/tmp LANG=C.UTF-8 \
  LD_LIBRARY_PATH=/package/library WALKPAY_MERCHANT=/merchant/mock-merchant \
  timeout --kill-after=10 900 swift test --package-path /package --disable-sandbox -Xlinker -L/package/library
"#;

/// Assembles the package and runs its tests against `merchant`.
///
/// # Errors
/// When the package cannot be written or the tests cannot be started.
pub fn test(context: &Context, generated: &Generated, root: &Path, merchant: &Path) -> Result<Outcome> {
    let package = assemble(context, generated)?;
    let merchant = merchant.parent().context("the merchant has no folder")?;
    stream(
        command("unshare", &context.top)
            .args(["--mount", "--propagation", "private", "sh", "-c", INSIDE, "sh"])
            .args([root, &package, merchant]),
        Runner::Swift,
    )
}

/// Compares the public API with `bindings/swift/api.txt`.
///
/// # Errors
/// When a file cannot be read.
pub fn api(context: &Context, generated: &Generated) -> Result<bool> {
    let source = generated.swift.join("WalkPay.swift");
    let source = fs::read_to_string(&source).with_context(|| format!("{} was not generated", source.display()))?;
    snapshot::compare(&context.top.join("bindings/swift/api.txt"), &snapshot::outline(&source, Language::Swift))
}

/// `bindings/swift` with the generated sources in their places and the library beside them.
/// The build folder of an earlier run stays.
///
/// # Errors
/// When a file cannot be written.
pub fn assemble(context: &Context, generated: &Generated) -> Result<PathBuf> {
    let package = context.bindings().join("swift");
    for folder in ["Sources", "Tests", "library"] {
        fresh(&package.join(folder))?;
    }
    copy_tree(&context.top.join("bindings/swift"), &package)?;
    let put = |from: &str, to: &str| -> Result<()> {
        let to = package.join(to);
        fs::create_dir_all(to.parent().context("a file has a folder")?)?;
        fs::copy(generated.swift.join(from), &to).with_context(|| format!("{from} was not generated"))?;
        Ok(())
    };
    put("WalkPayFFI.h", "Sources/WalkPayFFI/WalkPayFFI.h")?;
    put("WalkPayFFI.modulemap", "Sources/WalkPayFFI/module.modulemap")?;
    put("WalkPay.swift", "Sources/WalkPay/Generated.swift")?;
    copy_tree(&generated.library, &package.join("library"))?;
    Ok(package)
}
