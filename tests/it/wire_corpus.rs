//! The fuzz targets of the wire over their seeds, and over cut and altered copies of them.

#[path = "../../fuzz/src/wire.rs"]
mod wire;

use std::fs;
use std::path::Path;

/// Runs `body` over every seed of a target: as it is, beginnings of it, and with bytes altered, inserted and taken out.
fn run(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut seeds = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let seed = fs::read(entry.unwrap().path()).unwrap();
        seeds += 1;
        body(&seed);
        let step = seed.len() / 48 + 1;
        for at in (0..seed.len()).step_by(step) {
            body(&seed[..at]);
            for flip in [0x01, 0x20, 0x80] {
                let mut altered = seed.clone();
                altered[at] ^= flip;
                body(&altered);
            }
            let mut longer = seed.clone();
            longer.insert(at, b'"');
            body(&longer);
            let mut shorter = seed.clone();
            shorter.remove(at);
            body(&shorter);
        }
    }
    assert!(seeds >= 3, "{} has too few seeds", folder.display());
}

#[test]
fn signed_documents() {
    run("jws", wire::jws);
}

#[test]
fn protocol_messages() {
    run("messages", wire::messages);
}

#[test]
fn exit_pass_presentations() {
    run("presentation", wire::presentation);
}

#[test]
fn signed_requests() {
    run("request", wire::request);
}
