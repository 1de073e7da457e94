//! How a merchant reaches Alipay.

use crate::channel::http::checked_address;
use crate::channel::port::Identity;
use crate::channel::settings::{put_below, unfit};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use walkpay::WalkpayError;
use walkpay::protocol::document::PaymentMethod;

/// How payers get to their payment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Product {
    /// `alipay.trade.precreate`: a QR code that the payer scans.
    #[default]
    Precreate,
    /// `alipay.trade.page.pay`: a page that the payer opens.
    PagePay,
}

/// Alipay in `channels.json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The OpenAPI gateway; without one the simulated gateway, which is there only with `--sim`.
    pub gateway: Option<String>,
    /// The application, as the console shows it.
    pub app_id: String,
    /// The account that collects (`2088…`).
    pub seller_id: String,
    /// The application's private key; the simulated gateway makes one.
    pub app_key_file: Option<PathBuf>,
    /// Alipay's public key, as the console shows it for the application; the simulated gateway makes one.
    pub alipay_public_key_file: Option<PathBuf>,
    /// How payers get to their payment.
    pub product: Product,
    /// Where Alipay notifies, if not at the merchant's public address.
    pub notify_url: Option<String>,
    /// Where a payer comes back to after a page; it decides nothing.
    pub return_url: Option<String>,
    /// After this long without an answer there is none; 1 to 60 seconds.
    pub timeout_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gateway: None,
            app_id: "2021000000000001".to_owned(),
            seller_id: "2088000000000001".to_owned(),
            app_key_file: None,
            alipay_public_key_file: None,
            product: Product::default(),
            notify_url: None,
            return_url: None,
            timeout_seconds: 10,
        }
    }
}

impl Settings {
    /// Who the merchant is there.
    pub fn identity(&self) -> Identity {
        Identity {
            method: PaymentMethod::Alipay,
            application: self.app_id.clone(),
            seller: self.seller_id.clone(),
            names_payer: false,
        }
    }

    /// How long a call may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    /// Puts relative names of files below a folder.
    pub(crate) fn below(&mut self, folder: &Path) {
        put_below(folder, &mut self.app_key_file);
        put_below(folder, &mut self.alipay_public_key_file);
    }

    /// Whether this can be used.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`], naming what cannot.
    pub fn check(&self, sim: bool) -> Result<(), WalkpayError> {
        let id = |field: &str, id: &str| {
            let fits = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
            if fits { Ok(()) } else { Err(unfit(field, "1 to 32 letters and digits", id)) }
        };
        id("alipay.app_id", &self.app_id)?;
        id("alipay.seller_id", &self.seller_id)?;
        if !(1..=60).contains(&self.timeout_seconds) {
            return Err(unfit("alipay.timeout_seconds", "1 to 60", &self.timeout_seconds.to_string()));
        }
        for (field, address) in [("alipay.notify_url", &self.notify_url), ("alipay.return_url", &self.return_url)] {
            address.iter().try_for_each(|a| checked_address(field, a).map(|_| ()))?;
        }
        match &self.gateway {
            None if sim => Ok(()),
            None => Err(unfit("alipay.gateway", "an address (the simulated gateway needs --sim)", "none")),
            Some(gateway) => {
                checked_address("alipay.gateway", gateway)?;
                let keys = self.app_key_file.is_some() && self.alipay_public_key_file.is_some();
                let expected = "files for app_key_file and alipay_public_key_file";
                if keys { Ok(()) } else { Err(unfit("alipay", expected, "none")) }
            }
        }
    }
}
