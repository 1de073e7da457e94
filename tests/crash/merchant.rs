//! The merchant as a process: `mock-merchant serve --sim --demo`.

use crate::process::Process;
use std::path::{Path, PathBuf};

/// A merchant with a folder and a port that stay the same over its lives.
pub struct Merchant {
    data: PathBuf,
    log: PathBuf,
    port: u16,
    process: Option<Process>,
    /// What a device enrols with: the newest code.
    pub code: String,
    /// Who shops.
    pub user: String,
}

impl Merchant {
    /// Starts a merchant in a new folder below `folder`; `before` is put in front of the program.
    pub fn start(folder: &Path, before: &[String]) -> Result<Self, String> {
        let data = folder.join("merchant");
        let log = folder.join("merchant.log");
        let mut merchant = Self { data, log, port: 0, process: None, code: String::new(), user: String::new() };
        merchant.revive(before)?;
        Ok(merchant)
    }

    /// Starts it again after a kill.
    pub fn revive(&mut self, before: &[String]) -> Result<(), String> {
        let listen = format!("127.0.0.1:{}", self.port);
        let data = self.data.display().to_string();
        let args = ["serve", "--sim", "--demo", "--no-qr", "--listen", &listen, "--data", &data].map(str::to_owned);
        let mut process = Process::start("merchant", before, &args, &self.log)?;
        let url = process.wait_for("listening on ")?;
        let port = url.rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok());
        self.port = port.ok_or_else(|| format!("no port in {url:?}"))?;
        self.user = process.wait_for("user: ")?;
        self.code = process.wait_for("enrolment code: ")?;
        self.process = Some(process);
        Ok(())
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A command of the operator on the folder of the running merchant: the last line that it prints.
    pub fn command(&self, words: &[&str]) -> Result<String, String> {
        let data = self.data.display().to_string();
        let args: Vec<String> = words.iter().chain(&["--sim", "--data", &data]).map(|w| (*w).to_owned()).collect();
        let said = Process::start("merchant", &[], &args, &self.log)?.finish()?;
        Ok(said.last().cloned().unwrap_or_default())
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<(), String> {
        self.process.take().ok_or("the merchant does not run")?.kill().map(drop)
    }

    /// SIGTERM.
    pub fn terminate(&mut self) -> Result<(), String> {
        self.process.take().ok_or("the merchant does not run")?.terminate().map(drop)
    }

    /// The files of the merchant and of the bank.
    pub fn files(&self) -> (PathBuf, PathBuf) {
        (self.data.join("merchant.db"), self.data.join("bank.db"))
    }
}
