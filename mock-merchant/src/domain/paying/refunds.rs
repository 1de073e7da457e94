//! Refunds, in full and part: channel and bank legs first, then stored value; never more than the leg (ARCHITECTURE.md, "Service orders").

use super::booking::Books;
use super::channels::account_of_leg;
use crate::bank::port::{BankOutcome, Subject};
use crate::channel::port::capabilities;
use crate::domain::once::{IdempotencyKey, Keyed, Reply, once};
use crate::domain::service::{Scope, SourceNews, tell_payer, tell_source};
use crate::domain::{Answer, Caller, Ctx, StaffScope};
use crate::failure::{Failure, OrDefect, refuse};
use crate::store::calls::{self, BankCall, CallKind, NewCall};
use crate::store::channel_calls::{self, ChannelKind, NewChannelCall};
use crate::store::legs::{self, NewLeg, OrderLeg, Refund, RefundState};
use crate::store::orders::{self, Order, OrderState};
use crate::store::suspense::{self, NewSuspense, SuspenseKind};
use crate::store::{Tx, ledger, payments, pays, stores, users};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use walkpay::protocol::document::{Leg, LegState, PaymentMethod};
use walkpay::protocol::order::OrderNews;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{Money, RefundId, ServiceNumber, Timestamp};

/// How long the books are kept, and with them the keys of refunds: ten years and a little.
const BOOKS: Duration = Duration::from_secs(3_653 * 24 * 3600);

/// What is to be given back of a paid order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RefundRequest {
    /// How much; without it, all that was not given back yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// Only of legs of this method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<PaymentMethod>,
    /// Only of the legs with this reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub reference: Option<String>,
}

/// Where a refund stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefundStatus {
    /// On its way.
    Open,
    /// All of it was given back.
    Done,
    /// What a channel could not give back is in suspense.
    Failed,
}

/// A refund of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RefundView {
    /// It.
    pub refund_id: RefundId,
    /// The order.
    pub service_number: ServiceNumber,
    /// How much.
    pub amount: Money,
    /// Where it stands.
    pub status: RefundStatus,
    /// What goes back, by method: the channels first.
    pub legs: Vec<Leg>,
    /// When it was asked for.
    pub made_at: Timestamp,
}

/// The order, if the caller may give its money back, and the caller as an actor.
fn authorised(tx: &Tx<'_>, caller: &Caller, number: ServiceNumber) -> Result<(Order, String), Failure> {
    let unknown = || refuse(ProblemCode::NotFound, "there is no such order");
    match caller {
        Caller::Operator => Ok((orders::find(tx, number)?.ok_or_else(unknown)?, "operator".to_owned())),
        Caller::Staff { store_id, staff_id, scopes } => {
            scopes.need(StaffScope::RefundsWrite)?;
            let store = stores::find(tx, store_id)?.map(|s| s.store).ok_or_else(unknown)?;
            let order = orders::find(tx, number)?.filter(|o| o.store == Some(store)).ok_or_else(unknown)?;
            Ok((order, format!("staff:{staff_id}")))
        }
        Caller::Source(source) => {
            source.need(Scope::OrdersWrite)?;
            let own = |o: &Order| o.store.is_none() && o.source == source.source_id;
            Ok((orders::find(tx, number)?.filter(own).ok_or_else(unknown)?, source.name()))
        }
        _ => Err(refuse(ProblemCode::Forbidden, "only staff, the order's source and the operator can do this")),
    }
}

/// Gives money back, once per key.
pub(in crate::domain) fn refund_once(
    tx: &Tx<'_>,
    ctx: &Ctx,
    caller: &Caller,
    number: ServiceNumber,
    key: &IdempotencyKey,
    body_sha256: [u8; 32],
    request: &RefundRequest,
) -> Result<Answer, Failure> {
    let (_, name) = authorised(tx, caller, number)?;
    let route = format!("POST orders/{number}/refunds");
    let keyed = Keyed { caller: &name, route: &route, key, body_sha256 };
    // A key that was forgotten would give the money back a second time.
    let reply = once(tx, &keyed, ctx.now.plus(BOOKS), || Reply::json(201, &refund(tx, ctx, caller, number, request)?))?;
    Ok(Answer::Reply(reply))
}

/// Begins to give money back. The checks in order: the order the caller's; paid; the amount above nothing, in its currency, and not above what is
/// left of the legs that were asked for.
fn refund(
    tx: &Tx<'_>,
    ctx: &Ctx,
    caller: &Caller,
    number: ServiceNumber,
    request: &RefundRequest,
) -> Result<RefundView, Failure> {
    let (order, actor) = authorised(tx, caller, number)?;
    if !matches!(order.state, OrderState::Paid | OrderState::PartlyRefunded | OrderState::Refunded) {
        return Err(refuse(ProblemCode::OrderNotPaid, "only what is paid can be given back"));
    }
    let currency = order.total.currency;
    let wanted = |leg: &OrderLeg| {
        request.method.is_none_or(|m| m == leg.method) && request.reference.as_ref().is_none_or(|r| *r == leg.reference)
    };
    let mut left = legs::refundable(tx, number)?;
    left.retain(|(leg, _)| wanted(leg));
    left.sort_by_key(|(leg, _)| (leg.method == PaymentMethod::StoredValue, leg.leg));
    let most: i64 = left.iter().map(|(_, minor)| minor).sum();
    let amount = request.amount.unwrap_or(currency.minor(most));
    if amount.currency != currency {
        return Err(refuse(ProblemCode::CurrencyMismatch, format!("expected {currency}")));
    }
    if amount.minor < 0 || (amount.minor == 0 && request.amount.is_some()) {
        return Err(refuse(ProblemCode::InvalidValue, "amount: expected more than nothing"));
    }
    if amount.minor > most || most == 0 {
        let detail = format!("at most {} is left of what was asked for", currency.minor(most));
        return Err(refuse(ProblemCode::RefundExceeds, detail));
    }
    let mut refund = Refund {
        refund: 0,
        refund_id: RefundId::new(ctx.now, ctx.random.bytes()),
        number,
        amount,
        state: RefundState::Open,
        made_at: ctx.now,
    };
    refund.refund = legs::add(tx, &refund, &actor)?;
    stores::audit(tx, ctx.now, &actor, "refund_order", &number.to_string())?;
    let mut rest = amount.minor;
    for (n, (leg, minor)) in (1u32..).zip(&left) {
        let part = rest.min(*minor);
        if part > 0 {
            rest -= part;
            begin(tx, ctx, &refund, &order, n, leg, part)?;
        }
    }
    end(tx, ctx, refund.refund)?;
    view(tx, &legs::refund(tx, refund.refund)?)
}

/// Writes down what is to be asked for a leg; stored value is posted at once.
fn begin(
    tx: &Tx<'_>,
    ctx: &Ctx,
    refund: &Refund,
    order: &Order,
    n: u32,
    of: &OrderLeg,
    minor: i64,
) -> Result<(), Failure> {
    let amount = order.total.currency.minor(minor);
    let subject = subject(tx, of)?;
    let reference = match (of.method, of.pay) {
        (PaymentMethod::Bank | PaymentMethod::StoredValue, _) | (_, None) => {
            format!("{subject}.g{}.{}", refund.refund, of.leg)
        }
        (_, Some(pay)) => format!("{}r{}l{}", pays::get(tx, pay)?.channel_number, refund.refund, of.leg),
    };
    let new = NewLeg { number: order.number, method: of.method, amount, reference: &reference };
    let leg = legs::add_refund(tx, refund.refund, n, of.leg, &new)?;
    let leg = legs::get(tx, leg)?;
    if !capabilities(of.method).refund {
        return failed(tx, ctx, &leg, minor);
    }
    match (of.method, of.pay) {
        (PaymentMethod::StoredValue, _) => {
            let account = users::get(tx, order.payer)?.account;
            let Some(account) = account else { return failed(tx, ctx, &leg, minor) };
            give(tx, ctx, &leg, account, minor)
        }
        (PaymentMethod::Bank, _) => {
            let call = NewCall {
                reference: &reference,
                subject,
                pay: None,
                refund: Some(refund.refund),
                kind: CallKind::Reverse,
                hold: None,
                original: Some(&of.reference),
                account: None,
                amount,
            };
            calls::order(tx, &call, ctx.now)?;
            Ok(())
        }
        (_, Some(pay)) => {
            let call = NewChannelCall {
                pay,
                refund: Some(refund.refund),
                receipt: None,
                kind: ChannelKind::Refund,
                reference: &reference,
                amount,
            };
            Ok(channel_calls::order(tx, &call, ctx.now)?)
        }
        (_, None) => failed(tx, ctx, &leg, minor),
    }
}

/// What the money of a leg is about.
fn subject(tx: &Tx<'_>, leg: &OrderLeg) -> Result<Subject, Failure> {
    match (leg.pay, leg.payment) {
        (Some(pay), _) => Ok(pays::get(tx, pay)?.payment_id.into()),
        (None, payment) => Ok(payments::get(tx, payment.or_defect("payment of a leg")?)?.trip.into()),
    }
}

/// Posts what a leg gives back: `account` is where it goes.
fn give(tx: &Tx<'_>, ctx: &Ctx, leg: &OrderLeg, account: i64, minor: i64) -> Result<(), Failure> {
    let order = orders::get(tx, leg.number)?;
    let books = Books::of(tx, &order)?;
    let reference = format!("{}.back", leg.reference);
    let date = books.post(tx, ctx, "order_refund", &reference, &[(books.earned, -minor), (account, minor)])?;
    legs::posted(tx, leg.leg, minor, &date, ctx.now)?;
    Ok(legs::add_refunded(tx, order.number, minor, ctx.now)?)
}

/// Puts into suspense what cannot be given back: it is the payer's, and the operator has to find a way.
fn failed(tx: &Tx<'_>, ctx: &Ctx, leg: &OrderLeg, minor: i64) -> Result<(), Failure> {
    let amount = leg.amount.currency.minor(minor);
    let whole = minor == leg.amount.minor;
    let reference = if whole { leg.reference.clone() } else { format!("{}.rest", leg.reference) };
    let original = legs::get(tx, leg.of_leg.or_defect("leg that is given back")?)?;
    let subject = subject(tx, &original)?;
    let kind = SuspenseKind::Refund;
    suspense::add(tx, &NewSuspense { kind, subject: &subject, reference: &reference, entry: 0, amount }, ctx.now)?;
    let order = orders::get(tx, leg.number)?;
    let books = Books::of(tx, &order)?;
    let suspense = ledger::account(tx, "suspense", amount.currency, Some(0))?;
    let postings = [(books.earned, -minor), (suspense, minor)];
    books.post(tx, ctx, "refund_suspense", &format!("{reference}.kept"), &postings)?;
    if whole {
        legs::set_state(tx, leg.leg, LegState::Failed)?;
    }
    Ok(())
}

/// A definite answer about a leg of a refund: `given` of it went back, or nothing.
pub(super) fn leg_ended(
    tx: &Tx<'_>,
    ctx: &Ctx,
    refund: i64,
    reference: &str,
    done: bool,
    given: Money,
) -> Result<(), Failure> {
    let leg = legs::refund_leg(tx, refund, reference)?;
    let given = if done { given.minor.clamp(0, leg.amount.minor) } else { 0 };
    if given > 0 {
        let account = account_of_leg(tx, &leg)?;
        give(tx, ctx, &leg, account, given)?;
    }
    if given < leg.amount.minor {
        failed(tx, ctx, &leg, leg.amount.minor - given)?;
    }
    end(tx, ctx, refund)
}

/// The bank's definite answer to giving money back.
pub(in crate::domain) fn bank_answered(
    tx: &Tx<'_>,
    ctx: &Ctx,
    call: &BankCall,
    refund: i64,
    outcome: &BankOutcome,
) -> Result<(), Failure> {
    match outcome {
        BankOutcome::Approved { amount, .. } => leg_ended(tx, ctx, refund, &call.reference, true, *amount),
        BankOutcome::Declined { .. } => leg_ended(tx, ctx, refund, &call.reference, false, call.amount),
    }
}

/// Notes that the bank gave no answer.
pub(in crate::domain) fn bank_unanswered(tx: &Tx<'_>, call: &BankCall, refund: i64) -> Result<(), Failure> {
    unknown(tx, refund, &call.reference)
}

/// Notes that nobody knows how a leg of a refund stands.
pub(super) fn unknown(tx: &Tx<'_>, refund: i64, reference: &str) -> Result<(), Failure> {
    let leg = legs::refund_leg(tx, refund, reference)?;
    Ok(legs::set_state(tx, leg.leg, LegState::Unknown)?)
}

/// Ends a refund once all of its legs are definite, and tells of it.
fn end(tx: &Tx<'_>, ctx: &Ctx, refund: i64) -> Result<(), Failure> {
    let all = legs::of_refund(tx, refund)?;
    let refund = legs::refund(tx, refund)?;
    let open = |l: &OrderLeg| matches!(l.state, LegState::Pending | LegState::Unknown);
    if all.iter().any(open) || refund.state != RefundState::Open {
        return Ok(());
    }
    let given: i64 = all.iter().filter(|l| l.state == LegState::Succeeded).map(|l| l.amount.minor).sum();
    let state = if given == refund.amount.minor { RefundState::Done } else { RefundState::Failed };
    legs::end_refund(tx, refund.refund, state, ctx.now)?;
    if given > 0 {
        tell_source(tx, ctx, refund.number, SourceNews::Refunded)?;
        tell_payer(tx, ctx, refund.number, OrderNews::Refunded)?;
    }
    Ok(())
}

/// The refunds of an order, the newest last.
pub(in crate::domain) fn list(tx: &Tx<'_>, caller: &Caller, number: ServiceNumber) -> Result<Vec<RefundView>, Failure> {
    let caller = match caller {
        Caller::Source(source) => {
            source.need(Scope::OrdersRead)?;
            let own = orders::find(tx, number)?.filter(|o| o.store.is_none() && o.source == source.source_id);
            own.ok_or_else(|| refuse(ProblemCode::NotFound, "there is no such order"))?;
            &Caller::Operator
        }
        other => other,
    };
    let (order, _) = authorised(tx, caller, number)?;
    legs::refunds_of(tx, order.number)?.iter().map(|r| view(tx, r)).collect()
}

fn view(tx: &Tx<'_>, refund: &Refund) -> Result<RefundView, Failure> {
    Ok(RefundView {
        refund_id: refund.refund_id,
        service_number: refund.number,
        amount: refund.amount,
        status: match refund.state {
            RefundState::Open => RefundStatus::Open,
            RefundState::Done => RefundStatus::Done,
            RefundState::Failed => RefundStatus::Failed,
        },
        legs: legs::of_refund(tx, refund.refund)?.iter().map(OrderLeg::told).collect(),
        made_at: refund.made_at,
    })
}
