//! The generated parts of docs/protocol.md, compared with the code; `UPDATE_DOCS=1` writes them anew.

use crate::order_samples as orders;
use crate::samples::{self, LINES, Sample};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use walkpay::barcode::{BarcodeTemplate, Gtin, ValueKind};
use walkpay::basket::parse_lines;
use walkpay::catalogue::{Article, PriceUnit, Promotion, PromotionKind, Row, SaleKind, TaxGroup, write_row};
use walkpay::protocol::crypto::{Jwk, base64url, digest};
use walkpay::protocol::document::{RESERVED_TYPS, Reason, ReasonCode, Verdict};
use walkpay::protocol::enrolment_code::EnrolmentCode;
use walkpay::protocol::exit_pass::{presentation_input, presentation_text};
use walkpay::protocol::http_signature::{RequestParts, prepare};
use walkpay::protocol::message::*;
use walkpay::protocol::order::{OrderPage, PaymentPut};
use walkpay::protocol::problem::ProblemCode;

const BEGIN: &str = "<!-- BEGIN generated: ";
const END: &str = "<!-- END generated -->";

#[test]
fn generated_parts_are_those_of_the_code() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md");
    let text = fs::read_to_string(&path).unwrap();
    let mut parts: BTreeMap<&str, String> = BTreeMap::from([
        ("reserved", reserved()),
        ("worked-example", worked_example()),
        ("messages", messages()),
        ("staff", staff()),
        ("payer", payer()),
        ("reasons", reasons()),
        ("events", events()),
        ("lines", lines()),
        ("rows", rows()),
        ("presentation", presentation()),
        ("problems", problems()),
        ("documents", documents()),
    ]);
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (name, after) = after.split_once(" -->\n").expect("a mark with a name");
        let (_, after) = after.split_once(END).expect("a mark at the end");
        let part = parts.remove(name).unwrap_or_else(|| panic!("nothing generates {name}"));
        write!(out, "{before}{BEGIN}{name} -->\n{part}{END}").unwrap();
        rest = after;
    }
    out.push_str(rest);
    assert!(parts.is_empty(), "docs/protocol.md has no place for {:?}", parts.keys());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, out).unwrap();
        return;
    }
    assert!(out == text, "docs/protocol.md is not what the code says: UPDATE_DOCS=1 writes it anew");
}

#[test]
fn every_message_and_check_is_told() {
    let text = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md")).unwrap();
    for source in [include_str!("../../src/protocol/message.rs"), include_str!("../../src/protocol/document.rs")] {
        for name in source.lines().filter_map(|l| l.strip_prefix("document!(").and_then(|l| l.split('"').nth(1))) {
            assert!(text.contains(&format!("`{name}`")), "{name} is not told");
        }
    }
    for name in include_str!("../../src/protocol/message.rs").lines().filter_map(|l| l.strip_prefix("pub struct ")) {
        let name = name.split_whitespace().next().unwrap();
        assert!(text.contains(name) || name == "SpentPass", "{name} is not told");
    }
    let checks = [
        include_str!("../../src/protocol/exit_pass.rs"),
        include_str!("../../src/protocol/key_set.rs"),
        include_str!("../../src/protocol/jws.rs"),
    ];
    for source in checks {
        let code = source.split("#[cfg(test)]").next().unwrap();
        for word in code.match_indices("fail(\"").chain(code.match_indices("untrusted(\"")) {
            let word = code[word.0..].split('"').nth(1).unwrap();
            assert!(text.contains(&format!("`{word}`")), "the check {word} is not told");
        }
    }
}

fn json(value: &impl Serialize) -> String {
    format!("```json\n{}\n```\n", shortened(&serde_json::to_string_pretty(value).unwrap()))
}

/// Cuts long JWS: they are in the vectors.
fn shortened(text: &str) -> String {
    let mut out = String::new();
    for (at, piece) in text.split('"').enumerate() {
        if at > 0 {
            out.push('"');
        }
        if piece.len() > 120 && piece.starts_with("eyJ") {
            write!(out, "{}…", &piece[..24]).unwrap();
        } else {
            out.push_str(piece);
        }
    }
    out
}

fn reserved() -> String {
    format!("{}.\n", RESERVED_TYPS.map(|typ| format!("`{typ}`")).join(", "))
}

fn worked_example() -> String {
    let key = samples::request_key();
    let body = br#"{"cancellation":"a.b.c"}"#;
    let path = format!("/terminal/v1/trips/{}/cancellation", samples::trip());
    let parts = RequestParts { method: "PUT", path: &path, query: None, idempotency_key: None, body };
    let nonce = base64url(&[0x6b; 16]);
    let input = prepare(&parts, samples::at(700), &nonce, &key.kid(), &samples::merchant()).unwrap();
    let mut out = String::from("The key is that of `Ed25519` whose secret is 32 times the byte `0x11`:\n\n");
    out.push_str(&json(&key.public().to_jwk()));
    let base = input.base.clone();
    write!(out, "\nThe signature base, without a line feed at its end:\n\n```text\n{base}\n```\n").unwrap();
    out.push_str("\nThe request:\n\n```http\n");
    writeln!(out, "PUT {path} HTTP/1.1\nHost: merchant.example").unwrap();
    for (name, value) in input.finish(&key.sign(base.as_bytes())) {
        writeln!(out, "{name}: {value}").unwrap();
    }
    write!(out, "content-length: {}\n\n{}\n```\n", body.len(), String::from_utf8_lossy(body)).unwrap();
    out
}

fn jws(name: &str) -> String {
    let sample = samples::all().into_iter().find(|s| s.name == name).unwrap();
    let key = match sample.by {
        by if by.starts_with("merchant's root") => samples::root_key(),
        by if by.starts_with("merchant") => samples::results_key(),
        by if by.starts_with("request") => samples::request_key(),
        _ => samples::consent_key(),
    };
    sample.sign(&key)
}

fn messages() -> String {
    let mut out = String::new();
    let mut add = |name: &str, example: String| write!(out, "`{name}`\n\n{example}\n").unwrap();
    let root_key: Jwk = samples::root_key().public().to_jwk();
    let (key_set, nonce) = (jws("key set"), base64url(&[0x5a; 16]));
    add(
        "EnrolmentStart",
        json(&EnrolmentStart { merchant_id: samples::merchant(), nonce, root_key, key_set: key_set.clone() }),
    );
    let code = EnrolmentCode::new(
        samples::merchant(),
        "0123456789ABCDEF",
        samples::root_key().kid().as_str(),
        "https://merchant.example",
    );
    let request = EnrolmentRequest {
        code: code.unwrap().code,
        device_label: "Handheld 3".into(),
        request_proof: jws("enrolment proof"),
        consent_proof: jws("enrolment proof"),
    };
    add("EnrolmentRequest", json(&request));
    add("EnrolmentAnswer", json(&EnrolmentAnswer { grant: jws("enrolment grant") }));
    let rotation = KeyRotationRequest {
        rotation: jws("key rotation"),
        request_proof: jws("key rotation"),
        consent_proof: jws("key rotation"),
    };
    add("KeyRotationRequest", json(&rotation));
    add("HoldPut", json(&HoldPut { hold: jws("hold request") }));
    add("AttemptPut", json(&AttemptPut { basket: jws("basket"), lines: base64url(LINES.as_bytes()) }));
    add("CancellationPut", json(&CancellationPut { cancellation: jws("trip cancellation") }));
    add("Recorded", json(&Recorded { recorded_at: samples::at(901), last_seq: 17 }));
    add("EventsPage", json(&EventsPage { events: vec![jws("event, validation")], clock: jws("clock statement") }));
    add("KeySetAnswer", json(&KeySetAnswer { key_set }));
    add("CatalogueAnswer", json(&CatalogueAnswer { manifest: jws("catalogue manifest") }));
    add("Revocations", json(&Revocations { passes: vec![samples::pass().jti], cursor: 4 }));
    let spent = SpentPass { jti: samples::pass().jti, spent_at: samples::at(960) };
    add("SpentPasses", json(&SpentPasses { passes: vec![spent.clone()] }));
    add("SpentList", json(&SpentList { passes: vec![spent], cursor: 9 }));
    let mut problem = ProblemCode::DocumentInvalid.document("Expected a signature over exactly these bytes.");
    add("Problem", json(&problem));
    problem.reasons =
        vec![Reason { code: ReasonCode::PriceMismatch, line: Some(1), detail: "1.29 EUR, not 1.19 EUR".into() }];
    assert!(serde_json::to_string(&problem).unwrap().contains("reasons"));
    out
}

fn staff() -> String {
    let basket = samples::basket();
    let summary = CheckSummary {
        trip_id: basket.trip_id,
        attempt: basket.attempt,
        total: basket.total,
        reasons: vec![Reason { code: ReasonCode::AgeCheck, line: Some(1), detail: "age 18 or more".into() }],
        recorded_at: samples::at(901),
    };
    let basket_sha256 = digest(jws("basket").as_bytes());
    let detail = CheckDetail {
        summary: summary.clone(),
        basket_sha256: basket_sha256.clone(),
        lines: serde_json::from_str(LINES).unwrap(),
    };
    let mut out = String::new();
    let mut add = |name: &str, example: String| write!(out, "`{name}`\n\n{example}\n").unwrap();
    add("Checks", json(&Checks { checks: vec![summary] }));
    add("CheckDetail", json(&detail));
    add("DecisionPut", json(&DecisionPut { basket_sha256, accept: true }));
    add("DecisionAnswer", json(&DecisionAnswer { verdict: Verdict::Accepted }));
    out
}

fn payer() -> String {
    let mut out = String::new();
    let mut add = |name: &str, example: String| write!(out, "`{name}`\n\n{example}\n").unwrap();
    let next = Some(orders::service_number());
    add("OrderPage", json(&OrderPage { orders: vec![orders::summary()], next }));
    add("OrderView", json(&orders::order()));
    add("SlipRequest", json(&orders::slip_request()));
    add("SlipView", json(&orders::slip()));
    add("PaymentPut", json(&PaymentPut { payment: jws("slip payment") }));
    add("PaymentView", json(&orders::launched().payment));
    add("Balance", json(&orders::balance()));
    out
}

/// A table of the variants of `ReasonCode` and what is said of them.
fn reasons() -> String {
    let source = include_str!("../../src/protocol/document.rs");
    let (_, body) = source.split_once("pub enum ReasonCode {").unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let mut out = String::from("| code | meaning |\n|---|---|\n");
    let mut said = String::new();
    for line in body.lines().map(str::trim).filter(|l| !l.is_empty()) {
        match line.strip_prefix("/// ") {
            Some(text) => said = [said.as_str(), text].join(" ").trim().to_owned(),
            None => {
                let code = snake(line.trim_end_matches(','));
                serde_json::from_value::<ReasonCode>(Value::from(code.as_str())).unwrap();
                writeln!(out, "| `{code}` | {said} |").unwrap();
                said.clear();
            }
        }
    }
    out
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

fn events() -> String {
    let mut out = String::from("| kind | body |\n|---|---|\n");
    for (_, body) in samples::events() {
        let value = serde_json::to_value(&body).unwrap();
        let body = shortened(&value["body"].to_string());
        writeln!(out, "| `{}` | `{body}` |", value["kind"].as_str().unwrap()).unwrap();
    }
    out
}

fn lines() -> String {
    assert!(parse_lines(LINES.as_bytes()).is_ok());
    let broken = LINES.replace("[{", "[\n  {").replace("},{", "},\n  {");
    format!("Shown with line breaks:\n\n```json\n{broken}\n```\n\n`lines_sha256` is `{}`.\n", digest(LINES.as_bytes()))
}

fn rows() -> String {
    let gtin = |text| Gtin::parse(text).unwrap();
    let article = Article {
        gtin: gtin("4006381333931"),
        name: "Sparkling water".into(),
        department: "Drinks".into(),
        unit: PriceUnit::Piece,
        price_minor: 129,
        sale: SaleKind::Pieces,
        deposit: Some(gtin("00000000000321")),
        min_age: None,
        sale_stopped: false,
        tax_group: "A".into(),
    };
    let promotion = |id: &str, kind| Promotion {
        id: id.into(),
        title: "Two for less".into(),
        kind,
        gtins: vec![gtin("4006381333931")],
        from: Some(samples::at(0)),
        until: None,
    };
    let template = BarcodeTemplate {
        id: "price".into(),
        prefix_from: "21".into(),
        prefix_to: "21".into(),
        value_position: 8,
        value_digits: 5,
        kind: ValueKind::Price,
        value_unit: 1,
        inner_check_position: None,
        min_value: 1,
        max_value: 20_000,
    };
    let rows = [
        Row::TaxGroup(TaxGroup { id: "A".into(), name: "Full".into(), rate: "19".parse().unwrap() }),
        Row::from(&article),
        Row::ArticleGone { gtin: gtin("4006381333931") },
        Row::Promotion(promotion("p1", PromotionKind::NForPrice { n: 2, price_minor: 228 })),
        Row::Promotion(promotion("p2", PromotionKind::PercentOff { percent: "20".parse().unwrap() })),
        Row::PromotionGone { id: "p1".into() },
        Row::Template(template),
        Row::TemplateGone { id: "price".into() },
    ];
    let mut bytes = Vec::new();
    for row in &rows {
        write_row(row, &mut bytes).unwrap();
    }
    format!("```json\n{}```\n", String::from_utf8(bytes).unwrap())
}

fn presentation() -> String {
    let (pass, key) = (samples::pass(), samples::request_key());
    let input = presentation_input(&pass, key.algorithm(), &key.kid(), samples::at(960)).unwrap();
    let text = presentation_text(&samples::pass_key().jws(&pass), &input, &key.sign(input.as_bytes()));
    format!("```text\n{text}\n```\n")
}

fn problems() -> String {
    let mut out = String::from("| code | status | meaning |\n|---|---|---|\n");
    for problem in ProblemCode::ALL {
        writeln!(out, "| `{}` | {} | {} |", problem.code(), problem.status(), problem.title()).unwrap();
    }
    out
}

fn documents() -> String {
    let mut out = String::new();
    let mut last = "";
    for Sample { name, typ, by, pretty, .. } in samples::all() {
        if typ != last {
            write!(out, "### `{typ}`\n\nSigned by: {by}.\n\n").unwrap();
            last = typ;
        }
        write!(out, "{name}:\n\n```json\n{}\n```\n\n", shortened(&pretty)).unwrap();
    }
    out.pop();
    out
}

#[test]
fn the_lines_example_is_what_is_written() {
    let sent = parse_lines(LINES.as_bytes()).unwrap();
    assert_eq!(sent.lines.len(), 3);
    assert_eq!(sent.lines.iter().map(|l| l.payable_minor).sum::<i64>(), samples::basket().total.minor);
}
