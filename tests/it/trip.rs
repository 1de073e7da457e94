//! Seed A, the terminal: one test per row, through the public objects, over HTTP.

use crate::support::{AGE_RESTRICTED, COLA, MUESLI, PATIENCE, Phone, Shop, euros, scan, store};
use mock_merchant::domain::AdminCommand;
use mock_merchant::domain::demo::demo_catalogue;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use walkpay::api::{DeviceSigner, KeyVault, SigningPurpose, Terminal, TerminalConfig};
use walkpay::barcode::{Gtin, ScanInput};
use walkpay::basket::Quantity;
use walkpay::catalogue::{Article, MAX_PRICE_MINOR, PriceUnit, Row, SaleKind, write_row};
use walkpay::protocol::crypto::Algorithm;
use walkpay::protocol::document::{DebitStatus, HoldStatus, KeySet, LegState, PaymentMethod, Verdict};
use walkpay::protocol::exit_pass::verify_presentation;
use walkpay::protocol::jws::peek;
use walkpay::session::{ForwardPolicy, HostEventKind};
use walkpay::{Currency, GateGroup, Timestamp, UserName, WalkpayError};

#[tokio::test(flavor = "multi_thread")]
async fn a01_obtains_the_product_information_of_each_article() {
    let shop = Shop::open().await;
    let phone = shop.phone("alice").await;
    let trip = phone.trip().await;
    let catalogue = demo_catalogue().unwrap();
    for code in [COLA, MUESLI, "3017620422003", "]E00011210115606"] {
        let outcome = trip.scan(ScanInput::text(code), None).await.unwrap();
        let line = outcome.basket.lines.iter().find(|l| l.line == outcome.line).unwrap();
        let known = catalogue.articles.articles.iter().find(|a| a.gtin == line.gtin).unwrap();
        assert_eq!(
            (&line.name, line.unit_price_minor, &line.tax_group),
            (&known.name, known.price_minor, &known.tax_group)
        );
    }
    let by_name = phone.terminal.search_articles(store(), "coca cherry".into(), 10).await.unwrap();
    assert!(by_name.iter().any(|a| a.name.starts_with("Coca-Cola Cherry")), "{by_name:?}");
    let unknown = trip.scan(ScanInput::text("]E04012345678901"), None).await;
    assert!(matches!(unknown, Err(WalkpayError::UnknownArticle { .. })), "{unknown:?}");
    let misread = trip.scan(ScanInput::text("]E03017620422004"), None).await;
    assert!(matches!(misread, Err(WalkpayError::Barcode { ref reason, .. }) if reason == "check_digit"), "{misread:?}");
    assert_eq!(trip.state().await.unwrap().item_count, 4, "what was refused changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a02_builds_the_list() {
    let shop = Shop::open().await;
    let phone = shop.phone("alice").await;
    let trip = phone.trip().await;
    scan(&trip, COLA).await;
    let two = scan(&trip, COLA).await;
    assert_eq!(two.lines.len(), 2, "one line of cans and one of deposits");
    assert_eq!(two.lines[0].quantity, Quantity::Pieces { count: 2 });
    assert_eq!(two.total, euros("2.08"), "2 × 0.79 and 2 × 0.25");
    let loose = trip.scan(ScanInput::text("]E02700000000014"), Some(Quantity::Grams { grams: 740 })).await.unwrap();
    let sums: i64 = loose.basket.lines.iter().map(|l| l.payable_minor).sum();
    assert_eq!(loose.basket.total.minor, sums);
    let three = trip.set_quantity(two.lines[0].line, Quantity::Pieces { count: 3 }).await.unwrap();
    assert_eq!(three.lines[1].quantity, Quantity::Pieces { count: 3 }, "the deposit follows");
    let without = trip.remove(loose.line).await.unwrap();
    assert_eq!(without.total, euros("3.12"));
    // The list survives the end of the process.
    let id = trip.id();
    drop(trip);
    let phone = phone.reopen(None).await;
    let again = phone.terminal.resume_trip(id).await.unwrap();
    assert_eq!(again.basket().await.unwrap().total, euros("3.12"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a03_goes_on_or_prompts_to_confirm_and_sign() {
    let shop = Shop::open().await;
    let phone = shop.phone("alice").await;
    let trip = phone.trip().await;
    let due = |error| match error {
        WalkpayError::WrongOrder { due, .. } => due,
        other => panic!("expected a wrong order of calls, got {other:?}"),
    };
    assert_eq!(due(trip.review().await.unwrap_err()), "scan");
    assert_eq!(due(trip.prepare_signature().await.unwrap_err()), "scan");
    scan(&trip, COLA).await;
    assert_eq!(trip.state().await.unwrap().due, "review");
    assert_eq!(due(trip.sign_and_submit().await.unwrap_err()), "review");
    let review = trip.review().await.unwrap();
    assert_eq!(review.frozen.total, euros("1.04"));
    assert_eq!(review.frozen.total, review.priced.total);
    assert_eq!(trip.state().await.unwrap().due, "prepare_signature");
    // The shopper goes on after all: what was reviewed is not what would be signed.
    scan(&trip, MUESLI).await;
    assert_eq!(trip.state().await.unwrap().due, "review");
    let second = trip.review().await.unwrap();
    assert_ne!(second.frozen.lines_sha256, review.frozen.lines_sha256);
}

/// A hardware key as a phone's security chip would be: ES256, and it counts what it signs.
struct Chip {
    key: SigningKey,
    signed: Mutex<Vec<SigningPurpose>>,
}

impl Chip {
    fn new(seed: u8) -> Arc<Self> {
        Arc::new(Self { key: SigningKey::from_slice(&[seed; 32]).unwrap(), signed: Mutex::default() })
    }

    fn count(&self, purpose: SigningPurpose) -> usize {
        self.signed.lock().unwrap().iter().filter(|p| **p == purpose).count()
    }
}

impl DeviceSigner for Chip {
    fn algorithm(&self) -> Result<Algorithm, WalkpayError> {
        Ok(Algorithm::Es256)
    }

    fn public_key(&self) -> Result<Vec<u8>, WalkpayError> {
        Ok(self.key.verifying_key().to_sec1_point(false).as_bytes().to_vec())
    }

    fn sign(&self, purpose: SigningPurpose, bytes: Vec<u8>) -> Result<Vec<u8>, WalkpayError> {
        self.signed.lock().unwrap().push(purpose);
        let signature: Signature = self.key.sign(&bytes);
        // A chip gives either form; this one always the one with the higher S.
        let low = signature.normalize_s();
        Ok(Signature::from_scalars(low.r(), -low.s()).unwrap().to_bytes().to_vec())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a04_confirms_with_the_key_that_was_set_up_beforehand() {
    let shop = Shop::open().await;
    let phone = Phone::new().await;
    let (radio, chip) = (Chip::new(6), Chip::new(7));
    phone.terminal.enrol(shop.code("alice").await, Some(radio.clone()), Some(chip.clone())).await.unwrap();
    let mut phone = phone.ready("alice").await;
    assert_eq!(chip.count(SigningPurpose::Enrolment), 1);
    let trip = phone.reviewed_trip("20.00", &[COLA, MUESLI]).await;
    assert_eq!(chip.count(SigningPurpose::Hold), 1);
    // In two steps, so that a prompt fits in between; another key's signature is refused and changes nothing.
    let bytes = trip.prepare_signature().await.unwrap();
    let forged = Chip::new(8).sign(SigningPurpose::Basket, bytes.clone()).unwrap();
    assert!(matches!(trip.submit_signature(forged).await, Err(WalkpayError::Key { .. })));
    assert_eq!(trip.prepare_signature().await.unwrap(), bytes);
    trip.submit_signature(chip.sign(SigningPurpose::Basket, bytes).unwrap()).await.unwrap();
    assert_eq!(phone.validation().await.verdict, Verdict::Accepted);
    // After a start the host hands its signers in again; the outbox says what is missing.
    let phone = phone.reopen(None).await;
    let user = phone.terminal.users().await.unwrap().remove(0).user_name;
    assert!(phone.terminal.outbox().await.unwrap().trouble.is_some());
    phone.terminal.attach_signers(user.clone(), vec![radio]).await.unwrap();
    assert_eq!(phone.terminal.outbox().await.unwrap().trouble, None);
    let trip = phone.trip().await;
    let without = trip.request_hold(euros("5.00")).await;
    assert!(matches!(without, Err(WalkpayError::Key { .. })), "{without:?}");
    let wrong = phone.terminal.attach_signers(user.clone(), vec![Chip::new(8)]).await;
    assert!(matches!(wrong, Err(WalkpayError::Key { .. })), "{wrong:?}");
    phone.terminal.attach_signers(user, vec![chip.clone()]).await.unwrap();
    trip.request_hold(euros("5.00")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a05_sends_the_signed_list() {
    let shop = Shop::open().await;
    let mut phone = shop.phone("alice").await;
    let trip = phone.reviewed_trip("20.00", &[COLA]).await;
    // Signed without network it waits, also over a restart, and leaves by itself.
    phone.terminal.set_network(false).await.unwrap();
    trip.sign_and_submit().await.unwrap();
    let outbox = phone.terminal.outbox().await.unwrap();
    assert_eq!((outbox.totals.count, outbox.totals.amounts), (1, vec![euros("1.04")]));
    assert_eq!(trip.state().await.unwrap().attempts[0].submitted, None);
    let (id, seen) = (trip.id(), phone.seen);
    drop(trip);
    let mut phone = phone.reopen(None).await;
    phone.seen = seen;
    let validation = phone.validation().await;
    let trip = phone.terminal.resume_trip(id).await.unwrap();
    let attempt = trip.state().await.unwrap().attempts.remove(0);
    assert!(attempt.submitted.is_some());
    assert_eq!(validation.basket_sha256, attempt.basket_sha256, "the merchant has exactly what was signed");
    assert_eq!(phone.terminal.outbox().await.unwrap().totals.count, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a06_receives_the_result_of_the_legitimacy_check() {
    let shop = Shop::open().await;
    let mut phone = shop.phone("alice").await;
    // 30.00 of stored value do not cover this; no hold was asked for.
    let trip = phone.trip().await;
    trip.scan(ScanInput::text(COLA), Some(Quantity::Pieces { count: 40 })).await.unwrap();
    trip.review().await.unwrap();
    trip.sign_and_submit().await.unwrap();
    let first = phone.validation().await;
    assert_eq!(first.verdict, Verdict::InsufficientCover);
    let missing = first.shortfall.unwrap();
    assert_eq!(missing, trip.basket().await.unwrap().total.checked_sub(euros("30.00")).unwrap());
    trip.request_hold(missing).await.unwrap();
    phone.hold_result(HoldStatus::Placed).await;
    trip.review().await.unwrap();
    trip.sign_and_submit().await.unwrap();
    let waited = trip.wait_validation(PATIENCE).await.unwrap().unwrap();
    assert_eq!((waited.verdict, waited.attempt), (Verdict::Accepted, 2));
    assert_eq!(phone.validation().await, waited, "the same as an event");
    assert!(waited.exit_pass.is_some() && waited.service_number.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a07_receives_the_debit_later_and_independently() {
    let shop = Shop::open().await;
    let mut phone = shop.phone("alice").await;
    // 30.00 of stored value go first, the rest is the bank's, whose answers are lost for a while.
    shop.arm("bank_no_answer_before", "capture", 1_000);
    let trip = phone.trip().await;
    trip.request_hold(euros("40.00")).await.unwrap();
    phone.hold_result(HoldStatus::Placed).await;
    trip.scan(ScanInput::text(COLA), Some(Quantity::Pieces { count: 40 })).await.unwrap();
    let total = trip.review().await.unwrap().frozen.total;
    trip.sign_and_submit().await.unwrap();
    assert_eq!(phone.validation().await.verdict, Verdict::Accepted);
    assert_eq!(trip.state().await.unwrap().debit, None, "nobody knows yet how the debit ends");
    shop.disarm();
    let debit = phone
        .event(|kind| match kind {
            HostEventKind::Debit { result } => Some(result.clone()),
            _ => None,
        })
        .await;
    assert_eq!((debit.status, debit.total, debit.due), (DebitStatus::Debited, total, euros("0.00")));
    let legs: Vec<_> = debit.legs.iter().map(|l| (l.method, l.amount, l.state)).collect();
    let rest = total.checked_sub(euros("30.00")).unwrap();
    assert_eq!(
        legs,
        [
            (PaymentMethod::StoredValue, euros("30.00"), LegState::Succeeded),
            (PaymentMethod::Bank, rest, LegState::Succeeded)
        ]
    );
    assert_eq!(trip.state().await.unwrap().debit, Some(debit));
}

#[tokio::test(flavor = "multi_thread")]
async fn a08_takes_the_shoppers_estimate() {
    let shop = Shop::open().await;
    let phone = shop.phone("alice").await;
    let trip = phone.trip().await;
    for bad in [euros("0.00"), euros("-1.00")] {
        assert!(matches!(trip.request_hold(bad).await, Err(WalkpayError::InvalidInput { .. })), "{bad}");
    }
    let dollars = Currency::parse("USD").unwrap().minor(5_000);
    assert!(matches!(trip.request_hold(dollars).await, Err(WalkpayError::MixedCurrencies { .. })));
    assert!(trip.state().await.unwrap().holds.is_empty());
    trip.request_hold(euros("50.00")).await.unwrap();
    assert_eq!(trip.state().await.unwrap().holds[0].amount, euros("50.00"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a09_sends_a_pre_hold_request() {
    let shop = Shop::open().await;
    let mut phone = shop.phone("alice").await;
    let trip = phone.trip().await;
    // The first answer is lost: the same request is sent again and taken once.
    shop.arm("terminal_no_answer_after", "put_hold", 1);
    trip.request_hold(euros("25.00")).await.unwrap();
    let placed = phone.hold_result(HoldStatus::Placed).await;
    assert_eq!(placed.amount, euros("25.00"));
    let state = trip.state().await.unwrap();
    assert_eq!((state.holds.len(), state.holds[0].hold_id), (1, placed.hold_id));
    // A shopper whose bank has less is told so, and may still pay by other means.
    let mut poor = shop.phone("dave_poor").await;
    let trip = poor.trip().await;
    trip.request_hold(euros("25.00")).await.unwrap();
    assert!(poor.hold_result(HoldStatus::Declined).await.reason.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_receives_that_the_pre_hold_was_accepted() {
    let shop = Shop::open().await;
    let mut phone = shop.phone("alice").await;
    let trip = phone.trip().await;
    trip.request_hold(euros("25.00")).await.unwrap();
    let accepted = phone.hold_result(HoldStatus::Accepted).await;
    let placed = phone.hold_result(HoldStatus::Placed).await;
    assert_eq!((accepted.hold_id, accepted.trip_id), (placed.hold_id, trip.id()));
    let hold = trip.state().await.unwrap().holds.remove(0);
    assert_eq!((hold.accepted, hold.placed), (Some(accepted.issued_at), Some(placed.issued_at)));
    assert!(hold.submitted.is_some() && accepted.issued_at <= placed.issued_at);
    // Giving the visit up frees it.
    trip.cancel().await.unwrap();
    assert_eq!(phone.hold_result(HoldStatus::Released).await.hold_id, hold.hold_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a11_lets_the_shopper_leave_after_validation() {
    let shop = Shop::open().await;
    let mut phone = shop.phone("alice").await;
    shop.arm("bank_no_answer_before", "capture", 1_000);
    let trip = phone.trip().await;
    trip.request_hold(euros("40.00")).await.unwrap();
    phone.hold_result(HoldStatus::Placed).await;
    trip.scan(ScanInput::text(COLA), Some(Quantity::Pieces { count: 40 })).await.unwrap();
    trip.review().await.unwrap();
    assert!(matches!(trip.exit_pass().await, Err(WalkpayError::WrongOrder { .. })));
    trip.sign_and_submit().await.unwrap();
    let validation = trip.wait_validation(PATIENCE).await.unwrap().unwrap();
    assert_eq!(validation.verdict, Verdict::Accepted);
    // The debit is open, and from here on there is no network either.
    phone.terminal.set_network(false).await.unwrap();
    assert_eq!(trip.state().await.unwrap().debit, None);
    let shown = trip.exit_pass().await.unwrap();
    let (_, keys) = peek::<KeySet>(shop.merchant.app().core.keys().key_set()).unwrap();
    let group = GateGroup::parse("demo-1").unwrap();
    let now = Timestamp::from_system(std::time::SystemTime::now()).unwrap();
    let merchant = &shop.merchant.merchant_id;
    let pass = verify_presentation(&shown.text, &keys, merchant, &group, now).unwrap().document;
    assert_eq!((pass.trip_id, pass.amount, pass.item_count), (trip.id(), validation.total, 40));
    let later = now.plus(Duration::from_secs(120));
    assert!(verify_presentation(&shown.text, &keys, merchant, &group, later).is_err(), "a screenshot");
    assert_eq!(shown.modules.len(), (shown.size * shown.size) as usize);
    // The next visit can begin.
    let next = phone.trip().await;
    scan(&next, COLA).await;
    assert_eq!(phone.terminal.trips().await.unwrap().len(), 2);
}

/// Not a row: everything is paid and acknowledged while the shopper is still on the way to the gate.
#[tokio::test(flavor = "multi_thread")]
async fn an_exit_pass_outlives_the_debit_and_its_acknowledgement() {
    let shop = Shop::open().await;
    let mut phone = shop.phone("alice").await;
    let trip = phone.reviewed_trip("20.00", &[COLA]).await;
    trip.sign_and_submit().await.unwrap();
    phone.event(|kind| matches!(kind, HostEventKind::Debit { .. }).then_some(())).await;
    phone.hold_result(HoldStatus::Released).await;
    phone.terminal.ack_events(phone.seen).await.unwrap();
    trip.exit_pass().await.unwrap();
    let id = trip.id();
    drop(trip);
    let phone = phone.reopen(None).await;
    phone.terminal.resume_trip(id).await.unwrap().exit_pass().await.unwrap();
}

/// Not a row: what cannot be priced does not get into the basket, however often it is scanned.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_has_no_price_is_not_made() {
    let shop = Shop::open().await;
    let tractor = Article {
        gtin: Gtin::parse("4006381333931").unwrap(),
        name: "Tractor".into(),
        department: "Garden".into(),
        unit: PriceUnit::Piece,
        price_minor: MAX_PRICE_MINOR,
        sale: SaleKind::Pieces,
        deposit: None,
        min_age: None,
        sale_stopped: false,
        tax_group: demo_catalogue().unwrap().articles.articles[0].tax_group.clone(),
    };
    let mut ndjson = Vec::new();
    write_row(&Row::Article((&tractor).into()), &mut ndjson).unwrap();
    shop.admin(AdminCommand::ImportCatalogue { store_id: store(), ndjson, replace: false }).await;
    let phone = shop.phone("alice").await;
    let trip = phone.trip().await;
    let many = Quantity::Pieces { count: 999 };
    let before = scan(&trip, "4006381333931").await;
    for _ in 0..2 {
        let refused = trip.scan(ScanInput::text("4006381333931"), Some(Quantity::Pieces { count: 998 })).await;
        assert_eq!(refused.unwrap_err().code(), "basket.total_limit");
        let refused = trip.set_quantity(before.lines[0].line, many).await;
        assert_eq!(refused.unwrap_err().code(), "basket.total_limit");
    }
    let phone = phone.reopen(None).await;
    let trip = phone.terminal.resume_trip(trip.id()).await.unwrap();
    let after = trip.basket().await.unwrap();
    assert_eq!((after.lines, after.total), (before.lines, before.total));
}

/// A vault as slow as a phone's can be: who looks in it first waits for another one to look, if one comes.
#[derive(Default)]
struct SlowVault {
    inner: Mutex<HashMap<String, Vec<u8>>>,
    looked: Mutex<u32>,
    another: Condvar,
}

impl KeyVault for SlowVault {
    fn get(&self, name: String) -> Result<Option<Vec<u8>>, WalkpayError> {
        let found = self.inner.lock().unwrap().get(&name).cloned();
        let mut looked = self.looked.lock().unwrap();
        *looked += 1;
        self.another.notify_all();
        drop(self.another.wait_timeout_while(looked, Duration::from_secs(1), |looked| *looked < 2).unwrap());
        Ok(found)
    }

    fn put(&self, name: String, value: Vec<u8>) -> Result<(), WalkpayError> {
        self.inner.lock().unwrap().insert(name, value);
        Ok(())
    }

    fn delete(&self, name: String) -> Result<(), WalkpayError> {
        self.inner.lock().unwrap().remove(&name);
        Ok(())
    }
}

/// Not a row: an impatient finger asks twice.
#[tokio::test(flavor = "multi_thread")]
async fn two_calls_with_one_code_are_one_enrolment() {
    let shop = Shop::open().await;
    let (folder, vault) = (tempfile::tempdir().unwrap(), Arc::<SlowVault>::default());
    let config = || TerminalConfig::new(folder.path().join("terminal").display().to_string());
    let terminal = Terminal::open(config(), vault.clone()).await.unwrap();
    let code = shop.code("alice").await;
    let (one, two) = tokio::join!(terminal.enrol(code.clone(), None, None), terminal.enrol(code, None, None));
    assert_eq!(one.unwrap(), two.unwrap(), "both are told of the one device");
    assert_eq!(terminal.users().await.unwrap().len(), 1);
    terminal.shutdown().await.unwrap();
    let terminal = Terminal::open(config(), vault).await.unwrap();
    terminal.sign_in(UserName::parse("alice").unwrap()).await.unwrap();
    assert_eq!(terminal.outbox().await.unwrap().trouble, None, "its keys open with the vault's");
    terminal.sync_catalogue(store()).await.unwrap();
}

/// Not a row: an age-restricted article waits for staff, and the merchant may be restarted and move meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn staff_decides_after_a_restart_of_both_sides() {
    let shop = Shop::open().await;
    let mut phone = shop.phone("alice").await;
    let trip = phone.reviewed_trip("20.00", &[AGE_RESTRICTED]).await;
    trip.sign_and_submit().await.unwrap();
    let check = phone.validation().await;
    assert_eq!(check.verdict, Verdict::CheckRequired);
    assert!(matches!(trip.exit_pass().await, Err(WalkpayError::WrongOrder { .. })));
    phone.terminal.ack_events(phone.seen).await.unwrap();
    let id = trip.id();
    let shop = shop.restart().await;
    let mut phone = phone.reopen(Some(shop.merchant.url.clone())).await;
    assert_eq!(
        phone.terminal.sync_catalogue(store()).await.unwrap().rows,
        0,
        "nothing new, and signed after the start"
    );
    shop.staff_decides(&check, true).await;
    assert_eq!(phone.validation().await.verdict, Verdict::Accepted);
    phone.terminal.resume_trip(id).await.unwrap().exit_pass().await.unwrap();
}

/// Not a row: two users share a handheld, and new keys take the place of the old ones.
#[tokio::test(flavor = "multi_thread")]
async fn users_share_a_handheld_and_rotate_their_keys() {
    let shop = Shop::open().await;
    let mut phone = shop.phone("alice").await;
    let trip = phone.trip().await;
    let before = phone.terminal.users().await.unwrap().remove(0).consent_kid;
    phone.terminal.rotate_keys(None, None).await.unwrap();
    let kid = phone
        .event(|kind| match kind {
            HostEventKind::KeysRotated { consent_kid, .. } => Some(consent_kid.clone()),
            _ => None,
        })
        .await;
    assert_ne!(kid, before);
    trip.request_hold(euros("5.00")).await.unwrap();
    phone.hold_result(HoldStatus::Placed).await;
    phone.terminal.enrol(shop.code("carol").await, None, None).await.unwrap();
    phone.terminal.sign_in(UserName::parse("carol").unwrap()).await.unwrap();
    assert!(phone.terminal.trips().await.unwrap().is_empty());
    assert!(matches!(trip.basket().await, Err(WalkpayError::Unknown { .. })), "another user's trip");
    phone.terminal.sign_out().await.unwrap();
    assert_eq!(phone.terminal.trips().await.unwrap_err(), WalkpayError::NotSignedIn);
    // The new keys are there after a start as well.
    let mut phone = phone.reopen(None).await;
    phone.terminal.sign_in(UserName::parse("alice").unwrap()).await.unwrap();
    let trip = phone.reviewed_trip("6.00", &[COLA]).await;
    trip.sign_and_submit().await.unwrap();
    assert_eq!(phone.validation().await.verdict, Verdict::Accepted);
}

/// Not a row: what several of them rest on.
#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_call_does_not_undo_it_and_shutting_down_frees_the_folder() {
    let shop = Shop::open().await;
    let phone = shop.phone("alice").await;
    let trip = phone.trip().await;
    let polled = AtomicU32::new(0);
    {
        let scanning = trip.scan(ScanInput::text(COLA), None);
        tokio::pin!(scanning);
        // Polled once, then given up.
        std::future::poll_fn(|cx| {
            polled.fetch_add(1, Ordering::Relaxed);
            let _ = scanning.as_mut().poll(cx);
            std::task::Poll::Ready(())
        })
        .await;
    }
    assert_eq!(trip.basket().await.unwrap().item_count, 1);
    let busy = walkpay::api::Terminal::open(
        walkpay::api::TerminalConfig::new(phone.folder.path().join("terminal").display().to_string()),
        phone.vault.clone(),
    );
    assert_eq!(busy.await.err().unwrap().code(), "storage.in_use");
    let phone = phone.reopen(None).await;
    assert_eq!(trip.basket().await.unwrap_err(), WalkpayError::ShutDown);
    assert_eq!(phone.terminal.trips().await.unwrap().len(), 1);
    let online = phone.terminal.start_trip(store(), ForwardPolicy::OnlineRequired).await.unwrap();
    phone.terminal.set_network(false).await.unwrap();
    let refused = online.request_hold(euros("5.00")).await;
    assert!(matches!(refused, Err(WalkpayError::Network { .. })), "{refused:?}");
}
