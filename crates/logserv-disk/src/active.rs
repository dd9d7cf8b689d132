//! The active file: opened only if it is what it must be, and locked.
//!
//! In: a [`Location`]. Out: an open, locked file whose name still led to it after the lock was taken, or a refusal that
//! created and changed nothing. A FIFO or device is never opened, not even to look at it: that alone can have effects.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::encoding::{Encoding, ErrorPolicy};
use crate::error::{OpenError, OpenErrorKind, WriteErrorKind};
use crate::fs::{Fs, OpenHow, Stat};
use crate::holder::holder;
use crate::limits::OPEN_ATTEMPTS_MAX;
use crate::location::{InUse, Location};
use crate::permissions::Wanted;

/// What the end of a file says about the next line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// It can begin there.
    Whole,
    /// The last line has no end: somebody, or a crash, left it so.
    Open,
    /// The file consists of this many bytes of a byte-order mark.
    Mark(usize),
}

/// An open and locked file. Dropping it gives the lock back.
#[derive(Debug)]
pub(crate) struct Active {
    pub file: Arc<OwnedFd>,
    /// What `stat` said when it was opened.
    pub stat: Stat,
    /// Bytes in it, as far as we know.
    pub size: u64,
    /// It was made by this opening.
    pub created: bool,
    /// False where the file system knows no locks.
    pub locked: bool,
    in_use: InUse,
}

impl Drop for Active {
    fn drop(&mut self) {
        self.in_use.leave(self.stat.device, self.stat.inode);
    }
}

impl Active {
    /// Opens, or makes, the file at `location`, takes its lock, gives it the mode and the owner that are wanted, and empties
    /// it if `truncate`.
    ///
    /// Blocks: on the disk, never on a lock or a FIFO.
    ///
    /// # Errors
    /// It is not a file that we write to, somebody else holds it, or the kernel refused.
    pub fn open(fs: &dyn Fs, location: &Location, truncate: bool, wanted: Wanted) -> Result<Self, OpenError> {
        for _ in 0..OPEN_ATTEMPTS_MAX {
            if let Some(mut active) = Self::attempt(fs, location, location.name(), Some(wanted))? {
                active.make_as_wanted(fs, location, wanted)?;
                if truncate {
                    active.empty(fs, location)?;
                }
                return Ok(active);
            }
        }
        Err(OpenError::disk(Errno::AGAIN, "open", &path_of(location)))
    }

    /// Opens and locks a file that has another name in the same directory. None if it is not ours to write, or has gone.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn open_rotated(fs: &dyn Fs, location: &Location, name: &OsStr) -> Result<Option<Self>, OpenError> {
        for _ in 0..OPEN_ATTEMPTS_MAX {
            match Self::attempt(fs, location, name, None) {
                Ok(None) => {}
                Err(error) if is_refusal(&error) => return Ok(None),
                result => return result,
            }
        }
        Ok(None)
    }

    /// One attempt; none if the name changed under our hands. `new`: what a file is to be like that must be made; none: it is
    /// not made.
    fn attempt(
        fs: &dyn Fs,
        location: &Location,
        name: &OsStr,
        new: Option<Wanted>,
    ) -> Result<Option<Self>, OpenError> {
        let (directory, follow_links) = (location.directory(), !location.restricted());
        let disk = |errno| OpenError::disk(errno, "open", &path_of(location));
        let found = look(fs, location, name)?;
        if found.is_none() && new.is_none() {
            return Ok(None);
        }
        let how = OpenHow {
            create: found.is_none(),
            follow_links,
            read: true,
            mode: new.unwrap_or_default().creation_mode(),
        };
        let opened = match fs.open(directory, name, how) {
            // A file that we may write but not read is fine; only the look at its last byte is missed.
            Err(Errno::ACCESS) if found.is_some() => fs.open(directory, name, OpenHow { read: false, ..how }),
            result => result,
        };
        let file = match opened {
            Ok(file) => file,
            Err(Errno::NOENT) if found.is_some() => return Ok(None),
            Err(Errno::EXIST) if found.is_none() => return Ok(None),
            Err(Errno::LOOP | Errno::AGAIN | Errno::NXIO) => return Ok(None),
            Err(errno) => return Err(disk(errno)),
        };
        let stat = fs.stat(file.as_fd()).map_err(disk)?;
        if found.is_some_and(|found| !found.same_file(&stat)) || stat.links == 0 {
            return Ok(None);
        }
        judge(location, &stat)?;
        let locked = match fs.lock(file.as_fd()) {
            Ok(()) => true,
            Err(Errno::WOULDBLOCK) => return Err(held(location, &stat)),
            Err(Errno::INTR) => return Ok(None),
            // No locks here (some network file systems); the table of this process still holds.
            Err(_) => false,
        };
        // Until the lock was ours, its holder may have rotated the file away.
        match fs.stat_at(directory, name, follow_links) {
            Ok(now) if now.same_file(&stat) => {}
            Ok(_) | Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(disk(errno)),
        }
        let in_use = location.in_use().clone();
        if !in_use.enter(stat.device, stat.inode) {
            return Err(held(location, &stat));
        }
        let active = Self {
            file: Arc::new(file),
            stat,
            size: stat.size,
            created: found.is_none(),
            locked,
            in_use,
        };
        Ok(Some(active))
    }

    /// Gives the file its mode, owner and group. One that was made for nothing is removed.
    fn make_as_wanted(&self, fs: &dyn Fs, location: &Location, wanted: Wanted) -> Result<(), OpenError> {
        let result = wanted.apply(
            fs,
            self.file.as_fd(),
            &self.stat,
            self.created,
            &path_of(location),
        );
        if result.is_err() && self.created {
            // Its lock is ours, and its name was just made.
            let _ = fs.unlink(location.directory(), location.name());
        }
        result
    }

    /// Device and inode.
    pub fn identity(&self) -> (u64, u64) {
        (self.stat.device, self.stat.inode)
    }

    /// Cuts the file to nothing.
    pub fn empty(&mut self, fs: &dyn Fs, location: &Location) -> Result<(), OpenError> {
        if self.size > 0 {
            fs.truncate(self.file.as_fd(), 0)
                .map_err(|errno| OpenError::disk(errno, "empty", &path_of(location)))?;
            self.size = 0;
        }
        Ok(())
    }

    /// Gives the lock back and keeps the file, to be synced later.
    pub fn released(self, fs: &dyn Fs) -> Arc<OwnedFd> {
        // Closing it would do the same; an error here only means that the lock stays until then.
        let _ = fs.unlock(self.file.as_fd());
        Arc::clone(&self.file)
    }

    /// What the file's last bytes say, for lines in `encoding`. Whole if the file is empty or may not be read.
    ///
    /// `is_pure`: all our lines in it are in that encoding, so that its end must be a newline's at the right place. Otherwise
    /// earlier ones may be in another, and the end of theirs is one.
    pub fn tail(&self, fs: &dyn Fs, encoding: Encoding, is_pure: bool) -> Tail {
        const WIDEST: u64 = 4;
        let mut last = [0; WIDEST as usize];
        let len = self.size.min(WIDEST);
        let Ok(read) = fs.read_at(self.file.as_fd(), &mut last, self.size - len) else {
            return Tail::Whole;
        };
        let last = last.get(..read).unwrap_or_default();
        let mark = encoding.mark();
        if read as u64 == self.size && read < mark.len() && mark.starts_with(last) {
            return if read == 0 { Tail::Whole } else { Tail::Mark(read) };
        }
        let ended = if is_pure && encoding.unit() > 1 {
            let mut newline = Vec::new();
            encoding.encode("\n", ErrorPolicy::Replace, &mut newline);
            last.ends_with(&newline) && self.size.is_multiple_of(encoding.unit())
        } else {
            // A newline of UTF-16 or UTF-32 in little-endian order ends in zeros.
            let end = last.iter().rposition(|byte| *byte != 0);
            end.map_or(read == 0, |end| last.get(end) == Some(&b'\n'))
        };
        if ended { Tail::Whole } else { Tail::Open }
    }
}

/// Looks at what is at `location` without opening it.
///
/// # Errors
/// Something is there that we do not open.
pub(crate) fn inspect(fs: &dyn Fs, location: &Location) -> Result<Option<Stat>, OpenError> {
    look(fs, location, location.name())
}

fn look(fs: &dyn Fs, location: &Location, name: &OsStr) -> Result<Option<Stat>, OpenError> {
    match fs.stat_at(location.directory(), name, !location.restricted()) {
        Ok(stat) => judge(location, &stat).map(|()| Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(OpenError::disk(errno, "look at", &path_of(location))),
    }
}

fn judge(location: &Location, stat: &Stat) -> Result<(), OpenError> {
    let uid = rustix::process::geteuid().as_raw();
    let path = path_of(location);
    let expected = if location.restricted() {
        format!(
            "a regular file with one link, owned by uid {uid}, or none, at {path} \
             (the server's option --root DIR allows other directories)"
        )
    } else {
        format!("a regular file, or none, at {path}")
    };
    let refuse = |kind, found: String| {
        Err(OpenError {
            kind,
            expected,
            received: found,
        })
    };
    if stat.file_type != FileType::RegularFile {
        return refuse(OpenErrorKind::NotRegular, stat.kind_text().to_owned());
    }
    if !location.restricted() {
        return Ok(());
    }
    if stat.links > 1 {
        return refuse(OpenErrorKind::Linked, format!("a file with {} links", stat.links));
    }
    if stat.uid != uid {
        return refuse(OpenErrorKind::ForeignOwner, format!("a file of uid {}", stat.uid));
    }
    Ok(())
}

/// True for what cannot be helped by waiting for the disk: a file of this kind, or of these rights, is not ours.
fn is_refusal(error: &OpenError) -> bool {
    match error.kind {
        OpenErrorKind::Disk(kind) => kind == WriteErrorKind::Permission,
        _ => true,
    }
}

fn held(location: &Location, stat: &Stat) -> OpenError {
    let pid = holder(stat);
    let by = pid.map_or_else(
        || "by an unknown process".to_owned(),
        |pid| format!("by process {pid}"),
    );
    OpenError {
        kind: OpenErrorKind::Held(pid),
        expected: "a file that no other server writes".to_owned(),
        received: format!("{}, which is held {by}", path_of(location)),
    }
}

fn path_of(location: &Location) -> String {
    location.path().display().to_string()
}
