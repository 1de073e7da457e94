//! The folded state of an installation and its devices.

use super::clock::Clock;
use super::enrolment::{Enrolled, Enrolment, EnrolmentStage};
use super::host::{HostEvent, HostQueue};
use super::input::Now;
use super::journal::{Fact, JournalEvent};
use super::orders::SeenOrders;
use super::outbox::{OutboxEntry, OutboxItem, OutboxKind, OutboxTotals, Prepared, PreparedWhat, Retry};
use super::slip::{Slip, SlipState};
use super::trip::{Trip, TripState};
use crate::error::WalkpayError;
use crate::id::*;
use crate::protocol::crypto::PublicKey;
use crate::protocol::document::{BankBinding, KeySet, StoreInfo};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that an installation knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Session {
    pub(super) devices: BTreeMap<DeviceId, Device>,
    pub(super) signed_in: Option<DeviceId>,
    pub(super) enrolment: Option<Enrolment>,
    /// Events folded since the last snapshot.
    #[serde(skip)]
    pub(super) since_snapshot: u64,
}

/// What a device is to its merchant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
pub enum DeviceStatus {
    /// The user has not confirmed it yet.
    Pending,
    /// In use.
    Active,
    /// Its folder seems to have been copied: nothing is sent any more.
    Frozen,
    /// Nothing is sent any more.
    Revoked,
}

/// Keys that are to take the place of the present ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rotation {
    /// Signs HTTP requests; while the new one is in use already, this is the old one.
    pub request_key: PublicKey,
    /// Signs documents.
    pub consent_key: PublicKey,
}

/// A request key that was replaced by one that has been replaced as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct EarlierKey {
    pub(super) key: PublicKey,
    /// When the second of these happened, by the device's clock.
    pub(super) at: Timestamp,
}

/// One user on one installation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// The device.
    pub id: DeviceId,
    /// Its merchant.
    pub merchant_id: MerchantId,
    /// That merchant's name.
    pub merchant_name: String,
    /// Where the merchant is.
    pub url: String,
    /// Signs the merchant's key sets.
    pub root_key: PublicKey,
    /// The user.
    pub sub: Sub,
    /// The name that the user signs in with.
    pub user_name: UserName,
    /// Where the user can shop.
    pub stores: Vec<StoreInfo>,
    /// The bound bank account, if there is one.
    pub bank: Option<BankBinding>,
    /// What it is to the merchant.
    pub status: DeviceStatus,
    /// Signs HTTP requests.
    pub request_key: PublicKey,
    /// Signs documents.
    pub consent_key: PublicKey,
    /// The request key before the last rotation: passes may still be bound to it.
    pub former_request_key: Option<PublicKey>,
    /// Request keys before that, for as long as passes may be bound to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) earlier_request_keys: Vec<EarlierKey>,
    /// A rotation that is under way.
    pub rotation: Option<Rotation>,
    /// Whether requests are signed with its key already, since the merchant does not know the old one any more.
    pub(super) rotated_request: bool,
    /// The merchant's keys.
    pub key_set: KeySet,
    /// What merchant time is.
    pub clock: Option<Clock>,
    /// The last `seq` of the event log that was taken.
    pub cursor: u64,
    /// The newest catalogue revision that was told, by store.
    pub published: BTreeMap<StoreId, u64>,
    pub(super) last_seq: u64,
    pub(super) trips: BTreeMap<TripId, Trip>,
    #[serde(default)]
    pub(super) slips: BTreeMap<SlipId, Slip>,
    /// What the merchant said of orders last.
    #[serde(default)]
    pub(super) orders: SeenOrders,
    pub(super) prepared: Vec<Prepared>,
    pub(super) outbox: Vec<OutboxEntry>,
    /// What the merchant says it has on record, as long as nothing that it signed shows so: sent again now and then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) unproven: Vec<OutboxEntry>,
    pub(super) host: HostQueue,
    pub(super) poll: Retry,
    pub(super) keys: KeysWanted,
    /// What was said about the log already: the missing `seq` and the check.
    pub(super) distrusted: Option<(u64, String)>,
}

/// Whether a newer key set is needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeysWanted {
    pub(super) wanted: bool,
    /// The cursor at which it was asked for last: not twice at the same place.
    pub(super) asked_at: Option<u64>,
    pub(super) retry: Retry,
}

impl Session {
    /// Folds an event. Never fails; events about things that are not there change nothing.
    pub fn apply(&mut self, event: &JournalEvent) {
        self.since_snapshot = self.since_snapshot.saturating_add(1);
        match &event.fact {
            Fact::EnrolmentBegun { code, label } => {
                self.enrolment = Some(Enrolment::new(code.clone(), label.clone(), event.at));
            }
            Fact::EnrolmentAdvanced { stage } => {
                if let Some(enrolment) = &mut self.enrolment {
                    enrolment.stage = (**stage).clone();
                    enrolment.retry = Retry::fresh(event.at);
                }
            }
            Fact::EnrolmentTryFailed { retry } => {
                if let Some(enrolment) = &mut self.enrolment {
                    enrolment.retry = retry.clone();
                }
            }
            Fact::EnrolmentEnded { .. } => self.enrolment = None,
            Fact::Enrolled(enrolled) => {
                self.enrolment = None;
                self.devices.insert(enrolled.grant.device_id, Device::new(enrolled, event.at));
            }
            Fact::SignedIn => self.signed_in = event.device,
            Fact::SignedOut => self.signed_in = None,
            Fact::Snapshot { state } => {
                *self = (**state).clone();
                self.since_snapshot = 0;
            }
            _ => {
                if let Some(device) = event.device.and_then(|id| self.devices.get_mut(&id)) {
                    device.apply(&event.fact, event.at);
                }
            }
        }
    }

    /// The device of the user who is signed in.
    ///
    /// # Errors
    /// [`WalkpayError::NotSignedIn`].
    pub fn current(&self) -> Result<&Device, WalkpayError> {
        self.signed_in.and_then(|id| self.devices.get(&id)).ok_or(WalkpayError::NotSignedIn)
    }

    /// All devices of this installation.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    /// One device.
    pub fn device(&self, id: DeviceId) -> Option<&Device> {
        self.devices.get(&id)
    }

    /// The enrolment that is under way.
    pub fn enrolment(&self) -> Option<&Enrolment> {
        self.enrolment.as_ref()
    }

    /// How many events have been folded since the last snapshot.
    pub fn since_snapshot(&self) -> u64 {
        self.since_snapshot
    }
}

impl Device {
    fn new(enrolled: &Enrolled, at: Timestamp) -> Self {
        let grant = &enrolled.grant;
        Self {
            id: grant.device_id,
            merchant_id: grant.merchant_id.clone(),
            merchant_name: grant.merchant_name.clone(),
            url: enrolled.url.clone(),
            root_key: enrolled.root_key.clone(),
            sub: grant.sub.clone(),
            user_name: grant.user_name.clone(),
            stores: grant.stores.clone(),
            bank: grant.bank.clone(),
            status: if grant.active { DeviceStatus::Active } else { DeviceStatus::Pending },
            request_key: enrolled.request_key.clone(),
            consent_key: enrolled.consent_key.clone(),
            former_request_key: None,
            earlier_request_keys: Vec::new(),
            rotation: None,
            rotated_request: false,
            key_set: enrolled.key_set.clone(),
            clock: Some(enrolled.clock),
            cursor: 0,
            published: BTreeMap::new(),
            last_seq: 0,
            trips: BTreeMap::new(),
            slips: BTreeMap::new(),
            orders: SeenOrders::default(),
            prepared: Vec::new(),
            outbox: Vec::new(),
            unproven: Vec::new(),
            host: HostQueue::default(),
            poll: Retry::fresh(at),
            keys: KeysWanted { wanted: false, asked_at: None, retry: Retry::fresh(at) },
            distrusted: None,
        }
    }

    /// A visit.
    ///
    /// # Errors
    /// [`WalkpayError::Unknown`].
    pub fn trip(&self, id: TripId) -> Result<&Trip, WalkpayError> {
        self.trips.get(&id).ok_or_else(|| WalkpayError::Unknown { what: "trip".into(), id: id.to_string() })
    }

    /// All visits that are kept, oldest first.
    pub fn trips(&self) -> impl Iterator<Item = &Trip> {
        self.trips.values()
    }

    /// A visit as a host reads it; errors as [`Device::trip`].
    pub fn trip_state(&self, id: TripId) -> Result<TripState, WalkpayError> {
        Ok(self.trip(id)?.state(self.prepared(id, OutboxKind::Attempt).is_some()))
    }

    /// A slip.
    ///
    /// # Errors
    /// [`WalkpayError::Unknown`].
    pub fn slip(&self, id: SlipId) -> Result<&Slip, WalkpayError> {
        self.slips.get(&id).ok_or_else(|| WalkpayError::Unknown { what: "slip".into(), id: id.to_string() })
    }

    /// All slips that are kept, oldest first.
    pub fn slips(&self) -> impl Iterator<Item = &Slip> {
        self.slips.values()
    }

    /// A slip as a host reads it; errors as [`Device::slip`].
    pub fn slip_state(&self, id: SlipId) -> Result<SlipState, WalkpayError> {
        Ok(self.slip(id)?.state(self.prepared_payment(id).is_some()))
    }

    /// What the merchant said of orders last.
    pub fn orders(&self) -> &SeenOrders {
        &self.orders
    }

    /// The outbox, in the order of sending.
    pub fn outbox(&self) -> Vec<OutboxItem> {
        self.outbox.iter().map(OutboxEntry::item).collect()
    }

    /// The sums of the outbox.
    pub fn outbox_totals(&self) -> OutboxTotals {
        OutboxTotals::of(&self.outbox)
    }

    /// The first event above `number` that has not been acknowledged.
    pub fn next_event(&self, number: u64) -> Option<&HostEvent> {
        self.host.after(number)
    }

    /// The number that everything up to was acknowledged.
    pub fn acked(&self) -> u64 {
        self.host.acked
    }

    /// What merchant time is, as far as it is known here. Validity is for the merchant to judge.
    pub fn merchant_time(&self, now: &Now) -> Timestamp {
        self.clock.map_or(now.wall, |clock| clock.estimate(now))
    }

    /// A store.
    ///
    /// # Errors
    /// [`WalkpayError::Unknown`].
    pub fn store(&self, id: &StoreId) -> Result<&StoreInfo, WalkpayError> {
        let unknown = || WalkpayError::Unknown { what: "store".into(), id: id.to_string() };
        self.stores.iter().find(|s| s.store_id == *id).ok_or_else(unknown)
    }

    /// The store where the user will probably shop next: that of the newest visit, or the only one.
    pub fn likely_store(&self) -> Option<&StoreId> {
        let newest = self.trips.values().next_back().map(|trip| &trip.store_id);
        newest.or(match self.stores.as_slice() {
            [only] => Some(&only.store_id),
            _ => None,
        })
    }

    /// Whether anything may be sent.
    pub fn may_send(&self) -> bool {
        matches!(self.status, DeviceStatus::Pending | DeviceStatus::Active)
    }

    /// Why polling or fetching keys is failing at present.
    pub fn trouble(&self) -> Option<&str> {
        self.poll.last_reason.as_deref().or(self.keys.retry.last_reason.as_deref())
    }

    /// Request keys that were replaced and that passes may still be bound to.
    pub fn former_request_keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.former_request_key.iter().chain(self.earlier_request_keys.iter().map(|e| &e.key))
    }

    pub(super) fn prepared(&self, trip: TripId, kind: OutboxKind) -> Option<&Prepared> {
        self.prepared.iter().find(|p| p.trip_id == Some(trip) && p.what.kind() == kind)
    }

    pub(super) fn prepared_payment(&self, slip: SlipId) -> Option<&Prepared> {
        self.prepared.iter().find(|p| p.slip_id == Some(slip))
    }

    /// The keys of a rotation that is prepared and has not been signed yet.
    pub fn prepared_rotation_keys(&self) -> Option<Rotation> {
        self.prepared_rotation().and_then(|p| match &p.what {
            PreparedWhat::Rotation { request_key, consent_key, .. } => {
                Some(Rotation { request_key: request_key.clone(), consent_key: consent_key.clone() })
            }
            _ => None,
        })
    }

    pub(super) fn prepared_rotation(&self) -> Option<&Prepared> {
        self.prepared.iter().find(|p| p.what.kind() == OutboxKind::Rotation)
    }

    pub(super) fn entry(&self, seq: u64) -> Option<&OutboxEntry> {
        self.outbox.iter().chain(&self.unproven).find(|e| e.seq == seq)
    }

    /// What is sent again although the merchant says that it has it.
    pub(super) fn unproven(&self) -> impl Iterator<Item = &OutboxEntry> {
        let going = |id| self.trips.get(&id).is_some_and(|t: &Trip| t.cancel_requested.is_none());
        self.unproven.iter().filter(move |e| e.trip_id.is_some_and(going))
    }
}

impl Enrolment {
    fn new(code: crate::protocol::enrolment_code::EnrolmentCode, label: String, at: Timestamp) -> Self {
        Self { code, label, stage: EnrolmentStage::Asking, retry: Retry::fresh(at) }
    }
}
