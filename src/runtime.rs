//! What carries a session out: one thread per terminal that owns journal and state, and one pool for everything that
//! waits.
//!
//! A command is two hops: to the thread, where it is decided, journalled, folded and answered, and back. Either side looks out for
//! the other for a quarter of a millisecond before it sleeps, since waking up takes longer than most commands, and leaves that off where it
//! has not paid lately; whoever polls a call's future is held up no longer than that, however slow the disk is. What is due goes to the pool; its answer comes back as another
//! message. Dropping a future never undoes or repeats a step: the thread has the command already.

mod ask;
mod enrol;
mod pass;
mod reach;
mod shelf;
mod sign;
mod sync;
mod thread;
mod transmit;
mod worker;

pub(crate) use ask::{balance, order, orders, refresh_slip, totals};
pub(crate) use enrol::enrol;
pub(crate) use pass::{PassToShow, show_pass};
pub(crate) use shelf::Priced;
pub(crate) use sign::{attach, rotate, two_steps};
pub(crate) use sync::sync_catalogue;
pub(crate) use thread::{Handle, Setup, open};
pub(crate) use worker::Worker;

use crate::error::WalkpayError;
use std::future::Future;
use std::sync::OnceLock;
use tokio::runtime::{Builder, Runtime};

/// The process's pool: two workers, made once and never dropped (dropping a runtime inside another one panics).
///
/// # Errors
/// [`WalkpayError::Internal`] when the system gives no threads.
pub(crate) fn pool() -> Result<&'static Runtime, WalkpayError> {
    static POOL: OnceLock<Runtime> = OnceLock::new();
    if let Some(pool) = POOL.get() {
        return Ok(pool);
    }
    let made = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("walkpay-pool")
        .enable_all()
        .build()
        .map_err(|e| WalkpayError::Internal { detail: format!("no threads for the pool: {e}") })?;
    // Whoever comes second drops a runtime that nothing ever ran on, in a place where that is allowed.
    let _ = POOL.set(made).map_err(Runtime::shutdown_background);
    POOL.get().ok_or_else(|| WalkpayError::Internal { detail: "no pool".into() })
}

/// Runs `work` on the pool to its end, also when the returned future is dropped.
///
/// # Errors
/// Those of `work`; [`WalkpayError::Internal`] when it panicked.
pub(crate) async fn on_pool<T: Send + 'static>(
    work: impl Future<Output = Result<T, WalkpayError>> + Send + 'static,
) -> Result<T, WalkpayError> {
    pool()?.spawn(work).await.map_err(|e| WalkpayError::Internal { detail: format!("a step broke off: {e}") })?
}

/// Runs `work` where waiting is fine.
///
/// # Errors
/// Those of `work`; [`WalkpayError::Internal`] when it panicked.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WalkpayError> + Send + 'static,
) -> Result<T, WalkpayError> {
    pool()?
        .spawn_blocking(work)
        .await
        .map_err(|e| WalkpayError::Internal { detail: format!("a step broke off: {e}") })?
}
