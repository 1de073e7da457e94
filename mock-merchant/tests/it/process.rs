//! The program as a process: its one line, its signals, its rules, and the command line beside a running server.

use crate::client::{DEADLINE, cli, http, json_of};
use reqwest::StatusCode;
use serde_json::json;
use std::path::Path;
use std::process::{Output, Stdio};
use tempfile::tempdir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use walkpay::protocol::enrolment_code::EnrolmentCode;

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub struct Process {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Process {
    pub async fn start(data: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mock-merchant"))
            .arg("serve")
            .arg("--data")
            .arg(data)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(DEADLINE, out.next_line()).await.expect("ready in time").unwrap().unwrap();
        let url = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}")).to_owned();
        Self { child, out, url }
    }

    /// SIGTERM.
    pub async fn stop(mut self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("stops in time").unwrap();
        assert!(status.success(), "{status}");
    }
}

pub fn fails(out: &Output, what: &str) {
    assert!(!out.status.success());
    assert!(text(&out.stderr).contains(what), "{what} in {}", text(&out.stderr));
}

#[test]
fn help_tells_everything() {
    let folder = tempdir().unwrap();
    let help = text(&cli(folder.path(), &["--help"]).stdout);
    for word in [
        "serve",
        "user",
        "store",
        "catalogue",
        "enrolment-code",
        "device",
        "staff",
        "gate",
        "service",
        "messages",
        "keys",
        "check",
        "Examples",
    ] {
        assert!(help.contains(word), "{word}");
    }
    mock_merchant::sim::faults().for_each(|fault| assert!(help.contains(fault.name), "{}", fault.name));
    let serve = text(&cli(folder.path(), &["serve", "--help"]).stdout);
    for word in [
        "--listen",
        "--demo",
        "--bank",
        "--tls-cert",
        "--notify",
        "--behind-proxy",
        "--public-url",
        "SIGTERM",
        "listening on",
    ] {
        assert!(serve.contains(word), "{word}");
    }
    assert!(text(&cli(folder.path(), &["catalogue", "import", "--help"]).stdout).contains("gtin"));
    let preview = text(&cli(folder.path(), &["messages", "preview", "--help"]).stdout);
    for word in ["--channel", "--language", "--order", "without sending anything"] {
        assert!(preview.contains(word), "{word}");
    }
    assert!(text(&cli(folder.path(), &["user", "address", "settings", "--help"]).stdout).contains("--quiet"));
}

#[test]
fn the_readme_has_the_table_of_faults() {
    let readme = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"));
    assert!(readme.contains(&mock_merchant::sim::markdown()), "the table is what `mock_merchant::sim::markdown` makes");
}

#[test]
fn rules_of_deployment() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    fails(&cli(&data, &["serve", "--listen", "0.0.0.0:0"]), "needs TLS");
    fails(&cli(&data, &["serve", "--listen", "0.0.0.0:0", "--behind-proxy"]), "--public-url");
    fails(&cli(&data, &["serve", "--sim", "--listen", "0.0.0.0:0"]), "loopback only");
    fails(&cli(&data, &["serve", "--demo", "--listen", "0.0.0.0:0"]), "loopback only");
    fails(&cli(&data, &["serve", "--bank-listen", "0.0.0.0:0"]), "loopback");
    fails(&cli(&data, &["user", "list"]), "no merchant yet");
}

#[tokio::test]
async fn one_line_when_ready_and_a_clean_end() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    let mut process = Process::start(&data, &["--demo", "--no-qr"]).await;
    assert!(process.url.starts_with("http://127.0.0.1:"));
    let user = process.out.next_line().await.unwrap().unwrap();
    assert_eq!(user, "user: alice");
    let code = process.out.next_line().await.unwrap().unwrap();
    let code = EnrolmentCode::parse(code.strip_prefix("enrolment code: ").unwrap()).unwrap();
    assert_eq!(code.url, process.url);
    let answer = http(&[]).get(format!("{}/healthz", process.url)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let absent = http(&[]).get(format!("{}/sim/v1/faults", process.url)).send().await.unwrap();
    assert_eq!(absent.status(), StatusCode::NOT_FOUND, "without --sim");
    fails(&cli(&data, &["serve"]), "in use by another server");
    process.stop().await;
    assert!(!data.join("server.json").exists());
    let wal = data.join("merchant.db-wal");
    assert!(!wal.exists() || wal.metadata().unwrap().len() == 0, "checkpointed");
}

#[tokio::test]
async fn a_simulation_is_marked_for_good() {
    let folder = tempdir().unwrap();
    let (marked, plain) = (folder.path().join("marked"), folder.path().join("plain"));
    let process = Process::start(&marked, &["--sim"]).await;
    let moved = http(&[]).post(format!("{}/sim/v1/clock", process.url)).json(&json!({"advance_ms": 3_600_000}));
    assert_eq!(json_of(moved.send().await.unwrap()).await.0, StatusCode::OK);
    process.stop().await;
    fails(&cli(&marked, &["serve"]), "made with --sim");
    Process::start(&plain, &[]).await.stop().await;
    fails(&cli(&plain, &["--sim", "serve"]), "not made with --sim");
}

#[tokio::test]
async fn a_store_of_ones_own_beside_a_running_server() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    let csv = folder.path().join("articles.csv");
    std::fs::write(&csv, "gtin,name,price,currency,unit\n4006381333931,Highlighter,1.29,EUR,piece\n").unwrap();
    let bad = folder.path().join("bad.csv");
    std::fs::write(&bad, b"gtin,name,price,currency,unit\n4006381333932,\xff,1.29,EUR,piece\n").unwrap();
    let ok = |args: &[&str]| {
        let out = cli(&data, args);
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
        text(&out.stdout)
    };
    ok(&[
        "--merchant-id",
        "my-shop",
        "store",
        "add",
        "--id",
        "s1",
        "--name",
        "Mine",
        "--currency",
        "EUR",
        "--time-zone",
        "Europe/Berlin",
        "--tax-id",
        "DE1",
    ]);
    let process = Process::start(&data, &[]).await;
    assert!(ok(&["catalogue", "import", csv.to_str().unwrap()]).contains("1 articles read"));
    fails(&cli(&data, &["catalogue", "import", bad.to_str().unwrap()]), "bad.csv");
    ok(&[
        "user",
        "add",
        "ann",
        "--name",
        "Ann",
        "--address",
        "mailto:ann@shop.example",
        "--stored-value",
        "EUR",
        "--simulated-bank",
        "250.00",
        "--pin",
        "2468",
    ]);
    ok(&["user", "top-up", "ann", "30.00", "--reference", "desk-1"]);
    assert!(ok(&["user", "list"]).starts_with("ann\t"));
    let export: serde_json::Value = serde_json::from_str(&ok(&["user", "export", "ann"])).unwrap();
    assert!(export.to_string().contains("ann@shop.example"));
    let code = EnrolmentCode::parse(ok(&["enrolment-code", "ann", "--no-qr"]).trim()).unwrap();
    assert_eq!((code.url.as_str(), code.merchant_id.as_str()), (process.url.as_str(), "my-shop"));
    assert!(ok(&["device", "list", "ann"]).is_empty());
    assert!(ok(&["staff", "list", "s1"]).is_empty());
    assert!(ok(&["store", "list"]).contains("Europe/Berlin"));
    assert!(ok(&["keys", "rotate", "results"]).contains("key set 2"));
    let newest = async {
        loop {
            let url = format!("{}/terminal/v1/keys", process.url);
            let (_, keys) = json_of(http(&[]).get(url).send().await.unwrap()).await;
            let (_, set) =
                walkpay::protocol::jws::peek::<walkpay::protocol::document::KeySet>(keys["key_set"].as_str().unwrap())
                    .unwrap();
            if set.seq == 2 {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, newest).await.expect("the server notices new keys");
    assert!(ok(&["check"]).contains("every rule holds"));
    fails(&cli(&data, &["user", "erase", "ann"]), "--yes");
    let erased = cli(&data, &["user", "erase", "ann", "--yes"]);
    assert!(erased.status.success() && text(&erased.stderr).contains("30.00 EUR"), "what is theirs is told");
    assert!(ok(&["user", "list"]).is_empty());
    fails(&cli(&data, &["user", "export", "ann"]), "user list");
    process.stop().await;
    for file in ["merchant.db", "merchant.db-wal"] {
        let bytes = std::fs::read(data.join(file)).unwrap_or_default();
        assert!(!bytes.windows(16).any(|w| w == b"ann@shop.example"), "{file}: overwritten, not only let go");
    }
}

#[test]
fn foreign_and_damaged_files_are_refused_and_left_alone() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    let start = cli(
        &data,
        &[
            "store",
            "add",
            "--id",
            "s1",
            "--name",
            "M",
            "--currency",
            "EUR",
            "--time-zone",
            "Europe/Berlin",
            "--tax-id",
            "DE1",
        ],
    );
    assert!(start.status.success(), "{}", text(&start.stderr));
    let db = data.join("merchant.db");
    let good = std::fs::read(&db).unwrap();
    for name in ["merchant.db-wal", "merchant.db-shm"] {
        let _absent = std::fs::remove_file(data.join(name));
    }
    let garbage = b"this is no database at all, but long enough to look like one".repeat(100);
    std::fs::write(&db, &garbage).unwrap();
    fails(&cli(&data, &["store", "list"]), "merchant's database");
    assert_eq!(std::fs::read(&db).unwrap(), garbage);
    std::fs::write(&db, good).unwrap();
    let keys = data.join("keys.json");
    std::fs::rename(&keys, data.join("away")).unwrap();
    fails(
        &cli(
            &data,
            &[
                "store",
                "add",
                "--id",
                "s2",
                "--name",
                "M",
                "--currency",
                "EUR",
                "--time-zone",
                "UTC",
                "--tax-id",
                "DE1",
            ],
        ),
        "keys.json",
    );
    std::fs::write(&keys, "{").unwrap();
    fails(&cli(&data, &["store", "list"]), "keys.json");
    fails(&cli(&data, &["--merchant-id", "a b", "store", "list"]), "merchant-id");
}

#[tokio::test(flavor = "multi_thread")]
async fn service_systems_are_kept_by_the_command_line() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    let run = |args: &[&str]| {
        let out = cli(&data, &[&["--sim", "service"], args].concat());
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
        text(&out.stdout).trim().to_owned()
    };
    let refused = |args: &[&str], what: &str| fails(&cli(&data, &[&["--sim", "service"], args].concat()), what);
    let help = text(&cli(&data, &["service", "--help"]).stdout);
    for word in ["add", "list", "key", "revoke-key", "callback", "secret", "disable"] {
        assert!(help.contains(word), "{word}");
    }
    assert!(text(&cli(&data, &["service", "key", "--help"]).stdout).contains("orders:write"));
    assert!(text(&cli(&data, &["service", "callback", "--help"]).stdout).contains("--allow-private"));
    let process = Process::start(&data, &["--sim", "--demo"]).await;
    run(&["add", "delivery", "--name", "Delivery", "--payee", "Services"]);
    refused(&["add", "delivery", "--name", "Delivery", "--payee", "Services"], "id_conflict");
    refused(&["add", "demo-1", "--name", "Delivery", "--payee", "Services"], "id_conflict");
    refused(&["add", "other", "--name", "D", "--payee", "S", "--time-zone", "Mars/Base"], "time_zone");
    refused(&["key", "nobody"], "service list");
    refused(&["key", "delivery", "--scopes", "orders"], "orders:write");
    let key = run(&["key", "delivery", "--scopes", "orders:read"]);
    let http = http(&[]);
    let orders = || async {
        let request = http.get(format!("{}/service/v1/orders", process.url)).bearer_auth(&key);
        json_of(request.send().await.unwrap()).await
    };
    assert_eq!(orders().await, (StatusCode::OK, json!({ "orders": [] })), "at once, beside the running server");
    refused(&["callback", "delivery", "http://127.0.0.1:1/"], "https");
    refused(&["callback", "delivery", "https://192.168.0.1/"], "public");
    refused(&["callback", "delivery"], "required");
    let secret = run(&["callback", "delivery", "http://127.0.0.1:1/", "--allow-private"]);
    assert!(secret.starts_with("whsec_") && run(&["callback", "delivery", "https://service.example/"]).is_empty());
    let next = run(&["secret", "delivery", "--overlap", "1"]);
    assert!(next.starts_with("whsec_") && next != secret);
    let list = run(&["list"]);
    assert!(list.contains("delivery\tactive\tDelivery\tServices\thttps://service.example/"), "{list}");
    assert!(!list.contains(&key) && !list.contains("whsec_"), "nothing secret is shown again");
    let name = list.lines().find_map(|l| l.trim().strip_prefix("key ")).unwrap().split('\t').next().unwrap();
    run(&["disable", "delivery"]);
    assert_eq!(orders().await.0, StatusCode::UNAUTHORIZED);
    run(&["disable", "delivery", "--off"]);
    assert_eq!(orders().await.0, StatusCode::OK);
    run(&["revoke-key", "delivery", name]);
    assert_eq!(orders().await.0, StatusCode::UNAUTHORIZED);
    refused(&["revoke-key", "delivery", &key], "no such key");
    run(&["callback", "delivery", "--none"]);
    assert!(run(&["list"]).contains("no callback"));
    process.stop().await;
}
