//! Which promotions apply to which pieces.
//!
//! At most one promotion applies to a piece. Percentages: the highest one of the article, rounded half up per piece (per
//! line where goods are weighed or priced by their label). N for a price: bundles are formed one after the other, each
//! time the one that saves the shopper the most beyond the percentages its pieces would get instead, from the dearest
//! pieces, as long as one saves anything; equal savings go to the promotion whose id is first. With one
//! n-for-price promotion per article this is the best that the shopper can get. Deposits are never reduced.

use super::allocate::{allocate, share_half_up};
use super::line::Quantity;
use crate::barcode::Gtin;
use crate::catalogue::{PriceBook, PromotionKind};
use crate::time::Timestamp;

/// One line on its way through the promotions.
pub(super) struct Item {
    pub gtin: Gtin,
    pub quantity: Quantity,
    pub unit_price: i64,
    pub gross: i64,
    pub deposit: bool,
    /// Found here.
    pub discount: i64,
    /// Found here: positions of promotions in the book, ascending, without repeats.
    pub promotions: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Percent {
    promotion: u32,
    per_piece: i64,
}

struct Bundles {
    promotion: u32,
    n: u32,
    price: i64,
    /// Lines, dearest first, and how many of their pieces are in bundles.
    members: Vec<(usize, u32)>,
    saved: i64,
}

/// Fills in discounts and promotions.
pub(super) fn promote(items: &mut [Item], at: Timestamp, book: &PriceBook) {
    if book.promotions().is_empty() {
        return;
    }
    let mut percents: Vec<Option<Percent>> = Vec::with_capacity(items.len());
    let mut groups: Vec<Bundles> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        percents.push(candidates(index, item, at, book, &mut groups));
    }
    let mut left: Vec<u32> = items.iter().map(|i| if i.deposit { 0 } else { i.quantity.pieces() }).collect();
    bundle(items, &percents, &mut left, &mut groups);
    for group in &groups {
        settle(items, group);
    }
    for ((item, percent), left) in items.iter_mut().zip(&percents).zip(&left) {
        let Some(percent) = percent else { continue };
        let discount = percent.per_piece * i64::from(*left);
        if discount > 0 {
            item.discount += discount;
            item.promotions.push(percent.promotion);
        }
    }
    for item in items {
        item.promotions.sort_unstable();
        item.promotions.dedup();
    }
}

/// The best percentage of a line; its n-for-price promotions go into `groups`.
fn candidates(
    index: usize,
    item: &Item,
    at: Timestamp,
    book: &PriceBook,
    groups: &mut Vec<Bundles>,
) -> Option<Percent> {
    if item.deposit {
        return None;
    }
    let counted = matches!(item.quantity, Quantity::Pieces { .. });
    let price = if counted { item.unit_price } else { item.gross };
    let mut best: Option<(i64, u32)> = None;
    for (promotion, data, millionths) in book.promotions_of(item.gtin).filter(|(_, p, _)| p.holds_at(at)) {
        match data.kind {
            PromotionKind::PercentOff { .. } if best.is_none_or(|(most, _)| millionths > most) => {
                best = Some((millionths, promotion));
            }
            PromotionKind::NForPrice { n, price_minor } if counted => {
                match groups.iter_mut().find(|g| g.promotion == promotion) {
                    Some(group) => group.members.push((index, 0)),
                    None => {
                        groups.push(Bundles { promotion, n, price: price_minor, members: vec![(index, 0)], saved: 0 })
                    }
                }
            }
            _ => {}
        }
    }
    best.map(|(millionths, promotion)| Percent { promotion, per_piece: share_half_up(price, millionths, 1_000_000) })
}

/// Forms bundles until none saves anything.
fn bundle(items: &[Item], percents: &[Option<Percent>], left: &mut [u32], groups: &mut [Bundles]) {
    let unit = |line: usize| items.get(line).map_or(0, |i| i.unit_price);
    let net = |line: usize| unit(line) - percents.get(line).copied().flatten().map_or(0, |p| p.per_piece);
    groups.sort_unstable_by_key(|g| g.promotion);
    for group in groups.iter_mut() {
        let gtin = |line: usize| items.get(line).map(|i| i.gtin);
        group.members.sort_unstable_by_key(|(line, _)| (std::cmp::Reverse(net(*line)), gtin(*line), *line));
    }
    loop {
        let mut best: Option<(i64, usize)> = None;
        for (at, group) in groups.iter().enumerate() {
            if let Some(gain) = gain(group, left, net)
                && best.is_none_or(|(most, _)| gain > most)
            {
                best = Some((gain, at));
            }
        }
        let Some(group) = best.and_then(|(_, at)| groups.get_mut(at)) else { return };
        take(group, left, unit);
    }
}

/// What the next bundle of a promotion saves; `None` if there is none, or it saves nothing.
fn gain(group: &Bundles, left: &[u32], net: impl Fn(usize) -> i64) -> Option<i64> {
    let (mut needed, mut worth) = (group.n, 0);
    for (line, _) in &group.members {
        let taken = left.get(*line).map_or(0, |l| needed.min(*l));
        worth += net(*line) * i64::from(taken);
        needed -= taken;
        if needed == 0 {
            return Some(worth - group.price).filter(|gain| *gain > 0);
        }
    }
    None
}

/// Takes the next bundle; where the dearest line alone fills several, all of these, since the next ones are equal.
fn take(group: &mut Bundles, left: &mut [u32], unit: impl Fn(usize) -> i64) {
    let mut needed = group.n;
    let mut times = 1;
    for (line, bundled) in &mut group.members {
        let Some(available) = left.get_mut(*line).filter(|l| **l > 0) else { continue };
        if needed == group.n {
            times = (*available / group.n).max(1);
        }
        let taken = needed.min(*available);
        let all = taken * times;
        *available -= all;
        *bundled += all;
        group.saved += unit(*line) * i64::from(all);
        needed -= taken;
        if needed == 0 {
            break;
        }
    }
    group.saved -= group.price * i64::from(times);
}

/// Distributes what a promotion saved over its lines.
fn settle(items: &mut [Item], group: &Bundles) {
    let weight = |(line, bundled): &(usize, u32)| items.get(*line).map_or(0, |i| i.unit_price) * i64::from(*bundled);
    let mut members: Vec<(usize, u32)> = group.members.iter().copied().filter(|(_, bundled)| *bundled > 0).collect();
    members.sort_unstable();
    let weights: Vec<i64> = members.iter().map(weight).collect();
    let mut shares = Vec::new();
    allocate(group.saved, &weights, &mut shares);
    for ((line, _), share) in members.iter().zip(shares) {
        if let Some(item) = items.get_mut(*line) {
            item.discount += share;
            item.promotions.push(group.promotion);
        }
    }
}
