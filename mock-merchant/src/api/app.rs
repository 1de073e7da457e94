//! What all handlers share, and the ways to the domain: commands through the writer, questions to a reader.

use super::pay_events::STREAMS;
use super::problem::Refusal;
use crate::channel::Channels;
use crate::channel::gateways::Gateways;
use crate::clock::Clock;
use crate::demo::Holder;
use crate::domain::{self, Answer, Caller, Command, Core, Ctx, Query};
use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::random;
use crate::server::limits::{Buckets, Limits, Places};
use crate::server::under_way::UnderWay;
use crate::server::waiters::Waiters;
use crate::sim::Faults;
use crate::store::contacts::Medium;
use crate::store::{Readers, Tx, Writer};
use axum::body::Bytes;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, watch};
use walkpay::protocol::crypto::PublicKey;
use walkpay::protocol::nonce_guard::NonceGuard;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{DeviceId, KeyId, MerchantId, Timestamp};

/// How many addresses and devices are remembered for rates.
const RATE_KEYS: usize = 20_000;
/// How many devices are remembered for what they may send in a day.
const DAY_KEYS: usize = 1_000_000;
/// How many device keys are remembered; the database has all of them.
const CACHED_KEYS: usize = 50_000;
/// How many nonces are remembered: 2,000 requests a second over the time that a signature is fresh.
const NONCES: usize = 1_200_000;
/// How many of them may be one key's.
const NONCES_PER_KEY: usize = 60_000;

/// The request key of a device. It never changes what it belongs to; what the device may do is the command's business.
#[derive(Debug)]
pub struct DeviceKey {
    /// The device.
    pub device_id: DeviceId,
    /// The key.
    pub key: PublicKey,
}

/// How many of what there were in which state, and when that was counted.
type Counted = (Instant, Vec<(&'static str, String, i64)>);

/// What all handlers share.
pub struct App {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// Policy, keys, catalogues.
    pub core: Arc<Core>,
    /// The way to the one writer.
    pub writer: Writer,
    /// Connections that read.
    pub readers: Arc<Readers>,
    /// Merchant time.
    pub clock: Clock,
    /// What is taken from outside, at most.
    pub limits: Limits,
    /// What `/metrics` tells.
    pub metrics: Metrics,
    /// Faults that are armed; only with `--sim`.
    pub sim: Option<Faults>,
    /// The payment channels.
    pub channels: Channels,
    /// The simulated gateways of payment channels; only with `--sim`.
    pub gateways: Gateways,
    /// Confirms keys to the bank for users of the demo store.
    pub holder: OnceLock<Holder>,
    /// Whether the address of a caller is the one that a proxy reports.
    pub behind_proxy: bool,
    /// Digest of the key that lets others than this machine read the metrics.
    pub metrics_key: Option<[u8; 32]>,
    /// Requests in work, polls aside.
    pub requests: Semaphore,
    /// Polls that wait.
    pub polls: Semaphore,
    /// Searches and totals in work.
    pub questions: Semaphore,
    /// Exports in work.
    pub exports: Arc<Semaphore>,
    /// Who waits for which device.
    pub waiters: Arc<Waiters>,
    /// Rates by network address.
    pub addresses: Buckets<IpAddr>,
    /// Enrolments begun by network address.
    pub enrolments: Buckets<IpAddr>,
    /// Requests in work by network address.
    pub in_work: Places<IpAddr>,
    /// Rates by device.
    pub device_rates: Buckets<DeviceId>,
    /// What devices may send in a day.
    pub documents: Buckets<DeviceId>,
    /// Rates by service system.
    pub source_rates: Buckets<i64>,
    /// Nonces of request signatures.
    pub nonces: Mutex<NonceGuard>,
    /// Tells the worker that there may be something to do.
    pub kick: Arc<Notify>,
    /// Tells the delivery of webhooks that there may be something to do.
    pub messages: Notify,
    /// The same for the delivery of notices, by medium.
    notices: [Notify; 3],
    /// Pages of payers that are followed.
    pub streams: Arc<Semaphore>,
    /// The same by payer.
    pub followers: Places<i64>,
    /// Changes whenever something may have been written: for who watches a page.
    pub changes: watch::Sender<u64>,
    /// What is under way to others.
    pub under_way: UnderWay,
    /// Bulk hand-ins in work.
    pub bulks: Semaphore,
    /// Bulk hand-ins in work by service system.
    pub bulk_sources: Places<i64>,
    /// The counts of `/metrics`, and when they were asked for.
    pub counts: tokio::sync::Mutex<Option<Counted>>,
    /// True once the server is to stop: polls end, `/healthz` says so.
    pub stopping: watch::Receiver<bool>,
    /// The OpenAPI document, as text.
    pub document: OnceLock<Bytes>,
    /// Whether writer and worker are alive.
    pub healthy: AtomicBool,
    /// How often in a row the worker has failed.
    pub faults: AtomicU32,
    keys: RwLock<HashMap<KeyId, Arc<DeviceKey>>>,
}

/// What an [`App`] is made of.
pub struct Parts {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// Policy, keys, catalogues.
    pub core: Arc<Core>,
    /// The way to the one writer.
    pub writer: Writer,
    /// Connections that read.
    pub readers: Arc<Readers>,
    /// Merchant time.
    pub clock: Clock,
    /// What is taken from outside, at most.
    pub limits: Limits,
    /// Faults, with `--sim`.
    pub sim: Option<Faults>,
    /// The payment channels.
    pub channels: Channels,
    /// The simulated gateways of payment channels; only with `--sim`.
    pub gateways: Gateways,
    /// Whether a proxy reports addresses.
    pub behind_proxy: bool,
    /// Digest of the key that lets others than this machine read the metrics.
    pub metrics_key: Option<[u8; 32]>,
    /// Who waits for which device.
    pub waiters: Arc<Waiters>,
    /// Tells the worker that there may be something to do.
    pub kick: Arc<Notify>,
    /// True once the server is to stop.
    pub stopping: watch::Receiver<bool>,
    /// Request signatures created before this are refused.
    pub not_before: Timestamp,
}

impl App {
    /// The shared state of a server.
    pub fn new(parts: Parts) -> Self {
        let Parts { limits, .. } = &parts;
        Self {
            metrics: Metrics::default(),
            holder: OnceLock::new(),
            requests: Semaphore::new(limits.requests.clamp(1, Semaphore::MAX_PERMITS)),
            polls: Semaphore::new(limits.polls.clamp(1, Semaphore::MAX_PERMITS)),
            questions: Semaphore::new(limits.questions.clamp(1, Semaphore::MAX_PERMITS)),
            exports: Arc::new(Semaphore::new(limits.exports.clamp(1, Semaphore::MAX_PERMITS))),
            addresses: Buckets::new(limits.per_address, RATE_KEYS),
            enrolments: Buckets::new(limits.enrolments_per_address, RATE_KEYS),
            in_work: Places::default(),
            device_rates: Buckets::new(limits.per_device, RATE_KEYS),
            documents: Buckets::daily(limits.documents_per_day, DAY_KEYS),
            source_rates: Buckets::new(limits.per_source, RATE_KEYS),
            nonces: Mutex::new(NonceGuard::new(parts.not_before, NONCES, NONCES_PER_KEY)),
            document: OnceLock::new(),
            healthy: AtomicBool::new(true),
            faults: AtomicU32::new(0),
            messages: Notify::new(),
            notices: Default::default(),
            streams: Arc::new(Semaphore::new(STREAMS)),
            followers: Places::default(),
            changes: watch::Sender::new(0),
            under_way: UnderWay::default(),
            bulks: Semaphore::new(limits.bulks.clamp(1, Semaphore::MAX_PERMITS)),
            bulk_sources: Places::default(),
            counts: tokio::sync::Mutex::default(),
            keys: RwLock::default(),
            merchant_id: parts.merchant_id,
            core: parts.core,
            writer: parts.writer,
            readers: parts.readers,
            clock: parts.clock,
            sim: parts.sim,
            channels: parts.channels,
            gateways: parts.gateways,
            behind_proxy: parts.behind_proxy,
            metrics_key: parts.metrics_key,
            waiters: parts.waiters,
            kick: parts.kick,
            stopping: parts.stopping,
            limits: parts.limits,
        }
    }

    /// The arguments of one request's rules.
    ///
    /// # Errors
    /// A refusal when the system gives no randomness.
    pub fn ctx(&self) -> Result<Ctx, Refusal> {
        let seed = random::bytes().map_err(|e| Refusal::internal(&e))?;
        Ok(self.core.ctx(self.clock.now(), seed))
    }

    /// Carries a command out; its answer comes after the commit. Signatures are verified and lines priced on a reader's
    /// thread, so that the writer does only what must be in order.
    ///
    /// # Errors
    /// What the domain refuses.
    pub async fn execute(&self, caller: Caller, command: Command) -> Result<Answer, Refusal> {
        let ctx = self.ctx()?;
        let basket = matches!(command, Command::PutAttempt { .. });
        let administered = matches!(command, Command::Admin(_));
        let readers = self.readers.clone();
        let prepare = move || {
            let prepared = readers.read(|tx| domain::prepare(tx, &ctx, &caller, command))?;
            Ok((ctx, caller, prepared))
        };
        // What a basket needs of the database is nearly always in memory: going to another thread would take longer than a look.
        let (ctx, caller, prepared) = if basket { prepare()? } else { blocking(prepare).await? };
        let queued = self.metrics.queued();
        let step = move |tx: &Tx<'_>| Ok((domain::commit(tx, &ctx, &caller, prepared)?, tx.has_work()));
        let answer = self.writer.submit(step).await;
        drop(queued);
        if administered {
            self.core.forget();
        }
        // A basket whose debit is posted leaves the workers nothing to do, and most are.
        if !matches!(answer, Ok((_, false))) || !basket {
            self.kick.notify_one();
            self.written();
        } else {
            self.changed();
        }
        Ok(answer?.0)
    }

    /// Answers a question from a snapshot.
    ///
    /// # Errors
    /// What the domain refuses.
    pub async fn ask(&self, caller: Caller, query: Query) -> Result<Answer, Refusal> {
        let ctx = self.ctx()?;
        self.read(move |tx| domain::read(tx, &ctx, &caller, query)).await
    }

    /// Runs `f` on a snapshot, on a thread that may block.
    ///
    /// # Errors
    /// What `f` returned.
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Refusal> {
        let readers = self.readers.clone();
        blocking(move || readers.read(f)).await
    }

    /// Tells the delivery of webhooks and notices, and who watches a page, that something may have been written.
    pub fn written(&self) {
        self.messages.notify_one();
        self.notices.iter().for_each(Notify::notify_one);
        self.changed();
    }

    /// Tells who watches a page that something may have been written; costs nothing while nobody does.
    fn changed(&self) {
        if self.changes.receiver_count() > 0 {
            self.changes.send_modify(|n| *n = n.wrapping_add(1));
        }
    }

    /// What tells the delivery of a medium's notices that there may be something to do.
    pub fn notices(&self, medium: Medium) -> &Notify {
        let [email, sms, voice] = &self.notices;
        match medium {
            Medium::Email => email,
            Medium::Sms => sms,
            Medium::Voice => voice,
        }
    }

    /// The device that a request key belongs to.
    ///
    /// # Errors
    /// 401 `key_unknown`.
    pub async fn device_of(&self, kid: &KeyId) -> Result<Arc<DeviceKey>, Refusal> {
        if let Some(known) = self.keys.read().unwrap_or_else(PoisonError::into_inner).get(kid) {
            return Ok(known.clone());
        }
        let wanted = kid.clone();
        let found = self.read(move |tx| domain::request_key(tx, &wanted)).await?;
        let found = found.ok_or_else(|| {
            Refusal::new(ProblemCode::KeyUnknown, "Expected the request key of an enrolled device: enrol first.")
        })?;
        let known = Arc::new(DeviceKey { device_id: found.device_id, key: found.key });
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= CACHED_KEYS {
            keys.clear();
        }
        keys.insert(kid.clone(), known.clone());
        Ok(known)
    }

    /// Forgets remembered keys, devices and stores, since another process may have changed the database.
    pub fn forget_keys(&self) {
        self.core.forget();
        self.keys.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Refusal> {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(f)).await {
        Ok(result) => Ok(result?),
        Err(e) => Err(Refusal::internal(&e)),
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match &failure {
            Failure::Refused { code, detail } => Self::new(*code, detail.clone()),
            Failure::Fault(cause) => {
                tracing::error!(%cause, "fault");
                let problem = failure.problem();
                let passing = failure.code() == ProblemCode::Unavailable;
                Self {
                    retry_after: passing.then_some(Duration::from_secs(1)),
                    ..Self::new(failure.code(), problem.detail)
                }
            }
        }
    }
}
