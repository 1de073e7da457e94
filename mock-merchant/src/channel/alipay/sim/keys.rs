//! The keys of a simulation: made when they are first needed, kept as PEM files that other clients can use.

use crate::channel::rsa_key::{RsaKey, generate};
use crate::random;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use walkpay::WalkpayError;

/// Both sides' keys.
pub(super) struct SimulatedKeys {
    /// The application's.
    pub app: RsaKey,
    /// Alipay's.
    pub alipay: RsaKey,
}

impl SimulatedKeys {
    /// Reads `app.key.pem` and `alipay.key.pem` in `folder`, and makes what is not there, with `alipay.pub.pem` beside it; the
    /// application's key can be another file.
    ///
    /// # Errors
    /// [`WalkpayError::Key`].
    pub async fn open(folder: PathBuf, app: Option<PathBuf>) -> Result<Self, WalkpayError> {
        let work = move || {
            let app = match app {
                Some(file) => RsaKey::load(&file)?,
                None => taken_up(&folder, "app.key.pem")?,
            };
            let alipay = taken_up(&folder, "alipay.key.pem")?;
            write(&folder.join("app.pub.pem"), &app.public().to_pem()?)?;
            write(&folder.join("alipay.pub.pem"), &alipay.public().to_pem()?)?;
            Ok(Self { app, alipay })
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(keys) => keys,
            Err(e) => Err(WalkpayError::Key { detail: format!("simulated keys: {e}") }),
        }
    }
}

fn taken_up(folder: &Path, name: &str) -> Result<RsaKey, WalkpayError> {
    let file = folder.join(name);
    if !file.exists() {
        let seed = random::bytes().map_err(|e| WalkpayError::Key { detail: e.to_string() })?;
        write(&file, &generate(seed)?)?;
    }
    RsaKey::load(&file)
}

/// Writes a file that only its owner can read, in one step.
fn write(file: &Path, text: &str) -> Result<(), WalkpayError> {
    let beside = file.with_extension("new");
    let work = || -> std::io::Result<()> {
        match std::fs::remove_file(&beside) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&beside)?.write_all(text.as_bytes())?;
        std::fs::rename(&beside, file)
    };
    work().map_err(|e| WalkpayError::Key { detail: format!("{}: {e}", file.display()) })
}
