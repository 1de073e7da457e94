//! Exit passes as they are shown and checked (A11): the pass, and beside it the device's signature over the pass's
//! identifier and the present 30 seconds, so that a screenshot is worth nothing. Pure; a gate needs no network for it.
//!
//! The text of a presentation is `walkpay-pass:<exit pass JWS>~<pass presentation JWS>`, meant for a QR code at error level M.

use super::crypto::{Algorithm, PublicKey};
use super::document::{ExitPass, KeySet, KeyUse, PassPresentation};
use super::jws::{Document, Signed, assemble, signing_input, verify};
use super::key_set::verify_by;
use crate::barcode::EXIT_PASS_PREFIX;
use crate::error::WalkpayError;
use crate::id::{GateGroup, KeyId, MerchantId};
use crate::time::Timestamp;
use std::time::Duration;

/// How long one presentation is shown.
pub const STEP: Duration = Duration::from_secs(30);
/// By how many steps a presentation may be older or newer than the gate's clock.
pub const TOLERANCE_STEPS: u64 = 1;
/// The longest that a pass may be valid.
pub const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// The longest presentation: what a QR code of version 40 at error level M holds.
pub const MAX_PRESENTATION: usize = 2331;

/// The 30-second step that an instant is in.
pub fn step(at: Timestamp) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(0) / 30_000
}

/// What the device must sign to show a pass now; `kid` and `algorithm` are of the key that the pass is bound to.
///
/// # Errors
/// [`WalkpayError::Internal`] if the document cannot be written.
pub fn presentation_input(
    pass: &ExitPass,
    algorithm: Algorithm,
    kid: &KeyId,
    now: Timestamp,
) -> Result<String, WalkpayError> {
    signing_input(&PassPresentation { jti: pass.jti, step: step(now) }, algorithm, kid)
}

/// The text of the QR code: the pass as the merchant signed it, and the signed presentation.
pub fn presentation_text(pass_jws: &str, input: &str, signature: &[u8]) -> String {
    format!("{EXIT_PASS_PREFIX}{pass_jws}~{}", assemble(input, signature))
}

/// Whether a presentation opens a gate of `gate_group` at `now`. Whether the pass was spent before is the gate's memory.
///
/// The checks in order: size; prefix and two parts; the pass as [`verify_by`] does with a key for passes at its `iat`; merchant; gate
/// group; issued not in the future; lifetime; expiry; the presentation as [`verify`] does with the key that the pass is
/// bound to; identifier of the pass; step.
///
/// # Errors
/// [`WalkpayError::Untrusted`]. With the exit pass as document: `size`, `form`, `header`, `typ`, `kid`, `alg`, `signature`,
/// `low_s`, `payload`, `key_use`, `key_not_yet_valid`, `key_retired`, `merchant`, `gate_group`, `not_yet_valid`, `lifetime`, `expired`,
/// `cnf`. With the presentation as document: those of [`verify`] (`kid`: it is signed by another device), `jti`, `step` (a
/// screenshot, or a clock that is wrong).
pub fn verify_presentation(
    text: &str,
    keys: &KeySet,
    merchant: &MerchantId,
    gate_group: &GateGroup,
    now: Timestamp,
) -> Result<Signed<ExitPass>, WalkpayError> {
    let of_pass = |check, detail| WalkpayError::untrusted(ExitPass::TYP, check, detail);
    if text.len() > MAX_PRESENTATION {
        return Err(of_pass("size", "at most 2,331 bytes"));
    }
    let (pass, presentation) = text
        .strip_prefix(EXIT_PASS_PREFIX)
        .and_then(|text| text.split_once('~'))
        .ok_or_else(|| of_pass("form", "walkpay-pass: and an exit pass and its presentation, joined by ~"))?;
    let signed: Signed<ExitPass> = verify_by(pass, keys, KeyUse::Pass, |pass: &ExitPass| pass.iat)?;
    check_pass(&signed.document, merchant, gate_group, now)?;
    let bound = signed
        .document
        .cnf
        .jwk
        .to_key()
        .map_err(|_| of_pass("cnf", "an Ed25519 or P-256 key that the pass is bound to"))?;
    check_presentation(presentation, &signed.document, &bound, now)?;
    Ok(signed)
}

fn check_pass(
    pass: &ExitPass,
    merchant: &MerchantId,
    gate_group: &GateGroup,
    now: Timestamp,
) -> Result<(), WalkpayError> {
    let fail = |check, detail| Err(WalkpayError::untrusted(ExitPass::TYP, check, detail));
    if pass.merchant_id != *merchant {
        return fail("merchant", "a pass of this gate's merchant");
    }
    if pass.gate_group != *gate_group {
        return fail("gate_group", "a pass for this group of gates");
    }
    // A gate's clock may be behind the merchant's by as much as a presentation's may be ahead.
    if pass.iat > now.plus(STEP) {
        return fail("not_yet_valid", "a pass that has been issued already: check the gate's clock");
    }
    if pass.exp <= pass.iat || pass.exp.since(pass.iat) > MAX_LIFETIME {
        return fail("lifetime", "a pass that is valid for at most 30 minutes");
    }
    if now >= pass.exp {
        return fail("expired", "a pass whose time is not over");
    }
    Ok(())
}

fn check_presentation(text: &str, pass: &ExitPass, bound: &PublicKey, now: Timestamp) -> Result<(), WalkpayError> {
    let fail = |check, detail| Err(WalkpayError::untrusted(PassPresentation::TYP, check, detail));
    let shown: Signed<PassPresentation> = verify(text, |kid| (*kid == bound.key_id()).then_some(bound))?;
    if shown.document.jti != pass.jti {
        return fail("jti", "a presentation of this pass");
    }
    if shown.document.step.abs_diff(step(now)) > TOLERANCE_STEPS {
        return fail(
            "step",
            "a presentation of this moment: show the pass on the device again, a picture of it is no use",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::*;
    use crate::money::Currency;
    use crate::protocol::crypto::Jwk;
    use crate::protocol::document::{Confirmation, KeyEntry};
    use ed25519_dalek::{Signer, SigningKey};

    const T0: i64 = 1_767_225_600_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(T0 + seconds * 1000)
    }

    fn key(seed: u8) -> (SigningKey, PublicKey) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let public = PublicKey::from_raw(Algorithm::Ed25519, key.verifying_key().as_bytes()).unwrap();
        (key, public)
    }

    fn sign<D: Document>(document: &D, seed: u8) -> String {
        let (key, public) = key(seed);
        let input = signing_input(document, Algorithm::Ed25519, &public.key_id()).unwrap();
        assemble(&input, &key.sign(input.as_bytes()).to_bytes())
    }

    fn merchant() -> MerchantId {
        MerchantId::parse("m-1").unwrap()
    }

    fn gates() -> GateGroup {
        GateGroup::parse("berlin-1").unwrap()
    }

    /// Key 1 signs passes, 2 retired, 3 is not yet valid, 4 signs catalogues.
    fn keys() -> KeySet {
        let entry = |seed, usage, nbf, exp| KeyEntry { key: key(seed).1, usage, nbf: at(nbf), exp: at(exp) };
        KeySet {
            merchant_id: merchant(),
            seq: 1,
            issued_at: at(-10_000),
            keys: vec![
                entry(1, KeyUse::Pass, -10_000, 10_000),
                entry(2, KeyUse::Pass, -10_000, -5),
                entry(3, KeyUse::Pass, 5, 10_000),
                entry(4, KeyUse::Catalogue, -10_000, 10_000),
            ],
        }
    }

    fn pass(device: u8) -> ExitPass {
        ExitPass {
            jti: PassId::new(at(0), [1; 10]),
            merchant_id: merchant(),
            store_id: StoreId::parse("berlin-1").unwrap(),
            gate_group: gates(),
            trip_id: TripId::new(at(0), [2; 10]),
            cnf: Confirmation { jwk: key(device).1.to_jwk() },
            amount: Currency::parse("EUR").unwrap().minor(12_345),
            item_count: 17,
            iat: at(0),
            exp: at(1800),
        }
    }

    fn show(pass_jws: &str, pass: &ExitPass, seed: u8, now: Timestamp) -> String {
        let (key, public) = key(seed);
        let input = presentation_input(pass, Algorithm::Ed25519, &public.key_id(), now).unwrap();
        presentation_text(pass_jws, &input, &key.sign(input.as_bytes()).to_bytes())
    }

    fn check(text: &str, now: Timestamp) -> Result<(), (String, String)> {
        match verify_presentation(text, &keys(), &merchant(), &gates(), now) {
            Ok(_) => Ok(()),
            Err(WalkpayError::Untrusted { document, check, .. }) => Err((document, check)),
            Err(other) => panic!("{other}"),
        }
    }

    fn refused(check: &str) -> Result<(), (String, String)> {
        Err((ExitPass::TYP.into(), check.into()))
    }

    fn not_shown(check: &str) -> Result<(), (String, String)> {
        Err((PassPresentation::TYP.into(), check.into()))
    }

    #[test]
    fn opens_while_it_is_valid_and_shown_now() {
        let pass = pass(9);
        let jws = sign(&pass, 1);
        for second in [0, 29, 900, 1799] {
            assert_eq!(check(&show(&jws, &pass, 9, at(second)), at(second)), Ok(()), "{second}");
        }
        assert_eq!(check(&show(&jws, &pass, 9, at(1800)), at(1800)), refused("expired"));
        assert_eq!(check(&show(&jws, &pass, 9, at(-31)), at(-31)), refused("not_yet_valid"));
    }

    #[test]
    fn a_screenshot_opens_nothing() {
        let pass = pass(9);
        let shown = show(&sign(&pass, 1), &pass, 9, at(300));
        assert_eq!(check(&shown, at(300 + 59)), Ok(()), "one step of tolerance");
        assert_eq!(check(&shown, at(300 + 60)), not_shown("step"));
        assert_eq!(check(&shown, at(300 - 30)), Ok(()));
        assert_eq!(check(&shown, at(300 - 31)), not_shown("step"));
    }

    #[test]
    fn another_device_cannot_show_it() {
        let pass = pass(9);
        let jws = sign(&pass, 1);
        assert_eq!(check(&show(&jws, &pass, 8, at(0)), at(0)), not_shown("kid"));
        let (thief, _) = key(8);
        let input = presentation_input(&pass, Algorithm::Ed25519, &key(9).1.key_id(), at(0)).unwrap();
        let text = presentation_text(&jws, &input, &thief.sign(input.as_bytes()).to_bytes());
        assert_eq!(check(&text, at(0)), not_shown("signature"));
        let mut other = pass.clone();
        other.jti = PassId::new(at(0), [3; 10]);
        assert_eq!(check(&show(&jws, &other, 9, at(0)), at(0)), not_shown("jti"));
    }

    #[test]
    fn only_a_valid_key_for_passes_signs_passes() {
        let pass = pass(9);
        let by = |seed| check(&show(&sign(&pass, seed), &pass, 9, at(0)), at(0));
        assert_eq!(by(2), refused("key_retired"));
        assert_eq!(by(3), refused("key_not_yet_valid"));
        assert_eq!(by(4), refused("key_use"));
        assert_eq!(by(5), refused("kid"));
    }

    #[test]
    fn bound_to_merchant_group_and_time() {
        let changed = |change: &dyn Fn(&mut ExitPass)| {
            let mut pass = pass(9);
            change(&mut pass);
            check(&show(&sign(&pass, 1), &pass, 9, at(0)), at(0))
        };
        assert_eq!(changed(&|p| p.merchant_id = MerchantId::parse("m-2").unwrap()), refused("merchant"));
        assert_eq!(changed(&|p| p.gate_group = GateGroup::parse("x").unwrap()), refused("gate_group"));
        assert_eq!(changed(&|p| p.exp = at(1801)), refused("lifetime"));
        assert_eq!(changed(&|p| p.exp = p.iat), refused("lifetime"));
        let weak = Jwk { kty: "OKP".into(), crv: "Ed25519".into(), x: "AA".into(), y: None };
        assert_eq!(changed(&|p| p.cnf.jwk = weak.clone()), refused("cnf"));
    }

    #[test]
    fn every_bit_counts() {
        let pass = pass(9);
        let text = show(&sign(&pass, 1), &pass, 9, at(0));
        for byte in 0..text.len() {
            let mut flipped = text.clone().into_bytes();
            flipped[byte] ^= 1;
            if let Ok(flipped) = String::from_utf8(flipped) {
                assert!(check(&flipped, at(0)).is_err(), "byte {byte}");
            }
        }
        assert_eq!(check(&text.replace('~', ""), at(0)), refused("form"));
        assert_eq!(check(&format!("{text}~"), at(0)), not_shown("form"));
        assert_eq!(check(&"x".repeat(MAX_PRESENTATION + 1), at(0)), refused("size"));
    }

    #[test]
    fn fits_a_qr_code_at_level_m() {
        let mut longest = pass(9);
        longest.merchant_id = MerchantId::parse(&"m".repeat(40)).unwrap();
        longest.store_id = StoreId::parse(&"s".repeat(40)).unwrap();
        longest.gate_group = GateGroup::parse(&"g".repeat(40)).unwrap();
        longest.amount = Currency::parse("EUR").unwrap().minor(99_999_999);
        longest.item_count = 9_999;
        let text = show(&sign(&longest, 1), &longest, 9, at(0));
        let code = qrcodegen::QrCode::encode_text(&text, qrcodegen::QrCodeEcc::Medium).unwrap();
        assert!(code.version().value() <= 33, "{} bytes, version {}", text.len(), code.version().value());
    }
}
