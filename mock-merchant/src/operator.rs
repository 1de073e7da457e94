//! What the command line does: commands of the operator on a connection of its own.
//!
//! It works beside a running server: SQLite lets one writer in after the other, each waits for its turn up to ten seconds, and
//! the server notices changes by others within a fraction of a second.

use crate::clock::Clock;
use crate::domain::{self, AdminCommand, Answer, Caller, Command, Core, Query};
use crate::failure::{Failure, defect};
use crate::random;
use crate::store::{Tx, invariants};
use rusqlite::Connection;

/// The operator of a merchant, with one thread.
pub struct Operator<'a> {
    /// The connection that writes.
    pub connection: &'a Connection,
    /// Policy and keys.
    pub core: &'a Core,
    /// Merchant time.
    pub clock: &'a Clock,
}

impl Operator<'_> {
    /// Carries a command of the operator out, in a transaction of its own.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn run(&self, command: AdminCommand) -> Result<Answer, Failure> {
        self.execute(Command::Admin(command))
    }

    /// Carries a command out, in a transaction of its own.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn execute(&self, command: Command) -> Result<Answer, Failure> {
        let ctx = self.core.ctx(self.clock.now(), random::bytes().map_err(|e| defect("randomness", e))?);
        Tx::run(self.connection, |tx| domain::handle(tx, &ctx, &Caller::Operator, command))
    }

    /// Answers a question from a snapshot.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn ask(&self, query: Query) -> Result<Answer, Failure> {
        let ctx = self.core.ctx(self.clock.now(), random::bytes().map_err(|e| defect("randomness", e))?);
        Tx::read(self.connection, |tx| domain::read(tx, &ctx, &Caller::Operator, query))
    }

    /// The rules of money that do not hold; none in a sound book.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn violations(&self) -> Result<Vec<String>, Failure> {
        Tx::read(self.connection, |tx| Ok(invariants::always(tx)?))
    }
}
