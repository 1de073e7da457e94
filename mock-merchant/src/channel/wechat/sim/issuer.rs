//! The authority of the simulated gateway: it issues the platform's certificates (X.509, RFC 5280).

use super::keys::{AUTHORITY, PLATFORM};
use jiff::tz::TimeZone;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256, SerialNumber, date_time_ymd,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use walkpay::protocol::crypto::sha256;
use walkpay::{Timestamp, WalkpayError};

/// How long a certificate is valid.
pub const LIFE: Duration = Duration::from_secs(5 * 365 * 24 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A certificate of the platform, and which of its keys it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// 40 hexadecimal digits.
    pub serial: String,
    /// The certificate.
    pub pem: String,
    /// Position in [`PLATFORM`].
    pub key: usize,
    /// From when on it is valid, a whole day.
    pub from: Timestamp,
    /// Until when, a whole day.
    pub until: Timestamp,
}

/// Issues the `n`th certificate, valid from the day before `now` for five years.
///
/// # Errors
/// [`WalkpayError::Internal`].
pub fn issue(now: Timestamp, n: usize) -> Result<Issued, WalkpayError> {
    valid(n, day(now.minus(DAY)), day(now.plus(LIFE)))
}

/// Issues a certificate whose time is over.
///
/// # Errors
/// [`WalkpayError::Internal`].
pub fn expired(now: Timestamp, n: usize) -> Result<Issued, WalkpayError> {
    valid(n, day(now.minus(LIFE)), day(now.minus(DAY)))
}

/// The certificate of the authority itself, PEM: always the same.
///
/// # Errors
/// [`WalkpayError::Internal`].
pub fn authority() -> Result<String, WalkpayError> {
    let (params, key) = root()?;
    Ok(params.self_signed(&key).map_err(|e| failed(&e))?.pem())
}

fn valid(n: usize, from: Timestamp, until: Timestamp) -> Result<Issued, WalkpayError> {
    let key = n % PLATFORM.len();
    let pair = key_pair(PLATFORM.get(key).copied().unwrap_or_default())?;
    let digest = sha256(format!("{n} {from} {until}").as_bytes());
    let mut serial: Vec<u8> = digest.iter().take(20).copied().collect();
    if let Some(first) = serial.first_mut() {
        // A positive number of twenty bytes.
        *first = (*first & 0x3f) | 0x40;
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = name("Walkpay simulated platform");
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let (from_date, until_date) = (date(from)?, date(until)?);
    params.not_before = date_time_ymd(from_date.0, from_date.1, from_date.2);
    params.not_after = date_time_ymd(until_date.0, until_date.1, until_date.2);
    let (root, root_key) = root()?;
    let certificate = params.signed_by(&pair, &Issuer::new(root, root_key)).map_err(|e| failed(&e))?;
    let serial = serial.iter().map(|b| format!("{b:02X}")).collect();
    Ok(Issued { serial, pem: certificate.pem(), key, from, until })
}

fn root() -> Result<(CertificateParams, KeyPair), WalkpayError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("Walkpay simulated authority");
    params.serial_number = Some(SerialNumber::from_slice(&[1]));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2099, 1, 1));
    Ok((params, key_pair(AUTHORITY)?))
}

fn key_pair(pem: &str) -> Result<KeyPair, WalkpayError> {
    KeyPair::from_pkcs8_pem_and_sign_algo(pem, &PKCS_RSA_SHA256).map_err(|e| failed(&e))
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// The beginning of the day, UTC.
fn day(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis() - time.as_millis().rem_euclid(24 * 3600 * 1000))
}

/// Year, month and day, UTC.
fn date(time: Timestamp) -> Result<(i32, u8, u8), WalkpayError> {
    let time = jiff::Timestamp::from_millisecond(time.as_millis()).map_err(|e| failed(&e))?;
    let date = time.to_zoned(TimeZone::UTC).date();
    let (month, day) = (u8::try_from(date.month()).unwrap_or(1), u8::try_from(date.day()).unwrap_or(1));
    Ok((i32::from(date.year()), month, day))
}

fn failed(why: &dyn std::fmt::Display) -> WalkpayError {
    WalkpayError::Internal { detail: format!("the simulated gateway's certificates: {why}") }
}
