//! The catalogues that are open, and the articles that were looked up in them.

use super::pool;
use crate::adapter::catalogue_store::{CatalogueMeta, CatalogueReader};
use crate::adapter::sqlite::Durability;
use crate::barcode::Gtin;
use crate::basket::Basket;
use crate::catalogue::{Article, Articles, PriceBook};
use crate::error::WalkpayError;
use crate::id::StoreId;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

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
    kept: HashMap<Gtin, Article>,
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
                self.open.insert(store.clone(), Shelf { reader, kept: HashMap::new() });
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
            shelf.kept.clear();
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
    pub(crate) fn articles(&self) -> &HashMap<Gtin, Article> {
        &self.kept
    }

    fn make_room(&mut self, articles: usize) {
        if self.kept.len() + articles > MAX_KEPT {
            self.kept.clear();
        }
    }

    fn look_up(&mut self, gtin: Gtin) -> Result<(), WalkpayError> {
        let mut next = Some(gtin);
        while let Some(gtin) = next.filter(|g| !self.kept.contains_key(g)) {
            let found = self.reader.article(gtin)?;
            next = found.as_ref().and_then(|a| a.deposit);
            if let Some(article) = found {
                self.kept.insert(gtin, article);
            }
        }
        Ok(())
    }
}

/// The articles of the catalogue, and for those that are gone from it what they were when they were scanned.
pub(crate) struct Known<'a> {
    pub(crate) catalogue: &'a HashMap<Gtin, Article>,
    pub(crate) basket: &'a Basket,
}

impl Articles for Known<'_> {
    fn article(&self, gtin: Gtin) -> Option<&Article> {
        self.catalogue.get(&gtin).or_else(|| self.basket.article(gtin))
    }
}
