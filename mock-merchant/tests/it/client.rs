//! A server in this process, and a device that speaks to it over HTTP with real keys and nothing of the SDK.

use ed25519_dalek::{Signer, SigningKey};
use mock_merchant::domain::demo::demo_catalogue;
use mock_merchant::keys::Signing;
use mock_merchant::random;
use mock_merchant::server::{Config, Running, Server};
use reqwest::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use walkpay::barcode::Gtin;
use walkpay::basket::{LineId, PRICING_VERSION, Pick, Quantity, lines_bytes, price};
use walkpay::catalogue::{Article, CatalogueHeader, PriceBook, SaleKind};
use walkpay::protocol::crypto::{base64url, digest};
use walkpay::protocol::document::*;
use walkpay::protocol::enrolment_code::EnrolmentCode;
use walkpay::protocol::http_signature::{RequestParts, prepare};
use walkpay::protocol::jws::{Document, peek, verify};
use walkpay::protocol::message::*;
use walkpay::{Currency, DeviceId, HoldId, KeyId, MerchantId, Money, StoreId, Sub, Timestamp, TripId};

pub const DEADLINE: Duration = Duration::from_secs(180);

pub fn eur(minor: i64) -> Money {
    Currency::parse("EUR").unwrap().minor(minor)
}

pub fn random10() -> [u8; 10] {
    random::bytes().unwrap()
}

/// A client that knows no proxies and no roots but those given.
pub fn http(roots: &[Vec<u8>]) -> reqwest::Client {
    builder(roots).build().unwrap()
}

/// Such a client at another address of this machine.
pub fn http_from(address: [u8; 4]) -> reqwest::Client {
    builder(&[]).local_address(std::net::IpAddr::from(address)).build().unwrap()
}

fn builder(roots: &[Vec<u8>]) -> reqwest::ClientBuilder {
    let mut store = rustls::RootCertStore::empty();
    roots.iter().for_each(|der| store.add(der.clone().into()).unwrap());
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(DEADLINE)
}

/// A simulation with the demo store.
pub struct Shop {
    pub running: Running,
    pub http: reqwest::Client,
    pub folder: TempDir,
    /// API keys of the service systems that tests share.
    pub sources: Mutex<HashMap<&'static str, String>>,
}

impl Shop {
    pub async fn open() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config { sim: true, demo: true, ..Config::new(folder.path().join("data")) };
        change(&mut config);
        let running = Server::start(config).await.unwrap();
        Self { running, http: http(&[]), folder, sources: Mutex::default() }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.running.url)
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        json_of(self.http.get(self.url(path)).send().await.unwrap()).await
    }

    /// Arms a fault of the simulation.
    pub async fn arm(&self, order: Value) {
        let answer = self.http.post(self.url("/sim/v1/faults")).json(&order).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED, "{order}");
    }

    pub async fn advance(&self, by: Duration) {
        let body = json!({ "advance_ms": u64::try_from(by.as_millis()).unwrap() });
        let answer = self.http.post(self.url("/sim/v1/clock")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }

    pub fn now(&self) -> Timestamp {
        self.running.app().clock.now()
    }

    /// The command line, in the folder of this shop.
    pub fn cli(&self, args: &[&str]) -> std::process::Output {
        cli(&self.folder.path().join("data"), &[&["--sim"], args].concat())
    }

    /// A device of a user of the demo store, confirmed to merchant and bank.
    pub async fn device_of(&self, user: &str) -> Device {
        let out = self.cli(&["enrolment-code", user, "--self-confirming", "--no-qr"]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let code = EnrolmentCode::parse(String::from_utf8(out.stdout).unwrap().trim()).unwrap();
        Device::enrol(self, &code).await
    }
}

pub fn cli(data: &std::path::Path, args: &[&str]) -> std::process::Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_mock-merchant")).arg("--data").arg(data).args(args).output().unwrap()
}

pub async fn json_of(answer: Response) -> (StatusCode, Value) {
    let status = answer.status();
    let body = answer.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// The code of a problem document, whose form is checked.
pub async fn problem_of(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/problem+json", "status {status}");
    assert!(answer.headers().contains_key("x-request-id"));
    let problem: Problem = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(problem.status, status);
    assert!(!problem.detail.is_empty() && !problem.title.is_empty());
    (status, problem.typ.strip_prefix(PROBLEM_PREFIX).unwrap().to_owned())
}

/// An enrolled device.
pub struct Device {
    pub id: DeviceId,
    pub sub: Sub,
    pub merchant: MerchantId,
    pub store: StoreInfo,
    pub request: SigningKey,
    pub request_kid: KeyId,
    pub consent: Signing,
    pub keys: KeySet,
    pub url: String,
    pub http: reqwest::Client,
    pub seq: u64,
    pub catalogue: u64,
    pub seen: u64,
    pub waiting: VecDeque<EventBody>,
}

/// A trip under construction.
pub struct Trip {
    pub id: TripId,
    pub hold: Option<HoldId>,
    pub holds: u32,
    pub attempt: u32,
}

impl Trip {
    pub fn new(now: Timestamp) -> Self {
        Self { id: TripId::new(now, random10()), hold: None, holds: 0, attempt: 0 }
    }
}

impl Device {
    pub async fn enrol(shop: &Shop, code: &EnrolmentCode) -> Self {
        let (request, consent): ([u8; 32], [u8; 32]) = (random::bytes().unwrap(), random::bytes().unwrap());
        let (request_jws, consent) = (Signing::new(&request).unwrap(), Signing::new(&consent).unwrap());
        let answer = shop.http.post(shop.url("/terminal/v1/enrolments")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let start: EnrolmentStart = answer.json().await.unwrap();
        let root = start.root_key.to_key().unwrap();
        assert_eq!(root.key_id(), code.root_kid, "the root that the code pins");
        let keys = verify::<KeySet>(&start.key_set, |kid| (*kid == code.root_kid).then_some(&root)).unwrap().document;
        let id = DeviceId::new(shop.now(), random10());
        let proof = EnrolmentProof {
            merchant_id: start.merchant_id.clone(),
            code_sha256: digest(code.code.as_bytes()),
            nonce: start.nonce,
            device_id: id,
            request_key: request_jws.public().clone(),
            consent_key: consent.public().clone(),
        };
        let body = EnrolmentRequest {
            code: code.code.clone(),
            device_label: "test".into(),
            request_proof: request_jws.jws(&proof).unwrap(),
            consent_proof: consent.jws(&proof).unwrap(),
        };
        let put = shop.http.put(shop.url(&format!("/terminal/v1/enrolments/{id}"))).json(&body).send().await.unwrap();
        assert_eq!(put.status(), StatusCode::OK);
        let answer: EnrolmentAnswer = put.json().await.unwrap();
        let grant = verify::<EnrolmentGrant>(&answer.grant, |kid| keys.find(kid, KeyUse::Results, shop.now()));
        let grant = grant.unwrap().document;
        assert!(grant.active);
        let mut device = Self {
            id,
            sub: grant.sub,
            merchant: start.merchant_id,
            store: grant.stores[0].clone(),
            request: SigningKey::from_bytes(&request),
            request_kid: request_jws.kid().clone(),
            consent,
            keys,
            url: shop.running.url.clone(),
            http: shop.http.clone(),
            seq: 0,
            catalogue: 0,
            seen: 0,
            waiting: VecDeque::new(),
        };
        let manifest = device.get_json::<CatalogueAnswer>(shop.now(), "/terminal/v1/stores/demo-1/catalogue").await;
        device.catalogue = peek::<CatalogueManifest>(&manifest.manifest).unwrap().1.revision;
        device
    }

    /// The headers of a signed request.
    pub fn signed(&self, now: Timestamp, method: &Method, path: &str, body: &[u8]) -> Vec<(&'static str, String)> {
        self.signed_under(now, method, path, body, None)
    }

    /// The headers of a signed request under an idempotency key.
    pub fn signed_under(
        &self,
        now: Timestamp,
        method: &Method,
        path: &str,
        body: &[u8],
        key: Option<&str>,
    ) -> Vec<(&'static str, String)> {
        let (path, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
        let nonce = base64url(&random::bytes::<16>().unwrap());
        let parts = RequestParts { method: method.as_str(), path, query, idempotency_key: key, body };
        let input = prepare(&parts, now, &nonce, &self.request_kid, &self.merchant).unwrap();
        let signature = self.request.sign(input.base.as_bytes()).to_bytes();
        let mut headers: Vec<_> = input.finish(&signature).into();
        headers.extend(key.map(|key| ("idempotency-key", key.to_owned())));
        headers
    }

    pub fn build(
        &self,
        headers: Vec<(&'static str, String)>,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url)).body(body);
        headers.into_iter().fold(request, |r, (name, value)| r.header(name, value))
    }

    pub async fn send(&self, now: Timestamp, method: Method, path: &str, body: Vec<u8>) -> reqwest::Result<Response> {
        self.build(self.signed(now, &method, path, &body), method, path, body).send().await
    }

    pub async fn put<T: Serialize>(&self, now: Timestamp, path: &str, body: &T) -> reqwest::Result<Response> {
        self.send(now, Method::PUT, path, serde_json::to_vec(body).unwrap()).await
    }

    pub async fn post<T: Serialize>(&self, now: Timestamp, path: &str, key: &str, body: &T) -> Response {
        let body = serde_json::to_vec(body).unwrap();
        let headers = self.signed_under(now, &Method::POST, path, &body, Some(key));
        self.build(headers, Method::POST, path, body).send().await.unwrap()
    }

    pub async fn get(&self, now: Timestamp, path: &str) -> Response {
        self.send(now, Method::GET, path, Vec::new()).await.unwrap()
    }

    pub async fn get_json<T: DeserializeOwned>(&self, now: Timestamp, path: &str) -> T {
        let answer = self.send(now, Method::GET, path, Vec::new()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    }

    pub fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    pub fn hold_request(&mut self, now: Timestamp, trip: &mut Trip, minor: i64) -> HoldRequest {
        trip.holds += 1;
        let hold_id = HoldId::new(now, random10());
        HoldRequest {
            merchant_id: self.merchant.clone(),
            store_id: self.store.store_id.clone(),
            sub: self.sub.clone(),
            device_id: self.id,
            device_seq: self.next_seq(),
            trip_id: trip.id,
            hold_id,
            number: trip.holds,
            replaces: trip.hold.replace(hold_id),
            amount: eur(minor),
            requested_at: now,
        }
    }

    pub async fn put_hold(&self, now: Timestamp, request: &HoldRequest) -> reqwest::Result<Response> {
        let body = HoldPut { hold: self.consent.jws(request).unwrap() };
        self.put(now, &format!("/terminal/v1/holds/{}", request.hold_id), &body).await
    }

    /// A basket of `count` pieces of one article, worth some euros, and its lines.
    pub fn basket(&mut self, now: Timestamp, trip: &mut Trip, count: u32) -> (BasketSummary, Vec<u8>) {
        let store = demo_catalogue().unwrap();
        let header = CatalogueHeader {
            store_id: StoreId::parse("demo-1").unwrap(),
            currency: eur(0).currency,
            revision: self.catalogue,
            pricing_version: PRICING_VERSION,
        };
        let promoted: Vec<Gtin> = store.promotions.iter().flat_map(|p| p.gtins.clone()).collect();
        let plain = |a: &&Article| {
            a.sale == SaleKind::Pieces
                && !a.sale_stopped
                && (a.deposit, a.min_age) == (None, None)
                && !promoted.contains(&a.gtin)
                && a.price_minor >= 100
        };
        let article = store.articles.articles.iter().find(plain).unwrap().clone();
        let book = PriceBook::new(header, store.tax_groups, store.promotions, store.templates).unwrap();
        let pick = Pick { line: LineId(1), gtin: article.gtin, quantity: Quantity::Pieces { count }, parent: None };
        let priced = price(&[pick], now, &book, &HashMap::from([(article.gtin, article)])).unwrap();
        let lines = lines_bytes(&priced);
        trip.attempt += 1;
        let summary = BasketSummary {
            merchant_id: self.merchant.clone(),
            store_id: self.store.store_id.clone(),
            sub: self.sub.clone(),
            device_id: self.id,
            device_seq: self.next_seq(),
            trip_id: trip.id,
            attempt: trip.attempt,
            hold_id: trip.hold,
            catalogue_revision: self.catalogue,
            pricing_version: PRICING_VERSION,
            priced_at: now,
            total: priced.total,
            item_count: priced.item_count,
            lines_sha256: digest(&lines),
        };
        (summary, lines)
    }

    pub fn attempt_body(&self, basket: &BasketSummary, lines: &[u8]) -> AttemptPut {
        AttemptPut { basket: self.consent.jws(basket).unwrap(), lines: base64url(lines) }
    }

    pub async fn put_attempt(&self, now: Timestamp, basket: &BasketSummary, lines: &[u8]) -> reqwest::Result<Response> {
        let path = format!("/terminal/v1/trips/{}/attempts/{}", basket.trip_id, basket.attempt);
        self.put(now, &path, &self.attempt_body(basket, lines)).await
    }

    /// Verifies a document of the merchant.
    pub fn document<D: Document>(&self, now: Timestamp, jws: &str) -> D {
        verify::<D>(jws, |kid| self.keys.find(kid, KeyUse::Results, now)).unwrap().document
    }

    /// Takes in the next events, waiting for them.
    pub async fn poll(&mut self, shop: &Shop) {
        let path = format!("/terminal/v1/events?after={}&wait=20", self.seen);
        let page: EventsPage = self.get_json(shop.now(), &path).await;
        let clock: ClockStatement = self.document(shop.now(), &page.clock);
        assert_eq!(clock.device_id, self.id);
        for jws in &page.events {
            let event: EventDocument = self.document(shop.now(), jws);
            assert_eq!((event.seq, event.aud, &event.sub), (self.seen + 1, self.id, &self.sub), "no gap");
            self.seen = event.seq;
            self.waiting.push_back(serde_json::from_value(json!({ "kind": event.kind, "body": event.body })).unwrap());
        }
    }

    /// Takes events one by one, polling for more, until `pick` finds what it looks for.
    pub async fn until<T>(&mut self, shop: &Shop, mut pick: impl FnMut(&Self, EventBody) -> Option<T>) -> T {
        let found = async {
            loop {
                while let Some(event) = self.waiting.pop_front() {
                    if let Some(found) = pick(self, event) {
                        return found;
                    }
                }
                self.poll(shop).await;
            }
        };
        tokio::time::timeout(DEADLINE, found).await.expect("the event comes in time")
    }

    pub async fn hold_in(&mut self, shop: &Shop, status: HoldStatus) -> HoldResult {
        let now = shop.now();
        self.until(shop, |device, event| match event {
            EventBody::Hold { document } => {
                Some(device.document::<HoldResult>(now, &document)).filter(|h| h.status == status)
            }
            _ => None,
        })
        .await
    }

    pub async fn validation(&mut self, shop: &Shop) -> Validation {
        let now = shop.now();
        self.until(shop, |device, event| match event {
            EventBody::Validation { document } => Some(device.document(now, &document)),
            _ => None,
        })
        .await
    }

    pub async fn debit(&mut self, shop: &Shop) -> DebitResult {
        let now = shop.now();
        self.until(shop, |device, event| match event {
            EventBody::Debit { document } => Some(device.document(now, &document)),
            _ => None,
        })
        .await
    }
}
