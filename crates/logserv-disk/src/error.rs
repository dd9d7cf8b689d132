//! The errors of this crate: what was expected, what came, and whether waiting may help.
//!
//! In: kernel error numbers and facts found. Out: typed values whose `expected` and `received` go to the client as they
//! are (`ERROR EXPECTED <this>, received <that>`), and to the server's own log.

use rustix::io::Errno;

use crate::limits::SHOWN_BYTES_MAX;

/// Why a root cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("expected a directory for --root, received {path}: {reason}")]
pub struct RootsError {
    /// The directory as it was given.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What is wrong with a name, before any file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathErrorKind {
    /// Empty, ends in a slash, contains NUL, or is too long.
    NotAFileName,
    /// A component is `..` or begins with a dot.
    DotComponent,
    /// An absolute name that is beneath no root.
    OutsideRoots,
    /// A directory on the way does not exist.
    DirectoryMissing,
    /// A directory on the way is a symbolic link, or not a directory.
    DirectoryRefused,
    /// The kernel refused for another reason (permission, I/O, descriptors).
    Io,
}

/// A name that leads nowhere we may write. Nothing has been created.
#[derive(Debug, Clone, thiserror::Error)]
#[error("expected {expected}, received {received}")]
pub struct PathError {
    /// The class of the error.
    pub kind: PathErrorKind,
    /// What would have been accepted, and which option allows more.
    pub expected: String,
    /// What came.
    pub received: String,
}

impl PathError {
    /// True if the same name may be accepted later without anybody changing it (a directory is made, a disk heals).
    #[must_use]
    pub fn may_heal(&self) -> bool {
        !matches!(
            self.kind,
            PathErrorKind::NotAFileName | PathErrorKind::DotComponent | PathErrorKind::OutsideRoots
        )
    }
}

/// Why a file is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenErrorKind {
    /// The name leads nowhere we may write.
    Path(PathErrorKind),
    /// The name, with its longest rotation suffix, is longer than the kernel allows.
    NameTooLong,
    /// A directory, FIFO, device, socket or symbolic link.
    NotRegular,
    /// A regular file with more than one link.
    Linked,
    /// A regular file of another owner.
    ForeignOwner,
    /// It cannot be given the mode, owner or group that the handler asks for.
    Permissions,
    /// Another process, or another file of this one, holds the lock. The pid, if the kernel shows it.
    Held(Option<u32>),
    /// The kernel refused.
    Disk(WriteErrorKind),
}

/// A file that is not opened. Nothing has been created or changed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("expected {expected}, received {received}")]
pub struct OpenError {
    /// The class of the error.
    pub kind: OpenErrorKind,
    /// What would have been accepted, and which option allows more.
    pub expected: String,
    /// What was found.
    pub received: String,
}

impl OpenError {
    /// True if the same name may be accepted later without anybody changing it.
    #[must_use]
    pub fn may_heal(&self) -> bool {
        !matches!(
            self.kind,
            OpenErrorKind::NameTooLong
                | OpenErrorKind::NotRegular
                | OpenErrorKind::Permissions
                | OpenErrorKind::Path(
                    PathErrorKind::NotAFileName | PathErrorKind::DotComponent | PathErrorKind::OutsideRoots
                )
        )
    }

    pub(crate) fn disk(errno: Errno, doing: &str, path: &str) -> Self {
        Self {
            kind: OpenErrorKind::Disk(WriteErrorKind::of(errno)),
            expected: format!("to {doing} {path}"),
            received: errno_text(errno),
        }
    }
}

impl OpenError {
    /// The last writer's batch could not be finished.
    pub(crate) fn repairing(error: &WriteError) -> Self {
        Self {
            kind: OpenErrorKind::Disk(error.kind),
            expected: format!("to finish the last batch of {}", error.path),
            received: error.reason.clone(),
        }
    }
}

impl From<PathError> for OpenError {
    fn from(error: PathError) -> Self {
        Self {
            kind: OpenErrorKind::Path(error.kind),
            expected: error.expected,
            received: error.received,
        }
    }
}

/// What kept bytes from a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteErrorKind {
    /// No space, no inodes, or a quota is reached.
    NoSpace,
    /// The file system is mounted read-only.
    ReadOnly,
    /// Permission is refused.
    Permission,
    /// The directory is gone.
    Missing,
    /// The process's or the file system's limit on a file's size (`EFBIG`).
    FileSize,
    /// No free file descriptors.
    Descriptors,
    /// The name now leads to something that we do not open.
    Refused,
    /// Synchronising failed earlier: these data may be lost, and no later success can say otherwise.
    SyncFailed,
    /// Any other error of the kernel.
    Io,
}

impl WriteErrorKind {
    pub(crate) fn of(errno: Errno) -> Self {
        match errno {
            Errno::NOSPC | Errno::DQUOT => Self::NoSpace,
            Errno::ROFS => Self::ReadOnly,
            Errno::ACCESS | Errno::PERM => Self::Permission,
            Errno::NOENT | Errno::NOTDIR | Errno::STALE => Self::Missing,
            Errno::FBIG => Self::FileSize,
            Errno::MFILE | Errno::NFILE => Self::Descriptors,
            _ => Self::Io,
        }
    }
}

/// Bytes that did not reach a file. What was taken before stays pending.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot {doing} {path}: {reason}")]
pub struct WriteError {
    /// The class of the error.
    pub kind: WriteErrorKind,
    /// What was attempted (`write`, `open`, …).
    pub doing: &'static str,
    /// The file, as the server names it.
    pub path: String,
    /// The kernel's error number, if it came from the kernel.
    pub errno: Option<i32>,
    /// The kernel's text, or what was expected and found.
    pub reason: String,
}

impl WriteError {
    pub(crate) fn new(errno: Errno, doing: &'static str, path: &str) -> Self {
        Self {
            kind: WriteErrorKind::of(errno),
            doing,
            path: path.to_owned(),
            errno: Some(errno.raw_os_error()),
            reason: errno_text(errno),
        }
    }

    pub(crate) fn opening(error: &OpenError, path: &str) -> Self {
        let kind = match error.kind {
            OpenErrorKind::Disk(kind) => kind,
            OpenErrorKind::Path(PathErrorKind::DirectoryMissing) => WriteErrorKind::Missing,
            _ => WriteErrorKind::Refused,
        };
        Self {
            kind,
            doing: "open",
            path: path.to_owned(),
            errno: None,
            reason: error.to_string(),
        }
    }
}

/// Arguments that the handler class does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, received {received}")]
pub struct SettingsError {
    /// What would have been accepted.
    pub expected: String,
    /// What came.
    pub received: String,
}

/// The kernel's words for an error number, with the number.
pub(crate) fn errno_text(errno: Errno) -> String {
    std::io::Error::from(errno).to_string()
}

/// A foreign name as an error message shows it: quoted, control characters escaped, cut to a bounded length.
pub(crate) fn shown(name: &str) -> String {
    let mut end = name.len().min(SHOWN_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let head = name.get(..end).unwrap_or_default();
    if end < name.len() {
        format!("{head:?}… ({} bytes)", name.len())
    } else {
        format!("{head:?}")
    }
}
