//! Standard Webhooks, the sender's side (standardwebhooks.com, specification 1.0): signatures, secrets, and which addresses
//! may be called at all.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Url};

/// What the text of a secret begins with.
const PREFIX: &str = "whsec_";
/// The longest address.
const MAX_URL: usize = 1_000;

/// A secret as its owner gets it.
pub fn secret_text(secret: &[u8]) -> String {
    format!("{PREFIX}{}", STANDARD.encode(secret))
}

/// The value of `webhook-signature`: one signature per secret, over `{id}.{timestamp}.{body}`; `timestamp` in seconds.
pub fn signatures(secrets: &[Vec<u8>], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signed = [id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body].concat();
    let one = |secret: &Vec<u8>| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &signed);
        format!("v1,{}", STANDARD.encode(tag))
    };
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Why an address cannot be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is none.
    #[error("expected an address of at most 1,000 characters, such as https://service.example/webhooks")]
    Form,
    /// It would travel in the clear.
    #[error("expected https (http only on loopback, and only where private addresses are allowed)")]
    Scheme,
    /// Names and passwords do not belong into addresses.
    #[error("expected an address without user name, password and fragment")]
    Extra,
    /// It leads into a network that outsiders must not reach through this server.
    #[error("expected a public address")]
    Private,
}

impl AddressError {
    /// A stable word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Private => "private_address",
            _ => "address",
        }
    }
}

/// Checks an address as far as it can be without resolving its name. With `private`, addresses that are not public are allowed,
/// and `http` on loopback.
///
/// # Errors
/// [`AddressError`].
pub fn check_url(url: &str, private: bool) -> Result<Url, AddressError> {
    if url.len() > MAX_URL || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(AddressError::Form);
    }
    let parsed = Url::parse(url).map_err(|_| AddressError::Form)?;
    // The parser has made dotted decimal of every other way to write an address (WHATWG URL §3.5).
    let (literal, loopback) = match parsed.host() {
        Some(Host::Domain(name)) => (None, name == "localhost"),
        Some(Host::Ipv4(ip)) => (Some(IpAddr::V4(ip)), ip.is_loopback()),
        Some(Host::Ipv6(ip)) => (Some(IpAddr::V6(ip)), ip.is_loopback()),
        None => return Err(AddressError::Form),
    };
    match parsed.scheme() {
        "https" => {}
        "http" if private && loopback => {}
        _ => return Err(AddressError::Scheme),
    }
    if !parsed.username().is_empty() || parsed.password().is_some() || parsed.fragment().is_some() {
        return Err(AddressError::Extra);
    }
    if !private && literal.is_some_and(|ip| !is_public(ip)) {
        return Err(AddressError::Private);
    }
    Ok(parsed)
}

/// Whether an address belongs to the public Internet (RFC 6890 and its registries), so that it can be no service of the network
/// that the server stands in, its loopback or a cloud's metadata included.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(mapped) => is_public_v4(mapped),
            None => is_public_v6(ip),
        },
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let other = match (a, b, c) {
        // this network; carrier-grade NAT; protocol assignments; 6to4 relays; benchmarks; reserved and broadcast
        (0, _, _) | (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99) | (198, 18..=19, _) | (240..=255, _, _) => true,
        _ => false,
    };
    !(other || ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_documentation())
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    // Only 2000::/3 is global unicast; in it, addresses with IPv4 inside (Teredo, 6to4), protocol assignments and documentation
    // are not.
    let inside = matches!((a, b), (0x2001, 0..=0x01ff | 0x0db8) | (0x2002 | 0x3fff, _));
    (0x2000..=0x3fff).contains(&a) && !inside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of the specification, "Signature scheme".
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(
            signatures(std::slice::from_ref(&secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            signature
        );
        assert_eq!(secret_text(&secret), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let two = signatures(&[b"new".to_vec(), secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(two.split(' ').nth(1), Some(signature));
    }

    #[test]
    fn private_addresses_are_seen_in_every_spelling() {
        for bad in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://0/",
            "https://10.1.2.3/",
            "https://172.16.0.1/",
            "https://192.168.1.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
            "https://192.0.2.1/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:a00:1]/",
            "https://[::127.0.0.1]/",
            "https://[fe80::1]/",
            "https://[fd00:ec2::254]/",
            "https://[ff02::1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[2001:0:7f00:1::]/",
            "https://[2001:db8::1]/",
        ] {
            assert_eq!(check_url(bad, false), Err(AddressError::Private), "{bad}");
            assert!(check_url(bad, true).is_ok(), "{bad}");
        }
        for good in ["https://service.example/a?b=c", "https://93.184.216.34/", "https://[2606:2800:220:1::1]:8443/"] {
            assert!(check_url(good, false).is_ok(), "{good}");
        }
    }

    #[test]
    fn only_https_or_http_on_an_allowed_loopback() {
        assert_eq!(check_url("http://service.example/", true), Err(AddressError::Scheme));
        assert_eq!(check_url("http://127.0.0.1:1/", false), Err(AddressError::Scheme));
        assert_eq!(check_url("http://10.0.0.1/", true), Err(AddressError::Scheme));
        assert!(check_url("http://127.0.0.1:8080/x", true).is_ok() && check_url("http://localhost/", true).is_ok());
        assert_eq!(check_url("https://a:b@service.example/", false), Err(AddressError::Extra));
        assert_eq!(check_url("https://service.example/#x", false), Err(AddressError::Extra));
        for bad in ["", "service.example", "https://", "https://a b/", "https://a/\n", "file:///etc/passwd", "ftp://a/"]
        {
            assert!(check_url(bad, true).is_err(), "{bad}");
        }
        assert_eq!(check_url(&format!("https://a/{}", "x".repeat(1_000)), false), Err(AddressError::Form));
    }
}
