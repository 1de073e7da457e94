//! Signing a basket, and checking one that came: no files, no network.

use crate::effort::Effort;
use crate::goods::Goods;
use crate::measure::{Found, Goal, Measure, Outcome, in_turns, per_step};
use ed25519_dalek::{Signature, Signer, SigningKey};
use ring::digest::SHA256;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use walkpay::barcode::Gtin;
use walkpay::basket::{
    LineId, PRICING_VERSION, Pick, PricedBasket, Quantity, lines_bytes, parse_lines, price, verify_lines,
};
use walkpay::catalogue::{Article, PriceBook, SaleKind};
use walkpay::protocol::crypto::{Algorithm, PublicKey, digest};
use walkpay::protocol::document::BasketSummary;
use walkpay::protocol::jws::{assemble, signing_input, verify};
use walkpay::{DeviceId, KeyId, MerchantId, StoreId, Sub, Timestamp, TripId};

/// Both rows.
pub const MEASURES: &[Measure] = &[
    Measure {
        name: "sign",
        ours: "sign a 50-line basket",
        reference: "ed25519-dalek signs the summary, SHA-256 of the lines",
        goal: Goal::AtMost(1.5),
        run: sign,
    },
    Measure {
        name: "check",
        ours: "verify, parse, price and validate a 50-line basket",
        reference: "`verify_strict` of the summary, SHA-256 of the lines",
        goal: Goal::AtMost(3.0),
        run: check,
    },
];

/// How many lines a basket has.
pub const LINES: usize = 50;

/// A basket of the goods, and what is needed for signing and for checking it.
struct Fixture {
    key: SigningKey,
    public: PublicKey,
    kid: KeyId,
    priced: PricedBasket,
    book: PriceBook,
    articles: HashMap<Gtin, Article>,
}

impl Fixture {
    fn new(goods: &Goods) -> Outcome<Self> {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = PublicKey::from_raw(Algorithm::Ed25519, key.verifying_key().as_bytes())?;
        let book = goods.book(&StoreId::parse("s")?, 1)?;
        let (picks, articles) = picks(goods, 0);
        let priced = price(&picks, Timestamp::from_millis(1_790_000_000_000), &book, &articles)?;
        Ok(Self { kid: public.key_id(), key, public, priced, book, articles })
    }

    fn summary(&self, lines: &[u8]) -> Outcome<BasketSummary> {
        let at = self.priced.priced_at;
        Ok(BasketSummary {
            merchant_id: MerchantId::parse("m")?,
            store_id: self.book.header().store_id.clone(),
            sub: Sub::parse("u-1")?,
            device_id: DeviceId::new(at, [1; 10]),
            device_seq: 1,
            trip_id: TripId::new(at, [2; 10]),
            attempt: 1,
            hold_id: None,
            catalogue_revision: self.priced.revision,
            pricing_version: PRICING_VERSION,
            priced_at: at,
            total: self.priced.total,
            item_count: self.priced.item_count,
            lines_sha256: digest(lines),
        })
    }

    /// What is sent for the basket: lines and JWS.
    fn signed(&self) -> Outcome<(Vec<u8>, String)> {
        let lines = lines_bytes(&self.priced);
        let input = signing_input(&self.summary(&lines)?, Algorithm::Ed25519, &self.kid)?;
        let signature = self.key.sign(input.as_bytes()).to_bytes();
        Ok((lines, assemble(&input, &signature)))
    }

    /// What a merchant finds out about it without looking anything up.
    fn checked(&self, lines: &[u8], jws: &str) -> Outcome<PricedBasket> {
        let signed = verify::<BasketSummary>(jws, |kid| (*kid == self.kid).then_some(&self.public))?;
        let summary = signed.document;
        if digest(lines) != summary.lines_sha256 {
            return Err("other lines".into());
        }
        let sent = parse_lines(lines)?;
        let priced = verify_lines(&sent, summary.priced_at, &self.book, &self.articles)
            .map_err(|mismatches| format!("{mismatches:?}"))?;
        if (priced.total, priced.item_count) != (summary.total, summary.item_count) {
            return Err("another total".into());
        }
        Ok(priced)
    }
}

/// A basket of 50 lines, two of them weighed, others for each `turn`.
pub fn picks(goods: &Goods, turn: usize) -> (Vec<Pick>, HashMap<Gtin, Article>) {
    let weighed = goods.articles.iter().filter(|a| a.sale == SaleKind::ShopperWeighed).skip(turn % 8).take(2);
    let all: Vec<&Article> = goods.pieces(turn, LINES - 2).chain(weighed).collect();
    let pick = |(n, article): (u32, &&Article)| {
        let quantity = match article.sale {
            SaleKind::Pieces => Quantity::Pieces { count: 1 + n % 3 },
            _ => Quantity::Grams { grams: 200 + n },
        };
        Pick { line: LineId(n), gtin: article.gtin, quantity, parent: None }
    };
    let picks = (1..).zip(&all).map(pick).collect();
    (picks, all.into_iter().map(|a| (a.gtin, a.clone())).collect())
}

fn sign(goods: &Arc<Goods>, effort: &Effort) -> Outcome<Found> {
    let fixture = Fixture::new(goods)?;
    let (lines, jws) = fixture.signed()?;
    let (message, _) = jws.rsplit_once('.').ok_or("no JWS")?;
    let ours =
        |_| per_step(effort.repeat, || (0..effort.repeat).try_for_each(|_| black_box(fixture.signed()).map(drop)));
    let reference = |_| {
        per_step(effort.repeat, || {
            for _ in 0..effort.repeat {
                black_box(ring::digest::digest(&SHA256, black_box(&lines)));
                black_box(fixture.key.sign(black_box(message.as_bytes())));
            }
            Ok(())
        })
    };
    Ok(in_turns(effort.rounds, ours, reference)?.into())
}

fn check(goods: &Arc<Goods>, effort: &Effort) -> Outcome<Found> {
    let fixture = Fixture::new(goods)?;
    let (lines, jws) = fixture.signed()?;
    let (message, _) = jws.rsplit_once('.').ok_or("no JWS")?;
    let signature: Signature = fixture.key.sign(message.as_bytes());
    let public = fixture.key.verifying_key();
    let ours = |_| {
        per_step(effort.repeat, || {
            (0..effort.repeat).try_for_each(|_| black_box(fixture.checked(&lines, &jws)).map(drop))
        })
    };
    let reference = |_| {
        per_step(effort.repeat, || {
            for _ in 0..effort.repeat {
                black_box(ring::digest::digest(&SHA256, black_box(&lines)));
                public.verify_strict(black_box(message.as_bytes()), black_box(&signature))?;
            }
            Ok(())
        })
    };
    Ok(in_turns(effort.rounds, ours, reference)?.into())
}
