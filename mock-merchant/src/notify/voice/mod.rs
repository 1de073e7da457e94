//! Calls by a voice (B11): `espeak-ng` speaks, `sox` makes it fit for a telephone, `baresip` calls over SIP. Each is a process of
//! its own in a group that is killed when its time is over; no shell has a part in it, and no text is an argument.

mod call;
mod process;
mod speech;

use super::text::VoiceText;
use crate::domain::notices::{Sent, SentAs};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A SIP gateway, and who the merchant is there.
#[derive(Clone)]
pub struct VoiceSettings {
    /// Host, perhaps with a port: numbers are called there.
    pub gateway: String,
    /// Whether it is reached by TCP rather than by UDP.
    pub tcp: bool,
    /// Who calls: `sip:shop@sip.example.org`.
    pub account: String,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// The address of this machine that the gateway sees.
    pub listen: IpAddr,
    /// How many calls may be under way at one time.
    pub lines: u8,
    /// How long it rings before the call is given up.
    pub ringing: Duration,
}

impl std::fmt::Debug for VoiceSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SIP gateway {}", self.gateway)
    }
}

impl VoiceSettings {
    /// Whether all of it may stand in the configuration of a SIP client.
    ///
    /// # Errors
    /// The name of the member, and what was expected.
    pub fn check(&self) -> Result<(), String> {
        let host = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        let plain = |c: char| host(c) || "@+_".contains(c);
        if self.gateway.is_empty() || !self.gateway.chars().all(host) {
            return Err("gateway: expected a host, perhaps with a port".to_owned());
        }
        if !self.account.starts_with("sip:") || !self.account.contains('@') || !self.account.chars().all(plain) {
            return Err("account: expected sip:shop@sip.example.org".to_owned());
        }
        let word = |text: &str| !text.chars().any(|c| c.is_whitespace() || c.is_control() || "\";<>,".contains(c));
        match &self.credentials {
            Some((user, password)) if !word(user) || !word(password) => {
                Err("user: user and password may not hold blanks, quotes, commas or semicolons".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Calls over SIP.
pub struct Voice {
    settings: VoiceSettings,
    /// Where calls have their files while they are under way.
    folder: PathBuf,
}

impl Voice {
    /// From settings; `folder` holds files of calls while they are under way.
    pub fn new(settings: VoiceSettings, folder: PathBuf) -> Self {
        Self { settings, folder }
    }

    /// How many calls may be under way at one time.
    pub fn lines(&self) -> usize {
        usize::from(self.settings.lines)
    }

    /// Calls once.
    pub async fn send(&self, text: &VoiceText, to: &str) -> Sent {
        let failed = |why: &dyn std::fmt::Display, word| {
            tracing::warn!(%why, "a call could not be prepared");
            Sent::new(SentAs::Deferred, word)
        };
        if let Err(e) = std::fs::create_dir_all(&self.folder) {
            return failed(&e, "folder");
        }
        let folder = match tempfile::tempdir_in(&self.folder) {
            Ok(folder) => folder,
            Err(e) => return failed(&e, "folder"),
        };
        let speech = match speech::speak(folder.path(), text).await {
            Ok(speech) => speech,
            Err(e) => return failed(&e, "speech"),
        };
        call::place(&self.settings, folder.path(), &speech, &self.target(to)).await
    }

    /// A number at the gateway; a SIP URI is called as it is.
    fn target(&self, to: &str) -> String {
        let transport = if self.settings.tcp { ";transport=tcp" } else { "" };
        match to.starts_with("sip:") {
            true => format!("{to}{transport}"),
            false => format!("sip:{to}@{}{transport}", self.settings.gateway),
        }
    }
}
