//! `messages`.

use super::folder::Open;
use super::{CliError, Common};
use crate::domain::AdminCommand;
use crate::domain::notices::{facts_of, sample};
use crate::notify::files;
use crate::notify::text::{Facts, Message, render};
use crate::store::contacts::{self, Language, Medium};
use crate::store::notices::{self, Notice, NoticeDelivery, NoticeKind, NoticeState};
use crate::store::{Tx, orders};
use clap::{Args, Subcommand};
use std::path::Path;
use walkpay::ServiceNumber;

/// What payers were told, and how a message looks.
#[derive(Args)]
pub struct Messages {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// List messages to payers, the newest first (also without a word after `messages`).
    List(List),
    /// Print a message of the file outbox.
    Show {
        /// Its identifier, as `messages list` prints it.
        message: String,
    },
    /// Print how messages look, without sending anything.
    Preview(Preview),
    /// Send a message again, with all tries.
    Resend {
        /// Its identifier, as `messages list` prints it.
        message: String,
    },
}

/// Which messages.
#[derive(Args, Default)]
struct List {
    /// Only about this order.
    #[arg(long, value_name = "NUMBER")]
    order: Option<ServiceNumber>,
    /// At most so many.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

/// Which messages, and of what.
#[derive(Args)]
struct Preview {
    /// Only this channel: email, sms or voice.
    #[arg(long, value_name = "CHANNEL", value_parser = medium)]
    channel: Option<Medium>,
    /// Only this language: en or zh.
    #[arg(long, value_name = "LANGUAGE", value_parser = language)]
    language: Option<Language>,
    /// Only this notice: payable, changed, reminder, overdue, withdrawn, expired, paid, refunded or new_device.
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<NoticeKind>,
    /// Of this order; without it, of one that is made up.
    #[arg(long, value_name = "NUMBER")]
    order: Option<ServiceNumber>,
    /// Print the HTML part of e-mails rather than the plain one.
    #[arg(long)]
    html: bool,
}

/// The name of a channel.
pub(super) fn medium(word: &str) -> Result<Medium, String> {
    Medium::of(word).ok_or_else(|| "expected email, sms or voice".to_owned())
}

/// The name of a language.
pub(super) fn language(word: &str) -> Result<Language, String> {
    Language::of(word).ok_or_else(|| "expected en or zh".to_owned())
}

fn kind(word: &str) -> Result<NoticeKind, String> {
    let names = NoticeKind::ALL.map(NoticeKind::word);
    let found = NoticeKind::ALL.into_iter().find(|kind| kind.word() == word);
    found.ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

impl Messages {
    /// Carries the command out.
    pub fn run(self, common: &Common) -> Result<(), CliError> {
        let open = Open::existing(common)?;
        match self.command.unwrap_or(Command::List(List { order: None, limit: 50 })) {
            Command::List(list) => list.run(&open),
            Command::Show { message } => show(&open, &message),
            Command::Preview(preview) => preview.run(&open),
            Command::Resend { message } => {
                open.operator().run(AdminCommand::ResendNotice { message_id: message })?;
                Ok(())
            }
        }
    }
}

impl List {
    fn run(&self, open: &Open) -> Result<(), CliError> {
        let rows = Tx::read(open.operator().connection, |tx| {
            let deliveries = match self.order {
                None => notices::last(tx, self.limit)?,
                Some(number) => {
                    let mut found = Vec::new();
                    for notice in notices::of_order(tx, number)? {
                        found.extend(notices::of_notice(tx, notice.notice)?);
                    }
                    found.reverse();
                    found.truncate(self.limit as usize);
                    found
                }
            };
            let mut rows = Vec::new();
            for delivery in deliveries {
                let notice = notices::notice(tx, delivery.notice)?;
                let to = contacts::address(tx, delivery.address)?.map(|address| address.place);
                rows.push((notice, delivery, to));
            }
            Ok(rows)
        })?;
        let outbox = open.folder.file("outbox");
        for (notice, delivery, to) in &rows {
            println!("{}", row(notice, delivery, to.as_deref(), &outbox));
        }
        if rows.is_empty() {
            eprintln!("no messages yet: payers are told of orders that they can pay, if they have an address");
        }
        Ok(())
    }
}

/// Identifier, time, channel, kind, order, state, tries, what the last one came to, to whom, file; with tabs between.
fn row(notice: &Notice, delivery: &NoticeDelivery, to: Option<&str>, outbox: &Path) -> String {
    let code = delivery.last_code.map_or_else(String::new, |code| format!(" {code}"));
    let word = delivery.last_word.as_deref().unwrap_or("-");
    let file = files::file_of(outbox, delivery.medium, &delivery.message_id);
    let file = if file.exists() { file.display().to_string() } else { "-".to_owned() };
    let state = match (delivery.state, delivery.due) {
        (NoticeState::Waiting | NoticeState::Unknown, Some(due)) => format!("{} until {due}", delivery.state.word()),
        (state, _) => state.word().to_owned(),
    };
    [
        delivery.message_id.clone(),
        delivery.made_at.to_string(),
        delivery.medium.word().to_owned(),
        notice.kind.word().to_owned(),
        notice.number.map_or_else(|| "-".to_owned(), |number| number.to_string()),
        state,
        delivery.tries.to_string(),
        format!("{word}{code}"),
        to.unwrap_or("-").to_owned(),
        file,
    ]
    .join("\t")
}

fn show(open: &Open, message: &str) -> Result<(), CliError> {
    let none = || CliError::Other("there is no such message; `messages list` lists them".to_owned());
    let found = Tx::read(open.operator().connection, |tx| Ok(notices::find(tx, message)?))?.ok_or_else(none)?;
    let path = files::file_of(&open.folder.file("outbox"), found.medium, &found.message_id);
    match std::fs::read(&path) {
        Ok(bytes) => print!("{}", String::from_utf8_lossy(&bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let state = found.state.word();
            return Err(CliError::Other(format!("the message has no file: it is {state}, or left by another way")));
        }
        Err(cause) => return Err(CliError::File { path, cause }),
    }
    Ok(())
}

impl Preview {
    fn run(&self, open: &Open) -> Result<(), CliError> {
        let operator = open.operator();
        let unknown = || CliError::Other("there is no such order".to_owned());
        let mut text = String::new();
        for kind in NoticeKind::ALL.into_iter().filter(|kind| self.kind.is_none_or(|wanted| wanted == *kind)) {
            if self.order.is_some() && kind.is_security() {
                continue;
            }
            for language in Language::ALL.into_iter().filter(|l| self.language.is_none_or(|wanted| wanted == *l)) {
                let facts = Tx::read(operator.connection, |tx| match self.order {
                    None => sample(tx, kind, language, operator.clock.now()).map(Some),
                    Some(number) => {
                        let Some(order) = orders::find(tx, number)? else { return Ok(None) };
                        let now = operator.clock.now();
                        let notice = Notice {
                            notice: 0,
                            user: order.payer,
                            kind,
                            number: Some(number),
                            device: None,
                            made_at: now,
                        };
                        Ok(Some(Facts { language, ..facts_of(tx, &notice)? }))
                    }
                })?;
                let mut facts = facts.ok_or_else(unknown)?;
                if !kind.is_security() {
                    facts.link = "https://example.org/pay/AAAAAAAAAAAAAAAAAAAAAA".to_owned();
                    facts.unsubscribe = format!("{}/unsubscribe", facts.link);
                }
                for medium in Medium::ALL.into_iter().filter(|m| self.channel.is_none_or(|wanted| wanted == *m)) {
                    if let Some(message) = render(medium, &facts) {
                        text += &format!("=== {} {} {}\n", kind.word(), medium.word(), language.word());
                        text += &self.shown(&message);
                    }
                }
            }
        }
        print!("{text}");
        Ok(())
    }

    fn shown(&self, message: &Message) -> String {
        match message {
            Message::Email(email) if self.html => format!("Subject: {}\n\n{}\n", email.subject, email.html),
            Message::Email(email) => format!("Subject: {}\n\n{}\n", email.subject, email.text),
            Message::Sms(sms) => format!("{}\n({}, segments: {})\n\n", sms.text, sms.coding.word(), sms.segments),
            Message::Voice(voice) => format!("{}\n\n", voice.text),
        }
    }
}
