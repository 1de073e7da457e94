//! The ways to payers outside of app and web page (B11–B13): texts, and transports behind one port. Without any
//! configuration every message becomes a file.

pub mod files;
pub mod kannel;
pub mod mail;
pub mod settings;
pub mod smtp;
pub mod text;
pub mod voice;

use crate::domain::notices::{Sent, SentAs};
use crate::server::callbacks;
use crate::store::contacts::Medium;
use crate::worker::notices::OutsideNotice;
use files::FileOutbox;
use kannel::Kannel;
use settings::Settings;
use smtp::Smtp;
use std::path::Path;
use std::time::Duration;
use text::Message;
use voice::Voice;
use walkpay::WalkpayError;

/// The most that a call to Kannel may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Why transports cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// TLS to a mail server: certificates that cannot be read.
    #[error("the mail server's TLS: {0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    /// The client of Kannel.
    #[error(transparent)]
    Http(#[from] WalkpayError),
}

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
    /// To a mail server.
    Smtp(Box<Smtp>),
    /// To a text message centre.
    Kannel(Box<Kannel>),
    /// To a SIP gateway.
    Voice(Box<Voice>),
}

impl Transports {
    /// As the settings say; files are below the folder `data`.
    ///
    /// # Errors
    /// [`TransportError`].
    pub fn new(settings: &Settings, data: &Path) -> Result<Self, TransportError> {
        let outbox = data.join("outbox");
        let files = |medium: Medium| Transport::Files(FileOutbox::new(&outbox, medium));
        let email = match &settings.email {
            Some(smtp) => Transport::Smtp(Box::new(Smtp::new(smtp.clone())?)),
            None => files(Medium::Email),
        };
        let sms = match &settings.sms {
            Some(kannel) => {
                Transport::Kannel(Box::new(Kannel::new(kannel.clone(), callbacks::client(false, TIMEOUT)?)))
            }
            None => files(Medium::Sms),
        };
        let voice = match &settings.voice {
            Some(voice) => Transport::Voice(Box::new(Voice::new(voice.clone(), data.join("calls")))),
            None => files(Medium::Voice),
        };
        Ok(Self { email, sms, voice })
    }

    /// Sends a message once.
    pub async fn send(&self, medium: Medium, notice: &OutsideNotice) -> Sent {
        let OutsideNotice { to, message_id, at, message, report, .. } = notice;
        match (self.of(medium), message) {
            (Transport::Files(files), _) => files.send(notice).await,
            (Transport::Smtp(smtp), Message::Email(text)) => smtp.send(text, to, message_id, *at).await,
            (Transport::Kannel(kannel), Message::Sms(text)) => kannel.send(text, to, report.as_deref()).await,
            (Transport::Voice(voice), Message::Voice(text)) => voice.send(text, to).await,
            // Each medium renders its own messages: this is a defect, and nothing is sent.
            _ => Sent::new(SentAs::Refused, "medium"),
        }
    }

    /// How many messages of a medium may be on their way at one time.
    pub fn lines(&self, medium: Medium) -> usize {
        match self.of(medium) {
            Transport::Files(_) | Transport::Smtp(_) => 4,
            Transport::Kannel(_) => 8,
            Transport::Voice(voice) => voice.lines(),
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
