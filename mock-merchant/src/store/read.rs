//! Reading columns into the types that are valid when they exist.

use crate::bank::port::Subject;
use rusqlite::Row;
use rusqlite::types::Type;
use std::str::FromStr;
use walkpay::protocol::crypto::{Jwk, PublicKey};
use walkpay::{Currency, DeviceId, HoldId, Money, PassId, Timestamp, TripId, WalkpayError};

/// A word of a fixed set, as it is stored.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// The word in the column.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl rusqlite::ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
                Ok(self.word().into())
            }
        }

        impl rusqlite::types::FromSql for $name {
            fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
                match value.as_str()? {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(rusqlite::types::FromSqlError::InvalidType),
                }
            }
        }
    };
}
pub(super) use words;

macro_rules! sixteen {
    ($($name:ident $type:ty;)*) => {$(
        pub(super) fn $name(row: &Row<'_>, column: usize) -> rusqlite::Result<$type> {
            <$type>::from_bytes(row.get(column)?).map_err(|e| unreadable(column, e))
        }
    )*};
}
sixteen! {
    trip TripId;
    hold HoldId;
    device_id DeviceId;
    pass PassId;
}

pub(super) fn subject(row: &Row<'_>, column: usize) -> rusqlite::Result<Subject> {
    Ok(Subject::from_bytes(row.get(column)?))
}

pub(super) fn optional_hold(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<HoldId>> {
    let bytes: Option<[u8; 16]> = row.get(column)?;
    bytes.map(HoldId::from_bytes).transpose().map_err(|e| unreadable(column, e))
}

pub(super) fn parsed<T: FromStr<Err = WalkpayError>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|e| unreadable(column, e))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

pub(super) fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

/// An amount whose currency is in `column` and whose minor units are in the next one.
pub(super) fn money(row: &Row<'_>, column: usize) -> rusqlite::Result<Money> {
    let currency: Currency = parsed(row, column)?;
    Ok(currency.minor(row.get(column + 1)?))
}

/// A number that is stored as the signed one of the same bits; those that are kept never exceed `i64`.
pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

/// What [`count`] reads.
pub(super) fn counted(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn jwk(row: &Row<'_>, column: usize) -> rusqlite::Result<Jwk> {
    serde_json::from_str(row.get_ref(column)?.as_str()?)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

pub(super) fn public_key(row: &Row<'_>, column: usize) -> rusqlite::Result<PublicKey> {
    jwk(row, column)?.to_key().map_err(|e| unreadable(column, e))
}

/// A key as [`public_key`] reads it.
pub(super) fn key_text(key: &PublicKey) -> Result<String, super::StoreError> {
    serde_json::to_string(&key.to_jwk()).map_err(|e| super::StoreError::Defect(format!("jwk: {e}")))
}

pub(super) fn unreadable(column: usize, e: WalkpayError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Null, Box::new(e))
}
