//! The catalogues that are open, and the articles that were looked up in them.

use super::pool;
use crate::adapter::catalogue_store::{CatalogueMeta, CatalogueReader};
use crate::adapter::sqlite::Durability;
use crate::barcode::Gtin;
use crate::basket::{Basket, Pick, PricedBasket, check_price, price};
use crate::catalogue::{Article, Articles, PriceBook};
use crate::error::WalkpayError;
use crate::id::StoreId;
use crate::time::Timestamp;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The most articles that are kept in memory per store: more than any basket has.
const MAX_KEPT: usize = 4_000;

/// The catalogues of a terminal, opened when they are first asked for.
pub(crate) struct Shelves {
    folder: PathBuf,
    durability: Durability,
    open: HashMap<StoreId, Shelf>,
    /// Those that are being opened beside everything else.
    opening: HashMap<StoreId, Receiver<Result<Option<CatalogueReader>, WalkpayError>>>,
}

/// One store's catalogue.
pub(crate) struct Shelf {
    reader: CatalogueReader,
    kept: Kept,
}

/// Articles of one revision. Another revision has others: whoever has these still finds there what was found before.
#[derive(Clone, Default)]
struct Kept(Arc<RwLock<ByGtin>>);

/// Articles by their keys, which nobody can choose for their hashes: they are those of a signed catalogue.
pub(crate) type ByGtin = HashMap<Gtin, Article, BuildHasherDefault<GtinHasher>>;

impl Kept {
    fn read(&self) -> RwLockReadGuard<'_, ByGtin> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ByGtin> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Spreads one number over all bits.
#[derive(Default)]
pub(crate) struct GtinHasher(u64);

impl Hasher for GtinHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio; the upper half of the product depends on all bits of the number.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A basket that has a price, and what that follows from: it can be worked out on another thread.
pub(crate) struct Priced {
    picks: Vec<Pick>,
    priced_at: Timestamp,
    book: Arc<PriceBook>,
    kept: Kept,
    /// Articles of the basket that are gone from the catalogue.
    gone: Vec<Article>,
}

impl Priced {
    /// The basket.
    ///
    /// # Errors
    /// None that could happen: it has been looked whether there is any.
    pub(crate) fn basket(self) -> Result<PricedBasket, WalkpayError> {
        let kept = self.kept.read();
        let known = Known { catalogue: &kept, basket: self.gone.as_slice() };
        price(&self.picks, self.priced_at, &self.book, &known)
    }
}

impl Shelves {
    pub(crate) fn new(folder: PathBuf, durability: Durability) -> Self {
        Self { folder, durability, open: HashMap::new(), opening: HashMap::new() }
    }

    /// Begins to open the catalogue of `store`, which will soon be asked for.
    pub(crate) fn open_ahead(&mut self, store: &StoreId) {
        if self.open.contains_key(store) || self.opening.contains_key(store) {
            return;
        }
        let Ok(pool) = pool() else { return };
        let (done, opened) = channel();
        let (folder, name, durability) = (self.folder.clone(), store.clone(), self.durability);
        pool.spawn_blocking(move || drop(done.send(CatalogueReader::open(&folder, &name, durability))));
        self.opening.insert(store.clone(), opened);
    }

    /// The catalogue of `store`, if there ever was one.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub(crate) fn find(&mut self, store: &StoreId) -> Result<Option<&mut Shelf>, WalkpayError> {
        if !self.open.contains_key(store) {
            let ahead = self.opening.remove(store).and_then(|opening| opening.recv().ok());
            let opened = ahead.unwrap_or_else(|| CatalogueReader::open(&self.folder, store, self.durability));
            if let Some(reader) = opened? {
                self.open.insert(store.clone(), Shelf { reader, kept: Kept::default() });
            }
        }
        Ok(self.open.get_mut(store))
    }

    /// The catalogue of `store`.
    ///
    /// # Errors
    /// [`WalkpayError::WrongOrder`] before the first sync, [`WalkpayError::Storage`].
    pub(crate) fn get(&mut self, store: &StoreId, called: &str) -> Result<&mut Shelf, WalkpayError> {
        let due = || WalkpayError::WrongOrder { called: called.to_owned(), due: "sync_catalogue".into() };
        self.find(store)?.ok_or_else(due)
    }

    /// Goes on to what an import has committed.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub(crate) fn advance(&mut self, store: &StoreId) -> Result<(), WalkpayError> {
        // What was opened ahead may be from before the import, or nothing.
        self.opening.remove(store);
        if let Some(shelf) = self.open.get_mut(store) {
            shelf.kept = Kept::default();
            // Articles of one revision and prices of another must not meet: it is opened anew when it is next asked for.
            shelf.reader.advance().inspect_err(|_| drop(self.open.remove(store)))?;
        }
        Ok(())
    }
}

/// A folder is free only when nothing in it is being opened.
impl Drop for Shelves {
    fn drop(&mut self) {
        self.opening.drain().for_each(|(_, opening)| drop(opening.recv()));
    }
}

impl Shelf {
    pub(crate) fn meta(&self) -> &CatalogueMeta {
        self.reader.meta()
    }

    pub(crate) fn book(&self) -> &Arc<PriceBook> {
        self.reader.price_book()
    }

    pub(crate) fn search(&self, text: &str, limit: u32) -> Result<Vec<Article>, WalkpayError> {
        self.reader.search(text, limit)
    }

    /// Has an article and its deposit at hand, if the catalogue has them.
    pub(crate) fn fetch(&mut self, gtin: Gtin) -> Result<(), WalkpayError> {
        self.make_room(2);
        self.look_up(gtin)
    }

    /// Has all articles of a basket at hand.
    pub(crate) fn fetch_all(&mut self, articles: impl ExactSizeIterator<Item = Gtin>) -> Result<(), WalkpayError> {
        self.make_room(2 * articles.len());
        articles.into_iter().try_for_each(|gtin| self.look_up(gtin))
    }

    /// The articles that are at hand.
    pub(crate) fn articles(&self) -> RwLockReadGuard<'_, ByGtin> {
        self.kept.read()
    }

    /// Looks whether `picks`, which are those of `basket` or will be, have a price.
    ///
    /// # Errors
    /// Those of [`crate::basket::price`], [`WalkpayError::Storage`].
    pub(crate) fn price(
        &mut self,
        picks: Vec<Pick>,
        basket: &Basket,
        priced_at: Timestamp,
    ) -> Result<Priced, WalkpayError> {
        let mut gone = Vec::new();
        if !self.has_all(&picks) {
            self.fetch_all(picks.iter().map(|pick| pick.gtin))?;
            let kept = self.kept.read();
            let of_basket = basket.lines().iter().map(|line| &line.article);
            gone.extend(of_basket.filter(|article| !kept.contains_key(&article.gtin)).cloned());
        }
        let book = self.reader.price_book();
        let kept = self.kept.read();
        check_price(&picks, book, &Known { catalogue: &kept, basket: gone.as_slice() })?;
        drop(kept);
        Ok(Priced { picks, priced_at, book: book.clone(), kept: self.kept.clone(), gone })
    }

    fn has_all(&self, picks: &[Pick]) -> bool {
        let kept = self.kept.read();
        picks.iter().all(|pick| kept.contains_key(&pick.gtin))
    }

    fn make_room(&mut self, articles: usize) {
        if self.kept.read().len() + articles > MAX_KEPT {
            self.kept = Kept::default();
        }
    }

    fn look_up(&mut self, gtin: Gtin) -> Result<(), WalkpayError> {
        let mut next = Some(gtin).filter(|g| !self.kept.read().contains_key(g));
        while let Some(gtin) = next {
            let found = self.reader.article(gtin)?;
            let deposit = found.as_ref().and_then(|a| a.deposit);
            let mut kept = self.kept.write();
            if let Some(article) = found {
                kept.insert(gtin, article);
            }
            next = deposit.filter(|g| !kept.contains_key(g));
        }
        Ok(())
    }
}

/// The articles of the catalogue, and for those that are gone from it what they were when they were scanned.
struct Known<'a> {
    catalogue: &'a ByGtin,
    basket: &'a [Article],
}

impl Articles for Known<'_> {
    fn article(&self, gtin: Gtin) -> Option<&Article> {
        self.catalogue.get(&gtin).or_else(|| self.basket.article(gtin))
    }
}
