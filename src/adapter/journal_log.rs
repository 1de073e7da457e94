//! The write-ahead log beside the journal, kept as a file that is written again and again.
//!
//! A commit that makes a file longer waits until the file system has its new size on disk as well: twice as long as one that overwrites.
//! So the log is filled with zeros ahead of what is written to it, up to the size at which SQLite moves it into the journal's file, and
//! stays when the journal is closed. What SQLite makes of such a file is defined by its format
//! (<https://sqlite.org/fileformat2.html>, section 4.1): a log whose header is not one holds nothing, and frames end where their salts or
//! checksums do.

use crate::adapter::sqlite::Durability;
use std::fs::{File, OpenOptions};
use std::io::{Read, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What is filled when the journal is opened.
const AT_FIRST: u64 = 1 << 17;
/// What is filled whenever the log has become longer than that.
const STEP: u64 = 1 << 20;
/// Nothing is filled beyond: SQLite moves a log of 1,000 pages of 4 KiB into the journal's file and begins again.
const AT_MOST: u64 = 1 << 22;
/// After so many commits it is looked whether the log has become longer.
const LOOK: u32 = 16;
/// How many pages may be left in it when the journal is closed: reading them again takes less than moving them would.
const FEW_PAGES: u64 = 24;

const HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

/// The log of a journal. It must be dropped after the connection.
pub(super) struct Log {
    path: PathBuf,
    durability: Durability,
    /// Up to where it was filled, or was found.
    filled: u64,
    commits: u32,
    /// Whether everything in it is in the journal's file, durably.
    pub(super) is_spent: bool,
}

impl Log {
    /// That of the journal in `journal`.
    pub(super) fn of(journal: &Path, durability: Durability) -> Self {
        let mut path = journal.as_os_str().to_owned();
        path.push("-wal");
        let mut log = Self { path: path.into(), durability, filled: 0, commits: 0, is_spent: false };
        log.fill(AT_FIRST);
        log
    }

    /// To be called after each commit.
    pub(super) fn committed(&mut self) {
        self.commits = self.commits.wrapping_add(1);
        if self.commits.is_multiple_of(LOOK) {
            let length = self.path.metadata().map_or(0, |m| m.len());
            if length > self.filled {
                self.fill((length + STEP).min(AT_MOST));
            }
        }
    }

    /// Fills it up. Nothing depends on it: where there is no room for that, commits say so or are slower.
    fn fill(&mut self, size: u64) {
        self.filled = self.try_to_fill(size).unwrap_or(u64::MAX);
    }

    fn try_to_fill(&self, size: u64) -> Result<u64> {
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        let length = file.metadata()?.len();
        if length < size {
            file.write_all(&vec![0; usize::try_from(size - length).unwrap_or(0)])?;
            if self.durability == Durability::Full {
                file.sync_all()?;
            }
        }
        Ok(length.max(size))
    }

    /// Whether more is in it than what the next start should read.
    pub(super) fn is_long(&self) -> bool {
        self.has_more_than(FEW_PAGES).unwrap_or(true)
    }

    /// Whether the page after the first `pages` is of the present generation: it has the salts of the header.
    fn has_more_than(&self, pages: u64) -> Result<bool> {
        let mut file = File::open(&self.path)?;
        let (mut page_size, mut salts, mut of_frame) = ([0; 4], [0; 8], [0; 8]);
        file.seek(SeekFrom::Start(8))?;
        file.read_exact(&mut page_size)?;
        file.seek(SeekFrom::Start(16))?;
        file.read_exact(&mut salts)?;
        let page_size = u64::from(u32::from_be_bytes(page_size));
        let frame = FRAME_HEADER + page_size;
        if page_size == 0 || file.metadata()?.len() < HEADER + (pages + 1) * frame {
            return Ok(false);
        }
        file.seek(SeekFrom::Start(HEADER + pages * frame + 8))?;
        file.read_exact(&mut of_frame)?;
        Ok(salts == of_frame)
    }

    /// Makes it one that holds nothing.
    fn empty(&self) -> Result<()> {
        OpenOptions::new().write(true).open(&self.path)?.write_all(&[0; HEADER as usize])
    }
}

/// A log that is spent need not be read at the next start; if this fails, reading it changes nothing.
impl Drop for Log {
    fn drop(&mut self) {
        if self.is_spent {
            let _ = self.empty();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::journal::{JOURNAL_FILE, Journal, StoredKey};
    use crate::adapter::keys::Sealed;
    use crate::id::{DeviceId, KeyId};
    use std::fs;

    fn open(folder: &Path) -> Journal {
        Journal::open(folder, Durability::Full).unwrap()
    }

    fn log_of(folder: &Path) -> PathBuf {
        folder.join(format!("{JOURNAL_FILE}-wal"))
    }

    fn append(journal: &mut Journal, numbers: std::ops::Range<u32>) {
        numbers.for_each(|n| journal.append(&[n]).unwrap());
    }

    fn events(journal: &Journal) -> Vec<u32> {
        let mut all = Vec::new();
        journal
            .load(|json| {
                all.push(serde_json::from_slice(json).unwrap());
                Ok(())
            })
            .unwrap();
        all
    }

    /// What is there after a power failure or a kill at this moment.
    fn copied(folder: &Path) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for file in fs::read_dir(folder).unwrap().map(|f| f.unwrap()) {
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        copy
    }

    #[test]
    fn few_commits_make_the_log_longer() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path());
        let length = || fs::metadata(log_of(dir.path())).unwrap().len();
        assert_eq!(length(), AT_FIRST);
        let mut longer = 0;
        for n in 0..3_000 {
            let before = length();
            append(&mut journal, n..n + 1);
            longer += u32::from(length() > before);
        }
        assert!(longer <= 5 * LOOK, "{longer} of 3000");
        assert!(length() <= AT_MOST);
        let before = length();
        drop(journal);
        assert_eq!(length(), before, "it stays");
        assert_eq!(events(&open(dir.path())), Vec::from_iter(0..3_000));
    }

    #[test]
    fn a_short_log_stays_and_a_long_one_is_moved() {
        let dir = tempfile::tempdir().unwrap();
        let alone = |dir: &Path| {
            let copy = copied(dir);
            fs::remove_file(log_of(copy.path())).unwrap();
            events(&open(copy.path()))
        };
        let mut journal = open(dir.path());
        append(&mut journal, 0..100);
        drop(journal);
        assert_eq!(alone(dir.path()), Vec::from_iter(0..100), "in the file itself");
        assert_eq!(fs::read(log_of(dir.path())).unwrap()[..32], [0; 32]);
        let mut journal = open(dir.path());
        append(&mut journal, 100..103);
        drop(journal);
        assert_eq!(alone(dir.path()), Vec::from_iter(0..100), "three are in the log");
        let mut journal = open(dir.path());
        assert_eq!(events(&journal), Vec::from_iter(0..103));
        append(&mut journal, 103..104);
        assert_eq!(events(&open(copied(dir.path()).path())), Vec::from_iter(0..104), "as after a kill");
    }

    #[test]
    fn the_log_of_a_kill_is_read_whatever_lies_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path());
        for n in 0..600 {
            append(&mut journal, n..n + 1);
            if n % 37 == 0 {
                assert_eq!(events(&open(copied(dir.path()).path())), Vec::from_iter(0..=n));
            }
        }
    }

    #[test]
    fn nothing_of_a_deleted_key_stays_in_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path());
        let device = DeviceId::new(crate::Timestamp::from_millis(1_700_000_000_000), [1; 10]);
        let kid = KeyId::parse("a").unwrap();
        let sealed = Sealed::from_bytes(b"sealed-secret".to_vec());
        let key = StoredKey { device, kid: kid.clone(), purpose: "consent".into(), sealed };
        journal.append_with_keys(&[0], &[key]).unwrap();
        journal.delete_key(&device, &kid).unwrap();
        drop(journal);
        for file in fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().path()) {
            let bytes = fs::read(&file).unwrap();
            assert!(!bytes.windows(13).any(|w| w == b"sealed-secret"), "{}", file.display());
        }
        assert_eq!(events(&open(dir.path())), [0]);
    }
}
