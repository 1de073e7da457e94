//! E-mail over SMTP (RFC 5321), with STARTTLS (RFC 3207) and AUTH (RFC 4954). The commands are given one by one: until the
//! message itself is handed over a lost connection means that nothing was sent, from then on that nobody knows.

use super::mail;
use super::text::EmailText;
use crate::domain::notices::{Sent, SentAs};
use lettre::Address;
use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use walkpay::Timestamp;

/// A mail server, and who the merchant is there.
#[derive(Clone)]
pub struct SmtpSettings {
    /// Its name or address.
    pub host: String,
    /// Its port: 587, or 465 for implicit TLS.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// Whom messages are from.
    pub from: Address,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// Certificates to trust besides the public ones: PEM.
    pub roots: Option<Vec<u8>>,
    /// How long the server may take to be reached and greeted (TLS and AUTH included), for all commands, and to accept the
    /// message: three times this stays below the lease of a delivery.
    pub patience: Duration,
}

impl std::fmt::Debug for SmtpSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mail server {}:{}", self.host, self.port)
    }
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// STARTTLS, without which nothing is sent.
    #[default]
    Starttls,
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// Not at all: on loopback only.
    None,
}

/// A mail server.
pub struct Smtp {
    settings: SmtpSettings,
    tls: TlsParameters,
}

impl Smtp {
    /// From settings.
    ///
    /// # Errors
    /// Certificates that cannot be read.
    pub fn new(settings: SmtpSettings) -> Result<Self, Error> {
        let mut tls = TlsParameters::builder(settings.host.clone());
        if let Some(pem) = &settings.roots {
            tls = tls.add_root_certificate(Certificate::from_pem(pem)?);
        }
        let tls = tls.build_rustls()?;
        Ok(Self { settings, tls })
    }

    /// Sends a message once.
    pub async fn send(&self, text: &EmailText, to: &str, message_id: &str, at: Timestamp) -> Sent {
        let Ok(message) = mail::message(text, Some(&self.settings.from), to, message_id, at) else {
            return Sent::new(SentAs::Refused, "bad_address");
        };
        let mut connection = match timeout(self.settings.patience, self.connect()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(sent)) => return sent,
            Err(_) => return Sent::new(SentAs::Deferred, "timeout"),
        };
        let patience = self.settings.patience;
        let sent = transmit(&mut connection, message.envelope(), &message.formatted(), patience).await;
        // Whatever it says to this, the outcome stands.
        let _ended = timeout(patience / 4, connection.abort()).await.is_ok();
        sent
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Sent> {
        let Self { settings, tls } = self;
        let hello = ClientId::default();
        let implicit = (settings.tls == SmtpTls::Implicit).then(|| tls.clone());
        let address = (settings.host.as_str(), settings.port);
        let connected =
            AsyncSmtpConnection::connect_tokio1(address, Some(settings.patience), &hello, implicit, None).await;
        let mut connection = connected.map_err(|e| unreached(&e, "connect"))?;
        if settings.tls == SmtpTls::Starttls {
            if !connection.can_starttls() {
                tracing::error!("the mail server offers no STARTTLS: nothing is sent to it");
                return Err(Sent::new(SentAs::Deferred, "no_starttls"));
            }
            connection.starttls(tls.clone(), &hello).await.map_err(|e| unreached(&e, "starttls"))?;
        }
        if let Some((user, password)) = &settings.credentials {
            let credentials = Credentials::new(user.clone(), password.clone());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            // That the merchant is not let in is nothing that the payer's address could help.
            connection.auth(&mechanisms, &credentials).await.map_err(|e| {
                tracing::error!(code = code(&e), "the mail server does not accept user and password");
                Sent { as_: SentAs::Deferred, ..before(&e, "credentials") }
            })?;
        }
        Ok(connection)
    }
}

/// The mail server cannot be reached, or not safely: said in the log, since only the operator can mend it.
fn unreached(error: &Error, word: &'static str) -> Sent {
    tracing::warn!(%error, "the mail server cannot be used");
    before(error, word)
}

/// MAIL, RCPT, DATA, the message.
async fn transmit(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    message: &[u8],
    patience: Duration,
) -> Sent {
    let commanded = Instant::now() + patience;
    let supports = |extension| connection.server_info().supports_feature(extension);
    let mut options = Vec::new();
    let plain = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
    if !envelope.from().into_iter().chain(envelope.to()).all(plain) {
        if !supports(Extension::SmtpUtfEight) {
            return Sent::new(SentAs::Refused, "no_smtputf8");
        }
        options.push(MailParameter::SmtpUtfEight);
    }
    if !message.is_ascii() && supports(Extension::EightBitMime) {
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    let mut commands = vec![Mail::new(envelope.from().cloned(), options).to_string()];
    commands.extend(envelope.to().iter().map(|to| Rcpt::new(to.clone(), Vec::new()).to_string()));
    commands.push(Data.to_string());
    for command in commands {
        match timeout_at(commanded, connection.command(command)).await {
            Ok(Ok(_)) => {}
            Ok(Err(e)) => return before(&e, "connection_lost"),
            Err(_) => return Sent::new(SentAs::Deferred, "timeout"),
        }
    }
    match timeout(patience, connection.message(message)).await {
        Ok(Ok(answer)) => Sent { code: number(answer.code()), ..Sent::new(SentAs::Accepted, "taken") },
        Ok(Err(e)) if e.status().is_some() => before(&e, "message"),
        Ok(Err(_)) => Sent::new(SentAs::Unknown, "connection_lost"),
        Err(_) => Sent::new(SentAs::Unknown, "timeout"),
    }
}

/// What an error means as long as the message was not handed over, or as the server's answer to it. 4yz: try again; 5yz: do not
/// (RFC 5321 §4.2.1), but for 530 and 535, which are about the merchant (RFC 4954 §6).
fn before(error: &Error, word: &'static str) -> Sent {
    match code(error) {
        Some(code @ (530 | 534 | 535 | 538)) => Sent::coded(SentAs::Deferred, code, "credentials"),
        Some(code @ 500..) => Sent::coded(SentAs::Refused, code, "refused"),
        Some(code) => Sent::coded(SentAs::Deferred, code, "deferred"),
        None => Sent::new(SentAs::Deferred, if error.is_tls() { "tls" } else { word }),
    }
}

fn code(error: &Error) -> Option<u16> {
    error.status().and_then(number)
}

fn number(code: lettre::transport::smtp::response::Code) -> Option<u16> {
    code.to_string().parse().ok()
}
