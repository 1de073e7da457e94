//! Payment attempts: begun by a slip payment that the consent key signed, ended by what bank or channel say (B22, B23).

use super::booking::{close, payer_told, settle};
use super::command::{PayerAnswer, payer};
use super::{slips as rules, views};
use crate::bank::port::{BankOutcome, Subject};
use crate::channel::port::capabilities;
use crate::domain::documents::{self, Key};
use crate::domain::{Answer, Caller, Ctx, attempts, suspense};
use crate::failure::{Failure, OrDefect, refuse};
use crate::store::calls::{self, BankCall, CallKind, CallState, NewCall};
use crate::store::channel_calls::{self, ChannelKind, NewChannelCall};
use crate::store::orders::{self, OrderState};
use crate::store::pays::{self, Pay, PayState};
use crate::store::slips::{self, Slip, SlipState};
use crate::store::{Tx, contacts, ledger, users};
use walkpay::protocol::crypto::sha256;
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::jws::Signed;
use walkpay::protocol::order::{PaymentPut, SlipPayment};
use walkpay::protocol::problem::ProblemCode;
use walkpay::{PaymentId, SlipNumber, Timestamp};

/// The most attempts of a slip: its channel numbers have two digits for them.
const MAX_ATTEMPTS: u32 = 99;

/// A slip payment whose document has been verified.
pub(in crate::domain) struct PreparedPayment {
    signed: Signed<SlipPayment>,
}

/// Document level: form, signature, binding to caller and path.
pub(in crate::domain) fn prepare(
    tx: &Tx<'_>,
    ctx: &Ctx,
    caller: &Caller,
    slip: SlipNumber,
    payment_id: &PaymentId,
    body: &PaymentPut,
) -> Result<PreparedPayment, Failure> {
    let (device, _) = documents::caller(tx, caller)?;
    let signed = documents::received::<SlipPayment>(tx, ctx, &device, Key::Consent, &body.payment)?;
    let document = &signed.document;
    if document.slip_number != slip || document.payment_id != *payment_id {
        return Err(refuse(ProblemCode::DocumentMismatch, "the document is of another slip or payment"));
    }
    Ok(PreparedPayment { signed })
}

/// Begins a payment. The checks in order: key in force; document number; device and user active; the slip the payer's own; repeat; amounts
/// those of the slip; method and split; when it was signed; the slip open; limits; bank account; what the channel calls the payer by; stored value.
pub(in crate::domain) fn put(
    tx: &Tx<'_>,
    ctx: &Ctx,
    caller: &Caller,
    prepared: &PreparedPayment,
) -> Result<Answer, Failure> {
    documents::taken_in(tx, ctx, caller, Key::Consent, &prepared.signed)?;
    let (document, jws) = (&prepared.signed.document, prepared.signed.jws());
    let device = payer(tx, caller)?;
    let slip = rules::owned(tx, &device, document.slip_number)?;
    let body_sha256 = sha256(jws.as_bytes());
    if let Some(known) = pays::find(tx, &document.payment_id)? {
        return match known.slip == slip.number && known.body_sha256 == body_sha256 {
            true => Ok(PayerAnswer::payment(views::begun(&known), true)),
            false => Err(refuse(ProblemCode::IdConflict, "another payment was recorded under this identifier")),
        };
    }
    check_amounts(ctx, document, &slip)?;
    match slip.state {
        SlipState::Open => {}
        SlipState::Paying => {
            return Err(refuse(ProblemCode::PaymentOpen, "wait for the open payment, or close it"));
        }
        SlipState::Paid | SlipState::Closed => return Err(refuse(ProblemCode::SlipOver, "make a new slip")),
    }
    let limit = attempts::limits(ctx, &device).purchase_minor(slip.amount.currency);
    if slip.amount.minor > limit {
        let limit = slip.amount.currency.minor(limit);
        return Err(refuse(ProblemCode::AmountLimit, format!("this device can pay at most {limit} at once")));
    }
    let bank = users::bank(tx, device.user)?;
    if document.method == PaymentMethod::Bank && bank.is_none() {
        return Err(refuse(ProblemCode::NoBankAccount, "bind a bank account first, or pay by another method"));
    }
    let named = ctx.config.channels.iter().any(|c| c.method == document.method && c.names_payer);
    if named && contacts::payer_name(tx, device.user, document.method)?.is_none() {
        let detail =
            "this method has to know the payer by name, and the merchant has none: ask the merchant, or pay otherwise";
        return Err(refuse(ProblemCode::MethodUnavailable, detail));
    }
    let account = stored_value_account(tx, device.account, document)?;
    let n = pays::of_slip(tx, slip.number)?.len() as u32 + 1;
    if n > MAX_ATTEMPTS {
        return Err(refuse(ProblemCode::SlipOver, "this slip was tried too often: close it and make a new one"));
    }
    let mut pay = Pay {
        pay: 0,
        payment_id: document.payment_id,
        slip: slip.number,
        n,
        method: document.method,
        channel_number: format!("{}{n:02}", slip.number),
        amount: slip.amount.currency.minor(slip.amount.minor - document.stored_value.minor),
        stored_value: document.stored_value.minor,
        device: Some(device.device),
        body_sha256,
        jws: Some(jws.to_owned()),
        state: PayState::Open,
        launch: None,
        reason: None,
        deadline: ctx.now.plus(ctx.config.pay_deadline),
    };
    pay.pay = pays::add(tx, &pay, ctx.now)?;
    if let Some(account) = account {
        pays::reserve(tx, pay.pay, account, pay.stored_value)?;
    }
    slips::set_method(tx, slip.number, pay.method)?;
    slips::set_state(tx, slip.number, SlipState::Paying, ctx.now)?;
    for item in slips::items(tx, slip.number)? {
        orders::set(tx, item.number, OrderState::InPayment, item.amount.minor, None)?;
    }
    begin(tx, ctx, &pay, bank.map(|b| b.token).as_deref())?;
    Ok(PayerAnswer::payment(views::begun(&pay), false))
}

fn check_amounts(ctx: &Ctx, document: &SlipPayment, slip: &Slip) -> Result<(), Failure> {
    let (amount, part) = (document.amount, document.stored_value);
    if amount != slip.amount || part.currency != amount.currency {
        let detail = format!("expected the slip's amount {}: read the slip again", slip.amount);
        return Err(refuse(ProblemCode::DocumentMismatch, detail));
    }
    let all = part.minor == amount.minor;
    if !(0..=amount.minor).contains(&part.minor) || all != (document.method == PaymentMethod::StoredValue) {
        let detail = "stored_value: expected all of the amount with the method stored_value, less with any other";
        return Err(refuse(ProblemCode::InvalidValue, detail));
    }
    let elsewhere = capabilities(document.method).create;
    if elsewhere && !ctx.config.channels.iter().any(|c| c.method == document.method) {
        return Err(refuse(ProblemCode::MethodUnavailable, "choose another method of payment"));
    }
    if document.signed_at > ctx.now.plus(ctx.config.clock_ahead) {
        return Err(refuse(ProblemCode::InvalidValue, "signed_at: expected a time that has come"));
    }
    Ok(())
}

/// The account that stored value is reserved on, if any is used and it is there.
fn stored_value_account(tx: &Tx<'_>, account: Option<i64>, document: &SlipPayment) -> Result<Option<i64>, Failure> {
    if document.stored_value.minor == 0 {
        return Ok(None);
    }
    let short =
        || refuse(ProblemCode::InsufficientStoredValue, "use less stored value, and another method for the rest");
    let account = account.ok_or_else(short)?;
    let (balance, reserved) = ledger::balance(tx, account)?;
    let there = balance.currency == document.stored_value.currency
        && balance.minor.saturating_sub(reserved) >= document.stored_value.minor;
    if there { Ok(Some(account)) } else { Err(short()) }
}

/// Writes down what is to be asked; what stored value alone pays is booked at once.
fn begin(tx: &Tx<'_>, ctx: &Ctx, pay: &Pay, token: Option<&str>) -> Result<(), Failure> {
    match pay.method {
        PaymentMethod::StoredValue => {
            let nothing = ledger::account(tx, "bank", pay.amount.currency, None)?;
            settle(tx, ctx, pay, nothing)?.then_some(()).or_defect("a new payment that can be booked")
        }
        PaymentMethod::Bank => {
            let call = NewCall {
                reference: &bank_reference(pay),
                subject: pay.payment_id.into(),
                pay: Some(pay.pay),
                refund: None,
                kind: CallKind::Debit,
                hold: None,
                original: None,
                account: token,
                amount: pay.amount,
            };
            calls::order(tx, &call, ctx.now)?;
            payer_told(tx, ctx, pay.pay)
        }
        PaymentMethod::Alipay | PaymentMethod::Tenpay | PaymentMethod::Test => {
            let call = NewChannelCall {
                pay: pay.pay,
                refund: None,
                receipt: None,
                kind: ChannelKind::Create,
                reference: &pay.channel_number,
                amount: pay.amount,
            };
            channel_calls::order(tx, &call, ctx.now)?;
            payer_told(tx, ctx, pay.pay)
        }
    }
}

/// The reference under which the bank knows a payment.
pub(super) fn bank_reference(pay: &Pay) -> String {
    format!("{}.d", pay.payment_id)
}

/// Has an open attempt end without a payment, as far as that can be had: what nobody was asked for ends at once, a channel is asked to close its
/// trade, and of the bank the answer is awaited.
pub(super) fn give_up(tx: &Tx<'_>, ctx: &Ctx, pay: &Pay, reason: &str) -> Result<(), Failure> {
    if pay.state != PayState::Open {
        return Ok(());
    }
    if pay.method == PaymentMethod::Bank {
        let call = calls::find(tx, &bank_reference(pay))?.or_defect("bank call of a payment")?;
        if call.tries == 0 && call.state == CallState::Open {
            calls::settle(tx, call.call, CallState::Declined, None, Some(reason))?;
            close(tx, ctx, pay, reason)?;
        }
        return Ok(());
    }
    let create = channel_calls::find(tx, ChannelKind::Create, &pay.channel_number)?.or_defect("call of a payment")?;
    channel_calls::end(tx, pay.pay, ChannelKind::Create)?;
    if create.tries == 0 {
        return close(tx, ctx, pay, reason);
    }
    pays::set_state(tx, pay.pay, PayState::Closing, Some(reason), ctx.now)?;
    let call = NewChannelCall {
        pay: pay.pay,
        refund: None,
        receipt: None,
        kind: ChannelKind::Close,
        reference: &pay.channel_number,
        amount: pay.amount,
    };
    channel_calls::order(tx, &call, ctx.now)?;
    payer_told(tx, ctx, pay.pay)
}

/// Ends attempts whose deadline is over; how many.
pub(in crate::domain) fn end_due(tx: &Tx<'_>, ctx: &Ctx, limit: u32) -> Result<usize, Failure> {
    let due = pays::ending(tx, ctx.now, limit)?;
    for pay in &due {
        give_up(tx, ctx, pay, "expired")?;
    }
    Ok(due.len())
}

/// When a slip or an attempt ends next by itself.
pub(in crate::domain) fn next_end(tx: &Tx<'_>) -> Result<Option<Timestamp>, Failure> {
    Ok([slips::next_expiry(tx)?, pays::next_end(tx)?].into_iter().flatten().min())
}

/// The bank's definite answer about a payment of a slip.
pub(in crate::domain) fn bank_answered(
    tx: &Tx<'_>,
    ctx: &Ctx,
    call: &BankCall,
    pay: i64,
    outcome: &BankOutcome,
) -> Result<(), Failure> {
    let pay = pays::get(tx, pay)?;
    let subject = Subject::from(pay.payment_id);
    let currency = pay.amount.currency;
    calls::read_statement_by(tx, ctx.now.plus(ctx.config.statement_after_debit))?;
    match (call.kind, outcome) {
        (CallKind::Debit, BankOutcome::Approved { amount, .. }) if amount.minor >= call.amount.minor => {
            let bank = ledger::account(tx, "bank", currency, None)?;
            if settle(tx, ctx, &pay, bank)? {
                return Ok(());
            }
            // The slip was paid otherwise in the meantime: what the bank has taken goes back.
            if pay.is_live() {
                close(tx, ctx, &pay, "paid_otherwise")?;
            }
            suspense::found(tx, ctx, &subject, &call.reference, 0, *amount)
        }
        (CallKind::Debit, BankOutcome::Approved { amount, .. }) if amount.minor > 0 => {
            let reverse = NewCall {
                reference: &format!("{}.v", pay.payment_id),
                subject,
                pay: Some(pay.pay),
                refund: None,
                kind: CallKind::Reverse,
                hold: None,
                original: Some(&call.reference),
                account: None,
                amount: *amount,
            };
            calls::order(tx, &reverse, ctx.now)?;
            Ok(())
        }
        (CallKind::Debit, BankOutcome::Approved { .. }) => close(tx, ctx, &pay, "partial_approval"),
        (CallKind::Debit, BankOutcome::Declined { reason }) => close(tx, ctx, &pay, reason),
        (_, outcome) => {
            if pay.is_live() {
                close(tx, ctx, &pay, "partial_approval")?;
            }
            let given_back = match outcome {
                BankOutcome::Approved { amount, .. } => amount.minor,
                BankOutcome::Declined { .. } => 0,
            };
            let original = call.original.as_deref().or_defect("original of a reversal")?;
            match call.amount.minor - given_back {
                kept @ 1.. => suspense::found(tx, ctx, &subject, original, 0, currency.minor(kept)),
                _ => Ok(()),
            }
        }
    }
}
