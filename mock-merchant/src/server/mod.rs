//! The server as a library: tests and examples start it in their process, the binary in its own.

pub mod bank;
pub(crate) mod callbacks;
mod channels;
pub mod config;
pub mod connection;
mod deliver;
pub mod limits;
mod messages;
mod notices;
pub mod tls;
pub mod under_way;
pub mod waiters;
mod watch;
mod work;

pub use config::{BankTarget, Config, RuleError, TlsFiles};
pub use limits::{Limits, Rate};

use crate::api::{self, App, app::Parts};
use crate::bank::BankError;
use crate::bank::client::{BankClient, BankSettings};
use crate::channel::settings::Settings;
use crate::channel::test::TestChannel;
use crate::clock::Clock;
use crate::demo;
use crate::domain::Core;
use crate::domain::notices::Site;
use crate::failure::Failure;
use crate::folder::{Folder, FolderError, Opening, ServerFile, clock};
use crate::notify::{TransportError, Transports};
use crate::random::NoRandomness;
use crate::sim::Faults;
use crate::store::contacts::Medium;
use crate::store::{StoreError, Tx, Writer, checkpoint, devices};
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use bank::SimulatedBank;
use callbacks::Callbacks;
use connection::Acceptor;
use hyper_util::rt::TokioTimer;
use messages::Webhooks;
use notices::Notices;
use rusqlite::Connection;
use rustls::pki_types::CertificateDer;
use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::{Notify, watch as channel};
use tokio::task::JoinHandle;
use walkpay::protocol::crypto::sha256;
use walkpay::{MerchantId, Timestamp, WalkpayError};

/// How long a call to the bank may take.
const BANK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last tasks and threads get to end.
const END: Duration = Duration::from_secs(20);

/// Why a server did not start. What had been started is stopped again.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A rule of deployment is broken.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The demo store could not be seeded.
    #[error("the demo store cannot be seeded: {0}")]
    Seed(#[from] Failure),
    /// The demo store's files are damaged.
    #[error("the demo store cannot be seeded: {0}")]
    Demo(String),
    /// The simulated bank's book cannot be used.
    #[error("the simulated bank: {0}")]
    Bank(#[from] BankError),
    /// The address of the bank cannot be used, or keys cannot.
    #[error(transparent)]
    Walkpay(#[from] WalkpayError),
    /// A way to payers cannot be used.
    #[error("notices: {0}")]
    Notify(#[from] TransportError),
    /// Certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// Nothing can listen there.
    #[error("cannot listen at {address}: {cause}. Choose another address or port 0")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The system gives no randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// A payment system that listens.
pub struct Server;

impl Server {
    /// Starts a server and gives it back once it answers.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is left running.
    pub async fn start(config: Config) -> Result<Running, ServerError> {
        config.check()?;
        let lock = Folder::lock(&config.data)?;
        let clock = clock(&config.data, config.sim)?;
        let opening = Opening {
            data: config.data.clone(),
            sim: config.sim,
            merchant_id: config.merchant_id.clone().or_else(|| demo::merchant_id(config.demo)),
            merchant_name: config.merchant_name.clone().or_else(|| demo::merchant_name(config.demo)),
            serving: true,
        };
        let mut policy = config.policy.clone();
        let settings = Settings::load(config.channels.as_deref(), &config.data, config.sim)?;
        settings.apply(&mut policy);
        if config.sim {
            policy.channels.push(TestChannel::identity());
        }
        let (folder, connection, core) = Folder::open(&opening, policy, clock.now())?;
        let faults = config.sim.then(Faults::default);
        let listener = Listener::bind(&config)?;
        let simulated = match &config.bank {
            Some(_) => None,
            None => Some(bank::start(&folder, config.bank_listen, clock.clone(), faults.as_ref()).await?),
        };
        let prepared = Prepared { settings, config, lock, clock, folder, connection, core, faults, listener };
        match prepared.start(simulated.as_ref()).await {
            Ok(running) => Ok(Running { simulated, ..running }),
            Err(e) => {
                if let Some(bank) = simulated {
                    bank.shutdown().await;
                }
                Err(e)
            }
        }
    }
}

struct Prepared {
    config: Config,
    settings: Settings,
    lock: File,
    clock: Clock,
    folder: Folder,
    connection: Connection,
    core: Core,
    faults: Option<Faults>,
    listener: Listener,
}

impl Prepared {
    async fn start(self, simulated: Option<&SimulatedBank>) -> Result<Running, ServerError> {
        let Self { config, settings, lock, clock, folder, connection, core, faults, listener } = self;
        let url = config.public_url.clone().unwrap_or_else(|| listener.url());
        let url = url.trim_end_matches('/').to_owned();
        let (demo, holder) = match (config.demo, simulated) {
            (true, Some(bank)) => {
                let (demo, holder) = demo::seed(&connection, &core, &clock, bank, &url, config.sim).await?;
                (Some(demo), Some(holder))
            }
            (true, None) => return Err(ServerError::Demo("--demo needs the simulated bank: leave --bank away".into())),
            (false, _) => (None, None),
        };
        let target = match (&config.bank, simulated) {
            (Some(bank), _) => bank.clone(),
            (None, Some(bank)) => BankTarget { url: bank.url.clone(), api_key: bank.api_key.clone() },
            (None, None) => return Err(ServerError::Demo("no bank".into())),
        };
        let client = BankClient::new(&BankSettings {
            base: target.url,
            api_key: target.api_key,
            timeout: BANK_TIMEOUT,
            extra_roots: Vec::new(),
        })?;
        let callbacks = Callbacks::new(config.limits.callback_time)?;
        let transports = Arc::new(Transports::new(&config.notify, &config.data)?);
        let (channels, gateways) = channels::assemble(&channels::Parts {
            folder: &folder,
            faults: faults.as_ref(),
            settings: &settings,
            clock: &clock,
            listening: &listener.url(),
            public: &url,
            roots: &own_roots(&config)?,
        })?;
        let (stop, stopping) = channel::channel(false);
        let (waiters, kick) = (Arc::<waiters::Waiters>::default(), Arc::<Notify>::default());
        let not_before = served_since(&connection, &clock)?;
        let woken = waiters.clone();
        let (writer, writer_thread) = Writer::start(connection, move |devices| woken.wake(devices))?;
        let app = Arc::new(App::new(Parts {
            merchant_id: folder.merchant_id().clone(),
            core: Arc::new(core),
            writer,
            readers: Arc::new(folder.readers()),
            clock,
            limits: config.limits.clone(),
            sim: faults,
            channels,
            gateways,
            behind_proxy: config.behind_proxy,
            metrics_key: config.metrics_key.as_ref().map(|key| sha256(key.as_bytes())),
            waiters,
            kick,
            stopping,
            not_before,
        }));
        if let Some(holder) = holder {
            let _set_once = app.holder.set(holder);
        }
        let file = ServerFile { url: url.clone(), bank_url: simulated.map(|b| b.url.clone()) };
        folder.write("server.json", &file)?;
        let folder = Arc::new(folder);
        let site = Arc::new(Site { url: url.clone() });
        let outbox = |medium| {
            let notices = Notices { medium, site: site.clone(), transports: transports.clone() };
            deliver::supervise(app.clone(), notices)
        };
        let tasks = vec![
            work::supervise(app.clone(), client, config.workers),
            deliver::supervise(app.clone(), Webhooks(Arc::new(callbacks))),
            outbox(Medium::Email),
            outbox(Medium::Sms),
            outbox(Medium::Voice),
            watch::supervise(app.clone(), folder.clone()),
            channels::supervise(app.clone()),
            channels::supervise_gateways(app.clone()),
        ];
        let (listening, handle) = (listener.url(), Handle::new());
        let server = listener.serve(app.clone(), handle.clone());
        handle.listening().await;
        Ok(Running {
            url: listening,
            public_url: url,
            bank_url: file.bank_url,
            demo,
            merchant_id: folder.merchant_id().clone(),
            app,
            folder,
            stop,
            handle,
            server,
            tasks,
            writer_thread,
            simulated: None,
            drain: config.limits.drain,
            _lock: lock,
        })
    }
}

/// A server that answers. Dropping it leaves it running until the runtime ends; [`Running::shutdown`] ends it in order.
pub struct Running {
    /// Where it listens.
    pub url: String,
    /// How terminals reach it.
    pub public_url: String,
    /// Where the simulated bank listens, if it is the one in use.
    pub bank_url: Option<String>,
    /// With `--demo`: whom the store knows, and how to enrol.
    pub demo: Option<demo::Demo>,
    /// The merchant.
    pub merchant_id: MerchantId,
    app: Arc<App>,
    folder: Arc<Folder>,
    stop: channel::Sender<bool>,
    handle: Handle<SocketAddr>,
    server: JoinHandle<std::io::Result<()>>,
    tasks: Vec<JoinHandle<()>>,
    writer_thread: thread::JoinHandle<()>,
    simulated: Option<SimulatedBank>,
    drain: Duration,
    _lock: File,
}

impl Running {
    /// What the handlers share: for programs that run the server in their process.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The simulated bank, if it is the one in use: to open accounts.
    pub fn bank(&self) -> Option<&crate::bank::BankService> {
        self.simulated.as_ref().map(|bank| &bank.service)
    }

    /// Ends the server: polls are answered, open requests get their time, calls to the bank that have begun are settled, the
    /// database is closed.
    pub async fn shutdown(self) {
        let Self { app, folder, stop, handle, mut server, tasks, writer_thread, simulated, drain, .. } = self;
        stop.send_replace(true);
        folder.remove("server.json");
        loop {
            // Said again until it is heard: a connection that is just being accepted can miss the first call.
            handle.graceful_shutdown(Some(drain));
            match tokio::time::timeout(Duration::from_millis(200), &mut server).await {
                Ok(Ok(Ok(()))) => break,
                Ok(Ok(Err(e))) => {
                    tracing::error!(error = %e, "the listener ended badly");
                    break;
                }
                Ok(Err(e)) => {
                    tracing::error!(error = %e, "the listener ended badly");
                    break;
                }
                Err(_) => {}
            }
        }
        for task in tasks {
            if tokio::time::timeout(END, task).await.is_err() {
                tracing::warn!("a call to the bank was left open: it is taken up at the next start");
            }
        }
        if let Some(bank) = simulated {
            bank.shutdown().await;
        }
        drop(app);
        let joined = tokio::task::spawn_blocking(move || writer_thread.join());
        match tokio::time::timeout(END, joined).await {
            Ok(Ok(Ok(()))) => {}
            _ => tracing::warn!("the writer did not end in time; what was answered is on disk"),
        }
        let checkpointed =
            tokio::task::spawn_blocking(move || Ok::<_, FolderError>(checkpoint(&folder.connection()?)?));
        match checkpointed.await {
            Ok(Ok(())) => tracing::info!("stopped"),
            Ok(Err(e)) => tracing::warn!(error = %e, "stopped without a checkpoint"),
            Err(e) => tracing::warn!(error = %e, "stopped without a checkpoint"),
        }
    }
}

/// In a simulation the server calls itself, and trusts its own certificate.
fn own_roots(config: &Config) -> Result<Vec<CertificateDer<'static>>, ServerError> {
    match &config.tls {
        Some(files) if config.sim => Ok(tls::chain(files)?),
        _ => Ok(Vec::new()),
    }
}

/// Ends when the server is to stop, or nobody is left who could say so.
pub(crate) async fn stopped(stopping: &mut channel::Receiver<bool>) {
    let _nobody_left = stopping.wait_for(|stop| *stop).await.is_err();
}

/// Request signatures that are older than this are refused: those from before this start could be replays of what an earlier
/// run has seen. A database that has never had a device has seen none.
fn served_since(connection: &Connection, clock: &Clock) -> Result<Timestamp, ServerError> {
    let devices = Tx::read(connection, |tx| Ok(devices::in_use(tx)?))?;
    Ok(if devices.is_empty() { Timestamp::from_millis(0) } else { clock.now() })
}

struct Listener {
    socket: std::net::TcpListener,
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
    limits: Limits,
}

impl Listener {
    fn bind(config: &Config) -> Result<Self, ServerError> {
        let failed = |cause| ServerError::Listen { address: config.listen.to_string(), cause };
        let tls = config.tls.as_ref().map(tls::load).transpose()?;
        let socket = std::net::TcpListener::bind(config.listen).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address, tls, limits: config.limits.clone() })
    }

    fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    fn serve(self, app: Arc<App>, handle: Handle<SocketAddr>) -> JoinHandle<std::io::Result<()>> {
        tokio::spawn(async move {
            let service = api::router(app).into_make_service_with_connect_info::<SocketAddr>();
            let mut server = axum_server::from_tcp(self.socket)?.handle(handle);
            let builder = server.http_builder();
            builder
                .http1()
                .timer(TokioTimer::new())
                .header_read_timeout(self.limits.header_time)
                .max_headers(self.limits.headers)
                .max_buf_size(self.limits.header_bytes.max(8192));
            builder
                .http2()
                .timer(TokioTimer::new())
                .max_concurrent_streams(128)
                .keep_alive_interval(Duration::from_secs(30))
                .max_header_list_size(u32::try_from(self.limits.header_bytes).unwrap_or(u32::MAX));
            let acceptor = Acceptor::new(self.limits.connections);
            match self.tls {
                None => server.acceptor(acceptor).serve(service).await,
                Some(tls) => {
                    let rustls = RustlsAcceptor::new(RustlsConfig::from_config(tls)).acceptor(acceptor);
                    server.acceptor(rustls).serve(service).await
                }
            }
        })
    }
}
