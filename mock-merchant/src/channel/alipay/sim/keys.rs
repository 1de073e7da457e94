//! The keys of a simulation: made when they are first needed, kept as PEM files that other clients can use.

use crate::channel::rsa_key::{RsaKey, generate};
use crate::private_file;
use crate::random;
use std::path::{Path, PathBuf};
use walkpay::WalkpayError;
use zeroize::Zeroizing;

/// Both sides' keys.
#[derive(Clone)]
pub(super) struct SimulatedKeys {
    /// The application's.
    pub app: RsaKey,
    /// The same, as text.
    pub app_pem: Zeroizing<String>,
    /// Alipay's.
    pub alipay: RsaKey,
}

impl SimulatedKeys {
    /// These keys, PEM.
    ///
    /// # Errors
    /// [`WalkpayError::Key`].
    pub fn parse(app_pem: &str, alipay_pem: &str) -> Result<Self, WalkpayError> {
        let app_text = Zeroizing::new(app_pem.to_owned());
        Ok(Self { app: RsaKey::parse(app_pem)?, app_pem: app_text, alipay: RsaKey::parse(alipay_pem)? })
    }

    /// Reads `app.key.pem` and `alipay.key.pem` in `folder`, and makes what is not there, with `alipay.pub.pem` beside it; the
    /// application's key can be another file.
    ///
    /// # Errors
    /// [`WalkpayError::Key`].
    pub async fn open(folder: PathBuf, app: Option<PathBuf>) -> Result<Self, WalkpayError> {
        let work = move || {
            let app_file = match app {
                Some(file) => file,
                None => made(&folder, "app.key.pem")?,
            };
            let app = RsaKey::load(&app_file)?;
            let app_pem = std::fs::read_to_string(&app_file).map_err(|e| unusable(&app_file, &e))?;
            let alipay = RsaKey::load(&made(&folder, "alipay.key.pem")?)?;
            write(&folder.join("app.pub.pem"), &app.public().to_pem()?)?;
            write(&folder.join("alipay.pub.pem"), &alipay.public().to_pem()?)?;
            Ok(Self { app, app_pem: Zeroizing::new(app_pem), alipay })
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(keys) => keys,
            Err(e) => Err(WalkpayError::Key { detail: format!("simulated keys: {e}") }),
        }
    }
}

/// The file of a key, which is made if it is not there.
fn made(folder: &Path, name: &str) -> Result<PathBuf, WalkpayError> {
    let file = folder.join(name);
    if !file.exists() {
        let seed = random::bytes().map_err(|e| WalkpayError::Key { detail: e.to_string() })?;
        write(&file, &generate(seed)?)?;
    }
    Ok(file)
}

fn write(file: &Path, text: &str) -> Result<(), WalkpayError> {
    private_file::write(file, text.as_bytes()).map_err(|e| unusable(file, &e))
}

fn unusable(file: &Path, why: &std::io::Error) -> WalkpayError {
    WalkpayError::Key { detail: format!("{}: {why}", file.display()) }
}
