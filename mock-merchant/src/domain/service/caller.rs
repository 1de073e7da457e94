//! A service system as a caller: its key, and what the key lets it do.

use crate::failure::{Failure, refuse};
use crate::store::{Tx, sources};
use std::fmt;
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

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::OrdersWrite, Self::OrdersRead, Self::QueryRead, Self::WebhooksManage];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::OrdersWrite => "orders:write",
            Self::OrdersRead => "orders:read",
            Self::QueryRead => "query:read",
            Self::WebhooksManage => "webhooks:manage",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What an API key may do. Written as words, separated by spaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

impl Scopes {
    /// Everything.
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// The scopes of a text such as `orders:write orders:read`.
    ///
    /// # Errors
    /// [`Failure::Refused`] with `invalid_value` for words that are no scope, and for none at all.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let scope = |word: &str| Scope::ALL.into_iter().find(|s| s.word() == word);
        let found: Option<Self> = text.split_ascii_whitespace().map(scope).collect();
        found
            .filter(|scopes| scopes.0 != 0)
            .ok_or_else(|| refuse(ProblemCode::InvalidValue, format!("scopes: expected some of {}", Self::all())))
    }

    /// Whether this is one of them.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = Scope::ALL.into_iter().filter(|s| self.has(*s)).map(Scope::word).collect();
        f.write_str(&words.join(" "))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_words() {
        for scope in Scope::ALL {
            let only = Scopes::parse(scope.word()).unwrap();
            assert!(Scope::ALL.into_iter().all(|s| only.has(s) == (s == scope)));
        }
        assert_eq!(Scopes::parse("query:read orders:write").unwrap().to_string(), "orders:write query:read");
        assert_eq!(Scopes::parse(&Scopes::all().to_string()).unwrap(), Scopes::all());
        for bad in ["", " ", "orders", "orders:write,orders:read", "ORDERS:READ"] {
            assert_eq!(Scopes::parse(bad).unwrap_err().code(), ProblemCode::InvalidValue, "{bad}");
        }
    }
}
