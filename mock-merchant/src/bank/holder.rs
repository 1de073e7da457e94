//! What the holder of an account does at the bank itself: accounts, the PIN, and the keys that may sign for an account.

use super::book::{Bank, BankError};
use super::store::{Account, Book};
use ring::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use rusqlite::TransactionBehavior;
use std::num::NonZeroU32;
use walkpay::protocol::crypto::{PublicKey, sha256};
use walkpay::{DeviceId, KeyId, MerchantId, Money, Timestamp};

/// After so many wrong PINs in a row the PIN is refused.
pub const MAX_PIN_FAILURES: u32 = 5;
const PIN_ROUNDS: NonZeroU32 = NonZeroU32::new(20_000).expect("not zero");

/// Whether an account can be debited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountState {
    /// Yes.
    Open,
    /// No: `account_closed`.
    Closed,
}

impl AccountState {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }

    pub(super) fn parse(word: &str) -> Result<Self, BankError> {
        match word {
            "open" => Ok(Self::Open),
            "closed" => Ok(Self::Closed),
            _ => Err(BankError::Holder { reason: "invalid_value" }),
        }
    }
}

/// An account to be opened.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// What merchants know the account by; opaque, 1 to 64 ASCII letters, digits or `-_`.
    pub token: String,
    /// For people, masked: `DE ···· 4711`; at most 64 characters.
    pub label: String,
    /// What is paid in at opening; its currency is the account's.
    pub balance: Money,
    /// How far below zero the balance may go, minor units.
    pub credit_limit: i64,
    /// Whether placed holds can be raised.
    pub top_up: bool,
    /// Approves at most this much of each debit, minor units: the account of a bank with partial approvals.
    pub approve_at_most: Option<i64>,
    /// What the holder proves himself with on the bank's page, 4 to 64 bytes; without it, keys can only be confirmed in the process.
    pub pin: Option<String>,
}

impl NewAccount {
    /// An account with `balance` and no peculiarities.
    pub fn plain(token: &str, balance: Money) -> Self {
        Self {
            token: token.to_owned(),
            label: format!("···· {}", token.get(token.len().saturating_sub(4)..).unwrap_or(token)),
            balance,
            credit_limit: 0,
            top_up: true,
            approve_at_most: None,
            pin: None,
        }
    }
}

/// A consent key that the holder confirms for one merchant.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The account that it may sign for.
    pub account: String,
    /// The merchant that it may sign towards.
    pub merchant_id: MerchantId,
    /// The device that has it.
    pub device_id: DeviceId,
    /// The public part.
    pub key: PublicKey,
}

/// A key as it stands in the bank's table.
#[derive(Clone, Debug)]
pub(super) struct HolderKey {
    pub key: PublicKey,
    pub device_id: DeviceId,
    pub revoked: bool,
}

impl Bank {
    /// Lets a merchant in by the API key; a new one replaces the last.
    ///
    /// # Errors
    /// [`BankError::Storage`]: nothing was changed.
    pub fn register_merchant(&mut self, merchant: &MerchantId, api_key: &str) -> Result<(), BankError> {
        Ok(Book(&self.db).put_merchant(merchant, &sha256(api_key.as_bytes()))?)
    }

    /// The merchant that has this API key.
    ///
    /// # Errors
    /// [`BankError::Storage`] when the book cannot be read.
    pub fn merchant_of_key(&self, api_key: &str) -> Result<Option<MerchantId>, BankError> {
        Ok(Book(&self.db).merchant_of_key(&sha256(api_key.as_bytes()))?)
    }

    /// Opens an account and books what is paid in.
    ///
    /// # Errors
    /// [`BankError::Holder`] with `account_exists` or `invalid_value`; [`BankError::Storage`].
    pub fn open_account(&mut self, now: Timestamp, new: &NewAccount) -> Result<(), BankError> {
        let token_ok = (1..=64).contains(&new.token.len())
            && new.token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let amounts_ok =
            new.balance.minor >= 0 && new.credit_limit >= 0 && new.approve_at_most.is_none_or(|most| most > 0);
        let pin_ok = new.pin.as_ref().is_none_or(|pin| (4..=64).contains(&pin.len()));
        if !token_ok || !amounts_ok || !pin_ok || new.label.chars().count() > 64 {
            return Err(BankError::Holder { reason: "invalid_value" });
        }
        let pin = new.pin.as_ref().map(|pin| hash_pin(&new.token, pin));
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let book = Book(&tx);
        if book.account(&new.token)?.is_some() {
            return Err(BankError::Holder { reason: "account_exists" });
        }
        let account = Account {
            token: new.token.clone(),
            label: new.label.clone(),
            currency: new.balance.currency,
            balance: 0,
            credit_limit: new.credit_limit,
            state: AccountState::Open,
            top_up: new.top_up,
            approve_at_most: new.approve_at_most,
        };
        book.insert_account(&account, pin.as_ref().map(|p| p.as_slice()))?;
        if new.balance.minor > 0 {
            let to = format!("account:{}", new.token);
            book.transfer(now, "world", &to, new.balance.minor, new.balance.currency)?;
        }
        tx.commit()?;
        Ok(())
    }

    /// Opens or closes an account.
    ///
    /// # Errors
    /// [`BankError::Holder`] with `account_unknown`; [`BankError::Storage`].
    pub fn set_account_state(&mut self, token: &str, state: AccountState) -> Result<(), BankError> {
        if Book(&self.db).set_account_state(token, state)? {
            return Ok(());
        }
        Err(BankError::Holder { reason: "account_unknown" })
    }

    /// What an account has and owes, and how much of it is reserved by holds.
    ///
    /// # Errors
    /// [`BankError::Holder`] with `account_unknown`; [`BankError::Storage`].
    pub fn balance(&self, token: &str) -> Result<(Money, Money), BankError> {
        let book = Book(&self.db);
        let account = book.account(token)?.ok_or(BankError::Holder { reason: "account_unknown" })?;
        let reserved = book.reserved(token)?;
        Ok((account.currency.minor(account.balance), account.currency.minor(reserved)))
    }

    /// The masked label of an account.
    ///
    /// # Errors
    /// [`BankError::Holder`] with `account_unknown`; [`BankError::Storage`].
    pub fn account_label(&self, token: &str) -> Result<String, BankError> {
        let account = Book(&self.db).account(token)?;
        Ok(account.ok_or(BankError::Holder { reason: "account_unknown" })?.label)
    }

    /// The holder confirms a key; the one who calls has made sure that it is the holder ([`Bank::check_pin`]).
    /// Confirming it again changes nothing; a revoked key stays revoked.
    ///
    /// # Errors
    /// [`BankError::Holder`] with `account_unknown`, or `key_taken` if the key is another device's or revoked;
    /// [`BankError::Storage`].
    pub fn confirm_key(&mut self, now: Timestamp, new: &NewKey) -> Result<(), BankError> {
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let book = Book(&tx);
        book.account(&new.account)?.ok_or(BankError::Holder { reason: "account_unknown" })?;
        if let Some(known) = book.key(&new.account, &new.merchant_id, &new.key.key_id())? {
            if known.revoked || known.device_id != new.device_id {
                return Err(BankError::Holder { reason: "key_taken" });
            }
            return Ok(());
        }
        let key = HolderKey { key: new.key.clone(), device_id: new.device_id, revoked: false };
        book.confirm_key(now, &new.account, &new.merchant_id, &key)?;
        tx.commit()?;
        Ok(())
    }

    /// The holder takes a key's right away, for ever. Revoking again changes nothing.
    ///
    /// # Errors
    /// [`BankError::Holder`] with `key_unknown`; [`BankError::Storage`].
    pub fn revoke_key(
        &mut self,
        now: Timestamp,
        account: &str,
        merchant: &MerchantId,
        kid: &KeyId,
    ) -> Result<(), BankError> {
        if Book(&self.db).revoke_key(now, account, merchant, kid)? {
            return Ok(());
        }
        Err(BankError::Holder { reason: "key_unknown" })
    }

    /// Whether this is the holder of the account. Wrong PINs are counted in the book.
    ///
    /// # Errors
    /// [`BankError::Holder`] with `pin_wrong` (also where there is no such account or no PIN) or `pin_locked`;
    /// [`BankError::Storage`].
    pub fn check_pin(&mut self, token: &str, pin: &str) -> Result<(), BankError> {
        let wrong = BankError::Holder { reason: "pin_wrong" };
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let book = Book(&tx);
        let Some((Some(stored), failures)) = book.pin(token)? else {
            return Err(wrong);
        };
        if failures >= MAX_PIN_FAILURES {
            return Err(BankError::Holder { reason: "pin_locked" });
        }
        let right = pbkdf2::verify(PBKDF2_HMAC_SHA256, PIN_ROUNDS, token.as_bytes(), pin.as_bytes(), &stored).is_ok();
        book.set_pin_failures(token, if right { 0 } else { failures + 1 })?;
        tx.commit()?;
        if right { Ok(()) } else { Err(wrong) }
    }
}

/// The token is unique, which is all that a salt must be.
fn hash_pin(token: &str, pin: &str) -> [u8; 32] {
    let mut out = [0; 32];
    pbkdf2::derive(PBKDF2_HMAC_SHA256, PIN_ROUNDS, token.as_bytes(), pin.as_bytes(), &mut out);
    out
}
