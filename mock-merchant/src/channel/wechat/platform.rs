//! The platform's keys: certificates that are fetched, decrypted and rotate, or the one public key that newer merchants are given.

use super::cipher::ApiV3Key;
use super::signature::{Seal, answer_message, is_fresh};
use super::wire::Certificates;
use crate::channel::rsa_key::RsaPublic;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use walkpay::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

/// The most certificates that are taken at once.
const MAX_CERTIFICATES: usize = 20;
/// The longest certificate, PEM.
const MAX_PEM: usize = 16 * 1024;
/// After this long the list is fetched again although nothing asks for it.
const REFRESH: Duration = Duration::from_secs(12 * 3600);
/// How long a serial number that the platform did not know either is not asked for again: anybody can name any.
const FRUITLESS: Duration = Duration::from_secs(10);

/// Why a certificate is not the platform's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("expected a certificate in PEM with an RSA key")]
    Unreadable,
    /// It is not the one that the list names.
    #[error("its serial number is not the one that it is listed under")]
    Serial,
    /// The authority that the merchant trusts has not signed it.
    #[error("not issued by the authority that is trusted")]
    Issuer,
}

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// Headers are missing or have another form.
    #[error("no signature")]
    Missing,
    /// It was made more than five minutes before or after now.
    #[error("a signature of another time")]
    Stale,
    /// By a key that is not known, or not valid now.
    #[error("a signature by a key that is not the platform's now")]
    UnknownKey,
    /// Not of this body by this key.
    #[error("a signature of something else")]
    Signature,
}

/// A key that the platform signs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformKey {
    /// The serial number of its certificate, in upper case without leading zeros, or its name.
    serial: String,
    public: RsaPublic,
    /// First and last moment of its validity; `None`: always.
    valid: Option<(Timestamp, Timestamp)>,
}

impl PlatformKey {
    /// A public key without a certificate.
    pub fn named(name: &str, public: RsaPublic) -> Self {
        Self { serial: name.to_owned(), public, valid: None }
    }

    /// The key of a certificate that is listed as `serial`, issued by `authority` (PEM) if there is one.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn of_certificate(pem: &[u8], serial: &str, authority: Option<&str>) -> Result<Self, CertificateError> {
        if pem.len() > MAX_PEM {
            return Err(CertificateError::Unreadable);
        }
        let (_, pem) = parse_x509_pem(pem).map_err(|_| CertificateError::Unreadable)?;
        let certificate = read(&pem.contents)?;
        if let Some(authority) = authority {
            let (_, authority) = parse_x509_pem(authority.as_bytes()).map_err(|_| CertificateError::Issuer)?;
            let authority = read(&authority.contents).map_err(|_| CertificateError::Issuer)?;
            let issued = authority.is_ca()
                && authority.subject().as_raw() == certificate.issuer().as_raw()
                && certificate.verify_signature(Some(authority.public_key())).is_ok();
            if !issued {
                return Err(CertificateError::Issuer);
            }
        }
        let own: String = certificate.raw_serial().iter().map(|byte| format!("{byte:02X}")).collect();
        if normal(&own) != normal(serial) {
            return Err(CertificateError::Serial);
        }
        let rsa = certificate
            .public_key()
            .parsed()
            .is_ok_and(|key| matches!(key, x509_parser::public_key::PublicKey::RSA(_)));
        if !rsa {
            return Err(CertificateError::Unreadable);
        }
        let validity = certificate.validity();
        let at = |time: i64| Timestamp::from_millis(time.saturating_mul(1000));
        Ok(Self {
            serial: normal(serial),
            public: RsaPublic::from_pkcs1_der(&certificate.public_key().subject_public_key.data),
            valid: Some((at(validity.not_before.timestamp()), at(validity.not_after.timestamp()))),
        })
    }

    fn is_valid(&self, now: Timestamp) -> bool {
        self.valid.is_none_or(|(from, until)| from <= now && now <= until)
    }
}

fn read(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    X509Certificate::from_der(der).map(|(_, certificate)| certificate).map_err(|_| CertificateError::Unreadable)
}

fn normal(serial: &str) -> String {
    serial.trim_start_matches('0').to_ascii_uppercase()
}

/// The keys that are known.
#[derive(Debug)]
pub struct Platform {
    api_key: ApiV3Key,
    authority: Option<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: Vec<PlatformKey>,
    fetched: Option<Timestamp>,
    fruitless: Option<Timestamp>,
}

impl Platform {
    /// Nothing fetched yet; `fixed` is the public key that the console shows, if the merchant was given one. Only certificates by
    /// `authority` (PEM) are taken, if there is one.
    pub fn new(api_key: ApiV3Key, fixed: Option<PlatformKey>, authority: Option<String>) -> Self {
        let state = State { keys: fixed.into_iter().collect(), fetched: None, fruitless: None };
        Self { api_key, authority, state: Mutex::new(state) }
    }

    /// Verifies a signature of `body`.
    ///
    /// # Errors
    /// [`Unverified`].
    pub fn verify(&self, now: Timestamp, seal: &Seal, body: &[u8]) -> Result<(), Unverified> {
        let keys = self.lock().keys.clone();
        verify(&keys, now, seal, body)
    }

    /// Whether the list is to be fetched before anything is asked.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let state = self.lock();
        match state.fetched {
            Some(at) => now.since(at) >= REFRESH || !state.keys.iter().any(|k| k.is_valid(now)),
            None => state.keys.iter().all(|k| k.valid.is_some()),
        }
    }

    /// Whether fetching the list may help to verify this.
    pub fn may_help(&self, now: Timestamp, seal: &Seal) -> bool {
        let state = self.lock();
        let known = state.keys.iter().any(|k| k.serial == normal(&seal.serial) && k.is_valid(now));
        !known && state.fruitless.is_none_or(|at| now.since(at) >= FRUITLESS)
    }

    /// Notes that the platform did not know the serial number of this either.
    pub fn noted(&self, now: Timestamp, seal: &Seal) {
        let mut state = self.lock();
        if !state.keys.iter().any(|k| k.serial == normal(&seal.serial)) {
            state.fruitless = Some(now);
        }
    }

    /// Takes a list in, which must be signed with one of the keys that are in it or were known before. Those known before stay
    /// until their own end.
    ///
    /// # Errors
    /// Why not; nothing was taken then.
    pub fn take(&self, now: Timestamp, seal: &Seal, body: &[u8]) -> Result<(), String> {
        let list: Certificates = serde_json::from_slice(body).map_err(|_| "no list of certificates".to_owned())?;
        if list.data.len() > MAX_CERTIFICATES {
            return Err(format!("more than {MAX_CERTIFICATES} certificates"));
        }
        let mut keys = Vec::new();
        for listed in &list.data {
            let pem = self.api_key.open(&listed.encrypt_certificate).map_err(|e| e.to_string())?;
            let key = PlatformKey::of_certificate(&pem, &listed.serial_no, self.authority.as_deref());
            keys.push(key.map_err(|e| format!("certificate {}: {e}", clip(&listed.serial_no)))?);
        }
        let mut state = self.lock();
        for known in &state.keys {
            let kept = known.valid.is_none() || known.is_valid(now);
            if kept && !keys.iter().any(|k| k.serial == known.serial) {
                keys.push(known.clone());
            }
        }
        keys.truncate(2 * MAX_CERTIFICATES);
        verify(&keys, now, seal, body).map_err(|e| e.to_string())?;
        state.keys = keys;
        state.fetched = Some(now);
        Ok(())
    }

    /// The serial numbers that are valid now.
    pub fn serials(&self, now: Timestamp) -> Vec<String> {
        self.lock().keys.iter().filter(|k| k.is_valid(now)).map(|k| k.serial.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn verify(keys: &[PlatformKey], now: Timestamp, seal: &Seal, body: &[u8]) -> Result<(), Unverified> {
    if !is_fresh(now, seal.seconds().ok_or(Unverified::Missing)?) {
        return Err(Unverified::Stale);
    }
    let serial = normal(&seal.serial);
    let key = keys.iter().find(|k| normal(&k.serial) == serial && k.is_valid(now)).ok_or(Unverified::UnknownKey)?;
    let signature = seal.bytes().ok_or(Unverified::Signature)?;
    let message = answer_message(&seal.timestamp, &seal.nonce, body);
    if key.public.verifies(&message, &signature) { Ok(()) } else { Err(Unverified::Signature) }
}

/// What came from outside, short enough for a log.
pub(super) fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::rsa_key::RsaKey;
    use crate::channel::wechat::sim::keys::{PLATFORM, STRANGER};
    use crate::channel::wechat::sim::{Issued, authority, expired, issue};
    use crate::channel::wechat::wire::Certificate;

    const KEY: &str = "0123456789abcdef0123456789abcdef";
    /// In 2026.
    const NOON: i64 = 1_780_000_000_000;

    fn noon() -> Timestamp {
        Timestamp::from_millis(NOON)
    }

    fn platform() -> Platform {
        Platform::new(ApiV3Key::parse(KEY).unwrap(), None, Some(authority().unwrap()))
    }

    fn list(issued: &[&Issued], key: &str) -> Vec<u8> {
        let key = ApiV3Key::parse(key).unwrap();
        let one = |issued: &&Issued| Certificate {
            serial_no: issued.serial.clone(),
            effective_time: String::new(),
            expire_time: String::new(),
            encrypt_certificate: key.seal("0123456789ab", "certificate", issued.pem.as_bytes()).unwrap(),
        };
        serde_json::to_vec(&Certificates { data: issued.iter().map(one).collect() }).unwrap()
    }

    fn seal(issued: &Issued, now: Timestamp, body: &[u8]) -> Seal {
        Seal::make(&RsaKey::parse(PLATFORM[issued.key]).unwrap(), &issued.serial, now, "nonce", body).unwrap()
    }

    /// Has the platform list these, by the last of them.
    fn fetch(platform: &Platform, now: Timestamp, issued: &[&Issued]) -> Result<(), String> {
        let body = list(issued, KEY);
        platform.take(now, &seal(issued[issued.len() - 1], now, &body), &body)
    }

    #[test]
    fn a_new_certificate_is_asked_for_once_and_the_old_one_holds_until_its_end() {
        let (old, new) = (issue(noon(), 0).unwrap(), issue(noon().plus(REFRESH), 1).unwrap());
        assert_ne!(old.serial, new.serial);
        let platform = platform();
        assert!(platform.is_due(noon()), "nothing is known yet");
        fetch(&platform, noon(), &[&old]).unwrap();
        assert!(!platform.is_due(noon()) && platform.is_due(noon().plus(REFRESH)));
        let by = |issued: &Issued, now| platform.verify(now, &seal(issued, now, b"body"), b"body");
        assert_eq!(by(&old, noon()), Ok(()));
        assert_eq!(by(&new, noon()), Err(Unverified::UnknownKey));
        assert!(
            platform.may_help(noon(), &seal(&new, noon(), b"body"))
                && !platform.may_help(noon(), &seal(&old, noon(), b"body"))
        );
        // The platform lists the new one only, signed with it.
        fetch(&platform, noon(), &[&new]).unwrap();
        assert_eq!((by(&old, noon()), by(&new, noon())), (Ok(()), Ok(())));
        let end = old.until;
        assert_eq!((by(&old, end), by(&new, end)), (Ok(()), Ok(())), "to the last second");
        let over = end.plus(Duration::from_secs(1));
        assert_eq!((by(&old, over), by(&new, over)), (Err(Unverified::UnknownKey), Ok(())));
        assert!(platform.may_help(over, &seal(&old, over, b"body")), "perhaps it was issued anew");
        fetch(&platform, over, &[&new]).unwrap();
        assert_eq!(platform.serials(over), std::slice::from_ref(&new.serial), "what is over is forgotten");
    }

    #[test]
    fn a_serial_number_that_nobody_knows_is_not_asked_for_again_at_once() {
        let known = issue(noon(), 0).unwrap();
        let platform = platform();
        fetch(&platform, noon(), &[&known]).unwrap();
        let forged = Seal { serial: "5F00".into(), ..seal(&known, noon(), b"body") };
        assert!(platform.may_help(noon(), &forged));
        platform.noted(noon(), &forged);
        assert!(!platform.may_help(noon().plus(FRUITLESS / 2), &forged));
        assert!(platform.may_help(noon().plus(FRUITLESS), &forged));
    }

    #[test]
    fn only_the_platforms_own_certificates_are_taken() {
        let good = issue(noon(), 0).unwrap();
        let body = list(&[&good], KEY);
        let foreign = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
        let take = |seal: &Seal, body: &[u8]| platform().take(noon(), seal, body);
        assert!(take(&seal(&good, noon(), &body), &body).is_ok());
        let stranger = Seal::make(&RsaKey::parse(STRANGER).unwrap(), &good.serial, noon(), "nonce", &body).unwrap();
        assert!(take(&stranger, &body).is_err(), "the list itself is signed");
        assert!(take(&seal(&good, noon().minus(Duration::from_secs(301)), &body), &body).is_err(), "lately");
        assert!(take(&seal(&good, noon(), &body), b"{}").is_err());
        let other_key = list(&[&good], &"0".repeat(32));
        assert!(take(&seal(&good, noon(), &other_key), &other_key).is_err(), "encrypted with another key");
        for bad in [
            Issued { serial: "5F".into(), ..good.clone() },
            Issued { pem: "nonsense".into(), ..good.clone() },
            Issued { pem: foreign, ..good.clone() },
        ] {
            let body = list(&[&bad], KEY);
            assert!(take(&seal(&good, noon(), &body), &body).is_err(), "{bad:?}");
        }
        let gone = expired(noon(), 0).unwrap();
        let body = list(&[&gone], KEY);
        assert!(take(&seal(&gone, noon(), &body), &body).is_err(), "a certificate that has expired signs nothing");
        let many = list(&[&good; MAX_CERTIFICATES + 1], KEY);
        assert!(take(&seal(&good, noon(), &many), &many).is_err());
    }

    #[test]
    fn a_certificate_is_by_the_authority_that_is_trusted() {
        let good = issue(noon(), 0).unwrap();
        let of =
            |pem: &str, authority: Option<&str>| PlatformKey::of_certificate(pem.as_bytes(), &good.serial, authority);
        let trusted = authority().unwrap();
        assert!(of(&good.pem, Some(&trusted)).is_ok() && of(&good.pem, None).is_ok());
        assert_eq!(of(&good.pem, Some(&good.pem)).unwrap_err(), CertificateError::Issuer, "it is no authority");
        let foreign = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
        assert_eq!(of(&good.pem, Some(&foreign)).unwrap_err(), CertificateError::Issuer);
        assert_eq!(of(&foreign, Some(&trusted)).unwrap_err(), CertificateError::Issuer);
        let lower = PlatformKey::of_certificate(good.pem.as_bytes(), &good.serial.to_lowercase(), None);
        assert!(lower.is_ok(), "digits in either case");
    }

    #[test]
    fn a_public_key_in_place_of_certificates_needs_no_list() {
        let key = RsaKey::parse(PLATFORM[0]).unwrap();
        let fixed = PlatformKey::named("PUB_KEY_ID_1", key.public().clone());
        let platform = Platform::new(ApiV3Key::parse(KEY).unwrap(), Some(fixed), None);
        assert!(!platform.is_due(noon()));
        let named = Seal::make(&key, "PUB_KEY_ID_1", noon(), "nonce", b"body").unwrap();
        assert_eq!(platform.verify(noon(), &named, b"body"), Ok(()));
        assert_eq!(platform.verify(noon(), &named, b"bodz"), Err(Unverified::Signature));
        let other = Seal { serial: "PUB_KEY_ID_2".into(), ..named };
        assert_eq!(platform.verify(noon(), &other, b"body"), Err(Unverified::UnknownKey));
    }
}
