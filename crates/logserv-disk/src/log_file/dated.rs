//! Rotation by time, and by size between two times: the active file gets a date, and a number behind it where that is taken.
//!
//! In: the time to rotate by. Out: a renamed file. Names of one date are numbered upwards, whatever has been deleted of them,
//! so that the order of names stays that of lines.
//! Not here: which date (`timed.rs`), and which are deleted (`rotated.rs`).

use rustix::io::Errno;

use super::LogFile;
use super::rollover::Due;
use crate::error::WriteError;
use crate::form::Form;
use crate::fs::joined;
use crate::limits::{DATE_NUMBER_MAX, DATE_PROBES_MAX};
use crate::timed::TimedRotation;

impl LogFile {
    pub(super) fn date_active(&mut self, timed: &TimedRotation, due: Due) -> Result<(), WriteError> {
        if self.hold_active()? {
            self.rename_dated(&timed.suffix(self.rollover_at, due.now))?;
        }
        // Between two times only the size was reason: the next time stays what it was.
        if !due.by_size_only {
            self.rollover_at = timed.next_rollover(due.now);
        }
        Ok(())
    }

    /// Renames the active file to its date, with the number after the highest that is taken.
    fn rename_dated(&self, suffix: &str) -> Result<(), WriteError> {
        let directory = self.location.directory();
        let first = self.free_number(suffix);
        for number in (first..=DATE_NUMBER_MAX).take(DATE_PROBES_MAX) {
            let suffix = if number == 0 {
                format!(".{suffix}")
            } else {
                format!(".{suffix}.{number}")
            };
            match self.fs.rename(
                directory,
                self.location.name(),
                &joined(self.location.name(), suffix.as_bytes()),
            ) {
                Err(Errno::EXIST) => {}
                Ok(()) => return Ok(()),
                Err(errno) => return Err(self.error(errno, "rotate")),
            }
        }
        Err(self.error(Errno::EXIST, "rotate"))
    }

    /// The number for a date's next file: 0, which is not written, if there is none of that date, of whatever kind.
    fn free_number(&self, suffix: &str) -> u32 {
        let prefix = joined(self.location.name(), b".");
        let found = self
            .fs
            .names_after(self.location.directory(), prefix.as_encoded_bytes());
        let number = |rest: &Vec<u8>| match Form::split(rest.strip_prefix(suffix.as_bytes())?).0 {
            [] => Some(0),
            [b'.', digits @ ..] => crate::chain::read_number(digits),
            _ => None,
        };
        // A directory that we may not list: numbers are tried from the first.
        let highest = found.ok().and_then(|rests| rests.iter().filter_map(number).max());
        highest.map_or(0, |highest| highest.saturating_add(1))
    }
}
