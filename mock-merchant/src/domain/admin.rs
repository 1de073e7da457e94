//! What the operator does.

use super::notices::PageLink;
use super::tell::{sign, tell};
use super::{AdminCommand, Answer, Ctx, StaffScopes, catalogue, notices, suspense, users};
use crate::failure::{Failure, refuse};
use crate::store::devices::{Device, DeviceState};
use crate::store::users::UserState;
use crate::store::{Tx, devices, enrolment, notices as outbox, passes, sources, stores, users as people};
use jiff::tz::TimeZone;
use std::time::Duration;
use walkpay::protocol::crypto::{base64url, digest};
use walkpay::protocol::document::{EventBody, KeyUse, StaffToken, StoreInfo};
use walkpay::protocol::problem::ProblemCode;
use walkpay::{DeviceId, GateGroup, StoreId, UserName};

/// The longest that an enrolment code may work (design §5).
const MAX_CODE_LIFE: Duration = Duration::from_secs(15 * 60);
/// Crockford's base 32: no letters that look like digits.
const CODE_ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

pub(super) fn carry_out(tx: &Tx<'_>, ctx: &Ctx, command: AdminCommand) -> Result<Answer, Failure> {
    match command {
        AdminCommand::AddStore(info) => add_store(tx, ctx, &info),
        AdminCommand::AddUser(new) => users::add(tx, ctx, &new),
        AdminCommand::BindBank { user_name, account } => {
            let user = users::named(tx, &user_name)?;
            people::set_bank(tx, user.user, account.as_ref())?;
            done(tx, ctx, "bind_bank", user.sub.as_str())
        }
        AdminCommand::SetUserBlocked { user_name, blocked } => {
            let user = users::named(tx, &user_name)?;
            people::set_state(tx, user.user, if blocked { UserState::Blocked } else { UserState::Active })?;
            done(tx, ctx, if blocked { "block_user" } else { "unblock_user" }, user.sub.as_str())
        }
        AdminCommand::Contact { user_name, change } => {
            let user = users::named(tx, &user_name)?;
            notices::carry_out(tx, ctx, &user, change)
        }
        AdminCommand::NewPayPage { user_name } => {
            let user = users::named(tx, &user_name)?.user;
            let link = PageLink { user, number: None, address: None, delivery: None };
            let (token, expires_at) = notices::new_page(tx, ctx, link)?;
            Ok(Answer::PayPage { token, expires_at })
        }
        AdminCommand::ResendNotice { message_id } => {
            let found = outbox::find(tx, &message_id)?;
            let found = found.ok_or_else(|| refuse(ProblemCode::NotFound, "there is no such message"))?;
            outbox::again(tx, found.delivery, ctx.now)?;
            done(tx, ctx, "resend_notice", &message_id)
        }
        AdminCommand::TopUp { user_name, amount, reference } => users::top_up(tx, ctx, &user_name, amount, &reference),
        AdminCommand::EraseUser { user_name } => users::erase(tx, ctx, &user_name),
        AdminCommand::NewEnrolmentCode { user_name, self_confirming } => new_code(tx, ctx, &user_name, self_confirming),
        AdminCommand::ConfirmDevice(id) => confirm(tx, ctx, &id),
        AdminCommand::RevokeDevice(id) => {
            let device = device(tx, &id)?;
            revoke(tx, ctx, &device)?;
            done(tx, ctx, "revoke_device", &id.to_string())
        }
        AdminCommand::ImportCatalogue { store_id, ndjson, replace } => {
            catalogue::import(tx, ctx, &store_id, &ndjson, replace)
        }
        AdminCommand::PublishKeySet => {
            for id in devices::in_use(tx)? {
                let device = devices::get(tx, id)?;
                tell(tx, ctx, &device, EventBody::KeySetPublished { seq: ctx.keys.seq() })?;
            }
            done(tx, ctx, "publish_key_set", &ctx.keys.seq().to_string())
        }
        AdminCommand::RevokePass(jti) => match passes::revoke(tx, &jti)? {
            true => done(tx, ctx, "revoke_pass", &jti.to_string()),
            false => Err(refuse(ProblemCode::NotFound, "there is no such pass")),
        },
        AdminCommand::NewStaffToken { store_id, staff_id, hours, scopes } => {
            staff_token(tx, ctx, &store_id, &staff_id, hours, scopes)
        }
        AdminCommand::NewGateKey(group) => gate_key(tx, ctx, &group),
        AdminCommand::RevokeGateKey(key) => match stores::remove_gate_key(tx, &key)? {
            true => done(tx, ctx, "revoke_gate_key", &key),
            false => Err(refuse(ProblemCode::NotFound, "no gate has such a key")),
        },
        AdminCommand::ReturnSuspense(id) => suspense::return_it(tx, ctx, id),
        AdminCommand::AssignSuspense { suspense: id, orders } => suspense::assign(tx, ctx, id, &orders),
        AdminCommand::SettleSuspense { suspense: id, note } => suspense::settle(tx, ctx, id, &note),
        AdminCommand::NamePayer { user_name, method, name } => {
            users::name_payer(tx, ctx, &user_name, method, name.as_deref())
        }
        AdminCommand::Source(command) => super::service::administer(tx, ctx, command).map(Answer::Told),
    }
}

fn done(tx: &Tx<'_>, ctx: &Ctx, action: &str, subject: &str) -> Result<Answer, Failure> {
    stores::audit(tx, ctx.now, "operator", action, subject)?;
    Ok(Answer::Done)
}

fn add_store(tx: &Tx<'_>, ctx: &Ctx, info: &StoreInfo) -> Result<Answer, Failure> {
    let printable = |text: &str, max| (1..=max).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if !printable(&info.name, 120) || !printable(&info.tax_id, 40) {
        return Err(refuse(ProblemCode::InvalidValue, "name and tax_id: expected printable texts"));
    }
    if TimeZone::get(&info.time_zone).is_err() {
        let detail = format!("time_zone: expected an IANA name such as Europe/Berlin, got {}", info.time_zone);
        return Err(refuse(ProblemCode::InvalidValue, detail));
    }
    if let Some(before) = stores::find(tx, &info.store_id)?
        && before.currency() != info.currency
    {
        return Err(refuse(ProblemCode::CurrencyMismatch, format!("the store's currency is {}", before.currency())));
    }
    if sources::find(tx, info.store_id.as_str())?.is_some() {
        return Err(refuse(ProblemCode::IdConflict, "a service system has this id"));
    }
    stores::put(tx, info)?;
    ctx.known.forget();
    done(tx, ctx, "add_store", info.store_id.as_str())
}

fn new_code(tx: &Tx<'_>, ctx: &Ctx, user_name: &UserName, self_confirming: bool) -> Result<Answer, Failure> {
    let user = users::named(tx, user_name)?;
    if user.state != UserState::Active {
        return Err(refuse(ProblemCode::UserNotActive, "the user is blocked or erased"));
    }
    // 20 characters of 5 bits each: 100 bits.
    let letter = |b: u8| CODE_ALPHABET.get(usize::from(b & 31)).copied().map_or('0', char::from);
    let code: String = ctx.random.bytes::<20>().into_iter().map(letter).collect();
    let expires_at = ctx.now.plus(ctx.config.enrolment_code.min(MAX_CODE_LIFE));
    enrolment::add_code(tx, &digest(code.as_bytes()), user.user, self_confirming, expires_at)?;
    stores::audit(tx, ctx.now, "operator", "new_enrolment_code", user.sub.as_str())?;
    Ok(Answer::EnrolmentCode { code, root: ctx.keys.root().key_id(), expires_at })
}

fn device(tx: &Tx<'_>, id: &DeviceId) -> Result<Device, Failure> {
    devices::find(tx, id)?.ok_or_else(|| refuse(ProblemCode::NotFound, "there is no such device"))
}

fn confirm(tx: &Tx<'_>, ctx: &Ctx, id: &DeviceId) -> Result<Answer, Failure> {
    let device = device(tx, id)?;
    match device.state {
        DeviceState::Active => Ok(Answer::Done),
        DeviceState::Pending => {
            devices::set_state(tx, device.device, DeviceState::Active, ctx.now)?;
            tell(tx, ctx, &device, EventBody::DeviceConfirmed {})?;
            done(tx, ctx, "confirm_device", &id.to_string())
        }
        DeviceState::Frozen => Err(refuse(ProblemCode::DeviceFrozen, "a frozen device must be enrolled again")),
        DeviceState::Revoked => Err(refuse(ProblemCode::DeviceRevoked, "a revoked device must be enrolled again")),
    }
}

/// Takes a device out of use, for ever.
pub(super) fn revoke(tx: &Tx<'_>, ctx: &Ctx, device: &Device) -> Result<(), Failure> {
    if device.state != DeviceState::Revoked {
        devices::set_state(tx, device.device, DeviceState::Revoked, ctx.now)?;
        tell(tx, ctx, device, EventBody::DeviceRevoked {})?;
    }
    Ok(())
}

fn staff_token(
    tx: &Tx<'_>,
    ctx: &Ctx,
    store_id: &StoreId,
    staff_id: &str,
    hours: u32,
    scopes: StaffScopes,
) -> Result<Answer, Failure> {
    if stores::find(tx, store_id)?.is_none() {
        return Err(refuse(ProblemCode::NotFound, format!("there is no store {store_id}")));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !(1..=40).contains(&staff_id.len()) || !staff_id.chars().all(plain) || !(1..=24).contains(&hours) {
        return Err(refuse(
            ProblemCode::InvalidValue,
            "expected a staff id of 1 to 40 letters or digits, 1 to 24 hours",
        ));
    }
    let token = StaffToken {
        merchant_id: ctx.keys.merchant_id().clone(),
        store_id: store_id.clone(),
        staff_id: staff_id.to_owned(),
        scope: Some(scopes.to_string()),
        iat: ctx.now,
        exp: ctx.now.plus(Duration::from_secs(u64::from(hours) * 3600)),
    };
    stores::audit(tx, ctx.now, "operator", "new_staff_token", staff_id)?;
    Ok(Answer::StaffToken(sign(ctx, KeyUse::Staff, &token)?))
}

fn gate_key(tx: &Tx<'_>, ctx: &Ctx, group: &GateGroup) -> Result<Answer, Failure> {
    let key = format!("gk_{}", base64url(&ctx.random.bytes::<24>()));
    stores::add_gate_key(tx, &digest(key.as_bytes()), group, ctx.now)?;
    stores::audit(tx, ctx.now, "operator", "new_gate_key", group.as_str())?;
    Ok(Answer::GateKey(key))
}

/// Who presents a gate's API key.
///
/// # Errors
/// [`Failure::Refused`] with `unauthenticated`.
pub fn gate_of_key(tx: &Tx<'_>, key: &str) -> Result<super::Caller, Failure> {
    let group = stores::gate_of_key(tx, &digest(key.as_bytes()))?;
    let group = group.ok_or_else(|| refuse(ProblemCode::Unauthenticated, "no gate has this key"))?;
    Ok(super::Caller::Gate(group))
}
