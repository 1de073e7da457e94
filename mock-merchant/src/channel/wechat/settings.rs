//! How a merchant reaches WeChat Pay.

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
    /// A text to be shown as a QR code, which the payer scans with WeChat.
    #[default]
    Native,
    /// Parameters for a page or mini program inside WeChat, which opens them for the payer alone: by their openid.
    Jsapi,
    /// Parameters for an app that hands over to WeChat.
    App,
}

/// WeChat Pay in `channels.json`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The gateway (`https://api.mch.weixin.qq.com`); without one the simulated gateway, which is there only with `--sim`.
    pub gateway: Option<String>,
    /// The application.
    pub appid: String,
    /// The merchant.
    pub mchid: String,
    /// The serial number of the merchant's API certificate, as the console shows it.
    pub serial_no: Option<String>,
    /// The private key of that certificate (`apiclient_key.pem`).
    pub key_file: Option<PathBuf>,
    /// The APIv3 key: a file with its 32 characters.
    pub api_v3_key_file: Option<PathBuf>,
    /// The name of the platform's public key (`PUB_KEY_ID_…`), for merchants who were given one instead of certificates.
    pub public_key_id: Option<String>,
    /// That public key.
    pub public_key_file: Option<PathBuf>,
    /// The authority that must have issued the platform's certificates; without one the APIv3 key alone vouches for them.
    pub authority_file: Option<PathBuf>,
    /// How payers get to their payment.
    pub product: Product,
    /// Where the platform notifies, if not at the merchant's public address.
    pub notify_url: Option<String>,
    /// After this long without an answer there is none; 1 to 60 seconds.
    pub timeout_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gateway: None,
            appid: "wx0000000000000001".to_owned(),
            mchid: "1900000001".to_owned(),
            serial_no: None,
            key_file: None,
            api_v3_key_file: None,
            public_key_id: None,
            public_key_file: None,
            authority_file: None,
            product: Product::default(),
            notify_url: None,
            timeout_seconds: 10,
        }
    }
}

impl Settings {
    /// Who the merchant is there.
    pub fn identity(&self) -> Identity {
        Identity {
            method: PaymentMethod::Tenpay,
            application: self.appid.clone(),
            seller: self.mchid.clone(),
            names_payer: self.product == Product::Jsapi,
        }
    }

    /// How long a call may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    /// Puts relative names of files below a folder.
    pub(crate) fn below(&mut self, folder: &Path) {
        for file in [&mut self.key_file, &mut self.api_v3_key_file, &mut self.public_key_file, &mut self.authority_file]
        {
            put_below(folder, file);
        }
    }

    /// Whether this can be used.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`], naming what cannot.
    pub fn check(&self, sim: bool) -> Result<(), WalkpayError> {
        let word = |field: &str, text: &str, most: usize| {
            let fits = (1..=most).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            if fits { Ok(()) } else { Err(unfit(field, &format!("1 to {most} letters, digits, _ and -"), text)) }
        };
        word("tenpay.appid", &self.appid, 32)?;
        word("tenpay.mchid", &self.mchid, 32)?;
        self.serial_no.iter().try_for_each(|s| word("tenpay.serial_no", s, 64))?;
        self.public_key_id.iter().try_for_each(|s| word("tenpay.public_key_id", s, 64))?;
        if !(1..=60).contains(&self.timeout_seconds) {
            return Err(unfit("tenpay.timeout_seconds", "1 to 60", &self.timeout_seconds.to_string()));
        }
        if self.public_key_id.is_some() != self.public_key_file.is_some() {
            return Err(unfit("tenpay", "both of public_key_id and public_key_file, or none", "one"));
        }
        if let Some(url) = &self.notify_url {
            let url = checked_address("tenpay.notify_url", url)?;
            if url.query().is_some() {
                return Err(unfit("tenpay.notify_url", "an address without a query", url.as_str()));
            }
        }
        let named = [&self.key_file, &self.api_v3_key_file].iter().filter(|f| f.is_some()).count();
        match &self.gateway {
            None if sim && named == 0 => Ok(()),
            None if sim => Err(unfit("tenpay", "no key files: the simulated gateway has its own", "some")),
            None => Err(unfit("tenpay.gateway", "an address (the simulated gateway needs --sim)", "none")),
            Some(gateway) => {
                let url = checked_address("tenpay.gateway", gateway)?;
                if url.query().is_some() || url.fragment().is_some() {
                    return Err(unfit("tenpay.gateway", "an address without a query", gateway));
                }
                let expected = "serial_no, key_file and api_v3_key_file";
                if named == 2 && self.serial_no.is_some() { Ok(()) } else { Err(unfit("tenpay", expected, "less")) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, sim: bool) -> Result<(), WalkpayError> {
        serde_json::from_str::<Settings>(json).unwrap().check(sim)
    }

    #[test]
    fn a_gateway_needs_its_keys_and_a_simulation_none() {
        let real = r#"{"gateway":"https://api.mch.weixin.qq.com","appid":"wx1","mchid":"19","serial_no":"5F",
            "key_file":"k","api_v3_key_file":"a"}"#;
        assert!(check(real, false).is_ok() && check("{}", true).is_ok());
        for (bad, sim) in [
            ("{}", false),
            (r#"{"key_file":"k"}"#, true),
            (r#"{"gateway":"https://api.mch.weixin.qq.com"}"#, true),
            (&real.replace("https://", "http://"), false),
            (&real.replace(r#""5F""#, r#""""#), false),
            (r#"{"public_key_id":"PUB_KEY_ID_1"}"#, true),
            (r#"{"mchid":""}"#, true),
            (r#"{"timeout_seconds":0}"#, true),
            (r#"{"notify_url":"https://x.example/n?a=1"}"#, true),
        ] {
            assert!(check(bad, sim).is_err(), "{bad}");
        }
        for unknown in [r#"{"secret":"x"}"#, r#"{"openid":"o1"}"#] {
            assert!(serde_json::from_str::<Settings>(unknown).is_err(), "{unknown}");
        }
    }
}
