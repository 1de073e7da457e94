//! Which decision an input asks for.

use super::draft::Draft;
use super::input::{Command, Decision, Input, Now, Reply};
use super::journal::Fact;
use super::state::{Device, DeviceStatus, Session};
use super::{answer, enrolment, orders, paying, shopping, signing};
use crate::error::WalkpayError;
use crate::id::*;

/// Says what follows from an input. The events of the decision must be durable, then folded, before anybody is answered.
///
/// # Errors
/// Typed; nothing follows and nothing has changed. [`WalkpayError::NotSignedIn`], [`WalkpayError::WrongOrder`] naming the call that
/// is due, [`WalkpayError::Unknown`], [`WalkpayError::Limit`], those of [`crate::basket`], [`WalkpayError::Key`] for a signature that
/// does not verify, [`WalkpayError::Network`] where a visit must be online and is not.
pub fn decide(session: &Session, input: Input<'_>, now: &Now) -> Result<Decision, WalkpayError> {
    match input {
        Input::Command(command) => on_command(session, command, now),
        Input::Answer(answer) => answer::decide(session, answer, now),
    }
}

fn on_command(session: &Session, command: Command<'_>, now: &Now) -> Result<Decision, WalkpayError> {
    match command {
        Command::BeginEnrolment { text, label } => enrolment::begin(session, text, label, now),
        Command::PrepareEnrolment { request_key, consent_key } => {
            enrolment::prepare(session, request_key, consent_key, now)
        }
        Command::SubmitEnrolment { request_signature, consent_signature } => {
            enrolment::submit(session, request_signature, consent_signature, now)
        }
        Command::AbandonEnrolment => enrolment::abandon(session, now),
        Command::SignIn { user_name } => sign_in(session, user_name, now),
        Command::SignOut => {
            session.current()?;
            Ok(Decision::of_installation(Fact::SignedOut, now, Reply::Done))
        }
        Command::AckEvents { up_to } => ack(session.current()?, up_to, now),
        Command::ForwardNow => Ok(Draft::one(session.current()?, now, Fact::Forwarded, Reply::Done)),
        Command::StartTrip { store_id, policy } => shopping::start_trip(session.current()?, store_id, policy, now),
        Command::Scan { trip_id, meaning, quantity, articles } => {
            shopping::scan(session.current()?, trip_id, meaning, quantity, articles, now)
        }
        Command::SetQuantity { trip_id, line, quantity } => {
            shopping::set_quantity(session.current()?, trip_id, line, quantity, now)
        }
        Command::Remove { trip_id, line } => shopping::remove(session.current()?, trip_id, line, now),
        Command::ApplyCoupon { trip_id, code } => shopping::apply_coupon(session.current()?, trip_id, code),
        Command::Review { trip_id, articles, book } => {
            shopping::review(session.current()?, trip_id, articles, book, now)
        }
        Command::PrepareHold { trip_id, amount, online } => {
            signing::prepare_hold(session.current()?, trip_id, amount, online, now)
        }
        Command::PrepareSignature { trip_id, online } => {
            signing::prepare_attempt(session.current()?, trip_id, online, now)
        }
        Command::PrepareCancel { trip_id } => signing::prepare_cancel(session.current()?, trip_id, now),
        Command::Submit { trip_id, kind, signature } => {
            signing::submit(session.current()?, trip_id, kind, signature, now)
        }
        Command::PrepareRotation { request_key, consent_key } => {
            signing::prepare_rotation(session.current()?, request_key, consent_key, now)
        }
        Command::OrdersListed { filter, page } => orders::listed(session.current()?, filter, page, now),
        Command::OrderShown { service_number, order } => orders::shown(session.current()?, service_number, order, now),
        Command::MakeSlip { request } => paying::make_slip(session.current()?, request, now),
        Command::SlipShown { slip_id, slip } => paying::seen(session.current()?, slip_id, slip, now),
        Command::PreparePayment { slip_id, method, stored_value } => {
            paying::prepare_payment(session.current()?, slip_id, method, stored_value, now)
        }
        Command::SubmitPayment { slip_id, signature } => {
            paying::submit_payment(session.current()?, slip_id, signature, now)
        }
        Command::CloseSlip { slip_id } => paying::close_slip(session.current()?, slip_id, now),
        Command::ClosePayment { slip_id, payment_id } => {
            paying::close_payment(session.current()?, slip_id, payment_id, now)
        }
        Command::SubmitRotation { signatures } => signing::submit_rotation(session.current()?, signatures, now),
    }
}

/// The newest device of the user that is not revoked or frozen, else the newest of all: its data stays readable.
fn sign_in(session: &Session, user_name: &UserName, now: &Now) -> Result<Decision, WalkpayError> {
    let works = |d: &Device| !matches!(d.status, DeviceStatus::Frozen | DeviceStatus::Revoked);
    let device = session
        .devices()
        .filter(|d| d.user_name == *user_name)
        .max_by_key(|d| (works(d), d.id))
        .ok_or_else(|| WalkpayError::Unknown { what: "enrolled user".into(), id: "of that name".into() })?;
    Ok(Draft::one(device, now, Fact::SignedIn, Reply::Device(device.id)))
}

fn ack(device: &Device, up_to: u64, now: &Now) -> Result<Decision, WalkpayError> {
    if up_to > device.host.last {
        let expected = format!("the number of an event, at most {}", device.host.last);
        return Err(WalkpayError::invalid("up_to", &expected, &up_to.to_string()));
    }
    if up_to <= device.host.acked {
        return Ok(Decision::nothing(Reply::Done));
    }
    Ok(Draft::one(device, now, Fact::Acked { up_to }, Reply::Done))
}
