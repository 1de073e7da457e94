//! B11 against baresip: what is heard is what was said, in English and in Chinese; busy, unknown and silent numbers.

use crate::outbox::{NOBODY, Program, cli, ended, payable, shop, until, wait};
use crate::rude;
use crate::sip::{Callee, samples};
use mock_merchant::notify::text::{Message, render};
use mock_merchant::store::contacts::{Language, Medium};
use mock_merchant::store::notices::NoticeState;
use serde_json::{Value, json};
use std::path::Path;
use walkpay::ServiceNumber;

const RATE: usize = 8_000;

fn settings(gateway: &str, more: &Value) -> Value {
    let mut voice = json!({ "gateway": gateway, "account": "sip:shop@127.0.0.1" });
    voice.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "voice": voice })
}

/// The same message, spoken here: what should be heard.
fn spoken(folder: &Path, text: &str, language: Language) -> Vec<i16> {
    let voice = if language == Language::Zh { "cmn" } else { "en-us" };
    let (text_file, raw, wav) = (folder.join("said.txt"), folder.join("raw.wav"), folder.join("said.wav"));
    std::fs::write(&text_file, text).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    for (program, args) in [
        ("espeak-ng", vec!["-b", "1", "-v", voice, "-s", "150", "-w", &path(&raw), "-f", &path(&text_file)]),
        ("sox", vec!["-G", &path(&raw), "-r", "8000", "-c", "1", "-b", "16", &path(&wav)]),
    ] {
        let mut program = Program::start(&folder.join("log"), program, &args);
        wait("speech", || program.0.try_wait().unwrap().is_some_and(|status| status.success()));
    }
    samples(&wav)
}

/// The loudness of each 20 ms.
fn envelope(samples: &[i16]) -> Vec<f64> {
    let loud = |part: &[i16]| (part.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / part.len() as f64).sqrt();
    samples.chunks(RATE / 50).map(loud).collect()
}

/// The best correlation of `said` with a part of `heard`.
fn likeness(said: &[f64], heard: &[f64]) -> f64 {
    let correlation = |a: &[f64], b: &[f64]| {
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let (ma, mb) = (mean(a), mean(b));
        let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(x, y)| f(x - ma, y - mb)).sum::<f64>();
        sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt().max(1.0)
    };
    heard.windows(said.len().min(heard.len())).map(|part| correlation(said, part)).fold(-1.0, f64::max)
}

/// What the merchant says of an order.
async fn text(shop: &crate::client::Shop, number: ServiceNumber, language: Language) -> String {
    let read = shop.running.app().read(move |tx| {
        let notice = mock_merchant::store::notices::of_order(tx, number)?.remove(0);
        mock_merchant::domain::notices::facts_of(tx, &notice)
    });
    let facts = read.await.unwrap_or_else(|e| panic!("{}", e.detail));
    assert_eq!(facts.language, language);
    match render(Medium::Voice, &facts) {
        Some(Message::Voice(voice)) => voice.text,
        other => panic!("{other:?}"),
    }
}

async fn a_call_is_heard(language: Language, service: &str) {
    let (folder, callee) = (tempfile::tempdir().unwrap(), Callee::start("auto"));
    let shop = shop(folder.path(), &settings("127.0.0.1", &json!({}))).await;
    cli(&shop, &["user", "address", "settings", "alice", "--language", language.word()]);
    cli(&shop, &["user", "address", "add", "alice", &format!("sip:callee@127.0.0.1:{}", callee.port)]);
    let number = payable(&shop, service).await;
    let delivery = ended(&shop, number, Medium::Voice, NoticeState::Delivered).await;
    assert_eq!((delivery.tries, delivery.last_word.as_deref()), (1, Some("heard")), "{delivery:?}");
    let said = spoken(folder.path(), &text(&shop, number, language).await, language);
    let heard = callee.heard();
    assert_eq!(heard.len(), 1, "one call");
    let seconds = |samples: &[i16]| samples.len() as f64 / RATE as f64;
    // Half a second before and one and a half after it are silence.
    let longer = seconds(&heard[0]) - seconds(&said);
    assert!((1.0..=3.5).contains(&longer), "heard {} s, said {} s", seconds(&heard[0]), seconds(&said));
    let likeness = likeness(&envelope(&said), &envelope(&heard[0]));
    assert!(likeness > 0.95, "{likeness}");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b11_an_english_call_is_heard_to_its_end() {
    a_call_is_heard(Language::En, "Repair; $(touch x) `y` \"z\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b11_a_chinese_call_is_heard_to_its_end() {
    a_call_is_heard(Language::Zh, "洗衣机配送").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b11_numbers_that_are_unknown_away_silent_or_only_ring() {
    let folder = tempfile::tempdir().unwrap();
    let callee = Callee::start("manual");
    let silent = rude::silent().await;
    let known = format!("127.0.0.1:{}", callee.port);
    let more = json!({ "tcp": true, "ring_seconds": 3, "lines": 4 });
    let shop = shop(folder.path(), &settings(&known, &more)).await;
    for uri in [
        // The gateway knows no such number.
        "tel:+49301234567".to_owned(),
        format!("sip:callee@127.0.0.1:{NOBODY}"),
        format!("sip:callee@{}", silent.address),
        format!("sip:callee@{known}"),
    ] {
        cli(&shop, &["user", "address", "add", "alice", &uri]);
    }
    let number = payable(&shop, "Repair").await;
    let refused = ended(&shop, number, Medium::Voice, NoticeState::Failed).await;
    assert_eq!((refused.tries, refused.last_code), (1, Some(404)), "{refused:?}");
    until(&shop, number, Medium::Voice, |d| d.last_word.as_deref() == Some("connect") && d.tries >= 2).await;
    let mut ringing = Vec::new();
    while ringing.len() < 2 {
        let seen = until(&shop, number, Medium::Voice, |d| {
            d.last_word.as_deref() == Some("rang_out") && !ringing.contains(&d.delivery)
        })
        .await;
        assert_eq!((seen.repeats, seen.state == NoticeState::Delivered), (0, false), "nobody has answered: {seen:?}");
        ringing.push(seen.delivery);
    }
    assert!(callee.heard().is_empty());
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b11_who_is_busy_is_called_again() {
    let folder = tempfile::tempdir().unwrap();
    let callee = Callee::start("auto");
    // Two spellings of one telephone that takes one call at a time: the second call is busy until the first is over.
    let shop = shop(folder.path(), &settings("127.0.0.1", &json!({ "lines": 2 }))).await;
    cli(&shop, &["user", "address", "add", "alice", &format!("sip:callee@127.0.0.1:{}", callee.port)]);
    cli(&shop, &["user", "address", "add", "alice", &format!("sip:callee@127.0.0.1:0{}", callee.port)]);
    let number = payable(&shop, "Repair").await;
    let busy = until(&shop, number, Medium::Voice, |d| d.last_code == Some(486)).await;
    assert_eq!((busy.repeats, busy.last_word.as_deref()), (0, Some("busy")), "{busy:?}");
    ended(&shop, number, Medium::Voice, NoticeState::Delivered).await;
    shop.running.shutdown().await;
}
