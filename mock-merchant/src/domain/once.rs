//! Requests that create something, once per Idempotency-Key (draft-ietf-httpapi-idempotency-key-header).

use crate::failure::{Failure, refuse};
use crate::store::Tx;
use crate::store::idempotency::{self, First};
use walkpay::Timestamp;
use walkpay::protocol::problem::ProblemCode;

/// The longest key.
pub const MAX_KEY: usize = 100;

/// A key that its caller has made: 1 to [`MAX_KEY`] visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Takes a key.
    ///
    /// # Errors
    /// [`Failure::Refused`] with `malformed`.
    pub fn parse(key: &str) -> Result<Self, Failure> {
        if !(1..=MAX_KEY).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
            let detail = format!("an idempotency key has 1 to {MAX_KEY} visible ASCII characters");
            return Err(refuse(ProblemCode::Malformed, detail));
        }
        Ok(Self(key.to_owned()))
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a request under a key was asked with: by whom, where, under which key, with which body.
#[derive(Clone, Debug)]
pub struct Keyed<'a> {
    /// Who asks: a stable text, such as `device:…` or `source:…`. The same key of another caller is another key.
    pub caller: &'a str,
    /// The route with what its path names, such as `POST /payer/v1/slips`.
    pub route: &'a str,
    /// The key.
    pub key: &'a IdempotencyKey,
    /// Digest of the body as it came.
    pub body_sha256: [u8; 32],
}

/// An answer that is the same for each repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A status with a JSON body.
    ///
    /// # Errors
    /// [`Failure::Fault`] when the body cannot be written as JSON.
    pub fn json(status: u16, body: &impl serde::Serialize) -> Result<Self, Failure> {
        let body = serde_json::to_vec(body).map_err(|e| crate::failure::defect("answer", e))?;
        Ok(Self { status, body })
    }
}

/// Does `f` unless the same request was done before; the key is known for [`idempotency::KEPT`] after `now`: then its first answer comes back,
/// with the same status and body. A refusal by `f` is not kept: what was refused may be sent again under its key. No answer waits for an
/// outside call: it leaves once the intent is recorded, so that no first request is ever found half done.
///
/// # Errors
/// [`Failure::Refused`] with `idempotency_mismatch` for another body under the key; what `f` returned.
pub fn once(
    tx: &Tx<'_>,
    keyed: &Keyed<'_>,
    now: Timestamp,
    f: impl FnOnce() -> Result<Reply, Failure>,
) -> Result<Reply, Failure> {
    if let Some(first) = idempotency::find(tx, keyed.caller, keyed.route, keyed.key.as_str())? {
        if first.body_sha256 != keyed.body_sha256 {
            return Err(refuse(ProblemCode::IdempotencyMismatch, "use a new key for another body"));
        }
        return Ok(Reply { status: first.status, body: first.answer });
    }
    let reply = f()?;
    let first = First { body_sha256: keyed.body_sha256, status: reply.status, answer: reply.body.clone() };
    idempotency::keep(tx, keyed.caller, keyed.route, keyed.key.as_str(), &first, now)?;
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Identity, open_in_memory};
    use std::time::Duration;
    use walkpay::MerchantId;

    fn keyed<'a>(caller: &'a str, key: &'a IdempotencyKey, body: u8) -> Keyed<'a> {
        Keyed { caller, route: "POST /things", key, body_sha256: [body; 32] }
    }

    fn store() -> rusqlite::Connection {
        let merchant_id = MerchantId::parse("m").unwrap();
        open_in_memory(&Identity { merchant_id, name: "M".to_owned(), sim: true }).unwrap()
    }

    #[test]
    fn keys_are_visible_ascii() {
        for good in ["a", "~!\"", &"k".repeat(100)] {
            assert_eq!(IdempotencyKey::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "ä", "\u{7f}", "a\n", &"k".repeat(101)] {
            assert_eq!(IdempotencyKey::parse(bad).unwrap_err().code(), ProblemCode::Malformed);
        }
    }

    #[test]
    fn the_first_answer_stays_and_belongs_to_caller_and_body() {
        let conn = store();
        let key = IdempotencyKey::parse("k1").unwrap();
        let now = Timestamp::from_millis(1_700_000_000_000);
        let made = std::cell::Cell::new(0u8);
        let make = || {
            made.set(made.get() + 1);
            Ok(Reply { status: 201, body: vec![made.get()] })
        };
        let run = |caller: &str, key: &IdempotencyKey, body, now| {
            Tx::run(&conn, |tx| once(tx, &keyed(caller, key, body), now, make))
        };
        assert_eq!(run("a", &key, 1, now).unwrap().body, [1]);
        assert_eq!(run("a", &key, 1, now).unwrap(), Reply { status: 201, body: vec![1] }, "the first answer");
        assert_eq!(run("a", &key, 2, now).unwrap_err().code(), ProblemCode::IdempotencyMismatch);
        assert_eq!(run("b", &key, 2, now).unwrap().body, [2], "another caller's key is another key");
        let refused = Tx::run(&conn, |tx| {
            let other = IdempotencyKey::parse("k2").unwrap();
            once(tx, &keyed("a", &other, 1), now, || Err(refuse(ProblemCode::InvalidValue, "no")))
        });
        assert_eq!(refused.unwrap_err().code(), ProblemCode::InvalidValue);
        assert_eq!(run("a", &IdempotencyKey::parse("k2").unwrap(), 1, now).unwrap().body, [3], "refusals are not kept");
        let later = now.plus(Duration::from_secs(25 * 3600));
        let years = now.plus(Duration::from_secs(10 * 365 * 24 * 3600));
        let kept = IdempotencyKey::parse("k3").unwrap();
        assert_eq!(run("a", &kept, 1, years).unwrap().body, [4]);
        assert_eq!(
            run("a", &key, 1, now).unwrap().body,
            [1],
            "a key that is known for longer makes no other forgotten"
        );
        assert_eq!(Tx::run(&conn, |tx| Ok(idempotency::forget(tx, later)?)).unwrap(), 3);
        assert_eq!(run("a", &kept, 1, later).unwrap().body, [4]);
        assert_eq!(run("a", &key, 1, later).unwrap().body, [5], "a day later it is forgotten");
    }
}
