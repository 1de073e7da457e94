//! `/gate/v1`: gates share what they have taken in, and learn what they must not take.

use super::App;
use super::auth::Gate;
use super::body::Json as Body;
use super::params::{Path, Query, bounded};
use super::problem::Refusal;
use crate::domain::{Answer, Command, Query as Ask};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use walkpay::protocol::message::{Revocations, SpentList, SpentPasses};
use walkpay::{GateGroup, PassId};

/// What came of an upload.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SpentAnswer {
    /// How many of the passes no gate had taken before.
    #[schema(example = 1)]
    new: u64,
    /// Those that had been taken before, by whichever gate.
    repeated: Vec<PassId>,
}

/// Where a list goes on.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct After {
    /// The `cursor` of the last answer; 0 or nothing: from the beginning.
    #[serde(default)]
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_u64, default = 0)]
    after: u64,
}

/// Passes that must no longer be taken.
#[utoipa::path(get, path = "/gate/v1/groups/{group}/revocations", operation_id = "revocations", tag = "gate",
    params(("group" = GateGroup, Path, description = "The gates that share a list"), After),
    security(("gate_token" = [])),
    responses((status = 200, description = "In the order of revocation", body = Revocations,
        links(("next" = (operation_id = "revocations", parameters(("after" = "$response.body#/cursor")))))),
        (status = 422, description = "`invalid_value`")))]
pub async fn revocations(
    State(app): State<Arc<App>>,
    Gate(own): Gate,
    Path(group): Path<GateGroup>,
    Query(After { after }): Query<After>,
) -> Result<Json<Revocations>, Refusal> {
    match app.ask(own, Ask::Revocations { group, after: bounded(after)? }).await? {
        Answer::Revocations(answer) => Ok(Json(answer)),
        _ => Err(unexpected()),
    }
}

/// Passes that a gate has taken in, so that the lists of its group become one.
#[utoipa::path(post, path = "/gate/v1/groups/{group}/passes", operation_id = "spend_passes", tag = "gate",
    params(("group" = GateGroup, Path, description = "The gates that share a list")),
    request_body(content = SpentPasses,
        example = json!({"passes": [{"jti": "018bcfe5-6800-7707-8707-070707070707", "spent_at": "2026-01-31T09:49:59.007Z"}]})),
    security(("gate_token" = [])),
    responses((status = 200, description = "On record; the same upload again does no harm", body = SpentAnswer),
        (status = 422, description = "`invalid_value`")))]
pub async fn spend_passes(
    State(app): State<Arc<App>>,
    Gate(own): Gate,
    Path(group): Path<GateGroup>,
    Body(passes): Body<SpentPasses>,
) -> Result<Json<SpentAnswer>, Refusal> {
    match app.execute(own, Command::SpendPasses { group, passes }).await? {
        Answer::Spent { new, repeated } => Ok(Json(SpentAnswer { new, repeated })),
        _ => Err(unexpected()),
    }
}

/// Passes that the group has taken in.
#[utoipa::path(get, path = "/gate/v1/groups/{group}/passes", operation_id = "spent_passes", tag = "gate",
    params(("group" = GateGroup, Path, description = "The gates that share a list"), After),
    security(("gate_token" = [])),
    responses((status = 200, description = "In the order in which the merchant heard of them", body = SpentList,
        links(("next" = (operation_id = "spent_passes", parameters(("after" = "$response.body#/cursor")))))),
        (status = 422, description = "`invalid_value`")))]
pub async fn spent_passes(
    State(app): State<Arc<App>>,
    Gate(own): Gate,
    Path(group): Path<GateGroup>,
    Query(After { after }): Query<After>,
) -> Result<Json<SpentList>, Refusal> {
    match app.ask(own, Ask::SpentSince { group, after: bounded(after)? }).await? {
        Answer::SpentSince(list) => Ok(Json(list)),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> Refusal {
    Refusal::internal(&"an answer of another kind than the question")
}
