//! B13 against Kannel: plain and Chinese texts, segments, reports, refusals; and against one that is not there or says nothing.

use crate::kannel::Kannel;
use crate::outbox::{NOBODY, cli, ended, payable, shop, until};
use crate::rude;
use mock_merchant::store::contacts::Medium;
use mock_merchant::store::notices::NoticeState;
use serde_json::{Value, json};
use tempfile::TempDir;

const NUMBER: &str = "+49301234567";

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "secret\n").unwrap();
    folder
}

fn settings(url: &str) -> Value {
    json!({ "sms": { "url": url, "user": "shop", "password_file": "password", "from": "Corner" } })
}

#[tokio::test(flavor = "multi_thread")]
async fn b13_text_messages_arrive_and_are_reported() {
    let (folder, kannel) = (folder(), Kannel::start(true).await);
    let shop = shop(folder.path(), &settings(&kannel.url())).await;
    cli(&shop, &["user", "address", "add", "alice", &format!("sms:{NUMBER}")]);
    let number = payable(&shop, "Repair & more: 100% €").await;
    let delivery = ended(&shop, number, Medium::Sms, NoticeState::Delivered).await;
    assert_eq!((delivery.tries, delivery.last_code), (1, Some(1)), "the centre's report says so: {delivery:?}");
    let got = kannel.got(1).await;
    assert_eq!(got.len(), 1, "{got:?}");
    assert_eq!((got[0].from.as_str(), got[0].to.as_str()), ("Corner", NUMBER));
    assert!(got[0].text.contains(": 29.00 EUR to pay for Repair & more: 100% €, by "), "{got:?}");
    let link = got[0].text.rsplit(' ').next().unwrap();
    let page = shop.http.get(link).send().await.unwrap().text().await.unwrap();
    assert!(page.contains(&number.to_string()), "the link leads to the order");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b13_chinese_texts_arrive_whole_in_several_segments() {
    let (folder, kannel) = (folder(), Kannel::start(true).await);
    let shop = shop(folder.path(), &settings(&kannel.url())).await;
    cli(&shop, &["user", "address", "settings", "alice", "--language", "zh", "--time-zone", "Asia/Shanghai"]);
    cli(&shop, &["user", "address", "add", "alice", &format!("sms:{NUMBER}")]);
    let number = payable(&shop, "洗衣机配送与安装 👩\u{200d}🔧").await;
    ended(&shop, number, Medium::Sms, NoticeState::Delivered).await;
    let got = kannel.got(1).await;
    assert_eq!(got.len(), 1, "{got:?}");
    assert!(got[0].text.contains("前为“洗衣机配送与安装 👩\u{200d}🔧”付款29.00 EUR。http://"), "{got:?}");
    assert!(got[0].segments > 1, "{got:?}");
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b13_what_is_refused_ends_and_a_wrong_password_does_not() {
    let (folder, kannel) = (folder(), Kannel::start(true).await);
    let with_kannel = shop(folder.path(), &settings(&kannel.url())).await;
    cli(&with_kannel, &["user", "address", "add", "alice", "sms:+49991234567"]);
    let number = payable(&with_kannel, "Repair").await;
    let refused = ended(&with_kannel, number, Medium::Sms, NoticeState::Failed).await;
    assert_eq!((refused.tries, refused.repeats), (1, 0), "{refused:?}");
    with_kannel.running.shutdown().await;
    std::fs::write(folder.path().join("password"), "guessed").unwrap();
    let locked_out = shop(folder.path(), &settings(&kannel.url())).await;
    cli(&locked_out, &["user", "address", "add", "alice", &format!("sms:{NUMBER}")]);
    let number = payable(&locked_out, "Repair").await;
    let waiting = until(&locked_out, number, Medium::Sms, |d| d.tries >= 2).await;
    assert_eq!((waiting.last_code, waiting.last_word.as_deref()), (Some(403), Some("credentials")));
    locked_out.running.shutdown().await;
    assert_eq!(kannel.got(0).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn b13_what_kannel_keeps_for_later_is_not_sent_twice() {
    let (folder, mut kannel) = (folder(), Kannel::start(false).await);
    let shop = shop(folder.path(), &settings(&kannel.url())).await;
    cli(&shop, &["user", "address", "add", "alice", &format!("sms:{NUMBER}")]);
    let number = payable(&shop, "Repair").await;
    let queued = ended(&shop, number, Medium::Sms, NoticeState::Accepted).await;
    assert_eq!((queued.tries, queued.last_word.as_deref()), (1, Some("queued")), "{queued:?}");
    kannel.connect().await;
    ended(&shop, number, Medium::Sms, NoticeState::Delivered).await;
    assert_eq!(kannel.got(1).await.len(), 1);
    shop.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b13_a_kannel_that_is_away_loses_nothing_and_a_silent_one_is_unknown() {
    let folder = folder();
    let away = format!("http://127.0.0.1:{NOBODY}/cgi-bin/sendsms");
    let shop_away = shop(folder.path(), &settings(&away)).await;
    cli(&shop_away, &["user", "address", "add", "alice", &format!("sms:{NUMBER}")]);
    let number = payable(&shop_away, "Repair").await;
    let waiting = until(&shop_away, number, Medium::Sms, |d| d.tries >= 2).await;
    assert_eq!((waiting.repeats, waiting.last_word.as_deref()), (0, Some("connect")), "{waiting:?}");
    shop_away.running.shutdown().await;
    // The request was read and never answered: a second one may be a second message, and is counted as such.
    let silent = rude::silent().await;
    let shop_silent = shop(folder.path(), &settings(&format!("http://{}/cgi-bin/sendsms", silent.address))).await;
    cli(&shop_silent, &["user", "address", "add", "alice", &format!("sms:{NUMBER}")]);
    let number = payable(&shop_silent, "Repair").await;
    let unknown = ended(&shop_silent, number, Medium::Sms, NoticeState::Unknown).await;
    assert_eq!((unknown.tries, unknown.repeats, unknown.last_word.as_deref()), (3, 2, Some("timeout")), "{unknown:?}");
    shop_silent.running.shutdown().await;
}
