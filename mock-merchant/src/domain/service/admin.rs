//! Service systems, as the operator keeps them.

use super::caller::Scopes;
use super::fees::{invalid, text};
use crate::domain::Ctx;
use crate::failure::{Failure, refuse};
use crate::store::sources::{self, NewSource, Source, SourceState};
use crate::store::{Tx, stores};
use crate::webhook;
use jiff::tz::TimeZone;
use std::time::Duration;
use walkpay::StoreId;
use walkpay::protocol::crypto::{base64url, digest};
use walkpay::protocol::problem::ProblemCode;

/// How many characters of a key's digest name it.
pub const KEY_NAME: usize = 10;
/// The longest that an old secret is used beside a new one.
const MAX_OVERLAP: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the operator does with service systems.
#[derive(Clone, Debug)]
pub enum SourceAdmin {
    /// Adds one → [`Told::Nothing`].
    Add {
        /// Its identifier: letters, digits, - _ . (at most 40); no store has it.
        source_id: String,
        /// Its name.
        name: String,
        /// Who is paid when an order names nobody else.
        payee: String,
        /// IANA time zone: business days are counted in it.
        time_zone: String,
    },
    /// Makes an API key → [`Told::Secret`].
    NewKey {
        /// Whose.
        source_id: String,
        /// What it may do.
        scopes: Scopes,
    },
    /// Takes an API key out of use → [`Told::Nothing`].
    RevokeKey {
        /// Whose.
        source_id: String,
        /// The first [`KEY_NAME`] characters of its digest, or the key itself.
        key: String,
    },
    /// Sets where it is told what happens, or nowhere → [`Told::Secret`] with the first address, if there is no secret yet.
    Callback {
        /// Whose.
        source_id: String,
        /// The address.
        url: Option<String>,
        /// Whether it may be a private address, or `http` on loopback.
        allow_private: bool,
    },
    /// Makes a secret that webhooks are signed with; those before it are used beside it for a while → [`Told::Secret`].
    NewSecret {
        /// Whose.
        source_id: String,
        /// For how long.
        overlap: Duration,
    },
    /// Takes it out of use, or back in → [`Told::Nothing`].
    SetDisabled {
        /// Which.
        source_id: String,
        /// Whether.
        disabled: bool,
    },
}

/// What the operator is told, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is done.
    Nothing,
    /// A key or secret; stored hashed, or never shown again.
    Secret(String),
}

pub(crate) fn carry_out(tx: &Tx<'_>, ctx: &Ctx, command: SourceAdmin) -> Result<Told, Failure> {
    let (action, source_id, told) = match command {
        SourceAdmin::Add { source_id, name, payee, time_zone } => {
            add(tx, ctx, &source_id, &name, &payee, &time_zone)?;
            ("add_source", source_id, Told::Nothing)
        }
        SourceAdmin::NewKey { source_id, scopes } => {
            let source = named(tx, &source_id)?;
            let key = format!("sk_{}", base64url(&ctx.random.bytes::<24>()));
            sources::add_key(tx, source.source, &digest(key.as_bytes()), &scopes.to_string(), ctx.now)?;
            ("new_source_key", source_id, Told::Secret(key))
        }
        SourceAdmin::RevokeKey { source_id, key } => {
            revoke(tx, ctx, &named(tx, &source_id)?, &key)?;
            ("revoke_source_key", source_id, Told::Nothing)
        }
        SourceAdmin::Callback { source_id, url, allow_private } => {
            let source = named(tx, &source_id)?;
            if let Some(url) = &url {
                webhook::check_url(url, allow_private).map_err(|e| invalid(format!("callback: {e}")))?;
            }
            sources::set_callback(tx, source.source, url.as_deref(), allow_private)?;
            let none = url.is_some() && sources::secrets(tx, source.source, ctx.now, 1)?.is_empty();
            let told = if none { Told::Secret(secret(tx, ctx, &source, Duration::ZERO)?) } else { Told::Nothing };
            ("set_source_callback", source_id, told)
        }
        SourceAdmin::NewSecret { source_id, overlap } => {
            let source = named(tx, &source_id)?;
            if overlap > MAX_OVERLAP {
                return Err(invalid("overlap: expected at most 30 days"));
            }
            ("new_source_secret", source_id, Told::Secret(secret(tx, ctx, &source, overlap)?))
        }
        SourceAdmin::SetDisabled { source_id, disabled } => {
            let state = if disabled { SourceState::Disabled } else { SourceState::Active };
            sources::set_state(tx, named(tx, &source_id)?.source, state)?;
            (if disabled { "disable_source" } else { "enable_source" }, source_id, Told::Nothing)
        }
    };
    stores::audit(tx, ctx.now, "operator", action, &source_id)?;
    Ok(told)
}

fn named(tx: &Tx<'_>, source_id: &str) -> Result<Source, Failure> {
    let found = sources::find(tx, source_id)?;
    found.ok_or_else(|| refuse(ProblemCode::NotFound, "there is no service system of this id"))
}

fn add(tx: &Tx<'_>, ctx: &Ctx, id: &str, name: &str, payee: &str, time_zone: &str) -> Result<(), Failure> {
    let store = StoreId::parse(id).map_err(|e| invalid(format!("id: {}", e.explain())))?;
    text(name, "name", 1, 120)?;
    text(payee, "payee", 1, 200)?;
    if TimeZone::get(time_zone).is_err() {
        return Err(invalid("time_zone: expected an IANA name such as Europe/Berlin"));
    }
    if sources::find(tx, id)?.is_some() || stores::find(tx, &store)?.is_some() {
        return Err(refuse(ProblemCode::IdConflict, "a service system or store has this id"));
    }
    sources::add(tx, &NewSource { source_id: id, name, payee, time_zone }, ctx.now)?;
    Ok(())
}

fn revoke(tx: &Tx<'_>, ctx: &Ctx, source: &Source, key: &str) -> Result<(), Failure> {
    let wanted = if key.starts_with("sk_") { digest(key.as_bytes()) } else { key.to_owned() };
    let keys = sources::keys(tx, source.source)?;
    let fits = |sha256: &str| wanted.len() >= KEY_NAME && sha256.starts_with(&wanted);
    let mut fitting = keys.iter().filter(|k| k.revoked_at.is_none() && fits(&k.sha256));
    match (fitting.next(), fitting.next()) {
        (Some(found), None) => {
            sources::revoke_key(tx, source.source, &found.sha256, ctx.now)?;
            Ok(())
        }
        _ => Err(refuse(ProblemCode::NotFound, "the service system has no such key in use")),
    }
}

fn secret(tx: &Tx<'_>, ctx: &Ctx, source: &Source, overlap: Duration) -> Result<String, Failure> {
    let secret = ctx.random.bytes::<32>();
    sources::add_secret(tx, source.source, &secret, ctx.now, ctx.now.plus(overlap))?;
    Ok(webhook::secret_text(&secret))
}
