//! Compressing rotated files: which is next, and how the compressed file takes the place of the original.
//!
//! In: the chain. Out: jobs for another thread, and their results under the names that logrotate would give them. Every name is
//! made and removed here, by the file's writer, so that a shift of the chain and a compression never meet: the original is
//! found again by its inode, whatever its number is by then.
//!
//! A death at any call leaves the original or the compressed file. The result is written under a temporary name, made
//! durable, and *linked* to its own; then the original goes, and the temporary name last. As long as that is there and leads to the
//! same file as the new name, whoever opens the file next knows that the original with this name is to go (`tidy`).
//! Not here: the compressing (`compress_job.rs`), and on which thread that is done.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use super::LogFile;
use super::compress_job::{CompressJob, CompressOutcome, Compressing, Work};
use super::rotated::Rotated;
use crate::form::{Compression, Form};
use crate::fs::{Stat, joined};
use crate::limits::{COMPRESS_RETRY_S, COMPRESSIONS_FAILED_MAX};

/// What is being compressed.
#[derive(Debug, Default)]
pub(super) struct Compressor {
    /// There may be something to do.
    wanted: bool,
    jobs: u64,
    current: Option<Current>,
    /// Files that could not be compressed, by device and inode; tried again at [`retry_at_s`](Self::retry_at_s).
    failed: Vec<(u64, u64)>,
    retry_at_s: f64,
}

#[derive(Debug)]
struct Current {
    /// The job that is out; 0: none.
    job: u64,
    /// Locked as long as this lives: nobody else takes it for one to be written.
    source: Arc<OwnedFd>,
    source_stat: Stat,
    target: Arc<OwnedFd>,
    compression: Compression,
    cancelled: Arc<AtomicBool>,
    published: Option<Published>,
}

/// Both the original and the compressed file have their names.
#[derive(Debug)]
struct Published {
    original: OsString,
    compressed: OsString,
    /// False where the file system knows no links: the temporary name is gone already.
    linked: bool,
}

impl LogFile {
    /// When [`begin_compression`](Self::begin_compression) is worth a call, in seconds since 1970; in the past: now.
    #[must_use]
    pub fn compression_due_s(&self) -> Option<f64> {
        let compressor = &self.compressor;
        let is_waiting = compressor
            .current
            .as_ref()
            .is_some_and(|current| current.job != 0);
        if self.settings.compress.is_none() || is_waiting {
            None
        } else if compressor.wanted {
            Some(f64::NEG_INFINITY)
        } else {
            (!compressor.failed.is_empty()).then_some(compressor.retry_at_s)
        }
    }

    /// Takes the oldest rotated file that is to be compressed, or the next step of the one that is being so, for another thread
    /// to do. None if there is nothing, or a job is under way. Blocks: for a few system calls.
    pub fn begin_compression(&mut self) -> Option<CompressJob> {
        let compression = self.settings.compress?;
        if self.compression_due_s()? > self.clock.now_s() {
            return None;
        }
        if self.compressor.current.is_none() {
            if !std::mem::take(&mut self.compressor.wanted) {
                self.compressor.failed.clear();
            }
            self.compressor.current = self.next_current(compression);
        }
        let device = self.location.key().device;
        let directory = self.location.directory_handle();
        let current = self.compressor.current.as_mut()?;
        self.compressor.jobs += 1;
        current.job = self.compressor.jobs;
        let work = match current.published {
            Some(_) => Work::SyncDirectory(directory),
            None => Work::Compress(Compressing {
                source: Arc::clone(&current.source),
                source_stat: current.source_stat,
                target: Arc::clone(&current.target),
                compression,
                cancelled: Arc::clone(&current.cancelled),
            }),
        };
        Some(CompressJob {
            number: current.job,
            device,
            fs: Arc::clone(&self.fs),
            work,
        })
    }

    /// Takes a job's outcome: gives the compressed file its name, or removes the original. Blocks: for a few system calls.
    pub fn finish_compression(&mut self, outcome: CompressOutcome) {
        let Some(current) = self
            .compressor
            .current
            .as_mut()
            .filter(|current| current.job == outcome.number)
        else {
            // Given up meanwhile.
            return;
        };
        current.job = 0;
        self.compressor.wanted = true;
        let is_published = current.published.is_some();
        let result = outcome.result.map_err(|error| error.to_string());
        let result = match (result, is_published) {
            (Ok(()), true) => self.retire_original(),
            (Ok(()), false) => self.publish(),
            (Err(error), _) => Err(error),
        };
        if let Err(error) = result {
            self.fail_compression(&error);
        }
    }

    /// Gives up what is being compressed, or completes it where it is nearly done. The job's outcome is of no interest then.
    /// Blocks: on the disk.
    pub fn drop_compression(&mut self) {
        self.complete_publication();
        if self.compressor.current.is_some() {
            self.discard_compression();
            self.compressor.wanted = true;
        }
    }

    /// There may be new rotated files, or other settings.
    pub(super) fn want_compression(&mut self) {
        self.compressor.wanted = true;
    }

    /// True while a file and its compressed form both have their names.
    pub(super) fn is_publishing(&self) -> bool {
        self.compressor
            .current
            .as_ref()
            .is_some_and(|current| current.published.is_some())
    }

    /// Removes the original of a published file now, without waiting for the other thread: names are about to change.
    pub(super) fn complete_publication(&mut self) {
        if !self.is_publishing() {
            return;
        }
        let synced = self.fs.sync_directory(self.location.directory());
        let result = synced.map_err(|errno| errno.to_string());
        if let Err(error) = result.and_then(|()| self.retire_original()) {
            self.fail_compression(&error);
        }
    }

    /// Opens the oldest file that is not compressed and not known to fail, and makes the temporary file.
    fn next_current(&mut self, compression: Compression) -> Option<Current> {
        let files = self.rotated().unwrap_or_default();
        let mut found = None;
        let mut failures = Vec::new();
        for file in files.iter().filter(|file| self.awaits_compression(file, &files)) {
            match self.prepare(file, compression) {
                Ok(current) => {
                    found = Some(current);
                    break;
                }
                Err(errno) => failures.push((file.stat, errno)),
            }
        }
        let has_failed = !failures.is_empty();
        for (stat, errno) in failures {
            self.note_failure(&stat, &errno.to_string());
        }
        if has_failed {
            self.retain();
        }
        found
    }

    /// Whether a file of the chain `files` is to be compressed: plain, not known to fail, and alone in its place.
    pub(super) fn awaits_compression(&self, file: &Rotated, files: &[Rotated]) -> bool {
        let identity = (file.stat.device, file.stat.inode);
        let is_twin = |other: &Rotated| other.position == file.position && other.form != file.form;
        self.settings.compress.is_some()
            && file.form == Form::Plain
            && !self.compressor.failed.contains(&identity)
            && !files.iter().any(is_twin)
    }

    /// Whether this is the file that is being compressed, whose lock we hold.
    pub(super) fn is_being_compressed(&self, stat: &Stat) -> bool {
        let current = self.compressor.current.as_ref();
        current.is_some_and(|current| current.source_stat.same_file(stat))
    }

    fn prepare(&self, file: &Rotated, compression: Compression) -> Result<Current, Errno> {
        let directory = self.location.directory();
        let source = self.fs.open_to_read(directory, &file.name)?;
        let stat = self.fs.stat(source.as_fd())?;
        if !stat.same_file(&file.stat) || !self.is_rotated(&stat) {
            return Err(Errno::AGAIN);
        }
        // Somebody writes to it. Where the file system knows no locks, nobody can be asked.
        if self.fs.lock(source.as_fd()) == Err(Errno::WOULDBLOCK) {
            return Err(Errno::WOULDBLOCK);
        }
        let target = match self.fs.create(directory, &self.temporary()) {
            Err(Errno::EXIST) => {
                self.tidy();
                self.fs.create(directory, &self.temporary())?
            }
            result => result?,
        };
        Ok(Current {
            job: 0,
            source: Arc::new(source),
            source_stat: stat,
            target: Arc::new(target),
            compression,
            cancelled: Arc::default(),
            published: None,
        })
    }

    /// Gives the compressed file its name beside the original, which is found wherever it has been moved to.
    fn publish(&mut self) -> Result<(), String> {
        let Some(current) = &self.compressor.current else {
            return Ok(());
        };
        let directory = self.location.directory();
        let text = |errno: Errno| errno.to_string();
        let now = self.fs.stat(current.source.as_fd()).map_err(text)?;
        if (now.size, now.modified_s) != (current.source_stat.size, current.source_stat.modified_s) {
            return Err("somebody has written to it meanwhile".to_owned());
        }
        let files = self.rotated().map_err(text)?;
        let is_source =
            |file: &&Rotated| file.form == Form::Plain && file.stat.same_file(&current.source_stat);
        let Some(original) = files.iter().find(is_source) else {
            // Deleted meanwhile: nothing is left to be done.
            self.discard_compression();
            return Ok(());
        };
        let temporary = self.temporary();
        let made = self.fs.stat(current.target.as_fd()).map_err(text)?;
        let named = self.fs.stat_at(directory, &temporary, false).map_err(text)?;
        if !made.same_file(&named) {
            return Err("somebody has replaced the temporary file".to_owned());
        }
        let suffix = Form::from(current.compression).suffix();
        let compressed = joined(&original.name, suffix.as_bytes());
        let linked = match self.fs.link(directory, &temporary, &compressed) {
            Ok(()) => true,
            // No links here (FAT, some network file systems).
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.fs.rename(directory, &temporary, &compressed).map_err(text)?;
                false
            }
            Err(errno) => return Err(text(errno)),
        };
        let published = Published {
            original: original.name.clone(),
            compressed,
            linked,
        };
        if let Some(current) = &mut self.compressor.current {
            current.published = Some(published);
        }
        Ok(())
    }

    /// Removes the original, and then the temporary name.
    fn retire_original(&mut self) -> Result<(), String> {
        let directory = self.location.directory();
        if let Some(current) = &self.compressor.current
            && let Some(published) = &current.published
        {
            match self.fs.stat_at(directory, &published.original, false) {
                Ok(stat) if stat.same_file(&current.source_stat) => self
                    .fs
                    .unlink(directory, &published.original)
                    .map_err(|errno| errno.to_string())?,
                // Somebody else has taken it away.
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.to_string()),
            }
            if published.linked {
                // Left over, it is removed at the next opening.
                let _ = self.fs.unlink(directory, &self.temporary());
            }
            self.counts.compressed += 1;
        }
        if let Some(current) = self.compressor.current.take() {
            self.unlock_source(&current);
        }
        self.durable.directory = true;
        self.retain();
        Ok(())
    }

    fn fail_compression(&mut self, error: &str) {
        let stat = self
            .compressor
            .current
            .as_ref()
            .map(|current| current.source_stat);
        self.discard_compression();
        if let Some(stat) = stat {
            self.note_failure(&stat, error);
            // From here on it counts as large as it is.
            self.retain();
        }
    }

    fn note_failure(&mut self, stat: &Stat, error: &str) {
        self.counts.compressions_failed += 1;
        self.counts.last_error = Some(format!(
            "cannot compress a rotated file of {}: {error}",
            self.path
        ));
        if self.compressor.failed.len() >= COMPRESSIONS_FAILED_MAX {
            self.compressor.failed.remove(0);
        }
        self.compressor.failed.push((stat.device, stat.inode));
        self.compressor.retry_at_s = self.clock.now_s() + COMPRESS_RETRY_S;
    }

    /// Takes back what has been done of a compression; the original stays.
    fn discard_compression(&mut self) {
        let Some(current) = self.compressor.current.take() else {
            return;
        };
        // Relaxed: see where it is read.
        current.cancelled.store(true, Ordering::Relaxed);
        self.unlock_source(&current);
        let directory = self.location.directory();
        if let Some(published) = current.published {
            // First the name that counts, so that a death in between leaves the original. Where it stays, so does the mark
            // that the original is to go.
            match self.fs.unlink(directory, &published.compressed) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(_) => return,
            }
        }
        self.remove_temporary();
    }

    /// The thread that compresses may hold the file a moment longer, and with it the lock: the next shift of the chain would
    /// take it for somebody else's.
    fn unlock_source(&self, current: &Current) {
        let _ = self.fs.unlock(current.source.as_fd());
    }

    /// Hidden, so that whoever reads `app.log*` does not find it.
    fn temporary(&self) -> OsString {
        let mut name = OsString::from(".");
        name.push(self.location.name());
        name.push(".logserv-tmp");
        name
    }

    fn remove_temporary(&self) {
        let directory = self.location.directory();
        let name = self.temporary();
        match self.fs.stat_at(directory, &name, false) {
            Ok(stat) if self.is_rotated(&stat) => {
                let _ = self.fs.unlink(directory, &name);
            }
            _ => {}
        }
    }

    /// Clears away what a compression has left whose server died. The file's lock must be held.
    pub(super) fn tidy(&self) {
        let directory = self.location.directory();
        let Ok(stat) = self.fs.stat_at(directory, &self.temporary(), false) else {
            return;
        };
        if !self.is_rotated(&stat) {
            return;
        }
        if stat.links > 1 && self.remove_original_of(&stat).is_err() {
            // Without it nobody would know any more.
            return;
        }
        self.remove_temporary();
    }

    /// The temporary file has a second name: it was complete, and its original is to go.
    fn remove_original_of(&self, compressed: &Stat) -> Result<(), Errno> {
        let directory = self.location.directory();
        let prefix = joined(self.location.name(), b".");
        for suffix in self.fs.names_after(directory, prefix.as_encoded_bytes())? {
            let (plain, form) = Form::split(&suffix);
            let stat = match self.fs.stat_at(directory, &joined(&prefix, &suffix), false) {
                Err(Errno::NOENT) => continue,
                result => result?,
            };
            if form == Form::Plain || !stat.same_file(compressed) {
                continue;
            }
            let original = joined(&prefix, plain);
            match self.fs.stat_at(directory, &original, false) {
                // The compressed file has the original's time: any other of that name is not its original.
                Ok(stat) if self.is_rotated(&stat) && stat.modified_s == compressed.modified_s => {
                    self.fs.unlink(directory, &original)?;
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}
