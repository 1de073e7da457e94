//! `tests/vectors/webhooks.json`: fixed messages as they are signed, for verifiers of others; `UPDATE_VECTORS=1` writes it anew.

use mock_merchant::domain::service::{OrderReport, Paid, SourceMessage, SourceNews};
use mock_merchant::webhook::{secret_text, signatures};
use serde_json::{Value, json};
use std::path::Path;
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::order::{FeeLine, OrderStatus};
use walkpay::{Currency, ServiceNumber, Timestamp};

fn message(kind: SourceNews) -> SourceMessage {
    let eur = |minor| Currency::parse("EUR").unwrap().minor(minor);
    let at = |text| Timestamp::parse(text).unwrap();
    let asked = kind == SourceNews::ConfirmationRequested;
    let fee = FeeLine {
        name: "Delivery".into(),
        quantity: "1".into(),
        unit_price: eur(2_900),
        amount: eur(2_900),
        tax_rate: "19".into(),
        tax: eur(463),
    };
    let paid = Paid { method: PaymentMethod::Bank, amount: eur(2_900) };
    SourceMessage {
        kind,
        timestamp: at("2026-03-14T15:09:26.535Z"),
        data: OrderReport {
            service_number: ServiceNumber::new(42).unwrap(),
            version: if asked { 1 } else { 2 },
            status: if asked { OrderStatus::AwaitingConfirmation } else { OrderStatus::Paid },
            service_name: "Lieferung einer Küche – 烤箱".into(),
            payee: "Walkpay Services".into(),
            total: eur(2_900),
            due: eur(if asked { 2_900 } else { 0 }),
            refunded: eur(0),
            case_number: "C-2026-0815".into(),
            arose_at: at("2026-03-14T15:00:00Z"),
            deadline: at("2026-03-31T12:00:00Z"),
            fees: vec![fee],
            payments: if asked { Vec::new() } else { vec![paid] },
        },
    }
}

fn vector(kind: SourceNews, secrets: &[Vec<u8>], id: &str) -> Value {
    let body = serde_json::to_string(&message(kind)).unwrap();
    let timestamp = 1_773_500_966;
    json!({
        "name": format!("{}, {} secrets", kind.word(), secrets.len()),
        "secrets": secrets.iter().map(|s| secret_text(s)).collect::<Vec<_>>(),
        "id": id,
        "timestamp": timestamp,
        "signature": signatures(secrets, id, timestamp, body.as_bytes()),
        "body": body,
    })
}

#[test]
fn webhooks_are_signed_as_they_were() {
    let (first, second) = (vec![7; 32], (1..=32).collect::<Vec<u8>>());
    let vectors = json!({ "webhooks": [
        vector(SourceNews::ConfirmationRequested, std::slice::from_ref(&first), "msg_AAECAwQFBgcICQoLDA0ODxAR"),
        vector(SourceNews::Paid, &[second, first], "msg_EhMUFRYXGBkaGxwdHh8gISIj"),
    ]});
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/webhooks.json");
    let text = format!("{vectors:#}\n");
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(known == text, "{} is not what the code makes: UPDATE_VECTORS=1 writes it anew", path.display());
}
