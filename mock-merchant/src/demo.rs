//! `--demo`: a store with articles, users with accounts, and an enrolment code whose device confirms itself.

use crate::bank::{AccountState, BankError, BankService, NewAccount};
use crate::clock::Clock;
use crate::domain::demo::demo_catalogue;
use crate::domain::{AdminCommand, Answer, BankAccount, Core, NewUser};
use crate::failure::{Failure, defect};
use crate::operator::Operator;
use crate::rows;
use crate::server::ServerError;
use crate::server::bank::SimulatedBank;
use crate::sim::{ACCOUNTS, Account, Quirk};
use crate::store::{Tx, stores, users};
use reqwest::StatusCode;
use rusqlite::Connection;
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;
use walkpay::protocol::crypto::PublicKey;
use walkpay::protocol::document::{EnrolmentGrant, EnrolmentProof, KeyRotation, StoreInfo};
use walkpay::protocol::enrolment_code::EnrolmentCode;
use walkpay::protocol::jws;
use walkpay::{Currency, DeviceId, GateGroup, MerchantId, StoreId, Sub, UserName, WalkpayError};

/// What the users of the demo store prove themselves with on the simulated bank's page.
pub const DEMO_PIN: &str = "24680";
/// The demo store.
pub const DEMO_STORE: &str = "demo-1";
/// The user whose enrolment code is printed.
pub const DEMO_USER: &str = "alice";

const CURRENCY: &str = "EUR";
const BANK_TIMEOUT: Duration = Duration::from_secs(5);

/// Whom the demo store knows, and how to enrol.
#[derive(Clone, Debug)]
pub struct Demo {
    /// The user that the code is for.
    pub user: UserName,
    /// The text of the enrolment code.
    pub code: String,
    /// All users.
    pub users: Vec<UserName>,
}

/// The merchant of a new folder with `--demo`.
pub fn merchant_id(demo: bool) -> Option<MerchantId> {
    demo.then(|| MerchantId::parse("demo").ok()).flatten()
}

/// Its name.
pub fn merchant_name(demo: bool) -> Option<String> {
    demo.then(|| "Corner Market".to_owned())
}

/// Seeds what is not there yet, and makes a new enrolment code for [`DEMO_USER`] at a merchant that is reached at `url`.
///
/// # Errors
/// [`ServerError`]; what was seeded before stays and is found at the next start.
pub async fn seed(
    connection: &Connection,
    core: &Core,
    clock: &Clock,
    bank: &SimulatedBank,
    url: &str,
    sim: bool,
) -> Result<(Demo, Holder), ServerError> {
    let operator = Operator { connection, core, clock };
    seed_store(&operator)?;
    let mut users = Vec::new();
    let mut accounts = HashMap::new();
    for account in ACCOUNTS.iter().filter(|a| sim || !a.sim_only) {
        if let Some(minor) = account.bank {
            open_account(&bank.service, account, minor).await?;
        }
        let (name, sub) = seed_user(&operator, account, &bank.url)?;
        if account.bank.is_some() && account.quirk != Quirk::Unconfirmed {
            accounts.insert(sub, token(account.user));
        }
        users.push(name);
    }
    let user = UserName::parse(DEMO_USER)?;
    let code = enrolment_code(&operator, &user, url, true)?.to_text();
    let holder = Holder::new(&bank.url, core.keys().merchant_id().clone(), accounts)?;
    Ok((Demo { user, code, users }, holder))
}

/// A new enrolment code of a merchant that is reached at `url`.
///
/// # Errors
/// [`Failure`].
pub fn enrolment_code(
    operator: &Operator<'_>,
    user: &UserName,
    url: &str,
    self_confirming: bool,
) -> Result<EnrolmentCode, Failure> {
    match operator.run(AdminCommand::NewEnrolmentCode { user_name: user.clone(), self_confirming })? {
        Answer::EnrolmentCode { code, root, .. } => {
            let merchant = operator.core.keys().merchant_id().clone();
            EnrolmentCode::new(merchant, &code, root.as_str(), url).map_err(|e| defect("enrolment code", e))
        }
        _ => Err(defect("enrolment code", "another answer")),
    }
}

fn seed_store(operator: &Operator<'_>) -> Result<(), ServerError> {
    let store_id = StoreId::parse(DEMO_STORE)?;
    let known = Tx::read(operator.connection, |tx| Ok(stores::find(tx, &store_id)?))?;
    if known.is_none() {
        operator.run(AdminCommand::AddStore(StoreInfo {
            store_id: store_id.clone(),
            name: "Corner Market".to_owned(),
            currency: Currency::parse(CURRENCY)?,
            time_zone: "Europe/Berlin".to_owned(),
            tax_id: "DE000000000".to_owned(),
            gate_group: GateGroup::parse(DEMO_STORE)?,
        }))?;
    }
    let catalogue = demo_catalogue().map_err(|e| ServerError::Demo(e.to_string()))?;
    let ndjson = rows::ndjson(&catalogue)?;
    operator.run(AdminCommand::ImportCatalogue { store_id, ndjson, replace: true })?;
    Ok(())
}

/// The bank's token of a demo user's account.
fn token(user: &str) -> String {
    format!("demo-{}", user.replace('_', "-"))
}

async fn open_account(bank: &BankService, account: &Account, minor: i64) -> Result<(), ServerError> {
    let token = token(account.user);
    let new = NewAccount {
        top_up: account.quirk != Quirk::NoTopUp,
        approve_at_most: match account.quirk {
            Quirk::ApproveAtMost(minor) => Some(minor),
            _ => None,
        },
        pin: Some(DEMO_PIN.to_owned()),
        label: label(account.user),
        ..NewAccount::plain(&token, Currency::parse(CURRENCY)?.minor(minor))
    };
    let closed = account.quirk == Quirk::Closed;
    let open = move |bank: &mut crate::bank::Bank, now| {
        match bank.open_account(now, &new) {
            Ok(()) | Err(BankError::Holder { reason: "account_exists" }) => {}
            Err(e) => return Err(e),
        }
        if closed { bank.set_account_state(&token, AccountState::Closed) } else { Ok(()) }
    };
    Ok(bank.with(open).await?)
}

fn label(user: &str) -> String {
    let number = user.bytes().fold(0u32, |n, b| (n * 31 + u32::from(b)) % 10_000);
    format!("DE ···· {number:04}")
}

fn seed_user(operator: &Operator<'_>, account: &Account, bank_url: &str) -> Result<(UserName, Sub), ServerError> {
    let name = UserName::parse(account.user)?;
    let currency = Currency::parse(CURRENCY)?;
    let bank = account.bank.map(|_| BankAccount {
        token: token(account.user),
        label: label(account.user),
        confirm_url: format!("{bank_url}/bank/v1/confirm"),
    });
    let find = || Tx::read(operator.connection, |tx| Ok(users::find(tx, &name)?));
    if find()?.is_some() {
        operator.run(AdminCommand::BindBank { user_name: name.clone(), account: bank })?;
    } else {
        let mut display_name = account.user.replace('_', " ");
        if let Some(first) = display_name.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        operator.run(AdminCommand::AddUser(NewUser {
            user_name: name.clone(),
            display_name,
            addresses: vec![format!("mailto:{}@shop.example", account.user)],
            stored_value: account.stored_value.map(|_| currency),
            bank,
        }))?;
    }
    if let Some(minor) = account.stored_value {
        operator.run(AdminCommand::TopUp {
            user_name: name.clone(),
            amount: currency.minor(minor),
            reference: format!("demo-{}", account.user),
        })?;
    }
    let user = find()?.ok_or_else(|| defect("demo user", "not there after adding"))?;
    Ok((name, user.sub))
}

/// Confirms consent keys to the bank, as the users of the demo store would do on the bank's page.
pub struct Holder {
    http: reqwest::Client,
    url: String,
    merchant_id: MerchantId,
    accounts: HashMap<Sub, String>,
}

#[derive(Serialize)]
struct Confirmation<'a> {
    account: &'a str,
    pin: &'a str,
    merchant_id: &'a MerchantId,
    device_id: DeviceId,
    key: &'a PublicKey,
}

impl Holder {
    fn new(bank: &str, merchant_id: MerchantId, accounts: HashMap<Sub, String>) -> Result<Self, WalkpayError> {
        Ok(Self { http: bank_http()?, url: bank.to_owned(), merchant_id, accounts })
    }

    /// After an enrolment that was confirmed by its code.
    pub async fn enrolled(&self, grant: &str, proof: &str) {
        let (Ok((_, grant)), Ok((_, proof))) = (jws::peek::<EnrolmentGrant>(grant), jws::peek::<EnrolmentProof>(proof))
        else {
            return;
        };
        if grant.active {
            self.confirm(&grant.sub, grant.device_id, &proof.consent_key).await;
        }
    }

    /// After a rotation.
    pub async fn rotated(&self, rotation: &str) {
        if let Ok((_, rotation)) = jws::peek::<KeyRotation>(rotation) {
            self.confirm(&rotation.sub, rotation.device_id, &rotation.consent_key).await;
        }
    }

    async fn confirm(&self, sub: &Sub, device_id: DeviceId, key: &PublicKey) {
        let Some(account) = self.accounts.get(sub) else { return };
        if let Err(e) = confirm_key(&self.http, &self.url, account, DEMO_PIN, &self.merchant_id, device_id, key).await {
            tracing::warn!(error = %e, "the bank did not take the demo user's key");
        }
    }
}

/// A client for the holder's side of the simulated bank on loopback.
///
/// # Errors
/// [`WalkpayError::Internal`].
pub fn bank_http() -> Result<reqwest::Client, WalkpayError> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(crate::server::tls::client()?)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(BANK_TIMEOUT)
        .build()
        .map_err(|e| WalkpayError::Internal { detail: format!("bank client: {}", e.without_url()) })
}

/// Confirms a consent key to the bank with the holder's PIN.
///
/// # Errors
/// What the bank answered, for people.
pub async fn confirm_key(
    http: &reqwest::Client,
    bank_url: &str,
    account: &str,
    pin: &str,
    merchant_id: &MerchantId,
    device_id: DeviceId,
    key: &PublicKey,
) -> Result<(), String> {
    let body =
        serde_json::to_vec(&Confirmation { account, pin, merchant_id, device_id, key }).map_err(|e| e.to_string())?;
    let request = http.post(format!("{bank_url}/bank/v1/holder/keys")).header("content-type", "application/json");
    let answer = request.body(body).send().await.map_err(|e| e.without_url().to_string())?;
    match answer.status() {
        StatusCode::NO_CONTENT => Ok(()),
        status => Err(format!("status {}: {}", status.as_u16(), answer.text().await.unwrap_or_default())),
    }
}
