//! Pages for people: what comes from outside becomes text, and a page does only what it is there for.

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

/// Where a page's forms may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forms {
    /// To where the page comes from.
    Own,
    /// Also away, by a redirect that follows.
    Anywhere,
}

/// A page that no cache keeps, nothing is loaded into, and nobody frames.
pub(crate) fn page(status: StatusCode, html: String, forms: Forms) -> Response {
    let policy = match forms {
        Forms::Own => "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; form-action 'self'",
        Forms::Anywhere => "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    };
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, Html(html)).into_response()
}

/// `text` as HTML text or as an attribute's value in quotes.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        assert_eq!(escape("<a href='x'>&\"</a>"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;&lt;/a&gt;");
    }
}
