//! A service system as a caller: its key, and what the key lets it do.

use crate::domain::scopes::{ScopeSet, ScopeWord};
use crate::failure::{Failure, refuse};
use crate::store::{Tx, sources};
use walkpay::protocol::crypto::digest;
use walkpay::protocol::problem::ProblemCode;

/// Something that an API key can be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Hand in orders and change them.
    OrdersWrite,
    /// Read its own orders.
    OrdersRead,
    /// Search and sum up its own orders and payments.
    QueryRead,
    /// See and repeat its own deliveries.
    WebhooksManage,
}

impl ScopeWord for Scope {
    const ALL: &'static [Self] = &[Self::OrdersWrite, Self::OrdersRead, Self::QueryRead, Self::WebhooksManage];

    fn word(self) -> &'static str {
        match self {
            Self::OrdersWrite => "orders:write",
            Self::OrdersRead => "orders:read",
            Self::QueryRead => "query:read",
            Self::WebhooksManage => "webhooks:manage",
        }
    }
}

/// What an API key of a service system may do.
pub type Scopes = ScopeSet<Scope>;

/// A service system that has shown an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceCaller {
    /// Its row.
    pub source: i64,
    /// Its identifier, which its orders carry.
    pub source_id: String,
    /// What the key may do.
    pub scopes: Scopes,
}

impl SourceCaller {
    /// Whether the key may do this.
    ///
    /// # Errors
    /// [`Failure::Refused`] with `forbidden`.
    pub fn need(&self, scope: Scope) -> Result<(), Failure> {
        if self.scopes.has(scope) {
            return Ok(());
        }
        Err(refuse(ProblemCode::Forbidden, format!("this API key lacks the scope {}", scope.word())))
    }

    /// Its name as the caller of requests under idempotency keys, and as an actor.
    pub fn name(&self) -> String {
        format!("source:{}", self.source_id)
    }
}

/// Who presents a service system's API key.
///
/// # Errors
/// [`Failure::Refused`] with `unauthenticated`: no key, one that was revoked, or that of a disabled source.
pub fn source_of_key(tx: &Tx<'_>, key: &str) -> Result<SourceCaller, Failure> {
    let unknown = || refuse(ProblemCode::Unauthenticated, "no service system in use has this key");
    let found = sources::of_key(tx, &digest(key.as_bytes()))?.ok_or_else(unknown)?;
    let scopes = Scopes::parse(&found.scopes)?;
    Ok(SourceCaller { source: found.source, source_id: found.source_id, scopes })
}
