//! Both sides over real HTTP with real files: a merchant with the demo store in this process, and terminals in folders of
//! their own.

use mock_merchant::domain::{AdminCommand, Answer, Caller, Command, Decision};
use mock_merchant::server::{Config, Running, Server};
use mock_merchant::sim::Order;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use walkpay::api::{KeyVault, Terminal, TerminalConfig, Trip, memory_vault};
use walkpay::barcode::ScanInput;
use walkpay::basket::PricedBasket;
use walkpay::protocol::document::{HoldResult, HoldStatus, Validation};
use walkpay::protocol::enrolment_code::EnrolmentCode;
use walkpay::session::{ForwardPolicy, HostEventKind};
use walkpay::{Currency, Money, StoreId, UserName};

/// How long a test waits for something that must come.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A can with a deposit, 0.79 and 0.25.
pub const COLA: &str = "]E05449000000996";
/// Muesli at 20 % off.
pub const MUESLI: &str = "]E04000540000481";
/// Needs an age check.
pub const AGE_RESTRICTED: &str = "]E441030806";

/// A merchant with the demo store and a bank, both simulations that take faults.
pub struct Shop {
    pub merchant: Running,
    pub data: TempDir,
}

impl Shop {
    pub async fn open() -> Self {
        let data = tempfile::tempdir().unwrap();
        Self { merchant: Self::start(&data).await, data }
    }

    async fn start(data: &TempDir) -> Running {
        let config = Config { demo: true, sim: true, ..Config::new(data.path()) };
        Server::start(config).await.unwrap()
    }

    /// Stops the merchant and starts it again on the same files, at another port.
    pub async fn restart(self) -> Self {
        let Self { merchant, data } = self;
        merchant.shutdown().await;
        Self { merchant: Self::start(&data).await, data }
    }

    /// What an operator does at the command line.
    pub async fn admin(&self, command: AdminCommand) -> Answer {
        self.merchant.app().execute(Caller::Operator, Command::Admin(command)).await.unwrap()
    }

    /// An enrolment code for a user of the demo store, whose device confirms itself at merchant and bank.
    pub async fn code(&self, user: &str) -> String {
        self.code_with(user, true).await
    }

    pub async fn code_with(&self, user: &str, self_confirming: bool) -> String {
        let user_name = UserName::parse(user).unwrap();
        match self.admin(AdminCommand::NewEnrolmentCode { user_name, self_confirming }).await {
            Answer::EnrolmentCode { code, root, .. } => {
                let merchant = self.merchant.merchant_id.clone();
                EnrolmentCode::new(merchant, &code, root.as_str(), &self.merchant.public_url).unwrap().to_text()
            }
            other => panic!("no enrolment code: {other:?}"),
        }
    }

    /// Staff accepts the basket that waits for them.
    pub async fn staff_decides(&self, check: &Validation, accept: bool) {
        let decision = Decision {
            trip_id: check.trip_id,
            attempt: check.attempt,
            basket_sha256: check.basket_sha256.clone(),
            accept,
        };
        self.merchant.app().execute(Caller::Operator, Command::Decide(decision)).await.unwrap();
    }

    /// Arms a fault `times` times for one operation.
    pub fn arm(&self, fault: &str, operation: &str, times: u32) {
        let order =
            Order { fault: fault.into(), times, operation: Some(operation.into()), trip_id: None, delay_ms: 1_000 };
        self.merchant.app().sim.as_ref().unwrap().arm(order).unwrap();
    }

    pub fn disarm(&self) {
        self.merchant.app().sim.as_ref().unwrap().clear();
    }

    /// A terminal on which `user` is enrolled and signed in, with the catalogue.
    pub async fn phone(&self, user: &str) -> Phone {
        let phone = Phone::new().await;
        phone.terminal.enrol(self.code(user).await, None, None).await.unwrap();
        phone.ready(user).await
    }
}

/// A terminal in a folder of its own.
pub struct Phone {
    pub terminal: Arc<Terminal>,
    pub folder: TempDir,
    pub vault: Arc<dyn KeyVault>,
    pub seen: u64,
}

impl Phone {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vault = memory_vault().unwrap();
        let terminal = Terminal::open(config(&folder, None), vault.clone()).await.unwrap();
        Self { terminal, folder, vault, seen: 0 }
    }

    /// Signed in, with the catalogue.
    pub async fn ready(self, user: &str) -> Self {
        self.terminal.sign_in(UserName::parse(user).unwrap()).await.unwrap();
        self.terminal.sync_catalogue(store()).await.unwrap();
        self
    }

    /// Closes the terminal and opens it again on the same folder; the merchant may be elsewhere by now.
    pub async fn reopen(self, merchant_url: Option<String>) -> Self {
        let Self { terminal, folder, vault, .. } = self;
        terminal.shutdown().await.unwrap();
        let terminal = Terminal::open(config(&folder, merchant_url), vault.clone()).await.unwrap();
        let seen = terminal.acked_events().await.unwrap_or(0);
        Self { terminal, folder, vault, seen }
    }

    pub async fn trip(&self) -> Arc<Trip> {
        self.terminal.start_trip(store(), ForwardPolicy::PreferOnline).await.unwrap()
    }

    /// The next event that `want` takes; the others are passed over.
    pub async fn event<T>(&mut self, want: impl Fn(&HostEventKind) -> Option<T>) -> T {
        let mut passed = Vec::new();
        loop {
            match self.terminal.next_event(self.seen, PATIENCE).await.unwrap() {
                Some(event) => {
                    self.seen = event.number;
                    if let Some(found) = want(&event.kind) {
                        return found;
                    }
                    passed.push(event.kind);
                }
                None => {
                    let outbox = self.terminal.outbox().await;
                    panic!("what was waited for did not come; what came: {passed:?}; outbox: {outbox:?}");
                }
            }
        }
    }

    pub async fn hold_result(&mut self, status: HoldStatus) -> HoldResult {
        self.event(|kind| match kind {
            HostEventKind::Hold { result } if result.status == status => Some(result.clone()),
            _ => None,
        })
        .await
    }

    pub async fn validation(&mut self) -> Validation {
        self.event(|kind| match kind {
            HostEventKind::Validation { result } => Some(result.clone()),
            _ => None,
        })
        .await
    }

    /// A trip whose hold is placed and whose basket has been reviewed.
    pub async fn reviewed_trip(&mut self, hold: &str, scans: &[&str]) -> Arc<Trip> {
        let trip = self.trip().await;
        trip.request_hold(euros(hold)).await.unwrap();
        self.hold_result(HoldStatus::Placed).await;
        for code in scans {
            scan(&trip, code).await;
        }
        trip.review().await.unwrap();
        trip
    }
}

fn config(folder: &TempDir, merchant_url: Option<String>) -> TerminalConfig {
    TerminalConfig { merchant_url, ..TerminalConfig::new(folder.path().join("terminal").display().to_string()) }
}

pub async fn scan(trip: &Trip, code: &str) -> PricedBasket {
    trip.scan(ScanInput::text(code), None).await.unwrap().basket
}

pub fn store() -> StoreId {
    StoreId::parse(mock_merchant::demo::DEMO_STORE).unwrap()
}

pub fn euros(amount: &str) -> Money {
    Money::parse(amount, Currency::parse("EUR").unwrap()).unwrap()
}
