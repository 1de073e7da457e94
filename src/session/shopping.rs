//! The calls that fill a basket and freeze it.

use super::draft::Draft;
use super::input::{Decision, Now, Reply, Review};
use super::journal::Fact;
use super::state::Device;
use super::trip::{ForwardPolicy, Frozen, MAX_OPEN_TRIPS, Trip};
use crate::barcode::Meaning;
use crate::basket::{BasketEvent, LineId, Quantity, lines_bytes, price, violations};
use crate::catalogue::{Articles, PriceBook};
use crate::error::WalkpayError;
use crate::id::*;
use crate::protocol::crypto::digest;
use crate::protocol::document::{Reason, ReasonCode};

pub(super) fn start_trip(
    device: &Device,
    store_id: &StoreId,
    policy: ForwardPolicy,
    now: &Now,
) -> Result<Decision, WalkpayError> {
    let store = device.store(store_id)?;
    if device.trips().filter(|t| !t.is_finished()).count() >= MAX_OPEN_TRIPS {
        return Err(WalkpayError::limit("trips without a result", MAX_OPEN_TRIPS as u64));
    }
    let mut random = [0; 10];
    random.copy_from_slice(&now.random[..10]);
    let trip_id = TripId::new(device.merchant_time(now), random);
    let fact = Fact::TripStarted { trip_id, store_id: store_id.clone(), currency: store.currency, policy };
    Ok(Draft::one(device, now, fact, Reply::Trip(trip_id)))
}

pub(super) fn scan(
    device: &Device,
    trip_id: TripId,
    meaning: &Meaning,
    quantity: Option<Quantity>,
    articles: &dyn Articles,
    now: &Now,
) -> Result<Decision, WalkpayError> {
    let trip = open(device, trip_id, "scan")?;
    changed(device, trip_id, trip.basket.decide_scan(meaning, quantity, articles)?, now)
}

pub(super) fn set_quantity(
    device: &Device,
    trip_id: TripId,
    line: LineId,
    quantity: Quantity,
    now: &Now,
) -> Result<Decision, WalkpayError> {
    let trip = open(device, trip_id, "set_quantity")?;
    changed(device, trip_id, trip.basket.decide_set_quantity(line, quantity)?, now)
}

pub(super) fn remove(device: &Device, trip_id: TripId, line: LineId, now: &Now) -> Result<Decision, WalkpayError> {
    let trip = open(device, trip_id, "remove")?;
    changed(device, trip_id, trip.basket.decide_remove(line)?, now)
}

pub(super) fn apply_coupon(device: &Device, trip_id: TripId, code: &str) -> Result<Decision, WalkpayError> {
    open(device, trip_id, "apply_coupon")?;
    if code.is_empty() || code.len() > 128 {
        return Err(WalkpayError::invalid("coupon", "1 to 128 characters", code));
    }
    Err(WalkpayError::basket_rule("coupon_not_supported", None, "no coupons are taken here yet"))
}

pub(super) fn review(
    device: &Device,
    trip_id: TripId,
    articles: &dyn Articles,
    book: &PriceBook,
    now: &Now,
) -> Result<Decision, WalkpayError> {
    let trip = open(device, trip_id, "review")?;
    if trip.basket.is_empty() {
        return Err(trip.wrong_order("review", false));
    }
    let header = book.header();
    if header.store_id != trip.store_id {
        return Err(WalkpayError::invalid(
            "catalogue",
            &format!("that of store {}", trip.store_id),
            header.store_id.as_str(),
        ));
    }
    if book.currency() != trip.currency {
        return Err(WalkpayError::MixedCurrencies {
            expected: trip.currency.code().to_owned(),
            got: book.currency().code().to_owned(),
        });
    }
    let picks = trip.basket.picks();
    if let Some(reason) = violations(&picks, book, articles).into_iter().next() {
        return Err(violation(reason));
    }
    let priced_at = device.merchant_time(now);
    let priced = price(&picks, priced_at, book, articles)?;
    let lines = String::from_utf8(lines_bytes(&priced))
        .map_err(|_| WalkpayError::Internal { detail: "lines that are no UTF-8".into() })?;
    let frozen = Frozen {
        catalogue_revision: header.revision,
        pricing_version: priced.pricing_version,
        priced_at,
        total: priced.total,
        item_count: priced.item_count,
        lines_sha256: digest(lines.as_bytes()),
        lines,
    };
    let reply = Reply::Review(Box::new(Review { frozen: frozen.clone(), priced }));
    Ok(Draft::one(device, now, Fact::Reviewed { trip_id, frozen }, reply))
}

fn open<'a>(device: &'a Device, trip_id: TripId, called: &str) -> Result<&'a Trip, WalkpayError> {
    let trip = device.trip(trip_id)?;
    trip.expect_open(called)?;
    Ok(trip)
}

fn changed(device: &Device, trip_id: TripId, events: Vec<BasketEvent>, now: &Now) -> Result<Decision, WalkpayError> {
    let line = events.iter().find_map(|event| match event {
        BasketEvent::LineAdded { line } => Some(line.id),
        BasketEvent::QuantitySet { line, .. } => Some(*line),
        _ => None,
    });
    let reply = line.map_or(Reply::Done, Reply::Line);
    Ok(Draft::one(device, now, Fact::Basket { trip_id, events }, reply))
}

fn violation(reason: Reason) -> WalkpayError {
    let rule = match reason.code {
        ReasonCode::SaleStopped => "sale_stopped",
        ReasonCode::UnknownArticle => "unknown_article",
        ReasonCode::QuantityLimit => "quantity",
        _ => "lines",
    };
    WalkpayError::basket_rule(rule, reason.line, reason.detail)
}
