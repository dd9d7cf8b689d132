//! Durability: `fdatasync` of the data, `fsync` of the directory after a file was made or renamed.
//!
//! In: the files written since the last time. Out: bytes that survive a power cut, or an error that stays: after a
//! failed sync the kernel may have thrown the data away and answer the next one with success.
//! Not here: the calls themselves (`sync_job.rs`), and when they are due (the caller's affair).

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};

use super::LogFile;
use super::sync_job::{SyncJob, SyncOutcome, Work};
use crate::active::Active;
use crate::error::{WriteError, WriteErrorKind};
use crate::limits::UNSYNCED_FILES_MAX;

/// What must be synced.
#[derive(Debug, Default)]
pub(super) struct Durable {
    /// The active file has data that no job has taken.
    pub data: bool,
    /// So has the directory names.
    pub directory: bool,
    /// Batches written.
    pub commits: u64,
    /// A sync of the active file's data has failed.
    pub failed: bool,
    /// The same of a file that was closed: should its name lead to it again, it is no better.
    failed_file: Option<(u64, u64)>,
    /// Somebody has asked for durability, so that replaced files are remembered until the next time.
    wanted: bool,
    replaced: Vec<Arc<OwnedFd>>,
    /// Files were replaced, unsynced, before anybody wanted durability.
    untracked: bool,
    /// A job whose outcome has not come back.
    flight: Option<Flight>,
    jobs: u64,
    /// Commits up to this number went, as far as they were not durable, into a file whose sync has failed.
    lost: u64,
}

#[derive(Debug)]
struct Flight {
    job: SyncJob,
    /// Device and inode of the file that was the active one.
    file: Option<(u64, u64)>,
}

impl LogFile {
    /// Writes the batch and makes it durable, with the names of new and rotated files. Blocks: on the disk, for long.
    ///
    /// # Errors
    /// Not everything taken so far is durable. After a failed sync this stays so until the file has been replaced.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        self.commit()?;
        // What another thread was given to do is done when it has been, or here.
        if let Some(job) = self.durable.flight.as_ref().map(|flight| flight.job.clone()) {
            self.finish_sync(job.run())?;
        }
        if self.durable.failed {
            return Err(self.sync_failed_earlier());
        }
        match self.begin_sync() {
            Some(job) => self.finish_sync(job.run()).map(drop),
            None => Ok(()),
        }
    }

    /// Takes what is written and not yet durable, for another thread to sync. Does not write what is pending.
    ///
    /// None if there is nothing, if a job is under way (one at a time; what is written meanwhile is the next one's), or if a
    /// sync has failed ([`is_sync_failed`](Self::is_sync_failed)). Blocks: never.
    pub fn begin_sync(&mut self) -> Option<SyncJob> {
        let durable = &mut self.durable;
        durable.wanted = true;
        if durable.failed || durable.flight.is_some() {
            return None;
        }
        let active = self.active.as_ref().map(|active| &active.file);
        let everything = active.filter(|_| std::mem::take(&mut durable.untracked)).cloned();
        let mut files = std::mem::take(&mut durable.replaced);
        files.extend(active.filter(|_| std::mem::take(&mut durable.data)).cloned());
        let directory = std::mem::take(&mut durable.directory).then(|| self.location.directory_handle());
        if everything.is_none() && files.is_empty() && directory.is_none() {
            return None;
        }
        durable.jobs += 1;
        let job = SyncJob::new(Work {
            fs: Arc::clone(&self.fs),
            number: durable.jobs,
            commits: durable.commits,
            everything,
            files,
            directory,
            result: Mutex::new(None),
        });
        durable.flight = Some(Flight {
            job: job.clone(),
            file: self.active.as_ref().map(Active::identity),
        });
        Some(job)
    }

    /// Takes a job's outcome. Gives the number up to which commits are durable now, but for those that were
    /// [lost](Self::commits_lost) before.
    ///
    /// # Errors
    /// The sync failed. What was not durable before may be lost, and no later success speaks for it: whoever waits for it
    /// must be told. The file stays failed until it is replaced, if it is still the active one.
    pub fn finish_sync(&mut self, outcome: SyncOutcome) -> Result<u64, WriteError> {
        // `sync` may have been quicker.
        let flight = self
            .durable
            .flight
            .take_if(|flight| flight.job.number() == outcome.number);
        outcome.result.map(|()| outcome.commits()).map_err(|errno| {
            let error = self.error(errno, "sync");
            if let Some(flight) = flight {
                self.durable.lost = self.durable.lost.max(outcome.commits());
                if flight.file.is_some() && self.active.as_ref().map(Active::identity) == flight.file {
                    self.durable.failed = true;
                } else {
                    self.durable.failed_file = flight.file;
                }
                self.counts.last_error = Some(error.to_string());
            }
            error
        })
    }

    /// Batches written since the file was opened: what an answer about durability counts in.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.durable.commits
    }

    /// The number up to which commits that were not durable before never will be.
    #[must_use]
    pub fn commits_lost(&self) -> u64 {
        if self.durable.failed {
            self.durable.commits
        } else {
            self.durable.lost
        }
    }

    /// True if a sync of the active file has failed: nothing that is written to it can be called durable.
    #[must_use]
    pub fn is_sync_failed(&self) -> bool {
        self.durable.failed
    }

    /// Rotates a file away whose sync has failed, so that later lines go into one that can be made durable; what is pending
    /// goes there, too. True if the active file has not failed, or no longer; false if the class does not rotate: it stays
    /// failed then, until somebody replaces it. Blocks: on the disk.
    ///
    /// # Errors
    /// The rotation failed; the file stays as it is.
    pub fn replace_after_failed_sync(&mut self) -> Result<bool, WriteError> {
        if !self.durable.failed {
            return Ok(true);
        }
        self.rotate_now()
    }

    /// Keeps a file that is being replaced, if it has data that the next sync must make durable.
    pub(super) fn remember_unsynced(&mut self, active: Active) {
        let durable = &mut self.durable;
        let failed = std::mem::take(&mut durable.failed);
        if failed {
            durable.lost = durable.commits;
            durable.failed_file = Some(active.identity());
        }
        let has_data = std::mem::take(&mut durable.data) && !failed;
        if !has_data || !durable.wanted {
            durable.untracked |= has_data;
            if durable.flight.is_some() {
                // The job may hold it open for long, but not its lock.
                drop(active.released(self.fs.as_ref()));
            }
            return;
        }
        if durable.replaced.len() >= UNSYNCED_FILES_MAX {
            let oldest = durable.replaced.remove(0);
            durable.failed |= self.fs.sync_data(oldest.as_fd()).is_err();
        }
        durable.replaced.push(active.released(self.fs.as_ref()));
    }

    /// A file was opened: is it one that has failed before?
    pub(super) fn recognise_failed(&mut self) {
        let failed = self.durable.failed_file.take();
        let found = self.active.as_ref().filter(|active| !active.created);
        self.durable.failed |= failed.is_some() && found.map(Active::identity) == failed;
    }

    fn sync_failed_earlier(&self) -> WriteError {
        WriteError {
            kind: WriteErrorKind::SyncFailed,
            doing: "sync",
            path: self.path.to_string(),
            errno: None,
            reason: "an earlier sync failed, and its data may be lost".to_owned(),
        }
    }
}
