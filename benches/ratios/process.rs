//! Servers in processes of their own: this program again, in another role.

use crate::measure::Outcome;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::{env, fs};

/// The variable that names the role of a started process.
pub const ROLE: &str = "WALKPAY_BENCH_ROLE";

/// A started process. Closing its standard input ends it.
pub struct Process {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Process {
    /// Starts this program as `role` with some variables.
    pub fn start(role: &str, variables: &[(&str, String)]) -> Outcome<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.env(ROLE, role).envs(variables.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Self { child, lines })
    }

    /// What follows `word` in the next line.
    pub fn said(&mut self, word: &str) -> Outcome<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        let said = line.trim_end().strip_prefix(word).map(str::trim_start);
        Ok(said.ok_or_else(|| format!("expected `{word} …`, got {line:?}"))?.to_owned())
    }

    /// The most memory in bytes that it ever had, where the system tells (`VmHWM` of proc(5)).
    pub fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * 1024)
    }

    /// Ends it and waits for that.
    pub fn end(mut self) -> Outcome<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("a process ended with {status}").into()) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After an error; an ended process is not there to be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the process that started this one closes the standard input.
pub fn wait_for_the_end() -> Outcome<()> {
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The exit code of a role.
pub fn ended(result: Outcome<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}
