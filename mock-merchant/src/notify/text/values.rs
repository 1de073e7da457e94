//! Amounts and times, as they are written and as they are spoken.

use crate::store::contacts::Language;
use jiff::tz::TimeZone;
use walkpay::{Money, Timestamp};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// An amount to be read: `12.30 EUR`.
pub(super) fn amount(amount: Money) -> String {
    amount.to_string()
}

/// An amount to be heard: "12 euros and 30 cents", "12欧元30分"; a currency without a name here is spelt.
pub(super) fn spoken_amount(language: Language, amount: Money) -> String {
    let scale = 10_i64.checked_pow(amount.currency.digits()).unwrap_or(1);
    let (whole, part) = (amount.minor / scale, amount.minor % scale);
    let code = amount.currency.code();
    let names = match language {
        Language::En => english(code),
        Language::Zh => chinese(code),
    };
    match (language, names) {
        (Language::En, Some((one, many, small))) => {
            let unit = if whole == 1 { one } else { many };
            if part == 0 { format!("{whole} {unit}") } else { format!("{whole} {unit} and {part} {small}") }
        }
        (Language::Zh, Some((unit, _, small))) => {
            if part == 0 {
                format!("{whole}{unit}")
            } else {
                format!("{whole}{unit}{part}{small}")
            }
        }
        (_, None) => {
            let letters: Vec<String> = code.chars().map(String::from).collect();
            format!("{} {}", amount.to_decimal_string(), letters.join(" "))
        }
    }
}

/// One, several, hundredths.
fn english(code: &str) -> Option<(&'static str, &'static str, &'static str)> {
    Some(match code {
        "EUR" => ("euro", "euros", "cents"),
        "USD" => ("US dollar", "US dollars", "cents"),
        "GBP" => ("pound", "pounds", "pence"),
        "CHF" => ("Swiss franc", "Swiss francs", "centimes"),
        "CNY" => ("yuan", "yuan", "fen"),
        "JPY" => ("yen", "yen", "sen"),
        _ => return None,
    })
}

fn chinese(code: &str) -> Option<(&'static str, &'static str, &'static str)> {
    Some(match code {
        "EUR" => ("欧元", "欧元", "分"),
        "USD" => ("美元", "美元", "分"),
        "GBP" => ("英镑", "英镑", "便士"),
        "CHF" => ("瑞士法郎", "瑞士法郎", "分"),
        "CNY" => ("元", "元", "分"),
        "JPY" => ("日元", "日元", "钱"),
        _ => return None,
    })
}

/// How long a time is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// `31 January 2026, 18:00 CET`.
    Long,
    /// `31 Jan 2026 18:00`.
    Short,
    /// `31 January 2026`: the day alone, for ears.
    Spoken,
}

/// An instant in a time zone.
pub(crate) fn time(language: Language, zone: &TimeZone, at: Timestamp, style: Style) -> String {
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default().to_zoned(zone.clone());
    let (year, month, day) = (at.year(), at.month(), at.day());
    let clock = format!("{:02}:{:02}", at.hour(), at.minute());
    let name = MONTHS.get(usize::try_from(month - 1).unwrap_or_default()).copied().unwrap_or_default();
    match (language, style) {
        (Language::En, Style::Long) => format!("{day} {name} {year}, {clock} {}", at.strftime("%Z")),
        (Language::En, Style::Short) => {
            format!("{day} {} {year} {clock}", name.get(..3).unwrap_or(name))
        }
        (Language::En, Style::Spoken) => format!("{day} {name} {year}"),
        (Language::Zh, Style::Long) => format!("{year}年{month}月{day}日 {clock}（{}）", at.strftime("%Z")),
        (Language::Zh, Style::Short) => format!("{year}年{month}月{day}日{clock}"),
        (Language::Zh, Style::Spoken) => format!("{year}年{month}月{day}日"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use walkpay::Currency;

    #[test]
    fn amounts_keep_the_digits_of_their_currency() {
        let money = |code: &str, minor| Currency::parse(code).unwrap().minor(minor);
        assert_eq!(amount(money("EUR", 1230)), "12.30 EUR");
        assert_eq!(amount(money("JPY", 1230)), "1230 JPY");
        assert_eq!(amount(money("KWD", 1230)), "1.230 KWD");
        assert_eq!(spoken_amount(Language::En, money("EUR", 1230)), "12 euros and 30 cents");
        assert_eq!(spoken_amount(Language::En, money("EUR", 100)), "1 euro");
        assert_eq!(spoken_amount(Language::Zh, money("CNY", 1205)), "12元5分");
        assert_eq!(spoken_amount(Language::En, money("KWD", 1230)), "1.230 K W D");
    }

    #[test]
    fn times_are_those_of_the_zone() {
        let at = Timestamp::parse("2026-01-31T23:30:00Z").unwrap();
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        assert_eq!(time(Language::En, &zone, at, Style::Long), "1 February 2026, 07:30 CST");
        assert_eq!(time(Language::Zh, &zone, at, Style::Short), "2026年2月1日07:30");
        assert_eq!(time(Language::En, &TimeZone::UTC, at, Style::Short), "31 Jan 2026 23:30");
    }
}
