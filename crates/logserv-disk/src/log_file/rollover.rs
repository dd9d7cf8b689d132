//! Rotation: whether a line is due in a new file, and how the old one gets its new name.
//!
//! In: the line's length and time, and the directory. Out: renamed, deleted and new files. Every step goes through the
//! directory that we hold, and no step overwrites anything.
//! Not here: the names (`numbered.rs`, `dated.rs`), and what is deleted (`rotated.rs`).

use std::os::fd::AsFd;

use super::LogFile;
use super::commit::PREFIX_BYTES_MAX;
use crate::active::inspect;
use crate::error::WriteError;
use crate::settings::Rotation;

/// A rotation that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// The time to rotate by, in seconds since 1970.
    pub now: i64,
    /// The time of a timed rotation has not come; the file is full.
    pub by_size_only: bool,
}

impl LogFile {
    /// Sets the time of the next timed rotation, from the file's last change as the standard library does.
    pub(super) fn schedule(&mut self, modified_s: Option<i64>) {
        if let Rotation::Timed(timed) = &self.settings.rotation {
            let now = self.now();
            // Never ahead of our clock, whatever somebody did to the file's times.
            self.rollover_at = timed.next_rollover(modified_s.map_or(now, |modified_s| modified_s.min(now)));
        }
    }

    /// Whether a line of `len` bytes behind `pending` others is due in a new file.
    pub(super) fn is_due(&self, pending: usize, len: usize, created_s: f64) -> Option<Due> {
        let by_size = |now: i64| Due {
            now,
            by_size_only: true,
        };
        match &self.settings.rotation {
            Rotation::Never | Rotation::Size { backup_count: 0, .. } => None,
            Rotation::Size { max_bytes, .. } => {
                (self.is_full(pending, len, *max_bytes) && self.may_rotate()).then(|| by_size(self.now()))
            }
            Rotation::Timed(timed) => match self.is_over(created_s) {
                Some(now) => self.may_rotate().then_some(Due {
                    now,
                    by_size_only: false,
                }),
                None => (self.is_full(pending, len, timed.max_bytes) && self.may_rotate())
                    .then(|| by_size(self.now())),
            },
        }
    }

    /// Whether the file has bytes and would reach `max_bytes` with the line.
    fn is_full(&self, pending: usize, len: usize, max_bytes: u64) -> bool {
        if max_bytes == 0 {
            return false;
        }
        let size = self.active.as_ref().map_or(0, |active| active.size);
        // Asked for every line, and mostly far from it: then what must stand before the batch need not be known.
        if size + (pending + len + PREFIX_BYTES_MAX) as u64 <= max_bytes {
            return false;
        }
        let before = if size + pending as u64 == 0 {
            0
        } else {
            size + (self.prefix().len() + pending) as u64
        };
        before > 0 && before + len as u64 >= max_bytes
    }

    /// Whether a record of that time belongs behind the next timed rotation; if so, the time to rotate by.
    fn is_over(&self, created_s: f64) -> Option<i64> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "saturates; whole seconds are wanted"
        )]
        let created = created_s as i64;
        // The clock is asked only when the record's own time says that rotation is due.
        if created < self.rollover_at && created_s.is_finite() {
            return None;
        }
        let now = self.now();
        let time = if created_s.is_finite() {
            created.min(now)
        } else {
            now
        };
        (time >= self.rollover_at).then_some(time)
    }

    fn may_rotate(&self) -> bool {
        self.rotation_retry_at_s == f64::NEG_INFINITY || self.clock.now_s() >= self.rotation_retry_at_s
    }

    /// Rotates. The batch must have been written. False if the class never rotates.
    pub(super) fn rotate(&mut self, due: Due) -> Result<bool, WriteError> {
        self.complete_publication();
        let done = match self.settings.rotation.clone() {
            Rotation::Never | Rotation::Size { backup_count: 0, .. } => return Ok(false),
            Rotation::Size { backup_count, .. } => self.shift_chain(backup_count),
            Rotation::Timed(timed) => self.date_active(&timed, due),
        };
        done?;
        self.counts.rollovers += 1;
        self.rotation_retry_at_s = f64::NEG_INFINITY;
        self.durable.directory = true;
        // It is a rotated file from here on, and counts as one.
        self.forget_active();
        self.retain_after_rotation();
        self.want_compression();
        if !self.settings.delay {
            self.open_active()
                .map_err(|error| WriteError::opening(&error, &self.path))?;
        }
        Ok(true)
    }

    /// Rotates because somebody asks for it.
    pub(super) fn rotate_now(&mut self) -> Result<bool, WriteError> {
        self.rotate(Due {
            now: self.now(),
            by_size_only: false,
        })
    }

    /// True if the active file exists, is ours, and is held.
    pub(super) fn hold_active(&mut self) -> Result<bool, WriteError> {
        if self.active.is_some() {
            let ours = self
                .name_is_ours()
                .map_err(|errno| self.error(errno, "look at"))?;
            if ours {
                self.leave_active();
                return Ok(true);
            }
            // Renamed or replaced by somebody else: that was the rotation. What the name leads to now is not rotated.
            self.forget_active();
            return Ok(false);
        }
        // What is about to be rotated away need not be emptied first.
        self.empty_first = false;
        match inspect(self.fs.as_ref(), &self.location) {
            Ok(None) => Ok(false),
            Ok(Some(_)) => self
                .open_active()
                .map(|()| self.leave_active())
                .map(|()| true)
                .map_err(|error| WriteError::opening(&error, &self.path)),
            Err(error) => Err(WriteError::opening(&error, &self.path)),
        }
    }

    /// The active file is about to be rotated away: it ends in a whole line, and the next takes over its mode and owner.
    fn leave_active(&mut self) {
        self.end_tail();
        let stat = self
            .active
            .as_ref()
            .map(|active| self.fs.stat(active.file.as_fd()));
        self.wanted = self.wanted.after(stat.and_then(Result::ok).as_ref());
    }
}
