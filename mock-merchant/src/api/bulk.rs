//! `POST /service/v1/orders/bulk`: thousands of orders in one request, each answered on its own.

use super::App;
use super::auth::Source;
use super::body::{check_type, read_within};
use super::problem::Refusal;
use crate::domain::service::{MAX_BULK_LINE, MAX_BULK_LINES, RawLine, Scope, ServiceAnswer, ServiceCommand};
use crate::domain::{Answer, Command};
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use walkpay::protocol::problem::ProblemCode;

/// The media type of bulk hand-ins and their answers.
const NDJSON: &str = "application/x-ndjson";
/// How many lines share a savepoint: others get their turn between two parts.
const PART: usize = 64;

/// Hands in up to 5,000 orders: a line `{"key": …, "order": {…}}` each, with an idempotency key of its own.
///
/// Each line is answered on its own, in the order of the lines; a refused one says nothing about the others. A request that is
/// too large as a whole changes nothing. One that broke off is repeated as it was: the keys see to it that nothing is handed in twice.
#[utoipa::path(post, path = "/service/v1/orders/bulk", operation_id = "hand_in_bulk", tag = "service",
    request_body(content = String, content_type = "application/x-ndjson", description = "At most 5,000 lines of at most 64 KiB, 16 MiB together",
        example = json!("{\"key\":\"r-1\",\"order\":{\"service_name\":\"Delivery\",\"payer\":\"alice\",\"deadline\":\"2030-01-31T12:00:00Z\",\"case_number\":\"C-1\",\"fees\":[{\"name\":\"Delivery\",\"unit_price\":{\"amount\":\"29.00\",\"currency\":\"EUR\"}}]}}\n")),
    security(("source_key" = [])),
    responses((status = 200, description = "A line per line, as `BulkAnswer` says", body = String, content_type = "application/x-ndjson"),
        (status = 422, description = "`invalid_value`: no lines, or too many")))]
pub async fn hand_in_bulk(State(app): State<Arc<App>>, source: Source, request: Request) -> Result<Response, Refusal> {
    let id = source.0.source;
    let caller = source.with(Scope::OrdersWrite)?;
    check_type(request.headers(), NDJSON)?;
    // An upload takes its time: nobody takes the room of others with it.
    let Some(_place) = app.bulk_sources.enter(id, 1) else {
        return Err(Refusal::unavailable(
            "A bulk hand-in of this service system is in work: try again when it is answered.",
        ));
    };
    let Ok(_room) = app.bulks.try_acquire() else {
        return Err(Refusal::unavailable("Too many bulk hand-ins are in work: try again."));
    };
    let limits = &app.limits;
    let body = read_within(request.into_body(), limits.bulk_bytes, limits.bulk_time).await?;
    let lines = lines(&body)?;
    let mut answer = Vec::with_capacity(lines.len() * 64);
    for (n, part) in lines.chunks(PART).enumerate() {
        let first = 1 + (n * PART) as u64;
        let lines: Vec<RawLine> = part.iter().map(|line| shortened(line).to_vec()).collect();
        let command = Command::Service(ServiceCommand::HandInLines { first, lines });
        let Answer::Service(ServiceAnswer::Bulk(answers)) = app.execute(caller.clone(), command).await? else {
            return Err(Refusal::internal(&"an answer of another kind than the question"));
        };
        for one in answers {
            serde_json::to_writer(&mut answer, &one).map_err(|e| Refusal::internal(&e))?;
            answer.push(b'\n');
        }
    }
    Ok(([(CONTENT_TYPE, NDJSON)], answer).into_response())
}

fn lines(body: &Bytes) -> Result<Vec<&[u8]>, Refusal> {
    let mut lines: Vec<&[u8]> = body.split(|b| *b == b'\n').take(MAX_BULK_LINES + 2).collect();
    // What follows the last line feed is no line.
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    if lines.is_empty() || lines.len() > MAX_BULK_LINES {
        let detail = format!("Expected 1 to {MAX_BULK_LINES} lines.");
        return Err(Refusal::new(ProblemCode::InvalidValue, detail));
    }
    Ok(lines)
}

/// A line that is too long is refused by its length: the rest of it is not carried along.
fn shortened(line: &[u8]) -> &[u8] {
    line.get(..=MAX_BULK_LINE).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_line_feeds() {
        let split =
            |text: &'static str| lines(&Bytes::from_static(text.as_bytes())).map(|l| l.len()).map_err(|r| r.code);
        assert_eq!((split("a"), split("a\n"), split("a\n\nb\r\n")), (Ok(1), Ok(1), Ok(3)));
        assert_eq!(split(""), Err(ProblemCode::InvalidValue));
        let many = |n: usize| lines(&Bytes::from("a\n".repeat(n))).map(|l| l.len()).map_err(|r| r.code);
        assert_eq!(many(MAX_BULK_LINES), Ok(MAX_BULK_LINES));
        assert_eq!(many(MAX_BULK_LINES + 1), Err(ProblemCode::InvalidValue));
        assert_eq!(many(10 * MAX_BULK_LINES), Err(ProblemCode::InvalidValue));
        assert_eq!(shortened(&[b'x'; MAX_BULK_LINE + 9]).len(), MAX_BULK_LINE + 1);
    }
}
