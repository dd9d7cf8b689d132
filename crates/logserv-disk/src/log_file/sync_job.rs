//! A sync that another thread does: what is written goes on while the disk is busy.
//!
//! In: the descriptors of everything that was written and not yet synced, taken by `durable.rs`. Out: an outcome for
//! [`LogFile::finish_sync`](crate::LogFile::finish_sync). A job is done once, whoever asks for it and however often.
//! Not here: what a failure means for the file (`durable.rs`).

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use crate::fs::Fs;

/// Everything that was written when the job was begun, to be made durable. Dropping it makes nothing durable.
#[derive(Debug, Clone)]
pub struct SyncJob {
    work: Arc<Work>,
}

/// What has become of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncOutcome {
    commits: u64,
    pub(super) number: u64,
    pub(super) result: Result<(), Errno>,
}

#[derive(Debug)]
pub(super) struct Work {
    pub fs: Arc<dyn Fs>,
    /// Tells a file's jobs apart.
    pub number: u64,
    pub commits: u64,
    /// A file on whose file system everything is to be synced: files were replaced of which we know nothing any more.
    pub everything: Option<Arc<OwnedFd>>,
    pub files: Vec<Arc<OwnedFd>>,
    pub directory: Option<Arc<OwnedFd>>,
    /// Locked for as long as the job is being done.
    pub result: Mutex<Option<Result<(), Errno>>>,
}

impl SyncJob {
    pub(super) fn new(work: Work) -> Self {
        Self { work: Arc::new(work) }
    }

    /// How far the writing was when the job was begun, in commits ([`LogFile::commits`](crate::LogFile::commits)).
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.work.commits
    }

    /// Syncs. Blocks: on the disk, for long; on no lock but another run of the same job.
    ///
    /// The outcome is for [`LogFile::finish_sync`](crate::LogFile::finish_sync); before that nothing counts as durable.
    #[must_use = "what is not finished is not durable"]
    pub fn run(self) -> SyncOutcome {
        let mut result = self.work.result.lock().unwrap_or_else(PoisonError::into_inner);
        SyncOutcome {
            commits: self.work.commits,
            number: self.work.number,
            result: *result.get_or_insert_with(|| self.work.sync()),
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.work.number
    }
}

impl SyncOutcome {
    /// How far the writing was when the job was begun, in commits.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// True if all of it is durable.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.result.is_ok()
    }
}

impl Work {
    /// Tries everything, whatever fails: a later job will not try again.
    fn sync(&self) -> Result<(), Errno> {
        let everything = self
            .everything
            .iter()
            .map(|file| self.fs.sync_everything(file.as_fd()));
        let files = self.files.iter().map(|file| self.fs.sync_data(file.as_fd()));
        let directory = self
            .directory
            .iter()
            .map(|held| self.fs.sync_directory(held.as_fd()));
        everything.chain(files).chain(directory).fold(Ok(()), Result::and)
    }
}
