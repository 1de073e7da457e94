//! People: added, shown, erased.

use super::attempts::business_date;
use super::{Answer, Ctx, DeviceRow, NewUser, notices};
use crate::failure::{Failure, OrDefect, refuse};
use crate::store::ledger::{self, Transfer};
use crate::store::users::{self, User, UserState};
use crate::store::{Tx, contacts, devices, notices as outbox, payments, privacy, stores};
use serde_json::json;
use walkpay::protocol::crypto::base64url;
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{Money, Sub, UserName};

/// A user by name.
pub(super) fn named(tx: &Tx<'_>, name: &UserName) -> Result<User, Failure> {
    users::find(tx, name)?.ok_or_else(|| refuse(ProblemCode::NotFound, "there is no user of this name"))
}

/// Adds somebody who can shop.
pub(super) fn add(tx: &Tx<'_>, ctx: &Ctx, new: &NewUser) -> Result<Answer, Failure> {
    let printable = |text: &str, max| text.chars().count() <= max && !text.chars().any(char::is_control);
    let invalid = |what: &str| refuse(ProblemCode::InvalidValue, what);
    if !printable(&new.display_name, 120) {
        return Err(invalid("display_name: expected at most 120 printable characters"));
    }
    if let Some(bank) = &new.bank
        && !(printable(&bank.token, 200) && printable(&bank.label, 80) && printable(&bank.confirm_url, 500))
    {
        return Err(invalid("bank: expected printable texts"));
    }
    if users::find(tx, &new.user_name)?.is_some() {
        return Err(refuse(ProblemCode::IdConflict, "there is a user of this name"));
    }
    let sub = Sub::parse(&format!("u_{}", base64url(&ctx.random.bytes::<12>()))).or_defect("sub")?;
    let account = match new.stored_value {
        Some(currency) => Some(ledger::account(tx, &format!("sv:{sub}"), currency, Some(0))?),
        None => None,
    };
    let user = users::add(tx, &sub, &new.user_name, &new.display_name, account, ctx.now)?;
    notices::add_addresses(tx, user, &new.addresses)?;
    users::set_bank(tx, user, new.bank.as_ref())?;
    stores::audit(tx, ctx.now, "operator", "add_user", sub.as_str())?;
    Ok(Answer::User { sub })
}

/// Posts stored value from outside.
pub(super) fn top_up(
    tx: &Tx<'_>,
    ctx: &Ctx,
    name: &UserName,
    amount: Money,
    reference: &str,
) -> Result<Answer, Failure> {
    let user = named(tx, name)?;
    let account =
        user.account.ok_or_else(|| refuse(ProblemCode::InvalidValue, "the user has no stored-value account"))?;
    let (balance, _) = ledger::balance(tx, account)?;
    if balance.currency != amount.currency {
        return Err(refuse(ProblemCode::CurrencyMismatch, format!("expected {}", balance.currency)));
    }
    if amount.minor <= 0 || balance.checked_add(amount).is_err() {
        return Err(refuse(ProblemCode::InvalidValue, "amount: expected more than nothing, and less than overflows"));
    }
    if reference.is_empty() || reference.len() > 100 {
        return Err(refuse(ProblemCode::InvalidValue, "reference: expected 1 to 100 characters"));
    }
    let external = ledger::account(tx, "external", amount.currency, None)?;
    ledger::post(
        tx,
        &Transfer {
            kind: "top_up",
            reference: &format!("top_up.{reference}"),
            store: None,
            trip: None,
            business_date: &business_date(ctx.now, "UTC")?,
            receipt: None,
            at: ctx.now,
        },
        &[(external, -amount.minor), (account, amount.minor)],
    )?;
    stores::audit(tx, ctx.now, "operator", "top_up", user.sub.as_str())?;
    Ok(Answer::Done)
}

/// Sets what a channel calls a user by, such as WeChat's openid.
pub(super) fn name_payer(
    tx: &Tx<'_>,
    ctx: &Ctx,
    user_name: &UserName,
    method: PaymentMethod,
    name: Option<&str>,
) -> Result<Answer, Failure> {
    let user = named(tx, user_name)?;
    let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    if name.is_some_and(|n| !(1..=128).contains(&n.len()) || !n.bytes().all(plain)) {
        return Err(refuse(ProblemCode::InvalidValue, "name: expected 1 to 128 letters, digits, - and _"));
    }
    contacts::set_payer_name(tx, user.user, method, name)?;
    stores::audit(tx, ctx.now, "operator", "name_payer", user.sub.as_str())?;
    Ok(Answer::Done)
}

/// The devices of a user.
pub(super) fn devices(tx: &Tx<'_>, name: &UserName) -> Result<Answer, Failure> {
    let user = named(tx, name)?;
    let mut rows = Vec::new();
    for device in devices::of_user(tx, user.user)? {
        let (label, enrolled_at) = devices::label(tx, device.device)?;
        rows.push(DeviceRow {
            device_id: device.device_id,
            label,
            state: device.state.word().to_owned(),
            consent_key: device.consent_jwk.to_key().or_defect("device key")?,
            enrolled_at,
        });
    }
    Ok(Answer::Devices(rows))
}

/// Everything that is kept about a user, table by table.
pub(super) fn export(tx: &Tx<'_>, name: &UserName) -> Result<Answer, Failure> {
    let user = named(tx, name)?;
    let tables = privacy::export(tx, user.user)?;
    Ok(Answer::Export(json!({ "sub": user.sub, "state": user.state.word(), "tables": tables })))
}

/// Erases what is known of the person. Devices are revoked; the book keeps opaque ids; the bank account is forgotten as
/// soon as no debit needs it.
pub(super) fn erase(tx: &Tx<'_>, ctx: &Ctx, name: &UserName) -> Result<Answer, Failure> {
    let user = named(tx, name)?;
    users::set_state(tx, user.user, UserState::Erased)?;
    for device in devices::of_user(tx, user.user)? {
        super::admin::revoke(tx, ctx, &device)?;
    }
    outbox::end_all(tx, user.user, ctx.now, "erased")?;
    privacy::erase(tx, user.user)?;
    if !payments::user_has_open(tx, user.user)? {
        users::set_bank(tx, user.user, None)?;
    }
    stores::audit(tx, ctx.now, "operator", "erase_user", user.sub.as_str())?;
    Ok(Answer::Done)
}
