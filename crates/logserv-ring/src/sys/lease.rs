//! Whether anybody else has a file open or mapped, asked of the kernel.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// `fcntl` command: which signal announces a broken lease. Missing in the C library's binding for some targets.
const F_SETSIG: libc::c_int = 10;

/// What the kernel says about a write lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lease {
    /// Nobody else has the file open or mapped. The lease has been given back.
    Granted,
    /// Somebody has.
    InUse,
    /// It cannot be had at all: a file of another owner, a file system without leases.
    Unavailable(Errno),
}

/// Asks for a write lease, which the kernel grants only to the one open description of a file, and gives it back at
/// once. Blocks: never. `file` must be open for writing, and the only description of this process.
pub(crate) fn try_lease(file: BorrowedFd<'_>) -> Lease {
    // Whoever opens the file while we hold the lease breaks it, and the kernel tells us by SIGIO, which ends a process:
    // anybody could end us. SIGURG by default does nothing. Giving a lease back forgets the choice, so it is made each time.
    // SAFETY: fcntl with an integer argument touches no memory; the descriptor is borrowed, hence open.
    if unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) } < 0 {
        return Lease::Unavailable(last());
    }
    // SAFETY: as above.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) } < 0 {
        return match last() {
            Errno::AGAIN => Lease::InUse,
            errno => Lease::Unavailable(errno),
        };
    }
    // SAFETY: as above. It cannot fail for a lease that we hold.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
    Lease::Granted
}

fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
