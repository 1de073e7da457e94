//! A terminal by hand: honest by default, and able to send whatever a forger would.

use crate::keys::TestKey;
use crate::samples::now;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use url::Url;
use walkpay::adapter::http::{HttpClient, HttpConfig, HttpRequest};
use walkpay::barcode::Gtin;
use walkpay::basket::{LineId, PRICING_VERSION, Pick, PricedBasket, Quantity, lines_bytes, price};
use walkpay::catalogue::{Article, CatalogueHeader, PriceBook, Row, rows};
use walkpay::protocol::crypto::{Algorithm, base64url, digest};
use walkpay::protocol::document::*;
use walkpay::protocol::enrolment_code::EnrolmentCode;
use walkpay::protocol::http_signature::{RequestParts, prepare};
use walkpay::protocol::jws::{Document, peek};
use walkpay::protocol::message::*;
use walkpay::{DeviceId, HoldId, MerchantId, Money, Sub, Timestamp, TripId};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(180);

pub fn random<const N: usize>() -> [u8; N] {
    rand::random()
}

/// What a merchant answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// The code of the problem, or nothing for a success.
    pub fn problem(&self) -> String {
        if self.status < 300 {
            return String::new();
        }
        let problem: Problem = serde_json::from_slice(&self.body).unwrap_or_else(|e| {
            panic!("{} without a problem: {e}: {}", self.status, String::from_utf8_lossy(&self.body))
        });
        assert_eq!(problem.status, self.status);
        problem.typ.strip_prefix(PROBLEM_PREFIX).unwrap().to_owned()
    }

    pub fn read<T: DeserializeOwned>(&self) -> T {
        assert!(self.status < 300, "{}: {}", self.status, String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A request as it goes out.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// An enrolled device whose keys are in the open.
pub struct Hand {
    pub url: String,
    pub http: HttpClient,
    pub merchant: MerchantId,
    pub device: DeviceId,
    pub sub: Sub,
    pub store: StoreInfo,
    pub request_key: TestKey,
    pub consent_key: TestKey,
    pub device_seq: u64,
    cursor: u64,
}

/// A catalogue as it was synced.
pub struct Goods {
    pub book: PriceBook,
    pub articles: HashMap<Gtin, Article>,
}

pub async fn send(http: &HttpClient, url: &str, call: &Call) -> Answer {
    let request = HttpRequest {
        method: call.method.to_owned(),
        url: Url::parse(&format!("{url}{}", call.target)).unwrap(),
        headers: call.headers.clone(),
        body: call.body.clone(),
        timeout: PATIENCE,
        max_answer: 64 << 20,
    };
    let answer = http.send(request).await.unwrap();
    Answer { status: answer.status, body: answer.body }
}

/// A request without a signature.
pub fn unsigned(method: &'static str, target: String, body: Vec<u8>) -> Call {
    Call { method, target, headers: vec![("content-type".into(), "application/json".into())], body }
}

pub fn client() -> HttpClient {
    HttpClient::new(&HttpConfig::default()).unwrap()
}

/// What an enrolment sends.
pub fn enrolment(code: &EnrolmentCode, start: &EnrolmentStart, device: DeviceId, keys: (&TestKey, &TestKey)) -> Call {
    let (request_key, consent_key) = keys;
    let proof = EnrolmentProof {
        merchant_id: start.merchant_id.clone(),
        code_sha256: digest(code.code.as_bytes()),
        nonce: start.nonce.clone(),
        device_id: device,
        request_key: request_key.public().clone(),
        consent_key: consent_key.public().clone(),
    };
    let body = EnrolmentRequest {
        code: code.code.clone(),
        device_label: "by hand".into(),
        request_proof: request_key.jws(&proof),
        consent_proof: consent_key.jws(&proof),
    };
    unsigned("PUT", format!("/terminal/v1/enrolments/{device}"), serde_json::to_vec(&body).unwrap())
}

impl Hand {
    /// Enrols with keys of these seeds.
    pub async fn enrol(code: &EnrolmentCode, seed: u8) -> Self {
        let http = client();
        let start: EnrolmentStart =
            send(&http, &code.url, &unsigned("POST", "/terminal/v1/enrolments".into(), Vec::new())).await.read();
        let (request_key, consent_key) = (TestKey::new(Algorithm::Ed25519, seed), TestKey::new(Algorithm::Es256, seed));
        let device = DeviceId::new(now(), random());
        let call = enrolment(code, &start, device, (&request_key, &consent_key));
        let answer: EnrolmentAnswer = send(&http, &code.url, &call).await.read();
        let (_, grant) = peek::<EnrolmentGrant>(&answer.grant).unwrap();
        Self {
            url: code.url.clone(),
            http,
            merchant: code.merchant_id.clone(),
            device,
            sub: grant.sub,
            store: grant.stores[0].clone(),
            request_key,
            consent_key,
            device_seq: 0,
            cursor: 0,
        }
    }

    /// Signs a request with the device's request key.
    pub fn signed(&self, method: &'static str, target: &str, body: Vec<u8>) -> Call {
        self.signed_by(&self.request_key, now(), method, target, body)
    }

    /// Signs a request with any key, at any time.
    pub fn signed_by(
        &self,
        key: &TestKey,
        created: Timestamp,
        method: &'static str,
        target: &str,
        body: Vec<u8>,
    ) -> Call {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let parts = RequestParts { method, path, query, idempotency_key: None, body: &body };
        let input = prepare(&parts, created, &base64url(&random::<16>()), &key.kid(), &self.merchant).unwrap();
        let signature = key.sign(input.base.as_bytes());
        let headers = input.finish(&signature).map(|(name, value)| (name.to_owned(), value)).to_vec();
        Call { method, target: target.to_owned(), headers, body }
    }

    pub async fn send(&self, call: &Call) -> Answer {
        send(&self.http, &self.url, call).await
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.send(&self.signed("GET", target, Vec::new())).await
    }

    pub async fn put(&self, target: &str, body: &impl Serialize) -> Answer {
        self.send(&self.signed("PUT", target, serde_json::to_vec(body).unwrap())).await
    }

    pub fn next_seq(&mut self) -> u64 {
        self.device_seq += 1;
        self.device_seq
    }

    /// The store's catalogue.
    pub async fn goods(&self) -> Goods {
        let store = &self.store.store_id;
        let answer: CatalogueAnswer = self.get(&format!("/terminal/v1/stores/{store}/catalogue")).await.read();
        let (_, manifest) = peek::<CatalogueManifest>(&answer.manifest).unwrap();
        let data = self.get(&format!("/terminal/v1/stores/{store}/catalogue/{}", manifest.revision)).await;
        assert_eq!(digest(&data.body), manifest.sha256);
        let (mut articles, mut tax_groups, mut promotions, mut templates) =
            (HashMap::new(), Vec::new(), Vec::new(), Vec::new());
        for row in rows(&data.body) {
            match row.unwrap() {
                Row::Article(row) => _ = articles.insert(row.gtin, Article::from(row)),
                Row::TaxGroup(group) => tax_groups.push(group),
                Row::Promotion(promotion) => promotions.push(promotion),
                Row::Template(template) => templates.push(template),
                gone => panic!("{gone:?} in a snapshot"),
            }
        }
        let header = CatalogueHeader {
            store_id: store.clone(),
            currency: self.store.currency,
            revision: manifest.revision,
            pricing_version: PRICING_VERSION,
        };
        Goods { book: PriceBook::new(header, tax_groups, promotions, templates).unwrap(), articles }
    }

    /// A hold for the trip, placed by the bank.
    pub async fn hold(&mut self, trip: TripId, minor: i64) -> HoldId {
        let request = self.hold_request(trip, minor);
        let body = HoldPut { hold: self.consent_key.jws(&request) };
        let recorded: Recorded = self.put(&format!("/terminal/v1/holds/{}", request.hold_id), &body).await.read();
        assert!(recorded.recorded_at <= now().plus(PATIENCE));
        let hold_id = request.hold_id;
        self.wait(|body| match body {
            EventBody::Hold { document } => {
                let (_, result) = peek::<HoldResult>(document).unwrap();
                assert_ne!(result.status, HoldStatus::Declined);
                (result.hold_id == hold_id && result.status == HoldStatus::Placed).then_some(())
            }
            _ => None,
        })
        .await;
        hold_id
    }

    pub fn hold_request(&mut self, trip: TripId, minor: i64) -> HoldRequest {
        HoldRequest {
            merchant_id: self.merchant.clone(),
            store_id: self.store.store_id.clone(),
            sub: self.sub.clone(),
            device_id: self.device,
            device_seq: self.next_seq(),
            trip_id: trip,
            hold_id: HoldId::new(now(), random()),
            number: 1,
            replaces: None,
            amount: Money { minor, currency: self.store.currency },
            requested_at: now(),
        }
    }

    /// A basket of pieces, priced and summed up; the lines' bytes are beside it.
    pub fn basket(
        &mut self,
        goods: &Goods,
        trip: TripId,
        attempt: u32,
        hold_id: Option<HoldId>,
        picks: &[(Gtin, u32)],
    ) -> (BasketSummary, Vec<u8>, PricedBasket) {
        let picks: Vec<Pick> = (1..)
            .zip(picks)
            .map(|(line, (gtin, count))| Pick {
                line: LineId(line),
                gtin: *gtin,
                quantity: Quantity::Pieces { count: *count },
                parent: None,
            })
            .collect();
        let priced_at = now();
        let priced = price(&picks, priced_at, &goods.book, &goods.articles).unwrap();
        let lines = lines_bytes(&priced);
        let summary = BasketSummary {
            merchant_id: self.merchant.clone(),
            store_id: self.store.store_id.clone(),
            sub: self.sub.clone(),
            device_id: self.device,
            device_seq: self.next_seq(),
            trip_id: trip,
            attempt,
            hold_id,
            catalogue_revision: goods.book.header().revision,
            pricing_version: PRICING_VERSION,
            priced_at,
            total: priced.total,
            item_count: picks.iter().map(|pick| pick.quantity.pieces()).sum(),
            lines_sha256: digest(&lines),
        };
        (summary, lines, priced)
    }

    /// Submits a basket.
    pub async fn submit(&self, summary: &BasketSummary, lines: &[u8]) -> Answer {
        self.submit_jws(summary.trip_id, summary.attempt, &self.consent_key.jws(summary), lines).await
    }

    pub async fn submit_jws(&self, trip: TripId, attempt: u32, basket: &str, lines: &[u8]) -> Answer {
        let body = AttemptPut { basket: basket.to_owned(), lines: base64url(lines) };
        self.put(&format!("/terminal/v1/trips/{trip}/attempts/{attempt}"), &body).await
    }

    /// The next validation of an attempt.
    pub async fn verdict(&mut self, trip: TripId, attempt: u32) -> Validation {
        self.wait(|body| match body {
            EventBody::Validation { document } => {
                let (_, validation) = peek::<Validation>(document).unwrap();
                (validation.trip_id == trip && validation.attempt == attempt).then_some(validation)
            }
            _ => None,
        })
        .await
    }

    /// Reads events until one is `wanted`.
    pub async fn wait<T>(&mut self, wanted: impl Fn(&EventBody) -> Option<T>) -> T {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let page: EventsPage = self.get(&format!("/terminal/v1/events?after={}&wait=10", self.cursor)).await.read();
            for event in &page.events {
                let (_, event) = peek::<EventDocument>(event).unwrap();
                assert_eq!(event.seq, self.cursor + 1);
                self.cursor = event.seq;
                let typed: Value = serde_json::json!({"kind": event.kind, "body": event.body});
                if let Some(found) = serde_json::from_value(typed).ok().and_then(|body| wanted(&body)) {
                    return found;
                }
            }
        }
        panic!("nothing came within {PATIENCE:?}");
    }
}

/// A new visit.
pub fn new_trip() -> TripId {
    TripId::new(now(), random())
}

/// The header and payload of a document by any key, under the name of `kid`.
pub fn forged<D: Document>(document: &D, key: &TestKey, under: &TestKey) -> String {
    key.raw_jws(&under.header(D::TYP), &serde_json::to_vec(document).unwrap())
}
