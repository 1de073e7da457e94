//! The file outbox: each message is a file, named after its identifier, so that a second try replaces the first.

use super::mail;
use super::text::Message;
use crate::domain::notices::{Sent, SentAs};
use crate::private_file;
use crate::store::contacts::Medium;
use crate::worker::notices::OutsideNotice;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of a medium's messages.
pub struct FileOutbox {
    folder: PathBuf,
}

impl FileOutbox {
    /// The folder for `medium` below `outbox`; made when it is needed.
    pub fn new(outbox: &Path, medium: Medium) -> Self {
        Self { folder: outbox.join(medium.word()) }
    }

    /// Writes a message down, durably.
    pub async fn send(&self, notice: &OutsideNotice) -> Sent {
        let Ok(bytes) = bytes(notice) else { return Sent::new(SentAs::Refused, "bad_address") };
        let path = path(&self.folder, &notice.message_id, medium_of(&notice.message));
        let written = tokio::task::spawn_blocking(move || write(&path, &bytes)).await;
        match written {
            Ok(Ok(())) => Sent::new(SentAs::Accepted, "file"),
            Ok(Err(e)) => {
                tracing::warn!(error = %e, "the outbox cannot be written");
                Sent::new(SentAs::Deferred, "file")
            }
            Err(_) => Sent::new(SentAs::Deferred, "file"),
        }
    }
}

/// Where the file of a message is, below the folder `outbox`.
pub fn file_of(outbox: &Path, medium: Medium, message_id: &str) -> PathBuf {
    path(&outbox.join(medium.word()), message_id, medium)
}

fn path(folder: &Path, message_id: &str, medium: Medium) -> PathBuf {
    let extension = if medium == Medium::Email { "eml" } else { "txt" };
    folder.join(format!("{message_id}.{extension}"))
}

fn medium_of(message: &Message) -> Medium {
    match message {
        Message::Email(_) => Medium::Email,
        Message::Sms(_) => Medium::Sms,
        Message::Voice(_) => Medium::Voice,
    }
}

/// The message as a file has it: RFC 5322, or a head and the text.
fn bytes(notice: &OutsideNotice) -> Result<Vec<u8>, mail::Unusable> {
    Ok(match &notice.message {
        Message::Email(text) => mail::message(text, None, &notice.to, &notice.message_id, notice.at)?.formatted(),
        Message::Sms(sms) => {
            let (coding, segments) = (sms.coding.word(), sms.segments);
            format!("To: {}\nCoding: {coding}, segments: {segments}\n\n{}\n", notice.to, sms.text).into_bytes()
        }
        Message::Voice(voice) => {
            format!("To: {}\nLanguage: {}\n\n{}\n", notice.to, voice.language.word(), voice.text).into_bytes()
        }
    })
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
    private_file::write(path, bytes)
}

/// Deletes the files of messages, as far as there are any: they tell of a person.
///
/// # Errors
/// Of the file system, but for files that are not there.
pub fn forget(outbox: &Path, message_ids: &[String]) -> io::Result<()> {
    for id in message_ids {
        for medium in Medium::ALL {
            match fs::remove_file(file_of(outbox, medium, id)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
    }
    Ok(())
}
