//! The public API of a language as text: committed, so that a change shows in review.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Languages whose generated sources are outlined here (Python outlines itself).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Kotlin,
    Swift,
}

/// Compares `outline` with the committed file; `UPDATE=1` rewrites it. Whether they agree.
///
/// # Errors
/// When the file cannot be read or written.
pub fn compare(file: &Path, outline: &str) -> Result<bool> {
    let committed = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(error).with_context(|| format!("could not read {}", file.display()));
        }
    };
    if committed == outline {
        println!("{}: unchanged", file.display());
        return Ok(true);
    }
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        fs::write(file, outline).with_context(|| format!("could not write {}", file.display()))?;
        println!("{}: written", file.display());
        return Ok(true);
    }
    println!("{}: the public API differs:", file.display());
    let (old, new): (Vec<_>, Vec<_>) = (committed.lines().collect(), outline.lines().collect());
    old.iter().filter(|line| !new.contains(line)).for_each(|line| println!("  - {line}"));
    new.iter().filter(|line| !old.contains(line)).for_each(|line| println!("  + {line}"));
    println!("if that is meant: UPDATE=1 cargo xtask test --only api");
    Ok(false)
}

/// The declarations of generated source that a user of the library can name, one a line, indented by nesting.
pub fn outline(source: &str, language: Language) -> String {
    let source = without_comments(source);
    let mut lines = Vec::new();
    let items = items(&source);
    walk(&items, language, 0, false, &mut lines);
    lines.join("\n") + "\n"
}

/// A declaration: its head, and what stands in its braces.
struct Item<'a> {
    head: String,
    body: Option<&'a str>,
}

/// Plumbing of the generator that is public only for its own sake.
const PLUMBING: &[&str] = &[
    "CallbackInterface",
    "Disposable",
    "FfiConverter",
    "ForeignBytes",
    "InternalException",
    "NoHandle",
    "noHandle",
    "RustBuffer",
    "RustCallStatus",
    "Uniffi",
    "uniffi",
    "destroy(",
    "fun close(",
    "typealias Ffi",
];

fn walk(items: &[Item<'_>], language: Language, depth: usize, in_open: bool, lines: &mut Vec<String>) {
    for item in items {
        let head = item.head.as_str();
        if !is_public(head, language, depth, in_open) || PLUMBING.iter().any(|word| head.contains(word)) {
            continue;
        }
        let at = lines.len();
        lines.push(format!("{}{head}", "    ".repeat(depth)));
        if let Some(body) = item.body.filter(|_| is_type(head)) {
            let open = language == Language::Kotlin || has_word(head, "protocol") || has_word(head, "enum");
            walk(&self::items(body), language, depth + 1, open, lines);
        }
        // A companion matters only for what it holds.
        if head.ends_with("companion object") && lines.len() == at + 1 {
            lines.truncate(at);
        }
    }
}

fn is_type(head: &str) -> bool {
    let head = head.split(['(', ':', '=']).next().unwrap_or(head);
    ["class", "interface", "object", "struct", "enum", "protocol", "extension"].iter().any(|word| has_word(head, word))
}

fn has_word(head: &str, word: &str) -> bool {
    head.split(|c: char| !c.is_alphanumeric()).any(|part| part == word)
}

fn is_public(head: &str, language: Language, depth: usize, in_open: bool) -> bool {
    let starts = |words: &[&str]| words.iter().any(|word| head.split(' ').next() == Some(*word));
    match language {
        Language::Kotlin => {
            let hidden = starts(&["internal", "private", "protected", "package", "import", "init", "constructor"]);
            let member = head.starts_with("override ") && (head.contains("override val message") || is_delegated(head));
            let declares = ["class", "interface", "object", "fun", "val", "var", "typealias", "enum"]
                .iter()
                .any(|word| has_word(head.split(['(', ':', '=', '<']).next().unwrap_or(head), word));
            !hidden && !member && (declares || (depth > 0 && is_enum_entry(head))) && !head.starts_with('@')
        }
        Language::Swift => {
            let shown = starts(&["public", "open"]);
            let member = depth > 0 && in_open && starts(&["case", "func", "var", "static", "init"]);
            shown || member || (starts(&["extension"]) && head.contains("Sendable"))
        }
    }
}

/// Overrides repeat what the interface says already.
fn is_delegated(head: &str) -> bool {
    head.contains("fun ")
}

fn is_enum_entry(head: &str) -> bool {
    head.trim_end_matches([',', ';']).chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Splits source text at the top level of its braces.
fn items(source: &str) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let (mut start, mut parens, mut at) = (0, 0_i32, 0);
    let bytes = source.as_bytes();
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'(' | b'[' => parens += 1,
            b')' | b']' => parens -= 1,
            b'{' if parens == 0 => {
                let end = matching_brace(bytes, at);
                let head = one_line(source.get(start..at).unwrap_or_default());
                items.push(Item { head, body: source.get(at + 1..end) });
                at = end;
                start = end + 1;
            }
            b'{' => at = matching_brace(bytes, at),
            b'\n' | b';' if parens == 0 => {
                let head = one_line(source.get(start..at).unwrap_or_default());
                let rest = source.get(at + 1..).unwrap_or_default().trim_start();
                let goes_on = rest.starts_with('{') && is_type(&head) || ["public", "open"].contains(&head.as_str());
                if !goes_on && !head.starts_with('@') {
                    if !head.is_empty() {
                        items.push(Item { head, body: None });
                    }
                    start = at + 1;
                }
            }
            b',' if parens == 0 => {
                let head = one_line(source.get(start..at).unwrap_or_default());
                if is_enum_entry(&head) {
                    items.push(Item { head, body: None });
                    start = at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    items
}

fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'"' | b'\n' => return at,
            _ => {}
        }
        at += 1;
    }
    at
}

fn matching_brace(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0_usize, start);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
        at += 1;
    }
    at
}

/// Without `//` and `/* */`; both generators nest none.
fn without_comments(source: &str) -> String {
    let mut plain = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("/*") {
        plain.push_str(rest.get(..at).unwrap_or_default());
        rest = rest.get(at..).and_then(|tail| tail.split_once("*/")).map_or("", |(_, tail)| tail);
    }
    plain.push_str(rest);
    plain.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// One line with single spaces, and none just inside parentheses.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().filter(|word| !word.starts_with('@')).collect();
    let mut line = words.join(" ");
    for (from, to) in [("( ", "("), (" )", ")"), (" ,", ","), ("`", "")] {
        line = line.replace(from, to);
    }
    // What every generated Kotlin object is besides.
    line = line.replace(": Disposable, AutoCloseable,", ":");
    line.trim_end_matches([',', ';']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kotlin() {
        let source = "package org.walkpay\nimport x\n/** // odd */\npublic interface TripInterface {\n    /**\n     * Scans {\n     */\n    @Throws(Exception::class)\n    suspend fun `scan`(`bytes`: kotlin.ByteArray): Line\n    companion object\n}\n\
            internal object Hidden { fun x() = 1 }\nenum class Policy {\n    \n    ONLINE_REQUIRED,\n    PREFER_ONLINE;\n    companion object\n}\n\
            data class Money (\n    val `minor`: kotlin.Long\n    ,\n    val c: String\n){\n    companion object\n}\nopen class FfiConverterX { }\n";
        assert_eq!(
            outline(source, Language::Kotlin),
            "public interface TripInterface\n    suspend fun scan(bytes: kotlin.ByteArray): Line\n\
             enum class Policy\n    ONLINE_REQUIRED\n    PREFER_ONLINE\n\
             data class Money (val minor: kotlin.Long, val c: String)\n"
        );
    }

    #[test]
    fn swift() {
        let source = "import Foundation\npublic protocol TripProtocol: AnyObject, Sendable {\n    func scan(bytes: Data) async throws  -> Line\n}\n\
            public \nenum Error: Swift.Error {\n    case WrongOrder(due: String\n    )\n    case Io\n}\n\
            public struct Money: Equatable {\n    public let minor: Int64\n    public init(minor: Int64) {\n        self.minor = minor\n    }\n    fileprivate func x() {}\n}\nfileprivate struct FfiConverterString { }\n";
        assert_eq!(
            outline(source, Language::Swift),
            "public protocol TripProtocol: AnyObject, Sendable\n    func scan(bytes: Data) async throws -> Line\n\
             public enum Error: Swift.Error\n    case WrongOrder(due: String)\n    case Io\n\
             public struct Money: Equatable\n    public let minor: Int64\n    public init(minor: Int64)\n"
        );
    }
}
