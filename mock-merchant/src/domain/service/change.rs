//! Changes of an order by its source (B05, B06): submitted, confirmed, modified, withdrawn, as long as no payment has begun.

use super::caller::{Scope, SourceCaller};
use super::fees::{self, text};
use super::message::{ChangeBody, DecisionBody};
use super::news::{SourceNews, tell_source};
use super::notice::tell_payer;
use super::{schedule, versions, view};
use crate::domain::Ctx;
use crate::failure::{Failure, refuse};
use crate::store::Tx;
use crate::store::order_parts;
use crate::store::orders::{self, Order, OrderState};
use crate::store::users::{self, UserState};
use walkpay::ServiceNumber;
use walkpay::protocol::order::OrderNews;
use walkpay::protocol::problem::ProblemCode;

/// A change that a source asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Of a draft: its confirmation is asked for.
    Submit,
    /// Other facts, whatever its state.
    Modify {
        /// What is to be different.
        fields: ChangeBody,
        /// Why.
        reason: String,
    },
    /// The answer to a request for confirmation.
    Decide(DecisionBody),
    /// It is not to be paid.
    Withdraw {
        /// Why.
        reason: String,
    },
}

/// Carries a change out on the version that it names.
///
/// # Errors
/// [`Failure::Refused`]: `forbidden`, `not_found` also for orders of others, `precondition_failed` for another version,
/// `order_locked`, and what a hand-in can be refused with.
pub(super) fn change(
    tx: &Tx<'_>,
    ctx: &Ctx,
    source: &SourceCaller,
    number: ServiceNumber,
    version: u64,
    change: &Change,
) -> Result<(), Failure> {
    source.need(Scope::OrdersWrite)?;
    let order = view::own(tx, source, number)?;
    if order.version != version {
        let detail = format!("the order has version {} now: read it again", order.version);
        return Err(refuse(ProblemCode::PreconditionFailed, detail));
    }
    unlocked(&order)?;
    let actor = source.name();
    let draft = order.state == OrderState::Draft;
    match change {
        Change::Submit if draft => {
            fees::deadline(order.deadline, order.arose_at, ctx.now)?;
            let order = Order { state: OrderState::AwaitingConfirmation, ..order };
            save(tx, ctx, order, &actor, "submitted", "")?;
            tell_source(tx, ctx, number, SourceNews::ConfirmationRequested)
        }
        Change::Submit => Ok(()),
        Change::Modify { fields, reason } => modify(tx, ctx, order, fields, reason, &actor, false),
        Change::Decide(_) if draft => Err(refuse(ProblemCode::OrderLocked, "a draft is to be submitted first")),
        Change::Decide(DecisionBody::Confirm {}) if order.state == OrderState::Payable => Ok(()),
        Change::Decide(DecisionBody::Confirm {}) => {
            save(tx, ctx, Order { state: OrderState::Payable, ..order }, &actor, "confirmed", "")?;
            payable(tx, ctx, number)
        }
        Change::Decide(DecisionBody::Modify { fields, reason }) => modify(tx, ctx, order, fields, reason, &actor, true),
        Change::Decide(DecisionBody::Withdraw { reason }) | Change::Withdraw { reason } => {
            text(reason, "reason", 0, 500)?;
            let seen = order.state == OrderState::Payable;
            let order = Order { state: OrderState::Withdrawn, ..order };
            save(tx, ctx, order, &actor, "withdrawn", reason)?;
            if seen {
                tell_payer(tx, ctx, number, OrderNews::Withdrawn)?;
            }
            tell_source(tx, ctx, number, SourceNews::Withdrawn)
        }
    }
}

/// Whether an order can still be changed.
fn unlocked(order: &Order) -> Result<(), Failure> {
    let why = match order.state {
        OrderState::Draft | OrderState::AwaitingConfirmation | OrderState::Payable if order.slip.is_none() => {
            return Ok(());
        }
        OrderState::Draft | OrderState::AwaitingConfirmation | OrderState::Payable => {
            "the order is on a payment slip: it can be changed once the slip is closed without a payment"
        }
        OrderState::Collecting | OrderState::InPayment => "a payment of the order has begun",
        OrderState::Paid | OrderState::PartlyRefunded | OrderState::Refunded => "the order is paid",
        OrderState::Withdrawn => "the order was withdrawn",
        OrderState::Expired => "the order has expired: hand in a new one",
    };
    Err(refuse(ProblemCode::OrderLocked, why))
}

fn modify(
    tx: &Tx<'_>,
    ctx: &Ctx,
    before: Order,
    fields: &ChangeBody,
    reason: &str,
    actor: &str,
    confirms: bool,
) -> Result<(), Failure> {
    text(reason, "reason", 0, 500)?;
    if users::get(tx, before.payer)?.state == UserState::Erased {
        return Err(refuse(ProblemCode::PayerUnknown, "the payer is gone: withdraw the order"));
    }
    let mut order = before.clone();
    if let Some(name) = &fields.service_name {
        text(name, "service_name", 1, 200)?;
        order.service_name.clone_from(name);
    }
    if let Some(payee) = &fields.payee {
        text(payee, "payee", 1, 200)?;
        order.payee.clone_from(payee);
    }
    if let Some(case) = &fields.case_number {
        text(case, "case_number", 1, 64)?;
        order.case_number.clone_from(case);
    }
    order.arose_at = fields.arose_at.unwrap_or(order.arose_at);
    order.deadline = fields.deadline.unwrap_or(order.deadline);
    if (order.arose_at, order.deadline) != (before.arose_at, before.deadline) {
        fees::deadline(order.deadline, order.arose_at, ctx.now)?;
    }
    let mut texts = order_parts::texts(tx, order.number)?;
    if let Some(name) = &fields.case_name {
        text(name, "case_name", 0, 200)?;
        texts.case_name.clone_from(name);
    }
    if let Some(unit) = &fields.paying_unit {
        text(unit, "paying_unit", 0, 200)?;
        texts.paying_unit.clone_from(unit);
    }
    if let Some(remarks) = &fields.remarks {
        fees::remarks(remarks)?;
        texts.remarks.clone_from(remarks);
    }
    if let Some(bodies) = &fields.fees {
        let priced = fees::price(bodies)?;
        if priced.total.currency != order.total.currency {
            let detail = format!("fees: the order's currency is {} and stays", order.total.currency);
            return Err(refuse(ProblemCode::CurrencyMismatch, detail));
        }
        order_parts::set_fees(tx, order.number, &priced.lines)?;
        (order.total, order.due) = (priced.total, priced.total.minor);
    }
    order_parts::set_texts(tx, order.number, &texts)?;
    let number = order.number;
    if confirms {
        order.state = OrderState::Payable;
    }
    let state = order.state;
    save(tx, ctx, order, actor, "modified", reason)?;
    match (before.state, state) {
        (OrderState::Payable, _) => {
            tell_payer(tx, ctx, number, OrderNews::Changed)?;
            tell_source(tx, ctx, number, SourceNews::Changed)
        }
        (_, OrderState::Payable) => payable(tx, ctx, number),
        (OrderState::AwaitingConfirmation, _) => tell_source(tx, ctx, number, SourceNews::ConfirmationRequested),
        _ => Ok(()),
    }
}

fn payable(tx: &Tx<'_>, ctx: &Ctx, number: ServiceNumber) -> Result<(), Failure> {
    tell_payer(tx, ctx, number, OrderNews::Payable)?;
    tell_source(tx, ctx, number, SourceNews::Payable)
}

/// Keeps what an order was changed to, as its next version, and arranges what comes next by itself.
pub(super) fn save(
    tx: &Tx<'_>,
    ctx: &Ctx,
    order: Order,
    actor: &str,
    action: &str,
    reason: &str,
) -> Result<(), Failure> {
    let order = Order { version: order.version + 1, ..order };
    orders::change(tx, &order, ctx.now)?;
    versions::keep(tx, ctx, &order, actor, action, reason)?;
    schedule::arrange(tx, ctx, &order)
}
