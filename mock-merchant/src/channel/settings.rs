//! Which payment channels a merchant uses: `channels.json`.
//!
//! ```json
//! { "query_every_seconds": 20, "pay_within_seconds": 900, "margin_seconds": 300,
//!   "alipay": { "gateway": "https://openapi.alipay.com/gateway.do", "app_id": "…", "seller_id": "…",
//!               "app_key_file": "alipay/app.key.pem", "alipay_public_key_file": "alipay/alipay.pub.pem" },
//!   "tenpay": { "gateway": "https://api.mch.weixin.qq.com", "appid": "…", "mchid": "…", "serial_no": "…",
//!               "key_file": "tenpay/apiclient_key.pem", "api_v3_key_file": "tenpay/api_v3.key" } }
//! ```
//!
//! A channel without `gateway` is the simulated one, which is there only with `--sim`. With `--sim` and without a file, all channels are.

use super::alipay;
use super::port::Identity;
use super::wechat;
use crate::domain::Config;
use serde::Deserialize;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use walkpay::WalkpayError;

/// The largest file that is read.
const MAX_FILE: usize = 64 * 1024;

/// The channels in use.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How often a channel is asked how an open trade stands; 1 second to an hour.
    pub query_every_seconds: Option<u64>,
    /// How long a payer has for paying: the deadline that is sent; 1 minute to 2 hours.
    pub pay_within_seconds: Option<u64>,
    /// How long after that deadline what a channel never knew is taken for never made; 1 minute to a day.
    pub margin_seconds: Option<u64>,
    /// Alipay.
    pub alipay: Option<alipay::Settings>,
    /// WeChat Pay.
    pub tenpay: Option<wechat::Settings>,
}

impl Settings {
    /// Reads `file`, or, where none was given, `channels.json` in the data folder if it is there. Relative names of key files are
    /// below the folder of the file.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] when the file cannot be read, has another form, or names no gateway outside of a simulation.
    pub fn load(file: Option<&Path>, data: &Path, sim: bool) -> Result<Self, WalkpayError> {
        let path = file.map_or_else(|| data.join("channels.json"), Path::to_owned);
        let settings = match std::fs::read(&path) {
            Ok(bytes) if bytes.len() > MAX_FILE => return Err(invalid(&path, "at most 64 KiB", "a larger file")),
            Ok(bytes) => {
                let read = serde_json::from_slice::<Self>(&bytes);
                read.map_err(|e| invalid(&path, "the form that docs/channels.md describes", &e.to_string()))?
            }
            Err(e) if e.kind() == ErrorKind::NotFound && file.is_none() => match sim {
                true => Self::simulated(),
                false => Self::default(),
            },
            Err(e) => return Err(invalid(&path, "a file that can be read", &e.to_string())),
        };
        let folder = path.parent().unwrap_or(data);
        settings.below(folder).checked(sim)
    }

    /// All channels, simulated.
    pub fn simulated() -> Self {
        Self { alipay: Some(alipay::Settings::default()), tenpay: Some(wechat::Settings::default()), ..Self::default() }
    }

    /// Who the merchant is at each of them.
    pub fn identities(&self) -> Vec<Identity> {
        let alipay = self.alipay.iter().map(alipay::Settings::identity);
        alipay.chain(self.tenpay.iter().map(wechat::Settings::identity)).collect()
    }

    /// Has the policy follow the intervals.
    pub fn apply(&self, policy: &mut Config) {
        let set = |to: &mut Duration, seconds: Option<u64>| {
            if let Some(seconds) = seconds {
                *to = Duration::from_secs(seconds);
            }
        };
        set(&mut policy.channel_query_every, self.query_every_seconds);
        set(&mut policy.pay_deadline, self.pay_within_seconds);
        set(&mut policy.pay_margin, self.margin_seconds);
        policy.channels.extend(self.identities());
    }

    fn below(mut self, folder: &Path) -> Self {
        if let Some(alipay) = &mut self.alipay {
            alipay.below(folder);
        }
        if let Some(tenpay) = &mut self.tenpay {
            tenpay.below(folder);
        }
        self
    }

    fn checked(self, sim: bool) -> Result<Self, WalkpayError> {
        let within = |name: &str, seconds: Option<u64>, least: u64, most: u64| match seconds {
            Some(s) if !(least..=most).contains(&s) => {
                Err(unfit(name, &format!("{least} to {most} seconds"), &s.to_string()))
            }
            _ => Ok(()),
        };
        within("query_every_seconds", self.query_every_seconds, 1, 3_600)?;
        within("pay_within_seconds", self.pay_within_seconds, 60, 7_200)?;
        within("margin_seconds", self.margin_seconds, 60, 86_400)?;
        self.alipay.iter().try_for_each(|alipay| alipay.check(sim))?;
        self.tenpay.iter().try_for_each(|tenpay| tenpay.check(sim))?;
        Ok(self)
    }
}

/// Puts a relative name below a folder.
pub(crate) fn put_below(folder: &Path, file: &mut Option<PathBuf>) {
    if let Some(file) = file {
        *file = folder.join(&*file);
    }
}

/// A setting that cannot be used.
pub(crate) fn unfit(field: &str, expected: &str, got: &str) -> WalkpayError {
    WalkpayError::InvalidInput {
        field: format!("channels: {field}"),
        expected: expected.to_owned(),
        got: got.chars().take(80).collect(),
    }
}

fn invalid(path: &Path, expected: &str, got: &str) -> WalkpayError {
    WalkpayError::InvalidInput {
        field: path.display().to_string(),
        expected: expected.to_owned(),
        got: got.chars().take(200).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(json: &str, sim: bool) -> Result<Settings, WalkpayError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("channels.json"), json).unwrap();
        Settings::load(None, folder.path(), sim)
    }

    #[test]
    fn a_simulation_has_all_channels_and_a_real_merchant_those_that_it_names() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Settings::load(None, folder.path(), true).unwrap(), Settings::simulated());
        assert_eq!(Settings::load(None, folder.path(), false).unwrap(), Settings::default());
        assert!(Settings::load(Some(&folder.path().join("none.json")), folder.path(), true).is_err());
        assert_eq!(load("{}", true).unwrap().identities(), []);
        let mut policy = Config::default();
        load(r#"{"query_every_seconds":7,"alipay":{}}"#, true).unwrap().apply(&mut policy);
        assert_eq!((policy.channel_query_every, policy.channels.len()), (Duration::from_secs(7), 1));
        assert_eq!(policy.pay_margin, Config::default().pay_margin);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for bad in [
            "",
            r#"{"alipai":{}}"#,
            r#"{"alipay":{"secret":"x"}}"#,
            r#"{"query_every_seconds":0}"#,
            r#"{"pay_within_seconds":7201}"#,
            r#"{"margin_seconds":59}"#,
        ] {
            assert!(load(bad, true).is_err(), "{bad}");
        }
        assert!(load(r#"{"alipay":{}}"#, false).is_err(), "no simulated gateway without --sim");
    }
}
