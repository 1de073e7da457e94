//! The way of a command: what can be done in parallel, then what only the writer can do.

use super::service::{ServiceAnswer, ServiceCommand, SourceCaller};
use super::{
    Answer, Caller, Command, Ctx, Query, admin, attempts, catalogue, enrolment, gates, holds, paying, service, staff,
    suspense, trips, users,
};
use crate::failure::{Failure, refuse};
use crate::store::{Tx, devices, events, stores};
use walkpay::protocol::message::{KeySetAnswer, MAX_EVENTS_PER_PAGE};
use walkpay::protocol::problem::ProblemCode;

/// A command whose documents have been verified and whose lines have been priced.
pub struct Prepared(Step);

enum Step {
    Direct(Command),
    Hold(Box<holds::PreparedHold>),
    Attempt(Box<attempts::PreparedAttempt>),
    Cancellation(trips::PreparedCancellation),
    Lines(u64, Vec<service::ReadLine>),
    Payment(Box<paying::PreparedPayment>),
}

/// Verifies signatures and prices lines against a snapshot: the costly part, which any thread may do.
///
/// # Errors
/// [`Failure::Refused`] with `document_invalid`, `document_mismatch` or what else can be said without writing.
pub fn prepare(tx: &Tx<'_>, ctx: &Ctx, caller: &Caller, command: Command) -> Result<Prepared, Failure> {
    let step = match command {
        Command::PutHold { hold_id, body } => Step::Hold(Box::new(holds::prepare(tx, ctx, caller, &hold_id, &body)?)),
        Command::PutAttempt { trip_id, attempt, body } => {
            Step::Attempt(Box::new(attempts::prepare(tx, ctx, caller, &trip_id, attempt, &body)?))
        }
        Command::PutCancellation { trip_id, body } => {
            Step::Cancellation(trips::prepare(tx, ctx, caller, &trip_id, &body)?)
        }
        Command::Service(ServiceCommand::HandInLines { first, lines }) => {
            Step::Lines(first, service::read_lines(&lines))
        }
        Command::PutPayment { slip, payment_id, body } => {
            Step::Payment(Box::new(paying::prepare(tx, ctx, caller, slip, &payment_id, &body)?))
        }
        other => Step::Direct(other),
    };
    Ok(Prepared(step))
}

/// Carries a prepared command out. A refusal commits what was recorded about it; a fault must be rolled back.
///
/// # Errors
/// [`Failure`].
pub fn commit(tx: &Tx<'_>, ctx: &Ctx, caller: &Caller, prepared: Prepared) -> Result<Answer, Failure> {
    match prepared.0 {
        Step::Hold(hold) => holds::put(tx, ctx, caller, &hold),
        Step::Attempt(attempt) => attempts::put(tx, ctx, caller, &attempt),
        Step::Cancellation(cancellation) => trips::put_cancellation(tx, ctx, caller, &cancellation),
        Step::Lines(first, lines) => {
            let answers = service::hand_in_lines(tx, ctx, source(caller)?, first, lines)?;
            Ok(Answer::Service(ServiceAnswer::Bulk(answers)))
        }
        Step::Payment(payment) => paying::put(tx, ctx, caller, &payment),
        Step::Direct(command) => direct(tx, ctx, caller, command),
    }
}

/// [`prepare`] and [`commit`] in one transaction: for programs with one thread.
///
/// # Errors
/// As both.
pub fn handle(tx: &Tx<'_>, ctx: &Ctx, caller: &Caller, command: Command) -> Result<Answer, Failure> {
    commit(tx, ctx, caller, prepare(tx, ctx, caller, command)?)
}

fn direct(tx: &Tx<'_>, ctx: &Ctx, caller: &Caller, command: Command) -> Result<Answer, Failure> {
    match command {
        Command::BeginEnrolment => enrolment::begin(tx, ctx),
        Command::Enrol { device_id, request } => enrolment::enrol(tx, ctx, &device_id, &request),
        Command::RotateKeys { device_id, request } => enrolment::rotate(tx, ctx, caller, &device_id, &request),
        Command::SpendPasses { group, passes } => gates::spend(tx, caller, &group, &passes),
        Command::Decide(decision) => staff::decide(tx, ctx, caller, &decision),
        Command::Service(command) => service::carry_out(tx, ctx, source(caller)?, command).map(Answer::Service),
        Command::Admin(command) => {
            operator(caller)?;
            admin::carry_out(tx, ctx, command)
        }
        Command::Payer(command) => paying::carry_out(tx, ctx, caller, &command),
        Command::Notified(receipt) => paying::notified(tx, ctx, caller, &receipt),
        Command::Refund { number, key, body_sha256, request } => {
            paying::refund_once(tx, ctx, caller, number, &key, body_sha256, &request)
        }
        Command::PutHold { .. }
        | Command::PutAttempt { .. }
        | Command::PutCancellation { .. }
        | Command::PutPayment { .. } => handle(tx, ctx, caller, command),
    }
}

/// Answers a question from a snapshot.
///
/// # Errors
/// [`Failure`].
pub fn read(tx: &Tx<'_>, ctx: &Ctx, caller: &Caller, query: Query) -> Result<Answer, Failure> {
    match query {
        Query::Events { after, limit } => match caller {
            Caller::Device { device_id, .. } => {
                Ok(Answer::Events(events::after(tx, device_id, after, limit.min(MAX_EVENTS_PER_PAGE))?))
            }
            _ => Err(refuse(ProblemCode::Forbidden, "only a device has events")),
        },
        Query::KeySet => Ok(Answer::KeySet(KeySetAnswer { key_set: ctx.keys.key_set().to_owned() })),
        Query::Manifest { store_id, base } => catalogue::manifest(tx, ctx, &store_id, base),
        Query::CatalogueData { store_id, revision, base } => catalogue::data(tx, ctx, &store_id, revision, base),
        Query::Revocations { group, after } => gates::revocations(tx, ctx, caller, &group, after),
        Query::SpentSince { group, after } => gates::spent_since(tx, caller, &group, after),
        Query::Checks { store_id } => staff::checks(tx, caller, &store_id),
        Query::GateKeys => {
            operator(caller)?;
            Ok(Answer::GateKeys(stores::gate_keys(tx)?))
        }
        Query::Check { trip_id, attempt } => staff::check(tx, caller, &trip_id, attempt),
        Query::Devices { user_name } => {
            operator(caller)?;
            users::devices(tx, &user_name)
        }
        Query::ExportUser { user_name } => {
            operator(caller)?;
            users::export(tx, &user_name)
        }
        Query::Service(query) => service::answer(tx, source(caller)?, query).map(Answer::Service),
        Query::Stores => Ok(Answer::Stores(stores::all(tx)?.into_iter().map(|s| s.info).collect())),
        Query::Payer(query) => paying::read(tx, caller, &query),
        Query::Suspense => {
            operator(caller)?;
            Ok(Answer::Suspense(suspense::list(tx)?))
        }
        Query::Refunds(number) => Ok(Answer::Refunds(paying::refunds_of(tx, caller, number)?)),
        Query::Trip(trip_id) => {
            operator(caller)?;
            trips::report(tx, &trip_id)
        }
    }
}

/// The device whose request key has this thumbprint, for the layer that verifies HTTP signatures.
///
/// # Errors
/// [`Failure::Fault`].
pub fn request_key(tx: &Tx<'_>, kid: &walkpay::KeyId) -> Result<Option<devices::RequestKey>, Failure> {
    Ok(devices::request_key(tx, kid)?)
}

fn source(caller: &Caller) -> Result<&SourceCaller, Failure> {
    match caller {
        Caller::Source(source) => Ok(source),
        _ => Err(refuse(ProblemCode::Forbidden, "only a service system can do this")),
    }
}

pub(super) fn operator(caller: &Caller) -> Result<(), Failure> {
    match caller {
        Caller::Operator => Ok(()),
        _ => Err(refuse(ProblemCode::Forbidden, "only the operator can do this")),
    }
}
