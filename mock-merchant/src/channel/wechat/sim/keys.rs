//! The keys of the simulated gateway and of the merchant that it knows. They are published with the source and protect nothing:
//! the gateway is there only with `--sim`, on loopback.

/// The merchant's private key.
pub const MERCHANT: &str = include_str!("keys/merchant.pem");
/// The serial number of the merchant's certificate.
pub const MERCHANT_SERIAL: &str = "3775B6A45ACD588826D15E583A95F5DD5A3C7E21";
/// The platform's private keys; each rotation takes the next one.
pub const PLATFORM: [&str; 2] = [include_str!("keys/platform-1.pem"), include_str!("keys/platform-2.pem")];
/// The private key of the authority that issues the platform's certificates.
pub const AUTHORITY: &str = include_str!("keys/authority.pem");
/// Somebody else's private key.
pub const STRANGER: &str = include_str!("keys/stranger.pem");
/// The name of the platform's first public key, for merchants who use it instead of certificates.
pub const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_0119000000012026112200000000000001";
