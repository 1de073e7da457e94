//! The OpenAPI 3.1 document: what the handlers say, and what all of them have in common.

use super::App;
use super::problem::{PROBLEM_JSON, Refusal};
use crate::domain::service::SourceMessage;
use crate::domain::service::message::BulkAnswer;
use crate::sim;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::OpenApi;
use walkpay::protocol::message::Problem;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{DeviceId, GateGroup, HoldId, ServiceNumber, SourceId, StoreId, TripId};

/// The schemes that operations name in `security`.
const SECURITY: [&str; 4] = ["device_signature", "gate_token", "source_key", "staff_token"];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "walkpay merchant",
        description = "The payment system of a self-service store. Terminals are devices of shoppers: their requests are signed \
                       (RFC 9421), and what moves money is signed again inside (JWS). Every refusal is a problem document \
                       (RFC 9457) of a stable type.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "terminal", description = "Devices of shoppers: enrolment, catalogue, holds, baskets, results"),
        (name = "gate", description = "Gates: spent and revoked exit passes"),
        (name = "staff", description = "Members of staff: checks that wait for a decision"),
        (name = "query", description = "Payers, service systems and staff: what was ordered and paid"),
        (name = "service", description = "Service systems: orders that they hand in, what they are told of them"),
        (name = "payer", description = "Devices of payers: their orders, slips and payments"),
        (name = "channel", description = "Payment channels: notifications of payments"),
        (name = "simulation", description = "Only with `--sim`: faults by name and a clock that can be moved"),
        (name = "operations", description = "The server itself"),
    ),
    components(schemas(BulkAnswer, Problem, DeviceId, GateGroup, HoldId, ServiceNumber, SourceId, SourceMessage, StoreId, TripId)),
)]
struct Base;

/// What the routes are added to.
pub fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "operations",
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json")))]
pub async fn openapi_json(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Refusal> {
    let document = app.document.get().cloned().ok_or_else(|| Refusal::internal(&"no OpenAPI document"))?;
    Ok(([(CONTENT_TYPE, "application/json")], document))
}

/// The document as text, with what all operations have in common: security schemes, problems, the request id.
pub fn finished(document: utoipa::openapi::OpenApi) -> String {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["components"]["securitySchemes"] = security_schemes();
    document["components"]["responses"] = problem_responses();
    if let Some(arm) = document.pointer_mut("/paths/~1sim~1v1~1faults/post") {
        arm["description"] = Value::String(sim::markdown());
    }
    if let Some(name) = document.pointer_mut("/components/schemas/Order/properties/fault") {
        name["enum"] = sim::faults().map(|fault| Value::from(fault.name)).collect();
    }
    if let Some(paths) = document["paths"].as_object_mut() {
        for operations in paths.values_mut() {
            let Some(operations) = operations.as_object_mut() else { continue };
            operations.values_mut().for_each(complete);
        }
    }
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

/// Adds the problems that every operation of this form can be answered with, and gives those it names their body.
fn complete(operation: &mut Value) {
    let operational = operation["tags"][0] == "operations";
    let has_body = operation.get("requestBody").is_some();
    let has_parameters = operation.get("parameters").is_some();
    let secured = operation.get("security").and_then(Value::as_array).is_some_and(|s| !s.is_empty());
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, response) in responses.iter_mut() {
        if status.starts_with(['4', '5']) {
            response["content"] = problem_content();
            response["headers"] = request_id_header();
        } else {
            add_header(response, request_id_header());
        }
    }
    let mut add = |status: &str| {
        responses.entry(status).or_insert_with(|| json!({ "$ref": format!("#/components/responses/{status}") }));
    };
    ["500", "503"].into_iter().for_each(&mut add);
    if !operational {
        add("429");
    }
    if has_body || has_parameters {
        add("400");
    }
    if has_body || secured {
        ["408", "413", "415"].into_iter().for_each(&mut add);
    }
    if has_parameters {
        add("404");
    }
    if secured {
        ["400", "401", "403"].into_iter().for_each(&mut add);
    }
}

fn add_header(response: &mut Value, headers: Value) {
    match response["headers"].as_object_mut() {
        Some(present) => present.extend(headers.as_object().cloned().unwrap_or_default()),
        None => response["headers"] = headers,
    }
}

fn request_id_header() -> Value {
    json!({ "x-request-id": {
        "description": "Names this request in the log; taken from the request if it has one of 8 to 64 letters, digits and hyphens",
        "schema": { "type": "string" }
    }})
}

fn problem_content() -> Value {
    json!({ PROBLEM_JSON: { "schema": { "$ref": "#/components/schemas/Problem" } } })
}

/// One response per status that the table of problems knows; its description lists the types. `in_progress` is for merchants whose answers wait
/// for outside calls; none does here.
fn problem_responses() -> Value {
    let mut responses = serde_json::Map::new();
    for code in ProblemCode::ALL.iter().filter(|code| **code != ProblemCode::InProgress) {
        let line = format!("`{}`: {}", code.code(), code.title());
        let entry = responses.entry(code.status().to_string()).or_insert_with(
            || json!({ "description": "", "headers": request_id_header(), "content": problem_content() }),
        );
        let text = entry["description"].as_str().unwrap_or_default();
        let text = if text.is_empty() { line } else { format!("{text}\n\n{line}") };
        entry["description"] = Value::String(text);
    }
    Value::Object(responses)
}

fn security_schemes() -> Value {
    let [device, gate, source, staff] = SECURITY;
    json!({
        device: {
            "type": "apiKey", "in": "header", "name": "Signature",
            "description": "RFC 9421 by the device's request key, as docs/protocol.md says: Signature-Input and Signature labelled `walkpay`, \
                            over @method, @path, @query, content-digest, content-type and, where there is one, idempotency-key; with created, nonce, keyid and tag."
        },
        gate: { "type": "http", "scheme": "bearer", "description": "A gate token, made with `mock-merchant gate token`." },
        source: { "type": "http", "scheme": "bearer", "description": "An API key of a service system, made with `mock-merchant service key`." },
        staff: { "type": "http", "scheme": "bearer", "bearerFormat": "JWS", "description": "A staff token, made with `mock-merchant staff token`, with the scope that the call needs." }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(sim: bool) -> Value {
        serde_json::from_str(&super::super::document(sim)).unwrap()
    }

    #[test]
    fn every_reference_resolves_and_every_scheme_is_defined() {
        let document = document(true);
        let mut todo = vec![&document];
        while let Some(value) = todo.pop() {
            if let Some(target) = value.get("$ref").and_then(Value::as_str) {
                assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target}");
            }
            match value {
                Value::Array(items) => todo.extend(items),
                Value::Object(members) => todo.extend(members.values()),
                _ => {}
            }
        }
    }

    #[test]
    fn operation_ids_are_unique_and_links_lead_somewhere() {
        let document = document(true);
        let operations: Vec<&Value> =
            document["paths"].as_object().unwrap().values().flat_map(|p| p.as_object().unwrap().values()).collect();
        let ids: Vec<&str> = operations.iter().map(|o| o["operationId"].as_str().unwrap()).collect();
        let unique: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len());
        for operation in &operations {
            for response in operation["responses"].as_object().unwrap().values() {
                for link in response["links"].as_object().into_iter().flat_map(|l| l.values()) {
                    assert!(ids.contains(&link["operationId"].as_str().unwrap()), "{link}");
                }
            }
        }
    }

    #[test]
    fn simulation_routes_are_described_only_in_a_simulation() {
        assert!(document(true)["paths"].get("/sim/v1/faults").is_some());
        assert!(document(false)["paths"].get("/sim/v1/faults").is_none());
        assert_eq!(document(false)["openapi"], "3.1.0");
    }
}
