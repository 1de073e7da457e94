use super::*;
use crate::bank::{NewAccount, NewKey};
use ed25519_dalek::{Signer, SigningKey};
use walkpay::protocol::crypto::{Algorithm, PublicKey};
use walkpay::protocol::document::{BasketSummary, HoldRequest, TripCancellation};
use walkpay::{Currency, HoldId, StoreId, Sub, TripId};

const ACCOUNT: &str = "acct-1";
const START: i64 = 1_800_000_000_000;

/// A bank with one account and one confirmed key, and what is needed to sign for it.
struct World {
    bank: Bank,
    now: Timestamp,
    key: SigningKey,
    merchant: MerchantId,
    device: DeviceId,
    calls: u8,
}

fn eur(minor: i64) -> Money {
    Currency::parse("EUR").unwrap().minor(minor)
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey::from_raw(Algorithm::Ed25519, key.verifying_key().as_bytes()).unwrap()
}

fn sign<D: Document>(key: &SigningKey, document: &D) -> String {
    let input = jws::signing_input(document, Algorithm::Ed25519, &public(key).key_id()).unwrap();
    jws::assemble(&input, &key.sign(input.as_bytes()).to_bytes())
}

fn approved(minor: i64) -> BankOutcome {
    BankOutcome::Approved { amount: eur(minor), expires_at: None }
}

impl World {
    fn new() -> Self {
        Self::with(NewAccount::plain(ACCOUNT, eur(10_000)))
    }

    fn with(account: NewAccount) -> Self {
        let now = Timestamp::from_millis(START);
        let mut world = Self {
            bank: Bank::in_memory().unwrap(),
            now,
            key: SigningKey::from_bytes(&[1; 32]),
            merchant: MerchantId::parse("m1").unwrap(),
            device: DeviceId::new(now, [1; 10]),
            calls: 0,
        };
        world.bank.open_account(now, &account).unwrap();
        let key = world.new_key(ACCOUNT);
        world.bank.confirm_key(now, &key).unwrap();
        world
    }

    fn new_key(&self, account: &str) -> NewKey {
        NewKey {
            account: account.into(),
            merchant_id: self.merchant.clone(),
            device_id: self.device,
            key: public(&self.key),
        }
    }

    fn trip(&self, n: u8) -> TripId {
        TripId::new(Timestamp::from_millis(START), [n; 10])
    }

    fn hold_document(&self, trip: u8, number: u32, minor: i64) -> HoldRequest {
        HoldRequest {
            merchant_id: self.merchant.clone(),
            store_id: StoreId::parse("s1").unwrap(),
            sub: Sub::parse("u1").unwrap(),
            device_id: self.device,
            device_seq: 1,
            trip_id: self.trip(trip),
            hold_id: HoldId::new(Timestamp::from_millis(START), [trip, number as u8, 0, 0, 0, 0, 0, 0, 0, 0]),
            number,
            replaces: None,
            amount: eur(minor),
            requested_at: self.now,
        }
    }

    fn basket_document(&self, trip: u8, minor: i64) -> BasketSummary {
        BasketSummary {
            merchant_id: self.merchant.clone(),
            store_id: StoreId::parse("s1").unwrap(),
            sub: Sub::parse("u1").unwrap(),
            device_id: self.device,
            device_seq: 2,
            trip_id: self.trip(trip),
            attempt: 1,
            hold_id: None,
            catalogue_revision: 1,
            pricing_version: 1,
            priced_at: self.now,
            total: eur(minor),
            item_count: 1,
            lines_sha256: "x".into(),
        }
    }

    fn basket(&self, trip: u8, minor: i64) -> String {
        sign(&self.key, &self.basket_document(trip, minor))
    }

    fn request(&self, trip: u8, suffix: &str, operation: BankOperation) -> BankRequest {
        let trip_id = self.trip(trip);
        let reference = format!("{trip_id}.{suffix}");
        BankRequest { merchant_id: self.merchant.clone(), reference, subject: trip_id.into(), operation }
    }

    fn reference(&self, trip: u8, suffix: &str) -> String {
        format!("{}.{suffix}", self.trip(trip))
    }

    fn place(&self, trip: u8, number: u32, minor: i64) -> BankRequest {
        let hold_jws = sign(&self.key, &self.hold_document(trip, number, minor));
        let operation = BankOperation::PlaceHold { account: ACCOUNT.into(), amount: eur(minor), hold_jws };
        self.request(trip, &format!("h{number}"), operation)
    }

    fn raise(&self, trip: u8, number: u32, minor: i64) -> BankRequest {
        let hold_jws = sign(&self.key, &self.hold_document(trip, number, minor));
        let hold_reference = self.reference(trip, "h1");
        let operation = BankOperation::RaiseHold { hold_reference, amount: eur(minor), hold_jws };
        self.request(trip, &format!("h{number}"), operation)
    }

    fn release(&self, trip: u8, suffix: &str) -> BankRequest {
        let operation = BankOperation::ReleaseHold { hold_reference: self.reference(trip, "h1") };
        self.request(trip, suffix, operation)
    }

    fn capture(&self, trip: u8, suffix: &str, minor: i64, total: i64) -> BankRequest {
        let operation = BankOperation::Capture {
            hold_reference: self.reference(trip, "h1"),
            amount: eur(minor),
            basket_jws: self.basket(trip, total),
        };
        self.request(trip, suffix, operation)
    }

    fn debit(&self, trip: u8, suffix: &str, minor: i64, total: i64) -> BankRequest {
        self.debit_with(trip, suffix, minor, self.basket(trip, total))
    }

    fn debit_with(&self, trip: u8, suffix: &str, minor: i64, basket_jws: String) -> BankRequest {
        let operation = BankOperation::Debit { account: ACCOUNT.into(), amount: eur(minor), basket_jws };
        self.request(trip, suffix, operation)
    }

    fn reverse(&self, trip: u8, suffix: &str, of: &str, minor: i64) -> BankRequest {
        let operation = BankOperation::Reverse { original_reference: self.reference(trip, of), amount: eur(minor) };
        self.request(trip, suffix, operation)
    }

    /// Calls the bank and checks the invariants; every third call comes after a restart.
    fn call(&mut self, request: &BankRequest) -> BankOutcome {
        self.call_as(request, Treatment::Normal)
    }

    fn call_as(&mut self, request: &BankRequest, treatment: Treatment) -> BankOutcome {
        self.calls += 1;
        if self.calls.is_multiple_of(3) {
            let bank = std::mem::replace(&mut self.bank, Bank::in_memory().unwrap());
            self.bank = bank.reopen().unwrap();
        }
        let outcome = self.bank.handle_as(self.now, request, treatment).unwrap();
        self.sound();
        outcome
    }

    fn refused(&mut self, request: &BankRequest, reason: &str) {
        assert_eq!(self.call(request), declined(reason), "{request:?}");
    }

    fn placed(&mut self, trip: u8, minor: i64) {
        let outcome = self.call(&self.place(trip, 1, minor));
        assert!(matches!(outcome, BankOutcome::Approved { amount, expires_at: Some(_) } if amount == eur(minor)));
    }

    fn sound(&self) {
        assert_eq!(self.bank.violations().unwrap(), Vec::<String>::new());
    }

    fn balance(&self) -> (i64, i64) {
        let (balance, reserved) = self.bank.balance(ACCOUNT).unwrap();
        (balance.minor, reserved.minor)
    }
}

#[test]
fn a_hold_reserves_and_a_capture_frees_the_rest() {
    let mut w = World::new();
    w.placed(1, 5_000);
    assert_eq!(w.balance(), (10_000, 5_000));
    assert_eq!(w.call(&w.capture(1, "c", 3_000, 3_000)), approved(3_000));
    assert_eq!(w.balance(), (7_000, 0));
    w.refused(&w.capture(1, "c2", 1, 3_000), "hold_resolved");
    w.refused(&w.release(1, "r1"), "hold_resolved");
}

#[test]
fn a_reference_has_one_outcome() {
    let mut w = World::new();
    let first = w.place(1, 1, 5_000);
    let outcome = w.call(&first);
    assert_eq!(w.call(&first), outcome);
    assert_eq!(w.balance(), (10_000, 5_000));
    let other = BankRequest { reference: first.reference.clone(), ..w.place(1, 2, 6_000) };
    w.refused(&other, "reference_conflict");
    let known = w.bank.query(&w.merchant, &first.reference).unwrap();
    assert_eq!(known, BankQueryAnswer::Known { outcome });
    assert_eq!(w.bank.query(&w.merchant, "other").unwrap(), BankQueryAnswer::NeverSeen);
    let stranger = MerchantId::parse("m2").unwrap();
    assert_eq!(w.bank.query(&stranger, &first.reference).unwrap(), BankQueryAnswer::NeverSeen);
}

#[test]
fn a_refusal_stays_even_when_its_cause_goes() {
    let mut w = World::new();
    let debit = w.debit(1, "d", 20_000, 20_000);
    w.refused(&debit, "insufficient_funds");
    w.bank.open_account(w.now, &NewAccount::plain("acct-2", eur(0))).unwrap();
    w.refused(&debit, "insufficient_funds");
    assert_eq!(w.balance(), (10_000, 0));
}

#[test]
fn query_answers_survive_json() {
    let answers = [
        BankQueryAnswer::NeverSeen,
        BankQueryAnswer::Known { outcome: approved(5) },
        BankQueryAnswer::Known { outcome: declined("limit") },
    ];
    for answer in answers {
        let json = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<BankQueryAnswer>(&json).unwrap(), answer, "{json}");
    }
}

#[test]
fn a_hold_can_be_released_once_and_only_if_it_exists() {
    let mut w = World::new();
    w.refused(&w.release(1, "r0"), "hold_unknown");
    w.placed(1, 5_000);
    assert_eq!(w.call(&w.release(1, "r1")), approved(5_000));
    assert_eq!(w.call(&w.release(1, "r1")), approved(5_000), "the same again");
    w.refused(&w.release(1, "r2"), "hold_resolved");
    w.refused(&w.capture(1, "c", 100, 100), "hold_resolved");
    assert_eq!(w.balance(), (10_000, 0));
}

#[test]
fn a_hold_expires_at_its_time_and_allows_a_plain_debit() {
    let mut w = World::new();
    w.bank.set_hold_lifetime(Duration::from_secs(60));
    w.placed(1, 5_000);
    w.now = w.now.plus(Duration::from_millis(59_999));
    assert_eq!(w.bank.expire_due(w.now).unwrap(), 0);
    w.now = w.now.plus(Duration::from_millis(1));
    w.refused(&w.capture(1, "c", 4_000, 4_000), "hold_expired");
    w.refused(&w.release(1, "r1"), "hold_expired");
    assert_eq!(w.bank.expire_due(w.now).unwrap(), 0, "already done");
    assert_eq!(w.call(&w.debit(1, "d", 4_000, 4_000)), approved(4_000));
    assert_eq!(w.balance(), (6_000, 0));
}

#[test]
fn funds_less_reservations_are_the_limit() {
    let mut w = World::with(NewAccount { credit_limit: 1_000, ..NewAccount::plain(ACCOUNT, eur(1_000)) });
    w.placed(1, 1_500);
    w.refused(&w.place(2, 1, 501), "insufficient_funds");
    w.refused(&w.debit(3, "d", 501, 501), "insufficient_funds");
    assert_eq!(w.call(&w.debit(3, "d2", 500, 501)), approved(500));
    assert_eq!(w.call(&w.capture(1, "c", 1_500, 1_500)), approved(1_500));
    assert_eq!(w.balance(), (-1_000, 0));
}

#[test]
fn a_raise_takes_a_higher_number_and_amount() {
    let mut w = World::new();
    w.placed(1, 5_000);
    w.refused(&BankRequest { reference: "other".into(), ..w.raise(1, 2, 11_000) }, "insufficient_funds");
    let lower = BankRequest { reference: "lower".into(), ..w.raise(1, 3, 4_999) };
    w.refused(&lower, "document_mismatch");
    let outcome = w.call(&w.raise(1, 4, 8_000));
    assert!(matches!(outcome, BankOutcome::Approved { amount, expires_at: Some(_) } if amount == eur(8_000)));
    assert_eq!(w.balance(), (10_000, 8_000));
    let older = BankRequest { reference: "older".into(), ..w.raise(1, 3, 9_000) };
    w.refused(&older, "document_mismatch");
    assert_eq!(w.call(&w.capture(1, "c", 8_000, 8_000)), approved(8_000));
}

#[test]
fn without_top_up_the_reference_stays_free_for_a_new_hold() {
    let mut w = World::with(NewAccount { top_up: false, ..NewAccount::plain(ACCOUNT, eur(20_000)) });
    w.placed(1, 5_000);
    w.refused(&w.raise(1, 2, 8_000), "top_up_unsupported");
    w.refused(&w.raise(1, 2, 8_000), "top_up_unsupported");
    let answer = w.bank.query(&w.merchant, &w.reference(1, "h2")).unwrap();
    assert_eq!(answer, BankQueryAnswer::NeverSeen);
    let outcome = w.call(&w.place(1, 2, 8_000));
    assert!(matches!(outcome, BankOutcome::Approved { .. }));
    assert_eq!(w.balance(), (20_000, 13_000));
    assert_eq!(w.call(&w.release(1, "r1")), approved(5_000));
}

#[test]
fn a_hold_request_is_good_for_one_hold() {
    let mut w = World::new();
    w.placed(1, 1_000);
    w.refused(&BankRequest { reference: "again".into(), ..w.place(1, 1, 1_000) }, "document_mismatch");
}

#[test]
fn debits_of_a_trip_stay_within_the_signed_total_over_all_references() {
    let mut w = World::new();
    w.placed(1, 3_000);
    assert_eq!(w.call(&w.capture(1, "c", 3_000, 5_000)), approved(3_000));
    w.refused(&w.debit(1, "d0", 2_001, 5_000), "amount_above_signed");
    assert_eq!(w.call(&w.debit(1, "d", 2_000, 5_000)), approved(2_000));
    w.refused(&w.debit(1, "d2", 1, 5_000), "amount_above_signed");
    assert_eq!(w.balance(), (5_000, 0));
}

#[test]
fn a_trip_is_debited_for_its_first_basket_only() {
    let mut w = World::new();
    assert_eq!(w.call(&w.debit(1, "d", 1_000, 5_000)), approved(1_000));
    let other = sign(&w.key, &BasketSummary { attempt: 2, ..w.basket_document(1, 9_000) });
    w.refused(&w.debit_with(1, "e", 1_000, other), "document_mismatch");
    assert_eq!(w.call(&w.reverse(1, "v.d", "d", 1_000)), approved(1_000));
    let other = sign(&w.key, &BasketSummary { attempt: 3, ..w.basket_document(1, 100) });
    w.refused(&w.debit_with(1, "f", 100, other), "document_mismatch");
}

#[test]
fn a_capture_is_within_its_hold_and_its_trip() {
    let mut w = World::new();
    w.placed(1, 3_000);
    w.refused(&w.capture(1, "c0", 3_001, 5_000), "amount_above_signed");
    let mut foreign = w.capture(2, "c", 1_000, 1_000);
    foreign.operation = BankOperation::Capture {
        hold_reference: w.reference(1, "h1"),
        amount: eur(1_000),
        basket_jws: w.basket(2, 1_000),
    };
    w.refused(&foreign, "document_mismatch");
    w.refused(&w.capture(3, "c", 1_000, 1_000), "hold_unknown");
    assert_eq!(w.balance(), (10_000, 3_000));
}

#[test]
fn reversals_are_within_the_original_and_free_the_total() {
    let mut w = World::new();
    assert_eq!(w.call(&w.debit(1, "d", 3_000, 3_000)), approved(3_000));
    w.refused(&w.reverse(1, "v0", "d", 3_001), "amount_above_signed");
    w.refused(&w.reverse(1, "v1", "x", 1), "document_mismatch");
    w.refused(&w.reverse(1, "v2", "d", 0), "limit");
    assert_eq!(w.call(&w.reverse(1, "v.d", "d", 2_000)), approved(2_000));
    w.refused(&w.reverse(1, "v3", "d", 1_001), "amount_above_signed");
    assert_eq!(w.call(&w.reverse(1, "f", "d", 1_000)), approved(1_000));
    assert_eq!(w.balance(), (10_000, 0));
    let amounts: Vec<i64> =
        w.bank.statement(&w.merchant, 0, 10).unwrap().iter().map(|entry| entry.amount.minor).collect();
    assert_eq!(amounts, [3_000, -2_000, -1_000]);
}

#[test]
fn documents_must_be_signed_by_a_key_that_the_holder_confirmed() {
    let mut w = World::new();
    let mine = w.basket_document(1, 1_000);
    let stranger = sign(&SigningKey::from_bytes(&[9; 32]), &mine);
    w.refused(&w.debit_with(1, "a", 1_000, stranger), "key_not_confirmed");

    let good = w.basket(1, 1_000);
    let (head, tail) = good.split_at(good.len() / 2);
    let flipped = if tail.starts_with('A') { "B" } else { "A" };
    w.refused(&w.debit_with(1, "b", 1_000, format!("{head}{flipped}{}", &tail[1..])), "signature_invalid");
    w.refused(&w.debit_with(1, "c", 1_000, String::new()), "signature_invalid");

    let payload = good.split('.').nth(1).unwrap();
    let mut raised = w.basket(1, 9_000);
    raised = raised.replace(raised.split('.').nth(1).unwrap(), payload);
    w.refused(&w.debit_with(1, "d", 1_000, raised), "signature_invalid");

    let cancellation = TripCancellation {
        merchant_id: w.merchant.clone(),
        sub: Sub::parse("u1").unwrap(),
        device_id: w.device,
        device_seq: 1,
        trip_id: w.trip(1),
        cancelled_at: w.now,
    };
    w.refused(&w.debit_with(1, "e", 1_000, sign(&w.key, &cancellation)), "signature_invalid");
    let hold = sign(&w.key, &w.hold_document(1, 1, 1_000));
    w.refused(&w.debit_with(1, "f", 1_000, hold), "signature_invalid");

    let kid = public(&w.key).key_id();
    w.bank.revoke_key(w.now, ACCOUNT, &w.merchant.clone(), &kid).unwrap();
    w.refused(&w.debit(1, "g", 1_000, 1_000), "key_not_confirmed");
    let again = w.new_key(ACCOUNT);
    assert_eq!(w.bank.confirm_key(w.now, &again), Err(BankError::Holder { reason: "key_taken" }));
    assert_eq!(w.balance(), (10_000, 0));
}

#[test]
fn a_key_signs_for_its_account_and_merchant_only() {
    let mut w = World::new();
    w.bank.open_account(w.now, &NewAccount::plain("acct-2", eur(10_000))).unwrap();
    let operation =
        BankOperation::Debit { account: "acct-2".into(), amount: eur(1_000), basket_jws: w.basket(1, 1_000) };
    w.refused(&w.request(1, "a", operation), "key_not_confirmed");
    let mut request = w.debit(1, "b", 1_000, 1_000);
    request.merchant_id = MerchantId::parse("m2").unwrap();
    w.refused(&request, "key_not_confirmed");
    let key = NewKey { merchant_id: MerchantId::parse("m2").unwrap(), ..w.new_key(ACCOUNT) };
    w.bank.confirm_key(w.now, &key).unwrap();
    request.reference = "c".into();
    w.refused(&request, "document_mismatch");
}

#[test]
fn documents_are_bound_to_trip_device_currency_and_amount() {
    let mut w = World::new();
    let usd = Currency::parse("USD").unwrap().minor(1_000);
    let baskets = [
        BasketSummary { trip_id: w.trip(2), ..w.basket_document(1, 1_000) },
        BasketSummary { device_id: DeviceId::new(w.now, [2; 10]), ..w.basket_document(1, 1_000) },
        BasketSummary { merchant_id: MerchantId::parse("m2").unwrap(), ..w.basket_document(1, 1_000) },
        BasketSummary { total: usd, ..w.basket_document(1, 1_000) },
    ];
    for (n, basket) in baskets.iter().enumerate() {
        w.refused(&w.debit_with(1, &format!("a{n}"), 1_000, sign(&w.key, basket)), "document_mismatch");
    }
    let operation = BankOperation::Debit { account: ACCOUNT.into(), amount: usd, basket_jws: w.basket(1, 1_000) };
    w.refused(&w.request(1, "b", operation), "document_mismatch");

    for (suffix, asked, reason) in [("h3", 1_001, "amount_above_signed"), ("h4", 999, "document_mismatch")] {
        let hold_jws = sign(&w.key, &w.hold_document(1, 1, 1_000));
        let operation = BankOperation::PlaceHold { account: ACCOUNT.into(), amount: eur(asked), hold_jws };
        w.refused(&w.request(1, suffix, operation), reason);
    }
    assert_eq!(w.balance(), (10_000, 0));
}

#[test]
fn amounts_and_references_have_limits() {
    let mut w = World::new();
    for (suffix, minor) in [("a", 0), ("b", -1), ("c", i64::MIN + 1)] {
        w.refused(&w.debit(1, suffix, minor, 1_000), "limit");
    }
    w.refused(&w.debit(1, "d", walkpay::money::MAX_MINOR, 1_000), "amount_above_signed");
    for reference in ["", "a b", "a/b", "ü", &"x".repeat(MAX_REFERENCE + 1)] {
        w.refused(&BankRequest { reference: reference.into(), ..w.debit(1, "d", 1, 1_000) }, "limit");
    }
}

#[test]
fn closed_and_unknown_accounts_give_and_take_nothing() {
    let mut w = World::new();
    assert_eq!(w.call(&w.debit(1, "d", 1_000, 2_000)), approved(1_000));
    w.bank.set_account_state(ACCOUNT, AccountState::Closed).unwrap();
    w.refused(&w.debit(1, "e", 1_000, 2_000), "account_closed");
    w.refused(&w.place(2, 1, 1_000), "account_closed");
    w.refused(&w.reverse(1, "v.d", "d", 1_000), "account_closed");
    let operation = BankOperation::Debit { account: "nobody".into(), amount: eur(1), basket_jws: w.basket(3, 1) };
    w.refused(&w.request(3, "d", operation), "account_unknown");
}

#[test]
fn partial_approvals_by_account_and_by_fault() {
    let mut w = World::with(NewAccount { approve_at_most: Some(700), ..NewAccount::plain(ACCOUNT, eur(10_000)) });
    assert_eq!(w.call(&w.debit(1, "d", 1_000, 1_000)), approved(700));
    w.refused(&w.reverse(1, "v0", "d", 701), "amount_above_signed");
    assert_eq!(w.call(&w.reverse(1, "v.d", "d", 700)), approved(700));
    assert_eq!(w.call_as(&w.debit(2, "d", 1_000, 1_000), Treatment::Partial), approved(500));
    w.placed(3, 2_000);
    assert_eq!(w.call(&w.capture(3, "c", 2_000, 2_000)), approved(700));
    assert_eq!(w.balance(), (10_000 - 500 - 700, 0));
}

#[test]
fn a_late_success_is_refused_first_and_booked_within_the_rules() {
    let mut w = World::new();
    w.placed(1, 3_000);
    let due = w.now.plus(Duration::from_secs(5));
    let capture = w.capture(1, "c", 3_000, 3_000);
    let late = Treatment::LateSuccess { due };
    assert_eq!(w.call_as(&capture, late), declined("insufficient_funds"));
    assert_eq!(w.bank.book_late(w.now).unwrap(), 0);
    assert_eq!(w.call(&w.release(1, "r1")), approved(3_000));
    assert_eq!(w.call_as(&w.debit(2, "d", 9_000, 9_000), late), declined("insufficient_funds"));
    w.now = due;
    assert_eq!(w.bank.book_late(w.now).unwrap(), 1, "the second one is not covered any more");
    assert_eq!(w.bank.book_late(w.now).unwrap(), 0);
    w.sound();
    assert_eq!(w.balance(), (7_000, 0));
    assert_eq!(w.call(&capture), declined("insufficient_funds"), "the outcome stays");
    let statement = w.bank.statement(&w.merchant, 0, 10).unwrap();
    assert_eq!(statement.iter().map(|e| e.reference.as_str()).collect::<Vec<_>>(), [capture.reference.as_str()]);
    assert_eq!(w.call(&w.reverse(1, "f", "c", 3_000)), approved(3_000));
}

#[test]
fn the_statement_counts_per_merchant_and_pages() {
    let mut w = World::new();
    for n in 1..=5 {
        assert_eq!(w.call(&w.debit(n, "d", 100, 100)), approved(100));
    }
    let seqs = |after, limit| -> Vec<u64> {
        w.bank.statement(&w.merchant, after, limit).unwrap().iter().map(|e| e.seq).collect()
    };
    assert_eq!(seqs(0, 10), [1, 2, 3, 4, 5]);
    assert_eq!(seqs(2, 2), [3, 4]);
    assert_eq!(seqs(5, 10), Vec::<u64>::new());
    assert_eq!(seqs(u64::MAX, 10), Vec::<u64>::new());
    assert_eq!(w.bank.statement(&MerchantId::parse("m2").unwrap(), 0, 10).unwrap(), []);
}

#[test]
fn the_pin_is_checked_counted_and_locked() {
    let mut w = World::with(NewAccount { pin: Some("4711".into()), ..NewAccount::plain(ACCOUNT, eur(0)) });
    let wrong = Err(BankError::Holder { reason: "pin_wrong" });
    assert_eq!(w.bank.check_pin("nobody", "4711"), wrong);
    for _ in 0..4 {
        assert_eq!(w.bank.check_pin(ACCOUNT, "4712"), wrong);
    }
    assert_eq!(w.bank.check_pin(ACCOUNT, "4711"), Ok(()), "counting starts again");
    for _ in 0..5 {
        assert_eq!(w.bank.check_pin(ACCOUNT, ""), wrong);
    }
    assert_eq!(w.bank.check_pin(ACCOUNT, "4711"), Err(BankError::Holder { reason: "pin_locked" }));
}

#[test]
fn invariants_see_what_must_not_be() {
    let breakages = [
        "INSERT INTO entries (transfer, book_account, amount, currency, at) VALUES (99, 'world', 1, 'EUR', 0)",
        "UPDATE accounts SET balance = balance + 1",
        "UPDATE holds SET amount = 99999",
        "UPDATE holds SET state = 'released'",
        "INSERT INTO hold_events (merchant_id, reference, event, amount, at)
         SELECT merchant_id, reference, 'released', amount, 0 FROM holds",
        "UPDATE trips SET total = 999, debited = 999",
        "INSERT INTO statement SELECT merchant_id, 7, 'x', trip_id, 0, 'EUR', 0, 77 FROM statement",
    ];
    for breakage in breakages {
        let mut w = World::new();
        w.placed(1, 3_000);
        assert_eq!(w.call(&w.debit(2, "d", 1_000, 1_000)), approved(1_000));
        w.bank.db.execute(breakage, []).unwrap();
        assert_ne!(w.bank.violations().unwrap(), Vec::<String>::new(), "{breakage}");
    }
    let w = World::new();
    assert!(w.bank.db.execute("DELETE FROM entries", []).is_err(), "the book is append-only");
    assert!(w.bank.db.execute("UPDATE entries SET amount = 0", []).is_err());
}

#[test]
fn a_file_keeps_everything_and_other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.db");
    let mut w = World::new();
    let mut bank = Bank::open(&path).unwrap();
    bank.open_account(w.now, &NewAccount::plain(ACCOUNT, eur(10_000))).unwrap();
    bank.confirm_key(w.now, &w.new_key(ACCOUNT)).unwrap();
    w.bank = bank;
    let synchronous: i64 = w.bank.db.query_row("PRAGMA synchronous", [], |r| r.get(0)).unwrap();
    assert_eq!(synchronous, 2, "FULL");
    w.placed(1, 3_000);
    let capture = w.capture(1, "c", 2_000, 2_000);
    let outcome = w.call(&capture);
    drop(std::mem::replace(&mut w.bank, Bank::in_memory().unwrap()));
    w.bank = Bank::open(&path).unwrap().reopen().unwrap();
    assert_eq!(w.call(&capture), outcome);
    assert_eq!(w.balance(), (8_000, 0));
    assert_eq!(invariants::violations_in_file(&path).unwrap(), Vec::<String>::new());

    let problem = |path: &Path| match Bank::open(path) {
        Err(BankError::Storage { problem, .. }) => Some(problem),
        _ => None,
    };
    w.bank.db.pragma_update(None, "user_version", 99).unwrap();
    drop(w.bank);
    assert_eq!(problem(&path), Some(StorageProblem::TooNew));
    let other = folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert_eq!(problem(&other), Some(StorageProblem::Foreign));
    std::fs::write(folder.path().join("text"), "no database at all, but long enough to be looked at".repeat(30))
        .unwrap();
    assert_eq!(problem(&folder.path().join("text")), Some(StorageProblem::Foreign));
    assert_eq!(problem(folder.path()), Some(StorageProblem::Unreadable));
}
