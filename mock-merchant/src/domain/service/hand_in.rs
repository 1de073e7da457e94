//! Handing orders in (B01–B04): once per key, for ever.

use super::caller::{Scope, SourceCaller};
use super::fees::{self, text};
use super::message::{BulkAnswer, BulkLine, HandedIn, OrderBody};
use super::news::{SourceNews, tell_source};
use super::{schedule, versions};
use crate::domain::Ctx;
use crate::domain::once::{IdempotencyKey, Reply};
use crate::failure::{Failure, refuse};
use crate::store::order_parts::{self, Texts};
use crate::store::orders::{self, NewOrder, OrderState};
use crate::store::users::{self, UserState};
use crate::store::{Tx, sources};
use walkpay::protocol::crypto::sha256;
use walkpay::protocol::jws::json_problem;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{ServiceNumber, UserName};

/// The most lines of a bulk hand-in.
pub const MAX_BULK_LINES: usize = 5_000;
/// The most bytes of a line of a bulk hand-in.
pub const MAX_BULK_LINE: usize = 64 * 1024;

/// Makes an order of a payment request and answers with its number: the same one whenever the same comes under the same key.
///
/// # Errors
/// [`Failure::Refused`]: `forbidden`, `idempotency_mismatch`, `invalid_value`, `currency_mismatch`, `payer_unknown`.
pub(super) fn hand_in(
    tx: &Tx<'_>,
    ctx: &Ctx,
    source: &SourceCaller,
    key: &IdempotencyKey,
    body_sha256: &[u8; 32],
    body: &OrderBody,
) -> Result<Reply, Failure> {
    source.need(Scope::OrdersWrite)?;
    let service_number = number_of(tx, ctx, source, key, body_sha256, body)?;
    Reply::json(201, &HandedIn { service_number })
}

fn number_of(
    tx: &Tx<'_>,
    ctx: &Ctx,
    source: &SourceCaller,
    key: &IdempotencyKey,
    body_sha256: &[u8; 32],
    body: &OrderBody,
) -> Result<ServiceNumber, Failure> {
    match order_parts::under_key(tx, &source.source_id, key.as_str())? {
        Some((digest, _)) if digest != *body_sha256 => {
            let detail = "another order was handed in under this key: use a new one";
            Err(refuse(ProblemCode::IdempotencyMismatch, detail))
        }
        Some((_, number)) => Ok(number),
        None => {
            let number = add(tx, ctx, source, body)?;
            order_parts::keep_key(tx, &source.source_id, key.as_str(), body_sha256, number)?;
            Ok(number)
        }
    }
}

fn add(tx: &Tx<'_>, ctx: &Ctx, source: &SourceCaller, body: &OrderBody) -> Result<ServiceNumber, Failure> {
    let priced = fees::price(&body.fees)?;
    text(&body.service_name, "service_name", 1, 200)?;
    text(&body.paying_unit, "paying_unit", 0, 200)?;
    text(&body.case_number, "case_number", 1, 64)?;
    text(&body.case_name, "case_name", 0, 200)?;
    fees::remarks(&body.remarks)?;
    let arose_at = body.arose_at.unwrap_or(ctx.now);
    fees::deadline(body.deadline, arose_at, ctx.now)?;
    let payee = match &body.payee {
        Some(payee) => {
            text(payee, "payee", 1, 200)?;
            payee.clone()
        }
        None => sources::get(tx, source.source)?.payee,
    };
    let unknown = || refuse(ProblemCode::PayerUnknown, "payer: expected the name of somebody who can pay here");
    let name = UserName::parse(&body.payer).map_err(|_| unknown())?;
    let payer = users::find(tx, &name)?.filter(|u| u.state == UserState::Active).ok_or_else(unknown)?;
    let state = if body.draft { OrderState::Draft } else { OrderState::AwaitingConfirmation };
    let number = orders::add(
        tx,
        &NewOrder {
            source: &source.source_id,
            state,
            service_name: &body.service_name,
            payee: &payee,
            payer: payer.user,
            total: priced.total,
            due: priced.total.minor,
            case_number: &body.case_number,
            arose_at,
            deadline: body.deadline,
            store: None,
            made_at: ctx.now,
        },
    )?;
    order_parts::add_fees(tx, number, &priced.lines)?;
    let texts = Texts {
        case_name: body.case_name.clone(),
        paying_unit: body.paying_unit.clone(),
        remarks: body.remarks.clone(),
    };
    order_parts::set_texts(tx, number, &texts)?;
    let order = orders::get(tx, number)?;
    versions::keep(tx, ctx, &order, &source.name(), "handed_in", "")?;
    schedule::arrange(tx, ctx, &order)?;
    if state == OrderState::AwaitingConfirmation {
        tell_source(tx, ctx, number, SourceNews::ConfirmationRequested)?;
    }
    Ok(number)
}

/// A line of a bulk hand-in as it came, without its line feed.
pub type RawLine = Vec<u8>;

/// A line of a bulk hand-in that was read, or why it could not be.
#[derive(Debug)]
pub(crate) struct ReadLine {
    key: Option<String>,
    order: Result<(IdempotencyKey, [u8; 32], OrderBody), Failure>,
}

/// Reads lines: what any thread can do before the writer does the rest.
pub(crate) fn read_lines(lines: &[RawLine]) -> Vec<ReadLine> {
    let read = |raw: &RawLine| {
        let mut key = None;
        let order = read_line(raw, &mut key);
        ReadLine { key, order }
    };
    lines.iter().map(read).collect()
}

fn read_line(raw: &[u8], told: &mut Option<String>) -> Result<(IdempotencyKey, [u8; 32], OrderBody), Failure> {
    let malformed = |what: &str| refuse(ProblemCode::Malformed, what);
    if raw.len() > MAX_BULK_LINE {
        return Err(refuse(ProblemCode::TooLarge, format!("a line has at most {MAX_BULK_LINE} bytes")));
    }
    let line: BulkLine = serde_json::from_slice(raw).map_err(|_| malformed("expected {\"key\": …, \"order\": {…}}"))?;
    let key = IdempotencyKey::parse(&line.key)?;
    *told = Some(line.key);
    let order = line.order.get();
    let body: OrderBody =
        serde_json::from_str(order).map_err(|e| malformed(&format!("order: expected {}", json_problem(&e))))?;
    Ok((key, sha256(order.as_bytes()), body))
}

/// Hands in the lines of a part of a bulk, each on its own: a refusal of one says nothing about the others.
///
/// # Errors
/// [`Failure::Fault`]; then none of the part was handed in.
pub(crate) fn hand_in_lines(
    tx: &Tx<'_>,
    ctx: &Ctx,
    source: &SourceCaller,
    first: u64,
    lines: Vec<ReadLine>,
) -> Result<Vec<BulkAnswer>, Failure> {
    source.need(Scope::OrdersWrite)?;
    let mut answers = Vec::with_capacity(lines.len());
    for (line, ReadLine { key, order }) in (first..).zip(lines) {
        let mut answer = BulkAnswer { line, key, status: 201, service_number: None, problem: None };
        match order.and_then(|(key, digest, body)| number_of(tx, ctx, source, &key, &digest, &body)) {
            Ok(number) => answer.service_number = Some(number),
            Err(refused @ Failure::Refused { .. }) => {
                answer.status = refused.code().status();
                answer.problem = Some(refused.problem());
            }
            Err(fault) => return Err(fault),
        }
        answers.push(answer);
    }
    Ok(answers)
}
