//! Catalogue revisions: published, sent to terminals, priced with.

use super::{Answer, Ctx};
use crate::failure::{Failure, OrDefect, defect, refuse};
use crate::store::catalogue::{self as rows, CatalogueRow, Revision};
use crate::store::stores::StoreRow;
use crate::store::{Tx, devices, stores};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use walkpay::barcode::Gtin;
use walkpay::basket::{PRICING_VERSION, SentLines, parse_lines, verify_lines};
use walkpay::catalogue::{Article, CatalogueHeader, PriceBook, Row, parse_row, write_row};
use walkpay::protocol::crypto::digest;
use walkpay::protocol::document::{BasketSummary, CatalogueManifest, EventBody, KeyUse, Reason, ReasonCode};
use walkpay::protocol::message::CatalogueAnswer;
use walkpay::protocol::problem::ProblemCode;
use walkpay::{Money, StoreId, Timestamp};

/// The most rows of a catalogue.
const MAX_ROWS: usize = 500_000;
/// Row kinds, as stored: part of a row's key.
const ARTICLE: u8 = 1;
const TAX_GROUP: u8 = 2;
const PROMOTION: u8 = 3;
const TEMPLATE: u8 = 4;
/// How many answers and revisions stay in memory.
const KEPT: usize = 8;

/// What has been read of catalogue revisions. They never change, so what was read once stays right.
#[derive(Debug, Default)]
pub struct Catalogues {
    loaded: RwLock<HashMap<(i64, u64), Arc<Loaded>>>,
    data: Mutex<Vec<Data>>,
}

/// A revision that baskets are priced with.
#[derive(Debug)]
struct Loaded {
    book: PriceBook,
    articles: RwLock<HashMap<Gtin, Arc<Article>>>,
}

/// A snapshot or delta as it is sent.
#[derive(Clone, Debug)]
struct Data {
    store: i64,
    base: Option<u64>,
    revision: u64,
    bytes: Arc<Vec<u8>>,
    sha256: String,
    rows: u64,
}

/// Why the content of a basket is refused.
#[derive(Clone, Debug)]
pub(super) struct Rejection {
    pub reasons: Vec<Reason>,
    pub repriced: Option<Money>,
}

/// What can be said of a basket from its document and its catalogue revision alone.
pub(super) struct Appraisal {
    /// Lines' digest and form, currency, revision known, pricing version.
    pub form: Option<Rejection>,
    /// Until when the revision could be priced with.
    pub usable_until: Timestamp,
    /// Articles, prices and sums.
    pub content: Option<Rejection>,
    /// What the total is by this revision.
    pub repriced: Option<Money>,
    /// Lines whose buyer's age must be checked.
    pub ages: Vec<Reason>,
}

impl Appraisal {
    fn form(code: ReasonCode, detail: impl Into<String>) -> Self {
        let rejection = Rejection { reasons: vec![super::attempts::reason(code, detail)], repriced: None };
        let usable_until = Timestamp::from_millis(0);
        Self { form: Some(rejection), usable_until, content: None, repriced: None, ages: Vec::new() }
    }
}

/// Checks the content of a basket in the order that docs/protocol.md gives.
pub(super) fn appraise(
    tx: &Tx<'_>,
    ctx: &Ctx,
    store: &StoreRow,
    document: &BasketSummary,
    lines: &[u8],
) -> Result<Appraisal, Failure> {
    if digest(lines) != document.lines_sha256 {
        return Ok(Appraisal::form(ReasonCode::LinesDigest, "the lines are not those that were signed"));
    }
    let sent = match parse_lines(lines) {
        Ok(sent) => sent,
        Err(e) => return Ok(Appraisal::form(ReasonCode::LinesMalformed, e.to_string())),
    };
    let currency = store.currency();
    if document.total.currency != currency || sent.currency != currency {
        return Ok(Appraisal::form(ReasonCode::CurrencyMismatch, format!("expected {currency}")));
    }
    let Some(revision) = rows::revision(tx, store.store, document.catalogue_revision)? else {
        let detail = format!("there is no revision {}", document.catalogue_revision);
        return Ok(Appraisal::form(ReasonCode::CatalogueUnknown, detail));
    };
    if document.pricing_version != revision.pricing_version || revision.pricing_version != PRICING_VERSION {
        let detail = format!("expected {}, got {}", revision.pricing_version, document.pricing_version);
        return Ok(Appraisal::form(ReasonCode::PricingVersion, detail));
    }
    let loaded = ctx.catalogues.loaded(tx, store, &revision)?;
    let mut articles = HashMap::with_capacity(sent.lines.len());
    for line in &sent.lines {
        if !articles.contains_key(&line.gtin)
            && let Some(article) = loaded.article(tx, store.store, revision.revision, line.gtin)?
        {
            articles.insert(line.gtin, article);
        }
    }
    if let Some(stopped) = recalled(tx, ctx, store, &revision, &sent)? {
        let usable_until = revision.usable_until;
        return Ok(Appraisal { form: None, usable_until, content: Some(stopped), repriced: None, ages: Vec::new() });
    }
    let priced = verify_lines(&sent, document.priced_at, &loaded.book, &articles);
    let (content, repriced, ages) = match priced {
        Err(mismatches) => {
            let repriced = mismatches.repriced.map(|b| b.total);
            (Some(Rejection { reasons: mismatches.reasons, repriced }), repriced, Vec::new())
        }
        Ok(basket) => {
            let sums = basket.total == document.total && basket.item_count == document.item_count;
            let rejection = (!sums).then(|| {
                let detail = format!(
                    "expected {} for {} articles, got {} for {}",
                    basket.total, basket.item_count, document.total, document.item_count
                );
                let reasons = vec![super::attempts::reason(ReasonCode::TotalMismatch, detail)];
                Rejection { reasons, repriced: Some(basket.total) }
            });
            let ages = basket.lines.iter().filter_map(|l| Some((l.line, l.min_age?)));
            let ages = ages.map(|(line, age)| Reason {
                code: ReasonCode::AgeCheck,
                line: Some(line.0),
                detail: format!("the buyer must be {age} or older"),
            });
            (rejection, Some(basket.total), ages.collect())
        }
    };
    Ok(Appraisal { form: None, usable_until: revision.usable_until, content, repriced, ages })
}

/// The lines whose sale the newest revision stops, whichever one they are priced with: a recall counts at once.
fn recalled(
    tx: &Tx<'_>,
    ctx: &Ctx,
    store: &StoreRow,
    priced_with: &Revision,
    sent: &SentLines,
) -> Result<Option<Rejection>, Failure> {
    let newest = rows::newest(tx, store.store)?.or_defect("newest revision")?;
    if newest.revision == priced_with.revision {
        return Ok(None);
    }
    let loaded = ctx.catalogues.loaded(tx, store, &newest)?;
    let mut reasons = Vec::new();
    for line in &sent.lines {
        let article = loaded.article(tx, store.store, newest.revision, line.gtin)?;
        if article.is_some_and(|a| a.sale_stopped) {
            let detail = format!("{} must not be sold any more", line.gtin);
            reasons.push(Reason { code: ReasonCode::SaleStopped, line: Some(line.line.0), detail });
        }
    }
    Ok((!reasons.is_empty()).then_some(Rejection { reasons, repriced: None }))
}

impl Catalogues {
    fn loaded(&self, tx: &Tx<'_>, store: &StoreRow, revision: &Revision) -> Result<Arc<Loaded>, Failure> {
        let key = (store.store, revision.revision);
        if let Some(loaded) = self.loaded.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(loaded.clone());
        }
        let book = price_book(store, revision, rows::rows(tx, store.store, revision.revision, (TAX_GROUP, TEMPLATE))?)?;
        let loaded = Arc::new(Loaded { book, articles: RwLock::default() });
        let mut all = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT {
            // Old revisions are asked for rarely and read again cheaply.
            let oldest = all.keys().min_by_key(|(_, revision)| *revision).copied();
            oldest.map(|key| all.remove(&key));
        }
        all.insert(key, loaded.clone());
        Ok(loaded)
    }

    fn data(&self, tx: &Tx<'_>, store: i64, base: Option<u64>, revision: u64) -> Result<Data, Failure> {
        let find = |all: &Vec<Data>| {
            all.iter().find(|d| d.store == store && d.base == base && d.revision == revision).cloned()
        };
        if let Some(data) = find(&self.data.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(data);
        }
        let data = make_data(tx, store, base, revision)?;
        let mut all = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(0, data.clone());
        all.truncate(KEPT);
        Ok(data)
    }
}

impl Loaded {
    fn article(&self, tx: &Tx<'_>, store: i64, revision: u64, gtin: Gtin) -> Result<Option<Arc<Article>>, Failure> {
        if let Some(article) = self.articles.read().unwrap_or_else(PoisonError::into_inner).get(&gtin) {
            return Ok(Some(article.clone()));
        }
        let Some(line) = rows::row(tx, store, revision, ARTICLE, &gtin.to_string())? else {
            return Ok(None);
        };
        let Row::Article(row) = parse_row(&line, 1).or_defect("catalogue row")? else {
            return Err(defect("catalogue row", "not an article"));
        };
        let article = Arc::new(Article::from(row));
        self.articles.write().unwrap_or_else(PoisonError::into_inner).insert(gtin, article.clone());
        Ok(Some(article))
    }
}

fn price_book(store: &StoreRow, revision: &Revision, rows: Vec<CatalogueRow>) -> Result<PriceBook, Failure> {
    let header = CatalogueHeader {
        store_id: store.info.store_id.clone(),
        currency: store.currency(),
        revision: revision.revision,
        pricing_version: revision.pricing_version,
    };
    let (mut groups, mut promotions, mut templates) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        match parse_row(&row.row, 1).or_defect("catalogue row")? {
            Row::TaxGroup(group) => groups.push(group),
            Row::Promotion(promotion) => promotions.push(promotion),
            Row::Template(template) => templates.push(template),
            _ => return Err(defect("catalogue row", "of another kind")),
        }
    }
    PriceBook::new(header, groups, promotions, templates).or_defect("price book")
}

fn make_data(tx: &Tx<'_>, store: i64, base: Option<u64>, revision: u64) -> Result<Data, Failure> {
    let present = match base {
        None => rows::rows(tx, store, revision, (ARTICLE, TEMPLATE))?,
        Some(base) => rows::changed(tx, store, base, revision)?,
    };
    let mut bytes = Vec::with_capacity(present.iter().map(|r| r.row.len() + 1).sum());
    let mut count = present.len() as u64;
    for row in &present {
        bytes.extend_from_slice(&row.row);
        bytes.push(b'\n');
    }
    if let Some(base) = base {
        for (kind, key) in rows::removed(tx, store, base, revision)? {
            write_row(&gone(kind, key)?, &mut bytes).or_defect("catalogue row")?;
            count += 1;
        }
    }
    Ok(Data { store, base, revision, sha256: digest(&bytes), bytes: Arc::new(bytes), rows: count })
}

fn gone(kind: u8, key: String) -> Result<Row<'static>, Failure> {
    match kind {
        ARTICLE => Ok(Row::ArticleGone { gtin: Gtin::parse(&key).or_defect("catalogue key")? }),
        PROMOTION => Ok(Row::PromotionGone { id: key }),
        TEMPLATE => Ok(Row::TemplateGone { id: key }),
        _ => Err(defect("catalogue row", "tax groups never go")),
    }
}

/// The signed manifest of the newest revision, as a delta from `base` if that is known and older.
pub(super) fn manifest(tx: &Tx<'_>, ctx: &Ctx, store_id: &StoreId, base: Option<u64>) -> Result<Answer, Failure> {
    let store = known(tx, store_id)?;
    let newest = rows::newest(tx, store.store)?
        .ok_or_else(|| refuse(ProblemCode::NotFound, format!("store {store_id} has no catalogue yet")))?;
    let base = match base {
        Some(base) if base <= newest.revision => rows::revision(tx, store.store, base)?.map(|r| r.revision),
        _ => None,
    };
    let data = ctx.catalogues.data(tx, store.store, base, newest.revision)?;
    let manifest = CatalogueManifest {
        merchant_id: ctx.keys.merchant_id().clone(),
        store_id: store_id.clone(),
        base,
        revision: newest.revision,
        sha256: data.sha256,
        length: data.bytes.len() as u64,
        rows: data.rows,
        pricing_version: newest.pricing_version,
        issued_at: ctx.now,
        usable_until: newest.usable_until,
    };
    let manifest = super::tell::sign(ctx, KeyUse::Catalogue, &manifest)?;
    Ok(Answer::Manifest(CatalogueAnswer { manifest }))
}

/// The bytes that a manifest describes.
pub(super) fn data(
    tx: &Tx<'_>,
    ctx: &Ctx,
    store_id: &StoreId,
    revision: u64,
    base: Option<u64>,
) -> Result<Answer, Failure> {
    let store = known(tx, store_id)?;
    let known = |r: u64| -> Result<bool, Failure> { Ok(rows::revision(tx, store.store, r)?.is_some()) };
    let based = match base {
        Some(base) => base <= revision && known(base)?,
        None => true,
    };
    if !based || !known(revision)? {
        return Err(refuse(ProblemCode::NotFound, "there is no such revision: ask for the manifest again"));
    }
    let data = ctx.catalogues.data(tx, store.store, base, revision)?;
    Ok(Answer::CatalogueData(data.bytes))
}

fn known(tx: &Tx<'_>, store_id: &StoreId) -> Result<StoreRow, Failure> {
    stores::find(tx, store_id)?.ok_or_else(|| refuse(ProblemCode::NotFound, format!("there is no store {store_id}")))
}

/// Makes the next revision from rows; nothing changes if one of them is wrong or all are there already.
pub(super) fn import(
    tx: &Tx<'_>,
    ctx: &Ctx,
    store_id: &StoreId,
    ndjson: &[u8],
    replace: bool,
) -> Result<Answer, Failure> {
    let store = known(tx, store_id)?;
    let newest = rows::newest(tx, store.store)?;
    let revision = newest.map_or(1, |r| r.revision + 1);
    let before: BTreeMap<(u8, String), Vec<u8>> = match newest {
        None => BTreeMap::new(),
        Some(r) => rows::rows(tx, store.store, r.revision, (ARTICLE, TEMPLATE))?
            .into_iter()
            .map(|r| ((r.kind, r.key), r.row))
            .collect(),
    };
    let mut after = if replace {
        before.iter().filter(|((kind, _), _)| *kind == TAX_GROUP).map(|(k, v)| (k.clone(), v.clone())).collect()
    } else {
        before.clone()
    };
    take_rows(ndjson, &mut after)?;
    let next = Revision {
        revision,
        pricing_version: PRICING_VERSION,
        issued_at: ctx.now,
        usable_until: ctx.now.plus(ctx.config.catalogue_usable),
    };
    check_whole(&store, &next, &after)?;
    let mut changed = 0;
    for (kind, key) in before.keys().filter(|k| !after.contains_key(*k)) {
        rows::end(tx, store.store, *kind, key, revision)?;
        changed += 1;
    }
    for ((kind, key), row) in after {
        let old = before.get(&(kind, key.clone()));
        if old == Some(&row) {
            continue;
        }
        if old.is_some() {
            rows::end(tx, store.store, kind, &key, revision)?;
        }
        rows::begin(tx, store.store, &CatalogueRow { kind, key, row }, revision)?;
        changed += 1;
    }
    if changed == 0 && newest.is_some() {
        return Ok(Answer::Imported { revision: revision - 1, changed });
    }
    rows::add_revision(tx, store.store, &next)?;
    rows::forget(tx, store.store, ctx.now.minus(Duration::from_secs(30 * 24 * 3600)))?;
    stores::audit(tx, ctx.now, "operator", "import_catalogue", store_id.as_str())?;
    for device in devices::in_use(tx)? {
        let device = devices::get(tx, device)?;
        let event = EventBody::CataloguePublished { store_id: store_id.clone(), revision };
        super::tell::tell(tx, ctx, &device, &event)?;
    }
    Ok(Answer::Imported { revision, changed })
}

fn take_rows(ndjson: &[u8], after: &mut BTreeMap<(u8, String), Vec<u8>>) -> Result<(), Failure> {
    let wrong = |e: walkpay::WalkpayError| refuse(ProblemCode::InvalidValue, e.to_string());
    for row in walkpay::catalogue::rows(ndjson) {
        let row = row.map_err(wrong)?;
        let key = match &row {
            Row::Article(a) => (ARTICLE, a.gtin.to_string()),
            Row::ArticleGone { gtin } => (ARTICLE, gtin.to_string()),
            Row::TaxGroup(t) => (TAX_GROUP, t.id.clone()),
            Row::Promotion(p) => (PROMOTION, p.id.clone()),
            Row::PromotionGone { id } => (PROMOTION, id.clone()),
            Row::Template(t) => (TEMPLATE, t.id.clone()),
            Row::TemplateGone { id } => (TEMPLATE, id.clone()),
        };
        if matches!(row, Row::ArticleGone { .. } | Row::PromotionGone { .. } | Row::TemplateGone { .. }) {
            after.remove(&key);
            continue;
        }
        let mut line = Vec::new();
        write_row(&row, &mut line).map_err(wrong)?;
        line.pop();
        after.insert(key, line);
        if after.len() > MAX_ROWS {
            return Err(refuse(ProblemCode::TooLarge, format!("a catalogue has at most {MAX_ROWS} rows")));
        }
    }
    Ok(())
}

/// Checks what spans rows: ids, tax groups and deposits that exist.
fn check_whole(store: &StoreRow, revision: &Revision, after: &BTreeMap<(u8, String), Vec<u8>>) -> Result<(), Failure> {
    let others = after.iter().filter(|((kind, _), _)| *kind != ARTICLE);
    let others = others.map(|((kind, key), row)| CatalogueRow { kind: *kind, key: key.clone(), row: row.clone() });
    let book = price_book(store, revision, others.collect())?;
    for line in after.iter().filter(|((kind, _), _)| *kind == ARTICLE).map(|(_, row)| row) {
        let Row::Article(article) = parse_row(line, 1).or_defect("catalogue row")? else {
            return Err(defect("catalogue row", "not an article"));
        };
        if !book.tax_groups().iter().any(|t| *t.id == *article.tax_group) {
            let detail = format!("article {}: there is no tax group {}", article.gtin, article.tax_group);
            return Err(refuse(ProblemCode::InvalidValue, detail));
        }
        if let Some(deposit) = article.deposit
            && !after.contains_key(&(ARTICLE, deposit.to_string()))
        {
            let detail = format!("article {}: there is no deposit article {deposit}", article.gtin);
            return Err(refuse(ProblemCode::InvalidValue, detail));
        }
    }
    Ok(())
}

/// Has the newest revision of each store usable for longer when half of its time is over.
pub(super) fn renew(tx: &Tx<'_>, ctx: &Ctx) -> Result<usize, Failure> {
    let mut renewed = 0;
    for store in stores::all(tx)? {
        if let Some(newest) = rows::newest(tx, store.store)?
            && newest.usable_until < ctx.now.plus(ctx.config.catalogue_usable / 2)
        {
            let until = ctx.now.plus(ctx.config.catalogue_usable);
            rows::renew(tx, store.store, newest.revision, until)?;
            renewed += 1;
        }
    }
    Ok(renewed)
}

/// When the next revision is to be renewed.
pub(super) fn next_renewal(tx: &Tx<'_>, ctx: &Ctx) -> Result<Option<Timestamp>, Failure> {
    let mut next: Option<Timestamp> = None;
    for store in stores::all(tx)? {
        if let Some(newest) = rows::newest(tx, store.store)? {
            let due = newest.usable_until.minus(ctx.config.catalogue_usable / 2).plus(Duration::from_millis(1));
            next = Some(next.map_or(due, |n| n.min(due)));
        }
    }
    Ok(next)
}
