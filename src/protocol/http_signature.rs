//! HTTP message signatures (RFC 9421) in one fixed form: what a device puts on its requests and a merchant checks.
//!
//! Covered are exactly `@method`, `@path`, `@query`, `content-digest`, `content-type` and, where there is one,
//! `idempotency-key`, in this order; the label is `walkpay`; the parameters are `created`, `nonce`, `keyid` and `tag`, in
//! this order. The algorithm is the one that the key is pinned to. Everything else is refused.

use super::crypto::{PublicKey, from_base64url, sha256};
use super::message::Problem;
use super::problem::ProblemCode;
use crate::error::WalkpayError;
use crate::id::{KeyId, MerchantId};
use crate::time::Timestamp;
use sfv::{
    BareItem, DictSerializer, Dictionary, InnerList, Item, ItemSerializer, KeyRef, ListEntry, Parser, StringRef,
    key_ref, string_ref,
};

/// The only media type of bodies; requests without a body carry it too.
pub const MEDIA_TYPE: &str = "application/json";
/// What the tag begins with; the merchant's identifier follows.
pub const TAG_PREFIX: &str = "walkpay/";
/// The fewest random bytes of a nonce.
pub const MIN_NONCE_BYTES: usize = 16;
/// The most bytes of a nonce.
pub const MAX_NONCE_BYTES: usize = 64;
/// The longest path and query together.
pub const MAX_TARGET: usize = 4096;
/// The longest header value that is looked at.
pub const MAX_HEADER: usize = 1024;
/// The longest idempotency key.
pub const MAX_IDEMPOTENCY_KEY: usize = 255;

const LABEL: &KeyRef = key_ref("walkpay");
const DIGEST_KEY: &KeyRef = key_ref("sha-256");
const COMPONENTS: [&StringRef; 5] = [
    string_ref("@method"),
    string_ref("@path"),
    string_ref("@query"),
    string_ref("content-digest"),
    string_ref("content-type"),
];
const IDEMPOTENCY_KEY: &StringRef = string_ref("idempotency-key");

/// A request that is to be signed.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// Upper case, such as `PUT`.
    pub method: &'a str,
    /// The absolute path exactly as it is sent, percent-encoding included (RFC 9421 §2.2.6).
    pub path: &'a str,
    /// The query exactly as it is sent, without `?` (RFC 9421 §2.2.7).
    pub query: Option<&'a str>,
    /// The value of the `Idempotency-Key` header, where there is one.
    pub idempotency_key: Option<&'a str>,
    /// The body; empty if there is none.
    pub body: &'a [u8],
}

/// A request as it was received.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedParts<'a> {
    /// The method.
    pub method: &'a str,
    /// The raw path of the request's target.
    pub path: &'a str,
    /// The raw query, without `?`.
    pub query: Option<&'a str>,
    /// All headers, one entry per header line; names in lower case.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The whole body.
    pub body: &'a [u8],
}

/// What is to be signed, and the headers that go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningInput {
    /// The signature base (RFC 9421 §2.5): what the request key signs.
    pub base: String,
    /// The value of `Signature-Input`.
    pub signature_input: String,
    /// The value of `Content-Digest` (RFC 9530).
    pub content_digest: String,
}

/// A signature that has the right form and fits the request, but has **not been verified**.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedSignature {
    /// The request key that it claims to be by.
    pub keyid: KeyId,
    /// When it was made, by the sender's idea of merchant time, to the second.
    pub created: Timestamp,
    /// Used once.
    pub nonce: String,
    base: String,
    signature: Vec<u8>,
}

/// Why a request's signature is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", code.code())]
pub struct SignatureRefusal {
    /// The problem type to answer with.
    pub code: ProblemCode,
    /// What was expected.
    pub detail: String,
}

impl SignatureRefusal {
    pub(super) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// The answer's problem document.
    pub fn document(&self) -> Problem {
        self.code.document(self.detail.clone())
    }
}

#[cfg(test)]
impl ParsedSignature {
    pub(super) fn for_tests(keyid: KeyId, created: Timestamp, nonce: &str) -> Self {
        Self { keyid, created, nonce: nonce.to_owned(), base: String::new(), signature: Vec::new() }
    }
}

/// Puts together what the request key must sign. `created` is written in whole seconds; `nonce` is at least 16 random
/// bytes in base64url, made anew for every try.
///
/// # Errors
/// [`WalkpayError::InvalidInput`] when a part cannot be sent in a request of this profile.
pub fn prepare(
    parts: &RequestParts<'_>,
    created: Timestamp,
    nonce: &str,
    keyid: &KeyId,
    merchant: &MerchantId,
) -> Result<SigningInput, WalkpayError> {
    let invalid = |r: SignatureRefusal| WalkpayError::invalid("request", &r.detail, "one that differs");
    check_target(parts.method, parts.path, parts.query).map_err(invalid)?;
    if let Some(key) = parts.idempotency_key {
        check_idempotency_key(key.as_bytes()).map_err(invalid)?;
    }
    check_nonce(nonce).map_err(invalid)?;
    let content_digest = content_digest(parts.body);
    let params = signature_params(parts.idempotency_key.is_some(), created, nonce, keyid, &tag(merchant))
        .ok_or_else(|| WalkpayError::Internal { detail: "signature parameters cannot be written".into() })?;
    Ok(SigningInput {
        base: base(parts.method, parts.path, parts.query, &content_digest, parts.idempotency_key, &params),
        signature_input: format!("{}={params}", LABEL.as_str()),
        content_digest,
    })
}

impl SigningInput {
    /// The headers to be sent (names in lower case), given the signature over [`SigningInput::base`]: `content-type`,
    /// `content-digest`, `signature-input` and `signature`. An idempotency key is sent as it was given to [`prepare`].
    pub fn finish(self, signature: &[u8]) -> [(&'static str, String); 4] {
        let mut dictionary = DictSerializer::new();
        let _ = dictionary.bare_item(LABEL, signature);
        let signature = dictionary.finish().unwrap_or_default();
        [
            ("content-type", MEDIA_TYPE.to_owned()),
            ("content-digest", self.content_digest),
            ("signature-input", self.signature_input),
            ("signature", signature),
        ]
    }
}

/// The value of `Content-Digest` for a body: SHA-256 (RFC 9530 §2).
pub fn content_digest(body: &[u8]) -> String {
    let mut dictionary = DictSerializer::new();
    let _ = dictionary.bare_item(DIGEST_KEY, sha256(body).as_slice());
    dictionary.finish().unwrap_or_default()
}

/// Checks the form of a received request's signature and that it is of this request. Nothing in it can be trusted before
/// [`verify`].
///
/// The checks in order: each header at most once, present, within its limit; target; media type; digest of the body; form of
/// `signature-input`, its tag and nonce; that nothing but this profile is in it; form of `signature`.
///
/// # Errors
/// [`SignatureRefusal`] with `unauthenticated` when there is no signature, `unsupported_media_type` for another content
/// type, `signature_invalid` for everything else.
pub fn parse_and_check(parts: &ReceivedParts<'_>, merchant: &MerchantId) -> Result<ParsedSignature, SignatureRefusal> {
    let header = |name| single(parts.headers, name);
    let (Some(input), Some(signature)) = (header("signature-input")?, header("signature")?) else {
        return Err(SignatureRefusal::new(
            ProblemCode::Unauthenticated,
            "the headers signature-input and signature by a device's request key",
        ));
    };
    check_target(parts.method, parts.path, parts.query)?;
    if header("content-type")? != Some(MEDIA_TYPE) {
        let detail = "the header content-type: application/json, with and without a body";
        return Err(SignatureRefusal::new(ProblemCode::UnsupportedMediaType, detail));
    }
    let content_digest = content_digest(parts.body);
    if header("content-digest")? != Some(&content_digest) {
        return Err(invalid("content-digest of exactly one sha-256, that of the body, with and without a body"));
    }
    let idempotency_key = header("idempotency-key")?;
    if let Some(key) = idempotency_key {
        check_idempotency_key(key.as_bytes())?;
    }
    let claims = Claims::parse(input)?;
    if claims.tag != tag(merchant) {
        return Err(invalid("the tag walkpay/ and the identifier of this merchant"));
    }
    check_nonce(&claims.nonce)?;
    let params = signature_params(idempotency_key.is_some(), claims.created, &claims.nonce, &claims.keyid, &claims.tag)
        .ok_or_else(|| invalid(PROFILE))?;
    if input.strip_prefix(LABEL.as_str()).and_then(|rest| rest.strip_prefix('=')) != Some(&params) {
        return Err(invalid(PROFILE));
    }
    Ok(ParsedSignature {
        base: base(parts.method, parts.path, parts.query, &content_digest, idempotency_key, &params),
        signature: signature_bytes(signature)?,
        keyid: claims.keyid,
        created: claims.created,
        nonce: claims.nonce,
    })
}

/// Whether the signature is by `key`. Freshness and nonce come after it: see
/// [`NonceGuard`](super::nonce_guard::NonceGuard).
///
/// # Errors
/// [`SignatureRefusal`] with `signature_invalid`.
pub fn verify(parsed: &ParsedSignature, key: &PublicKey) -> Result<(), SignatureRefusal> {
    if key.key_id() != parsed.keyid || !key.verifies(parsed.base.as_bytes(), &parsed.signature) {
        return Err(invalid("a signature by the key of keyid over exactly this request"));
    }
    Ok(())
}

const PROFILE: &str = "signature-input of exactly walkpay=(\"@method\" \"@path\" \"@query\" \"content-digest\" \
    \"content-type\");created=…;nonce=\"…\";keyid=\"…\";tag=\"walkpay/<merchant>\", with \"idempotency-key\" after \
    \"content-type\" if and only if the request has that header";

fn invalid(detail: &str) -> SignatureRefusal {
    SignatureRefusal::new(ProblemCode::SignatureInvalid, detail)
}

fn tag(merchant: &MerchantId) -> String {
    format!("{TAG_PREFIX}{merchant}")
}

/// The one value of a header, without surrounding white space.
fn single<'a>(headers: &[(&str, &'a [u8])], name: &str) -> Result<Option<&'a str>, SignatureRefusal> {
    let mut values = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| *v);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid(&format!("the header {name} once")));
    }
    if value.len() > MAX_HEADER {
        return Err(invalid(&format!("a header {name} of at most {MAX_HEADER} bytes")));
    }
    let text = std::str::from_utf8(value).ok().filter(|v| v.is_ascii());
    text.map(|v| Some(v.trim_matches([' ', '\t']))).ok_or_else(|| invalid(&format!("a header {name} in ASCII")))
}

fn check_target(method: &str, path: &str, query: Option<&str>) -> Result<(), SignatureRefusal> {
    let visible = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if method.is_empty() || method.len() > 16 || !method.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(invalid("a method of upper-case ASCII letters"));
    }
    if path.len() + query.map_or(0, str::len) > MAX_TARGET {
        return Err(invalid("a path and query of at most 4,096 bytes"));
    }
    if !path.starts_with('/') || path.contains('?') || !visible(path) || !query.is_none_or(visible) {
        return Err(invalid("an absolute path and a query of visible ASCII, percent-encoded where needed"));
    }
    Ok(())
}

fn check_idempotency_key(key: &[u8]) -> Result<(), SignatureRefusal> {
    if key.is_empty() || key.len() > MAX_IDEMPOTENCY_KEY || !key.iter().all(u8::is_ascii_graphic) {
        return Err(invalid("an idempotency-key of 1 to 255 visible ASCII characters"));
    }
    Ok(())
}

fn check_nonce(nonce: &str) -> Result<(), SignatureRefusal> {
    let bytes = from_base64url("nonce", nonce).map_err(|_| invalid("a nonce in base64url without padding"))?;
    if !(MIN_NONCE_BYTES..=MAX_NONCE_BYTES).contains(&bytes.len()) {
        return Err(invalid("a nonce of 16 to 64 random bytes"));
    }
    Ok(())
}

struct Claims {
    created: Timestamp,
    nonce: String,
    keyid: KeyId,
    tag: String,
}

impl Claims {
    fn parse(input: &str) -> Result<Self, SignatureRefusal> {
        let dictionary: Dictionary = Parser::new(input).parse().map_err(|_| invalid(PROFILE))?;
        let Some(ListEntry::InnerList(list)) = dictionary.get(LABEL).filter(|_| dictionary.len() == 1) else {
            return Err(invalid(PROFILE));
        };
        let param = |name: &KeyRef| list.params.get(name).ok_or_else(|| invalid(PROFILE));
        let text =
            |name: &KeyRef| param(name)?.as_string().map(|s| s.as_str().to_owned()).ok_or_else(|| invalid(PROFILE));
        let created = param(key_ref("created"))?.as_integer().map(i64::from).ok_or_else(|| invalid(PROFILE))?;
        let millis = created.checked_mul(1000).ok_or_else(|| invalid(PROFILE))?;
        Ok(Self {
            created: Timestamp::from_millis(millis),
            nonce: text(key_ref("nonce"))?,
            keyid: KeyId::parse(&text(key_ref("keyid"))?)
                .map_err(|_| invalid("a keyid that is an RFC 7638 thumbprint"))?,
            tag: text(key_ref("tag"))?,
        })
    }
}

/// The inner list with its parameters (RFC 9421 §2.3), serialised as RFC 9651 §4.1 says.
fn signature_params(
    idempotency_key: bool,
    created: Timestamp,
    nonce: &str,
    keyid: &KeyId,
    tag: &str,
) -> Option<String> {
    let components = COMPONENTS.into_iter().chain(idempotency_key.then_some(IDEMPOTENCY_KEY));
    let mut list = InnerList::new(components.map(|name| Item::new(name.to_owned())).collect());
    let text = |value: &str| StringRef::from_str(value).ok().map(|v| BareItem::String(v.to_owned()));
    let created = sfv::Integer::try_from(created.as_millis() / 1000).ok()?;
    list.params.insert(key_ref("created").to_owned(), BareItem::Integer(created));
    list.params.insert(key_ref("nonce").to_owned(), text(nonce)?);
    list.params.insert(key_ref("keyid").to_owned(), text(keyid.as_str())?);
    list.params.insert(key_ref("tag").to_owned(), text(tag)?);
    let mut serializer = sfv::ListSerializer::new();
    serializer.members([&ListEntry::InnerList(list)]);
    serializer.finish()
}

/// The signature base (RFC 9421 §2.5).
fn base(
    method: &str,
    path: &str,
    query: Option<&str>,
    content_digest: &str,
    idempotency_key: Option<&str>,
    params: &str,
) -> String {
    let query = format!("?{}", query.unwrap_or_default());
    let values = [method, path, &query, content_digest, MEDIA_TYPE];
    let mut base = String::new();
    let lines = COMPONENTS.into_iter().zip(values).chain(idempotency_key.map(|key| (IDEMPOTENCY_KEY, key)));
    for (name, value) in lines {
        base.push_str(&ItemSerializer::new().bare_item(name).finish());
        base.push_str(": ");
        base.push_str(value);
        base.push('\n');
    }
    base.push_str("\"@signature-params\": ");
    base.push_str(params);
    base
}

fn signature_bytes(header: &str) -> Result<Vec<u8>, SignatureRefusal> {
    let refused = || invalid("signature of exactly walkpay=:<64 bytes in base64>:");
    let dictionary: Dictionary = Parser::new(header).parse().map_err(|_| refused())?;
    let Some(ListEntry::Item(item)) = dictionary.get(LABEL) else { return Err(refused()) };
    let bytes = item.bare_item.as_byte_sequence().filter(|b| b.len() == 64).ok_or_else(refused)?;
    let mut canonical = DictSerializer::new();
    let _ = canonical.bare_item(LABEL, bytes);
    if canonical.finish().as_deref() != Some(header) {
        return Err(refused());
    }
    Ok(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::crypto::{Algorithm, base64url};
    use ed25519_dalek::{Signer, SigningKey};

    const BODY: &[u8] = br#"{"a":1}"#;

    fn merchant() -> MerchantId {
        MerchantId::parse("m-1").unwrap()
    }

    fn key() -> (SigningKey, PublicKey) {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = PublicKey::from_raw(Algorithm::Ed25519, key.verifying_key().as_bytes()).unwrap();
        (key, public)
    }

    fn parts(idempotency_key: Option<&str>) -> RequestParts<'_> {
        RequestParts {
            method: "PUT",
            path: "/terminal/v1/a%20b",
            query: Some("x=1&y=%2F"),
            idempotency_key,
            body: BODY,
        }
    }

    fn signed(idempotency_key: Option<&str>) -> Vec<(String, String)> {
        let (key, public) = key();
        let nonce = base64url(&[9; 16]);
        let created = Timestamp::from_millis(1_700_000_000_999);
        let input = prepare(&parts(idempotency_key), created, &nonce, &public.key_id(), &merchant()).unwrap();
        let signature = key.sign(input.base.as_bytes()).to_bytes();
        let mut headers: Vec<_> = input.finish(&signature).into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
        headers.extend(idempotency_key.map(|k| ("idempotency-key".to_owned(), k.to_owned())));
        headers
    }

    fn check(headers: &[(String, String)], path: &str, query: Option<&str>, body: &[u8]) -> Result<(), ProblemCode> {
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
        let received = ReceivedParts { method: "PUT", path, query, headers: &headers, body };
        let parsed = parse_and_check(&received, &merchant()).map_err(|r| r.code)?;
        assert_eq!(parsed.created, Timestamp::from_millis(1_700_000_000_000));
        verify(&parsed, &key().1).map_err(|r| r.code)
    }

    fn as_sent(headers: &[(String, String)]) -> Result<(), ProblemCode> {
        check(headers, "/terminal/v1/a%20b", Some("x=1&y=%2F"), BODY)
    }

    fn changed(headers: &[(String, String)], name: &str, change: impl Fn(&str) -> String) -> Vec<(String, String)> {
        headers.iter().map(|(n, v)| (n.clone(), if n == name { change(v) } else { v.clone() })).collect()
    }

    #[test]
    fn base_is_that_of_rfc_9421_section_2_5() {
        let (_, public) = key();
        let created = Timestamp::from_millis(1_700_000_000_000);
        let parts = RequestParts { method: "GET", path: "/p", query: None, idempotency_key: Some("k"), body: b"" };
        let input = prepare(&parts, created, "CQkJCQkJCQkJCQkJCQkJCQ", &public.key_id(), &merchant()).unwrap();
        let params = format!(
            "(\"@method\" \"@path\" \"@query\" \"content-digest\" \"content-type\" \"idempotency-key\");\
             created=1700000000;nonce=\"CQkJCQkJCQkJCQkJCQkJCQ\";keyid=\"{}\";tag=\"walkpay/m-1\"",
            public.key_id()
        );
        let expected = format!(
            "\"@method\": GET\n\"@path\": /p\n\"@query\": ?\n\
             \"content-digest\": sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:\n\
             \"content-type\": application/json\n\"idempotency-key\": k\n\"@signature-params\": {params}"
        );
        assert_eq!(input.base, expected);
        assert_eq!(input.signature_input, format!("walkpay={params}"));
    }

    #[test]
    fn takes_what_was_signed_and_nothing_else() {
        for idempotency_key in [None, Some("order-1")] {
            let headers = signed(idempotency_key);
            as_sent(&headers).unwrap();
            let invalid = Err(ProblemCode::SignatureInvalid);
            assert_eq!(check(&headers, "/terminal/v1/a b", Some("x=1&y=%2F"), BODY), invalid);
            assert_eq!(check(&headers, "/terminal/v1/a%20B", Some("x=1&y=%2F"), BODY), invalid);
            assert_eq!(check(&headers, "/terminal/v1/a%20b", Some("x=1&y=/"), BODY), invalid);
            assert_eq!(check(&headers, "/terminal/v1/a%20b", None, BODY), invalid);
            assert_eq!(check(&headers, "/terminal/v1/a%20b", Some("x=1&y=%2F"), b""), invalid);
        }
    }

    #[test]
    fn refuses_every_other_form() {
        let headers = signed(Some("order-1"));
        let invalid = Err(ProblemCode::SignatureInvalid);
        let input = |change: &dyn Fn(&str) -> String| changed(&headers, "signature-input", change);
        let forms: [(&str, Vec<_>); 14] = [
            ("other label", input(&|v| v.replace("walkpay=(", "sig1=("))),
            ("two labels", input(&|v| format!("{v}, b=()"))),
            ("repeated label", input(&|v| format!("{v}, {v}"))),
            ("missing component", input(&|v| v.replace(" \"@query\"", ""))),
            ("more components", input(&|v| v.replace("\"@query\"", "\"@query\" \"@authority\""))),
            ("repeated component", input(&|v| v.replace("\"@query\"", "\"@query\" \"@query\""))),
            ("other order", input(&|v| v.replace("\"@method\" \"@path\"", "\"@path\" \"@method\""))),
            ("component parameter", input(&|v| v.replace("\"@path\"", "\"@path\";req"))),
            ("alg", input(&|v| format!("{v};alg=\"ed25519\""))),
            ("expires", input(&|v| format!("{v};expires=1"))),
            ("repeated parameter", input(&|v| format!("{v};created=1700000000"))),
            ("other merchant", input(&|v| v.replace("walkpay/m-1", "walkpay/m-2"))),
            ("short nonce", input(&|v| v.replace("CQkJCQkJCQkJCQkJCQkJCQ", "CQkJ"))),
            ("white space", input(&|v| v.replace("(\"@method\"", "( \"@method\""))),
        ];
        for (what, forged) in forms {
            assert_eq!(as_sent(&forged), invalid, "{what}");
        }
        for parameter in ["created", "nonce", "keyid", "tag"] {
            let dropped = input(&|v| {
                let kept = v.split(';').filter(|p| !p.starts_with(parameter));
                kept.collect::<Vec<_>>().join(";")
            });
            assert_eq!(as_sent(&dropped), invalid, "no {parameter}");
        }
        let oversized = input(&|v| format!("{v}{}", " ".repeat(MAX_HEADER)));
        assert_eq!(as_sent(&oversized), invalid);
        let twice: Vec<_> = headers.iter().chain(&headers[2..3]).cloned().collect();
        assert_eq!(as_sent(&twice), invalid);
        let without_key: Vec<_> = headers.iter().filter(|(n, _)| n != "idempotency-key").cloned().collect();
        assert_eq!(as_sent(&without_key), invalid);
        assert_eq!(as_sent(&changed(&headers, "idempotency-key", |_| "order-2".into())), invalid);
        let mut more = signed(None);
        more.push(("idempotency-key".into(), "order-1".into()));
        assert_eq!(as_sent(&more), invalid, "an idempotency key that is not covered");
        assert_eq!(as_sent(&changed(&headers, "signature", |v| format!("{v}, {v}"))), invalid);
        assert_eq!(as_sent(&changed(&headers, "signature", |v| v.replace("=:", "=:AA"))), invalid);
        assert_eq!(as_sent(&headers[..2]), Err(ProblemCode::Unauthenticated));
        let form = changed(&headers, "content-type", |_| "text/plain".into());
        assert_eq!(as_sent(&form), Err(ProblemCode::UnsupportedMediaType));
    }

    #[test]
    fn every_bit_of_the_signature_counts() {
        let (key, public) = key();
        let input = prepare(
            &parts(None),
            Timestamp::from_millis(1_700_000_000_000),
            &base64url(&[9; 16]),
            &public.key_id(),
            &merchant(),
        )
        .unwrap();
        let signature = key.sign(input.base.as_bytes()).to_bytes();
        for bit in 0..512 {
            let mut flipped = signature;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let headers: Vec<_> = input.clone().finish(&flipped).into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
            assert_eq!(as_sent(&headers), Err(ProblemCode::SignatureInvalid), "bit {bit}");
        }
    }

    #[test]
    fn another_key_is_refused() {
        let headers = signed(None);
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
        let query = Some("x=1&y=%2F");
        let received =
            ReceivedParts { method: "PUT", path: "/terminal/v1/a%20b", query, headers: &headers, body: BODY };
        let parsed = parse_and_check(&received, &merchant()).unwrap();
        let other = SigningKey::from_bytes(&[8; 32]);
        let other = PublicKey::from_raw(Algorithm::Ed25519, other.verifying_key().as_bytes()).unwrap();
        assert_eq!(verify(&parsed, &other).unwrap_err().code, ProblemCode::SignatureInvalid);
    }
}
