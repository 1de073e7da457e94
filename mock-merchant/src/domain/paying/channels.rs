//! What channels are asked and what they say. A success counts whoever brings it, if it is exactly what was asked for.

use super::booking::{close, payer_told, settle};
use super::{receipts, refunds};
use crate::channel::port::*;
use crate::domain::{Answer, Caller, Ctx, Mutation};
use crate::failure::{Failure, OrDefect, refuse};
use crate::store::calls::CallStep;
use crate::store::channel_calls::{self, ChannelCall, ChannelCallState, ChannelKind, ReceiptState};
use crate::store::ledger::{self, Transfer};
use crate::store::pays::{self, Pay, PayState};
use crate::store::{Tx, contacts, legs, slips, stores};
use walkpay::Timestamp;
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::problem::ProblemCode;

/// A question with the channel that it is for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    /// The channel.
    pub method: PaymentMethod,
    /// What to ask.
    pub ask: ChannelAsk,
}

/// When to go on with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Never: it has its definite answer.
    Over,
    /// Then, in this way.
    At(CallStep, Timestamp),
}

/// What a call asks in the step that it is in: the same each time.
pub(crate) fn ask(tx: &Tx<'_>, call: &ChannelCall) -> Result<Asked, Failure> {
    let pay = pays::get(tx, call.pay)?;
    let number = pay.channel_number.clone();
    let ask = match (call.kind, call.step) {
        (ChannelKind::Create, CallStep::Call) => ChannelAsk::Create(NewTrade {
            number,
            title: slips::get(tx, pay.slip)?.title,
            amount: pay.amount,
            expires_at: pay.deadline,
            payer: contacts::payer_name(tx, slips::get(tx, pay.slip)?.payer, pay.method)?,
        }),
        (ChannelKind::Close, CallStep::Call) => ChannelAsk::Close { number },
        (ChannelKind::Create | ChannelKind::Close, CallStep::Query) => ChannelAsk::Query { number },
        (ChannelKind::Refund, CallStep::Call) => ChannelAsk::Refund(NewRefund {
            number,
            refund_number: call.reference.clone(),
            total: pay.amount,
            amount: call.amount,
        }),
        (ChannelKind::Refund, CallStep::Query) => {
            ChannelAsk::QueryRefund { number, refund_number: call.reference.clone() }
        }
    };
    Ok(Asked { method: pay.method, ask })
}

/// Takes an answer in. `asked_at`: when it was asked for under the newest lease of an open call; without it only a success counts.
pub(crate) fn answered(
    tx: &Tx<'_>,
    ctx: &Ctx,
    call: &ChannelCall,
    answer: &ChannelAnswer,
    asked_at: Option<Timestamp>,
) -> Result<Next, Failure> {
    let pay = pays::get(tx, call.pay)?;
    if let ChannelAnswer::Trade(TradeStatus::Paid(receipt)) = answer {
        if take_receipt(tx, ctx, &pay, receipt)? {
            channel_calls::settle(tx, call.call, ChannelCallState::Done, None)?;
            return Ok(Next::Over);
        }
        // Another amount, or for somebody else: nothing is known.
        tracing::warn!(number = %pay.channel_number, "the channel tells of a payment that nobody asked for");
        return Ok(Next::At(CallStep::Query, ctx.now.plus(ctx.config.retry_max)));
    }
    let Some(asked_at) = asked_at else { return Ok(Next::Over) };
    match call.kind {
        ChannelKind::Create => created(tx, ctx, call, &pay, answer),
        ChannelKind::Close => closed(tx, ctx, call, &pay, answer, asked_at),
        ChannelKind::Refund => refunded(tx, ctx, call, &pay, answer),
    }
}

/// Notes that there was no answer.
pub(crate) fn unanswered(tx: &Tx<'_>, call: &ChannelCall) -> Result<(), Failure> {
    match (call.kind, call.refund) {
        (ChannelKind::Refund, Some(refund)) => refunds::unknown(tx, refund, &call.reference),
        _ => Ok(()),
    }
}

fn created(tx: &Tx<'_>, ctx: &Ctx, call: &ChannelCall, pay: &Pay, answer: &ChannelAnswer) -> Result<Next, Failure> {
    let later = Next::At(CallStep::Query, ctx.now.plus(ctx.config.channel_query_every));
    match answer {
        ChannelAnswer::Created { launch } => {
            pays::set_launch(tx, pay.pay, launch)?;
            payer_told(tx, ctx, pay.pay)?;
            Ok(later)
        }
        ChannelAnswer::Refused { reason } => {
            channel_calls::settle(tx, call.call, ChannelCallState::Refused, Some(reason))?;
            close(tx, ctx, pay, reason)?;
            Ok(Next::Over)
        }
        ChannelAnswer::Trade(TradeStatus::Closed) => {
            channel_calls::settle(tx, call.call, ChannelCallState::Done, None)?;
            close(tx, ctx, pay, "closed_by_channel")?;
            Ok(Next::Over)
        }
        // Promised but not known: that can be so until it is paid.
        ChannelAnswer::Trade(_) if pay.launch.is_some() => Ok(later),
        // Asked for again under the same number: either it never came, or its launch data was lost.
        ChannelAnswer::Trade(_) => Ok(Next::At(CallStep::Call, ctx.now)),
        ChannelAnswer::Refund(_) => Ok(later),
    }
}

fn closed(
    tx: &Tx<'_>,
    ctx: &Ctx,
    call: &ChannelCall,
    pay: &Pay,
    answer: &ChannelAnswer,
    asked_at: Timestamp,
) -> Result<Next, Failure> {
    let unknown_for_good = pay.deadline.plus(ctx.config.pay_margin);
    let over = match answer {
        ChannelAnswer::Trade(TradeStatus::Closed) => true,
        // What it was asked for may still be on its way, until it would come too late: what was asked before then is not the last answer,
        // however late it comes.
        ChannelAnswer::Trade(TradeStatus::Unknown) if asked_at < unknown_for_good => {
            return Ok(Next::At(CallStep::Query, unknown_for_good));
        }
        ChannelAnswer::Trade(TradeStatus::Unknown) => true,
        _ => false,
    };
    if !over {
        return Ok(Next::At(CallStep::Call, ctx.now.plus(ctx.config.channel_query_every)));
    }
    channel_calls::settle(tx, call.call, ChannelCallState::Done, None)?;
    close(tx, ctx, pay, pay.reason.as_deref().unwrap_or("closed"))?;
    Ok(Next::Over)
}

fn refunded(tx: &Tx<'_>, ctx: &Ctx, call: &ChannelCall, pay: &Pay, answer: &ChannelAnswer) -> Result<Next, Failure> {
    let reason = match answer {
        ChannelAnswer::Refund(RefundStatus::Done) => None,
        ChannelAnswer::Refund(RefundStatus::Refused { reason }) | ChannelAnswer::Refused { reason } => Some(reason),
        ChannelAnswer::Refund(RefundStatus::Unknown) => return Ok(Next::At(CallStep::Call, ctx.now)),
        _ => return Ok(Next::At(CallStep::Query, ctx.now.plus(ctx.config.channel_query_every))),
    };
    let state = if reason.is_some() { ChannelCallState::Refused } else { ChannelCallState::Done };
    channel_calls::settle(tx, call.call, state, reason.map(String::as_str))?;
    match (call.refund, call.receipt) {
        (Some(refund), _) => refunds::leg_ended(tx, ctx, refund, &call.reference, reason.is_none(), call.amount)?,
        (None, Some(receipt)) if reason.is_none() => {
            let suspense = ledger::account(tx, "suspense", call.amount.currency, Some(0))?;
            let channel = account(tx, pay)?;
            let minor = call.amount.minor;
            post(tx, ctx, "channel_refund", &call.reference, &[(suspense, -minor), (channel, minor)])?;
            channel_calls::set_receipt(tx, receipt, ReceiptState::Refunded)?;
        }
        // It stays in suspense, where the operator finds it.
        (None, Some(receipt)) => channel_calls::set_receipt(tx, receipt, ReceiptState::Suspense)?,
        (None, None) => {}
    }
    Ok(Next::Over)
}

/// Takes a notification in whose signature its channel has verified. One that is known does nothing.
pub(in crate::domain) fn notified(
    tx: &Tx<'_>,
    ctx: &Ctx,
    caller: &Caller,
    receipt: &Receipt,
) -> Result<Answer, Failure> {
    let Caller::Channel(method) = caller else {
        return Err(refuse(ProblemCode::Forbidden, "only a channel can notify of payments"));
    };
    let pay = pays::of_number(tx, &receipt.number)?.filter(|p| p.method == *method);
    let pay = pay.ok_or_else(|| refuse(ProblemCode::NotFound, "there is no such trade"))?;
    if !take_receipt(tx, ctx, &pay, receipt)? {
        stores::audit(tx, ctx.now, "channel", "notification_mismatch", &pay.channel_number)?;
        let detail = "application, seller, number, amount and currency are not those of the payment";
        return Err(refuse(ProblemCode::DocumentMismatch, detail));
    }
    Ok(Answer::Done)
}

/// Books what a channel has collected, once; what cannot be booked is put into suspense and given back. `false`: it is not what was asked for.
fn take_receipt(tx: &Tx<'_>, ctx: &Ctx, pay: &Pay, receipt: &Receipt) -> Result<bool, Failure> {
    let ours = ctx
        .config
        .channels
        .iter()
        .any(|c| c.method == pay.method && c.application == receipt.application && c.seller == receipt.seller);
    let fits = receipt.amount == pay.amount || ctx.config.mutation == Some(Mutation::OtherAmountAccepted);
    if !ours || receipt.number != pay.channel_number || !fits {
        return Ok(false);
    }
    if ctx.config.mutation == Some(Mutation::DroppedPaidAfterExpiry) && pay.state == PayState::Closed {
        return Ok(true);
    }
    let known = channel_calls::add_receipt(tx, pay.pay, pay.method, &receipt.trade, receipt.amount, ctx.now)?;
    let Some(id) = known else { return Ok(true) };
    let channel = account(tx, pay)?;
    if settle(tx, ctx, pay, channel)? {
        channel_calls::set_receipt(tx, id, ReceiptState::Applied)?;
        return Ok(true);
    }
    if pay.is_live() {
        close(tx, ctx, pay, "paid_otherwise")?;
    }
    let suspense = ledger::account(tx, "suspense", receipt.amount.currency, Some(0))?;
    let minor = receipt.amount.minor;
    let reference = format!("{}s{id}", pay.channel_number);
    post(tx, ctx, "channel_suspense", &format!("{reference}.in"), &[(channel, -minor), (suspense, minor)])?;
    receipts::ask_back(tx, ctx, pay, id, receipt.amount)?;
    Ok(true)
}

/// `channel:{method}`: negative by what the channel has collected and still has.
pub(super) fn account(tx: &Tx<'_>, pay: &Pay) -> Result<i64, Failure> {
    let method = crate::store::payments::method_word(pay.method);
    Ok(ledger::account(tx, &format!("channel:{method}"), pay.amount.currency, None)?)
}

pub(super) fn post(
    tx: &Tx<'_>,
    ctx: &Ctx,
    kind: &str,
    reference: &str,
    postings: &[(i64, i64)],
) -> Result<(), Failure> {
    let date = crate::domain::attempts::business_date(ctx.now, "UTC")?;
    let transfer =
        Transfer { kind, reference, store: None, trip: None, business_date: &date, receipt: None, at: ctx.now };
    ledger::post(tx, &transfer, postings)?.then_some(()).or_defect("a transfer that is posted once")
}

/// The account at the other side that a leg has moved money from.
pub(super) fn account_of_leg(tx: &Tx<'_>, leg: &legs::OrderLeg) -> Result<i64, Failure> {
    let currency = leg.amount.currency;
    let name = match leg.method {
        PaymentMethod::Bank => "bank".to_owned(),
        method => format!("channel:{}", crate::store::payments::method_word(method)),
    };
    Ok(ledger::account(tx, &name, currency, None)?)
}
