//! The rows in which a catalogue travels: one JSON object per line (NDJSON), data only.
//!
//! `{"kind":"article","data":{…}}`; deltas also say what is gone. Within one snapshot or delta the order does not
//! matter, and a later row about the same thing wins. Members that are not known are ignored; kinds that are not known
//! are an error, since leaving out what they mean could sell at a wrong price.

use super::article::{Article, PriceUnit, SaleKind, check_numbers, check_text};
use super::promotion::{Promotion, TaxGroup};
use crate::barcode::{BarcodeTemplate, Gtin};
use crate::error::WalkpayError;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The longest line, without its line feed.
pub const MAX_ROW_BYTES: usize = 4 * 1024;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum Row<'a> {
    /// An article, new or changed.
    #[serde(borrow)]
    Article(ArticleRow<'a>),
    /// An article that is no longer there.
    ArticleGone {
        /// Which one.
        gtin: Gtin,
    },
    /// A tax group, new or changed. Tax groups never go: old purchases name them.
    TaxGroup(TaxGroup),
    /// A promotion, new or changed.
    Promotion(Promotion),
    /// A promotion that is no longer there.
    PromotionGone {
        /// Which one.
        id: String,
    },
    /// A template of in-store codes, new or changed.
    Template(BarcodeTemplate),
    /// A template that is no longer there.
    TemplateGone {
        /// Which one.
        id: String,
    },
}

/// An [`Article`] whose texts are borrowed from the line that it was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArticleRow<'a> {
    /// See [`Article::gtin`].
    pub gtin: Gtin,
    /// See [`Article::name`].
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// See [`Article::department`].
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub department: Cow<'a, str>,
    /// See [`Article::unit`].
    pub unit: PriceUnit,
    /// See [`Article::price_minor`].
    pub price_minor: i64,
    /// See [`Article::sale`].
    pub sale: SaleKind,
    /// See [`Article::deposit`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deposit: Option<Gtin>,
    /// See [`Article::min_age`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_age: Option<u8>,
    /// See [`Article::sale_stopped`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sale_stopped: bool,
    /// See [`Article::tax_group`].
    #[serde(borrow)]
    pub tax_group: Cow<'a, str>,
}

impl<'a> From<&'a Article> for ArticleRow<'a> {
    fn from(a: &'a Article) -> Self {
        Self {
            gtin: a.gtin,
            name: Cow::Borrowed(&a.name),
            department: Cow::Borrowed(&a.department),
            unit: a.unit,
            price_minor: a.price_minor,
            sale: a.sale,
            deposit: a.deposit,
            min_age: a.min_age,
            sale_stopped: a.sale_stopped,
            tax_group: Cow::Borrowed(&a.tax_group),
        }
    }
}

impl<'a> From<&'a Article> for Row<'a> {
    fn from(article: &'a Article) -> Self {
        Self::Article(article.into())
    }
}

impl From<ArticleRow<'_>> for Article {
    fn from(row: ArticleRow<'_>) -> Self {
        Self {
            gtin: row.gtin,
            name: row.name.into_owned(),
            department: row.department.into_owned(),
            unit: row.unit,
            price_minor: row.price_minor,
            sale: row.sale,
            deposit: row.deposit,
            min_age: row.min_age,
            sale_stopped: row.sale_stopped,
            tax_group: row.tax_group.into_owned(),
        }
    }
}

impl Row<'_> {
    fn check(&self) -> Result<(), WalkpayError> {
        match self {
            Self::Article(a) => {
                check_text("name", &a.name, 1, 120)?;
                check_text("department", &a.department, 0, 40)?;
                check_text("tax_group", &a.tax_group, 1, 8)?;
                check_numbers(a.gtin, a.unit, a.price_minor, a.sale, a.deposit, a.min_age)
            }
            Self::TaxGroup(group) => group.check(),
            Self::Promotion(promotion) => promotion.check(),
            Self::Template(template) => template.check(),
            Self::PromotionGone { id } | Self::TemplateGone { id } => check_text("id", id, 1, 32),
            Self::ArticleGone { .. } => Ok(()),
        }
    }
}

/// Appends a row and its line feed to `out`.
///
/// # Errors
/// [`WalkpayError::InvalidInput`] for a row that [`parse_row`] would refuse, [`WalkpayError::Limit`] above
/// [`MAX_ROW_BYTES`]; `out` is then as before.
pub fn write_row(row: &Row<'_>, out: &mut Vec<u8>) -> Result<(), WalkpayError> {
    row.check()?;
    let before = out.len();
    let written = serde_json::to_writer(&mut *out, row).map_err(|e| WalkpayError::Internal { detail: e.to_string() });
    let result = written.and_then(|()| match out.len() - before {
        n if n > MAX_ROW_BYTES => Err(WalkpayError::limit("bytes of a catalogue row", MAX_ROW_BYTES as u64)),
        _ => Ok(()),
    });
    match result {
        Ok(()) => out.push(b'\n'),
        Err(_) => out.truncate(before),
    }
    result
}

/// Reads one line; `number` counts from 1 and is named in errors.
///
/// # Errors
/// [`WalkpayError::Limit`] above [`MAX_ROW_BYTES`], [`WalkpayError::InvalidInput`] with the field `catalogue line N` for
/// what is no row.
pub fn parse_row(line: &[u8], number: u64) -> Result<Row<'_>, WalkpayError> {
    if line.len() > MAX_ROW_BYTES {
        return Err(WalkpayError::limit(&format!("bytes of catalogue line {number}"), MAX_ROW_BYTES as u64));
    }
    let wrong = |why: &dyn std::fmt::Display| {
        let field = format!("catalogue line {number}");
        WalkpayError::invalid(&field, &format!("a catalogue row ({why})"), &String::from_utf8_lossy(line))
    };
    let row: Row<'_> = serde_json::from_slice(line).map_err(|e| wrong(&e))?;
    row.check().map_err(|e| wrong(&e))?;
    Ok(row)
}

/// The rows of `bytes`, in order; after an error the iterator goes on with the next line, callers stop at the first.
/// Empty lines are skipped.
pub fn rows(bytes: &[u8]) -> impl Iterator<Item = Result<Row<'_>, WalkpayError>> {
    let lines = bytes.split(|b| *b == b'\n');
    (1u64..).zip(lines).filter(|(_, line)| !line.is_empty()).map(|(number, line)| parse_row(line, number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::barcode::ValueKind;
    use crate::catalogue::PromotionKind;
    use crate::time::Timestamp;

    fn gtin(text: &str) -> Gtin {
        Gtin::parse(text).unwrap()
    }

    fn article() -> Article {
        Article {
            gtin: gtin("5449000000996"),
            name: "Cola \"classic\" 0,33 l".into(),
            department: "Drinks".into(),
            unit: PriceUnit::Piece,
            price_minor: 89,
            sale: SaleKind::Pieces,
            deposit: Some(gtin("96385074")),
            min_age: None,
            sale_stopped: false,
            tax_group: "A".into(),
        }
    }

    fn every_kind(article: &Article) -> Vec<Row<'_>> {
        let gtins = vec![article.gtin];
        vec![
            Row::Article(article.into()),
            Row::ArticleGone { gtin: article.gtin },
            Row::TaxGroup(TaxGroup { id: "A".into(), name: "Standard".into(), rate: "19".parse().unwrap() }),
            Row::Promotion(Promotion {
                id: "cola-3".into(),
                title: "3 for 2".into(),
                kind: PromotionKind::NForPrice { n: 3, price_minor: 178 },
                gtins: gtins.clone(),
                from: Some(Timestamp::from_millis(1_769_852_999_000)),
                until: None,
            }),
            Row::Promotion(Promotion {
                id: "drinks-10".into(),
                title: "10 % off".into(),
                kind: PromotionKind::PercentOff { percent: "10".parse().unwrap() },
                gtins,
                from: None,
                until: None,
            }),
            Row::PromotionGone { id: "old".into() },
            Row::Template(BarcodeTemplate {
                id: "weight".into(),
                prefix_from: "21".into(),
                prefix_to: "21".into(),
                value_position: 8,
                value_digits: 5,
                kind: ValueKind::Weight,
                value_unit: 1,
                inner_check_position: None,
                min_value: 1,
                max_value: 9999,
            }),
            Row::TemplateGone { id: "old".into() },
        ]
    }

    #[test]
    fn wire_form_of_every_kind_and_back() {
        let article = article();
        let written = every_kind(&article);
        let mut bytes = Vec::new();
        written.iter().for_each(|row| write_row(row, &mut bytes).unwrap());
        insta::assert_snapshot!(std::str::from_utf8(&bytes).unwrap());
        let read: Vec<Row<'_>> = rows(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!(read, written);
        let Some(Row::Article(row)) = read.into_iter().next() else { panic!("no article") };
        assert_eq!(Article::from(row), article);
    }

    #[test]
    fn texts_are_borrowed() {
        let line = br#"{"kind":"article","data":{"gtin":"96385074","name":"Tea","unit":"piece","price_minor":5,"sale":"pieces","tax_group":"A"}}"#;
        let Row::Article(row) = parse_row(line, 1).unwrap() else { panic!("no article") };
        assert!(matches!(row.name, Cow::Borrowed("Tea")));
    }

    #[test]
    fn errors_name_the_line() {
        let good = r#"{"kind":"article_gone","data":{"gtin":"96385074"}}"#;
        for bad in [
            r#"{"kind":"sql","data":{}}"#,
            r#"{"kind":"article_gone","data":{"gtin":"96385075"}}"#,
            r#"{"kind":"article_gone"}"#,
            r#"{"kind":"promotion_gone","data":{"id":""}}"#,
            r#"{"kind":"tax_group","data":{"id":"A","name":"x","rate":"101"}}"#,
            r#"{"kind":"tax_group","data":{"id":"A","name":"x","rate":"1.00001"}}"#,
            r#"{"kind":"article","data":{"gtin":"96385074","name":"x","unit":"piece","price_minor":-1,"sale":"pieces","tax_group":"A"}}"#,
            r#"{"kind":"article","data":{"gtin":"96385074","name":"x","unit":"piece","price_minor":1,"sale":"pre_weighed","tax_group":"A"}}"#,
            r#"{"kind":"article","data":{"gtin":"96385074","name":"a\u0007","unit":"piece","price_minor":1,"sale":"pieces","tax_group":"A"}}"#,
            "not json",
            "[[[[",
        ] {
            let bytes = format!("{good}\n\n{bad}\n");
            let outcomes: Vec<_> = rows(bytes.as_bytes()).collect();
            assert!(outcomes[0].is_ok());
            match &outcomes[1] {
                Err(WalkpayError::InvalidInput { field, .. }) => assert_eq!(field, "catalogue line 3", "{bad}"),
                other => panic!("{bad}: {other:?}"),
            }
        }
        let long = format!("{{\"kind\":\"x\",\"data\":\"{}\"}}", "a".repeat(MAX_ROW_BYTES));
        assert_eq!(parse_row(long.as_bytes(), 1).unwrap_err().code(), "limit");
    }

    #[test]
    fn what_cannot_be_read_is_not_written() {
        let mut bytes = b"before".to_vec();
        let spoiled = Article { name: String::new(), ..article() };
        assert_eq!(write_row(&Row::from(&spoiled), &mut bytes).unwrap_err().code(), "invalid_input");
        let long = Article { name: "ö".repeat(120), ..article() };
        write_row(&Row::from(&long), &mut bytes).unwrap();
        assert!(bytes.starts_with(b"before{"));
    }
}
