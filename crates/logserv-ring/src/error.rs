//! The errors of this crate: what was expected, what came, and whether a smaller wish may be granted.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

/// Why a directory of rings is not used. Nothing has been changed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Something is at its place that another user, or a mistake, has put there.
    #[error("expected {path} to be {expected}, received {received}")]
    Refused {
        /// The directory.
        path: PathBuf,
        /// What it must be.
        expected: String,
        /// What it is.
        received: String,
    },
    /// The kernel refused.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// The directory.
        path: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
}

/// Why a ring was not made. Nothing is left of the attempt.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The memory of the file system, of the control group, of the address space, or the longest file allowed, is less.
    /// A smaller ring may fit.
    #[error("expected room for a ring of {bytes} bytes, received {source}")]
    NoSpace {
        /// Bytes of the file.
        bytes: u64,
        /// The kernel's words.
        source: io::Error,
    },
    /// The kernel refused for another reason; a smaller ring would not help.
    #[error("cannot {doing} the ring: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// The kernel's words.
        source: io::Error,
    },
}

impl CreateError {
    /// The error for what was attempted with a file of `bytes` bytes.
    pub(crate) fn new(errno: Errno, doing: &'static str, bytes: u64) -> Self {
        let source = errno.into();
        if is_no_space(errno) {
            Self::NoSpace { bytes, source }
        } else {
            Self::Io { doing, source }
        }
    }
}

/// Why a ring is not read, or not read on.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// There is no file of that name (any more).
    #[error("expected a ring, received no file of its name")]
    Gone,
    /// The file is not, or no longer, what a ring must be: type, links, owner, mode, length, header. Never read.
    #[error("expected {expected}, received {received}")]
    Refused {
        /// What a ring has.
        expected: String,
        /// What this one has.
        received: String,
    },
    /// A ring that was made before the host was started; its producer cannot live.
    #[error("expected a ring of this boot, received one of another")]
    OtherBoot,
    /// What its producer says is impossible. Every record that was read before counts, nothing behind them can be found.
    #[error("ring is corrupt at position {position}: expected {expected}, received {received}")]
    Corrupt {
        /// The position up to which it was whole.
        position: u64,
        /// What stands there in a ring.
        expected: &'static str,
        /// What stands there.
        received: String,
    },
    /// Whether the producer lives cannot be found out: the file is of another user, or leases are not to be had.
    #[error("expected a lease on the ring, received {source}")]
    NoLease {
        /// The kernel's words.
        source: io::Error,
    },
    /// The kernel refused.
    #[error("cannot {doing} the ring: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// The kernel's words.
        source: io::Error,
    },
}

impl RingError {
    pub(crate) fn io(errno: Errno, doing: &'static str) -> Self {
        Self::Io {
            doing,
            source: errno.into(),
        }
    }

    pub(crate) fn refused(expected: impl Into<String>, received: impl Into<String>) -> Self {
        Self::Refused {
            expected: expected.into(),
            received: received.into(),
        }
    }
}

/// Why a state file cannot be used, or does not take what it was given.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// There is not enough memory. Everything is as it was before the call.
    #[error("expected room for a state file of {bytes} bytes, received {source}")]
    NoSpace {
        /// Bytes of the file.
        bytes: u64,
        /// The kernel's words.
        source: io::Error,
    },
    /// More than a state file holds. Everything is as it was before the call.
    #[error("{what}: expected at most {expected}, received {received}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its limit.
        expected: usize,
        /// What came.
        received: usize,
    },
    /// Something else has the name.
    #[error("expected {name} to be our own file with mode 0600 and one name, received {received}")]
    Refused {
        /// The name.
        name: String,
        /// What it is.
        received: String,
    },
    /// The kernel refused.
    #[error("cannot {doing} the state file: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// The kernel's words.
        source: io::Error,
    },
}

impl StateError {
    /// The error for what was attempted with a file of `bytes` bytes.
    pub(crate) fn new(errno: Errno, doing: &'static str, bytes: u64) -> Self {
        let source = errno.into();
        if is_no_space(errno) {
            Self::NoSpace { bytes, source }
        } else {
            Self::Io { doing, source }
        }
    }
}

/// Whether less memory might have been granted.
pub(crate) fn is_no_space(errno: Errno) -> bool {
    matches!(errno, Errno::NOSPC | Errno::DQUOT | Errno::NOMEM | Errno::FBIG)
}
