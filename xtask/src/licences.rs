//! Every package that the workspace can pull in has a permissive licence.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::context::Context;
use crate::run::{command, quiet};

/// SPDX identifiers that may be linked into an app without conditions on its own code; the same list as in `deny.toml`.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages outside the list: uniffi is file-level copyleft and is linked unmodified.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("uniffi", "MPL-2.0"),
    ("uniffi_bindgen", "MPL-2.0"),
    ("uniffi_core", "MPL-2.0"),
    ("uniffi_internal_macros", "MPL-2.0"),
    ("uniffi_macros", "MPL-2.0"),
    ("uniffi_meta", "MPL-2.0"),
    ("uniffi_pipeline", "MPL-2.0"),
    ("uniffi_udl", "MPL-2.0"),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

/// Prints how many packages were looked at; whether all of them are allowed.
///
/// # Errors
/// When `cargo metadata` fails.
pub fn check(context: &Context) -> Result<bool> {
    let metadata =
        quiet(command(Context::cargo(), &context.top).args(["metadata", "--locked", "--format-version", "1"]))?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
    let mut kinds = BTreeSet::new();
    let mut refused = 0;
    for package in &metadata.packages {
        let licence = package.license.as_deref().unwrap_or("none");
        kinds.insert(licence);
        if !is_allowed(&package.name, licence) {
            println!("{} {}: licence {licence} is not on the list", package.name, package.version);
            refused += 1;
        }
    }
    println!("{} packages, {} licence expressions, {refused} refused", metadata.packages.len(), kinds.len());
    Ok(refused == 0 && !metadata.packages.is_empty())
}

fn is_allowed(package: &str, expression: &str) -> bool {
    EXCEPTIONS.contains(&(package, expression)) || is_permissive(expression)
}

/// Evaluates an SPDX expression (`OR` binds weaker than `AND`; `/` is the old spelling of `OR`).
fn is_permissive(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let mut parser = Parser { rest: expression.trim() };
    let allowed = parser.any();
    allowed && parser.rest.is_empty()
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn any(&mut self) -> bool {
        let mut allowed = self.all();
        while self.eat("OR ") {
            allowed |= self.all();
        }
        allowed
    }

    fn all(&mut self) -> bool {
        let mut allowed = self.one();
        while self.eat("AND ") {
            allowed &= self.one();
        }
        allowed
    }

    fn one(&mut self) -> bool {
        if self.eat("(") {
            let allowed = self.any();
            return self.eat(")") && allowed;
        }
        let mut end = self.rest.len();
        for stop in [")", " OR ", " AND "] {
            end = end.min(self.rest.find(stop).unwrap_or(end));
        }
        let (name, rest) = self.rest.split_at(end);
        let allowed = PERMISSIVE.contains(&name.trim());
        self.rest = rest.trim_start();
        allowed
    }

    fn eat(&mut self, word: &str) -> bool {
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        for (expression, allowed) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", true),
            ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
            ("(MIT OR GPL-3.0) AND GPL-3.0", false),
            ("MIT AND GPL-3.0 OR ISC", true),
            ("GPL-3.0-or-later", false),
            ("MPL-2.0", false),
            ("MIT)", false),
            ("none", false),
        ] {
            assert_eq!(is_permissive(expression), allowed, "{expression}");
        }
        assert!(is_allowed("uniffi", "MPL-2.0"));
        assert!(!is_allowed("other", "MPL-2.0"));
    }

    #[test]
    fn deny_toml_has_the_same_lists() {
        let deny = include_str!("../../deny.toml");
        let allow = deny.split_once("allow = [").expect("a list").1.split_once(']').expect("its end").0;
        let listed: Vec<&str> = allow.split('"').skip(1).step_by(2).collect();
        assert_eq!(listed, PERMISSIVE);
        let exceptions: Vec<&str> = deny
            .lines()
            .filter_map(|line| line.split_once("{ crate = \"")?.1.split_once("\", allow"))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(exceptions, EXCEPTIONS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
