//! Identifiers. One that exists is well-formed.

use crate::error::WalkpayError;
use crate::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier (UUIDv7, RFC 9562 §5.7) from the present and ten random bytes.
            pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
                let millis = u64::try_from(now.as_millis()).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            /// Parses the hyphenated lower-case form of a UUIDv7.
            ///
            /// # Errors
            /// [`WalkpayError::InvalidInput`] for any other text.
            pub fn parse(text: &str) -> Result<Self, WalkpayError> {
                let bad = || WalkpayError::invalid(stringify!($name), "a lower-case hyphenated UUIDv7", text);
                let id = Uuid::try_parse(text).map_err(|_| bad())?;
                let version_7 = id.get_version_num() == 7;
                if text.len() != 36 || !version_7 || text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(bad());
                }
                Ok(Self(id))
            }

            /// From the sixteen bytes of [`Self::as_bytes`].
            ///
            /// # Errors
            /// [`WalkpayError::InvalidInput`] unless they are those of a UUIDv7.
            pub fn from_bytes(bytes: [u8; 16]) -> Result<Self, WalkpayError> {
                let id = Uuid::from_bytes(bytes);
                if id.get_version_num() != 7 {
                    return Err(WalkpayError::invalid(stringify!($name), "the bytes of a UUIDv7", "others"));
                }
                Ok(Self(id))
            }

            /// The sixteen bytes, for compact storage.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = WalkpayError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Self::parse(s)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }

        uniffi::custom_type!($name, String, {
            try_lift: |text| Ok($name::parse(&text)?),
            lower: |id| id.to_string(),
        });
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max:literal, $also:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Parses the identifier.
            ///
            /// # Errors
            /// [`WalkpayError::InvalidInput`] when it is empty, too long or has other characters.
            pub fn parse(text: &str) -> Result<Self, WalkpayError> {
                let allowed = |c: char| c.is_ascii_alphanumeric() || $also.contains(c);
                if text.is_empty() || text.len() > $max || !text.chars().all(allowed) {
                    let expected = concat!("1 to ", $max, " ASCII letters, digits or any of ", $also);
                    return Err(WalkpayError::invalid(stringify!($name), expected, text));
                }
                Ok(Self(text.to_owned()))
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = WalkpayError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Self::parse(s)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }

        uniffi::custom_type!($name, String, {
            try_lift: |text| Ok($name::parse(&text)?),
            lower: |id| id.0,
        });
    };
}

uuid_id!(
    /// One visit to a store: the unit of money (design: "The trip is the unit of money").
    TripId
);
uuid_id!(
    /// One hold request; raising a hold makes a new one.
    HoldId
);
uuid_id!(
    /// One enrolment of one user on one installation: what two device keys belong to.
    DeviceId
);
uuid_id!(
    /// An exit pass (`jti`), spent once in a gate group.
    PassId
);
text_id!(
    /// A merchant; in every signed document.
    MerchantId, 40, "-_."
);
text_id!(
    /// A store of a merchant; in every signed document.
    StoreId, 40, "-_."
);
text_id!(
    /// The opaque identifier of a user at a merchant; says nothing about the person.
    Sub, 40, "-_"
);
text_id!(
    /// The name that a shopper signs in with (A22: the user name that accounts are bound to).
    UserName, 64, "-_.@+"
);
text_id!(
    /// The gates that share one list of spent exit passes.
    GateGroup, 40, "-_."
);
text_id!(
    /// A key: its RFC 7638 SHA-256 thumbprint, base64url.
    KeyId, 43, "-_"
);
uuid_id!(
    /// One try to pay a slip, made on the device: the idempotency key of that payment.
    PaymentId
);
uuid_id!(
    /// One refund of an order.
    RefundId
);
uuid_id!(
    /// A slip that was asked for on a device: its name there, and the idempotency key of its making.
    SlipId
);
text_id!(
    /// A service system that hands in orders (B01).
    SourceId, 40, "-_."
);

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $digits:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u64);

        impl $name {
            /// The highest number.
            pub const MAX: u64 = $max;

            /// The number `number`.
            ///
            /// # Errors
            /// [`WalkpayError::Limit`] above its highest one.
            pub fn new(number: u64) -> Result<Self, WalkpayError> {
                if number > Self::MAX {
                    return Err(WalkpayError::limit(stringify!($name), Self::MAX));
                }
                Ok(Self(number))
            }

            /// Parses exactly as many digits as it has.
            ///
            /// # Errors
            /// [`WalkpayError::InvalidInput`] for anything else.
            pub fn parse(text: &str) -> Result<Self, WalkpayError> {
                let digits = text.len() == $digits && text.bytes().all(|b| b.is_ascii_digit());
                let expected = concat!("exactly ", $digits, " digits");
                text.parse()
                    .ok()
                    .filter(|_| digits)
                    .map(Self)
                    .ok_or_else(|| WalkpayError::invalid(stringify!($name), expected, text))
            }

            /// The number without its leading zeros.
            pub fn number(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:0width$}", self.0, width = $digits)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = WalkpayError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Self::parse(s)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }

        uniffi::custom_type!($name, String, {
            try_lift: |text| Ok($name::parse(&text)?),
            lower: |number| number.to_string(),
        });
    };
}

number_id!(
    /// A service number (B02): exactly 15 digits, zero-padded, unique, never reused.
    ServiceNumber, 15, 999_999_999_999_999
);
number_id!(
    /// The number of a payment slip (B22): exactly 18 digits, zero-padded, unique, never reused.
    SlipNumber, 18, 999_999_999_999_999_999
);

impl KeyId {
    /// The thumbprint whose 32 digest bytes are given.
    pub(crate) fn of_digest(digest: &[u8; 32]) -> Self {
        Self(crate::protocol::crypto::base64url(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_version_7_and_lower_case() {
        let id = TripId::new(Timestamp::from_millis(1_700_000_000_000), [7; 10]);
        assert_eq!(id.to_string(), "018bcfe5-6800-7707-8707-070707070707");
        assert_eq!(TripId::parse(&id.to_string()).unwrap(), id);
        for bad in [
            "",
            "018bcfe568007707870707070707070707",
            "018BCFE5-6800-7707-8707-070707070707",
            "018bcfe5-6800-4707-8707-070707070707",
        ] {
            assert!(TripId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn service_numbers_have_exactly_15_digits() {
        let number = ServiceNumber::new(42).unwrap();
        assert_eq!(number.to_string(), "000000000000042");
        assert_eq!(ServiceNumber::parse("000000000000042").unwrap(), number);
        for bad in ["", "42", "0000000000000042", "00000000000004a", "+00000000000042"] {
            assert!(ServiceNumber::parse(bad).is_err(), "{bad}");
        }
        assert!(ServiceNumber::new(ServiceNumber::MAX + 1).is_err());
        assert_eq!(SlipNumber::new(42).unwrap().to_string(), "000000000000000042");
        assert!(SlipNumber::parse("000000000000042").is_err() && SlipNumber::new(SlipNumber::MAX + 1).is_err());
    }

    #[test]
    fn bytes_round_trip() {
        let id = TripId::new(Timestamp::from_millis(1_700_000_000_000), [7; 10]);
        assert_eq!(TripId::from_bytes(*id.as_bytes()).unwrap(), id);
        assert!(TripId::from_bytes([0; 16]).is_err());
    }

    #[test]
    fn text_ids_have_limits() {
        assert!(StoreId::parse("berlin-1").is_ok());
        for bad in ["", "a b", "ü", "a/b", &"x".repeat(41)] {
            assert!(StoreId::parse(bad).is_err(), "{bad}");
        }
    }
}
