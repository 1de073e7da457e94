//! The bodies of the fuzz targets over the committed seeds, and over cut and altered copies of them.

#[path = "../../fuzz/src/bodies.rs"]
mod bodies;

use std::fs;
use std::path::Path;

/// Runs `body` over every seed of a target: as it is, every beginning of it, and with each byte altered.
fn run(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut seeds = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let seed = fs::read(entry.unwrap().path()).unwrap();
        seeds += 1;
        body(&seed);
        let step = seed.len() / 64 + 1;
        for at in (0..seed.len()).step_by(step) {
            body(&seed[..at]);
            for flip in [0x01, 0x10, 0x80] {
                let mut altered = seed.clone();
                altered[at] ^= flip;
                body(&altered);
            }
        }
    }
    assert!(seeds >= 3, "{} has too few seeds", folder.display());
}

#[test]
fn barcode_input() {
    run("barcode", bodies::barcode);
}

#[test]
fn csv_import() {
    run("csv", bodies::csv);
}

#[test]
fn lines_and_rows() {
    run("lines_and_rows", bodies::lines_and_rows);
}
