//! OpenAPI schemas of the types that are written as strings on the wire.

use crate::money::{Currency, Money};
use crate::protocol::document::ReasonCode;
use crate::protocol::jws::MAX_JWS;
use crate::{id::*, time::Timestamp};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String))
}

macro_rules! string_schema {
    ($($type:ty => $name:literal, $pattern:expr, $example:expr;)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                string().pattern(Some($pattern)).examples([$example]).build().into()
            }
        }
        impl ToSchema for $type {
            fn name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
        }
    )*};
}

const UUID7: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$";
const UUID7_EXAMPLE: &str = "018bcfe5-6800-7707-8707-070707070707";

string_schema! {
    TripId => "TripId", UUID7, UUID7_EXAMPLE;
    HoldId => "HoldId", UUID7, UUID7_EXAMPLE;
    DeviceId => "DeviceId", UUID7, UUID7_EXAMPLE;
    PassId => "PassId", UUID7, UUID7_EXAMPLE;
    MerchantId => "MerchantId", "^[0-9A-Za-z_.-]{1,40}$", "demo";
    StoreId => "StoreId", "^[0-9A-Za-z_.-]{1,40}$", "demo-1";
    Sub => "Sub", "^[0-9A-Za-z_-]{1,40}$", "u_5f2c";
    UserName => "UserName", "^[0-9A-Za-z_.@+-]{1,64}$", "alice";
    GateGroup => "GateGroup", "^[0-9A-Za-z_.-]{1,40}$", "demo-1";
    KeyId => "KeyId", "^[0-9A-Za-z_-]{1,43}$", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    ServiceNumber => "ServiceNumber", "^[0-9]{15}$", "000000000000042";
    SlipNumber => "SlipNumber", "^[0-9]{18}$", "000000000000000042";
    PaymentId => "PaymentId", UUID7, UUID7_EXAMPLE;
    RefundId => "RefundId", UUID7, UUID7_EXAMPLE;
    SourceId => "SourceId", "^[0-9A-Za-z_.-]{1,40}$", "delivery";
    Currency => "Currency", "^[A-Z]{3}$", "EUR";
}

/// A signed document in a body (RFC 7515 §3.1).
pub struct Jws;

impl PartialSchema for Jws {
    fn schema() -> RefOr<Schema> {
        string()
            .description(Some("A signed document: compact JWS, see docs/protocol.md"))
            .pattern(Some("^[0-9A-Za-z_-]+[.][0-9A-Za-z_-]+[.][0-9A-Za-z_-]+$"))
            .max_length(Some(MAX_JWS))
            .build()
            .into()
    }
}
impl ToSchema for Jws {}

/// Bytes in a body (RFC 4648 §5, without padding).
pub struct Base64url;

impl PartialSchema for Base64url {
    fn schema() -> RefOr<Schema> {
        string().description(Some("base64url without padding")).pattern(Some("^[0-9A-Za-z_-]*$")).build().into()
    }
}
impl ToSchema for Base64url {}

impl PartialSchema for ReasonCode {
    fn schema() -> RefOr<Schema> {
        string().description(Some("A stable word, see docs/protocol.md")).examples(["price_mismatch"]).build().into()
    }
}
impl ToSchema for ReasonCode {}

/// RFC 3339 in UTC, from 1970 on, only days that exist.
const TIME: &str = concat!(
    "^((19[7-9][0-9]|[2-9][0-9]{3})-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)",
    "|(19(7[26]|8[048]|9[26])|[2-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[3579][26])00)-02-29)",
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{3})?Z$",
);

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        string()
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .pattern(Some(TIME))
            .examples(["2026-01-31T09:49:59.007Z"])
            .build()
            .into()
    }
}
impl ToSchema for Timestamp {}

impl PartialSchema for Money {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .property("amount", string().pattern(Some(r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,4})?$")).examples(["12.30"]))
            .property("currency", <Currency as PartialSchema>::schema())
            .required("amount")
            .required("currency")
            .build()
            .into()
    }
}
impl ToSchema for Money {}
