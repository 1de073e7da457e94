//! One call by a `baresip` of its own, controlled over its `ctrl_tcp` port: JSON in netstrings. What became of the call is judged
//! by its events; the program's exit status says nothing.

use super::VoiceSettings;
use super::process::Process;
use super::speech::Speech;
use crate::domain::notices::{Sent, SentAs};
use crate::private_file;
use serde::Deserialize;
use serde_json::json;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

/// How long the program may take to listen.
const START: Duration = Duration::from_secs(10);
/// What a call that nobody takes in time came to.
const RANG_OUT: &str = "rang_out";
/// How long the other side may take to hear that the call is over.
const GOODBYE: Duration = Duration::from_secs(2);
/// What a call may take beyond its message.
const MARGIN: Duration = Duration::from_secs(15);
/// The longest netstring.
const MAX_EVENT: usize = 64 * 1024;
/// How often free ports are looked for.
const PORT_TRIES: usize = 20;

/// Calls `target` and plays the message.
pub(super) async fn place(settings: &VoiceSettings, folder: &Path, speech: &Speech, target: &str) -> Sent {
    let failed = |e: io::Error| {
        tracing::warn!(error = %e, "a call could not be begun");
        Sent::new(SentAs::Deferred, "baresip")
    };
    let started = match start(settings, folder, speech).await {
        Ok(started) => started,
        Err(e) => return failed(e),
    };
    let (mut process, mut control) = started;
    let dial = json!({ "command": "dial", "params": target, "token": "1" }).to_string();
    if let Err(e) = control.write_all(format!("{}:{dial},", dial.len()).as_bytes()).await {
        return failed(e);
    }
    let sent = follow(&mut process, &mut control, settings.ringing, speech.length).await;
    if sent.word == RANG_OUT {
        hang_up(&mut control).await;
    }
    sent
}

/// An event of a call, or the answer to a command.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    param: String,
    /// Of an answer: whether the command was carried out.
    ok: Option<bool>,
}

/// Follows the call to its end.
async fn follow(process: &mut Process, control: &mut TcpStream, ringing: Duration, length: Duration) -> Sent {
    let (mut buffer, mut answered, mut heard) = (Vec::new(), false, false);
    let mut end = Instant::now() + ringing;
    loop {
        while let Some(event) = next_event(&mut buffer) {
            match event.kind.as_str() {
                "CALL_ESTABLISHED" => {
                    answered = true;
                    end = Instant::now() + length + MARGIN;
                }
                "AUDIO_ERROR" if event.param.contains("end of file") => heard = true,
                "CALL_CLOSED" => return closed(answered, heard, &event.param),
                _ if event.ok == Some(false) => return Sent::new(SentAs::Deferred, "baresip"),
                _ => {}
            }
        }
        let mut piece = [0; 4096];
        let lost = match timeout_at(end, control.read(&mut piece)).await {
            Ok(Ok(n)) if n > 0 && buffer.len() + n <= MAX_EVENT => {
                buffer.extend_from_slice(piece.get(..n).unwrap_or_default());
                None
            }
            Ok(_) => Some(if process.runs() { "control" } else { "baresip" }),
            Err(_) => Some(RANG_OUT),
        };
        match lost {
            None => {}
            Some(_) if heard => return Sent::new(SentAs::Delivered, "heard"),
            // Somebody has taken the call; what they heard nobody knows.
            Some(word) if answered => return Sent::new(SentAs::Unknown, word),
            Some(word) => return Sent::new(SentAs::Deferred, word),
        }
    }
}

/// Tells the other side to ring no longer.
async fn hang_up(control: &mut TcpStream) {
    let command = json!({ "command": "hangup", "token": "2" }).to_string();
    let work = async {
        control.write_all(format!("{}:{command},", command.len()).as_bytes()).await?;
        let (mut buffer, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let n = control.read(&mut piece).await?;
            buffer.extend_from_slice(piece.get(..n).unwrap_or_default());
            while let Some(event) = next_event(&mut buffer) {
                if event.kind == "CALL_CLOSED" {
                    return io::Result::Ok(());
                }
            }
            if n == 0 || buffer.len() > MAX_EVENT {
                return Ok(());
            }
        }
    };
    let _said = timeout_at(Instant::now() + GOODBYE, work).await.is_ok();
}

/// What the end of a call means. The reason is a status of SIP (RFC 3261 §21) with its phrase, or a word of the network.
fn closed(answered: bool, heard: bool, reason: &str) -> Sent {
    if heard {
        return Sent::new(SentAs::Delivered, "heard");
    }
    if answered {
        // They have answered, and hung up before the end: they are not called again.
        return Sent::new(SentAs::Accepted, "hung_up");
    }
    let code: Option<u16> = reason.split(' ').next().and_then(|word| word.parse().ok());
    match code {
        // Not found, gone, ambiguous or impossible address, declined, does not exist anywhere.
        Some(code @ (404 | 410 | 484 | 485 | 416 | 603 | 604)) => Sent::coded(SentAs::Refused, code, "refused"),
        Some(code @ (486 | 600)) => Sent::coded(SentAs::Deferred, code, "busy"),
        Some(code @ (401 | 403 | 407)) => {
            tracing::error!(code, "the SIP gateway does not accept the account");
            Sent::coded(SentAs::Deferred, code, "credentials")
        }
        Some(code @ (408 | 480 | 487)) => Sent::coded(SentAs::Deferred, code, "no_answer"),
        Some(code) => Sent::coded(SentAs::Deferred, code, "deferred"),
        None => Sent::new(SentAs::Deferred, "connect"),
    }
}

/// Takes a complete netstring from the front of the buffer.
fn next_event(buffer: &mut Vec<u8>) -> Option<Event> {
    loop {
        let colon = buffer.iter().position(|b| *b == b':')?;
        let length =
            buffer.get(..colon).and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| d.parse::<usize>().ok());
        let Some(length) = length.filter(|n| *n <= MAX_EVENT) else {
            buffer.clear();
            return None;
        };
        let rest = colon + 1 + length + 1;
        let event = serde_json::from_slice(buffer.get(colon + 1..rest - 1).filter(|_| buffer.len() >= rest)?);
        buffer.drain(..rest);
        if let Ok(event) = event {
            return Some(event);
        }
    }
}

/// Writes the configuration, starts the program and connects to its control port.
async fn start(settings: &VoiceSettings, folder: &Path, speech: &Speech) -> io::Result<(Process, TcpStream)> {
    let (sip, control, rtp) = ports(settings.listen)?;
    let control = SocketAddr::from((Ipv4Addr::LOCALHOST, control));
    fs::write(folder.join("config"), config(settings, speech, sip, control, rtp))?;
    // It may hold a password.
    private_file::write(&folder.join("accounts"), account(settings).as_bytes())?;
    fs::write(folder.join("contacts"), "")?;
    let here = folder.as_os_str();
    // Should this program be killed, nobody else would ever end that one.
    let guarded = ["--foreground", "-s", "KILL", "300", "baresip", "-f"].map(OsStr::new);
    let args: Vec<&OsStr> = guarded.into_iter().chain([here]).collect();
    let mut process = Process::start("timeout", folder, &args, Stdio::null())?;
    let end = Instant::now() + START;
    loop {
        match TcpStream::connect(control).await {
            Ok(stream) => return Ok((process, stream)),
            Err(_) if process.runs() && Instant::now() < end => sleep(Duration::from_millis(20)).await,
            Err(e) => return Err(e),
        }
    }
}

fn config(settings: &VoiceSettings, speech: &Speech, sip: u16, control: SocketAddr, rtp: u16) -> String {
    let listen = settings.listen;
    let at = SocketAddr::from((listen, sip));
    let (file, last) = (speech.file.display(), rtp + 9);
    format!(
        "sip_listen {at}\nnet_interface {listen}\nrtp_ports {rtp}-{last}\naudio_player aubridge,null\naudio_alert aubridge,null\n\
         audio_source aufile,{file}\nringback_disabled yes\ncall_max_calls 1\ncall_local_timeout 20\n\
         module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule aubridge.so\nmodule aufile.so\nmodule_tmp account.so\n\
         module_app menu.so\nmodule_app ctrl_tcp.so\nctrl_tcp_listen {control}\n"
    )
}

fn account(settings: &VoiceSettings) -> String {
    let login = match &settings.credentials {
        Some((user, password)) => format!(";auth_user={user};auth_pass={password}"),
        None => String::new(),
    };
    format!("<{}>;regint=0{login}\n", settings.account)
}

/// Ports that nobody has at this moment: one for SIP and the next one, one for control, ten for sound.
fn ports(listen: IpAddr) -> io::Result<(u16, u16, u16)> {
    let control = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut found = Vec::new();
    for _ in 0..PORT_TRIES {
        let socket = UdpSocket::bind((listen, 0))?;
        let port = socket.local_addr()?.port() & !1;
        let free = |n: u16| port.checked_add(n).is_some_and(|p| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, p)).is_ok());
        drop(socket);
        let far = found.iter().all(|other: &u16| other.abs_diff(port) > 20);
        if port < u16::MAX - 20 && far && (0..10).all(free) {
            found.push(port);
        }
        if let [sip, rtp] = found[..] {
            return Ok((sip, control.local_addr()?.port(), rtp));
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free ports for a call"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_calls_are_told_apart() {
        assert_eq!(closed(true, true, "end of file"), Sent::new(SentAs::Delivered, "heard"));
        assert_eq!(closed(true, false, "Connection reset by peer"), Sent::new(SentAs::Accepted, "hung_up"));
        assert_eq!(closed(false, false, "486 Busy Here"), Sent::coded(SentAs::Deferred, 486, "busy"));
        assert_eq!(closed(false, false, "404 Not Found"), Sent::coded(SentAs::Refused, 404, "refused"));
        assert_eq!(closed(false, false, "403 Forbidden"), Sent::coded(SentAs::Deferred, 403, "credentials"));
        assert_eq!(closed(false, false, "Connection refused"), Sent::new(SentAs::Deferred, "connect"));
    }

    #[test]
    fn netstrings_come_in_any_pieces() {
        let text = r#"{"event":true,"type":"CALL_CLOSED","param":"486 Busy Here"}"#;
        let wire = format!("{}:{text},", text.len());
        let (mut buffer, mut seen) = (Vec::new(), 0);
        for byte in wire.bytes().chain(*b"2:{},x:").chain(wire.bytes()) {
            buffer.push(byte);
            while let Some(event) = next_event(&mut buffer) {
                seen += usize::from(event.param == "486 Busy Here");
            }
        }
        assert_eq!(seen, 2);
        assert!(buffer.is_empty());
    }
}
