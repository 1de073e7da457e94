//! What is under way to others and back. A simulation moves its clock between such calls: otherwise whoever moves it in
//! large steps on a slow machine makes every answer late.

use crate::api::App;
use crate::store::contacts::Medium;
use crate::worker::{self, deliveries, notices};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::time::{Instant, sleep, timeout_at};

/// How long a simulation waits for calls that do not end.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause before another look.
const PAUSE: Duration = Duration::from_millis(2);

/// What is under way.
#[derive(Clone, Default)]
pub struct UnderWay(Arc<RwLock<()>>);

/// Something under way, for as long as this is kept.
pub type Errand = OwnedRwLockReadGuard<()>;

/// Nothing is under way, for as long as this is kept.
pub type Standstill = OwnedRwLockWriteGuard<()>;

impl UnderWay {
    /// Before something is taken from the book, to be kept until its outcome is settled.
    pub async fn begin(&self) -> Errand {
        self.0.clone().read_owned().await
    }
}

impl App {
    /// Waits until what is due has been done and nothing is under way, but not for ever: what hangs is left behind.
    pub async fn standstill(&self) -> Option<Standstill> {
        let end = Instant::now() + PATIENCE;
        while let Ok(still) = timeout_at(end, self.under_way.0.clone().write_owned()).await {
            if Instant::now() >= end || !self.something_is_due().await {
                return Some(still);
            }
            drop(still);
            self.kick.notify_one();
            self.written();
            sleep(PAUSE).await;
        }
        None
    }

    async fn something_is_due(&self) -> bool {
        let Ok(ctx) = self.ctx() else { return false };
        let now = ctx.now;
        let earliest = self.read(move |tx| {
            let mut due = worker::next_due(tx, &ctx)?;
            for other in [
                deliveries::next_due(tx)?,
                notices::next_due(tx, Medium::Email)?,
                notices::next_due(tx, Medium::Sms)?,
                notices::next_due(tx, Medium::Voice)?,
            ] {
                due = other.map_or(due, |other| other.min(due));
            }
            Ok(due)
        });
        earliest.await.is_ok_and(|due| due <= now)
    }
}
