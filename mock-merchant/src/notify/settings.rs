//! `serve --notify FILE`: which transports carry notices. Passwords are in files of their own.

use super::kannel::KannelSettings;
use super::smtp::{SmtpSettings, SmtpTls};
use super::voice::VoiceSettings;
use serde::Deserialize;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use walkpay::protocol::enrolment_code::check_url;

/// Why notices cannot be configured so.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {detail}")]
pub struct SettingsError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong, and what was expected.
    pub detail: String,
}

/// The transports; a medium that is not named keeps the file outbox.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// A mail server.
    pub email: Option<SmtpSettings>,
    /// A text message centre behind Kannel.
    pub sms: Option<KannelSettings>,
    /// A SIP gateway.
    pub voice: Option<VoiceSettings>,
}

/// The file: JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    email: Option<Email>,
    sms: Option<Sms>,
    voice: Option<Voice>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Email {
    host: String,
    port: u16,
    #[serde(default)]
    tls: SmtpTls,
    from: String,
    user: Option<String>,
    password_file: Option<PathBuf>,
    roots_file: Option<PathBuf>,
    #[serde(default = "patience")]
    timeout_seconds: u64,
}

fn patience() -> u64 {
    20
}

fn ringing() -> u64 {
    45
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sms {
    url: String,
    user: String,
    password_file: PathBuf,
    from: String,
    report_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Voice {
    gateway: String,
    #[serde(default)]
    tcp: bool,
    account: String,
    user: Option<String>,
    password_file: Option<PathBuf>,
    listen: Option<IpAddr>,
    lines: Option<u8>,
    #[serde(default = "ringing")]
    ring_seconds: u64,
}

impl Settings {
    /// Reads the file and those that it names; relative paths are looked up beside it.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let fault = |detail: String| SettingsError { path: path.to_owned(), detail };
        let text = fs::read_to_string(path).map_err(|e| fault(e.to_string()))?;
        let file: File = serde_json::from_str(&text).map_err(|e| fault(e.to_string()))?;
        let beside = |name: &Path| path.parent().unwrap_or(Path::new("")).join(name);
        let read = |name: &Path| {
            let path = beside(name);
            fs::read(&path).map_err(|e| SettingsError { path, detail: e.to_string() })
        };
        let secret = |name: &Path| {
            let text = String::from_utf8(read(name)?).map_err(|_| fault(format!("{}: not text", name.display())))?;
            let text = text.trim_end_matches(['\r', '\n']).to_owned();
            match text.is_empty() || text.chars().any(char::is_control) {
                true => Err(fault(format!("{}: expected a password on one line", name.display()))),
                false => Ok(text),
            }
        };
        let credentials = |user: Option<String>, password: Option<PathBuf>| match (user, password) {
            (Some(user), Some(password)) => Ok(Some((user, secret(&password)?))),
            (None, None) => Ok(None),
            _ => Err(fault("user and password_file belong together".to_owned())),
        };
        let email = file.email.map(|email| {
            let from = email.from.parse().map_err(|_| fault("email.from: expected pay@shop.example".to_owned()))?;
            let credentials = credentials(email.user, email.password_file)?;
            let loopback = is_loopback(&email.host);
            if email.tls == SmtpTls::None && !loopback {
                return Err(fault("email.tls: \"none\" is possible on loopback only".to_owned()));
            }
            let roots = email.roots_file.as_deref().map(read).transpose()?;
            let patience = Duration::from_secs(email.timeout_seconds.clamp(1, 30));
            Ok(SmtpSettings { host: email.host, port: email.port, tls: email.tls, from, credentials, roots, patience })
        });
        let sms = file.sms.map(|sms| {
            if check_url(&sms.url).is_err() {
                return Err(fault("sms.url: expected https, or http on loopback".to_owned()));
            }
            let password = secret(&sms.password_file)?;
            let report_url = sms.report_url.map(|url| url.trim_end_matches('/').to_owned());
            Ok(KannelSettings { url: sms.url, user: sms.user, password, from: sms.from, report_url })
        });
        let voice = file.voice.map(|voice| -> Result<_, SettingsError> {
            let credentials = credentials(voice.user, voice.password_file)?;
            let listen = voice.listen.unwrap_or(IpAddr::from([127, 0, 0, 1]));
            let (gateway, account) = (voice.gateway, voice.account);
            let lines = voice.lines.unwrap_or(1).clamp(1, 16);
            let ringing = Duration::from_secs(voice.ring_seconds.clamp(1, 120));
            let settings = VoiceSettings { gateway, tcp: voice.tcp, account, credentials, listen, lines, ringing };
            settings.check().map_err(|detail| fault(format!("voice.{detail}")))?;
            Ok(settings)
        });
        Ok(Self { email: email.transpose()?, sms: sms.transpose()?, voice: voice.transpose()? })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_and_passwords_come_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify.json");
        fs::write(folder.path().join("password"), "secret\n").unwrap();
        let load = |text: &str| {
            fs::write(&path, text).unwrap();
            Settings::load(&path)
        };
        let settings = load(
            r#"{"email": {"host": "smtp.example.org", "port": 587, "from": "pay@shop.example", "user": "shop", "password_file": "password"},
                "sms": {"url": "http://127.0.0.1:13013/cgi-bin/sendsms", "user": "shop", "password_file": "password", "from": "Shop"},
                "voice": {"gateway": "sip.example.org:5060", "account": "sip:shop@sip.example.org", "listen": "192.0.2.1"}}"#,
        )
        .unwrap();
        assert_eq!(settings.email.as_ref().unwrap().credentials, Some(("shop".into(), "secret".into())));
        assert!(!format!("{settings:?}").contains("secret"));
        for (text, expected) in [
            ("{", "EOF"),
            (r#"{"fax": {}}"#, "fax"),
            (r#"{"email": {"host": "h", "port": 25, "from": "x"}}"#, "email.from"),
            (r#"{"email": {"host": "h", "port": 25, "from": "a@b", "tls": "none"}}"#, "loopback only"),
            (r#"{"email": {"host": "h", "port": 25, "from": "a@b", "user": "u"}}"#, "belong together"),
            (
                r#"{"sms": {"url": "http://sms.example/", "user": "u", "password_file": "password", "from": "x"}}"#,
                "sms.url",
            ),
            (r#"{"sms": {"url": "https://sms.example/", "user": "u", "password_file": "none", "from": "x"}}"#, "none"),
            (r#"{"voice": {"gateway": "host\nmodule x", "account": "sip:a@b"}}"#, "voice.gateway"),
            (r#"{"voice": {"gateway": "host", "account": "a@b"}}"#, "voice.account"),
        ] {
            let said = load(text).unwrap_err().to_string();
            assert!(said.contains(expected), "{expected} in {said}");
        }
    }
}
