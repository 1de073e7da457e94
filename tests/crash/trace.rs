//! That what was answered is on the disk: read from the system calls of the processes.

use crate::merchant::Merchant;
use crate::process::{PATIENCE, Process};
use crate::shopper::Orders;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A system call, with the lines of the trace where it began and ended.
#[derive(Debug)]
struct Call {
    pid: String,
    begun: usize,
    ended: usize,
    text: String,
}

/// Shops a little under a tracer and looks at what happened between each question and its answer.
pub fn run() -> Result<(), String> {
    let tracer = Command::new("strace").arg("-V").output();
    if !tracer.is_ok_and(|out| out.status.success()) {
        return Err("this needs strace (package strace): only system calls show what was handed to the disk".into());
    }
    let (shopper, merchant) = shop(true)?;
    let handed_in = between_lines(&shopper, "asking submit ", "submitted ", "terminal/")?;
    let recorded = between_messages(&merchant, "PUT /terminal/v1/", "merchant.db-wal")?;
    let moved = between_messages(&merchant, "PUT /bank/v1/operations/", "bank.db-wal")?;
    if handed_in < 2 || recorded < 2 || moved < 1 {
        return Err(format!("too little was traced: {handed_in} baskets, {recorded} records, {moved} bank operations"));
    }
    // That this can fail: a terminal that leaves the disk to the system is caught.
    let (careless, _) = shop(false)?;
    match between_lines(&careless, "asking submit ", "submitted ", "terminal/") {
        Err(_) => Ok(()),
        Ok(_) => Err("a terminal that does not wait for the disk was not noticed".into()),
    }
}

/// Two baskets or more under a tracer: what the shopper and the merchant called.
fn shop(flush: bool) -> Result<(Vec<Call>, Vec<Call>), String> {
    let folder = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
    let (merchant_trace, shopper_trace) = (folder.path().join("merchant.trace"), folder.path().join("shopper.trace"));
    let mut merchant = Merchant::start(folder.path(), &strace(&merchant_trace))?;
    let orders = Orders {
        data: folder.path().join("shopper").display().to_string(),
        code: merchant.code.clone(),
        user: merchant.user.clone(),
        seed: 1,
        trips: 6,
        flush,
    };
    let log = folder.path().join("shopper.log");
    let mut shopper = Process::start("shopper", &strace(&shopper_trace), &orders.to_words(), &log)?;
    for _ in 0..2 {
        shopper.wait_for("submitted ")?;
    }
    shopper.tell("stop")?;
    shopper.finish()?;
    merchant.terminate()?;
    Ok((read(&shopper_trace)?, read(&merchant_trace)?))
}

/// Traces in the background (`-D`), so that the process itself is this one's child.
fn strace(to: &Path) -> Vec<String> {
    let calls = "trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,fsync,fdatasync";
    let words = ["strace", "-D", "-f", "-y", "-s", "120", "-e", calls, "-o"];
    words.into_iter().map(str::to_owned).chain([to.display().to_string()]).collect()
}

/// The calls of a finished trace, in the order in which they began.
fn read(path: &Path) -> Result<Vec<Call>, String> {
    let deadline = Instant::now() + PATIENCE;
    let text = loop {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let main = text.split(' ').next().unwrap_or_default();
        if text.lines().any(|line| line.starts_with(main) && line.contains("+++ exited")) {
            break text;
        }
        if Instant::now() > deadline {
            return Err(format!("{}: the trace does not end", path.display()));
        }
        std::thread::park_timeout(Duration::from_millis(50));
    };
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    let mut calls: Vec<Call> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let (pid, rest) = (pid.to_owned(), rest.trim_start());
        if let Some((_, end)) = rest.strip_prefix("<... ").and_then(|rest| rest.split_once("resumed>")) {
            if let Some(call) = open.remove(&pid).and_then(|n| calls.get_mut(n)) {
                call.text.push_str(end);
                call.ended = at;
            }
        } else if let Some(begin) = rest.strip_suffix("<unfinished ...>") {
            open.insert(pid.clone(), calls.len());
            calls.push(Call { pid, begun: at, ended: usize::MAX, text: begin.to_owned() });
        } else {
            calls.push(Call { pid, begun: at, ended: at, text: rest.to_owned() });
        }
    }
    Ok(calls)
}

impl Call {
    fn is(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.text.strip_prefix(name).is_some_and(|rest| rest.starts_with('(')))
    }

    /// The file or socket that it is about, as `-y` prints it: `7<socket:[4711]>`.
    fn file(&self) -> &str {
        let inside = self.text.split_once('(').map_or("", |(_, inside)| inside);
        inside.split_once('>').map_or("", |(file, _)| file)
    }
}

/// Whether a file whose path contains `file` was flushed, completely, after line `from` and before line `to`.
fn flushed(calls: &[Call], file: &str, from: usize, to: usize) -> bool {
    calls.iter().any(|call| {
        call.is(&["fdatasync", "fsync"])
            && call.file().contains(file)
            && call.file().ends_with("-wal")
            && call.begun > from
            && call.ended < to
            && call.text.trim_end().ends_with("= 0")
    })
}

/// How many answers on standard output were checked: from a line that begins with `question` and a name to the one that
/// begins with `answer` and the same name.
fn between_lines(calls: &[Call], question: &str, answer: &str, file: &str) -> Result<usize, String> {
    let mut asked = BTreeMap::new();
    let mut checked = 0;
    let name_after = |call: &Call, start: &str| {
        let (_, rest) = call.text.split_once(&format!("\"{start}"))?;
        Some(rest.chars().take_while(|c| c.is_ascii_hexdigit() || *c == '-').collect::<String>())
    };
    for call in calls.iter().filter(|call| call.text.starts_with("write(1<")) {
        if let Some(name) = name_after(call, question) {
            asked.insert(name, call.ended);
        } else if let Some(from) = name_after(call, answer).and_then(|name| asked.remove(&name)) {
            if !flushed(calls, file, from, call.begun) {
                return Err(format!("answered before the journal was flushed: {} {}", call.pid, call.text));
            }
            checked += 1;
        }
    }
    Ok(checked)
}

/// How many HTTP answers were checked: from reading a request that begins with `request` to writing the answer to the same
/// connection. A request that is repeated changes nothing and needs no flush, so only the first of each counts.
fn between_messages(calls: &[Call], request: &str, file: &str) -> Result<usize, String> {
    let mut asked: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut checked = 0;
    for call in calls {
        if call.is(&["read", "readv", "recvfrom", "recvmsg"]) {
            if let Some((_, rest)) = call.text.split_once(&format!("\"{request}")) {
                let path = rest.split(' ').next().unwrap_or_default().to_owned();
                asked.insert(call.file(), (call.ended, seen.insert(path)));
            }
        } else if call.is(&["write", "writev", "sendto", "sendmsg"])
            && call.text.contains("\"HTTP/1.1 2")
            && let Some((from, true)) = asked.remove(call.file())
        {
            if !flushed(calls, file, from, call.begun) {
                return Err(format!("answered before {file} was flushed: {} {}", call.pid, call.text));
            }
            checked += 1;
        }
    }
    Ok(checked)
}
