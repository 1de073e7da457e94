//! A text as a QR code in the terminal, two modules in each character.

use qrcodegen::{QrCode, QrCodeEcc};
use std::io::IsTerminal;

/// The quiet zone that ISO/IEC 18004 asks for, in modules.
const QUIET: i32 = 4;

/// Dark on light, whatever the terminal's colours are.
///
/// # Errors
/// When the text is too long for a QR code.
pub fn half_blocks(text: &str) -> Result<String, String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).map_err(|e| format!("QR code: {e}"))?;
    let (on, off) = if std::io::stdout().is_terminal() { ("\x1b[30;107m", "\x1b[0m") } else { ("", "") };
    let range = || -QUIET..code.size() + QUIET;
    let cell = |x, y| match (code.get_module(x, y), code.get_module(x, y + 1)) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    };
    let line = |y| format!("{on}{}{off}\n", range().map(|x| cell(x, y)).collect::<String>());
    Ok(range().step_by(2).map(line).collect())
}
