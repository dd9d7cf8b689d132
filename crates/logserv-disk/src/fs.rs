//! The system calls that log files need, each relative to an open directory, behind a trait so that tests can fail them.
//!
//! In: a directory's descriptor and one name in it. Out: what the kernel said. No path is resolved here.
//! Not here: what a file must be like (`active.rs`), and any decision.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, Timespec, Timestamps,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

/// What `stat` says, as far as we care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Number of names.
    pub links: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Regular file, directory, ….
    pub file_type: FileType,
    /// Last change of the contents, whole seconds since 1970.
    pub modified_s: i64,
}

impl Stat {
    /// The same file, whatever its name.
    #[must_use]
    pub fn same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// A word for an error message.
    #[must_use]
    pub fn kind_text(&self) -> &'static str {
        match self.file_type {
            FileType::RegularFile => "a regular file",
            FileType::Directory => "a directory",
            FileType::Symlink => "a symbolic link",
            FileType::Fifo => "a FIFO",
            FileType::Socket => "a socket",
            FileType::CharacterDevice | FileType::BlockDevice => "a device",
            FileType::Unknown => "something unknown",
        }
    }
}

/// How a file is opened for appending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenHow {
    /// Make it; it must not exist.
    pub create: bool,
    /// Follow a symbolic link in the last component (the personal server only).
    pub follow_links: bool,
    /// Also allow reading, for a look at the last bytes.
    pub read: bool,
    /// Permission bits of a file that is made; the kernel takes the process's umask off.
    pub mode: u32,
}

/// The system calls of this crate. [`Kernel`] does them; tests wrap it to make one fail.
pub trait Fs: Send + Sync + Debug {
    /// Opens `name` for appending (`O_APPEND`, `O_NONBLOCK`, close-on-exec).
    fn open(&self, directory: BorrowedFd<'_>, name: &OsStr, how: OpenHow) -> Result<OwnedFd, Errno> {
        let mut flags = OFlags::APPEND | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        flags |= if how.read { OFlags::RDWR } else { OFlags::WRONLY };
        if how.create {
            flags |= OFlags::CREATE;
            // A link that leads to nothing yet is followed, as by `open()` in Python.
            flags.set(OFlags::EXCL, !how.follow_links);
        }
        let mode = if how.create {
            Mode::from_raw_mode(how.mode)
        } else {
            Mode::empty()
        };
        if how.follow_links {
            return rustix::fs::openat(directory, name, flags, mode);
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(directory, name, flags | OFlags::NOFOLLOW, mode, resolve)
    }

    /// Opens `name` for reading; never a symbolic link.
    fn open_to_read(&self, directory: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        rustix::fs::openat(directory, name, flags, Mode::empty())
    }

    /// Makes `name`, which must not exist, for writing and for nobody else.
    fn create(&self, directory: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600))
    }

    /// Gives a file a second name in the directory; `EEXIST` if that is taken.
    fn link(&self, directory: BorrowedFd<'_>, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        rustix::fs::linkat(directory, from, directory, to, AtFlags::empty())
    }

    /// Sets the time of an open file's last change, in seconds since 1970.
    fn set_modified(&self, file: BorrowedFd<'_>, modified_s: i64) -> Result<(), Errno> {
        let time = Timespec {
            tv_sec: modified_s,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::futimens(file, &times)
    }

    /// Makes a file durable, with its mode, owner and times.
    fn sync_file(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::fs::fsync(file)
    }

    /// Sets an open file's permission bits.
    fn set_mode(&self, file: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))
    }

    /// Sets an open file's owner and group; none leaves them.
    fn set_owner(&self, file: BorrowedFd<'_>, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        rustix::fs::fchown(file, uid.map(Uid::from_raw), gid.map(Gid::from_raw))
    }

    /// Stats an open file.
    fn stat(&self, file: BorrowedFd<'_>) -> Result<Stat, Errno> {
        rustix::fs::fstat(file).map(|stat| from_kernel(&stat))
    }

    /// Stats a name; a symbolic link itself unless `follow_links`.
    fn stat_at(&self, directory: BorrowedFd<'_>, name: &OsStr, follow_links: bool) -> Result<Stat, Errno> {
        let flags = if follow_links {
            AtFlags::empty()
        } else {
            AtFlags::SYMLINK_NOFOLLOW
        };
        rustix::fs::statat(directory, name, flags).map(|stat| from_kernel(&stat))
    }

    /// Takes the exclusive lock of an open file, without waiting.
    fn lock(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
    }

    /// Gives the lock of an open file back.
    fn unlock(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::fs::flock(file, FlockOperation::Unlock)
    }

    /// Appends bytes; may take only some of them.
    fn write(&self, file: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
        rustix::io::write(file, bytes)
    }

    /// Reads at a position, for a look at the last bytes.
    fn read_at(&self, file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        rustix::io::pread(file, buffer, offset)
    }

    /// Cuts a file to a length.
    fn truncate(&self, file: BorrowedFd<'_>, length: u64) -> Result<(), Errno> {
        rustix::fs::ftruncate(file, length)
    }

    /// Renames within the directory; `EEXIST` if the new name is taken.
    fn rename(&self, directory: BorrowedFd<'_>, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        match rustix::fs::renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE) {
            // File systems without NOREPLACE (some network ones): look first. The window is theirs.
            Err(Errno::INVAL | Errno::NOSYS) => {
                match rustix::fs::statat(directory, to, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(_) => Err(Errno::EXIST),
                    Err(Errno::NOENT) => rustix::fs::renameat(directory, from, directory, to),
                    Err(errno) => Err(errno),
                }
            }
            result => result,
        }
    }

    /// Removes a name that is not a directory.
    fn unlink(&self, directory: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        rustix::fs::unlinkat(directory, name, AtFlags::empty())
    }

    /// Makes a file's data durable.
    fn sync_data(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::fs::fdatasync(file)
    }

    /// Makes everything on the file system of an open file durable.
    fn sync_everything(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::fs::syncfs(file)
    }

    /// Makes the directory's names durable.
    fn sync_directory(&self, directory: BorrowedFd<'_>) -> Result<(), Errno> {
        // The directory is held with O_PATH, so that one without read permission serves too; syncing needs a real one.
        let opened = rustix::fs::openat(directory, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::fsync(opened)
    }

    /// What follows `prefix` in each name that begins with it and is longer.
    fn names_after(&self, directory: BorrowedFd<'_>, prefix: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        let opened = rustix::fs::openat(directory, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut found = Vec::new();
        for entry in rustix::fs::Dir::new(opened)? {
            match entry?.file_name().to_bytes().strip_prefix(prefix) {
                Some(rest) if !rest.is_empty() => found.push(rest.to_vec()),
                _ => {}
            }
        }
        Ok(found)
    }
}

/// The real kernel.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

impl Fs for Kernel {}

pub(crate) fn from_kernel(stat: &rustix::fs::Stat) -> Stat {
    Stat {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        links: links(stat),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode & 0o7777,
        file_type: FileType::from_raw_mode(stat.st_mode),
        modified_s: stat.st_mtime,
    }
}

#[cfg(target_arch = "x86_64")]
fn links(stat: &rustix::fs::Stat) -> u64 {
    stat.st_nlink
}

#[cfg(not(target_arch = "x86_64"))]
fn links(stat: &rustix::fs::Stat) -> u64 {
    stat.st_nlink.into()
}

/// `base` and a suffix in one name.
pub(crate) fn joined(base: &OsStr, suffix: &[u8]) -> std::ffi::OsString {
    let mut name = base.to_os_string();
    name.push(OsStr::from_bytes(suffix));
    name
}
