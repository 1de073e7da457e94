//! Runs a program, streams what it prints and counts its tests.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context as _, Result, bail};

use crate::tally::{Counter, Runner, Tally};

/// How a program ended.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    pub success: bool,
    pub tally: Tally,
}

/// A command with no standard input, in `folder`.
pub fn command(program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// Runs `command`, printing its output as it comes, and counts the tests that `runner` reports.
/// A runner that reports no test at all has failed.
///
/// # Errors
/// When the program cannot be started.
pub fn stream(command: &mut Command, runner: Runner) -> Result<Outcome> {
    println!("$ {}", shown(command));
    if std::io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start {}", command.get_program().display()))?;
    let counter = Mutex::new(Counter::new(runner));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(|| stdout.map(|pipe| copy_lines(pipe, &mut std::io::stdout(), &counter)));
        scope.spawn(|| stderr.map(|pipe| copy_lines(pipe, &mut std::io::stderr(), &counter)));
    });
    let status = child.wait().with_context(|| format!("waiting for {}", shown(command)))?;
    let tally = counter.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).tally();
    let ran = runner == Runner::None || tally.passed + tally.failed > 0;
    if status.success() && !ran {
        println!("no test was run");
    }
    Ok(Outcome { success: status.success() && tally.failed == 0 && ran, tally })
}

/// Runs `command` in silence; its output appears only in the error.
///
/// # Errors
/// When the program cannot be started or fails.
pub fn quiet(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("could not start {}", command.get_program().display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({})\n{}{}", shown(command), output.status, text, errors.trim_end());
    }
    Ok(text)
}

/// Runs `command` with its output going where ours goes.
///
/// # Errors
/// When the program cannot be started or fails.
pub fn plain(command: &mut Command) -> Result<()> {
    println!("$ {}", shown(command));
    let status = command.status().with_context(|| format!("could not start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Whether a program of that name is on the path.
pub fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|folder| folder.join(program).is_file()))
}

fn copy_lines(pipe: impl Read, out: &mut impl Write, counter: &Mutex<Counter>) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        // A closed pipe on our side must not stop the child half-way.
        let _ = out.write_all(&line).and_then(|()| out.flush());
        if let Ok(mut counter) = counter.lock() {
            counter.line(&String::from_utf8_lossy(&line));
        }
        line.clear();
    }
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program()).to_string_lossy();
    let mut words = vec![program.into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}
