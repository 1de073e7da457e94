//! Every message in every language, as snapshots; and texts that would like to be more than texts.

use super::*;
use crate::store::contacts::{Language, Medium};
use crate::store::notices::NoticeKind;
use jiff::tz::TimeZone;
use walkpay::{Currency, ServiceNumber, Timestamp};

fn facts(kind: NoticeKind, language: Language) -> Facts {
    let money = |minor| Currency::parse("EUR").unwrap().minor(minor);
    let at = |text| Timestamp::parse(text).unwrap();
    let order = OrderFacts {
        number: ServiceNumber::new(42).unwrap(),
        service: "Kitchen installation".into(),
        payee: "Corner Services".into(),
        due: money(123_450),
        total: money(130_000),
        refunded: money(6_550),
        deadline: at("2026-03-31T16:00:00Z"),
    };
    let device = kind == NoticeKind::NewDevice;
    Facts {
        kind,
        language,
        zone: TimeZone::get("Europe/Berlin").unwrap(),
        merchant: "Corner".into(),
        order: (!device).then_some(order),
        device: device.then(|| ("Ann's phone".to_owned(), at("2026-03-01T09:30:00Z"))),
        link: if device { String::new() } else { "https://pay.example/pay/AAAAAAAAAAAAAAAAAAAAAA".into() },
        unsubscribe: if device {
            String::new()
        } else {
            "https://pay.example/pay/AAAAAAAAAAAAAAAAAAAAAA/unsubscribe".into()
        },
    }
}

fn shown(message: Option<Message>) -> String {
    match message {
        None => "(none)\n".to_owned(),
        Some(Message::Email(m)) => format!("{}\n\n{}\n{}", m.subject, m.text, m.html),
        Some(Message::Sms(m)) => format!("{} ({}, {})\n", m.text, m.coding.word(), m.segments),
        Some(Message::Voice(m)) => format!("{}\n", m.text),
    }
}

#[test]
fn messages_are_as_they_were() {
    for medium in Medium::ALL {
        for language in Language::ALL {
            let texts = NoticeKind::ALL.map(|kind| {
                let message = render(medium, &facts(kind, language));
                assert!(message.is_some() || medium == Medium::Voice, "{kind:?}");
                format!("=== {}\n{}", kind.word(), shown(message))
            });
            insta::assert_snapshot!(format!("{}_{}", medium.word(), language.word()), texts.join("\n"));
        }
    }
}

#[test]
fn what_asks_for_money_and_what_warns_is_also_said_by_voice() {
    for kind in NoticeKind::ALL {
        let said = render(Medium::Voice, &facts(kind, Language::En)).is_some();
        assert_eq!(said, tells(Medium::Voice, kind), "{kind:?}");
        assert!(!said || kind.is_security() || kind.asks(), "{kind:?}");
    }
}

#[test]
fn a_text_message_in_plain_words_is_short() {
    for kind in NoticeKind::ALL {
        for (language, most) in [(Language::En, 1), (Language::Zh, 2)] {
            let Some(Message::Sms(sms)) = render(Medium::Sms, &facts(kind, language)) else { panic!("{kind:?}") };
            assert!(sms.segments <= most, "{kind:?}: {sms:?}");
        }
    }
}

#[test]
fn texts_from_outside_stay_texts() {
    let mut facts = facts(NoticeKind::Payable, Language::En);
    let order = facts.order.as_mut().unwrap();
    order.service = "{link}\r\nBcc: everybody@example.org <script>alert(1)</script>\u{202e}".into();
    order.payee = format!("שלום \u{2069}\u{2066}{}", "👨\u{200d}👩\u{200d}👧 ".repeat(100));
    let Some(Message::Email(email)) = render(Medium::Email, &facts) else { panic!() };
    assert!(!email.subject.contains(['\r', '\n']), "{}", email.subject);
    assert!(email.subject.contains("{link} Bcc: everybody@example.org"), "{}", email.subject);
    assert!(!email.html.contains("<script>") && email.html.contains("&lt;script&gt;"), "{}", email.html);
    assert!(!email.text.contains('\u{202e}'));
    let isolates = |c| email.text.matches(c).count();
    assert_eq!(isolates('\u{2068}'), isolates('\u{2069}'), "every isolate is closed");
    assert_eq!(isolates('\u{2068}'), 1);
    assert_eq!(isolates('\u{2066}'), 0);
    let Some(Message::Sms(sms)) = render(Medium::Sms, &facts) else { panic!() };
    assert!(!sms.text.contains(['\r', '\n']) && sms.segments <= 4, "{sms:?}");
    let Some(Message::Voice(voice)) = render(Medium::Voice, &facts) else { panic!() };
    assert!(voice.text.chars().count() < 600, "{voice:?}");
}
