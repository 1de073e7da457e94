//! The demo store and the files of scans that go with it.

#[path = "../../examples/support/scan_file.rs"]
mod scan_file;

use mock_merchant::domain::demo::demo_catalogue;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use walkpay::barcode::{Gtin, read};
use walkpay::basket::{Basket, PRICING_VERSION, PricedBasket, price, violations};
use walkpay::catalogue::{Article, CatalogueHeader, PriceBook};
use walkpay::{StoreId, Timestamp};

struct Shopped {
    basket: Basket,
    priced: PricedBasket,
    /// The codes of the refusals, in order.
    refused: Vec<String>,
    taken: usize,
}

fn shop(file: &str) -> Shopped {
    let store = demo_catalogue().unwrap();
    let header = CatalogueHeader {
        store_id: StoreId::parse("demo").unwrap(),
        currency: store.articles.currency,
        revision: 1,
        pricing_version: PRICING_VERSION,
    };
    let book = PriceBook::new(header, store.tax_groups, store.promotions, store.templates).unwrap();
    let articles: HashMap<Gtin, Article> = store.articles.articles.into_iter().map(|a| (a.gtin, a)).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data").join(file);
    let scans = scan_file::parse(&fs::read_to_string(path).unwrap()).unwrap();
    let (mut basket, mut refused, mut taken) = (Basket::default(), Vec::new(), 0);
    for scan in scans {
        let decision = read(&scan.input, book.templates())
            .and_then(|meaning| basket.decide_scan(&meaning, scan.quantity, &articles));
        match decision {
            Ok(events) => {
                taken += 1;
                events.iter().for_each(|event| basket.apply(event));
            }
            Err(e) => refused.push(e.code()),
        }
    }
    assert_eq!(violations(&basket.picks(), &book, &articles), []);
    let priced = price(&basket.picks(), Timestamp::from_millis(0), &book, &articles).unwrap();
    Shopped { basket, priced, refused, taken }
}

#[test]
fn a_trip_through_the_store() {
    let shopped = shop("trip.scans");
    assert_eq!(shopped.refused, Vec::<String>::new());
    assert!(shopped.priced.discount.minor > 0 && shopped.priced.deposit.minor > 0);
    assert_eq!(shopped.basket.max_age_required(), Some(16));
    assert_eq!(shopped.priced.tax_totals.len(), 2);
    assert!(shopped.priced.lines.len() >= 15);
}

#[test]
fn what_goes_wrong_is_refused_by_its_own_reason() {
    let shopped = shop("faulty.scans");
    assert_eq!(
        shopped.refused,
        [
            "barcode.check_digit",
            "unknown_article",
            "basket.sale_stopped",
            "basket.weight_needed",
            "basket.weight_needed",
            "barcode.implausible_value",
            "barcode.inner_check_digit",
            "barcode.implausible_value",
            "basket.quantity",
            "basket.quantity",
            "barcode.not_supported_yet",
            "barcode.not_supported_yet",
            "barcode.not_supported_yet",
            "barcode.not_supported_yet",
            "barcode.not_an_article",
            "barcode.not_an_article",
            "barcode.length",
        ]
    );
    assert_eq!((shopped.taken, shopped.basket.item_count()), (2, 2));
}

#[test]
fn files_of_scans_are_checked() {
    assert_eq!(scan_file::parse("# nothing\n\n"), Ok(Vec::new()));
    for wrong in ["123 * x", "123 * ", "123 * 5kg", "123 * -1"] {
        assert!(scan_file::parse(wrong).unwrap_err().starts_with("line 1:"), "{wrong}");
    }
}
