//! Kannel: bearerbox, smsbox and the fake text message centre, in a folder of their own on free ports.

use crate::client::http;
use crate::outbox::{DEADLINE, Program, free_port, need};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const FAKE_CENTRE: &str = "/usr/lib/kannel/test/fakesmsc";

/// A running Kannel. Its parts end with this value.
pub struct Kannel {
    pub sendsms: u16,
    admin: u16,
    centre: u16,
    folder: TempDir,
    bearerbox: Program,
    smsbox: Program,
    fake: Option<Program>,
}

/// A text message as the centre has got it, put together of its segments.
#[derive(Debug, PartialEq, Eq)]
pub struct Got {
    pub from: String,
    pub to: String,
    pub text: String,
    pub segments: usize,
}

impl Kannel {
    /// Starts it; numbers that begin with +4999 are refused. With `centre` the fake centre is there from the beginning.
    pub async fn start(centre: bool) -> Self {
        need("bearerbox", "kannel");
        assert!(Path::new(FAKE_CENTRE).is_file(), "fakesmsc is missing: kannel-extras has it");
        let folder = tempfile::tempdir().unwrap();
        let [admin, box_, port, sendsms] = [(); 4].map(|()| free_port());
        let path = folder.path().join("kannel.conf");
        fs::write(&path, configuration(admin, box_, port, sendsms)).unwrap();
        let config = path.to_str().unwrap();
        let log = |name: &str| folder.path().join(name);
        let bearerbox = Program::start(&log("bearerbox.log"), "bearerbox", &[config]);
        until("bearerbox answers", async || status(admin).await.is_some()).await;
        let smsbox = Program::start(&log("smsbox.log"), "smsbox", &[config]);
        until("smsbox is connected", async || status(admin).await.is_some_and(|s| s.contains("<type>smsbox</type>")))
            .await;
        until("sendsms answers", async || http(&[]).get(format!("http://127.0.0.1:{sendsms}/")).send().await.is_ok())
            .await;
        let mut kannel = Self { sendsms, admin, centre: port, folder, bearerbox, smsbox, fake: None };
        if centre {
            kannel.connect().await;
        }
        kannel
    }

    /// Has the centre come.
    pub async fn connect(&mut self) {
        let port = self.centre.to_string();
        let args = ["-H", "127.0.0.1", "-r", &port, "-m", "0", "1 2 text x"];
        let end = Instant::now() + DEADLINE;
        while !status(self.admin).await.is_some_and(|s| s.contains("<status>online")) {
            assert!(Instant::now() < end, "the centre is connected");
            // It ends where the port is not open yet.
            if self.fake.as_mut().is_none_or(|fake| fake.0.try_wait().unwrap().is_some()) {
                self.fake = Some(Program::start(&self.folder.path().join("centre.log"), FAKE_CENTRE, &args));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/cgi-bin/sendsms", self.sendsms)
    }

    /// What the centre has got, once it is as many messages.
    pub async fn got(&self, messages: usize) -> Vec<Got> {
        let end = Instant::now() + DEADLINE;
        loop {
            let log = fs::read(self.folder.path().join("centre.log")).unwrap_or_default();
            let found = read(&String::from_utf8_lossy(&log));
            if found.len() >= messages {
                return found;
            }
            assert!(Instant::now() < end, "{found:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Kannel {
    fn drop(&mut self) {
        // In this order they end by themselves; what does not is killed after it.
        for (signal, child) in [("-TERM", &self.smsbox.0), ("-INT", &self.bearerbox.0)] {
            Command::new("kill").args([signal, &child.id().to_string()]).status().ok();
        }
    }
}

async fn status(admin: u16) -> Option<String> {
    let answer = http(&[]).get(format!("http://127.0.0.1:{admin}/status.xml")).send().await.ok()?;
    answer.text().await.ok()
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !done().await {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Groups are separated by empty lines.
fn configuration(admin: u16, box_: u16, centre: u16, sendsms: u16) -> String {
    format!(
        "group = core\nadmin-port = {admin}\nadmin-interface = 127.0.0.1\nadmin-password = secret\nsmsbox-port = {box_}\n\
         smsbox-interface = 127.0.0.1\nbox-allow-ip = 127.0.0.1\ndlr-storage = internal\n\n\
         group = smsc\nsmsc = fake\nsmsc-id = fake\nport = {centre}\nour-host = 127.0.0.1\nconnect-allow-ip = 127.0.0.1\n\
         denied-prefix = \"+4999\"\n\n\
         group = smsbox\nbearerbox-host = 127.0.0.1\nbearerbox-port = {box_}\nsendsms-port = {sendsms}\nsendsms-interface = 127.0.0.1\n\n\
         group = sendsms-user\nusername = shop\npassword = secret\nmax-messages = 10\nconcatenation = true\n\n\
         group = sms-service\nkeyword = default\ncatch-all = yes\nget-url = \"http://127.0.0.1:1/\"\n"
    )
}

/// The messages in the centre's log: one segment as `<from to text WORDS>` or `<from to data …>`, several each with a head
/// `udh %05%00%03 REFERENCE TOTAL NUMBER` (3GPP TS 23.040 §9.2.3.24.1).
fn read(log: &str) -> Vec<Got> {
    let mut whole = Vec::new();
    let mut parts = BTreeMap::<(String, String, u8), BTreeMap<u8, Vec<u8>>>::new();
    for line in log.lines() {
        let Some((_, message)) = line.split_once("Got message ") else { continue };
        let Some((_, message)) = message.split_once('<') else { continue };
        let Some(message) = message.strip_suffix('>') else { continue };
        // What has nothing but printable characters stands there as it is, spaces included.
        if let [from, to, "text", text] = message.splitn(4, ' ').collect::<Vec<_>>()[..] {
            whole.push(Got { from: from.into(), to: to.into(), text: text.into(), segments: 1 });
            continue;
        }
        let words: Vec<&str> = message.split(' ').collect();
        match words[..] {
            [from, to, "udh", head, "data", data] => {
                let head = unescaped(head);
                let part = parts.entry((from.to_owned(), to.to_owned(), head[3])).or_default();
                part.insert(head[5], unescaped(data));
                if part.len() == usize::from(head[4]) {
                    let text = decoded(&part.values().flatten().copied().collect::<Vec<_>>());
                    whole.push(Got { from: from.into(), to: to.into(), text, segments: part.len() });
                }
            }
            [from, to, "data", data] => {
                whole.push(Got { from: from.into(), to: to.into(), text: decoded(&unescaped(data)), segments: 1 });
            }
            _ => {}
        }
    }
    whole
}

fn unescaped(text: &str) -> Vec<u8> {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
                at += 2;
            }
            b'+' => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    out
}

/// UTF-8, or UTF-16 (big end first), which in Chinese texts has bytes that UTF-8 cannot have.
fn decoded(bytes: &[u8]) -> String {
    let plain = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    plain.map(str::to_owned).unwrap_or_else(|| {
        let units: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        String::from_utf16(&units).unwrap()
    })
}
