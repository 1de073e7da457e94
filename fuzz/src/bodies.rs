//! One body per parser of outside bytes. A body panics when a promise is broken; refusing input is no failure.

use mock_merchant::domain::csv_import::{
    ImportLimits, import_csv, import_promotions, import_tax_groups, import_templates,
};
use mock_merchant::domain::demo::demo_catalogue;
use std::sync::LazyLock;
use walkpay::barcode::{BarcodeTemplate, Gtin, Meaning, ScanInput, Symbology, read};
use walkpay::basket::parse_lines;
use walkpay::catalogue::{rows, write_row};

static TEMPLATES: LazyLock<Vec<BarcodeTemplate>> =
    LazyLock::new(|| demo_catalogue().map(|store| store.templates).unwrap_or_default());

const SYMBOLOGIES: [Symbology; 6] =
    [Symbology::Unknown, Symbology::UpcE, Symbology::Ean13, Symbology::Ean8, Symbology::Itf14, Symbology::Qr];

/// Scanner output: every article that comes out has a right check digit, with and without a hint about the symbol.
pub fn barcode(data: &[u8]) {
    let hints = SYMBOLOGIES.iter().map(|s| Some(*s)).chain([None]);
    for symbology in hints {
        let input = ScanInput { data: data.to_vec(), aim: None, symbology };
        let Ok(meaning) = read(&input, &TEMPLATES) else { continue };
        if let Some(gtin) = meaning.gtin() {
            assert_eq!(Gtin::parse(&gtin.to_string()).ok(), Some(gtin));
        }
        if let Meaning::VariableMeasure { raw, .. } = &meaning {
            assert_eq!(raw.len(), 13);
        }
        assert_eq!(read(&input, &TEMPLATES).ok(), Some(meaning));
    }
}

/// CSV files: what is taken passes the checks of a catalogue.
pub fn csv(data: &[u8]) {
    let limits = ImportLimits { max_bytes: 64 * 1024, max_rows: 1000 };
    if let Ok(catalogue) = import_csv(data, limits) {
        assert!(!catalogue.articles.is_empty());
        assert!(catalogue.articles.iter().all(|a| a.check().is_ok()));
        let _ = import_promotions(data, catalogue.currency, limits);
    }
    if let Ok(groups) = import_tax_groups(data, limits) {
        assert!(groups.iter().all(|g| g.check().is_ok()));
    }
    if let Ok(templates) = import_templates(data, limits) {
        assert!(templates.iter().all(|t| t.check().is_ok()));
    }
}

/// Catalogue rows and a basket's lines: what can be read can be written and read again.
pub fn lines_and_rows(data: &[u8]) {
    let _ = parse_lines(data);
    for row in rows(data).flatten() {
        let mut written = Vec::new();
        // Escapes may make a row longer than a line may be; that is refused, nothing else.
        if write_row(&row, &mut written).is_ok() {
            assert_eq!(rows(&written).collect::<Result<Vec<_>, _>>().ok(), Some(vec![row]));
        }
    }
}
