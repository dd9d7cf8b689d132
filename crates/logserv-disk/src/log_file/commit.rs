//! Writing the batch: all of it or nothing, into the file that the name leads to.
//!
//! In: the pending bytes. Out: bytes in the file. Before each write the file is compared with what we believe of it: it may
//! have been renamed, deleted or cut by others, whose bytes are never touched.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::LogFile;
use crate::active::{Active, Tail};
use crate::error::{OpenError, OpenErrorKind, WriteError, WriteErrorKind};
use crate::fs::Stat;
use crate::limits::DIRECTORY_CHECK_S;
use crate::settings::Rotation;

/// More bytes than ever stand before a batch: a byte-order mark, or the end of a character and a line break.
pub(super) const PREFIX_BYTES_MAX: usize = 16;

/// Whose lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// Those taken since.
    Batch,
    /// Those of a writer that died.
    Repair,
}

impl LogFile {
    /// Writes the batch. All lines taken are in the file when it is `Ok`, and their marks reported to the journal.
    /// Blocks: on the disk. Durable: after `sync`.
    ///
    /// # Errors
    /// The file is as it was, and the batch stays pending.
    pub fn commit(&mut self) -> Result<(), WriteError> {
        if self.pending.bytes.is_empty() {
            if !self.pending.marks.is_empty() {
                self.journal.written(&self.pending.marks);
            }
            self.pending.clear();
            return Ok(());
        }
        let result = self.refresh().and_then(|()| self.write_pending(Writing::Batch));
        if let Err(error) = &result {
            self.counts.last_error = Some(error.to_string());
        }
        result
    }

    /// Makes sure that the file is open, is the one its name leads to, and that its size is known.
    pub(super) fn refresh(&mut self) -> Result<(), WriteError> {
        let now = self.clock.now_s();
        if (now - self.directory_checked_at_s).abs() >= DIRECTORY_CHECK_S {
            self.directory_checked_at_s = now;
            self.follow_directory();
            self.reconsider_clock();
        }
        if self.active.is_some() {
            // One look tells both: whose the name is, and the size.
            if let Some(stat) = self.named().map_err(|errno| self.error(errno, "look at"))? {
                self.adopt(stat.size);
                return Ok(());
            }
            self.forget_active();
            self.counts.reopened += 1;
        }
        self.open_again()
    }

    /// Opens what the name leads to. Looks the directory up again if it is gone.
    fn open_again(&mut self) -> Result<(), WriteError> {
        let error = match self.open_active() {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let gone = OpenErrorKind::Disk(WriteErrorKind::Missing);
        let result = if error.kind == gone && self.follow_directory() {
            self.open_active()
        } else {
            Err(error)
        };
        result.map_err(|error| WriteError::opening(&error, &self.path))
    }

    /// True if the path leads to another directory now, which has become ours.
    fn follow_directory(&mut self) -> bool {
        match self.location.again() {
            Ok(location) if location.key() != self.location.key() => {
                self.drop_compression();
                self.location = location;
                self.forget_active();
                true
            }
            // Gone without a successor: what we hold is still the best place there is.
            _ => false,
        }
    }

    /// True if the name leads to the file that we hold. False if we hold none.
    pub(super) fn name_is_ours(&self) -> Result<bool, Errno> {
        self.named().map(|stat| stat.is_some())
    }

    /// What the name leads to, if it is the file that we hold.
    fn named(&self) -> Result<Option<Stat>, Errno> {
        let Some(active) = &self.active else {
            return Ok(None);
        };
        match self.fs.stat_at(
            self.location.directory(),
            self.location.name(),
            !self.location.restricted(),
        ) {
            Ok(stat) => Ok(stat.same_file(&active.stat).then_some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Opens the active file, truncating it only if that is still to be done.
    pub(super) fn open_active(&mut self) -> Result<(), OpenError> {
        self.open_unseen()?;
        self.inspect_tail();
        Ok(())
    }

    /// The same, without a look at its last bytes.
    pub(super) fn open_unseen(&mut self) -> Result<(), OpenError> {
        let active = Active::open(self.fs.as_ref(), &self.location, self.empty_first, self.wanted)?;
        // Whoever comes after it comes after it by our rotation, or not at all.
        self.wanted = self.wanted.after(None);
        if !active.created {
            self.owner = Some(active.stat.uid);
        }
        self.empty_first = false;
        self.durable.directory |= active.created;
        self.active = Some(active);
        self.recognise_failed();
        self.counts.torn_lines += u64::from(self.pending.restart_line());
        Ok(())
    }

    /// Somebody else's bytes are theirs: whatever the size is now, we go on from there.
    pub(super) fn adopt_size(&mut self) -> Result<(), WriteError> {
        let Some(active) = &self.active else {
            return Ok(());
        };
        match self.fs.stat(active.file.as_fd()) {
            Ok(stat) => self.adopt(stat.size),
            Err(errno) => return Err(self.error(errno, "look at")),
        }
        Ok(())
    }

    fn adopt(&mut self, size: u64) {
        if let Some(active) = &mut self.active
            && active.size != size
        {
            active.size = size;
            self.counts.foreign_changes += 1;
            self.counts.torn_lines += u64::from(self.pending.restart_line());
            self.inspect_tail();
        }
    }

    /// Notices a last line that has no end: the next one must begin on a line of its own.
    pub(super) fn inspect_tail(&mut self) {
        self.inspect_tail_of(false);
    }

    /// The same; `is_pure` if all our lines in the file are in the present encoding.
    pub(super) fn inspect_tail_of(&mut self, is_pure: bool) {
        self.tail = Tail::Whole;
        let Some(active) = &self.active else { return };
        if active.size > 0 && self.settings.terminator.ends_with('\n') {
            self.tail = active.tail(self.fs.as_ref(), self.settings.encoding, is_pure);
            self.counts.open_tails += u64::from(self.tail == Tail::Open);
        }
    }

    /// What must stand between the file's contents and the batch: a byte-order mark, the end of a torn line, or nothing.
    pub(super) fn prefix(&self) -> Vec<u8> {
        let size = self.active.as_ref().map_or(0, |active| active.size);
        let encoding = self.settings.encoding;
        let mut prefix = Vec::new();
        match self.tail {
            _ if size == 0 => prefix.extend_from_slice(encoding.mark()),
            Tail::Whole => {}
            Tail::Mark(len) => prefix.extend_from_slice(encoding.mark().get(len..).unwrap_or_default()),
            Tail::Open => {
                // A character that was cut in the middle must not shift all those behind it.
                while !(size + prefix.len() as u64).is_multiple_of(encoding.unit()) {
                    prefix.push(0);
                }
                encoding.encode("\n", self.settings.errors, &mut prefix);
            }
        }
        prefix
    }

    /// Where the first pending line is to stand. Only lines are declared: what must stand before them depends on the file as
    /// it is found.
    pub(super) fn offset(&self, prefix_len: usize) -> u64 {
        let size = self.active.as_ref().map_or(0, |active| active.size);
        (size + prefix_len as u64).saturating_sub(self.pending.done as u64)
    }

    /// Writes what is pending into the file that is open, as it is.
    pub(super) fn write_pending(&mut self, writing: Writing) -> Result<(), WriteError> {
        let prefix = self.prefix();
        let offset = self.offset(prefix.len());
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        let pending = &self.pending;
        let (device, inode) = (active.stat.device, active.stat.inode);
        match writing {
            Writing::Batch => self.journal.declare(
                device,
                inode,
                offset,
                &pending.bytes,
                &pending.ends,
                &pending.marks,
            ),
            Writing::Repair => self
                .journal
                .redeclare(device, inode, offset, &pending.bytes, &pending.ends),
        }
        let with_prefix;
        let bytes = if prefix.is_empty() {
            pending.rest()
        } else {
            with_prefix = [prefix.as_slice(), pending.rest()].concat();
            &with_prefix
        };
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            match self.fs.write(active.file.as_fd(), rest) {
                Ok(0) => return Err(self.unwrite(Errno::IO, done, prefix.len())),
                Ok(written) => done += written,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.unwrite(errno, done, prefix.len())),
            }
        }
        active.size += bytes.len() as u64;
        self.tail = Tail::Whole;
        self.durable.data = true;
        self.durable.commits += 1;
        self.counts.lines_written += self.pending.lines();
        if writing == Writing::Batch {
            self.journal.written(&self.pending.marks);
            self.declare_shift();
        }
        self.pending.clear();
        Ok(())
    }

    /// Ends a torn last line before the file is rotated away: whoever puts the chain together again must not find it glued
    /// to the first line of the next file. Best effort.
    pub(super) fn end_tail(&mut self) {
        if self.tail == Tail::Whole {
            return;
        }
        let end = self.prefix();
        let Some(active) = &mut self.active else { return };
        if self.fs.write(active.file.as_fd(), &end) == Ok(end.len()) {
            active.size += end.len() as u64;
            self.tail = Tail::Whole;
            self.durable.data = true;
        }
    }

    /// Takes back a write of which `done` bytes reached the file. Where that cannot be because the file may only grow, the
    /// rest stays pending, and completes the line when it is written; where somebody appended behind them, the line that is
    /// not whole is written again.
    fn unwrite(&mut self, errno: Errno, done: usize, prefix_len: usize) -> WriteError {
        let error = self.error(errno, "write");
        let Some(active) = &mut self.active else {
            return error;
        };
        if done == 0 {
            return error;
        }
        let size = self.fs.stat(active.file.as_fd()).map(|stat| stat.size);
        let untouched = size == Ok(active.size + done as u64);
        if untouched && self.fs.truncate(active.file.as_fd(), active.size).is_ok() {
            return error;
        }
        // Unless we can see that it was, the next look at the size finds out whether somebody appended.
        active.size += done as u64;
        self.durable.data = true;
        self.counts.lines_written += self.pending.advance(done.saturating_sub(prefix_len));
        if done < prefix_len {
            self.inspect_tail();
        } else {
            self.tail = Tail::Whole;
        }
        error
    }

    /// A clock that was set back would leave the next timed rotation years ahead.
    fn reconsider_clock(&mut self) {
        let now = self.now();
        if let Rotation::Timed(timed) = &self.settings.rotation
            && timed.is_beyond(self.rollover_at, now)
        {
            self.rollover_at = timed.next_rollover(now);
        }
    }

    pub(super) fn forget_active(&mut self) {
        if let Some(active) = self.active.take() {
            self.remember_unsynced(active);
        }
    }

    pub(super) fn error(&self, errno: Errno, doing: &'static str) -> WriteError {
        WriteError::new(errno, doing, &self.path)
    }
}
