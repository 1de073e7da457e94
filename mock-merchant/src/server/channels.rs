//! The payment channels of a running server, and the simulated one's notifications.

use super::{ServerError, stopped};
use crate::api::{App, channel::receive};
use crate::channel::test::TestChannel;
use crate::channel::{Channel, Channels};
use crate::folder::Folder;
use crate::random;
use crate::sim::Faults;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use walkpay::protocol::document::PaymentMethod;

/// How often the simulated channel looks for what is to be notified.
const TICK: Duration = Duration::from_millis(50);

/// The channels of a simulation.
///
/// # Errors
/// [`ServerError`].
pub fn simulated(folder: &Folder, faults: &Faults) -> Result<Channels, ServerError> {
    let file = folder.file("test-channel.json");
    let channel = TestChannel::open(&file, random::bytes()?, faults.of_channel())?;
    Ok(Channels::new(vec![Channel::Test(channel)]))
}

/// Has the simulated channel notify until the server stops. What is refused is lost, as every channel gives up some day: the
/// merchant asks by itself.
pub fn supervise(app: Arc<App>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let Some(channel) = app.channels.test().cloned() else { return };
        let mut stopping = app.stopping.clone();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stopped(&mut stopping) => return,
            }
            for body in channel.notifications(app.clock.now()) {
                if let Err(refusal) = receive(&app, PaymentMethod::Test, body.as_bytes()).await {
                    tracing::warn!(code = refusal.code.code(), "a notification of the simulated channel was refused");
                }
            }
        }
    })
}
