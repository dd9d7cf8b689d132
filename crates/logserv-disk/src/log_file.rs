//! One log file: lines are taken into a batch, the batch is written, the file is rotated when it is due.
//!
//! In: rendered lines with the time of their records. Out: bytes in the active file, in the order of the calls, each line
//! whole in one file. `commit.rs` writes, `rollover.rs` rotates, `durable.rs` syncs, `recover.rs` finishes what a dead writer
//! began.
//! Not here: who may write where (`roots.rs`, `active.rs`), and retrying: the caller decides when to call again.

mod commit;
mod compress;
mod compress_job;
mod dated;
mod durable;
mod numbered;
mod pending;
mod recover;
mod rollover;
mod rotated;
mod sync_job;

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::active::{Active, Tail, inspect};
use crate::chain::Step;
use crate::clock::Clock;
use crate::error::{OpenError, OpenErrorKind, WriteError};
use crate::form::Form;
use crate::fs::{Fs, Kernel};
use crate::journal::{Journal, Mark, NoJournal};
use crate::limits::{BATCH_BYTES_TARGET, DATE_NUMBER_MAX, NAME_BYTES_MAX};
use crate::location::{FileKey, Location};
use crate::permissions::Wanted;
use crate::settings::{FileSettings, OpenMode, Permissions, Rotation};
use compress::Compressor;
use durable::Durable;
use pending::Pending;

pub use compress_job::{CompressJob, CompressOutcome};
pub use sync_job::{SyncJob, SyncOutcome};

/// A log file with its batch. Dropping it tries once to write what is pending.
#[derive(Debug)]
pub struct LogFile {
    fs: Arc<dyn Fs>,
    clock: Clock,
    location: Location,
    path: Arc<str>,
    settings: FileSettings,
    /// What a file that is opened is to be like.
    wanted: Wanted,
    /// Whose the active file was when it was found.
    owner: Option<u32>,
    active: Option<Active>,
    pending: Pending,
    journal: Box<dyn Journal>,
    /// What must stand before the next line.
    tail: Tail,
    /// `mode="w"` with `delay`: empty the file when it is opened for the first time.
    empty_first: bool,
    /// Timed rotation: when the next is due, in seconds since 1970.
    rollover_at: i64,
    /// Steps of a shift that was interrupted by an error.
    shift: VecDeque<Step>,
    rotation_retry_at_s: f64,
    directory_checked_at_s: f64,
    durable: Durable,
    compressor: Compressor,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    lines_written: u64,
    rollovers: u64,
    rotations_failed: u64,
    deletions_failed: u64,
    reopened: u64,
    foreign_changes: u64,
    open_tails: u64,
    torn_lines: u64,
    recovered_batches: u64,
    completed_bytes: u64,
    compressed: u64,
    compressions_failed: u64,
    last_error: Option<String>,
}

/// What a file looks like at this moment, for `logserv status`.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The file's path beneath its canonical root.
    pub path: Arc<str>,
    /// Device and inode of the active file; none while it is not open.
    pub identity: Option<(u64, u64)>,
    /// Bytes in the active file, as far as known; none while it is not open.
    pub size_bytes: Option<u64>,
    /// False where the file system knows no locks.
    pub locked: bool,
    /// Bytes taken but not written.
    pub pending_bytes: usize,
    /// Lines taken but not written.
    pub pending_lines: u64,
    /// Lines written since the file was opened.
    pub lines_written: u64,
    /// When the next timed rotation is due, in seconds since 1970.
    pub next_rollover_s: Option<i64>,
    /// Rotations done.
    pub rollovers: u64,
    /// Rotations that failed; the active file grows until one succeeds.
    pub rotations_failed: u64,
    /// Rotated files that retention could not delete.
    pub deletions_failed: u64,
    /// Times the file was opened anew because its name led elsewhere, or on request.
    pub reopened: u64,
    /// Times somebody else changed the file's size.
    pub foreign_changes: u64,
    /// Times a line without an end was found and a new one begun.
    pub open_tails: u64,
    /// Lines of ours of which only a part could be written before somebody else's bytes; they were written again, whole.
    pub torn_lines: u64,
    /// Batches of a writer that had died that were found, and finished where they were not whole: 0 or 1.
    pub recovered_batches: u64,
    /// Bytes that were missing of it.
    pub completed_bytes: u64,
    /// Rotated files that were compressed.
    pub compressed: u64,
    /// Attempts to compress one that failed; it stays as it is, and is tried again.
    pub compressions_failed: u64,
    /// A sync of the active file has failed.
    pub sync_failed: bool,
    /// The last error, in words.
    pub last_error: Option<String>,
}

impl LogFile {
    /// Opens the file at `location`, or makes it; with `delay`, only looks whether it could.
    ///
    /// `OpenMode::Truncate` empties it: whoever reconnects, restarts or shares it must ask for `Append`.
    /// Blocks: on the disk.
    ///
    /// # Errors
    /// The file is not one that we write to, somebody else holds it, or the kernel refused. Nothing was created or changed.
    pub fn open(location: Location, settings: FileSettings) -> Result<Self, OpenError> {
        Self::open_with(
            location,
            settings,
            Arc::new(Kernel),
            Clock::system(),
            Box::new(NoJournal),
        )
    }

    /// [`open`](Self::open) with system calls, a clock and a journal of the caller's.
    ///
    /// What the journal has declared is finished first, if its writer died: each of its lines is in the chain then, once.
    ///
    /// # Errors
    /// As `open`; or the declared lines could not be written, and are the next opening's to finish.
    pub fn open_with(
        location: Location,
        settings: FileSettings,
        fs: Arc<dyn Fs>,
        clock: Clock,
        journal: Box<dyn Journal>,
    ) -> Result<Self, OpenError> {
        check_name_length(&location, &settings)?;
        let wanted = Wanted::resolve(&settings.permissions, location.restricted())?;
        let empty_first = settings.mode == OpenMode::Truncate;
        let mut file = Self {
            path: location.path().display().to_string().into(),
            fs,
            directory_checked_at_s: clock.now_s(),
            clock,
            location,
            settings,
            wanted,
            owner: None,
            active: None,
            pending: Pending::default(),
            journal,
            tail: Tail::Whole,
            empty_first,
            rollover_at: i64::MAX,
            shift: VecDeque::new(),
            rotation_retry_at_s: f64::NEG_INFINITY,
            durable: Durable::default(),
            compressor: Compressor::default(),
            counts: Counts::default(),
        };
        let modified_s = file.open_first()?;
        file.schedule(modified_s);
        file.wanted = file.wanted.leniently();
        file.retain();
        file.want_compression();
        Ok(file)
    }

    /// Takes a line, with its terminator, into the batch. `created_s` is the record's time, in seconds since 1970; `mark` is
    /// what it answers to, for the journal.
    ///
    /// Rotates first if the line is due in a new file; writes first if the batch is full. Blocks: then, on the disk.
    /// Drops: never. A rotation that fails is tried again later; the line goes into the file that there is.
    ///
    /// # Errors
    /// The line was not taken; what was taken before stays pending.
    pub fn append(&mut self, line: &str, created_s: f64, mark: Mark) -> Result<(), WriteError> {
        if self.active.is_none() && self.settings.rotation.goes_by_size() {
            // Whether the line is due in a new file depends on the size of the old.
            self.refresh()?;
        }
        let start = self.pending.bytes.len();
        self.settings
            .encoding
            .encode(line, self.settings.errors, &mut self.pending.bytes);
        let len = self.pending.bytes.len() - start;
        let full = start > 0 && self.pending.bytes.len() > BATCH_BYTES_TARGET;
        if full || self.is_due(start - self.pending.done, len, created_s).is_some() {
            let line = self.pending.bytes.split_off(start);
            self.make_room(line.len(), created_s)?;
            self.pending.bytes.extend_from_slice(&line);
        }
        self.pending.end_line(mark);
        Ok(())
    }

    /// Takes a record that gives no line. Its mark is reported with those of the lines before it, after the next commit.
    pub fn pass(&mut self, mark: Mark) {
        self.pending.mark(mark);
    }

    /// Writes the batch, then rotates if a line of `len` bytes is still due in a new file.
    fn make_room(&mut self, len: usize, created_s: f64) -> Result<(), WriteError> {
        self.commit()?;
        let Some(due) = self.is_due(0, len, created_s) else {
            return Ok(());
        };
        match self.rotate(due) {
            Ok(_) => Ok(()),
            Err(error) => {
                self.counts.rotations_failed += 1;
                self.counts.last_error = Some(error.to_string());
                self.rotation_retry_at_s = self.clock.now_s() + crate::limits::ROTATION_RETRY_S;
                if self.active.is_some() { Ok(()) } else { Err(error) }
            }
        }
    }

    /// Writes the batch and rotates, whatever the size and the time: `doRollover()`. True if the class rotates at all.
    /// Blocks: on the disk.
    ///
    /// # Errors
    /// What was taken stays pending, or the file stays as it is.
    pub fn rollover(&mut self) -> Result<bool, WriteError> {
        self.commit()?;
        self.rotate_now()
    }

    /// Opens the name again, without emptying it: what SIGHUP asks for. Blocks: on the disk.
    ///
    /// # Errors
    /// The name leads to nothing that we open. Lines are still taken; the next commit tries again.
    pub fn reopen(&mut self) -> Result<(), WriteError> {
        // What cannot be written now stays pending, and is told by the next commit.
        let _ = self.commit();
        self.forget_active();
        self.directory_checked_at_s = f64::NEG_INFINITY;
        self.counts.reopened += 1;
        if self.settings.delay && self.pending.bytes.is_empty() {
            Ok(())
        } else {
            self.refresh()
        }
    }

    /// Gives the file new settings; its name and open mode stay. Blocks: on writing the batch with the old ones.
    pub fn reconfigure(&mut self, settings: FileSettings) {
        // Encoded already, so that a failure does no harm: it stays pending.
        let _ = self.commit();
        let rotation_changed = settings.rotation != self.settings.rotation;
        self.repermit(&settings.permissions);
        if rotation_changed || settings.compress != self.settings.compress {
            self.drop_compression();
        }
        self.settings = settings;
        if !self.settings.terminator.ends_with('\n') {
            self.tail = Tail::Whole;
        }
        if rotation_changed {
            self.shift.clear();
            self.rotation_retry_at_s = f64::NEG_INFINITY;
            let stat = inspect(self.fs.as_ref(), &self.location).ok().flatten();
            self.schedule(stat.map(|stat| stat.modified_s));
        }
        self.retain();
        self.want_compression();
    }

    /// Gives the file the mode, owner and group of newer settings. What cannot be had is told by the status: lines come first.
    fn repermit(&mut self, permissions: &Permissions) {
        if *permissions == self.settings.permissions {
            return;
        }
        let result = Wanted::resolve(permissions, self.location.restricted()).and_then(|wanted| {
            self.wanted = wanted.leniently();
            match &self.active {
                Some(active) => wanted.apply(
                    self.fs.as_ref(),
                    active.file.as_fd(),
                    &active.stat,
                    false,
                    &self.path,
                ),
                None => Ok(()),
            }
        });
        if let Err(error) = result {
            self.counts.last_error = Some(error.to_string());
        }
    }

    /// Forgets what is taken and not written, so that nothing more is written when this is dropped: whoever was told that
    /// it is lost sends it again, elsewhere.
    pub fn abandon(&mut self) {
        self.pending = Pending::default();
    }

    /// Bytes taken but not written.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The identity of the place. Changes when somebody replaces the directory and the file follows its path.
    #[must_use]
    pub fn key(&self) -> &FileKey {
        self.location.key()
    }

    /// The place.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &FileSettings {
        &self.settings
    }

    /// What the file looks like at this moment. Asks nobody.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            path: Arc::clone(&self.path),
            identity: self.active.as_ref().map(Active::identity),
            size_bytes: self.active.as_ref().map(|active| active.size),
            locked: self.active.as_ref().is_some_and(|active| active.locked),
            pending_bytes: self.pending.len(),
            pending_lines: self.pending.lines(),
            lines_written: self.counts.lines_written,
            next_rollover_s: matches!(self.settings.rotation, Rotation::Timed(_)).then_some(self.rollover_at),
            rollovers: self.counts.rollovers,
            rotations_failed: self.counts.rotations_failed,
            deletions_failed: self.counts.deletions_failed,
            reopened: self.counts.reopened,
            foreign_changes: self.counts.foreign_changes,
            open_tails: self.counts.open_tails,
            torn_lines: self.counts.torn_lines,
            recovered_batches: self.counts.recovered_batches,
            completed_bytes: self.counts.completed_bytes,
            compressed: self.counts.compressed,
            compressions_failed: self.counts.compressions_failed,
            sync_failed: self.durable.failed,
            last_error: self.counts.last_error.clone(),
        }
    }

    fn now(&self) -> i64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "saturates; whole seconds are wanted, as Python's int()"
        )]
        let now = self.clock.now_s() as i64;
        now
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        let _ = self.commit();
        self.drop_compression();
        self.forget_active();
    }
}

/// A name that is too long to be rotated must be refused at once, not at the first rotation.
fn check_name_length(location: &Location, settings: &FileSettings) -> Result<(), OpenError> {
    let mut suffix = match settings.rotation {
        Rotation::Never => String::new(),
        Rotation::Size { .. } => ".4294967295".to_owned(),
        Rotation::Timed(_) => format!(".2026-01-01_00-00-00.{DATE_NUMBER_MAX}"),
    };
    if let Some(compression) = settings.compress {
        suffix.push_str(Form::from(compression).suffix());
    }
    if location.name().len() + suffix.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    Err(OpenError {
        kind: OpenErrorKind::NameTooLong,
        expected: format!(
            "a file name of at most {} bytes, to leave room for {suffix}",
            NAME_BYTES_MAX - suffix.len()
        ),
        received: format!("one of {} bytes", location.name().len()),
    })
}
