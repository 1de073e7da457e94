//! The simulated bank beside the server: its own listener, its own file.

use super::{ServerError, stopped};
use crate::bank::server::{ServiceSettings, router};
use crate::bank::{Bank, BankService};
use crate::clock::Clock;
use crate::folder::{BankFile, Folder};
use crate::random;
use crate::sim::Faults;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use walkpay::protocol::crypto::base64url;

/// How often the bank looks for holds whose time is over.
const TICK: Duration = Duration::from_secs(1);

/// The simulated bank while it runs.
pub struct SimulatedBank {
    /// Where it listens.
    pub url: String,
    /// The merchant's API key.
    pub api_key: String,
    /// The bank itself, to open accounts.
    pub service: BankService,
    stop: watch::Sender<bool>,
    tasks: [JoinHandle<()>; 2],
}

/// Starts the bank of the folder: at the address given, at the port it had last, or at a free one.
///
/// # Errors
/// [`ServerError`].
pub async fn start(
    folder: &Folder,
    listen: Option<SocketAddr>,
    clock: Clock,
    sim: Option<&Faults>,
) -> Result<SimulatedBank, ServerError> {
    let last: Option<BankFile> = folder.read("bank.json")?;
    let listener = bind(listen, last.as_ref().map(|b| b.port)).await?;
    let address = listener.local_addr().map_err(|cause| ServerError::Listen { address: "bank".into(), cause })?;
    let api_key = match last {
        Some(bank) => bank.api_key,
        None => base64url(&random::bytes::<32>()?),
    };
    folder.write("bank.json", &BankFile { port: address.port(), api_key: api_key.clone() })?;
    let mut bank = Bank::open(&folder.file("bank.db"))?;
    bank.register_merchant(folder.merchant_id(), &api_key)?;
    let settings = ServiceSettings {
        faults: sim.map(Faults::of_bank).unwrap_or_default(),
        show_book: sim.is_some(),
        ..ServiceSettings::new(Arc::new(move || clock.now()))
    };
    let service = BankService::new(bank, settings);
    let (stop, stopping) = watch::channel(false);
    let tasks = [serve(listener, service.clone(), stopping.clone()), tick(service.clone(), stopping)];
    Ok(SimulatedBank { url: format!("http://{address}"), api_key, service, stop, tasks })
}

impl SimulatedBank {
    /// Ends the bank once its open requests are answered.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(e) = task.await {
                tracing::error!(error = %e, "the bank ended badly");
            }
        }
    }
}

async fn bind(asked: Option<SocketAddr>, last: Option<u16>) -> Result<TcpListener, ServerError> {
    let failed = |address: SocketAddr| move |cause| ServerError::Listen { address: address.to_string(), cause };
    if let Some(address) = asked {
        return TcpListener::bind(address).await.map_err(failed(address));
    }
    if let Some(port) = last
        && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
    {
        return Ok(listener);
    }
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    TcpListener::bind(free).await.map_err(failed(free))
}

fn serve(listener: TcpListener, service: BankService, mut stopping: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let stop = async move { stopped(&mut stopping).await };
        if let Err(e) = axum::serve(listener, router(service)).with_graceful_shutdown(stop).await {
            tracing::error!(error = %e, "the bank's listener ended");
        }
    })
}

fn tick(service: BankService, mut stopping: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if let Err(e) = service.with(|bank, now| bank.expire_due(now)).await {
                        tracing::error!(error = %e, "the bank cannot free expired holds");
                    }
                }
                () = stopped(&mut stopping) => return,
            }
        }
    })
}
