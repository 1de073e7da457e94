//! How a server is to be run, and the rules of deployment.

use super::limits::Limits;
use crate::domain;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use walkpay::MerchantId;
use walkpay::protocol::enrolment_code::check_url;

/// How a server is to be run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data folder; made if it is not there.
    pub data: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Faults, moved clock, magic accounts; marks a new database for good.
    pub sim: bool,
    /// Seeds the demo store and makes an enrolment code whose device confirms itself.
    pub demo: bool,
    /// The bank; without one, the server starts the simulated bank.
    pub bank: Option<BankTarget>,
    /// Where the simulated bank listens on loopback; without it, at its last port or a free one.
    pub bank_listen: Option<SocketAddr>,
    /// Certificate and key, to serve https.
    pub tls: Option<TlsFiles>,
    /// TLS ends at a proxy, which alone can reach this server and reports the address of callers.
    pub behind_proxy: bool,
    /// What a collector of metrics on another machine shows as its bearer token; without it, there is none.
    pub metrics_key: Option<String>,
    /// How terminals reach this server, if not as it listens.
    pub public_url: Option<String>,
    /// The merchant, if the folder is new.
    pub merchant_id: Option<MerchantId>,
    /// Its name, if the folder is new.
    pub merchant_name: Option<String>,
    /// What is taken from outside, at most.
    pub limits: Limits,
    /// How the merchant decides.
    pub policy: domain::Config,
    /// Calls to the bank at one time.
    pub workers: usize,
}

/// A bank, and what it knows the merchant by.
#[derive(Clone)]
pub struct BankTarget {
    /// Scheme, host and port: `https`, or `http` on loopback.
    pub url: String,
    /// The merchant's API key.
    pub api_key: String,
}

impl std::fmt::Debug for BankTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bank at {}", self.url)
    }
}

/// PEM files of a TLS server.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A rule of deployment that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Everybody on the network could listen in.
    #[error(
        "listening beyond loopback needs TLS: give --tls-cert and --tls-key, or --behind-proxy and --public-url if a proxy ends TLS"
    )]
    PlainBeyondLoopback,
    /// Terminals would not know the way.
    #[error("--behind-proxy needs --public-url https://…: it is what enrolment codes carry")]
    NoPublicUrl,
    /// Terminals refuse such an address.
    #[error("--public-url must be https://host[:port][/path], or http:// on loopback")]
    PublicUrl,
    /// The simulated bank is for this machine only.
    #[error("--bank-listen must be a loopback address")]
    BankBeyondLoopback,
    /// Test controls must not be reachable by others.
    #[error("--sim and --demo are for loopback only, without --behind-proxy and without a public --public-url")]
    NotForOthers,
}

impl Config {
    /// A server on a free loopback port with the simulated bank.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            sim: false,
            demo: false,
            bank: None,
            bank_listen: None,
            tls: None,
            behind_proxy: false,
            metrics_key: None,
            public_url: None,
            merchant_id: None,
            merchant_name: None,
            limits: Limits::default(),
            // Longer than a call to the bank can take, and not much longer than a restart may keep one waiting.
            policy: domain::Config { lease: Duration::from_secs(15), ..domain::Config::default() },
            workers: 8,
        }
    }

    /// Whether this may be run.
    ///
    /// # Errors
    /// [`RuleError`], the first rule that is broken.
    pub fn check(&self) -> Result<(), RuleError> {
        let loopback = self.listen.ip().is_loopback();
        let public = |url: &String| !url.starts_with("http://");
        if (self.sim || self.demo) && (!loopback || self.behind_proxy || self.public_url.as_ref().is_some_and(public)) {
            return Err(RuleError::NotForOthers);
        }
        if self.bank_listen.is_some_and(|bank| !bank.ip().is_loopback()) {
            return Err(RuleError::BankBeyondLoopback);
        }
        if self.behind_proxy && self.public_url.is_none() {
            return Err(RuleError::NoPublicUrl);
        }
        if !loopback && self.tls.is_none() && !self.behind_proxy {
            return Err(RuleError::PlainBeyondLoopback);
        }
        match &self.public_url {
            Some(url) if check_url(url).is_err() => Err(RuleError::PublicUrl),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listen: &str) -> Config {
        Config { listen: listen.parse().unwrap(), ..Config::new("unused") }
    }

    #[test]
    fn beyond_loopback_needs_tls_or_a_proxy() {
        let tls = || Some(TlsFiles { certificate: "c".into(), key: "k".into() });
        let url = || Some("https://pay.example".to_owned());
        assert_eq!(config("127.0.0.1:0").check(), Ok(()));
        assert_eq!(config("[::1]:0").check(), Ok(()));
        let open = config("0.0.0.0:0");
        assert_eq!(open.check(), Err(RuleError::PlainBeyondLoopback));
        assert_eq!(Config { tls: tls(), ..open.clone() }.check(), Ok(()));
        assert_eq!(Config { behind_proxy: true, ..open.clone() }.check(), Err(RuleError::NoPublicUrl));
        assert_eq!(Config { behind_proxy: true, public_url: url(), ..open.clone() }.check(), Ok(()));
        let plain = Some("http://pay.example".to_owned());
        assert_eq!(Config { behind_proxy: true, public_url: plain, ..open }.check(), Err(RuleError::PublicUrl));
    }

    #[test]
    fn test_controls_stay_on_loopback() {
        let tls = || Some(TlsFiles { certificate: "c".into(), key: "k".into() });
        for sim in [true, false] {
            let open = Config { sim, demo: !sim, tls: tls(), ..config("0.0.0.0:0") };
            assert_eq!(open.check(), Err(RuleError::NotForOthers));
            let proxied = Config {
                sim,
                demo: !sim,
                behind_proxy: true,
                public_url: Some("https://pay.example".into()),
                ..config("127.0.0.1:0")
            };
            assert_eq!(proxied.check(), Err(RuleError::NotForOthers));
            let told =
                Config { sim, demo: !sim, public_url: Some("https://pay.example".into()), ..config("127.0.0.1:0") };
            assert_eq!(told.check(), Err(RuleError::NotForOthers));
            let here = Config { public_url: Some("http://127.0.0.1:8080".into()), ..told };
            assert_eq!(here.check(), Ok(()));
            assert_eq!(Config { sim, demo: !sim, ..config("127.0.0.1:0") }.check(), Ok(()));
        }
    }
}
