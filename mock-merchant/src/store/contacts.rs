//! Where and how people are told what happens (B11–B13), and what channels call them by; all of it erasable.

use super::payments::method_word;
use super::read::words;
use super::{StoreError, Tx};
use rusqlite::Row;
use walkpay::Timestamp;
use walkpay::protocol::document::PaymentMethod;

words! {
    /// A way to a payer outside of app and web page.
    Medium {
        /// E-mail (B12).
        Email = "email",
        /// Text messages (B13).
        Sms = "sms",
        /// Calls by a voice (B11).
        Voice = "voice",
    }
}

words! {
    /// What a payer is told in.
    Language {
        /// English.
        En = "en",
        /// Chinese.
        Zh = "zh",
    }
}

impl Medium {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Email, Self::Sms, Self::Voice];

    /// The one of this name.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|medium| medium.word() == word)
    }
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::En, Self::Zh];

    /// The one of this name.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.word() == word)
    }
}

/// Where somebody is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Row; never used again for another one.
    pub address: i64,
    /// By which medium.
    pub medium: Medium,
    /// Mailbox, number or SIP URI.
    pub place: String,
    /// Since when nothing but security notices goes there.
    pub unsubscribed_at: Option<Timestamp>,
}

/// How somebody wants to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The language.
    pub language: Language,
    /// Their time zone (an IANA name); `None`: that of the store or service.
    pub time_zone: Option<String>,
    /// From which minute of the day until which they are not called and get no text messages; `None`: the merchant's usual
    /// hours, the same minute twice: never.
    pub quiet: Option<(u16, u16)>,
}

impl Default for Contact {
    fn default() -> Self {
        Self { language: Language::En, time_zone: None, quiet: None }
    }
}

fn read(r: &Row<'_>) -> rusqlite::Result<Address> {
    let unsubscribed_at = super::read::optional_time(r, 3)?;
    Ok(Address { address: r.get(0)?, medium: r.get(1)?, place: r.get(2)?, unsubscribed_at })
}

/// The addresses of a user, in the order in which they were added.
pub fn addresses(tx: &Tx<'_>, user: i64) -> Result<Vec<Address>, StoreError> {
    let sql = "SELECT address, medium, place, unsubscribed_at FROM user_addresses WHERE user = ?1 ORDER BY address";
    tx.all(sql, [user], read)
}

/// An address by its row, unless it is gone.
pub fn address(tx: &Tx<'_>, address: i64) -> Result<Option<Address>, StoreError> {
    let sql = "SELECT address, medium, place, unsubscribed_at FROM user_addresses WHERE address = ?1";
    tx.first(sql, [address], read)
}

/// Adds an address; one that is there stays as it is.
pub fn add(tx: &Tx<'_>, user: i64, medium: Medium, place: &str) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO user_addresses (user, medium, place) VALUES (?1, ?2, ?3)";
    tx.execute(sql, (user, medium, place))?;
    Ok(())
}

/// Removes an address; whether it was there.
pub fn remove(tx: &Tx<'_>, user: i64, medium: Medium, place: &str) -> Result<bool, StoreError> {
    let sql = "DELETE FROM user_addresses WHERE user = ?1 AND medium = ?2 AND place = ?3";
    Ok(tx.execute(sql, (user, medium, place))? > 0)
}

/// Has nothing but security notices sent to an address from now on, or all again with `None`; whether it is there.
pub fn set_unsubscribed(tx: &Tx<'_>, address: i64, since: Option<Timestamp>) -> Result<bool, StoreError> {
    let sql = "UPDATE user_addresses SET unsubscribed_at = ?2 WHERE address = ?1";
    Ok(tx.execute(sql, (address, since.map(Timestamp::as_millis)))? > 0)
}

/// How a user wants to be told.
pub fn contact(tx: &Tx<'_>, user: i64) -> Result<Contact, StoreError> {
    let sql = "SELECT language, time_zone, quiet_from, quiet_until FROM user_contact WHERE user = ?1";
    let read = |r: &Row<'_>| {
        let quiet = Option::zip(r.get(2)?, r.get(3)?);
        Ok(Contact { language: r.get(0)?, time_zone: r.get(1)?, quiet })
    };
    Ok(tx.first(sql, [user], read)?.unwrap_or_default())
}

/// Sets how a user wants to be told.
pub fn set_contact(tx: &Tx<'_>, user: i64, contact: &Contact) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO user_contact (user, language, time_zone, quiet_from, quiet_until)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    let (from, until) = contact.quiet.unzip();
    tx.execute(sql, (user, contact.language, &contact.time_zone, from, until))?;
    Ok(())
}

/// What a channel calls a user by, if that is known.
pub fn payer_name(tx: &Tx<'_>, user: i64, method: PaymentMethod) -> Result<Option<String>, StoreError> {
    let sql = "SELECT name FROM payer_names WHERE user = ?1 AND method = ?2";
    tx.first(sql, (user, method_word(method)), |r| r.get(0))
}

/// Sets what a channel calls a user by, or forgets it.
pub fn set_payer_name(tx: &Tx<'_>, user: i64, method: PaymentMethod, name: Option<&str>) -> Result<(), StoreError> {
    match name {
        None => tx.execute("DELETE FROM payer_names WHERE user = ?1 AND method = ?2", (user, method_word(method)))?,
        Some(name) => tx.execute(
            "INSERT OR REPLACE INTO payer_names (user, method, name) VALUES (?1, ?2, ?3)",
            (user, method_word(method), name),
        )?,
    };
    Ok(())
}
