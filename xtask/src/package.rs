//! Packages for shipping. The wheel can be made on any machine; Android and Apple packages need those
//! platforms' toolchains, and the commands say which one is missing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::bindings::{self, Generated, fresh};
use crate::context::Context;
use crate::run::{command, is_on_path, plain, quiet};
use crate::{library, python, swift};

/// Android's ABI folders and the Rust targets that fill them.
const ANDROID: &[(&str, &str)] = &[
    ("arm64-v8a", "aarch64-linux-android"),
    ("armeabi-v7a", "armv7-linux-androideabi"),
    ("x86_64", "x86_64-linux-android"),
];
/// The oldest Android release that the library is linked for.
const ANDROID_API: u32 = 26;
/// Pages of 16 KiB, as new Android devices have them.
const ANDROID_FLAGS: &str = "-Clink-arg=-Wl,-z,max-page-size=16384";
/// Rust targets of the slices of an XCFramework; those of one line are joined into one library.
const APPLE: &[(&str, &[&str])] = &[
    ("ios", &["aarch64-apple-ios"]),
    ("ios-simulator", &["aarch64-apple-ios-sim", "x86_64-apple-ios"]),
    ("macos", &["aarch64-apple-darwin", "x86_64-apple-darwin"]),
];

#[derive(Args)]
pub struct PackageArgs {
    /// What to make; all of them when none is named.
    what: Vec<What>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// A Python wheel for this machine's platform
    Wheel,
    /// An Android archive with the library for every ABI (needs the Android NDK)
    Aar,
    /// An XCFramework and a Swift package around it (needs Xcode)
    Xcframework,
}

/// Makes the packages into `target/package`; whether all that were asked for could be made.
///
/// # Errors
/// When the library does not build.
pub fn package(context: &Context, args: &PackageArgs) -> Result<bool> {
    let wanted = if args.what.is_empty() { What::value_variants() } else { &args.what };
    let generated = bindings::generate(context, &library::build(context)?)?;
    let out = context.target.join("package");
    fs::create_dir_all(&out)?;
    let mut complete = true;
    for what in wanted {
        let made = match what {
            What::Wheel => wheel(context, &generated, &out),
            What::Aar => aar(context, &generated, &out),
            What::Xcframework => xcframework(context, &generated, &out),
        };
        match made {
            Ok(path) => println!("{what:?}: {}", path.display()),
            Err(error) => {
                println!("{what:?}: not made: {error:#}");
                complete = false;
            }
        }
    }
    Ok(complete)
}

/// `walkpay-VERSION-py3-none-PLATFORM.whl`: the module reaches the library through ctypes, so one
/// wheel serves every Python 3.
fn wheel(context: &Context, generated: &Generated, out: &Path) -> Result<PathBuf> {
    let folder = python::assemble(context, generated)?;
    let package = folder.join("walkpay");
    let name = fs::read_dir(&generated.library)?.next().context("no library was generated")??.file_name();
    library::stripped(context, &generated.library.join(&name), &package.join(&name))?;
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        fs::copy(context.top.join(licence), folder.join(licence))?;
    }
    let script = context.top.join("tests/tools/python/wheel.py");
    let made = quiet(command("python3", &context.top).arg(script).args([&folder, out]))?;
    Ok(PathBuf::from(made.trim()))
}

fn aar(context: &Context, generated: &Generated, out: &Path) -> Result<PathBuf> {
    let ndk = std::env::var_os("ANDROID_NDK_HOME").map(PathBuf::from).filter(|folder| folder.is_dir());
    let ndk = ndk.context("the Android NDK is missing: set ANDROID_NDK_HOME to its folder")?;
    let compilers = ndk.join("toolchains/llvm/prebuilt/linux-x86_64/bin");
    let staging = context.bindings().join("aar");
    fresh(&staging)?;
    for (abi, platform) in ANDROID {
        need_target(context, platform)?;
        let linker = compilers.join(format!("{}{ANDROID_API}-clang", platform.replace("armv7-", "armv7a-")));
        let flags = format!("{ANDROID_FLAGS} -Clinker={}", linker.display());
        let shared = library::cdylib(context, Some(platform), Some(&flags))?;
        let to = staging.join("jni").join(abi).join("libwalkpay.so");
        fs::create_dir_all(to.parent().context("a file has a folder")?)?;
        plain(
            command(compilers.join("llvm-strip"), &context.top).args(["--strip-unneeded", "-o"]).args([&to, &shared]),
        )?;
    }
    // The classes are those of the JVM build; R8 reads the consumer rules from the archive.
    let property = |name: &str, value: &Path| format!("-D{name}={}", value.display());
    let build = context.bindings().join("kotlin");
    plain(
        command("mvn", &context.top.join("bindings/kotlin"))
            .args(["--batch-mode", "--quiet", "package", "-DskipTests"])
            .arg(property("walkpay.build", &build))
            .arg(property("walkpay.generated", &generated.kotlin))
            .arg(property("walkpay.library", &generated.library)),
    )?;
    let kotlin = context.top.join("bindings/kotlin");
    fs::copy(build.join("walkpay.jar"), staging.join("classes.jar")).context("Maven made no walkpay.jar")?;
    fs::copy(kotlin.join("src/main/resources/META-INF/proguard/walkpay.pro"), staging.join("proguard.txt"))?;
    fs::copy(kotlin.join("AndroidManifest.xml"), staging.join("AndroidManifest.xml"))?;
    let archive = out.join(format!("walkpay-{}.aar", env!("CARGO_PKG_VERSION")));
    plain(command("jar", &staging).args(["--create", "--no-manifest", "--file"]).arg(&archive).arg("."))?;
    Ok(archive)
}

fn xcframework(context: &Context, generated: &Generated, out: &Path) -> Result<PathBuf> {
    for tool in ["xcodebuild", "lipo"] {
        if !is_on_path(tool) {
            bail!("`{tool}` of Xcode is missing: this package is made on a Mac");
        }
    }
    let package = swift::assemble(context, generated)?;
    let framework = out.join("WalkPayFFI.xcframework");
    if framework.exists() {
        fs::remove_dir_all(&framework)?;
    }
    let mut make = command("xcodebuild", &context.top);
    make.arg("-create-xcframework");
    for (slice, platforms) in APPLE {
        let joined = context.bindings().join("apple").join(slice).join("libwalkpay.a");
        fs::create_dir_all(joined.parent().context("a file has a folder")?)?;
        let mut join = command("lipo", &context.top);
        join.args(["-create", "-output"]).arg(&joined);
        for platform in *platforms {
            need_target(context, platform)?;
            join.arg(library::staticlib(context, platform)?);
        }
        plain(&mut join)?;
        make.arg("-library").arg(joined).arg("-headers").arg(package.join("Sources/WalkPayFFI"));
    }
    plain(make.arg("-output").arg(&framework))?;
    Ok(framework)
}

/// Refuses with the command to run when Rust's standard library for `platform` is not installed.
fn need_target(context: &Context, platform: &str) -> Result<()> {
    let folder = quiet(command("rustc", &context.top).args(["--print", "target-libdir", "--target", platform]))?;
    if !Path::new(folder.trim()).is_dir() {
        bail!("Rust's standard library for {platform} is missing: rustup target add {platform}");
    }
    Ok(())
}
