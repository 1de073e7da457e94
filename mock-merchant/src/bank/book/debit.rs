//! Money that moves: captures, debits, reversals.

use super::{Case, Stop};
use crate::bank::port::{BankOperation, BankOutcome};
use crate::bank::store::{Account, Debit, Pinned};
use walkpay::Money;
use walkpay::protocol::document::BasketSummary;
use walkpay::protocol::jws::Signed;

impl Case<'_> {
    pub(super) fn capture(&self, reference: &str, amount: Money, jws: &str) -> Result<BankOutcome, Stop> {
        let known = self.book.hold(&self.request.merchant_id, reference)?.ok_or(Stop::Declined("hold_unknown"))?;
        let account = self.open_account(&known.account, amount)?;
        let basket = self.basket(&account, jws)?;
        let hold = self.placed_hold(reference, self.request.trip_id)?;
        if amount.minor > hold.amount {
            return Err(Stop::Declined("amount_above_signed"));
        }
        // The rest is freed in the same operation; what is captured was reserved, so the funds are there.
        self.book.resolve_hold(self.now, &self.request.merchant_id, &hold, "captured")?;
        self.take(&account, amount, &basket)
    }

    pub(super) fn debit(&self, account: &str, amount: Money, jws: &str) -> Result<BankOutcome, Stop> {
        let account = self.open_account(account, amount)?;
        let basket = self.basket(&account, jws)?;
        self.take(&account, amount, &basket)
    }

    pub(super) fn reverse(&self, original: &str, amount: Money) -> Result<BankOutcome, Stop> {
        let merchant = &self.request.merchant_id;
        let debit = self.book.debit(merchant, original)?.ok_or(Stop::Declined("document_mismatch"))?;
        let account = self.book.account(&debit.account)?.ok_or(Stop::Declined("account_unknown"))?;
        if debit.trip_id != self.request.trip_id || amount.currency != account.currency {
            return Err(Stop::Declined("document_mismatch"));
        }
        if amount.minor <= 0 {
            return Err(Stop::Declined("limit"));
        }
        let part = if self.partial { (amount.minor / 2).max(1) } else { amount.minor };
        if part > debit.amount - debit.reversed {
            return Err(Stop::Declined("amount_above_signed"));
        }
        let pinned = self.book.pinned(merchant, &debit.trip_id)?.ok_or(Stop::Declined("document_mismatch"))?;
        self.book.set_reversed(merchant, original, debit.reversed + part)?;
        let pinned = Pinned { debited: pinned.debited - part, ..pinned };
        self.book.put_pinned(merchant, &debit.trip_id, &pinned)?;
        self.book_transfer(&account, -part)?;
        Ok(BankOutcome::Approved { amount: account.currency.minor(part), expires_at: None })
    }

    /// A debit or capture that was refused and goes through all the same. A capture whose hold has gone becomes a debit.
    pub(super) fn carry_out_late(&self) -> Result<BankOutcome, Stop> {
        match &self.request.operation {
            BankOperation::Debit { account, amount, basket_jws } => self.debit(account, *amount, basket_jws),
            BankOperation::Capture { hold_reference, amount, basket_jws } => {
                match self.placed_hold(hold_reference, self.request.trip_id) {
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
    fn basket(&self, account: &Account, jws: &str) -> Result<Signed<BasketSummary>, Stop> {
        let (signed, device) = self.verified::<BasketSummary>(account, jws)?;
        let document = &signed.document;
        let bound = document.merchant_id == self.request.merchant_id
            && document.trip_id == self.request.trip_id
            && document.device_id == device
            && document.total.currency == account.currency;
        if bound { Ok(signed) } else { Err(Stop::Declined("document_mismatch")) }
    }

    /// Debits the account within what was signed for the trip.
    fn take(&self, account: &Account, amount: Money, basket: &Signed<BasketSummary>) -> Result<BankOutcome, Stop> {
        let merchant = &self.request.merchant_id;
        let trip = &self.request.trip_id;
        let digest = basket.digest();
        let total = basket.document.total.minor;
        let pinned = self.book.pinned(merchant, trip)?.unwrap_or_else(|| Pinned {
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
        let debit = Debit { trip_id: *trip, account: account.token.clone(), amount: part, reversed: 0 };
        self.book.insert_debit(merchant, &self.request.reference, &debit)?;
        let pinned = Pinned { debited: pinned.debited + part, ..pinned };
        self.book.put_pinned(merchant, trip, &pinned)?;
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
