//! What can go wrong with the store.

use std::path::PathBuf;

/// A fault of the store or of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file is not a merchant's database.
    #[error("{0} is not a merchant's database: choose another folder")]
    Foreign(PathBuf),
    /// The file is a merchant's database that cannot be read.
    #[error("{0} is damaged: restore it from a copy")]
    Damaged(PathBuf),
    /// The file or its folder cannot be written.
    #[error(
        "{0} cannot be written: check that folder and files belong to the user that runs this, and are not read-only"
    )]
    NotWritable(PathBuf),
    /// The file was written by a newer version.
    #[error("{path} has schema version {found}, this program knows {known}: use a newer version")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest known one.
        known: i64,
    },
    /// A simulation's database without `--sim`, or the other way round.
    #[error("{0}")]
    WrongMode(&'static str),
    /// The database belongs to another merchant than the keys.
    #[error("the database is of merchant {found}, the keys are of {expected}")]
    OtherMerchant {
        /// Of the keys.
        expected: String,
        /// Of the database.
        found: String,
    },
    /// The file system failed.
    #[error("{path}: {cause}")]
    Files {
        /// Where.
        path: PathBuf,
        /// What happened.
        cause: std::io::Error,
    },
    /// The writer's queue is full or it has stopped.
    #[error("the writer cannot take more at the moment")]
    Busy,
    /// The batch that this request was in could not be committed.
    #[error("the commit failed: nothing of it was kept")]
    NotCommitted,
    /// There was no room for the batch that this request was in.
    #[error("the disk is full: nothing of the commit was kept")]
    NoRoom,
    /// A defect of this program: something that it wrote itself cannot be read, or a panic.
    #[error("defect: {0}")]
    Defect(String),
}

impl StoreError {
    /// Whether there is no room for what is to be written.
    pub fn is_full(&self) -> bool {
        match self {
            Self::NoRoom => true,
            Self::Sqlite(e) => e.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            _ => false,
        }
    }

    /// Whether the same request can succeed later without a change.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Busy | Self::NotCommitted | Self::NoRoom => true,
            Self::Sqlite(rusqlite::Error::SqliteFailure(e, _)) => matches!(
                e.code,
                rusqlite::ErrorCode::DatabaseBusy
                    | rusqlite::ErrorCode::DatabaseLocked
                    | rusqlite::ErrorCode::DiskFull
                    | rusqlite::ErrorCode::SystemIoFailure
                    | rusqlite::ErrorCode::CannotOpen
                    | rusqlite::ErrorCode::ReadOnly
                    | rusqlite::ErrorCode::OutOfMemory
            ),
            _ => false,
        }
    }
}
