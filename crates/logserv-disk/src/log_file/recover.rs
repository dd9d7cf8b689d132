//! Recovery: what the last writer declared and did not live to finish is finished when the file is opened.
//!
//! In: the journal's declaration, the directory. Out: each declared line once and whole in the chain, before anything else is
//! written; nothing of others is cut. A death in here is repaired by the next opening in the same way.
//! Not here: what is missing (`repair.rs`), and how the missing lines are written (`commit.rs`).

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::LogFile;
use super::commit::Writing;
use crate::active::{Active, inspect};
use crate::chain;
use crate::error::OpenError;
use crate::form::Form;
use crate::fs::joined;
use crate::journal::Declared;
use crate::limits::{OPEN_ATTEMPTS_MAX, RECOVERY_SEARCH_BYTES};
use crate::repair::{Missing, missing};
use crate::settings::Rotation;

impl LogFile {
    /// Opens the active file, asks the journal, and finishes what was declared. Gives when the file was changed last.
    ///
    /// The journal is asked under the file's lock: until then another server may still be writing, and declaring.
    pub(super) fn open_first(&mut self) -> Result<Option<i64>, OpenError> {
        // What was being written is part of what `mode="w"` empties afterwards.
        let empty_first = std::mem::take(&mut self.empty_first);
        if !self.settings.delay || inspect(self.fs.as_ref(), &self.location)?.is_some() {
            self.open_unseen()?;
        }
        let found = self.active.as_ref().filter(|active| !active.created);
        let modified_s = found.map(|active| active.stat.modified_s);
        self.tidy();
        let declared = self.journal.recovered();
        if let Some(declared) = &declared {
            self.recover(declared)?;
        }
        if self.settings.delay {
            self.empty_first = empty_first;
            self.forget_active();
        } else if let Some(active) = self.active.as_mut().filter(|_| empty_first) {
            active.empty(self.fs.as_ref(), &self.location)?;
        }
        // Lines that were torn were written by these settings, as far as we can know.
        self.inspect_tail_of(declared.is_some_and(|declared| !declared.bytes.is_empty()));
        Ok(modified_s)
    }

    fn recover(&mut self, declared: &Declared) -> Result<(), OpenError> {
        if declared.bytes.is_empty() {
            self.undo_shift(declared);
        } else {
            // What is left of it after an error must not be written when this is dropped: the next opening does it.
            self.finish(declared).inspect_err(|_| self.pending.clear())?;
            self.counts.recovered_batches += 1;
        }
        self.journal.written(&[]);
        Ok(())
    }

    fn finish(&mut self, declared: &Declared) -> Result<(), OpenError> {
        if self.holds(declared) {
            let missing = self.compare(declared)?;
            return missing.map_or(Ok(()), |missing| self.write_missing(declared, missing));
        }
        if let Some(rotated) = self.find_rotated(declared)? {
            let active = self.active.replace(rotated);
            let result = self.finish_rotated(declared);
            self.forget_active();
            self.active = active;
            if result? {
                return Ok(());
            }
        }
        if self.active.is_none() {
            self.open_unseen()?;
        }
        let everything = Missing {
            start: 0,
            done: 0,
            torn: false,
        };
        self.write_missing(declared, everything)
    }

    /// Finishes a file that was renamed since. False if nothing of the batch is in it: then it may be any file.
    fn finish_rotated(&mut self, declared: &Declared) -> Result<bool, OpenError> {
        match self.compare(declared)? {
            None => Ok(true),
            Some(Missing {
                start: 0,
                done: 0,
                torn: false,
            }) => Ok(false),
            Some(missing) => self.write_missing(declared, missing).map(|()| true),
        }
    }

    /// True if the file that was being written is the active one.
    fn holds(&self, declared: &Declared) -> bool {
        self.active.as_ref().is_some_and(|active| {
            (active.stat.device, active.stat.inode) == (declared.device, declared.inode)
        })
    }

    /// The file that was being written, if it has a longer name now: somebody, or we, have rotated it.
    fn find_rotated(&self, declared: &Declared) -> Result<Option<Active>, OpenError> {
        let (directory, base) = (self.location.directory(), self.location.name());
        let disk = |errno| OpenError::disk(errno, "find what was being written of", &self.path);
        let suffixes = match self.fs.names_after(directory, base.as_encoded_bytes()) {
            // A directory that we may not list has no names for us.
            Err(Errno::ACCESS) => return Ok(None),
            result => result.map_err(disk)?,
        };
        for suffix in suffixes {
            let name = joined(base, &suffix);
            match self.fs.stat_at(directory, &name, false) {
                Ok(stat) if (stat.device, stat.inode) == (declared.device, declared.inode) => {
                    return Active::open_rotated(self.fs.as_ref(), &self.location, &name);
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(disk(errno)),
            }
        }
        Ok(None)
    }

    /// What is missing of the batch in the file that is open.
    fn compare(&self, declared: &Declared) -> Result<Option<Missing>, OpenError> {
        let Some(active) = &self.active else {
            return Ok(None);
        };
        let mut found = vec![0; declared.bytes.len() + RECOVERY_SEARCH_BYTES];
        let mut read = 0;
        while let Some(rest) = found.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self
                .fs
                .read_at(active.file.as_fd(), rest, declared.offset + read as u64)
            {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(Errno::INTR) => {}
                // We may write it and not read it: nothing is known, and nothing may be lost.
                Err(Errno::BADF) => break,
                Err(errno) => return Err(OpenError::disk(errno, "read", &self.path)),
            }
        }
        let to_end = read < found.len();
        found.truncate(read);
        Ok(missing(declared, &found, to_end))
    }

    fn write_missing(&mut self, declared: &Declared, missing: Missing) -> Result<(), OpenError> {
        let mut next = Some((declared.clone(), missing));
        for _ in 0..OPEN_ATTEMPTS_MAX {
            let Some((declared, missing)) = next.take() else {
                break;
            };
            self.counts.torn_lines += u64::from(missing.torn);
            // Somebody may come between our look and our write: what is there then is compared again.
            let (declared, is_sure) = if missing.done > 0 {
                self.complete_line(&declared, missing)?;
                (declared, false)
            } else {
                self.write_lines(&declared, missing.start)?
            };
            if !is_sure {
                next = self.compare(&declared)?.map(|missing| (declared, missing));
            }
        }
        Ok(())
    }

    /// Writes the rest of the line with whose beginning the file ends. Nothing more: the lines behind it would be in the file,
    /// whole, even if this one is not.
    fn complete_line(&mut self, declared: &Declared, missing: Missing) -> Result<(), OpenError> {
        let begun = missing.start + missing.done;
        let end = declared
            .ends
            .iter()
            .map(|end| *end as usize)
            .find(|end| *end > begun);
        let mut rest = declared
            .bytes
            .get(begun..end.unwrap_or(declared.bytes.len()))
            .unwrap_or_default();
        while let Some(active) = self.active.as_mut().filter(|_| !rest.is_empty()) {
            match self.fs.write(active.file.as_fd(), rest) {
                Ok(0) => return Err(OpenError::disk(Errno::IO, "finish the last batch of", &self.path)),
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    active.size += count as u64;
                    self.counts.completed_bytes += count as u64;
                    self.durable.data = true;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(OpenError::disk(errno, "finish the last batch of", &self.path)),
            }
        }
        self.adopt_size().map_err(|error| OpenError::repairing(&error))
    }

    /// Writes the lines from `start` on behind what there is. Gives what has become of the declaration, and whether it is sure
    /// that nobody came between.
    fn write_lines(&mut self, declared: &Declared, start: usize) -> Result<(Declared, bool), OpenError> {
        self.inspect_tail_of(true);
        self.pending.take_over(declared, start);
        let completed = self.pending.len() as u64;
        let declared = self.about_to_write();
        self.write_pending(Writing::Repair)
            .map_err(|error| OpenError::repairing(&error))?;
        self.counts.completed_bytes += completed;
        let before = self.counts.foreign_changes;
        self.adopt_size().map_err(|error| OpenError::repairing(&error))?;
        Ok((declared, self.counts.foreign_changes == before))
    }

    /// The pending lines, and where they are to stand.
    fn about_to_write(&self) -> Declared {
        let stat = self.active.as_ref().map(|active| &active.stat);
        Declared {
            device: stat.map_or(0, |stat| stat.device),
            inode: stat.map_or(0, |stat| stat.inode),
            offset: self.offset(self.prefix().len()),
            bytes: self.pending.bytes.clone(),
            ends: self.pending.ends.clone(),
        }
    }

    /// Takes a shift of the chain back that was interrupted: run again from the middle, it would push out one file more
    /// than it should. It is run again when it is due. Best effort: an error leaves a gap.
    fn undo_shift(&mut self, declared: &Declared) {
        let Rotation::Size { backup_count, .. } = self.settings.rotation else {
            return;
        };
        let Ok(taken) = self.numbers() else {
            return;
        };
        let moved = chain::first(&taken, backup_count).and_then(|first| {
            let name = self.numbered(first, Form::Plain);
            self.fs.stat_at(self.location.directory(), &name, false).ok()
        });
        if moved.is_some_and(|stat| (stat.device, stat.inode) == (declared.device, declared.inode)) {
            // It was complete: only the new active file was missing.
            return;
        }
        self.shift = chain::undo(&taken, backup_count);
        if self.run_shift(false).is_err() {
            self.counts.rotations_failed += 1;
            self.shift.clear();
        }
    }
}
