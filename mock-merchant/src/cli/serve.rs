//! `serve`.

use super::{CliError, Common, qr};
use crate::notify::settings::Settings;
use crate::server::{BankTarget, Config, Limits, Rate, Running, Server, TlsFiles};
use clap::Args;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How to run the payment system.
#[derive(Args)]
pub struct Serve {
    /// Where to listen; port 0 takes a free one. Beyond loopback only with TLS or --behind-proxy.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Seed the demo store and its users, and print a user and an enrolment code whose device confirms itself. Loopback only.
    ///
    /// After the line `listening on URL` come `user: NAME` and `enrolment code: TEXT`, and the code as a QR code unless --no-qr.
    #[arg(long)]
    demo: bool,
    /// Leave the QR code of --demo away.
    #[arg(long, requires = "demo")]
    no_qr: bool,
    /// The bank; without it, a simulated bank is started on loopback, with a book of its own in the data folder.
    #[arg(long, value_name = "URL", requires = "bank_key_file")]
    bank: Option<String>,
    /// A file with the merchant's API key at the bank.
    #[arg(long, value_name = "FILE", requires = "bank")]
    bank_key_file: Option<PathBuf>,
    /// Where the simulated bank listens, on loopback; without it, at its last port or a free one.
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "bank")]
    bank_listen: Option<SocketAddr>,
    /// The payment channels in use (docs/channels.md); without it channels.json in the data folder, if it is there.
    #[arg(long, value_name = "FILE")]
    channels: Option<PathBuf>,
    /// The certificate chain (PEM, the server's own first), to serve https.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// TLS ends at a proxy that alone can reach this server, and that appends the caller's address to X-Forwarded-For.
    #[arg(long, conflicts_with = "tls_cert")]
    behind_proxy: bool,
    /// How terminals reach the server, where that is not as it listens: goes into enrolment codes.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// What carries notices to payers away: a JSON file that names a mail server, Kannel, a SIP gateway (docs/notices.md).
    ///
    /// Without it, or for a channel that it does not name, every message becomes a file below `outbox` in the data folder.
    #[arg(long, value_name = "FILE")]
    notify: Option<PathBuf>,
    /// Requests per second of one device; four times as many may come at once after a pause.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    device_rate: u32,
    /// Requests per second of one network address; twice as many may come at once after a pause.
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    address_rate: u32,
    /// Documents of one device in a day: baskets, holds, cancellations, key rotations.
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    device_documents: u32,
    /// A file with the bearer token that lets a collector on another machine read /metrics; without it, only this machine can.
    #[arg(long, value_name = "FILE")]
    metrics_key_file: Option<PathBuf>,
    /// Seconds that a request's body may take to arrive.
    #[arg(long, default_value_t = 15, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    body_seconds: u64,
    /// Of 1,000 baskets that could be accepted, how many staff check first.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    spot_checks: u32,
}

impl Serve {
    /// Runs the server until a signal ends it.
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let no_qr = self.no_qr;
        let config = self.config(common)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|cause| CliError::File { path: "runtime".into(), cause })?;
        runtime.block_on(async {
            let mut signals = Signals::new()?;
            let running = Server::start(config).await?;
            announce(&running, no_qr)?;
            signals.wait().await;
            running.shutdown().await;
            Ok(())
        })
    }

    fn config(self, common: &Common) -> Result<Config, CliError> {
        let bank = match (self.bank, self.bank_key_file) {
            (Some(url), Some(path)) => {
                let key = std::fs::read_to_string(&path).map_err(|cause| CliError::File { path, cause })?;
                Some(BankTarget { url, api_key: key.trim().to_owned() })
            }
            _ => None,
        };
        let metrics_key = match self.metrics_key_file {
            Some(path) => Some(std::fs::read_to_string(&path).map_err(|cause| CliError::File { path, cause })?),
            None => None,
        };
        let metrics_key = metrics_key.map(|key| key.trim().to_owned());
        if metrics_key.as_ref().is_some_and(|key| key.len() < 16) {
            return Err(CliError::Other("--metrics-key-file: expected a key of 16 characters or more".to_owned()));
        }
        let mut config = Config {
            listen: self.listen,
            sim: common.sim,
            demo: self.demo,
            bank,
            bank_listen: self.bank_listen,
            tls: self.tls_cert.zip(self.tls_key).map(|(certificate, key)| TlsFiles { certificate, key }),
            behind_proxy: self.behind_proxy,
            metrics_key,
            public_url: self.public_url,
            merchant_id: common.merchant_id.clone(),
            merchant_name: common.merchant_name.clone(),
            channels: self.channels,
            notify: self.notify.as_deref().map(Settings::load).transpose()?.unwrap_or_default(),
            limits: Limits {
                per_device: Rate { burst: self.device_rate.saturating_mul(4), ..rate(self.device_rate) },
                documents_per_day: self.device_documents,
                per_address: rate(self.address_rate),
                body_time: Duration::from_secs(self.body_seconds),
                ..Limits::default()
            },
            ..Config::new(&common.data)
        };
        config.policy.spot_check_per_mille = self.spot_checks;
        Ok(config)
    }
}

fn rate(per_second: u32) -> Rate {
    Rate { per_second, burst: per_second.saturating_mul(2) }
}

/// The one line that programs wait for; with `--demo`, what a terminal needs.
fn announce(running: &Running, no_qr: bool) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    let mut text = format!("listening on {}\n", running.url);
    if let Some(demo) = &running.demo {
        text.push_str(&format!("user: {}\nenrolment code: {}\n", demo.user, demo.code));
        if !no_qr {
            text.push_str(&qr(&demo.code)?);
        }
    }
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|cause| CliError::File { path: "standard output".into(), cause })
}

/// SIGTERM and SIGINT, taken over before the server starts: none gets lost.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Self, CliError> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |cause| CliError::File { path: "signals".into(), cause };
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Result<Self, CliError> {
        Ok(Self)
    }

    async fn wait(&mut self) {
        if let Err(e) = tokio::signal::ctrl_c().await {
            tracing::error!(error = %e, "Ctrl-C cannot be waited for");
        }
    }
}
