//! The ways to payers outside of app and web page (B11–B13): texts, and transports behind one port. Without any
//! configuration every message becomes a file.

pub mod files;
pub mod mail;
pub mod text;

use crate::domain::notices::Sent;
use crate::store::contacts::Medium;
use crate::worker::notices::OutsideNotice;
use files::FileOutbox;
use std::path::Path;

/// What carries messages away: one transport per medium.
pub struct Transports {
    email: Transport,
    sms: Transport,
    voice: Transport,
}

/// What carries the messages of one medium away.
enum Transport {
    /// Into files of a folder.
    Files(FileOutbox),
}

impl Transports {
    /// Every message becomes a file below `outbox`.
    pub fn files(outbox: &Path) -> Self {
        let files = |medium: Medium| Transport::Files(FileOutbox::new(outbox, medium));
        Self { email: files(Medium::Email), sms: files(Medium::Sms), voice: files(Medium::Voice) }
    }

    /// Sends a message once.
    pub async fn send(&self, medium: Medium, notice: &OutsideNotice) -> Sent {
        match self.of(medium) {
            Transport::Files(files) => files.send(notice).await,
        }
    }

    /// How many messages of a medium may be on their way at one time.
    pub fn lines(&self, medium: Medium) -> usize {
        match self.of(medium) {
            Transport::Files(_) => 4,
        }
    }

    fn of(&self, medium: Medium) -> &Transport {
        match medium {
            Medium::Email => &self.email,
            Medium::Sms => &self.sms,
            Medium::Voice => &self.voice,
        }
    }
}
