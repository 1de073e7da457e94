//! Money that moves: captures, debits, reversals.

use super::{Case, Stop};
use crate::bank::AccountState;
use crate::bank::port::{BankOperation, BankOutcome, Subject};
use crate::bank::store::{Account, Debit, Pinned};
use walkpay::Money;
use walkpay::protocol::document::{BasketSummary, PaymentMethod};
use walkpay::protocol::order::SlipPayment;

/// What the shopper signed for a subject: the document's digest, and how much of it the bank may take.
#[derive(Clone)]
struct Consent {
    digest: String,
    total: i64,
}

impl Case<'_> {
    pub(super) fn capture(&self, reference: &str, amount: Money, jws: &str) -> Result<BankOutcome, Stop> {
        let known = self.book.hold(&self.request.merchant_id, reference)?.ok_or(Stop::Declined("hold_unknown"))?;
        let account = self.open_account(&known.account, amount)?;
        let signed = self.basket(&account, jws)?;
        let hold = self.placed_hold(reference, self.request.subject)?;
        if amount.minor > hold.amount {
            return Err(Stop::Declined("amount_above_signed"));
        }
        // The rest is freed in the same operation; what is captured was reserved, so the funds are there.
        self.book.resolve_hold(self.now, &self.request.merchant_id, &hold, "captured")?;
        self.take(&account, amount, &signed)
    }

    pub(super) fn debit(&self, account: &str, amount: Money, jws: &str) -> Result<BankOutcome, Stop> {
        let account = self.open_account(account, amount)?;
        let signed = self.basket(&account, jws)?;
        self.take(&account, amount, &signed)
    }

    /// A debit on the strength of a slip payment, within its part for the bank.
    pub(super) fn pay(&self, account: &str, amount: Money, jws: &str) -> Result<BankOutcome, Stop> {
        let account = self.open_account(account, amount)?;
        let (signed, device) = self.verified::<SlipPayment>(&account, jws)?;
        let document = &signed.document;
        let bound = document.merchant_id == self.request.merchant_id
            && Subject::from(document.payment_id) == self.request.subject
            && document.device_id == device
            && document.method == PaymentMethod::Bank
            && document.amount.currency == account.currency
            && document.stored_value.currency == account.currency;
        let part = document.amount.checked_sub(document.stored_value).map(|m| m.minor).unwrap_or(0);
        if !bound || document.stored_value.minor < 0 || part <= 0 {
            return Err(Stop::Declined("document_mismatch"));
        }
        self.take(&account, amount, &Consent { digest: signed.digest(), total: part })
    }

    pub(super) fn reverse(&self, original: &str, amount: Money) -> Result<BankOutcome, Stop> {
        let merchant = &self.request.merchant_id;
        let debit = self.book.debit(merchant, original)?.ok_or(Stop::Declined("document_mismatch"))?;
        let account = self.book.account(&debit.account)?.ok_or(Stop::Declined("account_unknown"))?;
        if debit.subject != self.request.subject || amount.currency != account.currency {
            return Err(Stop::Declined("document_mismatch"));
        }
        if account.state != AccountState::Open {
            return Err(Stop::Declined("account_closed"));
        }
        if amount.minor <= 0 {
            return Err(Stop::Declined("limit"));
        }
        let part = if self.partial { (amount.minor / 2).max(1) } else { amount.minor };
        if part > debit.amount - debit.reversed {
            return Err(Stop::Declined("amount_above_signed"));
        }
        let pinned = self.book.pinned(merchant, &debit.subject)?.ok_or(Stop::Declined("document_mismatch"))?;
        self.book.set_reversed(merchant, original, debit.reversed + part)?;
        let pinned = Pinned { debited: pinned.debited - part, ..pinned };
        self.book.put_pinned(merchant, &debit.subject, &pinned)?;
        self.book_transfer(&account, -part)?;
        Ok(BankOutcome::Approved { amount: account.currency.minor(part), expires_at: None })
    }

    /// A debit or capture that was refused and goes through all the same. A capture whose hold has gone becomes a debit.
    pub(super) fn carry_out_late(&self) -> Result<BankOutcome, Stop> {
        match &self.request.operation {
            BankOperation::Debit { account, amount, basket_jws } => self.debit(account, *amount, basket_jws),
            BankOperation::Pay { account, amount, payment_jws } => self.pay(account, *amount, payment_jws),
            BankOperation::Capture { hold_reference, amount, basket_jws } => {
                match self.placed_hold(hold_reference, self.request.subject) {
                    Ok(_) => self.capture(hold_reference, *amount, basket_jws),
                    Err(Stop::Declined("hold_expired" | "hold_resolved")) => {
                        let hold = self.book.hold(&self.request.merchant_id, hold_reference)?;
                        let hold = hold.ok_or(Stop::Declined("hold_unknown"))?;
                        self.debit(&hold.account, *amount, basket_jws)
                    }
                    Err(stop) => Err(stop),
                }
            }
            _ => Err(Stop::Declined("limit")),
        }
    }

    /// The basket, verified and bound to this operation.
    fn basket(&self, account: &Account, jws: &str) -> Result<Consent, Stop> {
        let (signed, device) = self.verified::<BasketSummary>(account, jws)?;
        let document = &signed.document;
        let bound = document.merchant_id == self.request.merchant_id
            && Subject::from(document.trip_id) == self.request.subject
            && document.device_id == device
            && document.total.currency == account.currency;
        let consent = Consent { digest: signed.digest(), total: document.total.minor };
        if bound { Ok(consent) } else { Err(Stop::Declined("document_mismatch")) }
    }

    /// Debits the account within what was signed for the subject.
    fn take(&self, account: &Account, amount: Money, signed: &Consent) -> Result<BankOutcome, Stop> {
        let merchant = &self.request.merchant_id;
        let subject = &self.request.subject;
        let Consent { digest, total } = signed.clone();
        let pinned = self.book.pinned(merchant, subject)?.unwrap_or_else(|| Pinned {
            account: account.token.clone(),
            basket_sha256: digest.clone(),
            total,
            debited: 0,
        });
        if pinned.basket_sha256 != digest || pinned.account != account.token {
            return Err(Stop::Declined("document_mismatch"));
        }
        if amount.minor > pinned.total - pinned.debited {
            return Err(Stop::Declined("amount_above_signed"));
        }
        if self.available(account)? < amount.minor {
            return Err(Stop::Declined("insufficient_funds"));
        }
        let part = self.approved_part(account, amount.minor);
        let debit = Debit { subject: *subject, account: account.token.clone(), amount: part, reversed: 0 };
        self.book.insert_debit(merchant, &self.request.reference, &debit)?;
        let pinned = Pinned { debited: pinned.debited + part, ..pinned };
        self.book.put_pinned(merchant, subject, &pinned)?;
        self.book_transfer(account, part)?;
        Ok(BankOutcome::Approved { amount: account.currency.minor(part), expires_at: None })
    }

    /// Books `minor` from the account to the merchant (negative: back) and puts it on the statement.
    fn book_transfer(&self, account: &Account, minor: i64) -> Result<(), Stop> {
        let holder = format!("account:{}", account.token);
        let merchant = format!("merchant:{}", self.request.merchant_id);
        let (from, to) = if minor > 0 { (&holder, &merchant) } else { (&merchant, &holder) };
        let transfer = self.book.transfer(self.now, from, to, minor.abs(), account.currency)?;
        self.book.insert_statement(self.now, self.request, minor, account.currency, transfer)?;
        Ok(())
    }
}
