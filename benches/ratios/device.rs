//! Devices that speak to a merchant with keys of their own and nothing of the SDK: what they send is ready beforehand.

use crate::baskets::picks;
use crate::goods::Goods;
use crate::load::request;
use crate::measure::Outcome;
use crate::shop::store;
use ed25519_dalek::{Signer, SigningKey};
use mock_merchant::keys::Signing;
use mock_merchant::random;
use reqwest::Client;
use ring::digest::SHA256;
use std::time::SystemTime;
use walkpay::basket::{PRICING_VERSION, lines_bytes, price};
use walkpay::protocol::crypto::{base64url, digest};
use walkpay::protocol::document::{BasketSummary, CatalogueManifest, EnrolmentGrant, EnrolmentProof};
use walkpay::protocol::enrolment_code::EnrolmentCode;
use walkpay::protocol::http_signature::{RequestParts, prepare};
use walkpay::protocol::jws::peek;
use walkpay::protocol::message::{AttemptPut, CatalogueAnswer, EnrolmentAnswer, EnrolmentRequest, EnrolmentStart};
use walkpay::{DeviceId, MerchantId, Money, StoreId, Sub, Timestamp, TripId};

/// How many different baskets there are.
const KINDS: usize = 20;

/// What a key is for.
#[derive(Clone, Copy)]
pub enum Use {
    /// Signs requests.
    Request,
    /// Signs baskets.
    Consent,
}

/// The seed of a device's key, the same in every process.
pub fn seed(usage: Use, device: u8) -> [u8; 32] {
    let mut seed = [match usage {
        Use::Request => 1,
        Use::Consent => 2,
    }; 32];
    seed[0] = device;
    seed
}

/// Priced baskets that are signed again and again.
pub struct Baskets(Vec<Priced>);

struct Priced {
    lines: Vec<u8>,
    total: Money,
    item_count: u32,
}

impl Baskets {
    /// Some baskets of the goods, at the prices of a revision.
    pub fn new(goods: &Goods, revision: u64) -> Outcome<Self> {
        let book = goods.book(&store()?, revision)?;
        let now = now()?;
        let of = |turn| {
            let (picks, articles) = picks(goods, turn);
            let basket = price(&picks, now, &book, &articles)?;
            Ok(Priced { lines: lines_bytes(&basket), total: basket.total, item_count: basket.item_count })
        };
        Ok(Self((0..KINDS).map(of).collect::<Outcome<_>>()?))
    }
}

/// An enrolled device.
pub struct Device {
    /// The catalogue revision that it knows.
    pub revision: u64,
    number: u8,
    id: DeviceId,
    sub: Sub,
    merchant: MerchantId,
    store: StoreId,
    request: SigningKey,
    signing: Signing,
    consent: Signing,
    seq: u64,
}

/// A signed basket on its way.
pub struct Attempt {
    path: String,
    body: Vec<u8>,
}

impl Device {
    /// Enrols the device with this number.
    pub async fn enrol(url: &str, number: u8, code: &str) -> Outcome<Self> {
        let (request, code) = (seed(Use::Request, number), EnrolmentCode::parse(code)?);
        let (signing, consent) = (Signing::new(&request)?, Signing::new(&seed(Use::Consent, number))?);
        let http = client()?;
        let start: EnrolmentStart =
            http.post(format!("{url}/terminal/v1/enrolments")).send().await?.error_for_status()?.json().await?;
        let id = DeviceId::new(now()?, random::bytes().map_err(|e| e.to_string())?);
        let proof = EnrolmentProof {
            merchant_id: start.merchant_id.clone(),
            code_sha256: digest(code.code.as_bytes()),
            nonce: start.nonce,
            device_id: id,
            request_key: signing.public().clone(),
            consent_key: consent.public().clone(),
        };
        let body = EnrolmentRequest {
            code: code.code,
            device_label: "bench".into(),
            request_proof: signing.jws(&proof)?,
            consent_proof: consent.jws(&proof)?,
        };
        let put = http.put(format!("{url}/terminal/v1/enrolments/{id}")).json(&body);
        let answer: EnrolmentAnswer = put.send().await?.error_for_status()?.json().await?;
        let mut device = Self {
            revision: 0,
            number,
            id,
            sub: peek::<EnrolmentGrant>(&answer.grant)?.1.sub,
            merchant: start.merchant_id,
            store: store()?,
            request: SigningKey::from_bytes(&request),
            signing,
            consent,
            seq: 0,
        };
        device.revision = device.newest(&http, url).await?;
        Ok(device)
    }

    async fn newest(&self, http: &Client, url: &str) -> Outcome<u64> {
        let path = format!("/terminal/v1/stores/{}/catalogue", self.store);
        let headers = self.headers("GET", &path, &[])?;
        let ask =
            headers.into_iter().fold(http.get(format!("{url}{path}")), |ask, (name, value)| ask.header(name, value));
        let answer: CatalogueAnswer = ask.send().await?.error_for_status()?.json().await?;
        Ok(peek::<CatalogueManifest>(&answer.manifest)?.1.revision)
    }

    /// The basket of another visit.
    pub fn attempt(&mut self, baskets: &Baskets, kind: usize) -> Outcome<Attempt> {
        let priced = baskets.0.get(kind % KINDS).ok_or("no basket")?;
        let now = now()?;
        self.seq += 1;
        let trip_id = TripId::new(now, random::bytes().map_err(|e| e.to_string())?);
        let summary = BasketSummary {
            merchant_id: self.merchant.clone(),
            store_id: self.store.clone(),
            sub: self.sub.clone(),
            device_id: self.id,
            device_seq: self.seq,
            trip_id,
            attempt: 1,
            hold_id: None,
            catalogue_revision: self.revision,
            pricing_version: PRICING_VERSION,
            priced_at: now,
            total: priced.total,
            item_count: priced.item_count,
            lines_sha256: digest(&priced.lines),
        };
        let body = AttemptPut { basket: self.consent.jws(&summary)?, lines: base64url(&priced.lines) };
        Ok(Attempt { path: format!("/terminal/v1/trips/{trip_id}/attempts/1"), body: serde_json::to_vec(&body)? })
    }

    fn headers(&self, method: &str, path: &str, body: &[u8]) -> Outcome<[(&'static str, String); 4]> {
        let nonce = base64url(&random::bytes::<16>().map_err(|e| e.to_string())?);
        let parts = RequestParts { method, path, query: None, idempotency_key: None, body };
        let input = prepare(&parts, now()?, &nonce, self.signing.kid(), &self.merchant)?;
        let signature = self.request.sign(input.base.as_bytes()).to_bytes();
        Ok(input.finish(&signature))
    }
}

impl Attempt {
    /// As the merchant takes it.
    pub fn signed(self, device: &Device) -> Outcome<Vec<u8>> {
        Ok(request("PUT", &self.path, &device.headers("PUT", &self.path, &self.body)?, &self.body))
    }

    /// As the bare handler takes it: the second signature is over the digest of the body.
    pub fn bare(self, device: &Device) -> Vec<u8> {
        let signature = device.request.sign(ring::digest::digest(&SHA256, &self.body).as_ref()).to_bytes();
        let headers = [("x-device", device.number.to_string()), ("x-signature", base64url(&signature))];
        request("PUT", "/basket", &headers, &self.body)
    }
}

/// A client for loopback.
pub fn client() -> Outcome<Client> {
    let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(Client::builder().tls_backend_preconfigured(tls).no_proxy().build()?)
}

fn now() -> Outcome<Timestamp> {
    Ok(Timestamp::from_system(SystemTime::now())?)
}
