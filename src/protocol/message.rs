//! The bodies of HTTP requests and answers of terminals, gates and staff (docs/protocol.md).
//!
//! Signed documents are carried as compact JWS in string members.

use super::document::{Reason, Verdict};
use crate::id::*;
use crate::money::Money;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The largest body that a terminal sends: 500 lines with room.
pub const MAX_REQUEST_BODY: usize = 512 * 1024;
/// The largest body that a terminal reads, catalogue data aside.
pub const MAX_ANSWER_BODY: usize = 4 * 1024 * 1024;
/// The longest that a poll for events may wait at the merchant.
pub const MAX_WAIT_SECONDS: u64 = 50;
/// The most events in one page.
pub const MAX_EVENTS_PER_PAGE: usize = 100;

/// `POST /terminal/v1/enrolments`: answer. Unsigned request without a body; the terminal checks that the root key has the
/// thumbprint of its enrolment code before it sends the code anywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrolmentStart {
    /// The merchant.
    pub merchant_id: MerchantId,
    /// To be put into the proofs; good for a few minutes and for one enrolment.
    pub nonce: String,
    /// The root key, a JWK.
    pub root_key: super::crypto::Jwk,
    /// The key set, a JWS by the root.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Jws))]
    pub key_set: String,
}

/// `PUT /terminal/v1/enrolments/{device_id}`: request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrolmentRequest {
    /// The one-time code.
    pub code: String,
    /// For people: how the device calls itself (at most 80 characters).
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]{0,80}$", example = "Ann's phone")
    )]
    pub device_label: String,
    /// The proof, signed with the request key.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Jws))]
    pub request_proof: String,
    /// The same proof, signed with the consent key.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Jws))]
    pub consent_proof: String,
}

/// `PUT /terminal/v1/enrolments/{device_id}`: answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrolmentAnswer {
    /// An enrolment grant, a JWS.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Jws))]
    pub grant: String,
}

/// `PUT /terminal/v1/devices/{device_id}/keys`: request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyRotationRequest {
    /// A key rotation by the consent key in force, a JWS.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Jws))]
    pub rotation: String,
    /// The same document signed with the new request key.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Jws))]
    pub request_proof: String,
    /// The same document signed with the new consent key.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Jws))]
    pub consent_proof: String,
}

/// `PUT /terminal/v1/holds/{hold_id}`: request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HoldPut {
    /// A hold request, a JWS.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Jws))]
    pub hold: String,
}

/// `PUT /terminal/v1/trips/{trip_id}/attempts/{attempt}`: request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AttemptPut {
    /// A basket summary, a JWS.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Jws))]
    pub basket: String,
    /// The lines' bytes, base64url.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Base64url))]
    pub lines: String,
}

/// `PUT /terminal/v1/trips/{trip_id}/cancellation`: request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CancellationPut {
    /// A trip cancellation, a JWS.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Jws))]
    pub cancellation: String,
}

/// The answer to every PUT of the terminal API: it is on record. What comes of it follows as events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Recorded {
    /// When it was first taken in, by merchant time; the same in the answer to a repeat.
    pub recorded_at: Timestamp,
    /// The last event of this device at that moment: what follows has a higher `seq`.
    pub last_seq: u64,
}

/// `GET /terminal/v1/events?after=N&wait=S`: answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventsPage {
    /// Events after the cursor in order, each a JWS; empty when the wait ended without any.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::openapi::Jws>))]
    pub events: Vec<String>,
    /// A clock statement, a JWS.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Jws))]
    pub clock: String,
}

/// `GET /terminal/v1/keys`: answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeySetAnswer {
    /// The newest key set, a JWS by the root.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Jws))]
    pub key_set: String,
}

/// `GET /terminal/v1/stores/{store_id}/catalogue?base=R`: answer. The data itself is at
/// `/terminal/v1/stores/{store_id}/catalogue/{revision}?base=R`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CatalogueAnswer {
    /// A catalogue manifest, a JWS; its `base` says whether the data is a delta or a snapshot.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Jws))]
    pub manifest: String,
}

/// `GET /gate/v1/groups/{group}/revocations?after=N`: passes that must no longer be taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Revocations {
    /// In the order of revocation.
    pub passes: Vec<PassId>,
    /// To be given as `after` next time.
    pub cursor: u64,
}

/// `POST /gate/v1/groups/{group}/passes`: what gates took in, so that the group's lists become one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SpentPasses {
    /// At most 1,000.
    pub passes: Vec<SpentPass>,
}

/// `GET /gate/v1/groups/{group}/passes?after=N`: what gates of the group took in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SpentList {
    /// In the order in which the merchant heard of them, at most 1,000.
    pub passes: Vec<SpentPass>,
    /// To be given as `after` next time.
    pub cursor: u64,
}

/// A pass that a gate took in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SpentPass {
    /// The pass.
    pub jti: PassId,
    /// When, by the gate's clock.
    pub spent_at: Timestamp,
}

/// `GET /staff/v1/checks`: answer. The checks that wait at the store of the token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Checks {
    /// The oldest first, at most 200, without their lines.
    pub checks: Vec<CheckSummary>,
}

/// An attempt that staff must look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckSummary {
    /// The visit.
    pub trip_id: TripId,
    /// The attempt.
    #[cfg_attr(feature = "openapi", schema(example = 1))]
    pub attempt: u32,
    /// What is to be paid.
    pub total: Money,
    /// Why it is checked.
    pub reasons: Vec<Reason>,
    /// Since when it waits.
    pub recorded_at: Timestamp,
}

/// `GET /staff/v1/checks/{trip_id}/{attempt}`: answer. One check, with what a decision needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckDetail {
    /// What waits.
    #[serde(flatten)]
    pub summary: CheckSummary,
    /// What a decision is bound to: the digest of the basket's JWS.
    #[cfg_attr(feature = "openapi", schema(example = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"))]
    pub basket_sha256: String,
    /// The lines, as the shopper signed them.
    pub lines: serde_json::Value,
}

/// `PUT /staff/v1/checks/{trip_id}/{attempt}/decision`: request. What a member of staff decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DecisionPut {
    /// The digest of the basket that was looked at: `basket_sha256` of the check.
    #[cfg_attr(feature = "openapi", schema(example = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"))]
    pub basket_sha256: String,
    /// Whether the shopper may go, cover permitting.
    #[cfg_attr(feature = "openapi", schema(example = true))]
    pub accept: bool,
}

/// `PUT /staff/v1/checks/{trip_id}/{attempt}/decision`: answer. What followed from a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DecisionAnswer {
    /// `accepted`, `rejected` or `insufficient_cover`; `check_required` while the bank has not answered about a hold.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "accepted"))]
    pub verdict: Verdict,
}

/// A problem document (RFC 9457), `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `urn:walkpay:problem:` and the code.
    #[serde(rename = "type")]
    pub typ: String,
    /// What the code means.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was expected here and what to do.
    pub detail: String,
    /// With verdicts: the reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
}

/// What all problem types begin with.
pub const PROBLEM_PREFIX: &str = "urn:walkpay:problem:";
