//! Typed functions over one transaction on the bank's book. No rules here.

use super::holder::{AccountState, HolderKey};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use walkpay::protocol::crypto::{Jwk, PublicKey};
use walkpay::{Currency, DeviceId, KeyId, MerchantId, Timestamp};

use super::port::{BankOutcome, BankRequest, StatementEntry, Subject};

/// An account of the bank, amounts in minor units of `currency`.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub token: String,
    pub label: String,
    pub currency: Currency,
    pub balance: i64,
    pub credit_limit: i64,
    pub state: AccountState,
    pub top_up: bool,
    pub approve_at_most: Option<i64>,
}

/// A hold as it stands.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub reference: String,
    pub account: String,
    pub subject: Subject,
    pub amount: i64,
    pub number: u32,
    pub state: String,
    pub expires_at: Timestamp,
}

/// What was taken under a reference.
pub(super) struct Debit {
    pub subject: Subject,
    pub account: String,
    pub amount: i64,
    pub reversed: i64,
}

/// The document that a subject's debits are bound to: the basket of a trip, or a slip payment.
pub(super) struct Pinned {
    pub account: String,
    pub basket_sha256: String,
    pub total: i64,
    pub debited: i64,
}

/// One line of the book, for people.
pub(super) struct Entry {
    pub transfer: i64,
    pub book_account: String,
    pub amount: i64,
    pub currency: Currency,
    pub at: Timestamp,
}

/// The book within a transaction.
pub(super) struct Book<'a>(pub &'a Connection);

impl Book<'_> {
    // ---- merchants and accounts ----

    pub fn put_merchant(&self, merchant: &MerchantId, api_key_sha256: &[u8; 32]) -> Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO merchants VALUES (?1, ?2) ON CONFLICT (merchant_id) DO UPDATE SET api_key_sha256 = ?2",
            )?
            .execute(params![merchant.as_str(), api_key_sha256.as_slice()])?;
        Ok(())
    }

    pub fn merchant_of_key(&self, api_key_sha256: &[u8; 32]) -> Result<Option<MerchantId>> {
        self.0
            .prepare_cached("SELECT merchant_id FROM merchants WHERE api_key_sha256 = ?1")?
            .query_row([api_key_sha256.as_slice()], |r| parsed(r, 0, MerchantId::parse))
            .optional()
    }

    pub fn insert_account(&self, account: &Account, pin: Option<&[u8]>) -> Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO accounts (token, label, currency, balance, credit_limit, state, top_up, approve_at_most, pin)
                 VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                account.token,
                account.label,
                account.currency.code(),
                account.credit_limit,
                account.state.word(),
                account.top_up,
                account.approve_at_most,
                pin
            ])?;
        Ok(())
    }

    pub fn account(&self, token: &str) -> Result<Option<Account>> {
        self.0
            .prepare_cached(
                "SELECT token, label, currency, balance, credit_limit, state, top_up, approve_at_most
                 FROM accounts WHERE token = ?1",
            )?
            .query_row([token], account)
            .optional()
    }

    pub fn accounts(&self, limit: u32) -> Result<Vec<Account>> {
        self.0
            .prepare_cached(
                "SELECT token, label, currency, balance, credit_limit, state, top_up, approve_at_most
                 FROM accounts ORDER BY token LIMIT ?1",
            )?
            .query_map([limit], account)?
            .collect()
    }

    pub fn set_account_state(&self, token: &str, state: AccountState) -> Result<bool> {
        let changed = self
            .0
            .prepare_cached("UPDATE accounts SET state = ?2 WHERE token = ?1")?
            .execute(params![token, state.word()])?;
        Ok(changed == 1)
    }

    pub fn pin(&self, token: &str) -> Result<Option<(Option<Vec<u8>>, u32)>> {
        self.0
            .prepare_cached("SELECT pin, pin_failures FROM accounts WHERE token = ?1")?
            .query_row([token], |r| Ok((r.get(0)?, r.get(1)?)))
            .optional()
    }

    pub fn set_pin_failures(&self, token: &str, failures: u32) -> Result<()> {
        self.0
            .prepare_cached("UPDATE accounts SET pin_failures = ?2 WHERE token = ?1")?
            .execute(params![token, failures])?;
        Ok(())
    }

    // ---- keys ----

    pub fn confirm_key(&self, now: Timestamp, account: &str, merchant: &MerchantId, key: &HolderKey) -> Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO holder_keys (account, merchant_id, kid, jwk, device_id, confirmed_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                account,
                merchant.as_str(),
                key.key.key_id().as_str(),
                serde_json::to_string(&key.key.to_jwk()).map_err(unwritable)?,
                key.device_id.to_string(),
                now.as_millis()
            ])?;
        Ok(())
    }

    pub fn key(&self, account: &str, merchant: &MerchantId, kid: &KeyId) -> Result<Option<HolderKey>> {
        self.0
            .prepare_cached(
                "SELECT jwk, device_id, revoked_at FROM holder_keys
                 WHERE account = ?1 AND merchant_id = ?2 AND kid = ?3",
            )?
            .query_row(params![account, merchant.as_str(), kid.as_str()], |r| {
                Ok(HolderKey {
                    key: parsed(r, 0, key_of_jwk)?,
                    device_id: parsed(r, 1, DeviceId::parse)?,
                    revoked: r.get::<_, Option<i64>>(2)?.is_some(),
                })
            })
            .optional()
    }

    pub fn revoke_key(&self, now: Timestamp, account: &str, merchant: &MerchantId, kid: &KeyId) -> Result<bool> {
        let changed = self
            .0
            .prepare_cached(
                "UPDATE holder_keys SET revoked_at = ifnull(revoked_at, ?4)
                 WHERE account = ?1 AND merchant_id = ?2 AND kid = ?3",
            )?
            .execute(params![account, merchant.as_str(), kid.as_str(), now.as_millis()])?;
        Ok(changed == 1)
    }

    // ---- operations ----

    pub fn operation(&self, merchant: &MerchantId, reference: &str) -> Result<Option<(String, BankOutcome)>> {
        self.0
            .prepare_cached("SELECT request_sha256, outcome FROM operations WHERE merchant_id = ?1 AND reference = ?2")?
            .query_row(params![merchant.as_str(), reference], |r| Ok((r.get(0)?, json(r, 1)?)))
            .optional()
    }

    pub fn insert_operation(
        &self,
        now: Timestamp,
        request: &BankRequest,
        sha256: &str,
        outcome: &BankOutcome,
    ) -> Result<()> {
        self.0.prepare_cached("INSERT INTO operations VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
            request.merchant_id.as_str(),
            request.reference,
            sha256,
            serde_json::to_string(outcome).map_err(unwritable)?,
            now.as_millis()
        ])?;
        Ok(())
    }

    // ---- holds ----

    pub fn hold(&self, merchant: &MerchantId, reference: &str) -> Result<Option<Hold>> {
        self.0
            .prepare_cached(
                "SELECT reference, account, trip_id, amount, number, state, expires_at
                 FROM holds WHERE merchant_id = ?1 AND reference = ?2",
            )?
            .query_row(params![merchant.as_str(), reference], hold)
            .optional()
    }

    pub fn holds_placed(&self, limit: u32) -> Result<Vec<Hold>> {
        self.0
            .prepare_cached(
                "SELECT reference, account, trip_id, amount, number, state, expires_at
                 FROM holds WHERE state = 'placed' ORDER BY expires_at, reference LIMIT ?1",
            )?
            .query_map([limit], hold)?
            .collect()
    }

    /// The sum of what is reserved on an account, minor units.
    pub fn reserved(&self, account: &str) -> Result<i64> {
        self.0
            .prepare_cached("SELECT ifnull(sum(amount), 0) FROM holds WHERE account = ?1 AND state = 'placed'")?
            .query_row([account], |r| r.get(0))
    }

    pub fn insert_hold(&self, now: Timestamp, merchant: &MerchantId, hold: &Hold) -> Result<()> {
        self.0.prepare_cached("INSERT INTO holds VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'placed', ?7)")?.execute(params![
            merchant.as_str(),
            hold.reference,
            hold.account,
            hold.subject.to_string(),
            hold.amount,
            hold.number,
            hold.expires_at.as_millis()
        ])?;
        self.hold_event(now, merchant, &hold.reference, "placed", hold.amount)
    }

    pub fn raise_hold(&self, now: Timestamp, merchant: &MerchantId, hold: &Hold) -> Result<()> {
        self.0
            .prepare_cached(
                "UPDATE holds SET amount = ?3, number = ?4, expires_at = ?5 WHERE merchant_id = ?1 AND reference = ?2",
            )?
            .execute(params![
                merchant.as_str(),
                hold.reference,
                hold.amount,
                hold.number,
                hold.expires_at.as_millis()
            ])?;
        self.hold_event(now, merchant, &hold.reference, "raised", hold.amount)
    }

    /// Ends a placed hold; `state` is `captured` or `released`.
    pub fn resolve_hold(&self, now: Timestamp, merchant: &MerchantId, hold: &Hold, state: &'static str) -> Result<()> {
        self.0
            .prepare_cached("UPDATE holds SET state = ?3 WHERE merchant_id = ?1 AND reference = ?2")?
            .execute(params![merchant.as_str(), hold.reference, state])?;
        self.hold_event(now, merchant, &hold.reference, state, hold.amount)
    }

    /// Frees all holds whose time is over; how many.
    pub fn expire_holds(&self, now: Timestamp) -> Result<usize> {
        self.0
            .prepare_cached(
                "INSERT INTO hold_events (merchant_id, reference, event, amount, at)
                 SELECT merchant_id, reference, 'expired', amount, ?1 FROM holds
                 WHERE state = 'placed' AND expires_at <= ?1 ORDER BY merchant_id, reference",
            )?
            .execute([now.as_millis()])?;
        self.0
            .prepare_cached("UPDATE holds SET state = 'expired' WHERE state = 'placed' AND expires_at <= ?1")?
            .execute([now.as_millis()])
    }

    fn hold_event(
        &self,
        now: Timestamp,
        merchant: &MerchantId,
        reference: &str,
        event: &str,
        amount: i64,
    ) -> Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO hold_events (merchant_id, reference, event, amount, at) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![merchant.as_str(), reference, event, amount, now.as_millis()])?;
        Ok(())
    }

    /// Remembers that a hold request was carried out; false if it had been before.
    pub fn use_hold_document(&self, merchant: &MerchantId, hold_id: &str) -> Result<bool> {
        let inserted = self
            .0
            .prepare_cached("INSERT INTO hold_documents VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute(params![merchant.as_str(), hold_id])?;
        Ok(inserted == 1)
    }

    // ---- debits ----

    pub fn pinned(&self, merchant: &MerchantId, subject: &Subject) -> Result<Option<Pinned>> {
        self.0
            .prepare_cached(
                "SELECT account, basket_sha256, total, debited FROM trips WHERE merchant_id = ?1 AND trip_id = ?2",
            )?
            .query_row(params![merchant.as_str(), subject.to_string()], |r| {
                Ok(Pinned { account: r.get(0)?, basket_sha256: r.get(1)?, total: r.get(2)?, debited: r.get(3)? })
            })
            .optional()
    }

    pub fn put_pinned(&self, merchant: &MerchantId, subject: &Subject, pinned: &Pinned) -> Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO trips VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (merchant_id, trip_id) DO UPDATE SET debited = ?6",
            )?
            .execute(params![
                merchant.as_str(),
                subject.to_string(),
                pinned.account,
                pinned.basket_sha256,
                pinned.total,
                pinned.debited
            ])?;
        Ok(())
    }

    pub fn debit(&self, merchant: &MerchantId, reference: &str) -> Result<Option<Debit>> {
        self.0
            .prepare_cached(
                "SELECT trip_id, account, amount, reversed FROM debits WHERE merchant_id = ?1 AND reference = ?2",
            )?
            .query_row(params![merchant.as_str(), reference], |r| {
                Ok(Debit {
                    subject: parsed(r, 0, Subject::parse)?,
                    account: r.get(1)?,
                    amount: r.get(2)?,
                    reversed: r.get(3)?,
                })
            })
            .optional()
    }

    pub fn insert_debit(&self, merchant: &MerchantId, reference: &str, debit: &Debit) -> Result<()> {
        self.0.prepare_cached("INSERT INTO debits VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
            merchant.as_str(),
            reference,
            debit.subject.to_string(),
            debit.account,
            debit.amount,
            debit.reversed
        ])?;
        Ok(())
    }

    pub fn set_reversed(&self, merchant: &MerchantId, reference: &str, reversed: i64) -> Result<()> {
        self.0
            .prepare_cached("UPDATE debits SET reversed = ?3 WHERE merchant_id = ?1 AND reference = ?2")?
            .execute(params![merchant.as_str(), reference, reversed])?;
        Ok(())
    }

    // ---- late successes ----

    pub fn insert_late(&self, request: &BankRequest, due: Timestamp) -> Result<()> {
        self.0.prepare_cached("INSERT INTO late VALUES (?1, ?2, ?3, ?4, 'waiting')")?.execute(params![
            request.merchant_id.as_str(),
            request.reference,
            serde_json::to_string(request).map_err(unwritable)?,
            due.as_millis()
        ])?;
        Ok(())
    }

    pub fn late_due(&self, now: Timestamp) -> Result<Vec<BankRequest>> {
        self.0
            .prepare_cached("SELECT request FROM late WHERE state = 'waiting' AND due <= ?1 ORDER BY due, reference")?
            .query_map([now.as_millis()], |r| json(r, 0))?
            .collect()
    }

    pub fn end_late(&self, request: &BankRequest, state: &'static str) -> Result<()> {
        self.0
            .prepare_cached("UPDATE late SET state = ?3 WHERE merchant_id = ?1 AND reference = ?2")?
            .execute(params![request.merchant_id.as_str(), request.reference, state])?;
        Ok(())
    }

    // ---- the book ----

    /// Moves `amount` from one book account to another; the number of the transfer. Changes the balance of those that
    /// are accounts of holders.
    pub fn transfer(&self, now: Timestamp, from: &str, to: &str, amount: i64, currency: Currency) -> Result<i64> {
        let transfer: i64 =
            self.0.prepare_cached("SELECT ifnull(max(transfer), 0) + 1 FROM entries")?.query_row([], |r| r.get(0))?;
        for (account, amount) in [(from, -amount), (to, amount)] {
            self.0
                .prepare_cached(
                    "INSERT INTO entries (transfer, book_account, amount, currency, at) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![transfer, account, amount, currency.code(), now.as_millis()])?;
            if let Some(token) = account.strip_prefix("account:") {
                self.0
                    .prepare_cached("UPDATE accounts SET balance = balance + ?2 WHERE token = ?1")?
                    .execute(params![token, amount])?;
            }
        }
        Ok(transfer)
    }

    pub fn last_entries(&self, limit: u32) -> Result<Vec<Entry>> {
        self.0
            .prepare_cached(
                "SELECT transfer, book_account, amount, currency, at FROM entries ORDER BY entry_id DESC LIMIT ?1",
            )?
            .query_map([limit], |r| {
                Ok(Entry {
                    transfer: r.get(0)?,
                    book_account: r.get(1)?,
                    amount: r.get(2)?,
                    currency: parsed(r, 3, Currency::parse)?,
                    at: Timestamp::from_millis(r.get(4)?),
                })
            })?
            .collect()
    }

    /// Appends to the merchant's statement; `amount` is positive for what was taken from the account.
    pub fn insert_statement(
        &self,
        now: Timestamp,
        request: &BankRequest,
        amount: i64,
        currency: Currency,
        transfer: i64,
    ) -> Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO statement
                 SELECT ?1, ifnull(max(seq), 0) + 1, ?2, ?3, ?4, ?5, ?6, ?7 FROM statement WHERE merchant_id = ?1",
            )?
            .execute(params![
                request.merchant_id.as_str(),
                request.reference,
                request.subject.to_string(),
                amount,
                currency.code(),
                now.as_millis(),
                transfer
            ])?;
        Ok(())
    }

    pub fn statement(&self, merchant: &MerchantId, after: u64, limit: u32) -> Result<Vec<StatementEntry>> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.0
            .prepare_cached(
                "SELECT seq, reference, trip_id, amount, currency, booked_at FROM statement
                 WHERE merchant_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
            )?
            .query_map(params![merchant.as_str(), after, limit], |r| {
                Ok(StatementEntry {
                    seq: r.get::<_, i64>(0)?.unsigned_abs(),
                    reference: r.get(1)?,
                    subject: parsed(r, 2, Subject::parse)?,
                    amount: parsed(r, 4, Currency::parse)?.minor(r.get(3)?),
                    booked_at: Timestamp::from_millis(r.get(5)?),
                })
            })?
            .collect()
    }
}

fn account(r: &Row<'_>) -> Result<Account> {
    Ok(Account {
        token: r.get(0)?,
        label: r.get(1)?,
        currency: parsed(r, 2, Currency::parse)?,
        balance: r.get(3)?,
        credit_limit: r.get(4)?,
        state: parsed(r, 5, AccountState::parse)?,
        top_up: r.get(6)?,
        approve_at_most: r.get(7)?,
    })
}

fn hold(r: &Row<'_>) -> Result<Hold> {
    Ok(Hold {
        reference: r.get(0)?,
        account: r.get(1)?,
        subject: parsed(r, 2, Subject::parse)?,
        amount: r.get(3)?,
        number: r.get(4)?,
        state: r.get(5)?,
        expires_at: Timestamp::from_millis(r.get(6)?),
    })
}

fn key_of_jwk(text: &str) -> std::result::Result<PublicKey, walkpay::WalkpayError> {
    let jwk: Jwk = serde_json::from_str(text)
        .map_err(|e| walkpay::WalkpayError::Internal { detail: format!("holder_keys.jwk: {e}") })?;
    jwk.to_key()
}

fn parsed<T, E>(r: &Row<'_>, column: usize, parse: impl FnOnce(&str) -> std::result::Result<T, E>) -> Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let text: String = r.get(column)?;
    parse(&text).map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

fn json<T: serde::de::DeserializeOwned>(r: &Row<'_>, column: usize) -> Result<T> {
    parsed(r, column, |text| serde_json::from_str(text))
}

fn unwritable(e: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(e))
}
