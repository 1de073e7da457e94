//! `tests/vectors/alipay.json`: requests to Alipay as they are signed, for clients of others; `UPDATE_VECTORS=1` writes it anew.

use mock_merchant::channel::alipay::{Addresses, Settings, request, signing};
use mock_merchant::channel::rsa_key::{RsaKey, generate};
use serde_json::{Value, json};
use std::path::Path;
use walkpay::Timestamp;

fn vectors(key: &str) -> Value {
    let app = RsaKey::parse(key).unwrap();
    let now = Timestamp::parse("2026-03-14T15:09:26.535Z").unwrap();
    let to = Addresses {
        gateway: "https://openapi.alipay.com/gateway.do".into(),
        notify: "https://pay.example/channel/alipay/v1/notify".into(),
    };
    let settings = Settings { return_url: Some("https://shop.example/back?a=1&b=2".into()), ..Settings::default() };
    let trade = json!({
        "out_trade_no": "00000000000000004201", "total_amount": "12.30", "subject": "Lieferung einer Küche – 烤箱 + 1",
        "time_expire": "2026-03-14 23:24:26",
    });
    let refund = json!({ "out_trade_no": "00000000000000004201", "out_request_no": "r1", "refund_amount": "0.01" });
    let query = json!({ "out_trade_no": "00000000000000004201" });
    let vectors = [
        ("alipay.trade.precreate", &trade),
        ("alipay.trade.page.pay", &trade),
        ("alipay.trade.query", &query),
        ("alipay.trade.close", &query),
        ("alipay.trade.refund", &refund),
    ]
    .map(|(method, content)| {
        let params = request(&settings, &to, now, method, content);
        let params = signing::sign_request(&app, params).unwrap();
        assert!(signing::request_verifies(app.public(), &params));
        json!({ "name": method, "app_key": key, "params": params })
    });
    json!({ "alipay": vectors })
}

#[test]
fn requests_to_alipay_are_signed_as_they_were() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/alipay.json");
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&vectors(&generate([42; 32]).unwrap())).unwrap();
        std::fs::write(&file, text + "\n").unwrap();
    }
    let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let key = kept["alipay"][0]["app_key"].as_str().unwrap();
    assert_eq!(vectors(key), kept);
}
