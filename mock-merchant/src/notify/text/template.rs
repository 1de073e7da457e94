//! Templates: files with a section per notice, and names in braces that values take the place of.

/// The lines of the section `[name]`, without empty ones.
pub(super) fn section<'a>(file: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let mut lines = file.lines().skip_while(|line| heading(line) != Some(name));
    lines.next()?;
    Some(lines.take_while(|line| heading(line).is_none()).filter(|line| !line.trim().is_empty()).collect())
}

fn heading(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']')
}

/// `text` with each `{name}` replaced by what `value` says; `None` if it has no value for one of them.
pub(super) fn fill(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> Option<String> {
    let mut out = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        out.push_str(before);
        out.push_str(&value(name)?);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_looked_at_again() {
        let value = |name: &str| (name == "a").then(|| "{b}".to_owned());
        assert_eq!(fill("x {a} y", value).unwrap(), "x {b} y");
        assert_eq!(fill("x {b} y", value), None);
        assert_eq!(fill("x {a", value), None);
    }

    #[test]
    fn sections_end_where_the_next_begins() {
        let file = "[one]\nfirst\n\nsecond\n[two]\nthird\n";
        assert_eq!(section(file, "one").unwrap(), ["first", "second"]);
        assert_eq!(section(file, "two").unwrap(), ["third"]);
        assert_eq!(section(file, "three"), None);
    }
}
