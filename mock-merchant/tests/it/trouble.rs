//! What goes wrong around a merchant: full disks, folders that cannot be written, files that are not its own.

use crate::client::{Shop, Trip, cli, eur, json_of, problem_of};
use crate::process::{Process, fails, text};
use mock_merchant::store::StoreError;
use reqwest::StatusCode;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::tempdir;
use walkpay::protocol::document::{DebitStatus, EventBody, HoldResult, HoldStatus, Verdict};

/// Somebody who may write nothing that is not theirs.
const NOBODY: u32 = 65534;

/// Every file of a folder but the lock, which says nothing.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let named = entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap()));
    named.filter(|(name, _)| name != "server.lock").collect()
}

/// A folder with a merchant and a store, and nothing open in it.
fn set_up(data: &Path) {
    let store = ["--id", "s1", "--name", "M", "--currency", "EUR", "--time-zone", "Europe/Berlin", "--tax-id", "DE1"];
    let out = cli(data, &[&["store", "add"], store.as_slice()].concat());
    assert!(out.status.success(), "{}", text(&out.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_keeps_nothing_and_passes() {
    let shop = Shop::open().await;
    let mut bob = shop.device_of("bob").await;
    let writer = shop.running.app().writer.clone();
    writer.submit(|tx| Ok(tx.limit_pages(Some(0))?)).await.unwrap();
    let (trip, hold) = loop {
        let mut trip = Trip::new(shop.now());
        let hold = bob.hold_request(shop.now(), &mut trip, 300);
        let answer = bob.put_hold(shop.now(), &hold).await.unwrap();
        if answer.status() != StatusCode::CREATED {
            assert!(answer.headers().contains_key("retry-after"));
            let (status, problem) = json_of(answer).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
            assert_eq!(problem["type"], "urn:walkpay:problem:unavailable");
            assert!(problem["detail"].as_str().unwrap().contains("disk is full"), "{problem}");
            // The worker may have freed a page meanwhile, which this one takes.
            let again = bob.put_hold(shop.now(), &hold).await.unwrap();
            if again.status() != StatusCode::CREATED {
                assert_eq!(problem_of(again).await, (503, "unavailable".to_owned()));
                break (trip, hold);
            }
        }
        assert!(bob.seq < 2_000, "the disk is never full");
    };
    fails(&shop.cli(&["trip", &trip.id.to_string()]), "there is no such trip");
    assert_eq!(shop.get("/healthz").await.0, StatusCode::OK, "what only reads goes on");
    let checked = shop.cli(&["check"]);
    assert!(checked.status.success(), "{}{}", text(&checked.stdout), text(&checked.stderr));

    writer.submit(|tx| Ok(tx.limit_pages(None)?)).await.unwrap();
    assert_eq!(bob.put_hold(shop.now(), &hold).await.unwrap().status(), StatusCode::CREATED, "the same bytes, later");
    let now = shop.now();
    let placed = bob.until(&shop, |device, event| match event {
        EventBody::Hold { document } => Some(device.document::<HoldResult>(now, &document))
            .filter(|h| h.hold_id == hold.hold_id && h.status == HoldStatus::Placed),
        _ => None,
    });
    assert_eq!(placed.await.amount, eur(300));
    let mut trip = trip;
    let (basket, lines) = bob.basket(shop.now(), &mut trip, 1);
    assert_eq!(bob.put_attempt(shop.now(), &basket, &lines).await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(bob.validation(&shop).await.verdict, Verdict::Accepted);
    assert_eq!(bob.debit(&shop).await.status, DebitStatus::Debited);
    shop.running.shutdown().await;
}

#[test]
fn faults_of_the_disk_are_passing() {
    use rusqlite::ffi;
    for code in [ffi::SQLITE_FULL, ffi::SQLITE_READONLY, ffi::SQLITE_IOERR, ffi::SQLITE_BUSY] {
        let error = StoreError::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert!(error.is_passing(), "{error}");
    }
    let damaged = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), None);
    assert!(!StoreError::from(damaged).is_passing());
}

/// Runs the program as somebody to whom the folder is read-only; for root nothing is.
fn as_nobody(data: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mock-merchant"));
    command.arg("--data").arg(data).args(args);
    let root = Command::new("id").arg("-u").output().unwrap();
    if text(&root.stdout).trim() == "0" {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().unwrap()
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_refused_and_left_alone() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    set_up(&data);
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(folder.path(), 0o755);
    let names: Vec<String> = files(&data).into_keys().collect();
    let set = |folder: u32, file: u32| {
        names.iter().for_each(|name| mode(&data.join(name), file));
        mode(&data, folder);
    };
    let before = files(&data);
    set(0o555, 0o444);
    fails(&as_nobody(&data, &["serve"]), "may be written");
    fails(&as_nobody(&data, &["user", "add", "ann"]), "cannot be written");
    fails(&as_nobody(&data.join("new"), &["serve"]), "may be written");
    assert_eq!(files(&data), before);
    set(0o755, 0o600);
    Process::start(&data, &[]).await.stop().await;
}

#[tokio::test]
async fn foreign_and_damaged_databases_are_not_served() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    set_up(&data);
    let db = data.join("merchant.db");
    let good = fs::read(&db).unwrap();
    let foreign = folder.path().join("foreign.db");
    let other = rusqlite::Connection::open(&foreign).unwrap();
    other.execute_batch("CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('mine')").unwrap();
    drop(other);
    let garbage = b"this is no database at all, but long enough to look like one".repeat(100);
    let cases = [
        (fs::read(&foreign).unwrap(), "is not a merchant's database"),
        (garbage, "is not a merchant's database"),
        (good.get(..good.len() / 2).unwrap().to_vec(), "is damaged: restore it from a copy"),
    ];
    for (bytes, said) in cases {
        fs::write(&db, &bytes).unwrap();
        fails(&cli(&data, &["serve"]), said);
        assert_eq!(fs::read(&db).unwrap(), bytes, "left alone");
    }
    fs::write(&db, good).unwrap();
    Process::start(&data, &[]).await.stop().await;
}

#[tokio::test]
async fn files_of_the_folder_that_cannot_be_read_are_named_and_left_alone() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    Process::start(&data, &["--sim"]).await.stop().await;
    for name in ["keys.json", "bank.json", "clock.json"] {
        let path = data.join(name);
        let good = fs::read(&path).ok();
        let half = good.as_ref().map_or(b"{\"offset_ms\":".to_vec(), |bytes| bytes[..bytes.len() / 2].to_vec());
        for bad in [half, b"\xff\xfe".to_vec(), Vec::new()] {
            fs::write(&path, &bad).unwrap();
            fails(&cli(&data, &["serve", "--sim"]), name);
            assert_eq!(fs::read(&path).unwrap(), bad, "left alone");
        }
        match good {
            Some(good) => fs::write(&path, good).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }
    Process::start(&data, &["--sim"]).await.stop().await;
}

#[test]
fn an_oversized_csv_is_refused_before_it_is_read() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    set_up(&data);
    let csv = folder.path().join("articles.csv");
    let file = fs::File::create(&csv).unwrap();
    file.set_len(256 * 1024 * 1024 + 1).unwrap();
    fails(&cli(&data, &["catalogue", "import", csv.to_str().unwrap()]), "more than 268435456 bytes");
    fs::write(&csv, "gtin,name,price,currency,unit\n4006381333931,Highlighter,1.29,EUR,piece\n").unwrap();
    let imported = cli(&data, &["catalogue", "import", csv.to_str().unwrap()]);
    assert!(text(&imported.stdout).contains("revision 1"), "nothing came of the first: {}", text(&imported.stdout));
}
