//! What a message tells, read from the book as it now is.

use super::quiet::zone_of;
use crate::failure::Failure;
use crate::notify::text::{Facts, OrderFacts};
use crate::store::contacts::{self, Language};
use crate::store::notices::{Notice, NoticeKind};
use crate::store::orders::{self, Order};
use crate::store::{Tx, devices, stores};
use jiff::tz::TimeZone;
use walkpay::{Currency, ServiceNumber, Timestamp};

/// Where the merchant is reached.
#[derive(Clone, Debug)]
pub struct Site {
    /// Scheme, host and path, without a slash at the end.
    pub url: String,
}

impl Site {
    /// The payer's page of a token.
    pub fn page(&self, token: &str) -> String {
        format!("{}/pay/{token}", self.url)
    }

    /// Where a mail program unsubscribes by the same token.
    pub fn unsubscribe(&self, token: &str) -> String {
        format!("{}/pay/{token}/unsubscribe", self.url)
    }

    /// Where a text message centre reports by a token; `%d` becomes the type of the report.
    pub fn report(&self, token: &str) -> String {
        format!("{}/notify/sms/{token}?type=%d", self.url)
    }
}

/// What a notice tells, without its link.
///
/// # Errors
/// [`Failure::Fault`].
pub fn facts_of(tx: &Tx<'_>, notice: &Notice) -> Result<Facts, Failure> {
    let order = notice.number.map(|number| orders::get(tx, number)).transpose()?;
    let contact = contacts::contact(tx, notice.user)?;
    Ok(Facts {
        kind: notice.kind,
        language: contact.language,
        zone: zone_of(tx, &contact, order.as_ref())?,
        merchant: stores::merchant_name(tx)?,
        order: order.as_ref().map(of_order),
        device: notice.device.map(|device| devices::label(tx, device)).transpose()?,
        link: String::new(),
        unsubscribe: String::new(),
    })
}

pub(crate) fn of_order(order: &Order) -> OrderFacts {
    OrderFacts {
        number: order.number,
        service: order.service_name.clone(),
        payee: order.payee.clone(),
        due: order.total.currency.minor(order.due),
        total: order.total,
        refunded: order.total.currency.minor(order.refunded),
        deadline: order.deadline,
    }
}

/// What a preview tells without an order.
///
/// # Errors
/// [`Failure::Fault`].
pub fn sample(tx: &Tx<'_>, kind: NoticeKind, language: Language, now: Timestamp) -> Result<Facts, Failure> {
    let first = stores::all(tx)?.into_iter().next();
    let zone = first.as_ref().and_then(|store| TimeZone::get(&store.info.time_zone).ok()).unwrap_or(TimeZone::UTC);
    let currency = first.map_or_else(|| Currency::parse("EUR").ok(), |store| Some(store.currency()));
    let service = match language {
        Language::En => ("Kitchen installation", "Corner Services", "Ann's phone"),
        Language::Zh => ("厨房安装", "街角服务", "安的手机"),
    };
    let order = currency.zip(ServiceNumber::new(42).ok()).map(|(currency, number)| OrderFacts {
        number,
        service: service.0.to_owned(),
        payee: service.1.to_owned(),
        due: currency.minor(123_450),
        total: currency.minor(130_000),
        refunded: currency.minor(6_550),
        deadline: now.plus(std::time::Duration::from_secs(14 * 24 * 3600)),
    });
    let device = (kind == NoticeKind::NewDevice).then(|| (service.2.to_owned(), now));
    Ok(Facts {
        kind,
        language,
        zone,
        merchant: stores::merchant_name(tx)?,
        order: order.filter(|_| device.is_none()),
        device,
        link: String::new(),
        unsubscribe: String::new(),
    })
}
