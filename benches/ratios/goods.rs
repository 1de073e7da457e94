//! The catalogue that everything is measured with.

use crate::measure::Outcome;
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use walkpay::barcode::{Gtin, check_digit};
use walkpay::catalogue::{
    Article, CatalogueHeader, PriceBook, PriceUnit, Promotion, PromotionKind, Row, SaleKind, TaxGroup, write_row,
};
use walkpay::{Currency, StoreId};

const SYLLABLES: [&str; 24] = [
    "ba", "ko", "ri", "mel", "sa", "tun", "lo", "vi", "ger", "na", "pé", "dor", "chi", "ma", "fru", "li", "ost", "ke",
    "zan", "blé", "gra", "mi", "ton", "el",
];
const KINDS: [&str; 20] = [
    "yoghurt",
    "biscuits",
    "muesli",
    "jus d'orange",
    "thé vert",
    "chocolate",
    "pasta",
    "olives",
    "crème fraîche",
    "coffee",
    "lait demi-écrémé",
    "bread",
    "honey",
    "ham",
    "cheese",
    "soup",
    "rice",
    "salad",
    "tomatoes",
    "lemonade",
];
const MANNERS: [&str; 12] =
    ["", "bio", "organic", "sans sucre", "classic", "light", "mild", "extra", "au naturel", "0 %", "family", "mini"];

/// Articles, tax groups and promotions.
pub struct Goods {
    /// In the order of their GTINs.
    pub articles: Vec<Article>,
    /// Where they come from.
    pub origin: String,
    file: Option<PathBuf>,
    tax_groups: Vec<TaxGroup>,
    promotions: Vec<Promotion>,
}

impl Goods {
    /// Makes `count` articles up: always the same ones, with names about as long and as varied as real ones.
    pub fn made(count: usize) -> Outcome<Self> {
        let named = (0..count as u64).map(|n| Ok((made_gtin(n)?, made_name(n))));
        Self::of(named.collect::<Outcome<_>>()?, "made up".into(), None)
    }

    /// Reads `gtin,name` lines below a header, at most `count`; a name that ends in `gz` is unpacked by `gzip`.
    pub fn read(file: &Path, count: usize) -> Outcome<Self> {
        let bytes = if file.extension().is_some_and(|e| e == "gz") {
            let unpacked = Command::new("gzip").arg("-dc").arg(file).output()?;
            if !unpacked.status.success() {
                return Err(format!("gzip -dc {}: {}", file.display(), unpacked.status).into());
            }
            unpacked.stdout
        } else {
            std::fs::read(file)?
        };
        let named = String::from_utf8(bytes)?.lines().skip(1).take(count).filter_map(named).collect();
        Self::of(named, format!("from {}", file.file_name().unwrap_or_default().display()), Some(file.to_owned()))
    }

    /// What another process needs to have the same goods: how many, and the file.
    pub fn recipe(&self) -> [String; 2] {
        [self.articles.len().to_string(), self.file.as_ref().map_or_else(String::new, |f| f.display().to_string())]
    }

    /// The goods of a [`Goods::recipe`].
    pub fn again(count: &str, file: &str) -> Outcome<Self> {
        match file {
            "" => Self::made(count.parse()?),
            file => Self::read(Path::new(file), count.parse()?),
        }
    }

    fn of(named: BTreeMap<Gtin, String>, origin: String, file: Option<PathBuf>) -> Outcome<Self> {
        let articles: Vec<Article> = named.into_iter().map(|(gtin, name)| article(gtin, name)).collect();
        let pieces: Vec<Gtin> = articles.iter().filter(|a| a.sale == SaleKind::Pieces).map(|a| a.gtin).collect();
        let promotions = pieces.chunks(100).step_by(20).take(40).zip(0..).map(|(gtins, n)| promotion(n, gtins));
        let promotions = promotions.collect();
        let group = |id: &str, rate: i64| TaxGroup { id: id.into(), name: id.into(), rate: Decimal::from(rate) };
        Ok(Self { articles, origin, file, tax_groups: vec![group("A", 19), group("B", 7)], promotions })
    }

    /// The catalogue as it travels.
    pub fn ndjson(&self) -> Outcome<Vec<u8>> {
        let mut out = Vec::new();
        for group in &self.tax_groups {
            write_row(&Row::TaxGroup(group.clone()), &mut out)?;
        }
        for article in &self.articles {
            write_row(&Row::from(article), &mut out)?;
        }
        for promotion in &self.promotions {
            write_row(&Row::Promotion(promotion.clone()), &mut out)?;
        }
        Ok(out)
    }

    /// How many rows [`Goods::ndjson`] has.
    pub fn rows(&self) -> usize {
        self.articles.len() + self.tax_groups.len() + self.promotions.len()
    }

    /// Prices, as revision `revision` of `store` has them.
    pub fn book(&self, store: &StoreId, revision: u64) -> Outcome<PriceBook> {
        let header = CatalogueHeader {
            store_id: store.clone(),
            currency: currency()?,
            revision,
            pricing_version: walkpay::basket::PRICING_VERSION,
        };
        Ok(PriceBook::new(header, self.tax_groups.clone(), self.promotions.clone(), Vec::new())?)
    }

    /// `count` counted articles from all over the catalogue, others for each `turn`.
    pub fn pieces(&self, turn: usize, count: usize) -> impl Iterator<Item = &Article> {
        let pieces = self.articles.len();
        let at = move |n: usize| ((turn * count + n).wrapping_mul(7_919) + turn) % pieces;
        let mut seen = std::collections::HashSet::new();
        let picked = (0..).map(at).map(|at| &self.articles[at]);
        picked.filter(move |a| a.sale == SaleKind::Pieces && seen.insert(a.gtin)).take(count)
    }
}

/// The currency of everything here.
pub fn currency() -> Outcome<Currency> {
    Ok(Currency::parse("EUR")?)
}

fn named(line: &str) -> Option<(Gtin, String)> {
    let (gtin, name) = line.split_once(',')?;
    let name: String = name.trim_matches('"').chars().filter(|c| !c.is_control()).take(100).collect();
    Some((Gtin::parse(gtin).ok()?, name.trim().to_owned())).filter(|(_, name)| !name.is_empty())
}

/// Price, tax group and kind follow from the number.
fn article(gtin: Gtin, name: String) -> Article {
    let spread = gtin.as_i64().unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let weighed = spread.is_multiple_of(25);
    Article {
        gtin,
        name,
        department: ["Food", "Drinks", "Household", "Fresh"][(spread % 4) as usize].into(),
        unit: if weighed { PriceUnit::Kilogram } else { PriceUnit::Piece },
        price_minor: 49 + i64::try_from(spread % 950).unwrap_or(0),
        sale: if weighed { SaleKind::ShopperWeighed } else { SaleKind::Pieces },
        deposit: None,
        min_age: None,
        sale_stopped: false,
        tax_group: if spread.is_multiple_of(3) { "A".into() } else { "B".into() },
    }
}

fn promotion(n: u32, gtins: &[Gtin]) -> Promotion {
    let kind = match n % 2 {
        0 => PromotionKind::PercentOff { percent: Decimal::from(10) },
        _ => PromotionKind::NForPrice { n: 3, price_minor: 500 },
    };
    Promotion { id: format!("p{n}"), title: "Offer".into(), kind, gtins: gtins.to_vec(), from: None, until: None }
}

fn made_gtin(n: u64) -> Outcome<Gtin> {
    let digits = format!("{:012}", 300_000_000_000 + n * 1_597);
    let check = check_digit(&digits.bytes().map(|b| b - b'0').collect::<Vec<_>>());
    Ok(Gtin::parse(&format!("{digits}{check}"))?)
}

fn made_name(n: u64) -> String {
    let spread = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let pick = |shift: u32, of: &[&'static str]| of[(spread >> shift) as usize % of.len()];
    let brand: String = [8, 16, 24].iter().map(|shift| pick(*shift, &SYLLABLES)).collect();
    let words = [&brand, pick(32, &KINDS), pick(40, &MANNERS)];
    let size = format!("{} g", 50 + spread % 19 * 50);
    words.iter().copied().filter(|w| !w.is_empty()).chain([size.as_str()]).collect::<Vec<_>>().join(" ")
}
