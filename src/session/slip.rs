//! One slip: what was asked for, what the merchant made of it, and each try to pay it.
//!
//! What the merchant said comes by two ways, as signed results and as answers, and one may overtake the other: nothing that has ended
//! goes back to being under way.

use super::outbox::Refusal;
use crate::error::WalkpayError;
use crate::id::*;
use crate::money::Money;
use crate::protocol::document::{Leg, PaymentMethod};
use crate::protocol::order::{Launch, PaymentStatus, PaymentView, SlipRequest, SlipResult, SlipStatus, SlipView};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The most slips of a device that are neither paid nor closed.
pub const MAX_OPEN_SLIPS: usize = 50;
/// The most payments of a slip.
pub const MAX_PAYMENTS: usize = 50;

/// What is known of a payment that was signed here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct PaymentFacts {
    /// It.
    pub payment_id: PaymentId,
    /// Its `device_seq`.
    pub seq: u64,
    /// How what stored value does not pay is paid.
    pub method: PaymentMethod,
    /// All of it.
    pub amount: Money,
    /// The part that stored value pays.
    pub stored_value: Money,
    /// When it was signed, by the device's clock.
    pub on_device: Timestamp,
    /// When the merchant's answer came, by the device's clock.
    pub submitted: Option<Timestamp>,
    /// Why the merchant will never take it.
    pub refused: Option<Refusal>,
    /// Whether it was not sent any more since the slip is closed.
    pub withdrawn: bool,
    /// When it was asked to be given up, as long as that is unanswered.
    pub close_requested: Option<Timestamp>,
    /// The latest that the merchant said of it.
    pub view: Option<PaymentView>,
    /// What moved, by order and method.
    pub legs: Vec<Leg>,
}

impl PaymentFacts {
    /// Whether it is still to be heard what became of it.
    pub fn is_open(&self) -> bool {
        self.refused.is_none() && !self.withdrawn && self.view.as_ref().is_none_or(is_under_way)
    }

    /// Whether nothing was paid by it.
    pub(crate) fn is_lost(&self) -> bool {
        let closed = |view: &PaymentView| view.status == PaymentStatus::Closed;
        self.refused.is_some() || self.withdrawn || self.view.as_ref().is_some_and(closed)
    }
}

/// One slip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slip {
    /// Its name here, made on the device.
    pub id: SlipId,
    /// Its number in the outbox.
    pub seq: u64,
    /// What was asked for.
    pub request: SlipRequest,
    /// What its orders owed when they were last seen, if all of them were.
    pub expected: Option<Money>,
    /// When, by the device's clock.
    pub asked_at: Timestamp,
    /// Why the merchant will never make it.
    pub refused: Option<Refusal>,
    /// The latest that the merchant said of it.
    pub made: Option<SlipView>,
    /// The payments that were signed here, in order.
    pub payments: Vec<PaymentFacts>,
    /// When it was asked to be given up, as long as that is unanswered.
    pub close_requested: Option<Timestamp>,
    /// When something happened to it last, by the device's clock.
    pub touched_at: Timestamp,
    /// The number of the last event for the host that is about it.
    pub last_told: u64,
}

impl Slip {
    pub(super) fn new(id: SlipId, seq: u64, request: SlipRequest, expected: Option<Money>, at: Timestamp) -> Self {
        Self {
            id,
            seq,
            request,
            expected,
            asked_at: at,
            refused: None,
            made: None,
            payments: Vec::new(),
            close_requested: None,
            touched_at: at,
            last_told: 0,
        }
    }

    /// Its number, once the merchant has made it.
    pub fn number(&self) -> Option<SlipNumber> {
        self.made.as_ref().map(|s| s.slip_number)
    }

    /// Where it stands, once the merchant has made it.
    pub fn status(&self) -> Option<SlipStatus> {
        let made = self.made.as_ref()?;
        Some(match made.status {
            over @ (SlipStatus::Paid | SlipStatus::Closed) => over,
            _ if self.is_being_paid() => SlipStatus::Paying,
            _ => SlipStatus::Open,
        })
    }

    /// Whether a payment waits to be sent or is under way, from here or from elsewhere; also one that has succeeded, until the
    /// merchant has said what became of the slip.
    pub fn is_being_paid(&self) -> bool {
        let counts = |view: &PaymentView| view.status != PaymentStatus::Closed;
        let elsewhere = self.made.iter().flat_map(|s| &s.payments).any(counts);
        elsewhere || self.payments.iter().any(|p| p.is_open() || p.view.as_ref().is_some_and(counts))
    }

    /// What the host needs for the payment that is under way.
    pub fn launch(&self) -> Option<&Launch> {
        let under_way = self.payments.iter().rev().filter_map(|p| p.view.as_ref()).find(|v| is_under_way(v));
        under_way.and_then(|v| v.launch.as_ref())
    }

    /// Whether nothing can come of it any more: it counts no longer against [`MAX_OPEN_SLIPS`].
    pub fn is_finished(&self) -> bool {
        let over = matches!(self.status(), Some(SlipStatus::Paid | SlipStatus::Closed));
        self.refused.is_some() || (over && !self.payments.iter().any(PaymentFacts::is_open))
    }

    /// Which call or fact comes next.
    pub fn due(&self, prepared: bool) -> String {
        if self.refused.is_some() {
            return "make_slip (this one was refused)".into();
        }
        match self.status() {
            None => "next_event (the merchant's answer to the slip)".into(),
            Some(SlipStatus::Paid) => "make_slip (this one is paid)".into(),
            Some(SlipStatus::Closed) => "make_slip (this one is closed)".into(),
            _ if self.close_requested.is_some() => "next_event (the answer to the closure)".into(),
            Some(SlipStatus::Paying) if self.launch().is_some() => {
                "next_event (how the payment ends, once the payer has made it)".into()
            }
            Some(SlipStatus::Paying) => "next_event (how the payment ends)".into(),
            Some(SlipStatus::Open) if prepared => "submit_payment_signature".into(),
            Some(SlipStatus::Open) => "pay".into(),
        }
    }

    pub(super) fn wrong_order(&self, called: &str, prepared: bool) -> WalkpayError {
        WalkpayError::WrongOrder { called: called.to_owned(), due: self.due(prepared) }
    }

    /// Whether a view can be one of this slip: the orders that were asked for, and amounts that add up.
    pub(super) fn fits(&self, view: &SlipView) -> bool {
        let mut asked = self.request.orders.clone();
        let mut listed: Vec<_> = view.items.iter().map(|i| i.service_number).collect();
        asked.sort_unstable();
        listed.sort_unstable();
        let currency = view.amount.currency;
        let sum = view.items.iter().try_fold(0_i64, |sum, i| sum.checked_add(i.amount.minor));
        let payments = view.payments.len() <= 2 * MAX_PAYMENTS
            && view.payments.iter().all(|p| p.slip_number == view.slip_number && p.amount.currency == currency);
        asked == listed
            && view.amount.minor > 0
            && sum == Some(view.amount.minor)
            && view.items.iter().all(|i| i.amount.currency == currency && i.amount.minor > 0)
            && payments
            && self.made.as_ref().is_none_or(|m| m.slip_number == view.slip_number && m.amount == view.amount)
    }

    /// Whether a view can be one of this payment.
    pub(super) fn fits_payment(&self, view: &PaymentView) -> bool {
        let ours = self.payments.iter().find(|p| p.payment_id == view.payment_id);
        self.number() == Some(view.slip_number)
            && ours
                .is_none_or(|p| (p.method, p.amount, p.stored_value) == (view.method, view.amount, view.stored_value))
    }

    pub(super) fn learn_view(&mut self, view: &SlipView) {
        let known = self.made.take();
        let payments = known.as_ref().map(|k| k.payments.clone()).unwrap_or_default();
        let over = known.map(|k| k.status).filter(|s| *s == SlipStatus::Paid || *s == SlipStatus::Closed);
        let status = if view.status == SlipStatus::Paid { view.status } else { over.unwrap_or(view.status) };
        self.made = Some(SlipView { status, payments, ..view.clone() });
        view.payments.iter().for_each(|p| self.learn_payment(p));
        self.learn_end();
    }

    pub(super) fn learn_payment(&mut self, view: &PaymentView) {
        if let Some(made) = &mut self.made {
            match made.payments.iter_mut().find(|p| p.payment_id == view.payment_id) {
                Some(known) => merge(known, view),
                None => made.payments.push(view.clone()),
            }
            made.method = made.payments.last().map(|p| p.method);
        }
        if let Some(ours) = self.payments.iter_mut().find(|p| p.payment_id == view.payment_id) {
            match &mut ours.view {
                Some(known) => merge(known, view),
                None => ours.view = Some(view.clone()),
            }
            if !ours.is_open() {
                ours.close_requested = None;
            }
        }
    }

    pub(super) fn learn_result(&mut self, result: &SlipResult) {
        self.learn_payment(&result.payment);
        if let Some(ours) = self.payments.iter_mut().find(|p| p.payment_id == result.payment.payment_id) {
            ours.legs.clone_from(&result.legs);
        }
        if let Some(made) = &mut self.made {
            let over = matches!(made.status, SlipStatus::Paid | SlipStatus::Closed);
            if !over || result.slip_status == SlipStatus::Paid {
                made.status = result.slip_status;
            }
        }
        self.learn_end();
    }

    /// The merchant takes no payment of it any more. If it was paid elsewhere, a result says so.
    pub(super) fn end(&mut self) {
        if let Some(made) = &mut self.made
            && made.status != SlipStatus::Paid
        {
            made.status = SlipStatus::Closed;
        }
        self.learn_end();
    }

    fn learn_end(&mut self) {
        if matches!(self.status(), Some(SlipStatus::Paid | SlipStatus::Closed)) {
            self.close_requested = None;
        }
    }

    /// Everything about it that a host may want to show.
    pub(super) fn state(&self, prepared: bool) -> SlipState {
        SlipState {
            slip_id: self.id,
            request: self.request.clone(),
            expected: self.expected,
            asked_at: self.asked_at,
            refused: self.refused.clone(),
            status: self.status(),
            slip: self.made.clone(),
            payments: self.payments.clone(),
            launch: self.launch().cloned(),
            close_requested: self.close_requested,
            due: self.due(prepared),
        }
    }
}

/// A slip as a host reads it.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct SlipState {
    /// Its name here.
    pub slip_id: SlipId,
    /// What was asked for.
    pub request: SlipRequest,
    /// What its orders owed when they were last seen, if all of them were: before the merchant has answered.
    pub expected: Option<Money>,
    /// When, by the device's clock.
    pub asked_at: Timestamp,
    /// Why the merchant will never make it.
    pub refused: Option<Refusal>,
    /// Where it stands, once the merchant has made it.
    pub status: Option<SlipStatus>,
    /// What the merchant made.
    pub slip: Option<SlipView>,
    /// The payments that were signed here, in order.
    pub payments: Vec<PaymentFacts>,
    /// What the host needs for the payment that is under way.
    pub launch: Option<Launch>,
    /// When it was asked to be given up, as long as that is unanswered.
    pub close_requested: Option<Timestamp>,
    /// Which call or fact comes next.
    pub due: String,
}

/// Whether it is not known yet how a payment ends.
pub(super) fn is_under_way(view: &PaymentView) -> bool {
    matches!(view.status, PaymentStatus::Open | PaymentStatus::Closing)
}

fn merge(known: &mut PaymentView, news: &PaymentView) {
    let rank = |status| match status {
        PaymentStatus::Open => 0,
        PaymentStatus::Closing => 1,
        PaymentStatus::Closed => 2,
        PaymentStatus::Succeeded => 3,
    };
    if rank(news.status) < rank(known.status) {
        if known.launch.is_none() {
            known.launch.clone_from(&news.launch);
        }
        return;
    }
    let launch = news.launch.clone().or(known.launch.take());
    *known = PaymentView { launch, ..news.clone() };
}
