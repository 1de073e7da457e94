//! Texts from outside made fit for a message: one line, bounded, unable to change what stands beside them.

/// `text` on one line, without control characters and bidirectional controls, at most `max` characters. What is cut is not cut
/// inside of an emoji or a letter with its marks.
pub fn line(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || c.is_whitespace() || matches!(c, '\u{2028}' | '\u{2029}') {
            if !out.is_empty() && !out.ends_with(' ') {
                out.push(' ');
            }
        } else if !is_bidi_control(c) {
            out.push(c);
        }
    }
    let out = out.trim_end();
    if out.chars().count() <= max {
        return out.to_owned();
    }
    let mut kept: Vec<char> = out.chars().take(max).collect();
    let mut next = out.chars().nth(max.saturating_sub(1));
    kept.pop();
    while next.is_some_and(joins) || kept.last().is_some_and(|c| *c == '\u{200d}') {
        next = kept.pop();
    }
    let mut out: String = kept.into_iter().collect();
    out.truncate(out.trim_end().len());
    out.push('…');
    out
}

/// Embeddings, overrides and isolates (UAX #9 §2): a text with one could turn around what stands behind it.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character belongs to the one before it.
fn joins(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{e0020}'..='\u{e007f}' | '\u{1f1e6}'..='\u{1f1ff}')
}

/// A text of a foreign direction between FSI and PDI (UAX #9 §2.4.2), so that it leaves the order of the rest alone; others as
/// they are.
pub fn isolated(text: String) -> String {
    if text.chars().any(is_right_to_left) { format!("\u{2068}{text}\u{2069}") } else { text }
}

fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{200f}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_on_its_line() {
        assert_eq!(line("  a\r\nBcc: x\u{0}\tb\u{2028}c\u{85}d ", 99), "a Bcc: x b c d");
        assert_eq!(line("pay\u{202e}001\u{202c} now", 99), "pay001 now");
        assert_eq!(line("\u{2066}x\u{2069}", 99), "x");
    }

    #[test]
    fn what_is_cut_is_not_cut_inside() {
        assert_eq!(line("abcdef", 6), "abcdef");
        assert_eq!(line("abcdefg", 6), "abcde…");
        let family = "👨\u{200d}👩\u{200d}👧";
        for max in 2..=5 {
            let cut = line(&format!("a{family}bc"), max);
            assert!(cut == "a…", "{max}: {cut:?}");
        }
        assert_eq!(line("ae\u{301}xyz", 3), "a…");
        assert_eq!(line("ae\u{301}xyz", 4), "ae\u{301}…");
    }

    #[test]
    fn only_what_runs_the_other_way_is_isolated() {
        assert_eq!(isolated("plain ünï 中文 👍".into()), "plain ünï 中文 👍");
        assert_eq!(isolated("שלום".into()), "\u{2068}שלום\u{2069}");
        assert_eq!(isolated("a\u{200f}b".into()), "\u{2068}a\u{200f}b\u{2069}");
    }
}
