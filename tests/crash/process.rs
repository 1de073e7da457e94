//! Processes that this test binary starts from itself, and what they say.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// What tells a process what it is.
pub const ROLE: &str = "WALKPAY_CRASH_ROLE";
/// How long anything may take before the test gives up. The machine may be busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A running process: its name, its lines on standard output.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// All lines so far.
    pub said: Vec<String>,
    log: std::path::PathBuf,
}

impl Process {
    /// Starts this program again in the role `role`; `before` is put in front of it (a tracer, for example). What it writes
    /// to standard error is appended to `log`.
    pub fn start(role: &str, before: &[String], args: &[String], log: &Path) -> Result<Self, String> {
        let own = std::env::current_exe().map_err(|e| format!("this program's own path: {e}"))?;
        let mut words: Vec<String> = before.to_vec();
        words.push(own.display().to_string());
        words.extend_from_slice(args);
        let (program, args) = words.split_first().ok_or("no program")?;
        let errors =
            File::options().create(true).append(true).open(log).map_err(|e| format!("{}: {e}", log.display()))?;
        let mut child = Command::new(program)
            .args(args)
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(|e| format!("{program} for {role}: {e}"))?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let (tell, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Ok(Self { name: role.to_owned(), child, stdin, lines, said: Vec::new(), log: log.to_owned() })
    }

    /// The rest of the first line, from now on, that begins with `start`.
    pub fn wait_for(&mut self, start: &str) -> Result<String, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if let Some(rest) = line.strip_prefix(start) {
                        return Ok(rest.trim().to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.explain(&format!("never said {start:?}"))),
                Err(RecvTimeoutError::Disconnected) => return Err(self.explain(&format!("ended before {start:?}"))),
            }
        }
    }

    /// Takes in lines for `time`, or until there were `count` of them after the line `from`; an error if the process ended by
    /// itself.
    pub fn watch(&mut self, from: &str, count: usize, time: Duration) -> Result<(), String> {
        let deadline = Instant::now() + time;
        let mut counted = 0;
        let mut counting = self.said.iter().any(|line| line == from);
        while counted < count {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    counted += usize::from(counting);
                    counting |= line == from;
                    self.said.push(line);
                }
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(self.explain("ended by itself")),
            }
        }
        Ok(())
    }

    /// Says something on its standard input.
    pub fn tell(&mut self, line: &str) -> Result<(), String> {
        let stdin = self.stdin.as_mut().ok_or("standard input is closed")?;
        writeln!(stdin, "{line}")
            .and_then(|()| stdin.flush())
            .map_err(|e| self.explain(&format!("cannot be told: {e}")))
    }

    /// SIGKILL. Whatever it had said before is kept.
    pub fn kill(mut self) -> Result<Vec<String>, String> {
        self.child.kill().map_err(|e| self.explain(&format!("cannot be killed: {e}")))?;
        self.ended()?;
        Ok(std::mem::take(&mut self.said))
    }

    /// SIGTERM, and the end that follows must be a clean one.
    pub fn terminate(self) -> Result<Vec<String>, String> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().map_err(|e| format!("kill: {e}"))?;
        if !sent.success() {
            return Err(self.explain("cannot be sent SIGTERM"));
        }
        self.finish()
    }

    /// Waits for its own clean end.
    pub fn finish(mut self) -> Result<Vec<String>, String> {
        drop(self.stdin.take());
        let status = self.ended()?;
        if !status.success() {
            return Err(self.explain(&format!("ended with {status}")));
        }
        Ok(std::mem::take(&mut self.said))
    }

    fn ended(&mut self) -> Result<std::process::ExitStatus, String> {
        let deadline = Instant::now() + PATIENCE;
        // Standard output ends with the process.
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(self.explain("does not end")),
            }
        }
        self.child.wait().map_err(|e| self.explain(&format!("cannot be waited for: {e}")))
    }

    fn explain(&self, what: &str) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(15).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        format!(
            "the {} {what}\nit said: {:#?}\nits log ends:\n{}",
            self.name,
            self.said.iter().rev().take(10).collect::<Vec<_>>(),
            tail.join("\n")
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A process that has ended already has nothing against it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
