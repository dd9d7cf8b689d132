//! The directory of one user's rings: made, checked, listed.
//!
//! In: a uid. Out: a descriptor of a directory of which is certain that nobody else can put anything into it. `/dev/shm`
//! is writable for everyone: whatever is at the expected place may be another user's trap.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::DirectoryError;
use crate::limits::{DIRECTORY_ATTEMPTS_MAX, ENTRIES_MAX};
use crate::name::RingName;

/// Where the directories of all users are: memory that outlives processes and dies with the host.
const BASE: &str = "/dev/shm";
/// What a directory's name begins with; the uid follows.
const PREFIX: &str = "logserv-";
/// Mode of the directory: its owner's alone.
const MODE: u32 = 0o700;

/// The directory of one user's rings, `/dev/shm/logserv-<uid>`. Holds one descriptor until it is dropped; whoever cannot
/// be sure of its descriptors (a client) makes it for one use only.
#[derive(Debug)]
pub struct Directory {
    descriptor: OwnedFd,
    device: u64,
    uid: u32,
    path: PathBuf,
}

/// The memory that rings are in, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What is not in use, by whomever.
    pub free: u64,
}

impl Directory {
    /// The directory of the process's effective user, made if it is missing. Blocks: on the file system of `/dev/shm`.
    ///
    /// # Errors
    /// `Refused` if something else is there, or a directory of another owner, or one that others may use.
    pub fn ensure() -> Result<Self, DirectoryError> {
        Self::ensure_at(Path::new(BASE))
    }

    /// [`ensure`](Self::ensure) below another directory than `/dev/shm`.
    ///
    /// # Errors
    /// As there.
    pub fn ensure_at(base: &Path) -> Result<Self, DirectoryError> {
        let uid = own_uid();
        for _ in 0..DIRECTORY_ATTEMPTS_MAX {
            if let Some(found) = Self::open_at(base, uid)? {
                return Ok(found);
            }
            let path = path_in(base, uid);
            let failed = |doing: &'static str, errno: Errno| DirectoryError::Io {
                doing,
                path: path.clone(),
                source: errno.into(),
            };
            match rustix::fs::mkdir(&path, Mode::from_raw_mode(MODE)) {
                // A strange umask or a set-group-id parent must not shape it. We made it, and nobody else can replace
                // it: the parent is sticky.
                Ok(()) => rustix::fs::chmod(&path, Mode::from_raw_mode(MODE))
                    .map_err(|e| failed("set the mode of", e))?,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed("make", errno)),
            }
        }
        Self::open_at(base, uid)?.ok_or_else(|| DirectoryError::Io {
            doing: "keep",
            path: path_in(base, uid),
            source: io::ErrorKind::NotFound.into(),
        })
    }

    /// The directory of the user `uid`; `None` if there is none. Makes nothing. Blocks: on the file system of `/dev/shm`.
    ///
    /// # Errors
    /// `Refused` if something else is there, or a directory of another owner, or one that others may use.
    pub fn open(uid: u32) -> Result<Option<Self>, DirectoryError> {
        Self::open_at(Path::new(BASE), uid)
    }

    /// [`open`](Self::open) below another directory than `/dev/shm`.
    ///
    /// # Errors
    /// As there.
    pub fn open_at(base: &Path, uid: u32) -> Result<Option<Self>, DirectoryError> {
        let path = path_in(base, uid);
        let failed = |errno: Errno| DirectoryError::Io {
            doing: "open",
            path: path.clone(),
            source: errno.into(),
        };
        let refused = |expected: String, received: String| DirectoryError::Refused {
            path: path.clone(),
            expected,
            received,
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(descriptor) => descriptor,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let received = rustix::fs::statat(rustix::fs::CWD, &path, AtFlags::SYMLINK_NOFOLLOW)
                    .map_or_else(
                        |_| "something else",
                        |stat| type_name(FileType::from_raw_mode(stat.st_mode)),
                    );
                return Err(refused("a directory".into(), received.into()));
            }
            Err(errno) => return Err(failed(errno)),
        };
        let stat = rustix::fs::fstat(&descriptor).map_err(failed)?;
        let above = rustix::fs::stat(base).map_err(failed)?;
        if stat.st_uid != uid {
            return Err(refused(
                format!("owned by uid {uid}"),
                format!("owner {}", stat.st_uid),
            ));
        }
        let mode = stat.st_mode & 0o7777;
        if mode != MODE {
            return Err(refused(format!("of mode {MODE:04o}"), format!("{mode:04o}")));
        }
        if stat.st_dev != above.st_dev {
            // A file system that a user has mounted there can make every call wait for ever.
            return Err(refused(
                format!("on the file system of {}", base.display()),
                "another".into(),
            ));
        }
        Ok(Some(Self {
            descriptor,
            device: stat.st_dev,
            uid,
            path,
        }))
    }

    /// The uids of all users that have a directory, whether it could be used or not. At most [`ENTRIES_MAX`] entries of
    /// `/dev/shm` are looked at.
    ///
    /// # Errors
    /// Those of listing `/dev/shm`.
    pub fn users() -> io::Result<Vec<u32>> {
        Self::users_at(Path::new(BASE))
    }

    /// [`users`](Self::users) below another directory than `/dev/shm`.
    ///
    /// # Errors
    /// As there.
    pub fn users_at(base: &Path) -> io::Result<Vec<u32>> {
        let mut users = Vec::new();
        for entry in std::fs::read_dir(base)?.take(ENTRIES_MAX) {
            let name = entry?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            if let Some(uid) = digits.and_then(|digits| digits.parse::<u32>().ok())
                && digits.is_some_and(|digits| digits == uid.to_string())
            {
                users.push(uid);
            }
        }
        Ok(users)
    }

    /// The names of all rings. A name is no promise: what is behind it, [`Consumer::open`](crate::Consumer::open) finds
    /// out. At most [`ENTRIES_MAX`] entries are looked at.
    ///
    /// # Errors
    /// Those of listing the directory.
    pub fn rings(&self) -> io::Result<Vec<RingName>> {
        self.names(|name| name.parse().ok())
    }

    /// What `pick` makes of the names in the directory.
    pub(crate) fn names<T>(&self, pick: impl Fn(&str) -> Option<T>) -> io::Result<Vec<T>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listed = rustix::fs::openat(&self.descriptor, c".", flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::new(listed)?.take(ENTRIES_MAX) {
            let entry = entry?;
            names.extend(entry.file_name().to_str().ok().and_then(&pick));
        }
        Ok(names)
    }

    /// Removes a ring's name; memory is freed when nobody has it open or mapped any more. That there is none is fine.
    ///
    /// # Errors
    /// Those of `unlink(2)`.
    pub fn remove(&self, name: &RingName) -> io::Result<()> {
        self.remove_file(&name.to_string())
    }

    /// Gives a ring another name.
    ///
    /// # Errors
    /// Those of `rename(2)`.
    pub(crate) fn rename(&self, from: &RingName, to: &RingName) -> io::Result<()> {
        let (from, to) = (from.to_string(), to.to_string());
        rustix::fs::renameat(&self.descriptor, from, &self.descriptor, to).map_err(io::Error::from)
    }

    pub(crate) fn remove_file(&self, name: &str) -> io::Result<()> {
        self.unlink(name).map(|_| ())
    }

    /// Removes a name. False: there is none.
    pub(crate) fn unlink(&self, name: &str) -> io::Result<bool> {
        match rustix::fs::unlinkat(&self.descriptor, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The memory that the directory is in. `None`: it has no limit, or the kernel does not say. Blocks: never.
    #[must_use]
    pub fn space(&self) -> Option<Space> {
        let about = rustix::fs::fstatvfs(&self.descriptor).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(about.f_frsize);
        (about.f_blocks > 0).then(|| Space {
            total: bytes(about.f_blocks),
            free: bytes(about.f_bfree),
        })
    }

    /// Where the directory of the process's effective user is, or would be.
    #[must_use]
    pub fn path() -> PathBuf {
        path_in(Path::new(BASE), own_uid())
    }

    /// Where the directory of a user is, or would be.
    #[must_use]
    pub fn path_of(uid: u32) -> PathBuf {
        path_in(Path::new(BASE), uid)
    }

    /// Where this directory was found.
    #[must_use]
    pub fn location(&self) -> &Path {
        &self.path
    }

    /// Whose directory it is.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The file system that it is on.
    pub(crate) fn device(&self) -> u64 {
        self.device
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The process's effective user.
pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The kernel's name of an open descriptor, as an argument for calls that take paths.
pub(crate) fn descriptor_path(descriptor: BorrowedFd<'_>) -> CString {
    use std::os::fd::AsRawFd;
    let text = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    CString::new(text).unwrap_or_else(|_| CStr::to_owned(c"")) // digits contain no NUL
}

/// What a file is, in words.
pub(crate) fn type_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "something else",
    }
}

fn path_in(base: &Path, uid: u32) -> PathBuf {
    base.join(format!("{PREFIX}{uid}"))
}
