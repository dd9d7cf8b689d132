//! The rotated files of a log file: which names in the directory are its chain, and which of them are deleted.
//!
//! In: the directory, the rotation. Out: names with what `stat` says of them, from the oldest to the newest; deletions.
//! A file is the chain's if its name is a number up to `backupCount` or a date of the rotation's form, with or without the
//! suffix of a compression, and it is regular, of the same owner and written by nobody: no file of this process, and none whose
//! lock another holds. Nothing else is ever touched.
//! Not here: how the active file gets its new name (`numbered.rs`, `dated.rs`).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::LogFile;
use crate::chain::{Slot, read_number};
use crate::form::Form;
use crate::fs::{Stat, joined};
use crate::limits::CHAIN_PROBES_MAX;
use crate::retention::{Held, expired};
use crate::settings::Rotation;

/// Where a rotated file stands in its chain; the oldest is the least.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Position {
    Number(Reverse<u32>),
    Date(Vec<u8>, u32),
}

/// A rotated file of the chain.
#[derive(Debug)]
pub(super) struct Rotated {
    pub position: Position,
    pub form: Form,
    pub name: OsString,
    pub stat: Stat,
}

impl LogFile {
    /// The chain, oldest first, without the active file. A number that is there in two forms is somebody else's affair.
    pub(super) fn rotated(&self) -> Result<Vec<Rotated>, Errno> {
        let mut found = Vec::new();
        let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
        for (position, form, name) in self.candidates()? {
            if let Position::Number(Reverse(number)) = position {
                *numbers.entry(number).or_default() += 1;
            }
            if let Some(stat) = self.stat_rotated(&name)?.filter(|stat| self.is_rotated(stat)) {
                found.push(Rotated {
                    position,
                    form,
                    name,
                    stat,
                });
            }
        }
        found.retain(|file| match file.position {
            Position::Number(Reverse(number)) => numbers.get(&number) == Some(&1),
            Position::Date(..) => true,
        });
        found.sort_by(|one, other| (&one.position, one.form).cmp(&(&other.position, other.form)));
        Ok(found)
    }

    /// The numbers that are taken, and by whom.
    pub(super) fn numbers(&self) -> Result<BTreeMap<u32, Slot>, Errno> {
        let mut taken = BTreeMap::new();
        for (position, _, name) in self.candidates()? {
            let (Position::Number(Reverse(number)), Some(stat)) = (position, self.stat_rotated(&name)?)
            else {
                continue;
            };
            let slot = if self.is_rotated(&stat) && !self.is_written_elsewhere(&name, &stat) {
                Slot::Ours
            } else {
                Slot::Foreign
            };
            taken
                .entry(number)
                .and_modify(|slot| *slot = Slot::Foreign)
                .or_insert(slot);
        }
        Ok(taken)
    }

    /// Names that a rotated file may have, of whatever kind it is.
    fn candidates(&self) -> Result<Vec<(Position, Form, OsString)>, Errno> {
        let prefix = joined(self.location.name(), b".");
        let suffixes = match self
            .fs
            .names_after(self.location.directory(), prefix.as_encoded_bytes())
        {
            // A directory that we may not list: numbers can be tried.
            Err(Errno::ACCESS) => self.guesses(),
            result => result?,
        };
        let read = |suffix: Vec<u8>| {
            let (plain, form) = Form::split(&suffix);
            let position = match &self.settings.rotation {
                Rotation::Never => None,
                Rotation::Size { backup_count, .. } => read_number(plain)
                    .filter(|number| number <= backup_count)
                    .map(|number| Position::Number(Reverse(number))),
                Rotation::Timed(timed) => timed
                    .read_suffix(plain)
                    .map(|(date, number)| Position::Date(date.to_vec(), number)),
            };
            Some((position?, form, joined(&prefix, &suffix)))
        };
        Ok(suffixes.into_iter().filter_map(read).collect())
    }

    fn guesses(&self) -> Vec<Vec<u8>> {
        let Rotation::Size { backup_count, .. } = self.settings.rotation else {
            return Vec::new();
        };
        (1..=backup_count.min(CHAIN_PROBES_MAX))
            .flat_map(|number| Form::ALL.map(|form| format!("{number}{}", form.suffix()).into_bytes()))
            .collect()
    }

    fn stat_rotated(&self, name: &OsString) -> Result<Option<Stat>, Errno> {
        let follow_links = !self.location.restricted();
        match self.fs.stat_at(self.location.directory(), name, follow_links) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Whether a file with a rotated name is part of the chain, as far as can be told without opening it: regular, ours or of the
    /// active file's owner, and no active file of this process.
    pub(super) fn is_rotated(&self, stat: &Stat) -> bool {
        let owned = stat.uid == rustix::process::geteuid().as_raw() || Some(stat.uid) == self.owner;
        let in_use = self.location.in_use().contains(stat.device, stat.inode);
        stat.file_type == FileType::RegularFile && owned && !in_use
    }

    /// Whether another process holds the lock of a rotated file: it is its active file, whatever the name looks like.
    ///
    /// The only way to ask is to take the lock for a moment. A server that opens the file in that moment is refused, and tries
    /// again. False where nobody can be asked: the file may not be read, or the file system knows no locks.
    fn is_written_elsewhere(&self, name: &OsStr, stat: &Stat) -> bool {
        if self.is_being_compressed(stat) {
            return false; // the lock is ours
        }
        let directory = self.location.directory();
        self.fs
            .open_to_read(directory, name)
            .is_ok_and(|file| self.fs.lock(file.as_fd()) == Err(Errno::WOULDBLOCK))
    }

    /// Deletes the rotated files that are too old or too much. What cannot be deleted is counted, and tried again after the
    /// next rotation. Blocks: on the disk.
    pub fn retain(&mut self) {
        self.delete_expired(None);
    }

    /// The same after a rotation, which is when those go that are too many, as in the library.
    pub(super) fn retain_after_rotation(&mut self) {
        self.delete_expired(match &self.settings.rotation {
            // The numbers of the others end at their count anyway.
            Rotation::Never | Rotation::Size { .. } => None,
            Rotation::Timed(timed) => Some(timed.backup_count).filter(|count| *count > 0),
        });
    }

    fn delete_expired(&mut self, count: Option<u32>) {
        // While one is there twice it would count twice; it is only for a moment.
        if (count.is_none() && self.settings.retention.is_unlimited()) || self.is_publishing() {
            return;
        }
        let Ok(mut files) = self.rotated() else {
            self.counts.deletions_failed += 1;
            return;
        };
        if self.expired(&files, count).is_empty() {
            return;
        }
        // Asked only now, for it takes a few system calls each. What another writes is none of the chain.
        files.retain(|file| !self.is_written_elsewhere(&file.name, &file.stat));
        let gone = self.expired(&files, count);
        for file in gone.into_iter().filter_map(|place| files.get(place)) {
            match self.fs.unlink(self.location.directory(), &file.name) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(_) => self.counts.deletions_failed += 1,
            }
        }
    }

    /// The places of those that are to be deleted.
    fn expired(&self, files: &[Rotated], count: Option<u32>) -> Vec<usize> {
        let held: Vec<Held> = files
            .iter()
            .map(|file| Held {
                bytes: file.stat.size,
                modified_s: file.stat.modified_s,
                awaits_compression: self.awaits_compression(file, files),
            })
            .collect();
        expired(&held, count, &self.settings.retention, self.now())
    }
}
