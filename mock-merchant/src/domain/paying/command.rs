//! What a payer can ask.

use super::{pays, slips, views};
use crate::domain::once::{IdempotencyKey, Keyed, Reply, once};
use crate::domain::{Answer, Caller, Ctx, documents};
use crate::failure::{Failure, refuse};
use crate::store::devices::Device;
use crate::store::orders::OrderState;
use crate::store::{Tx, orders, slips as rows};
use serde::{Deserialize, Serialize};
use walkpay::protocol::order::*;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{PaymentId, ServiceNumber, SlipNumber, Timestamp};

/// What changes something for a payer.
#[derive(Clone, Debug)]
pub enum PayerCommand {
    /// `POST /payer/v1/slips` → [`Answer::Reply`] with a [`SlipView`].
    MakeSlip {
        /// The key under which the slip is made once.
        key: IdempotencyKey,
        /// Digest of the body as it came.
        body_sha256: [u8; 32],
        /// The body.
        request: SlipRequest,
    },
    /// `PUT /payer/v1/slips/{slip_number}/closure` → [`PayerAnswer::Slip`].
    CloseSlip(SlipNumber),
    /// `PUT /payer/v1/slips/{slip_number}/payments/{payment_id}/closure` → [`PayerAnswer::Payment`].
    ClosePayment {
        /// The slip.
        slip: SlipNumber,
        /// The payment.
        payment_id: PaymentId,
    },
}

/// What a payer can read.
#[derive(Clone, Debug)]
pub enum PayerQuery {
    /// Their orders (B20) → [`PayerAnswer::Orders`].
    Orders(OrderFilter),
    /// One of them (B21) → [`PayerAnswer::Order`].
    Order(ServiceNumber),
    /// Their slips → [`PayerAnswer::Slips`].
    Slips {
        /// The cursor.
        after: u64,
        /// At most [`MAX_ORDERS_PER_PAGE`].
        limit: usize,
    },
    /// One of them → [`PayerAnswer::Slip`].
    Slip(SlipNumber),
    /// A payment of a slip → [`PayerAnswer::Payment`].
    Payment {
        /// The slip.
        slip: SlipNumber,
        /// The payment.
        payment_id: PaymentId,
    },
    /// Their stored value → [`PayerAnswer::Balance`].
    Balance,
}

/// Which orders of a payer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrderFilter {
    /// Only in one of these states; none: in any.
    pub statuses: Vec<OrderStatus>,
    /// Only of this case.
    pub case_number: Option<String>,
    /// Only from this service system.
    pub source: Option<String>,
    /// Only with a deadline before this.
    pub due_before: Option<Timestamp>,
    /// The cursor.
    pub after: u64,
    /// At most [`MAX_ORDERS_PER_PAGE`].
    pub limit: usize,
}

/// `GET /payer/v1/slips`: a page, in the order of numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SlipPage {
    /// At most as many as were asked for.
    pub slips: Vec<SlipView>,
    /// To be given as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<SlipNumber>,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq)]
pub enum PayerAnswer {
    /// A page of orders.
    Orders(OrderPage),
    /// An order.
    Order(Box<OrderView>),
    /// A page of slips.
    Slips(SlipPage),
    /// A slip.
    Slip(Box<SlipView>),
    /// A payment.
    Payment {
        /// How it stands.
        view: Box<PaymentView>,
        /// Whether it was known before.
        repeat: bool,
    },
    /// Stored value.
    Balance(Balance),
}

impl PayerAnswer {
    pub(super) fn payment(view: PaymentView, repeat: bool) -> Answer {
        Answer::Payer(Self::Payment { view: Box::new(view), repeat })
    }
}

/// The active device that asks.
pub(super) fn payer(tx: &Tx<'_>, caller: &Caller) -> Result<Device, Failure> {
    let device = documents::caller_in_force(tx, caller)?;
    documents::active(&device)?;
    Ok(device)
}

/// Carries a payer's command out.
pub(in crate::domain) fn carry_out(
    tx: &Tx<'_>,
    ctx: &Ctx,
    caller: &Caller,
    command: &PayerCommand,
) -> Result<Answer, Failure> {
    let device = payer(tx, caller)?;
    match command {
        PayerCommand::MakeSlip { key, body_sha256, request } => {
            let name = format!("payer:{}", device.sub);
            let keyed = Keyed { caller: &name, route: "POST /payer/v1/slips", key, body_sha256: *body_sha256 };
            let reply = once(tx, &keyed, ctx.now, || {
                let slip = slips::make(tx, ctx, &device, request)?;
                Reply::json(201, &views::slip(tx, &slip)?)
            })?;
            Ok(Answer::Reply(reply))
        }
        PayerCommand::CloseSlip(number) => {
            let slip = slips::close(tx, ctx, &device, *number)?;
            Ok(Answer::Payer(PayerAnswer::Slip(Box::new(views::slip(tx, &slip)?))))
        }
        PayerCommand::ClosePayment { slip, payment_id } => {
            let pay = slips::payment(tx, &device, *slip, payment_id)?;
            pays::give_up(tx, ctx, &pay, "closed_by_payer")?;
            let pay = slips::payment(tx, &device, *slip, payment_id)?;
            Ok(PayerAnswer::payment(views::payment(&pay), true))
        }
    }
}

/// Answers a payer's question from a snapshot.
pub(in crate::domain) fn read(tx: &Tx<'_>, ctx: &Ctx, caller: &Caller, query: &PayerQuery) -> Result<Answer, Failure> {
    let device = payer(tx, caller)?;
    let answer = match query {
        PayerQuery::Orders(filter) => {
            let limit = filter.limit.clamp(1, MAX_ORDERS_PER_PAGE);
            let wanted = orders::PayerFilter {
                payer: device.user,
                states: filter.statuses.iter().map(|s| OrderState::of(*s)).collect(),
                case_number: filter.case_number.as_deref(),
                source: filter.source.as_deref(),
                due_before: filter.due_before,
                after: filter.after,
            };
            let mut found = orders::of_payer(tx, &wanted, limit + 1)?;
            let more = found.len() > limit;
            found.truncate(limit);
            let summaries = found.iter().map(|o| views::summary(tx, o)).collect::<Result<Vec<_>, _>>()?;
            let next = found.last().filter(|_| more).map(|o| o.number);
            PayerAnswer::Orders(OrderPage { orders: summaries, next })
        }
        PayerQuery::Order(number) => {
            PayerAnswer::Order(Box::new(views::order(tx, &slips::order(tx, &device, *number)?)?))
        }
        PayerQuery::Slips { after, limit } => {
            let limit = (*limit).clamp(1, MAX_ORDERS_PER_PAGE);
            let mut found = rows::of_payer(tx, device.user, *after, limit + 1)?;
            let more = found.len() > limit;
            found.truncate(limit);
            let slips = found.iter().map(|s| views::slip(tx, s)).collect::<Result<Vec<_>, _>>()?;
            let next = found.last().filter(|_| more).map(|s| s.number);
            PayerAnswer::Slips(SlipPage { slips, next })
        }
        PayerQuery::Slip(number) => PayerAnswer::Slip(Box::new(views::slip(tx, &slips::owned(tx, &device, *number)?)?)),
        PayerQuery::Payment { slip, payment_id } => {
            let pay = slips::payment(tx, &device, *slip, payment_id)?;
            PayerAnswer::Payment { view: Box::new(views::payment(&pay)), repeat: true }
        }
        PayerQuery::Balance => {
            let account = device.account.map(|account| views::stored_value(tx, account)).transpose()?;
            PayerAnswer::Balance(Balance { stored_value: account, at: ctx.now })
        }
    };
    Ok(Answer::Payer(answer))
}

/// A refusal for what is not there or somebody else's: nobody can tell which.
pub(super) fn not_found(what: &str) -> Failure {
    refuse(ProblemCode::NotFound, format!("you have no {what} with this number"))
}
