//! Asking for slips, paying them and giving them up: the calls, what the merchant's answers mean, and how the facts are folded.

use super::draft::Draft;
use super::host::HostEventKind;
use super::input::{Decision, KeyRole, Now, Reply};
use super::journal::Fact;
use super::orders::MAX_TEXT;
use super::outbox::{OutboxBody, OutboxEntry, OutboxKind, Prepared, PreparedWhat, Refusal, Retry};
use super::signing::{Subject, below_rotation, finish, may_send, may_sign, next_seq, prepared, room, to_sign};
use super::slip::{MAX_OPEN_SLIPS, MAX_PAYMENTS, PaymentFacts, Slip};
use super::state::Device;
use super::trip::ForwardPolicy;
use crate::error::WalkpayError;
use crate::id::*;
use crate::money::Money;
use crate::protocol::document::PaymentMethod;
use crate::protocol::order::{
    Invoice, InvoiceType, Launch, MAX_SLIP_ORDERS, PaymentStatus, PaymentView, SlipPayment, SlipRequest, SlipResult,
    SlipStatus, SlipView,
};
use crate::protocol::problem::ProblemCode;
use crate::time::Timestamp;
use std::collections::BTreeSet;

const MAX_REMARKS: usize = 500;
const MAX_TITLE: usize = 200;
const MAX_LAUNCH: usize = 16 * 1024;

/// B22. What cannot be right is refused here; everything else is for the merchant to judge.
pub(super) fn make_slip(device: &Device, request: &SlipRequest, now: &Now) -> Result<Decision, WalkpayError> {
    check(request)?;
    let mut owed = request.orders.iter().filter_map(|n| device.orders.summary(*n)).map(|o| o.due.currency);
    if let Some(first) = owed.next()
        && let Some(other) = owed.find(|currency| *currency != first)
    {
        let (expected, got) = (first.code().to_owned(), other.code().to_owned());
        return Err(WalkpayError::MixedCurrencies { expected, got });
    }
    if device.slips().filter(|s| !s.is_finished()).count() >= MAX_OPEN_SLIPS {
        return Err(WalkpayError::limit("slips that are neither paid nor closed", MAX_OPEN_SLIPS as u64));
    }
    may_send(device)?;
    let slip_id = SlipId::new(device.merchant_time(now), random(now));
    let expected = device.orders.owed(&request.orders);
    let fact = Fact::SlipRequested { seq: next_seq(device), slip_id, request: request.clone(), expected };
    Ok(Draft::one(device, now, fact, Reply::Slip(slip_id)))
}

/// B23. `stored_value` is the part that it pays; without, all if it is the method, else nothing.
pub(super) fn prepare_payment(
    device: &Device,
    slip_id: SlipId,
    method: PaymentMethod,
    stored_value: Option<Money>,
    now: &Now,
) -> Result<Decision, WalkpayError> {
    let slip = device.slip(slip_id)?;
    let call = "pay";
    let made = payable(slip, call)?;
    let stored_value = split(made.amount, method, stored_value)?;
    if slip.payments.len() >= MAX_PAYMENTS {
        return Err(WalkpayError::limit("payments of a slip", MAX_PAYMENTS as u64));
    }
    may_sign(device, call, ForwardPolicy::PreferOnline, true)?;
    let asked = (method, made.amount, stored_value);
    if let Some(again) = device.prepared_payment(slip_id)
        && again.kid == device.consent_key.key_id()
        && matches!(&again.what, PreparedWhat::SlipPayment { method, amount, stored_value, .. } if (*method, *amount, *stored_value) == asked)
    {
        return Ok(Decision::nothing(to_sign(again, KeyRole::Consent)));
    }
    let signed_at = device.merchant_time(now);
    let payment_id = PaymentId::new(signed_at, random(now));
    let seq = next_seq(device);
    let (slip_number, amount) = (made.slip_number, made.amount);
    let document = SlipPayment {
        merchant_id: device.merchant_id.clone(),
        sub: device.sub.clone(),
        device_id: device.id,
        device_seq: seq,
        slip_number,
        payment_id,
        method,
        amount,
        stored_value,
        signed_at,
    };
    let what = PreparedWhat::SlipPayment { payment_id, slip_number, method, amount, stored_value };
    prepared(device, Subject::Slip(slip_id), &device.consent_key, seq, &document, what, now)
}

/// The second step. The signature is verified here: what does not verify never gets into the journal.
pub(super) fn submit_payment(
    device: &Device,
    slip_id: SlipId,
    signature: &[u8],
    now: &Now,
) -> Result<Decision, WalkpayError> {
    let slip = device.slip(slip_id)?;
    let call = "submit_payment_signature";
    payable(slip, call)?;
    let Some(prepared) = device.prepared_payment(slip_id) else { return Err(slip.wrong_order(call, false)) };
    room(device)?;
    below_rotation(device, prepared.seq, call)?;
    if prepared.kid != device.consent_key.key_id() {
        return Err(WalkpayError::WrongOrder { called: call.into(), due: "pay".into() });
    }
    let PreparedWhat::SlipPayment { payment_id, slip_number, amount, .. } = &prepared.what else {
        return Err(WalkpayError::Internal { detail: "no payment under a slip".into() });
    };
    let jws = finish(&device.consent_key, &prepared.input, signature)?;
    let body = OutboxBody::SlipPayment { payment_id: *payment_id, slip_number: *slip_number, amount: *amount, jws };
    Ok(Draft::one(device, now, Fact::Signed { seq: prepared.seq, body }, Reply::Payment(*payment_id)))
}

/// Gives a slip up. A payment of it that waits in the outbox is held back meanwhile; one that the merchant has must be given up first.
pub(super) fn close_slip(device: &Device, slip_id: SlipId, now: &Now) -> Result<Decision, WalkpayError> {
    let slip = device.slip(slip_id)?;
    if slip.refused.is_some() || slip.status() == Some(SlipStatus::Closed) || slip.close_requested.is_some() {
        return Ok(Decision::nothing(Reply::Done));
    }
    let call = "close_slip";
    if slip.status() == Some(SlipStatus::Paid) {
        return Err(slip.wrong_order(call, false));
    }
    let at_the_merchant = slip.made.iter().flat_map(|s| &s.payments).any(super::slip::is_under_way);
    if at_the_merchant {
        return Err(WalkpayError::WrongOrder { called: call.into(), due: "close_payment".into() });
    }
    may_send(device)?;
    let fact = Fact::ClosureRequested { seq: next_seq(device), slip_id, payment_id: None };
    Ok(Draft::one(device, now, fact, Reply::Done))
}

/// Gives a payment up that the merchant has.
pub(super) fn close_payment(
    device: &Device,
    slip_id: SlipId,
    payment_id: PaymentId,
    now: &Now,
) -> Result<Decision, WalkpayError> {
    let slip = device.slip(slip_id)?;
    let call = "close_payment";
    let ours = slip.payments.iter().find(|p| p.payment_id == payment_id);
    let view = slip.made.iter().flat_map(|s| &s.payments).find(|p| p.payment_id == payment_id);
    let asked = device
        .outbox
        .iter()
        .any(|e| matches!(e.body, OutboxBody::PaymentClosure { payment_id: p, .. } if p == payment_id));
    match (ours, view) {
        (None, None) => {
            return Err(WalkpayError::Unknown { what: "payment".into(), id: payment_id.to_string() });
        }
        (Some(p), _) if p.refused.is_some() || p.withdrawn => return Ok(Decision::nothing(Reply::Done)),
        (_, None) => {
            let due = "next_event (the merchant's answer to the payment), or close_slip".to_owned();
            return Err(WalkpayError::WrongOrder { called: call.into(), due });
        }
        (_, Some(v)) => match v.status {
            PaymentStatus::Succeeded => return Err(slip.wrong_order(call, false)),
            PaymentStatus::Closing | PaymentStatus::Closed => return Ok(Decision::nothing(Reply::Done)),
            PaymentStatus::Open if asked => return Ok(Decision::nothing(Reply::Done)),
            PaymentStatus::Open => {}
        },
    }
    may_send(device)?;
    let fact = Fact::ClosureRequested { seq: next_seq(device), slip_id, payment_id: Some(payment_id) };
    Ok(Draft::one(device, now, fact, Reply::Done))
}

/// The merchant was asked how a slip stands.
pub(super) fn seen(device: &Device, slip_id: SlipId, view: &SlipView, now: &Now) -> Result<Decision, WalkpayError> {
    let slip = device.slip(slip_id)?;
    if !acceptable(slip, view) {
        return Err(WalkpayError::untrusted("slip", "binding", "the slip that was asked for, and its amount"));
    }
    let mut draft = Draft::new(device, now);
    slip_seen(&mut draft, slip, None, view);
    Ok(draft.reply(Reply::Done))
}

/// The answer to something of a slip: the slip, or the payment.
///
/// # Errors
/// What is wrong with it.
pub(super) fn on_answer(draft: &mut Draft<'_>, entry: &OutboxEntry, body: &[u8]) -> Result<(), &'static str> {
    const NOT_DOCUMENTED: &str = "an answer that is not the documented one";
    let slip = entry.slip_id.and_then(|id| draft.device.slip(id).ok()).ok_or("an answer about no slip")?;
    match entry.body.kind() {
        OutboxKind::Slip | OutboxKind::SlipClosure => {
            let view: SlipView = serde_json::from_slice(body).map_err(|_| NOT_DOCUMENTED)?;
            if !acceptable(slip, &view) {
                return Err("a slip that is not the one that was asked for");
            }
            let asked = entry.body.kind() == OutboxKind::SlipClosure;
            if asked && !matches!(view.status, SlipStatus::Closed | SlipStatus::Paid) {
                return Err("a closure that closed nothing");
            }
            slip_seen(draft, slip, Some(entry.seq), &view);
        }
        _ => {
            let payment: PaymentView = serde_json::from_slice(body).map_err(|_| NOT_DOCUMENTED)?;
            if !slip.fits_payment(&payment) || !is_short(&payment) {
                return Err("a payment that is not the one that was sent");
            }
            let payment = Box::new(payment);
            draft.push(Fact::PaymentSeen { slip_id: slip.id, seq: entry.seq, payment });
        }
    }
    Ok(())
}

fn slip_seen(draft: &mut Draft<'_>, slip: &Slip, seq: Option<u64>, view: &SlipView) {
    let slip_id = slip.id;
    draft.push(Fact::SlipSeen { slip_id, seq, slip: Box::new(view.clone()) });
    if slip.made.is_none() {
        draft.tell(HostEventKind::SlipMade { slip_id, slip: view.clone() });
    }
    if view.status != SlipStatus::Closed {
        return;
    }
    let rest = draft.device.outbox.iter().filter(|e| e.slip_id == Some(slip_id) && Some(e.seq) != seq);
    for other in rest {
        draft.push(Fact::Withdrawn { seq: other.seq });
        if let OutboxBody::SlipPayment { payment_id, .. } = other.body {
            draft.tell(HostEventKind::PaymentWithdrawn { slip_id, payment_id });
        }
    }
    if slip.status() != Some(SlipStatus::Closed) {
        draft.tell(HostEventKind::SlipClosed { slip_id, slip_number: view.slip_number });
    }
}

/// What else waits for a slip that will never be made waits for nothing.
pub(super) fn on_refused(draft: &mut Draft<'_>, entry: &OutboxEntry) {
    if entry.body.kind() == OutboxKind::Slip {
        for other in draft.device.outbox.iter().filter(|e| e.slip_id == entry.slip_id && e.seq != entry.seq) {
            draft.push(Fact::Withdrawn { seq: other.seq });
        }
    }
}

impl Device {
    /// The slip that an event is about, if it is kept here.
    pub(super) fn slip_of(&self, told: &HostEventKind) -> Option<SlipId> {
        match told {
            HostEventKind::SlipMade { slip_id, .. }
            | HostEventKind::SlipClosed { slip_id, .. }
            | HostEventKind::PaymentWithdrawn { slip_id, .. } => Some(*slip_id),
            HostEventKind::Refused { slip_id, .. } => *slip_id,
            HostEventKind::Slip { result } => self.slip_numbered(result.slip_number).map(|s| s.id),
            _ => None,
        }
    }

    pub(super) fn slip_numbered(&self, number: SlipNumber) -> Option<&Slip> {
        self.slips.values().find(|s| s.number() == Some(number))
    }

    pub(super) fn learn_slip(&mut self, result: &SlipResult, at: Timestamp) {
        if let Some(id) = self.slip_numbered(result.slip_number).map(|s| s.id) {
            self.on_slip(id, at, |slip| slip.learn_result(result));
            self.tidy_payment(id);
        }
    }

    pub(super) fn apply_to_slip(&mut self, fact: &Fact, at: Timestamp) {
        match fact {
            Fact::SlipRequested { seq, slip_id, request, expected } => {
                let slip = Slip::new(*slip_id, *seq, request.clone(), *expected, at);
                self.slips.insert(*slip_id, slip);
                let body = OutboxBody::Slip { request: request.clone(), expected: *expected };
                self.push_for_slip(*seq, *slip_id, body, at);
            }
            Fact::SlipSeen { slip_id, seq, slip: view } => {
                if let Some(seq) = seq {
                    self.take(*seq);
                }
                self.on_slip(*slip_id, at, |slip| slip.learn_view(view));
                self.tidy_payment(*slip_id);
            }
            Fact::PaymentSeen { slip_id, seq, payment } => {
                let answered = self.take(*seq);
                self.on_slip(*slip_id, at, |slip| {
                    slip.learn_payment(payment);
                    let ours = slip.payments.iter_mut().filter(|p| p.payment_id == payment.payment_id);
                    ours.for_each(|p| {
                        p.submitted.get_or_insert(at);
                    });
                    if let Some(entry) = answered {
                        forget_closure(slip, &entry.body);
                    }
                });
            }
            Fact::ClosureRequested { seq, slip_id, payment_id } => {
                let Some(slip) = self.slips.get_mut(slip_id) else { return };
                let body = match payment_id {
                    None => {
                        slip.close_requested = Some(at);
                        OutboxBody::SlipClosure
                    }
                    Some(payment_id) => {
                        let Some(made) = &slip.made else { return };
                        let (slip_number, amount) = (made.slip_number, made.amount);
                        let ours = slip.payments.iter_mut().filter(|p| p.payment_id == *payment_id);
                        ours.for_each(|p| p.close_requested = Some(at));
                        OutboxBody::PaymentClosure { payment_id: *payment_id, slip_number, amount }
                    }
                };
                slip.touched_at = at;
                self.push_for_slip(*seq, *slip_id, body, at);
            }
            _ => {}
        }
    }

    pub(super) fn payment_signed(&mut self, prepared: &Prepared, at: Timestamp) {
        let PreparedWhat::SlipPayment { payment_id, method, amount, stored_value, .. } = &prepared.what else { return };
        let Some(slip_id) = prepared.slip_id else { return };
        self.on_slip(slip_id, at, |slip| {
            slip.payments.push(PaymentFacts {
                payment_id: *payment_id,
                seq: prepared.seq,
                method: *method,
                amount: *amount,
                stored_value: *stored_value,
                on_device: at,
                submitted: None,
                refused: None,
                withdrawn: false,
                close_requested: None,
                view: None,
                legs: Vec::new(),
            });
        });
    }

    pub(super) fn slip_refused(&mut self, entry: &OutboxEntry, refusal: &Refusal, at: Timestamp) {
        let Some(slip_id) = entry.slip_id else { return };
        self.on_slip(slip_id, at, |slip| match &entry.body {
            OutboxBody::Slip { .. } => slip.refused = Some(refusal.clone()),
            OutboxBody::SlipPayment { payment_id, .. } => {
                let ours = slip.payments.iter_mut().filter(|p| p.payment_id == *payment_id);
                ours.for_each(|p| p.refused = Some(refusal.clone()));
                if refusal.problem == ProblemCode::SlipOver.code() {
                    slip.end();
                }
            }
            body => forget_closure(slip, body),
        });
    }

    pub(super) fn slip_withdrawn(&mut self, entry: &OutboxEntry, at: Timestamp) {
        let Some(slip_id) = entry.slip_id else { return };
        self.on_slip(slip_id, at, |slip| match &entry.body {
            OutboxBody::SlipPayment { payment_id, .. } => {
                slip.payments.iter_mut().filter(|p| p.payment_id == *payment_id).for_each(|p| p.withdrawn = true);
            }
            body => forget_closure(slip, body),
        });
    }

    fn push_for_slip(&mut self, seq: u64, slip_id: SlipId, body: OutboxBody, at: Timestamp) {
        self.last_seq = self.last_seq.max(seq);
        self.outbox.push(OutboxEntry {
            seq,
            trip_id: None,
            slip_id: Some(slip_id),
            created_at: at,
            body,
            retry: Retry::fresh(at),
        });
    }

    /// What is paid, closed or being paid is not signed any more.
    fn tidy_payment(&mut self, id: SlipId) {
        if self.slips.get(&id).is_some_and(|s| s.status() != Some(SlipStatus::Open)) {
            self.prepared.retain(|p| p.slip_id != Some(id));
        }
    }

    fn on_slip(&mut self, id: SlipId, at: Timestamp, change: impl FnOnce(&mut Slip)) {
        if let Some(slip) = self.slips.get_mut(&id) {
            slip.touched_at = at;
            change(slip);
        }
    }
}

fn forget_closure(slip: &mut Slip, body: &OutboxBody) {
    match body {
        OutboxBody::SlipClosure => slip.close_requested = None,
        OutboxBody::PaymentClosure { payment_id, .. } => {
            slip.payments.iter_mut().filter(|p| p.payment_id == *payment_id).for_each(|p| p.close_requested = None);
        }
        _ => {}
    }
}

/// The slip as the merchant made it, if a payment of it can be signed.
fn payable<'a>(slip: &'a Slip, called: &str) -> Result<&'a SlipView, WalkpayError> {
    let open = slip.refused.is_none() && slip.close_requested.is_none() && slip.status() == Some(SlipStatus::Open);
    slip.made.as_ref().filter(|_| open).ok_or_else(|| slip.wrong_order(called, false))
}

/// The part that stored value pays: all of it if and only if it is the method.
fn split(amount: Money, method: PaymentMethod, stored_value: Option<Money>) -> Result<Money, WalkpayError> {
    let all = method == PaymentMethod::StoredValue;
    let part = stored_value.unwrap_or(if all { amount } else { amount.currency.minor(0) });
    if part.currency != amount.currency {
        let (expected, got) = (amount.currency.code().to_owned(), part.currency.code().to_owned());
        return Err(WalkpayError::MixedCurrencies { expected, got });
    }
    let (fits, expected) = if all {
        (part == amount, format!("{amount}: the method stored_value pays all"))
    } else {
        (
            (0..amount.minor).contains(&part.minor),
            format!("from zero to less than {amount}; else the method is stored_value"),
        )
    };
    if fits { Ok(part) } else { Err(WalkpayError::invalid("stored_value", &expected, &part.to_string())) }
}

fn check(request: &SlipRequest) -> Result<(), WalkpayError> {
    let count = request.orders.len();
    let once: BTreeSet<_> = request.orders.iter().collect();
    if count == 0 || count > MAX_SLIP_ORDERS || once.len() != count {
        return Err(WalkpayError::invalid("orders", "1 to 50 orders, each once", &format!("{count}")));
    }
    if request.remarks.chars().count() > MAX_REMARKS {
        return Err(WalkpayError::invalid_private("remarks", "at most 500 characters", &request.remarks));
    }
    request.invoice.as_ref().map_or(Ok(()), check_invoice)
}

fn check_invoice(invoice: &Invoice) -> Result<(), WalkpayError> {
    let title = invoice.title.trim();
    if title.is_empty() || invoice.title.chars().count() > MAX_TITLE {
        return Err(WalkpayError::invalid_private("invoice.title", "1 to 200 characters", &invoice.title));
    }
    let is_tax_id =
        |id: &str| (5..=20).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    match (invoice.kind, invoice.tax_id.as_deref()) {
        (InvoiceType::Personal, None) => Ok(()),
        (InvoiceType::Company, Some(id)) if is_tax_id(id) => Ok(()),
        (InvoiceType::Personal, Some(id)) => {
            Err(WalkpayError::invalid_private("invoice.tax_id", "none for a person", id))
        }
        (InvoiceType::Company, id) => {
            let expected = "5 to 20 upper-case letters and digits for a company";
            Err(WalkpayError::invalid_private("invoice.tax_id", expected, id.unwrap_or_default()))
        }
    }
}

/// Whether a view is one of this slip and within the limits.
fn acceptable(slip: &Slip, view: &SlipView) -> bool {
    let texts = [&view.payee, &view.title, &view.remarks];
    slip.fits(view)
        && texts.into_iter().chain(view.items.iter().map(|i| &i.service_name)).all(|t| t.len() <= MAX_TEXT)
        && view.invoice.as_ref().is_none_or(|i| check_invoice(i).is_ok())
        && view.payments.iter().all(|p| slip.payments.iter().all(|o| agrees(o, p)) && is_short(p))
}

fn agrees(ours: &PaymentFacts, view: &PaymentView) -> bool {
    ours.payment_id != view.payment_id
        || (ours.method, ours.amount, ours.stored_value) == (view.method, view.amount, view.stored_value)
}

pub(super) fn is_short(view: &PaymentView) -> bool {
    let launch = view.launch.as_ref().map_or(0, |launch| match launch {
        Launch::Url { url } => url.len(),
        Launch::Qr { text } => text.len(),
        Launch::Parameters { json } => json.len(),
    });
    launch <= MAX_LAUNCH && view.reason.as_ref().is_none_or(|r| r.len() <= MAX_TEXT)
}

fn random(now: &Now) -> [u8; 10] {
    let mut random = [0; 10];
    random.copy_from_slice(&now.random[..10]);
    random
}
