//! The payment channels of a running server, and the simulated one's notifications.

use super::{ServerError, stopped};
use crate::api::{App, channel::receive};
use crate::channel::gateways::Gateways;
use crate::channel::port::Notification;
use crate::channel::test::TestChannel;
use crate::channel::{Channel, Channels};
use crate::folder::Folder;
use crate::random;
use crate::sim::Faults;
use axum::http::HeaderMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use walkpay::protocol::document::PaymentMethod;

/// How often the simulated channel looks for what is to be notified.
const TICK: Duration = Duration::from_millis(50);

/// The channels that are in use, and the gateways that are simulated.
///
/// # Errors
/// [`ServerError`].
pub fn assemble(folder: &Folder, faults: Option<&Faults>) -> Result<(Channels, Gateways), ServerError> {
    let mut channels = Vec::new();
    if let Some(faults) = faults {
        let test = TestChannel::open(&folder.file("test-channel.json"), random::bytes()?, faults.of_channel())?;
        channels.push(Channel::Test(test));
    }
    Ok((Channels::new(channels), Gateways::default()))
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
                if let Err(refusal) = receive(
                    &app,
                    PaymentMethod::Test,
                    &Notification { headers: &HeaderMap::new(), body: body.as_bytes() },
                )
                .await
                {
                    tracing::warn!(code = refusal.code.code(), "a notification of the simulated channel was refused");
                }
            }
        }
    })
}

/// Has the simulated gateways deliver their notifications until the server stops: over HTTP, as anybody's.
pub fn supervise_gateways(app: Arc<App>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut each = JoinSet::new();
        for gateway in app.gateways.each().cloned() {
            let mut stopping = app.stopping.clone();
            each.spawn(async move {
                let mut ticks = interval(TICK);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        _ = ticks.tick() => {}
                        () = stopped(&mut stopping) => return,
                    }
                    tokio::select! {
                        () = gateway.deliver() => {}
                        () = stopped(&mut stopping) => return,
                    }
                }
            });
        }
        while each.join_next().await.is_some() {}
    })
}
