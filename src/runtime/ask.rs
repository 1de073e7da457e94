//! Asking the merchant something for the user who is signed in: a signed request whose answer is waited for, beside the outbox.

use super::Handle;
use super::transmit::http_request;
use super::worker::Worker;
use crate::adapter::http::{HttpClient, HttpResponse, sign_request};
use crate::adapter::keys::KnownSigner;
use crate::error::WalkpayError;
use crate::id::{DeviceId, MerchantId, ServiceNumber, SlipId};
use crate::protocol::jws::json_problem;
use crate::protocol::order::{Balance, OrderPage, OrderView, SlipView, StoredValue};
use crate::protocol::problem::{ProblemCode, read_problem};
use crate::protocol::query::{Totals, TotalsGroup};
use crate::protocol::question::{MAX_TOTALS_PER_PAGE, OrderFilter, TotalsFilter};
use crate::protocol::request::TerminalRequest;
use crate::session::{Command, OrderDetail, OrderList};
use crate::time::Timestamp;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};

/// How often a signature is made anew when the merchant finds it stale.
const SIGN_AGAIN: u32 = 2;
/// How long an answer may take while something older could be shown instead.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest answer to a question.
const MAX_ANSWER: u64 = 1024 * 1024;

/// What a request of the user who is signed in needs.
pub(super) struct Asker {
    http: HttpClient,
    url: String,
    pub(super) device: DeviceId,
    pub(super) merchant_id: MerchantId,
    signer: KnownSigner,
    created: Timestamp,
    asked: Instant,
}

/// The body, or why there is none and the answer's time.
type Tried = Result<Vec<u8>, (WalkpayError, Option<Timestamp>)>;

impl Asker {
    /// # Errors
    /// [`WalkpayError::Network`] while the network is switched off, [`WalkpayError::NotSignedIn`], [`WalkpayError::Key`].
    pub(super) fn new(worker: &mut Worker) -> Result<Self, WalkpayError> {
        if !worker.may_send() {
            return Err(WalkpayError::Network { detail: "the network is switched off (set_network)".into() });
        }
        let now = worker.now()?;
        let device = worker.session.current()?;
        Ok(Self {
            http: worker.http.clone(),
            url: worker.merchant_url.clone().unwrap_or_else(|| device.url.clone()),
            device: device.id,
            merchant_id: device.merchant_id.clone(),
            signer: worker.keys.get(&device.id, &device.request_key.key_id())?,
            created: device.merchant_time(&now),
            asked: Instant::now(),
        })
    }

    /// Sends a call; one whose signature the merchant finds stale (it was restarted this second, or the clock here is wrong) is
    /// signed again by the time that the merchant's answer says.
    pub(super) async fn send(
        &self,
        call: &TerminalRequest,
        timeout: Duration,
        limit: u64,
    ) -> Result<Vec<u8>, WalkpayError> {
        let mut from = (self.created, self.asked);
        for _ in 0..SIGN_AGAIN {
            match self.try_once(call, timeout, limit, from.0.plus(from.1.elapsed())).await? {
                Ok(body) => return Ok(body),
                Err((WalkpayError::Refused { problem, .. }, date)) if problem == ProblemCode::SignatureStale.code() => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    from = date.map_or(from, |date| (date, Instant::now()));
                }
                Err((error, _)) => return Err(error),
            }
        }
        self.try_once(call, timeout, limit, from.0.plus(from.1.elapsed())).await?.map_err(|(error, _)| error)
    }

    async fn try_once(
        &self,
        call: &TerminalRequest,
        timeout: Duration,
        limit: u64,
        created: Timestamp,
    ) -> Result<Tried, WalkpayError> {
        let mut request = http_request(&self.url, call, timeout, limit.max(64 * 1024))?;
        let kid = self.signer.public.key_id();
        sign_request(&mut request, self.signer.signer.clone(), &kid, &self.merchant_id, created).await?;
        let response = self.http.send(request).await?;
        Ok(if response.status == 200 { Ok(response.body) } else { Err((refusal(&response), response.date)) })
    }

    async fn ask<T: DeserializeOwned>(&self, what: &str, call: &TerminalRequest) -> Result<T, WalkpayError> {
        let body = self.send(call, PATIENCE, MAX_ANSWER).await?;
        serde_json::from_slice(&body).map_err(|e| WalkpayError::untrusted(what, "form", json_problem(&e)))
    }
}

/// B20: orders of the payer; as they were last seen while the merchant cannot be reached.
///
/// # Errors
/// [`WalkpayError::InvalidInput`] for the filter, [`WalkpayError::Refused`], [`WalkpayError::Untrusted`],
/// [`WalkpayError::Network`] when the merchant cannot be reached and no list was seen yet, [`WalkpayError::NotSignedIn`].
pub(crate) async fn orders(handle: &Handle, filter: OrderFilter) -> Result<OrderList, WalkpayError> {
    filter.check()?;
    let asked = match handle.call(Asker::new).await {
        Ok(asker) => {
            let call = TerminalRequest::Orders { filter: filter.clone() };
            asker.ask::<OrderPage>("list of orders", &call).await.map(|page| (asker.device, page))
        }
        Err(error) => Err(error),
    };
    let seen = move |w: &mut Worker| match asked {
        Ok((device, page)) => {
            same_user(w, device)?;
            w.command(Command::OrdersListed { filter: &filter, page: &page })?;
            Ok(OrderList { orders: page.orders, next: page.next, seen_at: w.now()?.wall, live: true })
        }
        Err(error @ WalkpayError::Network { .. }) => w.session().current()?.orders().page(&filter).ok_or(error),
        Err(error) => Err(error),
    };
    handle.call(seen).await
}

/// B21: one order in full; as it was last seen while the merchant cannot be reached.
///
/// # Errors
/// As [`orders`].
pub(crate) async fn order(handle: &Handle, service_number: ServiceNumber) -> Result<OrderDetail, WalkpayError> {
    let asked = match handle.call(Asker::new).await {
        Ok(asker) => {
            let call = TerminalRequest::Order { service_number };
            asker.ask::<OrderView>("order", &call).await.map(|order| (asker.device, order))
        }
        Err(error) => Err(error),
    };
    let seen = move |w: &mut Worker| match asked {
        Ok((device, order)) => {
            same_user(w, device)?;
            w.command(Command::OrderShown { service_number, order: &order })?;
            Ok(OrderDetail { order, seen_at: w.now()?.wall, live: true })
        }
        Err(error @ WalkpayError::Network { .. }) => {
            w.session().current()?.orders().detail(service_number).ok_or(error)
        }
        Err(error) => Err(error),
    };
    handle.call(seen).await
}

/// Asks how a slip stands. One that the merchant has not made yet has no number to ask by.
///
/// # Errors
/// [`WalkpayError::WrongOrder`] before it is made, [`WalkpayError::Network`], [`WalkpayError::Refused`],
/// [`WalkpayError::Untrusted`].
pub(crate) async fn refresh_slip(handle: &Handle, slip_id: SlipId) -> Result<(), WalkpayError> {
    let (asker, slip_number) = handle
        .call(move |w| {
            let slip = w.session().current()?.slip(slip_id)?;
            let called = || WalkpayError::WrongOrder { called: "refresh".into(), due: slip.due(false) };
            let number = slip.number().ok_or_else(called)?;
            Ok((Asker::new(w)?, number))
        })
        .await?;
    let slip: SlipView = asker.ask("slip", &TerminalRequest::Slip { slip_number }).await?;
    let device = asker.device;
    let shown = move |w: &mut Worker| {
        same_user(w, device)?;
        w.command(Command::SlipShown { slip_id, slip: &slip }).map(drop)
    };
    handle.call(shown).await
}

/// B31, B32: sums of the payer's own payments.
///
/// # Errors
/// [`WalkpayError::InvalidInput`] for the filter, [`WalkpayError::Network`], [`WalkpayError::Refused`],
/// [`WalkpayError::Untrusted`], [`WalkpayError::NotSignedIn`].
pub(crate) async fn totals(handle: &Handle, filter: TotalsFilter) -> Result<Totals, WalkpayError> {
    filter.check()?;
    let asker = handle.call(Asker::new).await?;
    let totals: Totals = asker.ask("totals", &TerminalRequest::Totals { filter }).await?;
    let amounts = |g: &TotalsGroup| [g.paid, g.refunded, g.net].iter().all(|a| a.currency == g.currency);
    if totals.groups.len() > MAX_TOTALS_PER_PAGE as usize || !totals.groups.iter().all(amounts) {
        return Err(WalkpayError::untrusted("totals", "form", "at most 1,000 groups, each of one currency"));
    }
    handle.call(move |w| same_user(w, asker.device)).await?;
    Ok(totals)
}

/// What the payer has of stored value.
///
/// # Errors
/// [`WalkpayError::Network`], [`WalkpayError::Refused`], [`WalkpayError::Untrusted`], [`WalkpayError::NotSignedIn`].
pub(crate) async fn balance(handle: &Handle) -> Result<Balance, WalkpayError> {
    let asker = handle.call(Asker::new).await?;
    let balance: Balance = asker.ask("balance", &TerminalRequest::Balance).await?;
    let sound = |s: &StoredValue| {
        s.available.currency == s.balance.currency && (0..=s.balance.minor.max(0)).contains(&s.available.minor)
    };
    if !balance.stored_value.iter().all(sound) {
        let expected = "of the balance not more is available than there is, in its currency";
        return Err(WalkpayError::untrusted("balance", "form", expected));
    }
    handle.call(move |w| same_user(w, asker.device)).await?;
    Ok(balance)
}

/// Whoever signed in meanwhile must not be shown what was asked for somebody else.
fn same_user(worker: &Worker, device: DeviceId) -> Result<(), WalkpayError> {
    if worker.session().current()?.id == device { Ok(()) } else { Err(WalkpayError::NotSignedIn) }
}

/// What an answer other than 200 says: a problem document is the merchant's word, everything else is trouble on the way.
fn refusal(response: &HttpResponse) -> WalkpayError {
    match read_problem(response.status, &response.body) {
        Some((problem, document)) => {
            WalkpayError::Refused { problem, status: response.status, detail: document.detail }
        }
        None => WalkpayError::Network { detail: format!("HTTP {} without a problem document", response.status) },
    }
}
