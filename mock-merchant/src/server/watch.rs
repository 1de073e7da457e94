//! What keeps a running server in step with other processes: command lines change the database and the keys too.

use super::stopped;
use crate::api::App;
use crate::folder::{ClockFile, Folder, FolderError};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use walkpay::Timestamp;

/// How long before the end of a key the log says so.
const KEYS_SOON: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often it does.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a change by another process can go unnoticed.
const TICK: Duration = Duration::from_millis(200);

/// Looks for changes by other processes, and keeps the offset of a simulation's clock, until the server stops.
pub fn supervise(app: Arc<App>, folder: Arc<Folder>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut stopping = app.stopping.clone();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = Seen { version: None, offset_ms: app.clock.offset_millis(), warned: None };
        loop {
            tokio::select! {
                _ = ticks.tick() => seen.look(&app, &folder).await,
                () = stopped(&mut stopping) => return,
            }
        }
    })
}

struct Seen {
    version: Option<i64>,
    offset_ms: i64,
    warned: Option<Timestamp>,
}

impl Seen {
    async fn look(&mut self, app: &App, folder: &Arc<Folder>) {
        self.warn_of_keys(app);
        // On the writer's own connection the number changes only with commits of other connections.
        match app.writer.submit(|tx| Ok(tx.data_version()?)).await {
            Ok(version) => {
                if self.version.replace(version).is_some_and(|before| before != version) {
                    refresh(app, folder).await;
                }
            }
            Err(e) => tracing::warn!(error = %e, "cannot look for changes"),
        }
        let offset_ms = app.clock.offset_millis();
        if app.sim.is_some() && offset_ms != self.offset_ms {
            let folder = folder.clone();
            match blocking(move || folder.write("clock.json", &ClockFile { offset_ms })).await {
                Ok(()) => self.offset_ms = offset_ms,
                Err(e) => tracing::warn!(error = %e, "cannot keep the clock's offset"),
            }
        }
    }
}

impl Seen {
    /// Says once a day that keys will soon be over: nobody notices before that everything stops.
    fn warn_of_keys(&mut self, app: &App) {
        let (now, until) = (app.clock.now(), app.core.keys().lasts_until());
        if until.since(now) < KEYS_SOON && self.warned.is_none_or(|at| now.since(at) >= DAY) {
            tracing::warn!(%until, "a key of the merchant will be over: rotate the keys (`keys rotate`)");
            self.warned = Some(now);
        }
    }
}

async fn refresh(app: &App, folder: &Arc<Folder>) {
    app.forget_keys();
    let folder = folder.clone();
    match blocking(move || folder.keys()).await {
        Ok(keys) if keys.seq() > app.core.keys().seq() => {
            tracing::info!(seq = keys.seq(), "new keys are in use");
            app.core.set_keys(keys);
        }
        Ok(_) => {}
        Err(e) => tracing::warn!(error = %e, "cannot read the keys again"),
    }
    app.waiters.wake_all();
    app.kick.notify_one();
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T, FolderError> + Send + 'static) -> Result<T, String> {
    match tokio::task::spawn_blocking(f).await {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    }
}
