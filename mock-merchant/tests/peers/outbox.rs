//! What the tests share: a shop with ways to payers, and how to wait for what becomes of a message.

use crate::client::Shop;
use crate::desk::{Desk, order};
use mock_merchant::notify::settings::Settings;
use mock_merchant::store::contacts::Medium;
use mock_merchant::store::notices::{self, NoticeDelivery, NoticeState};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use walkpay::ServiceNumber;

/// How long anything may take: the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(20);

/// The Python that has the mail server.
pub fn python() -> String {
    let given = std::env::var("WALKPAY_PYTHON");
    given.expect("WALKPAY_PYTHON names a Python with aiosmtpd: run these tests with `cargo xtask test --only peers`")
}

/// Fails with one sentence where a program is missing.
pub fn need(program: &str, package: &str) {
    let found = std::env::var_os("PATH").is_some_and(|p| std::env::split_paths(&p).any(|d| d.join(program).is_file()));
    assert!(found, "`{program}` is missing: `cargo xtask test --only peers` installs {package}");
}

/// A shop whose ways to payers are those of `settings` (the file of `--notify`), whose tries follow each other quickly, and in
/// which nobody has quiet hours.
pub async fn shop(folder: &Path, settings: &Value) -> Shop {
    let path = folder.join("notify.json");
    std::fs::write(&path, settings.to_string()).unwrap();
    let settings = Settings::load(&path).unwrap();
    Shop::with(|config| {
        config.notify = settings;
        config.policy.notice_retries = vec![Duration::from_millis(100); 8];
        config.policy.quiet_hours = None;
    })
    .await
}

pub fn cli(shop: &Shop, args: &[&str]) {
    let out = shop.cli(args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A payable order for alice, with this name.
pub async fn payable(shop: &Shop, service_name: &str) -> ServiceNumber {
    let desk = Desk::open(shop, "delivery").await;
    let mut body = order(shop);
    body["service_name"] = service_name.into();
    ServiceNumber::parse(&desk.payable("k1", &body).await).unwrap()
}

/// The deliveries of an order's notices by a medium.
pub async fn deliveries(shop: &Shop, number: ServiceNumber, medium: Medium) -> Vec<NoticeDelivery> {
    let read = shop.running.app().read(move |tx| {
        let mut found = Vec::new();
        for notice in notices::of_order(tx, number)? {
            found.extend(notices::of_notice(tx, notice.notice)?);
        }
        Ok(found)
    });
    let found = read.await.unwrap_or_else(|e| panic!("{}", e.detail));
    found.into_iter().filter(|delivery| delivery.medium == medium).collect()
}

/// Waits until `pick` finds a delivery of the order's notices.
pub async fn until(
    shop: &Shop,
    number: ServiceNumber,
    medium: Medium,
    pick: impl Fn(&NoticeDelivery) -> bool,
) -> NoticeDelivery {
    let end = Instant::now() + DEADLINE;
    loop {
        let found = deliveries(shop, number, medium).await;
        if let Some(found) = found.iter().find(|delivery| pick(delivery)) {
            return found.clone();
        }
        assert!(Instant::now() < end, "{found:?}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until a delivery of the order's notices has ended in this state.
pub async fn ended(shop: &Shop, number: ServiceNumber, medium: Medium, state: NoticeState) -> NoticeDelivery {
    until(shop, number, medium, |d| d.state == state && d.due.is_none()).await
}

/// Waits until `done` says so.
pub fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(LOOK);
    }
}

/// A program that ends with this value; its output goes into `log`.
pub struct Program(pub std::process::Child);

impl Program {
    pub fn start(log: &Path, program: &str, args: &[&str]) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}"));
        Self(child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A port of loopback at which nobody listens: that of tcpmux (RFC 1078).
pub const NOBODY: u16 = 1;

/// A TCP port that nobody has at this moment.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
