//! The bank's few pages for people.

use super::book::{Bank, BankError};
use super::server::Pending;
use super::store::Book;
use crate::html::escape;
use std::fmt::Write;
use walkpay::protocol::crypto::{PublicKey, from_base64url};

const STYLE: &str = "body{font:16px system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}\
code{font-size:1.2em}table{border-collapse:collapse}td,th{border:1px solid #999;padding:.2em .6em;text-align:left}\
td.n{text-align:right}";

/// The page on which the holder compares and confirms a key.
pub(super) fn confirm(label: &str, pending: &Pending, key: &PublicKey) -> String {
    let mut fields = String::new();
    let values = [
        ("account", pending.account.as_str()),
        ("merchant", pending.merchant.as_str()),
        ("device", &pending.device.to_string()),
        ("alg", pending.alg.name()),
        ("key", &pending.key),
    ];
    for (name, value) in values {
        let _ = write!(fields, "<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escape(value));
    }
    layout(
        "Confirm a key",
        &format!(
            "<p>May this key sign holds and debits for your account <b>{}</b> at the merchant <b>{}</b>?</p>\
             <p>Compare it with what the device shows:</p><p><code>{}</code></p><p>Key id: <code>{}</code></p>\
             <form method=\"post\" action=\"/bank/v1/confirm\">{fields}\
             <label>PIN <input type=\"password\" name=\"pin\" autocomplete=\"off\" required></label>\
             <button>Confirm</button></form>",
            escape(label),
            escape(pending.merchant.as_str()),
            fingerprint(key),
            escape(key.key_id().as_str()),
        ),
    )
}

/// A page that says one thing.
pub(super) fn message(text: &str) -> String {
    layout("Bank", &format!("<p>{}</p>", escape(text)))
}

/// The book: accounts, open holds, the last entries.
pub(super) fn book(bank: &Bank) -> Result<String, BankError> {
    const ROWS: u32 = 100;
    let book = Book(&bank.db);
    let mut accounts = String::new();
    for a in book.accounts(ROWS)? {
        let reserved = a.currency.minor(book.reserved(&a.token)?);
        let cells = [a.token.clone(), a.label.clone(), a.state.word().to_owned()];
        let amounts = [a.currency.minor(a.balance), reserved, a.currency.minor(a.credit_limit)];
        row(&mut accounts, &cells, &amounts.map(|m| m.to_string()));
    }
    let mut holds = String::new();
    for h in book.holds_placed(ROWS)? {
        row(&mut holds, &[h.reference, h.account, h.expires_at.to_string()], &[h.amount.to_string()]);
    }
    let mut entries = String::new();
    for e in book.last_entries(ROWS)? {
        let cells = [e.transfer.to_string(), e.at.to_string(), e.book_account];
        row(&mut entries, &cells, &[e.currency.minor(e.amount).to_string()]);
    }
    Ok(layout(
        "The bank's book",
        &format!(
            "<h2>Accounts</h2><table><tr><th>Token<th>Label<th>State<th>Balance<th>Reserved<th>Credit limit</tr>{accounts}</table>\
             <h2>Placed holds</h2><table><tr><th>Reference<th>Account<th>Expires<th>Minor units</tr>{holds}</table>\
             <h2>Last entries</h2><table><tr><th>Transfer<th>At<th>Book account<th>Amount</tr>{entries}</table>"
        ),
    ))
}

/// The first half of a key's RFC 7638 thumbprint in groups of four hexadecimal digits, for eyes to compare.
pub fn fingerprint(key: &PublicKey) -> String {
    let digest = from_base64url("kid", key.key_id().as_str()).unwrap_or_default();
    let groups: Vec<String> =
        digest.chunks(2).take(8).map(|pair| pair.iter().map(|b| format!("{b:02x}")).collect()).collect();
    groups.join(" ")
}

fn row(table: &mut String, cells: &[String], numbers: &[String]) {
    table.push_str("<tr>");
    for cell in cells {
        let _ = write!(table, "<td>{}", escape(cell));
    }
    for number in numbers {
        let _ = write!(table, "<td class=\"n\">{}", escape(number));
    }
    table.push_str("</tr>");
}

fn layout(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style>\
         <h1>{title}</h1>{body}</html>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let page = message("<script>alert('x')</script> & \"y\"");
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;y&quot;"), "{page}");
    }
}
