//! Quiet hours: when nobody is called and nobody's telephone rings for a text message.

use crate::failure::Failure;
use crate::store::contacts::Contact;
use crate::store::orders::Order;
use crate::store::{Tx, sources, stores};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use walkpay::Timestamp;

/// Whose times count for a payer: their own zone, else that of the order's store or service, else that of the first store.
///
/// # Errors
/// [`Failure::Fault`].
pub(crate) fn zone_of(tx: &Tx<'_>, contact: &Contact, order: Option<&Order>) -> Result<TimeZone, Failure> {
    let of_order = match order {
        Some(Order { store: Some(store), .. }) => Some(stores::get(tx, *store)?.info.time_zone),
        Some(order) => sources::find(tx, &order.source)?.map(|source| source.time_zone),
        None => None,
    };
    let first = match (&contact.time_zone, &of_order) {
        (None, None) => stores::all(tx)?.into_iter().next().map(|store| store.info.time_zone),
        _ => None,
    };
    let name = contact.time_zone.clone().or(of_order).or(first);
    Ok(name.and_then(|name| TimeZone::get(&name).ok()).unwrap_or(TimeZone::UTC))
}

/// Until when it is quiet, if it is: `hours` are minutes of the day in `zone`, perhaps over midnight. Where a change of the
/// clocks leaves the end out, it is the first instant after it.
pub(crate) fn quiet_until(now: Timestamp, zone: &TimeZone, hours: (u16, u16)) -> Option<Timestamp> {
    let (from, until) = hours;
    let local = jiff::Timestamp::from_millisecond(now.as_millis()).ok()?.to_zoned(zone.clone());
    let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).ok()?;
    let quiet = if from <= until { (from..until).contains(&minute) } else { minute >= from || minute < until };
    if !quiet {
        return None;
    }
    let end = Time::new(i8::try_from(until / 60).ok()?, i8::try_from(until % 60).ok()?, 0, 0).ok()?;
    let day = if minute < until { local.date() } else { local.date().tomorrow().ok()? };
    let end = day.to_datetime(end).to_zoned(zone.clone()).ok()?;
    Some(Timestamp::from_millis(end.timestamp().as_millisecond())).filter(|end| *end > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(now: &str, zone: &str, hours: (u16, u16)) -> Option<String> {
        let zone = TimeZone::get(zone).unwrap();
        quiet_until(Timestamp::parse(now).unwrap(), &zone, hours).map(|t| t.to_string())
    }

    #[test]
    fn it_is_quiet_over_midnight() {
        let night = (21 * 60, 8 * 60);
        let berlin = |now| until(now, "Europe/Berlin", night);
        assert_eq!(berlin("2026-01-15T19:59:59Z"), None, "20:59");
        assert_eq!(berlin("2026-01-15T20:00:00Z").unwrap(), "2026-01-16T07:00:00.000Z");
        assert_eq!(berlin("2026-01-16T02:00:00Z").unwrap(), "2026-01-16T07:00:00.000Z");
        assert_eq!(berlin("2026-01-16T07:00:00Z"), None);
        assert_eq!(until("2026-01-15T12:00:00Z", "Asia/Shanghai", night), None, "20:00");
        assert_eq!(until("2026-01-15T13:00:00Z", "Asia/Shanghai", night).unwrap(), "2026-01-16T00:00:00.000Z");
    }

    #[test]
    fn a_pause_at_noon_and_none_at_all() {
        let noon = (12 * 60, 14 * 60);
        assert_eq!(until("2026-01-15T12:30:00Z", "UTC", noon).unwrap(), "2026-01-15T14:00:00.000Z");
        assert_eq!(until("2026-01-15T14:00:00Z", "UTC", noon), None);
        assert_eq!(until("2026-01-15T12:30:00Z", "UTC", (600, 600)), None);
    }

    #[test]
    fn the_night_in_which_the_clocks_go_forward_is_an_hour_shorter() {
        let night = (21 * 60, 8 * 60);
        assert_eq!(until("2026-03-28T21:00:00Z", "Europe/Berlin", night).unwrap(), "2026-03-29T06:00:00.000Z");
        // 02:30 does not exist in that night.
        assert_eq!(until("2026-03-28T22:00:00Z", "Europe/Berlin", (22 * 60, 150)).unwrap(), "2026-03-29T01:30:00.000Z");
    }
}
