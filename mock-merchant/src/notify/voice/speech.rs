//! A text as a sound that a telephone can carry: 8,000 Hz, one channel, 16 bits (what G.711 samples).

use super::super::text::VoiceText;
use super::process::Process;
use crate::store::contacts::Language;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long speaking and converting may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The longest message.
const LONGEST: Duration = Duration::from_secs(90);

/// A spoken message.
pub(super) struct Speech {
    /// The file.
    pub file: PathBuf,
    /// How long it is.
    pub length: Duration,
}

/// Speaks `text` into a file of `folder`. The end is padded, since a SIP client looks for the end of the file about once a
/// second.
///
/// # Errors
/// If a program is missing, fails or takes too long, or the message is too long.
pub(super) async fn speak(folder: &Path, text: &VoiceText) -> io::Result<Speech> {
    let voice = match text.language {
        Language::En => "en-us",
        Language::Zh => "cmn",
    };
    let spoken = ["--stdin", "-b", "1", "-v", voice, "-s", "150", "-w", "spoken.wav"];
    Process::run("espeak-ng", folder, &spoken, text.text.as_bytes(), LIMIT).await?;
    let converted = ["-G", "spoken.wav", "-r", "8000", "-c", "1", "-b", "16", "message.wav", "pad", "0.5", "1.5"];
    Process::run("sox", folder, &converted, b"", LIMIT).await?;
    let file = folder.join("message.wav");
    let bytes = tokio::fs::metadata(&file).await?.len();
    // 16,000 bytes a second; the head is some tens of bytes.
    let length = Duration::from_millis(bytes / 16);
    if length > LONGEST {
        return Err(io::Error::other("the message is too long"));
    }
    Ok(Speech { file, length })
}
