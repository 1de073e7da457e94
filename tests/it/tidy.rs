//! The walls of the source tree: which names may appear where, and what may not appear at all.

use std::fs;
use std::path::{Path, PathBuf};

/// A name that only some places may mention.
struct Wall {
    /// Any of these words in code (comments and test modules aside).
    words: &'static [&'static str],
    /// Files below these folders are looked at …
    within: &'static [&'static str],
    /// … except those whose path starts with one of these.
    allowed: &'static [&'static str],
    why: &'static str,
}

const WALLS: &[Wall] = &[
    Wall {
        words: &["reqwest", "rusqlite"],
        within: &["src"],
        allowed: &["src/adapter"],
        why: "network and files are reached through adapters; everything else is pure",
    },
    Wall {
        words: &["ed25519_dalek", "ring"],
        within: &["src"],
        allowed: &["src/adapter", "src/protocol/crypto.rs"],
        why: "there is one verifier, and keys are made and used in adapters only",
    },
    Wall {
        words: &["uniffi::Object"],
        within: &["src"],
        allowed: &["src/api"],
        why: "the exported objects are the façade",
    },
    Wall {
        words: &[
            "SELECT",
            "INSERT INTO",
            "DELETE FROM",
            "PRAGMA",
            "query_row",
            "query_map",
            "prepare_cached",
            "execute_batch",
        ],
        within: &["mock-merchant/src"],
        allowed: &[
            "mock-merchant/src/store",
            // the bank's own book and its owners' page
            "mock-merchant/src/bank/book",
            "mock-merchant/src/bank/holder.rs",
            "mock-merchant/src/bank/invariants.rs",
            "mock-merchant/src/bank/schema.rs",
            "mock-merchant/src/bank/store",
        ],
        why: "SQL lives in the merchant's store and in the bank's own",
    },
    Wall {
        words: &["verify_strict", "UnparsedPublicKey", "VerifyingKey"],
        within: &["src", "mock-merchant/src"],
        allowed: &["src/protocol/crypto.rs", "mock-merchant/src/channel/rsa_key.rs"],
        why: "there is one verifier of documents, and one of what payment providers sign",
    },
    Wall {
        words: &["thread::sleep", "SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now", "Uuid::now_v7"],
        within: &["src"],
        allowed: &["src/adapter", "src/runtime", "src/api"],
        why: "time and randomness are arguments of pure code",
    },
];

/// Calls that may end the program: file, text of the line, reason.
const MAY_PANIC: &[(&str, &str, &str)] = &[];

const PANICS: &[&str] =
    &[".unwrap()", ".expect(", ".unwrap_err()", ".expect_err(", "panic!(", "unimplemented!(", "unreachable!("];

/// Files with more lines of code than this are named in the output …
const LONG: usize = 400;
/// … and with more than this they fail.
const TOO_LONG: usize = 900;

#[test]
fn walls() {
    let mut faults = Vec::new();
    for wall in WALLS {
        for file in product_files(wall.within) {
            if wall.allowed.iter().any(|place| file.path.starts_with(place)) {
                continue;
            }
            for (number, line) in file.code() {
                if wall.words.iter().any(|word| mentions(line, word)) {
                    faults.push(format!("{}:{number}: {}: {}", file.path, line.trim(), wall.why));
                }
            }
        }
    }
    report(&faults);
}

#[test]
fn nothing_in_the_product_panics() {
    let mut faults = Vec::new();
    for file in product_files(&["src", "mock-merchant/src"]) {
        for (number, line) in file.code() {
            // A constant that panics does not compile.
            let constant =
                ["const ", "pub const ", "pub(crate) const "].iter().any(|word| line.trim().starts_with(word));
            let listed = constant || MAY_PANIC.iter().any(|(path, text, _)| *path == file.path && line.contains(text));
            if !listed && PANICS.iter().any(|call| line.contains(call)) {
                faults.push(format!(
                    "{}:{number}: {}: return an error, or list it in MAY_PANIC",
                    file.path,
                    line.trim()
                ));
            }
        }
    }
    report(&faults);
}

#[test]
fn what_may_panic_is_there_and_has_a_reason() {
    let files = rust_files(&["src", "mock-merchant/src"]);
    let stale = |path: &str, text: &str| !files.iter().any(|file| file.path == path && file.text.contains(text));
    let faults: Vec<String> = MAY_PANIC
        .iter()
        .filter(|(path, text, reason)| reason.len() < 10 || stale(path, text))
        .map(|(path, text, _)| format!("{path}: `{text}` is listed but is not there, or has no reason"))
        .collect();
    report(&faults);
}

#[test]
fn nothing_is_left_for_later_and_nothing_is_skipped() {
    // In two halves, so that this file does not find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("to", "do!("),
        concat!("#[ign", "ore"),
        concat!("dbg", "!("),
    ];
    let mut faults = Vec::new();
    for file in rust_files(&["src", "mock-merchant", "xtask", "bindgen", "examples", "tests", "benches", "fuzz"]) {
        for (number, line) in file.text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                faults.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    report(&faults);
}

#[test]
fn doc_comments_survive_the_generators() {
    // A comment mark inside a doc comment opens a second comment in the generated Kotlin.
    let mut faults = Vec::new();
    for file in rust_files(&["src"]) {
        for (number, line) in file.text.lines().enumerate() {
            let line = line.trim_start();
            let is_doc = line.starts_with("///") || line.starts_with("//!");
            if is_doc && (line.contains("/*") || line.contains("*/")) {
                faults.push(format!("{}:{}: {line}", file.path, number + 1));
            }
        }
    }
    report(&faults);
}

#[test]
fn files_can_be_read_top_down() {
    let mut faults = Vec::new();
    for file in rust_files(&["src", "mock-merchant/src", "xtask/src"]) {
        let lines = file.code().count();
        if lines > TOO_LONG {
            faults.push(format!("{}: {lines} lines of code: split it", file.path));
        } else if lines > LONG {
            println!("{}: {lines} lines of code, more than {LONG}", file.path);
        }
    }
    report(&faults);
}

#[test]
fn there_is_no_unsafe_code() {
    let mut faults = Vec::new();
    for file in rust_files(&["src", "mock-merchant/src", "xtask/src"]) {
        for (number, line) in file.code() {
            if ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|word| line.contains(word)) {
                faults.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    report(&faults);
}

#[test]
fn licences_are_in_the_tree() {
    let text = |name: &str| fs::read_to_string(top().join(name)).unwrap_or_default();
    assert!(text("LICENSE-MIT").contains("Permission is hereby granted, free of charge"));
    assert!(text("LICENSE-APACHE").contains("Version 2.0, January 2004"));
    for manifest in ["Cargo.toml", "mock-merchant/Cargo.toml", "xtask/Cargo.toml", "bindgen/Cargo.toml"] {
        assert!(text(manifest).contains("license.workspace = true"), "{manifest} names no licence");
    }
}

#[test]
fn a_breach_would_be_noticed() {
    assert!(mentions("use ring::digest;", "ring"));
    assert!(mentions("let x = rusqlite::Connection::open(y);", "rusqlite"));
    assert!(!mentions("let string = spring(String::new());", "ring"));
    let file = File {
        path: "src/x.rs".to_owned(),
        text: "//! ring\nfn a() { b() } // ring\n/* ring\n ring */\n#[cfg(test)]\nmod tests {\n    use ring;\n}\n\
               fn c() { ring }\nlet url = \"https://x\"; ring\n"
            .to_owned(),
    };
    let found: Vec<_> = file.code().filter(|(_, line)| mentions(line, "ring")).map(|(number, _)| number).collect();
    assert_eq!(found, [9, 10], "only code outside comments and test modules counts");
    let parent = File { path: "src/a.rs".to_owned(), text: "#[cfg(test)]\nmod tests;\nmod b;\n".to_owned() };
    assert_eq!(parent.test_modules(), ["src/a/tests"]);
    assert!(!rust_files(&["src"]).is_empty() && !rust_files(&["mock-merchant/src"]).is_empty());
}

/// A source file: its path from the top of the tree, with `/`, and its text.
struct File {
    path: String,
    text: String,
}

impl File {
    /// Numbered lines of code: without comments, blank lines and `#[cfg(test)]` items.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut in_tests: Option<usize> = None;
        let mut in_comment = false;
        let mut after_cfg_test = false;
        self.text.lines().enumerate().filter_map(move |(index, line)| {
            let trimmed = line.trim_start();
            let indent = line.len() - trimmed.len();
            if let Some(closing) = in_tests {
                if indent == closing && trimmed.starts_with('}') {
                    in_tests = None;
                }
                return None;
            }
            if in_comment || trimmed.starts_with("/*") {
                in_comment = !trimmed.contains("*/");
                return None;
            }
            if trimmed.starts_with("#[cfg(test)]") {
                after_cfg_test = true;
                return None;
            }
            if after_cfg_test {
                if !trimmed.starts_with("#[") {
                    after_cfg_test = false;
                    in_tests = trimmed.trim_end().ends_with('{').then_some(indent);
                }
                return None;
            }
            let code = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':'));
            let code = code.map_or(line, |(at, _)| &line[..at]);
            (!code.trim().is_empty()).then_some((index + 1, code))
        })
    }
}

impl File {
    /// The paths, without `.rs`, of the modules that this file declares for tests only.
    fn test_modules(&self) -> Vec<String> {
        let folder = ["/mod.rs", "/lib.rs", "/main.rs"].iter().find_map(|name| self.path.strip_suffix(name));
        let folder = folder.or(self.path.strip_suffix(".rs")).unwrap_or(&self.path);
        let lines: Vec<&str> = self.text.lines().map(str::trim).filter(|line| !line.starts_with("//")).collect();
        lines
            .windows(2)
            .filter(|pair| pair[0] == "#[cfg(test)]")
            .filter_map(|pair| pair[1].split_once("mod ")?.1.strip_suffix(';'))
            .map(|name| format!("{folder}/{name}"))
            .collect()
    }
}

/// Whether `line` has `word` as a whole identifier or path.
fn mentions(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

/// Without the files that are compiled for tests only: `#[cfg(test)] mod name;` in their parent says so.
fn product_files(folders: &[&str]) -> Vec<File> {
    let mut files = rust_files(folders);
    let only_tests: Vec<String> = files.iter().flat_map(File::test_modules).collect();
    let below = |path: &str, module: &String| path == format!("{module}.rs") || path.starts_with(&format!("{module}/"));
    files.retain(|file| !only_tests.iter().any(|module| below(&file.path, module)));
    files
}

fn rust_files(folders: &[&str]) -> Vec<File> {
    let mut files = Vec::new();
    for folder in folders {
        collect(&top().join(folder), &mut files);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn collect(folder: &Path, files: &mut Vec<File>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with("node_modules") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(top()).expect("files below the top").to_string_lossy().replace('\\', "/");
            files.push(File { path: relative, text: fs::read_to_string(&path).expect("readable source") });
        }
    }
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
