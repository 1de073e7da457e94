//! Holds: placed, raised, released.

use super::{Case, Stop};
use crate::bank::port::{BankOutcome, Subject};
use crate::bank::store::{Account, Hold};
use walkpay::protocol::document::HoldRequest;
use walkpay::{Money, Timestamp};

impl Case<'_> {
    pub(super) fn place_hold(&self, account: &str, amount: Money, jws: &str) -> Result<BankOutcome, Stop> {
        let account = self.open_account(account, amount)?;
        let document = self.hold_document(&account, amount, jws)?;
        if self.available(&account)? < amount.minor {
            return Err(Stop::Declined("insufficient_funds"));
        }
        let hold = Hold {
            reference: self.request.reference.clone(),
            account: account.token,
            subject: self.request.subject,
            amount: amount.minor,
            number: document.number,
            state: "placed".to_owned(),
            expires_at: self.expiry(),
        };
        self.book.insert_hold(self.now, &self.request.merchant_id, &hold)?;
        Ok(BankOutcome::Approved { amount, expires_at: Some(hold.expires_at) })
    }

    pub(super) fn raise_hold(&self, reference: &str, amount: Money, jws: &str) -> Result<BankOutcome, Stop> {
        let hold = self.placed_hold(reference, self.request.subject)?;
        let account = self.open_account(&hold.account, amount)?;
        if !account.top_up {
            return Err(Stop::Declined("top_up_unsupported"));
        }
        let document = self.hold_document(&account, amount, jws)?;
        if document.number <= hold.number || amount.minor < hold.amount {
            return Err(Stop::Declined("document_mismatch"));
        }
        if self.available(&account)? < amount.minor - hold.amount {
            return Err(Stop::Declined("insufficient_funds"));
        }
        let raised = Hold { amount: amount.minor, number: document.number, expires_at: self.expiry(), ..hold };
        self.book.raise_hold(self.now, &self.request.merchant_id, &raised)?;
        Ok(BankOutcome::Approved { amount, expires_at: Some(raised.expires_at) })
    }

    pub(super) fn release_hold(&self, reference: &str) -> Result<BankOutcome, Stop> {
        let hold = self.placed_hold(reference, self.request.subject)?;
        let account = self.book.account(&hold.account)?.ok_or(Stop::Declined("account_unknown"))?;
        self.book.resolve_hold(self.now, &self.request.merchant_id, &hold, "released")?;
        Ok(BankOutcome::Approved { amount: account.currency.minor(hold.amount), expires_at: None })
    }

    /// The hold under `reference` if it can still be used for `subject`.
    pub(super) fn placed_hold(&self, reference: &str, subject: Subject) -> Result<Hold, Stop> {
        let hold = self.book.hold(&self.request.merchant_id, reference)?.ok_or(Stop::Declined("hold_unknown"))?;
        if hold.subject != subject {
            return Err(Stop::Declined("document_mismatch"));
        }
        match hold.state.as_str() {
            "placed" => Ok(hold),
            "expired" => Err(Stop::Declined("hold_expired")),
            _ => Err(Stop::Declined("hold_resolved")),
        }
    }

    /// The hold request, verified, bound to this operation, and used for the first time.
    fn hold_document(&self, account: &Account, amount: Money, jws: &str) -> Result<HoldRequest, Stop> {
        let (signed, device) = self.verified::<HoldRequest>(account, jws)?;
        let document = signed.document;
        let bound = document.merchant_id == self.request.merchant_id
            && Subject::from(document.trip_id) == self.request.subject
            && document.device_id == device
            && document.amount.currency == account.currency;
        if !bound {
            return Err(Stop::Declined("document_mismatch"));
        }
        if amount.minor > document.amount.minor {
            return Err(Stop::Declined("amount_above_signed"));
        }
        if amount != document.amount {
            return Err(Stop::Declined("document_mismatch"));
        }
        if !self.book.use_hold_document(&self.request.merchant_id, &document.hold_id.to_string())? {
            return Err(Stop::Declined("document_mismatch"));
        }
        Ok(document)
    }

    fn expiry(&self) -> Timestamp {
        self.now.plus(self.hold_lifetime)
    }
}
