//! What a key or token lets its bearer do: words, separated by spaces.

use crate::failure::{Failure, refuse};
use std::fmt;
use std::marker::PhantomData;
use walkpay::protocol::problem::ProblemCode;

/// Words that a kind of key knows, at most eight.
pub trait ScopeWord: Copy + PartialEq + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// The word for it, without spaces.
    fn word(self) -> &'static str;
}

/// Some of the words of a kind. Written as words, separated by spaces, in the order of [`ScopeWord::ALL`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ScopeSet<S> {
    bits: u8,
    kind: PhantomData<S>,
}

impl<S> Clone for ScopeSet<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for ScopeSet<S> {}

impl<S: ScopeWord> ScopeSet<S> {
    /// Everything.
    pub fn all() -> Self {
        S::ALL.iter().copied().collect()
    }

    /// The scopes of a text such as `orders:write orders:read`.
    ///
    /// # Errors
    /// [`Failure::Refused`] with `invalid_value` for words that are no scope, and for none at all.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let scope = |word: &str| S::ALL.iter().copied().find(|s| s.word() == word);
        let found: Option<Self> = text.split_ascii_whitespace().map(scope).collect();
        found
            .filter(|scopes| scopes.bits != 0)
            .ok_or_else(|| refuse(ProblemCode::InvalidValue, format!("scopes: expected some of {}", Self::all())))
    }

    /// Those of a text that are known here: what another version allows allows nothing.
    pub fn known(text: &str) -> Self {
        S::ALL.iter().copied().filter(|s| text.split_ascii_whitespace().any(|word| word == s.word())).collect()
    }

    /// Whether this is one of them.
    pub fn has(self, scope: S) -> bool {
        self.bits & bit(scope) != 0
    }
}

fn bit<S: ScopeWord>(scope: S) -> u8 {
    S::ALL.iter().position(|s| *s == scope).map_or(0, |n| 1u8.checked_shl(n as u32).unwrap_or(0))
}

impl<S: ScopeWord> FromIterator<S> for ScopeSet<S> {
    fn from_iter<I: IntoIterator<Item = S>>(scopes: I) -> Self {
        Self { bits: scopes.into_iter().fold(0, |bits, scope| bits | bit(scope)), kind: PhantomData }
    }
}

impl<S: ScopeWord> fmt::Display for ScopeSet<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = S::ALL.iter().filter(|s| self.has(**s)).map(|s| s.word()).collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::StaffScope;
    use crate::domain::service::Scope;

    fn are_words<S: ScopeWord + fmt::Debug>(two: [S; 2]) {
        assert!(S::ALL.len() <= 8);
        for scope in S::ALL {
            let only = ScopeSet::<S>::parse(scope.word()).unwrap();
            assert!(S::ALL.iter().all(|s| only.has(*s) == (s == scope)), "{scope:?}");
        }
        let [first, second] = two.map(|s| s.word());
        let both = ScopeSet::<S>::parse(&format!("{second} {first}")).unwrap();
        assert_eq!(both.to_string(), format!("{first} {second}"));
        assert_eq!(ScopeSet::<S>::known(&format!("{second} else {first}")).to_string(), both.to_string());
        assert_eq!(ScopeSet::<S>::known("else").to_string(), "");
        assert_eq!(ScopeSet::<S>::parse(&ScopeSet::<S>::all().to_string()).unwrap().bits, ScopeSet::<S>::all().bits);
        let bad = ["", " ", "orders", &format!("{first},{second}"), &first.to_uppercase(), &format!("{first} else")];
        for bad in bad {
            assert_eq!(ScopeSet::<S>::parse(bad).unwrap_err().code(), ProblemCode::InvalidValue, "{bad}");
        }
    }

    #[test]
    fn scopes_are_words() {
        are_words([Scope::OrdersWrite, Scope::QueryRead]);
        are_words([StaffScope::ChecksDecide, StaffScope::QueryRead]);
    }
}
