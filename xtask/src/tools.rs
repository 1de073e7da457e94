//! Tools of other languages, fetched beside the first cargo build.
//!
//! Each is made on a thread of its own and waited for by the part that needs it. Nothing here is
//! needed to build or test the Rust code.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::cache;
use crate::context::Context;
use crate::run::{command, is_on_path, quiet};

/// Something that is being made on a thread.
pub struct Prepared {
    name: &'static str,
    state: Mutex<State>,
}

enum State {
    Running(JoinHandle<Made>),
    Done(Made),
}

/// Where it is and how long it took, or why there is none.
type Made = Result<(PathBuf, Duration), String>;

impl Prepared {
    fn start(name: &'static str, make: impl FnOnce() -> Result<PathBuf> + Send + 'static) -> Self {
        let handle = thread::spawn(move || {
            let start = Instant::now();
            make().map(|path| (path, start.elapsed())).map_err(|error| format!("{error:#}"))
        });
        Self { name, state: Mutex::new(State::Running(handle)) }
    }

    /// Waits until it is there and says where.
    ///
    /// # Errors
    /// Why it could not be made.
    pub fn wait(&self) -> Result<PathBuf> {
        let mut state = self.state.lock().map_err(|_| anyhow!("preparing {} panicked", self.name))?;
        if let State::Running(_) = *state {
            let lost = State::Done(Err(format!("preparing {} was interrupted", self.name)));
            let State::Running(handle) = std::mem::replace(&mut *state, lost) else {
                bail!("{} was prepared twice", self.name);
            };
            let made = handle.join().unwrap_or_else(|_| Err(format!("preparing {} panicked", self.name)));
            if let Ok((path, took)) = &made {
                println!("{}: {} (ready after {:.0?})", self.name, path.display(), took);
            }
            *state = State::Done(made);
        }
        match &*state {
            State::Done(Ok((path, _))) => Ok(path.clone()),
            State::Done(Err(reason)) => Err(anyhow!("{}: {reason}", self.name)),
            State::Running(_) => bail!("{} is still being prepared", self.name),
        }
    }
}

/// What the parts of a test run need from outside the Rust world.
#[derive(Default)]
pub struct Tools {
    /// The folder of the Node.js checks, with its packages installed.
    pub node: Option<Prepared>,
    /// A virtual environment: the folder with `bin/python`.
    pub python: Option<Prepared>,
    /// Maven's local repository holds what the Kotlin project needs.
    pub maven: Option<Prepared>,
    /// A root folder with a Swift toolchain in it.
    pub swift: Option<Prepared>,
    /// `strace`, by which the crash tests see that flushes come before answers.
    pub trace: Option<Prepared>,
    /// Kannel and its fake text message centre, a SIP client, and what makes speech.
    pub peers: Option<Prepared>,
}

/// Which tools to fetch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    pub node: bool,
    pub python: bool,
    pub maven: bool,
    pub swift: bool,
    pub trace: bool,
    pub peers: bool,
}

impl Tools {
    /// Starts fetching what is wanted.
    pub fn start(context: &Context, wanted: Wanted) -> Self {
        let apt = Arc::new(Apt::default());
        let start = |on: bool, name, make: fn(&Context, &Apt) -> Result<PathBuf>| {
            let (context, apt) = (context.clone(), Arc::clone(&apt));
            on.then(|| Prepared::start(name, move || make(&context, &apt)))
        };
        Self {
            node: start(wanted.node, "Node.js packages", node),
            python: start(wanted.python, "Python environment", python),
            maven: start(wanted.maven, "Maven packages", maven),
            swift: start(wanted.swift, "Swift toolchain", swift),
            trace: start(wanted.trace, "strace", trace),
            peers: start(wanted.peers, "Kannel and baresip", peers_of_notices),
        }
    }
}

/// Installs Debian packages, one call at a time.
#[derive(Default)]
struct Apt {
    updated: Mutex<bool>,
}

impl Apt {
    /// Sees to it that `program` is on the path, from Debian's `packages` where it is missing.
    fn need(&self, program: &str, packages: &[&str]) -> Result<()> {
        let mut updated = self.updated.lock().map_err(|_| anyhow!("an installation panicked"))?;
        if is_on_path(program) {
            return Ok(());
        }
        let wanted = packages.join(" ");
        if !is_root() || !is_on_path("apt-get") {
            bail!("`{program}` is missing: install {wanted} (here only root on Debian can do it by itself)");
        }
        if !*updated {
            quiet(command("apt-get", Path::new("/")).args(["update", "-qq"]))?;
            *updated = true;
        }
        quiet(
            command("apt-get", Path::new("/"))
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args(["install", "-y", "-qq", "--no-install-recommends"])
                .args(packages),
        )?;
        Ok(())
    }
}

fn is_root() -> bool {
    quiet(command("id", Path::new("/")).arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn trace(_: &Context, apt: &Apt) -> Result<PathBuf> {
    apt.need("strace", &["strace"])?;
    Ok(PathBuf::from("strace"))
}

/// What notices to payers are tested against. Debian's package of Kannel would start it as a service: a policy forbids that where
/// there is none.
fn peers_of_notices(_: &Context, apt: &Apt) -> Result<PathBuf> {
    let policy = Path::new("/usr/sbin/policy-rc.d");
    if is_root() && !policy.exists() && !is_on_path("bearerbox") {
        fs::write(policy, "#!/bin/sh\nexit 101\n")?;
        quiet(command("chmod", Path::new("/")).arg("755").arg(policy))?;
    }
    apt.need("bearerbox", &["kannel", "kannel-extras"])?;
    apt.need("baresip", &["baresip-core"])?;
    apt.need("espeak-ng", &["espeak-ng"])?;
    apt.need("sox", &["sox"])?;
    Ok(PathBuf::from("bearerbox"))
}

fn node(context: &Context, apt: &Apt) -> Result<PathBuf> {
    apt.need("node", &["nodejs"])?;
    apt.need("npm", &["npm"])?;
    let folder = context.top.join("tests/tools/node");
    let lock = fs::read_to_string(folder.join("package-lock.json"))?;
    let mark = folder.join("node_modules/.walkpay");
    let wanted = cache::fingerprint(&[&lock]);
    if fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
        return Ok(folder);
    }
    quiet(command("npm", &folder).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]))?;
    fs::write(mark, wanted)?;
    Ok(folder)
}

fn python(context: &Context, apt: &Apt) -> Result<PathBuf> {
    apt.need("python3", &["python3", "python3-venv"])?;
    let list = context.top.join("tests/tools/python/requirements.txt");
    let requirements = fs::read_to_string(&list)?;
    let version = quiet(command("python3", &context.top).arg("--version"))?;
    let name = format!("python-{}", cache::fingerprint(&[&requirements, &version]));
    cache::entry(&context.cache, &name, |folder| {
        quiet(command("python3", &context.top).args(["-m", "venv"]).arg(folder))
            .context("is Debian's package python3-venv installed?")?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"];
        quiet(command(folder.join("bin/python"), &context.top).args(install).arg(&list))?;
        Ok(())
    })
}

/// Builds a one-line project with the pom of the Kotlin bindings: afterwards the local repository
/// holds every plugin and package, the test provider that is chosen at run time included.
fn maven(context: &Context, apt: &Apt) -> Result<PathBuf> {
    apt.need("javac", &["default-jdk-headless"])?;
    apt.need("mvn", &["maven"])?;
    let pom = fs::read_to_string(context.top.join("bindings/kotlin/pom.xml"))?;
    let name = format!("maven-{}", cache::fingerprint(&[&pom]));
    cache::entry(&context.cache, &name, |folder| {
        let write = |path: &str, text: &str| -> Result<()> {
            let file = folder.join(path);
            fs::create_dir_all(file.parent().unwrap_or(folder))?;
            Ok(fs::write(file, text)?)
        };
        write("pom.xml", &pom)?;
        write("src/main/kotlin/One.kt", "fun one() = 1\n")?;
        write(
            "src/test/kotlin/OneTest.kt",
            "class OneTest { @kotlin.test.Test fun fetches() { kotlin.test.assertEquals(2, 1 + 1) } }\n",
        )?;
        let generated = folder.join("generated");
        fs::create_dir_all(&generated)?;
        let generated = format!("-Dwalkpay.generated={}", generated.display());
        quiet(command("mvn", folder).args(["-B", "-q", "-ntp", "clean", "test", &generated]))?;
        Ok(fs::remove_dir_all(folder.join("target"))?)
    })
}

/// Debian 13 has a Swift compiler; it goes into a root folder of its own.
fn swift(context: &Context, apt: &Apt) -> Result<PathBuf> {
    if !is_root() {
        bail!("only root can enter the root folder with the Swift toolchain: run this part as root");
    }
    apt.need("mmdebstrap", &["mmdebstrap"])?;
    apt.need("unshare", &["util-linux"])?;
    cache::entry(&context.cache, "swift-trixie-1", |folder| {
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let source = format!("deb [signed-by={keyring}] {} trixie main", debian_mirror()?);
        quiet(
            command("mmdebstrap", &context.cache)
                .args(["--mode=root", "--variant=apt", "--include=swiftlang,libc6-dev"])
                .args(["--aptopt=APT::Install-Recommends \"false\"", "trixie"])
                .arg(folder)
                .arg(source),
        )?;
        Ok(())
    })
}

/// The mirror that this machine's own packages come from.
fn debian_mirror() -> Result<String> {
    let file = "/etc/apt/sources.list.d/debian.sources";
    let sources = fs::read_to_string(file).with_context(|| format!("{file} names the mirror to use"))?;
    sources
        .lines()
        .find_map(|line| line.strip_prefix("URIs:"))
        .and_then(|uris| uris.split_whitespace().next())
        .map(str::to_owned)
        .with_context(|| format!("{file} has no line `URIs:`"))
}

/// Servers of other projects that simulate payments, for comparison: `node_modules` and `python` below the folder.
///
/// # Errors
/// When they cannot be fetched.
pub fn peers(context: &Context) -> Result<PathBuf> {
    const NPM: &str = "stripe-stateful-mock@0.0.16";
    const PYPI: &str = "localstripe==1.15.10";
    cache::entry(&context.cache, &format!("peers-{}", cache::fingerprint(&[NPM, PYPI])), |folder| {
        fs::create_dir_all(folder)?;
        quiet(
            command("npm", folder)
                .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
                .arg(folder)
                .arg(NPM),
        )?;
        let python = folder.join("python");
        quiet(command("python3", folder).args(["-m", "venv"]).arg(&python))?;
        quiet(command(python.join("bin/python"), folder).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            PYPI,
        ]))?;
        Ok(())
    })
}
