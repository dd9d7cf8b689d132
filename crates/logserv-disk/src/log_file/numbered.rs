//! Rotation by size: the active file becomes number 1, and each number the next.
//!
//! In: the numbers that are taken. Out: renamed and deleted files; an interrupted shift goes on where it stopped.
//! Not here: which is renamed to what (`chain.rs`), and when (`rollover.rs`).

use std::ffi::OsString;

use rustix::io::Errno;

use super::LogFile;
use crate::chain::{self, Step};
use crate::error::{WriteError, WriteErrorKind};
use crate::form::Form;
use crate::fs::joined;
use crate::limits::OPEN_ATTEMPTS_MAX;

impl LogFile {
    pub(super) fn shift_chain(&mut self, backup_count: u32) -> Result<(), WriteError> {
        let has_active = self.hold_active()?;
        for _ in 0..OPEN_ATTEMPTS_MAX {
            if self.shift.is_empty() {
                let taken = self
                    .numbers()
                    .map_err(|errno| self.error(errno, "list the chain of"))?;
                self.shift = chain::plan(&taken, backup_count).ok_or_else(|| self.no_number(backup_count))?;
            }
            self.declare_shift();
            match self.run_shift(has_active) {
                Ok(()) => {
                    self.journal.written(&[]);
                    return Ok(());
                }
                // The directory is not what it was when the plan was made.
                Err(Errno::EXIST | Errno::ISDIR) => self.shift.clear(),
                Err(errno) => return Err(self.error(errno, "rotate")),
            }
        }
        Err(self.error(Errno::EXIST, "rotate"))
    }

    /// Has it remembered that a shift is under way, so that whoever opens the file after our death does not begin another
    /// in the middle of it, which would push out one file too many.
    pub(super) fn declare_shift(&mut self) {
        if self.shift.is_empty() {
            return;
        }
        let (device, inode, size) = self.active.as_ref().map_or((0, 0, 0), |active| {
            (active.stat.device, active.stat.inode, active.size)
        });
        self.journal.declare(device, inode, size, &[], &[], &[]);
    }

    /// Takes the steps one by one, so that after an error the shift goes on where it stopped: beginning again would
    /// push the oldest files out with each attempt.
    pub(super) fn run_shift(&mut self, has_active: bool) -> Result<(), Errno> {
        while let Some(step) = self.shift.front() {
            match step {
                Step::Move(0, _) if !has_active => {}
                step => self.take_step(*step)?,
            }
            self.shift.pop_front();
        }
        Ok(())
    }

    /// Renames or deletes a number, in whichever form it is there. One that has gone is no hindrance.
    fn take_step(&self, step: Step) -> Result<(), Errno> {
        let directory = self.location.directory();
        for form in Form::ALL {
            let done = match step {
                Step::Remove(number) => self.fs.unlink(directory, &self.numbered(number, form)),
                Step::Move(0, to) if form == Form::Plain => {
                    self.fs
                        .rename(directory, self.location.name(), &self.numbered(to, form))
                }
                Step::Move(0, _) => return Ok(()),
                Step::Move(from, to) => {
                    self.fs
                        .rename(directory, &self.numbered(from, form), &self.numbered(to, form))
                }
            };
            if done != Err(Errno::NOENT) {
                return done;
            }
        }
        Ok(())
    }

    pub(super) fn numbered(&self, number: u32, form: Form) -> OsString {
        joined(
            self.location.name(),
            format!(".{number}{}", form.suffix()).as_bytes(),
        )
    }

    fn no_number(&self, backup_count: u32) -> WriteError {
        WriteError {
            kind: WriteErrorKind::Refused,
            doing: "rotate",
            path: self.path.to_string(),
            errno: None,
            reason: format!("each of the numbers 1 to {backup_count} is taken by something that is not ours"),
        }
    }
}
