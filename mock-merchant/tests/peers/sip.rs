//! A `baresip` that answers calls and records them.

use crate::outbox::{Program, need, wait};
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use tempfile::TempDir;

/// Somebody who answers.
pub struct Callee {
    pub port: u16,
    folder: TempDir,
    _program: Program,
}

impl Callee {
    /// Starts it: `answermode` is `auto`, or `manual`, which lets it ring.
    pub fn start(answermode: &str) -> Self {
        for (program, package) in [("baresip", "baresip-core"), ("espeak-ng", "espeak-ng"), ("sox", "sox")] {
            need(program, package);
        }
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        let port = free_pair();
        let rtp = free_pair();
        fs::create_dir(here.join("recorded")).unwrap();
        let config = format!(
            "sip_listen 127.0.0.1:{port}\nnet_interface 127.0.0.1\nrtp_ports {rtp}-{}\naudio_player aubridge,null\n\
             audio_alert aubridge,null\naudio_source aubridge,quiet\nringback_disabled yes\ncall_max_calls 1\n\
             call_local_timeout 120\nmodule_path /usr/lib/baresip/modules\nmodule g711.so\nmodule aubridge.so\n\
             module sndfile.so\nsnd_path {}\nmodule_tmp account.so\nmodule_app menu.so\n",
            rtp + 9,
            here.join("recorded").display()
        );
        fs::write(here.join("config"), config).unwrap();
        fs::write(here.join("accounts"), format!("<sip:callee@127.0.0.1:{port}>;regint=0;answermode={answermode}\n"))
            .unwrap();
        fs::write(here.join("contacts"), "").unwrap();
        let log = here.join("log");
        let program = Program::start(&log, "baresip", &["-f", here.to_str().unwrap()]);
        wait("baresip is ready", || fs::read_to_string(&log).is_ok_and(|text| text.contains("baresip is ready")));
        Self { port, folder, _program: program }
    }

    /// The samples that were heard, at 8,000 a second.
    pub fn heard(&self) -> Vec<Vec<i16>> {
        let files = fs::read_dir(self.folder.path().join("recorded")).unwrap().map(|entry| entry.unwrap().path());
        let heard = files.filter(|path| path.to_string_lossy().ends_with("-dec.wav"));
        heard.map(|path| samples(&path)).collect()
    }
}

/// The samples of a WAV file of 16 bits; of one that was never closed, all that is there.
pub fn samples(path: &Path) -> Vec<i16> {
    let bytes = fs::read(path).unwrap();
    let data = bytes.windows(4).position(|w| w == b"data").expect("a WAV file") + 8;
    bytes[data..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// A port of UDP that nobody has at this moment, nor the next ones.
fn free_pair() -> u16 {
    loop {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port() & !1;
        if port < 65_000 && (0..10).all(|n| UdpSocket::bind(("0.0.0.0", port + n)).is_ok()) {
            return port;
        }
    }
}
