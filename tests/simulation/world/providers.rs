//! Alipay and WeChat Pay: the merchant's own clients and the simulated gateways that ship, which sign what they say to each other. The
//! network carries their requests, answers and notifications as they are, so that everything that happens to messages happens to those.

use super::network::Message;
use super::{Mutation, World, text};
use crate::lines::{Lines, Parcel, Slot, plain, serve};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use mock_merchant::channel::Channel;
use mock_merchant::channel::alipay::sim::{self as alipay, Simulator};
use mock_merchant::channel::alipay::{self as alipay_client, Addresses, AlipayChannel};
use mock_merchant::channel::gateways::Gateway;
use mock_merchant::channel::http::{Http, Received};
use mock_merchant::channel::port::{ChannelAnswer, ChannelAsk, Forged, NoAnswer, Notice, Notification};
use mock_merchant::channel::wechat::sim::{self as tenpay, OrderState, TenpayGateway, keys};
use mock_merchant::channel::wechat::{self as tenpay_client, Access, WechatPay};
use mock_merchant::clock::Clock;
use mock_merchant::domain::{Caller, Command};
use mock_merchant::failure::Failure;
use mock_merchant::store::Tx;
use mock_merchant::worker::channels::{self, ChannelJob};
use rand::RngExt;
use reqwest::Url;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use walkpay::Timestamp;
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::order::Launch;

/// Both of them.
pub(super) const PROVIDERS: [PaymentMethod; 2] = [PaymentMethod::Alipay, PaymentMethod::Tenpay];
const ALIPAY: &str = "https://alipay.example";
const TENPAY: &str = "https://tenpay.example";
const MERCHANT: &str = "https://merchant.example";
const API_V3_KEY: &str = "0123456789abcdef0123456789abcdef";
/// How long anybody waits for an answer.
const PATIENCE_MS: i64 = 10_000;
/// How many notifications an attacker remembers.
const REMEMBERED: usize = 60;

/// What takes long to make and is the same in every world: keys, a certificate, a client.
struct Template {
    http: Http,
    alipay: Simulator,
    tenpay: TenpayGateway,
    access: Access,
}

static TEMPLATE: LazyLock<Result<Template, String>> = LazyLock::new(|| {
    let http = Http::new(Duration::from_secs(10), &[]).map_err(text)?;
    let clock = || Clock::standing(Timestamp::from_millis(super::START_MS));
    let keys = (keys::MERCHANT, keys::PLATFORM[0]);
    let alipay = Simulator::in_memory(Default::default(), ALIPAY, keys, clock(), http.clone()).map_err(text)?;
    let tenpay = TenpayGateway::in_memory(&Default::default(), API_V3_KEY, clock(), http.clone()).map_err(text)?;
    let access = tenpay.access().map_err(text)?;
    Ok(Template { http, alipay, tenpay, access })
});

/// Work of the merchant or of a gateway that waits for an answer.
struct Task {
    owner: Owner,
    work: Pin<Box<dyn Future<Output = Done>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The merchant; with the call that it owes an answer to.
    Merchant(Option<u64>),
    Gateway(PaymentMethod),
}

enum Done {
    Asked(Box<ChannelJob>, Result<ChannelAnswer, NoAnswer>),
    Opened { call: u64, method: PaymentMethod, notice: Result<Notice, Forged>, forged: bool },
    Delivered,
}

/// A payment that a provider has collected.
pub(super) struct Collected {
    pub trade: String,
    pub minor: i64,
    pub refunded: i64,
}

/// The providers, and the merchant's clients of them.
pub(super) struct Providers {
    clock: Clock,
    http: Http,
    lines: Lines,
    alipay: Simulator,
    tenpay: TenpayGateway,
    routes: Router,
    clients: Vec<Channel>,
    tasks: BTreeMap<u64, Task>,
    calls: BTreeMap<u64, (u64, Slot)>,
    next: u64,
    /// Whether they take money for all that they have closed.
    wicked: bool,
    /// What payers have seen a code of: the merchant's number, and what stands in the code.
    shown: BTreeMap<String, (PaymentMethod, String)>,
    /// The texts of those codes.
    seen: BTreeSet<String>,
    /// What was paid although it had ended: only the provider can tell of it.
    late: BTreeSet<(String, bool)>,
    /// What was ever notified.
    told: Vec<Parcel>,
}

impl Providers {
    pub fn new(wicked: bool) -> Result<Self, String> {
        let template = TEMPLATE.as_ref().map_err(Clone::clone)?;
        let clock = Clock::standing(Timestamp::from_millis(super::START_MS));
        let lines = Lines::default();
        let http = template.http.carried_by(Arc::new(lines.clone()));
        let alipay = template.alipay.another(clock.clone(), http.clone());
        let tenpay = template.tenpay.another(clock.clone(), http.clone());
        let mut providers = Self {
            routes: alipay.routes().merge(tenpay.routes()),
            clock,
            http,
            lines,
            alipay,
            tenpay,
            clients: Vec::new(),
            tasks: BTreeMap::new(),
            calls: BTreeMap::new(),
            next: 0,
            wicked,
            shown: BTreeMap::new(),
            seen: BTreeSet::new(),
            late: BTreeSet::new(),
            told: Vec::new(),
        };
        providers.clients = providers.connect(&template.access)?;
        Ok(providers)
    }

    /// Clients as a merchant has them that has just been started.
    fn connect(&self, access: &Access) -> Result<Vec<Channel>, String> {
        let gateway = format!("{ALIPAY}{}/gateway.do", alipay::PREFIX);
        let addresses = Addresses { gateway, notify: format!("{MERCHANT}{}", alipay_client::NOTIFY_PATH) };
        let keys = Box::new(self.alipay.clone());
        let gateway = format!("{TENPAY}{}", tenpay::PREFIX);
        let notify = format!("{MERCHANT}{}", tenpay_client::NOTIFY_PATH);
        let wechat = WechatPay::new(Default::default(), access.clone(), &gateway, &notify, self.http.clone());
        Ok(vec![
            Channel::Alipay(AlipayChannel::new(Default::default(), addresses, keys, self.http.clone())),
            Channel::Tenpay(wechat.map_err(text)?),
        ])
    }

    fn client(&self, method: PaymentMethod) -> Result<Channel, String> {
        self.clients.iter().find(|c| c.method() == method).cloned().ok_or(format!("no client of {method:?}"))
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// What a provider has collected.
    pub fn collected(&self, method: PaymentMethod) -> Vec<Collected> {
        if method == PaymentMethod::Alipay {
            let paid = self.alipay.trades().into_iter().filter(|t| t.paid_at.is_some());
            paid.map(|t| Collected { refunded: t.refunded(), minor: t.amount.minor, trade: t.trade_no }).collect()
        } else {
            let paid = self.tenpay.orders().into_iter().filter(|o| o.paid_at.is_some());
            paid.map(|o| Collected { trade: o.transaction_id, minor: o.order.amount.total, refunded: o.refunded })
                .collect()
        }
    }

    /// The numbers of what was paid although it had ended.
    pub fn late(&self) -> impl Iterator<Item = String> {
        self.late.iter().map(|(number, _)| number.clone())
    }

    /// `Some(true)`: it has ended without a payment; `Some(false)`: it can be paid.
    fn is_over(&self, method: PaymentMethod, number: &str) -> Option<bool> {
        match method {
            PaymentMethod::Alipay => match self.alipay.trade(number)?.state {
                alipay::TradeState::Promised | alipay::TradeState::Waiting => Some(false),
                alipay::TradeState::Closed => self.alipay.trade(number)?.paid_at.is_none().then_some(true),
                _ => None,
            },
            _ => match self.tenpay.order(number)?.state {
                OrderState::NotPay | OrderState::PayError => Some(false),
                OrderState::Closed => Some(true),
                OrderState::Success => None,
            },
        }
    }

    /// What stands in a code, and the merchant's number of what it is for.
    fn scan(&self, text: &str) -> Option<(String, (PaymentMethod, String))> {
        if let Some((_, token)) = text.split_once("/qr/") {
            let trade = self.alipay.trades().into_iter().find(|t| t.token == token)?;
            return Some((trade.out_trade_no, (PaymentMethod::Alipay, token.to_owned())));
        }
        let (_, code) = text.split_once("pr=")?;
        let order = self.tenpay.orders().into_iter().find(|o| o.code == code)?;
        Some((order.order.out_trade_no, (PaymentMethod::Tenpay, code.to_owned())))
    }

    /// The payer opens the page of a code. Only then does Alipay know of the trade.
    fn open_page(&self, method: PaymentMethod, code: &str) -> Result<Received, String> {
        match method {
            PaymentMethod::Alipay => self.page(Method::GET, &format!("{}/qr/{code}", alipay::PREFIX), ""),
            _ => self.page(Method::GET, &format!("{}/cashier?pr={code}", tenpay::PREFIX), ""),
        }
    }

    /// The payer opens it and confirms; whether it is paid by that.
    fn pay(&self, method: PaymentMethod, code: &str) -> Result<bool, String> {
        self.open_page(method, code)?;
        let (path, form) = match method {
            PaymentMethod::Alipay => (format!("{}/cashier/{code}", alipay::PREFIX), "action=confirm".to_owned()),
            _ => (format!("{}/cashier", tenpay::PREFIX), format!("pr={code}&action=pay")),
        };
        Ok(!self.page(Method::POST, &path, &form)?.status.is_client_error())
    }

    fn page(&self, method: Method, path: &str, form: &str) -> Result<Received, String> {
        let url = Url::parse(&format!("{ALIPAY}{path}")).map_err(text)?;
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
        let parcel = Parcel { method, url, headers, body: form.as_bytes().to_vec() };
        serve(&self.routes, parcel)?.ok_or_else(|| "a page breaks off".to_owned())
    }
}

impl World {
    /// The merchant asks a provider for something.
    pub(super) fn ask_provider(&mut self, job: ChannelJob) -> Result<(), String> {
        if self.faults && matches!(job.ask, ChannelAsk::Close { .. }) {
            self.arm_closing(job.method)?;
        }
        let now = self.now();
        let client = self.providers()?.client(job.method)?;
        let work = async move {
            let answer = client.ask(now, &job.ask).await;
            Done::Asked(Box::new(job), answer)
        };
        self.begin(Owner::Merchant(None), Box::pin(work))
    }

    fn arm_closing(&mut self, method: PaymentMethod) -> Result<(), String> {
        let providers = self.providers()?;
        if providers.wicked && method == PaymentMethod::Alipay {
            providers.alipay.faults().clear();
            providers.alipay.faults().once(alipay::Fault::PaidAfterClose);
        } else if providers.wicked {
            providers.tenpay.faults().clear();
            providers.tenpay.faults().once(tenpay::Fault::PaidAfterClose);
        }
        Ok(())
    }

    fn providers(&mut self) -> Result<&mut Providers, String> {
        let now = self.now();
        let providers = self.providers.as_mut().ok_or("a world without payment providers")?;
        providers.clock.set(now);
        Ok(providers)
    }

    fn begin(&mut self, owner: Owner, work: Pin<Box<dyn Future<Output = Done>>>) -> Result<(), String> {
        let providers = self.providers()?;
        let number = providers.number();
        providers.tasks.insert(number, Task { owner, work });
        self.go_on_with(number)
    }

    /// Goes on with some work until it waits again, or is done; then with what has waited for it.
    fn go_on_with(&mut self, number: u64) -> Result<(), String> {
        let mut next = vec![number];
        while let Some(number) = next.pop() {
            if self.go_on_once(number)? {
                let providers = self.providers()?;
                let waits = |task: &u64| providers.calls.values().any(|(waiting, _)| waiting == task);
                next = providers.tasks.keys().filter(|task| !waits(task)).copied().collect();
            }
        }
        Ok(())
    }

    /// Whether it has got on.
    fn go_on_once(&mut self, number: u64) -> Result<bool, String> {
        let providers = self.providers()?;
        let Some(task) = providers.tasks.get_mut(&number) else { return Ok(false) };
        let polled = task.work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let of_gateway = matches!(task.owner, Owner::Gateway(_));
        let mut leaving = Vec::new();
        for (parcel, slot) in providers.lines.take() {
            let call = providers.number();
            providers.calls.insert(call, (number, slot));
            if of_gateway && providers.told.len() < REMEMBERED {
                providers.told.push(parcel.clone());
            }
            leaving.push(Message::Request { call, parcel: Box::new(parcel), forged: false });
        }
        let done = match polled {
            Poll::Ready(done) => providers.tasks.remove(&number).map(|_| done),
            // It waits for other work of the same client.
            Poll::Pending if leaving.is_empty() => return Ok(false),
            Poll::Pending => None,
        };
        leaving.into_iter().for_each(|message| self.post(message));
        match done {
            None | Some(Done::Delivered) => {}
            Some(Done::Asked(job, answer)) => {
                let ctx = self.ctx();
                self.touched = true;
                let settled = Tx::run(&self.conn, |tx| channels::settle(tx, &ctx, &job, answer));
                settled.map_err(|e| format!("settling a call to a provider failed: {e:?}"))?;
            }
            Some(Done::Opened { call, method, notice, forged }) => self.opened(call, method, notice, forged)?,
        }
        Ok(true)
    }

    /// A request arrives: at a gateway, or at the merchant.
    pub(super) fn requested(&mut self, call: u64, parcel: Parcel, forged: bool) -> Result<(), String> {
        let now = self.now();
        let providers = self.providers()?;
        let method = match parcel.url.path() {
            alipay_client::NOTIFY_PATH => PaymentMethod::Alipay,
            tenpay_client::NOTIFY_PATH => PaymentMethod::Tenpay,
            _ => {
                let answer = serve(&providers.routes, parcel)?;
                self.post(Message::Response { call, answer });
                return Ok(());
            }
        };
        let client = providers.client(method)?;
        let work = async move {
            let notification = Notification { headers: &parcel.headers, body: &parcel.body };
            let notice = client.open(now, &notification).await;
            Done::Opened { call, method, notice, forged }
        };
        self.begin(Owner::Merchant(Some(call)), Box::pin(work))
    }

    /// The merchant has opened a notification: takes it in, and answers in the provider's way.
    fn opened(
        &mut self,
        call: u64,
        method: PaymentMethod,
        notice: Result<Notice, Forged>,
        forged: bool,
    ) -> Result<(), String> {
        if forged && let Ok(notice) = &notice {
            return Err(format!("a forged notification was believed: {notice:?}"));
        }
        let taken = match notice {
            Err(Forged(_)) => false,
            Ok(Notice::Other) => true,
            Ok(Notice::Paid(receipt)) => {
                let dies = self.faults && self.rng.random_range(0..20) == 0;
                let ctx = self.ctx();
                match self.command(&ctx, &Caller::Channel(method), Command::Notified(receipt), dies) {
                    Ok(_) if dies => {
                        self.post(Message::Response { call, answer: None });
                        return Ok(());
                    }
                    Ok(_) => true,
                    Err(Failure::Refused { .. }) => false,
                    Err(Failure::Fault(fault)) => return Err(format!("a notification failed: {fault:?}")),
                }
            }
        };
        let answer = match (method, taken) {
            (PaymentMethod::Alipay, true) => plain(StatusCode::OK, "success"),
            (PaymentMethod::Alipay, false) => plain(StatusCode::OK, "fail"),
            (_, true) => plain(StatusCode::NO_CONTENT, ""),
            (_, false) => plain(StatusCode::UNAUTHORIZED, &tenpay_client::not_taken("not as it was asked for")),
        };
        self.post(Message::Response { call, answer: Some(answer) });
        Ok(())
    }

    /// An answer arrives, or nobody waits for it any longer; `None`: the connection broke off.
    pub(super) fn responded(&mut self, call: u64, answer: Option<Received>) -> Result<(), String> {
        let Some((task, slot)) = self.providers()?.calls.remove(&call) else { return Ok(()) };
        slot.fill(answer);
        self.go_on_with(task)
    }

    /// A request or its answer is lost: whoever waits gives up.
    pub(super) fn give_up_waiting(&mut self, call: u64) {
        self.wire.push((self.now_ms + PATIENCE_MS, Message::Response { call, answer: None }));
    }

    /// The merchant's process has died: what it was about breaks off, and its clients know nothing any more.
    pub(super) fn providers_lose_merchant(&mut self) -> Result<(), String> {
        let Some(providers) = self.providers.as_mut() else { return Ok(()) };
        let access = &TEMPLATE.as_ref().map_err(Clone::clone)?.access;
        providers.clients = providers.connect(access)?;
        let mut broken = Vec::new();
        providers.tasks.retain(|_, task| match task.owner {
            Owner::Merchant(call) => {
                broken.extend(call);
                false
            }
            Owner::Gateway(_) => true,
        });
        let tasks = &providers.tasks;
        providers.calls.retain(|_, (task, _)| tasks.contains_key(task));
        broken.into_iter().for_each(|call| self.give_up_waiting(call));
        Ok(())
    }

    /// A gateway's process dies and is started again on its book; it notifies again of what it has no answer to.
    pub(super) fn restart_a_provider(&mut self) -> Result<(), String> {
        let method = PROVIDERS[self.rng.random_range(0..PROVIDERS.len())];
        let providers = self.providers()?;
        match method {
            PaymentMethod::Alipay => {
                providers.alipay = providers.alipay.another(providers.clock.clone(), providers.http.clone());
            }
            _ => providers.tenpay = providers.tenpay.another(providers.clock.clone(), providers.http.clone()),
        }
        providers.routes = providers.alipay.routes().merge(providers.tenpay.routes());
        providers.tasks.retain(|_, task| task.owner != Owner::Gateway(method));
        Ok(())
    }

    /// What the providers notify by now goes on its way; each waits for an answer before it sends the next one.
    pub(super) fn providers_notify(&mut self) -> Result<(), String> {
        for method in PROVIDERS {
            let providers = self.providers()?;
            if providers.tasks.values().any(|t| t.owner == Owner::Gateway(method)) {
                continue;
            }
            let (alipay, tenpay) = (providers.alipay.clone(), providers.tenpay.clone());
            let work = async move {
                match method {
                    PaymentMethod::Alipay => alipay.deliver().await,
                    _ => tenpay.deliver().await,
                }
                Done::Delivered
            };
            self.begin(Owner::Gateway(method), Box::pin(work))?;
        }
        Ok(())
    }

    /// A fault of a provider by its name, whenever it fits.
    pub(super) fn arm_a_provider(&mut self) -> Result<(), String> {
        use alipay::Fault as A;
        use tenpay::Fault as T;
        let wrong_amount = self.mutation == Some(Mutation::OtherAmountAccepted) && self.rng.random_range(0..2) == 0;
        let (fateful, which) = (self.rng.random_range(0..2) == 0, self.rng.random_range(0..1_000));
        let is_alipay = self.rng.random_range(0..2) == 0;
        let providers = self.providers()?;
        if is_alipay {
            // Nothing here can wait in the middle of an answer: the network is slow enough. A refusal of a refund would strike one of the
            // two copies of a request that the network makes, where Alipay refuses both.
            let left_out = [A::Slow, A::RefundRefused];
            let all: Vec<A> = A::TABLE.iter().map(|(f, _, _)| *f).filter(|f| !left_out.contains(f)).collect();
            let most = [A::PaidAfterClose, A::PaidAfterClose, A::ClosesLate, A::WrongAmount];
            let from = if fateful { &most[..] } else { &all };
            let fault = if wrong_amount { A::WrongAmount } else { from[which % from.len()] };
            let faults = providers.alipay.faults();
            if faults.armed().len() >= 3 {
                faults.clear();
            }
            faults.once(fault);
        } else {
            let all: Vec<T> = T::TABLE.iter().map(|(f, _, _)| *f).filter(|f| *f != T::Slow).collect();
            let most = [T::PaidAfterClose, T::PaidAfterClose, T::UnknownUntilScanned, T::RefundRefused, T::WrongAmount];
            let from = if fateful { &most[..] } else { &all };
            let fault = if wrong_amount { T::WrongAmount } else { from[which % from.len()] };
            let faults = providers.tenpay.faults();
            if faults.armed().len() >= 3 {
                faults.clear();
            }
            faults.once(fault);
        }
        Ok(())
    }

    /// Payers look at the codes that their terminals show, most of them at once.
    pub(super) fn look_at_codes(&mut self) -> Result<(), String> {
        let codes: Vec<String> =
            self.terminals.iter().flat_map(|t| t.open_slips()).filter_map(|s| code(s.launch())).collect();
        let looks = self.rng.random_range(0..3) > 0;
        let providers = self.providers()?;
        for text in codes {
            if !providers.seen.insert(text.clone()) {
                continue;
            }
            let (number, (method, code)) =
                providers.scan(&text).ok_or_else(|| format!("a code of nobody's: {text}"))?;
            providers.shown.insert(number, (method, code.clone()));
            if looks {
                providers.open_page(method, &code)?;
            }
        }
        Ok(())
    }

    /// Payers pay what they were shown a code of, also what they have given up since.
    pub(super) fn pay_at_a_provider(&mut self) -> Result<(), String> {
        self.look_at_codes()?;
        // Every other time it is what should not be paid any more.
        let (over, which) = (self.rng.random_range(0..2) == 0, self.rng.random_range(0..1_000));
        let again = if over { self.paid_otherwise()? } else { None };
        let providers = self.providers()?;
        let fits = |n: &String, method| {
            providers.is_over(method, n) == Some(over) && again.as_ref().is_none_or(|again| again.contains(n))
        };
        let wanted: Vec<_> = providers.shown.iter().filter(|(n, (method, _))| fits(n, *method)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let (number, (method, code)) = wanted[which % wanted.len()];
        let (number, is_alipay) = (number.clone(), *method == PaymentMethod::Alipay);
        if providers.pay(*method, code)? && over {
            providers.late.insert((number, is_alipay));
        }
        Ok(())
    }

    /// Somebody sends again what a provider has once said, or something else in its place.
    pub(super) fn attack_as_a_provider(&mut self) -> Result<(), String> {
        let (which, kind) = (self.rng.random_range(0..1_000), self.rng.random_range(0..2));
        let providers = self.providers()?;
        if providers.told.is_empty() {
            return Ok(());
        }
        let mut parcel = providers.told[which % providers.told.len()].clone();
        if kind == 0 {
            self.post(Message::Request { call: 0, parcel: Box::new(parcel), forged: false });
            return Ok(());
        }
        if parcel.url.path() == alipay_client::NOTIFY_PATH {
            let body = String::from_utf8(parcel.body).map_err(text)?;
            parcel.body = body.replace("&total_amount=", "&total_amount=9").into_bytes();
        } else {
            parcel.body.push(b' ');
        }
        self.post(Message::Request { call: 0, parcel: Box::new(parcel), forged: true });
        Ok(())
    }

    /// Nothing goes wrong any more: of what was paid although it had ended, the providers tell until they are heard.
    pub(super) fn providers_settle(&mut self) -> Result<(), String> {
        let providers = self.providers()?;
        providers.alipay.faults().clear();
        providers.tenpay.faults().clear();
        for (number, is_alipay) in &providers.late {
            match is_alipay {
                true => providers.alipay.notify_again(number),
                false => providers.tenpay.notify_again(number),
            }
            .map_err(text)?;
        }
        Ok(())
    }

    /// Work that nobody can end any more.
    pub(super) fn no_provider_waits(&self) -> Result<(), String> {
        let waiting = self.providers.iter().flat_map(|p| p.tasks.values()).next();
        waiting.map_or(Ok(()), |task| Err(format!("{:?} waits for ever for an answer", task.owner)))
    }
}

/// What the merchant calls a channel in its database.
pub(super) fn word(method: PaymentMethod) -> &'static str {
    match method {
        PaymentMethod::Alipay => "alipay",
        PaymentMethod::Tenpay => "tenpay",
        _ => "test",
    }
}

fn code(launch: Option<&Launch>) -> Option<String> {
    match launch {
        Some(Launch::Qr { text }) if !text.starts_with("walkpay-test:") => Some(text.clone()),
        _ => None,
    }
}
