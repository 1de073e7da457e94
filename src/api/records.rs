//! What the objects answer, where no type of the domain says it already.

use crate::barcode::Meaning;
use crate::basket::{LineId, PricedBasket};
use crate::catalogue::CatalogueHeader;
use crate::error::WalkpayError;
use crate::id::*;
use crate::money::Money;
use crate::protocol::document::StoreInfo;
use crate::runtime::PassToShow;
use crate::session::{Device, DeviceStatus, OutboxItem, OutboxTotals};
use crate::time::Timestamp;
use qrcodegen::{QrCode, QrCodeEcc};
use std::time::Duration;

/// A user who is enrolled on this terminal.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct UserInfo {
    /// The name to sign in with.
    pub user_name: UserName,
    /// The device that the enrolment made: one user on one installation.
    pub device_id: DeviceId,
    /// The merchant.
    pub merchant_id: MerchantId,
    /// The merchant's name.
    pub merchant_name: String,
    /// What the device is to the merchant.
    pub status: DeviceStatus,
    /// Whether this user is signed in.
    pub signed_in: bool,
    /// Where this user can shop.
    pub stores: Vec<StoreInfo>,
    /// The bound bank account, for people: `DE ···· 4711`.
    pub bank_label: Option<String>,
    /// The bank's page where the user confirms this device's consent key.
    pub bank_confirm_url: Option<String>,
    /// The consent key's thumbprint: what that page shows.
    pub consent_kid: KeyId,
}

/// What came of an enrolment.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct EnrolmentInfo {
    /// The user, and what the device is now.
    pub user: UserInfo,
    /// Whether the user has confirmed the device to the merchant already; otherwise an event tells.
    pub active: bool,
}

/// What a catalogue sync has done.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct SyncReport {
    /// What is there now.
    pub catalogue: CatalogueStatus,
    /// The revision that was there before.
    pub previous_revision: Option<u64>,
    /// Whether only the changes were fetched.
    pub delta: bool,
    /// How many rows were taken in; 0 when nothing was new.
    pub rows: u64,
    /// How many bytes of data were fetched.
    pub bytes: u64,
}

/// The catalogue of a store on this terminal.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct CatalogueStatus {
    /// Which revision of which store.
    pub header: CatalogueHeader,
    /// How many articles it has.
    pub articles: u64,
    /// When the merchant published it, by merchant time.
    pub issued_at: Timestamp,
    /// Until when the merchant takes baskets that are priced with it. A stale catalogue still scans.
    pub usable_until: Timestamp,
    /// The newest revision that the merchant told of, if it told of one.
    pub published_revision: Option<u64>,
}

/// What waits to be sent.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Outbox {
    /// In the order of sending.
    pub items: Vec<OutboxItem>,
    /// Count and amount.
    pub totals: OutboxTotals,
    /// Whether the merchant answered the last request; nothing before the first one.
    pub online: Option<bool>,
    /// Why nothing can be sent, or the event log or the key set cannot be read, at present.
    pub trouble: Option<String>,
}

/// What a scan has done.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ScanOutcome {
    /// What the code said.
    pub meaning: Meaning,
    /// The line that it made or changed.
    pub line: LineId,
    /// The basket with it.
    pub basket: PricedBasket,
}

/// An exit pass to be shown to a gate now.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ExitPassView {
    /// The text of the QR code.
    pub text: String,
    /// How many modules each side of the QR code (error level M) has, without its quiet zone.
    pub size: u32,
    /// The modules row by row, 1 for dark.
    pub modules: Vec<u8>,
    /// The amount, for staff.
    pub amount: Money,
    /// How many articles, for staff.
    pub item_count: u32,
    /// The pass is worthless from here on, by merchant time.
    pub expires_at: Timestamp,
    /// How long until the next presentation must be made.
    pub fresh_for: Duration,
}

impl UserInfo {
    pub(super) fn of(device: &Device, signed_in: bool) -> Self {
        Self {
            user_name: device.user_name.clone(),
            device_id: device.id,
            merchant_id: device.merchant_id.clone(),
            merchant_name: device.merchant_name.clone(),
            status: device.status,
            signed_in,
            stores: device.stores.clone(),
            bank_label: device.bank.as_ref().map(|b| b.label.clone()),
            bank_confirm_url: device.bank.as_ref().map(|b| b.confirm_url.clone()),
            consent_kid: device.consent_key.key_id(),
        }
    }
}

impl ExitPassView {
    pub(super) fn of(shown: PassToShow) -> Result<Self, WalkpayError> {
        let code = QrCode::encode_text(&shown.text, QrCodeEcc::Medium)
            .map_err(|e| WalkpayError::Internal { detail: format!("the pass as a QR code: {e}") })?;
        let side = 0..code.size();
        let modules = side.clone().flat_map(|y| side.clone().map(move |x| (x, y)));
        Ok(Self {
            size: code.size().unsigned_abs(),
            modules: modules.map(|(x, y)| u8::from(code.get_module(x, y))).collect(),
            text: shown.text,
            amount: shown.pass.amount,
            item_count: shown.pass.item_count,
            expires_at: shown.pass.exp,
            fresh_for: shown.fresh_for,
        })
    }
}
