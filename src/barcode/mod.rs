//! What a scanner delivers, and what it says. Pure.
//!
//! GS1 strictness governs: a code that is not exactly what the GS1 General Specifications allow is refused with a typed
//! error, and is never taken for another article.

mod digits;
mod gtin;
mod read;
mod symbology;
mod template;

pub use digits::{check_digit, field_check_digit};
pub use gtin::Gtin;
pub use read::{EXIT_PASS_PREFIX, MAX_SCAN_BYTES, Meaning, ScanInput, read};
pub use symbology::Symbology;
pub use template::{BarcodeTemplate, Measure, ValueKind};
