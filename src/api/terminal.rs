//! The terminal: users, catalogues, trips, events, outbox.

use super::config::TerminalConfig;
use super::records::{CatalogueStatus, EnrolmentInfo, Outbox, SyncReport, UserInfo};
use super::slip::Slip;
use super::trip::Trip;
use crate::adapter::catalogue_store::CatalogueMeta;
use crate::adapter::http::HttpConfig;
use crate::adapter::keys::{DeviceSigner, KeyVault};
use crate::adapter::sqlite::Durability;
use crate::catalogue::Article;
use crate::error::WalkpayError;
use crate::id::*;
use crate::protocol::enrolment_code::check_url;
use crate::protocol::order::{Balance, SlipRequest};
use crate::protocol::query::Totals;
use crate::protocol::question::{OrderFilter, TotalsFilter};
use crate::runtime::{
    Handle, Setup, Worker, attach, balance, enrol, on_pool, open, order, orders, rotate, sync_catalogue, totals,
};
use crate::session::{
    Command, DeviceStatus, ForwardPolicy, HostEvent, OrderDetail, OrderList, Reply, SlipState, TripState,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A self-checkout terminal: opened on a folder, used by one or more users, each with trips, slips, an outbox and events of their
/// own. All calls can be made from any thread and at the same time.
#[derive(uniffi::Object)]
pub struct Terminal {
    handle: Handle,
    label: String,
}

#[uniffi::export]
impl Terminal {
    /// Opens the folder, goes on with everything that was under way, and starts sending what waits.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`] (in use, read-only, full, corrupt, foreign, written by a newer version), [`WalkpayError::Key`]
    /// when the vault fails, [`WalkpayError::InvalidInput`] for the configuration.
    #[uniffi::constructor]
    pub async fn open(config: TerminalConfig, vault: Arc<dyn KeyVault>) -> Result<Arc<Self>, WalkpayError> {
        let setup = Setup {
            folder: PathBuf::from(&config.folder),
            http: HttpConfig { extra_roots_pem: config.extra_roots_pem, pins: config.pins },
            merchant_url: config.merchant_url.as_deref().map(check_url).transpose()?,
            durability: if config.skip_disk_sync { Durability::Off } else { Durability::Full },
            vault,
        };
        Ok(Arc::new(Self { handle: open(setup).await?, label: config.device_label }))
    }

    /// Enrols a user with the text of an enrolment code. Keys are made here, or are the host's where signers are given; they
    /// never leave the device. If it was interrupted, the same code goes on where it was.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] for the text and for a code of another merchant than that of the folder's devices,
    /// [`WalkpayError::Untrusted`] when this is not the merchant of the code (the code
    /// has not been sent then), [`WalkpayError::Refused`], [`WalkpayError::Network`], [`WalkpayError::Key`].
    #[uniffi::method(default(request_signer = None, consent_signer = None))]
    pub async fn enrol(
        &self,
        code_text: String,
        request_signer: Option<Arc<dyn DeviceSigner>>,
        consent_signer: Option<Arc<dyn DeviceSigner>>,
    ) -> Result<EnrolmentInfo, WalkpayError> {
        let (handle, label) = (self.handle.clone(), self.label.clone());
        on_pool(async move {
            let device = enrol(&handle, code_text, label, [request_signer, consent_signer]).await?;
            handle.call(move |w| enrolment_info(w, device)).await
        })
        .await
    }

    /// Forgets an enrolment that has not been answered.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub async fn abandon_enrolment(&self) -> Result<(), WalkpayError> {
        self.handle.call(|w| w.command(Command::AbandonEnrolment).map(drop)).await
    }

    /// Hands in the signers of a user's keys that the host keeps; needed after each start.
    ///
    /// # Errors
    /// [`WalkpayError::Unknown`] for a user who is not enrolled, [`WalkpayError::Key`] for keys that are not that user's.
    pub async fn attach_signers(
        &self,
        user_name: UserName,
        signers: Vec<Arc<dyn DeviceSigner>>,
    ) -> Result<(), WalkpayError> {
        let handle = self.handle.clone();
        on_pool(async move { attach(&handle, user_name, signers).await }).await
    }

    /// Says who is shopping.
    ///
    /// # Errors
    /// [`WalkpayError::Unknown`] for a user who is not enrolled.
    pub async fn sign_in(&self, user_name: UserName) -> Result<UserInfo, WalkpayError> {
        let signed_in = move |w: &mut Worker| {
            w.command(Command::SignIn { user_name: &user_name })?;
            Ok(UserInfo::of(w.session().current()?, true))
        };
        self.handle.call(signed_in).await
    }

    /// Hides the user's data. What waits in the outbox is sent all the same.
    ///
    /// # Errors
    /// [`WalkpayError::NotSignedIn`].
    pub async fn sign_out(&self) -> Result<(), WalkpayError> {
        self.handle.call(|w| w.command(Command::SignOut).map(drop)).await
    }

    /// Everybody who is enrolled here.
    ///
    /// # Errors
    /// [`WalkpayError::ShutDown`].
    pub async fn users(&self) -> Result<Vec<UserInfo>, WalkpayError> {
        self.handle
            .call(|w| {
                let current = w.session().current().ok().map(|d| d.id);
                Ok(w.session().devices().map(|d| UserInfo::of(d, Some(d.id) == current)).collect())
            })
            .await
    }

    /// Waits until the user who is signed in has confirmed this device to the merchant; whether that has happened.
    ///
    /// # Errors
    /// [`WalkpayError::NotSignedIn`].
    pub async fn wait_confirmation(&self, timeout: Duration) -> Result<bool, WalkpayError> {
        let confirmed = |w: &mut Worker| {
            let status = w.session().current()?.status;
            Ok((status != DeviceStatus::Pending).then_some(status == DeviceStatus::Active))
        };
        Ok(self.handle.wait(timeout, confirmed).await?.unwrap_or(false))
    }

    /// Fetches the newest catalogue of a store, or what has changed in it. Scanning goes on meanwhile.
    ///
    /// # Errors
    /// [`WalkpayError::Network`], [`WalkpayError::Refused`], [`WalkpayError::Untrusted`], [`WalkpayError::Storage`],
    /// [`WalkpayError::Unknown`] for a store of another merchant; the catalogue is then as before.
    pub async fn sync_catalogue(&self, store_id: StoreId) -> Result<SyncReport, WalkpayError> {
        let handle = self.handle.clone();
        on_pool(async move {
            let synced = sync_catalogue(&handle, store_id).await?;
            let catalogue = handle.call(move |w| catalogue_status(w, synced.meta)).await?;
            let (previous_revision, delta) = (synced.before, synced.delta);
            Ok(SyncReport { catalogue, previous_revision, delta, rows: synced.rows, bytes: synced.bytes })
        })
        .await
    }

    /// The catalogue of a store that is here; nothing before the first sync.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`], [`WalkpayError::NotSignedIn`].
    pub async fn catalogue_status(&self, store_id: StoreId) -> Result<Option<CatalogueStatus>, WalkpayError> {
        self.handle
            .call(move |w| {
                let meta = w.shelves().find(&store_id)?.map(|shelf| shelf.meta().clone());
                meta.map(|meta| catalogue_status(w, meta)).transpose()
            })
            .await
    }

    /// Articles whose name has words that begin with the words of `text`, shorter names first; at most 200.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] without a letter or digit, [`WalkpayError::WrongOrder`] before the first sync.
    pub async fn search_articles(
        &self,
        store_id: StoreId,
        text: String,
        limit: u32,
    ) -> Result<Vec<Article>, WalkpayError> {
        let found = move |w: &mut Worker| w.shelves().get(&store_id, "search_articles")?.search(&text, limit);
        self.handle.call(found).await
    }

    /// Starts a visit of the user who is signed in.
    ///
    /// # Errors
    /// [`WalkpayError::NotSignedIn`], [`WalkpayError::Unknown`] for the store, [`WalkpayError::Limit`] with too many open visits.
    pub async fn start_trip(&self, store_id: StoreId, policy: ForwardPolicy) -> Result<Arc<Trip>, WalkpayError> {
        let start = move |w: &mut Worker| {
            w.shelves().open_ahead(&store_id);
            match w.command(Command::StartTrip { store_id: &store_id, policy })? {
                Reply::Trip(id) => Ok(id),
                _ => Err(WalkpayError::Internal { detail: "a trip without identifier".into() }),
            }
        };
        let id = self.handle.call(start).await?;
        Ok(Arc::new(Trip::new(self.handle.clone(), id)))
    }

    /// Takes up a visit again.
    ///
    /// # Errors
    /// [`WalkpayError::Unknown`], [`WalkpayError::NotSignedIn`].
    pub async fn resume_trip(&self, trip_id: TripId) -> Result<Arc<Trip>, WalkpayError> {
        self.handle.call(move |w| w.session().current()?.trip(trip_id).map(drop)).await?;
        Ok(Arc::new(Trip::new(self.handle.clone(), trip_id)))
    }

    /// All visits of the user who is signed in that are kept, oldest first.
    ///
    /// # Errors
    /// [`WalkpayError::NotSignedIn`].
    pub async fn trips(&self) -> Result<Vec<TripState>, WalkpayError> {
        self.handle
            .call(|w| {
                let device = w.session().current()?;
                device.trips().map(|trip| device.trip_state(trip.id)).collect()
            })
            .await
    }

    /// B20: orders of the user who is signed in, by default those that wait for payment. While the merchant cannot be reached: as they
    /// were last seen, with the time of it.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] for the filter, [`WalkpayError::Network`] when the merchant cannot be reached and no list was
    /// seen yet, [`WalkpayError::Refused`], [`WalkpayError::Untrusted`], [`WalkpayError::NotSignedIn`].
    pub async fn orders(&self, filter: OrderFilter) -> Result<OrderList, WalkpayError> {
        let handle = self.handle.clone();
        on_pool(async move { orders(&handle, filter).await }).await
    }

    /// B21: one order in full; as it was last seen while the merchant cannot be reached.
    ///
    /// # Errors
    /// As [`Terminal::orders`]; [`WalkpayError::Refused`] with `not_found` for an order of somebody else.
    pub async fn order(&self, service_number: ServiceNumber) -> Result<OrderDetail, WalkpayError> {
        let handle = self.handle.clone();
        on_pool(async move { order(&handle, service_number).await }).await
    }

    /// B31, B32: what the user who is signed in has paid, summed up by method, case and more, everywhere: by slips and by baskets. The
    /// merchant is asked each time.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] for the filter, [`WalkpayError::Network`], [`WalkpayError::Refused`],
    /// [`WalkpayError::Untrusted`], [`WalkpayError::NotSignedIn`].
    pub async fn totals(&self, filter: TotalsFilter) -> Result<Totals, WalkpayError> {
        let handle = self.handle.clone();
        on_pool(async move { totals(&handle, filter).await }).await
    }

    /// What the user who is signed in has of stored value at the merchant, and how much of it is free. The merchant is asked each time.
    ///
    /// # Errors
    /// [`WalkpayError::Network`], [`WalkpayError::Refused`], [`WalkpayError::Untrusted`], [`WalkpayError::NotSignedIn`].
    pub async fn balance(&self) -> Result<Balance, WalkpayError> {
        let handle = self.handle.clone();
        on_pool(async move { balance(&handle).await }).await
    }

    /// B22: asks for a slip of orders of one currency and one payee. It is asked for until the merchant has answered, also after a
    /// restart, and made once.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] for orders, remarks or invoice, [`WalkpayError::MixedCurrencies`],
    /// [`WalkpayError::Limit`] with too many open slips, [`WalkpayError::NotSignedIn`].
    pub async fn make_slip(&self, request: SlipRequest) -> Result<Arc<Slip>, WalkpayError> {
        let make = move |w: &mut Worker| match w.command(Command::MakeSlip { request: &request })? {
            Reply::Slip(id) => Ok(id),
            _ => Err(WalkpayError::Internal { detail: "a slip without identifier".into() }),
        };
        let id = self.handle.call(make).await?;
        Ok(Arc::new(Slip::new(self.handle.clone(), id)))
    }

    /// Takes up a slip again.
    ///
    /// # Errors
    /// [`WalkpayError::Unknown`], [`WalkpayError::NotSignedIn`].
    pub async fn resume_slip(&self, slip_id: SlipId) -> Result<Arc<Slip>, WalkpayError> {
        self.handle.call(move |w| w.session().current()?.slip(slip_id).map(drop)).await?;
        Ok(Arc::new(Slip::new(self.handle.clone(), slip_id)))
    }

    /// All slips of the user who is signed in that are kept, oldest first: those that are neither paid nor closed, and those whose
    /// end has not been acknowledged.
    ///
    /// # Errors
    /// [`WalkpayError::NotSignedIn`].
    pub async fn slips(&self) -> Result<Vec<SlipState>, WalkpayError> {
        self.handle
            .call(|w| {
                let device = w.session().current()?;
                device.slips().map(|slip| device.slip_state(slip.id)).collect()
            })
            .await
    }

    /// The first event above `after` of the user who is signed in; waits for it if there is none yet. Nothing when `timeout` is
    /// over. Events stay until they are acknowledged: giving up the wait loses none.
    ///
    /// # Errors
    /// [`WalkpayError::NotSignedIn`], also when the user signs out meanwhile; [`WalkpayError::ShutDown`].
    pub async fn next_event(&self, after: u64, timeout: Duration) -> Result<Option<HostEvent>, WalkpayError> {
        self.handle.wait(timeout, move |w| Ok(w.session().current()?.next_event(after).cloned())).await
    }

    /// Forgets all events up to this number: the host has dealt with them.
    ///
    /// # Errors
    /// [`WalkpayError::InvalidInput`] for a number that no event has, [`WalkpayError::NotSignedIn`].
    pub async fn ack_events(&self, up_to: u64) -> Result<(), WalkpayError> {
        self.handle
            .call(move |w| {
                w.command(Command::AckEvents { up_to })?;
                w.tidy();
                Ok(())
            })
            .await
    }

    /// The number that all events up to were acknowledged: where to begin after a start.
    ///
    /// # Errors
    /// [`WalkpayError::NotSignedIn`].
    pub async fn acked_events(&self) -> Result<u64, WalkpayError> {
        self.handle.call(|w| Ok(w.session().current()?.acked())).await
    }

    /// What waits to be sent for the user who is signed in.
    ///
    /// # Errors
    /// [`WalkpayError::NotSignedIn`].
    pub async fn outbox(&self) -> Result<Outbox, WalkpayError> {
        self.handle
            .call(|w| {
                let device = w.session().current()?;
                Ok(Outbox {
                    items: device.outbox(),
                    totals: device.outbox_totals(),
                    online: w.online()?,
                    trouble: w.key_trouble().or_else(|| device.trouble().map(str::to_owned)),
                })
            })
            .await
    }

    /// Has everything that waits tried at once.
    ///
    /// # Errors
    /// [`WalkpayError::NotSignedIn`].
    pub async fn forward_now(&self) -> Result<(), WalkpayError> {
        self.handle.call(|w| w.command(Command::ForwardNow).map(drop)).await
    }

    /// Stops all sending, or allows it again: airplane mode. Nothing is lost meanwhile.
    ///
    /// # Errors
    /// [`WalkpayError::ShutDown`].
    pub async fn set_network(&self, online: bool) -> Result<(), WalkpayError> {
        self.handle
            .call(move |w| {
                w.set_network(online);
                Ok(())
            })
            .await
    }

    /// Gives the device of the user who is signed in new keys: made here, or the host's. They are in force when the event
    /// `KeysRotated` tells so.
    ///
    /// # Errors
    /// [`WalkpayError::WrongOrder`] while a rotation is under way, [`WalkpayError::Key`], [`WalkpayError::NotSignedIn`].
    #[uniffi::method(default(request_signer = None, consent_signer = None))]
    pub async fn rotate_keys(
        &self,
        request_signer: Option<Arc<dyn DeviceSigner>>,
        consent_signer: Option<Arc<dyn DeviceSigner>>,
    ) -> Result<(), WalkpayError> {
        let handle = self.handle.clone();
        on_pool(async move { rotate(&handle, request_signer, consent_signer).await }).await
    }

    /// Ends the terminal and waits until the folder is free. Everything that was answered is on disk anyhow.
    ///
    /// # Errors
    /// None; fallible like every export.
    pub async fn shutdown(&self) -> Result<(), WalkpayError> {
        self.handle.shut_down().await;
        Ok(())
    }
}

fn enrolment_info(worker: &mut Worker, device: DeviceId) -> Result<EnrolmentInfo, WalkpayError> {
    let session = worker.session();
    let current = session.current().ok().map(|d| d.id);
    let unknown = || WalkpayError::Unknown { what: "device".into(), id: device.to_string() };
    let device = session.device(device).ok_or_else(unknown)?;
    let active = device.status == DeviceStatus::Active;
    Ok(EnrolmentInfo { user: UserInfo::of(device, Some(device.id) == current), active })
}

fn catalogue_status(worker: &mut Worker, meta: CatalogueMeta) -> Result<CatalogueStatus, WalkpayError> {
    let published = worker.session().current()?.published.get(&meta.header.store_id).copied();
    Ok(CatalogueStatus {
        articles: meta.articles,
        issued_at: meta.issued_at,
        usable_until: meta.usable_until,
        published_revision: published,
        header: meta.header,
    })
}
