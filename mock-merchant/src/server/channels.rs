//! The payment channels of a running server, and the simulated one's notifications.

use super::{ServerError, stopped};
use crate::api::{App, channel::receive};
use crate::channel::alipay::sim::Simulator;
use crate::channel::alipay::{self, AlipayChannel};
use crate::channel::gateways::{Gateway, Gateways};
use crate::channel::http::Http;
use crate::channel::port::Notification;
use crate::channel::rsa_key::{RsaKey, RsaPublic};
use crate::channel::settings::Settings;
use crate::channel::test::TestChannel;
use crate::channel::wechat::sim::{PREFIX, TenpayGateway};
use crate::channel::wechat::{self, Access, WechatPay};
use crate::channel::{Channel, Channels};
use crate::clock::Clock;
use crate::folder::Folder;
use crate::random;
use crate::sim::Faults;
use axum::http::HeaderMap;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use walkpay::protocol::document::PaymentMethod;

/// How often the simulated channel looks for what is to be notified.
const TICK: Duration = Duration::from_millis(50);

/// How long the simulated WeChat Pay waits for the answer to a notification.
const TENPAY_PATIENCE: Duration = Duration::from_secs(5);

/// What the channels of a server are made of.
pub struct Parts<'a> {
    /// The data folder.
    pub folder: &'a Folder,
    /// With `--sim`: the faults that are armed.
    pub faults: Option<&'a Faults>,
    /// Which channels.
    pub settings: &'a Settings,
    /// Merchant time, which simulated gateways share.
    pub clock: &'a Clock,
    /// Where this server listens.
    pub listening: &'a str,
    /// How others reach it.
    pub public: &'a str,
    /// Certificates that are trusted beside the public ones: this server's own, in a simulation.
    pub roots: &'a [CertificateDer<'static>],
}

/// The channels that are in use, and the gateways that are simulated.
///
/// # Errors
/// [`ServerError`].
pub fn assemble(parts: &Parts<'_>) -> Result<(Channels, Gateways), ServerError> {
    let mut channels = Vec::new();
    let mut gateways = Vec::<Arc<dyn Gateway>>::new();
    if let Some(faults) = parts.faults {
        let file = parts.folder.file("test-channel.json");
        channels.push(Channel::Test(TestChannel::open(&file, random::bytes()?, faults.of_channel())?));
    }
    if let Some(settings) = &parts.settings.alipay {
        let (channel, gateway) = alipay(parts, settings)?;
        channels.push(Channel::Alipay(channel));
        gateways.extend(gateway.map(|g| Arc::new(g) as Arc<dyn Gateway>));
    }
    if let Some(settings) = &parts.settings.tenpay {
        let (channel, gateway) = tenpay(parts, settings)?;
        channels.push(Channel::Tenpay(channel));
        gateways.extend(gateway.map(|g| Arc::new(g) as Arc<dyn Gateway>));
    }
    Ok((Channels::new(channels), Gateways::new(gateways)))
}

/// Alipay, and its simulated gateway if there is no other.
fn alipay(parts: &Parts<'_>, settings: &alipay::Settings) -> Result<(AlipayChannel, Option<Simulator>), ServerError> {
    let http = Http::new(settings.timeout(), parts.roots)?;
    let own = || format!("{}{}", parts.public, alipay::NOTIFY_PATH);
    let notify = settings.notify_url.clone().unwrap_or_else(own);
    if let (Some(gateway), Some(app), Some(public)) =
        (&settings.gateway, &settings.app_key_file, &settings.alipay_public_key_file)
    {
        let keys = alipay::Keys { app: RsaKey::load(app)?, alipay: RsaPublic::load(public)? };
        let addresses = alipay::Addresses { gateway: gateway.clone(), notify };
        return Ok((AlipayChannel::new(settings.clone(), addresses, Box::new(keys), http), None));
    }
    let folder = parts.folder.file("sim-alipay");
    let faults = parts.faults.map(Faults::of_alipay).unwrap_or_default();
    let simulator =
        Simulator::open(settings.clone(), parts.listening, &folder, parts.clock.clone(), faults, http.clone())?;
    let gateway = format!("{}{}/gateway.do", parts.listening, alipay::sim::PREFIX);
    let addresses = alipay::Addresses { gateway, notify };
    let channel = AlipayChannel::new(settings.clone(), addresses, Box::new(simulator.clone()), http);
    Ok((channel, Some(simulator)))
}

/// WeChat Pay, and its simulated gateway if there is no other.
fn tenpay(parts: &Parts<'_>, settings: &wechat::Settings) -> Result<(WechatPay, Option<TenpayGateway>), ServerError> {
    let http = Http::new(settings.timeout(), parts.roots)?;
    let notify_url = format!("{}{}", parts.public, wechat::NOTIFY_PATH);
    let (Some(faults), None) = (parts.faults, &settings.gateway) else {
        let gateway = settings.gateway.clone().unwrap_or_default();
        let access = Access::load(settings)?;
        return Ok((WechatPay::new(settings.clone(), access, &gateway, &notify_url, http)?, None));
    };
    let file = parts.folder.file("tenpay-gateway.json");
    let teller = Http::new(TENPAY_PATIENCE, parts.roots)?;
    let simulated = TenpayGateway::open(&file, settings, parts.clock.clone(), faults.of_tenpay(), teller)?;
    let gateway = format!("{}{PREFIX}", parts.listening);
    let mut settings = settings.clone();
    let mut access = simulated.access()?;
    if settings.public_key_id.is_some() {
        access.public_key = Some(simulated.public_key()?);
        settings.public_key_id = Some(wechat::sim::keys::PUBLIC_KEY_ID.to_owned());
    }
    Ok((WechatPay::new(settings, access, &gateway, &notify_url, http)?, Some(simulated)))
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
            let errand = app.under_way.begin().await;
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
            drop(errand);
        }
    })
}

/// Has the simulated gateways deliver their notifications until the server stops: over HTTP, as anybody's.
pub fn supervise_gateways(app: Arc<App>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut each = JoinSet::new();
        for gateway in app.gateways.each() {
            let gateway = gateway.clone();
            let (mut stopping, under_way) = (app.stopping.clone(), app.under_way.clone());
            each.spawn(async move {
                let mut ticks = interval(TICK);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        _ = ticks.tick() => {}
                        () = stopped(&mut stopping) => return,
                    }
                    let _errand = under_way.begin().await;
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
