//! The rules of the bank: what it does with an operation, and what it refuses.
//!
//! Synchronous; the clock is an argument. An operation, its outcome and its entries are one transaction, which is
//! committed before the answer is given.

mod debit;
mod hold;
#[cfg(test)]
mod tests;

use super::port::{BankOperation, BankOutcome, BankQueryAnswer, BankRequest, StatementEntry};
use super::store::{Account, Book};
use super::{AccountState, invariants, schema};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use std::time::Duration;
use walkpay::protocol::crypto::digest;
use walkpay::protocol::jws::{self, Document, Signed};
use walkpay::{DeviceId, MerchantId, Money, StorageProblem, Timestamp};

/// The longest reference that a merchant can use.
pub const MAX_REFERENCE: usize = 100;
/// How long a hold lasts unless [`Bank::set_hold_lifetime`] says otherwise.
pub const HOLD_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// The most statement entries in one answer.
pub const MAX_STATEMENT: u32 = 1000;

/// Why the bank cannot answer. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BankError {
    /// The file cannot be used.
    #[error("the bank's book: {detail}")]
    Storage {
        /// What is wrong with it.
        problem: StorageProblem,
        /// Where, and what to do.
        detail: String,
    },
    /// The holder did not prove who he is, or asked for something that does not exist.
    #[error("refused: {reason}")]
    Holder {
        /// A stable word: `pin_wrong`, `pin_locked`, `account_unknown`, `account_exists`, `key_unknown`, `key_taken`,
        /// `invalid_value`.
        reason: &'static str,
    },
}

impl BankError {
    pub(super) fn sqlite(e: &rusqlite::Error, whose: &str) -> Self {
        use rusqlite::ErrorCode as Code;
        let problem = match e.sqlite_error_code() {
            Some(Code::NotADatabase) => StorageProblem::Foreign,
            Some(Code::DatabaseCorrupt) => StorageProblem::Corrupt,
            Some(Code::DiskFull) => StorageProblem::Full,
            Some(Code::ReadOnly | Code::PermissionDenied) => StorageProblem::ReadOnly,
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => StorageProblem::InUse,
            _ => StorageProblem::Unreadable,
        };
        Self::Storage { problem, detail: format!("{whose}: {e}") }
    }
}

impl From<rusqlite::Error> for BankError {
    fn from(e: rusqlite::Error) -> Self {
        Self::sqlite(&e, "bank.db")
    }
}

/// How an operation is treated. Anything but `Normal` is a fault that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// By the rules.
    Normal,
    /// Declined with `insufficient_funds`, whatever the account has.
    Decline,
    /// A debit, capture or reversal is approved for half of what the rules allow.
    Partial,
    /// A debit or capture that the rules allow is declined with `insufficient_funds`, and nevertheless booked at `due`
    /// if it is still possible then.
    LateSuccess {
        /// When it is booked, by [`Bank::book_late`].
        due: Timestamp,
    },
}

/// The bank with its book.
pub struct Bank {
    pub(super) db: Connection,
    hold_lifetime: Duration,
}

/// Why a rule stops: a definite refusal, or the book itself.
pub(super) enum Stop {
    Declined(&'static str),
    Book(rusqlite::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(e: rusqlite::Error) -> Self {
        Self::Book(e)
    }
}

/// What the rules of one operation work with.
pub(super) struct Case<'a> {
    book: Book<'a>,
    now: Timestamp,
    request: &'a BankRequest,
    hold_lifetime: Duration,
    /// Approve half only.
    partial: bool,
}

impl Bank {
    /// Opens the book at `path`, or makes it.
    ///
    /// # Errors
    /// [`BankError::Storage`] when it cannot be used.
    pub fn open(path: &Path) -> Result<Self, BankError> {
        Ok(Self { db: schema::open(path)?, hold_lifetime: HOLD_LIFETIME })
    }

    /// A new book in memory, for simulations.
    ///
    /// # Errors
    /// [`BankError::Storage`] when SQLite has no memory.
    pub fn in_memory() -> Result<Self, BankError> {
        Ok(Self { db: schema::in_memory()?, hold_lifetime: HOLD_LIFETIME })
    }

    /// The bank after a restart: everything but the committed book and the settings is forgotten, and the book is checked again as at
    /// [`Bank::open`]. A file is closed and opened; a book in memory stays where it is.
    ///
    /// # Errors
    /// [`BankError::Storage`] when the book cannot be used.
    pub fn reopen(self) -> Result<Self, BankError> {
        let hold_lifetime = self.hold_lifetime;
        let path = self.db.path().filter(|p| !p.is_empty()).map(|p| Path::new(p).to_owned());
        match path {
            Some(path) => {
                self.db.close().map_err(|(_, e)| BankError::from(e))?;
                Ok(Self { db: schema::open(&path)?, hold_lifetime })
            }
            None => {
                self.db.flush_prepared_statement_cache();
                Ok(Self { db: schema::prepare(self.db, "memory")?, hold_lifetime })
            }
        }
    }

    /// How long holds that are placed or raised from now on last. Not kept in the book.
    pub fn set_hold_lifetime(&mut self, lifetime: Duration) {
        self.hold_lifetime = lifetime;
    }

    /// Carries an operation out, or gives the outcome that it had before under its reference.
    ///
    /// The checks in order: reference (used before with another body: `reference_conflict`); account; document (typ, key
    /// confirmed by the holder for this merchant, signature; merchant, trip, device, currency); amounts; hold; what was
    /// debited for the trip; funds. Every refusal is an outcome and stays the outcome of the reference, except
    /// `top_up_unsupported`: that reference stays free, so that the same document can be placed as a new hold under it.
    ///
    /// # Errors
    /// [`BankError::Storage`]: nothing was changed.
    pub fn handle(&mut self, now: Timestamp, request: &BankRequest) -> Result<BankOutcome, BankError> {
        self.handle_as(now, request, Treatment::Normal)
    }

    /// [`Bank::handle`] with a fault. A reference that has an outcome keeps it.
    ///
    /// # Errors
    /// As [`Bank::handle`].
    pub fn handle_as(
        &mut self,
        now: Timestamp,
        request: &BankRequest,
        treatment: Treatment,
    ) -> Result<BankOutcome, BankError> {
        if !well_formed(&request.reference) {
            return Ok(declined("limit"));
        }
        let sha256 = digest_of(request);
        let lifetime = self.hold_lifetime;
        let mut tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some((first, outcome)) = Book(&tx).operation(&request.merchant_id, &request.reference)? {
            return Ok(if first == sha256 { outcome } else { declined("reference_conflict") });
        }
        Book(&tx).expire_holds(now)?;
        let savepoint = tx.savepoint()?;
        let partial = treatment == Treatment::Partial;
        let case = Case { book: Book(&savepoint), now, request, hold_lifetime: lifetime, partial };
        let ruled = case.carry_out();
        let outcome = match (ruled, treatment) {
            (Err(Stop::Book(e)), _) => return Err(e.into()),
            (Err(Stop::Declined(reason)), _) => {
                drop(savepoint);
                declined(reason)
            }
            (Ok(_), Treatment::Decline) => {
                drop(savepoint);
                declined("insufficient_funds")
            }
            (Ok(_), Treatment::LateSuccess { due }) => {
                drop(savepoint);
                if is_debit(&request.operation) {
                    Book(&tx).insert_late(request, due)?;
                }
                declined("insufficient_funds")
            }
            (Ok(approved), _) => {
                savepoint.commit()?;
                approved
            }
        };
        if outcome != declined("top_up_unsupported") {
            Book(&tx).insert_operation(now, request, &sha256, &outcome)?;
        }
        tx.commit()?;
        Ok(outcome)
    }

    /// What became of a reference of this merchant.
    ///
    /// # Errors
    /// [`BankError::Storage`] when the book cannot be read.
    pub fn query(&self, merchant: &MerchantId, reference: &str) -> Result<BankQueryAnswer, BankError> {
        let known = Book(&self.db).operation(merchant, reference)?;
        Ok(known.map_or(BankQueryAnswer::NeverSeen, |(_, outcome)| BankQueryAnswer::Known { outcome }))
    }

    /// The merchant's entries with numbers above `after`, at most `limit` and [`MAX_STATEMENT`] of them.
    ///
    /// # Errors
    /// [`BankError::Storage`] when the book cannot be read.
    pub fn statement(&self, merchant: &MerchantId, after: u64, limit: u32) -> Result<Vec<StatementEntry>, BankError> {
        Ok(Book(&self.db).statement(merchant, after, limit.min(MAX_STATEMENT))?)
    }

    /// Frees the holds whose time is over; how many.
    ///
    /// # Errors
    /// [`BankError::Storage`]: nothing was changed.
    pub fn expire_due(&mut self, now: Timestamp) -> Result<usize, BankError> {
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let expired = Book(&tx).expire_holds(now)?;
        tx.commit()?;
        Ok(expired)
    }

    /// Books the late successes that are due, as far as the trip's total and the account's funds still allow it; how
    /// many were booked. The outcome that the reference was given stays what it was.
    ///
    /// # Errors
    /// [`BankError::Storage`]: nothing was changed.
    pub fn book_late(&mut self, now: Timestamp) -> Result<usize, BankError> {
        let lifetime = self.hold_lifetime;
        let mut tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        Book(&tx).expire_holds(now)?;
        let mut booked = 0;
        for request in Book(&tx).late_due(now)? {
            let savepoint = tx.savepoint()?;
            let case = Case { book: Book(&savepoint), now, request: &request, hold_lifetime: lifetime, partial: false };
            let state = match case.carry_out_late() {
                Ok(_) => {
                    savepoint.commit()?;
                    booked += 1;
                    "booked"
                }
                Err(Stop::Declined(_)) => {
                    drop(savepoint);
                    "dropped"
                }
                Err(Stop::Book(e)) => return Err(e.into()),
            };
            Book(&tx).end_late(&request, state)?;
        }
        tx.commit()?;
        Ok(booked)
    }

    /// The invariants of the book that do not hold, in words; none in a sound book.
    ///
    /// # Errors
    /// [`BankError::Storage`] when the book cannot be read.
    pub fn violations(&self) -> Result<Vec<String>, BankError> {
        Ok(invariants::violations(&self.db)?)
    }
}

impl Case<'_> {
    fn carry_out(&self) -> Result<BankOutcome, Stop> {
        match &self.request.operation {
            BankOperation::PlaceHold { account, amount, hold_jws } => self.place_hold(account, *amount, hold_jws),
            BankOperation::RaiseHold { hold_reference, amount, hold_jws } => {
                self.raise_hold(hold_reference, *amount, hold_jws)
            }
            BankOperation::ReleaseHold { hold_reference } => self.release_hold(hold_reference),
            BankOperation::Capture { hold_reference, amount, basket_jws } => {
                self.capture(hold_reference, *amount, basket_jws)
            }
            BankOperation::Debit { account, amount, basket_jws } => self.debit(account, *amount, basket_jws),
            BankOperation::Pay { account, amount, payment_jws } => self.pay(account, *amount, payment_jws),
            BankOperation::Reverse { original_reference, amount } => self.reverse(original_reference, *amount),
        }
    }

    /// The account, if it is open and keeps the currency of `amount`, which must be positive.
    fn open_account(&self, token: &str, amount: Money) -> Result<Account, Stop> {
        let account = self.book.account(token)?.ok_or(Stop::Declined("account_unknown"))?;
        if account.state != AccountState::Open {
            return Err(Stop::Declined("account_closed"));
        }
        if amount.currency != account.currency {
            return Err(Stop::Declined("document_mismatch"));
        }
        if amount.minor <= 0 {
            return Err(Stop::Declined("limit"));
        }
        Ok(account)
    }

    /// The document, if a key that the account's holder confirmed for this merchant signed it.
    fn verified<D: Document>(&self, account: &Account, jws: &str) -> Result<(Signed<D>, DeviceId), Stop> {
        let unsound = |_| Stop::Declined("signature_invalid");
        let (kid, _) = jws::peek::<D>(jws).map_err(unsound)?;
        let key = self
            .book
            .key(&account.token, &self.request.merchant_id, &kid)?
            .filter(|key| !key.revoked)
            .ok_or(Stop::Declined("key_not_confirmed"))?;
        let signed = jws::verify::<D>(jws, |named| (*named == kid).then_some(&key.key)).map_err(unsound)?;
        Ok((signed, key.device_id))
    }

    /// What the account can still spend, minor units.
    fn available(&self, account: &Account) -> Result<i64, Stop> {
        let reserved = self.book.reserved(&account.token)?;
        Ok(account.balance.saturating_add(account.credit_limit).saturating_sub(reserved))
    }

    /// What is approved of `minor`, which the rules allow.
    fn approved_part(&self, account: &Account, minor: i64) -> i64 {
        let part = if self.partial { (minor / 2).max(1) } else { minor };
        account.approve_at_most.map_or(part, |most| part.min(most))
    }
}

fn is_debit(operation: &BankOperation) -> bool {
    matches!(operation, BankOperation::Capture { .. } | BankOperation::Debit { .. } | BankOperation::Pay { .. })
}

fn well_formed(reference: &str) -> bool {
    (1..=MAX_REFERENCE).contains(&reference.len())
        && reference.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

fn declined(reason: &str) -> BankOutcome {
    BankOutcome::Declined { reason: reason.to_owned() }
}

fn digest_of(request: &BankRequest) -> String {
    // Plain data with text keys only: writing it as JSON cannot fail, and equal requests give equal bytes.
    digest(&serde_json::to_vec(request).unwrap_or_default())
}
