//! Processes with an end: each is the leader of a group, and the whole group is killed when the value is dropped.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A process that does not outlive this value.
pub(super) struct Process {
    child: Child,
    #[cfg(unix)]
    group: Option<rustix::process::Pid>,
}

impl Process {
    /// Starts `program` in `folder`, in a group of its own, with nothing of this process but the search path.
    pub fn start<S: AsRef<OsStr>>(program: &str, folder: &Path, args: &[S], stdin: Stdio) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(args).current_dir(folder).stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null());
        command.env_clear().env("HOME", folder).env("LC_ALL", "C.UTF-8").kill_on_drop(true);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        #[cfg(unix)]
        command.process_group(0);
        let child = command.spawn().map_err(|e| io::Error::new(e.kind(), format!("{program}: {e}")))?;
        Ok(Self {
            #[cfg(unix)]
            group: child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?)),
            child,
        })
    }

    /// Runs `program` to its end with `input` on its standard input.
    ///
    /// # Errors
    /// If it cannot be started, takes longer than `limit`, or fails.
    pub async fn run<S: AsRef<OsStr>>(
        program: &str,
        folder: &Path,
        args: &[S],
        input: &[u8],
        limit: Duration,
    ) -> io::Result<()> {
        let mut process = Self::start(program, folder, args, Stdio::piped())?;
        let work = async {
            if let Some(mut stdin) = process.child.stdin.take() {
                stdin.write_all(input).await?;
                stdin.shutdown().await?;
            }
            process.child.wait().await
        };
        let status: ExitStatus = timeout(limit, work).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        match status.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("{program} ended with {status}"))),
        }
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let (Some(group), Ok(None)) = (self.group, self.child.try_wait()) {
            // An error means that nobody of the group is left.
            let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::KILL).is_err();
        }
    }
}
