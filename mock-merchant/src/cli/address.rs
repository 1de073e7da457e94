//! `user address`.

use super::folder::Open;
use super::messages::language;
use super::{CliError, refused};
use crate::domain::AdminCommand;
use crate::domain::notices::ContactChange;
use crate::store::contacts::{self, Language, Medium};
use crate::store::{Tx, users};
use clap::{Args, Subcommand};
use walkpay::UserName;

const ADVICE: &str = "`user list` lists the users, `user address list` the addresses of one";

/// Where and how shoppers are told what happens: addresses, language, quiet hours.
#[derive(Subcommand)]
pub enum Address {
    /// List the addresses of a user, and how they want to be told.
    List {
        /// Whose.
        user: UserName,
    },
    /// Add an address; at most five.
    Add {
        /// Whose.
        user: UserName,
        /// mailto:ann@example.org, sms:+49301234567 (text messages), tel:+49301234567 or sip:ann@example.org (calls).
        address: String,
    },
    /// Remove an address.
    Remove {
        /// Whose.
        user: UserName,
        /// The address, as it was added.
        address: String,
    },
    /// Send nothing but security notices to an address, or all again with --off.
    Unsubscribe {
        /// Whose.
        user: UserName,
        /// The address, as it was added.
        address: String,
        /// All again.
        #[arg(long)]
        off: bool,
    },
    /// Set language, time zone and quiet hours.
    Settings(Settings),
}

/// What to set.
#[derive(Args)]
pub struct Settings {
    /// Whose.
    user: UserName,
    #[command(flatten)]
    what: What,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
struct What {
    /// en or zh.
    #[arg(long, value_name = "LANGUAGE", value_parser = language)]
    language: Option<Language>,
    /// An IANA name such as Europe/Berlin, or `store`: that of the store or service.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// When there are no calls and text messages: 21:00-08:00, `never`, or `usual`.
    #[arg(long, value_name = "FROM-UNTIL", value_parser = quiet)]
    quiet: Option<Quiet>,
}

/// Quiet hours as they were typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quiet(Option<(u16, u16)>);

fn quiet(text: &str) -> Result<Quiet, String> {
    let minute = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour < 24 && minute < 60).then_some(hour * 60 + minute)
    };
    match text {
        "usual" => Ok(Quiet(None)),
        "never" => Ok(Quiet(Some((0, 0)))),
        _ => {
            let hours = text.split_once('-').and_then(|(from, until)| minute(from).zip(minute(until)));
            hours.map(|hours| Quiet(Some(hours))).ok_or_else(|| "expected 21:00-08:00, never or usual".to_owned())
        }
    }
}

impl Address {
    /// Carries the command out.
    pub fn run(self, open: &Open) -> Result<(), CliError> {
        let run = |user_name: &UserName, change| {
            let command = AdminCommand::Contact { user_name: user_name.clone(), change };
            open.operator().run(command).map(|_| ()).map_err(|e| refused(e, ADVICE))
        };
        match self {
            Self::List { user } => list(open, &user),
            Self::Add { user, address } => run(&user, ContactChange::Add(address)),
            Self::Remove { user, address } => run(&user, ContactChange::Remove(address)),
            Self::Unsubscribe { user, address, off } => run(&user, ContactChange::Unsubscribe { uri: address, off }),
            Self::Settings(Settings { user, what: What { language, time_zone, quiet } }) => {
                if let Some(language) = language {
                    run(&user, ContactChange::Language(language))?;
                }
                if let Some(zone) = time_zone {
                    run(&user, ContactChange::TimeZone(Some(zone).filter(|zone| zone != "store")))?;
                }
                if let Some(Quiet(hours)) = quiet {
                    run(&user, ContactChange::Quiet(hours))?;
                }
                Ok(())
            }
        }
    }
}

fn list(open: &Open, user: &UserName) -> Result<(), CliError> {
    let none = || CliError::Other(format!("there is no user of this name. {ADVICE}"));
    let found = Tx::read(open.operator().connection, |tx| {
        let Some(user) = users::find(tx, user)? else { return Ok(None) };
        Ok(Some((contacts::contact(tx, user.user)?, contacts::addresses(tx, user.user)?)))
    })?;
    let (contact, addresses) = found.ok_or_else(none)?;
    for address in addresses {
        let scheme = match address.medium {
            Medium::Email => "mailto:",
            Medium::Sms => "sms:",
            Medium::Voice if address.place.starts_with("sip:") => "",
            Medium::Voice => "tel:",
        };
        let state = address.unsubscribed_at.map_or_else(String::new, |at| format!("\tunsubscribed since {at}"));
        println!("{scheme}{}{state}", address.place);
    }
    let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    let quiet = match contact.quiet {
        None => "usual".to_owned(),
        Some((from, until)) if from == until => "never".to_owned(),
        Some((from, until)) => format!("{}-{}", clock(from), clock(until)),
    };
    let zone = contact.time_zone.as_deref().unwrap_or("store");
    println!("language {}, time zone {zone}, quiet hours {quiet}", contact.language.word());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_are_typed_as_clocks_show_them() {
        assert_eq!(quiet("21:00-08:30"), Ok(Quiet(Some((1260, 510)))));
        assert_eq!(quiet("never"), Ok(Quiet(Some((0, 0)))));
        assert_eq!(quiet("usual"), Ok(Quiet(None)));
        for bad in ["", "21-8", "24:00-08:00", "21:60-08:00", "21:00", "a:b-c:d"] {
            assert!(quiet(bad).is_err(), "{bad}");
        }
    }
}
