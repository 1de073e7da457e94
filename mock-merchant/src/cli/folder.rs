//! The data folder, as commands use it.

use super::{CliError, Common};
use crate::clock::Clock;
use crate::domain::{Config, Core};
use crate::folder::{Folder, Opening, ServerFile, clock};
use crate::operator::Operator;
use rusqlite::Connection;

/// An open folder, and the operator in it.
pub struct Open {
    /// The folder.
    pub folder: Folder,
    connection: Connection,
    core: Core,
    clock: Clock,
}

impl Open {
    /// Opens the folder, and sets a merchant up if it is new.
    pub fn new(common: &Common) -> Result<Self, CliError> {
        let clock = clock(&common.data, common.sim)?;
        let opening = Opening {
            data: common.data.clone(),
            sim: common.sim,
            merchant_id: common.merchant_id.clone(),
            merchant_name: common.merchant_name.clone(),
            serving: false,
        };
        let (folder, connection, core) = Folder::open(&opening, Config::default(), clock.now())?;
        Ok(Self { folder, connection, core, clock })
    }

    /// Opens a folder that has a merchant already.
    pub fn existing(common: &Common) -> Result<Self, CliError> {
        Folder::must_exist(&common.data)?;
        Self::new(common)
    }

    /// The operator.
    pub fn operator(&self) -> Operator<'_> {
        Operator { connection: &self.connection, core: &self.core, clock: &self.clock }
    }

    /// Where the running server of the folder is.
    pub fn server(&self) -> Result<ServerFile, CliError> {
        let none = || CliError::Other("no server is running in this folder: start one, or give --url".to_owned());
        self.folder.read("server.json")?.ok_or_else(none)
    }
}
