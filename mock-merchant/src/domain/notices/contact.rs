//! How somebody is told: addresses, language, time zone, quiet hours, unsubscription.

use super::address::parse_address;
use crate::domain::{Answer, Ctx};
use crate::failure::{Failure, refuse};
use crate::store::contacts::{self, Contact, Language};
use crate::store::users::{User, UserState};
use crate::store::{Tx, stores};
use jiff::tz::TimeZone;
use walkpay::ServiceNumber;
use walkpay::protocol::problem::ProblemCode;

/// The most addresses of a user.
const MAX_ADDRESSES: usize = 5;

/// A change of how somebody is told.
#[derive(Clone, Debug)]
pub enum ContactChange {
    /// Another address: `mailto:`, `sms:`, `tel:` or `sip:`.
    Add(String),
    /// An address less.
    Remove(String),
    /// Nothing but security notices to an address, or all again.
    Unsubscribe {
        /// The address.
        uri: String,
        /// All again.
        off: bool,
    },
    /// The language, from now on.
    Language(Language),
    /// The time zone (an IANA name); `None`: that of the store or service.
    TimeZone(Option<String>),
    /// From which minute of the day until which there are no calls and text messages; `None`: the usual hours; the same twice:
    /// no quiet hours.
    Quiet(Option<(u16, u16)>),
}

/// What a link to a payer's page opens.
#[derive(Clone, Copy, Debug)]
pub struct PageLink {
    /// Whose page.
    pub user: i64,
    /// The notice's order.
    pub number: Option<ServiceNumber>,
    /// The address that it is sent to.
    pub address: Option<i64>,
    /// The delivery that carries it.
    pub delivery: Option<i64>,
}

/// Adds the addresses of a new user.
pub(crate) fn add_addresses(tx: &Tx<'_>, user: i64, uris: &[String]) -> Result<(), Failure> {
    for uri in uris {
        add(tx, user, uri)?;
    }
    Ok(())
}

fn add(tx: &Tx<'_>, user: i64, uri: &str) -> Result<(), Failure> {
    let (medium, place) = parse_address(uri)?;
    let present = contacts::addresses(tx, user)?;
    if present.iter().any(|a| (a.medium, a.place.as_str()) == (medium, place.as_str())) {
        return Ok(());
    }
    if present.len() >= MAX_ADDRESSES {
        return Err(refuse(ProblemCode::InvalidValue, format!("addresses: expected at most {MAX_ADDRESSES}")));
    }
    Ok(contacts::add(tx, user, medium, &place)?)
}

/// Changes how a user is told → [`Answer::Done`].
pub(crate) fn carry_out(tx: &Tx<'_>, ctx: &Ctx, user: &User, change: ContactChange) -> Result<Answer, Failure> {
    if user.state == UserState::Erased {
        return Err(refuse(ProblemCode::UserNotActive, "the user is erased"));
    }
    let invalid = |detail: String| refuse(ProblemCode::InvalidValue, detail);
    let absent = || refuse(ProblemCode::NotFound, "the user has no such address");
    let set = |f: &dyn Fn(Contact) -> Contact| -> Result<(), Failure> {
        Ok(contacts::set_contact(tx, user.user, &f(contacts::contact(tx, user.user)?))?)
    };
    match change {
        ContactChange::Add(uri) => add(tx, user.user, &uri)?,
        ContactChange::Remove(uri) => {
            let (medium, place) = parse_address(&uri)?;
            if !contacts::remove(tx, user.user, medium, &place)? {
                return Err(absent());
            }
        }
        ContactChange::Unsubscribe { uri, off } => {
            let wanted = parse_address(&uri)?;
            let found = contacts::addresses(tx, user.user)?;
            let found = found.into_iter().find(|a| (a.medium, &a.place) == (wanted.0, &wanted.1)).ok_or_else(absent)?;
            contacts::set_unsubscribed(tx, found.address, (!off).then_some(ctx.now))?;
        }
        ContactChange::Language(language) => set(&|contact| Contact { language, ..contact })?,
        ContactChange::TimeZone(time_zone) => {
            if let Some(name) = &time_zone
                && TimeZone::get(name).is_err()
            {
                return Err(invalid(format!("time zone: expected an IANA name such as Europe/Berlin, got {name}")));
            }
            set(&|contact| Contact { time_zone: time_zone.clone(), ..contact })?;
        }
        ContactChange::Quiet(quiet) => {
            if quiet.is_some_and(|(from, until)| from >= 1440 || until >= 1440) {
                return Err(invalid("quiet hours: expected minutes of the day below 1440".to_owned()));
            }
            set(&|contact| Contact { quiet, ..contact })?;
        }
    }
    stores::audit(tx, ctx.now, "operator", "change_contact", user.sub.as_str())?;
    Ok(Answer::Done)
}
